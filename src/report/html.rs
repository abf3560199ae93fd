//! `report.html`: one file, no network, nothing that runs.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::model::{Attempt, CellModel, RunModel, StageModel, span};
use super::{clean, duration_text};
use crate::event::{Finding, Level, Outcome, Problem, Verdict};

const STYLE: &str = include_str!("report.css");

/// Text for any place in HTML, attribute values in double quotes included.
fn esc(text: &str) -> String {
    clean(text)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

/// Appending to a `String` cannot fail; this keeps the lines short.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => {{ let _ = writeln!($out, $($arg)*); }};
}

fn anchor(model: &RunModel, cell: &CellModel) -> String {
    let position = model.cells.iter().position(|other| other.info.id == cell.info.id).unwrap_or_default();
    format!("cell-{position}")
}

fn header(model: &RunModel, out: &mut String) {
    let verdict = model.end.as_ref().map_or("interrupted", |end| end.verdict.name());
    let unknown = "unknown";
    put!(out, "<header><h1>MTV matrix <span class=\"pill {verdict}\">{verdict}</span></h1>");
    let environment = &model.environment;
    let started = model.started.map(|at| at.strftime("%Y-%m-%d %H:%M UTC").to_string());
    let facts = [
        ("run", Some(model.run_name())),
        ("started", started.as_deref()),
        ("took", Some(&*duration_text(model.milliseconds()))),
        ("MTV", environment.mtv_version.as_deref().or(Some(unknown))),
        ("OpenShift", environment.ocp_version.as_deref().or(Some(unknown))),
        ("Kubernetes", environment.kubernetes_version.as_deref()),
        ("cluster", environment.cluster.as_deref()),
        ("shard", model.shard.as_deref()),
        ("mtv-matrix", Some(environment.tool_version.as_str())),
        ("where", environment.lab.then_some("built-in lab")),
    ];
    put!(out, "<dl class=\"facts\">");
    let notes = environment.notes.iter().map(|(name, text)| (name.as_str(), Some(text.as_str())));
    for (name, text) in facts.into_iter().chain(notes) {
        if let Some(text) = text {
            put!(out, "<div><dt>{}</dt><dd>{}</dd></div>", esc(name), esc(text));
        }
    }
    put!(out, "</dl>");
    let counts = model.counts();
    put!(out, "<ul class=\"counts\">");
    for (n, name) in [
        (counts.passed, "passed"),
        (counts.failed, "failed"),
        (counts.errored, "errored"),
        (counts.skipped, "skipped"),
        (counts.interrupted, "interrupted"),
        (counts.flaky, "flaky"),
        (model.leftovers.len(), "left behind"),
    ] {
        let class = if n == 0 { "none".to_owned() } else { name.replace(' ', "-") };
        put!(out, "<li class=\"{class}\"><b>{n}</b> {name}</li>");
    }
    put!(out, "</ul>");
    if let Some(problem) = model.end.as_ref().and_then(|end| end.problem.as_ref()) {
        put_problem(problem, out);
    }
    put!(out, "</header>");
}

fn put_problem(problem: &Problem, out: &mut String) {
    put!(out, "<div class=\"problem\"><b>{}</b>", esc(&problem.message));
    // A lone detail often is the end of the message.
    for detail in problem.details.iter().filter(|detail| !problem.message.ends_with(detail.as_str())) {
        put!(out, "<div>{}</div>", esc(detail));
    }
    for place in &problem.look_at {
        let shown = if place.starts_with("artifacts/") { artifact(place) } else { esc(place) };
        put!(out, "<div>look at: <code>{shown}</code></div>");
    }
    put!(out, "</div>");
}

fn grid(model: &RunModel, out: &mut String) {
    let profiles: BTreeSet<&str> = model.cells.iter().map(|cell| cell.info.profile.as_str()).collect();
    let mut scenarios: Vec<&str> = Vec::new();
    for cell in &model.cells {
        if !scenarios.contains(&cell.info.scenario.as_str()) {
            scenarios.push(&cell.info.scenario);
        }
    }
    put!(out, "<h2>Matrix</h2><div class=\"scroll\"><table class=\"grid\"><tr><th></th>");
    for profile in &profiles {
        put!(out, "<th scope=\"col\">{}</th>", esc(profile));
    }
    put!(out, "</tr>");
    for scenario in scenarios {
        put!(out, "<tr><th>{}</th>", esc(scenario));
        for profile in &profiles {
            put!(out, "<td>");
            for cell in model.cells.iter().filter(|c| c.info.scenario == scenario && c.info.profile == *profile) {
                let verdict = cell.final_verdict();
                let flaky = if cell.flaky() { " (flaky)" } else { "" };
                put!(
                    out,
                    "<a class=\"box {verdict}\" href=\"#{}\" title=\"{}\">{verdict}{flaky}<small>{}</small></a>",
                    anchor(model, cell),
                    esc(&cell.info.storage_class),
                    duration_text(cell.milliseconds())
                );
            }
            put!(out, "</td>");
        }
        put!(out, "</tr>");
    }
    put!(out, "</table></div>");
}

