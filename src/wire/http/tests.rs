use super::*;
use crate::wire::xorshift::Xorshift;

const HEAD: &[u8] = b"GET /chat?a=1&b=two HTTP/1.1\r\nHost: example.com\r\nX-List: one, Two\r\nx-list: ,THREE ,\r\nEmpty:\r\n\r\n";

fn parse(head: &[u8]) -> Result<(), HttpError> {
    Request::parse(head, &mut NO_HEADERS.clone()).map(|_| ())
}

#[test]
fn a_request_is_read_into_its_parts() {
    let mut headers = NO_HEADERS;
    let request = Request::parse(HEAD, &mut headers).unwrap();
    assert_eq!((request.method, request.minor_version), ("GET", 1));
    assert_eq!((request.path, request.query), ("/chat", "a=1&b=two"));
    assert_eq!(request.header("HOST"), Some(b"example.com".as_slice()));
    assert_eq!(request.header("empty"), Some(b"".as_slice()));
    assert_eq!(request.header("missing"), None);
    let lists: Vec<&[u8]> = request.headers("X-LIST").collect();
    assert_eq!(lists, [b"one, Two".as_slice(), b",THREE ,"]);
    for token in ["one", "two", "three"] {
        assert!(
            request.header_values_contain_token("x-list", token),
            "{token}"
        );
    }
    for token in ["on", "one, two", "four", ""] {
        assert!(
            !request.header_values_contain_token("x-list", token),
            "{token}"
        );
    }
}

#[test]
fn the_end_is_found_however_the_head_drips_in() {
    let early_frames = [HEAD, b"\x81\x80\0\0\0\0\r\n\r\n"].concat();
    for first in 0..=early_frames.len() {
        for second in first..=early_frames.len() {
            let mut found = None;
            let mut scanned = 0;
            for len in [first, second, early_frames.len()] {
                match find_head_end(&early_frames[..len], scanned).unwrap() {
                    Status::Complete(end) => {
                        found = Some(end);
                        break;
                    }
                    Status::Partial => scanned = len,
                }
            }
            assert_eq!(found, Some(HEAD.len()), "cut at {first} and {second}");
        }
    }
}

#[test]
fn scanned_bytes_are_not_scanned_again() {
    // Were they looked at, the end among them would be found.
    assert_eq!(
        find_head_end(b"GET / HTTP/1.1\r\n\r\nmore", 20),
        Ok(Status::Partial)
    );
}

#[test]
fn a_head_ended_by_bare_line_feeds_is_found_and_refused() {
    for head in [
        &b"GET / HTTP/1.1\nHost: a\n\n"[..],
        b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    ] {
        assert_eq!(find_head_end(head, 0), Ok(Status::Complete(head.len())));
        assert_eq!(parse(head), Err(HttpError::LineEnd));
    }
}

#[test]
fn one_empty_line_before_the_request_is_skipped() {
    let head = [b"\r\n", HEAD].concat();
    assert_eq!(find_head_end(&head, 0), Ok(Status::Complete(head.len())));
    assert_eq!(parse(&head), Ok(()));
    assert_eq!(
        find_head_end(b"\r\n\r\nGET / HTTP/1.1\r\n", 0),
        Ok(Status::Complete(4))
    );
    assert_eq!(parse(b"\r\n\r\n"), Err(HttpError::Syntax));
}

fn with_line_len(len: usize) -> Vec<u8> {
    let target_len = len - "GET / HTTP/1.1".len();
    format!(
        "GET /{} HTTP/1.1\r\nHost: a\r\n\r\n",
        "x".repeat(target_len)
    )
    .into_bytes()
}

fn with_head_len(len: usize) -> Vec<u8> {
    let fixed = "GET / HTTP/1.1\r\nA: \r\n\r\n".len();
    format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(len - fixed)).into_bytes()
}

#[test]
fn limits_hold_to_the_byte_whether_the_head_comes_at_once_or_in_drips() {
    let too_long: &[(Vec<u8>, HttpError)] = &[
        (with_line_len(REQUEST_LINE_MAX + 1), HttpError::LineTooLong),
        (
            with_line_len(REQUEST_LINE_MAX + 9000),
            HttpError::LineTooLong,
        ),
        (with_head_len(HEAD_MAX + 1), HttpError::HeadTooLarge),
        (with_head_len(HEAD_MAX + 9000), HttpError::HeadTooLarge),
    ];
    for (head, error) in too_long {
        assert_eq!(find_head_end(head, 0), Err(*error));
        let refused_at = (1..=head.len())
            .find(|len| find_head_end(&head[..*len], len - 1).is_err())
            .unwrap();
        assert_eq!(
            find_head_end(&head[..refused_at], refused_at - 1),
            Err(*error)
        );
        assert!(refused_at <= HEAD_MAX);
    }
    for head in [with_line_len(REQUEST_LINE_MAX), with_head_len(HEAD_MAX)] {
        assert_eq!(find_head_end(&head, 0), Ok(Status::Complete(head.len())));
        for len in 1..head.len() {
            assert_eq!(
                find_head_end(&head[..len], len - 1),
                Ok(Status::Partial),
                "{len} bytes"
            );
        }
        assert_eq!(parse(&head), Ok(()));
    }
}

