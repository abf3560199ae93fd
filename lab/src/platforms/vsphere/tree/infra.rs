//! Properties of everything below the VMs: folders, hosts, pools, networks, datastores.

use super::super::fault::entity;
use super::super::value::{Obj, Ref, Val, member, mo, obj, objs, refs, strings};
use super::Scope;
use super::host;
use super::store::{datastore_property, network_property, switch_property};
use crate::world::EntityKind;
use crate::world::{FolderKind, State, Vm};

pub(super) const GIB: i64 = 1 << 30;
/// What the cluster's hosts have together, as many as the shipped world has.
const MEMORY: i64 = 3 * 512 * GIB;
const CPU_MHZ: i32 = 3 * 64 * 2600;

pub(super) fn network_ref(id: &str) -> Ref {
    entity(EntityKind::Network, id)
}

pub(super) fn green() -> Val {
    member("ManagedEntityStatus", "green")
}

pub(super) fn vms(state: &State, wanted: impl Fn(&Vm) -> bool) -> Val {
    refs(state.vms.values().filter(|vm| wanted(vm)).map(|vm| mo("VirtualMachine", &vm.id)))
}
pub(super) fn hosts(state: &State) -> Val {
    refs(state.hosts.iter().map(|host| mo("HostSystem", &host.id)))
}
pub(super) fn networks(state: &State) -> Val {
    refs(state.networks.iter().map(|network| network_ref(&network.id)))
}
pub(super) fn datastores(state: &State) -> Val {
    refs(state.datastores.iter().map(|store| mo("Datastore", &store.id)))
}

pub(super) fn folder(state: &State, kind: FolderKind, parent: &str) -> Option<Ref> {
    let found = state.folders.values().find(|it| it.kind == kind && it.parent.as_deref() == Some(parent))?;
    Some(mo("Folder", &found.id))
}

pub(super) fn property(scope: &Scope<'_>, object: &Ref, name: &str) -> Option<Val> {
    let state = scope.state;
    let id = object.id.as_str();
    match name {
        "overallStatus" | "configStatus" => return Some(green()),
        "tag" => return Some(Val::Array("Tag", Vec::new())),
        "customValue" | "value" => return Some(Val::Array("CustomFieldValue", Vec::new())),
        "recentTask" => return Some(refs([])),
        _ => {}
    }
    match object.kind.as_str() {
        "Folder" => folder_property(state, id, name),
        "Datacenter" => Some(match name {
            "name" => state.datacenter.1.as_str().into(),
            "parent" => folder_root(state)?.into(),
            "vmFolder" => folder(state, FolderKind::Vm, id)?.into(),
            "hostFolder" => folder(state, FolderKind::Host, id)?.into(),
            "datastoreFolder" => folder(state, FolderKind::Datastore, id)?.into(),
            "networkFolder" => folder(state, FolderKind::Network, id)?.into(),
            "datastore" => datastores(state),
            "network" => networks(state),
            _ => return None,
        }),
        "ClusterComputeResource" | "ComputeResource" => cluster_property(state, name),
        "HostSystem" => host::property(state, state.hosts.iter().find(|host| host.id == id)?, name),
        "HostStorageSystem" | "HostVirtualNicManager" => host::part(state, object, name),
        "ResourcePool" => {
            let pool = state.pools.iter().find(|pool| pool.id == id)?;
            let cluster = mo("ClusterComputeResource", &state.cluster.id);
            Some(match name {
                "name" => Val::from(&pool.name),
                "parent" => pool.parent.as_ref().map_or(cluster, |parent| mo("ResourcePool", parent)).into(),
                "owner" => cluster.into(),
                "resourcePool" => refs(
                    state
                        .pools
                        .iter()
                        .filter(|it| it.parent.as_deref() == Some(id))
                        .map(|it| mo("ResourcePool", &it.id)),
                ),
                "vm" => vms(state, |vm| vm.pool.as_deref() == Some(id)),
                "config" => pool_config(id).into(),
                "runtime" => pool_runtime().into(),
                "summary" => obj("ResourcePoolSummary")
                    .set("name", &pool.name)
                    .set("config", pool_config(id))
                    .set("runtime", pool_runtime())
                    .into(),
                _ => return None,
            })
        }
        "Datastore" => datastore_property(state, state.datastore(id)?, name),
        "Network" | "DistributedVirtualPortgroup" => network_property(state, state.network(id)?, name),
        "VmwareDistributedVirtualSwitch" | "DistributedVirtualSwitch" => switch_property(state, name),
        "HostDatastoreBrowser" => None,
        _ => None,
    }
}

/// Of all that the hosts have, nothing reserved.
fn pool_config(id: &str) -> Obj {
    let allocation = || {
        let shares = obj("SharesInfo").set("shares", 4000).set("level", member("SharesLevel", "normal"));
        obj("ResourceAllocationInfo")
            .set("reservation", 0_i64)
            .set("expandableReservation", true)
            .set("limit", -1_i64)
            .set("shares", shares)
    };
    obj("ResourceConfigSpec")
        .set("entity", mo("ResourcePool", id))
        .set("cpuAllocation", allocation())
        .set("memoryAllocation", allocation())
}

