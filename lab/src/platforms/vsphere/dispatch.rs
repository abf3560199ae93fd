//! From a method's name to what answers it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::VsphereOptions;
use super::fault::{Fault, fault, invalid_argument, invalid_login, not_authenticated, object_gone};
use super::session::{Session, View, below, reference};
use super::tree::{Scope, content, managers, option_values, service_ref, settings, user_session};
use super::value::{Ref, Val, mo, time};
use super::xml::Node;
use crate::levers::Lever;
use crate::world::{State, World};

/// What the endpoint keeps beside the world.
pub struct Service {
    pub world: Arc<World>,
    pub options: VsphereOptions,
    pub stop: CancellationToken,
    pub tasks: TaskTracker,
    pub instance: String,
    sessions: Mutex<HashMap<String, Session>>,
    pub(super) processes: super::guest::Processes,
}

/// The inside of a response.
#[derive(Debug, Default)]
pub struct Answer {
    pub xml: String,
    /// A session that this call opened.
    pub session: Option<String>,
}

impl From<Val> for Answer {
    fn from(value: Val) -> Self {
        Self { xml: value.result_xml(), session: None }
    }
}

impl From<Option<Ref>> for Answer {
    fn from(value: Option<Ref>) -> Self {
        value.map(|reference| Val::Ref(reference).into()).unwrap_or_default()
    }
}

/// Inside of a `returnval` that was rendered already.
pub fn returnval(xml: &str) -> Answer {
    Answer { xml: format!("<returnval>{xml}</returnval>"), session: None }
}

pub fn this(method: &Node) -> Ref {
    method.child("_this").map(reference).unwrap_or_else(|| mo("", ""))
}

impl Service {
    pub fn new(world: Arc<World>, options: VsphereOptions, stop: CancellationToken, tasks: TaskTracker) -> Self {
        let instance = uuid::Uuid::new_v4().to_string();
        Self { world, options, stop, tasks, instance, sessions: Mutex::default(), processes: Default::default() }
    }

    /// A host alone has no id of its own.
    fn told_instance(&self) -> &str {
        if self.options.agent.is_some() { "" } else { &self.instance }
    }

