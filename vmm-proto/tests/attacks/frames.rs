//! HTTP/2 by hand: frames that no library would write.

use tokio::io::{AsyncRead, AsyncReadExt as _};
use vmm_proto::endpoint::{CONTENT_TYPE as XVMP, RPC_PATH};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// Kinds of frames.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;

/// The header is whole.
pub(crate) const END_HEADERS: u8 = 4;

/// `CANCEL`, as the payload of a reset.
pub(crate) const CANCEL: &[u8] = &[0, 0, 0, 8];

/// `:status: 408` as hyper writes it: a literal in Huffman code.
pub(crate) const STATUS_408: &[u8] = &[0x48, 0x83, 0x68, 0x0f, 0x7f];

/// `:status: 431`, likewise.
pub(crate) const STATUS_431: &[u8] = &[0x48, 0x83, 0x69, 0x90, 0xff];

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The code in a GOAWAY or a reset.
    pub(crate) fn error_code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The header block of `POST /xvmp/1/rpc`, uncompressed.
pub(crate) fn block() -> Vec<u8> {
    // `:method: POST` and `:scheme: https` of the static table.
    let mut block = vec![0x83, 0x87];
    block.extend(literal(":path", RPC_PATH));
    block.extend(literal("content-type", XVMP));
    block
}

/// A header that goes into no table.
pub(crate) fn literal(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| {
        // A length of 127 and more goes on in groups of seven bits.
        let mut out = Vec::new();
        match u8::try_from(text.len()) {
            Ok(length @ 0..127) => out.push(length),
            _ => {
                out.push(127);
                let mut rest = text.len() - 127;
                while rest >= 128 {
                    out.push(u8::try_from(rest % 128).unwrap() | 128);
                    rest /= 128;
                }
                out.push(u8::try_from(rest).unwrap());
            }
        }
        out.extend_from_slice(text.as_bytes());
        out
    };
    [vec![0], text(name), text(value)].concat()
}

/// The next frame, or `None` at the end.
pub(crate) async fn next(stream: &mut (impl AsyncRead + Unpin)) -> Option<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let [a, b, c, kind, _, stream_id @ ..] = head;
    let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap()];
    stream.read_exact(&mut payload).await.ok()?;
    Some(Frame { kind, stream: u32::from_be_bytes(stream_id), payload })
}
