//! The client's end of an Engine.IO session on polling, without HTTP: one task that polls, one that posts.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::socket::Presence;
use crate::proto::session::Revision;
use crate::proto::websocket::Kind;
use crate::server::Handshake;
use crate::server::arguments::Args;
use crate::server::binary::Payload;
use crate::shard::call::{Above, Answer, Call, Opening, Reply, Request, Ticket};
use crate::shard::hall::{Hall, Outgoing};
use crate::wire::msgpack::{self, Unpacked};
use crate::wire::parser::Parser;
use crate::wire::socket::{self, PacketType};
use crate::wire::{engine, payload};

/// What a test's client takes: as much as the server may send.
const LIMITS: socket::Limits = socket::Limits {
    max_attachments: usize::MAX,
    max_depth: usize::MAX,
};

/// See the module's text.
pub(super) struct Session {
    hall: Rc<Hall>,
    sid: Box<str>,
    /// Packets on their way to the server; `None` once the session is over.
    outgoing: RefCell<Option<mpsc::UnboundedSender<Vec<u8>>>>,
    pub(super) presences: RefCell<HashMap<Box<str>, Rc<Presence>>>,
    /// A binary packet whose attachments are not all here.
    partial: RefCell<Option<Partial>>,
    /// The request that the server holds.
    polling: Cell<Option<Ticket>>,
    answers_pings: Cell<bool>,
    next_ack: Cell<u64>,
}

struct Partial {
    packet: Packet,
    due: usize,
}

/// One packet of Socket.IO, whole.
struct Packet {
    kind: PacketType,
    namespace: Box<str>,
    id: Option<u64>,
    json: Vec<u8>,
    attachments: Vec<Bytes>,
}

impl Session {
    /// Opens a session. `None`: the server takes no more.
    pub(super) async fn open(hall: &Rc<Hall>, handshake: Handshake) -> Option<Rc<Session>> {
        let opening = Opening {
            above: Above::SocketIo,
            handshake,
            revision: Revision::V4,
            base64_only: false,
            name: None,
            grant: None,
        };
        let opened = ask(hall, |reply| Call::Open(Box::new(opening), reply)).await;
        let Some(Answer::Opened { sid, .. }) = opened else {
            return None;
        };
        let (outgoing, queue) = mpsc::unbounded_channel();
        let session = Rc::new(Session {
            hall: hall.clone(),
            sid,
            outgoing: RefCell::new(Some(outgoing)),
            presences: RefCell::default(),
            partial: RefCell::default(),
            polling: Cell::default(),
            answers_pings: Cell::new(true),
            next_ack: Cell::new(0),
        });
        tokio::task::spawn_local(session.clone().poll());
        tokio::task::spawn_local(session.clone().post(queue));
        Some(session)
    }

    pub(super) fn is_open(&self) -> bool {
        self.outgoing.borrow().is_some()
    }

    pub(super) fn next_ack(&self) -> u64 {
        let id = self.next_ack.get();
        self.next_ack.set(id + 1);
        id
    }

    /// Sends one packet of Engine.IO, and its attachments behind it.
    pub(super) fn send(&self, packet: &[u8], attachments: &[Bytes]) {
        if let Some(outgoing) = &*self.outgoing.borrow() {
            let mut body = packet.to_vec();
            for attachment in attachments {
                body.push(payload::SEPARATOR);
                engine::encode_base64(&mut body, attachment);
            }
            // Nobody receives once the session is over; then it is lost, as on a connection.
            let _ = outgoing.send(body);
        }
    }

    /// Sends one packet of Socket.IO.
    pub(super) fn send_packet(&self, packet: Outgoing<'_>) {
        match packet.kind {
            Kind::Text => self.send(packet.body, packet.attachments),
            Kind::Binary => {
                let mut text = Vec::new();
                engine::encode_base64(&mut text, packet.body);
                self.send(&text, &[]);
            }
        }
    }

    /// The same of one that has no attachments.
    pub(super) fn send_plain(&self, kind: PacketType, namespace: &str, json: &[u8]) {
        let parser = self.hall.parser();
        let mut body = Vec::new();
        if let Err(error) = parser.encode(&mut body, kind, namespace, json) {
            panic!("what is sent is no JSON: {error:?}");
        }
        self.send_packet(Outgoing {
            kind: Kind::of(parser),
            body: &body,
            attachments: &[],
            offset: None,
        });
    }

    pub(super) fn parser(&self) -> Parser {
        self.hall.parser()
    }

    pub(super) fn stop_answering(&self) {
        self.answers_pings.set(false);
    }

    /// Says goodbye, as a tab does that is closed.
    pub(super) fn close(&self) {
        self.send(&[engine::CLOSE], &[]);
    }

    /// Breaks off the request that the server holds, as a network does that fails.
    pub(super) fn cut(&self) {
        if let Some(ticket) = self.polling.take() {
            self.hall.call(Call::BrokenOff {
                sid: self.sid.clone(),
                ticket,
            });
        }
        self.end();
    }

