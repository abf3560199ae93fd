//! What MTV wants to know about a platform, one adapter a platform.
//!
//! An adapter is pure: it builds the Secret and the Provider of a profile and reads the platform's
//! part of the inventory.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde_json::Value;

use crate::api::forklift::Ref;
use crate::api::vm::SourceVm;
use crate::config::{Platform, ProviderProfile};

use super::openshift::Openshift;
use super::openstack::Openstack;
use super::vsphere::Vsphere;

/// The Secret and the Provider spec of a profile.
#[derive(Debug, Clone)]
pub struct ProviderWiring {
    pub secret: BTreeMap<String, SecretString>,
    pub settings: BTreeMap<String, String>,
    pub url: String,
}

/// A storage or network of the source, as a map's source reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRef {
    pub reference: Ref,
    /// For people.
    pub name: String,
}

/// One platform as MTV sees it.
pub trait Adapter: Send + Sync {
    /// Whether the Provider needs a CA when TLS is verified.
    fn wants_ca(&self, profile: &ProviderProfile) -> bool;
    /// `ca_pem` is given exactly when TLS is verified and the platform wants a CA.
    fn wire(&self, profile: &ProviderProfile, insecure: bool, ca_pem: Option<&str>) -> ProviderWiring;
    /// Whether the inventory's view of the VM holds what the platform itself says.
    fn complete(&self, inventory_vm: &Value, live: &SourceVm) -> Result<(), String>;
    /// Whether the profile means the cluster of the run: its URL, token and CA are then filled in
    /// (`api_url`, `login.password`, `ca_pem`) before anything else is asked.
    fn is_own_cluster(&self, _: &ProviderProfile) -> bool {
        false
    }
    /// The namespace that a Plan's entry of the VM names, where the platform has such.
    fn namespace_of(&self, _: &SourceVm) -> Option<String> {
        None
    }
    /// Objects that the inventory must know before maps can name them, beside the VM itself:
    /// (collection, id). They may come after it.
    fn needs(&self, _live: &SourceVm) -> Vec<(&'static str, String)> {
        Vec::new()
    }
    /// Distinct storages of the VMs, in order of first use.
    fn storages(&self, vms: &[SourceVm]) -> Vec<SourceRef>;
    /// Distinct networks of the VMs, in order of first use.
    fn networks(&self, vms: &[SourceVm]) -> Vec<SourceRef>;
}

/// The adapter of a platform; `None` where MTV knows it and we do not yet.
pub fn adapter(platform: Platform) -> Option<&'static dyn Adapter> {
    match platform {
        Platform::Vsphere => Some(&Vsphere),
        Platform::Openshift => Some(&Openshift),
        Platform::Openstack => Some(&Openstack),
        _ => None,
    }
}

/// `{id}` references without repetition, keeping order.
pub(super) fn distinct(pairs: impl Iterator<Item = (String, String)>) -> Vec<SourceRef> {
    let mut seen: Vec<SourceRef> = Vec::new();
    for (id, name) in pairs {
        let reference = Ref::by_id(id);
        if !seen.iter().any(|s| s.reference == reference) {
            seen.push(SourceRef { reference, name });
        }
    }
    seen
}
