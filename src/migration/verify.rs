//! `verify`: reading each migrated VM and judging it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Failure;
use super::context::RunContext;
use super::execute::{self, Migrated};
use super::prepared::{Maps, Prepared, PreparedVm};
use super::settle::{Look, read_settled};
use super::{adopt, boot};
use crate::api::vm::{Power, SourceVm};
use crate::check::{self, Evidence, ProviderFacts, Ran, power, snapshots};
use crate::config::PowerState;
use crate::event::{EventKind, Finding, Level, Outcome, Problem};
use crate::forklift::offload::Populators;
use crate::forklift::providers;
use crate::matrix::Cell;
use crate::source;

/// How long what speaks against a source VM is looked at again: an answer may be older than the migration.
const SECOND_LOOK: Duration = Duration::from_secs(5);

/// What the story has left to be looked at.
#[derive(Clone, Copy)]
pub(super) struct Arrived<'a> {
    pub migrated: &'a Migrated,
    /// Where the platform's log stood before the migration.
    pub power_mark: Option<&'a str>,
    /// The names of the Migrations, the last one at the end.
    pub migrations: &'a [String],
    /// What the populators of a copy-offload plan do.
    pub populators: Option<&'a Populators>,
}

pub(super) async fn verify(
    context: &RunContext,
    cell: &Cell,
    attempt: u32,
    prepared: &Prepared,
    maps: &Maps,
    arrived: Arrived<'_>,
    look: Look,
) -> Result<(), Failure> {
    if !arrived.migrated.has_targets {
        context.note(Some(&cell.id), Level::Info, "nothing to look at: the migration ended before a VM was created");
        return Ok(());
    }
    if !(cell.scenario.check_vms_signals && context.parts.settings.check_vms_signals) {
        context.note(Some(&cell.id), Level::Warning, "verification is switched off (`check_vms_signals: false`)");
        return Ok(());
    }
    let (insecure_skip_verify, connection_insecure) =
        providers::read_tls_choice(&context.parts.cluster, &prepared.open.provider.reference).await;
    let provider = ProviderFacts { insecure_skip_verify, wanted_insecure: prepared.open.insecure, connection_insecure };
    let known = context.storage_defaults(&prepared.destination.cluster, &cell.storage_class).await;
    let defaults = known.into_iter().map(|known| (cell.storage_class.clone(), known)).collect();
    let ended_without = |vm: &&PreparedVm| {
        arrived.migrated.vms.iter().any(|status| status.id == vm.reference.id && execute::leaves_no_vm(status))
    };
    let (without, with): (Vec<&PreparedVm>, Vec<&PreparedVm>) = prepared.vms.iter().partition(ended_without);
    for vm in without {
        let message = format!("{} is not verified: its migration left no VM", vm.reference.name);
        context.note(Some(&cell.id), Level::Info, message);
    }
    let ran = super::evidence::read(context, cell, prepared, maps, arrived.migrations, arrived.populators).await;
    let judge = with
        .into_iter()
        .map(|vm| judge_vm(context, cell, prepared, maps, arrived, &provider, &defaults, &ran, attempt, (vm, look)));
    let each = futures::future::join_all(judge).await;
    let (findings, unread): (Vec<Vec<Finding>>, Vec<Vec<String>>) = each.into_iter().unzip();
    let (findings, mut unread) = (findings.concat(), unread.concat());
    unread.extend(
        provider.insecure_skip_verify.as_ref().err().map(|why| format!("the TLS choice of its Provider: {why}")),
    );
    for finding in &findings {
        let finding = finding.clone();
        context.parts.events.emit(EventKind::CheckFinished { cell: cell.id.clone(), attempt, finding });
    }
    judged(&findings, unread, &cell.scenario.essential)
}

/// What findings mean for their cell: failed where one has, else errored where something could not be read or an
/// essential check was not judged. `essential`: those that the scenario calls so.
pub(super) fn judged(findings: &[Finding], unread: Vec<String>, essential: &[String]) -> Result<(), Failure> {
    report(findings)?;
    let blind = check::unjudged_essentials(findings, essential)
        .map(|(finding, because)| format!("{} of {} was not judged: {because}", finding.check, finding.vm));
    evidence(unread.into_iter().chain(blind).collect())
}

