//! The far end of one connection: a small client of either kind, written on its own so that it does not share the server's mistakes
//! (it shares the frame head's codec alone).

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use super::ledger::{Name, Room};
use crate::reactor::fake::FakeClient;
use crate::wire::Status;
use crate::wire::frame::{self, Opcode};
use crate::wire::xorshift::Xorshift;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A WebSocket on a route.
    Plain,
    SocketIo,
    /// It never becomes a WebSocket: half a request, or one for nothing.
    Stillborn,
}

/// What a client has begun that ends its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It sent a Close frame.
    Close,
    /// It asked the server to end it.
    Asked,
    /// It sent FIN in the middle of it all.
    Fin,
    Reset,
    /// Its core is shutting down.
    Shutdown,
}

/// What the client awaits an answer to, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Join(Room),
    Leave(Room),
    Echo(String),
}

/// What came in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The answer to the opening handshake, by its status.
    Http(u16),
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16),
}

/// A Socket.IO packet, taken apart.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) kind: u8,
    pub(super) namespace: String,
    pub(super) id: Option<u64>,
    pub(super) json: String,
    /// How many binary messages follow.
    pub(super) missing: usize,
    pub(super) attachments: Vec<Vec<u8>>,
}

pub(super) struct Client {
    pub(super) link: FakeClient,
    pub(super) core: usize,
    pub(super) kind: Kind,
    input: Vec<u8>,
    upgraded: bool,
    /// By scope: its member there.
    pub(super) members: [Option<Name>; 3],
    /// By scope: the member that asked to be let in.
    pub(super) pending: [Option<Name>; 3],
    /// By scope: the member that asked the server to end it.
    pub(super) kicked: [Option<Name>; 3],
    /// Socket.IO: the packet whose attachments are awaited.
    pub(super) packet: Option<Packet>,
    pub(super) questions: BTreeMap<Name, VecDeque<(u64, Question)>>,
    /// Sent, and not come back.
    pub(super) pings: VecDeque<Vec<u8>>,
    pub(super) binaries: VecDeque<Vec<u8>>,
    pub(super) next_id: u64,
    /// It does not read.
    pub(super) slow: bool,
    /// It reads but gives no sign of life.
    pub(super) mute: bool,
    /// Ping intervals for which it has been mute.
    pub(super) mute_for: usize,
    /// It did something for which the server may end it: being silent through a timeout.
    pub(super) excused: bool,
    pub(super) ending: Option<Ending>,
    pub(super) close_sent: bool,
    pub(super) close_heard: Option<u16>,
    pub(super) finished: bool,
    pub(super) dead: bool,
}

impl Client {
    pub(super) fn new(link: FakeClient, core: usize, kind: Kind) -> Client {
        Client {
            link,
            core,
            kind,
            input: Vec::new(),
            upgraded: false,
            members: [None; 3],
            pending: [None; 3],
            kicked: [None; 3],
            packet: None,
            questions: BTreeMap::new(),
            pings: VecDeque::new(),
            binaries: VecDeque::new(),
            next_id: 0,
            slow: false,
            mute: false,
            mute_for: 0,
            excused: false,
            ending: None,
            close_sent: false,
            close_heard: None,
            finished: false,
            dead: false,
        }
    }

    /// It is in good health and does as it likes.
    pub(super) fn is_free(&self) -> bool {
        !self.dead && !self.mute && self.ending.is_none() && self.close_heard.is_none()
    }

    /// All its members, those not let in yet too.
    pub(super) fn names(&self) -> Vec<Name> {
        let all = self.members.iter().chain(&self.pending);
        all.copied().flatten().collect()
    }

