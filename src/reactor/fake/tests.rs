//! The fake kernel tested by an echo server that keeps the rules, and by some that do not.

use super::*;

const SEEDS: std::ops::Range<u64> = 0..200;

/// One connection of the echo server.
#[derive(Default)]
struct EchoConn {
    generation: u32,
    descriptor: u32,
    queued: Vec<u8>,
    receiving: bool,
    sending: bool,
    broken: bool,
    closing: bool,
    /// Received bytes after which receiving is stopped once, and started again.
    stop_after: Option<usize>,
}

/// An echo server on one core, that writes down all it sees.
struct Echo {
    reactor: Fake,
    conns: Vec<EchoConn>,
    vacant: Vec<u32>,
    history: Vec<String>,
}

impl Echo {
    fn new(mut reactor: Fake) -> Echo {
        reactor.accept();
        Echo {
            reactor,
            conns: Vec::new(),
            vacant: Vec::new(),
            history: Vec::new(),
        }
    }

    fn turn(&mut self) {
        self.reactor.enter(Wait::No).unwrap();
        while let Some(completion) = self.reactor.next() {
            self.history.push(format!("{completion:?}"));
            self.handle(completion);
        }
    }

    fn handle(&mut self, completion: Completion<FakeBuffer>) {
        let key = match completion {
            Completion::Accepted { descriptor, .. } => return self.start(descriptor),
            Completion::AcceptFailed { .. } => return self.reactor.accept(),
            Completion::Woken | Completion::HungUp { .. } => return,
            Completion::Detached { .. } | Completion::Attached { .. } => panic!("nobody moves"),
            Completion::Closed { key } => {
                self.conn(key).closing = false;
                return self.vacant.push(key.slot);
            }
            Completion::Received { key, buffer } => {
                assert!(!buffer.is_empty());
                self.conn(key).queued.extend_from_slice(&buffer);
                self.stop_once(key, buffer.len());
                key
            }
            Completion::ReceiveEnded { key, result } => {
                self.handle_end(key, result);
                key
            }
            Completion::Sent {
                key,
                buffer,
                from,
                result,
            } => {
                let conn = self.conn(key);
                conn.sending = false;
                match result {
                    // What was not taken goes first.
                    Ok(sent) => drop(
                        conn.queued
                            .splice(0..0, buffer.bytes()[from + sent..].iter().copied()),
                    ),
                    Err(_) => conn.broken = true,
                }
                key
            }
        };
        self.go_on(key);
    }

    fn handle_end(&mut self, key: ConnKey, result: io::Result<()>) {
        let conn = self.conn(key);
        conn.receiving = false;
        match result {
            Err(error)
                if error.raw_os_error() == Some(rustix::io::Errno::CANCELED.raw_os_error()) =>
            {
                conn.receiving = true;
                let descriptor = Descriptor(conn.descriptor);
                self.reactor.receive(key, descriptor);
            }
            result => conn.broken |= result.is_err(),
        }
    }

    fn stop_once(&mut self, key: ConnKey, len: usize) {
        let conn = self.conn(key);
        match conn.stop_after {
            Some(rest) if rest <= len => {
                conn.stop_after = None;
                self.reactor.stop_receiving(key);
            }
            Some(rest) => conn.stop_after = Some(rest - len),
            None => {}
        }
    }

    fn conn(&mut self, key: ConnKey) -> &mut EchoConn {
        let conn = &mut self.conns[key.slot as usize];
        assert_eq!(conn.generation, key.generation);
        conn
    }

    fn start(&mut self, descriptor: Descriptor) {
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.conns.push(EchoConn::default());
            self.conns.len() as u32 - 1
        });
        let conn = &mut self.conns[slot as usize];
        let generation = conn.generation + 1;
        let stop_after = Some(1000);
        *conn = EchoConn {
            generation,
            descriptor: descriptor.0,
            receiving: true,
            stop_after,
            ..EchoConn::default()
        };
        self.reactor
            .receive(ConnKey { slot, generation }, descriptor);
    }

    /// Sends what is queued, or ends in three steps.
    fn go_on(&mut self, key: ConnKey) {
        let conn = &mut self.conns[key.slot as usize];
        let descriptor = Descriptor(conn.descriptor);
        if conn.sending || conn.closing {
        } else if !conn.broken && !conn.queued.is_empty() {
            conn.sending = true;
            let bytes = std::mem::take(&mut conn.queued);
            self.reactor
                .send(key, descriptor, SendBuffer::Copied(bytes), 0);
        } else if conn.receiving && conn.broken {
            self.reactor.shutdown(key, descriptor, Shutdown::Both);
        } else if !conn.receiving {
            conn.closing = true;
            self.reactor.close(key, descriptor);
        }
    }
}

