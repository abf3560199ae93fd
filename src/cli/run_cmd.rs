//! `mtv-matrix run` and `doctor`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::SecretString;
use serde_json::json;

use super::args::{ConfigArgs, LabArgs, LogFormat, RunArgs};
use super::bus::Bus;
use super::common::Flag;
use super::signals::{Signals, StopTokens};
use super::tell::Tell;
use super::{Stop, common, exit, telemetry};
use crate::api::names::{RunId, dns_label};
use crate::cluster::Cluster;
use crate::cluster::health::{InventoryAddress, default_storage_class, inventory_address};
use crate::cluster::versions;
use crate::config::scenarios::Destination;
use crate::config::{Keep, Loaded};
use crate::doctor::{self, Report};
use crate::engine::{Engine, EngineOptions, RunSummary};
use crate::event::{Environment, EventKind, Events, Problem, SCHEMA, ShardSet, Verdict};
use crate::forklift::inventory::Inventory;
use crate::lab::Lab;
use crate::ledger::Ledger;
use crate::ledger::guard::Guard;
use crate::matrix::{self, Cell, Decision};
use crate::migration::{ContextParts, RunContext};
use crate::report::{self, Reporter, RunModel, console, merge, metrics};

pub async fn run(config: &ConfigArgs, args: RunArgs) -> Result<u8, Stop> {
    let tell = Tell::new(&args.tell)?;
    let result = run_on(config, &args, &tell).await;
    if let Err(stop) = &result {
        tell.stopped(stop);
    }
    result
}

async fn run_on(config: &ConfigArgs, args: &RunArgs, tell: &Tell) -> Result<u8, Stop> {
    // A signal that comes now waits until somebody listens.
    let signals = Signals::install().map_err(|e| Stop::environment(format!("failed to listen for signals: {e}")))?;
    let lab = common::start_lab(&args.lab).await?;
    let result = run_with(config, args, lab.as_ref(), signals, tell).await;
    if let Some(lab) = lab {
        lab.stop().await;
    }
    result
}

async fn run_with(
    config: &ConfigArgs,
    args: &RunArgs,
    lab: Option<&Lab>,
    signals: Signals,
    tell: &Tell,
) -> Result<u8, Stop> {
    let loaded = common::load(config, flags(args), lab)?;
    let (cells, set) = common::selected(&loaded, &args.select)?;
    let set_id = set.as_ref().filter(|_| args.merge).map(|set| set.id.clone());
    let run = match loaded.settings.target_namespace_prefix.as_str() {
        "" | "auto" => RunId::random(),
        prefix => RunId::random_with(prefix),
    };
    let live = telemetry::start(&run);
    let dir = open_results(&loaded.settings.results, &run, set.as_ref())?;
    // Until the ledger is closed `clean` keeps off it, from wherever it is called.
    let guard = Arc::new(Guard::hold(&dir.join("ledger.jsonl"), "run").map_err(Stop::environment)?);
    let _heart = common::heartbeat(&guard);
    let bus =
        Arc::new(Bus::create(&dir.join("events.jsonl"), vec![console(args.log_format)]).map_err(Stop::environment)?);
    let events: Events = bus.clone();

    // From here on a signal ends the run in order, however early it comes.
    let stop = StopTokens::default();
    let _signals = signals.listen(events.clone(), &stop, loaded.settings.timeouts.grace);
    let ran = run_cells(&loaded, cells, set, lab, &run, &dir, &events, &stop).await;
    let (code, problem) = match &ran {
        Ok(ended) => (ended.code, None),
        Err(problem) => (exit::ENVIRONMENT, Some(problem.clone())),
    };
    let leftovers = ran.as_ref().map_or(0, |ended| ended.leftovers);
    let (spans, dropped) = live.take();
    if dropped > 0 {
        let message = format!("traces.jsonl lacks {dropped} spans of single requests: there were too many");
        events.emit(EventKind::Note { cell: None, level: crate::event::Level::Warning, message });
    }
    events.emit(EventKind::RunFinished { verdict: exit::verdict(code), leftovers, exit_code: code, problem });
    let (all, broken) = bus.finish();
    let written = report::write_all_with(&dir, &all, &spans).map_err(Stop::environment)?;
    drop(guard);
    let model = RunModel::from_events(&all);
    tell.run(&model, &dir);
    push_traces(&written).await;
    push_metrics(loaded.settings.metrics_push.as_deref(), &model).await;
    if let Some(id) = set_id {
        merge_set(&loaded.settings.results, &id);
    }
    // With events on standard output nothing else may stand there.
    if args.log_format == LogFormat::Json {
        eprintln!("results: {}", dir.display());
    } else {
        println!("results: {}  (report.html, junit.xml, run.json, traces.jsonl, artifacts/)", dir.display());
    }
    if let Some(error) = broken {
        return Err(Stop::environment(error));
    }
    Ok(code)
}

