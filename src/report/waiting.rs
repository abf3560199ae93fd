//! What each cell at work waits for, since when, and where to look: for whoever asks while a run goes.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::display::progress_text;
use super::model::{Attempt, CellModel, RunModel};
use super::{count, duration_text, plain};

/// A block of lines.
pub(super) fn told(model: &RunModel, now: Timestamp) -> String {
    let open: Vec<&CellModel> =
        model.cells.iter().filter(|cell| cell.skipped.is_none() && cell.verdict().is_none()).collect();
    let at_work: Vec<(&CellModel, &Attempt)> = open
        .iter()
        .filter_map(|cell| Some((*cell, cell.attempts.last().filter(|attempt| attempt.ended.is_none())?)))
        .collect();
    let mut out = format!("at {}: {} at work", clock(now), count(at_work.len(), "cell"));
    let others = open.len() - at_work.len();
    if others > 0 {
        let _ = write!(
            out,
            ", {} for a place (`jobs`, `max_concurrent`)",
            if others == 1 { "1 waits".to_owned() } else { format!("{others} wait") }
        );
    }
    for (cell, attempt) in at_work {
        let _ = write!(out, "\n{}: {}", cell.name(), doing(attempt, now));
        let progress = progress_text(model, cell);
        if !progress.is_empty() {
            let _ = write!(out, "\n  {progress}");
        }
        if let Some((at, waiting)) = attempt.waiting.as_ref().filter(|(_, waiting)| !waiting.is_empty()) {
            // Who looks from outside sees what the run told last.
            let age = now.duration_since(*at).as_secs();
            let told = if age > 2 { format!(" (told at {})", clock(*at)) } else { String::new() };
            let _ = write!(out, "\n  waiting for {}{told}", plain(waiting));
        }
        // The lab of a run has no door for others.
        if !model.environment.lab {
            let _ = write!(out, "\n  look at: oc -n {} get plans,migrations,pods,events", plain(&attempt.namespace));
        }
    }
    out
}

/// The stage, or the step of it, and since when.
fn doing(attempt: &Attempt, now: Timestamp) -> String {
    let Some(stage) = attempt.stages.last().filter(|stage| stage.ended.is_none()) else {
        return format!("between stages, in attempt {} since {}", attempt.number, since(attempt.started, now));
    };
    let step = attempt.steps.last().filter(|step| step.ended.is_none());
    match step {
        Some(step) => format!("{}, {} since {}", stage.stage, plain(&step.title()), since(step.started, now)),
        None => format!("{} since {}", stage.stage, since(stage.started, now)),
    }
}

fn since(at: Timestamp, now: Timestamp) -> String {
    let elapsed = now.duration_since(at).as_millis();
    format!("{} ({})", clock(at), duration_text(i64::try_from(elapsed).unwrap_or(i64::MAX).max(0)))
}

fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, EventKind, Stage};
    use crate::report::fixture;

    #[test]
    fn each_cell_at_work_says_what_it_waits_for_since_when_and_where_to_look() {
        let start = fixture::events().swap_remove(0);
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let (cell, attempt) = (fixture::cell("cold"), 1);
        let kinds = [
            start.kind,
            EventKind::CellSkipped { cell: fixture::cell("warm"), reason: "no".into(), shard: None },
            EventKind::CellStarted { cell: cell.clone(), attempt, namespace: "mm-abcdefghij-cold".into() },
            EventKind::StageStarted { cell: cell.clone(), attempt, stage: Stage::Migrate },
            EventKind::StageRunning {
                cell,
                attempt,
                stage: Stage::Migrate,
                elapsed_ms: 1000,
                waiting_for: "the Migration to end; last seen: Running, since 1970-01-01T00:00:03Z\u{1b}[2J".into(),
            },
        ];
        let mut model = RunModel::default();
        for (kind, seq) in kinds.into_iter().zip(0..) {
            model.apply(&Event { seq, at: at(i64::try_from(seq).unwrap()), kind });
        }
        assert!(!told(&model, at(65)).contains("oc -n"), "the lab of a run has no door");
        model.environment.lab = false;
        assert_eq!(
            told(&model, at(65)),
            "at 00:01:05Z: 1 cell at work, 2 wait for a place (`jobs`, `max_concurrent`)\n\
             vsphere/cold: migrate since 00:00:03Z (1m 02s)\n  \
             waiting for the Migration to end; last seen: Running, since 1970-01-01T00:00:03Z (told at 00:00:04Z)\n  \
             look at: oc -n mm-abcdefghij-cold get plans,migrations,pods,events"
        );
    }
}
