//! Ways in which a migration goes wrong although MTV says Succeeded: the oracle for `check`.
//!
//! Each defect breaks exactly one thing, so that exactly one check must find it.

pub mod catalogue;
pub mod conduct;
pub mod drawn;
pub mod variations;
pub mod written;

use catalogue::WRITTEN;
use conduct::{CONDUCTS, Conduct};
use written::{Object, Written};

/// One way to be wrong, with the check that must notice it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Defect {
    /// The migrated VM was never created; only its disks were.
    LostVm,
    /// The source VM is running after migration.
    SourceLeftOn,
    /// The migrated VM's power is the opposite of what was asked.
    WrongPower,
    /// One socket too many.
    WrongCpu,
    /// Half the memory.
    WrongMemory,
    /// EFI became BIOS or the other way round.
    WrongFirmware,
    /// The serial number is another VM's.
    WrongSerial,
    /// The last NIC is attached to another network than the map says.
    WrongNetwork,
    /// A NIC came with a new MAC.
    NewMac,
    /// The last disk is missing.
    LostDisk,
    /// The last disk is smaller than its source.
    TruncatedDisk,
    /// The first two disks changed places (needs a VM of two disks).
    SwappedDisks,
    /// The first disk's PVC has another storage class.
    WrongStorageClass,
    /// The first disk's PVC has another access mode.
    WrongAccessMode,
    /// The first disk's PVC has another volume mode.
    WrongVolumeMode,
    /// PVC names do not follow the template.
    WrongPvcName,
    /// The guest agent never connects.
    NoGuestAgent,
    /// The guest refuses the login.
    LoginRefused,
    /// The guest came up with DHCP instead of its static address.
    LostStaticIp,
    /// The guest has no default route any more.
    LostGateway,
    /// A NIC that had no default route has one, too (needs a VM with two static NICs).
    GainedGateway,
    /// The guest has no DNS server any more.
    LostDns,
    /// The VM runs on another worker than the selector says.
    WrongNode,
    /// A target label is missing.
    LostLabel,
    /// The affinity is missing.
    LostAffinity,
    /// The Provider's Secret says the opposite about TLS verification.
    InsecureProvider,
    /// MTV's own snapshot stays on the source VM.
    LeftoverSnapshot,
    /// No node takes the migrated VM when it is started.
    DoesNotStart,
    /// The migrated guest's files are there and hold nothing.
    LostData,
    /// Each VM has a disk of its own where they shared one, and the claim says nothing of it.
    SplitDisk,
    /// What was written into the source's guest is another text in the migrated one.
    AlteredData,
    /// The array copies nothing, and MTV falls back to the ESXi host without a word.
    OffloadFellBack,
    /// The populators' status says nothing of XCOPY.
    OffloadUntold,
    /// The populators' logs end before the copy does.
    PopulatorLogCut,
}

