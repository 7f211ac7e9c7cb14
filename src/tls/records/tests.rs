use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, HandshakeKind, SupportedProtocolVersion};

use super::super::certificates::{Acceptor, Certificates};
use super::super::fixture::{Identity, Pair};
use super::*;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A connection may move to another core.
const _: fn() = || {
    fn sent<T: Send>() {}
    sent::<Records>();
};

#[test]
fn both_versions_talk_at_every_cut() {
    let identity = Identity::new();
    let mut acceptor = identity.acceptor();
    for version in VERSIONS {
        let mut cut = 0;
        loop {
            // A config of its own: a full handshake each time.
            let client = Arc::new(identity.client(version));
            let mut pair = Pair::cut_at(&mut acceptor, &client, cut);
            pair.client_says(b"early bird");
            pair.exchange().unwrap();
            pair.client_says(b", and the worm");
            pair.exchange().unwrap();
            assert_eq!(pair.plain, b"early bird, and the worm", "cut at {cut}");
            assert!(pair.server.carry.is_empty());
            pair.server_says(b"good morning");
            assert_eq!(pair.client_heard(), b"good morning");
            cut += 1;
            if pair.delivered() < cut {
                break;
            }
        }
        assert!(cut > 300, "{cut} bytes make no handshake");
    }
}

#[test]
fn a_byte_at_a_time_is_enough() {
    let identity = Identity::new();
    let client = Arc::new(identity.client(&TLS13));
    let mut pair = Pair::new(&mut identity.acceptor(), &client);
    pair.client_says(&[7; 20_000]);
    loop {
        let sent = pair.take_from_client();
        if sent.is_empty() {
            break;
        }
        for byte in sent {
            let mut out = Vec::new();
            pair.server
                .receive(&mut [byte], &mut pair.plain, &mut out)
                .unwrap();
            pair.give_to_client(&out);
        }
    }
    assert_eq!(pair.plain, vec![7; 20_000]);
    assert_eq!(
        pair.server.carry.capacity(),
        0,
        "an idle connection keeps no buffer"
    );
}

#[test]
fn long_texts_are_cut_into_records() {
    let identity = Identity::new();
    for version in VERSIONS {
        let client = Arc::new(identity.client(version));
        let mut pair = Pair::open(&mut identity.acceptor(), &client);
        for length in [1, RECORD_MAX - 1, RECORD_MAX, RECORD_MAX + 1, 100_000] {
            let text: Vec<u8> = (0..length).map(|index| index as u8).collect();
            let mut out = b"before".to_vec();
            pair.server.encrypt(&text, &mut out).unwrap();
            assert!(out.len() <= 6 + length + length.div_ceil(RECORD_MAX) * OVERHEAD);
            pair.give_to_client(out.strip_prefix(b"before").unwrap());
            assert_eq!(pair.client_heard(), text);
            pair.client.set_buffer_limit(None);
            pair.client_says(&text);
            pair.exchange().unwrap();
            assert_eq!(std::mem::take(&mut pair.plain), text);
        }
    }
}

#[test]
fn nothing_is_said_before_the_handshake() {
    let mut server = Identity::new().acceptor().accept().unwrap();
    let mut out = Vec::new();
    assert!(matches!(
        server.encrypt(b"hello", &mut out),
        Err(Error::NotOpen)
    ));
    server.close_notify(&mut out);
    assert!(out.is_empty());
}

#[test]
fn a_damaged_record_is_answered_with_an_alert() {
    let identity = Identity::new();
    let mut acceptor = identity.acceptor();
    for version in VERSIONS {
        let client = Arc::new(identity.client(version));
        let mut at = 0;
        loop {
            let mut pair = Pair::open(&mut acceptor, &client);
            pair.client_says(b"said");
            let mut sent = pair.take_from_client();
            let Some(byte) = sent.get_mut(at) else { break };
            *byte ^= 0x80;
            let mut out = Vec::new();
            match pair.server.receive(&mut sent, &mut pair.plain, &mut out) {
                Err(Error::Tls(_)) => {
                    assert!(!out.is_empty(), "no alert for byte {at}");
                    pair.give_to_client(&out);
                    assert!(pair.alert().is_some(), "no alert for byte {at}");
                    assert!(pair.server.encrypt(b"more", &mut out).is_err());
                }
                // The length of the record: it never becomes whole. Its version means nothing (RFC 8446 §5.1).
                Ok(_) => assert!((1..5).contains(&at), "byte {at}"),
                Err(other) => panic!("{other}"),
            }
            let is_version = (1..3).contains(&at);
            assert!(pair.plain.is_empty() || is_version, "byte {at}");
            at += 1;
        }
        assert!(at > 20);
    }
}

