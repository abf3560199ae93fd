//! The running instance is the VM's: KubeVirt starts what the template says, and tells of the same machine.

use serde_json::Value;

use super::super::placement::missing;
use super::super::{Facts, Judgement, TargetVm, not_judged, not_running, whole};
use super::{Compared, at, list, shown, text, unsaid};
use crate::api::vm::{GuestOs, Mac};

pub(in crate::check) fn instance(_: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    if let Some(off) = not_running(target) {
        return whole(off);
    }
    let vm = &target.objects.vm;
    let mut compared = Compared::default();
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
        let link = text(found, "/linkState");
        compared.holds(matches!(link, "" | "up"), &format!("{name} link"), "up", || link.to_owned());
    }
    compared.judgements("the instance is what the VM says")
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
