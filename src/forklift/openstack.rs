//! OpenStack as MTV sees it (forklift.md §2.3, §3.3, §8.6).

use std::collections::{BTreeMap, BTreeSet};

use secrecy::SecretString;
use serde_json::Value;

use super::adapter::{Adapter, CA_KEY, ProviderWiring, SourceRef};
use crate::api::forklift::Ref;
use crate::api::vm::{Mac, Power, SourceVm};
use crate::config::platforms::{OpenstackAuth, OpenstackConfig};
use crate::config::{PlatformConfig, ProviderProfile};

pub(super) struct Openstack;

/// MTV's name for the storage of a disk that has no volume; it is no object of the inventory.
const GLANCE: &str = "glance";

/// Keys of the Secret by `authType`. MTV's client takes one of id and name of a domain, never both.
fn secret(profile: &ProviderProfile, config: &OpenstackConfig) -> BTreeMap<String, SecretString> {
    let mut secret: BTreeMap<String, SecretString> = BTreeMap::new();
    let mut put = |key: &str, value: &str| {
        if !value.is_empty() {
            secret.insert(key.to_owned(), value.to_owned().into());
        }
    };
    put("url", &profile.api_url);
    put("regionName", &config.region_name);
    put("availability", &config.availability);
    let either = |put: &mut dyn FnMut(&str, &str), side: &str, name: &str, id: &str| {
        if name.is_empty() { put(&format!("{side}DomainID"), id) } else { put(&format!("{side}DomainName"), name) }
    };
    match &config.auth {
        OpenstackAuth::Password => {
            put("authType", "password");
            put("username", &profile.login.username);
            if config.project_id.is_empty() {
                put("projectName", &config.project_name);
            } else {
                put("projectID", &config.project_id);
            }
            let other_domain =
                !config.project_domain_name.is_empty() || config.project_domain_id != config.user_domain_id;
            if other_domain && !(config.project_domain_name.is_empty() && config.project_domain_id.is_empty()) {
                either(&mut put, "user", &config.user_domain_name, &config.user_domain_id);
                either(&mut put, "project", &config.project_domain_name, &config.project_domain_id);
            } else if config.user_domain_name.is_empty() {
                put("domainID", &config.user_domain_id);
            } else {
                put("domainName", &config.user_domain_name);
            }
            secret.insert("password".to_owned(), profile.login.password.clone());
        }
        OpenstackAuth::ApplicationCredential { id, name, secret: credential } => {
            put("authType", "applicationcredential");
            if id.is_empty() {
                put("applicationCredentialName", name);
                put("username", &profile.login.username);
                if config.user_domain_name.is_empty() {
                    put("domainID", &config.user_domain_id);
                } else {
                    put("domainName", &config.user_domain_name);
                }
            } else {
                put("applicationCredentialID", id);
            }
            secret.insert("applicationCredentialSecret".to_owned(), credential.clone());
        }
    }
    secret
}

/// Ids of the volumes that the inventory shows at a VM: the key is upper case.
fn attached(vm: &Value) -> BTreeSet<&str> {
    let volumes = vm.get("attachedVolumes").and_then(Value::as_array);
    volumes.into_iter().flatten().filter_map(|v| v.get("ID")?.as_str()).collect()
}

impl Adapter for Openstack {
    fn wants_ca(&self, profile: &ProviderProfile) -> bool {
        profile.api_url.starts_with("https:")
    }

    fn wire(&self, profile: &ProviderProfile, insecure: bool, ca_pem: Option<&str>) -> ProviderWiring {
        let mut secret = match &profile.config {
            PlatformConfig::Openstack(config) => secret(profile, config),
            _ => BTreeMap::new(),
        };
        secret.insert("insecureSkipVerify".to_owned(), insecure.to_string().into());
        if let Some(pem) = ca_pem {
            secret.insert(CA_KEY.to_owned(), pem.to_owned().into());
        }
        ProviderWiring { secret, settings: BTreeMap::new(), url: profile.api_url.clone() }
    }

