//! What a story must hold beyond its types: names of VMs, and an order that can be told.

use super::{Expect, Faulty, Goal, Killed, Op, Start, Step, VmName};
use crate::config::scenarios::plans::{self, Part};
use crate::config::scenarios::{PowerState, Scenario};

/// Complaints as (path inside the scenario, sentence).
pub(crate) fn complaints(scenario: &Scenario) -> Vec<(Vec<String>, String)> {
    let Some(steps) = &scenario.steps else { return Vec::new() };
    if steps.is_empty() {
        return vec![(vec!["steps".to_owned()], "`steps` is empty: leave it out for `[migrate, verify]`".to_owned())];
    }
    let parts = scenario.parts();
    let mut walks: Vec<Walk> = parts.iter().map(Walk::new).collect();
    let mut out: Vec<(Vec<String>, String)> = Vec::new();
    for (n, step) in steps.iter().enumerate() {
        let mut said = own(scenario, step);
        for walk in walks.iter_mut().filter(|walk| is_told(scenario, walk.part, step)) {
            said.extend(walk.next(n, step));
        }
        said.dedup();
        let path = vec!["steps".to_owned(), n.to_string()];
        out.extend(said.into_iter().map(|text| (path.clone(), format!("step {}, `{}`: {text}", n + 1, step.name()))));
    }
    for walk in walks {
        let Some((n, step)) = walk.unjudged else { continue };
        let whose = walk.part.name.as_ref().map(|name| format!(" of Plan {name}")).unwrap_or_default();
        let text = format!(
            "step {}, `{step}`: nothing after it says how the migration{whose} must end; add `expect` or `verify`, else a \
             failure would pass",
            n + 1
        );
        out.push((vec!["steps".to_owned(), n.to_string()], text));
    }
    out
}

/// Whether the step is about this Plan of the scenario.
pub(crate) fn is_told(scenario: &Scenario, part: &Part, step: &Step) -> bool {
    if let Some(plan) = step.plan() {
        return part.name.as_ref() == Some(&plan.0);
    }
    let named = step.vms();
    let has = |vm: &&VmName| vm.index(&scenario.virtual_machines).is_ok_and(|index| part.members.contains(&index));
    named.is_empty() || named.iter().any(has)
}

/// What is wrong with a step by itself.
fn own(scenario: &Scenario, step: &Step) -> Vec<String> {
    let mut out = Vec::new();
    out.extend(step.vms().into_iter().filter_map(|vm| vm.index(&scenario.virtual_machines).err()));
    out.extend(step.plan().and_then(|plan| plans::unknown(scenario, &plan.0)));
    if let Step::Expect(expect) = step {
        if *expect
            == (Expect {
                plan: expect.plan.clone(),
                vm: expect.vm.clone(),
                timeout: expect.timeout,
                ..Expect::default()
            })
        {
            out.push(
                "it expects nothing: write `ended`, `condition`, `source`, `pvcs`, `ignored`, `overlap`, `in_flight` or \
                 `throttled`"
                    .to_owned(),
            );
        }
        if (expect.at.is_some() || expect.error.is_some()) && expect.ended != Some(super::End::Failed) {
            out.push("`at` and `error` are about a failure: write `ended: failed`, too".to_owned());
        }
        if !expect.overlap.is_empty() && expect.overlap.len() != 2 {
            out.push("`overlap` names two Plans".to_owned());
        }
        out.extend(expect.overlap.iter().filter_map(|plan| plans::unknown(scenario, &plan.0)));
    }
    if let Step::Patch(patch) = step {
        if patch.operations.is_empty() {
            out.push("`operations` is empty".to_owned());
        }
        for operation in &patch.operations {
            if !operation.path.starts_with('/') {
                out.push(format!("`{}` is no JSON pointer, which begins with `/`", operation.path));
            }
            if operation.value.is_none() && operation.op != Op::Remove {
                out.push(format!("the operation on {} has no `value`", operation.path));
            }
        }
    }
    if matches!(step, Step::Inspect(inspect) if inspect.cancel && inspect.condition.is_some()) {
        out.push("one that is refused can't be canceled: write `cancel` or `condition`".to_owned());
    }
    if matches!(step, Step::Fault(fault) if fault.over && fault.lasts.is_some()) {
        out.push("what is over does not last: write one of the two".to_owned());
    }
    if matches!(step, Step::Fault(fault) if fault.vm.is_some() && fault.what != Faulty::Conversion) {
        out.push("only `conversion` goes wrong for one VM: leave `vm` out".to_owned());
    }
    if matches!(step, Step::Kill(kill) if kill.what == Killed::Controller && (kill.vm.is_some() || kill.plan.is_some()))
    {
        out.push("the controller is nobody's own: leave `vm` and `plan` out".to_owned());
    }
    if matches!(step, Step::ReadMarker(read) if read.output.is_some() && read.command.is_none()) {
        out.push("`output` is that of `command`: write both".to_owned());
    }
    if matches!(step, Step::ReadMarker(read) if read.windows.is_some() && read.command.is_none()) {
        out.push("`windows` stands for `command` in Windows guests: write both".to_owned());
    }
    if matches!(step, Step::ShareData(_) | Step::LabelDisk(_)) {
        let is = |owner: bool| scenario.virtual_machines.iter().any(|vm| vm.migrate_shared_disks == Some(owner));
        if !is(true) || !is(false) {
            out.push(
                "no VMs share a disk here: one owns it (`migrate_shared_disks: true`), others use it (`false`)"
                    .to_owned(),
            );
        }
    }
    let needs_warm = match step {
        Step::Cutover(_) => true,
        Step::Wait(wait) => matches!(wait.goal, Goal::Precopies(_)),
        Step::Start(start) => start.cutover.is_some(),
        _ => false,
    };
    let warm =
        scenario.parts().iter().filter(|part| is_told(scenario, part, step)).all(|part| part.scenario.warm_migration);
    if needs_warm && !warm {
        out.push("only a warm migration has precopies and a cutover: set `warm_migration: true`".to_owned());
    }
    out
}

