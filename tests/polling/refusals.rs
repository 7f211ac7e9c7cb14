//! The error table of Engine.IO (protocol, "Error codes"), with its order, and which paths are Engine.IO's.

use crate::bed::{Bed, ENGINE, Setup, is_node, sid_of};
use crate::session::{Session, open_websocket};
use crate::wire::{UPGRADE, Wire, request};

const TRANSPORT: (u8, &str) = (0, "Transport unknown");
const SESSION: (u8, &str) = (1, "Session ID unknown");
const METHOD: (u8, &str) = (2, "Bad handshake method");
const REQUEST: (u8, &str) = (3, "Bad request");
const VERSION: (u8, &str) = (5, "Unsupported protocol version");

/// Both speak Engine.IO.
const PATHS: [&str; 2] = ["/socket.io/", "/engine.io/"];

/// Asks, and expects a refusal of a request that wants no WebSocket. The connection is still good for another request.
pub(crate) fn expect_refusal(
    wire: &mut Wire,
    request: &[u8],
    status: u16,
    code: u8,
    message: &str,
) {
    let answer = wire.ask(request);
    let what = String::from_utf8_lossy(request).into_owned();
    let body = serde_json::json!({ "code": code, "message": message }).to_string();
    assert_eq!((answer.status, answer.text()), (status, &*body), "{what}");
    assert_eq!(
        answer.header("content-type"),
        Some("application/json"),
        "{what}"
    );
}

/// The same for one that wants a WebSocket: the bare message, and the end.
pub(crate) fn expect_raw_refusal(bed: &Bed, method: &str, target: &str, message: &str) {
    let mut wire = bed.connect();
    let answer = wire.ask(request(method, target, UPGRADE));
    let what = format!("{method} {target}");
    assert!(
        answer.head.starts_with("HTTP/1.1 400 Bad Request\r\n"),
        "{what}: {answer:?}"
    );
    assert_eq!(answer.text(), message, "{what}");
    assert_eq!(answer.header("content-type"), Some("text/html"), "{what}");
    assert_eq!(answer.header("connection"), Some("close"), "{what}");
    assert_eq!(
        answer.header("content-length"),
        Some(&*message.len().to_string()),
        "{what}"
    );
    wire.expect_end();
}

