//! The world as a tree of managed objects with properties.

use super::collector::Values;
use super::fault::{Fault, invalid_property, object_gone};
use super::session::Session;
use super::value::{Ref, Val};
use crate::world::State;

mod device;
mod host;
mod infra;
pub mod managers;
mod service;
mod snapshot;
mod store;
mod vm;

pub use service::{API_VERSION, content, option_values, service_ref, settings, task_info, user_session};

/// What properties are computed from.
pub struct Scope<'a> {
    pub state: &'a State,
    pub session: Option<&'a Session>,
    /// Stable id of this vCenter.
    pub instance: &'a str,
}

const ENTITY: &[&str] = &[
    "value",
    "availableField",
    "parent",
    "customValue",
    "overallStatus",
    "configStatus",
    "configIssue",
    "effectiveRole",
    "permission",
    "name",
    "disabledMethod",
    "recentTask",
    "declaredAlarmState",
    "triggeredAlarmState",
    "alarmActionsEnabled",
    "tag",
];

/// The kinds above a kind, nearest first.
fn bases(kind: &str) -> &'static [&'static str] {
    match kind {
        "ClusterComputeResource" => &["ComputeResource", "ManagedEntity", "ExtensibleManagedObject"],
        "DistributedVirtualPortgroup" => &["Network", "ManagedEntity", "ExtensibleManagedObject"],
        "VmwareDistributedVirtualSwitch" => &["DistributedVirtualSwitch", "ManagedEntity", "ExtensibleManagedObject"],
        "VirtualMachine" | "Folder" | "Datacenter" | "ComputeResource" | "HostSystem" | "ResourcePool" | "Network"
        | "Datastore" => &["ManagedEntity", "ExtensibleManagedObject"],
        "VirtualMachineSnapshot" | "Task" => &["ExtensibleManagedObject"],
        "ContainerView" | "ListView" => &["ManagedObjectView", "View"],
        _ => &[],
    }
}

/// Is `kind` a `wanted`?
pub fn is_a(kind: &str, wanted: &str) -> bool {
    kind == wanted || wanted == "ManagedObject" || bases(kind).contains(&wanted)
}

fn own_names(kind: &str) -> &'static [&'static str] {
    match kind {
        "VirtualMachine" => &[
            "capability",
            "config",
            "layout",
            "layoutEx",
            "storage",
            "environmentBrowser",
            "resourcePool",
            "parentVApp",
            "resourceConfig",
            "runtime",
            "guest",
            "summary",
            "datastore",
            "network",
            "snapshot",
            "rootSnapshot",
            "guestHeartbeatStatus",
        ],
        "VirtualMachineSnapshot" => &["config", "childSnapshot", "vm"],
        "Folder" => &["childType", "childEntity", "namespace"],
        "Datacenter" => {
            &["vmFolder", "hostFolder", "datastoreFolder", "networkFolder", "datastore", "network", "configuration"]
        }
        "ClusterComputeResource" => &[
            "configuration",
            "recommendation",
            "drsRecommendation",
            "summaryEx",
            "hciConfig",
            "migrationHistory",
            "actionHistory",
            "drsFault",
        ],
        "ComputeResource" => &[
            "resourcePool",
            "host",
            "datastore",
            "network",
            "summary",
            "environmentBrowser",
            "configurationEx",
            "lifecycleManaged",
            "configManagerEnabled",
        ],
        "HostSystem" => &[
            "runtime",
            "summary",
            "hardware",
            "capability",
            "licensableResource",
            "configManager",
            "config",
            "vm",
            "datastore",
            "network",
            "datastoreBrowser",
            "systemResources",
            "remediationState",
            "precheckRemediationResult",
            "remediationResult",
            "complianceCheckState",
            "complianceCheckResult",
            "answerFileValidationState",
            "answerFileValidationResult",
        ],
        "ResourcePool" => {
            &["summary", "runtime", "owner", "resourcePool", "vm", "config", "namespace", "childConfiguration"]
        }
        "Datastore" => &["info", "summary", "host", "vm", "browser", "capability", "iormConfiguration"],
        "Network" => &["summary", "host", "vm"],
        "DistributedVirtualPortgroup" => &["key", "config", "portKeys"],
        "DistributedVirtualSwitch" => {
            &["uuid", "capability", "summary", "config", "networkResourcePool", "portgroup", "runtime"]
        }
        "Task" => &["info"],
        "ServiceInstance" => &["serverClock", "capability", "content"],
        "TaskManager" => &["recentTask", "description", "maxCollector"],
        "View" => &["view"],
        "ContainerView" => &["container", "type", "recursive"],
        "SessionManager" => {
            &["sessionList", "currentSession", "message", "messageLocaleList", "supportedLocaleList", "defaultLocale"]
        }
        "AuthorizationManager" => &["privilegeList", "roleList", "description"],
        "PerformanceManager" => &["description", "historicalInterval", "perfCounter"],
        "LicenseManager" => &[
            "source",
            "sourceAvailable",
            "diagnostics",
            "featureInfo",
            "licensedEdition",
            "licenses",
            "licenseAssignmentManager",
            "evaluation",
        ],
        "OptionManager" => &["supportedOption", "setting"],
        "CustomFieldsManager" => &["field"],
        "ExtensionManager" => &["extensionList"],
        "ViewManager" => &["viewList"],
        "PropertyCollector" => &["filter"],
        "EventManager" => &["description", "latestEvent", "maxCollector"],
        "EventHistoryCollector" | "TaskHistoryCollector" => &["filter", "latestPage"],
        "HostDatastoreBrowser" => &["datastore", "supportedType"],
        "HostStorageSystem" => &["storageDeviceInfo", "fileSystemVolumeInfo", "systemFile", "multipathStateInfo"],
        "HostVirtualNicManager" => &["info"],
        "GuestOperationsManager" => &["authManager", "fileManager", "processManager"],
        "ManagedEntity" => ENTITY,
        _ => &[],
    }
}

