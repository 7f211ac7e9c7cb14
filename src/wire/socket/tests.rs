use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::{Value, json};

use super::PacketType::{Ack, BinaryAck, BinaryEvent, Connect, ConnectError, Disconnect, Event};
use super::reserved::RESERVED_EVENTS;
use super::*;
use crate::wire::json::tests::{Random, for_each_seed};

mod malformed;
mod plain;

const LIMITS: Limits = Limits {
    max_attachments: 10,
    max_depth: json::MAX_DEPTH,
};

/// A packet that owns its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owned {
    kind: PacketType,
    attachments: usize,
    namespace: String,
    id: Option<u64>,
    payload: Option<String>,
}

impl Owned {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        encode_head(
            &mut out,
            self.kind,
            self.attachments,
            &self.namespace,
            self.id,
        );
        out.extend_from_slice(self.payload.as_deref().unwrap_or_default().as_bytes());
        out
    }
}

fn decode_owned(text: &[u8]) -> Result<Owned, PacketError> {
    let mut text = text.to_vec();
    let packet = decode(&mut text, &LIMITS)?;
    Ok(Owned {
        kind: packet.kind,
        attachments: packet.attachments,
        namespace: packet.namespace.to_owned(),
        id: packet.id,
        payload: packet
            .payload
            .map(|payload| String::from_utf8_lossy(payload).into_owned()),
    })
}

/// The packet of a line in the tables here: `json` empty for none.
fn packet(
    kind: PacketType,
    attachments: usize,
    namespace: &str,
    id: Option<u64>,
    json: &str,
) -> Owned {
    let payload = (!json.is_empty()).then(|| json.to_owned());
    Owned {
        kind,
        attachments,
        namespace: namespace.to_owned(),
        id,
        payload,
    }
}

type Vector = (
    &'static str,
    PacketType,
    usize,
    &'static str,
    Option<u64>,
    &'static str,
);

