use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::wire::iso;
use crate::wire::json::tests::for_each_seed;
use crate::wire::socket::{Limits, PacketError};
use crate::wire::xorshift::Xorshift;

/// Encodes a packet of the main namespace.
fn packed(kind: PacketType, id: Option<u64>, json: &str, attachments: &[Bytes]) -> Vec<u8> {
    let mut out = Vec::new();
    let packet = Packed {
        kind,
        namespace: "/",
        id,
        json: json.as_bytes(),
        attachments,
    };
    encode(&mut out, &packet).unwrap();
    out
}

/// What was decoded, with parts of its own.
#[derive(Debug, PartialEq)]
struct Owned {
    kind: PacketType,
    namespace: String,
    id: Option<u64>,
    json: Option<String>,
    attachments: Vec<Bytes>,
}

fn unpacked_with(bytes: &[u8], limits: &Limits) -> Result<Owned, PacketError> {
    let mut unpacked = Unpacked::default();
    let (packet, attachments) = decode(bytes, limits, &mut unpacked)?;
    assert_eq!(packet.attachments, 0, "none is due");
    let json = packet.payload.map(|json| String::from_utf8(json.to_vec()));
    Ok(Owned {
        kind: packet.kind,
        namespace: packet.namespace.to_owned(),
        id: packet.id,
        json: json.map(|json| json.expect("JSON is UTF-8")),
        attachments: attachments.to_vec(),
    })
}

fn unpacked(bytes: &[u8]) -> Result<Owned, PacketError> {
    unpacked_with(bytes, &Limits::default())
}

#[test]
fn an_event_goes_there_and_back() {
    let attachments = [Bytes::from_static(b"abc"), Bytes::new()];
    let json = r#"["say",{"a":[1,-1,1.5,null,true,false]},{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    let bytes = packed(PacketType::BinaryEvent, Some(7), json, &attachments);
    let expected = Owned {
        kind: PacketType::Event,
        namespace: "/".to_owned(),
        id: Some(7),
        json: Some(json.to_owned()),
        attachments: attachments.to_vec(),
    };
    assert_eq!(unpacked(&bytes), Ok(expected));
}

/// What socket.io-msgpack-parser 3.0.2 (notepack.io 2.2.0) writes and refuses, as `tests/vectors/record.mjs` recorded it.
const VECTORS: &str = include_str!("vectors.json");

fn vectors() -> Vec<Value> {
    serde_json::from_str(VECTORS).unwrap()
}

fn unhex(value: &Value) -> Vec<u8> {
    let hex = value.as_str().unwrap().as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    hex.chunks(2).map(byte).collect()
}

/// A recorded packet.
fn packet_of(recorded: &Value) -> Owned {
    let kinds = [
        PacketType::Connect,
        PacketType::Disconnect,
        PacketType::Event,
        PacketType::Ack,
        PacketType::ConnectError,
    ];
    let kind = usize::try_from(recorded["type"].as_u64().unwrap()).unwrap();
    let attachments = recorded["attachments"].as_array().unwrap();
    Owned {
        kind: kinds[kind],
        namespace: recorded["nsp"].as_str().unwrap().to_owned(),
        id: recorded["id"].as_u64(),
        json: recorded["json"].as_str().map(str::to_owned),
        attachments: attachments.iter().map(|hex| unhex(hex).into()).collect(),
    }
}

/// JSON with all numbers as JavaScript has them.
fn values(json: &str) -> Value {
    fn as_floats(value: Value) -> Value {
        match value {
            Value::Number(number) => number.as_f64().into(),
            Value::Array(list) => list.into_iter().map(as_floats).collect(),
            Value::Object(members) => members
                .into_iter()
                .map(|(key, value)| (key, as_floats(value)))
                .collect(),
            other => other,
        }
    }
    as_floats(serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}")))
}

