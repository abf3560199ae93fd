//! What the engine has beside machines and their parts: graphics consoles, tags, users, roles, permissions,
//! and the template `Blank`, which every engine is born with.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::body::Body;
use super::model::{Guest, Machine, State, fresh_id};
use super::node::{Node, Object, list};
use super::operate::{Done, Fault};
use super::read::{self, Answer, Params};
use super::view::{API, BLANK, links, reference};
use super::view_vm;
use crate::api::world::Tools;

/// Of the tag that all others are under.
const ROOT: &str = "00000000-0000-0000-0000-000000000000";
/// The engine makes a console's id of its protocol: `vnc` in hexadecimal digits.
const VNC: &str = "766e63";
/// April 2008, when every engine's `Blank` was made.
const BLANK_MADE: i64 = 1_207_008_000_000;
/// Seconds for which a console's ticket lets in.
const EXPIRY: u32 = 120;

/// Id, name, whether it administers, what it is for.
const ROLES: [(&str, &str, bool, &str); 5] = [
    ("00000000-0000-0000-0000-000000000001", "SuperUser", true, "Roles management administrator"),
    ("00000000-0000-0000-0001-000000000001", "UserRole", false, "Standard User Role"),
    (
        "00000000-0000-0000-0001-000000000002",
        "PowerUserRole",
        false,
        "User Role, allowed to create VMs, Templates and Disks",
    ),
    (
        "def00001-0000-0000-0000-def000000001",
        "ClusterAdmin",
        true,
        "Administrator Role, permission for all the objects underneath a specific cluster",
    ),
    (
        "def00002-0000-0000-0000-def000000002",
        "DataCenterAdmin",
        true,
        "Administrator Role, permission for all the objects underneath a specific data center, except storage",
    ),
];

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tag {
    pub id: String,
    pub name: String,
    pub description: String,
    pub parent: String,
    /// Ids of the VMs that have it.
    pub vms: BTreeSet<String>,
}

/// It is not among the state's templates: nobody can change it or take it away.
pub fn blank() -> Machine {
    Machine {
        id: BLANK.to_owned(),
        name: "Blank".to_owned(),
        description: "Blank template".to_owned(),
        memory: 1 << 30,
        sockets: 1,
        cores: 1,
        os: "other".to_owned(),
        bios: "q35_sea_bios".to_owned(),
        nics: Vec::new(),
        attachments: Vec::new(),
        snapshots: Vec::new(),
        status: "ok",
        created: BLANK_MADE,
        template: None,
        version: 1,
        host: None,
        reports: false,
        goes: None,
        boots: 0,
        active: BLANK.to_owned(),
        guest: Guest {
            windows: false,
            hostname: String::new(),
            pretty_name: String::new(),
            distribution: "",
            release: "",
            tools: Tools::Missing,
            fails: None,
        },
    }
}

pub fn get(state: &State, path: &[&str], params: &Params) -> Option<Answer> {
    match path {
        ["users"] => {
            let all = [(read::fields(&state.instance, "admin"), user(state))];
            Some(("users", read::searched("user", all.into_iter(), params)))
        }
        ["users", id, rest @ ..] if *id == state.instance => match rest {
            [] => Some(("user", Node::Object(user(state)))),
            ["permissions"] => Some(("permissions", permissions(state))),
            ["roles"] => Some(("roles", list("role", vec![role(&ROLES[0])]))),
            _ => None,
        },
        ["roles"] => Some(("roles", list("role", ROLES.iter().map(role).collect()))),
        ["roles", id] => Some(("role", Node::Object(role(ROLES.iter().find(|(own, ..)| own == id)?)))),
        ["permissions"] => Some(("permissions", permissions(state))),
        ["permissions", id] => (*id == state.cluster.id).then(|| ("permission", Node::Object(permission(state)))),
        ["tags"] => {
            let all = std::iter::once(root()).chain(state.tags.values().map(|tag| shown(tag, "tags")));
            Some(("tags", list("tag", all.collect())))
        }
        ["tags", ROOT] => Some(("tag", Node::Object(root()))),
        ["tags", id] => Some(("tag", Node::Object(shown(state.tags.get(*id)?, "tags")))),
        [collection, id, "graphicsconsoles", rest @ ..] => {
            let machine = match *collection {
                "vms" => Cow::Borrowed(state.vms.get(*id)?),
                _ => read::template(state, id)?,
            };
            let all = consoles(state, &machine, params.get("current").is_some_and(|v| v != "false"));
            match rest {
                [] => Some(("graphics_consoles", list("graphics_console", all))),
                [VNC] => Some(("graphics_console", Node::Object(all.into_iter().next()?))),
                _ => None,
            }
        }
        ["vms", id, "tags", rest @ ..] => {
            let machine = state.vms.get(*id)?;
            match rest {
                [] => Some(("tags", list("tag", tags_of(state, machine)))),
                [tag] => {
                    let found = state.tags.get(*tag).filter(|tag| tag.vms.contains(*id))?;
                    Some(("tag", Node::Object(shown(found, &format!("vms/{id}/tags")))))
                }
                _ => None,
            }
        }
        // Templates have none in the lab.
        ["templates", id, "tags"] => read::template(state, id).map(|_| ("tags", list("tag", Vec::new()))),
        _ => None,
    }
}

