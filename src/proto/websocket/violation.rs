//! What a peer can do wrong, and what it is told.

use crate::wire::close::{CloseCode, CloseError};
use crate::wire::frame::FrameError;

/// The rule that the peer broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// A frame's head (RFC 6455 §5.2, §5.5).
    Frame(FrameError),
    /// The payload of a Close frame (RFC 6455 §5.5.1, §7.4).
    Close(CloseError),
    /// A client's frame must be masked (RFC 6455 §5.1).
    NotMasked,
    /// A server's frame must not be masked (RFC 6455 §5.1).
    Masked,
    /// A continuation frame where no message is unfinished (RFC 6455 §5.4).
    ContinuationOfNothing,
    /// A new message where the last one is unfinished (RFC 6455 §5.4).
    MessageInsideMessage,
    /// A text message that is not UTF-8 (RFC 6455 §8.1).
    TextNotUtf8,
    /// A message longer than the limit, by its declared length or as the sum of its fragments.
    MessageTooBig,
    /// A message with more empty fragments than the limit.
    EmptyFragments,
}

impl Violation {
    /// The code of the Close frame that answers it (RFC 6455 §7.4.1).
    pub(crate) fn close_code(self) -> CloseCode {
        match self {
            Violation::Frame(_)
            | Violation::Close(CloseError::Truncated | CloseError::Code)
            | Violation::NotMasked
            | Violation::Masked
            | Violation::ContinuationOfNothing
            | Violation::MessageInsideMessage => CloseCode::PROTOCOL_ERROR,
            Violation::Close(CloseError::Reason) | Violation::TextNotUtf8 => {
                CloseCode::INVALID_PAYLOAD
            }
            Violation::MessageTooBig => CloseCode::TOO_BIG,
            Violation::EmptyFragments => CloseCode::POLICY,
        }
    }

    /// What the peer's author reads in that Close frame.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Violation::Frame(FrameError::ReservedBits) => "reserved bit set",
            Violation::Frame(FrameError::ReservedOpcode) => "reserved opcode",
            Violation::Frame(FrameError::ControlTooLong) => "control frame longer than 125 bytes",
            Violation::Frame(FrameError::ControlFragmented) => "fragmented control frame",
            Violation::Frame(FrameError::LengthNotMinimal) => "length not minimally encoded",
            Violation::Frame(FrameError::LengthTooLarge) => "length of 2^63 or more",
            Violation::Close(CloseError::Truncated) => "close payload of one byte",
            Violation::Close(CloseError::Code) => "close code not allowed",
            Violation::Close(CloseError::Reason) => "close reason is not UTF-8",
            Violation::NotMasked => "frame is not masked",
            Violation::Masked => "frame is masked",
            Violation::ContinuationOfNothing => "continuation without a message",
            Violation::MessageInsideMessage => "new message before the last one ended",
            Violation::TextNotUtf8 => "text is not UTF-8",
            Violation::MessageTooBig => "message too big",
            Violation::EmptyFragments => "too many empty fragments",
        }
    }
}
