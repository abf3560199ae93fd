//! Hyper-V as MTV sees it (forklift.md §2.3, §2.4, §3.3, §8.7): WinRM for the host, an SMB share for
//! the disks.

use std::collections::BTreeMap;

use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::adapter::{Adapter, CA_KEY, Collections, ProviderWiring, SourceRef, distinct};
use super::read::{guest_os, id_in, items, number, text};
use crate::api::version::Version;
use crate::api::vm::{
    AddressOrigin, CpuTopology, Firmware, FirmwareKind, GuestAddress, GuestInterface, Mac, Power, SourceDisk,
    SourceNic, SourceVm,
};
use crate::config::{PlatformConfig, ProviderProfile};
use crate::matrix::support;

pub(super) struct Hyperv;

/// Where WinRM listens unless the Provider says otherwise.
const WINRM: u16 = 5986;

fn host(profile: &ProviderProfile) -> &str {
    if profile.api_url.is_empty() { &profile.fqdn } else { &profile.api_url }
}

impl Adapter for Hyperv {
    fn wants_ca(&self, _: &ProviderProfile) -> bool {
        true
    }

    fn tls_endpoint(&self, profile: &ProviderProfile) -> (String, u16) {
        let port = match &profile.config {
            PlatformConfig::Hyperv(config) => config.winrm_port,
            _ => WINRM,
        };
        (profile.fqdn.clone(), port)
    }

    fn wire(&self, profile: &ProviderProfile, insecure: bool, ca_pem: Option<&str>) -> ProviderWiring {
        let mut secret = BTreeMap::from([
            ("username".to_owned(), profile.login.username.clone().into()),
            ("password".to_owned(), profile.login.password.clone()),
            ("insecureSkipVerify".to_owned(), insecure.to_string().into()),
        ]);
        let mut settings = BTreeMap::new();
        if let PlatformConfig::Hyperv(config) = &profile.config {
            secret.insert("smbUrl".to_owned(), config.smb_url.clone().into());
            if let Some(smb) = &config.smb {
                secret.insert("smbUser".to_owned(), smb.username.clone().into());
                secret.insert("smbPassword".to_owned(), smb.password.clone());
            }
            if config.winrm_port != WINRM {
                settings.insert("winrmPort".to_owned(), config.winrm_port.to_string());
            }
            if let Some(kind) = &config.management_type {
                settings.insert("managementType".to_owned(), kind.clone());
            }
        }
        if let Some(pem) = ca_pem {
            secret.insert(CA_KEY.to_owned(), pem.to_owned().into());
        }
        ProviderWiring { secret, settings, url: host(profile).to_owned() }
    }

    /// Before 2.12 a Hyper-V Provider is its share, and MTV asks no host (2.11.7, `validateURL`,
    /// `pkg/controller/provider/validation.go`: "The SMB path is malformed").
    fn suit(&self, wiring: &mut ProviderWiring, mtv_version: Option<&str>) {
        let versions = mtv_version.and_then(Version::parse).zip(Version::parse(support::HYPERV_HOST));
        let by_share = versions.is_some_and(|(installed, host)| installed < host);
        if by_share && let Some(share) = wiring.secret.get("smbUrl") {
            share.expose_secret().clone_into(&mut wiring.url);
        }
    }

    fn collections(&self) -> &'static [&'static str] {
        &["storages"]
    }

    fn read_vm(&self, vm: &Value, collections: &Collections) -> Result<SourceVm, String> {
        let power = match text(vm, "powerState") {
            "On" => Power::On,
            "Off" => Power::Off,
            other => Power::Other(other.to_owned()),
        };
        let storage_name = |id: &str| {
            let storages = collections.get("storages").into_iter().flatten();
            storages.filter(|s| text(s, "id") == id).map(|s| text(s, "name")).next().unwrap_or_default().to_owned()
        };
        let nics = items(vm, "nics").map(|nic| SourceNic {
            label: text(nic, "name").to_owned(),
            mac: Mac::new(text(nic, "mac")),
            network_id: id_in(nic, "network").to_owned(),
            network_name: text(nic, "networkName").to_owned(),
            connected: true,
            starts_connected: None,
            model: None,
            guest: guest_interface(vm, text(nic, "mac")),
        });
        let disks = items(vm, "disks").map(|disk| SourceDisk {
            // What MTV writes on the disk's PVC, too.
            id: text(disk, "id").to_owned(),
            label: text(disk, "name").to_owned(),
            file_name: None,
            interface: None,
            capacity_bytes: number(disk, "capacity"),
            storage_id: id_in(disk, "datastore").to_owned(),
            storage_name: storage_name(id_in(disk, "datastore")),
            raw: false,
            shared: false,
        });
        let cores = u32::try_from(number(vm, "cpuCount")).ok().filter(|cores| *cores > 0);
        let kind = match text(vm, "firmware").to_lowercase().as_str() {
            "uefi" | "efi" => Some(FirmwareKind::Efi),
            "bios" => Some(FirmwareKind::Bios),
            _ => None,
        };
        let flag = |key: &str| vm.get(key).and_then(Value::as_bool).unwrap_or_default();
        Ok(SourceVm {
            id: text(vm, "id").to_owned(),
            uuid: Some(text(vm, "uuid").to_owned()).filter(|uuid| !uuid.is_empty()),
            name: text(vm, "name").to_owned(),
            power,
            os: guest_os(text(vm, "guestOS"), text(vm, "name")),
            // Hyper-V tells a number of processors; MTV makes them the cores of one socket.
            cpu: cores.map(|cores| CpuTopology { sockets: 1, cores, threads: 1 }),
            memory_mib: Some(number(vm, "memoryMB")).filter(|mib| *mib > 0),
            firmware: kind.map(|kind| Firmware { kind, secure_boot: flag("secureBoot"), tpm: flag("tpmEnabled") }),
            nics: nics.collect(),
            disks: disks.collect(),
            snapshots: Vec::new(),
            guest_agent_running: None,
        })
    }

    fn storages(&self, vms: &[SourceVm]) -> Vec<SourceRef> {
        distinct(vms.iter().flat_map(|vm| vm.disks.iter().map(|d| (d.storage_id.clone(), d.storage_name.clone()))))
    }

    fn networks(&self, vms: &[SourceVm]) -> Vec<SourceRef> {
        distinct(vms.iter().flat_map(|vm| vm.nics.iter().map(|n| (n.network_id.clone(), n.network_name.clone()))))
    }
}

