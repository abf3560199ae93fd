//! The guest: its agent, a login, and the static addresses it had.

use std::net::IpAddr;

use crate::api::vm::{
    AddressOrigin, GuestAddress, GuestInterface, GuestLogin, GuestOs, Mac, SourceNic, SourceVm, TargetNetwork, TargetVm,
};
use crate::config::{Platform, ScenarioVm};
use crate::event::Outcome;

use super::platform;
use super::{Facts, Judgement, failed, not_judged, not_running, part, passed, whole};

/// A scenario asks for an agent, or the source had one: then one that never comes was lost.
pub fn agent_is_owed(vm: &ScenarioVm, before: &SourceVm) -> bool {
    vm.guest_agent || before.guest_agent_running == Some(true)
}

pub(super) fn agent(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    if let Some(off) = not_running(target) {
        return whole(off);
    }
    whole(match target.agent_connected {
        Some(true) => passed("connected"),
        Some(false) if agent_is_owed(facts.vm, facts.before) => {
            failed("guest agent connected", "AgentConnected did not come")
        }
        Some(false) => not_judged("no agent came; the source told of none, and the scenario asks for none"),
        None => not_judged("KubeVirt does not tell whether the agent is connected"),
    })
}

pub(super) fn ssh_login(_: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    if let Some(off) = not_running(target) {
        return whole(off);
    }
    whole(match &target.login {
        GuestLogin::Ok { .. } => passed("logged in"),
        GuestLogin::Failed(why) => failed("a login over SSH", why.clone()),
        GuestLogin::NotTried(why) => not_judged(why.clone()),
    })
}

pub(super) fn static_ip_applies(facts: &Facts<'_>) -> bool {
    facts.scenario.preserve_static_ips
}

/// An address that the world outside a link can use.
fn counts(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
    }
}

/// MTV writes the address into the guest. Of a Linux guest on vSphere it takes every address that the tools told: they
/// set no origin there (forklift-real.md, builder.go `mapMacStaticIps`).
fn is_kept(platform: Platform, before: &SourceVm, address: &GuestAddress) -> bool {
    let all = before.os == GuestOs::Linux && platform::of(platform).linux_addresses_without_origin;
    let kept = match address.origin {
        AddressOrigin::Static => true,
        AddressOrigin::Unknown => all,
        AddressOrigin::Dhcp => false,
    };
    kept && counts(address.ip)
}

/// A static address of the source that the migrated guest does not have as such: a script of its first boot may still
/// be at it.
pub fn missing_address(platform: Platform, before: &SourceVm, now: &[GuestInterface]) -> Option<IpAddr> {
    let wanted = before.nics.iter().filter_map(|nic| nic.guest.as_ref()).flat_map(|guest| &guest.addresses);
    let there = |ip: IpAddr| {
        let mut addresses = now.iter().flat_map(|interface| &interface.addresses);
        addresses.any(|address| address.ip == ip && address.origin != AddressOrigin::Dhcp)
    };
    wanted.filter(|address| is_kept(platform, before, address)).map(|address| address.ip).find(|ip| !there(*ip))
}

fn text(address: &GuestAddress) -> String {
    match address.prefix {
        Some(prefix) => format!("{}/{prefix}", address.ip),
        None => address.ip.to_string(),
    }
}

/// What is known of the migrated guest's addresses, best witness first.
enum Witness<'a> {
    Login(&'a [GuestInterface]),
    Agent,
    Nobody(String),
}

fn witness(target: &TargetVm) -> Witness<'_> {
    let why = match &target.login {
        GuestLogin::Ok { interfaces: Ok(interfaces) } => return Witness::Login(interfaces),
        GuestLogin::Ok { interfaces: Err(why) } => format!("the guest's interfaces could not be read: {why}"),
        GuestLogin::Failed(_) => "the login failed (see ssh-login)".to_owned(),
        GuestLogin::NotTried(why) => format!("no login was tried: {why}"),
    };
    // Without the agent KubeVirt shows the pod's address, not the guest's.
    if target.agent_connected == Some(true) && target.nics.iter().any(|nic| !nic.addresses.is_empty()) {
        Witness::Agent
    } else {
        Witness::Nobody(format!("{why}, and no guest agent tells the addresses"))
    }
}

