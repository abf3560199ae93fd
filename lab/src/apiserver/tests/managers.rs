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
