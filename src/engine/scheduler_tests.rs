//! The scheduler with cells that only take time: a minute each, `long` ten, on a clock that stands still.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::config::{LoadRequest, load};
use crate::event::Recorded;

const MINUTE: Duration = Duration::from_secs(60);

/// Cells that end as they are told.
#[derive(Default)]
struct Fake {
    /// The ends of a scenario's attempts in their order, the last for all that follow. Not told: passed.
    ends: BTreeMap<&'static str, Vec<Verdict>>,
    /// Attempts can be made again.
    repeatable: bool,
    /// What every teardown and the run's close leave.
    leaves: u32,
    /// Names of profiles and groups that are at work, one each time.
    busy: Mutex<Vec<String>>,
    /// The most of each that was ever at work at once; of all under "".
    most: Mutex<BTreeMap<String, usize>>,
    did: Mutex<Vec<String>>,
}

/// One attempt at work, until it ends or is dropped.
struct Busy<'a>(&'a Fake, Vec<String>);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut busy = self.0.busy.lock().unwrap();
        for name in &self.1 {
            let at = busy.iter().position(|b| b == name).unwrap();
            busy.remove(at);
        }
    }
}

impl Fake {
    fn of(ends: &[(&'static str, &[Verdict])]) -> Self {
        let ends = ends.iter().map(|(name, ends)| (*name, ends.to_vec())).collect();
        Self { ends, repeatable: true, ..Self::default() }
    }

    fn work(&self, cell: &Cell) -> Busy<'_> {
        let mut names = vec![String::new(), cell.profile.name.clone()];
        names.extend(cell.scenario.group.clone());
        let mut busy = self.busy.lock().unwrap();
        busy.extend(names.iter().cloned());
        let mut most = self.most.lock().unwrap();
        for name in &names {
            let now = busy.iter().filter(|b| *b == name).count();
            let most = most.entry(name.clone()).or_default();
            *most = now.max(*most);
        }
        Busy(self, names)
    }

    fn most(&self, name: &str) -> usize {
        self.most.lock().unwrap().get(name).copied().unwrap_or_default()
    }

    fn note(&self, what: impl Into<String>) {
        self.did.lock().unwrap().push(what.into());
    }

    fn did(&self) -> Vec<String> {
        self.did.lock().unwrap().clone()
    }
}

impl Work for &Fake {
    async fn attempt(&self, cell: &Cell, attempt: u32) -> Outcome {
        let _busy = self.work(cell);
        tokio::time::sleep(if cell.scenario.name == "long" { 10 * MINUTE } else { MINUTE }).await;
        self.note(format!("{} {attempt} ended", cell.scenario.name));
        let ends = self.ends.get(cell.scenario.name.as_str());
        let nth = |ends: &Vec<Verdict>| ends.get(attempt as usize - 1).or(ends.last()).copied();
        let verdict = ends.and_then(nth).unwrap_or(Verdict::Passed);
        Outcome { verdict, problem: None, repeatable: self.repeatable }
    }

    async fn teardown(&self, cell: &Cell, attempt: u32) -> u32 {
        self.note(format!("{} {attempt} undone", cell.scenario.name));
        self.leaves
    }

    fn keep(&self, cell: &Cell) {
        self.note(format!("{} kept", cell.scenario.name));
    }

    fn forget_failures(&self) {
        self.note("forgot");
    }

    async fn close(&self) -> u32 {
        self.note("closed");
        self.leaves
    }
}

/// Cells of these profiles and scenarios; a profile's or a scenario's first letter is all that differs.
fn cells(names: &[(&str, &str)]) -> Vec<Cell> {
    let dir = tempfile::tempdir().unwrap();
    let providers = r#"{"ova": {"type": "ova", "api_url": "n:/s"}}"#;
    let request = LoadRequest {
        secrets_dir: Some(dir.path().to_owned()),
        providers_text: Some((providers.to_owned(), "test".to_owned())),
        scenarios_default: true,
        ..LoadRequest::default()
    };
    let loaded = load(&request).unwrap_or_else(|e| panic!("{e}"));
    let profile = loaded.providers.values().next().unwrap();
    let scenario = loaded.scenarios.values().find(|scenario| !scenario.runs_alone()).unwrap();
    let cell = |(profile_name, scenario_name): &(&str, &str)| {
        let (mut profile, mut scenario) = (profile.clone(), scenario.clone());
        profile.name = (*profile_name).to_owned();
        scenario.name = (*scenario_name).to_owned();
        scenario.group = None;
        Cell {
            id: CellId::new(profile_name, scenario_name, None),
            profile: Arc::new(profile),
            scenario: Arc::new(scenario),
            storage_class: "rbd".to_owned(),
            decision: Decision::Run,
            expected: MINUTE,
            shard: None,
        }
    };
    names.iter().map(cell).collect()
}

fn options() -> EngineOptions {
    EngineOptions {
        jobs: 8,
        max_concurrent: 8,
        retries: 0,
        retries_on: RetriesOn::Errored,
        fail_fast: FailFast::Never,
        order_seed: None,
        keep: Keep::Never,
    }
}

struct Ran {
    summary: RunSummary,
    events: Vec<EventKind>,
    took: Duration,
}

impl Ran {
    /// By a scenario's name.
    fn verdict(&self, name: &str) -> Verdict {
        let of = |id: &CellId| id.as_str().ends_with(&format!("/{name}"));
        *self.summary.verdicts.iter().find(|(id, _)| of(id)).unwrap().1
    }

