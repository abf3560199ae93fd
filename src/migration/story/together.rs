//! What several VMs or Plans did at the same time, by the times that MTV tells of them: never by one look.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::super::Failure;
use super::actor::Actor;
use crate::api::forklift::VmStatus;
use crate::config::steps::{Expect, PlanName};
use crate::event::Problem;
use crate::forklift::inventory;

/// From a beginning to an end, that is not part of it; `None`: it has not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    begun: Timestamp,
    ended: Option<Timestamp>,
}

impl Span {
    fn overlaps(self, other: Self) -> bool {
        let before = |a: Self, b: Self| a.ended.is_some_and(|ended| ended <= b.begun);
        !before(self, other) && !before(other, self)
    }

    /// MTV writes whole seconds: what began and ended in one took some of it.
    fn with_its_second(self) -> Self {
        let shortest = self.begun + SignedDuration::from_secs(1);
        Self { ended: self.ended.map(|ended| ended.max(shortest)), ..self }
    }
}

fn time(text: Option<&String>) -> Option<Timestamp> {
    text.and_then(|text| text.parse().ok())
}

/// A VM's migration, from the moment that MTV took it up; `None`: it waits.
fn of_vm(vm: &VmStatus) -> Option<Span> {
    Some(Span { begun: time(vm.started.as_ref())?, ended: time(vm.completed.as_ref()) })
}

/// The part of it that counts for MTV's limit: until its disks are copied.
fn in_flight(vm: &VmStatus) -> Option<Span> {
    let copied = vm.pipeline.iter().filter(|step| step.name.starts_with("DiskTransfer"));
    let copied = copied.filter_map(|step| time(step.completed.as_ref())).max();
    of_vm(vm).map(|span| Span { ended: copied.or(span.ended), ..span })
}

/// How many lay over each other at most.
fn peak(spans: &[Span]) -> usize {
    let at = |one: &Span| spans.iter().filter(|other| other.begun <= one.begun && other.overlaps(*one)).count();
    spans.iter().map(at).max().unwrap_or_default()
}

