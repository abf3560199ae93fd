//! Options in the query: parsed and refused as the real server does it.

use serde_json::json;

use super::error::ApiError;
use super::request::Query;
use super::schema::validate::Cause;
use super::write::{Strictness, Verb, Write};

/// The longest name of a field manager, in bytes.
const MANAGER_LIMIT: usize = 128;

fn kind(verb: Verb) -> &'static str {
    match verb {
        Verb::Create => "CreateOptions",
        Verb::Update => "UpdateOptions",
        Verb::Patch | Verb::Apply => "PatchOptions",
    }
}

/// A refused `dryRun`.
pub(super) fn dry_run_cause(values: &[String]) -> Option<Cause> {
    values.iter().any(|v| v != "All").then(|| {
        let message = format!("Unsupported value: {}: supported values: \"All\"", json!(values));
        Cause::new("dryRun", "FieldValueNotSupported", message)
    })
}

/// How a request wants to write. `agent` names the manager where the query does not.
pub(super) fn write<'a>(query: &'a Query, verb: Verb, agent: &'a str) -> Result<Write<'a>, ApiError> {
    let mut causes = Vec::new();
    let force = query.get("force").is_some();
    if force && verb == Verb::Patch {
        causes.push(Cause::new("force", "FieldValueForbidden", "Forbidden: may not be specified for non-apply patch"));
    }
    let manager = query.get("fieldManager");
    if manager.is_none() && verb == Verb::Apply {
        causes.push(Cause::new("fieldManager", "FieldValueRequired", "Required value: is required for apply patch"));
    }
    if manager.is_some_and(|m| m.len() > MANAGER_LIMIT) {
        let message = format!("Too long: may not be more than {MANAGER_LIMIT} bytes");
        causes.push(Cause::new("fieldManager", "FieldValueTooLong", message));
    }
    let dry: Vec<String> = query.all("dryRun");
    causes.extend(dry_run_cause(&dry));
    let strictness = match query.get("fieldValidation") {
        None | Some("Warn") => Strictness::Warn,
        Some("Strict") => Strictness::Strict,
        Some("Ignore") => Strictness::Ignore,
        Some(other) => {
            let message = format!(
                "Unsupported value: {}: supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"",
                json!(other)
            );
            causes.push(Cause::new("fieldValidation", "FieldValueNotSupported", message));
            Strictness::Warn
        }
    };
    if !causes.is_empty() {
        return Err(ApiError::invalid_options(kind(verb), &causes));
    }
    // An applier's fields are recorded where its configuration is merged.
    let manager = if verb == Verb::Apply { None } else { Some(manager.unwrap_or(agent)) };
    Ok(Write { dry_run: !dry.is_empty(), manager, strictness, ..Write::inside(verb) })
}

/// Refuses combinations of options that a list or watch must not have.
pub(super) fn check_list(query: &Query, watch: bool) -> Result<(), ApiError> {
    let forbidden = |field: &str, why: &str| Cause::new(field, "FieldValueForbidden", format!("Forbidden: {why}"));
    let mut causes = Vec::new();
    let (matching, version) = (query.get("resourceVersionMatch"), query.get("resourceVersion"));
    let initial = query.get("sendInitialEvents").is_some();
    let field = "resourceVersionMatch";
    if watch {
        if initial && matching != Some("NotOlderThan") {
            let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            causes.push(forbidden(field, why));
        }
        if !initial && matching.is_some() {
            let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            causes.push(forbidden(field, why));
        }
    } else {
        if let Some(matching) = matching {
            if version.is_none() {
                causes.push(forbidden(field, "resourceVersionMatch is forbidden unless resourceVersion is provided"));
            }
            if query.get("continue").is_some() {
                causes.push(forbidden(field, "resourceVersionMatch is forbidden when continue is provided"));
            }
            if !matches!(matching, "Exact" | "NotOlderThan") {
                let message = format!(
                    "Unsupported value: {}: supported values: \"Exact\", \"NotOlderThan\", \"\"",
                    json!(matching)
                );
                causes.push(Cause::new(field, "FieldValueNotSupported", message));
            }
            if matching == "Exact" && version == Some("0") {
                causes.push(forbidden(field, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""));
            }
        }
        if initial {
            causes.push(forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
        }
    }
    if causes.is_empty() { Ok(()) } else { Err(ApiError::invalid_options("ListOptions", &causes)) }
}