fn assert_same(read: &Owned, expected: &Owned, vector: &Value) {
    let [read_values, expected_values] =
        [read, expected].map(|packet| packet.json.as_deref().map(values));
    assert_eq!(read_values, expected_values, "{vector}");
    let rest = |packet: &Owned| Owned {
        kind: packet.kind,
        namespace: packet.namespace.clone(),
        id: packet.id,
        json: None,
        attachments: packet.attachments.clone(),
    };
    assert_eq!(rest(read), rest(expected), "{vector}");
}

fn encode_owned(packet: &Owned) -> Vec<u8> {
    let mut out = Vec::new();
    let packed = Packed {
        kind: packet.kind,
        namespace: &packet.namespace,
        id: packet.id,
        json: packet.json.as_deref().unwrap_or_default().as_bytes(),
        attachments: &packet.attachments,
    };
    encode(&mut out, &packed).unwrap();
    out
}

/// Without the order of the packet's own members, which the reference has from whoever made it.
fn members(bytes: &[u8]) -> Vec<Vec<u8>> {
    const KEYS: [&[u8]; 4] = [b"\xa4type", b"\xa4data", b"\xa3nsp", b"\xa2id"];
    let mut starts: Vec<usize> = KEYS
        .iter()
        .filter_map(|key| bytes.windows(key.len()).rposition(|window| window == *key))
        .collect();
    starts.push(bytes.len());
    starts.sort_unstable();
    let mut members: Vec<_> = starts
        .windows(2)
        .map(|pair| bytes[pair[0]..pair[1]].to_vec())
        .collect();
    members.sort_unstable();
    members
}

#[test]
fn packets_are_written_and_read_as_by_the_reference() {
    let (mut written, mut read) = (0, 0);
    for vector in vectors() {
        if vector["packet"].is_null() {
            continue;
        }
        let encoded = unhex(&vector["encoded"]);
        let expected = packet_of(&vector["packet"]);
        let decoded = unpacked(&encoded).unwrap_or_else(|error| panic!("{error:?}: {vector}"));
        assert_same(&decoded, &expected, &vector);
        read += 1;
        if vector["exact"] == true {
            let ours = encode_owned(&expected);
            assert_eq!(ours.first(), encoded.first(), "{vector}");
            assert_eq!(members(&ours), members(&encoded), "{vector}");
            written += 1;
        }
        // What we make of what we have read is read as the same.
        let again = encode_owned(&decoded);
        assert_same(&unpacked(&again).unwrap(), &expected, &vector);
    }
    assert!(written >= 23 && read >= 35, "{written} {read}");
}

#[test]
fn what_the_reference_refuses_is_refused() {
    let (mut refused, mut accepted) = (0, 0);
    for vector in vectors() {
        let Some(is_accepted) = vector["accepted"].as_bool() else {
            continue;
        };
        let ours = unpacked(&unhex(&vector["encoded"]));
        assert_eq!(ours.is_ok(), is_accepted, "{vector}: {ours:?}");
        if is_accepted {
            accepted += 1;
        } else {
            refused += 1;
        }
    }
    assert!(refused >= 55 && accepted >= 4, "{refused} {accepted}");
}

/// The reference lets a client call the handlers of `disconnect`, or send no event at all; the default parser does not, and we never.
#[test]
fn events_have_the_names_that_they_may_have() {
    for (json, error) in [
        ("[]", PacketError::EventName),
        ("[null]", PacketError::EventName),
        ("[{\"a\":1}]", PacketError::EventName),
        ("[\"disconnect\"]", PacketError::ReservedEvent),
        ("[\"connect_error\",1]", PacketError::ReservedEvent),
    ] {
        let bytes = packed(PacketType::Event, None, json, &[]);
        assert_eq!(unpacked(&bytes).unwrap_err(), error, "{json}");
    }
    let bytes = packed(PacketType::Event, None, "[1.0]", &[]);
    assert_eq!(unpacked(&bytes).unwrap().json.unwrap(), "[1]");
}

/// `{type: 2, nsp: "/", data: […]}` with these bytes as the members of a list of so many.
fn event_of(count: u8, members: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data".to_vec();
    bytes.extend_from_slice(&[0x91 + count, 0xa1, b'e']);
    bytes.extend_from_slice(members);
    bytes
}

