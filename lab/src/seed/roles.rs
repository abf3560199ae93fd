//! The ClusterRoles that every cluster has, as far as bindings name them: who binds a service account to
//! `view` must find that it sees something.

use serde_json::{Value, json};

const READ: [&str; 3] = ["get", "list", "watch"];
const WRITE: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

/// What users of a project work with, by API group.
const EVERYDAY: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "configmaps",
            "endpoints",
            "events",
            "persistentvolumeclaims",
            "persistentvolumeclaims/status",
            "pods",
            "pods/log",
            "pods/status",
            "replicationcontrollers",
            "replicationcontrollers/scale",
            "serviceaccounts",
            "services",
            "services/status",
        ],
    ),
    (
        "apps",
        &[
            "controllerrevisions",
            "daemonsets",
            "deployments",
            "deployments/scale",
            "replicasets",
            "replicasets/scale",
            "statefulsets",
            "statefulsets/scale",
        ],
    ),
    ("autoscaling", &["horizontalpodautoscalers"]),
    ("batch", &["cronjobs", "jobs"]),
    ("discovery.k8s.io", &["endpointslices"]),
    ("networking.k8s.io", &["ingresses", "networkpolicies"]),
    ("policy", &["poddisruptionbudgets"]),
    ("route.openshift.io", &["routes", "routes/custom-host"]),
    ("kubevirt.io", &["virtualmachines", "virtualmachineinstances", "virtualmachineinstancemigrations"]),
    (
        "subresources.kubevirt.io",
        &[
            "virtualmachines/start",
            "virtualmachines/stop",
            "virtualmachines/restart",
            "virtualmachines/addvolume",
            "virtualmachines/removevolume",
            "virtualmachines/expand-spec",
            "virtualmachines/portforward",
            "virtualmachineinstances/portforward",
            "virtualmachineinstances/console",
            "virtualmachineinstances/vnc",
            "virtualmachineinstances/pause",
            "virtualmachineinstances/unpause",
            "virtualmachineinstances/freeze",
            "virtualmachineinstances/unfreeze",
            "virtualmachineinstances/reset",
            "virtualmachineinstances/softreboot",
            "virtualmachineinstances/guestosinfo",
            "virtualmachineinstances/userlist",
            "virtualmachineinstances/filesystemlist",
        ],
    ),
    ("cdi.kubevirt.io", &["datasources", "datavolumes"]),
    ("metrics.k8s.io", &["nodes", "pods"]),
    ("k8s.cni.cncf.io", &["network-attachment-definitions"]),
];
/// What only those who run a project may change, and viewers don't see.
const SECRETS: &[(&str, &[&str])] = &[
    ("", &["secrets", "serviceaccounts/token", "pods/attach", "pods/exec", "pods/portforward"]),
    ("upload.cdi.kubevirt.io", &["uploadtokenrequests"]),
];
const ACCESS: &[(&str, &[&str])] = &[
    ("rbac.authorization.k8s.io", &["rolebindings", "roles"]),
    ("authorization.k8s.io", &["localsubjectaccessreviews"]),
];
const ANY: [&str; 1] = ["*"];

fn rules(of: &[(&str, &[&str])], verbs: &[&str]) -> Vec<Value> {
    of.iter().map(|(group, resources)| json!({"apiGroups": [group], "resources": resources, "verbs": verbs})).collect()
}

fn role(name: &str, rules: Vec<Value>) -> (&'static str, Value) {
    (
        "clusterroles",
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
                "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"}},
            "rules": rules}),
    )
}

/// What KubeVirt's operator brings: what a project's admin, editor and viewer may do with VMs, and who may move them.
fn virtualization() -> [(&'static str, Value); 4] {
    let of = |wanted: &'static str| EVERYDAY.iter().filter(move |(group, _)| group.ends_with(wanted)).copied();
    let all: Vec<_> = of("kubevirt.io").collect();
    let vms: Vec<_> = of("kubevirt.io").filter(|(group, _)| *group == "kubevirt.io").collect();
    let moves: [(&str, &[&str]); 2] = [
        ("subresources.kubevirt.io", &["virtualmachines/migrate"]),
        ("kubevirt.io", &["virtualmachineinstancemigrations"]),
    ];
    [
        role("kubevirt.io:admin", rules(&all, &WRITE)),
        role("kubevirt.io:edit", rules(&all, &WRITE)),
        role("kubevirt.io:view", rules(&vms, &READ)),
        role("kubevirt.io:migrate", rules(&moves, &WRITE)),
    ]
}

/// Plural and object.
pub fn objects() -> Vec<(&'static str, Value)> {
    let (view, edit) = (rules(EVERYDAY, &READ), [rules(EVERYDAY, &WRITE), rules(SECRETS, &WRITE)].concat());
    let admin = [edit.clone(), rules(ACCESS, &WRITE)].concat();
    let project =
        |verbs: &[&str]| json!({"apiGroups": ["project.openshift.io"], "resources": ["projects"], "verbs": verbs});
    let everything = json!({"apiGroups": ANY, "resources": ANY, "verbs": ANY});
    let urls = json!({"nonResourceURLs": ANY, "verbs": ANY});
    let reviews = |verbs: &[&str]| json!({"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": verbs});
    let tokens = json!({"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]});
    let requests = |verbs: &[&str]| json!({"apiGroups": ["project.openshift.io"], "resources": ["projectrequests"], "verbs": verbs});
    let oneself =
        json!({"apiGroups": ["user.openshift.io"], "resources": ["users"], "resourceNames": ["~"], "verbs": ["get"]});
    let mut all = vec![
        role("cluster-admin", vec![everything, urls]),
        role("admin", [admin, vec![project(&["get", "patch", "update", "delete"])]].concat()),
        role("edit", [edit, vec![project(&["get"])]].concat()),
        role("view", [view, vec![project(&["get"])]].concat()),
        role("cluster-reader", vec![json!({"apiGroups": ANY, "resources": ANY, "verbs": READ})]),
        role("self-provisioner", vec![requests(&["create"])]),
        role("basic-user", vec![oneself, project(&["list", "watch"]), requests(&["list"])]),
        role("system:auth-delegator", vec![tokens, reviews(&["create"])]),
    ];
    all.extend(virtualization());
    all.push((
        "clusterrolebindings",
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "cluster-admin"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:masters"}]}),
    ));
    all
}
