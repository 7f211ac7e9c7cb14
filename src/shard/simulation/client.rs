//! The far end of one connection: a small client of either kind, written on its own so that it does not share the server's mistakes
//! (it shares the frame head's codec alone).

use std::collections::{BTreeMap, VecDeque};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::ledger::{Name, Room};
use super::polling::Polling;
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
    /// Its WebSocket; `None` as long as it is on polling.
    pub(super) link: Option<FakeClient>,
    pub(super) polling: Option<Box<Polling>>,
    /// Where its members are.
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
    /// It has gone, and the server may not have seen it: ping intervals since then.
    pub(super) ghost_for: Option<usize>,
    /// It has just said that its WebSocket takes over, and cannot know whether the server has heard it.
    pub(super) is_fresh: bool,
    /// It began on polling, and was upgraded.
    pub(super) was_polling: bool,
    pub(super) close_sent: bool,
    pub(super) close_heard: Option<u16>,
    pub(super) finished: bool,
    pub(super) dead: bool,
}

impl Client {
    /// A client that is connected to `core`, and is going to be a WebSocket.
    pub(super) fn new(link: FakeClient, core: usize, kind: Kind) -> Client {
        Client::on(Some(link), None, core, kind)
    }

    pub(super) fn polls(polling: Polling, core: usize) -> Client {
        Client::on(None, Some(Box::new(polling)), core, Kind::SocketIo)
    }

