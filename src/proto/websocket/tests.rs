//! Streams of frames, cut in every way, against what the RFC says of them.

mod life;
mod model;

use super::*;
use crate::wire::close::CloseError;
use crate::wire::mask;

const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
const CLIENT: Role = Role::Client { mask: MASK };

const LIMITS: Limits = Limits {
    max_message: 1000,
    close_timeout_ms: 5_000,
    heartbeat: None,
};

/// An output that owns what it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Message(Kind, Vec<u8>),
    /// The payload of the pong.
    Pong(Vec<u8>),
    /// Code, reason, the code in our Close if there was one, the broken rule.
    Closed(u16, String, Option<u16>, Option<Violation>),
}

/// One whole frame that comes from our own side; its opcode and unmasked payload.
pub(super) fn sent_frame(bytes: &[u8]) -> (Opcode, Vec<u8>) {
    let Ok(Status::Complete(head)) = frame::decode_head(bytes) else {
        panic!("{bytes:x?}")
    };
    let mut payload = bytes[head.head_len..].to_vec();
    assert_eq!(head.payload_len, payload.len() as u64);
    assert!(head.fin && !head.rsv1);
    mask::apply(head.mask.unwrap_or_default(), 0, &mut payload);
    (head.opcode, payload)
}

fn close_code_of(control: &Control) -> u16 {
    let (opcode, payload) = sent_frame(control);
    assert_eq!(opcode, Opcode::Close);
    close::decode_payload(&payload).unwrap().0.as_u16()
}

pub(super) fn see(output: Output<'_>) -> Seen {
    match output {
        Output::Message { kind, payload } => {
            assert!(kind == Kind::Binary || str::from_utf8(payload).is_ok());
            Seen::Message(kind, payload.to_vec())
        }
        Output::Transmit(control) => {
            let (opcode, payload) = sent_frame(&control);
            assert_eq!(opcode, Opcode::Pong);
            Seen::Pong(payload)
        }
        Output::Closed {
            code,
            reason,
            reply,
            fault,
        } => Seen::Closed(
            code.as_u16(),
            reason.to_owned(),
            reply.as_ref().map(close_code_of),
            fault,
        ),
    }
}

/// Feeds one piece and collects what comes of it.
pub(super) fn feed(socket: &mut WebSocket, limits: &Limits, bytes: &[u8], seen: &mut Vec<Seen>) {
    let mut bytes = bytes.to_vec();
    let mut input = Input::new(&mut bytes);
    while let Some(output) = socket.next(0, limits, &mut input) {
        seen.push(see(output));
    }
    assert!(
        input.rest.is_empty(),
        "a machine that has nothing to say has read everything"
    );
}

pub(super) fn run_pieces<'a>(
    role: Role,
    limits: &Limits,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<Seen> {
    let mut socket = WebSocket::new(role);
    let mut seen = Vec::new();
    for piece in pieces {
        feed(&mut socket, limits, piece, &mut seen);
    }
    let ends = seen
        .iter()
        .filter(|seen| matches!(seen, Seen::Closed(..)))
        .count();
    assert!(ends <= 1, "ended {ends} times");
    assert_eq!(ends == 1, !socket.is_open());
    seen
}

/// The outputs of a stream, which must be the same at once, octet by octet and cut at every position.
fn run_as(role: Role, limits: &Limits, stream: &[u8]) -> Vec<Seen> {
    let whole = run_pieces(role, limits, [stream]);
    assert_eq!(
        run_pieces(role, limits, stream.chunks(1)),
        whole,
        "octet by octet"
    );
    for cut in 0..=stream.len() {
        let (before, after) = stream.split_at(cut);
        assert_eq!(
            run_pieces(role, limits, [before, after]),
            whole,
            "cut at {cut}"
        );
    }
    whole
}

fn run(stream: &[u8]) -> Vec<Seen> {
    run_as(Role::Server, &LIMITS, stream)
}

