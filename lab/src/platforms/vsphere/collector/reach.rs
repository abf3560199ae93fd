//! What a filter has to look at again when something is touched, so that a look costs what changed and not what exists.
//!
//! Of what the tree shows, VMs, tasks and folders alone ever change, and the world's log tells which of them did.
//! Hosts, datastores, networks, pools and the cluster stay as the world was made; what they show of VMs and folders
//! does not.

use std::collections::BTreeSet;

use super::super::session::View;
use super::super::tree::{Scope, is_a};
use super::super::value::{Ref, mo, split};
use super::select::{FilterSpec, ObjectSpec, PropertySpec, Selection};
use crate::world::{EntityKind, State};

/// Properties that do not change when a VM or a task does, of everything that is neither.
const STEADY: &[&str] = &["name", "parent", "key", "summary", "runtime", "info", "host", "capability", "hardware"];

/// More that stay as the world was made, or change with folders alone; a name that is in neither list costs a look, and
/// one that is here wrongly a change that nobody is told.
const FIXED: &[&str] = &[
    "config",
    "datastore",
    "datastoreFolder",
    "hostFolder",
    "iormConfiguration",
    "network",
    "networkFolder",
    "overallStatus",
    "resourcePool",
    "vmFolder",
];

/// What a filter looks at.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reach {
    /// These VMs and tasks alone.
    Objects(BTreeSet<Ref>),
    /// What a recursive container view holds, where VMs alone can come, go and change.
    View(View),
    /// What a recursive container view of everything holds, and under which id the session has it.
    Inventory(String, View),
    /// Anything may change anything.
    Everything,
}

impl FilterSpec {
    /// What a filter has to look at again when something is touched.
    pub(super) fn reach(&self, scope: &Scope<'_>) -> Reach {
        let lives_alone = |kind: &str| matches!(kind, "VirtualMachine" | "Task");
        // Whatever shows other objects changes with them.
        let steady = |spec: &PropertySpec| match spec.kind.as_str() {
            "Task" => true,
            "VirtualMachine" => !spec.all && !spec.paths.iter().any(|path| path.starts_with("recentTask")),
            _ => !spec.all && spec.paths.iter().all(|path| STEADY.contains(&split(path).0)),
        };
        let view = self.view(scope);
        if !self.properties.iter().all(steady) {
            return match view {
                Some((spec, view)) if spec.walks_view() && is_of_everything(view, scope) => {
                    Reach::Inventory(spec.object.id.clone(), view.clone())
                }
                _ => Reach::Everything,
            };
        }
        if self.objects.iter().all(|spec| spec.select.is_empty() && lives_alone(&spec.object.kind)) {
            return Reach::Objects(self.objects.iter().filter(|spec| !spec.skip).map(|s| s.object.clone()).collect());
        }
        view.map_or(Reach::Everything, |(_, view)| Reach::View(view.clone()))
    }

    /// The recursive container view whose content is all that this selects.
    fn view<'s>(&self, scope: &Scope<'s>) -> Option<(&ObjectSpec, &'s View)> {
        let [spec] = self.objects.as_slice() else { return None };
        let view = scope.session?.views.get(&spec.object.id)?;
        let alone = spec.skip && spec.view_alone() && view.list.is_none() && view.recursive;
        alone.then_some((spec, view))
    }
}

/// Whether a view begins at the root: every VM is in it, wherever it is moved.
fn is_of_everything(view: &View, scope: &Scope<'_>) -> bool {
    let root = scope.state.folders.get(&view.container.id).is_some_and(|folder| folder.parent.is_none());
    root && view.container.kind == "Folder"
}

impl ObjectSpec {
    /// Whether this selects exactly what a view holds.
    fn view_alone(&self) -> bool {
        match self.select.as_slice() {
            [Selection::Traverse { path, skip: false, select, .. }] => path == "view" && select.is_empty(),
            _ => false,
        }
    }

    /// Whether the way from the view to what it holds is one that this kind of view has.
    fn walks_view(&self) -> bool {
        let walks = |selection: &Selection| match selection {
            Selection::Traverse { kind, .. } => is_a(&self.object.kind, kind),
            Selection::Named(_) => false,
        };
        self.object.kind == "ContainerView" && self.select.iter().all(walks)
    }
}

/// What was touched since a filter last looked.
pub(super) struct Touched {
    vms: BTreeSet<Ref>,
    tasks: BTreeSet<Ref>,
    pub(super) folders: bool,
}

impl Touched {
    /// `None` where the log does not go back that far.
    pub(super) fn since(state: &State, version: u64) -> Option<Self> {
        let mut touched = Self { vms: BTreeSet::new(), tasks: BTreeSet::new(), folders: false };
        for (kind, id) in state.log.since(version)? {
            match kind {
                EntityKind::Vm => drop(touched.vms.insert(mo("VirtualMachine", id))),
                EntityKind::Task => drop(touched.tasks.insert(mo("Task", id))),
                EntityKind::Folder => touched.folders = true,
                // Of these no change is told.
                EntityKind::Snapshot
                | EntityKind::Host
                | EntityKind::Pool
                | EntityKind::Datastore
                | EntityKind::Network => {}
            }
        }
        Some(touched)
    }

    pub(super) fn vms(&self) -> impl Iterator<Item = &Ref> {
        self.vms.iter()
    }

    /// VMs and tasks.
    pub(super) fn objects(&self) -> impl Iterator<Item = &Ref> {
        self.vms.iter().chain(&self.tasks)
    }
}

/// What values are made of, besides what never changes; of several sources the widest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// The VM or the task that is looked at, which the log names.
    Itself,
    Folders,
    VmsAndFolders,
    /// Anything, the clock and the session among it.
    Anything,
}

impl Source {
    /// Of these paths of any object of this kind.
    pub(super) fn of(kind: &str, paths: &[String]) -> Self {
        let source = |path: &String| {
            let root = split(path).0;
            Self::of_property(kind, root.split_once('[').map_or(root, |(root, _)| root))
        };
        paths.iter().map(source).max().unwrap_or(Self::Itself)
    }

    fn of_property(kind: &str, name: &str) -> Self {
        match kind {
            "VirtualMachine" if name != "recentTask" => Self::Itself,
            "Task" => Self::Itself,
            "VirtualMachineSnapshot" => Self::VmsAndFolders,
            _ if !is_a(kind, "ManagedEntity") || name == "recentTask" => Self::Anything,
            _ if STEADY.contains(&name) || FIXED.contains(&name) => Self::Folders,
            _ => Self::VmsAndFolders,
        }
    }

    /// Whether values that are made of this may differ; what is made of itself is looked at where the log names it.
    pub(super) fn is_in(self, touched: &Touched) -> bool {
        match self {
            Self::Itself => false,
            Self::Folders => touched.folders,
            Self::VmsAndFolders => touched.folders || !touched.vms.is_empty(),
            Self::Anything => true,
        }
    }
}
