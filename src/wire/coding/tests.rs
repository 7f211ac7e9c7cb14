use proptest::prelude::*;

use super::Coding::*;
use super::*;
use crate::wire::xorshift::Xorshift;

#[test]
fn the_coding_is_the_one_wanted_most() {
    let table: &[(&[&str], Coding)] = &[
        (&[], Identity),
        (&[""], Identity),
        (&["gzip"], Gzip),
        (&["deflate"], Deflate),
        (&["br"], Identity),
        (&["identity"], Identity),
        (&["gzip, deflate, br, zstd"], Gzip),
        (&["deflate, gzip"], Gzip),
        (&["br", "deflate"], Deflate),
        (&["deflate", "gzip"], Gzip),
        (&["GZIP"], Gzip),
        (&["x-gzip"], Gzip),
        (&["xgzip"], Identity),
        // By quality.
        (&["gzip;q=0.5, deflate;q=0.8"], Deflate),
        (&["gzip;q=0.8, deflate;q=0.5"], Gzip),
        (&["gzip;q=0.5, deflate;q=0.50"], Gzip),
        (&["gzip;q=0.001, deflate;q=0.002"], Deflate),
        (&["gzip;q=0.999, deflate;q=1.000"], Deflate),
        (&["gzip ; q=0.1 ,\tdeflate ;\tQ=0.2"], Deflate),
        (&["gzip;q=0.5, identity"], Identity),
        (&["gzip;q=0.5, identity;q=0.5"], Gzip),
        (&["deflate;q=0.5, identity;q=0.5"], Deflate),
        // Identity, when nothing is said of it, is wanted least.
        (&["gzip;q=0.001"], Gzip),
        // Not acceptable.
        (&["gzip;q=0"], Identity),
        (&["gzip;q=0.000, deflate"], Deflate),
        (&["gzip;q=0, deflate;q=0."], Identity),
        (&["identity;q=0"], Identity),
        (&["identity;q=0, gzip;q=0.1"], Gzip),
        (&["*;q=0"], Identity),
        (&["*;q=0, deflate"], Deflate),
        // RFC 9110 §12.5.3: `*` is any coding not named.
        (&["*"], Gzip),
        (&["*;q=0.5, gzip;q=0.4"], Deflate),
        (&["*;q=0.5, gzip;q=0"], Deflate),
        (&["gzip;q=0.3, deflate;q=0.4, *;q=0.5"], Identity),
        (&["*, gzip;q=0, deflate;q=0"], Identity),
        (&["gzip;q=1.0, identity; q=0.5, *;q=0"], Gzip),
        (&["*", "gzip;q=0"], Deflate),
        // What is no weight accepts nothing.
        (&["gzip;q=2"], Identity),
        (&["gzip;q=1.001"], Identity),
        (&["gzip;q=0.1234"], Identity),
        (&["gzip;q=-1"], Identity),
        (&["gzip;q=.5"], Identity),
        (&["gzip;q=0.a"], Identity),
        (&["gzip;q="], Identity),
        (&["gzip;q"], Identity),
        (&["gzip;level=9"], Identity),
        (&["gzip;q=1;q=1"], Identity),
        (&["gzip;"], Identity),
        (&[";q=1"], Identity),
        // Said twice.
        (&["gzip;q=0, gzip"], Identity),
        (&["gzip, x-gzip;q=0"], Gzip),
        (&[",, ,gzip,"], Gzip),
    ];
    for (values, expected) in table {
        let found = negotiate(values.iter().map(|value| value.as_bytes()));
        assert_eq!(found, *expected, "{values:?}");
    }
}

#[test]
fn codings_have_the_names_that_are_registered() {
    assert_eq!(
        [Gzip, Deflate, Identity].map(Coding::name),
        [Some("gzip"), Some("deflate"), None]
    );
}

