//! Reading the engine's JSON: scalars are strings, a collection is an object with one key.

use serde_json::Value;

/// Text at a path; numbers and booleans count as text, because engines differ in quoting them.
pub(super) fn text(value: &Value, path: &str) -> Option<String> {
    match path.split('/').try_fold(value, |here, key| here.get(key))? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// Likewise; empty where it is absent.
pub(super) fn text_or_empty(value: &Value, path: &str) -> String {
    text(value, path).unwrap_or_default()
}

/// Likewise, parsed.
pub(super) fn parsed<T: std::str::FromStr>(value: &Value, path: &str) -> Option<T> {
    text(value, path)?.trim().parse().ok()
}

pub(super) fn flag(value: &Value, path: &str) -> Option<bool> {
    parsed(value, path)
}

/// The items of a collection: `{"vm": [..]}`, or `{}` when it is empty.
pub(super) fn items<'a>(value: &'a Value, item: &str) -> &'a [Value] {
    value.get(item).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The items of a collection inside an object: `"nics": {"nic": [..]}`.
pub(super) fn inner<'a>(value: &'a Value, list: &str, item: &str) -> &'a [Value] {
    value.get(list).map_or(&[], |list| items(list, item))
}

/// A term of a search, quoted where it needs to be. What the engine cannot search for (it would
/// silently find nothing) gives none: then all are listed.
pub(super) fn search_name(name: &str) -> Option<String> {
    const FORBIDDEN: &[char] = &['<', '>', '&', '^', '!', '\'', '"', '*'];
    if name.is_empty() || name.contains(FORBIDDEN) {
        return None;
    }
    let plain = name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'));
    Some(if plain { format!("name={name}") } else { format!("name=\"{name}\"") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn scalars_are_read_quoted_or_not() {
        let vm = json!({"memory": "1024", "bios": {"type": "q35_ovmf"}, "creation_time": 5, "on": true});
        assert_eq!(parsed::<u64>(&vm, "memory"), Some(1024));
        assert_eq!(text(&vm, "bios/type").as_deref(), Some("q35_ovmf"));
        assert_eq!(parsed::<i64>(&vm, "creation_time"), Some(5));
        assert_eq!(flag(&vm, "on"), Some(true));
        assert_eq!(text(&vm, "nothing/here"), None);
        assert!(items(&json!({}), "vm").is_empty());
    }

    #[test]
    fn a_name_that_the_engine_cannot_search_for_is_not_searched_for() {
        assert_eq!(search_name("a-b_c.d").as_deref(), Some("name=a-b_c.d"));
        assert_eq!(search_name("My VM").as_deref(), Some("name=\"My VM\""));
        assert_eq!(search_name("it's"), None);
        assert_eq!(search_name("a*"), None);
    }
}
