//! Polling, the upgrade, and revision 3 of the protocol.

use super::*;

fn open(transport: Transport, revision: Revision) -> Session {
    Session::open(0, &HEARTBEAT, transport, revision)
}

fn polling() -> Session {
    open(Transport::Polling, Revision::V4)
}

fn is_over(session: &Session) -> bool {
    session.next_deadline_ms() == u64::MAX
}

fn say(session: &mut Session, now_ms: u64, text: &str) -> String {
    let mut text = text.as_bytes().to_vec();
    format!("{:?}", session.handle_text(now_ms, &HEARTBEAT, &mut text))
}

#[test]
fn one_get_is_held_at_a_time() {
    let mut session = polling();
    assert!(!session.is_polled());
    for _ in 0..3 {
        assert_eq!(session.poll(), Ok(()));
        assert!(session.is_polled());
        session.answered();
        assert!(!session.is_polled());
    }
    assert_eq!(session.poll(), Ok(()));
    assert_eq!(session.poll(), Err(CloseReason::TransportError));
    assert!(is_over(&session));
    session.answered();
    assert_eq!(session.poll(), Err(CloseReason::TransportError));
    assert_eq!(say(&mut session, 1, "4x"), "Nothing");
}

#[test]
fn one_post_arrives_at_a_time() {
    let mut session = polling();
    assert!(!session.pushed(), "none was announced");
    for _ in 0..3 {
        assert_eq!(session.push(), Ok(()));
        assert!(session.pushed());
        assert!(!session.pushed(), "it has been taken");
    }
    assert_eq!(session.push(), Ok(()));
    assert_eq!(session.push(), Err(CloseReason::TransportError));
    assert!(is_over(&session));
    session.pushed();
    assert_eq!(session.push(), Err(CloseReason::TransportError));
}

#[test]
fn a_get_and_a_post_do_not_hinder_each_other() {
    let mut session = polling();
    assert_eq!(session.poll(), Ok(()));
    assert_eq!(session.push(), Ok(()));
    assert!(session.pushed());
    assert!(session.is_polled());
    assert_eq!(session.push(), Ok(()));
    session.answered();
    assert_eq!(session.poll(), Ok(()));
    assert!(session.pushed());
    assert!(!is_over(&session));
}

#[test]
fn whoever_breaks_off_ends_the_session() {
    let mut session = polling();
    assert_eq!(session.broken_off(), CloseReason::TransportError);
    assert!(is_over(&session));
    assert!(session.poll().is_err() && session.push().is_err());
    assert!(!session.probe_begin());
    assert_eq!(
        session.handle_timeout(u64::MAX - 1, &HEARTBEAT),
        Timeout::Nothing
    );
}

#[test]
fn the_ping_is_due_whether_anybody_polls_or_not() {
    for polls in [false, true] {
        let mut session = polling();
        if polls {
            assert_eq!(session.poll(), Ok(()));
        }
        assert_eq!(session.handle_timeout(24_999, &HEARTBEAT), Timeout::Nothing);
        assert_eq!(session.handle_timeout(25_000, &HEARTBEAT), Timeout::Ping);
        // A poll is no pong: it does not even move the deadline.
        session.answered();
        assert_eq!(session.poll(), Ok(()));
        assert_eq!(session.next_deadline_ms(), 45_000);
        assert_eq!(
            session.handle_timeout(45_000, &HEARTBEAT),
            Timeout::Close(CloseReason::PingTimeout)
        );
    }
}

#[test]
fn words_of_a_probe() {
    let cases = [
        ("2probe", Probe::Ask),
        ("5", Probe::Upgrade),
        ("2", Probe::Nonsense),
        ("2probe ", Probe::Nonsense),
        ("2Probe", Probe::Nonsense),
        ("3probe", Probe::Nonsense),
        ("5x", Probe::Nonsense),
        ("4x", Probe::Nonsense),
        ("6", Probe::Nonsense),
        ("", Probe::Nonsense),
    ];
    for (text, wanted) in cases {
        assert_eq!(read_probe(text.as_bytes()), wanted, "{text:?}");
    }
    assert_eq!(PROBE_ANSWER, b"3probe");
}

#[test]
fn one_probe_is_let_in_at_a_time_and_the_next_after_it() {
    let mut session = polling();
    assert!(session.probe_begin());
    assert!(!session.probe_begin(), "one is there");
    session.probed();
    assert!(!session.probe_begin(), "one was answered");
    session.probe_end();
    assert!(session.probe_begin());
    session.upgrade(0, &HEARTBEAT);
    assert!(!session.probe_begin(), "it was upgraded");
    assert!(!open(Transport::WebSocket, Revision::V4).probe_begin());
}

