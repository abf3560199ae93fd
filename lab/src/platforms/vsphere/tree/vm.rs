//! Properties of virtual machines and their snapshots.

use super::super::value::{Obj, Val, member, mo, obj, objs, refs, strings, time};
use super::Scope;
use super::device::devices;
use super::infra::network_ref;
use super::snapshot::{children, snapshot_info};
use crate::api::world as told;
use crate::weather::Weather;
use crate::world::{Disk, Nic, State, Vm};

pub(super) fn property(scope: &Scope<'_>, id: &str, name: &str) -> Option<Val> {
    let state = scope.state;
    let vm = state.vms.get(id)?;
    Some(match name {
        "name" => Val::from(&vm.name),
        "parent" => mo("Folder", &vm.folder).into(),
        "overallStatus" | "configStatus" => member("ManagedEntityStatus", "green"),
        "guestHeartbeatStatus" => member("ManagedEntityStatus", heartbeat(vm)),
        "recentTask" => refs(
            state.tasks.values().filter(|task| task.entity.1 == id && !task.is_over()).map(|task| mo("Task", &task.id)),
        ),
        "config" => config(state, vm, &vm.disks, vm.snapshots.len()).into(),
        "capability" => capability().into(),
        "resourcePool" => mo("ResourcePool", vm.pool.as_ref()?).into(),
        "environmentBrowser" => mo("EnvironmentBrowser", &format!("envbrowser-{id}")).into(),
        "runtime" => runtime(vm).into(),
        "guest" => guest(state, vm).into(),
        "summary" => summary(state, vm).into(),
        "storage" => {
            let usage = |store: &String| {
                let committed = committed(vm, Some(store));
                obj("VirtualMachineUsageOnDatastore")
                    .set("datastore", mo("Datastore", store))
                    .set("committed", committed)
                    .set("uncommitted", 0_i64)
                    .set("unshared", committed)
            };
            let all = vm.datastores().iter().map(usage).map(Val::Obj).collect();
            obj("VirtualMachineStorageInfo")
                .list("perDatastoreUsage", "VirtualMachineUsageOnDatastore", all)
                .set("timestamp", time(&vm.created))
                .into()
        }
        "layoutEx" => layout(state, vm).into(),
        "layout" => {
            let disk = |disk: &Disk| {
                let store = state.datastore(&disk.datastore).map_or("", |store| store.name.as_str());
                obj("VirtualMachineFileLayoutDiskLayout")
                    .set("key", disk.key)
                    .set("diskFile", strings([format!("[{store}] {}", disk.path)]))
            };
            obj("VirtualMachineFileLayout")
                .set("configFile", strings([format!("{}.vmx", vm.name)]))
                .set("disk", objs("VirtualMachineFileLayoutDiskLayout", vm.disks.iter().map(disk)))
                .into()
        }
        "datastore" => refs(vm.datastores().iter().map(|store| mo("Datastore", store))),
        "network" => refs(vm.networks().iter().map(|network| network_ref(network))),
        "snapshot" => snapshot_info(vm)?.into(),
        "rootSnapshot" => refs(children(vm, None).map(|it| mo("VirtualMachineSnapshot", &it.id))),
        "customValue" | "value" => Val::Array("CustomFieldValue", Vec::new()),
        "availableField" => Val::Array("CustomFieldDef", Vec::new()),
        "tag" => Val::Array("Tag", Vec::new()),
        "disabledMethod" => strings([]),
        "alarmActionsEnabled" => true.into(),
        _ => return None,
    })
}

fn vmx_path(state: &State, vm: &Vm) -> String {
    let store = state.datastore(&vm.datastore).map_or("", |store| store.name.as_str());
    format!("[{store}] {0}/{0}.vmx", vm.name)
}

/// Bytes on disk, of one datastore or of all.
fn committed(vm: &Vm, store: Option<&str>) -> i64 {
    let on = |disk: &&Disk| store.is_none_or(|store| disk.datastore == store);
    vm.disks.iter().filter(on).map(|disk| if disk.thin { disk.capacity / 3 } else { disk.capacity }).sum()
}

