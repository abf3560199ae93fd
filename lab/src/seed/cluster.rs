//! OpenShift itself: namespaces, nodes, version, storage, virtualization, monitoring.

use serde_json::{Value, json};

use super::SeedOptions;
use crate::api::world::{Node, Role, StorageClass};

/// When the lab's world began.
pub const STAMP: &str = "2026-01-01T00:00:00Z";
/// OpenShift's own operators; oc misses each that is not there.
const OPERATORS: &[&str] = &[
    "authentication",
    "cloud-credential",
    "cluster-autoscaler",
    "config-operator",
    "console",
    "dns",
    "etcd",
    "image-registry",
    "ingress",
    "insights",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-storage-version-migrator",
    "machine-api",
    "machine-approver",
    "machine-config",
    "marketplace",
    "monitoring",
    "network",
    "openshift-apiserver",
    "openshift-controller-manager",
    "operator-lifecycle-manager",
    "service-ca",
    "storage",
];
/// Where the golden images are.
const IMAGES: &str = "openshift-virtualization-os-images";
const NAMESPACES: &[&str] = &[
    "default",
    "kube-system",
    "kube-public",
    "kube-node-lease",
    "openshift",
    "openshift-mtv",
    "openshift-cnv",
    "openshift-monitoring",
    "openshift-ingress",
    "openshift-config",
    "openshift-storage",
    IMAGES,
];

/// Plural and object, in the order of creation.
pub fn objects(options: &SeedOptions) -> Vec<(&'static str, Value)> {
    let mut all: Vec<(&'static str, Value)> = NAMESPACES
        .iter()
        .map(|name| {
            (
                "namespaces",
                json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}}),
            )
        })
        .collect();
    all.extend(super::roles::objects());
    if options.own_server {
        all.push(("services", api_service()));
        all.extend(api_endpoints(&options.api_url));
    }
    all.extend(options.cluster.nodes.iter().map(|it| ("nodes", node(it))));
    let release = |state: Option<&str>| {
        let mut release =
            json!({"version": options.ocp_version, "image": "quay.io/openshift-release-dev/ocp-release@sha256:lab"});
        if let Some(state) = state {
            release["state"] = json!(state);
            release["startedTime"] = json!(STAMP);
            release["completionTime"] = json!(STAMP);
            release["verified"] = json!(true);
        }
        release
    };
    all.push(("clusterversions", json!({"apiVersion": "config.openshift.io/v1", "kind": "ClusterVersion",
        "metadata": {"name": "version"}, "spec": {"clusterID": "00000000-0000-4000-8000-000000000001", "channel": "stable"},
        "status": {"desired": release(None), "history": [release(Some("Completed"))], "availableUpdates": null,
            "observedGeneration": 1, "versionHash": "lab", "conditions": settled(&format!("Cluster version is {}", options.ocp_version), "Failing")}})));
    if options.own_server {
        all.extend(OPERATORS.iter().map(|name| ("clusteroperators", operator(name, &options.ocp_version))));
        all.push(("imagestreams", must_gather()));
    }
    if let Some(address) = &options.upload_addr {
        // What clients ask before they make claims: how much of a file system is its own.
        let classes = options.cluster.storage_classes.iter().map(|class| (class.name.clone(), json!("0.06")));
        let overhead = json!({"global": "0.06", "storageClass": classes.collect::<serde_json::Map<_, _>>()});
        all.push(("cdiconfigs", json!({"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "CDIConfig", "metadata": {"name": "config"},
            "spec": {}, "status": {"uploadProxyURL": format!("https://{address}"), "filesystemOverhead": overhead, "preallocation": false}})));
        all.push(("routes", route("cdi-uploadproxy", "openshift-cnv", address, None, "reencrypt")));
    }
    storage(&mut all, &options.cluster.storage_classes);
    images(&mut all);
    all.push((
        "kubevirts",
        json!({"apiVersion": "kubevirt.io/v1", "kind": "KubeVirt",
        "metadata": {"name": "kubevirt-kubevirt-hyperconverged", "namespace": "openshift-cnv"},
        "spec": {"configuration": {"developerConfiguration": {"featureGates": ["DecentralizedLiveMigration"]}}},
        "status": {"phase": "Deployed", "observedKubeVirtVersion": "v1.6.2", "operatorVersion": "v1.6.2",
            "targetKubeVirtVersion": "v1.6.2", "conditions": [condition("Available", "True")]}}),
    ));
    all.push((
        "routes",
        route("thanos-querier", "openshift-monitoring", &options.thanos_addr, Some("/api"), "reencrypt"),
    ));
    all
}

