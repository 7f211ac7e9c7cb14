//! The HTTP of clients that poll: one connection at a time, kept alive, on any core.

use crate::reactor::fake::FakeClient;

/// See the module's text.
pub(super) struct HttpLink {
    pub(super) link: FakeClient,
    pub(super) core: usize,
    input: Vec<u8>,
    /// The end of a request that is sent in two pieces.
    unsent: Vec<u8>,
    /// A request was sent, and its answer is not here.
    pub(super) awaiting: bool,
    /// The client ended it.
    pub(super) finished: bool,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: String,
    /// The server ends the connection behind it.
    pub(super) is_last: bool,
}

/// What a connection brought.
#[derive(Debug)]
pub(super) enum News {
    Nothing,
    /// Not all of an answer.
    Part,
    Reply(Reply),
    /// It ended. True: in the middle of a request.
    Ended(bool),
}

impl HttpLink {
    pub(super) fn new(link: FakeClient, core: usize) -> HttpLink {
        HttpLink {
            link,
            core,
            input: Vec::new(),
            unsent: Vec::new(),
            awaiting: false,
            finished: false,
        }
    }

    /// Sends a request; the part from `cut` on only with [`HttpLink::flush`].
    pub(super) fn request(&mut self, head: &str, body: &str, cut: Option<usize>) {
        let mut bytes = head.as_bytes().to_vec();
        bytes.extend_from_slice(body.as_bytes());
        let cut = cut.map_or(bytes.len(), |cut| cut % (bytes.len() + 1));
        self.unsent = bytes.split_off(cut);
        self.awaiting = true;
        self.link.send(&bytes);
    }

    pub(super) fn get(&mut self, target: &str) {
        self.request(
            &format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"),
            "",
            None,
        );
    }

    pub(super) fn post(&mut self, target: &str, body: &str, cut: Option<usize>) {
        let len = body.len();
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain;charset=UTF-8\r\n\
             Content-Length: {len}\r\n\r\n"
        );
        self.request(&head, body, cut);
    }

    /// Sends what is left of the request, but for its last bytes.
    pub(super) fn send_but(&mut self, last: usize) {
        let rest = self
            .unsent
            .split_off(self.unsent.len().saturating_sub(last));
        self.flush();
        self.unsent = rest;
    }

    /// Sends what is left of the request. `false`: nothing.
    pub(super) fn flush(&mut self) -> bool {
        let rest = std::mem::take(&mut self.unsent);
        if !rest.is_empty() {
            self.link.send(&rest);
        }
        !rest.is_empty()
    }

    pub(super) fn is_cut(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Whether it could be used for something else.
    pub(super) fn is_idle(&self) -> bool {
        !self.awaiting && self.input.is_empty() && !self.link.is_closed()
    }

    pub(super) fn read(&mut self) -> Result<News, String> {
        let bytes = self.link.receive();
        self.input.extend_from_slice(&bytes);
        if !self.awaiting && !self.input.is_empty() {
            let text = String::from_utf8_lossy(&self.input).into_owned();
            return Err(format!("an answer to nothing: {text:?}"));
        }
        if let Some(reply) = self.take_reply()? {
            self.awaiting = false;
            if self.is_cut() && reply.status == 200 {
                return Err("half a request was answered".to_owned());
            }
            return Ok(News::Reply(reply));
        }
        if self.link.is_closed() {
            return Ok(News::Ended(self.awaiting));
        }
        Ok(if bytes.is_empty() {
            News::Nothing
        } else {
            News::Part
        })
    }

    fn take_reply(&mut self) -> Result<Option<Reply>, String> {
        let Some(end) = self.input.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = str::from_utf8(&self.input[..end]).map_err(|_| "a head that is no text")?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
        let status = status.and_then(|line| line.get(..3)?.parse().ok());
        let (mut len, mut is_last) = (None, false);
        for line in lines {
            let (name, value) = line.split_once(": ").ok_or("a broken header")?;
            match name.to_ascii_lowercase().as_str() {
                "content-length" => len = value.parse::<usize>().ok(),
                "connection" => is_last |= value.eq_ignore_ascii_case("close"),
                "transfer-encoding" => return Err("a body without a length".to_owned()),
                _ => {}
            }
        }
        let len = len.ok_or_else(|| format!("no length: {head:?}"))?;
        if self.input.len() < end + 4 + len {
            return Ok(None);
        }
        let answer: Vec<u8> = self.input.drain(..end + 4 + len).collect();
        Ok(Some(Reply {
            status: status.ok_or("no status")?,
            body: String::from_utf8(answer[end + 4..].to_vec()).map_err(|_| "no UTF-8")?,
            is_last,
        }))
    }

    /// Goes away. Who waits for an answer does not read it any more.
    pub(super) fn hang_up(&mut self) {
        let by_reset = self.awaiting;
        self.end(by_reset);
    }

    /// Goes away, by FIN or by RST.
    pub(super) fn end(&mut self, by_reset: bool) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        if by_reset {
            self.link.reset();
        } else {
            self.link.finish();
        }
    }
}