pub(super) fn config(state: &State, vm: &Vm, disks: &[Disk], depth: usize) -> Obj {
    let option = |(key, value): &(String, String)| obj("OptionValue").set("key", key).any("value", value);
    let mut extra: Vec<Val> = vm.extra_config.iter().map(option).map(Val::Obj).collect();
    if vm.change_tracking && !vm.extra_config.iter().any(|(key, _)| key.eq_ignore_ascii_case("ctkEnabled")) {
        extra.push(obj("OptionValue").set("key", "ctkEnabled").any("value", "true").into());
    }
    let hardware = obj("VirtualHardware")
        .set("numCPU", vm.cpus)
        .set("numCoresPerSocket", vm.cores_per_socket)
        .set("memoryMB", vm.memory_mb)
        .set("virtualICH7MPresent", false)
        .set("virtualSMCPresent", false)
        .set("device", devices(state, vm, disks, depth));
    obj("VirtualMachineConfigInfo")
        .set("changeVersion", format!("{}.{}", vm.created, vm.revision))
        .set("modified", time(&vm.created))
        .set("name", &vm.name)
        .set("guestFullName", &vm.os.full_name)
        .set("version", "vmx-19")
        .set("uuid", &vm.uuid)
        .set("createDate", time(&vm.created))
        .set("instanceUuid", &vm.instance_uuid)
        .set("locationId", format!("564d{}", vm.uuid.get(4..).unwrap_or_default()))
        .set("template", vm.template)
        .set("guestId", &vm.os.guest_id)
        .set("alternateGuestName", "")
        .set("annotation", &vm.annotation)
        .set(
            "files",
            obj("VirtualMachineFileInfo").set("vmPathName", vmx_path(state, vm)).set(
                "logDirectory",
                vmx_path(state, vm).rsplit_once('/').map(|(directory, _)| format!("{directory}/")).unwrap_or_default(),
            ),
        )
        .set(
            "tools",
            obj("ToolsConfigInfo")
                .set("toolsVersion", 12352)
                .set("toolsInstallType", if vm.os.windows { "guestToolsTypeMSI" } else { "guestToolsTypeOpenVMTools" })
                .set("toolsUpgradePolicy", "manual")
                .set("syncTimeWithHost", false)
                .set("lastInstallInfo", obj("ToolsConfigInfoToolsLastInstallInfo").set("counter", 0)),
        )
        .set("flags", obj("VirtualMachineFlagInfo").set("enableLogging", true).set("diskUuidEnabled", true))
        .set("defaultPowerOps", obj("VirtualMachineDefaultPowerOpInfo").set("powerOffType", "soft"))
        .set("hardware", hardware)
        .set("memoryHotAddEnabled", false)
        .set("cpuHotAddEnabled", false)
        .set("cpuHotRemoveEnabled", false)
        .list("extraConfig", "OptionValue", extra)
        .set(
            "bootOptions",
            obj("VirtualMachineBootOptions")
                .set("bootDelay", 0_i64)
                .set("enterBIOSSetup", false)
                .set("efiSecureBootEnabled", vm.secure_boot)
                .set("bootRetryEnabled", false)
                .set("bootRetryDelay", 10_000_i64),
        )
        .set("changeTrackingEnabled", vm.tracks_changes())
        .set("firmware", if vm.efi { "efi" } else { "bios" })
        .set("nestedHVEnabled", false)
        .set("vPMCEnabled", false)
}

/// What the lab's VMs can.
fn capability() -> Obj {
    obj("VirtualMachineCapability")
        .set("snapshotOperationsSupported", true)
        .set("multipleSnapshotsSupported", true)
        .set("snapshotConfigSupported", true)
        .set("poweredOffSnapshotsSupported", true)
        .set("memorySnapshotsSupported", false)
        .set("revertToSnapshotSupported", true)
        .set("quiescedSnapshotsSupported", true)
        .set("disableSnapshotsSupported", true)
        .set("bootOptionsSupported", true)
        .set("changeTrackingSupported", true)
        .set("settingDisplayTopologySupported", false)
}

