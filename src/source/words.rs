//! What transport errors mean, in words for whoever reads the report.

/// The whole chain of an error's causes in one line.
pub(super) fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// What a transport error means to whoever reads the report.
pub(super) fn plain_words(chain: &str) -> String {
    let lower = chain.to_lowercase();
    let meaning = if lower.contains("expired") {
        "the certificate has expired"
    } else if lower.contains("dns error") || lower.contains("lookup address") {
        "the host name cannot be resolved"
    } else if lower.contains("connection refused") {
        "the connection was refused: nothing listens there"
    } else if lower.contains("certificate") || lower.contains("unknownissuer") {
        "the certificate is not trusted"
    } else if lower.contains("handshake") || lower.contains("tls") {
        "TLS failed"
    } else if lower.contains("timed out") || lower.contains("deadline") || lower.contains("within") {
        "no answer in time"
    } else {
        return chain.to_owned();
    };
    format!("{meaning} ({chain})")
}
