//! From the facts of a world file to the state that vSphere shows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::model::{
    Adapter, Cluster, Controller, ControllerKind, Datastore, Disk, Folder, FolderKind, GuestAdapter, GuestOs, Host,
    Network, Nic, Pool, State, Vm, fresh_uuid, now,
};
use crate::api::world::{self as told, Firmware, Provision, Rdm, Source, Tools};

/// Ids of new objects begin above everything seeded.
const FIRST_FREE_ID: u64 = 1000;
/// The first VM's id; its number is also in generated MACs.
const FIRST_VM: usize = 101;
/// Of the distributed switch.
pub(super) const FIRST_PORTGROUP: usize = 15;
const VM_FOLDER: &str = "group-v3";
const ROOT_POOL: &str = "resgroup-21";
/// Disks that one controller takes; unit 7 is a SCSI controller's own.
const DISKS_A_CONTROLLER: i32 = 15;
const DNS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 50, 0, 2));

pub(super) fn state(source: &Source) -> State {
    let mut state = State {
        datacenter: ("datacenter-2".to_owned(), "Datacenter".to_owned()),
        switch: (
            "dvs-14".to_owned(),
            "mtv-dvs".to_owned(),
            "50 0a 1c 2b 3d 4e 5f 60-71 82 93 a4 b5 c6 d7 e8".to_owned(),
        ),
        cluster: Cluster { id: "domain-c20".to_owned(), name: "Cluster".to_owned() },
        ..State::default()
    };
    for (id, name, kind, parent) in [
        ("group-d1", "Datacenters", FolderKind::Root, None),
        (VM_FOLDER, "vm", FolderKind::Vm, Some("datacenter-2")),
        ("group-h4", "host", FolderKind::Host, Some("datacenter-2")),
        ("group-s5", "datastore", FolderKind::Datastore, Some("datacenter-2")),
        ("group-n6", "network", FolderKind::Network, Some("datacenter-2")),
    ] {
        let folder = Folder { id: id.to_owned(), name: name.to_owned(), kind, parent: parent.map(str::to_owned) };
        state.folders.insert(id.to_owned(), folder);
    }
    for path in &source.folders {
        make_folder(&mut state, path);
    }
    let (mut standard, mut distributed) = (7.., FIRST_PORTGROUP..);
    let network = |network: &told::Network| {
        let on_switch = network.distributed || network.vlan.is_some();
        let number = if on_switch { distributed.next() } else { standard.next() }.unwrap_or_default();
        Network {
            id: format!("{}-{number}", if on_switch { "dvportgroup" } else { "network" }),
            name: network.name.clone(),
            vlan: on_switch.then(|| i32::from(network.vlan.unwrap_or_default())),
        }
    };
    state.networks = source.networks.iter().map(network).collect();
    let store = |(index, store): (usize, &told::Datastore)| Datastore {
        id: format!("datastore-{}", 10 + index),
        name: store.name.clone(),
        kind: store.kind.clone().unwrap_or_else(|| "VMFS".to_owned()),
        capacity: store.capacity.signed(),
        free: store.free.signed(),
        xcopy: store.xcopy && store.kind.as_deref().is_none_or(|kind| kind == "VMFS"),
    };
    state.datastores = source.datastores.iter().enumerate().map(store).collect();
    let host = |(index, host): (usize, &told::Host)| Host {
        id: format!("host-{}", 21 + index),
        name: host.name.clone(),
        address: host.address.unwrap_or_else(|| Ipv4Addr::from(0x0a32_0015 + u32::try_from(index).unwrap_or_default())),
    };
    state.hosts = source.hosts.iter().enumerate().map(host).collect();
    let pool = |(index, name): (usize, &String)| Pool {
        id: format!("resgroup-{}", 22 + index),
        name: name.clone(),
        parent: Some(ROOT_POOL.to_owned()),
    };
    state.pools = vec![Pool { id: ROOT_POOL.to_owned(), name: "Resources".to_owned(), parent: None }];
    state.pools.extend(source.pools.iter().enumerate().map(pool));
    let mut taken = macs(&source.vms);
    for (index, vm) in source.vms.iter().enumerate() {
        add(&mut state, vm, FIRST_VM + index, &mut taken);
    }
    state.last_id = FIRST_FREE_ID.max(u64::try_from(FIRST_VM + source.vms.len()).unwrap_or(FIRST_FREE_ID));
    state
}

/// Adds VMs to a state that is in use.
pub(super) fn grow(state: &mut State, vms: &[told::Vm]) {
    let mut taken = macs(vms);
    taken.extend(state.vms.values().flat_map(|vm| vm.nics.iter().map(|nic| nic.mac.clone())));
    for vm in vms {
        state.last_id += 1;
        let number = usize::try_from(state.last_id).unwrap_or(FIRST_VM);
        add(state, vm, number, &mut taken);
    }
}

/// The MACs that are written, so that a generated one is none of them.
fn macs(vms: &[told::Vm]) -> BTreeSet<String> {
    let nics = vms.iter().flat_map(|vm| vm.nics.iter().flatten());
    nics.filter_map(|nic| nic.mac.as_ref()).map(|mac| mac.as_str().to_owned()).collect()
}

