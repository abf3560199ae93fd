//! Properties of the service's own objects: content, sessions, tasks, views, options.

use super::super::browse;
use super::super::fault::{Fault, entity};
use super::super::session::Session;
use super::super::value::{Obj, Ref, Val, member, mo, obj, objs, refs, strings, time};
use super::Scope;
use crate::world::{Task, TaskState};

pub const API_VERSION: &str = "8.0.3.0";

/// What MTV asks for before it calls a provider fit.
pub(super) const PRIVILEGES: &[&str] = &[
    "System.Anonymous",
    "System.Read",
    "System.View",
    "VirtualMachine.State.CreateSnapshot",
    "VirtualMachine.State.RemoveSnapshot",
    "VirtualMachine.Interact.PowerOn",
    "VirtualMachine.Interact.PowerOff",
    "VirtualMachine.Provisioning.DiskRandomRead",
    "VirtualMachine.Provisioning.GetVmFiles",
    "VirtualMachine.Config.ChangeTracking",
    "Datastore.Browse",
    "Datastore.FileManagement",
];

/// Well-known objects in the order of `ServiceContent`: member, type, id.
const MANAGERS: &[(&str, &str, &str)] = &[
    ("setting", "OptionManager", "VpxSettings"),
    ("sessionManager", "SessionManager", "SessionManager"),
    ("authorizationManager", "AuthorizationManager", "AuthorizationManager"),
    ("perfManager", "PerformanceManager", "PerfMgr"),
    ("eventManager", "EventManager", "EventManager"),
    ("taskManager", "TaskManager", "TaskManager"),
    ("extensionManager", "ExtensionManager", "ExtensionManager"),
    ("customFieldsManager", "CustomFieldsManager", "CustomFieldsManager"),
    ("diagnosticManager", "DiagnosticManager", "DiagMgr"),
    ("licenseManager", "LicenseManager", "LicenseManager"),
    ("searchIndex", "SearchIndex", "SearchIndex"),
    ("fileManager", "FileManager", "FileManager"),
    ("virtualDiskManager", "VirtualDiskManager", "virtualDiskManager"),
    ("guestOperationsManager", "GuestOperationsManager", "guestOperationsManager"),
];

pub fn service_ref(kind: &str) -> Ref {
    MANAGERS.iter().find(|(_, known, _)| *known == kind).map_or_else(|| mo(kind, kind), |(_, kind, id)| mo(kind, id))
}

/// `instance`: empty of a host alone.
pub fn about(instance: &str) -> Obj {
    let alone = instance.is_empty();
    let (name, product, kind) = match alone {
        true => ("VMware ESXi", "embeddedEsx", "HostAgent"),
        false => ("VMware vCenter Server", "vpx", "VirtualCenter"),
    };
    let about = obj("AboutInfo")
        .set("name", name)
        .set("fullName", format!("{name} 8.0.3 build-24322831"))
        .set("vendor", "VMware, Inc.")
        .set("version", "8.0.3")
        .set("build", "24322831")
        .set("localeVersion", "INTL")
        .set("localeBuild", "000")
        .set("osType", if alone { "vmnix-x86" } else { "linux-x64" })
        .set("productLineId", product)
        .set("apiType", kind)
        .set("apiVersion", API_VERSION);
    let about = if alone { about } else { about.set("instanceUuid", instance) };
    about
        .set("licenseProductName", if alone { "VMware ESX Server" } else { "VMware VirtualCenter Server" })
        .set("licenseProductVersion", "8.0")
}

pub fn content(instance: &str) -> Obj {
    let head = obj("ServiceContent")
        .set("rootFolder", mo("Folder", "group-d1"))
        .set("propertyCollector", mo("PropertyCollector", "propertyCollector"))
        .set("viewManager", mo("ViewManager", "ViewManager"))
        .set("about", about(instance));
    MANAGERS.iter().fold(head, |content, (name, kind, id)| content.set(name, mo(kind, id)))
}

pub fn user_session(session: &Session) -> Obj {
    obj("UserSession")
        .set("key", &session.key)
        .set("userName", &session.user)
        .set("fullName", "Administrator vsphere.local")
        .set("loginTime", time(&session.login_time))
        .set("lastActiveTime", time(&session.login_time))
        .set("locale", "en")
        .set("messageLocale", "en")
        .set("extensionSession", false)
        .set("ipAddress", "127.0.0.1")
        .set("userAgent", "")
        .set("callCount", 0_i64)
}

