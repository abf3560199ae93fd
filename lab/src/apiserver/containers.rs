//! `exec` and `attach` into pods, over a WebSocket or, for older clients, SPDY ([`Ends`]). Nothing runs in the lab's pods; a
//! shell answers as one in a container of UBI 9 would, and keeps its files as long as the pod is there.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::response::Response;
use futures::{Stream, StreamExt};
use http::Request;
use serde_json::Value;

use super::ends::{Ends, Gone, PROTOCOLS, SPDY_PROTOCOL, STDERR, STDOUT, Sent, Streams, Wanted};
use super::error::ApiError;
use super::rbac::{User, Wish as Wanting};
use super::request::Query;
use super::store::ObjectKey;
use super::websocket::Upgrade;
use super::{State, logs, spdy};
use crate::guests::container::{Container, Pods};
use crate::guests::inspected::{self, Gathered};
use crate::guests::tar;

/// Pods whose containers' files are remembered.
const REMEMBERED: usize = 64;

/// Bytes that a command may be sent, as many as fit onto a disk of the lab's.
const INPUT_LIMIT: usize = 16 << 20;

/// What was left in containers, by the pod's uid.
#[derive(Default)]
pub(super) struct Remembered(Mutex<HashMap<String, Pods>>);

impl Remembered {
    fn of(&self, uid: &str) -> Pods {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REMEMBERED && !all.contains_key(uid) {
            all.clear();
        }
        all.entry(uid.to_owned()).or_default().clone()
    }
}

/// What a client asked for.
struct Wish {
    command: Vec<String>,
    stdin: bool,
    tty: bool,
}

/// Answers `pods/NAME/exec` and `pods/NAME/attach`.
pub(super) fn serve(
    state: &Arc<State>,
    key: &ObjectKey,
    pod: &Value,
    query: &Query,
    request: &mut Request<Body>,
    attach: bool,
) -> Result<Response, ApiError> {
    let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let phase = text("/status/phase");
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array).cloned().unwrap_or_default();
    let named = |container: &&Value| query.get("container").is_none_or(|name| container["name"] == name);
    let Some(container) = containers.iter().find(named) else {
        let asked = query.get("container").unwrap_or_default();
        return Err(ApiError::bad_request(format!("container {asked} is not valid for pod {}", key.name)));
    };
    let name = container["name"].as_str().unwrap_or_default();
    if phase != "Running" {
        let why = format!("unable to upgrade connection: container not found (\"{name}\")");
        return Err(ApiError::new(if phase == "Pending" { 400 } else { 500 }, "InternalError", why));
    }
    let wish = Wish { command: query.all("command"), stdin: query.flag("stdin"), tty: query.flag("tty") };
    if !attach && wish.command.is_empty() {
        return Err(ApiError::bad_request("you must specify at least 1 command for the container"));
    }
    let wanted = Wanted {
        stdin: wish.stdin,
        stdout: query.flag("stdout"),
        // A terminal is one stream.
        stderr: query.flag("stderr") && !wish.tty,
    };
    // It sees what its account may list, which oc makes an administrator for this.
    let sees = || {
        let account = pod["spec"]["serviceAccountName"].as_str().filter(|name| !name.is_empty()).unwrap_or("default");
        let user = User::named(&format!("system:serviceaccount:{}:{account}", key.namespace));
        let all = Wanting { verb: "list", group: "*", resource: "*", subresource: "", namespace: "", name: "" };
        state.may(&user, &all)
    };
    let laid = if inspected::is_gathering(pod) && sees() { gathered(state, container) } else { BTreeMap::new() };
    let container = Container::new(pod, container, state.containers.of(&text("/metadata/uid")), laid);
    let log = attach.then(|| logs::follow(state, key, pod)).flatten();
    let run = move |ends: Ends| async move {
        match log {
            Some(log) => attached(ends, log).await,
            None => executed(ends, container, &wish).await,
        }
    };
    if let Some(upgrade) = Upgrade::to_one_of(request, &PROTOCOLS) {
        return Ok(upgrade.switch(state, move |socket| run(Ends::Socket(Box::new(socket)))));
    }
    // Nobody tunnels it.
    let Some(upgrade) = spdy::Upgrade::of(request, SPDY_PROTOCOL, None) else {
        let why = format!(
            "unable to upgrade: the lab speaks {} (WebSockets) and {SPDY_PROTOCOL} (SPDY/3.1) here",
            PROTOCOLS.join(", ")
        );
        return Err(ApiError::bad_request(why));
    };
    Ok(upgrade.switch(state, move |wire| {
        spdy::serve(wire, move |opened| async move {
            if let Some(streams) = Streams::of(opened, wanted).await {
                run(Ends::Streams(Box::new(streams))).await;
            }
        })
    }))
}

