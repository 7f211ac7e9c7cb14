use super::*;
use crate::wire::xorshift::Xorshift;

const VALID: &[&str] = &[
    "",
    "plain",
    "κόσμε",
    "\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}",
    "\u{d7ff}\u{e000}\u{fffd}",
    "Hello-µ@ßöäüàá-UTF-8!! 日本語 🦀",
];

/// Invalid bytes, and how many of them a reader needs to know it.
const INVALID: &[(&[u8], usize)] = &[
    (b"\x80", 1),     // continuation without a start
    (b"\xC0\x80", 1), // overlong, two bytes
    (b"\xC1\xBF", 1),
    (b"\xE0\x80\x80", 2), // overlong, three bytes
    (b"\xE0\x9F\xBF", 2),
    (b"\xF0\x80\x80\x80", 2), // overlong, four bytes
    (b"\xF0\x8F\xBF\xBF", 2),
    (b"\xED\xA0\x80", 2), // surrogates
    (b"\xED\xBF\xBF", 2),
    (b"\xF4\x90\x80\x80", 2), // above U+10FFFF (Autobahn 6.4)
    (b"\xF5\x80\x80\x80", 1),
    (b"\xFE", 1),
    (b"\xFF", 1),
    (b"\xC3(", 2), // a character interrupted
    (b"\xE2\x82(", 3),
    (b"\xF0\x9F\xA6(", 4),
    (
        b"ok \xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xED\xA0\x80 edited",
        16,
    ),
];

fn check(pieces: &[&[u8]]) -> Result<(), Invalid> {
    let mut validator = Validator::default();
    for piece in pieces {
        validator.push(piece)?;
    }
    validator.finish()
}

#[test]
fn valid_text_passes_at_every_pair_of_cuts() {
    for text in VALID {
        let bytes = text.as_bytes();
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(
                    check(&pieces),
                    Ok(()),
                    "{text:?} cut at {first} and {second}"
                );
            }
        }
    }
}

#[test]
fn invalid_text_fails_at_the_byte_that_settles_it() {
    for (bytes, settled) in INVALID {
        let mut validator = Validator::default();
        for (at, byte) in bytes.iter().enumerate().take(*settled) {
            let result = validator.push(&[*byte]);
            assert_eq!(
                result.is_err(),
                at + 1 == *settled,
                "{bytes:x?} at byte {at}"
            );
        }
        for cut in 0..=bytes.len() {
            assert_eq!(
                check(&[&bytes[..cut], &bytes[cut..]]),
                Err(Invalid),
                "{bytes:x?} cut at {cut}"
            );
        }
        let mut whole = Validator::default();
        assert_eq!(whole.push(&bytes[..*settled]), Err(Invalid), "{bytes:x?}");
    }
}

#[test]
fn text_that_ends_inside_a_character_is_not_finished() {
    for text in ["µ", "€", "🦀"] {
        for cut in 1..text.len() {
            let mut validator = Validator::default();
            assert_eq!(validator.push(&text.as_bytes()[..cut]), Ok(()));
            assert_eq!(validator.finish(), Err(Invalid));
        }
    }
}

#[test]
fn agrees_with_the_standard_library_on_random_bytes() {
    // Bytes that matter are made frequent: plain random bytes fail too early to say much.
    const ALPHABET: [u8; 16] = [
        0x20, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC2, 0xDF, 0xE0, 0xE2, 0xED, 0xF0, 0xF3,
        0xF4,
    ];
    for seed in 0..20_000 {
        let mut random = Xorshift::new(seed);
        let len = random.below(9);
        let bytes: Vec<u8> = (0..len).map(|_| ALPHABET[random.below(16)]).collect();
        let cut = random.below(len + 1);
        let expected = str::from_utf8(&bytes).is_ok();
        assert_eq!(
            check(&[&bytes[..cut], &bytes[cut..]]).is_ok(),
            expected,
            "seed {seed}: {bytes:x?} at {cut}"
        );
    }
}

#[test]
fn stays_small() {
    assert!(size_of::<Validator>() <= 8);
}
