//! Skips that depend on the installed MTV version, decided once it is known. What is no version is older than all.

use super::{Cell, Decision, support};
use crate::api::version::Version;
use crate::config::scenarios::KnownIssue;

/// From MTV 2.12 a Plan may name networks of its target namespace and of `default` only
/// (`validateNetworkMap`, `pkg/controller/plan/validation.go`); target namespaces are the run's own.
fn networks_elsewhere(namespace: Option<&str>, have: Option<Version>) -> Option<String> {
    let namespace = namespace.filter(|name| *name != "default")?;
    (have >= Version::parse("2.12"))
        .then(|| format!("from MTV 2.12 networks must be in the target namespace or `default`, not in {namespace}"))
}

/// Whether this MTV has the fix: a release of its own minor version that has it decides, else the newest.
fn has_fix(issue: &KnownIssue, have: Option<Version>) -> bool {
    let fixed = issue.fixed_in.iter().chain(&issue.backports).filter_map(|text| Version::parse(text));
    let minor = |version: Version| (version.major, version.minor);
    let own = fixed.clone().find(|fixed| have.is_some_and(|have| minor(have) == minor(*fixed)));
    have >= own.or(fixed.max())
}

/// Turns *run* into *skip* where the installed MTV is too old for the scenario.
pub fn decide_version(cells: &mut [Cell], mtv_version: &str) {
    let have = Version::parse(mtv_version);
    for cell in cells.iter_mut().filter(|c| c.decision == Decision::Run) {
        let platform = cell.profile.platform;
        let too_old = cell.scenario.requires.min_mtv_version.as_ref().filter(|min| have < Version::parse(min));
        let too_new = cell.scenario.requires.before_mtv_version.as_ref().filter(|end| have >= Version::parse(end));
        let lacking = support::too_old(platform, &cell.scenario, mtv_version)
            .or_else(|| networks_elsewhere(cell.scenario.multus_namespace.as_deref(), have));
        let meets = |i: &&KnownIssue| i.platforms.is_empty() || i.platforms.contains(&platform);
        let issue = cell.scenario.known_issues.iter().filter(meets).find(|i| i.fixed_in.is_some() && !has_fix(i, have));
        if let Some(min) = too_old {
            cell.decision = Decision::Skip(format!("needs MTV {min} or newer, {mtv_version} is installed"));
        } else if let Some(end) = too_new {
            cell.decision = Decision::Skip(format!("is about MTV before {end}, {mtv_version} is installed"));
        } else if let Some(reason) = lacking {
            cell.decision = Decision::Skip(reason);
        } else if let Some(issue) = issue {
            let fixed = issue.fixed_in.as_deref().unwrap_or_default();
            let text =
                format!("known issue {}: {} (fixed in {fixed}, {mtv_version} is installed)", issue.id, issue.summary);
            cell.decision = Decision::Skip(text);
        }
    }
}
