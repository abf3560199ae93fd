//! VMs and templates with what belongs to them, as clients see them.

use super::extras;
use super::model::{Attachment, Machine, Nic, Snapshot, State};
use super::node::{Node, Object, list};
use super::view::{API, BLANK, Follow, disk, links, reference};

/// Where a VM's or a template's own resources are.
pub fn path(machine: &Machine) -> String {
    let collection = if machine.status == "ok" { "templates" } else { "vms" };
    format!("{API}/{collection}/{}", machine.id)
}

pub fn owner(machine: &Machine) -> (&'static str, Object) {
    if machine.status == "ok" {
        ("template", reference("templates", &machine.id))
    } else {
        ("vm", reference("vms", &machine.id))
    }
}

/// What both have.
fn common(state: &State, machine: &Machine) -> Object {
    let reference_path = path(machine);
    let collection = reference_path.rsplit_once('/').map_or(API, |(path, _)| path).to_owned();
    Object::resource(&collection, &machine.id)
        .text("name", &machine.name)
        .text("description", &machine.description)
        .text("comment", "")
        .object(
            "bios",
            Object::new().object("boot_menu", Object::new().text("enabled", false)).text("type", &machine.bios),
        )
        .object(
            "cpu",
            Object::new().text("architecture", "x86_64").object(
                "topology",
                Object::new().text("cores", machine.cores).text("sockets", machine.sockets).text("threads", 1),
            ),
        )
        .text("cpu_shares", 0)
        .text("cpu_pinning_policy", "none")
        .date("creation_time", machine.created)
        .text("delete_protected", false)
        .object("display", Object::new().text("type", "vnc"))
        .object("high_availability", Object::new().text("enabled", false).text("priority", 1))
        .object("io", Object::new().text("threads", 1))
        .text("memory", machine.memory)
        .object(
            "memory_policy",
            Object::new().text("ballooning", true).text("guaranteed", 0).text("max", machine.memory * 4),
        )
        .object(
            "os",
            Object::new()
                .object("boot", Object::new().with("devices", Node::List("device", vec![Node::Text("hd".to_owned())])))
                .text("type", &machine.os),
        )
        .object("placement_policy", Object::new().text("affinity", "migratable"))
        .text("stateless", false)
        .text("storage_error_resume_behaviour", "auto_resume")
        .object("time_zone", Object::new().text("name", "Etc/GMT"))
        .text("type", "server")
        .object("usb", Object::new().text("enabled", false))
        .text("origin", "ovirt")
        .object("cluster", reference("clusters", &state.cluster.id))
}

pub fn template(state: &State, machine: &Machine, follow: &Follow) -> Object {
    let version = Object::new()
        .text("version_name", format!("v{}", machine.version))
        .text("version_number", machine.version)
        .object("base_template", reference("templates", &machine.id));
    let object = common(state, machine).text("status", machine.status).object("version", version);
    followed(state, machine, object, follow, &["nics", "diskattachments", "graphicsconsoles", "tags"])
}

pub fn vm(state: &State, machine: &Machine, follow: &Follow) -> Object {
    let own = path(machine);
    let actions = ["start", "stop", "shutdown", "reboot", "clone"]
        .map(|name| Node::Object(Object::new().text("href", format!("{own}/{name}")).text("rel", name)));
    let template = machine.template.as_deref().unwrap_or(BLANK);
    let mut object = common(state, machine)
        .object("actions", Object::new().with("link", Node::Repeat(actions.to_vec())))
        // A clone does not hold its template.
        .object("template", reference("templates", BLANK))
        .object("original_template", reference("templates", template))
        .text("status", machine.status)
        .text("stop_reason", "")
        .text("has_illegal_images", false)
        .text("next_run_configuration_exists", false)
        .text("fqdn", if machine.reports { machine.guest.hostname.as_str() } else { "" });
    if let Some(host) = &machine.host {
        object = object.object("host", reference("hosts", host));
    }
    if machine.reports {
        let family = if machine.guest.windows { "Windows" } else { "Linux" };
        object = object.object(
            "guest_operating_system",
            Object::new()
                .text("distribution", machine.guest.distribution)
                .text("family", family)
                .object("version", Object::new().text("full_version", machine.guest.release)),
        );
    }
    let all = [
        "nics",
        "diskattachments",
        "snapshots",
        "reporteddevices",
        "cdroms",
        "watchdogs",
        "hostdevices",
        "graphicsconsoles",
        "tags",
    ];
    followed(state, machine, object, follow, &all)
}

