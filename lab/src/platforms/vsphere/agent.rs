//! A host's own API: the same words as vCenter's, for what lies on this host alone, under ids of the host's own.
//!
//! VMs are numbered, the host is `ha-host`; nothing is cloned here. What a host shows of a distributed switch and of the
//! cluster around it is shown as vCenter does.

use crate::world::State;

/// The one host of an endpoint.
#[derive(Debug, Clone)]
pub struct Agent {
    /// As vCenter calls it.
    pub host: String,
}

const HOST: &str = "ha-host";
const VM_OF_VCENTER: &str = "vm-";

impl Agent {
    /// What there is here.
    pub fn of(&self, state: &State) -> State {
        let mut own = state.clone();
        own.vms.keep(|vm| vm.host == self.host);
        own.hosts.retain(|host| host.id == self.host);
        own
    }

    /// A request's ids as the world has them.
    pub fn inward(&self, xml: &str) -> String {
        renamed(xml, |kind, id| match kind {
            "HostSystem" if id == HOST => Some(self.host.clone()),
            "VirtualMachine" if id.bytes().all(|b| b.is_ascii_digit()) => Some(format!("{VM_OF_VCENTER}{id}")),
            // An id of vCenter's is nobody's here.
            "HostSystem" | "VirtualMachine" => Some(format!("unknown-{id}")),
            _ => None,
        })
    }

    /// An answer's ids as the host has them.
    pub fn outward(&self, xml: &str) -> String {
        renamed(xml, |kind, id| match kind {
            "HostSystem" if id == self.host => Some(HOST.to_owned()),
            "VirtualMachine" => id.strip_prefix(VM_OF_VCENTER).map(str::to_owned),
            _ => None,
        })
    }
}

/// References (`<x type="KIND">ID<`) with other ids.
fn renamed(xml: &str, name: impl Fn(&str, &str) -> Option<String>) -> String {
    let mut out = String::with_capacity(xml.len());
    let mut rest = xml;
    while let Some(at) = rest.find(" type=\"") {
        let (before, after) = rest.split_at(at + " type=\"".len());
        out.push_str(before);
        rest = after;
        let Some((kind, tail)) = after.split_once('"') else { break };
        let Some((attributes, text)) = tail.split_once('>') else { break };
        let Some((id, _)) = text.split_once('<') else { break };
        if attributes.ends_with('/') {
            continue;
        }
        if let Some(new) = name(kind, id.trim()) {
            out.push_str(&format!("{kind}\"{attributes}>{new}"));
            rest = &text[id.len()..];
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vms_and_the_host_have_ids_of_their_own_here_and_those_of_vcenter_mean_nobody() {
        let agent = Agent { host: "host-22".to_owned() };
        let inside = r#"<obj type="VirtualMachine">vm-105</obj><val xsi:type="ManagedObjectReference" type="HostSystem">host-22</val><x type="Datastore">datastore-1</x>"#;
        let outside = agent.outward(inside);
        assert_eq!(
            outside,
            r#"<obj type="VirtualMachine">105</obj><val xsi:type="ManagedObjectReference" type="HostSystem">ha-host</val><x type="Datastore">datastore-1</x>"#
        );
        assert_eq!(agent.inward(&outside), inside);
        assert!(agent.inward(inside).contains("unknown-vm-105"));
        assert_eq!(agent.outward("<a type=\"VirtualMachine\"/><b>c</b>"), "<a type=\"VirtualMachine\"/><b>c</b>");
    }
}