/// What a part of OpenShift says when all is well; `worst` is what does not hold then.
fn settled(message: &str, worst: &str) -> Value {
    let mut progressing = condition("Progressing", "False");
    progressing["message"] = json!(message);
    json!([condition("Available", "True"), progressing, condition(worst, "False"), condition("Upgradeable", "True")])
}

fn operator(name: &str, version: &str) -> Value {
    json!({"apiVersion": "config.openshift.io/v1", "kind": "ClusterOperator", "metadata": {"name": name}, "spec": {},
        "status": {"conditions": settled("", "Degraded"), "versions": [{"name": "operator", "version": version}]}})
}

/// The image that `oc adm must-gather` runs where none is named.
fn must_gather() -> Value {
    let image = "quay.io/openshift-release-dev/ocp-v4.0-art-dev@sha256:\
        6c61622d6d7573742d6761746865722d6c61622d6d7573742d67617468657221";
    json!({"apiVersion": "image.openshift.io/v1", "kind": "ImageStream",
        "metadata": {"name": "must-gather", "namespace": "openshift"},
        "spec": {"tags": [{"name": "latest", "from": {"kind": "DockerImage", "name": image}}]},
        "status": {"dockerImageRepository": "", "tags": [{"tag": "latest", "items": [
            {"created": STAMP, "dockerImageReference": image, "generation": 1, "image": "sha256:6c6162"}]}]}})
}

/// Where the `kubernetes` Service leads: to the lab's server itself, on loopback as it is.
fn api_endpoints(url: &str) -> [(&'static str, Value); 2] {
    let (host, port) = url.trim_start_matches("https://").rsplit_once(':').unwrap_or((url, ""));
    let port: u16 = port.parse().unwrap_or_default();
    let metadata = json!({"name": "kubernetes", "namespace": "default",
        "labels": {"endpointslice.kubernetes.io/skip-mirror": "true", "kubernetes.io/service-name": "kubernetes"}});
    let ports = json!([{"name": "https", "port": port, "protocol": "TCP"}]);
    [
        (
            "endpoints",
            json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata,
            "subsets": [{"addresses": [{"ip": host}], "ports": ports}]}),
        ),
        (
            "endpointslices",
            json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
            "addressType": "IPv4", "endpoints": [{"addresses": [host], "conditions": {"ready": true}}], "ports": ports}),
        ),
    ]
}

/// The address by which pods reach the API.
fn api_service() -> Value {
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {"clusterIP": "172.30.0.1", "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]}})
}

pub fn condition(kind: &str, status: &str) -> Value {
    json!({"type": kind, "status": status, "reason": "AsExpected", "message": "", "lastTransitionTime": STAMP})
}

/// An admitted Route.
pub fn route(name: &str, namespace: &str, host: &str, path: Option<&str>, termination: &str) -> Value {
    let mut route = json!({"apiVersion": "route.openshift.io/v1", "kind": "Route",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"host": host, "to": {"kind": "Service", "name": name, "weight": 100},
            "tls": {"termination": termination, "insecureEdgeTerminationPolicy": "Redirect"}, "wildcardPolicy": "None"},
        "status": {"ingress": [{"host": host, "routerName": "default", "wildcardPolicy": "None",
            "conditions": [{"type": "Admitted", "status": "True", "lastTransitionTime": STAMP}]}]}});
    if let Some(path) = path {
        route["spec"]["path"] = json!(path);
    }
    route
}