/// How many tasks vCenter calls recent at most, and how long one that is over.
const RECENT_TASKS: usize = 200;
const RECENT: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);

/// Of each operation that is a task: its description's id, and what vSphere's client calls it.
const DESCRIPTIONS: &[(&str, &str, &str)] = &[
    ("CloneVM_Task", "VirtualMachine.clone", "Clone virtual machine"),
    ("ReconfigVM_Task", "VirtualMachine.reconfigure", "Reconfigure virtual machine"),
    ("PowerOnVM_Task", "VirtualMachine.powerOn", "Power On virtual machine"),
    ("PowerOffVM_Task", "VirtualMachine.powerOff", "Power Off virtual machine"),
    ("CreateSnapshot_Task", "VirtualMachine.createSnapshot", "Create virtual machine snapshot"),
    ("RemoveSnapshot_Task", "vm.Snapshot.remove", "Remove snapshot"),
    ("RemoveAllSnapshots_Task", "VirtualMachine.removeAllSnapshots", "Remove all snapshots"),
    ("Rename_Task", "ManagedEntity.rename", "Rename entity"),
    ("ResetVM_Task", "VirtualMachine.reset", "Reset virtual machine"),
    ("RelocateVM_Task", "VirtualMachine.relocate", "Relocate virtual machine"),
    ("CreateVM_Task", "Folder.createVm", "Create virtual machine"),
    ("MoveIntoFolder_Task", "Folder.moveInto", "Move entities"),
    ("UnregisterAndDestroy_Task", "Folder.unregisterAndDestroy", "Unregister and Delete"),
    ("SuspendVM_Task", "VirtualMachine.suspend", "Suspend virtual machine"),
    ("RevertToSnapshot_Task", "vm.Snapshot.revert", "Revert snapshot"),
    ("RevertToCurrentSnapshot_Task", "VirtualMachine.revertToCurrentSnapshot", "Revert to current snapshot"),
    ("SearchDatastore_Task", "host.DatastoreBrowser.search", "Search datastore"),
    ("SearchDatastoreSubFolders_Task", "host.DatastoreBrowser.searchSubFolders", "Search datastore"),
    ("ReconfigureComputeResource_Task", "ComputeResource.reconfigureEx", "Reconfigure cluster"),
    ("Destroy_Task", "ManagedEntity.destroy", "Delete entity"),
];

/// `TaskInfo`, always whole.
pub fn task_info(task: &Task) -> Obj {
    let (state, result, error) = match &task.state {
        TaskState::Queued => ("queued", None, None),
        TaskState::Running => ("running", None, None),
        TaskState::Success(_) if !task.found.is_empty() => {
            let deep = task.operation == "SearchDatastoreSubFolders_Task";
            ("success", Some(browse::result(&task.found, deep)), None)
        }
        TaskState::Success(made) => ("success", made.as_ref().map(|(kind, id)| Val::Ref(entity(*kind, id))), None),
        TaskState::Error(error) => ("error", None, Some(Fault::from(error.clone()).localized())),
    };
    let known = DESCRIPTIONS.iter().find(|(operation, ..)| *operation == task.operation);
    let description = known.map_or("ManagedEntity.destroy", |(_, description, _)| description);
    let info = obj("TaskInfo")
        .set("key", &task.id)
        .set("task", mo("Task", &task.id))
        .set("name", task.operation)
        .set("descriptionId", description)
        .set("entity", entity(task.entity.0, &task.entity.1))
        .set("entityName", &task.entity_name)
        .set("state", member("TaskInfoState", state))
        .set("cancelled", task.cancelled)
        .set("cancelable", task.cancelable && !task.is_over())
        .opt("error", error);
    let info = match result {
        Some(result) => info.any("result", result),
        None => info,
    };
    info.opt("progress", task.progress.filter(|_| !task.is_over()).map(i32::from))
        .set("reason", obj("TaskReasonUser").set("userName", &task.user))
        .set("queueTime", time(&task.queued))
        .opt("startTime", task.started.as_ref().map(|at| time(at)))
        .opt("completeTime", task.completed.as_ref().map(|at| time(at)))
        .set("eventChainId", task.id.rsplit('-').next().and_then(|tail| tail.parse::<i32>().ok()).unwrap_or(1))
}

