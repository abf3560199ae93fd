//! Connections through the wall of Forklift's network namespace, over Unix sockets.
//!
//! A stream begins with one line that says where it leads: `tcp ADDRESS:PORT` or `pod ADDRESS:PORT`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// No line of ours is longer.
const LINE: u64 = 100;

/// Where a stream leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Tcp(SocketAddr),
    /// A port of a pod, which the lab's kubelet serves.
    Pod(SocketAddr),
}

impl Way {
    fn parse(line: &str) -> Option<Self> {
        let (word, address) = line.trim_end().split_once(' ')?;
        let address = address.parse().ok()?;
        match word {
            "tcp" => Some(Self::Tcp(address)),
            "pod" => Some(Self::Pod(address)),
            _ => None,
        }
    }
    fn line(self) -> String {
        match self {
            Self::Tcp(address) => format!("tcp {address}\n"),
            Self::Pod(address) => format!("pod {address}\n"),
        }
    }
}

/// The loopback address of an URL.
pub fn loopback(url: &str) -> Option<SocketAddr> {
    let url = url::Url::parse(url).ok()?;
    let address: SocketAddr = format!("{}:{}", url.host_str()?, url.port_or_known_default()?).parse().ok()?;
    address.ip().is_loopback().then_some(address)
}

/// Every port that a text names on 127.0.0.1.
pub fn loopback_ports(text: &str) -> BTreeSet<u16> {
    static ADDRESS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"127\.0\.0\.1:(\d{1,5})").ok());
    let Some(address) = ADDRESS.as_ref() else { return BTreeSet::new() };
    address.captures_iter(text).filter_map(|found| found.get(1)?.as_str().parse().ok()).collect()
}

/// Sends a stream through the wall.
pub async fn through<S>(stream: S, socket: &Path, way: Way) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = stream;
    let mut beyond = UnixStream::connect(socket).await?;
    beyond.write_all(way.line().as_bytes()).await?;
    tokio::io::copy_bidirectional(&mut stream, &mut beyond).await.map(drop)
}

/// Reads where a stream from beyond the wall leads.
pub async fn arrived(stream: UnixStream) -> Option<(Way, BufReader<UnixStream>)> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    (&mut stream).take(LINE).read_line(&mut line).await.ok()?;
    Some((Way::parse(&line)?, stream))
}

/// Connects what arrived with a TCP port on this side.
pub async fn onward(mut stream: BufReader<UnixStream>, address: SocketAddr) -> std::io::Result<()> {
    let mut tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut stream, &mut tcp).await.map(drop)
}

/// Everything that connects to `listener` gets to a port inside, until `stop`.
pub fn inward(listener: TcpListener, socket: PathBuf, port: u16, stop: &CancellationToken, tasks: &TaskTracker) {
    let (stop, spawn) = (stop.clone(), tasks.clone());
    let way = Way::Tcp(SocketAddr::from(([127, 0, 0, 1], port)));
    tasks.spawn(async move {
        loop {
            let stream = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => match accepted { Ok((stream, _)) => stream, Err(_) => continue },
            };
            let _ = stream.set_nodelay(true);
            let (socket, stop) = (socket.clone(), stop.clone());
            spawn.spawn(async move {
                tokio::select! { () = stop.cancelled() => {}, _ = through(stream, &socket, way) => {} }
            });
        }
    });
}

/// Whether something listens on a port inside: what leads nowhere is closed at once.
pub async fn answers(socket: &Path, port: u16) -> bool {
    let ask = async {
        let mut beyond = UnixStream::connect(socket).await?;
        let way = Way::Tcp(SocketAddr::from(([127, 0, 0, 1], port)));
        beyond.write_all(way.line().as_bytes()).await?;
        // A TLS server waits for the client's first word.
        let mut byte = [0u8; 1];
        let read = tokio::time::timeout(std::time::Duration::from_millis(300), beyond.read(&mut byte)).await;
        Ok::<_, std::io::Error>(read.is_err())
    };
    ask.await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_loopback_are_found_in_profiles_and_nothing_else_is() {
        let text = r#"{"a": "https://127.0.0.1:4443/sdk", "b": "https://10.0.0.1:5555/", "c": "127.0.0.1:99999"}"#;
        assert_eq!(loopback_ports(text), BTreeSet::from([4443]));
        assert_eq!(loopback("https://127.0.0.1:6443/"), Some("127.0.0.1:6443".parse().unwrap()));
        assert_eq!(loopback("https://10.0.0.1:6443"), None);
    }

    #[tokio::test]
    async fn a_stream_is_led_through_the_wall_to_the_port_it_names() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("wall.sock");
        let wall = tokio::net::UnixListener::bind(&socket).unwrap();
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        tokio::spawn(async move {
            let (way, stream) = arrived(wall.accept().await.unwrap().0).await.unwrap();
            assert_eq!(way, Way::Tcp(address));
            onward(stream, address).await.unwrap();
        });
        tokio::spawn(async move {
            let (mut stream, _) = server.accept().await.unwrap();
            let mut said = [0u8; 4];
            stream.read_exact(&mut said).await.unwrap();
            stream.write_all(&said).await.unwrap();
        });
        let (mut near, far) = tokio::io::duplex(64);
        tokio::spawn(async move { through(far, &socket, Way::Tcp(address)).await });
        near.write_all(b"ping").await.unwrap();
        let mut echoed = [0u8; 4];
        near.read_exact(&mut echoed).await.unwrap();
        assert_eq!(&echoed, b"ping");
    }
}
