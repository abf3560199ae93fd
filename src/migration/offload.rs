//! Copy-offload for one cell: what must be given before anything is made, the array's Secret, and the populators' traces.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use secrecy::SecretString;

use super::Failure;
use super::artifacts;
use super::context::{OpenProfile, RunContext};
use super::prepared::{Offloading, Prepared, PreparedVm};
use crate::api::forklift::XcopyConfig;
use crate::check::{Array, Offloaded};
use crate::cluster::{Cluster, target};
use crate::config::{Copyoffload, Scenario};
use crate::event::{Level, Problem};
use crate::forklift::offload::{self as forklift_offload, Populators};
use crate::forklift::providers;
use crate::matrix::{Cell, support};
use crate::source::{KeyRequest, SourceAccess, SourceError};

/// How long logs that are just being read are waited for.
const READ: Duration = Duration::from_secs(10);

/// Whether any of its Plans is one.
pub(super) fn asks(scenario: &Scenario) -> bool {
    scenario.parts().iter().any(|part| part.scenario.copyoffload)
}

/// What the array's Secret is to hold. Everything that speaks against the cell is told at once, before anything is made
/// for it.
pub(super) async fn possible(
    cell: &Cell,
    open: &OpenProfile,
    destination: &Cluster,
) -> Result<Option<BTreeMap<String, SecretString>>, Failure> {
    if !asks(&cell.scenario) {
        return Ok(None);
    }
    let Some(section) = support::offload_section(&open.profile) else {
        return Err(Failure::skipped(format!("profile `{}` has no copyoffload section", open.profile.name)));
    };
    let mut wrong = Vec::new();
    let secret = section.storage_secret().unwrap_or_else(|lacks| {
        wrong.extend(lacks);
        BTreeMap::new()
    });
    let primary = section.datastore(Copyoffload::PRIMARY);
    if primary.is_none() {
        wrong.push(format!("`{}` is missing", Copyoffload::PRIMARY));
    }
    wrong.extend(section.host_login().and_then(Result::err));
    if let SourceAccess::Driver(driver) = &open.access {
        let vms = &cell.scenario.virtual_machines;
        let disks = vms.iter().flat_map(|vm| &vm.add_disks);
        let named = vms.iter().filter_map(|vm| vm.target_datastore_id.as_deref());
        let named = named.chain(disks.clone().filter_map(|disk| disk.datastore_id.as_deref()));
        let mut storages: Vec<&str> = primary.into_iter().collect();
        storages.extend(named.map(|word| section.datastore(word).unwrap_or(word)));
        storages.sort_unstable();
        storages.dedup();
        let lun = section.rdm_lun_uuid.as_deref().filter(|_| disks.clone().any(|disk| disk.rdm_type.is_some()));
        wrong.extend(driver.offload_obstacles(&storages, lun).await?);
    }
    match target::gives_blocks(destination, &cell.storage_class).await {
        Ok(true) => {}
        Ok(false) => wrong.push(format!(
            "the StorageProfile of {} has no set of ReadWriteOnce and Block, and an array fills block devices alone",
            cell.storage_class
        )),
        Err(why) => wrong.push(format!("whether {} gives block devices is not known: {why}", cell.storage_class)),
    }
    if wrong.is_empty() {
        return Ok(Some(secret));
    }
    let mut failure = Failure::blocked(format!("copy-offload can't be: {}", wrong.join("; ")));
    if wrong.len() > 1 {
        failure.problem.details = wrong;
    }
    Err(failure)
}

