//! Handlers of one socket alone.

use std::collections::HashMap;

use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::Socket;
use crate::server::binary::Payload;
use crate::server::extract::EventContext;
use crate::server::handler::{
    DisconnectHandler, EventHandler, LocalDisconnectHandler, LocalEventHandler, local_disconnect,
    local_event,
};
use crate::server::listeners::{
    EventError, EventErrorKind, Listener, LocalErrorHandler, LocalMiddleware, PacketMiddleware,
    local_middleware,
};
use crate::server::task;

/// What a socket listens to by itself, dropped when it has left: closures may hold the socket, which would keep it alive for ever.
#[derive(Default)]
pub(super) struct Listening {
    events: HashMap<Box<str>, Vec<OwnHandler>>,
    disconnecting: Vec<(Listener, LocalDisconnectHandler)>,
    disconnect: Vec<(Listener, LocalDisconnectHandler)>,
    /// Who waits for which acknowledgement.
    pub(super) acks: HashMap<u64, oneshot::Sender<Payload>>,
    /// What few sockets have.
    inspection: Option<Box<Inspection>>,
}

#[derive(Default)]
struct Inspection {
    any: CatchAll,
    outgoing: CatchAll,
    middlewares: Vec<LocalMiddleware>,
    errors: Vec<(Listener, LocalErrorHandler)>,
}

/// Catch-all handlers, around those of the namespace.
#[derive(Default)]
struct CatchAll {
    before: Vec<OwnHandler>,
    after: Vec<OwnHandler>,
}

struct OwnHandler {
    listener: Listener,
    call: LocalEventHandler,
    once: bool,
}

/// Handlers that are about to run. They are taken out of their tables first: while they run, they may change these.
pub(crate) type Handlers = SmallVec<[LocalEventHandler; 4]>;

impl CatchAll {
    fn around(&self, shared: &[LocalEventHandler]) -> Handlers {
        let own = |handlers: &[OwnHandler]| -> Handlers {
            handlers.iter().map(|own| own.call.clone()).collect()
        };
        let before = own(&self.before).into_iter();
        before
            .chain(shared.iter().cloned())
            .chain(own(&self.after))
            .collect()
    }

    fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }
}

impl Listening {
    /// Takes out everything that has this name. What is returned is dropped when nothing is borrowed any more.
    fn remove(&mut self, listener: Listener) -> Removed {
        let mut removed = Removed::default();
        let mut events = |handlers: &mut Vec<OwnHandler>| {
            removed
                .0
                .extend(take(handlers, |own| own.listener == listener));
        };
        self.events.values_mut().for_each(&mut events);
        self.events.retain(|_, handlers| !handlers.is_empty());
        if let Some(inspection) = &mut self.inspection {
            for all in [&mut inspection.any, &mut inspection.outgoing] {
                events(&mut all.before);
                events(&mut all.after);
            }
            removed.1 = take(&mut inspection.errors, |(name, _)| *name == listener);
        }
        for handlers in [&mut self.disconnecting, &mut self.disconnect] {
            removed
                .2
                .extend(take(handlers, |(name, _)| *name == listener));
        }
        removed
    }

    fn inspection(&mut self) -> &mut Inspection {
        self.inspection.get_or_insert_default()
    }
}

impl Listening {
    /// Drops everything, one after the other: each may hold what panics when it is dropped.
    fn discard(self) {
        task::discard_each(self.events.into_values().flatten());
        task::discard_each(self.disconnecting);
        task::discard_each(self.disconnect);
        task::discard_each(self.acks);
        if let Some(inspection) = self.inspection {
            let Inspection {
                any,
                outgoing,
                middlewares,
                errors,
            } = *inspection;
            for all in [any, outgoing] {
                task::discard_each(all.before.into_iter().chain(all.after));
            }
            task::discard_each(middlewares);
            task::discard_each(errors);
        }
    }
}

