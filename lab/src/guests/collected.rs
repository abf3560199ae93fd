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
        let told = vm.vsphere().map(|own| own.guest_networks.as_slice()).unwrap_or_default();
        let reported: Vec<_> = told.iter().filter(|told| told.mac.eq_ignore_ascii_case(&nic.mac)).collect();
        GuestNic {
            name: if windows { format!("Ethernet{index}") } else { format!("eth{index}") },
            mac: nic.mac.to_lowercase(),
            addresses: reported.iter().filter_map(|told| Some((told.ip.parse().ok()?, told.prefix))).collect(),
            is_static: reported.iter().any(|told| told.origin.eq_ignore_ascii_case("manual")),
            gateway: reported.iter().find_map(|told| told.gateway.as_ref()?.parse().ok()),
            dns: reported.iter().flat_map(|told| &told.dns).filter_map(|ip| ip.parse().ok()).collect(),
        }
    });
    GuestProfile {
        files: Default::default(),
        fails: None,
        luks: None,
        shared: None,
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
    use crate::inventory::own::{GuestNetwork, OwnVm, VsphereVm};

    fn vm(guest_id: &str) -> InvVm {
        let told = GuestNetwork {
            device: "0".to_owned(),
            mac: "00:50:56:AA:00:01".to_owned(),
            ip: "192.168.1.9".to_owned(),
            prefix: 24,
            origin: "manual".to_owned(),
            gateway: Some("192.168.1.1".to_owned()),
            dns: vec!["10.0.0.2".to_owned()],
        };
        InvVm {
            guest_id: guest_id.to_owned(),
            nics: vec![InvNic { mac: "00:50:56:aa:00:01".to_owned(), ..InvNic::default() }],
            own: OwnVm::Vsphere(Box::new(VsphereVm { guest_networks: vec![told], ..VsphereVm::default() })),
            ..InvVm::default()
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
