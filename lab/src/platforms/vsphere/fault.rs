//! Faults: as SOAP answers and inside tasks.

use super::value::{Obj, Ref, member, mo, obj};
use crate::world::{EntityKind, WorldError};

/// A typed fault with its text.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    pub detail: Obj,
    pub text: String,
}

pub fn fault(kind: &'static str, text: impl Into<String>) -> Fault {
    Fault { detail: obj(kind), text: text.into() }
}

pub fn not_authenticated(object: &Ref) -> Fault {
    Fault {
        detail: obj("NotAuthenticated").set("object", object.clone()).set("privilegeId", "System.View"),
        text: "The session is not authenticated.".to_owned(),
    }
}

pub fn invalid_login() -> Fault {
    // MTV recognises a refused login by the words "incorrect" and "password".
    fault("InvalidLogin", "Cannot complete login due to an incorrect user name or password.")
}

pub fn object_gone(object: Ref) -> Fault {
    let text = format!(
        "The object 'vim.{}:{}' has already been deleted or has not been completely created",
        object.kind, object.id
    );
    Fault { detail: obj("ManagedObjectNotFound").set("obj", object), text }
}

pub fn invalid_argument(what: &str) -> Fault {
    Fault {
        detail: obj("InvalidArgument").set("invalidProperty", what),
        text: format!("A specified parameter was not correct: {what}"),
    }
}

pub fn invalid_property(name: &str) -> Fault {
    Fault { detail: obj("InvalidProperty").set("name", name), text: format!("Invalid property: {name}") }
}

impl Fault {
    /// The SOAP `Fault` element.
    pub fn xml(&self) -> String {
        let mut detail = String::new();
        let name = format!("{}Fault", self.detail.kind);
        super::value::Val::Obj(self.detail.clone()).typed_xml(&name, &mut detail);
        // The detail lives in vim25, the fault around it does not.
        let detail = detail.replacen(&format!("<{name}"), &format!("<{name} xmlns=\"urn:vim25\""), 1);
        format!(
            "<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>{}</faultstring>\
             <detail>{detail}</detail></soapenv:Fault>",
            super::xml::escape(&self.text)
        )
    }

    /// As data: `LocalizedMethodFault`.
    pub fn localized(&self) -> Obj {
        obj("LocalizedMethodFault").set("fault", self.detail.clone()).set("localizedMessage", self.text.as_str())
    }
}

/// The reference of a thing in the world.
pub fn entity(kind: EntityKind, id: &str) -> Ref {
    let name = match kind {
        EntityKind::Vm => "VirtualMachine",
        EntityKind::Snapshot => "VirtualMachineSnapshot",
        EntityKind::Folder => "Folder",
        EntityKind::Host => "HostSystem",
        EntityKind::Pool => "ResourcePool",
        EntityKind::Datastore => "Datastore",
        EntityKind::Network if id.starts_with("dvportgroup") => "DistributedVirtualPortgroup",
        EntityKind::Task => "Task",
        EntityKind::Network => "Network",
    };
    mo(name, id)
}

impl From<WorldError> for Fault {
    fn from(error: WorldError) -> Self {
        let text = error.to_string();
        let detail = match &error {
            WorldError::Gone { kind, id } => return object_gone(entity(*kind, id)),
            WorldError::NameTaken { name, id } => {
                let kind = if id.starts_with("group") { EntityKind::Folder } else { EntityKind::Vm };
                return Fault {
                    detail: obj("DuplicateName").set("name", name).set("object", entity(kind, id)),
                    text: format!("The name '{name}' already exists."),
                };
            }
            WorldError::BadName { name } => obj("InvalidName").set("name", name),
            WorldError::WrongPower { requested, existing, .. } => {
                return Fault {
                    detail: obj("InvalidPowerState")
                        .set("requestedState", member("VirtualMachinePowerState", requested))
                        .set("existingState", member("VirtualMachinePowerState", existing)),
                    text: format!(
                        "The attempted operation cannot be performed in the current state ({}).",
                        match *existing {
                            "poweredOn" => "Powered on",
                            "suspended" => "Suspended",
                            _ => "Powered off",
                        }
                    ),
                };
            }
            WorldError::Busy { task } => obj("TaskInProgress").set("task", mo("Task", task)),
            WorldError::NoTools { .. } => obj("ToolsUnavailable"),
            WorldError::BadArgument { what } => return invalid_argument(what),
            WorldError::BadDevice { index } => obj("InvalidDeviceSpec")
                .set("property", format!("virtualDeviceSpec.device[{index}]"))
                .set("deviceIndex", i32::try_from(*index).unwrap_or_default()),
            WorldError::BadState { .. } => obj("InvalidState"),
            WorldError::Canceled => obj("RequestCanceled"),
            WorldError::NoFile { path } => obj("FileNotFound").set("file", path),
            WorldError::NoSpace { datastore } => {
                obj("NoDiskSpace").set("file", "").set("datastore", datastore.as_str())
            }
        };
        Fault { detail, text }
    }
}
