//! SPDY, inside a WebSocket and by itself: port-forwards and commands in pods.

use std::collections::BTreeMap;

use futures::{SinkExt, StreamExt};
use reqwest::Upgraded;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::containers::with_pod;
use super::spdy::tests::{Opener, opened_by_kubectl};
use super::spdy::{Decoder, Encoder, Frame};
use super::*;
use crate::ports::{GuestStream, PodPorts};

/// Port 22 says what it hears.
struct Parrot;

#[async_trait::async_trait]
impl PodPorts for Parrot {
    async fn dial(&self, _: &Value, port: u16) -> Option<Box<dyn GuestStream>> {
        let (near, far) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            let (mut read, mut write) = tokio::io::split(far);
            tokio::io::copy(&mut read, &mut write).await
        });
        (port == 22).then(|| Box::new(near) as Box<dyn GuestStream>)
    }
}

async fn upgraded(world: &World, path: &str, headers: &[(&str, &str)]) -> Result<Upgraded, (u16, String)> {
    let ca = reqwest::Certificate::from_pem(world.ca.ca_pem().as_bytes()).unwrap();
    let http1 = reqwest::Client::builder().tls_certs_only([ca]).http1_only().build().unwrap();
    let url = format!("{}/api/v1/namespaces/default/pods/p/{path}", world.server.url());
    let mut request = http1.get(url).bearer_auth(TOKEN).header("connection", "Upgrade");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    match answer.status().as_u16() {
        101 => Ok(answer.upgrade().await.unwrap()),
        code => Err((code, answer.text().await.unwrap())),
    }
}

async fn socket(world: &World, path: &str, protocol: &str) -> Result<WebSocketStream<Upgraded>, (u16, String)> {
    let headers = [
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", protocol),
    ];
    let upgraded = upgraded(world, path, &headers).await?;
    Ok(WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await)
}

/// What came on each stream, and which of them ended.
#[derive(Default)]
struct Heard {
    decoder: Option<Decoder>,
    said: BTreeMap<u32, String>,
    ended: Vec<u32>,
    pongs: usize,
}

