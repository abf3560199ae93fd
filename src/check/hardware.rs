//! CPU, memory, firmware and serial number.

use crate::api::vm::{CpuTopology, Firmware, FirmwareKind, TargetVm};
use crate::matrix::support;

use super::platform::{self, Serial};
use super::{Facts, Judgement, count, failed, major_minor, not_judged, passed, whole};

/// First OpenShift whose MTV writes VMware-style serials.
const VMWARE_SERIAL_OCP: (u32, u32) = (4, 20);

fn cpu_text(cpu: CpuTopology) -> String {
    format!(
        "{} × {} × {}",
        count(cpu.sockets as usize, "socket"),
        count(cpu.cores as usize, "core"),
        count(cpu.threads as usize, "thread")
    )
}

/// The topology must stay: sockets, cores, and the product where a side tells no threads.
pub(super) fn cpu(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    let Some(before) = facts.before.cpu.filter(|cpu| cpu.sockets > 0 && cpu.cores > 0) else {
        return whole(not_judged("the source platform does not tell the CPU topology"));
    };
    let Some(after) = target.cpu else {
        return whole(not_judged("the migrated VM does not tell its CPU topology"));
    };
    let same =
        before.sockets == after.sockets && before.cores == after.cores && before.threads.max(1) == after.threads.max(1);
    whole(if same { passed(cpu_text(after)) } else { failed(cpu_text(before), cpu_text(after)) })
}

pub(super) fn memory(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    // Text that is no quantity is not silence.
    let domain = "/spec/template/spec/domain";
    let said = ["memory/guest", "resources/requests/memory"]
        .iter()
        .find_map(|path| target.objects.vm.pointer(&format!("{domain}/{path}"))?.as_str())
        .unwrap_or_default();
    whole(match (facts.before.memory_mib.filter(|mib| *mib > 0), target.memory_mib) {
        (None, _) => not_judged("the source platform does not tell the memory size"),
        (Some(before), None) if !said.is_empty() => failed(format!("{before} MiB"), said),
        (_, None) => not_judged("the migrated VM does not tell its memory size"),
        (Some(before), Some(after)) if before == after => passed(format!("{after} MiB")),
        (Some(before), Some(after)) => failed(format!("{before} MiB"), format!("{after} MiB")),
    })
}

fn firmware_text(firmware: Firmware, (secure_boot, tpm): (bool, bool)) -> String {
    let mut text = match firmware.kind {
        FirmwareKind::Bios => "BIOS",
        FirmwareKind::Efi => "EFI",
    }
    .to_owned();
    if secure_boot {
        text.push_str(if firmware.secure_boot { ", secure boot" } else { ", no secure boot" });
    }
    if tpm {
        text.push_str(if firmware.tpm { ", TPM" } else { ", no TPM" });
    }
    text
}

pub(super) fn firmware(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    let Some(before) = facts.before.firmware else {
        return whole(not_judged("the source platform does not tell the firmware"));
    };
    let Some(after) = target.firmware else {
        return whole(not_judged("the migrated VM does not tell its firmware"));
    };
    let ways = platform::of(facts.platform);
    let parts = (ways.secure_boot, ways.tpm);
    let same = before.kind == after.kind
        && (!parts.0 || before.secure_boot == after.secure_boot)
        && (!parts.1 || before.tpm == after.tpm);
    let text = |firmware| firmware_text(firmware, parts);
    whole(if same { passed(text(after)) } else { failed(text(before), text(after)) })
}

pub(super) fn serial_applies(facts: &Facts<'_>) -> bool {
    platform::of(facts.platform).serial != Serial::None
}

/// The number that is kept as it is, where a platform's VMs have one (forklift.md §7.4, §7.6, §7.7).
fn own_serial(facts: &Facts<'_>) -> Option<Option<String>> {
    match platform::of(facts.platform).serial {
        Serial::Own => Some(facts.before.uuid.clone()),
        Serial::Id => Some(Some(facts.before.id.clone())),
        Serial::Uuid | Serial::None => None,
    }
}

fn judge_serial(expected: &str, target: &TargetVm) -> Vec<Judgement> {
    let actual = target.serial.as_deref().unwrap_or_default().trim();
    whole(if actual.eq_ignore_ascii_case(expected) {
        passed(actual)
    } else if actual.is_empty() {
        failed(expected, "no serial")
    } else {
        failed(expected, actual)
    })
}

/// `VMware-42 1e … 33-aa bb … 11` from a canonical UUID; any other text stays as it is.
pub(super) fn vmware_serial(uuid: &str) -> String {
    let hex: Vec<char> = uuid.chars().filter(|c| *c != '-').collect();
    if hex.len() != 32 || !hex.iter().all(char::is_ascii_hexdigit) {
        return uuid.to_owned();
    }
    let pairs: Vec<String> = hex.chunks(2).map(|pair| pair.iter().collect::<String>().to_lowercase()).collect();
    let (first, last) = pairs.split_at(8);
    format!("VMware-{}-{}", first.join(" "), last.join(" "))
}

/// The rule by version (peer.md §7.7, forklift.md §7.3); letters compare without case.
pub(super) fn serial(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    if let Some(own) = own_serial(facts) {
        return match own.filter(|serial| !serial.is_empty()) {
            Some(serial) => judge_serial(&serial, target),
            None => whole(not_judged("the source VM tells no number of its own")),
        };
    }
    let Some(uuid) = facts.before.uuid.as_deref().filter(|uuid| !uuid.is_empty()) else {
        return whole(not_judged("the source VM tells no UUID"));
    };
    let Some(ocp) = facts.ocp_version.and_then(major_minor) else {
        return whole(not_judged("the OpenShift version, which decides the serial's form, is unknown"));
    };
    let expected = match facts.mtv_version {
        _ if ocp < VMWARE_SERIAL_OCP => uuid.to_owned(),
        Some(mtv) if support::VMWARE_SERIAL.acts(facts.flags, mtv) => vmware_serial(uuid),
        Some(_) => uuid.to_owned(),
        None => return whole(not_judged("the MTV version, which decides the serial's form, is unknown")),
    };
    judge_serial(&expected, target)
}