#[test]
fn an_entity_tag_is_found_in_the_list() {
    let table: &[(&[&str], &str, bool)] = &[
        (&[], "\"a\"", false),
        (&[""], "\"a\"", false),
        (&["\"a\""], "\"a\"", true),
        (&["\"b\""], "\"a\"", false),
        (&["\"A\""], "\"a\"", false),
        (&["*"], "\"a\"", true),
        (&[" * "], "\"a\"", true),
        (&["\"*\""], "\"a\"", false),
        // The weak comparison.
        (&["W/\"a\""], "\"a\"", true),
        (&["\"a\""], "W/\"a\"", true),
        (&["W/\"a\""], "W/\"a\"", true),
        (&["w/\"a\""], "\"a\"", false),
        (&["W/\"b\""], "W/\"a\"", false),
        // Lists.
        (&["\"b\", \"a\""], "\"a\"", true),
        (&["\"b\",\"c\",W/\"a\""], "\"a\"", true),
        (&[",\t, \"b\" ,,\"a\""], "\"a\"", true),
        (&["\"b\"", "\"a\""], "\"a\"", true),
        (&["\"b\"", "*"], "\"a\"", true),
        (&["\"x,y\", \"a\""], "\"x,y\"", true),
        (&["\"x, \"a\""], "\"a\"", false),
        (&["\"\""], "\"\"", true),
        // What is no entity tag.
        (&["a"], "\"a\"", false),
        (&["\"a"], "\"a\"", false),
        (&["\""], "\"a\"", false),
        (&["a, \"a\""], "\"a\"", false),
        (&["\"a\", b"], "\"a\"", true),
        (&["W/", "W", "W/a"], "\"a\"", false),
        (&["\"b\", *"], "\"a\"", false),
    ];
    for (values, etag, expected) in table {
        let found = none_match(values.iter().map(|value| value.as_bytes()), etag.as_bytes());
        assert_eq!(found, *expected, "{values:?} {etag}");
    }
}

/// Whatever the bytes: no panic, and every answer is one that was asked for.
pub(crate) fn fuzz_coding(bytes: &[u8]) {
    let lower = bytes.to_ascii_lowercase();
    let says = |word: &str| {
        lower
            .windows(word.len())
            .any(|part| part == word.as_bytes())
    };
    match negotiate([bytes]) {
        Gzip => assert!(says("gzip") || says("*")),
        Deflate => assert!(says("deflate") || says("*")),
        Identity => {}
    }
    for tag in entity_tags(bytes) {
        assert!(tag.len() >= 2 && tag.starts_with(b"\"") && tag.ends_with(b"\""));
        assert!(none_match([bytes], tag));
    }
    if none_match([bytes], b"\"tag\"") {
        assert!(says("\"tag\"") || bytes.trim_ascii() == b"*");
    }
}

#[test]
fn damaged_values_hold_the_rules_at_every_cut() {
    for seed in 0..1000 {
        let mut random = Xorshift::new(seed);
        let mut bytes = match seed % 2 {
            0 => b"gzip;q=0.5, deflate;q=0.75, *;q=0, identity".to_vec(),
            _ => b"W/\"one\", \"tag\",\"x,y\"".to_vec(),
        };
        random.mutate(&mut bytes);
        for cut in 0..=bytes.len() {
            let cut = &bytes[..cut];
            let result = std::panic::catch_unwind(|| fuzz_coding(cut));
            assert!(
                result.is_ok(),
                "seed {seed}: {}",
                String::from_utf8_lossy(cut)
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(9110), ..ProptestConfig::default() })]

    #[test]
    fn the_higher_quality_wins(gzip in 0..=1000u16, deflate in 0..=1000u16, identity in 0..=1000u16) {
        let weight = |quality: u16| format!("{}.{:03}", quality / 1000, quality % 1000);
        let value = format!("identity;q={}, deflate;q={}, gzip;q={}", weight(identity), weight(deflate), weight(gzip));
        let best = gzip.max(deflate).max(identity);
        let expected = match () {
            () if best == 0 => Identity,
            () if gzip == best => Gzip,
            () if deflate == best => Deflate,
            () => Identity,
        };
        prop_assert_eq!(negotiate([value.as_bytes()]), expected);
    }

    #[test]
    fn every_tag_of_a_list_is_found(tags in prop::collection::vec(("(W/)?", "[!#-~]{0,6}"), 1..6), at in any::<prop::sample::Index>()) {
        let tags: Vec<String> = tags.iter().map(|(weak, opaque)| format!("{weak}\"{opaque}\"")).collect();
        let list = tags.join(", ");
        prop_assert!(none_match([list.as_bytes()], at.get(&tags).as_bytes()));
        prop_assert!(!none_match([list.as_bytes()], b"\"longer than any\""));
    }

    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        fuzz_coding(&bytes);
    }

    #[test]
    fn arbitrary_lists(text in "((gzip|deflate|identity|\\*|br)(;q=(0|1)(\\.[0-9]{0,4})?)?[, ]{0,2}){0,6}") {
        fuzz_coding(text.as_bytes());
    }
}
