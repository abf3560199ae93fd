//! After how many cells that did not pass a run begins no further one.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

/// `fail_fast`: `false`, `true` (the first), `3`, `3:immediate`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FailFast {
    #[default]
    Never,
    After {
        /// Cells that failed or errored.
        cells: NonZeroU32,
        /// Whether cells at work are ended, too.
        immediate: bool,
    },
}

impl FailFast {
    /// The first cell that does not pass is the last that began.
    pub const FIRST: Self = Self::After { cells: NonZeroU32::MIN, immediate: false };
}

/// For the schema: how it is written.
#[derive(schemars::JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) enum FailFastText {
    Switch(bool),
    Cells(NonZeroU32),
    /// `3:immediate`.
    Text(String),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no number of cells: write true, false, 3, or 3:immediate")]
pub struct NoNumber(String);

impl FromStr for FailFast {
    type Err = NoNumber;

    fn from_str(text: &str) -> Result<Self, NoNumber> {
        let (number, immediate) = match text.trim().strip_suffix("immediate") {
            Some(rest) => (rest.strip_suffix(':').unwrap_or(rest), true),
            None => (text.trim(), false),
        };
        let cells = match number {
            "false" if !immediate => return Ok(Self::Never),
            "true" => NonZeroU32::MIN,
            "" if immediate => NonZeroU32::MIN,
            number => number.parse().map_err(|_| NoNumber(text.to_owned()))?,
        };
        Ok(Self::After { cells, immediate })
    }
}

impl fmt::Display for FailFast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("false"),
            Self::After { cells, immediate: false } => write!(f, "{cells}"),
            Self::After { cells, immediate: true } => write!(f, "{cells}:immediate"),
        }
    }
}

impl<'de> Deserialize<'de> for FailFast {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = FailFast;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, a number of cells, or 3:immediate")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<FailFast, E> {
                Ok(if value { FailFast::FIRST } else { FailFast::Never })
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<FailFast, E> {
                value.to_string().parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<FailFast, E> {
                value.to_string().parse().map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<FailFast, E> {
                value.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_switch_a_number_or_a_number_that_ends_what_is_at_work() {
        let after = |cells, immediate| FailFast::After { cells: NonZeroU32::new(cells).unwrap(), immediate };
        for (text, meant) in [
            ("false", FailFast::Never),
            ("true", after(1, false)),
            ("3", after(3, false)),
            ("3:immediate", after(3, true)),
            ("immediate", after(1, true)),
        ] {
            assert_eq!(text.parse(), Ok(meant), "{text}");
            assert_eq!(meant.to_string().parse(), Ok(meant), "what is shown is read back");
        }
        for text in ["0", "-1", "soon", "3:later", "false:immediate", ""] {
            assert!(text.parse::<FailFast>().unwrap_err().to_string().contains("3:immediate"), "{text}");
        }
        assert_eq!(serde_json::from_str::<FailFast>("2").unwrap(), after(2, false));
        assert_eq!(serde_json::from_str::<FailFast>("true").unwrap(), FailFast::FIRST);
        assert!(serde_json::from_str::<FailFast>("0").is_err());
    }
}
