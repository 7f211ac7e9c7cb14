//! GET: held, answered, doubled, broken off (Engine.IO protocol, "HTTP long-polling").

use crate::bed::{Bed, ENGINE, Setup, is_node, on_cores};
use crate::session::Session;
use crate::wire::{post, request};

#[test]
fn a_get_is_held_until_there_is_something_to_say() {
    on_cores(&Setup::default(), |bed, layout| {
        let mut session = Session::open_on(bed, layout);
        session.begin_poll();
        // Had it been answered before, it would have been with something else.
        session.push("4late");
        let answer = session.get.response();
        assert_eq!((answer.status, answer.text()), (200, "4late"));
        assert_eq!(
            answer.header("content-type"),
            Some("text/plain; charset=UTF-8")
        );
        assert_eq!(answer.header("content-length"), Some("5"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    });
}

#[test]
fn what_was_said_between_gets_comes_with_the_next_one_in_order() {
    on_cores(&Setup::default(), |bed, layout| {
        let mut session = Session::open_on(bed, layout);
        session.push("4a\x1e4b");
        session.push("4c");
        session.push("bAQIDBA==\x1e4d");
        assert_eq!(session.poll(), "4a\x1e4b\x1e4c\x1ebAQIDBA==\x1e4d");
        session.push("4burst 1000\x1e4end");
        let said: Vec<String> = (0..1000).map(|n| format!("4{n}")).collect();
        let packets = session.poll_until("4end");
        assert_eq!(packets[..1000], said);
        assert_eq!(packets.len(), 1001);
    });
}

#[test]
fn a_large_answer_comes_whole() {
    on_cores(&Setup::default(), |bed, layout| {
        let mut session = Session::open_on(bed, layout);
        session.push("4big 5000000\x1e4end");
        let packets = session.poll_until("4end");
        assert_eq!(packets[0].len(), 5_000_001);
        assert!(packets[0].starts_with("4xxx") && packets[0].ends_with('x'));
    });
}

#[test]
fn text_survives_as_it_is() {
    let bed = Bed::plain();
    let mut session = Session::open(&bed);
    for text in [
        "4",
        "4é😀\u{0}\u{7f}\u{2028}",
        "4\n\r\n",
        "4b",
        "4\u{fffd}",
        "40",
        "46",
    ] {
        session.push(text);
        assert_eq!(session.poll(), text);
    }
}

#[test]
fn binary_is_base64_on_polling_whatever_the_client_takes() {
    let bed = Bed::plain();
    for b64 in ["", "&b64=1", "&b64=true", "&b64=0"] {
        let layout = crate::bed::Layout {
            home: 0,
            get: 0,
            post: 0,
            websocket: 0,
        };
        let mut session = Session::open_at(&bed, &format!("{ENGINE}{b64}"), layout);
        session.push("4bin");
        assert_eq!(session.poll(), "bAQIDBA==");
        for (sent, back) in [
            ("bAQIDBA==", "bAQIDBA=="),
            ("b", "b"),
            ("b+/+/", "b+/+/"),
            // Padding is the client's to leave out.
            ("bAQIDBA", "bAQIDBA=="),
            ("b-_-_", "b+/+/"),
        ] {
            session.push(sent);
            assert_eq!(session.poll(), back, "{sent}{b64}");
        }
    }
}

#[test]
fn a_second_get_gets_400_and_ends_the_session() {
    on_cores(&Setup::default(), |bed, layout| {
        let mut session = Session::open_on(bed, layout);
        session.push("4first");
        assert_eq!(session.poll(), "4first");
        session.begin_poll();
        // Both GETs may be on their way to the session at once: what comes to the held one shows that it has arrived.
        session.push("4held");
        assert_eq!(session.end_poll(), "4held");
        session.begin_poll();
        let mut other = bed.connect_to(layout.post);
        let target = session.target().to_owned();
        other.send(request("GET", &target, ""));
        let (held, second) = (session.get.response(), other.response());
        // Whichever came second.
        let mut answers = [(held.status, held.body), (second.status, second.body)];
        answers.sort();
        assert_eq!(answers, [(200, b"1".to_vec()), (400, Vec::new())]);
        session.ended_with("transport error");
    });
}

#[test]
fn a_get_that_is_broken_off_ends_the_session_at_once() {
    on_cores(&Setup::default(), |bed, layout| {
        for resets in [false, true] {
            let mut session = Session::open_on(bed, layout);
            session.begin_poll();
            // The GET came before this POST on the same connection, if that is the one.
            session.push("4held");
            assert_eq!(session.end_poll(), "4held");
            session.begin_poll();
            let get = std::mem::replace(&mut session.get, bed.connect());
            if resets {
                // A reset may be faster than the request that it follows.
                until_held(&mut session);
                get.reset();
            } else {
                drop(get);
            }
            session.ended_with("transport error");
        }
    });
}

/// Gives the server the time for a request that was sent on another connection: as many requests on this one.
fn until_held(session: &mut Session<'_>) {
    for _ in 0..20 {
        assert_eq!(session.try_push("6").status, 200);
    }
}

#[test]
fn a_connection_may_end_between_two_gets() {
    on_cores(&Setup::default(), |bed, layout| {
        let mut session = Session::open_on(bed, layout);
        for n in 0..5 {
            session.get = bed.connect_to(layout.get);
            session.post = bed.connect_to(layout.post);
            session.push(format!("4{n}"));
            assert_eq!(session.poll(), format!("4{n}"));
        }
    });
}

#[test]
fn get_and_post_take_turns_on_one_connection() {
    let bed = Bed::plain();
    let mut wire = bed.connect();
    let opened = wire.get(ENGINE);
    let target = format!("{ENGINE}&sid={}", crate::bed::sid_of(opened.text()));
    for n in 0..20 {
        let text = format!("4{n}");
        assert_eq!(wire.ask(post(&target, &text)).text(), "ok");
        assert_eq!(wire.get(&target).text(), text);
    }
}

#[test]
fn requests_in_one_piece_are_answered_one_after_the_other() {
    if is_node() {
        // It ends the connection.
        return;
    }
    let bed = Bed::plain();
    let opened = bed.connect().get(ENGINE);
    let target = format!("{ENGINE}&sid={}", crate::bed::sid_of(opened.text()));
    let mut wire = bed.connect();
    let page = request("GET", "/", "");
    let requests = [
        post(&target, "4a"),
        request("GET", &target, "").into_bytes(),
        page.clone().into_bytes(),
        post(&target, "4b\x1e4c"),
        request("GET", &target, "").into_bytes(),
        request("GET", "/nowhere", "").into_bytes(),
        page.into_bytes(),
    ];
    wire.send(requests.concat());
    for text in ["ok", "4a", "hello", "ok", "4b\x1e4c"] {
        assert_eq!(wire.response().text(), text);
    }
    assert_eq!(wire.response().status, 404);
    assert_eq!(wire.response().text(), "hello");
}

#[test]
fn a_poll_without_an_answer_ends_with_the_ping_timeout() {
    let setup = Setup {
        ping_interval_ms: 100,
        ping_timeout_ms: 200,
        ..Setup::default()
    };
    on_cores(&setup, |bed, layout| {
        let mut session = Session::open_on(bed, layout);
        assert_eq!(session.poll(), "2");
        let last = session.poll();
        assert_eq!(last, "1", "the held GET is released with the close packet");
        session.ended_with("ping timeout");
    });
}

#[test]
fn pongs_keep_a_session_alive_and_a_ping_of_the_client_ends_it() {
    let setup = Setup {
        ping_interval_ms: 50,
        ping_timeout_ms: 10_000,
        ..Setup::default()
    };
    on_cores(&setup, |bed, layout| {
        let mut session = Session::open_on(bed, layout);
        for _ in 0..5 {
            assert_eq!(session.poll(), "2");
            session.push("3");
        }
        let pinged = session.try_push("2");
        // Node answers `ok`, others need not.
        assert!(
            is_node() || matches!(pinged.status, 200 | 400),
            "{pinged:?}"
        );
        session.ended_with("transport error");
    });
}
