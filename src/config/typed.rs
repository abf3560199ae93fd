//! From a node to a type: every value that is wrong is told, not only the first.
//!
//! Knows serde's words and turns them into ours; knows no key.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::node::Node;
use super::secret::is_secret;

/// serde's answer with the path it was about.
pub(crate) fn typed<T: DeserializeOwned>(value: &Value) -> Result<T, (String, String)> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        (if path == "." { String::new() } else { path }, plain(&error.inner().to_string()))
    })
}

/// The typed value, and (path, sentence) for everything that serde refuses: what is wrong is taken out and
/// the rest tried again. A value comes out also then, where the rest makes one.
pub(crate) fn typed_all<T: DeserializeOwned>(node: &Node) -> (Option<T>, Vec<(String, String)>) {
    let mut node = node.clone();
    let mut wrong: Vec<(String, String)> = Vec::new();
    loop {
        match typed::<T>(&node.to_json()) {
            Ok(value) => return (Some(value), wrong),
            Err((path, message)) => {
                let parts = split_path(&path);
                // What is missing only because it was taken out has been told.
                let told = wrong.iter().any(|(before, _)| before.starts_with(&path));
                let message = if is_secret(&path) { TEXT.to_owned() } else { message };
                let at = if path.is_empty() { String::new() } else { format!("`{path}`: ") };
                if !told || wrong.is_empty() {
                    wrong.push((path, format!("{at}{message}")));
                }
                if told || parts.is_empty() || !node.remove(&parts) {
                    return (None, wrong);
                }
            }
        }
    }
}

const TEXT: &str = "expected a text; put it in quotes";

/// serde's words in ours.
fn plain(message: &str) -> String {
    let stripped = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    let Some((got, expected)) = stripped.and_then(|m| m.split_once(", expected ")) else { return message.to_owned() };
    let expected = match expected {
        "u16" | "u32" | "usize" | "u64" => "a whole number",
        "a boolean" => "true or false",
        other => other,
    };
    format!("expected {expected}, got {got}")
}

/// `virtual_machines[0].name` as its parts.
pub(crate) fn split_path(path: &str) -> Vec<String> {
    path.split(['.', '[']).map(|p| p.trim_end_matches(']').to_owned()).filter(|p| !p.is_empty()).collect()
}