/// Followed links come inline, the others stay links.
fn followed(state: &State, machine: &Machine, mut object: Object, follow: &Follow, names: &[&str]) -> Object {
    let own = path(machine);
    let mut left = Vec::new();
    for name in names {
        if !follow.has(name) {
            left.push(*name);
            continue;
        }
        let inside = follow.inside(name);
        object = match *name {
            "nics" => object.with("nics", nics(machine, &inside)),
            "diskattachments" => object.with("disk_attachments", attachments(state, machine, &inside)),
            "snapshots" => object.with("snapshots", snapshots(machine)),
            "reporteddevices" => object.with("reported_devices", reported(machine, None)),
            "cdroms" => object.with("cdroms", cdroms(machine)),
            "watchdogs" => object.list("watchdogs", "watchdog", Vec::new()),
            "hostdevices" => object.list("host_devices", "host_device", Vec::new()),
            "graphicsconsoles" => {
                object.list("graphics_consoles", "graphics_console", extras::consoles(state, machine, false))
            }
            "tags" => object.list("tags", "tag", extras::tags_of(state, machine)),
            _ => object,
        };
    }
    object.with("link", links(&own, &left))
}

pub fn cdroms(machine: &Machine) -> Node {
    let none = "00000000-0000-0000-0000-000000000000";
    list("cdrom", vec![Object::resource(&format!("{}/cdroms", path(machine)), none)])
}

pub fn nics(machine: &Machine, follow: &Follow) -> Node {
    list("nic", machine.nics.iter().map(|n| nic(machine, n, follow)).collect())
}

pub fn nic(machine: &Machine, nic: &Nic, follow: &Follow) -> Object {
    let (owner, reference_to) = owner(machine);
    let mut object = Object::resource(&format!("{}/nics", path(machine)), &nic.id)
        .text("name", &nic.name)
        .text("interface", &nic.interface)
        .text("linked", nic.plugged)
        .text("plugged", nic.plugged)
        .text("synced", true)
        .object(owner, reference_to);
    if !nic.mac.is_empty() {
        object = object.object("mac", Object::new().text("address", &nic.mac));
    }
    if let Some(profile) = &nic.profile {
        object = object.object("vnic_profile", reference("vnicprofiles", profile));
    }
    if follow.has("reporteddevices") {
        object = object.with("reported_devices", reported(machine, Some(nic)));
    }
    object
}

pub fn attachments(state: &State, machine: &Machine, follow: &Follow) -> Node {
    list("disk_attachment", machine.attachments.iter().map(|a| attachment(state, machine, a, follow)).collect())
}

pub fn attachment(state: &State, machine: &Machine, attachment: &Attachment, follow: &Follow) -> Object {
    let (owner, reference_to) = owner(machine);
    let inline = state.disks.get(&attachment.disk).filter(|_| follow.has("disk")).map(disk);
    Object::resource(&format!("{}/diskattachments", path(machine)), &attachment.disk)
        .text("active", true)
        .text("bootable", attachment.bootable)
        .text("interface", &attachment.interface)
        .text("pass_discard", false)
        .text("read_only", false)
        .text("uses_scsi_reservation", false)
        .object("disk", inline.unwrap_or_else(|| reference("disks", &attachment.disk)))
        .object(owner, reference_to)
}

/// The one that is no snapshot comes first, as the engine lists it.
pub fn snapshots(machine: &Machine) -> Node {
    let active = Object::resource(&format!("{}/snapshots", path(machine)), &machine.active)
        .text("description", "Active VM")
        .date("date", machine.created)
        .text("persist_memorystate", false)
        .text("snapshot_status", "ok")
        .text("snapshot_type", "active")
        .object("vm", reference("vms", &machine.id));
    let all = std::iter::once(active).chain(machine.snapshots.iter().map(|s| snapshot(machine, s)));
    list("snapshot", all.collect())
}

pub fn snapshot(machine: &Machine, snapshot: &Snapshot) -> Object {
    Object::resource(&format!("{}/snapshots", path(machine)), &snapshot.id)
        .text("description", &snapshot.description)
        .date("date", snapshot.date)
        .text("persist_memorystate", false)
        .text("snapshot_status", snapshot.status)
        .text("snapshot_type", "regular")
        .object("vm", reference("vms", &machine.id))
}

/// What the guest's agent reports of all adapters, or of one.
pub fn reported(machine: &Machine, only: Option<&Nic>) -> Node {
    let wanted = |nic: &&Nic| machine.reports && only.is_none_or(|only| only.id == nic.id);
    let device = |nic: &Nic| {
        let ip = Object::new().text("address", nic.address().0).text("version", "v4");
        Object::resource(&format!("{}/reporteddevices", path(machine)), &nic.id)
            .text("name", &nic.guest_name)
            .text("description", "guest reported data")
            .text("type", "network")
            .object("mac", Object::new().text("address", &nic.mac))
            .list("ips", "ip", vec![ip])
            .object("vm", reference("vms", &machine.id))
    };
    list("reported_device", machine.nics.iter().filter(wanted).map(device).collect())
}
