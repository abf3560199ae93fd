//! Cloning: from a request to a `VirtualMachineCloneSpec`, and the task.

use std::sync::PoisonError;

use super::{VsphereDriver, offload};
use crate::api::vim::device::{Bus, Hardware};
use crate::api::vim::spec::{
    CloneSpec, ConfigSpec, DeviceChange, DiskBacking, DiskLocator, Provisioning, RawBacking, RelocateSpec, Transform,
};
use crate::api::vim::{Element, MoRef, ObjectContent, decode_name, envelope, op};
use crate::config::Platform;
use crate::config::scenarios::{AddDisk, DiskController, DiskMode, DiskType, RdmType};
use crate::ledger::{Ledger, Thing, mark};
use crate::source::slot::Sessions as _;
use crate::source::{CloneRequest, SourceDriver, SourceError, VM, VmRef};

const KIB_PER_GIB: u64 = 1024 * 1024;
/// How often a disk is added again after another task of the VM was in its way.
const ATTACH_TRIES: u32 = 5;

/// Key of an added card within the request; the server gives it another.
const ADDED_CARD: i64 = -51;

/// What a clone needs to know of its base.
const BASE: &[&str] = &[
    "name",
    "parent",
    "config.template",
    "config.hardware.device",
    "datastore",
    "resourcePool",
    "runtime.host",
    "runtime.connectionState",
];

fn provisioning(kind: DiskType) -> Provisioning {
    match kind {
        DiskType::Thin => Provisioning::Thin,
        DiskType::ThickLazy => Provisioning::ThickLazy,
        DiskType::ThickEager => Provisioning::ThickEager,
    }
}

fn mode(mode: Option<DiskMode>) -> &'static str {
    match mode {
        None | Some(DiskMode::Persistent) => "persistent",
        Some(DiskMode::IndependentPersistent) => "independent_persistent",
        Some(DiskMode::IndependentNonpersistent) => "independent_nonpersistent",
    }
}

fn bus(controller: DiskController) -> Bus {
    match controller {
        DiskController::Scsi => Bus::Scsi,
        DiskController::Sata => Bus::Sata,
        DiskController::Nvme => Bus::Nvme,
    }
}

/// A disk to add, its datastore resolved.
#[derive(Debug, Clone)]
struct NewDisk {
    gib: u64,
    provisioning: Provisioning,
    mode: &'static str,
    /// `None`: where its VM has others.
    bus: Option<Bus>,
    datastore: MoRef,
    datastore_name: String,
    /// Directory on the datastore.
    path: Option<String>,
}

/// A clone that has not been asked for.
struct Draft {
    /// The call.
    body: String,
    /// Where its disks go.
    datastore: MoRef,
}

/// The configuration part of a clone. `Err`: why it cannot be made.
fn config(
    hardware: &Hardware,
    name: &str,
    annotation: String,
    new_disks: &[NewDisk],
    warm: bool,
    add_nic: Option<bool>,
) -> Result<ConfigSpec, String> {
    let mut spec = ConfigSpec { annotation: Some(annotation), ..ConfigSpec::default() };
    for nic in &hardware.nics {
        spec.device_changes.push(DeviceChange::RegenerateMac { card: nic.raw.clone() });
    }
    if let Some(start_connected) = add_nic {
        // On a network that the VM has already, so that it can be reached; the second where there are two.
        let like = hardware.nics.get(1).or(hardware.nics.first()).ok_or("it has no NIC that another could be like")?;
        spec.device_changes.push(DeviceChange::AddCard { key: ADDED_CARD, like: like.raw.clone(), start_connected });
    }
    if warm {
        spec.change_tracking = Some(true);
        spec.extra_config.push(("ctkEnabled".to_owned(), "true".to_owned()));
        for disk in hardware.disks.iter().filter(|d| d.can_track_changes()) {
            let controller = hardware.controller(disk.controller_key);
            let key = controller.and_then(|c| Hardware::change_tracking_key(c, disk.unit));
            spec.extra_config.extend(key.map(|key| (key, "true".to_owned())));
        }
    }
    add(&mut spec, hardware, name, new_disks, warm)?;
    Ok(spec)
}

