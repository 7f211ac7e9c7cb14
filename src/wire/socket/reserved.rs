//! Names that no event may have.

use crate::wire::json::Quoted;

/// Is this a name that no event may have?
pub(crate) fn is_reserved(event: &str) -> bool {
    RESERVED_EVENTS.contains(&event)
}

/// Event names that the libraries use for their own purposes. No client emits them.
pub(super) const RESERVED_EVENTS: [&str; 6] = [
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "newListener",
    "removeListener",
];

/// As [`is_reserved`], of a name as written.
#[inline]
pub(super) fn is_reserved_name(name: &Quoted<'_>) -> bool {
    if name.escaped {
        return RESERVED_EVENTS.iter().any(|reserved| name.is(reserved));
    }
    // Nearly always settled by the length, which the compiler makes one table of.
    matches!(
        name.raw,
        b"connect"
            | b"connect_error"
            | b"disconnect"
            | b"disconnecting"
            | b"newListener"
            | b"removeListener"
    )
}
