//! What several commands do: load configuration, start a lab, select cells.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Stop;
use super::args::{ConfigArgs, LabArgs, SelectArgs};
use crate::api::names::CellId;
use crate::api::world::World;
use crate::check;
use crate::config::steps::Faulty;
use crate::config::world::read_world;
use crate::config::{LoadRequest, Loaded, Platform};
use crate::event::ShardSet;
use crate::lab::forklift::{Build, Died, ForkliftOptions};
use crate::lab::levers::Lever;
use crate::lab::{Lab, LabError, LabOptions, Mtv, defects, weather};
use crate::ledger::guard::{self, Guard};
use crate::matrix::{self, Cell, Filter, MatrixError, Selection, Shard};
use crate::net::pauses;
use crate::report::rerun::{self, Rest};
use crate::tasks::{self, Task};

/// What Kubernetes tells a pod of an Indexed Job.
const COMPLETION_INDEX: &str = "JOB_COMPLETION_INDEX";
/// `--run-set` as a variable: a pod's own labels reach it only so.
const RUN_SET: &str = "MTV_RUN_SET";
/// `--forklift` as a variable.
const FORKLIFT_DIR: &str = "MTV_FORKLIFT_DIR";

/// A setting given by a flag: key, value, flag.
pub type Flag = (String, Value, String);

/// Loads all layers. `lab`: the running lab's values win over files and environment.
pub fn load(args: &ConfigArgs, mut flags: Vec<Flag>, lab: Option<&Lab>) -> Result<Loaded, Stop> {
    if let Some(path) = &args.providers_json {
        flags.push(("providers_json".to_owned(), json!(path), "--providers-json".to_owned()));
    }
    let mut request = LoadRequest {
        config: args.config.clone(),
        secrets_dir: args.secrets.clone(),
        set: args.set.clone(),
        flags,
        scenarios_default: true,
        ..LoadRequest::default()
    }
    .with_environment();
    if let Some(lab) = lab {
        let mut lab_flags: Vec<Flag> = lab_settings(lab)
            .into_iter()
            .filter(|(key, _)| !request.flags.iter().any(|(given, _, _)| given == key))
            .map(|(key, value)| (key.to_owned(), value, "--lab".to_owned()))
            .collect();
        // `--set` comes after flags given by hand, and must win over the lab's own values.
        lab_flags.retain(|(key, _, _)| !args.set.iter().any(|s| s.split('=').next() == Some(key)));
        request.flags.extend(lab_flags);
        if args.providers_json.is_none() {
            request.providers_text = Some((lab.providers_json(), "the lab".to_owned()));
        }
    }
    let mut loaded = crate::config::load(&request).map_err(Stop::usage)?;
    if let Some(lab) = lab {
        scale_agent_limits(&mut loaded, lab);
    }
    for warning in &loaded.warnings {
        super::show::err(format_args!("warning: {warning}"));
    }
    Ok(loaded)
}

/// What a run on the lab is set to, unless the user says otherwise.
fn lab_settings(lab: &Lab) -> Vec<(&'static str, Value)> {
    vec![
        ("cluster_host", json!(lab.url())),
        // Nobody else is there to be disturbed.
        ("allow_disruptive", json!(true)),
        ("storage_class", json!([lab.storage_class()])),
        ("remote_ocp_cluster", json!("127.0.0.1")),
        ("aap_url", json!(lab.aap().url())),
        ("aap_token", json!(lab.aap().token())),
        ("jira_url", json!(lab.jira().url())),
        ("jira_token", json!(lab.jira().token())),
        // Wall-clock minutes would make a simulated warm migration wait for real.
        ("cutover_after_precopies", json!(2)),
    ]
}

/// What the lab does in simulated time (an agent that connects, its own MTV's snapshots that go) has limits in
/// simulated minutes too: what never comes is known after seconds. Never so short that a busy machine makes it a finding.
/// The real Forklift takes its real seconds.
fn scale_agent_limits(loaded: &mut Loaded, lab: &Lab) {
    const SHORTEST: Duration = Duration::from_secs(10);
    let clock = lab.clock();
    let scaled = |limit: Duration| clock.real(limit).max(limit.min(SHORTEST));
    let own = loaded.scenarios.values_mut().filter_map(|scenario| scenario.guest_agent_timeout.as_mut());
    let timeouts = &mut loaded.settings.timeouts;
    let snapshots = lab.forklift().is_none().then_some(&mut timeouts.snapshot_removal);
    for limit in own.chain([&mut timeouts.guest_agent]).chain(snapshots) {
        *limit = scaled(*limit);
    }
}

