//! How packets lie in the body of a poll's answer, or of a POST: one form in revision 4 of the protocol, two in revision 3.

use crate::proto::session::Revision;
use crate::shard::outbound::Outbound;
use crate::wire::{payload, payload3};

/// What a session's client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) revision: Revision,
    /// No binary bodies (`b64=1`; revision 3 alone has them).
    pub(super) base64_only: bool,
}

/// One packet of a body.
pub(super) enum Piece<'a> {
    Text(&'a mut [u8]),
    Binary(&'a [u8]),
    /// No packet: nothing after it can be read.
    Broken,
}

/// The body of an answer, of WebSocket frames as they wait; and whether it is binary.
pub(super) fn encode(form: Form, waiting: &[&[u8]]) -> (Vec<u8>, bool) {
    let runs = || waiting.iter().copied();
    match form.revision {
        Revision::V4 => {
            let mut body = Vec::with_capacity(payload::sized(runs()));
            let mut encoder = payload::Encoder::default();
            for frames in runs() {
                encoder.push(&mut body, frames);
            }
            (body, false)
        }
        Revision::V3 => {
            let form = payload3::Form::of(runs(), form.base64_only);
            let mut body = Vec::with_capacity(payload3::sized(runs(), form));
            for frames in runs() {
                payload3::encode(&mut body, frames, form);
            }
            (body, form == payload3::Form::Binary)
        }
    }
}

/// As [`encode`], of all that waits.
pub(super) fn encode_all(form: Form, outbound: &mut Outbound) -> (Vec<u8>, bool) {
    let buffers: Vec<_> = std::iter::from_fn(|| outbound.pop()).collect();
    let runs: Vec<&[u8]> = buffers.iter().map(|buffer| buffer.bytes()).collect();
    encode(form, &runs)
}

/// Gives the packets of a POST's body to `act`, one after the other, until it returns something.
pub(super) fn decode<T>(
    revision: Revision,
    body: Vec<u8>,
    is_binary: bool,
    mut act: impl FnMut(Piece<'_>) -> Option<T>,
) -> Option<T> {
    match revision {
        Revision::V4 => {
            let mut body = payload::to_utf8_lossy(body);
            payload::packets(&mut body).find_map(|text| act(Piece::Text(text)))
        }
        Revision::V3 => {
            let (mut body, form) = if is_binary {
                (body, payload3::Form::Binary)
            } else {
                (payload::to_utf8_lossy(body), payload3::Form::Text)
            };
            payload3::packets(&mut body, form).find_map(|packet| match packet {
                Ok(payload3::Packet::Text(text)) => act(Piece::Text(text)),
                Ok(payload3::Packet::Binary(bytes)) => act(Piece::Binary(bytes)),
                Ok(payload3::Packet::Base64(text)) => {
                    act(Piece::Binary(&crate::wire::engine::decode_base64(text)))
                }
                Err(_) => act(Piece::Broken),
            })
        }
    }
}