/// Where the story of one Plan stands after some of its steps.
struct Walk<'a> {
    part: &'a Part,
    started: bool,
    running: bool,
    plan: bool,
    /// Whether a step that needs a Plan was told.
    said: bool,
    unjudged: Option<(usize, &'static str)>,
    /// The story has switched the source on after its migration.
    source_on: bool,
}

impl<'a> Walk<'a> {
    fn new(part: &'a Part) -> Self {
        // A Plan is made before the first step that needs one, unless that is `create`.
        Self { part, started: false, running: false, plan: true, said: false, unjudged: None, source_on: false }
    }

    /// Takes the next step, the `n`th of all; what speaks against it here.
    fn next(&mut self, n: usize, step: &Step) -> Option<String> {
        let first = !self.said;
        self.said |= step.needs_plan() || matches!(step, Step::Create(_));
        let migrated = matches!(
            step,
            Step::Absent(_)
                | Step::Verify(_)
                | Step::Boot(_)
                | Step::ReadMarker(_)
                | Step::ShareData(_)
                | Step::Run(_)
                | Step::Shutdown(_)
        );
        if step.needs_plan() && !migrated && !self.plan {
            return Some("the Plan is deleted: make it again with `create`".to_owned());
        }
        match step {
            Step::Create(_) if self.plan && !first => return Some("the Plan is there already".to_owned()),
            Step::Create(_) => (self.plan, self.started, self.source_on) = (true, false, false),
            Step::Power(power) => self.source_on = self.started && power.state == PowerState::On,
            Step::LabelDisk(_) if self.started => {
                return Some("the source VM was migrated already: write it before `migrate`".to_owned());
            }
            Step::Validate(_)
            | Step::LabelDisk(_)
            | Step::Absent(_)
            | Step::Snapshot(_)
            | Step::AddDisk(_)
            | Step::WriteMarker(_)
            | Step::Patch(_)
            | Step::Inspect(_)
            | Step::Upgrade(_)
            | Step::Fault(_) => {}
            Step::Kill(kill) if kill.what == Killed::Controller => {}
            Step::Start(start) if start.again && (!self.started || self.running) => {
                return Some("it starts a migration again that has ended".to_owned());
            }
            Step::Migrate(_) | Step::Start(Start { again: false, .. }) if self.started => {
                return Some("the Plan has been migrated already: write `retry`, or `start: {again: true}`".to_owned());
            }
            Step::Migrate(_) => self.started = true,
            Step::Start(_) => {
                (self.started, self.running) = (true, true);
                self.unjudged = Some((n, step.name()));
            }
            Step::Retry(_) | Step::Resume(_) if !self.started || self.running => {
                return Some("it starts a migration again that has ended".to_owned());
            }
            // MTV switches it off again.
            Step::Retry(_) | Step::Resume(_) => (self.unjudged, self.source_on) = (Some((n, step.name())), false),
            Step::Wait(_) | Step::Cutover(_) | Step::Cancel(_) | Step::Kill(_) if !self.running => {
                return Some("no migration runs here: write `start` before it".to_owned());
            }
            Step::Wait(wait) => self.running = !(wait.goal == Goal::End && wait.vm.is_none()),
            Step::Cutover(_) | Step::Kill(_) => {}
            Step::Cancel(cancel) => {
                let whole = cancel.vms.is_empty() || cancel.vms.len() >= self.part.members.len();
                if whole {
                    (self.running, self.unjudged) = (false, None);
                }
            }
            Step::Expect(expect) => {
                if expect.ended.is_some() && !self.started {
                    return Some("no migration was started: write `start` or `migrate` before it".to_owned());
                }
                if (expect.ended.is_some() || expect.ignored.is_some()) && expect.vm.is_none() {
                    (self.running, self.unjudged) = (false, None);
                }
            }
            Step::Verify(_)
            | Step::Boot(_)
            | Step::ReadMarker(_)
            | Step::ShareData(_)
            | Step::Run(_)
            | Step::Shutdown(_)
                if !self.started && self.plan =>
            {
                return Some("nothing was migrated: write `migrate` before it".to_owned());
            }
            Step::Verify(_) if self.running => {
                return Some("the migration may still run: write `wait` or `expect` before it".to_owned());
            }
            Step::Verify(_) if self.source_on => {
                return Some(
                    "the source VM was switched on after its migration: write `verify` before `power`".to_owned(),
                );
            }
            Step::Verify(_) => self.unjudged = None,
            Step::Boot(_)
            | Step::Archive(_)
            | Step::ReadMarker(_)
            | Step::ShareData(_)
            | Step::Run(_)
            | Step::Shutdown(_) => {}
            Step::Delete(delete) => match delete.what {
                // Nobody can tell any more how it would have ended.
                super::Deletable::Plan => {
                    (self.plan, self.running, self.started, self.unjudged) = (false, false, false, None);
                }
                super::Deletable::Migration => (self.running, self.unjudged) = (false, None),
            },
        }
        None
    }
}
