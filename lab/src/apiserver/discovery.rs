//! What the server says of itself: versions, groups, resources. Its schemas: [`super::openapi`].

use axum::response::Response;
use serde_json::{Value, json};

use super::error::{ApiError, json_response, text_response, typed_response};
use super::resources::{Registry, ResourceDef, StatusMode};
use super::subresources as kubevirt;

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
            add("binding", &["create"], Some(("", "v1", "Binding")));
            add("eviction", &["create"], Some(("policy", "v1", "Eviction")));
            add("log", &["get"], None);
            add("attach", &["create", "get"], Some(("", "v1", "PodAttachOptions")));
            add("exec", &["create", "get"], Some(("", "v1", "PodExecOptions")));
            add("portforward", &["create", "get"], Some(("", "v1", "PodPortForwardOptions")));
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

fn aggregated(registry: &Registry, core: bool, virtual_machines: bool) -> Response {
    let groups = registry.groups().into_iter().filter(|(name, _)| name.is_empty() == core);
    let more = (virtual_machines && !core).then(kubevirt::aggregated_item);
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
        .chain(more)
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
        return aggregated(registry, true, false);
    }
    json_response(200, &json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}))
}

fn group_document(name: &str, versions: &[String]) -> Value {
    let document = |version: &String| json!({"groupVersion": format!("{name}/{version}"), "version": version});
    let all: Vec<Value> = versions.iter().map(document).collect();
    let preferred = all.first().cloned().unwrap_or_default();
    json!({"name": name, "versions": all, "preferredVersion": preferred})
}

/// `virtual_machines`: whether somebody answers for KubeVirt's subresources.
pub(super) fn groups(registry: &Registry, virtual_machines: bool, accept: &str) -> Response {
    if wants_aggregated(accept) {
        return aggregated(registry, false, virtual_machines);
    }
    let groups = registry.groups();
    let own = groups.iter().filter(|(name, _)| !name.is_empty()).map(|(n, versions)| group_document(n, versions));
    let groups: Vec<Value> = own.chain(virtual_machines.then(virtual_machine_group)).collect();
    json_response(200, &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
}

fn virtual_machine_group() -> Value {
    group_document(kubevirt::GROUP, &kubevirt::VERSIONS.map(str::to_owned))
}

/// What virt-api says of itself: its group, a version's resources, its version.
pub(super) fn of_virtual_machines(path: &[&str]) -> Option<Response> {
    Some(match path {
        [] => {
            let mut group = virtual_machine_group();
            group["kind"] = json!("APIGroup");
            group["apiVersion"] = json!("v1");
            json_response(200, &group)
        }
        [version] if kubevirt::VERSIONS.contains(version) => json_response(200, &kubevirt::resource_list(version)),
        [version, "version"] if kubevirt::VERSIONS.contains(version) => {
            let told = json!({"gitVersion": "v1.6.2", "gitCommit": "", "gitTreeState": "clean",
                "buildDate": "2025-01-01T00:00:00Z", "goVersion": "go1.24", "compiler": "gc", "platform": "linux/amd64"});
            json_response(200, &told)
        }
        _ => return None,
    })
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

/// What `GET /` lists.
pub(super) fn paths(registry: &Registry) -> Value {
    let mut paths: Vec<String> =
        ["/.well-known/oauth-authorization-server", "/api", "/api/v1", "/apis"].map(str::to_owned).into();
    for (group, versions) in registry.groups().iter().filter(|(group, _)| !group.is_empty()) {
        paths.push(format!("/apis/{group}"));
        paths.extend(versions.iter().map(|version| format!("/apis/{group}/{version}")));
    }
    paths.extend(["/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"].map(str::to_owned));
    paths.sort();
    json!({ "paths": paths })
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
