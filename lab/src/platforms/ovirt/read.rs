//! GET: a path and its parameters → the resource.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::extras;
use super::model::{Event, Machine, State};
use super::node::{Node, Object, list};
use super::search::Search;
use super::view::{self, Follow};
use super::view_vm;

/// Query parameters, names in lower case.
pub type Params = BTreeMap<String, String>;

/// The root element's name, and what is in it.
pub type Answer = (&'static str, Node);

/// `None`: there is no such thing.
pub fn get(state: &State, path: &[&str], params: &Params) -> Option<Answer> {
    let follow = Follow::parse(params.get("follow").map_or("", String::as_str));
    match path {
        [] => Some(("api", Node::Object(view::root(state)))),
        ["datacenters", rest @ ..] => match rest {
            [id, "storagedomains", rest @ ..] if state.datacenter().id == *id => {
                pick(("storage_domains", "storage_domain"), view::domains(state, true), rest)
            }
            [id, "clusters", rest @ ..] if state.datacenter().id == *id => {
                pick(("clusters", "cluster"), view::clusters(state), rest)
            }
            [id, "networks", rest @ ..] if state.datacenter().id == *id => {
                pick(("networks", "network"), view::networks(state, &follow), rest)
            }
            rest => pick(("data_centers", "data_center"), view::datacenters(state), rest),
        },
        ["clusters", rest @ ..] => pick(("clusters", "cluster"), view::clusters(state), rest),
        ["hosts", rest @ ..] => pick(("hosts", "host"), view::hosts(state, &follow), rest),
        ["networks", rest @ ..] => pick(("networks", "network"), view::networks(state, &follow), rest),
        ["vnicprofiles", rest @ ..] => pick(("vnic_profiles", "vnic_profile"), view::profiles(state), rest),
        ["storagedomains", id, "disksnapshots"] => Some(("disk_snapshots", view::disk_snapshots(state, id))),
        ["storagedomains", id, "disks"] => {
            let all = state.disks.values().filter(|d| d.domain == *id).map(view::disk).collect();
            Some(("disks", list("disk", all)))
        }
        ["storagedomains", rest @ ..] => pick(("storage_domains", "storage_domain"), view::domains(state, false), rest),
        ["diskprofiles", rest @ ..] => pick(("disk_profiles", "disk_profile"), view::disk_profiles(state), rest),
        ["disks"] => {
            let disk = |d: &super::model::Disk| (fields(&d.id, &d.name), view::disk(d));
            Some(("disks", searched("disk", state.disks.values().map(disk), params)))
        }
        ["disks", id] => Some(("disk", Node::Object(view::disk(state.disks.get(*id)?)))),
        ["users" | "roles" | "permissions" | "tags", ..]
        | ["vms" | "templates", _, "graphicsconsoles" | "tags", ..] => extras::get(state, path, params),
        ["templates"] => {
            let one = |m: &Machine| (machine_fields(state, m), view_vm::template(state, m, &follow));
            let blank = extras::blank();
            let all = std::iter::once(&blank).chain(state.templates.values());
            Some(("templates", searched("template", all.map(one), params)))
        }
        ["templates", id, rest @ ..] => {
            let machine = &*template(state, id)?;
            match rest {
                [] => Some(("template", Node::Object(view_vm::template(state, machine, &follow)))),
                rest => of_machine(state, machine, rest, &follow),
            }
        }
        ["vms"] => {
            let one = |m: &Machine| (machine_fields(state, m), view_vm::vm(state, m, &follow));
            Some(("vms", searched("vm", state.vms.values().map(one), params)))
        }
        ["vms", id, rest @ ..] => {
            let machine = state.vms.get(*id)?;
            match rest {
                [] => Some(("vm", Node::Object(view_vm::vm(state, machine, &follow)))),
                rest => of_machine(state, machine, rest, &follow),
            }
        }
        ["events"] => Some(("events", events(state, params))),
        ["events", id] => {
            let event = state.events.iter().find(|e| e.id.to_string() == *id)?;
            Some(("event", Node::Object(view::event(event))))
        }
        ["jobs"] => Some(("jobs", list("job", state.jobs.iter().rev().map(view::job).collect()))),
        ["jobs", id] => Some(("job", Node::Object(view::job(state.jobs.iter().find(|j| j.id == *id)?)))),
        ["options", name @ "ServerCPUList"] => {
            let value = Object::new().text("version", "4.7").text(
                "value",
                "1:Secure Intel Cascadelake Server Family:vmx:Cascadelake-Server,-hle,-rtm,+arch-capabilities:x86_64",
            );
            let option = Object::resource(&format!("{}/options", view::API), name);
            Some(("system_option", Node::Object(option.list("values", "system_option_value", vec![value]))))
        }
        _ => None,
    }
}

/// A whole small collection, or one of it by id.
fn pick(names: (&'static str, &'static str), all: Vec<(String, Object)>, rest: &[&str]) -> Option<Answer> {
    match rest {
        [] => Some((names.0, list(names.1, all.into_iter().map(|(_, object)| object).collect()))),
        [id] => all.into_iter().find(|(own, _)| own == id).map(|(_, object)| (names.1, Node::Object(object))),
        _ => None,
    }
}

fn of_machine(state: &State, machine: &Machine, rest: &[&str], follow: &Follow) -> Option<Answer> {
    let nic = |id: &str| machine.nics.iter().find(|n| n.id == id);
    match rest {
        ["nics"] => Some(("nics", view_vm::nics(machine, follow))),
        ["nics", id] => Some(("nic", Node::Object(view_vm::nic(machine, nic(id)?, follow)))),
        ["nics", id, "reporteddevices"] => Some(("reported_devices", view_vm::reported(machine, Some(nic(id)?)))),
        ["reporteddevices"] => Some(("reported_devices", view_vm::reported(machine, None))),
        ["diskattachments"] => Some(("disk_attachments", view_vm::attachments(state, machine, follow))),
        ["diskattachments", id] => {
            let found = machine.attachments.iter().find(|a| a.disk == *id)?;
            Some(("disk_attachment", Node::Object(view_vm::attachment(state, machine, found, follow))))
        }
        ["snapshots"] => Some(("snapshots", view_vm::snapshots(machine))),
        ["snapshots", id] => {
            let found = machine.snapshots.iter().find(|s| s.id == *id)?;
            Some(("snapshot", Node::Object(view_vm::snapshot(machine, found))))
        }
        ["cdroms"] => Some(("cdroms", view_vm::cdroms(machine))),
        ["watchdogs"] => Some(("watchdogs", list("watchdog", Vec::new()))),
        ["hostdevices"] => Some(("host_devices", list("host_device", Vec::new()))),
        _ => None,
    }
}

/// Also the one that every engine has.
pub(super) fn template<'a>(state: &'a State, id: &str) -> Option<Cow<'a, Machine>> {
    if id == view::BLANK {
        return Some(Cow::Owned(extras::blank()));
    }
    state.templates.get(id).map(Cow::Borrowed)
}

