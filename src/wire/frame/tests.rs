use super::*;
use crate::wire::xorshift::Xorshift;

fn complete(bytes: &[u8]) -> Head {
    match decode_head(bytes) {
        Ok(Status::Complete(head)) => head,
        other => panic!("{bytes:x?}: {other:?}"),
    }
}

#[test]
fn decodes_the_examples_of_the_rfc() {
    let head = |fin, opcode, mask, payload_len, head_len| Head {
        fin,
        opcode,
        mask,
        payload_len,
        head_len,
        rsv1: false,
    };
    let mask = Some([0x37, 0xFA, 0x21, 0x3D]);
    // RFC 6455 §5.7.
    let examples: &[(&[u8], Head)] = &[
        (b"\x81\x05Hello", head(true, Opcode::Text, None, 5, 2)),
        (
            b"\x81\x85\x37\xFA\x21\x3D\x7F\x9F\x4D\x51\x58",
            head(true, Opcode::Text, mask, 5, 6),
        ),
        (b"\x01\x03Hel", head(false, Opcode::Text, None, 3, 2)),
        (b"\x80\x02lo", head(true, Opcode::Continuation, None, 2, 2)),
        (b"\x89\x05Hello", head(true, Opcode::Ping, None, 5, 2)),
        (
            b"\x8A\x85\x37\xFA\x21\x3D\x7F\x9F\x4D\x51\x58",
            head(true, Opcode::Pong, mask, 5, 6),
        ),
        (
            b"\x82\x7E\x01\x00",
            head(true, Opcode::Binary, None, 256, 4),
        ),
        (
            b"\x82\x7F\x00\x00\x00\x00\x00\x01\x00\x00",
            head(true, Opcode::Binary, None, 65_536, 10),
        ),
    ];
    for (bytes, expected) in examples {
        assert_eq!(complete(bytes), *expected);
        for cut in 0..expected.head_len {
            assert_eq!(
                decode_head(&bytes[..cut]),
                Ok(Status::Partial),
                "{bytes:x?} cut at {cut}"
            );
        }
    }
}

#[test]
fn errors_come_with_the_byte_that_settles_them() {
    let table: &[(&[u8], FrameError)] = &[
        (b"\xA1", FrameError::ReservedBits),
        (b"\x91", FrameError::ReservedBits),
        (b"\xC0", FrameError::ReservedBits),
        (b"\xC8", FrameError::ReservedBits),
        (b"\xC9", FrameError::ReservedBits),
        (b"\xCA", FrameError::ReservedBits),
        (b"\x83", FrameError::ReservedOpcode),
        (b"\x84", FrameError::ReservedOpcode),
        (b"\x85", FrameError::ReservedOpcode),
        (b"\x86", FrameError::ReservedOpcode),
        (b"\x87", FrameError::ReservedOpcode),
        (b"\x8B", FrameError::ReservedOpcode),
        (b"\x8C", FrameError::ReservedOpcode),
        (b"\x0D", FrameError::ReservedOpcode),
        (b"\x8E", FrameError::ReservedOpcode),
        (b"\x8F", FrameError::ReservedOpcode),
        (b"\x08", FrameError::ControlFragmented),
        (b"\x09", FrameError::ControlFragmented),
        (b"\x0A", FrameError::ControlFragmented),
        (b"\x88\x7E", FrameError::ControlTooLong),
        (b"\x89\xFE", FrameError::ControlTooLong),
        (b"\x8A\xFF", FrameError::ControlTooLong),
        (b"\x81\xFE\x00\x7D", FrameError::LengthNotMinimal),
        (b"\x81\x7E\x00\x00", FrameError::LengthNotMinimal),
        (
            b"\x82\x7F\x00\x00\x00\x00\x00\x00",
            FrameError::LengthNotMinimal,
        ),
        (b"\x82\xFF\x80", FrameError::LengthTooLarge),
        (b"\x82\xFF\xFF", FrameError::LengthTooLarge),
    ];
    for (bytes, error) in table {
        assert_eq!(decode_head(bytes), Err(*error), "{bytes:x?}");
        let before = &bytes[..bytes.len() - 1];
        assert_eq!(
            decode_head(before),
            Ok(Status::Partial),
            "{bytes:x?}: one byte earlier nothing is settled"
        );
        // Whatever follows, the error stays the same.
        let longer = [bytes, &[0xFF; 16][..]].concat();
        assert_eq!(decode_head(&longer), Err(*error), "{longer:x?}");
    }
}