pub(super) fn static_ip(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    if let Some(off) = not_running(target) {
        return whole(off);
    }
    if facts.before.nics.iter().all(|nic| nic.guest.is_none()) {
        return whole(not_judged("the source guest told no addresses before migration"));
    }
    let witness = witness(target);
    let routes_told = facts.before.nics.iter().any(|nic| nic.guest.as_ref().is_some_and(|g| g.gateway.is_some()));
    let keeps = |a: &&GuestAddress| is_kept(facts.platform, facts.before, a);
    let mut judgements = Vec::new();
    for nic in &facts.before.nics {
        let Some(guest) = &nic.guest else { continue };
        let wanted = guest.addresses.iter().filter(keeps);
        for address in wanted {
            judgements.push(part(
                format!("{} {}", nic.mac, address.ip),
                judge_address(target, nic, guest, address, &witness, routes_told),
            ));
        }
    }
    if !judgements.is_empty() {
        return judgements;
    }
    let addresses = || facts.before.nics.iter().filter_map(|nic| nic.guest.as_ref()).flat_map(|guest| &guest.addresses);
    let unknown = addresses().any(|a| a.origin == AddressOrigin::Unknown && counts(a.ip));
    whole(not_judged(if unknown {
        "the source platform does not tell which of the guest's addresses are static"
    } else {
        "the source guest has no static address"
    }))
}

/// `/etc/resolv.conf` holds no more servers than these.
const RESOLV_CONF: usize = 3;

pub(super) fn dns(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    if let Some(off) = not_running(target) {
        return whole(off);
    }
    let is_static = |a: &GuestAddress| is_kept(facts.platform, facts.before, a);
    let wanted: Vec<(&SourceNic, &GuestInterface)> = (facts.before.nics.iter())
        .filter_map(|nic| Some((nic, nic.guest.as_ref()?)))
        .filter(|(_, guest)| !guest.dns.is_empty() && guest.addresses.iter().any(is_static))
        .collect();
    if wanted.is_empty() {
        return whole(not_judged("the source guest told no DNS server of a NIC with a static address"));
    }
    let interfaces = match witness(target) {
        Witness::Login(interfaces) => interfaces,
        Witness::Agent => return whole(not_judged("the guest agent does not tell DNS servers, and nobody logged in")),
        Witness::Nobody(why) => return whole(not_judged(why)),
    };
    wanted.into_iter().map(|(nic, guest)| part(nic.mac.to_string(), judge_dns(interfaces, nic, guest))).collect()
}

fn judge_dns(interfaces: &[GuestInterface], nic: &SourceNic, source: &GuestInterface) -> Outcome {
    let kept = |a: &GuestAddress| a.origin != AddressOrigin::Dhcp && source.addresses.iter().any(|s| s.ip == a.ip);
    let Some(interface) = interface_of(interfaces, &nic.mac, |interface| interface.addresses.iter().any(kept)) else {
        return not_judged("the guest has no interface with this MAC (see static-ip)");
    };
    if !interface.addresses.iter().any(kept) {
        return not_judged("the address is not static any more (see static-ip)");
    }
    let found = &interface.dns;
    if found.iter().any(IpAddr::is_loopback) {
        return not_judged("a local resolver stands before the DNS servers");
    }
    let text = |servers: &[IpAddr]| {
        let texts: Vec<String> = servers.iter().map(ToString::to_string).collect();
        if texts.is_empty() { "no DNS server".to_owned() } else { texts.join(", ") }
    };
    let there = source.dns.iter().filter(|server| found.contains(server)).count();
    // A full list has no room for the servers of a further NIC.
    let fine = there == source.dns.len() || (there > 0 && found.len() >= RESOLV_CONF);
    if fine { passed(text(found)) } else { failed(text(&source.dns), text(found)) }
}

