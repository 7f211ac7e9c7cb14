//! An Engine.IO session on its transport, with what is spoken over it.
//!
//! On a WebSocket the session is part of its connection. On polling it has a place among the connections, too, but no descriptor: it is
//! marked, timed and ended like them, and what it has to say waits in its `outbound` until a GET comes for it. It waits there as WebSocket
//! frames, so that an upgrade sends it as it lies; for a GET it is written anew as a payload ([`polling`]).

mod desk;
mod form;
mod polling;
pub(crate) mod probing;
pub(crate) mod revision3;

use std::rc::Rc;

use smallvec::SmallVec;

use super::application::{Application, Decision, Entry};
use super::call::{Above, Opening, Route};
use super::command::Command;
use super::connection::{Context, Flow};
use super::dialect::Dialect;
use super::grant::{Grant, Granted};
use super::hall::SocketKey;
use super::handshake::Handshake;
use super::home::Sid;
use crate::proto::client::Client;
use crate::proto::reason::DisconnectReason;
use crate::proto::session::{self, Revision, Session, Transport};
use crate::proto::websocket::{self, Input, Kind, WebSocket};
use crate::reactor::ConnKey;
use crate::wire::close::CloseCode;
use crate::wire::engine as packet;
use crate::wire::frame::{self, Opcode};
use crate::wire::parser::Parser;
use crate::wire::socket::{self, PacketType};

use desk::{Desk, Step};
use polling::Poller;

/// See the module's text.
pub(crate) struct Engine {
    /// What requests name it by.
    sid: Sid,
    session: Session,
    revision: Revision,
    /// On its transport, the client takes no binary frames or bodies (`b64=1`).
    base64_only: bool,
    carrier: Carrier,
    upper: Upper,
    handshake: Rc<Handshake>,
    granted: Option<Rc<Granted>>,
    /// The client's sockets; the client machine knows them by their index here. Without Socket.IO there is one.
    sockets: SmallVec<[Option<SocketKey>; 1]>,
    /// Its opening was counted, its end not yet.
    is_counted: bool,
}

enum Carrier {
    WebSocket(WebSocket),
    Polling(Box<Poller>),
}

/// Who gets the messages.
enum Upper {
    SocketIo(Client),
    /// The application itself, at the route of this number.
    Raw(usize),
}

impl Engine {
    /// Opens a session on a WebSocket: `opening` may hold the 101 answer, to which the open packet is added, so that both leave in one send.
    pub(crate) fn open_on_websocket<A: Application>(
        key: ConnKey,
        mut first: Vec<u8>,
        opening: Opening,
        cx: &Context<'_, A>,
    ) -> Option<Box<Engine>> {
        let mut websocket = WebSocket::new(websocket::Role::Server);
        websocket.open(cx.now_ms, &cx.settings.transport);
        let carrier = Carrier::WebSocket(websocket);
        let above = opening.above.clone();
        let mut engine = Engine::new(key, carrier, opening, cx)?;
        engine.write_open(&mut first, &[], cx);
        cx.hall.write(key, &[&first]);
        engine.opened(key, &above, cx);
        Some(engine)
    }

    fn new<A: Application>(
        key: ConnKey,
        carrier: Carrier,
        opening: Opening,
        cx: &Context<'_, A>,
    ) -> Option<Box<Engine>> {
        let id = cx.hall.session_id(key)?;
        let sid = Sid::new(opening.name.as_deref(), id);
        let settings = cx.settings;
        let transport = match carrier {
            Carrier::WebSocket(_) => Transport::WebSocket,
            Carrier::Polling(_) => Transport::Polling,
        };
        cx.hall.set_polling(key, transport == Transport::Polling);
        Some(Box::new(Engine {
            sid,
            session: Session::open(cx.now_ms, &settings.heartbeat, transport, opening.revision),
            revision: opening.revision,
            base64_only: opening.base64_only,
            carrier,
            upper: match opening.above {
                Above::SocketIo => Upper::SocketIo(Client::new(
                    cx.now_ms,
                    &settings.client,
                    opening.revision == Revision::V3,
                )),
                Above::Raw { number, .. } => Upper::Raw(number),
            },
            handshake: Rc::new(opening.handshake),
            granted: opening.grant.and_then(Grant::settle),
            sockets: SmallVec::new(),
            is_counted: false,
        }))
    }

    /// Appends the open packet, as a frame.
    fn write_open<A: Application>(
        &self,
        out: &mut Vec<u8>,
        upgrades: &[&str],
        cx: &Context<'_, A>,
    ) {
        let mut text = Vec::with_capacity(128);
        Session::open_packet(
            &mut text,
            self.sid.as_str(),
            upgrades,
            &cx.settings.heartbeat,
            cx.settings.payload_max,
        );
        push_text(out, &text);
        if let Some(message) = &cx.settings.initial_packet {
            text.clear();
            packet::encode_text(&mut text, packet::MESSAGE, message.as_bytes());
            push_text(out, &text);
        }
    }

