//! The lab, with strangers in it: things that look like ours and belong to somebody else.

use std::collections::BTreeMap;
use std::path::Path;

use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
};
use mtv_matrix_lab::faults::FaultOptions;
use mtv_matrix_lab::{Lab, LabError, LabOptions};
use serde_json::{Value, json};

use crate::watch::Eye;

/// One line of a census: a thing, and everything of it that nobody else may change.
pub type Census = BTreeMap<String, Value>;

#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    #[error(transparent)]
    Lab(#[from] LabError),
    #[error("failed to plant {what}: {cause}")]
    Plant { what: String, cause: String },
}

/// A lab with strangers in it.
pub struct World {
    pub lab: Lab,
    /// What it was before any run.
    pub before: Census,
    eye: Eye,
}

impl World {
    pub async fn start(defect: Option<&str>, dir: &Path) -> Result<Self, WorldError> {
        let options = LabOptions {
            defects: defect.map(str::to_owned).into_iter().collect(),
            // At 0 nothing breaks; each trial sets its own rate and seed.
            faults: Some(FaultOptions { rate: 0.0, seed: 0, mild: 0.0 }),
            ..LabOptions::default()
        };
        let lab = Lab::start(options).await?;
        lab.write_client_files(dir)?;
        for (plural, object) in strangers() {
            plant(&lab.client(), plural, object).await?;
        }
        label_nodes(&lab.client()).await?;
        let eye = Eye::open(lab.client());
        let mut world = Self { lab, before: Census::new(), eye };
        // The lab's controllers first make of the strangers what they make of everything.
        world.before = world.settled().await;
        Ok(world)
    }

    /// Migrations that were deleted at work and uncancelled since the last call.
    pub fn deletions(&self) -> Vec<String> {
        self.eye.take()
    }

    /// Something of somebody else's that names a run: its label, and nothing that proves it.
    pub async fn plant_for(&self, run: &str) -> Result<(), WorldError> {
        plant(&self.lab.client(), "secrets", named_after(run)).await
    }

    /// Takes it away again; what does not go is told by the next look at the world.
    pub async fn uproot(&self, run: &str) {
        let object = named_after(run);
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let _ = api(&self.lab.client(), "secrets", &object).delete(name, &DeleteParams::default()).await;
    }

    /// The census once it has stopped changing.
    pub async fn settled(&self) -> Census {
        const LOOKS: u32 = 40;
        let mut last = self.lab.census();
        for _ in 0..LOOKS {
            tokio::time::sleep(std::time::Duration::from_millis(150)).await;
            let now = self.lab.census();
            if now == last {
                break;
            }
            last = now;
        }
        last
    }
}

fn named_after(run: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"namespace": "team-a", "name": format!("about-{run}"),
            "labels": {"mtv-matrix.io/run-id": run, "app.kubernetes.io/managed-by": "mtv-matrix"},
            "annotations": {"mtv-matrix.io/mark": "abcdefghijabcdefghij"}}})
}

/// How two censuses differ.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Difference {
    pub new: Vec<String>,
    pub gone: Vec<String>,
    /// With what is different.
    pub changed: Vec<String>,
}

impl Difference {
    pub fn between(before: &Census, now: &Census) -> Self {
        let changed = |(key, old): (&String, &Value)| {
            let new = now.get(key)?;
            (new != old).then(|| format!("{key}: {}", first_difference(old, new, "")))
        };
        Self {
            new: now.keys().filter(|key| !before.contains_key(*key)).cloned().collect(),
            gone: before.keys().filter(|key| !now.contains_key(*key)).cloned().collect(),
            changed: before.iter().filter_map(changed).collect(),
        }
    }
}

fn first_difference(old: &Value, new: &Value, path: &str) -> String {
    if let (Value::Object(old), Value::Object(new)) = (old, new) {
        let keys = old.keys().chain(new.keys().filter(|key| !old.contains_key(*key)));
        for key in keys {
            let (a, b) = (old.get(key).unwrap_or(&Value::Null), new.get(key).unwrap_or(&Value::Null));
            if a != b {
                return first_difference(a, b, &format!("{path}/{key}"));
            }
        }
    }
    let short = |value: &Value| value.to_string().chars().take(120).collect::<String>();
    format!("{path} was {}, is {}", short(old), short(new))
}

