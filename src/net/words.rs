//! What transport errors mean, in words for whoever reads the report.

use std::error::Error;

/// The messages of an error and its causes in one line, without the ones that repeat.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = cause.source();
    }
    text
}

/// What stands behind a transport error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    Expired,
    Untrusted,
    Unresolved,
    Proxy,
    Refused,
    Tls,
    Silent,
    Other,
}

impl Meaning {
    /// By the text of a [`chain`].
    pub fn of(chain: &str) -> Self {
        let lower = chain.to_lowercase();
        let has = |signs: &[&str]| signs.iter().any(|sign| lower.contains(sign));
        if has(&["tunnel error", "socks error", "the proxy "]) {
            Self::Proxy
        } else if has(&["expired"]) {
            Self::Expired
        } else if has(&["unknownissuer", "peer certificate", "self-signed", "self signed", "certificate verify"]) {
            Self::Untrusted
        } else if has(&["dns error", "lookup address", "failed to lookup", "name or service"]) {
            Self::Unresolved
        } else if has(&["refused"]) {
            Self::Refused
        } else if has(&["certificate"]) {
            Self::Untrusted
        } else if has(&["handshake", "tls"]) {
            Self::Tls
        } else if has(&["timed out", "timeout", "deadline", "within"]) {
            Self::Silent
        } else {
            Self::Other
        }
    }

    fn words(self) -> Option<&'static str> {
        match self {
            Self::Expired => Some("the certificate has expired"),
            Self::Untrusted => Some("the certificate is not trusted"),
            Self::Unresolved => Some("the host name cannot be resolved"),
            Self::Proxy => Some("the proxy does not let it through"),
            Self::Refused => Some("the connection was refused: nothing listens there"),
            Self::Tls => Some("TLS failed"),
            Self::Silent => Some("no answer in time"),
            Self::Other => None,
        }
    }
}

/// A chain with its meaning before it.
pub fn plain(chain: &str) -> String {
    match Meaning::of(chain).words() {
        Some(meaning) => format!("{meaning} ({chain})"),
        None => chain.to_owned(),
    }
}

/// Why a request got no answer, in words. Without the URL: it may hold what nobody should keep.
pub fn cause(error: reqwest::Error) -> String {
    plain(&chain(&error.without_url()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transport_error_says_what_it_means_and_keeps_its_own_words() {
        for (chain, meaning) in [
            ("error trying to connect: Connection refused (os error 111)", "nothing listens there"),
            ("client error: dns error: failed to lookup address information", "cannot be resolved"),
            ("invalid peer certificate: UnknownIssuer", "not trusted"),
            ("invalid peer certificate: Expired", "expired"),
            ("tunnel error: unsuccessful", "proxy"),
            ("operation timed out", "no answer in time"),
        ] {
            let said = plain(chain);
            assert!(said.contains(meaning) && said.contains(chain), "{said}");
        }
        assert_eq!(plain("something else"), "something else");
    }
}
