//! Heartbeat and closing handshake, on a virtual clock; both ends paired.

use std::collections::VecDeque;

use super::*;
use crate::wire::xorshift::Xorshift;

const BEATING: Limits = Limits {
    heartbeat: Some(Heartbeat {
        interval_ms: 25_000,
        timeout_ms: 20_000,
    }),
    ..LIMITS
};

fn opened(now_ms: u64) -> WebSocket {
    let mut socket = WebSocket::new(Role::Server);
    socket.open(now_ms, &BEATING);
    socket
}

fn feed_at(socket: &mut WebSocket, now_ms: u64, bytes: &[u8]) -> Vec<Seen> {
    let mut bytes = bytes.to_vec();
    let mut input = Input::new(&mut bytes);
    let mut seen = Vec::new();
    while let Some(output) = socket.next(now_ms, &BEATING, &mut input) {
        seen.push(see(output));
    }
    seen
}

fn assert_pinged(timeout: &Timeout) {
    let Timeout::Transmit(control) = timeout else {
        panic!("{timeout:?}")
    };
    assert_eq!(sent_frame(control), (Opcode::Ping, Vec::new()));
}

#[test]
fn a_silent_peer_is_pinged_and_then_given_up() {
    let mut socket = opened(1_000);
    assert_eq!(socket.next_deadline_ms(), Some(26_000));
    assert!(matches!(
        socket.handle_timeout(25_999, &BEATING),
        Timeout::Nothing
    ));
    assert_pinged(&socket.handle_timeout(26_000, &BEATING));
    assert_eq!(socket.next_deadline_ms(), Some(46_000));
    assert!(matches!(
        socket.handle_timeout(45_999, &BEATING),
        Timeout::Nothing
    ));
    assert!(matches!(
        socket.handle_timeout(46_000, &BEATING),
        Timeout::Expired(Expiry::NoPong)
    ));
    assert_eq!(socket.next_deadline_ms(), None);
    assert!(!socket.is_open());
    assert!(matches!(
        socket.handle_timeout(99_000, &BEATING),
        Timeout::Nothing
    ));
    assert_eq!(
        feed_at(
            &mut socket,
            99_000,
            &masked(Opcode::Text, true, b"too late")
        ),
        []
    );
    assert!(
        socket
            .close(99_000, &BEATING, CloseCode::NORMAL, "")
            .is_none()
    );
}

#[test]
fn any_whole_frame_proves_life_but_not_a_part_of_one() {
    let frames = [
        masked(Opcode::Pong, true, b""),
        masked(Opcode::Ping, true, b"x"),
        masked(Opcode::Text, true, b"x"),
        masked(Opcode::Text, false, b"x"),
    ];
    for frame in frames {
        let mut socket = opened(0);
        assert_pinged(&socket.handle_timeout(25_000, &BEATING));
        feed_at(&mut socket, 30_000, &frame[..frame.len() - 1]);
        assert_eq!(
            socket.next_deadline_ms(),
            Some(45_000),
            "{frame:x?}: not whole yet"
        );
        feed_at(&mut socket, 40_000, &frame[frame.len() - 1..]);
        assert_eq!(socket.next_deadline_ms(), Some(65_000), "{frame:x?}");
        assert_pinged(&socket.handle_timeout(65_000, &BEATING));
    }
}

#[test]
fn without_a_heartbeat_there_is_no_deadline() {
    let mut socket = WebSocket::new(Role::Server);
    socket.open(0, &LIMITS);
    feed(
        &mut socket,
        &LIMITS,
        &masked(Opcode::Text, true, b"x"),
        &mut Vec::new(),
    );
    assert_eq!(socket.next_deadline_ms(), None);
    assert!(matches!(
        socket.handle_timeout(u64::MAX, &LIMITS),
        Timeout::Nothing
    ));
}

