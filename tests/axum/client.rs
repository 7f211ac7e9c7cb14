//! A blocking client of HTTP/1.1 and WebSockets, over any stream, as small as these tests allow.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Long enough for a debug build on a loaded machine; what is waited for normally comes in milliseconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The key of RFC 6455 §1.3, whose answer is known.
const OPENING: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub(crate) struct Client<S: Read + Write> {
    pub(crate) stream: BufReader<S>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

pub(crate) fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

impl Client<TcpStream> {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Client::over(tcp(address))
    }
}

impl<S: Read + Write> Client<S> {
    pub(crate) fn over(stream: S) -> Self {
        Client {
            stream: BufReader::new(stream),
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
        self.stream.get_mut().flush().unwrap();
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, "")
    }

    pub(crate) fn ask(&mut self, method: &str, path: &str, body: &str) -> Answer {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        self.write(request.as_bytes());
        self.answer(method != "HEAD")
    }

    pub(crate) fn answer(&mut self, has_body: bool) -> Answer {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = self.stream.read_line(&mut head).unwrap();
            assert_ne!(read, 0, "the connection ended after {head:?}");
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer {
            status,
            head,
            body: Vec::new(),
        };
        if !has_body || status == 101 {
            return answer;
        }
        match answer.header("content-length") {
            Some(length) => answer.body = self.take(length.parse().unwrap()),
            None => {
                while let Some(chunk) = self.chunk() {
                    answer.body.extend(chunk);
                }
            }
        }
        answer
    }

    /// The next piece of a chunked body; `None` at its end.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        let length = usize::from_str_radix(line.trim_end(), 16).unwrap();
        let mut chunk = self.take(length + 2);
        chunk.truncate(length);
        (length > 0).then_some(chunk)
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Whether the connection ends without another byte, in whatever way.
    pub(crate) fn is_cut(&mut self) -> bool {
        loop {
            match self.stream.fill_buf() {
                Ok(bytes) => return bytes.is_empty(),
                Err(error) => match error.kind() {
                    ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof => return true,
                    ErrorKind::Interrupted => {}
                    other => panic!("{other}"),
                },
            }
        }
    }

    // ---- Engine.IO on polling ----

    /// Opens a session and enters the main namespace: the session's name.
    pub(crate) fn open_polling(&mut self) -> String {
        let opened = self.get("/socket.io/?EIO=4&transport=polling");
        assert_eq!(opened.status, 200, "{opened:?}");
        let (_, sid) = opened.text().split_once(r#""sid":""#).unwrap();
        let sid = sid.split_once('"').unwrap().0.to_owned();
        let path = polling(&sid);
        assert_eq!(self.ask("POST", &path, "40").text(), "ok");
        let entered = self.get(&path);
        assert!(entered.text().starts_with(r#"40{"sid":""#), "{entered:?}");
        sid
    }

    // ---- WebSocket ----

    /// Asks for a WebSocket with these messages right behind the request, in one write.
    pub(crate) fn upgrade(&mut self, path: &str, messages: &[&str]) {
        let mut bytes = format!("GET {path} HTTP/1.1\r\nHost: h\r\n{OPENING}\r\n").into_bytes();
        for message in messages {
            bytes.extend(frame(1, message.as_bytes()));
        }
        self.write(&bytes);
        let answer = self.answer(false);
        assert_eq!(answer.status, 101, "{answer:?}");
        assert_eq!(answer.header("sec-websocket-accept"), Some(ACCEPT));
    }

    pub(crate) fn send(&mut self, message: &str) {
        self.write(&frame(1, message.as_bytes()));
    }

    /// The next text message.
    pub(crate) fn read(&mut self) -> String {
        let (opcode, payload) = self.read_frame();
        assert_eq!(opcode, 1, "{payload:?}");
        String::from_utf8(payload).unwrap()
    }

    /// Sends a Close, and reads the answer to it.
    pub(crate) fn close(&mut self) {
        self.write(&frame(8, &1000_u16.to_be_bytes()));
        assert_eq!(self.read_frame().0, 8);
    }

    pub(crate) fn read_frame(&mut self) -> (u8, Vec<u8>) {
        let head = self.take(2);
        let length = match head[1] {
            126 => self.take(2),
            127 => self.take(8),
            length => vec![length],
        };
        let length = length
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte));
        (head[0] & 0xf, self.take(length))
    }
}

pub(crate) fn polling(sid: &str) -> String {
    format!("/socket.io/?EIO=4&transport=polling&sid={sid}")
}

/// A masked frame (RFC 6455 §5.2); the mask is zero, which changes nothing.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ ..126 => frame.push(0x80 | u8::try_from(length).unwrap()),
        length @ ..65_536 => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}
