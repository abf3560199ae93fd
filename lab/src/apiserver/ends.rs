//! The client's end of `exec` and `attach`: channels of a WebSocket, where each frame's first byte is its channel, or a
//! stream of SPDY for each.

use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::spdy::Stream;
use super::websocket::Socket;

/// By WebSocket, best first.
pub(super) const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
/// By SPDY: the same statuses.
pub(super) const SPDY_PROTOCOL: &str = "v4.channel.k8s.io";

const STDIN: u8 = 0;
pub(super) const STDOUT: u8 = 1;
pub(super) const STDERR: u8 = 2;
const STATUS: u8 = 3;
/// The client has closed the channel that the next byte names.
const CLOSE: u8 = 255;

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Input(Bytes),
    InputEnds,
}

/// The client hung up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

/// Streams that a client is to open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

pub(super) enum Ends {
    Socket(Box<Socket>),
    Streams(Box<Streams>),
}

/// By their numbers above; `later` are those that nobody asked for, such as that of the window's size.
pub(super) struct Streams {
    all: [Option<Stream>; 4],
    later: mpsc::Receiver<Stream>,
}

/// How long a client may take between two of its streams (`DefaultStreamCreationTimeout` of a kubelet).
const STREAMS_COME: Duration = Duration::from_secs(30);

impl Streams {
    /// Waits for the streams of an `exec`; none where the client goes before it has opened them.
    pub async fn of(mut opened: mpsc::Receiver<Stream>, wanted: Wanted) -> Option<Self> {
        let mut all = [const { None }; 4];
        let complete = |all: &[Option<Stream>; 4]| {
            let has = |channel: u8| all[usize::from(channel)].is_some();
            has(STATUS)
                && (has(STDIN) || !wanted.stdin)
                && (has(STDOUT) || !wanted.stdout)
                && (has(STDERR) || !wanted.stderr)
        };
        while !complete(&all) {
            // As long as a kubelet waits for them.
            let stream = tokio::time::timeout(STREAMS_COME, opened.recv()).await.ok()??;
            let channel = match stream.header("streamtype") {
                "stdin" => STDIN,
                "stdout" => STDOUT,
                "stderr" => STDERR,
                "error" => STATUS,
                _ => continue,
            };
            all[usize::from(channel)] = Some(stream);
        }
        Some(Self { all, later: opened })
    }

    async fn next(&mut self) -> Option<Sent> {
        let [stdin, ..] = &mut self.all;
        let Some(open) = stdin else {
            // Nobody sends anything more than that it goes.
            while self.later.recv().await.is_some() {}
            return None;
        };
        match open.read().await {
            Some(bytes) => Some(Sent::Input(bytes)),
            None => {
                *stdin = None;
                Some(Sent::InputEnds)
            }
        }
    }

    async fn write(&self, channel: u8, bytes: &[u8]) -> Result<(), Gone> {
        match &self.all[usize::from(channel)] {
            Some(stream) => stream.pen().write(bytes).await.map_err(|_| Gone),
            // It was not asked for.
            None => Ok(()),
        }
    }
}

impl Ends {
    pub async fn send(&mut self, channel: u8, bytes: &[u8]) -> Result<(), Gone> {
        match self {
            Self::Socket(socket) => {
                let mut frame = Vec::with_capacity(bytes.len() + 1);
                frame.push(channel);
                frame.extend_from_slice(bytes);
                socket.send(Message::binary(frame)).await.map_err(|_| Gone)
            }
            Self::Streams(streams) => streams.write(channel, bytes).await,
        }
    }

    /// What comes next; none when the client is gone.
    pub async fn next(&mut self) -> Option<Sent> {
        let socket = match self {
            Self::Socket(socket) => socket,
            Self::Streams(streams) => return streams.next().await,
        };
        loop {
            match socket.next().await?.ok()? {
                Message::Binary(bytes) => match bytes.split_first() {
                    Some((&STDIN, _)) => return Some(Sent::Input(bytes.slice(1..))),
                    Some((&CLOSE, [STDIN])) => return Some(Sent::InputEnds),
                    // The window's size is nobody's here.
                    _ => {}
                },
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }

    /// The `Status` of an exit code, then the end.
    pub async fn finish(&mut self, code: u32) -> Result<(), Gone> {
        self.send(STATUS, status(code).to_string().as_bytes()).await?;
        match self {
            Self::Socket(socket) => {
                let well = CloseFrame { code: CloseCode::Normal, reason: "".into() };
                socket.as_mut().close(Some(well)).await.map_err(|_| Gone)?;
                // The client closes its half, too, and has then read all of it.
                while let Some(Ok(_)) = socket.next().await {}
            }
            Self::Streams(streams) => {
                for stream in streams.all.iter().flatten() {
                    stream.pen().finish().await.map_err(|_| Gone)?;
                }
            }
        }
        Ok(())
    }
}

fn status(code: u32) -> Value {
    match code {
        0 => json!({"metadata": {}, "status": "Success"}),
        code => json!({"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]}}),
    }
}
