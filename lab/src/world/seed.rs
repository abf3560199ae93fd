//! The world as every lab starts: the VMs that the shipped scenarios name, and some that nobody
//! asked for, because a real vCenter is never empty.

use std::net::{IpAddr, Ipv4Addr};

use super::model::{
    Adapter, Cluster, Controller, ControllerKind, Datastore, Disk, Folder, FolderKind, GuestAdapter, GuestOs, Host,
    Network, Nic, Pool, State, Vm, fresh_uuid, now,
};

const GIB: i64 = 1 << 30;
/// Ids of new objects begin above everything seeded.
const FIRST_FREE_ID: u64 = 1000;

pub(super) fn state() -> State {
    let mut state = State {
        datacenter: ("datacenter-2".to_owned(), "Datacenter".to_owned()),
        switch: (
            "dvs-14".to_owned(),
            "mtv-dvs".to_owned(),
            "50 0a 1c 2b 3d 4e 5f 60-71 82 93 a4 b5 c6 d7 e8".to_owned(),
        ),
        cluster: Cluster { id: "domain-c20".to_owned(), name: "Cluster".to_owned() },
        last_id: FIRST_FREE_ID,
        ..State::default()
    };
    for (id, name, kind, parent) in [
        ("group-d1", "Datacenters", FolderKind::Root, None),
        ("group-v3", "vm", FolderKind::Vm, Some("datacenter-2")),
        ("group-h4", "host", FolderKind::Host, Some("datacenter-2")),
        ("group-s5", "datastore", FolderKind::Datastore, Some("datacenter-2")),
        ("group-n6", "network", FolderKind::Network, Some("datacenter-2")),
        ("group-v30", "templates", FolderKind::Vm, Some("group-v3")),
    ] {
        let folder = Folder { id: id.to_owned(), name: name.to_owned(), kind, parent: parent.map(str::to_owned) };
        state.folders.insert(id.to_owned(), folder);
    }
    state.networks = [
        ("network-7", "VM Network", None),
        ("network-8", "Mgmt Network", None),
        ("dvportgroup-15", "mtv-portgroup", Some(120)),
    ]
    .map(|(id, name, vlan)| Network { id: id.to_owned(), name: name.to_owned(), vlan })
    .into();
    state.datastores = [
        ("datastore-10", "datastore1", "VMFS", 4096, 2900),
        ("datastore-11", "datastore2", "VMFS", 2048, 1500),
        ("datastore-12", "nfs-us-mtv-v8", "NFS", 8192, 6100),
    ]
    .map(|(id, name, kind, capacity, free)| Datastore {
        id: id.to_owned(),
        name: name.to_owned(),
        kind,
        capacity: capacity * GIB,
        free: free * GIB,
    })
    .into();
    state.hosts = (1..=3u8)
        .map(|n| Host {
            id: format!("host-{}", 20 + n),
            name: format!("esxi-{n}.lab.example"),
            address: Ipv4Addr::new(10, 50, 0, 20 + n),
        })
        .collect();
    state.pools = vec![
        Pool { id: "resgroup-21".to_owned(), name: "Resources".to_owned(), parent: None },
        Pool { id: "resgroup-22".to_owned(), name: "mtv-tests".to_owned(), parent: Some("resgroup-21".to_owned()) },
    ];
    for (index, draft) in drafts().into_iter().enumerate() {
        let vm = draft.build(index);
        state.vms.insert(vm.id.clone(), vm);
    }
    state
}

/// The few facts in which the seeded VMs differ.
struct Draft {
    name: &'static str,
    os: Os,
    /// GiB a disk.
    disks: &'static [i64],
    /// Network and static address of each NIC.
    nics: &'static [(&'static str, Option<[u8; 4]>)],
    efi: bool,
    cpus: i32,
    memory_mb: i32,
    on: bool,
    template: bool,
}

#[derive(Clone, Copy)]
enum Os {
    Rhel8,
    Rhel9,
    Win2019,
    Win2022,
}

const VM_NETWORK: &str = "network-7";
const MGMT: &str = "network-8";
const PORTGROUP: &str = "dvportgroup-15";

fn drafts() -> Vec<Draft> {
    let base = |name, os, disks, nics| Draft {
        name,
        os,
        disks,
        nics,
        efi: false,
        cpus: 2,
        memory_mb: 4096,
        on: false,
        template: false,
    };
    vec![
        Draft { cpus: 1, memory_mb: 2048, ..base("mtv-tests-rhel8", Os::Rhel8, &[16], &[(VM_NETWORK, None)]) },
        base("mtv-rhel8-warm-2disks2nics", Os::Rhel8, &[16, 8], &[(VM_NETWORK, None), (MGMT, None)]),
        base("mtv-win2019-79", Os::Win2019, &[40], &[(VM_NETWORK, None)]),
        base("mtv-win2019-3disks", Os::Win2019, &[40, 10, 5], &[(VM_NETWORK, Some([192, 168, 100, 19]))]),
        Draft {
            efi: true,
            cpus: 4,
            memory_mb: 8192,
            ..base(
                "mtv-win2022-ip-3disks",
                Os::Win2022,
                &[50, 12, 6],
                &[(VM_NETWORK, Some([192, 168, 100, 22])), (MGMT, Some([192, 168, 200, 22]))],
            )
        },
        Draft { efi: true, ..base("mtv-rhel9-static", Os::Rhel9, &[20], &[(VM_NETWORK, Some([192, 168, 100, 9]))]) },
        Draft { template: true, ..base("rhel8-template", Os::Rhel8, &[16], &[(VM_NETWORK, None)]) },
        Draft {
            on: true,
            cpus: 8,
            memory_mb: 32768,
            ..base("db-prod-01", Os::Rhel9, &[60, 500], &[(PORTGROUP, Some([10, 70, 1, 15]))])
        },
        Draft { on: true, ..base("jenkins-legacy", Os::Rhel8, &[80], &[(PORTGROUP, None)]) },
    ]
}

