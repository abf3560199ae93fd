//! Properties of everything below the VMs: folders, hosts, pools, networks, datastores.

use super::super::fault::entity;
use super::super::value::{Obj, Ref, Val, member, mo, obj, objs, refs, strings};
use super::Scope;
use super::store::{datastore_property, extent, network_property, switch_property};
use crate::world::EntityKind;
use crate::world::{FolderKind, Host, SPARE_LUN, State, Vm};

pub(super) const GIB: i64 = 1 << 30;

pub(super) fn network_ref(id: &str) -> Ref {
    entity(EntityKind::Network, id)
}

fn green() -> Val {
    member("ManagedEntityStatus", "green")
}

pub(super) fn vms(state: &State, wanted: impl Fn(&Vm) -> bool) -> Val {
    refs(state.vms.values().filter(|vm| wanted(vm)).map(|vm| mo("VirtualMachine", &vm.id)))
}
pub(super) fn hosts(state: &State) -> Val {
    refs(state.hosts.iter().map(|host| mo("HostSystem", &host.id)))
}
fn networks(state: &State) -> Val {
    refs(state.networks.iter().map(|network| network_ref(&network.id)))
}
fn datastores(state: &State) -> Val {
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
        "HostSystem" => host_property(state, state.hosts.iter().find(|host| host.id == id)?, name),
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
        .set("memory", usage(3 * 512 * GIB))
        .set("cpu", usage(3 * 64 * 2600))
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
        "configuration" | "configurationEx" => {
            let kind = if name == "configuration" { "ClusterConfigInfo" } else { "ClusterConfigInfoEx" };
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
                .into()
        }
        _ => return None,
    })
}

fn override_of(vm: &Vm) -> Obj {
    obj("ClusterDrsVmConfigInfo").set("key", mo("VirtualMachine", &vm.id)).set("enabled", false)
}

fn host_property(state: &State, host: &Host, name: &str) -> Option<Val> {
    let id = host.id.as_str();
    let nic = |key: &str| {
        obj("HostVirtualNic").set("device", "vmk0").set("key", key).set("portgroup", "Management Network").set(
            "spec",
            obj("HostVirtualNicSpec").set(
                "ip",
                obj("HostIpConfig")
                    .set("dhcp", false)
                    .set("ipAddress", host.address.to_string())
                    .set("subnetMask", "255.255.255.0"),
            ),
        )
    };
    Some(match name {
        "name" => Val::from(&host.name),
        "parent" => mo("ClusterComputeResource", &state.cluster.id).into(),
        "vm" => vms(state, |vm| vm.host == id),
        "network" => networks(state),
        "datastore" => datastores(state),
        "runtime" => host_runtime().into(),
        "summary" => obj("HostListSummary")
            .set("host", mo("HostSystem", id))
            .set("hardware", host_hardware(host))
            .set("runtime", host_runtime())
            .set(
                "config",
                obj("HostConfigSummary")
                    .set("name", &host.name)
                    .set("port", 443)
                    .set("sslThumbprint", thumbprint(host))
                    .set("product", product())
                    .set("vmotionEnabled", true)
                    .set("faultToleranceEnabled", false),
            )
            .set("quickStats", obj("HostListSummaryQuickStats").set("overallCpuUsage", 900))
            .set("overallStatus", green())
            .set("rebootRequired", false)
            .set("managementServerIp", "10.50.0.10")
            .into(),
        "hardware" => obj("HostHardwareInfo")
            .set(
                "systemInfo",
                obj("HostSystemInfo").set("vendor", "Lab").set("model", "Simulated").set("uuid", host_uuid(host)),
            )
            .set(
                "cpuInfo",
                obj("HostCpuInfo")
                    .set("numCpuPackages", 2_i16)
                    .set("numCpuCores", 64_i16)
                    .set("numCpuThreads", 128_i16)
                    .set("hz", 2_600_000_000_i64),
            )
            .set("memorySize", 512 * GIB)
            .into(),
        "capability" => obj("HostCapability").set("vmotionSupported", true).set("storageVMotionSupported", true).into(),
        "configManager" => obj("HostConfigManager")
            .set("advancedOption", mo("OptionManager", &format!("EsxHostAdvSettings-{id}")))
            .into(),
        "config" => {
            let net_config = obj("VirtualNicManagerNetConfig")
                .set("nicType", "management")
                .set("multiSelectAllowed", true)
                .set("candidateVnic", objs("HostVirtualNic", [nic("management.key-vim.host.VirtualNic-vmk0")]))
                .set("selectedVnic", strings(["management.key-vim.host.VirtualNic-vmk0".to_owned()]));
            obj("HostConfigInfo")
                .set("host", mo("HostSystem", id))
                .set("product", product())
                .set(
                    "network",
                    obj("HostNetworkInfo").set("vnic", objs("HostVirtualNic", [nic("key-vim.host.VirtualNic-vmk0")])),
                )
                .set("storageDevice", obj("HostStorageDeviceInfo").set("scsiLun", luns(state)))
                .set(
                    "virtualNicManagerInfo",
                    obj("HostVirtualNicManagerInfo").set("netConfig", objs("VirtualNicManagerNetConfig", [net_config])),
                )
                .set(
                    "dateTimeInfo",
                    obj("HostDateTimeInfo").set(
                        "timeZone",
                        obj("HostDateTimeSystemTimeZone")
                            .set("key", "UTC")
                            .set("name", "UTC")
                            .set("description", "UTC")
                            .set("gmtOffset", 0),
                    ),
                )
                .into()
        }
        _ => return None,
    })
}

