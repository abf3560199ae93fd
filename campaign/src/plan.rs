//! What a seed stands for: which runs, what happens to them, how they are cleaned up after. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use mtv_matrix_lab::faults::{Aim, Fault};

use crate::dice::Dice;

/// Seeds of one lab: so many trials share a lab, its defect with it.
pub const TRIALS_A_LAB: u64 = 8;

/// From this seed on every other trial has mild faults, too, and dense ones are denser: those before it are as they were
/// when mutations were tried on them.
const MILD_FROM: u64 = 160;

/// Profiles of the lab with scenarios that run on each.
const CELLS: [(&str, &[&str]); 6] = [
    (
        "vsphere",
        &["test_sanity_cold_mtv_migration", "test_sanity_warm_mtv_migration", "test_mtv_migration_warm_2disks2nics"],
    ),
    ("vsphere", &["test_sanity_warm_mtv_migration", "test_cold_migration_comprehensive"]),
    ("ovirt", &["test_sanity_cold_mtv_migration", "test_sanity_warm_mtv_migration"]),
    ("openstack", &["test_sanity_cold_mtv_migration", "test_cold_migration_comprehensive"]),
    ("openshift", &["test_sanity_cold_mtv_migration"]),
    ("hyperv", &["test_sanity_cold_mtv_migration"]),
];

/// Defects that every cold migration of a Linux VM shows, by the lab's names.
const DEFECTS: [&str; 4] = ["wrong-cpu", "wrong-memory", "wrong-firmware", "truncated-disk"];

/// The defect of the lab that a seed is tried on.
pub fn defect(seed: u64) -> Option<&'static str> {
    let mut dice = Dice::new((seed / TRIALS_A_LAB) ^ 0x00de_fec7);
    dice.percent(20).then(|| dice.pick(&DEFECTS))
}

/// When something happens to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// So long after its start.
    After(Duration),
    /// When its event log has so many lines.
    Events(u64),
}

/// What happens to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blow {
    pub when: When,
    /// As `kill` calls it.
    pub signal: &'static str,
    /// A second one of the same, so much later.
    pub again: Option<Duration>,
}

/// Where a process's standard output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    Read,
    /// Its reader has gone.
    Closed,
    /// `/dev/full`.
    Full,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub profiles: Vec<&'static str>,
    pub scenarios: Vec<&'static str>,
    /// Minutes; the setting is the cluster's, so that runs meet in it.
    pub snapshots_interval: u64,
    pub retries: u64,
    pub start: Duration,
    pub blow: Option<Blow>,
    pub output: Output,
    /// Its files can't grow beyond so many KiB.
    pub disk_kib: Option<u64>,
    /// How far its clock is off, in hours.
    pub skew: i64,
}

/// An endpoint of the lab is away for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    pub endpoint: &'static str,
    pub after: Duration,
    pub lasts: Duration,
}

/// What happens to ledgers after their runs, before `clean`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ledgers {
    Whole,
    /// Half a line at the end, as a crash in a write leaves it.
    Torn,
    /// Beside the good ones lies an empty one, and one that is no text.
    Strangers,
    /// The results are lost: `clean --run-id` alone can help.
    Lost,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    pub seed: u64,
    /// Share of requests that break while the runs go, in thousandths; likewise for the first cleans.
    pub fault_permille: u64,
    /// Share of requests that a second try heals, in thousandths: they may change no verdict.
    pub mild_permille: u64,
    /// What breaks each time: until the first clean is over.
    pub aims: Vec<Aim>,
    pub runs: Vec<Run>,
    pub outages: Vec<Outage>,
    pub ledgers: Ledgers,
    /// Cleans that are killed after so long, before the one that may end.
    pub killed_cleans: Vec<Duration>,
    /// A `clean` of the results while the runs still go.
    pub clean_meanwhile: Option<Duration>,
    /// Before `clean`, somebody's Secret gets the run's label, and the ledger lines that name things of others.
    pub plants: bool,
}

/// Parts that a reproduction may do without, in the order in which they are tried.
pub const PARTS: [&str; 14] = [
    "third-run",
    "second-run",
    "faults",
    "mild",
    "aims",
    "outages",
    "signals",
    "output",
    "disk",
    "skew",
    "ledgers",
    "killed-cleans",
    "meanwhile",
    "plants",
];