pub(super) fn fields(id: &str, name: &str) -> BTreeMap<&'static str, String> {
    BTreeMap::from([("id", id.to_owned()), ("name", name.to_owned()), ("alias", name.to_owned())])
}

fn machine_fields(state: &State, machine: &Machine) -> BTreeMap<&'static str, String> {
    let mut all = fields(&machine.id, &machine.name);
    all.insert("status", machine.status.to_owned());
    all.insert("cluster", state.cluster.name.to_owned());
    all.insert("datacenter", state.datacenter().name.to_owned());
    all.insert("description", machine.description.clone());
    all.insert("os", machine.os.clone());
    all
}

fn number(params: &Params, name: &str) -> Option<usize> {
    params.get(name)?.parse().ok()
}

/// The items that `search` means, a page of `max`. An illegal search finds nothing.
pub(super) fn searched(
    item: &'static str,
    all: impl Iterator<Item = (BTreeMap<&'static str, String>, Object)>,
    params: &Params,
) -> Node {
    let Some(search) = Search::parse(params.get("search").map_or("", String::as_str)) else {
        return list(item, Vec::new());
    };
    let case_sensitive = params.get("case_sensitive").is_some_and(|v| v == "true");
    let max = number(params, "max").unwrap_or(usize::MAX);
    let found = all.filter(|(fields, _)| search.fits(fields, case_sensitive)).map(|(_, object)| object);
    list(item, found.skip(max.saturating_mul(search.page.saturating_sub(1))).take(max).collect())
}

/// Newest first; `from` is exclusive; a VM's events go blind with the VM.
fn events(state: &State, params: &Params) -> Node {
    let after = number(params, "from").map_or(0, |from| from as u64);
    let fields = |event: &Event| {
        let mut all = BTreeMap::from([
            ("type", event.code.to_string()),
            ("severity", event.severity.to_owned()),
            ("message", event.description.clone()),
            ("correlation_id", event.correlation.clone()),
        ]);
        if let Some((id, _)) = &event.vm
            && let Some(vm) = state.vms.get(id)
        {
            all.insert("vms.id", vm.id.clone());
            all.insert("vms.name", vm.name.clone());
            all.insert("event_vm", vm.name.clone());
        }
        all
    };
    let newest_first = state.events.iter().rev().filter(|e| e.id > after);
    searched("event", newest_first.map(|e| (fields(e), view::event(e))), params)
}
