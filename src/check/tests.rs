//! Every rule against a healthy VM and against one thing that is wrong. One healthy world serves all, and a rule is a few
//! lines here: the length is the number of rules.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::api::forklift::{NetworkDestination, Ref, StorageDestination};
use crate::api::vm::*;
use crate::config::Scenario;

mod offload;

const MAC_A: &str = "00:50:56:00:00:01";
const MAC_B: &str = "00:50:56:00:00:02";
const UUID: &str = "421e5a0b-7c11-2233-aabb-ccddeeff0011";

/// Everything that [`Facts`] borrows.
struct World {
    scenario: Scenario,
    before: SourceVm,
    after: SourceVm,
    source_power: Power,
    forced_off: Option<Result<bool, String>>,
    target: Option<TargetVm>,
    storage_map: Vec<StoragePair>,
    network_map: Vec<NetworkPair>,
    defaults: BTreeMap<String, (Vec<String>, Option<String>)>,
    provider: ProviderFacts,
    labels: BTreeMap<String, String>,
    ocp: &'static str,
    mtv: &'static str,
    flags: BTreeMap<String, bool>,
    ran: Ran,
}

/// MTV's side of a cold migration without hooks.
fn ran() -> Ran {
    let done = json!({"phase": "Completed", "started": "2026-01-01T00:00:01Z", "completed": "2026-01-01T00:00:02Z"});
    let with = |more: serde_json::Value| {
        let mut all = done.as_object().cloned().unwrap();
        all.extend(more.as_object().cloned().unwrap());
        serde_json::Value::Object(all)
    };
    let succeeded = json!([{"type": "Succeeded", "status": "True"}]);
    let progress = json!({"completed": 30, "total": 30});
    let tasks = ["a", "b"].map(|disk| with(json!({"name": disk, "progress": progress})));
    let vm = with(json!({"id": "vm-1", "name": "vm", "conditions": succeeded, "pipeline": [
        with(json!({"name": "Initialize", "progress": {"completed": 0, "total": 1}})),
        with(json!({"name": "DiskTransfer", "progress": progress, "tasks": tasks})),
    ]}));
    let spec = json!({"targetNamespace": "ns", "vms": [{"id": "vm-1"}],
        "targetNodeSelector": {"mtv": "1"}, "targetAffinity": {"podAffinity": {}}});
    let plan = json!({"metadata": {"name": "plan", "namespace": "own", "uid": "p"}, "spec": spec, "status": {
        "conditions": succeeded,
        "migration": {"vms": [vm], "history": [{"migration": {"uid": "m"}, "conditions": succeeded}]}}});
    let migration = json!({"metadata": {"name": "migration", "uid": "m"},
        "spec": {"plan": {"name": "plan", "namespace": "own"}}, "status": {"conditions": succeeded, "vms": [vm]}});
    Ran {
        sent: spec,
        plan: Ok(Some(plan)),
        migration: Ok(Some(migration)),
        hooks: Vec::new(),
        marked: Ok(Vec::new()),
        earlier: Vec::new(),
        precopy_interval: None,
        offload: None,
    }
}

