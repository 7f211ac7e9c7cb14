//! From polling to a WebSocket in every disorder (Engine.IO protocol, "Upgrade"): nothing is lost, doubled or out of order, and whatever goes wrong
//! with a probe is no matter to its session.

use crate::bed::{Bed, ENGINE, Layout, Setup, is_node, on_cores};
use crate::session::{Session, open_websocket};
use crate::wire::{BINARY, CLOSE, Frame, TEXT, UPGRADE, Wire, frame, post, request};

#[test]
fn an_upgrade_by_the_book() {
    on_cores(&Setup::default(), |bed, layout| {
        let mut session = Session::open_on(bed, layout);
        session.echoes();
        session.begin_poll();
        let mut websocket = session.probe();
        // The GET that was held is released, with nothing.
        assert_eq!(session.end_poll(), "6");
        websocket.say("5");
        session.echoes_on(&mut websocket);
        websocket.send(frame(BINARY, &[1, 2]));
        assert_eq!(websocket.hear(), Frame::Binary(vec![1, 2]));
        websocket.say("4bin");
        assert_eq!(websocket.hear(), Frame::Binary(vec![1, 2, 3, 4]));
    });
}

#[test]
fn gets_are_released_as_long_as_the_probe_lives() {
    on_cores(&Setup::default(), |bed, layout| {
        let mut session = Session::open_on(bed, layout);
        session.begin_poll();
        let mut websocket = session.probe();
        assert_eq!(session.end_poll(), "6");
        for _ in 0..3 {
            assert_eq!(session.poll(), "6");
        }
        // There may be something to say, too.
        session.push("4now");
        assert_eq!(session.poll_until("4now"), ["4now"]);
        // One that is on its way with the `5`, whoever comes first. Its transport has ended for it.
        session.begin_poll();
        websocket.say("5");
        websocket.say("4alive?");
        websocket.hear_all(["4alive?"]);
        let answer = session.get.response();
        let bad = br#"{"code":3,"message":"Bad request"}"#;
        let fits = (answer.status == 200 && matches!(&*answer.body, b"6" | b"1"))
            || (answer.status == 400 && answer.body == bad);
        assert!(fits, "{answer:?}");
    });
}

#[test]
fn what_is_said_meanwhile_goes_over_one_of_both_once_and_in_order() {
    on_cores(&Setup::default(), |bed, layout| {
        for round in 0..6 {
            let mut session = Session::open_on(bed, layout);
            let mut said = Vec::new();
            let mut heard = Vec::new();
            let mut burst = |session: &mut Session<'_>, mark: &str| {
                session.push(format!("4burst 50\x1e4{mark}"));
                said.extend((0..50).map(|n| format!("4{n}")));
                said.push(format!("4{mark}"));
            };
            let held = round % 2 == 0;
            if held {
                session.begin_poll();
            }
            let mut websocket = session.knock();
            burst(&mut session, "knocked");
            websocket.say("2probe");
            websocket.hear_all(["3probe"]);
            burst(&mut session, "probed");
            if held {
                heard.extend(session.end_poll().split('\x1e').map(str::to_owned));
            }
            burst(&mut session, "released");
            if round % 3 == 0 {
                heard.extend(session.poll().split('\x1e').map(str::to_owned));
                burst(&mut session, "polled");
            }
            websocket.say("5");
            websocket.say("4end");
            heard.retain(|packet| packet != "6");
            while heard.last().is_none_or(|last| last != "4end") {
                match websocket.hear() {
                    Frame::Text(text) => heard.push(text),
                    other => panic!("{other:?}"),
                }
            }
            heard.pop();
            assert_eq!(heard, said, "round {round} of {layout:?}");
        }
    });
}

