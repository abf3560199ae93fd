//! What a filter has to look at again when something is touched.

use std::collections::BTreeSet;

use super::super::session::View;
use super::super::tree::Scope;
use super::super::value::{Ref, split};
use super::select::{FilterSpec, ObjectSpec, PropertySpec, Selection};

/// Properties that do not change when a VM or a task does, of everything that is neither.
const STEADY: &[&str] = &["name", "parent", "key", "summary", "runtime", "info", "host", "capability", "hardware"];

/// What a filter looks at.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reach {
    /// These VMs and tasks alone.
    Objects(BTreeSet<Ref>),
    /// What a recursive container view holds.
    View(View),
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
        if !self.properties.iter().all(steady) {
            return Reach::Everything;
        }
        if self.objects.iter().all(|spec| spec.select.is_empty() && lives_alone(&spec.object.kind)) {
            return Reach::Objects(self.objects.iter().filter(|spec| !spec.skip).map(|s| s.object.clone()).collect());
        }
        match self.objects.as_slice() {
            [spec] if spec.skip && spec.view_alone() => {
                match scope.session.and_then(|s| s.views.get(&spec.object.id)) {
                    Some(view) if view.list.is_none() && view.recursive => Reach::View(view.clone()),
                    _ => Reach::Everything,
                }
            }
            _ => Reach::Everything,
        }
    }
}

impl ObjectSpec {
    /// Whether this selects exactly what a view holds.
    fn view_alone(&self) -> bool {
        match self.select.as_slice() {
            [Selection::Traverse { path, skip: false, select, .. }] => path == "view" && select.is_empty(),
            _ => false,
        }
    }
}
