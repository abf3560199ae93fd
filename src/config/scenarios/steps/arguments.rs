//! The arguments of each step, and what they are made of: a row a field, and long for that alone.
//!
//! Every type is read from a scenario's file, written back by `config show`, and told by the schema.

use std::time::Duration;

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::limit;
use crate::config::duration;
use crate::config::scenarios::PowerState;
pub use crate::config::scenarios::plans::{PlanName, VmName};

/// A step without arguments of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Plain {
    /// One Plan of `plans`; unset: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanName>,
    /// How long the step may take.
    #[serde(with = "limit", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<duration::DurationText>")]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Validate {
    /// The condition that the Plan is to get instead of `Ready`, e.g. `VMAlreadyExists`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// One Plan of `plans`; unset: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanName>,
    /// How long the step may take.
    #[serde(with = "limit", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<duration::DurationText>")]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Start {
    /// The cutover that the Migration is created with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cutover: Option<Moment>,
    /// Also where the Plan has been migrated already.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    /// One Plan of `plans`; unset: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanName>,
    /// How long the step may take.
    #[serde(with = "limit", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<duration::DurationText>")]
    pub timeout: Option<Duration>,
}

/// A time, told from the cluster's now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Moment {
    #[default]
    Now,
    /// So long from now.
    In(
        #[serde(with = "duration")]
        #[schemars(with = "duration::DurationText")]
        Duration,
    ),
    /// So long ago.
    Ago(
        #[serde(with = "duration")]
        #[schemars(with = "duration::DurationText")]
        Duration,
    ),
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Wait {
    /// What to wait for; unset: the end.
    #[serde(rename = "for")]
    pub goal: Goal,
    /// One VM; unset: every VM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmName>,
    /// One Plan of `plans`; unset: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanName>,
    /// How long the step may take.
    #[serde(with = "limit", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<duration::DurationText>")]
    pub timeout: Option<Duration>,
}

