//! What clients that others wrote ask for: `oc login`, tokens by protobuf, watches by WebSocket,
//! defaults, the old OpenAPI document.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::StreamExt as _;
use serde_json::{Value, json};
use sha2::Digest as _;

use super::*;

impl World {
    async fn sends(&self, path: &str, object: &Value) -> Value {
        let request = self.http().post(format!("{}{path}", self.server.url())).bearer_auth(TOKEN);
        request.json(object).send().await.unwrap().json().await.unwrap()
    }
}

#[tokio::test]
async fn a_code_is_exchanged_by_a_form_and_only_with_its_verifier() {
    let world = world().await;
    let challenge = URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(b"the-verifier-that-is-long-enough-for-rfc-7636"));
    let code = async || {
        let url = format!("{}/oauth/authorize", world.server.url());
        let query = [
            ("client_id", "openshift-challenging-client"),
            ("response_type", "code"),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ];
        let asked = world.http().get(url).query(&query).basic_auth("kubeadmin", Some("lab-admin"));
        let answer = asked.header("X-CSRF-Token", "1").send().await.unwrap();
        let location = answer.headers()["location"].to_str().unwrap().to_owned();
        location.split_once("code=").unwrap().1.to_owned()
    };
    let exchange = async |verifier: &str| {
        let code = code().await;
        let form = [("grant_type", "authorization_code"), ("code", code.as_str()), ("code_verifier", verifier)];
        let url = format!("{}/oauth/token", world.server.url());
        let posted = world.http().post(url).basic_auth("openshift-challenging-client", Some("")).form(&form);
        posted.send().await.unwrap().json::<Value>().await.unwrap()
    };
    assert_eq!(exchange("").await["error"], "invalid_request");
    let another = exchange("another-verifier-that-is-long-enough-for-rfc-7636").await;
    assert_eq!(
        (&another["error"], &another["error_description"]),
        (&json!("invalid_grant"), &json!("code_verifier invalid (rfc7636)"))
    );
    let token =
        exchange("the-verifier-that-is-long-enough-for-rfc-7636").await["access_token"].as_str().unwrap().to_owned();
    let url = format!("{}/apis/user.openshift.io/v1/users/~", world.server.url());
    let user: Value = world.http().get(&url).bearer_auth(token).send().await.unwrap().json().await.unwrap();
    assert_eq!(user["metadata"]["name"], "kube:admin");
    assert_eq!(user["groups"], json!(["system:authenticated", "system:cluster-admins"]));
    assert_eq!(world.http().get(&url).send().await.unwrap().status(), 403, "nobody has logged in");
}

#[tokio::test]
async fn a_project_may_be_asked_for_and_knows_who_asked() {
    let world = world().await;
    let may = world.get("/apis/project.openshift.io/v1/projectrequests", "application/json").await;
    assert_eq!((&may["kind"], &may["status"]), (&json!("Status"), &json!("Success")));
    let request = json!({"kind": "ProjectRequest", "apiVersion": "project.openshift.io/v1",
        "metadata": {"name": "mine"}, "displayName": "Mine"});
    let project = world.sends("/apis/project.openshift.io/v1/projectrequests", &request).await;
    assert_eq!(project["kind"], "Project");
    let annotations = &project["metadata"]["annotations"];
    assert_eq!(annotations["openshift.io/display-name"], "Mine");
    assert_eq!(annotations["openshift.io/requester"], "system:admin");
    let again = world.sends("/apis/project.openshift.io/v1/projectrequests", &request).await;
    assert_eq!(
        (&again["code"], &again["message"]),
        (&json!(409), &json!("project.project.openshift.io \"mine\" already exists"))
    );
}

#[tokio::test]
async fn a_request_for_a_project_is_made_or_listed_and_nothing_else() {
    let world = world().await;
    let path = "/apis/project.openshift.io/v1/projectrequests";
    let one = world.get(&format!("{path}/mine"), "application/json").await;
    assert_eq!(
        (&one["code"], &one["message"]),
        (&json!(404), &json!("the server could not find the requested resource"))
    );
    let url = format!("{}{path}", world.server.url());
    assert_eq!(world.http().delete(&url).bearer_auth(TOKEN).send().await.unwrap().status(), 405);
    let reserved = json!({"metadata": {"name": "kube-mine"}});
    let refused = world.sends(path, &reserved).await;
    let why =
        "project.project.openshift.io \"kube-mine\" is forbidden: cannot request a project starting with \"kube-\"";
    assert_eq!((&refused["code"], &refused["message"]), (&json!(403), &json!(why)));
    let basic = [
        (
            "clusterroles",
            json!({"metadata": {"name": "basic-user"}, "rules": [
            {"apiGroups": ["project.openshift.io"], "resources": ["projectrequests"], "verbs": ["list"]}]}),
        ),
        (
            "clusterrolebindings",
            json!({"metadata": {"name": "basic-users"}, "subjects": [{"kind": "User", "name": "ann"}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "basic-user"}}),
        ),
    ];
    for (plural, object) in basic {
        world.sends(&format!("/apis/rbac.authorization.k8s.io/v1/{plural}"), &object).await;
    }
    let asked = world.http().get(&url).bearer_auth(TOKEN).header("impersonate-user", "ann").send().await.unwrap();
    let answer: Value = asked.json().await.unwrap();
    let words = "You may not request a new project via this API.";
    assert_eq!((&answer["code"], &answer["message"]), (&json!(403), &json!(words)));
}

