//! HTTP/1.1 itself (RFC 9112), where Engine.IO is served with it.

use std::net::Shutdown;

use crate::bed::{Bed, ENGINE, Setup, is_node};
use crate::session::Session;
use crate::wire::{UPGRADE, post, request};

#[test]
fn a_connection_stays_open_unless_somebody_wants_it_closed() {
    let bed = Bed::plain();
    let mut wire = bed.connect();
    for _ in 0..3 {
        for (target, status) in [
            ("/", 200),
            (ENGINE, 200),
            ("/nowhere", 404),
            ("/engine.io/", 400),
        ] {
            assert_eq!(wire.get(target).status, status, "{target}");
        }
    }
    for target in ["/", ENGINE, "/nowhere", "/engine.io/"] {
        let mut wire = bed.connect();
        let answer = wire.ask(request("GET", target, "Connection: close\r\n"));
        assert_eq!(answer.header("connection"), Some("close"), "{target}");
        wire.expect_end();
    }
}

#[test]
fn http_1_0_is_served_and_closed() {
    let bed = Bed::plain();
    for target in ["/", ENGINE, "/engine.io/"] {
        let mut wire = bed.connect();
        let answer = wire.ask(format!("GET {target} HTTP/1.0\r\n\r\n"));
        assert_eq!(
            answer.status,
            if target == "/engine.io/" { 400 } else { 200 },
            "{target}"
        );
        wire.expect_end();
    }
    // Unless it is asked for.
    let mut wire = bed.connect();
    for _ in 0..2 {
        let answer = wire.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!((answer.status, answer.text()), (200, "hello"));
        if is_node() {
            break;
        }
    }
}

#[test]
fn a_head_may_come_in_any_pieces() {
    let bed = Bed::plain();
    let whole = request(
        "GET",
        "/engine.io/?EIO=4&transport=tobi",
        "X-Some: thing\r\n",
    );
    let mut wire = bed.connect();
    for cut in 1..whole.len() {
        let (a, b) = whole.split_at(cut);
        wire.send(a);
        wire.send(b);
        assert_eq!(wire.response().status, 400, "cut at {cut}");
    }
    for byte in whole.bytes() {
        wire.send([byte]);
    }
    assert_eq!(wire.response().status, 400);
}

#[test]
fn a_client_may_stop_sending_and_still_listen() {
    let bed = Bed::plain();
    for target in ["/", "/engine.io/"] {
        let mut wire = bed.connect();
        wire.send(request("GET", target, ""));
        wire.stream.shutdown(Shutdown::Write).unwrap();
        assert!(matches!(wire.response().status, 200 | 400));
        wire.expect_end();
    }
}

#[test]
fn a_head_has_limits() {
    let bed = Bed::plain();
    let long = |length: usize| request("GET", ENGINE, &format!("X: {}\r\n", "y".repeat(length)));
    assert_eq!(bed.connect().ask(long(14_000)).status, 200);
    for (method, upgrade) in [
        ("GET", ""),
        ("POST", "Content-Length: 2\r\n"),
        ("GET", UPGRADE),
    ] {
        let mut wire = bed.connect();
        let headers = format!("{upgrade}X: {}\r\n", "y".repeat(20_000));
        wire.try_send(request(method, ENGINE, &headers));
        assert_eq!(wire.response().status, 431, "{method}");
        wire.expect_end();
    }
    // On a connection that was good before, too.
    let mut wire = bed.connect();
    assert_eq!(wire.get("/").status, 200);
    wire.try_send(long(20_000));
    assert_eq!(wire.response().status, 431);
    wire.expect_end();
    if !is_node() {
        let mut wire = bed.connect();
        wire.try_send(request("GET", ENGINE, &"X: y\r\n".repeat(200)));
        assert_eq!(wire.response().status, 431);
        wire.expect_end();
        let mut wire = bed.connect();
        wire.try_send(request(
            "GET",
            &format!("{ENGINE}&x={}", "y".repeat(9000)),
            "",
        ));
        assert!(matches!(wire.response().status, 414 | 431));
        wire.expect_end();
    }
    bed.serves();
}

