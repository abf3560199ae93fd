//! Judging a migrated VM: (source VM, target VM, expectations) → findings. Pure.
//!
//! Floor 2. No I/O: everything a rule needs is in [`Facts`]. Each rule is one file and one name in
//! [`ALL`]. What a rule cannot judge it says, with the reason; silence is not a pass.

mod guest;
mod hardware;
mod network;
mod placement;
pub mod power;
mod provider;
pub mod pvc_names;
pub mod snapshots;
mod storage;
mod template;
mod template_funcs;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::api::forklift::{NetworkPair, StoragePair};
use crate::api::vm::{Power, SourceVm, TargetVm};
use crate::config::{Platform, Scenario, ScenarioVm};
use crate::event::{Finding, Outcome};
use crate::matrix::support;

/// Names of all checks, in the order in which they run and are reported.
pub const ALL: &[&str] = &[
    "target-exists",
    "source-power",
    "power",
    "cpu",
    "memory",
    "firmware",
    "serial",
    "network",
    "disk-count",
    "disk-size",
    "disk-order",
    "storage-class",
    "access-mode",
    "volume-mode",
    "pvc-names",
    "guest-agent",
    "ssh-login",
    "static-ip",
    "node-placement",
    "labels",
    "affinity",
    "provider-tls",
    "snapshots",
];

/// The Provider as it stands on the cluster, and what it should be.
#[derive(Debug, Clone)]
pub struct ProviderFacts {
    /// `insecureSkipVerify` in its Secret, as stored; `None` when absent or unreadable (then why).
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
}

/// What a rule says of one subject: `None` is the VM as a whole.
type Judgement = (Option<String>, Outcome);

/// A rule looks at the facts; nothing returned means that the scenario does not ask for it.
enum Rule {
    /// Needs no migrated VM.
    Source(fn(&Facts<'_>) -> Vec<Judgement>),
    /// Needs the migrated VM; the first function says whether the scenario asks for the check.
    Target(fn(&Facts<'_>) -> bool, fn(&Facts<'_>, &TargetVm) -> Vec<Judgement>),
}

fn always(_: &Facts<'_>) -> bool {
    true
}

/// The rule behind a name of [`ALL`].
fn rule(check: &str) -> Option<Rule> {
    Some(match check {
        "target-exists" => Rule::Source(power::target_exists),
        "source-power" => Rule::Source(power::source_power),
        "power" => Rule::Target(always, power::target_power),
        "cpu" => Rule::Target(always, hardware::cpu),
        "memory" => Rule::Target(always, hardware::memory),
        "firmware" => Rule::Target(always, hardware::firmware),
        "serial" => Rule::Target(hardware::serial_applies, hardware::serial),
        "network" => Rule::Target(always, network::network),
        "disk-count" => Rule::Target(always, storage::disk_count),
        "disk-size" => Rule::Target(always, storage::disk_size),
        "disk-order" => Rule::Target(always, storage::disk_order),
        "storage-class" => Rule::Target(always, storage::storage_class),
        "access-mode" => Rule::Target(always, storage::access_mode),
        "volume-mode" => Rule::Target(always, storage::volume_mode),
        "pvc-names" => Rule::Target(pvc_names::applies, pvc_names::pvc_names),
        "guest-agent" => Rule::Target(guest::agent_applies, guest::agent),
        "ssh-login" => Rule::Target(always, guest::ssh_login),
        "static-ip" => Rule::Target(guest::static_ip_applies, guest::static_ip),
        "node-placement" => Rule::Target(placement::node_applies, placement::node),
        "labels" => Rule::Target(placement::labels_apply, placement::labels),
        "affinity" => Rule::Target(placement::affinity_applies, placement::affinity),
        "provider-tls" => Rule::Source(provider::tls),
        "snapshots" => Rule::Source(snapshots::snapshots),
        _ => return None,
    })
}

/// Judges one VM by every rule that applies to its scenario and platform.
pub fn judge(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for check in ALL {
        let judgements = match rule(check) {
            Some(Rule::Source(judge)) => judge(facts),
            Some(Rule::Target(applies, judge)) if applies(facts) => match &facts.target {
                Ok(Some(target)) => match support::not_judged(check, facts.platform, facts.mtv_version) {
                    Some(why) => whole(not_judged(why)),
                    None => judge(facts, target),
                },
                Ok(None) => whole(not_judged("the VM does not exist")),
                Err(why) => whole(not_judged(format!("the migrated VM could not be read: {why}"))),
            },
            Some(Rule::Target(..)) | None => Vec::new(),
        };
        findings.extend(judgements.into_iter().map(|(subject, outcome)| Finding {
            check: (*check).to_owned(),
            vm: facts.before.name.clone(),
            subject,
            outcome,
        }));
    }
    findings
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
    let mut parts = version.trim().trim_start_matches('v').split('.');
    let digits = |text: &str| -> Option<u32> {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    Some((digits(parts.next()?)?, digits(parts.next()?)?))
}

/// Why nothing inside the guest can be looked at; `None` when the VM runs.
fn not_running(target: &TargetVm) -> Option<Outcome> {
    match &target.power {
        Power::On => None,
        Power::Off => Some(not_judged("the VM is off")),
        Power::Other(state) => Some(not_judged(format!("the VM is not running: {state}"))),
    }
}
