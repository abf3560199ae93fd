//! What native kinds get when they are created and the schema does not tell: the defaults that
//! Kubernetes' own code fills in, and what its admission adds. Fields that are there stay as they are.

use serde_json::{Value, json};

use super::resources::ResourceDef;
use super::store::metadata;
use super::write::now;

/// Sets what is missing or null.
fn missing(object: &mut Value, fields: &[(&str, Value)]) {
    for (field, value) in fields {
        if object.get(*field).is_none_or(Value::is_null) {
            object[*field] = value.clone();
        }
    }
}

fn each(object: &mut Value, pointer: &str, mut change: impl FnMut(&mut Value)) {
    for item in object.pointer_mut(pointer).and_then(Value::as_array_mut).into_iter().flatten() {
        change(item);
    }
}

/// What native kinds get when they are created.
pub(super) fn fill(def: &ResourceDef, object: &mut Value) {
    match (def.storage.0.as_str(), def.plural.as_str()) {
        ("storage.k8s.io", "storageclasses") => {
            missing(object, &[("reclaimPolicy", json!("Delete")), ("volumeBindingMode", json!("Immediate"))]);
        }
        ("rbac.authorization.k8s.io", "roles" | "clusterroles") => missing(object, &[("rules", Value::Null)]),
        ("rbac.authorization.k8s.io", _) => binding(object),
        ("", "events") => {
            let fields =
                [("eventTime", Value::Null), ("reportingComponent", json!("")), ("reportingInstance", json!(""))];
            missing(object, &fields);
        }
        ("", "services") => service(object),
        ("", "pods") => pod(object),
        ("", "podtemplates") => template(&mut object["template"]),
        ("", "replicationcontrollers") => {
            missing(&mut object["spec"], &[("replicas", json!(1))]);
            template(&mut object["spec"]["template"]);
            missing(object, &[("status", json!({"replicas": 0}))]);
        }
        ("", "namespaces" | "projects" | "projectrequests") => {
            object["spec"]["finalizers"] = json!(["kubernetes"]);
            object["status"] = json!({"phase": "Active"});
        }
        ("", "persistentvolumeclaims") => {
            object["status"] = json!({"phase": "Pending"});
            missing(&mut object["spec"], &[("volumeMode", json!("Filesystem"))]);
        }
        ("", "persistentvolumes") => {
            object["status"] = json!({"phase": "Available"});
            let fields = [("persistentVolumeReclaimPolicy", json!("Retain")), ("volumeMode", json!("Filesystem"))];
            missing(&mut object["spec"], &fields);
        }
        ("apps", plural) => workload(plural, object),
        ("batch", "jobs") => job(object),
        ("batch", "cronjobs") => cron_job(object),
        ("autoscaling", _) => missing(&mut object["spec"], &[("minReplicas", json!(1))]),
        ("networking.k8s.io", "networkpolicies") => network_policy(object),
        ("networking.k8s.io", "ingresses") => missing(object, &[("status", json!({"loadBalancer": {}}))]),
        ("scheduling.k8s.io", _) => missing(object, &[("preemptionPolicy", json!("PreemptLowerPriority"))]),
        ("policy", _) => missing(
            object,
            &[(
                "status",
                json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0}),
            )],
        ),
        ("admissionregistration.k8s.io", plural) => each(object, "/webhooks", |hook| webhook(plural, hook)),
        ("apiextensions.k8s.io", _) => definition(object),
        _ => {}
    }
}

fn binding(object: &mut Value) {
    missing(&mut object["roleRef"], &[("apiGroup", json!("rbac.authorization.k8s.io"))]);
    each(object, "/subjects", |subject| {
        if matches!(subject["kind"].as_str(), Some("User" | "Group")) {
            missing(subject, &[("apiGroup", json!("rbac.authorization.k8s.io"))]);
        }
    });
}

fn service(object: &mut Value) {
    let spec = &mut object["spec"];
    missing(spec, &[("type", json!("ClusterIP")), ("sessionAffinity", json!("None"))]);
    let external = spec["type"] == "ExternalName";
    each(spec, "/ports", |port| {
        let number = port["port"].clone();
        missing(port, &[("targetPort", number), ("protocol", json!("TCP"))]);
    });
    if !external {
        let fields = [
            ("internalTrafficPolicy", json!("Cluster")),
            ("ipFamilies", json!(["IPv4"])),
            ("ipFamilyPolicy", json!("SingleStack")),
        ];
        missing(spec, &fields);
        if spec["clusterIP"].as_str().is_none_or(str::is_empty) {
            spec["clusterIP"] = json!(address());
        }
        let own = spec["clusterIP"].clone();
        missing(spec, &[("clusterIPs", json!([own]))]);
    }
    if matches!(spec["type"].as_str(), Some("NodePort" | "LoadBalancer")) {
        missing(spec, &[("externalTrafficPolicy", json!("Cluster"))]);
        each(spec, "/ports", |port| missing(port, &[("nodePort", json!(node_port()))]));
    }
    if spec["type"] == "LoadBalancer" {
        missing(spec, &[("allocateLoadBalancerNodePorts", json!(true))]);
    }
    missing(object, &[("status", json!({"loadBalancer": {}}))]);
}

