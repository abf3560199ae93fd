//! The source VM afterwards: still there, and changed in nothing but its power.

use super::super::{Facts, Judgement, not_judged, whole};
use super::Compared;
use crate::api::vm::{Power, SourceDisk, SourceNic};

pub(in crate::check) fn kept(facts: &Facts<'_>) -> Vec<Judgement> {
    let (before, after) = match &facts.source_after {
        Ok(after) => (facts.before, after),
        Err(why) => return whole(not_judged(format!("the source VM could not be read after migration: {why}"))),
    };
    let mut compared = Compared::default();
    compared.same("id", &before.id, &after.id);
    compared.same("name", &before.name, &after.name);
    let pairs = [
        ("uuid", format!("{:?}", before.uuid), format!("{:?}", after.uuid)),
        ("CPU", format!("{:?}", before.cpu), format!("{:?}", after.cpu)),
        ("memory", format!("{:?}", before.memory_mib), format!("{:?}", after.memory_mib)),
        ("firmware", format!("{:?}", before.firmware), format!("{:?}", after.firmware)),
    ];
    for (what, old, new) in pairs {
        compared.holds(old == new, what, &old, || new.clone());
    }
    let nic = |nic: &SourceNic, connected: bool| {
        format!("{} on {}{}", nic.mac, nic.network_id, if connected { "" } else { " (disconnected)" })
    };
    // Of a VM that is off a platform tells what its NICs will be.
    let off = after.power == Power::Off;
    let was = |it: &SourceNic| nic(it, it.starts_connected.filter(|_| off).unwrap_or(it.connected));
    let disk = |disk: &SourceDisk| format!("{}: {} bytes on {}", disk.label, disk.capacity_bytes, disk.storage_id);
    lists("NICs", before.nics.iter().map(was), after.nics.iter().map(|it| nic(it, it.connected)), &mut compared);
    lists("disks", before.disks.iter().map(disk), after.disks.iter().map(disk), &mut compared);
    compared.judgements("as it was")
}

fn lists(what: &str, old: impl Iterator<Item = String>, new: impl Iterator<Item = String>, compared: &mut Compared) {
    let (old, new): (Vec<String>, Vec<String>) = (old.collect(), new.collect());
    compared.holds(old == new, what, &old.join(", "), || new.join(", "));
}
