use super::*;
use crate::proto::reason::DisconnectReason;
use crate::wire::json::tests::{Random, for_each_seed};

const HEARTBEAT: Heartbeat = Heartbeat {
    interval_ms: 25_000,
    timeout_ms: 20_000,
};

mod polling;

/// A session on a virtual clock: every test says how far the clock moves.
struct Bench {
    now_ms: u64,
    session: Session,
}

impl Bench {
    fn open_at(now_ms: u64) -> Self {
        Self {
            now_ms,
            session: Session::open(now_ms, &HEARTBEAT, Transport::WebSocket, Revision::V4),
        }
    }

    /// Moves the clock, and calls the session if it is due.
    fn advance(&mut self, ms: u64) -> Timeout {
        self.now_ms += ms;
        self.session.handle_timeout(self.now_ms, &HEARTBEAT)
    }

    /// What a text does, told as a text.
    fn text(&mut self, text: &str) -> String {
        let mut text = text.as_bytes().to_vec();
        format!(
            "{:?}",
            self.session.handle_text(self.now_ms, &HEARTBEAT, &mut text)
        )
    }

    fn due_in(&self) -> u64 {
        self.session.next_deadline_ms() - self.now_ms
    }
}

#[test]
fn stays_small() {
    assert!(size_of::<Session>() <= 24, "{}", size_of::<Session>());
}

#[test]
fn open_packet_has_five_keys_in_order() {
    let mut out = Vec::new();
    Session::open_packet(
        &mut out,
        "lv_VI97HAXpY6yYWAAAC",
        &["websocket"],
        &HEARTBEAT,
        1_000_000,
    );
    let wanted = r#"0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
    assert_eq!(str::from_utf8(&out), Ok(wanted));

    let mut out = b"x".to_vec();
    Session::open_packet(
        &mut out,
        "a",
        &[],
        &Heartbeat {
            interval_ms: 300,
            timeout_ms: 200,
        },
        0,
    );
    let wanted =
        r#"x0{"sid":"a","upgrades":[],"pingInterval":300,"pingTimeout":200,"maxPayload":0}"#;
    assert_eq!(str::from_utf8(&out), Ok(wanted));

    let mut out = Vec::new();
    Session::open_packet(&mut out, "a\"b", &["x", "y"], &HEARTBEAT, 7);
    let value: serde_json::Value = serde_json::from_slice(&out[1..]).unwrap();
    assert_eq!(value["sid"], "a\"b");
    assert_eq!(value["upgrades"], serde_json::json!(["x", "y"]));
}

#[test]
fn pings_after_the_interval_and_again_after_each_pong() {
    let mut bench = Bench::open_at(1_000_000);
    assert_eq!(bench.due_in(), 25_000);
    assert_eq!(bench.advance(24_999), Timeout::Nothing);
    assert_eq!(bench.advance(1), Timeout::Ping);
    assert_eq!(bench.due_in(), 20_000);
    assert_eq!(bench.advance(300), Timeout::Nothing);
    assert_eq!(bench.text("3"), "Nothing");
    assert_eq!(bench.due_in(), 25_000, "from the pong, not from the ping");
    assert_eq!(bench.advance(25_000), Timeout::Ping);
}

#[test]
fn ends_without_a_pong() {
    let mut bench = Bench::open_at(0);
    assert_eq!(bench.advance(25_000), Timeout::Ping);
    assert_eq!(bench.advance(19_999), Timeout::Nothing);
    assert_eq!(bench.advance(1), Timeout::Close(CloseReason::PingTimeout));
    assert_eq!(bench.session.next_deadline_ms(), u64::MAX);
    assert_eq!(bench.advance(1_000_000), Timeout::Nothing);
    assert_eq!(bench.text("4late"), "Nothing", "nothing after the end");
    assert_eq!(
        bench
            .session
            .handle_binary(bench.now_ms, &HEARTBEAT, b"late"),
        Output::Nothing
    );
}

#[test]
fn a_late_timer_does_not_shorten_the_wait() {
    let mut bench = Bench::open_at(0);
    assert_eq!(bench.advance(60_000), Timeout::Ping);
    assert_eq!(bench.due_in(), 20_000);
}

#[test]
fn first_packet_while_waiting_extends_once_per_ping() {
    for binary in [false, true] {
        let mut bench = Bench::open_at(0);
        let hear = |bench: &mut Bench| {
            if binary {
                bench.session.handle_binary(bench.now_ms, &HEARTBEAT, b"x");
            } else {
                bench.text("4x");
            }
        };
        assert_eq!(bench.advance(25_000), Timeout::Ping);
        bench.now_ms += 15_000;
        hear(&mut bench);
        assert_eq!(bench.due_in(), 20_000);
        bench.now_ms += 5_000;
        hear(&mut bench);
        assert_eq!(bench.due_in(), 15_000, "the second packet does not count");
        bench.text("3");
        assert_eq!(bench.advance(25_000), Timeout::Ping);
        bench.now_ms += 1_000;
        hear(&mut bench);
        assert_eq!(bench.due_in(), 20_000, "a new ping, a new allowance");
        assert_eq!(
            bench.advance(20_000),
            Timeout::Close(CloseReason::PingTimeout)
        );
    }
}

