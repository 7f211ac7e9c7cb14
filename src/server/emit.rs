//! From an event and its arguments to the text that goes out.

use std::cell::Cell;
use std::fmt;

use bytes::Bytes;
use serde::Serialize;

use super::arguments::{self, EncodeError};
use super::binary::Payload;
use crate::proto::websocket::Kind;
use crate::room::turn::SHARED_MIN;
use crate::shard::hall::Outgoing;
use crate::shard::recovery::offset::Offset;
use crate::wire::engine;
use crate::wire::json::{Decimal, JsonError};
use crate::wire::msgpack::{self, Packed};
use crate::wire::parser::Parser;
use crate::wire::socket::{self, PacketType, is_reserved};

/// Why an event was not sent.
///
/// ```
/// # fn f(socket: &ringhall::Socket) {
/// let error = socket.try_emit("connect", ()).unwrap_err();
/// assert!(error.to_string().contains("reserved"));
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum EmitError {
    /// Socket.IO keeps this event name for itself.
    Reserved,
    /// The arguments cannot be written as JSON.
    Encode(EncodeError),
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EmitError::Reserved => f.write_str("the name is reserved by Socket.IO (connect, connect_error, disconnect, disconnecting, newListener, removeListener)"),
            EmitError::Encode(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for EmitError {}

/// For emits that return no error: it is the program's mistake, so it is told to the log.
pub(crate) fn or_log(event: &str, sent: Result<(), EmitError>) {
    if let Err(error) = sent {
        log::error!("event {event:?} was not sent: {error}");
    }
}

thread_local! {
    /// The text of the packet being built. Kept, so that an emit allocates nothing once it has grown.
    static TEXT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// The arguments being encoded, before their attachments are counted.
    static ARGUMENTS: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// The packet in the form of the other parser, made of its text.
    static PACKED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Larger scratch vectors are given back.
const SCRATCH_MAX: usize = 256 * 1024;

fn with_scratch<T>(
    scratch: &'static std::thread::LocalKey<Cell<Vec<u8>>>,
    act: impl FnOnce(&mut Vec<u8>) -> T,
) -> T {
    // Taken, not borrowed: a user's `Serialize` may emit in the middle, and then simply gets an empty one.
    let mut bytes = scratch.take();
    bytes.clear();
    let result = act(&mut bytes);
    if bytes.capacity() <= SCRATCH_MAX {
        scratch.set(bytes);
    }
    result
}

/// Builds an EVENT (or BINARY_EVENT) and lends it to `act`.
pub(crate) fn with_event<T: Serialize + ?Sized>(
    form: impl Into<Form>,
    namespace: &str,
    event: &str,
    ack: Option<u64>,
    args: &T,
    act: impl FnOnce(Outgoing<'_>),
) -> Result<(), EmitError> {
    if is_reserved(event) {
        return Err(EmitError::Reserved);
    }
    with_scratch(&ARGUMENTS, |json| {
        let mut attachments = Vec::new();
        arguments::encode(args, json, &mut attachments)?;
        let head = Head {
            kind: PacketType::Event,
            namespace,
            id: ack,
        };
        with_packet(form.into(), head, Some(event), json, &attachments, act)
    })
}

/// Builds an EVENT from arguments that were never parsed, and lends it to `act`.
pub(crate) fn with_payload(
    form: impl Into<Form>,
    namespace: &str,
    event: &str,
    ack: Option<u64>,
    payload: &Payload,
    act: impl FnOnce(Outgoing<'_>),
) -> Result<(), EmitError> {
    if is_reserved(event) {
        return Err(EmitError::Reserved);
    }
    let list = payload.list();
    let head = Head {
        kind: PacketType::Event,
        namespace,
        id: ack,
    };
    let attachments = payload.attachments();
    with_packet(form.into(), head, Some(event), list, attachments, act)
}

/// Builds an ACK (or BINARY_ACK) and lends it to `act`. `json` is an argument list without brackets.
pub(crate) fn with_ack(
    parser: Parser,
    namespace: &str,
    id: u64,
    json: &[u8],
    attachments: &[Bytes],
    act: impl FnOnce(Outgoing<'_>),
) -> Result<(), EmitError> {
    let head = Head {
        kind: PacketType::Ack,
        namespace,
        id: Some(id),
    };
    with_packet(parser.into(), head, None, json, attachments, act)
}

/// How a packet is written.
#[derive(Clone, Copy)]
pub(crate) struct Form {
    pub(crate) parser: Parser,
    /// Its last argument, if it can be recovered (Socket.IO protocol, "Connection state recovery": events without an ack id that are not
    /// volatile).
    pub(crate) offset: Option<Offset>,
}

impl From<Parser> for Form {
    fn from(parser: Parser) -> Self {
        Form {
            parser,
            offset: None,
        }
    }
}

/// An ACK as the default parser writes it: short, and without attachments. Answers are what a server says most often, after broadcasts, so
/// this one is written where it is sent from, and not copied.
pub(crate) struct PlainAck<'a> {
    namespace: &'a str,
    id: Decimal,
    list: &'a [u8],
}

impl<'a> PlainAck<'a> {
    /// `None` where it is none of these, and [`with_ack`] is the way. `list` is an argument list without brackets.
    #[inline]
    pub(crate) fn new(
        parser: Parser,
        namespace: &'a str,
        id: u64,
        list: &'a [u8],
        attachments: &[Bytes],
    ) -> Option<Self> {
        let short = namespace.len() + list.len() < SHARED_MIN - 64;
        (parser == Parser::Default && attachments.is_empty() && short).then(|| Self {
            namespace: if namespace == socket::MAIN_NAMESPACE {
                ""
            } else {
                namespace
            },
            id: Decimal::new(id),
            list,
        })
    }

    /// Its length in bytes.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        let comma = usize::from(!self.namespace.is_empty());
        4 + self.namespace.len() + comma + self.id.len() + self.list.len()
    }

    /// Appends it.
    #[inline]
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[engine::MESSAGE, PacketType::Ack.digit()]);
        if !self.namespace.is_empty() {
            out.extend_from_slice(self.namespace.as_bytes());
            out.push(b',');
        }
        out.extend_from_slice(&self.id);
        out.push(b'[');
        out.extend_from_slice(self.list);
        out.push(b']');
    }
}

/// What stands before the arguments.
struct Head<'a> {
    /// Event or ack.
    kind: PacketType,
    namespace: &'a str,
    id: Option<u64>,
}

fn with_packet(
    form: Form,
    head: Head<'_>,
    event: Option<&str>,
    list: &[u8],
    attachments: &[Bytes],
    act: impl FnOnce(Outgoing<'_>),
) -> Result<(), EmitError> {
    with_scratch(&TEXT, |text| {
        let offset = form.offset;
        if form.parser == Parser::MsgPack {
            write_list(text, event, list, offset);
            return with_scratch(&PACKED, |packed| {
                let packet = Packed {
                    kind: head.kind,
                    namespace: head.namespace,
                    id: head.id,
                    json: text,
                    attachments,
                };
                msgpack::encode(packed, &packet).map_err(unfit)?;
                act(Outgoing {
                    kind: Kind::Binary,
                    body: packed,
                    attachments: &[],
                    offset,
                });
                Ok(())
            });
        }
        let kind = match head.kind {
            kind if attachments.is_empty() => kind,
            PacketType::Event => PacketType::BinaryEvent,
            _ => PacketType::BinaryAck,
        };
        text.push(engine::MESSAGE);
        socket::encode_head(text, kind, attachments.len(), head.namespace, head.id);
        write_list(text, event, list, offset);
        act(Outgoing {
            kind: Kind::Text,
            body: text,
            attachments,
            offset,
        });
        Ok(())
    })
}

/// Writes the arguments, behind the event's name if there is one, and before its offset.
fn write_list(text: &mut Vec<u8>, event: Option<&str>, list: &[u8], offset: Option<Offset>) {
    text.push(b'[');
    if let Some(event) = event {
        socket::write_json_string(text, event);
        if !list.is_empty() {
            text.push(b',');
        }
    }
    text.extend_from_slice(list);
    if let Some(offset) = offset {
        text.extend_from_slice(b",\"");
        offset.write(text);
        text.push(b'"');
    }
    text.push(b']');
}

/// Arguments that the default parser would have sent.
#[cold]
fn unfit(error: JsonError) -> EmitError {
    EmitError::Encode(EncodeError::custom(match error {
        JsonError::TooDeep => "nested deeper than 127 levels, which is the most with this parser",
        JsonError::Syntax => "not JSON",
    }))
}
