//! Disks: how many, how big, in which order, and on which storage.
//!
//! A migrated disk is compared with the disk it was made from: by the source that its PVC names
//! where it names one, else by position. A disk without a counterpart is `disk-count`'s finding
//! alone; the others say that they cannot judge it.

use crate::api::forklift::StorageDestination;
use crate::api::vm::{SourceDisk, TargetDisk, TargetVm};
use crate::event::Outcome;

use super::network::row_is;
use super::platform;
use super::{Facts, Judgement, count, failed, not_judged, part, passed, whole};

const NO_COUNTERPART: &str = "the disk has no counterpart (see disk-count)";

/// Who came from whom: for each source disk its target, if any.
pub(super) struct Pairs<'a> {
    pub(super) of_source: Vec<(&'a SourceDisk, Option<(usize, &'a TargetDisk)>)>,
    /// The PVCs tell where they came from, so the pairs are facts and not positions.
    pub(super) by_annotation: bool,
}

/// Last segment of `[datastore] folder/disk.vmdk`.
fn file_name(path: &str) -> &str {
    let tail = path.rsplit(']').next().unwrap_or(path);
    tail.rsplit('/').next().unwrap_or(tail).trim()
}

/// `datastore` of `[datastore] folder/disk.vmdk`.
fn datastore(path: &str) -> Option<&str> {
    Some(path.strip_prefix('[')?.split_once(']')?.0)
}

/// A file without its snapshot number: `disk-000001.vmdk` is a delta of `disk.vmdk`.
fn base_file(file: &str) -> &str {
    let stem = file.strip_suffix(".vmdk").unwrap_or(file);
    match stem.rsplit_once('-') {
        Some((base, number)) if number.len() == 6 && number.bytes().all(|b| b.is_ascii_digit()) => base,
        _ => stem,
    }
}

pub(super) fn came_from(target: &TargetDisk, source: &SourceDisk) -> bool {
    let Some(said) = target.disk_source.as_deref() else { return false };
    if said == source.id || said == source.label {
        return true;
    }
    // Files of one name lie on several datastores: each names its first disk after the VM.
    let elsewhere =
        datastore(said).is_some_and(|store| !source.storage_name.is_empty() && store != source.storage_name);
    let same_file = |file: &str| base_file(file_name(said)) == base_file(file_name(file));
    !elsewhere && source.file_name.as_deref().is_some_and(same_file)
}

/// Pairs source and target disks.
pub(super) fn pairs<'a>(facts: &'a Facts<'_>, target: &'a TargetVm) -> Pairs<'a> {
    let mut used = vec![false; target.disks.len()];
    let mut of_source = Vec::new();
    for source in &facts.before.disks {
        let hit = target
            .disks
            .iter()
            .enumerate()
            .find(|(i, disk)| !used.get(*i).copied().unwrap_or(true) && came_from(disk, source));
        if let Some((i, _)) = hit
            && let Some(slot) = used.get_mut(i)
        {
            *slot = true;
        }
        of_source.push((source, hit));
    }
    if !target.disks.is_empty() && used.iter().all(|used| *used) {
        return Pairs { of_source, by_annotation: true };
    }
    // Positions say nothing when the counts differ: which of the disks is missing is unknown.
    let positional = facts.before.disks.len() == target.disks.len();
    let of_source = facts
        .before
        .disks
        .iter()
        .enumerate()
        .map(|(i, source)| (source, target.disks.get(i).filter(|_| positional).map(|disk| (i, disk))))
        .collect();
    Pairs { of_source, by_annotation: false }
}

/// Bytes as a person reads them, exact where they are whole MiB.
fn size(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    if bytes.is_multiple_of(GIB) {
        format!("{} GiB", bytes / GIB)
    } else if bytes.is_multiple_of(MIB) {
        format!("{} MiB", bytes / MIB)
    } else {
        format!("{bytes} bytes")
    }
}

fn nothing_to_judge(facts: &Facts<'_>) -> Option<Vec<Judgement>> {
    facts.before.disks.is_empty().then(|| whole(not_judged("the source VM has no disk")))
}

