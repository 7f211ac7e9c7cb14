//! Random frames against a model that has them whole, and damaged streams against the rules that always hold.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};

use super::*;
use crate::wire::xorshift::Xorshift;

/// A frame as the generator thinks of it.
#[derive(Clone, Debug)]
struct Sketch {
    opcode: Opcode,
    fin: bool,
    rsv: u8,
    masked: bool,
    payload: Vec<u8>,
}

impl Sketch {
    fn encode(&self) -> Vec<u8> {
        let build = if self.masked { masked } else { unmasked };
        let mut bytes = build(self.opcode, self.fin, &self.payload);
        bytes[0] |= self.rsv << 4;
        bytes
    }

    /// What is wrong with the frame by itself, in the order in which its bytes tell.
    fn head_violation(&self) -> Option<Violation> {
        let control = self.opcode.is_control();
        let may_have_rsv1 = matches!(self.opcode, Opcode::Text | Opcode::Binary);
        if self.rsv & 3 != 0 || self.rsv != 0 && !may_have_rsv1 {
            Some(Violation::Frame(FrameError::ReservedBits))
        } else if control && !self.fin {
            Some(Violation::Frame(FrameError::ControlFragmented))
        } else if control && self.payload.len() > 125 {
            Some(Violation::Frame(FrameError::ControlTooLong))
        } else if self.rsv != 0 {
            Some(Violation::Frame(FrameError::ReservedBits))
        } else if !self.masked {
            Some(Violation::NotMasked)
        } else {
            None
        }
    }
}

/// What a server makes of these frames: RFC 6455 §5.4, §5.5 and §8.1 with everything at hand.
fn expected(frames: &[Sketch], limits: &Limits) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut open: Option<(Kind, Vec<u8>)> = None;
    for frame in frames {
        if let Some(violation) = frame.head_violation() {
            seen.push(faulted(violation));
            return seen;
        }
        match frame.opcode {
            Opcode::Ping => seen.push(Seen::Pong(frame.payload.clone())),
            Opcode::Pong => {}
            Opcode::Close => {
                seen.push(match close::decode_payload(&frame.payload) {
                    Ok((code, reason)) => {
                        Seen::Closed(code.as_u16(), reason.to_owned(), Some(code.as_u16()), None)
                    }
                    Err(error) => faulted(Violation::Close(error)),
                });
                return seen;
            }
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                if let Err(violation) = expected_data(frame, &mut open, limits, &mut seen) {
                    seen.push(faulted(violation));
                    return seen;
                }
            }
        }
    }
    seen
}

fn expected_data(
    frame: &Sketch,
    open: &mut Option<(Kind, Vec<u8>)>,
    limits: &Limits,
    seen: &mut Vec<Seen>,
) -> Result<(), Violation> {
    let (kind, mut bytes) = match (frame.opcode, open.take()) {
        (Opcode::Continuation, None) => return Err(Violation::ContinuationOfNothing),
        (Opcode::Continuation, Some(message)) => message,
        (_, Some(_)) => return Err(Violation::MessageInsideMessage),
        (Opcode::Text, None) => (Kind::Text, Vec::new()),
        (_, None) => (Kind::Binary, Vec::new()),
    };
    bytes.extend_from_slice(&frame.payload);
    if bytes.len() > limits.max_message {
        return Err(Violation::MessageTooBig);
    }
    let hopeless = str::from_utf8(&bytes)
        .err()
        .is_some_and(|error| error.error_len().is_some() || frame.fin);
    if kind == Kind::Text && hopeless {
        return Err(Violation::TextNotUtf8);
    }
    if frame.fin {
        seen.push(Seen::Message(kind, bytes));
    } else {
        *open = Some((kind, bytes));
    }
    Ok(())
}

fn payload(opcode: Opcode) -> BoxedStrategy<Vec<u8>> {
    let alphabet = || proptest::sample::select(vec!['a', 'z', 'µ', '€', '🦀']);
    let text = move |max| {
        proptest::collection::vec(alphabet(), 0..max)
            .prop_map(|text| String::from_iter(text).into_bytes())
    };
    let bytes = |max| proptest::collection::vec(any::<u8>(), 0..max);
    let long = (100usize..260).prop_map(|len| vec![b'x'; len]);
    // A text cut anywhere, also inside a character.
    let cut = (text(8), 0usize..20).prop_map(|(text, at)| text.into_iter().take(at).collect());
    let code = prop_oneof![6 => Just(1000u16), 2 => 3000u16..5000, 1 => any::<u16>()];
    let close = (code, text(20))
        .prop_map(|(code, reason)| [code.to_be_bytes().as_slice(), &reason].concat());
    match opcode {
        Opcode::Close => prop_oneof![1 => Just(Vec::new()), 6 => close, 1 => bytes(4)].boxed(),
        Opcode::Ping | Opcode::Pong => prop_oneof![20 => bytes(126), 1 => long].boxed(),
        _ => prop_oneof![8 => text(40), 2 => cut, 2 => long, 1 => bytes(30), 2 => Just(Vec::new())]
            .boxed(),
    }
}

