use super::*;

#[test]
fn codes_that_may_be_sent_are_those_of_the_rfc_and_the_registry() {
    // Autobahn 7.7.* and 7.9.*, with the edges of each range.
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000,
        4999,
    ] {
        assert!(CloseCode::new(code).is_sendable(), "{code}");
        let payload = [code.to_be_bytes().as_slice(), b"why"].concat();
        assert_eq!(decode_payload(&payload), Ok((CloseCode::new(code), "why")));
    }
    for code in [
        0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535,
    ] {
        assert!(!CloseCode::new(code).is_sendable(), "{code}");
        assert_eq!(
            decode_payload(&u16::to_be_bytes(code)),
            Err(CloseError::Code),
            "{code}"
        );
    }
}

#[test]
fn decodes_what_is_there_or_not() {
    assert_eq!(decode_payload(b""), Ok((CloseCode::NO_STATUS, "")));
    assert_eq!(decode_payload(b"\x03"), Err(CloseError::Truncated));
    assert_eq!(decode_payload(b"\x03\xE8"), Ok((CloseCode::NORMAL, "")));
    assert_eq!(
        decode_payload("\x03\u{0}µ".as_bytes()),
        Err(CloseError::Code)
    );
    assert_eq!(
        decode_payload(b"\x03\xE8\xC2\xB5"),
        Ok((CloseCode::NORMAL, "µ"))
    );
    assert_eq!(decode_payload(b"\x03\xE8\xC2"), Err(CloseError::Reason));
    assert_eq!(
        decode_payload(b"\x03\xE8\xED\xA0\x80"),
        Err(CloseError::Reason)
    );
}

#[test]
fn encoding_cuts_a_long_reason_between_characters() {
    let mut out = [0; CONTROL_MAX];
    for pad in 0..4 {
        let reason = format!("{}{}", "x".repeat(pad), "🦀".repeat(40));
        let len = encode_payload(CloseCode::POLICY, &reason, &mut out);
        let (code, kept) = decode_payload(&out[..len]).unwrap();
        assert_eq!(code, CloseCode::POLICY);
        assert!(reason.starts_with(kept));
        assert!((120..=123).contains(&kept.len()), "{}", kept.len());
    }
    let exact = "y".repeat(123);
    assert_eq!(encode_payload(CloseCode::NORMAL, &exact, &mut out), 125);
    assert_eq!(
        decode_payload(&out),
        Ok((CloseCode::NORMAL, exact.as_str()))
    );
}

#[test]
fn codes_that_must_not_be_sent_give_an_empty_payload() {
    let mut out = [0; CONTROL_MAX];
    for code in [
        CloseCode::NO_STATUS,
        CloseCode::ABNORMAL,
        CloseCode::new(1015),
        CloseCode::new(0),
    ] {
        assert_eq!(encode_payload(code, "reason", &mut out), 0);
    }
}
