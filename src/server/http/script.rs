//! The client script: our own, or that of an installed npm package.
//!
//! Everything is held in memory, with its compressed forms, which are made when they are first asked for.

use std::path::Path;
use std::sync::OnceLock;

use bytes::Bytes;
use flate2::Compression;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use sha1::{Digest, Sha1};

use super::answer::{insert, respond};
use super::compress::{deflate, gzip};
use crate::wire::coding::{self, Coding};

/// Names that are served; each may have a source map beside it.
const NAMES: [&str; 4] = [
    "socket.io.js",
    "socket.io.min.js",
    "socket.io.esm.min.js",
    "socket.io.msgpack.min.js",
];

/// Our own script, as `src/client/build` makes it.
const OWN: [(&str, &[u8]); 5] = [
    (
        "socket.io.js",
        include_bytes!("../../client/dist/socket.io.js"),
    ),
    (
        "socket.io.min.js",
        include_bytes!("../../client/dist/socket.io.min.js"),
    ),
    (
        "socket.io.min.js.map",
        include_bytes!("../../client/dist/socket.io.min.js.map"),
    ),
    (
        "socket.io.esm.min.js",
        include_bytes!("../../client/dist/socket.io.esm.min.js"),
    ),
    (
        "socket.io.esm.min.js.map",
        include_bytes!("../../client/dist/socket.io.esm.min.js.map"),
    ),
];

/// All files of a client.
pub(crate) struct Scripts(Vec<Script>);

struct Script {
    name: String,
    body: Bytes,
    etag: String,
    gzip: OnceLock<Bytes>,
    deflate: OnceLock<Bytes>,
}

impl Scripts {
    /// Our own.
    pub(crate) fn own() -> Scripts {
        let scripts = OWN.iter().map(|(name, body)| {
            let body = Bytes::from_static(body);
            Script::new((*name).to_owned(), body)
        });
        Scripts(scripts.collect())
    }

    /// Those of an npm package: `dir` is its folder `client-dist` (of socket.io) or `dist` (of socket.io-client).
    pub(crate) fn of_dir(dir: &Path) -> std::io::Result<Scripts> {
        // So that a folder which is not there is not called an empty one.
        std::fs::read_dir(dir)?;
        let mut scripts = Vec::new();
        for name in NAMES {
            for name in [name.to_owned(), format!("{name}.map")] {
                match std::fs::read(dir.join(&name)) {
                    Ok(body) => scripts.push(Script::new(name, body.into())),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        if scripts.is_empty() {
            return Err(std::io::Error::new(
                std::io::ErrorKind::NotFound,
                "none of the client's files is there, such as socket.io.min.js",
            ));
        }
        Ok(Scripts(scripts))
    }

    /// The file of this name, as the request wants it.
    pub(crate) fn serve(&self, name: &str, asked: &HeaderMap) -> Option<Response<Bytes>> {
        let script = self.0.iter().find(|script| script.name == name)?;
        let wanted = asked.get_all(header::IF_NONE_MATCH);
        let is_known = coding::none_match(
            wanted.iter().map(HeaderValue::as_bytes),
            script.etag.as_bytes(),
        );
        let mut response = if is_known {
            respond(StatusCode::NOT_MODIFIED, None, Bytes::new())
        } else {
            script.respond(asked)
        };
        let headers = response.headers_mut();
        insert(headers, "cache-control", b"public, max-age=0");
        insert(headers, "etag", script.etag.as_bytes());
        headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        Some(response)
    }
}

impl Script {
    fn new(name: String, body: Bytes) -> Script {
        let digest = Sha1::digest(&body);
        let hash: String = digest
            .iter()
            .take(10)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Script {
            name,
            body,
            etag: format!("\"{hash}\""),
            gzip: OnceLock::new(),
            deflate: OnceLock::new(),
        }
    }

    fn respond(&self, asked: &HeaderMap) -> Response<Bytes> {
        let accepted = asked.get_all(header::ACCEPT_ENCODING);
        let coding = coding::negotiate(accepted.iter().map(HeaderValue::as_bytes));
        let body = match coding {
            Coding::Identity => &self.body,
            Coding::Gzip => made(&self.gzip, || gzip(&self.body, Compression::best())),
            Coding::Deflate => made(&self.deflate, || deflate(&self.body, Compression::best())),
        };
        let content_type = if self.name.ends_with(".map") {
            "application/json; charset=utf-8"
        } else {
            "application/javascript; charset=utf-8"
        };
        let mut response = respond(StatusCode::OK, Some(content_type), body.clone());
        if let Some(name) = coding.name() {
            insert(response.headers_mut(), "content-encoding", name.as_bytes());
        }
        response
    }
}

fn made(kept: &OnceLock<Bytes>, make: impl FnOnce() -> Option<Vec<u8>>) -> &Bytes {
    // Writing into memory does not fail.
    kept.get_or_init(|| make().unwrap_or_default().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            insert(&mut headers, name, value.as_bytes());
        }
        headers
    }

    #[test]
    fn a_script_is_served_plain_or_compressed_and_not_again() {
        let scripts = Scripts::own();
        let plain = scripts
            .serve("socket.io.min.js", &HeaderMap::new())
            .unwrap();
        assert_eq!(plain.status(), 200);
        assert_eq!(
            plain.headers()["content-type"],
            "application/javascript; charset=utf-8"
        );
        let asked = headers(&[("accept-encoding", "gzip, br")]);
        let small = scripts.serve("socket.io.min.js", &asked).unwrap();
        assert_eq!(small.headers()["content-encoding"], "gzip");
        assert!(small.body().len() * 2 < plain.body().len());
        let etag = plain.headers()["etag"].to_str().unwrap().to_owned();
        for known in [etag.clone(), format!("W/{etag}"), "*".to_owned()] {
            let asked = headers(&[("if-none-match", &known)]);
            let answer = scripts.serve("socket.io.min.js", &asked).unwrap();
            assert_eq!((answer.status().as_u16(), answer.body().len()), (304, 0));
        }
        assert!(scripts.serve("socket.io.msgpack.min.js", &asked).is_none());
    }

    #[test]
    fn a_folder_without_scripts_is_an_error() {
        assert!(Scripts::of_dir(Path::new("src")).is_err());
        assert!(Scripts::of_dir(Path::new("no/such/folder")).is_err());
        assert_eq!(
            Scripts::of_dir(Path::new("src/client/dist"))
                .unwrap()
                .0
                .len(),
            OWN.len()
        );
    }
}
