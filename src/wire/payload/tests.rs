use proptest::prelude::*;

use super::*;
use crate::wire::xorshift::Xorshift;

/// One frame of a server.
pub(crate) fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = frame::encode_head(opcode, true, payload.len()).to_vec();
    frame.extend_from_slice(payload);
    frame
}

/// Frames of text (`true`) and binary messages.
pub(crate) fn frames(messages: &[(bool, Vec<u8>)]) -> Vec<u8> {
    let opcode = |text: &bool| if *text { Opcode::Text } else { Opcode::Binary };
    messages
        .iter()
        .flat_map(|(text, payload)| frame(opcode(text), payload))
        .collect()
}

fn encode(runs: &[&[u8]]) -> Vec<u8> {
    let (mut out, mut encoder) = (Vec::new(), Encoder::default());
    for run in runs {
        encoder.push(&mut out, run);
    }
    assert_eq!(sized(runs.iter().copied()), out.len(), "{runs:x?}");
    out
}

#[test]
fn a_payload_is_what_the_protocol_says() {
    let text = |packet: &str| frame(Opcode::Text, packet.as_bytes());
    let binary = |data: &[u8]| frame(Opcode::Binary, data);
    let table: &[(&[Vec<u8>], &str)] = &[
        (&[], ""),
        (&[text("4hello")], "4hello"),
        (
            &[text("4hello"), binary(&[1, 2, 3, 4])],
            "4hello\u{1e}bAQIDBA==",
        ),
        (
            &[text("4hello"), text("2"), text("4world")],
            "4hello\u{1e}2\u{1e}4world",
        ),
        (&[binary(b""), text("4€")], "b\u{1e}4€"),
        (&[binary(&[0xFB, 0xFF, 0xBF])], "b+/+/"),
        (&[binary(b"ab"), binary(b"abc")], "bYWI=\u{1e}bYWJj"),
        (
            &[text(&"x".repeat(126)), text("6")],
            &format!("{}\u{1e}6", "x".repeat(126)),
        ),
        (&[text(&"x".repeat(70_000))], &"x".repeat(70_000)),
        // The WebSocket's own frames are not for a client that polls.
        (&[frame(Opcode::Ping, b"p")], ""),
        (
            &[
                frame(Opcode::Ping, b"p"),
                text("41"),
                frame(Opcode::Pong, b""),
                text("42"),
                frame(Opcode::Close, b"\x03\xE8"),
            ],
            "41\u{1e}42",
        ),
    ];
    for (frames, expected) in table {
        let run = frames.concat();
        assert_eq!(encode(&[&run]), expected.as_bytes(), "at once");
        let runs: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        assert_eq!(encode(&runs), expected.as_bytes(), "frame by frame");
        let with_empty_runs: Vec<&[u8]> = runs.iter().flat_map(|run| [b"", *run, b""]).collect();
        assert_eq!(encode(&with_empty_runs), expected.as_bytes());
    }
}

#[test]
fn what_was_in_the_buffer_before_is_not_a_packet() {
    let mut out = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    Encoder::default().push(&mut out, &frame(Opcode::Text, b"2"));
    assert_eq!(out, b"HTTP/1.1 200 OK\r\n\r\n2");
}

#[test]
fn what_no_server_keeps_ends_the_run() {
    let good = frame(Opcode::Text, b"41");
    for bad in [
        &b"\x01\x0242"[..],
        b"\x80\x0242",
        b"\xC1\x0242",
        b"\x81\x82\0\0\0\x0042",
        b"\x83\x00",
        b"\x81\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
        b"\x81\x7F\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
    ] {
        assert_eq!(encode(&[&[&good, bad, &good].concat()]), b"41", "{bad:x?}");
    }
    for cut in 1..good.len() {
        assert_eq!(encode(&[&[&good, &good[..cut]].concat()]), b"41");
    }
}

#[test]
fn a_payload_is_split_at_every_separator() {
    let table: &[(&[u8], &[&[u8]])] = &[
        (b"", &[b""]),
        (b"4a", &[b"4a"]),
        (b"4a\x1e2", &[b"4a", b"2"]),
        (b"4a\x1ebAQIDBA==\x1e6", &[b"4a", b"bAQIDBA==", b"6"]),
        (b"\x1e", &[b"", b""]),
        (b"4a\x1e", &[b"4a", b""]),
        (b"\x1e4a", &[b"", b"4a"]),
        (b"4a\x1e\x1e4b", &[b"4a", b"", b"4b"]),
    ];
    for (payload, expected) in table {
        let mut payload = payload.to_vec();
        let found: Vec<&[u8]> = packets(&mut payload).map(|packet| &*packet).collect();
        assert_eq!(found, *expected);
    }
}

