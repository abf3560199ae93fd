//! Objects and logs as files in the layout of a must-gather, so that its tools (`omc`) read them: objects of Kubernetes' own
//! groups a list a namespace, all others a file each, logs below their pod.
//!
//! Secrets and ConfigMaps are never read.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::stream::{self, StreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, DynamicObject, ListParams, LogParams};
use kube::core::{ApiResource, GroupVersionKind, TypeMeta};
use serde_json::{Value, json};

use super::hide_user_data;
use crate::api::pods::SeenPod;
use crate::cluster::apply::{code_of, dynamic_api};
use crate::cluster::connect::had_no_answer;
use crate::cluster::{Cluster, retry};
use crate::forklift::{CLUSTER_VERSION, DEFINITIONS, WAITED_FOR};

/// Requests at once.
const AT_ONCE: usize = 6;
/// Lines, and bytes, of each container's log.
const LOG_LINES: i64 = 20_000;
const LOG_BYTES: i64 = 8 << 20;

/// Nodes of a cluster whose kubelet has not answered: each log of theirs would take its longest time, and what comes
/// after them would not be gathered at all.
#[derive(Default)]
pub(super) struct Silent(Mutex<BTreeSet<String>>);

impl Silent {
    fn nodes(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Group, version, kind, plural.
pub(super) type Kind = (&'static str, &'static str, &'static str, &'static str);

/// Of the namespaces of a cell and of its run.
const OF_CELL: [Kind; 14] = [
    ("forklift.konveyor.io", "v1beta1", "Plan", "plans"),
    ("forklift.konveyor.io", "v1beta1", "Migration", "migrations"),
    ("forklift.konveyor.io", "v1beta1", "StorageMap", "storagemaps"),
    ("forklift.konveyor.io", "v1beta1", "NetworkMap", "networkmaps"),
    ("forklift.konveyor.io", "v1beta1", "Hook", "hooks"),
    ("forklift.konveyor.io", "v1beta1", "Provider", "providers"),
    ("k8s.cni.cncf.io", "v1", "NetworkAttachmentDefinition", "network-attachment-definitions"),
    ("kubevirt.io", "v1", "VirtualMachine", "virtualmachines"),
    ("kubevirt.io", "v1", "VirtualMachineInstance", "virtualmachineinstances"),
    ("cdi.kubevirt.io", "v1beta1", "DataVolume", "datavolumes"),
    ("batch", "v1", "Job", "jobs"),
    ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    ("", "v1", "Pod", "pods"),
    ("", "v1", "Event", "events"),
];

/// Of MTV's own namespace.
pub(super) const OF_MTV: [Kind; 7] = [
    ("forklift.konveyor.io", "v1beta1", "ForkliftController", "forkliftcontrollers"),
    ("forklift.konveyor.io", "v1beta1", "Provider", "providers"),
    ("operators.coreos.com", "v1alpha1", "ClusterServiceVersion", "clusterserviceversions"),
    ("operators.coreos.com", "v1alpha1", "Subscription", "subscriptions"),
    ("apps", "v1", "Deployment", "deployments"),
    ("", "v1", "Pod", "pods"),
    ("", "v1", "Event", "events"),
];

/// Of the cluster.
pub(super) const OF_CLUSTER: [Kind; 3] = [
    ("", "v1", "Node", "nodes"),
    ("storage.k8s.io", "v1", "StorageClass", "storageclasses"),
    ("cdi.kubevirt.io", "v1beta1", "StorageProfile", "storageprofiles"),
];

/// What a step of the pipeline waits for says why it failed; the Plan says only that it did.
pub(super) fn of_cell() -> Vec<Kind> {
    let waited_for = WAITED_FOR.iter().map(|(kind, plural)| ("forklift.konveyor.io", "v1beta1", *kind, *plural));
    OF_CELL.into_iter().chain(waited_for).collect()
}

/// A file of the folder.
#[derive(Debug, PartialEq)]
pub(super) struct File {
    /// Below the folder.
    pub path: String,
    /// The kind of what it holds.
    pub what: String,
    pub text: String,
}

/// What was read, and what this login could not read, each with the reason.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub files: Vec<File>,
    pub unread: Vec<String>,
}

impl Gathered {
    fn add(&mut self, other: Self) {
        self.files.extend(other.files);
        self.unread.extend(other.unread);
    }
}

/// A name as part of a path: whoever wrote it, it leads nowhere else.
fn part(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    let name: String = name.chars().map(safe).collect();
    if name.starts_with('.') { name.replacen('.', "_", 1) } else { name }
}

/// Kubernetes' own groups are gathered a list a namespace.
fn is_listed(group: &str) -> bool {
    matches!(group, "" | "apps" | "batch")
}

fn yaml(value: &Value) -> String {
    serde_saphyr::to_string(value).unwrap_or_else(|error| format!("# failed to write as YAML: {error}\n"))
}

/// An object as it is written down: whole, with its kind, without what nobody reads.
fn whole(mut object: DynamicObject, resource: &ApiResource) -> Value {
    // Items of a list do not tell their kind, and who reads the file wants to know.
    let types = TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() };
    object.types.get_or_insert(types);
    object.metadata.managed_fields = None;
    hide_user_data(&mut object.data);
    serde_json::to_value(object).unwrap_or_default()
}

