//! An Engine.IO session on its WebSocket, with the Socket.IO client that speaks over it.

use std::rc::Rc;
use std::sync::Arc;

use smallvec::SmallVec;

use super::application::{Application, Arrival, Incoming, Verdict};
use super::connection::{Context, Flow};
use super::hall::{Outgoing, SocketKey};
use super::handshake::Handshake;
use crate::proto::client::{self, Client};
use crate::proto::reason::DisconnectReason;
use crate::proto::session::{self, Session};
use crate::proto::websocket::{self, Input, Kind, WebSocket};
use crate::reactor::ConnKey;
use crate::wire::close::CloseCode;
use crate::wire::{engine as packet, frame, socket};

pub(crate) struct Engine {
    websocket: WebSocket,
    session: Session,
    client: Client,
    handshake: Rc<Handshake>,
    /// The client's sockets; the client machine knows them by their index here.
    sockets: SmallVec<[Option<SocketKey>; 1]>,
}

/// What one packet of the client leads to.
enum Step {
    Continue,
    End(DisconnectReason, CloseCode),
}

impl Engine {
    /// Opens the session: `opening` holds the 101 answer, to which the open packet is added, so that both leave in one send.
    pub(crate) fn open<A: Application>(
        key: ConnKey,
        mut opening: Vec<u8>,
        handshake: Handshake,
        cx: &Context<'_, A>,
    ) -> Option<Box<Engine>> {
        let sid = cx.hall.session_id(key)?;
        let settings = cx.settings;
        let mut text = Vec::with_capacity(128);
        Session::open_packet(
            &mut text,
            sid.as_str(),
            &[],
            &settings.heartbeat,
            settings.payload_max,
        );
        opening.extend_from_slice(&frame::encode_head(frame::Opcode::Text, true, text.len()));
        cx.hall.write(key, &[&opening, &text]);
        let mut websocket = WebSocket::new(websocket::Role::Server);
        websocket.open(cx.now_ms, &settings.transport);
        Some(Box::new(Engine {
            websocket,
            session: Session::open(cx.now_ms, &settings.heartbeat),
            client: Client::new(cx.now_ms, &settings.client),
            handshake: Rc::new(handshake),
            sockets: SmallVec::new(),
        }))
    }

