//! What MTV says of this migration: its Plan is the one that was sent, Plan and Migration tell the same, every step
//! and task of this VM is done, its hooks ran once and in their place, and its precopies succeeded.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::super::placement::missing;
use super::super::{Facts, Judgement, TargetVm, count, not_judged, whole};
use super::{Compared, at, is_so, list, shown, text, unsaid};
use crate::config::ExpectedResult;
use crate::config::steps::Step;

const DONE: &str = "Completed";
/// Conditions that a Plan or Migration that succeeded does not carry.
const ENDS_OTHERWISE: [&str; 3] = ["Failed", "Canceled", "Executing"];

/// A migration that is expected to fail has no such end.
pub(in crate::check) fn succeeds(facts: &Facts<'_>) -> bool {
    facts.scenario.expected_migration_result == ExpectedResult::Succeed
}

pub(in crate::check) fn is_warm(facts: &Facts<'_>) -> bool {
    succeeds(facts) && facts.scenario.warm_migration
}

/// The objects, where both were read; else the judgement that says why not.
fn both<'a>(facts: &'a Facts<'_>) -> Result<(&'a Value, &'a Value), Vec<Judgement>> {
    let read = |what: &str, object: &'a Result<Option<Value>, String>| match object {
        Ok(Some(object)) => Ok(object),
        Ok(None) => {
            let mut gone = Compared::default();
            gone.wrong(what, format!("the {what} of this run"), "it is gone");
            Err(gone.judgements(""))
        }
        Err(why) => Err(whole(not_judged(format!("the {what} could not be read: {why}")))),
    };
    Ok((read("Plan", &facts.ran.plan)?, read("Migration", &facts.ran.migration)?))
}

/// This VM's entry in a status.
pub(in crate::check) fn own<'a>(facts: &Facts<'_>, vms: &'a [Value]) -> Option<&'a Value> {
    vms.iter().find(|vm| text(vm, "/id") == facts.before.id)
}

/// The Plan and Migration are still what was asked for.
pub(in crate::check) fn plan_kept(facts: &Facts<'_>, _: &TargetVm) -> Vec<Judgement> {
    let (plan, migration) = match both(facts) {
        Ok(both) => both,
        Err(why) => return why,
    };
    let mut compared = Compared::default();
    let spec = at(plan, "/spec");
    // Defaults that MTV's definitions fill in do not count.
    if let Some(path) = missing(&facts.ran.sent, spec, "") {
        compared.wrong(format!("Plan spec{path}"), shown(at(&facts.ran.sent, &path)), shown(at(spec, &path)));
    }
    unsent(facts, spec, &mut compared);
    unsent_of_vms(&facts.ran.sent, spec, &mut compared);
    for key in ["name", "namespace"] {
        let wanted = text(plan, &format!("/metadata/{key}"));
        compared.same(&format!("Migration plan {key}"), wanted, text(migration, &format!("/spec/plan/{key}")));
    }
    let cancel = at(migration, "/spec/cancel");
    if facts.scenario.steps.iter().flatten().any(|step| matches!(step, Step::Cancel(_))) {
        let kept = !list(migration, "/spec/cancel").iter().any(|vm| text(vm, "/id") == facts.before.id);
        compared.holds(kept, "Migration cancel", "others", || shown(cancel));
    } else {
        compared.none("Migration cancel", cancel);
    }
    compared.judgements("as it was sent")
}

/// Switches that a Plan's definition puts on where nobody names them (pkg/apis/forklift/v1beta1/plan.go, 2.11.7 to main);
/// older definitions know fewer of them.
const ON_BY_DEFAULT: [&str; 6] = [
    "preserveStaticIPs",
    "pvcNameTemplateUseGenerateName",
    "migrateSharedDisks",
    "deleteVmOnFailMigration",
    "useCompatibilityMode",
    "runPreflightInspection",
];

/// Nothing of the Plan is said that was not sent, but what MTV fills in: its definition's defaults, and the destination
/// Provider's own transfer network (pkg/forklift-api, `setTransferNetworkIfNotSet`).
fn unsent(facts: &Facts<'_>, spec: &Value, compared: &mut Compared) {
    let archives = facts.scenario.steps.iter().flatten().any(|step| matches!(step, Step::Archive(_)));
    for (key, value) in spec.as_object().into_iter().flatten() {
        let sent = facts.ran.sent.get(key).unwrap_or(&Value::Null);
        let (fits, wanted) = match key.as_str() {
            _ if !sent.is_null() => continue,
            "transferNetwork" => continue,
            "archived" if archives => continue,
            on if ON_BY_DEFAULT.contains(&on) => (matches!(value, Value::Null | Value::Bool(true)), "on"),
            _ => (unsaid(value), "nothing"),
        };
        compared.holds(fits, &format!("Plan spec/{key}"), wanted, || shown(value));
    }
}

