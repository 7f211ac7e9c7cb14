//! Where the packets of one client are acted on.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::{Upper, revision3};
use crate::proto::client::{self, Client};
use crate::proto::reason::DisconnectReason;
use crate::proto::session::{self, Revision, Session};
use crate::proto::websocket::Kind;
use crate::reactor::ConnKey;
use crate::shard::application::{Application, Decision, Entry, Event, Knock, Verdict};
use crate::shard::connection::Context;
use crate::shard::grant::Granted;
use crate::shard::hall::{Outgoing, SocketKey};
use crate::shard::handshake::Handshake;
use crate::wire::close::CloseCode;
use crate::wire::engine as packet;
use crate::wire::frame::{self, Opcode};
use crate::wire::msgpack::Unpacked;
use crate::wire::parser::Parser;
use crate::wire::socket::{EventName, PacketType};

/// See the module's text.
pub(super) struct Desk<'a, A> {
    pub(super) key: ConnKey,
    pub(super) sid: &'a str,
    pub(super) revision: Revision,
    pub(super) handshake: &'a Rc<Handshake>,
    pub(super) granted: Option<&'a Rc<Granted>>,
    pub(super) sockets: &'a mut SmallVec<[Option<SocketKey>; 1]>,
    pub(super) cx: &'a Context<'a, A>,
}

/// What one packet of the client leads to.
pub(super) enum Step {
    Continue,
    End(DisconnectReason, CloseCode),
}

