//! `results_keep` and `results_keep_mb`: what goes from the results directory when a run begins, and that it is said.

use std::path::Path;

use crate::cleanup::results::{self, Limits};
use crate::config::Settings;
use crate::event::{Level, ShardSet};
use crate::report::{self, History};

const BYTES_OF_A_MEGABYTE: u64 = 1_000_000;

/// Makes room as the settings ask for it. `rerun`: the run that this one is the rest of.
pub(super) fn prune(settings: &Settings, set: Option<&ShardSet>, rerun: Option<&Path>) -> Vec<(Level, String)> {
    let limits = Limits {
        runs: Some(settings.results_keep).filter(|runs| *runs > 0),
        bytes: Some(settings.results_keep_mb).filter(|mb| *mb > 0).map(|mb| mb.saturating_mul(BYTES_OF_A_MEGABYTE)),
    };
    let spare: Vec<&Path> = rerun.into_iter().collect();
    let pruned = results::prune(&settings.results, limits, set, &spare);
    // A page that leads to what is gone is made again.
    let page = settings.results.join("index.html");
    let again = if pruned.removed.is_empty() || !page.is_file() {
        Ok(())
    } else {
        let history = History::read(&settings.results, super::args::NIGHTS);
        history.and_then(|history| report::write_index(&settings.results, &history)).map(drop)
    };
    let (removed, rest) = pruned.lines();
    let rest = rest.into_iter().chain(again.err().map(|error| error.to_string()));
    removed.into_iter().map(|line| (Level::Info, line)).chain(rest.map(|line| (Level::Warning, line))).collect()
}
