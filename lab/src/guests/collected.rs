//! Guests of VMs that the lab did not make: what MTV's inventory saw of them on their platform.
//!
//! For platforms from outside (vcsim, a real vCenter), whose guests the lab cannot know otherwise.

use std::sync::Arc;

use crate::inventory::InventoryDb;
use crate::inventory::model::InvVm;
use crate::ports::{GuestDirectory, GuestNic, GuestProfile};

/// The guests behind the inventory's VMs.
pub struct CollectedGuests(pub Arc<InventoryDb>);

impl GuestDirectory for CollectedGuests {
    fn by_mac(&self, mac: &str) -> Option<GuestProfile> {
        self.0.find_vm(|vm| vm.nics.iter().any(|nic| nic.mac.eq_ignore_ascii_case(mac))).map(|vm| profile(&vm))
    }
}

/// The lab's usual logins; addresses as the tools reported them.
fn profile(vm: &InvVm) -> GuestProfile {
    let windows = format!("{} {}", vm.guest_id, vm.guest_name).to_lowercase().contains("win");
    let login = if windows { ("Administrator", "lab-windows") } else { ("root", "lab-linux") };
    let nics = vm.nics.iter().enumerate().map(|(index, nic)| {
        let reported: Vec<_> =
            vm.guest_networks.iter().filter(|(_, mac, ..)| mac.eq_ignore_ascii_case(&nic.mac)).collect();
        GuestNic {
            name: if windows { format!("Ethernet{index}") } else { format!("eth{index}") },
            mac: nic.mac.to_lowercase(),
            addresses: reported.iter().filter_map(|(_, _, ip, prefix, ..)| Some((ip.parse().ok()?, *prefix))).collect(),
            is_static: reported.iter().any(|(.., origin, _, _)| matches!(origin.as_str(), "MANUAL" | "manual")),
            gateway: reported.iter().find_map(|(.., gateway, _)| gateway.as_ref()?.parse().ok()),
            dns: reported.iter().flat_map(|(.., dns)| dns).filter_map(|ip| ip.parse().ok()).collect(),
        }
    });
    GuestProfile {
        windows,
        hostname: vm.name.clone(),
        pretty_name: vm.guest_name.clone(),
        users: vec![(login.0.to_owned(), login.1.to_owned())],
        nics: nics.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::model::InvNic;

    fn vm(guest_id: &str) -> InvVm {
        let network = |ip: &str, origin: &str| {
            let dns = vec!["10.0.0.2".to_owned()];
            let gateway = Some("192.168.1.1".to_owned());
            ("0".to_owned(), "00:50:56:AA:00:01".to_owned(), ip.to_owned(), 24, origin.to_owned(), gateway, dns)
        };
        InvVm {
            id: "vm-1".to_owned(),
            name: "web".to_owned(),
            uuid: String::new(),
            is_template: false,
            power_on: true,
            firmware_efi: false,
            secure_boot: false,
            tpm: false,
            cpu_count: 1,
            cores_per_socket: 1,
            memory_mb: 1024,
            guest_id: guest_id.to_owned(),
            guest_name: String::new(),
            host_id: String::new(),
            folder_id: String::new(),
            tools_running: true,
            tools_status: String::new(),
            changed_block_tracking: false,
            snapshot_ids: Vec::new(),
            nics: vec![InvNic {
                mac: "00:50:56:aa:00:01".to_owned(),
                network_id: "network-7".to_owned(),
                device_key: 4000,
                order: 0,
                connected: true,
            }],
            disks: Vec::new(),
            guest_networks: vec![network("192.168.1.9", "manual")],
            guest_ip: String::new(),
            revision: 1,
            extra: serde_json::Value::Null,
        }
    }

    #[test]
    fn a_guest_has_the_address_and_the_login_that_its_platform_tells() {
        let guest = profile(&vm("windows2019srv_64Guest"));
        assert!(guest.windows && guest.users[0].0 == "Administrator");
        let nic = &guest.nics[0];
        assert_eq!((nic.name.as_str(), nic.is_static), ("Ethernet0", true));
        assert_eq!(nic.addresses, [("192.168.1.9".parse().unwrap(), 24)]);
        assert_eq!(nic.gateway, Some("192.168.1.1".parse().unwrap()));
        assert!(!profile(&vm("rhel8_64Guest")).windows);
    }
}
