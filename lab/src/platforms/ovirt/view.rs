//! The engine's resources, VMs and templates aside, as clients see them.

use super::model::{Disk, Event, Job, Network, State};
use super::node::{Node, Object, list};

/// Where the API is.
pub const API: &str = "/ovirt-engine/api";
const VERSION: &str = "4.5.10-1.el8ev";
pub const BLANK: &str = "00000000-0000-0000-0000-000000000000";

/// Which links a client wants inline: `nics,disk_attachments.disk`.
#[derive(Debug, Clone, Default)]
pub struct Follow(Vec<Vec<String>>);

impl Follow {
    /// Underscores and case do not matter.
    pub fn parse(text: &str) -> Self {
        let plain = |name: &str| name.trim().to_lowercase().replace('_', "");
        Self(text.split(',').filter(|p| !p.trim().is_empty()).map(|p| p.split('.').map(plain).collect()).collect())
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|path| path.first().is_some_and(|first| first == name))
    }

    /// What is wanted inside of `name`.
    pub fn inside(&self, name: &str) -> Self {
        let rest = |path: &Vec<String>| (path.len() > 1 && path[0] == name).then(|| path[1..].to_vec());
        Self(self.0.iter().filter_map(rest).collect())
    }
}

/// A reference by collection and id.
pub fn reference(collection: &str, id: &str) -> Object {
    Object::resource(&format!("{API}/{collection}"), id)
}

/// Links to sub-collections.
pub fn links(path: &str, names: &[&str]) -> Node {
    let link = |name: &&str| Node::Object(Object::new().text("href", format!("{path}/{name}")).text("rel", name));
    Node::Repeat(names.iter().map(link).collect())
}

pub fn root(state: &State) -> Object {
    let collections = [
        "clusters",
        "datacenters",
        "disks",
        "diskprofiles",
        "events",
        "hosts",
        "jobs",
        "networks",
        "permissions",
        "roles",
        "storagedomains",
        "tags",
        "templates",
        "users",
        "vms",
        "vnicprofiles",
    ];
    let mut links: Vec<Node> = Vec::new();
    for name in collections {
        links.push(Node::Object(Object::new().text("href", format!("{API}/{name}")).text("rel", name)));
        if matches!(name, "vms" | "templates" | "events" | "disks" | "hosts") {
            let href = format!("{API}/{name}?search={{query}}");
            links.push(Node::Object(Object::new().text("href", href).text("rel", format!("{name}/search"))));
        }
    }
    let count = |active: usize, total: usize| Object::new().text("active", active).text("total", total);
    let running = state.vms.values().filter(|vm| vm.status != "down").count();
    Object::new()
        .with("link", Node::Repeat(links))
        .object(
            "product_info",
            Object::new()
                .text("instance_id", &state.instance)
                .text("name", "oVirt Engine")
                .text("vendor", "ovirt.org")
                .object(
                    "version",
                    Object::new()
                        .text("build", 10)
                        .text("full_version", VERSION)
                        .text("major", 4)
                        .text("minor", 5)
                        .text("revision", 0),
                ),
        )
        .object("special_objects", Object::new().object("blank_template", reference("templates", BLANK)))
        .object(
            "summary",
            Object::new()
                .object("hosts", count(state.hosts.len(), state.hosts.len()))
                .object("storage_domains", count(state.domains.len(), state.domains.len()))
                .object("users", count(1, 1))
                .object("vms", count(running, state.vms.len())),
        )
        .date("time", super::model::now())
        .object("authenticated_user", reference("users", &state.instance))
        .object("effective_user", reference("users", &state.instance))
}

pub fn datacenters(state: &State) -> Vec<(String, Object)> {
    let one = |d: &super::model::Datacenter| {
        let object = reference("datacenters", &d.id)
            .text("name", d.name)
            .text("description", "")
            .with("link", links(&format!("{API}/datacenters/{}", d.id), &["clusters", "networks", "storagedomains"]))
            .text("local", false)
            .text("quota_mode", "disabled")
            .text("status", d.status)
            .text("storage_format", "v5")
            .object("version", Object::new().text("major", 4).text("minor", 7));
        (d.id.clone(), object)
    };
    state.datacenters.iter().map(one).collect()
}

