//! Compressed answers to polls (RFC 9110 §12.5.3).

use std::io::Read;

use crate::bed::{Bed, Setup, is_node};
use crate::session::Session;
use crate::wire::{Response, request};

fn inflated(answer: &Response) -> String {
    let mut text = String::new();
    let body = &*answer.body;
    let read = match answer.header("content-encoding") {
        None => return answer.text().to_owned(),
        Some("gzip") => flate2::read::GzDecoder::new(body).read_to_string(&mut text),
        // RFC 9110 §8.4.1.2: the zlib format.
        Some("deflate") => flate2::read::ZlibDecoder::new(body).read_to_string(&mut text),
        other => panic!("{other:?}"),
    };
    read.expect("what the header says");
    text
}

/// The answer to a poll with `length` bytes of payload, asked for with this header.
fn poll(bed: &Bed, length: usize, accept: Option<&str>) -> Response {
    let mut session = Session::open(bed);
    session.push(format!("4big {}", length - 1));
    let headers = accept.map_or(String::new(), |accept| {
        format!("Accept-Encoding: {accept}\r\n")
    });
    let target = session.target().to_owned();
    let answer = session.get.ask(request("GET", &target, &headers));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(inflated(&answer).len(), length, "{accept:?}");
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; charset=UTF-8")
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    session.echoes();
    answer
}

#[test]
fn a_long_answer_is_compressed_for_who_asks() {
    let bed = Bed::plain();
    for (length, accept, coding) in [
        (1024, Some("gzip"), Some("gzip")),
        (1023, Some("gzip"), None),
        (1024, None, None),
        (100_000, Some("gzip, deflate, br"), Some("gzip")),
        (5000, Some("deflate"), Some("deflate")),
        (5000, Some("deflate, gzip"), Some("gzip")),
        (5000, Some("br"), None),
        (5000, Some("identity"), None),
        (5000, Some("gzip;q=0"), None),
        (5000, Some("gzip;q=0, deflate;q=0"), None),
        (5000, Some("gzip;q=0, deflate"), Some("deflate")),
        (5000, Some("gzip;q=0.2, deflate;q=0.9"), Some("deflate")),
        (5000, Some("deflate;q=0.2, gzip;q=0.9"), Some("gzip")),
        (5000, Some("gzip;q=0.001"), Some("gzip")),
        (5000, Some("GZIP"), Some("gzip")),
        (5000, Some("*"), Some("gzip")),
        (5000, Some("*;q=0"), None),
        (5000, Some("*;q=0, deflate"), Some("deflate")),
    ] {
        if is_node() && accept == Some("deflate, gzip") {
            // Of equal qualities it takes the one that is named first.
            continue;
        }
        let answer = poll(&bed, length, accept);
        let encoding = answer.header("content-encoding");
        assert_eq!(encoding, coding, "{length} bytes for {accept:?}");
        if coding.is_some() {
            assert!(answer.body.len() < length / 2, "it is shorter");
        }
    }
}

#[test]
fn the_threshold_is_a_setting_and_so_is_none() {
    let low = Bed::start(&Setup {
        compression: Some(10),
        ..Setup::default()
    });
    assert_eq!(
        poll(&low, 100, Some("gzip")).header("content-encoding"),
        Some("gzip")
    );
    assert_eq!(poll(&low, 9, Some("gzip")).header("content-encoding"), None);
    let none = Bed::start(&Setup {
        compression: None,
        ..Setup::default()
    });
    assert_eq!(
        poll(&none, 100_000, Some("gzip")).header("content-encoding"),
        None
    );
}
