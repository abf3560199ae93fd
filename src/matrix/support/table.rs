//! The support table. Sources: forklift.md §4.5 (types), §6.4 (PVC names), §7 (target VMs), §9.2
//! (flags), §10 (releases).

use super::Support::{AsItIs, Gated, Lost, LostBefore, No, Since, Yes};
use super::{Capability, Gate};
use crate::config::scenarios::CaKey;
use crate::config::steps::Step;
use crate::config::{Platform, PowerState, ScenarioVm};

/// Columns of the table.
pub const PLATFORMS: [Platform; 7] = [
    Platform::Vsphere,
    Platform::Ovirt,
    Platform::Openstack,
    Platform::Openshift,
    Platform::Ova,
    Platform::Hyperv,
    Platform::Ec2,
];

const VSPHERE_WARM: Gate = Gate { key: "controller_vsphere_incremental_backup", on_since: "2.0" };
const OVIRT_WARM: Gate = Gate { key: "controller_ovirt_warm_migration", on_since: "2.0" };
const COPY_OFFLOAD: Gate = Gate { key: "feature_copy_offload", on_since: "2.11" };
const LIVE: Gate = Gate { key: "feature_ocp_live_migration", on_since: "2.11" };

const NO_WARM: &str = "MTV copies VMs of this platform only while they are off";
const OFFLOAD: &str = "the storage arrays that MTV offloads to are vSphere's";
const NOT_INSPECTED: &str = "MTV inspects VMs of vSphere only";
const ONLY_LIVE: &str = "MTV migrates live between OpenShift clusters only";
const NO_CLONE: &str = "its VMs can't be cloned, so the VM that the scenario names is migrated as it is";
const CLONES: &str = "only clones are migrated here, never the VM itself";
const DNS_NAMES: &str = "a cluster's VM has a DNS name in any case";
const VSPHERE_DISKS: &str = "shaping the disks of a clone is not built for this platform";
const VSPHERE_BUSES: &str = "choosing the controller of an added disk is built for vSphere only";
const VSPHERE_HOSTS: &str = "choosing the hosts of clones is built for vSphere only";
const VSPHERE_SHARES: &str = "MTV knows shared disks of vSphere only";
const VSPHERE_ADDS: &str = "adding a disk to a VM that is there already is built for vSphere only";
const VSPHERE_SNAPSHOTS: &str = "making snapshots before a migration is built for vSphere and oVirt only";
const A_FILE: &str = "an OVA is a file and does not run";
const AS_FOUND: &str =
    "nobody here can switch the VM: it must be on already when the cell begins, else the cell is skipped";
const VSPHERE_NICS: &str = "adding a NIC to a clone is built for vSphere only";
const NOT_CONVERTED: &str = "virt-v2v does not convert VMs of this platform";
const VSPHERE_RAW: &str = "judging disks that were not converted is built for vSphere only";
const ONLY_VSPHERES_KEYS: &str = "only profiles of vSphere have a `luks_passphrase`";
/// 2.10.6 has it, too, and 2.11.0 not.
const NESTED: &str = "2.11.1";
const NO_TLS: &str = "there is nothing to verify";
const UNSEEN: &str = "its VMs are known by MTV's inventory alone";
const NO_ADDRESSES: &str = "an OVF does not tell the guest's addresses";
const AWS_ADDRESSES: &str = "addresses of a VPC's subnet mean nothing outside of it";
const NO_PRE_HOOK: &str = "MTV does not run pre-hooks for EC2";
const TEMPLATE_SOURCE: &str =
    "MTV gives the migrated VM the template of its source, and what the Plan adds to it is lost";
const TEMPLATE_NEW: &str = "MTV builds the template anew for EC2, and what the Plan adds to it is lost";
const PVC_NAMES: &str = "MTV up to 2.12 applies the template to disks of vSphere and OpenShift only";

fn vms(scenario: &crate::config::Scenario, test: impl Fn(&ScenarioVm) -> bool) -> bool {
    scenario.virtual_machines.iter().any(test)
}

fn touches_the_source(step: &Step) -> bool {
    match step {
        Step::Power(_) | Step::Snapshot(_) => true,
        Step::Expect(expect) => expect.source.is_some(),
        _ => false,
    }
}

