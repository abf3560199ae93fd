//! From profiles and scenarios to cells.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::expected::expected;
use super::{Cell, Decision, Filter, glob, support};
use crate::api::names::CellId;
use crate::config::scenarios::Destination;
use crate::config::steps::Step;
use crate::config::{Platform, ProviderProfile, Providers, Scenario, Scenarios, Settings, nearest, suite};

/// Which cells are wanted; an empty list means all.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Names or globs.
    pub providers: Vec<String>,
    /// Names or globs.
    pub scenarios: Vec<String>,
    /// Scenarios with any of these tags.
    pub tags: Vec<String>,
    pub filter: Option<Filter>,
    /// Those that are left of an earlier run; `None`: all.
    pub again: Option<BTreeSet<CellId>>,
}

impl Selection {
    /// Whether this scenario is asked for, by its name or one of its tags, and not only not excluded.
    fn names(&self, scenario: &Scenario) -> bool {
        let by_filter = self.filter.as_ref().is_some_and(|filter| filter.names(scenario));
        !self.scenarios.is_empty() || !self.tags.is_empty() || self.again.is_some() || by_filter
    }
}

/// Why there is no matrix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatrixError {
    #[error("there is no {kind} `{name}`{hint}")]
    Unknown { kind: &'static str, name: String, hint: String },
    #[error("no provider profiles: give providers_json, or `providers:` in a --config file")]
    NoProviders,
    #[error("no scenarios")]
    NoScenarios,
    #[error("the selection matches no cell")]
    NothingSelected,
    /// A line for each unknown key of a scenario that is selected.
    #[error("{}", .0.join("\n"))]
    Refused(Vec<String>),
}

/// All selected cells, the longest expected first, each decided before anything is touched.
pub fn expand(
    settings: &Settings,
    providers: &Providers,
    scenarios: &Scenarios,
    selection: &Selection,
) -> Result<Vec<Cell>, MatrixError> {
    if providers.is_empty() {
        return Err(MatrixError::NoProviders);
    }
    if scenarios.is_empty() {
        return Err(MatrixError::NoScenarios);
    }
    let wanted_providers = match (&settings.source_provider, selection.providers.is_empty()) {
        (Some(one), true) => std::slice::from_ref(one),
        _ => &selection.providers,
    };
    let names: Vec<&str> = providers.keys().map(String::as_str).collect();
    known("provider profile", wanted_providers, &names)?;
    let names: Vec<&str> = scenarios.keys().map(String::as_str).collect();
    known("scenario", &selection.scenarios, &names)?;
    let tags: Vec<&str> = scenarios.values().flat_map(|s| &s.tags).map(String::as_str).collect();
    known("tag", &selection.tags, &tags)?;

    let mut classes: Vec<String> = Vec::new();
    for class in &settings.storage_class {
        if !classes.contains(class) {
            classes.push(class.clone());
        }
    }
    let many = classes.len() > 1;
    if classes.is_empty() {
        // The cluster's default class; its name is known once the cluster is.
        classes.push(String::new());
    }

    let any = |patterns: &[String], name: &str| patterns.is_empty() || patterns.iter().any(|p| glob::matches(p, name));
    let mut cells = Vec::new();
    for profile in providers.values().filter(|p| any(wanted_providers, &p.name)) {
        let profile = Arc::new(profile.clone());
        for scenario in scenarios.values().filter(|s| any(&selection.scenarios, &s.name)) {
            if !selection.tags.is_empty() && !scenario.tags.iter().any(|t| any(&selection.tags, t)) {
                continue;
            }
            if scenario.opt_in && !selection.names(scenario) {
                continue;
            }
            let scenario = Arc::new(for_profile(for_platform(scenario, profile.platform), &profile));
            for class in &classes {
                let cell = Cell {
                    id: CellId::new(&profile.name, &scenario.name, many.then_some(class.as_str())),
                    profile: Arc::clone(&profile),
                    scenario: Arc::clone(&scenario),
                    storage_class: class.clone(),
                    decision: decide(settings, &profile, &scenario),
                    expected: expected(&scenario),
                    shard: None,
                };
                let again = selection.again.as_ref().is_none_or(|again| again.contains(&cell.id));
                if again && selection.filter.as_ref().is_none_or(|f| f.matches(&cell)) {
                    cells.push(cell);
                }
            }
        }
    }
    if cells.is_empty() {
        return Err(MatrixError::NothingSelected);
    }
    let refused: BTreeSet<&String> = cells.iter().flat_map(|cell| &cell.scenario.refused).collect();
    if !refused.is_empty() {
        return Err(MatrixError::Refused(refused.into_iter().cloned().collect()));
    }
    cells.sort_by_cached_key(|c| (Reverse(c.expected), c.id.clone()));
    Ok(cells)
}