/// What `--defect help` prints: whole ways to go wrong, then what is written wrong in one object, by object.
pub fn defects_help() -> String {
    use std::fmt::Write as _;
    let mut out = "the lab's defects are:\n".to_owned();
    for (_, name, check) in defects::CATALOGUE {
        _ = writeln!(out, "  {name:<32} found by {check}");
    }
    for (_, name, scenarios) in defects::conduct::CONDUCTS {
        _ = writeln!(out, "  {name:<32} found by {}", scenarios.join(", "));
    }
    let mut all: Vec<_> = defects::catalogue::WRITTEN.iter().collect();
    all.sort_by_key(|defect| defect.object);
    for group in all.chunk_by(|a, b| a.object == b.object) {
        let Some(first) = group.first() else { continue };
        let only = if first.object == defects::written::Object::Vm { "" } else { " (on recorded runs only)" };
        _ = writeln!(out, "{}{only}:", first.object.name());
        for defect in group {
            let check = defect.caught_by.first().copied().unwrap_or_default();
            _ = writeln!(out, "  {:<32} found by {check}", defect.name);
        }
    }
    out
}

/// What `--lab-weather help` prints.
pub fn weather_help() -> String {
    use std::fmt::Write as _;
    let mut out = "the lab's weather (* usual; `fair` first switches all of it off):\n".to_owned();
    for switch in weather::SWITCHES {
        let usual = if switch.usual { '*' } else { ' ' };
        _ = writeln!(out, "{usual} {:<16} {}", switch.name, switch.tells);
    }
    out
}

/// Starts the lab when it was asked for.
pub async fn start_lab(args: &LabArgs) -> Result<Option<Lab>, Stop> {
    if !args.lab {
        if args.faults.faults.is_some() {
            return Err(Stop::usage("--faults breaks the wire of the lab: give --lab, too"));
        }
        return Ok(None);
    }
    let faults = args.faults.options();
    let mut options =
        LabOptions { defects: args.defect.clone(), weather: args.lab_weather.clone(), faults, ..LabOptions::default() };
    if let Some(scale) = args.lab_clock_scale {
        options.clock_scale = scale;
    }
    if args.forklift.len() > 1 {
        return Err(Stop::usage("--forklift is given more than once: only `run` takes several builds"));
    }
    options.world = args.world.as_deref().map(world).transpose()?;
    play(&mut options);
    options.mtv = mtv(args.forklift.first().map(PathBuf::as_path), args.lab_mtv_version.as_deref(), None)?;
    if let (Mtv::Own, Some(version)) = (&options.mtv, &args.lab_mtv_version) {
        options.mtv_version.clone_from(version);
    }
    super::pages::huge();
    Lab::start(options).await.map(Some).map_err(|error| match error {
        LabError::UnknownDefect { .. } | LabError::UnknownWeather { .. } | LabError::UnknownVersion { .. } => {
            Stop::usage(error)
        }
        LabError::Start { .. } => Stop::environment(error),
    })
}

/// What this lab can make go wrong, for the stories of a run.
pub fn levers(lab: &Lab) -> Arc<dyn crate::migration::levers::Levers> {
    Arc::new(OfLab(lab.levers().clone()))
}

struct OfLab(crate::lab::levers::Levers);

fn lever(what: Faulty) -> Option<Lever> {
    match what {
        Faulty::Quota | Faulty::Drain => None,
        Faulty::SourceNetwork => Some(Lever::SourceNetwork),
        Faulty::SourceLogin => Some(Lever::SourceLogin),
        Faulty::DatastoreFull => Some(Lever::DatastoreFull),
        Faulty::Conversion => Some(Lever::Conversion),
    }
}

/// Whether the lab's MTV copies disks of this platform by importers or populators that ask its endpoint.
fn is_copied_over_a_network(platform: Platform) -> bool {
    match platform {
        Platform::Vsphere | Platform::Ovirt | Platform::Openstack => true,
        Platform::Openshift | Platform::Ova | Platform::Hyperv | Platform::Ec2 => false,
    }
}

