//! `mtv-matrix record`: what is needed to play a source's VMs in the lab, as a world file.
//!
//! Reads through the drivers, or MTV's inventory of a Provider that is there, and changes nothing. Shapes alone: no
//! contents, no logins.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::args::RecordWorldArgs;
use super::grow::kind_of;
use super::run_cmd::connect;
use super::{Stop, common, exit};
use crate::api::forklift::ObjRef;
use crate::api::vm::SourceVm;
use crate::api::world::World;
use crate::cluster::Cluster;
use crate::config::{Loaded, ProviderProfile};
use crate::forklift::retold::from_cluster;
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
    if args.inventory.is_some() || args.plan.is_some() {
        let cluster = connect(&loaded, lab).await.map_err(Stop::environment)?;
        return of_inventory(&loaded, &cluster, args).await;
    }
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
    let of = format!("profile {} ({} {})", profile.name, about.product, about.version);
    finish(args, &of, vms.len(), &world)
}

fn finish(args: &RecordWorldArgs, of: &str, count: usize, world: &World) -> Result<u8, Stop> {
    // Whose it is stays unsaid where that was asked for.
    let whose = if args.anonymise { String::new() } else { format!(" of {of}") };
    let head = format!("# {count} VMs{whose}, recorded by `mtv-matrix record world`.\n");
    write(&args.out, &format!("{head}{}", yaml(world)?))?;
    let out = args.out.display();
    super::show::out(format_args!("{count} VMs of {of} are in {out}; play them: mtv-matrix run --lab --world {out}"));
    Ok(exit::PASSED)
}

/// What MTV's inventory shows of a Provider, or of the VMs of a Plan.
async fn of_inventory(loaded: &Loaded, cluster: &Cluster, args: &RecordWorldArgs) -> Result<u8, Stop> {
    let own = loaded.settings.mtv_namespace.as_str();
    let (reference, chosen) = match (&args.plan, &args.inventory) {
        (Some(plan), _) => {
            let evidence = from_cluster::evidence(cluster, own, &named(plan, own)).await.map_err(Stop::environment)?;
            let (source, vms) = evidence.source_of(None).map_err(Stop::usage)?;
            (source, Some(vms))
        }
        (None, Some(provider)) => (named(provider, own), None),
        (None, None) => return Err(Stop::usage("--inventory says which Provider")),
    };
    let (kind, mut listed) = from_cluster::listed(cluster, own, &reference).await.map_err(Stop::environment)?;
    let names = wanted(loaded, args)?;
    let vms = listed.entry("vms".to_owned()).or_default();
    let has =
        |vm: &Value, key: &str, all: &[String]| vm[key].as_str().is_some_and(|text| all.iter().any(|it| it == text));
    let missing: Vec<&str> =
        names.iter().filter(|name| !vms.iter().any(|vm| vm["name"] == **name)).map(String::as_str).collect();
    if !missing.is_empty() {
        return Err(Stop::usage(format!("there is no VM {}", missing.join(", "))));
    }
    vms.retain(|vm| match &chosen {
        Some(chosen) => has(vm, "id", chosen) || has(vm, "name", chosen),
        None => names.is_empty() || has(vm, "name", &names),
    });
    let count = vms.len();
    let whole = names.is_empty() && chosen.is_none();
    if count == 0 {
        return Err(Stop::usage("MTV's inventory shows no VM of it: there is nothing to record"));
    }
    let mut world = World::of_inventory(kind, &listed);
    if !whole {
        let source = world.source_mut(kind);
        source.disks.clear();
        // Nobody has named those that the inventory does not list.
        source.vms.retain(|vm| !vm.template);
    }
    if args.anonymise {
        world.anonymise();
    }
    let name = reference.name.as_deref().unwrap_or_default();
    finish(args, &format!("Provider {name} ({})", kind.name()), count, &world)
}

/// `namespace/name`, or a name in MTV's namespace.
pub(super) fn named(text: &str, namespace: &str) -> ObjRef {
    match text.split_once('/') {
        Some((namespace, name)) => ObjRef::new(namespace, name),
        None => ObjRef::new(namespace, text),
    }
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

pub(super) fn yaml(value: &impl serde::Serialize) -> Result<String, Stop> {
    serde_saphyr::to_string(value).map_err(Stop::environment)
}

/// A file of that name is somebody's.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Stop> {
    let failed = |error: std::io::Error| Stop::usage(format!("{}: {error}", path.display()));
    let mut file = std::fs::File::create_new(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}