#[test]
fn requests_without_a_session_are_refused_in_the_order_of_the_protocol() {
    let bed = Bed::plain();
    let cases = [
        ("GET", "", TRANSPORT),
        ("GET", "?", TRANSPORT),
        ("GET", "?EIO=4", TRANSPORT),
        ("GET", "?EIO=4&transport=", TRANSPORT),
        ("GET", "?EIO=4&transport", TRANSPORT),
        ("GET", "?EIO=4&transport=tobi", TRANSPORT),
        ("GET", "?EIO=4&transport=Polling", TRANSPORT),
        ("GET", "?EIO=4&transport=polling%20", TRANSPORT),
        ("GET", "?EIO=4&transport=polling+", TRANSPORT),
        ("GET", "?EIO=4&transport=__proto__", TRANSPORT),
        ("GET", "?EIO=4&transport=constructor", TRANSPORT),
        ("GET", "?EIO=4&transport=webtransport", TRANSPORT),
        ("GET", "?EIO=4&Transport=polling", TRANSPORT),
        // Of a repeated parameter the last counts.
        ("GET", "?EIO=4&transport=polling&transport=tobi", TRANSPORT),
        // The transport comes before everything else.
        ("POST", "?EIO=4&transport=tobi", TRANSPORT),
        ("DELETE", "?EIO=9&transport=tobi&sid=tobi", TRANSPORT),
        ("GET", "?EIO=4&transport=polling&sid=tobi", SESSION),
        ("POST", "?EIO=4&transport=polling&sid=tobi", SESSION),
        ("DELETE", "?EIO=4&transport=polling&sid=tobi", SESSION),
        ("GET", "?EIO=4&transport=websocket&sid=tobi", SESSION),
        // The form of an id, and nobody's.
        (
            "GET",
            "?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA",
            SESSION,
        ),
        (
            "GET",
            "?EIO=4&transport=polling&sid=______________8AAAAA",
            SESSION,
        ),
        ("GET", "?EIO=4&transport=polling&sid=%00", SESSION),
        ("GET", "?EIO=4&transport=polling&sid=__proto__", SESSION),
        // The session comes before the revision.
        ("GET", "?EIO=9&transport=polling&sid=tobi", SESSION),
        ("POST", "?EIO=4&transport=polling", METHOD),
        ("PUT", "?EIO=4&transport=polling", METHOD),
        ("DELETE", "?EIO=4&transport=polling", METHOD),
        ("PATCH", "?EIO=4&transport=polling", METHOD),
        ("OPTIONS", "?EIO=4&transport=polling", METHOD),
        // An empty id is none.
        ("POST", "?EIO=4&transport=polling&sid=", METHOD),
        // The method comes before the revision and before what the transport needs.
        ("POST", "?EIO=9&transport=polling", METHOD),
        ("POST", "?EIO=4&transport=websocket", METHOD),
        ("GET", "?EIO=4&transport=websocket", REQUEST),
        ("GET", "?EIO=9&transport=websocket", REQUEST),
        ("GET", "?transport=polling", VERSION),
        ("GET", "?EIO=&transport=polling", VERSION),
        ("GET", "?EIO=3&transport=polling", VERSION),
        ("GET", "?EIO=5&transport=polling", VERSION),
        ("GET", "?EIO=04&transport=polling", VERSION),
        ("GET", "?EIO=abc&transport=polling", VERSION),
        ("GET", "?EIO=4&EIO=5&transport=polling", VERSION),
    ];
    for path in PATHS {
        let mut wire = bed.connect();
        for (method, query, (code, message)) in cases {
            let request = request(method, &format!("{path}{query}"), "");
            expect_refusal(&mut wire, request.as_bytes(), 400, code, message);
        }
        wire.send(request(
            "HEAD",
            &format!("{path}?EIO=4&transport=polling"),
            "",
        ));
        assert_eq!(wire.response_to_head().unwrap().status, 400);
        let opened = wire.get(&format!("{path}?EIO=4&transport=polling"));
        assert_eq!(
            opened.status, 200,
            "it was the same connection all the time"
        );
    }
}

#[test]
fn requests_of_a_session_must_fit_it() {
    let bed = Bed::plain();
    let mut session = Session::open(&bed);
    let mut wire = bed.connect();
    let target = session.target().to_owned();
    for (method, target) in [
        ("GET", session.websocket_target()),
        ("POST", session.websocket_target()),
        ("GET", target.replace("EIO=4", "EIO=3")),
        ("GET", target.replace("EIO=4&", "")),
        ("GET", target.replace("EIO=4", "EIO=5")),
        ("POST", target.replace("EIO=4", "EIO=3")),
    ] {
        let request = request(method, &target, "");
        expect_refusal(&mut wire, request.as_bytes(), 400, REQUEST.0, REQUEST.1);
    }
    // The transport comes before the session.
    let other = target.replace("polling", "tobi");
    let request = request("GET", &other, "");
    expect_refusal(&mut wire, request.as_bytes(), 400, TRANSPORT.0, TRANSPORT.1);
    session.echoes();

    let (mut websocket, sid, _) = open_websocket(&bed, 0);
    for transport in ["polling", "websocket"] {
        let target = format!("/engine.io/?EIO=4&transport={transport}&sid={sid}");
        let request = crate::wire::request("GET", &target, "");
        if transport == "polling" {
            expect_refusal(&mut wire, request.as_bytes(), 400, REQUEST.0, REQUEST.1);
        } else if !is_node() {
            // Node never answers this one: its transport takes no requests.
            assert_eq!(wire.ask(request).status, 400);
        }
    }
    websocket.say("4alive?");
    websocket.hear_all(["4alive?"]);
}

