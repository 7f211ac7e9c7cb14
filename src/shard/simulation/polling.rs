//! A session on polling, from the client's side: GET and POST on any core, and the attempts to take it over by a WebSocket.
//!
//! It behaves as the official client does: one GET and one POST at a time; from `3probe` on no new ones, and `5` when those under way have
//! ended.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::breach::{Breach, How};
use super::client::Heard;
use super::http::{HttpLink, News, Reply};
use super::probe::{Probe, Purpose, Stage};
use crate::reactor::fake::{FakeClient, Network};
use crate::wire::xorshift::Xorshift;

const TARGET: &str = "/socket.io/?EIO=4&transport=polling";
/// More probes than that are not tried at a time.
const PROBES_MAX: usize = 3;

/// How a session on polling ended, as its client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// The server said so.
    Told(String),
    /// A GET or POST broke off. What the server knows of that is not known.
    Lost(&'static str),
}

/// See the module's text.
pub(super) struct Polling {
    network: Network,
    sid: Option<String>,
    get: Option<HttpLink>,
    post: Option<HttpLink>,
    /// Packets to be sent.
    queue: VecDeque<String>,
    /// The last POST holds the close packet.
    leaving: bool,
    probes: Vec<Probe>,
    /// `5` was sent, and the answer to the held GET is awaited; what the WebSocket brings comes behind it.
    taken_over: Option<(FakeClient, Vec<u8>)>,
    heard: Vec<Heard>,
    pub(super) over: Option<Over>,
    /// One of its connections was reset while in use.
    pub(super) broke: bool,
}

impl Polling {
    pub(super) fn new(network: Network, core: usize) -> Polling {
        let mut get = HttpLink::new(network.connect(core), core);
        get.get(TARGET);
        Polling {
            network,
            sid: None,
            get: Some(get),
            post: None,
            queue: VecDeque::new(),
            leaving: false,
            probes: Vec::new(),
            taken_over: None,
            heard: Vec::new(),
            over: None,
            broke: false,
        }
    }

    pub(super) fn say(&mut self, packet: String) {
        self.queue.push_back(packet);
    }

    pub(super) fn say_binary(&mut self, bytes: &[u8]) {
        self.queue.push_back(format!("b{}", STANDARD.encode(bytes)));
    }

    fn target(&self) -> String {
        let sid = self.sid.as_deref().unwrap_or_default();
        format!("{TARGET}&sid={sid}")
    }

    /// Whether one of its probes was answered: no new request is made.
    fn is_pausing(&self) -> bool {
        self.taken_over.is_some() || self.probes.iter().any(Probe::is_answered)
    }

    /// It has paused for a probe that never goes on: only the server's patience ends that.
    pub(super) fn is_stuck(&self) -> bool {
        let stuck = |probe: &Probe| probe.is_answered() && probe.purpose == Purpose::Stuck;
        self.probes.iter().any(stuck)
    }

    pub(super) fn uses(&self, core: usize) -> bool {
        let links = self.get.iter().chain(&self.post).map(|link| link.core);
        let mut all = links.chain(self.probes.iter().map(|probe| probe.core));
        all.any(|of| of == core)
    }

    pub(super) fn is_open(&self) -> bool {
        self.sid.is_some() && self.over.is_none() && self.taken_over.is_none()
    }

    /// A GET is held, for all that the client can know.
    pub(super) fn is_polled(&self) -> bool {
        self.get.as_ref().is_some_and(|link| link.awaiting)
    }

    pub(super) fn is_pushing(&self) -> bool {
        self.post.as_ref().is_some_and(|link| link.awaiting)
    }

    /// Nothing is left to be said, and a GET is held.
    pub(super) fn is_at_rest(&self) -> bool {
        self.is_open() && self.queue.is_empty() && self.is_polled() && !self.is_pushing()
    }

    pub(super) fn probes(&self) -> usize {
        self.probes.len()
    }

    /// For whoever wants to know what it waits for.
    pub(super) fn state(&self) -> String {
        let probes: Vec<_> = self
            .probes
            .iter()
            .map(|of| (of.purpose, of.stage))
            .collect();
        format!(
            "{:?}, polled: {}, pushing: {}, {} packets, probes: {probes:?}, taken over: {}, {:?}",
            self.sid,
            self.is_polled(),
            self.is_pushing(),
            self.queue.len(),
            self.taken_over.is_some(),
            self.over
        )
    }

    pub(super) fn take_heard(&mut self) -> Vec<Heard> {
        std::mem::take(&mut self.heard)
    }

