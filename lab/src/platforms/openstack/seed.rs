//! The cloud as every lab starts: the servers that the shipped scenarios name, and some that nobody
//! asked for.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use bytes::Bytes;

use super::model::{Attachment, Flavor, Guest, Image, Network, Server, State, Subnet, Volume, now_bare, now_z, uuid};

/// The few facts in which the seeded servers differ.
struct Draft {
    name: &'static str,
    os: Os,
    flavor: &'static str,
    /// GiB and type of each volume. Empty: it boots from an image.
    volumes: &'static [(u64, &'static str)],
    networks: &'static [&'static str],
    efi: bool,
    on: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Os {
    Rhel8,
    Rhel9,
    Win2019,
    Win2022,
}

impl Os {
    fn windows(self) -> bool {
        matches!(self, Self::Win2019 | Self::Win2022)
    }

    fn guest(self, hostname: &str) -> Guest {
        let pretty_name = match self {
            Self::Rhel8 => "Red Hat Enterprise Linux 8.10 (Ootpa)",
            Self::Rhel9 => "Red Hat Enterprise Linux 9.4 (Plow)",
            Self::Win2019 => "Microsoft Windows Server 2019 Standard",
            Self::Win2022 => "Microsoft Windows Server 2022 Standard",
        };
        Guest { windows: self.windows(), pretty_name, hostname: hostname.to_owned() }
    }

    fn properties(self, efi: bool) -> BTreeMap<String, String> {
        let (type_, distro, version) = match self {
            Self::Rhel8 => ("linux", "rhel", "8.10"),
            Self::Rhel9 => ("linux", "rhel", "9.4"),
            Self::Win2019 => ("windows", "windows", "2019"),
            Self::Win2022 => ("windows", "windows", "2022"),
        };
        let mut all = BTreeMap::from([
            ("os_type".to_owned(), type_.to_owned()),
            ("os_distro".to_owned(), distro.to_owned()),
            ("os_version".to_owned(), version.to_owned()),
            ("hw_disk_bus".to_owned(), "virtio".to_owned()),
            ("hw_vif_model".to_owned(), "virtio".to_owned()),
        ]);
        if efi {
            all.insert("hw_firmware_type".to_owned(), "uefi".to_owned());
            all.insert("hw_machine_type".to_owned(), "q35".to_owned());
            if self.windows() {
                all.insert("os_secure_boot".to_owned(), "required".to_owned());
            }
        }
        all
    }
}

fn drafts() -> Vec<Draft> {
    let base =
        |name, os, flavor, volumes, networks| Draft { name, os, flavor, volumes, networks, efi: false, on: false };
    vec![
        base("mtv-tests-rhel8", Os::Rhel8, "m1.small", &[(16, "ceph-ssd")], &["vm-network"]),
        base(
            "mtv-rhel8-warm-2disks2nics",
            Os::Rhel8,
            "m1.medium",
            &[(16, "ceph-ssd"), (8, "nfs")],
            &["vm-network", "mgmt-network"],
        ),
        // Boots from an image: its root disk is no volume.
        base("mtv-win2019-79", Os::Win2019, "m1.windows", &[], &["vm-network"]),
        base(
            "mtv-win2019-3disks",
            Os::Win2019,
            "m1.large",
            &[(40, "ceph-ssd"), (10, "ceph-ssd"), (5, "nfs")],
            &["vm-network", "mgmt-network"],
        ),
        Draft {
            efi: true,
            ..base(
                "mtv-win2022-ip-3disks",
                Os::Win2022,
                "m1.large",
                &[(50, "ceph-ssd"), (12, "nfs"), (6, "nfs")],
                &["vm-network", "mgmt-network"],
            )
        },
        Draft { efi: true, ..base("mtv-rhel9-static", Os::Rhel9, "m1.threads", &[(20, "nfs")], &["vm-network"]) },
        // A name that holds another's: Nova's filter finds both.
        base("mtv-tests-rhel8-old", Os::Rhel8, "m1.small", &[(16, "nfs")], &["vm-network"]),
        Draft {
            on: true,
            ..base("db-prod-01", Os::Rhel9, "m1.large", &[(60, "ceph-ssd"), (500, "nfs")], &["prod-network"])
        },
        Draft { on: true, ..base("jenkins-legacy", Os::Rhel8, "m1.windows", &[], &["prod-network"]) },
    ]
}