/// Every object of these kinds in a namespace; `None`: of the cluster.
pub(super) async fn objects(cluster: &Cluster, kinds: &[Kind], namespace: Option<&str>) -> Gathered {
    let lists = stream::iter(kinds).map(|kind| listed(cluster, *kind, namespace)).buffered(AT_ONCE);
    lists
        .fold(Gathered::default(), |mut all, one| async {
            all.add(one);
            all
        })
        .await
}

async fn listed(cluster: &Cluster, (group, version, kind, plural): Kind, namespace: Option<&str>) -> Gathered {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
    let items = match dynamic_api(cluster, &resource, namespace).list(&ListParams::default()).await {
        Ok(list) => list.items,
        // A kind that this cluster does not have is no loss.
        Err(error) if code_of(&error) == Some(404) => return Gathered::default(),
        Err(error) => {
            let place = namespace.map(|name| format!(" of {name}")).unwrap_or_default();
            let unread = vec![format!("{plural}{place}: {}", retry::short(&error))];
            return Gathered { unread, ..Gathered::default() };
        }
    };
    let place = match namespace {
        Some(name) => format!("namespaces/{}", part(name)),
        None => "cluster-scoped-resources".to_owned(),
    };
    let folder = format!("{place}/{}", if group.is_empty() { "core" } else { group });
    let file = |path: String, content: &Value| File { path, what: kind.to_owned(), text: yaml(content) };
    let files = if items.is_empty() {
        Vec::new()
    } else if namespace.is_some() && is_listed(group) {
        let items: Vec<Value> = items.into_iter().map(|item| whole(item, &resource)).collect();
        let list = json!({"apiVersion": resource.api_version, "kind": format!("{kind}List"), "items": items});
        vec![file(format!("{folder}/{plural}.yaml"), &list)]
    } else {
        let each = |item: DynamicObject| {
            let path = format!("{folder}/{plural}/{}.yaml", part(&item.name_any()));
            file(path, &whole(item, &resource))
        };
        items.into_iter().map(each).collect()
    };
    Gathered { files, unread: Vec::new() }
}

/// One object of the cluster, where there is such a thing: its file, and the object.
async fn one(cluster: &Cluster, (group, version, kind, plural): Kind, name: &str) -> Result<Option<Value>, String> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
    match dynamic_api(cluster, &resource, None).get(name).await {
        Ok(object) => Ok(Some(whole(object, &resource))),
        Err(error) if code_of(&error) == Some(404) => Ok(None),
        Err(error) => Err(format!("{plural} {name}: {}", retry::short(&error))),
    }
}

/// A namespace itself, and since when it is there.
pub(super) async fn namespace(cluster: &Cluster, name: &str) -> (Gathered, Option<Timestamp>) {
    match one(cluster, ("", "v1", "Namespace", "namespaces"), name).await {
        Ok(Some(object)) => {
            let since = object.pointer("/metadata/creationTimestamp").and_then(Value::as_str);
            let since = since.and_then(|at| at.parse().ok());
            let path = format!("namespaces/{0}/{0}.yaml", part(name));
            let file = File { path, what: "Namespace".to_owned(), text: yaml(&object) };
            (Gathered { files: vec![file], unread: Vec::new() }, since)
        }
        Ok(None) => (Gathered::default(), None),
        Err(why) => (Gathered { files: Vec::new(), unread: vec![why] }, None),
    }
}

