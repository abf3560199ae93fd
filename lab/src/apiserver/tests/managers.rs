//! Who wrote what of an object: stored as text, and for everybody else what a real API server shows.

use serde_json::{Value, json};

use super::strict::MAPS;
use super::*;

/// Every array of managers in an answer.
fn told(value: &Value, found: &mut Vec<Value>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == "managedFields" { found.push(value.clone()) } else { told(value, found) }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| told(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn whichever_way_an_object_is_asked_for_its_managers_are_a_list() {
    let world = world().await;
    let map = json!({"metadata": {"name": "a"}, "data": {"x": "1"}});
    let (_, made) = world.post(&format!("{MAPS}?fieldManager=writer"), map).await;
    let managers = &made["metadata"]["managedFields"];
    assert_eq!(managers[0]["fieldsV1"], json!({"f:data": {".": {}, "f:x": {}}}));
    let (list, one) = (format!("{MAPS}?fieldSelector=metadata.name%3Da"), format!("{MAPS}/a"));
    let partial = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    let partials = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    for (path, accept) in [
        (one.clone(), "application/json"),
        (one.clone(), partial),
        (one.clone(), table),
        (format!("{one}?includeObject=Object"), table),
        (list.clone(), "application/json"),
        (list.clone(), partials),
        (list.clone(), table),
        (format!("{list}&watch=true&timeoutSeconds=1"), "application/json"),
        (format!("{list}&watch=true&timeoutSeconds=1"), partial),
        (format!("{list}&watch=true&timeoutSeconds=1"), table),
    ] {
        let mut found = Vec::new();
        told(&world.get(&path, accept).await, &mut found);
        assert_eq!(found, std::slice::from_ref(managers), "{path} {accept}");
    }
    let yaml = world.http().get(format!("{}{one}", world.server.url())).bearer_auth(TOKEN);
    let yaml = yaml.header("accept", "application/yaml").send().await.unwrap().text().await.unwrap();
    assert!(yaml.contains("f:data") && yaml.contains("manager: writer"), "{yaml}");
}

#[tokio::test]
async fn a_project_and_an_event_of_the_newer_group_show_the_managers_of_what_is_stored() {
    let world = world().await;
    let namespace = json!({"metadata": {"name": "n", "labels": {"a": "b"}}});
    let (_, made) = world.post("/api/v1/namespaces?fieldManager=writer", namespace).await;
    let events = "/api/v1/namespaces/n/events";
    let event = json!({"metadata": {"name": "e"}, "involvedObject": {"namespace": "n"}, "message": "m", "reason": "r"});
    let (_, event) = world.post(&format!("{events}?fieldManager=writer"), event).await;
    for (path, of) in [
        ("/apis/project.openshift.io/v1/projects/n", &made),
        ("/apis/events.k8s.io/v1/namespaces/n/events/e", &event),
        ("/apis/events.k8s.io/v1/namespaces/n/events", &event),
    ] {
        let mut found = Vec::new();
        told(&world.get(path, "application/json").await, &mut found);
        assert!(found[0][0]["fieldsV1"].is_object(), "{found:?}");
        assert_eq!(found, [of["metadata"]["managedFields"].clone()], "{path}");
    }
}

#[tokio::test]
async fn a_patch_reaches_into_the_managers_as_into_any_other_list() {
    let world = world().await;
    let map = json!({"metadata": {"name": "a"}, "data": {"x": "1"}});
    let (_, made) = world.post(&format!("{MAPS}?fieldManager=writer"), map).await;
    let path = format!("{MAPS}/a?fieldManager=other");
    let patch = async |body: Value| world.send(TOKEN, "PATCH", &path, "application/json-patch+json", &body).await;
    let test = json!({"op": "test", "path": "/metadata/managedFields/0/fieldsV1/f:data/f:x", "value": {}});
    let (code, patched) = patch(json!([test, {"op": "add", "path": "/data/y", "value": "2"}])).await;
    assert_eq!(code, 200, "{patched}");
    let entries = patched["metadata"]["managedFields"].as_array().unwrap();
    let by = |name: &str| entries.iter().find(|entry| entry["manager"] == name).map(|entry| &entry["fieldsV1"]);
    assert_eq!(by("writer"), Some(&made["metadata"]["managedFields"][0]["fieldsV1"]));
    assert_eq!(by("other"), Some(&json!({"f:data": {"f:y": {}}})));

    let (code, cleared) = patch(json!([{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}])).await;
    assert_eq!((code, cleared["metadata"].get("managedFields")), (200, None), "as kubectl clears them");
    let (_, again) = patch(json!([{"op": "add", "path": "/data/z", "value": "3"}])).await;
    assert_eq!(again["metadata"].get("managedFields"), None, "until somebody applies");
}

#[tokio::test]
async fn an_object_that_is_put_as_it_was_got_is_the_same_and_one_with_forged_managers_has_those() {
    let world = world().await;
    let map = json!({"metadata": {"name": "a"}, "data": {"x": "1"}});
    let (_, made) = world.post(&format!("{MAPS}?fieldManager=writer"), map).await;
    let put = async |body: &Value| {
        world.send(TOKEN, "PUT", &format!("{MAPS}/a?fieldManager=other"), "application/json", body).await
    };
    assert_eq!(put(&made).await, (200, made.clone()));
    let mut forged = made.clone();
    forged["metadata"]["managedFields"][0]["manager"] = json!("nobody");
    let (code, forged) = put(&forged).await;
    assert_eq!((code, &forged["metadata"]["managedFields"][0]["manager"]), (200, &json!("nobody")));
    assert_ne!(forged["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn a_text_in_the_place_of_managers_is_refused_as_by_any_server() {
    let world = world().await;
    let map = json!({"metadata": {"name": "a"}, "data": {"x": "1"}});
    let (_, made) = world.post(&format!("{MAPS}?fieldManager=writer"), map).await;
    let forged = r#"[{"manager":"evil","operation":"Update","fieldsV1":{"f:data":{}}}]"#;
    for text in ["garbage", forged] {
        let mut put = made.clone();
        put["metadata"]["managedFields"] = json!(text);
        let patch = json!({"metadata": {"managedFields": text}});
        for (method, kind, body) in [
            ("PUT", "application/json", &put),
            ("PATCH", "application/merge-patch+json", &patch),
            ("PATCH", "application/strategic-merge-patch+json", &patch),
        ] {
            let (code, refused) = world.send(TOKEN, method, &format!("{MAPS}/a"), kind, body).await;
            let told = refused["message"].as_str().unwrap_or_default();
            assert!(code >= 400 && told.contains("cannot unmarshal string into"), "{method} {kind}: {code} {told}");
        }
    }
    assert_eq!(world.get(&format!("{MAPS}/a"), "application/json").await, made);
}

#[tokio::test]
async fn a_manager_without_fields_is_none_and_the_order_of_fields_is_no_change() {
    let world = world().await;
    let map = json!({"metadata": {"name": "a"}, "data": {"x": "1", "y": "2"}});
    let (_, made) = world.post(&format!("{MAPS}?fieldManager=writer"), map).await;
    let put = async |body: &Value| {
        world.send(TOKEN, "PUT", &format!("{MAPS}/a?fieldManager=writer"), "application/json", body).await
    };
    let mut turned = made.clone();
    turned["metadata"]["managedFields"][0]["fieldsV1"] =
        serde_json::from_str(r#"{"f:data":{"f:y":{},"f:x":{},".":{}}}"#).unwrap();
    assert_eq!(put(&turned).await, (200, made.clone()));
    let mut more = made.clone();
    let idle = json!({"manager": "idle", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
        "time": "2026-01-01T00:00:00Z", "fieldsV1": {}});
    more["metadata"]["managedFields"].as_array_mut().unwrap().push(idle);
    let (_, answer) = put(&more).await;
    let names: Vec<&Value> =
        answer["metadata"]["managedFields"].as_array().unwrap().iter().map(|entry| &entry["manager"]).collect();
    assert_eq!(names, ["writer"]);
}

#[tokio::test]
async fn a_column_may_be_made_of_the_managers() {
    let world = world().await;
    let column = |name: &str, path: &str| json!({"name": name, "type": "string", "jsonPath": path});
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                "additionalPrinterColumns": [column("Writer", ".metadata.managedFields[0].manager")]}]},
    });
    world.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd).await;
    let things = "/apis/example.com/v1/namespaces/default/things";
    let thing = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": {"a": 1}});
    world.post(&format!("{things}?fieldManager=writer"), thing).await;
    let table = world.get(things, "application/json;as=Table;v=v1;g=meta.k8s.io").await;
    assert_eq!(table["rows"][0]["cells"], json!(["t", "writer"]));
}

