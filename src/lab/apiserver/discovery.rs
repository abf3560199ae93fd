//! What the server says of itself: versions, groups, resources, OpenAPI.

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Map, Value, json};

use super::error::{ApiError, json_response, text_response, typed_response};
use super::resources::{Registry, ResourceDef, StatusMode};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

pub(super) fn version(git_version: &str) -> Value {
    let mut numbers = git_version.trim_start_matches('v').split('.');
    json!({
        "major": numbers.next().unwrap_or("1"),
        "minor": numbers.next().unwrap_or("33"),
        "gitVersion": git_version,
        "gitCommit": "0000000000000000000000000000000000000000",
        "gitTreeState": "clean",
        "buildDate": "2025-01-01T00:00:00Z",
        "goVersion": "go1.24",
        "compiler": "gc",
        "platform": "linux/amd64",
    })
}

fn wants_aggregated(accept: &str) -> bool {
    accept.split(',').any(|range| {
        let has = |part: &str| range.split(';').any(|p| p.trim() == part);
        has("as=APIGroupDiscoveryList") && has("v=v2")
    })
}

/// Subresources with their verbs.
fn subresources(def: &ResourceDef) -> Vec<(&'static str, &'static [&'static str])> {
    let mut found: Vec<(&'static str, &'static [&'static str])> = Vec::new();
    if def.status != StatusMode::None {
        found.push(("status", &["get", "patch", "update"]));
    }
    match (def.group.as_str(), def.plural.as_str()) {
        ("", "pods") => found.extend([("eviction", &["create"] as &[_]), ("log", &["get"])]),
        ("", "namespaces") => found.push(("finalize", &["update"])),
        ("", "services") => found.push(("proxy", &["get"])),
        ("", "serviceaccounts") => found.push(("token", &["create"])),
        _ => {}
    }
    found
}

fn aggregated_resource(def: &ResourceDef) -> Value {
    let kind = json!({"group": def.group, "version": def.version, "kind": def.kind});
    let below: Vec<Value> = subresources(def)
        .into_iter()
        .map(|(name, verbs)| json!({"subresource": name, "responseKind": kind, "verbs": verbs}))
        .collect();
    let mut resource = json!({
        "resource": def.plural,
        "responseKind": kind,
        "scope": if def.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": def.singular,
        "verbs": def.verbs(),
        "shortNames": def.short_names,
        "categories": def.categories(),
    });
    if !below.is_empty() {
        resource["subresources"] = json!(below);
    }
    resource
}

fn aggregated(registry: &Registry, core: bool) -> Response {
    let groups = registry.groups().into_iter().filter(|(name, _)| name.is_empty() == core);
    let items: Vec<Value> = groups
        .map(|(name, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| {
                    let defs = registry.in_version(&name, version);
                    let resources: Vec<Value> = defs.iter().map(|d| aggregated_resource(d)).collect();
                    json!({"version": version, "freshness": "Current", "resources": resources})
                })
                .collect();
            let metadata = if core { json!({}) } else { json!({ "name": name }) };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    let list = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    });
    typed_response(200, AGGREGATED, list.to_string())
}

pub(super) fn core_versions(registry: &Registry, accept: &str) -> Response {
    if wants_aggregated(accept) {
        return aggregated(registry, true);
    }
    json_response(200, &json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}))
}

fn group_document(name: &str, versions: &[String]) -> Value {
    let document = |version: &String| json!({"groupVersion": format!("{name}/{version}"), "version": version});
    let all: Vec<Value> = versions.iter().map(document).collect();
    let preferred = all.first().cloned().unwrap_or_default();
    json!({"name": name, "versions": all, "preferredVersion": preferred})
}

