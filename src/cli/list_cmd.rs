//! `mtv-matrix list`: the cells and what is to become of them.

use super::args::{ConfigArgs, ListArgs, ListFormat};
use super::{Stop, common, exit, print_text};
use crate::matrix::{Cell, Decision};

pub(super) async fn run(config: &ConfigArgs, args: &ListArgs) -> Result<u8, Stop> {
    let lab = common::start_lab(&args.lab).await?;
    let listed = common::load(config, Vec::new(), lab.as_ref()).and_then(|loaded| common::cells(&loaded, &args.select));
    if let Some(lab) = lab {
        lab.stop().await;
    }
    let cells = listed?;
    match args.format {
        ListFormat::Table => print_text(&list_table(&cells)),
        ListFormat::Json => print_text(&list_json(&cells)),
    }
    Ok(exit::PASSED)
}

/// A table for people.
pub fn list_table(cells: &[Cell]) -> String {
    let many = cells.iter().any(|c| c.storage_class != cells.first().map_or("", |f| f.storage_class.as_str()));
    let mut rows = vec![["PROFILE", "SCENARIO", "STORAGE CLASS", "TAGS", "DECISION"].map(str::to_owned)];
    for cell in cells {
        let decision = match &cell.decision {
            Decision::Run => "run".to_owned(),
            Decision::Skip(reason) => format!("skip: {reason}"),
        };
        let tags = cell.scenario.tags.join(",");
        let (profile, scenario) = (cell.profile.name.clone(), cell.scenario.name.clone());
        rows.push([profile, scenario, cell.storage_class.clone(), tags, decision]);
    }
    let mut widths = [0; 5];
    for row in &rows {
        for (width, text) in widths.iter_mut().zip(row) {
            *width = (*width).max(text.chars().count());
        }
    }
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (n, (text, width)) in row.iter().zip(widths).enumerate() {
            if n != 2 || many {
                line.push_str(&format!("{text:width$}  "));
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    let run = cells.iter().filter(|c| c.decision == Decision::Run).count();
    out.push_str(&format!("{} cells: {run} run, {} skip\n", cells.len(), cells.len() - run));
    out
}

/// The same for programs; fields are only ever added.
pub fn list_json(cells: &[Cell]) -> String {
    let rows: Vec<serde_json::Value> = cells
        .iter()
        .map(|cell| {
            let (decision, reason) = match &cell.decision {
                Decision::Run => ("run", None),
                Decision::Skip(reason) => ("skip", Some(reason)),
            };
            serde_json::json!({
                "id": cell.id,
                "profile": cell.profile.name,
                "platform": cell.profile.platform.name(),
                "scenario": cell.scenario.name,
                "description": cell.scenario.description,
                "storage_class": cell.storage_class,
                "tags": cell.scenario.tags,
                "decision": decision,
                "reason": reason,
                "expected_seconds": cell.expected.as_secs(),
            })
        })
        .collect();
    format!("{:#}\n", serde_json::json!({"version": 1, "cells": rows}))
}
