//! Clients on polling that break off, or break the rule of one GET and one POST at a time.

use super::http::{HttpLink, News, Reply};

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// The connection of the GET ends, by FIN or RST.
    EndGet(bool),
    /// The connection of a POST ends in the middle of it.
    EndPost(bool),
    SecondGet,
    SecondPost,
}

impl How {
    pub(super) const ALL: [How; 6] = [
        How::EndGet(false),
        How::EndGet(true),
        How::EndPost(false),
        How::EndPost(true),
        How::SecondGet,
        How::SecondPost,
    ];

    fn needs_half(self) -> bool {
        matches!(self, How::EndPost(_) | How::SecondPost)
    }
}

/// The connections of such a client, and what they brought.
pub(super) struct Breach {
    how: How,
    target: String,
    /// With the held GET.
    get: Line,
    /// With a POST of which a part was sent.
    half: Line,
    /// With a second GET or POST.
    second: Line,
}

struct Line {
    link: HttpLink,
    reply: Option<Reply>,
    ended: bool,
}

impl Line {
    fn new(link: HttpLink) -> Line {
        Line {
            link,
            reply: None,
            ended: false,
        }
    }

    fn read(&mut self) -> Result<(), String> {
        while !self.ended && !self.link.finished {
            match self.link.read()? {
                News::Nothing | News::Part => break,
                News::Reply(reply) => self.reply = Some(reply),
                News::Ended(_) => self.ended = true,
            }
        }
        Ok(())
    }

    fn answer(&self) -> Option<(u16, &str)> {
        let reply = self.reply.as_ref()?;
        Some((reply.status, &reply.body))
    }
}

impl Breach {
    /// Gets ready; what it sends now changes nothing. `links` are two new connections.
    pub(super) fn new(how: How, get: HttpLink, links: [HttpLink; 2], target: String) -> Breach {
        let [mut half, second] = links;
        if how.needs_half() {
            let body = "4".repeat(50);
            half.post(&target, &body, Some(1));
            half.send_but(20);
        }
        Breach {
            how,
            target,
            get: Line::new(get),
            half: Line::new(half),
            second: Line::new(second),
        }
    }

    /// If the held GET was answered, by a message or a ping, sends another. `false`: one is held.
    pub(super) fn polls_again(&mut self) -> bool {
        match self.get.link.read() {
            Ok(News::Reply(reply)) if !reply.is_last => self.get.link.get(&self.target),
            Ok(News::Part) => {}
            _ => return false,
        }
        true
    }

    /// Breaks it.
    pub(super) fn act(&mut self) {
        match self.how {
            How::EndGet(by_reset) => self.get.link.end(by_reset),
            How::EndPost(by_reset) => self.half.link.end(by_reset),
            How::SecondGet => self.second.link.get(&self.target),
            How::SecondPost => self.second.link.post(&self.target, "4", None),
        }
    }

    pub(super) fn read(&mut self) -> Result<(), String> {
        self.get.read()?;
        self.half.read()?;
        self.second.read()
    }

    /// Panics if the answers are not those of the protocol.
    pub(super) fn check(&mut self) {
        let how = self.how;
        let polled = match how {
            How::EndGet(_) => None,
            _ => Some((200, "1")),
        };
        assert_eq!(self.get.answer(), polled, "the GET, {how:?}");
        assert_eq!(self.half.answer(), None, "the half POST, {how:?}");
        assert_eq!(self.half.ended, how == How::SecondPost, "{how:?}");
        let refused = match how {
            How::SecondGet | How::SecondPost => Some((400, "")),
            _ => None,
        };
        assert_eq!(self.second.answer(), refused, "the second, {how:?}");
        for line in [&mut self.get, &mut self.half, &mut self.second] {
            line.link.hang_up();
        }
    }
}
