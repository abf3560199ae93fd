//! Streams of a connection: what a client opens is handed on, each with what it sends.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use super::super::websocket::Socket;
use super::{Decoder, Encoder, Frame};

/// Streams that a connection has at once.
const STREAMS: usize = 512;
/// Frames that wait for who reads a stream; then the connection waits.
const WAITING: usize = 16;
/// Bytes that are sent in one frame, and read at once.
const CHUNK: usize = 32 * 1024;
/// A client that was told that all is said has so long to go.
const LINGER: Duration = Duration::from_secs(10);
/// How long a stream may keep the connection waiting for its reader.
const STALLED: Duration = Duration::from_secs(30);

/// What frames travel on.
pub enum Wire {
    /// Inside a WebSocket, in binary messages that end anywhere.
    Socket(Box<Socket>),
    Raw(TokioIo<Upgraded>),
}

enum Reader {
    Socket(SplitStream<Socket>),
    Raw(ReadHalf<TokioIo<Upgraded>>),
}

enum Writer {
    Socket(SplitSink<Socket, Message>),
    Raw(WriteHalf<TokioIo<Upgraded>>),
}

impl Wire {
    fn split(self) -> (Reader, Writer) {
        match self {
            Self::Socket(socket) => {
                let (to, from) = (*socket).split();
                (Reader::Socket(from), Writer::Socket(to))
            }
            Self::Raw(line) => {
                let (from, to) = tokio::io::split(line);
                (Reader::Raw(from), Writer::Raw(to))
            }
        }
    }
}

impl Reader {
    /// Some bytes; none when the client is gone.
    async fn read(&mut self) -> Option<Bytes> {
        match self {
            Self::Socket(socket) => loop {
                match socket.next().await?.ok()? {
                    Message::Binary(bytes) => return Some(bytes),
                    Message::Close(_) => return None,
                    _ => {}
                }
            },
            Self::Raw(line) => {
                let mut buffer = vec![0; CHUNK];
                let count = line.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
                buffer.truncate(count);
                Some(buffer.into())
            }
        }
    }
}

impl Writer {
    async fn write(&mut self, frame: Vec<u8>) -> Option<()> {
        match self {
            Self::Socket(socket) => socket.send(Message::binary(frame)).await.ok(),
            Self::Raw(line) => {
                line.write_all(&frame).await.ok()?;
                line.flush().await.ok()
            }
        }
    }

    async fn close(&mut self) {
        // The client may be gone already.
        match self {
            Self::Socket(socket) => drop(socket.send(Message::Close(None)).await),
            Self::Raw(line) => drop(line.shutdown().await),
        }
    }
}

/// What is to be written, in this order.
enum Out {
    Reply(u32),
    Ready(Vec<u8>),
}

/// A stream that a client opened; dropped, it reads no more.
pub struct Stream {
    headers: Vec<(String, String)>,
    input: mpsc::Receiver<Bytes>,
    pen: Pen,
    gone: CancellationToken,
    _alive: Arc<()>,
}

/// What writes to a stream.
#[derive(Clone)]
pub struct Pen {
    id: u32,
    out: mpsc::Sender<Out>,
}

/// The client hung up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

impl Stream {
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// What comes next; none when the client has ended it.
    pub async fn read(&mut self) -> Option<Bytes> {
        self.input.recv().await
    }

    pub fn pen(&self) -> Pen {
        self.pen.clone()
    }

    /// Until the client takes the stream back.
    pub fn gone(&self) -> CancellationToken {
        self.gone.clone()
    }
}

impl Pen {
    pub async fn write(&self, bytes: &[u8]) -> Result<(), Gone> {
        for chunk in bytes.chunks(CHUNK) {
            self.out.send(Out::Ready(Encoder::data(self.id, chunk, false))).await.map_err(|_| Gone)?;
        }
        Ok(())
    }

    /// Nothing more is written.
    pub async fn finish(&self) -> Result<(), Gone> {
        self.out.send(Out::Ready(Encoder::data(self.id, &[], true))).await.map_err(|_| Gone)
    }
}

/// What is known of a stream while it is open.
struct Open {
    input: Option<mpsc::Sender<Bytes>>,
    gone: CancellationToken,
    alive: Weak<()>,
}

