//! Which OpenShift, Kubernetes and MTV are installed, and how MTV is switched. Reads only.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::api::{Api, DynamicObject, ListParams};
use serde_json::Value;

use super::Probe;
use crate::api::forklift::ForkliftController;
use crate::api::openshift::ClusterVersionStatus;
use crate::cluster::apply::{dynamic_api, read, resource};
use crate::cluster::{Cluster, ReadError, retry};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Versions {
    pub kubernetes: Option<String>,
    /// `None` on plain Kubernetes.
    pub ocp: Option<String>,
    /// From the operator's Subscription and CSV; else probed from CRD schemas (`2.11 (from its CRDs)`).
    pub mtv: Option<String>,
}

/// Which MTV is installed, or that nobody can tell.
pub(super) fn probe(mtv: Option<&str>, namespace: &str) -> Probe {
    let unknown = || {
        format!(
            "no Subscription, CSV or Plan CRD tells which MTV is installed in {namespace}: is `mtv_namespace` right?"
        )
    };
    Probe::new("MTV version", mtv.map(str::to_owned).ok_or_else(unknown))
}

/// Every key of the ForkliftController's `spec` that is a switch: a boolean, or the text of one
/// (forklift.md §9.1).
pub async fn controller_flags(cluster: &Cluster, mtv_namespace: &str) -> Result<BTreeMap<String, bool>, ReadError> {
    let controllers: Api<ForkliftController> = Api::namespaced(cluster.client(), mtv_namespace);
    let list = controllers
        .list(&ListParams::default())
        .await
        .map_err(|e| ReadError::failed("ForkliftControllers", retry::short(&e)))?;
    Ok(list.items.iter().flat_map(|controller| switches(&controller.spec.fields)).collect())
}

fn switches(spec: &Value) -> BTreeMap<String, bool> {
    let fields = spec.as_object().into_iter().flatten();
    let read = |value: &Value| match value {
        Value::Bool(on) => Some(*on),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    fields.filter_map(|(key, value)| Some((key.clone(), read(value)?))).collect()
}

/// Reads what is readable; what is not stays `None`.
pub async fn read_versions(cluster: &Cluster, mtv_namespace: &str) -> Versions {
    let kubernetes = cluster.client().apiserver_version().await.ok().map(|info| info.git_version);
    let ocp = if cluster.is_openshift() { openshift(cluster).await } else { None };
    let mtv = match from_olm(cluster, mtv_namespace).await {
        Some(version) => Some(version),
        None => from_crds(cluster).await,
    };
    Versions { kubernetes, ocp, mtv }
}

/// The newest completed update; the desired version while the first one still runs.
async fn openshift(cluster: &Cluster) -> Option<String> {
    let kind = resource("config.openshift.io/v1", "ClusterVersion", "clusterversions");
    let there = read(&dynamic_api(cluster, &kind, None), "version").await.ok()??;
    let status: ClusterVersionStatus = serde_json::from_value(there.data.get("status")?.clone()).ok()?;
    let done = status.history.into_iter().find(|r| r.state.as_deref() == Some("Completed")).map(|r| r.version);
    done.or(Some(status.desired.version)).filter(|v| !v.is_empty())
}

/// The operator's package names, downstream and upstream.
const PACKAGES: [&str; 2] = ["mtv-operator", "forklift-operator"];

async fn from_olm(cluster: &Cluster, namespace: &str) -> Option<String> {
    let group = "operators.coreos.com/v1alpha1";
    let subscriptions = resource(group, "Subscription", "subscriptions");
    let csvs =
        dynamic_api(cluster, &resource(group, "ClusterServiceVersion", "clusterserviceversions"), Some(namespace));
    let listed = dynamic_api(cluster, &subscriptions, Some(namespace)).list(&ListParams::default()).await;
    for subscription in listed.map(|l| l.items).unwrap_or_default() {
        let package = text(&subscription, "/spec/name");
        let Some(installed) = text(&subscription, "/status/installedCSV") else { continue };
        if !package.is_some_and(|p| PACKAGES.contains(&p)) {
            continue;
        }
        let named = installed.split_once(".v").map(|(_, v)| v.to_owned());
        let csv = read(&csvs, installed).await.ok().flatten();
        return csv.as_ref().and_then(|c| text(c, "/spec/version")).map(str::to_owned).or(named);
    }
    // Installed without a Subscription of its own, or we may not read it.
    let listed = csvs.list(&ListParams::default()).await.ok()?;
    let ours = listed.items.iter().find(|csv| {
        let name = csv.name_any();
        PACKAGES.iter().any(|p| name.starts_with(&format!("{p}.")))
            && text(csv, "/status/phase") == Some("Succeeded")
            && !csv.labels().contains_key("olm.copiedFrom")
    })?;
    text(ours, "/spec/version").map(str::to_owned)
}

async fn from_crds(cluster: &Cluster) -> Option<String> {
    let kind = resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions");
    let api = dynamic_api(cluster, &kind, None);
    let plan = read(&api, "plans.forklift.konveyor.io").await.ok()??;
    let conversions = read(&api, "conversions.forklift.konveyor.io").await.ok().flatten().is_some();
    Some(format!("{} (from its CRDs)", by_schema(&plan.data, conversions)?))
}

/// The release by what the definition of Plans knows (forklift.md §9.4), and whether Conversions are defined.
fn by_schema(plan: &Value, conversions: bool) -> Option<&'static str> {
    let properties = plan.pointer("/spec/versions/0/schema/openAPIV3Schema/properties")?;
    let spec = properties.pointer("/spec/properties")?;
    let has = |field: &str| spec.get(field).is_some();
    // What no release has yet: MTV's main branch.
    let of_main = properties.pointer("/status/properties/migration/properties/vms/items/properties/disksCopied");
    Some(if of_main.is_some() {
        "2.13 or newer"
    } else if conversions || has("tagMapping") {
        "2.12"
    } else if has("conversionTempStorageClass") {
        "2.11"
    } else if has("type") {
        "2.10"
    } else {
        "2.9"
    })
}

