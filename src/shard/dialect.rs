//! WebSocket frames for clients that want binary messages in another form than the rest.
//!
//! Messages are encoded once, for everybody. The few clients of Engine.IO that differ get theirs rewritten when it is added to what waits for
//! them.

use crate::room::turn::Piece;
use crate::wire::Status;
use crate::wire::engine as packet;
use crate::wire::frame::{self, Opcode};

use super::engine::revision3;
use super::outbound::{Outbound, Pool};

/// What a client wants of binary messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// With their type before them (revision 3).
    pub(crate) typed: bool,
    /// As text, in base64 (`b64=1`).
    pub(crate) base64: bool,
}

impl Dialect {
    /// Adds this turn's messages to what waits.
    pub(crate) fn extend<'a>(
        self,
        outbound: &mut Outbound,
        pieces: impl Iterator<Item = Piece<'a>>,
        pool: &mut Pool,
    ) {
        let mut rewritten = Vec::new();
        for piece in pieces {
            rewritten.clear();
            self.rewrite(piece.bytes(), &mut rewritten);
            outbound.extend(std::iter::once(Piece::Small(&rewritten)), pool);
        }
    }

    /// The same of what has waited for a GET, and leaves on a WebSocket now.
    pub(crate) fn convert(self, waiting: &mut Outbound, pool: &mut Pool) -> Outbound {
        let mut converted = Outbound::default();
        while let Some(buffer) = waiting.pop() {
            let piece = Piece::Small(buffer.bytes());
            self.extend(&mut converted, std::iter::once(piece), pool);
        }
        converted
    }

    /// Whatever is no whole frame is left as it is: the answer that opened the WebSocket is among what is sent.
    fn rewrite(self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while let Ok(Status::Complete(head)) = frame::decode_head(bytes) {
            let end = usize::try_from(head.payload_len)
                .ok()
                .and_then(|len| head.head_len.checked_add(len));
            let whole = end.and_then(|end| bytes.split_at_checked(end));
            let Some((whole, rest)) = whole.filter(|_| head.fin) else {
                break;
            };
            match whole.get(head.head_len..) {
                Some(data) if head.opcode == Opcode::Binary => self.rewrite_binary(data, out),
                _ => out.extend_from_slice(whole),
            }
            bytes = rest;
        }
        out.extend_from_slice(bytes);
    }

    fn rewrite_binary(self, data: &[u8], out: &mut Vec<u8>) {
        if !self.base64 {
            let head = frame::encode_head(Opcode::Binary, true, 1 + data.len());
            out.extend_from_slice(&head);
            out.push(revision3::MESSAGE);
            out.extend_from_slice(data);
            return;
        }
        let digits = packet::base64_len(data.len());
        let before = 1 + usize::from(self.typed);
        let head = frame::encode_head(Opcode::Text, true, before + digits);
        out.extend_from_slice(&head);
        out.push(packet::BASE64);
        if self.typed {
            out.push(packet::MESSAGE);
        }
        packet::append_base64(out, data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(dialect: Dialect, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        dialect.rewrite(bytes, &mut out);
        out
    }

    #[test]
    fn binary_frames_alone_are_rewritten() {
        let frames = b"\x81\x024a\x82\x03\x01\x02\x03\x81\x00\x82\x00";
        let (typed, base64) = (true, true);
        let cases: [(Dialect, &[u8]); 3] = [
            (
                Dialect {
                    typed,
                    base64: false,
                },
                b"\x81\x024a\x82\x04\x04\x01\x02\x03\x81\x00\x82\x01\x04",
            ),
            (
                Dialect {
                    typed: false,
                    base64,
                },
                b"\x81\x024a\x81\x05bAQID\x81\x00\x81\x01b",
            ),
            (
                Dialect { typed, base64 },
                b"\x81\x024a\x81\x06b4AQID\x81\x00\x81\x02b4",
            ),
        ];
        for (dialect, wanted) in cases {
            assert_eq!(rewritten(dialect, frames), wanted, "{dialect:?}");
        }
    }

    #[test]
    fn what_is_no_frame_stays_as_it_is() {
        let dialect = Dialect {
            typed: true,
            base64: false,
        };
        let opening = b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x010";
        assert_eq!(rewritten(dialect, opening), opening);
        for cut in 0..5 {
            let bytes = &b"\x82\x03\x01\x02\x03"[..cut];
            assert_eq!(rewritten(dialect, bytes), bytes);
        }
    }
}
