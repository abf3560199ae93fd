//! Schemas, owners of fields and rights, by raw requests.

use serde_json::{Value, json};

use super::*;

impl World {
    /// Status and body of a request with a JSON body.
    pub(super) async fn send(&self, token: &str, method: &str, path: &str, kind: &str, body: &Value) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.http().request(method, format!("{}{path}", self.server.url())).bearer_auth(token);
        let answer = request.header("content-type", kind).body(body.to_string()).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }
    pub(super) async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.send(TOKEN, "POST", path, "application/json", &body).await
    }
}

pub(super) const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn a_definition_with_a_schema_validates_defaults_and_prunes() {
    let world = world().await;
    let schema = json!({"type": "object", "properties": {"spec": {
        "type": "object",
        "required": ["color"],
        "properties": {"color": {"type": "string", "enum": ["red"]}, "size": {"type": "integer", "default": 3}},
    }}});
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]},
    });
    let (code, _) = world.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd).await;
    assert_eq!(code, 201);
    let thing =
        |spec: Value| json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": spec});
    let path = "/apis/example.com/v1/namespaces/default/things";
    let (code, refused) = world.post(path, thing(json!({"color": "pink"}))).await;
    assert_eq!((code, refused["reason"].as_str()), (422, Some("Invalid")));
    let unknown = thing(json!({"color": "red", "colour": "blue"}));
    let (code, refused) = world.post(&format!("{path}?fieldValidation=Strict"), unknown.clone()).await;
    assert_eq!(code, 400);
    assert!(refused["message"].as_str().unwrap().ends_with("strict decoding error: unknown field \"spec.colour\""));
    let (code, made) = world.post(path, unknown).await;
    assert_eq!((code, &made["spec"]), (201, &json!({"color": "red", "size": 3})));
}

/// A status goes on a thousand times: what a patch of it alone does not touch is not looked at again, and is there still.
#[tokio::test]
async fn a_patch_of_the_status_alone_leaves_the_rest_and_is_refused_in_the_words_of_any_other() {
    let world = world().await;
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {"size": {"type": "integer"}}},
        "status": {"type": "object", "required": ["phase"], "default": {"phase": "Off"}, "properties": {
            "phase": {"type": "string", "enum": ["On", "Off"]}, "tries": {"type": "integer", "default": 7}}},
    }});
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": schema}}]},
    });
    world.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd).await;
    let things = "/apis/example.com/v1/namespaces/default/things";
    let thing = json!({"apiVersion": "example.com/v1", "kind": "Thing",
        "metadata": {"name": "t", "labels": {"a": "b"}}, "spec": {"size": 3}});
    let (_, made) = world.post(&format!("{things}?fieldManager=user"), thing).await;
    let path = format!("{things}/t/status?fieldManager=controller");
    let json_patch = async |body: Value| world.send(TOKEN, "PATCH", &path, "application/json-patch+json", &body).await;
    let merge = async |body: Value| world.send(TOKEN, "PATCH", &path, "application/merge-patch+json", &body).await;

    let whole = json!([{"op": "add", "path": "/status", "value": {"phase": "On", "noise": 1}}]);
    let (code, on) = json_patch(whole).await;
    assert_eq!((code, &on["status"]), (200, &json!({"phase": "On", "tries": 7})));
    for field in ["spec", "apiVersion", "kind"] {
        assert_eq!(on[field], made[field]);
    }
    assert_eq!((&on["metadata"]["labels"], &on["metadata"]["generation"]), (&json!({"a": "b"}), &json!(1)));
    let managers = |object: &Value| {
        let all = object["metadata"]["managedFields"].as_array().unwrap().iter();
        all.map(|entry| (entry["manager"].as_str().unwrap().to_owned(), entry["fieldsV1"].clone())).collect::<Vec<_>>()
    };
    let [controller, user] = <[_; 2]>::try_from(managers(&on)).unwrap();
    assert_eq!(controller, ("controller".to_owned(), json!({"f:status": {"f:phase": {}}})));
    assert_eq!(user, managers(&made)[0]);

    let (_, off) = merge(json!({"status": {"tries": 3}})).await;
    assert_eq!(off["status"], json!({"phase": "On", "tries": 3}));
    let (code, off) = merge(json!({"status": {"phase": "Off"}})).await;
    assert_eq!(
        (code, &off["status"]),
        (200, &json!({"phase": "Off", "tries": 3})),
        "the rest of the status is there still"
    );
    assert_eq!(managers(&off)[0].1, json!({"f:status": {"f:phase": {}, "f:tries": {}}}));
    let (code, kept) = merge(json!({"status": {"phase": "Off"}})).await;
    assert_eq!((code, &kept), (200, &off), "nothing has changed");
    let (code, _) = json_patch(json!([{"op": "test", "path": "/status/phase", "value": "On"}])).await;
    assert_eq!(code, 422);
    let (_, fewer) = json_patch(json!([{"op": "remove", "path": "/status/tries"}])).await;
    assert_eq!(fewer["status"], json!({"phase": "Off", "tries": 7}), "the default comes back");

    let (_, none) = json_patch(json!([{"op": "remove", "path": "/status"}])).await;
    assert_eq!(none["status"], json!({"phase": "Off", "tries": 7}), "so does that of all of it");

    let alone = json_patch(json!([{"op": "replace", "path": "/status", "value": {"tries": "many"}}])).await;
    let with_more = json_patch(json!([{"op": "test", "path": "/spec/size", "value": 3},
        {"op": "replace", "path": "/status", "value": {"tries": "many"}}]))
    .await;
    assert_eq!(alone.0, 422);
    assert_eq!(alone, with_more);

    let strict = format!("{path}&fieldValidation=Strict");
    let body = json!({"status": {"phase": "On", "noise": 1}});
    let (code, refused) = world.send(TOKEN, "PATCH", &strict, "application/merge-patch+json", &body).await;
    assert_eq!(code, 422);
    let told = refused["message"].as_str().unwrap();
    assert!(told.contains("unknown field"), "{told}");
    assert!(told.contains("size"), "the refusal shows the whole object: {told}");
}

