use std::panic::catch_unwind;

use serde::Serializer;

use super::*;

fn attachments() -> [Bytes; 2] {
    [Bytes::from_static(b"first"), Bytes::from_static(b"second")]
}

fn read<T: DeserializeOwned>(json: &str) -> Result<T, String> {
    let args = Args {
        json: json.as_bytes(),
        attachments: &attachments(),
    };
    arguments::decode(&args).map_err(|error| error.to_string())
}

fn binary(text: &'static str) -> Binary {
    Binary(Bytes::from_static(text.as_bytes()))
}

#[test]
fn placeholders_may_come_in_any_order_and_twice() {
    let json = r#"[{"num":1,"_placeholder":true},{"_placeholder":true,"num":0},{"_placeholder":true,"num":1,"more":[{}]}]"#;
    assert_eq!(
        read(json),
        Ok((binary("second"), binary("first"), binary("second")))
    );
    assert_eq!(read("[]"), Ok(None::<Binary>));
}

#[test]
fn what_is_no_placeholder_is_no_binary_value() {
    for json in [
        r#"[{"num":0}]"#,
        r#"[{"_placeholder":true}]"#,
        r#"[{"_placeholder":false,"num":0}]"#,
        r#"[{"_placeholder":1,"num":0}]"#,
        r#"[{"_placeholder":true,"num":-1}]"#,
        r#"[{"_placeholder":true,"num":0.5}]"#,
        r#"[{"_placeholder":true,"num":"0"}]"#,
        r#"[{"_placeholder":true,"num":18446744073709551616}]"#,
        r#"["first"]"#,
        "[[1,2]]",
        "[null]",
        "[]",
    ] {
        assert!(read::<Binary>(json).is_err(), "{json}");
    }
    let error = read::<Binary>(r#"[{"_placeholder":true,"num":2}]"#).unwrap_err();
    assert!(
        error.contains("binary value 2 of only 2 that came"),
        "{error}"
    );
}

#[test]
fn outside_an_event_there_are_no_attachments() {
    let error = serde_json::from_str::<Binary>(r#"{"_placeholder":true,"num":0}"#).unwrap_err();
    assert!(
        error.to_string().contains("can only be read from an event"),
        "{error}"
    );
}

#[test]
fn received_bytes_are_not_copied() {
    let sent = Bytes::from(vec![1, 2, 3]);
    let args = Args {
        json: br#"[{"_placeholder":true,"num":0}]"#,
        attachments: std::slice::from_ref(&sent),
    };
    let received: Binary = arguments::decode(&args).unwrap();
    assert_eq!(received.0.as_ptr(), sent.as_ptr());
}

/// Decodes other arguments while being decoded itself.
#[derive(Debug, PartialEq)]
struct Nesting(Binary, Binary);

impl<'de> Deserialize<'de> for Nesting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let inner = Payload::encode(&binary("inner")).unwrap();
        let inner = inner.decode::<Binary>().map_err(de::Error::custom)?;
        assert!(Payload::encode(&()).unwrap().decode::<Binary>().is_err());
        Ok(Self(inner, Binary::deserialize(deserializer)?))
    }
}

#[test]
fn scopes_nest() {
    let json = r#"[{"_placeholder":true,"num":1}]"#;
    assert_eq!(read(json), Ok(Nesting(binary("inner"), binary("second"))));
    assert!(ATTACHMENTS.with_borrow(Option::is_none));
}

/// Panics once its value is known.
#[derive(Debug)]
struct Panicking;

impl<'de> Deserialize<'de> for Panicking {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Binary::deserialize(deserializer)?;
        panic!("on purpose, with {value:?}");
    }
}

#[test]
fn a_panic_restores_the_scope() {
    let json = r#"[{"_placeholder":true,"num":0}]"#;
    assert!(catch_unwind(|| read::<Panicking>(json)).is_err());
    assert!(ATTACHMENTS.with_borrow(Option::is_none));
    let outer = Scope::enter(&attachments());
    assert!(
        catch_unwind(|| Payload::encode(&binary("inner"))
            .unwrap()
            .decode::<Panicking>())
        .is_err()
    );
    assert_eq!(attachment(1).unwrap(), "second");
    drop(outer);
    assert!(attachment(0).is_err());
}

#[test]
fn conversions_and_debug() {
    let all = [
        Binary::from(vec![1, 2]),
        Binary::from(&[1, 2][..]),
        Binary::from(Bytes::from_static(&[1, 2])),
    ];
    for binary in all {
        assert_eq!((&*binary, binary.as_ref()), (&[1, 2][..], &[1, 2][..]));
        assert_eq!(format!("{binary:?}"), "Binary(2 bytes)");
    }
    assert_eq!(
        format!("{:?}", Payload::encode(&binary("abc")).unwrap()),
        "Payload(31 bytes, 1 attachments)"
    );
}

/// Bytes of any other type that serialises them as such.
struct Foreign(&'static [u8]);

impl Serialize for Foreign {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

#[test]
fn any_bytes_of_serde_become_attachments() {
    let payload = Payload::encode(&vec![Foreign(b"x")]).unwrap();
    assert_eq!(payload.json(), r#"[[{"_placeholder":true,"num":0}]]"#);
    assert_eq!(payload.attachments(), ["x"]);
}

#[test]
fn formats_that_know_bytes_give_them_inline() {
    let inline = de::value::BytesDeserializer::<de::value::Error>::new(b"inline");
    assert_eq!(Binary::deserialize(inline), Ok(binary("inline")));
}

fn payload(json: &str) -> Payload {
    Payload::of(&Args {
        json: json.as_bytes(),
        attachments: &attachments(),
    })
    .unwrap()
}

#[test]
fn a_payload_passes_on_what_it_cannot_read() {
    let json = r#"[ "\ud800 \udc00\ud83d", 1e999, {"a":1,"a":2},{"_placeholder":true,"num":1} ]"#;
    let payload = payload(json);
    assert_eq!(payload.json(), json);
    assert_eq!(payload.list(), &json.as_bytes()[1..json.len() - 1]);
    assert!(payload.decode::<String>().is_err());
    assert_eq!(payload.attachments(), &attachments()[..]);
}

#[test]
fn a_payload_is_cheap_to_clone_and_may_leave_the_core() {
    fn is_send<T: Send + Sync>(_: &T) {}
    let payload = payload("[1]");
    is_send(&payload);
    let clone = payload.clone();
    assert_eq!(clone, payload);
    assert_eq!(clone.json().as_ptr(), payload.json().as_ptr());
}

#[test]
fn the_list_of_a_payload_has_no_brackets() {
    assert_eq!(payload("[]").list(), b"");
    assert_eq!(payload(" [[1],2]\n").list(), b"[1],2");
    assert_eq!(Payload::encode(&(1, "a")).unwrap().json(), r#"[1,"a"]"#);
    assert_eq!(Payload::encode(&()).unwrap().json(), "[]");
    assert!(
        Payload::of(&Args {
            json: b"[\"\xff\"]",
            attachments: &[]
        })
        .is_err()
    );
}