/// The folder of this path below the data center's, made where it is missing; the answer is its id.
pub(super) fn make_folder(state: &mut State, path: &str) -> String {
    let mut parent = VM_FOLDER.to_owned();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        let same = |folder: &&Folder| folder.name == name && folder.parent.as_deref() == Some(&parent);
        parent = match state.folders.values().find(same) {
            Some(folder) => folder.id.clone(),
            None => {
                let made = state.folders.values().filter(|folder| folder.kind == FolderKind::Vm).count();
                let id = format!("group-v{}", 29 + made);
                let folder =
                    Folder { id: id.clone(), name: name.to_owned(), kind: FolderKind::Vm, parent: Some(parent) };
                state.folders.insert(id.clone(), folder);
                id
            }
        };
    }
    parent
}

fn installed(vm: &told::Vm) -> GuestOs {
    let windows = vm.os.windows();
    let login = if windows { ("Administrator", "lab-windows") } else { ("root", "lab-linux") };
    let guest = &vm.guest;
    GuestOs {
        windows,
        guest_id: guest.id.clone().unwrap_or_else(|| vm.os.vsphere_id().to_owned()),
        full_name: guest.full_name.clone().unwrap_or_else(|| vm.os.full_name().to_owned()),
        pretty_name: vm.pretty_name().to_owned(),
        hostname: vm.hostname().to_owned(),
        users: vec![(login.0.to_owned(), login.1.to_owned())],
        tools: guest.tools,
        fails: vm.fails.clone(),
        luks: vm.luks.clone(),
    }
}

/// A VM's controllers with the places on them, in the order in which its disks ask.
#[derive(Default)]
struct Controllers {
    all: Vec<Controller>,
    /// Disks on each.
    used: Vec<i32>,
}

impl Controllers {
    /// Keys of the disk and of its controller, and its unit.
    fn place(&mut self, kind: ControllerKind) -> (i32, i32, i32) {
        let free = |(it, used): (&Controller, &i32)| it.kind == kind && *used < DISKS_A_CONTROLLER;
        let at = self.all.iter().zip(&self.used).position(free).unwrap_or_else(|| {
            let scsi = |kind| matches!(kind, ControllerKind::ParaVirtual | ControllerKind::LsiSas);
            let beside = self.all.iter().filter(|it| it.kind == kind || (scsi(it.kind) && scsi(kind))).count();
            let (bus, base) = (i32::try_from(beside).unwrap_or_default(), first_keys(kind).0);
            self.all.push(Controller { key: base + bus, bus, kind });
            self.used.push(0);
            self.all.len() - 1
        });
        let (Some(it), Some(used)) = (self.all.get(at), self.used.get_mut(at)) else { return (0, 0, 0) };
        let unit = if matches!(kind, ControllerKind::ParaVirtual | ControllerKind::LsiSas) && *used >= 7 {
            *used + 1
        } else {
            *used
        };
        *used += 1;
        (first_keys(kind).1 + it.bus * 16 + unit, it.key, unit)
    }
}

/// vSphere's first key of a controller of this kind, and of a disk on it.
fn first_keys(kind: ControllerKind) -> (i32, i32) {
    match kind {
        ControllerKind::ParaVirtual | ControllerKind::LsiSas => (1000, 2000),
        ControllerKind::Sata => (15000, 16000),
        ControllerKind::Nvme => (31000, 32000),
    }
}

fn controller_kind(disk: &told::Disk, windows: bool) -> ControllerKind {
    match disk.controller {
        Some(told::Controller::Pvscsi) => ControllerKind::ParaVirtual,
        Some(told::Controller::Lsisas) => ControllerKind::LsiSas,
        Some(told::Controller::Sata) => ControllerKind::Sata,
        Some(told::Controller::Nvme) => ControllerKind::Nvme,
        None if windows => ControllerKind::LsiSas,
        None => ControllerKind::ParaVirtual,
    }
}

/// The id of the thing of this name, or of the first.
fn id_of<'a>(all: impl Iterator<Item = (&'a String, &'a String)> + Clone, name: Option<&String>) -> String {
    let named = name.and_then(|name| all.clone().find(|(_, other)| *other == name));
    named.or_else(|| all.clone().next()).map(|(id, _)| id.clone()).unwrap_or_default()
}

