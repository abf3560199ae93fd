//! Webhooks by URL: they change and refuse what is written, and see what they asked for.

use std::sync::{Arc, Mutex};

use axum::Json;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::super::*;
use super::*;

/// A webhook server; the requests that it saw.
struct Hooks {
    endpoint: Endpoint,
    seen: Arc<Mutex<Vec<Value>>>,
}

/// Answers with what `decide` says: `allowed`, `status`, `patch`, `warnings`.
async fn hooks(world: &World, decide: fn(&Value) -> Value) -> Hooks {
    let listener = serve::bind("webhook", IpAddr::from([127, 0, 0, 1]), 0).await.unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let requests = seen.clone();
    let answer = move |Json(review): Json<Value>| {
        let requests = requests.clone();
        async move {
            let mut response = decide(&review["request"]);
            response["uid"] = review["request"]["uid"].clone();
            requests.lock().unwrap().push(review["request"].clone());
            Json(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}))
        }
    };
    let router = Router::new().fallback(axum::routing::post(answer));
    let tls = world.ca.server_config(&["127.0.0.1".to_owned()]).unwrap();
    Hooks { endpoint: serve::https("webhook", listener, tls, router).unwrap(), seen }
}

impl World {
    async fn register(&self, kind: &str, url: &str, more: Value) {
        let mut hook = json!({
            "name": "maps.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": url, "caBundle": STANDARD.encode(self.ca.ca_pem())},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
                "operations": ["CREATE", "UPDATE", "DELETE"]}],
        });
        hook.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        let object = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
            "metadata": {"name": kind.to_lowercase()}, "webhooks": [hook]});
        let plural = format!("{}s", kind.to_lowercase());
        let url = format!("{}/apis/admissionregistration.k8s.io/v1/{plural}", self.server.url());
        let made = self.http().post(url).bearer_auth(TOKEN).json(&object).send().await.unwrap();
        assert_eq!(made.status(), 201, "{}", made.text().await.unwrap());
    }
}

fn patch(operations: &Value) -> Value {
    json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(operations.to_string())})
}

#[tokio::test]
async fn a_mutating_webhook_changes_what_is_stored_on_create_update_and_apply() {
    let world = world().await;
    let hooks = hooks(&world, |_| patch(&json!([{"op": "add", "path": "/data/hook", "value": "was here"}]))).await;
    let url = format!("https://{}/mutate", hooks.endpoint.addr());
    world.register("MutatingWebhookConfiguration", &url, json!({})).await;
    let maps: Api<ConfigMap> = Api::namespaced(world.outside(), "default");
    let made = maps.create(&PostParams::default(), &config_map("a")).await.unwrap();
    assert_eq!(made.data.unwrap()["hook"], "was here");
    let merge = Patch::Merge(json!({"data": {"hook": "mine", "b": "2"}}));
    let changed = maps.patch("a", &PatchParams::default(), &merge).await.unwrap().data.unwrap();
    assert_eq!((changed["hook"].as_str(), changed["b"].as_str()), ("was here", "2"));
    let applied = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}, "data": {"c": "3"}});
    let applied = maps.patch("b", &PatchParams::apply("test"), &Patch::Apply(applied)).await.unwrap();
    assert_eq!(applied.data.unwrap()["hook"], "was here");
    let mut unnamed = config_map("");
    unnamed.metadata.name = None;
    unnamed.metadata.generate_name = Some("generated-".to_owned());
    let unnamed = maps.create(&PostParams::default(), &unnamed).await.unwrap();
    let seen = hooks.seen.lock().unwrap();
    let operations: Vec<&str> = seen.iter().map(|r| r["operation"].as_str().unwrap()).collect();
    assert_eq!(operations, ["CREATE", "UPDATE", "CREATE", "CREATE"], "each write asks once");
    assert_eq!((&seen[0]["object"]["data"]["a"], &seen[0]["oldObject"]), (&json!("1"), &Value::Null));
    assert_eq!(seen[1]["oldObject"]["data"]["hook"], "was here");
    assert_eq!(seen[3]["name"].as_str(), unnamed.metadata.name.as_deref());
}

