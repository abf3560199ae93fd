//! A TCP connection to a guest's port through KubeVirt's port-forward subresource (cluster.md §2.4).
//!
//! Binary messages carry raw bytes both ways; KubeVirt never sends a Close frame.

use std::io;

use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::cluster::Cluster;
use crate::cluster::connect::upgrade::{self, Refused};
use crate::tasks::{self, Task};

const PROTOCOL: &str = "plain.kubevirt.io";
/// Bytes under way in one direction.
const BUFFER: usize = 64 * 1024;

/// Ends the pump when dropped.
pub(super) struct Tunnel {
    _pump: Task<()>,
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Closed {
    /// The way to the guest: the API does not answer, or refuses us. It says nothing of the guest.
    Way(String),
    /// There is no running VM of that name: nobody was asked.
    Absent(String),
    /// The cluster answered for the guest.
    Guest(String),
}

impl Closed {
    /// How far a try came, and why not further.
    pub(super) fn told(self) -> (Reached, String) {
        match self {
            Self::Way(why) => (Reached::Way, why),
            Self::Absent(why) => (Reached::Absent, why),
            Self::Guest(why) => (Reached::Guest, why),
        }
    }
}

/// How far the last try to log in came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// Not to the guest.
    Way,
    /// To the cluster, which has no such VM running.
    Absent,
    Guest,
}

/// Opens a connection to `port` of the running VM. The stream lives as long as the [`Tunnel`].
pub(super) async fn open(
    cluster: &Cluster,
    namespace: &str,
    vm: &str,
    port: u16,
) -> Result<(Tunnel, DuplexStream), Closed> {
    let path = format!(
        "/apis/subresources.kubevirt.io/v1/namespaces/{namespace}/virtualmachineinstances/{vm}/portforward/{port}/tcp"
    );
    let socket = upgrade::open(cluster, &path, PROTOCOL, "port-forward").await.map_err(closed)?;
    let (near, far) = tokio::io::duplex(BUFFER);
    let pump = tasks::own(async move {
        if let Err(error) = pump(socket, far).await {
            tracing::debug!(%error, "port-forward ended");
        }
    });
    Ok((Tunnel { _pump: pump }, near))
}

/// 500 is what KubeVirt says where the guest refuses the connection.
fn closed(refused: Refused) -> Closed {
    match refused.status {
        None | Some(401 | 403 | 429 | 502..=504) => Closed::Way(refused.why),
        Some(404) => Closed::Absent(refused.why),
        Some(_) => Closed::Guest(refused.why),
    }
}

/// Either side's end ends both: there is no half-close.
async fn pump<S>(socket: WebSocketStream<S>, far: DuplexStream) -> io::Result<()>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let (mut to_guest, mut from_guest) = socket.split();
    let (mut reader, mut writer) = tokio::io::split(far);
    let mut buffer = vec![0u8; BUFFER];
    loop {
        tokio::select! {
            read = reader.read(&mut buffer) => match read? {
                0 => {
                    let _ = to_guest.close().await;
                    return Ok(());
                }
                n => {
                    let bytes = bytes::Bytes::copy_from_slice(buffer.get(..n).unwrap_or_default());
                    to_guest.send(Message::Binary(bytes)).await.map_err(io::Error::other)?;
                }
            },
            message = from_guest.next() => match message {
                Some(Ok(Message::Binary(bytes))) => writer.write_all(&bytes).await?,
                // The library queues the Pong; flushing sends it.
                Some(Ok(Message::Ping(_))) => to_guest.flush().await.map_err(io::Error::other)?,
                Some(Ok(Message::Close(_))) | None => return Ok(()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(io::Error::other(error)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::net::{TcpListener, TcpStream};
    use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
    use tokio_tungstenite::tungstenite::protocol::Role;

    async fn read_head(stream: &mut TcpStream) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    /// Answers one upgrade as virt-api does, pings, and echoes what comes.
    async fn echo(mut stream: TcpStream) {
        let head = read_head(&mut stream).await;
        let key = head.lines().find_map(|l| l.strip_prefix("sec-websocket-key: ")).unwrap();
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
             sec-websocket-accept: {}\r\nsec-websocket-protocol: {PROTOCOL}\r\n\r\n",
            derive_accept_key(key.as_bytes())
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        socket.send(Message::Ping("keep alive".into())).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Binary(bytes) = message {
                socket.send(Message::Binary(bytes)).await.unwrap();
            }
        }
    }

    async fn refuse(mut stream: TcpStream) {
        read_head(&mut stream).await;
        let body = r#"{"kind":"Status","code":409,"message":"VMI is not started"}"#;
        let answer = format!("HTTP/1.1 409 Conflict\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    }

    async fn cluster() -> (Cluster, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = kube::Client::try_from(kube::Config::new(url.parse().unwrap())).unwrap();
        (Cluster::from_client(client, &url, Duration::from_secs(5)).unwrap(), listener)
    }

    #[tokio::test]
    async fn bytes_go_through_the_port_forward_both_ways() {
        let (cluster, listener) = cluster().await;
        let server = tokio::spawn(async move { echo(listener.accept().await.unwrap().0).await });
        let (_tunnel, mut stream) = open(&cluster, "ns", "vm", 22).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let mut back = [0u8; 5];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"hello");
        server.abort();
    }

    #[tokio::test]
    async fn a_refused_port_forward_tells_the_servers_reason() {
        let (cluster, listener) = cluster().await;
        let server = tokio::spawn(async move { refuse(listener.accept().await.unwrap().0).await });
        let Some(Closed::Guest(said)) = open(&cluster, "ns", "vm", 22).await.err() else { panic!("it was opened") };
        assert!(said.contains("VMI is not started (HTTP 409)"), "{said}");
        server.abort();
    }
}