/// The objects of the healthy VM.
fn objects() -> Objects {
    let marks = json!({"plan": "p", "migration": "m", "vmID": "vm-1"});
    let disk = |i: u32| json!({"name": format!("vol-{i}"), "disk": {"bus": "virtio"}});
    let mut first = disk(0);
    first["bootOrder"] = json!(1);
    let volume =
        |i: u32| json!({"name": format!("vol-{i}"), "persistentVolumeClaim": {"claimName": format!("vm-disk-{i}")}});
    let template = json!({"nodeSelector": {"mtv": "1"}, "affinity": {"podAffinity": {}},
        "domain": {"clock": {"timezone": "UTC"}, "devices": {"disks": [first, disk(1)], "interfaces": [
            {"name": "net-0", "model": "virtio", "macAddress": MAC_A, "masquerade": {}},
            {"name": "net-1", "model": "virtio", "macAddress": MAC_B, "bridge": {}}]}},
        "networks": [{"name": "net-0", "pod": {}}, {"name": "net-1", "multus": {"networkName": "ns/nad-1"}}],
        "volumes": [volume(0), volume(1)]});
    let owner = json!([{"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "name": "vm", "uid": "v"}]);
    let claim = |i: u32| {
        let name = format!("vm-disk-{i}");
        (
            name.clone(),
            json!({"metadata": {"name": name, "namespace": "ns", "labels": marks, "ownerReferences": owner},
            "spec": {"volumeName": format!("pv-{i}")}, "status": {"phase": "Bound"}}),
        )
    };
    let attached = [0, 1].map(|i| {
        let claim = format!("vm-disk-{i}");
        json!({"name": format!("vol-{i}"), "persistentVolumeClaimInfo": {"claimName": claim}})
    });
    Objects {
        vm: json!({"metadata": {"name": "vm", "namespace": "ns", "uid": "v", "labels": marks},
            "spec": {"runStrategy": "Always", "template": {"spec": template}}}),
        vmi: Some(json!({"metadata": {"name": "vm", "ownerReferences": owner}, "spec": template,
            "status": {"phase": "Running", "guestOSInfo": {"id": "rhel"},
                "conditions": [{"type": "LiveMigratable", "status": "True"}], "volumeStatus": attached}})),
        claims: BTreeMap::from([claim(0), claim(1)]),
    }
}

fn guest(mac: &str, ip: &str) -> GuestInterface {
    GuestInterface {
        name: Some("eth0".into()),
        mac: Some(Mac::new(mac)),
        addresses: vec![GuestAddress { ip: ip.parse().unwrap(), prefix: Some(24), origin: AddressOrigin::Static }],
        gateway: Some("10.1.0.1".parse().unwrap()),
        dns: vec!["10.0.0.2".parse().unwrap()],
    }
}

impl World {
    fn healthy() -> Self {
        let scenario: Scenario = serde_json::from_value(json!({
            "virtual_machines": [{"name": "vm", "source_vm_power": "on", "guest_agent": true}],
            "preserve_static_ips": true,
            "pvc_name_template": "{{ .VmName }}-disk-{{ .DiskIndex }}",
            "pvc_name_template_use_generate_name": false,
            "target_node_selector": {"mtv": null},
            "target_labels": {"team": "a", "run": null},
            "target_affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone"}]}},
        }))
        .unwrap();
        let nic = |label: &str, mac: &str, network: &str, ip: &str| SourceNic {
            label: label.into(),
            mac: Mac::new(mac),
            network_id: format!("id-{network}"),
            network_name: network.into(),
            connected: true,
            starts_connected: None,
            model: None,
            guest: Some(guest(mac, ip)),
        };
        let disk = |i: u64, gib: u64| SourceDisk {
            id: format!("{}", 2000 + i),
            label: format!("Hard disk {}", i + 1),
            file_name: Some(format!("vm_{i}.vmdk")),
            interface: None,
            capacity_bytes: gib << 30,
            storage_id: "datastore-10".into(),
            storage_name: "datastore1".into(),
            raw: false,
            shared: false,
        };
        let before = SourceVm {
            id: "vm-1".into(),
            uuid: Some(UUID.into()),
            name: "vm".into(),
            power: Power::On,
            os: GuestOs::Linux,
            cpu: Some(CpuTopology { sockets: 2, cores: 1, threads: 1 }),
            memory_mib: Some(2048),
            firmware: Some(Firmware { kind: FirmwareKind::Efi, secure_boot: false, tpm: false }),
            nics: vec![nic("a", MAC_A, "VM Network", "10.1.0.5"), nic("b", MAC_B, "Mgmt", "10.1.0.6")],
            disks: vec![disk(0, 10), disk(1, 20)],
            snapshots: vec![SourceSnapshot {
                id: "snapshot-1".into(),
                name: "mine".into(),
                created: Some("2026-01-02T03:04:05Z".into()),
                state: None,
            }],
            guest_agent_running: Some(true),
        };
        let target_nic = |name: &str, mac: &str, network, ip: &str| TargetNic {
            name: name.into(),
            mac: Some(Mac::new(mac)),
            network: Some(network),
            addresses: vec![ip.parse().unwrap()],
            link_up: Some(true),
        };
        let target_disk = |i: u64, gib: u64| TargetDisk {
            pvc: format!("vm-disk-{i}"),
            capacity_bytes: gib << 30,
            storage_class: Some("rbd".into()),
            access_modes: vec!["ReadWriteMany".into()],
            volume_mode: Some("Block".into()),
            boot_order: None,
            disk_source: Some(format!("[datastore1] vm/vm_{i}.vmdk")),
        };
        let nad = TargetNetwork::Multus { namespace: "ns".into(), name: "nad-1".into() };
        let labels = BTreeMap::from([("team".to_owned(), "a".to_owned()), ("run".to_owned(), "mm-1".to_owned())]);
        let target = TargetVm {
            namespace: "ns".into(),
            name: "vm".into(),
            power: Power::On,
            printable_status: "Running".into(),
            cpu: before.cpu,
            memory_mib: Some(2048),
            firmware: before.firmware,
            serial: Some("VMware-42 1e 5a 0b 7c 11 22 33-aa bb cc dd ee ff 00 11".into()),
            nics: vec![
                target_nic("net-0", MAC_A, TargetNetwork::Pod, "10.1.0.5"),
                target_nic("net-1", MAC_B, nad, "10.1.0.6"),
            ],
            disks: vec![target_disk(0, 10), target_disk(1, 20)],
            agent_connected: Some(true),
            node: Some("worker-1".into()),
            labels: labels.clone(),
            node_selector: BTreeMap::new(),
            affinity: Some(json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
                [{"topologyKey": "zone", "namespaces": []}]}})),
            login: GuestLogin::Ok { interfaces: Ok(vec![guest(MAC_A, "10.1.0.5"), guest(MAC_B, "10.1.0.6")]) },
            objects: objects(),
        };
        Self {
            scenario,
            after: before.clone(),
            before,
            source_power: Power::Off,
            forced_off: None,
            target: Some(target),
            storage_map: vec![StoragePair {
                source: Ref::by_id("datastore-10"),
                destination: StorageDestination { storage_class: "rbd".into(), ..StorageDestination::default() },
                ..StoragePair::default()
            }],
            network_map: vec![
                NetworkPair {
                    source: Ref::by_id("id-VM Network"),
                    destination: NetworkDestination { type_: "pod".into(), ..NetworkDestination::default() },
                },
                NetworkPair {
                    source: Ref::by_name("Mgmt"),
                    destination: NetworkDestination {
                        type_: "multus".into(),
                        namespace: Some("ns".into()),
                        name: Some("nad-1".into()),
                    },
                },
            ],
            defaults: BTreeMap::from([("rbd".into(), (vec!["ReadWriteMany".into()], Some("Block".into())))]),
            provider: ProviderFacts {
                insecure_skip_verify: Ok("false".into()),
                wanted_insecure: false,
                connection_insecure: false,
            },
            labels,
            ocp: "4.20.1",
            mtv: "2.11.3",
            flags: BTreeMap::new(),
            ran: ran(),
        }
    }

    fn t(&mut self) -> &mut TargetVm {
        self.target.as_mut().unwrap()
    }

    fn judge(&self) -> Vec<Finding> {
        self.judge_on(Platform::Vsphere)
    }

    fn judge_on(&self, platform: Platform) -> Vec<Finding> {
        judge(&Facts {
            platform,
            scenario: &self.scenario,
            vm: &self.scenario.virtual_machines[0],
            before: &self.before,
            source_power_after: Ok(self.source_power.clone()),
            forced_off: self.forced_off.clone(),
            source_after: Ok(&self.after),
            target_name: None,
            ran: &self.ran,
            target: Ok(self.target.as_ref()),
            storage_map: &self.storage_map,
            network_map: &self.network_map,
            storage_defaults: &self.defaults,
            provider: &self.provider,
            target_labels: &self.labels,
            labelled_node: Some("worker-1"),
            plan: "plan",
            ocp_version: Some(self.ocp),
            mtv_version: Some(self.mtv),
            flags: &self.flags,
        })
    }

    fn failed(&self) -> Vec<String> {
        let mut failed: Vec<String> = self
            .judge()
            .into_iter()
            .filter(|finding| matches!(finding.outcome, Outcome::Failed { .. }))
            .map(|finding| finding.check)
            .collect();
        failed.dedup();
        failed
    }
}

