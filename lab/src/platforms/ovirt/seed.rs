//! The engine as every lab starts: templates by the names of the shipped scenarios, and some VMs.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::model::{Attachment, Datacenter, Disk, Domain, Guest, Machine, Named, Network, Nic, State, fresh_id, now};

const GIB: i64 = 1 << 30;

struct Draft {
    name: &'static str,
    os: Os,
    /// GiB of each disk.
    disks: &'static [i64],
    /// Network by position, and a static address.
    nics: &'static [(usize, Option<[u8; 4]>)],
    bios: &'static str,
    sockets: u32,
    cores: u32,
    memory_gib: i64,
    version: u32,
    on: bool,
}

#[derive(Clone, Copy)]
enum Os {
    Rhel8,
    Rhel9,
    Win2019,
    Win2022,
}

impl Os {
    fn id(self) -> &'static str {
        match self {
            Self::Rhel8 => "rhel_8x64",
            Self::Rhel9 => "rhel_9x64",
            Self::Win2019 => "windows_2019x64",
            Self::Win2022 => "windows_2022",
        }
    }

    fn guest(self, hostname: &str) -> Guest {
        let (windows, pretty_name, distribution, release) = match self {
            Self::Rhel8 => (false, "Red Hat Enterprise Linux 8.10 (Ootpa)", "Red Hat Enterprise Linux", "8.10"),
            Self::Rhel9 => (false, "Red Hat Enterprise Linux 9.4 (Plow)", "Red Hat Enterprise Linux", "9.4"),
            Self::Win2019 => (true, "Microsoft Windows Server 2019 Standard", "Microsoft Windows", "10.0.17763"),
            Self::Win2022 => (true, "Microsoft Windows Server 2022 Standard", "Microsoft Windows", "10.0.20348"),
        };
        Guest { windows, hostname: hostname.to_owned(), pretty_name, distribution, release }
    }
}

fn drafts(templates: bool) -> Vec<Draft> {
    let base = |name, os, disks, nics| Draft {
        name,
        os,
        disks,
        nics,
        bios: "q35_sea_bios",
        sockets: 2,
        cores: 1,
        memory_gib: 4,
        version: 1,
        on: false,
    };
    if !templates {
        return vec![
            Draft { on: true, sockets: 4, cores: 2, ..base("db-prod-02", Os::Rhel9, &[60, 300], &[(1, None)]) },
            base("ovirt-standby", Os::Rhel8, &[20], &[(0, None)]),
            // A VM of a template's name would be found before it.
            base("MTV-TESTS-RHEL8-old", Os::Rhel8, &[10], &[(0, None)]),
        ];
    }
    vec![
        // An older version of the template: clones are made from the newest.
        Draft { sockets: 8, ..base("mtv-tests-rhel8", Os::Rhel8, &[10], &[(1, None)]) },
        Draft { sockets: 1, memory_gib: 2, version: 2, ..base("mtv-tests-rhel8", Os::Rhel8, &[16], &[(0, None)]) },
        base("mtv-rhel8-warm-2disks2nics", Os::Rhel8, &[16, 8], &[(0, None), (1, None)]),
        Draft { bios: "cluster_default", ..base("mtv-win2019-79", Os::Win2019, &[40], &[(0, None)]) },
        base("mtv-win2019-3disks", Os::Win2019, &[40, 10, 5], &[(0, Some([192, 168, 110, 19]))]),
        Draft {
            bios: "q35_secure_boot",
            sockets: 2,
            cores: 2,
            memory_gib: 8,
            ..base(
                "mtv-win2022-ip-3disks",
                Os::Win2022,
                &[50, 12, 6],
                &[(0, Some([192, 168, 110, 22])), (1, Some([192, 168, 210, 22]))],
            )
        },
        Draft { bios: "q35_ovmf", ..base("mtv-rhel9-static", Os::Rhel9, &[20], &[(0, Some([192, 168, 110, 9]))]) },
    ]
}

