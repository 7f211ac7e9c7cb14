use super::*;
use crate::wire::http::NO_HEADERS;
use crate::wire::http::tests::fuzz_request;
use crate::wire::xorshift::Xorshift;

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
const GOOD: [&str; 6] = [
    "GET /chat HTTP/1.1",
    "Host: server.example.com",
    "Upgrade: websocket",
    "Connection: Upgrade",
    KEY,
    "Sec-WebSocket-Version: 13",
];

fn head(lines: &[&str]) -> Vec<u8> {
    format!("{}\r\n\r\n", lines.join("\r\n")).into_bytes()
}

/// The good request with its line number `at` replaced; with `None` removed, with several lines there in its place.
fn with(at: usize, lines: &[&str]) -> Vec<u8> {
    let mut changed = GOOD.to_vec();
    changed.splice(at..at + usize::from(at < GOOD.len()), lines.iter().copied());
    head(&changed)
}

fn status(head: &[u8]) -> u16 {
    let mut headers = NO_HEADERS;
    match Request::parse(head, &mut headers)
        .map_err(Refusal::from)
        .and_then(|request| check(&request).map(|_| ()))
    {
        Ok(()) => 101,
        Err(refusal) => refusal.status,
    }
}

#[test]
fn the_example_of_the_rfc_is_accepted_with_its_key() {
    // RFC 6455 §1.3.
    assert_eq!(
        &accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="),
        b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
    let lines = [
        &GOOD[..],
        &[
            "Origin: http://example.com",
            "Sec-WebSocket-Protocol: chat, superchat",
        ],
    ]
    .concat();
    let head = head(&lines);
    let mut headers = NO_HEADERS;
    let request = Request::parse(&head, &mut headers).unwrap();
    assert!(is_upgrade(&request));
    let upgrade = check(&request).unwrap();
    assert_eq!(&upgrade.key_accept, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(
        upgrade.protocols().collect::<Vec<_>>(),
        ["chat", "superchat"]
    );

    let mut out = b"before".to_vec();
    encode_accept(
        &mut out,
        &upgrade.key_accept,
        Some("chat"),
        &[("X-Served-By", "ringhall")],
    )
    .unwrap();
    let expected = "beforeHTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\
                    X-Served-By: ringhall\r\n\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn good_requests_are_accepted() {
    let table: &[(usize, &[&str])] = &[
        (0, &["GET / HTTP/1.1"]),
        (0, &["GET http://server.example.com/chat?x=y HTTP/1.1"]),
        (1, &["host:server.example.com:8080"]),
        (1, &["Host: 127.0.0.1"]),
        (1, &["Host: [::1]:8080"]),
        (1, &["Host: a%2Db:"]),
        (2, &["UPGRADE: WebSocket"]),
        (2, &["Upgrade: h2c, websocket"]),
        (2, &["Upgrade: h2c", "Upgrade: websocket"]),
        (3, &["connection: keep-alive, Upgrade"]),
        (3, &["Connection: keep-alive", "Connection: ,upgrade,"]),
        // Bits left over by the padding.
        (4, &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR=="]),
        (6, &["Content-Length: 0"]),
        (
            6,
            &["Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Protocol: c"],
        ),
        (
            6,
            &["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"],
        ),
        (6, &["Sec-WebSocket-Extensions: a; b=1; c=\"d\\e\" , , f"]),
        (
            6,
            &["Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=08"],
        ),
        (6, &["Cookie: a=b; c=\u{e9}"]),
    ];
    for (at, lines) in table {
        assert_eq!(status(&with(*at, lines)), 101, "{lines:?}");
    }
}

#[test]
fn bad_requests_are_refused_with_their_status() {
    let table: &[(usize, &[&str], u16)] = &[
        (0, &["POST /chat HTTP/1.1"], 405),
        (0, &["get /chat HTTP/1.1"], 405),
        (0, &["GET /chat HTTP/1.0"], 400),
        (0, &["GET /chat"], 400),
        (0, &["GET /chat HTTP/2.0"], 505),
        (0, &["GET * HTTP/1.1"], 400),
        (0, &["GET chat HTTP/1.1"], 400),
        (0, &["GET /chat#part HTTP/1.1"], 400),
        (1, &[], 400),
        (1, &["Host:"], 400),
        (1, &["Host: a", "Host: a"], 400),
        (1, &["Host: a b"], 400),
        (1, &["Host: a, b"], 400),
        (1, &["Host: a/b"], 400),
        (1, &["Host: user@a"], 400),
        (1, &["Host: a:b"], 400),
        (1, &["Host: a:+80"], 400),
        (1, &["Host: a:65536"], 400),
        (1, &["Host: a:1:2"], 400),
        (1, &["Host: :80"], 400),
        (1, &["Host: ::1"], 400),
        (1, &["Host: [::1"], 400),
        (1, &["Host: [::g]"], 400),
        (1, &["Host: [::1]80"], 400),
        (1, &["Host: a%2"], 400),
        (1, &["Host: \u{f6}"], 400),
        (2, &[], 426),
        (2, &["Upgrade: h2c"], 426),
        (2, &["Upgrade: websocket/13"], 426),
        (2, &["Upgrade: websockets"], 426),
        (3, &[], 400),
        (3, &["Connection: close"], 400),
        (3, &["Connection: keep-alive, Upgraded"], 400),
        (4, &[], 400),
        (4, &[KEY, KEY], 400),
        (4, &["Sec-WebSocket-Key:"], 400),
        (4, &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"], 400),
        (4, &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=A"], 400),
        (4, &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQAA"], 400),
        (4, &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZTE="], 400),
        (4, &["Sec-WebSocket-Key: dGhlIHNhbXBs ZSBub25jQ=="], 400),
        (4, &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j_Q=="], 400),
        (4, &["Sec-WebSocket-Key: dGhlIHNhbXBsZQ=="], 400),
        (
            4,
            &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZXh4eHh4eA=="],
            400,
        ),
        (5, &[], 426),
        (5, &["Sec-WebSocket-Version:"], 426),
        (5, &["Sec-WebSocket-Version: 8"], 426),
        (5, &["Sec-WebSocket-Version: 013"], 426),
        (5, &["Sec-WebSocket-Version: 13.0"], 426),
        (5, &["Sec-WebSocket-Version: +13"], 426),
        (5, &["Sec-WebSocket-Version: 13, 8"], 426),
        (
            5,
            &["Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13"],
            400,
        ),
        (6, &["Content-Length: 5"], 400),
        (6, &["Content-Length: 0", "Content-Length: 5"], 400),
        (6, &["Content-Length: 0, 0"], 400),
        (6, &["Content-Length: +0"], 400),
        (6, &["Content-Length:"], 400),
        (6, &["Content-Length: 18446744073709551616"], 400),
        (6, &["Transfer-Encoding: chunked"], 400),
        (6, &["Transfer-Encoding: identity"], 400),
        (
            6,
            &["transfer-encoding: xchunked", "Content-Length: 0"],
            400,
        ),
        (6, &["Sec-WebSocket-Protocol:"], 400),
        (6, &["Sec-WebSocket-Protocol: ,"], 400),
        (6, &["Sec-WebSocket-Protocol: a b"], 400),
        (6, &["Sec-WebSocket-Protocol: chat/1"], 400),
        (6, &["Sec-WebSocket-Extensions:"], 400),
        (6, &["Sec-WebSocket-Extensions: a;"], 400),
        (6, &["Sec-WebSocket-Extensions: a; b="], 400),
        (6, &["Sec-WebSocket-Extensions: a b"], 400),
        (6, &["Sec-WebSocket-Extensions: a; b=\"\""], 400),
        (6, &["Sec-WebSocket-Extensions: a; b=\"c d\""], 400),
        (6, &["Sec-WebSocket-Extensions: a; b=\"c"], 400),
        (6, &["Sec-WebSocket-Extensions: a; b=\"c\\"], 400),
        (6, &["Sec-WebSocket-Extensions: =a"], 400),
        (6, &["Obsolete: line", " folding"], 400),
        (6, &["Upgrade : websocket"], 400),
    ];
    assert!(table.len() >= 40);
    for (at, lines, expected) in table {
        assert_eq!(status(&with(*at, lines)), *expected, "{lines:?}");
    }
}

#[test]
fn a_plain_request_is_no_upgrade() {
    let head = head(&["GET / HTTP/1.1", "Host: a", "Upgrade: h2c"]);
    let mut headers = NO_HEADERS;
    assert!(!is_upgrade(&Request::parse(&head, &mut headers).unwrap()));
}

#[test]
fn nothing_of_the_application_can_break_out_of_its_header() {
    let accept = accept_key(b"x");
    let refused: &[(Option<&str>, (&str, &str), HeaderError)] = &[
        (Some("a\r\nb"), ("A", "b"), HeaderError::Name),
        (Some(""), ("A", "b"), HeaderError::Name),
        (Some("a, b"), ("A", "b"), HeaderError::Name),
        (None, ("A b", "c"), HeaderError::Name),
        (None, ("", "c"), HeaderError::Name),
        (None, ("A:", "c"), HeaderError::Name),
        (None, ("A", "b\r\nC: d"), HeaderError::Value),
        (None, ("A", "b\n"), HeaderError::Value),
        (None, ("A", "b\r"), HeaderError::Value),
        (None, ("A", "b\0"), HeaderError::Value),
        (None, ("A", "\x7f"), HeaderError::Value),
        (None, ("connection", "close"), HeaderError::Reserved),
        (None, ("Content-Length", "5"), HeaderError::Reserved),
        (
            None,
            ("Transfer-Encoding", "chunked"),
            HeaderError::Reserved,
        ),
        (None, ("SEC-WEBSOCKET-ACCEPT", "x"), HeaderError::Reserved),
        (
            None,
            ("Sec-WebSocket-Extensions", "permessage-deflate"),
            HeaderError::Reserved,
        ),
    ];
    for (protocol, header, error) in refused {
        let mut out = Vec::new();
        let result = encode_accept(&mut out, &accept, *protocol, &[("Fine", "value"), *header]);
        assert_eq!(result, Err(*error), "{protocol:?} {header:?}");
        assert!(out.is_empty());
    }
    let mut out = Vec::new();
    assert_eq!(
        encode_accept(&mut out, &accept, None, &[("Set-Cookie", "a=\u{e9};\tb")]),
        Ok(())
    );
}

fn refusal_text(refusal: Refusal) -> String {
    let mut out = Vec::new();
    encode_refusal(&mut out, &refusal);
    String::from_utf8(out).unwrap()
}

#[test]
fn refusals_are_whole_framed_answers() {
    assert_eq!(
        refusal_text(Refusal::new(403, "No.")),
        "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: 3\r\n\r\nNo."
    );
    let version = refusal_text(Refusal::new(426, "é"));
    assert!(
        version.starts_with("HTTP/1.1 426 Upgrade Required\r\n"),
        "{version}"
    );
    for line in [
        "Sec-WebSocket-Version: 13",
        "Upgrade: websocket",
        "Connection: close, Upgrade",
        "Content-Length: 2",
    ] {
        assert!(version.contains(&format!("\r\n{line}\r\n")), "{line}");
    }
    assert!(refusal_text(Refusal::new(405, "")).contains("\r\nAllow: GET\r\n"));
    assert!(refusal_text(Refusal::new(499, "")).starts_with("HTTP/1.1 499 \r\n"));
    for error in [
        HttpError::Syntax,
        HttpError::LineEnd,
        HttpError::LineTooLong,
        HttpError::HeadTooLarge,
        HttpError::TooManyHeaders,
        HttpError::Version,
    ] {
        let text = refusal_text(error.into());
        assert!(
            text.starts_with(&format!(
                "HTTP/1.1 {} {}\r\n",
                error.status(),
                phrase(error.status())
            )),
            "{text}"
        );
        assert!(!phrase(error.status()).is_empty());
    }
}

#[test]
fn damaged_handshakes_never_panic_and_never_pass_with_a_body() {
    for seed in 0..5_000 {
        let mut random = Xorshift::new(seed);
        let mut bytes = with(
            6,
            &[
                "Content-Length: 7",
                "Sec-WebSocket-Extensions: a; b=\"c\"",
                "Sec-WebSocket-Protocol: d, e",
            ],
        );
        random.mutate(&mut bytes);
        let result = std::panic::catch_unwind(|| fuzz_request(&bytes));
        assert!(
            result.is_ok(),
            "seed {seed}: {}",
            String::from_utf8_lossy(&bytes)
        );
        // The header's own line may be what was damaged.
        let still_declared = bytes
            .windows(19)
            .any(|window| window == b"\r\nContent-Length: 7");
        assert!(
            !still_declared || status(&bytes) != 101,
            "seed {seed}: {}",
            String::from_utf8_lossy(&bytes)
        );
    }
}
