//! What MTV wants to know about a platform, one adapter a platform.
//!
//! An adapter is pure: it builds the Secret and the Provider of a profile and reads the platform's
//! part of the inventory.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde_json::Value;

use crate::api::forklift::Ref;
use crate::api::vm::SourceVm;
use crate::config::ProviderProfile;

/// The Secret and the Provider spec of a profile.
#[derive(Debug, Clone)]
pub struct ProviderWiring {
    pub secret: BTreeMap<String, SecretString>,
    pub settings: BTreeMap<String, String>,
    pub url: String,
}

/// The key of a Provider's Secret that every MTV takes a CA from.
pub(super) const CA_KEY: &str = "cacert";

impl ProviderWiring {
    /// Puts the CA under another key.
    pub fn name_ca(&mut self, key: &str) {
        if let Some(pem) = self.secret.remove(CA_KEY) {
            self.secret.insert(key.to_owned(), pem);
        }
    }
}

/// A storage or network of the source, as a map's source reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRef {
    pub reference: Ref,
    /// For people.
    pub name: String,
}

/// Lists of a provider's inventory in full detail, by collection.
pub type Collections = BTreeMap<String, Vec<Value>>;

/// One platform as MTV sees it.
pub trait Adapter: Send + Sync {
    /// Whether the Provider needs a CA when TLS is verified.
    fn wants_ca(&self, profile: &ProviderProfile) -> bool;
    /// Whether it needs one even where TLS is not verified.
    fn always_wants_ca(&self) -> bool {
        false
    }
    /// `ca_pem` is given exactly when the platform wants a CA and TLS is verified, or it always wants one.
    fn wire(&self, profile: &ProviderProfile, insecure: bool, ca_pem: Option<&str>) -> ProviderWiring;
    /// What a Provider is told otherwise by an MTV of this version. One that is not known is taken for the newest.
    fn suit(&self, _wiring: &mut ProviderWiring, _mtv_version: Option<&str>) {}
    /// The image by which MTV's pods read its disks, where the platform has such.
    fn vddk_image<'a>(&self, _profile: &'a ProviderProfile) -> Option<&'a str> {
        None
    }
    /// Host and port whose certificate is fetched when the profile pins no CA.
    fn tls_endpoint(&self, profile: &ProviderProfile) -> (String, u16) {
        let url = url::Url::parse(&profile.api_url).ok();
        let host = url.as_ref().and_then(|u| u.host_str()).unwrap_or(&profile.fqdn).to_owned();
        (host, url.as_ref().and_then(url::Url::port_or_known_default).unwrap_or(443))
    }
    /// Whether the inventory's view of the VM holds what the platform itself says. Only asked of
    /// platforms that have a driver.
    fn complete(&self, _inventory_vm: &Value, _live: &SourceVm) -> Result<(), String> {
        Ok(())
    }
    /// Collections beside `vms` that [`Adapter::read_vm`] looks into.
    fn collections(&self) -> &'static [&'static str] {
        &[]
    }
    /// A VM as the inventory alone tells it, for platforms that have no driver.
    fn read_vm(&self, _inventory_vm: &Value, _collections: &Collections) -> Result<SourceVm, String> {
        Err("VMs of this platform are read by its driver".to_owned())
    }
    /// Whether the profile means the cluster of the run: its URL, token and CA are then filled in
    /// (`api_url`, `login.password`, `ca_pem`) before anything else is asked.
    fn is_own_cluster(&self, _: &ProviderProfile) -> bool {
        false
    }
    /// Why nobody can tell the power of a source VM after its migration; `None` where the inventory
    /// shows it.
    fn powerless(&self) -> Option<&'static str> {
        None
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

/// The Secret of a Provider that is reached by URL, user and password.
pub(super) fn login_secret(
    profile: &ProviderProfile,
    insecure: bool,
    ca_pem: Option<&str>,
) -> BTreeMap<String, SecretString> {
    let mut secret = BTreeMap::from([
        ("url".to_owned(), profile.api_url.clone().into()),
        ("user".to_owned(), profile.login.username.clone().into()),
        ("password".to_owned(), profile.login.password.clone()),
        ("insecureSkipVerify".to_owned(), insecure.to_string().into()),
    ]);
    if let Some(pem) = ca_pem {
        secret.insert(CA_KEY.to_owned(), pem.to_owned().into());
    }
    secret
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
