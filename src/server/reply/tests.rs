use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::server::fixture::{answers, socket};

/// What the client gets when a handler returns `value`.
fn answer(value: impl IntoReply) -> Result<Vec<String>, HandlerError> {
    let socket = socket();
    value.into_reply(Ack::new(Some((socket.clone(), 1))))?;
    Ok(answers(&socket))
}

fn assert_answer(value: impl IntoReply, expected: &str) {
    assert_eq!(answer(value), Ok(vec![format!("1[{expected}]")]));
}

#[test]
fn values_are_one_argument() {
    assert_answer(true, "true");
    assert_answer(-1_i8, "-1");
    assert_answer(u64::MAX, "18446744073709551615");
    assert_answer(0.5, "0.5");
    assert_answer('c', r#""c""#);
    assert_answer("str", r#""str""#);
    assert_answer(String::from("string"), r#""string""#);
    assert_answer(Cow::Borrowed("cow"), r#""cow""#);
    assert_answer(Some(1), "1");
    assert_answer(None::<u8>, "null");
    assert_answer(vec![1, 2], "[1,2]");
    assert_answer([1, 2], "[1,2]");
    assert_answer(json!({"a": 1}), r#"{"a":1}"#);
    assert_answer(Binary::from(vec![1]), r#"{"_placeholder":true,"num":0}"#);
    assert_answer(Data(BTreeMap::from([("k", 1)])), r#"{"k":1}"#);
}

#[test]
fn tuples_are_the_list() {
    assert_answer((1,), "1");
    assert_answer(
        (1, "b", 3.5, true, 'e', None::<u8>, [7], vec![8]),
        r#"1,"b",3.5,true,"e",null,[7],[8]"#,
    );
    assert_answer(Data((1, 2)), "1,2");
    assert_answer(Data(()), "");
    assert_answer(Payload::encode(&(1, "raw")).unwrap(), r#"1,"raw""#);
}

#[test]
fn results_answer_when_they_are_ok() {
    assert_eq!(answer(()), Ok(vec![]));
    assert_eq!(answer(Ok::<(), &str>(())), Ok(vec![]));
    assert_answer(Ok::<_, String>((1, 2)), "1,2");
    assert_eq!(
        answer(Err::<u8, _>("reason")),
        Err(HandlerError::new("reason"))
    );
    const { assert!(!<Result<Result<(), u8>, u8>>::ANSWERS) };
    const { assert!(<Result<Option<()>, u8>>::ANSWERS) };
}

#[test]
fn an_answer_that_cannot_be_encoded_is_an_error() {
    let pairs = || BTreeMap::from([((1, 2), 3)]);
    assert_eq!(
        answer(Data(pairs())).unwrap_err().to_string(),
        "arguments cannot be encoded: key must be a string"
    );
    let socket = socket();
    let ack = || Ack::new(Some((socket.clone(), 1)));
    assert!(ack().try_send(pairs()).is_err());
    assert_eq!(socket.local().counted(Count::Failed), 0);
    ack().send(pairs());
    assert_eq!(socket.local().counted(Count::Failed), 1);
    assert!(answers(&socket).is_empty());
    ack().send_raw(&Payload::encode("x").unwrap());
    assert_eq!(answers(&socket), [r#"1["x"]"#]);
}

#[test]
fn an_ack_that_is_not_expected_encodes_nothing() {
    let ack = || Ack::new(None);
    let pairs = BTreeMap::from([((1, 2), 3)]);
    assert!(ack().try_send(&pairs).is_ok());
    ack().send(&pairs);
    ack().send_raw(&Payload::encode("x").unwrap());
    assert!(!ack().is_expected());
    assert_eq!(format!("{:?}", ack()), "Ack { id: None }");
}
