//! The edge to the terminal: whatever a command prints passes here, plain and bounded ([`crate::api::text`]).
//!
//! A reader that went away (`| head`) and a full disk change nothing of what a command does.

use std::fmt::Display;
use std::io::Write as _;

use crate::api::text;

/// One message or table to standard output.
pub fn out(message: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{}", text::lines(&message.to_string()));
}

/// One message to standard error.
pub fn err(message: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{}", text::lines(&message.to_string()));
}

/// A whole text that may be read by a program: nothing is cut.
pub fn page(whole: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text::page(whole).as_bytes()).and_then(|()| out.flush());
}

/// Standard error for log lines: a dependency's message may hold what came from outside, or a URL.
#[derive(Debug, Clone, Copy)]
pub struct Log;

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        // Colours are written by the formatter itself: none are asked for, so none are ours.
        std::io::stderr().lock().write_all(text::lines(&line).as_bytes())?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().lock().flush()
    }
}
