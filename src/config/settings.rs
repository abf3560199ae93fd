//! Settings of a run: where the cluster is, how long to wait, how much at once.
//!
//! Key names are those of the Python suite where it has one (peer.md §1.2), so that a user's file
//! keeps its meaning. Defaults live in `config/default.yaml`, not here.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;

use super::duration;
use super::fail_fast::{self, FailFast};

/// Everything that is not a provider profile and not a scenario.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    // ---- the OpenShift cluster; all unset: in-cluster service account, else kubeconfig
    /// API URL, e.g. `https://api.lab.example.com:6443`; unset: the pod's service account, else kubeconfig.
    pub cluster_host: Option<String>,
    /// With `cluster_password`: a login through OpenShift's OAuth.
    pub cluster_username: Option<String>,
    /// The password of `cluster_username`.
    #[schemars(with = "Option<String>")]
    pub cluster_password: Option<SecretString>,
    /// Wins over user and password.
    #[schemars(with = "Option<String>")]
    pub cluster_token: Option<SecretString>,
    /// Path of a kubeconfig; the variable KUBECONFIG is read too.
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; unset: its current one.
    pub kubeconfig_context: Option<String>,
    /// `namespace/name` of a ServiceAccount whose token is asked for where a bearer token is needed and the
    /// login has none (a client certificate): MTV's inventory by its route, this cluster as a source.
    pub token_service_account: Option<String>,
    /// PEM file with the CA of the API server (and of the OAuth route).
    pub cluster_ca_file: Option<PathBuf>,
    /// Skip TLS verification towards the OpenShift side. Off by default.
    pub insecure_verify_skip: bool,
    /// `insecureSkipVerify` of the source Providers; when off, the CA is fetched and stored.
    pub source_provider_insecure_skip_verify: bool,
    /// MTV's own namespace.
    pub mtv_namespace: String,
    /// A profile of type `openshift` with a token that `remote` scenarios migrate to, or a part of the
    /// API host that they require; empty: they are skipped.
    pub remote_ocp_cluster: String,
    /// The Ansible Automation Platform whose job templates hooks launch (`aap_job_template_id`); empty: scenarios with
    /// such hooks are skipped.
    pub aap_url: String,
    /// Its API token.
    #[schemars(with = "Option<String>")]
    pub aap_token: Option<SecretString>,
    /// What the step `upgrade` runs: a program and its arguments, which bring MTV to another release. It gets `MTV_FROM`,
    /// `MTV_VERSION` (`upgrade_to`) and `MTV_NAMESPACE`. Empty: scenarios with such a step are skipped.
    pub upgrade_command: Vec<String>,
    /// The MTV that it must bring, e.g. `2.12.5`; unset: any other than before.
    pub upgrade_to: Option<String>,
    /// MTV's must-gather image, which runs as a Pod for a cell that did not pass, before it is torn down; empty: none does.
    pub must_gather_image: String,
    /// Where that Pod runs. The manifests' component `must-gather` gives the rights for it there.
    pub must_gather_namespace: String,
    /// The Pod's ServiceAccount, which may read what it gathers.
    pub must_gather_service_account: String,
    /// For so many cells of a run, the first that do not pass.
    #[schemars(range(min = 1, max = 1000))]
    pub must_gather_cells: u32,
    /// A Jira that is asked for the state of each known issue of the scenarios that has a key there; empty: a known issue is
    /// as its scenario says.
    pub jira_url: String,
    /// With it the token goes as a password (Jira Cloud: the account's address); unset: as a bearer token.
    pub jira_username: Option<String>,
    /// Its API token.
    #[schemars(with = "Option<String>")]
    pub jira_token: Option<SecretString>,
    /// Pod security level that the cells' namespaces enforce (`pod-security.kubernetes.io/enforce`);
    /// unset: the cluster's own. Pods that MTV runs there must meet it.
    pub pod_security_enforce: Option<PodSecurity>,
    /// Head of the run id, and so of every name that the run makes; `auto`: `mm`.
    pub target_namespace_prefix: String,

    // ---- the matrix
    /// Destination storage classes; more than one multiplies the matrix. The key may be written as one
    /// name (`storage_class: nfs`) or a list.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany")]
    pub storage_class: Vec<String>,
    /// Path of `providers.json`.
    pub providers_json: Option<PathBuf>,
    /// Only this profile (the Python suite's key); `--provider` is the same.
    pub source_provider: Option<String>,

    // ---- migrations
    /// Minutes between precopies, set on the ForkliftController for the run and given back.
    #[schemars(range(min = 1, max = 1440))]
    pub snapshots_interval: u32,
    /// Where `storage_class` has `nfs`, its StorageProfile says ReadWriteOnce and Filesystem for the run, and is given back
    /// (the Python suite does so).
    pub borrow_nfs_profile: bool,
    /// Warm: cut over this many minutes after the Migration is created, unless `cutover_after_precopies` is set.
    #[schemars(range(min = 0, max = 43_200))]
    pub mins_before_cutover: u32,
    /// Warm: cut over after this many successful precopies.
    #[schemars(range(min = 1, max = 1000))]
    pub cutover_after_precopies: Option<u32>,
    /// Verify migrated VMs; off only to time migrations.
    pub check_vms_signals: bool,
    /// Start migrated VMs where a scenario's story says so (`boot`).
    pub boot: bool,
    /// Tell steps that disturb others (`patch` of what all share); else their cells are skipped. On with `--lab`.
    pub allow_disruptive: bool,

    // ---- the engine
    /// Cells at once in the whole run.
    #[schemars(range(min = 1, max = 10_000))]
    pub jobs: usize,
    /// Cells at once per profile, where the profile sets none.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_concurrent: usize,
    /// Requests a second to the cluster's API server, watches that are begun and repeats among them; a second's worth may
    /// follow at once. 0: as many as it answers. Of one pod: four shards make four times as many.
    #[schemars(range(min = 0, max = 10_000))]
    pub qps: u32,
    /// Further attempts for a cell that did not pass.
    #[schemars(range(min = 0, max = 100))]
    pub retries: u32,
    /// After which ends a cell is tried again: `errored`, or `failed` for findings, too.
    pub retries_on: RetriesOn,
    /// Whether a cell that passed only on a retry lets the run pass: `pass` or `fail`.
    pub flaky: Flaky,
    /// Start no further cell after so many that did not pass: `true` (the first), `3`, or `3:immediate`, which ends
    /// what is at work, too.
    #[schemars(with = "fail_fast::FailFastText")]
    pub fail_fast: FailFast,
    /// Begin the cells in the order that this number shuffles them to.
    #[schemars(range(min = 0))]
    pub order_seed: Option<u64>,
    /// A run in which a cell was skipped ends with exit code 5.
    pub fail_on_skip: bool,
    /// So does one in which fewer cells ran; of a set of shards that is said where it is joined.
    #[schemars(range(min = 0, max = 100_000))]
    pub min_cells: usize,
    /// Write what was read of each migrated VM to `artifacts/…/evidence-*.json`, to be looked at and judged again.
    pub keep_evidence: bool,
    /// When a cell's objects are left in place: `never`, `on-failure` or `always`.
    pub keep: Keep,
    /// One directory a run is made in it.
    pub results: PathBuf,
    /// So many runs stay in `results`, the one that begins among them; older ones that are over and have nothing left
    /// to undo are removed when it begins. 0: all.
    #[schemars(range(min = 0, max = 100_000))]
    pub results_keep: usize,
    /// Likewise, by what the earlier ones hold, in megabytes. 0: any.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub results_keep_mb: u64,
    /// Spans of requests and waits in traces.jsonl: `folded` (those of a second or more, and those that failed) or
    /// `requests` (all).
    pub trace: TraceDetail,
    /// URL of a Prometheus Pushgateway that gets the run's metrics at its end.
    pub metrics_push: Option<String>,
    /// Bounds of stages and waits: `90s`, `5m`, `1h 30m`, or a number of seconds.
    pub timeouts: Timeouts,
}