    /// The open packet is marked: tells whoever is above.
    fn opened<A: Application>(&mut self, key: ConnKey, above: &Above, cx: &Context<'_, A>) {
        self.is_counted = true;
        cx.hall.traffic().session_opened();
        match above {
            Above::SocketIo if self.revision == Revision::V3 => {
                // Engine.IO 3: every client is in the main namespace from the start.
                self.with_desk(key, cx, |desk, upper| desk.connect_at_once(upper));
            }
            Above::SocketIo => {}
            Above::Raw { number, scope } => {
                let Some((socket, id)) = cx.hall.seat(key, scope) else {
                    return cx.hall.command(Command::EndClient { connection: key });
                };
                self.sockets.push(Some(socket));
                cx.app.engine_opened(*number, socket, id, &self.handshake);
            }
        }
    }

    pub(crate) fn sid(&self) -> &str {
        self.sid.as_str()
    }

    pub(crate) fn route(&self) -> Route {
        match self.upper {
            Upper::SocketIo(_) => None,
            Upper::Raw(number) => Some(number),
        }
    }

    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// How its WebSocket wants binary messages, if not as everybody else's.
    pub(crate) fn dialect(&self) -> Option<Dialect> {
        let dialect = Dialect {
            typed: self.revision == Revision::V3,
            base64: self.base64_only,
        };
        (dialect.typed || dialect.base64).then_some(dialect)
    }

    pub(crate) fn transport(&self) -> Transport {
        self.session.transport()
    }

    /// What a client is told that the application ends.
    pub(crate) fn put_out_reason(&self) -> DisconnectReason {
        match self.upper {
            Upper::SocketIo(_) => DisconnectReason::ServerNamespaceDisconnect,
            Upper::Raw(_) => DisconnectReason::ForcedClose,
        }
    }

