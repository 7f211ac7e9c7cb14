//! How connections begin.

use std::net::SocketAddr;

use super::Shard;
use super::application::Application;
use super::connection::Connection;
use crate::reactor::{Descriptor, Reactor};

impl<R: Reactor, A: Application> Shard<R, A> {
    pub(super) fn accepted(
        &mut self,
        descriptor: Descriptor,
        peer: Option<SocketAddr>,
        listener: usize,
    ) {
        if self.shutdown_deadline_ms.is_some() {
            // It was under way when accepting was stopped.
            return self.reactor.refuse(descriptor);
        }
        let tls_deadline_ms = self.now_ms + self.settings.tls_handshake_timeout_ms;
        let secure = match self.gate.accept(listener, tls_deadline_ms) {
            Ok(secure) => secure,
            Err(error) => {
                log::warn!("a TLS connection cannot begin: {error}");
                return self.reactor.refuse(descriptor);
            }
        };
        let is_secure = secure.is_some();
        let begin_ms = if is_secure {
            tls_deadline_ms
        } else {
            self.now_ms
        };
        let deadline_ms = begin_ms + self.settings.handshake_timeout_ms;
        let connection = Connection::new(descriptor, peer, secure, deadline_ms);
        match self.connections.insert(connection) {
            Ok(key) => {
                self.counters.accepted += 1;
                self.accept_failing = false;
                if is_secure {
                    self.begin_handshake(key);
                }
                self.start_receiving(key);
                self.schedule(key);
            }
            Err(refused) => {
                self.counters.refused_full += 1;
                self.refuse(&refused);
            }
        }
    }

    pub(super) fn refuse(&mut self, refused: &Connection) {
        if let Some(descriptor) = refused.descriptor {
            self.reactor.refuse(descriptor);
        }
    }
}
