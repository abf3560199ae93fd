//! `mtv-matrix report`: the reports again, from the event log alone; and those of a set of shards as one.

use std::io::IsTerminal;
use std::path::Path;

use super::args::{MergeArgs, ReportArgs, ReportCommand};
use super::tell::Tell;
use super::{Stop, exit, print_text};
use crate::report::log::read_events;
use crate::report::{self, console, merge};

pub fn run(args: ReportArgs) -> Result<u8, Stop> {
    match (args.command, args.dir) {
        (Some(ReportCommand::Merge(args)), _) => join(&args),
        (None, Some(dir)) => again(&dir),
        (None, None) => Err(Stop::usage("report needs a directory, or `merge`")),
    }
}

fn again(dir: &Path) -> Result<u8, Stop> {
    let events = read_events(&dir.join("events.jsonl")).map_err(Stop::usage)?;
    let files = report::write_again(dir, &events).map_err(Stop::environment)?;
    for file in files {
        super::show::out(format_args!("{}", file.display()));
    }
    Ok(exit::PASSED)
}

fn join(args: &MergeArgs) -> Result<u8, Stop> {
    let tell = Tell::new(&args.tell)?;
    let joined = join_and_write(args);
    match &joined {
        Ok(merged) => tell.run(&merged.model, &args.out),
        Err(stop) => tell.stopped(stop),
    }
    let merged = joined?;
    let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    print_text(&format!("{}\nresults: {}\n", console::summary(&merged.model, color), args.out.display()));
    Ok(merged.model.end.as_ref().map_or(exit::ENVIRONMENT, |end| end.exit_code))
}

fn join_and_write(args: &MergeArgs) -> Result<merge::Merged, Stop> {
    let runs = merge::find(&args.dirs, args.run_set.as_deref()).map_err(Stop::usage)?;
    for run in &runs {
        super::show::out(format_args!("shard {}: run {} in {}", run.set.shard(), run.run, run.dir.display()));
    }
    let merged = merge::join(runs, args.allow_missing).map_err(Stop::usage)?;
    merged.write(&args.out).map_err(Stop::environment)?;
    Ok(merged)
}