/// The LUNs of the datastores that are block storage, and one that nobody uses yet.
fn luns(state: &State) -> Val {
    let used = state.datastores.iter().filter(|store| store.kind == "VMFS").map(|store| extent(&store.id));
    objs(
        "ScsiLun",
        used.chain([SPARE_LUN.to_owned()]).map(|name| {
            obj("HostScsiDisk")
                .set("deviceName", format!("/vmfs/devices/disks/{name}"))
                .set("deviceType", "disk")
                .set("key", format!("key-vim.host.ScsiDisk-0200{}", name.trim_start_matches("naa.")))
                .set("uuid", format!("0200{}", name.trim_start_matches("naa.")))
                .set("canonicalName", name)
                .set("lunType", "disk")
                .set("vendor", "LAB     ")
        }),
    )
}

fn host_runtime() -> Obj {
    obj("HostRuntimeInfo")
        .set("connectionState", member("HostSystemConnectionState", "connected"))
        .set("powerState", member("HostSystemPowerState", "poweredOn"))
        .set("inMaintenanceMode", false)
}

fn host_uuid(host: &Host) -> String {
    uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_DNS, host.name.as_bytes()).to_string()
}

/// Looks like a SHA-1 fingerprint; the lab's hosts have no endpoint of their own.
fn thumbprint(host: &Host) -> String {
    let bytes = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, host.name.as_bytes()).into_bytes();
    let all: Vec<String> = bytes.iter().chain(&bytes[..4]).map(|byte| format!("{byte:02X}")).collect();
    all.join(":")
}

fn host_hardware(host: &Host) -> Obj {
    obj("HostHardwareSummary")
        .set("vendor", "Lab")
        .set("model", "Simulated")
        .set("uuid", host_uuid(host))
        .set("memorySize", 512 * GIB)
        .set("cpuModel", "Simulated CPU @ 2.60GHz")
        .set("cpuMhz", 2600)
        .set("numCpuPkgs", 2_i16)
        .set("numCpuCores", 64_i16)
        .set("numCpuThreads", 128_i16)
        .set("numNics", 2)
        .set("numHBAs", 1)
}

fn product() -> Obj {
    obj("AboutInfo")
        .set("name", "VMware ESXi")
        .set("fullName", "VMware ESXi 8.0.3 build-24022510")
        .set("vendor", "VMware, Inc.")
        .set("version", "8.0.3")
        .set("build", "24022510")
        .set("osType", "vmnix-x86")
        .set("productLineId", "embeddedEsx")
        .set("apiType", "HostAgent")
        .set("apiVersion", "8.0.3.0")
}
