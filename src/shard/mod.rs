//! One core: joins what the kernel brings, what the protocols say and what the rooms hold.
//!
//! A turn of the loop, in order: submit and reap → drain the mailbox → hand completions to connections → deadlines → for every marked
//! connection one send of all that it has → carry out commands → flush mail. The mailbox is drained after reaping and
//! before completions are handled: whatever another core posted before a client could know of it is seen before that client's
//! bytes are.

#![forbid(unsafe_code)]

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use crate::reactor::{Completion, ConnKey, Reactor, Wait};
use crate::tls::Acceptor;

mod accepting;
pub(crate) mod application;
pub(crate) mod call;
#[cfg(test)]
mod census;
pub(crate) mod command;
pub(crate) mod connection;
mod dialect;
mod ending;
pub(crate) mod engine;
pub(crate) mod grant;
pub(crate) mod hall;
pub(crate) mod handshake;
pub(crate) mod home;
pub(crate) mod http;
pub(crate) mod lane;
pub(crate) mod mail;
pub(crate) mod mailbox;
pub(crate) mod opening;
pub(crate) mod outbound;
pub(crate) mod plain;
pub(crate) mod recovery;
pub(crate) mod secure;
mod session;
mod sessions;
pub(crate) mod settings;
#[cfg(test)]
mod simulation;
pub(crate) mod slots;
pub(crate) mod thread;
pub(crate) mod traffic;
pub(crate) mod wheel;
mod writing;

use application::Application;
use command::Command;
use connection::{Connection, Context, End, Flow};
use hall::Hall;
use mail::Mail;
use mailbox::Mailbox;
use outbound::{Outbound, Pool};
use secure::Gate;
use sessions::Arriving;
use settings::Settings;
use slots::Slots;
use wheel::Wheel;

/// Mails handled in one turn at most, so that a flood of mail does not starve the sockets.
const MAILS_PER_TURN: usize = 1024;
/// Rounds of writing and carrying out commands in one turn at most; what handlers add after that waits for the next turn.
const ROUNDS_PER_TURN: usize = 4;
/// A failed accept is tried again after this long: at once would be a busy loop while descriptors are short.
const ACCEPT_RETRY_MS: u64 = 100;

/// How often the deadline of a connection that the application paused is put off, and at most how long after the pause it counts again.
const PAUSED_AGAIN_MS: u64 = 1000;

/// What a turn left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Something was handled.
    pub(crate) active: bool,
    /// There is more to do at once: do not wait.
    pub(crate) more: bool,
    /// When the next deadline is due.
    pub(crate) deadline_ms: Option<u64>,
}

/// What a shard counts; the sum over the cores is the server's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) accepted: u64,
    pub(crate) refused_full: u64,
    pub(crate) accept_failures: u64,
    pub(crate) cut_slow: u64,
    pub(crate) stale: u64,
}

pub(crate) struct Shard<R: Reactor, A> {
    reactor: R,
    /// When this turn began.
    now_ms: u64,
    app: A,
    hall: Rc<Hall>,
    settings: Arc<Settings>,
    connections: Slots<Connection>,
    gate: Gate,
    wheel: Wheel,
    mailbox: Mailbox<Mail>,
    pool: Pool,
    scratch: Outbound,
    expired: Vec<u32>,
    /// How many of the connections are sessions on polling.
    on_polling: usize,
    /// Connections that are on their way here, by token.
    arriving: Arriving,
    accept_again_ms: Option<u64>,
    /// Since the last connection that was accepted: the log is told once.
    accept_failing: bool,
    /// Set by a shutdown: when what is left is cut.
    shutdown_deadline_ms: Option<u64>,
    counters: Counters,
}

