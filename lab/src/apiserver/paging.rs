//! `limit` and `continue`, and the versions that a list may ask for.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::State;
use super::error::ApiError;
use super::request::Query;
use super::resources::ResourceDef;
use super::store::metadata;

/// The version that a query names.
pub(super) fn version(query: &Query, watch: bool) -> Result<Option<u64>, ApiError> {
    let Some(text) = query.get("resourceVersion") else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        let why = format!(
            "resourceVersion: Invalid value: {}: strconv.ParseUint: parsing {}: invalid syntax",
            json!(text),
            json!(text)
        );
        if watch {
            ApiError::new(500, "", why)
        } else {
            ApiError::bad_request(format!("invalid resource version: {why}"))
        }
    })
}

/// Refuses a version that the server has not reached.
pub(super) fn check_version(query: &Query, current: u64) -> Result<(), ApiError> {
    let asked = version(query, false)?.unwrap_or_default();
    if asked <= current {
        return Ok(());
    }
    Err(ApiError {
        details: Some(json!({
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        })),
        ..ApiError::new(504, "Timeout", format!("Timeout: Too large resource version: {asked}, current: {current}"))
    })
}

fn place(object: &Value) -> (String, String) {
    (metadata(object, "namespace").to_owned(), metadata(object, "name").to_owned())
}

/// As forgiving as Go's decoder.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
);

/// Where the next page begins, and in which version.
struct Token {
    version: u64,
    after: (String, String),
}

fn token(text: &str) -> Result<Token, ApiError> {
    let invalid =
        |why: String| ApiError::bad_request(format!("invalid continue token: continue key is not valid: {why}"));
    let bytes = LENIENT.decode(text).unwrap_or_else(|_| text.as_bytes().to_vec());
    let token: Value = serde_json::from_slice(&bytes).map_err(|_| {
        let first = bytes.first().map_or(' ', |b| char::from(*b));
        invalid(format!("invalid character '{first}' looking for beginning of value"))
    })?;
    let form = token["v"].as_str().unwrap_or_default();
    if form != "meta.k8s.io/v1" {
        return Err(invalid(format!("server does not recognize this encoded version {form}")));
    }
    let version = token["rv"].as_u64().unwrap_or_default();
    if version == 0 {
        return Err(invalid("incorrect encoded start resourceVersion (version meta.k8s.io/v1)".to_owned()));
    }
    let start = token["start"].as_str().unwrap_or_default().trim_end_matches('\0');
    let (namespace, name) = start.split_once('/').unwrap_or(("", start));
    Ok(Token { version, after: (namespace.to_owned(), name.to_owned()) })
}

/// The objects that a list begins with, and the version that they had. A list goes on in the
/// version of its first page, whatever happened meanwhile.
pub(super) fn state_of(
    state: &State,
    def: &ResourceDef,
    namespace: Option<&str>,
    query: &Query,
) -> Result<(u64, Vec<Arc<Value>>), ApiError> {
    let at = |version| {
        let old = state.store.list_at(&def.storage, namespace, version);
        old.map(|objects| (version, objects)).ok_or_else(|| {
            ApiError::expired(
                "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
            )
        })
    };
    if let Some(text) = query.get("continue") {
        if query.get("resourceVersion").is_some_and(|v| v != "0") {
            return Err(ApiError::bad_request("specifying resource version is not allowed when using continue"));
        }
        let token = token(text)?;
        let (version, mut objects) = at(token.version)?;
        objects.retain(|o| place(o) > token.after);
        return Ok((version, objects));
    }
    let (current, objects) = state.store.list(&def.storage, namespace);
    check_version(query, current)?;
    let limited = query.number("limit")?.is_some_and(|l| l > 0) && query.get("resourceVersionMatch").is_none();
    let exact = query.get("resourceVersionMatch") == Some("Exact") || limited;
    match version(query, false)?.filter(|v| *v > 0 && exact) {
        Some(version) => at(version),
        None => Ok((current, objects)),
    }
}

/// One page of `objects` and the list's metadata.
pub(super) fn page(
    query: &Query,
    def: &ResourceDef,
    version: u64,
    mut objects: Vec<Arc<Value>>,
    count_remaining: bool,
) -> Result<(Vec<Arc<Value>>, Value), ApiError> {
    let mut meta = json!({"resourceVersion": version.to_string()});
    if def.custom {
        meta["continue"] = json!("");
    }
    let limit = query.number("limit")?.and_then(|l| usize::try_from(l).ok()).filter(|l| *l > 0);
    if let Some(limit) = limit
        && query.get("resourceVersion") != Some("0")
        && objects.len() > limit
    {
        let remaining = objects.len() - limit;
        objects.truncate(limit);
        let (namespace, name) = objects.last().map(|o| place(o)).unwrap_or_default();
        let token = json!({"v": "meta.k8s.io/v1", "rv": version, "start": format!("{namespace}/{name}\0")});
        meta["continue"] = json!(URL_SAFE_NO_PAD.encode(token.to_string()));
        if count_remaining {
            meta["remainingItemCount"] = json!(remaining);
        }
    }
    Ok((objects, meta))
}