#[test]
fn a_healthy_vm_passes_every_check_and_each_check_speaks() {
    let findings = World::healthy().judge();
    // A cold migration has no cutover, and no step of a story is told here.
    let silent = ["precopies", "cutover", "boot", "marker", "shared-data", "copy-offload"];
    for check in CONTRACT.iter().map(|check| check.name).filter(|check| !silent.contains(check)) {
        let of_check: Vec<_> = findings.iter().filter(|finding| finding.check == *check).collect();
        assert!(!of_check.is_empty(), "{check} is silent");
        assert!(of_check.iter().all(|f| matches!(f.outcome, Outcome::Passed { .. })), "{of_check:#?}");
    }
}

#[test]
fn nested_virtualization_is_as_the_scenario_asks_and_devices_are_those_of_a_raw_copy() {
    let cpu = |w: &mut World, features: serde_json::Value| {
        let vm = &mut w.t().objects.vm["spec"]["template"]["spec"]["domain"]["cpu"]["features"];
        *vm = features;
    };
    let both = |policy: &str| json!([{"name": "vmx", "policy": policy}, {"name": "svm", "policy": policy}]);
    let judged = |asked: Option<bool>, features: serde_json::Value| {
        let mut world = World::healthy();
        world.scenario.enable_nested_virtualization = asked;
        cpu(&mut world, features);
        outcomes(&world, Platform::Vsphere, "cpu-model").iter().any(|o| matches!(o, Outcome::Failed { .. }))
    };
    assert!(!judged(Some(false), both("disable")) && !judged(Some(true), both("optional")));
    assert!(!judged(None, both("optional")), "a source that had it keeps it");
    for (asked, features) in [
        (Some(false), json!(null)),
        (Some(false), both("optional")),
        (Some(true), json!([{"name": "vmx", "policy": "optional"}])),
        (None, both("disable")),
    ] {
        assert!(judged(asked, features.clone()), "{asked:?} {features}");
    }
    let mut raw = World::healthy();
    raw.scenario.skip_guest_conversion = true;
    assert_eq!(raw.failed(), ["nic-devices", "disk-devices"], "virtio is what a conversion makes");
    raw.scenario.use_compatibility_mode = Some(false);
    assert_eq!(raw.failed(), Vec::<String>::new());
    let mut live = World::healthy();
    live.scenario.live_migration = true;
    assert_eq!(live.failed(), ["migration-status"], "a VM that was copied has not moved live");
}

#[test]
fn each_thing_that_is_wrong_fails_its_own_check_and_no_other() {
    type Break = fn(&mut World);
    let cases: &[(&str, Break)] = &[
        ("target-exists", |w| w.target = None),
        ("source-power", |w| w.source_power = Power::On),
        ("power", |w| {
            w.t().power = Power::Off;
            w.t().agent_connected = None;
            w.t().node = None;
            w.t().login = GuestLogin::NotTried("off".into());
        }),
        ("cpu", |w| w.t().cpu = Some(CpuTopology { sockets: 3, cores: 1, threads: 1 })),
        ("memory", |w| w.t().memory_mib = Some(1024)),
        ("firmware", |w| {
            w.t().firmware = Some(Firmware { kind: FirmwareKind::Bios, secure_boot: false, tpm: false });
        }),
        ("serial", |w| w.t().serial = Some("other".into())),
        ("serial", |w| w.ocp = "4.19.7"),
        ("network", |w| w.t().nics[1].network = Some(TargetNetwork::Pod)),
        ("network", |w| {
            w.t().nics[0].mac = Some(Mac::new("00:50:56:ff:ff:ff"));
            w.t().login = GuestLogin::Ok { interfaces: Ok(vec![guest("00:50:56:ff:ff:ff", "10.1.0.5")]) };
            w.t().nics.truncate(1);
        }),
        ("disk-count", |w| w.t().disks.truncate(1)),
        ("disk-count", |w| {
            w.t().disks.remove(0);
        }),
        ("disk-count", |w| {
            w.t().disks.remove(0);
            w.t().disks[0].disk_source = None;
        }),
        ("disk-size", |w| w.t().disks[1].capacity_bytes = 19 << 30),
        ("disk-order", |w| w.t().disks.swap(0, 1)),
        ("disk-order", |w| {
            w.t().disks.swap(0, 1);
            w.t().disks.iter_mut().for_each(|disk| disk.disk_source = None);
        }),
        ("storage-class", |w| w.t().disks[0].storage_class = Some("nfs".into())),
        ("access-mode", |w| w.t().disks[0].access_modes = vec!["ReadWriteOnce".into()]),
        ("access-mode", |w| w.storage_map[0].destination.access_mode = Some("ReadWriteOnce".into())),
        ("volume-mode", |w| w.t().disks[0].volume_mode = Some("Filesystem".into())),
        ("pvc-names", |w| w.scenario.pvc_name_template = Some("other-{{ .DiskIndex }}".into())),
        ("guest-agent", |w| w.t().agent_connected = Some(false)),
        ("ssh-login", |w| w.t().login = GuestLogin::Failed("permission denied".into())),
        ("static-ip", |w| {
            w.t().login = GuestLogin::Ok { interfaces: Ok(vec![guest(MAC_A, "10.1.0.99"), guest(MAC_B, "10.1.0.6")]) };
        }),
        ("static-ip", |w| {
            w.t().login = GuestLogin::NotTried("no credentials".into());
            w.t().nics[1].addresses = vec!["10.1.0.99".parse().unwrap()];
        }),
        // A default gateway lost, and one gained.
        ("static-ip", |w| {
            let lost = GuestInterface { gateway: None, ..guest(MAC_A, "10.1.0.5") };
            w.t().login = GuestLogin::Ok { interfaces: Ok(vec![lost, guest(MAC_B, "10.1.0.6")]) };
        }),
        ("static-ip", |w| w.before.nics[1].guest.as_mut().unwrap().gateway = None),
        ("dns", |w| {
            let lost = GuestInterface { dns: Vec::new(), ..guest(MAC_A, "10.1.0.5") };
            w.t().login = GuestLogin::Ok { interfaces: Ok(vec![lost, guest(MAC_B, "10.1.0.6")]) };
        }),
        ("node-placement", |w| w.t().node = Some("worker-2".into())),
        ("labels", |w| {
            w.t().labels.remove("team");
        }),
        ("affinity", |w| w.t().affinity = None),
        ("provider-tls", |w| {
            w.provider.insecure_skip_verify = Ok("true".into());
            w.provider.connection_insecure = true;
        }),
        ("snapshots", |w| {
            let mut left = w.before.snapshots[0].clone();
            left.id = "snapshot-2".into();
            left.name = "forklift-migration-precopy".into();
            w.after.snapshots.push(left);
        }),
        ("snapshots", |w| w.after.snapshots.clear()),
    ];
    for (check, break_it) in cases {
        let mut world = World::healthy();
        break_it(&mut world);
        let failed = world.failed();
        // Only the first row of serial per version changes no VM; the name says which check.
        assert_eq!(failed, vec![(*check).to_owned()], "{:#?}", world.judge());
    }
}