#[test]
fn after_our_close_everything_is_dropped_until_the_peers() {
    let half = masked(Opcode::Text, false, b"half a message");
    let dropped = [
        masked(Opcode::Continuation, true, b"\xFF not even text"),
        masked(Opcode::Ping, true, b"not answered"),
        masked(Opcode::Binary, true, &[1; 900]),
        masked(Opcode::Continuation, false, b"order matters no more"),
        masked(Opcode::Binary, true, &[1; 5000]),
    ]
    .concat();
    let close = masked(Opcode::Close, true, b"\x03\xE9so be it");
    let stream = [
        half.clone(),
        dropped,
        close,
        masked(Opcode::Text, true, b"after the end"),
    ]
    .concat();
    for start in [0, half.len() - 3, half.len()] {
        for cut in (start..stream.len()).step_by(7) {
            let mut socket = opened(0);
            assert_eq!(feed_at(&mut socket, 0, &stream[..start]), []);
            let control = socket
                .close(1_000, &BEATING, CloseCode::GOING_AWAY, "restart")
                .unwrap();
            assert_eq!(
                sent_frame(&control),
                (Opcode::Close, b"\x03\xE9restart".to_vec())
            );
            assert!(
                socket
                    .close(1_000, &BEATING, CloseCode::NORMAL, "")
                    .is_none(),
                "only once"
            );
            assert!(!socket.is_open());
            assert_eq!(
                socket.pinned_bytes(),
                0,
                "nobody waits for the unfinished message"
            );
            let mut seen = feed_at(&mut socket, 1_500, &stream[start..cut]);
            seen.extend(feed_at(&mut socket, 1_600, &stream[cut..]));
            assert_eq!(
                seen,
                [Seen::Closed(1001, "so be it".to_owned(), None, None)],
                "from {start}, cut at {cut}"
            );
            assert_eq!(
                (socket.next_deadline_ms(), socket.pinned_bytes()),
                (None, 0)
            );
        }
    }
}

#[test]
fn a_close_frame_that_is_not_answered_expires_and_data_does_not_help() {
    let mut socket = opened(0);
    assert!(
        socket
            .close(1_000, &BEATING, CloseCode::NORMAL, "")
            .is_some()
    );
    assert_eq!(socket.next_deadline_ms(), Some(6_000));
    assert_eq!(
        feed_at(
            &mut socket,
            5_999,
            &masked(Opcode::Text, true, b"still here")
        ),
        []
    );
    assert!(matches!(
        socket.handle_timeout(5_999, &BEATING),
        Timeout::Nothing
    ));
    assert!(matches!(
        socket.handle_timeout(6_000, &BEATING),
        Timeout::Expired(Expiry::NoClose)
    ));
    assert_eq!(socket.next_deadline_ms(), None);
}

#[test]
fn a_violation_after_our_close_ends_without_a_second_close() {
    let mut socket = opened(0);
    assert!(socket.close(0, &BEATING, CloseCode::NORMAL, "").is_some());
    let seen = feed_at(&mut socket, 1, b"\x83");
    let violation = Violation::Frame(FrameError::ReservedOpcode);
    assert_eq!(
        seen,
        [Seen::Closed(
            1002,
            violation.reason().to_owned(),
            None,
            Some(violation)
        )]
    );
}

#[test]
fn a_code_that_must_not_be_sent_closes_without_one() {
    let mut socket = opened(0);
    let control = socket
        .close(0, &BEATING, CloseCode::ABNORMAL, "never seen")
        .unwrap();
    assert_eq!(sent_frame(&control), (Opcode::Close, Vec::new()));
}

/// One end of a pair, with what is on its way to it.
struct End {
    socket: WebSocket,
    inbox: VecDeque<u8>,
    received: Vec<Vec<u8>>,
    closed: Option<Seen>,
    pings_sent: usize,
}

impl End {
    fn new(role: Role) -> Self {
        let mut socket = WebSocket::new(role);
        socket.open(0, &BEATING);
        Self {
            socket,
            inbox: VecDeque::new(),
            received: Vec::new(),
            closed: None,
            pings_sent: 0,
        }
    }