/// Nor of its VMs. MTV completes a reference to a VM; of switches, its definition gives a VM no default.
fn unsent_of_vms(sent: &Value, spec: &Value, compared: &mut Compared) {
    const REFERENCE: [&str; 4] = ["id", "name", "namespace", "type"];
    for (index, (sent, vm)) in list(sent, "/vms").iter().zip(list(spec, "/vms")).enumerate() {
        for (key, value) in vm.as_object().into_iter().flatten() {
            let known = REFERENCE.contains(&key.as_str()) || !unsaid(sent.get(key).unwrap_or(&Value::Null));
            compared.holds(known || unsaid(value), &format!("Plan spec/vms/{index}/{key}"), "nothing", || shown(value));
        }
    }
}

pub(in crate::check) fn status(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    let (plan, migration) = match both(facts) {
        Ok(both) => both,
        Err(why) => return why,
    };
    let mut compared = Compared::default();
    for (name, object) in [("Plan", plan), ("Migration", migration)] {
        conditions(name, list(object, "/status/conditions"), &mut compared);
    }
    // MTV has seen the Plan as it is. (A Migration's cutover may come when its status needs no further look.)
    let [generation, observed] = ["/metadata/generation", "/status/observedGeneration"].map(|path| at(plan, path));
    let seen = observed.is_null() || observed.as_i64() == generation.as_i64();
    compared.holds(seen, "Plan generation", &shown(generation), || shown(observed));
    history(plan, migration, &mut compared);
    for (name, of) in [("Plan", at(plan, "/status/migration")), ("Migration", at(migration, "/status"))] {
        // Where both are told: no exact time is promised.
        if !text(of, "/started").is_empty() && !text(of, "/completed").is_empty() {
            times(name, of, &mut compared);
        }
    }
    let told = [("Plan", list(plan, "/status/migration/vms")), ("Migration", list(migration, "/status/vms"))];
    for (name, vms) in told {
        compared.holds(
            vms.len() == list(&facts.ran.sent, "/vms").len(),
            &format!("{name} VMs"),
            &count(list(&facts.ran.sent, "/vms").len(), "VM"),
            || count(vms.len(), "VM"),
        );
        match own(facts, vms) {
            Some(vm) => self::vm(facts, target, name, vm, &mut compared),
            None => compared.wrong(format!("{name} VM"), &facts.before.id, "no such VM in its status"),
        }
    }
    if let [Some(one), Some(other)] = told.map(|(_, vms)| own(facts, vms)) {
        agree(one, other, &mut compared);
    }
    compared.judgements("every step is done, and Plan and Migration agree")
}

fn conditions(name: &str, conditions: &[Value], compared: &mut Compared) {
    let holds = |type_: &str| is_so(conditions, type_);
    compared.holds(holds("Succeeded"), &format!("{name} condition"), "Succeeded", || "it is not so".to_owned());
    for other in ENDS_OTHERWISE {
        compared.holds(!holds(other), &format!("{name} condition"), "Succeeded alone", || other.to_owned());
    }
    for condition in conditions {
        let critical = text(condition, "/category") == "Critical" && text(condition, "/status") == "True";
        compared
            .holds(!critical, &format!("{name} condition"), "nothing critical", || text(condition, "/type").to_owned());
    }
}

/// The Plan's last execution is this Migration's.
fn history(plan: &Value, migration: &Value, compared: &mut Compared) {
    let Some(last) = list(plan, "/status/migration/history").last() else {
        compared.wrong("Plan history", "an entry of this Migration", "none");
        return;
    };
    let uid = text(migration, "/metadata/uid");
    compared.same("Plan history", uid, text(last, "/migration/uid"));
    // A snapshot without conditions is of an older MTV.
    let told = list(last, "/conditions");
    if !told.is_empty() {
        let held = is_so(told, "Succeeded");
        compared.holds(held, "Plan history", "Succeeded", || shown(at(last, "/conditions")));
    }
}