/// A level of Kubernetes' pod security standards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PodSecurity {
    Privileged,
    Baseline,
    Restricted,
}

impl PodSecurity {
    /// As Kubernetes writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

/// Which ends of an attempt are followed by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RetriesOn {
    /// The environment broke.
    Errored,
    /// Also where MTV or a VM was found wrong.
    Failed,
}

impl RetriesOn {
    /// As written in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Errored => "errored",
            Self::Failed => "failed",
        }
    }
}

/// What a cell is worth that passed only on a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Flaky {
    Pass,
    Fail,
}

impl Flaky {
    /// As written in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
        }
    }
}

/// What a run's traces hold of single requests and waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TraceDetail {
    /// Those that took a second or more, and those that failed.
    Folded,
    /// All.
    Requests,
}

impl TraceDetail {
    /// As written in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Folded => "folded",
            Self::Requests => "requests",
        }
    }
}

/// When to leave a cell's objects where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    Never,
    OnFailure,
    Always,
}

/// Every bound in one table. Stage bounds end a stage; the others end one wait inside it.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    // stages
    /// Stage: clone, power, guest facts and inventory of all VMs of a cell.
    #[serde(with = "duration")]
    #[schemars(with = "duration::DurationText")]
    pub prepare: Duration,
    /// Stage: StorageMap ready.
    #[serde(with = "duration")]
    #[schemars(with = "duration::DurationText")]
    pub storage_map: Duration,
    /// Stage: NetworkMap ready.
    #[serde(with = "duration")]
    #[schemars(with = "duration::DurationText")]
    pub network_map: Duration,
    /// Stage: Plan `Ready`.
    #[serde(with = "duration")]
    #[schemars(with = "duration::DurationText")]
    pub plan: Duration,
    /// Stage: Migration terminal (`plan_wait_timeout` of the Python suite).
    #[serde(with = "duration")]
    #[schemars(with = "duration::DurationText")]
    pub migrate: Duration,
    /// Stage: reading and judging the migrated VMs.
    #[serde(with = "duration")]
    #[schemars(with = "duration::DurationText")]
    pub verify: Duration,
    /// Stage: removing what the cell made.
    #[serde(with = "duration")]
    #[schemars(with = "duration::DurationText")]
    pub teardown: Duration,
    /// After SIGTERM or Ctrl-C tearing down may take this long; what is left then is for `clean`. Shorter
    /// than the pod's `terminationGracePeriodSeconds`, so that the reports can still be written.
    #[serde(with = "duration")]
    #[schemars(with = "duration::DurationText")]
    pub grace: Duration,
    // waits
    /// The first connection and login.
    #[serde(with = "duration")]
    #[schemars(with = "duration::DurationText")]
    pub connect: Duration,
    /// One request to the API server or a source platform.
    #[serde(with = "duration")]
    #[schemars(with = "duration::DurationText")]
    pub request: Duration,
    /// A Provider's `Ready`.
    #[serde(with = "duration")]
    #[schemars(with = "duration::DurationText")]
    pub provider_ready: Duration,
    /// A clone's appearance in MTV's inventory.
    #[serde(with = "duration")]
    #[schemars(with = "duration::DurationText")]
    pub inventory: Duration,
    /// One clone.
    #[serde(with = "duration")]
    #[schemars(with = "duration::DurationText")]
    pub clone: Duration,
    /// A VM's start or stop on the source.
    #[serde(with = "duration")]
    #[schemars(with = "duration::DurationText")]
    pub power: Duration,
    /// The source guest's own facts.
    #[serde(with = "duration")]
    #[schemars(with = "duration::DurationText")]
    pub guest_info: Duration,
    /// The agent of the migrated VM.
    #[serde(with = "duration")]
    #[schemars(with = "duration::DurationText")]
    pub guest_agent: Duration,
    /// A login into the migrated VM.
    #[serde(with = "duration")]
    #[schemars(with = "duration::DurationText")]
    pub ssh: Duration,
    /// The static addresses of a migrated guest, after its first login.
    #[serde(with = "duration")]
    #[schemars(with = "duration::DurationText")]
    pub static_ip: Duration,
    /// The end of one deleted object.
    #[serde(with = "duration")]
    #[schemars(with = "duration::DurationText")]
    pub delete: Duration,
    /// How long a blocker of MTV's that may pass by itself (a connection that failed, a Provider that is
    /// not ready) or its silence may last before it is believed.
    #[serde(with = "duration")]
    #[schemars(with = "duration::DurationText")]
    pub blocker_grace: Duration,
    /// MTV takes its snapshots off some platforms' VMs after it has said *Succeeded*.
    #[serde(with = "duration")]
    #[schemars(with = "duration::DurationText")]
    pub snapshot_removal: Duration,
    /// The must-gather image's work for one cell, and then as long again for reading what it gathered.
    #[serde(with = "duration")]
    #[schemars(with = "duration::DurationText")]
    pub must_gather: Duration,
    /// A stage says that it is still at work, how far it is, and what it waits for, each time that this has passed.
    #[serde(with = "duration")]
    #[schemars(with = "duration::DurationText")]
    pub heartbeat: Duration,
}

/// For the schema: one name or a list of them.
#[derive(schemars::JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum OneOrMany {
    Nothing(()),
    One(String),
    Many(Vec<String>),
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Visitor;
    impl<'de> serde::de::Visitor<'de> for Visitor {
        type Value = Vec<String>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a storage class name or a list of them")
        }
        fn visit_unit<E>(self) -> Result<Vec<String>, E> {
            Ok(Vec::new())
        }
        fn visit_str<E>(self, one: &str) -> Result<Vec<String>, E> {
            Ok(if one.is_empty() { Vec::new() } else { vec![one.to_owned()] })
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<String>, A::Error> {
            let mut many = Vec::new();
            while let Some(one) = seq.next_element()? {
                many.push(one);
            }
            Ok(many)
        }
    }
    deserializer.deserialize_any(Visitor)
}
