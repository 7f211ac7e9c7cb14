//! Bodies, compressed.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use crate::wire::coding::Coding;

/// Answers are made anew for each poll: what is gained beyond the fastest level is not worth its time.
const LEVEL: Compression = Compression::fast();

/// The body in this coding, and its name if it has one.
pub(crate) fn compress(body: Bytes, coding: Coding) -> (Bytes, Option<&'static str>) {
    let coded = match coding {
        Coding::Gzip => gzip(&body, LEVEL),
        Coding::Deflate => deflate(&body, LEVEL),
        Coding::Identity => return (body, None),
    };
    match coded {
        Some(coded) => (coded.into(), coding.name()),
        None => (body, None),
    }
}

pub(crate) fn gzip(body: &[u8], level: Compression) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

pub(crate) fn deflate(body: &[u8], level: Compression) -> Option<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), level);
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}
