//! `exec` and `attach` into pods, over a WebSocket with `v5.channel.k8s.io` or `v4`: each frame's first byte is its channel.
//! Nothing runs in the lab's pods; a shell answers as one in a container of UBI 9 would, and keeps its files as long as
//! the pod is there. The older protocol (SPDY) is refused.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::response::Response;
use futures::{SinkExt, Stream, StreamExt};
use http::Request;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::error::ApiError;
use super::request::Query;
use super::store::ObjectKey;
use super::websocket::{Socket, Upgrade};
use super::{State, logs};
use crate::guests::container::{Container, Pods};
use crate::guests::tar;
use crate::guests::terminal::Shown;

/// Best first.
const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
/// Pods whose containers' files are remembered.
const REMEMBERED: usize = 64;

/// Bytes that a command may be sent, as many as fit onto a disk of the lab's.
const INPUT_LIMIT: usize = 16 << 20;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
/// The client has closed the channel that the next byte names.
const CLOSE: u8 = 255;

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
    let upgrade = Upgrade::to_one_of(request, &PROTOCOLS);
    let Some(upgrade) = upgrade else {
        let why = "unable to upgrade: the lab speaks WebSockets here (v5.channel.k8s.io, v4.channel.k8s.io), not SPDY";
        return Err(ApiError::bad_request(why));
    };
    let container = Container::new(pod, container, state.containers.of(&text("/metadata/uid")));
    let log = attach.then(|| logs::follow(state, key, pod)).flatten();
    Ok(upgrade.switch(state, move |socket| async move {
        match log {
            Some(log) => attached(socket, log).await,
            None => executed(socket, container, &wish).await,
        }
    }))
}

async fn send(socket: &mut Socket, channel: u8, bytes: &[u8]) -> Result<(), Error> {
    let mut frame = Vec::with_capacity(bytes.len() + 1);
    frame.push(channel);
    frame.extend_from_slice(bytes);
    socket.send(Message::binary(frame)).await
}

/// The `Status` of an exit code, then the end.
async fn finish(socket: &mut Socket, code: u32) -> Result<(), Error> {
    let status = match code {
        0 => json!({"metadata": {}, "status": "Success"}),
        code => json!({"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]}}),
    };
    send(socket, STATUS, status.to_string().as_bytes()).await?;
    let well = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    socket.close(Some(well)).await?;
    // The client closes its half, too, and has then read all of it.
    while let Some(Ok(_)) = socket.next().await {}
    Ok(())
}

async fn executed(mut socket: Socket, mut container: Container, wish: &Wish) {
    // Who hangs up is not told how it ended.
    let _ = match container.shell(&wish.command, wish.tty) {
        true => typed(&mut socket, container, wish.stdin).await,
        false => ran(&mut socket, &mut container, wish).await,
    };
}

/// One command; of those that the lab plays only `tar` reads.
async fn ran(socket: &mut Socket, container: &mut Container, wish: &Wish) -> Result<(), Error> {
    let input = if wish.stdin && tar::reads(&wish.command) { input(socket).await? } else { Vec::new() };
    let answer = container.run(&wish.command, &input);
    // A terminal is one stream.
    let stderr = if wish.tty { STDOUT } else { STDERR };
    for (channel, text) in [(STDOUT, answer.stdout), (stderr, answer.stderr)] {
        let text = if wish.tty { text.replace('\n', "\r\n") } else { text };
        if !text.is_empty() {
            send(socket, channel, &crate::guests::raw(&text)).await?;
        }
    }
    finish(socket, answer.code).await
}

/// All that a client sends, until it closes that channel; what is over the limit is not kept.
async fn input(socket: &mut Socket) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    while let Some(message) = socket.next().await {
        match message? {
            Message::Binary(bytes) => match bytes.split_first() {
                Some((&STDIN, sent)) if all.len() + sent.len() <= INPUT_LIMIT => all.extend_from_slice(sent),
                Some((&CLOSE, [STDIN])) => break,
                _ => {}
            },
            Message::Close(_) => break,
            _ => {}
        }
    }
    Ok(all)
}

/// A shell that is typed into.
async fn typed(socket: &mut Socket, mut container: Container, stdin: bool) -> Result<(), Error> {
    let greeting = container.prompt();
    if !greeting.is_empty() {
        send(socket, STDOUT, &greeting).await?;
    }
    if !stdin {
        return finish(socket, 0).await;
    }
    while let Some(message) = socket.next().await {
        let bytes = match message? {
            Message::Binary(bytes) => bytes,
            Message::Close(_) => return Ok(()),
            _ => continue,
        };
        let shown = match bytes.split_first() {
            Some((&STDIN, typed)) => container.type_in(typed),
            Some((&CLOSE, [STDIN])) => container.ends(),
            // The window's size is nobody's here.
            _ => Shown::default(),
        };
        if !shown.bytes.is_empty() {
            send(socket, STDOUT, &shown.bytes).await?;
        }
        if let Some(code) = shown.left {
            return finish(socket, code).await;
        }
    }
    Ok(())
}

/// What the pod prints from now on, until it ends or the client goes.
async fn attached(mut socket: Socket, log: impl Stream<Item = bytes::Bytes> + Send) {
    let mut log = std::pin::pin!(log);
    loop {
        tokio::select! {
            printed = log.next() => match printed {
                Some(bytes) => if send(&mut socket, STDOUT, &bytes).await.is_err() { return },
                None => return drop(finish(&mut socket, 0).await),
            },
            message = socket.next() => match message {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
        }
    }
}
