//! How a value is shown to people: without its secrets.

use serde_json::Value;

use super::node::Node;
use super::secret::{is_secret, login_of};

const MASK: &str = "********";

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_in_lists_and_urls_too() {
        let node = |text: &str| crate::config::node::parse_yaml(text).unwrap_or_else(|_| panic!("parses"));
        let shown = show_value("host_list", &node("[{user: root, password: hush}]"));
        assert!(shown.contains("root") && !shown.contains("hush"), "{shown}");
        assert_eq!(show_value("metrics_push", &node("\"https://u:hush@h/x\"")), "https://********@h/x");
        assert_eq!(show_value("metrics_push", &node("\"https://h/x@y\"")), "https://h/x@y");
    }
}
