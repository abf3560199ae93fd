//! Every NIC arrives with its MAC, on the network that the map really created says.

use crate::api::forklift::{NetworkDestination, NetworkPair, Ref};
use crate::api::vm::{SourceNic, TargetNetwork, TargetNic, TargetVm};

use super::platform;
use super::{Facts, Judgement, failed, not_judged, part, passed, whole};

/// Whether a map row's source is the thing with this id and name.
///
/// The id decides where the row has one. A name may be a path or `namespace/name`, so its last
/// segment counts too.
pub(super) fn row_is(source: &Ref, id: &str, name: &str) -> bool {
    if let Some(row_id) = source.id.as_deref().filter(|row_id| !row_id.is_empty()) {
        return row_id == id;
    }
    match source.name.as_deref().filter(|row_name| !row_name.is_empty()) {
        Some(row_name) => row_name == name || row_name.rsplit('/').next() == Some(name),
        None => source.type_.as_deref().is_some_and(|type_| type_ == name || type_ == id),
    }
}

/// Where each NIC of the source lands. Of several rows of one network MTV gives each NIC of a VM another NAD, in their
/// order, unless one of them is no NAD, which then takes all (`AllocateNetwork`,
/// pkg/controller/plan/adapter/base/network.go); where a platform's builder does not ask that, the first row does.
fn destinations<'a>(facts: &Facts<'a>) -> Vec<Option<&'a NetworkDestination>> {
    let shares = platform::of(facts.platform).shares_rows_out;
    let mut taken: Vec<&NetworkDestination> = Vec::new();
    let mut of = |nic: &SourceNic| {
        let is_its = |row: &&'a NetworkPair| row_is(&row.source, &nic.network_id, &nic.network_name);
        let rows: Vec<&NetworkDestination> =
            facts.network_map.iter().filter(is_its).map(|row| &row.destination).collect();
        if rows.len() < 2 || !shares {
            return rows.first().copied();
        }
        let other = rows.iter().find(|row| row.type_ != "multus");
        let found = other.or_else(|| rows.iter().find(|row| !taken.contains(row))).copied();
        taken.extend(found);
        found
    };
    facts.before.nics.iter().map(&mut of).collect()
}

fn wanted_text(wanted: &NetworkDestination) -> String {
    match (wanted.type_.as_str(), &wanted.namespace, &wanted.name) {
        ("multus", Some(namespace), Some(name)) => format!("{namespace}/{name}"),
        ("multus", None, Some(name)) => name.clone(),
        (other, ..) => other.to_owned(),
    }
}

fn is_on(wanted: &NetworkDestination, actual: &TargetNetwork) -> bool {
    match actual {
        TargetNetwork::Pod => wanted.type_ == "pod",
        TargetNetwork::Multus { namespace, name } => {
            wanted.type_ == "multus"
                && wanted.name.as_ref() == Some(name)
                && wanted.namespace.as_ref().is_none_or(|wanted| wanted == namespace)
        }
    }
}

pub(super) fn network(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    if facts.before.nics.is_empty() && target.nics.is_empty() {
        return whole(passed("no NIC on either side"));
    }
    let known: Vec<String> = target.nics.iter().filter_map(|nic| nic.mac.as_ref()).map(ToString::to_string).collect();
    let nameless = target.nics.len() > known.len();
    // An OVF need not tell MACs: then the order of the NICs is all there is to go by.
    let unnamed = |nic: &SourceNic| nic.mac.as_str().is_empty();
    let judge = |(position, (nic, wanted)): (usize, (&SourceNic, Option<&NetworkDestination>))| {
        if unnamed(nic) {
            let by_position = target.nics.get(position).filter(|_| target.nics.len() == facts.before.nics.len());
            return part(nic.label.clone(), source_nic(facts, nic, wanted, by_position, target, true));
        }
        let found = target.nics.iter().find(|candidate| candidate.mac.as_ref() == Some(&nic.mac));
        part(nic.mac.to_string(), source_nic(facts, nic, wanted, found, target, nameless))
    };
    let wanted = destinations(facts);
    let mut judgements: Vec<Judgement> = facts.before.nics.iter().zip(wanted).enumerate().map(judge).collect();
    if facts.before.nics.iter().any(unnamed) && target.nics.len() == facts.before.nics.len() {
        return judgements;
    }
    // The other direction: a NIC that nobody asked for.
    for nic in &target.nics {
        let Some(mac) = &nic.mac else { continue };
        if !facts.before.nics.iter().any(|source| &source.mac == mac) {
            judgements.push(part(mac.to_string(), failed("no NIC with this MAC", format!("NIC {}", nic.name))));
        }
    }
    judgements
}

/// Whether the NIC of a cluster's VM goes from the pod network to another, or back.
fn changes_kind(facts: &Facts<'_>, nic: &SourceNic, wanted: &NetworkDestination) -> bool {
    platform::of(facts.platform).keeps_kind_of_network && (nic.network_id == "pod") != (wanted.type_ == "pod")
}

fn source_nic(
    facts: &Facts<'_>,
    nic: &SourceNic,
    wanted: Option<&NetworkDestination>,
    found: Option<&TargetNic>,
    target: &TargetVm,
    nameless: bool,
) -> crate::event::Outcome {
    let Some(wanted) = wanted else {
        return failed(
            format!("a NetworkMap row for {} ({})", nic.network_name, nic.network_id),
            "the map has no row for it",
        );
    };
    let ignored = wanted.type_ == "ignored";
    match found {
        // From a cluster MTV only keeps an interface whose network stays of its kind (forklift.md §7.8).
        None if changes_kind(facts, nic, wanted) => {
            not_judged("MTV drops an interface that goes from the pod network to a Multus network, or back")
        }
        None if ignored => passed("no NIC, because its network is mapped to ignored"),
        Some(found) if ignored => failed("no NIC (its network is mapped to ignored)", format!("NIC {}", found.name)),
        None if nameless => not_judged("a NIC of the migrated VM tells no MAC, so it cannot be matched"),
        None => {
            let macs: Vec<&str> =
                target.nics.iter().filter_map(|nic| nic.mac.as_ref()).map(|mac| mac.as_str()).collect();
            let macs = if macs.is_empty() { "none".to_owned() } else { macs.join(", ") };
            failed(format!("a NIC with MAC {} on {}", nic.mac, wanted_text(wanted)), format!("NICs: {macs}"))
        }
        Some(found) => match &found.network {
            Some(actual) if is_on(wanted, actual) => passed(actual.to_string()),
            Some(actual) => failed(wanted_text(wanted), actual.to_string()),
            None => {
                failed(wanted_text(wanted), format!("NIC {} names a network that the VM does not define", found.name))
            }
        },
    }
}
