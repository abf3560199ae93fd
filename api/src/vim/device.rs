//! The virtual hardware of a VM, read from `config.hardware.device`.

use super::MoRef;
use super::property::Props;
use super::xml::Element;

/// Controllers of one bus that a VM may have.
const CONTROLLERS: i64 = 4;
/// Key of the first controller that a request adds; the server gives it another.
const ADDED_CONTROLLER: i64 = -71;

/// What kind of bus a controller drives, as MTV's inventory names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    Scsi,
    Sata,
    Ide,
    Nvme,
    Usb,
}

impl Bus {
    pub fn name(self) -> &'static str {
        match self {
            Self::Scsi => "scsi",
            Self::Sata => "sata",
            Self::Ide => "ide",
            Self::Nvme => "nvme",
            Self::Usb => "usb",
        }
    }

    /// Units of one controller that disks are put on: as many as every version of virtual hardware has.
    fn units(self) -> i64 {
        match self {
            Self::Scsi => 16,
            Self::Sata => 30,
            Self::Nvme => 15,
            Self::Ide | Self::Usb => 0,
        }
    }

    /// The controller that is added where a VM has none.
    fn kind(self) -> Option<&'static str> {
        match self {
            Self::Scsi => Some("ParaVirtualSCSIController"),
            Self::Sata => Some("VirtualAHCIController"),
            Self::Nvme => Some("VirtualNVMEController"),
            Self::Ide | Self::Usb => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controller {
    /// Negative: added by the same request.
    pub key: i64,
    /// Its type, e.g. `ParaVirtualSCSIController`.
    pub kind: String,
    pub bus: Bus,
    pub bus_number: i64,
    /// The unit that the controller itself takes (SCSI: 7).
    pub own_unit: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    pub key: i64,
    pub label: String,
    pub controller_key: i64,
    pub unit: i64,
    /// `[ds] dir/x.vmdk`
    pub file: String,
    pub datastore: Option<MoRef>,
    pub capacity_bytes: u64,
    pub mode: String,
    /// Type of the backing, e.g. `VirtualDiskFlatVer2BackingInfo`.
    pub backing: String,
    /// Several VMs may write to it (`sharingMultiWriter`).
    pub shared: bool,
}

impl Disk {
    /// Last path segment of the file: `x.vmdk`.
    pub fn file_name(&self) -> Option<&str> {
        self.file.rsplit(['/', ' ', ']']).next().filter(|n| !n.is_empty())
    }
    /// Whether it is a LUN that is mapped into the VM.
    pub fn is_raw(&self) -> bool {
        self.backing.starts_with("VirtualDiskRawDiskMapping")
    }
    /// Whether the API can track its changed blocks.
    pub fn can_track_changes(&self) -> bool {
        !self.mode.starts_with("independent") && self.mode != "nonpersistent"
    }
}

/// What a network card is plugged into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NicBacking {
    Network {
        network: Option<MoRef>,
        name: String,
    },
    /// The key of a distributed port group; on a real vCenter equal to its id.
    PortGroup {
        key: String,
        switch_uuid: String,
    },
    Opaque {
        id: String,
    },
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    pub key: i64,
    pub label: String,
    pub mac: String,
    pub backing: NicBacking,
    pub connected: bool,
    pub start_connected: bool,
    /// The device as sent.
    pub raw: Element,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hardware {
    pub controllers: Vec<Controller>,
    /// By bus (SATA, IDE, SCSI, NVMe), controller key, unit and key: the order in which MTV numbers disks.
    pub disks: Vec<Disk>,
    /// In the order of the device list.
    pub nics: Vec<Nic>,
    pub tpm: bool,
    /// Controller key and unit of every device.
    pub used_units: Vec<(i64, i64)>,
}

impl Hardware {
    /// From the property `config.hardware.device`; empty when it is unset.
    pub fn of(props: &Props) -> Self {
        let mut hardware = Self::default();
        for device in props.get("config.hardware.device").map(|e| e.children.as_slice()).unwrap_or_default() {
            hardware.add(device);
        }
        let bus = |key| hardware.controllers.iter().find(|c| c.key == key).map(|c| c.bus);
        let rank = |disk: &Disk| match bus(disk.controller_key) {
            Some(Bus::Sata) => 0,
            Some(Bus::Ide) => 1,
            Some(Bus::Scsi) | None => 2,
            Some(Bus::Nvme) => 3,
            Some(Bus::Usb) => 4,
        };
        let mut disks = std::mem::take(&mut hardware.disks);
        disks.sort_by_key(|d| (rank(d), d.controller_key, d.unit, d.key));
        hardware.disks = disks;
        hardware
    }

    fn add(&mut self, device: &Element) {
        let kind = device.xsi_type.as_deref().unwrap_or_default();
        let key = device.parse_at("key").unwrap_or_default();
        let label = device.text_at("deviceInfo/label").unwrap_or_default().to_owned();
        let place = (device.parse_at("controllerKey").unwrap_or(-1), device.parse_at("unitNumber").unwrap_or(-1));
        self.used_units.push(place);
        if let Some(bus) = bus_of(kind) {
            self.controllers.push(Controller {
                key,
                kind: kind.to_owned(),
                bus,
                bus_number: device.parse_at("busNumber").unwrap_or_default(),
                own_unit: device.parse_at("scsiCtlrUnitNumber").or((bus == Bus::Scsi).then_some(7)),
            });
        } else if kind == "VirtualDisk" {
            let kib: u64 = device.parse_at("capacityInKB").unwrap_or_default();
            self.disks.push(Disk {
                key,
                label,
                controller_key: place.0,
                unit: place.1,
                file: device.text_at("backing/fileName").unwrap_or_default().to_owned(),
                datastore: device.moref_at("backing/datastore"),
                capacity_bytes: device.parse_at("capacityInBytes").unwrap_or(kib.saturating_mul(1024)),
                mode: device.text_at("backing/diskMode").unwrap_or_default().to_owned(),
                backing: device.at("backing").and_then(|b| b.xsi_type.clone()).unwrap_or_default(),
                shared: device.text_at("backing/sharing").is_some_and(|sharing| sharing == "sharingMultiWriter"),
            });
        } else if kind == "VirtualTPM" {
            self.tpm = true;
        } else if is_network_card(kind) {
            self.nics.push(Nic {
                key,
                label,
                mac: device.text_at("macAddress").unwrap_or_default().to_owned(),
                backing: nic_backing(device.child("backing")),
                connected: device.flag_at("connectable/connected").unwrap_or(true),
                start_connected: device.flag_at("connectable/startConnected").unwrap_or(true),
                raw: device.clone(),
            });
        }
    }

    /// The controller that a disk hangs on.
    pub fn controller(&self, key: i64) -> Option<&Controller> {
        self.controllers.iter().find(|c| c.key == key)
    }

    /// The bus that a disk goes to where nobody says: SCSI where there is one, else that of the first disk.
    pub fn usual_bus(&self) -> Bus {
        let first = || self.disks.first().and_then(|disk| self.controller(disk.controller_key)).map(|it| it.bus);
        if self.controllers.iter().any(|controller| controller.bus == Bus::Scsi) {
            return Bus::Scsi;
        }
        first().filter(|bus| bus.units() > 0).unwrap_or(Bus::Scsi)
    }

    /// Free places for further disks on these buses, lowest first. Where a bus is full a controller is added, as far as a VM
    /// may have one more: its key is negative, and whoever takes the place adds it. `Err`: this bus has no room.
    pub fn places(&self, wanted: &[Bus]) -> Result<Vec<(Controller, i64)>, Bus> {
        let (mut controllers, mut used) = (self.controllers.clone(), self.used_units.clone());
        let mut places = Vec::new();
        for &bus in wanted {
            let free = |controller: &Controller, used: &[(i64, i64)]| {
                let taken = |unit: i64| Some(unit) == controller.own_unit || used.contains(&(controller.key, unit));
                (0..bus.units()).find(|unit| !taken(*unit))
            };
            let of_bus = || controllers.iter().filter(|controller| controller.bus == bus);
            let found = of_bus().find_map(|controller| free(controller, &used).map(|unit| (controller.clone(), unit)));
            let (controller, unit) = match found {
                Some(found) => found,
                None => {
                    let number = (0..CONTROLLERS).find(|n| !of_bus().any(|it| it.bus_number == *n)).ok_or(bus)?;
                    let kind = of_bus().next().map(|it| it.kind.clone()).or_else(|| bus.kind().map(str::to_owned));
                    let added = i64::try_from(controllers.iter().filter(|it| it.key < 0).count()).unwrap_or_default();
                    let controller = Controller {
                        key: ADDED_CONTROLLER - added,
                        kind: kind.ok_or(bus)?,
                        bus,
                        bus_number: number,
                        own_unit: (bus == Bus::Scsi).then_some(7),
                    };
                    controllers.push(controller.clone());
                    (controller, 0)
                }
            };
            used.push((controller.key, unit));
            places.push((controller, unit));
        }
        Ok(places)
    }

    /// `scsi0:1.ctkEnabled` for a disk at this place; `None` for a bus without change tracking.
    pub fn change_tracking_key(controller: &Controller, unit: i64) -> Option<String> {
        matches!(controller.bus, Bus::Scsi | Bus::Sata | Bus::Nvme)
            .then(|| format!("{}{}:{unit}.ctkEnabled", controller.bus.name(), controller.bus_number))
    }
}

fn bus_of(kind: &str) -> Option<Bus> {
    Some(match kind {
        "VirtualSCSIController"
        | "ParaVirtualSCSIController"
        | "VirtualLsiLogicController"
        | "VirtualLsiLogicSASController"
        | "VirtualBusLogicController" => Bus::Scsi,
        "VirtualSATAController" | "VirtualAHCIController" => Bus::Sata,
        "VirtualIDEController" => Bus::Ide,
        "VirtualNVMEController" => Bus::Nvme,
        "VirtualUSBController" => Bus::Usb,
        _ => return None,
    })
}

/// SR-IOV cards are passthrough devices to MTV, not network cards.
fn is_network_card(kind: &str) -> bool {
    matches!(
        kind,
        "VirtualEthernetCard"
            | "VirtualVmxnet"
            | "VirtualVmxnet2"
            | "VirtualVmxnet3"
            | "VirtualVmxnet3Vrdma"
            | "VirtualE1000"
            | "VirtualE1000e"
            | "VirtualPCNet32"
    )
}

fn nic_backing(backing: Option<&Element>) -> NicBacking {
    let Some(backing) = backing else { return NicBacking::Other };
    let text = |path: &str| backing.text_at(path).unwrap_or_default().to_owned();
    match backing.xsi_type.as_deref().unwrap_or_default() {
        "VirtualEthernetCardNetworkBackingInfo" => {
            NicBacking::Network { network: backing.moref_at("network"), name: text("deviceName") }
        }
        "VirtualEthernetCardDistributedVirtualPortBackingInfo" => {
            NicBacking::PortGroup { key: text("port/portgroupKey"), switch_uuid: text("port/switchUuid") }
        }
        "VirtualEthernetCardOpaqueNetworkBackingInfo" => NicBacking::Opaque { id: text("opaqueNetworkId") },
        _ => NicBacking::Other,
    }
}

/// A network as it is needed to find the one that a card is plugged into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    pub moref: MoRef,
    pub name: String,
    /// Key of a distributed port group.
    pub key: Option<String>,
    /// Id of an opaque (NSX) network.
    pub opaque_id: Option<String>,
}