/// Clients that cannot read binary bodies on polling (`b64=1`) still read binary frames, and the other way round.
#[test]
fn each_transport_says_by_itself_whether_it_takes_binary() {
    on_cores(&Setup::default(), |bed, layout| {
        for (polling, websocket, wanted) in [
            ("&b64=1", "", Frame::Binary(vec![1, 2, 3, 4])),
            ("", "&b64=1", Frame::Text("bAQIDBA==".to_owned())),
        ] {
            let mut session = Session::open_at(bed, &format!("{ENGINE}{polling}"), layout);
            let target = session.websocket_target().replace("&b64=1", "");
            let mut carrier = bed.connect_to(layout.websocket);
            carrier.upgrade(&format!("{target}{websocket}"));
            carrier.say("2probe");
            carrier.hear_all(["3probe"]);
            // One that has waited for a poll, and one of later.
            session.push("4bin");
            carrier.say("5");
            carrier.say("4bin");
            for _ in 0..2 {
                assert_eq!(carrier.hear(), wanted, "{polling} {websocket}");
            }
        }
    });
}

#[test]
fn no_probe_is_needed() {
    on_cores(&Setup::default(), |bed, layout| {
        let mut session = Session::open_on(bed, layout);
        session.push("4waits");
        let mut websocket = session.knock();
        websocket.say("5");
        websocket.hear_all(["4waits"]);
        session.echoes_on(&mut websocket);
        // Then it is the `5` that releases the GET; `1` is Node's word for it.
        let mut session = Session::open_on(bed, layout);
        session.push("4held");
        session.begin_poll();
        assert_eq!(session.end_poll(), "4held");
        session.begin_poll();
        for _ in 0..20 {
            session.push("6");
        }
        let mut websocket = session.knock();
        websocket.say("5");
        session.echoes_on(&mut websocket);
        let released = session.end_poll();
        assert!(matches!(&*released, "6" | "1"), "{released}");
    });
}

#[test]
fn everything_behind_the_upgrade_request_is_kept() {
    on_cores(&Setup::default(), |bed, layout| {
        // Behind the `5`.
        let mut session = Session::open_on(bed, layout);
        let mut websocket = session.probe();
        let texts = ["5", "4a", "4b", "4c"];
        let frames: Vec<u8> = texts
            .iter()
            .flat_map(|text| frame(TEXT, text.as_bytes()))
            .collect();
        websocket.send(&frames);
        websocket.hear_all(["4a", "4b", "4c"]);
        session.echoes_on(&mut websocket);
        if is_node() {
            // It loses what comes before its 101.
            return;
        }
        // Behind the request itself, at once and cut anywhere.
        let texts = ["2probe", "5", "4a", "4b"];
        let frames: Vec<u8> = texts
            .iter()
            .flat_map(|text| frame(TEXT, text.as_bytes()))
            .collect();
        let cuts = (0..frames.len() + 200).step_by(23);
        for cut in cuts {
            let mut session = Session::open_on(bed, layout);
            session.push("4waits");
            let request = request("GET", &session.websocket_target(), UPGRADE);
            let whole = [request.as_bytes(), &frames].concat();
            let (a, b) = whole.split_at(cut.min(whole.len()));
            let mut websocket = bed.connect_to(layout.websocket);
            websocket.send(a);
            websocket.send(b);
            assert_eq!(websocket.response_to_head().unwrap().status, 101);
            websocket.hear_all(["3probe", "4waits", "4a", "4b"]);
            session.is_refused_on_polling();
        }
    });
}

#[test]
fn so_much_may_come_behind_the_upgrade_request_that_reading_pauses() {
    if is_node() {
        // It loses what comes before its 101.
        return;
    }
    on_cores(&Setup::default(), |bed, layout| {
        let mut held = Session::open_on(bed, layout);
        let mut session = Session::open_on(bed, layout);
        let texts: Vec<String> = (0..100)
            .map(|n| format!("4{n} {}", "x".repeat(4000)))
            .collect();
        let mut bytes = request("GET", held.target(), "").into_bytes();
        bytes.extend(request("GET", &session.websocket_target(), UPGRADE).bytes());
        for text in ["2probe", "5"]
            .into_iter()
            .chain(texts.iter().map(String::as_str))
        {
            bytes.extend(frame(TEXT, text.as_bytes()));
        }
        let mut websocket = bed.connect_to(layout.websocket);
        websocket.send(bytes);
        // None of that is read until the first answer is there.
        held.push("4go");
        assert_eq!(websocket.response().text(), "4go");
        assert_eq!(websocket.response_to_head().unwrap().status, 101);
        websocket.hear_all(["3probe"]);
        websocket.hear_all(&texts);
        session.echoes_on(&mut websocket);
    });
}

