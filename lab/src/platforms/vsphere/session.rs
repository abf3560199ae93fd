//! Sessions and what they own: views, collectors, filters. All of it ends with the session.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use tokio::sync::watch;

use super::collector::Collector;
use super::histories::History;
use super::tree::{Scope, is_a};
use super::value::{Ref, mo};

/// One login.
pub struct Session {
    pub key: String,
    pub user: String,
    pub login_time: String,
    pub views: BTreeMap<String, View>,
    pub collectors: BTreeMap<String, Collector>,
    pub histories: BTreeMap<String, History>,
    /// Fires when the session ends.
    pub ended: Arc<watch::Sender<bool>>,
    last_id: u64,
}

impl Session {
    pub fn new(user: &str) -> Self {
        Self {
            key: uuid::Uuid::new_v4().to_string(),
            user: user.to_owned(),
            login_time: jiff::Timestamp::now().to_string(),
            views: BTreeMap::new(),
            collectors: BTreeMap::from([("propertyCollector".to_owned(), Collector::default())]),
            histories: BTreeMap::new(),
            ended: Arc::new(watch::Sender::new(false)),
            last_id: 0,
        }
    }

    /// Id of an object that lives as long as the session.
    pub fn fresh_id(&mut self) -> String {
        self.last_id += 1;
        format!("session[{}]{}", self.key, uuid::Uuid::new_v4())
    }
}

/// A container view, or a list view when it has a fixed list.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    pub container: Ref,
    pub kinds: Vec<String>,
    pub recursive: bool,
    pub list: Option<Vec<Ref>>,
}

impl View {
    pub fn members(&self, scope: &Scope<'_>) -> Vec<Ref> {
        if let Some(list) = &self.list {
            return list.iter().filter(|object| scope.exists(object)).cloned().collect();
        }
        let mut found = HashSet::new();
        let mut waiting = below(scope, &self.container);
        while let Some(object) = waiting.pop() {
            if self.recursive && !found.contains(&object) {
                waiting.extend(below(scope, &object));
            }
            found.insert(object);
        }
        let mut found: Vec<Ref> = found.into_iter().filter(|object| self.wants(object)).collect();
        found.sort();
        found
    }

    pub fn wants(&self, object: &Ref) -> bool {
        self.kinds.is_empty() || self.kinds.iter().any(|kind| is_a(&object.kind, kind))
    }

    /// Whether a recursive view holds this VM: its container stands somewhere above it.
    pub fn holds(&self, scope: &Scope<'_>, vm: &Ref) -> bool {
        let Some(known) = scope.state.vms.get(&vm.id).filter(|_| self.wants(vm)) else { return false };
        let direct = [Some(known.host.as_str()), known.pool.as_deref()];
        if direct.contains(&Some(self.container.id.as_str())) {
            return true;
        }
        let mut at = known.folder.as_str();
        loop {
            if at == self.container.id {
                return true;
            }
            at = match scope.state.folders.get(at) {
                Some(folder) => match folder.parent.as_deref() {
                    Some(parent) => parent,
                    None => return false,
                },
                // The datacenter is below the root folder.
                None if at == scope.state.datacenter.0 => "group-d1",
                None => return false,
            };
        }
    }
}

/// Inventory objects directly below another.
pub fn below(scope: &Scope<'_>, object: &Ref) -> Vec<Ref> {
    let paths: &[&str] = match object.kind.as_str() {
        "Folder" => &["childEntity"],
        "Datacenter" => &["vmFolder", "hostFolder", "datastoreFolder", "networkFolder"],
        "ComputeResource" | "ClusterComputeResource" => &["host", "resourcePool"],
        "ResourcePool" => &["resourcePool", "vm"],
        "HostSystem" => &["vm"],
        _ => &[],
    };
    paths
        .iter()
        .filter_map(|path| scope.get(object, path).ok().flatten())
        .flat_map(|value| value.references())
        .collect()
}

/// A reference element of a request.
pub fn reference(node: &super::xml::Node) -> Ref {
    let kind = node.ref_type.clone().or_else(|| node.xsi_type.clone()).unwrap_or_default();
    mo(&kind, node.text.trim())
}