/// A service's address in 172.30.0.0/16, OpenShift's network for them. Random: that two services share
/// one matters to nobody here, since nothing is routed.
fn address() -> String {
    let random = uuid::Uuid::new_v4().into_bytes();
    format!("172.30.{}.{}", random[0], random[1].clamp(1, 254))
}

/// 30000 to 32767.
fn node_port() -> u16 {
    let random = uuid::Uuid::new_v4().into_bytes();
    30_000 + u16::from_be_bytes([random[0], random[1]]) % 2768
}

fn pod(object: &mut Value) {
    let tolerated =
        |key: &str| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
    pod_spec(&mut object["spec"]);
    let fields = [
        ("enableServiceLinks", json!(true)),
        ("serviceAccountName", json!("default")),
        ("preemptionPolicy", json!("PreemptLowerPriority")),
        ("priority", json!(0)),
    ];
    missing(&mut object["spec"], &fields);
    let account = object["spec"]["serviceAccountName"].clone();
    missing(&mut object["spec"], &[("serviceAccount", account)]);
    let wanted = [tolerated("node.kubernetes.io/not-ready"), tolerated("node.kubernetes.io/unreachable")];
    let tolerations = &mut object["spec"]["tolerations"];
    match tolerations.as_array_mut() {
        None => *tolerations = json!(wanted),
        Some(own) => {
            for toleration in wanted {
                if !own.iter().any(|t| t["key"] == toleration["key"]) {
                    own.push(toleration);
                }
            }
        }
    }
    let quality = quality(&object["spec"]);
    object["status"] = json!({"phase": "Pending", "qosClass": quality});
}

/// The class of service that a pod's requests and limits give it.
fn quality(spec: &Value) -> &'static str {
    let containers = || spec["containers"].as_array().into_iter().flatten();
    let amounts = |container: &Value, kind: &str| -> Vec<(String, Value)> {
        let of = container["resources"][kind].as_object().into_iter().flatten();
        let mut all: Vec<_> = of.map(|(name, amount)| (name.clone(), amount.clone())).collect();
        all.retain(|(name, _)| matches!(name.as_str(), "cpu" | "memory"));
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    };
    if containers().all(|c| amounts(c, "limits").is_empty() && amounts(c, "requests").is_empty()) {
        return "BestEffort";
    }
    let guaranteed = |c: &Value| amounts(c, "limits").len() == 2 && amounts(c, "limits") == amounts(c, "requests");
    if containers().all(guaranteed) { "Guaranteed" } else { "Burstable" }
}

fn template(template: &mut Value) {
    if template.is_object() {
        missing(template, &[("metadata", json!({}))]);
        pod_spec(&mut template["spec"]);
    }
}

fn pod_spec(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    let fields = [
        ("restartPolicy", json!("Always")),
        ("terminationGracePeriodSeconds", json!(30)),
        ("dnsPolicy", json!("ClusterFirst")),
        ("securityContext", json!({})),
        ("schedulerName", json!("default-scheduler")),
    ];
    missing(spec, &fields);
    // Two names for one field.
    let account = [&spec["serviceAccountName"], &spec["serviceAccount"]].into_iter().find(|v| v.is_string()).cloned();
    if let Some(account) = account {
        missing(spec, &[("serviceAccountName", account.clone()), ("serviceAccount", account)]);
    }
    for list in ["/containers", "/initContainers", "/ephemeralContainers"] {
        each(spec, list, container);
    }
    each(spec, "/volumes", volume);
}