/// A frame as a client sends it.
pub(super) fn masked(opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame::encode_masked_head(opcode, fin, payload.len(), MASK).to_vec();
    let at = bytes.len();
    bytes.extend_from_slice(payload);
    mask::apply(MASK, 0, &mut bytes[at..]);
    bytes
}

fn unmasked(opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
    [&frame::encode_head(opcode, fin, payload.len()), payload].concat()
}

fn text(payload: &str) -> Seen {
    Seen::Message(Kind::Text, payload.as_bytes().to_vec())
}

fn binary(payload: &[u8]) -> Seen {
    Seen::Message(Kind::Binary, payload.to_vec())
}

fn faulted(violation: Violation) -> Seen {
    let code = violation.close_code().as_u16();
    Seen::Closed(
        code,
        violation.reason().to_owned(),
        Some(code),
        Some(violation),
    )
}

#[test]
fn the_examples_of_the_rfc() {
    // RFC 6455 §5.7; those of a server are read by a client.
    let masked_hello = b"\x81\x85\x37\xFA\x21\x3D\x7F\x9F\x4D\x51\x58";
    assert_eq!(run(masked_hello), [text("Hello")]);
    let limits = Limits {
        max_message: 65_536,
        ..LIMITS
    };
    assert_eq!(run_as(CLIENT, &limits, b"\x81\x05Hello"), [text("Hello")]);
    assert_eq!(
        run_as(CLIENT, &limits, b"\x01\x03Hel\x80\x02lo"),
        [text("Hello")]
    );
    assert_eq!(
        run_as(CLIENT, &limits, b"\x89\x05Hello"),
        [Seen::Pong(b"Hello".to_vec())]
    );
    assert_eq!(run(b"\x8A\x85\x37\xFA\x21\x3D\x7F\x9F\x4D\x51\x58"), []);
    let short = [b"\x82\x7E\x01\x00".as_slice(), &[7; 256]].concat();
    assert_eq!(run_as(CLIENT, &limits, &short), [binary(&[7; 256])]);
    let long = [
        b"\x82\x7F\x00\x00\x00\x00\x00\x01\x00\x00".as_slice(),
        &[9; 65_536],
    ]
    .concat();
    for cut in [0, 1, 2, 9, 10, 11, 20_000, 65_545, 65_546] {
        let (before, after) = long.split_at(cut);
        assert_eq!(
            run_pieces(CLIENT, &limits, [before, after]),
            [binary(&[9; 65_536])],
            "cut at {cut}"
        );
    }
}

#[test]
fn messages_of_every_length_around_the_borders() {
    for len in [
        0, 1, 2, 3, 4, 5, 7, 8, 9, 124, 125, 126, 127, 128, 255, 256, 999, 1000,
    ] {
        let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
        assert_eq!(
            run(&masked(Opcode::Binary, true, &payload)),
            [binary(&payload)],
            "{len}"
        );
    }
}

#[test]
fn several_messages_in_one_input_come_one_by_one() {
    let stream = [
        masked(Opcode::Text, true, "eins".as_bytes()),
        masked(Opcode::Text, true, b""),
        masked(Opcode::Binary, true, b"\xFF\x00"),
        masked(Opcode::Ping, true, b"?"),
        masked(Opcode::Text, true, "µ🦀".as_bytes()),
    ]
    .concat();
    let expected = [
        text("eins"),
        text(""),
        binary(b"\xFF\x00"),
        Seen::Pong(b"?".to_vec()),
        text("µ🦀"),
    ];
    assert_eq!(run(&stream), expected);
}

#[test]
fn fragments_are_joined_with_control_frames_between_them() {
    let stream = [
        masked(Opcode::Text, false, b"\xE2"),
        masked(Opcode::Ping, true, b"1"),
        masked(Opcode::Continuation, false, b""),
        masked(Opcode::Continuation, false, b"\x82"),
        masked(Opcode::Pong, true, b"unasked"),
        masked(Opcode::Ping, true, &[b'x'; 125]),
        masked(Opcode::Continuation, true, b"\xAC!"),
        masked(Opcode::Binary, false, b""),
        masked(Opcode::Continuation, true, b""),
    ]
    .concat();
    let expected = [
        Seen::Pong(b"1".to_vec()),
        Seen::Pong(vec![b'x'; 125]),
        text("€!"),
        binary(b""),
    ];
    assert_eq!(run(&stream), expected);
}