/// `None`: the resource knows no such method.
pub fn change(state: &mut State, method: &str, path: &[&str], body: &Body) -> Option<Result<Done, Fault>> {
    Some(match (method, path) {
        ("POST", ["tags"]) => add_tag(state, body),
        ("PUT", ["tags", id]) => update_tag(state, id, body),
        ("DELETE", ["tags", id]) => remove_tag(state, id),
        ("POST", ["vms", id, "tags"]) => assign(state, id, body),
        ("DELETE", ["vms", id, "tags", tag]) => {
            let found = state.tags.get_mut(*tag).is_some_and(|tag| tag.vms.remove(*id));
            if found { Ok(Done::action(None, None)) } else { Err(Fault::gone()) }
        }
        ("POST", ["vms", id, "ticket"] | ["vms", id, "graphicsconsoles", VNC, "ticket"]) => running(state, id).map(|(vm, _)| {
            let ticket = Object::new().text("expiry", EXPIRY).text("value", ticket(vm));
            Done::object(200, "action", Object::new().text("status", "complete").object("ticket", ticket), None)
        }),
        ("POST", ["vms", id, "graphicsconsoles", VNC, "proxyticket"]) => running(state, id).map(|(vm, _)| {
            let ticket = Object::new().text("value", ticket(vm));
            Done::object(200, "action", Object::new().object("proxy_ticket", ticket).text("status", "complete"), None)
        }),
        ("POST", ["vms", id, "graphicsconsoles", VNC, "remoteviewerconnectionfile"]) => {
            running(state, id).map(|(vm, host)| {
                let text = format!(
                    "[virt-viewer]\ntype=vnc\nhost={host}\nport={}\npassword={}\ndelete-this-file=1\nfullscreen=0\n\
                     title={}:%d\ntoggle-fullscreen=shift+f11\nrelease-cursor=shift+f12\nsecure-attention=ctrl+alt+end\n",
                    port(vm),
                    ticket(vm),
                    vm.name
                );
                let file = Object::new().text("remote_viewer_connection_file", text).text("status", "complete");
                Done::object(200, "action", file, None)
            })
        }
        _ => return None,
    })
}

fn user(state: &State) -> Object {
    reference("users", &state.instance)
        .text("name", "admin")
        .text("last_name", "")
        .text("user_name", "admin@internal-authz")
        .text("principal", "admin")
        .text("namespace", "*")
        .text("department", "")
        .text("email", "root@localhost")
        .text("domain_entry_id", &state.instance)
        .object("domain", Object::new().text("name", "internal-authz"))
        .with("link", links(&format!("{API}/users/{}", state.instance), &["roles", "permissions"]))
}

fn role((id, name, administers, description): &(&str, &str, bool, &str)) -> Object {
    reference("roles", id)
        .text("name", name)
        .text("description", description)
        .text("administrative", administers)
        .text("mutable", false)
}

/// The only one: the administrator may do everything. It needs an id of its own that stays.
fn permission(state: &State) -> Object {
    reference("permissions", &state.cluster.id)
        .object("role", reference("roles", ROLES[0].0))
        .object("user", reference("users", &state.instance))
}

fn permissions(state: &State) -> Node {
    list("permission", vec![permission(state)])
}

fn root() -> Object {
    reference("tags", ROOT).text("name", "root").text("description", "root")
}

fn shown(tag: &Tag, collection: &str) -> Object {
    reference(collection, &tag.id)
        .text("name", &tag.name)
        .text("description", &tag.description)
        .object("parent", reference("tags", &tag.parent))
}

pub fn tags_of(state: &State, machine: &Machine) -> Vec<Object> {
    let collection = format!("vms/{}/tags", machine.id);
    state.tags.values().filter(|tag| tag.vms.contains(&machine.id)).map(|tag| shown(tag, &collection)).collect()
}

/// A console as it is set up, or (`current`) as it is served now: of a VM that is off there is none then.
pub fn consoles(state: &State, machine: &Machine, current: bool) -> Vec<Object> {
    let console =
        Object::resource(&format!("{}/graphicsconsoles", view_vm::path(machine)), VNC).text("protocol", "vnc");
    let (owner, reference) = view_vm::owner(machine);
    let console = console.object(owner, reference);
    match host(state, machine) {
        _ if !current => vec![console],
        Some(host) => vec![console.text("address", host).text("port", port(machine))],
        None => Vec::new(),
    }
}