#[tokio::test]
async fn what_a_webhook_was_shown_is_what_it_patches() {
    let world = world().await;
    let hooks = hooks(&world, |request| match &request["object"]["metadata"]["managedFields"] {
        Value::Array(_) if request["operation"] == "UPDATE" => {
            patch(&json!([{"op": "replace", "path": "/metadata/managedFields/0/manager", "value": "hook"}]))
        }
        _ => json!({"allowed": true}),
    })
    .await;
    let url = format!("https://{}/mutate", hooks.endpoint.addr());
    world.register("MutatingWebhookConfiguration", &url, json!({})).await;
    let maps: Api<ConfigMap> = Api::namespaced(world.outside(), "default");
    maps.create(&PostParams::default(), &config_map("a")).await.unwrap();
    let merge = Patch::Merge(json!({"data": {"a": "2"}}));
    let patched = maps.patch("a", &PatchParams::default(), &merge).await.unwrap();
    let managers = patched.metadata.managed_fields.unwrap();
    assert_eq!(managers[0].manager.as_deref(), Some("hook"));
}

#[tokio::test]
async fn a_validating_webhook_refuses_in_its_own_words() {
    let world = world().await;
    let hooks = hooks(&world, |request| {
        let object = if request["object"].is_null() { &request["oldObject"] } else { &request["object"] };
        match object["data"]["a"] == "1" {
            true => json!({"allowed": false, "status": {"code": 403, "message": "no ones"}}),
            false => json!({"allowed": true, "warnings": ["careful"]}),
        }
    })
    .await;
    let maps: Api<ConfigMap> = Api::namespaced(world.outside(), "default");
    maps.create(&PostParams::default(), &config_map("before")).await.unwrap();
    let url = format!("https://{}", hooks.endpoint.addr());
    world.register("ValidatingWebhookConfiguration", &url, json!({})).await;
    let refused = maps.create(&PostParams::default(), &config_map("a")).await;
    let Err(kube::Error::Api(status)) = refused else { panic!("{refused:?}") };
    assert_eq!(status.message, "admission webhook \"maps.example.com\" denied the request: no ones");
    assert_eq!(status.code, 403);
    assert!(maps.get_opt("a").await.unwrap().is_none());
    assert_eq!(code(maps.delete("before", &DeleteParams::default()).await.map(drop)).0, 403);
    let mut fine = config_map("fine");
    fine.data = Some([("a".to_owned(), "2".to_owned())].into());
    let path = format!("{}/api/v1/namespaces/default/configmaps", world.server.url());
    let answer = world.http().post(path).bearer_auth(TOKEN).json(&fine).send().await.unwrap();
    assert_eq!(answer.headers()["warning"], "299 - \"careful\"");
}

#[tokio::test]
async fn selectors_and_failure_policies_decide_whether_a_webhook_matters() {
    let world = world().await;
    // Nobody listens there.
    let url = "https://127.0.0.1:1/gone";
    let only = json!({"objectSelector": {"matchLabels": {"asked": "yes"}}, "timeoutSeconds": 1});
    world.register("ValidatingWebhookConfiguration", url, only).await;
    let maps: Api<ConfigMap> = Api::namespaced(world.server.client(), "default");
    maps.create(&PostParams::default(), &config_map("a")).await.unwrap();
    let mut asked = config_map("b");
    asked.metadata.labels = Some([("asked".to_owned(), "yes".to_owned())].into());
    let Err(kube::Error::Api(status)) = maps.create(&PostParams::default(), &asked).await else { panic!() };
    assert!(status.message.starts_with("Internal error occurred: failed calling webhook \"maps.example.com\""));
    world.register("MutatingWebhookConfiguration", url, json!({"failurePolicy": "Ignore"})).await;
    maps.create(&PostParams::default(), &config_map("c")).await.unwrap();
}

#[tokio::test]
async fn a_dry_run_is_refused_by_webhooks_with_side_effects() {
    let world = world().await;
    let hooks = hooks(&world, |_| json!({"allowed": true})).await;
    let url = format!("https://{}", hooks.endpoint.addr());
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let maps: Api<ConfigMap> = Api::namespaced(world.server.client(), "default");
    world.register("ValidatingWebhookConfiguration", &url, json!({"sideEffects": "Some"})).await;
    assert_eq!(code(maps.create(&dry, &config_map("a")).await).0, 400);
    maps.create(&PostParams::default(), &config_map("a")).await.unwrap();
}