    fn complete(&self, vm: &Value, live: &SourceVm) -> Result<(), String> {
        let id = vm.get("id").and_then(Value::as_str).unwrap_or_default();
        if id != live.id {
            return Err(format!("the inventory knows it as {id}, the platform as {}", live.id));
        }
        let volumes = attached(vm);
        let wanted: BTreeSet<&str> =
            live.disks.iter().filter(|d| d.storage_id != GLANCE).map(|d| d.id.as_str()).collect();
        if volumes != wanted {
            return Err(format!("the inventory shows the volumes {volumes:?}, the platform {wanted:?}"));
        }
        let addresses = vm.get("addresses").and_then(Value::as_object);
        let macs: BTreeSet<Mac> = addresses
            .into_iter()
            .flat_map(serde_json::Map::values)
            .flat_map(|list| list.as_array().into_iter().flatten())
            .filter_map(|address| address.get("OS-EXT-IPS-MAC:mac_addr")?.as_str())
            .map(Mac::new)
            .collect();
        let wanted: BTreeSet<Mac> = live.nics.iter().map(|n| n.mac.clone()).collect();
        if macs != wanted {
            return Err(format!("the inventory shows the MACs {macs:?}, the platform {wanted:?}"));
        }
        let status = vm.get("status").and_then(Value::as_str).unwrap_or_default();
        let wanted = match live.power {
            Power::On => "ACTIVE",
            Power::Off => "SHUTOFF",
            Power::Other(_) => status,
        };
        if status != wanted {
            return Err(format!("the inventory shows it {status}, the platform {wanted}"));
        }
        Ok(())
    }

