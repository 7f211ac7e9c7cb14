//! Renaming, detaching and attaching on the fake kernel: a server that does it all the time, and some that break the rules.

use std::net::Shutdown;

use super::super::faults::Rng;
use super::super::{FakeBuffer, FakeClient, Faults, Network};
use super::*;
use crate::reactor::{Reactor, SendBuffer, Wait};

const FROM: ConnKey = ConnKey {
    slot: 1,
    generation: 4,
};
const TO: ConnKey = ConnKey {
    slot: 9,
    generation: 2,
};

/// A connection whose other end a core has taken in.
fn one(faults: Faults, seed: u64) -> (Network, Fake, FakeClient, Descriptor) {
    let network = Network::new(seed, faults);
    let mut reactor = network.reactor(0);
    let (client, socket) = network.connect_outside();
    reactor.attach(socket, 77);
    let descriptor = until(&mut reactor, |completion| match completion {
        Completion::Attached { token, result } => {
            assert_eq!(token, 77);
            Some(result.unwrap().0)
        }
        _ => None,
    });
    (network, reactor, client, descriptor)
}

fn until<T>(reactor: &mut Fake, mut wanted: impl FnMut(Completion<FakeBuffer>) -> Option<T>) -> T {
    for _ in 0..1000 {
        reactor.enter(Wait::No).unwrap();
        while let Some(completion) = reactor.next() {
            if let Some(found) = wanted(completion) {
                return found;
            }
        }
    }
    panic!("waited in vain")
}

fn closed(reactor: &mut Fake, key: ConnKey) {
    until(reactor, |completion| match completion {
        Completion::Closed { key: of } => {
            assert_eq!(of, key);
            Some(())
        }
        _ => None,
    });
}

fn bytes() -> SendBuffer {
    SendBuffer::Copied(vec![1, 2, 3])
}

#[test]
fn what_comes_from_outside_is_like_an_accepted_connection() {
    let (network, mut reactor, client, descriptor) = one(Faults::NONE, 0);
    client.send(b"hello");
    reactor.receive(FROM, descriptor);
    until(&mut reactor, |completion| match completion {
        Completion::Received { key, buffer } => {
            assert_eq!((key, &*buffer), (FROM, &b"hello"[..]));
            Some(())
        }
        _ => None,
    });
    client.finish();
    until(&mut reactor, |completion| {
        matches!(completion, Completion::ReceiveEnded { .. }).then_some(())
    });
    reactor.shutdown(FROM, descriptor, Shutdown::Write);
    reactor.close(FROM, descriptor);
    closed(&mut reactor, FROM);
    assert!(client.is_closed() && !client.was_reset());
    network.check_quiescent();
}

/// Echoes one connection, which changes its key and its core all the time.
struct Wanderer {
    cores: [Fake; 2],
    dice: Rng,
    core: usize,
    key: ConnKey,
    descriptor: Option<Descriptor>,
    /// Free keys by core.
    vacant: [Vec<ConnKey>; 2],
    queued: Vec<u8>,
    receiving: bool,
    sending: bool,
    /// The peer has finished, or the connection is broken.
    ended: bool,
    broken: bool,
    moving: bool,
    closing: bool,
    over: bool,
    renames: usize,
    closes: usize,
    moves: usize,
    history: Vec<String>,
}

impl Wanderer {
    fn new(network: &Network, seed: u64, socket: Handoff) -> Wanderer {
        let mut cores = [0, 1].map(|core| network.reactor(core));
        cores[0].attach(socket, 0);
        let keys = |generation| (0..5).map(|slot| ConnKey { slot, generation }).collect();
        Wanderer {
            cores,
            dice: Rng::new(seed + 1),
            core: 0,
            key: TO,
            descriptor: None,
            vacant: [keys(1), keys(100)],
            queued: Vec::new(),
            receiving: false,
            sending: false,
            ended: false,
            broken: false,
            moving: false,
            closing: false,
            over: false,
            renames: 0,
            closes: 0,
            moves: 0,
            history: Vec::new(),
        }
    }