#[derive(Default)]
struct Removed(
    Vec<OwnHandler>,
    Vec<(Listener, LocalErrorHandler)>,
    Vec<(Listener, LocalDisconnectHandler)>,
);

fn discard_all(handlers: Option<CatchAll>) {
    let CatchAll { before, after } = handlers.unwrap_or_default();
    task::discard_each(before.into_iter().chain(after));
}

fn take<T>(handlers: &mut Vec<T>, is_meant: impl FnMut(&mut T) -> bool) -> Vec<T> {
    handlers.extract_if(.., is_meant).collect()
}

impl Socket {
    /// Handles an event of this socket. Prefer handlers of the namespace ([`Builder::on`](crate::Builder::on)):
    /// those cost a connection nothing. An event may have several handlers: those of the namespace come first, then those of the
    /// socket, in the order in which they were attached.
    ///
    /// ```
    /// use ringhall::{Data, Socket};
    /// # fn f(socket: &Socket) {
    /// socket.on("ping", |Data(n): Data<u32>| n + 1);
    /// # }
    /// ```
    pub fn on<M>(&self, event: &str, handler: impl EventHandler<M>) -> Listener {
        self.add(event, local_event(handler), false)
    }

    /// Handles the next such event, and no further one.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// socket.once("ready", || println!("ready"));
    /// # }
    /// ```
    pub fn once<M>(&self, event: &str, handler: impl EventHandler<M>) -> Listener {
        self.add(event, local_event(handler), true)
    }

    /// Removes all handlers of this socket for an event. Handlers of the namespace stay.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// socket.off("ping");
    /// # }
    /// ```
    pub fn off(&self, event: &str) {
        // Taken out first: what a closure's drop does must find nothing borrowed.
        let removed = self
            .0
            .own
            .borrow_mut()
            .as_mut()
            .and_then(|own| own.listening.events.remove(event));
        task::discard_each(removed.into_iter().flatten());
    }

    /// Removes one handler of this socket, of whatever kind. One that is gone already is no error.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// let ready = socket.once("ready", || println!("ready"));
    /// socket.off_listener(ready); // it shall not be ready any more
    /// # }
    /// ```
    pub fn off_listener(&self, listener: Listener) {
        let mut own = self.0.own.borrow_mut();
        let removed = own.as_mut().map(|own| own.listening.remove(listener));
        drop(own);
        self.watch();
        // Each but one is empty.
        let Removed(events, errors, ends) = removed.unwrap_or_default();
        task::discard_each(events);
        task::discard_each(errors);
        task::discard_each(ends);
    }

    /// Sees each event that comes in, before its middlewares and handlers, and after the catch-all handlers of the namespace; see
    /// [`Namespace::on_any`](crate::Namespace::on_any).
    ///
    /// ```
    /// # use ringhall::{EventName, Payload};
    /// # fn f(socket: &ringhall::Socket) {
    /// socket.on_any(|EventName(event): EventName, payload: Payload| println!("{event}{}", payload.json()));
    /// # }
    /// ```
    pub fn on_any<M>(&self, handler: impl EventHandler<M>) -> Listener {
        self.attach(local_event(handler), |listening, handler| {
            listening.inspection().any.after.push(handler);
        })
    }

    /// As [`on_any`](Socket::on_any), but before all other catch-all handlers, also those of the namespace.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// socket.prepend_any(|| println!("something came in"));
    /// # }
    /// ```
    pub fn prepend_any<M>(&self, handler: impl EventHandler<M>) -> Listener {
        self.attach(local_event(handler), |listening, handler| {
            listening.inspection().any.before.insert(0, handler);
        })
    }

    /// Removes all catch-all handlers of this socket for what comes in; [`off_listener`](Socket::off_listener) removes one.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// socket.off_any();
    /// # }
    /// ```
    pub fn off_any(&self) {
        discard_all(self.take_catch_all(|inspection| &mut inspection.any));
    }