#[test]
fn one_connection_asks_for_a_page_polls_and_upgrades() {
    on_cores(&Setup::default(), |bed, layout| {
        let mut session = Session::open_on(bed, layout);
        let target = session.target().to_owned();
        let mut wire = bed.connect_to(layout.websocket);
        assert_eq!(wire.get("/").text(), "hello");
        assert_eq!(wire.ask(post(&target, "4x")).text(), "ok");
        assert_eq!(wire.get(&target).text(), "4x");
        let frames = [
            frame(TEXT, b"2probe"),
            frame(TEXT, b"5"),
            frame(TEXT, b"4y"),
        ]
        .concat();
        let upgrade = request("GET", &session.websocket_target(), UPGRADE);
        if is_node() {
            wire.send(upgrade);
            assert_eq!(wire.response_to_head().unwrap().status, 101);
            wire.send(frames);
        } else {
            // All in one piece, with a page before it.
            let page = request("GET", "/", "");
            wire.send([page.as_bytes(), upgrade.as_bytes(), &frames].concat());
            assert_eq!(wire.response().text(), "hello");
            assert_eq!(wire.response_to_head().unwrap().status, 101);
        }
        wire.hear_all(["3probe", "4y"]);
        session.is_refused_on_polling();
    });
}

/// What a probing WebSocket may not say.
fn nonsense() -> Vec<(&'static str, Vec<u8>)> {
    let text = |text: &str| frame(TEXT, text.as_bytes());
    vec![
        ("another ping", text("2nope")),
        ("an empty ping", text("2")),
        ("a pong", text("3probe")),
        ("a message", text("4hello")),
        ("a close packet", text("1")),
        ("base64", text("bAQID")),
        ("nothing", text("")),
        ("no packet", text("x")),
        ("binary", frame(BINARY, b"2probe")),
        ("an unmasked frame", vec![TEXT, 1, b'5']),
        ("a reserved kind of frame", frame(0x83, b"5")),
        ("no UTF-8", frame(TEXT, &[0xff])),
        ("a close frame", frame(CLOSE, &[3, 232])),
    ]
}

#[test]
fn nonsense_on_the_probe_ends_the_probe_alone() {
    on_cores(&Setup::default(), |bed, layout| {
        let mut session = Session::open_on(bed, layout);
        for (what, bytes) in nonsense() {
            for probes in [false, true] {
                let mut websocket = if probes {
                    session.probe()
                } else {
                    session.knock()
                };
                websocket.send(&bytes);
                websocket.hear_end();
                // The message was none.
                session.push("4alive?");
                assert_eq!(session.poll_until("4alive?"), ["4alive?"], "{what}");
            }
        }
        let mut websocket = session.probe();
        websocket.say("5");
        session.echoes_on(&mut websocket);
    });
}

#[test]
fn a_probe_may_die_at_any_moment() {
    on_cores(&Setup::default(), |bed, layout| {
        let mut session = Session::open_on(bed, layout);
        for moment in 0..6 {
            for resets in [false, true] {
                let websocket = match moment {
                    0 => {
                        let mut wire = bed.connect_to(layout.websocket);
                        wire.send(request("GET", &session.websocket_target(), UPGRADE));
                        wire
                    }
                    1 => session.knock(),
                    2 => {
                        let mut websocket = session.knock();
                        websocket.say("2probe");
                        websocket
                    }
                    3 => session.probe(),
                    4 => {
                        let mut websocket = session.probe();
                        websocket.send(&frame(TEXT, b"5")[..5]);
                        websocket
                    }
                    _ => {
                        session.begin_poll();
                        let websocket = session.probe();
                        assert_eq!(session.end_poll(), "6");
                        websocket
                    }
                };
                if resets {
                    websocket.reset();
                } else {
                    drop(websocket);
                }
                session.push("4alive?");
                assert_eq!(session.poll_until("4alive?"), ["4alive?"], "{moment}");
            }
        }
        upgrade_at_last(&mut session);
    });
}

