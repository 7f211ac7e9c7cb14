//! Socket.IO on polling: what depends on the transport.

use crate::bed::{Bed, Layout, Setup, on_cores, sid_of};
use crate::session::Session;
use crate::wire::{Frame, post};

const HOME: Layout = Layout {
    home: 0,
    get: 0,
    post: 0,
    websocket: 0,
};

const SOCKET_IO: &str = "/socket.io/?EIO=4&transport=polling";

/// How the socket of this id ended.
fn reason_of(bed: &Bed, id: &str) -> String {
    let mut watcher = Session::socket_io(bed, HOME);
    crate::until("the end of a socket", || {
        watcher.push(r#"427["log"]"#);
        let said = watcher.poll();
        let log: Vec<Vec<String>> =
            serde_json::from_str(said.strip_prefix("437").unwrap()).unwrap();
        log[0]
            .iter()
            .find_map(|line| line.strip_prefix(id)?.strip_prefix(' '))
            .map(str::to_owned)
    })
}

/// A client in the main namespace, and its id there.
fn connected(bed: &Bed, layout: Layout) -> (Session<'_>, String) {
    let mut session = Session::open_at(bed, SOCKET_IO, layout);
    session.push("40");
    let answer = session.poll();
    let id = sid_of(&answer[1..]);
    assert_ne!(id, session.sid, "the session's name is a secret of its own");
    (session, id)
}

#[test]
fn a_client_connects_and_talks() {
    on_cores(&Setup::default(), |bed, layout| {
        let mut session = Session::socket_io(bed, layout);
        session.push("421[\"echo\",\"é\"]\x1e422[\"echo\",[1]]");
        assert_eq!(session.poll_until("432[[1]]"), ["431[\"é\"]", "432[[1]]"]);
        session.push("42[\"burst\",100]\x1e429[\"echo\",0]");
        let packets = session.poll_until("439[0]");
        let said: Vec<String> = (0..100).map(|n| format!("42[\"n\",{n}]")).collect();
        assert_eq!(packets[..100], said);
        // Binary comes as base64 packets behind the event, and goes so.
        session.push("451-3[\"echo\",{\"_placeholder\":true,\"num\":0}]\x1ebAQIDBA==");
        let back = session.poll_until("bAQIDBA==");
        assert_eq!(back[0], "461-3[{\"_placeholder\":true,\"num\":0}]");
    });
}

#[test]
fn namespaces_and_refusals_are_packets_like_others() {
    let bed = Bed::plain();
    let mut session = Session::socket_io(&bed, HOME);
    session.push("40/nowhere,");
    assert_eq!(
        session.poll(),
        "44/nowhere,{\"message\":\"Invalid namespace\"}"
    );
    session.push("421[\"echo\",1]");
    assert_eq!(session.poll(), "431[1]");
}

#[test]
fn volatile_means_that_a_get_is_held() {
    let bed = Bed::plain();
    let mut session = Session::socket_io(&bed, HOME);
    session.push("42[\"volatile\"]");
    assert_eq!(session.poll(), "42[\"said\"]");
    // Once held, both come, together or one after the other.
    session.push("421[\"echo\",1]");
    assert_eq!(session.poll(), "431[1]");
    session.begin_poll();
    for _ in 0..20 {
        session.push("6");
    }
    session.push("42[\"volatile\"]");
    assert!(session.end_poll().starts_with("42[\"v\"]"));
}

#[test]
fn an_upgrade_keeps_sockets_and_their_order() {
    on_cores(&Setup::default(), |bed, layout| {
        let mut session = Session::socket_io(bed, layout);
        session.push("42[\"burst\",3]");
        let mut websocket = session.probe();
        session.push("42[\"burst\",2]");
        websocket.say("5");
        let said = [0, 1, 2, 0, 1].map(|n| format!("42[\"n\",{n}]"));
        websocket.hear_all(said);
        websocket.say("421[\"echo\",7]");
        websocket.hear_all(["431[7]"]);
        session.is_refused_on_polling();
    });
}

#[test]
fn reasons_on_polling_are_those_of_the_protocol() {
    on_cores(&Setup::default(), |bed, layout| {
        let (mut session, id) = connected(bed, layout);
        session.push("1");
        assert_eq!(reason_of(bed, &id), "transport close");
        session.is_unknown();

        let (mut session, id) = connected(bed, layout);
        session.begin_poll();
        drop(std::mem::replace(&mut session.get, bed.connect()));
        assert_eq!(reason_of(bed, &id), "transport error");

        let (mut session, id) = connected(bed, layout);
        session.try_push("x");
        assert_eq!(reason_of(bed, &id), "parse error");

        let (mut session, id) = connected(bed, layout);
        session.push("41");
        assert_eq!(reason_of(bed, &id), "client namespace disconnect");
        // The session is still there.
        session.push("40");
        assert!(session.poll().starts_with("40{"));

        let (mut session, id) = connected(bed, layout);
        session.push("42[\"leave\",false]");
        assert_eq!(session.poll(), "41");
        assert_eq!(reason_of(bed, &id), "server namespace disconnect");
        session.push("40");
        assert!(session.poll().starts_with("40{"));

        let (mut session, id) = connected(bed, layout);
        session.push("42[\"leave\",true]");
        let packets = session.poll_until("1");
        assert_eq!(packets.first().map(String::as_str), Some("41"));
        assert_eq!(reason_of(bed, &id), "server namespace disconnect");
    });
}

#[test]
fn a_protocol_violation_closes_the_session() {
    let bed = Bed::plain();
    for bad in [
        "4",
        "4x",
        "42",
        "42{}",
        "40",
        "44\"no\"",
        "42[\"connect\"]",
        "450-[\"x\"]",
        "bAQID",
        "451-[\"x\"]\x1e42[\"x\"]",
    ] {
        let (mut session, id) = connected(&bed, HOME);
        session.try_push(bad);
        if bad == "42" {
            // No payload at all is taken for no arguments by Node; nothing is handled either way.
            continue;
        }
        // In Node the session ends with the GET that takes the close packet.
        let packets = session.try_poll_until_unknown();
        assert!(
            packets.iter().all(|packet| packet == "1" || packet == "6"),
            "{bad}: {packets:?}"
        );
        let reason = reason_of(&bed, &id);
        assert!(reason.starts_with("forced"), "{bad}: {reason}");
    }
}

impl Session<'_> {
    /// What polls bring until the session is unknown.
    fn try_poll_until_unknown(&mut self) -> Vec<String> {
        let mut packets = Vec::new();
        let target = self.target().to_owned();
        loop {
            let answer = self.get.get(&target);
            if answer.status == 400 {
                return packets;
            }
            packets.extend(answer.text().split('\x1e').map(str::to_owned));
            assert!(packets.len() < 10, "{packets:?}");
        }
    }
}