    /// One request after the other, until the session is over.
    async fn poll(self: Rc<Self>) {
        while self.is_open() {
            let ticket = Ticket::new();
            self.polling.set(Some(ticket));
            let polled = self.ask(|reply| Request::Poll { ticket, reply }).await;
            self.polling.set(None);
            let Some(Answer::Packets { mut body, .. }) = polled else {
                break;
            };
            for packet in payload::packets(&mut body) {
                self.handle(packet);
            }
        }
        self.end();
    }

    /// What is to be sent, one request after the other.
    async fn post(self: Rc<Self>, mut queue: mpsc::UnboundedReceiver<Vec<u8>>) {
        while let Some(mut body) = queue.recv().await {
            while let Ok(more) = queue.try_recv() {
                body.push(payload::SEPARATOR);
                body.extend_from_slice(&more);
            }
            let ticket = Ticket::new();
            let ready = self.ask(|reply| Request::Push { ticket, reply }).await;
            let Some(Answer::Ready(_ends)) = ready else {
                break;
            };
            let pushed = |reply| Request::Pushed {
                ticket,
                body,
                is_binary: false,
                reply,
            };
            if !matches!(self.ask(pushed).await, Some(Answer::Done)) {
                break;
            }
        }
    }

    async fn ask(&self, request: impl FnOnce(Reply) -> Request) -> Option<Answer> {
        ask(&self.hall, |reply| Call::Session {
            sid: self.sid.clone(),
            route: None,
            revision: Revision::V4,
            request: request(reply),
        })
        .await
    }

    fn end(&self) {
        self.outgoing.take();
        for (_, presence) in self.presences.take() {
            presence.leave();
        }
    }

    /// A packet from the server.
    fn handle(&self, packet: &mut [u8]) {
        match packet {
            [engine::PING, ..] if self.answers_pings.get() => self.send(&[engine::PONG], &[]),
            [engine::CLOSE, ..] => self.end(),
            [engine::MESSAGE, text @ ..] => self.handle_text(text),
            [engine::BASE64, text @ ..] => self.handle_binary(engine::decode_base64(text)),
            _ => {}
        }
    }

    fn handle_text(&self, text: &mut [u8]) {
        let packet = socket::decode(text, &LIMITS)
            .unwrap_or_else(|error| panic!("the server sent what is no packet: {error:?}"));
        let due = packet.attachments;
        let packet = Packet {
            kind: packet.kind,
            namespace: packet.namespace.into(),
            id: packet.id,
            json: packet.payload.map(|json| json.to_vec()).unwrap_or_default(),
            attachments: Vec::new(),
        };
        if due > 0 {
            self.partial.replace(Some(Partial { packet, due }));
        } else {
            self.act(packet);
        }
    }

    fn handle_binary(&self, bytes: Vec<u8>) {
        if self.hall.parser() == Parser::MsgPack {
            return self.handle_packed(&bytes);
        }
        let Some(mut partial) = self.partial.take() else {
            panic!("the server sent bytes that belong to no packet");
        };
        partial.packet.attachments.push(bytes.into());
        partial.due -= 1;
        if partial.due > 0 {
            self.partial.replace(Some(partial));
        } else {
            self.act(partial.packet);
        }
    }

    fn handle_packed(&self, bytes: &[u8]) {
        let mut unpacked = Unpacked::default();
        let (packet, attachments) = msgpack::decode(bytes, &LIMITS, &mut unpacked)
            .unwrap_or_else(|error| panic!("the server sent what is no packet: {error:?}"));
        self.act(Packet {
            kind: packet.kind,
            namespace: packet.namespace.into(),
            id: packet.id,
            json: packet.payload.map(|json| json.to_vec()).unwrap_or_default(),
            attachments: attachments.to_vec(),
        });
    }

    fn act(&self, packet: Packet) {
        let Some(presence) = self.presences.borrow().get(&packet.namespace).cloned() else {
            return;
        };
        match packet.kind {
            PacketType::Connect => presence.entered(&packet.json),
            PacketType::ConnectError => {
                self.presences.borrow_mut().remove(&packet.namespace);
                presence.refused(&packet.json);
            }
            PacketType::Disconnect => {
                self.presences.borrow_mut().remove(&packet.namespace);
                presence.leave();
            }
            PacketType::Event | PacketType::BinaryEvent => {
                let mut json = packet.json;
                let parts = socket::split_event(&mut json)
                    .unwrap_or_else(|error| panic!("the server sent no event: {error:?}"));
                let name = parts.name.to_str().into_owned();
                presence.heard(name, payload_of(parts.args, &packet.attachments), packet.id);
            }
            PacketType::Ack | PacketType::BinaryAck => {
                if let Some(id) = packet.id {
                    presence.answered(id, payload_of(&packet.json, &packet.attachments));
                }
            }
        }
    }
}

fn payload_of(json: &[u8], attachments: &[Bytes]) -> Payload {
    Payload::of(&Args { json, attachments })
        .unwrap_or_else(|error| panic!("the server sent arguments that are no JSON: {error}"))
}

/// Asks something of the server; `None`: it does not answer any more.
async fn ask(hall: &Hall, call: impl FnOnce(Reply) -> Call) -> Option<Answer> {
    let (reply, answer) = oneshot::channel();
    hall.call(call(reply));
    answer.await.ok()
}
