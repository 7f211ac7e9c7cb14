//! Events as clients mostly send them, found without taking the packet apart first.

use super::reserved::is_reserved_name;
use super::{ACK_ID_MAX, Limits, NameAt, PacketError, PacketType, digits};
use crate::wire::json::{JsonError, Quoted, Reader, plain_prefix};

/// An event in the main namespace whose name is a string without escapes, written without whitespace around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlainEvent {
    pub(crate) id: Option<u64>,
    /// Where the JSON begins; it ends with the text.
    pub(crate) payload: usize,
    pub(crate) name: NameAt,
}

/// `None` is no verdict: whatever is not such an event, or is wrong, is for [`super::decode`].
// What these functions return is a few words that are used at once. Moved through memory they would cost more than is done with them,
// since what was stored word by word is not to be had at once in one piece.
#[inline(always)]
pub(crate) fn find_plain(text: &[u8], limits: &Limits) -> Option<PlainEvent> {
    const EVENT: u8 = PacketType::Event.digit();
    let ([EVENT, ..], [.., b']']) = (text, text) else {
        return None;
    };
    let mut payload = 1;
    let id = digits(text, &mut payload, ACK_ID_MAX, PacketError::AckIdTooLarge).ok()?;
    let json = text.get(payload..)?;
    let name = find_plain_name(json)?;
    if check_behind(json, &name, limits).is_err() {
        return None;
    }
    Some(PlainEvent { id, payload, name })
}

/// Where the name of an event is, if that is a string without escapes, directly behind the bracket, and may be a name.
#[inline(always)]
pub(super) fn find_plain_name(json: &[u8]) -> Option<NameAt> {
    let rest = json.strip_prefix(b"[\"")?;
    let length = plain_prefix(rest);
    let (Some(raw), Some(b'"')) = (rest.get(..length), rest.get(length)) else {
        return None;
    };
    let escaped = false;
    if is_reserved_name(&Quoted { raw, escaped }) {
        return None;
    }
    if !raw.is_ascii() && str::from_utf8(raw).is_err() {
        return None;
    }
    let (start, end) = (2, 2 + length);
    Some(NameAt {
        start,
        end,
        behind: end + 1,
        escaped,
    })
}

/// Checks what stands behind the name.
#[inline]
pub(super) fn check_behind(json: &[u8], name: &NameAt, limits: &Limits) -> Result<(), JsonError> {
    if limits.max_depth == 0 {
        return Err(JsonError::TooDeep);
    }
    Reader::behind_first_item(json, name.behind, limits.max_depth).finish()
}
