//! Skips that depend on the installed MTV version, decided once it is known.

use super::{Cell, Decision};
use crate::config::Scenario;

/// Fields of a Plan that an older MTV does not know: its API server would drop them without a word.
struct Feature {
    needed: fn(&Scenario) -> bool,
    since: &'static str,
    words: &'static str,
}

const FEATURES: &[Feature] = &[
    Feature { needed: |s| s.target_power_state.is_some(), since: "2.10", words: "target_power_state" },
    Feature { needed: |s| !s.target_labels.is_empty(), since: "2.10", words: "target_labels" },
    Feature { needed: |s| !s.target_node_selector.is_empty(), since: "2.10", words: "target_node_selector" },
    Feature { needed: |s| s.target_affinity.is_some(), since: "2.10", words: "target_affinity" },
];

/// The numbers of `2.10.3`, `v2.10` or `2.10.0-rc1`.
fn numbers(version: &str) -> Vec<u32> {
    let digits = |p: &str| p.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0);
    let mut parts: Vec<u32> = version.trim_start_matches('v').split(['.', '-', '+']).take(3).map(digits).collect();
    parts.resize(3, 0);
    parts
}

/// Turns *run* into *skip* where the installed MTV is too old for the scenario.
pub fn decide_version(cells: &mut [Cell], mtv_version: &str) {
    let have = numbers(mtv_version);
    for cell in cells.iter_mut().filter(|c| c.decision == Decision::Run) {
        let platform = cell.profile.platform;
        let too_old = cell.scenario.requires.min_mtv_version.as_ref().filter(|min| have < numbers(min));
        let lacking = FEATURES.iter().find(|f| (f.needed)(&cell.scenario) && have < numbers(f.since));
        let issue = cell.scenario.known_issues.iter().find(|i| {
            (i.platforms.is_empty() || i.platforms.contains(&platform))
                && i.fixed_in.as_ref().is_some_and(|fixed| have < numbers(fixed))
        });
        if let Some(min) = too_old {
            cell.decision = Decision::Skip(format!("needs MTV {min} or newer, {mtv_version} is installed"));
        } else if let Some(Feature { since, words, .. }) = lacking {
            cell.decision = Decision::Skip(format!("`{words}` needs MTV {since} or newer, {mtv_version} is installed"));
        } else if let Some(issue) = issue {
            let fixed = issue.fixed_in.as_deref().unwrap_or_default();
            let text =
                format!("known issue {}: {} (fixed in {fixed}, {mtv_version} is installed)", issue.id, issue.summary);
            cell.decision = Decision::Skip(text);
        }
    }
}