    /// Reads what there is, and goes on. `doors` are the cores that can be connected to. `false`: nothing has changed.
    pub(super) fn go_on(&mut self, doors: &[usize], dice: &mut Xorshift) -> Result<bool, String> {
        let mut changed = self.read_get()?;
        changed |= self.over.is_none() && self.read_post()?;
        for probe in &mut self.probes {
            changed |= probe.go_on(dice)?;
        }
        self.probes.retain(|probe| probe.stage != Stage::Gone);
        let lost = |(link, _): &(FakeClient, Vec<u8>)| link.was_reset();
        if self.over.is_none() && self.taken_over.as_ref().is_some_and(lost) {
            // The server may not have heard of it, and hold the GET on.
            self.over = Some(Over::Lost("the WebSocket broke"));
            return Ok(true);
        }
        if self.over.is_some() || self.taken_over.is_some() {
            return Ok(changed);
        }
        if self
            .probes
            .iter()
            .filter(|probe| probe.is_answered())
            .count()
            > 1
        {
            return Err("two probes were let in".to_owned());
        }
        changed |= self.probe_on(dice);
        if !self.is_pausing() {
            changed |= self.poll(doors, dice);
            changed |= self.push(doors, dice);
        }
        if let Some(link) = &mut self.post {
            changed |= link.flush();
        }
        Ok(changed)
    }

    // ---- requests ----

    fn poll(&mut self, doors: &[usize], dice: &mut Xorshift) -> bool {
        if self.is_polled() {
            return false;
        }
        if dice.below(4) == 0 {
            // A little later.
            return true;
        }
        let target = self.target();
        match open(&mut self.get, &self.network, doors, dice) {
            Some(link) => link.get(&target),
            None => self.over = Some(Over::Lost("no core is left")),
        }
        true
    }

    fn push(&mut self, doors: &[usize], dice: &mut Xorshift) -> bool {
        if self.is_pushing() || self.queue.is_empty() || self.sid.is_none() {
            return false;
        }
        if dice.below(4) == 0 {
            return true;
        }
        let count = self.queue.len().min(1 + dice.below(6));
        let packets: Vec<String> = self.queue.drain(..count).collect();
        self.leaving = packets.last().is_some_and(|packet| packet == "1");
        let target = self.target();
        let cut = (dice.below(4) == 0).then(|| dice.below(1 << 16));
        match open(&mut self.post, &self.network, doors, dice) {
            Some(link) => link.post(&target, &packets.join("\x1e"), cut),
            None => self.over = Some(Over::Lost("no core is left")),
        }
        true
    }

    fn read_get(&mut self) -> Result<bool, String> {
        let Some(link) = &mut self.get else {
            return Ok(false);
        };
        match link.read().map_err(|what| format!("GET: {what}"))? {
            News::Nothing => Ok(false),
            News::Part => Ok(true),
            News::Reply(reply) => {
                if reply.is_last {
                    hang_up(&mut self.get);
                }
                self.polled(&reply)?;
                Ok(true)
            }
            News::Ended(broke) => {
                self.ended(broke, "the GET broke off");
                hang_up(&mut self.get);
                Ok(true)
            }
        }
    }

    fn polled(&mut self, reply: &Reply) -> Result<(), String> {
        // Who takes over without waiting for the GET may be told that it came too late.
        let late = self.taken_over.is_some() && reply.body.contains("\"code\":3");
        if late {
            return Ok(());
        }
        if reply.status != 200 {
            self.over = Some(Over::Told(format!("GET: {} {}", reply.status, reply.body)));
            return Ok(());
        }
        for packet in reply.body.split('\x1e') {
            match packet.as_bytes().first() {
                Some(b'0') => {
                    let value: serde_json::Value =
                        serde_json::from_str(&packet[1..]).map_err(|_| "no open packet")?;
                    if value["upgrades"] != serde_json::json!(["websocket"]) || self.sid.is_some() {
                        return Err(format!("was opened by {packet:?}"));
                    }
                    self.sid = value["sid"].as_str().map(str::to_owned);
                    self.heard.push(Heard::Text(packet.to_owned()));
                }
                Some(b'1') => self.over = Some(Over::Told("a close packet".to_owned())),
                Some(b'6') => {}
                Some(b'b') => {
                    let bytes = STANDARD.decode(&packet[1..]);
                    let bytes = bytes.map_err(|_| format!("no base64: {packet:?}"))?;
                    self.heard.push(Heard::Binary(bytes));
                }
                Some(b'2' | b'4') => self.heard.push(Heard::Text(packet.to_owned())),
                _ => return Err(format!("was polled {packet:?}")),
            }
        }
        Ok(())
    }

    fn read_post(&mut self) -> Result<bool, String> {
        let Some(link) = &mut self.post else {
            return Ok(false);
        };
        match link.read().map_err(|what| format!("POST: {what}"))? {
            News::Nothing => Ok(false),
            News::Part => Ok(true),
            News::Reply(reply) => {
                if reply.is_last || link.is_cut() {
                    hang_up(&mut self.post);
                }
                let ok = reply.status == 200 && reply.body == "ok";
                if !ok {
                    // It ends here, and does not fetch the last words that the server may have for it.
                    self.over = Some(Over::Lost("the POST was refused"));
                } else if self.leaving {
                    self.over = Some(Over::Told("that it may leave".to_owned()));
                }
                Ok(true)
            }
            News::Ended(broke) => {
                self.ended(broke, "the POST broke off");
                hang_up(&mut self.post);
                Ok(true)
            }
        }
    }

