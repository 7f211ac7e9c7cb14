//! The far end of one connection: raw bytes, WebSocket, or Socket.IO over WebSocket. It is as strict as it is small:
//! any frame a correct server would not send ends the measurement.

use std::io;
use std::ops::Range;

// The example key and its answer from RFC 6455 §1.3. One key for all: nothing is proved to a server by a fresh one.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const MASK: [u8; 4] = [0x5a, 0xc3, 0x17, 0x8e];
const HEAD_MAX: usize = 8192;

const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Bytes, no handshake.
    Raw,
    /// RFC 6455.
    WebSocket,
    /// Socket.IO 5 on Engine.IO 4, from the first byte over WebSocket.
    SocketIo,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waits for the answer to the WebSocket handshake.
    Handshake,
    /// Waits for Engine.IO's open packet.
    Open,
    /// Waits for Socket.IO's connect packet.
    Connect,
    Ready,
}

/// The state of one connection.
#[derive(Debug)]
pub struct Client {
    protocol: Protocol,
    phase: Phase,
    carry: Vec<u8>,
}

fn fault<T>(what: impl Into<String>) -> io::Result<T> {
    Err(io::Error::other(what.into()))
}

/// Appends a masked text frame, as a client must send it (RFC 6455 §5.3).
pub fn encode_text(payload: &[u8], out: &mut Vec<u8>) {
    encode(TEXT, payload, out);
}