#[test]
fn polls_are_released_from_the_answer_to_the_probe_on() {
    let mut session = polling();
    assert_eq!(session.poll(), Ok(()));
    assert!(!session.probed(), "nobody probes");
    assert!(!session.releases_polls());
    assert!(session.probe_begin());
    assert!(!session.releases_polls(), "it has not asked");
    assert!(session.probed(), "a GET is held");
    assert!(session.releases_polls());
    session.answered();
    assert!(!session.probed(), "no GET is held");
    assert_eq!(session.poll(), Ok(()), "others may follow");
    assert!(session.releases_polls());
    session.probe_end();
    assert!(!session.releases_polls(), "the probe has failed");
    assert!(session.is_polled(), "and the GET is held on");
}

#[test]
fn takes_over_with_and_without_having_asked() {
    for asks in [false, true] {
        let mut session = polling();
        assert_eq!(session.push(), Ok(()));
        assert!(session.probe_begin());
        if asks {
            session.probed();
        }
        session.upgrade(7, &HEARTBEAT);
        assert_eq!(session.transport(), Transport::WebSocket);
        assert!(!session.releases_polls() && !session.is_polled());
        assert!(!session.pushed(), "a POST that was arriving came too late");
        assert_eq!(say(&mut session, 8, "4x"), "Message([120])");
        session.probe_end();
        session.answered();
        assert_eq!(session.transport(), Transport::WebSocket);
    }
}

#[test]
fn the_heartbeat_goes_on_across_the_upgrade() {
    let mut session = polling();
    assert!(session.probe_begin());
    session.upgrade(20_000, &HEARTBEAT);
    assert_eq!(session.next_deadline_ms(), 25_000, "no pong was awaited");

    let mut session = polling();
    assert_eq!(session.handle_timeout(25_000, &HEARTBEAT), Timeout::Ping);
    assert_eq!(say(&mut session, 30_000, "4x"), "Message([120])");
    assert!(session.probe_begin());
    session.upgrade(40_000, &HEARTBEAT);
    assert_eq!(session.next_deadline_ms(), 60_000, "the wait begins anew");
    assert_eq!(say(&mut session, 50_000, "4x"), "Message([120])");
    assert_eq!(session.next_deadline_ms(), 70_000, "with its allowance");
    assert_eq!(
        session.handle_timeout(70_000, &HEARTBEAT),
        Timeout::Close(CloseReason::PingTimeout)
    );
}

#[test]
fn a_client_of_revision_3_pings() {
    for transport in [Transport::Polling, Transport::WebSocket] {
        let mut session = open(transport, Revision::V3);
        assert_eq!(session.next_deadline_ms(), 45_000);
        assert_eq!(
            say(&mut session, 1_000, "2probe"),
            "Pong([112, 114, 111, 98, 101])"
        );
        assert_eq!(session.next_deadline_ms(), 46_000);
        assert_eq!(say(&mut session, 2_000, "2"), "Pong([])");
        assert_eq!(say(&mut session, 3_000, "4x"), "Message([120])");
        assert_eq!(session.next_deadline_ms(), 48_000, "any packet counts");
        session.handle_binary(4_000, &HEARTBEAT, b"x");
        assert_eq!(session.next_deadline_ms(), 49_000);
        assert_eq!(session.handle_timeout(48_999, &HEARTBEAT), Timeout::Nothing);
        assert_eq!(
            session.handle_timeout(49_000, &HEARTBEAT),
            Timeout::Close(CloseReason::PingTimeout)
        );
    }
}

#[test]
fn a_client_of_revision_3_does_not_pong() {
    let mut session = open(Transport::Polling, Revision::V3);
    assert_eq!(say(&mut session, 1, "3"), "Close(TransportError)");
    assert!(is_over(&session));
}

#[test]
fn revision_3_waits_on_across_the_upgrade() {
    let mut session = open(Transport::Polling, Revision::V3);
    assert!(session.probe_begin());
    session.upgrade(30_000, &HEARTBEAT);
    assert_eq!(session.next_deadline_ms(), 45_000);
    assert_eq!(say(&mut session, 31_000, "2"), "Pong([])");
}

/// What a session may know, in as few words as possible.
#[derive(Clone, Copy, Debug)]
struct Model {
    over: bool,
    websocket: bool,
    polled: bool,
    pushed: bool,
    /// 0: none, 1: let in, 2: answered.
    probe: u8,
    awaits_pong: bool,
    moved: bool,
    due_ms: u64,
}