fn sketch() -> impl Strategy<Value = Sketch> {
    let opcode = prop_oneof![
        4 => Just(Opcode::Text),
        4 => Just(Opcode::Binary),
        8 => Just(Opcode::Continuation),
        4 => Just(Opcode::Ping),
        2 => Just(Opcode::Pong),
        1 => Just(Opcode::Close),
    ];
    let rsv = prop_oneof![60 => Just(0u8), 1 => 0u8..8];
    (opcode, any::<bool>(), rsv, proptest::bool::weighted(0.98)).prop_flat_map(
        |(opcode, fin, rsv, masked)| {
            let fin = fin || opcode.is_control() && rsv == 0;
            payload(opcode).prop_map(move |payload| Sketch {
                opcode,
                fin,
                rsv,
                masked,
                payload,
            })
        },
    )
}

/// Most random sequences break the order of fragments at once; this one mostly keeps it.
fn in_order(mut frames: Vec<Sketch>, keep_disorder_at: usize) -> Vec<Sketch> {
    let mut inside = false;
    for (at, frame) in frames
        .iter_mut()
        .enumerate()
        .filter(|(_, frame)| !frame.opcode.is_control())
    {
        if at != keep_disorder_at {
            match (inside, frame.opcode) {
                (true, _) => frame.opcode = Opcode::Continuation,
                (false, Opcode::Continuation) => frame.opcode = Opcode::Text,
                _ => {}
            }
        }
        inside = !frame.fin;
    }
    frames
}

fn config(seed: u64, cases: u32) -> Config {
    Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Config::default()
    }
}

proptest! {
    #![proptest_config(config(6455, 2_000))]

    #[test]
    fn random_frames_do_what_the_model_does_however_they_are_cut(
        frames in proptest::collection::vec(sketch(), 0..12),
        keep_disorder_at in 0usize..40,
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
    ) {
        let frames = in_order(frames, keep_disorder_at);
        let limits = Limits { max_message: 300, ..LIMITS };
        let stream: Vec<u8> = frames.iter().flat_map(Sketch::encode).collect();
        let expected = expected(&frames, &limits);

        prop_assert_eq!(&run_pieces(Role::Server, &limits, [stream.as_slice()]), &expected, "at once");
        prop_assert_eq!(&run_pieces(Role::Server, &limits, stream.chunks(1)), &expected, "octet by octet");
        let mut cuts: Vec<usize> = cuts.iter().map(|index| index.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]);
        prop_assert_eq!(&run_pieces(Role::Server, &limits, pieces), &expected, "cut at {:?}", cuts);
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_pin_no_more_than_the_limit(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        fuzz_frames(&bytes);
    }
}

/// Whatever the bytes, in either role: no panic, no more than one end, memory within the limit, and the same
/// outputs however the bytes are cut. The first byte chooses role and cuts.
pub(crate) fn fuzz_frames(bytes: &[u8]) {
    let Some((&choice, stream)) = bytes.split_first() else {
        return;
    };
    let role = if choice & 1 == 0 {
        Role::Server
    } else {
        CLIENT
    };
    let piece_len = 1 + usize::from(choice >> 1) % 19;
    let mut socket = WebSocket::new(role);
    let mut seen = Vec::new();
    for piece in stream.chunks(piece_len) {
        feed(&mut socket, &LIMITS, piece, &mut seen);
        assert!(socket.pinned_bytes() <= LIMITS.max_message + 1024);
    }
    assert_eq!(seen, run_pieces(role, &LIMITS, [stream]));
}

/// A stream that is mostly right, so that damage is found deep inside.
fn valid_stream(random: &mut Xorshift) -> Vec<u8> {
    let mut stream = vec![(random.next() as u8) & 0xFE];
    for _ in 0..=random.below(6) {
        let len = random.below(40);
        stream.extend(match random.below(5) {
            0 => masked(Opcode::Text, true, "µ€🦀".repeat(len / 9).as_bytes()),
            1 => masked(Opcode::Binary, true, &random.bytes(len * 8)),
            2 => masked(Opcode::Ping, true, &random.bytes(len)),
            3 => masked(Opcode::Close, true, b"\x03\xE8bye"),
            _ => {
                let fragments = [
                    (Opcode::Text, false),
                    (Opcode::Continuation, false),
                    (Opcode::Continuation, true),
                ];
                fragments
                    .iter()
                    .flat_map(|(opcode, fin)| masked(*opcode, *fin, b"part"))
                    .collect()
            }
        });
    }
    stream
}

#[test]
fn damaged_streams_hold_the_rules() {
    for seed in 0..5_000 {
        let mut random = Xorshift::new(seed);
        let mut bytes = valid_stream(&mut random);
        random.mutate(&mut bytes);
        let result = std::panic::catch_unwind(|| fuzz_frames(&bytes));
        assert!(result.is_ok(), "seed {seed}: {bytes:x?}");
    }
}