/// Every property that an object of this kind may have.
pub fn names(kind: &str) -> impl Iterator<Item = &'static str> {
    std::iter::once(own_names(kind)).chain(bases(kind).iter().map(|base| own_names(base))).flatten().copied()
}

impl Scope<'_> {
    /// Is there such an object?
    pub fn exists(&self, object: &Ref) -> bool {
        let id = object.id.as_str();
        let state = self.state;
        match object.kind.as_str() {
            "VirtualMachine" => state.vms.contains_key(id),
            "VirtualMachineSnapshot" => state.snapshot(id).is_some(),
            "Task" => state.tasks.contains_key(id),
            "Folder" => state.folders.contains_key(id),
            "Datacenter" => state.datacenter.0 == id,
            "ClusterComputeResource" | "ComputeResource" => state.cluster.id == id,
            "HostSystem" => state.hosts.iter().any(|host| host.id == id),
            "ResourcePool" => state.pools.iter().any(|pool| pool.id == id),
            "Datastore" => state.datastore(id).is_some(),
            "Network" | "DistributedVirtualPortgroup" => state.network(id).is_some(),
            "VmwareDistributedVirtualSwitch" | "DistributedVirtualSwitch" => state.switch.0 == id,
            "ContainerView" | "ListView" => self.session.is_some_and(|session| session.views.contains_key(id)),
            "EventHistoryCollector" | "TaskHistoryCollector" => {
                self.session.is_some_and(|session| session.histories.contains_key(id))
            }
            "HostStorageSystem" | "HostVirtualNicManager" => host::whose(state, object).is_some(),
            "PropertyCollector" => {
                id == "propertyCollector" || self.session.is_some_and(|session| session.collectors.contains_key(id))
            }
            _ => true,
        }
    }

    /// A property of the object itself; `None` is unset.
    fn own(&self, object: &Ref, name: &str) -> Option<Val> {
        match object.kind.as_str() {
            "VirtualMachine" => vm::property(self, &object.id, name),
            "VirtualMachineSnapshot" => snapshot::property(self, &object.id, name),
            "Task"
            | "ServiceInstance"
            | "TaskManager"
            | "ContainerView"
            | "ListView"
            | "SessionManager"
            | "AuthorizationManager"
            | "OptionManager"
            | "CustomFieldsManager"
            | "ExtensionManager"
            | "ViewManager"
            | "EventManager"
            | "EventHistoryCollector"
            | "TaskHistoryCollector"
            | "GuestOperationsManager"
            | "PropertyCollector" => service::property(self, object, name),
            "PerformanceManager" | "LicenseManager" => managers::property(self, object, name),
            _ => infra::property(self, object, name),
        }
    }

    /// The XML of several values of one object; what they have in common is computed once.
    pub fn xml(&self, object: &Ref, paths: &[String]) -> Result<Values, Fault> {
        if !self.exists(object) {
            return Err(object_gone(object.clone()));
        }
        // So few that looking through them is cheaper than a map.
        let mut roots: Vec<(&str, Option<Val>)> = Vec::new();
        let mut values = Values::with_capacity(paths.len());
        for path in paths {
            let (root, key, rest) = parts(path);
            if !roots.iter().any(|(known, _)| *known == root) {
                if !names(&object.kind).any(|known| known == root) {
                    return Err(invalid_property(path));
                }
                roots.push((root, self.own(object, root)));
            }
            let value = roots.iter().find(|(known, _)| *known == root).and_then(|(_, value)| value.as_ref());
            let xml = value.and_then(|value| at(value, key, rest)).map(|value| {
                let mut xml = String::new();
                value.typed_xml("val", &mut xml);
                xml
            });
            values.push((path.clone(), xml));
        }
        Ok(values)
    }

    /// The value at a dotted path; unset is `None`, a first segment that the kind does not have is a
    /// fault.
    pub fn get(&self, object: &Ref, path: &str) -> Result<Option<Val>, Fault> {
        if !self.exists(object) {
            return Err(object_gone(object.clone()));
        }
        let (root, key, rest) = parts(path);
        if !names(&object.kind).any(|known| known == root) {
            return Err(invalid_property(path));
        }
        let Some(value) = self.own(object, root) else { return Ok(None) };
        if key.is_none() && rest.is_empty() {
            return Ok(Some(value));
        }
        Ok(at(&value, key, rest).cloned())
    }
}

/// Name, key in brackets, and what follows the dot.
fn parts(path: &str) -> (&str, Option<&str>, &str) {
    let (segment, rest) = super::value::split(path);
    match segment.split_once('[') {
        Some((root, key)) => (root, Some(key.trim_end_matches(']').trim_matches('"')), rest),
        None => (segment, None, rest),
    }
}

/// The part of a property's value that a path means.
fn at<'v>(value: &'v Val, key: Option<&str>, rest: &str) -> Option<&'v Val> {
    match key {
        Some(key) => value.keyed(key).and_then(|element| element.at(rest)),
        None if rest.is_empty() => Some(value),
        None => value.at(rest),
    }
}
