//! A WebSocket that names a session on polling, to take it over (Engine.IO protocol, "Upgrade").
//!
//! It is a connection of its own until the client says `5`. Whatever goes wrong before that ends this connection, and nothing else.

use super::{Carrier, Engine, Upper};
use crate::proto::session::{self, PROBE_ANSWER, Probe};
use crate::proto::websocket::{Input, Kind, Output, Role, WebSocket};
use crate::reactor::ConnKey;
use crate::shard::application::Application;
use crate::shard::command::Command;
use crate::shard::connection::{Context, Flow};
use crate::wire::close::CloseCode;
use crate::wire::frame::{self, Opcode};

/// See the module's text.
pub(crate) struct Probing {
    pub(crate) sid: Box<str>,
    /// No binary frames on this WebSocket (`b64=1`): each transport of a session has a say of its own.
    pub(crate) base64_only: bool,
    /// The session that has let it in.
    pub(crate) session: Option<ConnKey>,
    pub(crate) machine: WebSocket,
    /// Bytes that came, and wait until the session has let it in; or those behind the `5`.
    pub(crate) bytes: Vec<u8>,
    /// The client was answered, and is about to take over.
    pub(crate) is_answered: bool,
    deadline_ms: u64,
}

impl Probing {
    pub(crate) fn new<A: Application>(
        sid: Box<str>,
        base64_only: bool,
        bytes: Vec<u8>,
        cx: &Context<'_, A>,
    ) -> Self {
        let mut machine = WebSocket::new(Role::Server);
        machine.open(cx.now_ms, &cx.settings.transport);
        Probing {
            sid,
            base64_only,
            session: None,
            machine,
            bytes,
            is_answered: false,
            deadline_ms: cx.now_ms.saturating_add(cx.settings.upgrade_timeout_ms),
        }
    }

    pub(crate) fn deadline_ms(&self) -> u64 {
        self.deadline_ms
    }

    pub(crate) fn handle_input<A: Application>(
        &mut self,
        key: ConnKey,
        bytes: &mut [u8],
        cx: &Context<'_, A>,
    ) -> Flow {
        let Some(session) = self.session else {
            self.bytes.extend_from_slice(bytes);
            return Flow::Continue;
        };
        let mut input = Input::new(bytes);
        loop {
            let output = self
                .machine
                .next(cx.now_ms, &cx.settings.transport, &mut input);
            let probe = match output {
                None => return Flow::Continue,
                Some(Output::Message {
                    kind: Kind::Text,
                    payload,
                }) => session::read_probe(payload),
                Some(Output::Message { .. }) => Probe::Nonsense,
                Some(Output::Transmit(frame)) => {
                    cx.hall.write(key, &[&frame]);
                    continue;
                }
                Some(Output::Closed { reply, .. }) => {
                    if let Some(frame) = reply {
                        cx.hall.write(key, &[&frame]);
                    }
                    self.tell_end(key, cx);
                    return Flow::Finish;
                }
            };
            match probe {
                Probe::Ask => {
                    let head = frame::encode_head(Opcode::Text, true, PROBE_ANSWER.len());
                    cx.hall.write(key, &[&head, PROBE_ANSWER]);
                    self.is_answered = true;
                    cx.hall.command(Command::Probed {
                        connection: session,
                    });
                }
                Probe::Upgrade => {
                    self.bytes = input.into_rest().to_vec();
                    return Flow::Upgrade;
                }
                Probe::Nonsense => return self.close(key, cx),
            }
        }
    }

    pub(crate) fn handle_timeout<A: Application>(
        &mut self,
        key: ConnKey,
        cx: &Context<'_, A>,
    ) -> Flow {
        if cx.now_ms < self.deadline_ms {
            return Flow::Continue;
        }
        self.close(key, cx)
    }

    /// Ends this connection with a Close frame without a code, as in Node; the session lives on.
    pub(crate) fn close<A: Application>(&mut self, key: ConnKey, cx: &Context<'_, A>) -> Flow {
        let limits = &cx.settings.transport;
        let code = CloseCode::NO_STATUS;
        if let Some(frame) = self.machine.close(cx.now_ms, limits, code, "") {
            cx.hall.write(key, &[&frame]);
        }
        self.tell_end(key, cx);
        Flow::Finish
    }

    /// The session may be probed by another one.
    pub(crate) fn tell_end<A: Application>(&self, key: ConnKey, cx: &Context<'_, A>) {
        if let Some(connection) = self.session {
            cx.hall.command(Command::ProbeEnded {
                connection,
                probe: key,
            });
        }
    }
}

impl Engine {
    /// A WebSocket wants to take over. False: another one does, or has.
    pub(crate) fn begin_probe(&mut self, probe: ConnKey) -> bool {
        let Carrier::Polling(poller) = &mut self.carrier else {
            return false;
        };
        let let_in = self.session.probe_begin();
        if let_in {
            poller.probe = Some(probe);
        }
        let_in
    }

    /// The probe is answered: from now on no GET is held.
    pub(crate) fn probed(&mut self) {
        if self.session.probed() {
            self.release_poll();
        }
    }

    pub(crate) fn probe_ended(&mut self, probe: ConnKey) {
        if let Carrier::Polling(poller) = &mut self.carrier
            && poller.probe == Some(probe)
        {
            poller.probe = None;
            self.session.probe_end();
        }
    }

    /// Whether this is the WebSocket that was let in.
    pub(crate) fn is_probed_by(&self, probe: ConnKey) -> bool {
        matches!(&self.carrier, Carrier::Polling(poller) if poller.probe == Some(probe))
    }

    /// From now on what is written is for a WebSocket that takes binary frames, or none.
    pub(crate) fn set_base64_only(&mut self, base64_only: bool) {
        self.base64_only = base64_only;
    }

    /// From here on this WebSocket carries the session. A GET that is still held is released; a POST that has not ended is broken off.
    /// A session that has ended meanwhile closes it behind what it still has to say.
    pub(crate) fn upgrade<A: Application>(
        &mut self,
        key: ConnKey,
        mut machine: WebSocket,
        cx: &Context<'_, A>,
    ) {
        if self.is_closing() {
            let limits = &cx.settings.transport;
            if let Some(frame) = machine.close(cx.now_ms, limits, CloseCode::NO_STATUS, "") {
                cx.hall.write(key, &[&frame]);
            }
        }
        self.probed();
        self.resumed();
        self.session.upgrade(cx.now_ms, &cx.settings.heartbeat);
        self.carrier = Carrier::WebSocket(machine);
        cx.hall.set_polling(key, false);
        if matches!(self.upper, Upper::SocketIo(_)) {
            for socket in self.sockets.iter().flatten() {
                cx.app.upgraded(*socket);
            }
        }
    }
}