/// First-class flags as settings.
fn flags(args: &RunArgs) -> Vec<Flag> {
    let mut flags: Vec<Flag> = Vec::new();
    let mut add =
        |key: &str, value: serde_json::Value, flag: &str| flags.push((key.to_owned(), value, flag.to_owned()));
    if let Some(jobs) = args.jobs {
        add("jobs", json!(jobs), "--jobs");
    }
    if let Some(retries) = args.retries {
        add("retries", json!(retries), "--retries");
    }
    if args.fail_fast {
        add("fail_fast", json!(true), "--fail-fast");
    }
    if let Some(keep) = args.keep {
        let word = match keep {
            Keep::Never => "never",
            Keep::OnFailure => "on-failure",
            Keep::Always => "always",
        };
        add("keep", json!(word), "--keep");
    }
    if !args.storage_class.is_empty() {
        add("storage_class", json!(args.storage_class), "--storage-class");
    }
    if let Some(results) = &args.results {
        add("results", json!(results), "--results");
    }
    flags
}

/// `results/<run-id>/`, and `latest` pointing to it. Shards share a volume, and each has a link of its own:
/// the last one to start is not the last run.
fn open_results(root: &Path, run: &RunId, set: Option<&ShardSet>) -> Result<PathBuf, Stop> {
    let dir = root.join(run.as_str());
    std::fs::create_dir_all(&dir)
        .map_err(|e| Stop::environment(format!("failed to make the results directory {}: {e}", dir.display())))?;
    let name = match set {
        Some(set) => format!("latest-{}", dns_label(&set.shard().replace('/', "-of-"), 63)),
        None => "latest".to_owned(),
    };
    link(root, &name, run.as_str());
    Ok(dir)
}

/// Renamed into its place, so that it is never missing. A directory of that name is somebody's, and stays.
fn link(root: &Path, name: &str, to: &str) {
    let (link, made) = (root.join(name), root.join(format!(".{name}-{to}")));
    let linked = std::os::unix::fs::symlink(to, &made).and_then(|()| std::fs::rename(&made, &link));
    if let Err(error) = linked {
        let _ = std::fs::remove_file(&made);
        eprintln!("warning: failed to make the link {}: {error}", link.display());
    }
}

/// Joins the set where this was the last of its shards to end.
fn merge_set(root: &Path, id: &str) {
    let joined = merge::find(&[root.to_owned()], Some(id)).and_then(|runs| merge::join(runs, false));
    let written = joined.and_then(|merged| {
        let name = merged.model.run_name().to_owned();
        merged.write(&root.join(&name)).map(|_| name)
    });
    // Standard output may be events alone.
    match written {
        Ok(name) => {
            link(root, "latest", &name);
            eprintln!("this was the last shard of its set: all of them are in {}", root.join(name).display());
        }
        Err(merge::MergeError::Missing { what, .. }) => eprint!("not the last shard of its set:\n{what}"),
        Err(error) => eprintln!("warning: the shards were not joined: {error}"),
    }
}

fn console(format: LogFormat) -> Box<dyn Reporter> {
    let terminal = std::io::stdout().is_terminal();
    let mode = match format {
        LogFormat::Json => console::Mode::Json,
        LogFormat::Plain => console::Mode::Plain,
        LogFormat::Auto if terminal => console::Mode::Live,
        LogFormat::Auto => console::Mode::Plain,
    };
    let color = terminal && std::env::var_os("NO_COLOR").is_none();
    Box::new(console::Console::new(mode, color, Box::new(std::io::stdout())))
}

async fn connect(loaded: &Loaded, lab: Option<&Lab>) -> Result<Cluster, Problem> {
    let connected = match lab {
        Some(lab) => {
            let token = SecretString::from(lab.token().to_owned());
            let limit = loaded.settings.timeouts.request;
            Cluster::from_parts(&lab.url(), Some(lab.ca_pem()), token, false, limit).await
        }
        None => Cluster::connect(&loaded.settings).await,
    };
    connected.map_err(|error| Problem::new(error.to_string()))
}

struct RunEnd {
    code: u8,
    leftovers: u32,
}

