//! Renaming, detaching and attaching: who has a key, and who has a connection, while bytes are under way.

use std::os::fd::AsRawFd;

use super::*;

const OTHER: ConnKey = ConnKey {
    slot: 3,
    generation: 8,
};

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// What came of one connection, and for whom.
#[derive(Default)]
struct Seen {
    bytes: Vec<u8>,
    ended: Option<(ConnKey, io::Result<()>)>,
    sent: Option<(ConnKey, io::Result<usize>)>,
    hung_up: Vec<ConnKey>,
    closed: Vec<ConnKey>,
}

impl Seen {
    /// Notes a completion, which must be `key`'s unless it is a close.
    fn note(&mut self, completion: Completion<Buffer>, key: ConnKey) {
        match completion {
            Completion::Received { key: of, buffer } => {
                assert_eq!(of, key);
                assert!(self.ended.is_none(), "bytes behind their end");
                self.bytes.extend_from_slice(&buffer);
            }
            Completion::ReceiveEnded { key: of, result } => {
                assert_eq!(of, key);
                assert!(self.ended.replace((of, result)).is_none(), "ends once");
            }
            Completion::Sent {
                key: of, result, ..
            } => {
                assert_eq!(of, key);
                assert!(self.sent.replace((of, result)).is_none(), "sent once");
            }
            Completion::HungUp { key: of } => {
                assert_eq!(of, key);
                self.hung_up.push(of);
            }
            Completion::Closed { key } => self.closed.push(key),
            other => panic!("{other:?}"),
        }
    }

    /// Enters until it holds.
    fn until(&mut self, kernel: &mut Kernel, key: ConnKey, holds: impl Fn(&Seen) -> bool) {
        if holds(self) {
            return;
        }
        until(kernel, |completion| {
            self.note(completion, key);
            holds(self).then_some(())
        });
    }
}

fn is_canceled(result: &io::Result<()>) -> bool {
    matches!(result, Err(error) if error.raw_os_error() == Some(Errno::CANCELED.raw_os_error()))
}

/// One connection that is renamed all the time, while bytes go both ways.
struct Nomad {
    kernel: Kernel,
    descriptor: Descriptor,
    key: ConnKey,
    vacant: Vec<ConnKey>,
    got: Vec<u8>,
    sent: usize,
    sending: bool,
    receiving: bool,
    finished: bool,
    renames: usize,
    closes: usize,
    deepest: usize,
}

impl Nomad {
    fn new(kernel: Kernel, descriptor: Descriptor) -> Nomad {
        let vacant = (1..6).map(|slot| ConnKey { slot, ..KEY }).collect();
        Nomad {
            kernel,
            descriptor,
            key: KEY,
            vacant,
            got: Vec::new(),
            sent: 0,
            sending: false,
            receiving: false,
            finished: false,
            renames: 0,
            closes: 0,
            deepest: 0,
        }
    }

    fn rename(&mut self) {
        if let Some(to) = self.vacant.pop() {
            self.kernel.rename(self.key, to, self.descriptor);
            self.key = to;
            self.renames += 1;
            self.deepest = self.deepest.max(self.kernel.forwards.len());
        }
    }

    fn handle(&mut self, completion: Completion<Buffer>) {
        match completion {
            Completion::Received { key, buffer } => {
                assert_eq!(key, self.key);
                assert!(self.receiving);
                self.got.extend_from_slice(&buffer);
            }
            Completion::ReceiveEnded { key, result } => {
                assert_eq!(key, self.key);
                assert!(std::mem::take(&mut self.receiving));
                self.finished = !is_canceled(&result);
                assert!(!self.finished || result.is_ok(), "{result:?}");
            }
            Completion::Sent { key, result, .. } => {
                assert_eq!(key, self.key);
                assert!(std::mem::take(&mut self.sending));
                self.sent += result.unwrap();
            }
            Completion::HungUp { key } => assert_eq!(key, self.key),
            Completion::Closed { key } => {
                assert_ne!(key, self.key);
                self.closes += 1;
                let generation = key.generation + 1;
                self.vacant.push(ConnKey { generation, ..key });
            }
            other => panic!("{other:?}"),
        }
    }

