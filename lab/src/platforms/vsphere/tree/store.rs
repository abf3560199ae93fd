//! Properties of datastores, networks and the distributed switch.

use super::super::value::{Val, mo, obj, objs, refs};
use super::infra::{GIB, folder, hosts, network_ref, vms};
use crate::world::{Datastore, FolderKind, Host, Network, State, Vm};

/// The LUN that a datastore lies on.
pub(super) fn extent(store: &str) -> String {
    format!("naa.600a0980{}", store.replace("datastore-", ""))
}

pub(super) fn datastore_property(state: &State, store: &Datastore, name: &str) -> Option<Val> {
    let url = format!("ds:///vmfs/volumes/{}/", store.id);
    let holds = |vm: &Vm| vm.datastores().contains(&store.id);
    Some(match name {
        "name" => Val::from(&store.name),
        "parent" => folder(state, FolderKind::Datastore, &state.datacenter.0)?.into(),
        "summary" => obj("DatastoreSummary")
            .set("datastore", mo("Datastore", &store.id))
            .set("name", &store.name)
            .set("url", url)
            .set("capacity", store.capacity)
            .set("freeSpace", store.free)
            .set("uncommitted", 0_i64)
            .set("accessible", true)
            .set("multipleHostAccess", true)
            .set("type", &store.kind)
            .set("maintenanceMode", "normal")
            .into(),
        "info" => {
            let base = |kind| {
                obj(kind)
                    .set("name", &store.name)
                    .set("url", &url)
                    .set("freeSpace", store.free)
                    .set("maxFileSize", 64 * 1024 * GIB)
                    .set("maxMemoryFileSize", 64 * 1024 * GIB)
            };
            let volume =
                |kind| obj(kind).set("type", &store.kind).set("name", &store.name).set("capacity", store.capacity);
            if store.kind == "NFS" {
                let nas = volume("HostNasVolume")
                    .set("remoteHost", "nfs.lab.example")
                    .set("remotePath", format!("/export/{}", store.name));
                base("NasDatastoreInfo").set("nas", nas).into()
            } else {
                let extent = obj("HostScsiDiskPartition").set("diskName", extent(&store.id)).set("partition", 1);
                let vmfs = volume("HostVmfsVolume")
                    .set("blockSizeMb", 1)
                    .set("maxBlocks", 63_963_136)
                    .set("majorVersion", 6)
                    .set("version", "6.82")
                    .set("uuid", &store.id)
                    .set("extent", objs("HostScsiDiskPartition", [extent]))
                    .set("vmfsUpgradable", false);
                base("VmfsDatastoreInfo")
                    .set("maxPhysicalRDMFileSize", 64 * 1024 * GIB)
                    .set("maxVirtualRDMFileSize", 62 * 1024 * GIB)
                    .set("vmfs", vmfs)
                    .into()
            }
        }
        "host" => {
            let mount = |host: &Host| {
                obj("DatastoreHostMount").set("key", mo("HostSystem", &host.id)).set(
                    "mountInfo",
                    obj("HostMountInfo")
                        .set("path", format!("/vmfs/volumes/{}", store.id))
                        .set("accessMode", "readWrite")
                        .set("mounted", true)
                        .set("accessible", true),
                )
            };
            objs("DatastoreHostMount", state.hosts.iter().map(mount))
        }
        "vm" => vms(state, holds),
        "browser" => mo("HostDatastoreBrowser", &format!("datastoreBrowser-{}", store.id)).into(),
        "capability" => obj("DatastoreCapability")
            .set("directoryHierarchySupported", true)
            .set("rawDiskMappingsSupported", store.kind == "VMFS")
            .set("perFileThinProvisioningSupported", true)
            .set("storageIORMSupported", true)
            .set("nativeSnapshotSupported", false)
            .into(),
        "iormConfiguration" => obj("StorageIORMInfo")
            .set("enabled", false)
            .set("congestionThresholdMode", "automatic")
            .set("congestionThreshold", 30)
            .set("statsCollectionEnabled", false)
            .set("reservationEnabled", false)
            .into(),
        _ => return None,
    })
}

pub(super) fn network_property(state: &State, network: &Network, name: &str) -> Option<Val> {
    Some(match name {
        "name" => Val::from(&network.name),
        "parent" => folder(state, FolderKind::Network, &state.datacenter.0)?.into(),
        "summary" => obj("NetworkSummary")
            .set("network", network_ref(&network.id))
            .set("name", &network.name)
            .set("accessible", true)
            .set("ipPoolName", "")
            .into(),
        "host" => hosts(state),
        "vm" => vms(state, |vm| vm.nics.iter().any(|nic| nic.network == network.id)),
        "key" if network.vlan.is_some() => Val::from(&network.id),
        "config" if network.vlan.is_some() => obj("DVPortgroupConfigInfo")
            .set("key", &network.id)
            .set("name", &network.name)
            .set("numPorts", 8)
            .set("distributedVirtualSwitch", mo("VmwareDistributedVirtualSwitch", &state.switch.0))
            .set(
                "defaultPortConfig",
                obj("VMwareDVSPortSetting").set(
                    "vlan",
                    obj("VmwareDistributedVirtualSwitchVlanIdSpec")
                        .set("inherited", false)
                        .set("vlanId", network.vlan.unwrap_or_default()),
                ),
            )
            .set("type", "earlyBinding")
            .into(),
        _ => return None,
    })
}

pub(super) fn switch_property(state: &State, name: &str) -> Option<Val> {
    let member_of = |host: &Host| {
        obj("DistributedVirtualSwitchHostMember")
            .set(
                "config",
                obj("DistributedVirtualSwitchHostMemberConfigInfo")
                    .set("host", mo("HostSystem", &host.id))
                    .set("maxProxySwitchPorts", 2048)
                    .set("backing", obj("DistributedVirtualSwitchHostMemberPnicBacking")),
            )
            .set("status", "up")
    };
    let portgroups = state.networks.iter().filter(|network| network.vlan.is_some());
    Some(match name {
        "name" => Val::from(&state.switch.1),
        "parent" => folder(state, FolderKind::Network, &state.datacenter.0)?.into(),
        "uuid" => Val::from(&state.switch.2),
        "portgroup" => refs(portgroups.map(|network| network_ref(&network.id))),
        "config" => obj("VMwareDVSConfigInfo")
            .set("uuid", &state.switch.2)
            .set("name", &state.switch.1)
            .set("numStandalonePorts", 0)
            .set("numPorts", 8)
            .set("maxPorts", i32::MAX)
            .set("host", objs("DistributedVirtualSwitchHostMember", state.hosts.iter().map(member_of)))
            .set("configVersion", "1")
            .into(),
        _ => return None,
    })
}