#[test]
fn who_joins_nothing_in_time_is_put_out() {
    let setup = Setup {
        connect_timeout_ms: 150,
        ..Setup::default()
    };
    on_cores(&setup, |bed, layout| {
        // Without a GET the close packet waits for one.
        let mut session = Session::open_at(bed, SOCKET_IO, layout);
        assert_eq!(session.poll_until("1"), ["1"]);
        session.is_unknown();
        // Refusals do not count.
        let mut session = Session::open_at(bed, SOCKET_IO, layout);
        session.push("40/nowhere,");
        let packets = session.poll_until("1");
        assert_eq!(
            packets,
            ["44/nowhere,{\"message\":\"Invalid namespace\"}", "1"]
        );
    });
}

#[test]
fn clients_of_revision_3_are_served_if_they_may() {
    let bed = Bed::start(&Setup {
        allow_eio3: true,
        ..Setup::default()
    });
    let target = "/socket.io/?EIO=3&transport=polling&b64=1";
    let opened = bed.connect().get(target);
    // `<length>:<packet>`, and the main namespace is joined without being asked for.
    let (length, rest) = opened.text().split_once(':').expect("a length");
    let open = &rest[..length.parse().unwrap()];
    let sid = sid_of(open);
    let mut behind = rest[open.len()..].to_owned();
    let target = format!("{target}&sid={sid}");
    if behind.is_empty() {
        behind = bed.connect().get(&target).text().to_owned();
    }
    assert_eq!(behind, "2:40");
    let pushed = bed.connect().ask(post(&target, "17:421[\"echo\",\"é😀\"]"));
    assert_eq!(pushed.text(), "ok");
    assert_eq!(bed.connect().get(&target).text(), "10:431[\"é😀\"]");
    // The client pings.
    assert_eq!(bed.connect().ask(post(&target, "1:2")).text(), "ok");
    assert_eq!(bed.connect().get(&target).text(), "1:3");
    // EIO must be the same in every request.
    assert_eq!(
        bed.connect().get(&target.replace("EIO=3", "EIO=4")).status,
        400
    );
    let mut websocket = bed.connect();
    websocket.upgrade(&target.replace("polling", "websocket"));
    websocket.say("2probe");
    websocket.hear_all(["3probe"]);
    websocket.say("5");
    websocket.say("421[\"echo\",1]");
    websocket.hear_all(["431[1]"]);
    let mut direct = bed.connect();
    direct.upgrade("/socket.io/?EIO=3&transport=websocket");
    assert!(matches!(direct.hear(), Frame::Text(open) if open.starts_with("0{")));
    direct.hear_all(["40"]);
}
