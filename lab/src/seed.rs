//! The objects that the API server starts with: what an OpenShift with MTV and Virtualization holds
//! before anybody migrates. Deterministic; an object that exists already is left alone.

use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use serde_json::Value;

use crate::api::world::Cluster;
use crate::error::LabError;

mod cluster;
mod definitions;
mod mtv;
mod roles;

/// The image that the lab's own MTV says it runs.
pub const OWN_MTV: &str = "lab/forklift:latest";

/// What the seed depends on.
#[derive(Debug, Clone)]
pub struct SeedOptions {
    /// `2.9` …, or with a patch number.
    pub mtv_version: String,
    /// MTV's own definitions, in place of the lab's.
    pub mtv_crds: Option<Vec<Value>>,
    /// What MTV's pods run, by name: it tells one build from another.
    pub mtv_image: String,
    pub ocp_version: String,
    /// `host:port` of the inventory.
    pub inventory_addr: String,
    /// `host:port` of the fake Thanos.
    pub thanos_addr: String,
    /// `host:port` of CDI's upload proxy, where there is one.
    pub upload_addr: Option<String>,
    /// The API server is the lab's own. A real one makes its own `kubernetes` Service, in its own network.
    pub own_server: bool,
    /// The API server's own URL.
    pub api_url: String,
    /// Nodes, storage classes, and settings of MTV.
    pub cluster: Cluster,
}

/// Creates everything, namespaces first.
pub async fn seed(client: &Client, options: &SeedOptions) -> Result<(), LabError> {
    seed_cluster(client, options).await?;
    all(client, mtv::objects(options)).await
}

/// Likewise, without MTV: a cluster that MTV only migrates from or to.
pub async fn seed_cluster(client: &Client, options: &SeedOptions) -> Result<(), LabError> {
    all(client, cluster::objects(options)).await
}

async fn all(client: &Client, objects: Vec<(&'static str, Value)>) -> Result<(), LabError> {
    for (plural, object) in objects {
        put(client, plural, &object).await.map_err(|error| LabError::Start {
            part: "seed".to_owned(),
            cause: format!("{plural} {}: {error}", object["metadata"]["name"].as_str().unwrap_or_default()),
        })?;
    }
    Ok(())
}

/// What tells where the lab listens: the one before this listened elsewhere.
const MOVES: [&str; 2] = ["routes", "cdiconfigs"];

/// Creates one object and writes its status.
async fn put(client: &Client, plural: &str, object: &Value) -> Result<(), kube::Error> {
    let field = |name: &str| object[name].as_str().unwrap_or_default();
    let (group, version) = field("apiVersion").split_once('/').unwrap_or(("", field("apiVersion")));
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, field("kind")), plural);
    let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let typed: DynamicObject = serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)?;
    match api.create(&PostParams::default(), &typed).await {
        Err(kube::Error::Api(status)) if status.code == 409 && !MOVES.contains(&plural) => return Ok(()),
        // It has no more than a status.
        Err(kube::Error::Api(status)) if status.code == 409 && plural == "cdiconfigs" => {}
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let patch = Patch::Merge(serde_json::json!({"spec": {"host": object["spec"]["host"]}}));
            api.patch(name, &PatchParams::default(), &patch).await.map(drop)?;
        }
        other => drop(other?),
    }
    if let Some(status) = object.get("status") {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        // Not a merge: that would drop fields that are null on purpose.
        let set = serde_json::json!([{"op": "add", "path": "/status", "value": status}]);
        let set = serde_json::from_value(set).map_err(kube::Error::SerdeError)?;
        let patch: Patch<Value> = Patch::Json(set);
        match api.patch_status(name, &PatchParams::default(), &patch).await {
            // A kind without a status subresource takes its status with the object.
            Err(kube::Error::Api(status)) if status.code == 404 => {
                api.patch(name, &PatchParams::default(), &patch).await.map(drop)?;
            }
            other => drop(other?),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(mtv_version: &str) -> SeedOptions {
        SeedOptions {
            mtv_version: mtv_version.to_owned(),
            mtv_crds: None,
            mtv_image: OWN_MTV.to_owned(),
            ocp_version: "4.20.3".to_owned(),
            inventory_addr: "127.0.0.1:1".to_owned(),
            thanos_addr: "127.0.0.1:2".to_owned(),
            upload_addr: None,
            own_server: true,
            api_url: "https://127.0.0.1:3".to_owned(),
            cluster: crate::api::world::World::shipped().unwrap().cluster,
        }
    }

    #[test]
    fn every_object_has_a_kind_a_name_and_a_seeded_namespace() {
        let all: Vec<_> =
            cluster::objects(&options("2.11")).into_iter().chain(mtv::objects(&options("2.11"))).collect();
        let mut namespaces = Vec::new();
        for (plural, object) in &all {
            let name = object["metadata"]["name"].as_str().unwrap();
            assert!(object["kind"].is_string() && object["apiVersion"].is_string(), "{plural} {name}");
            if *plural == "namespaces" {
                namespaces.push(name.to_owned());
            }
            if let Some(namespace) = object["metadata"]["namespace"].as_str() {
                assert!(namespaces.iter().any(|n| n == namespace), "{plural} {name} comes before its namespace");
            }
        }
    }

    #[test]
    fn the_plan_schema_tells_the_version() {
        let properties = |version: &str| {
            let all = mtv::objects(&options(version));
            let plan = all.iter().find(|(_, o)| o["metadata"]["name"] == "plans.forklift.konveyor.io").unwrap();
            plan.1["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"].clone()
        };
        assert!(properties("2.9").get("type").is_none());
        assert!(properties("2.10").get("type").is_some());
        assert!(properties("2.10").get("conversionTempStorageClass").is_none());
        assert!(properties("2.12.1").get("tagMapping").is_some());
    }
}