    /// One turn: something is asked for, and what came is handled, with renames in between.
    fn turn(&mut self, dice: &mut Dice, outgoing: &[u8]) {
        if !self.receiving && !self.finished {
            self.receiving = true;
            self.kernel.receive(self.key, self.descriptor);
        } else if dice.below(5) == 0 {
            self.kernel.stop_receiving(self.key);
        }
        let rest = &outgoing[self.sent..];
        if !self.sending && !rest.is_empty() {
            self.sending = true;
            let len = rest.len().min(1 + dice.below(3000) as usize);
            let bytes = SendBuffer::Copied(rest[..len].to_vec());
            self.kernel.send(self.key, self.descriptor, bytes, 0);
        }
        // Before what was asked for is submitted, before it is handed out, and while it is.
        if dice.below(2) == 0 {
            self.rename();
        }
        self.kernel.enter(Wait::Ms(dice.below(2))).unwrap();
        if dice.below(2) == 0 {
            self.rename();
        }
        while let Some(completion) = self.kernel.next() {
            self.handle(completion);
            if dice.below(4) == 0 {
                self.rename();
            }
        }
    }
}

#[test]
fn bytes_go_both_ways_through_a_thousand_renames() {
    let mut deepest = 0;
    for seed in 0..4 {
        let (mut kernel, addr) = kernel(Sizes {
            buffer_bytes: 256,
            buffers: 3,
            buffers_posted: 2,
            ..small()
        });
        let (mut client, descriptor) = connected(&mut kernel, addr);
        let (incoming, outgoing) = (pattern(1, 400_000), pattern(2, 400_000));
        let (to_send, expected) = (incoming.clone(), outgoing.clone());
        let mut reading = client.try_clone().unwrap();
        let writer = thread::spawn(move || {
            let mut dice = Dice(seed + 100);
            let mut rest = &to_send[..];
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at(rest.len().min(1 + dice.below(2000) as usize));
                client.write_all(piece).unwrap();
                rest = behind;
                (0..dice.below(50)).for_each(|_| thread::yield_now());
            }
            client.shutdown(Shutdown::Write).unwrap();
        });
        let reader = thread::spawn(move || {
            let mut all = vec![0; expected.len()];
            reading.read_exact(&mut all).unwrap();
            assert!(all == expected);
            reading
        });
        let mut dice = Dice(seed);
        let mut nomad = Nomad::new(kernel, descriptor);
        let give_up = nomad.kernel.now_ms() + PATIENCE_MS;
        while !nomad.finished || nomad.sent < outgoing.len() || nomad.renames < 1000 {
            nomad.turn(&mut dice, &outgoing);
            assert!(nomad.kernel.now_ms() < give_up, "waited in vain");
        }
        assert!(
            nomad.got == incoming,
            "seed {seed}: {} bytes",
            nomad.got.len()
        );
        writer.join().unwrap();
        drop(reader.join().unwrap());
        while nomad.closes < nomad.renames {
            nomad.kernel.enter(Wait::Ms(PATIENCE_MS)).unwrap();
            let completion = nomad.kernel.next();
            completion.into_iter().for_each(|one| nomad.handle(one));
        }
        closed(&mut nomad.kernel, nomad.key, descriptor);
        assert_eq!(nomad.kernel.counters().stale, 0);
        assert_eq!(
            (nomad.kernel.descriptors, nomad.kernel.forwards.len()),
            (0, 0)
        );
        deepest = deepest.max(nomad.deepest);
    }
    assert!(
        deepest > 1,
        "renamed again before the last rename had ended"
    );
}