/// What one check says of a world.
fn said(world: &World, check: &str) -> Outcome {
    world.judge().into_iter().find(|finding| finding.check == check).unwrap().outcome
}

#[test]
fn a_vm_whose_disks_are_shared_can_be_migrated_live_unless_kubevirts_reason_says_something_else() {
    let told = |reason: &str, change: fn(&mut World)| {
        let mut world = World::healthy();
        let condition = json!({"type": "LiveMigratable", "status": "False", "reason": reason, "message": "so it says"});
        world.t().objects.vmi.as_mut().unwrap()["status"]["conditions"] = json!([condition]);
        change(&mut world);
        match said(&world, "live-migration") {
            Outcome::Passed { .. } => "passed",
            Outcome::Failed { .. } => "failed",
            Outcome::NotJudged { .. } => "not judged",
        }
    };
    fn device(world: &mut World, key: &str, value: serde_json::Value) {
        world.t().objects.vm["spec"]["template"]["spec"]["domain"]["devices"][key] = value;
    }
    let as_made: fn(&mut World) = |_| {};
    for reason in ["", "DisksNotLiveMigratable", "InterfaceNotLiveMigratable", "HostDeviceNotLiveMigratable"] {
        assert_eq!(told(reason, as_made), "failed", "{reason}");
        assert_eq!(told(reason, |w| w.t().disks[1].access_modes = vec!["ReadWriteOnce".into()]), "passed", "{reason}");
        assert_eq!(told(reason, |w| w.t().disks[1].access_modes.clear()), "not judged", "{reason}");
    }
    assert_eq!(told("CPUModeLiveMigratable", as_made), "not judged");
    assert_eq!(told("DisksNotLiveMigratable", |w| device(w, "tpm", json!({"persistent": true}))), "not judged");
    assert_eq!(told("HostDeviceNotLiveMigratable", |w| device(w, "gpus", json!([{"name": "g"}]))), "not judged");
    let bridged: fn(&mut World) = |w| device(w, "interfaces", json!([{"name": "net-0", "bridge": {}}]));
    assert_eq!(told("InterfaceNotLiveMigratable", bridged), "not judged");
}

#[test]
fn a_paused_vm_is_failed_whatever_its_power_says() {
    for power in [Power::On, Power::Off, Power::Other("Paused".into())] {
        let mut world = World::healthy();
        let condition = json!({"type": "Paused", "status": "True", "reason": "PausedIOError", "message": "no space"});
        world.t().objects.vmi.as_mut().unwrap()["status"]["conditions"] = json!([condition]);
        world.t().power = power.clone();
        let Outcome::Failed { actual, .. } = said(&world, "instance") else { panic!("{power}") };
        assert_eq!(actual, "paused (PausedIOError: no space)");
    }
}

#[test]
fn a_nic_of_the_source_is_as_connected_as_it_was() {
    let of = |before: (bool, Option<bool>), power: Power, after: bool| {
        let mut world = World::healthy();
        (world.before.nics[0].connected, world.before.nics[0].starts_connected) = before;
        world.after.power = power;
        world.after.nics[0].connected = after;
        matches!(said(&world, "source-kept"), Outcome::Passed { .. })
    };
    assert!(of((true, None), Power::Off, true) && !of((true, None), Power::Off, false));
    // Of one that is off, what it will be is told: an adapter that was connected by hand starts without.
    assert!(of((true, Some(false)), Power::Off, false) && of((false, Some(true)), Power::Off, true));
    assert!(!of((true, Some(false)), Power::On, false));
}

#[test]
fn what_a_plan_says_and_nobody_sent_is_what_its_definition_fills_in() {
    let of = |key: &str, value: serde_json::Value| {
        let mut world = World::healthy();
        world.ran.plan.as_mut().unwrap().as_mut().unwrap()["spec"][key] = value;
        matches!(said(&world, "plan-kept"), Outcome::Passed { .. })
    };
    assert!(of("migrateSharedDisks", json!(true)) && !of("migrateSharedDisks", json!(false)));
    assert!(of("skipGuestConversion", json!(false)) && !of("skipGuestConversion", json!(true)));
    assert!(of("transferNetwork", json!({"name": "fast"})) && !of("virtV2vImage", json!("another")));
    assert!(!of("archived", json!(true)));
}

#[test]
fn a_lost_disk_is_told_with_both_counts() {
    let mut world = World::healthy();
    world.t().disks.truncate(1);
    let finding = world.judge().into_iter().find(|finding| finding.check == "disk-count").unwrap();
    assert_eq!(finding.outcome, Outcome::Failed { expected: "2 disks".into(), actual: "1 disk".into() });
}