impl<A: Application> Desk<'_, A> {
    /// A packet in its text form.
    pub(super) fn text(
        &mut self,
        session: &mut Session,
        upper: &mut Upper,
        text: &mut [u8],
    ) -> Step {
        match session.handle_text(self.cx.now_ms, &self.cx.settings.heartbeat, text) {
            session::Output::Nothing => Step::Continue,
            session::Output::Pong(data) => {
                let head = frame::encode_head(Opcode::Text, true, 1 + data.len());
                self.cx
                    .hall
                    .write(self.key, &[&head, &[packet::PONG], data]);
                Step::Continue
            }
            session::Output::Message(text) => self.message_text(upper, text),
            session::Output::Binary(bytes) => self.message_binary(upper, &bytes),
            session::Output::Close(reason) => Step::End(reason.into(), CloseCode::PROTOCOL_ERROR),
        }
    }

    /// A binary message of the WebSocket.
    pub(super) fn binary_frame(
        &mut self,
        session: &mut Session,
        upper: &mut Upper,
        bytes: &[u8],
    ) -> Step {
        let data = match self.revision {
            Revision::V4 => Some(bytes),
            Revision::V3 => revision3::data_of(bytes),
        };
        match data {
            Some(data) => self.binary(session, upper, data),
            None => Step::End(DisconnectReason::ParseError, CloseCode::PROTOCOL_ERROR),
        }
    }

    /// A binary message packet.
    pub(super) fn binary(
        &mut self,
        session: &mut Session,
        upper: &mut Upper,
        bytes: &[u8],
    ) -> Step {
        match session.handle_binary(self.cx.now_ms, &self.cx.settings.heartbeat, bytes) {
            session::Output::Binary(bytes) => self.message_binary(upper, &bytes),
            session::Output::Close(reason) => Step::End(reason.into(), CloseCode::PROTOCOL_ERROR),
            _ => Step::Continue,
        }
    }

    fn message_text(&mut self, upper: &mut Upper, text: &mut [u8]) -> Step {
        self.cx.hall.traffic().came_in(text.len());
        let client = match upper {
            Upper::SocketIo(client) => client,
            Upper::Raw(_) => return self.raw(Kind::Text, text),
        };
        if self.cx.settings.parser == Parser::MsgPack {
            return self.broken("a packet in another form than the server's");
        }
        let (namespace, auth) = match client.handle_text(&self.cx.settings.client, text) {
            client::Output::Connect {
                namespace,
                auth,
                query,
            } => asked(namespace, auth, query),
            // Here, and not with the others: what most messages are is not moved once more.
            client::Output::Event {
                socket,
                name,
                id,
                args,
                attachments,
            } => {
                self.event(socket, name, id, args, attachments);
                return Step::Continue;
            }
            output => return self.act(output),
        };
        self.connect(client, &namespace, &auth);
        Step::Continue
    }

    fn message_binary(&mut self, upper: &mut Upper, bytes: &[u8]) -> Step {
        self.cx.hall.traffic().came_in(bytes.len());
        let client = match upper {
            Upper::SocketIo(client) => client,
            Upper::Raw(_) => return self.raw(Kind::Binary, bytes),
        };
        if self.cx.settings.parser == Parser::MsgPack {
            return self.message_packed(client, bytes);
        }
        let output = client.handle_binary(&self.cx.settings.client, bytes);
        let step = self.act(output);
        // What the packet's attachments took is not kept until the next message.
        client.release();
        step
    }

    /// A packet of the other parser.
    fn message_packed(&mut self, client: &mut Client, bytes: &[u8]) -> Step {
        let mut unpacked = Unpacked::default();
        let limits = &self.cx.settings.client;
        let (namespace, auth) = match client.handle_packed(limits, bytes, &mut unpacked) {
            client::Output::Connect {
                namespace,
                auth,
                query,
            } => asked(namespace, auth, query),
            output => return self.act(output),
        };
        self.connect(client, &namespace, &auth);
        Step::Continue
    }

    /// A message of a session without Socket.IO.
    fn raw(&self, kind: Kind, payload: &[u8]) -> Step {
        if let Some(socket) = self.socket(0) {
            self.cx.app.engine_message(socket, kind, payload);
        }
        Step::Continue
    }

    #[inline(always)]
    fn event(
        &self,
        socket: u32,
        name: EventName<'_>,
        ack: Option<u64>,
        args: &[u8],
        attachments: &[Bytes],
    ) {
        if let Some(socket) = self.socket(socket) {
            let name = name.to_str();
            let event = Event {
                name: &name,
                ack,
                args,
                attachments,
            };
            self.cx.app.event(socket, event);
        }
    }

    fn act(&mut self, output: client::Output<'_>) -> Step {
        let cx = self.cx;
        match output {
            client::Output::Nothing => {}
            client::Output::Event {
                socket,
                name,
                id,
                args,
                attachments,
            } => self.event(socket, name, id, args, attachments),
            client::Output::Ack {
                socket,
                id,
                args,
                attachments,
            } => {
                if let Some(socket) = self.socket(socket) {
                    cx.app.acknowledged(socket, id, args, attachments);
                }
            }
            client::Output::Disconnect { socket } => {
                let left = self.sockets.get_mut(socket as usize).and_then(Option::take);
                if let Some(left) = left {
                    cx.app
                        .disconnected(left, DisconnectReason::ClientNamespaceDisconnect);
                }
            }
            client::Output::ConnectRefused { namespace, why } => {
                let json = serde_json::json!({ "message": why }).to_string();
                self.refuse(namespace, &json);
            }
            client::Output::Connect { .. } => debug_assert!(false, "handled by the caller"),
            client::Output::Violation(violation) => {
                return match unreadable(violation) {
                    Some(rule) => self.broken(rule),
                    None => OUT_OF_TURN,
                };
            }
        }
        Step::Continue
    }

    /// A client of revision 3 is in the main namespace without asking.
    pub(super) fn connect_at_once(&mut self, upper: &mut Upper) {
        const MAIN: &str = "/";
        if let Upper::SocketIo(client) = upper {
            client.begin_connect(MAIN);
            self.connect(client, MAIN, b"");
        }
    }

    /// As in Node: whatever breaks the Socket.IO protocol ends the whole session, not one namespace.
    fn broken(&self, rule: &str) -> Step {
        for socket in self.sockets.iter().flatten() {
            self.cx.app.violated(*socket, rule);
        }
        Step::End(DisconnectReason::ForcedClose, CloseCode::PROTOCOL_ERROR)
    }

    fn socket(&self, index: u32) -> Option<SocketKey> {
        self.sockets.get(index as usize).copied().flatten()
    }

    fn connect(&mut self, client: &mut Client, namespace: &str, auth: &[u8]) {
        let knock = Knock {
            connection: self.key,
            namespace,
            handshake: self.handshake,
            granted: self.granted,
            auth,
        };
        match self.cx.app.knock(knock) {
            Verdict::Enter(entry) => self.decide(client, namespace, Decision::Enter(entry)),
            Verdict::Refuse { json } => self.decide(client, namespace, Decision::Refuse { json }),
            Verdict::Later => {}
        }
    }

    /// The answer to a CONNECT.
    pub(super) fn decide(&mut self, client: &mut Client, namespace: &str, decision: Decision) {
        match decision {
            Decision::Enter(entry) => self.enter(client, &entry),
            Decision::Refuse { json } => {
                if client.refused(namespace) {
                    self.refuse(namespace, &json);
                }
            }
        }
    }

    fn enter(&mut self, client: &mut Client, entry: &Entry) {
        let free = self.sockets.iter().position(Option::is_none);
        let index = free.unwrap_or(self.sockets.len());
        if !client.joined(&entry.scope, index_u32(index)) {
            // The session has ended meanwhile, and the application knows of it.
            return;
        }
        match self.sockets.get_mut(index) {
            Some(place) => *place = Some(entry.socket),
            None => self.sockets.push(Some(entry.socket)),
        }
        let (hall, parser) = (self.cx.hall, self.cx.settings.parser);
        hall.admit(entry.socket);
        hall.deliver(
            entry.socket,
            Outgoing {
                kind: Kind::of(parser),
                body: &super::connect_packet(parser, self.revision, entry),
                attachments: &[],
                offset: None,
            },
            false,
        );
        if self.revision == Revision::V3 {
            revision3::join_own_room(hall, entry.socket, &entry.scope, self.sid);
        }
        self.cx.app.connected(entry.socket);
    }

    fn refuse(&self, namespace: &str, json: &str) {
        let json = match self.revision {
            Revision::V4 => Cow::Borrowed(json),
            Revision::V3 => revision3::error_of(json),
        };
        let mut body = Vec::new();
        let (parser, kind) = (self.cx.settings.parser, PacketType::ConnectError);
        if let Err(error) = parser.encode(&mut body, kind, namespace, json.as_bytes()) {
            log::error!("a refusal was not sent: its data is {error:?}");
            return;
        }
        let opcode = match Kind::of(parser) {
            Kind::Text => Opcode::Text,
            Kind::Binary => Opcode::Binary,
        };
        let head = frame::encode_head(opcode, true, body.len());
        self.cx.hall.write(self.key, &[&head, &body]);
    }
}

/// The end of a session whose client sent a packet that may not come, or not now. As in Node, its sockets hear of the end alone.
const OUT_OF_TURN: Step = Step::End(DisconnectReason::ForcedClose, CloseCode::PROTOCOL_ERROR);

/// What its sockets are told of a client that sent what is no packet.
fn unreadable(violation: client::Violation) -> Option<&'static str> {
    use client::Violation;
    match violation {
        Violation::Packet(_) => Some("invalid packet"),
        Violation::AttachmentDue => Some("got plaintext data when reconstructing a packet"),
        Violation::UnexpectedBinary => Some("got binary data when not reconstructing a packet"),
        Violation::PendingBytes => Some("too many bytes of binary packets at once"),
        Violation::ConnectedTwice | Violation::NotConnected | Violation::ConnectError => None,
    }
}

/// Into which namespace a client asks to be let, and what it says for itself.
fn asked(namespace: &str, auth: &[u8], query: &str) -> (Arc<str>, Vec<u8>) {
    let auth = match query {
        "" => auth.to_vec(),
        query => revision3::auth_of(query),
    };
    (namespace.into(), auth)
}

/// Sockets of one client are limited (`max_namespaces`), so their indexes fit.
pub(super) fn index_u32(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
