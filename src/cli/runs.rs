//! `mtv-matrix run`: one run, the same again until one does not pass, or the same cells with several builds of Forklift,
//! which are then held against each other.
//!
//! Knows how one run is made and the comparison of runs; judges nothing itself.

use std::path::PathBuf;

use super::args::{ConfigArgs, LogFormat, RunArgs};
use super::run_cmd::{Ended, run_on};
use super::tell::Tell;
use super::{Stop, common, exit, report_cmd};

pub async fn run(config: &ConfigArgs, args: RunArgs) -> Result<u8, Stop> {
    let tell = Tell::new(&args.tell)?;
    let result = match (args.lab.forklift.as_slice(), args.until_fail) {
        ([] | [_], None) => run_on(config, &args, &tell).await.map(|ended| ended.code),
        ([] | [_], Some(times)) => until_fail(config, &args, times, &tell).await,
        (builds, None) => with_builds(config, &args, builds, &tell).await,
        (_, Some(_)) => Err(Stop::usage("--until-fail runs one build again and again: give --forklift once")),
    };
    if let Err(stop) = &result {
        tell.stopped(stop);
    }
    result
}

/// Each run is one of its own, with results of its own; the first that does not pass is the last.
async fn until_fail(config: &ConfigArgs, args: &RunArgs, times: u32, tell: &Tell) -> Result<u8, Stop> {
    for number in 1..=times {
        super::show::err(format_args!("run {number} of {times} at most"));
        let ended = run_on(config, args, tell).await?;
        if ended.code != exit::PASSED {
            super::show::err(format_args!("run {number} did not pass: {}", ended.dir.display()));
            return Ok(ended.code);
        }
    }
    Ok(exit::PASSED)
}

/// One run a build, each in a lab of its own; the exit code is the last build's, or 1 where it is a regression of the
/// first.
async fn with_builds(config: &ConfigArgs, args: &RunArgs, builds: &[PathBuf], tell: &Tell) -> Result<u8, Stop> {
    // A folder that is none is told before the first build has run for minutes.
    for build in builds {
        common::mtv(Some(build), args.lab.lab_mtv_version.as_deref(), None)?;
    }
    let mut ended: Vec<Ended> = Vec::new();
    for (number, build) in builds.iter().enumerate() {
        super::show::err(format_args!("build {} of {}: {}", number + 1, builds.len(), build.display()));
        let mut own = args.clone();
        own.lab.forklift = vec![build.clone()];
        let last = run_on(config, &own, tell).await?;
        let interrupted = last.code == exit::INTERRUPTED;
        ended.push(last);
        if interrupted {
            return Ok(exit::INTERRUPTED);
        }
    }
    let dirs: Vec<PathBuf> = ended.iter().map(|run| run.dir.clone()).collect();
    let (table, regressed) = report_cmd::beside_each_other(&dirs)?;
    let folders = builds.iter().enumerate().map(|(n, build)| format!("build {}: {}\n", n + 1, build.display()));
    let text = folders.chain([table]).collect::<String>();
    // With events on standard output nothing else may stand there.
    if args.log_format == LogFormat::Json {
        super::show::err(format_args!("{}", text.trim_end()));
    } else {
        super::print_text(&format!("\n{text}"));
    }
    Ok(code_of(ended.last().map_or(exit::PASSED, |run| run.code), regressed))
}

/// A regression is a failure; else it is the last build that is asked about.
fn code_of(last: u8, regressed: bool) -> u8 {
    if regressed { exit::FAILED } else { last }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regression_of_the_last_build_fails_and_else_its_own_code_counts() {
        assert_eq!(code_of(exit::PASSED, true), exit::FAILED);
        assert_eq!(code_of(exit::ENVIRONMENT, true), exit::FAILED);
        assert_eq!(code_of(exit::FAILED, false), exit::FAILED);
        assert_eq!(code_of(exit::PASSED, false), exit::PASSED);
    }
}