    /// Volumes and networks come into the inventory after the VM that has them; maps are validated
    /// against them.
    fn needs(&self, live: &SourceVm) -> Vec<(&'static str, String)> {
        let volumes = live.disks.iter().filter(|d| d.storage_id != GLANCE).map(|d| ("volumes", d.id.clone()));
        let networks = live.nics.iter().map(|n| ("networks", n.network_id.clone()));
        let mut needed: Vec<(&'static str, String)> = Vec::new();
        for one in volumes.chain(networks) {
            if !needed.contains(&one) {
                needed.push(one);
            }
        }
        needed
    }

    /// Volume types by name: MTV joins volumes with them by name, too.
    fn storages(&self, vms: &[SourceVm]) -> Vec<SourceRef> {
        distinct(vms.iter().flat_map(|vm| &vm.disks).map(|d| (Ref::by_name(&d.storage_name), &d.storage_name)))
    }

    fn networks(&self, vms: &[SourceVm]) -> Vec<SourceRef> {
        distinct(vms.iter().flat_map(|vm| &vm.nics).map(|n| {
            let id = Some(n.network_id.clone());
            (Ref { id, name: Some(n.network_name.clone()), ..Ref::default() }, &n.network_name)
        }))
    }
}

fn distinct<'a>(refs: impl Iterator<Item = (Ref, &'a String)>) -> Vec<SourceRef> {
    let mut seen: Vec<SourceRef> = Vec::new();
    for (reference, name) in refs {
        if !seen.iter().any(|s| s.reference == reference) {
            seen.push(SourceRef { reference, name: name.clone() });
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::vm::{GuestOs, SourceDisk, SourceNic};
    use crate::config::{Credentials, GuestCredentials, Platform};
    use secrecy::ExposeSecret;
    use serde_json::json;

    fn keys(config: OpenstackConfig) -> String {
        let profile = ProviderProfile {
            vms: std::collections::BTreeMap::new(),
            name: "osp".into(),
            platform: Platform::Openstack,
            version: String::new(),
            fqdn: String::new(),
            api_url: "https://k/v3".into(),
            login: Credentials { username: "u".into(), password: "pw".into() },
            guest: GuestCredentials::default(),
            max_concurrent: None,
            ca_pem: None,
            config: PlatformConfig::Openstack(config),
        };
        let wiring = Openstack.wire(&profile, false, Some("PEM"));
        let text: Vec<String> = wiring.secret.iter().map(|(k, v)| format!("{k}={}", v.expose_secret())).collect();
        text.join(" ")
    }

    fn base() -> OpenstackConfig {
        OpenstackConfig { region_name: "one".into(), project_name: "demo".into(), ..OpenstackConfig::default() }
    }

    #[test]
    fn the_secret_has_the_keys_of_its_auth_type() {
        let same = OpenstackConfig {
            user_domain_name: "Default".into(),
            user_domain_id: "default".into(),
            project_domain_id: "default".into(),
            ..base()
        };
        assert_eq!(
            keys(same.clone()),
            "authType=password cacert=PEM domainName=Default insecureSkipVerify=false password=pw projectName=demo regionName=one url=https://k/v3 username=u"
        );
        let other = OpenstackConfig { project_domain_id: "elsewhere".into(), ..same };
        assert_eq!(
            keys(other),
            "authType=password cacert=PEM insecureSkipVerify=false password=pw projectDomainID=elsewhere projectName=demo regionName=one url=https://k/v3 userDomainName=Default username=u"
        );
        let auth = OpenstackAuth::ApplicationCredential { id: "ac1".into(), name: String::new(), secret: "s".into() };
        assert_eq!(
            keys(OpenstackConfig { auth, ..base() }),
            "applicationCredentialID=ac1 applicationCredentialSecret=s authType=applicationcredential cacert=PEM insecureSkipVerify=false regionName=one url=https://k/v3"
        );
    }

    fn live() -> SourceVm {
        let disk = |id: &str, storage: &str| SourceDisk {
            id: id.into(),
            label: id.into(),
            file_name: None,
            interface: None,
            capacity_bytes: 1,
            storage_id: if storage == GLANCE { GLANCE.into() } else { format!("{storage}-id") },
            storage_name: storage.into(),
            raw: false,
            shared: false,
        };
        let nic = |mac: &str, network: &str| SourceNic {
            label: mac.into(),
            mac: Mac::new(mac),
            network_id: format!("{network}-id"),
            network_name: network.into(),
            connected: true,
            starts_connected: None,
            model: None,
            guest: None,
        };
        SourceVm {
            id: "s1".into(),
            uuid: None,
            name: "a".into(),
            power: Power::Off,
            os: GuestOs::Linux,
            cpu: None,
            memory_mib: None,
            firmware: None,
            nics: vec![nic("fa:16:3e:00:00:01", "vm-net"), nic("fa:16:3e:00:00:02", "vm-net")],
            disks: vec![disk("i1", GLANCE), disk("v1", "ceph"), disk("v2", "ceph")],
            snapshots: vec![],
            guest_agent_running: None,
        }
    }

    fn seen() -> Value {
        json!({
            "id": "s1", "status": "SHUTOFF", "attachedVolumes": [{"ID": "v2"}, {"ID": "v1"}],
            "addresses": {"vm-net": [
                {"OS-EXT-IPS-MAC:mac_addr": "fa:16:3e:00:00:02", "addr": "10.0.0.2"},
                {"OS-EXT-IPS-MAC:mac_addr": "fa:16:3e:00:00:01", "addr": "10.0.0.1"},
            ]},
        })
    }

    #[test]
    fn a_view_without_volumes_or_addresses_is_not_complete() {
        assert_eq!(Openstack.complete(&seen(), &live()), Ok(()));
        for (key, value) in [("attachedVolumes", Value::Null), ("addresses", json!({})), ("status", json!("ACTIVE"))] {
            let mut vm = seen();
            vm[key] = value;
            assert!(Openstack.complete(&vm, &live()).is_err(), "{key}");
        }
        let mut early = seen();
        early.as_object_mut().unwrap().remove("attachedVolumes");
        assert!(Openstack.complete(&early, &live()).unwrap_err().contains("volumes {}"));
        assert_eq!(
            Openstack.needs(&live()),
            [("volumes", "v1".to_owned()), ("volumes", "v2".to_owned()), ("networks", "vm-net-id".to_owned())]
        );
    }

    #[test]
    fn storages_are_volume_types_by_name_and_networks_have_both() {
        let vms = [live()];
        let storages: Vec<Ref> = Openstack.storages(&vms).into_iter().map(|s| s.reference).collect();
        assert_eq!(storages, [Ref::by_name(GLANCE), Ref::by_name("ceph")]);
        let networks = Openstack.networks(&vms);
        assert_eq!(networks.len(), 1);
        let wanted = Ref { id: Some("vm-net-id".into()), name: Some("vm-net".into()), ..Ref::default() };
        assert_eq!(networks[0].reference, wanted);
    }
}