impl Trial {
    /// `skewed`: whether this machine can give a process another time.
    pub fn of(seed: u64, skewed: bool) -> Self {
        let mut dice = Dice::new(seed);
        let count = match dice.below(10) {
            0..6 => 1,
            6..9 => 2,
            _ => 3,
        };
        let runs = (0..count).map(|_| run(&mut dice, skewed)).collect();
        let outages = (0..dice.below(3).saturating_sub(1)).map(|_| Outage {
            endpoint: dice.pick(&["api", "api", "vsphere", "inventory", "openstack", "ovirt"]),
            after: dice.milliseconds(200, 6000),
            lasts: dice.milliseconds(200, 3000),
        });
        let outages = outages.collect();
        let ledgers = match dice.below(10) {
            0..2 => Ledgers::Torn,
            2 => Ledgers::Strangers,
            3 => Ledgers::Lost,
            _ => Ledgers::Whole,
        };
        let killed = match dice.below(10) {
            0..5 => 0,
            5..8 => 1,
            _ => 2,
        };
        let killed_cleans = (0..killed).map(|_| dice.milliseconds(30, 1500)).collect();
        let clean_meanwhile = dice.percent(10).then(|| dice.milliseconds(500, 4000));
        let fault_permille = dice.pick(&[0, 10, 20, 40, 60, 100]);
        // Of a run without a ledger a person's yes may take what bears its label.
        let plants = dice.percent(40) && ledgers != Ledgers::Lost;
        let plain = Self {
            seed,
            fault_permille,
            mild_permille: 0,
            aims: Vec::new(),
            runs,
            outages,
            ledgers,
            killed_cleans,
            clean_meanwhile,
            plants,
        };
        match seed % TRIALS_A_LAB {
            3 => plain.with_no_delete(),
            4 => plain.with_lost_creates(),
            5 => plain.dense(),
            6 if seed % 32 == 22 => plain.calm(),
            6 => plain.with_no_reads(),
            _ if seed >= MILD_FROM => plain.mild(500, 4),
            _ => plain,
        }
    }

    /// One run alone, on a wire that breaks where it is aimed at and nowhere else.
    fn aimed(mut self, aims: impl FnOnce(&mut Dice, &Run) -> Vec<Aim>) -> Self {
        self.runs.truncate(1);
        self.fault_permille = 0;
        self.outages.clear();
        self.clean_meanwhile = None;
        let mut dice = Dice::new(self.seed ^ 0x0061_696d);
        self.aims = self.runs.first().map(|run| aims(&mut dice, run)).unwrap_or_default();
        self
    }

    /// Something that the run made or borrowed can't be undone: it must say so, as must the clean.
    fn with_no_delete(mut self) -> Self {
        for run in &mut self.runs {
            run.blow = run.blow.filter(|blow| blow.signal != "KILL").map(|blow| Blow { again: None, ..blow });
            run.disk_kib = None;
        }
        self.aimed(|dice, run| {
            let namespaces = Aim {
                endpoint: "api",
                class: "delete namespaces/{}",
                fault: dice.pick(&[Fault::Forbidden, Fault::Internal]),
                after: 0,
                times: u64::MAX,
            };
            let platform = match run.profiles.first().copied() {
                Some("vsphere") => Some(("vsphere", "Destroy_Task")),
                Some("ovirt") => Some(("ovirt", "DELETE *")),
                Some("openstack") => Some(("openstack", "DELETE *")),
                _ => None,
            };
            let warm = run.scenarios.iter().any(|name| name.contains("warm"));
            match (dice.below(3), platform) {
                // The first patch borrows, the second gives back.
                (0, _) if warm => vec![Aim {
                    class: "patch forkliftcontrollers.forklift.konveyor.io/{}",
                    fault: Fault::Forbidden,
                    after: 1,
                    ..namespaces
                }],
                (0 | 1, Some((endpoint, class))) => {
                    vec![Aim { endpoint, class, fault: Fault::Forbidden, ..namespaces }]
                }
                _ => vec![namespaces],
            }
        })
    }

    /// Creates are done, and their answers are lost, each time.
    fn with_lost_creates(self) -> Self {
        self.aimed(|dice, run| {
            let platform = match run.profiles.first().copied() {
                Some("vsphere") => Some(("vsphere", "CloneVM_Task")),
                Some("ovirt") => Some(("ovirt", "POST *")),
                Some("openstack") => Some(("openstack", "POST *")),
                _ => None,
            };
            let fault = dice.pick(&[Fault::LostAnswer, Fault::GatewayTimeout]);
            let (endpoint, class) = platform.filter(|_| dice.percent(70)).unwrap_or(("api", "post *"));
            vec![Aim { endpoint, class, fault, after: 0, times: 1 + dice.below(4) }]
        })
    }