/// Where the time axis begins and how long it is, in SVG units.
const LEFT: i64 = 370;
const AXIS: i64 = 900;
const ROW: usize = 24;

/// A round step that divides the run into four to ten parts, in milliseconds.
fn step(total: i64) -> i64 {
    const STEPS: [i64; 12] =
        [100, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000, 3_600_000];
    STEPS.into_iter().find(|step| total / step <= 10).unwrap_or(7_200_000)
}

fn timeline(model: &RunModel, out: &mut String) {
    let ran: Vec<&CellModel> = model.cells.iter().filter(|cell| !cell.attempts.is_empty()).collect();
    if ran.is_empty() {
        return;
    }
    let total = model.milliseconds().max(1);
    let place = |milliseconds: i64| LEFT + milliseconds.saturating_mul(AXIS) / total;
    let height = ran.len() * ROW;
    put!(
        out,
        "<h2>Timeline</h2><p class=\"key\"><i class=\"rect s-prepare\"></i>prepare, maps and plan <i class=\"rect s-migrate\"></i>migrate <i class=\"rect s-verify\"></i>verify <i class=\"rect s-teardown\"></i>teardown</p><div class=\"scroll\"><svg viewBox=\"0 0 1300 {}\" role=\"img\" aria-label=\"Stages of each cell over time\">",
        height + 34
    );
    let mut tick = 0;
    while tick <= total {
        let x = place(tick);
        put!(out, "<line x1=\"{x}\" x2=\"{x}\" y1=\"6\" y2=\"{}\"/>", height + 8);
        put!(out, "<text class=\"tick\" x=\"{x}\" y=\"{}\">{}</text>", height + 24, duration_text(tick));
        tick += step(total);
    }
    for (row, cell) in ran.iter().enumerate() {
        let y = row * ROW + 8;
        let verdict = cell.final_verdict();
        put!(
            out,
            "<a href=\"#{}\"><circle class=\"{verdict}\" cx=\"16\" cy=\"{}\" r=\"5\"/>",
            anchor(model, cell),
            y + 8
        );
        put!(out, "<text x=\"28\" y=\"{}\">{}</text></a>", y + 12, esc(&shortened(cell.name())));
        for attempt in &cell.attempts {
            for stage in &attempt.stages {
                bar(model, attempt, stage, (y, &place), out);
            }
        }
    }
    put!(out, "</svg></div>");
}

fn bar(
    model: &RunModel,
    attempt: &Attempt,
    stage: &StageModel,
    (y, place): (usize, &impl Fn(i64) -> i64),
    out: &mut String,
) {
    let ended = stage.ended.or(attempt.ended).or(model.last);
    let (from, to) = (place(span(model.started, Some(stage.started))), place(span(model.started, ended)));
    let verdict = stage.verdict.map_or("interrupted", |verdict| verdict.name());
    put!(
        out,
        "<rect class=\"{verdict} s-{}\" x=\"{from}\" y=\"{y}\" width=\"{}\" height=\"16\" rx=\"2\"><title>{} (attempt {}): {verdict}, {}</title></rect>",
        stage.stage,
        (to - from).max(2),
        stage.stage,
        attempt.number,
        duration_text(span(Some(stage.started), ended))
    );
}

fn shortened(name: &str) -> String {
    const LONGEST: usize = 44;
    if name.chars().count() <= LONGEST {
        name.to_owned()
    } else {
        name.chars().take(LONGEST - 1).chain(['…']).collect()
    }
}

fn finding_row(finding: &Finding, out: &mut String) {
    let (class, expected, actual) = match &finding.outcome {
        Outcome::Passed { actual } => ("passed", "", actual.as_str()),
        Outcome::Failed { expected, actual } => ("failed", expected.as_str(), actual.as_str()),
        Outcome::NotJudged { because } => ("not-judged", "", because.as_str()),
    };
    put!(
        out,
        "<tr class=\"{class}\"><td><span class=\"pill {class}\">{}</span></td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
        class.replace('-', " "),
        esc(&finding.check),
        esc(finding.subject.as_deref().unwrap_or_default()),
        esc(expected),
        esc(actual)
    );
}

/// A table a VM, what failed first.
fn checks(attempt: &Attempt, out: &mut String) {
    let mut vms: Vec<&str> = Vec::new();
    for (_, finding) in &attempt.findings {
        if !vms.contains(&finding.vm.as_str()) {
            vms.push(&finding.vm);
        }
    }
    let rank = |finding: &Finding| match finding.outcome {
        Outcome::Failed { .. } => 0,
        Outcome::NotJudged { .. } => 1,
        Outcome::Passed { .. } => 2,
    };
    for vm in vms {
        let mut findings: Vec<&Finding> =
            attempt.findings.iter().map(|(_, finding)| finding).filter(|finding| finding.vm == vm).collect();
        findings.sort_by_key(|finding| rank(finding));
        put!(out, "<h4>Checks of <code>{}</code></h4><div class=\"scroll\"><table class=\"checks\">", esc(vm));
        put!(out, "<tr><th>outcome</th><th>check</th><th>subject</th><th>expected</th><th>actual</th></tr>");
        for finding in findings {
            finding_row(finding, out);
        }
        put!(out, "</table></div>");
    }
}

