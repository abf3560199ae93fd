//! The SOAP envelope around requests, and what an answer says: return values or a fault.

use super::MoRef;
use super::xml::{Element, Writer};

/// An answer that is not what the protocol allows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// For the caller's transport: no answer came.
    #[error("no answer: {0}")]
    Transport(String),
    #[error("the answer is not XML: {0}")]
    Xml(String),
    #[error("the answer is no SOAP answer (HTTP {status}): {begin}")]
    NotSoap { status: u16, begin: String },
    #[error("the answer to {method} lacks {what}")]
    Lacks { method: String, what: String },
    #[error("{0}")]
    Fault(Fault),
}

/// A fault of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Type name, e.g. `InvalidLogin`; empty when the server told none.
    pub kind: String,
    /// The server's own words.
    pub text: String,
    /// The fault's own elements.
    pub detail: Box<Element>,
}

impl Fault {
    /// From a `LocalizedMethodFault` inside data (`Task.info.error`, `missingSet`).
    pub fn localized(element: &Element) -> Self {
        let detail = element.child("fault").cloned().unwrap_or_default();
        Self {
            kind: detail.xsi_type.clone().unwrap_or_default(),
            text: element.text_at("localizedMessage").unwrap_or_default().to_owned(),
            detail: Box::new(detail),
        }
    }
    pub fn is(&self, kind: &str) -> bool {
        self.kind == kind
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.text.trim();
        match (self.kind.is_empty(), text.is_empty()) {
            (true, true) => f.write_str("a fault without a reason")?,
            (true, false) => f.write_str(text)?,
            (false, true) => f.write_str(&self.kind)?,
            (false, false) => write!(f, "{text} ({})", self.kind)?,
        }
        // Two members say more than the text of many servers.
        for member in ["privilegeId", "invalidProperty", "existingState", "reason"] {
            if let Some(value) = self.detail.text_at(member).filter(|v| !v.is_empty()) {
                write!(f, ", {member} {value}")?;
            }
        }
        Ok(())
    }
}

/// A request of `method` on `this`; `inside` writes the parameters in WSDL order.
pub fn request(method: &str, this: &MoRef, inside: impl FnOnce(&mut Writer)) -> String {
    let mut body = Writer::default();
    body.moref("_this", this);
    inside(&mut body);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\
         <soapenv:Body><{method} xmlns=\"urn:vim25\">{}</{method}></soapenv:Body></soapenv:Envelope>",
        body.finish()
    )
}

/// The return values in an answer: none for a void method and for an empty list.
pub fn returned(status: u16, answer: &[u8]) -> Result<Vec<Element>, WireError> {
    let not_soap = || {
        let begin: String = String::from_utf8_lossy(answer).chars().take(120).collect();
        WireError::NotSoap { status, begin }
    };
    let root = Element::parse(answer).map_err(|e| if matches!(status, 200 | 500) { e } else { not_soap() })?;
    let content = root.child("Body").and_then(|body| body.children.first()).ok_or_else(not_soap)?;
    if content.name != "Fault" {
        return Ok(content.all("returnval").cloned().collect());
    }
    let detail = content.child("detail").and_then(|d| d.children.first()).cloned().unwrap_or_default();
    let kind =
        detail.xsi_type.clone().unwrap_or_else(|| detail.name.strip_suffix("Fault").unwrap_or(&detail.name).to_owned());
    let text = content.text_at("faultstring").unwrap_or_default().to_owned();
    Err(WireError::Fault(Fault { kind, text, detail: Box::new(detail) }))
}

/// The one return value that `method` must have.
pub fn one(method: &str, values: Vec<Element>) -> Result<Element, WireError> {
    let lacks = || WireError::Lacks { method: method.to_owned(), what: "a return value".to_owned() };
    values.into_iter().next().ok_or_else(lacks)
}

/// The reference that `method` must return.
pub fn reference(method: &str, values: Vec<Element>) -> Result<MoRef, WireError> {
    let lacks = || WireError::Lacks { method: method.to_owned(), what: "a reference".to_owned() };
    one(method, values)?.moref().ok_or_else(lacks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soap(body: &str) -> Vec<u8> {
        format!("<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"e\" xmlns:xsi=\"i\"><s:Body>{body}</s:Body></s:Envelope>")
            .into_bytes()
    }

    #[test]
    fn a_fault_is_known_by_its_type_or_else_by_its_element() {
        let typed = soap(
            r#"<s:Fault><faultcode>ServerFaultCode</faultcode><faultstring>Cannot complete login</faultstring><detail><InvalidLoginFault xmlns="urn:vim25" xsi:type="InvalidLogin"/></detail></s:Fault>"#,
        );
        let Err(WireError::Fault(fault)) = returned(500, &typed) else { panic!("no fault") };
        assert!(fault.is("InvalidLogin"));
        assert_eq!(fault.to_string(), "Cannot complete login (InvalidLogin)");
        let untyped = soap("<s:Fault><faultstring>x</faultstring><detail><NotAuthenticatedFault/></detail></s:Fault>");
        let Err(WireError::Fault(fault)) = returned(500, &untyped) else { panic!("no fault") };
        assert!(fault.is("NotAuthenticated"));
        let bare = soap("<s:Fault><faultstring>x</faultstring><detail/></s:Fault>");
        let Err(WireError::Fault(fault)) = returned(500, &bare) else { panic!("no fault") };
        assert_eq!(fault.to_string(), "x");
    }

    #[test]
    fn an_answer_without_return_value_is_empty() {
        assert!(returned(200, &soap("<LogoutResponse xmlns=\"urn:vim25\"/>")).unwrap().is_empty());
    }

    #[test]
    fn a_proxy_error_page_is_shown_as_such() {
        let Err(WireError::NotSoap { status, begin }) = returned(503, b"upstream connect error") else { panic!() };
        assert_eq!((status, begin.as_str()), (503, "upstream connect error"));
    }

    #[test]
    fn the_method_is_the_first_child_of_the_body_and_this_comes_first() {
        let body = request("Logout", &MoRef::new("SessionManager", "Session<Manager"), |_| ());
        assert!(body.ends_with("<soapenv:Body><Logout xmlns=\"urn:vim25\"><_this type=\"SessionManager\">Session&lt;Manager</_this></Logout></soapenv:Body></soapenv:Envelope>"), "{body}");
    }
}
