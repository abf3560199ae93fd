//! The world of a Plan that is told again: its VMs as the inventory showed them, or as the status lets them be seen.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Told, text};
use crate::api::forklift::{NetworkMap, Ref, StorageMap, VmStatus};
use crate::api::world::inventory::Listed;
use crate::api::world::{
    Datastore, Disk, Failure, Firmware, Kind, Network, Nic, Os, Power, STEPS, Size, Sketch, Source, Vm, World,
};
use crate::forklift::execution::failed_step;

/// What keys of ours begin with.
const OURS: &str = "mtv-matrix";
/// Of a datastore that nobody told the size of.
const CAPACITY: Size = Size::gib(65_536);
const FREE: Size = Size::gib(32_768);

impl Told<'_> {
    pub(super) fn world(&self) -> (World, Vec<String>) {
        let mut notes = Vec::new();
        let wanted = self.vms();
        let mut listed = self.evidence.listed.clone();
        self.fill_from_maps(&mut listed);
        let all = listed.remove("vms").unwrap_or_default();
        let mut world = World::of_inventory(self.kind, &listed);
        let source = world.source_mut(self.kind);
        source.disks.clear();
        source.vms.clear();
        for (number, (id, name, status)) in wanted.iter().enumerate() {
            let is = |item: &&Value| text(item, "/id") == id || (id.is_empty() && text(item, "/name") == name);
            let shown = all.iter().find(is).map(|item| {
                let mut one = listed.clone();
                one.insert("vms".to_owned(), vec![item.clone()]);
                World::of_inventory(self.kind, &one).source(self.kind).vms.first().cloned()
            });
            let mut vm = shown.flatten().unwrap_or_else(|| {
                notes.push(format!(
                    "{name} is in no inventory that was gathered: it is made up from its name and status"
                ));
                self.sketched(name, *status, source, u8::try_from(number % 200).unwrap_or_default())
            });
            vm.name.clone_from(name);
            if vm.disks.as_ref().is_none_or(Vec::is_empty) && vm.image.is_none() {
                vm.disks = status.map(disks).filter(|disks| !disks.is_empty());
            }
            self.finish(&mut vm, *status);
            source.vms.push(vm);
        }
        complete(source);
        (world, notes)
    }

    /// What maps name is there, although nobody listed it.
    fn fill_from_maps(&self, listed: &mut Listed) {
        let map = &self.plan.spec.map;
        let (networks, stores) = match self.kind {
            Kind::Vsphere => ("networks", "datastores"),
            Kind::Ovirt => ("networks", "storagedomains"),
            Kind::Openstack => ("networks", "volumetypes"),
            Kind::Ova | Kind::Hyperv | Kind::Ec2 => ("networks", "storages"),
        };
        let item = |source: &Ref, known: &[Ref]| {
            let resolved = known.iter().find(|it| it.id.is_some() && it.id == source.id);
            let id = source.id.clone().unwrap_or_default();
            let name = source.name.clone().or_else(|| resolved?.name.clone()).unwrap_or_else(|| id.clone());
            let variant = if id.starts_with("dvportgroup") { "DvPortGroup" } else { "Standard" };
            (!name.is_empty())
                .then(|| json!({"id": id, "name": name, "variant": variant, "capacity": CAPACITY.bytes(), "free": FREE.bytes()}))
        };
        let mut fill = |collection: &str, items: Vec<Value>| {
            if !listed.contains_key(collection) && !items.is_empty() {
                listed.insert(collection.to_owned(), items);
            }
        };
        if let Some(map) = self.evidence.find::<NetworkMap>("NetworkMap", &map.network) {
            let known = map.status.map(|status| status.references).unwrap_or_default();
            fill(networks, map.spec.map.iter().filter_map(|row| item(&row.source, &known)).collect());
        }
        if let Some(map) = self.evidence.find::<StorageMap>("StorageMap", &map.storage) {
            let known = map.status.map(|status| status.references).unwrap_or_default();
            let rows = map.spec.map.iter().filter_map(|row| item(&row.source, &known));
            // The root disk of a server that boots from an image.
            fill(stores, rows.filter(|row| text(row, "/name") != "glance").collect());
        }
    }

    /// A VM that nobody has shown: by its name, its pipeline, and the VM that it became.
    fn sketched(&self, name: &str, status: Option<&VmStatus>, source: &Source, number: u8) -> Vm {
        let system = status.and_then(|status| status.operating_system.as_deref()).unwrap_or_default();
        let os = Os::told_by(&[system, name]);
        let sketch = Sketch {
            luks: false,
            name: name.to_owned(),
            windows: Some(os.windows()),
            static_addresses: self.plan.spec.preserve_static_ips == Some(true),
            running: self.was_on(status),
        };
        let mut vm = Vm { os, ..sketch.vm(self.kind, source, number) };
        if let Some(told) = status.map(disks).filter(|disks| !disks.is_empty()) {
            vm.disks = Some(told);
        }
        let target = status.and_then(|status| status.new_name.as_deref()).unwrap_or(name);
        let Some(target) = self.evidence.of_kind("VirtualMachine").find(|it| text(it, "/metadata/name") == target)
        else {
            return vm;
        };
        let domain = target.pointer("/spec/template/spec/domain").unwrap_or(&Value::Null);
        let count =
            |key: &str| domain.pointer(key).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok()).unwrap_or(1);
        let cores = count("/cpu/cores").max(1).saturating_mul(count("/cpu/threads").max(1));
        (vm.cpus, vm.cores_per_socket) = (count("/cpu/sockets").max(1).saturating_mul(cores), cores);
        let memory =
            ["/memory/guest", "/resources/requests/memory"].iter().find_map(|key| text(domain, key).parse().ok());
        vm.memory = memory.unwrap_or(vm.memory);
        let efi = domain.pointer("/firmware/bootloader/efi");
        vm.firmware = if efi.is_some() { Firmware::Efi } else { Firmware::Bios };
        vm.secure_boot = efi.is_some_and(|efi| efi.get("secureBoot") == Some(&Value::Bool(true)));
        let macs = domain.pointer("/devices/interfaces").and_then(Value::as_array).into_iter().flatten();
        let nics: Vec<Nic> =
            macs.map(|it| Nic { mac: text(it, "/macAddress").parse().ok(), ..Nic::default() }).collect();
        if !nics.is_empty() {
            vm.nics = Some(nics);
        }
        vm
    }

    /// Whether the source ran before MTV switched it off.
    pub(super) fn was_on(&self, status: Option<&VmStatus>) -> bool {
        let restored = status.and_then(|status| status.restore_power_state.as_deref());
        restored.map_or(self.plan.spec.warm, |state| state.eq_ignore_ascii_case("on"))
    }

    /// What is the migration's and not the inventory's: how it ran, and how it failed.
    fn finish(&self, vm: &mut Vm, status: Option<&VmStatus>) {
        if self.was_on(status) {
            vm.power = Power::On;
        }
        if self.kind == Kind::Ovirt {
            // What a run migrates is cloned from a template there.
            (vm.template, vm.power) = (true, Power::Off);
            vm.host = None;
            vm.snapshots.clear();
            vm.nics.iter_mut().flatten().for_each(|nic| nic.mac = None);
        }
        // What a run of ours wrote on its clones would make others take them for its own.
        vm.notes.clear();
        vm.extra.retain(|key, _| !key.starts_with(OURS));
        let at = status.and_then(failed_step).filter(|step| STEPS.contains(&step.as_str()));
        vm.fails = at.map(|at| Failure { at, error: status.and_then(reason).unwrap_or_else(|| "failed".to_owned()) });
    }
}