/// What tells a reader of the folder which kinds there are (without their schemas, which are most of them), and which
/// version the cluster has.
pub(super) async fn definitions(cluster: &Cluster) -> Gathered {
    let crd: Kind = ("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions");
    let wanted = DEFINITIONS.iter().map(|name| (crd, *name)).chain([(CLUSTER_VERSION, "version")]);
    let read = stream::iter(wanted).map(|(kind, name)| async move { (kind, name, one(cluster, kind, name).await) });
    let mut all = Gathered::default();
    for (kind, name, read) in read.buffered(AT_ONCE).collect::<Vec<_>>().await {
        match read {
            Ok(Some(mut object)) => {
                let versions = object.pointer_mut("/spec/versions").and_then(Value::as_array_mut);
                for version in versions.into_iter().flatten() {
                    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
                    version["schema"] = json!({"openAPIV3Schema": any});
                }
                let path = format!("cluster-scoped-resources/{}/{}/{name}.yaml", kind.0, kind.3);
                all.files.push(File { path, what: kind.2.to_owned(), text: yaml(&object) });
            }
            Ok(None) => {}
            Err(why) => all.unread.push(why),
        }
    }
    all
}

/// The pods of a namespace with their logs: of each container that has begun, and of the one before it where it has begun
/// anew. `since`: what was told before is left out.
pub(super) async fn logs(cluster: &Cluster, namespace: &str, since: Option<Timestamp>, silent: &Silent) -> Gathered {
    let api: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let pods = match api.list(&ListParams::default()).await {
        Ok(list) => list.items,
        Err(error) => {
            let unread = vec![format!("pods of {namespace}: {}", retry::short(&error))];
            return Gathered { unread, ..Gathered::default() };
        }
    };
    let each = stream::iter(pods).map(|pod| of_pod(&api, namespace, pod, since, silent)).buffered(AT_ONCE);
    each.fold(Gathered::default(), |mut all, one| async {
        all.add(one);
        all
    })
    .await
}

/// The one container of a pod of MTV's populators.
const POPULATES: &str = "populate";

/// Populators' pods as they were seen last, each with its log, and their objects.
pub(super) fn gone(namespace: &str, pods: &[SeenPod], objects: Vec<Value>) -> Gathered {
    let mut all = Gathered::default();
    let namespace = part(namespace);
    for pod in pods {
        let folder = format!("namespaces/{namespace}/pods/{}", part(&pod.name));
        let object = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": pod.name, "namespace": namespace, "labels": pod.labels, "creationTimestamp": pod.created},
            "status": {"phase": pod.phase}});
        let path = format!("{folder}/{}.yaml", part(&pod.name));
        all.files.push(File { path, what: "Pod".to_owned(), text: yaml(&object) });
        if !pod.log.is_empty() {
            let path = format!("{folder}/{POPULATES}/{POPULATES}/logs/current.log");
            all.files.push(File { path, what: "log".to_owned(), text: pod.log.clone() });
        }
        all.unread.extend(pod.unread.as_ref().map(|why| format!("log of {}: {why}", pod.name)));
    }
    for mut object in objects {
        let name = part(object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default());
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        let path = format!("namespaces/{namespace}/forklift.konveyor.io/{}s/{name}.yaml", kind.to_lowercase());
        all.files.push(File { path, what: kind, text: yaml(&object) });
    }
    all
}