#[test]
fn a_session_of_one_path_is_unknown_on_another() {
    let bed = Bed::plain();
    let mut session = Session::open(&bed);
    let target = session.target().replace("/engine.io/", "/socket.io/");
    let request = request("GET", &target, "");
    expect_refusal(
        &mut bed.connect(),
        request.as_bytes(),
        400,
        SESSION.0,
        SESSION.1,
    );
    session.echoes();
}

#[test]
fn a_method_that_polling_does_not_know_is_a_server_error_and_no_harm() {
    let bed = Bed::plain();
    let mut session = Session::open(&bed);
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
        let answer = bed.connect().ask(request(method, session.target(), ""));
        assert_eq!((answer.status, &*answer.body), (500, &b""[..]), "{method}");
    }
    session.echoes();
}

#[test]
fn websockets_are_refused_with_the_bare_message_and_the_end() {
    let bed = Bed::plain();
    let mut session = Session::open(&bed);
    for path in PATHS {
        for (method, query, (_, message)) in [
            ("GET", "", TRANSPORT),
            ("GET", "?EIO=4&transport=tobi", TRANSPORT),
            ("GET", "?EIO=4&transport=webtransport", TRANSPORT),
            ("POST", "?EIO=4&transport=tobi", TRANSPORT),
            ("GET", "?EIO=4&transport=websocket&sid=tobi", SESSION),
            ("GET", "?EIO=9&transport=websocket&sid=tobi", SESSION),
            (
                "GET",
                "?EIO=4&transport=websocket&sid=AAAAAAAAAAAAAAAAAAAA",
                SESSION,
            ),
            ("POST", "?EIO=4&transport=websocket", METHOD),
            ("PUT", "?EIO=4&transport=websocket&sid=", METHOD),
        ] {
            expect_raw_refusal(&bed, method, &format!("{path}{query}"), message);
        }
        if is_node() {
            // It answers 101 first, and then the refusal as garbage.
            continue;
        }
        for query in [
            "?transport=websocket",
            "?EIO=5&transport=websocket",
            "?EIO=3&transport=websocket",
        ] {
            expect_raw_refusal(&bed, "GET", &format!("{path}{query}"), VERSION.1);
        }
        expect_raw_refusal(
            &bed,
            "GET",
            &format!("{path}?EIO=4&transport=polling"),
            REQUEST.1,
        );
    }
    let wrong = session.websocket_target().replace("EIO=4", "EIO=3");
    expect_raw_refusal(&bed, "GET", &wrong, REQUEST.1);
    session.echoes();
}

