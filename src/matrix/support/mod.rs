//! What a platform can do: one table, and every skip and *not judged* that follows from it.
//!
//! MTV's own limits, those of its releases, and those of this tool. Flags of the ForkliftController
//! can only be judged once a cluster is connected ([`decide_gates`]); everything else is decided
//! before anything is touched.

use std::collections::BTreeMap;

use secrecy::SecretString;

use super::{Cell, Decision};
use crate::api::version::Version;
use crate::config::scenarios::Destination;
use crate::config::{Copyoffload, Platform, PlatformConfig, ProviderProfile, Scenario, ScenarioVm};

mod table;

pub use table::{PLATFORMS, TABLE};

/// A flag of the ForkliftController that something hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    /// Key in `spec` of the ForkliftController.
    pub key: &'static str,
    /// First MTV in which it is on where nothing is said.
    pub on_since: &'static str,
}

impl Gate {
    /// Whether it is on: as `flags` (every key of the ForkliftController's `spec` that reads as a
    /// boolean) say, else by the default of this MTV.
    pub fn is_on(&self, flags: &BTreeMap<String, bool>, mtv_version: &str) -> bool {
        flags.get(self.key).copied().unwrap_or_else(|| Version::parse(mtv_version) >= Version::parse(self.on_since))
    }
    /// [`Self::is_on`], but never before the version that brought it: an older MTV keeps a key that it does not
    /// know, and does nothing.
    pub fn acts(&self, flags: &BTreeMap<String, bool>, mtv_version: &str) -> bool {
        Version::parse(mtv_version) >= Version::parse(self.on_since) && self.is_on(flags, mtv_version)
    }
}

/// MTV starts a migrated Windows VM, whatever its source's power, and waits until its guest has come
/// through the reboots that finish the conversion; unless the Plan wants it off
/// (`determineRunStrategy`, `pkg/controller/plan/kubevirt.go`; settings `FEATURE_WINDOWS_WAIT_FOR_REBOOT`).
pub const WINDOWS_REBOOT: Gate = Gate { key: "feature_windows_wait_for_reboot", on_since: "2.12" };

/// MTV writes the serial of a vSphere VM in VMware's own form, on an OpenShift that takes it
/// (`pkg/controller/plan/adapter/vsphere/builder.go`; settings `FEATURE_VMWARE_SYSTEM_SERIAL_NUMBER`).
pub const VMWARE_SERIAL: Gate = Gate { key: "feature_vmware_system_serial_number", on_since: "2.10" };

/// The MTV since which the rows of one source network are shared out among a VM's NICs.
pub const SHARED_ROWS: &str = "2.11.1";

/// The MTV since which a Hyper-V Provider's URL is the host; before, it is the share.
pub const HYPERV_HOST: &str = "2.12";

