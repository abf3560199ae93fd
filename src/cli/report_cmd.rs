//! `mtv-matrix report DIR`: the reports again, from the event log alone.

use std::path::Path;

use super::{Stop, exit};
use crate::event::read_events;
use crate::report;

pub fn run(dir: &Path) -> Result<u8, Stop> {
    let events = read_events(&dir.join("events.jsonl")).map_err(Stop::usage)?;
    let files = report::write_all(dir, &events).map_err(Stop::environment)?;
    for file in files {
        println!("{}", file.display());
    }
    Ok(exit::PASSED)
}