/// The first line of what MTV said.
fn reason(status: &VmStatus) -> Option<String> {
    let steps = status.pipeline.iter().filter_map(|step| step.error.as_ref());
    let reasons = steps.chain(status.error.as_ref()).flat_map(|error| &error.reasons);
    reasons.flat_map(|reason| reason.lines()).map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

/// Disks as the pipeline counts them: MiB each; on vSphere a task is called `[datastore] folder/file`.
fn disks(status: &VmStatus) -> Vec<Disk> {
    let by_disk = status.pipeline.iter().find(|step| step.tasks.iter().any(|task| task.progress.total > 0));
    let tasks = by_disk.map(|step| step.tasks.as_slice()).unwrap_or_default();
    let disk = |name: &str, mib: i64| Disk {
        size: Size(u64::try_from(mib).unwrap_or_default().max(1) << 20),
        datastore: name.strip_prefix('[').and_then(|rest| Some(rest.split_once(']')?.0.to_owned())),
        ..Disk::default()
    };
    tasks.iter().map(|task| disk(&task.name, task.progress.total)).collect()
}

/// Everything that VMs name is listed, so that the file is a whole world.
fn complete(source: &mut Source) {
    let disks = || source.vms.iter().flat_map(|vm| vm.disks.iter().flatten().filter_map(|disk| disk.datastore.clone()));
    let stores: BTreeSet<String> = disks().chain(source.vms.iter().filter_map(|vm| vm.datastore.clone())).collect();
    let networks: BTreeSet<String> =
        source.vms.iter().flat_map(|vm| vm.nics.iter().flatten().filter_map(|nic| nic.network.clone())).collect();
    for name in networks {
        if !source.networks.iter().any(|it| it.name == name) {
            source.networks.push(Network { name, vlan: None, distributed: false, subnet: None });
        }
    }
    for name in stores {
        if !source.datastores.iter().any(|it| it.name == name) {
            source.datastores.push(Datastore {
                xcopy: true,
                name,
                kind: None,
                role: None,
                capacity: CAPACITY,
                free: FREE,
            });
        }
    }
}
