//! What a run said, held against what is. Reads the run's files as a stranger would: JSON, and no types of the
//! runner.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::process::Ended;

/// What no output and no file may hold: the lab's passwords and the shape of its tokens.
const SECRETS: [&str; 9] = [
    "lab-vsphere",
    "lab-openstack",
    "lab-ovirt",
    "lab-hyperv",
    "lab-ec2-secret",
    "lab-linux",
    "lab-windows",
    "lab-admin",
    "sha256~",
];

/// How a check says that somebody did not answer, or refused: then a pass has no evidence.
const UNASKED: [&str; 7] =
    ["could not be read", "HTTP ", "connection", "timed out", "no answer", "forbidden", "failed to "];

/// One promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub kind: Kind,
    pub what: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Something that is not ours was changed or removed.
    Foreign,
    /// Something of ours was left, and nobody said so, or no clean could remove it.
    Lost,
    Verdict,
    Secret,
    Panic,
    Hang,
    /// The exit code does not say what the run says.
    Code,
    /// A report is missing or broken.
    Report,
    /// The same thing was made twice, because a request was sent again without a look.
    Repeated,
    /// A migration was at work when its namespace was deleted, and nobody had cancelled it.
    Uncancelled,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Foreign => "foreign-touched",
            Self::Lost => "ours-left-untold",
            Self::Verdict => "wrong-verdict",
            Self::Secret => "secret-told",
            Self::Panic => "panic",
            Self::Hang => "hang",
            Self::Code => "wrong-exit-code",
            Self::Report => "broken-report",
            Self::Repeated => "made-twice",
            Self::Uncancelled => "not-cancelled",
        }
    }
}

/// What a run's event log says.
#[derive(Debug, Default, Clone)]
pub struct Told {
    pub run: Option<String>,
    /// The last verdict of each cell.
    pub verdicts: Vec<(String, String)>,
    /// What a cell says of its own failure: the cell; the message.
    pub problems: Vec<(String, String)>,
    /// Checks that nobody could make for want of an answer, of each cell's last attempt: the cell; check and why.
    pub unasked: Vec<(String, String)>,
    /// What it said was left behind.
    pub leftovers: Vec<String>,
    /// The exit code that it says.
    pub code: Option<i64>,
}

impl Told {
    /// Reads what of the log can be read.
    pub fn read(dir: &Path) -> Self {
        let text = std::fs::read(dir.join("events.jsonl")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let mut told = Self { run: dir.file_name().map(|name| name.to_string_lossy().into_owned()), ..Self::default() };
        for event in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let field = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            match event["event"].as_str().unwrap_or_default() {
                "cell-finished" if event["will_retry"] != true => {
                    let cell = field("cell");
                    told.verdicts.retain(|(known, _)| *known != cell);
                    let message = event["problem"]["message"].as_str().unwrap_or_default();
                    told.problems.push((cell.clone(), message.to_owned()));
                    told.verdicts.push((cell, field("verdict")));
                }
                "cell-started" => {
                    let cell = field("cell");
                    told.unasked.retain(|(known, _)| *known != cell);
                }
                "check-finished" => {
                    let finding = &event["finding"];
                    let because = finding["because"].as_str().unwrap_or_default();
                    if UNASKED.iter().any(|words| because.contains(words)) {
                        let check = finding["check"].as_str().unwrap_or_default();
                        told.unasked.push((field("cell"), format!("{check}: {because}")));
                    }
                }
                "cell-unstarted" => told.verdicts.push((field("cell"), field("verdict"))),
                "leftover" => told.leftovers.push(field("what")),
                "run-finished" => told.code = event["exit_code"].as_i64(),
                _ => {}
            }
        }
        told
    }

    fn count(&self, verdict: &str) -> usize {
        self.verdicts.iter().filter(|(_, found)| found == verdict).count()
    }
}

