//! What a request asks for: path, query and accepted representation.

use http::{HeaderMap, header};

use super::error::ApiError;

/// Marks a query whose path began with `watch/`; no client can send it.
pub(super) const WATCH_PATH: &str = "\0watch";

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
    /// Every value of a key.
    pub fn all(&self, key: &str) -> Vec<String> {
        self.0.iter().filter(|(k, v)| k == key && !v.is_empty()).map(|(_, v)| v.clone()).collect()
    }
    /// Anything but `false` and `0` is true, as Go clients' servers read it.
    pub fn flag(&self, key: &str) -> bool {
        let value = self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
        value.is_some_and(|v| !v.eq_ignore_ascii_case("false") && v != "0")
    }
    /// A number; a negative one is none.
    pub fn number(&self, key: &str) -> Result<Option<u64>, ApiError> {
        self.get(key)
            .map(|text| {
                let number: i64 = text.parse().map_err(|_| {
                    ApiError::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
                })?;
                Ok(u64::try_from(number).ok())
            })
            .transpose()
            .map(Option::flatten)
    }
    /// For the deprecated `/watch/` paths.
    pub fn set_watch(&mut self) {
        self.0.push(("watch".to_owned(), "true".to_owned()));
        self.0.push((WATCH_PATH.to_owned(), "true".to_owned()));
    }
}

/// The representation that an answer should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Table,
    Partial,
    /// Plain, as YAML.
    Yaml,
}

impl Form {
    /// The first representation in `Accept` that the server has.
    pub fn accepted(headers: &HeaderMap, custom: bool, watch: bool) -> Result<Self, ApiError> {
        let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
        if accept.trim().is_empty() {
            return Ok(Self::Plain);
        }
        let mut formed = false;
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            match parts.next() {
                Some("application/yaml") => return Ok(Self::Yaml),
                Some("application/json" | "*/*" | "application/*") => {}
                _ => continue,
            }
            match parts.find_map(|p| p.strip_prefix("as=")) {
                Some("Table") => return Ok(Self::Table),
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") => return Ok(Self::Partial),
                Some(_) => formed = true,
                None => return Ok(Self::Plain),
            }
        }
        const TYPES: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
        if custom || formed {
            let message = format!("only the following media types are accepted: {TYPES}");
            return Err(ApiError::new(406, "NotAcceptable", message));
        }
        const STREAMS: &str = ", application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
        let message =
            format!("406: Not Acceptable\n\nAvailable representations: {TYPES}{}", if watch { STREAMS } else { "" });
        Err(ApiError { details: Some(serde_json::json!({})), ..ApiError::new(406, "NotAcceptable", message) })
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
