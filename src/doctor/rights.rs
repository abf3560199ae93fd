//! Whether this login may do what a run does: the API server is asked for each right, and nothing is tried.

use futures::StreamExt;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::{Api, PostParams};

use super::{Probe, Weight};
use crate::cluster::{Cluster, retry};
use crate::forklift;

/// Questions at once.
const AT_ONCE: usize = 8;

/// Where a right is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In namespaces that are made during the run, so in all.
    Everywhere,
    /// In MTV's own namespace.
    Mtv,
}
use Place::{Everywhere, Mtv};

/// One rule of `manifests/base/rbac.yaml` or `rbac-mtv.yaml`; a test holds that they are the same.
struct Right {
    place: Place,
    group: &'static str,
    /// Plurals, `pods/log` for a subresource.
    resources: &'static [&'static str],
    /// Only this one; empty: all.
    names: &'static [&'static str],
    verbs: &'static [&'static str],
    /// What goes wrong without it. `None`: no run can be.
    without: Option<&'static str>,
}

const fn right(
    place: Place,
    group: &'static str,
    resources: &'static [&'static str],
    verbs: &'static [&'static str],
) -> Right {
    Right { place, group, resources, names: &[], verbs, without: None }
}

impl Right {
    const fn named(self, names: &'static [&'static str]) -> Self {
        Self { names, ..self }
    }
    const fn without(self, what: &'static str) -> Self {
        Self { without: Some(what), ..self }
    }
}

/// What MTV makes for a disk or a conversion, and reads again.
const WAITED_FOR: [&str; forklift::WAITED_FOR.len()] = {
    let [a, b, c, d] = forklift::WAITED_FOR;
    [a.1, b.1, c.1, d.1]
};

const RIGHTS: &[Right] = &[
    right(Everywhere, "", &["namespaces"], &["get", "list", "watch", "create", "delete"]),
    right(
        Everywhere,
        "forklift.konveyor.io",
        &["providers", "storagemaps", "networkmaps", "hooks", "plans"],
        &["get", "list", "watch", "create"],
    ),
    right(Everywhere, "forklift.konveyor.io", &["migrations"], &["get", "list", "watch", "create", "patch"]),
    right(Everywhere, "forklift.konveyor.io", &["plans"], &["patch", "delete"])
        .without("stories can't archive or delete their Plan"),
    right(Everywhere, "forklift.konveyor.io", &["migrations"], &["delete"])
        .without("stories can't delete their Migration"),
    right(Everywhere, "", &["secrets"], &["get", "list", "create"]),
    right(
        Everywhere,
        "k8s.cni.cncf.io",
        &["network-attachment-definitions"],
        &["get", "list", "watch", "create", "delete"],
    ),
    right(Everywhere, "kubevirt.io", &["virtualmachines"], &["get", "list", "watch", "create"]),
    right(Everywhere, "kubevirt.io", &["virtualmachineinstances"], &["get", "list", "watch"]),
    right(Everywhere, "subresources.kubevirt.io", &["virtualmachineinstances/portforward"], &["get"])
        .without("nobody logs in to migrated guests: the checks inside them are not judged"),
    right(Everywhere, "subresources.kubevirt.io", &["virtualmachines/start", "virtualmachines/stop"], &["update"])
        .without("migrated VMs can't be booted"),
    right(Everywhere, "", &["nodes"], &["get", "list", "patch"])
        .without("scenarios with `target_node_selector` can't label a node"),
    right(Everywhere, "", &["persistentvolumeclaims"], &["get", "list"]),
    right(Everywhere, "storage.k8s.io", &["storageclasses"], &["get", "list"]),
    right(Everywhere, "cdi.kubevirt.io", &["storageprofiles"], &["get", "list"])
        .without("modes of disks whose map names none are not judged"),
    right(Everywhere, "cdi.kubevirt.io", &["storageprofiles"], &["patch"])
        .named(&["nfs"])
        .without("disks of the class `nfs` get the modes that CDI knows"),
    right(Everywhere, "", &["configmaps"], &["list"])
        .without("what a migration left behind in its target namespace is not judged"),
    right(Everywhere, "", &["pods", "events"], &["list"]).without("a failed cell's artifacts lack pods and events"),
    right(Everywhere, "", &["pods/log"], &["get"]).without("a failed cell's artifacts lack logs"),
    right(Everywhere, "", &["pods"], &["watch"])
        .without("the logs of copy-offload's populators are not kept, and a copy that can't be proven fails"),
    right(Everywhere, "forklift.konveyor.io", &["vspherexcopyvolumepopulators"], &["watch"])
        .without("what copy-offload's populators tell is not kept, and a copy that can't be proven fails"),
    right(Everywhere, "batch", &["jobs"], &["list"]).without("a failed cell's artifacts lack hook Jobs"),
    right(Everywhere, "cdi.kubevirt.io", &["datavolumes"], &["list"])
        .without("a failed cell's artifacts lack DataVolumes"),
    right(Everywhere, "forklift.konveyor.io", &WAITED_FOR, &["list"])
        .without("a failed cell's artifacts lack what a step of MTV's pipeline waits for"),
    right(Everywhere, "forklift.konveyor.io", &["conversions"], &["get", "watch", "create"])
        .without("scenarios that inspect VMs by themselves can't be told"),
    right(Everywhere, "forklift.konveyor.io", &["conversions/status"], &["patch"])
        .without("an inspection can't be canceled"),
    right(Everywhere, "config.openshift.io", &["clusterversions"], &["get"])
        .named(&["version"])
        .without("OpenShift's version, which some checks go by, is unknown"),
    right(Everywhere, "apiextensions.k8s.io", &["customresourcedefinitions"], &["get"])
        .named(&forklift::DEFINITIONS)
        .without("MTV's version is known by OLM alone, and tools for must-gathers do not know the kinds of artifacts"),
    right(Mtv, "apps", &["deployments"], &["get"]),
    right(Mtv, "apps", &["deployments"], &["list"]).without("a failed cell's artifacts lack MTV's Deployments"),
    right(Mtv, "operators.coreos.com", &["subscriptions"], &["list"]).without("MTV's version is guessed from its CRDs"),
    right(Mtv, "operators.coreos.com", &["clusterserviceversions"], &["get", "list"])
        .without("MTV's version is guessed from its CRDs"),
    right(Mtv, "forklift.konveyor.io", &["forkliftcontrollers"], &["get", "patch"])
        .named(&["forklift-controller"])
        .without("warm migrations can't set their precopy interval"),
    right(Mtv, "forklift.konveyor.io", &["forkliftcontrollers"], &["list"])
        .without("cells that a switch of MTV excludes are not skipped"),
    right(Mtv, "route.openshift.io", &["routes"], &["get"])
        .named(&["forklift-inventory"])
        .without("the inventory is looked for behind the API server's proxy"),
    right(Mtv, "", &["services"], &["get"])
        .named(&["forklift-inventory"])
        .without("without a Route nobody finds the inventory"),
    right(Mtv, "", &["services/proxy"], &["get"])
        .named(&["https:forklift-inventory:8443"])
        .without("without a Route nobody reads the inventory"),
];