    /// Reads up to `len` bytes of the inbox; returns what is to be sent.
    fn read(&mut self, now_ms: u64, len: usize) -> Vec<u8> {
        let mut piece: Vec<u8> = self.inbox.drain(..len.min(self.inbox.len())).collect();
        let mut input = Input::new(&mut piece);
        let mut to_send = Vec::new();
        while let Some(output) = self.socket.next(now_ms, &BEATING, &mut input) {
            match &output {
                Output::Message { payload, .. } => self.received.push(payload.to_vec()),
                Output::Transmit(control) => to_send.extend_from_slice(control),
                Output::Closed { reply, .. } => {
                    to_send.extend(reply.iter().flat_map(|reply| reply.iter()));
                    assert!(self.closed.is_none(), "closed twice");
                    self.closed = Some(see(output));
                }
            }
        }
        to_send
    }

    fn tick(&mut self, now_ms: u64) -> Vec<u8> {
        match self.socket.handle_timeout(now_ms, &BEATING) {
            Timeout::Nothing => Vec::new(),
            Timeout::Transmit(control) => {
                self.pings_sent += 1;
                control.to_vec()
            }
            Timeout::Expired(expiry) => panic!("expired at {now_ms}: {expiry:?}"),
        }
    }
}

/// Both ends read a few bytes and keep their deadlines; what they answer is put on its way.
fn exchange(server: &mut End, client: &mut End, now_ms: u64, random: &mut Xorshift) {
    let server_sends = [
        server.read(now_ms, 1 + random.below(90)),
        server.tick(now_ms),
    ]
    .concat();
    let client_sends = [
        client.read(now_ms, 1 + random.below(90)),
        client.tick(now_ms),
    ]
    .concat();
    client.inbox.extend(server_sends);
    server.inbox.extend(client_sends);
}

/// A server and a client talk over a network that delivers a few bytes at a time, fall silent so that both need their
/// heartbeats, and one of them closes, or both.
fn talk(seed: u64) {
    let mut random = Xorshift::new(seed);
    let (mut server, mut client) = (End::new(Role::Server), End::new(CLIENT));
    let (mut said_by_server, mut said_by_client) = (Vec::new(), Vec::new());
    let mut now_ms = 0;
    for round in 0..60 {
        now_ms += 100 + if random.below(3) == 0 { 11_000 } else { 0 };
        let len = random.below(400);
        let payload = random.bytes(len);
        let fin_at = random.below(len + 1);
        if round < 30 && random.below(2) == 0 {
            client
                .inbox
                .extend(unmasked(Opcode::Binary, true, &payload));
            said_by_server.push(payload);
        } else if round < 30 {
            server
                .inbox
                .extend(masked(Opcode::Binary, false, &payload[..fin_at]));
            server
                .inbox
                .extend(masked(Opcode::Continuation, true, &payload[fin_at..]));
            said_by_client.push(payload);
        }
        for _ in 0..20 {
            exchange(&mut server, &mut client, now_ms, &mut random);
        }
    }
    assert!(server.pings_sent + client.pings_sent > 0, "seed {seed}");
    assert_eq!(
        (&server.received, &client.received),
        (&said_by_client, &said_by_server),
        "seed {seed}"
    );

    let who_closes = random.below(3);
    if who_closes != 0 {
        client.inbox.extend(
            server
                .socket
                .close(now_ms, &BEATING, CloseCode::GOING_AWAY, "")
                .unwrap()
                .iter(),
        );
    }
    if who_closes != 1 {
        server.inbox.extend(
            client
                .socket
                .close(now_ms, &BEATING, CloseCode::NORMAL, "")
                .unwrap()
                .iter(),
        );
    }
    for _ in 0..50 {
        exchange(&mut server, &mut client, now_ms, &mut random);
    }
    // Whoever closed first gets its own code back; when both closed, each gets the other's.
    let codes = [&server, &client].map(|end| match &end.closed {
        Some(Seen::Closed(code, _, _, None)) => *code,
        other => panic!("seed {seed}: {other:?}"),
    });
    assert_eq!(
        codes,
        [[1000, 1000], [1001, 1001], [1000, 1001]][who_closes],
        "seed {seed}"
    );
}

#[test]
fn server_and_client_understand_each_other() {
    for seed in 0..60 {
        talk(seed);
    }
}
