//! `report.html`: one file, no network, nothing that runs.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::model::{Attempt, CellModel, RunModel, span};
use super::{clean, duration_text};
use crate::event::{Finding, Level, Outcome, Problem};

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
    put!(
        out,
        "<p>run {} · {} · MTV {} · OpenShift {} · mtv-matrix {}{}</p>",
        esc(model.run_name()),
        duration_text(model.milliseconds()),
        esc(environment.mtv_version.as_deref().unwrap_or(unknown)),
        esc(environment.ocp_version.as_deref().unwrap_or(unknown)),
        esc(&environment.tool_version),
        if environment.lab { " · built-in lab" } else { "" }
    );
    let counts = model.counts();
    put!(out, "<ul class=\"counts\">");
    for (n, name) in [
        (counts.passed, "passed"),
        (counts.failed, "failed"),
        (counts.errored, "errored"),
        (counts.skipped, "skipped"),
        (counts.interrupted, "interrupted"),
    ] {
        put!(out, "<li class=\"{name}\"><b>{n}</b> {name}</li>");
    }
    put!(out, "<li><b>{}</b> flaky</li><li><b>{}</b> left behind</li></ul>", counts.flaky, model.leftovers.len());
    if let Some(problem) = model.end.as_ref().and_then(|end| end.problem.as_ref()) {
        put_problem(problem, out);
    }
    put!(out, "</header>");
}

fn put_problem(problem: &Problem, out: &mut String) {
    put!(out, "<div class=\"problem\"><b>{}</b>", esc(&problem.message));
    for detail in &problem.details {
        put!(out, "<div>{}</div>", esc(detail));
    }
    for place in &problem.look_at {
        put!(out, "<div>look at: <code>{}</code></div>", esc(place));
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
        put!(out, "<th>{}</th>", esc(profile));
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

/// Width of the timeline's time axis in SVG units.
const AXIS: i64 = 1000;
const ROW: usize = 22;

fn timeline(model: &RunModel, out: &mut String) {
    let ran: Vec<&CellModel> = model.cells.iter().filter(|cell| !cell.attempts.is_empty()).collect();
    let total = model.milliseconds().max(1);
    let x = |at| span(model.started, at).saturating_mul(AXIS) / total;
    put!(
        out,
        "<h2>Timeline</h2><div class=\"scroll\"><svg viewBox=\"0 0 1300 {}\" role=\"img\">",
        (ran.len() + 1) * ROW
    );
    for (row, cell) in ran.iter().enumerate() {
        let y = row * ROW;
        put!(out, "<text x=\"0\" y=\"{}\">{}</text>", y + 15, esc(&shortened(cell.name())));
        for attempt in &cell.attempts {
            for stage in &attempt.stages {
                let (from, to) = (x(Some(stage.started)), x(stage.ended.or(attempt.ended).or(model.last)));
                let verdict = stage.verdict.map_or("interrupted", |verdict| verdict.name());
                put!(
                    out,
                    "<rect class=\"{verdict} s-{}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"16\"><title>{} attempt {}: {verdict}, {}</title></rect>",
                    stage.stage,
                    300 + from,
                    y + 3,
                    (to - from).max(2),
                    stage.stage,
                    attempt.number,
                    duration_text(span(Some(stage.started), stage.ended.or(model.last)))
                );
            }
        }
    }
    let y = ran.len() * ROW + 15;
    put!(
        out,
        "<text x=\"300\" y=\"{y}\">0s</text><text x=\"1240\" y=\"{y}\">{}</text></svg></div>",
        duration_text(total)
    );
}

fn shortened(name: &str) -> String {
    const LONGEST: usize = 42;
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
        "<tr class=\"{class}\"><td>{}</td><td>{}</td><td>{}</td><td><span class=\"pill {class}\">{}</span></td><td>{}</td><td>{}</td></tr>",
        esc(&finding.check),
        esc(&finding.vm),
        esc(finding.subject.as_deref().unwrap_or_default()),
        class.replace('-', " "),
        esc(expected),
        esc(actual)
    );
}

fn attempt(attempt: &Attempt, out: &mut String) {
    put!(out, "<h4>Attempt {} in <code>{}</code></h4>", attempt.number, esc(&attempt.namespace));
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
    for problem in attempt
        .stages
        .iter()
        .filter_map(|stage| stage.problem.as_ref())
        .filter(|p| Some(*p) != attempt.problem.as_ref())
    {
        put_problem(problem, out);
    }
    if !attempt.findings.is_empty() {
        put!(out, "<div class=\"scroll\"><table><tr><th>check<th>VM<th>subject<th>outcome<th>expected<th>actual</tr>");
        for (_, finding) in &attempt.findings {
            finding_row(finding, out);
        }
        put!(out, "</table></div>");
    }
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
        put!(out, "<h4>Artifacts</h4><ul>");
        for one in &cell.artifacts {
            put!(out, "<li>{} {}</li>", artifact(&one.path), esc(&one.what));
        }
        put!(out, "</ul>");
    }
    if !cell.log.is_empty() {
        put!(out, "<h4>Log</h4><pre>");
        for line in &cell.log {
            let warning = if line.level == Level::Warning { "WARNING " } else { "" };
            put!(out, "{} {warning}{}", line.at, esc(&line.text));
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
    for cell in &model.cells {
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
