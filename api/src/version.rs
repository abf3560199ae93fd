//! Versions of MTV, OpenShift and KubeVirt: their leading numbers.

/// Compared number by number; what follows the numbers (`-rc.1`, `+build`) is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

impl Version {
    /// `2.10`, `v2.10.3`, `4.20.0-rc.1`, `2.11 (from its CRDs)`. Two numbers at least.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        let numbers = text.split(['-', '+', ' ']).next().unwrap_or_default();
        let mut parts = numbers.split('.');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.parse().ok()?;
        let patch = match parts.next() {
            None => 0,
            Some(patch) => patch.parse().ok()?,
        };
        Some(Self { major, minor, patch })
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_number_by_number() {
        let version = |text| Version::parse(text).unwrap();
        assert!(version("2.10") > version("v2.9.7"));
        assert_eq!(version("4.20.0-rc.1").to_string(), "4.20.0");
        assert_eq!(version("2.11 (from its CRDs)"), version("2.11.0"));
        assert_eq!(Version::parse("2"), None);
        assert_eq!(Version::parse("two.ten"), None);
    }
}