#[test]
fn dns_servers_behind_a_local_resolver_or_beyond_a_full_list_are_no_loss() {
    let mut world = World::healthy();
    let with = |servers: &[&str]| {
        let dns: Vec<std::net::IpAddr> = servers.iter().map(|s| s.parse().unwrap()).collect();
        let guests = [guest(MAC_A, "10.1.0.5"), guest(MAC_B, "10.1.0.6")];
        let interfaces = guests.map(|guest| GuestInterface { dns: dns.clone(), ..guest });
        GuestLogin::Ok { interfaces: Ok(interfaces.to_vec()) }
    };
    world.t().login = with(&["127.0.0.53"]);
    let of_check = |world: &World| world.judge().into_iter().find(|f| f.check == "dns").unwrap().outcome;
    assert!(matches!(of_check(&world), Outcome::NotJudged { .. }));
    world.before.nics[0].guest.as_mut().unwrap().dns.push("10.0.0.3".parse().unwrap());
    world.t().login = with(&["10.0.0.2", "10.0.0.8", "10.0.0.9"]);
    assert!(matches!(of_check(&world), Outcome::Passed { .. }));
    world.t().login = with(&["10.0.0.2", "10.0.0.8"]);
    assert!(matches!(of_check(&world), Outcome::Failed { .. }));
}

#[test]
fn what_cannot_be_known_is_not_judged_and_never_passed() {
    let mut world = World::healthy();
    world.before.cpu = None;
    world.t().login = GuestLogin::NotTried("no credentials".into());
    world.t().agent_connected = Some(false);
    // An agent that nobody asked for, and that the source did not have.
    world.scenario.virtual_machines[0].guest_agent = false;
    world.before.guest_agent_running = None;
    let findings = world.judge();
    for check in ["cpu", "ssh-login", "static-ip", "guest-agent"] {
        let of_check: Vec<_> = findings.iter().filter(|finding| finding.check == check).collect();
        assert!(!of_check.is_empty());
        assert!(of_check.iter().all(|f| matches!(f.outcome, Outcome::NotJudged { .. })), "{of_check:#?}");
    }
}

#[test]
fn of_an_openshift_source_an_interface_that_changes_its_kind_is_not_judged_and_a_lost_one_fails() {
    let mut world = World::healthy();
    let finding = |world: &World| {
        let all = world.judge_on(Platform::Openshift);
        all.into_iter().find(|f| f.check == "network" && f.subject.as_deref() == Some(MAC_B)).unwrap().outcome
    };
    world.t().nics.truncate(1);
    assert!(matches!(finding(&world), Outcome::Failed { .. }), "multus to multus is kept");
    world.before.nics[1].network_id = "pod".into();
    assert!(matches!(finding(&world), Outcome::NotJudged { .. }), "pod to multus is dropped by MTV");
}

#[test]
fn pvcs_of_an_openshift_source_have_exact_names_in_2_11() {
    let mut world = World::healthy();
    for disk in &mut world.before.disks {
        disk.id = format!("src/{}", disk.label.to_lowercase().replace(' ', "-"));
    }
    world.scenario.pvc_name_template = Some("copy-of-{{ .SourcePVCName }}".to_owned());
    // 2.11 does not look at it.
    world.scenario.pvc_name_template_use_generate_name = Some(true);
    for i in 0..2 {
        world.t().disks[i].pvc = format!("copy-of-hard-disk-{}", i + 1);
        world.t().disks[i].disk_source = Some(format!("src/hard-disk-{}", i + 1));
    }
    let names = |world: &World| -> Vec<Outcome> {
        let all = world.judge_on(Platform::Openshift);
        all.into_iter().filter(|f| f.check == "pvc-names").map(|f| f.outcome).collect()
    };
    assert!(names(&world).iter().all(|o| matches!(o, Outcome::Passed { .. })), "{:?}", names(&world));
    world.t().disks[1].pvc = "copy-of-hard-disk-2-x7k2p".to_owned();
    assert!(matches!(names(&world)[1], Outcome::Failed { .. }));
}

/// The outcomes of one check.
fn outcomes(world: &World, platform: Platform, check: &str) -> Vec<Outcome> {
    world.judge_on(platform).into_iter().filter(|f| f.check == check).map(|f| f.outcome).collect()
}

#[test]
fn of_an_ovirt_source_the_serial_is_the_engines_and_mtvs_snapshots_must_be_gone() {
    let mut world = World::healthy();
    assert!(matches!(outcomes(&world, Platform::Ovirt, "serial")[0], Outcome::Failed { .. }), "VMware's form");
    world.t().serial = Some(UUID.to_uppercase());
    assert!(matches!(outcomes(&world, Platform::Ovirt, "serial")[0], Outcome::Passed { .. }));
    assert!(matches!(outcomes(&world, Platform::Ovirt, "snapshots")[0], Outcome::Passed { .. }));
    let mut left = world.before.snapshots[0].clone();
    left.id = "s2".into();
    left.name = "Forklift Operator warm migration precopy".into();
    world.after.snapshots.push(left);
    let Outcome::Failed { expected, .. } = &outcomes(&world, Platform::Ovirt, "snapshots")[0] else { panic!() };
    assert_eq!(expected, "no snapshot of MTV left");
}

#[test]
fn a_source_that_was_powered_off_by_force_fails_where_the_platform_tells_it() {
    let mut world = World::healthy();
    let power = |world: &World| outcomes(world, Platform::Ovirt, "source-power").remove(0);
    world.forced_off = Some(Ok(false));
    assert!(matches!(power(&world), Outcome::Passed { .. }));
    world.forced_off = Some(Ok(true));
    assert!(matches!(power(&world), Outcome::Failed { .. }));
    world.forced_off = Some(Err("no events".into()));
    assert!(matches!(power(&world), Outcome::NotJudged { .. }));
}

#[test]
fn addresses_of_unknown_origin_are_not_judged_and_say_why() {
    let mut world = World::healthy();
    for address in world.before.nics.iter_mut().filter_map(|n| n.guest.as_mut()).flat_map(|g| &mut g.addresses) {
        address.origin = AddressOrigin::Unknown;
    }
    let Outcome::NotJudged { because } = &outcomes(&world, Platform::Ovirt, "static-ip")[0] else { panic!() };
    assert!(because.contains("does not tell which"), "{because}");
}