/// Adds one VM. `number`: of its id. Names that nothing has were refused with the file.
fn add(state: &mut State, vm: &told::Vm, number: usize, taken: &mut BTreeSet<String>) {
    let os = installed(vm);
    let store_of = |name: Option<&String>| id_of(state.datastores.iter().map(|store| (&store.id, &store.name)), name);
    let datastore = store_of(vm.datastore.as_ref());
    let mut controllers = Controllers::default();
    let mut disks = Vec::new();
    for (index, disk) in vm.all_disks().iter().enumerate() {
        let (key, controller, unit) = controllers.place(controller_kind(disk, os.windows));
        let name = &vm.name;
        let raw = disk.rdm.map(|kind| (format!("vml.{:032x}", uuid_of(disk, name, index)), kind == Rdm::Physical));
        disks.push(Disk {
            key,
            controller,
            unit,
            capacity: disk.size.signed(),
            thin: disk.provision == Provision::Thin,
            eager: disk.provision == Provision::ThickEager,
            mode: disk.mode.name().to_owned(),
            datastore: disk.datastore.as_ref().map_or_else(|| datastore.clone(), |name| store_of(Some(name))),
            path: if index == 0 { format!("{name}/{name}.vmdk") } else { format!("{name}/{name}_{index}.vmdk") },
            uuid: fresh_uuid(),
            raw,
            change_id: None,
            shared: disk.shared,
            encrypted: disk.encrypted,
        });
    }
    if controllers.all.is_empty() {
        controllers.place(if os.windows { ControllerKind::LsiSas } else { ControllerKind::ParaVirtual });
    }
    let on = vm.is_on();
    let mut nics = Vec::new();
    for (position, nic) in vm.all_nics().iter().enumerate() {
        let mac =
            nic.mac.as_ref().map_or_else(|| generated_mac(number, position, taken), |mac| mac.as_str().to_owned());
        nics.push(Nic {
            key: 4000 + i32::try_from(position).unwrap_or_default(),
            adapter: match nic.adapter.as_deref() {
                Some("e1000e") => Adapter::E1000e,
                Some("e1000") => Adapter::E1000,
                _ => Adapter::Vmxnet3,
            },
            mac,
            manual: false,
            network: id_of(state.networks.iter().map(|network| (&network.id, &network.name)), nic.network.as_ref()),
            start_connected: !nic.disconnected,
            connected: on && !nic.disconnected,
            guest: GuestAdapter {
                name: if os.windows { format!("Ethernet{position}") } else { format!("eth{position}") },
                addresses: nic.addresses.iter().map(|own| (own.address, own.prefix)).collect(),
                is_static: nic.is_static(),
                dns: if nic.dns.is_empty() { vec![DNS] } else { nic.dns.clone() },
            },
        });
    }
    let hosts = state.hosts.len().max(1);
    // One after another, as it was always: the limit of MTV's that counts is a host's.
    let next = state.hosts.get((number - FIRST_VM.min(number)) % hosts).map(|host| host.name.clone());
    let named = vm.host.as_ref().or(next.as_ref());
    let host = id_of(state.hosts.iter().map(|host| (&host.id, &host.name)), named);
    let pool = id_of(state.pools.iter().map(|pool| (&pool.id, &pool.name)), vm.pool.as_ref());
    let folder = vm.folder.as_ref().map_or_else(|| VM_FOLDER.to_owned(), |path| make_folder(state, path));
    let id = format!("vm-{number}");
    let mut extra: BTreeMap<String, String> = vm.extra.clone();
    extra.entry("disk.EnableUUID".to_owned()).or_insert_with(|| "TRUE".to_owned());
    let made = Vm {
        id: id.clone(),
        name: vm.name.clone(),
        folder,
        template: vm.template,
        uuid: vm.uuid.map_or_else(fresh_uuid, |uuid| uuid.to_string()),
        instance_uuid: fresh_uuid(),
        efi: vm.firmware == Firmware::Efi,
        secure_boot: vm.secure_boot,
        tpm: vm.tpm,
        cpus: i32::try_from(vm.cpus).unwrap_or(i32::MAX),
        cores_per_socket: i32::try_from(vm.cores_per_socket).unwrap_or(1),
        memory_mb: i32::try_from(vm.memory.whole_mib()).unwrap_or(i32::MAX),
        annotation: vm.notes.clone(),
        change_tracking: vm.change_tracking,
        without_drs: false,
        extra_config: extra.into_iter().collect(),
        controllers: controllers.all,
        disks,
        nics,
        powered_on: on,
        tools_running: on && os.tools == Tools::Running,
        host,
        pool: (!vm.template).then_some(pool),
        datastore,
        snapshots: Vec::new(),
        current_snapshot: None,
        busy: None,
        created: now(),
        boots: u64::from(on),
        suspended: false,
        revision: 1,
        change_sequence: 0,
        os,
    };
    state.vms.insert(id.clone(), made);
    for snapshot in &vm.snapshots {
        // The VM was put there a line above.
        _ = state.take_snapshot(&id, &snapshot.name, &snapshot.description, false);
    }
}

/// A number that names a raw device, the same at every start.
fn uuid_of(disk: &told::Disk, name: &str, index: usize) -> u128 {
    let text = format!("{name}/{index}/{}", disk.size);
    uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, text.as_bytes()).as_u128()
}

/// A MAC of vCenter's range by the VM's number, so that a restarted lab shows the same.
fn generated_mac(number: usize, position: usize, taken: &mut BTreeSet<String>) -> String {
    let mut step = position + 0x10;
    loop {
        let (high, low) = (0x9a + (number >> 8) % 0x40 + (step >> 8) % 0x20, number & 0xff);
        let mac = format!("00:50:56:{high:02x}:{low:02x}:{:02x}", step & 0xff);
        if taken.insert(mac.clone()) {
            return mac;
        }
        step += 1;
    }
}
