//! What a request asks for: path, query and accepted representation.

use http::{HeaderMap, header};

use super::error::ApiError;

/// The query, decoded, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(raw: Option<&str>) -> Self {
        let pairs = url::form_urlencoded::parse(raw.unwrap_or_default().as_bytes());
        Self(pairs.map(|(k, v)| (k.into_owned(), v.into_owned())).collect())
    }
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }
    pub fn flag(&self, key: &str) -> bool {
        self.get(key).is_some_and(|v| v == "true" || v == "1")
    }
    pub fn number(&self, key: &str) -> Result<Option<u64>, ApiError> {
        self.get(key)
            .map(|text| {
                text.parse().map_err(|_| {
                    ApiError::bad_request(format!("Invalid value for query parameter {key}: {text:?} is no number"))
                })
            })
            .transpose()
    }
    /// For the deprecated `/watch/` paths.
    pub fn set_watch(&mut self) {
        self.0.push(("watch".to_owned(), "true".to_owned()));
    }
    pub fn dry_run(&self) -> bool {
        self.get("dryRun").is_some()
    }
}

/// The representation that an answer should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Table,
    Partial,
}

impl Form {
    /// The first representation in `Accept` that the server has; plain JSON for any other wish.
    pub fn accepted(headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            if !matches!(parts.next(), Some("application/json")) {
                continue;
            }
            match parts.find_map(|p| p.strip_prefix("as=")) {
                Some("Table") => return Self::Table,
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") => return Self::Partial,
                Some(_) => continue,
                None => return Self::Plain,
            }
        }
        Self::Plain
    }
}

/// What a path below `/api/v1` or `/apis/GROUP/VERSION` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub plural: String,
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub subresource: Vec<String>,
}

impl Target {
    pub fn parse(segments: &[String]) -> Option<Self> {
        let (namespace, rest) = match segments {
            // `namespaces/x`, `namespaces/x/status`: the namespace itself.
            [first, _] | [first, _, _] if first == "namespaces" && is_namespace_itself(segments) => (None, segments),
            [first, namespace, rest @ ..] if first == "namespaces" => (Some(namespace.clone()), rest),
            all => (None, all),
        };
        let (plural, rest) = rest.split_first()?;
        let name = rest.first().cloned();
        let subresource = rest.get(1..).unwrap_or_default().to_vec();
        Some(Self { plural: plural.clone(), namespace, name, subresource })
    }
}

fn is_namespace_itself(segments: &[String]) -> bool {
    match segments {
        [_, _] => true,
        [_, _, last] => last == "status" || last == "finalize",
        _ => false,
    }
}
