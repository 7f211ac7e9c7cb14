//! From an event and its arguments to the text that goes out.

use std::cell::Cell;
use std::fmt;

use bytes::Bytes;
use serde::Serialize;

use super::arguments::{self, EncodeError};
use super::binary::Payload;
use crate::wire::engine;
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
    namespace: &str,
    event: &str,
    ack: Option<u64>,
    args: &T,
    act: impl FnOnce(&[u8], &[Bytes]),
) -> Result<(), EmitError> {
    if is_reserved(event) {
        return Err(EmitError::Reserved);
    }
    with_scratch(&ARGUMENTS, |json| {
        let mut attachments = Vec::new();
        arguments::encode(args, json, &mut attachments)?;
        with_scratch(&TEXT, |text| {
            write_event(text, namespace, event, ack, json, attachments.len());
            act(text, &attachments);
        });
        Ok(())
    })
}

/// Builds an EVENT from arguments that were never parsed, and lends it to `act`.
pub(crate) fn with_payload(
    namespace: &str,
    event: &str,
    ack: Option<u64>,
    payload: &Payload,
    act: impl FnOnce(&[u8], &[Bytes]),
) -> Result<(), EmitError> {
    if is_reserved(event) {
        return Err(EmitError::Reserved);
    }
    let list = payload.list().as_bytes();
    with_scratch(&TEXT, |text| {
        write_event(
            text,
            namespace,
            event,
            ack,
            list,
            payload.attachments().len(),
        );
        act(text, payload.attachments());
    });
    Ok(())
}

/// Builds an ACK (or BINARY_ACK) and lends it to `act`. `json` is an argument list without brackets.
pub(crate) fn with_ack(
    namespace: &str,
    id: u64,
    json: &[u8],
    attachments: &[Bytes],
    act: impl FnOnce(&[u8]),
) {
    let kind = if attachments.is_empty() {
        PacketType::Ack
    } else {
        PacketType::BinaryAck
    };
    with_scratch(&TEXT, |text| {
        text.push(engine::MESSAGE);
        socket::encode_head(text, kind, attachments.len(), namespace, Some(id));
        text.push(b'[');
        text.extend_from_slice(json);
        text.push(b']');
        act(text);
    });
}

fn write_event(
    text: &mut Vec<u8>,
    namespace: &str,
    event: &str,
    ack: Option<u64>,
    list: &[u8],
    attachments: usize,
) {
    let kind = if attachments == 0 {
        PacketType::Event
    } else {
        PacketType::BinaryEvent
    };
    text.push(engine::MESSAGE);
    socket::encode_head(text, kind, attachments, namespace, ack);
    text.push(b'[');
    socket::write_json_string(text, event);
    if !list.is_empty() {
        text.push(b',');
        text.extend_from_slice(list);
    }
    text.push(b']');
}
