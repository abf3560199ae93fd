//! Exit codes of a run, as the README lists them, and the rule that gives one.

use super::Verdict;

pub const PASSED: u8 = 0;
/// Some cell failed.
pub const FAILED: u8 = 1;
/// Bad configuration or usage.
pub const USAGE: u8 = 2;
/// The environment broke.
pub const ENVIRONMENT: u8 = 3;
/// All passed, but something was left behind.
pub const LEFTOVERS: u8 = 4;
/// Interrupted and cleaned up.
pub const INTERRUPTED: u8 = 130;

/// The code for what was seen; the first that applies.
pub fn code(interrupted: bool, failed: usize, errored: usize, leftovers: usize) -> u8 {
    if interrupted {
        INTERRUPTED
    } else if failed > 0 {
        FAILED
    } else if errored > 0 {
        ENVIRONMENT
    } else if leftovers > 0 {
        LEFTOVERS
    } else {
        PASSED
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
