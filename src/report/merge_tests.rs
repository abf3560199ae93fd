//! Joining shards: which runs are taken, what is refused, and that nothing is lost or told twice.

use std::path::PathBuf;

use super::*;
use crate::event::Stage;

/// Cells `c0`…`c3`; shard K runs cell `cK`.
fn info(n: usize) -> CellInfo {
    let name = format!("c{n}");
    CellInfo {
        id: CellId::new("vsphere", &name, None),
        profile: "vsphere".into(),
        platform: "vsphere".into(),
        scenario: name,
        storage_class: format!("class-of-{n}"),
        tags: Vec::new(),
        expected_ms: None,
    }
}

fn set(index: usize, name: &str) -> ShardSet {
    let shards = (0..4).map(|n| format!("{n}/4")).collect();
    ShardSet { id: format!("id-of-{name}"), name: Some(name.to_owned()), index, shards }
}

/// The id of a shard's run.
fn run_id(name: &str, index: usize, start: i64) -> RunId {
    RunId::of_text("mm", &format!("{name}-{index}-{start}"))
}

struct Volume(tempfile::TempDir);

impl Volume {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    /// A run of shard `index`, from second `start` on, an event a second. `verdict` `None`: it was killed.
    fn run(&self, index: usize, name: &str, start: i64, verdict: Option<Verdict>) -> PathBuf {
        let own = info(index).id;
        let mut kinds = vec![EventKind::RunStarted {
            carried: Vec::new(),
            demands: exit::Demands::default(),
            schema: SCHEMA,
            run: run_id(name, index, start),
            environment: Box::new(crate::event::Environment {
                mtv_version: Some("2.11.3".into()),
                ..Default::default()
            }),
            cells: (0..4)
                .map(info)
                .map(|i| if i.id == own { i } else { CellInfo { storage_class: String::new(), ..i } })
                .collect(),
            shard: Some(format!("{index}/4")),
            set: Some(set(index, name)),
        }];
        for n in (0..4).filter(|n| *n != index) {
            let shard = Some(format!("{n}/4"));
            kinds.push(EventKind::CellSkipped { cell: info(n).id, reason: "elsewhere".into(), shard });
        }
        kinds.push(EventKind::Preflight { probe: "mtv".into(), ok: true, message: "2.11.3".into() });
        let cell = || own.clone();
        kinds.push(EventKind::CellStarted { cell: cell(), attempt: 1, namespace: format!("ns-{index}") });
        kinds.push(EventKind::StageStarted { cell: cell(), attempt: 1, stage: Stage::Plan });
        kinds.push(EventKind::Artifact { cell: cell(), path: format!("artifacts/c{index}/a.yaml"), what: "a".into() });
        kinds.push(EventKind::Artifact { cell: cell(), path: "../../escape".into(), what: "b".into() });
        if let Some(verdict) = verdict {
            kinds.push(EventKind::CellFinished { cell: cell(), attempt: 1, verdict, problem: None, will_retry: false });
            let exit_code = if verdict == Verdict::Failed { exit::FAILED } else { exit::PASSED };
            kinds.push(EventKind::RunFinished { verdict, leftovers: 0, exit_code, problem: None });
        }
        self.write(&format!("run-{name}-{index}-{start}"), start, kinds)
    }

    fn write(&self, dir: &str, start: i64, kinds: Vec<EventKind>) -> PathBuf {
        let dir = self.0.path().join(dir);
        std::fs::create_dir_all(dir.join("artifacts")).unwrap();
        let at = |i: i64| Timestamp::from_second(1_780_000_000 + start + i).unwrap();
        let mut writer = crate::report::log::EventWriter::create(&dir.join("events.jsonl")).unwrap();
        for (i, kind) in (0..).zip(kinds) {
            writer.append(&Event { seq: u64::try_from(i).unwrap() + 1, at: at(i), kind }).unwrap();
        }
        dir
    }
}