#[test]
fn a_head_that_never_ends_is_given_up() {
    let bed = Bed::start(&Setup {
        handshake_timeout_ms: 300,
        ..Setup::default()
    });
    for begin in [
        "",
        "G",
        "GET / HTTP/1.1\r\nHost: x\r\n",
        "POST /engine.io/ HTTP/1.1\r\nX",
    ] {
        if begin.is_empty() && is_node() {
            continue;
        }
        let mut wire = bed.connect();
        wire.send(begin);
        if let Ok(answer) = wire.try_response() {
            assert_eq!(answer.status, 408, "{begin:?}");
        }
        wire.expect_end();
    }
    // The second head on a connection, as well.
    let mut wire = bed.connect();
    assert_eq!(wire.get("/").status, 200);
    wire.send("GET / HT");
    if let Ok(answer) = wire.try_response() {
        assert_eq!(answer.status, 408);
    }
    wire.expect_end();
    // A GET that is held is longer than that, and so is a body that is slow.
    let mut session = Session::open(&bed);
    session.begin_poll();
    let late = post(session.target(), "4late");
    let (head, body) = late.split_at(late.len() - 5);
    session.post.send(head);
    for byte in body {
        std::thread::sleep(std::time::Duration::from_millis(100));
        session.post.send([*byte]);
    }
    assert_eq!(session.post.response().text(), "ok");
    assert_eq!(session.end_poll(), "4late");
}

#[test]
fn a_body_that_nobody_reads_does_not_become_a_request() {
    let bed = Bed::plain();
    let inner = request("GET", "/", "");
    for target in [
        "/engine.io/?EIO=4&transport=polling",
        "/engine.io/?EIO=4&transport=polling&sid=tobi",
    ] {
        let mut wire = bed.connect();
        wire.send(post(target, &inner));
        assert_eq!(wire.response().status, 400);
        // Then the end, or the answer to what comes behind the body.
        wire.try_send(request("GET", "/engine.io/?EIO=4&transport=tobi", ""));
        if let Ok(answer) = wire.try_response() {
            assert!(answer.text().contains("Transport unknown"), "{answer:?}");
        }
    }
    bed.serves();
}

#[test]
fn a_get_may_have_a_body_and_it_is_skipped() {
    let bed = Bed::plain();
    let mut wire = bed.connect();
    let opened = wire.ask(format!(
        "{}4no",
        request("GET", ENGINE, "Content-Length: 3\r\n")
    ));
    assert_eq!(opened.status, 200);
    let target = format!("{ENGINE}&sid={}", crate::bed::sid_of(opened.text()));
    assert_eq!(wire.ask(post(&target, "4yes")).text(), "ok");
    assert_eq!(wire.get(&target).text(), "4yes");
}

#[test]
fn a_request_behind_a_held_get_waits() {
    let bed = Bed::plain();
    let mut session = Session::open(&bed);
    let poll = request("GET", session.target(), "");
    session
        .get
        .send([poll.as_bytes(), request("GET", "/", "").as_bytes()].concat());
    session.push("4first");
    assert_eq!(session.end_poll(), "4first");
    assert_eq!(session.get.response().text(), "hello");
}

#[test]
fn a_connection_that_rests_too_long_is_closed_and_a_held_get_is_no_rest() {
    let bed = Bed::start(&Setup {
        keep_alive_ms: 300,
        ..Setup::default()
    });
    let mut session = Session::open(&bed);
    session.begin_poll();
    for target in ["/", ENGINE, "/engine.io/"] {
        let mut wire = bed.connect();
        wire.get(target);
        wire.expect_end();
    }
    // Three times that long, it is held.
    session.post = bed.connect();
    session.push("4still");
    assert_eq!(session.end_poll(), "4still");
    session.get.expect_end();
    let mut websocket = session.probe();
    websocket.say("5");
    std::thread::sleep(std::time::Duration::from_millis(600));
    session.echoes_on(&mut websocket);
}
