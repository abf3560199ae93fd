//! `mtv-matrix report` and `history`: the reports again, from the event log alone; those of a set of shards as one;
//! runs beside each other.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use super::args::{CompareArgs, ConfigArgs, HistoryArgs, MergeArgs, Output, ReportArgs, ReportCommand};
use super::tell::Tell;
use super::{Stop, bundle_cmd, exit, print_text};
use crate::event::Verdict;
use crate::report::history::{CellHistory, History, Night, Standing, read_night};
use crate::report::{self, Reading, Written, compare, console, merge};

pub fn run(before: &ConfigArgs, args: ReportArgs) -> Result<u8, Stop> {
    match (args.command, args.dir) {
        (Some(ReportCommand::Bundle(args)), _) => bundle_cmd::run(&before.and(&args.config), &args),
        (Some(ReportCommand::Merge(args)), _) => join(&args),
        (Some(ReportCommand::Compare(args)), _) => hold_against(&args),
        (None, Some(dir)) => again(&dir),
        (None, None) => Err(Stop::usage("report needs a directory, `merge`, `compare` or `bundle`")),
    }
}

fn nights(dirs: &[PathBuf]) -> Result<Vec<Night>, Stop> {
    let read = |dir: &PathBuf| {
        let none = || Stop::usage(format!("{} has no run.json: `mtv-matrix report {0}` makes it", dir.display()));
        read_night(dir).map_err(Stop::usage)?.ok_or_else(none)
    };
    dirs.iter().map(read).collect()
}

/// The table of runs beside each other, and whether the last is a regression of the first.
pub(super) fn beside_each_other(dirs: &[PathBuf]) -> Result<(String, bool), Stop> {
    let nights = nights(dirs)?;
    let compared = compare::compare(&nights);
    Ok((compared.text(true), compared.regressed()))
}

fn hold_against(args: &CompareArgs) -> Result<u8, Stop> {
    let nights = nights(&args.dirs)?;
    let compared = compare::compare(&nights);
    match args.output {
        Output::Table => print_text(&compared.text(args.all)),
        Output::Wide => print_text(&compared.text(true)),
        Output::Json => print_json(&compared)?,
        Output::Name => print_text(&compared.names()),
    }
    Ok(if compared.regressed() { exit::FAILED } else { exit::PASSED })
}

fn print_json(value: &impl serde::Serialize) -> Result<(), Stop> {
    let text = serde_json::to_string_pretty(value).map_err(Stop::environment)?;
    print_text(&format!("{text}\n"));
    Ok(())
}

/// The newest run's cells by what earlier runs say of them, and the page of all runs.
pub fn history(args: &HistoryArgs) -> Result<u8, Stop> {
    let history = History::read(&args.results, args.last).map_err(Stop::usage)?;
    for (dir, why) in &history.unread {
        super::show::err(format_args!("passed over: {}: {}", dir.display(), report::clean(why)));
    }
    let standings = history.standings();
    match args.output {
        Output::Json => print_json(&serde_json::json!({ "runs": history.nights, "cells": standings }))?,
        Output::Table | Output::Wide | Output::Name => {
            let Some(newest) = history.nights.last() else {
                return Err(Stop::usage(format!("{} holds no run that has ended", args.results.display())));
            };
            let mut rows: Vec<_> = standings.iter().collect();
            rows.sort_by_key(|row| (order(&row.standing), row.slower.is_none(), row.id.clone()));
            let text = match args.output {
                Output::Name => rows.iter().map(|row| format!("{}\n", report::clean(&row.id))).collect(),
                wide => {
                    let head = format!("{} runs; the newest is {}\n", history.nights.len(), newest.run);
                    head + &standings_table(&history, &rows, wide == Output::Wide)
                }
            };
            print_text(&text);
        }
    }
    let page = report::write_index(&args.results, &history).map_err(Stop::environment)?;
    super::show::err(page.display());
    Ok(exit::PASSED)
}

/// What wants a reader comes first.
fn order(standing: &Standing) -> u8 {
    match standing {
        Standing::New { .. } => 0,
        Standing::Known { .. } => 1,
        Standing::Fixed { .. } => 2,
        Standing::Passing { .. } => 3,
    }
}

