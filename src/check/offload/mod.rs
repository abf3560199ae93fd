//! Copy-offload, proven disk by disk: who copied it, by which way, for which array, from which host.
//!
//! Three tell of it and must agree: the populator's log, its object's status (`xcopyUsed` from MTV 2.12 on, the rest from
//! 2.13 on), and the annotations of the Plan's task (likewise). What is not told where it must be is a failure: an
//! offload that nobody can prove is none.

mod log;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::storage::{came_from, pairs};
use super::written::{list, migration, text};
use super::{Array, Facts, Judgement, Offloaded, TargetVm, failed, major_minor, part, passed, whole};
use crate::api::pods::SeenPod;
use crate::api::vm::{SourceDisk, TargetDisk};
use crate::config::scenarios::Copier;
use crate::event::Outcome;

/// Since when a populator's status says whether XCOPY was used, and its pod carries the VM and the Plan.
const TELLS_XCOPY: (u32, u32) = (2, 12);
/// Since when it says the rest.
const TELLS_ALL: (u32, u32) = (2, 13);

pub(super) fn asked(facts: &Facts<'_>) -> bool {
    facts.scenario.copyoffload
}

pub(super) fn proven(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    let Some(left) = &facts.ran.offload else {
        return whole(failed("traces of the populators", "nobody looked for them"));
    };
    let (pods, objects) = match (&left.pods, &left.populators) {
        (Ok(pods), Ok(objects)) => (pods, objects),
        (Err(why), _) => return whole(failed("the populators' pods", format!("not seen: {why}"))),
        (_, Err(why)) => return whole(failed("the populators' objects", format!("not read: {why}"))),
    };
    let pairs = pairs(facts, target);
    let mut judgements: Vec<Judgement> = Vec::new();
    let mut own: BTreeSet<&str> = BTreeSet::new();
    for (disk, hit) in &pairs.of_source {
        let label = subject(disk);
        let Some((_, migrated)) = hit else {
            judgements.push(part(label, failed("a migrated disk", "none came from it")));
            continue;
        };
        let uid =
            target.objects.claims.get(&migrated.pvc).map(|claim| text(claim, "/metadata/uid")).unwrap_or_default();
        let pod = pods.iter().rev().find(|pod| !uid.is_empty() && pod.name.ends_with(uid));
        let object = objects.iter().find(|object| text(object, "/metadata/name") == migrated.pvc);
        own.extend(pod.map(|pod| pod.name.as_str()));
        let one = OneDisk { facts, left, disk, migrated, pod, object };
        judgements.push(part(label, one.judge()));
    }
    let disks = facts.before.disks.len();
    judgements.push((
        None,
        match own.len() == disks {
            true => passed(format!("{} for {}", super::count(own.len(), "populator"), super::count(disks, "disk"))),
            false => failed(
                format!("a populator a disk: {disks}"),
                format!("{} of this VM among {} that were seen", own.len(), pods.len()),
            ),
        },
    ));
    if let Some(limit) = facts.scenario.offload.populators_in_flight {
        judgements.push(in_flight(pods, usize::try_from(limit).unwrap_or(usize::MAX)));
    }
    judgements
}

/// The peak of the host with the highest one must be the limit: below it nobody knows whether it acted.
fn in_flight(pods: &[SeenPod], limit: usize) -> Judgement {
    let mut hosts: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
    for pod in pods {
        let host = pod.labels.get("sourceHost").map(String::as_str).unwrap_or_default();
        hosts.entry(host).or_default().push((pod.begun, pod.ended.unwrap_or(u64::MAX)));
    }
    let peak = |spans: &Vec<(u64, u64)>| {
        let at = |(begun, _): &(u64, u64)| spans.iter().filter(|(b, e)| b <= begun && begun < e).count();
        spans.iter().map(at).max().unwrap_or_default()
    };
    let highest = hosts.iter().map(|(host, spans)| (peak(spans), *host)).max().unwrap_or_default();
    let outcome = match highest {
        (peak, host) if peak == limit => passed(format!("{peak} of {} on {host} at the same time", pods.len())),
        (peak, host) => failed(
            format!("{limit} populators of one host at the same time at most"),
            format!("{peak} of {} on {host}", pods.len()),
        ),
    };
    part("populators in flight", outcome)
}

/// `Hard disk 1, [datastore1] rhel.vmdk`.
fn subject(disk: &SourceDisk) -> String {
    match &disk.file_name {
        Some(file) => format!("{}, [{}] {file}", disk.label, disk.storage_name),
        None => disk.label.clone(),
    }
}

/// Everything about one disk.
struct OneDisk<'a> {
    facts: &'a Facts<'a>,
    left: &'a Offloaded,
    disk: &'a SourceDisk,
    migrated: &'a TargetDisk,
    pod: Option<&'a SeenPod>,
    object: Option<&'a Value>,
}

