//! How events are shown: to whom looks at a terminal, to a log, or to a program.

use std::io::IsTerminal;

use super::args::LogFormat;
use crate::report::console::{Console, Mode};

/// Whether lines are redrawn.
pub(super) fn is_live(format: LogFormat) -> bool {
    mode(format) == Mode::Live
}

fn mode(format: LogFormat) -> Mode {
    match format {
        LogFormat::Json => Mode::Json,
        LogFormat::Plain => Mode::Plain,
        LogFormat::Auto if std::io::stdout().is_terminal() => Mode::Live,
        LogFormat::Auto => Mode::Plain,
    }
}

/// What a person sees of a run, made here or looked at from outside.
pub(super) fn console(format: LogFormat) -> Console {
    let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    Console::new(mode(format), color, Box::new(std::io::stdout()))
}
