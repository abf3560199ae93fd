//! One run of `mtv-matrix run`, from its settings to its reports.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::json;
use tokio::sync::Notify;

use super::args::{ConfigArgs, LogFormat, RunArgs};
use super::bus::Bus;
use super::common::Flag;
use super::keys::{self, Borrowed, Key, Keys};
use super::otel::{self, Otel};
use super::signals::Signals;
use super::tell::Tell;
use super::{Stop, again, common, earlier, exit, grow, report_cmd, retention, telemetry, terminal};
use crate::api::names::{RunId, dns_label};
use crate::cluster::{Cluster, ClusterError, Limits};
use crate::config::{Keep, Loaded};
use crate::doctor;
use crate::engine::{self, StopTokens};
use crate::event::{EventKind, Events, Level, ShardSet, Telemetry};
use crate::lab::Lab;
use crate::ledger::guard::Guard;
use crate::net::pauses;
use crate::report::live;
use crate::report::{self, History, Reading, RunModel, Written, merge, metrics, rerun};
use crate::tasks::{self, Task};

/// How a run ended, and where its results are.
pub(super) struct Ended {
    pub code: u8,
    pub dir: PathBuf,
}

pub(super) async fn run_on(config: &ConfigArgs, args: &RunArgs, tell: &Tell) -> Result<Ended, Stop> {
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
) -> Result<Ended, Stop> {
    let mut loaded = common::load(config, flags(args), lab)?;
    let issues = doctor::issues::ask(&mut loaded).await;
    let rest = common::rest(&args.select)?;
    let (cells, set) = common::selected(&loaded, &args.select, rest.as_ref())?;
    let carried = rest.map(|rest| rest.carried).unwrap_or_default();
    if cells.is_empty() {
        super::show::err(format_args!("nothing is left to run: all {} cells of that run passed", carried.len()));
        let dir = args.select.rerun.clone().unwrap_or_default();
        return Ok(Ended { code: exit::PASSED, dir });
    }
    // A file says what there is; without one the lab has what the scenarios need.
    let grown = match lab.filter(|_| args.lab.world.is_none()) {
        Some(lab) => grow::grow(lab, &cells, args.lab.strict_world)?,
        None => Vec::new(),
    };
    let set_id = set.as_ref().filter(|_| args.merge).map(|set| set.id.clone());
    let run = match loaded.settings.target_namespace_prefix.as_str() {
        "" | "auto" => RunId::random(),
        prefix => RunId::random_with(prefix),
    };
    let otel = Otel::from_env();
    otel.warnings.iter().for_each(|warning| super::show::err(format_args!("warning: {warning}")));
    let pruned = retention::prune(&loaded.settings, set.as_ref(), args.select.rerun.as_deref());
    let dir = open_results(&loaded.settings.results, &run, set.as_ref())?;
    let live = telemetry::start(&run, loaded.settings.trace, &dir);
    if let Some(lab) = lab {
        common::log_faults(lab, &dir);
    }
    // Until the ledger is closed `clean` keeps off it, from wherever it is called.
    let guard = Arc::new(Guard::hold(&dir.join("ledger.jsonl"), "run").map_err(Stop::environment)?);
    let _heart = common::heartbeat(&guard);
    let console = Box::new(terminal::console(args.log_format));
    let bus = Arc::new(Bus::create(&dir.join("events.jsonl"), vec![console]).map_err(Stop::environment)?);
    let events: Events = bus.clone();

    for (level, message) in pruned {
        // The lines of a terminal leave out what is no news of a cell.
        if level == Level::Info && terminal::is_live(args.log_format) {
            super::show::err(&message);
        }
        events.emit(EventKind::Note { cell: None, level, message });
    }
    if let Some(issues) = issues {
        let level = if issues.doubtful { Level::Warning } else { Level::Info };
        events.emit(EventKind::Note { cell: None, level, message: issues.line });
    }
    for message in grown {
        events.emit(EventKind::Note { cell: None, level: Level::Info, message });
    }

    // From here on a signal ends the run in order, however early it comes.
    let stop = StopTokens::default();
    let _signals = signals.listen(events.clone(), &stop, loaded.settings.timeouts.grace);
    if let Some(set) = &set {
        let before = finish_earlier(&loaded, lab, set, &events);
        stop.cancel.run_until_cancelled(before).await;
    }
    let asked = Arc::new(Notify::new());
    let keys = terminal::is_live(args.log_format).then(|| listen(&bus, &asked)).flatten();
    let request = engine::Request {
        loaded: &loaded,
        run: &run,
        dir: &dir,
        events: &events,
        stop: &stop,
        set,
        carried,
        lab: lab.is_some(),
        telemetry: Telemetry { traceparent: otel.traceparent.clone(), resource: telemetry::resource(&otel.resource) },
        notes: lab.and_then(Lab::forklift).map(|label| ("forklift".to_owned(), label.to_owned())).into_iter().collect(),
        stage_span: live::stage_spans(&run),
        asked: asked.clone(),
        levers: lab.map(common::levers),
    };
    let mut ran = engine::run(request, cells, connect(&loaded, lab)).await;
    if let (Ok(ended), Some(lab)) = (&mut ran, lab) {
        // What the user asked to keep is no leftover, and what a run told to stop at once left is told already.
        if !ended.aborted && !ended.keeps {
            ended.summary.leftovers += check_lab(lab, &events).await;
        }
    }
    let (code, problem) = match &ran {
        Ok(ended) => (ended.code(), ended.problem()),
        Err(problem) => (exit::ENVIRONMENT, Some(problem.clone())),
    };
    if let Some(message) = lab.and_then(|lab| lab.faults().summary()) {
        events.emit(EventKind::Note { cell: None, level: Level::Info, message });
    }
    if let Some(logs) = lab.and_then(Lab::forklift_logs).filter(|_| code != exit::PASSED) {
        keep_logs(&logs, &dir.join("artifacts/forklift"));
    }
    let leftovers = ran.as_ref().map_or(0, |ended| ended.summary.leftovers);
    let mut spans = live.take();
    let (dropped, folded) = spans.as_ref().map_or((0, 0), |taken| (taken.dropped, taken.folded()));
    if dropped > 0 {
        let message = format!("traces.jsonl lacks {dropped} spans of single requests: there were too many");
        events.emit(EventKind::Note { cell: None, level: Level::Warning, message });
    }
    if folded > 0 {
        let message =
            format!("traces.jsonl leaves out {folded} short spans of requests and waits (`--trace requests` has all)");
        events.emit(EventKind::Note { cell: None, level: Level::Info, message });
    }
    events.emit(EventKind::RunFinished { verdict: exit::verdict(code), leftovers, exit_code: code, problem });
    drop(keys);
    let (rest, broken) = bus.finish();
    // What cannot be read again now can be read by nobody: the run is told by its exit code alone.
    let (model, written) = match Reading::of_log(&dir.join("events.jsonl"), rest) {
        Ok(reading) => {
            let written = report::write_all_with(&dir, &reading, spans.as_mut());
            (reading.outline, written)
        }
        Err(error) => (RunModel::default(), Written { files: Vec::new(), unwritten: vec![error.into()] }),
    };
    drop(guard);
    let again = set_id.is_none() && rerun::of(&model).is_some_and(|rest| !rest.again.is_empty());
    let mut unwritten = report_cmd::unwritten(&written);
    unwritten.extend(broken.map(|error| error.to_string()));
    unwritten.iter().for_each(|why| super::show::err(format_args!("error: {why}")));
    let code = report_cmd::with_reports(code, &unwritten);
    tell.run(&model, &dir, code, &unwritten);
    // Everything is said; a signal that comes now must not wait for a slow gateway.
    let told = if stop.cancel.is_cancelled() { &stop.abort } else { &stop.cancel };
    let pushes = async {
        push_traces(otel.traces.as_ref(), &written.files).await;
        push_metrics(loaded.settings.metrics_push.as_deref(), &model).await;
    };
    if told.run_until_cancelled(pushes).await.is_none() {
        super::show::err(format_args!("warning: told to stop while traces and metrics were sent"));
    }
    if let Some(id) = set_id {
        merge_set(&loaded.settings.results, &id);
    }
    if again {
        super::show::err(format_args!(
            "what did not pass, again: {}",
            again::command(std::env::args(), args.lab.forklift.first(), &dir)
        ));
    }
    // With events on standard output nothing else may stand there.
    if args.log_format == LogFormat::Json {
        super::show::err(format_args!("results: {}", dir.display()));
    } else {
        let before = History::beside(&dir).summary(&model);
        if !before.is_empty() {
            super::show::out(format_args!("beside the runs before it: {before}"));
        }
        super::show::out(format_args!(
            "results: {}  (report.html, junit.xml, run.json, traces.jsonl, artifacts/)",
            dir.display()
        ));
    }
    Ok(Ended { code, dir })
}