fn container(container: &mut Value) {
    let image = container["image"].as_str().unwrap_or_default();
    let tag = image.rsplit('/').next().and_then(|name| name.split_once(':')).map_or("latest", |(_, tag)| tag);
    let pull = if tag == "latest" && !image.contains('@') { "Always" } else { "IfNotPresent" };
    let fields = [
        ("terminationMessagePath", json!("/dev/termination-log")),
        ("terminationMessagePolicy", json!("File")),
        ("imagePullPolicy", json!(pull)),
        ("resources", json!({})),
    ];
    missing(container, &fields);
    each(container, "/ports", |port| missing(port, &[("protocol", json!("TCP"))]));
    // What is limited and not asked for is asked for.
    for (name, amount) in container["resources"]["limits"].as_object().cloned().into_iter().flatten() {
        missing(&mut container["resources"], &[("requests", json!({}))]);
        missing(&mut container["resources"]["requests"], &[(&name, amount)]);
    }
    each(container, "/env", |env| {
        if let Some(reference) = env.pointer_mut("/valueFrom/fieldRef") {
            missing(reference, &[("apiVersion", json!("v1"))]);
        }
    });
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if !container[probe].is_object() {
            continue;
        }
        let fields = [
            ("timeoutSeconds", json!(1)),
            ("periodSeconds", json!(10)),
            ("successThreshold", json!(1)),
            ("failureThreshold", json!(3)),
        ];
        missing(&mut container[probe], &fields);
        if container[probe]["httpGet"].is_object() {
            missing(&mut container[probe]["httpGet"], &[("path", json!("/")), ("scheme", json!("HTTP"))]);
        }
    }
}

fn volume(volume: &mut Value) {
    const MODE: u16 = 0o644;
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if volume[source].is_object() {
            missing(&mut volume[source], &[("defaultMode", json!(MODE))]);
        }
    }
    if volume["hostPath"].is_object() {
        missing(&mut volume["hostPath"], &[("type", json!(""))]);
    }
    // A volume of nothing is an empty one.
    if volume.as_object().is_some_and(|fields| fields.len() == 1) {
        missing(volume, &[("emptyDir", json!({}))]);
    }
}

fn workload(plural: &str, object: &mut Value) {
    let spec = &mut object["spec"];
    template(&mut spec["template"]);
    let rolling = json!({"maxSurge": "25%", "maxUnavailable": "25%"});
    match plural {
        "deployments" => {
            let fields = [
                ("replicas", json!(1)),
                ("strategy", json!({"type": "RollingUpdate"})),
                ("revisionHistoryLimit", json!(10)),
                ("progressDeadlineSeconds", json!(600)),
            ];
            missing(spec, &fields);
            missing(&mut spec["strategy"], &[("type", json!("RollingUpdate"))]);
            if spec["strategy"]["type"] == "RollingUpdate" {
                missing(&mut spec["strategy"], &[("rollingUpdate", rolling)]);
            }
            missing(object, &[("status", json!({}))]);
        }
        "replicasets" => {
            missing(spec, &[("replicas", json!(1))]);
            missing(object, &[("status", json!({"replicas": 0}))]);
        }
        "statefulsets" => {
            let fields = [
                ("replicas", json!(1)),
                ("podManagementPolicy", json!("OrderedReady")),
                ("updateStrategy", json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})),
                ("revisionHistoryLimit", json!(10)),
                ("persistentVolumeClaimRetentionPolicy", json!({"whenDeleted": "Retain", "whenScaled": "Retain"})),
            ];
            missing(spec, &fields);
            missing(object, &[("status", json!({"replicas": 0, "availableReplicas": 0}))]);
        }
        "daemonsets" => {
            let update = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}});
            missing(spec, &[("updateStrategy", update), ("revisionHistoryLimit", json!(10))]);
            let status = json!({"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0});
            missing(object, &[("status", status)]);
        }
        _ => {}
    }
}

/// Also the selector and labels by which a Job's pods are its own.
fn job(object: &mut Value) {
    let (name, uid) = (metadata(object, "name").to_owned(), metadata(object, "uid").to_owned());
    let spec = &mut object["spec"];
    job_spec(spec);
    let fields = [("parallelism", json!(1)), ("podReplacementPolicy", json!("TerminatingOrFailed"))];
    missing(spec, &fields);
    if spec["completions"].is_null() {
        spec["completions"] = json!(1);
    }
    if spec["manualSelector"] != json!(true) {
        for (key, value) in [("controller-uid", &uid), ("job-name", &name)] {
            missing(&mut spec["template"]["metadata"], &[("labels", json!({}))]);
            let labels = &mut spec["template"]["metadata"]["labels"];
            missing(labels, &[(key, json!(value)), (&format!("batch.kubernetes.io/{key}"), json!(value))]);
        }
        missing(spec, &[("selector", json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}))]);
    }
    missing(object, &[("status", json!({}))]);
}

fn job_spec(spec: &mut Value) {
    template(&mut spec["template"]);
    let fields = [("backoffLimit", json!(6)), ("completionMode", json!("NonIndexed")), ("suspend", json!(false))];
    missing(spec, &fields);
}