/// What could not be read could not be judged: that is no pass, whatever the other checks say.
fn evidence(unread: Vec<String>) -> Result<(), Failure> {
    let Some(first) = unread.first() else { return Ok(()) };
    let mut problem = Problem::new(format!("checks could not be made: {first}"));
    if unread.len() > 1 {
        problem.details = unread;
    }
    Err(Failure::environment(problem))
}

/// One failure for all checks that failed; every one is listed.
fn report(findings: &[Finding]) -> Result<(), Failure> {
    let failed: Vec<String> = findings
        .iter()
        .filter_map(|f| match &f.outcome {
            Outcome::Failed { expected, actual } => {
                let subject = f.subject.as_deref().map(|s| format!(" of {s}")).unwrap_or_default();
                Some(format!("{}{subject}, VM {}: expected {expected}, found {actual}", f.check, f.vm))
            }
            _ => None,
        })
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    let mut problem = Problem::new(match failed.as_slice() {
        [one] => format!("a check failed: {one}"),
        many => format!("{} checks failed, the first: {}", many.len(), many[0]),
    });
    // One failure stands in the message already.
    if failed.len() > 1 {
        problem.details = failed;
    }
    Err(Failure::product(problem))
}

#[expect(clippy::too_many_arguments, reason = "the facts of one VM come from all stages before")]
async fn judge_vm(
    context: &RunContext,
    cell: &Cell,
    prepared: &Prepared,
    maps: &Maps,
    Arrived { migrated, power_mark, .. }: Arrived<'_>,
    provider: &ProviderFacts,
    defaults: &BTreeMap<String, (Vec<String>, Option<String>)>,
    ran: &Ran,
    attempt: u32,
    (vm, look): (&PreparedVm, Look),
) -> (Vec<Finding>, Vec<String>) {
    let name = target_name(migrated, vm);
    let (target, mut findings) = match look {
        Look::Arrived => {
            let expected_power = expected_power(context, cell, vm);
            (read_settled(context, cell, prepared, vm, &name, &expected_power, look).await, Vec::new())
        }
        Look::Booted => boot::booted(context, cell, prepared, vm, &name).await,
    };
    let after = match prepared.open.access.driver() {
        // Its boot says nothing of the source.
        _ if look == Look::Booted => Err("the source was looked at before the boot".to_owned()),
        Some(driver) => {
            let platform = prepared.open.profile.platform;
            let late = snapshots::removed_late(platform, cell.scenario.warm_migration);
            let limit = if late { context.parts.settings.timeouts.snapshot_removal } else { SECOND_LOOK };
            let first_look = Instant::now();
            let settled = |now: &SourceVm| match snapshots::of_mtv(&vm.before, now).count() {
                left if left > 0 => Err(format!("{left} snapshots of MTV's are still there")),
                _ if now.power != Power::Off && first_look.elapsed() < SECOND_LOOK => {
                    Err(format!("the source VM is {}", now.power))
                }
                _ => Ok(()),
            };
            source::describe_settled(driver.as_ref(), &vm.reference, limit, settled).await.map_err(|e| e.to_string())
        }
        None => adopt::after_migration(context, &prepared.open, vm).await,
    };
    let forced_off = match (power_mark.filter(|_| look == Look::Arrived), prepared.open.access.driver()) {
        (Some(mark), Some(driver)) => {
            Some(driver.forced_off_since(&vm.reference, mark).await.map_err(|e| e.to_string()))
        }
        _ => None,
    };
    let evidence = Evidence {
        platform: prepared.open.profile.platform,
        scenario: cell.scenario.name.clone(),
        position: prepared.vms.iter().position(|one| std::ptr::eq(one, vm)).unwrap_or_default(),
        before: vm.before.clone(),
        after,
        forced_off,
        target_name: vm.target_name.clone(),
        target,
        storage_map: maps.storage.clone(),
        network_map: maps.network.clone(),
        storage_defaults: defaults.clone(),
        provider: provider.clone(),
        target_labels: prepared.target_labels.clone(),
        labelled_node: prepared.labelled_node.clone(),
        plan: prepared.plan.clone(),
        flags: context.parts.flags.clone(),
        ocp_version: context.parts.ocp_version.clone(),
        mtv_version: context.mtv_version(),
        ran: ran.clone(),
    };
    if look == Look::Arrived && context.parts.settings.keep_evidence {
        super::evidence::save(context, cell, attempt, &vm.before.name, &evidence);
    }
    let facts = evidence.facts(&cell.scenario, &vm.wanted);
    let of = |what: &str, why: &String| format!("{what} {}: {why}", vm.reference.name);
    let mut unread: Vec<String> =
        evidence.target.as_ref().err().map(|why| of("the migrated VM", why)).into_iter().collect();
    if look == Look::Arrived {
        // Without these no twin is seen, and nothing that was left.
        unread.extend(facts.ran.marked.as_ref().err().map(|why| of("what the migration made of", why)));
    }
    // A platform that is known by MTV's inventory alone tells what it can.
    if look == Look::Arrived && prepared.open.access.driver().is_some() {
        unread.extend(evidence.after.as_ref().err().map(|why| of("the source VM", why)));
        let told = facts.forced_off.as_ref().and_then(|forced| forced.as_ref().err());
        unread.extend(told.map(|why| of("the events of", why)));
    }
    findings.extend(match look {
        Look::Arrived => check::judge(&facts),
        Look::Booted if findings.is_empty() => Vec::new(),
        Look::Booted => check::judge_booted(&facts),
    });
    (findings, unread)
}