/// What `oc adm must-gather` finds, as the cluster is when it asks.
fn gathered(state: &State, container: &Value) -> BTreeMap<String, String> {
    let all = state.store.everything();
    let all: Vec<Gathered<'_>> = all
        .iter()
        .map(|(key, object)| Gathered { group: &key.storage.0, plural: &key.storage.1, object: object.as_ref() })
        .collect();
    inspected::files(container["image"].as_str().unwrap_or_default(), &all)
}

async fn executed(mut ends: Ends, mut container: Container, wish: &Wish) {
    // Who hangs up is not told how it ended.
    let _ = match container.shell(&wish.command, wish.tty) {
        true => typed(&mut ends, container, wish.stdin).await,
        false => ran(&mut ends, &mut container, wish).await,
    };
}

/// One command; of those that the lab plays only `tar` reads.
async fn ran(ends: &mut Ends, container: &mut Container, wish: &Wish) -> Result<(), Gone> {
    let input = if wish.stdin && tar::reads(&wish.command) { input(ends).await } else { Vec::new() };
    let answer = container.run(&wish.command, &input);
    // A terminal is one stream.
    let stderr = if wish.tty { STDOUT } else { STDERR };
    for (channel, text) in [(STDOUT, answer.stdout), (stderr, answer.stderr)] {
        let text = if wish.tty { text.replace('\n', "\r\n") } else { text };
        if !text.is_empty() {
            ends.send(channel, &crate::guests::raw(&text)).await?;
        }
    }
    ends.finish(answer.code).await
}

/// All that a client sends, until it ends its input; what is over the limit is not kept.
async fn input(ends: &mut Ends) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(Sent::Input(sent)) = ends.next().await {
        if all.len() + sent.len() <= INPUT_LIMIT {
            all.extend_from_slice(&sent);
        }
    }
    all
}

/// A shell that is typed into.
async fn typed(ends: &mut Ends, mut container: Container, stdin: bool) -> Result<(), Gone> {
    let greeting = container.prompt();
    if !greeting.is_empty() {
        ends.send(STDOUT, &greeting).await?;
    }
    if !stdin {
        return ends.finish(0).await;
    }
    while let Some(sent) = ends.next().await {
        let shown = match sent {
            Sent::Input(typed) => container.type_in(&typed),
            Sent::InputEnds => container.ends(),
        };
        if !shown.bytes.is_empty() {
            ends.send(STDOUT, &shown.bytes).await?;
        }
        if let Some(code) = shown.left {
            return ends.finish(code).await;
        }
    }
    Ok(())
}

/// What the pod prints from now on, until it ends or the client goes.
async fn attached(mut ends: Ends, log: impl Stream<Item = bytes::Bytes> + Send) {
    let mut log = std::pin::pin!(log);
    loop {
        tokio::select! {
            printed = log.next() => match printed {
                Some(bytes) => if ends.send(STDOUT, &bytes).await.is_err() { return },
                None => {
                    // The client may be gone already.
                    let _ = ends.finish(0).await;
                    return;
                }
            },
            sent = ends.next() => if sent.is_none() { return },
        }
    }
}