/// One VM's own status.
fn vm(facts: &Facts<'_>, target: &TargetVm, place: &str, vm: &Value, compared: &mut Compared) {
    compared.same(&format!("{place} phase"), DONE, text(vm, "/phase"));
    compared.none(&format!("{place} error"), at(vm, "/error"));
    times(place, vm, compared);
    let name = text(vm, "/newName");
    compared.same_if_said(&format!("{place} newName"), &target.name, name);
    compared.same_if_said(&format!("{place} name"), &facts.before.name, text(vm, "/name"));
    let held = is_so(list(vm, "/conditions"), "Succeeded");
    compared.holds(held, &format!("{place} VM condition"), "Succeeded", || shown(at(vm, "/conditions")));
    let steps = list(vm, "/pipeline");
    let transfers = steps.iter().filter(|step| is_transfer(text(step, "/name"))).count();
    // A conversion that is resumed has its disks already.
    let resumed =
        facts.ran.migration.iter().flatten().any(|told| at(told, "/spec/resumeConversion") == &Value::Bool(true));
    if facts.scenario.live_migration {
        // A VM that was shut down and copied arrives alike: its steps say that it went on running (ocp/live.go).
        let names: Vec<&str> = steps.iter().map(|step| text(step, "/name")).collect();
        let live = transfers == 0 && LIVE.iter().all(|step| names.contains(step));
        compared.holds(live, &format!("{place} pipeline"), "the steps of a live migration", || names.join(", "));
    } else {
        compared.holds(resumed || transfers > 0, &format!("{place} pipeline"), "a disk transfer", || "none".to_owned());
    }
    for step in steps {
        self::step(facts, place, step, compared);
    }
}

/// Steps that only a live migration has.
const LIVE: [&str; 2] = ["PrepareTarget", "Synchronization"];

fn is_transfer(step: &str) -> bool {
    step.starts_with("DiskTransfer") || step.starts_with("DiskAllocation")
}

/// A step is done when it says so; what is counted (disks' bytes) is counted to its end. Steps that count nothing
/// end at 0 of 1.
fn step(facts: &Facts<'_>, place: &str, step: &Value, compared: &mut Compared) {
    let name = format!("{place} {}", text(step, "/name"));
    compared.holds(!text(step, "/name").is_empty(), &name, "a step's name", || "none".to_owned());
    // MTV counts its time to the disk transfer: the step of this name never starts (forklift-real.md §2).
    if text(step, "/name") == "ConvertOpenstackSnapshot" {
        return;
    }
    compared.same(&name, DONE, text(step, "/phase"));
    compared.none(&format!("{name} error"), at(step, "/error"));
    times(&name, step, compared);
    let tasks = list(step, "/tasks");
    if !is_transfer(text(step, "/name")) {
        return;
    }
    progress(&name, step, compared);
    // Disks that another VM brings are not this one's to copy (`RemoveSharedDisks`).
    let left_out = |shared: bool| shared && facts.vm.migrate_shared_disks == Some(false);
    let disks = facts.before.disks.iter().filter(|disk| !left_out(disk.shared)).count();
    compared.holds(tasks.len() == disks, &name, "a task a disk", || count(tasks.len(), "task"));
    for task in tasks {
        let name = format!("{name} {}", text(task, "/name"));
        // The tasks of virt-v2v's transfer have no phase of their own.
        compared.same_if_said(&name, DONE, text(task, "/phase"));
        compared.none(&format!("{name} error"), at(task, "/error"));
        compared.holds(!text(task, "/name").is_empty(), &name, "a disk's name", || "none".to_owned());
        progress(&name, task, compared);
    }
}

fn progress(name: &str, step: &Value, compared: &mut Compared) {
    let [done, total] = ["completed", "total"].map(|key| at(step, &format!("/progress/{key}")).as_i64());
    let right = matches!((done, total), (Some(done), Some(total)) if done == total);
    compared.holds(right, &format!("{name} progress"), "all of it", || shown(at(step, "/progress")));
}

/// Begun, ended, in this order. RFC 3339 in UTC sorts as text.
fn times(name: &str, of: &Value, compared: &mut Compared) {
    let (started, completed) = (text(of, "/started"), text(of, "/completed"));
    let right = !started.is_empty() && started <= completed;
    compared.holds(right, &format!("{name} times"), "started before completed", || format!("{started} to {completed}"));
}