#[test]
fn linux_tools_that_set_no_origin_hide_no_lost_address_on_vsphere() {
    let mut world = World::healthy();
    world.before.os = GuestOs::Linux;
    for address in world.before.nics.iter_mut().filter_map(|n| n.guest.as_mut()).flat_map(|g| &mut g.addresses) {
        address.origin = AddressOrigin::Unknown;
    }
    let judged = outcomes(&world, Platform::Vsphere, "static-ip");
    assert!(judged.iter().all(|o| matches!(o, Outcome::Passed { .. })), "{judged:?}");
    let GuestLogin::Ok { interfaces: Ok(interfaces) } = &mut world.t().login else { panic!() };
    interfaces.iter_mut().for_each(|interface| interface.addresses.clear());
    let judged = outcomes(&world, Platform::Vsphere, "static-ip");
    assert!(matches!(judged[0], Outcome::Failed { .. }), "{judged:?}");
    world.before.os = GuestOs::Windows;
    assert!(matches!(outcomes(&world, Platform::Vsphere, "static-ip")[0], Outcome::NotJudged { .. }));
}

#[test]
fn the_agent_is_no_witness_of_an_address_behind_masquerade() {
    let mut world = World::healthy();
    let target = world.t();
    target.login = GuestLogin::NotTried("no credentials".into());
    target.agent_connected = Some(true);
    target.nics.iter_mut().for_each(|nic| nic.addresses = vec!["10.128.0.7".parse().unwrap()]);
    target.nics[0].network = Some(TargetNetwork::Pod);
    let judged = outcomes(&world, Platform::Vsphere, "static-ip");
    assert!(matches!(judged[0], Outcome::NotJudged { .. }), "{judged:?}");
}

/// The healthy VM as it comes from OpenStack: disks by volume id, listed in any order, one boots.
fn from_openstack() -> World {
    let mut world = World::healthy();
    for (disk, id) in world.before.disks.iter_mut().zip(["v-boot", "v-data"]) {
        disk.id = id.to_owned();
        disk.file_name = None;
    }
    let target = world.t();
    target.disks.reverse();
    target.nics.reverse();
    target.disks[0].disk_source = Some("v-data".to_owned());
    target.disks[1].disk_source = Some("v-boot".to_owned());
    target.disks[1].boot_order = Some(1);
    target.serial = None;
    world
}

#[test]
fn an_openstack_vm_may_list_disks_and_nics_in_any_order_but_must_boot_from_its_boot_disk() {
    let outcome = |world: &World, check: &str| -> Vec<Outcome> {
        let all = world.judge_on(Platform::Openstack);
        all.into_iter().filter(|f| f.check == check).map(|f| f.outcome).collect()
    };
    let mut world = from_openstack();
    let wrong: Vec<Finding> = world
        .judge_on(Platform::Openstack)
        .into_iter()
        .filter(|f| matches!(f.outcome, Outcome::Failed { .. }))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(outcome(&world, "serial").is_empty(), "MTV gives OpenStack VMs no serial number");
    assert!(matches!(outcome(&world, "pvc-names").as_slice(), [Outcome::NotJudged { .. }]));
    world.t().disks[1].boot_order = None;
    assert!(matches!(outcome(&world, "disk-order").as_slice(), [Outcome::Failed { .. }]));
    world.t().disks.reverse();
    assert!(matches!(outcome(&world, "disk-order").as_slice(), [Outcome::Passed { .. }]), "the first boots");
}

#[test]
fn a_snapshot_that_mtv_left_on_openstack_is_found() {
    let mut world = from_openstack();
    world.after.snapshots.push(SourceSnapshot {
        id: "s9".into(),
        name: "snapshot for forklift-migration-vm-vm-1".into(),
        created: None,
        state: Some("available".into()),
    });
    let all = world.judge_on(Platform::Openstack);
    let found = all.iter().find(|f| f.check == "snapshots").unwrap();
    assert!(matches!(&found.outcome, Outcome::Failed { expected, .. } if expected == "no snapshot of MTV left"));
}

#[test]
fn nics_whose_source_tells_no_mac_are_judged_by_their_order() {
    let mut world = World::healthy();
    for nic in &mut world.before.nics {
        nic.mac = Mac::new("");
    }
    let judged = |world: &World| outcomes(world, Platform::Ova, "network");
    assert!(judged(&world).iter().all(|outcome| matches!(outcome, Outcome::Passed { .. })), "{:?}", judged(&world));
    world.t().nics.swap(0, 1);
    assert!(
        judged(&world).iter().all(|outcome| matches!(outcome, Outcome::Failed { .. })),
        "each on the other's network"
    );
}

#[test]
fn an_ova_keeps_its_uuid_as_serial_and_an_instance_its_id() {
    let mut world = World::healthy();
    world.t().serial = Some(UUID.to_uppercase());
    assert!(matches!(outcomes(&world, Platform::Ova, "serial")[0], Outcome::Passed { .. }));
    assert!(matches!(outcomes(&world, Platform::Ec2, "serial")[0], Outcome::Failed { .. }));
    world.t().serial = Some("vm-1".to_owned());
    assert!(matches!(outcomes(&world, Platform::Ec2, "serial")[0], Outcome::Passed { .. }));
    assert!(outcomes(&world, Platform::Hyperv, "serial").is_empty(), "MTV gives those none");
}

#[test]
fn a_windows_vm_runs_where_mtv_waits_for_its_reboots() {
    let off = |change: fn(&mut World)| {
        let mut world = World::healthy();
        world.scenario.virtual_machines[0].source_vm_power = Some(crate::config::PowerState::Off);
        world.before.os = GuestOs::Windows;
        world.mtv = "2.12.5";
        change(&mut world);
        let of_power = world.judge().into_iter().find(|finding| finding.check == "power").unwrap();
        match of_power.outcome {
            Outcome::Passed { .. } => "on",
            Outcome::Failed { .. } => "off",
            Outcome::NotJudged { .. } => "unknown",
        }
    };
    assert_eq!(off(|_| {}), "on", "the migrated VM runs, as is expected from 2.12");
    assert_eq!(off(|w| w.mtv = "2.11.7"), "off");
    assert_eq!(off(|w| w.flags = BTreeMap::from([("feature_windows_wait_for_reboot".to_owned(), false)])), "off");
    assert_eq!(off(|w| w.before.os = GuestOs::Linux), "off");
    assert_eq!(off(|w| w.scenario.target_power_state = Some(crate::config::PowerState::Off)), "off", "asked for");
}

