//! What is done to folders: VMs and folders made in them, moved into them, and they themselves renamed and removed.

use std::sync::Arc;

use super::dispatch::{Answer, Service};
use super::fault::{Fault, invalid_argument};
use super::operations::RECONFIGURE;
use super::session::reference;
use super::spec::creation;
use super::value::{Val, mo};
use super::xml::Node;
use crate::world::{CreateOrder, EntityKind, State, WorldError};

pub const METHODS: &[&str] = &[
    "CreateVM_Task",
    "CreateFolder",
    "MoveIntoFolder_Task",
    "Rename_Task",
    "Destroy_Task",
    "UnregisterAndDestroy_Task",
];

impl Service {
    pub(super) fn folder(self: &Arc<Self>, id: &str, method: &Node, user: &str) -> Result<Answer, Fault> {
        let named = |name: &str| method.string(name).ok_or_else(|| invalid_argument(name));
        Ok(match method.name.as_str() {
            "CreateVM_Task" => {
                let order = self.world.read(|state| creation(state, id, method))?;
                self.create(order, user)
            }
            "CreateFolder" => {
                let name = named("name")?;
                let made = self.world.change(|state| state.create_folder(id, &name))?;
                Val::Ref(mo("Folder", &made)).into()
            }
            "MoveIntoFolder_Task" => {
                let moved: Vec<String> = method.all("list").map(|node| reference(node).id).collect();
                self.on_folder("MoveIntoFolder_Task", id, user, move |state, folder| state.move_into(folder, &moved))
            }
            "Rename_Task" => {
                let name = named("newName")?;
                self.on_folder("Rename_Task", id, user, move |state, folder| state.rename(folder, &name))
            }
            name => {
                let whole = if name == "Destroy_Task" { "Destroy_Task" } else { "UnregisterAndDestroy_Task" };
                self.on_folder(whole, id, user, State::destroy_folder)
            }
        })
    }

    fn create(self: &Arc<Self>, order: CreateOrder, user: &str) -> Answer {
        let task = self.world.change(|state| {
            let id = state.open_on("CreateVM_Task", (EntityKind::Folder, &order.folder), user);
            if let Err(error) = state.check_create(&order) {
                state.close_task(&id, Err(error));
            }
            id
        });
        let (service, id) = (self.clone(), task.clone());
        self.tasks.spawn(async move {
            if !service.pass(RECONFIGURE).await {
                return;
            }
            service.world.change(|state| {
                if state.tasks.get(&id).is_some_and(|task| !task.is_over()) {
                    let made = state.create_vm(&order);
                    state.close_task(&id, made.map(|vm| Some((EntityKind::Vm, vm))));
                }
            });
        });
        Val::Ref(mo("Task", &task)).into()
    }

    /// A task on a folder: what is refused is refused at its end.
    fn on_folder(
        self: &Arc<Self>,
        operation: &'static str,
        folder: &str,
        user: &str,
        act: impl FnOnce(&mut State, &str) -> Result<(), WorldError> + Send + 'static,
    ) -> Answer {
        let task = self.world.change(|state| state.open_on(operation, (EntityKind::Folder, folder), user));
        let (service, id, folder) = (self.clone(), task.clone(), folder.to_owned());
        self.tasks.spawn(async move {
            if service.pass(RECONFIGURE).await {
                service.world.change(|state| {
                    let done = act(state, &folder);
                    state.close_task(&id, done.map(|()| None));
                });
            }
        });
        Val::Ref(mo("Task", &task)).into()
    }
}