    /// Notes a question; gives its number.
    pub(super) fn ask(&mut self, name: Name, question: Question) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let questions = self.questions.entry(name).or_default();
        questions.push_back((id, question));
        id
    }

    /// Sends a Socket.IO event; `head` is its namespace and id.
    pub(super) fn event(
        &mut self,
        head: &str,
        args: &Value,
        blobs: &[Vec<u8>],
        dice: &mut Xorshift,
    ) {
        let text = match blobs.len() {
            0 => format!("42{head}{args}"),
            count => format!("45{count}-{head}{args}"),
        };
        self.text(&text, dice);
        for blob in blobs {
            self.send(Opcode::Binary, blob, dice);
        }
    }

    pub(super) fn upgrade(&self, target: &str) {
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        self.link.send(head.as_bytes());
    }

    /// Sends a message, now and then in fragments with a Ping in between.
    pub(super) fn send(&mut self, opcode: Opcode, payload: &[u8], dice: &mut Xorshift) {
        if self.finished || self.close_sent || self.dead {
            return;
        }
        if payload.len() < 2 || dice.below(10) > 0 {
            return self.send_frame(opcode, true, payload, dice);
        }
        let cut = 1 + dice.below(payload.len() - 1);
        self.send_frame(opcode, false, &payload[..cut], dice);
        if dice.below(2) == 0 {
            self.ping(dice);
        }
        self.send_frame(Opcode::Continuation, true, &payload[cut..], dice);
    }

    pub(super) fn text(&mut self, text: &str, dice: &mut Xorshift) {
        self.send(Opcode::Text, text.as_bytes(), dice);
    }

    pub(super) fn ping(&mut self, dice: &mut Xorshift) {
        let len = dice.below(126);
        let payload = dice.bytes(len);
        self.send_frame(Opcode::Ping, true, &payload, dice);
        self.pings.push_back(payload);
    }

    pub(super) fn close(&mut self, code: u16, dice: &mut Xorshift) {
        if !self.close_sent && !self.finished && !self.dead {
            self.send_frame(Opcode::Close, true, &code.to_be_bytes(), dice);
            self.close_sent = true;
        }
    }

    pub(super) fn finish(&mut self) {
        if !self.finished {
            self.finished = true;
            self.link.finish();
        }
    }

    fn send_frame(&self, opcode: Opcode, fin: bool, payload: &[u8], dice: &mut Xorshift) {
        let mask = (dice.next() as u32).to_be_bytes();
        let mut bytes = frame::encode_masked_head(opcode, fin, payload.len(), mask).to_vec();
        let masked = payload.iter().zip(mask.iter().cycle());
        bytes.extend(masked.map(|(byte, mask)| byte ^ mask));
        self.link.send(&bytes);
    }

    /// Takes what has arrived. `false`: nothing.
    pub(super) fn receive(&mut self) -> bool {
        let bytes = self.link.receive();
        self.input.extend_from_slice(&bytes);
        !bytes.is_empty()
    }

    /// All that is whole of what was received. An error says what is wrong with it.
    pub(super) fn read(&mut self) -> Result<Vec<Heard>, String> {
        let mut heard = Vec::new();
        if !self.upgraded {
            let Some(end) = self.input.windows(4).position(|four| four == b"\r\n\r\n") else {
                return Ok(heard);
            };
            let head: Vec<u8> = self.input.drain(..end + 4).collect();
            let status = head
                .get(9..12)
                .and_then(|status| str::from_utf8(status).ok());
            let status = status.and_then(|status| status.parse().ok());
            heard.push(Heard::Http(status.ok_or("no status")?));
            self.upgraded = true;
        }
        if self.kind == Kind::Stillborn {
            self.input.clear();
            return Ok(heard);
        }
        let mut at = 0;
        while let Some((frame, len)) = decode(&self.input[at..])? {
            if self.close_heard.is_some() {
                return Err(format!("{frame:?} behind Close"));
            }
            if let Heard::Close(code) = frame {
                self.close_heard = Some(code);
            }
            at += len;
            heard.push(frame);
        }
        self.input.drain(..at);
        Ok(heard)
    }

    /// Whether half a frame is left over.
    pub(super) fn has_rest(&self) -> bool {
        !self.input.is_empty()
    }
}

/// A server's frame must be whole, unmasked and final: this server never cuts a message into frames.
fn decode(bytes: &[u8]) -> Result<Option<(Heard, usize)>, String> {
    let head = match frame::decode_head(bytes) {
        Ok(Status::Partial) => return Ok(None),
        Ok(Status::Complete(head)) => head,
        Err(error) => return Err(format!("a broken frame: {error:?}")),
    };
    if head.mask.is_some() || !head.fin || head.rsv1 || head.payload_len > 1 << 20 {
        return Err(format!("not a frame of ours: {head:?}"));
    }
    let len = head.head_len + head.payload_len as usize;
    let Some(payload) = bytes.get(head.head_len..len) else {
        return Ok(None);
    };
    let payload = payload.to_vec();
    let frame = match head.opcode {
        Opcode::Text => Heard::Text(String::from_utf8(payload).map_err(|_| "text, not UTF-8")?),
        Opcode::Binary => Heard::Binary(payload),
        Opcode::Ping => Heard::Ping(payload),
        Opcode::Pong => Heard::Pong(payload),
        Opcode::Close if payload.len() == 1 => return Err("a Close of one byte".to_owned()),
        Opcode::Close => Heard::Close(
            payload
                .first_chunk()
                .map_or(1005, |code| u16::from_be_bytes(*code)),
        ),
        Opcode::Continuation => return Err("a continuation of nothing".to_owned()),
    };
    Ok(Some((frame, len)))
}

impl Packet {
    /// Takes apart what stands behind Engine.IO's `4`.
    pub(super) fn parse(text: &str) -> Result<Packet, String> {
        let broken = || format!("no packet: {text:?}");
        let kind = *text.as_bytes().first().ok_or_else(broken)?;
        let mut rest = &text[1..];
        let mut missing = 0;
        if matches!(kind, b'5' | b'6') {
            let (count, behind) = rest.split_once('-').ok_or_else(broken)?;
            missing = count.parse().map_err(|_| broken())?;
            rest = behind;
        }
        let mut namespace = "/";
        if rest.starts_with('/') {
            let end = rest.find(',').ok_or_else(broken)?;
            (namespace, rest) = (&rest[..end], &rest[end + 1..]);
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (id, json) = rest.split_at(digits);
        Ok(Packet {
            kind,
            namespace: namespace.to_owned(),
            id: id.parse().ok(),
            json: json.to_owned(),
            missing,
            attachments: Vec::new(),
        })
    }
}
