//! One client of a server without a ring: what it says, what the handlers do, and what it is told, without the kernel's part. For the
//! benches of this repository.

#![allow(missing_docs, reason = "not for users")]

use std::rc::Rc;
use std::sync::Arc;

use super::Builder;
use super::local::Local;
use crate::proto::session::Revision;
use crate::reactor::ConnKey;
use crate::room::{Limits, Rooms};
use crate::shard::call::{Above, Opening};
use crate::shard::connection::Context;
use crate::shard::engine::Engine;
use crate::shard::hall::Hall;
use crate::shard::handshake::{Handshake, Via};
use crate::shard::mailbox::{Outbox, mailbox};
use crate::shard::outbound::{Outbound, Pool};

const KEY: ConnKey = ConnKey {
    slot: 0,
    generation: 0,
};

/// See the module's text.
pub struct Exchange {
    local: Rc<Local>,
    hall: Rc<Hall>,
    engine: Box<Engine>,
    outbound: Outbound,
    pool: Pool,
}

impl Exchange {
    /// A client on a WebSocket, with the frame with which it joins the main namespace.
    pub fn new(builder: Builder, connect: &mut [u8]) -> Option<Self> {
        let shared = Arc::new(builder.into_shared().ok()?);
        let (address, _) = mailbox(Arc::new(|| {}));
        let addresses: Arc<[_]> = Arc::from([address]);
        shared.set_addresses(addresses.clone());
        let outbox = Outbox::new(0, addresses);
        let hall = Rc::new(Hall::new(0, outbox, 10, Rooms::new(Limits::default())));
        let local = Local::new(hall.clone(), shared);
        let opening = Opening {
            above: Above::SocketIo,
            handshake: Handshake::new(b"GET / HTTP/1.1\r\n\r\n", Via::default(), 0),
            revision: Revision::V4,
            base64_only: false,
            name: None,
            grant: None,
        };
        hall.set_in_turn(true);
        let cx = context(&local, &hall);
        let engine = Engine::open_on_websocket(KEY, Vec::new(), opening, &cx)?;
        let mut exchange = Exchange {
            engine,
            outbound: Outbound::default(),
            pool: Pool::default(),
            local,
            hall,
        };
        exchange.receive(connect);
        Some(exchange)
    }

    /// Handles received bytes, and writes what is to be sent as the end of a turn does; returns its length.
    pub fn receive(&mut self, bytes: &mut [u8]) -> usize {
        let cx = context(&self.local, &self.hall);
        let _flow = self.engine.handle_input(KEY, bytes, &cx);
        self.hall.with_turn(|turn, _| {
            while let Some(marked) = turn.take_marked() {
                self.outbound.extend(turn.pieces(marked), &mut self.pool);
            }
            turn.clear();
        });
        let mut length = 0;
        while let Some(buffer) = self.outbound.pop() {
            length += buffer.bytes().len();
            self.pool.recycle(buffer);
        }
        length
    }
}

fn context<'a>(local: &'a Rc<Local>, hall: &'a Hall) -> Context<'a, Rc<Local>> {
    Context {
        app: local,
        hall,
        settings: &local.shared().settings,
        now_ms: 0,
    }
}
