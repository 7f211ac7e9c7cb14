use super::*;
use crate::server::fixture;
use crate::server::{Auth, State};

#[test]
fn a_rejection_is_an_object_with_a_message_and_data_only_if_there_is_any() {
    let json = |rejection: Rejection| rejection.to_json();
    assert_eq!(json("no".into()), r#"{"message":"no"}"#);
    assert_eq!(
        json(Rejection::new("say \"a\"\n").data(1)),
        r#"{"message":"say \"a\"\n","data":1}"#
    );
    let details = serde_json::json!({ "code": 17, "text": "\u{2028}" });
    assert_eq!(
        json(Rejection::new("no").data(details)),
        "{\"message\":\"no\",\"data\":{\"code\":17,\"text\":\"\u{2028}\"}}"
    );
    let keyed_by_pair = std::collections::BTreeMap::from([((1, 2), "x")]);
    assert_eq!(
        json(Rejection::new("no").data(keyed_by_pair)),
        r#"{"message":"no"}"#,
        "what is no JSON is left out"
    );
}

/// What a middleware says to a client with this `auth`.
fn decide<M>(
    socket: &Socket,
    auth: &str,
    middleware: impl Middleware<M> + Send + Sync,
) -> Result<(), String> {
    let middleware = shared_middleware(middleware)();
    let passage = middleware(&ConnectContext::new(socket, Some(auth.as_bytes())));
    match passage {
        Passage::Decided(decided) => decided.map_err(|rejection| rejection.to_json()),
        Passage::Undecided(_) => panic!("it waits"),
    }
}

#[test]
fn whatever_a_middleware_returns_lets_in_or_refuses() {
    let socket = &fixture::socket();
    let no = Err(r#"{"message":"no"}"#.to_owned());
    assert_eq!(decide(socket, "{}", || {}), Ok(()));
    assert_eq!(decide(socket, "{}", || Err::<(), _>("no")), no);
    assert_eq!(decide(socket, "{}", || Err::<(), _>("no".to_owned())), no);
    assert_eq!(decide(socket, "{}", async || Ok::<_, &str>(())), Ok(()));
    assert_eq!(
        decide(socket, "{}", async |_: Socket| Err::<(), _>(
            Rejection::new("no")
        )),
        no
    );
    assert!(socket.session::<u8>().is_none());
    assert_eq!(decide(socket, "{}", || Session::new(7_u8)), Ok(()));
    assert_eq!(socket.session::<u8>().as_deref(), Some(&7));
    let refused = || Err::<Session<u8>, _>("no");
    assert_eq!(decide(socket, "{}", refused), no);
    assert_eq!(socket.session::<u8>().as_deref(), Some(&7));
}

#[test]
fn a_parameter_that_cannot_be_had_refuses() {
    let socket = &fixture::socket();
    let wants_text = |Auth(_): Auth<(String,)>| {};
    let refused = decide(socket, r#"{"a":1}"#, wants_text).unwrap_err();
    assert!(refused.contains("invalid type: map"), "{refused}");
    let refused = decide(socket, "{}", |_: State<Vec<u8>>| {}).unwrap_err();
    assert_eq!(
        refused, r#"{"message":"Internal error"}"#,
        "what the program lacks is none of the client's business"
    );
    let refused = decide(socket, "{}", async |_: Session<Vec<u8>>| {}).unwrap_err();
    assert_eq!(refused, r#"{"message":"Internal error"}"#);
}