pub fn clusters(state: &State) -> Vec<(String, Object)> {
    let object = reference("clusters", &state.cluster.id)
        .text("name", &state.cluster.name)
        .text("description", "")
        .text("bios_type", "q35_sea_bios")
        .object(
            "cpu",
            Object::new().text("architecture", "x86_64").text("type", "Secure Intel Cascadelake Server Family"),
        )
        .text("ha_reservation", false)
        .object("ksm", Object::new().text("enabled", true))
        .object("memory_policy", Object::new().object("over_commit", Object::new().text("percent", 100)))
        .object("version", Object::new().text("major", 4).text("minor", 7))
        .object("data_center", reference("datacenters", &state.datacenter().id));
    vec![(state.cluster.id.clone(), object)]
}

pub fn hosts(state: &State, follow: &Follow) -> Vec<(String, Object)> {
    let one = |h: &super::model::Named| {
        let path = format!("{API}/hosts/{}", h.id);
        let mut object = Object::resource(&format!("{API}/hosts"), &h.id)
            .text("name", &h.name)
            .text("address", &h.name)
            .text("status", "up")
            .text("memory", 256_i64 << 30)
            .object("cluster", reference("clusters", &state.cluster.id))
            .object("spm", Object::new().text("status", "none"))
            .object(
                "cpu",
                Object::new()
                    .text("name", "Intel(R) Xeon(R) Gold 6230")
                    .object("topology", Object::new().text("cores", 20).text("sockets", 2).text("threads", 2)),
            )
            .object(
                "os",
                Object::new().text("type", "RHEL").object("version", Object::new().text("full_version", "8.6 - 1.el8")),
            );
        let mut left = Vec::new();
        if follow.has("nics") {
            let nic = Object::resource(&format!("{path}/nics"), &h.id)
                .text("name", "eno1")
                .text("speed", 10_000_000_000_i64)
                .text("mtu", 1500);
            object = object.list("nics", "host_nic", vec![nic]);
        } else {
            left.push("nics");
        }
        if follow.has("networkattachments") {
            let attachment = |n: &Network| {
                Object::resource(&format!("{path}/networkattachments"), &n.id)
                    .object("network", reference("networks", &n.id))
            };
            let all = state.networks.iter().map(attachment).collect();
            object = object.list("network_attachments", "network_attachment", all);
        } else {
            left.push("networkattachments");
        }
        (h.id.clone(), object.with("link", links(&path, &left)))
    };
    state.hosts.iter().map(one).collect()
}

pub fn networks(state: &State, follow: &Follow) -> Vec<(String, Object)> {
    let one = |n: &Network| {
        let usage = |name: &str| Node::Text(name.to_owned());
        let usages = if n.name == "ovirtmgmt" {
            vec![usage("vm"), usage("management"), usage("display"), usage("migration"), usage("default_route")]
        } else {
            vec![usage("vm")]
        };
        let mut object = reference("networks", &n.id)
            .text("name", &n.name)
            .text("description", "")
            .text("mtu", 0)
            .text("stp", false)
            .with("usages", Node::List("usage", usages))
            .object("data_center", reference("datacenters", &state.datacenter().id))
            .maybe("vlan", n.vlan.map(|id| Object::new().text("id", id)));
        if follow.has("vnicprofiles") {
            object = object.list("vnic_profiles", "vnic_profile", vec![profile(n)]);
        } else {
            object = object.with("link", links(&format!("{API}/networks/{}", n.id), &["vnicprofiles"]));
        }
        (n.id.clone(), object)
    };
    state.networks.iter().map(one).collect()
}

fn profile(network: &Network) -> Object {
    reference("vnicprofiles", &network.profile)
        .text("name", &network.name)
        .text("description", "")
        .text("port_mirroring", false)
        .object("pass_through", Object::new().text("mode", "disabled"))
        .object("network", reference("networks", &network.id))
}