/// As soon as the server has seen that the last probe is over.
fn upgrade_at_last(session: &mut Session<'_>) {
    let mut websocket = crate::until("another probe", || {
        let mut websocket = session.knock();
        websocket.say("2probe");
        match websocket.hear() {
            Frame::Text(text) => {
                assert_eq!(text, "3probe");
                Some(websocket)
            }
            Frame::Close(_) | Frame::End => None,
            other => panic!("{other:?}"),
        }
    });
    websocket.say("5");
    session.echoes_on(&mut websocket);
}

#[test]
fn a_held_get_outlives_a_probe_that_said_nothing() {
    on_cores(&Setup::default(), |bed, layout| {
        let mut session = Session::open_on(bed, layout);
        session.begin_poll();
        drop(session.knock());
        session.push("4still held");
        assert_eq!(session.end_poll(), "4still held");
    });
}

#[test]
fn after_a_failed_probe_gets_are_held_again() {
    on_cores(&Setup::default(), |bed, layout| {
        let mut session = Session::open_on(bed, layout);
        let mut websocket = session.probe();
        websocket.say("4nonsense");
        websocket.hear_end();
        // The server has to hear of the end first, if it is elsewhere.
        let mut rounds = 0;
        crate::until("a GET that is held", || {
            rounds += 1;
            session.begin_poll();
            session.push(format!("4{rounds}"));
            let said = session.end_poll();
            if said == "6" {
                assert_eq!(session.poll_until(&format!("4{rounds}")).len(), 1);
                return None;
            }
            Some(())
        });
    });
}

#[test]
fn a_second_websocket_is_closed_and_nothing_else() {
    on_cores(&Setup::default(), |bed, layout| {
        let mut session = Session::open_on(bed, layout);
        let mut first = session.probe();
        for _ in 0..2 {
            let mut second = bed.connect_to(layout.post);
            second.send(request("GET", &session.websocket_target(), UPGRADE));
            let answer = second.response_to_head().unwrap();
            if answer.status == 101 {
                second.hear_end();
            } else {
                assert_eq!(answer.status, 400);
            }
        }
        first.say("5");
        session.echoes_on(&mut first);
        let mut third = bed.connect_to(layout.get);
        third.send(request("GET", &session.websocket_target(), UPGRADE));
        let answer = third.response_to_head().unwrap();
        if answer.status == 101 {
            third.hear_end();
        } else {
            assert_eq!(answer.status, 400);
        }
        session.echoes_on(&mut first);
    });
}

#[test]
fn a_session_that_began_on_a_websocket_is_not_taken_over() {
    let bed = Bed::plain();
    if is_node() {
        // It lets the second one in.
        return;
    }
    let (mut websocket, sid, _) = open_websocket(&bed, 0);
    let mut second = bed.connect();
    let target = format!("/engine.io/?EIO=4&transport=websocket&sid={sid}");
    second.send(request("GET", &target, UPGRADE));
    let answer = second.response_to_head().unwrap();
    if answer.status == 101 {
        second.try_send(frame(TEXT, b"5"));
        second.hear_end();
    } else {
        assert_eq!(answer.status, 400);
    }
    websocket.say("4mine");
    websocket.hear_all(["4mine"]);
}