#[test]
fn a_close_is_echoed_also_inside_a_message_and_nothing_follows_it() {
    let after = masked(Opcode::Text, true, b"too late");
    let inside = masked(Opcode::Text, false, b"half a ");
    let table: &[(&[u8], u16, &str)] = &[
        (b"", 1005, ""),
        (b"\x03\xE8", 1000, ""),
        (b"\x03\xE9bye", 1001, "bye"),
        (b"\x0F\xA0\xC2\xB5", 4000, "µ"),
    ];
    for (payload, code, reason) in table {
        let close = masked(Opcode::Close, true, payload);
        let expected = [Seen::Closed(*code, (*reason).to_owned(), Some(*code), None)];
        assert_eq!(run(&close), expected);
        assert_eq!(run(&[close.as_slice(), &after].concat()), expected);
        assert_eq!(run(&[&inside, close.as_slice(), &after].concat()), expected);
    }
}

/// A stream that a server refuses, why, and the code it is told.
type Refused = (Vec<u8>, Violation, u16);

fn whole(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    masked(opcode, true, payload)
}

fn part(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    masked(opcode, false, payload)
}

/// Heads that are wrong whatever came before them. Each ends with the byte that settles it.
fn refused_heads() -> Vec<Refused> {
    use FrameError::*;
    let table: &[(&[u8], FrameError)] = &[
        (b"\xA1", ReservedBits),
        (b"\x91", ReservedBits),
        (b"\xB2", ReservedBits),
        (b"\xC1\x80\0\0\0\0", ReservedBits),
        (b"\xC2\x80\0\0\0\0", ReservedBits),
        (b"\xC0", ReservedBits),
        (b"\xC9", ReservedBits),
        (b"\x83", ReservedOpcode),
        (b"\x84", ReservedOpcode),
        (b"\x87", ReservedOpcode),
        (b"\x8B", ReservedOpcode),
        (b"\x8F", ReservedOpcode),
        (b"\x08", ControlFragmented),
        (b"\x09", ControlFragmented),
        (b"\x0A", ControlFragmented),
        (b"\x88\xFE", ControlTooLong),
        (b"\x89\xFF", ControlTooLong),
        (b"\x8A\x7E", ControlTooLong),
        (b"\x82\xFE\x00\x05", LengthNotMinimal),
        (b"\x82\xFF\x00\x00\x00\x00\x00\x00", LengthNotMinimal),
        (b"\x82\xFF\x80", LengthTooLarge),
        (
            b"\x82\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\0\0\0\0",
            LengthTooLarge,
        ),
    ];
    let heads = table
        .iter()
        .map(|(bytes, error)| (bytes.to_vec(), Violation::Frame(*error), 1002));
    let not_masked = [b"\x81\x05", b"\x89\x00", b"\x88\x02"]
        .map(|bytes| (bytes.to_vec(), Violation::NotMasked, 1002));
    heads.chain(not_masked).collect()
}

fn refused_sequences() -> Vec<Refused> {
    use Opcode::*;
    use Violation::*;
    vec![
        (part(Continuation, b"a"), ContinuationOfNothing, 1002),
        (whole(Continuation, b""), ContinuationOfNothing, 1002),
        (
            [whole(Text, b""), whole(Continuation, b"")].concat(),
            ContinuationOfNothing,
            1002,
        ),
        (
            [part(Text, b""), whole(Text, b"")].concat(),
            MessageInsideMessage,
            1002,
        ),
        (
            [part(Text, b"a"), whole(Ping, b""), part(Binary, b"")].concat(),
            MessageInsideMessage,
            1002,
        ),
    ]
}

