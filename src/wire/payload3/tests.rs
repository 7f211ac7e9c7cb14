use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::wire::payload::tests::{any_messages, frames};
use crate::wire::xorshift::Xorshift;

/// What engine.io-parser 2.2.1 writes and reads, as `tests/vectors/record.mjs` recorded it.
const VECTORS: &str = include_str!("vectors.json");

/// A packet: text with its type digit, or a binary message.
type Owned = (bool, Vec<u8>);

fn vectors() -> Vec<Value> {
    serde_json::from_str(VECTORS).unwrap()
}

fn unhex(value: &Value) -> Vec<u8> {
    let hex = value.as_str().unwrap().as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    hex.chunks(2).map(byte).collect()
}

/// A recorded packet: `[type]`, `[type, text]` or `[type, {hex}]`.
fn packet_of(recorded: &Value) -> Owned {
    const TYPES: &[&str] = &[
        "open", "close", "ping", "pong", "message", "upgrade", "noop",
    ];
    let kind = recorded[0].as_str().unwrap();
    let digit = TYPES.iter().position(|one| *one == kind).unwrap();
    match &recorded[1] {
        Value::Object(data) => {
            assert_eq!(kind, "message");
            (false, unhex(&data["hex"]))
        }
        data => (
            true,
            format!("{digit}{}", data.as_str().unwrap_or_default()).into_bytes(),
        ),
    }
}

fn form_of(recorded: &Value) -> Form {
    match recorded["form"].as_str().unwrap() {
        "text" => Form::Text,
        "binary" => Form::Binary,
        other => panic!("{other}"),
    }
}

fn encode_all(packets: &[Owned], form: Form) -> Vec<u8> {
    let run = frames(packets);
    let mut out = Vec::new();
    encode(&mut out, &run, form);
    assert_eq!(sized([&run[..]], form), out.len());

    // In pieces, too.
    let mut in_pieces = Vec::new();
    let runs: Vec<Vec<u8>> = packets.chunks(1).map(frames).collect();
    for run in &runs {
        encode(&mut in_pieces, run, form);
    }
    let len = sized(runs.iter().map(Vec::as_slice), form);
    assert_eq!((&in_pieces, len), (&out, out.len()));
    out
}

/// All packets, and the error at the end.
fn decode_all(payload: &[u8], form: Form) -> (Vec<Owned>, Option<PayloadError>) {
    let mut payload = payload.to_vec();
    let (mut found, mut error) = (Vec::new(), None);
    let mut packets = packets(&mut payload, form);
    for packet in packets.by_ref() {
        assert_eq!(error, None, "an error is the last");
        match packet {
            Ok(Packet::Text(text)) => found.push((true, text.to_vec())),
            Ok(Packet::Binary(data)) => found.push((false, data.to_vec())),
            Ok(Packet::Base64(base64)) => found.push((false, engine::decode_base64(base64))),
            Err(why) => error = Some(why),
        }
    }
    assert_eq!(packets.next(), None, "the end stays the end");
    (found, error)
}

#[test]
fn payloads_are_written_as_by_the_reference() {
    let mut compared = 0;
    for vector in vectors() {
        let Some(packets) = vector["packets"].as_array() else {
            continue;
        };
        let packets: Vec<Owned> = packets.iter().map(packet_of).collect();
        let run = frames(&packets);
        assert_eq!(
            encode_all(&packets, Form::Text),
            unhex(&vector["b64"]),
            "{vector}"
        );
        assert_eq!(
            encode_all(&packets, Form::Binary),
            unhex(&vector["binary"]),
            "{vector}"
        );
        assert_eq!(Form::of([&run[..]], true), Form::Text, "{vector}");
        let form = Form::of([&run[..]], false);
        assert_eq!(form, form_of(&vector), "{vector}");
        assert_eq!(
            encode_all(&packets, form),
            unhex(&vector["chosen"]),
            "{vector}"
        );
        for (name, form) in [("b64", Form::Text), ("binary", Form::Binary)] {
            let read = decode_all(&unhex(&vector[name]), form);
            assert_eq!(read, (packets.clone(), None), "{vector}");
        }
        compared += 1;
    }
    assert!(compared >= 14, "{compared}");
}

