//! `pods/NAME/portforward`, into what the lab has listening in a pod ([`PodPorts`]). A client of SPDY opens two streams for
//! each connection, one for its bytes and one for what went wrong; one of WebSockets alone names its ports in the query and
//! has two channels for each.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::stream::FuturesUnordered;
use futures::{SinkExt as _, StreamExt as _};
use http::Request;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::State;
use super::error::ApiError;
use super::request::Query;
use super::spdy::{self, Stream};
use super::store::ObjectKey;
use super::websocket::{Socket, Upgrade};
use crate::ports::GuestStream;

const PROTOCOL: &str = "portforward.k8s.io";
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const CHANNELS: &str = "v4.channel.k8s.io";
/// Half connections that wait for their other stream.
const HALVES: usize = 64;
/// Ports that one WebSocket leads to: each has two of 256 channels.
const PORTS: usize = 127;
const BUFFER: usize = 32 * 1024;
/// How long a pod's end may not read before its connection is given up.
const STALLED: Duration = Duration::from_secs(30);

type Line = Box<dyn GuestStream>;

/// Answers the request.
pub(super) fn serve(
    state: &Arc<State>,
    key: &ObjectKey,
    pod: &Value,
    query: &Query,
    request: &mut Request<Body>,
) -> Result<Response, ApiError> {
    if pod["spec"]["nodeName"].as_str().is_none_or(str::is_empty) {
        return Err(ApiError::bad_request(format!("pod {} does not have a host assigned", key.name)));
    }
    let pod = Pod { state: state.clone(), key: key.clone() };
    if let Some(upgrade) = spdy::Upgrade::of(request, PROTOCOL, Some(TUNNEL)) {
        return Ok(upgrade.switch(state, move |wire| spdy::serve(wire, move |opened| streams(pod, opened))));
    }
    let Some(upgrade) = Upgrade::to_one_of(request, &[CHANNELS]) else {
        let why = format!(
            "unable to upgrade: the lab speaks {TUNNEL}, {CHANNELS} (WebSockets) and {PROTOCOL} (SPDY/3.1) here"
        );
        return Err(ApiError::bad_request(why));
    };
    let ports =
        query.all("ports").iter().flat_map(|some| some.split(',')).map(str::parse).collect::<Result<Vec<u16>, _>>();
    let Some(ports) = ports.ok().filter(|ports| (1..=PORTS).contains(&ports.len())) else {
        return Err(ApiError::bad_request("query parameter \"ports\" is required: numbers of up to 127 ports"));
    };
    Ok(upgrade.switch(state, move |socket| channels(pod, ports, socket)))
}

/// The pod that a client means.
struct Pod {
    state: Arc<State>,
    key: ObjectKey,
}

impl Pod {
    /// A stream to one of its ports, or a container runtime's words for that there is none.
    async fn dial(&self, port: u16) -> Result<Line, String> {
        let found = self.state.store.get(&self.key);
        let Some(pod) = found.filter(|pod| pod["status"]["phase"] == "Running") else {
            return Err(format!("error forwarding port {port} to pod {}, uid : pod is not running", self.key.name));
        };
        let line = match self.state.pod_ports() {
            Some(ports) => ports.dial(&pod, port).await,
            None => None,
        };
        line.ok_or_else(|| {
            let id = pod["metadata"]["uid"].as_str().unwrap_or_default();
            format!(
                "error forwarding port {port} to pod {id}, uid : port forward into network namespace \"/var/run/netns/{id}\": \
                 failed to connect to localhost:{port} inside namespace {id}, IPv4: dial tcp4 127.0.0.1:{port}: connect: \
                 connection refused IPv6 dial tcp6 [::1]:{port}: connect: connection refused "
            )
        })
    }
}

/// Brings the two streams of each connection together by their request.
async fn streams(pod: Pod, mut opened: mpsc::Receiver<Stream>) {
    let mut halves: HashMap<String, Stream> = HashMap::new();
    let mut running = FuturesUnordered::new();
    loop {
        let stream = tokio::select! {
            stream = opened.recv() => stream,
            Some(()) = running.next() => continue,
        };
        let Some(stream) = stream else { return };
        let request = stream.header("requestid").to_owned();
        let (data, errors) = match (stream.header("streamtype"), halves.remove(&request)) {
            ("data", Some(other)) if other.header("streamtype") == "error" => (stream, other),
            ("error", Some(other)) if other.header("streamtype") == "data" => (other, stream),
            ("data" | "error", _) if halves.len() < HALVES => {
                halves.insert(request, stream);
                continue;
            }
            // Of a kind that nobody has here, or one too many: dropped, it is never answered.
            _ => continue,
        };
        running.push(connection(&pod, data, errors));
    }
}

