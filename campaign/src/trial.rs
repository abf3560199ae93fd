//! One trial: its runs and what happens to them, its cleans, and after each a look at the whole world.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::join_all;
use mtv_matrix_lab::faults::FaultOptions;
use serde_json::{Value, json};

use crate::oracle::{self, Kind, Told, Violation};
use crate::plan::{Blow, Ledgers, Output, Run, Trial, When};
use crate::process::{self, Ended, Start};
use crate::world::{Difference, World};

/// No run may take longer, however its wire breaks: the limits in [`LIMITS`] say so.
const RUN_LIMIT: Duration = Duration::from_secs(700);
const CLEAN_LIMIT: Duration = Duration::from_secs(180);
/// A write whose connection was cut comes within this.
const LATEST_WRITE: Duration = Duration::from_secs(3);
/// Cleans that may be needed after the last fault.
const CLEANS: usize = 3;

/// Short enough that a stage on a broken wire ends within a trial, long enough for a busy machine. A request
/// is waited for as long as a late write may take, so that what came late can be found.
const LIMITS: [(&str, &str); 14] = [
    ("connect", "8s"),
    ("request", "5s"),
    ("prepare", "60s"),
    ("plan", "40s"),
    ("migrate", "120s"),
    ("verify", "80s"),
    ("teardown", "40s"),
    ("grace", "40s"),
    ("provider_ready", "30s"),
    ("inventory", "30s"),
    ("clone", "40s"),
    ("guest_agent", "60s"),
    ("ssh", "40s"),
    ("delete", "20s"),
];

/// With what trials are made.
pub struct Bench {
    pub program: PathBuf,
    /// The library that gives a process another time, where this machine has it.
    pub faketime: Option<PathBuf>,
    /// `clean` wants to be told that it may remove what it has no ledger of.
    pub clean_yes: bool,
    /// Mild faults may change no verdict at all.
    pub strict: bool,
}

/// What was done, for the figures.
#[derive(Debug, Default, Clone)]
pub struct Counts(pub BTreeMap<String, u64>);

impl Counts {
    fn add(&mut self, what: impl Into<String>, count: u64) {
        *self.0.entry(what.into()).or_default() += count;
    }
    pub fn join(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            self.add(what, *count);
        }
    }
    pub fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or_default()
    }
}

#[derive(Debug, Default)]
pub struct Outcome {
    pub violations: Vec<Violation>,
    pub counts: Counts,
}

impl Outcome {
    fn fault(&mut self, kind: Kind, what: impl Into<String>) {
        self.violations.push(Violation { kind, what: what.into() });
    }
}

/// A trial on its lab, in a directory of its own.
pub struct Stage<'a> {
    pub bench: &'a Bench,
    pub world: &'a World,
    pub trial: &'a Trial,
    pub defect: Option<&'a str>,
    /// Where kubeconfig and providers.json of the lab are.
    pub lab_dir: &'a Path,
    pub dir: &'a Path,
}

/// A run that has ended.
struct Done {
    name: String,
    ended: Ended,
    told: Told,
    dir: Option<PathBuf>,
}