fn merged(dirs: &[PathBuf], allow_missing: bool) -> Result<Merged, MergeError> {
    join(find(dirs, None)?, allow_missing)
}

fn verdicts(merged: &Merged) -> Vec<Verdict> {
    merged.run.outline.cells.iter().map(|cell| cell.final_verdict()).collect()
}

fn exit_code(merged: &Merged) -> u8 {
    merged.run.outline.end.as_ref().unwrap().exit_code
}

const PASSED: Option<Verdict> = Some(Verdict::Passed);

#[test]
fn a_whole_set_becomes_one_run_with_each_cell_from_its_owner() {
    let volume = Volume::new();
    for index in 0..4 {
        let verdict = if index == 2 { Verdict::Failed } else { Verdict::Passed };
        let dir = volume.run(index, "a", 10 - i64::try_from(index).unwrap(), Some(verdict));
        std::fs::create_dir_all(dir.join(format!("artifacts/c{index}"))).unwrap();
        std::fs::write(dir.join(format!("artifacts/c{index}/a.yaml")), format!("of {index}")).unwrap();
    }
    let merged = merged(&[volume.path()], false).unwrap();
    assert_eq!(verdicts(&merged), [Verdict::Passed, Verdict::Passed, Verdict::Failed, Verdict::Passed]);
    assert_eq!(exit_code(&merged), exit::FAILED);
    assert_eq!(merged.run.outline.counts().skipped, 0, "what another shard ran is not skipped");
    let classes: Vec<&str> = merged.run.outline.cells.iter().map(|c| c.info.storage_class.as_str()).collect();
    assert_eq!(classes, ["class-of-0", "class-of-1", "class-of-2", "class-of-3"], "the owner knows the class");
    assert_eq!(merged.run.outline.preflight.len(), 1, "what all say alike is said once");
    let seqs: Vec<u64> = merged.events.iter().map(|e| e.seq).collect();
    assert_eq!(seqs, (1..=u64::try_from(seqs.len()).unwrap()).collect::<Vec<_>>());
    assert!(merged.events.is_sorted_by_key(|e| e.at));

    let out = volume.path().join("joined");
    merged.write(&out).unwrap();
    assert_eq!(std::fs::read_to_string(out.join("artifacts/c3/a.yaml")).unwrap(), "of 3");
    assert!(!volume.path().join("escape").exists());
    // The joined log is a log like any other …
    let again = read_events(&out.join("events.jsonl")).unwrap();
    assert_eq!(again, merged.events);
    // … but no shard, so that joining the same volume again gives the same.
    assert_eq!(join(find(&[volume.path()], None).unwrap(), false).unwrap().events, merged.events);
}

#[test]
fn one_trace_holds_all_shards_below_its_root() {
    let volume = Volume::new();
    let dirs: Vec<PathBuf> = (0..4).map(|index| volume.run(index, "a", 0, PASSED)).collect();
    super::super::write_all(&dirs[1], &Reading::of_log(&dirs[1].join("events.jsonl"), Vec::new()).unwrap());
    let mut text = Vec::new();
    merged(&dirs, false).unwrap().traces(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let mut ids = Vec::new();
    let mut parents = Vec::new();
    let mut roots = 0;
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        for span in line["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap() {
            assert_eq!(span["traceId"], trace::trace_id(RunId::of_text("set", "id-of-a").as_str()).to_string());
            ids.push(span["spanId"].as_str().unwrap().to_owned());
            match span["parentSpanId"].as_str().unwrap_or_default() {
                "" => roots += 1,
                parent => parents.push(parent.to_owned()),
            }
        }
    }
    assert_eq!((roots, ids.len()), (1, 1 + 4 * 3), "the set; and of each shard a run, a cell and a stage");
    assert!(parents.iter().all(|parent| ids.contains(parent)));
}

