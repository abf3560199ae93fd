//! OpenShift as MTV sees it (forklift.md §2.3, §2.6, §3.3, §8.7).
//!
//! A source on the run's own cluster is registered by URL and token all the same: a Provider
//! without URL sees nothing beyond its own namespace.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::adapter::{Adapter, CA_KEY, ProviderWiring, SourceRef};
use crate::api::forklift::Ref;
use crate::api::vm::{Mac, Power, SourceVm};
use crate::config::{PlatformConfig, ProviderProfile};

pub(super) struct Openshift;

/// The name that the driver gives the cluster's own network.
const POD: &str = "pod";

/// References by name without repetition, keeping order.
fn distinct(names: impl Iterator<Item = String>) -> Vec<SourceRef> {
    let mut seen: Vec<SourceRef> = Vec::new();
    for name in names {
        if !seen.iter().any(|s| s.name == name) {
            let reference = if name == POD {
                Ref { type_: Some(POD.to_owned()), ..Ref::default() }
            } else {
                Ref::by_name(name.clone())
            };
            seen.push(SourceRef { reference, name });
        }
    }
    seen
}

impl Adapter for Openshift {
    fn wants_ca(&self, _: &ProviderProfile) -> bool {
        true
    }

    fn is_own_cluster(&self, profile: &ProviderProfile) -> bool {
        matches!(&profile.config, PlatformConfig::Openshift(config) if config.token.is_none())
    }

    fn wire(&self, profile: &ProviderProfile, insecure: bool, ca_pem: Option<&str>) -> ProviderWiring {
        let given = match &profile.config {
            PlatformConfig::Openshift(config) => config.token.clone(),
            _ => None,
        };
        let mut secret = BTreeMap::from([
            ("token".to_owned(), given.unwrap_or_else(|| profile.login.password.clone())),
            ("url".to_owned(), profile.api_url.clone().into()),
            ("insecureSkipVerify".to_owned(), insecure.to_string().into()),
        ]);
        if let Some(pem) = ca_pem {
            secret.insert(CA_KEY.to_owned(), pem.to_owned().into());
        }
        ProviderWiring { secret, settings: BTreeMap::new(), url: profile.api_url.clone() }
    }

    fn complete(&self, vm: &Value, live: &SourceVm) -> Result<(), String> {
        let text = |pointer: &str| vm.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let id = if text("/uid").is_empty() { text("/id") } else { text("/uid") };
        if id != live.id {
            return Err(format!("the inventory knows it as {id}, the cluster as {}", live.id));
        }
        let list = |pointer: &str| vm.pointer(pointer).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let volumes = list("/object/spec/template/spec/volumes");
        let claimed =
            volumes.iter().filter(|v| v.get("persistentVolumeClaim").is_some() || v.get("dataVolume").is_some());
        let claimed = claimed.count();
        if claimed != live.disks.len() {
            return Err(format!("the inventory shows {claimed} disks, the cluster {}", live.disks.len()));
        }
        let interfaces = list("/object/spec/template/spec/domain/devices/interfaces");
        if interfaces.len() != live.nics.len() {
            return Err(format!("the inventory shows {} NICs, the cluster {}", interfaces.len(), live.nics.len()));
        }
        let known: BTreeSet<Mac> =
            interfaces.iter().filter_map(|n| n.get("macAddress").and_then(Value::as_str)).map(Mac::new).collect();
        if let Some(other) = known.iter().find(|mac| !live.nics.iter().any(|nic| nic.mac == **mac)) {
            return Err(format!("the inventory shows the MAC {other}, which the cluster does not"));
        }
        let wanted = match live.power {
            Power::On => "Running",
            Power::Off => "Stopped",
            Power::Other(_) => return Ok(()),
        };
        match text("/object/status/printableStatus") {
            now if now == wanted => Ok(()),
            now => Err(format!("the inventory shows it {now}, the cluster {wanted}")),
        }
    }

    /// The driver keeps each source VM in a namespace of its own name.
    fn namespace_of(&self, vm: &SourceVm) -> Option<String> {
        Some(vm.name.clone())
    }

    fn storages(&self, vms: &[SourceVm]) -> Vec<SourceRef> {
        distinct(vms.iter().flat_map(|vm| vm.disks.iter().map(|d| d.storage_name.clone())))
    }

    fn networks(&self, vms: &[SourceVm]) -> Vec<SourceRef> {
        distinct(vms.iter().flat_map(|vm| vm.nics.iter().map(|n| n.network_name.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pod_network_is_a_type_and_every_other_a_name() {
        let refs = distinct(["pod", "ns/nad", "pod"].into_iter().map(str::to_owned));
        assert_eq!(refs.len(), 2);
        assert_eq!(refs[0].reference, Ref { type_: Some("pod".to_owned()), ..Ref::default() });
        assert_eq!(refs[1].reference, Ref::by_name("ns/nad"));
    }
}