fn pool_runtime() -> Obj {
    let usage = |most: i64| {
        obj("ResourcePoolResourceUsage")
            .set("reservationUsed", 0_i64)
            .set("reservationUsedForVm", 0_i64)
            .set("unreservedForPool", most)
            .set("unreservedForVm", most)
            .set("overallUsage", most / 10)
            .set("maxUsage", most)
    };
    obj("ResourcePoolRuntimeInfo")
        .set("memory", usage(MEMORY))
        .set("cpu", usage(CPU_MHZ.into()))
        .set("overallStatus", green())
}

fn folder_root(state: &State) -> Option<Ref> {
    state.folders.values().find(|it| it.kind == FolderKind::Root).map(|it| mo("Folder", &it.id))
}

fn folder_property(state: &State, id: &str, name: &str) -> Option<Val> {
    let folder = state.folders.get(id)?;
    Some(match name {
        "name" => Val::from(&folder.name),
        "parent" => match folder.parent.as_deref()? {
            parent if parent == state.datacenter.0 => mo("Datacenter", parent).into(),
            parent => mo("Folder", parent).into(),
        },
        "childType" => {
            let kinds: &[&str] = match folder.kind {
                FolderKind::Root => &["Folder", "Datacenter"],
                FolderKind::Vm => &["Folder", "VirtualMachine", "VirtualApp"],
                FolderKind::Host => &["Folder", "ComputeResource"],
                FolderKind::Datastore => &["Folder", "Datastore", "StoragePod"],
                FolderKind::Network => &["Folder", "Network", "DistributedVirtualSwitch"],
            };
            strings(kinds.iter().map(|kind| (*kind).to_owned()))
        }
        "childEntity" => {
            let below = state.folders.values().filter(|it| it.parent.as_deref() == Some(id));
            let mut all: Vec<Ref> = below.map(|it| mo("Folder", &it.id)).collect();
            match folder.kind {
                FolderKind::Root => all.push(mo("Datacenter", &state.datacenter.0)),
                FolderKind::Vm => {
                    let own = state.vms.values().filter(|vm| vm.folder == id);
                    all.extend(own.map(|vm| mo("VirtualMachine", &vm.id)));
                }
                FolderKind::Host => all.push(mo("ClusterComputeResource", &state.cluster.id)),
                FolderKind::Datastore => all.extend(datastores(state).references()),
                FolderKind::Network => {
                    all.extend(networks(state).references());
                    all.push(mo("VmwareDistributedVirtualSwitch", &state.switch.0));
                }
            }
            refs(all)
        }
        _ => return None,
    })
}

fn cluster_property(state: &State, name: &str) -> Option<Val> {
    let root = state.pools.iter().find(|pool| pool.parent.is_none());
    Some(match name {
        "name" => Val::from(&state.cluster.name),
        "parent" => folder(state, FolderKind::Host, &state.datacenter.0)?.into(),
        "host" => hosts(state),
        "network" => networks(state),
        "datastore" => datastores(state),
        "resourcePool" => mo("ResourcePool", &root?.id).into(),
        "summary" => obj("ClusterComputeResourceSummary")
            .set("totalCpu", CPU_MHZ)
            .set("totalMemory", MEMORY)
            .set("numCpuCores", 3 * 64_i16)
            .set("numCpuThreads", 3 * 128_i16)
            .set("effectiveCpu", CPU_MHZ)
            .set("effectiveMemory", MEMORY >> 20)
            .set("numHosts", count(state.hosts.len()))
            .set("numEffectiveHosts", count(state.hosts.len()))
            .set("overallStatus", green())
            .into(),
        "configuration" | "configurationEx" => {
            let extended = name == "configurationEx";
            let kind = if extended { "ClusterConfigInfoEx" } else { "ClusterConfigInfo" };
            obj(kind)
                .set("dasConfig", obj("ClusterDasConfigInfo").set("enabled", false))
                .set(
                    "drsConfig",
                    obj("ClusterDrsConfigInfo")
                        .set("enabled", true)
                        .set("defaultVmBehavior", member("DrsBehavior", "fullyAutomated")),
                )
                .set(
                    "drsVmConfig",
                    objs("ClusterDrsVmConfigInfo", state.vms.values().filter(|vm| vm.without_drs).map(override_of)),
                )
                .opt("vsanConfigInfo", extended.then(no_vsan))
                .into()
        }
        _ => return None,
    })
}

fn override_of(vm: &Vm) -> Obj {
    obj("ClusterDrsVmConfigInfo").set("key", mo("VirtualMachine", &vm.id)).set("enabled", false)
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn no_vsan() -> Obj {
    let defaults = obj("VsanClusterConfigInfoHostDefaultInfo").set("autoClaimStorage", false);
    obj("VsanClusterConfigInfo").set("enabled", false).set("defaultConfig", defaults)
}

/// What `GetResourceUsage` tells of the cluster.
pub(super) fn usage(state: &State) -> Obj {
    let sum = |of: fn(&crate::world::Datastore) -> i64| state.datastores.iter().map(of).sum::<i64>() >> 20;
    let (storage, free) = (sum(|store| store.capacity), sum(|store| store.free));
    let memory = i32::try_from(MEMORY >> 20).unwrap_or(i32::MAX);
    obj("ClusterResourceUsageSummary")
        .set("cpuUsedMHz", 900 * count(state.hosts.len()))
        .set("cpuCapacityMHz", CPU_MHZ)
        .set("memUsedMB", memory / 10)
        .set("memCapacityMB", memory)
        .set("storageUsedMB", storage - free)
        .set("storageCapacityMB", storage)
}
