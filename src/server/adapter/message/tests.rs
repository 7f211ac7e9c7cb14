use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::server::adapter::packet::{Flags, answer_from_json};

fn options() -> Options {
    Options {
        rooms: vec!["a".into(), "b\"".into()],
        except: vec!["c".into()],
        flags: Flags {
            volatile: true,
            compress: Some(false),
            timeout: Some(Duration::from_millis(1500)),
            ..Flags::default()
        },
    }
}

/// One of each kind, with all that it may have.
fn bodies() -> Vec<Body> {
    let packet = |json: &str| Packet::from_json(json, Vec::new()).unwrap();
    let binary = || {
        let json = r#"["file",{"_placeholder":true,"num":0},7]"#;
        Packet::from_json(json, vec![Bytes::from_static(&[0, 255])]).unwrap()
    };
    let request = || RequestId::of_number(7);
    let answer = || answer_from_json(r#"{"a":[1]}"#, Vec::new()).unwrap();
    let socket = SocketDetails {
        id: "abc".into(),
        handshake: r#"{"url":"/"}"#.into(),
        rooms: vec!["abc".into()],
        data: "[1]".into(),
    };
    vec![
        Body::InitialHeartbeat,
        Body::Heartbeat,
        Body::Broadcast {
            packet: packet(r#"["news"]"#),
            options: options(),
            request: Some(request()),
        },
        Body::Broadcast {
            packet: binary(),
            options: Options::default(),
            request: None,
        },
        Body::SocketsJoin {
            options: options(),
            rooms: vec!["x".into()],
        },
        Body::SocketsLeave {
            options: options(),
            rooms: vec![],
        },
        Body::DisconnectSockets {
            options: options(),
            close: true,
        },
        Body::FetchSockets {
            options: options(),
            request: request(),
        },
        Body::FetchSocketsResponse {
            request: request(),
            sockets: vec![socket.clone(), socket],
        },
        Body::ServerSideEmit {
            packet: binary(),
            request: Some(request()),
        },
        Body::ServerSideEmitResponse {
            request: request(),
            answer: answer(),
        },
        Body::BroadcastClientCount {
            request: request(),
            count: 3,
        },
        Body::BroadcastAck {
            request: request(),
            answer: answer(),
        },
        Body::Close,
    ]
}

fn message(body: Body) -> Message {
    Message {
        sender: ServerId::of_number(1),
        namespace: "/chat".into(),
        body,
    }
}

#[test]
fn each_kind_survives_its_json() {
    let mut kinds = Vec::new();
    for body in bodies() {
        kinds.push(body.kind());
        let message = message(body);
        let json = message.to_json();
        assert_eq!(Message::from_json(&json).unwrap(), message, "{json}");
    }
    kinds.dedup();
    assert_eq!(kinds, (1..=13).collect::<Vec<u8>>());
}

#[test]
fn what_node_writes_is_read() {
    let text = r#"{"type":3,"data":{"packet":{"type":2,"data":["hi",1]},"opts":{"rooms":[7,"x",-1.5],"except":null,"flags":{"timeout":0.5,"broadcast":true,"volatile":null}}},"uid":"0123456789abcdef","nsp":"/"}"#;
    let read = Message::from_json(text).unwrap();
    let Body::Broadcast {
        packet,
        options,
        request: None,
    } = read.body
    else {
        panic!("{read:?}");
    };
    assert_eq!(packet.to_json(), r#"["hi",1]"#);
    assert_eq!(options.rooms, ["7", "x", "-1.5"]);
    assert_eq!(options.flags.timeout, Some(Duration::from_micros(500)));
    assert!(options.except.is_empty() && !options.flags.volatile);

    let text = r#"{"type":10,"data":{"requestId":"a"},"uid":"x","nsp":"/"}"#;
    let Body::ServerSideEmitResponse { answer, .. } = Message::from_json(text).unwrap().body else {
        panic!("not an answer");
    };
    assert_eq!(answer.json(), "[null]");
}

#[test]
fn what_is_no_message_is_refused_and_nothing_panics() {
    for text in [
        "",
        "null",
        "[]",
        r#"{"type":0,"uid":"a","nsp":"/"}"#,
        r#"{"type":-1,"uid":"a","nsp":"/"}"#,
        r#"{"type":2,"uid":"","nsp":"/"}"#,
        r#"{"type":2,"uid":"a b","nsp":"/"}"#,
        r#"{"type":2,"uid":"a","nsp":"chat"}"#,
        r#"{"type":3,"uid":"a","nsp":"/"}"#,
        r#"{"type":3,"data":{"packet":{"data":["disconnect"]}},"uid":"a","nsp":"/"}"#,
        r#"{"type":3,"data":{"packet":{"data":["a"]},"attachments":["?"]},"uid":"a","nsp":"/"}"#,
        r#"{"type":11,"data":{"requestId":"a","clientCount":-1},"uid":"a","nsp":"/"}"#,
        r#"{"type":11,"data":{"requestId":"a","clientCount":4294967296},"uid":"a","nsp":"/"}"#,
        r#"{"type":4,"data":{"rooms":[{}]},"uid":"a","nsp":"/"}"#,
    ] {
        assert!(Message::from_json(text).is_err(), "{text}");
    }
    let deep = format!(
        r#"{{"type":8,"data":{{"requestId":"a","sockets":[{{"id":"a","data":{}{}}}]}},"uid":"a","nsp":"/"}}"#,
        "[".repeat(5000),
        "]".repeat(5000)
    );
    assert!(Message::from_json(&deep).is_err());
    let long = format!(r#"{{"type":2,"uid":"{}","nsp":"/"}}"#, "a".repeat(65));
    assert!(Message::from_json(&long).is_err());

    // Every message cut at every place, and with every byte replaced.
    for body in bodies() {
        let json = message(body).to_json();
        for at in 0..json.len() {
            assert!(Message::from_json(&json[..at]).is_err());
            let mut bytes = json.clone().into_bytes();
            for byte in [b'"', b'0', b'{', b']'] {
                bytes[at] = byte;
                let _ = Message::from_json(std::str::from_utf8(&bytes).unwrap());
            }
        }
    }
}

#[test]
fn answers_are_told_from_what_is_said_to_all() {
    let responses: Vec<u8> = bodies()
        .iter()
        .filter(|body| body.is_response())
        .map(Body::kind)
        .collect();
    assert_eq!(responses, [8, 10, 11, 12]);
}
