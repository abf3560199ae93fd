//! `limit` and `continue`, and the versions that a list may ask for.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::error::ApiError;
use super::request::Query;
use super::store::metadata;

/// Refuses a version that the server has not reached.
pub(super) fn check_version(query: &Query, current: u64) -> Result<(), ApiError> {
    let asked = query.number("resourceVersion")?.unwrap_or_default();
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

/// One page of `objects` and the list's metadata.
pub(super) fn page(
    query: &Query,
    version: u64,
    mut objects: Vec<Arc<Value>>,
    count_remaining: bool,
) -> Result<(Vec<Arc<Value>>, Value), ApiError> {
    let mut version = version;
    if let Some(token) = query.get("continue") {
        let invalid = || ApiError::bad_request("invalid continue token");
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
        let token: Value = serde_json::from_slice(&bytes).map_err(|_| invalid())?;
        let start = (token["ns"].as_str().ok_or_else(invalid)?, token["name"].as_str().ok_or_else(invalid)?);
        objects.retain(|o| (metadata(o, "namespace"), metadata(o, "name")) > start);
        // All pages carry the first page's version, so that a watch from it misses nothing.
        version = token["rv"].as_u64().ok_or_else(invalid)?;
    }
    let mut meta = json!({"resourceVersion": version.to_string()});
    let limit = query.number("limit")?.and_then(|l| usize::try_from(l).ok()).filter(|l| *l > 0);
    if let Some(limit) = limit
        && query.get("resourceVersion") != Some("0")
        && objects.len() > limit
    {
        let remaining = objects.len() - limit;
        objects.truncate(limit);
        let (ns, name) = objects.last().map(|o| place(o)).unwrap_or_default();
        let token = json!({"v": "meta.k8s.io/v1", "rv": version, "ns": ns, "name": name});
        meta["continue"] = json!(URL_SAFE_NO_PAD.encode(token.to_string()));
        if count_remaining {
            meta["remainingItemCount"] = json!(remaining);
        }
    }
    Ok((objects, meta))
}