pub(super) fn disk_count(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    let (before, after) = (facts.before.disks.len(), target.disks.len());
    whole(if before == after {
        passed(count(after, "disk"))
    } else {
        failed(count(before, "disk"), count(after, "disk"))
    })
}

/// Whether the same sizes are there, in another order. Only asked where nothing names the source.
fn same_sizes_elsewhere(pairs: &Pairs<'_>) -> bool {
    let mut before: Vec<u64> = pairs.of_source.iter().map(|(source, _)| source.capacity_bytes).collect();
    let mut after: Vec<u64> =
        pairs.of_source.iter().filter_map(|(_, hit)| hit.map(|(_, disk)| disk.capacity_bytes)).collect();
    let moved = before != after;
    before.sort_unstable();
    after.sort_unstable();
    moved && before == after
}

pub(super) fn disk_size(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    if let Some(nothing) = nothing_to_judge(facts) {
        return nothing;
    }
    let pairs = pairs(facts, target);
    if !pairs.by_annotation && same_sizes_elsewhere(&pairs) {
        return whole(not_judged("the sizes are all there, but in another order (see disk-order)"));
    }
    each(&pairs, |source, disk| {
        if disk.capacity_bytes >= source.capacity_bytes {
            passed(size(disk.capacity_bytes))
        } else {
            failed(
                format!("at least {}", size(source.capacity_bytes)),
                format!("{} ({})", size(disk.capacity_bytes), disk.pvc),
            )
        }
    })
}

pub(super) fn disk_order(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    if let Some(nothing) = nothing_to_judge(facts) {
        return nothing;
    }
    let pairs = pairs(facts, target);
    if pairs.by_annotation && !platform::of(facts.platform).disks_in_order {
        return whole(boot_disk(&pairs));
    }
    if !pairs.by_annotation {
        return whole(match facts.before.disks.len() {
            1 if target.disks.len() == 1 => passed("one disk"),
            _ if same_sizes_elsewhere(&pairs) => failed(
                sizes(facts.before.disks.iter().map(|disk| disk.capacity_bytes)),
                sizes(target.disks.iter().map(|disk| disk.capacity_bytes)),
            ),
            _ => not_judged("the PVCs do not tell which source disk they came from"),
        });
    }
    let mut matched: Vec<(usize, &SourceDisk)> =
        pairs.of_source.iter().filter_map(|(source, hit)| hit.map(|(i, _)| (i, *source))).collect();
    let expected: Vec<&str> = matched.iter().map(|(_, source)| source.label.as_str()).collect();
    let expected = expected.join(", ");
    matched.sort_by_key(|(i, _)| *i);
    let actual: Vec<&str> = matched.iter().map(|(_, source)| source.label.as_str()).collect();
    let in_order = pairs.of_source.iter().filter_map(|(_, hit)| hit.map(|(i, _)| i)).is_sorted();
    let actual = actual.join(", ");
    whole(if in_order { passed(actual) } else { failed(expected, actual) })
}

/// MTV lists the disks of an OpenStack VM by the names of their PVCs, which tell no order; what must
/// stay is the disk that the VM boots from.
fn boot_disk(pairs: &Pairs<'_>) -> Outcome {
    let boots = pairs
        .of_source
        .iter()
        .filter_map(|(source, hit)| hit.map(|(i, disk)| (disk.boot_order.unwrap_or(u32::MAX), i, *source)))
        .min_by_key(|(order, i, _)| (*order, *i));
    let wanted = pairs.of_source.first().map(|(source, _)| *source);
    match (wanted, boots) {
        (Some(wanted), Some((_, _, actual))) if wanted == actual => passed(format!("boots from {}", actual.label)),
        (Some(wanted), Some((_, _, actual))) => {
            failed(format!("boots from {}", wanted.label), format!("boots from {}", actual.label))
        }
        _ => not_judged(NO_COUNTERPART),
    }
}

fn sizes(bytes: impl Iterator<Item = u64>) -> String {
    bytes.map(size).collect::<Vec<_>>().join(", ")
}