/// What is wrong with one ended process, whatever it was.
pub fn process(name: &str, ended: &Ended) -> Vec<Violation> {
    let mut found = Vec::new();
    let tail = || ended.text.chars().rev().take(1500).collect::<Vec<_>>().into_iter().rev().collect::<String>();
    if ended.hung {
        found.push(Violation {
            kind: Kind::Hang,
            what: format!("{name} was still at work at its deadline:\n{}", tail()),
        });
    }
    let panicked = ended.text.find("panicked at").and_then(|at| ended.text.get(at..));
    if let Some(words) = panicked {
        let words: String = words.chars().take(300).collect();
        found.push(Violation { kind: Kind::Panic, what: format!("{name} {words}") });
    } else if ended.code == Some(101) || (ended.code.is_none() && ended.hit.is_empty() && !ended.hung) {
        found.push(Violation {
            kind: Kind::Panic,
            what: format!("{name} died by itself: {:?}\n{}", ended.code, tail()),
        });
    }
    found.extend(secret(&format!("{name}'s output"), &ended.text));
    found
}

/// Secrets in every file below a directory.
pub fn secrets_in(dir: &Path) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => dirs.push(entry.path()),
                Ok(kind) if kind.is_file() => {
                    let bytes = std::fs::read(entry.path()).unwrap_or_default();
                    let name = entry.path().display().to_string();
                    found.extend(secret(&name, &String::from_utf8_lossy(&bytes)));
                }
                _ => {}
            }
        }
    }
    found
}

fn secret(place: &str, text: &str) -> Option<Violation> {
    let found = SECRETS.iter().find(|secret| text.contains(**secret))?;
    let at = text.find(found).unwrap_or_default();
    let start = (0..=at.saturating_sub(80)).rev().find(|i| text.is_char_boundary(*i)).unwrap_or_default();
    let around: String = text.get(start..).unwrap_or_default().chars().take(160).collect();
    Some(Violation { kind: Kind::Secret, what: format!("{place} tells `{found}`: …{around}…") })
}

/// What the verdicts of a run may be in this lab. `calm`: nothing was in its way. `away`: endpoints that were not
/// there for a while; that cuts the connections of the lab's own MTV, too, which fails a migration in mid-snapshot
/// as the real one does.
pub fn verdicts(name: &str, told: &Told, defect: Option<&str>, calm: bool, away: &[&str]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut wrong = |cell: &str, verdict: &str, why: &str| {
        found.push(Violation { kind: Kind::Verdict, what: format!("{name}: {cell} is {verdict}: {why}") });
    };
    let mtv_failed = |cell: &str| {
        let last = told.problems.iter().rev().find(|(of, _)| of == cell);
        let platform = cell.split('/').next().unwrap_or_default();
        away.contains(&platform) && last.is_some_and(|(_, message)| message.starts_with("the migration failed at"))
    };
    for (cell, verdict) in &told.verdicts {
        if let Some((_, why)) = told.unasked.iter().find(|(of, _)| of == cell && verdict == "passed") {
            wrong(cell, verdict, &format!("it was not judged for want of an answer: {why}"));
        }
        match (verdict.as_str(), defect) {
            ("failed", None) if mtv_failed(cell) => {}
            ("failed", None) => wrong(cell, verdict, "every migration in this lab is right"),
            ("passed", Some(defect)) => wrong(cell, verdict, &format!("every migration in this lab has {defect}")),
            ("passed", None) | ("failed", Some(_)) => {}
            (other, _) if calm => wrong(cell, other, "nothing was in its way"),
            _ => {}
        }
    }
    found
}

/// Whether the exit code is the one that the verdicts and leftovers ask for.
pub fn code(name: &str, told: &Told, ended: &Ended) -> Option<Violation> {
    let code = ended.code?;
    let said = told.code?;
    let wrong = |why: String| Some(Violation { kind: Kind::Code, what: format!("{name} ended with {code}: {why}") });
    let order = [130, 1, 3, 4, 0, 5];
    if !order.contains(&code) {
        return wrong(format!("its log says {said}"));
    }
    if told.count("failed") > 0 && !matches!(code, 1 | 130) {
        return wrong("a cell failed".to_owned());
    }
    if told.count("errored") > 0 && code == 0 {
        return wrong("a cell errored".to_owned());
    }
    if !told.leftovers.is_empty() && code == 0 {
        return wrong(format!("left behind: {}", told.leftovers.join(", ")));
    }
    None
}

