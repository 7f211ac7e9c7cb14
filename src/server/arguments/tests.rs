use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::*;
use crate::server::binary::Binary;

/// The argument list that `value` is sent as.
fn list<T: Serialize + ?Sized>(value: &T) -> String {
    String::from_utf8(Arguments::of(value).unwrap().json).unwrap()
}

fn read<T: DeserializeOwned>(json: &str) -> Result<T, String> {
    decode(&Args {
        json: json.as_bytes(),
        attachments: &[],
    })
    .map_err(|error| error.to_string())
}

/// Sends a value and receives it again.
fn there_and_back<T: Serialize + DeserializeOwned>(value: &T) -> T {
    let arguments = Arguments::of(value).unwrap();
    let json = [b"[", &arguments.json[..], b"]"].concat();
    decode(&Args {
        json: &json,
        attachments: &arguments.attachments,
    })
    .unwrap()
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Message {
    from: String,
    kind: Kind,
    files: Vec<File>,
    reply_to: Option<u64>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Text,
    Image(Binary),
    Position(f64, f64),
    Poll { choices: Vec<String> },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct File {
    name: String,
    content: Binary,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Point(f64, f64);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Wrapped((u8, u8));

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Transparent((u8, u8));

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u32),
    Pair((u8, u8)),
    File(File),
}

#[test]
fn a_tuple_is_the_list_and_anything_else_one_argument() {
    assert_eq!(list(&(1, "a")), r#"1,"a""#);
    assert_eq!(list(&((1, "a"),)), r#"[1,"a"]"#);
    assert_eq!(
        list(&(vec![1, 2], (), [3, 4], (5, 6))),
        "[1,2],null,[3,4],[5,6]"
    );
    assert_eq!(list(&()), "");
    assert_eq!(list("text"), r#""text""#);
    assert_eq!(list(&vec![(1, 2), (3, 4)]), "[[1,2],[3,4]]");
    assert_eq!(list(&[1, 2][..]), "[1,2]");
    assert_eq!(list(&Vec::<u8>::new()), "[]");
    assert_eq!(list(&Point(1.5, 2.0)), "[1.5,2.0]");
    assert_eq!(list(&Unit), "null");
    assert_eq!(list(&None::<(u8, u8)>), "null");
    assert_eq!(list(&Some((1, 2))), "[1,2]");
    assert_eq!(
        list(&json!({"a": [1, {"b": null}]})),
        r#"{"a":[1,{"b":null}]}"#
    );
    assert_eq!(list(&Kind::Position(1.0, 2.5)), r#"{"Position":[1.0,2.5]}"#);
}

#[test]
fn what_only_points_at_a_tuple_is_the_tuple() {
    assert_eq!(list(&&(1, 2)), "1,2");
    assert_eq!(list(&Box::new((1, 2))), "1,2");
    assert_eq!(list(&Transparent((1, 2))), "1,2");
    assert_eq!(list(&Untagged::Pair((1, 2))), "1,2");
    assert_eq!(list(&Wrapped((1, 2))), "[1,2]");
    assert_eq!(there_and_back(&Transparent((1, 2))), Transparent((1, 2)));
    assert_eq!(there_and_back(&Wrapped((1, 2))), Wrapped((1, 2)));
    assert_eq!(there_and_back(&Box::new((1, 2))), Box::new((1, 2)));
}

#[test]
fn an_array_is_one_argument() {
    assert_eq!(list(&[1, 2]), "[1,2]");
    assert_eq!(list(&&[1, 2]), "[1,2]");
    assert_eq!(list(&&mut [1, 2]), "[1,2]");
    assert_eq!(list(&[0_u8; 0]), "[]");
    assert_eq!(list(&[(1, 2), (3, 4)]), "[[1,2],[3,4]]");
    assert_eq!(read("[[1,2]]"), Ok([1, 2]));
    assert_eq!(read("[[[1,2]],3]"), Ok([(1, 2)]));
}

#[test]
fn numbers_without_json_form_are_null() {
    assert_eq!(
        list(&(f64::NAN, f64::INFINITY, -f32::INFINITY)),
        "null,null,null"
    );
}

#[test]
fn bytes_become_attachments_in_depth_first_order() {
    let message = Message {
        from: "ada".into(),
        kind: Kind::Image(Binary::from(vec![1])),
        files: vec![
            File {
                name: "a".into(),
                content: Binary::from(vec![2, 2]),
            },
            File {
                name: "b".into(),
                content: Binary::default(),
            },
        ],
        reply_to: None,
    };
    let arguments = Arguments::of(&(&message, Binary::from(vec![9]))).unwrap();
    let expected = concat!(
        r#"{"from":"ada","kind":{"Image":{"_placeholder":true,"num":0}},"#,
        r#""files":[{"name":"a","content":{"_placeholder":true,"num":1}},"#,
        r#"{"name":"b","content":{"_placeholder":true,"num":2}}],"reply_to":null},"#,
        r#"{"_placeholder":true,"num":3}"#
    );
    assert_eq!(String::from_utf8(arguments.json).unwrap(), expected);
    assert_eq!(arguments.attachments, [&[1][..], &[2, 2], &[], &[9]]);
    assert_eq!(there_and_back(&message), message);
}

#[test]
fn structs_enums_and_maps_come_back_as_they_went() {
    for kind in [
        Kind::Text,
        Kind::Position(0.5, -1.0),
        Kind::Poll {
            choices: vec!["a\n\"".into(), "☃".into()],
        },
    ] {
        let message = Message {
            from: String::new(),
            kind,
            files: vec![],
            reply_to: Some(u64::MAX),
        };
        assert_eq!(there_and_back(&message), message);
    }
    assert_eq!(there_and_back(&Unit), Unit);
    assert_eq!(there_and_back(&Point(1.0, 2.0)), Point(1.0, 2.0));
    let by_name = HashMap::from([("x".to_owned(), Some(vec![Binary::from(vec![7])]))]);
    assert_eq!(there_and_back(&by_name), by_name);
    let file = Untagged::File(File {
        name: "f".into(),
        content: Binary::from(vec![0, 255]),
    });
    assert_eq!(there_and_back(&file), file);
    assert_eq!(there_and_back(&Untagged::Number(3)), Untagged::Number(3));
}

#[test]
fn several_lists_can_be_appended_to_one_packet() {
    let mut json = br#"["event","#.to_vec();
    let mut attachments = Vec::new();
    encode(&Binary::from(vec![1]), &mut json, &mut attachments).unwrap();
    json.push(b',');
    encode(&(Binary::from(vec![2]), 3), &mut json, &mut attachments).unwrap();
    let expected = r#"["event",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1},3"#;
    assert_eq!(String::from_utf8(json).unwrap(), expected);
    assert_eq!(attachments, [&[1][..], &[2]]);
}

struct Failing;

impl Serialize for Failing {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("this value fails"))
    }
}

#[test]
fn an_error_leaves_the_buffers_as_they_were() {
    let (mut json, mut attachments) = (b"before".to_vec(), vec![Bytes::from_static(b"kept")]);
    let error = encode(
        &(1, Binary::from(vec![2]), Failing),
        &mut json,
        &mut attachments,
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "arguments cannot be encoded: this value fails"
    );
    assert_eq!((&json[..], attachments.len()), (&b"before"[..], 1));
    let pairs = BTreeMap::from([((1, 2), 3)]);
    assert!(encode(&pairs, &mut json, &mut attachments).is_err());
    assert!(encode(&Failing, &mut json, &mut attachments).is_err());
    assert_eq!((&json[..], attachments.len()), (&b"before"[..], 1));
}

#[test]
fn the_first_argument_or_the_whole_list_is_read() {
    assert_eq!(read(r#"["a",2]"#), Ok("a".to_owned()));
    assert_eq!(read(r#"["a",2]"#), Ok(("a".to_owned(), 2)));
    assert_eq!(read(r#"["a",2]"#), Ok(("a".to_owned(),)));
    assert_eq!(read("[[1,2],3]"), Ok(vec![1, 2]));
    assert_eq!(read(" [ 1 , 2 ] "), Ok((1, 2)));
    assert_eq!(read("[[1,2]]"), Ok(((1, 2),)));
    assert_eq!(read(r#"[{"x":1},[2]]"#), Ok((json!({"x": 1}), json!([2]))));
    assert_eq!(read::<Value>("[[1,2],3]"), Ok(json!([1, 2])));
    assert_eq!(
        read::<Box<RawValue>>("[ {\"a\": 1} ,3]").unwrap().get(),
        "{\"a\": 1}"
    );
}

#[test]
fn surplus_arguments_are_ignored() {
    assert_eq!(read("[1,2,3,[4,{\"five\":6}]]"), Ok((1, 2)));
    assert_eq!(read("[1,2,3]"), Ok(1));
    assert_eq!(read("[1,2,3]"), Ok(()));
    assert_eq!(read(r#"[1,"\ud800"]"#), Ok(1));
}

#[test]
fn missing_arguments_read_as_null() {
    assert_eq!(read("[]"), Ok(()));
    assert_eq!(read("[]"), Ok(None::<u8>));
    assert_eq!(read("[]"), Ok(Value::Null));
    assert_eq!(read("[1]"), Ok((1, None::<u8>, None::<String>)));
    assert_eq!(read("[]"), Ok((None::<u8>, ())));
    assert_eq!(
        read::<(u8, Option<u8>, Value)>("[1]"),
        Ok((1, None, Value::Null))
    );
    let one = read::<u8>("[]").unwrap_err();
    assert!(
        one.starts_with(&error(
            "argument 1 is missing (invalid type: null, expected u8)"
        )),
        "{one}"
    );
    let two = read::<(u8, String)>("[1]").unwrap_err();
    assert!(
        two.starts_with(&error(
            "argument 2 is missing (invalid type: null, expected a string)"
        )),
        "{two}"
    );
    assert_eq!(read("[null]"), Ok(None::<u8>));
}

fn error(reason: &str) -> String {
    format!("arguments do not match: {reason}")
}

#[test]
fn arguments_that_do_not_match_are_an_error() {
    assert!(
        read::<u8>(r#"["1"]"#)
            .unwrap_err()
            .starts_with(&error("invalid type: string \"1\", expected u8"))
    );
    assert!(read::<(u8, u8)>(r#"[[1,2]]"#).is_err());
    assert!(read::<u8>("[256]").is_err());
    assert!(read::<String>(r#"["\ud800"]"#).is_err());
    assert!(read::<Message>(r#"[{"from":"x"}]"#).is_err());
    assert!(read::<[u8; 2]>("[1,2]").is_err());
}

#[test]
fn an_error_is_short_whatever_the_peer_sent() {
    for text in ["x".repeat(100_000), "☃".repeat(100_000)] {
        let error = read::<u8>(&json!([text]).to_string()).unwrap_err();
        assert!(error.len() < 300, "{} bytes", error.len());
    }
    assert_eq!(clipped("☃☃", 4), "☃");
    assert_eq!(clipped("ab", 2), "ab");
    assert_eq!(clipped("ab", 0), "");
}

#[test]
fn deep_nesting_is_refused_without_exhausting_the_stack() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    assert!(read::<Value>(&deep).is_err());
    assert_eq!(read(&deep), Ok(()));
}

thread_local! {
    static TURNS: Cell<u32> = const { Cell::new(0) };
}

/// A type that always succeeds, without asking for anything.
#[derive(Debug, PartialEq)]
struct Lenient(Option<u8>);

impl<'de> Deserialize<'de> for Lenient {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        TURNS.set(TURNS.get() + 1);
        Ok(Self(u8::deserialize(deserializer).ok()))
    }
}

#[test]
fn a_type_that_swallows_errors_is_one_argument() {
    assert_eq!(read("[4,5]"), Ok(Lenient(Some(4))));
    assert_eq!(TURNS.get(), 2, "once for its shape, once for its value");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(13), ..ProptestConfig::default() })]

    #[test]
    fn every_tuple_comes_back(
        text in ".*", number in any::<i64>(), bytes in proptest::collection::vec(any::<u8>(), 0..40), flag in any::<Option<bool>>(),
    ) {
        let value = (text, number, vec![Some(Binary::from(bytes)), None], flag);
        prop_assert_eq!(there_and_back(&value), value);
    }

    #[test]
    fn every_number_of_arguments_fits_every_tuple(values in proptest::collection::vec(any::<i32>(), 0..8)) {
        let json = serde_json::to_string(&values).unwrap();
        let at = |index: usize| values.get(index).copied();
        prop_assert_eq!(read(&json), Ok((at(0), at(1), at(2), at(3))));
        prop_assert_eq!(read(&json), Ok(at(0)));
        prop_assert_eq!(read::<(i32, i32, i32)>(&json).is_ok(), values.len() >= 3);
    }
}

#[test]
fn an_argument_list_is_as_long_as_it_is() {
    use crate::server::ArgList;

    for length in [0, 1, 2, 20] {
        let values = ArgList((0..length).collect::<Vec<u32>>());
        assert_eq!(there_and_back(&values), values);
        assert_eq!(
            list(&values).matches(',').count(),
            length.saturating_sub(1) as usize
        );
    }
    assert_eq!(list(&ArgList(vec![1, 2])), "1,2");
    assert_eq!(
        read::<ArgList<Option<u8>>>("[1,null]").unwrap().0,
        [Some(1), None]
    );
    assert_eq!(read::<ArgList<Binary>>("[]").unwrap().0, []);
    assert!(read::<ArgList<u8>>(r#"[1,"two"]"#).is_err());
    // Within a value it is a list as any other.
    assert_eq!(
        read::<(u8, ArgList<u8>)>("[1,[2,3]]").unwrap(),
        (1, ArgList(vec![2, 3]))
    );
    assert_eq!(list(&(1, ArgList(vec![2, 3]))), "1,[2,3]");
}
