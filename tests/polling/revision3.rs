//! Clients of Engine.IO 3, that is of Socket.IO 2, where they may come.

use crate::bed::{Bed, Setup, is_node, sid_of};
use crate::wire::{BINARY, Frame, Response, frame, post, request};

fn bed() -> Bed {
    Bed::start(&Setup {
        allow_eio3: true,
        ping_interval_ms: 60_000,
        ping_timeout_ms: 60_000,
        ..Setup::default()
    })
}

/// A session, as the target of its requests.
fn open(bed: &Bed, query: &str) -> String {
    let target = format!("/engine.io/?transport=polling{query}");
    let opened = bed.connect().get(&target);
    assert_eq!(
        opened.header("content-type"),
        Some("text/plain; charset=UTF-8")
    );
    let (length, open) = opened.text().split_once(':').expect("a length");
    assert_eq!(length, open.len().to_string());
    format!("{target}&sid={}", sid_of(open))
}

fn push(bed: &Bed, target: &str, payload: impl AsRef<[u8]>) {
    assert_eq!(bed.connect().ask(post(target, payload)).text(), "ok");
}

fn poll(bed: &Bed, target: &str) -> Response {
    let answer = bed.connect().get(target);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

#[test]
fn whatever_is_not_4_is_3() {
    let bed = bed();
    for query in ["&EIO=3", "", "&EIO=2", "&EIO=abc"] {
        let target = open(&bed, query);
        push(&bed, &target, "3:4hi4:4\u{e9}\u{1f600}");
        assert_eq!(
            poll(&bed, &target).text(),
            "3:4hi4:4\u{e9}\u{1f600}",
            "{query}"
        );
        let four = target
            .replace("transport", "EIO=4&transport")
            .replace(query, "");
        assert_eq!(bed.connect().get(&four).status, 400, "{four}");
    }
    bed.serves();
}

#[test]
fn binary_makes_the_payload_binary_unless_it_may_not() {
    let bed = bed();
    let target = open(&bed, "&EIO=3");
    // 0 and the length in digits of one byte each, and 255: a text; 1: binary, with its type as a byte.
    let mixed = [&[0, 3, 255][..], b"4hi", &[1, 5, 255, 4, 1, 2, 3, 4]].concat();
    push(&bed, &target, "10:b4AQIDBA==3:4hi");
    let answer = poll(&bed, &target);
    assert_eq!(
        answer.header("content-type"),
        Some("application/octet-stream")
    );
    let back = [&[1, 5, 255, 4, 1, 2, 3, 4][..], &[0, 3, 255], b"4hi"].concat();
    assert_eq!(answer.body, back);
    let headers = format!(
        "Content-Type: application/octet-stream\r\nContent-Length: {}\r\n",
        mixed.len()
    );
    let pushed = [request("POST", &target, &headers).as_bytes(), &mixed].concat();
    assert_eq!(bed.connect().ask(pushed).text(), "ok");
    assert_eq!(poll(&bed, &target).body, mixed);
    let target = open(&bed, "&EIO=3&b64=1");
    push(&bed, &target, "10:b4AQIDBA==3:4hi");
    let answer = poll(&bed, &target);
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; charset=UTF-8")
    );
    assert_eq!(answer.text(), "10:b4AQIDBA==3:4hi");
}

#[test]
fn the_client_pings_and_the_server_answers() {
    let bed = bed();
    let target = open(&bed, "&EIO=3");
    push(&bed, &target, "1:2");
    assert_eq!(poll(&bed, &target).text(), "1:3");
    // A pong of the client is against the rules.
    let who = "&who=ponger";
    let target = open(&bed, &format!("&EIO=3{who}"));
    bed.connect().ask(post(&target, "1:3"));
    assert_eq!(bed.reason_of("ponger"), "transport error");
    assert_eq!(bed.connect().get(&target).status, 400);
}

#[test]
fn who_is_silent_is_gone() {
    let bed = Bed::start(&Setup {
        allow_eio3: true,
        ping_interval_ms: 100,
        ping_timeout_ms: 100,
        ..Setup::default()
    });
    let target = open(&bed, "&EIO=3&who=silent");
    assert_eq!(poll(&bed, &target).text(), "1:1");
    assert_eq!(bed.reason_of("silent"), "ping timeout");
}

#[test]
fn what_is_no_payload_is_a_parse_error() {
    let bed = bed();
    for (n, bad) in [
        "x",
        "2:4",
        "4hi",
        "-1:4",
        "1:",
        ":4",
        "99999999999999999999:4",
    ]
    .iter()
    .enumerate()
    {
        let who = format!("bad{n}");
        let target = open(&bed, &format!("&EIO=3&who={who}"));
        let answer = bed.connect().ask(post(&target, bad));
        assert!(matches!(answer.status, 200 | 400), "{bad}");
        assert_eq!(bed.reason_of(&who), "parse error", "{bad}");
    }
    bed.serves();
}

#[test]
fn on_a_websocket_binary_has_its_type() {
    let bed = bed();
    let target = open(&bed, "&EIO=3");
    push(&bed, &target, "3:4hi");
    let mut websocket = bed.connect();
    websocket.upgrade(&target.replace("polling", "websocket"));
    websocket.say("2probe");
    websocket.hear_all(["3probe"]);
    websocket.say("5");
    websocket.hear_all(["4hi"]);
    websocket.send(frame(BINARY, &[4, 1, 2]));
    assert_eq!(websocket.hear(), Frame::Binary(vec![4, 1, 2]));
    websocket.say("2data");
    // Engine.IO protocol 3: "the same data"; Node leaves them out.
    websocket.hear_all([if is_node() { "3" } else { "3data" }]);
}
