//! The command line.

pub mod config_cmd;
pub mod list_cmd;

/// Runs the program.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