impl crate::migration::levers::Levers for OfLab {
    fn plays(&self, what: Faulty, platform: Platform) -> bool {
        match what {
            Faulty::Quota => true,
            Faulty::SourceLogin | Faulty::DatastoreFull => platform == Platform::Vsphere,
            Faulty::SourceNetwork => is_copied_over_a_network(platform),
            Faulty::Conversion => platform != Platform::Openshift,
            // Importers and populators belong to claims there, and virt-v2v's pod does not.
            Faulty::Drain => is_copied_over_a_network(platform),
        }
    }
    fn pull(&self, what: Faulty, platform: Platform, lasts: Option<Duration>, macs: &[String]) {
        if let Some(lever) = lever(what) {
            self.0.pull(lever, platform.name(), lasts, macs);
        }
    }
    fn release(&self, what: Faulty, platform: Platform) {
        if let Some(lever) = lever(what) {
            self.0.release(lever, platform.name());
        }
    }
}

/// The world of a file.
pub fn world(path: &Path) -> Result<Box<World>, Stop> {
    read_world(path).map(Box::new).map_err(Stop::usage)
}

/// The versions that the world names, where no flag does.
pub fn play(options: &mut LabOptions) {
    let Some(cluster) = options.world.as_ref().map(|world| &world.cluster) else { return };
    if let Some(version) = &cluster.mtv_version {
        options.mtv_version.clone_from(version);
    }
    if let Some(version) = &cluster.ocp_version {
        options.ocp_version.clone_from(version);
    }
}

/// Which MTV the lab gets: the real one where a folder is named, here or by MTV_FORKLIFT_DIR.
/// `logs`: where its logs stay after it.
pub fn mtv(dir: Option<&Path>, version: Option<&str>, logs: Option<PathBuf>) -> Result<Mtv, Stop> {
    let told = std::env::var_os(FORKLIFT_DIR).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let Some(dir) = dir.map(Path::to_owned).or(told) else { return Ok(Mtv::Own) };
    let build =
        Build::open(&dir, version).map_err(|error| Stop::usage(format!("--forklift {}: {error}", dir.display())))?;
    let program =
        std::env::current_exe().map_err(|e| Stop::environment(format!("where this program is can't be told: {e}")))?;
    let supervisor = vec![program.into_os_string(), "forklift-supervisor".into()];
    let heard = |died: &Died| super::show::err(format_args!("error: Forklift's {died}"));
    Ok(Mtv::Forklift(Box::new(ForkliftOptions { build, supervisor, logs, heard })))
}

/// The journal of what breaks goes into `dir`; without it the lab works all the same.
pub fn log_faults(lab: &Lab, dir: &std::path::Path) {
    if lab.faults().summary().is_none() {
        return;
    }
    let path = dir.join("faults.jsonl");
    if let Err(error) = lab.faults().log_to(&path) {
        super::show::err(format_args!("warning: failed to write {}: {error}", path.display()));
    }
}

/// The cells that the flags select.
pub fn cells(loaded: &Loaded, select: &SelectArgs) -> Result<Vec<Cell>, Stop> {
    selected(loaded, select, rest(select)?.as_ref()).map(|(cells, _)| cells)
}

/// The cells that the flags select, and the set of shards that the flags make this run a part of. Cells of
/// other shards are among them, to be skipped. `rest`: what [`rest`] says of an earlier run.
pub fn selected(
    loaded: &Loaded,
    select: &SelectArgs,
    rest: Option<&Rest>,
) -> Result<(Vec<Cell>, Option<ShardSet>), Stop> {
    let Some(shard) = shard(select)? else { return Ok((expand(loaded, select, rest)?, None)) };
    let whole = match &shard {
        Shard::Index { .. } => select.clone(),
        Shard::Profile { all, .. } => SelectArgs { provider: all.clone(), ..select.clone() },
    };
    let mut cells = expand(loaded, &whole, rest)?;
    let from_env = || std::env::var(RUN_SET).ok();
    let name = select.run_set.clone().or_else(from_env).filter(|name| !name.is_empty());
    let set = shard.set(&cells, name.as_deref());
    shard.apply(&mut cells);
    Ok((cells, Some(set)))
}

/// What is left of the run that `--rerun` names.
pub fn rest(select: &SelectArgs) -> Result<Option<Rest>, Stop> {
    let read = |dir: &PathBuf| rerun::rest(dir).map_err(|error| Stop::usage(format!("--rerun: {error}")));
    select.rerun.as_ref().map(read).transpose()
}