/// Something in a running migration that can be waited for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Goal {
    /// The end of the migration, whichever.
    #[default]
    End,
    /// This step of the VM's pipeline has begun, e.g. `DiskTransfer` (also where MTV calls it `DiskTransferV2v`).
    Step(String),
    /// So much of the disks is copied, in percent.
    Percent(#[schemars(range(min = 0, max = 100))] u8),
    /// So many precopies have succeeded.
    Precopies(#[schemars(range(min = 1, max = 1000))] u32),
    /// The VM is in this phase of MTV's, e.g. `CopyingPaused`.
    Phase(String),
    /// This condition is true: of the Plan, or of the VM that is named.
    Condition(String),
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cutover {
    /// Only after so many successful precopies of every VM.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub after_precopies: Option<u32>,
    /// The time that MTV is told: `now`, `{in: 10m}` or `{ago: 1h}`.
    pub at: Moment,
    /// One Plan of `plans`; unset: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanName>,
    /// How long the step may take.
    #[serde(with = "limit", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<duration::DurationText>")]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cancel {
    /// These VMs; empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vms: Vec<VmName>,
    /// One Plan of `plans`; unset: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanName>,
    /// How long the step may take.
    #[serde(with = "limit", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<duration::DurationText>")]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// The migration ends so; its end is waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<End>,
    /// The pipeline step at which it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// A regular expression that MTV's error meets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Pattern>,
    /// This condition is true: of the Plan, or of the VM that is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Whether the source VMs are again as they were before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceState>,
    /// Whether the VMs still have the claims that they had before the last `resume`, `retry`, `archive` or `delete`, by
    /// their UIDs, and no others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pvcs: Option<ClaimState>,
    /// For so long MTV does not take up the Migration that was made last, and the end before it stands.
    #[serde(with = "limit", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<duration::DurationText>")]
    pub ignored: Option<Duration>,
    /// These two Plans have migrated at the same time, by the times that MTV tells.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overlap: Vec<PlanName>,
    /// So many VMs of one source host, and no more, have migrated at the same time, by the times that MTV tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub in_flight: Option<u32>,
    /// VMs of one source host have waited for others: they began, though they might have before, only when the disks of
    /// those were copied; by the times that MTV tells, of all Plans.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub throttled: bool,
    /// One VM; unset: the Plan, and all of its source VMs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmName>,
    /// One Plan of `plans`; unset: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanName>,
    /// How long the step may take.
    #[serde(with = "limit", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<duration::DurationText>")]
    pub timeout: Option<Duration>,
}

/// How a migration ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum End {
    Succeeded,
    Failed,
    Canceled,
}

impl End {
    pub fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SourceState {
    /// Power, disks and snapshots as before the migration.
    Unchanged,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClaimState {
    /// The same ones, and no others.
    Kept,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kill {
    /// `virt-v2v`, `importer`, `populator` or `controller` (MTV's own).
    pub what: Killed,
    /// One VM; unset: every VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmName>,
    /// One Plan of `plans`; unset: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanName>,
    /// How long the step may take.
    #[serde(default, with = "limit", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<duration::DurationText>")]
    pub timeout: Option<Duration>,
}

/// Whose pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Killed {
    /// Converts guests, and copies the disks of most cold migrations.
    VirtV2v,
    /// CDI's, which copies a disk.
    Importer,
    /// Copies a disk of oVirt or OpenStack.
    Populator,
    /// MTV's main controller.
    Controller,
}

impl Killed {
    /// As its pods are called.
    pub fn name(self) -> &'static str {
        match self {
            Self::VirtV2v => "virt-v2v",
            Self::Importer => "importer",
            Self::Populator => "populator",
            Self::Controller => "controller",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// `quota` (the target namespace takes no further claim), or on the lab `source-network`, `source-login`,
    /// `datastore-full`, `conversion` or `drain` (of the nodes on which the Plan's disks are copied).
    pub what: Faulty,
    /// Of `conversion`: one VM; unset: every VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmName>,
    /// So long, on the lab by its clock; unset: until it is said to be over.
    #[serde(default, with = "limit", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<duration::DurationText>")]
    pub lasts: Option<Duration>,
    /// It is over again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub over: bool,
    /// How long the step may take.
    #[serde(default, with = "limit", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<duration::DurationText>")]
    pub timeout: Option<Duration>,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Faulty {
    /// A quota of the target namespace allows no further claim.
    Quota,
    /// Nobody reaches the source.
    SourceNetwork,
    /// The source refuses MTV's login, and ends its sessions.
    SourceLogin,
    /// No datastore of the source takes another snapshot.
    DatastoreFull,
    /// virt-v2v fails on whatever it converts.
    Conversion,
    /// The nodes where the Plan's disks are copied take no pod any more, and lose those that copy.
    Drain,
}

impl Faulty {
    /// In the words of people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Quota => "the target namespace takes no further claim",
            Self::SourceNetwork => "nobody reaches the source",
            Self::SourceLogin => "the source refuses every login",
            Self::DatastoreFull => "no datastore of the source has room for a snapshot",
            Self::Conversion => "no guest can be converted",
            Self::Drain => "the nodes where disks are copied are drained",
        }
    }

    /// Whether the lab alone can play it.
    pub fn is_of_the_lab(self) -> bool {
        match self {
            Self::Quota => false,
            Self::SourceNetwork | Self::SourceLogin | Self::DatastoreFull | Self::Conversion | Self::Drain => true,
        }
    }

    /// Whether the lab itself makes it go wrong; the others a story does by the cluster's API.
    pub fn is_a_lever(self) -> bool {
        self.is_of_the_lab() && self != Self::Drain
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Delete {
    /// `plan` or `migration`.
    pub what: Deletable,
    /// One Plan of `plans`; unset: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanName>,
    /// How long the step may take.
    #[serde(default, with = "limit", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<duration::DurationText>")]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Deletable {
    Plan,
    Migration,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Power {
    /// `on` or `off`.
    pub state: PowerState,
    /// One VM; unset: every VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmName>,
    /// How long the step may take.
    #[serde(default, with = "limit", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<duration::DurationText>")]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Absent {
    /// Only these kinds; empty: all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<Kind>,
    /// One Plan of `plans`; unset: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanName>,
    /// How long the step may take.
    #[serde(with = "limit", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<duration::DurationText>")]
    pub timeout: Option<Duration>,
}

/// A step that is about VMs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OfVms {
    /// One VM; unset: every VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmName>,
    /// How long the step may take.
    #[serde(default, with = "limit", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<duration::DurationText>")]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// What the snapshot is called; `mtv-matrix-story` where it is unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// One VM; unset: every VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmName>,
    /// How long the step may take.
    #[serde(default, with = "limit", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<duration::DurationText>")]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDisk {
    /// GiB; 1 where it is unset.
    #[serde(default = "NewDisk::smallest")]
    #[schemars(range(min = 1, max = 65_536))]
    pub size_gb: u32,
    /// One VM; unset: every VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmName>,
    /// How long the step may take.
    #[serde(default, with = "limit", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<duration::DurationText>")]
    pub timeout: Option<Duration>,
}

impl NewDisk {
    fn smallest() -> u32 {
        1
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// A command line, as the guest's login shell takes it. It must end with 0.
    pub command: String,
    /// A regular expression that its output meets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Pattern>,
    /// One VM; unset: every VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmName>,
    /// How long the step may take.
    #[serde(default, with = "limit", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<duration::DurationText>")]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadMarker {
    /// Where the platform can't write a marker: a command that finds something that was there before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// `command` for Windows guests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<String>,
    /// A regular expression that the output of `command` meets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Pattern>,
    /// One VM; unset: every VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmName>,
    /// How long the step may take.
    #[serde(default, with = "limit", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<duration::DurationText>")]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Patch {
    /// `plan`, `migration`, `storage-map`, `network-map`, `provider` (of the source) or `controller` (the
    /// ForkliftController).
    pub what: Patched,
    /// A JSON patch: a list of `{op: add|replace|remove, path: /spec/…, value: …}`.
    pub operations: Vec<Operation>,
    /// One Plan of `plans`; unset: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanName>,
    /// How long the step may take.
    #[serde(default, with = "limit", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<duration::DurationText>")]
    pub timeout: Option<Duration>,
}

/// An object of MTV's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Patched {
    Plan,
    Migration,
    StorageMap,
    NetworkMap,
    Provider,
    Controller,
}

impl Patched {
    /// The kind of the object.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Plan => "Plan",
            Self::Migration => "Migration",
            Self::StorageMap => "StorageMap",
            Self::NetworkMap => "NetworkMap",
            Self::Provider => "Provider",
            Self::Controller => "ForkliftController",
        }
    }

    /// Whether others use it, too: other cells of the run, or everybody.
    pub fn is_shared(self) -> bool {
        match self {
            Self::Controller | Self::Provider => true,
            Self::Plan | Self::Migration | Self::StorageMap | Self::NetworkMap => false,
        }
    }

    /// Whether each Plan of a scenario has one.
    pub fn is_of_a_plan(self) -> bool {
        match self {
            Self::Plan | Self::Migration => true,
            Self::StorageMap | Self::NetworkMap | Self::Provider | Self::Controller => false,
        }
    }
}

/// One operation of a JSON patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// `add`, `replace` or `remove`.
    pub op: Op,
    /// A JSON pointer, e.g. `/spec/archived`.
    pub path: String,
    /// Of `add` and `replace`: the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<serde_json::Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    Add,
    Replace,
    Remove,
}

/// What MTV makes beside its own resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Vms,
    Pods,
    Pvcs,
    DataVolumes,
    Secrets,
    Jobs,
}

impl Kind {
    pub const ALL: [Self; 6] = [Self::Vms, Self::Pods, Self::Pvcs, Self::DataVolumes, Self::Secrets, Self::Jobs];
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Inspect {
    /// The condition that the Conversion is to get instead of inspecting, e.g. `VDDKImageNotSet`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Whether the Conversion names the profile's `vddk_init_image`.
    #[serde(skip_serializing_if = "Clone::clone")]
    pub vddk: bool,
    /// Cancels it once its snapshot and its pod are there, which then must go.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cancel: bool,
    /// One VM; unset: all of them, one after the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmName>,
    /// How long the step may take.
    #[serde(with = "limit", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<duration::DurationText>")]
    pub timeout: Option<Duration>,
}

impl Default for Inspect {
    fn default() -> Self {
        Self { condition: None, vddk: true, cancel: false, vm: None, timeout: None }
    }
}

/// A regular expression, checked when it is read.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Pattern(Regex);

impl Pattern {
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    pub fn text(&self) -> &str {
        self.0.as_str()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Regex::new(&text).map(Self).map_err(|_| format!("`{text}` is not a regular expression"))
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text().to_owned()
    }
}
