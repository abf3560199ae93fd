//! `prepare`: everything that must exist before MTV is asked to migrate.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Node;
use serde_json::Value;

use super::Failure;
use super::context::{OpenProfile, RunContext};
use super::prepared::{Destination, Prepared, PreparedVm};
use super::{adopt, offload};
use crate::api::forklift::HookRef;
use crate::api::multus::{NetworkAttachmentDefinition, NetworkAttachmentDefinitionSpec};
use crate::api::names::{MAX_LABEL, dns_label, hash_chars};
use crate::api::vm::SourceVm;
use crate::cleanup::borrowed;
use crate::cluster::{Tracked, WaitError};
use crate::config::{Copyoffload, PowerState, ScenarioVm};
use crate::event::{Level, Problem};
use crate::forklift::{inventory, maps, plan};
use crate::matrix::{Cell, support};
use crate::source::{CloneRequest, SourceAccess, SourceDriver, VmRef};

/// Labels for a namespace that VMs with their own MACs land in. A pod security level is enforced only
/// where the settings ask for one: MTV's hook Jobs fill in no security context, which a
/// plain Kubernetes does not do for them, either.
fn namespace_labels(context: &RunContext) -> Vec<(&'static str, &'static str)> {
    let mut labels = vec![("mutatevirtualmachines.kubemacpool.io", "ignore")];
    if let Some(level) = context.parts.settings.pod_security_enforce {
        labels.push(("pod-security.kubernetes.io/enforce", level.name()));
        labels.push(("pod-security.kubernetes.io/enforce-version", "latest"));
    }
    labels
}

pub(super) async fn prepare(context: &RunContext, cell: &Cell, attempt: u32) -> Result<Prepared, Failure> {
    let scenario = &cell.scenario;
    let run = &context.parts.run;
    let mut open = context.profile(&cell.profile).await?;
    let destination = context.destination(scenario.destination).await?;
    let array = offload::possible(cell, &open, &destination.cluster).await?;
    if scenario.has_warm() {
        context.borrow_precopy_interval().await?;
    }
    context.borrow_nfs_profile(&destination.cluster, &cell.storage_class).await?;

    let tracked = context.tracked(Some(&cell.id));
    let namespace = cell.id.namespace(run, attempt);
    let labels = namespace_labels(context);
    tracked.create_namespace(&namespace, &labels).await?;
    // Migrated VMs and their networks are there; everything of MTV's is here.
    let there = context.tracked_at(&destination.cluster, Some(&cell.id));
    let target_namespace = match &scenario.vm_target_namespace {
        Some(name) => cell.id.extra_namespace(run, name, attempt),
        None => namespace.clone(),
    };
    if target_namespace != namespace || destination.cluster.id() != context.parts.cluster.id() {
        there.create_namespace(&target_namespace, &labels).await?;
    }

    if let Some(tls) = scenario.provider_tls {
        open = context.own_source(&open, &cell.id, attempt, &namespace, tls).await?;
    }
    let offload = match array {
        Some(secret) => Some(offload::make_ready(context, cell, attempt, &open, secret).await?),
        None => None,
    };
    let mut vms = match &open.access {
        SourceAccess::Driver(driver) => clone_all(context, cell, &open, driver).await?,
        SourceAccess::InventoryOnly => adopt::adopt_vms(context, cell, &open).await?,
    };
    if let Some(offload) = &offload {
        offload::let_in(context, cell, &open, offload, &vms).await?;
    }
    give_keys(&tracked, &open, &namespace, &mut vms).await?;
    let network_namespace = scenario.multus_namespace.as_deref().unwrap_or(&target_namespace);
    let provider = match (scenario.limited_destination, destination.shared) {
        (Some(limited), _) => {
            let (cluster, places) = (&destination.cluster, (namespace.as_str(), target_namespace.as_str()));
            context.limited_destination(cluster, &cell.id, attempt, places, limited).await?
        }
        (None, Some(provider)) => provider,
        (None, None) => {
            // Such a Provider sees the networks of its own namespace and those of `default`.
            let beside = if network_namespace == "default" { &target_namespace } else { network_namespace };
            context.own_destination(&cell.id, attempt, beside).await?
        }
    };
    let sources: Vec<_> = vms.iter().map(|vm| vm.before.clone()).collect();
    let row_a_nic = maps::row_a_nic(scenario, context.mtv_version().as_deref());
    let networks = maps::landings(open.adapter.networks(&sources), &sources, row_a_nic);
    let nads = create_nads(context, cell, attempt, maps::nads_needed(&networks), &there, network_namespace).await?;
    let hooks = create_hooks(context, cell, &namespace).await?;
    let (node_selector, labelled_node) = choose_node(context, cell, attempt, &there).await?;
    let target_labels = scenario
        .target_labels
        .iter()
        .map(|(key, value)| (key.clone(), value.clone().unwrap_or_else(|| run.to_string())))
        .collect();
    let (plan, migration) = Prepared::names(None);
    Ok(Prepared {
        plan,
        migration,
        open,
        destination: Destination { provider, cluster: destination.cluster },
        namespace,
        target_namespace,
        vms,
        networks,
        nads,
        hooks,
        target_labels,
        node_selector,
        labelled_node,
        offload,
    })
}

