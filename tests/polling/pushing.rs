//! POST: taken, refused, doubled, broken off, too long (Engine.IO protocol, "HTTP long-polling").

use crate::bed::{Bed, ENGINE, Setup, is_node, on_cores};
use crate::session::Session;
use crate::wire::{post, request};

/// The beginning of a POST whose body has this length.
fn begun(target: &str, length: usize) -> String {
    request("POST", target, &format!("Content-Length: {length}\r\n"))
}

fn chunked(target: &str, chunks: &[&str]) -> Vec<u8> {
    let mut request = request("POST", target, "Transfer-Encoding: chunked\r\n").into_bytes();
    for chunk in chunks {
        request.extend(format!("{:x}\r\n{chunk}\r\n", chunk.len()).bytes());
    }
    request.extend(b"0\r\n\r\n");
    request
}

#[test]
fn a_post_is_answered_ok_after_its_packets_were_handled() {
    on_cores(&Setup::default(), |bed, layout| {
        let mut session = Session::open_on(bed, layout);
        let answer = session.try_push("4x");
        assert_eq!((answer.status, answer.text()), (200, "ok"));
        assert_eq!(answer.header("content-type"), Some("text/html"));
        assert_eq!(answer.header("content-length"), Some("2"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(session.poll(), "4x");
    });
}

#[test]
fn what_is_not_utf8_is_replaced() {
    let bed = Bed::plain();
    let mut session = Session::open(&bed);
    session.push(b"4a\xffb\x1e4\xc3\x28");
    assert_eq!(session.poll(), "4a\u{fffd}b\x1e4\u{fffd}(");
}

#[test]
fn a_body_may_come_in_any_pieces() {
    let bed = Bed::plain();
    let mut session = Session::open(&bed);
    let target = session.target().to_owned();
    let whole = post(&target, "4one\x1ebAQIDBA==");
    for cut in (1..whole.len()).step_by(3) {
        let (a, b) = whole.split_at(cut);
        session.post.send(a);
        session.post.send(b);
        assert_eq!(session.post.response().text(), "ok", "cut at {cut}");
        assert_eq!(session.poll(), "4one\x1ebAQIDBA==", "cut at {cut}");
    }
    let whole = chunked(&target, &["4o", "n", "e\x1e4tw", "o"]);
    for cut in 1..whole.len() {
        let (a, b) = whole.split_at(cut);
        session.post.send(a);
        session.post.send(b);
        assert_eq!(session.post.response().text(), "ok", "cut at {cut}");
        assert_eq!(session.poll(), "4one\x1e4two", "cut at {cut}");
    }
}

#[test]
fn a_second_post_gets_400_and_ends_the_session() {
    on_cores(&Setup::default(), |bed, layout| {
        let mut session = Session::open_on(bed, layout);
        let target = session.target().to_owned();
        // The server has begun to read when it says so (RFC 9110 §10.1.1).
        let mut first = bed.connect_to(layout.get);
        first.send(request(
            "POST",
            &target,
            "Content-Length: 5\r\nExpect: 100-continue\r\n",
        ));
        assert_eq!(first.response().status, 100);
        first.send("4");
        let second = session.try_push("4never");
        assert_eq!((second.status, &*second.body), (400, &b""[..]));
        first.expect_end();
        session.ended_with("transport error");
    });
}

#[test]
fn a_post_that_is_broken_off_ends_the_session_at_once() {
    on_cores(&Setup::default(), |bed, layout| {
        for expects in [true, false] {
            let session = Session::open_on(bed, layout);
            let mut broken = bed.connect_to(layout.post);
            if expects {
                let headers = "Content-Length: 5\r\nExpect: 100-continue\r\n";
                broken.send(request("POST", session.target(), headers));
                assert_eq!(broken.response().status, 100);
            } else {
                broken.send(begun(session.target(), 5));
            }
            broken.send("4al");
            drop(broken);
            session.ended_with("transport error");
        }
    });
}

#[test]
fn a_packet_that_is_none_ends_the_session_after_those_before_it() {
    on_cores(&Setup::default(), |bed, layout| {
        for bad in [
            "",
            "\x1e",
            "7",
            "x",
            "4a\x1e",
            "4a\x1e\x1e4b",
            "4a\x1eabc\x1e4b",
            "\x1e4a",
            "9probe",
            "\u{e9}",
        ] {
            let mut session = Session::open_on(bed, layout);
            session.push("4before");
            assert_eq!(session.poll(), "4before");
            session.begin_poll();
            session.push("4held");
            assert_eq!(session.end_poll(), "4held");
            let answer = session.try_push(bad);
            assert!(matches!(answer.status, 200 | 400), "{bad:?}: {answer:?}");
            let reason = bed.reason_of(&session.who);
            assert_eq!(reason, "parse error", "{bad:?}");
            session.is_unknown();
        }
    });
}

#[test]
fn packets_before_the_bad_one_are_delivered() {
    on_cores(&Setup::default(), |bed, layout| {
        let mut session = Session::open_on(bed, layout);
        let note = session.who.replace("client", "note");
        session.try_push(format!("4note {note} came\x1e7\x1e4note {note} never"));
        assert_eq!(bed.reason_of(&session.who), "parse error");
        assert_eq!(bed.reason_of(&note), "came");
    });
}

#[test]
fn the_limit_counts_what_was_received_and_is_inclusive() {
    let setup = Setup {
        max_payload: 100,
        ..Setup::default()
    };
    on_cores(&setup, |bed, layout| {
        let mut session = Session::open_on(bed, layout);
        let target = session.target().to_owned();
        let fits = format!("4{}", "y".repeat(99));
        let longer = format!("{fits}y");
        session.push(&fits);
        assert_eq!(session.poll(), fits);
        session
            .post
            .send(chunked(&target, &[&fits[..50], &fits[50..]]));
        assert_eq!(session.post.response().text(), "ok");
        assert_eq!(session.poll(), fits);
        // Bytes count, and not characters.
        let wide = format!("4{}", "é".repeat(50));
        for request in [
            post(&target, &longer),
            post(&target, &wide),
            chunked(&target, &[&longer]),
            chunked(&target, &[&longer[..60], &longer[60..]]),
            post(&target, "4".repeat(10_000)),
        ] {
            let mut wire = bed.connect_to(layout.post);
            let answer = wire.ask(request);
            assert_eq!((answer.status, &*answer.body), (413, &b""[..]));
        }
        // It is told before the body has come to its end.
        let mut wire = bed.connect_to(layout.post);
        wire.send(begun(&target, 1_000_000_000));
        wire.send(&longer);
        assert_eq!(wire.response().status, 413);
        let mut wire = bed.connect_to(layout.post);
        wire.send(request("POST", &target, "Transfer-Encoding: chunked\r\n"));
        wire.send(format!("ffffff\r\n{longer}"));
        assert_eq!(wire.response().status, 413);
        // And the session is none the worse.
        session.post = bed.connect_to(layout.post);
        session.echoes();
    });
}

#[test]
fn binary_bodies_are_of_another_revision() {
    let bed = Bed::plain();
    let headers = "Content-Type: application/octet-stream\r\nContent-Length: 2\r\n";
    let mut session = Session::open(&bed);
    let request = format!("{}4x", request("POST", session.target(), headers));
    let answer = session.post.ask(request);
    assert_eq!((answer.status, &*answer.body), (400, &b""[..]));
    if !is_node() {
        session.ended_with("transport error");
    }
    // Any other type is text, and so is none.
    let mut session = Session::open(&bed);
    for headers in [
        "Content-Length: 2\r\n",
        "Content-Type: application/json\r\nContent-Length: 2\r\n",
        "Content-Type: application/octet-stream;x\r\nContent-Length: 2\r\n",
    ] {
        let request = format!(
            "{}4x",
            crate::wire::request("POST", session.target(), headers)
        );
        assert_eq!(session.post.ask(request).text(), "ok", "{headers}");
        assert_eq!(session.poll(), "4x", "{headers}");
    }
}

#[test]
fn a_body_that_its_chunks_do_not_frame_is_refused() {
    let bed = Bed::plain();
    for bad in [
        "zz\r\n4x\r\n0\r\n\r\n",
        "2\r\n4xyz\r\n0\r\n\r\n",
        "-2\r\n4x\r\n0\r\n\r\n",
    ] {
        let session = Session::open(&bed);
        let mut wire = bed.connect();
        wire.send(request(
            "POST",
            session.target(),
            "Transfer-Encoding: chunked\r\n",
        ));
        wire.send(bad);
        // Whoever frames badly gets a refusal or nothing, and the connection is of no more use.
        if let Ok(answer) = wire.try_response() {
            assert_eq!(answer.status, 400, "{bad:?}");
        }
        wire.expect_end();
        session.ended_with("transport error");
    }
}

#[test]
fn expect_is_answered_and_the_body_may_come_at_once() {
    on_cores(&Setup::default(), |bed, layout| {
        let mut session = Session::open_on(bed, layout);
        let headers = "Content-Length: 2\r\nExpect: 100-continue\r\n";
        let head = request("POST", session.target(), headers);
        session.post.send(&head);
        assert_eq!(session.post.response().status, 100);
        session.post.send("4x");
        assert_eq!(session.post.response().text(), "ok");
        assert_eq!(session.poll(), "4x");
        session.post.send(format!("{head}4y"));
        let mut answer = session.post.response();
        if answer.status == 100 {
            answer = session.post.response();
        }
        assert_eq!(answer.text(), "ok");
        assert_eq!(session.poll(), "4y");
        // Nobody waits for the body of a request that is refused anyway.
        let mut wire = bed.connect_to(layout.post);
        wire.send(request("POST", &format!("{ENGINE}&sid=tobi"), headers));
        let answer = wire.response();
        assert!(
            answer.status == 400 || (is_node() && answer.status == 100),
            "{answer:?}"
        );
    });
}

#[test]
fn who_says_much_and_does_not_listen_is_held_up_and_loses_nothing() {
    on_cores(&Setup::default(), |bed, layout| {
        let mut session = Session::open_on(bed, layout);
        let mut taker = bed.connect_to(layout.get);
        let target = session.target().to_owned();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..20 {
                    session.push(format!("4big 600000\x1e4{n}"));
                }
            });
            let mut next = 0;
            while next < 20 {
                for packet in taker.get(&target).text().split('\x1e') {
                    if !packet.starts_with("4x") {
                        assert_eq!(packet, format!("4{next}"));
                        next += 1;
                    }
                }
            }
        });
    });
}

#[test]
fn who_never_listens_gets_no_answer_at_last() {
    if is_node() {
        // It answers, and keeps everything.
        return;
    }
    let bed = Bed::plain();
    let mut session = Session::open(&bed);
    let order = post(session.target(), "4big 600000");
    // A machine that is slow beyond all makes this end too early, and not fail.
    let patience = Some(std::time::Duration::from_millis(500));
    session.post.stream.set_read_timeout(patience).unwrap();
    let answered = (0..40)
        .take_while(|_| {
            session.post.send(&order);
            session
                .post
                .try_response()
                .is_ok_and(|answer| answer.status == 200)
        })
        .count();
    assert!(
        answered < 40,
        "24 MB wait for a client that asks for none of them"
    );
    // As soon as it listens, it goes on.
    session
        .post
        .stream
        .set_read_timeout(Some(crate::PATIENCE))
        .unwrap();
    let mut heard = 0;
    while heard < answered + 1 {
        heard += session.poll().split('\x1e').count();
    }
    assert_eq!(session.post.response().text(), "ok");
    session.echoes();
}
