//! Writing, reading and deleting objects.

use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::api::{
    Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, PropagationPolicy, WatchEvent, WatchParams,
};
use kube::{Client, Resource, ResourceExt};
use serde_json::{Value, json};

use super::*;
use crate::api::forklift::Plan;

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
async fn a_controller_of_the_lab_is_told_of_no_managers_and_keeps_those_that_there_are() {
    let world = world().await;
    let whole: Api<ConfigMap> = Api::namespaced(world.server.client(), "default");
    let bare: Api<ConfigMap> = Api::namespaced(world.server.controllers_client(), "default");
    let made = whole.create(&PostParams::default(), &config_map("a")).await.unwrap();
    assert!(made.metadata.managed_fields.is_some());
    let mut watch = Box::pin(bare.watch(&WatchParams::default(), "0").await.unwrap());
    let mut seen = bare.get("a").await.unwrap();
    assert_eq!(seen.metadata.managed_fields, None);
    assert_eq!(seen.data, made.data);
    assert_eq!(bare.get_metadata("a").await.unwrap().metadata.managed_fields, None);
    assert!(
        bare.list(&ListParams::default()).await.unwrap().items.iter().all(|one| one.metadata.managed_fields.is_none())
    );
    // The same writer again: nothing becomes of its fields, nor of the time.
    seen.data.get_or_insert_default().insert("a".to_owned(), "2".to_owned());
    let answer = bare.replace("a", &PostParams::default(), &seen).await.unwrap();
    assert_eq!(answer.metadata.managed_fields, None);
    assert_eq!(whole.get("a").await.unwrap().metadata.managed_fields, made.metadata.managed_fields);
    // Another: it takes what it changes.
    let patch = Patch::Merge(json!({"data": {"a": "3"}}));
    let other = PatchParams { field_manager: Some("other".to_owned()), ..Default::default() };
    let managers = whole.patch("a", &other, &patch).await.unwrap().metadata.managed_fields.unwrap();
    let fields = |manager: &str| {
        let entry = managers.iter().find(|entry| entry.manager.as_deref() == Some(manager)).unwrap();
        entry.fields_v1.as_ref().unwrap().0.clone()
    };
    assert_eq!(fields("other"), json!({"f:data": {"f:a": {}}}));
    assert_eq!(fields("unknown"), json!({"f:data": {}}));
    whole.delete("a", &DeleteParams::default()).await.unwrap();
    let mut told = Vec::new();
    while !matches!(told.last(), Some(WatchEvent::Deleted(_))) {
        told.push(tokio::time::timeout(SOON, watch.next()).await.unwrap().unwrap().unwrap());
    }
    let told: Vec<_> = told
        .into_iter()
        .filter_map(|event| match event {
            WatchEvent::Added(one) => Some(("added", one)),
            WatchEvent::Modified(one) => Some(("modified", one)),
            WatchEvent::Deleted(one) => Some(("deleted", one)),
            _ => None,
        })
        .filter(|(_, one)| one.metadata.name.as_deref() == Some("a"))
        .map(|(how, one)| (how, one.metadata.managed_fields, one.data.unwrap()["a"].clone()))
        .collect();
    let of = |how, data: &str| (how, None, data.to_owned());
    assert_eq!(told, [of("added", "1"), of("modified", "2"), of("modified", "3"), of("deleted", "3")]);
}