fn runtime(vm: &Vm) -> Obj {
    obj("VirtualMachineRuntimeInfo")
        .set("host", mo("HostSystem", &vm.host))
        .set("connectionState", member("VirtualMachineConnectionState", "connected"))
        .set("powerState", member("VirtualMachinePowerState", vm.power()))
        .set("faultToleranceState", member("VirtualMachineFaultToleranceState", "notConfigured"))
        .set("toolsInstallerMounted", false)
        .set("maxCpuUsage", vm.cpus * 2600)
        .set("maxMemoryUsage", vm.memory_mb)
        .set("numMksConnections", 0)
        .set("recordReplayState", member("VirtualMachineRecordReplayState", "inactive"))
        .set("onlineStandby", false)
        .set("consolidationNeeded", false)
}

struct Tools {
    status: Val,
    version: &'static str,
    running: &'static str,
}

fn tools(vm: &Vm) -> Tools {
    let (status, version, running) = match (vm.os.tools, vm.tools_running) {
        (told::Tools::Missing, _) => ("toolsNotInstalled", "guestToolsNotInstalled", "guestToolsNotRunning"),
        (told::Tools::Running | told::Tools::Stopped, true) if vm.os.windows => {
            ("toolsOk", "guestToolsCurrent", "guestToolsRunning")
        }
        (told::Tools::Running | told::Tools::Stopped, true) => ("toolsOk", "guestToolsUnmanaged", "guestToolsRunning"),
        (told::Tools::Running | told::Tools::Stopped, false) => {
            ("toolsNotRunning", "guestToolsUnmanaged", "guestToolsNotRunning")
        }
    };
    Tools { status: member("VirtualMachineToolsStatus", status), version, running }
}

fn primary_address(vm: &Vm) -> Option<String> {
    let nic = vm.nics.iter().find(|nic| nic.connected).filter(|_| vm.tools_running)?;
    nic.addresses().first().map(|(address, _)| address.to_string())
}

fn dns(vm: &Vm, nic: &Nic) -> Obj {
    obj("NetDnsConfigInfo")
        .set("dhcp", !nic.guest.is_static)
        .set("hostName", &vm.os.hostname)
        .set("domainName", "lab.example")
        .set("ipAddress", strings(nic.guest.dns.iter().map(ToString::to_string)))
}

fn guest_nic(state: &State, vm: &Vm, nic: &Nic) -> Obj {
    let origin = if nic.guest.is_static { "manual" } else { "dhcp" };
    // What open-vm-tools of Linux tells has none.
    let origin = (vm.os.windows || !state.sky.has(Weather::NoOrigin)).then_some(origin);
    let address = |(address, prefix): (std::net::IpAddr, u8)| {
        obj("NetIpConfigInfoIpAddress")
            .set("ipAddress", address.to_string())
            .set("prefixLength", i32::from(prefix))
            .opt("origin", origin)
            .set("state", "preferred")
    };
    let addresses = if nic.connected { nic.addresses() } else { Vec::new() };
    let told = obj("GuestNicInfo")
        .opt("network", state.network(&nic.network).map(|network| &network.name))
        .list("ipAddress", "string", addresses.iter().map(|(ip, _)| Val::Str(ip.to_string())).collect())
        .set("macAddress", &nic.mac)
        .set("connected", nic.connected)
        .set("deviceConfigId", nic.key)
        .set("dnsConfig", dns(vm, nic));
    let config = obj("NetIpConfigInfo")
        .list("ipAddress", "NetIpConfigInfoIpAddress", addresses.into_iter().map(address).map(Val::Obj).collect())
        .set(
            "dhcp",
            obj("NetDhcpConfigInfo")
                .set("ipv4", obj("NetDhcpConfigInfoDhcpOptions").set("enable", !nic.guest.is_static)),
        );
    told.opt("ipConfig", (!state.sky.has(Weather::NoIpConfig)).then_some(config))
}

/// What tools tell of a bridge that only containers use: it belongs to no device.
fn container_bridge() -> Obj {
    let address =
        obj("NetIpConfigInfoIpAddress").set("ipAddress", "172.17.0.1").set("prefixLength", 16).set("state", "unknown");
    obj("GuestNicInfo")
        .list("ipAddress", "string", vec![Val::Str("172.17.0.1".to_owned())])
        .set("macAddress", "02:42:ac:11:00:01")
        .set("connected", false)
        .set("deviceConfigId", -1)
        .set("ipConfig", obj("NetIpConfigInfo").list("ipAddress", "NetIpConfigInfoIpAddress", vec![Val::Obj(address)]))
}

