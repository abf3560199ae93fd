//! A run in at most 4096 bytes: what Kubernetes shows of a pod that has ended.

use std::fmt::Write as _;
use std::path::Path;

use super::model::RunModel;
use super::{clean, duration_text};
use crate::event::Verdict;

/// A kubelet keeps no more of a termination message.
pub const MOST_BYTES: usize = 4096;
/// So that one cell with much to say does not hide the others.
const MOST_OF_A_LINE: usize = 400;

/// Verdict and counts first, then a line for each cell that did not pass, then what was left behind.
pub fn text(model: &RunModel, dir: &Path) -> String {
    let counts = model.counts();
    let verdict = model.end.as_ref().map_or(Verdict::Interrupted, |end| end.verdict);
    let mut out = format!("{verdict}: {} passed", counts.passed);
    for (n, name) in [
        (counts.failed, "failed"),
        (counts.errored, "errored"),
        (counts.blocked, "blocked"),
        (counts.interrupted, "interrupted"),
        (counts.skipped, "skipped"),
        (counts.flaky, "flaky"),
        (model.leftovers.len(), "left behind"),
    ] {
        if n > 0 {
            let _ = write!(out, ", {n} {name}");
        }
    }
    let _ = writeln!(out, " of {} cells in {}", counts.total, duration_text(model.milliseconds()));
    let shard = model.shard.as_ref().map(|shard| format!(", shard {shard}")).unwrap_or_default();
    let _ = writeln!(out, "run {}{shard}, results in {}", model.run_name(), dir.display());
    if let Some(problem) = model.end.as_ref().and_then(|end| end.problem.as_ref()) {
        line(&mut out, &problem.message);
        problem.details.iter().for_each(|detail| line(&mut out, &format!("  {detail}")));
    }
    // The worst first, because the end may be cut off.
    for wanted in [Verdict::Failed, Verdict::Errored, Verdict::Blocked, Verdict::Interrupted] {
        for cell in model.cells.iter().filter(|cell| cell.final_verdict() == wanted) {
            let why = cell.problem().map(|problem| format!(": {}", problem.message)).unwrap_or_default();
            line(&mut out, &format!("{wanted} {}{why}", cell.name()));
        }
    }
    for left in &model.leftovers {
        line(&mut out, &format!("left behind {}: {}", left.what, left.because));
    }
    bounded(&out)
}

fn line(out: &mut String, text: &str) {
    let text = clean(text).replace(['\n', '\r'], " ");
    out.push_str(head(&text, MOST_OF_A_LINE));
    out.push('\n');
}

/// The head of a text, cut at a character.
fn head(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// As much of the text as is kept, in whole lines, with a word about the rest.
pub fn bounded(text: &str) -> String {
    const MORE: &str = "… and more: see the reports\n";
    if text.len() <= MOST_BYTES {
        return text.to_owned();
    }
    let kept = head(text, MOST_BYTES - MORE.len());
    let whole = kept.rfind('\n').map_or(kept, |end| kept.get(..=end).unwrap_or_default());
    format!("{whole}{MORE}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn the_first_line_counts_and_the_worst_comes_next() {
        let model = RunModel::from_events(&fixture::events());
        let text = text(&model, Path::new("/results/mm-abcdefghij"));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("failed: 2 passed, 1 failed, 1 skipped, 1 flaky, 1 left behind of 4 cells in "));
        assert_eq!(lines[1], "run mm-abcdefghij, results in /results/mm-abcdefghij");
        assert_eq!(lines[2], "failed vsphere/broken: 1 check failed");
        assert_eq!(lines[3], "left behind PVC ns/data: a finalizer");
    }

    #[test]
    fn a_long_message_is_cut_at_a_line_and_says_so() {
        let long = bounded(&"ä line that is not short\n".repeat(400));
        assert!(long.len() <= MOST_BYTES && long.len() > MOST_BYTES - 60, "{}", long.len());
        assert!(long.ends_with("short\n… and more: see the reports\n"));
        let one = bounded(&"ä".repeat(5000));
        assert!(one.len() <= MOST_BYTES && one.starts_with('ä'));
    }
}