/// Every defect with its name on the command line and the check that finds it.
pub const CATALOGUE: &[(Defect, &str, &str)] = &[
    (Defect::LostVm, "lost-vm", "target-exists"),
    (Defect::SourceLeftOn, "source-left-on", "source-power"),
    (Defect::WrongPower, "wrong-power", "power"),
    (Defect::WrongCpu, "wrong-cpu", "cpu"),
    (Defect::WrongMemory, "wrong-memory", "memory"),
    (Defect::WrongFirmware, "wrong-firmware", "firmware"),
    (Defect::WrongSerial, "wrong-serial", "serial"),
    (Defect::WrongNetwork, "wrong-network", "network"),
    (Defect::NewMac, "new-mac", "network"),
    (Defect::LostDisk, "lost-disk", "disk-count"),
    (Defect::TruncatedDisk, "truncated-disk", "disk-size"),
    (Defect::SwappedDisks, "swapped-disks", "disk-order"),
    (Defect::WrongStorageClass, "wrong-storage-class", "storage-class"),
    (Defect::WrongAccessMode, "wrong-access-mode", "access-mode"),
    (Defect::WrongVolumeMode, "wrong-volume-mode", "volume-mode"),
    (Defect::WrongPvcName, "wrong-pvc-name", "pvc-names"),
    (Defect::NoGuestAgent, "no-guest-agent", "guest-agent"),
    (Defect::LoginRefused, "login-refused", "ssh-login"),
    (Defect::LostStaticIp, "lost-static-ip", "static-ip"),
    (Defect::LostGateway, "lost-gateway", "static-ip"),
    (Defect::GainedGateway, "gained-gateway", "static-ip"),
    (Defect::LostDns, "lost-dns", "dns"),
    (Defect::WrongNode, "wrong-node", "node-placement"),
    (Defect::LostLabel, "lost-label", "labels"),
    (Defect::LostAffinity, "lost-affinity", "affinity"),
    (Defect::InsecureProvider, "insecure-provider", "provider-tls"),
    (Defect::LeftoverSnapshot, "leftover-snapshot", "snapshots"),
    (Defect::DoesNotStart, "does-not-start", "boot"),
    (Defect::LostData, "lost-data", "marker"),
    (Defect::SplitDisk, "split-disk", "shared-data"),
    (Defect::AlteredData, "altered-data", "marker"),
    (Defect::OffloadFellBack, "offload-fell-back", "copy-offload"),
    (Defect::OffloadUntold, "offload-untold", "copy-offload"),
    (Defect::PopulatorLogCut, "populator-log-cut", "copy-offload"),
];

/// The MAC that [`Defect::NewMac`] puts in the place of another: the same with its
/// locally-administered bit turned. Applied twice it is the old one again, so that the lab still
/// knows whose disks the VM has.
pub fn new_mac(mac: &str) -> String {
    match (mac.get(..2).and_then(|first| u8::from_str_radix(first, 16).ok()), mac.get(2..)) {
        (Some(first), Some(rest)) => format!("{:02x}{rest}", first ^ 0x02),
        _ => mac.to_owned(),
    }
}

/// The defects of what is written that a lab can run: those of the VM that its MTV creates. The others are made on
/// recorded runs (tests/suite/verdicts.rs).
pub fn runnable() -> impl Iterator<Item = &'static Written> {
    WRITTEN.iter().filter(|defect| defect.object == Object::Vm)
}

/// The defects switched on in a lab.
#[derive(Debug, Clone, Default)]
pub struct Defects {
    on: Vec<Defect>,
    /// Of the VM as MTV creates it.
    written: Vec<&'static Written>,
    conduct: Vec<Conduct>,
}

impl Defects {
    /// From names; the first unknown one is the error.
    pub fn parse(names: &[String]) -> Result<Self, super::LabError> {
        let (mut on, mut written, mut conduct) = (Vec::new(), Vec::new(), Vec::new());
        for name in names {
            if let Some((defect, _, _)) = CATALOGUE.iter().find(|(_, known, _)| known == name) {
                on.push(*defect);
            } else if let Some(found) = runnable().find(|defect| defect.name == name) {
                written.push(found);
            } else if let Some((wrong, _, _)) = CONDUCTS.iter().find(|(_, known, _)| known == name) {
                conduct.push(*wrong);
            } else {
                let known = CATALOGUE.iter().map(|(_, name, _)| *name).chain(runnable().map(|defect| defect.name));
                let known: Vec<&str> = known.chain(CONDUCTS.iter().map(|(_, name, _)| *name)).collect();
                return Err(super::LabError::UnknownDefect { name: name.clone(), known: known.join(", ") });
            }
        }
        Ok(Self { on, written, conduct })
    }
    /// Changes a VirtualMachine that is about to be created.
    pub fn write(&self, machine: &mut serde_json::Value) {
        for defect in &self.written {
            defect.apply(machine);
        }
    }
    pub fn has(&self, defect: Defect) -> bool {
        self.on.contains(&defect)
    }
    /// Whether MTV behaves in this wrong way.
    pub fn behaves(&self, conduct: Conduct) -> bool {
        self.conduct.contains(&conduct)
    }
}
