//! MTV as its operator leaves it: OLM objects, ForkliftController, workloads, CRDs, Route, host Provider.

use serde_json::{Value, json};

use super::SeedOptions;
use super::cluster::{STAMP, condition, route};
use super::definitions;

const NAMESPACE: &str = "openshift-mtv";
const GROUP: &str = "forklift.konveyor.io";
const DEPLOYMENTS: &[&str] = &[
    "forklift-operator",
    "forklift-controller",
    "forklift-api",
    "forklift-validation",
    "forklift-volume-populator-controller",
    "forklift-ui-plugin",
];

/// `2.11` → `2.11.0`.
fn full_version(version: &str) -> String {
    let version = version.trim_start_matches('v');
    if version.split('.').count() < 3 { format!("{version}.0") } else { version.to_owned() }
}

/// The second number of the version.
fn minor(version: &str) -> u32 {
    full_version(version).split('.').nth(1).and_then(|minor| minor.parse().ok()).unwrap_or(u32::MAX)
}

/// Plural and object, in the order of creation.
pub fn objects(options: &SeedOptions) -> Vec<(&'static str, Value)> {
    let (version, minor) = (full_version(&options.mtv_version), minor(&options.mtv_version));
    let csv = format!("mtv-operator.v{version}");
    let mut settings = controller_spec(minor);
    // MTV migrates nothing warm from vSphere without; an inspection by itself names it.
    settings["vddk_image"] = json!("lab/vddk:latest");
    for (key, value) in &options.cluster.flags {
        settings[key.as_str()] = value.clone();
    }
    let own = || crds(&version, minor);
    let real = |crds: &Vec<Value>| crds.iter().map(|crd| ("customresourcedefinitions", crd.clone())).collect();
    let mut all: Vec<(&'static str, Value)> = options.mtv_crds.as_ref().map_or_else(own, real);
    all.push(("subscriptions", json!({"apiVersion": "operators.coreos.com/v1alpha1", "kind": "Subscription",
        "metadata": {"name": "mtv-operator", "namespace": NAMESPACE},
        "spec": {"name": "mtv-operator", "channel": format!("release-v2.{minor}"), "source": "redhat-operators", "sourceNamespace": "openshift-marketplace"},
        "status": {"installedCSV": csv, "currentCSV": csv, "state": "AtLatestKnown", "lastUpdated": STAMP}})));
    all.push(("clusterserviceversions", json!({"apiVersion": "operators.coreos.com/v1alpha1", "kind": "ClusterServiceVersion",
        "metadata": {"name": csv, "namespace": NAMESPACE},
        "spec": {"version": version, "displayName": "Migration Toolkit for Virtualization Operator", "install": {"strategy": "deployment"}},
        "status": {"phase": "Succeeded", "reason": "InstallSucceeded"}})));
    all.push(("forkliftcontrollers", json!({"apiVersion": format!("{GROUP}/v1beta1"), "kind": "ForkliftController",
        "metadata": {"name": "forklift-controller", "namespace": NAMESPACE, "finalizers": [format!("{GROUP}/finalizer")]},
        "spec": settings,
        "status": {"conditions": [
            {"type": "Running", "status": "True", "reason": "Successful", "message": "Awaiting next reconciliation", "lastTransitionTime": STAMP},
            {"type": "Successful", "status": "True", "reason": "Successful", "message": "Last reconciliation succeeded", "lastTransitionTime": STAMP},
            {"type": "Failure", "status": "False", "reason": "", "message": "", "lastTransitionTime": STAMP}]}})));
    for name in DEPLOYMENTS {
        let labels = json!({"app": "forklift", "name": name});
        let mut own = labels.clone();
        if *name == "forklift-controller" {
            // By them the inventory's Service finds it.
            own["control-plane"] = json!("controller-manager");
            own["controller-tools.k8s.io"] = json!("1.0");
        }
        let template =
            json!({"metadata": {"labels": own}, "spec": {"containers": [{"name": name, "image": options.mtv_image}]}});
        all.push(("deployments", json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
            "status": {"observedGeneration": 1, "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1, "availableReplicas": 1,
                "conditions": [condition("Available", "True"), condition("Progressing", "True")]}})));
        all.push(("pods", json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("{name}-0"), "namespace": NAMESPACE, "labels": own},
            "spec": {"nodeName": "worker-0", "containers": [{"name": name, "image": options.mtv_image}]},
            "status": {"phase": "Running", "conditions": [condition("Ready", "True")],
                "containerStatuses": [{"name": name, "ready": true, "restartCount": 0, "image": options.mtv_image, "imageID": ""}]}})));
    }
    all.push((
        "services",
        json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "forklift-inventory", "namespace": NAMESPACE},
        "spec": {"ports": [{"name": "api-https", "port": 8443, "targetPort": 8443, "protocol": "TCP"}], "selector": {
            "control-plane": "controller-manager", "controller-tools.k8s.io": "1.0"}}}),
    ));
    let mut inventory = route("forklift-inventory", NAMESPACE, &options.inventory_addr, None, "reencrypt");
    // As MTV's operator labels it; clients find it by them.
    inventory["metadata"]["labels"] = json!({"app": "forklift", "service": "forklift-inventory",
        "control-plane": "controller-manager", "controller-tools.k8s.io": "1.0"});
    all.push(("routes", inventory));
    all.push((
        "providers",
        json!({"apiVersion": format!("{GROUP}/v1beta1"), "kind": "Provider",
        "metadata": {"name": "host", "namespace": NAMESPACE}, "spec": {"type": "openshift", "secret": {}, "url": ""}}),
    ));
    all
}

/// The operator's defaults (forklift.md §9.2); up to 2.9 switches are booleans, later strings.
fn controller_spec(minor: u32) -> Value {
    let switch = |on: bool| if minor <= 9 { json!(on) } else { json!(on.to_string()) };
    let mut spec = json!({"controller_precopy_interval": 60, "controller_max_vm_inflight": 20});
    for name in ["feature_ui_plugin", "feature_validation", "feature_volume_populator", "feature_auth_required"] {
        spec[name] = switch(true);
    }
    spec["controller_ovirt_warm_migration"] = switch(true);
    spec["feature_copy_offload"] = switch(minor >= 11);
    if minor >= 10 {
        spec["feature_ocp_live_migration"] = switch(minor >= 11);
    }
    spec
}

/// With what OLM puts on them: whose they are, and which operator brought them.
fn crds(version: &str, minor: u32) -> Vec<(&'static str, Value)> {
    let owner = format!("mtv-operator.v{version}");
    let marked = |mut definition: Value| {
        definition["metadata"]["annotations"] = json!({
            "operatorframework.io/installed-alongside-lab": format!("{NAMESPACE}/{owner}"),
        });
        definition["metadata"]["labels"] =
            json!({"olm.managed": "true", format!("operators.coreos.com/mtv-operator.{NAMESPACE}"): ""});
        ("customresourcedefinitions", definition)
    };
    definitions::all(minor).into_iter().map(marked).collect()
}