#[test]
fn a_serial_keeps_the_uuids_form_where_the_controllers_flag_for_vmwares_is_off() {
    let mut world = World::healthy();
    world.flags = BTreeMap::from([("feature_vmware_system_serial_number".to_owned(), false)]);
    assert_eq!(world.failed(), ["serial"], "VMware's form is wrong then");
    world.t().serial = Some(UUID.to_owned());
    assert!(world.failed().is_empty(), "{:?}", world.failed());
}

#[test]
fn a_bridge_or_bond_with_the_mac_of_its_nic_holds_the_nics_address() {
    let mut world = World::healthy();
    let bare = GuestInterface { addresses: Vec::new(), gateway: None, dns: Vec::new(), ..guest(MAC_A, "10.1.0.5") };
    let bridge = GuestInterface { name: Some("br0".into()), ..guest(MAC_A, "10.1.0.5") };
    world.t().login = GuestLogin::Ok { interfaces: Ok(vec![bare, bridge, guest(MAC_B, "10.1.0.6")]) };
    assert!(world.failed().is_empty(), "{:?}", world.failed());
}

#[test]
fn a_plan_that_is_gone_fails_and_one_that_could_not_be_read_is_not_judged() {
    let mut world = World::healthy();
    world.ran.plan = Ok(None);
    assert_eq!(world.failed(), ["plan-kept", "migration-status", "hooks"]);
    world.ran.plan = Err("forbidden (403)".to_owned());
    assert!(world.failed().is_empty());
    let unjudged = world.judge();
    let unjudged: Vec<&str> = unjudged_essentials(&unjudged, &[]).map(|(finding, _)| finding.check.as_str()).collect();
    assert_eq!(unjudged, ["identity", "migration-status"]);
}

#[test]
fn connection_insecure_is_looked_for_where_mtv_sets_it() {
    let subjects = |platform| -> Vec<String> {
        let findings = World::healthy().judge_on(platform);
        findings.into_iter().filter(|f| f.check == "provider-tls").filter_map(|f| f.subject).collect()
    };
    for told in [Platform::Vsphere, Platform::Ovirt, Platform::Hyperv] {
        assert_eq!(subjects(told), ["insecureSkipVerify", "ConnectionInsecure"], "{told}");
    }
    for untold in [Platform::Openstack, Platform::Openshift] {
        assert_eq!(subjects(untold), ["insecureSkipVerify"], "{untold}");
    }
    assert!(subjects(Platform::Ova).is_empty() && subjects(Platform::Ec2).is_empty());
}

#[test]
fn a_template_that_renders_no_label_leaves_the_built_in_name() {
    let mut world = World::healthy();
    world.scenario.pvc_name_template = Some(format!("{}-{{{{ .DiskIndex }}}}", "x".repeat(62)));
    world.t().disks[0].pvc = "plan-vm-1-a1b2c".into();
    world.t().disks[1].pvc = "plan-vm-1-d3e4f".into();
    assert!(!world.failed().contains(&"pvc-names".to_owned()));
    world.t().disks[1].pvc = format!("{}-1", "x".repeat(61));
    assert!(world.failed().contains(&"pvc-names".to_owned()), "nothing is cut");
}

#[test]
fn a_template_of_another_platforms_fields_is_left_out_where_mtv_would_refuse_the_plan() {
    let vm = World::healthy().before;
    let (file, index) = ("{{ .FileName }}-{{ .DiskIndex }}", "{{ .VmName }}-{{ .DiskIndex }}");
    let unfit = |platform, mtv, template| pvc_names::unfit(platform, Some(mtv), template, &vm).is_some();
    assert!(unfit(Platform::Ovirt, "2.13", file) && unfit(Platform::Openshift, "2.11.7", file));
    assert!(!unfit(Platform::Ovirt, "2.12.5", file), "it is ignored there");
    assert!(!unfit(Platform::Vsphere, "2.13", file) && !unfit(Platform::Ovirt, "2.13", index));
}

#[test]
fn an_agent_that_never_comes_is_failed_where_one_was_owed_and_else_not_judged() {
    let said = |asked: bool, tools: bool| {
        let mut world = World::healthy();
        world.scenario.virtual_machines[0].guest_agent = asked;
        world.before.guest_agent_running = Some(tools);
        world.t().agent_connected = Some(false);
        world.judge().into_iter().find(|f| f.check == "guest-agent").unwrap().outcome
    };
    assert!(matches!(said(true, false), Outcome::Failed { .. }), "the scenario asks for it");
    assert!(matches!(said(false, true), Outcome::Failed { .. }), "the source had one");
    assert!(matches!(said(false, false), Outcome::NotJudged { .. }));
}

#[test]
fn each_asked_hook_ran_exactly_once_in_its_place_with_its_own_playbook() {
    let done = |name: &str| json!({"name": name, "phase": "Completed", "started": "2026-01-01T00:00:01Z", "completed": "2026-01-01T00:00:02Z"});
    let said = |steps: &[&str], playbook: &str| {
        let mut world = World::healthy();
        let hook = |step: &str| AskedHook {
            step: step.to_owned(),
            playbook: "mine".to_owned(),
            job_template: None,
            object: Ok(Some(json!({"spec": {"playbook": playbook}}))),
        };
        world.ran.hooks = vec![hook("PreHook"), hook("PostHook")];
        for object in [&mut world.ran.plan, &mut world.ran.migration] {
            let object = object.as_mut().unwrap().as_mut().unwrap();
            for path in ["/status/migration/vms/0/pipeline", "/status/vms/0/pipeline"] {
                let Some(pipeline) = object.pointer_mut(path) else { continue };
                let transfer = pipeline[1].clone();
                let all = steps.iter().map(|step| if *step == "DiskTransfer" { transfer.clone() } else { done(step) });
                *pipeline = all.collect();
            }
        }
        world.failed()
    };
    assert!(said(&["PreHook", "DiskTransfer", "PostHook"], "mine").is_empty());
    for wrong in [
        &["DiskTransfer", "PostHook"][..],
        &["PreHook", "PreHook", "DiskTransfer", "PostHook"],
        &["DiskTransfer", "PreHook", "PostHook"],
        &["PreHook", "PostHook", "DiskTransfer"],
    ] {
        assert_eq!(said(wrong, "mine"), ["hooks"], "{wrong:?}");
    }
    assert_eq!(said(&["PreHook", "DiskTransfer", "PostHook"], "another"), ["hooks"]);
}