/// Judges what of `expect` is about several.
pub(super) async fn judge(expect: &Expect, actors: &[Actor<'_>]) -> Result<(), Failure> {
    if expect.overlap.is_empty() && expect.in_flight.is_none() && !expect.throttled {
        return Ok(());
    }
    let (mut plans, mut starts) = (Vec::new(), BTreeMap::new());
    for actor in actors {
        let (tracked, migration) = (actor.tracked(), actor.migration());
        let (begun, vms) = actor.execution(&tracked, &migration).told().await?;
        starts.extend(vms.iter().filter_map(|vm| Some((vm.id.clone(), time(begun.as_ref())?))));
        plans.push((actor.name.unwrap_or_default().to_owned(), vms));
    }
    if let [one, other] = expect.overlap.as_slice() {
        overlap(&plans, one, other)?;
    }
    let Some(actor) = actors.first().filter(|_| expect.in_flight.is_some() || expect.throttled) else { return Ok(()) };
    let parts = &actor.context.parts;
    let listed = parts.inventory.list(&actor.prepared.open.provider.path, "vms").await;
    let listed = listed.map_err(Failure::environment)?;
    let hosts: BTreeMap<String, String> = listed.iter().filter_map(inventory::host_of).collect();
    let vms: Vec<&VmStatus> = plans.iter().flat_map(|(_, vms)| vms).collect();
    if let Some(limit) = expect.in_flight {
        limited(&vms, &hosts, usize::try_from(limit).unwrap_or(usize::MAX))?;
    }
    if expect.throttled { throttled(&vms, &hosts, &starts) } else { Ok(()) }
}

/// One VM at least has waited for another of its host: its Plan was under way before that one's disks were copied, and
/// it began after. `starts`: when the Plan of each VM began to migrate.
fn throttled(
    vms: &[&VmStatus],
    hosts: &BTreeMap<String, String>,
    starts: &BTreeMap<String, Timestamp>,
) -> Result<(), Failure> {
    let host = |vm: &VmStatus| hosts.get(&vm.id).cloned().unwrap_or_default();
    let waited = |vm: &&&VmStatus| {
        let (Some(own), Some(asked)) = (in_flight(vm), starts.get(&vm.id)) else { return false };
        let others = vms.iter().filter(|other| other.id != vm.id && host(other) == host(vm));
        others
            .filter_map(|other| in_flight(other))
            .any(|other| other.ended.is_some_and(|ended| *asked < ended && ended <= own.begun))
    };
    if vms.iter().any(|vm| waited(&vm)) {
        return Ok(());
    }
    let mut problem = Problem::new("expected VMs of one source host to wait for others, but none did");
    problem.details = vms
        .iter()
        .filter_map(|vm| {
            let span = in_flight(vm)?;
            let ended = span.ended.map_or_else(|| "now".to_owned(), |ended| ended.to_string());
            Some(format!("{} on host {}: {} to {ended}", vm.name, host(vm), span.begun))
        })
        .collect();
    Err(Failure::product(problem))
}

fn overlap(plans: &[(String, Vec<VmStatus>)], one: &PlanName, other: &PlanName) -> Result<(), Failure> {
    let spans = |name: &PlanName| -> Vec<Span> {
        let of = plans.iter().filter(|(known, _)| *known == name.0);
        of.flat_map(|(_, vms)| vms).filter_map(of_vm).map(Span::with_its_second).collect()
    };
    let (left, right) = (spans(one), spans(other));
    if left.iter().any(|span| right.iter().any(|other| span.overlaps(*other))) {
        return Ok(());
    }
    let told = |spans: &[Span]| {
        let each = spans.iter().map(|span| {
            let ended = span.ended.map_or_else(|| "now".to_owned(), |ended| ended.to_string());
            format!("{} to {ended}", span.begun)
        });
        each.collect::<Vec<_>>().join(", ")
    };
    let mut problem = Problem::new(format!("expected Plans {} and {} to migrate at the same time", one.0, other.0));
    problem.details = vec![format!("{}: {}", one.0, told(&left)), format!("{}: {}", other.0, told(&right))];
    Err(Failure::product(problem))
}

/// The peak of the host that had the highest one must be the limit: below it nobody knows whether it acted.
fn limited(vms: &[&VmStatus], hosts: &BTreeMap<String, String>, limit: usize) -> Result<(), Failure> {
    let mut spans: BTreeMap<&str, Vec<Span>> = BTreeMap::new();
    for vm in vms {
        // Platforms whose VMs have no host are limited as a whole.
        let host = hosts.get(&vm.id).map_or("", String::as_str);
        spans.entry(host).or_default().extend(in_flight(vm));
    }
    let peaks: BTreeMap<&str, usize> = spans.iter().map(|(host, spans)| (*host, peak(spans))).collect();
    let highest = peaks.values().copied().max().unwrap_or_default();
    if highest == limit {
        return Ok(());
    }
    let mut problem = Problem::new(format!(
        "expected {limit} VMs of one host to migrate at the same time at most, but {highest} did"
    ));
    let of = |(host, peak): (&&str, &usize)| format!("host {}: {peak}", if host.is_empty() { "unknown" } else { host });
    problem.details = peaks.iter().map(of).collect();
    Err(Failure::product(problem))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn vm(id: &str, begun: Option<u32>, copied: Option<u32>, ended: Option<u32>) -> VmStatus {
        let at = |minute: Option<u32>| minute.map(|minute| format!("2026-01-01T00:{minute:02}:00Z"));
        let transfer = json!({"name": "DiskTransferV2v", "completed": at(copied)});
        serde_json::from_value(json!({"id": id, "name": id, "phase": "", "started": at(begun), "completed": at(ended),
            "pipeline": [transfer]}))
        .unwrap()
    }

    #[test]
    fn two_plans_overlap_where_a_vm_of_one_begins_before_a_vm_of_the_other_ends() {
        let plans = |second: u32| {
            vec![
                ("one".to_owned(), vec![vm("a", Some(0), None, Some(10))]),
                ("two".to_owned(), vec![vm("b", Some(second), None, Some(30)), vm("c", None, None, None)]),
            ]
        };
        let names = (PlanName("one".to_owned()), PlanName("two".to_owned()));
        assert_eq!(overlap(&plans(5), &names.0, &names.1), Ok(()));
        let apart = overlap(&plans(10), &names.0, &names.1).unwrap_err();
        assert!(apart.problem.details[0].starts_with("one: 2026-01-01T00:00:00Z to"), "{apart:?}");
    }

    #[test]
    fn a_migration_within_one_second_took_some_of_it() {
        let of = |name: &str, begun: u32, ended: u32| (name.to_owned(), vec![vm(name, Some(begun), None, Some(ended))]);
        let names = (PlanName("one".to_owned()), PlanName("two".to_owned()));
        let judged = |two: u32| overlap(&[of("one", 5, 6), of("two", two, two)], &names.0, &names.1);
        assert_eq!(judged(5), Ok(()));
        assert!(judged(6).is_err(), "the other had ended when it began");
        assert!(judged(4).is_err(), "it had ended when the other began");
    }

    #[test]
    fn the_limit_counts_by_host_until_the_disks_are_copied() {
        let (a, b) = (vm("a", Some(0), Some(10), Some(15)), vm("b", Some(10), Some(20), Some(25)));
        let (c, waits) = (vm("c", Some(5), Some(12), None), vm("d", None, None, None));
        let hosts = |of_c: &str| -> BTreeMap<String, String> {
            [("a", "h1"), ("b", "h1"), ("c", of_c)].map(|(vm, host)| (vm.to_owned(), host.to_owned())).into()
        };
        let all = [&a, &b, &c, &waits];
        assert_eq!(limited(&all, &hosts("h2"), 1), Ok(()));
        let crowded = limited(&all, &hosts("h1"), 1).unwrap_err();
        assert!(crowded.problem.message.ends_with("at most, but 2 did"), "{crowded:?}");
        assert!(limited(&all, &hosts("h2"), 2).is_err(), "a limit that was never reached is not shown to act");
    }

    #[test]
    fn a_vm_has_waited_where_its_plan_began_before_another_of_its_host_was_copied_and_it_began_after() {
        let (a, b) = (vm("a", Some(0), Some(10), None), vm("b", Some(10), Some(20), None));
        let hosts = |of_b: &str| -> BTreeMap<String, String> {
            [("a", "h1"), ("b", of_b)].map(|(vm, host)| (vm.to_owned(), host.to_owned())).into()
        };
        let starts = |of_b: u32| -> BTreeMap<String, Timestamp> {
            let at = |minute: u32| format!("2026-01-01T00:{minute:02}:00Z").parse().unwrap();
            [("a", 0), ("b", of_b)].map(|(vm, minute)| (vm.to_owned(), at(minute))).into()
        };
        assert_eq!(throttled(&[&a, &b], &hosts("h1"), &starts(0)), Ok(()));
        let apart = throttled(&[&a, &b], &hosts("h2"), &starts(0)).unwrap_err();
        assert!(apart.problem.details[1].starts_with("b on host h2: 2026-01-01T00:10:00Z to"), "{apart:?}");
        assert!(throttled(&[&a, &b], &hosts("h1"), &starts(10)).is_err(), "who is told later has not waited");
        let beside = vm("b", Some(5), Some(20), None);
        assert!(throttled(&[&a, &beside], &hosts("h1"), &starts(0)).is_err(), "they were copied at the same time");
    }
}