/// Speaks with a client until it goes, or `handle` has nothing more to say.
pub async fn serve<F>(wire: Wire, handle: impl FnOnce(mpsc::Receiver<Stream>) -> F)
where
    F: Future<Output = ()>,
{
    let (mut reader, writer) = wire.split();
    let (out, outbox) = mpsc::channel(WAITING);
    let (opened, streams) = mpsc::channel(STREAMS);
    let done = CancellationToken::new();
    let ends = async {
        handle(streams).await;
        done.cancel();
    };
    let speaks = async {
        tokio::join!(ends, write(writer, outbox, done.clone()));
        let _ = tokio::time::timeout(LINGER, std::future::pending::<()>()).await;
    };
    tokio::select! { () = read(&mut reader, opened, out) => {}, () = speaks => {} }
}

async fn read(reader: &mut Reader, opened: mpsc::Sender<Stream>, out: mpsc::Sender<Out>) {
    let mut decoder = Decoder::new();
    let mut open: HashMap<u32, Open> = HashMap::new();
    while let Some(bytes) = reader.read().await {
        decoder.feed(&bytes);
        loop {
            let frame = match decoder.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => return tracing::debug!(%error, "a client is left alone"),
            };
            let heard = match frame {
                Frame::Open { stream, headers, last } => {
                    open.retain(|_, known| known.alive.strong_count() > 0);
                    if open.len() >= STREAMS {
                        out.send(Out::Ready(Encoder::refused(stream))).await.ok()
                    } else {
                        let (made, known) = new(stream, headers, last, &out);
                        open.insert(stream, known);
                        // Taken before anything is written to it; one that nobody wants any more is dropped.
                        let taken = out.send(Out::Reply(stream)).await.ok();
                        let _ = opened.try_send(made);
                        taken
                    }
                }
                Frame::Data { stream, bytes, last } => {
                    if let Some(known) = open.get_mut(&stream) {
                        let mut stalled = false;
                        if let Some(input) = known.input.as_ref().filter(|_| !bytes.is_empty()) {
                            // Who reads no more is told no more; who does not read does not hold up the others for ever.
                            stalled = tokio::time::timeout(STALLED, input.send(bytes)).await.is_err();
                        }
                        known.input.take_if(|_| last || stalled);
                        if stalled {
                            known.gone.cancel();
                            let _ = out.send(Out::Ready(Encoder::refused(stream))).await;
                        }
                    }
                    Some(())
                }
                Frame::Reset { stream } => {
                    if let Some(known) = open.remove(&stream) {
                        known.gone.cancel();
                    }
                    Some(())
                }
                Frame::Ping(id) => out.send(Out::Ready(Encoder::ping(id))).await.ok(),
                Frame::GoAway => None,
                Frame::Other => Some(()),
            };
            if heard.is_none() {
                return;
            }
        }
    }
}

fn new(id: u32, headers: Vec<(String, String)>, last: bool, out: &mpsc::Sender<Out>) -> (Stream, Open) {
    let (sender, input) = mpsc::channel(WAITING);
    let (gone, alive) = (CancellationToken::new(), Arc::new(()));
    let known = Open { input: (!last).then_some(sender), gone: gone.clone(), alive: Arc::downgrade(&alive) };
    (Stream { headers, input, pen: Pen { id, out: out.clone() }, gone, _alive: alive }, known)
}

/// Writes until `done`, and then what is left.
async fn write(mut writer: Writer, mut outbox: mpsc::Receiver<Out>, done: CancellationToken) {
    let mut encoder = Encoder::new();
    let mut last = 0;
    loop {
        let next = tokio::select! {
            biased;
            next = outbox.recv() => next,
            () = done.cancelled() => None,
        };
        let Some(next) = next else { break };
        let frame = match next {
            Out::Reply(stream) => {
                last = stream;
                encoder.reply(stream)
            }
            Out::Ready(frame) => frame,
        };
        if writer.write(frame).await.is_none() {
            return;
        }
    }
    let _ = writer.write(Encoder::go_away(last)).await;
    writer.close().await;
}
