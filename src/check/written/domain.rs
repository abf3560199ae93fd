//! The template's scalar fields: one row says where a field stands, which check it belongs to, and what MTV writes.
//!
//! A platform whose VMs come with a template of their own (OpenShift) is not compared here.

use serde_json::Value;

use super::super::platform::{self, Clock};
use super::super::{Facts, Judgement, TargetVm, not_judged, whole};
use super::{Compared, at, list, shown, text, unsaid};
use crate::api::vm::GuestOs;
use crate::config::Platform;

/// What a field may say.
enum Want {
    /// Nothing.
    Nothing,
    /// One of these; an empty text allows it to be absent.
    One(Vec<String>),
    /// Text that begins so, or nothing.
    Begins(&'static [&'static str]),
    /// Anything: why.
    Free,
}

/// One field of the VM's `spec`.
struct Field {
    check: &'static str,
    /// JSON pointer below `spec`.
    path: &'static str,
    want: fn(&Facts<'_>) -> Want,
}

const fn field(check: &'static str, path: &'static str, want: fn(&Facts<'_>) -> Want) -> Field {
    Field { check, path, want }
}

fn nothing(_: &Facts<'_>) -> Want {
    Want::Nothing
}

fn one(texts: &[&str]) -> Want {
    Want::One(texts.iter().map(|&text| text.to_owned()).collect())
}

/// oVirt's own CPU model, pinning and NUMA come along (`pkg/controller/plan/adapter/ovirt/builder.go`).
fn nothing_but_ovirts(facts: &Facts<'_>) -> Want {
    if facts.platform == Platform::Ovirt { Want::Free } else { Want::Nothing }
}

/// CPUs of its own: an OpenStack flavor may ask for them, too (`mapResources`, openstack/builder.go).
fn own_cpus(facts: &Facts<'_>) -> Want {
    if facts.platform == Platform::Openstack { Want::Free } else { nothing_but_ovirts(facts) }
}

/// A vSphere VM whose own guests may use the CPU's virtualization keeps that, and a Plan can say for any
/// (`NestedVirtualizationSetting`, pkg/controller/plan/context/migration.go): the two features are judged by themselves.
fn features_of_cpu(facts: &Facts<'_>) -> Want {
    let asked = facts.scenario.enable_nested_virtualization.is_some();
    if asked || facts.platform == Platform::Vsphere { Want::Free } else { nothing_but_ovirts(facts) }
}

/// The CPU features that nested virtualization is.
const NESTED: [&str; 2] = ["vmx", "svm"];

fn model(facts: &Facts<'_>) -> Want {
    match facts.platform {
        Platform::Ovirt => Want::Free,
        _ => one(&["", "host-model", "host-passthrough"]),
    }
}

fn timezone(facts: &Facts<'_>) -> Want {
    match platform::of(facts.platform).clock {
        Clock::Utc => one(&["UTC"]),
        // The record of an oVirt VM does not hold its zone: that there is one is all that can be asked.
        Clock::Own => {
            Want::Begins(&["Etc/", "GMT", "UTC", "Africa/", "America/", "Asia/", "Australia/", "Europe/", "Pacific/"])
        }
        Clock::Unset => one(&["", "UTC", "utc"]),
        Clock::Copied => Want::Free,
    }
}

fn uuid(facts: &Facts<'_>) -> Want {
    match facts.platform {
        Platform::Ovirt => Want::One(vec![facts.before.id.clone()]),
        // KubeVirt makes one where MTV names none.
        _ => Want::Free,
    }
}

/// Enlightenments of a Windows guest come with the cluster's template of it.
fn for_windows(facts: &Facts<'_>) -> Want {
    if facts.before.os == GuestOs::Windows { Want::Free } else { Want::Nothing }
}

const FIELDS: &[Field] = &[
    field("cpu-model", "/template/spec/domain/cpu/model", model),
    field("cpu-model", "/template/spec/domain/cpu/features", features_of_cpu),
    field("cpu-model", "/template/spec/domain/cpu/dedicatedCpuPlacement", own_cpus),
    field("cpu-model", "/template/spec/domain/cpu/isolateEmulatorThread", own_cpus),
    field("cpu-model", "/template/spec/domain/cpu/numa", nothing_but_ovirts),
    field("cpu-model", "/template/spec/domain/cpu/realtime", nothing),
    field("memory-limits", "/template/spec/domain/memory/hugepages", nothing_but_ovirts),
    field("memory-limits", "/template/spec/domain/resources/limits", nothing),
    field("memory-limits", "/template/spec/domain/resources/overcommitGuestOverhead", nothing),
    field("machine-type", "/template/spec/domain/machine/type", |_| {
        Want::Begins(&["q35", "pc-q35", "virt", "s390-ccw"])
    }),
    field("machine-type", "/template/spec/domain/launchSecurity", nothing),
    field("machine-type", "/template/spec/domain/chassis", nothing),
    field("machine-type", "/template/spec/domain/ioThreadsPolicy", nothing),
    field("machine-type", "/template/spec/architecture", |_| one(&["", "amd64", "arm64", "s390x"])),
    field("clock", "/template/spec/domain/clock/timezone", timezone),
    field("clock", "/template/spec/domain/clock/utc", |_| Want::Free),
    field("features", "/template/spec/domain/features/hyperv", for_windows),
    field("features", "/template/spec/domain/features/hypervPassthrough", nothing),
    field("features", "/template/spec/domain/features/kvm", nothing),
    field("features", "/template/spec/domain/features/pvspinlock", nothing),
    field("system-uuid", "/template/spec/domain/firmware/uuid", uuid),
    field("instance-type", "/instancetype", nothing),
    field("instance-type", "/dataVolumeTemplates", nothing),
    field("instance-type", "/template/spec/accessCredentials", nothing),
    field("instance-type", "/template/spec/hostname", nothing),
    field("instance-type", "/template/spec/subdomain", nothing),
    field("instance-type", "/template/spec/livenessProbe", nothing),
    field("instance-type", "/template/spec/readinessProbe", nothing),
];

/// Judges the rows of one check.
fn rows(check: &str, facts: &Facts<'_>, target: &TargetVm) -> Compared {
    let spec = at(&target.objects.vm, "/spec");
    let mut compared = Compared::default();
    for row in FIELDS.iter().filter(|row| row.check == check) {
        let value = at(spec, row.path);
        let name = row.path.trim_start_matches("/template/spec/").trim_start_matches('/');
        match (row.want)(facts) {
            Want::Free => {}
            Want::Nothing => compared.none(name, value),
            Want::One(texts) => {
                let actual = value.as_str().unwrap_or_default();
                let odd = !value.is_null() && !value.is_string();
                let wanted: Vec<&str> = texts.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
                let right = !odd && texts.iter().any(|text| text.eq_ignore_ascii_case(actual));
                compared.holds(right, name, &wanted.join(" or "), || shown(value));
            }
            Want::Begins(heads) => {
                let actual = value.as_str().unwrap_or_default();
                let right = unsaid(value) || heads.iter().any(|head| actual.starts_with(head));
                compared.holds(right, name, &heads.join(" or "), || shown(value));
            }
        }
    }
    compared
}

fn judge(
    check: &'static str,
    facts: &Facts<'_>,
    target: &TargetVm,
    more: fn(&Facts<'_>, &Value, &mut Compared),
) -> Vec<Judgement> {
    if platform::of(facts.platform).devices.is_none() {
        return whole(not_judged("MTV copies the source VM's own template, which its record does not hold"));
    }
    let mut compared = rows(check, facts, target);
    more(facts, at(&target.objects.vm, "/spec/template/spec/domain"), &mut compared);
    compared.judgements("as MTV writes it")
}

fn no_more(_: &Facts<'_>, _: &Value, _: &mut Compared) {}

pub(in crate::check) fn cpu_model(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    judge("cpu-model", facts, target, |facts, domain, compared| {
        let asked = facts.scenario.enable_nested_virtualization;
        if asked.is_none() && facts.platform != Platform::Vsphere {
            return;
        }
        let policy = if asked == Some(false) { "disable" } else { "optional" };
        let features = list(domain, "/cpu/features");
        for feature in features.iter().filter(|_| facts.platform != Platform::Ovirt) {
            let kept = NESTED.contains(&text(feature, "/name")) && text(feature, "/policy") == policy;
            compared.holds(kept, "cpu/features", &format!("nothing but vmx and svm, {policy}"), || shown(feature));
        }
        for name in NESTED.iter().filter(|_| asked.is_some()) {
            let own: Vec<&str> =
                features.iter().filter(|f| text(f, "/name") == *name).map(|f| text(f, "/policy")).collect();
            let told = || if own.is_empty() { "not said".to_owned() } else { own.join(", ") };
            compared.holds(own == [policy], &format!("cpu/features/{name}"), policy, told);
        }
        let odd = at(domain, "/cpu/features");
        compared.holds(odd.is_null() || odd.is_array(), "cpu/features", "a list", || shown(odd));
    })
}

pub(in crate::check) fn memory_limits(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    judge("memory-limits", facts, target, |_, domain, compared| {
        let (guest, asked) = (text(domain, "/memory/guest"), text(domain, "/resources/requests/memory"));
        // Where both are said, the pod would get less than its guest takes, or more than anybody asked for.
        if !guest.is_empty() {
            compared.same_if_said("resources/requests/memory", guest, asked);
        }
        compared.none("resources/requests/cpu", at(domain, "/resources/requests/cpu"));
    })
}

pub(in crate::check) fn machine_type(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    judge("machine-type", facts, target, no_more)
}

pub(in crate::check) fn clock(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    judge("clock", facts, target, |facts, domain, compared| {
        let own = platform::of(facts.platform).clock == Clock::Own;
        compared.holds(!own || !unsaid(at(domain, "/clock/timezone")), "clock", "a timezone", || "none".to_owned());
    })
}

pub(in crate::check) fn features(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    judge("features", facts, target, |_, domain, compared| {
        // KubeVirt refuses to start secure boot without SMM.
        let secure = at(domain, "/firmware/bootloader/efi/secureBoot") == &Value::Bool(true);
        let smm = at(domain, "/features/smm/enabled");
        compared.holds(!secure || smm == &Value::Bool(true), "smm", "true, as secure boot needs it", || shown(smm));
        let said = matches!(smm, Value::Null | Value::Bool(_));
        compared.holds(said, "smm", "true or false", || shown(smm));
        compared.holds(
            matches!(at(domain, "/features/acpi/enabled"), Value::Null | Value::Bool(true)),
            "acpi",
            "not switched off",
            || "off".to_owned(),
        );
    })
}

pub(in crate::check) fn system_uuid(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    judge("system-uuid", facts, target, no_more)
}

pub(in crate::check) fn instance_type(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    judge("instance-type", facts, target, no_more)
}