/// The shard that `--shard`, `--shards` or `--part-of` names.
fn shard(select: &SelectArgs) -> Result<Option<Shard>, Stop> {
    if let Some(of) = select.shards {
        let index = std::env::var(COMPLETION_INDEX).unwrap_or_default();
        let hint = |error: String| {
            let found = if index.is_empty() { "is not set".to_owned() } else { format!("is `{index}`") };
            Stop::usage(format!(
                "--shards {of} takes this pod's shard from the variable {COMPLETION_INDEX}, which {found}: {error}; \
                 outside an Indexed Job give --shard K/{of}"
            ))
        };
        return format!("{index}/{of}").parse().map(Some).map_err(hint);
    }
    if !select.part_of.is_empty() {
        let [own] = select.provider.as_slice() else {
            return Err(Stop::usage("--part-of needs exactly one --provider: the one that this run is for"));
        };
        return Shard::profile(own, &select.part_of).map(Some).map_err(|e| Stop::usage(format!("--part-of: {e}")));
    }
    Ok(select.shard.clone())
}

fn expand(loaded: &Loaded, select: &SelectArgs, rest: Option<&Rest>) -> Result<Vec<Cell>, Stop> {
    let filter = select.filter.as_deref().map(Filter::parse).transpose().map_err(Stop::usage)?;
    let mut providers = select.provider.clone();
    if providers.is_empty() {
        providers.extend(loaded.settings.source_provider.clone());
    }
    let again = rest.map(|rest| rest.again.clone());
    let (scenarios, tags) = (select.scenario.clone(), select.tag.clone());
    let selection = Selection { providers, scenarios, tags, filter, again: again.clone() };
    let expanded = matrix::expand(&loaded.settings, &loaded.providers, &loaded.scenarios, &selection);
    let cells = match expanded {
        Err(MatrixError::NothingSelected) if again.is_some() => Vec::new(),
        expanded => expanded.map_err(Stop::usage)?,
    };
    // A narrower choice is the user's; without one every cell of the earlier run must be found.
    let narrow =
        !(select.provider.is_empty() && select.scenario.is_empty() && select.tag.is_empty()) || select.filter.is_some();
    let mut lost = again.unwrap_or_default();
    for cell in &cells {
        lost.remove(&cell.id);
    }
    if !narrow && !lost.is_empty() {
        let names: Vec<&str> = lost.iter().map(CellId::as_str).collect();
        return Err(Stop::usage(format!(
            "--rerun: the earlier run had cells that these settings do not make: {}; give the same configuration, \
             providers and storage classes, or choose cells with -p, -s, -t or -E",
            names.join(", ")
        )));
    }
    essentials_exist(&cells)?;
    let selected: BTreeSet<&str> = cells.iter().map(|cell| cell.scenario.name.as_str()).collect();
    for scenario in loaded.scenarios.values().filter(|s| !selected.contains(s.name.as_str())) {
        for line in &scenario.refused {
            super::show::err(format_args!("warning: {line} (the scenario is not selected)"));
        }
    }
    Ok(cells)
}

/// A check that does not exist is never judged: that its name is wrong is told before anything runs.
fn essentials_exist(cells: &[Cell]) -> Result<(), Stop> {
    let names = || check::CONTRACT.iter().map(|row| row.name);
    let mut asked =
        cells.iter().flat_map(|cell| cell.scenario.essential.iter().map(move |asked| (&cell.scenario.name, asked)));
    let unknown = asked.find(|(_, asked)| names().all(|name| name != asked.as_str()));
    if let Some((scenario, asked)) = unknown {
        let near = crate::config::nearest(asked, names()).map(|name| format!("; did you mean `{name}`?"));
        let hint = near.unwrap_or_else(|| "; docs/checks.md lists them".to_owned());
        return Err(Stop::usage(format!("{scenario}: essential: there is no check `{asked}`{hint}")));
    }
    Ok(())
}

/// Beats until it is dropped, or the guard is.
pub fn heartbeat(guard: &Arc<Guard>) -> Task<()> {
    let guard = Arc::downgrade(guard);
    tasks::own(async move {
        let mut beat = pauses::beat(guard::BEAT);
        loop {
            beat.tick().await;
            let Some(guard) = guard.upgrade() else { return };
            guard.beat();
        }
    })
}
