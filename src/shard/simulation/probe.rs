//! A WebSocket by which a client on polling tries to take its session over.

use super::client::{Heard, decode, send_frame, upgrade_head};
use super::http::HttpLink;
use crate::reactor::fake::FakeClient;
use crate::wire::frame::Opcode;
use crate::wire::xorshift::Xorshift;

/// What a client has in mind with a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To take over, as the official client does it.
    Upgrade,
    /// To take over, without waiting for the end of the held GET.
    Eager,
    /// It never asks.
    Idle,
    /// It asks, and never goes on.
    Stuck,
    /// It says what no probe says.
    Nonsense,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The request was sent.
    Requested,
    /// It is a WebSocket.
    Open,
    /// `3probe` came.
    Answered,
    /// It was refused, closed or lost.
    Gone,
}

/// See the module's text.
pub(super) struct Probe {
    link: FakeClient,
    pub(super) core: usize,
    pub(super) purpose: Purpose,
    pub(super) stage: Stage,
    asked: bool,
    input: Vec<u8>,
}

impl Probe {
    /// Asks for the WebSocket on a connection that is unused, or has served HTTP before.
    pub(super) fn new(
        link: HttpLink,
        target: &str,
        purpose: Purpose,
        dice: &mut Xorshift,
    ) -> Probe {
        let HttpLink { link, core, .. } = link;
        link.send(upgrade_head(target).as_bytes());
        let mut probe = Probe {
            link,
            core,
            purpose,
            stage: Stage::Requested,
            asked: false,
            input: Vec::new(),
        };
        if dice.below(4) == 0 {
            // In one piece with the request.
            probe.ask(dice);
        }
        probe
    }

    fn ask(&mut self, dice: &mut Xorshift) {
        self.asked = true;
        match self.purpose {
            Purpose::Idle => {}
            Purpose::Nonsense if dice.below(2) == 0 => {
                send_frame(&self.link, Opcode::Binary, true, b"probe", dice);
            }
            Purpose::Nonsense => send_frame(&self.link, Opcode::Text, true, b"4probe", dice),
            Purpose::Upgrade | Purpose::Eager | Purpose::Stuck => {
                send_frame(&self.link, Opcode::Text, true, b"2probe", dice);
            }
        }
    }

    /// Reads and answers. `false`: nothing has changed.
    pub(super) fn go_on(&mut self, dice: &mut Xorshift) -> Result<bool, String> {
        if self.stage == Stage::Gone {
            return Ok(false);
        }
        let bytes = self.link.receive();
        self.input.extend_from_slice(&bytes);
        let mut changed = !bytes.is_empty();
        if self.stage == Stage::Requested && !self.read_head()? {
            return Ok(self.notice_end() || changed);
        }
        if self.stage == Stage::Open && !self.asked {
            self.ask(dice);
            changed = true;
        }
        while let Some((heard, len)) = decode(&self.input)? {
            self.input.drain(..len);
            match heard {
                Heard::Text(text) if text == "3probe" && self.stage == Stage::Open => {
                    if self.purpose == Purpose::Nonsense {
                        return Err("nonsense was answered".to_owned());
                    }
                    self.stage = Stage::Answered;
                }
                Heard::Close(code) => {
                    send_frame(&self.link, Opcode::Close, true, &code.to_be_bytes(), dice);
                    self.link.finish();
                    self.stage = Stage::Gone;
                    return Ok(true);
                }
                other => return Err(format!("a probe heard {other:?}")),
            }
        }
        Ok(self.notice_end() || changed)
    }

    /// Reads the answer to the request. `false`: it is not here, or is no.
    fn read_head(&mut self) -> Result<bool, String> {
        let Some(end) = self.input.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(false);
        };
        let head: Vec<u8> = self.input.drain(..end + 4).collect();
        if head.starts_with(b"HTTP/1.1 101 ") {
            self.stage = Stage::Open;
            return Ok(true);
        }
        if !head.starts_with(b"HTTP/1.1 400 ") {
            return Err(format!("a probe got {:?}", String::from_utf8_lossy(&head)));
        }
        self.die(false);
        Ok(false)
    }

    fn notice_end(&mut self) -> bool {
        let ended = self.stage != Stage::Gone && self.link.is_closed();
        if ended {
            self.die(false);
        }
        ended
    }

    /// Goes away, by FIN or by RST.
    pub(super) fn die(&mut self, by_reset: bool) {
        if self.stage != Stage::Gone {
            self.stage = Stage::Gone;
            if by_reset {
                self.link.reset();
            } else {
                self.link.finish();
            }
        }
    }

    /// Takes over: what comes behind is the session's.
    pub(super) fn take_over(self, dice: &mut Xorshift) -> (FakeClient, Vec<u8>) {
        send_frame(&self.link, Opcode::Text, true, b"5", dice);
        (self.link, self.input)
    }

    /// The server waits for it, and lets no GET be held meanwhile.
    pub(super) fn is_answered(&self) -> bool {
        self.stage == Stage::Answered
    }
}
