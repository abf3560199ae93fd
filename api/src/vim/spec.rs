//! Specifications inside requests, each written in WSDL order.

use super::MoRef;
use super::xml::{Element, Writer};

/// How a virtual disk's file is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provisioning {
    Thin,
    ThickLazy,
    ThickEager,
}

/// A `VirtualDiskFlatVer2BackingInfo`.
#[derive(Debug, Clone)]
pub struct DiskBacking {
    /// Empty: beside the VM; `[ds]`: named by the server on that datastore.
    pub file_name: String,
    pub datastore: Option<MoRef>,
    pub disk_mode: String,
    pub provisioning: Provisioning,
}

impl DiskBacking {
    fn write(&self, name: &str, w: &mut Writer) {
        w.typed(name, "VirtualDiskFlatVer2BackingInfo", |w| {
            w.text("fileName", &self.file_name)
                .maybe_moref("datastore", self.datastore.as_ref())
                .text("diskMode", &self.disk_mode)
                .text("thinProvisioned", self.provisioning == Provisioning::Thin)
                .text("eagerlyScrub", self.provisioning == Provisioning::ThickEager);
        });
    }
}

/// A `VirtualDiskRawDiskMappingVer1BackingInfo`.
#[derive(Debug, Clone)]
pub struct RawBacking {
    /// `[ds]`: the mapping file is named by the server on that datastore.
    pub file_name: String,
    pub datastore: MoRef,
    /// `/vmfs/devices/disks/naa.…`
    pub device: String,
    /// The guest speaks to the LUN itself: no snapshots, and the disk is independent.
    pub physical: bool,
}

impl RawBacking {
    fn write(&self, w: &mut Writer) {
        let (mode, disk_mode) = match self.physical {
            true => ("physicalMode", "independent_persistent"),
            false => ("virtualMode", "persistent"),
        };
        w.typed("backing", "VirtualDiskRawDiskMappingVer1BackingInfo", |w| {
            w.text("fileName", &self.file_name)
                .moref("datastore", &self.datastore)
                .text("deviceName", &self.device)
                .text("compatibilityMode", mode)
                .text("diskMode", disk_mode);
        });
    }
}

/// Where one disk of a clone goes.
#[derive(Debug, Clone)]
pub struct DiskLocator {
    pub disk_id: i64,
    pub datastore: MoRef,
    pub backing: Option<DiskBacking>,
}

/// The only two transformations that the API has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transform {
    Flat,
    Sparse,
}

/// A `VirtualMachineRelocateSpec`.
#[derive(Debug, Clone, Default)]
pub struct RelocateSpec {
    pub datastore: Option<MoRef>,
    pub pool: Option<MoRef>,
    pub host: Option<MoRef>,
    pub disks: Vec<DiskLocator>,
    pub transform: Option<Transform>,
}

impl RelocateSpec {
    fn write(&self, name: &str, w: &mut Writer) {
        w.node(name, |w| {
            w.maybe_moref("datastore", self.datastore.as_ref())
                .maybe_moref("pool", self.pool.as_ref())
                .maybe_moref("host", self.host.as_ref());
            for disk in &self.disks {
                w.node("disk", |w| {
                    w.text("diskId", disk.disk_id).moref("datastore", &disk.datastore);
                    if let Some(backing) = &disk.backing {
                        backing.write("diskBackingInfo", w);
                    }
                });
            }
            w.maybe(
                "transform",
                self.transform.map(|t| match t {
                    Transform::Flat => "flat",
                    Transform::Sparse => "sparse",
                }),
            );
        });
    }
}

/// A change of one device.
#[derive(Debug, Clone)]
pub enum DeviceChange {
    /// A controller for disks of the same request, which call it by this key.
    AddController { key: i64, kind: String, bus_number: i64, scsi: bool },
    /// A new disk with a new file.
    AddDisk { key: i64, backing: DiskBacking, controller_key: i64, unit: i64, capacity_kb: u64 },
    /// A disk whose file is there already and another VM's, too; both may write to it.
    ShareDisk { key: i64, file_name: String, datastore: MoRef, controller_key: i64, unit: i64, capacity_kb: u64 },
    /// A disk goes, and its file with it.
    DestroyDisk { key: i64 },
    /// A LUN that is mapped into the VM; its mapping file lies on a datastore.
    AddRawDisk { key: i64, backing: RawBacking, controller_key: i64, unit: i64 },
    /// The server chooses a new MAC for this network card (an element of `config.hardware.device`).
    RegenerateMac { card: Element },
    /// A further network card on the network of this one, of its kind.
    AddCard { key: i64, like: Element, start_connected: bool },
}

