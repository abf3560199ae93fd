//! What VMs write through a disk that they share: the owner writes, the others read that and write, the owner reads those.
//!
//! One claim says that they have the same disk; this says that what one writes the others read. The disk has one file system
//! that nobody has mounted, and is mounted for one command at a time: no file system of these bears two writers.

use serde_json::Value;

use super::super::Failure;
use super::super::inside::Ran;
use super::super::marker::shortened;
use super::super::prepared::PreparedVm;
use super::super::verify::judged;
use super::actor::Actor;
use super::shared_windows;
use crate::api::names::random_chars;
use crate::api::vm::GuestOs;
use crate::event::{EventKind, Finding, Level, Outcome};

/// The check that says so.
const CHECK: &str = "shared-data";
const PLACE: &str = "/mnt/mtv-matrix";
/// The text that nobody else writes.
const LENGTH: usize = 24;

/// The one file system that nobody has mounted, as `lsblk -J -f` tells it.
fn device(lsblk: &str) -> Result<String, String> {
    fn walk<'a>(devices: &'a Value, all: &mut Vec<&'a Value>) {
        for device in devices.as_array().into_iter().flatten() {
            all.push(device);
            walk(&device["children"], all);
        }
    }
    let told: Value = serde_json::from_str(lsblk).map_err(|_| "`lsblk -J -f` prints no JSON".to_owned())?;
    let mut all = Vec::new();
    walk(&told["blockdevices"], &mut all);
    let file_system =
        |device: &Value| matches!(device["fstype"].as_str(), Some("xfs" | "ext2" | "ext3" | "ext4" | "btrfs"));
    // Older ones have `mountpoint`, one text.
    let mounted = |device: &Value| {
        let places = device["mountpoints"].as_array().cloned().unwrap_or_default();
        places.iter().chain([&device["mountpoint"]]).any(|place| place.as_str().is_some_and(|place| !place.is_empty()))
    };
    let free: Vec<&str> = all
        .iter()
        .filter(|device| file_system(device) && !mounted(device))
        .filter_map(|device| device["name"].as_str())
        .filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')))
        .collect();
    match free.as_slice() {
        [one] => Ok(format!("/dev/{one}")),
        [] => Err("there is no file system that is not mounted".to_owned()),
        many => Err(format!("{} file systems are not mounted: {}", many.len(), many.join(", "))),
    }
}

fn file(number: usize) -> String {
    format!("{PLACE}/mtv-matrix-{number}")
}

/// One command: what others left is read from the disk itself, then the own text is written.
fn command(device: &str, read: &[usize], write: Option<(usize, &str)>) -> String {
    let mut all = format!("mkdir -p {PLACE} && blockdev --flushbufs {device} && mount {device} {PLACE}");
    for number in read {
        all.push_str(&format!(" && cat {}", file(*number)));
    }
    if let Some((number, text)) = write {
        all.push_str(&format!(" && printf %s {text} > {} && sync", file(number)));
    }
    all.push_str(&format!("; code=$?; umount {PLACE}; exit $code"));
    all
}