#[test]
fn a_missing_or_killed_shard_is_refused_by_name_unless_it_may_be_missing() {
    let volume = Volume::new();
    volume.run(0, "a", 0, PASSED);
    volume.run(1, "a", 0, None);
    volume.run(3, "a", 0, PASSED);
    let refused = merged(&[volume.path()], false).err().unwrap().to_string();
    assert!(
        refused.contains(&format!("shard 1/4: run {} in ", run_id("a", 1, 0))) && refused.contains("was killed"),
        "{refused}"
    );
    assert!(refused.contains("shard 2/4: no run of it was found"), "{refused}");
    assert!(!refused.contains("shard 0/4"), "{refused}");

    let partly = merged(&[volume.path()], true).unwrap();
    assert_eq!(verdicts(&partly), [Verdict::Passed, Verdict::Interrupted, Verdict::Errored, Verdict::Passed]);
    let problem = partly.run.outline.cells[2].problem().unwrap();
    assert!(problem.message.contains("missing"), "{problem:?}");
    assert_eq!(exit_code(&partly), exit::INTERRUPTED);

    volume.run(1, "a", 100, PASSED);
    volume.run(2, "a", 100, PASSED);
    let whole = merged(&[volume.path()], false).unwrap();
    assert_eq!((verdicts(&whole), exit_code(&whole)), (vec![Verdict::Passed; 4], exit::PASSED));
}

#[test]
fn the_newer_run_of_an_index_replaces_the_older_and_two_at_once_are_refused() {
    let volume = Volume::new();
    (0..4).for_each(|index| _ = volume.run(index, "a", 0, Some(Verdict::Failed)));
    (0..4).for_each(|index| _ = volume.run(index, "a", 50, PASSED));
    assert_eq!(verdicts(&merged(&[volume.path()], false).unwrap()), [Verdict::Passed; 4]);
    volume.run(3, "a", 52, PASSED);
    let refused = merged(&[volume.path()], true).err().unwrap().to_string();
    assert!([50, 52].iter().all(|start| refused.contains(run_id("a", 3, *start).as_str())), "{refused}");
    assert!(!refused.contains(run_id("a", 2, 50).as_str()), "{refused}");
}

#[test]
fn a_foreign_shard_and_a_run_that_is_no_shard_are_refused() {
    let volume = Volume::new();
    let mut dirs: Vec<PathBuf> = (0..3).map(|index| volume.run(index, "a", 0, PASSED)).collect();
    dirs.push(volume.run(3, "b", 0, PASSED));
    let refused = merged(&dirs, true).err().unwrap().to_string();
    assert!(refused.contains("not of one set") && refused.contains("shard 3/4 of set b (id-of-b)"), "{refused}");
    let other = volume.write("other", 0, vec![EventKind::Interrupted { signal: "SIGTERM".into() }]);
    let refused = merged(&[other], true).err().unwrap().to_string();
    assert!(refused.contains("is not a run of a shard"), "{refused}");
    assert!(matches!(merged(&[Volume::new().path()], true), Err(MergeError::Nothing(_))));
}

#[test]
fn of_a_volume_the_newest_set_is_taken_unless_another_is_named() {
    let volume = Volume::new();
    (0..4).for_each(|index| _ = volume.run(index, "monday", 0, Some(Verdict::Failed)));
    (0..4).for_each(|index| _ = volume.run(index, "tuesday", 500, PASSED));
    std::os::unix::fs::symlink("run-monday-0-0", volume.path().join("latest-0-of-4")).unwrap();
    assert_eq!(exit_code(&merged(&[volume.path()], false).unwrap()), exit::PASSED);
    for named in ["monday", "id-of-monday"] {
        let runs = find(&[volume.path()], Some(named)).unwrap();
        assert_eq!(exit_code(&join(runs, false).unwrap()), exit::FAILED);
    }
    assert!(find(&[volume.path()], Some("sunday")).is_err());
}
