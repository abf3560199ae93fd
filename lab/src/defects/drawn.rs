//! Thirty changes that nobody chose: drawn by a seed from the fields of the real definitions, before any was tried.
//!
//! From the OpenAPI schemas of KubeVirt's VirtualMachine (`spec`, 16) and VirtualMachineInstance (`status`, 4) and of
//! Forklift's Plan (`spec` 4, `status` 3) and Migration (`status`, 3): `random.Random(20261128)` took a group of fields
//! (three levels deep) without replacement, of it one leaf, and a value of the leaf's type. Whoever wrote the checks
//! had no say in it; some of what was drawn is harmless. Which check finds one is not said here: tests/suite/verdicts.rs tells.

use super::written::Change::Set;
use super::written::Object::{Migration, Plan, Vm, Vmi};
use super::written::{Written, change};

/// All of them.
pub const DRAWN: &[Written] = &[
    change("drawn-01", Vm, "/spec/template/spec/schedulerName", Set(r#""drawn""#), &[]),
    change("drawn-02", Vm, "/spec/instancetype/revisionName", Set(r#""drawn""#), &[]),
    change("drawn-03", Vm, "/spec/instancetype/name", Set(r#""drawn""#), &[]),
    change("drawn-04", Vm, "/spec/dataVolumeTemplates", Set(r#"[{"apiVersion": "drawn"}]"#), &[]),
    change("drawn-05", Vm, "/spec/template/spec/nodeSelector/drawn", Set(r#""drawn""#), &[]),
    change("drawn-06", Vm, "/spec/template/spec/networks/0/resourceClaim/claimName", Set(r#""drawn""#), &[]),
    change("drawn-07", Vm, "/spec/template/spec/livenessProbe/httpGet/port", Set(r#""""#), &[]),
    change("drawn-08", Vm, "/spec/instancetype/inferFromVolume", Set(r#""drawn""#), &[]),
    change("drawn-09", Vm, "/spec/template/spec/volumes/0/memoryDump/hotpluggable", Set(r#"false"#), &[]),
    change("drawn-10", Vm, "/spec/template/spec/subdomain", Set(r#""drawn""#), &[]),
    change("drawn-11", Vm, "/spec/preference/name", Set(r#""drawn""#), &[]),
    change("drawn-12", Vm, "/spec/template/spec/startStrategy", Set(r#""drawn""#), &[]),
    change("drawn-13", Vm, "/spec/template/spec/domain/devices/filesystems", Set(r#"[{"name": "drawn"}]"#), &[]),
    change(
        "drawn-14",
        Vm,
        "/spec/template/spec/accessCredentials",
        Set(r#"[{"sshPublicKey": {"propagationMethod": {"qemuGuestAgent": {"users": ["drawn"]}}}}]"#),
        &[],
    ),
    change("drawn-15", Vm, "/spec/template/spec/utilityVolumes", Set(r#"[{"type": "drawn"}]"#), &[]),
    change("drawn-16", Vm, "/spec/template/spec/tolerations", Set(r#"[{"effect": "drawn"}]"#), &[]),
    change("drawn-17", Vmi, "/status/interfaces/0/mac", Set(r#""drawn""#), &[]),
    change("drawn-18", Vmi, "/status/memory/guestRequested", Set(r#""1Gi""#), &[]),
    change("drawn-19", Vmi, "/status/migrationState/targetNode", Set(r#""drawn""#), &[]),
    change("drawn-20", Vmi, "/status/migrationState/migrationConfiguration/maxDowntimeMs", Set(r#"7"#), &[]),
    change("drawn-21", Plan, "/spec/vms/0/targetName", Set(r#""drawn""#), &[]),
    change("drawn-22", Plan, "/spec/provider/destination/resourceVersion", Set(r#""drawn""#), &[]),
    change("drawn-23", Plan, "/spec/vms/0/type", Set(r#""drawn""#), &[]),
    change("drawn-24", Plan, "/spec/vms/0/rdmAsLun", Set(r#"true"#), &[]),
    change("drawn-25", Plan, "/status/observedGeneration", Set(r#"4096"#), &[]),
    change("drawn-26", Plan, "/status/conditions/0/durable", Set(r#"true"#), &[]),
    change("drawn-27", Plan, "/status/netAppShiftDestination", Set(r#"false"#), &[]),
    change("drawn-28", Migration, "/status/completed", Set(r#""2001-01-01T00:00:00Z""#), &[]),
    change("drawn-29", Migration, "/status/vms/0/error/reasons", Set(r#"["drawn"]"#), &[]),
    change("drawn-30", Migration, "/status/vms/0/started", Set(r#""2001-01-01T00:00:00Z""#), &[]),
];