    pub fn accepts(&self, user: &str, password: &str) -> bool {
        let right = user.eq_ignore_ascii_case(&self.options.username) && password == self.options.password;
        right && !self.options.levers.is_pulled(Lever::SourceLogin)
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on a session; the sessions' lock is always taken before the world's.
    pub fn with_session<T>(&self, key: &str, act: impl FnOnce(&mut Session) -> Result<T, Fault>) -> Result<T, Fault> {
        let mut sessions = self.sessions();
        let session = sessions.get_mut(key).ok_or_else(|| not_authenticated(&service_ref("SessionManager")))?;
        act(session)
    }

    /// Reads the tree as this session sees it.
    pub fn with_scope<T>(&self, key: &str, look: impl FnOnce(&Scope<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
        self.with_session(key, |session| self.scoped(session, look))
    }

    pub fn scoped<T>(&self, session: &Session, look: impl FnOnce(&Scope<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
        self.world.read(|state| match &self.options.agent {
            None => look(&Scope { state, session: Some(session), instance: &self.instance }),
            Some(agent) => look(&Scope { state: &agent.of(state), session: Some(session), instance: "" }),
        })
    }

    /// Answers one call.
    pub async fn call(self: &Arc<Self>, cookie: Option<String>, method: &Node) -> Result<Answer, Fault> {
        if self.options.levers.is_pulled(Lever::SourceLogin) {
            for (_, session) in self.sessions().drain() {
                session.ended.send_replace(true);
            }
        }
        let cookie = cookie.filter(|key| self.sessions().contains_key(key));
        match method.name.as_str() {
            "RetrieveServiceContent" => return Ok(Val::Obj(content(self.told_instance())).into()),
            "Login" => return self.login(cookie, method),
            "CurrentTime" => return Ok(time(&jiff::Timestamp::now().to_string()).into()),
            _ => {}
        }
        let key = cookie.ok_or_else(|| not_authenticated(&this(method)))?;
        match method.name.as_str() {
            "WaitForUpdatesEx" | "WaitForUpdates" | "CheckForUpdates" => self.wait_for_updates(&key, method).await,
            "Logout" => {
                if let Some(session) = self.sessions().remove(&key) {
                    session.ended.send_replace(true);
                }
                Ok(Answer::default())
            }
            "SessionIsActive" => {
                let (id, user) = (method.text("sessionID").unwrap_or_default(), method.text("userName"));
                let active = self
                    .sessions()
                    .get(id)
                    .is_some_and(|session| user.is_some_and(|user| session.user.eq_ignore_ascii_case(user)));
                Ok(Val::Bool(active).into())
            }
            "CreateContainerView" | "CreateListView" => self.create_view(&key, method),
            "DestroyView" => {
                let view = this(method);
                let gone = self.with_session(&key, |session| Ok(session.views.remove(&view.id)))?;
                gone.map(|_| Answer::default()).ok_or_else(|| object_gone(view))
            }
            "FindByInventoryPath" | "FindByUuid" | "FindAllByUuid" | "FindChild" | "FindByIp" | "FindByDnsName" => {
                self.with_scope(&key, |scope| search(scope, method))
            }
            "CloneVM_Task" | "CreateFolder" | "RelocateVM_Task" if self.options.agent.is_some() => {
                Err(fault("NotSupported", "The operation is not supported on the object."))
            }
            "StartProgramInGuest" | "ListProcessesInGuest" => self.in_guest(method),
            "QueryOptions" => query_options(method),
            "HasPrivilegeOnEntity" => {
                let granted = method.all("privId").map(|_| Val::Bool(true)).collect();
                Ok(Val::Array("boolean", granted).into())
            }
            name if managers::METHODS.contains(&name) => {
                self.with_scope(&key, |scope| managers::answer(scope, method)).map(Answer::from)
            }
            name if super::collect::METHODS.contains(&name) => self.collect(&key, method),
            name if super::histories::METHODS.contains(&name) => self.histories(&key, method),
            _ => self.operate(&key, method),
        }
    }

    fn login(&self, cookie: Option<String>, method: &Node) -> Result<Answer, Fault> {
        let user = method.text("userName").unwrap_or_default();
        // The password may have blanks at its ends.
        let password = method.child("password").map_or("", |node| node.text.as_str());
        if cookie.is_some() || !self.accepts(user, password) {
            return Err(invalid_login());
        }
        let session = Session::new(user);
        let mut answer: Answer = Val::Obj(user_session(&session)).into();
        answer.session = Some(session.key.clone());
        self.sessions().insert(session.key.clone(), session);
        Ok(answer)
    }

    fn create_view(&self, key: &str, method: &Node) -> Result<Answer, Fault> {
        let listed = method.name == "CreateListView";
        let container = match method.child("container").map(reference) {
            Some(container) => container,
            None if listed => mo("Folder", "group-d1"),
            None => return Err(invalid_argument("container")),
        };
        let view = View {
            container: container.clone(),
            kinds: method.all("type").map(|kind| kind.text.trim().to_owned()).collect(),
            recursive: method.flag("recursive").unwrap_or(false),
            list: listed.then(|| method.all("obj").map(reference).collect()),
        };
        self.with_session(key, |session| {
            self.scoped(session, |scope| if scope.exists(&container) { Ok(()) } else { Err(object_gone(container)) })?;
            let id = session.fresh_id();
            session.views.insert(id.clone(), view);
            Ok(Val::Ref(mo(if listed { "ListView" } else { "ContainerView" }, &id)).into())
        })
    }
}

fn query_options(method: &Node) -> Result<Answer, Fault> {
    let wanted = method.text("name").unwrap_or_default();
    let matches = |key: &str| wanted.is_empty() || key == wanted || (wanted.ends_with('.') && key.starts_with(wanted));
    let found: Vec<_> = settings().into_iter().filter(|(key, _)| matches(key)).collect();
    if found.is_empty() {
        let mut refused = fault("InvalidName", "A specified name is invalid.");
        refused.detail = refused.detail.set("name", wanted);
        return Err(refused);
    }
    Ok(option_values(found).into())
}

fn vm_ref(id: &str) -> Ref {
    mo("VirtualMachine", id)
}

fn search(scope: &Scope<'_>, method: &Node) -> Result<Answer, Fault> {
    let state: &State = scope.state;
    match method.name.as_str() {
        "FindByInventoryPath" => {
            let path = method.text("inventoryPath").unwrap_or_default();
            let mut at = mo("Folder", "group-d1");
            for segment in path.split('/').filter(|segment| !segment.is_empty()) {
                match child_named(scope, &at, segment) {
                    Some(next) => at = next,
                    None => return Ok(Answer::default()),
                }
            }
            Ok(Some(at).into())
        }
        "FindChild" => {
            let entity = method.child("entity").map(reference).ok_or_else(|| invalid_argument("entity"))?;
            if !scope.exists(&entity) {
                return Err(object_gone(entity));
            }
            Ok(child_named(scope, &entity, method.text("name").unwrap_or_default()).into())
        }
        "FindByIp" => {
            let wanted = method.text("ip").unwrap_or_default();
            let has = |nic: &crate::world::Nic| {
                nic.connected && nic.addresses().iter().any(|(address, _)| address.to_string() == wanted)
            };
            let found = state.vms.values().find(|vm| vm.tools_running && vm.nics.iter().any(has));
            Ok(found.map(|vm| vm_ref(&vm.id)).into())
        }
        "FindByDnsName" => {
            let wanted = method.text("dnsName").unwrap_or_default();
            let found = state.vms.values().find(|vm| vm.tools_running && vm.os.hostname == wanted);
            Ok(found.map(|vm| vm_ref(&vm.id)).into())
        }
        _ => {
            let wanted = method.text("uuid").unwrap_or_default();
            let by_instance = method.flag("instanceUuid").unwrap_or(false);
            if method.flag("vmSearch") == Some(false) {
                return Ok(Answer::default());
            }
            let mut found = state.vms.values().filter(|vm| {
                let own = if by_instance { &vm.instance_uuid } else { &vm.uuid };
                own.eq_ignore_ascii_case(wanted)
            });
            if method.name == "FindByUuid" {
                return Ok(found.next().map(|vm| vm_ref(&vm.id)).into());
            }
            Ok(Val::Array("ManagedObjectReference", found.map(|vm| Val::Ref(vm_ref(&vm.id))).collect()).into())
        }
    }
}

fn child_named(scope: &Scope<'_>, object: &Ref, name: &str) -> Option<Ref> {
    below(scope, object)
        .into_iter()
        .find(|child| matches!(scope.get(child, "name"), Ok(Some(Val::Str(known))) if known == name))
}
