//! Frames that Kubernetes' own implementation sent, and what is none.

use super::*;

/// What spdystream 0.5.1 sent: `streamtype: error`, `port: 22`, `requestid: 0`, then another stream by the same dictionary.
const SENT: [&str; 2] = [
    "800300010000003d0000000100000000000078f9e3c6a7c202253a703a2b294a4dcc851625aca9a0808614cb45a024cc6464c4c0c0c0590489c44c50e2663400000000ffff",
    "800300010000001800000003000000000000c2aa15540a2512d209000000ffff",
];

fn raw(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The streams that a client of Kubernetes' opens to forward port 22: for errors, and for data.
pub fn opened_by_kubectl() -> Vec<Vec<u8>> {
    SENT.iter().map(|hex| raw(hex)).collect()
}

/// Opens streams as a client does, in one stream of zlib.
pub struct Opener(Compress);

impl Opener {
    pub fn new() -> Self {
        Self(Compress::new(Compression::fast(), true))
    }

    pub fn open(&mut self, stream: u32, headers: &[(&str, &str)]) -> Vec<u8> {
        let mut block = u32::try_from(headers.len()).unwrap().to_be_bytes().to_vec();
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            block.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
            block.extend(text.bytes());
        }
        let mut packed = Vec::with_capacity(1024);
        self.0.compress_vec(&block, &mut packed, FlushCompress::Sync).unwrap();
        let mut body = stream.to_be_bytes().to_vec();
        body.extend([0; 6]);
        body.extend(packed);
        control(SYN_STREAM, &body)
    }
}

#[test]
fn the_dictionary_is_that_of_the_protocol() {
    let all = dictionary();
    // adler32, as zlib names a dictionary.
    let (a, b) = all.iter().fold((1_u32, 0_u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65521;
        (a, (b + a) % 65521)
    });
    assert_eq!((all.len(), b << 16 | a), (1423, 0xe3c6_a7c2));
}

#[test]
fn streams_that_spdystream_opened_are_read_byte_by_byte() {
    let mut decoder = Decoder::new();
    let mut frames = Vec::new();
    for byte in opened_by_kubectl().concat() {
        decoder.feed(&[byte]);
        frames.extend(decoder.next().unwrap());
    }
    let headers = |kind: &str| {
        let mut all = vec![("port", "22"), ("requestid", "0"), ("streamtype", kind)];
        all.sort_unstable();
        all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>()
    };
    let sorted: Vec<Frame> = frames
        .into_iter()
        .map(|frame| match frame {
            Frame::Open { stream, mut headers, last } => {
                headers.sort();
                Frame::Open { stream, headers, last }
            }
            other => other,
        })
        .collect();
    assert_eq!(
        sorted,
        [
            Frame::Open { stream: 1, headers: headers("error"), last: false },
            Frame::Open { stream: 3, headers: headers("data"), last: false },
        ]
    );
}

#[test]
fn what_is_written_is_read_again_and_what_is_no_spdy_is_refused() {
    let mut decoder = Decoder::new();
    for bytes in [Encoder::data(3, b"hi", true), Encoder::ping(7), Encoder::refused(5), Encoder::go_away(3)] {
        decoder.feed(&bytes);
    }
    decoder.feed(&Encoder::new().reply(1));
    let mut frames = Vec::new();
    while let Some(frame) = decoder.next().unwrap() {
        frames.push(frame);
    }
    let data = Frame::Data { stream: 3, bytes: Bytes::from_static(b"hi"), last: true };
    assert_eq!(frames, [data, Frame::Ping(7), Frame::Reset { stream: 5 }, Frame::GoAway, Frame::Other]);
    for no in [&b"GET / HTTP/1.1\r\n"[..], &[0x80, 2, 0, 6, 0, 0, 0, 0], &[0x80, 3, 0, 6, 0, 0xff, 0xff, 0xff]] {
        let mut decoder = Decoder::new();
        decoder.feed(no);
        assert!(decoder.next().is_err());
    }
    // What an older client of Go's sends in one frame.
    let mut decoder = Decoder::new();
    decoder.feed(&Encoder::data(3, &vec![1; 2 << 20], false));
    assert!(matches!(decoder.next(), Ok(Some(Frame::Data { bytes, .. })) if bytes.len() == 2 << 20));
    let mut decoder = Decoder::new();
    decoder.feed(&control(SYN_STREAM, &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x78, 0xbb, 1, 2, 3, 4, 0xff, 0xff, 0xff]));
    assert!(decoder.next().is_err());
    // Headers that unpack to more than anybody needs.
    let mut bomb = Compress::new(Compression::best(), true);
    let mut packed = Vec::with_capacity(1 << 16);
    bomb.compress_vec(&vec![0; 1 << 20], &mut packed, FlushCompress::Sync).unwrap();
    let mut body = vec![0; 10];
    body.extend(packed);
    let mut decoder = Decoder::new();
    decoder.feed(&control(SYN_STREAM, &body));
    assert_eq!(decoder.next(), Err(Broken("headers that are too long")));
}