fn cron_job(object: &mut Value) {
    let spec = &mut object["spec"];
    let fields = [
        ("concurrencyPolicy", json!("Allow")),
        ("suspend", json!(false)),
        ("successfulJobsHistoryLimit", json!(3)),
        ("failedJobsHistoryLimit", json!(1)),
    ];
    missing(spec, &fields);
    missing(&mut spec["jobTemplate"], &[("metadata", json!({}))]);
    template(&mut spec["jobTemplate"]["spec"]["template"]);
    missing(object, &[("status", json!({}))]);
}

fn network_policy(object: &mut Value) {
    let egress = object["spec"]["egress"].is_array();
    let types = if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
    missing(&mut object["spec"], &[("policyTypes", types)]);
    for list in ["/spec/ingress", "/spec/egress"] {
        each(object, list, |rule| each(rule, "/ports", |port| missing(port, &[("protocol", json!("TCP"))])));
    }
}

fn webhook(plural: &str, hook: &mut Value) {
    let fields = [
        ("failurePolicy", json!("Fail")),
        ("matchPolicy", json!("Equivalent")),
        ("namespaceSelector", json!({})),
        ("objectSelector", json!({})),
        ("timeoutSeconds", json!(10)),
    ];
    missing(hook, &fields);
    if plural.starts_with("mutating") {
        missing(hook, &[("reinvocationPolicy", json!("Never"))]);
    }
    each(hook, "/rules", |rule| missing(rule, &[("scope", json!("*"))]));
    if hook["clientConfig"]["service"].is_object() {
        missing(&mut hook["clientConfig"]["service"], &[("port", json!(443))]);
    }
}

fn definition(object: &mut Value) {
    missing(&mut object["spec"], &[("conversion", json!({"strategy": "None"}))]);
    let kind = object["spec"]["names"]["kind"].as_str().unwrap_or_default().to_owned();
    let names = [("singular", json!(kind.to_lowercase())), ("listKind", json!(format!("{kind}List")))];
    missing(&mut object["spec"]["names"], &names);
    let condition = |kind: &str, reason: &str, message: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now(), "reason": reason, "message": message});
    let versions = object["spec"]["versions"].as_array().into_iter().flatten();
    let stored: Vec<&Value> = versions.filter(|v| v["storage"] == json!(true)).map(|v| &v["name"]).collect();
    object["status"] = json!({
        "acceptedNames": object["spec"]["names"],
        "storedVersions": stored,
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_containers_image_tells_when_it_is_pulled() {
        let policy = |image: &str| {
            let mut one = json!({"name": "c", "image": image});
            container(&mut one);
            one["imagePullPolicy"].clone()
        };
        assert_eq!(policy("nginx"), "Always");
        assert_eq!(policy("registry:5000/nginx:latest"), "Always");
        assert_eq!(policy("registry:5000/nginx:1.2"), "IfNotPresent");
        assert_eq!(policy("nginx@sha256:0"), "IfNotPresent");
    }

    #[test]
    fn what_is_set_stays_and_what_is_missing_comes() {
        let mut spec = json!({"restartPolicy": "Never", "serviceAccountName": "robot",
            "volumes": [{"name": "a", "secret": {"secretName": "s"}}, {"name": "b"}],
            "containers": [{"name": "c", "image": "i:1", "resources": {"limits": {"cpu": "1"}},
                "livenessProbe": {"httpGet": {"port": 80}, "periodSeconds": 3}}]});
        pod_spec(&mut spec);
        assert_eq!((&spec["restartPolicy"], &spec["serviceAccount"]), (&json!("Never"), &json!("robot")));
        assert_eq!(spec["volumes"][0]["secret"]["defaultMode"], 420);
        assert_eq!(spec["volumes"][1], json!({"name": "b", "emptyDir": {}}));
        let own = &spec["containers"][0];
        assert_eq!(own["resources"]["requests"], json!({"cpu": "1"}));
        assert_eq!(
            (&own["livenessProbe"]["periodSeconds"], &own["livenessProbe"]["timeoutSeconds"]),
            (&json!(3), &json!(1))
        );
        assert_eq!(quality(&spec), "Burstable");
    }

    #[test]
    fn a_jobs_pods_bear_its_name_and_uid() {
        let mut object =
            json!({"metadata": {"name": "j", "uid": "u"}, "spec": {"template": {"spec": {"containers": []}}}});
        job(&mut object);
        let spec = &object["spec"];
        assert_eq!(spec["selector"]["matchLabels"], json!({"batch.kubernetes.io/controller-uid": "u"}));
        assert_eq!(spec["template"]["metadata"]["labels"]["batch.kubernetes.io/job-name"], "j");
        assert_eq!((&spec["completions"], &spec["backoffLimit"]), (&json!(1), &json!(6)));
    }
}
