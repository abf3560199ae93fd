//! What is a secret: by the key, or inside a URL.

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