fn node(it: &Node) -> Value {
    let resources = json!({"cpu": it.cpus.to_string(), "memory": it.memory.to_string(), "pods": "250",
        "devices.kubevirt.io/kvm": "1k"});
    let name = &it.name;
    let (role, schedulable) = match it.role {
        Role::Worker => ("worker", "true"),
        Role::ControlPlane => ("control-plane", "false"),
    };
    let mut labels = json!({"kubernetes.io/hostname": name, "kubernetes.io/os": "linux",
        "topology.kubernetes.io/region": "us-east-1", "topology.kubernetes.io/zone": "us-east-1a",
        "kubernetes.io/arch": "amd64", format!("node-role.kubernetes.io/{role}"): "",
        "kubevirt.io/schedulable": schedulable});
    for (key, value) in &it.labels {
        labels[key.as_str()] = json!(value);
    }
    json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {},
        "status": {"capacity": resources, "allocatable": resources,
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status",
                "lastHeartbeatTime": STAMP, "lastTransitionTime": STAMP}],
            "addresses": [{"type": "Hostname", "address": name}],
            "nodeInfo": {"architecture": "amd64", "bootID": "", "containerRuntimeVersion": "cri-o://1.33", "kernelVersion": "5.14",
                "kubeProxyVersion": "", "kubeletVersion": "v1.33.5", "machineID": "", "operatingSystem": "linux",
                "osImage": "Red Hat Enterprise Linux CoreOS", "systemUUID": ""}}})
}

fn storage(all: &mut Vec<(&'static str, Value)>, classes: &[StorageClass]) {
    for StorageClass { name, provisioner, default, claims } in classes {
        let flag = default.to_string();
        all.push(("storageclasses", json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
            "metadata": {"name": name, "annotations": {"storageclass.kubernetes.io/is-default-class": flag,
                "storageclass.kubevirt.io/is-default-virt-class": flag}},
            "provisioner": provisioner, "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate", "allowVolumeExpansion": true})));
        let sets: Vec<Value> =
            claims.iter().map(|claim| json!({"accessModes": [claim.access], "volumeMode": claim.mode})).collect();
        all.push(("storageprofiles", json!({"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "StorageProfile",
            "metadata": {"name": name}, "spec": {},
            "status": {"storageClass": name, "provisioner": provisioner, "cloneStrategy": "csi-clone", "claimPropertySets": sets,
                "conditions": [{"type": "Recognized", "status": "True", "reason": "RecognizedProvisioner", "message": "Provisioner is recognized"}]}})));
    }
}

/// What VMs are made from: boot images, instance types, a preference.
fn images(all: &mut Vec<(&'static str, Value)>) {
    for (name, cpus, memory) in [("u1.small", 1, "2Gi"), ("u1.medium", 1, "4Gi"), ("u1.large", 2, "8Gi")] {
        all.push((
            "virtualmachineclusterinstancetypes",
            json!({"apiVersion": "instancetype.kubevirt.io/v1beta1", "kind": "VirtualMachineClusterInstancetype",
                "metadata": {"name": name, "labels": {"instancetype.kubevirt.io/vendor": "redhat.com"}},
                "spec": {"cpu": {"guest": cpus}, "memory": {"guest": memory}}}),
        ));
    }
    all.push((
        "virtualmachineclusterpreferences",
        json!({"apiVersion": "instancetype.kubevirt.io/v1beta1", "kind": "VirtualMachineClusterPreference",
            "metadata": {"name": "rhel.9", "labels": {"instancetype.kubevirt.io/vendor": "redhat.com"}},
            "spec": {"cpu": {"preferredCPUTopology": "sockets"},
                "devices": {"preferredDiskBus": "virtio", "preferredInterfaceModel": "virtio"},
                "firmware": {"preferredUseEfi": true, "preferredUseSecureBoot": true}}}),
    ));
    for name in ["rhel9", "rhel8"] {
        let source = json!({"snapshot": {"name": format!("{name}-lab"), "namespace": IMAGES}});
        all.push((
            "datasources",
            json!({"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataSource",
                "metadata": {"name": name, "namespace": IMAGES}, "spec": {"source": source},
                "status": {"source": source, "conditions": [
                    {"type": "Ready", "status": "True", "reason": "Ready", "message": "DataSource is ready to be consumed",
                        "lastTransitionTime": STAMP}]}}),
        ));
    }
}
