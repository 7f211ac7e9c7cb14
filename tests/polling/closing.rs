//! How sessions end (Engine.IO protocol, "Closing"), and how a server with sessions ends.

use crate::bed::{Bed, Setup, is_node, on_cores};
use crate::session::{Session, open_websocket};
use crate::wire::{CLOSE, Frame, frame};

#[test]
fn a_close_packet_in_a_post_is_a_farewell() {
    on_cores(&Setup::default(), |bed, layout| {
        let mut session = Session::open_on(bed, layout);
        session.begin_poll();
        session.push("4held");
        assert_eq!(session.end_poll(), "4held");
        session.push("1");
        session.ended_with("transport close");

        let mut session = Session::open_on(bed, layout);
        session.begin_poll();
        // Wherever the GET is by now, it comes to the session before what is asked on its connection later; here it must come first.
        let target = session.target().to_owned();
        hold(&mut session);
        // What stands behind it counts no more.
        let answer = session.post.ask(crate::wire::post(&target, "1\x1e4never"));
        assert_eq!((answer.status, answer.text()), (200, "ok"));
        assert_eq!(session.end_poll(), "6");
        session.ended_with("transport close");
    });
}

/// Waits until the GET that was sent is held: the answer to it is the first one that comes after something was said.
fn hold(session: &mut Session<'_>) {
    session.push("4held");
    assert_eq!(session.end_poll(), "4held");
    session.begin_poll();
    // A GET that is under way on another connection: many requests behind it have been answered by now.
    for _ in 0..20 {
        session.push("6");
    }
}

#[test]
fn the_server_closes_a_session_whose_get_is_held() {
    on_cores(&Setup::default(), |bed, layout| {
        let mut session = Session::open_on(bed, layout);
        session.begin_poll();
        hold(&mut session);
        session.push("4close");
        assert_eq!(session.poll_rest(), ["1"]);
        session.ended_with("forced close");
    });
}

impl Session<'_> {
    /// The packets of the GET that was sent, and of as many as it takes, up to the close packet.
    fn poll_rest(&mut self) -> Vec<String> {
        let mut packets: Vec<String> = Vec::new();
        let mut payload = self.end_poll();
        loop {
            packets.extend(payload.split('\x1e').map(str::to_owned));
            packets.retain(|packet| packet != "6");
            if packets.last().is_some_and(|last| last == "1") {
                return packets;
            }
            payload = self.poll();
        }
    }
}

#[test]
fn what_waits_is_said_before_a_session_closes() {
    on_cores(&Setup::default(), |bed, layout| {
        let mut session = Session::open_on(bed, layout);
        session.push("4a\x1e4burst 3\x1e4close");
        assert_eq!(session.poll_until("1"), ["4a", "40", "41", "42", "1"]);
        session.ended_with("forced close");
        // With nothing to say but that.
        let mut session = Session::open_on(bed, layout);
        session.push("4close");
        assert_eq!(session.poll_until("1"), ["1"]);
        session.ended_with("forced close");
    });
}

#[test]
fn a_websocket_is_closed_without_a_code_and_after_what_waits() {
    on_cores(&Setup::default(), |bed, layout| {
        let (mut websocket, _, who) = open_websocket(bed, layout.websocket);
        websocket.say("4burst 3");
        websocket.say("4close");
        websocket.hear_all(["40", "41", "42"]);
        assert_eq!(websocket.hear(), Frame::Close(None));
        websocket.send(frame(CLOSE, &[]));
        assert_eq!(websocket.hear(), Frame::End);
        assert_eq!(bed.reason_of(&who), "forced close");
        // After an upgrade it is the same.
        let mut session = Session::open_on(bed, layout);
        session.push("4a");
        let mut websocket = session.probe();
        websocket.say("5");
        websocket.say("4close");
        websocket.hear_all(["4a"]);
        assert_eq!(websocket.hear(), Frame::Close(None));
        websocket.send(frame(CLOSE, &[]));
        session.ended_with("forced close");
    });
}

#[test]
fn rules_are_the_same_on_a_websocket() {
    let bed = Bed::plain();
    for (bytes, reason) in [
        (frame(0x81, b"2"), "transport error"),
        (frame(0x81, b"x"), "parse error"),
        (frame(0x81, b""), "parse error"),
        (frame(0x83, b""), "transport error"),
        (frame(CLOSE, &[3, 232]), "transport close"),
    ] {
        let (mut websocket, _, who) = open_websocket(&bed, 0);
        websocket.send(&bytes);
        websocket.hear_end();
        // Node waits for the end of the connection.
        drop(websocket);
        let ended = bed.reason_of(&who);
        assert_eq!(ended, reason, "{bytes:?}");
    }
}

#[test]
fn a_server_that_ends_lets_nobody_wait() {
    let bed = Bed::start(&Setup {
        cores: 2,
        ..Setup::default()
    });
    if is_node() {
        return;
    }
    let connections: Vec<_> = (0..10)
        .map(|n| {
            let opened = bed.connect().get(crate::bed::ENGINE);
            let sid = crate::bed::sid_of(opened.text());
            let target = format!("{}&sid={sid}", crate::bed::ENGINE);
            let mut wire = bed.connect();
            match n % 3 {
                0 => wire.send(crate::wire::request("GET", &target, "")),
                1 => wire.send(crate::wire::request(
                    "POST",
                    &target,
                    "Content-Length: 5\r\n",
                )),
                _ => {
                    wire.upgrade(&target.replace("polling", "websocket"));
                }
            }
            wire
        })
        .collect();
    bed.shut_down();
    for mut wire in connections {
        // Whatever it says last, it ends.
        while wire.try_response_or_frame() {}
    }
}

impl crate::wire::Wire {
    /// Whether something came that is not the end.
    fn try_response_or_frame(&mut self) -> bool {
        use std::io::Read;
        let mut piece = [0; 1024];
        matches!(self.stream.read(&mut piece), Ok(read) if read > 0)
    }
}
