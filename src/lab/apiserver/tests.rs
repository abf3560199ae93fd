//! The server through kube-rs, over HTTPS and inside the process.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret};
use kube::api::{
    Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, PropagationPolicy, WatchEvent, WatchParams,
};
use kube::core::DynamicObject;
use kube::{Client, Config, Resource, ResourceExt};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::*;
use crate::api::forklift::{Plan, Provider};
use crate::lab::hooks::{GuestStream, SubresourceError};

const TOKEN: &str = "sha256~test";
const SOON: Duration = Duration::from_secs(10);

struct World {
    server: ApiServer,
    ca: LabCa,
}

async fn world() -> World {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ca = LabCa::new().unwrap();
    let options = ApiServerOptions {
        listen: IpAddr::from([127, 0, 0, 1]),
        port: 0,
        kubernetes_version: "v1.33.5".to_owned(),
        users: vec![("kubeadmin".to_owned(), "lab-admin".to_owned())],
        token: TOKEN.to_owned(),
        subresources: None,
        inventory: None,
    };
    World { server: ApiServer::start(options, &ca).await.unwrap(), ca }
}

impl World {
    /// A client over HTTPS.
    fn outside(&self) -> Client {
        let mut config = Config::new(self.server.url().parse().unwrap());
        let pem = x509_parser::pem::Pem::iter_from_buffer(self.ca.ca_pem().as_bytes());
        config.root_cert = Some(pem.map(|p| p.unwrap().contents).collect());
        config.auth_info.token = Some(SecretString::from(TOKEN));
        Client::try_from(config).unwrap()
    }
    fn http(&self) -> reqwest::Client {
        let ca = reqwest::Certificate::from_pem(self.ca.ca_pem().as_bytes()).unwrap();
        reqwest::Client::builder().tls_certs_only([ca]).redirect(reqwest::redirect::Policy::none()).build().unwrap()
    }
    async fn get(&self, path: &str, accept: &str) -> Value {
        let request = self.http().get(format!("{}{path}", self.server.url())).bearer_auth(TOKEN);
        request.header("accept", accept).send().await.unwrap().json().await.unwrap()
    }
}

fn config_map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"a": "1"}})).unwrap()
}

fn code<T: std::fmt::Debug>(result: Result<T, kube::Error>) -> (u16, String) {
    match result {
        Err(kube::Error::Api(status)) => (status.code, status.reason.clone()),
        other => panic!("not an API error: {other:?}"),
    }
}

async fn until_gone<K>(api: &Api<K>, name: &str)
where
    K: Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let gone = async {
        while api.get_opt(name).await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, gone).await.unwrap();
}

async fn crud(client: Client) {
    let maps: Api<ConfigMap> = Api::namespaced(client, "default");
    let made = maps.create(&PostParams::default(), &config_map("a")).await.unwrap();
    assert!(made.uid().is_some() && made.creation_timestamp().is_some());
    assert_eq!(code(maps.create(&PostParams::default(), &config_map("a")).await), (409, "AlreadyExists".to_owned()));

    let merge = Patch::Merge(json!({"data": {"b": "2"}}));
    let patched = maps.patch("a", &PatchParams::default(), &merge).await.unwrap();
    assert_eq!(patched.data.as_ref().unwrap()["a"], "1");
    assert_eq!(patched.data.as_ref().unwrap()["b"], "2");
    assert_ne!(patched.resource_version(), made.resource_version());
    let again = maps.patch("a", &PatchParams::default(), &merge).await.unwrap();
    assert_eq!(again.resource_version(), patched.resource_version(), "a write that changes nothing is no write");

    let mut stale = made.clone();
    stale.data = None;
    assert_eq!(code(maps.replace("a", &PostParams::default(), &stale).await), (409, "Conflict".to_owned()));

    let list = maps.list(&ListParams::default().fields("metadata.name=a")).await.unwrap();
    assert_eq!(list.items.len(), 1);
    maps.delete("a", &DeleteParams::default()).await.unwrap().right().unwrap();
    assert_eq!(code(maps.get("a").await), (404, "NotFound".to_owned()));
    assert_eq!(code(maps.create(&PostParams::default(), &config_map("Bad_Name")).await), (422, "Invalid".to_owned()));
}