/// The name of the migrated VM.
pub(super) fn target_name(migrated: &Migrated, vm: &PreparedVm) -> String {
    let status = migrated.vms.iter().find(|s| s.id == vm.reference.id);
    let renamed = || status.and_then(|s| s.new_name.clone());
    vm.target_name.clone().or_else(renamed).unwrap_or_else(|| vm.reference.name.clone())
}

/// The power that the migrated VM is to settle in; where nobody knows it, the source's.
fn expected_power(context: &RunContext, cell: &Cell, vm: &PreparedVm) -> Power {
    let mtv_version = context.mtv_version();
    let rule = power::PowerRule {
        scenario: &cell.scenario,
        vm: &vm.wanted,
        before: &vm.before,
        mtv_version: mtv_version.as_deref(),
        flags: &context.parts.flags,
    };
    match power::expected(&rule) {
        power::Expected::Is(PowerState::On, _) => Power::On,
        power::Expected::Is(PowerState::Off, _) => Power::Off,
        power::Expected::Unknown(_) => vm.before.power.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_read_is_errored_and_never_a_pass() {
        assert_eq!(evidence(Vec::new()), Ok(()));
        let failure = evidence(vec!["the migrated VM a: forbidden (403)".into()]).unwrap_err();
        assert_eq!(failure.verdict, crate::event::Verdict::Errored);
        assert!(failure.problem.message.contains("forbidden"), "{failure:?}");
    }

    #[test]
    fn an_essential_check_that_was_not_judged_leaves_its_cell_errored() {
        let unjudged = |check: &str| Finding {
            check: check.into(),
            vm: "a".into(),
            subject: None,
            outcome: Outcome::NotJudged { because: "nobody answers".into() },
        };
        let of = |check: &str, also: &[String]| check::unjudged_essentials(&[unjudged(check)], also).count();
        assert_eq!((of("disk-count", &[]), of("migration-status", &[]), of("dns", &[])), (1, 1, 0));
        assert_eq!(of("dns", &["dns".to_owned()]), 1, "where the scenario says so");
    }

    #[test]
    fn a_failed_check_names_vm_expected_and_actual() {
        let finding = |outcome| Finding { check: "disk-count".into(), vm: "a".into(), subject: None, outcome };
        let failed = finding(Outcome::Failed { expected: "2 disks".into(), actual: "1 disk".into() });
        let unjudged = finding(Outcome::NotJudged { because: "off".into() });
        assert_eq!(report(std::slice::from_ref(&unjudged)), Ok(()));
        let problem = report(&[unjudged, failed]).unwrap_err().problem;
        assert_eq!(problem.message, "a check failed: disk-count, VM a: expected 2 disks, found 1 disk");
    }
}