fn attempt(attempt: &Attempt, out: &mut String) {
    put!(out, "<h3>Attempt {} <small>in <code>{}</code></small></h3>", attempt.number, esc(&attempt.namespace));
    if let Some(problem) = &attempt.problem {
        put_problem(problem, out);
    }
    put!(out, "<p>");
    for stage in &attempt.stages {
        let verdict = stage.verdict.map_or("interrupted", |verdict| verdict.name());
        let took = duration_text(span(Some(stage.started), stage.ended));
        put!(out, "<span class=\"pill {verdict}\">{} {took}</span>", stage.stage);
    }
    put!(out, "</p>");
    // The attempt's problem is some stage's, with more places to look at: it is not told again.
    let told = attempt.problem.as_ref().map(|problem| problem.message.as_str());
    for problem in attempt.stages.iter().filter_map(|stage| stage.problem.as_ref()) {
        if Some(problem.message.as_str()) != told {
            put_problem(problem, out);
        }
    }
    checks(attempt, out);
}

/// A link that stays inside the results directory; other paths are shown as text.
fn artifact(path: &str) -> String {
    let inside = !path.starts_with('/') && !path.contains(':') && path.split('/').all(|part| part != "..");
    if inside { format!("<a href=\"{0}\">{0}</a>", esc(path)) } else { esc(path) }
}

fn details(model: &RunModel, cell: &CellModel, out: &mut String) {
    let verdict = cell.final_verdict();
    let open = if matches!(verdict.name(), "passed" | "skipped") { "" } else { " open" };
    put!(
        out,
        "<details id=\"{}\"{open}><summary><span class=\"pill {verdict}\">{verdict}</span> {} <small>{}</small></summary>",
        anchor(model, cell),
        esc(cell.name()),
        duration_text(cell.milliseconds())
    );
    if let Some(reason) = &cell.skipped {
        put!(out, "<p>{}</p>", esc(reason));
    }
    if let Some((_, problem)) = &cell.unstarted {
        put_problem(problem, out);
    }
    for one in cell.attempts.iter().rev() {
        attempt(one, out);
    }
    if !cell.artifacts.is_empty() {
        put!(out, "<h4>Artifacts</h4><ul class=\"files\">");
        for one in &cell.artifacts {
            put!(out, "<li>{} <small>{}</small></li>", artifact(&one.path), esc(&one.what));
        }
        put!(out, "</ul>");
    }
    if !cell.log.is_empty() {
        put!(out, "<h4>Log</h4><pre tabindex=\"0\">");
        for line in &cell.log {
            let warning = if line.level == Level::Warning { "WARNING " } else { "" };
            put!(out, "{} {warning}{}", line.at.strftime("%H:%M:%SZ"), esc(&line.text));
        }
        put!(out, "</pre>");
    }
    put!(out, "</details>");
}

/// The whole page.
pub fn render(model: &RunModel) -> String {
    let mut out = String::new();
    put!(out, "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    put!(
        out,
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    );
    put!(out, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    put!(out, "<title>mtv-matrix {}</title><style>{STYLE}</style></head><body>", esc(model.run_name()));
    header(model, &mut out);
    for probe in model.preflight.iter().filter(|probe| !probe.ok) {
        put!(out, "<div class=\"problem\"><b>preflight {}</b> {}</div>", esc(&probe.probe), esc(&probe.message));
    }
    grid(model, &mut out);
    timeline(model, &mut out);
    if !model.leftovers.is_empty() {
        put!(out, "<h2>Left behind</h2><ul>");
        for left in &model.leftovers {
            put!(out, "<li><code>{}</code> {}</li>", esc(&left.what), esc(&left.because));
        }
        put!(out, "</ul>");
    }
    put!(out, "<h2>Cells</h2>");
    // What needs a reader comes first.
    let good = |cell: &&CellModel| matches!(cell.final_verdict(), Verdict::Passed | Verdict::Skipped);
    let (rest, first): (Vec<&CellModel>, Vec<&CellModel>) = model.cells.iter().partition(good);
    for cell in first.into_iter().chain(rest) {
        details(model, cell, &mut out);
    }
    put!(out, "</body></html>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cluster_says_never_becomes_markup() {
        let page = render(&RunModel::from_events(&crate::report::fixture::events()));
        assert!(!page.contains("<script"));
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
        assert!(page.contains("default-src 'none'"));
        assert!(page.contains("href=\"artifacts/broken/plan.yaml\""));
        assert!(!artifact("javascript:alert(1)").contains("href"));
        assert!(!artifact("../../etc/passwd").contains("href"));
    }
}