    fn turn(&mut self) {
        for core in [0, 1] {
            self.cores[core].enter(Wait::No).unwrap();
            while let Some(completion) = self.cores[core].next() {
                self.history.push(format!("{core}: {completion:?}"));
                self.handle(core, completion);
                self.wander();
                self.go_on();
            }
        }
        self.wander();
    }

    /// What a completion of the connection must say: where it is, under which key.
    fn check(&self, core: usize, key: ConnKey) {
        assert_eq!((core, key), (self.core, self.key));
    }

    fn handle(&mut self, core: usize, completion: Completion<FakeBuffer>) {
        match completion {
            Completion::Received { key, buffer } => {
                self.check(core, key);
                assert!(self.receiving);
                self.queued.extend_from_slice(&buffer);
            }
            Completion::ReceiveEnded { key, result } => {
                self.check(core, key);
                assert!(std::mem::take(&mut self.receiving));
                let canceled = Some(Errno::CANCELED.raw_os_error());
                match result {
                    Err(error) if error.raw_os_error() == canceled => {}
                    result => {
                        self.ended = true;
                        self.broken |= result.is_err();
                    }
                }
            }
            Completion::Sent {
                key,
                buffer,
                from,
                result,
            } => {
                self.check(core, key);
                assert!(std::mem::take(&mut self.sending));
                match result {
                    Ok(sent) => {
                        let rest = &buffer.bytes()[from + sent..];
                        self.queued.splice(0..0, rest.iter().copied());
                    }
                    Err(_) => self.broken = true,
                }
            }
            Completion::HungUp { key } => self.check(core, key),
            Completion::Closed { key } => self.closed(core, key),
            Completion::Detached { key, result } => {
                self.check(core, key);
                self.moves += 1;
                self.free(core, key);
                self.core = 1 - core;
                self.descriptor = None;
                match result {
                    Ok(socket) => self.cores[self.core].attach(socket, self.moves as u64),
                    Err(_) => self.over = true,
                }
            }
            Completion::Attached { token, result } => {
                assert_eq!((core, token), (self.core, self.moves as u64));
                self.moving = false;
                match result {
                    Ok((descriptor, peer)) => {
                        assert_eq!(peer, Some(peer_of(0)));
                        self.descriptor = Some(descriptor);
                        self.key = self.vacant[core].pop().expect("there are enough");
                    }
                    Err(_) => self.over = true,
                }
            }
            Completion::Woken => {}
            other => panic!("{other:?}"),
        }
    }

    fn free(&mut self, core: usize, key: ConnKey) {
        let generation = key.generation + 1;
        self.vacant[core].insert(0, ConnKey { generation, ..key });
    }

    fn closed(&mut self, core: usize, key: ConnKey) {
        self.free(core, key);
        if (core, key) != (self.core, self.key) {
            self.closes += 1;
            return;
        }
        assert!(self.closing);
        assert_eq!(self.closes, self.renames, "the old keys first");
        self.over = true;
    }

    fn wander(&mut self) {
        let Some(descriptor) = self.descriptor.filter(|_| !self.closing) else {
            return;
        };
        if self.moving {
            return;
        }
        match self.dice.below(6) {
            0 => {
                if let Some(to) = self.vacant[self.core].pop() {
                    self.cores[self.core].rename(self.key, to, descriptor);
                    self.key = to;
                    self.renames += 1;
                }
            }
            1 if self.receiving => {
                self.cores[self.core].stop_receiving(self.key);
                self.moving = self.dice.below(2) == 0;
            }
            _ => {}
        }
    }