/// Clones every VM, all at the same time; where they must share the first one's host that one comes before the others.
async fn clone_all(
    context: &RunContext,
    cell: &Cell,
    open: &OpenProfile,
    driver: &Arc<dyn SourceDriver>,
) -> Result<Vec<PreparedVm>, Failure> {
    let scenario = &cell.scenario;
    let storage = |vm: &ScenarioVm| match &vm.target_datastore_id {
        Some(named) => Some(named.clone()),
        None => offload::asks(scenario).then(|| Copyoffload::PRIMARY.to_owned()),
    };
    let mut host = None;
    if scenario.pin_to_non_dedicated_host {
        let section = support::offload_section(&open.profile);
        let dedicated = section.map(|section| section.dedicated_migration_hosts.clone()).unwrap_or_default();
        let wanted = scenario.virtual_machines.first().and_then(storage);
        host = Some(driver.host_beside(&dedicated, wanted.as_deref()).await?);
    }
    let mut vms = Vec::new();
    let mut left = scenario.virtual_machines.as_slice();
    if let (true, Some((first, others))) = (scenario.clone_to_same_host, left.split_first()) {
        let made = clone_vm(context, cell, open, driver, first, host.as_deref()).await?;
        host = driver.host_of(&made.reference).await?.or(host);
        vms.push(made);
        left = others;
    }
    let clones = left.iter().map(|wanted| clone_vm(context, cell, open, driver, wanted, host.as_deref()));
    vms.extend(try_join_all(clones).await?);
    share(context, cell, open, driver, &mut vms).await?;
    Ok(vms)
}

/// Gives the disks of the VM that owns them to those that only use them: clones have copies.
async fn share(
    context: &RunContext,
    cell: &Cell,
    open: &OpenProfile,
    driver: &Arc<dyn SourceDriver>,
    vms: &mut [PreparedVm],
) -> Result<(), Failure> {
    let owner = vms.iter().find(|vm| vm.wanted.migrate_shared_disks == Some(true)).map(|vm| vm.reference.clone());
    let Some(owner) = owner else { return Ok(()) };
    for vm in vms.iter_mut().filter(|vm| vm.wanted.migrate_shared_disks == Some(false)) {
        let count = driver.share_disks(&owner, &vm.reference).await?;
        let message = format!("{} uses {count} disks of {}", vm.reference.name, owner.name);
        context.note(Some(&cell.id), Level::Info, message);
        vm.before = driver.describe(&vm.reference).await?;
        in_inventory(context, cell, open, driver, &vm.reference, &vm.before).await?;
    }
    Ok(())
}