/// Plan and Migration tell the same of the VM, to the last task: MTV copies the one to the other.
fn agree(plan: &Value, migration: &Value, compared: &mut Compared) {
    let keys = |vm: &Value| vm.as_object().map(|fields| fields.keys().cloned().collect()).unwrap_or_default();
    let all: BTreeSet<String> = [plan, migration].into_iter().flat_map(|vm| -> Vec<String> { keys(vm) }).collect();
    for key in all {
        let [one, other] = [plan, migration].map(|vm| vm.get(&key).unwrap_or(&Value::Null));
        compared.holds(one == other, &format!("Migration {key}"), &shown(one), || shown(other));
    }
}

fn said_template(id: Option<u64>) -> String {
    id.map_or_else(|| "no job template".to_owned(), |id| format!("job template {id}"))
}

pub(in crate::check) fn hooks(facts: &Facts<'_>, _: &TargetVm) -> Vec<Judgement> {
    let (plan, _) = match both(facts) {
        Ok(both) => both,
        Err(why) => return why,
    };
    let Some(vm) = own(facts, list(plan, "/status/migration/vms")) else {
        return whole(not_judged("the Plan's status has no such VM (see migration-status)"));
    };
    let steps: Vec<&str> = list(vm, "/pipeline").iter().map(|step| text(step, "/name")).collect();
    let positions = |name: &str| -> Vec<usize> {
        steps.iter().enumerate().filter(|(_, step)| **step == name).map(|(index, _)| index).collect()
    };
    let transfer = steps.iter().position(|step| is_transfer(step)).unwrap_or_default();
    let last = steps.iter().rposition(|step| is_transfer(step)).unwrap_or_default();
    let mut compared = Compared::default();
    for name in ["PreHook", "PostHook"] {
        let asked = usize::from(facts.ran.hooks.iter().any(|hook| hook.step == name));
        let ran = positions(name);
        compared.holds(ran.len() == asked, name, &count(asked, "run"), || count(ran.len(), "run"));
        for at in ran {
            let right = if name == "PreHook" { at < transfer } else { at > last };
            let wanted = if name == "PreHook" { "before the disk transfer" } else { "after the disk transfer" };
            compared.holds(right, name, wanted, || format!("step {} of {}", at + 1, steps.len()));
        }
    }
    for hook in &facts.ran.hooks {
        match &hook.object {
            Ok(Some(object)) => {
                let same = text(object, "/spec/playbook") == hook.playbook;
                compared.holds(same, &hook.step, "its own playbook", || "another playbook".to_owned());
                let template = object.pointer("/spec/aap/jobTemplateId").and_then(Value::as_u64);
                let wanted = hook.job_template.map(u64::from);
                compared.holds(template == wanted, &hook.step, &said_template(wanted), || said_template(template));
            }
            Ok(None) => compared.wrong(&hook.step, "its Hook", "it is gone"),
            Err(why) => compared.open(&hook.step, format!("its Hook could not be read: {why}")),
        }
    }
    compared.judgements(format!("{} in its place", count(facts.ran.hooks.len(), "hook")))
}

pub(in crate::check) fn precopies(facts: &Facts<'_>, _: &TargetVm) -> Vec<Judgement> {
    let (plan, _) = match both(facts) {
        Ok(both) => both,
        Err(why) => return why,
    };
    let Some(vm) = own(facts, list(plan, "/status/migration/vms")) else {
        return whole(not_judged("the Plan's status has no such VM (see migration-status)"));
    };
    let asked = i64::from(facts.scenario.cutover.after_precopies.unwrap_or(1)).max(1);
    let warm = at(vm, "/warm");
    let mut compared = Compared::default();
    let made = at(warm, "/successes").as_i64();
    compared.holds(made >= Some(asked), "successes", &format!("at least {asked}"), || shown(at(warm, "/successes")));
    for key in ["failures", "consecutiveFailures"] {
        compared.holds(matches!(at(warm, &format!("/{key}")).as_i64(), None | Some(0)), key, "0", || {
            shown(at(warm, &format!("/{key}")))
        });
    }
    let ended = list(warm, "/precopies").iter().filter(|precopy| !unsaid(at(precopy, "/end"))).count();
    let told = i64::try_from(ended).unwrap_or(i64::MAX);
    compared.holds(told >= asked, "precopies that ended", &format!("at least {asked}"), || told.to_string());
    for precopy in list(warm, "/precopies") {
        let (start, end) = (text(precopy, "/start"), text(precopy, "/end"));
        let right = !start.is_empty() && (end.is_empty() || start <= end);
        compared.holds(right, "precopy", "started before ended", || format!("{start} to {end}"));
    }
    intervals(facts, list(warm, "/precopies"), &mut compared);
    compared.judgements(format!("{} succeeded", made.unwrap_or_default()))
}

