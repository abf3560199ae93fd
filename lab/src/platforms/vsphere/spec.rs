//! Clone and configuration specs out of requests.

use super::fault::{Fault, invalid_argument};
use super::xml::Node;
use crate::world::{
    Adapter, CloneOrder, ControllerKind, CreateOrder, DeviceChange, DiskPlacement, NicEdit, State, VmChange,
};

/// `CloneVM_Task`'s parameters.
pub fn clone_order(state: &State, source: &str, method: &Node) -> Result<CloneOrder, Fault> {
    let folder = method.string("folder").ok_or_else(|| invalid_argument("folder"))?;
    let name = method.string("name").ok_or_else(|| invalid_argument("name"))?;
    let spec = method.child("spec").ok_or_else(|| invalid_argument("spec"))?;
    let location = spec.child("location").ok_or_else(|| invalid_argument("spec.location"))?;
    let mut order = CloneOrder {
        source: source.to_owned(),
        folder,
        name,
        template: spec.flag("template").ok_or_else(|| invalid_argument("spec.template"))?,
        power_on: spec.flag("powerOn").ok_or_else(|| invalid_argument("spec.powerOn"))?,
        ..placed(location)?
    };
    if let Some(config) = spec.child("config") {
        order.change = vm_change(state, config)?;
    }
    for change in location.all("deviceChange") {
        order.change.devices.push(device_change(state, change)?);
    }
    Ok(order)
}

/// A `VirtualMachineRelocateSpec`.
fn placed(location: &Node) -> Result<CloneOrder, Fault> {
    let mut order = CloneOrder {
        datastore: location.string("datastore"),
        host: location.string("host"),
        pool: location.string("pool"),
        ..CloneOrder::default()
    };
    order.thin = match location.text("transform") {
        None => None,
        Some("sparse") => Some(true),
        Some("flat") => Some(false),
        Some(_) => return Err(invalid_argument("spec.location.transform")),
    };
    for locator in location.all("disk") {
        let backing = locator.child("diskBackingInfo");
        order.disks.push(DiskPlacement {
            key: locator.number("diskId").ok_or_else(|| invalid_argument("spec.location.disk.diskId"))?,
            datastore: locator.string("datastore"),
            thin: backing.and_then(|backing| backing.flag("thinProvisioned")),
            eager: backing.and_then(|backing| backing.flag("eagerlyScrub")),
        });
    }
    Ok(order)
}

/// `RelocateVM_Task`'s parameters.
pub fn relocation(method: &Node) -> Result<CloneOrder, Fault> {
    let spec = method.child("spec").ok_or_else(|| invalid_argument("spec"))?;
    Ok(CloneOrder { folder: spec.string("folder").unwrap_or_default(), ..placed(spec)? })
}

/// `CreateVM_Task`'s parameters.
pub fn creation(state: &State, folder: &str, method: &Node) -> Result<CreateOrder, Fault> {
    let config = method.child("config").ok_or_else(|| invalid_argument("config"))?;
    let change = vm_change(state, config)?;
    if change.name.as_deref().is_none_or(str::is_empty) {
        return Err(invalid_argument("config.name"));
    }
    // `[datastore] folder/vm.vmx`, or the datastore alone.
    let path = config.child("files").and_then(|files| files.text("vmPathName")).unwrap_or_default();
    let name = path.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(name, _)| name);
    let by_name = |name: &str| state.datastores.iter().find(|store| store.name == name).map(|store| store.id.clone());
    let datastore = match name {
        Some(name) => Some(by_name(name).ok_or_else(|| invalid_argument("config.files.vmPathName"))?),
        None => None,
    };
    let pool = method.string("pool").ok_or_else(|| invalid_argument("pool"))?;
    Ok(CreateOrder { folder: folder.to_owned(), pool, host: method.string("host"), datastore, change })
}

/// A `VirtualMachineConfigSpec`.
pub fn vm_change(state: &State, spec: &Node) -> Result<VmChange, Fault> {
    let efi = match spec.text("firmware") {
        None => None,
        Some("efi") => Some(true),
        Some("bios") => Some(false),
        Some(_) => return Err(invalid_argument("configSpec.firmware")),
    };
    let option = |node: &Node| (node.string("key").unwrap_or_default(), node.string("value").unwrap_or_default());
    Ok(VmChange {
        name: spec.string("name"),
        annotation: spec.string("annotation"),
        guest_id: spec.string("guestId"),
        uuid: spec.string("uuid"),
        instance_uuid: spec.string("instanceUuid"),
        cpus: spec.number("numCPUs"),
        cores_per_socket: spec.number("numCoresPerSocket"),
        memory_mb: spec.number("memoryMB"),
        efi,
        secure_boot: spec.child("bootOptions").and_then(|options| options.flag("efiSecureBootEnabled")),
        change_tracking: spec.flag("changeTrackingEnabled"),
        extra_config: spec.all("extraConfig").map(option).collect(),
        devices: spec.all("deviceChange").map(|change| device_change(state, change)).collect::<Result<_, _>>()?,
    })
}

