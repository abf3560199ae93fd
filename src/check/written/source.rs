//! The source VM afterwards: still there, and changed in nothing but its power.

use super::super::{Facts, Judgement, not_judged, whole};
use super::Compared;
use crate::api::vm::{SourceDisk, SourceNic};

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
    let nic = |nic: &SourceNic| format!("{} on {}", nic.mac, nic.network_id);
    let disk = |disk: &SourceDisk| format!("{}: {} bytes on {}", disk.label, disk.capacity_bytes, disk.storage_id);
    lists("NICs", before.nics.iter().map(nic), after.nics.iter().map(nic), &mut compared);
    lists("disks", before.disks.iter().map(disk), after.disks.iter().map(disk), &mut compared);
    compared.judgements("as it was")
}

fn lists(what: &str, old: impl Iterator<Item = String>, new: impl Iterator<Item = String>, compared: &mut Compared) {
    let (old, new): (Vec<String>, Vec<String>) = (old.collect(), new.collect());
    compared.holds(old == new, what, &old.join(", "), || new.join(", "));
}