/// Objects of others. The run ids have the shape of ours, and belong to no run.
fn strangers() -> Vec<(&'static str, Value)> {
    let old = "2020-01-01T00:00:00Z";
    let secret = |namespace: &str, name: &str, labels: Value| {
        json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"namespace": namespace, "name": name, "labels": labels,
                "annotations": {"mtv-matrix.io/created-at": old}},
            "stringData": {"password": "somebody-elses"}})
    };
    let ours = |run: &str| json!({"mtv-matrix.io/run-id": run, "app.kubernetes.io/managed-by": "mtv-matrix"});
    vec![
        ("namespaces", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-a"}})),
        // A namespace with a run's name that no run made, and one with the label alone.
        ("namespaces", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mm-strangersa"}})),
        (
            "namespaces",
            json!({"apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": "team-b", "labels": {"mtv-matrix.io/run-id": "mm-strangersb"},
                    "annotations": {"mtv-matrix.io/created-at": old}}}),
        ),
        ("secrets", secret("team-a", "old", ours("mm-strangersc"))),
        ("secrets", secret("default", "true", ours("true"))),
        ("secrets", secret("openshift-mtv", "mtv-nightly", ours("mtv"))),
        (
            "virtualmachines",
            json!({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
                "metadata": {"namespace": "team-a", "name": "mtv-tests-rhel8"},
                "spec": {"runStrategy": "Halted", "template": {"metadata": {}, "spec": {"domain": {"devices": {}}}}}}),
        ),
        (
            "persistentvolumeclaims",
            json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"namespace": "team-a", "name": "mtv-tests-rhel8-disk-0", "labels": ours("mm-strangersc")},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}),
        ),
    ]
}

async fn plant(client: &kube::Client, plural: &'static str, object: Value) -> Result<(), WorldError> {
    let failed = |cause: &dyn std::fmt::Display| WorldError::Plant {
        what: format!("{plural} {}", object["metadata"]["name"]),
        cause: cause.to_string(),
    };
    let api = api(client, plural, &object);
    let typed: DynamicObject = serde_json::from_value(object.clone()).map_err(|e| failed(&e))?;
    api.create(&PostParams::default(), &typed).await.map(drop).map_err(|e| failed(&e))
}

fn api(client: &kube::Client, plural: &str, object: &Value) -> Api<DynamicObject> {
    let field = |name: &str| object[name].as_str().unwrap_or_default();
    let (group, version) = field("apiVersion").split_once('/').unwrap_or(("", field("apiVersion")));
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, field("kind")), plural);
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

/// Labels that others have put on every node, with values that a sweep by value would take for ours.
async fn label_nodes(client: &kube::Client) -> Result<(), WorldError> {
    let failed =
        |cause: kube::Error| WorldError::Plant { what: "labels of nodes".to_owned(), cause: cause.to_string() };
    let nodes = api(client, "nodes", &json!({"apiVersion": "v1", "kind": "Node"}));
    let labels = Patch::Merge(json!({"metadata": {"labels": {"team": "true", "mtv": "amd64"}}}));
    for node in nodes.list(&ListParams::default()).await.map_err(failed)?.items {
        let name = node.metadata.name.unwrap_or_default();
        nodes.patch(&name, &PatchParams::default(), &labels).await.map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_what_is_new_gone_and_changed() {
        let census = |pairs: &[(&str, Value)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        let before: Census = census(&[("a", json!({"spec": {"x": 1, "y": 2}})), ("b", Value::Null)]);
        let now: Census = census(&[("a", json!({"spec": {"x": 1, "y": 3}})), ("c", Value::Null)]);
        let found = Difference::between(&before, &now);
        assert_eq!((found.new, found.gone), (vec!["c".to_owned()], vec!["b".to_owned()]));
        assert_eq!(found.changed, ["a: /spec/y was 2, is 3"]);
        assert_eq!(Difference::between(&before, &before), Difference::default());
    }
}
