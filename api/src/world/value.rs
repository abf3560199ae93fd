//! Sizes, addresses and MACs as a world file writes them: parsed once, at the edge.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Binary units, smallest first; each is 1024 times the one before.
const UNITS: &[&str] = &["", "Ki", "Mi", "Gi", "Ti", "Pi"];

/// A text that is not what its key wants.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}: write e.g. {example}")]
pub struct Unreadable {
    pub text: String,
    pub what: &'static str,
    pub example: &'static str,
}

fn unreadable(text: &str, what: &'static str, example: &'static str) -> Unreadable {
    Unreadable { text: text.to_owned(), what, example }
}

/// Bytes, written as `16Gi`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Size {
    pub const fn gib(count: u64) -> Self {
        Self(count << 30)
    }
    pub fn bytes(self) -> u64 {
        self.0
    }
    /// Whole MiB, rounded down.
    pub fn whole_mib(self) -> u64 {
        self.0 >> 20
    }
    /// Whole GiB, rounded up: what OpenStack counts in.
    pub fn ceil_gib(self) -> u64 {
        self.0.div_ceil(1 << 30)
    }
    /// For interfaces that count in signed bytes.
    pub fn signed(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut count, mut unit) = (self.0, 0);
        while count > 0 && count.is_multiple_of(1024) && unit + 1 < UNITS.len() {
            (count, unit) = (count / 1024, unit + 1);
        }
        write!(f, "{count}{}", UNITS.get(unit).copied().unwrap_or_default())
    }
}

impl FromStr for Size {
    type Err = Unreadable;
    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let refused = || unreadable(text, "a size", "16Gi or 512Mi");
        let digits = text.chars().take_while(char::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let power = UNITS.iter().position(|u| *u == unit).ok_or_else(refused)?;
        let number: u64 = number.parse().map_err(|_| refused())?;
        let bytes = (0..power).try_fold(number, |bytes, _| bytes.checked_mul(1024)).ok_or_else(refused)?;
        // Interfaces of platforms count in signed bytes.
        i64::try_from(bytes).map(|_| Self(bytes)).map_err(|_| refused())
    }
}

/// An address with the length of its network's prefix, written as `192.168.100.9/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    pub address: IpAddr,
    pub prefix: u8,
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = Unreadable;
    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let refused = || unreadable(text, "an address", "192.168.100.9/24");
        let (address, prefix) = text.split_once('/').ok_or_else(refused)?;
        let (address, prefix) = (IpAddr::from_str(address), prefix.parse::<u8>());
        let (Ok(address), Ok(prefix)) = (address, prefix) else { return Err(refused()) };
        let most = if address.is_ipv4() { 32 } else { 128 };
        if (1..=most).contains(&prefix) { Ok(Self { address, prefix }) } else { Err(refused()) }
    }
}

/// A MAC address in lower case with colons.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mac(String);

impl Mac {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Mac {
    type Err = Unreadable;
    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let text = text.to_ascii_lowercase().replace('-', ":");
        let two = |part: &str| part.len() == 2 && part.chars().all(|c| c.is_ascii_hexdigit());
        if text.split(':').count() == 6 && text.split(':').all(two) {
            Ok(Self(text))
        } else {
            Err(unreadable(&text, "a MAC", "00:50:56:9a:65:10"))
        }
    }
}

/// A type that is written as a text.
macro_rules! as_text {
    ($name:ident, $pattern:literal, $example:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "pattern": $pattern, "examples": [$example]})
            }
        }
    };
}

as_text!(Size, "^[0-9]+([KMGTP]i)?$", "16Gi");
as_text!(Cidr, "^[0-9a-fA-F.:]+/[0-9]+$", "192.168.100.9/24");
as_text!(Mac, "^([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}$", "00:50:56:9a:65:10");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_and_written_in_its_greatest_whole_unit() {
        for (text, bytes, shown) in [("16Gi", 16 << 30, "16Gi"), ("1536Mi", 1536 << 20, "1536Mi"), ("0", 0, "0")] {
            let size: Size = text.parse().unwrap();
            assert_eq!((size.bytes(), size.to_string().as_str()), (bytes, shown));
        }
        assert_eq!("2048Mi".parse::<Size>().unwrap().to_string(), "2Gi");
        for wrong in ["16G", "16 Gi", "Gi", "-1Gi", "16777216Ti", ""] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
        assert_eq!(Size(1).ceil_gib(), 1);
    }

    #[test]
    fn addresses_and_macs_are_refused_where_they_are_none() {
        assert_eq!("fd00::1/64".parse::<Cidr>().unwrap().to_string(), "fd00::1/64");
        for wrong in ["10.0.0.1", "10.0.0.1/33", "10.0.0/24", "fd00::1/0"] {
            assert!(wrong.parse::<Cidr>().is_err(), "{wrong}");
        }
        assert_eq!("00-50-56-9A-65-10".parse::<Mac>().unwrap().as_str(), "00:50:56:9a:65:10");
        assert!("00:50:56".parse::<Mac>().is_err());
    }
}