impl<R: Reactor, A: Application> Shard<R, A> {
    pub(crate) fn new(
        mut reactor: R,
        app: A,
        hall: Rc<Hall>,
        settings: Arc<Settings>,
        mailbox: Mailbox<Mail>,
    ) -> Self {
        reactor.accept();
        let now_ms = reactor.now_ms();
        Shard {
            reactor,
            now_ms,
            app,
            hall,
            connections: Slots::with_limit(settings.connections_max),
            settings,
            gate: Gate::default(),
            wheel: Wheel::new(now_ms),
            mailbox,
            pool: Pool::default(),
            scratch: Outbound::default(),
            expired: Vec::new(),
            on_polling: 0,
            arriving: Arriving::default(),
            accept_again_ms: None,
            accept_failing: false,
            shutdown_deadline_ms: None,
            counters: Counters::default(),
        }
    }

    /// The same with TLS, on the listeners that have an acceptor at their index.
    pub(crate) fn with_tls(mut self, acceptors: Vec<Option<Acceptor>>) -> Self {
        self.gate = Gate::new(acceptors);
        self
    }

    /// One turn of the loop. Waits in the reactor as told, and nowhere else.
    pub(crate) fn turn(&mut self, wait: Wait) -> io::Result<Pace> {
        self.reactor.enter(wait)?;
        self.now_ms = self.reactor.now_ms();
        self.hall.set_now(self.now_ms);
        self.mailbox.awake();
        self.hall.set_in_turn(true);
        let mails = self.drain_mailbox();
        let completions = self.drain_completions();
        self.expire();
        let mut active = mails + completions > 0;
        for _ in 0..ROUNDS_PER_TURN {
            if !self.hall.has_work() && self.hall.lane().is_empty() {
                break;
            }
            active = true;
            self.wake_waiting();
            self.write_marked();
            self.carry_out_commands();
        }
        let waiting = self.send_mail();
        self.hall.set_in_turn(false);
        let more = waiting
            || mails == MAILS_PER_TURN
            || self.hall.has_work()
            || !self.hall.lane().is_empty();
        Ok(Pace {
            active,
            more,
            deadline_ms: self.next_deadline_ms(),
        })
    }

