//! An event on its way to its handlers.

use bytes::Bytes;
use smallvec::SmallVec;

use super::Local;
use super::line::{WAITING_OVERHEAD, all, caught};
use crate::server::arguments::Args;
use crate::server::binary::Payload;
use crate::server::counters::Count;
use crate::server::extract::EventContext;
use crate::server::handler::{self, Outcome};
use crate::server::listeners::{EventErrorKind, LocalMiddleware, Passage, PassageFuture};
use crate::server::reply::HandlerError;
use crate::server::socket::Socket;
use crate::server::task;
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
        let context = EventContext::new(
            &socket,
            name,
            Args {
                json: args,
                attachments,
            },
            ack,
        );
        self.run_in_order(
            socket.key(),
            || dispatch(&context),
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
                    dispatch(&EventContext::new(&socket, &name, payload.as_args(), ack))
                };
                let bytes: usize = attachments.iter().map(Bytes::len).sum();
                (bytes + args.len() + WAITING_OVERHEAD, Box::new(run))
            },
        );
    }
}

fn dispatch(context: &EventContext<'_>) -> Outcome {
    let (socket, name) = (context.socket(), context.event());
    if socket.is_inspected() {
        return inspect(context);
    }
    if let Some([handler]) = socket.table().events.get(name).map(Vec::as_slice)
        && !socket.has_own_handlers()
    {
        // What most events come to. A panic is caught by the caller, who has nothing else to go on with.
        return handler(context);
    }
    handle(context)
}

/// Calls the handlers of one event: the namespace's, then the socket's own, or the namespace's fallback if there is neither.
fn handle(context: &EventContext<'_>) -> Outcome {
    let (socket, name) = (context.socket(), context.event());
    let table = socket.table();
    let shared = table.events.get(name).map_or(&[][..], |handlers| handlers);
    let own = socket.own_handlers(name);
    if shared.is_empty() && own.is_empty() {
        return all(table
            .fallback
            .iter()
            .map(|handler| caught(|| handler(context))));
    }
    let shared = shared.iter().map(|handler| caught(|| handler(context)));
    let own = own.into_iter().map(|handler| {
        let outcome = caught(|| handler(context));
        // It may have been for once, and hold what panics when it is dropped.
        task::discard(handler);
        outcome
    });
    all(shared.chain(own))
}

/// As in Node: the catch-all handlers see an event first, then its middlewares are asked one after the other, then its handlers are called.
fn inspect(context: &EventContext<'_>) -> Outcome {
    let socket = context.socket();
    let mut outcomes: SmallVec<[Outcome; 4]> = SmallVec::new();
    for handler in socket.any_handlers() {
        outcomes.push(caught(|| handler(context)));
        task::discard(handler);
    }
    outcomes.push(pass(context));
    all(outcomes.into_iter())
}

/// Asks the middlewares, and calls the handlers if all let the event pass.
fn pass(context: &EventContext<'_>) -> Outcome {
    let own = context.socket().own_middlewares();
    let outcome = pass_all(context, &own);
    task::discard_each(own);
    outcome
}

fn pass_all(context: &EventContext<'_>, own: &[LocalMiddleware]) -> Outcome {
    let socket = context.socket();
    let shared = &socket.table().listeners.middlewares;
    let mut middlewares = shared.iter().chain(own);
    let mut asked = false;
    while let Some(middleware) = middlewares.next() {
        asked = true;
        match ask(middleware, context) {
            Passage::Now(Ok(())) => {}
            Passage::Now(Err(error)) => {
                refuse(context, &error);
                return Outcome::Done;
            }
            Passage::Later(future) => {
                let rest = middlewares.cloned().collect();
                let Ok(event) = OwnedEvent::of(context) else {
                    return Outcome::Done;
                };
                return Outcome::Pending(Box::pin(event.wait(future, rest)));
            }
        }
    }
    // A middleware may have disconnected the socket.
    if asked && !socket.is_connected() {
        return Outcome::Done;
    }
    handle(context)
}

/// A middleware that panics lets nothing pass.
fn ask(middleware: &LocalMiddleware, context: &EventContext<'_>) -> Passage {
    task::guard(|| middleware(context)).unwrap_or_else(|| Passage::Now(Err(panicked())))
}

fn panicked() -> HandlerError {
    HandlerError::new("the middleware panicked")
}

fn refuse(context: &EventContext<'_>, error: &HandlerError) {
    context.socket().count(Count::Refused);
    handler::tell(
        context.socket(),
        context.event(),
        EventErrorKind::Refused,
        error,
    );
}

/// An event whose middleware waits.
struct OwnedEvent {
    socket: Socket,
    name: String,
    payload: Payload,
    ack: Option<u64>,
}

impl OwnedEvent {
    /// With the right to answer, unless somebody has taken it.
    fn of(context: &EventContext<'_>) -> Result<Self, crate::server::DecodeError> {
        Ok(OwnedEvent {
            socket: context.socket().clone(),
            name: context.event().to_owned(),
            payload: Payload::of(context.args())?,
            ack: context.take_ack_id(),
        })
    }

    fn context(&self) -> EventContext<'_> {
        EventContext::new(&self.socket, &self.name, self.payload.as_args(), self.ack)
    }

    /// Waits for a middleware, then for those behind it, then for the handlers.
    async fn wait(mut self, first: PassageFuture, rest: SmallVec<[LocalMiddleware; 4]>) {
        let passed = self.has_passed(first).await && self.has_passed_all(&rest).await;
        task::discard_each(rest);
        // As in Node: events to a socket that disconnected meanwhile are dropped.
        if passed
            && self.socket.is_connected()
            && let Outcome::Pending(future) = handle(&self.context())
        {
            task::guarded(future).await;
        }
    }

    async fn has_passed_all(&mut self, middlewares: &[LocalMiddleware]) -> bool {
        for middleware in middlewares {
            let (passage, ack) = {
                let context = self.context();
                let passage = ask(middleware, &context);
                (passage, context.take_ack_id())
            };
            self.ack = ack;
            match passage {
                Passage::Now(Ok(())) => {}
                Passage::Now(Err(error)) => {
                    refuse(&self.context(), &error);
                    return false;
                }
                Passage::Later(future) => {
                    if !self.has_passed(future).await {
                        return false;
                    }
                }
            }
        }
        true
    }

    async fn has_passed(&self, future: PassageFuture) -> bool {
        let result = task::caught(future).await;
        match result.unwrap_or_else(|| Err(panicked())) {
            Ok(()) => true,
            Err(error) => {
                refuse(&self.context(), &error);
                false
            }
        }
    }
}
