//! SPDY/3.1 as far as Kubernetes' clients speak it: for `port-forward` inside a WebSocket, and for `exec`, `attach` and
//! `port-forward` of older ones by an upgrade of its own. Here are the frames and their headers; [`session`] makes streams
//! of them.
//!
//! Without flow control: the implementation on the other end (moby/spdystream) knows none and sends no WINDOW_UPDATE, so
//! nobody may wait for one. Of the crates, spdy-mux 0.1.2 is a client's: it opens streams and takes none.

use bytes::{Buf as _, Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

pub(super) mod session;
mod upgrade;

pub(super) use session::{Stream, serve};
pub(super) use upgrade::Upgrade;

const VERSION: u16 = 0x8003;
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;
const FIN: u8 = 1;
/// Before what a frame carries.
const HEAD: usize = 8;
/// Headers of one stream, in bytes; a client of Kubernetes' sends about a hundred.
const HEADERS_LIMIT: usize = 64 * 1024;
/// Bytes of a control frame that are taken. Data may fill a frame, whose length has 24 bits: older clients of Go's send what
/// they have in one.
const CONTROL_LIMIT: usize = 1 << 20;

/// The dictionary of the protocol: words with their lengths, and the rest as it is.
const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age \
    allow authorization cache-control connection content-base content-encoding content-language content-length \
    content-location content-md5 content-range content-type date etag expect expires from host if-match \
    if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma \
    proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade \
    user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie \
    keep-alive origin";
const REST: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505\
    203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden\
    404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept \
    Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,\
    application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8\
    charset=iso-8859-1,utf-,*,enq=0.";

fn dictionary() -> Vec<u8> {
    let counted = |word: &str| {
        let word = word.replace('_', " ");
        let length = u32::try_from(word.len()).unwrap_or_default().to_be_bytes();
        length.into_iter().chain(word.into_bytes()).collect::<Vec<u8>>()
    };
    WORDS.split_whitespace().flat_map(counted).chain(REST.bytes()).collect()
}

/// What a client sent that is no SPDY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not SPDY/3.1: {0}")]
pub(super) struct Broken(&'static str);

/// A frame that says something here; settings, windows and replies do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    Open { stream: u32, headers: Vec<(String, String)>, last: bool },
    Data { stream: u32, bytes: Bytes, last: bool },
    Reset { stream: u32 },
    Ping(u32),
    GoAway,
    Other,
}

/// Undoes the compression of headers, which is one stream of zlib for all of a connection.
struct Inflater {
    raw: Decompress,
    begun: bool,
}

impl Inflater {
    fn new() -> Self {
        let words = dictionary();
        let length = u16::try_from(words.len()).unwrap_or_default();
        // flate2's own backend takes no dictionary. A stored block of it puts the same bytes before the stream.
        let mut block = vec![0];
        block.extend(length.to_le_bytes());
        block.extend((!length).to_le_bytes());
        block.extend(&words);
        let mut raw = Decompress::new(false);
        let mut dropped = Vec::with_capacity(2 * words.len());
        // It is a constant; a test reads by it.
        let _ = raw.decompress_vec(&block, &mut dropped, FlushDecompress::Sync);
        Self { raw, begun: false }
    }

    fn block(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Broken> {
        const TORN: Broken = Broken("headers that cannot be unpacked");
        let mut rest = bytes;
        if !self.begun {
            self.begun = true;
            // zlib's own head, and the dictionary's checksum where the head says that there is one.
            let named = bytes.get(1).ok_or(TORN)? & 0x20 != 0;
            rest = bytes.get(if named { 6 } else { 2 }..).ok_or(TORN)?;
        }
        let mut out = Vec::with_capacity(1024);
        loop {
            let (taken, made) = (self.raw.total_in(), out.len());
            self.raw.decompress_vec(rest, &mut out, FlushDecompress::Sync).map_err(|_| TORN)?;
            let taken = usize::try_from(self.raw.total_in() - taken).unwrap_or(rest.len());
            rest = rest.get(taken..).unwrap_or_default();
            if out.len() < out.capacity() {
                if rest.is_empty() {
                    return Ok(out);
                }
                if taken == 0 && out.len() == made {
                    return Err(TORN);
                }
            }
            if out.len() >= HEADERS_LIMIT {
                return Err(Broken("headers that are too long"));
            }
            out.reserve(out.len().max(1024));
        }
    }
}

fn number(bytes: &mut &[u8]) -> Option<usize> {
    let (four, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    usize::try_from(u32::from_be_bytes(*four)).ok()
}

fn pairs(mut block: &[u8]) -> Option<Vec<(String, String)>> {
    let text = |block: &mut &[u8]| {
        let length = number(block)?;
        let (text, rest) = block.split_at_checked(length)?;
        *block = rest;
        Some(String::from_utf8_lossy(text).into_owned())
    };
    let count = number(&mut block)?;
    (0..count.min(HEADERS_LIMIT)).map(|_| Some((text(&mut block)?, text(&mut block)?))).collect()
}

/// Cuts what a client sends into frames.
pub(super) struct Decoder {
    bytes: BytesMut,
    headers: Inflater,
}

impl Decoder {
    pub fn new() -> Self {
        Self { bytes: BytesMut::new(), headers: Inflater::new() }
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame; none until more has come.
    pub fn next(&mut self) -> Result<Option<Frame>, Broken> {
        let Some(head) = self.bytes.first_chunk::<HEAD>() else { return Ok(None) };
        let [a, b, c, d, flags, e, f, g] = *head;
        let length = usize::try_from(u32::from_be_bytes([0, e, f, g])).unwrap_or(usize::MAX);
        let controls = a & 0x80 != 0;
        if controls && length > CONTROL_LIMIT {
            return Err(Broken("a frame that is too long"));
        }
        // A client's streams have odd numbers, and nobody else opens one.
        if !controls && d % 2 == 0 {
            return Err(Broken("bytes of a stream that nobody has opened"));
        }
        if self.bytes.len() < HEAD + length {
            return Ok(None);
        }
        self.bytes.advance(HEAD);
        let body = self.bytes.split_to(length).freeze();
        let last = flags & FIN != 0;
        if !controls {
            return Ok(Some(Frame::Data { stream: u32::from_be_bytes([a, b, c, d]), bytes: body, last }));
        }
        if u16::from_be_bytes([a, b]) != VERSION {
            return Err(Broken("another version"));
        }
        let at =
            |from: usize| body.get(from..).and_then(<[u8]>::first_chunk::<4>).map(|four| u32::from_be_bytes(*four));
        let short = Broken("a frame that is too short");
        let stream = at(0).ok_or(short).map(|id| id & 0x7fff_ffff);
        Ok(Some(match u16::from_be_bytes([c, d]) {
            // After the stream: the one that it belongs to, priority, and a slot.
            SYN_STREAM => {
                let block = self.headers.block(body.get(10..).ok_or(short)?)?;
                Frame::Open { stream: stream?, headers: pairs(&block).ok_or(short)?, last }
            }
            // Nobody asks for them; they belong to the stream that is unpacked.
            SYN_REPLY | HEADERS => {
                self.headers.block(body.get(4..).ok_or(short)?)?;
                Frame::Other
            }
            RST_STREAM => Frame::Reset { stream: stream? },
            PING => Frame::Ping(at(0).ok_or(short)?),
            GOAWAY => Frame::GoAway,
            _ => Frame::Other,
        }))
    }
}

fn control(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEAD + body.len());
    frame.extend(VERSION.to_be_bytes());
    frame.extend(kind.to_be_bytes());
    frame.extend(u32::try_from(body.len()).unwrap_or_default().to_be_bytes());
    frame.extend(body);
    frame
}

/// Writes frames.
pub(super) struct Encoder {
    /// Without the dictionary, as zlib allows: replies have no headers.
    headers: Compress,
}

impl Encoder {
    pub fn new() -> Self {
        Self { headers: Compress::new(Compression::fast(), true) }
    }

    /// The stream is taken.
    pub fn reply(&mut self, stream: u32) -> Vec<u8> {
        let mut packed = Vec::with_capacity(64);
        // Into memory, of four bytes: none.
        let _ = self.headers.compress_vec(&0_u32.to_be_bytes(), &mut packed, FlushCompress::Sync);
        let mut body = stream.to_be_bytes().to_vec();
        body.extend(packed);
        control(SYN_REPLY, &body)
    }

    pub fn data(stream: u32, bytes: &[u8], last: bool) -> Vec<u8> {
        let mut frame = Vec::with_capacity(HEAD + bytes.len());
        frame.extend(stream.to_be_bytes());
        let length = u32::try_from(bytes.len()).unwrap_or_default();
        frame.extend((length | if last { u32::from(FIN) << 24 } else { 0 }).to_be_bytes());
        frame.extend(bytes);
        frame
    }

    /// The stream is refused.
    pub fn refused(stream: u32) -> Vec<u8> {
        let mut body = stream.to_be_bytes().to_vec();
        body.extend(3_u32.to_be_bytes());
        control(RST_STREAM, &body)
    }

    pub fn ping(id: u32) -> Vec<u8> {
        control(PING, &id.to_be_bytes())
    }

    pub fn go_away(last: u32) -> Vec<u8> {
        let mut body = last.to_be_bytes().to_vec();
        body.extend(0_u32.to_be_bytes());
        control(GOAWAY, &body)
    }
}

#[cfg(test)]
pub(super) mod tests;