#[test]
fn whatever_a_receive_does_it_goes_on_under_the_new_key() {
    #[derive(Clone, Copy, PartialEq, Debug)]
    enum Was {
        Idle,
        Asked,
        Armed,
        Starved,
        Stopping,
        Stopped,
        Reviving,
    }
    use Was::*;
    for was in [Idle, Asked, Armed, Starved, Stopping, Stopped, Reviving] {
        let (mut kernel, addr) = kernel(Sizes {
            buffer_bytes: 64,
            buffers: 1,
            buffers_posted: 1,
            ..small()
        });
        let (mut client, descriptor) = connected(&mut kernel, addr);
        let mut held = None;
        if was != Idle {
            kernel.receive(KEY, descriptor);
        }
        if !matches!(was, Idle | Asked) {
            kernel.enter(Wait::No).unwrap();
            assert!(kernel.next().is_none());
        }
        if matches!(was, Starved | Stopped) {
            client.write_all(&[7; 65]).unwrap();
            held = Some(until(&mut kernel, |completion| match completion {
                Completion::Received { buffer, .. } => Some(buffer),
                _ => None,
            }));
            while kernel.counters().starved == 0 {
                kernel.enter(Wait::No).unwrap();
                assert!(kernel.next().is_none());
            }
        }
        match was {
            Stopping => kernel.stop_receiving(KEY),
            // Its end is owed already, and not by the kernel.
            Stopped => kernel.stop_receiving(KEY),
            Reviving => {
                kernel.hung_up.push(KEY);
                kernel.revive_sleeping();
            }
            _ => {}
        }
        kernel.rename(KEY, OTHER, descriptor);
        drop(held);
        let mut seen = Seen::default();
        if matches!(was, Stopping | Stopped) {
            seen.until(&mut kernel, OTHER, |seen| seen.ended.is_some());
            let (_, result) = seen.ended.take().unwrap();
            assert!(is_canceled(&result), "{was:?}: {result:?}");
        }
        if matches!(was, Idle | Stopping | Stopped) {
            kernel.receive(OTHER, descriptor);
        }
        client.write_all(b"!").unwrap();
        seen.until(&mut kernel, OTHER, |seen| seen.bytes.ends_with(b"!"));
        let before = if matches!(was, Starved | Stopped) {
            1
        } else {
            0
        };
        assert_eq!(seen.bytes.len(), before + 1, "{was:?}");
        client.shutdown(Shutdown::Write).unwrap();
        seen.until(&mut kernel, OTHER, |seen| {
            seen.ended.is_some() && !seen.hung_up.is_empty()
        });
        assert!(matches!(seen.ended, Some((_, Ok(())))), "{was:?}");
        assert_eq!(seen.closed, [KEY], "{was:?}");
        closed(&mut kernel, OTHER, descriptor);
        assert_eq!(seen.hung_up.len(), 1, "{was:?}");
        assert_eq!(kernel.counters().stale, 0, "{was:?}");
    }
}

#[test]
fn a_pending_send_keeps_the_old_key_until_it_ends() {
    let (mut kernel, addr) = kernel(small());
    let (mut client, descriptor) = connected(&mut kernel, addr);
    let bytes = pattern(5, 16 << 20);
    kernel.send(KEY, descriptor, SendBuffer::Copied(bytes.clone()), 0);
    kernel.receive(KEY, descriptor);
    kernel.enter(Wait::No).unwrap();
    kernel.rename(KEY, OTHER, descriptor);
    let mut seen = Seen::default();
    client.write_all(b"meanwhile").unwrap();
    seen.until(&mut kernel, OTHER, |seen| seen.bytes == b"meanwhile");
    for _ in 0..100 {
        kernel.enter(Wait::No).unwrap();
        assert!(kernel.next().is_none(), "the client has read nothing");
    }
    let reader = thread::spawn(move || {
        let mut all = vec![0; bytes.len()];
        client.read_exact(&mut all).unwrap();
        assert!(all == bytes);
    });
    seen.until(&mut kernel, OTHER, |seen| seen.closed == [KEY]);
    assert!(matches!(seen.sent, Some((OTHER, Ok(len))) if len == 16 << 20));
    reader.join().unwrap();
    seen.until(&mut kernel, OTHER, |seen| seen.ended.is_some());
    closed(&mut kernel, OTHER, descriptor);
    assert_eq!(kernel.counters().stale, 0);
}