/// Puts the disks to add into a specification, and the controllers that they need. `Err`: there is no room.
fn add(
    spec: &mut ConfigSpec,
    hardware: &Hardware,
    name: &str,
    new_disks: &[NewDisk],
    tracked: bool,
) -> Result<(), String> {
    let wanted: Vec<Bus> = new_disks.iter().map(|disk| disk.bus.unwrap_or_else(|| hardware.usual_bus())).collect();
    let places =
        hardware.places(&wanted).map_err(|bus| format!("it can't have so many disks on {} controllers", bus.name()))?;
    let mut added: Vec<i64> = Vec::new();
    for (controller, _) in places.iter().filter(|(controller, _)| controller.key < 0) {
        if !added.contains(&controller.key) {
            added.push(controller.key);
            spec.device_changes.push(DeviceChange::AddController {
                key: controller.key,
                kind: controller.kind.clone(),
                bus_number: controller.bus_number,
                scsi: controller.bus == Bus::Scsi,
            });
        }
    }
    for ((disk, (controller, unit)), key) in new_disks.iter().zip(&places).zip((i64::MIN..=-101).rev()) {
        let file_name = match &disk.path {
            Some(path) => {
                let place = format!("{}{}-{unit}", controller.bus.name(), controller.bus_number);
                format!("[{}] {}/{name}_disk_{place}.vmdk", disk.datastore_name, path.trim_matches('/'))
            }
            // Without a name the server puts it beside the VM, whatever `datastore` says.
            None => format!("[{}]", disk.datastore_name),
        };
        if tracked && disk.mode == "persistent" {
            let key = Hardware::change_tracking_key(controller, *unit);
            spec.extra_config.extend(key.map(|key| (key, "true".to_owned())));
        }
        spec.device_changes.push(DeviceChange::AddDisk {
            key,
            backing: DiskBacking {
                file_name,
                datastore: Some(disk.datastore.clone()),
                disk_mode: disk.mode.to_owned(),
                provisioning: disk.provisioning,
            },
            controller_key: controller.key,
            unit: *unit,
            capacity_kb: disk.gib * KIB_PER_GIB,
        });
    }
    Ok(())
}

/// The placement part. Eagerly zeroed is no transformation, so each disk says it for itself.
fn location(
    hardware: &Hardware,
    datastore: MoRef,
    pool: Option<MoRef>,
    host: Option<MoRef>,
    kind: Option<DiskType>,
) -> RelocateSpec {
    let disks = match kind {
        Some(DiskType::ThickEager) => hardware
            .disks
            .iter()
            .filter(|d| d.backing == "VirtualDiskFlatVer2BackingInfo")
            .map(|disk| DiskLocator {
                disk_id: disk.key,
                datastore: datastore.clone(),
                backing: Some(DiskBacking {
                    file_name: String::new(),
                    datastore: None,
                    disk_mode: disk.mode.clone(),
                    provisioning: Provisioning::ThickEager,
                }),
            })
            .collect(),
        _ => Vec::new(),
    };
    let transform = kind.map(|kind| match kind {
        DiskType::Thin => Transform::Sparse,
        DiskType::ThickLazy | DiskType::ThickEager => Transform::Flat,
    });
    RelocateSpec { datastore: Some(datastore), pool, host, disks, transform }
}

impl VsphereDriver {
    pub(super) async fn make_clone(&self, request: &CloneRequest<'_>, ledger: &Ledger) -> Result<VmRef, SourceError> {
        let what = format!("clone {} to {}", request.base, request.name);
        let live = self.session.live().await.map_err(|e| self.session.failed("log in", e))?;
        if self.config.esxi || !live.content.is_vcenter() {
            return Err(self.unsupported("cloning on an ESXi host itself (it has no CloneVM)"));
        }
        let raw: Vec<RdmType> = request.add_disks.iter().filter_map(|disk| disk.rdm_type).collect();
        let Draft { body, datastore } = self.draft(request, ledger, &what).await?;
        let instance = self.instance().await?;
        let entry = ledger.intent(
            Some(request.cell),
            Thing::SourceVm {
                profile: self.profile.name.clone(),
                platform: Platform::Vsphere.name().to_owned(),
                name: request.name.clone(),
                id: None,
                instance,
            },
        )?;
        let cloned = self.session.call(|_| body.clone()).await;
        // Others clone, too, and what follows takes long.
        drop(body);
        let values = match cloned {
            Ok(values) => values,
            // The answer was lost, the clone may be on its way: looked for, never asked for twice.
            Err(error) if error.is_in_doubt() => {
                self.wait_for_other_clones(self.options.timeouts.clone).await?;
                let Some(vm) = self.find_fresh(&request.name).await? else {
                    return Err(self.session.failed(&what, error));
                };
                ledger.done(entry, Some(vm.id.clone()))?;
                self.remember(&request.name, &vm);
                let made = self.vm_ref(&request.name, &vm);
                self.map_luns(&made, &datastore, &raw).await?;
                return Ok(made);
            }
            Err(error) => return Err(self.session.failed(&what, error)),
        };
        let task =
            envelope::reference("CloneVM_Task", values).map_err(|e| self.session.refused(&what, e.to_string()))?;
        self.cloning.lock().unwrap_or_else(PoisonError::into_inner).insert(request.name.clone(), task.clone());
        let result = self.session.finish(&task, &what, self.options.timeouts.clone).await;
        // A clone that ran out of time goes on: teardown must find its task.
        if matches!(result, Ok(_) | Err(super::session::CallError::Refused(_))) {
            self.cloning.lock().unwrap_or_else(PoisonError::into_inner).remove(&request.name);
        }
        let result = result.map_err(|e| self.session.failed(&what, e))?;
        let vm = match result.as_ref().and_then(Element::moref) {
            Some(vm) => vm,
            None => self.require(&request.name).await?,
        };
        ledger.done(entry, Some(vm.id.clone()))?;
        self.mark_by_id(request, &vm, ledger).await;
        self.remember(&request.name, &vm);
        let made = self.vm_ref(&request.name, &vm);
        self.map_luns(&made, &datastore, &raw).await?;
        Ok(made)
    }