#[test]
fn a_probe_without_end_is_closed_and_may_be_tried_again() {
    let setup = Setup {
        upgrade_timeout_ms: 150,
        ..Setup::default()
    };
    on_cores(&setup, |bed, layout| {
        let mut session = Session::open_on(bed, layout);
        for probes in [false, true] {
            let mut websocket = if probes {
                session.probe()
            } else {
                session.knock()
            };
            websocket.hear_end();
            session.push("4alive?");
            assert_eq!(session.poll_until("4alive?"), ["4alive?"]);
        }
        // Chatter does not prolong it.
        let mut websocket = session.knock();
        let mut probes = 0;
        loop {
            websocket.try_send(frame(TEXT, b"2probe"));
            match websocket.hear() {
                Frame::Text(text) => assert_eq!(text, "3probe"),
                Frame::Close(_) | Frame::End => break,
                other => panic!("{other:?}"),
            }
            probes += 1;
            assert!(probes < 10_000, "it has an end");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        session.echoes_after_a_probe();
    });
}

impl Session<'_> {
    /// As [`Session::echoes`], but noops do not count.
    fn echoes_after_a_probe(&mut self) {
        self.push("4alive?");
        assert_eq!(self.poll_until("4alive?"), ["4alive?"]);
    }
}

#[test]
fn a_session_that_closes_takes_its_probe_along() {
    on_cores(&Setup::default(), |bed, layout| {
        // The client closes.
        let mut session = Session::open_on(bed, layout);
        let mut websocket = session.probe();
        session.push("1");
        websocket.hear_end();
        session.ended_with("transport close");
        // The server closes.
        let mut session = Session::open_on(bed, layout);
        let mut websocket = session.probe();
        session.push("4last\x1e4close");
        assert_eq!(session.poll_until("1"), ["4last", "1"]);
        // It has come too late, whether it was closed by now or not.
        websocket.try_send(frame(TEXT, b"5"));
        websocket.hear_end();
        session.ended_with("forced close");
        // The server closes, and the client, which polls no more, goes on.
        let mut session = Session::open_on(bed, layout);
        let mut websocket = session.probe();
        session.push("4last\x1e4close");
        websocket.say("5");
        websocket.hear_all(["4last"]);
        assert_eq!(websocket.hear(), Frame::Close(None));
        websocket.send(frame(CLOSE, &[]));
        assert_eq!(websocket.hear(), Frame::End);
        session.ended_with("forced close");
        // The same without a word before it.
        let mut session = Session::open_on(bed, layout);
        let mut websocket = session.probe();
        session.push("4close");
        websocket.say("5");
        assert_eq!(websocket.hear(), Frame::Close(None));
        websocket.send(frame(CLOSE, &[]));
        assert_eq!(websocket.hear(), Frame::End);
        session.ended_with("forced close");
        // The transport fails.
        let mut session = Session::open_on(bed, layout);
        let mut websocket = session.knock();
        session.try_push("x");
        websocket.hear_end();
        session.ended_with("parse error");
    });
}

#[test]
fn a_post_that_is_under_way_is_no_obstacle() {
    on_cores(&Setup::default(), |bed, layout| {
        let session = Session::open_on(bed, layout);
        let headers = "Content-Length: 6\r\nExpect: 100-continue\r\n";
        let mut late = bed.connect_to(layout.post);
        late.send(request("POST", session.target(), headers));
        assert_eq!(late.response().status, 100);
        late.send("4la");
        let mut websocket = session.probe();
        websocket.say("5");
        websocket.say("4alive?");
        websocket.hear_all(["4alive?"]);
        late.try_send("te!");
        // It is answered or broken off. What it says is lost or comes, but nothing else of the session is touched.
        let answered = late.try_response();
        if let Ok(answer) = &answered {
            assert!(matches!(answer.status, 200 | 400), "{answer:?}");
        }
        websocket.say("4end");
        let heard = websocket.hear();
        if heard == Frame::text("4late!") {
            websocket.hear_all(["4end"]);
        } else {
            assert_eq!(heard, Frame::text("4end"));
        }
    });
}

#[test]
fn many_upgrade_at_once() {
    let setup = Setup {
        cores: 2,
        ..Setup::default()
    };
    let bed = Bed::start(&setup);
    std::thread::scope(|scope| {
        for client in 0..16 {
            let bed = &bed;
            scope.spawn(move || {
                for round in 0..3 {
                    upgrade_while_talking(bed, client * 3 + round);
                }
            });
        }
    });
}

