//! Many runs as one: the shards of a set joined into the events of one run.
//!
//! Knows event logs only. Each cell's events are taken from the shard that ran it. A shard that was run
//! again replaces its older runs; one that is missing, that did not end, or that ran twice at once is said,
//! because a report that silently lacks cells is worse than none.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, Write};
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;

use super::files::{self, FillError};
use super::log::{EventLogError, read_events, read_started};
use super::model::{RunModel, unstarted};
use super::{Reading, ReportError, Written, fill, trace, write_files};
use crate::api::names::{CellId, RunId};
use crate::event::{CellInfo, Event, EventKind, Problem, SCHEMA, ShardSet, Verdict, exit};

/// Why shards can't be joined.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    #[error(transparent)]
    Log(#[from] EventLogError),
    #[error("failed to read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{0} is not a run of a shard: it was made without --shard, --shards and --part-of")]
    NotAShard(PathBuf),
    #[error("there is no run of a shard in {0}")]
    Nothing(String),
    #[error("these shards are not of one set:\n{0}")]
    Foreign(String),
    #[error("set {set}: these shards ran more than once at the same time; name the directories to take:\n{what}")]
    Duplicate { set: String, what: String },
    #[error("set {set} is not whole:\n{what}--allow-missing joins what is there")]
    Missing { set: String, what: String },
    #[error(transparent)]
    Report(#[from] ReportError),
}

/// One run of one shard.
#[derive(Debug, Clone)]
pub struct ShardRun {
    pub dir: PathBuf,
    pub run: RunId,
    pub set: ShardSet,
    pub started: Timestamp,
}

impl ShardRun {
    fn describe(&self) -> String {
        format!("shard {} of set {}: run {} in {}", self.set.shard(), set_name(&self.set), self.run, self.dir.display())
    }
}

fn set_name(set: &ShardSet) -> String {
    match &set.name {
        Some(name) => format!("{name} ({})", set.id),
        None => set.id.clone(),
    }
}

/// The run of a shard in a directory; `None`: there is no event log, or that of another kind of run.
fn look(dir: &Path) -> Result<Option<ShardRun>, EventLogError> {
    let log = dir.join("events.jsonl");
    if !files::is_file(&log) {
        return Ok(None);
    }
    let Some(first) = read_started(&log)? else { return Ok(None) };
    let EventKind::RunStarted { run, set: Some(set), .. } = first.kind else { return Ok(None) };
    Ok(Some(ShardRun { dir: dir.to_owned(), run, set, started: first.at }))
}

/// The runs of one set among directories of runs and of results. Of results directories the newest set is
/// taken, unless `wanted` (its name or id) says which.
pub fn find(dirs: &[PathBuf], wanted: Option<&str>) -> Result<Vec<ShardRun>, MergeError> {
    let (mut named, mut found) = (Vec::new(), Vec::new());
    for dir in dirs {
        let read = |source| MergeError::Read { path: dir.clone(), source };
        let dir = files::real(dir).map_err(read)?;
        if files::is_file(&dir.join("events.jsonl")) {
            named.push(look(&dir)?.ok_or_else(|| MergeError::NotAShard(dir.clone()))?);
            continue;
        }
        // Links lead to the others. A log that can't be read is not of this set, or will be missed.
        let runs = files::directories(&dir).map_err(read)?;
        found.extend(runs.iter().filter_map(|dir| look(dir).ok().flatten()));
    }
    let newest = || found.iter().max_by_key(|run: &&ShardRun| run.started).map(|run| run.set.id.clone());
    let is_wanted = |set: &ShardSet| wanted.is_none_or(|w| set.id == w || set.name.as_deref() == Some(w));
    let id = match wanted {
        Some(_) => {
            let all = named.iter().chain(&found).filter(|run| is_wanted(&run.set));
            all.max_by_key(|run| run.started).map(|run| run.set.id.clone())
        }
        None => named.first().map(|run| run.set.id.clone()).or_else(newest),
    };
    let Some(id) = id else {
        let places: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
        let which = wanted.map(|w| format!(" of set {w}")).unwrap_or_default();
        return Err(MergeError::Nothing(format!("{}{which}", places.join(", "))));
    };
    if named.iter().any(|run| run.set.id != id) {
        let lines: Vec<String> = named.iter().map(|run| format!("  {}", run.describe())).collect();
        return Err(MergeError::Foreign(lines.join("\n")));
    }
    let mut all: Vec<ShardRun> = named.into_iter().chain(found.into_iter().filter(|run| run.set.id == id)).collect();
    all.sort_by(|a, b| (a.set.index, a.started, &a.run).cmp(&(b.set.index, b.started, &b.run)));
    all.dedup_by(|a, b| a.run == b.run);
    Ok(all)
}

/// A shard's run that counts, with its events.
struct Part {
    run: ShardRun,
    events: Vec<Event>,
    ended: bool,
}

/// A set joined.
pub struct Merged {
    pub events: Vec<Event>,
    pub run: Reading,
    parts: Vec<Part>,
}

/// Joins the runs of one set, as [`find`] gives them.
pub fn join(runs: Vec<ShardRun>, allow_missing: bool) -> Result<Merged, MergeError> {
    let Some(set) = runs.first().map(|run| run.set.clone()) else {
        return Err(MergeError::Nothing("what was given".to_owned()));
    };
    let parts = choose(&set, runs)?;
    let mut missing = String::new();
    for (index, shard) in set.shards.iter().enumerate() {
        match parts.iter().find(|part| part.run.set.index == index) {
            None => _ = writeln!(missing, "  shard {shard}: no run of it was found"),
            Some(part) if !part.ended => {
                let (run, dir) = (&part.run.run, part.run.dir.display());
                _ = writeln!(missing, "  shard {shard}: run {run} in {dir} has not ended, or was killed");
            }
            Some(_) => {}
        }
    }
    if !missing.is_empty() && !allow_missing {
        return Err(MergeError::Missing { set: set_name(&set), what: missing });
    }
    let events = events(&set, &parts, &missing);
    let run = Reading::of_events(&events);
    Ok(Merged { events, run, parts })
}

/// The newest run of each shard. A run that began before the one before it had ended is no re-run.
fn choose(set: &ShardSet, runs: Vec<ShardRun>) -> Result<Vec<Part>, MergeError> {
    let mut parts: Vec<Part> = Vec::new();
    let mut twice = String::new();
    for run in runs {
        let events = read_events(&run.dir.join("events.jsonl"))?;
        let ended = events.iter().any(|event| matches!(event.kind, EventKind::RunFinished { .. }));
        match parts.last_mut().filter(|part| part.run.set.index == run.set.index) {
            Some(older) => {
                if older.events.last().is_some_and(|last| last.at > run.started) {
                    _ = writeln!(twice, "  {}\n  {}", older.run.describe(), run.describe());
                }
                *older = Part { run, events, ended };
            }
            None => parts.push(Part { run, events, ended }),
        }
    }
    if twice.is_empty() { Ok(parts) } else { Err(MergeError::Duplicate { set: set_name(set), what: twice }) }
}

/// The cells that a log begins with.
fn cells(part: &Part) -> &[CellInfo] {
    let started = part.events.iter().find_map(|event| match &event.kind {
        EventKind::RunStarted { cells, .. } => Some(cells.as_slice()),
        _ => None,
    });
    started.unwrap_or_default()
}

/// Which part each cell belongs to: every shard names the owners of what it leaves to others.
fn owners<'a>(parts: &'a [Part], models: &[RunModel]) -> BTreeMap<&'a CellId, Option<usize>> {
    let mut named: BTreeMap<&CellId, &str> = BTreeMap::new();
    for event in parts.iter().flat_map(|part| &part.events) {
        if let EventKind::CellSkipped { cell, shard: Some(shard), .. } = &event.kind {
            named.insert(cell, shard);
        }
    }
    let first = parts.first().map(cells).unwrap_or_default();
    let owner = |cell: &CellId| match named.get(cell) {
        Some(shard) => parts.iter().position(|part| part.run.set.shard() == *shard),
        // Alone, a shard names everything but its own.
        None => models.iter().position(|m| m.cell(cell).is_some_and(|c| !c.attempts.is_empty())).or(Some(0)),
    };
    first.iter().map(|info| (&info.id, owner(&info.id))).collect()
}