fn stack(vm: &Vm) -> Obj {
    let route = |network: String, prefix: u8, gateway: Option<String>, device: usize| {
        obj("NetIpRouteConfigInfoIpRoute").set("network", network).set("prefixLength", i32::from(prefix)).set(
            "gateway",
            obj("NetIpRouteConfigInfoGateway").opt("ipAddress", gateway).set("device", device.to_string()),
        )
    };
    let mut routes = Vec::new();
    for (index, nic) in vm.nics.iter().enumerate().filter(|(_, nic)| nic.connected) {
        if routes.is_empty() {
            routes.push(route("0.0.0.0".to_owned(), 0, Some(nic.gateway().to_string()), index));
        }
        if let (std::net::IpAddr::V4(gateway), Some((_, prefix))) = (nic.gateway(), nic.addresses().first()) {
            // The gateway is the first address of the subnet.
            let network = std::net::Ipv4Addr::from(u32::from(gateway) - 1);
            routes.push(route(network.to_string(), *prefix, None, index));
        }
    }
    obj("GuestStackInfo").opt("dnsConfig", vm.nics.first().map(|nic| dns(vm, nic))).set(
        "ipRouteConfig",
        obj("NetIpRouteConfigInfo").list(
            "ipRoute",
            "NetIpRouteConfigInfoIpRoute",
            routes.into_iter().map(Val::Obj).collect(),
        ),
    )
}

fn guest(state: &State, vm: &Vm) -> Obj {
    let tools = tools(vm);
    let up = vm.tools_running;
    let bridge = state.sky.has(Weather::HalfDevices) && !vm.os.windows;
    let own = vm.nics.iter().map(|nic| guest_nic(state, vm, nic)).chain(bridge.then(container_bridge));
    let nics = if up { own.map(Val::Obj).collect() } else { Vec::new() };
    let stacks = if up { vec![stack(vm).into()] } else { Vec::new() };
    let disk = |disk: &Disk| {
        let path = if vm.os.windows {
            format!("{}:\\", char::from(b'C' + u8::try_from(disk.unit).unwrap_or(0) % 20))
        } else {
            format!("/disk{}", disk.unit)
        };
        let path = if !vm.os.windows && disk.unit == 0 { "/".to_owned() } else { path };
        obj("GuestDiskInfo")
            .set("diskPath", path)
            .set("capacity", disk.capacity)
            .set("freeSpace", disk.capacity / 2)
            .set("filesystemType", if vm.os.windows { "NTFS" } else { "xfs" })
            .set(
                "mappings",
                objs("GuestInfoVirtualDiskMapping", [obj("GuestInfoVirtualDiskMapping").set("key", disk.key)]),
            )
    };
    let disks = if up { vm.disks.iter().map(|it| disk(it).into()).collect() } else { Vec::new() };
    let family = if vm.os.windows { "windowsGuest" } else { "linuxGuest" };
    obj("GuestInfo")
        .set("toolsStatus", tools.status)
        .set("toolsVersionStatus", tools.version)
        .set("toolsVersionStatus2", tools.version)
        .set("toolsRunningStatus", tools.running)
        .set("toolsVersion", if vm.os.tools != told::Tools::Missing { "12352" } else { "0" })
        .opt("guestId", up.then_some(&vm.os.guest_id))
        .opt("guestFamily", up.then_some(family))
        .opt("guestFullName", up.then_some(&vm.os.full_name))
        .opt("hostName", up.then_some(&vm.os.hostname))
        .opt("ipAddress", primary_address(vm))
        .list("net", "GuestNicInfo", nics)
        .list("ipStack", "GuestStackInfo", stacks)
        .list("disk", "GuestDiskInfo", disks)
        .set("guestState", if up { "running" } else { "notRunning" })
        .set("guestOperationsReady", up)
        .set("interactiveGuestOperationsReady", false)
        .set("guestStateChangeSupported", up)
}