    /// One run that nothing happens to: what it says must be right to the word.
    fn calm(mut self) -> Self {
        for run in &mut self.runs {
            run.blow = None;
            run.disk_kib = None;
            run.output = Output::Read;
        }
        self.aimed(|_, _| Vec::new())
    }

    /// A right to read is taken away: what could not be looked at is no pass.
    fn with_no_reads(self) -> Self {
        self.calm().aimed(|dice, run| {
            let vm = ("api", "get virtualmachines.kubevirt.io/{}", 0);
            let (endpoint, class, after) = match run.profiles.first().copied() {
                Some("vsphere") if dice.percent(40) => ("vsphere", "RetrievePropertiesEx", 20 + dice.below(60)),
                Some("ovirt") if dice.percent(50) => ("ovirt", "GET /ovirt-engine/api/vms/{}*", 5 + dice.below(20)),
                _ => vm,
            };
            vec![Aim { endpoint, class, fault: Fault::Forbidden, after, times: u64::MAX }]
        })
    }

    /// Many cells on a wire on which many requests have to be sent twice.
    fn dense(mut self) -> Self {
        let mut dice = Dice::new(self.seed ^ 0x6465_6e73);
        self.runs.truncate(2);
        self.fault_permille = 0;
        self.outages.clear();
        let later = self.seed >= MILD_FROM;
        let (rates, profiles, scenarios) = if later { ([500, 700, 900], 85, 60) } else { ([250, 350, 450], 70, 50) };
        let rate = dice.pick(&rates);
        for run in &mut self.runs {
            for (profile, known) in CELLS {
                if !run.profiles.contains(&profile) && dice.percent(profiles) {
                    run.profiles.push(profile);
                }
                run.scenarios.extend(known.iter().filter(|_| dice.percent(scenarios)));
            }
            run.scenarios.sort_unstable();
            run.scenarios.dedup();
        }
        self.mild(rate, 15)
    }

    /// `longer`: how many times as many events a run has then, each retry being one.
    fn mild(mut self, permille: u64, longer: u64) -> Self {
        self.mild_permille = permille;
        for run in &mut self.runs {
            if let Some(Blow { when: When::Events(count), .. }) = &mut run.blow {
                *count *= longer;
            }
        }
        self
    }

    /// The same without one of [`PARTS`]; `None` where it has no such part.
    pub fn without(&self, part: &str) -> Option<Self> {
        let mut less = self.clone();
        match part {
            "third-run" => less.runs.truncate(2),
            "second-run" => less.runs.truncate(1),
            "faults" => less.fault_permille = 0,
            "mild" => less.mild_permille = 0,
            "aims" => less.aims.clear(),
            "outages" => less.outages.clear(),
            "signals" => less.runs.iter_mut().for_each(|run| run.blow = None),
            "output" => less.runs.iter_mut().for_each(|run| run.output = Output::Read),
            "disk" => less.runs.iter_mut().for_each(|run| run.disk_kib = None),
            "skew" => less.runs.iter_mut().for_each(|run| run.skew = 0),
            "ledgers" => less.ledgers = Ledgers::Whole,
            "killed-cleans" => less.killed_cleans.clear(),
            "meanwhile" => less.clean_meanwhile = None,
            "plants" => less.plants = false,
            _ => {}
        }
        (less != *self).then_some(less)
    }

    /// Whether nothing happens to its runs: then they must pass. `strict`: though they meet mild faults.
    pub fn is_calm(&self, strict: bool) -> bool {
        let calm = |run: &Run| run.blow.is_none() && run.output == Output::Read && run.disk_kib.is_none();
        (strict || self.mild_permille == 0)
            && self.fault_permille == 0
            && self.aims.is_empty()
            && self.outages.is_empty()
            && self.runs.iter().all(calm)
    }

