//! The command line: arguments → a command → an exit code.
//!
//! Floor 6. Composes the rooms below; holds no rule of its own. Values that configuration knows
//! have no default here, so that their layer stays visible.

mod again;
mod args;
mod bundle_cmd;
mod bus;
mod clean_cmd;
mod common;
pub mod config_cmd;
mod docs;
mod doctor_cmd;
mod earlier;
mod explain;
mod grow;
mod import_cmd;
mod keys;
mod lab_cmd;
pub mod list_cmd;
mod manual;
mod otel;
mod pages;
mod record_cmd;
mod report_cmd;
mod retell_cmd;
mod retention;
mod run_cmd;
mod runs;
mod scenario_cmd;
mod show;
mod signals;
mod support_grid;
mod telemetry;
mod tell;
mod terminal;
mod watch_cmd;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command, RecordCommand};

pub use crate::event::exit;

/// An error that ends a command: what to print, and the exit code.
#[derive(Debug)]
pub struct Stop {
    code: u8,
    message: String,
}

impl Stop {
    fn usage(message: impl ToString) -> Self {
        Self { code: exit::USAGE, message: message.to_string() }
    }
    fn environment(message: impl ToString) -> Self {
        Self { code: exit::ENVIRONMENT, message: message.to_string() }
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    pages::small();
    let args = Args::parse();
    if matches!(args.command, Command::Lab(_)) {
        pages::kept_whole();
    }
    // One provider for every TLS client and server of the process; two compiled in would panic at
    // the first handshake.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            show::err(format_args!("error: failed to start the async runtime: {error}"));
            return ExitCode::from(exit::ENVIRONMENT);
        }
    };
    let result = runtime.block_on(dispatch(args));
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match result {
        Ok(code) => ExitCode::from(code),
        Err(stop) => {
            show::err(format_args!("error: {}", stop.message));
            ExitCode::from(stop.code)
        }
    }
}

/// Prints a whole text; a reader that went away (`| head`) is no error.
fn print_text(text: &str) {
    show::page(text);
}

async fn dispatch(args: Args) -> Result<u8, Stop> {
    if !matches!(args.command, Command::Run(_)) {
        telemetry::logs();
    }
    let (defects, weather): (&[String], &[String]) = match &args.command {
        Command::Run(run) => (&run.lab.defect, &run.lab.lab_weather),
        Command::List(list) => (&list.lab.defect, &list.lab.lab_weather),
        Command::Doctor(doctor) => (&doctor.lab.defect, &doctor.lab.lab_weather),
        Command::Lab(lab) => (&lab.defect, &lab.weather),
        Command::Config { .. }
        | Command::Scenario { .. }
        | Command::Record { .. }
        | Command::Clean(_)
        | Command::Report(_)
        | Command::History(_)
        | Command::Watch(_)
        | Command::Completions { .. }
        | Command::Man { .. }
        | Command::ForkliftSupervisor => (&[], &[]),
    };
    if defects.iter().any(|name| name == "help") {
        print_text(&common::defects_help());
        return Ok(exit::PASSED);
    }
    if weather.iter().any(|name| name == "help") {
        print_text(&common::weather_help());
        return Ok(exit::PASSED);
    }
    let without_lab = match &args.command {
        Command::Run(run) => !run.lab.lab,
        Command::List(list) => !list.lab.lab,
        Command::Doctor(doctor) => !doctor.lab.lab,
        Command::Lab(_)
        | Command::Config { .. }
        | Command::Scenario { .. }
        | Command::Record { .. }
        | Command::Clean(_)
        | Command::Report(_)
        | Command::History(_)
        | Command::Watch(_)
        | Command::Completions { .. }
        | Command::Man { .. }
        | Command::ForkliftSupervisor => false,
    };
    if without_lab && !defects.is_empty() {
        return Err(Stop::usage("--defect makes the lab's migrations go wrong: it needs --lab"));
    }
    if without_lab && !weather.is_empty() {
        return Err(Stop::usage("--lab-weather is the lab's: it needs --lab"));
    }
    let before = args.config;
    match args.command {
        Command::Run(run) => runs::run(&before.and(&run.config), run).await,
        Command::List(list) => list_cmd::run(&before.and(&list.config), &list).await,
        Command::Config { config, command } => config_cmd::run(&before.and(&config), &command),
        Command::Record { config, command: RecordCommand::World(args) } => {
            record_cmd::world(&before.and(&config).and(&args.config), &args).await
        }
        Command::Record { config, command: RecordCommand::Scenario(args) } => {
            retell_cmd::scenario(&before.and(&config).and(&args.config), &args).await
        }
        Command::Scenario { command } => scenario_cmd::run(&command),
        Command::Doctor(doctor) => doctor_cmd::run(&before.and(&doctor.config), &doctor).await,
        Command::Clean(clean) => clean_cmd::run(&before.and(&clean.config), clean).await,
        Command::Report(report) => report_cmd::run(&before, report),
        Command::Watch(watch) => watch_cmd::run(&watch).await,
        Command::History(history) => report_cmd::history(&history),
        Command::Lab(lab) => lab_cmd::run(&lab).await,
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { out } => manual::pages(out.as_deref()),
        Command::ForkliftSupervisor => {
            crate::lab::forklift::supervisor::supervise().await;
            Ok(exit::PASSED)
        }
    }
}