fn device_change(state: &State, change: &Node) -> Result<DeviceChange, Fault> {
    let device = change.child("device").ok_or_else(|| invalid_argument("deviceChange.device"))?;
    let kind = device.xsi_type.as_deref().unwrap_or_default();
    let key = device.number("key").unwrap_or(-1);
    let operation = change.text("operation").unwrap_or("edit");
    let adapter = match kind {
        "VirtualVmxnet3" | "VirtualVmxnet2" | "VirtualVmxnet" => Some(Adapter::Vmxnet3),
        "VirtualE1000e" => Some(Adapter::E1000e),
        "VirtualE1000" | "VirtualPCNet32" => Some(Adapter::E1000),
        _ => None,
    };
    let controller = match kind {
        "ParaVirtualSCSIController" => Some(ControllerKind::ParaVirtual),
        "VirtualLsiLogicSASController" | "VirtualLsiLogicController" => Some(ControllerKind::LsiSas),
        "VirtualAHCIController" => Some(ControllerKind::Sata),
        "VirtualNVMEController" => Some(ControllerKind::Nvme),
        _ => None,
    };
    Ok(match (operation, adapter, controller) {
        ("remove", ..) => DeviceChange::Remove { key },
        ("add", Some(adapter), _) => DeviceChange::AddNic { adapter, edit: nic_edit(state, device)? },
        (_, Some(_), _) => DeviceChange::EditNic { key, edit: nic_edit(state, device)? },
        ("add", _, Some(kind)) => {
            DeviceChange::AddController { key, bus: device.number("busNumber").unwrap_or(0), kind }
        }
        ("add", ..) if kind == "VirtualDisk" => add_disk(device, change.text("fileOperation") == Some("create")),
        _ if kind == "VirtualDisk" => DeviceChange::EditDisk {
            key,
            capacity: capacity(device).filter(|bytes| *bytes > 0),
            mode: device.child("backing").and_then(|backing| backing.string("diskMode")),
        },
        _ => DeviceChange::Other,
    })
}

fn capacity(device: &Node) -> Option<i64> {
    let kib = device.number::<i64>("capacityInKB").map(|kib| kib * 1024);
    device.number::<i64>("capacityInBytes").filter(|bytes| *bytes > 0).or(kib)
}

fn add_disk(device: &Node, create: bool) -> DeviceChange {
    let backing = device.child("backing").cloned().unwrap_or_default();
    let physical = backing.text("compatibilityMode") == Some("physicalMode");
    // `[ds] dir/x.vmdk`; a name without a path leaves the choice to the platform.
    let file = backing.text("fileName").unwrap_or_default();
    let path = file.rsplit_once("] ").map_or(file, |(_, path)| path).trim();
    DeviceChange::AddDisk {
        controller: device.number("controllerKey"),
        unit: device.number("unitNumber").filter(|unit| *unit >= 0),
        capacity: capacity(device).unwrap_or_default(),
        thin: backing.flag("thinProvisioned").unwrap_or(false),
        eager: backing.flag("eagerlyScrub").unwrap_or(false),
        mode: backing.string("diskMode").unwrap_or_else(|| "persistent".to_owned()),
        datastore: backing.string("datastore"),
        path: (!path.is_empty() && !path.starts_with('[')).then(|| path.to_owned()),
        raw: backing.string("deviceName").map(|device| (device, physical)),
        shared: backing.text("sharing") == Some("sharingMultiWriter"),
        there: !create,
    }
}

fn nic_edit(state: &State, device: &Node) -> Result<NicEdit, Fault> {
    let backing = device.child("backing");
    let by_name = |name: &str| state.networks.iter().find(|network| network.name == name).map(|it| it.id.clone());
    let network = match backing {
        None => None,
        Some(backing) => {
            let port = backing.child("port").and_then(|port| port.string("portgroupKey"));
            let found = backing
                .string("network")
                .or(port)
                .or_else(|| backing.text("deviceName").and_then(by_name))
                .filter(|id| state.network(id).is_some());
            Some(found.ok_or_else(|| invalid_argument("deviceChange.device.backing"))?)
        }
    };
    let connectable = device.child("connectable");
    let address_type = device.text("addressType").unwrap_or_default();
    Ok(NicEdit {
        network,
        mac: device.string("macAddress").filter(|_| !address_type.eq_ignore_ascii_case("generated")).filter(|_| {
            // An edit that sends back what it read ("assigned") does not ask for this MAC.
            !address_type.eq_ignore_ascii_case("assigned")
        }),
        generate: address_type.eq_ignore_ascii_case("generated"),
        start_connected: connectable.and_then(|it| it.flag("startConnected")),
        connected: connectable.and_then(|it| it.flag("connected")),
    })
}
