//! A scenario's story as it is told: its steps with what goes without saying put in, grouped by the engine's stages.
//!
//! Both who tells it in words and who tells it on a cluster take it from here.

use super::{Plain, Step, Validate};
use crate::config::scenarios::Scenario;
use crate::event::Stage;

/// A step of a story.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// Counts from 1 in the scenario's file; `None`: it goes without saying there.
    pub number: Option<u32>,
    pub step: Step,
}

/// Steps one after the other that belong to one stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Chapter {
    pub stage: Stage,
    pub steps: Vec<Told>,
}

impl Chapter {
    /// Whether the stage tells it all: nothing of it is written in the scenario but a step of the stage's own name.
    pub fn tells_itself(&self) -> bool {
        let mut written = self.steps.iter().filter(|told| told.number.is_some());
        match (written.next(), written.next()) {
            (None, _) => true,
            (Some(only), None) => only.step.name() == self.stage.name(),
            (Some(_), Some(_)) => false,
        }
    }
}

impl Scenario {
    /// Whether a step of it disturbs others, so that nothing may run beside it.
    pub fn runs_alone(&self) -> bool {
        self.steps.iter().flatten().any(Step::is_disruptive)
    }
}

/// The story of a scenario. `boot`: whether migrated VMs may be started for a test.
pub fn chapters(scenario: &Scenario, boot: bool) -> Vec<Chapter> {
    let usual = || vec![Step::Migrate(Plain::default()), Step::Verify(Plain::default())];
    let steps = scenario.steps.clone().unwrap_or_else(usual);
    let boot = boot && scenario.boot.unwrap_or(true);
    let numbered = steps.into_iter().zip(1..).map(|(step, number)| Told { number: Some(number), step });
    let mut told: Vec<Told> = Vec::new();
    let mut made = false;
    let implied = |step| Told { number: None, step };
    for next in numbered.filter(|told| boot || !matches!(told.step, Step::Boot(_))) {
        // What is done to the sources first is no Plan's matter.
        if !made && next.step.needs_plan() {
            told.push(implied(Step::Create(Plain::default())));
            made = true;
        }
        made = made || matches!(next.step, Step::Create(_));
        let plan = told.last().and_then(|last| match &last.step {
            Step::Create(create) => Some(create.plan.clone()),
            _ => None,
        });
        if let Some(plan) = plan.filter(|_| !matches!(next.step, Step::Validate(_) | Step::Create(_))) {
            told.push(implied(Step::Validate(Validate { plan, ..Validate::default() })));
        }
        told.push(next);
    }
    grouped(told)
}

/// Stages only go forward: what comes after a later one belongs to that.
fn grouped(told: Vec<Told>) -> Vec<Chapter> {
    let mut chapters: Vec<Chapter> = Vec::new();
    for told in told {
        let own = told.step.stage();
        match chapters.last_mut().filter(|chapter| chapter.stage >= own) {
            Some(chapter) => chapter.steps.push(told),
            None => chapters.push(Chapter { stage: own, steps: vec![told] }),
        }
    }
    chapters
}
