//! What the pages show, as plain values: the templates decide on nothing but markup.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Reading;
use super::super::cause::{Cause, causes, rank};
use super::super::duration_text;
use super::super::history::{self, CellHistory, History, Night, Past, Standing};
use super::super::log::EventLogError;
use super::super::model::{Attempt, CellModel, RunModel, Transfer, span};
use super::timeline::Timeline;
use super::{DETAILED, Text};
use crate::event::{Finding, Level, Outcome, Problem, Verdict};

/// Lines of its log that a cell which did not pass shows.
const LOG_LINES: usize = 200;
/// Cells that a cause names before the others are folded.
const LINKS: usize = 12;
/// Cells whose details are open, from the top of the page; a browser lays out hundreds of open ones for seconds.
const OPEN: usize = 20;
/// Runs that the page of a results directory shows as columns.
const COLUMNS: usize = 30;

pub struct Fact {
    pub name: Text,
    pub text: Text,
}

pub struct Count {
    pub n: usize,
    pub class: &'static str,
    pub name: &'static str,
}

pub struct ProblemView {
    pub message: Text,
    pub details: Vec<Text>,
    pub look_at: Vec<Place>,
}

/// A place to look at; `inside` is a link that stays inside the results directory.
pub struct Place {
    pub text: Text,
    pub inside: bool,
    pub what: Text,
}

pub struct CauseView {
    pub verdict: &'static str,
    pub title: Text,
    pub expected: Text,
    pub actual: Text,
    pub subject: Text,
    pub problem: Option<ProblemView>,
    /// As many as can be taken in at a glance.
    pub cells: Vec<CellLink>,
    /// The others, folded.
    pub more: Vec<CellLink>,
    /// `2 new, 1 known since …`; empty without a history.
    pub history: String,
}

impl CauseView {
    pub fn count(&self) -> usize {
        self.cells.len() + self.more.len()
    }
}

pub struct CellLink {
    pub anchor: String,
    pub name: Text,
}

pub struct MatrixBox {
    pub anchor: String,
    pub verdict: &'static str,
    pub title: Text,
    pub took: String,
    /// Attempts, where there was more than one.
    pub attempts: usize,
}

pub struct MatrixRow {
    pub scenario: Text,
    pub boxes: Vec<Vec<MatrixBox>>,
}

pub struct Matrix {
    pub columns: Vec<Text>,
    pub rows: Vec<MatrixRow>,
}

pub struct StepView {
    pub name: Text,
    pub verdict: &'static str,
    pub took: String,
    /// Share of the attempt, 0 to 100, for the bar.
    pub from: f64,
    pub share: f64,
}

pub struct CheckView {
    pub class: &'static str,
    pub check: Text,
    pub subject: Text,
    pub expected: Text,
    pub actual: Text,
}

impl CheckView {
    pub fn word(&self) -> &'static str {
        if self.class == "not-judged" { "not judged" } else { self.class }
    }
}

pub struct VmChecks {
    pub vm: Text,
    pub notable: Vec<CheckView>,
    pub passed: Vec<CheckView>,
}

pub struct Curve {
    pub vm: Text,
    pub text: String,
    /// Points of an SVG polyline in a box of 300 × 48.
    pub points: String,
}

pub struct AttemptView {
    pub number: u32,
    pub verdict: &'static str,
    pub namespace: Text,
    pub problems: Vec<ProblemView>,
    pub steps: Vec<StepView>,
    pub curves: Vec<Curve>,
    pub vms: Vec<VmChecks>,
}

pub struct CellView {
    pub anchor: String,
    pub verdict: &'static str,
    pub name: Text,
    pub storage_class: Text,
    pub took: String,
    pub flaky: bool,
    pub open: bool,
    pub skipped: Option<Text>,
    pub unstarted: Option<ProblemView>,
    pub history: Option<String>,
    pub not_judged: usize,
    pub attempts: Vec<AttemptView>,
    pub artifacts: Vec<Place>,
    pub log: Vec<String>,
    pub again: Option<Text>,
    /// The page is too large for all that this cell did: of a bad one what did not pass, of another a line.
    pub brief: bool,
}

