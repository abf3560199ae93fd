//! What lies in the pod of `oc adm must-gather`: objects of the cluster, a file each, and logs of pods. OpenShift's own image
//! lays it out as `oc adm inspect` does and looks at the platform's namespaces; MTV's gathers what is MTV's and KubeVirt's of
//! all namespaces, and packs it. Secrets are in neither.

use std::collections::BTreeMap;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::machine::escaped;
use super::tar;
use crate::apiserver::LOG_ANNOTATION;

/// oc looks for it there.
const FOLDER: &str = "/must-gather";
/// Containers of oc's pod: one gathers, the other waits to be asked for what there is.
const CONTAINERS: [&str; 2] = ["gather", "copy"];
/// Namespaces that OpenShift's own image looks at, by what they begin with.
const PLATFORM: [&str; 3] = ["openshift", "kube-", "default"];

/// Whether a pod is one of oc's.
pub fn is_gathering(pod: &Value) -> bool {
    let names: Vec<&str> =
        pod["spec"]["containers"].as_array().into_iter().flatten().filter_map(|one| one["name"].as_str()).collect();
    pod["metadata"]["labels"]["app"] == "must-gather" && names == CONTAINERS
}

/// Whether the image is MTV's.
pub fn is_mtv(image: &str) -> bool {
    ["mtv-must-gather", "forklift-must-gather"].iter().any(|name| image.contains(name))
}

/// An object, and what it is called in addresses.
pub struct Gathered<'a> {
    pub group: &'a str,
    pub plural: &'a str,
    pub object: &'a Value,
}

impl Gathered<'_> {
    fn text(&self, field: &str) -> &str {
        self.object["metadata"][field].as_str().unwrap_or_default()
    }

    fn yaml(&self) -> String {
        serde_saphyr::to_string(self.object).unwrap_or_default()
    }

    fn log(&self) -> Option<&str> {
        self.object["metadata"]["annotations"][LOG_ANNOTATION].as_str().filter(|_| self.plural == "pods")
    }
}