    fn started(&self) -> usize {
        self.events.iter().filter(|kind| matches!(kind, EventKind::CellStarted { .. })).count()
    }

    /// Whether each attempt that finished was to be followed by another.
    fn retries(&self) -> Vec<bool> {
        let retry = |kind: &EventKind| match kind {
            EventKind::CellFinished { will_retry, .. } => Some(*will_retry),
            _ => None,
        };
        self.events.iter().filter_map(retry).collect()
    }
}

/// Runs; `signal`: when the run is told to end.
async fn run(fake: &Fake, cells: &[Cell], options: EngineOptions, signal: Option<Duration>) -> Ran {
    let (events, cancel) = (Arc::new(Recorded::default()), CancellationToken::new());
    let run = RunId::parse("mm-abcdefghij").unwrap();
    let scheduler = Scheduler::new(fake, run, events.clone(), options, cells, cancel.clone());
    let begun = Instant::now();
    let tell = async {
        if let Some(after) = signal {
            tokio::time::sleep(after).await;
            cancel.cancel();
        }
    };
    let (summary, ()) = tokio::join!(scheduler.run(cells), tell);
    Ran { summary, events: events.all(), took: begun.elapsed() }
}

#[tokio::test(start_paused = true)]
async fn never_more_cells_are_at_work_than_the_run_a_profile_and_a_group_allow() {
    let mut all =
        cells(&[("a", "1"), ("a", "2"), ("a", "3"), ("a", "4"), ("b", "5"), ("b", "6"), ("c", "7"), ("c", "8")]);
    for cell in &mut all[4..6] {
        Arc::make_mut(&mut cell.profile).max_concurrent = Some(1);
    }
    for cell in [1, 4, 6, 7] {
        Arc::make_mut(&mut all[cell].scenario).group = Some("g".to_owned());
    }
    let fake = Fake::default();
    let ran = run(&fake, &all, EngineOptions { jobs: 4, max_concurrent: 2, ..options() }, None).await;
    assert_eq!((fake.most(""), fake.most("a"), fake.most("b"), fake.most("g")), (4, 2, 1, 2));
    assert_eq!(ran.summary.count(Verdict::Passed), 8);
    assert_eq!(ran.took, 3 * MINUTE, "and nobody waits longer than for that");
}

#[tokio::test(start_paused = true)]
async fn a_cell_that_disturbs_others_is_at_work_while_no_other_is() {
    let mut all = cells(&[("a", "1"), ("a", "2"), ("a", "3"), ("a", "4")]);
    let steps = serde_json::json!([{"kill": {"what": "controller"}}]);
    Arc::make_mut(&mut all[1].scenario).steps = Some(serde_json::from_value(steps).unwrap());
    let fake = Fake::default();
    let ran = run(&fake, &all, EngineOptions { jobs: 3, ..options() }, None).await;
    assert_eq!(ran.summary.count(Verdict::Passed), 4);
    assert_eq!((fake.most(""), ran.took), (2, 3 * MINUTE), "the first, then the second alone, then the other two");
}

#[tokio::test(start_paused = true)]
async fn a_cell_that_waits_for_its_profile_holds_no_place_of_the_run() {
    let mut all = cells(&[("slow", "1"), ("slow", "2"), ("slow", "3"), ("other", "4")]);
    for cell in &mut all[..3] {
        Arc::make_mut(&mut cell.profile).max_concurrent = Some(1);
    }
    let fake = Fake::default();
    let ran = run(&fake, &all, EngineOptions { jobs: 2, ..options() }, None).await;
    let first_two = fake.did().into_iter().filter(|did| did.ends_with("ended")).take(2).collect::<Vec<_>>();
    assert!(first_two.contains(&"4 1 ended".to_owned()), "{first_two:?}");
    assert_eq!(ran.took, 3 * MINUTE);
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_fail_fast_begins_nothing_and_lets_end_what_is_at_work() {
    let all = cells(&[("a", "bad"), ("a", "good"), ("a", "late")]);
    let fake = Fake::of(&[("bad", &[Verdict::Failed])]);
    let ran = run(&fake, &all, EngineOptions { jobs: 2, fail_fast: FailFast::FIRST, ..options() }, None).await;
    let verdicts = ["bad", "good", "late"].map(|name| ran.verdict(name));
    assert_eq!(verdicts, [Verdict::Failed, Verdict::Passed, Verdict::Skipped]);
    let skipped = |kind: &EventKind| match kind {
        EventKind::CellSkipped { reason, .. } => Some(reason.clone()),
        _ => None,
    };
    let reasons: Vec<String> = ran.events.iter().filter_map(skipped).collect();
    assert!(matches!(reasons.as_slice(), [one] if one.contains("--fail-fast")), "{reasons:?}");
    let fake = Fake::of(&[("bad", &[Verdict::Failed])]);
    let ran = run(&fake, &all, EngineOptions { jobs: 1, ..options() }, None).await;
    assert_eq!(ran.summary.count(Verdict::Passed), 2, "without it the others go on");
}

#[tokio::test(start_paused = true)]
async fn fail_fast_bears_as_many_as_it_is_told_and_ends_what_is_at_work_where_that_is_asked_for() {
    let all = cells(&[("a", "bad"), ("a", "worse"), ("a", "slow"), ("a", "late")]);
    let fake = || Fake::of(&[("bad", &[Verdict::Failed]), ("worse", &[Verdict::Errored])]);
    let two = |text: &str| EngineOptions { jobs: 1, fail_fast: text.parse().unwrap(), ..options() };
    let ran = run(&fake(), &all, two("2"), None).await;
    assert_eq!(["bad", "worse", "slow"].map(|n| ran.verdict(n)), [Verdict::Failed, Verdict::Errored, Verdict::Skipped]);
    let (fake, all) = (fake(), cells(&[("a", "bad"), ("a", "long"), ("a", "late")]));
    let ran = run(&fake, &all, EngineOptions { jobs: 2, ..two("1:immediate") }, None).await;
    let verdicts = ["bad", "long", "late"].map(|name| ran.verdict(name));
    assert_eq!(verdicts, [Verdict::Failed, Verdict::Interrupted, Verdict::Skipped]);
    assert_eq!((ran.took, fake.did()[2].as_str()), (MINUTE, "long 1 undone"), "{:?}", fake.did());
}

#[tokio::test(start_paused = true)]
async fn a_seed_gives_the_cells_another_order_and_always_the_same() {
    let all = cells(&[("a", "1"), ("a", "2"), ("a", "3"), ("a", "4"), ("a", "5"), ("a", "6")]);
    let order = async |seed| {
        let fake = Fake::default();
        run(&fake, &all, EngineOptions { jobs: 1, order_seed: seed, ..options() }, None).await;
        fake.did()
    };
    let (as_written, seven) = (order(None).await, order(Some(7)).await);
    assert_ne!(as_written, seven);
    assert_eq!(seven, order(Some(7)).await);
    assert_ne!(seven, order(Some(8)).await);
}

#[tokio::test(start_paused = true)]
async fn a_cell_is_tried_again_until_it_passes_and_each_attempt_is_undone_before_the_next() {
    let all = cells(&[("a", "x")]);
    let fake = Fake::of(&[("x", &[Verdict::Errored, Verdict::Failed, Verdict::Passed])]);
    let options = EngineOptions { retries: 5, retries_on: RetriesOn::Failed, ..options() };
    let ran = run(&fake, &all, options, None).await;
    assert_eq!((ran.verdict("x"), ran.summary.flaky, ran.started()), (Verdict::Passed, 1, 3));
    assert_eq!(ran.retries(), [true, true, false]);
    let expected =
        ["x 1 ended", "x 1 undone", "forgot", "x 2 ended", "x 2 undone", "forgot", "x 3 ended", "x 3 undone", "closed"];
    assert_eq!(fake.did(), expected);
}

#[tokio::test(start_paused = true)]
async fn retries_end_and_what_passed_or_does_not_apply_is_not_repeated() {
    let all = cells(&[("a", "bad"), ("a", "good"), ("a", "unfit")]);
    let fake = Fake::of(&[("bad", &[Verdict::Errored]), ("unfit", &[Verdict::Skipped])]);
    let ran = run(&fake, &all, EngineOptions { retries: 2, ..options() }, None).await;
    assert_eq!(
        ["bad", "good", "unfit"].map(|name| ran.verdict(name)),
        [Verdict::Errored, Verdict::Passed, Verdict::Skipped]
    );
    assert_eq!((ran.started(), ran.summary.flaky), (3 + 1 + 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_blocked_cell_is_not_repeated_nor_kept_and_is_counted() {
    let all = cells(&[("a", "off")]);
    let fake = Fake::of(&[("off", &[Verdict::Blocked, Verdict::Passed])]);
    let options = EngineOptions { retries: 2, keep: Keep::OnFailure, ..options() };
    let ran = run(&fake, &all, options, None).await;
    assert_eq!((ran.verdict("off"), ran.started()), (Verdict::Blocked, 1));
    assert_eq!(fake.did(), ["off 1 ended", "off 1 undone", "closed"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_found_wrong_is_not_tried_away_and_survives_an_attempt_that_broke() {
    let all = cells(&[("a", "found"), ("a", "broke")]);
    let ends: [(&'static str, &[Verdict]); 2] =
        [("found", &[Verdict::Failed, Verdict::Passed]), ("broke", &[Verdict::Errored, Verdict::Failed])];
    let ran = run(&Fake::of(&ends), &all, EngineOptions { retries: 2, ..options() }, None).await;
    assert_eq!(["found", "broke"].map(|name| ran.verdict(name)), [Verdict::Failed, Verdict::Failed]);
    assert_eq!(ran.started(), 1 + 2, "only what broke is tried again");
    let ends: [(&'static str, &[Verdict]); 2] =
        [("found", &[Verdict::Failed, Verdict::Errored]), ("broke", &[Verdict::Failed, Verdict::Passed])];
    let options = EngineOptions { retries: 1, retries_on: RetriesOn::Failed, ..options() };
    let ran = run(&Fake::of(&ends), &all, options, None).await;
    assert_eq!(["found", "broke"].map(|name| ran.verdict(name)), [Verdict::Failed, Verdict::Passed]);
    assert_eq!(ran.summary.flaky, 1);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_used_its_vms_up_is_the_last() {
    let all = cells(&[("a", "x")]);
    let fake = Fake { repeatable: false, ..Fake::of(&[("x", &[Verdict::Errored, Verdict::Passed])]) };
    let ran = run(&fake, &all, EngineOptions { retries: 2, ..options() }, None).await;
    assert_eq!((ran.verdict("x"), ran.started()), (Verdict::Errored, 1));
}

#[tokio::test(start_paused = true)]
async fn a_signal_drops_what_is_at_work_undoes_it_and_begins_nothing_more() {
    let all = cells(&[("a", "1"), ("a", "2"), ("a", "3")]);
    let fake = Fake::default();
    let options = EngineOptions { jobs: 2, retries: 5, keep: Keep::Always, ..options() };
    let ran = run(&fake, &all, options, Some(MINUTE / 2)).await;
    assert_eq!(ran.summary.count(Verdict::Interrupted), 3);
    assert_eq!((ran.started(), ran.took), (2, MINUTE / 2));
    let mut did = fake.did();
    assert_eq!(did.pop().as_deref(), Some("closed"), "at the end, once");
    did.sort();
    assert_eq!(did, ["1 1 undone", "2 1 undone"], "even where things are to be kept: nobody has seen the end");
    assert_eq!(ran.retries(), [false, false]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_kept_where_that_was_asked_for_and_a_pass_is_undone() {
    let all = cells(&[("a", "bad"), ("a", "good")]);
    let fake = Fake::of(&[("bad", &[Verdict::Failed])]);
    run(&fake, &all, EngineOptions { jobs: 1, keep: Keep::OnFailure, ..options() }, None).await;
    assert_eq!(fake.did(), ["bad 1 ended", "bad kept", "good 1 ended", "good 1 undone", "closed"]);
}

#[tokio::test(start_paused = true)]
async fn everything_left_behind_is_counted_the_runs_own_included() {
    let all = cells(&[("a", "bad"), ("a", "good")]);
    let fake = Fake { leaves: 1, ..Fake::of(&[("bad", &[Verdict::Errored])]) };
    let ran = run(&fake, &all, EngineOptions { retries: 1, ..options() }, None).await;
    assert_eq!(ran.summary.leftovers, 2 + 1 + 1);
}
