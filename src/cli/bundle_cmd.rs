//! `mtv-matrix report bundle`: one run as one file, without secrets.

use std::fs::OpenOptions;
use std::io::{BufWriter, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use super::args::{BundleArgs, ConfigArgs};
use super::{Stop, common, exit};
use crate::event::EventKind;
use crate::report::log::read_started;
use crate::send::bundle;

pub(super) fn run(config: &ConfigArgs, args: &BundleArgs) -> Result<u8, Stop> {
    let log = args.dir.join("events.jsonl");
    let started = read_started(&log).map_err(Stop::usage)?.map(|event| event.kind);
    let run = match started {
        Some(EventKind::RunStarted { run, .. }) => run.to_string(),
        // What it was called is still in the directory's name.
        _ => match args.dir.canonicalize().ok().and_then(|dir| Some(dir.file_name()?.to_str()?.to_owned())) {
            Some(name) => name,
            None => return Err(Stop::usage(format!("{} is no run's directory", args.dir.display()))),
        },
    };
    let secrets = match common::load(config, Vec::new(), None) {
        Ok(loaded) => loaded.secrets,
        Err(stop) => {
            super::show::err(format_args!(
                "warning: the configuration can't be read, so its secrets are not known by value (by key and shape they \
                 are found all the same): {}",
                stop.message
            ));
            Vec::new()
        }
    };
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{run}.tar.gz")));
    let fail = |error: std::io::Error| match error.kind() {
        ErrorKind::AlreadyExists => Stop::usage(format!("{} exists already", out.display())),
        _ => Stop::usage(format!("failed to make {}: {error}", out.display())),
    };
    let file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(&out).map_err(fail)?;
    let packed = bundle::pack(&args.dir, &run, secrets.iter(), BufWriter::new(file));
    let packed = packed.map_err(|error| {
        // Half of a bundle is none.
        let _ = std::fs::remove_file(&out);
        Stop::environment(error)
    })?;
    for (file, why) in &packed.left_out {
        super::show::err(format_args!("left out: {file}: {why}"));
    }
    let (files, masked) = (packed.files.len(), packed.masked());
    super::show::out(format_args!(
        "{}: {files} files, places masked: {masked}; names and addresses are in it (BUNDLE.txt says what else)",
        out.display()
    ));
    Ok(exit::PASSED)
}