impl Stage<'_> {
    pub async fn play(&self) -> std::io::Result<Outcome> {
        let mut outcome = Outcome::default();
        std::fs::create_dir_all(self.dir.join("results"))?;
        let faults = self.world.lab.faults();
        let (broken, asked) = (faults.counts(), faults.requests());
        self.world.lab.faults().repeated();
        self.world.deletions();
        self.break_wire(self.trial.fault_permille, self.trial.seed);
        let runs = self.runs(&mut outcome).await?;
        self.judge_runs(&runs, &mut outcome).await;
        if self.trial.plants {
            self.plant(&runs).await?;
        }
        self.harm_ledgers(&runs)?;
        self.clean(&runs, &mut outcome).await?;
        self.calm_wire();
        for what in faults.repeated() {
            outcome.fault(Kind::Repeated, what);
        }
        // On a broken wire a cancel may fail, and is told; here nothing kept anybody from it.
        if self.trial.fault_permille == 0 && self.trial.aims.is_empty() && self.trial.outages.is_empty() {
            for what in self.world.deletions() {
                outcome.fault(Kind::Uncancelled, what);
            }
        }
        outcome.counts.add("requests", faults.requests() - asked);
        for (fault, count) in faults.counts() {
            outcome.counts.add(format!("fault {}", fault.name()), count - broken.get(&fault).copied().unwrap_or(0));
        }
        Ok(outcome)
    }

    fn break_wire(&self, permille: u64, seed: u64) {
        let share = |permille: u64| permille as f64 / 1000.0;
        let faults = self.world.lab.faults();
        faults.set(FaultOptions { rate: share(permille), seed, mild: share(self.trial.mild_permille) });
        faults.aim(self.trial.aims.clone());
    }

    fn calm_wire(&self) {
        let faults = self.world.lab.faults();
        faults.set(FaultOptions { rate: 0.0, seed: 0, mild: 0.0 });
        faults.aim(Vec::new());
    }

    async fn runs(&self, outcome: &mut Outcome) -> std::io::Result<Vec<Done>> {
        let runs = self.trial.runs.iter().enumerate().map(|(number, run)| self.run(number, run));
        let outages = self.trial.outages.iter().map(|outage| async move {
            tokio::time::sleep(outage.after).await;
            self.world.lab.restart(outage.endpoint, outage.lasts);
        });
        let meanwhile = async {
            match self.trial.clean_meanwhile {
                Some(after) => {
                    tokio::time::sleep(after).await;
                    Some(self.clean_once(&self.dir.join("run-0"), None, None).await)
                }
                None => None,
            }
        };
        let (ended, _, meanwhile) = tokio::join!(join_all(runs), join_all(outages), meanwhile);
        outcome.counts.add("outages", self.trial.outages.len() as u64);
        if let Some(ended) = meanwhile {
            outcome.counts.add("cleans", 1);
            outcome.violations.extend(oracle::process("the clean meanwhile", &ended?));
        }
        ended.into_iter().collect()
    }

    async fn run(&self, number: usize, run: &Run) -> std::io::Result<Done> {
        tokio::time::sleep(run.start).await;
        let own = self.dir.join(format!("run-{number}"));
        std::fs::create_dir_all(&own)?;
        let mut args = self.providers();
        args.extend(["run", "--results"].map(str::to_owned));
        args.push(own.display().to_string());
        args.extend(run.profiles.iter().flat_map(|profile| ["-p".to_owned(), (*profile).to_owned()]));
        args.extend(run.scenarios.iter().flat_map(|scenario| ["-s".to_owned(), (*scenario).to_owned()]));
        args.extend(["--storage-class".to_owned(), self.world.lab.storage_class().to_owned()]);
        args.extend(["--retries".to_owned(), run.retries.to_string()]);
        args.extend(["--set".to_owned(), "cutover_after_precopies=2".to_owned()]);
        args.extend(["--set".to_owned(), format!("snapshots_interval={}", run.snapshots_interval)]);
        args.extend(limits());
        let mut env = self.env();
        if run.skew != 0
            && let Some(library) = &self.bench.faketime
        {
            env.push(("LD_PRELOAD", library.display().to_string()));
            env.push(("FAKETIME", format!("{:+}h", run.skew)));
            // Clocks that count from the boot are right on a machine whose date is wrong.
            env.push(("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()));
        }
        let start = Start {
            program: self.bench.program.clone(),
            args,
            dir: self.dir.to_owned(),
            env,
            output: run.output,
            disk_kib: run.disk_kib,
            limit: RUN_LIMIT,
            blow: run.blow,
            results: own.clone(),
        };
        let ended = start.run().await?;
        // All runs' directories lie in one, as on a results volume.
        let made = process::runs_in(&own).into_iter().next();
        let dir = match made {
            Some(made) => {
                let to = self.dir.join("results").join(made.file_name().unwrap_or_default());
                std::fs::rename(&made, &to)?;
                Some(to)
            }
            None => None,
        };
        let told = dir.as_deref().map(Told::read).unwrap_or_default();
        std::fs::write(self.dir.join(format!("run-{number}.out")), &ended.text)?;
        Ok(Done { name: format!("run {number}"), ended, told, dir })
    }

    fn providers(&self) -> Vec<String> {
        vec!["--providers-json".to_owned(), self.lab_dir.join("providers.json").display().to_string()]
    }

    fn env(&self) -> Vec<(&'static str, String)> {
        let path = std::env::var("PATH").unwrap_or_default();
        let kubeconfig = self.lab_dir.join("kubeconfig").display().to_string();
        vec![("KUBECONFIG", kubeconfig), ("HOME", self.dir.display().to_string()), ("PATH", path)]
    }

    async fn judge_runs(&self, runs: &[Done], outcome: &mut Outcome) {
        let now = self.world.settled().await;
        let difference = Difference::between(&self.world.before, &now);
        for gone in &difference.gone {
            outcome.fault(Kind::Foreign, format!("after the runs: {gone} is gone"));
        }
        let away: Vec<&str> = self.trial.outages.iter().map(|outage| outage.endpoint).collect();
        for (done, run) in runs.iter().zip(&self.trial.runs) {
            outcome.counts.add("runs", 1);
            // One that came when the process was just over hit nothing.
            let hit = done.ended.hit.iter().filter(|signal| **signal != "KILL" || done.ended.code.is_none());
            for signal in hit {
                outcome.counts.add(format!("signal {signal}"), 1);
            }
            for (_, verdict) in &done.told.verdicts {
                outcome.counts.add(format!("verdict {verdict}"), 1);
            }
            outcome.violations.extend(oracle::process(&done.name, &done.ended));
            let calm = self.trial.is_calm(self.bench.strict) && self.trial.runs.len() == 1;
            outcome.violations.extend(oracle::verdicts(&done.name, &done.told, self.defect, calm, &away));
            // Nothing but a kill may end it in its middle, once it has begun.
            if done.ended.code.is_none() && !done.ended.hung && !done.ended.hit.contains(&"KILL") && done.dir.is_some()
            {
                let what = format!("{} died of {} instead of ending", done.name, done.ended.hit.join(", "));
                outcome.fault(Kind::Code, what);
            }
            let by_itself = done.ended.code.is_some() && !done.ended.hung;
            if !by_itself || run.disk_kib.is_some() {
                continue;
            }
            outcome.violations.extend(oracle::code(&done.name, &done.told, &done.ended));
            let (Some(id), Some(dir)) = (&done.told.run, &done.dir) else { continue };
            if done.told.code.is_some() {
                outcome.violations.extend(oracle::reports(&done.name, dir));
            }
            // A census names a thing in a line of words; those with the run's id are its name, and that of the VM that
            // it is a part of.
            let names_in = |key: &str| {
                let words = key.split([' ', '/', '(', ')', ':']);
                words.filter(|word| word.contains(id.as_str())).map(str::to_owned).collect::<Vec<_>>()
            };
            let lines = done.ended.text.lines().filter(|line| line.contains("left behind"));
            let said: Vec<&str> = lines.chain(done.told.leftovers.iter().map(String::as_str)).collect();
            let told = |key: &str| {
                let names = names_in(key);
                // What is in a namespace that is told as left is told with it.
                let within = key.split_once(' ').and_then(|(_, place)| place.split_once('/')).map(|(ns, _)| ns);
                let within = within.map(|ns| format!("Namespace {ns}"));
                let of_these = |line: &&str| names.iter().any(|name| line.contains(name.as_str()));
                said.iter().any(|line| of_these(line) || within.as_ref().is_some_and(|ns| line.contains(ns)))
            };
            // Whoever was hit twice was told to leave everything where it is.
            let left = done.ended.hit.len() < 2;
            for key in difference.new.iter().filter(|key| left && key.contains(id.as_str()) && !told(key)) {
                outcome.fault(Kind::Lost, format!("{} ended with {:?} and left {key}", done.name, done.ended.code));
            }
            // Two runs share what they borrow: the last one gives it back.
            if left && runs.len() == 1 {
                let named = |key: &str| key.rsplit(['/', ' ']).next().unwrap_or_default().to_owned();
                for changed in &difference.changed {
                    let thing = named(changed.split(": /").next().unwrap_or_default());
                    if !said.iter().any(|line| line.contains(&thing)) {
                        outcome.fault(Kind::Lost, format!("{} did not give back {changed}", done.name));
                    }
                }
            }
        }
        outcome.violations.extend(oracle::secrets_in(&self.dir.join("results")));
    }

    /// What others may write: a label that names the run, and lines in its ledger that name their things.
    async fn plant(&self, runs: &[Done]) -> std::io::Result<()> {
        let intent = |entry: u64, thing: Value| {
            let mut line = json!({"what": "intent", "entry": entry, "at": "2026-01-01T00:00:00Z", "cell": null});
            if let (Some(line), Value::Object(thing)) = (line.as_object_mut(), thing) {
                line.extend(thing);
            }
            format!("{line}\n")
        };
        let vm = json!({"thing": "source-vm", "profile": "vsphere", "platform": "vsphere", "name": "mtv-tests-rhel8",
            "id": null});
        let object = |kind: &str, plural: &str, namespace: Option<&str>, name: &str| {
            json!({"thing": "object", "api_version": "v1", "kind": kind, "plural": plural, "namespace": namespace,
                "name": name, "cluster": self.world.lab.url()})
        };
        let lines = intent(9001, vm)
            + &intent(9002, object("Namespace", "namespaces", None, "team-b"))
            + &intent(9003, object("Secret", "secrets", Some("team-a"), "old"));
        for done in runs {
            let Some(run) = &done.told.run else { continue };
            self.world.plant_for(run).await.map_err(std::io::Error::other)?;
            let ledger = done.dir.as_ref().map(|dir| dir.join("ledger.jsonl")).filter(|path| path.is_file());
            if let Some(path) = ledger {
                let mut text = std::fs::read(&path)?;
                // Half a line of a killed run would swallow the first one.
                text.truncate(text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1));
                text.extend_from_slice(lines.as_bytes());
                std::fs::write(&path, text)?;
            }
        }
        Ok(())
    }

    fn harm_ledgers(&self, runs: &[Done]) -> std::io::Result<()> {
        let results = self.dir.join("results");
        match self.trial.ledgers {
            Ledgers::Whole => {}
            Ledgers::Torn => {
                for dir in runs.iter().filter_map(|done| done.dir.as_ref()) {
                    let path = dir.join("ledger.jsonl");
                    if path.is_file() {
                        let mut file = std::fs::OpenOptions::new().append(true).open(path)?;
                        file.write_all(b"{\"op\":\"intent\",\"seq\":9")?;
                    }
                }
            }
            Ledgers::Strangers => {
                for (name, bytes) in [("mm-emptyaaaaa", &b""[..]), ("mm-binaryaaaa", b"\xff\xfe\x00\n")] {
                    let dir = results.join(name);
                    std::fs::create_dir_all(&dir)?;
                    std::fs::write(dir.join("ledger.jsonl"), bytes)?;
                }
            }
            Ledgers::Lost => std::fs::rename(&results, self.dir.join("lost"))?,
        }
        Ok(())
    }

    async fn clean_once(
        &self,
        results: &Path,
        run: Option<&str>,
        kill_after: Option<Duration>,
    ) -> std::io::Result<Ended> {
        let mut args = self.providers();
        args.push("clean".to_owned());
        match run {
            Some(run) => args.extend(["--run-id".to_owned(), run.to_owned()]),
            None => args.extend(["--results".to_owned(), results.display().to_string()]),
        }
        if self.bench.clean_yes {
            args.push("--yes".to_owned());
        }
        args.extend(limits());
        let blow = kill_after.map(|after| Blow { when: When::After(after), signal: "KILL", again: None });
        let start = Start {
            program: self.bench.program.clone(),
            args,
            dir: self.dir.to_owned(),
            env: self.env(),
            output: Output::Read,
            disk_kib: None,
            limit: CLEAN_LIMIT,
            blow,
            results: self.dir.to_owned(),
        };
        start.run().await
    }

    /// What is to be cleaned: the results, or run by run where they are lost.
    fn targets(&self, runs: &[Done]) -> Vec<Option<String>> {
        let written = |done: &&Done| done.dir.as_ref().is_some_and(|dir| dir.join("ledger.jsonl").is_file());
        match self.trial.ledgers {
            Ledgers::Lost => runs.iter().filter_map(|done| done.told.run.clone()).map(Some).collect(),
            // One that was ended before it began has no ledger.
            _ if runs.iter().filter(written).count() > 0 || self.trial.ledgers == Ledgers::Strangers => vec![None],
            _ => Vec::new(),
        }
    }

    async fn clean(&self, runs: &[Done], outcome: &mut Outcome) -> std::io::Result<()> {
        let results = self.dir.join("results");
        let targets = self.targets(runs);
        self.break_wire(self.trial.fault_permille, self.trial.seed ^ 0xc1ea);
        for after in &self.trial.killed_cleans {
            for target in &targets {
                let ended = self.clean_once(&results, target.as_deref(), Some(*after)).await?;
                outcome.counts.add("cleans", 1);
                outcome.counts.add("cleans killed", ended.hit.len() as u64);
                outcome.violations.extend(oracle::process("a killed clean", &ended));
            }
        }
        let mut said = String::new();
        for attempt in 0..CLEANS {
            let mut all_clean = true;
            for target in &targets {
                let ended = self.clean_once(&results, target.as_deref(), None).await?;
                outcome.counts.add("cleans", 1);
                outcome.violations.extend(oracle::process("clean", &ended));
                all_clean &= ended.code == Some(0);
                said = format!("exit {:?}\n{}", ended.code, ended.text);
            }
            std::fs::write(self.dir.join(format!("clean-{attempt}.out")), &said)?;
            let strangers = self.trial.ledgers == Ledgers::Strangers;
            if all_clean || (strangers && attempt > 0) {
                break;
            }
            // The first clean may meet what the wire still holds; the last one meets nothing.
            self.calm_wire();
            if attempt + 1 == CLEANS {
                outcome.fault(Kind::Lost, format!("clean never came to an end: {said}"));
            }
        }
        if self.trial.fault_permille > 0 {
            tokio::time::sleep(LATEST_WRITE).await;
        }
        let now = self.world.settled().await;
        let mut difference = Difference::between(&self.world.before, &now);
        if self.trial.plants {
            for run in runs.iter().filter_map(|done| done.told.run.as_ref()) {
                let planted = format!("Secret team-a/about-{run}");
                if !now.contains_key(&planted) {
                    outcome.fault(Kind::Foreign, format!("{planted} is gone\n{said}"));
                }
                difference.new.retain(|new| *new != planted);
                self.world.uproot(run).await;
            }
        }
        for new in &difference.new {
            // A platform says in words what differs from its start.
            let kind = if new.ends_with(" is gone") { Kind::Foreign } else { Kind::Lost };
            outcome.fault(kind, format!("after the cleans: {new}\n{said}"));
        }
        for gone in &difference.gone {
            outcome.fault(Kind::Foreign, format!("{gone} is gone"));
        }
        for changed in &difference.changed {
            outcome.fault(Kind::Foreign, changed.clone());
        }
        Ok(())
    }
}

fn limits() -> Vec<String> {
    LIMITS.iter().flat_map(|(name, limit)| ["--set".to_owned(), format!("timeouts.{name}={limit}")]).collect()
}