#[expect(clippy::too_many_arguments, reason = "the one place where a run's parts meet")]
async fn run_cells(
    loaded: &Loaded,
    mut cells: Vec<Cell>,
    set: Option<ShardSet>,
    lab: Option<&Lab>,
    run: &RunId,
    dir: &Path,
    events: &Events,
    stop: &StopTokens,
) -> Result<RunEnd, Problem> {
    let started = |cells: &[Cell], environment| {
        let infos = cells.iter().map(Cell::info).collect();
        let (run, shard, set) = (run.clone(), set.as_ref().map(|set| set.shard().to_owned()), set.clone());
        events.emit(EventKind::RunStarted { schema: SCHEMA, run, environment, cells: infos, shard, set });
        for cell in cells {
            if let Decision::Skip(reason) = &cell.decision {
                let (cell, reason, shard) = (cell.id.clone(), reason.clone(), cell.shard.clone());
                events.emit(EventKind::CellSkipped { cell, reason, shard });
            }
        }
    };
    let look = async {
        let cluster = connect(loaded, lab).await?;
        let report = doctor::examine(&cluster, &loaded.settings).await;
        Ok((cluster, report))
    };
    let (cluster, report) = match stop.cancel.run_until_cancelled(look).await {
        Some(Ok(found)) => found,
        ended => {
            started(&cells, environment(loaded, None, lab.is_some()));
            return match ended {
                Some(Err(problem)) => Err(problem),
                _ => Ok(RunEnd { code: exit::INTERRUPTED, leftovers: 0 }),
            };
        }
    };
    let mut unknown_flags = None;
    if let Some(mtv) = &report.versions.mtv {
        matrix::decide_version(&mut cells, mtv);
        match versions::controller_flags(&cluster, &loaded.settings.mtv_namespace).await {
            Ok(flags) => matrix::decide_gates(&mut cells, mtv, &flags),
            Err(cause) => unknown_flags = Some(cause),
        }
    }
    // Where the cluster has no default, the preflight has said so already.
    if loaded.settings.storage_class.is_empty()
        && let Ok(class) = default_storage_class(&cluster).await
    {
        cells.iter_mut().for_each(|cell| cell.storage_class.clone_from(&class));
    }
    started(&cells, environment(loaded, Some(&report), lab.is_some()));
    if let Some(cause) = unknown_flags {
        let message =
            format!("switches of the ForkliftController are unknown, so no cell is skipped for them: {cause}");
        events.emit(EventKind::Note { cell: None, level: crate::event::Level::Warning, message });
    }
    for probe in &report.probes {
        let (probe, ok, message) = (probe.name.clone(), probe.ok, probe.message.clone());
        events.emit(EventKind::Preflight { probe, ok, message });
    }
    let missing = report.missing();
    if !missing.is_empty() {
        let mut problem = Problem::new("the cluster is not ready for a run; nothing was created");
        problem.details = missing.iter().map(|p| format!("{}: {}", p.name, p.message)).collect();
        return Err(problem);
    }
    let address = inventory_address(&cluster, &loaded.settings.mtv_namespace)
        .await
        .map_err(|cause| Problem::new(format!("failed to find MTV's inventory: {cause}")))?;
    let context = open_context(loaded, &cells, run, dir, events, cluster, &report, address)?;
    execute(loaded, cells, lab, events, Arc::new(context), stop).await
}

#[expect(clippy::too_many_arguments, reason = "the one place where a run's parts meet")]
fn open_context(
    loaded: &Loaded,
    cells: &[Cell],
    run: &RunId,
    dir: &Path,
    events: &Events,
    cluster: Cluster,
    report: &Report,
    address: InventoryAddress,
) -> Result<RunContext, Problem> {
    let ledger = Ledger::create(&dir.join("ledger.jsonl"), run).map_err(|e| Problem::new(e.to_string()))?;
    let mut profiles: Vec<_> =
        cells.iter().filter(|c| c.decision == Decision::Run).map(|c| c.profile.clone()).collect();
    // A second cluster may be a destination only.
    let remote = |c: &Cell| c.decision == Decision::Run && c.scenario.destination == Destination::Remote;
    if cells.iter().any(remote) {
        let named = loaded.providers.get(&loaded.settings.remote_ocp_cluster);
        profiles.extend(named.map(|profile| Arc::new(profile.clone())));
    }
    profiles.sort_by(|a, b| a.name.cmp(&b.name));
    profiles.dedup_by(|a, b| a.name == b.name);
    Ok(RunContext::new(ContextParts {
        run: run.clone(),
        settings: Arc::new(loaded.settings.clone()),
        inventory: Inventory::new(cluster.clone(), address),
        cluster_ca: cluster.ca_pem().map(str::to_owned),
        cluster,
        ledger: Arc::new(ledger),
        events: events.clone(),
        mtv_version: report.versions.mtv.clone(),
        ocp_version: report.versions.openshift.clone(),
        profiles,
        results: dir.to_owned(),
        stage_span: report::live::stage_spans(run),
    }))
}

