//! `mtv-matrix record`: what is needed to play a source's VMs in the lab, as a world file.
//!
//! Reads through the drivers, and changes nothing there. Shapes alone: no contents, no logins.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use super::args::RecordWorldArgs;
use super::grow::kind_of;
use super::{Stop, common, exit};
use crate::api::vm::SourceVm;
use crate::api::world::World;
use crate::config::{Loaded, ProviderProfile};
use crate::lab::Lab;
use crate::source::{self, DriverOptions, SourceDriver, VmRef};

pub(super) async fn world(config: &super::args::ConfigArgs, args: &RecordWorldArgs) -> Result<u8, Stop> {
    let lab = common::start_lab(&args.lab).await?;
    let result = record(config, args, lab.as_ref()).await;
    if let Some(lab) = lab {
        lab.stop().await;
    }
    result
}

async fn record(config: &super::args::ConfigArgs, args: &RecordWorldArgs, lab: Option<&Lab>) -> Result<u8, Stop> {
    let loaded = common::load(config, Vec::new(), lab)?;
    let profile = chosen(&loaded, args.provider.as_deref())?;
    let Some(kind) = kind_of(profile.platform) else {
        return Err(Stop::usage(format!("{} has no VMs of its own in a world: a run makes them", profile.platform)));
    };
    let options = DriverOptions {
        timeouts: loaded.settings.timeouts.clone(),
        insecure: loaded.settings.source_provider_insecure_skip_verify,
        cluster: None,
    };
    let driver = source::driver(&profile, &options).map_err(Stop::environment)?;
    let about = driver.connect().await.map_err(Stop::environment)?;
    let read = read(driver.as_ref(), &wanted(&loaded, args)?).await;
    driver.disconnect().await;
    let (vms, unread) = read?;
    for line in &unread {
        super::show::err(format_args!("warning: {line}"));
    }
    if vms.is_empty() {
        return Err(Stop::usage(format!("{}: no VM was read: there is nothing to record", profile.name)));
    }
    let mut world = World::recorded(kind, &vms);
    if args.anonymise {
        world.anonymise();
    }
    let head =
        format!("# {} VMs of {} {}, recorded by `mtv-matrix record world`.\n", vms.len(), about.product, about.version);
    write(&args.out, &head, &world)?;
    super::show::out(format_args!(
        "{} VMs of profile {} are in {}; play them: mtv-matrix run --lab --world {}",
        vms.len(),
        profile.name,
        args.out.display(),
        args.out.display()
    ));
    Ok(exit::PASSED)
}

/// The profile that is named, or the only one.
fn chosen(loaded: &Loaded, name: Option<&str>) -> Result<Arc<ProviderProfile>, Stop> {
    let names: Vec<&str> = loaded.providers.keys().map(String::as_str).collect();
    let found = match (name, names.as_slice()) {
        (Some(name), _) => loaded.providers.get(name),
        (None, [only]) => loaded.providers.get(*only),
        (None, _) => None,
    };
    found.map(|profile| Arc::new(profile.clone())).ok_or_else(|| {
        let what =
            name.map_or_else(|| "--provider says which".to_owned(), |name| format!("there is no profile `{name}`"));
        Stop::usage(format!("a world is recorded of one profile: {what}; there are {}", names.join(", ")))
    })
}

/// Names of the VMs to record; empty: all.
fn wanted(loaded: &Loaded, args: &RecordWorldArgs) -> Result<Vec<String>, Stop> {
    let mut names = args.vm.clone();
    for name in &args.scenario {
        let Some(scenario) = loaded.scenarios.get(name) else {
            return Err(Stop::usage(format!("there is no scenario `{name}`")));
        };
        names.extend(scenario.virtual_machines.iter().map(|vm| vm.name.clone()));
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// The VMs, and a line for each that could not be read.
async fn read(driver: &dyn SourceDriver, names: &[String]) -> Result<(Vec<SourceVm>, Vec<String>), Stop> {
    let all = driver.list_by_prefix("").await.map_err(Stop::environment)?;
    let chosen: Vec<&VmRef> = all.iter().filter(|vm| names.is_empty() || names.contains(&vm.name)).collect();
    let missing: Vec<&str> =
        names.iter().filter(|name| !chosen.iter().any(|vm| vm.name == **name)).map(String::as_str).collect();
    if !missing.is_empty() {
        return Err(Stop::usage(format!("there is no VM {}", missing.join(", "))));
    }
    let (mut vms, mut unread) = (Vec::new(), Vec::new());
    for vm in chosen {
        match driver.describe(vm).await {
            Ok(read) => vms.push(read),
            Err(error) => unread.push(format!("{} was left out: {error}", vm.name)),
        }
    }
    Ok((vms, unread))
}

/// A file of that name is somebody's.
fn write(path: &Path, head: &str, world: &World) -> Result<(), Stop> {
    let text = serde_saphyr::to_string(world).map_err(Stop::environment)?;
    let failed = |error: std::io::Error| Stop::usage(format!("{}: {error}", path.display()));
    let mut file = std::fs::File::create_new(path).map_err(failed)?;
    file.write_all(format!("{head}{text}").as_bytes()).map_err(failed)
}