/// Payloads that the reference reads and this does not: JavaScript takes `"1 "` for a number and half a character for a string.
const NARROWER: &[&str] = &["2:4😀", "1 :6"];

#[test]
fn payloads_are_read_as_by_the_reference() {
    let mut compared = 0;
    for vector in vectors() {
        let Some(read) = vector["read"].as_array() else {
            continue;
        };
        let (form, payload) = (form_of(&vector), unhex(&vector["payload"]));
        let (packets, error) = decode_all(&payload, form);
        if NARROWER.iter().any(|text| text.as_bytes() == payload) {
            assert_eq!((packets, error), (Vec::new(), Some(PayloadError::Length)));
            continue;
        }
        let expected: Vec<Owned> = read
            .iter()
            .filter(|one| one.is_array())
            .map(packet_of)
            .collect();
        assert_eq!(packets, expected, "{vector}");
        let expect_error = read.last().is_some_and(|last| last == "error");
        assert_eq!(error.is_some(), expect_error, "{vector}: {error:?}");
        compared += 1;
    }
    assert!(compared >= 30, "{compared}");
}

#[test]
fn the_form_is_binary_for_a_binary_packet_in_any_run() {
    let (text, binary) = (
        frames(&[(true, b"4a".to_vec())]),
        frames(&[(false, vec![1])]),
    );
    assert_eq!(Form::of([&text[..], &text], false), Form::Text);
    assert_eq!(Form::of([&text[..], &binary], false), Form::Binary);
    assert_eq!(Form::of([&text[..], &binary], true), Form::Text);
    assert_eq!(Form::of([], false), Form::Text);
}

#[test]
fn an_error_says_what_is_wrong_and_comes_behind_what_was_right() {
    use PayloadError::*;
    let text: &[(&[u8], usize, PayloadError)] = &[
        (b"", 0, Empty),
        (b":4a", 0, Length),
        (b"2:4a:", 1, Length),
        (b"2:4a2", 1, Length),
        (b"2:4a3:4a", 1, Length),
        (b"2:4a+2:4a", 1, Length),
        (b"2:4a-2:4a", 1, Length),
        (b"2:4a0x2:4a", 1, Length),
        (b"18446744073709551618:4a", 0, Length),
        (b"9999999999999999999999999999999999999999", 0, Length),
        ("2:4😀".as_bytes(), 0, Length),
        ("3:4é".as_bytes(), 0, Length),
        (b"2:4a1:b", 1, NotMessage),
        (b"2:4a2:b6", 1, NotMessage),
    ];
    for (payload, before, error) in text {
        let (packets, found) = decode_all(payload, Form::Text);
        assert_eq!(
            (packets.len(), found),
            (*before, Some(*error)),
            "{payload:x?}"
        );
    }
    let binary: &[(&[u8], usize, PayloadError)] = &[
        (b"\x00", 0, Length),
        (b"\x00\xFF", 0, Length),
        (b"\x00\x02", 0, Length),
        (b"\x00\x02\xFF4", 0, Length),
        (b"\x00\x0A\xFF4234567890", 0, Length),
        (b"\x00\x32\xFF4a", 0, Length),
        (b"\x00\x02\xFF4a\x01", 1, Length),
        (b"\x00\x02\xFF4a\x01\x03\xFF\x04a", 1, Length),
        (&[&[0][..], &[9; 400], &[255]].concat(), 0, Length),
        (b"\x00\x00\xFF", 0, Empty),
        (b"\x01\x00\xFF", 0, Empty),
        (b"\x02\x02\xFF4a", 0, Kind),
        (b"\x01\x02\xFF\x06a", 0, NotMessage),
        (b"\x00\x02\xFFb6", 0, NotMessage),
        (b"\x00\x03\xFF4\xC3(", 0, Utf8),
        (b"\x00\x04\xFF4\xED\xA0\x80", 0, Utf8),
    ];
    for (payload, before, error) in binary {
        let (packets, found) = decode_all(payload, Form::Binary);
        assert_eq!(
            (packets.len(), found),
            (*before, Some(*error)),
            "{payload:x?}"
        );
    }
}