/// The state of a fresh engine.
pub fn state() -> State {
    let network = |name, vlan| Network { id: fresh_id(), name, vlan, profile: fresh_id() };
    let domain = |name, kind, storage, available: i64| Domain {
        id: fresh_id(),
        name,
        kind,
        storage,
        available: available * GIB,
        used: 200 * GIB,
    };
    let datacenter = |name, status| Datacenter { id: fresh_id(), name, status };
    let mut state = State {
        instance: fresh_id(),
        datacenters: vec![datacenter("MTV-CNV", "up"), datacenter("Default", "uninitialized")],
        cluster: Named { id: fresh_id(), name: "MTV-CNV" },
        hosts: ["rhv-host-1.lab", "rhv-host-2.lab"].map(|name| Named { id: fresh_id(), name }).to_vec(),
        networks: vec![network("ovirtmgmt", None), network("vm-net-120", Some(120)), network("storage", Some(30))],
        domains: vec![
            domain("data-fc", "data", "fcp", 8000),
            domain("data-nfs", "data", "nfs", 3000),
            domain("iso", "iso", "nfs", 100),
        ],
        templates: BTreeMap::new(),
        vms: BTreeMap::new(),
        disks: BTreeMap::new(),
        events: Vec::new(),
        jobs: Vec::new(),
    };
    for draft in drafts(true) {
        let machine = build(draft, true, &mut state);
        state.templates.insert(machine.id.clone(), machine);
    }
    for draft in drafts(false) {
        let machine = build(draft, false, &mut state);
        state.vms.insert(machine.id.clone(), machine);
    }
    state.event_of(1, "Starting oVirt Engine.".to_owned(), None, "");
    state
}

fn build(draft: Draft, template: bool, state: &mut State) -> Machine {
    let guest = draft.os.guest(draft.name);
    let domain = &state.domains[usize::from(draft.on)];
    let mut attachments = Vec::new();
    for (number, gib) in draft.disks.iter().enumerate() {
        let disk = Disk {
            id: fresh_id(),
            name: format!("{}_Disk{}", draft.name, number + 1),
            size: gib * GIB,
            status: "ok",
            domain: domain.id.clone(),
            image: fresh_id(),
            format: "cow".to_owned(),
            sparse: true,
        };
        let interface = if guest.windows { "virtio_scsi" } else { "virtio" }.to_owned();
        attachments.push(Attachment { disk: disk.id.clone(), interface, bootable: number == 0 });
        state.disks.insert(disk.id.clone(), disk);
    }
    let nic = |(number, (network, fixed)): (usize, &(usize, Option<[u8; 4]>))| Nic {
        id: fresh_id(),
        name: format!("nic{}", number + 1),
        interface: "virtio".to_owned(),
        profile: Some(state.networks[*network].profile.clone()),
        mac: if template { String::new() } else { state.fresh_mac() },
        guest_name: if guest.windows { format!("Ethernet{number}") } else { format!("eth{number}") },
        fixed: fixed.map(|octets| (Ipv4Addr::from(octets), 24)),
    };
    Machine {
        id: fresh_id(),
        name: draft.name.to_owned(),
        description: String::new(),
        memory: draft.memory_gib * GIB,
        sockets: draft.sockets,
        cores: draft.cores,
        os: draft.os.id(),
        bios: draft.bios,
        nics: draft.nics.iter().enumerate().map(nic).collect(),
        attachments,
        snapshots: Vec::new(),
        status: match (template, draft.on) {
            (true, _) => "ok",
            (false, true) => "up",
            (false, false) => "down",
        },
        created: now(),
        template: None,
        version: draft.version,
        host: draft.on.then(|| state.hosts[0].id.clone()),
        reports: draft.on,
        boots: u64::from(draft.on),
        active: fresh_id(),
        guest,
    }
}