impl Model {
    fn end(&mut self) -> CloseReason {
        self.over = true;
        self.due_ms = u64::MAX;
        CloseReason::TransportError
    }

    fn begin(&mut self, busy: bool) -> Result<(), CloseReason> {
        if self.over || busy {
            return Err(self.end());
        }
        Ok(())
    }

    fn heard(&mut self, now_ms: u64) {
        if !self.over && self.awaits_pong && !self.moved {
            self.moved = true;
            self.due_ms = now_ms + HEARTBEAT.timeout_ms;
        }
    }

    fn timeout(&mut self, now_ms: u64) -> Timeout {
        if now_ms < self.due_ms {
            return Timeout::Nothing;
        }
        if self.awaits_pong {
            self.end();
            return Timeout::Close(CloseReason::PingTimeout);
        }
        (self.awaits_pong, self.moved) = (true, false);
        self.due_ms = now_ms + HEARTBEAT.timeout_ms;
        Timeout::Ping
    }

    fn step_of_transport(&mut self, session: &mut Session, now_ms: u64, what: usize) {
        match what {
            // The caller refuses what is for polling once the session is on a WebSocket.
            0 if !self.websocket => {
                let wanted = self.begin(self.polled);
                self.polled |= wanted.is_ok();
                assert_eq!(session.poll(), wanted);
            }
            1 if !self.websocket => {
                let wanted = self.begin(self.pushed);
                self.pushed |= wanted.is_ok();
                assert_eq!(session.push(), wanted);
            }
            2 | 3 => {
                session.answered();
                self.polled = false;
            }
            4 => assert_eq!(session.pushed(), std::mem::take(&mut self.pushed)),
            5 => {
                let let_in = !self.over && !self.websocket && self.probe == 0;
                self.probe = if let_in { 1 } else { self.probe };
                assert_eq!(session.probe_begin(), let_in);
            }
            6 => {
                assert_eq!(session.probed(), self.probe > 0 && self.polled);
                self.probe = if self.probe > 0 { 2 } else { 0 };
            }
            7 => {
                session.probe_end();
                self.probe = 0;
            }
            8 if self.probe > 0 && !self.over => {
                session.upgrade(now_ms, &HEARTBEAT);
                (self.websocket, self.probe) = (true, 0);
                (self.polled, self.pushed) = (false, false);
                if self.awaits_pong {
                    self.moved = false;
                    self.due_ms = now_ms + HEARTBEAT.timeout_ms;
                }
            }
            _ => {}
        }
    }

    fn step_of_time(&mut self, session: &mut Session, now_ms: u64, what: usize) {
        match what {
            0 => {
                say(session, now_ms, "4x");
                self.heard(now_ms);
            }
            1 => {
                session.handle_binary(now_ms, &HEARTBEAT, b"x");
                self.heard(now_ms);
            }
            2 => {
                say(session, now_ms, "3");
                if !self.over {
                    self.awaits_pong = false;
                    self.due_ms = now_ms + HEARTBEAT.interval_ms;
                }
            }
            _ => assert_eq!(
                session.handle_timeout(now_ms, &HEARTBEAT),
                self.timeout(now_ms)
            ),
        }
    }
}

fn walk(random: &mut Random) {
    let mut session = polling();
    let mut model = Model {
        over: false,
        websocket: false,
        polled: false,
        pushed: false,
        probe: 0,
        awaits_pong: false,
        moved: false,
        due_ms: HEARTBEAT.interval_ms,
    };
    let mut now_ms = 0;
    for _ in 0..60 {
        now_ms += random.below(8_000) as u64;
        let before = model;
        match random.below(20) {
            what @ 0..14 => model.step_of_transport(&mut session, now_ms, what % 9),
            14 if random.below(20) == 0 => assert_eq!(session.broken_off(), model.end()),
            what => model.step_of_time(&mut session, now_ms, what - 14),
        }
        assert_eq!(
            session.next_deadline_ms(),
            model.due_ms,
            "{before:?}, then {model:?}"
        );
        let is_websocket = session.transport() == Transport::WebSocket;
        assert_eq!(is_websocket, model.websocket, "{before:?}");
        assert_eq!(session.is_polled(), model.polled, "{before:?}");
        assert_eq!(session.releases_polls(), model.probe == 2, "{before:?}");
    }
}

#[test]
fn random_walks_agree_with_a_model() {
    for_each_seed(3000, walk);
}