impl Network {
    /// Paths to read of `Network`, `DistributedVirtualPortgroup` and `OpaqueNetwork`.
    pub fn from_object(object: &super::ObjectContent) -> Self {
        Self {
            moref: object.obj.clone(),
            name: super::decode_name(object.text("name").unwrap_or_default()),
            key: object.text("key").map(str::to_owned),
            opaque_id: object.props.get("summary").and_then(|s| s.text_at("opaqueNetworkId")).map(str::to_owned),
        }
    }
}

impl NicBacking {
    /// The network among `networks` that this is, with the id that MTV's inventory uses.
    pub fn find<'a>(&self, networks: &'a [Network]) -> Option<&'a Network> {
        match self {
            Self::Network { network: Some(moref), .. } => networks.iter().find(|n| n.moref.id == moref.id),
            Self::Network { network: None, name } => networks.iter().find(|n| n.name == *name),
            Self::PortGroup { key, .. } => networks
                .iter()
                .find(|n| n.key.as_deref() == Some(key))
                .or_else(|| networks.iter().find(|n| n.moref.id == *key)),
            Self::Opaque { id } => networks.iter().find(|n| n.opaque_id.as_deref() == Some(id)),
            Self::Other => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hardware(devices: &str) -> Hardware {
        let xml = format!("<val xmlns:xsi=\"i\" xsi:type=\"ArrayOfVirtualDevice\">{devices}</val>");
        let props = Props::from([("config.hardware.device".to_owned(), Element::parse(xml.as_bytes()).unwrap())]);
        Hardware::of(&props)
    }

    fn disk(key: i64, controller: i64, unit: i64) -> String {
        format!(
            "<VirtualDevice xsi:type=\"VirtualDisk\"><key>{key}</key><backing xsi:type=\"VirtualDiskFlatVer2BackingInfo\"><fileName>[ds 1] vm/d{key}.vmdk</fileName><datastore type=\"Datastore\">datastore-1</datastore><diskMode>persistent</diskMode></backing><controllerKey>{controller}</controllerKey><unitNumber>{unit}</unitNumber><capacityInKB>1024</capacityInKB></VirtualDevice>"
        )
    }

    const SCSI: &str = "<VirtualDevice xsi:type=\"ParaVirtualSCSIController\"><key>1000</key><busNumber>0</busNumber><scsiCtlrUnitNumber>7</scsiCtlrUnitNumber></VirtualDevice>";

    #[test]
    fn disks_come_by_controller_and_unit_whatever_the_order_of_the_list() {
        let hw = hardware(&format!("{}{}{}{SCSI}", disk(2001, 1000, 1), disk(2016, 1001, 0), disk(2000, 1000, 0)));
        assert_eq!(hw.disks.iter().map(|d| d.key).collect::<Vec<_>>(), [2000, 2001, 2016]);
        assert_eq!(hw.disks[0].file_name(), Some("d2000.vmdk"));
        assert_eq!(hw.disks[0].capacity_bytes, 1024 * 1024);
    }

    #[test]
    fn free_units_skip_seven_and_what_is_taken() {
        let disks: String = (0..6).map(|u| disk(2000 + u, 1000, u)).collect();
        let hw = hardware(&format!("{SCSI}{disks}"));
        let units: Vec<i64> = hw.places(&[Bus::Scsi; 3]).unwrap().iter().map(|(_, u)| *u).collect();
        assert_eq!(units, [6, 8, 9]);
    }

    #[test]
    fn where_a_bus_is_full_or_missing_a_controller_is_added_and_a_vm_has_four_of_each() {
        let disks: String = (0..6).map(|u| disk(2000 + u, 1000, u)).collect();
        let hw = hardware(&format!("{SCSI}{disks}"));
        let mut wanted = vec![Bus::Scsi; 11];
        wanted.extend([Bus::Nvme, Bus::Sata, Bus::Nvme]);
        let places = hw.places(&wanted).unwrap();
        let told: Vec<_> = places[8..].iter().map(|(c, unit)| (c.key, c.kind.as_str(), c.bus_number, *unit)).collect();
        assert_eq!(
            told,
            [
                (1000, "ParaVirtualSCSIController", 0, 15),
                (-71, "ParaVirtualSCSIController", 1, 0),
                (-71, "ParaVirtualSCSIController", 1, 1),
                (-72, "VirtualNVMEController", 0, 0),
                (-73, "VirtualAHCIController", 0, 0),
                (-72, "VirtualNVMEController", 0, 1),
            ]
        );
        // 9 are free on the first, 15 on each of three more.
        assert_eq!(hw.places(&[Bus::Scsi; 54]).unwrap().len(), 54);
        assert_eq!(hw.places(&[Bus::Scsi; 55]), Err(Bus::Scsi));
        assert_eq!(hardware("").places(&[Bus::Ide]), Err(Bus::Ide));
        assert_eq!((hw.usual_bus(), hardware("").usual_bus()), (Bus::Scsi, Bus::Scsi));
    }

    #[test]
    fn a_port_group_is_found_by_its_key_even_where_key_and_id_differ() {
        let network = |id: &str, key: Option<&str>| Network {
            moref: MoRef::new("Network", id),
            name: id.to_owned(),
            key: key.map(str::to_owned),
            opaque_id: None,
        };
        let networks = [network("network-7", None), network("dvportgroup-11", Some("key-1"))];
        let by_key = NicBacking::PortGroup { key: "key-1".into(), switch_uuid: String::new() };
        assert_eq!(by_key.find(&networks).unwrap().moref.id, "dvportgroup-11");
        let by_id = NicBacking::PortGroup { key: "dvportgroup-11".into(), switch_uuid: String::new() };
        assert_eq!(by_id.find(&networks).unwrap().moref.id, "dvportgroup-11");
    }
}