/// The protocol's examples, and more in their way: head, what it says, JSON. Together they are exactly what the reference encoder writes.
const VECTORS: &[Vector] = &[
    ("0", Connect, 0, "/", None, ""),
    (
        "0",
        Connect,
        0,
        "/",
        None,
        r#"{"sid":"oSO0OpakMV_3jnilAAAA"}"#,
    ),
    ("0/admin,", Connect, 0, "/admin", None, r#"{"sid":"x"}"#),
    ("0/admin,", Connect, 0, "/admin", None, r#"{"token":"123"}"#),
    ("0/admin,", Connect, 0, "/admin", None, ""),
    ("0/chat?x=1&y=/a,", Connect, 0, "/chat?x=1&y=/a", None, ""),
    ("1", Disconnect, 0, "/", None, ""),
    ("1/admin,", Disconnect, 0, "/admin", None, ""),
    ("2", Event, 0, "/", None, r#"["hello",1]"#),
    ("2", Event, 0, "/", None, r#"["foo"]"#),
    ("2", Event, 0, "/", None, "[1]"),
    ("212", Event, 0, "/", Some(12), r#"["foo"]"#),
    ("20", Event, 0, "/", Some(0), r#"["foo"]"#),
    ("2/admin,", Event, 0, "/admin", None, r#"["bar"]"#),
    ("2/admin,456", Event, 0, "/admin", Some(456), r#"["a:b",1]"#),
    (
        "29007199254740991",
        Event,
        0,
        "/",
        Some(ACK_ID_MAX),
        r#"["x"]"#,
    ),
    ("2", Event, 0, "/", None, r#"["error"]"#),
    ("2", Event, 0, "/", None, r#"["connection"]"#),
    ("2", Event, 0, "/", None, r#"["__proto__"]"#),
    ("2", Event, 0, "/", None, r#"["Connect"]"#),
    ("2", Event, 0, "/", None, r#"["\ud800"]"#),
    (
        "2",
        Event,
        0,
        "/",
        None,
        r#"["x",{"_placeholder":true,"num":9}]"#,
    ),
    ("312", Ack, 0, "/", Some(12), "[]"),
    ("3/admin,456", Ack, 0, "/admin", Some(456), "[]"),
    ("31", Ack, 0, "/", Some(1), r#"["ok",{"a":[]}]"#),
    ("3/n,1", Ack, 0, "/n", Some(1), r#"["connect"]"#),
    (
        "4",
        ConnectError,
        0,
        "/",
        None,
        r#"{"message":"Not authorized"}"#,
    ),
    (
        "4/admin,",
        ConnectError,
        0,
        "/admin",
        None,
        r#""Not authorized""#,
    ),
    (
        "51-",
        BinaryEvent,
        1,
        "/",
        None,
        r#"["x",{"_placeholder":true,"num":0}]"#,
    ),
    (
        "51-/a,456",
        BinaryEvent,
        1,
        "/a",
        Some(456),
        r#"["x",{"_placeholder":true,"num":0}]"#,
    ),
    (
        "61-/a,456",
        BinaryAck,
        1,
        "/a",
        Some(456),
        r#"[{"_placeholder":true,"num":0}]"#,
    ),
    ("510-", BinaryEvent, 10, "/", None, r#"["unused"]"#),
];

#[test]
fn vectors_in_both_directions() {
    for &(head, kind, attachments, namespace, id, json) in VECTORS {
        let text = [head, json].concat();
        let packet = packet(kind, attachments, namespace, id, json);
        assert_eq!(
            decode_owned(text.as_bytes()).as_ref(),
            Ok(&packet),
            "{text}"
        );
        assert_eq!(String::from_utf8(packet.encode()).unwrap(), text);
    }
}

const READ_NOT_WRITTEN: &[Vector] = &[
    ("0/chat", Connect, 0, "/chat", None, ""),
    ("0/", Connect, 0, "/", None, ""),
    ("0/,", Connect, 0, "/", None, ""),
    ("0/,{}", Connect, 0, "/", None, "{}"),
    ("0 {} ", Connect, 0, "/", None, "{}"),
    ("0/chat, \n", Connect, 0, "/chat", None, ""),
    ("1 ", Disconnect, 0, "/", None, ""),
    ("1/chat", Disconnect, 0, "/chat", None, ""),
    ("2 [ \"x\" ]\r\n", Event, 0, "/", None, "[ \"x\" ]"),
    ("2007\t[\"x\"]", Event, 0, "/", Some(7), "[\"x\"]"),
    ("2/é,[\"x\"]", Event, 0, "/é", None, "[\"x\"]"),
    ("3", Ack, 0, "/", None, ""),
    ("3[]", Ack, 0, "/", None, "[]"),
    ("37", Ack, 0, "/", Some(7), "[]"),
    ("3123 ", Ack, 0, "/", Some(123), "[]"),
    ("3/a,7", Ack, 0, "/a", Some(7), "[]"),
    ("3/a,", Ack, 0, "/a", None, ""),
    ("4", ConnectError, 0, "/", None, ""),
    ("61-7", BinaryAck, 1, "/", Some(7), "[]"),
    ("61-", BinaryAck, 1, "/", None, ""),
    ("5007-[\"x\"]", BinaryEvent, 7, "/", None, "[\"x\"]"),
];

#[test]
fn forms_that_are_read_but_not_written() {
    for &(text, kind, attachments, namespace, id, json) in READ_NOT_WRITTEN {
        let packet = packet(kind, attachments, namespace, id, json);
        assert_eq!(decode_owned(text.as_bytes()), Ok(packet), "{text}");
    }
}

#[test]
fn limits_are_inclusive() {
    let limits = Limits {
        max_attachments: 2,
        max_depth: 3,
    };
    let code = |text: &str| decode(&mut text.as_bytes().to_vec(), &limits).map(|_| ());
    assert_eq!(code(r#"52-["x"]"#), Ok(()));
    assert_eq!(code(r#"53-["x"]"#), Err(PacketError::TooManyAttachments));
    assert_eq!(code(r#"2["x",[[]]]"#), Ok(()));
    assert_eq!(code(r#"2["x",[[[]]]]"#), Err(PacketError::TooDeep));
    assert_eq!(code(r#"52-["x",[[[]]]]"#), Err(PacketError::TooDeep));

    let longest = format!("/{}", "n".repeat(NAMESPACE_BYTES_MAX - 1));
    for (text, good) in [
        (format!("0{longest}"), true),
        (format!("0{longest},"), true),
        (format!("0{longest}n"), false),
        (format!("0{longest}n,"), false),
    ] {
        let wanted = if good {
            Ok(())
        } else {
            Err(PacketError::NamespaceTooLong)
        };
        assert_eq!(code(&text), wanted, "{} bytes", text.len());
    }
    assert_eq!(Limits::default().max_attachments, 10);
    let deepest = |depth: usize| {
        format!(
            "2[\"x\",{}{}]",
            "[".repeat(depth - 1),
            "]".repeat(depth - 1)
        )
    };
    assert!(decode_owned(deepest(127).as_bytes()).is_ok());
    assert_eq!(
        decode_owned(deepest(128).as_bytes()),
        Err(PacketError::TooDeep)
    );
}

const PLACEHOLDERS_GOOD: &[&str] = &[
    r#"52-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
    r#"52-["x",{"num":1,"_placeholder":true},[{"a":{"_placeholder":true,"num":0}}]]"#,
    r#"52-["x",{"_placeholder":true,"num":1},{"_placeholder":true,"num":1}]"#,
    r#"52-["x",{"_placeholder":false,"num":5}]"#,
    r#"52-["x",{"_placeholder":"true","num":5}]"#,
    r#"52-["x",{"_placeholder":1},{"num":7},{"placeholder":true}]"#,
    r#"52-["x",{"_placeholder":true,"_placeholder":null}]"#,
    r#"52-["x",{"num":9,"_placeholder":true,"num":1}]"#,
    r#"52-["x",{"\u005fplaceholder":true,"n\u0075m":1}]"#,
    r#"52-["x",{"_placeholder":[true],"num":{}}]"#,
    r#"52-["x",{"a":{"_placeholder":true,"num":0},"num":9}]"#,
    r#"52-["x",{"\ud800":"\udc00","b":{"_placeholder":true,"num":0}}]"#,
    r#"62-1[{"_placeholder":true,"num":1}]"#,
    r#"52-["_placeholder",true]"#,
];

const PLACEHOLDERS_BAD: &[&str] = &[
    r#"52-["x",{"_placeholder":true}]"#,
    r#"52-["x",{"_placeholder":true,"num":2}]"#,
    r#"52-["x",{"_placeholder":true,"num":-1}]"#,
    r#"52-["x",{"_placeholder":true,"num":-0}]"#,
    r#"52-["x",{"_placeholder":true,"num":0.5}]"#,
    r#"52-["x",{"_placeholder":true,"num":1e0}]"#,
    r#"52-["x",{"_placeholder":true,"num":"0"}]"#,
    r#"52-["x",{"_placeholder":true,"num":null}]"#,
    r#"52-["x",{"_placeholder":true,"num":[0]}]"#,
    r#"52-["x",{"_placeholder":true,"num":{"num":0}}]"#,
    r#"52-["x",{"_placeholder":true,"num":99999999999999999999999999}]"#,
    r#"52-["x",{"_placeholder":true,"num":0,"num":2}]"#,
    r#"52-["x",{"_placeholder":true,"num":0,"num":true}]"#,
    r#"52-["x",{"num":0},{"_placeholder":true}]"#,
    r#"52-["x",[{"a":[{"_placeholder":true,"num":2}]}]]"#,
    r#"52-["x",{"\u005f\u0070laceholder":true,"num":2}]"#,
    r#"52-["x",{"_placeholder":true,"a":{"num":0}}]"#,
    r#"62-1[{"_placeholder":true,"num":2}]"#,
];

#[test]
fn placeholders() {
    for text in PLACEHOLDERS_GOOD {
        assert!(decode_owned(text.as_bytes()).is_ok(), "{text}");
    }
    for text in PLACEHOLDERS_BAD {
        assert_eq!(
            decode_owned(text.as_bytes()),
            Err(PacketError::Placeholder),
            "{text}"
        );
    }
}

#[test]
fn encoders() {
    let text = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = b"4".to_vec();
        write(&mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(
        text(&|out| write_connect(out, "abc", None)),
        r#"4{"sid":"abc"}"#
    );
    assert_eq!(
        text(&|out| write_connect(out, "a", Some("p\""))),
        r#"4{"sid":"a","pid":"p\""}"#
    );
    assert_eq!(
        text(&|out| write_json_string(out, "a\"\\\n\u{1}é😀")),
        "4\"a\\\"\\\\\\n\\u0001é😀\""
    );
}

/// The parts of an event, from its text to its name and its arguments.
fn parts<'a>(text: &'a mut [u8]) -> Result<EventParts<'a>, PacketError> {
    let packet = decode(text, &LIMITS)?;
    split_named(packet.payload.unwrap(), packet.name.unwrap())
}

fn split(payload: &str) -> Result<(String, String), PacketError> {
    let mut text = format!("2{payload}").into_bytes();
    let parts = parts(&mut text)?;
    Ok((
        parts.name.to_str().into_owned(),
        String::from_utf8_lossy(parts.args).into_owned(),
    ))
}

#[test]
fn events_are_split_in_place() {
    let cases = [
        (r#"["x"]"#, "x", "[]"),
        (r#"["x",1]"#, "x", "[1]"),
        (r#"["",1,"a,b"]"#, "", r#"[1,"a,b"]"#),
        (r#"[""]"#, "", "[]"),
        (r#"[ "x" , 1 , [] ]"#, "x", "[ 1 , [] ]"),
        ("[\n\"x\"\t]", "x", "[]"),
        ("[1]", "1", "[]"),
        ("[12]", "12", "[]"),
        ("[ 12]", "12", "[]"),
        ("[12 ]", "12", "[]"),
        ("[-1.5e3,null]", "-1.5e3", "[null]"),
        (r#"["a\"b]",{"a":1}]"#, "a\"b]", r#"[{"a":1}]"#),
        (r#"["\u0061\ud83d\ude00"]"#, "a😀", "[]"),
        (r#"["\ud800",1]"#, "\u{fffd}", "[1]"),
        (r#"["é😀",1]"#, "é😀", "[1]"),
    ];
    for (payload, name, args) in cases {
        assert_eq!(
            split(payload),
            Ok((name.to_owned(), args.to_owned())),
            "{payload}"
        );
    }
}

#[test]
fn names_without_escapes_are_borrowed() {
    let mut text = br#"2["plain",1]"#.to_vec();
    let name = parts(&mut text).unwrap().name.to_str();
    assert!(matches!(name, Cow::Borrowed("plain")), "{name:?}");
}

#[test]
fn reserved_names_are_known_however_they_are_written() {
    for name in RESERVED_EVENTS {
        let escaped = format!("\\u{:04x}{}", u32::from(name.as_bytes()[0]), &name[1..]);
        for written in [name, &escaped] {
            assert_eq!(
                split(&format!(r#"["{written}"]"#)),
                Err(PacketError::ReservedEvent),
                "{written}"
            );
        }
        let other = name.replace('c', "C").replace('L', "l");
        assert_eq!(
            split(&format!(r#"["{other}"]"#)),
            Ok((other, "[]".to_owned()))
        );
    }
}

#[test]
fn splitting_agrees_with_serde_json() {
    for_each_seed(4000, |random| {
        let name = if random.below(4) == 0 {
            json!(random.next() as u32)
        } else {
            Value::String(random.string())
        };
        let mut items = vec![name.clone()];
        items.extend((0..random.below(4)).map(|_| random.value(3)));
        let mut text = vec![b'2'];
        random.write(&Value::Array(items.clone()), &mut text);

        let parts = parts(&mut text).unwrap();
        let wanted = name
            .as_str()
            .map_or_else(|| name.to_string(), str::to_owned);
        assert_eq!(parts.name.to_str(), wanted);
        let args: Vec<Value> = serde_json::from_slice(parts.args).unwrap();
        assert_eq!(args, items[1..]);
    });
}

/// Any bytes: no panic, and what is accepted can be written and read again to the same.
fn fuzz_decode(data: &[u8]) {
    let mut text = data.to_vec();
    let Ok(packet) = decode(&mut text, &LIMITS) else {
        return;
    };
    assert!(packet.attachments <= LIMITS.max_attachments);
    assert_eq!(packet.kind.is_binary(), packet.attachments > 0);
    let mut written = Vec::new();
    encode_head(
        &mut written,
        packet.kind,
        packet.attachments,
        packet.namespace,
        packet.id,
    );
    written.extend_from_slice(packet.payload.as_deref().unwrap_or_default());
    let mut again = written.clone();
    assert_eq!(
        decode(&mut again, &LIMITS).as_ref(),
        Ok(&packet),
        "{}",
        String::from_utf8_lossy(data)
    );
    if packet.kind.is_event() {
        let parts = split_named(packet.payload.unwrap(), packet.name.unwrap()).unwrap();
        assert_eq!(Reader::new(parts.args, LIMITS.max_depth).finish(), Ok(()));
        assert!(!RESERVED_EVENTS.contains(&&*parts.name.to_str()));
    }
}

/// Any bytes at all, and the name of another packet.
fn fuzz_split(data: &[u8]) {
    for other in [r#"2["x"]"#, "2[1]", "2[ 12 ,3]", r#"2["\u0061bcdefgh"]"#] {
        let mut other = other.as_bytes().to_vec();
        let name = decode(&mut other, &LIMITS).unwrap().name.unwrap();
        let mut payload = data.to_vec();
        if let Ok(parts) = split_named(&mut payload, name) {
            assert_eq!(parts.args.first(), Some(&b'['));
            assert!(parts.name.to_str().len() <= 3 * data.len());
        }
    }
}

#[test]
fn no_bytes_make_it_panic() {
    for_each_seed(6000, |random| {
        let (head, .., json) = random.pick(VECTORS);
        let mut text = [head, json].concat().into_bytes();
        for _ in 0..=random.below(4) {
            random.mutate(&mut text);
            fuzz_decode(&text);
            fuzz_split(text.get(1..).unwrap_or_default());
        }
        fuzz_decode(&random.text(40));
        fuzz_split(&random.text(20));
    });
}

fn fixed(seed: u64) -> ProptestConfig {
    ProptestConfig {
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn packets() -> impl Strategy<Value = Owned> {
    let kinds = prop::sample::select(vec!["0", "1", "2", "3", "5", "6"]);
    let namespace = prop_oneof![Just("/".to_owned()), "/[^,]{0,12}"];
    let id = prop::option::of(0..=ACK_ID_MAX);
    (kinds, namespace, id, 1..=10_usize, any::<u64>()).prop_map(
        |(digit, namespace, id, attachments, seed)| {
            let kind = PacketType::from_digit(digit.as_bytes()[0]).unwrap();
            let mut random = Random::new(seed);
            let mut items: Vec<Value> = (0..random.below(3)).map(|_| random.value(2)).collect();
            if kind.is_event() {
                items.insert(0, Value::String(format!("e{}", random.string())));
            }
            if kind.is_binary() {
                items.push(json!({"_placeholder": true, "num": random.below(attachments)}));
            }
            let payload = match kind {
                Disconnect => None,
                Connect => Some(json!({ "token": random.value(2) })),
                _ => Some(Value::Array(items)),
            };
            let payload = payload.map(|payload| payload.to_string());
            let attachments = if kind.is_binary() { attachments } else { 0 };
            Owned {
                kind,
                attachments,
                namespace,
                id,
                payload,
            }
        },
    )
}

proptest! {
    #![proptest_config(fixed(13))]

    #[test]
    fn what_is_encoded_decodes_to_the_same(packet in packets()) {
        prop_assert_eq!(decode_owned(&packet.encode()), Ok(packet));
    }

    #[test]
    fn arbitrary_bytes(data in prop::collection::vec(any::<u8>(), 0..64)) {
        fuzz_decode(&data);
        fuzz_split(&data);
    }

    #[test]
    fn arbitrary_text(digit in "[0-6]", data in ".{0,64}") {
        fuzz_decode((digit + &data).as_bytes());
    }
}
