//! The vSphere wire (`urn:vim25` over SOAP): requests as text, answers as trees and records.
//!
//! Floor 0, no I/O: whoever speaks to a server posts [`op`]'s bodies with its own HTTP client and
//! gives the answer's bytes to [`envelope::returned`]. Element order follows the WSDL (vsphere.md,
//! appendix A), because a real server refuses any other. Nothing newer than 6.5 is ever sent.

pub mod device;
pub mod envelope;
pub mod op;
pub mod property;
pub mod spec;
pub mod vm;
pub mod xml;

pub use envelope::{Fault, WireError, returned};
pub use property::{ObjectContent, Props};
pub use xml::Element;

/// Newest wire version that the builders here are written for.
pub const WIRE_VERSION: &str = "6.5";

/// Content type of every request.
pub const CONTENT_TYPE: &str = "text/xml; charset=utf-8";

/// A managed object: its type and its id on one server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MoRef {
    pub kind: String,
    pub id: String,
}

impl MoRef {
    pub fn new(kind: &str, id: &str) -> Self {
        Self { kind: kind.to_owned(), id: id.to_owned() }
    }
}

impl std::fmt::Display for MoRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.kind, self.id)
    }
}

/// The `SOAPAction` header for a server of `api_version` (as in its `about`): the older of its
/// version and ours. Before `about` is known: ours.
pub fn soap_action(api_version: Option<&str>) -> String {
    let number = |text: &str| -> Vec<u32> { text.split('.').map_while(|part| part.parse().ok()).collect() };
    let version = match api_version {
        Some(theirs) if !number(theirs).is_empty() && number(theirs) < number(WIRE_VERSION) => theirs,
        _ => WIRE_VERSION,
    };
    format!("urn:vim25/{version}")
}

/// Inventory names carry `/`, `\` and `%` percent-encoded; this is the name as people know it.
pub fn decode_name(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 3).map(str::to_ascii_lowercase);
        let decoded = match code.as_deref() {
            Some("2f") => Some('/'),
            Some("5c") => Some('\\'),
            Some("25") => Some('%'),
            _ => None,
        };
        out.push(decoded.unwrap_or('%'));
        rest = &rest[at + if decoded.is_some() { 3 } else { 1 }..];
    }
    out.push_str(rest);
    out
}

/// The reverse of [`decode_name`], for names that are created.
pub fn encode_name(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2f").replace('\\', "%5c")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_of_both_versions_is_spoken() {
        assert_eq!(soap_action(None), "urn:vim25/6.5");
        assert_eq!(soap_action(Some("8.0.3.0")), "urn:vim25/6.5");
        assert_eq!(soap_action(Some("6.0")), "urn:vim25/6.0");
        assert_eq!(soap_action(Some("garbage")), "urn:vim25/6.5");
    }

    #[test]
    fn names_survive_encoding() {
        for name in ["plain", "a/b\\c%d", "100%", "%2f", "näme/ü"] {
            assert_eq!(decode_name(&encode_name(name)), name);
        }
        assert_eq!(decode_name("rhel9%2fa"), "rhel9/a");
    }
}