#[tokio::test]
async fn objects_are_written_and_read_over_https() {
    let world = world().await;
    crud(world.outside()).await;
    assert!(world.server.request_count() > 8);
    world.server.stop().await;
}

#[tokio::test]
async fn objects_are_written_and_read_inside_the_process_without_being_counted() {
    let world = world().await;
    crud(world.server.client()).await;
    assert_eq!(world.server.request_count(), 0);
}

#[tokio::test]
async fn a_wrong_token_is_refused() {
    let world = world().await;
    let url = format!("{}/api/v1/namespaces", world.server.url());
    let answer = world.http().get(url).bearer_auth("wrong").send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.json::<Value>().await.unwrap()["reason"], "Unauthorized");
}

#[tokio::test]
async fn a_password_buys_a_token() {
    let world = world().await;
    let http = world.http();
    let metadata: Value = world.get("/.well-known/oauth-authorization-server", "*/*").await;
    let url = format!(
        "{}?response_type=token&client_id=openshift-challenging-client",
        metadata["authorization_endpoint"].as_str().unwrap()
    );
    let refused = http.get(&url).header("X-CSRF-Token", "1").basic_auth("kubeadmin", Some("no")).send().await.unwrap();
    assert_eq!(refused.status(), 401);
    assert!(refused.headers().contains_key("www-authenticate"));
    let answer =
        http.get(&url).header("X-CSRF-Token", "1").basic_auth("kubeadmin", Some("lab-admin")).send().await.unwrap();
    assert_eq!(answer.status(), 302);
    let location = answer.headers()["location"].to_str().unwrap();
    let token = location.split_once("#access_token=").unwrap().1.split('&').next().unwrap();
    let me = http.get(format!("{}/apis/user.openshift.io/v1/users/~", world.server.url())).bearer_auth(token);
    let me: Value = me.send().await.unwrap().json().await.unwrap();
    assert_eq!(me["metadata"]["name"], "kube:admin");
}

#[tokio::test]
async fn generated_names_end_in_five_characters() {
    let world = world().await;
    let maps: Api<ConfigMap> = Api::namespaced(world.server.client(), "default");
    let map: ConfigMap = serde_json::from_value(json!({"metadata": {"generateName": "x-"}})).unwrap();
    let made = maps.create(&PostParams::default(), &map).await.unwrap();
    assert_eq!(made.name_any().len(), 2 + 5);
}

#[tokio::test]
async fn string_data_of_a_secret_becomes_data() {
    let world = world().await;
    let secrets: Api<Secret> = Api::namespaced(world.server.client(), "default");
    let secret = serde_json::from_value(json!({"metadata": {"name": "s"}, "stringData": {"user": "u"}})).unwrap();
    let made = secrets.create(&PostParams::default(), &secret).await.unwrap();
    assert_eq!(made.string_data, None);
    assert_eq!(made.data.unwrap()["user"].0, b"u");
    assert_eq!(made.type_.as_deref(), Some("Opaque"));
}