impl OneDisk<'_> {
    fn judge(&self) -> Outcome {
        match self.told() {
            Ok(outcome) | Err(outcome) => outcome,
        }
    }

    fn told(&self) -> Result<Outcome, Outcome> {
        let array = &self.left.array;
        let pod = self.pod.ok_or_else(|| failed("its populator's pod", format!("none of {}", self.migrated.pvc)))?;
        let told = log::read(&pod.log);
        if let Some(why) = &told.failed {
            return Err(failed("a copy that ends well", format!("its populator failed: {why}")));
        }
        if !told.finished {
            let why = pod.unread.as_deref().map(|why| format!(" ({why})")).unwrap_or_default();
            let lines = pod.log.lines().count();
            return Err(failed("a log up to the end of the copy", format!("{lines} lines without one{why}")));
        }
        let used = told.xcopy_used.ok_or_else(|| failed("a log that tells of XCOPY", "it says nothing of it"))?;
        let method = told.method.as_deref().ok_or_else(|| failed("a log that tells the method", "it tells none"))?;
        let object = self.object.ok_or_else(|| failed("its populator's object", "it is not there"))?;
        self.agree(used, method, object)?;
        let host = self.host(pod)?;
        let vendor = text(object, "/spec/storageVendorProduct");
        if vendor != array.vendor {
            return Err(failed(format!("the array of {}", array.vendor), format!("of {vendor}")));
        }
        let by_array = used || matches!(method, "rdm" | "vvol");
        let raw = if self.disk.raw { ["rdm", array.method.as_str()] } else { [array.method.as_str(); 2] };
        if !raw.contains(&method) && method != "vvol" {
            return Err(failed(format!("the method {}", raw.join(" or ")), format!("the method {method}")));
        }
        let seen = format!(
            "{} by {method} on {host}, xcopyUsed {}",
            if by_array { "the array copied it" } else { "the ESXi host copied it itself" },
            u8::from(used)
        );
        match (self.wanted(array), by_array) {
            (true, true) | (false, false) => Ok(passed(format!("{seen}, {vendor}"))),
            (true, false) => Err(failed("the array copies it", seen)),
            (false, true) => Err(failed("the ESXi host copies it itself", seen)),
        }
    }

    /// Whether the array is to copy it.
    fn wanted(&self, array: &Array) -> bool {
        let outside = |store: &String| *store == self.disk.storage_id || *store == self.disk.storage_name;
        match self.facts.scenario.offload.expect {
            Copier::Array => true,
            Copier::Host => false,
            Copier::ByDatastore => !array.without_xcopy.as_ref().is_some_and(outside),
        }
    }

    fn tells(&self, since: (u32, u32)) -> bool {
        self.facts.mtv_version.and_then(major_minor).is_some_and(|now| now >= since)
    }

    /// What MTV made of the populator's word.
    fn agree(&self, used: bool, method: &str, object: &Value) -> Result<(), Outcome> {
        let said = text(object, "/status/xcopyUsed");
        let word = if used { "1" } else { "0" };
        let task = self.task();
        let annotated = |key: &str| task.map(|task| text(task, &format!("/annotations/{key}"))).unwrap_or_default();
        let mut wanted: Vec<(&str, &str, String)> = Vec::new();
        if self.tells(TELLS_XCOPY) {
            wanted.push(("status.xcopyUsed", said, word.to_owned()));
            wanted.push(("the task's annotation xcopyUsed", annotated("xcopyUsed"), word.to_owned()));
        }
        if self.tells(TELLS_ALL) {
            let array = &self.left.array;
            for (key, value) in
                [("result", "success"), ("cloneMethod", method), ("storageVendor", array.vendor.as_str())]
            {
                wanted.push((key, text(object, &format!("/status/{key}")), value.to_owned()));
            }
        }
        for (what, told, wanted) in wanted {
            match told {
                "" => return Err(failed(format!("{what} {wanted}"), "it is not told")),
                told if told != wanted => return Err(failed(format!("{what} {wanted}, as its log says"), told)),
                _ => {}
            }
        }
        if self.tells(TELLS_ALL) {
            self.bytes(text(object, "/status/provisionedBytes"))?;
        }
        Ok(())
    }

    /// The controller writes the number of bytes as a float of Go's.
    fn bytes(&self, told: &str) -> Result<(), Outcome> {
        let expected = self.disk.capacity_bytes as f64;
        let same = told.parse::<f64>().is_ok_and(|told| (told - expected).abs() < 1.0);
        if same {
            Ok(())
        } else {
            Err(failed(format!("{} bytes", self.disk.capacity_bytes), format!("{told:?} bytes")))
        }
    }

    /// The task of the disk among those of the migration's copy.
    fn task(&self) -> Option<&Value> {
        let Ok(Some(ran)) = &self.facts.ran.migration else { return None };
        let vm = migration::own(self.facts, list(ran, "/status/vms"))?;
        let steps = list(vm, "/pipeline").iter().filter(|step| text(step, "/name") == "DiskTransfer");
        let mut tasks = steps.flat_map(|step| list(step, "/tasks"));
        let named = |task: &&Value| {
            let disk = TargetDisk { disk_source: Some(text(task, "/name").to_owned()), ..self.migrated.clone() };
            came_from(&disk, self.disk)
        };
        tasks.find(named)
    }

    /// The host that copied; where the scenario names some, one of them.
    fn host<'a>(&self, pod: &'a SeenPod) -> Result<&'a str, Outcome> {
        let host = pod.labels.get("sourceHost").map(String::as_str).unwrap_or_default();
        if host.is_empty() {
            return Err(failed("the pod's label sourceHost", "it has none"));
        }
        let hosts = &self.left.array.hosts;
        if hosts.is_empty() || hosts.iter().any(|one| one == host) {
            return Ok(host);
        }
        Err(failed(format!("a copy on {}", hosts.join(" or ")), format!("on {host}")))
    }
}