    /// A shutdown was asked for and everything has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.shutdown_deadline_ms.is_some() && self.connections.is_empty()
    }

    /// Announces sleep. `false`: there is something to do, so do not sleep.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.mailbox.fall_asleep(|| self.hall.lane().is_empty())
    }

    pub(crate) fn reactor_mut(&mut self) -> &mut R {
        &mut self.reactor
    }

    /// The time now. What happens in a turn happens at the time of the turn instead: one reading of the clock is enough for it.
    pub(crate) fn clock_ms(&self) -> u64 {
        self.reactor.now_ms()
    }

    // ---- the steps of a turn ----

    fn drain_mailbox(&mut self) -> usize {
        let mut handled = 0;
        while handled < MAILS_PER_TURN {
            match self.mailbox.take() {
                None => break,
                Some(Mail::Shutdown) => self.begin_shutdown(),
                Some(Mail::Errand(run)) => run(),
                Some(mail) => self.hall.handle_mail(mail),
            }
            handled += 1;
        }
        handled
    }

    fn drain_completions(&mut self) -> usize {
        let mut handled = 0;
        while let Some(completion) = self.reactor.next() {
            self.handle(completion);
            handled += 1;
        }
        handled
    }

    fn handle(&mut self, completion: Completion<R::Buffer>) {
        match completion {
            Completion::Accepted {
                descriptor,
                peer,
                listener,
            } => self.accepted(descriptor, peer, listener),
            Completion::AcceptFailed { error } => {
                self.counters.accept_failures += 1;
                if !self.accept_failing {
                    log::warn!(
                        "accepting a connection failed: {error}; trying again every {ACCEPT_RETRY_MS} ms"
                    );
                }
                self.accept_failing = true;
                self.accept_again_ms = Some(self.now_ms + ACCEPT_RETRY_MS);
            }
            Completion::Received { key, mut buffer } => self.received(key, &mut buffer),
            Completion::ReceiveEnded { key, result } => self.receive_ended(key, &result),
            Completion::Sent {
                key,
                buffer,
                from,
                result,
            } => self.sent(key, buffer, from, result),
            Completion::Closed { key } => self.vacate(key),
            Completion::HungUp { key } => self.hung_up(key),
            Completion::Detached { key, result } => self.detached(key, result),
            Completion::Attached { token, result } => self.attached(token, result),
            Completion::Woken => {}
        }
    }

    /// The peer has hung up. If so much came before that nothing is read, its FIN would not be seen: whoever waits for an answer has gone.
    fn hung_up(&mut self, key: ConnKey) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.hung_up = true;
        if connection.end == End::Open && connection.is_stuffed() {
            self.fail(key);
        }
    }

    /// Nothing of the connection is left: its slot is free.
    fn vacate(&mut self, key: ConnKey) {
        if let Some(connection) = self.connections.remove(key) {
            self.on_polling -= usize::from(connection.on_polling);
            self.hall.traffic().set_on_polling(self.on_polling);
            self.hall.set_busy(key.slot, false);
            // Whoever gets this slot next must not get what was marked for this connection.
            self.hall.with_turn(|turn, _| turn.unmark(key.slot));
        }
    }

    fn received(&mut self, key: ConnKey, bytes: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(key) else {
            self.counters.stale += 1;
            return;
        };
        if connection.secure.is_none() {
            return self.received_plain(key, bytes);
        }
        if !matches!(connection.end, End::Open | End::Leaving | End::Moving) {
            return;
        }
        if connection.pause.is_on() && connection.end == End::Open {
            let held = connection.held.get_or_insert_default();
            held.sealed.extend_from_slice(bytes);
            return;
        }
        self.received_secure(key, bytes);
    }

    /// Handles what was received, or was decrypted of it.
    fn received_plain(&mut self, key: ConnKey, bytes: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if !matches!(connection.end, End::Open | End::Leaving | End::Moving) {
            return;
        }
        if connection.pause.is_on() && connection.end == End::Open {
            let held = connection.held.get_or_insert_default();
            held.bytes.extend_from_slice(bytes);
            return;
        }
        self.with_connection(key, |connection, cx| {
            connection.handle_input(key, bytes, cx)
        });
    }

    fn receive_ended(&mut self, key: ConnKey, result: &io::Result<()>) {
        let Some(connection) = self.connections.get_mut(key) else {
            self.counters.stale += 1;
            return;
        };
        connection.receive_submitted = false;
        let cancelled = matches!(result, Err(error) if error.raw_os_error() == Some(ECANCELED));
        match connection.end {
            // A FIN will be seen again when reading resumes.
            End::Open if connection.pause.is_on() && (cancelled || result.is_ok()) => {}
            // Resumed, or told to finish, before the cancelling had ended: what comes is still wanted, if only the FIN.
            End::Open | End::Saying | End::Flushing | End::Lingering if cancelled => {
                self.start_receiving(key);
            }
            // A FIN will be seen again where it goes.
            End::Leaving | End::Moving if result.is_ok() || cancelled => self.advance_end(key),
            End::Leaving | End::Moving => self.abort(key),
            End::Open => self.with_connection(key, |connection, cx| {
                connection.handle_end(key, result.is_err(), cx)
            }),
            End::Saying | End::Lingering | End::Flushing if result.is_err() => self.abort(key),
            _ => self.advance_end(key),
        }
    }

    fn expire(&mut self) {
        let now_ms = self.now_ms;
        if self.accept_again_ms.is_some_and(|at| at <= now_ms) {
            self.accept_again_ms = None;
            if self.shutdown_deadline_ms.is_none() {
                self.reactor.accept();
            }
        }
        let mut expired = std::mem::take(&mut self.expired);
        self.wheel.expire(now_ms, &mut expired);
        for slot in expired.drain(..) {
            let Some((key, connection)) = self.connections.at(slot) else {
                continue;
            };
            if connection.end == End::Open
                && connection.pause.application > 0
                && !connection.hung_up
                && !connection.is_http()
            {
                // Nothing is read for the application's sake, so a sign of life would not be seen. Of a peer that has hung up
                // none is to come: it has the usual time, so that a handler that never ends does not keep its connection for ever.
                self.wheel.schedule(slot, now_ms + PAUSED_AGAIN_MS);
            } else {
                self.with_connection(key, |connection, cx| connection.handle_timeout(key, cx));
                self.schedule(key);
            }
        }
        self.expired = expired;
        self.hall.forget_old();
        if self.shutdown_deadline_ms.is_some_and(|at| at <= now_ms) {
            for key in self.keys() {
                self.abort(key);
            }
        }
    }

    fn carry_out_commands(&mut self) {
        for command in self.hall.take_commands() {
            match (command.connection(), command) {
                (_, Command::Call(call)) => self.handle_call(*call),
                (Some(key), Command::Pause { .. }) => {
                    self.set_pause(key, |pause| pause.application += 1);
                }
                (Some(key), Command::Resume { .. }) => self.set_pause(key, |pause| {
                    pause.application = pause.application.saturating_sub(1);
                }),
                (Some(key), Command::Polled { .. }) => self.answer_poll(key),
                (Some(key), Command::Advance { .. }) => self.said(key),
                (
                    _,
                    Command::Returned {
                        socket, refused, ..
                    },
                ) => self.app.returned(socket, refused),
                (Some(key), command) => self.with_connection(key, |connection, cx| {
                    connection.handle_command(key, command, cx)
                }),
                (None, _) => debug_assert!(false, "a command is for somebody"),
            }
        }
    }

    /// `true`: some mail still waits for room.
    fn send_mail(&mut self) -> bool {
        let (waiting, sleepers) = self
            .hall
            .with_outbox(|outbox| (outbox.flush_overflow(), outbox.take_sleepers()));
        for core in sleepers.iter() {
            self.reactor.wake(core);
        }
        waiting
    }

    fn next_deadline_ms(&self) -> Option<u64> {
        [
            self.wheel.next_ms(),
            self.accept_again_ms,
            self.shutdown_deadline_ms,
            self.hall.next_deadline_ms(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    // ---- one connection ----

    /// Lends a connection to `act`, then does what that led to.
    fn with_connection(
        &mut self,
        key: ConnKey,
        act: impl FnOnce(&mut Connection, &Context<'_, A>) -> Flow,
    ) {
        let now_ms = self.now_ms;
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let cx = Context {
            app: &self.app,
            hall: &self.hall,
            settings: &self.settings,
            now_ms,
        };
        let before = connection.next_deadline_ms();
        let flow = act(connection, &cx);
        let moved = earlier(connection.next_deadline_ms(), before);
        match flow {
            Flow::Continue if moved => self.schedule(key),
            Flow::Continue => {}
            Flow::Finish => self.finish(key),
            Flow::Abort => self.abort(key),
            Flow::Probe => self.begin_probe(key),
            Flow::Upgrade => self.upgrade(key),
            Flow::Move => self.begin_move(key),
        }
    }

    fn start_receiving(&mut self, key: ConnKey) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        debug_assert!(
            !connection.receive_submitted,
            "at most one receive is pending"
        );
        let Some(descriptor) = connection.descriptor else {
            return;
        };
        connection.receive_submitted = true;
        self.reactor.receive(key, descriptor);
    }

    /// A deadline that moved away is left where it is: the timer fires early, does nothing and is set anew. So
    /// a busy connection does not touch the wheel.
    fn schedule(&mut self, key: ConnKey) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        match connection.next_deadline_ms() {
            Some(deadline_ms) => self.wheel.schedule(key.slot, deadline_ms),
            None => self.wheel.cancel(key.slot),
        }
    }
}

/// `ECANCELED` on Linux, all architectures that have io_uring.
const ECANCELED: i32 = 125;

fn earlier(new: Option<u64>, old: Option<u64>) -> bool {
    match (new, old) {
        (Some(new), Some(old)) => new < old,
        (Some(_), None) => true,
        (None, _) => false,
    }
}