    fn with_desk<A: Application, T>(
        &mut self,
        key: ConnKey,
        cx: &Context<'_, A>,
        act: impl FnOnce(&mut Desk<'_, A>, &mut Upper) -> T,
    ) -> T {
        let mut desk = Desk {
            key,
            sid: self.sid.as_str(),
            revision: self.revision,
            handshake: &self.handshake,
            granted: self.granted.as_ref(),
            sockets: &mut self.sockets,
            cx,
        };
        act(&mut desk, &mut self.upper)
    }

    /// Bytes of the WebSocket.
    pub(crate) fn handle_input<A: Application>(
        &mut self,
        key: ConnKey,
        bytes: &mut [u8],
        cx: &Context<'_, A>,
    ) -> Flow {
        let mut input = Input::new(bytes);
        loop {
            let Engine {
                sid,
                session,
                revision,
                carrier: Carrier::WebSocket(websocket),
                upper,
                handshake,
                granted,
                sockets,
                ..
            } = self
            else {
                return Flow::Continue;
            };
            let Some(output) = websocket.next(cx.now_ms, &cx.settings.transport, &mut input) else {
                return Flow::Continue;
            };
            let mut desk = Desk {
                key,
                sid: sid.as_str(),
                revision: *revision,
                handshake,
                granted: granted.as_ref(),
                sockets,
                cx,
            };
            let step = match output {
                websocket::Output::Message {
                    kind: Kind::Text,
                    payload,
                } => desk.text(session, upper, payload),
                websocket::Output::Message {
                    kind: Kind::Binary,
                    payload,
                } => desk.binary_frame(session, upper, payload),
                websocket::Output::Transmit(frame) => {
                    cx.hall.write(key, &[&frame]);
                    Step::Continue
                }
                websocket::Output::Closed { reply, fault, .. } => {
                    // As in Node: a violation of the WebSocket protocol is a "transport error", a Close frame a "transport close".
                    let reason = match fault {
                        Some(_) => DisconnectReason::TransportError,
                        None => DisconnectReason::TransportClose,
                    };
                    // RFC 6455 §5.5.1: what the user's handlers still say goes before our Close, as nothing may follow it.
                    self.disconnect_all(key, reason, cx);
                    if let Some(frame) = reply {
                        cx.hall.write(key, &[&frame]);
                    }
                    return Flow::Finish;
                }
            };
            if let Step::End(reason, code) = step {
                return self.end(key, reason, code, cx);
            }
        }
    }

    /// The connection has ended under the session, or what waits for its polls is too much.
    pub(crate) fn handle_end<A: Application>(&mut self, key: ConnKey, cx: &Context<'_, A>) {
        self.disconnect_all(key, DisconnectReason::TransportClose, cx);
        if let Carrier::Polling(_) = self.carrier {
            let _ = self.end_polling(DisconnectReason::TransportError, cx);
        }
    }

    /// Ends all sockets and the session. What closes the transport goes out behind what was said before.
    pub(crate) fn end<A: Application>(
        &mut self,
        key: ConnKey,
        reason: DisconnectReason,
        code: CloseCode,
        cx: &Context<'_, A>,
    ) -> Flow {
        self.disconnect_all(key, reason, cx);
        match &mut self.carrier {
            Carrier::WebSocket(websocket) => {
                let close = websocket.close(cx.now_ms, &cx.settings.transport, code, "");
                if let Some(frame) = close {
                    cx.hall.write(key, &[&frame]);
                }
                Flow::Finish
            }
            Carrier::Polling(_) => self.end_polling(reason, cx),
        }
    }

    pub(crate) fn disconnect_all<A: Application>(
        &mut self,
        key: ConnKey,
        reason: DisconnectReason,
        cx: &Context<'_, A>,
    ) {
        if std::mem::take(&mut self.is_counted) {
            cx.hall.traffic().session_closed(reason);
        }
        if let Upper::SocketIo(client) = &mut self.upper
            && client.give_up()
        {
            cx.app.forsaken(key);
        }
        for socket in std::mem::take(&mut self.sockets).into_iter().flatten() {
            match self.upper {
                Upper::SocketIo(_) => cx.app.disconnected(socket, reason),
                Upper::Raw(_) => cx.app.engine_closed(socket, reason),
            }
        }
    }

    /// What was put off when the client asked to be let in is decided. If the session has ended meanwhile, nothing happens.
    pub(crate) fn decide<A: Application>(
        &mut self,
        key: ConnKey,
        namespace: &str,
        decision: Decision,
        cx: &Context<'_, A>,
    ) {
        self.with_desk(key, cx, |desk, upper| {
            if let Upper::SocketIo(client) = upper {
                desk.decide(client, namespace, decision);
            }
        });
    }

    /// A socket left its namespace by the server's will.
    pub(crate) fn left(&mut self, socket: SocketKey) {
        if let Some(index) = self.sockets.iter().position(|entry| *entry == Some(socket)) {
            self.sockets[index] = None;
            if let Upper::SocketIo(client) = &mut self.upper {
                client.left(desk::index_u32(index));
            }
        }
    }

    pub(crate) fn next_deadline_ms(&self) -> Option<u64> {
        let session = self.session.next_deadline_ms();
        let connect = match &self.upper {
            Upper::SocketIo(client) => client.next_deadline_ms(),
            Upper::Raw(_) => None,
        };
        Some(connect.map_or(session, |connect| connect.min(session)))
    }

    pub(crate) fn handle_timeout<A: Application>(
        &mut self,
        key: ConnKey,
        cx: &Context<'_, A>,
    ) -> Flow {
        if let Upper::SocketIo(client) = &mut self.upper
            && client.handle_timeout(cx.now_ms)
        {
            let reason = self.forced();
            return self.end(key, reason, CloseCode::POLICY, cx);
        }
        match self
            .session
            .handle_timeout(cx.now_ms, &cx.settings.heartbeat)
        {
            session::Timeout::Nothing => Flow::Continue,
            // A ping would keep it for another while.
            session::Timeout::Ping if self.is_abandoned() => {
                self.end(key, DisconnectReason::TransportClose, CloseCode::POLICY, cx)
            }
            session::Timeout::Ping => {
                const PING: &[u8] = &[0x81, 1, packet::PING];
                cx.hall.write(key, &[PING]);
                Flow::Continue
            }
            session::Timeout::Close(reason) => self.end(key, reason.into(), CloseCode::POLICY, cx),
        }
    }

    /// As Node calls it when the server ends a client that breaks Socket.IO's rules of connecting.
    fn forced(&self) -> DisconnectReason {
        match self.session.transport() {
            Transport::Polling if !self.session.is_polled() => DisconnectReason::ForcedServerClose,
            _ => DisconnectReason::ForcedClose,
        }
    }
}

/// Appends a text frame.
fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&frame::encode_head(Opcode::Text, true, text.len()));
    out.extend_from_slice(text);
}

/// The Socket.IO packet that tells a client that it is in a namespace, and as whom.
fn connect_packet(parser: Parser, revision: Revision, entry: &Entry) -> Vec<u8> {
    let (mut out, mut json) = (Vec::new(), Vec::new());
    match revision {
        Revision::V4 => socket::write_connect(&mut json, &entry.id, entry.pid.as_deref()),
        // A client of Socket.IO 2 is told no id: it makes its own of the session's.
        Revision::V3 => {}
    }
    let encoded = parser.encode(&mut out, PacketType::Connect, &entry.scope, &json);
    debug_assert!(encoded.is_ok(), "we have written it");
    out
}