fn text<'a>(object: &'a DynamicObject, pointer: &str) -> Option<&'a str> {
    object.data.pointer(pointer).and_then(Value::as_str).filter(|t| !t.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn switches_are_read_as_booleans_and_as_their_texts() {
        let spec = serde_json::json!({"feature_a": true, "feature_b": "false", "interval": 60, "image": "x"});
        let expected = [("feature_a".to_owned(), true), ("feature_b".to_owned(), false)];
        assert_eq!(switches(&spec), BTreeMap::from(expected));
    }

    #[test]
    fn the_release_is_told_by_what_the_definition_of_plans_knows() {
        let plan = |spec: &[&str], vm: &[&str]| {
            let fields = |names: &[&str]| -> Value { names.iter().map(|n| ((*n).to_owned(), json!({}))).collect() };
            let vms = json!({"properties": {"vms": {"items": {"properties": fields(vm)}}}});
            json!({"spec": {"versions": [{"schema": {"openAPIV3Schema": {"properties": {
                "spec": {"properties": fields(spec)},
                "status": {"properties": {"migration": vms}}}}}}]}})
        };
        let told = |spec: &[&str], vm: &[&str], conversions| by_schema(&plan(spec, vm), conversions);
        assert_eq!(told(&["vms"], &["phase"], false), Some("2.9"));
        assert_eq!(told(&["vms", "type"], &["phase"], false), Some("2.10"));
        assert_eq!(told(&["type", "conversionTempStorageClass"], &["phase"], false), Some("2.11"));
        assert_eq!(told(&["type", "conversionTempStorageClass"], &["phase"], true), Some("2.12"));
        assert_eq!(told(&["type", "tagMapping"], &["phase"], false), Some("2.12"));
        assert_eq!(told(&["type", "tagMapping"], &["phase", "disksCopied"], true), Some("2.13 or newer"));
        assert_eq!(by_schema(&json!({"spec": {"versions": [{"name": "v1beta1"}]}}), true), None, "no schema, no guess");
    }
}