/// Follows the keys of the terminal until the result is dropped.
fn listen(bus: &Arc<Bus>, asked: &Arc<Notify>) -> Option<(Task<()>, Borrowed)> {
    /// The stages at work tell what they wait for at once; the busiest machine is given this long.
    const ANSWERS: Duration = Duration::from_millis(200);
    let (mut keys, borrowed) = Keys::listen()?;
    super::show::err("keys: t tells what each cell waits for, q ends the run as Ctrl-C does");
    let (bus, asked) = (bus.clone(), asked.clone());
    let task = tasks::own(async move {
        while let Some(key) = keys.next().await {
            match key {
                Key::Tell => {
                    asked.notify_waiters();
                    pauses::pause(ANSWERS).await;
                    bus.ask();
                }
                Key::End => keys::interrupt(),
            }
        }
    });
    Some((task, borrowed))
}

/// An evicted pod's ledger is finished before the pod that is made in its place begins.
async fn finish_earlier(loaded: &Loaded, lab: Option<&Lab>, set: &ShardSet, events: &Events) {
    let ledgers = earlier::ledgers(&loaded.settings.results, set);
    if ledgers.is_empty() {
        return;
    }
    // Where nobody answers, the run itself says so.
    if let Ok(cluster) = connect(loaded, lab).await {
        earlier::finish(loaded, &cluster, &ledgers, events).await;
    }
}

