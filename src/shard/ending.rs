//! How connections end, and how they are made to wait: the two things that take more than one turn.
//!
//! See `connection.rs` for the steps of an end.

use std::net::Shutdown;

use super::Shard;
use super::application::Application;
use super::command::Command;
use super::connection::{self, Context, End, Flow, Held};
use crate::reactor::{ConnKey, Reactor};
use crate::wire::close::CloseCode;

/// So long a session on polling that has ended in good order waits for the GET that takes its last words (as in Node).
const LAST_POLL_MS: u64 = 30_000;

impl<R: Reactor, A: Application> Shard<R, A> {
    /// The connection failed under us: tell the user, then cut it.
    pub(super) fn fail(&mut self, key: ConnKey) {
        let open = self
            .connections
            .get(key)
            .is_some_and(|connection| connection.end == End::Open);
        if open {
            self.with_connection(key, |connection, cx| connection.handle_end(key, true, cx));
        } else {
            self.abort(key);
        }
    }

    /// First step of the end, in good order: what is marked goes out, then FIN.
    pub(super) fn finish(&mut self, key: ConnKey) {
        let now_ms = self.now_ms;
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.end != End::Open {
            return;
        }
        connection.end = End::Saying;
        connection.end_deadline_ms = now_ms
            + match connection.descriptor {
                Some(_) => self.settings.linger_ms,
                None => LAST_POLL_MS,
            };
        connection.held = None;
        if connection.pause.is_on() && !connection.receive_submitted {
            // Reading goes on, into nothing, so that the peer's FIN is seen.
            connection.pause = connection::Pause::default();
            self.start_receiving(key);
        }
        self.schedule(key);
        // What is marked in this turn is not written yet: the mark at the end of the turn brings us back here.
        self.hall.command(Command::Advance { connection: key });
    }

    /// What an ending connection says last is written now, or on its way behind the send in flight.
    pub(super) fn said(&mut self, key: ConnKey) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.end = match connection.end {
            End::Saying => End::Flushing,
            End::Leaving => End::Moving,
            _ => return,
        };
        if connection.descriptor.is_none() {
            self.answer_poll(key);
        } else {
            self.advance_end(key);
        }
    }

    /// First step of the end, at once.
    pub(super) fn abort(&mut self, key: ConnKey) {
        let now_ms = self.now_ms;
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if matches!(connection.end, End::Aborting | End::Closing) {
            // An operation that failed because of the first abort may have been the last that was pending.
            return self.advance_end(key);
        }
        let was_open = connection.end == End::Open;
        connection.end = End::Aborting;
        connection.end_deadline_ms = now_ms + self.settings.linger_ms;
        connection.outbound = None;
        connection.held = None;
        if let Some(descriptor) = connection.descriptor {
            self.reactor.shutdown(key, descriptor, Shutdown::Both);
        }
        if was_open {
            let cx = Context {
                app: &self.app,
                hall: &self.hall,
                settings: &self.settings,
                now_ms,
            };
            // The phase may still hold sockets (a shutdown that ran out of time): they end now.
            let _ = connection.handle_end(key, true, &cx);
        }
        self.schedule(key);
        self.advance_end(key);
    }

    /// Takes the next step of the end when nothing stands in its way any more.
    pub(super) fn advance_end(&mut self, key: ConnKey) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let flushed = !connection.send_submitted && connection.has_said_all();
        let Some(descriptor) = connection.descriptor else {
            // A session on polling: the kernel has nothing of it.
            let is_over = match connection.end {
                End::Aborting => true,
                End::Flushing => !connection.is_closing(),
                _ => false,
            };
            if is_over {
                self.with_connection(key, |connection, cx| {
                    connection.drop_probe(cx);
                    Flow::Continue
                });
                self.wheel.cancel(key.slot);
                self.vacate(key);
            }
            return;
        };
        if connection.end == End::Flushing && flushed {
            if self.close_secure(key) {
                // It brings us back here when it is sent.
                return;
            }
            let Some(connection) = self.connections.get_mut(key) else {
                return;
            };
            connection.end = End::Lingering;
            self.reactor.shutdown(key, descriptor, Shutdown::Write);
        }
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let idle = !connection.receive_submitted && !connection.send_submitted;
        if matches!(connection.end, End::Lingering | End::Aborting) && idle {
            connection.end = End::Closing;
            self.wheel.cancel(key.slot);
            self.reactor.close(key, descriptor);
        } else if connection.end == End::Moving && idle && flushed {
            connection.end = End::Closing;
            self.wheel.cancel(key.slot);
            self.reactor.detach(key, descriptor);
        }
    }

    pub(super) fn keys(&self) -> Vec<ConnKey> {
        self.connections.iter().map(|(key, _)| key).collect()
    }

    pub(super) fn begin_shutdown(&mut self) {
        if self.shutdown_deadline_ms.is_some() {
            return;
        }
        self.shutdown_deadline_ms = Some(self.now_ms + self.settings.shutdown_ms);
        self.reactor.stop_accepting();
        self.hall.close_memory();
        for key in self.keys() {
            self.with_connection(key, |connection, cx| {
                connection.close(key, CloseCode::GOING_AWAY, "server is shutting down", cx)
            });
        }
    }

    /// Changes why reading is paused, and stops or starts it.
    pub(super) fn set_pause(&mut self, key: ConnKey, change: impl FnOnce(&mut connection::Pause)) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let was = connection.pause.is_on();
        change(&mut connection.pause);
        let is = connection.pause.is_on();
        if connection.end != End::Open || was == is {
            return;
        }
        if is {
            if connection.receive_submitted {
                self.reactor.stop_receiving(key);
            }
            return;
        }
        let held = connection.held.as_mut();
        let mut bytes = held
            .map(|held| std::mem::take(&mut held.bytes))
            .unwrap_or_default();
        connection.resumed();
        if !connection.receive_submitted {
            // A FIN that came meanwhile comes again.
            self.start_receiving(key);
        }
        if !bytes.is_empty() {
            self.received_plain(key, &mut bytes);
        }
        // Unless it was taken along, to a session or another core.
        let held = self
            .connections
            .get_mut(key)
            .and_then(|connection| connection.held.take());
        if let Some(held) = held {
            self.received_held(key, *held);
        }
    }

    /// Handles what was held back on a connection that is this one now.
    pub(super) fn received_held(&mut self, key: ConnKey, held: Held) {
        let Held {
            mut bytes,
            mut sealed,
        } = held;
        if !bytes.is_empty() {
            self.received_plain(key, &mut bytes);
        }
        if !sealed.is_empty() {
            self.received(key, &mut sealed);
        }
    }
}