    /// Reads the base and writes the call. A base's devices are many times as large, and nobody keeps them while it clones.
    async fn draft(&self, request: &CloneRequest<'_>, ledger: &Ledger, what: &str) -> Result<Draft, SourceError> {
        let base = self.require(request.base).await?;
        let object = self.props(&base, BASE).await?;
        let hardware = Hardware::of(&object.props);
        if let Some("inaccessible" | "orphaned" | "invalid") = object.text("runtime.connectionState") {
            let state = object.text("runtime.connectionState").unwrap_or_default();
            return Err(self
                .session
                .refused(what, format!("{} is {state}: its datastore cannot be read", request.base)));
        }
        if !object.props.contains_key("config.hardware.device") {
            return Err(self
                .session
                .refused(what, format!("{} has no configuration (missing vmx file)", request.base)));
        }
        let (datastore, host) = self.target(request, &object, what).await?;
        let pool = self.pool(&object, host.as_ref()).await?;
        let folder = object.moref("parent").ok_or_else(|| {
            self.session.refused(what, format!("{} lies in a vApp: no folder to clone into", request.base))
        })?;
        let new_disks = self.new_disks(request, &datastore, what).await?;
        for disk in &new_disks {
            if let Some(path) = &disk.path {
                self.make_directory(&disk.datastore_name, path, &folder).await?;
            }
        }
        let annotation = match ledger.marker() {
            Some(marker) => marker.note(request.cell, &marker.by_name(VM, &request.name)),
            None => mark::plain_note(request.run, request.cell),
        };
        let spec = CloneSpec {
            location: location(&hardware, datastore.clone(), pool, host, request.disk_type),
            config: config(&hardware, &request.name, annotation, &new_disks, request.warm, request.add_nic)
                .map_err(|cause| self.session.refused(what, cause))?,
        };
        Ok(Draft { body: op::clone_vm(&base, &folder, &request.name, &spec), datastore })
    }

    async fn map_luns(&self, vm: &VmRef, datastore: &MoRef, kinds: &[RdmType]) -> Result<(), SourceError> {
        for kind in kinds {
            self.map_lun(vm, datastore, *kind).await?;
        }
        Ok(())
    }

    /// Maps the profile's LUN into a VM. Not while it is cloned: a clone's mapping is not the base's.
    async fn map_lun(&self, vm: &VmRef, datastore: &MoRef, kind: RdmType) -> Result<(), SourceError> {
        let what = format!("map a LUN into {}", vm.name);
        let lun = self.config.copyoffload.as_ref().and_then(|section| section.rdm_lun_uuid.as_deref());
        let Some(lun) = lun.filter(|lun| !lun.is_empty()) else {
            return Err(self.session.refused(what, "the copyoffload section of the profile has no `rdm_lun_uuid`"));
        };
        let moref = Self::moref(vm);
        let object = self.props(&moref, &["config.hardware.device"]).await?;
        let hardware = Hardware::of(&object.props);
        // The one added controller would be of this request alone, and a LUN is mapped where there is one.
        let places = hardware.places(&[Bus::Scsi]).unwrap_or_default();
        let Some((controller, unit)) = places.first().filter(|(controller, _)| controller.key >= 0) else {
            return Err(self.session.refused(what, "its SCSI controllers have no room for another disk"));
        };
        let named = self.by_id_or_name("Datastore", &datastore.id).await?;
        let backing = RawBacking {
            file_name: format!("[{}]", decode_name(named.text("name").unwrap_or_default())),
            datastore: datastore.clone(),
            device: format!("/vmfs/devices/disks/{}", offload::naa(lun)),
            physical: kind == RdmType::Physical,
        };
        let change = DeviceChange::AddRawDisk { key: -101, backing, controller_key: controller.key, unit: *unit };
        let spec = ConfigSpec { device_changes: vec![change], ..ConfigSpec::default() };
        let limit = self.options.timeouts.clone;
        let done = self.session.run_task("ReconfigVM_Task", &what, limit, |_| op::reconfigure(&moref, &spec)).await;
        done.map(drop).map_err(|e| self.session.failed(&what, e))
    }