fn events(set: &ShardSet, parts: &[Part], missing: &str) -> Vec<Event> {
    let models: Vec<RunModel> = parts.iter().map(|part| RunModel::from_events(&part.events)).collect();
    let owners = owners(parts, &models);
    let first = parts.first().map(cells).unwrap_or_default();
    // The owner may know more of a cell, e.g. the cluster's default class.
    let info = |info: &CellInfo| {
        let own = owners.get(&info.id).copied().flatten().and_then(|n| parts.get(n));
        own.and_then(|part| cells(part).iter().find(|i| i.id == info.id)).unwrap_or(info).clone()
    };

    let mut kinds: Vec<(Timestamp, EventKind)> = Vec::new();
    let mut skipped = Vec::new();
    let mut probes = Vec::new();
    for event in in_time(parts) {
        match &event.kind {
            EventKind::RunStarted { .. } | EventKind::RunFinished { .. } => continue,
            EventKind::CellSkipped { shard: Some(_), .. } => continue,
            // What all shards say alike is said once.
            EventKind::CellSkipped { cell, .. } if skipped.contains(&cell) => continue,
            EventKind::CellSkipped { cell, .. } => skipped.push(cell),
            EventKind::Preflight { ok: true, probe, .. } if probes.contains(&probe) => continue,
            EventKind::Preflight { ok: true, probe, .. } => probes.push(probe),
            _ => {}
        }
        kinds.push((event.at, event.kind.clone()));
    }
    let last = parts.iter().filter_map(|part| part.events.last()).map(|event| event.at).max().unwrap_or_default();
    for info in first.iter().filter(|info| !skipped.contains(&&info.id)) {
        let own = owners.get(&info.id).copied().flatten();
        let (verdict, problem) = match own.and_then(|n| parts.get(n).zip(models.get(n))) {
            None => (Verdict::Errored, Problem::new("the shard of this cell is missing: nobody ran it")),
            Some((_, model)) if model.cell(&info.id).is_some_and(|cell| !cell.never_began()) => continue,
            Some((part, model)) => match &model.end {
                Some(end) => unstarted(end.verdict, end.problem.as_ref()),
                None => {
                    let shard = part.run.set.shard();
                    (Verdict::Interrupted, Problem::new(format!("shard {shard} was killed before this cell began")))
                }
            },
        };
        kinds.push((last, EventKind::CellUnstarted { cell: info.id.clone(), verdict, problem }));
    }

    let began = parts.iter().map(|part| part.run.started).min().unwrap_or_default();
    let started = EventKind::RunStarted {
        schema: SCHEMA,
        run: run_of(set),
        environment: Box::new(environment(set, parts, &models)),
        cells: first.iter().map(info).collect(),
        shard: None,
        set: None,
        demands: models.first().map(|model| model.demands).unwrap_or_default(),
        carried: Vec::new(),
    };
    kinds.insert(0, (began, started));
    let mut all = numbered(kinds);
    let end = finished(&all, parts, &models, missing);
    let seq = u64::try_from(all.len()).unwrap_or(u64::MAX) + 1;
    all.push(Event { seq, at: last, kind: end });
    all
}

