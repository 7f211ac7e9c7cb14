//! Why a WebSocket ends: close codes, and the payload of a Close frame (RFC 6455 §5.5.1, §7.4).

#[cfg(test)]
mod tests;

use std::{fmt, str};

use super::frame::CONTROL_MAX;

/// Why a WebSocket was closed: the number that a Close frame carries (RFC 6455 §7.4).
///
/// The registered codes are constants of this type. Applications may send codes of their own from 3000 to 4999; those
/// from 3000 to 3999 are meant to be registered with IANA, those from 4000 on are private.
///
/// ```
/// use ringhall::CloseCode;
///
/// let code = CloseCode::new(4001);
/// assert!(code.is_sendable());
/// assert_eq!(code.to_string(), "4001");
/// assert_eq!(CloseCode::NORMAL.as_u16(), 1000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the server goes down, or the browser left the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: the message is of a kind that is not taken here, such as binary where only text is.
    pub const UNSUPPORTED: Self = Self(1003);
    /// 1005: the Close frame named no code. Never sent.
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: the connection ended without a Close frame. Never sent.
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: the content does not fit its kind, such as a text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: a rule of the application or of the server was broken, and no other code says which.
    pub const POLICY: Self = Self(1008);
    /// 1009: a message is longer than what is taken here.
    pub const TOO_BIG: Self = Self(1009);
    /// 1011: the server met an error of its own.
    pub const INTERNAL: Self = Self(1011);
    /// 1012: the server restarts; the client may connect again.
    pub const RESTART: Self = Self(1012);
    /// 1013: the server has too much to do; the client may try again later.
    pub const TRY_AGAIN: Self = Self(1013);

    /// The code with this number, whether or not it may be sent.
    ///
    /// ```
    /// assert_eq!(ringhall::CloseCode::new(1000), ringhall::CloseCode::NORMAL);
    /// ```
    pub const fn new(code: u16) -> Self {
        Self(code)
    }

    /// The code's number.
    ///
    /// ```
    /// assert_eq!(ringhall::CloseCode::NORMAL.as_u16(), 1000);
    /// ```
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// Whether a Close frame may carry this code: 1000 to 1003, 1007 to 1014, and 3000 to 4999.
    ///
    /// The others are undefined (1004, 1015 to 2999), mean that there was no code ([`NO_STATUS`](Self::NO_STATUS),
    /// [`ABNORMAL`](Self::ABNORMAL)), or lie outside the range of the protocol.
    ///
    /// ```
    /// use ringhall::CloseCode;
    ///
    /// assert!(CloseCode::GOING_AWAY.is_sendable());
    /// assert!(!CloseCode::ABNORMAL.is_sendable());
    /// assert!(!CloseCode::new(5000).is_sendable());
    /// ```
    pub const fn is_sendable(self) -> bool {
        // RFC 6455 §7.4.1 and §7.4.2; 1012 to 1014 were registered later. 1015 is for local use only.
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        Self(code)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

/// What is wrong with the payload of a Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseError {
    /// One byte: neither nothing nor a code.
    Truncated,
    /// A code that must not be sent.
    Code,
    /// The reason is not UTF-8.
    Reason,
}

/// Reads the payload of a Close frame, already unmasked. An empty one gives [`CloseCode::NO_STATUS`].
pub(crate) fn decode_payload(payload: &[u8]) -> Result<(CloseCode, &str), CloseError> {
    if payload.is_empty() {
        return Ok((CloseCode::NO_STATUS, ""));
    }
    let Some((code, reason)) = payload.split_first_chunk() else {
        return Err(CloseError::Truncated);
    };
    let code = CloseCode(u16::from_be_bytes(*code));
    if !code.is_sendable() {
        return Err(CloseError::Code);
    }
    match str::from_utf8(reason) {
        Ok(reason) => Ok((code, reason)),
        Err(_) => Err(CloseError::Reason),
    }
}

/// Writes the payload of a Close frame and returns its length. The reason is cut at the last character that fits into
/// 123 bytes. A code that must not be sent gives an empty payload, without a reason.
pub(crate) fn encode_payload(code: CloseCode, reason: &str, out: &mut [u8; CONTROL_MAX]) -> usize {
    if !code.is_sendable() {
        return 0;
    }
    let (head, tail) = out.split_at_mut(2);
    head.copy_from_slice(&code.0.to_be_bytes());
    let reason = &reason[..reason.floor_char_boundary(tail.len())];
    tail[..reason.len()].copy_from_slice(reason.as_bytes());
    2 + reason.len()
}