    /// Sees each event that goes out to this socket, before it is sent, and after the handlers of the namespace; see
    /// [`Namespace::on_any_outgoing`](crate::Namespace::on_any_outgoing).
    ///
    /// ```
    /// # use ringhall::{EventName, Payload};
    /// # fn f(socket: &ringhall::Socket) {
    /// socket.on_any_outgoing(|EventName(event): EventName, payload: Payload| println!("{event}{}", payload.json()));
    /// # }
    /// ```
    pub fn on_any_outgoing<M>(&self, handler: impl EventHandler<M>) -> Listener {
        self.attach(local_event(handler), |listening, handler| {
            listening.inspection().outgoing.after.push(handler);
        })
    }

    /// As [`on_any_outgoing`](Socket::on_any_outgoing), but before all other such handlers.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// socket.prepend_any_outgoing(|| println!("something goes out"));
    /// # }
    /// ```
    pub fn prepend_any_outgoing<M>(&self, handler: impl EventHandler<M>) -> Listener {
        self.attach(local_event(handler), |listening, handler| {
            listening.inspection().outgoing.before.insert(0, handler);
        })
    }

    /// Removes all handlers of this socket for what goes out; [`off_listener`](Socket::off_listener) removes one.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// socket.off_any_outgoing();
    /// # }
    /// ```
    pub fn off_any_outgoing(&self) {
        let removed = self.take_catch_all(|inspection| &mut inspection.outgoing);
        self.watch();
        discard_all(removed);
    }

    /// Asks before each event of this socket whether it may pass (Node's `socket.use`), after the middlewares of the namespace; see
    /// [`Namespace::packet_middleware`](crate::Namespace::packet_middleware).
    ///
    /// ```
    /// # use ringhall::EventName;
    /// # fn f(socket: &ringhall::Socket) {
    /// socket.packet_middleware(|EventName(event): EventName| {
    ///     if event == "say" { Ok(()) } else { Err("you may only talk") }
    /// });
    /// # }
    /// ```
    pub fn packet_middleware<M>(&self, middleware: impl PacketMiddleware<M>) {
        let middleware = local_middleware(middleware);
        self.listen(|listening| listening.inspection().middlewares.push(middleware));
    }

    /// Is told what goes wrong on this socket, after the handlers of the namespace; see
    /// [`Namespace::on_error`](crate::Namespace::on_error).
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// socket.on_error(|socket, error| socket.emit("refused", error.to_string()));
    /// # }
    /// ```
    pub fn on_error(&self, handler: impl Fn(&Socket, &EventError) + 'static) -> Listener {
        let (listener, handler) = (self.0.local.next_listener(), std::rc::Rc::new(handler));
        self.listen(|listening| listening.inspection().errors.push((listener, handler)));
        listener
    }

    /// Runs when the socket is about to leave the namespace: its rooms are still there.
    ///
    /// ```
    /// use ringhall::Socket;
    /// # fn f(socket: &Socket) {
    /// socket.on_disconnecting(|socket: Socket| println!("leaves {:?}", socket.rooms()));
    /// # }
    /// ```
    pub fn on_disconnecting<M>(&self, handler: impl DisconnectHandler<M>) -> Listener {
        let (listener, handler) = (self.0.local.next_listener(), local_disconnect(handler));
        self.listen(|listening| listening.disconnecting.push((listener, handler)));
        listener
    }

    /// Runs when the socket has left the namespace.
    ///
    /// ```
    /// use ringhall::{DisconnectReason, Socket};
    /// # fn f(socket: &Socket) {
    /// socket.on_disconnect(|socket: Socket, reason: DisconnectReason| println!("{} left: {reason}", socket.id()));
    /// # }
    /// ```
    pub fn on_disconnect<M>(&self, handler: impl DisconnectHandler<M>) -> Listener {
        let (listener, handler) = (self.0.local.next_listener(), local_disconnect(handler));
        self.listen(|listening| listening.disconnect.push((listener, handler)));
        listener
    }

