//! Retention against results directories of every kind.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use proptest::prelude::*;

use super::results::{Limits, Pruned, prune};
use crate::api::names::RunId;
use crate::event::{EventKind, ShardSet};
use crate::ledger::guard::Guard;
use crate::ledger::{Ledger, Thing};
use crate::report::fixture;

fn name(n: usize) -> String {
    let letter = |n: usize| char::from(b'a' + u8::try_from(n % 26).unwrap()).to_string().replace('l', "z");
    format!("mm-{}{}aaaaaaaa", letter(n / 26), letter(n))
}

fn vm() -> Thing {
    let (profile, platform, name) = ("p".into(), "vsphere".into(), "vm".into());
    Thing::SourceVm { profile, platform, name, id: None, instance: None }
}

/// The directory of a run that began on that day, without a ledger.
fn bare(root: &Path, run: &str, day: i64, set: Option<ShardSet>) -> PathBuf {
    let dir = root.join(run);
    fs::create_dir_all(dir.join("artifacts/cell")).unwrap();
    let mut start = fixture::events().swap_remove(0);
    start.at = Timestamp::from_second(day * 86_400).unwrap();
    if let EventKind::RunStarted { run: told, set: of, .. } = &mut start.kind {
        *told = run.parse().unwrap();
        *of = set;
    }
    fs::write(dir.join("events.jsonl"), serde_json::to_string(&start).unwrap() + "\n").unwrap();
    fs::write(dir.join("report.html"), "x".repeat(2_000)).unwrap();
    fs::write(dir.join("artifacts/cell/plan.yaml"), "x".repeat(1_000)).unwrap();
    dir
}

/// Likewise, with a ledger from which everything is gone.
fn finished(root: &Path, run: &str, day: i64) -> PathBuf {
    let dir = bare(root, run, day, None);
    let ledger = ledger_of(&dir);
    let entry = ledger.intent(None, vm()).unwrap();
    ledger.gone(entry).unwrap();
    dir
}

fn ledger_of(dir: &Path) -> Ledger {
    let run: RunId = dir.file_name().unwrap().to_str().unwrap().parse().unwrap();
    Ledger::create(&dir.join("ledger.jsonl"), &run).unwrap()
}

fn append(dir: &Path, bytes: &[u8]) {
    OpenOptions::new().append(true).open(dir.join("ledger.jsonl")).unwrap().write_all(bytes).unwrap();
}

fn runs(n: usize) -> Limits {
    Limits { runs: Some(n), bytes: None }
}

