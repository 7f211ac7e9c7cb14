use super::*;
use crate::wire::json::tests::{Random, for_each_seed};

#[test]
fn text_packets() {
    assert_eq!(decode_text(&mut b"0{}".to_vec()), Ok(Packet::Open(b"{}")));
    assert_eq!(decode_text(&mut b"1".to_vec()), Ok(Packet::Close));
    assert_eq!(decode_text(&mut b"1anything".to_vec()), Ok(Packet::Close));
    assert_eq!(decode_text(&mut b"2".to_vec()), Ok(Packet::Ping(b"")));
    assert_eq!(
        decode_text(&mut b"2probe".to_vec()),
        Ok(Packet::Ping(b"probe"))
    );
    assert_eq!(decode_text(&mut b"3".to_vec()), Ok(Packet::Pong(b"")));
    assert_eq!(
        decode_text(&mut b"3probe".to_vec()),
        Ok(Packet::Pong(b"probe"))
    );
    assert_eq!(
        decode_text(&mut b"4".to_vec()),
        Ok(Packet::Message(&mut []))
    );
    assert_eq!(
        decode_text(&mut b"4hello".to_vec()),
        Ok(Packet::Message(&mut b"hello".to_vec()))
    );
    assert_eq!(
        decode_text(&mut "4é😀".as_bytes().to_vec()),
        Ok(Packet::Message(&mut "é😀".as_bytes().to_vec()))
    );
    assert_eq!(decode_text(&mut b"5".to_vec()), Ok(Packet::Upgrade));
    assert_eq!(decode_text(&mut b"6".to_vec()), Ok(Packet::Noop));
    assert_eq!(
        decode_text(&mut b"bAQID".to_vec()),
        Ok(Packet::Binary(&mut b"AQID".to_vec()))
    );
    assert_eq!(decode_text(&mut b"b".to_vec()), Ok(Packet::Binary(&mut [])));
}

#[test]
fn what_is_no_packet() {
    assert_eq!(decode_text(&mut []), Err(PacketError::Empty));
    for first in 0..=255_u8 {
        let known = first.is_ascii_digit() && first <= b'6' || first == b'b';
        let decoded = decode_text(&mut [first, b'x']).map(|_| ());
        assert_eq!(
            decoded,
            if known {
                Ok(())
            } else {
                Err(PacketError::UnknownType)
            },
            "{first:#x}"
        );
    }
}

/// The expected bytes are what `Buffer.from(text, "base64")` of Node 20 gives.
#[test]
fn base64_is_read_leniently() {
    let cases: &[(&str, &[u8])] = &[
        ("", b""),
        ("YQ==", b"a"),
        ("YQ", b"a"),
        ("YQ=", b"a"),
        ("Y", b""),
        ("Y!Q==", b"a"),
        (" YW Jj\n", b"abc"),
        ("YQ==YWJj", b"a"),
        ("-_-_", b"\xfb\xff\xbf"),
        ("+/+/", b"\xfb\xff\xbf"),
        ("YR==", b"a"),
        ("YWJjZ", b"abc"),
        ("=YWJj", b""),
        ("YW=Jj", b"a"),
        ("AQIDBA==", &[1, 2, 3, 4]),
        ("\u{e9}YWJj", b"abc"),
        ("====", b""),
        ("!!!", b""),
    ];
    for (text, bytes) in cases {
        assert_eq!(
            decode_base64(&mut text.as_bytes().to_vec()),
            *bytes,
            "{text:?}"
        );
    }
}

#[test]
fn encodes_to_the_end_of_the_buffer() {
    let mut out = b"x".to_vec();
    encode_text(&mut out, PING, b"");
    encode_text(&mut out, PONG, b"probe");
    encode_text(&mut out, MESSAGE, "é".as_bytes());
    encode_base64(&mut out, &[1, 2, 3, 4]);
    encode_base64(&mut out, b"");
    assert_eq!(str::from_utf8(&out), Ok("x23probe4ébAQIDBA==b"));
}

#[test]
fn what_is_encoded_decodes_to_the_same() {
    for seed in 0..2000 {
        let mut random = Random::new(seed);
        let data = random.text(100);
        let mut out = Vec::new();
        encode_text(&mut out, MESSAGE, &data);
        assert_eq!(
            decode_text(&mut out),
            Ok(Packet::Message(&mut data.clone())),
            "seed {seed}"
        );

        let mut out = Vec::new();
        encode_base64(&mut out, &data);
        assert_eq!(
            out.len(),
            1 + data.len().div_ceil(3) * 4,
            "padded; seed {seed}"
        );
        let Ok(Packet::Binary(base64)) = decode_text(&mut out) else {
            panic!("no binary packet; seed {seed}")
        };
        assert_eq!(decode_base64(base64), data, "seed {seed}");
    }
}

fn fuzz_decode(data: &mut [u8]) {
    let length = data.len();
    if let Ok(Packet::Binary(base64)) = decode_text(data) {
        assert!(decode_base64(base64).len() <= length.div_ceil(4) * 3);
    }
}

#[test]
fn no_bytes_make_it_panic() {
    for_each_seed(4000, |random| {
        let mut data = random.text(60);
        fuzz_decode(&mut data);
        data.insert(0, BASE64);
        fuzz_decode(&mut data);
    });
}