fn heartbeat(vm: &Vm) -> &'static str {
    if vm.tools_running { "green" } else { "gray" }
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn summary(state: &State, vm: &Vm) -> Obj {
    let tools = tools(vm);
    obj("VirtualMachineSummary")
        .set("vm", mo("VirtualMachine", &vm.id))
        .set("runtime", runtime(vm))
        .set(
            "guest",
            obj("VirtualMachineGuestSummary")
                .opt("guestId", vm.tools_running.then_some(&vm.os.guest_id))
                .opt("guestFullName", vm.tools_running.then_some(&vm.os.full_name))
                .set("toolsStatus", tools.status)
                .set("toolsVersionStatus", tools.version)
                .set("toolsVersionStatus2", tools.version)
                .set("toolsRunningStatus", tools.running)
                .opt("hostName", vm.tools_running.then_some(&vm.os.hostname))
                .opt("ipAddress", primary_address(vm)),
        )
        .set(
            "config",
            obj("VirtualMachineConfigSummary")
                .set("name", &vm.name)
                .set("template", vm.template)
                .set("vmPathName", vmx_path(state, vm))
                .set("memorySizeMB", vm.memory_mb)
                .set("numCpu", vm.cpus)
                .set("numEthernetCards", count(vm.nics.len()))
                .set("numVirtualDisks", count(vm.disks.len()))
                .set("uuid", &vm.uuid)
                .set("instanceUuid", &vm.instance_uuid)
                .set("guestId", &vm.os.guest_id)
                .set("guestFullName", &vm.os.full_name)
                .set("annotation", &vm.annotation)
                .set("installBootRequired", false)
                .set("tpmPresent", vm.tpm)
                .set("hwVersion", "vmx-19"),
        )
        .set(
            "storage",
            obj("VirtualMachineStorageSummary")
                .set("committed", committed(vm, None))
                .set("uncommitted", 0_i64)
                .set("unshared", committed(vm, None))
                .set("timestamp", time(&vm.created)),
        )
        .set(
            "quickStats",
            obj("VirtualMachineQuickStats")
                .set("overallCpuUsage", 0)
                .set("guestMemoryUsage", 0)
                .set("guestHeartbeatStatus", member("ManagedEntityStatus", heartbeat(vm)))
                .set("balloonedMemory", 0)
                .set("uptimeSeconds", 0),
        )
        .set("overallStatus", member("ManagedEntityStatus", "green"))
}

fn layout(state: &State, vm: &Vm) -> Obj {
    let store = |id: &str| state.datastore(id).map_or(String::new(), |store| store.name.clone());
    let file = |key: usize, name: String, kind: &str, size: i64| {
        obj("VirtualMachineFileLayoutExFileInfo")
            .set("key", count(key))
            .set("name", name)
            .set("type", kind)
            .set("size", size)
            .set("uniqueSize", size)
            .set("accessible", true)
    };
    let mut files = vec![file(0, vmx_path(state, vm), "config", 3000)];
    let mut layouts = Vec::new();
    for disk in &vm.disks {
        let key = files.len();
        let name = format!("[{}] {}", store(&disk.datastore), disk.path);
        let flat = format!("{}-flat.vmdk", name.trim_end_matches(".vmdk"));
        files.push(file(key, name, "diskDescriptor", 600));
        files.push(file(key + 1, flat, "diskExtent", if disk.thin { disk.capacity / 3 } else { disk.capacity }));
        let unit = obj("VirtualMachineFileLayoutExDiskUnit")
            .set("fileKey", Val::Array("int", vec![Val::Int(count(key)), Val::Int(count(key + 1))]));
        layouts.push(
            obj("VirtualMachineFileLayoutExDiskLayout")
                .set("key", disk.key)
                .set("chain", objs("VirtualMachineFileLayoutExDiskUnit", [unit])),
        );
    }
    obj("VirtualMachineFileLayoutEx")
        .set("file", objs("VirtualMachineFileLayoutExFileInfo", files))
        .set("disk", objs("VirtualMachineFileLayoutExDiskLayout", layouts))
        .set("timestamp", time(&vm.created))
}
