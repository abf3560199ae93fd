//! An optional duration, as people write it.

use std::time::Duration;

use serde::{Deserializer, Serializer};

use crate::config::duration;

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration::deserialize(deserializer).map(Some)
}

#[expect(clippy::ref_option, reason = "serde's signature")]
pub fn serialize<S: Serializer>(limit: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match limit {
        Some(limit) => duration::serialize(limit, serializer),
        None => serializer.serialize_none(),
    }
}
