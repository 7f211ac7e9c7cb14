//! A plain WebSocket on its connection.

use super::application::Application;
use super::connection::{Context, Flow};
use super::hall::SocketKey;
use super::handshake::Handshake;
use crate::proto::websocket::{Expiry, Input, Output, Role, Timeout, WebSocket};
use crate::reactor::ConnKey;
use crate::wire::close::CloseCode;

/// A plain WebSocket.
pub(crate) struct Plain {
    pub(crate) machine: WebSocket,
    pub(crate) socket: SocketKey,
}

impl Plain {
    /// A WebSocket that is open from now on: `first` is the answer that says so, if that is not on its way already.
    pub(crate) fn open<A: Application>(
        key: ConnKey,
        number: usize,
        scope: &std::sync::Arc<str>,
        handshake: &Handshake,
        first: &[u8],
        cx: &Context<'_, A>,
    ) -> Option<Plain> {
        let (socket, id) = cx.hall.seat(key, scope)?;
        if !first.is_empty() {
            cx.hall.write(key, &[first]);
        }
        let mut machine = WebSocket::new(Role::Server);
        machine.open(cx.now_ms, &cx.settings.websocket);
        cx.app.websocket_opened(number, socket, id, handshake);
        Some(Plain { machine, socket })
    }

    pub(super) fn handle_input<A: Application>(
        &mut self,
        key: ConnKey,
        bytes: &mut [u8],
        cx: &Context<'_, A>,
    ) -> Flow {
        let mut input = Input::new(bytes);
        while let Some(output) = self
            .machine
            .next(cx.now_ms, &cx.settings.websocket, &mut input)
        {
            match output {
                Output::Message { kind, payload } => {
                    cx.app.websocket_message(self.socket, kind, payload)
                }
                Output::Transmit(frame) => cx.hall.write(key, &[&frame]),
                Output::Closed {
                    code,
                    reason,
                    reply,
                    ..
                } => {
                    cx.app.websocket_closed(self.socket, code, reason);
                    if let Some(frame) = reply {
                        cx.hall.write(key, &[&frame]);
                    }
                    return Flow::Finish;
                }
            }
        }
        Flow::Continue
    }

    pub(super) fn handle_timeout<A: Application>(
        &mut self,
        key: ConnKey,
        cx: &Context<'_, A>,
    ) -> Flow {
        match self
            .machine
            .handle_timeout(cx.now_ms, &cx.settings.websocket)
        {
            Timeout::Nothing => Flow::Continue,
            Timeout::Transmit(frame) => {
                cx.hall.write(key, &[&frame]);
                Flow::Continue
            }
            Timeout::Expired(Expiry::NoPong | Expiry::NoClose) => {
                cx.app
                    .websocket_closed(self.socket, CloseCode::ABNORMAL, "");
                Flow::Abort
            }
        }
    }
}