    /// Binds the clone's mark to its id, so that a copy of it proves nothing. Where the login may not do
    /// it the name in the mark and the id in the ledger still do, together.
    async fn mark_by_id(&self, request: &CloneRequest<'_>, vm: &MoRef, ledger: &Ledger) {
        let Some(marker) = ledger.marker() else { return };
        let annotation = Some(marker.note(request.cell, &marker.by_id(VM, &vm.id)));
        let spec = ConfigSpec { annotation, ..ConfigSpec::default() };
        let what = format!("mark {}", request.name);
        let limit = self.options.timeouts.request;
        let marked = self.session.run_task("ReconfigVM_Task", &what, limit, |_| op::reconfigure(vm, &spec)).await;
        if let Err(error) = marked.map_err(|e| self.session.failed(&what, e)) {
            tracing::warn!(vm = request.name, %error, "its mark holds its name alone");
        }
    }

    /// A datastore's key in the copy-offload section stands for its id; anything else for itself.
    pub(super) fn resolve<'a>(&'a self, wanted: &'a str) -> &'a str {
        self.config.copyoffload.as_ref().and_then(|section| section.datastore(wanted)).unwrap_or(wanted)
    }

    /// Datastore, and the host where copy offload pins one to its datastore.
    async fn target(
        &self,
        request: &CloneRequest<'_>,
        base: &ObjectContent,
        what: &str,
    ) -> Result<(MoRef, Option<MoRef>), SourceError> {
        let asked = match request.host {
            Some(host) => Some(self.by_id_or_name("HostSystem", host).await?.obj),
            None => None,
        };
        let Some(wanted) = request.target_storage.map(|w| self.resolve(w)) else {
            let first = base.morefs("datastore").into_iter().next();
            let first =
                first.ok_or_else(|| self.session.refused(what, format!("{} has no datastore", request.base)))?;
            return Ok((first, asked));
        };
        let datastore = self.by_id_or_name("Datastore", wanted).await?.obj;
        let host = match &self.config.copyoffload {
            Some(section) if section.datastore("datastore_id") == Some(wanted) => {
                section.esxi_host.as_deref().filter(|host| !host.is_empty())
            }
            _ => None,
        };
        let host = match (asked, host) {
            (Some(asked), _) => Some(asked),
            (None, Some(host)) => Some(self.by_id_or_name("HostSystem", host).await?.obj),
            (None, None) => None,
        };
        Ok((datastore, host))
    }

    /// The target host's pool, else the base's own; a template has none, so its host's.
    async fn pool(&self, base: &ObjectContent, host: Option<&MoRef>) -> Result<Option<MoRef>, SourceError> {
        if host.is_none()
            && let Some(pool) = base.moref("resourcePool")
        {
            return Ok(Some(pool));
        }
        let Some(host) = host.cloned().or_else(|| base.moref("runtime.host")) else { return Ok(None) };
        let Some(cluster) = self.props(&host, &["parent"]).await?.moref("parent") else { return Ok(None) };
        Ok(self.props(&cluster, &["resourcePool"]).await?.moref("resourcePool"))
    }

