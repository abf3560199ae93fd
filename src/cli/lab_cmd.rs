//! `mtv-matrix lab`: the lab as a server.

use tokio::signal::unix::{SignalKind, signal};

use super::args::{LabPart, LabServerArgs};
use super::{Stop, common, exit};
use crate::lab::{Lab, LabOptions, Mtv};

/// How many of the things that are still there are named.
const SHOWN: usize = 3;

pub async fn run(args: &LabServerArgs) -> Result<u8, Stop> {
    let mut options = LabOptions {
        port: args.port,
        on: args.on.clone(),
        defects: args.defect.clone(),
        weather: args.weather.clone(),
        faults: args.faults.options(),
        state: args.state.clone(),
        own_addresses: args.own_addresses,
        ..LabOptions::default()
    };
    if let Some(scale) = args.clock_scale {
        options.clock_scale = scale;
    }
    options.world = args.world.as_deref().map(common::world).transpose()?;
    common::play(&mut options);
    let without = |part| args.without.contains(&part);
    options.events = true;
    options.nodes = !without(LabPart::Nodes);
    options.mtv = if without(LabPart::Mtv) {
        if args.on.is_none() || args.forklift.is_some() {
            return Err(Stop::usage("--without mtv goes with --on KUBECONFIG, and without --forklift"));
        }
        Mtv::Elsewhere
    } else {
        common::mtv(args.forklift.as_deref(), args.mtv_version.as_deref(), Some(args.dir.join("forklift")))?
    };
    if let (Mtv::Own, Some(version)) = (&options.mtv, &args.mtv_version) {
        options.mtv_version.clone_from(version);
    }
    super::pages::huge();
    let lab = Lab::start(options).await.map_err(Stop::environment)?;
    let kubeconfig = lab.write_client_files(&args.dir).map_err(Stop::environment)?;
    common::log_faults(&lab, &args.dir);
    super::show::out(format_args!("The lab is up at {}. Ctrl-C stops it.\n", lab.url()));
    if let (Some(label), Some(logs)) = (lab.forklift(), lab.forklift_logs()) {
        super::show::out(format_args!("  Forklift {label} is its MTV; logs are in {}", logs.display()));
    }
    super::show::out(format_args!("  export KUBECONFIG={}", kubeconfig.display()));
    super::show::out(format_args!("  kubectl get providers -A"));
    if let Some((user, password)) = lab.login() {
        super::show::out(format_args!(
            "  oc login {} -u {user} -p {password} --certificate-authority={}",
            lab.url(),
            args.dir.join("ca.pem").display()
        ));
    }
    super::show::out(format_args!(
        "  mtv-matrix --providers-json {} run --storage-class {} --set cutover_after_precopies=2 --set remote_ocp_cluster=127.0.0.1",
        args.dir.join("providers.json").display(),
        lab.storage_class()
    ));
    super::show::out(format_args!(
        "\n  Sources to migrate from, and their logins: {}",
        args.dir.join("providers.json").display()
    ));
    let listen = |kind| signal(kind).map_err(|e| Stop::environment(format!("failed to listen for signals: {e}")));
    let (mut terminate, mut hangup) = (listen(SignalKind::terminate())?, listen(SignalKind::hangup())?);
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    // What clients asked of the lab; `benches/overhead.rs` reads this line.
    let counters: Vec<String> = lab.counters().iter().map(|(name, count)| format!("{name}={count}")).collect();
    super::show::out(format_args!("counters: {}", counters.join(" ")));
    if let Some(faults) = lab.faults().summary() {
        super::show::out(faults);
    }
    // Nobody has to remove what he made; `tests/suite/common` looks for the line, as a run has to.
    let made = lab.leftovers().await;
    if !made.is_empty() {
        let more = if made.len() > SHOWN { ", …" } else { "" };
        let first = made.get(..SHOWN).unwrap_or(&made).join(", ");
        super::show::out(format_args!("made since the start and still there: {} ({first}{more})", made.len()));
    }
    lab.stop().await;
    Ok(exit::PASSED)
}