fn judge_address(
    target: &TargetVm,
    nic: &SourceNic,
    guest: &GuestInterface,
    wanted: &GuestAddress,
    witness: &Witness<'_>,
    routes_told: bool,
) -> Outcome {
    let on_target = target.nics.iter().find(|candidate| candidate.mac.as_ref() == Some(&nic.mac));
    match witness {
        Witness::Nobody(why) => not_judged(why.clone()),
        _ if on_target.is_none() => not_judged("the migrated VM has no NIC with this MAC (see network)"),
        Witness::Login(interfaces) => by_login(interfaces, &nic.mac, guest, wanted, routes_told),
        // Behind masquerade KubeVirt shows the pod's address, also where the agent told another.
        Witness::Agent if on_target.is_some_and(|nic| nic.network == Some(TargetNetwork::Pod)) => {
            not_judged("KubeVirt shows the pod's address of a NIC on the pod network, and nobody logged in")
        }
        Witness::Agent => {
            let addresses = on_target.map(|nic| nic.addresses.as_slice()).unwrap_or_default();
            if addresses.contains(&wanted.ip) {
                passed(format!("{} (by the guest agent)", wanted.ip))
            } else {
                let seen: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                let seen = if seen.is_empty() { "no address".to_owned() } else { seen.join(", ") };
                failed(wanted.ip.to_string(), format!("{seen} (by the guest agent)"))
            }
        }
    }
}

/// The interface with a MAC that has what is looked for, else any with the MAC: a bridge or a bond has the MAC of the
/// NIC that it stands before, and the address with it.
fn interface_of<'a>(
    interfaces: &'a [GuestInterface],
    mac: &Mac,
    has: impl Fn(&GuestInterface) -> bool,
) -> Option<&'a GuestInterface> {
    let with_mac = || interfaces.iter().filter(|interface| interface.mac.as_ref() == Some(mac));
    with_mac().find(|interface| has(interface)).or_else(|| with_mac().next())
}

/// `routes_told`: the source tells default routes, so that an interface without one has none.
fn by_login(
    interfaces: &[GuestInterface],
    mac: &Mac,
    source: &GuestInterface,
    wanted: &GuestAddress,
    routes_told: bool,
) -> Outcome {
    let expected = match source.gateway {
        Some(gateway) => format!("{} static, gateway {gateway}", text(wanted)),
        None if routes_told => format!("{} static, no gateway", text(wanted)),
        None => format!("{} static", text(wanted)),
    };
    let Some(interface) =
        interface_of(interfaces, mac, |interface| interface.addresses.iter().any(|a| a.ip == wanted.ip))
    else {
        return failed(expected, format!("the guest has no interface with MAC {mac}"));
    };
    let Some(found) = interface.addresses.iter().find(|address| address.ip == wanted.ip) else {
        let seen: Vec<String> = interface.addresses.iter().filter(|a| counts(a.ip)).map(text).collect();
        return failed(expected, if seen.is_empty() { "no address".to_owned() } else { seen.join(", ") });
    };
    if let (Some(wanted), Some(actual)) = (wanted.prefix, found.prefix)
        && wanted != actual
    {
        return failed(expected, text(found));
    }
    if found.origin == AddressOrigin::Dhcp {
        return failed(expected, format!("{} from DHCP", text(found)));
    }
    match (source.gateway, interface.gateway) {
        (Some(wanted), Some(actual)) if wanted != actual && wanted.is_ipv4() == actual.is_ipv4() => {
            failed(expected, format!("{}, gateway {actual}", text(found)))
        }
        // A login asks for IPv4 routes, and fails where it can't: no gateway then is none.
        (Some(IpAddr::V4(_)), None) => failed(expected, format!("{}, no gateway", text(found))),
        (None, Some(actual)) if routes_told => failed(expected, format!("{}, gateway {actual}", text(found))),
        _ => passed(text(found)),
    }
}
