//! Flags and commands.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::config::{FailFast, Flaky, Keep, RetriesOn, TraceDetail};
use crate::lab::faults::FaultOptions;
use crate::matrix::Shard;

/// Runs that a history goes back where nobody says otherwise.
pub const NIGHTS: usize = 30;

/// Runs end-to-end tests of the Migration Toolkit for Virtualization.
#[derive(Debug, Parser)]
#[command(name = "mtv-matrix", version, about, max_term_width = 100)]
pub struct Args {
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(subcommand)]
    pub command: Command,
}

/// Where configuration comes from. The commands that read it take these before and behind their name:
/// clap's own `global` would let the latter silently replace the former.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct ConfigArgs {
    /// A settings file, or a directory of settings and scenarios; later ones win.
    #[arg(long, short = 'c', value_name = "PATH")]
    pub config: Vec<PathBuf>,
    /// A mounted Secret: one file a key (cluster_host, cluster_token, providers.json …); MTV_SECRETS_DIR too.
    #[arg(long, value_name = "DIR")]
    pub secrets: Option<PathBuf>,
    /// The provider file; wins over every other layer.
    #[arg(long, value_name = "FILE")]
    pub providers_json: Option<PathBuf>,
    /// One setting, e.g. `--set timeouts.plan=10m`; wins over files and environment.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl ConfigArgs {
    /// What stood before the command's name and what stood behind it; neither hides the other.
    pub fn and(&self, later: &Self) -> Self {
        Self {
            config: [self.config.as_slice(), &later.config].concat(),
            secrets: later.secrets.clone().or_else(|| self.secrets.clone()),
            providers_json: later.providers_json.clone().or_else(|| self.providers_json.clone()),
            set: [self.set.as_slice(), &later.set].concat(),
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the matrix.
    Run(RunArgs),
    /// Show the cells: what would run, what would be skipped, and why.
    List(ListArgs),
    /// Show the effective configuration, or its schema.
    Config {
        #[command(flatten)]
        config: ConfigArgs,
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Judge scenario files, or begin one.
    Scenario {
        #[command(subcommand)]
        command: ScenarioCommand,
    },
    /// Record a source, to play its VMs in the lab.
    Record {
        #[command(flatten)]
        config: ConfigArgs,
        #[command(subcommand)]
        command: RecordCommand,
    },
    /// Look at the cluster before a run: every missing thing at once.
    Doctor(DoctorArgs),
    /// Remove what crashed, killed or kept runs left behind.
    Clean(CleanArgs),
    /// Render the reports of a run again, join the shards of a set, hold runs against each other, pack one for support:
    /// `report DIR`,
    /// `report merge`, `report compare`, `report bundle`.
    Report(ReportArgs),
    /// Follow a run from outside by its event log, as `run` shows it; ends with the run's exit code.
    Watch(WatchArgs),
    /// What many runs say of each cell: new, known, fixed, flaky, slower; also DIR/index.html.
    History(HistoryArgs),
    /// Start the built-in lab and keep it up.
    Lab(LabServerArgs),
    /// The completions of a shell: `source <(mtv-matrix completions bash)`.
    Completions { shell: clap_complete::Shell },
    /// The manual page, or those of all commands as files.
    Man {
        /// Write them there.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// What the lab runs Forklift under; started by the lab alone.
    #[command(hide = true, name = "forklift-supervisor")]
    ForkliftSupervisor,
}

/// Which cells.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct SelectArgs {
    /// Only these provider profiles (globs allowed).
    #[arg(long, short = 'p', value_name = "NAME")]
    pub provider: Vec<String>,
    /// Only these scenarios (globs allowed).
    #[arg(long, short = 's', value_name = "NAME")]
    pub scenario: Vec<String>,
    /// Only scenarios with one of these tags.
    #[arg(long, short = 't', value_name = "TAG")]
    pub tag: Vec<String>,
    /// A filter expression, e.g. `tag(tier0) and provider(vsphere*) and not tag(warm)`.
    #[arg(long, short = 'E', value_name = "EXPRESSION")]
    pub filter: Option<String>,
    /// Only shard K of N, K from 0; the cells of other shards are reported as skipped.
    #[arg(long, value_name = "K/N", group = "part")]
    pub shard: Option<Shard>,
    /// Likewise, with K from the variable JOB_COMPLETION_INDEX: for the pods of an Indexed Job.
    #[arg(long, value_name = "N", group = "part")]
    pub shards: Option<usize>,
    /// All provider profiles of a set of runs, of which this one runs that of --provider.
    #[arg(long, value_name = "NAME", num_args = 0.., group = "part")]
    pub part_of: Vec<String>,
    /// Tells this set of shards from others of the same cells, e.g. the Job's uid; MTV_RUN_SET too.
    #[arg(long, value_name = "NAME")]
    pub run_set: Option<String>,
    /// What did not pass in an earlier run, e.g. results/latest; what passed there is carried forward. Give the same
    /// settings and storage classes.
    #[arg(long, value_name = "DIR", conflicts_with = "part")]
    pub rerun: Option<PathBuf>,
}

/// What a CI system is told at the end of a command.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct TellArgs {
    /// A summary of at most 4096 bytes goes here; without it, to /dev/termination-log where that exists.
    #[arg(long, value_name = "PATH")]
    pub termination_message: Option<PathBuf>,
    /// One number or word into a file: NAME is run, verdict, exit-code, total, passed, failed, errored, blocked, skipped,
    /// interrupted, flaky, leftovers or results. Tekton's Task results.
    #[arg(long, value_name = "NAME=PATH")]
    pub result_file: Vec<String>,
}

#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub struct ReportArgs {
    #[command(subcommand)]
    pub command: Option<ReportCommand>,
    /// The run's directory, e.g. results/latest: its reports again, from its events.jsonl.
    pub dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum ReportCommand {
    /// Join the shards of a set into one JUnit, HTML, trace and run.json; the exit code is the whole set's.
    Merge(MergeArgs),
    /// Hold runs against each other: verdicts, what failed, stages that took longer. Exit 1 when a cell that passed
    /// in the first run did not in the last.
    Compare(CompareArgs),
    /// Pack one run for whoever helps, as .tar.gz and without secrets. The configuration is read, too, so that its
    /// secrets are known.
    Bundle(BundleArgs),
}

#[derive(Debug, ClapArgs)]
pub struct BundleArgs {
    /// The run's directory, e.g. results/latest.
    pub dir: PathBuf,
    /// Where it goes; a file that exists stays. RUN.tar.gz in this directory where it is not given.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub config: ConfigArgs,
}

#[derive(Debug, ClapArgs)]
pub struct CompareArgs {
    /// Directories of runs, e.g. results/mm-abcdefghij results/latest.
    #[arg(required = true, num_args = 2.., value_name = "DIR")]
    pub dirs: Vec<PathBuf>,
    /// Also the cells that are the same.
    #[arg(long)]
    pub all: bool,
    #[arg(long, short = 'o', visible_alias = "format", value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

#[derive(Debug, ClapArgs)]
pub struct HistoryArgs {
    /// The results directory with the runs.
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub results: PathBuf,
    /// The newest N runs only; 0 is all.
    #[arg(long, value_name = "N", default_value_t = NIGHTS)]
    pub last: usize,
    #[arg(long, short = 'o', visible_alias = "format", value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

#[derive(Debug, ClapArgs)]
pub struct MergeArgs {
    /// Directories of single shards, which must all be of one set, or results directories, from which the newest
    /// set is taken.
    #[arg(required = true, value_name = "DIR")]
    pub dirs: Vec<PathBuf>,
    /// Where the joined reports go.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The set to take, by its name or id.
    #[arg(long, value_name = "NAME")]
    pub run_set: Option<String>,
    /// Join what is there: cells of a missing shard are errored.
    #[arg(long)]
    pub allow_missing: bool,
    #[command(flatten)]
    pub tell: TellArgs,
}

/// The built-in lab in place of a cluster.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct LabArgs {
    /// Run on the built-in lab: a simulated OpenShift, MTV, vSphere and guests.
    #[arg(long)]
    pub lab: bool,
    /// Simulated seconds in one real second.
    #[arg(long, value_name = "N", requires = "lab")]
    pub lab_clock_scale: Option<f64>,
    /// The MTV version that the lab plays: 2.9 to 2.12, or 2.13 for upstream's main.
    #[arg(long, value_name = "X.Y", requires = "lab")]
    pub lab_mtv_version: Option<String>,
    /// A way in which migrations go wrong although MTV says Succeeded; `--defect help` lists them.
    #[arg(long, value_name = "NAME")]
    pub defect: Vec<String>,
    /// What real tools tell that a tidy lab would not, besides what is usual; `fair` first: nothing but what follows.
    /// `--lab-weather help` lists it.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub lab_weather: Vec<String>,
    #[command(flatten)]
    pub faults: FaultArgs,
    /// The real Forklift in place of the lab's MTV: a folder with its executables and `crds/`;
    /// MTV_FORKLIFT_DIR too. `run` takes several builds, one after another with the same cells, and holds the last
    /// against the first: exit 1 on a regression.
    #[arg(long, value_name = "DIR", requires = "lab")]
    pub forklift: Vec<PathBuf>,
    /// What the lab holds: VMs, hosts, datastores, networks, storage classes. `mtv-matrix config world` prints the
    /// shipped one. Without it the lab grows the VMs that the selected scenarios name.
    #[arg(long, value_name = "FILE", requires = "lab")]
    pub world: Option<PathBuf>,
    /// Refuse scenarios whose VMs the lab's world has not, instead of making them up.
    #[arg(long, requires = "lab")]
    pub strict_world: bool,
}

/// How the wire between the runner and the lab breaks.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct FaultArgs {
    /// The share of requests to the lab that break, 0 to 1: refused, cut, late, lost after they were done … What
    /// broke is told in faults.jsonl.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub faults: Option<f64>,
    /// Which ones: the same seed breaks the same requests.
    #[arg(long, value_name = "N", requires = "faults", default_value_t = 1)]
    pub fault_seed: u64,
}

impl FaultArgs {
    pub fn options(&self) -> Option<FaultOptions> {
        self.faults.map(|rate| FaultOptions { rate, seed: self.fault_seed, mild: 0.0 })
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "give a share of requests, e.g. 0.05".to_owned())?;
    if (0.0..=1.0).contains(&rate) { Ok(rate) } else { Err("give a share of requests, from 0 to 1".to_owned()) }
}

#[derive(Debug, ClapArgs)]
pub struct DoctorArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub lab: LabArgs,
    #[arg(long, short = 'o', visible_alias = "format", value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct RunArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub select: SelectArgs,
    #[command(flatten)]
    pub lab: LabArgs,
    /// Cells at once.
    #[arg(long, short = 'j', value_name = "N")]
    pub jobs: Option<usize>,
    /// Requests a second to the cluster's API server; 0: as many as it answers.
    #[arg(long, value_name = "N")]
    pub qps: Option<u32>,
    /// Further attempts for a cell that did not pass; passing then is reported as flaky.
    #[arg(long, value_name = "N")]
    pub retries: Option<u32>,
    /// After which ends a cell is tried again: those of the environment alone, or also findings.
    #[arg(long, value_enum, value_name = "END")]
    pub retries_on: Option<RetriesOn>,
    /// Tell steps that disturb others (`patch` of what all share), too; without it their cells are skipped.
    #[arg(long)]
    pub allow_disruptive: bool,
    /// Whether a cell that passed only on a retry lets the run pass (exit 1 where it does not).
    #[arg(long, value_enum, value_name = "SO")]
    pub flaky: Option<Flaky>,
    /// What traces.jsonl holds of single requests and waits: the long ones and those that failed, or all.
    #[arg(long, value_enum, value_name = "DETAIL")]
    pub trace: Option<TraceDetail>,
    /// Start no further cell after N that did not pass (1 where none is given); `:immediate` ends those at work, too.
    #[arg(long, value_name = "N[:immediate]", num_args = 0..=1, require_equals = true, default_missing_value = "1")]
    pub fail_fast: Option<FailFast>,
    /// Begin the cells in the order that this number shuffles them to.
    #[arg(long, value_name = "N")]
    pub order_seed: Option<u64>,
    /// Run the same again, N times at most, until one run does not pass.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "part")]
    pub until_fail: Option<u32>,
    /// Exit 5 where a cell was skipped.
    #[arg(long)]
    pub fail_on_skip: bool,
    /// Exit 5 where fewer cells ran.
    #[arg(long, value_name = "N")]
    pub min_cells: Option<usize>,
    /// When to leave a cell's objects where they are.
    #[arg(long, value_enum)]
    pub keep: Option<Keep>,
    /// Destination storage class; repeat to multiply the matrix.
    #[arg(long, value_name = "NAME")]
    pub storage_class: Vec<String>,
    /// Where the results go: DIR/<run-id>/.
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,
    /// How the run is told on the console.
    #[arg(long, value_enum, default_value_t = LogFormat::Auto)]
    pub log_format: LogFormat,
    /// Of a set of shards in one results directory the last to end joins all into DIR/set-ID; `latest` is that.
    #[arg(long, requires = "part")]
    pub merge: bool,
    #[command(flatten)]
    pub tell: TellArgs,
}

