//! `load`: drives one server with one scenario and prints what came back as one line of JSON.
#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use perf::client::{Client, Protocol};
use perf::options::{Options, raise_file_limit};
use perf::ring::{Event, Ring};
use perf::secure::{self, Secure};

#[path = "load/script.rs"]
mod script;
#[path = "load/tally.rs"]
mod tally;

use script::{Plan, Script};
use tally::Tally;

/// Connections that may be between their first byte and readiness at a time: no listen queue overflows.
const OPENING_MAX: u32 = 128;
/// The load runs on for so long after the window, so that the window ends as it began: with messages in flight.
const COOL_DOWN: Duration = Duration::from_millis(100);
const STALL: Duration = Duration::from_secs(10);
/// Of each connection every so many-th message is timed.
const SAMPLE_EVERY: u64 = 8;

/// One connection.
struct Peer {
    client: Client,
    /// `None`: plain TCP.
    secure: Option<Box<Secure>>,
    outbound: Vec<u8>,
    spare: Vec<u8>,
    sending: bool,
    room: usize,
    sent: u64,
    received: u64,
    /// Raw bytes beyond the last whole message.
    odd_bytes: usize,
    /// The message being timed: its number and when it went out.
    sample: Option<(u64, Instant)>,
}

/// One room: a burst is out until every member has all of it.
struct Room {
    publisher: u32,
    members: u64,
    due: u64,
    started: Instant,
}

struct Load {
    plan: Plan,
    script: Script,
    ring: &'static mut Ring,
    tls: Option<Arc<rustls::ClientConfig>>,
    /// What was decrypted last.
    plain: Vec<u8>,
    peers: Vec<Peer>,
    rooms: Vec<Room>,
    ready: u32,
    tally: Tally,
}

fn main() -> io::Result<()> {
    raise_file_limit()?;
    let mut arguments = std::env::args().skip(1);
    let Some(scenario) = arguments.next() else {
        return Err(io::Error::other(script::USAGE));
    };
    let options = Options::parse(arguments, &script::OPTIONS)?;
    let plan = Plan::new(&scenario, &options)?;
    let mut load = Load {
        script: Script::new(&plan),
        ring: Ring::open(plan.connections, None)?,
        tls: plan.tls.then(secure::config).transpose()?,
        plain: Vec::new(),
        peers: Vec::new(),
        rooms: Vec::new(),
        ready: 0,
        tally: Tally::default(),
        plan,
    };
    load.connect_all()?;
    if load.plan.idle {
        load.hold()
    } else {
        load.measure()
    }
}

impl Load {
    fn connect_all(&mut self) -> io::Result<()> {
        for slot in 0..self.plan.connections {
            self.connect(slot)?;
            while slot + 1 - self.ready >= OPENING_MAX {
                self.turn()?;
            }
        }
        while self.ready < self.plan.connections {
            self.turn()?;
        }
        Ok(())
    }

    fn connect(&mut self, slot: u32) -> io::Result<()> {
        let address: SocketAddr = self.plan.to;
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        let room = slot as usize % self.plan.rooms;
        let mut outbound = Vec::new();
        let client = Client::open(self.plan.protocol, &self.plan.path(room), &mut outbound);
        self.ready += u32::from(client.is_ready());
        let secure = self.tls.as_ref().map(Secure::new).transpose()?;
        self.peers.push(Peer {
            client,
            secure: secure.map(Box::new),
            outbound,
            spare: Vec::new(),
            sending: false,
            room,
            sent: 0,
            received: 0,
            odd_bytes: 0,
            sample: None,
        });
        if self.plan.in_rooms {
            if room == self.rooms.len() {
                self.rooms.push(Room {
                    publisher: slot,
                    members: 0,
                    due: 0,
                    started: Instant::now(),
                });
            }
            self.rooms[room].members += 1;
        }
        self.ring.adopt(slot, socket.into())?;
        self.flush(slot)
    }

    /// Keeps everything open until standard input closes.
    fn hold(&mut self) -> io::Result<()> {
        println!("{{\"open\":{}}}", self.ready);
        io::stdout().flush()?;
        self.ring.watch_input()?;
        loop {
            if self.turn()? {
                if io::stdin().read(&mut [0; 64])? == 0 {
                    return Ok(());
                }
                self.ring.watch_input()?;
            }
        }
    }

    fn measure(&mut self) -> io::Result<()> {
        self.start()?;
        self.run_for(self.plan.warm_up, u64::MAX)?;
        println!("window");
        io::stdout().flush()?;
        self.tally = Tally::default();
        let started = Instant::now();
        self.run_for(self.plan.window, self.plan.messages_max)?;
        println!("{}", self.tally.report(&self.plan, started.elapsed()));
        io::stdout().flush()?;
        self.run_for(COOL_DOWN, u64::MAX)
    }

    fn start(&mut self) -> io::Result<()> {
        for room in 0..self.rooms.len() {
            self.publish(room)?;
        }
        if self.rooms.is_empty() {
            for slot in 0..self.plan.connections {
                self.say(slot, self.plan.depth);
                self.flush(slot)?;
            }
        }
        Ok(())
    }

