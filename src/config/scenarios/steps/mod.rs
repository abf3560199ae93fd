//! Steps: the typed actions that a scenario's story is made of.
//!
//! Parsed once, here, from `steps:`; every later room gets types. What a step does on a cluster is `migration`'s
//! matter: this room knows how it is written, what it is called, and how long it may take by default.

pub(crate) mod order;
mod read;
pub mod story;
mod words;

use std::time::Duration;

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PowerState, ScenarioVm};
use crate::config::duration;
use crate::config::settings::Timeouts;
use crate::event::Stage;

pub(crate) use read::{extend, normalise, schema, unknown};

/// One action of a story. Written as its name, as `name: value` for its main argument, or as `name: {argument: …}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Makes the Plan. Told by itself before the first step that needs one.
    Create(Plain),
    /// Waits until the Plan is `Ready`, or has the condition that is expected instead. Nothing is migrated. Told by itself
    /// after `create`.
    Validate(Validate),
    /// Starts the migration and waits for its end, which must be as `expected_migration_result` says; a warm one is cut
    /// over as `cutover` of the scenario and the settings say.
    Migrate(Plain),
    /// Starts the migration and does not wait. A warm one is not cut over.
    Start(Start),
    /// Waits for something in the running migration.
    Wait(Wait),
    /// Cuts a running warm migration over.
    Cutover(Cutover),
    /// Cancels VMs of the running migration and waits until MTV says so.
    Cancel(Cancel),
    /// Judges how the migration of the Plan, or of one VM, ends or ended, a condition, or the source VMs.
    Expect(Expect),
    /// Starts the migration of a Plan that failed or was canceled once more, and waits for its end.
    Retry(Plain),
    /// Archives the Plan and waits until MTV has done so.
    Archive(Plain),
    /// Deletes the Plan or its Migration, and waits until it is gone.
    Delete(Delete),
    /// Switches source VMs on or off: whether they can still be used.
    Power(Power),
    /// Waits until nothing with the Plan's label is left in the target namespace.
    Absent(Absent),
    /// Reads every migrated VM and judges it.
    Verify(Plain),
    /// Starts each migrated VM that is off, waits for its guest, judges that, shuts it down gently and leaves it off.
    Boot(Plain),
}

/// A step without arguments of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Plain {
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
    /// One VM; unset: the Plan, and all of its source VMs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmName>,
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

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Delete {
    /// `plan` or `migration`.
    pub what: Deletable,
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
    /// How long the step may take.
    #[serde(with = "limit", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<duration::DurationText>")]
    pub timeout: Option<Duration>,
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

/// A VM of the scenario: its name, or its place in `virtual_machines` from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct VmName(pub String);

impl VmName {
    /// Its index among the scenario's VMs; else what is wrong.
    pub fn index(&self, vms: &[ScenarioVm]) -> Result<usize, String> {
        let named: Vec<usize> = (0..vms.len()).filter(|&n| vms.get(n).is_some_and(|vm| vm.name == self.0)).collect();
        match named.as_slice() {
            [one] => Ok(*one),
            [] => match self.0.parse::<usize>() {
                Ok(place) if (1..=vms.len()).contains(&place) => Ok(place - 1),
                Ok(place) => Err(format!("there is no VM {place}: the scenario has {}", vms.len())),
                Err(_) => {
                    let hint = crate::config::errors::hint(&self.0, vms.iter().map(|vm| vm.name.as_str()), "");
                    Err(format!("the scenario has no VM `{}`{hint}", self.0))
                }
            },
            _ => Err(format!("more than one VM is called `{}`: write its place in `virtual_machines`, from 1", self.0)),
        }
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

impl Step {
    /// As it is written.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Validate(_) => "validate",
            Self::Migrate(_) => "migrate",
            Self::Start(_) => "start",
            Self::Wait(_) => "wait",
            Self::Cutover(_) => "cutover",
            Self::Cancel(_) => "cancel",
            Self::Expect(_) => "expect",
            Self::Retry(_) => "retry",
            Self::Archive(_) => "archive",
            Self::Delete(_) => "delete",
            Self::Power(_) => "power",
            Self::Absent(_) => "absent",
            Self::Verify(_) => "verify",
            Self::Boot(_) => "boot",
        }
    }

    fn timeout(&self) -> Option<Duration> {
        match self {
            Self::Create(plain)
            | Self::Migrate(plain)
            | Self::Retry(plain)
            | Self::Archive(plain)
            | Self::Verify(plain)
            | Self::Boot(plain) => plain.timeout,
            Self::Validate(step) => step.timeout,
            Self::Start(step) => step.timeout,
            Self::Wait(step) => step.timeout,
            Self::Cutover(step) => step.timeout,
            Self::Cancel(step) => step.timeout,
            Self::Expect(step) => step.timeout,
            Self::Delete(step) => step.timeout,
            Self::Power(step) => step.timeout,
            Self::Absent(step) => step.timeout,
        }
    }

    /// How long the step may take: its own `timeout`, else a setting's, whose name comes with it.
    pub fn deadline(&self, timeouts: &Timeouts) -> (Duration, &'static str) {
        if let Some(own) = self.timeout() {
            return (own, "the step's `timeout`");
        }
        match self {
            Self::Create(_) | Self::Validate(_) | Self::Start(_) => (timeouts.plan, "`timeouts.plan`"),
            Self::Migrate(_) | Self::Retry(_) | Self::Wait(_) | Self::Cutover(_) => {
                (timeouts.migrate, "`timeouts.migrate`")
            }
            // An end is waited for; everything else is there already, or comes with MTV's next look.
            Self::Expect(expect) if expect.ended.is_some() => (timeouts.migrate, "`timeouts.migrate`"),
            Self::Cancel(_) | Self::Expect(_) | Self::Archive(_) | Self::Delete(_) | Self::Absent(_) => {
                (timeouts.teardown, "`timeouts.teardown`")
            }
            Self::Power(_) => (timeouts.prepare, "`timeouts.prepare`"),
            Self::Verify(_) | Self::Boot(_) => (timeouts.verify, "`timeouts.verify`"),
        }
    }

    /// The stage of the engine's that the step belongs to where no later one has begun.
    pub fn stage(&self) -> Stage {
        match self {
            Self::Create(_) | Self::Validate(_) => Stage::Plan,
            Self::Migrate(_)
            | Self::Start(_)
            | Self::Wait(_)
            | Self::Cutover(_)
            | Self::Cancel(_)
            | Self::Expect(_)
            | Self::Retry(_)
            | Self::Archive(_)
            | Self::Delete(_)
            | Self::Power(_)
            | Self::Absent(_) => Stage::Migrate,
            Self::Verify(_) | Self::Boot(_) => Stage::Verify,
        }
    }
}

/// An optional duration, as people write it.
mod limit {
    use std::time::Duration;

    use serde::{Deserializer, Serializer};

    use crate::config::duration;

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        duration::deserialize(deserializer).map(Some)
    }

    #[expect(clippy::ref_option, reason = "serde's signature")]
    pub fn serialize<S: Serializer>(limit: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match limit {
            Some(limit) => duration::serialize(limit, serializer),
            None => serializer.serialize_none(),
        }
    }
}

#[cfg(test)]
mod tests;
