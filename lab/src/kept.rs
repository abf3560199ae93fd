//! How parts of the lab are written down for the next one (`lab --state`, [`crate::state`]): words of a protocol, and bytes.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::error::LabError;

/// A word of a protocol. Under this name serde does not ask for what it reads from to live as long.
pub type Word = &'static str;

/// Reads one. Each is made once for the whole process: there are few.
pub fn word<'de, D: Deserializer<'de>>(from: D) -> Result<Word, D::Error> {
    static WORDS: Mutex<BTreeSet<Word>> = Mutex::new(BTreeSet::new());
    let text = String::deserialize(from)?;
    let mut all = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = all.get(text.as_str()) {
        return Ok(known);
    }
    let made: Word = Box::leak(text.into_boxed_str());
    all.insert(made);
    Ok(made)
}

/// Bytes as base64.
pub mod bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map(Bytes::from).map_err(D::Error::custom)
    }
}

/// Reads what a part was; a file that says something else is refused by the part's name.
pub fn read<T: serde::de::DeserializeOwned>(part: &str, kept: &Value) -> Result<T, LabError> {
    T::deserialize(kept).map_err(|e| LabError::Start { part: "state".to_owned(), cause: format!("{part}: {e}") })
}

/// Writes it; nothing in the lab's types can fail at that.
pub fn written<T: serde::Serialize>(part: &str, of: &T) -> Value {
    serde_json::to_value(of).unwrap_or_else(|error| {
        tracing::error!(%error, part, "a part of the lab is not kept");
        Value::Null
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize, Deserialize, PartialEq, Debug)]
    struct Thing {
        #[serde(deserialize_with = "word")]
        status: Word,
        #[serde(with = "self::bytes")]
        data: ::bytes::Bytes,
    }

    #[test]
    fn words_and_bytes_come_back_and_another_shape_is_refused() {
        let thing = Thing { status: "up", data: ::bytes::Bytes::from_static(&[0, 255]) };
        let again: Thing = read("t", &written("t", &thing)).unwrap();
        assert_eq!(again, thing);
        let other: Thing = read("t", &serde_json::json!({"status": String::from("up"), "data": ""})).unwrap();
        assert!(std::ptr::eq(again.status, other.status));
        let refused = read::<Thing>("oVirt", &serde_json::json!({"status": 1})).unwrap_err().to_string();
        assert!(refused.contains("oVirt: "), "{refused}");
    }
}
