//! Operating systems that the lab can play, and what each platform calls them: one table.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is installed on a VM.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Os {
    Rhel7,
    Rhel8,
    #[default]
    Rhel9,
    Rhel10,
    Win10,
    Win11,
    Win2016,
    Win2019,
    Win2022,
    Win2025,
}

/// What the platforms call one system.
struct Names {
    /// vSphere's `guestId`.
    vsphere: &'static str,
    /// vSphere's `guestFullName`.
    full: &'static str,
    /// What the guest calls itself.
    pretty: &'static str,
    /// oVirt's `os.type`.
    ovirt: &'static str,
    /// The release that an agent tells: `8.10`, `10.0.17763`.
    release: &'static str,
    /// OpenStack's `os_version`.
    version: &'static str,
}

impl Os {
    pub const ALL: [Self; 10] = [
        Self::Rhel7,
        Self::Rhel8,
        Self::Rhel9,
        Self::Rhel10,
        Self::Win10,
        Self::Win11,
        Self::Win2016,
        Self::Win2019,
        Self::Win2022,
        Self::Win2025,
    ];

    fn names(self) -> Names {
        let linux =
            |vsphere, full, pretty, ovirt, release| Names { vsphere, full, pretty, ovirt, release, version: release };
        let windows =
            |vsphere, full, pretty, ovirt, release, version| Names { vsphere, full, pretty, ovirt, release, version };
        match self {
            Self::Rhel7 => linux(
                "rhel7_64Guest",
                "Red Hat Enterprise Linux 7 (64-bit)",
                "Red Hat Enterprise Linux Server 7.9 (Maipo)",
                "rhel_7x64",
                "7.9",
            ),
            Self::Rhel8 => linux(
                "rhel8_64Guest",
                "Red Hat Enterprise Linux 8 (64-bit)",
                "Red Hat Enterprise Linux 8.10 (Ootpa)",
                "rhel_8x64",
                "8.10",
            ),
            Self::Rhel9 => linux(
                "rhel9_64Guest",
                "Red Hat Enterprise Linux 9 (64-bit)",
                "Red Hat Enterprise Linux 9.4 (Plow)",
                "rhel_9x64",
                "9.4",
            ),
            Self::Rhel10 => linux(
                "rhel10_64Guest",
                "Red Hat Enterprise Linux 10 (64-bit)",
                "Red Hat Enterprise Linux 10.0 (Coughlan)",
                "rhel_10x64",
                "10.0",
            ),
            Self::Win10 => windows(
                "windows9_64Guest",
                "Microsoft Windows 10 (64-bit)",
                "Microsoft Windows 10 Enterprise",
                "windows_10x64",
                "10.0.19045",
                "10",
            ),
            Self::Win11 => windows(
                "windows11_64Guest",
                "Microsoft Windows 11 (64-bit)",
                "Microsoft Windows 11 Enterprise",
                "windows_11",
                "10.0.22631",
                "11",
            ),
            Self::Win2016 => windows(
                "windows9Server64Guest",
                "Microsoft Windows Server 2016 (64-bit)",
                "Microsoft Windows Server 2016 Standard",
                "windows_2016x64",
                "10.0.14393",
                "2016",
            ),
            Self::Win2019 => windows(
                "windows2019srv_64Guest",
                "Microsoft Windows Server 2019 (64-bit)",
                "Microsoft Windows Server 2019 Standard",
                "windows_2019x64",
                "10.0.17763",
                "2019",
            ),
            Self::Win2022 => windows(
                "windows2019srvNext_64Guest",
                "Microsoft Windows Server 2022 (64-bit)",
                "Microsoft Windows Server 2022 Standard",
                "windows_2022",
                "10.0.20348",
                "2022",
            ),
            Self::Win2025 => windows(
                "windows2022srvNext_64Guest",
                "Microsoft Windows Server 2025 (64-bit)",
                "Microsoft Windows Server 2025 Standard",
                "windows_2025",
                "10.0.26100",
                "2025",
            ),
        }
    }

    pub fn windows(self) -> bool {
        match self {
            Self::Rhel7 | Self::Rhel8 | Self::Rhel9 | Self::Rhel10 => false,
            Self::Win10 | Self::Win11 | Self::Win2016 | Self::Win2019 | Self::Win2022 | Self::Win2025 => true,
        }
    }