/// Clones one VM, brings it into the state that the scenario asks for, reads it, and waits until
/// MTV's inventory sees it so.
async fn clone_vm(
    context: &RunContext,
    cell: &Cell,
    open: &OpenProfile,
    driver: &Arc<dyn SourceDriver>,
    wanted: &ScenarioVm,
    host: Option<&str>,
) -> Result<PreparedVm, Failure> {
    let host = wanted.host().or(host);
    let parts = &context.parts;
    let timeouts = &parts.settings.timeouts;
    let base = wanted.clone_name.as_deref().unwrap_or(&wanted.name);
    let name =
        if wanted.preserve_name_format { parts.run.clone_name_as_written(base) } else { parts.run.clone_name(base) };
    // An array copies from its own datastores.
    let primary = offload::asks(&cell.scenario).then_some(Copyoffload::PRIMARY);
    let request = CloneRequest {
        cell: &cell.id,
        run: &parts.run,
        base: &wanted.name,
        name,
        warm: cell.scenario.has_warm(),
        disk_type: wanted.disk_type,
        add_disks: &wanted.add_disks,
        target_storage: wanted.target_datastore_id.as_deref().or(primary),
        host,
        add_nic: wanted.add_nic.then_some(wanted.add_nic_start_connected == Some(true)),
    };
    let reference = driver.clone_vm(request, &parts.ledger).await?;
    let place = host.map(|host| format!(" on host {host}")).unwrap_or_default();
    context.note(Some(&cell.id), Level::Info, format!("cloned {} as {}{place}", wanted.name, reference.name));
    if cell.scenario.disable_drs_for_vms {
        driver.stay(&reference).await?;
    }

    for number in 1..=wanted.snapshots {
        driver.snapshot(&reference, &format!("mtv-matrix-{number}")).await?;
    }
    if let Some(power) = wanted.source_vm_power {
        let how = driver.set_power(&reference, power == PowerState::On).await?;
        context.note(Some(&cell.id), Level::Info, format!("{}: {how}", reference.name));
    }
    if wanted.source_vm_power == Some(PowerState::On) {
        let limit = timeouts.guest_info;
        if let Err(error) = driver.wait_guest_info(&reference, limit).await {
            // Without the guest's own facts a static address can't be judged, so the cell can't go on.
            if cell.scenario.preserve_static_ips {
                return Err(error.into());
            }
            context.note(Some(&cell.id), Level::Warning, format!("going on without guest facts: {error}"));
        }
    }
    let before = driver.describe(&reference).await?;
    in_inventory(context, cell, open, driver, &reference, &before).await?;
    Ok(PreparedVm { wanted: wanted.clone(), reference, target_name: None, luks: None, before })
}

/// A Secret with the passphrase of each VM whose disk is encrypted, beside the Plan.
async fn give_keys(
    tracked: &Tracked,
    open: &OpenProfile,
    namespace: &str,
    vms: &mut [PreparedVm],
) -> Result<(), Failure> {
    for (number, vm) in (1..).zip(vms.iter_mut()).filter(|(_, vm)| vm.wanted.luks) {
        let Some(passphrase) = support::passphrase(&open.profile, &vm.wanted) else { continue };
        vm.luks = Some(plan::create_key(tracked, namespace, &format!("luks-{number}"), passphrase).await?);
    }
    Ok(())
}

/// How long the inventory gets to judge a VM anew by itself, before the VM is touched for it. Its
/// collectors look every few seconds.
const JUDGED_ANEW: Duration = Duration::from_secs(5);