#[tokio::test]
async fn status_and_spec_are_written_apart_and_only_the_spec_counts_generations() {
    let world = world().await;
    let plans: Api<Plan> = Api::namespaced(world.outside(), "default");
    let plan: Plan = serde_json::from_value(json!({
        "apiVersion": "forklift.konveyor.io/v1beta1", "kind": "Plan",
        "metadata": {"name": "p"}, "spec": {}, "status": {"observedGeneration": 7},
    }))
    .unwrap();
    let made = plans.create(&PostParams::default(), &plan).await.unwrap();
    assert!(made.status.is_none());
    let status = Patch::Merge(json!({"status": {"observedGeneration": 1}, "spec": {"warm": true}}));
    let patched = plans.patch_status("p", &PatchParams::default(), &status).await.unwrap();
    assert_eq!((patched.meta().generation, patched.status.unwrap().observed_generation), (Some(1), 1));
    assert!(!patched.spec.warm);
    let spec = Patch::Merge(json!({"status": {"observedGeneration": 9}, "spec": {"warm": true}}));
    let patched = plans.patch("p", &PatchParams::default(), &spec).await.unwrap();
    assert_eq!((patched.meta().generation, patched.status.unwrap().observed_generation), (Some(2), 1));
    let label = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    assert_eq!(plans.patch("p", &PatchParams::default(), &label).await.unwrap().meta().generation, Some(2));
}

#[tokio::test]
async fn a_json_patch_tests_and_adds() {
    let world = world().await;
    let maps: Api<ConfigMap> = Api::namespaced(world.server.client(), "default");
    maps.create(&PostParams::default(), &config_map("a")).await.unwrap();
    let patch = |ops: Value| Patch::<ConfigMap>::Json(serde_json::from_value(ops).unwrap());
    let good = patch(
        json!([{"op": "test", "path": "/data/a", "value": "1"}, {"op": "replace", "path": "/data/new", "value": "2"}]),
    );
    assert_eq!(maps.patch("a", &PatchParams::default(), &good).await.unwrap().data.unwrap()["new"], "2");
    let bad = patch(json!([{"op": "test", "path": "/data/a", "value": "no"}]));
    assert_eq!(code(maps.patch("a", &PatchParams::default(), &bad).await).0, 422);
}

#[tokio::test]
async fn apply_creates_updates_and_takes_back_what_is_no_longer_applied() {
    let world = world().await;
    let maps: Api<ConfigMap> = Api::namespaced(world.outside(), "default");
    let apply = |data: Value| {
        Patch::Apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}))
    };
    let (me, other) = (PatchParams::apply("me"), PatchParams::apply("other"));
    maps.patch("a", &me, &apply(json!({"x": "1", "y": "1"}))).await.unwrap();
    maps.patch("a", &other, &apply(json!({"z": "1"}))).await.unwrap();
    let after = maps.patch("a", &me, &apply(json!({"x": "2"}))).await.unwrap();
    let data = after.data.clone().unwrap();
    assert_eq!((data["x"].as_str(), data["z"].as_str(), data.get("y")), ("2", "1", None));
    assert_eq!(code(maps.patch("a", &other, &apply(json!({"x": "3"}))).await).0, 409);
    let forced = maps.patch("a", &other.force(), &apply(json!({"x": "3"}))).await.unwrap();
    assert_eq!(forced.data.unwrap()["x"], "3");
}

#[tokio::test]
async fn finalizers_hold_an_object_until_they_are_removed() {
    let world = world().await;
    let maps: Api<ConfigMap> = Api::namespaced(world.server.client(), "default");
    let mut map = config_map("a");
    map.metadata.finalizers = Some(vec!["x.io/hold".to_owned()]);
    maps.create(&PostParams::default(), &map).await.unwrap();
    let held = maps.delete("a", &DeleteParams::default()).await.unwrap().left().unwrap();
    assert!(held.meta().deletion_timestamp.is_some());
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("a", &PatchParams::default(), &release).await.unwrap();
    assert!(maps.get_opt("a").await.unwrap().is_none());
}

fn owned_by(name: &str, owners: &[&ConfigMap]) -> ConfigMap {
    let mut map = config_map(name);
    map.metadata.owner_references = Some(owners.iter().map(|o| o.owner_ref(&()).unwrap()).collect());
    map
}