#[tokio::test]
async fn an_update_owns_what_it_wrote_so_that_an_applier_conflicts() {
    let world = world().await;
    let (_, made) = world
        .post(&format!("{MAPS}?fieldManager=writer"), json!({"metadata": {"name": "a"}, "data": {"x": "1"}}))
        .await;
    assert_eq!(made["metadata"]["managedFields"][0]["fieldsV1"], json!({"f:data": {".": {}, "f:x": {}}}));
    let apply =
        |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": value}});
    let path = format!("{MAPS}/a?fieldManager=applier");
    let kind = "application/apply-patch+yaml";
    let (code, refused) = world.send(TOKEN, "PATCH", &path, kind, &apply("2")).await;
    assert_eq!(code, 409);
    assert_eq!(refused["message"], "Apply failed with 1 conflict: conflict with \"writer\" using v1: .data.x");
    let (code, _) = world.send(TOKEN, "PATCH", &format!("{path}&force=true"), kind, &apply("2")).await;
    assert_eq!(code, 200);
}

#[tokio::test]
async fn a_service_account_may_do_what_its_role_says_and_nobody_nothing() {
    let world = world().await;
    let (_, answer) = world.post("/api/v1/namespaces/default/serviceaccounts/default/token", json!({"spec": {}})).await;
    let token = answer["status"]["token"].as_str().unwrap().to_owned();
    let list = async |token: &str| world.send(token, "GET", MAPS, "application/json", &Value::Null).await;
    let (code, refused) = list(&token).await;
    assert_eq!(code, 403);
    assert_eq!(
        refused["message"],
        "configmaps is forbidden: User \"system:serviceaccount:default:default\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\""
    );
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]);
    world.post(&format!("{rbac}/roles"), json!({"metadata": {"name": "r"}, "rules": rules})).await;
    let binding = json!({
        "metadata": {"name": "r"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}],
    });
    world.post(&format!("{rbac}/rolebindings"), binding).await;
    assert_eq!(list(&token).await.0, 200);
    assert_eq!(world.send(&token, "GET", &format!("{MAPS}/x"), "application/json", &Value::Null).await.0, 403);
    let nobody = world.http().get(format!("{}{MAPS}", world.server.url())).send().await.unwrap();
    assert_eq!(nobody.status(), 403);
}

#[tokio::test]
async fn pages_go_on_in_the_version_of_the_first() {
    let world = world().await;
    for name in ["a", "b", "c"] {
        world.post(MAPS, json!({"metadata": {"name": name}})).await;
    }
    let first = world.get(&format!("{MAPS}?limit=2"), "application/json").await;
    world.post(MAPS, json!({"metadata": {"name": "bb"}})).await;
    world.send(TOKEN, "DELETE", &format!("{MAPS}/c"), "application/json", &Value::Null).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let rest = world.get(&format!("{MAPS}?limit=2&continue={token}"), "application/json").await;
    let names: Vec<_> =
        rest["items"].as_array().unwrap().iter().map(|i| i["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["c"]);
}

#[tokio::test]
async fn replicas_are_changed_through_the_scale_alone() {
    let world = world().await;
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let spec = json!({"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template});
    world.post(path, json!({"metadata": {"name": "d"}, "spec": spec})).await;
    let patch = json!({"spec": {"replicas": 3}});
    let (code, scale) =
        world.send(TOKEN, "PATCH", &format!("{path}/d/scale"), "application/merge-patch+json", &patch).await;
    assert_eq!((code, &scale["kind"], &scale["spec"]["replicas"]), (200, &json!("Scale"), &json!(3)));
    assert_eq!(scale["status"]["selector"], "a=b");
    assert_eq!(world.get(&format!("{path}/d"), "application/json").await["spec"]["replicas"], 3);
}