    fn on(
        link: Option<FakeClient>,
        polling: Option<Box<Polling>>,
        core: usize,
        kind: Kind,
    ) -> Client {
        Client {
            link,
            polling,
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
            ghost_for: None,
            is_fresh: false,
            was_polling: false,
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
        self.send_bytes(upgrade_head(target).as_bytes());
    }

    pub(super) fn send_bytes(&self, bytes: &[u8]) {
        if let Some(link) = &self.link {
            link.send(bytes);
        }
    }

    /// Sends a message, now and then in fragments with a Ping in between.
    pub(super) fn send(&mut self, opcode: Opcode, payload: &[u8], dice: &mut Xorshift) {
        if self.finished || self.close_sent || self.dead {
            return;
        }
        match &mut self.polling {
            Some(polling) if opcode == Opcode::Binary => return polling.say_binary(payload),
            Some(polling) => return polling.say(String::from_utf8_lossy(payload).into_owned()),
            None => {}
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
        if self.polling.is_some() {
            return;
        }
        let len = dice.below(126);
        let payload = dice.bytes(len);
        self.send_frame(Opcode::Ping, true, &payload, dice);
        self.pings.push_back(payload);
    }

    pub(super) fn close(&mut self, code: u16, dice: &mut Xorshift) {
        if !self.close_sent && !self.finished && !self.dead {
            match &mut self.polling {
                Some(polling) => polling.say("1".to_owned()),
                None => self.send_frame(Opcode::Close, true, &code.to_be_bytes(), dice),
            }
            self.close_sent = true;
        }
    }

    pub(super) fn finish(&mut self) {
        if let Some(polling) = &mut self.polling {
            polling.hang_up();
        }
        if !self.finished {
            self.finished = true;
            if let Some(link) = &self.link {
                link.finish();
            }
        }
    }

    pub(super) fn reset(&mut self) {
        self.finished = true;
        if let Some(link) = &self.link {
            link.reset();
        }
        if let Some(polling) = &mut self.polling {
            polling.drop_poll(true);
            polling.hang_up();
        }
    }

    /// Whether its connection was reset, or one of them in use.
    pub(super) fn was_reset(&self) -> bool {
        let polling = self
            .polling
            .as_ref()
            .is_some_and(|polling| polling.was_reset());
        polling || self.link.as_ref().is_some_and(FakeClient::was_reset)
    }

    /// Whether the server has ended it. Bytes may still wait to be received.
    pub(super) fn is_closed(&self) -> bool {
        match &self.polling {
            Some(polling) => polling.over.is_some(),
            None => self.link.as_ref().is_some_and(FakeClient::is_closed),
        }
    }

    /// It waits for something that does not come, in an upgrade.
    pub(super) fn is_stuck(&self) -> bool {
        self.polling
            .as_ref()
            .is_some_and(|polling| polling.is_stuck())
    }

    /// The server ended it while its WebSocket was about to take over.
    pub(super) fn is_upgraded_to_close(&self) -> bool {
        self.was_polling && (self.ending == Some(Ending::Asked) || self.excused)
    }

    /// For whoever wants to know what has become of it.
    pub(super) fn state(&self) -> String {
        let Client {
            kind, core, ending, ..
        } = self;
        let carrier = match &self.polling {
            Some(polling) => polling.state(),
            None if self.was_polling => "upgraded".to_owned(),
            None => "not polling".to_owned(),
        };
        let marks = [
            (self.dead, "dead"),
            (self.slow, "slow"),
            (self.mute, "mute"),
            (self.excused, "excused"),
            (self.is_fresh, "fresh"),
            (self.ghost_for.is_some(), "a ghost"),
        ];
        let marks = marks.iter().filter_map(|(is, mark)| is.then_some(*mark));
        let marks: Vec<&str> = marks.collect();
        format!("{kind:?} on core {core}, {ending:?}, {marks:?}, {carrier}")
    }

    /// Its connections are in other hands, to do what no client should.
    pub(super) fn breaks_off(&self) -> bool {
        self.link.is_none() && self.polling.is_none()
    }

    fn send_frame(&self, opcode: Opcode, fin: bool, payload: &[u8], dice: &mut Xorshift) {
        if let Some(link) = &self.link {
            send_frame(link, opcode, fin, payload, dice);
        }
    }

    /// Takes what has arrived, and does what follows from it. `false`: nothing.
    pub(super) fn receive(&mut self, doors: &[usize], dice: &mut Xorshift) -> Result<bool, String> {
        let Some(polling) = &mut self.polling else {
            let bytes = self
                .link
                .as_ref()
                .map(FakeClient::receive)
                .unwrap_or_default();
            self.input.extend_from_slice(&bytes);
            return Ok(!bytes.is_empty());
        };
        let changed = polling.go_on(doors, dice)?;
        let Some((link, input, queue)) = polling.take_upgrade() else {
            return Ok(changed);
        };
        self.link = Some(link);
        self.input = input;
        self.upgraded = true;
        self.is_fresh = true;
        self.was_polling = true;
        self.polling = None;
        let ending = std::mem::take(&mut self.close_sent);
        for packet in queue {
            match packet.strip_prefix('b') {
                Some(base64) => {
                    let bytes = STANDARD.decode(base64).unwrap_or_default();
                    self.send(Opcode::Binary, &bytes, dice);
                }
                None => self.text(&packet, dice),
            }
        }
        self.close_sent = ending;
        Ok(true)
    }

    /// All that is whole of what was received. An error says what is wrong with it.
    pub(super) fn read(&mut self) -> Result<Vec<Heard>, String> {
        if let Some(polling) = &mut self.polling {
            return Ok(polling.take_heard());
        }
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

pub(super) fn upgrade_head(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

pub(super) fn send_frame(
    link: &FakeClient,
    opcode: Opcode,
    fin: bool,
    payload: &[u8],
    dice: &mut Xorshift,
) {
    let mask = (dice.next() as u32).to_be_bytes();
    let mut bytes = frame::encode_masked_head(opcode, fin, payload.len(), mask).to_vec();
    let masked = payload.iter().zip(mask.iter().cycle());
    bytes.extend(masked.map(|(byte, mask)| byte ^ mask));
    link.send(&bytes);
}

/// A server's frame must be whole, unmasked and final: this server never cuts a message into frames.
pub(super) fn decode(bytes: &[u8]) -> Result<Option<(Heard, usize)>, String> {
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