    fn run_for(&mut self, span: Duration, messages_max: u64) -> io::Result<()> {
        let end = Instant::now() + span;
        let (mut seen, mut moved) = (self.tally.messages, Instant::now());
        loop {
            let now = Instant::now();
            if now >= end || self.tally.messages >= messages_max {
                return Ok(());
            }
            if self.tally.messages != seen {
                (seen, moved) = (self.tally.messages, now);
            } else if now - moved > STALL {
                return Err(io::Error::other("the server answers no longer"));
            }
            self.turn()?;
        }
    }

    /// One wait on the ring and all that came of it. `true`: standard input wants to be read.
    fn turn(&mut self) -> io::Result<bool> {
        let mut input = false;
        self.ring.wait(Some(Duration::from_millis(100)))?;
        while let Some(event) = self.ring.next_event()? {
            match event {
                Event::Received { slot, buffer } => {
                    let messages = self.take(slot, &buffer)?;
                    self.ring.release(buffer)?;
                    self.answer(slot, messages)?;
                }
                Event::Sent { slot, mut bytes } => {
                    bytes.clear();
                    let peer = &mut self.peers[slot as usize];
                    (peer.spare, peer.sending) = (bytes, false);
                    self.flush(slot)?;
                }
                Event::Ended { slot } => {
                    return Err(io::Error::other(format!("connection {slot} ended")));
                }
                Event::Input => input = true,
                Event::Accepted { .. } => {}
            }
        }
        Ok(input)
    }

    /// Reads a buffer; returns how many messages it completed.
    fn take(&mut self, slot: u32, buffer: &perf::ring::Buffer) -> io::Result<u64> {
        let mut bytes = self.ring.bytes(buffer);
        let Peer {
            client,
            secure,
            outbound,
            received,
            odd_bytes,
            ..
        } = &mut self.peers[slot as usize];
        if let Some(secure) = secure {
            self.plain.clear();
            secure.open(bytes, &mut self.plain)?;
            bytes = &self.plain;
            if bytes.is_empty() {
                return Ok(0);
            }
        }
        let (was_ready, before) = (client.is_ready(), *received);
        let script = &self.script;
        client.handle(bytes, outbound, |message| {
            if script.protocol == Protocol::Raw {
                let total = *odd_bytes + message.len();
                *received += (total / script.message_len) as u64;
                *odd_bytes = total % script.message_len;
                return Ok(());
            }
            script.check(*received, message)?;
            *received += 1;
            Ok(())
        })?;
        self.ready += u32::from(!was_ready && client.is_ready());
        Ok(*received - before)
    }

    /// Goes on after `messages` arrived at `slot`.
    fn answer(&mut self, slot: u32, messages: u64) -> io::Result<()> {
        if messages > 0 {
            self.tally.messages += messages;
            if self.plan.in_rooms {
                let room = &mut self.rooms[self.peers[slot as usize].room];
                let Some(due) = room.due.checked_sub(messages) else {
                    return Err(io::Error::other("more deliveries than were published"));
                };
                room.due = due;
                if due == 0 {
                    self.tally.record(room.started.elapsed());
                    self.publish(self.peers[slot as usize].room)?;
                }
            } else {
                self.end_sample(slot)?;
                self.say(slot, messages);
            }
        }
        self.flush(slot)
    }

    fn end_sample(&mut self, slot: u32) -> io::Result<()> {
        let peer = &mut self.peers[slot as usize];
        if peer.received > peer.sent {
            return Err(io::Error::other("more answers than messages"));
        }
        if let Some((number, since)) = peer.sample.filter(|(number, _)| *number < peer.received) {
            debug_assert!(number < peer.sent);
            self.tally.record(since.elapsed());
            peer.sample = None;
        }
        Ok(())
    }

    /// Appends `count` messages to what `slot` sends.
    fn say(&mut self, slot: u32, count: u64) {
        let peer = &mut self.peers[slot as usize];
        for _ in 0..count {
            if peer.sample.is_none() && peer.sent.is_multiple_of(SAMPLE_EVERY) {
                peer.sample = Some((peer.sent, Instant::now()));
            }
            peer.outbound
                .extend_from_slice(self.script.frame(peer.sent));
            peer.sent += 1;
        }
    }

    fn publish(&mut self, room: usize) -> io::Result<()> {
        let room = &mut self.rooms[room];
        room.due = room.members * self.plan.burst;
        room.started = Instant::now();
        let slot = room.publisher;
        self.say(slot, self.plan.burst);
        self.flush(slot)
    }

    fn flush(&mut self, slot: u32) -> io::Result<()> {
        let peer = &mut self.peers[slot as usize];
        if peer.sending {
            return Ok(());
        }
        let mut bytes = std::mem::replace(&mut peer.outbound, std::mem::take(&mut peer.spare));
        if let Some(secure) = &mut peer.secure {
            let mut sealed = std::mem::take(&mut peer.outbound);
            secure.seal(&bytes, &mut sealed)?;
            bytes.clear();
            peer.outbound = std::mem::replace(&mut bytes, sealed);
        }
        if bytes.is_empty() {
            peer.spare = bytes;
            return Ok(());
        }
        peer.sending = true;
        self.ring.send_owned(slot, bytes)
    }
}