/// The files that an image leaves in the pod.
pub fn files(image: &str, objects: &[Gathered<'_>]) -> BTreeMap<String, String> {
    let objects = objects.iter().filter(|one| !(one.group.is_empty() && one.plural == "secrets"));
    let mut files = BTreeMap::new();
    if !is_mtv(image) {
        objects.for_each(|one| inspected(one, &mut files));
        files.insert(format!("{FOLDER}/version"), "openshift/must-gather\nlab\n".to_owned());
        return lists(files);
    }
    objects.for_each(|one| of_mtv(one, &mut files));
    let archive = tar::of(FOLDER, &files);
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    // Into memory: nothing of it can fail.
    let packed = packed.write_all(&archive).and_then(|()| packed.finish()).unwrap_or_default();
    BTreeMap::from([(format!("{FOLDER}/must-gather.tar.gz"), escaped(&packed))])
}

fn core(group: &str) -> &str {
    if group.is_empty() { "core" } else { group }
}

/// Native kinds in one list each, as `oc adm inspect` writes them.
fn is_listed(group: &str) -> bool {
    matches!(group, "" | "apps" | "batch" | "discovery.k8s.io" | "policy" | "networking.k8s.io" | "route.openshift.io")
}

fn inspected(one: &Gathered<'_>, files: &mut BTreeMap<String, String>) {
    let (namespace, name, group) = (one.text("namespace"), one.text("name"), core(one.group));
    if namespace.is_empty() {
        if one.plural == "namespaces" && PLATFORM.iter().any(|begin| name.starts_with(begin)) {
            files.insert(format!("{FOLDER}/namespaces/{name}/{name}.yaml"), one.yaml());
        }
        let path = format!("{FOLDER}/cluster-scoped-resources/{group}/{}/{name}.yaml", one.plural);
        drop(files.insert(path, one.yaml()));
        return;
    }
    if !PLATFORM.iter().any(|begin| namespace.starts_with(begin)) {
        return;
    }
    let folder = format!("{FOLDER}/namespaces/{namespace}");
    if is_listed(one.group) {
        // An item for now: [`lists`] makes lists of them.
        let path = format!("{folder}/{group}/{}.yaml/{name}", one.plural);
        files.insert(path, one.object.to_string());
    } else {
        files.insert(format!("{folder}/{group}/{}/{name}.yaml", one.plural), one.yaml());
    }
    if one.plural == "pods" && one.group.is_empty() {
        files.insert(format!("{folder}/pods/{name}/{name}.yaml"), one.yaml());
        for container in one.object["spec"]["containers"].as_array().into_iter().flatten() {
            let container = container["name"].as_str().unwrap_or_default();
            let path = format!("{folder}/pods/{name}/{container}/{container}/logs/current.log");
            files.insert(path, one.log().unwrap_or_default().to_owned());
        }
    }
}

/// Brings items of one list together.
fn lists(files: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut items: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (path, text) in files {
        match path.rsplit_once(".yaml/") {
            Some((list, _)) => {
                let item = serde_json::from_str(&text).unwrap_or_default();
                items.entry(format!("{list}.yaml")).or_default().push(item);
            }
            None => drop(all.insert(path, text)),
        }
    }
    for (path, items) in items {
        let first = items.first().cloned().unwrap_or_default();
        let kind = format!("{}List", first["kind"].as_str().unwrap_or_default());
        let list = json!({"apiVersion": first["apiVersion"], "kind": kind, "metadata": {}, "items": items});
        all.insert(path, serde_saphyr::to_string(&list).unwrap_or_default());
    }
    all
}

fn of_mtv(one: &Gathered<'_>, files: &mut BTreeMap<String, String>) {
    let (namespace, name) = (one.text("namespace"), one.text("name"));
    if one.plural == "pods" && one.group.is_empty() {
        let labels = &one.object["metadata"]["labels"];
        let wanted =
            namespace == crate::MTV_NAMESPACE || labels["plan"].is_string() || labels["kubevirt.io"] == "virt-launcher";
        if wanted {
            let path = format!("{FOLDER}/namespaces/{namespace}/logs/{name}/current.log");
            files.insert(path, one.log().unwrap_or_default().to_owned());
        }
        return;
    }
    if !["forklift", "kubevirt"].iter().any(|component| one.group.contains(component)) {
        return;
    }
    let resource = format!("{}.{}", one.plural, one.group);
    let path = match namespace {
        "" => format!("{FOLDER}/cluster-scoped-resources/{resource}/{name}.yaml"),
        namespace => format!("{FOLDER}/namespaces/{namespace}/crs/{resource}/{name}.yaml"),
    };
    files.insert(path, one.yaml());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_image_leaves_its_own_layout_and_no_secret() {
        let at = |namespace: &str, name: &str| json!({"kind": "K", "apiVersion": "v", "metadata": {"namespace": namespace, "name": name}});
        let mut pod = at("openshift-mtv", "p");
        pod["spec"] = json!({"containers": [{"name": "main"}]});
        pod["metadata"]["annotations"] = json!({LOG_ANNOTATION: "said"});
        let (plan, secret, node) = (at("erp", "plan"), at("openshift-mtv", "s"), at("", "n"));
        let one = |group, plural, object| Gathered { group, plural, object };
        let all = [
            one("", "pods", &pod),
            one("forklift.konveyor.io", "plans", &plan),
            one("", "secrets", &secret),
            one("", "nodes", &node),
        ];
        let names: Vec<String> = files("registry/ose-must-gather", &all).into_keys().collect();
        assert_eq!(
            names,
            [
                "/must-gather/cluster-scoped-resources/core/nodes/n.yaml",
                "/must-gather/namespaces/openshift-mtv/core/pods.yaml",
                "/must-gather/namespaces/openshift-mtv/pods/p/main/main/logs/current.log",
                "/must-gather/namespaces/openshift-mtv/pods/p/p.yaml",
                "/must-gather/version",
            ]
        );
        let packed = files("quay.io/kubev2v/forklift-must-gather:latest", &all);
        let archive = super::super::raw(&packed["/must-gather/must-gather.tar.gz"]);
        let mut text = String::new();
        let read = std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(archive.as_slice()), &mut text);
        assert!(read.is_ok() && packed.len() == 1);
        assert!(text.contains("must-gather/namespaces/erp/crs/plans.forklift.konveyor.io/plan.yaml"));
        assert!(text.contains("must-gather/namespaces/openshift-mtv/logs/p/current.log") && text.contains("said"));
        assert!(!text.contains("secrets"));
    }

    #[test]
    fn the_pod_of_oc_is_known_by_its_label_and_its_two_containers() {
        let pod = |app: &str, names: [&str; 2]| json!({"metadata": {"labels": {"app": app}}, "spec": {"containers": names.map(|name| json!({"name": name}))}});
        assert!(is_gathering(&pod("must-gather", ["gather", "copy"])));
        assert!(!is_gathering(&pod("web", ["gather", "copy"])) && !is_gathering(&pod("must-gather", ["a", "copy"])));
    }
}
