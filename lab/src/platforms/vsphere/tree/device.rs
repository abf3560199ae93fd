//! Virtual devices of a VM.

use super::super::value::{Obj, Val, member, mo, obj, objs};
use super::infra::network_ref;
use crate::weather::Weather;
use crate::world::{Adapter, Controller, ControllerKind, Disk, Nic, State, Vm};

fn described(kind: &'static str, key: i32, label: String, summary: String) -> Obj {
    obj(kind).set("key", key).set("deviceInfo", obj("Description").set("label", label).set("summary", summary))
}

fn controller_kind(kind: ControllerKind) -> &'static str {
    match kind {
        ControllerKind::ParaVirtual => "ParaVirtualSCSIController",
        ControllerKind::LsiSas => "VirtualLsiLogicSASController",
        ControllerKind::Sata => "VirtualAHCIController",
        ControllerKind::Nvme => "VirtualNVMEController",
    }
}

fn controller(vm: &Vm, it: &Controller) -> Obj {
    let scsi = matches!(it.kind, ControllerKind::ParaVirtual | ControllerKind::LsiSas);
    let (label, unit) = match it.kind {
        ControllerKind::ParaVirtual | ControllerKind::LsiSas => (format!("SCSI controller {}", it.bus), 3),
        ControllerKind::Sata => (format!("SATA controller {}", it.bus), 24),
        ControllerKind::Nvme => (format!("NVME controller {}", it.bus), 30),
    };
    let disks = vm.disks.iter().filter(|disk| disk.controller == it.key).map(|disk| Val::Int(disk.key)).collect();
    let device = described(controller_kind(it.kind), it.key, label.clone(), label)
        .set("controllerKey", 100)
        .set("unitNumber", unit + it.bus)
        .set("busNumber", it.bus)
        .list("device", "int", disks);
    if scsi {
        device
            .set("hotAddRemove", true)
            .set("sharedBus", member("VirtualSCSISharing", "noSharing"))
            .set("scsiCtlrUnitNumber", 7)
    } else {
        device
    }
}

/// File name with the suffix of the `depth`-th snapshot: `[ds] vm/vm-000002.vmdk`.
fn file_name(state: &State, disk: &Disk, depth: usize) -> String {
    let store = state.datastore(&disk.datastore).map_or("", |store| store.name.as_str());
    let stem = disk.path.trim_end_matches(".vmdk");
    if depth == 0 { format!("[{store}] {stem}.vmdk") } else { format!("[{store}] {stem}-{depth:06}.vmdk") }
}

/// The key that a disk is encrypted with, and who keeps it.
fn key_id(disk: &str) -> Obj {
    let keeper = obj("KeyProviderId").set("id", "lab-kms");
    obj("CryptoKeyId").set("keyId", disk).set("providerId", keeper)
}

fn backing(state: &State, disk: &Disk, depth: usize) -> Obj {
    let datastore = mo("Datastore", &disk.datastore);
    if let Some((device, physical)) = &disk.raw {
        return obj("VirtualDiskRawDiskMappingVer1BackingInfo")
            .set("fileName", file_name(state, disk, 0))
            .set("datastore", datastore)
            .set("deviceName", device)
            .set("compatibilityMode", if *physical { "physicalMode" } else { "virtualMode" })
            .set("diskMode", &disk.mode)
            .set("uuid", &disk.uuid);
    }
    obj("VirtualDiskFlatVer2BackingInfo")
        .set("fileName", file_name(state, disk, depth))
        .set("datastore", datastore)
        .set("backingObjectId", "")
        .set("diskMode", &disk.mode)
        .set("split", false)
        .set("writeThrough", false)
        .set("thinProvisioned", disk.thin)
        .set("eagerlyScrub", disk.eager)
        .set("uuid", &disk.uuid)
        .set("contentId", disk.uuid.replace('-', ""))
        .opt("changeId", disk.change_id.as_ref())
        .opt("parent", depth.checked_sub(1).map(|above| backing(state, disk, above)))
        .set("digestEnabled", false)
        .set("sharing", if disk.shared { "sharingMultiWriter" } else { "sharingNone" })
        .opt("keyId", disk.encrypted.then(|| key_id(&disk.uuid)))
}

fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn disk_device(state: &State, index: usize, disk: &Disk, depth: usize) -> Obj {
    let kib = disk.capacity / 1024;
    described("VirtualDisk", disk.key, format!("Hard disk {}", index + 1), format!("{} KB", grouped(kib)))
        .set("backing", backing(state, disk, depth))
        .set("controllerKey", disk.controller)
        .set("unitNumber", disk.unit)
        .set("capacityInKB", kib)
        .set("capacityInBytes", disk.capacity)
        .set("shares", obj("SharesInfo").set("shares", 1000).set("level", member("SharesLevel", "normal")))
        .set("diskObjectId", format!("1-{}", disk.key))
        .set("nativeUnmanagedLinkedClone", false)
}