fn host<'a>(state: &'a State, machine: &Machine) -> Option<&'a str> {
    let id = machine.host.as_ref()?;
    state.hosts.iter().find(|host| host.id == *id).map(|host| host.name.as_str())
}

/// One of QEMU's, always the same for a VM.
fn port(machine: &Machine) -> u16 {
    let digits = machine.id.get(machine.id.len().saturating_sub(3)..).unwrap_or_default();
    5900 + u16::from_str_radix(digits, 16).unwrap_or_default() % 1024
}

/// Another one for each boot.
fn ticket(machine: &Machine) -> String {
    format!(
        "{}{}",
        machine.active.chars().filter(char::is_ascii_alphanumeric).take(11).collect::<String>(),
        machine.boots
    )
}

/// The VM and its host, as long as it has one.
fn running<'a>(state: &'a State, id: &str) -> Result<(&'a Machine, &'a str), Fault> {
    let vm = state.vm(id)?;
    let host = host(state, vm).ok_or_else(|| Fault::conflict("Cannot set VM ticket. VM is not running."))?;
    Ok((vm, host))
}

/// The tag that a body means by id or name; the root's is empty.
fn meant(state: &State, body: &Body) -> Result<String, Fault> {
    let wanted = |id: &str, name: &str| body.text("id") == Some(id) || body.text("name") == Some(name);
    if wanted(ROOT, "root") {
        return Ok(ROOT.to_owned());
    }
    let found = state.tags.values().find(|tag| wanted(&tag.id, &tag.name)).map(|tag| tag.id.clone());
    let detail = || "Entity not found: Tag".to_owned();
    found.ok_or_else(|| Fault { status: 404, reason: "Operation Failed", detail: detail() })
}

fn free(state: &State, name: &str, own: &str) -> Result<(), Fault> {
    if name == "root" || state.tags.values().any(|tag| tag.name == name && tag.id != own) {
        let verb = if own.is_empty() { "add" } else { "update" };
        return Err(Fault::conflict(format!("Cannot {verb} Tag. The Tag name is already in use.")));
    }
    Ok(())
}

fn add_tag(state: &mut State, body: &Body) -> Result<Done, Fault> {
    let name = body.text("name").ok_or_else(|| Fault::bad("Incomplete parameters", "Tag [name] required for add"))?;
    free(state, name, "")?;
    let parent = body.at("parent").map_or_else(|| Ok(ROOT.to_owned()), |parent| meant(state, parent))?;
    let description = body.text("description").unwrap_or_default().to_owned();
    let tag = Tag { id: fresh_id(), name: name.to_owned(), description, parent, vms: BTreeSet::new() };
    let object = shown(&tag, "tags");
    state.tags.insert(tag.id.clone(), tag);
    Ok(Done::object(201, "tag", object, None))
}

fn update_tag(state: &mut State, id: &str, body: &Body) -> Result<Done, Fault> {
    if let Some(name) = body.text("name") {
        free(state, name, id)?;
    }
    let parent = body.at("parent").map(|parent| meant(state, parent)).transpose()?;
    let tag = state.tags.get_mut(id).ok_or_else(Fault::gone)?;
    tag.name = body.text("name").unwrap_or(&tag.name).to_owned();
    tag.description = body.text("description").unwrap_or(&tag.description).to_owned();
    tag.parent = parent.filter(|parent| parent != id).unwrap_or_else(|| tag.parent.clone());
    Ok(Done::object(200, "tag", shown(tag, "tags"), None))
}

/// What is under it goes with it.
fn remove_tag(state: &mut State, id: &str) -> Result<Done, Fault> {
    if id == ROOT {
        return Err(Fault::conflict("Cannot remove Tag. The root tag can't be removed."));
    }
    if !state.tags.contains_key(id) {
        return Err(Fault::gone());
    }
    let mut gone = vec![id.to_owned()];
    while let Some(parent) = gone.pop() {
        state.tags.remove(&parent);
        gone.extend(state.tags.values().filter(|tag| tag.parent == parent).map(|tag| tag.id.clone()));
    }
    Ok(Done::action(None, None))
}

fn assign(state: &mut State, vm: &str, body: &Body) -> Result<Done, Fault> {
    state.vm(vm)?;
    let id = meant(state, body)?;
    let tag =
        state.tags.get_mut(&id).ok_or_else(|| Fault::conflict("Cannot attach Tag. The root tag can't be attached."))?;
    tag.vms.insert(vm.to_owned());
    Ok(Done::object(201, "tag", shown(tag, &format!("vms/{vm}/tags")), None))
}