/// Judges every source disk that has a counterpart; one that has none is not judged.
fn each(pairs: &Pairs<'_>, judge: impl Fn(&SourceDisk, &TargetDisk) -> Outcome) -> Vec<Judgement> {
    pairs
        .of_source
        .iter()
        .map(|(source, hit)| {
            let outcome = match hit {
                Some((_, disk)) => judge(source, disk),
                None => not_judged(NO_COUNTERPART),
            };
            part(source.label.clone(), outcome)
        })
        .collect()
}

/// The destination that the map really created gives a disk; the first row that fits, as in MTV.
fn destination<'a>(facts: &'a Facts<'_>, disk: &SourceDisk) -> Option<&'a StorageDestination> {
    facts
        .storage_map
        .iter()
        .find(|row| row_is(&row.source, &disk.storage_id, &disk.storage_name))
        .map(|row| &row.destination)
}

fn no_row(source: &SourceDisk) -> String {
    format!("the StorageMap has no row for {} ({})", source.storage_name, source.storage_id)
}

pub(super) fn storage_class(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    if let Some(nothing) = nothing_to_judge(facts) {
        return nothing;
    }
    each(&pairs(facts, target), |source, disk| {
        let Some(wanted) = destination(facts, source) else {
            return failed(format!("a StorageMap row for {}", source.storage_name), no_row(source));
        };
        let actual = disk.storage_class.as_deref().unwrap_or("no storage class");
        if actual == wanted.storage_class {
            passed(actual)
        } else {
            failed(wanted.storage_class.clone(), format!("{actual} ({})", disk.pvc))
        }
    })
}

pub(super) fn access_mode(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    if let Some(nothing) = nothing_to_judge(facts) {
        return nothing;
    }
    each(&pairs(facts, target), |source, disk| {
        let Some(row) = destination(facts, source) else { return not_judged(no_row(source)) };
        let (mut wanted, origin) = match (&row.access_mode, facts.storage_defaults.get(&row.storage_class)) {
            (Some(mode), _) => (vec![mode.clone()], "by the StorageMap"),
            (None, Some((modes, volume))) if !modes.is_empty() && goes_with(&row.volume_mode, volume) => {
                (modes.clone(), "by the StorageProfile")
            }
            (None, _) => {
                return not_judged(format!(
                    "neither the StorageMap nor a StorageProfile tells the access mode of {}",
                    row.storage_class
                ));
            }
        };
        let mut actual = disk.access_modes.clone();
        wanted.sort_unstable();
        actual.sort_unstable();
        let (expected, found) = (wanted.join(", "), actual.join(", "));
        let found = if found.is_empty() { "no access mode".to_owned() } else { found };
        if wanted == actual {
            passed(found)
        } else {
            failed(format!("{expected} ({origin})"), format!("{found} ({})", disk.pvc))
        }
    })
}

/// A default of the StorageProfile holds for one volume mode; a row that names another is not it.
fn goes_with(named: &Option<String>, default: &Option<String>) -> bool {
    named.is_none() || named == default
}

pub(super) fn volume_mode(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    if let Some(nothing) = nothing_to_judge(facts) {
        return nothing;
    }
    each(&pairs(facts, target), |source, disk| {
        let Some(row) = destination(facts, source) else { return not_judged(no_row(source)) };
        let default = facts.storage_defaults.get(&row.storage_class);
        let (wanted, origin) = match (&row.volume_mode, default) {
            (Some(mode), _) => (mode.clone(), "by the StorageMap"),
            (None, Some((modes, Some(mode))))
                if row.access_mode.as_ref().is_none_or(|access| modes.contains(access)) =>
            {
                (mode.clone(), "by the StorageProfile")
            }
            (None, _) => {
                return not_judged(format!(
                    "neither the StorageMap nor a StorageProfile tells the volume mode of {}",
                    row.storage_class
                ));
            }
        };
        // Kubernetes reads a missing volume mode as Filesystem.
        let actual = disk.volume_mode.as_deref().unwrap_or("Filesystem");
        if actual == wanted {
            passed(actual)
        } else {
            failed(format!("{wanted} ({origin})"), format!("{actual} ({})", disk.pvc))
        }
    })
}