impl Heard {
    fn hear(&mut self, bytes: &[u8]) {
        let decoder = self.decoder.get_or_insert_with(Decoder::new);
        decoder.feed(bytes);
        while let Some(frame) = decoder.next().unwrap() {
            match frame {
                Frame::Data { stream, bytes, last } => {
                    self.said.entry(stream).or_default().push_str(std::str::from_utf8(&bytes).unwrap());
                    self.ended.extend(last.then_some(stream));
                }
                Frame::Ping(_) => self.pongs += 1,
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn a_port_of_a_pod_is_forwarded_through_spdy_in_a_websocket() {
    let world = with_pod().await;
    world.server.set_pod_ports(Arc::new(Parrot));
    let mut line = socket(&world, "portforward", "SPDY/3.1+portforward.k8s.io").await.unwrap();
    let mut sent = opened_by_kubectl().concat();
    sent.extend(Encoder::ping(1));
    sent.extend(Encoder::data(3, b"hello", false));
    // A message ends anywhere.
    for part in sent.chunks(7) {
        line.send(Message::binary(part.to_vec())).await.unwrap();
    }
    let mut heard = Heard::default();
    let mut hear = async |line: &mut WebSocketStream<Upgraded>, until: &dyn Fn(&Heard) -> bool| {
        while !until(&heard) {
            let Some(Ok(message)) = tokio::time::timeout(SOON, line.next()).await.unwrap() else { panic!("gone") };
            if let Message::Binary(bytes) = message {
                heard.hear(&bytes);
            }
        }
    };
    hear(&mut line, &|heard| heard.said.get(&3).is_some_and(|said| said == "hello") && heard.pongs == 1).await;
    line.send(Message::binary(Encoder::data(3, b", again", true))).await.unwrap();
    hear(&mut line, &|heard| heard.said[&3] == "hello, again" && heard.ended.contains(&3) && heard.ended.contains(&1))
        .await;
    assert_eq!(heard.said[&1], "", "nothing went wrong");
    world.server.stop().await;
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_refused_in_the_runtimes_words_and_the_connection_stays() {
    let world = with_pod().await;
    world.server.set_pod_ports(Arc::new(Parrot));
    let headers = [("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", "portforward.k8s.io")];
    let mut line = upgraded(&world, "portforward", &headers).await.unwrap();
    let (mut opener, mut heard) = (Opener::new(), Heard::default());
    for (first, port) in [(1, "80"), (5, "22")] {
        for (stream, kind) in [(first, "error"), (first + 2, "data")] {
            let request = first.to_string();
            let headers = [("streamtype", kind), ("port", port), ("requestid", request.as_str())];
            line.write_all(&opener.open(stream, &headers)).await.unwrap();
        }
    }
    line.write_all(&Encoder::data(7, b"hi", true)).await.unwrap();
    while heard.ended.len() < 4 {
        let mut buffer = [0; 512];
        let count = tokio::time::timeout(SOON, line.read(&mut buffer)).await.unwrap().unwrap();
        assert!(count > 0, "gone");
        heard.hear(&buffer[..count]);
    }
    assert!(heard.said[&1].contains("dial tcp4 127.0.0.1:80: connect: connection refused"), "{}", heard.said[&1]);
    assert_eq!((heard.said[&7].as_str(), heard.said[&5].as_str()), ("hi", ""));
    let no = upgraded(&world, "portforward", &[("upgrade", "SPDY/3.1")]).await;
    assert!(no.is_err_and(|(code, why)| code == 400 && why.contains("unable to upgrade")));
    world.server.stop().await;
}

#[tokio::test]
async fn ports_are_forwarded_on_channels_of_a_websocket_where_a_client_knows_no_spdy() {
    let world = with_pod().await;
    world.server.set_pod_ports(Arc::new(Parrot));
    let mut line = socket(&world, "portforward?ports=22&ports=80", "v4.channel.k8s.io").await.unwrap();
    line.send(Message::binary(b"\0hi".to_vec())).await.unwrap();
    let mut said: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
    let length = |said: &BTreeMap<u8, Vec<u8>>, channel: u8| said.get(&channel).map_or(0, Vec::len);
    while length(&said, 0) < 4 || length(&said, 3) < 3 {
        if let Message::Binary(bytes) = tokio::time::timeout(SOON, line.next()).await.unwrap().unwrap().unwrap() {
            said.entry(bytes[0]).or_default().extend(&bytes[1..]);
        }
    }
    assert_eq!(
        (said[&0].as_slice(), said[&1].as_slice(), said[&2].as_slice()),
        (&b"\x16\0hi"[..], &[22, 0][..], &[80, 0][..])
    );
    assert!(String::from_utf8_lossy(&said[&3]).contains("connection refused"));
    assert_eq!(socket(&world, "portforward?ports=all", "v4.channel.k8s.io").await.unwrap_err().0, 400);
    world.server.stop().await;
}

#[tokio::test]
async fn an_older_client_executes_commands_by_spdy() {
    let world = with_pod().await;
    let headers = [("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", "v4.channel.k8s.io, v3.channel.k8s.io")];
    let path = "exec?command=sh&stdin=true&stdout=true&stderr=true";
    let mut line = upgraded(&world, path, &headers).await.unwrap();
    let (mut opener, mut heard) = (Opener::new(), Heard::default());
    for (stream, kind) in [(1, "error"), (3, "stdin"), (5, "stdout"), (7, "stderr")] {
        line.write_all(&opener.open(stream, &[("streamtype", kind)])).await.unwrap();
    }
    line.write_all(&Encoder::data(3, b"hostname\nls /none\nexit 3\n", true)).await.unwrap();
    while !heard.ended.contains(&1) {
        let mut buffer = [0; 512];
        let count = tokio::time::timeout(SOON, line.read(&mut buffer)).await.unwrap().unwrap();
        assert!(count > 0, "gone");
        heard.hear(&buffer[..count]);
    }
    assert!(heard.said[&5].starts_with("p\n"), "{:?}", heard.said);
    let status: Value = serde_json::from_str(&heard.said[&1]).unwrap();
    assert_eq!(status["details"]["causes"][0], json!({"reason": "ExitCode", "message": "3"}));
    let no = upgraded(&world, path, &[("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", "channel.k8s.io")]).await;
    assert_eq!(no.unwrap_err().0, 400);
    world.server.stop().await;
}