/// One question: a verb on one kind, perhaps on one object.
struct Question {
    right: &'static Right,
    resource: &'static str,
    name: Option<&'static str>,
    verb: &'static str,
}

fn questions() -> Vec<Question> {
    let mut all = Vec::new();
    for right in RIGHTS {
        let names = if right.names.is_empty() { vec![None] } else { right.names.iter().copied().map(Some).collect() };
        for &resource in right.resources {
            for &name in &names {
                all.extend(right.verbs.iter().map(|&verb| Question { right, resource, name, verb }));
            }
        }
    }
    all
}

/// One probe for all that are there, one for each kind of which a verb is missing.
pub(super) async fn probes(cluster: &Cluster, mtv_namespace: &str) -> Vec<Probe> {
    let questions = questions();
    let count = questions.len();
    let answers: Vec<(Question, Result<bool, String>)> = futures::stream::iter(questions)
        .map(|question| async move {
            let answer = allowed(cluster, mtv_namespace, &question).await;
            (question, answer)
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    // One question that nobody answered stands for all.
    if let Some(why) = answers.iter().find_map(|(_, answer)| answer.as_ref().err()) {
        return vec![Probe::of("rights", Weight::Doubt, format!("not known: {why}"))];
    }
    let mut missing: Vec<(Question, Vec<&str>)> = Vec::new();
    for (question, _) in answers.into_iter().filter(|(_, answer)| answer == &Ok(false)) {
        match missing.last_mut() {
            Some((last, verbs)) if (last.resource, last.name) == (question.resource, question.name) => {
                verbs.push(question.verb);
            }
            _ => {
                let verb = question.verb;
                missing.push((question, vec![verb]));
            }
        }
    }
    if missing.is_empty() {
        return vec![Probe::of("rights", Weight::Fine, format!("all {count} that a run uses are given"))];
    }
    missing.iter().map(|(question, verbs)| told(mtv_namespace, question, verbs)).collect()
}

fn told(mtv_namespace: &str, question: &Question, verbs: &[&str]) -> Probe {
    let Question { right, resource, name, .. } = question;
    let what = name.map_or_else(|| (*resource).to_owned(), |name| format!("{resource} {name}"));
    let (place, role) = match right.place {
        Everywhere => (String::new(), "ClusterRole (manifests/base/rbac.yaml)"),
        Mtv => (format!(" in {mtv_namespace}"), "Role of MTV's namespace (manifests/base/rbac-mtv.yaml)"),
    };
    let without = right.without.map(|what| format!(": {what}")).unwrap_or_default();
    let message = format!("this login may not {} {what}{place}{without}", verbs.join(", "));
    let names = name.map(|name| format!(", resourceNames: [\"{name}\"]")).unwrap_or_default();
    let probe = Probe::new(format!("right {resource}"), Err(message));
    let probe = if right.without.is_some() { probe.doubted() } else { probe };
    probe.remedy(format!(
        "add to the {role} the rule {{apiGroups: [\"{}\"], resources: [\"{resource}\"]{names}, verbs: [\"{}\"]}}",
        right.group,
        verbs.join("\", \"")
    ))
}

/// A review is a question that is answered and not kept.
#[expect(clippy::disallowed_methods, reason = "nothing is made by it, so there is nothing to write down")]
async fn allowed(cluster: &Cluster, mtv_namespace: &str, question: &Question) -> Result<bool, String> {
    let (resource, subresource) = question.resource.split_once('/').unwrap_or((question.resource, ""));
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let attributes = ResourceAttributes {
        group: text(question.right.group),
        resource: text(resource),
        subresource: text(subresource),
        verb: text(question.verb),
        name: question.name.map(str::to_owned),
        namespace: (question.right.place == Mtv).then(|| mtv_namespace.to_owned()),
        ..ResourceAttributes::default()
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() },
        ..Default::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(cluster.client());
    let answer = api.create(&PostParams::default(), &review).await.map_err(|e| retry::short(&e))?;
    answer.status.map(|status| status.allowed).ok_or_else(|| "the review was not answered".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};
    use std::collections::BTreeSet;
    use std::time::Duration;

    type Rule = (String, String, String, String);

    /// Group, resource, name and verb of every rule.
    fn rules(file: &str) -> BTreeSet<Rule> {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/base").join(file);
        let text = std::fs::read_to_string(path).unwrap();
        let role = text.split("\n---").next().unwrap();
        let role: Value = serde_saphyr::from_str(role).unwrap();
        let texts = |value: &Value| -> Vec<String> {
            value.as_array().map(|all| all.iter().map(|v| v.as_str().unwrap().to_owned()).collect()).unwrap_or_default()
        };
        let mut all = BTreeSet::new();
        for rule in role["rules"].as_array().unwrap() {
            let mut names = texts(&rule["resourceNames"]);
            if names.is_empty() {
                names.push(String::new());
            }
            for group in texts(&rule["apiGroups"]) {
                for resource in texts(&rule["resources"]) {
                    for name in &names {
                        let verbs = texts(&rule["verbs"]).into_iter();
                        all.extend(verbs.map(|verb| (group.clone(), resource.clone(), name.clone(), verb)));
                    }
                }
            }
        }
        all
    }

    #[test]
    fn what_is_asked_for_is_what_the_manifests_give() {
        for (place, file) in [(Everywhere, "rbac.yaml"), (Mtv, "rbac-mtv.yaml")] {
            let own = questions().into_iter().filter(|q| q.right.place == place);
            let asked: BTreeSet<Rule> = own
                .map(|q| (q.right.group.into(), q.resource.into(), q.name.unwrap_or_default().into(), q.verb.into()))
                .collect();
            assert_eq!(asked, rules(file), "{file}");
        }
    }

    /// A cluster that refuses what `refuses` says of (resource, verb).
    fn cluster(refuses: fn(&str, &str) -> bool) -> Cluster {
        let service = tower::service_fn(move |request: Request<Body>| async move {
            let bytes = request.into_body().collect_bytes().await?;
            let mut review: Value = serde_json::from_slice(&bytes)?;
            let attributes = &review["spec"]["resourceAttributes"];
            let text = |key: &str| attributes[key].as_str().unwrap_or_default().to_owned();
            review["status"] = json!({"allowed": !refuses(&text("resource"), &text("verb"))});
            Ok::<_, tower::BoxError>(Response::builder().status(201).body(Body::from(serde_json::to_vec(&review)?))?)
        });
        Cluster::from_client(kube::Client::new(service, "default"), "https://lab", Duration::from_secs(1)).unwrap()
    }

    #[tokio::test]
    async fn a_missing_right_is_told_with_the_rule_that_gives_it_and_what_goes_wrong_without() {
        let missing =
            |resource: &str, verb: &str| matches!((resource, verb), ("plans", "create" | "watch") | ("jobs", _));
        let probes = probes(&cluster(missing), "mtv").await;
        let [plans, jobs] = probes.as_slice() else { panic!("{probes:?}") };
        assert!(plans.is_missing() && plans.message == "this login may not watch, create plans", "{plans:?}");
        let rule = r#"{apiGroups: ["forklift.konveyor.io"], resources: ["plans"], verbs: ["watch", "create"]}"#;
        assert!(plans.remedy.as_ref().is_some_and(|remedy| remedy.ends_with(rule)), "{plans:?}");
        assert_eq!(jobs.weight, Weight::Doubt, "a run can do without");
        assert!(jobs.message.contains("artifacts lack hook Jobs"), "{jobs:?}");
    }

    #[tokio::test]
    async fn rights_that_are_all_there_are_one_line() {
        let probes = probes(&cluster(|_, _| false), "mtv").await;
        assert!(matches!(probes.as_slice(), [one] if one.weight == Weight::Fine), "{probes:?}");
    }
}