#[test]
fn every_power_of_ten_is_written_in_its_digits() {
    for power in 0..=19 {
        let number = 10_usize.pow(power);
        for number in [number - 1, number, number + 1] {
            assert_eq!(Digits::of(number).as_bytes(), number.to_string().as_bytes());
        }
    }
    assert_eq!(
        Digits::of(usize::MAX).as_bytes(),
        usize::MAX.to_string().as_bytes()
    );
}

/// Whatever the bytes: no panic, and no more packets or bytes than there are; what was read can be written and read again.
pub(crate) fn fuzz_payload3(bytes: &[u8]) {
    for form in [Form::Text, Form::Binary] {
        let (packets, _) = decode_all(bytes, form);
        let total: usize = packets.iter().map(|(_, data)| data.len() + 1).sum();
        assert!(total <= bytes.len());
        if packets.iter().all(|(_, data)| str::from_utf8(data).is_ok()) && !packets.is_empty() {
            let again = encode_all(&packets, form);
            assert_eq!(decode_all(&again, form), (packets, None));
        }
        let mut out = Vec::new();
        encode(&mut out, bytes, form);
        assert_eq!(out.len(), sized([bytes], form));
    }
}

#[test]
fn damaged_payloads_hold_the_rules_at_every_cut() {
    let packets = [
        (true, "4a😀é".as_bytes().to_vec()),
        (false, vec![0, 255, 4]),
        (true, vec![b'4'; 12]),
    ];
    for seed in 0..500 {
        let mut random = Xorshift::new(seed);
        let mut bytes = match seed % 3 {
            0 => encode_all(&packets, Form::Text),
            1 => encode_all(&packets, Form::Binary),
            _ => frames(&packets),
        };
        random.mutate(&mut bytes);
        for cut in 0..=bytes.len() {
            let cut = &bytes[..cut];
            let result = std::panic::catch_unwind(|| fuzz_payload3(cut));
            assert!(result.is_ok(), "seed {seed}: {cut:x?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(3), ..ProptestConfig::default() })]

    #[test]
    fn what_is_encoded_decodes_to_the_same(packets in any_messages(), binary in any::<bool>()) {
        let form = if binary { Form::Binary } else { Form::Text };
        let payload = encode_all(&packets, form);
        if !payload.is_empty() {
            prop_assert_eq!(decode_all(&payload, form), (packets, None));
        }
    }

    #[test]
    fn a_cut_payload_gives_the_packets_before_the_cut(packets in any_messages(), binary in any::<bool>(), cut in any::<prop::sample::Index>()) {
        let form = if binary { Form::Binary } else { Form::Text };
        let payload = encode_all(&packets, form);
        if !payload.is_empty() {
            let mut cut = cut.index(payload.len());
            // Half a character would have become U+FFFD, which is a character.
            while form == Form::Text && str::from_utf8(&payload[..cut]).is_err() {
                cut -= 1;
            }
            let (found, error) = decode_all(&payload[..cut], form);
            prop_assert_eq!(&found[..], &packets[..found.len()]);
            let whole = encode_all(&found, form).len();
            prop_assert!(error.is_some() || whole == cut);
        }
    }

    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        fuzz_payload3(&bytes);
    }

    #[test]
    fn arbitrary_lengths(text in "([0-9]{1,2}:?[4b€😀]{0,3}){0,6}") {
        fuzz_payload3(text.as_bytes());
    }
}