#[derive(Debug, ClapArgs)]
pub struct WatchArgs {
    /// The run's directory, or the results directory, whose `latest` is then followed.
    #[arg(default_value = "results")]
    pub dir: PathBuf,
    /// How the run is told.
    #[arg(long, value_enum, default_value_t = LogFormat::Auto)]
    pub log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Progress lines on a terminal, plain lines elsewhere.
    Auto,
    Plain,
    /// One event a line, as in events.jsonl.
    Json,
}

#[derive(Debug, ClapArgs)]
pub struct ListArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub select: SelectArgs,
    #[command(flatten)]
    pub lab: LabArgs,
    #[arg(long, short = 'o', visible_alias = "format", value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Cells at once, for when the run may end; the settings' `jobs` where it is not given.
    #[arg(long, short = 'j', value_name = "N")]
    pub jobs: Option<usize>,
    /// Ask no cluster: decide for this MTV, its switches as they are by default.
    #[arg(long, value_name = "X", conflicts_with_all = ["lab", "offline"])]
    pub mtv_version: Option<String>,
    /// Ask no cluster: what depends on MTV's version, its switches or the default StorageClass is not decided.
    #[arg(long, conflicts_with = "lab")]
    pub offline: bool,
    /// Show what each platform can do, instead of the cells.
    #[arg(long, conflicts_with_all = ["lab", "provider", "scenario", "tag", "filter"])]
    pub support: bool,
    /// Tell the story of these scenarios (globs allowed) in words, every default filled in. No cluster is asked.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["lab", "support", "provider", "scenario", "tag", "filter"])]
    pub explain: Option<String>,
}

