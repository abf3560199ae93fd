//! What is wrong with a world although every value has its type: names that nothing has, keys that a platform
//! does not know, things that there can be only one of. Everything at once, each with its path.

use std::collections::{BTreeMap, BTreeSet};

use super::{Disk, Firmware, Kind, Nic, Rdm, Source, Vm, World};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Keys and list positions: `vsphere`, `vms`, `3`, `nics`, `0`, `network`.
    pub path: Vec<String>,
    /// What is wrong and what would be right, without the path.
    pub message: String,
    /// Names that would be right, where one of them may have been meant.
    pub known: Vec<String>,
}

struct Found(Vec<Problem>);

/// A path below another.
fn below(path: &[String], more: &[&str]) -> Vec<String> {
    path.iter().cloned().chain(more.iter().map(|part| (*part).to_owned())).collect()
}

impl Found {
    fn add(&mut self, path: Vec<String>, message: impl Into<String>) {
        self.0.push(Problem { path, message: message.into(), known: Vec::new() });
    }

    /// A name that must be one of these.
    fn named(&mut self, path: Vec<String>, noun: &str, name: Option<&String>, known: &[&str]) {
        let Some(name) = name.filter(|name| !known.contains(&name.as_str())) else { return };
        let message = match known {
            [] => format!("there is no {noun} `{name}`: none is listed"),
            known => format!("there is no {noun} `{name}`; there are {}", known.join(", ")),
        };
        self.0.push(Problem { path, message, known: known.iter().map(|name| (*name).to_owned()).collect() });
    }

    fn unique<'a>(&mut self, path: &[String], noun: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        for (at, name) in names.enumerate() {
            let place = below(path, &[&at.to_string(), "name"]);
            if name.trim().is_empty() {
                self.add(place, format!("a {noun} needs a name"));
            } else if !seen.insert(name) {
                self.add(place, format!("there is a {noun} `{name}` already"));
            }
        }
    }
}

impl World {
    /// Everything that is wrong with it.
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = Found(Vec::new());
        self.cluster_problems(&mut found);
        let mut macs = BTreeMap::new();
        for kind in Kind::ALL {
            source_problems(kind, self.source(kind), &mut macs, &mut found);
        }
        found.0
    }

    fn cluster_problems(&self, found: &mut Found) {
        let root = ["cluster".to_owned()];
        let cluster = &self.cluster;
        found.unique(&below(&root, &["nodes"]), "node", cluster.nodes.iter().map(|node| node.name.as_str()));
        let classes = below(&root, &["storage_classes"]);
        found.unique(&classes, "storage class", cluster.storage_classes.iter().map(|class| class.name.as_str()));
        if !cluster.nodes.iter().any(|node| node.role == super::Role::Worker) {
            found.add(below(&root, &["nodes"]), "no node is a worker: nothing could run");
        }
        if cluster.storage_classes.is_empty() {
            found.add(classes.clone(), "a cluster without a storage class takes no disk");
        }
        let defaults = cluster.storage_classes.iter().enumerate().filter(|(_, class)| class.default).skip(1);
        for (at, class) in defaults {
            let message = format!("a cluster has one default class, and `{}` is a second one", class.name);
            found.add(below(&classes, &[&at.to_string(), "default"]), message);
        }
        for (at, class) in cluster.storage_classes.iter().enumerate().filter(|(_, class)| class.claims.is_empty()) {
            let message = format!("`{}` has no way to be claimed: name an access and a mode", class.name);
            found.add(below(&classes, &[&at.to_string(), "claims"]), message);
        }
    }
}

/// Names of the datastores that hold disks.
fn stores(source: &Source) -> Vec<&str> {
    source.datastores.iter().filter(|store| store.role.is_none()).map(|store| store.name.as_str()).collect()
}