fn read_event(count: u8, members: &[u8]) -> Result<String, PacketError> {
    let json = unpacked(&event_of(count, members))?.json.unwrap();
    Ok(json)
}

#[test]
fn values_that_json_has_not() {
    for (members, expected) in [
        // Keys that are no strings.
        (
            &b"\x85\x01\xa1a\xff\xa1b\xc0\xa1c\xc3\xa1d\xd4\0\0\xa1e"[..],
            r#"{"1":"a","-1":"b","null":"c","true":"d","undefined":"e"}"#,
        ),
        (
            b"\x82\xcb\x3f\xf8\0\0\0\0\0\0\x01\xc4\x01k\x02",
            r#"{"1.5":1,"k":2}"#,
        ),
        // Not UTF-8, as notepack.io writes lone surrogates.
        (b"\xa3\xed\xa0\x80", "\"\u{fffd}\u{fffd}\u{fffd}\""),
        (b"\xa2a\xf0", "\"a\u{fffd}\""),
        // Floats of both widths.
        (b"\xca\x3f\x80\0\0", "1"),
        (b"\xca\x3e\x20\0\0", "0.15625"),
        (b"\xca\x7f\x80\0\0", "null"),
        (b"\xcb\x80\0\0\0\0\0\0\0", "0"),
        // The integers that a JavaScript number cannot hold.
        (
            b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
            "18446744073709551615",
        ),
        (b"\xd3\x80\0\0\0\0\0\0\0", "-9223372036854775808"),
        // MessagePack's own timestamps: 32, 64 and 96 bits.
        (b"\xd6\xff\0\0\0\x01", r#""1970-01-01T00:00:01.000Z""#),
        (b"\xd6\xff\xff\xff\xff\xff", r#""2106-02-07T06:28:15.000Z""#),
        (
            b"\xd7\xff\xee\x6b\x27\xfc\0\0\0\0",
            r#""1970-01-01T00:00:00.999Z""#,
        ),
        (
            b"\xc7\x0c\xff\x3b\x9a\xc9\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            r#""1969-12-31T23:59:59.999Z""#,
        ),
        (
            b"\xc7\x0c\xff\0\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
            "null",
        ),
        // An invalid `Date`, and one byte of type 0 in a form that is not `undefined`'s.
        (b"\xd7\0\x7f\xff\xff\xff\xff\xff\xff\xff", "null"),
        (b"\xc7\x01\0\x07", r#"{"_placeholder":true,"num":0}"#),
        // Extensions that nobody knows.
        (b"\xd4\x05\x07", r#"[5,{"_placeholder":true,"num":0}]"#),
        (b"\xc7\x03\xfetwo", r#"[-2,{"_placeholder":true,"num":0}]"#),
    ] {
        let expected = format!("[\"e\",{expected}]");
        assert_eq!(
            read_event(1, members).as_deref(),
            Ok(&*expected),
            "{members:x?}"
        );
    }
    // Containers are no keys.
    assert_eq!(
        read_event(1, b"\x81\x90\x01"),
        Err(PacketError::MessagePack)
    );
}

/// Of whole numbers that no integer holds notepack.io makes garbage.
#[test]
fn large_numbers_are_floats() {
    for (json, expected) in [
        ("[1e20]", &b"\xcb\x44\x15\xaf\x1d\x78\xb5\x8c\x40"[..]),
        ("[-1e19]", b"\xcb\xc3\xe1\x58\xe4\x60\x91\x3d\0"),
        ("[1e400]", b"\xcb\x7f\xf0\0\0\0\0\0\0"),
        (
            "[18446744073709551615]",
            b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
        ),
        ("[1e3]", b"\xcd\x03\xe8"),
        ("[-0.0]", b"\0"),
    ] {
        let bytes = packed(PacketType::Ack, None, json, &[]);
        assert_eq!(bytes[13..13 + expected.len()], *expected, "{json}");
    }
}

#[test]
fn of_repeated_members_the_last_counts() {
    let bytes =
        b"\x85\xa4type\x03\xa4data\x91\xc4\x01a\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1e\xc4\x01b";
    let packet = unpacked(bytes).unwrap();
    assert_eq!(packet.kind, PacketType::Event);
    assert_eq!(packet.attachments, [Bytes::from_static(b"b")]);
    assert_eq!(
        packet.json.unwrap(),
        r#"["e",{"_placeholder":true,"num":0}]"#
    );
}

/// A list in a list in …, so many of them, with an extension or binary value or nothing inside.
fn nested(depth: usize, inside: &[u8]) -> Vec<u8> {
    // The list of arguments is one of them.
    let mut members = vec![0x91; depth - 1];
    members.extend_from_slice(inside);
    event_of(1, &members)
}

#[test]
fn depth_is_limited() {
    let limits = Limits::default();
    for (added, inside) in [
        (0, &b"\x07"[..]),
        (1, b"\x80"),
        (1, b"\xc4\x01a"),
        (2, b"\xd4\x05\x07"),
    ] {
        let most = limits.max_depth - added;
        let read = unpacked(&nested(most, inside)).unwrap().json.unwrap();
        serde_json::from_str::<Value>(&read).expect("serde_json reads what is let in");
        let deeper = unpacked(&nested(most + 1, inside));
        assert_eq!(deeper, Err(PacketError::TooDeep), "{inside:x?}");
    }
    let few = Limits {
        max_depth: 2,
        ..limits
    };
    assert!(unpacked_with(&nested(2, b"\x07"), &few).is_ok());
    assert_eq!(
        unpacked_with(&nested(3, b"\x07"), &few),
        Err(PacketError::TooDeep)
    );
    // Members that nobody reads may be as deep as they like: nothing grows with them.
    let mut options = b"\x84\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xa1e\xa7options".to_vec();
    options.extend(std::iter::repeat_n(0x91, 100_000));
    assert_eq!(unpacked(&options), Err(PacketError::MessagePack));
    options.push(0xc0);
    assert!(unpacked(&options).is_ok());
}

#[test]
fn deep_json_is_an_error_when_it_is_written() {
    let deep = format!("{}{}", "[".repeat(128), "]".repeat(128));
    let packet = Packed {
        kind: PacketType::Ack,
        namespace: "/",
        id: Some(1),
        json: deep.as_bytes(),
        attachments: &[],
    };
    assert_eq!(encode(&mut Vec::new(), &packet), Err(JsonError::TooDeep));
}

#[test]
fn attachments_are_limited() {
    let limits = Limits::default();
    let many = |count: u8| event_of(count, &b"\xc4\0".repeat(usize::from(count)));
    let read = unpacked(&many(10)).unwrap();
    assert_eq!(read.attachments.len(), limits.max_attachments);
    assert_eq!(unpacked(&many(11)), Err(PacketError::TooManyAttachments));
}

#[test]
fn long_values_are_written_in_the_form_for_their_length() {
    let list = |length: usize| format!("[{}]", vec!["0"; length].join(","));
    let text = |length: usize| format!("\"{}\"", "x".repeat(length));
    for (json, expected) in [
        (list(65_535), &b"\xdc\xff\xff"[..]),
        (list(65_536), b"\xdd\0\x01\0\0"),
        (text(65_535), b"\xda\xff\xff"),
        (text(65_536), b"\xdb\0\x01\0\0"),
    ] {
        let bytes = packed(PacketType::Ack, Some(1), &json, &[]);
        assert_eq!(bytes[12..12 + expected.len()], *expected);
    }
    for (length, head) in [(65_535, &b"\xc5\xff\xff"[..]), (65_536, b"\xc6\0\x01\0\0")] {
        let json = r#"["e",{"num":0,"_placeholder":true}]"#;
        let bytes = packed(PacketType::Event, None, json, &[vec![7; length].into()]);
        assert_eq!(bytes[15..15 + head.len()], *head);
        assert_eq!(unpacked(&bytes).unwrap().attachments[0].len(), length);
    }
}

#[test]
fn every_cut_is_refused_and_nothing_panics() {
    let attachments = [Bytes::from_static(b"abc")];
    let json = r#"["event",{"a":[1,-300,1.5,70000],"b":"é"},{"_placeholder":true,"num":0}]"#;
    let bytes = packed(PacketType::Event, Some(70_000), json, &attachments);
    for cut in 0..bytes.len() {
        assert!(unpacked(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(unpacked(&longer), Err(PacketError::MessagePack));
    assert!(unpacked(&bytes).is_ok());
}

/// Whatever comes, what is let in is a packet by every rule, and is not more than six times as long.
fn check(bytes: &[u8]) -> bool {
    let Ok(packet) = unpacked(bytes) else {
        return false;
    };
    let json = packet.json.as_deref().unwrap_or_default();
    let placeholders = 40 * packet.attachments.len();
    assert!(json.len() <= 6 * bytes.len() + placeholders);
    if !json.is_empty() {
        let reader = Reader::new(json.as_bytes(), MAX_DEPTH);
        reader
            .finish()
            .unwrap_or_else(|error| panic!("{json}: {error:?}"));
    }
    if packet.kind == PacketType::Event {
        let mut json = json.as_bytes().to_vec();
        crate::wire::socket::split_event(&mut json).expect("an event has its name");
    }
    // And it can leave again.
    assert_eq!(
        unpacked(&encode_owned(&packet)).map(|again| again.kind),
        Ok(packet.kind)
    );
    true
}

#[test]
fn no_bytes_make_it_panic() {
    let seeds: Vec<Vec<u8>> = vectors()
        .iter()
        .map(|vector| unhex(&vector["encoded"]))
        .collect();
    let mut accepted = 0;
    for seed in 0..4000 {
        let mut random = Xorshift::new(seed);
        let mut bytes = seeds[random.below(seeds.len())].clone();
        if bytes.len() < 4000 {
            random.mutate(&mut bytes);
            accepted += usize::from(check(&bytes));
        }
        let noise_len = random.below(64);
        let noise = random.bytes(noise_len);
        check(&noise);
        check(&event_of(1, &noise));
    }
    assert!(
        accepted > 100,
        "{accepted}: the damage is not too much to test what is behind the decoder"
    );
}

/// Any JSON, with white space and escapes here and there.
#[test]
fn json_goes_there_and_back() {
    for_each_seed(2000, |random| {
        let list = Value::Array(vec!["e".into(), random.value(5), random.value(2)]);
        let mut json = Vec::new();
        random.write(&list, &mut json);
        let json = String::from_utf8(json).unwrap();
        let bytes = packed(PacketType::Event, None, &json, &[]);
        let read: Value = serde_json::from_str(&unpacked(&bytes).unwrap().json.unwrap()).unwrap();
        // Whole numbers are integers, as in JavaScript.
        assert_eq!(values(&read.to_string()), values(&list.to_string()));
        let again = packed(PacketType::Event, None, &read.to_string(), &[]);
        assert_eq!(
            unpacked(&again).unwrap().json.map(|json| values(&json)),
            Some(values(&read.to_string()))
        );
    });
}

proptest! {
    #[test]
    fn times_are_those_of_the_calendar(day in -719_528_i64..2_932_896) {
        // 400 years have a whole number of weeks and one pattern of leap days: counted from a day that everybody knows.
        let mut json = Vec::new();
        iso::write(&mut json, day * 86_400_000);
        let text = String::from_utf8(json).unwrap();
        let [year, month, of_month] = [&text[1..5], &text[6..8], &text[9..11]].map(|part| part.parse::<i64>().unwrap());
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let lengths = [31, 28 + i64::from(is_leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let index = usize::try_from(month - 1).unwrap();
        prop_assert!((1..=lengths[index]).contains(&of_month));
        let before: i64 = lengths[..index].iter().sum();
        let leaps = |year: i64| year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
        let days = 365 * year + leaps(year - 1) + 1 + before + of_month - 1;
        prop_assert_eq!(days - 719_528, day);
    }
}
