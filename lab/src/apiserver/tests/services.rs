//! Watches, discovery, and what else the server offers.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::core::DynamicObject;
use kube::{Client, Resource, ResourceExt};
use serde_json::{Value, json};

use super::super::*;
use super::*;
use crate::api::forklift::Provider;
use crate::ports::{GuestStream, SubresourceError};

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
    async fn screen(&self, namespace: &str, name: &str, _: &str) -> Result<Box<dyn GuestStream>, SubresourceError> {
        self.portforward(namespace, name, 0).await
    }
    async fn power(&self, _: &str, _: &str, _: &str) -> Result<(), SubresourceError> {
        Ok(())
    }
    async fn act(&self, _: &str, _: &str, _: &str, _: &Value) -> Result<(), SubresourceError> {
        Ok(())
    }
    async fn expand_spec(&self, namespace: &str, name: &str) -> Result<Value, SubresourceError> {
        Ok(json!({"metadata": {"namespace": namespace, "name": name}}))
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