/// `macs`: who has which, over all platforms; the lab finds a migrated VM's guest by it.
fn source_problems(kind: Kind, source: &Source, macs: &mut BTreeMap<String, String>, found: &mut Found) {
    let root = [kind.name().to_owned()];
    for (key, noun, names) in [
        ("hosts", "host", source.hosts.iter().map(|it| it.name.as_str()).collect::<Vec<_>>()),
        ("datastores", "datastore", source.datastores.iter().map(|it| it.name.as_str()).collect()),
        ("networks", "network", source.networks.iter().map(|it| it.name.as_str()).collect()),
        ("flavors", "flavor", source.flavors.iter().map(|it| it.name.as_str()).collect()),
        ("images", "image", source.images.iter().map(|it| it.name.as_str()).collect()),
    ] {
        found.unique(&below(&root, &[key]), noun, names.into_iter());
    }
    for (at, store) in source.datastores.iter().enumerate().filter(|(_, store)| store.free > store.capacity) {
        let message = format!("{} are free of {}", store.free, store.capacity);
        found.add(below(&root, &["datastores", &at.to_string(), "free"]), message);
    }
    for (at, network) in source.networks.iter().enumerate() {
        let wrong = network.subnet.filter(|subnet| subnet.prefix != 24 || !subnet.address.is_ipv4());
        if let Some(subnet) = wrong {
            let message = format!("{subnet} is no /24 of IPv4, and the lab's cloud has no others");
            found.add(below(&root, &["networks", &at.to_string(), "subnet"]), message);
        }
    }
    for (key, noun, missing) in [
        ("hosts", "host", source.hosts.is_empty() && matches!(kind, Kind::Vsphere | Kind::Ovirt)),
        ("datastores", "datastore", !source.datastores.iter().any(|it| it.role.is_none()) && kind.is_managed()),
        ("networks", "network", source.networks.is_empty()),
    ] {
        if missing {
            found.add(below(&root, &[key]), format!("without a {noun} no VM can be"));
        }
    }
    let stores = stores(source);
    for (at, disk) in source.disks.iter().enumerate() {
        let place = below(&root, &["disks", &at.to_string()]);
        found.named(below(&place, &["datastore"]), "datastore", disk.datastore.as_ref(), &stores);
        if disk.size.bytes() == 0 {
            found.add(below(&place, &["size"]), "a disk has a size: write e.g. 16Gi");
        }
    }
    if !source.disks.is_empty() && !matches!(kind, Kind::Ovirt | Kind::Openstack) {
        let message = format!("{} has no disks without a VM; ovirt and openstack have", kind.name());
        found.add(below(&root, &["disks"]), message);
    }
    let mut taken = BTreeMap::new();
    for (at, vm) in source.vms.iter().enumerate() {
        let path = below(&root, &["vms", &at.to_string()]);
        same_name(kind, vm, at, &path, &mut taken, found);
        for (key, why) in foreign_keys(kind, vm) {
            found.add(below(&path, &[key]), why);
        }
        vm_problems(kind, source, vm, &path, found);
        for (n, nic) in vm.nics.iter().flatten().enumerate() {
            let place = below(&path, &["nics", &n.to_string()]);
            nic_problems(kind, source, nic, &place, found);
            let Some(mac) = &nic.mac else { continue };
            if let Some(other) = macs.insert(mac.to_string(), vm.name.clone()) {
                found.add(below(&place, &["mac"]), format!("{mac} is a NIC's of `{other}` already"));
            }
        }
    }
}

/// A name twice is an ambiguity where the platform allows it, and refused where it does not.
fn same_name<'a>(
    kind: Kind,
    vm: &'a Vm,
    at: usize,
    path: &[String],
    taken: &mut BTreeMap<(&'a str, Option<&'a str>, u32, bool), usize>,
    found: &mut Found,
) {
    let unusable = |c: char| c.is_control() || matches!(c, '/' | '\\');
    if vm.name.trim().is_empty() || vm.name.contains(unusable) || matches!(vm.name.as_str(), "." | "..") {
        return found.add(below(path, &["name"]), "a VM needs a name, without slashes");
    }
    let (key, what) = match kind {
        Kind::Vsphere => ((vm.name.as_str(), vm.folder.as_deref(), 0, false), "in the same folder"),
        Kind::Ovirt => ((vm.name.as_str(), None, vm.version.unwrap_or(1), vm.template), "of the same version"),
        // Nova has no rule.
        Kind::Openstack => return,
        Kind::Ova | Kind::Hyperv | Kind::Ec2 => ((vm.name.as_str(), None, 0, false), "on this platform"),
    };
    if let Some(first) = taken.insert(key, at) {
        found.add(below(path, &["name"]), format!("`{}` stands {what} already, as number {}", vm.name, first + 1));
    }
}