    /// Adds a thin disk beside the first one of a VM that is there; its changes are tracked where the VM's are.
    pub(super) async fn attach_disk(&self, vm: &VmRef, gib: u64) -> Result<(), SourceError> {
        let what = format!("add a disk to {}", vm.name);
        let moref = Self::moref(vm);
        let object =
            self.props(&moref, &["config.hardware.device", "config.changeTrackingEnabled", "datastore"]).await?;
        let hardware = Hardware::of(&object.props);
        let beside = hardware.disks.first().and_then(|disk| disk.datastore.clone());
        let Some(datastore) = beside.or_else(|| object.morefs("datastore").into_iter().next()) else {
            return Err(self.session.refused(&what, "it has no datastore"));
        };
        let named = self.by_id_or_name("Datastore", &datastore.id).await?;
        let disk = NewDisk {
            gib,
            provisioning: Provisioning::Thin,
            mode: mode(None),
            bus: None,
            datastore,
            datastore_name: decode_name(named.text("name").unwrap_or_default()),
            path: None,
        };
        let mut spec = ConfigSpec::default();
        let tracked = object.text("config.changeTrackingEnabled") == Some("true");
        add(&mut spec, &hardware, &vm.name, &[disk], tracked).map_err(|cause| self.session.refused(&what, cause))?;
        let limit = self.options.timeouts.clone;
        let mut left = ATTACH_TRIES;
        loop {
            match self.session.run_task("ReconfigVM_Task", &what, limit, |_| op::reconfigure(&moref, &spec)).await {
                // A snapshot of MTV's comes or goes.
                Err(error) if left > 0 && error.is("TaskInProgress") => {
                    left -= 1;
                    let recent = self.props(&moref, &["recentTask"]).await?.morefs("recentTask");
                    self.wait_tasks_over(&recent, limit).await?;
                }
                done => return done.map(drop).map_err(|e| self.session.failed(&what, e)),
            }
        }
    }

    /// Resolves the datastores of the disks to add and checks that what is allocated at once fits.
    async fn new_disks(
        &self,
        request: &CloneRequest<'_>,
        target: &MoRef,
        what: &str,
    ) -> Result<Vec<NewDisk>, SourceError> {
        let mut disks = Vec::new();
        let mut thick: std::collections::BTreeMap<String, (u64, u64)> = std::collections::BTreeMap::new();
        for disk in request.add_disks.iter().filter(|disk| disk.rdm_type.is_none()) {
            let AddDisk { size_gb, provision_type, disk_mode, datastore_id, datastore_path, controller, .. } = disk;
            let gib = u64::from(size_gb.unwrap_or_default());
            if gib == 0 {
                return Err(self.session.refused(what, "a disk to add has no size_gb"));
            }
            let wanted = datastore_id.as_deref().map_or(target.id.as_str(), |id| self.resolve(id));
            let datastore = self.by_id_or_name("Datastore", wanted).await?;
            let datastore_name = decode_name(datastore.text("name").unwrap_or_default());
            let provisioning = provisioning(provision_type.unwrap_or(DiskType::Thin));
            if provisioning != Provisioning::Thin
                && let Some(free) = datastore.parse_prop::<u64>("summary.freeSpace")
            {
                let sum = thick.entry(datastore_name.clone()).or_insert((0, free));
                sum.0 += gib * KIB_PER_GIB * 1024;
                if sum.0 > sum.1 {
                    let cause =
                        format!("datastore {datastore_name} has {} bytes free, thick disks need {}", sum.1, sum.0);
                    return Err(self.session.refused(what, cause));
                }
            }
            disks.push(NewDisk {
                gib,
                provisioning,
                mode: mode(*disk_mode),
                bus: controller.map(bus),
                datastore: datastore.obj,
                datastore_name,
                path: datastore_path.clone().filter(|p| !p.is_empty()),
            });
        }
        Ok(disks)
    }

    async fn make_directory(&self, datastore: &str, path: &str, folder: &MoRef) -> Result<(), SourceError> {
        let path = format!("[{datastore}] {}", path.trim_matches('/'));
        let what = format!("make directory {path}");
        let live = self.session.live().await.map_err(|e| self.session.failed("log in", e))?;
        let manager = live.content.file_manager.clone();
        let manager = manager.ok_or_else(|| self.session.refused(&what, "the server has no file manager"))?;
        // The datacenter of the VM; its datastores are those that the VM's hosts see.
        let mut above = Some(folder.clone());
        while let Some(object) = above.clone().filter(|o| o.kind != "Datacenter") {
            above = self.props(&object, &["parent"]).await?.moref("parent");
        }
        match self.session.call(|_| op::make_directory(&manager, &path, above.as_ref())).await {
            Ok(_) => Ok(()),
            // Both mean that it is there.
            Err(error) if error.is("FileAlreadyExists") || error.is("CannotCreateFile") => Ok(()),
            Err(error) => Err(self.session.failed(what, error)),
        }
    }
}
