//! `exec` over a WebSocket, and `metrics.k8s.io`.

use futures::{SinkExt, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;

pub(super) async fn with_pod() -> World {
    let world = world().await;
    let pods: Api<Pod> = Api::namespaced(world.outside(), "default");
    let pod = json!({"metadata": {"name": "p", "labels": {"a": "b"}}, "spec": {"nodeName": "n", "containers": [
        {"name": "c", "image": "i", "resources": {"requests": {"cpu": "300m", "memory": "300Mi"}}}]}});
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let running = Patch::Merge(json!({"status": {"phase": "Running"}}));
    pods.patch_status("p", &PatchParams::default(), &running).await.unwrap();
    world
}

/// What each channel said, and what came over the third.
async fn exec(world: &World, query: &str, typed: &[&[u8]]) -> Result<(String, String, Value), u16> {
    let http1 = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(world.ca.ca_pem().as_bytes()).unwrap()])
        .http1_only()
        .build()
        .unwrap();
    let answer = http1
        .get(format!("{}/api/v1/namespaces/default/pods/p/exec?{query}", world.server.url()))
        .bearer_auth(TOKEN)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-protocol", "v5.channel.k8s.io,v4.channel.k8s.io")
        .send()
        .await
        .unwrap();
    if answer.status() != 101 {
        return Err(answer.status().as_u16());
    }
    assert_eq!(answer.headers()["sec-websocket-protocol"], "v5.channel.k8s.io");
    let mut socket = WebSocketStream::from_raw_socket(answer.upgrade().await.unwrap(), Role::Client, None).await;
    for frame in typed {
        socket.send(Message::binary(frame.to_vec())).await.unwrap();
    }
    let (mut out, mut err, mut status) = (String::new(), String::new(), Value::Null);
    while let Some(Ok(message)) = tokio::time::timeout(SOON, socket.next()).await.unwrap() {
        let Message::Binary(bytes) = message else { continue };
        let text = String::from_utf8(bytes[1..].to_vec()).unwrap();
        match bytes[0] {
            1 => out.push_str(&text),
            2 => err.push_str(&text),
            3 => status = serde_json::from_str(&text).unwrap(),
            channel => panic!("channel {channel}"),
        }
    }
    Ok((out, err, status))
}

#[tokio::test]
async fn a_command_in_a_pod_tells_its_output_and_its_end_on_channels_of_their_own() {
    let world = with_pod().await;
    let (out, err, status) =
        exec(&world, "command=sh&command=-c&command=hostname;ls%20/none&stdout=1&stderr=1", &[]).await.unwrap();
    assert_eq!((out.as_str(), err.as_str()), ("p\n", "ls: cannot access '/none': No such file or directory\n"));
    assert_eq!(status["details"]["causes"][0], json!({"reason": "ExitCode", "message": "2"}));
    let (_, _, status) = exec(&world, "command=sh&command=-c&command=exit%203;hostname", &[]).await.unwrap();
    assert_eq!(status["details"]["causes"][0]["message"], "3");
    let typed: [&[u8]; 3] = [b"\0echo hi > /tmp/a\n", b"\0cat /tmp/a\n", &[255, 0]];
    let (out, _, status) = exec(&world, "command=sh&stdin=true&stdout=1", &typed).await.unwrap();
    assert_eq!((out.as_str(), &status["status"]), ("hi\n", &json!("Success")));
    assert_eq!(
        exec(&world, "command=cat&command=/tmp/a&stdout=1", &[]).await.unwrap().0,
        "hi\n",
        "it stays in the pod"
    );
    assert_eq!(exec(&world, "stdout=1", &[]).await, Err(400));
    assert_eq!(exec(&world, "command=ls&container=none", &[]).await, Err(400));
    world.server.stop().await;
}

#[tokio::test]
async fn metrics_are_told_of_pods_that_run_and_can_be_chosen_by_label() {
    let world = with_pod().await;
    let pods = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods";
    let all = world.get(pods, "application/json").await;
    assert_eq!(all["kind"], "PodMetricsList");
    assert_eq!(all["items"][0]["containers"][0], json!({"name": "c", "usage": {"cpu": "100m", "memory": "100Mi"}}));
    let none = world.get(&format!("{pods}?labelSelector=a%3Dc"), "application/json").await;
    assert_eq!(none["items"], json!([]));
    assert_eq!(world.get(&format!("{pods}/q"), "application/json").await["code"], 404);
    world.server.stop().await;
}