impl DeviceChange {
    fn write(&self, w: &mut Writer) {
        w.node("deviceChange", |w| match self {
            Self::AddController { key, kind, bus_number, scsi } => {
                w.text("operation", "add").typed("device", kind, |w| {
                    w.text("key", key).text("busNumber", bus_number);
                    if *scsi {
                        w.text("sharedBus", "noSharing");
                    }
                });
            }
            Self::AddDisk { key, backing, controller_key, unit, capacity_kb } => {
                w.text("operation", "add").text("fileOperation", "create").typed("device", "VirtualDisk", |w| {
                    w.text("key", key);
                    backing.write("backing", w);
                    w.text("controllerKey", controller_key).text("unitNumber", unit).text("capacityInKB", capacity_kb);
                });
            }
            Self::ShareDisk { key, file_name, datastore, controller_key, unit, capacity_kb } => {
                w.text("operation", "add").typed("device", "VirtualDisk", |w| {
                    w.text("key", key);
                    w.typed("backing", "VirtualDiskFlatVer2BackingInfo", |w| {
                        w.text("fileName", file_name)
                            .moref("datastore", datastore)
                            .text("diskMode", "persistent")
                            .text("sharing", "sharingMultiWriter");
                    });
                    w.text("controllerKey", controller_key).text("unitNumber", unit).text("capacityInKB", capacity_kb);
                });
            }
            Self::DestroyDisk { key } => {
                w.text("operation", "remove").text("fileOperation", "destroy").typed("device", "VirtualDisk", |w| {
                    // The schema wants a size of everything that is a disk.
                    w.text("key", key).text("capacityInKB", 0);
                });
            }
            Self::AddRawDisk { key, backing, controller_key, unit } => {
                w.text("operation", "add").text("fileOperation", "create").typed("device", "VirtualDisk", |w| {
                    w.text("key", key);
                    backing.write(w);
                    // Its size is the LUN's; the schema wants one all the same.
                    w.text("controllerKey", controller_key).text("unitNumber", unit).text("capacityInKB", 0);
                });
            }
            Self::RegenerateMac { card } => {
                w.text("operation", "edit");
                w.typed("device", card.xsi_type.as_deref().unwrap_or("VirtualEthernetCard"), |w| {
                    w.maybe("key", card.text_at("key"));
                    if let Some(backing) = card.child("backing") {
                        w.element(&for_another_vm(backing));
                    }
                    if let Some(connect) = card.child("connectable") {
                        w.node("connectable", |w| {
                            // `status` and whatever newer servers add is theirs alone.
                            for member in ["startConnected", "allowGuestControl", "connected"] {
                                w.maybe(member, connect.text_at(member));
                            }
                        });
                    }
                    w.maybe("controllerKey", card.text_at("controllerKey"))
                        .maybe("unitNumber", card.text_at("unitNumber"))
                        .text("addressType", "generated");
                });
            }
            Self::AddCard { key, like, start_connected } => {
                w.text("operation", "add");
                w.typed("device", like.xsi_type.as_deref().unwrap_or("VirtualVmxnet3"), |w| {
                    w.text("key", key);
                    if let Some(backing) = like.child("backing") {
                        w.element(&for_another_vm(backing));
                    }
                    w.node("connectable", |w| {
                        w.text("startConnected", start_connected)
                            .text("allowGuestControl", true)
                            // The clone is off.
                            .text("connected", false);
                    });
                    w.text("addressType", "generated");
                });
            }
        });
    }
}

/// A card's backing without what belongs to the VM that it was read from: its switch port.
fn for_another_vm(backing: &Element) -> Element {
    let mut backing = backing.clone();
    for port in backing.children.iter_mut().filter(|c| c.name == "port") {
        port.children.retain(|c| matches!(c.name.as_str(), "switchUuid" | "portgroupKey"));
    }
    backing
}

/// A `VirtualMachineConfigSpec`, as far as clones need it.
#[derive(Debug, Clone, Default)]
pub struct ConfigSpec {
    pub annotation: Option<String>,
    pub device_changes: Vec<DeviceChange>,
    pub extra_config: Vec<(String, String)>,
    pub change_tracking: Option<bool>,
}

impl ConfigSpec {
    pub fn write(&self, name: &str, w: &mut Writer) {
        w.node(name, |w| {
            w.maybe("annotation", self.annotation.as_deref());
            for change in &self.device_changes {
                change.write(w);
            }
            for (key, value) in &self.extra_config {
                w.node("extraConfig", |w| {
                    w.text("key", key).typed_text("value", "xsd:string", value);
                });
            }
            w.maybe("changeTrackingEnabled", self.change_tracking);
        });
    }
}

/// A `VirtualMachineCloneSpec` of a VM that stays off and is no template.
#[derive(Debug, Clone, Default)]
pub struct CloneSpec {
    pub location: RelocateSpec,
    pub config: ConfigSpec,
}

impl CloneSpec {
    pub fn write(&self, w: &mut Writer) {
        w.node("spec", |w| {
            self.location.write("location", w);
            w.text("template", false);
            self.config.write("config", w);
            w.text("powerOn", false);
        });
    }
}