/// Where the records have their versions, which mean nothing (RFC 8446 §5.1).
fn places_of_versions(records: &[u8]) -> Vec<usize> {
    let (mut places, mut start) = (Vec::new(), 0);
    while let Some(&[_, _, _, high, low]) = records.get(start..start + 5) {
        places.extend([start + 1, start + 2]);
        start += 5 + usize::from(u16::from_be_bytes([high, low]));
    }
    places
}

#[test]
fn a_damaged_handshake_never_gets_through() {
    let identity = Identity::new();
    let mut acceptor = identity.acceptor();
    for version in VERSIONS {
        let client = Arc::new(identity.client(version));
        for flight in 0..2 {
            let mut at = 0;
            loop {
                let mut pair = Pair::new(&mut acceptor, &client);
                for _ in 0..flight {
                    let (mut sent, mut out) = (pair.take_from_client(), Vec::new());
                    let state = pair.server.receive(&mut sent, &mut pair.plain, &mut out);
                    assert_eq!(state.unwrap(), State::Handshaking);
                    pair.give_to_client(&out);
                }
                let mut sent = pair.take_from_client();
                let versions = places_of_versions(&sent);
                let Some(byte) = sent.get_mut(at) else { break };
                *byte ^= 0x11;
                let mut out = Vec::new();
                let received = pair.server.receive(&mut sent, &mut pair.plain, &mut out);
                let is_through = received.is_ok_and(|state| state != State::Handshaking);
                assert!(!is_through || versions.contains(&at), "byte {at}");
                assert!(pair.plain.is_empty());
                at += 1;
            }
            assert!(at > 30);
        }
    }
}

#[test]
fn a_record_that_is_too_long_is_refused_by_its_head() {
    let identity = Identity::new();
    let client = Arc::new(identity.client(&TLS13));
    let mut pair = Pair::open(&mut identity.acceptor(), &client);
    let mut out = Vec::new();
    let mut head = [23, 3, 3, 0xff, 0xff];
    let error = pair.server.receive(&mut head, &mut pair.plain, &mut out);
    assert!(matches!(error, Err(Error::Tls(_))));
    pair.give_to_client(&out);
    assert!(pair.alert().is_some());
}

#[test]
fn plain_http_is_told_so() {
    let identity = Identity::new();
    for request in ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "P"] {
        let mut server = identity.acceptor().accept().unwrap();
        let (mut plain, mut out) = (Vec::new(), Vec::new());
        let mut bytes = request.as_bytes().to_vec();
        let error = server.receive(&mut bytes, &mut plain, &mut out);
        assert!(matches!(error, Err(Error::PlainHttp)));
        let answer = String::from_utf8(out).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
        assert!(
            head.contains(&format!("Content-Length: {}\r\n", body.len())),
            "{head}"
        );
        assert!(body.contains("TLS"));
        let mut out = Vec::new();
        server.close_notify(&mut out);
        assert!(out.is_empty());
    }
}

/// A fatal alert that is not encrypted.
fn alert_in(out: &[u8]) -> Option<u8> {
    match out {
        [21, 3, _, 0, 2, 2, alert] => Some(*alert),
        _ => None,
    }
}

#[test]
fn what_is_no_tls_gets_an_alert() {
    let identity = Identity::new();
    for garbage in [
        &b"\0\0\0\0\0\0\0\0"[..],
        b"\x16\x03\x01\x00\x04\x01\0\0\0",
        b"ssh-2.0",
        &[0xff; 64],
    ] {
        let mut server = identity.acceptor().accept().unwrap();
        let (mut plain, mut out) = (Vec::new(), Vec::new());
        match server.receive(&mut garbage.to_vec(), &mut plain, &mut out) {
            Err(Error::Tls(_)) => assert!(alert_in(&out).is_some(), "{garbage:x?}: {out:x?}"),
            other => panic!("{garbage:x?}: {other:?}"),
        }
        assert!(plain.is_empty());
    }
}

/// A ClientHello that offers this version and no later one (RFC 5246 §7.4.1.2), with a suite and signatures that TLS 1.2 has.
fn hello(minor: u8, has_signatures: bool) -> Vec<u8> {
    let mut body = vec![3, minor];
    body.extend([9; 32]);
    body.extend([0, 0, 4, 0xc0, 0x2b, 0xc0, 0x2f, 1, 0]);
    if has_signatures {
        body.extend([0, 8, 0, 13, 0, 4, 0, 2, 4, 3]);
    }
    let mut bytes = vec![22, 3, 1, 0, body.len() as u8 + 4];
    bytes.extend([1, 0, 0, body.len() as u8]);
    bytes.extend(body);
    bytes
}