async fn execute(
    loaded: &Loaded,
    cells: Vec<Cell>,
    lab: Option<&Lab>,
    events: &Events,
    context: Arc<RunContext>,
    stop: &StopTokens,
) -> Result<RunEnd, Problem> {
    let settings = &loaded.settings;
    let options = EngineOptions {
        jobs: settings.jobs,
        max_concurrent: settings.max_concurrent,
        retries: settings.retries,
        fail_fast: settings.fail_fast,
        keep: settings.keep,
    };
    let engine = Engine::new(context.clone(), options, &cells, stop.cancel.clone(), stop.abort.clone());
    if cells.iter().any(|c| c.decision == Decision::Run)
        && let Some(Err(failure)) = stop.cancel.run_until_cancelled(context.open()).await
    {
        engine.close().await;
        return Err(failure.problem);
    }
    let mut summary = engine.run(&cells).await;
    // What the user asked to keep is no leftover, and what a run told to stop at once left is told already.
    if let Some(lab) = lab
        && !stop.abort.is_cancelled()
        && !context.parts.ledger.open_entries().iter().any(|e| e.kept)
    {
        summary.leftovers += check_lab(lab, events).await;
    }
    let code = exit_code(&summary, stop.cancel.is_cancelled());
    Ok(RunEnd { code, leftovers: summary.leftovers })
}

/// The lab can be asked what stands in it beyond what it started with; a run must have left nothing.
async fn check_lab(lab: &Lab, events: &Events) -> u32 {
    let left = lab.leftovers().await;
    for what in &left {
        let because = "the lab still holds it after the run".to_owned();
        events.emit(EventKind::Leftover { cell: None, what: what.clone(), because });
    }
    if left.is_empty() {
        let message = "the lab's API server and platforms hold nothing that this run made".to_owned();
        events.emit(EventKind::Note { cell: None, level: crate::event::Level::Info, message });
    }
    u32::try_from(left.len()).unwrap_or(u32::MAX)
}

fn exit_code(summary: &RunSummary, interrupted: bool) -> u8 {
    let leftovers = usize::try_from(summary.leftovers).unwrap_or(usize::MAX);
    exit::code(interrupted, summary.count(Verdict::Failed), summary.count(Verdict::Errored), leftovers)
}

fn environment(loaded: &Loaded, report: Option<&Report>, lab: bool) -> Environment {
    let versions = report.map(|r| r.versions.clone()).unwrap_or_default();
    Environment {
        mtv_version: versions.mtv,
        ocp_version: versions.openshift,
        kubernetes_version: versions.kubernetes,
        cluster: loaded.settings.cluster_host.clone(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        lab,
        notes: Default::default(),
    }
}

/// Sends the traces on where OpenTelemetry's own variable asks for it; a failure is a warning.
async fn push_traces(written: &[PathBuf]) {
    let Ok(endpoint) = std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT") else { return };
    let Some(path) = written.iter().find(|p| p.file_name().is_some_and(|n| n == "traces.jsonl")) else { return };
    if endpoint.is_empty() {
        return;
    }
    let headers: Vec<(String, String)> = std::env::var("OTEL_EXPORTER_OTLP_HEADERS")
        .unwrap_or_default()
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect();
    let body = std::fs::read_to_string(path).unwrap_or_default();
    if let Err(error) = report::trace::push(&endpoint, &headers, &body).await {
        eprintln!("warning: traces were not sent to {endpoint}: {error}");
    }
}

/// Sends the metrics to a Pushgateway where the settings name one; a failure is a warning.
async fn push_metrics(gateway: Option<&str>, model: &RunModel) {
    let Some(gateway) = gateway.filter(|url| !url.is_empty()) else { return };
    if let Err(error) = metrics::push(gateway, model.shard.as_deref(), metrics::render(model)).await {
        eprintln!("warning: metrics were not sent: {error}");
    }
}

/// `mtv-matrix doctor`: what a run would ask first.
pub async fn doctor(config: &ConfigArgs, args: &LabArgs) -> Result<u8, Stop> {
    let lab = common::start_lab(args).await?;
    let loaded = common::load(config, Vec::new(), lab.as_ref())?;
    let cluster = connect(&loaded, lab.as_ref()).await.map_err(|p| Stop::environment(p.message))?;
    let report = doctor::examine(&cluster, &loaded.settings).await;
    let width = report.probes.iter().map(|p| p.name.chars().count()).max().unwrap_or_default();
    for probe in &report.probes {
        println!("{} {:<width$}  {}", if probe.ok { "ok     " } else { "MISSING" }, probe.name, probe.message);
    }
    let code = if report.missing().is_empty() { exit::PASSED } else { exit::ENVIRONMENT };
    drop(cluster);
    if let Some(lab) = lab {
        lab.stop().await;
    }
    Ok(code)
}
