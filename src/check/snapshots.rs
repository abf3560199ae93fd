//! The source's snapshots are the ones it had; MTV left none of its own.

use crate::api::vm::{SourceSnapshot, SourceVm};
use crate::config::Platform;

use super::platform::{self, Snapshots};
use super::{Facts, Judgement, count, failed, not_judged, part, passed, whole};

/// How the snapshots are named that MTV makes: for a warm migration, and to copy an OpenStack volume.
const OF_MTV: [&str; 3] =
    ["forklift-migration-precopy", "Forklift Operator warm migration precopy", "snapshot for forklift-migration-vm-"];

/// Whether MTV takes its snapshots off the source only after it has said that the migration ended.
pub fn removed_late(platform: Platform, warm: bool) -> bool {
    platform::of(platform).snapshots == Snapshots::RemovedLate && warm
}

/// Snapshots of MTV's that `after` has and `before` had not.
pub fn of_mtv<'a>(before: &'a SourceVm, after: &'a SourceVm) -> impl Iterator<Item = &'a SourceSnapshot> {
    let known = |snapshot: &SourceSnapshot| before.snapshots.iter().any(|old| old.id == snapshot.id);
    after.snapshots.iter().filter(move |snapshot| !known(snapshot) && is_of_mtv(snapshot))
}

fn is_of_mtv(snapshot: &SourceSnapshot) -> bool {
    OF_MTV.iter().any(|name| snapshot.name.starts_with(name))
}

/// Creation times are compared to the minute: `2026-01-02T03:04`.
const TO_THE_MINUTE: usize = 16;

fn minute(snapshot: &SourceSnapshot) -> Option<&str> {
    snapshot.created.as_deref().map(|time| time.get(..TO_THE_MINUTE).unwrap_or(time))
}

fn text(snapshot: &SourceSnapshot) -> String {
    format!(
        "snapshot {} ({}), created {}",
        snapshot.name,
        snapshot.id,
        minute(snapshot).unwrap_or("at an unknown time")
    )
}

pub(super) fn snapshots(facts: &Facts<'_>) -> Vec<Judgement> {
    if platform::of(facts.platform).snapshots == Snapshots::Untold {
        return whole(not_judged("snapshots are compared on vSphere, oVirt and OpenStack only"));
    }
    let after = match &facts.source_after {
        Ok(after) => &after.snapshots,
        Err(why) => return whole(not_judged(format!("the source VM could not be read after migration: {why}"))),
    };
    let before = &facts.before.snapshots;
    let mut wrong = Vec::new();
    for old in before {
        match after.iter().find(|new| new.id == old.id) {
            None => wrong.push(part(old.name.clone(), failed(text(old), "the snapshot is gone"))),
            Some(new) if new.name != old.name || (minute(new) != minute(old) && new.created.is_some()) => {
                wrong.push(part(old.name.clone(), failed(text(old), text(new))));
            }
            Some(_) => {}
        }
    }
    for new in after.iter().filter(|new| !before.iter().any(|old| old.id == new.id)) {
        let expected = if is_of_mtv(new) { "no snapshot of MTV left" } else { "no new snapshot" };
        wrong.push(part(new.name.clone(), failed(expected, text(new))));
    }
    if wrong.is_empty() { whole(passed(count(after.len(), "snapshot"))) } else { wrong }
}