pub fn profiles(state: &State) -> Vec<(String, Object)> {
    state.networks.iter().map(|n| (n.profile.clone(), profile(n))).collect()
}

/// In a data center a domain is active; at the top it has no status.
pub fn domains(state: &State, in_datacenter: bool) -> Vec<(String, Object)> {
    let one = |d: &super::model::Domain| {
        let mut object = reference("storagedomains", &d.id)
            .text("name", &d.name)
            .text("description", "")
            .with("link", links(&format!("{API}/storagedomains/{}", d.id), &["disks", "disksnapshots"]))
            .text("available", d.available)
            .text("used", d.used)
            .text("committed", 0)
            .text("external_status", "ok")
            .text("master", d.name == "data-fc")
            .object("storage", Object::new().text("type", &d.storage))
            .text("type", &d.kind)
            .list("data_centers", "data_center", vec![reference("datacenters", &state.datacenter().id)]);
        if in_datacenter {
            object = object.text("status", "active");
        }
        (d.id.clone(), object)
    };
    state.domains.iter().map(one).collect()
}

/// One profile a domain, with the domain's name.
pub fn disk_profiles(state: &State) -> Vec<(String, Object)> {
    let one = |d: &super::model::Domain| {
        let object = reference("diskprofiles", &d.id)
            .text("name", &d.name)
            .object("storage_domain", reference("storagedomains", &d.id));
        (d.id.clone(), object)
    };
    state.domains.iter().map(one).collect()
}

pub fn disk(disk: &Disk) -> Object {
    reference("disks", &disk.id)
        .text("name", &disk.name)
        .text("alias", &disk.name)
        .text("description", "")
        .text("actual_size", disk.size / 4)
        .text("backup", "none")
        .text("content_type", "data")
        .text("format", &disk.format)
        .text("image_id", &disk.image)
        .text("propagate_errors", false)
        .text("provisioned_size", disk.size)
        .text("shareable", disk.shared)
        .text("sparse", disk.sparse)
        .text("status", disk.status)
        .text("storage_type", "image")
        .text("total_size", disk.size / 4)
        .text("wipe_after_delete", false)
        .object("disk_profile", reference("diskprofiles", &disk.domain))
        .list("storage_domains", "storage_domain", vec![reference("storagedomains", &disk.domain)])
}

/// Layers of the disks of a domain that snapshots hold.
pub fn disk_snapshots(state: &State, domain: &str) -> Node {
    let mut all = Vec::new();
    for vm in state.vms.values() {
        for snapshot in &vm.snapshots {
            for (disk, image) in &snapshot.images {
                let Some(found) = state.disks.get(disk).filter(|d| d.domain == domain) else { continue };
                all.push(
                    Object::resource(&format!("{API}/storagedomains/{domain}/disksnapshots"), image)
                        .text("format", "cow")
                        .text("image_id", image)
                        .text("provisioned_size", found.size)
                        .text("actual_size", found.size / 8)
                        .text("status", found.status)
                        .object("disk", reference("disks", disk))
                        .object("snapshot", Object::new().text("id", &snapshot.id)),
                );
            }
        }
    }
    list("disk_snapshot", all)
}

pub fn event(event: &Event) -> Object {
    let vm = event.vm.as_ref().map(|(id, name)| reference("vms", id).text("name", name));
    Object::resource(&format!("{API}/events"), &event.id.to_string())
        .text("code", event.code)
        .text("correlation_id", &event.correlation)
        .text("custom_id", -1)
        .text("description", &event.description)
        .text("flood_rate", 30)
        .text("index", event.id)
        .text("origin", "oVirt")
        .text("severity", event.severity)
        .date("time", event.time)
        .maybe("vm", vm)
}

pub fn job(job: &Job) -> Object {
    let object = reference("jobs", &job.id)
        .text("auto_cleared", true)
        .text("description", &job.description)
        .text("external", false)
        .text("status", job.status)
        .date("start_time", job.start)
        .date("last_updated", job.end.unwrap_or(job.start));
    match job.end {
        Some(end) => object.date("end_time", end),
        None => object,
    }
}
