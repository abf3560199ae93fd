//! What the services say when they refuse, in one line: each has its own form of body.

use serde_json::Value;

use crate::net::Failed;
use crate::source::SourceError;
use crate::source::http::{self, Refusal};
use crate::source::slot::Tried as _;

/// Longest text taken from a body.
const LONGEST: usize = 400;

/// An answer other than success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    pub status: u16,
    pub message: String,
    failed: Failed,
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (HTTP {})", self.message, self.status)
    }
}

impl Refusal for ApiError {
    fn session_ended(&self) -> bool {
        self.status == 401
    }
    fn failed(&self) -> Failed {
        self.failed
    }
}

/// Why a call failed, before it is told to people.
pub(super) type CallError = http::CallError<ApiError>;

impl CallError {
    pub(super) fn is(&self, status: u16) -> bool {
        matches!(self, Self::Refused(error) if error.status == status)
    }

    /// Whether asking again may help: the service is away or asks for patience.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::NoAnswer(..) => true,
            Self::Source(error) => matches!(error, SourceError::Unreachable { .. }),
            Self::Refused(error) => error.status == 429 || error.status >= 500,
        }
    }

    pub(super) fn text(&self) -> String {
        self.told()
    }
}

impl ApiError {
    /// `body` as it came: JSON with a message somewhere in it, HTML of Glance, or nothing.
    pub(super) fn of(status: u16, failed: Failed, body: &str) -> Self {
        let said = match serde_json::from_str::<Value>(body) {
            Ok(json) => message(&json).unwrap_or_default(),
            Err(_) => stripped(body),
        };
        let said: String = said.chars().take(LONGEST).collect();
        let message = if said.is_empty() { "no reason was given".to_owned() } else { said };
        Self { status, message, failed }
    }
}

/// The first text called `message` at any depth.
fn message(json: &Value) -> Option<String> {
    let object = json.as_object()?;
    let own = object.get("message").and_then(Value::as_str).map(str::to_owned);
    own.or_else(|| object.values().find_map(message))
}

/// The words of an HTML page, its head left out.
fn stripped(html: &str) -> String {
    let body = html.split_once("<body>").map_or(html, |(_, body)| body);
    let mut text = String::new();
    let mut inside = false;
    for c in body.chars() {
        match c {
            '<' => {
                inside = true;
                text.push(' ');
            }
            '>' => inside = false,
            c if !inside => text.push(c),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_services_form_of_error_is_read() {
        for (body, message) in [
            (
                r#"{"itemNotFound":{"code":404,"message":"Instance X could not be found."}}"#,
                "Instance X could not be found.",
            ),
            (
                r#"{"NeutronError":{"type":"PortNotFound","message":"Port P could not be found.","detail":""}}"#,
                "Port P could not be found.",
            ),
            (
                r#"{"error":{"code":401,"message":"The request you have made requires authentication.","title":"Unauthorized"}}"#,
                "The request you have made requires authentication.",
            ),
            (
                "<html>\n <head>\n  <title>404 Not Found</title>\n </head>\n <body>\n  <h1>404 Not Found</h1>\n  No image found with ID x<br /><br />\n </body>\n</html>",
                "404 Not Found No image found with ID x",
            ),
            ("", "no reason was given"),
        ] {
            assert_eq!(ApiError::of(404, Failed::Definite, body).message, message);
        }
    }
}