fn refused_payloads() -> Vec<Refused> {
    use Opcode::*;
    use Violation::TextNotUtf8;
    let close = |payload, error, code| (whole(Close, payload), Violation::Close(error), code);
    vec![
        close(b"\x03", CloseError::Truncated, 1002),
        close(b"\0\0", CloseError::Code, 1002),
        close(b"\x03\xE7", CloseError::Code, 1002),
        close(b"\x03\xED", CloseError::Code, 1002),
        close(b"\x03\xEEx", CloseError::Code, 1002),
        close(b"\x0B\xB7", CloseError::Code, 1002),
        close(b"\x13\x88", CloseError::Code, 1002),
        close(b"\x03\xE8\xFF", CloseError::Reason, 1007),
        close(b"\x03\xE8\xE2\x82", CloseError::Reason, 1007),
        (whole(Text, b"\xFF"), TextNotUtf8, 1007),
        (whole(Text, b"\xE2\x82"), TextNotUtf8, 1007),
        (whole(Text, b"a\xED\xA0\x80"), TextNotUtf8, 1007),
        (
            [part(Text, b"\xE2"), whole(Continuation, b"\x82")].concat(),
            TextNotUtf8,
            1007,
        ),
        (
            [part(Text, b"\xF4"), part(Continuation, b"\x90")].concat(),
            TextNotUtf8,
            1007,
        ),
        (
            [part(Text, b"\xE2\x82"), whole(Continuation, b"")].concat(),
            TextNotUtf8,
            1007,
        ),
    ]
}

/// Declared lengths beyond the limit of 1000; the payload never comes.
fn refused_lengths() -> Vec<Refused> {
    let begun = part(Opcode::Binary, b"a");
    let declared: &[(&[u8], &[u8])] = &[
        (b"", b"\x82\xFE\x03\xE9\0\0\0\0"),
        (b"", b"\x02\xFE\xFF\xFF\0\0\0\0"),
        (b"", b"\x81\xFF\0\0\0\0\x80\0\0\0\0\0\0\0"),
        (b"", b"\x82\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF\0\0\0\0"),
        (&begun, b"\x80\xFE\x03\xE8\0\0\0\0"),
        (&begun, b"\0\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF\0\0\0\0"),
    ];
    declared
        .iter()
        .map(|(before, head)| ([*before, *head].concat(), Violation::MessageTooBig, 1009))
        .collect()
}

#[test]
fn every_violation_ends_with_its_code_and_nothing_follows() {
    let table = [
        refused_heads(),
        refused_sequences(),
        refused_payloads(),
        refused_lengths(),
    ]
    .concat();
    assert!(table.len() >= 40);
    for (stream, violation, code) in table {
        let last = run(&stream).pop();
        assert_eq!(last, Some(faulted(violation)), "{stream:x?}");
        assert_eq!(violation.close_code().as_u16(), code, "{stream:x?}");
        let longer = [
            masked(Opcode::Ping, true, b"hi"),
            stream,
            masked(Opcode::Text, true, b"too late"),
        ]
        .concat();
        let seen = run(&longer);
        assert_eq!(seen.first(), Some(&Seen::Pong(b"hi".to_vec())));
        assert_eq!(seen.last(), Some(&faulted(violation)), "{longer:x?}");
    }
}

#[test]
fn a_client_refuses_masked_frames() {
    let seen = run_as(CLIENT, &LIMITS, &masked(Opcode::Text, true, b"Hello"));
    assert_eq!(seen, [faulted(Violation::Masked)]);
}

#[test]
fn bad_text_fails_inside_a_frame_as_soon_as_it_can_be_known() {
    // Autobahn 6.4: the frame has 12 bytes, the last of these settles it, and the rest never comes.
    let payload = b"\xCE\xBA\xE1\xBD\xB9\xF4\x90\x80\x80edit";
    let stream = masked(Opcode::Text, true, payload);
    let head_len = stream.len() - payload.len();
    for sent in 0..=payload.len() {
        let seen = run_pieces(Role::Server, &LIMITS, stream[..head_len + sent].chunks(1));
        assert_eq!(
            seen.len(),
            usize::from(sent >= 7),
            "{sent} bytes of the payload"
        );
        let seen = run_pieces(Role::Server, &LIMITS, [&stream[..head_len + sent]]);
        assert_eq!(
            seen.len(),
            usize::from(sent >= 7),
            "{sent} bytes of the payload at once"
        );
    }
}