    // ---- for the server's side ----

    /// Is anything to be done with an event before its handlers?
    pub(crate) fn is_inspected(&self) -> bool {
        self.table().listeners.inspect
            || self.inspection(|inspection| {
                !inspection.any.is_empty() || !inspection.middlewares.is_empty()
            })
    }

    /// Is anybody to be told of an event that goes out?
    pub(crate) fn is_watched(&self) -> bool {
        !self.table().listeners.any_outgoing.is_empty()
            || self.inspection(|inspection| !inspection.outgoing.is_empty())
    }

    /// Sees to it that handlers of what goes out are told of broadcasts, too.
    pub(super) fn watch(&self) {
        self.0.local.hall().watch(self.0.key, self.is_watched());
    }

    /// Would anybody be told of an error?
    pub(crate) fn hears_errors(&self) -> bool {
        !self.table().listeners.errors.is_empty()
            || self.inspection(|inspection| !inspection.errors.is_empty())
    }

    /// The catch-all handlers of what comes in.
    pub(crate) fn any_handlers(&self) -> Handlers {
        self.around(&self.table().listeners.any, |inspection| &inspection.any)
    }

    /// The middlewares of this socket alone.
    pub(crate) fn own_middlewares(&self) -> SmallVec<[LocalMiddleware; 4]> {
        let own = self.0.own.borrow();
        let inspection = own
            .as_ref()
            .and_then(|own| own.listening.inspection.as_ref());
        inspection.map_or_else(SmallVec::new, |inspection| {
            inspection.middlewares.iter().cloned().collect()
        })
    }

    /// Whether it has handlers of its own for any event.
    #[inline]
    pub(crate) fn has_own_handlers(&self) -> bool {
        let own = self.0.own.borrow();
        own.as_ref()
            .is_some_and(|own| !own.listening.events.is_empty())
    }

    /// The handlers of this socket for an event; those for once are taken out.
    pub(crate) fn own_handlers(&self, event: &str) -> Handlers {
        let mut own = self.0.own.borrow_mut();
        let Some(events) = own.as_mut().map(|own| &mut own.listening.events) else {
            return Handlers::new();
        };
        let Some(handlers) = events.get_mut(event) else {
            return Handlers::new();
        };
        let found = handlers.iter().map(|own| own.call.clone()).collect();
        handlers.retain(|own| !own.once);
        // Names may be made up, as for one answer each: those that nobody listens for any more do not pile up.
        if handlers.is_empty() {
            events.remove(event);
        }
        found
    }

    pub(crate) fn own_disconnecting(&self) -> Vec<LocalDisconnectHandler> {
        self.own_endings(|listening| &listening.disconnecting)
    }

    pub(crate) fn own_disconnect(&self) -> Vec<LocalDisconnectHandler> {
        self.own_endings(|listening| &listening.disconnect)
    }

    /// Tells the handlers of outgoing events of one that is about to be sent. What they emit themselves is not told: it would never end.
    pub(crate) fn tell_outgoing(&self, event: &str, payload: &Payload) {
        let listeners = &self.table().listeners;
        if listeners.telling.replace(true) {
            return;
        }
        let context = EventContext::new(self, event, payload.as_args(), None);
        for handler in self.around(&listeners.any_outgoing, |inspection| &inspection.outgoing) {
            self.0.local.run_detached(|| handler(&context));
            task::discard(handler);
        }
        listeners.telling.set(false);
    }

    /// Tells the handlers of errors.
    pub(crate) fn raise(&self, event: &str, kind: EventErrorKind, message: &dyn std::fmt::Display) {
        if !self.hears_errors() {
            return;
        }
        let Some(error) = task::guard(|| EventError::new(event, kind, message)) else {
            return;
        };
        for handler in &self.table().listeners.errors {
            task::guard(|| handler(self, &error));
        }
        let own: SmallVec<[LocalErrorHandler; 2]> = {
            let own = self.0.own.borrow();
            let inspection = own
                .as_ref()
                .and_then(|own| own.listening.inspection.as_ref());
            let errors = inspection.map(|inspection| &inspection.errors);
            errors.map_or_else(SmallVec::new, |errors| {
                errors.iter().map(|(_, handler)| handler.clone()).collect()
            })
        };
        for handler in own {
            task::guard(|| handler(self, &error));
            task::discard(handler);
        }
    }