    pub fn vsphere_id(self) -> &'static str {
        self.names().vsphere
    }
    pub fn full_name(self) -> &'static str {
        self.names().full
    }
    pub fn pretty_name(self) -> &'static str {
        self.names().pretty
    }
    pub fn ovirt_id(self) -> &'static str {
        self.names().ovirt
    }
    pub fn release(self) -> &'static str {
        self.names().release
    }
    /// What oVirt's agent calls the distribution.
    pub fn distribution(self) -> &'static str {
        if self.windows() { "Microsoft Windows" } else { "Red Hat Enterprise Linux" }
    }
    /// OpenStack's `os_type`, `os_distro` and `os_version`.
    pub fn openstack(self) -> [(&'static str, &'static str); 3] {
        let (kind, distro) = if self.windows() { ("windows", "windows") } else { ("linux", "rhel") };
        [("os_type", kind), ("os_distro", distro), ("os_version", self.names().version)]
    }

    /// The system that a platform's or a guest's own words mean, or the nearest that the lab can play.
    pub fn told_by(texts: &[&str]) -> Self {
        let exact = |os: &Self| {
            let names = os.names();
            texts.iter().any(|text| [names.vsphere, names.full, names.pretty, names.ovirt].contains(text))
        };
        Self::ALL.into_iter().find(exact).unwrap_or_else(|| Self::named_in(&texts.join(" "), None).unwrap_or_default())
    }

    /// The system that a name speaks of: `erp-rhel9`, `win2022-ad`. `windows`: what is known beside the name.
    pub fn named_in(text: &str, windows: Option<bool>) -> Option<Self> {
        let text = text.to_lowercase();
        let speaks_of_windows = windows.unwrap_or_else(|| text.contains("win") && !text.contains("winter"));
        let of_kind = |os: &Self| os.windows() == speaks_of_windows;
        let number = |os: &Self| match os {
            Self::Rhel7 => "7",
            Self::Rhel8 => "8",
            Self::Rhel9 => "9",
            Self::Rhel10 => "10",
            Self::Win10 => "10",
            Self::Win11 => "11",
            Self::Win2016 => "2016",
            Self::Win2019 => "2019",
            Self::Win2022 => "2022",
            Self::Win2025 => "2025",
        };
        let words: &[&str] =
            if speaks_of_windows { &["win", "windows", "server", "win2k", "w2k"] } else { &["rhel", "el", "linux"] };
        let named = |os: &Self| {
            let number = number(os);
            let short = number.strip_prefix("20").unwrap_or(number);
            text.match_indices(number).any(|(at, _)| alone(&text, at, number.len()) && number.len() == 4)
                || words.iter().any(|word| {
                    [number, short].iter().any(|number| {
                        ["", "-", " ", "_"].iter().any(|between| {
                            let wanted = format!("{word}{between}{number}");
                            text.match_indices(&wanted)
                                .any(|(at, _)| alone(&text, at + wanted.len() - number.len(), number.len()))
                        })
                    })
                })
        };
        let found = Self::ALL.into_iter().filter(of_kind).find(named);
        found.or_else(|| match (speaks_of_windows, windows) {
            (true, _) => Some(Self::Win2022),
            (false, Some(false)) => Some(Self::Rhel9),
            (false, _) => ["rhel", "linux"].iter().any(|word| text.contains(word)).then_some(Self::Rhel9),
        })
    }
}

/// Whether no further digit stands beside the number at this place.
fn alone(text: &str, at: usize, length: usize) -> bool {
    let digit = |c: char| c.is_ascii_digit();
    !text.get(..at).is_some_and(|before| before.ends_with(digit))
        && !text.get(at + length..).is_some_and(|after| after.starts_with(digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_which_system_is_meant() {
        for (name, os) in [
            ("erp-rhel9-static", Some(Os::Rhel9)),
            ("mtv-tests-rhel8", Some(Os::Rhel8)),
            ("RHEL-10-web", Some(Os::Rhel10)),
            ("mtv-win2019-3disks", Some(Os::Win2019)),
            ("ad-windows-11", Some(Os::Win11)),
            ("win2k22-sql", Some(Os::Win2022)),
            ("windows-2016-79", Some(Os::Win2016)),
            ("win-box", Some(Os::Win2022)),
            ("linux-box", Some(Os::Rhel9)),
            ("db-prod-01", None),
        ] {
            assert_eq!(Os::named_in(name, None), os, "{name}");
        }
        assert_eq!(Os::named_in("db-prod-01", Some(true)), Some(Os::Win2022));
    }

    #[test]
    fn what_a_platform_calls_a_system_is_that_system() {
        for os in Os::ALL {
            assert_eq!(Os::told_by(&[os.vsphere_id()]), os);
            assert_eq!(Os::told_by(&[os.ovirt_id(), ""]), os);
            assert_eq!(Os::told_by(&[os.pretty_name()]), os);
        }
        assert_eq!(Os::told_by(&["ubuntu64Guest", "Ubuntu Linux (64-bit)"]), Os::Rhel9);
    }
}