/// All events of all parts by time; those of one part stay in their order.
fn in_time(parts: &[Part]) -> Vec<&Event> {
    let mut all: Vec<(Timestamp, usize, &Event)> = Vec::new();
    for (n, part) in parts.iter().enumerate() {
        let mut at = Timestamp::MIN;
        for event in &part.events {
            // A clock that was set back must not change the order.
            at = at.max(event.at);
            all.push((at, n, event));
        }
    }
    all.sort_by_key(|(at, n, event)| (*at, *n, event.seq));
    all.into_iter().map(|(_, _, event)| event).collect()
}

fn numbered(kinds: Vec<(Timestamp, EventKind)>) -> Vec<Event> {
    kinds.into_iter().zip(1..).map(|((at, kind), seq)| Event { seq, at, kind }).collect()
}

/// The joined run's id: it depends on the set alone.
pub fn run_of(set: &ShardSet) -> RunId {
    RunId::of_text("set", &set.id)
}

/// One fact of an environment.
type Fact = fn(&crate::event::Environment) -> Option<&String>;

fn environment(set: &ShardSet, parts: &[Part], models: &[RunModel]) -> crate::event::Environment {
    let known = models.iter().find(|model| model.environment.mtv_version.is_some()).or(models.first());
    let mut environment = known.map(|model| model.environment.clone()).unwrap_or_default();
    let runs: Vec<String> = parts.iter().map(|part| format!("{} {}", part.run.set.shard(), part.run.run)).collect();
    environment.notes.insert("set".to_owned(), set_name(set));
    environment.notes.insert("shards".to_owned(), runs.join(", "));
    let facts: [(&str, Fact); 3] = [
        ("cluster", |e| e.cluster.as_ref()),
        ("MTV", |e| e.mtv_version.as_ref()),
        ("OpenShift", |e| e.ocp_version.as_ref()),
    ];
    for (name, fact) in facts {
        let mut all: Vec<&str> = models.iter().filter_map(|m| fact(&m.environment)).map(String::as_str).collect();
        all.sort_unstable();
        all.dedup();
        if all.len() > 1 {
            environment.notes.insert(format!("{name} differs between shards"), all.join(", "));
        }
    }
    environment
}

