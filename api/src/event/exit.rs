//! Exit codes of a run, as the README lists them, and the rule that gives one.

use serde::{Deserialize, Serialize};

use super::Verdict;

pub const PASSED: u8 = 0;
/// Some cell failed, or was flaky where that is asked to count.
pub const FAILED: u8 = 1;
/// Bad configuration or usage.
pub const USAGE: u8 = 2;
/// The environment broke, or is not as a cell needs it (*blocked*).
pub const ENVIRONMENT: u8 = 3;
/// All passed, but something was left behind.
pub const LEFTOVERS: u8 = 4;
/// Too few cells ran for the run to say anything: all of them were skipped, or what was asked for was not reached.
pub const TOO_FEW: u8 = 5;
/// Interrupted and cleaned up.
pub const INTERRUPTED: u8 = 130;

/// What a run is asked for beside its cells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Demands {
    /// A cell that passed only on a retry counts as failed.
    pub flaky_fails: bool,
    /// No cell may be skipped.
    pub no_skips: bool,
    /// So many cells must have run.
    pub min_cells: usize,
}

impl Demands {
    /// Nothing but the cells.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// How many cells of this run ended how. Those of other shards don't count, and skipped ones of a shard are not its own
/// affair: too few is said of the whole set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub interrupted: bool,
    pub passed: usize,
    pub failed: usize,
    pub errored: usize,
    pub blocked: usize,
    pub skipped: usize,
    /// Among the passed.
    pub flaky: usize,
    pub leftovers: usize,
}

impl Tally {
    /// A blocked cell did not run.
    fn ran(&self) -> usize {
        self.passed + self.failed + self.errored
    }

    /// Why what ran is too little; `None` where it is not.
    pub fn too_few(&self, demands: &Demands) -> Option<String> {
        let cells = |n: usize| if n == 1 { "1 cell".to_owned() } else { format!("{n} cells") };
        if self.interrupted {
            None
        } else if self.skipped > 0 && self.ran() == 0 {
            Some(format!("nothing ran: {} skipped", cells(self.skipped)))
        } else if demands.no_skips && self.skipped > 0 {
            Some(format!("{} skipped, and none may be (fail_on_skip)", cells(self.skipped)))
        } else if self.ran() < demands.min_cells {
            Some(format!("{} ran, at least {} were asked for (min_cells)", cells(self.ran()), demands.min_cells))
        } else {
            None
        }
    }

    /// The code for what was seen; the first that applies.
    pub fn code(&self, demands: &Demands) -> u8 {
        if self.interrupted {
            INTERRUPTED
        } else if self.failed > 0 || (demands.flaky_fails && self.flaky > 0) {
            FAILED
        } else if self.errored + self.blocked > 0 {
            ENVIRONMENT
        } else if self.too_few(demands).is_some() {
            TOO_FEW
        } else if self.leftovers > 0 {
            LEFTOVERS
        } else {
            PASSED
        }
    }
}

/// What the code says of the run as a whole.
pub fn verdict(code: u8) -> Verdict {
    match code {
        PASSED | LEFTOVERS => Verdict::Passed,
        FAILED => Verdict::Failed,
        INTERRUPTED => Verdict::Interrupted,
        _ => Verdict::Errored,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(passed: usize, failed: usize, errored: usize, skipped: usize) -> Tally {
        Tally { passed, failed, errored, skipped, ..Tally::default() }
    }

    #[test]
    fn the_worst_that_was_seen_gives_the_code() {
        let usual = Demands::default();
        assert_eq!(tally(3, 0, 0, 2).code(&usual), PASSED);
        assert_eq!(tally(3, 1, 1, 2).code(&usual), FAILED);
        assert_eq!(tally(3, 0, 1, 2).code(&usual), ENVIRONMENT);
        assert_eq!(Tally { blocked: 1, ..tally(3, 0, 0, 2) }.code(&usual), ENVIRONMENT, "no green by attrition");
        assert_eq!(Tally { blocked: 1, ..tally(3, 1, 0, 2) }.code(&usual), FAILED);
        assert_eq!(Tally { leftovers: 1, ..tally(3, 0, 0, 0) }.code(&usual), LEFTOVERS);
        assert_eq!(Tally { interrupted: true, ..tally(0, 1, 0, 0) }.code(&usual), INTERRUPTED);
    }

    #[test]
    fn a_run_in_which_nothing_ran_is_no_green_run() {
        let usual = Demands::default();
        assert_eq!(tally(0, 0, 0, 4).code(&usual), TOO_FEW);
        assert_eq!(tally(0, 0, 0, 0).code(&usual), PASSED, "nothing was this shard's to run");
        let demands = Demands { min_cells: 3, ..usual };
        assert_eq!((tally(2, 0, 0, 1).code(&demands), tally(3, 0, 0, 1).code(&demands)), (TOO_FEW, PASSED));
        let demands = Demands { no_skips: true, ..usual };
        assert_eq!((tally(2, 0, 0, 1).code(&demands), tally(3, 0, 0, 0).code(&demands)), (TOO_FEW, PASSED));
    }

    #[test]
    fn flaky_cells_fail_a_run_only_where_that_is_asked() {
        let flaky = Tally { flaky: 1, ..tally(2, 0, 0, 0) };
        assert_eq!(flaky.code(&Demands::default()), PASSED);
        assert_eq!(flaky.code(&Demands { flaky_fails: true, ..Demands::default() }), FAILED);
    }

    #[test]
    fn a_finding_outlives_an_attempt_that_broke_but_not_one_that_passed() {
        use Verdict::{Blocked, Errored, Failed, Interrupted, Passed, Skipped};
        let of = |all: &[Verdict]| Verdict::of_attempts(all.iter().copied()).unwrap();
        assert_eq!(of(&[Errored, Passed]), Passed);
        assert_eq!(of(&[Failed, Errored]), Failed);
        assert_eq!(of(&[Failed, Interrupted]), Failed);
        assert_eq!(of(&[Errored, Failed]), Failed);
        assert_eq!(of(&[Failed, Passed]), Passed);
        assert_eq!(of(&[Errored, Skipped]), Errored, "no green by attrition");
        assert_eq!(of(&[Failed, Blocked]), Failed);
        assert_eq!(of(&[Errored, Blocked]), Errored);
        assert_eq!(of(&[Failed, Errored, Errored]), Failed);
        assert_eq!(Verdict::of_attempts([]), None);
    }
}