fn nic_device(state: &State, index: usize, nic: &Nic) -> Obj {
    let network = state.network(&nic.network);
    let name = network.map_or("", |network| network.name.as_str());
    let on_switch = network.is_some_and(|network| network.vlan.is_some());
    let backing = if on_switch {
        let port = obj("DistributedVirtualSwitchPortConnection")
            .set("switchUuid", &state.switch.2)
            .set("portgroupKey", &nic.network)
            .set("portKey", (nic.key - 4000).to_string());
        obj("VirtualEthernetCardDistributedVirtualPortBackingInfo").set("port", port)
    } else {
        obj("VirtualEthernetCardNetworkBackingInfo")
            .set("deviceName", name)
            .set("useAutoDetect", false)
            .set("network", network_ref(&nic.network))
    };
    let summary = if on_switch { format!("DVSwitch: {}", state.switch.2) } else { name.to_owned() };
    let kind = match nic.adapter {
        Adapter::Vmxnet3 => "VirtualVmxnet3",
        Adapter::E1000e => "VirtualE1000e",
        Adapter::E1000 => "VirtualE1000",
    };
    described(kind, nic.key, format!("Network adapter {}", index + 1), summary)
        .set("backing", backing)
        .set(
            "connectable",
            obj("VirtualDeviceConnectInfo")
                .set("migrateConnect", "unset")
                .set("startConnected", nic.start_connected)
                .set("allowGuestControl", true)
                .set("connected", nic.connected)
                .set("status", if nic.connected { "ok" } else { "untried" }),
        )
        .set("slotInfo", obj("VirtualDevicePciBusSlotInfo").set("pciSlotNumber", 160 + 32 * (nic.key - 4000)))
        .set("controllerKey", 100)
        .set("unitNumber", 7 + nic.key - 4000)
        .set("addressType", if nic.manual { "manual" } else { "assigned" })
        .set("macAddress", &nic.mac)
        .set("wakeOnLanEnabled", true)
        .set("uptCompatibilityEnabled", true)
}

/// `config.hardware.device` with these disks, `depth` snapshots deep.
pub(super) fn devices(state: &State, vm: &Vm, disks: &[Disk], depth: usize) -> Val {
    let plain = |kind, key: i32, label: &str| {
        described(kind, key, label.to_owned(), label.to_owned()).set("busNumber", key % 100)
    };
    let mut all = vec![
        plain("VirtualIDEController", 200, "IDE 0"),
        plain("VirtualPCIController", 100, "PCI controller 0"),
        described("VirtualMachineVideoCard", 500, "Video card ".to_owned(), "Video card".to_owned())
            .set("controllerKey", 100)
            .set("unitNumber", 0)
            .set("videoRamSizeInKB", 8192_i64),
    ];
    all.extend(vm.controllers.iter().map(|it| controller(vm, it)));
    all.push(
        described("VirtualCdrom", 3000, "CD/DVD drive 1".to_owned(), "Remote device".to_owned())
            .set(
                "backing",
                obj("VirtualCdromRemotePassthroughBackingInfo")
                    .set("deviceName", "")
                    .set("useAutoDetect", false)
                    .set("exclusive", false),
            )
            .set("controllerKey", 200)
            .set("unitNumber", 0),
    );
    all.extend(disks.iter().enumerate().map(|(index, disk)| disk_device(state, index, disk, depth)));
    all.extend(vm.nics.iter().enumerate().map(|(index, nic)| nic_device(state, index, nic)));
    if state.sky.has(Weather::HalfDevices) {
        let connectable = || {
            obj("VirtualDeviceConnectInfo")
                .set("startConnected", false)
                .set("allowGuestControl", true)
                .set("connected", false)
                .set("status", "untried")
        };
        all.push(plain("VirtualSIOController", 400, "SIO controller 0"));
        all.push(
            described("VirtualFloppy", 8000, "Floppy drive 1".to_owned(), "Remote".to_owned())
                .set(
                    "backing",
                    obj("VirtualFloppyRemoteDeviceBackingInfo").set("deviceName", "").set("useAutoDetect", false),
                )
                .set("connectable", connectable())
                .set("controllerKey", 400)
                .set("unitNumber", 0),
        );
        all.push(
            described("VirtualSerialPort", 9000, "Serial port 1".to_owned(), "Auto detect".to_owned())
                .set("connectable", connectable())
                .set("controllerKey", 400)
                .set("unitNumber", 0)
                .set("yieldOnPoll", true),
        );
    }
    if vm.tpm {
        all.push(described("VirtualTPM", 11000, "Virtual TPM".to_owned(), "Trusted Platform Module".to_owned()));
    }
    objs("VirtualDevice", all)
}