#[test]
fn rsv1_is_told_on_the_first_frame_of_a_message() {
    assert!(complete(b"\xC1\x00").rsv1);
    assert!(complete(b"\x42\x00").rsv1);
    assert!(!complete(b"\x81\x00").rsv1);
}

#[test]
fn every_length_is_encoded_minimally_and_read_back() {
    let lengths = (0..130).chain([
        65_534,
        65_535,
        65_536,
        65_537,
        1 << 20,
        1 << 31,
        1 << 32,
        i64::MAX as usize,
    ]);
    for len in lengths {
        for opcode in [Opcode::Continuation, Opcode::Text, Opcode::Binary] {
            for fin in [false, true] {
                let plain = encode_head(opcode, fin, len);
                let expected_len = if len < 126 {
                    2
                } else if len < 65_536 {
                    4
                } else {
                    10
                };
                assert_eq!(plain.len(), expected_len);
                let head = complete(&plain);
                assert_eq!(
                    (head.opcode, head.fin, head.payload_len),
                    (opcode, fin, len as u64)
                );
                assert_eq!((head.mask, head.head_len), (None, expected_len));

                let masked = encode_masked_head(opcode, fin, len, [1, 2, 3, 4]);
                let head = complete(&masked);
                assert_eq!(
                    (head.opcode, head.fin, head.payload_len),
                    (opcode, fin, len as u64)
                );
                assert_eq!(
                    (head.mask, head.head_len),
                    (Some([1, 2, 3, 4]), expected_len + 4)
                );
            }
        }
    }
}

/// Whatever the bytes: no panic, a head lies within them, more bytes never change an answer, and a head
/// that was accepted is the encoding of what it says.
pub(crate) fn fuzz_head(bytes: &[u8]) {
    let answer = decode_head(bytes);
    for cut in 0..bytes.len() {
        let shorter = decode_head(&bytes[..cut]);
        assert!(
            shorter == answer || shorter == Ok(Status::Partial),
            "{bytes:x?} cut at {cut}"
        );
    }
    let Ok(Status::Complete(head)) = answer else {
        return;
    };
    assert!(head.head_len <= bytes.len().min(HEAD_MAX));
    let mut again = encode(head.opcode, head.fin, head.payload_len as usize, head.mask).to_vec();
    again[0] |= if head.rsv1 { RSV1 } else { 0 };
    assert_eq!(again, bytes[..head.head_len]);
}

#[test]
fn arbitrary_heads_hold_the_rules() {
    for seed in 0..20_000 {
        let mut random = Xorshift::new(seed);
        let len = random.below(18);
        let mut bytes = random.bytes(len);
        // Half of the heads get a first byte that is allowed, so that the lengths are reached.
        if let (Some(first), 0) = (bytes.first_mut(), seed % 2) {
            *first = [0x81, 0x02, 0x80, 0x88, 0x89, 0x8A][seed as usize / 2 % 6];
        }
        let result = std::panic::catch_unwind(|| fuzz_head(&bytes));
        assert!(result.is_ok(), "seed {seed}: {bytes:x?}");
    }
}

#[test]
fn heads_are_appended_as_they_are_encoded() {
    for opcode in [Opcode::Text, Opcode::Binary] {
        for len in [0, 1, 125, 126, 127, 256, 0xFFFF, 0x1_0000, 1 << 40] {
            let mut out = b"before".to_vec();
            append_head(&mut out, opcode, len);
            assert_eq!(out[6..], *encode_head(opcode, true, len), "{len}");
        }
    }
}
