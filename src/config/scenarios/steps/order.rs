//! What a story must hold beyond its types: names of VMs, and an order that can be told.

use super::{Goal, Step, VmName};
use crate::config::scenarios::Scenario;

/// Complaints as (path inside the scenario, sentence).
pub(crate) fn complaints(scenario: &Scenario) -> Vec<(Vec<String>, String)> {
    let Some(steps) = &scenario.steps else { return Vec::new() };
    let mut walk = Walk::new(scenario);
    if steps.is_empty() {
        return vec![(vec!["steps".to_owned()], "`steps` is empty: leave it out for `[migrate, verify]`".to_owned())];
    }
    let mut out = Vec::new();
    for (n, step) in steps.iter().enumerate() {
        let mut said = own(scenario, step);
        said.extend(walk.next(step));
        let path = vec!["steps".to_owned(), n.to_string()];
        out.extend(said.into_iter().map(|text| (path.clone(), format!("step {}, `{}`: {text}", n + 1, step.name()))));
    }
    if let Some((n, step)) = walk.unjudged {
        let text = format!(
            "step {}, `{step}`: nothing after it says how the migration must end; add `expect` or `verify`, else a failure \
             would pass",
            n + 1
        );
        out.push((vec!["steps".to_owned(), n.to_string()], text));
    }
    out
}

/// What is wrong with a step by itself.
fn own(scenario: &Scenario, step: &Step) -> Vec<String> {
    let mut out = Vec::new();
    let named: Vec<&VmName> = match step {
        Step::Wait(wait) => wait.vm.iter().collect(),
        Step::Expect(expect) => expect.vm.iter().collect(),
        Step::Power(power) => power.vm.iter().collect(),
        Step::Cancel(cancel) => cancel.vms.iter().collect(),
        _ => Vec::new(),
    };
    out.extend(named.into_iter().filter_map(|vm| vm.index(&scenario.virtual_machines).err()));
    if let Step::Expect(expect) = step {
        if expect.ended.is_none() && expect.condition.is_none() && expect.source.is_none() {
            out.push("it expects nothing: write `ended`, `condition` or `source`".to_owned());
        }
        if (expect.at.is_some() || expect.error.is_some()) && expect.ended != Some(super::End::Failed) {
            out.push("`at` and `error` are about a failure: write `ended: failed`, too".to_owned());
        }
    }
    let needs_warm = match step {
        Step::Cutover(_) => true,
        Step::Wait(wait) => matches!(wait.goal, Goal::Precopies(_)),
        Step::Start(start) => start.cutover.is_some(),
        _ => false,
    };
    if needs_warm && !scenario.warm_migration {
        out.push("only a warm migration has precopies and a cutover: set `warm_migration: true`".to_owned());
    }
    out
}

/// Where a story stands after some of its steps.
struct Walk<'a> {
    scenario: &'a Scenario,
    number: usize,
    started: bool,
    running: bool,
    plan: bool,
    unjudged: Option<(usize, &'static str)>,
}

impl<'a> Walk<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        // A Plan is made before the first step, unless that is `create`.
        Self { scenario, number: 0, started: false, running: false, plan: true, unjudged: None }
    }

    /// Takes the next step; what speaks against it here.
    fn next(&mut self, step: &Step) -> Option<String> {
        let n = self.number;
        self.number += 1;
        let needs_plan =
            !matches!(step, Step::Create(_) | Step::Power(_) | Step::Absent(_) | Step::Verify(_) | Step::Boot(_));
        if needs_plan && !self.plan {
            return Some("the Plan is deleted: make it again with `create`".to_owned());
        }
        match step {
            Step::Create(_) if self.plan && n > 0 => return Some("the Plan is there already".to_owned()),
            Step::Create(_) => (self.plan, self.started) = (true, false),
            Step::Validate(_) | Step::Power(_) | Step::Absent(_) => {}
            Step::Migrate(_) | Step::Start(_) if self.started => {
                return Some("the Plan has been migrated already: write `retry`".to_owned());
            }
            Step::Migrate(_) => self.started = true,
            Step::Start(_) => {
                (self.started, self.running) = (true, true);
                self.unjudged = Some((n, step.name()));
            }
            Step::Retry(_) if !self.started || self.running => {
                return Some("it starts a migration again that has ended".to_owned());
            }
            Step::Retry(_) => self.unjudged = Some((n, step.name())),
            Step::Wait(_) | Step::Cutover(_) | Step::Cancel(_) if !self.running => {
                return Some("no migration runs here: write `start` before it".to_owned());
            }
            Step::Wait(wait) => self.running = !(wait.goal == Goal::End && wait.vm.is_none()),
            Step::Cutover(_) => {}
            Step::Cancel(cancel) => {
                let whole = cancel.vms.is_empty() || cancel.vms.len() >= self.scenario.virtual_machines.len();
                if whole {
                    (self.running, self.unjudged) = (false, None);
                }
            }
            Step::Expect(expect) => {
                if expect.ended.is_some() && !self.started {
                    return Some("no migration was started: write `start` or `migrate` before it".to_owned());
                }
                if expect.ended.is_some() && expect.vm.is_none() {
                    (self.running, self.unjudged) = (false, None);
                }
            }
            Step::Verify(_) | Step::Boot(_) if !self.started && self.plan => {
                return Some("nothing was migrated: write `migrate` before it".to_owned());
            }
            Step::Verify(_) if self.running => {
                return Some("the migration may still run: write `wait` or `expect` before it".to_owned());
            }
            Step::Verify(_) => self.unjudged = None,
            Step::Boot(_) | Step::Archive(_) => {}
            Step::Delete(delete) => match delete.what {
                super::Deletable::Plan => (self.plan, self.running, self.started) = (false, false, false),
                super::Deletable::Migration => self.running = false,
            },
        }
        None
    }
}