fn there(root: &Path) -> BTreeSet<String> {
    fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn names(of: &[(PathBuf, impl Sized)]) -> Vec<&str> {
    of.iter().map(|(dir, _)| dir.file_name().unwrap().to_str().unwrap()).collect()
}

#[test]
fn the_oldest_go_and_the_run_that_begins_counts() {
    let root = tempfile::tempdir().unwrap();
    for n in 0..5 {
        finished(root.path(), &name(n), i64::try_from(n).unwrap());
    }
    assert_eq!(prune(root.path(), Limits::default(), None, &[]), Pruned::default());
    let pruned = prune(root.path(), runs(3), None, &[]);
    assert_eq!(there(root.path()), BTreeSet::from([name(3), name(4)]));
    let (removed, rest) = pruned.lines();
    let removed = removed.unwrap();
    assert!(removed.contains(&format!("{}, {}, {}", name(2), name(1), name(0))), "{removed}");
    assert_eq!(rest, Vec::<String>::new());
    assert_eq!(prune(root.path(), runs(3), None, &[]), Pruned::default(), "nothing is left to do");
}

#[test]
fn by_size_the_newest_stay_as_far_as_they_fit() {
    let root = tempfile::tempdir().unwrap();
    for n in 0..4 {
        finished(root.path(), &name(n), i64::try_from(n).unwrap());
    }
    let limits = Limits { runs: None, bytes: Some(10_000) };
    prune(root.path(), limits, None, &[]);
    assert_eq!(there(root.path()), BTreeSet::from([name(2), name(3)]), "a run has some 4 kB");
}

#[test]
fn what_a_ledger_still_holds_or_cannot_tell_stays_with_the_reason() {
    let root = tempfile::tempdir().unwrap();
    let open = bare(root.path(), &name(0), 0, None);
    ledger_of(&open).intent(None, vm()).unwrap();
    let kept = bare(root.path(), &name(1), 1, None);
    let ledger = ledger_of(&kept);
    let entry = ledger.intent(None, vm()).unwrap();
    ledger.done(entry, None).unwrap();
    ledger.kept(entry).unwrap();
    let torn = finished(root.path(), &name(2), 2);
    append(&torn, b"{\"what\":\"inte");
    let unreadable = finished(root.path(), &name(3), 3);
    append(&unreadable, b"{\"what\":\"inte\xff\n");
    let empty = finished(root.path(), &name(4), 4);
    File::create(empty.join("ledger.jsonl")).unwrap();
    let going = finished(root.path(), &name(5), 5);
    let _guard = Guard::hold(&going.join("ledger.jsonl"), "run").unwrap();
    let led_away = bare(root.path(), &name(6), 6, None);
    std::os::unix::fs::symlink("/nowhere", led_away.join("ledger.jsonl")).unwrap();
    let before = fs::read(torn.join("ledger.jsonl")).unwrap();
    let pruned = prune(root.path(), runs(1), None, &[]);
    assert_eq!(there(root.path()).len(), 7);
    assert_eq!((pruned.removed.len(), pruned.stayed.len(), pruned.failed.len()), (0, 7, 0));
    let told = pruned.lines().1.join("\n");
    for why in ["clean --results", "is at work with them", "begins with its run id", "is no file"] {
        assert!(told.contains(why), "`{why}`: {told}");
    }
    assert_eq!(fs::read(torn.join("ledger.jsonl")).unwrap(), before, "a look changes nothing");
}

#[test]
fn a_run_that_never_made_a_thing_goes_and_a_removal_that_was_cut_short_is_finished() {
    let root = tempfile::tempdir().unwrap();
    bare(root.path(), &name(0), 0, None);
    let cut = finished(root.path(), &name(1), 1);
    fs::remove_file(cut.join("ledger.jsonl")).unwrap();
    fs::remove_dir_all(cut.join("artifacts")).unwrap();
    prune(root.path(), runs(1), None, &[]);
    assert_eq!(there(root.path()), BTreeSet::new());
}

#[test]
fn what_does_not_prove_to_be_a_run_of_ours_is_neither_counted_nor_touched() {
    let root = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    // A folder of notes, one of another run's log, one that only looks so, a file, a link to a run that is elsewhere.
    fs::create_dir(root.path().join("notes")).unwrap();
    let renamed = finished(root.path(), &name(7), 0);
    fs::rename(&renamed, root.path().join(name(8))).unwrap();
    fs::create_dir(root.path().join(name(9))).unwrap();
    fs::write(root.path().join(name(10)), "a file").unwrap();
    let far = finished(elsewhere.path(), &name(11), 0);
    std::os::unix::fs::symlink(&far, root.path().join(name(11))).unwrap();
    let linked_log = finished(root.path(), &name(12), 0);
    fs::rename(linked_log.join("events.jsonl"), root.path().join("log")).unwrap();
    std::os::unix::fs::symlink("../log", linked_log.join("events.jsonl")).unwrap();
    finished(root.path(), &name(13), 1);
    let before = there(root.path());
    let pruned = prune(root.path(), runs(1), None, &[]);
    assert_eq!(names(&pruned.removed), [name(13)]);
    let left: BTreeSet<String> = before.into_iter().filter(|entry| *entry != name(13)).collect();
    assert_eq!(there(root.path()), left);
    assert!(far.join("events.jsonl").is_file() && root.path().join("notes").is_dir());
}

#[test]
fn what_a_link_leads_to_stays_and_what_a_link_inside_leads_to_is_not_followed() {
    let root = tempfile::tempdir().unwrap();
    let treasure = tempfile::tempdir().unwrap();
    fs::write(treasure.path().join("gold"), "").unwrap();
    let old = finished(root.path(), &name(0), 0);
    std::os::unix::fs::symlink(treasure.path(), old.join("artifacts/more")).unwrap();
    std::os::unix::fs::symlink(treasure.path(), old.join("more")).unwrap();
    finished(root.path(), &name(1), 1);
    let again = finished(root.path(), &name(2), 2);
    std::os::unix::fs::symlink(name(1), root.path().join("latest")).unwrap();
    std::os::unix::fs::symlink("gone", root.path().join("latest-0-of-2")).unwrap();
    let pruned = prune(root.path(), runs(1), None, &[&again]);
    assert_eq!(names(&pruned.removed), [name(0)]);
    assert!(treasure.path().join("gold").is_file());
    assert!(pruned.stayed.is_empty(), "that a link leads there is nothing to tell: {:?}", pruned.stayed);
}

#[test]
fn the_shards_of_a_named_set_are_one_night_and_go_together_or_not_at_all() {
    let root = tempfile::tempdir().unwrap();
    let set = |name: &str, index| ShardSet {
        id: format!("id-{name}"),
        name: Some(name.to_owned()),
        index,
        shards: vec!["0/2".to_owned(), "1/2".to_owned()],
    };
    for (n, day, set) in [(0, 0, set("old", 0)), (1, 0, set("old", 1)), (2, 1, set("held", 0)), (3, 1, set("held", 1))]
    {
        bare(root.path(), &name(n), day, Some(set));
    }
    let joined = crate::report::merge::run_of(&set("old", 0));
    bare(root.path(), joined.as_str(), 0, None);
    ledger_of(&root.path().join(name(2))).intent(None, vm()).unwrap();
    // The other shard of the set that begins.
    bare(root.path(), &name(4), 2, Some(set("now", 0)));
    prune(root.path(), runs(2), Some(&set("now", 1)), &[]);
    assert_eq!(there(root.path()), BTreeSet::from([name(2), name(3), name(4)]));
}

/// A thing that lies in a results directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lies {
    Finished,
    Bare,
    Open,
    Torn,
    Foreign,
    Linked,
}

