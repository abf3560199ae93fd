//! Telling a cell's story: its steps one after the other, each within its deadline, grouped by stage.
//!
//! The first step that fails ends the story. What a step does is its [`Actor`](actor::Actor)'s matter, one for each Plan
//! ([`Cast`]); here is only the telling, so that it can be tried without a cluster.

mod actor;
mod afterwards;
mod cast;
mod disturb;
mod expectations;
mod guests;
mod inspect;
mod killed;
mod shared_data;
mod shared_windows;
mod together;
mod upgrade;

pub(super) use cast::{Cast, Role};

use super::Failure;
use super::stages::{Bound, StageRun};
use crate::config::Timeouts;
use crate::config::steps::Step;
use crate::config::steps::story::{self, Chapter};

/// Who does what a step says.
pub(super) trait Acts {
    async fn act(&mut self, step: &Step) -> Result<(), Failure>;
}

/// Tells the chapters in order.
pub(super) async fn tell(run: StageRun<'_>, chapters: &[Chapter], actor: &mut impl Acts) -> Result<(), Failure> {
    for chapter in chapters {
        run.open_stage(chapter.stage, tell_chapter(run, chapter, actor)).await?;
    }
    Ok(())
}

async fn tell_chapter(run: StageRun<'_>, chapter: &Chapter, actor: &mut impl Acts) -> Result<(), Failure> {
    let timeouts = run.timeouts;
    for told in &chapter.steps {
        let own = told.number.filter(|_| !chapter.tells_itself()).map(|number| (number, told.step.to_string()));
        let what = match &own {
            Some((number, text)) => format!("step {number}, {text},"),
            None => format!("stage {}", chapter.stage),
        };
        run.step(chapter.stage, own, bound(&what, told, timeouts), actor.act(&told.step)).await?;
    }
    Ok(())
}

fn bound<'a>(what: &'a str, told: &story::Told, timeouts: &Timeouts) -> Bound<'a> {
    let (limit, set_by) = told.step.deadline(timeouts);
    Bound { what, limit, set_by, blames_mtv: blames_mtv(&told.step) }
}

/// Whether it is MTV that does not come to an end where the step does not.
fn blames_mtv(step: &Step) -> bool {
    match step {
        Step::Migrate(_)
        | Step::Wait(_)
        | Step::Cutover(_)
        | Step::Cancel(_)
        | Step::Expect(_)
        | Step::Retry(_)
        | Step::Resume(_)
        | Step::Kill(_)
        | Step::Archive(_)
        | Step::Inspect(_)
        | Step::Absent(_) => true,
        // Ready is waited for with an eye on who is to blame; what is expected instead is MTV's alone to say.
        Step::Validate(validate) => validate.condition.is_some(),
        // The waits inside these judge by themselves; beyond their bound the harness, the API server or a guest is late.
        Step::Create(_)
        | Step::Start(_)
        | Step::Delete(_)
        | Step::Power(_)
        | Step::Snapshot(_)
        | Step::AddDisk(_)
        | Step::Patch(_)
        | Step::Fault(_)
        | Step::WriteMarker(_)
        | Step::ReadMarker(_)
        | Step::LabelDisk(_)
        | Step::ShareData(_)
        | Step::Run(_)
        | Step::Shutdown(_)
        | Step::Upgrade(_)
        | Step::Verify(_)
        | Step::Boot(_) => false,
    }
}

#[cfg(test)]
mod tests;