/// The few options that clients read.
pub fn settings() -> Vec<(&'static str, &'static str)> {
    vec![("VirtualCenter.InstanceName", "vcenter.lab.example"), ("config.vpxd.hostnameUrl", "vcenter.lab.example")]
}

pub fn option_values(options: Vec<(&'static str, &'static str)>) -> Val {
    objs("OptionValue", options.into_iter().map(|(key, value)| obj("OptionValue").set("key", key).any("value", value)))
}

pub(super) fn property(scope: &Scope<'_>, object: &Ref, name: &str) -> Option<Val> {
    let state = scope.state;
    Some(match (object.kind.as_str(), name) {
        ("Task", "info") => task_info(state.tasks.get(&object.id)?).into(),
        ("TaskManager", "recentTask") => {
            let since = jiff::Timestamp::now() - RECENT;
            let at = |task: &Task| task.completed.as_ref().and_then(|at| at.parse::<jiff::Timestamp>().ok());
            let recent = |task: &&Task| !task.is_over() || at(task).is_none_or(|at| at > since);
            let mut all: Vec<&Task> = state.tasks.values().filter(recent).collect();
            all.sort_by(|a, b| (&a.queued, &a.id).cmp(&(&b.queued, &b.id)));
            let older = all.len().saturating_sub(RECENT_TASKS);
            refs(all.into_iter().skip(older).map(|task| mo("Task", &task.id)))
        }
        ("TaskManager" | "EventManager", "maxCollector") => 32.into(),
        ("EventHistoryCollector" | "TaskHistoryCollector", "latestPage") => {
            super::super::histories::latest_page(scope, scope.session?.histories.get(&object.id)?)
        }
        ("TaskManager", "description") => {
            let told = DESCRIPTIONS.iter().map(|(_, key, label)| {
                obj("ElementDescription").set("label", *label).set("summary", *label).set("key", *key)
            });
            obj("TaskDescription").set("methodInfo", objs("ElementDescription", told)).into()
        }
        ("ServiceInstance", "content") => content(scope.instance).into(),
        ("ServiceInstance", "serverClock") => time(&jiff::Timestamp::now().to_string()),
        ("ServiceInstance", "capability") => {
            obj("Capability").set("provisioningSupported", true).set("multiHostSupported", true).into()
        }
        ("SessionManager", "currentSession") => user_session(scope.session?).into(),
        ("SessionManager", "sessionList") => objs("UserSession", [user_session(scope.session?)]),
        ("SessionManager", "defaultLocale") => "en".into(),
        ("AuthorizationManager", "privilegeList") => {
            let privilege = |id: &&str| {
                obj("AuthorizationPrivilege")
                    .set("privId", *id)
                    .set("onParent", false)
                    .set("name", id.rsplit('.').next().unwrap_or(id))
                    .set("privGroupName", id.rsplit_once('.').map_or(*id, |(group, _)| group))
            };
            objs("AuthorizationPrivilege", PRIVILEGES.iter().map(privilege))
        }
        ("AuthorizationManager", "roleList") => return super::managers::property(scope, object, name),
        ("AuthorizationManager", "description") => obj("AuthorizationDescription").into(),
        ("OptionManager", "setting") => option_values(if object.id == "VpxSettings" { settings() } else { Vec::new() }),
        ("CustomFieldsManager", "field") => Val::Array("CustomFieldDef", Vec::new()),
        ("ExtensionManager", "extensionList") => Val::Array("Extension", Vec::new()),
        ("GuestOperationsManager", "processManager") => {
            mo("GuestProcessManager", "guestOperationsProcessManager").into()
        }
        ("ContainerView", "container") => scope.session?.views.get(&object.id)?.container.clone().into(),
        ("ContainerView", "recursive") => scope.session?.views.get(&object.id)?.recursive.into(),
        ("ContainerView", "type") => strings(scope.session?.views.get(&object.id)?.kinds.iter().cloned()),
        ("ContainerView" | "ListView", "view") => refs(scope.session?.views.get(&object.id)?.members(scope)),
        _ => return None,
    })
}