#[test]
fn as_many_small_fragments_as_bytes_are_allowed_but_few_empty_ones() {
    // Autobahn 9.3.1 and 9.4.1: 65,536 fragments of one message.
    let limits = Limits {
        max_message: 65_536,
        ..LIMITS
    };
    let mut stream = masked(Opcode::Binary, false, b"x");
    for _ in 1..65_535 {
        stream.extend(masked(Opcode::Continuation, false, b"x"));
    }
    let unfinished = stream.clone();
    stream.extend(masked(Opcode::Continuation, true, b"x"));
    assert_eq!(
        run_pieces(Role::Server, &limits, [stream.as_slice()]),
        [binary(&[b'x'; 65_536])]
    );

    let mut socket = WebSocket::new(Role::Server);
    feed(&mut socket, &limits, &unfinished, &mut Vec::new());
    assert!(
        socket.pinned_bytes() <= 65_536 + 1024,
        "{}",
        socket.pinned_bytes()
    );

    let empty = |count: u16| {
        let mut stream = masked(Opcode::Text, false, b"");
        for _ in 1..count {
            stream.extend(masked(Opcode::Continuation, false, b""));
        }
        stream.extend(masked(Opcode::Continuation, true, b"end"));
        run_pieces(Role::Server, &limits, stream.chunks(1500))
    };
    assert_eq!(empty(EMPTY_FRAGMENTS_MAX), [text("end")]);
    assert_eq!(
        empty(EMPTY_FRAGMENTS_MAX + 1),
        [faulted(Violation::EmptyFragments)]
    );
    assert_eq!(Violation::EmptyFragments.close_code(), CloseCode::POLICY);
}

#[test]
fn memory_follows_what_was_received_and_is_gone_when_the_message_is() {
    let limits = Limits {
        max_message: 16 << 20,
        ..LIMITS
    };
    let stream = masked(Opcode::Binary, true, &vec![1; 1 << 20]);
    let mut socket = WebSocket::new(Role::Server);
    assert_eq!(socket.pinned_bytes(), 0);
    let mut seen = Vec::new();
    let mut fed = 0;
    for piece in stream.chunks(1000) {
        feed(&mut socket, &limits, piece, &mut seen);
        fed += piece.len();
        assert!(
            socket.pinned_bytes() <= 2 * fed + 1024,
            "{} pinned for {fed}",
            socket.pinned_bytes()
        );
        assert!(socket.pinned_bytes() <= (1 << 20) + 1024);
    }
    assert_eq!(seen.len(), 1);
    assert_eq!(socket.pinned_bytes(), 0, "once handed out, nothing is held");

    let whole = masked(Opcode::Text, true, b"in one piece");
    feed(&mut socket, &limits, &whole, &mut seen);
    feed(
        &mut socket,
        &limits,
        &masked(Opcode::Ping, true, b"cut")[..7],
        &mut seen,
    );
    assert!((1..256).contains(&socket.pinned_bytes()));
    feed(
        &mut socket,
        &limits,
        &masked(Opcode::Ping, true, b"cut")[7..],
        &mut seen,
    );
    assert_eq!(socket.pinned_bytes(), 0);
    assert_eq!(seen.len(), 3);
}

#[test]
fn a_whole_message_is_lent_from_the_input_itself() {
    let mut bytes = masked(Opcode::Binary, true, b"in place");
    let range = bytes.as_ptr_range();
    let mut socket = WebSocket::new(Role::Server);
    let mut input = Input::new(&mut bytes);
    let Some(Output::Message { payload, .. }) = socket.next(0, &LIMITS, &mut input) else {
        panic!("no message")
    };
    assert!(range.contains(&payload.as_ptr()));
    assert_eq!(socket.pinned_bytes(), 0);
}

#[test]
fn an_idle_machine_is_small() {
    assert!(size_of::<WebSocket>() <= 64, "{}", size_of::<WebSocket>());
}
