//! What is a secret: by the key, or inside a URL.

use secrecy::SecretString;
use serde_json::Value;

/// Whether a key's value must never be shown.
pub(crate) fn is_secret(key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or(key).to_lowercase();
    let words = ["password", "token", "passphrase", "secret", "access_key"];
    words.iter().any(|w| last.contains(w)) || key.contains("storage_secret_extra")
}

/// `user:password` of a URL that holds one.
pub(crate) fn login_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    authority.rsplit_once('@').map(|(login, _)| login).filter(|login| !login.is_empty())
}

/// Shorter ones are no secrets, and would be found in every text.
const SHORTEST: usize = 4;

/// Every secret under a key, however deep.
pub(super) fn secrets_in(key: &str, value: &Value, found: &mut Vec<SecretString>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| secrets_in(key, item, found)),
        Value::Object(map) => {
            for (inner, value) in map {
                let key = if is_secret(key) { key } else { inner };
                secrets_in(key, value, found);
            }
        }
        Value::String(text) => {
            let whole = is_secret(key).then_some(text.as_str());
            let password = login_of(text).and_then(|login| login.split_once(':')).map(|(_, password)| password);
            let secrets = whole.into_iter().chain(password).filter(|secret| secret.len() >= SHORTEST);
            found.extend(secrets.map(|secret| SecretString::from(secret.to_owned())));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    #[test]
    fn secrets_are_found_by_key_however_deep_and_in_urls() {
        let value = serde_json::json!({
            "user": "root", "password": "hush-1", "deep": [{"storage_secret_extra": {"key": "hush-2"}}],
            "metrics_push": "https://u:hush-3@h/", "cluster_token": "abc",
        });
        let mut found = Vec::new();
        secrets_in("", &value, &mut found);
        let found: Vec<&str> = found.iter().map(|secret| secret.expose_secret()).collect();
        assert_eq!(found, ["hush-1", "hush-2", "hush-3"], "and nothing that is too short to be one");
    }
}