/// A peer that goes before the receive, between receive and rename, or after both; with FIN or RST; noticed before the rename or not.
#[test]
fn a_peer_may_go_at_any_stage_of_a_rename() {
    let (mut kernel, addr) = kernel(small());
    for round in 0..480u32 {
        let from = ConnKey {
            slot: 0,
            generation: round,
        };
        let to = ConnKey {
            slot: 1 + round % 2,
            generation: round,
        };
        let (mut client, descriptor) = connected(&mut kernel, addr);
        let (stage, resets) = (round % 3, round / 3 % 2 == 0);
        let (enters, sends, names_twice) = (round / 6 % 2, round / 12 % 2, round / 24 % 2 == 0);
        client.write_all(b"last words").unwrap();
        let go = move || {
            if resets {
                reset(&client);
            }
            drop(client);
        };
        let mut go = Some(go);
        let mut stage_is = |at| {
            if stage == at {
                go.take().into_iter().for_each(|go| go());
            }
        };
        stage_is(0);
        kernel.receive(from, descriptor);
        if sends == 1 {
            kernel.send(from, descriptor, SendBuffer::Copied(vec![0; 10]), 0);
        }
        (0..enters).for_each(|_| kernel.enter(Wait::No).unwrap());
        stage_is(1);
        (0..enters).for_each(|_| kernel.enter(Wait::No).unwrap());
        let mut to = to;
        kernel.rename(from, to, descriptor);
        if names_twice {
            let third = ConnKey { slot: 7, ..to };
            kernel.rename(to, third, descriptor);
            to = third;
        }
        stage_is(2);
        let mut seen = Seen::default();
        seen.until(&mut kernel, to, |seen| {
            seen.ended.is_some() && seen.sent.is_some() == (sends == 1)
        });
        assert!(resets || seen.bytes == b"last words", "round {round}");
        kernel.close(to, descriptor);
        seen.until(&mut kernel, to, |seen| seen.closed.contains(&to));
        // The old keys first, each once.
        assert_eq!(seen.closed.len(), 2 + usize::from(names_twice));
        assert_eq!(seen.closed.last(), Some(&to));
        assert!(seen.closed.contains(&from) && seen.hung_up.len() <= 1);
    }
    assert_eq!((kernel.counters().stale, kernel.descriptors), (0, 0));
}

fn detached(kernel: &mut Kernel, key: ConnKey, descriptor: Descriptor) -> Handoff {
    kernel.detach(key, descriptor);
    until(kernel, |completion| match completion {
        Completion::Detached { key: of, result } => {
            assert_eq!(of, key);
            Some(result.unwrap())
        }
        Completion::Received { .. } | Completion::ReceiveEnded { .. } => {
            panic!("there was nothing pending")
        }
        _ => None,
    })
}

fn attached(kernel: &mut Kernel, socket: Handoff) -> (Descriptor, Option<SocketAddr>) {
    try_attach(kernel, socket).unwrap()
}

fn try_attach(
    kernel: &mut Kernel,
    socket: Handoff,
) -> io::Result<(Descriptor, Option<SocketAddr>)> {
    kernel.attach(socket, 0xFEED_BEEF_0123);
    until(kernel, |completion| match completion {
        Completion::Attached { token, result } => {
            assert_eq!(token, 0xFEED_BEEF_0123);
            Some(result)
        }
        _ => None,
    })
}