/// The logs of the lab's Forklift go with it; what did not pass may be told by them.
fn keep_logs(from: &Path, to: &Path) {
    let copied = std::fs::create_dir_all(to).and_then(|()| {
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
        Ok(())
    });
    if let Err(error) = copied {
        super::show::err(format_args!("warning: Forklift's logs were not copied to {}: {error}", to.display()));
    }
}

/// First-class flags as settings.
fn flags(args: &RunArgs) -> Vec<Flag> {
    let mut flags: Vec<Flag> = Vec::new();
    let mut add =
        |key: &str, value: serde_json::Value, flag: &str| flags.push((key.to_owned(), value, flag.to_owned()));
    if let Some(jobs) = args.jobs {
        add("jobs", json!(jobs), "--jobs");
    }
    if let Some(qps) = args.qps {
        add("qps", json!(qps), "--qps");
    }
    if let Some(retries) = args.retries {
        add("retries", json!(retries), "--retries");
    }
    if let Some(on) = args.retries_on {
        add("retries_on", json!(on.name()), "--retries-on");
    }
    if let Some(flaky) = args.flaky {
        add("flaky", json!(flaky.name()), "--flaky");
    }
    if let Some(trace) = args.trace {
        add("trace", json!(trace.name()), "--trace");
    }
    if args.allow_disruptive {
        add("allow_disruptive", json!(true), "--allow-disruptive");
    }
    if args.fail_on_skip {
        add("fail_on_skip", json!(true), "--fail-on-skip");
    }
    if let Some(cells) = args.min_cells {
        add("min_cells", json!(cells), "--min-cells");
    }
    if let Some(after) = args.fail_fast {
        add("fail_fast", json!(after.to_string()), "--fail-fast");
    }
    if let Some(seed) = args.order_seed {
        add("order_seed", json!(seed), "--order-seed");
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
        super::show::err(format_args!("warning: failed to make the link {}: {error}", link.display()));
    }
}

/// Joins the set where this was the last of its shards to end.
fn merge_set(root: &Path, id: &str) {
    let joined = merge::find(&[root.to_owned()], Some(id)).and_then(|runs| merge::join(runs, false));
    let written = joined.and_then(|merged| {
        let name = merged.run.outline.run_name().to_owned();
        merged.write(&root.join(&name)).map(|written| (name, report_cmd::unwritten(&written)))
    });
    // Standard output may be events alone.
    match written {
        Ok((name, unwritten)) => {
            link(root, "latest", &name);
            unwritten.iter().for_each(|why| super::show::err(format_args!("warning: {why}")));
            super::show::err(format_args!(
                "this was the last shard of its set: all of them are in {}",
                root.join(name).display()
            ));
        }
        Err(merge::MergeError::Missing { what, .. }) => {
            super::show::err(format_args!("not the last shard of its set:\n{}", what.trim_end()))
        }
        Err(error) => super::show::err(format_args!("warning: the shards were not joined: {error}")),
    }
}

/// The lab, or the cluster of the settings.
pub(super) async fn connect(loaded: &Loaded, lab: Option<&Lab>) -> Result<Cluster, ClusterError> {
    match lab {
        Some(lab) => {
            let token = SecretString::from(lab.token().to_owned());
            let limits = Limits::of(&loaded.settings);
            Cluster::from_parts(&lab.url(), Some(lab.ca_pem()), token, false, limits).await
        }
        None => Cluster::connect(&loaded.settings).await,
    }
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
        events.emit(EventKind::Note { cell: None, level: Level::Info, message });
    }
    u32::try_from(left.len()).unwrap_or(u32::MAX)
}

/// Sends the traces on where OpenTelemetry's own variables ask for it; a failure is a warning.
async fn push_traces(target: Option<&otel::Target>, written: &[PathBuf]) {
    let Some(target) = target else { return };
    let Some(path) = written.iter().find(|p| p.file_name().is_some_and(|n| n == "traces.jsonl")) else { return };
    let body = std::fs::read_to_string(path).unwrap_or_default();
    if let Err(error) = crate::send::traces(&target.url, &target.headers, &body).await {
        super::show::err(format_args!("warning: traces were not sent: {error}"));
    }
}

/// Sends the metrics to a Pushgateway where the settings name one; a failure is a warning.
async fn push_metrics(gateway: Option<&str>, model: &RunModel) {
    let Some(gateway) = gateway.filter(|url| !url.is_empty()) else { return };
    if let Err(error) = crate::send::metrics(gateway, model.shard.as_deref(), metrics::render(model)).await {
        super::show::err(format_args!("warning: metrics were not sent: {error}"));
    }
}
