//! An event on its way to its handlers.

use bytes::Bytes;

use super::Local;
use super::line::{WAITING_OVERHEAD, all, caught};
use crate::server::arguments::Args;
use crate::server::binary::Payload;
use crate::server::extract::EventContext;
use crate::server::handler::Outcome;
use crate::server::socket::Socket;
use crate::shard::application::Event;
use crate::shard::hall::SocketKey;

impl Local {
    pub(super) fn handle_event(&self, socket: SocketKey, event: Event<'_>) {
        let Some(socket) = self.socket(socket) else {
            return;
        };
        let Event {
            name,
            ack,
            args,
            attachments,
        } = event;
        self.run_in_order(
            socket.key(),
            || {
                dispatch(
                    &socket,
                    name,
                    Args {
                        json: args,
                        attachments,
                    },
                    ack,
                )
            },
            || {
                let (socket, name) = (socket.clone(), name.to_owned());
                let payload = Payload::of(&Args {
                    json: args,
                    attachments,
                });
                let run = move || {
                    let Ok(payload) = payload else {
                        return Outcome::Done;
                    };
                    // As in Node: events to a socket that disconnected meanwhile are dropped.
                    if !socket.is_connected() {
                        return Outcome::Done;
                    }
                    dispatch(&socket, &name, payload.as_args(), ack)
                };
                let bytes: usize = attachments.iter().map(Bytes::len).sum();
                (bytes + args.len() + WAITING_OVERHEAD, Box::new(run))
            },
        );
    }
}

/// Calls the handlers of one event: the namespace's, then the socket's own, or the namespace's fallback if there is neither.
fn dispatch(socket: &Socket, name: &str, args: Args<'_>, ack: Option<u64>) -> Outcome {
    let context = EventContext::new(socket, name, args, ack);
    let table = socket.table();
    let shared = table.events.get(name).map_or(&[][..], |handlers| handlers);
    let own = socket.own_handlers(name);
    if shared.is_empty() && own.is_empty() {
        return all(table
            .fallback
            .iter()
            .map(|handler| caught(|| handler(&context))));
    }
    let shared = shared.iter().map(|handler| caught(|| handler(&context)));
    all(shared.chain(own.iter().map(|handler| caught(|| handler(&context)))))
}
