//! What a platform can do, in one table, and the reasons for a skip that follow from it.

use crate::config::{Platform, PlatformConfig, ProviderProfile, Scenario};

/// Something that a scenario may need of a platform.
struct Capability {
    needed: fn(&Scenario) -> bool,
    platforms: &'static [Platform],
    words: &'static str,
}

/// MTV's own limits, by platform.
const CAPABILITIES: &[Capability] = &[
    Capability {
        needed: |s| s.warm_migration,
        platforms: &[Platform::Vsphere, Platform::Ovirt],
        words: "warm migration",
    },
    Capability {
        needed: |s| !s.target_labels.is_empty() || !s.target_node_selector.is_empty() || s.target_affinity.is_some(),
        platforms: &[
            Platform::Vsphere,
            Platform::Ovirt,
            Platform::Openstack,
            Platform::Ova,
            Platform::Hyperv,
            Platform::Ec2,
        ],
        words: "target labels, node selector and affinity: the source VM's own template replaces them",
    },
    Capability { needed: |s| s.copyoffload, platforms: &[Platform::Vsphere], words: "copy-offload" },
    Capability {
        needed: |s| s.virtual_machines.iter().any(|v| v.snapshots > 0),
        platforms: &[Platform::Vsphere],
        words: "migration of snapshots",
    },
];

/// Platforms whose driver is in this version.
const DRIVERS: &[Platform] = &[Platform::Vsphere, Platform::Openstack, Platform::Openshift];

/// Why this profile can't run this scenario, if it can't.
pub fn reason_against(profile: &ProviderProfile, scenario: &Scenario) -> Option<String> {
    let platform = profile.platform;
    let wanted = &scenario.requires.platforms;
    if !wanted.is_empty() && !wanted.contains(&platform) {
        let names: Vec<&str> = wanted.iter().map(|p| p.name()).collect();
        return Some(format!("the scenario is for {} only", names.join(", ")));
    }
    if let Some(missing) = CAPABILITIES.iter().find(|c| (c.needed)(scenario) && !c.platforms.contains(&platform)) {
        return Some(format!("{platform} does not support {}", missing.words));
    }
    if scenario.copyoffload && !matches!(&profile.config, PlatformConfig::Vsphere(v) if v.copyoffload.is_some()) {
        return Some(format!("profile `{}` has no copyoffload section", profile.name));
    }
    if !DRIVERS.contains(&platform) {
        return Some(format!("{platform} has no driver yet in this version"));
    }
    // An ordinary migration under the name of a copy-offload scenario would be a false pass.
    if scenario.copyoffload {
        return Some("copy-offload is not built yet in this version".to_owned());
    }
    None
}