fn pattern(id: usize) -> Vec<u8> {
    (0..3000 + id * 7)
        .map(|at| (at * 31 + id * 101) as u8)
        .collect()
}

/// Ten clients in two waves against two cores; gives what each got back, and what the cores saw.
fn run(seed: u64, faults: Faults) -> (Vec<(Vec<u8>, bool)>, Vec<String>) {
    let network = Network::new(seed, faults);
    let mut cores = [0, 1].map(|core| Echo::new(network.reactor(core)));
    let mut results = Vec::new();
    for wave in 0..2 {
        let clients: Vec<_> = (0..5).map(|id| network.connect(id % 2)).collect();
        let mut got = vec![Vec::new(); clients.len()];
        for (id, client) in clients.iter().enumerate() {
            client.send(&pattern(wave * 5 + id));
            client.finish();
        }
        let mut turns = 0;
        while (0..2).any(|core| network.has_work(core)) {
            cores.iter_mut().for_each(Echo::turn);
            clients
                .iter()
                .zip(&mut got)
                .for_each(|(client, got)| got.extend(client.receive()));
            turns += 1;
            assert!(turns < 10_000, "seed {seed}: it never ends");
        }
        for (client, mut got) in clients.iter().zip(got) {
            got.extend(client.receive());
            assert!(client.is_closed(), "seed {seed}");
            results.push((got, client.was_reset()));
        }
        network.check_quiescent();
        assert_eq!(
            network.open_descriptors(0) + network.open_descriptors(1),
            0,
            "seed {seed}"
        );
    }
    let history = cores.into_iter().flat_map(|core| core.history).collect();
    (results, history)
}

#[test]
fn every_byte_comes_back_whatever_happens_on_a_healthy_network() {
    for faults in [Faults::NONE, Faults::ROUGH] {
        for seed in SEEDS {
            for (id, (got, reset)) in run(seed, faults).0.into_iter().enumerate() {
                assert!(
                    !reset && got == pattern(id),
                    "seed {seed}: client {id} got {} bytes",
                    got.len()
                );
            }
        }
    }
}

#[test]
fn what_comes_back_from_a_broken_connection_is_a_beginning() {
    let mut resets = 0;
    for seed in SEEDS {
        for (id, (got, reset)) in run(seed, Faults::HARSH).0.into_iter().enumerate() {
            resets += usize::from(reset);
            assert!(pattern(id).starts_with(&got), "seed {seed}: client {id}");
            assert!(reset || got == pattern(id), "seed {seed}: client {id}");
        }
    }
    assert!(resets > 100, "{resets}");
}

#[test]
fn a_seed_is_a_run() {
    for seed in SEEDS.take(20) {
        assert_eq!(
            run(seed, Faults::HARSH),
            run(seed, Faults::HARSH),
            "seed {seed}"
        );
    }
    assert_ne!(run(1, Faults::ROUGH).1, run(2, Faults::ROUGH).1);
}

/// A connection on which a test breaks a rule.
fn one() -> (Network, Fake, FakeClient, Descriptor) {
    let network = Network::new(7, Faults::NONE);
    let mut reactor = network.reactor(0);
    let client = network.connect(0);
    reactor.accept();
    reactor.enter(Wait::No).unwrap();
    let Some(Completion::Accepted { descriptor, .. }) = reactor.next() else {
        panic!("not accepted")
    };
    (network, reactor, client, descriptor)
}

const KEY: ConnKey = ConnKey {
    slot: 3,
    generation: 1,
};

fn bytes() -> SendBuffer {
    SendBuffer::Copied(vec![1, 2, 3])
}

#[test]
#[should_panic(expected = "seed 7: a second receive")]
fn two_receives() {
    let (_network, mut reactor, _client, descriptor) = one();
    reactor.receive(KEY, descriptor);
    reactor.receive(KEY, descriptor);
}

#[test]
#[should_panic(expected = "seed 7: a second send")]
fn two_sends() {
    let (_network, mut reactor, _client, descriptor) = one();
    reactor.send(KEY, descriptor, bytes(), 0);
    reactor.send(KEY, descriptor, bytes(), 0);
}

#[test]
#[should_panic(expected = "a send without bytes")]
fn an_empty_send() {
    let (_network, mut reactor, _client, descriptor) = one();
    reactor.send(KEY, descriptor, bytes(), 3);
}

#[test]
#[should_panic(expected = "with a receive pending")]
fn a_close_during_a_receive() {
    let (_network, mut reactor, _client, descriptor) = one();
    reactor.receive(KEY, descriptor);
    reactor.close(KEY, descriptor);
}

