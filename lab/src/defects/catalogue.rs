//! The defects of what is written, by the check that must find each.
//!
//! One table, and long for that alone: a row a field.

use super::written::Change::{Copy, Double, Drop, Flip, Gone, Push, Remove, Set, Swap};
use super::written::Object::{Claim, Marked, Migration, Plan, Source, Vm, Vmi};
use super::written::{Written, change};

/// In lists of what is marked, this stands for the VM's id.
pub const VM_ID: &str = "VMID";

/// Every one of them: the first check must fail, the others may.
pub const WRITTEN: &[Written] = &[
    change(
        "vm-renamed",
        Vm,
        "/metadata/name",
        Set(r#""another""#),
        &["identity", "instance", "claims", "twins", "migration-status"],
    ),
    change(
        "vm-in-another-namespace",
        Vm,
        "/metadata/namespace",
        Set(r#""another""#),
        &["identity", "claims", "network"],
    ),
    change("label-plan-lost", Vm, "/metadata/labels/plan", Remove, &["identity"]),
    change("label-plan-of-another", Vm, "/metadata/labels/plan", Set(r#""another""#), &["identity"]),
    change("label-migration-lost", Vm, "/metadata/labels/migration", Remove, &["identity"]),
    change("label-migration-of-another", Vm, "/metadata/labels/migration", Set(r#""another""#), &["identity"]),
    change("label-vmid-lost", Vm, "/metadata/labels/vmID", Remove, &["identity"]),
    change("label-vmid-of-another", Vm, "/metadata/labels/vmID", Set(r#""another""#), &["identity"]),
    change("vm-being-deleted", Vm, "/metadata/deletionTimestamp", Set(r#""2026-01-01T00:00:00Z""#), &["identity"]),
    change(
        "app-label-of-another",
        Vm,
        "/spec/template/metadata/labels/app",
        Set(r#""another""#),
        &["identity", "instance"],
    )
    .not_on(&["openshift"]),
    change("instance-type-gained", Vm, "/spec/instancetype", Set(r#"{"name": "u1.medium"}"#), &["instance-type"])
        .not_on(&["openshift"]),
    change(
        "data-volume-template",
        Vm,
        "/spec/dataVolumeTemplates",
        Set(r#"[{"metadata": {"name": "x"}}]"#),
        &["instance-type"],
    )
    .not_on(&["openshift"]),
    change("host-name-gained", Vm, "/spec/template/spec/hostname", Set(r#""x""#), &["instance-type"])
        .not_on(&["openshift"]),
    change("subdomain-gained", Vm, "/spec/template/spec/subdomain", Set(r#""x""#), &["instance-type"])
        .not_on(&["openshift"]),
    change(
        "access-credentials",
        Vm,
        "/spec/template/spec/accessCredentials",
        Set(r#"[{"sshPublicKey": {}}]"#),
        &["instance-type"],
    )
    .not_on(&["openshift"]),
    change(
        "liveness-probe",
        Vm,
        "/spec/template/spec/livenessProbe",
        Set(r#"{"periodSeconds": 1}"#),
        &["instance-type"],
    )
    .not_on(&["openshift"]),
    change(
        "readiness-probe",
        Vm,
        "/spec/template/spec/readinessProbe",
        Set(r#"{"periodSeconds": 1}"#),
        &["instance-type"],
    )
    .not_on(&["openshift"]),
    change("more-sockets", Vm, "/spec/template/spec/domain/cpu/sockets", Set("9"), &["cpu"]),
    change("more-cores", Vm, "/spec/template/spec/domain/cpu/cores", Set("9"), &["cpu"]),
    change("more-threads", Vm, "/spec/template/spec/domain/cpu/threads", Set("9"), &["cpu"]),
    change("cpu-model-pinned-down", Vm, "/spec/template/spec/domain/cpu/model", Set(r#""Penryn""#), &["cpu-model"])
        .not_on(&["ovirt", "openshift"]),
    change(
        "cpu-feature-off",
        Vm,
        "/spec/template/spec/domain/cpu/features",
        Set(r#"[{"name": "aes", "policy": "disable"}]"#),
        &["cpu-model"],
    )
    .not_on(&["ovirt", "openshift"]),
    change(
        "nested-virtualization-off",
        Vm,
        "/spec/template/spec/domain/cpu/features",
        Set(r#"[{"name": "vmx", "policy": "disable"}, {"name": "svm", "policy": "disable"}]"#),
        &["cpu-model"],
    )
    .not_on(&["ovirt", "openshift"]),
    change("cpu-dedicated", Vm, "/spec/template/spec/domain/cpu/dedicatedCpuPlacement", Set("true"), &["cpu-model"])
        .not_on(&["ovirt", "openstack", "openshift"]),
    change("emulator-thread", Vm, "/spec/template/spec/domain/cpu/isolateEmulatorThread", Set("true"), &["cpu-model"])
        .not_on(&["ovirt", "openstack", "openshift"]),
    change(
        "numa-passed-through",
        Vm,
        "/spec/template/spec/domain/cpu/numa",
        Set(r#"{"guestMappingPassthrough": {"x": 1}}"#),
        &["cpu-model"],
    )
    .not_on(&["ovirt", "openshift"]),
    change("realtime", Vm, "/spec/template/spec/domain/cpu/realtime", Set(r#"{"mask": "0-3"}"#), &["cpu-model"])
        .not_on(&["openshift"]),
    change(
        "memory-grown",
        Vm,
        "/spec/template/spec/domain/memory/guest",
        Set(r#""640Gi""#),
        &["memory", "memory-limits"],
    ),
    change(
        "memory-limit",
        Vm,
        "/spec/template/spec/domain/resources/limits",
        Set(r#"{"memory": "1Gi"}"#),
        &["memory-limits"],
    )
    .not_on(&["openshift"]),
    change(
        "memory-request",
        Vm,
        "/spec/template/spec/domain/resources/requests/memory",
        Set(r#""1Mi""#),
        &["memory-limits"],
    )
    .not_on(&["openshift", "ec2"]),
    change(
        "cpu-request",
        Vm,
        "/spec/template/spec/domain/resources/requests/cpu",
        Set(r#""100m""#),
        &["memory-limits"],
    )
    .not_on(&["openshift"]),
    change(
        "huge-pages",
        Vm,
        "/spec/template/spec/domain/memory/hugepages",
        Set(r#"{"pageSize": "1Gi"}"#),
        &["memory-limits"],
    )
    .not_on(&["ovirt", "openshift", "ec2"]),
    change(
        "overcommitted",
        Vm,
        "/spec/template/spec/domain/resources/overcommitGuestOverhead",
        Set("true"),
        &["memory-limits"],
    )
    .not_on(&["openshift"]),
    change(
        "secure-boot-gained",
        Vm,
        "/spec/template/spec/domain/firmware/bootloader",
        Set(r#"{"efi": {"secureBoot": true}}"#),
        &["firmware", "features"],
    )
    .on(&["vsphere"]),
    change("tpm-gained", Vm, "/spec/template/spec/domain/devices/tpm", Set(r#"{"persistent": true}"#), &["firmware"])
        .on(&["vsphere"]),
    change("serial-lost", Vm, "/spec/template/spec/domain/firmware/serial", Remove, &["serial"])
        .on(&["vsphere", "ovirt", "ova", "ec2"]),
    change(
        "secure-boot-without-smm",
        Vm,
        "/spec/template/spec/domain/firmware/bootloader",
        Set(r#"{"efi": {"secureBoot": true}}"#),
        &["features", "firmware"],
    )
    .not_on(&["openshift"]),
    change(
        "enlightened-linux",
        Vm,
        "/spec/template/spec/domain/features/hyperv",
        Set(r#"{"relaxed": {"enabled": true}}"#),
        &["features"],
    )
    .on(&["vsphere", "ovirt", "openstack"]),
    change("kvm-hidden", Vm, "/spec/template/spec/domain/features/kvm", Set(r#"{"hidden": true}"#), &["features"])
        .not_on(&["openshift"]),
    change("acpi-off", Vm, "/spec/template/spec/domain/features/acpi", Set(r#"{"enabled": false}"#), &["features"])
        .not_on(&["openshift"]),
    change(
        "pv-spinlocks",
        Vm,
        "/spec/template/spec/domain/features/pvspinlock",
        Set(r#"{"enabled": false}"#),
        &["features"],
    )
    .not_on(&["openshift"]),
    change(
        "hyperv-passed-through",
        Vm,
        "/spec/template/spec/domain/features/hypervPassthrough",
        Set(r#"{"enabled": true}"#),
        &["features"],
    )
    .not_on(&["openshift"]),
    change(
        "machine-type-old",
        Vm,
        "/spec/template/spec/domain/machine/type",
        Set(r#""pc-i440fx-2.12""#),
        &["machine-type"],
    )
    .not_on(&["openshift"]),
    change(
        "confidential",
        Vm,
        "/spec/template/spec/domain/launchSecurity",
        Set(r#"{"sev": {"policy": {}}}"#),
        &["machine-type"],
    )
    .not_on(&["openshift"]),
    change(
        "chassis-of-another",
        Vm,
        "/spec/template/spec/domain/chassis",
        Set(r#"{"manufacturer": "x"}"#),
        &["machine-type"],
    )
    .not_on(&["openshift"]),
    change("io-threads", Vm, "/spec/template/spec/domain/ioThreadsPolicy", Set(r#""auto""#), &["machine-type"])
        .not_on(&["openshift"]),
    change("another-architecture", Vm, "/spec/template/spec/architecture", Set(r#""ppc64le""#), &["machine-type"])
        .not_on(&["openshift"]),
    change("clock-in-tokyo", Vm, "/spec/template/spec/domain/clock/timezone", Set(r#""Asia/Tokyo""#), &["clock"])
        .not_on(&["ovirt", "openshift"]),
    change("clock-lost", Vm, "/spec/template/spec/domain/clock", Remove, &["clock"]).on(&["vsphere", "ovirt"]),
    change(
        "system-uuid-of-another",
        Vm,
        "/spec/template/spec/domain/firmware/uuid",
        Set(r#""00000000-0000-0000-0000-000000000001""#),
        &["system-uuid"],
    )
    .on(&["ovirt"]),
    change(
        "mouse-for-tablet",
        Vm,
        "/spec/template/spec/domain/devices/inputs",
        Set(r#"[{"type": "mouse", "bus": "ps2", "name": "m"}]"#),
        &["devices"],
    )
    .not_on(&["openshift"]),
    change(
        "no-graphics",
        Vm,
        "/spec/template/spec/domain/devices/autoattachGraphicsDevice",
        Set("false"),
        &["devices"],
    )
    .not_on(&["openstack", "openshift"]),
    change(
        "no-serial-console",
        Vm,
        "/spec/template/spec/domain/devices/autoattachSerialConsole",
        Set("false"),
        &["devices"],
    )
    .not_on(&["openshift"]),
    change(
        "gpu",
        Vm,
        "/spec/template/spec/domain/devices/gpus",
        Set(r#"[{"name": "g", "deviceName": "x/y"}]"#),
        &["devices"],
    )
    .not_on(&["openshift"]),
    change(
        "host-device",
        Vm,
        "/spec/template/spec/domain/devices/hostDevices",
        Set(r#"[{"name": "h", "deviceName": "x/y"}]"#),
        &["devices"],
    )
    .not_on(&["openshift"]),
    change("watchdog", Vm, "/spec/template/spec/domain/devices/watchdog", Set(r#"{"name": "w"}"#), &["devices"])
        .not_on(&["openshift"]),
    change(
        "file-system",
        Vm,
        "/spec/template/spec/domain/devices/filesystems",
        Set(r#"[{"name": "f"}]"#),
        &["devices"],
    )
    .not_on(&["openshift"]),
    change(
        "utility-volume",
        Vm,
        "/spec/template/spec/utilityVolumes",
        Set(r#"[{"name": "x", "claimName": "x"}]"#),
        &["devices"],
    )
    .not_on(&["openshift"]),
    change("sound-card", Vm, "/spec/template/spec/domain/devices/sound", Set(r#"{"name": "s"}"#), &["devices"])
        .not_on(&["openshift"]),
    change(
        "tpm-forgets",
        Vm,
        "/spec/template/spec/domain/devices/tpm",
        Set(r#"{"enabled": true}"#),
        &["devices", "firmware"],
    )
    .not_on(&["openshift"]),
    change(
        "nic-model",
        Vm,
        "/spec/template/spec/domain/devices/interfaces/0/model",
        Set(r#""ne1000""#),
        &["nic-devices"],
    )
    .not_on(&["openshift"]),
    change(
        "nic-without-binding",
        Vm,
        "/spec/template/spec/domain/devices/interfaces/0/masquerade",
        Remove,
        &["nic-devices"],
    )
    .not_on(&["openshift"]),
    change(
        "nic-bridged-on-the-pod-network",
        Vm,
        "/spec/template/spec/domain/devices/interfaces/0/bridge",
        Set("{}"),
        &["nic-devices"],
    )
    .not_on(&["openshift"]),
    change(
        "nic-link-down",
        Vm,
        "/spec/template/spec/domain/devices/interfaces/0/state",
        Set(r#""down""#),
        &["nic-devices", "instance"],
    )
    .not_on(&["openshift"]),
    change(
        "nic-absent",
        Vm,
        "/spec/template/spec/domain/devices/interfaces/0/state",
        Set(r#""absent""#),
        &["nic-devices"],
    )
    .not_on(&["openshift"]),
    change("nic-boots", Vm, "/spec/template/spec/domain/devices/interfaces/0/bootOrder", Set("1"), &["nic-devices"])
        .not_on(&["openshift"]),
    change("nic-tagged", Vm, "/spec/template/spec/domain/devices/interfaces/0/tag", Set(r#""x""#), &["nic-devices"])
        .not_on(&["openshift"]),
    change(
        "nic-ports-closed",
        Vm,
        "/spec/template/spec/domain/devices/interfaces/0/ports",
        Set(r#"[{"port": 80}]"#),
        &["nic-devices"],
    )
    .not_on(&["openshift"]),
    change(
        "nic-slot",
        Vm,
        "/spec/template/spec/domain/devices/interfaces/0/pciAddress",
        Set(r#""0000:81:01.0""#),
        &["nic-devices"],
    )
    .not_on(&["openshift", "vsphere"]),
    change(
        "nic-slot-of-nonsense",
        Vm,
        "/spec/template/spec/domain/devices/interfaces/0/pciAddress",
        Set(r#""192""#),
        &["nic-devices"],
    )
    .on(&["vsphere"]),
    change(
        "nic-model-of-another-kind",
        Vm,
        "/spec/template/spec/domain/devices/interfaces/0/model",
        Set(r#""e1000""#),
        &["nic-devices"],
    )
    .on(&["ovirt", "openstack"]),
    change(
        "mac-left-to-kubevirt",
        Vm,
        "/spec/template/spec/domain/devices/interfaces/0/macAddress",
        Remove,
        &["nic-devices"],
    )
    .not_on(&["ova", "openshift"]),
    change("nic-doubled", Vm, "/spec/template/spec/domain/devices/interfaces", Double, &["nic-devices", "network"]),
    change("nics-swapped", Vm, "/spec/template/spec/domain/devices/interfaces", Swap, &["nic-devices"])
        .not_on(&["openstack", "openshift"]),
    change(
        "network-renamed",
        Vm,
        "/spec/template/spec/networks/0/name",
        Set(r#""another""#),
        &["nic-devices", "network"],
    ),
    change(
        "network-without-nic",
        Vm,
        "/spec/template/spec/networks",
        Push(r#"{"name": "spare", "pod": {}}"#),
        &["nic-devices"],
    ),
    change(
        "network-of-two-kinds",
        Vm,
        "/spec/template/spec/networks/0/resourceClaim/claimName",
        Set(r#""x""#),
        &["nic-devices"],
    ),
    change("nic-lost", Vm, "/spec/template/spec/domain/devices/interfaces", Drop, &["network", "nic-devices"]),
    change("network-lost", Vm, "/spec/template/spec/networks", Drop, &["network", "nic-devices"]),
    change(
        "mac-of-another",
        Vm,
        "/spec/template/spec/domain/devices/interfaces/0/macAddress",
        Set(r#""02:00:00:00:00:99""#),
        &["network", "instance", "nic-devices", "static-ip"],
    )
    .not_on(&["ova"]),
    change("disk-bus", Vm, "/spec/template/spec/domain/devices/disks/0/disk/bus", Set(r#""ide""#), &["disk-devices"])
        .not_on(&["openshift"]),
    change(
        "disk-bus-of-another-kind",
        Vm,
        "/spec/template/spec/domain/devices/disks/0/disk/bus",
        Set(r#""sata""#),
        &["disk-devices"],
    )
    .on(&["ovirt", "openstack"]),
    change("disk-shared", Vm, "/spec/template/spec/domain/devices/disks/0/shareable", Set("true"), &["disk-devices"])
        .not_on(&["openshift"]),
    change(
        "disk-read-only",
        Vm,
        "/spec/template/spec/domain/devices/disks/0/disk/readonly",
        Set("true"),
        &["disk-devices"],
    )
    .not_on(&["openshift"]),
    change(
        "disk-is-lun",
        Vm,
        "/spec/template/spec/domain/devices/disks/0/lun",
        Set(r#"{"bus": "scsi"}"#),
        &["disk-devices"],
    )
    .not_on(&["openshift"]),
    change(
        "disk-cache",
        Vm,
        "/spec/template/spec/domain/devices/disks/0/cache",
        Set(r#""writeback""#),
        &["disk-devices"],
    )
    .not_on(&["openshift"]),
    change("disk-io", Vm, "/spec/template/spec/domain/devices/disks/0/io", Set(r#""native""#), &["disk-devices"])
        .not_on(&["openshift"]),
    change(
        "disk-block-size",
        Vm,
        "/spec/template/spec/domain/devices/disks/0/blockSize",
        Set(r#"{"custom": {"logical": 4096}}"#),
        &["disk-devices"],
    )
    .not_on(&["openshift"]),
    change("disk-tagged", Vm, "/spec/template/spec/domain/devices/disks/0/tag", Set(r#""x""#), &["disk-devices"])
        .not_on(&["openshift"]),
    change(
        "boot-order-lost",
        Vm,
        "/spec/template/spec/domain/devices/disks/0/bootOrder",
        Remove,
        &["disk-devices", "disk-order"],
    )
    .on(&["vsphere", "ec2"]),
    change(
        "boot-order-late",
        Vm,
        "/spec/template/spec/domain/devices/disks/0/bootOrder",
        Set("7"),
        &["disk-devices", "disk-order"],
    )
    .on(&["vsphere", "ec2"]),
    change(
        "disk-serial-of-another",
        Vm,
        "/spec/template/spec/domain/devices/disks/0/serial",
        Set(r#""another""#),
        &["disk-devices"],
    )
    .on(&["ovirt"]),
    change(
        "disk-doubled",
        Vm,
        "/spec/template/spec/domain/devices/disks",
        Double,
        &["disk-devices", "disk-count", "claims", "disk-source", "disk-size", "disk-order", "pvc-names"],
    ),
    change(
        "volume-without-disk",
        Vm,
        "/spec/template/spec/volumes",
        Push(r#"{"name": "spare", "emptyDisk": {"capacity": "1Gi"}}"#),
        &["disk-devices", "instance"],
    ),
    change(
        "volume-renamed",
        Vm,
        "/spec/template/spec/volumes/0/name",
        Set(r#""another""#),
        &["disk-devices", "disk-count", "left-behind", "pvc-names", "disk-order", "disk-source", "instance"],
    ),
    change(
        "volume-of-two-kinds",
        Vm,
        "/spec/template/spec/volumes/0/memoryDump/claimName",
        Set(r#""x""#),
        &["disk-devices"],
    ),
    change(
        "volume-lost",
        Vm,
        "/spec/template/spec/volumes",
        Drop,
        &["disk-count", "disk-devices", "left-behind", "pvc-names", "disk-order"],
    )
    .not_on(&["openshift"]),
    change(
        "disk-not-attached",
        Vm,
        "/spec/template/spec/domain/devices/disks",
        Drop,
        &["disk-count", "disk-devices", "left-behind", "pvc-names", "disk-order"],
    )
    .not_on(&["openshift"]),
    change(
        "claim-of-two-disks",
        Vm,
        "/spec/template/spec/volumes/0/persistentVolumeClaim",
        Copy("/spec/template/spec/volumes/1/persistentVolumeClaim"),
        &["claims", "disk-devices", "disk-source", "disk-order", "disk-size", "left-behind", "pvc-names", "instance"],
    ),
    change("claim-migration-of-another", Claim, "/metadata/labels/migration", Set(r#""another""#), &["claims"]),
    change("claim-migration-lost", Claim, "/metadata/labels/migration", Remove, &["claims"]),
    change("claim-vmid-of-another", Claim, "/metadata/labels/vmID", Set(r#""another""#), &["claims"]),
    change("claim-vmid-lost", Claim, "/metadata/labels/vmID", Remove, &["claims"]),
    change("claim-owned-by-nobody", Claim, "/metadata/ownerReferences", Remove, &["claims"]),
    change("claim-owned-by-another", Claim, "/metadata/ownerReferences/*/uid", Set(r#""another""#), &["claims"]),
    change("claim-pending", Claim, "/status/phase", Set(r#""Pending""#), &["claims"]),
    change("claim-lost-its-volume", Claim, "/status/phase", Set(r#""Lost""#), &["claims"]),
    change("claim-without-volume", Claim, "/spec/volumeName", Remove, &["claims"]),
    change("claim-being-deleted", Claim, "/metadata/deletionTimestamp", Set(r#""2026-01-01T00:00:00Z""#), &["claims"]),
    change("claim-in-another-namespace", Claim, "/metadata/namespace", Set(r#""another""#), &["claims"]),
    change(
        "claim-gone",
        Claim,
        "",
        Gone,
        &["claims", "storage-class", "access-mode", "volume-mode", "disk-size", "disk-source", "disk-order"],
    ),
    change(
        "claim-of-another-source",
        Claim,
        "/metadata/annotations/forklift.konveyor.io~1disk-source",
        Set(r#""[another] other/other.vmdk""#),
        &["disk-source", "disk-devices", "disk-order", "disk-size"],
    ),
    change("claim-class", Claim, "/spec/storageClassName", Set(r#""another""#), &["storage-class"]),
    change("claim-read-only", Claim, "/spec/accessModes", Set(r#"["ReadOnlyMany"]"#), &["access-mode"]),
    change("claim-mode", Claim, "/spec/volumeMode", Set(r#""Another""#), &["volume-mode"]),
    change("claim-shrunk", Claim, "/status/capacity/storage", Set(r#""1Mi""#), &["disk-size", "disk-order"]),
    change("strategy-manual", Vm, "/spec/runStrategy", Set(r#""Manual""#), &["run-strategy"]),
    change("strategy-once", Vm, "/spec/runStrategy", Set(r#""Once""#), &["run-strategy"]),
    change("strategy-wait", Vm, "/spec/runStrategy", Set(r#""WaitAsReceiver""#), &["run-strategy"]),
    change("starts-paused", Vm, "/spec/template/spec/startStrategy", Set(r#""Paused""#), &["run-strategy"])
        .not_on(&["openshift"]),
    change("strategy-lost", Vm, "/spec/runStrategy", Remove, &["run-strategy"]),
    change("strategy-said-twice", Vm, "/spec/running", Set("true"), &["run-strategy"]),
    change("node-selector-gained", Vm, "/spec/template/spec/nodeSelector/another", Set(r#""x""#), &["scheduling"])
        .not_on(&["openshift"]),
    change("node-selector-lost", Vm, "/spec/template/spec/nodeSelector", Remove, &["scheduling"]).on(&[
        "vsphere",
        "ovirt",
        "openstack",
    ]),
    change("toleration", Vm, "/spec/template/spec/tolerations", Set(r#"[{"operator": "Exists"}]"#), &["scheduling"])
        .not_on(&["openshift"]),
    change("scheduler-of-another", Vm, "/spec/template/spec/schedulerName", Set(r#""another""#), &["scheduling"])
        .not_on(&["openshift"]),
    change("priority", Vm, "/spec/template/spec/priorityClassName", Set(r#""system-node-critical""#), &["scheduling"])
        .not_on(&["openshift"]),
    change("spread", Vm, "/spec/template/spec/topologySpreadConstraints", Set(r#"[{"maxSkew": 1}]"#), &["scheduling"])
        .not_on(&["openshift"]),
    change("not-evicted", Vm, "/spec/template/spec/evictionStrategy", Set(r#""None""#), &["scheduling"])
        .not_on(&["openshift"]),
    change("instance-with-other-cpus", Vmi, "/spec/domain/cpu/sockets", Set("9"), &["instance"]),
    change("instance-without-disk", Vmi, "/spec/domain/devices/disks", Drop, &["instance"]),
    change("instance-without-nic", Vmi, "/spec/domain/devices/interfaces", Drop, &["instance"]),
    change("instance-with-another-volume", Vmi, "/spec/volumes/0/name", Set(r#""another""#), &["instance"]),
    change("instance-of-another", Vmi, "/metadata/ownerReferences/*/uid", Set(r#""another""#), &["instance"]),
    change("instance-failed", Vmi, "/status/phase", Set(r#""Failed""#), &["instance", "node-placement"]),
    change(
        "instance-being-deleted",
        Vmi,
        "/metadata/deletionTimestamp",
        Set(r#""2026-01-01T00:00:00Z""#),
        &["instance"],
    ),
    change("instance-with-another-mac", Vmi, "/status/interfaces/0/mac", Set(r#""02:00:00:00:00:98""#), &["instance"]),
    change("instance-link-down", Vmi, "/status/interfaces/0/linkState", Set(r#""down""#), &["instance"]),
    change("instance-gone", Vmi, "", Gone, &["instance", "guest-agent", "node-placement"]),
    change("instance-volume-not-attached", Vmi, "/status/volumeStatus", Drop, &["instance"]),
    change("instance-volumes-unknown", Vmi, "/status/volumeStatus", Remove, &["instance"]),
    change(
        "instance-volume-of-another-claim",
        Vmi,
        "/status/volumeStatus/0/persistentVolumeClaimInfo/claimName",
        Set(r#""another""#),
        &["instance"],
    ),
    change(
        "paused-by-an-io-error",
        Vmi,
        "/status/conditions",
        Push(
            r#"{"type": "Paused", "status": "True", "reason": "PausedIOError", "message": "VMI was paused, low-level IO error detected"}"#,
        ),
        &["instance"],
    ),
    change(
        "paused-by-somebody",
        Vmi,
        "/status/conditions",
        Push(r#"{"type": "Paused", "status": "True", "reason": "PausedByUser"}"#),
        &["instance"],
    ),
    change(
        "not-live-migratable",
        Vmi,
        "/status/conditions/1",
        Set(
            r#"{"type": "LiveMigratable", "status": "False", "reason": "InterfaceNotLiveMigratable", "message": "cannot migrate VMI which does not use masquerade to connect to the pod network"}"#,
        ),
        &["live-migration"],
    ),
    change(
        "not-live-migratable-for-no-reason",
        Vmi,
        "/status/conditions/1/status",
        Set(r#""False""#),
        &["live-migration"],
    ),
    change("another-guest", Vmi, "/status/guestOSInfo/id", Set(r#""mswindows""#), &["guest-os"])
        .on(&["vsphere", "ovirt"]),
    change("agent-gone", Vmi, "/status/conditions", Set("[]"), &["guest-agent"]).on(&["vsphere", "ovirt"]),
    change("plan-warm-turned", Plan, "/spec/warm", Flip, &["plan-kept"]),
    change("plan-to-another-namespace", Plan, "/spec/targetNamespace", Set(r#""another""#), &["plan-kept"]),
    change("plan-without-vm", Plan, "/spec/vms", Set("[]"), &["plan-kept"]),
    change("plan-with-another-map", Plan, "/spec/map/storage/name", Set(r#""another""#), &["plan-kept"]),
    change("plan-with-another-provider", Plan, "/spec/provider/source/name", Set(r#""another""#), &["plan-kept"]),
    change("plan-keeps-no-addresses", Plan, "/spec/preserveStaticIPs", Flip, &["plan-kept"]),
    change("plan-vm-with-a-switch", Plan, "/spec/vms/0/migrateSharedDisks", Set("true"), &["plan-kept"]),
    change("plan-skips-the-conversion", Plan, "/spec/skipGuestConversion", Set("true"), &["plan-kept"]),
    change("plan-converts-alone", Plan, "/spec/type", Set(r#""conversion""#), &["plan-kept"]),
    change("plan-leaves-shared-disks", Plan, "/spec/migrateSharedDisks", Set("false"), &["plan-kept"]),
    change("plan-keeps-what-failed", Plan, "/spec/deleteVmOnFailMigration", Set("false"), &["plan-kept"]),
    change("plan-archived", Plan, "/spec/archived", Set("true"), &["plan-kept"]),
    change("plan-with-another-disk-bus", Plan, "/spec/diskBus", Set(r#""sata""#), &["plan-kept"]),
    change("migration-of-another-plan", Migration, "/spec/plan/name", Set(r#""another""#), &["plan-kept"]),
    change("migration-cancelled", Migration, "/spec/cancel", Set(r#"[{"id": "x"}]"#), &["plan-kept"]),
    change("plan-did-not-succeed", Plan, "/status/conditions", Set("[]"), &["migration-status"]),
    change(
        "plan-critical",
        Plan,
        "/status/conditions",
        Push(r#"{"type": "X", "status": "True", "category": "Critical"}"#),
        &["migration-status"],
    ),
    change(
        "plan-failed-too",
        Plan,
        "/status/conditions",
        Push(r#"{"type": "Failed", "status": "True"}"#),
        &["migration-status"],
    ),
    change(
        "plan-still-executing",
        Plan,
        "/status/conditions",
        Push(r#"{"type": "Executing", "status": "True"}"#),
        &["migration-status"],
    ),
    change(
        "vm-error",
        Plan,
        "/status/migration/vms/0/error",
        Set(r#"{"phase": "X", "reasons": ["x"]}"#),
        &["migration-status"],
    ),
    change("vm-phase", Plan, "/status/migration/vms/0/phase", Set(r#""CopyDisks""#), &["migration-status"]),
    change("vm-not-completed", Plan, "/status/migration/vms/0/completed", Remove, &["migration-status"]),
    change(
        "vm-ended-before-it-began",
        Plan,
        "/status/migration/vms/0/completed",
        Set(r#""2000-01-01T00:00:00Z""#),
        &["migration-status"],
    ),
    change(
        "migration-ended-before-it-began",
        Migration,
        "/status/completed",
        Set(r#""2001-01-01T00:00:00Z""#),
        &["migration-status"],
    ),
    change("vm-did-not-succeed", Plan, "/status/migration/vms/0/conditions", Set("[]"), &["migration-status"]),
    change("vm-of-another", Plan, "/status/migration/vms/0/id", Set(r#""another""#), &["migration-status"]),
    change("vm-missing-in-plan", Plan, "/status/migration/vms", Set("[]"), &["migration-status"]),
    change(
        "step-running",
        Plan,
        "/status/migration/vms/0/pipeline/0/phase",
        Set(r#""Running""#),
        &["migration-status"],
    ),
    change(
        "step-error",
        Plan,
        "/status/migration/vms/0/pipeline/0/error",
        Set(r#"{"phase": "X", "reasons": ["x"]}"#),
        &["migration-status"],
    ),
    change("step-not-begun", Plan, "/status/migration/vms/0/pipeline/0/started", Remove, &["migration-status"]),
    change(
        "transfer-incomplete",
        Plan,
        "/status/migration/vms/0/pipeline/*/progress/completed",
        Set("0"),
        &["migration-status"],
    ),
    change(
        "task-incomplete",
        Plan,
        "/status/migration/vms/0/pipeline/*/tasks/*/progress/completed",
        Set("0"),
        &["migration-status"],
    ),
    change(
        "task-error",
        Plan,
        "/status/migration/vms/0/pipeline/*/tasks/*/error",
        Set(r#"{"phase": "X", "reasons": ["x"]}"#),
        &["migration-status"],
    ),
    change("tasks-lost", Plan, "/status/migration/vms/0/pipeline/*/tasks", Drop, &["migration-status"]),
    change("pipeline-lost", Plan, "/status/migration/vms/0/pipeline", Set("[]"), &["migration-status", "hooks"]),
    change("history-lost", Plan, "/status/migration/history", Set("[]"), &["migration-status"]),
    change(
        "history-of-another",
        Plan,
        "/status/migration/history/*/migration/uid",
        Set(r#""another""#),
        &["migration-status"],
    ),
    change("migration-did-not-succeed", Migration, "/status/conditions", Set("[]"), &["migration-status"]),
    change(
        "migration-failed-too",
        Migration,
        "/status/conditions",
        Push(r#"{"type": "Failed", "status": "True"}"#),
        &["migration-status"],
    ),
    change("migration-disagrees", Migration, "/status/vms/0/phase", Set(r#""CopyDisks""#), &["migration-status"]),
    change("migration-without-vm", Migration, "/status/vms", Set("[]"), &["migration-status"]),
    change("migration-with-other-steps", Migration, "/status/vms/0/pipeline", Swap, &["migration-status"]),
    change("migration-with-a-step-less", Migration, "/status/vms/0/pipeline", Drop, &["migration-status"]),
    change("plan-gone", Plan, "", Gone, &["migration-status", "plan-kept", "hooks", "precopies", "cutover"]),
    change("migration-gone", Migration, "", Gone, &["migration-status", "plan-kept", "hooks", "precopies", "cutover"]),
    change(
        "hook-unasked",
        Plan,
        "/status/migration/vms/0/pipeline",
        Push(
            r#"{"name": "PostHook", "phase": "Completed", "started": "2026-01-01T00:00:00Z", "completed": "2026-01-01T00:00:01Z"}"#,
        ),
        &["hooks", "migration-status"],
    ),
    change(
        "pre-hook-too-late",
        Plan,
        "/status/migration/vms/0/pipeline",
        Push(
            r#"{"name": "PreHook", "phase": "Completed", "started": "2026-01-01T00:00:00Z", "completed": "2026-01-01T00:00:01Z"}"#,
        ),
        &["hooks", "migration-status"],
    ),
    change("precopies-too-few", Plan, "/status/migration/vms/0/warm/successes", Set("0"), &["precopies"]),
    change("precopy-failed", Plan, "/status/migration/vms/0/warm/failures", Set("2"), &["precopies"]),
    change("precopies-lost", Plan, "/status/migration/vms/0/warm/precopies", Set("[]"), &["precopies"]),
    change("precopies-unended", Plan, "/status/migration/vms/0/warm/precopies/*/end", Remove, &["precopies"]),
    change("cut-over-early", Migration, "/spec/cutover", Set(r#""2126-01-01T00:00:00Z""#), &["cutover"]),
    change("cut-over-at-no-time", Migration, "/spec/cutover", Set(r#""soon""#), &["cutover"]),
    change("source-cpus", Source, "/cpu/sockets", Set("99"), &["source-kept"]),
    change("source-memory", Source, "/memory_mib", Set("1"), &["source-kept"]),
    change("source-disk-lost", Source, "/disks", Drop, &["source-kept"]),
    change("source-disk-moved", Source, "/disks/0/storage_id", Set(r#""another""#), &["source-kept"]),
    change("source-disk-shrunk", Source, "/disks/0/capacity_bytes", Set("1"), &["source-kept"]),
    change("source-nic-lost", Source, "/nics", Drop, &["source-kept"]),
    change("source-mac", Source, "/nics/0/mac", Set(r#""02:00:00:00:00:97""#), &["source-kept"]),
    change("source-nic-disconnected", Source, "/nics/0/connected", Set("false"), &["source-kept"]),
    change("source-nic-moved", Source, "/nics/0/network_id", Set(r#""another""#), &["source-kept"]),
    change("source-renamed", Source, "/name", Set(r#""another""#), &["source-kept"]),
    change("source-replaced", Source, "/id", Set(r#""another""#), &["source-kept"]),
    change("source-firmware", Source, "/firmware/secure_boot", Flip, &["source-kept"]),
    change("source-uuid", Source, "/uuid", Set(r#""another""#), &["source-kept"]),
    change(
        "twin",
        Marked,
        "",
        Push(
            r#"{"kind": "VirtualMachine", "metadata": {"name": "twin", "labels": {"vmID": "VMID"}}, "status": {"phase": "Running"}}"#,
        ),
        &["twins"],
    ),
    change(
        "claim-without-disk",
        Marked,
        "",
        Push(
            r#"{"kind": "PersistentVolumeClaim", "metadata": {"name": "spare", "labels": {"vmID": "VMID"}}, "status": {"phase": "Bound"}}"#,
        ),
        &["left-behind"],
    ),
    change(
        "prime-claim-left",
        Marked,
        "",
        Push(
            r#"{"kind": "PersistentVolumeClaim", "metadata": {"name": "prime-0000", "labels": {"vmID": "VMID"}}, "status": {"phase": "Bound"}}"#,
        ),
        &["left-behind"],
    ),
    change(
        "populator-pod-left",
        Marked,
        "",
        Push(
            r#"{"kind": "Pod", "metadata": {"name": "populate-0000", "labels": {"vmID": "VMID"}}, "status": {"phase": "Running"}}"#,
        ),
        &["left-behind"],
    ),
    change(
        "transfer-secret-left",
        Marked,
        "",
        Push(
            r#"{"kind": "Secret", "metadata": {"name": "plan-vm-x", "labels": {"vmID": "VMID", "resource": "vm-config"}}}"#,
        ),
        &["left-behind"],
    ),
    change(
        "transfer-config-map-left",
        Marked,
        "",
        Push(
            r#"{"kind": "ConfigMap", "metadata": {"name": "plan-vm-x", "labels": {"vmID": "VMID", "resource": "vm-config"}}}"#,
        ),
        &["left-behind"],
    ),
    change(
        "importer-pod-pending",
        Marked,
        "",
        Push(
            r#"{"kind": "Pod", "metadata": {"name": "importer-0000", "labels": {"vmID": "VMID"}}, "status": {"phase": "Pending"}}"#,
        ),
        &["left-behind"],
    ),
    change(
        "data-volume-unfinished",
        Marked,
        "",
        Push(
            r#"{"kind": "DataVolume", "metadata": {"name": "dv", "labels": {"vmID": "VMID"}}, "status": {"phase": "ImportInProgress"}}"#,
        ),
        &["left-behind"],
    ),
    change(
        "data-volume-failed",
        Marked,
        "",
        Push(
            r#"{"kind": "DataVolume", "metadata": {"name": "dv", "labels": {"vmID": "VMID"}}, "status": {"phase": "Failed"}}"#,
        ),
        &["left-behind"],
    ),
];
