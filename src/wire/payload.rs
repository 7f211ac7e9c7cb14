//! Engine.IO protocol 4: the packets of one long-polling request or response (protocol, "HTTP long-polling", "Packet encoding").
//!
//! A session that polls keeps what it has to say as the frames that a WebSocket of the server would send, because that is what an upgrade
//! does with them. Here they become a payload: packets joined by U+001E, binary ones as `b` and base64.

#[cfg(test)]
pub(crate) mod tests;

use super::Status;
use super::engine;
use super::frame::{self, Opcode};

/// What stands between two packets. JSON escapes it and base64 has no such digit, so no packet contains it.
pub(crate) const SEPARATOR: u8 = 0x1E;

/// One message of a run of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    /// A packet in its text form.
    Text(&'a [u8]),
    /// The payload of a binary frame.
    Binary(&'a [u8]),
}

/// The messages in `frames`: whole frames as a server sends them (unmasked, one for each message). Control frames are skipped: they are a
/// WebSocket's own affair. What is not such a frame ends the run.
pub(crate) fn messages(frames: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = frames;
    std::iter::from_fn(move || {
        loop {
            let (opcode, payload) = split_frame(&mut rest)?;
            match opcode {
                Opcode::Text => return Some(Message::Text(payload)),
                Opcode::Binary => return Some(Message::Binary(payload)),
                _ => {}
            }
        }
    })
}

/// Takes the first frame off `frames`.
fn split_frame<'a>(frames: &mut &'a [u8]) -> Option<(Opcode, &'a [u8])> {
    let Ok(Status::Complete(head)) = frame::decode_head(frames) else {
        return None;
    };
    // A fragment, a masked or a compressed payload means nothing to a client that polls.
    if !head.fin || head.mask.is_some() || head.rsv1 || head.opcode == Opcode::Continuation {
        return None;
    }
    let len = usize::try_from(head.payload_len).ok()?;
    let (payload, after) = frames.get(head.head_len..)?.split_at_checked(len)?;
    *frames = after;
    Some((head.opcode, payload))
}

/// Writes one payload, in as many pieces as its frames lie in.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    /// There is a packet before the next one.
    begun: bool,
}

impl Encoder {
    /// Appends the packets of `frames` ([`messages`]) to `out`, which may begin with something else.
    pub(crate) fn push(&mut self, out: &mut Vec<u8>, frames: &[u8]) {
        for message in messages(frames) {
            if self.begun {
                out.push(SEPARATOR);
            }
            self.begun = true;
            match message {
                Message::Text(packet) => out.extend_from_slice(packet),
                Message::Binary(data) => engine::encode_base64(out, data),
            }
        }
    }
}

/// The length in bytes of the payload that an [`Encoder`] makes of these runs of frames.
pub(crate) fn sized<'a>(runs: impl IntoIterator<Item = &'a [u8]>) -> usize {
    let packets = runs.into_iter().flat_map(messages).map(|message| {
        let packet = match message {
            Message::Text(packet) => packet.len(),
            Message::Binary(data) => 1 + engine::base64_len(data.len()),
        };
        packet + 1
    });
    // One separator less than packets.
    packets.sum::<usize>().saturating_sub(1)
}

/// The packets of a payload, in order, each for [`engine::decode_text`]. An empty payload, and what lies between two separators in a row, is
/// an empty packet, which is an error there.
pub(crate) fn packets(payload: &mut [u8]) -> impl Iterator<Item = &mut [u8]> {
    payload.split_mut(|byte| *byte == SEPARATOR)
}

/// The payload as text: each sequence of bytes that is no character becomes U+FFFD, which is up to three times as long. Valid text, and that
/// is nearly all there is, is not copied.
///
/// To be done before the payload is split, since a session ends for a bad packet and not for a bad byte (as Engine.IO for Node has it).
pub(crate) fn to_utf8_lossy(payload: Vec<u8>) -> Vec<u8> {
    match String::from_utf8(payload) {
        Ok(text) => text.into_bytes(),
        Err(error) => String::from_utf8_lossy(error.as_bytes())
            .into_owned()
            .into_bytes(),
    }
}