const fn all(support: super::Support) -> [super::Support; PLATFORMS.len()] {
    [support; PLATFORMS.len()]
}

/// The rows. In each: vsphere, ovirt, openstack, openshift, ova, hyperv, ec2.
pub const TABLE: &[Capability] = &[
    Capability {
        name: "cold migration",
        needed: |s| !s.live_migration && s.parts().iter().any(|part| !part.scenario.warm_migration),
        checks: &[],
        // OVA since 2.9, because the run names the migrated VM (`targetName`).
        by: [Yes, Yes, Yes, Yes, Since("2.9"), Since("2.11"), Since("2.11")],
    },
    Capability {
        name: "warm migration",
        needed: |s| s.has_warm(),
        checks: &[],
        by: [
            Gated("2.0", VSPHERE_WARM),
            Gated("2.0", OVIRT_WARM),
            No(NO_WARM),
            No(NO_WARM),
            No(A_FILE),
            No(NO_WARM),
            No(NO_WARM),
        ],
    },
    Capability {
        name: "live migration",
        needed: |s| s.live_migration,
        checks: &[],
        by: [
            No(ONLY_LIVE),
            No(ONLY_LIVE),
            No(ONLY_LIVE),
            Gated("2.10", LIVE),
            No(ONLY_LIVE),
            No(ONLY_LIVE),
            No(ONLY_LIVE),
        ],
    },
    Capability {
        name: "copy-offload",
        needed: |s| s.parts().iter().any(|part| part.scenario.copyoffload),
        checks: &[],
        by: [Gated("2.9", COPY_OFFLOAD), No(OFFLOAD), No(OFFLOAD), No(OFFLOAD), No(OFFLOAD), No(OFFLOAD), No(OFFLOAD)],
    },
    Capability {
        name: "ESXi hosts set aside for copy-offload",
        needed: |s| !s.offload.migration_hosts.is_empty(),
        checks: &[],
        by: [
            // An older MTV drops the key of the map without a word.
            Since("2.13"),
            No(OFFLOAD),
            No(OFFLOAD),
            No(OFFLOAD),
            No(OFFLOAD),
            No(OFFLOAD),
            No(OFFLOAD),
        ],
    },
    Capability {
        name: "an inspection by itself",
        needed: |s| s.steps.iter().flatten().any(|step| matches!(step, Step::Inspect(_))),
        checks: &[],
        by: [
            Since("2.12"),
            No(NOT_INSPECTED),
            No(NOT_INSPECTED),
            No(NOT_INSPECTED),
            No(NOT_INSPECTED),
            No(NOT_INSPECTED),
            No(NOT_INSPECTED),
        ],
    },
    Capability {
        name: "skip_clone",
        needed: |s| s.skip_clone,
        checks: &[],
        by: [No(CLONES), No(CLONES), No(CLONES), No(CLONES), Yes, Yes, Yes],
    },
    Capability {
        name: "a renamed clone",
        needed: |s| vms(s, |vm| vm.preserve_name_format),
        checks: &[],
        by: [Yes, Yes, Yes, No(DNS_NAMES), No(NO_CLONE), No(NO_CLONE), No(NO_CLONE)],
    },
    Capability {
        name: "added disks or another storage",
        needed: |s| vms(s, |vm| !vm.add_disks.is_empty() || vm.target_datastore_id.is_some()),
        checks: &[],
        by: [Yes, Yes, Yes, No(VSPHERE_DISKS), No(NO_CLONE), No(NO_CLONE), No(NO_CLONE)],
    },
    Capability {
        name: "added disks on a controller of their own",
        needed: |s| vms(s, |vm| vm.add_disks.iter().any(|disk| disk.controller.is_some())),
        checks: &[],
        by: [Yes, No(VSPHERE_BUSES), No(VSPHERE_BUSES), No(VSPHERE_DISKS), No(NO_CLONE), No(NO_CLONE), No(NO_CLONE)],
    },
    Capability {
        name: "a disk type",
        needed: |s| vms(s, |vm| vm.disk_type.is_some()),
        checks: &[],
        by: [Yes, Yes, No(VSPHERE_DISKS), No(VSPHERE_DISKS), No(NO_CLONE), No(NO_CLONE), No(NO_CLONE)],
    },
    Capability {
        name: "clones on chosen hosts",
        needed: |s| {
            let whole = s.clone_to_same_host || s.pin_to_non_dedicated_host || s.disable_drs_for_vms;
            whole || vms(s, |vm| vm.target_esxi_host.is_some())
        },
        checks: &[],
        by: [Yes, No(VSPHERE_HOSTS), No(VSPHERE_HOSTS), No(VSPHERE_HOSTS), No(NO_CLONE), No(NO_CLONE), No(NO_CLONE)],
    },
    Capability {
        name: "disks that VMs share",
        needed: |s| vms(s, |vm| vm.migrate_shared_disks.is_some()),
        checks: &[],
        by: [
            Since("2.11"),
            No(VSPHERE_SHARES),
            No(VSPHERE_SHARES),
            No(VSPHERE_SHARES),
            No(NO_CLONE),
            No(NO_CLONE),
            No(NO_CLONE),
        ],
    },
    Capability {
        name: "an added NIC",
        needed: |s| vms(s, |vm| vm.add_nic),
        checks: &[],
        by: [Yes, No(VSPHERE_NICS), No(VSPHERE_NICS), No(VSPHERE_NICS), No(NO_CLONE), No(NO_CLONE), No(NO_CLONE)],
    },
    Capability {
        name: "an encrypted disk (LUKS)",
        needed: |s| vms(s, |vm| vm.luks),
        checks: &[],
        // virt-v2v opens it; where it does not convert nobody does.
        by: [
            Yes,
            No(NOT_CONVERTED),
            No(NOT_CONVERTED),
            No(NOT_CONVERTED),
            No(ONLY_VSPHERES_KEYS),
            No(ONLY_VSPHERES_KEYS),
            No(ONLY_VSPHERES_KEYS),
        ],
    },
    Capability {
        name: "snapshots made before migration",
        needed: |s| {
            vms(s, |vm| vm.snapshots > 0) || s.steps.iter().flatten().any(|step| matches!(step, Step::Snapshot(_)))
        },
        checks: &[],
        by: [Yes, Yes, No(VSPHERE_SNAPSHOTS), No(VSPHERE_SNAPSHOTS), No(NO_CLONE), No(NO_CLONE), No(NO_CLONE)],
    },
    Capability {
        name: "a disk added by a step",
        needed: |s| s.steps.iter().flatten().any(|step| matches!(step, Step::AddDisk(_))),
        checks: &[],
        by: [Yes, No(VSPHERE_ADDS), No(VSPHERE_ADDS), No(VSPHERE_ADDS), No(NO_CLONE), No(NO_CLONE), No(NO_CLONE)],
    },
    Capability {
        name: "a running source VM",
        needed: |s| vms(s, |vm| vm.source_vm_power == Some(PowerState::On)),
        checks: &[],
        by: [Yes, Yes, Yes, Yes, No(A_FILE), AsItIs(AS_FOUND), AsItIs(AS_FOUND)],
    },
    Capability {
        name: "steps that switch or judge source VMs",
        needed: |s| s.steps.iter().flatten().any(touches_the_source),
        checks: &[],
        by: [Yes, Yes, Yes, Yes, No(UNSEEN), No(UNSEEN), No(UNSEEN)],
    },
    Capability {
        name: "static IPs",
        needed: |s| s.preserve_static_ips,
        checks: &[],
        by: [Yes, Yes, Yes, Yes, No(NO_ADDRESSES), Yes, No(AWS_ADDRESSES)],
    },
    Capability {
        name: "a pre-hook",
        needed: |s| s.pre_hook.is_some(),
        checks: &[],
        by: [Yes, Yes, Yes, Yes, Yes, Yes, No(NO_PRE_HOOK)],
    },
    Capability { name: "a post-hook", needed: |s| s.post_hook.is_some(), checks: &[], by: all(Yes) },
    Capability {
        name: "a hook of the Automation Platform",
        needed: |s| [&s.pre_hook, &s.post_hook].into_iter().flatten().any(|h| h.aap_job_template_id.is_some()),
        checks: &[],
        by: all(Since("2.12")),
    },
    Capability {
        name: "per_nic_network_map",
        needed: |s| s.per_nic_network_map == Some(true),
        checks: &[],
        by: all(Since(super::SHARED_ROWS)),
    },
    Capability {
        name: "target_power_state",
        needed: |s| s.target_power_state.is_some() || vms(s, |vm| vm.target_power_state.is_some()),
        checks: &[],
        by: all(Since("2.10")),
    },
    Capability {
        name: "run_preflight_inspection",
        needed: |s| s.run_preflight_inspection.is_some(),
        checks: &[],
        by: all(Since("2.10")),
    },
    Capability {
        name: "enable_nested_virtualization",
        needed: |s| s.enable_nested_virtualization.is_some(),
        checks: &["cpu-model"],
        by: [
            Since(NESTED),
            Since(NESTED),
            Since(NESTED),
            No(TEMPLATE_SOURCE),
            Since(NESTED),
            Since(NESTED),
            Since(NESTED),
        ],
    },
    Capability {
        name: "skip_guest_conversion",
        needed: |s| s.skip_guest_conversion,
        checks: &[],
        by: [
            Since("2.9"),
            No(NOT_CONVERTED),
            No(NOT_CONVERTED),
            No(NOT_CONVERTED),
            No(VSPHERE_RAW),
            No(VSPHERE_RAW),
            No(VSPHERE_RAW),
        ],
    },
    Capability {
        name: "xfs_compatibility",
        needed: |s| s.xfs_compatibility == Some(true),
        checks: &[],
        by: [
            Since("2.11.1"),
            No(NOT_CONVERTED),
            No(NOT_CONVERTED),
            No(NOT_CONVERTED),
            Since("2.11.1"),
            Since("2.11.1"),
            Since("2.11.1"),
        ],
    },
    Capability {
        name: "a Provider of the scenario's own",
        needed: |s| s.provider_tls.is_some(),
        checks: &[],
        by: [Yes, Yes, Yes, Yes, No(NO_TLS), Yes, No(NO_TLS)],
    },
    Capability {
        name: "a destination of few rights",
        needed: |s| s.limited_destination.is_some(),
        checks: &[],
        by: all(Yes),
    },
    Capability {
        name: "a CA under `ca.crt`",
        needed: |s| s.provider_tls.is_some_and(|tls| tls.ca_key == CaKey::CaCrt),
        checks: &[],
        // 2.11.7 still asks for `cacert` (pkg/controller/provider/validation.go).
        by: all(Since("2.12")),
    },
    Capability {
        name: "target_labels",
        needed: |s| !s.target_labels.is_empty(),
        checks: &["labels"],
        by: [
            Since("2.10"),
            Since("2.10"),
            Since("2.10"),
            No(TEMPLATE_SOURCE),
            Since("2.10"),
            Since("2.10"),
            Lost(TEMPLATE_NEW),
        ],
    },
    Capability {
        name: "target_node_selector",
        needed: |s| !s.target_node_selector.is_empty(),
        checks: &["node-placement"],
        by: [
            Since("2.10"),
            Since("2.10"),
            Since("2.10"),
            No(TEMPLATE_SOURCE),
            Since("2.10"),
            Since("2.10"),
            Lost(TEMPLATE_NEW),
        ],
    },
    Capability {
        name: "target_affinity",
        needed: |s| s.target_affinity.is_some(),
        checks: &["affinity"],
        by: [
            Since("2.10"),
            Since("2.10"),
            Since("2.10"),
            No(TEMPLATE_SOURCE),
            Since("2.10"),
            Since("2.10"),
            Lost(TEMPLATE_NEW),
        ],
    },
    Capability {
        name: "pvc_name_template",
        needed: |s| s.pvc_name_template.is_some(),
        checks: &["pvc-names"],
        by: [
            Since("2.8"),
            LostBefore("2.13", PVC_NAMES),
            LostBefore("2.13", PVC_NAMES),
            Since("2.11"),
            LostBefore("2.13", PVC_NAMES),
            LostBefore("2.13", PVC_NAMES),
            LostBefore("2.13", PVC_NAMES),
        ],
    },
];
