//! Parts of a server without a ring: an event for the tests of handlers and extractors, and cores for the simulation.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::arguments::Args;
use super::counters::Count;
use super::extract::EventContext;
pub(crate) use super::local::Local;
use super::socket::Socket;
use super::{Builder, Handshake, Server};
use crate::reactor::ConnKey;
use crate::room::{Limits, Rooms};
use crate::shard::hall::Hall;
use crate::shard::mail::Mail;
use crate::shard::mailbox::{Address, Mailbox, Outbox, mailbox};
use crate::shard::settings::Settings;
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
        self.socket.local().counted(Count::Rejected)
    }

    pub(super) fn failed(&self) -> u64 {
        self.socket.local().counted(Count::Failed)
    }
}

/// A socket of a server that has a `String` and a `u32` as its state.
pub(super) fn socket() -> Socket {
    let shared = Server::builder()
        .state("shared".to_owned())
        .state(7_u32)
        .into_shared()
        .unwrap();
    let (address, _) = mailbox(Arc::new(|| {}));
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
    let handshake = Rc::new(Handshake::new(
        b"GET / HTTP/1.1\r\n\r\n",
        crate::shard::handshake::Via::default(),
        0,
    ));
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

/// What a shard of a real server is made of, but for its reactor.
pub(crate) struct CoreParts {
    pub(crate) hall: Rc<Hall>,
    pub(crate) local: Rc<Local>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) mailbox: Mailbox<Mail>,
}

/// As `start` does it, without threads: all cores of the server described, one for each mailbox.
pub(crate) fn cores(
    builder: Builder,
    mailboxes: Vec<(Address<Mail>, Mailbox<Mail>)>,
) -> (Server, Vec<CoreParts>) {
    let shared = Arc::new(builder.into_shared().unwrap());
    let (addresses, mailboxes): (Vec<_>, Vec<_>) = mailboxes.into_iter().unzip();
    let addresses: Arc<[_]> = addresses.into();
    shared.set_addresses(addresses.clone());
    let settings = Arc::new(shared.settings.clone());
    let parts = mailboxes.into_iter().enumerate().map(|(core, mailbox)| {
        let outbox = Outbox::new(core, addresses.clone());
        let rooms = Rooms::new(Limits::default());
        let hall = Rc::new(Hall::new(core, outbox, settings.sockets_max(), rooms));
        CoreParts {
            local: Local::new(hall.clone(), shared.clone()),
            hall,
            settings: settings.clone(),
            mailbox,
        }
    });
    let parts = parts.collect();
    (Server::of_shared(&shared), parts)
}

/// Handlers that panicked on this thread: their panics are caught, and a test would not notice.
pub(crate) fn panics() -> u64 {
    super::task::PANICS.with(std::cell::Cell::get)
}

/// The events that were refused or whose handler failed on a core.
pub(crate) fn fault_count(local: &Local) -> u64 {
    local.counted(Count::Rejected) + local.counted(Count::Failed)
}

/// [`Server::shutdown`] for one core alone.
pub(crate) fn shut_down(server: &Server, core: usize) {
    server.shared.addresses()[core].post_blocking(Mail::Shutdown);
}
