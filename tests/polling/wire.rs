//! A connection on which HTTP and WebSocket are spoken byte by byte, rightly or wrongly.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::PATIENCE;

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The headers that open a WebSocket; the key is that of RFC 6455 §1.3.
pub(crate) const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

/// A request without a body; `headers` are whole lines.
pub(crate) fn request(method: &str, target: &str, headers: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n")
}

/// A POST with a body.
pub(crate) fn post(target: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let headers = format!(
        "Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {}\r\n",
        body.len()
    );
    [request("POST", target, &headers).as_bytes(), body].concat()
}

/// A whole masked frame.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    // RFC 6455 §5.2: the length in 7 or 16 bits, with the bit that says "masked".
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ ..=125), _) => frame.push(0x80 | short),
        (_, Ok(middle)) => {
            frame.push(0x80 | 126);
            frame.extend(middle.to_be_bytes());
        }
        _ => panic!("no test needs a frame of {} bytes", payload.len()),
    }
    frame.extend(MASK);
    let masks = MASK.into_iter().cycle();
    frame.extend(payload.iter().zip(masks).map(|(byte, mask)| byte ^ mask));
    frame
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// With its empty line.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The values of all header lines of this name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    /// The value of the only header line of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} more than once: {}", self.head);
        all.first().copied()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a text")
    }

    fn is_chunked(&self) -> bool {
        self.header("transfer-encoding")
            .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    }
}

/// What came on a WebSocket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Text(String),
    Binary(Vec<u8>),
    /// With its code, if it had one.
    Close(Option<u16>),
    /// The connection has ended, in good order or not.
    End,
}

impl Frame {
    pub(crate) fn text(text: &str) -> Frame {
        Frame::Text(text.to_owned())
    }
}

pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    /// Read, and not yet taken.
    read: Vec<u8>,
}

impl Wire {
    pub(crate) fn connect(address: SocketAddr) -> Wire {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("it accepts");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Wire {
            stream,
            read: Vec::new(),
        }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream
            .write_all(bytes.as_ref())
            .expect("the server reads");
    }

    /// Sends as far as the server lets it.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).unwrap();
    }

    /// Reads once more. False: there is no more to come.
    fn fill(&mut self) -> io::Result<bool> {
        let mut piece = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(0) => return Ok(false),
                Ok(read) => {
                    self.read.extend_from_slice(&piece[..read]);
                    return Ok(true);
                }
            }
        }
    }

    /// The next `length` bytes, or the error that there are none: the end of the stream is one, too.
    fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.read.len() < length {
            if !self.fill()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.read.drain(..length).collect())
    }

    /// The next bytes up to and with `end`.
    fn take_until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            let found = self
                .read
                .windows(end.len())
                .position(|window| window == end);
            if let Some(at) = found {
                return self.take(at + end.len());
            }
            if !self.fill()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    // ---- HTTP ----

    pub(crate) fn response(&mut self) -> Response {
        self.try_response().expect("an answer")
    }

    /// The next answer; an error when the connection ends before it is whole.
    pub(crate) fn try_response(&mut self) -> io::Result<Response> {
        let mut response = self.response_to_head()?;
        if matches!(response.status, 100..=199 | 204 | 304) {
            return Ok(response);
        }
        if response.is_chunked() {
            loop {
                let size = self.take_until(b"\r\n")?;
                let size = std::str::from_utf8(&size).unwrap().trim_end();
                let size = usize::from_str_radix(size, 16).expect("a chunk's size");
                let chunk = self.take(size + 2)?;
                response.body.extend_from_slice(&chunk[..size]);
                if size == 0 {
                    return Ok(response);
                }
            }
        }
        match response.header("content-length") {
            Some(length) => response.body = self.take(length.parse().expect("a length"))?,
            // RFC 9112 §6.3, rule 8: all that comes.
            None => {
                while self.fill()? {}
                response.body = std::mem::take(&mut self.read);
            }
        }
        Ok(response)
    }

    /// The next answer, to a request of which the answer has no body whatever its head says.
    pub(crate) fn response_to_head(&mut self) -> io::Result<Response> {
        let head = String::from_utf8(self.take_until(b"\r\n\r\n")?).expect("a head in ASCII");
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        let status = status.filter(|_| head.starts_with("HTTP/1."));
        Ok(Response {
            status: status.unwrap_or_else(|| panic!("a status line: {head}")),
            head,
            body: Vec::new(),
        })
    }

    /// Sends a request and returns its answer.
    pub(crate) fn ask(&mut self, request: impl AsRef<[u8]>) -> Response {
        self.send(request);
        self.response()
    }

    pub(crate) fn get(&mut self, target: &str) -> Response {
        self.ask(request("GET", target, ""))
    }

    /// Nothing follows, and the server ends the connection by itself. A reset is an end, too, since it is none of the tests' business what
    /// the server leaves unread.
    pub(crate) fn expect_end(&mut self) {
        loop {
            match self.fill() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
                Err(error) => panic!("the server ends the connection: {error}"),
            }
        }
        let rest = String::from_utf8_lossy(&self.read);
        assert!(rest.is_empty(), "nothing follows: {rest:?}");
    }

    // ---- WebSocket ----

    /// Opens a WebSocket on this connection.
    pub(crate) fn upgrade(&mut self, target: &str) -> Response {
        let answer = self.ask(request("GET", target, UPGRADE));
        assert_eq!(answer.status, 101, "{answer:?}");
        let accept = answer.header("sec-websocket-accept");
        assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        answer
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.send(frame(TEXT, text.as_bytes()));
    }

    pub(crate) fn hear(&mut self) -> Frame {
        self.try_hear().unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => Frame::End,
            _ => panic!("a frame: {error}"),
        })
    }

    fn try_hear(&mut self) -> io::Result<Frame> {
        let head = self.take(2)?;
        assert!(head[1] < 128, "RFC 6455 §5.1: a server does not mask");
        let length = match head[1] {
            126 => {
                let long = self.take(2)?;
                usize::from(u16::from_be_bytes([long[0], long[1]]))
            }
            127 => {
                let long = self.take(8)?;
                usize::try_from(u64::from_be_bytes(long.try_into().unwrap())).unwrap()
            }
            short => usize::from(short),
        };
        let payload = self.take(length)?;
        Ok(match head[0] {
            TEXT => Frame::Text(String::from_utf8(payload).expect("RFC 6455 §8.1")),
            BINARY => Frame::Binary(payload),
            CLOSE => Frame::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code))),
            first => panic!("a frame of the kind {first:#x}"),
        })
    }

    /// What is heard is this text, then that one, and so on.
    pub(crate) fn hear_all<T: AsRef<str>>(&mut self, texts: impl IntoIterator<Item = T>) {
        for text in texts {
            assert_eq!(self.hear(), Frame::text(text.as_ref()));
        }
    }

    /// The server ends this WebSocket: with a Close frame, which is answered, or without.
    pub(crate) fn hear_end(&mut self) -> Option<u16> {
        let mut code = None;
        loop {
            match self.hear() {
                Frame::Close(with) => {
                    code = with;
                    self.try_send(frame(CLOSE, &[]));
                }
                Frame::End => return code,
                other => panic!("the end, not {other:?}"),
            }
        }
    }
}