#[test]
fn a_hundred_headers_are_taken_and_no_more() {
    let head = |count| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count)).into_bytes();
    assert_eq!(parse(&head(HEADERS_MAX)), Ok(()));
    assert_eq!(
        parse(&head(HEADERS_MAX + 1)),
        Err(HttpError::TooManyHeaders)
    );
}

#[test]
fn bad_requests_are_refused_with_their_status() {
    let table: &[(&[u8], u16)] = &[
        (b"", 400),
        (b"\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1 \r\n\r\n", 400),
        (b" GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"GET / HTTP/1.2\r\n\r\n", 505),
        (b"GET / http/1.1\r\n\r\n", 505),
        (b"GET /a#b HTTP/1.1\r\n\r\n", 400),
        (b"GET /\x00 HTTP/1.1\r\n\r\n", 400),
        (b"GET /\xFF HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nNo colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n: no name\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nName : value\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n Name: value\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nName: value\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nName: va\x00lue\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nName: va\rlue\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nName: value\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\nbody", 400),
    ];
    for (head, status) in table {
        let error = parse(head).expect_err(&String::from_utf8_lossy(head));
        assert_eq!(error.status(), *status, "{}", String::from_utf8_lossy(head));
    }
    assert_eq!(HttpError::LineTooLong.status(), 414);
    assert_eq!(HttpError::HeadTooLarge.status(), 431);
    assert_eq!(HttpError::TooManyHeaders.status(), 431);
}

#[test]
fn targets_are_split_in_every_form() {
    for (target, path, query) in [
        ("/", "/", ""),
        ("/a/b", "/a/b", ""),
        ("/a?b?c=d", "/a", "b?c=d"),
        ("/?", "/", ""),
        ("/redirect?to=http://b/c", "/redirect", "to=http://b/c"),
        ("http://host/a?b", "/a", "b"),
        ("HTTP://host:80/a", "/a", ""),
        ("https://host", "/", ""),
        ("http://host?b=/c", "/", "b=/c"),
        ("*", "*", ""),
        ("host:443", "host:443", ""),
    ] {
        assert_eq!(split_target(target), (path, query), "{target}");
    }
}

#[test]
fn queries_are_decoded_leniently() {
    let pairs = |query| {
        query_pairs(query)
            .map(|(k, v)| format!("{k}={v}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        pairs("EIO=4&transport=polling&sid=ab"),
        ["EIO=4", "transport=polling", "sid=ab"]
    );
    assert_eq!(pairs("a+b=c%20d&%C3%B6=%2B+%3d%3D"), ["a b=c d", "ö=+ =="]);
    assert_eq!(
        pairs("a=%&b=%4&c=%zz&d=100%"),
        ["a=%", "b=%4", "c=%zz", "d=100%"]
    );
    assert_eq!(pairs("a=%FF%41"), ["a=\u{FFFD}A"]);
    assert_eq!(pairs("&&a&=b&c=d=e&"), ["a=", "=b", "c=d=e"]);
    assert_eq!(pairs(""), [""; 0]);
    assert!(matches!(
        query_value("sid=plain", "sid"),
        Some(Cow::Borrowed("plain"))
    ));
    assert_eq!(query_value("t=1&sid=a&%74=2", "t").as_deref(), Some("2"));
    assert_eq!(query_value("t=1", "T"), None);
}

/// Whatever the bytes: no panic; the end of a head does not depend on how it dripped in, and what is parsed
/// lies within the limits.
pub(crate) fn fuzz_request(bytes: &[u8]) {
    let at_once = find_head_end(bytes, 0);
    let mut scanned = 0;
    let dripping = (1..=bytes.len()).map(|len| {
        (
            find_head_end(&bytes[..len], std::mem::replace(&mut scanned, len)),
            len,
        )
    });
    let first = dripping
        .map(|(answer, _)| answer)
        .find(|answer| *answer != Ok(Status::Partial));
    assert_eq!(first.unwrap_or(Ok(Status::Partial)), at_once);
    let Ok(Status::Complete(end)) = at_once else {
        return;
    };
    let mut headers = NO_HEADERS;
    let Ok(request) = Request::parse(&bytes[..end], &mut headers) else {
        return;
    };
    assert!(
        end <= HEAD_MAX
            && request.headers.len() <= HEADERS_MAX
            && request.path.len() + request.query.len() <= REQUEST_LINE_MAX
    );
    assert!(request.minor_version <= 1 && !request.path.is_empty());
    let decoded: usize = query_pairs(request.query)
        .map(|(name, value)| name.len() + value.len())
        .sum();
    assert!(
        decoded <= 3 * request.query.len(),
        "U+FFFD is three bytes for one"
    );
    let _ = crate::wire::handshake::check(&request);
}

#[test]
fn damaged_requests_hold_the_rules() {
    for seed in 0..5_000 {
        let mut random = Xorshift::new(seed);
        let mut bytes = HEAD.to_vec();
        random.mutate(&mut bytes);
        let result = std::panic::catch_unwind(|| fuzz_request(&bytes));
        assert!(
            result.is_ok(),
            "seed {seed}: {}",
            String::from_utf8_lossy(&bytes)
        );
    }
}