fn encode(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match payload.len() {
        len @ 0..126 => out.push(0x80 | len as u8),
        len @ 126..0x1_0000 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
}

/// Opcode and payload of the first frame in `input`, `None` while it is incomplete.
fn decode(input: &[u8]) -> io::Result<Option<(u8, Range<usize>)>> {
    let [first, second, rest @ ..] = input else {
        return Ok(None);
    };
    // A whole message in one frame, no extension agreed, never masked by a server (RFC 6455 §5.1, §5.2).
    if first & 0xf0 != 0x80 || second & 0x80 != 0 {
        return fault(format!("malformed frame head {first:#04x} {second:#04x}"));
    }
    let (start, len) = match (second, rest) {
        (126, [a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
        (127, [a, b, c, d, e, f, g, h, ..]) => (
            10,
            u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) as usize,
        ),
        (126 | 127, _) => return Ok(None),
        (len, _) => (2, usize::from(*len)),
    };
    let end = start + len;
    Ok((input.len() >= end).then_some((first & 0xf, start..end)))
}

impl Client {
    /// A client that asks for `path`; what it says first is appended to `out`.
    pub fn open(protocol: Protocol, path: &str, out: &mut Vec<u8>) -> Self {
        let raw = protocol == Protocol::Raw;
        if !raw {
            out.extend_from_slice(
                format!(
                    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
                )
                .as_bytes(),
            );
        }
        Self {
            protocol,
            phase: if raw { Phase::Ready } else { Phase::Handshake },
            carry: Vec::new(),
        }
    }

    /// Whether messages may be sent.
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// Takes received bytes. Whole messages go to `on_message`: WebSocket messages as they are, of Socket.IO the
    /// events and acks with the Engine.IO type before them, raw bytes in the pieces they came in. What the protocol
    /// wants answered (pings, connect) is appended to `out`.
    pub fn handle(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        mut on_message: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.protocol == Protocol::Raw {
            return on_message(bytes);
        }
        if self.carry.is_empty() {
            let taken = self.take_all(bytes, out, &mut on_message)?;
            self.carry.extend_from_slice(&bytes[taken..]);
            return Ok(());
        }
        let mut carry = std::mem::take(&mut self.carry);
        carry.extend_from_slice(bytes);
        let taken = self.take_all(&carry, out, &mut on_message)?;
        carry.drain(..taken);
        self.carry = carry;
        Ok(())
    }

    /// Handles everything complete in `input` and returns how much that was.
    fn take_all(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        on_message: &mut impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<usize> {
        let mut taken = 0;
        if self.phase == Phase::Handshake {
            match self.take_head(input)? {
                None => return Ok(0),
                Some(len) => taken = len,
            }
        }
        while let Some((opcode, range)) = decode(&input[taken..])? {
            let payload = &input[taken + range.start..taken + range.end];
            taken += range.end;
            match opcode {
                PING => encode(PONG, payload, out),
                PONG => {}
                CLOSE => return fault(format!("the server closed: {payload:?}")),
                _ if self.protocol == Protocol::SocketIo => {
                    self.handle_packet(payload, out, on_message)?
                }
                _ => on_message(payload)?,
            }
        }
        Ok(taken)
    }

    fn take_head(&mut self, input: &[u8]) -> io::Result<Option<usize>> {
        let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") else {
            return if input.len() > HEAD_MAX {
                fault("an endless answer to the handshake")
            } else {
                Ok(None)
            };
        };
        let head = String::from_utf8_lossy(&input[..end]);
        if !head.starts_with("HTTP/1.1 101") || !head.contains(ACCEPT) {
            return fault(format!("handshake refused: {head}"));
        }
        self.phase = if self.protocol == Protocol::SocketIo {
            Phase::Open
        } else {
            Phase::Ready
        };
        Ok(Some(end + 4))
    }

    fn handle_packet(
        &mut self,
        packet: &[u8],
        out: &mut Vec<u8>,
        on_message: &mut impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        match (self.phase, packet) {
            (Phase::Open, [b'0', b'{', ..]) => {
                encode_text(b"40", out);
                self.phase = Phase::Connect;
            }
            (Phase::Connect, [b'4', b'0', b'{', ..]) => self.phase = Phase::Ready,
            (_, [b'2']) => encode_text(b"3", out),
            (Phase::Ready, [b'4', b'2' | b'3', ..]) => on_message(packet)?,
            _ => {
                return fault(format!(
                    "unexpected packet {:?}",
                    String::from_utf8_lossy(packet)
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    fn server_frame(payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x81];
        if payload.len() < 126 {
            frame.push(payload.len() as u8);
        } else {
            frame.push(126);
            frame.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        }
        frame.extend_from_slice(payload);
        frame
    }

    #[test]
    fn a_socket_io_stream_reads_the_same_at_every_cut() {
        let long = [b"42".as_slice(), &[b'x'; 300]].concat();
        let packets: [&[u8]; 5] = [
            b"0{\"sid\":\"a\"}",
            b"40{\"sid\":\"b\"}",
            b"2",
            b"430[1]",
            &long,
        ];
        let mut stream = HEAD.to_vec();
        packets
            .iter()
            .for_each(|packet| stream.extend(server_frame(packet)));
        let mut answers = Vec::new();
        encode_text(b"40", &mut answers);
        encode_text(b"3", &mut answers);
        for cut in 0..=stream.len() {
            let mut client = Client::open(Protocol::SocketIo, "/", &mut Vec::new());
            let (mut out, mut seen) = (Vec::new(), Vec::new());
            for part in [&stream[..cut], &stream[cut..]] {
                let kept = |message: &[u8]| {
                    seen.push(message.to_vec());
                    Ok(())
                };
                client.handle(part, &mut out, kept).unwrap();
            }
            assert!(client.is_ready(), "cut at {cut}");
            assert_eq!(seen, [b"430[1]".to_vec(), long.clone()], "cut at {cut}");
            assert_eq!(out, answers, "cut at {cut}");
        }
    }

    #[test]
    fn faults_of_the_server_are_errors() {
        for bad in [
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            &[HEAD, &[0x81, 0x81, 0, 0, 0, 0, 0]].concat(), // masked
            &[HEAD, &[0x01, 0x01, b'x']].concat(),          // a fragment
            &[HEAD, &[0xc1, 0x01, b'x']].concat(),          // RSV1 without an extension
            &[HEAD, &[0x88, 0x02, 0x03, 0xe8]].concat(),    // closed
        ] {
            let mut client = Client::open(Protocol::WebSocket, "/", &mut Vec::new());
            assert!(
                client.handle(bad, &mut Vec::new(), |_| Ok(())).is_err(),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn masked_frames_are_as_the_standard_has_them() {
        let mut frame = Vec::new();
        encode_text(b"Hello", &mut frame);
        assert_eq!(frame[..2], [0x81, 0x85]);
        let plain: Vec<u8> = frame[6..]
            .iter()
            .zip(frame[2..6].iter().cycle())
            .map(|(a, b)| a ^ b)
            .collect();
        assert_eq!(plain, b"Hello");
        let mut long = Vec::new();
        encode_text(&[b'x'; 300], &mut long);
        assert_eq!(long[..4], [0x81, 0xfe, 0x01, 0x2c]);
        assert_eq!(long.len(), 8 + 300);
    }
}