/// The form of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Table,
    /// The table with more columns, and with the rows that it else leaves out.
    Wide,
    /// For programs; fields are only ever added.
    Json,
    /// A name a line: of `list` the cells that would run, of `doctor` what is missing or in doubt, of `report compare`
    /// the cells that differ.
    Name,
}

#[derive(Debug, Subcommand)]
pub enum RecordCommand {
    /// Write the shapes of a profile's VMs as a world for `run --lab --world`: no contents, no logins. Nothing is
    /// changed there.
    World(Box<RecordWorldArgs>),
    /// Write a Plan with its maps, hooks and Migration as a scenario and a world that tell it again.
    Scenario(RecordScenarioArgs),
}

#[derive(Debug, ClapArgs)]
pub struct RecordWorldArgs {
    /// Where the world goes; a file that exists stays.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// The provider profile, where there are several: its VMs are read by logging in there.
    #[arg(long, short = 'p', value_name = "NAME")]
    pub provider: Option<String>,
    /// Read MTV's inventory of this Provider instead: hosts, datastores, networks and folders, too, and no login
    /// is needed. [NAMESPACE/]NAME
    #[arg(long, value_name = "PROVIDER", conflicts_with = "provider")]
    pub inventory: Option<String>,
    /// Likewise, of the source of this Plan, and only its VMs. [NAMESPACE/]NAME
    #[arg(long, value_name = "PLAN", conflicts_with_all = ["provider", "inventory", "vm", "scenario"])]
    pub plan: Option<String>,
    /// Only these VMs.
    #[arg(long, value_name = "NAME")]
    pub vm: Vec<String>,
    /// Only the VMs that these scenarios name.
    #[arg(long, short = 's', value_name = "NAME")]
    pub scenario: Vec<String>,
    /// Replace names, MACs and addresses, the same by the same.
    #[arg(long)]
    pub anonymise: bool,
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub lab: LabArgs,
}

