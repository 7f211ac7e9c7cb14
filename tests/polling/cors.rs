//! Cross-origin requests, as the npm package `cors` has them: on answers of every kind.

use crate::bed::{Bed, ENGINE, Origin, Setup, Sharing, sid_of};
use crate::wire::{Response, UPGRADE, post, request};

const HERE: &str = "https://a.example";
const THERE: &str = "https://b.example";

fn bed(cors: Option<Sharing>) -> Bed {
    Bed::start(&Setup {
        cors,
        ..Setup::default()
    })
}

fn varies(answer: &Response, on: &str) -> bool {
    answer
        .all("vary")
        .iter()
        .flat_map(|value| value.split(','))
        .any(|name| name.trim().eq_ignore_ascii_case(on))
}

/// Answers of every kind to this origin, each with what it is.
fn answers(bed: &Bed, origin: &str) -> Vec<(&'static str, Response)> {
    let from = format!("Origin: {origin}\r\n");
    let ask = |method: &str, target: &str| bed.connect().ask(request(method, target, &from));
    let opened = ask("GET", ENGINE);
    let target = format!("{ENGINE}&sid={}", sid_of(opened.text()));
    let mut push = String::from_utf8(post(&target, "4x")).unwrap();
    push = push.replacen("\r\n", &format!("\r\n{from}"), 1);
    let pushed = bed.connect().ask(push);
    let polled = ask("GET", &target);
    assert_eq!((pushed.text(), polled.text()), ("ok", "4x"));
    let refused = ask("GET", "/engine.io/?EIO=4&transport=tobi");
    let unknown = ask("GET", &format!("{ENGINE}&sid=tobi"));
    let method = ask("POST", "/socket.io/?EIO=4&transport=polling");
    assert_eq!(
        (refused.status, unknown.status, method.status),
        (400, 400, 400)
    );
    vec![
        ("an opening", opened),
        ("a POST", pushed),
        ("a GET", polled),
        ("a refusal", refused),
        ("an unknown session", unknown),
        ("a bad method", method),
    ]
}

#[test]
fn without_cors_there_is_no_header_and_everybody_is_served() {
    let bed = bed(None);
    for (what, answer) in answers(&bed, THERE) {
        assert!(
            !answer.head.to_lowercase().contains("access-control"),
            "{what}"
        );
        assert!(!varies(&answer, "origin"), "{what}");
    }
}

#[test]
fn any_origin_is_a_star_and_varies_on_nothing() {
    let bed = bed(Sharing::with(Origin::Any));
    for (what, answer) in answers(&bed, THERE) {
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some("*"),
            "{what}"
        );
        assert!(!varies(&answer, "origin"), "{what}");
        assert_eq!(
            answer.header("access-control-allow-methods"),
            None,
            "{what}"
        );
    }
}

#[test]
fn an_origin_is_told_reflected_or_left_out() {
    let both = Origin::List(&["https://x.example", HERE]);
    for (origin, from, told, may_vary) in [
        (Origin::Reflect, THERE, Some(THERE), true),
        (both.clone(), HERE, Some(HERE), true),
        (both, THERE, None, true),
        (Origin::Fixed(HERE), THERE, Some(HERE), true),
    ] {
        let bed = bed(Some(Sharing {
            credentials: true,
            exposed: &["X-A", "X-B"],
            ..Sharing::with(origin.clone()).unwrap()
        }));
        for (what, answer) in answers(&bed, from) {
            let what = format!("{what}: {origin:?}");
            assert_eq!(answer.header("access-control-allow-origin"), told, "{what}");
            assert_eq!(varies(&answer, "origin"), may_vary, "{what}");
            let credentials = answer.header("access-control-allow-credentials");
            assert_eq!(credentials, Some("true"), "{what}");
            let exposed = answer.header("access-control-expose-headers");
            assert_eq!(exposed, Some("X-A,X-B"), "{what}");
        }
    }
}

#[test]
fn a_preflight_is_answered_for_every_target() {
    let asks = "Origin: https://b.example\r\nAccess-Control-Request-Method: POST\r\n\
        Access-Control-Request-Headers: x-one,content-type\r\n";
    let bed = bed(Some(Sharing {
        credentials: true,
        max_age_s: Some(600),
        ..Sharing::with(Origin::Reflect).unwrap()
    }));
    let mut wire = bed.connect();
    for target in [
        ENGINE,
        "/socket.io/",
        "/engine.io/?EIO=4&transport=tobi",
        "/engine.io/?EIO=4&transport=polling&sid=tobi",
    ] {
        let answer = wire.ask(request("OPTIONS", target, asks));
        assert_eq!(answer.status, 204, "{target}");
        for (name, value) in [
            ("access-control-allow-origin", THERE),
            ("access-control-allow-credentials", "true"),
            (
                "access-control-allow-methods",
                "GET,HEAD,PUT,PATCH,POST,DELETE",
            ),
            ("access-control-allow-headers", "x-one,content-type"),
            ("access-control-max-age", "600"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{target}: {name}");
        }
        assert!(varies(&answer, "origin") && varies(&answer, "access-control-request-headers"));
    }
    // The connection is as good as before.
    assert_eq!(wire.get(ENGINE).status, 200);
    let named = self::bed(Some(Sharing {
        allowed: Some(&["X-Only"]),
        ..Sharing::with(Origin::Any).unwrap()
    }));
    let answer = named.connect().ask(request("OPTIONS", ENGINE, asks));
    assert_eq!(
        answer.header("access-control-allow-headers"),
        Some("X-Only")
    );
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
}

#[test]
fn a_websocket_is_told_and_not_stopped() {
    let bed = bed(Sharing::with(Origin::List(&[HERE])));
    for (from, told) in [(HERE, Some(HERE)), (THERE, None)] {
        let headers = format!("{UPGRADE}Origin: {from}\r\n");
        let mut wire = bed.connect();
        wire.send(request("GET", crate::bed::ENGINE_WEBSOCKET, &headers));
        let answer = wire.response_to_head().unwrap();
        assert_eq!(answer.status, 101);
        assert_eq!(answer.header("access-control-allow-origin"), told);
        assert!(varies(&answer, "origin"));
    }
}