#[test]
fn versions_before_1_2_are_refused() {
    const HANDSHAKE_FAILURE: u8 = 40;
    const PROTOCOL_VERSION: u8 = 70;
    let identity = Identity::new();
    for (minor, has_signatures, alert) in [
        (1, true, PROTOCOL_VERSION),
        (2, true, PROTOCOL_VERSION),
        // As they were in those days.
        (1, false, HANDSHAKE_FAILURE),
        (2, false, HANDSHAKE_FAILURE),
    ] {
        let mut server = identity.acceptor().accept().unwrap();
        let (mut plain, mut out) = (Vec::new(), Vec::new());
        let error = server.receive(&mut hello(minor, has_signatures), &mut plain, &mut out);
        assert!(matches!(error, Err(Error::Tls(_))), "{error:?}");
        assert_eq!(alert_in(&out), Some(alert), "{out:x?}");
    }
}

#[test]
fn close_notify_ends_one_direction() {
    let identity = Identity::new();
    for version in VERSIONS {
        let client = Arc::new(identity.client(version));
        let mut pair = Pair::open(&mut identity.acceptor(), &client);
        pair.client_says(b"the last word");
        pair.client.send_close_notify();
        let mut sent = pair.take_from_client();
        // RFC 8446 §6.1: whatever comes behind it is ignored.
        sent.extend(b"behind it");
        let mut out = Vec::new();
        let state = pair
            .server
            .receive(&mut sent, &mut pair.plain, &mut out)
            .unwrap();
        assert_eq!(
            (state, &*pair.plain),
            (State::Closed, &b"the last word"[..])
        );
        let state = pair
            .server
            .receive(&mut [1, 2, 3], &mut pair.plain, &mut out);
        assert_eq!(state.unwrap(), State::Closed);
        assert!(out.is_empty() && pair.server.carry.is_empty());
        pair.server_says(b"no, mine");
        pair.server.close_notify(&mut out);
        pair.give_to_client(&out);
        assert_eq!(pair.client_heard(), b"no, mine");
        assert!(pair.client.process_new_packets().unwrap().peer_has_closed());
        // Said once.
        let said = out.len();
        pair.server.close_notify(&mut out);
        assert_eq!(out.len(), said);
    }
}

#[test]
fn keys_may_be_changed_on_the_way() {
    let identity = Identity::new();
    let client = Arc::new(identity.client(&TLS13));
    let mut cut = 0;
    loop {
        let mut pair = Pair::open(&mut identity.acceptor(), &client);
        pair.client.refresh_traffic_keys().unwrap();
        pair.client_says(b"with new keys");
        let mut sent = pair.take_from_client();
        if cut > sent.len() {
            break;
        }
        let (first, second) = sent.split_at_mut(cut);
        let mut out = Vec::new();
        pair.server
            .receive(first, &mut pair.plain, &mut out)
            .unwrap();
        // Something may be said while a record is not whole.
        pair.server.encrypt(b"yes", &mut out).unwrap();
        pair.server
            .receive(second, &mut pair.plain, &mut out)
            .unwrap();
        pair.server.encrypt(b" indeed", &mut out).unwrap();
        pair.give_to_client(&out);
        assert_eq!(pair.plain, b"with new keys");
        assert_eq!(pair.client_heard(), b"yes indeed");
        cut += 10;
    }
    assert!(cut > 50);
}

#[test]
fn sessions_are_resumed_on_any_core() {
    let identity = Identity::new();
    let certificates = Certificates::load(identity.source()).unwrap();
    let mut cores = [(); 2].map(|()| Acceptor::new(certificates.clone()));
    for version in VERSIONS {
        let client = Arc::new(identity.client(version));
        let kinds = [0, 1, 0, 1].map(|core| {
            let pair = Pair::open(&mut cores[core], &client);
            pair.server.connection().handshake_kind()
        });
        assert_eq!(kinds[0], Some(HandshakeKind::Full));
        assert_eq!(kinds[1..], [Some(HandshakeKind::Resumed); 3]);
    }
}

#[test]
fn http_1_1_is_what_is_spoken() {
    let identity = Identity::new();
    let mut config = identity.client(&TLS13);
    for (offered, chosen) in [
        (&["h2", "http/1.1"][..], Some(&b"http/1.1"[..])),
        (&["http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        config.alpn_protocols = offered
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        let pair = Pair::open(&mut identity.acceptor(), &Arc::new(config.clone()));
        assert_eq!(pair.client.alpn_protocol(), chosen);
    }
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut pair = Pair::new(&mut identity.acceptor(), &Arc::new(config));
    assert!(matches!(pair.exchange(), Err(Error::Tls(_))));
    assert_eq!(pair.alert(), Some(AlertDescription::NoApplicationProtocol));
}