#[tokio::test]
async fn a_token_is_made_for_a_service_account_by_protobuf() {
    let world = world().await;
    // runtime.Unknown{typeMeta{authentication.k8s.io/v1, TokenRequest}, raw{metadata, spec}} as kubectl sends it.
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat();
    let types = [field(1, b"authentication.k8s.io/v1"), field(2, b"TokenRequest")].concat();
    let raw = [field(1, b""), field(2, &[4 << 3, 0x90, 0x1c])].concat();
    let body = [b"k8s\0".to_vec(), field(1, &types), field(2, &raw)].concat();
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let request = world.http().post(format!("{}{path}", world.server.url())).bearer_auth(TOKEN);
    let answer = request.header("content-type", "application/vnd.kubernetes.protobuf").body(body).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    let answer: Value = answer.json().await.unwrap();
    assert!(answer["status"]["token"].is_string(), "{answer}");
    assert_eq!(answer["spec"]["expirationSeconds"], 3600);
}

#[tokio::test]
async fn a_watch_goes_over_a_websocket_one_frame_an_event() {
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::protocol::Role;
    let world = world().await;
    let certificate = reqwest::Certificate::from_pem(world.ca.ca_pem().as_bytes()).unwrap();
    let http1 = reqwest::Client::builder().tls_certs_only([certificate]).http1_only().build().unwrap();
    let token = URL_SAFE_NO_PAD.encode(TOKEN);
    let path = "/api/v1/namespaces/default/configmaps?watch=true&resourceVersion=0";
    let answer = http1
        .get(format!("{}{path}", world.server.url()))
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header(
            "sec-websocket-protocol",
            format!("base64url.bearer.authorization.k8s.io.{token}, base64.binary.k8s.io"),
        )
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 101);
    assert_eq!(answer.headers()["sec-websocket-protocol"], "base64.binary.k8s.io");
    let upgraded = answer.upgrade().await.unwrap();
    let mut socket = WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await;
    let maps: Api<ConfigMap> = Api::namespaced(world.server.client(), "default");
    maps.create(&kube::api::PostParams::default(), &config_map("seen")).await.unwrap();
    let frame = tokio::time::timeout(SOON, socket.next()).await.unwrap().unwrap().unwrap();
    let event: Value = serde_json::from_str(frame.to_text().unwrap()).unwrap();
    assert_eq!((&event["type"], &event["object"]["metadata"]["name"]), (&json!("ADDED"), &json!("seen")));
    world.server.stop().await;
}

#[tokio::test]
async fn a_claim_without_a_class_gets_the_default_one() {
    let world = world().await;
    let claim = |name: &str, class: Value| {
        let mut claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
        if class.is_string() {
            claim["spec"]["storageClassName"] = class;
        }
        claim
    };
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let before = world.sends(claims, &claim("a", Value::Null)).await;
    assert!(before["spec"]["storageClassName"].is_null());
    for (name, default) in [("fast", "true"), ("slow", "false")] {
        let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "x",
            "metadata": {"name": name, "annotations": {"storageclass.kubernetes.io/is-default-class": default}}});
        world.sends("/apis/storage.k8s.io/v1/storageclasses", &class).await;
    }
    assert_eq!(world.sends(claims, &claim("b", Value::Null)).await["spec"]["storageClassName"], "fast");
    assert_eq!(world.sends(claims, &claim("c", json!(""))).await["spec"]["storageClassName"], "");
}

#[tokio::test]
async fn the_old_openapi_document_has_every_kind_as_json_and_as_protobuf() {
    let world = world().await;
    let document = world.get("/openapi/v2", "application/json").await;
    let pod = &document["definitions"]["io.k8s.api.core.v1.Pod"]["properties"]["spec"];
    assert_eq!(pod["$ref"], "#/definitions/io.k8s.api.core.v1.PodSpec");
    let wanted = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    let request = world.http().get(format!("{}/openapi/v2", world.server.url())).bearer_auth(TOKEN);
    let answer = request.header("accept", wanted).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], wanted);
    assert!(answer.bytes().await.unwrap().starts_with(b"\n\x032.0"), "swagger: 2.0");
}

#[tokio::test]
async fn tables_show_pods_and_jobs_as_users_know_them() {
    let world = world().await;
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": {
        "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}});
    world.sends("/apis/batch/v1/namespaces/default/jobs", &job).await;
    let table =
        world.get("/apis/batch/v1/namespaces/default/jobs", "application/json;as=Table;v=v1;g=meta.k8s.io").await;
    let titles: Vec<&str> =
        table["columnDefinitions"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).take(4).collect();
    assert_eq!(titles, ["Name", "Status", "Completions", "Duration"]);
    assert_eq!(table["rows"][0]["cells"].as_array().unwrap()[..3], [json!("j"), json!("Running"), json!("0/1")]);
}