#[derive(Debug, ClapArgs)]
pub struct RecordScenarioArgs {
    /// A Plan on the cluster (NAMESPACE/NAME), a YAML file with it, or a folder of a must-gather or of a run's
    /// artifacts.
    #[arg(value_name = "PLAN")]
    pub from: String,
    /// Where `worlds/NAME.yaml` and `scenarios/NAME.yaml` go: a --config directory. Files that exist stay.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The Plan, where a file or folder holds several. [NAMESPACE/]NAME
    #[arg(long, value_name = "NAME")]
    pub plan: Option<String>,
    /// The platform of the source, where its Provider was not gathered: vsphere, ovirt, openstack, ova, hyperv, ec2.
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// Replace names, MACs and addresses, and leave out what may hold some: labels, affinity, playbooks.
    #[arg(long)]
    pub anonymise: bool,
    #[command(flatten)]
    pub config: ConfigArgs,
}

#[derive(Debug, Subcommand)]
pub enum ScenarioCommand {
    /// Judge scenario files without running anything: types, contradictions, platforms that can't, VMs that no world
    /// has. Exit 2 where something is wrong, a line each: FILE:LINE: what. For editors and pre-commit.
    Check {
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// The world that must have the VMs.
        #[arg(long, value_name = "FILE")]
        world: Option<PathBuf>,
    },
    /// Print a commented scenario to begin with.
    New {
        #[arg(value_enum)]
        kind: SkeletonKind,
        /// Write it there; a file that exists stays.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Print the scenarios (`tests_params`) of a Python suite's config.py as a YAML file. Its literals are read, nothing
    /// is executed; what is no literal is told, a line each: FILE:LINE: what, and exit 2.
    Import {
        #[arg(value_name = "FILE.py")]
        file: PathBuf,
        /// Write them there; a file that exists stays.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// What a skeleton is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SkeletonKind {
    Cold,
    Warm,
    Hooks,
    Copyoffload,
    Lifecycle,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Every effective value with the layer it came from; secrets masked.
    Show(ShowArgs),
    /// The lab's world as a file: to read, and to take pieces of for `--world`.
    World,
    /// JSON Schema of settings, providers, scenarios or worlds.
    Schema {
        #[arg(value_enum)]
        of: SchemaKind,
    },
    /// Make the tables of the pages in a directory again; for who changes this program.
    #[command(hide = true)]
    Docs {
        #[arg(default_value = "docs")]
        dir: PathBuf,
    },
}

#[derive(Debug, ClapArgs)]
pub struct ShowArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    #[arg(long, short = 'o', visible_alias = "format", value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Which schema to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaKind {
    Settings,
    Providers,
    Scenarios,
    /// Of a file for `--world`.
    World,
}

#[derive(Debug, ClapArgs)]
#[group(required = true, multiple = true, id = "which")]
pub struct CleanArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// A results directory, or one run's directory in it: finish every ledger there.
    #[arg(long, value_name = "DIR", group = "which")]
    pub results: Option<PathBuf>,
    /// Sweep the cluster and the platforms for this run.
    #[arg(long, value_name = "ID", group = "which")]
    pub run_id: Option<String>,
    /// Sweep for every run older than this, e.g. 24h.
    #[arg(long, value_name = "AGE", group = "which")]
    pub older_than: Option<String>,
    /// Remove also what names the run and can't be proven to be its own, and what lies on a source platform
    /// without a ledger at hand. Without it such things are listed, and the exit code is 4.
    #[arg(long)]
    pub yes: bool,
    /// Show what would be removed and its proof, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    #[arg(long, short = 'o', visible_alias = "format", value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// What somebody who has never seen the lab does next.
const LAB_NEXT: &str = "\
The lab is a cluster-admin's OpenShift with MTV and OpenShift Virtualization, on loopback. It prints the next commands
with its own addresses; in short:

