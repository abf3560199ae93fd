//! `mtv-matrix list`: the cells and what is to become of them.

use std::collections::BTreeMap;

use super::args::{ConfigArgs, ListArgs, Output};
use super::{Stop, common, exit, explain, print_text, support_grid};
use crate::config::nearest;
use crate::matrix::forecast::{Bound, Forecast, forecast};
use crate::matrix::{Cell, Decision, glob};
use crate::report::whole_minutes;

pub(super) async fn run(config: &ConfigArgs, args: &ListArgs) -> Result<u8, Stop> {
    if args.support {
        // Says the same wherever it is asked, so no configuration is read.
        match args.output {
            Output::Table | Output::Wide => print_text(&support_grid::table()),
            Output::Json => print_text(&support_grid::json()),
            Output::Name => print_text(&support_grid::names()),
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
    let flags = args.jobs.map(|jobs| ("jobs".to_owned(), serde_json::json!(jobs), "--jobs".to_owned()));
    let listed = common::load(config, flags.into_iter().collect(), lab.as_ref()).and_then(|loaded| {
        let cells = common::cells(&loaded, &args.select)?;
        // The lab's clock is not the one of the expected times.
        let settings = &loaded.settings;
        let forecast = forecast(&cells, settings.jobs, settings.max_concurrent).filter(|_| lab.is_none());
        Ok((cells, forecast, settings.jobs))
    });
    if let Some(lab) = lab {
        lab.stop().await;
    }
    let (cells, forecast, jobs) = listed?;
    match args.output {
        Output::Table => print_text(&list_table(&cells, false)),
        Output::Wide => print_text(&list_table(&cells, true)),
        Output::Json => print_text(&list_json(&cells, forecast.as_ref())),
        Output::Name => print_text(&list_names(&cells)),
    }
    if let Some(forecast) = forecast.filter(|_| matches!(args.output, Output::Table | Output::Wide)) {
        print_text(&forecast_line(&forecast, jobs));
    }
    Ok(exit::PASSED)
}

/// `expected to take about 1h 20m with -j 8, because …`.
fn forecast_line(forecast: &Forecast, jobs: usize) -> String {
    let because = match &forecast.bound {
        Bound::Cell(id) => format!("as long as its longest cell, {id}"),
        Bound::Jobs(jobs) => format!("bound by `jobs` ({jobs})"),
        Bound::Profile { name, max_concurrent } => {
            format!("bound by `max_concurrent` ({max_concurrent}) of profile {name}")
        }
    };
    format!("expected to take about {} with -j {jobs}: {because}\n", whole_minutes(forecast.takes))
}

/// For scripts: what would run.
fn list_names(cells: &[Cell]) -> String {
    cells.iter().filter(|cell| cell.decision == Decision::Run).map(|cell| format!("{}\n", cell.id)).collect()
}

/// A table for people: a block a profile, what runs first. `wide`: with storage classes and expected times.
pub fn list_table(cells: &[Cell], wide: bool) -> String {
    let many = cells.iter().any(|c| c.storage_class != cells.first().map_or("", |f| f.storage_class.as_str()));
    let mut profiles: BTreeMap<&str, Vec<&Cell>> = BTreeMap::new();
    for cell in cells {
        profiles.entry(&cell.profile.name).or_default().push(cell);
    }
    let name = |cell: &Cell| {
        if many { format!("{} @{}", cell.scenario.name, cell.storage_class) } else { cell.scenario.name.clone() }
    };
    let tags = |cell: &Cell| cell.scenario.tags.join(",");
    let extra = |cell: &Cell| {
        if wide { format!("{}  {}", cell.storage_class, whole_minutes(cell.expected)) } else { String::new() }
    };
    let width =
        |text: &dyn Fn(&Cell) -> String| cells.iter().map(|c| text(c).chars().count()).max().unwrap_or_default();
    let (names, tagged, more) = (width(&name), width(&tags), width(&extra));
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
            let columns = format!("  {:names$}  {:tagged$}  ", name(cell), tags(cell));
            let extra = if wide { format!("{:more$}  ", extra(cell)) } else { String::new() };
            out.push_str(&format!("{columns}{extra}{decision}\n"));
        }
        out.push('\n');
    }
    let run = cells.iter().filter(|c| c.decision == Decision::Run).count();
    out.push_str(&format!("{} cells: {run} run, {} skip\n", cells.len(), cells.len() - run));
    out
}

/// The same for programs; fields are only ever added.
pub fn list_json(cells: &[Cell], forecast: Option<&Forecast>) -> String {
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
    let mut all = serde_json::json!({"version": 1, "cells": rows});
    if let Some(forecast) = forecast {
        let bound = match &forecast.bound {
            Bound::Cell(id) => serde_json::json!({"cell": id}),
            Bound::Jobs(jobs) => serde_json::json!({"jobs": jobs}),
            Bound::Profile { name, max_concurrent } => {
                serde_json::json!({"profile": name, "max_concurrent": max_concurrent})
            }
        };
        all["forecast"] = serde_json::json!({"expected_seconds": forecast.takes.as_secs(), "bound": bound});
    }
    format!("{all:#}\n")
}