    /// Drops handlers and pending acknowledgements: closures may hold the socket, which would keep it alive for ever.
    pub(crate) fn forget(&self) {
        // Taken out first: what a closure's drop does must find nothing borrowed.
        let mut own = self.0.own.borrow_mut();
        let listening = own.as_mut().map(|own| std::mem::take(&mut own.listening));
        drop(own);
        if let Some(listening) = listening {
            listening.discard();
        }
    }

    /// Not for a socket that is gone: nobody would clear its table any more, and a closure that holds the socket would keep both for ever.
    pub(super) fn listen(&self, change: impl FnOnce(&mut Listening)) {
        if self.0.local.hall().is_seated(self.0.key) {
            change(&mut self.0.own.borrow_mut().get_or_insert_default().listening);
        }
    }

    fn add(&self, event: &str, handler: LocalEventHandler, once: bool) -> Listener {
        self.attach(handler, |listening, mut handler| {
            handler.once = once;
            listening
                .events
                .entry(event.into())
                .or_default()
                .push(handler);
        })
    }

    fn attach(
        &self,
        call: LocalEventHandler,
        to: impl FnOnce(&mut Listening, OwnHandler),
    ) -> Listener {
        let listener = self.0.local.next_listener();
        let handler = OwnHandler {
            listener,
            call,
            once: false,
        };
        self.listen(|listening| to(listening, handler));
        self.watch();
        listener
    }

    fn inspection(&self, look: impl FnOnce(&Inspection) -> bool) -> bool {
        let own = self.0.own.borrow();
        own.as_ref()
            .and_then(|own| own.listening.inspection.as_ref())
            .is_some_and(|inspection| look(inspection))
    }

    fn around(
        &self,
        shared: &[LocalEventHandler],
        of: impl FnOnce(&Inspection) -> &CatchAll,
    ) -> Handlers {
        let own = self.0.own.borrow();
        match own
            .as_ref()
            .and_then(|own| own.listening.inspection.as_ref())
        {
            Some(inspection) => of(inspection).around(shared),
            None => shared.iter().cloned().collect(),
        }
    }

    fn take_catch_all(
        &self,
        of: impl FnOnce(&mut Inspection) -> &mut CatchAll,
    ) -> Option<CatchAll> {
        let mut own = self.0.own.borrow_mut();
        let inspection = own.as_mut()?.listening.inspection.as_mut()?;
        Some(std::mem::take(of(inspection)))
    }

    fn own_endings(
        &self,
        of: impl FnOnce(&Listening) -> &Vec<(Listener, LocalDisconnectHandler)>,
    ) -> Vec<LocalDisconnectHandler> {
        let own = self.0.own.borrow();
        let handlers = own.as_ref().map(|own| of(&own.listening));
        handlers.map_or_else(Vec::new, |handlers| {
            handlers
                .iter()
                .map(|(_, handler)| handler.clone())
                .collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::server::fixture;

    #[test]
    fn a_name_that_nobody_listens_for_any_more_is_forgotten() {
        let socket = fixture::socket();
        socket.on("kept", || {});
        for n in 0..100 {
            let name = format!("answer {n}");
            socket.once(&name, || {});
            assert_eq!(socket.own_handlers(&name).len(), 1);
            assert!(socket.own_handlers(&name).is_empty());
        }
        assert_eq!(socket.own_handlers("kept").len(), 1);
        let own = socket.0.own.borrow();
        let names = own.as_ref().map(|own| own.listening.events.len());
        assert_eq!(names, Some(1));
    }
}