    fn ended(&mut self, broke: bool, what: &'static str) {
        let links = self.get.iter().chain(&self.post);
        if broke {
            self.broke |= links.into_iter().any(|link| link.link.was_reset());
            self.over = Some(Over::Lost(what));
        }
    }

    // ---- probes ----

    /// A WebSocket tries to take over.
    pub(super) fn begin_probe(&mut self, purpose: Purpose, doors: &[usize], dice: &mut Xorshift) {
        if !self.is_open() || self.probes.len() >= PROBES_MAX || doors.is_empty() {
            return;
        }
        let sid = self.sid.as_deref().unwrap_or_default();
        let target = format!("/socket.io/?EIO=4&transport=websocket&sid={sid}");
        // A connection may serve HTTP first.
        let idle = self.post.as_ref().is_some_and(HttpLink::is_idle) && dice.below(3) == 0;
        let link = if idle { self.post.take() } else { None };
        let link = link.unwrap_or_else(|| {
            let core = doors[dice.below(doors.len())];
            HttpLink::new(self.network.connect(core), core)
        });
        self.probes.push(Probe::new(link, &target, purpose, dice));
    }

    /// Those that were answered go on; some die instead.
    fn probe_on(&mut self, dice: &mut Xorshift) -> bool {
        if !self.probes.is_empty() && dice.below(60) == 0 {
            let index = dice.below(self.probes.len());
            self.probes.swap_remove(index).die(dice.below(2) == 0);
            return true;
        }
        let ready = self.probes.iter().position(|probe| {
            let waits_for_get = probe.purpose == Purpose::Upgrade && self.is_polled();
            let wants = matches!(probe.purpose, Purpose::Upgrade | Purpose::Eager);
            probe.is_answered() && wants && !waits_for_get && !self.is_pushing()
        });
        let Some(index) = ready else {
            return false;
        };
        self.taken_over = Some(self.probes.swap_remove(index).take_over(dice));
        true
    }

    /// The WebSocket that carries the session now, with what it brought and what is to be said on it, once the last GET has ended.
    pub(super) fn take_upgrade(&mut self) -> Option<(FakeClient, Vec<u8>, VecDeque<String>)> {
        if self.is_polled() || !self.heard.is_empty() || self.over.is_some() {
            return None;
        }
        let (link, input) = self.taken_over.take()?;
        let queue = std::mem::take(&mut self.queue);
        self.hang_up();
        Some((link, input, queue))
    }

    // ---- the end ----

    /// Whether any connection that matters was reset.
    pub(super) fn was_reset(&self) -> bool {
        let links = self.get.iter().chain(&self.post).map(|link| &link.link);
        let mut links = links.chain(self.taken_over.as_ref().map(|(link, _)| link));
        self.broke || links.any(FakeClient::was_reset)
    }

    /// All connections end.
    pub(super) fn hang_up(&mut self) {
        self.broke |= self.was_reset();
        hang_up(&mut self.get);
        hang_up(&mut self.post);
        for mut probe in self.probes.drain(..) {
            probe.die(false);
        }
        if let Some((link, _)) = self.taken_over.take() {
            link.reset();
        }
    }

    /// With all at rest: goes on as one that breaks off.
    pub(super) fn into_breach(mut self, doors: &[usize], dice: &mut Xorshift) -> Option<Breach> {
        let target = self.target();
        let get = self.get.take()?;
        self.hang_up();
        let how = How::ALL[dice.below(How::ALL.len())];
        let links = [0, 1].map(|_| {
            let core = doors[dice.below(doors.len())];
            HttpLink::new(self.network.connect(core), core)
        });
        Some(Breach::new(how, get, links, target))
    }

    /// The connection of the held GET ends, by FIN or RST.
    pub(super) fn drop_poll(&mut self, by_reset: bool) {
        if let Some(link) = &mut self.get {
            link.end(by_reset);
        }
    }
}

fn hang_up(link: &mut Option<HttpLink>) {
    if let Some(mut link) = link.take() {
        link.hang_up();
    }
}

/// A connection for the next request: the last one, or now and then another.
fn open<'a>(
    link: &'a mut Option<HttpLink>,
    network: &Network,
    doors: &[usize],
    dice: &mut Xorshift,
) -> Option<&'a mut HttpLink> {
    if !link.as_ref().is_some_and(HttpLink::is_idle) || dice.below(4) == 0 {
        hang_up(link);
    }
    if link.is_none() && !doors.is_empty() {
        let core = doors[dice.below(doors.len())];
        *link = Some(HttpLink::new(network.connect(core), core));
    }
    link.as_mut()
}