/// Echoes a while, then hands the connection on. None when the client has finished.
fn echo_a_while(
    kernel: &mut Kernel,
    key: ConnKey,
    descriptor: Descriptor,
    dice: &mut Dice,
) -> Option<Handoff> {
    let mut seen = Seen::default();
    let mut echoed = 0;
    let mut sending = false;
    let enough = 1 + dice.below(4000) as usize;
    kernel.receive(key, descriptor);
    loop {
        if seen.bytes.len() >= enough {
            kernel.stop_receiving(key);
        }
        if seen.sent.take().is_some_and(|(_, result)| result.is_ok()) {
            sending = false;
        }
        let rest = &seen.bytes[echoed..];
        if !sending && !rest.is_empty() {
            sending = true;
            kernel.send(key, descriptor, SendBuffer::Copied(rest.to_vec()), 0);
            echoed = seen.bytes.len();
        }
        match &seen.ended {
            Some((_, result)) if !sending && echoed == seen.bytes.len() => {
                let moves = is_canceled(result);
                assert!(moves || result.is_ok(), "{result:?}");
                if !moves {
                    closed(kernel, key, descriptor);
                }
                return moves.then(|| detached(kernel, key, descriptor));
            }
            _ => {}
        }
        until(kernel, |completion| {
            seen.note(completion, key);
            Some(())
        });
    }
}

#[test]
fn a_connection_goes_to_and_fro_between_two_threads() {
    const BYTES: usize = 2_000_000;
    // Few buffers, so that a turn cannot bring much, and many turns are needed.
    let few = Sizes {
        buffer_bytes: 512,
        buffers: 4,
        buffers_posted: 4,
        ..small()
    };
    let (mut first, addr) = kernel(few.clone());
    let (client, descriptor) = connected(&mut first, addr);
    let peer = client.local_addr().unwrap();
    let mut writing = client.try_clone().unwrap();
    let writer = thread::spawn(move || {
        writing.write_all(&pattern(4, BYTES)).unwrap();
        writing.shutdown(Shutdown::Write).unwrap();
    });
    let reader = thread::spawn(move || {
        let mut all = Vec::new();
        let mut client = client;
        client.read_to_end(&mut all).unwrap();
        assert!(all == pattern(4, BYTES), "{} bytes", all.len());
    });
    let (to_second, for_second) = mpsc::channel::<Handoff>();
    let (to_first, for_first) = mpsc::channel::<Handoff>();
    let serve = move |mut kernel: Kernel,
                      mut here: Option<Descriptor>,
                      come: mpsc::Receiver<Handoff>,
                      go: mpsc::Sender<Handoff>,
                      seed| {
        let mut dice = Dice(seed);
        let mut moves = 0;
        for generation in 0.. {
            let descriptor = match here.take() {
                Some(descriptor) => descriptor,
                None => match come.recv() {
                    Ok(socket) => {
                        let (descriptor, of) = attached(&mut kernel, socket);
                        assert_eq!(of, Some(peer));
                        descriptor
                    }
                    Err(_) => break,
                },
            };
            let key = ConnKey {
                slot: 0,
                generation,
            };
            match echo_a_while(&mut kernel, key, descriptor, &mut dice) {
                Some(socket) => go.send(socket).unwrap(),
                None => break,
            }
            assert_eq!(kernel.descriptors, 0);
            moves += 1;
        }
        assert_eq!(kernel.counters().stale, 0);
        moves
    };
    let second = thread::spawn(move || {
        let (kernel, _) = kernel(few);
        serve(kernel, None, for_second, to_first, 2)
    });
    let moves = serve(first, Some(descriptor), for_first, to_second, 1);
    let moves = moves + second.join().unwrap();
    writer.join().unwrap();
    reader.join().unwrap();
    assert!(moves > 200, "{moves}");
}

