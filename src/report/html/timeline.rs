//! The run over time: a row a cell, a bar a stage. Geometry only; the template draws it.

use super::super::cause::rank;
use super::super::duration_text;
use super::super::model::{CellModel, RunModel, span};
use super::{TIMELINE, Text};

/// Where the time axis begins and how long it is, in SVG units.
const LEFT: i64 = 370;
const AXIS: i64 = 900;
const ROW: usize = 24;
/// Characters of a cell's name that fit before the axis.
const LONGEST: usize = 44;

pub struct Tick {
    pub x: i64,
    pub label: String,
}

pub struct Bar {
    pub x: i64,
    pub width: i64,
    pub class: String,
    pub title: String,
}

pub struct Row {
    pub y: usize,
    pub anchor: String,
    pub name: Text,
    pub verdict: &'static str,
    pub bars: Vec<Bar>,
}

pub struct Timeline {
    pub height: usize,
    pub ticks: Vec<Tick>,
    pub rows: Vec<Row>,
    /// Cells that ran and are not drawn.
    pub left_out: usize,
}

/// A round step that divides the run into four to ten parts, in milliseconds.
fn step(total: i64) -> i64 {
    const STEPS: [i64; 14] = [
        100, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000, 3_600_000, 7_200_000,
        14_400_000,
    ];
    STEPS.into_iter().find(|step| total / step <= 10).unwrap_or(total / 8)
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= LONGEST {
        name.to_owned()
    } else {
        name.chars().take(LONGEST - 1).chain(['…']).collect()
    }
}

impl Timeline {
    /// `None`: nothing ran.
    pub fn new(model: &RunModel, anchor: impl Fn(&CellModel) -> String) -> Option<Self> {
        let mut ran: Vec<&CellModel> = model.cells.iter().filter(|cell| !cell.attempts.is_empty()).collect();
        if ran.is_empty() {
            return None;
        }
        // Where not all fit, the bad ones stay; what is drawn stands in the order of the run.
        let left_out = ran.len().saturating_sub(TIMELINE);
        if left_out > 0 {
            ran.sort_by_key(|cell| rank(cell.final_verdict()));
            ran.truncate(TIMELINE);
            ran.sort_by_key(|cell| cell.started());
        }
        let total = model.milliseconds().max(1);
        let place = |milliseconds: i64| LEFT + milliseconds.saturating_mul(AXIS) / total;
        let ticks = (0..).map(|n| n * step(total)).take_while(|tick| *tick <= total);
        let ticks = ticks.map(|tick| Tick { x: place(tick), label: duration_text(tick) }).collect();
        let rows = ran.iter().enumerate().map(|(row, cell)| {
            let mut bars = Vec::new();
            for attempt in &cell.attempts {
                for stage in &attempt.stages {
                    let ended = stage.ended.or(attempt.ended).or(model.last);
                    let from = place(span(model.started, Some(stage.started)));
                    let to = place(span(model.started, ended));
                    let verdict = stage.verdict.map_or("interrupted", |verdict| verdict.name());
                    let took = duration_text(span(Some(stage.started), ended));
                    bars.push(Bar {
                        x: from,
                        width: (to - from).max(2),
                        class: format!("{verdict} s-{}", stage.stage),
                        title: format!("{} (attempt {}): {verdict}, {took}", stage.stage, attempt.number),
                    });
                }
            }
            Row {
                y: row * ROW + 8,
                anchor: anchor(cell),
                name: Text::new(&shortened(cell.name())),
                verdict: cell.final_verdict().name(),
                bars,
            }
        });
        Some(Self { height: ran.len() * ROW, ticks, rows: rows.collect(), left_out })
    }
}