impl Os {
    fn install(self, hostname: &str) -> GuestOs {
        let (windows, guest_id, full_name, pretty_name) = match self {
            Self::Rhel8 => {
                (false, "rhel8_64Guest", "Red Hat Enterprise Linux 8 (64-bit)", "Red Hat Enterprise Linux 8.10 (Ootpa)")
            }
            Self::Rhel9 => {
                (false, "rhel9_64Guest", "Red Hat Enterprise Linux 9 (64-bit)", "Red Hat Enterprise Linux 9.4 (Plow)")
            }
            Self::Win2019 => (
                true,
                "windows2019srv_64Guest",
                "Microsoft Windows Server 2019 (64-bit)",
                "Microsoft Windows Server 2019 Standard",
            ),
            Self::Win2022 => (
                true,
                "windows2019srvNext_64Guest",
                "Microsoft Windows Server 2022 (64-bit)",
                "Microsoft Windows Server 2022 Standard",
            ),
        };
        let login = if windows { ("Administrator", "lab-windows") } else { ("root", "lab-linux") };
        GuestOs {
            windows,
            guest_id: guest_id.to_owned(),
            full_name: full_name.to_owned(),
            pretty_name: pretty_name.to_owned(),
            hostname: hostname.to_owned(),
            users: vec![(login.0.to_owned(), login.1.to_owned())],
            tools: true,
        }
    }
}

impl Draft {
    fn build(self, index: usize) -> Vm {
        let name = self.name;
        let number = 101 + index;
        let os = self.os.install(name);
        let datastore = if self.on { "datastore-11" } else { "datastore-10" };
        let controller = if os.windows { ControllerKind::LsiSas } else { ControllerKind::ParaVirtual };
        let disk = |(unit, gib): (usize, &i64)| {
            let unit = i32::try_from(unit).unwrap_or_default();
            Disk {
                key: 2000 + unit,
                controller: 1000,
                unit,
                capacity: gib * GIB,
                thin: true,
                eager: false,
                mode: "persistent".to_owned(),
                datastore: datastore.to_owned(),
                path: if unit == 0 { format!("{name}/{name}.vmdk") } else { format!("{name}/{name}_{unit}.vmdk") },
                uuid: fresh_uuid(),
                raw: None,
                change_id: None,
            }
        };
        let nic = |(position, (network, address)): (usize, &(&str, Option<[u8; 4]>))| Nic {
            key: 4000 + i32::try_from(position).unwrap_or_default(),
            adapter: Adapter::Vmxnet3,
            mac: format!("00:50:56:9a:{number:02x}:{:02x}", position + 0x10),
            manual: false,
            network: (*network).to_owned(),
            start_connected: true,
            connected: self.on,
            guest: GuestAdapter {
                name: if os.windows { format!("Ethernet{position}") } else { format!("eth{position}") },
                fixed: address.map(|octets| (Ipv4Addr::from(octets), 24)),
                dns: vec![IpAddr::V4(Ipv4Addr::new(10, 50, 0, 2))],
            },
        };
        Vm {
            id: format!("vm-{number}"),
            name: name.to_owned(),
            folder: if self.template { "group-v30" } else { "group-v3" }.to_owned(),
            template: self.template,
            uuid: fresh_uuid(),
            instance_uuid: fresh_uuid(),
            efi: self.efi,
            secure_boot: self.efi && os.windows,
            tpm: false,
            cpus: self.cpus,
            cores_per_socket: 1,
            memory_mb: self.memory_mb,
            annotation: String::new(),
            change_tracking: false,
            extra_config: vec![("disk.EnableUUID".to_owned(), "TRUE".to_owned())],
            controllers: vec![Controller { key: 1000, bus: 0, kind: controller }],
            disks: self.disks.iter().enumerate().map(disk).collect(),
            nics: self.nics.iter().enumerate().map(nic).collect(),
            powered_on: self.on,
            tools_running: self.on,
            host: format!("host-{}", 21 + index % 3),
            pool: (!self.template).then(|| "resgroup-21".to_owned()),
            datastore: datastore.to_owned(),
            snapshots: Vec::new(),
            current_snapshot: None,
            busy: None,
            created: now(),
            boots: u64::from(self.on),
            revision: 1,
            change_sequence: 0,
            os,
        }
    }
}