    /// Sends what is queued, receives, moves, or ends.
    fn go_on(&mut self) {
        let Some(descriptor) = self.descriptor.filter(|_| !self.closing && !self.over) else {
            return;
        };
        let key = self.key;
        let reactor = &mut self.cores[self.core];
        if !self.sending && !self.queued.is_empty() && !self.broken {
            self.sending = true;
            let bytes = std::mem::take(&mut self.queued);
            reactor.send(key, descriptor, SendBuffer::Copied(bytes), 0);
        }
        if self.receiving && self.broken {
            reactor.shutdown(key, descriptor, Shutdown::Both);
        } else if !self.receiving && !self.ended && !self.moving && !self.broken {
            self.receiving = true;
            reactor.receive(key, descriptor);
        } else if !self.receiving && !self.sending && (self.ended || self.broken) {
            self.closing = true;
            reactor.close(key, descriptor);
        } else if !self.receiving && !self.sending && self.moving {
            self.descriptor = None;
            reactor.detach(key, descriptor);
        }
    }
}

fn pattern() -> Vec<u8> {
    (0..6000u32).map(|at| ((at * 31) >> 3) as u8).collect()
}

/// What the client got back, whether its connection was reset or lost, and the wanderer.
fn run(seed: u64, faults: Faults) -> (Vec<u8>, bool, Wanderer) {
    let network = Network::new(seed, faults);
    let (client, socket) = network.connect_outside();
    let mut wanderer = Wanderer::new(&network, seed, socket);
    let (sent, mut got) = (pattern(), Vec::new());
    let mut pieces = sent.chunks(97);
    let mut turns = 0;
    while !wanderer.over {
        match pieces.next() {
            Some(piece) => client.send(piece),
            None => client.finish(),
        }
        wanderer.turn();
        got.extend(client.receive());
        turns += 1;
        assert!(turns < 10_000, "seed {seed}: it never ends");
    }
    (0..20).for_each(|_| wanderer.turn());
    got.extend(client.receive());
    assert!(client.is_closed(), "seed {seed}");
    assert_eq!(wanderer.closes, wanderer.renames, "seed {seed}");
    assert!(!network.has_work(0) && !network.has_work(1), "seed {seed}");
    network.check_quiescent();
    for core in [0, 1] {
        assert_eq!(network.open_descriptors(core), 0, "seed {seed}");
    }
    let lost = client.was_reset() || got.len() < sent.len();
    (got, lost, wanderer)
}

#[test]
fn every_byte_comes_back_whatever_is_renamed_and_moved() {
    for faults in [Faults::NONE, Faults::ROUGH] {
        let (mut renames, mut moves) = (0, 0);
        for seed in 0..200 {
            let (got, lost, wanderer) = run(seed, faults);
            assert!(!lost && got == pattern(), "seed {seed}: {}", got.len());
            renames += wanderer.renames;
            moves += wanderer.moves;
        }
        assert!(renames > 2000 && moves > 500, "{renames}, {moves}");
    }
}

#[test]
fn what_comes_back_from_a_lost_connection_is_a_beginning() {
    let mut failed = 0;
    for seed in 0..300 {
        let (got, lost, wanderer) = run(seed, Faults::HARSH);
        assert!(pattern().starts_with(&got), "seed {seed}");
        assert!(lost || got == pattern(), "seed {seed}");
        let failures = |line: &&String| {
            let moved = line.contains("Detached") || line.contains("Attached");
            moved && line.contains("Err")
        };
        failed += wanderer.history.iter().filter(failures).count();
    }
    assert!(failed > 10, "{failed} moves failed");
}

#[test]
fn a_seed_is_a_run() {
    for seed in 0..20 {
        let runs = [0, 1].map(|_| run(seed, Faults::HARSH).2.history);
        assert_eq!(runs[0], runs[1], "seed {seed}");
    }
}

#[test]
fn an_old_key_lasts_as_long_as_its_send() {
    let faults = Faults {
        window: 10,
        ..Faults::NONE
    };
    let (network, mut reactor, client, descriptor) = one(faults, 0);
    reactor.send(FROM, descriptor, SendBuffer::Copied(vec![5; 15]), 0);
    reactor.rename(FROM, TO, descriptor);
    for _ in 0..5 {
        reactor.enter(Wait::No).unwrap();
        assert!(reactor.next().is_none());
    }
    assert!(!network.has_work(0), "nobody's work until the client reads");
    assert_eq!(client.receive().len(), 10);
    reactor.enter(Wait::No).unwrap();
    let sent = reactor.next();
    assert!(matches!(sent, Some(Completion::Sent { key: TO, .. })));
    closed(&mut reactor, FROM);
}

