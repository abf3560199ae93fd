//! `mtv-matrix lab`: the lab as a server.

use super::args::{LabPart, LabServerArgs};
use super::{Stop, common, exit};
use crate::lab::{Lab, LabOptions, Mtv};

pub async fn run(args: &LabServerArgs) -> Result<u8, Stop> {
    let mut options =
        LabOptions { port: args.port, on: args.on.clone(), defects: args.defect.clone(), ..LabOptions::default() };
    if let Some(scale) = args.clock_scale {
        options.clock_scale = scale;
    }
    if let Some(version) = &args.mtv_version {
        options.mtv_version.clone_from(version);
    }
    options.mtv = match args.without {
        Some(LabPart::Mtv) => Mtv::Elsewhere,
        None => common::mtv(args.forklift.as_deref(), args.mtv_version.as_deref(), Some(args.dir.join("forklift")))?,
    };
    let lab = Lab::start(options).await.map_err(Stop::environment)?;
    let kubeconfig = lab.write_client_files(&args.dir).map_err(Stop::environment)?;
    println!("The lab is up at {}. Ctrl-C stops it.\n", lab.url());
    if let (Some(label), Some(logs)) = (lab.forklift(), lab.forklift_logs()) {
        println!("  Forklift {label} is its MTV; logs are in {}", logs.display());
    }
    println!("  export KUBECONFIG={}", kubeconfig.display());
    println!("  kubectl get providers -A");
    println!(
        "  mtv-matrix --providers-json {} run --storage-class {} --set cutover_after_precopies=2 --set remote_ocp_cluster=127.0.0.1",
        args.dir.join("providers.json").display(),
        lab.storage_class()
    );
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|e| Stop::environment(format!("failed to listen for SIGTERM: {e}")))?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    // What clients asked of the lab; `benches/overhead.rs` reads this line.
    let counters: Vec<String> = lab.counters().iter().map(|(name, count)| format!("{name}={count}")).collect();
    println!("counters: {}", counters.join(" "));
    // What a run has made and not removed; the lab knows what it started with.
    for what in lab.leftovers().await {
        println!("left behind: {what}");
    }
    lab.stop().await;
    Ok(exit::PASSED)
}
