//! `mtv-matrix list`: the cells and what is to become of them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::args::{ConfigArgs, ListArgs, Output};
use super::run_cmd::connect;
use super::{Stop, common, exit, explain, print_text, support_grid};
use crate::api::version::Version;
use crate::cluster::ClusterError;
use crate::config::{Loaded, nearest};
use crate::doctor::{self, versions};
use crate::engine;
use crate::lab::Lab;
use crate::matrix::forecast::{Bound, Forecast, forecast};
use crate::matrix::{self, Cell, Decision, glob};
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
    let listed = listed(config, args, lab.as_ref()).await;
    if let Some(lab) = lab {
        lab.stop().await;
    }
    let Listed { cells, forecast, jobs, by } = listed?;
    match args.output {
        Output::Table => print_text(&list_table(&cells, false)),
        Output::Wide => print_text(&list_table(&cells, true)),
        Output::Json => print_text(&list_json(&cells, forecast.as_ref(), &by)),
        Output::Name => print_text(&list_names(&cells)),
    }
    if let Some(forecast) = forecast.filter(|_| matches!(args.output, Output::Table | Output::Wide)) {
        print_text(&forecast_line(&forecast, jobs));
    }
    super::show::err(format_args!("{}", by.line()));
    Ok(exit::PASSED)
}

struct Listed {
    cells: Vec<Cell>,
    forecast: Option<Forecast>,
    jobs: usize,
    by: DecidedBy,
}

async fn listed(config: &ConfigArgs, args: &ListArgs, lab: Option<&Lab>) -> Result<Listed, Stop> {
    let flags = args.jobs.map(|jobs| ("jobs".to_owned(), serde_json::json!(jobs), "--jobs".to_owned()));
    let mut loaded = common::load(config, flags.into_iter().collect(), lab)?;
    let issues = if args.offline { None } else { doctor::issues::ask(&mut loaded).await };
    if let Some(issues) = issues {
        super::show::err(issues.line);
    }
    let mut cells = common::cells(&loaded, &args.select)?;
    let by = match &args.mtv_version {
        Some(version) => {
            if Version::parse(version).is_none() {
                return Err(Stop::usage(format!("--mtv-version: `{version}` is no version; write e.g. 2.11")));
            }
            matrix::decide_version(&mut cells, version);
            matrix::decide_gates(&mut cells, version, &BTreeMap::new());
            DecidedBy::Version(version.clone())
        }
        None if args.offline => DecidedBy::Nobody("--offline".to_owned()),
        None => match tokio::time::timeout(LIMIT, ask(&loaded, lab, cells.clone())).await {
            Ok(Ok((by, decided))) => {
                cells = decided;
                by
            }
            Ok(Err(error)) => DecidedBy::Nobody(error.to_string()),
            Err(_) => DecidedBy::Nobody(format!("no answer within {} s", LIMIT.as_secs())),
        },
    };
    let settings = &loaded.settings;
    // The lab's clock is not the one of the expected times.
    let forecast = forecast(&cells, settings.jobs, settings.max_concurrent).filter(|_| lab.is_none());
    Ok(Listed { cells, forecast, jobs: settings.jobs, by })
}

/// The cells as the cluster decides about them: all of it, or, where it does not answer in time, nothing.
async fn ask(loaded: &Loaded, lab: Option<&Lab>, mut cells: Vec<Cell>) -> Result<(DecidedBy, Vec<Cell>), ClusterError> {
    let cluster = connect(loaded, lab).await?;
    let settings = &loaded.settings;
    let mtv = versions::read_versions(&cluster, &settings.mtv_namespace).await.mtv;
    let unknown = engine::decide(&cluster, settings, mtv.as_deref(), &mut cells).await.err();
    let unknown = unknown.map(|error| error.to_string());
    Ok((DecidedBy::Cluster { url: cluster.url().to_owned(), mtv, unknown }, cells))
}

/// A list is looked at by somebody who waits.
const LIMIT: Duration = Duration::from_secs(20);

/// Who said what MTV can do.
pub enum DecidedBy {
    /// As `run` would ask it.
    Cluster {
        url: String,
        mtv: Option<String>,
        /// Why MTV's switches are unknown.
        unknown: Option<String>,
    },
    /// `--mtv-version`.
    Version(String),
    /// Nobody, and why.
    Nobody(String),
}

impl DecidedBy {
    /// One line for people.
    fn line(&self) -> String {
        match self {
            Self::Cluster { url, mtv: Some(mtv), unknown: None } => format!("as MTV {mtv} of {url} allows"),
            Self::Cluster { url, mtv: Some(mtv), unknown: Some(why) } => {
                format!("as MTV {mtv} of {url} allows; its switches are unknown ({why})")
            }
            Self::Cluster { url, mtv: None, .. } => {
                format!("{url} does not tell MTV's version: what depends on it is not decided")
            }
            Self::Version(version) => {
                format!("as MTV {version} allows, its switches at their defaults; no cluster was asked")
            }
            Self::Nobody(why) => format!(
                "no cluster was asked ({why}): what depends on MTV's version, its switches and the default StorageClass is \
                 not decided; --mtv-version X decides for a version"
            ),
        }
    }

    fn json(&self) -> serde_json::Value {
        match self {
            Self::Cluster { url, mtv, unknown } => {
                serde_json::json!({"cluster": url, "mtv_version": mtv, "switches_unknown": unknown})
            }
            Self::Version(version) => serde_json::json!({"mtv_version": version}),
            Self::Nobody(why) => serde_json::json!({"not_asked": why}),
        }
    }
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
pub fn list_json(cells: &[Cell], forecast: Option<&Forecast>, by: &DecidedBy) -> String {
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
    let mut all = serde_json::json!({"version": 1, "decided_by": by.json(), "cells": rows});
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
