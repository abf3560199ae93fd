//! The contract: one row a check, in the order in which they run and are reported.
//!
//! A row says the name, what must hold, when the check says nothing, whether a scenario asks for it, and the
//! function that judges. Judging, the tests and docs/checks.md all read this table.

use super::written::{self, claims, devices, domain, instance, left, migration, scheduling};
use super::{Facts, Judgement, TargetVm};
use super::{guest, hardware, network, offload, placement, power, provider, pvc_names, snapshots, storage};

/// One check.
pub struct Check {
    pub name: &'static str,
    /// What must hold, for people.
    pub holds: &'static str,
    /// When it is *not judged*; empty: never by itself.
    pub unless: &'static str,
    /// Without it nothing is known of the migration: not judged, it leaves its cell errored.
    pub essential: bool,
    pub(super) rule: Rule,
}

impl Check {
    const fn essential(self) -> Self {
        Self { essential: true, ..self }
    }
}

/// A rule looks at the facts; nothing returned means that the scenario does not ask for it.
pub(super) enum Rule {
    /// Needs no migrated VM.
    Source(fn(&Facts<'_>) -> Vec<Judgement>),
    /// Needs the migrated VM; `asks` says whether the scenario wants the check.
    Target { asks: fn(&Facts<'_>) -> bool, judge: fn(&Facts<'_>, &TargetVm) -> Vec<Judgement> },
    /// A step of the story judges it where the scenario has one: it has to do something first.
    Step,
}

const fn step(name: &'static str, holds: &'static str, unless: &'static str) -> Check {
    Check { name, holds, unless, essential: false, rule: Rule::Step }
}

const fn source(
    name: &'static str,
    holds: &'static str,
    unless: &'static str,
    judge: fn(&Facts<'_>) -> Vec<Judgement>,
) -> Check {
    Check { name, holds, unless, essential: false, rule: Rule::Source(judge) }
}

const fn target(
    name: &'static str,
    holds: &'static str,
    unless: &'static str,
    asks: fn(&Facts<'_>) -> bool,
    judge: fn(&Facts<'_>, &TargetVm) -> Vec<Judgement>,
) -> Check {
    Check { name, holds, unless, essential: false, rule: Rule::Target { asks, judge } }
}

fn always(_: &Facts<'_>) -> bool {
    true
}

/// The same reasons in more than one row.
const NO_SIDE: &str = "a side does not tell";
const NO_PAIR: &str = "the disk has no counterpart";
const NO_MODE: &str = "the disk has no counterpart, or the StorageProfile could not be read";
const OFF: &str = "the VM is off";
const COPIED: &str = "OpenShift: the source's own template is copied";
const UNREAD: &str = "Plan or Migration could not be read";

/// Every check.
pub const CONTRACT: &[Check] = &[
    source("target-exists", "the migrated VM exists", "it could not be read", power::target_exists).essential(),
    source(
        "source-power",
        "the source VM is off, and (oVirt) nobody powered it off by force during the migration",
        "its power or the engine's events could not be read",
        power::source_power,
    ),
    target(
        "power",
        "`target_power_state` of the VM, else of the scenario, else `source_vm_power`, else as before; a Windows VM that \
         is not asked to be off runs from MTV 2.12 on, unless `feature_windows_wait_for_reboot` of the ForkliftController \
         is off",
        "the source was neither on nor off; a Windows VM was off and the MTV version is unknown",
        always,
        power::target_power,
    ),
    target(
        "run-strategy",
        "`runStrategy` keeps the VM as `power` wants it (`Always`, `Halted`), or the older `running` does",
        "as for `power`",
        always,
        scheduling::run_strategy,
    ),
    target(
        "identity",
        "name by the Plan, else the source's by MTV's naming rule; the target namespace; the labels `migration`, `plan` \
         and `vmID` of this run",
        UNREAD,
        always,
        written::identity::identity,
    )
    .essential(),
    target(
        "instance-type",
        "no instance type, no templates of DataVolumes, no host name, probe or credentials that nobody asked for",
        COPIED,
        always,
        domain::instance_type,
    ),
    target("cpu", "same sockets, cores and threads", NO_SIDE, always, hardware::cpu),
    target(
        "cpu-model",
        "no CPU model but the host's, no features (vSphere: nested virtualization may be kept), pinning or NUMA (oVirt's own \
         come along); `vmx` and `svm` as `enable_nested_virtualization` of the scenario says",
        COPIED,
        always,
        domain::cpu_model,
    ),
    target("memory", "same MiB", NO_SIDE, always, hardware::memory),
    target(
        "memory-limits",
        "no limits, no huge pages, no request but the guest's memory",
        COPIED,
        always,
        domain::memory_limits,
    ),
    target("firmware", "same kind, secure boot and TPM", NO_SIDE, always, hardware::firmware),
    target(
        "features",
        "SMM where secure boot is on; enlightenments for Windows alone",
        COPIED,
        always,
        domain::features,
    ),
    target(
        "machine-type",
        "q35 (or the architecture's own), nothing confidential",
        COPIED,
        always,
        domain::machine_type,
    ),
    target("clock", "vSphere: UTC; oVirt: a zone; else none or UTC", COPIED, always, domain::clock),
    target("system-uuid", "oVirt: the VM's id; else KubeVirt's own", COPIED, always, domain::system_uuid),
    target(
        "devices",
        "a tablet for input, graphics, a TPM that is persistent; no device that nobody asked for",
        COPIED,
        always,
        devices::others,
    ),
    target(
        "serial",
        "vSphere: the UUID; oVirt and OVA: the VM's own; EC2: the instance's id. On vSphere from OpenShift 4.20 and MTV \
         2.10 in VMware's form, unless `feature_vmware_system_serial_number` is off",
        "UUID or versions unknown",
        hardware::serial_applies,
        hardware::serial,
    ),
    target(
        "network",
        "each source NIC, found by its MAC, is on the network that the NetworkMap says (of several rows of one network each \
         NIC on another's NAD); by order where the source tells no MAC (OVA)",
        "a NIC of the migrated VM tells no MAC; from OpenShift, a NIC that changes between pod and Multus network",
        always,
        network::network,
    ),
    target(
        "nic-devices",
        "names and MACs that differ, each NIC with one network and each network with one NIC; model (oVirt, OpenStack: as \
         the source's is turned into); masquerade on the pod network and bridge elsewhere; link up; the source's order (not \
         OpenStack, whose NICs come out of a map)",
        COPIED,
        always,
        devices::nics,
    ),
    target("disk-count", "as many disks as the source", "", always, storage::disk_count).essential(),
    target("disk-size", "no disk is smaller than its source", NO_PAIR, always, storage::disk_size),
    target(
        "disk-order",
        "disks in MTV's order (bus, controller, unit)",
        "the PVCs do not tell their source",
        always,
        storage::disk_order,
    ),
    target(
        "disk-devices",
        "each disk with one volume and each volume with one disk; bus (oVirt, OpenStack: as the source's is turned into); \
         serial; boot order; not shared, read-only, LUN or CD-ROM",
        COPIED,
        always,
        devices::disks,
    ),
    target(
        "disk-source",
        "each claim names a disk of this source VM, each another, at its index",
        "the claims tell no source",
        always,
        claims::disk_source,
    ),
    target(
        "claims",
        "each disk's claim is this migration's by its labels, owned by the VM, bound, to a volume of its own, in its \
         namespace",
        UNREAD,
        always,
        claims::claims,
    ),
    target("storage-class", "the class of the StorageMap's row, as created", NO_PAIR, always, storage::storage_class),
    target("access-mode", "the row's access mode, else the StorageProfile's", NO_MODE, always, storage::access_mode),
    target("volume-mode", "the row's volume mode, else the StorageProfile's", NO_MODE, always, storage::volume_mode),
    target(
        "copy-offload",
        "the populator of each disk ended well, and its log, its status (MTV 2.12 and later) and the migration's task say the \
         same of who copied it: the array as the scenario expects, by the method, for the vendor and on the host that were \
         asked for; what is not told fails",
        "",
        offload::asked,
        offload::proven,
    ),
    target(
        "pvc-names",
        "the rendered `pvc_name_template`: exact; or, with generated names, its first 58 characters; MTV's built-in name \
         where the rendering is no DNS label of at most 63 characters",
        "the template uses a variable that a runner cannot know, or that MTV fills in for another platform only",
        pvc_names::applies,
        pvc_names::pvc_names,
    ),
    target(
        "guest-agent",
        "KubeVirt's `AgentConnected`, where the scenario asks for an agent or the source had its tools running",
        "the VM is off; or no agent came, and none was owed",
        always,
        guest::agent,
    ),
    target(
        "ssh-login",
        "a login with the profile's guest user through KubeVirt's port-forward",
        "the VM is off, or no credentials are given",
        always,
        guest::ssh_login,
    ),
    target(
        "static-ip",
        "each static address of the source is there, static, with prefix and gateway (Linux and Windows); no default \
         gateway is lost or gained",
        "no address was known before, or nobody can tell now",
        guest::static_ip_applies,
        guest::static_ip,
    ),
    target(
        "dns",
        "each DNS server of a source NIC with a static address is asked by the migrated guest, too",
        "no DNS server was known before, nobody can log in, a local resolver stands before the servers, or the address \
         is not static any more",
        guest::static_ip_applies,
        guest::dns,
    ),
    target("node-placement", "the VM runs on the labelled worker", OFF, placement::node_applies, placement::node),
    target(
        "scheduling",
        "node selector as the Plan says and nothing beside it; no affinity, toleration or scheduler that nobody asked for",
        COPIED,
        always,
        scheduling::scheduling,
    ),
    target(
        "instance",
        "a running VM has an instance that is its own, is not paused, has all that its template says with every volume \
         attached, and tells the same MACs",
        OFF,
        always,
        instance::instance,
    ),
    target(
        "live-migration",
        "a running VM all of whose claims are `ReadWriteMany` can be migrated live (`LiveMigratable`)",
        "the VM is off; what the cluster's nodes, a TPM's or EFI's state or a NIC's binding decide; the instance does not \
         tell",
        always,
        instance::live_migration,
    ),
    target(
        "guest-os",
        "the guest agent tells a system of the source's kind",
        "no agent tells",
        always,
        instance::guest_os,
    ),
    target(
        "labels",
        "each `target_labels` entry is on the VM's template",
        "",
        placement::labels_apply,
        placement::labels,
    ),
    target(
        "affinity",
        "`target_affinity` is in the template; fields that the API adds do not count",
        "",
        placement::affinity_applies,
        placement::affinity,
    ),
    source(
        "provider-tls",
        "the Provider's Secret says what was configured, and so does its condition `ConnectionInsecure` on vSphere, oVirt \
         and Hyper-V, the platforms that have it",
        "the Secret could not be read",
        provider::tls,
    ),
    source(
        "snapshots",
        "the same snapshots as before, and none of MTV's own; where MTV removes them after *Succeeded* (oVirt, warm) they \
         get `timeouts.snapshot_removal`",
        "the platform tells no snapshots",
        snapshots::snapshots,
    ),
    source(
        "source-kept",
        "the source VM is still there, with its CPUs, memory, firmware, disks, and NICs (MAC, network, whether they are \
         connected)",
        "it could not be read",
        written::source::kept,
    ),
    target(
        "plan-kept",
        "Plan and Migration are still what was sent, and what was not sent is what MTV's definition fills in",
        UNREAD,
        always,
        migration::plan_kept,
    ),
    target(
        "migration-status",
        "Plan and Migration say Succeeded and nothing critical, agree, and each step and task of the VM is done, each \
         disk to its last byte; a live migration has its own steps and copies no disk",
        UNREAD,
        migration::succeeds,
        migration::status,
    )
    .essential(),
    target(
        "hooks",
        "each asked hook is one step, before or after the disk transfer, with the playbook that was sent; no other",
        UNREAD,
        migration::succeeds,
        migration::hooks,
    ),
    target(
        "precopies",
        "as many successful precopies as asked (at least one), none failed; from the third on each an interval \
         (`snapshots_interval`) after the one before it ended, unless the cutover came first",
        UNREAD,
        migration::is_warm,
        migration::precopies,
    ),
    target(
        "cutover",
        "cut over at the time that was asked for: not before it, and within 5 minutes of it and of the precopy that ran \
         then; the passed finding tells how long the VM was down",
        UNREAD,
        migration::is_warm,
        migration::cutover,
    ),
    target("twins", "no second VM of this source VM and migration", "they could not be listed", always, left::twins),
    target(
        "left-behind",
        "no claim without a disk, no pod that still runs, no DataVolume that has not succeeded, no Secret or ConfigMap of this \
         VM's transfer",
        "they could not be listed",
        always,
        left::left,
    ),
    step(
        "boot",
        "a migrated VM that was off runs when it is started (step `boot`; what its guest and its instance tell then is judged by \
         their rows)",
        "the VM runs already, or `boot` is switched off",
    ),
    step(
        "marker",
        "a file that was written into the source's guest reads the same in the migrated one (steps `write-marker`, \
         `read-marker`); where the platform can't write one, the step's command finds what was there",
        "it could not be written or nobody could log in; the platform can't write one, and the step has no command; or the \
         VM is off, and `boot` is switched off",
    ),
    step(
        "shared-data",
        "what one VM writes on a disk that several share, the others read there (step `share-data`)",
        "nobody could log in; the disk of a Windows has no name (step `label-disk`); or the VM is off, and `boot` is switched off",
    ),
];