pub struct Page<'a> {
    pub run: &'a str,
    pub verdict: &'static str,
    /// The answer in one sentence.
    pub headline: String,
    pub facts: Vec<Fact>,
    pub counts: Vec<Count>,
    pub problem: Option<ProblemView>,
    pub preflight: Vec<Fact>,
    pub causes: Vec<CauseView>,
    pub leftovers: Vec<Fact>,
    pub fixed: Vec<Fact>,
    pub matrix: Matrix,
    pub timeline: Option<Timeline>,
    pub cells: Vec<CellView>,
}

fn place(path: &str, what: &str) -> Place {
    let inside = path.starts_with("artifacts/")
        && !path.contains(':')
        && path.split('/').all(|part| part != ".." && !part.is_empty());
    Place { text: Text::new(path), inside, what: Text::new(what) }
}

fn problem_view(problem: &Problem) -> ProblemView {
    ProblemView {
        message: Text::new(&problem.message),
        // A lone detail often is the end of the message.
        details: problem
            .details
            .iter()
            .filter(|detail| !problem.message.ends_with(detail.as_str()))
            .map(|detail| Text::new(detail))
            .collect(),
        look_at: problem.look_at.iter().map(|path| place(path, "")).collect(),
    }
}

pub(super) fn plural(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

fn headline(model: &RunModel, found: &[Cause<'_>], histories: &BTreeMap<String, CellHistory>) -> String {
    let counts = model.counts();
    let ran = counts.total - counts.skipped;
    let bad = counts.failed + counts.errored + counts.blocked + counts.interrupted;
    let mut text = match (bad, ran) {
        (0, 0) => "No cell ran".to_owned(),
        (0, _) => format!("All {} passed", plural(ran, "cell that ran", "cells that ran")),
        _ => format!(
            "{bad} of {} did not pass, for {}",
            plural(ran, "cell", "cells"),
            plural(found.len(), "reason", "reasons")
        ),
    };
    if counts.flaky > 0 {
        text += &format!("; {} only after a retry", counts.flaky);
    }
    if counts.skipped > 0 {
        text += &format!("; {} skipped", counts.skipped);
    }
    let bad_cells =
        model.cells.iter().filter(|cell| !matches!(cell.final_verdict(), Verdict::Passed | Verdict::Skipped));
    let history = history::told(bad_cells.map(CellModel::name), histories);
    if !history.is_empty() {
        text += &format!(" ({history})");
    }
    text
}

fn facts(model: &RunModel) -> Vec<Fact> {
    let environment = &model.environment;
    let unknown = "unknown";
    let started = model.started.map(|at| at.strftime("%Y-%m-%d %H:%M UTC").to_string());
    let took = duration_text(model.milliseconds());
    let all = [
        ("run", Some(model.run_name())),
        ("started", started.as_deref()),
        ("took", Some(took.as_str())),
        ("MTV", environment.mtv_version.as_deref().or(Some(unknown))),
        ("OpenShift", environment.ocp_version.as_deref().or(Some(unknown))),
        ("Kubernetes", environment.kubernetes_version.as_deref()),
        ("cluster", environment.cluster.as_deref()),
        ("shard", model.shard.as_deref()),
        ("mtv-matrix", Some(environment.tool_version.as_str())),
        ("where", environment.lab.then_some("built-in lab")),
        ("interrupted by", model.interrupted.as_deref()),
    ];
    let notes = environment.notes.iter().map(|(name, text)| (name.as_str(), Some(text.as_str())));
    all.into_iter()
        .chain(notes)
        .filter_map(|(name, text)| Some(Fact { name: Text::new(name), text: Text::new(text?) }))
        .collect()
}

fn counts(model: &RunModel) -> Vec<Count> {
    let counts = model.counts();
    [
        (counts.failed, "failed", "failed"),
        (counts.errored, "errored", "errored"),
        (counts.blocked, "blocked", "blocked"),
        (counts.interrupted, "interrupted", "interrupted"),
        (counts.passed, "passed", "passed"),
        (counts.flaky, "flaky", "flaky"),
        (counts.skipped, "skipped", "skipped"),
        (model.leftovers.len(), "left-behind", "left behind"),
    ]
    .into_iter()
    .map(|(n, class, name)| Count { n, class, name })
    .collect()
}

fn cause_view(
    model: &RunModel,
    cause: &Cause<'_>,
    anchors: &BTreeMap<&str, String>,
    histories: &BTreeMap<String, CellHistory>,
) -> CauseView {
    let (mut expected, mut actual, mut subject) = (Text::default(), Text::default(), Text::default());
    if let Some(finding) = cause.finding {
        // By what was cloned: the same words every night.
        let vm = model.run.as_ref().map_or(finding.vm.as_str(), |run| run.base_of(&finding.vm));
        subject = Text::new(&match &finding.subject {
            Some(part) => format!("{vm}, {part}"),
            None => vm.to_owned(),
        });
        if let Outcome::Failed { expected: wanted, actual: found } = &finding.outcome {
            (expected, actual) = (Text::new(wanted), Text::new(found));
        }
    }
    let title = match (cause.check, cause.problem, cause.stage) {
        (Some(check), _, _) => format!("check {check}"),
        (None, Some(problem), Some(stage)) => format!("{stage}: {}", problem.message),
        (None, Some(problem), None) => problem.message.clone(),
        (None, None, Some(stage)) => format!("{} in {stage}", cause.verdict),
        (None, None, None) => cause.verdict.name().to_owned(),
    };
    let mut cells: Vec<CellLink> = cause
        .cells
        .iter()
        .map(|cell| CellLink {
            anchor: anchors.get(cell.name()).cloned().unwrap_or_default(),
            name: Text::new(cell.name()),
        })
        .collect();
    let more = cells.split_off(cells.len().min(LINKS));
    CauseView {
        verdict: cause.verdict.name(),
        title: Text::new(&title),
        expected,
        actual,
        subject,
        problem: cause.problem.map(problem_view),
        cells,
        more,
        history: history::told(cause.cells.iter().map(|cell| cell.name()), histories),
    }
}

fn matrix(model: &RunModel, anchors: &BTreeMap<&str, String>) -> Matrix {
    let profiles: BTreeSet<&str> = model.cells.iter().map(|cell| cell.info.profile.as_str()).collect();
    let classes: BTreeSet<&str> = model.cells.iter().map(|cell| cell.info.storage_class.as_str()).collect();
    let mut scenarios: Vec<&str> = Vec::new();
    let mut by_place: BTreeMap<(&str, &str), Vec<&CellModel>> = BTreeMap::new();
    for cell in &model.cells {
        let (scenario, profile) = (cell.info.scenario.as_str(), cell.info.profile.as_str());
        if !by_place.contains_key(&(scenario, profile)) && !scenarios.contains(&scenario) {
            scenarios.push(scenario);
        }
        by_place.entry((scenario, profile)).or_default().push(cell);
    }
    let one = |cell: &CellModel| {
        let verdict = cell.final_verdict();
        let because = match (&cell.skipped, cell.problem()) {
            (Some(reason), _) => format!(": {reason}"),
            (None, Some(problem)) => format!(": {}", problem.message),
            (None, None) => String::new(),
        };
        MatrixBox {
            anchor: anchors.get(cell.name()).cloned().unwrap_or_default(),
            verdict: verdict.name(),
            title: Text::new(&format!("{} {verdict}{because}", cell.name())),
            took: match (verdict, classes.len()) {
                (Verdict::Skipped, _) => String::new(),
                (_, 0 | 1) => duration_text(cell.milliseconds()),
                _ => format!("{} {}", cell.info.storage_class, duration_text(cell.milliseconds())),
            },
            attempts: if cell.attempts.len() > 1 { cell.attempts.len() } else { 0 },
        }
    };
    let rows = scenarios.iter().map(|scenario| MatrixRow {
        scenario: Text::new(scenario),
        boxes: profiles
            .iter()
            .map(|profile| by_place.get(&(*scenario, *profile)).into_iter().flatten().map(|cell| one(cell)).collect())
            .collect(),
    });
    Matrix { rows: rows.collect(), columns: profiles.into_iter().map(Text::new).collect() }
}

fn check_view(finding: &Finding) -> CheckView {
    let (class, expected, actual) = match &finding.outcome {
        Outcome::Passed { actual } => ("passed", "", actual.as_str()),
        Outcome::Failed { expected, actual } => ("failed", expected.as_str(), actual.as_str()),
        Outcome::NotJudged { because } => ("not-judged", "", because.as_str()),
    };
    CheckView {
        class,
        check: Text::new(&finding.check),
        subject: Text::new(finding.subject.as_deref().unwrap_or_default()),
        expected: Text::new(expected),
        actual: Text::new(actual),
    }
}

/// `brief`: what failed alone.
fn vm_checks(attempt: &Attempt, brief: bool) -> Vec<VmChecks> {
    let mut vms: Vec<VmChecks> = Vec::new();
    let told = |finding: &Finding| !brief || matches!(finding.outcome, Outcome::Failed { .. });
    for (_, finding) in attempt.findings.iter().filter(|(_, finding)| told(finding)) {
        let name = Text::new(&finding.vm);
        let at = vms.iter().position(|vm| vm.vm == name).unwrap_or_else(|| {
            vms.push(VmChecks { vm: name, notable: Vec::new(), passed: Vec::new() });
            vms.len() - 1
        });
        let Some(vm) = vms.get_mut(at) else { continue };
        let view = check_view(finding);
        if view.class == "passed" { vm.passed.push(view) } else { vm.notable.push(view) }
    }
    for vm in &mut vms {
        // Failed before not judged.
        vm.notable.sort_by_key(|check| check.class != "failed");
    }
    vms
}

/// A row for each stage, and below it one for each step that it is told by.
fn story(attempt: &Attempt, last: Option<jiff::Timestamp>) -> Vec<StepView> {
    let end = attempt.ended.or(last);
    let row = |name: Text, started, ended: Option<jiff::Timestamp>, verdict: Option<Verdict>| {
        let whole = span(Some(attempt.started), end).max(1) as f64;
        let ended = ended.or(end);
        StepView {
            name,
            verdict: verdict.map_or("interrupted", |verdict| verdict.name()),
            took: duration_text(span(Some(started), ended)),
            from: (span(Some(attempt.started), Some(started)) as f64 / whole * 100.0).clamp(0.0, 100.0),
            share: (span(Some(started), ended) as f64 / whole * 100.0).clamp(0.4, 100.0),
        }
    };
    let rows = attempt.stages.iter().flat_map(|stage| {
        let steps = attempt.steps.iter().filter(|step| step.stage == stage.stage);
        let steps = steps.map(|step| row(Text::new(&step.title()), step.started, step.ended, step.verdict));
        std::iter::once(row(Text::new(stage.stage.name()), stage.started, stage.ended, stage.verdict)).chain(steps)
    });
    rows.collect()
}

/// The copying of one VM as a line: percent over time, in a box of 300 × 48.
fn curve(vm: &str, transfer: &Transfer, last: Option<jiff::Timestamp>) -> Curve {
    let took = span(Some(transfer.started), transfer.ended.or(last));
    let whole = took.max(1) as f64;
    let at = |time, percent: f64| {
        let x = span(Some(transfer.started), Some(time)) as f64 / whole * 300.0;
        format!("{:.1},{:.1}", x.clamp(0.0, 300.0), 46.0 - percent.clamp(0.0, 100.0) * 0.44)
    };
    let points: Vec<String> = transfer.samples.iter().map(|(time, percent)| at(*time, *percent)).collect();
    let rate = transfer.megabytes as f64 / (whole / 1000.0);
    Curve {
        vm: Text::new(vm),
        text: format!("{} MB in {}, {rate:.0} MB/s", transfer.megabytes, duration_text(took)),
        points: points.join(" "),
    }
}

/// `brief`: what did not pass alone.
fn attempt_view(model: &RunModel, attempt: &Attempt, brief: bool) -> AttemptView {
    let own = attempt.problem.as_ref();
    // The attempt's problem is some stage's, with more places to look at: it is not told again.
    let more = attempt.stages.iter().filter_map(|stage| stage.problem.as_ref());
    let more = more.filter(|problem| own.is_none_or(|own| own.message != problem.message));
    AttemptView {
        number: attempt.number,
        verdict: attempt.verdict.map_or("interrupted", |verdict| verdict.name()),
        namespace: Text::new(&attempt.namespace),
        problems: own.into_iter().chain(more).map(problem_view).collect(),
        steps: if brief { Vec::new() } else { story(attempt, model.last) },
        curves: if brief {
            Vec::new()
        } else {
            attempt.transfers.iter().map(|(vm, transfer)| curve(vm, transfer, model.last)).collect()
        },
        vms: vm_checks(attempt, brief),
    }
}

/// A command that runs this cell again. Quoted for a POSIX shell where a name needs it.
fn again(cell: &CellModel) -> String {
    let quoted = |text: &str| {
        let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
        if plain { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
    };
    format!("mtv-matrix run -p {} -s {} --keep on-failure", quoted(&cell.info.profile), quoted(&cell.info.scenario))
}

fn cell_view(
    model: &RunModel,
    cell: &CellModel,
    anchor: String,
    history: Option<&CellHistory>,
    brief: bool,
    open: bool,
) -> CellView {
    let verdict = cell.final_verdict();
    let good = matches!(verdict, Verdict::Passed | Verdict::Skipped);
    let told = history.map(|history| {
        let mut text = history.standing.to_string();
        if history.flaky_rate > 0.0 {
            text += &format!(", flaky in {:.0} % of its passes", history.flaky_rate * 100.0);
        }
        if let Some((now, usual)) = history.slower {
            text += &format!(", slower than usual ({} against {})", duration_text(now), duration_text(usual));
        }
        text
    });
    let skip = cell.log.len().saturating_sub(LOG_LINES);
    let log = cell.log.iter().skip(skip).map(|line| {
        let warning = if line.level == Level::Warning { "WARNING " } else { "" };
        format!("{} {warning}{}", line.at.strftime("%H:%M:%SZ"), super::clean(&line.text))
    });
    CellView {
        anchor,
        verdict: verdict.name(),
        name: Text::new(cell.name()),
        storage_class: Text::new(&cell.info.storage_class),
        took: if verdict == Verdict::Skipped { String::new() } else { duration_text(cell.milliseconds()) },
        flaky: cell.flaky(),
        open: open && !good,
        skipped: cell.skipped.as_deref().map(Text::new),
        unstarted: cell.unstarted.as_ref().map(|(_, problem)| problem_view(problem)),
        history: told,
        not_judged: cell.not_judged(),
        attempts: if brief && good {
            Vec::new()
        } else {
            cell.attempts.iter().rev().map(|one| attempt_view(model, one, brief)).collect()
        },
        // Where they are stands with the problem.
        artifacts: if brief && !good {
            Vec::new()
        } else {
            cell.artifacts.iter().map(|one| place(&one.path, &one.what)).collect()
        },
        log: if brief || (good && model.cells.len() > DETAILED / 4) { Vec::new() } else { log.collect() },
        again: (!good).then(|| Text::new(&again(cell))),
        brief,
    }
}

/// Places of the cells that are told in full: all of a small run; of a large one those that its causes name, in turn,
/// then the other bad ones, [`DETAILED`] in all.
fn told_in_full(model: &RunModel, found: &[Cause<'_>]) -> BTreeSet<usize> {
    if model.cells.len() <= DETAILED {
        return (0..model.cells.len()).collect();
    }
    let named = (0..LINKS).flat_map(|turn| found.iter().filter_map(move |cause| cause.cells.get(turn)));
    let others = found.iter().flat_map(|cause| cause.cells.iter().skip(LINKS));
    let mut places = BTreeSet::new();
    for cell in named.chain(others) {
        if places.len() >= DETAILED {
            break;
        }
        places.extend(model.place(cell.name()));
    }
    places
}

impl<'a> Page<'a> {
    pub fn new(run: &'a Reading, history: &History) -> Result<Self, EventLogError> {
        let model = &run.outline;
        let anchors: BTreeMap<&str, String> =
            model.cells.iter().enumerate().map(|(at, cell)| (cell.name(), format!("cell-{at}"))).collect();
        let anchor = |cell: &CellModel| anchors.get(cell.name()).cloned().unwrap_or_default();
        let histories = history.of_all(model);
        let found = causes(model);
        let full = told_in_full(model, &found);
        let mut order: Vec<(usize, &CellModel)> = model.cells.iter().enumerate().collect();
        order.sort_by_key(|(_, cell)| (rank(cell.final_verdict()), !cell.flaky()));
        let mut cells = Vec::with_capacity(order.len());
        for (at, (place, cell)) in order.into_iter().enumerate() {
            let history = histories.get(cell.name());
            let whole = if full.contains(&place) { run.whole(place)? } else { None };
            let told = whole.as_deref().unwrap_or(cell);
            cells.push(cell_view(model, told, anchor(cell), history, whole.is_none(), at < OPEN));
        }
        let fixed = histories.values().filter(|history| matches!(history.standing, Standing::Fixed { .. }));
        Ok(Self {
            run: model.run_name(),
            verdict: model.end.as_ref().map_or("interrupted", |end| end.verdict.name()),
            headline: headline(model, &found, &histories),
            facts: facts(model),
            counts: counts(model),
            problem: model.end.as_ref().and_then(|end| end.problem.as_ref()).map(problem_view),
            preflight: model
                .preflight
                .iter()
                .filter(|probe| !probe.ok)
                .map(|probe| Fact { name: Text::new(&probe.probe), text: Text::new(&probe.message) })
                .collect(),
            causes: found.iter().map(|cause| cause_view(model, cause, &anchors, &histories)).collect(),
            leftovers: model
                .leftovers
                .iter()
                .map(|left| Fact { name: Text::new(&left.what), text: Text::new(&left.because) })
                .collect(),
            fixed: fixed
                .map(|history| Fact { name: Text::new(&history.id), text: Text::new(&history.standing.to_string()) })
                .collect(),
            matrix: matrix(model, &anchors),
            timeline: Timeline::new(model, anchor),
            cells,
        })
    }
}

/// One column of the page of many runs.
pub struct NightColumn {
    /// The run's directory beside the page; a run id, so fit for a link.
    pub run: String,
    pub day: String,
    pub mtv: Text,
    pub verdict: &'static str,
}

pub struct CellRow {
    pub id: Text,
    pub standing: Option<String>,
    pub flaky: Option<String>,
    pub slower: bool,
    /// A mark for each column: verdict, title.
    pub marks: Vec<Option<(&'static str, Text)>>,
}

/// The page of many runs.
pub struct Index<'a> {
    pub nights: Vec<NightColumn>,
    pub rows: Vec<CellRow>,
    pub older: usize,
    pub unread: &'a [(std::path::PathBuf, String)],
}

fn mark(past: &Past) -> (&'static str, Text) {
    let what = if past.failing.is_empty() { String::new() } else { format!(": {}", past.failing.join(", ")) };
    let flaky = if past.flaky { " after a retry" } else { "" };
    let class = if past.flaky { "flaky" } else { past.verdict.name() };
    (class, Text::new(&format!("{}{flaky} in {}{what}", past.verdict, duration_text(past.duration_ms))))
}

impl<'a> Index<'a> {
    pub fn new(history: &'a History) -> Self {
        let newest: Vec<&Night> = history.nights.iter().rev().take(COLUMNS).collect();
        let standings: BTreeMap<String, CellHistory> =
            history.standings().into_iter().map(|one| (one.id.clone(), one)).collect();
        let ids: BTreeSet<&str> = newest.iter().flat_map(|night| night.cells.keys().map(String::as_str)).collect();
        let mut rows: Vec<(u8, CellRow)> = ids
            .into_iter()
            .map(|id| {
                let standing = standings.get(id);
                let order = match standing.map(|one| &one.standing) {
                    Some(Standing::New { .. }) => 0,
                    Some(Standing::Known { .. }) => 1,
                    Some(Standing::Fixed { .. }) => 2,
                    Some(Standing::Passing { .. }) => 3,
                    None => 4,
                };
                let row = CellRow {
                    id: Text::new(id),
                    standing: standing.map(|one| one.standing.to_string()),
                    flaky: standing
                        .filter(|one| one.flaky_rate > 0.0)
                        .map(|one| format!("flaky {:.0} %", one.flaky_rate * 100.0)),
                    slower: standing.is_some_and(|one| one.slower.is_some()),
                    marks: newest.iter().map(|night| night.cells.get(id).map(mark)).collect(),
                };
                (order, row)
            })
            .collect();
        rows.sort_by_key(|(order, _)| *order);
        let column = |night: &&Night| NightColumn {
            run: night.run.clone(),
            day: night.started.strftime("%m-%d %H:%M").to_string(),
            mtv: Text::new(night.mtv_version.as_deref().unwrap_or("?")),
            verdict: night.verdict.name(),
        };
        Self {
            nights: newest.iter().map(column).collect(),
            rows: rows.into_iter().map(|(_, row)| row).collect(),
            older: history.nights.len().saturating_sub(COLUMNS),
            unread: &history.unread,
        }
    }
}