async fn connection(pod: &Pod, mut data: Stream, errors: Stream) {
    let line = match data.header("port").parse() {
        Ok(port) => pod.dial(port).await,
        Err(_) => Err(format!("unable to parse port {:?}", data.header("port"))),
    };
    // A client that hangs up is told nothing.
    match line {
        Ok(line) => splice(&mut data, line).await,
        Err(why) => drop(errors.pen().write(why.as_bytes()).await),
    }
    let _ = data.pen().finish().await;
    let _ = errors.pen().finish().await;
}

/// Both ways, until the pod's end is done or the client takes its stream back.
async fn splice(data: &mut Stream, line: Line) {
    let (mut from, mut to) = tokio::io::split(line);
    let (gone, pen) = (data.gone(), data.pen());
    let inbound = async {
        while let Some(bytes) = data.read().await {
            if write(&mut to, &bytes).await.is_none() {
                break;
            }
        }
        // It may have ended by itself.
        let _ = to.shutdown().await;
        std::future::pending::<()>().await;
    };
    let outbound = async {
        while let Some(bytes) = read(&mut from).await {
            if pen.write(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::select! { () = gone.cancelled() => {}, () = outbound => {}, () = inbound => {} }
}

async fn read(from: &mut ReadHalf<Line>) -> Option<Bytes> {
    let mut buffer = vec![0; BUFFER];
    let count = from.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
    buffer.truncate(count);
    Some(buffer.into())
}

async fn write(to: &mut WriteHalf<Line>, bytes: &[u8]) -> Option<()> {
    to.write_all(bytes).await.ok()?;
    to.flush().await.ok()
}

/// One connection to each port from the start. Each channel begins with its port's number; errors are told on the odd ones.
async fn channels(pod: Pod, ports: Vec<u16>, socket: Socket) {
    let (mut to_client, mut from_client) = socket.split();
    let (out, mut outbox) = mpsc::channel::<Vec<u8>>(HALVES);
    let mut lines = HashMap::new();
    let mut running = FuturesUnordered::new();
    for (number, port) in (0_u8..).step_by(2).zip(ports) {
        let [low, high] = port.to_le_bytes();
        for channel in [number, number + 1] {
            if to_client.send(Message::binary(vec![channel, low, high])).await.is_err() {
                return;
            }
        }
        match pod.dial(port).await {
            Ok(line) => {
                let (mut from, to) = tokio::io::split(line);
                lines.insert(number, to);
                let out = out.clone();
                running.push(async move {
                    while let Some(bytes) = read(&mut from).await {
                        if out.send([&[number][..], &bytes].concat()).await.is_err() {
                            return;
                        }
                    }
                });
            }
            Err(why) => {
                let said = [&[number + 1][..], why.as_bytes()].concat();
                if to_client.send(Message::binary(said)).await.is_err() {
                    return;
                }
            }
        }
    }
    drop(out);
    let inbound = async {
        while let Some(Ok(message)) = from_client.next().await {
            match message {
                Message::Binary(bytes) => {
                    let Some((channel, bytes)) = bytes.split_first() else { continue };
                    if let Some(to) = lines.get_mut(channel)
                        && !matches!(tokio::time::timeout(STALLED, write(to, bytes)).await, Ok(Some(())))
                    {
                        lines.remove(channel);
                    }
                }
                Message::Close(_) => return,
                _ => {}
            }
        }
    };
    let outbound = async {
        while let Some(frame) = outbox.recv().await {
            if to_client.send(Message::binary(frame)).await.is_err() {
                return;
            }
        }
        // All of them have ended; the client may be gone already.
        let _ = to_client.send(Message::Close(None)).await;
    };
    let reading = async {
        while running.next().await.is_some() {}
        std::future::pending::<()>().await;
    };
    tokio::select! { () = inbound => {}, () = outbound => {}, () = reading => {} }
}
