//! Guests of VMs that the lab did not make: what MTV's inventory saw of them on their platform.
//!
//! For platforms from outside (vcsim, a real vCenter), whose guests the lab cannot know otherwise.

use std::sync::Arc;

use crate::lab::controllers::mtv::platform::InvVm;
use crate::lab::hooks::{GuestDirectory, GuestNic, GuestProfile};
use crate::lab::inventory::InventoryDb;

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