#[tokio::test]
async fn dependents_go_when_their_last_owner_goes() {
    let world = world().await;
    let maps: Api<ConfigMap> = Api::namespaced(world.server.client(), "default");
    let a = maps.create(&PostParams::default(), &config_map("a")).await.unwrap();
    let b = maps.create(&PostParams::default(), &config_map("b")).await.unwrap();
    maps.create(&PostParams::default(), &owned_by("of-a", &[&a])).await.unwrap();
    maps.create(&PostParams::default(), &owned_by("of-both", &[&a, &b])).await.unwrap();
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    until_gone(&maps, "of-a").await;
    assert!(maps.get_opt("of-both").await.unwrap().is_some());
    maps.delete("b", &DeleteParams::default()).await.unwrap();
    until_gone(&maps, "of-both").await;
    maps.create(&PostParams::default(), &owned_by("too-late", &[&a])).await.unwrap();
    until_gone(&maps, "too-late").await;
}

#[tokio::test]
async fn foreground_deletion_waits_for_dependents_and_orphans_stay() {
    let world = world().await;
    let maps: Api<ConfigMap> = Api::namespaced(world.server.client(), "default");
    let a = maps.create(&PostParams::default(), &config_map("a")).await.unwrap();
    let mut held = owned_by("held", &[&a]);
    held.metadata.finalizers = Some(vec!["x.io/hold".to_owned()]);
    maps.create(&PostParams::default(), &held).await.unwrap();
    let foreground =
        DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..DeleteParams::default() };
    assert!(maps.delete("a", &foreground).await.unwrap().is_left());
    assert!(maps.get_opt("a").await.unwrap().is_some());
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("held", &PatchParams::default(), &release).await.unwrap();
    until_gone(&maps, "a").await;

    let b = maps.create(&PostParams::default(), &config_map("b")).await.unwrap();
    maps.create(&PostParams::default(), &owned_by("orphan", &[&b])).await.unwrap();
    let orphan = DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() };
    maps.delete("b", &orphan).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(maps.get("orphan").await.unwrap().owner_references().is_empty());
}

#[tokio::test]
async fn a_namespace_takes_its_contents_with_it_and_waits_for_finalizers() {
    let world = world().await;
    let client = world.server.client();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let maps: Api<ConfigMap> = Api::namespaced(client, "ns");
    assert_eq!(code(maps.create(&PostParams::default(), &config_map("a")).await), (404, "NotFound".to_owned()));
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": "ns"}})).unwrap();
    let made = namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    assert_eq!(made.labels()["kubernetes.io/metadata.name"], "ns");
    assert_eq!(made.status.unwrap().phase.as_deref(), Some("Active"));
    let mut held = config_map("held");
    held.metadata.finalizers = Some(vec!["x.io/hold".to_owned()]);
    maps.create(&PostParams::default(), &held).await.unwrap();
    maps.create(&PostParams::default(), &config_map("free")).await.unwrap();

    let going = namespaces.delete("ns", &DeleteParams::default()).await.unwrap().left().unwrap();
    assert_eq!(going.status.unwrap().phase.as_deref(), Some("Terminating"));
    assert_eq!(code(maps.create(&PostParams::default(), &config_map("late")).await), (403, "Forbidden".to_owned()));
    until_gone(&maps, "free").await;
    let waits = kube::runtime::wait::await_condition(namespaces.clone(), "ns", |ns: Option<&Namespace>| {
        let conditions = ns.and_then(|n| n.status.as_ref()).and_then(|s| s.conditions.as_ref());
        conditions.is_some_and(|c| c.iter().any(|c| c.type_ == "NamespaceFinalizersRemaining" && c.status == "True"))
    });
    tokio::time::timeout(SOON, waits).await.unwrap().unwrap();
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("held", &PatchParams::default(), &release).await.unwrap();
    until_gone(&namespaces, "ns").await;
}