/// The scenario as it is on one platform.
fn for_platform(scenario: &Scenario, platform: Platform) -> Scenario {
    let mut own = scenario.clone();
    if let Some(template) = suite::template_for(&scenario.pvc_name_templates, platform) {
        own.pvc_name_template = Some(template.clone());
    } else if !scenario.pvc_name_templates.is_empty() {
        own.not_built.push(format!("`pvc_name_template` has none for {platform}, and no `default`"));
    }
    own
}

/// The scenario with what the profile's copy-offload section says of it: the name of every VM that says `clone: true`,
/// and, as MTV would name a populator's claims after nothing else, a template for them.
fn for_profile(mut scenario: Scenario, profile: &ProviderProfile) -> Scenario {
    let Some(section) = support::offload_section(profile) else { return scenario };
    let offloads = scenario.parts().iter().any(|part| part.scenario.copyoffload);
    if let Some(name) = section.default_vm_name.as_ref().filter(|name| offloads && !name.is_empty()) {
        scenario.virtual_machines.iter_mut().filter(|vm| vm.clone).for_each(|vm| vm.name.clone_from(name));
    }
    if offloads {
        scenario.pvc_name_template.get_or_insert_with(|| OFFLOAD_CLAIMS.to_owned());
    }
    scenario
}

/// The suite's own word.
const OFFLOAD_CLAIMS: &str = "pvc";

fn known(kind: &'static str, wanted: &[String], names: &[&str]) -> Result<(), MatrixError> {
    for name in wanted {
        if !names.iter().any(|n| glob::matches(name, n)) {
            let hint = match nearest(name, names.iter().copied()) {
                Some(near) if !glob::is_glob(name) => format!("; did you mean `{near}`?"),
                _ => String::new(),
            };
            return Err(MatrixError::Unknown { kind, name: name.clone(), hint });
        }
    }
    Ok(())
}

fn decide(settings: &Settings, profile: &ProviderProfile, scenario: &Scenario) -> Decision {
    if let Some(reason) = support::reason_against(profile, scenario) {
        return Decision::Skip(reason);
    }
    if scenario.destination == Destination::Remote && settings.remote_ocp_cluster.is_empty() {
        return Decision::Skip("`remote_ocp_cluster` is not set".into());
    }
    let aap = [&scenario.pre_hook, &scenario.post_hook].into_iter().flatten().any(|h| h.aap_job_template_id.is_some());
    if aap && settings.aap_url.is_empty() {
        return Decision::Skip("`aap_url` is not set".into());
    }
    if scenario.steps.iter().flatten().any(|step| matches!(step, Step::Upgrade(_)))
        && settings.upgrade_command.is_empty()
    {
        return Decision::Skip("`upgrade_command` is not set".into());
    }
    if let Some(step) = scenario.steps.iter().flatten().find(|step| step.is_disruptive())
        && !settings.allow_disruptive
    {
        return Decision::Skip(format!("its step `{}` disturbs others: allow it with --allow-disruptive", step.name()));
    }
    let meets = |platforms: &[_]| platforms.is_empty() || platforms.contains(&profile.platform);
    match scenario.known_issues.iter().find(|i| i.fixed_in.is_none() && meets(&i.platforms)) {
        Some(issue) => Decision::Skip(format!("known issue {}: {}", issue.id, issue.summary)),
        None => Decision::Run,
    }
}