fn finished(events: &[Event], parts: &[Part], models: &[RunModel], missing: &str) -> EventKind {
    let model = RunModel::from_events(events);
    let counts = model.counts();
    let demands = model.demands;
    let ends = || models.iter().filter_map(|model| model.end.as_ref());
    let interrupted = counts.interrupted > 0 || ends().any(|end| end.exit_code == exit::INTERRUPTED);
    // A run can break without a cell of its own, e.g. one that had nothing to run.
    let errored = counts.errored + ends().filter(|end| end.exit_code == exit::ENVIRONMENT).count();
    let tally = exit::Tally { errored, ..model.tally(interrupted) };
    let exit_code = tally.code(&demands);
    let mut problem = Problem::default();
    for (part, end) in parts.iter().zip(models.iter().map(|model| &model.end)) {
        // That a shard had too few cells to run says nothing of the set.
        let end = end.as_ref().filter(|end| end.exit_code != exit::TOO_FEW);
        if let Some(broken) = end.and_then(|end| end.problem.as_ref()) {
            problem.details.push(format!("shard {}: {}", part.run.set.shard(), broken.message));
            problem.details.extend(broken.details.iter().map(|detail| format!("  {detail}")));
        }
    }
    problem.details.extend(missing.lines().map(|line| line.trim().to_owned()));
    problem.message = match (missing.is_empty(), problem.details.is_empty()) {
        (false, _) => "the set is not whole".to_owned(),
        (true, false) => "a shard could not run its cells".to_owned(),
        (true, true) if exit_code == exit::TOO_FEW => tally.too_few(&demands).unwrap_or_default(),
        (true, true) => String::new(),
    };
    EventKind::RunFinished {
        verdict: exit::verdict(exit_code),
        leftovers: u32::try_from(model.leftovers.len()).unwrap_or(u32::MAX),
        exit_code,
        problem: (!problem.message.is_empty()).then_some(problem),
    }
}

impl Merged {
    /// Writes the reports, the events and the cells' artifacts into `out`.
    pub fn write(&self, out: &Path) -> Result<Written, MergeError> {
        files::make_directory(out).map_err(|source| MergeError::Read { path: out.to_owned(), source })?;
        for part in &self.parts {
            copy_artifacts(part, out)?;
        }
        let events = fill(&out.join("events.jsonl"), |log| {
            for event in &self.events {
                serde_json::to_writer(&mut *log, event)
                    .map_err(|e| ReportError::Render { what: "events.jsonl", message: e.to_string() })?;
                log.write_all(b"\n")?;
            }
            Ok(())
        })?;
        let mut written = write_files(out, &self.run, |out| self.traces(out));
        written.files.insert(0, events);
        Ok(written)
    }

    /// One trace: the set, below it the runs of its shards with all that they saw.
    fn traces(&self, out: &mut dyn Write) -> Result<(), FillError> {
        let model = &self.run.outline;
        out.write_all(trace::root(model)?.as_bytes())?;
        for part in &self.parts {
            let name = part.run.run.as_str();
            let mut made = Vec::new();
            let lines: Box<dyn BufRead> = match files::open(&part.run.dir.join("traces.jsonl")) {
                Ok(there) => Box::new(there),
                // A killed run has none.
                Err(_) => {
                    trace::write(&RunModel::from_events(&part.events), &mut made)?;
                    Box::new(made.as_slice())
                }
            };
            trace::adopt(model.run_name(), name, lines.lines(), out)?;
        }
        Ok(())
    }
}

fn copy_artifacts(part: &Part, out: &Path) -> Result<(), MergeError> {
    for event in &part.events {
        let EventKind::Artifact { path, .. } = &event.kind else { continue };
        let path = Path::new(path);
        // The log is a file like any other: it must not lead out of its directory.
        if !path.components().all(|part| matches!(part, Component::Normal(_))) {
            continue;
        }
        let (from, to) = (part.run.dir.join(path), out.join(path));
        files::copy_all(&from, &to).map_err(|source| MergeError::Read { path: from, source })?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