/// A line a cell. `wide`: with its verdict in each run, a column a run.
fn standings_table(history: &History, rows: &[&CellHistory], wide: bool) -> String {
    let id = rows.iter().map(|row| row.id.len()).max().unwrap_or_default();
    let mut text = String::new();
    if wide {
        for (number, night) in history.nights.iter().enumerate() {
            let mtv = night.mtv_version.as_deref().unwrap_or("unknown");
            let day = night.started.strftime("%Y-%m-%d %H:%M");
            text += &format!("run {}: {} {day} MTV {mtv}: {}\n", number + 1, night.run, night.verdict);
        }
    }
    for row in rows {
        let flaky = (row.flaky_rate > 0.0).then(|| format!(", flaky in {:.0} % of its passes", row.flaky_rate * 100.0));
        let slower = row.slower.map(|(now, usual)| {
            format!(", slower: {} against {}", report::duration_text(now), report::duration_text(usual))
        });
        let nights = wide.then(|| history.nights.iter().map(|night| sign(night, &row.id)).collect::<String>() + "  ");
        text += &format!(
            "{:id$}  {}{}{}{}\n",
            report::clean(&row.id),
            nights.unwrap_or_default(),
            row.standing,
            flaky.unwrap_or_default(),
            slower.unwrap_or_default()
        );
    }
    if wide {
        text += "\na column a run: . passed, f passed only after a retry, F failed, E errored, - did not run\n";
    }
    text
}

/// One cell in one run, as a letter.
fn sign(night: &Night, id: &str) -> char {
    match night.cells.get(id).map(|past| (past.verdict, past.flaky)) {
        Some((Verdict::Passed, false)) => '.',
        Some((Verdict::Passed, true)) => 'f',
        Some((Verdict::Failed, _)) => 'F',
        Some((Verdict::Errored, _)) => 'E',
        Some((Verdict::Blocked | Verdict::Skipped | Verdict::Interrupted, _)) | None => '-',
    }
}

fn again(dir: &Path) -> Result<u8, Stop> {
    let run = Reading::of_log(&dir.join("events.jsonl"), Vec::new()).map_err(Stop::usage)?;
    let written = report::write_again(dir, &run);
    for file in &written.files {
        super::show::out(format_args!("{}", file.display()));
    }
    match unwritten(&written).as_slice() {
        [] => Ok(exit::PASSED),
        why => Err(Stop::environment(why.join("\n"))),
    }
}

fn join(args: &MergeArgs) -> Result<u8, Stop> {
    let tell = Tell::new(&args.tell)?;
    let joined = join_and_write(args);
    match &joined {
        Ok((merged, unwritten)) => {
            let code = merged.run.outline.end.as_ref().map_or(exit::ENVIRONMENT, |end| end.exit_code);
            tell.run(&merged.run.outline, &args.out, with_reports(code, unwritten), unwritten);
        }
        Err(stop) => tell.stopped(stop),
    }
    let (merged, unwritten) = joined?;
    unwritten.iter().for_each(|why| super::show::err(format_args!("error: {why}")));
    let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    print_text(&format!("{}\nresults: {}\n", console::summary(&merged.run.outline, color), args.out.display()));
    Ok(with_reports(merged.run.outline.end.as_ref().map_or(exit::ENVIRONMENT, |end| end.exit_code), &unwritten))
}

/// Why reports are missing.
pub(super) fn unwritten(written: &Written) -> Vec<String> {
    written.unwritten.iter().map(ToString::to_string).collect()
}

/// The exit code where reports are missing: a worse one stays.
pub(super) fn with_reports(code: u8, unwritten: &[String]) -> u8 {
    match code {
        exit::PASSED | exit::LEFTOVERS if !unwritten.is_empty() => exit::ENVIRONMENT,
        other => other,
    }
}

fn join_and_write(args: &MergeArgs) -> Result<(merge::Merged, Vec<String>), Stop> {
    let runs = merge::find(&args.dirs, args.run_set.as_deref()).map_err(Stop::usage)?;
    for run in &runs {
        super::show::out(format_args!("shard {}: run {} in {}", run.set.shard(), run.run, run.dir.display()));
    }
    let merged = merge::join(runs, args.allow_missing).map_err(Stop::usage)?;
    let written = merged.write(&args.out).map_err(Stop::environment)?;
    Ok((merged, unwritten(&written)))
}
