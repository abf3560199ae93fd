//! What the server says of itself: versions, groups, resources, OpenAPI.

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Map, Value, json};

use super::error::{ApiError, bare_response, json_response, text_response, typed_response};
use super::resources::{Registry, ResourceDef, StatusMode};
use super::schema;

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

/// A subresource: name, verbs, and group, version and kind where they are not the resource's.
struct Below {
    name: &'static str,
    verbs: &'static [&'static str],
    kind: Option<(&'static str, &'static str, &'static str)>,
}

fn subresources(def: &ResourceDef) -> Vec<Below> {
    let mut found = Vec::new();
    let mut add = |name, verbs, kind| found.push(Below { name, verbs, kind });
    const CHANGE: &[&str] = &["get", "patch", "update"];
    if def.status != StatusMode::None {
        add("status", CHANGE, None);
    }
    if def.scale.is_some() {
        add("scale", CHANGE, Some(("autoscaling", "v1", "Scale")));
    }
    match (def.group.as_str(), def.plural.as_str()) {
        ("", "pods") => {
            add("eviction", &["create"], Some(("policy", "v1", "Eviction")));
            add("log", &["get"], None);
        }
        ("", "namespaces") => add("finalize", &["update"], None),
        ("", "services") => add("proxy", &["get"], Some(("", "v1", "ServiceProxyOptions"))),
        ("", "serviceaccounts") => add("token", &["create"], Some(("authentication.k8s.io", "v1", "TokenRequest"))),
        _ => {}
    }
    found
}

fn aggregated_resource(def: &ResourceDef) -> Value {
    let kind = json!({"group": def.group, "version": def.version, "kind": def.kind});
    let below: Vec<Value> = subresources(def)
        .into_iter()
        .map(|below| {
            let kind =
                below.kind.map_or_else(|| kind.clone(), |(g, v, k)| json!({"group": g, "version": v, "kind": k}));
            json!({"subresource": below.name, "responseKind": kind, "verbs": below.verbs})
        })
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

/// The answer to a version or resource that is not there: the groups of the API server itself know
/// that they lack it, others are no pages at all.
pub(super) fn unserved(registry: &Registry, group: &str) -> ApiError {
    let native = registry.all().iter().any(|d| d.group == group && !d.custom);
    if native { ApiError::no_such_resource() } else { ApiError::no_page() }
}

/// An `APIResourceList`.
pub(super) fn resources(registry: &Registry, group: &str, version: &str) -> Result<Response, ApiError> {
    let defs = registry.in_version(group, version);
    let Some(first) = defs.first() else { return Err(unserved(registry, group)) };
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
        for below in subresources(def) {
            let mut row = json!({
                "name": format!("{}/{}", def.plural, below.name),
                "singularName": "",
                "namespaced": def.namespaced,
                "kind": below.kind.map_or(def.kind.as_str(), |(_, _, kind)| kind),
                "verbs": below.verbs,
            });
            if let Some((group, version, _)) = below.kind.filter(|(group, ..)| !group.is_empty()) {
                row["group"] = json!(group);
                row["version"] = json!(version);
            }
            rows.push(row);
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
        ["v3", "api", version] | ["v3", "apis", _, version]
            if registry.in_version(path.get(2).filter(|_| path.len() == 4).unwrap_or(&""), version).is_empty() =>
        {
            Ok(bare_response(404))
        }
        ["v3", "api", version] => Ok(json_response(200, &openapi_v3(&registry.in_version("", version), &info))),
        ["v3", "apis", group, version] => {
            Ok(json_response(200, &openapi_v3(&registry.in_version(group, version), &info)))
        }
        _ => Ok(text_response(404, "404 page not found\n")),
    }
}

/// Name and schema of a kind: native ones as they are, custom ones as they were defined.
fn schema_of(def: &ResourceDef, kind: &Value) -> (String, Value) {
    if let Some(name) = schema::native_name(&def.group, &def.version, &def.kind).filter(|_| !def.custom)
        && let Some(schema) = schema::native_schemas().get(name)
    {
        return (name.to_owned(), schema.clone());
    }
    let mut reversed: Vec<&str> = def.group.split('.').rev().collect();
    reversed.extend([def.version.as_str(), def.kind.as_str()]);
    let mut schema = match &def.schema {
        Some(schema) => Value::clone(schema),
        None => json!({
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
        }),
    };
    schema["x-kubernetes-group-version-kind"] = json!([kind]);
    (reversed.join("."), schema)
}

/// Adds every schema that this one refers to.
fn refer(schema: &Value, schemas: &mut Map<String, Value>) {
    match schema {
        Value::Object(map) => {
            let name = map.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/components/schemas/"));
            if let Some(name) = name
                && !schemas.contains_key(name)
                && let Some(referred) = schema::native_schemas().get(name)
            {
                schemas.insert(name.to_owned(), referred.clone());
                refer(referred, schemas);
            }
            map.values().for_each(|value| refer(value, schemas));
        }
        Value::Array(list) => list.iter().for_each(|value| refer(value, schemas)),
        _ => {}
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
        if def.review {
            paths.insert(collection, json!({"post": operation("post")}));
        } else {
            let one = json!({
                "get": operation("get"),
                "put": operation("put"),
                "patch": operation("patch"),
                "delete": operation("delete"),
                "parameters": [],
            });
            if def.status != StatusMode::None {
                let status = json!({"get": operation("get"), "put": operation("put"), "patch": operation("patch"), "parameters": []});
                paths.insert(format!("{collection}/{{name}}/status"), status);
            }
            paths.insert(format!("{collection}/{{name}}"), one);
            let all = json!({
                "get": operation("list"),
                "post": operation("post"),
                "delete": operation("deletecollection"),
                "parameters": [],
            });
            if def.namespaced {
                paths.insert(format!("{head}/{}", def.plural), json!({"get": operation("list"), "parameters": []}));
            }
            paths.insert(collection, all);
        }
        let (name, schema) = schema_of(def, &kind);
        refer(&schema, &mut schemas);
        schemas.insert(name, schema);
    }
    json!({"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}})
}