/// Waits until MTV's inventory shows the VM, and what it refers to, as the platform does. Where the
/// inventory judged it before it knew all of it, the VM is touched, so that it is judged anew.
async fn in_inventory(
    context: &RunContext,
    cell: &Cell,
    open: &OpenProfile,
    driver: &Arc<dyn SourceDriver>,
    reference: &VmRef,
    before: &SourceVm,
) -> Result<(), Failure> {
    let (parts, path) = (&context.parts, &open.provider.path);
    let limit = parts.settings.timeouts.inventory;
    parts.inventory.wait_vm(path, &reference.id, limit, |seen| open.adapter.complete(seen, before)).await?;
    for (collection, id) in open.adapter.needs(before) {
        parts.inventory.wait_object(path, collection, &id, limit).await?;
    }
    let early = AtomicBool::new(false);
    let not_early = |seen: &Value| {
        let why = inventory::judged_too_early(seen);
        early.store(why.is_some(), Ordering::Relaxed);
        why.map_or(Ok(()), Err)
    };
    // A judgement that is still to come may be such a one.
    let judged = |seen: &Value| not_early(seen).and_then(|()| inventory::not_judged(seen).map_or(Ok(()), Err));
    match parts.inventory.wait_vm(path, &reference.id, JUDGED_ANEW.min(limit), judged).await {
        Ok(_) => return Ok(()),
        Err(WaitError::Timeout { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    if !early.load(Ordering::Relaxed) {
        // Nobody judges here: there is no policy agent, or it is slow.
        return Ok(());
    }
    let message = format!("{}: touched, because the inventory judged it before it knew all of it", reference.name);
    context.note(Some(&cell.id), Level::Info, message);
    driver.touch(reference).await?;
    parts.inventory.wait_vm(path, &reference.id, limit, not_early).await?;
    Ok(())
}

/// So many NADs, each a bridge of its own.
async fn create_nads(
    context: &RunContext,
    cell: &Cell,
    attempt: u32,
    count: usize,
    there: &Tracked,
    namespace: &str,
) -> Result<Vec<(String, String)>, Failure> {
    let mut nads = Vec::new();
    for number in 1..=count {
        let name = cell.id.nad(&context.parts.run, attempt, number);
        let config = serde_json::json!({
            "cniVersion": "0.3.1", "name": name, "type": "bridge", "bridge": name, "ipam": {},
        });
        let mut nad =
            NetworkAttachmentDefinition::new(&name, NetworkAttachmentDefinitionSpec { config: config.to_string() });
        nad.metadata.namespace = Some(namespace.to_owned());
        there.create(nad).await?;
        nads.push((namespace.to_owned(), name));
    }
    Ok(nads)
}

async fn create_hooks(context: &RunContext, cell: &Cell, namespace: &str) -> Result<Vec<HookRef>, Failure> {
    let tracked = context.tracked(Some(&cell.id));
    let settings = &context.parts.settings;
    let patience = context.patience(settings.timeouts.plan);
    let aap = plan::Aap { url: &settings.aap_url, token: settings.aap_token.as_ref() };
    let mut hooks = Vec::new();
    for (step, name, wanted) in
        [("PreHook", "pre-hook", &cell.scenario.pre_hook), ("PostHook", "post-hook", &cell.scenario.post_hook)]
    {
        if let Some(wanted) = wanted {
            let hook = plan::create_hook(&tracked, namespace, name, wanted, &aap, patience).await?;
            hooks.push(HookRef { step: step.to_owned(), hook });
        }
    }
    Ok(hooks)
}

/// Labels a worker for the scenario's node selector. A key whose value the run fills in becomes
/// unique to the cell, because two cells may choose the same worker.
async fn choose_node(
    context: &RunContext,
    cell: &Cell,
    attempt: u32,
    there: &Tracked,
) -> Result<(BTreeMap<String, String>, Option<String>), Failure> {
    let Some((key, value)) = cell.scenario.target_node_selector.iter().next() else {
        return Ok((BTreeMap::new(), None));
    };
    let run = &context.parts.run;
    let (key, value) = match value {
        Some(value) => (key.clone(), value.clone()),
        None => {
            let unique = hash_chars(&format!("{run}/{}/{attempt}", cell.id), 8);
            (format!("{}-{unique}", dns_label(key, MAX_LABEL - 9)), run.to_string())
        }
    };
    let choice = crate::cluster::placement::choose_worker(&there.cluster)
        .await
        .map_err(|cause| Failure::environment(Problem::new(format!("failed to choose a worker: {cause}"))))?;
    match &choice.fallback {
        None => context.note(Some(&cell.id), Level::Info, format!("worker {} has most free memory", choice.node)),
        Some(why) => {
            let message = format!("took worker {} without knowing free memory: {why}", choice.node);
            context.note(Some(&cell.id), Level::Warning, message);
        }
    }
    // In a JSON pointer `~` and `/` are escaped.
    let pointer = format!("/metadata/labels/{}", crate::api::text::pointer_part(&key));
    let limit = context.parts.settings.timeouts.prepare;
    let label = serde_json::Value::String(value.clone());
    borrowed::borrow::<Node>(there, None, &choice.node, &pointer, label, limit).await?;
    Ok((BTreeMap::from([(key, value)]), Some(choice.node)))
}