#[tokio::test]
async fn a_scale_is_put_and_patched_beside_the_managers() {
    let world = world().await;
    let labels = json!({"app": "a"});
    let spec = json!({"replicas": 1, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}});
    let sets = "/apis/apps/v1/namespaces/default/deployments";
    world.post(&format!("{sets}?fieldManager=writer"), json!({"metadata": {"name": "d"}, "spec": spec})).await;
    let scale = |replicas: u32| {
        json!({"kind": "Scale", "apiVersion": "autoscaling/v1",
            "metadata": {"name": "d", "namespace": "default"}, "spec": {"replicas": replicas}})
    };
    let path = format!("{sets}/d/scale?fieldManager=scaler");
    for (method, kind, replicas) in [("PUT", "application/json", 2), ("PATCH", "application/merge-patch+json", 3)] {
        let (code, told) = world.send(TOKEN, method, &path, kind, &scale(replicas)).await;
        assert_eq!(code, 200, "{told}");
        let now = world.get(&format!("{sets}/d"), "application/json").await;
        assert_eq!(now["spec"]["replicas"], replicas);
        let entries = now["metadata"]["managedFields"].as_array().unwrap();
        let scaler = entries.iter().find(|entry| entry["manager"] == "scaler").unwrap();
        assert_eq!(scaler["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
    }
}

#[tokio::test]
async fn a_status_that_is_replaced_by_nothing_is_refused() {
    let world = world().await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    world.post("/api/v1/namespaces/default/pods", pod).await;
    let path = "/api/v1/namespaces/default/pods/p/status";
    let nothing = json!([{"op": "add", "path": "/status"}]);
    assert_eq!(world.send(TOKEN, "PATCH", path, "application/json-patch+json", &nothing).await.0, 422);
}

#[tokio::test]
async fn a_state_that_was_kept_is_told_as_before() {
    let (first, second) = (world().await, world().await);
    let map = json!({"metadata": {"name": "a"}, "data": {"x": "1"}});
    first.post(&format!("{MAPS}?fieldManager=writer"), map).await;
    let mut kept = first.server.kept();
    second.server.restore(&kept);
    let wanted = first.get(&format!("{MAPS}/a"), "application/json").await;
    assert_eq!(second.get(&format!("{MAPS}/a"), "application/json").await, wanted);
    // As labs of before have kept it.
    for object in kept["objects"].as_array_mut().unwrap() {
        if object["object"]["metadata"]["name"] == "a" {
            object["object"] = wanted.clone();
        }
    }
    second.server.restore(&kept);
    assert_eq!(second.get(&format!("{MAPS}/a"), "application/json").await, wanted);
}