async fn watch_through_selector(client: Client) {
    let maps: Api<ConfigMap> = Api::namespaced(client, "default");
    let params = WatchParams::default().labels("app=x").timeout(20);
    let mut events = maps.watch(&params, "0").await.unwrap().boxed();
    let mut map = config_map("w");
    map.metadata.labels = Some([("app".to_owned(), "x".to_owned())].into());
    let made = maps.create(&PostParams::default(), &map).await.unwrap();
    maps.create(&PostParams::default(), &config_map("other")).await.unwrap();
    let data = Patch::Merge(json!({"data": {"b": "2"}}));
    maps.patch("w", &PatchParams::default(), &data).await.unwrap();
    let unlabel = Patch::Merge(json!({"metadata": {"labels": {"app": null}}}));
    let last = maps.patch("w", &PatchParams::default(), &unlabel).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let event = tokio::time::timeout(SOON, events.try_next()).await.unwrap().unwrap().unwrap();
        seen.push(match event {
            WatchEvent::Added(o) => ("added", o),
            WatchEvent::Modified(o) => ("modified", o),
            WatchEvent::Deleted(o) => ("deleted", o),
            other => panic!("{other:?}"),
        });
    }
    let kinds: Vec<&str> = seen.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, ["added", "modified", "deleted"]);
    assert_eq!(seen[0].1.resource_version(), made.resource_version());
    assert_eq!(seen[2].1.resource_version(), last.resource_version());
    assert_eq!(seen[2].1.labels()["app"], "x", "the last state that matched");
}

#[tokio::test]
async fn a_watch_shows_an_object_that_leaves_its_selector_as_deleted() {
    let world = world().await;
    watch_through_selector(world.outside()).await;
    let maps: Api<ConfigMap> = Api::namespaced(world.server.client(), "default");
    maps.delete("w", &DeleteParams::default()).await.unwrap();
    maps.delete("other", &DeleteParams::default()).await.unwrap();
    watch_through_selector(world.server.client()).await;
}

#[tokio::test]
async fn a_watch_from_a_forgotten_version_gets_410_and_from_a_known_one_what_it_missed() {
    let world = world().await;
    let maps: Api<ConfigMap> = Api::namespaced(world.server.client(), "default");
    let first = maps.create(&PostParams::default(), &config_map("a")).await.unwrap().resource_version().unwrap();
    maps.create(&PostParams::default(), &config_map("b")).await.unwrap();
    let mut events = maps.watch(&WatchParams::default(), &first).await.unwrap().boxed();
    match tokio::time::timeout(SOON, events.try_next()).await.unwrap().unwrap().unwrap() {
        WatchEvent::Added(object) => assert_eq!(object.name_any(), "b"),
        other => panic!("{other:?}"),
    }
    world.server.compact();
    let mut events = maps.watch(&WatchParams::default(), &first).await.unwrap().boxed();
    match tokio::time::timeout(SOON, events.try_next()).await.unwrap().unwrap().unwrap() {
        WatchEvent::Error(error) => assert_eq!((error.code, error.reason.as_str()), (410, "Expired")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn streaming_lists_end_with_a_bookmark() {
    let world = world().await;
    let maps: Api<ConfigMap> = Api::namespaced(world.outside(), "default");
    maps.create(&PostParams::default(), &config_map("a")).await.unwrap();
    let config = kube::runtime::watcher::Config::default().streaming_lists();
    let mut events = kube::runtime::watcher(maps, config).boxed();
    loop {
        let event = tokio::time::timeout(SOON, events.try_next()).await.unwrap().unwrap().unwrap();
        if matches!(event, kube::runtime::watcher::Event::InitDone) {
            break;
        }
    }
}

#[tokio::test]
async fn lists_are_paged_and_selected() {
    let world = world().await;
    let maps: Api<ConfigMap> = Api::namespaced(world.server.client(), "default");
    for n in 0..5 {
        let mut map = config_map(&format!("m{n}"));
        map.metadata.labels = Some([("n".to_owned(), n.to_string())].into());
        maps.create(&PostParams::default(), &map).await.unwrap();
    }
    let first = maps.list(&ListParams::default().limit(3)).await.unwrap();
    assert_eq!((first.items.len(), first.metadata.remaining_item_count), (3, Some(2)));
    let token = first.metadata.continue_.unwrap();
    let rest = maps.list(&ListParams::default().limit(3).continue_token(&token)).await.unwrap();
    assert_eq!(rest.items.len(), 2);
    for (selector, count) in [("n in (1,2)", 2), ("n!=1", 4), ("n>2", 2), ("!n", 0), ("n", 5), ("n notin (0,1)", 3)] {
        let list = maps.list(&ListParams::default().labels(selector)).await.unwrap();
        assert_eq!(list.items.len(), count, "{selector}");
    }
    let gone = maps.delete_collection(&DeleteParams::default(), &ListParams::default().labels("n<3")).await.unwrap();
    assert_eq!(gone.left().unwrap().items.len(), 3);
}

#[tokio::test]
async fn a_custom_resource_definition_adds_a_resource() {
    let world = world().await;
    let client = world.outside();
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}}}]},
    });
    let crds: Api<DynamicObject> = {
        let kind = kube::core::GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
        Api::all_with(client.clone(), &kube::core::ApiResource::from_gvk(&kind))
    };
    crds.create(&PostParams::default(), &serde_json::from_value(crd).unwrap()).await.unwrap();
    let kind = kube::core::GroupVersionKind::gvk("example.com", "v1", "Thing");
    let (resource, _) = kube::discovery::pinned_kind(&client, &kind).await.unwrap();
    let things: Api<DynamicObject> = Api::namespaced_with(client, "default", &resource);
    let thing = DynamicObject::new("t", &resource).data(json!({"spec": {"a": 1}}));
    assert_eq!(things.create(&PostParams::default(), &thing).await.unwrap().meta().generation, Some(1));
    crds.delete("things.example.com", &DeleteParams::default()).await.unwrap();
    assert!(things.get("t").await.is_err());
}