    pub(crate) fn handle_input<A: Application>(
        &mut self,
        key: ConnKey,
        bytes: &mut [u8],
        cx: &Context<'_, A>,
    ) -> Flow {
        let mut input = Input::new(bytes);
        loop {
            let Engine {
                websocket,
                session,
                client,
                handshake,
                sockets,
            } = self;
            let Some(output) = websocket.next(cx.now_ms, &cx.settings.transport, &mut input) else {
                return Flow::Continue;
            };
            let mut desk = Desk {
                key,
                handshake,
                sockets,
                cx,
            };
            let step = match output {
                websocket::Output::Message {
                    kind: Kind::Text,
                    payload,
                } => match session.handle_text(cx.now_ms, &cx.settings.heartbeat, payload) {
                    session::Output::Nothing => Step::Continue,
                    session::Output::Message(text) => desk.text(client, text),
                    session::Output::Binary(bytes) => desk.binary(client, &bytes),
                    session::Output::Close(reason) => {
                        Step::End(reason.into(), CloseCode::PROTOCOL_ERROR)
                    }
                },
                websocket::Output::Message {
                    kind: Kind::Binary,
                    payload,
                } => match session.handle_binary(cx.now_ms, &cx.settings.heartbeat, payload) {
                    session::Output::Binary(bytes) => desk.binary(client, &bytes),
                    _ => Step::Continue,
                },
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
                    self.disconnect_all(reason, cx);
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

    /// Ends all sockets and the session. The Close frame goes out behind what was said before.
    pub(crate) fn end<A: Application>(
        &mut self,
        key: ConnKey,
        reason: DisconnectReason,
        code: CloseCode,
        cx: &Context<'_, A>,
    ) -> Flow {
        self.disconnect_all(reason, cx);
        if let Some(frame) = self
            .websocket
            .close(cx.now_ms, &cx.settings.transport, code, "")
        {
            cx.hall.write(key, &[&frame]);
        }
        Flow::Finish
    }

    pub(crate) fn disconnect_all<A: Application>(
        &mut self,
        reason: DisconnectReason,
        cx: &Context<'_, A>,
    ) {
        for socket in std::mem::take(&mut self.sockets).into_iter().flatten() {
            cx.app.disconnected(socket, reason);
        }
    }

    /// A socket left its namespace by the server's will.
    pub(crate) fn left(&mut self, socket: SocketKey) {
        if let Some(index) = self.sockets.iter().position(|entry| *entry == Some(socket)) {
            self.sockets[index] = None;
            self.client.left(index_u32(index));
        }
    }

    pub(crate) fn next_deadline_ms(&self) -> Option<u64> {
        let session = self.session.next_deadline_ms();
        Some(
            self.client
                .next_deadline_ms()
                .map_or(session, |connect| connect.min(session)),
        )
    }

    pub(crate) fn handle_timeout<A: Application>(
        &mut self,
        key: ConnKey,
        cx: &Context<'_, A>,
    ) -> Flow {
        if self.client.handle_timeout(cx.now_ms) {
            return self.end(key, DisconnectReason::ForcedClose, CloseCode::POLICY, cx);
        }
        match self
            .session
            .handle_timeout(cx.now_ms, &cx.settings.heartbeat)
        {
            session::Timeout::Nothing => Flow::Continue,
            session::Timeout::Ping => {
                const PING: &[u8] = &[0x81, 1, packet::PING];
                cx.hall.write(key, &[PING]);
                Flow::Continue
            }
            session::Timeout::Close(reason) => self.end(key, reason.into(), CloseCode::POLICY, cx),
        }
    }
}

/// Where the packets of one client are acted on.
struct Desk<'a, A> {
    key: ConnKey,
    handshake: &'a Rc<Handshake>,
    sockets: &'a mut SmallVec<[Option<SocketKey>; 1]>,
    cx: &'a Context<'a, A>,
}

impl<A: Application> Desk<'_, A> {
    fn text(&mut self, client: &mut Client, text: &mut [u8]) -> Step {
        let (namespace, auth) = match client.handle_text(&self.cx.settings.client, text) {
            client::Output::Connect { namespace, auth } => {
                (Arc::<str>::from(namespace), auth.to_vec())
            }
            output => return self.act(output),
        };
        self.connect(client, &namespace, &auth);
        Step::Continue
    }

    fn binary(&mut self, client: &mut Client, bytes: &[u8]) -> Step {
        let output = client.handle_binary(&self.cx.settings.client, bytes);
        let step = self.act(output);
        // What the packet's attachments took is not kept until the next message.
        client.release();
        step
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
                ..
            } => {
                if let Some(socket) = self.socket(socket) {
                    let name = name.to_str();
                    cx.app.event(
                        socket,
                        Incoming {
                            name: &name,
                            ack: id,
                            args,
                            attachments,
                        },
                    );
                }
            }
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
            // As in Node: whatever breaks the Socket.IO protocol ends the whole session, not one namespace.
            client::Output::Violation(_) => {
                return Step::End(DisconnectReason::ForcedClose, CloseCode::PROTOCOL_ERROR);
            }
        }
        Step::Continue
    }

    fn socket(&self, index: u32) -> Option<SocketKey> {
        self.sockets.get(index as usize).copied().flatten()
    }

    fn connect(&mut self, client: &mut Client, namespace: &Arc<str>, auth: &[u8]) {
        let (scope, number) = match self.cx.app.admit(namespace) {
            Verdict::Accept { scope, number } => (scope, number),
            Verdict::Refuse { json } => {
                client.refused(namespace);
                return self.refuse(namespace, &json);
            }
        };
        let Some((socket, id)) = self.cx.hall.seat(self.key, &scope) else {
            client.refused(namespace);
            return self.refuse(namespace, r#"{"message":"Server is full"}"#);
        };
        let index = self
            .sockets
            .iter()
            .position(Option::is_none)
            .unwrap_or_else(|| {
                self.sockets.push(None);
                self.sockets.len() - 1
            });
        self.sockets[index] = Some(socket);
        let joined = client.joined(&scope, index_u32(index));
        debug_assert!(joined, "the client has just asked for it");
        let mut text = vec![packet::MESSAGE];
        socket::encode_connect(&mut text, namespace, id.as_str(), None);
        self.cx.hall.deliver(
            socket,
            Outgoing {
                kind: Kind::Text,
                body: &text,
                attachments: &[],
            },
            false,
        );
        self.cx.app.connected(Arrival {
            socket,
            id,
            namespace: &scope,
            number,
            handshake: self.handshake,
            auth,
        });
    }

    fn refuse(&self, namespace: &str, json: &str) {
        let mut text = vec![packet::MESSAGE];
        socket::encode_connect_error(&mut text, namespace, json);
        let head = frame::encode_head(frame::Opcode::Text, true, text.len());
        self.cx.hall.write(self.key, &[&head, &text]);
    }
}

/// Sockets of one client are limited (`max_namespaces`), so their indexes fit.
fn index_u32(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
