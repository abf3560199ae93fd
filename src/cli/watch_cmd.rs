//! `mtv-matrix watch`: a run from outside, by its event log; with the display of `run`.
//!
//! Reads the results directory alone, which may be another machine's volume, and changes nothing there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::WatchArgs;
use super::keys::{Borrowed, Key, Keys};
use super::signals::Signals;
use super::{Stop, exit, terminal};
use crate::event::{Event, EventKind};
use crate::ledger::guard;
use crate::net::pauses::{Pauses, pause};
use crate::report::Reporter;
use crate::report::log::Follower;

/// The log is looked at again after this at the latest.
const LOOK: Duration = Duration::from_secs(1);

pub(super) async fn run(args: &WatchArgs) -> Result<u8, Stop> {
    let dir = run_dir(&args.dir)?;
    let ledger = dir.join("ledger.jsonl");
    let mut log = Follower::open(&dir.join("events.jsonl")).map_err(Stop::usage)?;
    let mut console = terminal::console(args.log_format);
    // The terminal gets its modes back however the watching ends.
    let signals = Signals::install().map_err(|e| Stop::environment(format!("failed to listen for signals: {e}")))?;
    let mut onlooker = Onlooker { signals, keys: terminal::is_live(args.log_format).then(Keys::listen).flatten() };
    if onlooker.keys.is_some() {
        super::show::err("keys: t tells what each cell waits for, q ends the watching; the run goes on");
    }
    let mut pauses = Pauses::endless();
    let mut last = None;
    let ended = loop {
        // Asked before the log is read: what a run wrote before it ended is read after that.
        let holder = guard::holder(&ledger);
        let news = log.news().map_err(Stop::environment)?;
        news.iter().for_each(|event| console.event(event));
        if let Some(code) = news.iter().find_map(exit_code) {
            break End::Run(code);
        }
        if holder.is_none() && news.is_empty() {
            break End::Died;
        }
        if let Some(event) = news.into_iter().next_back() {
            pauses.reset();
            last = Some(event);
        }
        let look = pause(pauses.next(None).unwrap_or(LOOK).min(LOOK));
        tokio::select! {
            () = look => {}
            wish = onlooker.next() => match wish {
                Key::Tell => console.asked(),
                Key::End => break End::Left,
            },
        }
    };
    drop(onlooker);
    if matches!(ended, End::Left) {
        console.leave();
        super::show::err(format_args!("not watched any more; the run in {} goes on", dir.display()));
        return Ok(exit::INTERRUPTED);
    }
    if let Err(error) = console.finish() {
        super::show::err(format_args!("warning: {error}"));
    }
    match ended {
        End::Run(code) => Ok(code),
        End::Died | End::Left => Err(Stop::environment(died(&dir, last.as_ref()))),
    }
}

/// How the watching ended.
enum End {
    /// With the run, and its exit code.
    Run(u8),
    /// The run has no end, and nobody who could give it one.
    Died,
    /// Who watched went away.
    Left,
}

/// Who watches: by the keys of a terminal, or by a signal.
struct Onlooker {
    signals: Signals,
    keys: Option<(Keys, Borrowed)>,
}

impl Onlooker {
    async fn next(&mut self) -> Key {
        let keys = async {
            match &mut self.keys {
                Some((keys, _)) => keys.next().await,
                None => None,
            }
        };
        tokio::select! {
            Some(key) = keys => key,
            _ = self.signals.next() => Key::End,
        }
    }
}

/// The run's own directory: links lead to another once the next run begins.
fn run_dir(dir: &Path) -> Result<PathBuf, Stop> {
    let is_run = |dir: &PathBuf| dir.join("events.jsonl").is_file();
    let found = [dir.to_owned(), dir.join("latest")].into_iter().find(is_run);
    let none =
        || Stop::usage(format!("{} holds no events.jsonl, and no `latest` that does: which run?", dir.display()));
    found.ok_or_else(none)?.canonicalize().map_err(|e| Stop::usage(format!("failed to read {}: {e}", dir.display())))
}

fn exit_code(event: &Event) -> Option<u8> {
    match event.kind {
        EventKind::RunFinished { exit_code, .. } => Some(exit_code),
        _ => None,
    }
}

fn died(dir: &Path, last: Option<&Event>) -> String {
    let last = match last {
        Some(event) => format!("its last word is of {}", event.at.strftime("%Y-%m-%dT%H:%M:%SZ")),
        None => "it said nothing".to_owned(),
    };
    let dir = dir.display();
    format!(
        "the run died: its log has no end, and nobody works with it any more; {last}. `mtv-matrix report {dir}` makes \
         its reports, `mtv-matrix clean --results {dir}` removes what it left"
    )
}