#[test]
fn a_peer_may_go_at_any_stage_of_a_move() {
    let (mut first, addr) = kernel(small());
    let (mut second, _) = kernel(small());
    for round in 0..160u32 {
        let key = ConnKey {
            slot: 0,
            generation: round,
        };
        let (stage, resets) = (round % 5, round / 5 % 2 == 0);
        let (mut client, descriptor) = connected(&mut first, addr);
        client.write_all(b"first").unwrap();
        let mut seen = Seen::default();
        first.receive(key, descriptor);
        seen.until(&mut first, key, |seen| seen.bytes == b"first");
        client.write_all(b"second").unwrap();
        let mut client = Some(client);
        let mut stage_is = |at| {
            if let Some(client) = client.take_if(|_| at == stage) {
                if resets {
                    reset(&client);
                }
                drop(client);
            }
        };
        stage_is(0);
        first.stop_receiving(key);
        seen.until(&mut first, key, |seen| seen.ended.is_some());
        stage_is(1);
        let socket = detached(&mut first, key, descriptor);
        stage_is(2);
        let (descriptor, _) = attached(&mut second, socket);
        stage_is(3);
        seen.ended = None;
        seen.hung_up.clear();
        second.receive(key, descriptor);
        second.enter(Wait::No).unwrap();
        stage_is(4);
        seen.until(&mut second, key, |seen| {
            seen.ended.is_some() && !seen.hung_up.is_empty()
        });
        if !resets {
            assert_eq!(seen.bytes, b"firstsecond", "round {round}");
        }
        closed(&mut second, key, descriptor);
    }
    assert_eq!((first.descriptors, second.descriptors), (0, 0));
    assert_eq!((first.counters().stale, second.counters().stale), (0, 0));
}

#[test]
fn a_socket_that_nobody_takes_in_is_closed() {
    let (mut kernel, addr) = kernel(small());
    let (mut client, descriptor) = connected(&mut kernel, addr);
    kernel.send(KEY, descriptor, SendBuffer::Copied(b"farewell".to_vec()), 0);
    until(&mut kernel, |completion| {
        matches!(completion, Completion::Sent { .. }).then_some(())
    });
    drop(detached(&mut kernel, KEY, descriptor));
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"farewell");
    // A kernel that goes away with a socket on its way in closes it, too.
    for submitted in [true, false] {
        let (mut client, descriptor) = connected(&mut kernel, addr);
        let socket = detached(&mut kernel, KEY, descriptor);
        let (mut other, _) = super::kernel(small());
        other.attach(socket, 1);
        if submitted {
            other.enter(Wait::No).unwrap();
        }
        drop(other);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn a_full_table_takes_nobody_in_and_loses_no_accept() {
    let (mut kernel, addr) = kernel(Sizes {
        files: 4,
        ..small()
    });
    let clients: Vec<_> = (0..3).map(|_| connected(&mut kernel, addr)).collect();
    let outside = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let far = || {
        let client = TcpStream::connect(outside.local_addr().unwrap()).unwrap();
        (client, Handoff::Socket(outside.accept().unwrap().0.into()))
    };
    // The last descriptor is promised to an accept.
    kernel.accept();
    kernel.enter(Wait::No).unwrap();
    let (mut client, socket) = far();
    let error = try_attach(&mut kernel, socket).unwrap_err();
    assert_eq!(Errno::from_io_error(&error), Some(Errno::NFILE));
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "the socket is closed");
    let (_last, last) = connected(&mut kernel, addr);
    // What the kernel itself says of a full table.
    let (_client, socket) = far();
    let Handoff::Socket(socket) = socket else {
        panic!("a real one")
    };
    kernel.descriptors += 1;
    kernel.ring.adopt(socket, 5);
    let error = until(&mut kernel, |completion| match completion {
        Completion::Attached { token: 5, result } => result.err(),
        _ => None,
    });
    assert_eq!(Errno::from_io_error(&error), Some(Errno::NFILE));
    assert_eq!(kernel.descriptors, 4);
    // With accepts out of the way there is room for whoever comes.
    kernel.stop_accepting();
    closed(&mut kernel, KEY, last);
    let (_client, socket) = far();
    assert_eq!(attached(&mut kernel, socket).0, last);
    assert_eq!((kernel.descriptors, clients.len()), (4, 3));
}

