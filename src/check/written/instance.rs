//! The running instance is the VM's: KubeVirt starts what the template says, tells of the same machine, lets it run,
//! and can move it to another node where its disks allow that.

use serde_json::Value;

use super::super::placement::missing;
use super::super::{Facts, Judgement, TargetVm, not_judged, not_running, passed, whole};
use super::{Compared, at, list, shown, text, unsaid};
use crate::api::vm::{GuestOs, Mac};

/// The condition of this type, if the instance has it.
fn condition<'a>(vmi: &'a Value, type_: &str) -> Option<&'a Value> {
    list(vmi, "/status/conditions").iter().find(|condition| text(condition, "/type") == type_)
}

/// Reason and message of a condition, for people.
fn why(condition: &Value) -> String {
    let said = [text(condition, "/reason"), text(condition, "/message")];
    let said: Vec<&str> = said.into_iter().filter(|part| !part.is_empty()).collect();
    if said.is_empty() { "no reason is told".to_owned() } else { said.join(": ") }
}

/// A guest that stands still, whatever phase and power say: its phase stays `Running`. The one pause that passes by
/// itself is that of a live migration (kubevirt/kubevirt pkg/virt-handler/vm.go, `calculatePausedCondition`).
fn paused(vmi: &Value, compared: &mut Compared) {
    let Some(paused) = condition(vmi, "Paused").filter(|condition| text(condition, "/status") == "True") else {
        return;
    };
    if text(paused, "/reason") == "PausedByMigrationMonitor" {
        compared.open("guest", "its live migration pauses it");
    } else {
        compared.wrong("guest", "a guest that runs", format!("paused ({})", why(paused)));
    }
}

pub(in crate::check) fn instance(_: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    let vm = &target.objects.vm;
    let mut compared = Compared::default();
    if let Some(vmi) = &target.objects.vmi {
        paused(vmi, &mut compared);
    }
    if let Some(off) = not_running(target) {
        return if compared.wrong.is_empty() { whole(off) } else { compared.judgements("") };
    }
    let Some(vmi) = &target.objects.vmi else {
        compared.wrong("instance", "a VirtualMachineInstance of the running VM", "there is none");
        return compared.judgements("");
    };
    compared.same("name", text(vm, "/metadata/name"), text(vmi, "/metadata/name"));
    compared.same("phase", "Running", text(vmi, "/status/phase"));
    compared.holds(unsaid(at(vmi, "/metadata/deletionTimestamp")), "metadata", "an instance that stays", || {
        "it is being deleted".to_owned()
    });
    let uid = text(vm, "/metadata/uid");
    let owned = list(vmi, "/metadata/ownerReferences").iter().any(|owner| text(owner, "/uid") == uid);
    compared.holds(owned, "owner", "the VirtualMachine", || shown(at(vmi, "/metadata/ownerReferences")));
    // What KubeVirt adds as defaults does not count; what the template says must not be lost on the way.
    let (template, spec) = (at(vm, "/spec/template/spec"), at(vmi, "/spec"));
    if let Some(path) = missing(template, spec, "") {
        compared.wrong(format!("spec{path}"), shown(at(template, &path)), shown(at(spec, &path)));
    }
    for (key, value) in at(vm, "/spec/template/metadata/labels").as_object().into_iter().flatten() {
        let found = at(vmi, "/metadata/labels").get(key).unwrap_or(&Value::Null);
        compared.holds(found == value, &format!("label {key}"), &shown(value), || shown(found));
    }
    volumes(template, vmi, &mut compared);
    let reported = list(vmi, "/status/interfaces");
    for interface in list(template, "/domain/devices/interfaces") {
        let (name, mac) = (text(interface, "/name"), text(interface, "/macAddress"));
        let Some(found) = reported.iter().find(|told| text(told, "/name") == name) else {
            // A guest that is still coming up tells of no NIC yet.
            compared
                .holds(reported.is_empty(), name, "told of", || "the instance's status does not tell of it".to_owned());
            continue;
        };
        let told = text(found, "/mac");
        let same = mac.is_empty() || told.is_empty() || Mac::new(mac) == Mac::new(told);
        compared.holds(same, &format!("{name} MAC"), mac, || told.to_owned());
        let wanted = if text(interface, "/state") == "down" { "down" } else { "up" };
        compared.same_if_said(&format!("{name} link"), wanted, text(found, "/linkState"));
    }
    compared.judgements("the instance is what the VM says")
}

/// Each volume of the template is attached, with its own claim: KubeVirt tells of every one that an instance runs with
/// (kubevirt/kubevirt pkg/virt-controller/watch/vmi, `updateVolumeStatus`), and of some of its own besides.
fn volumes(template: &Value, vmi: &Value, compared: &mut Compared) {
    let attached = list(vmi, "/status/volumeStatus");
    for volume in list(template, "/volumes") {
        let name = text(volume, "/name");
        let Some(found) = attached.iter().find(|told| text(told, "/name") == name) else {
            compared.wrong(name, "a volume that is attached", "the instance's status does not tell of it");
            continue;
        };
        let by_claim = text(volume, "/persistentVolumeClaim/claimName");
        let claim = if by_claim.is_empty() { text(volume, "/dataVolume/name") } else { by_claim };
        compared.same_if_said(&format!("{name} claim"), claim, text(found, "/persistentVolumeClaimInfo/claimName"));
    }
}