    /// For a person, in one line a run.
    pub fn story(&self) -> String {
        let mut text = format!("faults {}‰", self.fault_permille);
        if self.mild_permille > 0 {
            let _ = write!(text, ", mild ones {}‰", self.mild_permille);
        }
        for aim in &self.aims {
            let times = if aim.times == u64::MAX { "always".to_owned() } else { format!("{} times", aim.times) };
            let (fault, after) = (aim.fault.name(), aim.after);
            let _ = write!(text, ", {} of {} {fault} {times} after {after}", aim.class, aim.endpoint);
        }
        for outage in &self.outages {
            let _ = write!(text, ", {} away at {:?} for {:?}", outage.endpoint, outage.after, outage.lasts);
        }
        let _ = write!(text, ", ledgers {:?}, cleans killed {:?}", self.ledgers, self.killed_cleans);
        if let Some(after) = self.clean_meanwhile {
            let _ = write!(text, ", a clean meanwhile at {after:?}");
        }
        if self.plants {
            text.push_str(", things of others that name the runs");
        }
        for (number, run) in self.runs.iter().enumerate() {
            let _ = write!(text, "\n    run {number}: {} {}", run.profiles.join(","), run.scenarios.join(","));
            let _ = write!(text, ", interval {}, retries {}", run.snapshots_interval, run.retries);
            if let Some(blow) = run.blow {
                let twice = blow.again.map(|after| format!(" and again after {after:?}")).unwrap_or_default();
                let _ = write!(text, ", {} at {:?}{twice}", blow.signal, blow.when);
            }
            if run.output != Output::Read {
                let _ = write!(text, ", stdout {:?}", run.output);
            }
            if let Some(kib) = run.disk_kib {
                let _ = write!(text, ", files up to {kib} KiB");
            }
            if run.skew != 0 {
                let _ = write!(text, ", clock off by {} h", run.skew);
            }
        }
        text
    }
}

fn run(dice: &mut Dice, skewed: bool) -> Run {
    let (profile, known) = dice.pick(&CELLS);
    let first = dice.pick(known);
    let mut scenarios = vec![first];
    let second = dice.pick(known);
    if dice.percent(25) && second != first {
        scenarios.push(second);
    }
    let when =
        if dice.percent(25) { When::After(dice.milliseconds(20, 2500)) } else { When::Events(1 + dice.below(60)) };
    let again = dice.percent(20).then(|| dice.milliseconds(50, 2000));
    let blow = match dice.below(20) {
        0..11 => Some(Blow { when, signal: "KILL", again: None }),
        11..13 => Some(Blow { when, signal: "TERM", again }),
        13..15 => Some(Blow { when, signal: "INT", again }),
        15..17 => Some(Blow { when, signal: "HUP", again }),
        _ => None,
    };
    let output = match dice.below(10) {
        0 => Output::Closed,
        1 => Output::Full,
        _ => Output::Read,
    };
    let disk_kib = dice.percent(8).then(|| dice.pick(&[0, 1, 4, 16, 64]));
    let skew = if skewed && dice.percent(10) { dice.pick(&[-1, 1]) } else { 0 };
    Run {
        profiles: vec![profile],
        scenarios,
        snapshots_interval: dice.pick(&[2, 3, 5]),
        retries: dice.pick(&[0, 0, 1]),
        start: dice.milliseconds(0, 1500),
        blow,
        output,
        disk_kib,
        skew,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_always_the_same_trial() {
        for seed in 0..200 {
            assert_eq!(Trial::of(seed, true), Trial::of(seed, true));
        }
    }

    #[test]
    fn a_hundred_seeds_have_a_bit_of_everything() {
        let trials: Vec<Trial> = (0..100).map(|seed| Trial::of(seed, true)).collect();
        let with = |part: &str| trials.iter().filter(|trial| trial.without(part).is_some()).count();
        for part in PARTS {
            assert!(with(part) > 0, "no trial with {part}");
        }
        assert!(trials.iter().any(|trial| trial.is_calm(false)));
        assert!(trials.iter().any(|trial| trial.is_calm(true) && !trial.is_calm(false)));
        for fault in [Fault::Forbidden, Fault::LostAnswer] {
            assert!(trials.iter().any(|trial| trial.aims.iter().any(|aim| aim.fault == fault)), "{fault:?}");
        }
        assert!((0..100).any(|seed| defect(seed).is_some()));
    }

    #[test]
    fn a_part_that_is_taken_out_is_out() {
        for seed in 0..50 {
            let trial = Trial::of(seed, true);
            for part in PARTS {
                if let Some(less) = trial.without(part) {
                    assert_eq!(less.without(part), None, "{part} of seed {seed}");
                }
            }
        }
    }
}