pub(super) fn groups(registry: &Registry, accept: &str) -> Response {
    if wants_aggregated(accept) {
        return aggregated(registry, false);
    }
    let groups = registry.groups();
    let groups: Vec<Value> =
        groups.iter().filter(|(name, _)| !name.is_empty()).map(|(n, versions)| group_document(n, versions)).collect();
    json_response(200, &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
}

pub(super) fn group(registry: &Registry, name: &str) -> Result<Response, ApiError> {
    let Some((_, versions)) = registry.groups().into_iter().find(|(n, _)| n == name && !n.is_empty()) else {
        return Ok(text_response(404, "404 page not found\n"));
    };
    let mut document = group_document(name, &versions);
    document["kind"] = json!("APIGroup");
    document["apiVersion"] = json!("v1");
    Ok(json_response(200, &document))
}

/// An `APIResourceList`.
pub(super) fn resources(registry: &Registry, group: &str, version: &str) -> Result<Response, ApiError> {
    let defs = registry.in_version(group, version);
    let Some(first) = defs.first() else { return Ok(text_response(404, "404 page not found\n")) };
    let mut rows = Vec::new();
    for def in &defs {
        let mut row = json!({
            "name": def.plural,
            "singularName": def.singular,
            "namespaced": def.namespaced,
            "kind": def.kind,
            "verbs": def.verbs(),
        });
        if !def.short_names.is_empty() {
            row["shortNames"] = json!(def.short_names);
        }
        if !def.categories().is_empty() {
            row["categories"] = json!(def.categories());
        }
        rows.push(row);
        for (name, verbs) in subresources(def) {
            rows.push(json!({
                "name": format!("{}/{name}", def.plural),
                "singularName": "",
                "namespaced": def.namespaced,
                "kind": def.kind,
                "verbs": verbs,
            }));
        }
    }
    let group_version = first.api_version();
    Ok(json_response(
        200,
        &json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": rows}),
    ))
}

/// OpenAPI, as little as kubectl needs: which kinds there are, and that the server validates fields.
pub(super) fn openapi(registry: &Registry, path: &[&str]) -> Result<Response, ApiError> {
    let info = json!({"title": "Kubernetes", "version": "v1"});
    match path {
        ["v2"] => Ok(json_response(200, &json!({"swagger": "2.0", "info": info, "paths": {}, "definitions": {}}))),
        ["v3"] => {
            let mut paths = Map::new();
            for (group, versions) in registry.groups() {
                for version in versions {
                    let place =
                        if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
                    paths.insert(place.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{place}?hash=0")}));
                }
            }
            Ok(json_response(200, &json!({ "paths": paths })))
        }
        ["v3", "api", version] => Ok(json_response(200, &openapi_v3(&registry.in_version("", version), &info))),
        ["v3", "apis", group, version] => {
            Ok(json_response(200, &openapi_v3(&registry.in_version(group, version), &info)))
        }
        _ => Ok(text_response(404, "404 page not found\n")),
    }
}

fn openapi_v3(defs: &[Arc<ResourceDef>], info: &Value) -> Value {
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for def in defs {
        let kind = json!({"group": def.group, "version": def.version, "kind": def.kind});
        let query =
            |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
        let parameters = json!([query("dryRun"), query("fieldManager"), query("fieldValidation")]);
        let operation = |action: &str| {
            json!({
                "parameters": parameters,
                "x-kubernetes-action": action,
                "x-kubernetes-group-version-kind": kind,
                "responses": {"200": {"description": "OK"}},
            })
        };
        let head = if def.group.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{}", def.api_version()) };
        let scope = if def.namespaced { "/namespaces/{namespace}" } else { "" };
        let collection = format!("{head}{scope}/{}", def.plural);
        paths.insert(format!("{collection}/{{name}}"), json!({"put": operation("put"), "patch": operation("patch")}));
        paths.insert(collection, json!({"post": operation("post")}));
        schemas.insert(
            format!("{}.{}.{}", if def.group.is_empty() { "core" } else { &def.group }, def.version, def.kind),
            json!({
                "type": "object",
                "description": def.kind,
                "properties": {
                    "apiVersion": {"type": "string"},
                    "kind": {"type": "string"},
                    "metadata": {"type": "object"},
                    "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                },
                "x-kubernetes-preserve-unknown-fields": true,
                "x-kubernetes-group-version-kind": [kind],
            }),
        );
    }
    json!({"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}})
}