/// How far a platform supports something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    Yes,
    /// From this MTV on.
    Since(&'static str),
    /// From this MTV on, while a flag is on: judged at run time.
    Gated(&'static str, Gate),
    /// The migration runs, but MTV does not carry it over: its checks are *not judged*, because …
    Lost(&'static str),
    /// Likewise, before this MTV.
    LostBefore(&'static str, &'static str),
    /// The source VM must be so already: judged when it is read.
    AsItIs(&'static str),
    /// The cell is skipped, because …
    No(&'static str),
}

impl Support {
    /// One word for a grid.
    pub fn word(self) -> String {
        match self {
            Self::Yes => "yes".to_owned(),
            Self::Since(version) => format!("{version}+"),
            Self::Gated(..) => "gate".to_owned(),
            Self::Lost(_) | Self::LostBefore(..) => "lost".to_owned(),
            Self::AsItIs(_) => "as is".to_owned(),
            Self::No(_) => "no".to_owned(),
        }
    }
    /// The reason or the condition, where there is one.
    pub fn why(self) -> Option<String> {
        match self {
            Self::Yes | Self::Since(_) => None,
            Self::Gated(since, gate) => Some(format!(
                "since MTV {since}, while spec.{} of the ForkliftController is on (the default from {}); judged at run time",
                gate.key, gate.on_since
            )),
            Self::Lost(why) | Self::LostBefore(_, why) | Self::AsItIs(why) | Self::No(why) => Some(why.to_owned()),
        }
    }
}

/// Something that a scenario may need of a platform.
pub struct Capability {
    pub name: &'static str,
    needed: fn(&Scenario) -> bool,
    /// Checks that can't be judged where it is lost.
    checks: &'static [&'static str],
    /// In the order of [`PLATFORMS`].
    by: [Support; PLATFORMS.len()],
}

impl Capability {
    pub fn on(&self, platform: Platform) -> Support {
        let position = PLATFORMS.iter().position(|known| *known == platform).unwrap_or_default();
        self.by[position]
    }
    /// The name in a sentence: keys of a scenario are set off.
    fn words(&self) -> String {
        if self.name.contains('_') { format!("`{}`", self.name) } else { self.name.to_owned() }
    }
}

/// What of the table a scenario needs.
fn needed_by(scenario: &Scenario) -> impl Iterator<Item = &'static Capability> {
    TABLE.iter().filter(|capability| (capability.needed)(scenario))
}

/// Why no profile of this platform can run this scenario, if none can.
pub fn reason_on(platform: Platform, scenario: &Scenario) -> Option<String> {
    let wanted = &scenario.requires.platforms;
    if !wanted.is_empty() && !wanted.contains(&platform) {
        let names: Vec<&str> = wanted.iter().map(|p| p.name()).collect();
        return Some(format!("the scenario is for {} only", names.join(", ")));
    }
    if let Some(first) = scenario.not_built.first() {
        return Some(first.clone());
    }
    needed_by(scenario).find_map(|capability| match capability.on(platform) {
        Support::No(why) => Some(format!("{platform} does not support {}: {why}", capability.words())),
        _ => None,
    })
}

/// The first MTV that can run this scenario with this platform; `None`: any.
pub fn since(platform: Platform, scenario: &Scenario) -> Option<Version> {
    let by_capability = needed_by(scenario).filter_map(|capability| match capability.on(platform) {
        Support::Since(since) | Support::Gated(since, _) => Version::parse(since),
        _ => None,
    });
    by_capability.chain(scenario.requires.min_mtv_version.as_deref().and_then(Version::parse)).max()
}

/// Why this profile can't run this scenario, if it can't.
pub fn reason_against(profile: &ProviderProfile, scenario: &Scenario) -> Option<String> {
    if let Some(reason) = reason_on(profile.platform, scenario) {
        return Some(reason);
    }
    if matches!(&profile.config, PlatformConfig::Vsphere(v) if v.esxi && v.cloner.is_none()) {
        return Some(
            "an ESXi host addressed directly can't clone VMs, and no vCenter is named by `clone_provider`".to_owned(),
        );
    }
    let own_cluster = profile.platform == Platform::Openshift && profile.api_url.is_empty();
    if scenario.live_migration && own_cluster && scenario.destination == Destination::Local {
        return Some("a VM moves live to another cluster, and this profile is the one that it would go to".to_owned());
    }
    let lacks_key = |vm: &&ScenarioVm| vm.luks && passphrase(profile, vm).is_none();
    if let Some(vm) = scenario.virtual_machines.iter().find(lacks_key) {
        return Some(format!(
            "no `luks_passphrase` is given for VM `{}`, in profile `{}` or for it alone",
            vm.name, profile.name
        ));
    }
    if scenario.copyoffload {
        return match offload_section(profile) {
            None => Some(format!("profile `{}` has no copyoffload section", profile.name)),
            Some(section) => lacks_for_offload(section, scenario),
        };
    }
    None
}

/// The copy-offload section of a profile.
pub fn offload_section(profile: &ProviderProfile) -> Option<&Copyoffload> {
    match &profile.config {
        PlatformConfig::Vsphere(config) => config.copyoffload.as_deref(),
        _ => None,
    }
}

/// What this scenario alone asks of the section, and it does not have: everything at once. What every copy-offload
/// scenario needs is looked at when the cell begins, and is no reason to skip it.
fn lacks_for_offload(section: &Copyoffload, scenario: &Scenario) -> Option<String> {
    let disks = scenario.virtual_machines.iter().flat_map(|vm| &vm.add_disks);
    let named = scenario.virtual_machines.iter().filter_map(|vm| vm.target_datastore_id.as_deref());
    let named = named.chain(disks.clone().filter_map(|disk| disk.datastore_id.as_deref()));
    let mut lacks: Vec<&str> =
        named.filter(|word| Copyoffload::is_key(word) && section.datastore(word).is_none()).collect();
    let no_lun = section.rdm_lun_uuid.as_deref().is_none_or(str::is_empty);
    if no_lun && disks.clone().any(|disk| disk.rdm_type.is_some()) {
        lacks.push("rdm_lun_uuid");
    }
    let by_profile = scenario.offload.migration_hosts.iter().any(|host| host == PROFILE_HOSTS);
    if by_profile && section.dedicated_migration_hosts.is_empty() {
        lacks.push("dedicated_migration_hosts");
    }
    lacks.sort_unstable();
    lacks.dedup();
    (!lacks.is_empty()).then(|| format!("the copyoffload section of the profile lacks {}", lacks.join(", ")))
}

/// Stands for the profile's hosts among a scenario's.
pub const PROFILE_HOSTS: &str = "profile";

/// What opens the encrypted disk of a VM: its own passphrase, else its profile's.
pub fn passphrase<'a>(profile: &'a ProviderProfile, vm: &'a ScenarioVm) -> Option<&'a SecretString> {
    let own = match &profile.config {
        PlatformConfig::Vsphere(config) => config.luks_passphrase.as_ref(),
        _ => None,
    };
    vm.luks_passphrase.as_ref().or(own)
}

/// Why the installed MTV is too old for this scenario on this platform, if it is.
pub(super) fn too_old(platform: Platform, scenario: &Scenario, mtv_version: &str) -> Option<String> {
    let have = Version::parse(mtv_version);
    needed_by(scenario).find_map(|capability| {
        let support = capability.on(platform);
        let (Support::Since(since) | Support::Gated(since, _)) = support else { return None };
        // What is everywhere the same is said of MTV, not of the platform.
        let same = support == capability.on(Platform::Vsphere);
        let from = if same { String::new() } else { format!(" from {platform}") };
        let words = capability.words();
        (have < Version::parse(since))
            .then(|| format!("{words}{from} needs MTV {since} or newer, {mtv_version} is installed"))
    })
}

/// Turns *run* into *skip* where a flag of the connected cluster's ForkliftController is off.
/// `flags`: every key of its `spec` that reads as a boolean.
pub fn decide_gates(cells: &mut [Cell], mtv_version: &str, flags: &BTreeMap<String, bool>) {
    for cell in cells.iter_mut().filter(|c| c.decision == Decision::Run) {
        let platform = cell.profile.platform;
        let closed = needed_by(&cell.scenario).find_map(|capability| match capability.on(platform) {
            Support::Gated(_, gate) => {
                let how = if flags.contains_key(gate.key) { "is off" } else { "is not set, which is off" };
                (!gate.is_on(flags, mtv_version)).then(|| {
                    let (words, key) = (capability.words(), gate.key);
                    format!("{words} from {platform} is switched off: `{key}` of the ForkliftController {how}")
                })
            }
            _ => None,
        });
        if let Some(reason) = closed {
            cell.decision = Decision::Skip(reason);
        }
    }
}

/// Why a check says nothing on a platform: MTV does not carry over what it looks at.
pub fn not_judged(check: &str, platform: Platform, mtv_version: Option<&str>) -> Option<&'static str> {
    TABLE.iter().filter(|capability| capability.checks.contains(&check)).find_map(|capability| {
        match capability.on(platform) {
            Support::Lost(why) => Some(why),
            Support::LostBefore(since, why) => {
                let carried = mtv_version.is_some_and(|have| Version::parse(have) >= Version::parse(since));
                (!carried).then_some(why)
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_scenario_alone_asks_of_the_section_is_told_at_once_and_nothing_else() {
        let lacks = |section: serde_json::Value, scenario: serde_json::Value| {
            let mut scenario = scenario;
            scenario["virtual_machines"][0]["name"] = "a".into();
            let section = serde_json::from_value(section).unwrap();
            lacks_for_offload(&section, &serde_json::from_value(scenario).unwrap())
        };
        let asks = serde_json::json!({"offload": {"migration_hosts": ["profile"]}, "virtual_machines": [
            {"target_datastore_id": "non_xcopy_datastore_id", "add_disks": [{"rdm_type": "virtual"}, {"size_gb": 1,
                "datastore_id": "datastore-7"}]}]});
        let empty = serde_json::json!({"rdm_lun_uuid": ""});
        assert_eq!(
            lacks(empty, asks.clone()).as_deref(),
            Some(
                "the copyoffload section of the profile lacks dedicated_migration_hosts, non_xcopy_datastore_id, rdm_lun_uuid"
            )
        );
        let whole = serde_json::json!({"rdm_lun_uuid": "naa.1", "non_xcopy_datastore_id": "datastore-3",
            "dedicated_migration_hosts": ["host-1"]});
        assert_eq!(lacks(whole, asks), None);
        // A key that every such scenario needs is looked at when the cell begins.
        assert_eq!(lacks(serde_json::json!({}), serde_json::json!({"virtual_machines": [{}]})), None);
    }
}