/// Keys that this platform does not know, with the reason.
fn foreign_keys(kind: Kind, vm: &Vm) -> Vec<(&'static str, String)> {
    use Kind::{Openstack, Ovirt, Vsphere};
    let disks = || vm.disks.iter().flatten();
    let rules: [(&str, bool, &[Kind]); 18] = [
        ("known_as", vm.known_as.is_some(), &[Kind::Ova, Kind::Hyperv, Kind::Ec2]),
        ("template", vm.template, &[Vsphere, Ovirt]),
        ("version", vm.version.is_some(), &[Ovirt]),
        ("tpm", vm.tpm, &[Vsphere]),
        ("luks", vm.luks.is_some(), &[Vsphere]),
        ("bios_type", vm.bios_type.is_some(), &[Ovirt]),
        ("host", vm.host.is_some(), &[Vsphere, Ovirt]),
        ("folder", vm.folder.is_some(), &[Vsphere]),
        ("pool", vm.pool.is_some(), &[Vsphere]),
        ("change_tracking", vm.change_tracking, &[Vsphere]),
        ("extra", !vm.extra.is_empty(), &[Vsphere, Openstack]),
        ("flavor", vm.flavor.is_some(), &[Openstack]),
        ("image", vm.image.is_some(), &[Openstack]),
        ("snapshots", !vm.snapshots.is_empty(), &[Vsphere, Ovirt]),
        ("notes", !vm.notes.is_empty(), &[Vsphere, Ovirt, Openstack]),
        ("datastore", vm.datastore.is_some(), &[Vsphere, Ovirt, Openstack]),
        ("guest", vm.guest.id.is_some(), &[Vsphere, Ovirt, Kind::Ova]),
        ("disks", disks().any(|disk| own_words(disk).is_some()), &[Vsphere, Ovirt]),
    ];
    let names = |kinds: &[Kind]| kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
    let mut out: Vec<(&'static str, String)> = rules
        .into_iter()
        .filter(|(_, used, kinds)| *used && !kinds.contains(&kind))
        .map(|(key, _, kinds)| (key, format!("{} has none; it is of {}", kind.name(), names(kinds))))
        .collect();
    for disk in disks().filter(|_| kind == Ovirt) {
        let wrong = match own_words(disk) {
            Some("interface" | "shared" | "provision") | None => None,
            other => other,
        };
        out.extend(wrong.map(|word| ("disks", format!("`{word}` of a disk is vsphere's alone"))));
    }
    if kind == Vsphere && disks().any(|disk| disk.interface.is_some()) {
        out.push(("disks", "`interface` of a disk is ovirt's; here it has a `controller`".to_owned()));
    }
    out
}

/// The first key of a disk that not every platform knows.
fn own_words(disk: &Disk) -> Option<&'static str> {
    [
        ("controller", disk.controller.is_some()),
        ("mode", disk.mode != super::DiskMode::Persistent),
        ("rdm", disk.rdm.is_some()),
        ("encrypted", disk.encrypted),
        ("interface", disk.interface.is_some()),
        ("shared", disk.shared),
        ("provision", disk.provision != super::Provision::Thin),
    ]
    .into_iter()
    .find_map(|(key, used)| used.then_some(key))
}

