//! Which keys hold secrets, and how a value is shown to people without them.

use serde_json::Value;

use super::node::Node;

const MASK: &str = "********";

/// Whether a key's value must never be shown.
pub(crate) fn is_secret(key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or(key).to_lowercase();
    let words = ["password", "token", "passphrase", "secret", "access_key"];
    words.iter().any(|w| last.contains(w)) || key.contains("storage_secret_extra")
}

/// A value for people: secrets masked, one line.
pub(crate) fn show_value(key: &str, node: &Node) -> String {
    let mut value = node.to_json();
    mask(key, &mut value);
    match value {
        Value::Null => "null".to_owned(),
        Value::String(text) if text.contains('\n') => {
            format!("{} ...", text.lines().next().unwrap_or_default())
        }
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// Masks what is under a secret's name, however deep, and logins in URLs.
fn mask(key: &str, value: &mut Value) {
    match value {
        Value::Null => {}
        _ if is_secret(key) => *value = Value::String(MASK.to_owned()),
        Value::Array(items) => items.iter_mut().for_each(|item| mask(key, item)),
        Value::Object(map) => map.iter_mut().for_each(|(key, value)| mask(key, value)),
        Value::String(text) => {
            if let Some(login) = login_of(text) {
                *text = text.replacen(login, MASK, 1);
            }
        }
        _ => {}
    }
}

/// `user:password` of a URL that holds one.
pub(crate) fn login_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    authority.rsplit_once('@').map(|(login, _)| login).filter(|login| !login.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_in_lists_and_urls_too() {
        let node = |text: &str| super::super::node::parse_yaml(text).unwrap_or_else(|_| panic!("parses"));
        let shown = show_value("host_list", &node("[{user: root, password: hush}]"));
        assert!(shown.contains("root") && !shown.contains("hush"), "{shown}");
        assert_eq!(show_value("metrics_push", &node("\"https://u:hush@h/x\"")), "https://********@h/x");
        assert_eq!(show_value("metrics_push", &node("\"https://h/x@y\"")), "https://h/x@y");
    }
}