const SHARED: &str = "ReadWriteMany";

/// A VM whose disks can be reached from every node can be moved while it runs; else it holds up each drain of its node.
/// Where it can't, KubeVirt says why, and some of its reasons are right: a disk that one node alone may mount, a node that
/// has no like.
pub(in crate::check) fn live_migration(_: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    if let Some(off) = not_running(target) {
        return whole(off);
    }
    let Some(told) = target.objects.vmi.as_ref().and_then(|vmi| condition(vmi, "LiveMigratable")) else {
        return whole(not_judged("the instance does not tell whether it can be migrated live"));
    };
    if text(told, "/status") == "True" {
        return whole(passed("it can"));
    }
    if let Some(alone) = target.disks.iter().find(|disk| !disk.access_modes.iter().any(|mode| mode == SHARED)) {
        return whole(match alone.access_modes.as_slice() {
            [] => not_judged(format!("the access modes of {} are not known", alone.pvc)),
            modes => passed(format!("not promised: {} is {}", alone.pvc, modes.join(", "))),
        });
    }
    let mut compared = Compared::default();
    match excused(target, text(told, "/reason")) {
        Some(because) => compared.open("LiveMigratable", format!("{because} ({})", why(told))),
        None => {
            let promised = format!("a VM that can be migrated live: each disk is {SHARED}");
            compared.wrong("LiveMigratable", promised, format!("it can't ({})", why(told)));
        }
    }
    compared.judgements("")
}

/// What else than the disks that MTV made may keep a VM on its node, by KubeVirt's reason (kubevirt/kubevirt
/// pkg/virt-handler/vm.go, `calculateLiveMigrationCondition`). `None`: nothing that the VM says.
fn excused(target: &TargetVm, reason: &str) -> Option<&'static str> {
    let spec = at(&target.objects.vm, "/spec/template/spec");
    let (domain, devices) = (at(spec, "/domain"), at(spec, "/domain/devices"));
    let said = |value: &Value, because: &'static str| (!unsaid(value)).then_some(because);
    match reason {
        // The state of a TPM or of EFI variables lies on a claim of KubeVirt's own, of a class of its own.
        "DisksNotLiveMigratable" => {
            said(at(devices, "/tpm"), "its TPM's state is on a claim of KubeVirt's own").or(said(
                at(domain, "/firmware/bootloader/efi/persistent"),
                "its EFI variables are on a claim of KubeVirt's own",
            ))
        }
        "InterfaceNotLiveMigratable" => {
            let plain = |interface: &Value| {
                let pod = |network: &Value| {
                    network.get("pod").is_some() && text(network, "/name") == text(interface, "/name")
                };
                let on_pod = list(spec, "/networks").iter().any(pod);
                if on_pod { interface.get("masquerade").is_some() } else { interface.get("bridge").is_some() }
            };
            let all = list(devices, "/interfaces").iter().all(plain);
            (!all).then_some("the binding of a NIC decides")
        }
        "HostDeviceNotLiveMigratable" => said(at(devices, "/hostDevices"), "it has a device of the host")
            .or(said(at(devices, "/gpus"), "it has a GPU of the host")),
        "VirtIOFSNotLiveMigratable" => said(at(devices, "/filesystems"), "it shares a file system with the host"),
        "SEVNotLiveMigratable" => said(at(domain, "/launchSecurity"), "its memory is encrypted"),
        "HypervPassthroughNotLiveMigratable" => {
            said(at(domain, "/features/hypervPassthrough"), "it passes enlightenments of the host through")
        }
        "PersistentReservationNotLiveMigratable" => list(devices, "/disks")
            .iter()
            .find_map(|disk| said(at(disk, "/lun/reservation"), "a disk holds a SCSI reservation")),
        // The disks are shared, and KubeVirt says no reason.
        "" => None,
        // The nodes' CPUs and clocks, and what later releases of KubeVirt may name.
        _ => Some("the cluster decides"),
    }
}

/// The guest agent's word for Windows.
const WINDOWS: &str = "mswindows";

/// The operating system that answers is of the source's kind.
pub(in crate::check) fn guest_os(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    if let Some(off) = not_running(target) {
        return whole(off);
    }
    let told = target.objects.vmi.as_ref().map_or("", |vmi| text(vmi, "/status/guestOSInfo/id"));
    if told.is_empty() {
        return whole(not_judged("no guest agent tells the operating system"));
    }
    let mut compared = Compared::default();
    let windows = told == WINDOWS;
    match facts.before.os {
        GuestOs::Unknown => compared.open("guest", "the source platform does not tell the operating system"),
        GuestOs::Windows => compared.holds(windows, "guest", "Windows", || told.to_owned()),
        GuestOs::Linux => compared.holds(!windows, "guest", "Linux", || told.to_owned()),
    }
    compared.judgements(told)
}
