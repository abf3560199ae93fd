//! Statuses that count what is in a namespace.

use serde_json::{Value, json};

use super::*;

impl World {
    async fn posts(&self, path: &str, object: Value) -> u16 {
        let request = self.http().post(format!("{}{path}", self.server.url())).bearer_auth(TOKEN);
        request.json(&object).send().await.unwrap().status().as_u16()
    }
    /// The status of an object when it is as `done` wants it.
    async fn status(&self, path: &str, done: impl Fn(&Value) -> bool) -> Value {
        let told = async {
            loop {
                let status = self.get(path, "application/json").await["status"].clone();
                if done(&status) {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(SOON, told).await.unwrap()
    }
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

#[tokio::test]
async fn a_quota_tells_what_is_granted_and_what_is_used() {
    let world = world().await;
    let base = "/api/v1/namespaces/default";
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "2", "requests.storage": "5Gi"}}});
    assert_eq!(world.posts(&format!("{base}/resourcequotas"), quota).await, 201);
    let path = format!("{base}/resourcequotas/q");
    let first = world.status(&path, |status| status["used"].is_object()).await;
    assert_eq!(
        first,
        json!({"hard": {"pods": "2", "requests.storage": "5Gi"}, "used": {"pods": "0", "requests.storage": "0"}})
    );
    let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "3Gi"}}}});
    assert_eq!(world.posts(&format!("{base}/persistentvolumeclaims"), claim).await, 201);
    assert_eq!(world.posts(&format!("{base}/pods"), pod("a")).await, 201);
    assert_eq!(world.posts(&format!("{base}/pods"), pod("b")).await, 201);
    assert_eq!(world.posts(&format!("{base}/pods"), pod("c")).await, 403);
    let used = json!({"pods": "2", "requests.storage": "3Gi"});
    world.status(&path, |status| status["used"] == used).await;
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(world.server.client(), "default");
    pods.delete("a", &kube::api::DeleteParams::default()).await.unwrap();
    world.status(&path, |status| status["used"]["pods"] == "1").await;
}

#[tokio::test]
async fn a_disruption_budget_tells_how_many_of_its_pods_may_go() {
    let world = world().await;
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget =
        json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}});
    assert_eq!(world.posts(budgets, budget).await, 201);
    let path = format!("{budgets}/b");
    let empty = world.status(&path, |status| status["conditions"].is_array()).await;
    assert_eq!((&empty["desiredHealthy"], &empty["conditions"][0]["reason"]), (&json!(1), &json!("InsufficientPods")));
    for name in ["a", "b"] {
        assert_eq!(world.posts("/api/v1/namespaces/default/pods", pod(name)).await, 201);
        let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(world.server.client(), "default");
        pods.patch_status(name, &Default::default(), &kube::api::Patch::Merge(ready)).await.unwrap();
    }
    let status = world.status(&path, |status| status["currentHealthy"] == 2).await;
    assert_eq!((&status["disruptionsAllowed"], &status["expectedPods"]), (&json!(1), &json!(2)));
    assert_eq!((&status["observedGeneration"], &status["conditions"][0]["status"]), (&json!(1), &json!("True")));
}
