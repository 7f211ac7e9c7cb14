//! An event for the tests of handlers and extractors: a real socket on a core without a ring.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::arguments::Args;
use super::extract::{EventContext, Fault};
use super::local::Local;
use super::socket::Socket;
use super::{Handshake, Server};
use crate::reactor::ConnKey;
use crate::room::{Limits, Rooms};
use crate::shard::hall::Hall;
use crate::shard::mailbox::{Outbox, mailbox};
use crate::wire::Status;
use crate::wire::frame::{self, Opcode};

/// A socket whose answers can be looked at, and one event for it.
pub(super) struct Fixture {
    pub socket: Socket,
    json: Vec<u8>,
    attachments: Vec<Bytes>,
    ack_id: Option<u64>,
}

impl Fixture {
    /// An event with these arguments, a JSON array, whose sender wants no answer.
    pub(super) fn event(json: &str) -> Self {
        Self {
            socket: socket(),
            json: json.into(),
            attachments: Vec::new(),
            ack_id: None,
        }
    }

    pub(super) fn with_ack(mut self, id: u64) -> Self {
        self.ack_id = Some(id);
        self
    }

    pub(super) fn with_attachment(mut self, bytes: &'static [u8]) -> Self {
        self.attachments.push(Bytes::from_static(bytes));
        self
    }

    pub(super) fn context(&self) -> EventContext<'_> {
        let args = Args {
            json: &self.json,
            attachments: &self.attachments,
        };
        EventContext::new(&self.socket, "test", args, self.ack_id)
    }

    /// The answers sent since the last look, as `id[arguments]`.
    pub(super) fn answers(&self) -> Vec<String> {
        answers(&self.socket)
    }

    pub(super) fn rejected(&self) -> u64 {
        self.socket.local().faults(Fault::Rejected)
    }

    pub(super) fn failed(&self) -> u64 {
        self.socket.local().faults(Fault::Failed)
    }
}

/// A socket of a server that has a `String` and a `u32` as its state.
pub(super) fn socket() -> Socket {
    let shared = Server::builder()
        .state("shared".to_owned())
        .state(7_u32)
        .into_shared()
        .unwrap();
    let (address, _) = mailbox(Box::new(|| {}));
    let outbox = Outbox::new(0, Arc::from([address]));
    let hall = Rc::new(Hall::new(0, outbox, 10, Rooms::new(Limits::default())));
    let local = Local::new(hall.clone(), Arc::new(shared));
    let namespace: Arc<str> = "/".into();
    let (key, id) = hall
        .seat(
            ConnKey {
                slot: 0,
                generation: 0,
            },
            &namespace,
        )
        .unwrap();
    let handshake = Rc::new(Handshake::new(b"GET / HTTP/1.1\r\n\r\n", None, 0));
    Socket::new(
        key,
        id,
        (&namespace, local.table(0).clone()),
        &handshake,
        b"",
        &local,
    )
}

/// The acknowledgements among the messages that were marked for this socket since the last look.
pub(super) fn answers(socket: &Socket) -> Vec<String> {
    let bytes = socket.local().hall().with_turn(|turn, _| {
        let marked = turn.take_marked();
        let bytes: Vec<u8> = marked.map_or_else(Vec::new, |marked| {
            turn.pieces(marked)
                .flat_map(|piece| piece.bytes().to_vec())
                .collect()
        });
        turn.clear();
        bytes
    });
    texts(&bytes)
        .iter()
        .filter_map(|text| answer(text))
        .collect()
}

/// The text messages in a row of unmasked frames.
fn texts(mut bytes: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while let Ok(Status::Complete(head)) = frame::decode_head(bytes) {
        let end = head.head_len + usize::try_from(head.payload_len).unwrap();
        if head.opcode == Opcode::Text {
            texts.push(String::from_utf8(bytes[head.head_len..end].to_vec()).unwrap());
        }
        bytes = &bytes[end..];
    }
    texts
}

/// `43id[…]` and `46n-id[…]` without what stands before the id.
fn answer(text: &str) -> Option<String> {
    let plain = text.strip_prefix("43").map(str::to_owned);
    plain.or_else(|| Some(text.strip_prefix("46")?.split_once('-')?.1.to_owned()))
}
