//! `mtv-matrix list`: the cells and what is to become of them.

use std::collections::BTreeMap;

use super::args::{ConfigArgs, ListArgs, ListFormat};
use super::{Stop, common, exit, explain, print_text, support_grid};
use crate::config::nearest;
use crate::matrix::{Cell, Decision, glob};

pub(super) async fn run(config: &ConfigArgs, args: &ListArgs) -> Result<u8, Stop> {
    if args.support {
        // Says the same wherever it is asked, so no configuration is read.
        match args.format {
            ListFormat::Table => print_text(&support_grid::table()),
            ListFormat::Json => print_text(&support_grid::json()),
        }
        return Ok(exit::PASSED);
    }
    if let Some(name) = &args.explain {
        let loaded = common::load(config, Vec::new(), None)?;
        let known = loaded.scenarios.values().filter(|scenario| glob::matches(name, &scenario.name));
        let refused: Vec<&str> = known.clone().flat_map(|one| &one.refused).map(String::as_str).collect();
        if !refused.is_empty() {
            return Err(Stop::usage(refused.join("\n")));
        }
        let told: Vec<String> = known.map(|scenario| explain::story(scenario, &loaded.settings)).collect();
        if told.is_empty() {
            let near = nearest(name, loaded.scenarios.keys().map(String::as_str));
            let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            return Err(Stop::usage(format!("there is no scenario `{name}`{hint}")));
        }
        print_text(&told.join("\n"));
        return Ok(exit::PASSED);
    }
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

/// A table for people: a block a profile, what runs first.
pub fn list_table(cells: &[Cell]) -> String {
    let many = cells.iter().any(|c| c.storage_class != cells.first().map_or("", |f| f.storage_class.as_str()));
    let mut profiles: BTreeMap<&str, Vec<&Cell>> = BTreeMap::new();
    for cell in cells {
        profiles.entry(&cell.profile.name).or_default().push(cell);
    }
    let name = |cell: &Cell| {
        if many { format!("{} @{}", cell.scenario.name, cell.storage_class) } else { cell.scenario.name.clone() }
    };
    let tags = |cell: &Cell| cell.scenario.tags.join(",");
    let width =
        |text: &dyn Fn(&Cell) -> String| cells.iter().map(|c| text(c).chars().count()).max().unwrap_or_default();
    let (names, tagged) = (width(&name), width(&tags));
    let runs = |cells: &[&Cell]| cells.iter().filter(|c| c.decision == Decision::Run).count();
    let mut out = String::new();
    for (profile, mut own) in profiles {
        let platform = own.first().map_or("", |cell| cell.profile.platform.name());
        let run = runs(&own);
        let kind = if platform == profile { String::new() } else { format!(" ({platform})") };
        out.push_str(&format!("{profile}{kind}: {run} run, {} skip\n", own.len() - run));
        own.sort_by_key(|cell| cell.decision != Decision::Run);
        for cell in own {
            let decision = match &cell.decision {
                Decision::Run => "run".to_owned(),
                Decision::Skip(reason) => format!("skip: {reason}"),
            };
            out.push_str(&format!("  {:names$}  {:tagged$}  {decision}\n", name(cell), tags(cell)));
        }
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