/// What the integration services told of one adapter, one entry an address.
fn guest_interface(vm: &Value, mac: &str) -> Option<GuestInterface> {
    let mac = Mac::new(mac);
    let own: Vec<&Value> = items(vm, "guestNetworks").filter(|guest| Mac::new(text(guest, "mac")) == mac).collect();
    let first = own.first()?;
    let address = |guest: &&&Value| {
        let ip = text(guest, "ip").parse().ok()?;
        let origin = match text(guest, "origin") {
            "Manual" => AddressOrigin::Static,
            "Dhcp" => AddressOrigin::Dhcp,
            _ => AddressOrigin::Unknown,
        };
        Some(GuestAddress { ip, prefix: u8::try_from(number(guest, "prefix")).ok().filter(|p| *p > 0), origin })
    };
    Some(GuestInterface {
        name: None,
        addresses: own.iter().filter_map(|guest| address(&guest)).collect(),
        gateway: text(first, "gateway").parse().ok(),
        dns: items(first, "dns").filter_map(|dns| dns.as_str()?.parse().ok()).collect(),
        mac: Some(mac),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::vm::GuestOs;

    #[test]
    fn an_mtv_before_2_12_is_given_the_share_for_a_url() {
        let config = r#"{"hv": {"type": "hyperv", "fqdn": "hv.example", "smb_url": "//hv.example/vms", "username": "u", "password": "p"}}"#;
        let request = crate::config::LoadRequest {
            providers_text: Some((config.to_owned(), "test".to_owned())),
            ..crate::config::LoadRequest::default()
        };
        let profile = &crate::config::load(&request).unwrap_or_else(|e| panic!("{e}")).providers["hv"];
        let url = |version| {
            let mut wiring = Hyperv.wire(profile, true, None);
            Hyperv.suit(&mut wiring, version);
            wiring.url
        };
        assert_eq!(url(Some("2.11.7")), "//hv.example/vms");
        assert_eq!(url(Some("2.12.0")), "hv.example");
        assert_eq!(url(None), "hv.example");
    }

    #[test]
    fn a_vm_is_read_with_its_guests_own_addresses() {
        let vm = json!({
            "id": "v-1", "uuid": "u-1", "name": "web", "powerState": "On", "cpuCount": 4, "memoryMB": 8192, "firmware": "uefi",
            "guestOS": "Windows Server 2022", "tpmEnabled": true, "secureBoot": true,
            "nics": [{"name": "nic", "mac": "00155D0B0110", "network": {"kind": "Network", "id": "switch-1"}, "networkName": "VM Network"}],
            "disks": [{"id": "d-1", "name": "web.vhdx", "capacity": 1024, "datastore": {"kind": "Storage", "id": "smb-1"}}],
            "guestNetworks": [
                {"mac": "00:15:5D:0B:01:10", "ip": "192.168.102.22", "origin": "Manual", "prefix": 24, "dns": ["10.0.0.2"], "gateway": "192.168.102.1"},
                {"mac": "00:15:5D:0B:01:10", "ip": "fe80::1", "origin": "Dhcp", "prefix": 64, "dns": null, "gateway": ""},
                {"mac": "00:15:5D:0B:09:99", "ip": "10.0.0.9", "origin": "Dhcp", "prefix": 8, "dns": [], "gateway": ""}],
        });
        let collections =
            Collections::from([("storages".to_owned(), vec![json!({"id": "smb-1", "name": "//host/vms"})])]);
        let read = Hyperv.read_vm(&vm, &collections).unwrap();
        assert_eq!(
            (read.power.clone(), read.os, read.disks[0].storage_name.as_str()),
            (Power::On, GuestOs::Windows, "//host/vms")
        );
        assert_eq!(read.firmware, Some(Firmware { kind: FirmwareKind::Efi, secure_boot: true, tpm: true }));
        let guest = read.nics[0].guest.as_ref().unwrap();
        let origins: Vec<AddressOrigin> = guest.addresses.iter().map(|address| address.origin).collect();
        assert_eq!(origins, [AddressOrigin::Static, AddressOrigin::Dhcp]);
        assert_eq!(guest.gateway, Some("192.168.102.1".parse().unwrap()));
        assert_eq!(Hyperv.networks(&[read])[0].reference.id.as_deref(), Some("switch-1"));
    }
}