impl Actor<'_> {
    pub(super) async fn share_data(&mut self) -> Result<(), Failure> {
        if !self.looks() {
            return Ok(());
        }
        let arrived = self.arrived(None).await?;
        let is = |owner: bool| move |(vm, _): &&(PreparedVm, String)| vm.wanted.migrate_shared_disks == Some(owner);
        let Some(owner) = arrived.iter().find(is(true)) else { return Ok(()) };
        let users: Vec<_> = arrived.iter().filter(is(false)).collect();
        let text = random_chars(LENGTH);
        for user in &users {
            self.lets_go(user).await?;
        }
        let mut findings = vec![self.told_by(owner, &[], (0, &text), &[]).await?];
        let mut written = Vec::new();
        for (number, user) in (1..).zip(&users) {
            let own = random_chars(LENGTH);
            findings.push(self.told_by(user, &[0], (number, &own), &[&text]).await?);
            written.push((number, own));
        }
        let numbers: Vec<usize> = written.iter().map(|(number, _)| *number).collect();
        let wanted: Vec<&str> = written.iter().map(|(_, text)| text.as_str()).collect();
        findings.push(self.told_by(owner, &numbers, (0, &text), &wanted).await?);
        for finding in &findings {
            if let Outcome::NotJudged { because } = &finding.outcome {
                self.note(Level::Warning, format!("what {} shares is not judged: {because}", finding.vm));
            }
            let (cell, attempt) = (self.cell.id.clone(), self.attempt);
            self.context.parts.events.emit(EventKind::CheckFinished { cell, attempt, finding: finding.clone() });
        }
        judged(&findings, Vec::new(), &self.cell.scenario.essential)
    }

    /// What one VM reads of these files, before it writes its own.
    async fn told_by(
        &self,
        (vm, name): &(PreparedVm, String),
        read: &[usize],
        write: (usize, &str),
        wanted: &[&str],
    ) -> Result<Finding, Failure> {
        let finding =
            |outcome: Outcome| Finding { check: CHECK.to_owned(), vm: vm.before.name.clone(), subject: None, outcome };
        let expected = match wanted {
            [] => "a shared disk that can be written to".to_owned(),
            _ => "what the other VMs wrote on the shared disk".to_owned(),
        };
        let failed = |actual: String| finding(Outcome::Failed { expected: expected.clone(), actual });
        let judged = |place: &str, ran: Ran| match ran {
            // Each text has no blanks, and Windows ends lines.
            Ran::Said(text) if text.split_whitespace().collect::<String>() == wanted.concat() => {
                let actual = format!("{place} holds what the others wrote ({} files)", wanted.len());
                finding(Outcome::Passed { actual })
            }
            Ran::Said(text) => failed(format!("{place} reads {}", shortened(&text))),
            Ran::Failed(why) => failed(why),
            Ran::NotTried(because) => finding(Outcome::NotJudged { because }),
        };
        if vm.before.os == GuestOs::Windows {
            return Ok(match self.label() {
                Ok(label) => {
                    let script = shared_windows::sharing(label, read, Some(write));
                    judged(label, self.inside(vm, name, &shared_windows::line(&script), self.boots()).await?)
                }
                Err(because) => finding(Outcome::NotJudged { because }),
            });
        }
        let listed = match self.inside(vm, name, "lsblk -J -f", self.boots()).await? {
            Ran::Said(text) => text,
            Ran::Failed(why) => return Ok(failed(why)),
            Ran::NotTried(because) => return Ok(finding(Outcome::NotJudged { because })),
        };
        let device = match device(&listed) {
            Ok(device) => device,
            Err(why) => return Ok(failed(why)),
        };
        Ok(judged(&device, self.inside(vm, name, &command(&device, read, Some(write)), self.boots()).await?))
    }

    /// What the disk is called in Windows guests; `Err`: why nobody knows.
    fn label(&self) -> Result<&String, String> {
        match &self.told.label {
            Some(Ok(label)) => Ok(label),
            Some(Err(why)) => Err(format!("the shared disk has no name: {why}")),
            None => Err("nobody knows the drive of a Windows volume: write `label-disk` before `migrate`".to_owned()),
        }
    }

    /// A Windows that has the disk online writes to it by itself: it lets go of it before another does. What speaks against
    /// that is what speaks against its turn.
    async fn lets_go(&self, (vm, name): &(PreparedVm, String)) -> Result<(), Failure> {
        let windows = vm.before.os == GuestOs::Windows;
        if let Some(label) = self.label().ok().filter(|_| windows) {
            let script = shared_windows::line(&shared_windows::sharing(label, &[], None));
            self.inside(vm, name, &script, self.boots()).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shared_disk_is_the_one_file_system_that_nobody_has_mounted() {
        let disks = |more: &str| {
            format!(
                r#"{{"blockdevices": [{{"name": "vda", "fstype": null, "children": [
                    {{"name": "vda1", "fstype": "xfs", "mountpoints": ["/boot"]}},
                    {{"name": "vda2", "fstype": "swap", "mountpoints": [null]}},
                    {{"name": "rhel-root", "fstype": "xfs", "mountpoint": "/"}}]}}{more}]}}"#
            )
        };
        let shared = r#", {"name": "vdb", "fstype": null, "children": [{"name": "vdb1", "fstype": "ext4", "mountpoints": [null]}]}"#;
        assert_eq!(device(&disks(shared)).as_deref(), Ok("/dev/vdb1"));
        assert!(device(&disks("")).unwrap_err().contains("no file system that is not mounted"));
        assert!(device(&disks(&format!("{shared}{shared}"))).unwrap_err().contains("2 file systems"));
        assert!(device("sh: lsblk: not found").is_err());
    }

    #[test]
    fn a_disk_is_mounted_for_one_command_and_given_back_whatever_comes_of_it() {
        let line = command("/dev/vdb1", &[1, 2], Some((0, "text")));
        assert!(line.contains("mount /dev/vdb1 /mnt/mtv-matrix && cat /mnt/mtv-matrix/mtv-matrix-1 && cat "), "{line}");
        assert!(line.ends_with("; code=$?; umount /mnt/mtv-matrix; exit $code"), "{line}");
    }
}