#[test]
fn what_was_reaped_before_the_rename_comes_under_the_new_key() {
    let (_network, mut reactor, client, descriptor) = one(Faults::NONE, 0);
    client.send(b"hello");
    reactor.receive(FROM, descriptor);
    reactor.enter(Wait::No).unwrap();
    reactor.rename(FROM, TO, descriptor);
    let received = reactor.next();
    assert!(matches!(
        received,
        Some(Completion::Received { key: TO, .. })
    ));
}

#[test]
fn a_socket_may_be_dropped_by_any_thread() {
    let (network, mut reactor, client, descriptor) = one(Faults::NONE, 0);
    client.send(b"unread");
    reactor.detach(FROM, descriptor);
    let socket = until(&mut reactor, |completion| match completion {
        Completion::Detached { key, result } => {
            assert_eq!(key, FROM);
            Some(result.unwrap())
        }
        _ => None,
    });
    assert!(!client.is_closed());
    std::thread::spawn(move || drop(socket)).join().unwrap();
    assert!(client.is_closed() && client.was_reset());
    network.check_quiescent();
}

#[test]
#[should_panic(expected = "seed 7: a connection has left a core and came to none")]
fn a_socket_kept() {
    let (network, mut reactor, _client, descriptor) = one(Faults::NONE, 7);
    reactor.detach(FROM, descriptor);
    let _socket = until(&mut reactor, |completion| match completion {
        Completion::Detached { result, .. } => result.ok(),
        _ => None,
    });
    network.check_quiescent();
}

#[test]
#[should_panic(expected = "seed 7: attach of a socket that is not of this network")]
fn a_real_socket() {
    let socket = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let mut reactor = Network::new(7, Faults::NONE).reactor(0);
    reactor.attach(Handoff::Socket(socket.into()), 1);
}

#[test]
#[should_panic(expected = "seed 7: detach of")]
fn a_detach_during_a_receive() {
    let (_network, mut reactor, _client, descriptor) = one(Faults::NONE, 7);
    reactor.receive(FROM, descriptor);
    reactor.detach(FROM, descriptor);
}

#[test]
#[should_panic(expected = "with a send pending")]
fn a_detach_during_a_send() {
    let (_network, mut reactor, _client, descriptor) = one(Faults::NONE, 7);
    reactor.send(FROM, descriptor, bytes(), 0);
    reactor.detach(FROM, descriptor);
}

#[test]
#[should_panic(expected = "on the descriptor of")]
fn a_send_for_the_old_key() {
    let (_network, mut reactor, _client, descriptor) = one(Faults::NONE, 7);
    reactor.receive(FROM, descriptor);
    reactor.rename(FROM, TO, descriptor);
    reactor.send(FROM, descriptor, bytes(), 0);
}

#[test]
#[should_panic(expected = "whose slot is not free")]
fn a_rename_back_too_soon() {
    let (_network, mut reactor, _client, descriptor) = one(Faults::NONE, 7);
    reactor.rename(FROM, TO, descriptor);
    let generation = FROM.generation + 1;
    reactor.rename(TO, ConnKey { generation, ..FROM }, descriptor);
}

#[test]
#[should_panic(expected = "still belongs to another descriptor")]
fn an_old_slot_used_again_too_soon() {
    let (network, mut reactor, _client, descriptor) = one(Faults::NONE, 7);
    let (_other, socket) = network.connect_outside();
    reactor.attach(socket, 1);
    let other = until(&mut reactor, |completion| match completion {
        Completion::Attached { result, .. } => result.ok(),
        _ => None,
    });
    reactor.rename(FROM, TO, descriptor);
    reactor.receive(FROM, other.0);
}

#[test]
#[should_panic(expected = "after its close")]
fn a_receive_after_the_detach() {
    let (_network, mut reactor, _client, descriptor) = one(Faults::NONE, 7);
    reactor.detach(FROM, descriptor);
    reactor.receive(FROM, descriptor);
}