#[test]
#[should_panic(expected = "with a send pending")]
fn a_close_during_a_send() {
    let (_network, mut reactor, _client, descriptor) = one();
    reactor.send(KEY, descriptor, bytes(), 0);
    reactor.close(KEY, descriptor);
}

#[test]
#[should_panic(expected = "after its close")]
fn a_send_after_the_close() {
    let (_network, mut reactor, _client, descriptor) = one();
    reactor.close(KEY, descriptor);
    reactor.send(KEY, descriptor, bytes(), 0);
}

#[test]
#[should_panic(expected = "which is not open")]
fn a_send_on_a_closed_descriptor() {
    let (_network, mut reactor, _client, descriptor) = one();
    reactor.close(KEY, descriptor);
    reactor.enter(Wait::No).unwrap();
    reactor.send(KEY, descriptor, bytes(), 0);
}

#[test]
#[should_panic(expected = "on the descriptor of")]
fn another_ones_descriptor() {
    let (_network, mut reactor, _client, descriptor) = one();
    reactor.receive(KEY, descriptor);
    reactor.send(
        ConnKey {
            slot: 4,
            generation: 1,
        },
        descriptor,
        bytes(),
        0,
    );
}

#[test]
#[should_panic(expected = "still belongs to another descriptor")]
fn a_slot_used_again_too_soon() {
    let (network, mut reactor, _client, descriptor) = one();
    reactor.receive(KEY, descriptor);
    let _other = network.connect(0);
    reactor.enter(Wait::No).unwrap();
    let Some(Completion::Accepted { descriptor, .. }) = reactor.next() else {
        panic!("not accepted")
    };
    reactor.receive(
        ConnKey {
            generation: 2,
            ..KEY
        },
        descriptor,
    );
}

#[test]
#[should_panic(expected = "still holds 1 buffers")]
fn a_buffer_kept() {
    let (network, mut reactor, client, descriptor) = one();
    reactor.receive(KEY, descriptor);
    client.send(b"hello");
    reactor.enter(Wait::No).unwrap();
    let Some(Completion::Received { buffer, .. }) = reactor.next() else {
        panic!("nothing received")
    };
    assert_eq!((&*buffer, network.buffers_lent(0)), (&b"hello"[..], 1));
    network.check_quiescent();
}

#[test]
#[should_panic(expected = "of a client that is gone")]
fn a_descriptor_kept() {
    let (network, _reactor, client, _descriptor) = one();
    client.reset();
    network.check_quiescent();
}

#[test]
fn a_slow_client_holds_a_send_back() {
    let network = Network::new(
        0,
        Faults {
            window: 10,
            ..Faults::NONE
        },
    );
    let mut reactor = network.reactor(0);
    let client = network.connect(0);
    reactor.accept();
    reactor.enter(Wait::No).unwrap();
    let Some(Completion::Accepted { descriptor, .. }) = reactor.next() else {
        panic!("not accepted")
    };
    reactor.send(KEY, descriptor, SendBuffer::Copied(vec![5; 25]), 0);
    for expected in [10, 10] {
        reactor.enter(Wait::No).unwrap();
        assert!(reactor.next().is_none() && !network.has_work(0));
        assert_eq!(client.receive().len(), expected);
    }
    reactor.enter(Wait::No).unwrap();
    assert!(matches!(
        reactor.next(),
        Some(Completion::Sent { result: Ok(25), .. })
    ));
    assert_eq!(client.receive().len(), 5);
}

#[test]
fn time_is_the_tests_and_wakes_arrive() {
    let network = Network::new(0, Faults::NONE);
    let (mut first, mut second) = (network.reactor(0), network.reactor(1));
    first.enter(Wait::Ms(30)).unwrap();
    second.enter(Wait::Ms(20)).unwrap();
    assert_eq!(network.next_deadline(), Some(20));
    network.advance(20);
    assert_eq!((first.now_ms(), second.now_ms()), (20, 20));
    first.wake(1);
    assert!(network.has_work(1) && !network.has_work(0));
    second.enter(Wait::Forever).unwrap();
    assert!(matches!(second.next(), Some(Completion::Woken)));
    assert!(second.next().is_none() && !network.has_work(1));
    assert_eq!(network.next_deadline(), Some(30));
}

#[test]
fn who_comes_after_the_end_is_refused() {
    let (network, mut reactor, _client, _descriptor) = one();
    let waiting = network.connect(0);
    reactor.stop_accepting();
    assert!(waiting.is_closed() && network.connect(0).is_closed());
    reactor.accept();
    reactor.enter(Wait::No).unwrap();
    assert!(reactor.next().is_none());
}