fn lies() -> impl Strategy<Value = Lies> {
    use Lies::*;
    prop_oneof![4 => Just(Finished), 2 => Just(Bare), 1 => Just(Open), 1 => Just(Torn), 1 => Just(Foreign), 1 => Just(Linked)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever lies there: only runs that are over go, the oldest first, and no more of them than must.
    #[test]
    fn only_what_is_over_goes_and_the_oldest_first(all in proptest::collection::vec((lies(), 0i64..1000), 0..14), keep in 1usize..8) {
        let root = tempfile::tempdir().unwrap();
        let mut days: Vec<(i64, String, Lies)> = Vec::new();
        for (n, (lies, day)) in all.into_iter().enumerate() {
            // No two at the same time.
            let (run, day) = (name(n), day * 100 + i64::try_from(n).unwrap());
            let dir = match lies {
                Lies::Finished | Lies::Torn | Lies::Linked => finished(root.path(), &run, day),
                Lies::Bare | Lies::Open => bare(root.path(), &run, day, None),
                Lies::Foreign => {
                    fs::create_dir(root.path().join(&run)).unwrap();
                    continue;
                }
            };
            match lies {
                Lies::Open => _ = ledger_of(&dir).intent(None, vm()).unwrap(),
                Lies::Torn => append(&dir, b"{\"wh"),
                Lies::Linked => std::os::unix::fs::symlink(&run, root.path().join(format!("latest-{n}"))).unwrap(),
                _ => {}
            }
            days.push((day, run, lies));
        }
        days.sort_by_key(|(day, _, _)| std::cmp::Reverse(*day));
        let before = there(root.path());
        let pruned = prune(root.path(), runs(keep), None, &[]);
        let beyond = days.iter().enumerate().filter(|(place, _)| place + 1 >= keep).map(|(_, run)| run);
        let expected: Vec<String> = beyond
            .filter(|(_, _, lies)| matches!(lies, Lies::Finished | Lies::Bare))
            .map(|(_, run, _)| run.clone())
            .collect();
        prop_assert_eq!(names(&pruned.removed), expected.iter().map(String::as_str).collect::<Vec<_>>());
        let gone: BTreeSet<String> = expected.into_iter().collect();
        let left: BTreeSet<String> = before.difference(&gone).cloned().collect();
        prop_assert_eq!(there(root.path()), left);
        prop_assert!(pruned.failed.is_empty());
    }
}