fn vm_problems(kind: Kind, source: &Source, vm: &Vm, path: &[String], found: &mut Found) {
    fn names<'a, T>(list: &'a [T], name: impl Fn(&'a T) -> &'a str) -> Vec<&'a str> {
        list.iter().map(name).collect()
    }
    let hosts = names(&source.hosts, |host| &host.name);
    let stores = stores(source);
    let folders = names(&source.folders, |folder| folder);
    let pools = names(&source.pools, |pool| pool);
    let flavors = names(&source.flavors, |flavor| &flavor.name);
    let images = names(&source.images, |image| &image.name);
    if kind.is_managed() {
        found.named(below(path, &["host"]), "host", vm.host.as_ref(), &hosts);
        found.named(below(path, &["datastore"]), "datastore", vm.datastore.as_ref(), &stores);
        found.named(below(path, &["folder"]), "folder", vm.folder.as_ref(), &folders);
        found.named(below(path, &["pool"]), "pool", vm.pool.as_ref(), &pools);
        found.named(below(path, &["flavor"]), "flavor", vm.flavor.as_ref(), &flavors);
        found.named(below(path, &["image"]), "image", vm.image.as_ref(), &images);
        for (n, disk) in vm.disks.iter().flatten().enumerate() {
            let place = below(path, &["disks", &n.to_string(), "datastore"]);
            found.named(place, "datastore", disk.datastore.as_ref(), &stores);
        }
    }
    if vm.secure_boot && vm.firmware == Firmware::Bios {
        found.add(below(path, &["secure_boot"]), "only EFI boots securely: write `firmware: efi`");
    }
    if vm.template && vm.is_on() {
        found.add(below(path, &["power"]), "a template does not run");
    }
    if vm.cores_per_socket == 0 || !vm.cpus.is_multiple_of(vm.cores_per_socket.max(1)) {
        let message = format!("{} CPUs are no whole sockets of {} cores", vm.cpus, vm.cores_per_socket);
        found.add(below(path, &["cores_per_socket"]), message);
    }
    if vm.memory.whole_mib() == 0 {
        found.add(below(path, &["memory"]), format!("{} is less than a MiB", vm.memory));
    }
    if vm.version.is_some() && !vm.template {
        found.add(below(path, &["version"]), "only templates have versions");
    }
    for (n, disk) in vm.disks.iter().flatten().enumerate() {
        let place = |key: &str| below(path, &["disks", &n.to_string(), key]);
        if disk.size.bytes() == 0 || !disk.size.bytes().is_multiple_of(1024) {
            found.add(place("size"), format!("{} are no whole KiB of a disk", disk.size));
        }
        if disk.rdm == Some(Rdm::Physical) && !vm.snapshots.is_empty() {
            found.add(place("rdm"), "a VM with a physical mapping has no snapshots");
        }
    }
    if let Some(fails) = &vm.fails {
        found.named(below(path, &["fails", "at"]), "pipeline step", Some(&fails.at), super::STEPS);
    }
    let mut seen = BTreeSet::new();
    for (n, snapshot) in vm.snapshots.iter().enumerate() {
        if !seen.insert(snapshot.name.as_str()) {
            let message = format!("there is a snapshot `{}` already", snapshot.name);
            found.add(below(path, &["snapshots", &n.to_string(), "name"]), message);
        }
    }
}

fn nic_problems(kind: Kind, source: &Source, nic: &Nic, path: &[String], found: &mut Found) {
    let adapters: &[&str] = match kind {
        Kind::Vsphere => &["vmxnet3", "e1000e", "e1000"],
        Kind::Ovirt => &["virtio", "e1000", "e1000e", "rtl8139", "pci_passthrough"],
        Kind::Openstack | Kind::Ova | Kind::Hyperv | Kind::Ec2 => &[],
    };
    found.named(below(path, &["adapter"]), "adapter", nic.adapter.as_ref(), adapters);
    let networks: Vec<&str> = source.networks.iter().map(|network| network.name.as_str()).collect();
    found.named(below(path, &["network"]), "network", nic.network.as_ref(), &networks);
    if nic.origin == Some(super::AddressOrigin::Static) && nic.addresses.is_empty() {
        found.add(below(path, &["origin"]), "a static address must be said: write `addresses`");
    }
}
