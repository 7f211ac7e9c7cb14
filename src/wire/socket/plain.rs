//! Events as clients mostly send them, found without taking the packet apart first.

use super::{ACK_ID_MAX, Limits, NameAt, PacketError, PacketType, checked_name, digits};
use crate::wire::json::{Quoted, Reader};

/// An event in the main namespace whose name is a string without escapes, written without whitespace around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlainEvent {
    pub(crate) id: Option<u64>,
    /// Where the JSON begins; it ends with the text.
    pub(crate) payload: usize,
    pub(crate) name: NameAt,
}

/// `None` is no verdict: whatever is not such an event, or is wrong, is for [`super::decode`].
#[inline]
pub(crate) fn find_plain(text: &[u8], limits: &Limits) -> Option<PlainEvent> {
    const EVENT: u8 = PacketType::Event.digit();
    let ([EVENT, ..], [.., b']']) = (text, text) else {
        return None;
    };
    let mut payload = 1;
    let id = digits(text, &mut payload, ACK_ID_MAX, PacketError::AckIdTooLarge).ok()?;
    let json = text.get(payload..)?;
    let (raw, reader) = Reader::behind_plain_name(json, limits.max_depth)?;
    let escaped = false;
    let name = checked_name(Quoted { raw, escaped }, 1, reader.position()).ok()?;
    reader.finish().ok()?;
    Some(PlainEvent { id, payload, name })
}
