//! OpenAPI: which kinds there are, what their fields are, and that the server validates fields. The
//! third version by group, as kubectl reads it today; the second as one document, in JSON or, as
//! kubectl's older paths and Java clients ask for it, in protobuf.

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Map, Value, json};

use super::error::{bare_response, json_response, text_response, typed_response};
use super::protobuf;
use super::resources::{Registry, ResourceDef, StatusMode};
use super::schema;

/// The answer below `/openapi`.
pub(super) fn serve(registry: &Registry, path: &[&str], accept: &str) -> Response {
    let info = json!({"title": "Kubernetes", "version": "v1"});
    match path {
        ["v2"] if accept.contains("proto-openapi") => typed_response(
            200,
            protobuf::openapi::CONTENT_TYPE,
            protobuf::openapi::encode(&openapi_v2(registry, &info)),
        ),
        ["v2"] => json_response(200, &openapi_v2(registry, &info)),
        ["v3"] => {
            let mut paths = Map::new();
            for (group, versions) in registry.groups() {
                for version in versions {
                    let place =
                        if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
                    paths.insert(place.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{place}?hash=0")}));
                }
            }
            json_response(200, &json!({ "paths": paths }))
        }
        ["v3", "api", version] | ["v3", "apis", _, version]
            if !registry.serves(path.get(2).filter(|_| path.len() == 4).unwrap_or(&""), version) =>
        {
            bare_response(404)
        }
        ["v3", "api", version] => json_response(200, &openapi_v3(&registry.in_version("", version), &info)),
        ["v3", "apis", group, version] => json_response(200, &openapi_v3(&registry.in_version(group, version), &info)),
        _ => text_response(404, "404 page not found\n"),
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
        Some(schema) => schema.json.clone(),
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

/// Kinds of all groups in one document, as Swagger 2.0 says it.
fn openapi_v2(registry: &Registry, info: &Value) -> Value {
    let mut third = openapi_v3(&registry.all(), info);
    let mut schemas = third["components"]["schemas"].take();
    let mut paths = third["paths"].take();
    older(&mut schemas);
    older(&mut paths);
    json!({"swagger": "2.0", "info": info, "paths": paths, "definitions": schemas})
}

/// Turns a part of a document of the third version into one of the second: other references, no
/// choices between schemas, a parameter's type beside its name.
fn older(node: &mut Value) {
    match node {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get_mut("$ref") {
                *reference = reference.replace("#/components/schemas/", "#/definitions/");
            }
            for word in ["oneOf", "anyOf", "allOf", "not", "nullable"] {
                // A property may have such a name; a schema's own word is no schema.
                if map.get(word).is_some_and(|value| !value.is_object()) {
                    map.shift_remove(word);
                }
            }
            if map.get("in").is_some_and(Value::is_string)
                && let Some(Value::Object(schema)) = map.shift_remove("schema")
            {
                map.extend(schema);
            }
            map.values_mut().for_each(older);
        }
        Value::Array(list) => list.iter_mut().for_each(older),
        _ => {}
    }
}