/// The expected texts are what `Buffer.toString("utf8")` of Node 20 gives.
#[test]
fn bytes_that_are_no_text_are_replaced() {
    let table: &[(&[u8], &str)] = &[
        (b"", ""),
        (b"4plain", "4plain"),
        ("4é😀".as_bytes(), "4é😀"),
        (b"4\xFF", "4\u{FFFD}"),
        (b"4\xC3", "4\u{FFFD}"),
        (b"4\xC3(", "4\u{FFFD}("),
        (b"4\xE2\x82\x1e4a", "4\u{FFFD}\u{1e}4a"),
        (b"4\xF0\x9F\x98x", "4\u{FFFD}x"),
        (b"4\xED\xA0\x80", "4\u{FFFD}\u{FFFD}\u{FFFD}"),
        (b"4\xC0\xAF", "4\u{FFFD}\u{FFFD}"),
        (b"\xEF\xBB\xBF4a", "\u{FEFF}4a"),
    ];
    for (payload, expected) in table {
        assert_eq!(to_utf8_lossy(payload.to_vec()), expected.as_bytes());
    }
}

#[test]
fn valid_text_is_not_copied() {
    let payload = "4é😀".repeat(100).into_bytes();
    let at = payload.as_ptr();
    let text = to_utf8_lossy(payload);
    assert_eq!(text.as_ptr(), at);
}

/// Whatever the bytes: no panic, nothing lost between the packets, and the size foretold is the size written.
pub(crate) fn fuzz_payload(bytes: &[u8]) {
    let (mut out, mut encoder) = (Vec::new(), Encoder::default());
    encoder.push(&mut out, bytes);
    assert_eq!(out.len(), sized([bytes]));

    let text = to_utf8_lossy(bytes.to_vec());
    assert!(text.len() <= 3 * bytes.len());
    let mut payload = text.clone();
    let found: Vec<Vec<u8>> = packets(&mut payload)
        .map(|packet| packet.to_vec())
        .collect();
    assert_eq!(found.join(&SEPARATOR), text);
    for packet in packets(&mut payload) {
        if let Ok(engine::Packet::Binary(base64)) = engine::decode_text(packet) {
            engine::decode_base64(base64);
        }
    }
}

#[test]
fn damaged_payloads_hold_the_rules_at_every_cut() {
    for seed in 0..500 {
        let mut random = Xorshift::new(seed);
        let mut bytes = match seed % 2 {
            0 => "4hello\u{1e}bAQIDBA==\u{1e}4é😀".as_bytes().to_vec(),
            _ => frames(&[
                (true, b"4hello".to_vec()),
                (false, vec![1, 2, 3]),
                (true, vec![b'4'; 130]),
            ]),
        };
        random.mutate(&mut bytes);
        for cut in 0..=bytes.len() {
            let cut = &bytes[..cut];
            let result = std::panic::catch_unwind(|| fuzz_payload(cut));
            assert!(result.is_ok(), "seed {seed}: {cut:x?}");
        }
    }
}

/// Packets as a session may have them: text without a separator, and any bytes.
pub(crate) fn any_messages() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
    let text = "4[^\u{1e}]{0,20}".prop_map(|packet| (true, packet.into_bytes()));
    let long = (120..140usize).prop_map(|len| (true, vec![b'4'; len]));
    let binary = prop::collection::vec(any::<u8>(), 0..200).prop_map(|data| (false, data));
    prop::collection::vec(prop_oneof![4 => text, 1 => long, 3 => binary], 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(5), ..ProptestConfig::default() })]

    #[test]
    fn what_is_encoded_decodes_to_the_same(messages in any_messages(), cut in any::<prop::sample::Index>()) {
        let (first, second) = messages.split_at(cut.index(messages.len() + 1));
        let mut payload = encode(&[&frames(first), &frames(second)]);
        prop_assert!(std::str::from_utf8(&payload).is_ok());
        let mut decoded = Vec::new();
        if !messages.is_empty() {
            for packet in packets(&mut payload) {
                let whole = packet.to_vec();
                decoded.push(match engine::decode_text(packet) {
                    Ok(engine::Packet::Binary(base64)) => (false, engine::decode_base64(base64)),
                    Ok(_) => (true, whole),
                    Err(error) => return Err(TestCaseError::fail(format!("{error:?}"))),
                });
            }
        }
        prop_assert_eq!(decoded, messages);
    }

    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        fuzz_payload(&bytes);
    }
}
