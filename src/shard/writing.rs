//! What was said leaves: one send for a connection at a time, and what comes meanwhile behind it.

use std::io;

use super::Shard;
use super::application::Application;
use super::connection::{Connection, End};
use crate::reactor::{ConnKey, Reactor, SendBuffer};

/// What a turn says to sessions.
#[derive(Default)]
struct Out {
    packets: u64,
    bytes: u64,
}

impl Out {
    fn add(&mut self, to: &Connection, pieces: impl Iterator<Item = (u64, usize)>) {
        if !to.is_engine() {
            return;
        }
        // A heartbeat, a head of two bytes with a digit behind it, is no packet that anybody wants counted.
        for (packets, bytes) in pieces.filter(|(_, bytes)| *bytes > 3) {
            self.packets += packets;
            self.bytes += bytes as u64;
        }
    }
}

impl<R: Reactor, A: Application> Shard<R, A> {
    pub(super) fn sent(
        &mut self,
        key: ConnKey,
        buffer: SendBuffer,
        from: usize,
        result: io::Result<usize>,
    ) {
        let Some(connection) = self.connections.get_mut(key) else {
            self.counters.stale += 1;
            return self.pool.recycle(buffer);
        };
        connection.send_submitted = false;
        let sent = match result {
            Ok(sent) => from + sent,
            Err(_) => {
                self.pool.recycle(buffer);
                return self.fail(key);
            }
        };
        if connection.end == End::Aborting {
            self.pool.recycle(buffer);
            return self.advance_end(key);
        }
        if sent < buffer.bytes().len()
            && let Some(descriptor) = connection.descriptor
        {
            connection.send_submitted = true;
            return self.reactor.send(key, descriptor, buffer, sent);
        }
        self.pool.recycle(buffer);
        self.send_next(key);
    }

    /// Sends what waited behind the last send, or notes that there is nothing.
    pub(super) fn send_next(&mut self, key: ConnKey) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let Some(descriptor) = connection.descriptor else {
            return;
        };
        let next = connection.next_buffer(&mut self.pool);
        if connection.is_broken() {
            return self.fail(key);
        }
        match next {
            Some(buffer) => {
                connection.send_submitted = true;
                self.reactor.send(key, descriptor, buffer, 0);
            }
            None => {
                connection.outbound = None;
                self.hall.set_busy(key.slot, false);
            }
        }
        connection.handle_taken(self.now_ms);
        let relieved =
            connection.pause.outbound && connection.unsent() <= self.settings.outbound_soft / 2;
        if relieved {
            self.set_pause(key, |pause| pause.outbound = false);
        }
        self.give_room(key);
        self.advance_end(key);
    }

    /// One send for each connection that anything was marked for.
    pub(super) fn write_marked(&mut self) {
        let Shard {
            reactor,
            hall,
            settings,
            connections,
            pool,
            scratch,
            counters,
            ..
        } = self;
        let mut failed: Vec<ConnKey> = Vec::new();
        let mut full: Vec<ConnKey> = Vec::new();
        let mut polled: Vec<ConnKey> = Vec::new();
        let mut out = Out::default();
        hall.with_turn(|turn, busy| {
            while let Some(marked) = turn.take_marked() {
                let slot = marked.connection;
                let Some((key, connection)) = connections.at_mut(slot) else {
                    continue;
                };
                if !connection.may_say() {
                    continue;
                }
                out.add(connection, turn.counted(marked));
                let idle = connection.descriptor.filter(|_| !connection.send_submitted);
                let Some(descriptor) = idle else {
                    if connection.unsent() >= settings.outbound_hard {
                        counters.cut_slow += 1;
                        failed.push(key);
                        continue;
                    }
                    connection.hold(turn.pieces(marked), pool);
                    if connection.descriptor.is_none() {
                        polled.push(key);
                    }
                    busy.set(slot, true);
                    if connection.must_rest(settings) {
                        full.push(key);
                    }
                    continue;
                };
                connection.add_to(scratch, turn.pieces(marked), pool);
                let buffer = connection.next_buffer_of(Some(&mut *scratch), pool);
                if connection.is_broken() {
                    failed.push(key);
                    continue;
                }
                let Some(buffer) = buffer else { continue };
                connection.send_submitted = true;
                reactor.send(key, descriptor, buffer, 0);
                if !scratch.is_empty() {
                    connection.outbound = Some(Box::new(std::mem::take(scratch)));
                    busy.set(slot, true);
                }
                if connection.must_rest(settings) {
                    full.push(key);
                }
            }
            turn.clear();
        });
        hall.traffic().went_out(out.packets, out.bytes);
        self.after_writing(full, polled, failed);
    }

    /// What came of it: some are to rest, some have something for their GET, some have failed.
    fn after_writing(&mut self, full: Vec<ConnKey>, polled: Vec<ConnKey>, failed: Vec<ConnKey>) {
        for key in full {
            self.set_pause(key, |pause| pause.outbound = true);
        }
        // After that: a GET that is held takes all, so that what was paused for it goes on.
        for key in polled {
            self.answer_poll(key);
        }
        for key in failed {
            self.fail(key);
        }
    }
}