pub(super) fn state() -> State {
    let mut state = State {
        types: [uuid(), uuid(), uuid()]
            .into_iter()
            .zip(["ceph-ssd", "nfs", "__DEFAULT__"].map(str::to_owned))
            .collect(),
        ..State::default()
    };
    for (name, net) in [("vm-network", 1), ("mgmt-network", 2), ("prod-network", 70)] {
        let network = Network { id: uuid(), name: name.to_owned(), created: now_z() };
        state.subnets.push(Subnet {
            id: uuid(),
            name: format!("{name}-v4"),
            network: network.id.clone(),
            base: Ipv4Addr::new(10, 80, net, 0),
        });
        state.networks.push(network);
    }
    let threads = BTreeMap::from([("hw:cpu_threads".to_owned(), "2".to_owned())]);
    for (name, vcpus, ram, disk, extra) in [
        ("m1.small", 1, 2048, 20, BTreeMap::new()),
        ("m1.medium", 2, 4096, 20, BTreeMap::new()),
        ("m1.large", 4, 8192, 50, BTreeMap::new()),
        ("m1.windows", 2, 4096, 40, BTreeMap::new()),
        ("m1.threads", 4, 4096, 20, threads),
    ] {
        state.flavors.push(Flavor { id: uuid(), name: name.to_owned(), vcpus, ram, disk, extra });
    }
    for os in [Os::Rhel8, Os::Win2019] {
        let image = image(os);
        state.images.insert(image.id.clone(), image);
    }
    for draft in drafts() {
        add(&mut state, &draft);
    }
    state
}

fn image(os: Os) -> Image {
    let name = if os == Os::Rhel8 { "rhel-8.10-x86_64" } else { "windows-2019" };
    Image {
        id: uuid(),
        name: name.to_owned(),
        status: "active",
        disk_format: "qcow2".to_owned(),
        container_format: "bare".to_owned(),
        visibility: "public".to_owned(),
        size: Some(900 << 20),
        virtual_size: Some(10 << 30),
        min_disk: 10,
        properties: os.properties(false),
        data: Bytes::new(),
        guest: Some(os.guest("localhost")),
        created: now_z(),
        updated: now_z(),
        pending: None,
    }
}

fn add(state: &mut State, draft: &Draft) {
    let id = uuid();
    let guest = draft.os.guest(draft.name);
    let image = draft.volumes.is_empty().then(|| {
        let wanted = if draft.os.windows() { "windows-2019" } else { "rhel-8.10-x86_64" };
        state.images.values().find(|i| i.name == wanted).map(|i| i.id.clone()).unwrap_or_default()
    });
    let mut volumes = Vec::new();
    for ((size, kind), letter) in draft.volumes.iter().zip('a'..) {
        let boot = letter == 'a';
        let (volume, attachment, device) = (uuid(), uuid(), format!("/dev/vd{letter}"));
        let attached = (id.clone(), device.clone(), attachment.clone(), now_bare());
        state.volumes.insert(
            volume.clone(),
            Volume {
                id: volume.clone(),
                name: if boot { format!("{}-boot", draft.name) } else { String::new() },
                size: *size,
                status: "in-use",
                bootable: boot,
                kind: (*kind).to_owned(),
                snapshot: None,
                metadata: BTreeMap::new(),
                image_metadata: if boot { draft.os.properties(draft.efi) } else { BTreeMap::new() },
                attached: Some(attached),
                guest: boot.then(|| guest.clone()),
                created: now_bare(),
                updated: now_bare(),
                pending: None,
            },
        );
        volumes.push(Attachment { id: attachment, volume, device, delete_on_termination: false });
    }
    let mut ports = Vec::new();
    for name in draft.networks {
        let network = state.networks.iter().find(|n| n.name == *name).map(|n| n.id.clone()).unwrap_or_default();
        let port = state.add_port("", &network, None, &[]);
        if let Some(port) = state.ports.get_mut(&port) {
            port.device.clone_from(&id);
        }
        ports.push(port);
    }
    let flavor = state.flavors.iter().find(|f| f.name == draft.flavor).map(|f| f.id.clone()).unwrap_or_default();
    state.servers.insert(
        id.clone(),
        Server {
            id,
            name: draft.name.to_owned(),
            description: None,
            status: if draft.on { "ACTIVE" } else { "SHUTOFF" },
            task: None,
            flavor,
            image,
            own_ports: ports.clone(),
            ports,
            volumes,
            metadata: BTreeMap::new(),
            guest: Some(guest),
            fault: None,
            created: now_z(),
            updated: now_z(),
            pending: None,
        },
    );
}
