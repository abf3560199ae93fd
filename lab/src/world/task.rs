//! Long operations as the world remembers them.

use std::fmt;

use super::WorldError;

/// What a task or an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntityKind {
    Vm,
    Snapshot,
    Folder,
    Host,
    Pool,
    Datastore,
    Network,
    Task,
}

impl fmt::Display for EntityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vm => "VM",
            Self::Snapshot => "snapshot",
            Self::Folder => "folder",
            Self::Host => "host",
            Self::Pool => "resource pool",
            Self::Datastore => "datastore",
            Self::Network => "network",
            Self::Task => "task",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskState {
    Queued,
    Running,
    /// With the thing that was made, where there is one.
    Success(Option<(EntityKind, String)>),
    Error(WorldError),
}

/// An operation that takes time.
#[derive(Debug, Clone)]
pub struct Task {
    pub id: String,
    /// The operation in the words of the platform that was asked, e.g. `CloneVM_Task`.
    pub operation: &'static str,
    /// The VM or folder that it works on.
    pub entity: (EntityKind, String),
    pub entity_name: String,
    pub user: String,
    pub state: TaskState,
    pub progress: Option<u8>,
    pub cancelable: bool,
    pub cancelled: bool,
    pub queued: String,
    pub started: Option<String>,
    pub completed: Option<String>,
    /// Name that the operation will give to a new VM: taken from now on.
    pub reserves: Option<(String, String)>,
    /// What a search of a datastore has found.
    pub found: Vec<Found>,
}

/// A folder of a datastore, and what lies in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub datastore: String,
    /// `[datastore] folder/`.
    pub folder: String,
    /// Name, size in bytes, and whether it is a folder.
    pub files: Vec<(String, i64, bool)>,
}

impl Task {
    pub fn is_over(&self) -> bool {
        matches!(self.state, TaskState::Success(_) | TaskState::Error(_))
    }
}