/// Makes the Secret, beside the source Provider: MTV looks for it there.
pub(super) async fn make_ready(
    context: &RunContext,
    cell: &Cell,
    attempt: u32,
    open: &OpenProfile,
    secret: BTreeMap<String, SecretString>,
) -> Result<Offloading, Failure> {
    let Some(section) = support::offload_section(&open.profile) else {
        return Err(Failure::environment(Problem::new("the copyoffload section is gone")));
    };
    let name = cell.id.array(&context.parts.run, attempt);
    let namespace = open.provider.reference.namespace.clone().unwrap_or_default();
    let made = providers::secret(&namespace, &name, BTreeMap::new(), secret);
    context.tracked(Some(&cell.id)).create(made).await?;
    let vendor = section.storage_vendor_product.clone().unwrap_or_default();
    let asked = &cell.scenario.offload.migration_hosts;
    let hosts: Vec<String> = asked
        .iter()
        .flat_map(|host| match host.as_str() {
            support::PROFILE_HOSTS => section.dedicated_migration_hosts.clone(),
            own => vec![own.to_owned()],
        })
        .collect();
    Ok(Offloading {
        config: XcopyConfig {
            secret_ref: name,
            storage_vendor_product: vendor.clone(),
            dedicated_migration_hosts: hosts.clone(),
        },
        array: Array {
            vendor,
            method: section.clone_method().to_owned(),
            without_xcopy: section.datastore(Copyoffload::NON_XCOPY).map(str::to_owned),
            hosts,
        },
    })
}

/// Lets the populators in on the hosts that copy, where they come by SSH: those of the VMs, and those that are set aside.
pub(super) async fn let_in(
    context: &RunContext,
    cell: &Cell,
    open: &OpenProfile,
    offload: &Offloading,
    vms: &[PreparedVm],
) -> Result<(), Failure> {
    let section = support::offload_section(&open.profile);
    let (Some(Ok(_)), SourceAccess::Driver(driver)) = (section.and_then(Copyoffload::host_login), &open.access) else {
        return Ok(());
    };
    let parts = &context.parts;
    let mut hosts = BTreeSet::new();
    for vm in vms {
        hosts.extend(driver.host_of(&vm.reference).await?);
    }
    let of_vms = hosts.len();
    hosts.extend(offload.config.dedicated_migration_hosts.iter().cloned());
    let set_aside = hosts.len() > of_vms;
    let line =
        forklift_offload::key_line(&parts.cluster, &open.provider.reference, parts.settings.timeouts.prepare).await?;
    for host in &hosts {
        let request = KeyRequest { cell: &cell.id, run: &parts.run, host, line: &line };
        match driver.let_in(&request, &parts.ledger).await {
            Ok(name) => context.note(Some(&cell.id), Level::Info, format!("MTV's key is on host {name}")),
            // MTV has to say that there is none.
            Err(error @ SourceError::NotFound { .. }) if set_aside => {
                context.note(Some(&cell.id), Level::Warning, format!("no key of MTV's there: {error}"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Follows the populators of the cell's migrations from now on.
pub(super) fn follow(prepared: &Prepared) -> Populators {
    Populators::follow(&prepared.destination.cluster, &prepared.target_namespace)
}

/// What the populators left, for the checks. `migrations`: by UID.
pub(super) async fn left(
    prepared: &Prepared,
    populators: Option<&Populators>,
    migrations: &[String],
) -> Option<Offloaded> {
    let array = prepared.offload.as_ref()?.array.clone();
    let nobody = "nobody has followed the populators";
    let (pods, objects) = match populators {
        Some(populators) => (populators.pods(READ).await, populators.objects(migrations)),
        None => (Err(nobody.to_owned()), Err(nobody.to_owned())),
    };
    Some(Offloaded { array, pods, populators: objects })
}

/// Puts what the populators left among the artifacts of an attempt that did not pass. Their pods that are still there are
/// read once more after this.
pub(super) async fn keep(
    context: &RunContext,
    (cell, attempt): (&Cell, u32),
    prepared: &Prepared,
    populators: &Populators,
) {
    let there = &prepared.destination.cluster;
    let remote = there.id() != context.parts.cluster.id();
    let place = artifacts::Gone { remote, namespace: &prepared.target_namespace };
    let pods = populators.pods(READ).await.unwrap_or_default();
    artifacts::keep_gone(context, (cell, attempt), place, &pods, populators.all_objects().unwrap_or_default());
}