/// A precopy starts an interval after the one before it ended (`nextPrecopyAt`), or where the cutover came first. The
/// first pause may still be of the interval before: MTV's operator takes a while to hand a new one on.
fn intervals(facts: &Facts<'_>, precopies: &[Value], compared: &mut Compared) {
    let wanted = facts.ran.precopy_interval.and_then(|seconds| SignedDuration::try_from_secs_f64(seconds).ok());
    let Some(wanted) = wanted else { return };
    let migration = facts.ran.migration.as_ref().ok().and_then(Option::as_ref);
    let cutover = migration.and_then(|migration| time(migration, "/spec/cutover"));
    for (one, next) in precopies.iter().zip(precopies.iter().skip(1)).skip(1) {
        let (Some(ended), Some(began)) = (time(one, "/end"), time(next, "/start")) else { continue };
        if cutover.is_some_and(|cutover| cutover <= began + ROUNDING) {
            continue;
        }
        let pause = began.duration_since(ended);
        let kept = pause >= wanted - ROUNDING - ROUNDING && pause <= wanted + TOLERANCE;
        compared.holds(kept, "interval", &format!("{wanted:#} between two precopies"), || format!("{pause:#}"));
    }
}

/// How long MTV may take from the moment at which it may cut over to the step that does: it looks every few seconds,
/// and removes the last precopy's snapshot first.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);
/// Kubernetes tells whole seconds.
const ROUNDING: SignedDuration = SignedDuration::from_secs(1);

fn time(value: &Value, pointer: &str) -> Option<Timestamp> {
    text(value, pointer).parse().ok()
}

/// Cut over when it was asked: not before, and soon after; a precopy that runs at that moment comes to its end first
/// (forklift.md, `CopyingPaused`). Says how long the VM was down for it.
pub(in crate::check) fn cutover(facts: &Facts<'_>, _: &TargetVm) -> Vec<Judgement> {
    let (plan, migration) = match both(facts) {
        Ok(both) => both,
        Err(why) => return why,
    };
    let Some(vm) = own(facts, list(plan, "/status/migration/vms")) else {
        return whole(not_judged("the Plan's status has no such VM (see migration-status)"));
    };
    let Some(began) = list(vm, "/pipeline")
        .iter()
        .find(|step| text(step, "/name") == "Cutover")
        .and_then(|step| time(step, "/started"))
    else {
        return whole(not_judged("no step `Cutover` tells when it began (see migration-status)"));
    };
    let asked = text(migration, "/spec/cutover");
    let mut compared = Compared::default();
    let Ok(asked) = asked.parse::<Timestamp>() else {
        compared.wrong("cutover", "a time at which to cut over", if asked.is_empty() { "none" } else { asked });
        return compared.judgements("");
    };
    let running = |precopy: &&Value| time(precopy, "/start").is_some_and(|start| start <= asked);
    let precopies = list(vm, "/warm/precopies");
    let ends = precopies.iter().filter(running).filter_map(|precopy| time(precopy, "/end"));
    // One that was asked for before there was a Migration is due with it; so is what no full copy precedes.
    let first = precopies.first().and_then(|precopy| time(precopy, "/end"));
    let due = ends.chain(first).chain(time(migration, "/metadata/creationTimestamp")).fold(asked, Timestamp::max);
    compared.holds(began.duration_since(asked) >= -ROUNDING, "cutover", &format!("not before {asked}"), || {
        began.to_string()
    });
    compared.holds(
        began.duration_since(due) <= TOLERANCE,
        "cutover",
        &format!("within {TOLERANCE:#} of {due}"),
        || began.to_string(),
    );
    let down = time(vm, "/completed").map(|end| end.duration_since(began).as_secs().max(0));
    let down = down.map_or_else(String::new, |seconds| format!(", down for {seconds} s"));
    compared.judgements(format!("cut over at {began}, asked for {asked}{down}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_are_whole_seconds_are_not_early() {
        let of = |text: &str| text.parse::<Timestamp>().unwrap();
        let (asked, began) = (of("2026-01-01T00:00:00.9Z"), of("2026-01-01T00:00:00Z"));
        assert!(began.duration_since(asked) >= -ROUNDING);
        assert!(of("2025-12-31T23:59:50Z").duration_since(asked) < -ROUNDING);
    }
}
