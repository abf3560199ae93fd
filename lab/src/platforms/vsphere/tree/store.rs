//! Properties of datastores, networks and the distributed switch.

use super::super::value::{Obj, Val, mo, obj, objs, refs, strings};
use super::infra::{GIB, folder, hosts, network_ref, vms};
use crate::world::{Datastore, FolderKind, Host, Network, State, Vm};

/// The LUN that a datastore lies on.
pub(super) fn extent(store: &str) -> String {
    format!("naa.600a0980{}", store.replace("datastore-", ""))
}

/// The volume of a datastore, as the datastore and each host tell it.
pub(super) fn volume(store: &Datastore) -> Obj {
    let base = |kind| obj(kind).set("type", &store.kind).set("name", &store.name).set("capacity", store.capacity);
    if store.kind == "NFS" {
        return base("HostNasVolume")
            .set("remoteHost", "nfs.lab.example")
            .set("remotePath", format!("/export/{}", store.name));
    }
    let extent = obj("HostScsiDiskPartition").set("diskName", extent(&store.id)).set("partition", 1);
    base("HostVmfsVolume")
        .set("blockSizeMb", 1)
        .set("maxBlocks", 63_963_136)
        .set("majorVersion", 6)
        .set("version", "6.82")
        .set("uuid", &store.id)
        .set("extent", objs("HostScsiDiskPartition", [extent]))
        .set("vmfsUpgradable", false)
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
            if store.kind == "NFS" {
                base("NasDatastoreInfo").set("nas", volume(store)).into()
            } else {
                base("VmfsDatastoreInfo")
                    .set("maxPhysicalRDMFileSize", 64 * 1024 * GIB)
                    .set("maxVirtualRDMFileSize", 62 * 1024 * GIB)
                    .set("vmfs", volume(store))
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
            .set("defaultPortConfig", port_setting(network.vlan.unwrap_or_default()))
            .set("policy", port_policy())
            .set("type", "earlyBinding")
            .set("autoExpand", true)
            .into(),
        _ => return None,
    })
}

/// How a port behaves where nobody said anything else.
fn port_setting(vlan: i32) -> Obj {
    let flag = |value: bool| obj("BoolPolicy").set("inherited", false).set("value", value);
    let order = obj("VMwareUplinkPortOrderPolicy").set("inherited", false).set("activeUplinkPort", strings(uplinks()));
    let learning = obj("DVSMacLearningPolicy").set("inherited", false).set("enabled", false);
    obj("VMwareDVSPortSetting")
        .set("vlan", obj("VmwareDistributedVirtualSwitchVlanIdSpec").set("inherited", false).set("vlanId", vlan))
        .set(
            "uplinkTeamingPolicy",
            obj("VmwareUplinkPortTeamingPolicy")
                .set("inherited", false)
                .set("policy", obj("StringPolicy").set("inherited", false).set("value", "loadbalance_srcid"))
                .set("reversePolicy", flag(true))
                .set("notifySwitches", flag(true))
                .set("rollingOrder", flag(false))
                .set("uplinkPortOrder", order),
        )
        .set(
            "macManagementPolicy",
            obj("DVSMacManagementPolicy")
                .set("inherited", false)
                .set("allowPromiscuous", false)
                .set("macChanges", false)
                .set("forgedTransmits", false)
                .set("macLearningPolicy", learning),
        )
}

fn port_policy() -> Obj {
    obj("VMwareDVSPortgroupPolicy")
        .set("blockOverrideAllowed", true)
        .set("shapingOverrideAllowed", false)
        .set("vendorConfigOverrideAllowed", false)
        .set("livePortMovingAllowed", false)
        .set("portConfigResetAtDisconnect", true)
        .set("networkResourcePoolOverrideAllowed", false)
        .set("trafficFilterOverrideAllowed", false)
        .set("vlanOverrideAllowed", false)
        .set("uplinkTeamingOverrideAllowed", false)
        .set("securityPolicyOverrideAllowed", false)
        .set("ipfixOverrideAllowed", false)
}

fn uplinks() -> [String; 2] {
    ["Uplink 1", "Uplink 2"].map(str::to_owned)
}

fn switch_product() -> Obj {
    obj("DistributedVirtualSwitchProductSpec")
        .set("name", "DVS")
        .set("vendor", "VMware, Inc.")
        .set("version", "8.0.3")
        .set("build", "24022510")
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
            .set("productInfo", switch_product())
            .set("uplinkPortPolicy", obj("DVSNameArrayUplinkPortPolicy").set("uplinkPortName", strings(uplinks())))
            .set("networkResourceManagementEnabled", true)
            .set("contact", obj("DVSContactInfo").set("name", "").set("contact", ""))
            .set("configVersion", "1")
            .set("maxMtu", 1500)
            .set("multicastFilteringMode", "legacyFiltering")
            .set(
                "linkDiscoveryProtocolConfig",
                obj("LinkDiscoveryProtocolConfig").set("protocol", "cdp").set("operation", "listen"),
            )
            .set(
                "ipfixConfig",
                obj("VMwareIpfixConfig")
                    .set("collectorPort", 0)
                    .set("observationDomainId", 0_i64)
                    .set("activeFlowTimeout", 60)
                    .set("idleFlowTimeout", 15)
                    .set("samplingRate", 4096)
                    .set("internalFlowsOnly", false),
            )
            .into(),
        "summary" => obj("DVSSummary")
            .set("name", &state.switch.1)
            .set("uuid", &state.switch.2)
            .set("numPorts", 8)
            .set("productInfo", switch_product())
            .set("hostMember", hosts(state))
            .set("host", hosts(state))
            .set(
                "portgroupName",
                strings(state.networks.iter().filter(|it| it.vlan.is_some()).map(|it| it.name.clone())),
            )
            .into(),
        _ => return None,
    })
}
