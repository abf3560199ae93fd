//! Judging a migrated VM: (source VM, target VM, expectations) → findings. Pure.
//!
//! Floor 2. No I/O: everything a rule needs is in [`Facts`]. Each check is a row of
//! [`CONTRACT`]. What a rule cannot judge it says, with the reason; silence is not a pass.

mod contract;
mod evidence;
pub mod guest;
mod hardware;
mod network;
mod offload;
mod placement;
mod platform;
pub mod power;
mod provider;
pub mod pvc_names;
pub mod snapshots;
pub mod sources;
mod storage;
mod template;
mod template_funcs;
mod template_value;
#[cfg(test)]
mod tests;
mod written;

use std::collections::BTreeMap;

use crate::api::forklift::{NetworkPair, StoragePair};
use crate::api::version::Version;
use crate::api::vm::{Power, SourceVm, TargetVm};
use crate::config::{Platform, Scenario, ScenarioVm};
use crate::event::{Finding, Outcome};
use crate::matrix::support;

use contract::Rule;
pub use contract::{CONTRACT, Check};
pub use evidence::{Array, AskedHook, Evidence, Offloaded, Ran};

/// The Provider as it stands on the cluster, and what it should be.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ProviderFacts {
    /// `insecureSkipVerify` in its Secret, as stored; or why it could not be read.
    pub insecure_skip_verify: Result<String, String>,
    /// What the configuration asks for.
    pub wanted_insecure: bool,
    /// Whether the Provider carries the `ConnectionInsecure` condition.
    pub connection_insecure: bool,
}

/// Everything known about one migrated VM.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    pub platform: Platform,
    pub scenario: &'a Scenario,
    pub vm: &'a ScenarioVm,
    /// The source before migration.
    pub before: &'a SourceVm,
    /// Its power after migration.
    pub source_power_after: Result<Power, String>,
    /// Whether somebody powered it off by force during the migration; `None`: the platform does not tell.
    pub forced_off: Option<Result<bool, String>>,
    /// Its snapshots after migration.
    pub source_after: Result<&'a SourceVm, String>,
    /// The name that the Plan asked for.
    pub target_name: Option<&'a str>,
    /// `Ok(None)`: MTV said Succeeded and there is no such VM.
    pub target: Result<Option<&'a TargetVm>, String>,
    /// Rows of the maps as really created.
    pub storage_map: &'a [StoragePair],
    pub network_map: &'a [NetworkPair],
    /// Access and volume mode that the StorageProfile gives where the map names none, by class.
    pub storage_defaults: &'a BTreeMap<String, (Vec<String>, Option<String>)>,
    pub provider: &'a ProviderFacts,
    /// Labels as sent in the Plan (nulls filled in).
    pub target_labels: &'a BTreeMap<String, String>,
    /// The worker that carries the node selector's label.
    pub labelled_node: Option<&'a str>,
    /// Name of the Plan.
    pub plan: &'a str,
    pub ocp_version: Option<&'a str>,
    pub mtv_version: Option<&'a str>,
    /// Every key of the ForkliftController's `spec` that reads as a boolean.
    pub flags: &'a BTreeMap<String, bool>,
    /// MTV's side of it.
    pub ran: &'a Ran,
}

/// What a rule says of one subject: `None` is the VM as a whole.
type Judgement = (Option<String>, Outcome);

/// Judges one VM by every rule that applies to its scenario and platform.
pub fn judge(facts: &Facts<'_>) -> Vec<Finding> {
    judge_by(facts, |_| true)
}

fn judge_by(facts: &Facts<'_>, wanted: impl Fn(&Check) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for check in CONTRACT.iter().filter(|check| wanted(check)) {
        let judgements = match check.rule {
            Rule::Source(judge) => judge(facts),
            Rule::Target { asks, judge } if asks(facts) => match &facts.target {
                Ok(Some(target)) => match support::not_judged(check.name, facts.platform, facts.mtv_version) {
                    Some(why) => whole(not_judged(why)),
                    None => judge(facts, target),
                },
                Ok(None) => whole(not_judged("the VM does not exist")),
                Err(why) => whole(not_judged(format!("the migrated VM could not be read: {why}"))),
            },
            Rule::Target { .. } | Rule::Step => Vec::new(),
        };
        findings.extend(judgements.into_iter().map(|(subject, outcome)| Finding {
            check: check.name.to_owned(),
            vm: facts.before.name.clone(),
            subject,
            outcome,
        }));
    }
    findings
}

/// Essential checks that were not judged, each with the reason: what they would have said is not known, and a cell
/// without them is no pass.
///
/// `also`: those that the scenario calls essential. Judged once, before or after a boot, is judged.
pub fn unjudged_essentials<'a>(
    findings: &'a [Finding],
    also: &[String],
) -> impl Iterator<Item = (&'a Finding, &'a str)> {
    let contract = |name: &str| CONTRACT.iter().any(|check| check.essential && check.name == name);
    let essential = move |name: &str| contract(name) || also.iter().any(|asked| asked == name);
    findings.iter().filter_map(move |finding| match &finding.outcome {
        Outcome::NotJudged { because } if essential(&finding.check) => Some((finding, because.as_str())),
        _ => None,
    })
}

/// What a boot of a migrated VM can tell that its rest could not.
const OF_THE_GUEST: [&str; 7] =
    ["guest-agent", "ssh-login", "static-ip", "dns", "instance", "live-migration", "guest-os"];

/// Judges the guest of a migrated VM that was started for it; `subject` of what is said of the VM as a whole tells so.
pub fn judge_booted(facts: &Facts<'_>) -> Vec<Finding> {
    let booted =
        |finding: Finding| Finding { subject: finding.subject.or_else(|| Some("booted".to_owned())), ..finding };
    judge_by(facts, |check| OF_THE_GUEST.contains(&check.name)).into_iter().map(booted).collect()
}

fn passed(actual: impl Into<String>) -> Outcome {
    Outcome::Passed { actual: actual.into() }
}

fn failed(expected: impl Into<String>, actual: impl Into<String>) -> Outcome {
    Outcome::Failed { expected: expected.into(), actual: actual.into() }
}

fn not_judged(because: impl Into<String>) -> Outcome {
    Outcome::NotJudged { because: because.into() }
}

/// One judgement on the VM as a whole.
fn whole(outcome: Outcome) -> Vec<Judgement> {
    vec![(None, outcome)]
}

/// A judgement on one part of the VM.
fn part(subject: impl Into<String>, outcome: Outcome) -> Judgement {
    (Some(subject.into()), outcome)
}

/// `1 disk`, `2 disks`.
fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// `(major, minor)` of a version text such as `4.20.0-rc.1` or `v2.10`.
fn major_minor(version: &str) -> Option<(u32, u32)> {
    Version::parse(version).map(|version| (version.major, version.minor))
}

/// Why nothing inside the guest can be looked at; `None` when the VM runs.
fn not_running(target: &TargetVm) -> Option<Outcome> {
    match &target.power {
        Power::On => None,
        Power::Off => Some(not_judged("the VM is off")),
        Power::Other(state) => Some(not_judged(format!("the VM is not running: {state}"))),
    }
}
