//! `report.html`: one file, no network. What failed and why comes first.
//!
//! Knows the model of a run and what earlier runs of the same cells said ([`History`]). The template escapes
//! every value by its type; the one script is inline, allowed by its hash, and only hides and shows what the
//! page holds already: without it the page says the same.
//!
//! Bounds: of more than [`DETAILED`] cells that many are told in full, those first that the causes name; of the other bad
//! ones what did not pass is told, of the rest a line. The timeline shows [`TIMELINE`] cells at most, the bad ones first. A
//! cause names a dozen cells and folds the others; the first cells that did not pass are open, however many there are.

mod timeline;
mod view;

use std::io::Write;

use askama::Template;
use base64::Engine as _;
use sha2::{Digest as _, Sha256};

use super::files::FillError;
use super::history::History;
use super::{Reading, ReportError, clean};
use view::Page;

const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");

/// Cells that a page tells in full.
pub const DETAILED: usize = 150;
/// Rows of the timeline.
pub const TIMELINE: usize = 120;

/// Text from outside, fit for a page: no control characters, no direction overrides. The template escapes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text(String);

impl Text {
    pub fn new(text: &str) -> Self {
        Self(clean(text))
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl askama::FastWritable for Text {
    fn write_into(&self, dest: &mut dyn std::fmt::Write, _: &dyn askama::Values) -> askama::Result<()> {
        Ok(dest.write_str(&self.0)?)
    }
}

#[derive(Template)]
#[template(path = "report.html")]
struct ReportPage<'a> {
    style: &'static str,
    script: &'static str,
    policy: String,
    page: Page<'a>,
}

/// What the page may load and run: its own style, and the one script by its hash.
fn policy(script: &str) -> String {
    let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(script.as_bytes()));
    format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'"
    )
}

/// The whole page. `history` is what earlier runs in the same results directory said; empty where there are none.
pub fn write(run: &Reading, history: &History, out: &mut dyn Write) -> Result<(), FillError> {
    let page = Page::new(run, history).map_err(ReportError::from)?;
    let page = ReportPage { style: STYLE, script: SCRIPT, policy: policy(SCRIPT), page };
    page.write_into(out)?;
    Ok(out.write_all(b"\n")?)
}

/// `report.html` as text.
#[cfg(test)]
fn render(run: &Reading, history: &History) -> Result<String, FillError> {
    let mut out = Vec::new();
    write(run, history, &mut out)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// The page of many runs: `index.html` of a results directory.
#[derive(Template)]
#[template(path = "index.html")]
struct IndexPage<'a> {
    style: &'static str,
    policy: String,
    index: view::Index<'a>,
}

/// `index.html`: the runs of a results directory, newest first, and a line a cell.
pub fn render_index(history: &History) -> Result<String, ReportError> {
    let page = IndexPage { style: STYLE, policy: policy(""), index: view::Index::new(history) };
    let rendered = page.render().map(|page| page + "\n");
    rendered.map_err(|error| ReportError::Render { what: "index.html", message: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::RunModel;

    fn page() -> String {
        render(&Reading::of_events(&crate::report::fixture::events()), &History::default()).unwrap()
    }

    #[test]
    fn what_a_cluster_says_never_becomes_markup() {
        let page = page();
        assert!(!page.contains("<script>alert"));
        assert!(page.contains("&#60;script&#62;alert(1)&#60;/script&#62;"), "{page}");
        assert!(page.contains("default-src &#39;none&#39;"));
        assert!(page.contains("href=\"artifacts/broken/plan.yaml\""));
    }

    #[test]
    fn the_script_that_the_page_holds_is_the_one_that_its_policy_allows() {
        let page = page();
        let script = page.split("<script>").nth(1).unwrap().split("</script>").next().unwrap();
        let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(script.as_bytes()));
        let policy = page.split("Content-Security-Policy\" content=\"").nth(1).unwrap().split('"').next().unwrap();
        assert!(policy.replace("&#43;", "+").contains(&hash), "{policy} lacks {hash}");
        assert_eq!(page.matches("<script").count(), 1);
    }

    #[test]
    fn what_failed_stands_before_the_matrix_and_a_skipped_cell_after_the_passed() {
        let page = page();
        let place = |what: &str| page.find(what).unwrap_or_else(|| panic!("no {what}"));
        assert!(place("id=\"causes\"") < place("id=\"matrix\""));
        assert!(place("<b class=\"name\">vsphere/broken") < place("<b class=\"name\">vsphere/cold"));
        assert!(place("<b class=\"name\">vsphere/cold") < place("<b class=\"name\">vsphere/warm"));
    }

    #[test]
    fn a_cause_of_many_cells_names_a_dozen_and_only_the_first_cells_are_open() {
        let page = render(&Reading::of_model(with_broken(40)), &History::default()).unwrap();
        let causes = page.split("id=\"causes\"").nth(1).unwrap().split("</section>").next().unwrap();
        let (named, folded) = causes.split_once("<details class=\"more\">").unwrap();
        assert_eq!(named.matches("<li><a href=\"#cell-").count(), 12, "{named}");
        assert!(folded.starts_with("<summary>29 more</summary>"), "{folded}");
        assert!(named.contains("<small>41 cells"), "{named}");
        assert_eq!(folded.matches("<li><a href=\"#cell-").count(), 29);
        assert_eq!(page.matches(" open><summary>").count(), 20);
    }

    /// A run with that many cells more that are broken alike.
    fn with_broken(times: usize) -> RunModel {
        let mut model = RunModel::from_events(&crate::report::fixture::events());
        let broken = model.cells.iter().find(|cell| cell.name() == "vsphere/broken").unwrap().clone();
        for n in 0..times {
            let mut more = broken.clone();
            more.info.id = crate::api::names::CellId::new(&format!("vsphere-{n}"), "broken", None);
            model.push(more);
        }
        model
    }

    #[test]
    fn of_a_large_run_a_bounded_number_of_cells_is_told_in_full_and_each_bad_one_says_what_did_not_pass() {
        let model = with_broken(2 * DETAILED);
        let bad = model.counts().failed;
        let page = render(&Reading::of_model(model), &History::default()).unwrap();
        assert_eq!(page.matches("<table class=\"story\">").count(), DETAILED);
        let cells = page.split("id=\"cells\"").nth(1).unwrap();
        assert_eq!(cells.matches("<pre tabindex=\"0\" aria-label=\"Log\">").count(), DETAILED);
        assert_eq!(cells.matches("<span class=\"pill failed\">failed</span></td><td>disk-count").count(), bad);
    }

    #[test]
    fn each_scrolling_table_of_a_cell_has_a_name_of_its_own() {
        let page = page();
        let names: Vec<&str> =
            page.split("aria-label=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        let checks: Vec<&&str> = names.iter().filter(|name| name.starts_with("Checks of")).collect();
        assert!(checks.len() > 1, "{names:?}");
        let distinct: std::collections::BTreeSet<_> = checks.iter().collect();
        assert_eq!(distinct.len(), checks.len(), "{checks:?}");
    }
}