#[tokio::test]
async fn discovery_is_served_both_ways() {
    let world = world().await;
    let client = world.outside();
    let discovery = kube::Discovery::new(client.clone()).run().await.unwrap();
    assert!(discovery.has_group("forklift.konveyor.io"));
    let aggregated = kube::Discovery::new(client.clone()).run_aggregated().await.unwrap();
    assert!(aggregated.has_group("kubevirt.io"));
    assert_eq!(client.apiserver_version().await.unwrap().git_version, "v1.33.5");
}

#[tokio::test]
async fn tables_show_conditions() {
    let world = world().await;
    let providers: Api<Provider> = Api::namespaced(world.server.client(), "default");
    let provider: Provider = serde_json::from_value(json!({
        "apiVersion": "forklift.konveyor.io/v1beta1", "kind": "Provider",
        "metadata": {"name": "p"}, "spec": {"type": "vsphere", "url": "https://x/sdk"},
    }))
    .unwrap();
    providers.create(&PostParams::default(), &provider).await.unwrap();
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    providers.patch_status("p", &PatchParams::default(), &Patch::Merge(ready)).await.unwrap();
    let table = world
        .get(
            "/apis/forklift.konveyor.io/v1beta1/namespaces/default/providers",
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
        )
        .await;
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["rows"][0]["cells"][0], "p");
    assert_eq!(table["rows"][0]["cells"][3], "True");
}

#[tokio::test]
async fn a_pods_log_is_its_annotation() {
    let world = world().await;
    let pods: Api<Pod> = Api::namespaced(world.outside(), "default");
    let pod = json!({
        "metadata": {"name": "p", "annotations": {"lab.mtv-matrix.io/log": "one\ntwo\n"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    });
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    assert_eq!(pods.logs("p", &Default::default()).await.unwrap(), "one\ntwo\n");
    let evicted = ListParams::default().fields("status.phase=Pending");
    assert_eq!(pods.list(&evicted).await.unwrap().items.len(), 1);
}

struct Echo;

#[async_trait::async_trait]
impl KubevirtSubresources for Echo {
    async fn portforward(&self, _: &str, name: &str, _: u16) -> Result<Box<dyn GuestStream>, SubresourceError> {
        if name != "vm" {
            let message = format!("virtualmachineinstance.kubevirt.io \"{name}\" not found");
            return Err(SubresourceError { code: 404, reason: "NotFound".to_owned(), message });
        }
        let (near, far) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            let (mut read, mut write) = tokio::io::split(far);
            tokio::io::copy(&mut read, &mut write).await
        });
        Ok(Box::new(near))
    }
    async fn power(&self, _: &str, _: &str, _: &str) -> Result<(), SubresourceError> {
        Ok(())
    }
    async fn guest_info(&self, _: &str, _: &str, _: &str) -> Result<Value, SubresourceError> {
        Ok(json!({"hostname": "vm"}))
    }
}