async fn of_pod(api: &Api<Pod>, namespace: &str, mut pod: Pod, since: Option<Timestamp>, silent: &Silent) -> Gathered {
    let name = pod.name_any();
    let folder = format!("namespaces/{}/pods/{}", part(namespace), part(&name));
    pod.metadata.managed_fields = None;
    let mut object = serde_json::to_value(&pod).unwrap_or_default();
    hide_user_data(&mut object);
    let file = File { path: format!("{folder}/{}.yaml", part(&name)), what: "Pod".to_owned(), text: yaml(&object) };
    let mut all = Gathered { files: vec![file], unread: Vec::new() };
    let status = pod.status.unwrap_or_default();
    let told = status.init_container_statuses.into_iter().chain(status.container_statuses).flatten();
    let restarted: Vec<String> = told.filter(|one| one.restart_count > 0).map(|one| one.name).collect();
    let spec = pod.spec.unwrap_or_default();
    let node = spec.node_name.unwrap_or_default();
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    for container in containers.map(|container| container.name.clone()) {
        for previous in [false, true] {
            if previous && !restarted.contains(&container) {
                continue;
            }
            let params = LogParams {
                container: Some(container.clone()),
                tail_lines: Some(LOG_LINES),
                limit_bytes: Some(LOG_BYTES),
                since_time: since.filter(|_| !previous),
                previous,
                ..LogParams::default()
            };
            if silent.nodes().contains(&node) {
                all.unread.push(format!("log of {name}/{container}: {node} tells none"));
                continue;
            }
            match api.logs(&name, &params).await {
                Ok(text) if !text.is_empty() => {
                    let log = if previous { "previous.log" } else { "current.log" };
                    let path = format!("{folder}/{0}/{0}/logs/{log}", part(&container));
                    all.files.push(File { path, what: "log".to_owned(), text });
                }
                // It has told nothing yet, or has not begun (400), or is gone.
                Ok(_) => {}
                Err(error) if matches!(code_of(&error), Some(400 | 404)) => {}
                Err(error) => {
                    if had_no_answer(&error) && !node.is_empty() {
                        silent.nodes().insert(node.clone());
                    }
                    all.unread.push(format!("log of {name}/{container}: {}", retry::short(&error)));
                }
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::cluster::connect::TransportError;

    use http::{Request, Response};
    use kube::client::Body;

    /// A cluster with one restarted pod of MTV's, a Plan, and a login that may not list events.
    fn cluster() -> (Cluster, Arc<Mutex<Vec<String>>>) {
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = asked.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
            seen.lock().unwrap().push(path.clone());
            let pod = json!({"metadata": {"name": "forklift-controller-x", "namespace": "mtv"},
                "spec": {"nodeName": "worker-0", "containers": [{"name": "main"}, {"name": "inventory"}], "initContainers": [{"name": "first"}]},
                "status": {"containerStatuses": [{"name": "main", "restartCount": 2, "image": "", "imageID": "", "ready": true}]}});
            let plan = json!({"metadata": {"name": "../up", "namespace": "mtv", "managedFields": [{"manager": "x"}]},
                "spec": {"userData": "secret"}});
            let (code, body) = match path.split('?').next().unwrap_or_default() {
                "/api/v1/namespaces/mtv/pods" | "/api/v1/namespaces/dead/pods" => {
                    (200, json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [pod]}))
                }
                "/apis/forklift.konveyor.io/v1beta1/namespaces/mtv/plans" => (
                    200,
                    json!({"kind": "PlanList", "apiVersion": "forklift.konveyor.io/v1beta1", "metadata": {}, "items": [plan]}),
                ),
                "/api/v1/namespaces/mtv/pods/forklift-controller-x/log" if path.contains("container=first") => (
                    400,
                    json!({"kind": "Status", "code": 400, "message": "it has not begun", "reason": "BadRequest", "status": "Failure"}),
                ),
                "/api/v1/namespaces/mtv/pods/forklift-controller-x/log" => (200, json!("a log")),
                "/api/v1/namespaces/mtv/events" => (
                    403,
                    json!({"kind": "Status", "code": 403, "message": "no", "reason": "Forbidden", "status": "Failure"}),
                ),
                _ => (
                    404,
                    json!({"kind": "Status", "code": 404, "message": "no", "reason": "NotFound", "status": "Failure"}),
                ),
            };
            let body = Body::from(serde_json::to_vec(&body).unwrap());
            async move {
                // Its kubelet does not answer.
                if path.starts_with("/api/v1/namespaces/dead/pods/") {
                    return Err(TransportError::NoAnswer(Duration::from_secs(15)).into());
                }
                Ok::<_, tower::BoxError>(Response::builder().status(code).body(body)?)
            }
        });
        let client = kube::Client::new(service, "default");
        (Cluster::from_client(client, "https://lab", Duration::from_secs(1)).unwrap(), asked)
    }

    #[test]
    fn a_populator_that_is_gone_lies_where_it_would_with_its_log() {
        let pod =
            SeenPod { name: "populate-1".into(), log: "copied\n".into(), phase: "Failed".into(), ..SeenPod::default() };
        let object = json!({"kind": "VSphereXcopyVolumePopulator", "metadata": {"name": "../up", "managedFields": []}});
        let all = gone("ns", &[pod], vec![object]);
        let paths: Vec<&str> = all.files.iter().map(|file| file.path.as_str()).collect();
        let wanted = [
            "namespaces/ns/pods/populate-1/populate-1.yaml",
            "namespaces/ns/pods/populate-1/populate/populate/logs/current.log",
            "namespaces/ns/forklift.konveyor.io/vspherexcopyvolumepopulators/_._up.yaml",
        ];
        assert_eq!(paths, wanted);
        assert!(all.files[0].text.contains("phase: Failed") && all.files[1].text == "copied\n");
        assert!(!all.files[2].text.contains("managedFields"));
    }

    #[tokio::test]
    async fn objects_lie_as_in_a_must_gather_and_what_may_not_be_read_is_told() {
        let (cluster, _) = cluster();
        let all = objects(&cluster, &of_cell(), Some("mtv")).await;
        let paths: Vec<&str> = all.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["namespaces/mtv/forklift.konveyor.io/plans/_._up.yaml", "namespaces/mtv/core/pods.yaml"]);
        let plan = &all.files[0].text;
        assert!(plan.contains("kind: Plan") && !plan.contains("managedFields") && !plan.contains("secret"), "{plan}");
        assert!(all.files[1].text.contains("kind: PodList"), "{}", all.files[1].text);
        assert!(matches!(all.unread.as_slice(), [one] if one.starts_with("events of mtv: ")), "{:?}", all.unread);
    }

    #[tokio::test]
    async fn logs_lie_below_their_pod_and_those_before_a_restart_beside_them() {
        let (cluster, asked) = cluster();
        let since = "2026-11-29T14:00:00Z".parse().ok();
        let all = logs(&cluster, "mtv", since, &Silent::default()).await;
        let paths: Vec<&str> = all.files.iter().map(|file| file.path.as_str()).collect();
        let pod = "namespaces/mtv/pods/forklift-controller-x";
        let wanted = [
            format!("{pod}/forklift-controller-x.yaml"),
            format!("{pod}/main/main/logs/current.log"),
            format!("{pod}/main/main/logs/previous.log"),
            format!("{pod}/inventory/inventory/logs/current.log"),
        ];
        assert_eq!(paths, wanted);
        assert!(all.unread.is_empty(), "{:?}", all.unread);
        let asked = asked.lock().unwrap();
        let windows = asked.iter().filter(|path| path.contains("sinceTime=2026-11-29T14")).count();
        assert_eq!(windows, 3, "what was told before the window is left out: {asked:?}");
    }

    #[tokio::test]
    async fn a_node_whose_kubelet_does_not_answer_is_not_asked_for_the_logs_of_its_other_containers_and_pods() {
        let (cluster, asked) = cluster();
        let silent = Silent::default();
        let all = logs(&cluster, "dead", None, &silent).await;
        assert_eq!(all.files.len(), 1, "the pod itself is there");
        let pod = "log of forklift-controller-x";
        assert!(
            all.unread[0].starts_with(&format!("{pod}/first: ")) && all.unread[0].ends_with("no answer within 15s")
        );
        let told = ["main", "main", "inventory"].map(|container| format!("{pod}/{container}: worker-0 tells none"));
        assert_eq!(all.unread[1..], told);
        let again = logs(&cluster, "mtv", None, &silent).await;
        assert_eq!((again.files.len(), again.unread.len()), (1, 4), "another namespace, the same node");
        assert_eq!(asked.lock().unwrap().iter().filter(|path| path.contains("/log")).count(), 1);
    }
}