#[test]
fn a_cutover_is_neither_early_nor_late_and_the_downtime_is_told() {
    let said = |asked: &str, began: &str, precopy_ended: &str| {
        let mut world = World::healthy();
        world.scenario.warm_migration = true;
        let plan = world.ran.plan.as_mut().unwrap().as_mut().unwrap();
        let vm = plan.pointer_mut("/status/migration/vms/0").unwrap();
        vm["warm"] = json!({"successes": 1, "failures": 0, "consecutiveFailures": 0,
            "precopies": [{"start": "2026-01-01T09:00:00Z", "end": precopy_ended}]});
        vm["completed"] = json!("2026-01-01T10:30:00Z");
        vm["pipeline"].as_array_mut().unwrap().push(json!({"name": "Cutover", "started": began}));
        world.ran.migration.as_mut().unwrap().as_mut().unwrap()["spec"]["cutover"] = json!(asked);
        world.judge().into_iter().find(|f| f.check == "cutover").unwrap().outcome
    };
    let at = "2026-01-01T10:00:00Z";
    let Outcome::Passed { actual } = said(at, "2026-01-01T10:00:20Z", "2026-01-01T09:10:00Z") else { panic!() };
    assert!(actual.ends_with("down for 1780 s"), "{actual}");
    assert!(matches!(said(at, "2026-01-01T09:58:00Z", "2026-01-01T09:10:00Z"), Outcome::Failed { .. }), "early");
    assert!(matches!(said(at, "2026-01-01T10:09:00Z", "2026-01-01T09:10:00Z"), Outcome::Failed { .. }), "late");
    let busy = said(at, "2026-01-01T10:09:00Z", "2026-01-01T10:08:00Z");
    assert!(matches!(busy, Outcome::Passed { .. }), "the precopy that ran then came to its end first: {busy:?}");
}

#[test]
fn a_precopy_starts_an_interval_after_the_one_before_it_unless_the_cutover_came_first() {
    let said = |third: &str, cutover: &str| {
        let mut world = World::healthy();
        world.scenario.warm_migration = true;
        let plan = world.ran.plan.as_mut().unwrap().as_mut().unwrap();
        let precopy = |start: &str, end: &str| json!({"start": start, "end": end});
        plan.pointer_mut("/status/migration/vms/0").unwrap()["warm"] = json!({"successes": 3, "precopies": [
            precopy("2026-01-01T09:00:00Z", "2026-01-01T09:01:00Z"), precopy("2026-01-01T09:01:30Z", "2026-01-01T09:02:00Z"),
            precopy(third, "2026-01-01T09:50:00Z")]});
        world.ran.migration.as_mut().unwrap().as_mut().unwrap()["spec"]["cutover"] = json!(cutover);
        world.ran.precopy_interval = Some(120.0);
        let of = world.judge().into_iter().filter(|f| f.check == "precopies");
        of.map(|f| f.outcome).find(|outcome| !matches!(outcome, Outcome::Passed { .. }))
    };
    let (late, on_time) = ("2026-01-01T10:00:00Z", "2026-01-01T09:04:00Z");
    assert_eq!(said(on_time, late), None, "the first pause may be of the interval before");
    let early = said("2026-01-01T09:02:30Z", late);
    assert!(matches!(&early, Some(Outcome::Failed { actual, .. }) if actual == "30s"), "{early:?}");
    assert!(matches!(said("2026-01-01T09:12:00Z", late), Some(Outcome::Failed { .. })), "far too late");
    assert_eq!(said("2026-01-01T09:02:30Z", "2026-01-01T09:02:10Z"), None, "that is the cutover's");
}

#[test]
fn disks_of_one_file_name_on_two_datastores_are_told_apart() {
    let mut world = World::healthy();
    let (store, path) = ("nfs", "vm/vm.vmdk");
    for disk in [&mut world.before, &mut world.after].into_iter().flat_map(|vm| &mut vm.disks) {
        disk.file_name = Some("vm.vmdk".into());
        if disk.id == "2001" {
            (disk.storage_id, disk.storage_name) = ("datastore-11".into(), store.into());
        }
    }
    world.storage_map.push(StoragePair { source: Ref::by_id("datastore-11"), ..world.storage_map[0].clone() });
    let sources = |world: &mut World, first: &str, second: &str| {
        world.t().disks[0].disk_source = Some(format!("[{first}] {path}"));
        world.t().disks[1].disk_source = Some(format!("[{second}] {path}"));
        world.failed()
    };
    assert!(sources(&mut world, "datastore1", store).is_empty());
    assert!(sources(&mut world, store, "datastore1").contains(&"disk-order".to_owned()));
}

#[test]
fn what_a_transfer_was_given_goes_with_it_from_2_12_on() {
    let said = |mtv: &'static str| {
        let mut world = World::healthy();
        world.mtv = mtv;
        let labels = json!({"vmID": world.before.id.as_str(), "resource": "vm-config"});
        world.ran.marked =
            Ok(vec![json!({"kind": "Secret", "metadata": {"name": "plan-vm-1-abcde", "labels": labels}})]);
        world.failed()
    };
    assert_eq!(said("2.12.5"), ["left-behind"]);
    assert!(said("2.11.7").is_empty(), "it stays until the Plan is archived");
}
