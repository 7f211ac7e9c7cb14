use serde::Deserialize;

use super::*;
use crate::server::binary::Binary;
use crate::server::fixture::{Fixture, answers, socket};
use crate::server::{Handshake, Transport, testing};

fn extract<T: FromEvent>(fixture: &Fixture) -> Result<T, ExtractError> {
    T::from_event(&fixture.context())
}

#[test]
fn each_extractor_takes_its_part() {
    let event = Fixture::event(r#"["a",{"_placeholder":true,"num":0}]"#).with_attachment(b"xyz");
    let Data((text, binary)) = extract::<Data<(String, Binary)>>(&event).unwrap();
    assert_eq!((text.as_str(), &*binary), ("a", &b"xyz"[..]));
    assert_eq!(
        extract::<EventName>(&event).unwrap(),
        EventName("test".to_owned())
    );
    assert_eq!(extract::<Payload>(&event).unwrap().attachments(), ["xyz"]);
    assert_eq!(extract::<Socket>(&event).unwrap().id(), event.socket.id());
    assert_eq!(extract::<Server>(&event).unwrap().cores(), 0);
    assert_eq!(*extract::<State<String>>(&event).unwrap().clone(), "shared");
    assert!(extract::<TryData<String>>(&event).unwrap().0.is_ok());
    assert!(extract::<TryData<u8>>(&event).unwrap().0.is_err());
    assert!(!extract::<Ack>(&event).unwrap().is_expected());
}

#[test]
fn a_tuple_of_extractors_is_one() {
    let event = Fixture::event("[1]").with_ack(4);
    let (Data(n), ack, (EventName(name), ())) =
        extract::<(Data<u8>, Ack, (EventName, ()))>(&event).unwrap();
    ack.send((name, n));
    assert_eq!(event.answers(), [r#"4["test",1]"#]);
}

#[test]
fn the_first_failure_is_the_reason() {
    let event = Fixture::event("[1]");
    let error = extract::<(Data<u8>, State<u64>, Data<String>)>(&event).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no state of type u64: register it with `.state(value)` on the server's builder"
    );
    assert_eq!(error.log_level(), log::Level::Error);
    let error = extract::<Data<String>>(&event).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("arguments do not match: invalid type: integer `1`"),
        "{error}"
    );
    assert_eq!(error.log_level(), log::Level::Debug);
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn what_the_context_tells() {
    let event = Fixture::event("[1]").with_attachment(b"a").with_ack(2);
    let context = event.context();
    assert_eq!(
        (context.event(), context.json(), context.attachments().len()),
        ("test", &b"[1]"[..], 1)
    );
    assert_eq!(context.state::<u32>().as_deref(), Some(&7));
    assert!(context.state::<u64>().is_none());
    assert!(context.take_ack().is_expected());
    assert!(!context.take_ack().is_expected());
}

/// An extractor of a user's own.
struct Short(String);

impl FromEvent for Short {
    fn from_event(context: &EventContext<'_>) -> Result<Self, ExtractError> {
        let text: String = context.decode()?;
        if text.len() > 3 {
            Err(ExtractError::new("too long"))
        } else {
            Ok(Self(text))
        }
    }
}

#[test]
fn users_write_their_own() {
    assert_eq!(
        extract::<Short>(&Fixture::event(r#"["abc"]"#)).unwrap().0,
        "abc"
    );
    let error = extract::<Short>(&Fixture::event(r#"["abcd"]"#))
        .err()
        .unwrap();
    assert_eq!(error.to_string(), "too long");
    assert!(matches!(
        extract::<Short>(&Fixture::event("[1]")),
        Err(ExtractError::Decode(_))
    ));
}

#[derive(Debug, Deserialize, PartialEq)]
struct Token {
    token: String,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Lax {
    token: Option<String>,
}

#[test]
fn absent_auth_counts_as_an_empty_object() {
    let socket = socket();
    let auth = |json| ConnectContext::new(&socket, json);
    let (absent, present) = (auth(None), auth(Some(&br#"{"token":"t"}"#[..])));
    assert_eq!(Auth::<Token>::from_connect(&present).unwrap().0.token, "t");
    assert!(Auth::<Token>::from_connect(&absent).is_err());
    assert_eq!(
        Auth::<Option<Token>>::from_connect(&absent).unwrap(),
        Auth(None)
    );
    assert_eq!(
        Auth::<Lax>::from_connect(&absent).unwrap(),
        Auth(Lax { token: None })
    );
    assert_eq!(
        Auth::<serde_json::Value>::from_connect(&absent).unwrap(),
        Auth(serde_json::json!({}))
    );
    assert!(absent.auth_json().is_none() && present.auth_json().is_some());
    assert_eq!(present.socket().id(), socket.id());
    assert!(present.state::<u32>().is_some());
    assert!(answers(&socket).is_empty());
}

#[test]
fn reasons_are_named_as_in_node() {
    let names = [
        (
            DisconnectReason::ClientNamespaceDisconnect,
            "client namespace disconnect",
        ),
        (
            DisconnectReason::ServerNamespaceDisconnect,
            "server namespace disconnect",
        ),
        (DisconnectReason::TransportClose, "transport close"),
        (DisconnectReason::TransportError, "transport error"),
        (DisconnectReason::PingTimeout, "ping timeout"),
        (DisconnectReason::ParseError, "parse error"),
        (DisconnectReason::ForcedClose, "forced close"),
        (DisconnectReason::ServerShuttingDown, "server shutting down"),
    ];
    for (reason, name) in names {
        assert_eq!((reason.as_str(), reason.to_string().as_str()), (name, name));
        let socket = socket();
        let context = DisconnectContext::new(&socket, reason);
        assert_eq!(
            DisconnectReason::from_disconnect(&context).unwrap(),
            context.reason()
        );
        assert!(context.state::<u32>().is_some());
    }
}

#[test]
fn a_session_is_handed_to_all_kinds_of_handlers() {
    let event = Fixture::event("[]");
    let socket = &event.socket;
    let missing = Session::<u32>::from_event(&event.context()).unwrap_err();
    assert!(missing.to_string().contains("set_session"), "{missing}");
    assert_eq!(missing.log_level(), log::Level::Debug);
    let absent = Option::<Session<u32>>::from_event(&event.context());
    assert!(absent.unwrap().is_none());
    socket.set_session(5_u32);
    let five: Session<u32> = Session::from_event(&event.context()).unwrap();
    assert_eq!(*five, 5);
    let connect = ConnectContext::new(socket, None);
    assert_eq!(*Session::<u32>::from_connect(&connect).unwrap(), 5);
    let left = DisconnectContext::new(socket, DisconnectReason::TransportClose);
    let five = Option::<Session<u32>>::from_disconnect(&left).unwrap();
    assert_eq!(five.as_deref(), Some(&5));
}

#[test]
fn the_request_is_there_for_all_kinds_of_handlers() {
    let (tell, told) = std::sync::mpsc::channel();
    let builder = Server::builder()
        .on_connection(
            |headers: Headers, handshake: Handshake, transport: Transport| {
                assert_eq!(headers.find("X-Tenant"), Some("blue"));
                assert!(headers.iter().any(|header| header == ("x-tenant", "blue")));
                assert_eq!(handshake.query("lang").as_deref(), Some("eo"));
                // The in-memory client polls.
                assert_eq!(transport, Transport::Polling);
            },
        )
        .on(
            "tenant",
            |headers: Headers, _: Transport, handshake: Handshake| {
                (
                    headers.find("x-tenant").map(str::to_owned),
                    handshake.query("lang").map(|lang| lang.into_owned()),
                )
            },
        )
        .on_disconnecting(|_: Transport, _: Headers| {})
        .on_disconnect(
            move |headers: Headers, _: Handshake, transport: Option<Transport>| {
                let tenant = headers.find("x-tenant").map(str::to_owned);
                tell.send((tenant, transport)).unwrap();
            },
        )
        .on_disconnect(|_: Transport| -> () { unreachable!("it has none any more") });
    testing::run(builder, async |test| {
        let client = test.client().query("lang", "eo").header("x-tenant", "blue");
        let ada = client.connect("/").await.unwrap();
        let answer: (String, String) = ada.emit_with_ack("tenant", ()).await;
        assert_eq!(answer, ("blue".to_owned(), "eo".to_owned()));
        ada.disconnect();
        test.settle().await;
        assert_eq!(told.try_recv(), Ok((Some("blue".to_owned()), None)));
        let counters = test.server().counters();
        assert_eq!((counters.panics, counters.events_rejected), (0, 1));
    });
}
