//! Hosts, with the parts of theirs that are managed objects themselves: storage and virtual NICs.

use super::super::value::{Obj, Ref, Val, member, mo, obj, objs, strings, time};
use super::infra::{GIB, datastores, green, networks, vms};
use super::store::{extent, volume};
use crate::world::{Host, SPARE_LUN, State};

/// Before the host's id in the id of its storage system, and in that of its manager of virtual NICs.
const STORAGE: &str = "storageSystem-";
const NICS: &str = "virtualNicManager-";

/// What a virtual NIC may be for.
pub(super) const TRAFFIC: &[&str] = &[
    "management",
    "vmotion",
    "faultToleranceLogging",
    "vSphereReplication",
    "vSphereReplicationNFC",
    "vSphereProvisioning",
    "vsan",
    "vsanWitness",
    "vSphereBackupNFC",
    "nvmeTcp",
    "nvmeRdma",
];

/// The host that a part belongs to.
pub(super) fn whose<'a>(state: &'a State, part: &Ref) -> Option<&'a Host> {
    let id = part.id.strip_prefix(STORAGE).or_else(|| part.id.strip_prefix(NICS))?;
    state.hosts.iter().find(|host| host.id == id)
}

/// A property of one of a host's parts.
pub(super) fn part(state: &State, part: &Ref, name: &str) -> Option<Val> {
    let host = whose(state, part)?;
    Some(match name {
        "storageDeviceInfo" => devices(state).into(),
        "fileSystemVolumeInfo" => {
            let mounts = state.datastores.iter().map(|store| {
                let mount = obj("HostMountInfo")
                    .set("path", format!("/vmfs/volumes/{}", store.id))
                    .set("accessMode", "readWrite")
                    .set("mounted", true)
                    .set("accessible", true);
                obj("HostFileSystemMountInfo").set("mountInfo", mount).set("volume", volume(store))
            });
            obj("HostFileSystemVolumeInfo")
                .set("volumeTypeList", strings(["VMFS".to_owned(), "NFS".to_owned()]))
                .set("mountInfo", objs("HostFileSystemMountInfo", mounts))
                .into()
        }
        "info" => nics(host).into(),
        _ => return None,
    })
}

/// What a kind of traffic uses: management has the one NIC, nothing else has any.
pub(super) fn net_config(host: &Host, kind: &str) -> Obj {
    let key = format!("{kind}.key-vim.host.VirtualNic-vmk0");
    let selected = (kind == "management").then(|| key.clone());
    obj("VirtualNicManagerNetConfig")
        .set("nicType", kind)
        .set("multiSelectAllowed", true)
        .set("candidateVnic", objs("HostVirtualNic", [nic(host, &key)]))
        .set("selectedVnic", strings(selected))
}

fn nics(host: &Host) -> Obj {
    let management = net_config(host, "management");
    obj("HostVirtualNicManagerInfo").set("netConfig", objs("VirtualNicManagerNetConfig", [management]))
}

fn nic(host: &Host, key: &str) -> Obj {
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
}

fn devices(state: &State) -> Obj {
    obj("HostStorageDeviceInfo").set("scsiLun", luns(state))
}

pub(super) fn property(state: &State, host: &Host, name: &str) -> Option<Val> {
    let id = host.id.as_str();
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
            .set(
                "biosInfo",
                obj("HostBIOSInfo").set("biosVersion", "1.0").set("releaseDate", time("2025-01-01T00:00:00Z")),
            )
            .into(),
        "capability" => obj("HostCapability").set("vmotionSupported", true).set("storageVMotionSupported", true).into(),
        "configManager" => obj("HostConfigManager")
            .set("storageSystem", mo("HostStorageSystem", &format!("{STORAGE}{id}")))
            .set("virtualNicManager", mo("HostVirtualNicManager", &format!("{NICS}{id}")))
            .set("advancedOption", mo("OptionManager", &format!("EsxHostAdvSettings-{id}")))
            .into(),
        "config" => obj("HostConfigInfo")
            .set("host", mo("HostSystem", id))
            .set("product", product())
            .set(
                "network",
                obj("HostNetworkInfo").set("vnic", objs("HostVirtualNic", [nic(host, "key-vim.host.VirtualNic-vmk0")])),
            )
            .set("storageDevice", devices(state))
            .set("virtualNicManagerInfo", nics(host))
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
            .into(),
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