#[test]
fn transports_that_are_not_offered_are_unknown() {
    let polling = Bed::start(&Setup {
        transports: &["polling"],
        ..Setup::default()
    });
    let opened = polling.connect().get(ENGINE);
    assert!(opened.text().contains(r#""upgrades":[]"#), "{opened:?}");
    let target = "/engine.io/?EIO=4&transport=websocket";
    if !is_node() {
        // It takes them for plain requests, since it never upgrades.
        expect_raw_refusal(&polling, "GET", target, TRANSPORT.1);
        let target = format!("{target}&sid={}", sid_of(opened.text()));
        expect_raw_refusal(&polling, "GET", &target, TRANSPORT.1);
    }
    let websocket = Bed::start(&Setup {
        transports: &["websocket"],
        ..Setup::default()
    });
    let request = request("GET", ENGINE, "");
    expect_refusal(
        &mut websocket.connect(),
        request.as_bytes(),
        400,
        TRANSPORT.0,
        TRANSPORT.1,
    );
    open_websocket(&websocket, 0);
}

#[test]
fn the_open_packet_has_five_members_in_their_order() {
    let bed = Bed::start(&Setup {
        max_payload: 12_345,
        ping_interval_ms: 111_000,
        ping_timeout_ms: 99_000,
        ..Setup::default()
    });
    let rest = r#""pingInterval":111000,"pingTimeout":99000,"maxPayload":12345}"#;
    for path in PATHS {
        let opened = bed
            .connect()
            .get(&format!("{path}?EIO=4&transport=polling"));
        let sid = sid_of(opened.text());
        assert_eq!(sid.len(), 20);
        assert!(
            sid.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        );
        let open = format!(r#"0{{"sid":"{sid}","upgrades":["websocket"],{rest}"#);
        assert_eq!(opened.text(), open);
        assert_eq!(
            opened.header("content-type"),
            Some("text/plain; charset=UTF-8")
        );
        assert_eq!(
            opened.header("content-length"),
            Some(&*open.len().to_string())
        );
        assert_eq!(opened.header("cache-control"), Some("no-store"));
        assert_eq!(opened.header("set-cookie"), None);
        assert_eq!(opened.header("access-control-allow-origin"), None);
        let mut websocket = bed.connect();
        websocket.upgrade(&format!("{path}?EIO=4&transport=websocket"));
        let crate::wire::Frame::Text(open) = websocket.hear() else {
            panic!("an open packet");
        };
        let sid = sid_of(&open);
        assert_eq!(open, format!(r#"0{{"sid":"{sid}","upgrades":[],{rest}"#));
    }
    let stays = Bed::start(&Setup {
        allow_upgrades: false,
        ..Setup::default()
    });
    let opened = stays.connect().get(ENGINE);
    assert!(opened.text().contains(r#""upgrades":[],"#), "{opened:?}");
}

#[test]
fn the_path_is_a_prefix_with_its_slash() {
    let bed = Bed::plain();
    let mut wire = bed.connect();
    for (target, status) in [
        ("/engine.io/?EIO=4&transport=polling", 200),
        ("/engine.io/x/y?EIO=4&transport=polling", 200),
        ("/engine.io/?transport=polling&x=%&EIO=4", 200),
        ("/engine.io/?EIO=4&transport=%70olling", 200),
        ("/engine.io/?EIO=4&transport=tobi&transport=polling", 200),
        ("/engine.io/?EIO=4&transport=polling&sid=", 200),
        ("/engine.io?EIO=4&transport=polling", 404),
        ("/engine.iox/?EIO=4&transport=polling", 404),
        ("/ENGINE.IO/?EIO=4&transport=polling", 404),
        ("//engine.io/?EIO=4&transport=polling", 404),
        ("/x/engine.io/?EIO=4&transport=polling", 404),
        ("/engine%2eio/?EIO=4&transport=polling", 404),
    ] {
        for (path, other) in [("engine.io", "engine.io"), ("engine.io", "socket.io")] {
            let target = target.replace(path, other);
            assert_eq!(wire.get(&target).status, status, "{target}");
        }
    }
    // RFC 9112 §3.2.2: a server takes the absolute form, too.
    if !is_node() {
        assert_eq!(
            wire.get("http://x/engine.io/?EIO=4&transport=polling")
                .status,
            200
        );
    }
    let slashless = Bed::start(&Setup {
        trailing_slash: false,
        ..Setup::default()
    });
    let mut wire = slashless.connect();
    for target in [
        "/engine.io?EIO=4&transport=polling",
        "/engine.io/?EIO=4&transport=polling",
    ] {
        for other in ["engine.io", "socket.io"] {
            let target = target.replace("engine.io", other);
            assert_eq!(wire.get(&target).status, 200, "{target}");
        }
    }
}

#[test]
fn files_that_are_not_there_are_requests_without_a_transport() {
    let bed = Bed::plain();
    let mut wire = bed.connect();
    for target in [
        "/socket.io/socket.io.css",
        "/socket.io/x/socket.io.js",
        "/engine.io/engine.io.js",
    ] {
        let request = request("GET", target, "");
        expect_refusal(&mut wire, request.as_bytes(), 400, TRANSPORT.0, TRANSPORT.1);
    }
}
