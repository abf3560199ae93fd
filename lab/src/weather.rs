//! What real tools, guests and vCenters tell that a tidy lab would not: untidy, and yet right.
//!
//! Weather is no defect: a run that alarms at it is wrong. Some of it is on in every lab, because a clean world
//! teaches nothing. This room knows names and what is usual; each part of the lab reads the switches that it plays.

use std::collections::BTreeSet;

use super::LabError;

/// One kind of untidiness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weather {
    /// vSphere tools of Linux tell addresses without `origin`.
    NoOrigin,
    /// vSphere tools tell bare addresses, without `ipConfig`.
    NoIpConfig,
    /// Keys of vSphere devices have gaps, and do not begin at the first of their kind.
    DeviceKeys,
    /// vSphere: further VMs and a further network with names that others have, too.
    SameNames,
    /// vSphere: VMs of several disks have them on several datastores, at like paths, and on two controllers.
    ManyDatastores,
    /// vSphere: a floppy drive and a serial port without backing, and a bridge of containers among a Linux guest's NICs.
    HalfDevices,
    /// No guest agent of a migrated VM ever connects.
    NoAgent,
    /// KubeVirt tells the pod's address of a NIC behind masquerade, also where the agent told the guest's.
    PodAddresses,
    /// Guests and their agents take minutes.
    SlowBoot,
    /// A guest that boots lets nobody in, as `pam_nologin` does.
    NoLogin,
    /// A guest that boots sets its static addresses only after it lets the first in.
    LateAddresses,
    /// A Windows guest restarts once after each start: its agent goes and comes back.
    WindowsReboots,
    /// The address of a Linux guest's NIC is on a bridge with the same MAC that stands before it.
    Bridges,
}

/// A switch, its name on the command line, whether every lab has it on, and what it does.
pub struct Switch {
    pub weather: Weather,
    pub name: &'static str,
    pub usual: bool,
    pub tells: &'static str,
}

const fn switch(weather: Weather, name: &'static str, usual: bool, tells: &'static str) -> Switch {
    Switch { weather, name, usual, tells }
}

/// First in a list: nothing is on but what is named after it.
pub const FAIR: &str = "fair";

/// Every switch.
pub const SWITCHES: &[Switch] = &[
    switch(Weather::NoOrigin, "no-origin", true, "vSphere: tools of Linux tell addresses without `origin`"),
    switch(Weather::NoIpConfig, "no-ip-config", false, "vSphere: tools tell bare addresses, without `ipConfig`"),
    switch(Weather::DeviceKeys, "device-keys", true, "vSphere: keys of devices have gaps and begin late"),
    switch(
        Weather::SameNames,
        "same-names",
        false,
        "vSphere: VMs of one name in two folders, two networks of one name",
    ),
    switch(
        Weather::ManyDatastores,
        "many-datastores",
        false,
        "vSphere: the disks of one VM on several datastores, at like paths, and on two controllers",
    ),
    switch(
        Weather::HalfDevices,
        "half-devices",
        false,
        "vSphere: drives and ports without backing, a bridge of containers among a guest's NICs",
    ),
    switch(Weather::NoAgent, "no-agent", false, "no guest agent of a migrated VM connects"),
    switch(Weather::PodAddresses, "pod-addresses", true, "KubeVirt tells the pod's address behind masquerade"),
    switch(Weather::SlowBoot, "slow-boot", false, "migrated guests and their agents take minutes"),
    switch(Weather::NoLogin, "pam-nologin", false, "a guest that boots refuses each login"),
    switch(Weather::LateAddresses, "late-addresses", false, "static addresses come minutes after the first login"),
    switch(Weather::WindowsReboots, "windows-reboots", true, "Windows restarts once after each start"),
    switch(Weather::Bridges, "bridges", false, "bridges stand before the NICs of Linux guests, with their MACs"),
];

/// What is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sky(BTreeSet<Weather>);

impl Default for Sky {
    /// As in every lab.
    fn default() -> Self {
        Self(SWITCHES.iter().filter(|switch| switch.usual).map(|switch| switch.weather).collect())
    }
}

impl Sky {
    /// Nothing is on: for tests of one part of the lab.
    #[cfg(test)]
    pub fn fair() -> Self {
        Self(BTreeSet::new())
    }

    /// What is usual, and what is named; after [`FAIR`] only what is named. The first unknown name is the error.
    pub fn parse(names: &[String]) -> Result<Self, LabError> {
        let mut sky = Self::default();
        for name in names {
            if name == FAIR {
                sky.0.clear();
                continue;
            }
            let Some(found) = SWITCHES.iter().find(|switch| switch.name == name) else {
                let known: Vec<&str> = std::iter::once(FAIR).chain(SWITCHES.iter().map(|s| s.name)).collect();
                return Err(LabError::UnknownWeather { name: name.clone(), known: known.join(", ") });
            };
            sky.0.insert(found.weather);
        }
        Ok(sky)
    }

    pub fn has(&self, weather: Weather) -> bool {
        self.0.contains(&weather)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fair_weather_is_what_is_named_after_it_alone() {
        let of = |names: &[&str]| Sky::parse(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&[]).unwrap(), Sky::default());
        assert!(of(&["no-agent"]).unwrap().has(Weather::NoOrigin));
        assert_eq!(of(&["no-agent", "fair"]).unwrap(), Sky::fair());
        let own = of(&["fair", "no-agent"]).unwrap();
        assert!(own.has(Weather::NoAgent) && !own.has(Weather::NoOrigin));
        assert!(of(&["rain"]).unwrap_err().to_string().contains("slow-boot"));
    }
}