#[test]
fn sockets_that_come_in_make_accepts_careful() {
    let (mut kernel, addr) = kernel(Sizes {
        files: 512,
        ..small()
    });
    let outside = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut clients = Vec::new();
    kernel.accept();
    for token in 0..257 {
        clients.push(TcpStream::connect(outside.local_addr().unwrap()).unwrap());
        kernel.attach(Handoff::Socket(outside.accept().unwrap().0.into()), token);
    }
    assert!(kernel.scarce, "counted when asked for");
    let mut came = 0;
    until(&mut kernel, |completion| match completion {
        Completion::Attached { token, result } => {
            assert_eq!(token, came);
            result.unwrap();
            came += 1;
            (came == 257).then_some(())
        }
        _ => None,
    });
    let (_client, descriptor) = connected(&mut kernel, addr);
    closed(&mut kernel, KEY, descriptor);
}

fn is_nonblocking(socket: &TcpStream) -> bool {
    let info = format!("/proc/self/fdinfo/{}", socket.as_raw_fd());
    let info = std::fs::read_to_string(info).unwrap();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = u32::from_str_radix(flags.unwrap().trim(), 8).unwrap();
    // O_NONBLOCK
    flags & 0o4000 != 0
}

#[test]
fn a_socket_from_outside_is_made_blocking() {
    let (mut kernel, _) = kernel(small());
    let outside = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut client = TcpStream::connect(outside.local_addr().unwrap()).unwrap();
    let (socket, _) = outside.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    let shared = socket.try_clone().unwrap();
    assert!(is_nonblocking(&shared));
    let (descriptor, peer) = attached(&mut kernel, Handoff::Socket(socket.into()));
    assert!(!is_nonblocking(&shared));
    drop(shared);
    assert_eq!(peer, Some(client.local_addr().unwrap()));
    kernel.receive(KEY, descriptor);
    for _ in 0..10 {
        kernel.enter(Wait::No).unwrap();
        assert!(kernel.next().is_none());
    }
    assert_eq!(kernel.counters().rearmed, 0, "it waits");
    client.write_all(b"at last").unwrap();
    drop(client);
    let (bytes, result) = ended(&mut kernel, KEY);
    assert!(bytes == b"at last" && result.is_ok());
    closed(&mut kernel, KEY, descriptor);
}

#[test]
fn a_detach_waits_for_its_shutdown_and_its_rename() {
    let (mut kernel, addr) = kernel(Sizes {
        files: 4,
        ..small()
    });
    for generation in 0..200 {
        let from = ConnKey {
            slot: 0,
            generation,
        };
        let to = ConnKey {
            slot: 1,
            generation,
        };
        let (mut client, descriptor) = connected(&mut kernel, addr);
        kernel.shutdown(from, descriptor, Shutdown::Write);
        kernel.rename(from, to, descriptor);
        kernel.detach(to, descriptor);
        let mut closed_first = false;
        let socket = until(&mut kernel, |completion| match completion {
            Completion::Closed { key } => {
                assert_eq!(key, from);
                closed_first = true;
                None
            }
            Completion::Detached { result, .. } => Some(result.unwrap()),
            _ => None,
        });
        assert!(closed_first);
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "shut down");
        // One direction was, the other one goes on elsewhere.
        let (descriptor, _) = attached(&mut kernel, socket);
        kernel.receive(to, descriptor);
        client.write_all(b"x").unwrap();
        drop(client);
        assert!(matches!(&ended(&mut kernel, to), (bytes, Ok(())) if bytes == b"x"));
        closed(&mut kernel, to, descriptor);
    }
    assert_eq!((kernel.counters().stale, kernel.descriptors), (0, 0));
}
