//! Durations in configuration: `90s`, `5m`, `1h 30m`, or a bare number of seconds.

use std::fmt;
use std::time::Duration;

use serde::{Deserializer, Serializer, de};

/// For the schema: how a duration is written.
#[derive(schemars::JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) enum DurationText {
    /// `90s`, `5m`, `1h 30m`.
    Text(String),
    Seconds(u64),
}

/// The longest duration: far more than any run, and nothing that an addition to a clock chokes on.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

fn bounded(duration: Duration) -> Result<Duration, String> {
    if duration <= LONGEST { Ok(duration) } else { Err("is longer than a duration may be: 366 days".to_owned()) }
}

/// Reads `90s`, `5m`, `1h 30m`, `250ms` or a number of seconds.
pub fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return bounded(Duration::from_secs(seconds));
    }
    let span: jiff::SignedDuration = text
        .parse()
        .map_err(|_| format!("`{text}` is not a duration: write 90s, 5m, 1h 30m, or a number of seconds"))?;
    let span = Duration::try_from(span).map_err(|_| format!("`{text}` is negative: a duration is at least 0s"))?;
    bounded(span)
}

/// The shortest common form: `1h 30m`, `45s`, `250ms`.
pub fn show(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis == 0 {
        return "0s".to_owned();
    }
    let units = [(3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    let mut rest = millis;
    let mut parts = Vec::new();
    for (size, unit) in units {
        if rest >= size {
            parts.push(format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    parts.join(" ")
}

/// For `#[serde(with = "duration")]`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    struct Visitor;
    impl de::Visitor<'_> for Visitor {
        type Value = Duration;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration such as 90s, 5m or 1h 30m, or a number of seconds")
        }
        fn visit_u64<E: de::Error>(self, v: u64) -> Result<Duration, E> {
            bounded(Duration::from_secs(v)).map_err(E::custom)
        }
        fn visit_i64<E: de::Error>(self, v: i64) -> Result<Duration, E> {
            u64::try_from(v).map_err(|_| E::custom("a duration is at least 0s")).and_then(|v| self.visit_u64(v))
        }
        fn visit_str<E: de::Error>(self, v: &str) -> Result<Duration, E> {
            parse(v).map_err(E::custom)
        }
    }
    deserializer.deserialize_any(Visitor)
}

/// The counterpart of [`deserialize`].
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&show(*duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, seconds) in [("90s", 90), ("5m", 300), ("1h 30m", 5400), ("1h30m", 5400), ("45", 45), ("0", 0)] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert!(parse("soon").unwrap_err().contains("90s, 5m"));
        assert!(parse("-5m").unwrap_err().contains("negative"));
        for text in ["18446744073709551615", "9000h"] {
            assert!(parse(text).unwrap_err().contains("366 days"), "{text}");
        }
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for ms in [0, 250, 90_000, 5_400_000, 3_661_001] {
            let duration = Duration::from_millis(ms);
            assert_eq!(parse(&show(duration)), Ok(duration));
        }
    }
}