/// The reports of a run that ended by itself on a healthy disk: all there, and whole.
pub fn reports(name: &str, dir: &Path) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut broken = |what: String| found.push(Violation { kind: Kind::Report, what: format!("{name}: {what}") });
    for file in ["junit.xml", "traces.jsonl", "run.json", "report.html", "metrics.prom"] {
        let path: PathBuf = dir.join(file);
        match std::fs::read_to_string(&path) {
            Err(error) => broken(format!("{}: {error}", path.display())),
            Ok(text) if file == "run.json" && serde_json::from_str::<Value>(&text).is_err() => {
                broken(format!("{} is no JSON", path.display()));
            }
            Ok(text) if file == "junit.xml" && !text.trim_end().ends_with("</testsuites>") => {
                broken(format!("{} has no end", path.display()));
            }
            Ok(_) => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(code: Option<i32>, text: &str) -> Ended {
        Ended { code, hung: false, hit: Vec::new(), text: text.to_owned() }
    }

    #[test]
    fn a_panic_a_secret_and_a_death_are_seen() {
        let kinds = |code, text| process("x", &ended(code, text)).into_iter().map(|v| v.kind).collect::<Vec<_>>();
        assert_eq!(kinds(Some(101), "thread 'main' panicked at src/x.rs:1"), [Kind::Panic]);
        assert_eq!(kinds(None, ""), [Kind::Panic]);
        assert_eq!(kinds(Some(3), "login with lab-vsphere failed"), [Kind::Secret]);
        assert_eq!(kinds(Some(3), "nothing to see"), []);
    }

    #[test]
    fn verdicts_are_held_against_the_lab() {
        let told = |verdict: &str| Told { verdicts: vec![("a".into(), verdict.into())], ..Told::default() };
        let wrong = |verdict, defect, calm| verdicts("x", &told(verdict), defect, calm, &[]).len();
        assert_eq!(wrong("failed", None, false), 1);
        assert_eq!(wrong("passed", Some("wrong-cpu"), false), 1);
        assert_eq!(wrong("errored", None, false), 0);
        assert_eq!(wrong("errored", None, true), 1);
        assert_eq!(wrong("passed", None, true), 0);
        let unasked = vec![("a".into(), "power: the source VM could not be read: timed out".into())];
        let blind = |verdict: &str| Told { unasked: unasked.clone(), ..told(verdict) };
        assert_eq!(verdicts("x", &blind("passed"), None, false, &[]).len(), 1);
        assert_eq!(verdicts("x", &blind("errored"), None, false, &[]).len(), 0);
    }

    #[test]
    fn a_migration_that_mtv_failed_while_its_platform_was_away_is_no_wrong_verdict() {
        let cell = "vsphere/warm".to_owned();
        let failed = |message: &str| Told {
            verdicts: vec![(cell.clone(), "failed".into())],
            problems: vec![(cell.clone(), message.into())],
            ..Told::default()
        };
        let wrong = |message: &str, away: &[&str]| verdicts("x", &failed(message), None, false, away).len();
        assert_eq!(wrong("the migration failed at CreateSnapshot", &["vsphere"]), 0);
        assert_eq!(wrong("the migration failed at CreateSnapshot", &["ovirt"]), 1);
        assert_eq!(wrong("power: expected off, found on", &["vsphere"]), 1);
    }

    #[test]
    fn an_exit_code_that_hides_something_is_wrong() {
        let told = Told { verdicts: vec![("a".into(), "failed".into())], code: Some(0), ..Told::default() };
        assert!(code("x", &told, &ended(Some(0), "")).is_some());
        assert!(code("x", &told, &ended(Some(1), "")).is_none());
        let left = Told { leftovers: vec!["VM".into()], code: Some(0), ..Told::default() };
        assert!(code("x", &left, &ended(Some(0), "")).is_some());
        assert!(code("x", &left, &ended(Some(4), "")).is_none());
    }
}