#[test]
fn messages_do_not_postpone_the_ping() {
    let mut bench = Bench::open_at(0);
    for _ in 0..24 {
        assert_eq!(bench.advance(1_000), Timeout::Nothing);
        bench.text("4x");
    }
    assert_eq!(bench.due_in(), 1_000);
    assert_eq!(bench.advance(1_000), Timeout::Ping);
}

#[test]
fn a_pong_without_a_ping_restarts_the_interval() {
    let mut bench = Bench::open_at(0);
    bench.now_ms += 10_000;
    assert_eq!(bench.text("3"), "Nothing");
    assert_eq!(bench.due_in(), 25_000);
}

#[test]
fn what_each_packet_does() {
    let cases = [
        ("4hello", "Message([104, 101, 108, 108, 111])", false),
        ("4", "Message([])", false),
        ("bAQIDBA==", "Binary([1, 2, 3, 4])", false),
        ("0", "Nothing", false),
        ("0{}", "Nothing", false),
        ("5", "Nothing", false),
        ("6", "Nothing", false),
        ("3", "Nothing", false),
        ("3probe", "Nothing", false),
        ("1", "Close(TransportClose)", true),
        ("2", "Close(TransportError)", true),
        ("2probe", "Close(TransportError)", true),
        ("", "Close(ParseError)", true),
        ("7", "Close(ParseError)", true),
        ("abc", "Close(ParseError)", true),
        ("é", "Close(ParseError)", true),
    ];
    for (text, wanted, ends) in cases {
        let mut bench = Bench::open_at(0);
        assert_eq!(bench.text(text), wanted, "{text:?}");
        let after = bench.text("4x");
        assert_eq!(
            after,
            if ends { "Nothing" } else { "Message([120])" },
            "after {text:?}"
        );
        assert_eq!(
            bench.session.next_deadline_ms() == u64::MAX,
            ends,
            "{text:?}"
        );
    }
}

#[test]
fn binary_frames_are_lent() {
    let mut session = Session::open(0, &HEARTBEAT, Transport::WebSocket, Revision::V4);
    let output = session.handle_binary(1, &HEARTBEAT, &[4, 1]);
    assert!(
        matches!(output, Output::Binary(Cow::Borrowed([4, 1]))),
        "{output:?}"
    );
}

#[test]
fn reasons_are_socket_io_words() {
    let words = [
        (CloseReason::TransportError, "transport error"),
        (CloseReason::TransportClose, "transport close"),
        (CloseReason::PingTimeout, "ping timeout"),
        (CloseReason::ParseError, "parse error"),
    ];
    for (reason, word) in words {
        assert_eq!(DisconnectReason::from(reason).as_str(), word);
    }
}

/// However chatty, a client that never answers is gone after at most an interval and two timeouts; nothing follows an end; a deadline
/// is never in the past after it was served.
fn fuzz_session(random: &mut Random) {
    let mut bench = Bench::open_at(random.next() >> 1);
    let mut last_pong_ms = bench.now_ms;
    let mut closed = false;
    for _ in 0..40 {
        let text = random.pick(&["4x", "3", "6", "b", "0", "5", "4", "4y", "2", "1", "9"]);
        let output = bench.text(text);
        assert!(!closed || output == "Nothing");
        closed |= output.starts_with("Close");
        if text == "3" {
            last_pong_ms = bench.now_ms;
        }
        let step = random.below(15_000) as u64;
        let outcome = bench.advance(step);
        assert!(!closed || outcome == Timeout::Nothing);
        closed |= matches!(outcome, Timeout::Close(_));
        assert!(bench.session.next_deadline_ms() > bench.now_ms);
        let silent = bench.now_ms - last_pong_ms;
        // Each of the three waits may be served up to one step late.
        assert!(
            closed || silent < 25_000 + 2 * 20_000 + 3 * 15_000,
            "silent for {silent} ms"
        );
    }
}

#[test]
fn random_chatter_on_a_virtual_clock() {
    for_each_seed(3000, fuzz_session);
}

#[test]
fn times_near_the_end_of_the_clock_do_not_overflow() {
    let mut session = Session::open(u64::MAX - 5, &HEARTBEAT, Transport::WebSocket, Revision::V4);
    assert_eq!(
        session.handle_timeout(u64::MAX - 1, &HEARTBEAT),
        Timeout::Nothing
    );
    assert_eq!(
        session.handle_text(u64::MAX - 1, &HEARTBEAT, &mut b"3".to_vec()),
        Output::Nothing
    );
    assert_eq!(session.next_deadline_ms(), u64::MAX);
}