  export KUBECONFIG=lab/kubeconfig
  kubectl get providers -A
  oc login https://127.0.0.1:PORT -u kubeadmin -p lab-admin --certificate-authority=lab/ca.pem

User kubeadmin, password lab-admin. The logins of its vSphere, oVirt, OpenStack … and of their guests are in
lab/providers.json. A migration by hand, with plain YAML, is told in docs/lab.md.";

#[derive(Debug, ClapArgs)]
#[command(after_help = LAB_NEXT)]
pub struct LabServerArgs {
    /// Port of the API server; 0 picks a free one.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Live on this cluster instead of an API server of the lab's own: its MTV, KubeVirt and storage, as
    /// cluster admin. For test clusters only.
    #[arg(long, value_name = "KUBECONFIG", conflicts_with = "port")]
    pub on: Option<PathBuf>,
    /// Where kubeconfig, CA and providers.json are written.
    #[arg(long, value_name = "DIR", default_value = "lab")]
    pub dir: PathBuf,
    /// Simulated seconds in one real second.
    #[arg(long, value_name = "N")]
    pub clock_scale: Option<f64>,
    /// 2.9 to 2.12, or 2.13 for upstream's main.
    #[arg(long, value_name = "X.Y")]
    pub mtv_version: Option<String>,
    /// A way in which migrations go wrong although MTV says Succeeded; `--defect help` lists them.
    #[arg(long, value_name = "NAME")]
    pub defect: Vec<String>,
    /// As `--lab-weather` of `run`.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub weather: Vec<String>,
    #[command(flatten)]
    pub faults: FaultArgs,
    /// The real Forklift in place of the lab's MTV: a folder with its executables and `crds/`;
    /// MTV_FORKLIFT_DIR too.
    #[arg(long, value_name = "DIR")]
    pub forklift: Option<PathBuf>,
    /// What the lab holds: VMs, hosts, datastores, networks, storage classes. `mtv-matrix config world` prints the
    /// shipped one.
    #[arg(long, value_name = "FILE")]
    pub world: Option<PathBuf>,
    /// Keep the lab's cluster in this folder, and begin with what is there: objects, tokens, ports, the CA, vSphere's, oVirt's and
    /// OpenStack's VMs, files of guests. Written when the lab ends.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["on", "forklift"])]
    pub state: Option<PathBuf>,
    /// vSphere, oVirt and OpenStack listen on port 443 of a loopback address of their own each (127.0.0.2 and so on), for
    /// clients that know no other port. Needs the right to listen there.
    #[arg(long, conflicts_with = "forklift")]
    pub own_addresses: bool,
    /// Leave a part of the lab out.
    #[arg(long, value_enum, value_name = "PART", value_delimiter = ',')]
    pub without: Vec<LabPart>,
}

/// A part of the lab that may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LabPart {
    /// Somebody else runs it, on the same API server: with `--on`, instead of `--forklift`.
    Mtv,
    /// Pods stay Pending, and namespaces have no kube-root-ca.crt, as on an API server that stands alone.
    Nodes,
}