/// 40 messages on polling, an upgrade in the middle of the answers, 40 more: all come back in order.
fn upgrade_while_talking(bed: &Bed, number: usize) {
    let opened = bed.connect().get(ENGINE);
    let target = format!("{ENGINE}&sid={}", crate::bed::sid_of(opened.text()));
    let mut get = bed.connect();
    let mut post_wire = bed.connect();
    let mut websocket = bed.connect();
    let mut heard: Vec<String> = Vec::new();
    for n in 0..40 {
        let answer = post_wire.ask(post(&target, format!("4{number}:{n}")));
        assert_eq!(answer.text(), "ok");
        if n == 20 {
            websocket.upgrade(&target.replace("polling", "websocket"));
            websocket.say("2probe");
            websocket.hear_all(["3probe"]);
        }
        if n % 7 == number % 7 {
            let payload = get.get(&target);
            heard.extend(payload.text().split('\x1e').map(str::to_owned));
        }
    }
    heard.retain(|packet| packet != "6");
    websocket.say("5");
    for n in 40..80 {
        websocket.say(&format!("4{number}:{n}"));
    }
    while heard.len() < 80 {
        let Frame::Text(text) = websocket.hear() else {
            panic!("a text");
        };
        heard.push(text);
    }
    let said: Vec<String> = (0..80).map(|n| format!("4{number}:{n}")).collect();
    assert_eq!(heard, said);
}

#[test]
fn an_upgraded_session_ends_with_its_websocket() {
    on_cores(&Setup::default(), |bed, layout: Layout| {
        let ends: [fn(Wire); 3] = [drop, Wire::reset, |mut websocket| {
            websocket.send(frame(CLOSE, &[3, 232]));
            assert_eq!(websocket.hear(), Frame::Close(Some(1000)));
        }];
        for end in ends {
            let mut session = Session::open_on(bed, layout);
            let mut websocket = session.probe();
            websocket.say("5");
            session.echoes_on(&mut websocket);
            end(websocket);
            session.ended_with("transport close");
        }
    });
}

#[test]
fn a_websocket_that_takes_no_binary_gets_base64() {
    on_cores(&Setup::default(), |bed, layout| {
        let target = format!("{ENGINE}&b64=1");
        let mut session = Session::open_at(bed, &target, layout);
        session.push("4bin");
        let mut websocket = session.probe();
        websocket.say("5");
        websocket.hear_all(["bAQIDBA=="]);
        websocket.say("4bin");
        websocket.hear_all(["bAQIDBA=="]);
        // What it sends is the client's business.
        websocket.send(frame(BINARY, &[1, 2]));
        websocket.hear_all(["bAQI="]);
        session.echoes_on(&mut websocket);
        let mut direct = bed.connect_to(layout.websocket);
        direct.upgrade(&target.replace("polling", "websocket"));
        assert!(matches!(direct.hear(), Frame::Text(open) if open.starts_with("0{")));
        direct.say("4bin");
        direct.hear_all(["bAQIDBA=="]);
        // Whoever takes it gets it, base64 sent or not.
        let (mut direct, ..) = open_websocket(bed, layout.websocket);
        direct.say("bAQI=");
        assert_eq!(direct.hear(), Frame::Binary(vec![1, 2]));
    });
}

#[test]
fn a_shutdown_waits_for_a_client_that_is_about_to_go_over() {
    // Node's clients notice nothing before their ping times out: it closes the probe, and they have stopped polling.
    if is_node() {
        return;
    }
    let bed = Bed::start(&Setup {
        shutdown_ms: 60_000,
        ..Setup::default()
    });
    let mut session = Session::open(&bed);
    let mut websocket = session.probe();
    session.begin_poll();
    assert_eq!(session.end_poll(), "6");
    drop(session);
    let client = std::thread::spawn(move || {
        // Long enough for the shutdown to begin, mostly; if it has not, this is an upgrade like others, and a shutdown like others.
        std::thread::sleep(std::time::Duration::from_millis(100));
        websocket.say("5");
        assert!(matches!(websocket.hear(), Frame::Close(_)));
        websocket.send(frame(CLOSE, &[]));
        assert_eq!(websocket.hear(), Frame::End);
    });
    bed.shut_down();
    client.join().unwrap();
}