#[tokio::test]
async fn port_forward_carries_bytes_over_a_websocket() {
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::protocol::Role;
    let world = world().await;
    world.server.set_subresources(Arc::new(Echo));
    let base = "/apis/subresources.kubevirt.io/v1/namespaces/default";
    let url = |rest: &str| format!("{}{base}/{rest}", world.server.url());
    let http1 = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(world.ca.ca_pem().as_bytes()).unwrap()])
        .http1_only()
        .build()
        .unwrap();
    let open = |name: &str| {
        http1
            .get(url(&format!("virtualmachineinstances/{name}/portforward/22")))
            .bearer_auth(TOKEN)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-protocol", "plain.kubevirt.io")
            .send()
    };
    assert_eq!(open("none").await.unwrap().status(), 404);
    let answer = open("vm").await.unwrap();
    assert_eq!(answer.status(), 101);
    assert_eq!(answer.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let upgraded = answer.upgrade().await.unwrap();
    let mut socket = WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await;
    futures::SinkExt::send(&mut socket, Message::Binary("hello".into())).await.unwrap();
    let echoed = async {
        loop {
            if let Message::Binary(bytes) = socket.next().await.unwrap().unwrap() {
                return bytes;
            }
        }
    };
    assert_eq!(tokio::time::timeout(SOON, echoed).await.unwrap().as_ref(), b"hello");
    let started = http1.put(url("virtualmachines/vm/start")).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(started.status(), 202);
    let info = http1.get(url("virtualmachineinstances/vm/guestosinfo")).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(info.json::<Value>().await.unwrap()["hostname"], "vm");
    world.server.stop().await;
}

#[tokio::test]
async fn the_service_proxy_reaches_a_service() {
    let world = world().await;
    let listener = serve::bind("service", IpAddr::from([127, 0, 0, 1]), 0).await.unwrap();
    let router = Router::new()
        .fallback(|request: Request<Body>| async move { request.uri().path_and_query().unwrap().to_string() });
    let tls = world.ca.server_config(&["127.0.0.1".to_owned()]).unwrap();
    let service = serve::https("service", listener, tls, router).unwrap();
    let url = format!("https://{}", service.addr());
    world.server.set_service_proxy("mtv", "forklift-inventory", url, world.ca.ca_pem().to_owned());
    let path = "/api/v1/namespaces/mtv/services/https:forklift-inventory:8443/proxy/providers/vsphere?detail=4";
    let request = world.http().get(format!("{}{path}", world.server.url())).bearer_auth(TOKEN);
    assert_eq!(request.send().await.unwrap().text().await.unwrap(), "/providers/vsphere?detail=4");
}

#[tokio::test]
async fn the_snapshot_names_every_object() {
    let world = world().await;
    let before = world.server.snapshot();
    let maps: Api<ConfigMap> = Api::namespaced(world.server.client(), "default");
    maps.create(&PostParams::default(), &config_map("a")).await.unwrap();
    let after = world.server.snapshot();
    let new: Vec<_> = after.iter().filter(|o| !before.contains(o)).collect();
    assert_eq!(new.len(), 1);
    assert_eq!((new[0].kind.as_str(), new[0].namespace.as_str(), new[0].name.as_str()), ("ConfigMap", "default", "a"));
}
