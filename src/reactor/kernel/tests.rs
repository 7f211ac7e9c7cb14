//! The real kernel, on loopback. Clients are ordinary blocking sockets in threads of their own.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::mpsc;
use std::thread;

use super::*;
use crate::reactor::listen::Listeners;

/// A patience that only a failing test uses up.
const PATIENCE_MS: u64 = 20_000;

fn small() -> Sizes {
    Sizes {
        submissions: 64,
        completions: 256,
        files: 2048,
        buffers: 16,
        buffers_posted: 16,
        buffer_bytes: 4096,
    }
}

fn kernel(sizes: Sizes) -> (Kernel, SocketAddr) {
    let (kernel, addrs) = kernel_at(1, sizes);
    (kernel, addrs[0])
}

fn kernel_at(addresses: usize, sizes: Sizes) -> (Kernel, Vec<SocketAddr>) {
    let any = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
    let mut listeners = Listeners::bind(&vec![any; addresses], 1).unwrap();
    let config = Config {
        sizes,
        listeners: listeners.cores.remove(0),
        waker: Waker::new().unwrap(),
        clock: Clock::start(),
    };
    (Kernel::new(config).unwrap(), listeners.addrs)
}

/// Enters until a completion is wanted, and gives that.
fn until<T>(kernel: &mut Kernel, mut wanted: impl FnMut(Completion<Buffer>) -> Option<T>) -> T {
    let give_up = kernel.now_ms() + PATIENCE_MS;
    loop {
        while let Some(completion) = kernel.next() {
            if let Some(found) = wanted(completion) {
                return found;
            }
        }
        let now = kernel.now_ms();
        assert!(now < give_up, "waited in vain");
        kernel.enter(Wait::Ms(give_up - now)).unwrap();
    }
}

#[test]
fn a_connection_says_where_it_was_accepted() {
    let (mut kernel, addrs) = kernel_at(3, small());
    kernel.accept();
    for wanted in [2, 0, 1, 1, 2] {
        let _client = TcpStream::connect(addrs[wanted]).unwrap();
        let listener = until(&mut kernel, |completion| match completion {
            Completion::Accepted { listener, .. } => Some(listener),
            _ => None,
        });
        assert_eq!(listener, wanted);
    }
}

fn accepted(kernel: &mut Kernel) -> (Descriptor, Option<SocketAddr>) {
    until(kernel, |completion| match completion {
        Completion::Accepted {
            descriptor, peer, ..
        } => Some((descriptor, peer)),
        _ => None,
    })
}

fn connected(kernel: &mut Kernel, addr: SocketAddr) -> (TcpStream, Descriptor) {
    let client = TcpStream::connect(addr).unwrap();
    kernel.accept();
    let (descriptor, peer) = accepted(kernel);
    assert_eq!(peer, Some(client.local_addr().unwrap()));
    (client, descriptor)
}

fn ended(kernel: &mut Kernel, key: ConnKey) -> (Vec<u8>, io::Result<()>) {
    let mut bytes = Vec::new();
    let result = until(kernel, |completion| match completion {
        Completion::Received { key: of, buffer } => {
            assert_eq!(of, key);
            assert!(!buffer.is_empty());
            bytes.extend_from_slice(&buffer);
            None
        }
        Completion::ReceiveEnded { key: of, result } => {
            assert_eq!(of, key);
            Some(result)
        }
        _ => None,
    });
    (bytes, result)
}

fn closed(kernel: &mut Kernel, key: ConnKey, descriptor: Descriptor) {
    kernel.close(key, descriptor);
    until(kernel, |completion| match completion {
        Completion::Closed { key: of } => {
            assert_eq!(of, key);
            Some(())
        }
        _ => None,
    });
}

fn reset(client: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(client, Some(Duration::ZERO)).unwrap();
}

const KEY: ConnKey = ConnKey {
    slot: 0,
    generation: 1,
};

/// An echo server as a shard would write it: one receive, one send, a carry in between, and an end in steps.
struct Echo {
    kernel: Kernel,
    conns: Vec<EchoConn>,
    vacant: Vec<u32>,
    open: usize,
    accepted: usize,
    closed: usize,
    next: VecDeque<Completion<Buffer>>,
    /// One is taken for each connection that was closed, so that clients do not run ahead.
    tokens: Option<mpsc::Receiver<()>>,
}

#[derive(Default)]
struct EchoConn {
    generation: u32,
    descriptor: u32,
    queued: Vec<u8>,
    sending: bool,
    receiving: bool,
    broken: bool,
    closing: bool,
}

impl Echo {
    fn new(kernel: Kernel) -> Echo {
        let (conns, vacant, next) = (Vec::new(), Vec::new(), VecDeque::new());
        Echo {
            kernel,
            conns,
            vacant,
            open: 0,
            accepted: 0,
            closed: 0,
            next,
            tokens: None,
        }
    }

    fn run_until_closed(&mut self, count: usize) {
        let give_up = self.kernel.now_ms() + 2 * PATIENCE_MS;
        self.kernel.accept();
        while self.closed < count {
            let now = self.kernel.now_ms();
            assert!(
                now < give_up,
                "{} accepted, {} closed; {:?}",
                self.accepted,
                self.closed,
                self.kernel.counters()
            );
            self.kernel.enter(Wait::Ms(give_up - now)).unwrap();
            // All first, then one after the other: buffers are held across completions, as in a shard.
            while let Some(completion) = self.kernel.next() {
                self.next.push_back(completion);
            }
            while let Some(completion) = self.next.pop_front() {
                self.handle(completion);
            }
        }
    }

    fn handle(&mut self, completion: Completion<Buffer>) {
        match completion {
            Completion::Accepted { descriptor, .. } => self.start(descriptor),
            Completion::Received { key, buffer } => {
                let conn = self.conn(key);
                assert!(conn.receiving);
                conn.queued.extend_from_slice(&buffer);
                self.flush(key);
            }
            Completion::ReceiveEnded { key, result } => {
                let conn = self.conn(key);
                conn.receiving = false;
                conn.broken |= result.is_err();
                self.flush(key);
            }
            Completion::Sent {
                key,
                buffer,
                from,
                result,
            } => {
                let conn = self.conn(key);
                assert!(conn.sending);
                conn.sending = false;
                match result {
                    Ok(sent) => {
                        assert_eq!(from + sent, buffer.bytes().len(), "the kernel sends all")
                    }
                    Err(_) => conn.broken = true,
                }
                self.flush(key);
            }
            Completion::Closed { key } => {
                self.conns[key.slot as usize].closing = false;
                self.vacant.push(key.slot);
                self.open -= 1;
                self.closed += 1;
                if let Some(tokens) = &self.tokens {
                    tokens.recv().unwrap();
                }
            }
            Completion::AcceptFailed { error } => panic!("accept failed: {error}"),
            Completion::Detached { .. } | Completion::Attached { .. } => panic!("nobody moves"),
            Completion::Woken | Completion::HungUp { .. } => {}
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
        let generation = (conn.generation + 1) % ConnKey::GENERATIONS;
        *conn = EchoConn {
            generation,
            descriptor: descriptor.0,
            receiving: true,
            ..EchoConn::default()
        };
        self.kernel
            .receive(ConnKey { slot, generation }, descriptor);
        self.open += 1;
        self.accepted += 1;
    }

    fn flush(&mut self, key: ConnKey) {
        let conn = &mut self.conns[key.slot as usize];
        let descriptor = Descriptor(conn.descriptor);
        if !conn.broken && !conn.sending && !conn.queued.is_empty() {
            conn.sending = true;
            let bytes = std::mem::take(&mut conn.queued);
            self.kernel
                .send(key, descriptor, SendBuffer::Copied(bytes), 0);
        } else if !conn.sending && !conn.receiving && !conn.closing {
            conn.closing = true;
            // A shutdown right before the close: the close has to wait for it.
            self.kernel.shutdown(key, descriptor, Shutdown::Both);
            self.kernel.close(key, descriptor);
        }
    }
}

/// Bytes that are different for every connection and every place.
fn pattern(id: u32, len: usize) -> Vec<u8> {
    (0..len as u32)
        .map(|at| (at.wrapping_mul(31) ^ id.wrapping_mul(2_654_435_761) >> 7) as u8)
        .collect()
}

#[test]
fn a_thousand_clients_and_four_buffers() {
    const CLIENTS: u32 = 1000;
    const BYTES: usize = 3000;
    let sizes = Sizes {
        buffers: 4,
        buffers_posted: 4,
        buffer_bytes: 512,
        completions: 64,
        ..small()
    };
    let (kernel, addr) = kernel(sizes);
    let clients = thread::spawn(move || {
        let mut streams: Vec<_> = (0..CLIENTS)
            .map(|_| TcpStream::connect(addr).unwrap())
            .collect();
        for round in 0..3 {
            for (id, stream) in streams.iter_mut().enumerate() {
                stream
                    .write_all(&pattern(id as u32 + round, BYTES))
                    .unwrap();
            }
            for (id, stream) in streams.iter_mut().enumerate() {
                let mut echoed = vec![0; BYTES];
                stream.read_exact(&mut echoed).unwrap();
                assert!(
                    echoed == pattern(id as u32 + round, BYTES),
                    "client {id}, round {round}"
                );
            }
        }
        for mut stream in streams {
            stream.shutdown(Shutdown::Write).unwrap();
            assert_eq!(
                stream.read(&mut [0]).unwrap(),
                0,
                "nothing more than the echo"
            );
        }
    });
    let mut echo = Echo::new(kernel);
    echo.run_until_closed(CLIENTS as usize);
    clients.join().unwrap();
    let counters = echo.kernel.counters();
    assert!(
        counters.starved > 0,
        "four buffers are too few: {counters:?}"
    );
    // Every receive that starves was armed for a buffer that was there: no busy loop.
    let receives = u64::from(CLIENTS) * 3 * (BYTES as u64 / 512 + 1);
    assert!(counters.starved < receives * 4, "{counters:?}");
    assert_eq!(counters.stale, 0);
    assert_eq!(
        (
            echo.open,
            echo.kernel.buffers_lent(),
            echo.kernel.ring.sends_in_flight()
        ),
        (0, 0, 0)
    );
}

#[test]
fn twenty_thousand_connections_come_and_go_through_few_descriptors() {
    const CYCLES: u32 = 20_000;
    // Fewer descriptors than cycles by far: one that leaked would be missed.
    let (kernel, addr) = kernel(Sizes {
        files: 256,
        ..small()
    });
    let (token, tokens) = mpsc::sync_channel(200);
    let base = open_files();
    let clients = thread::spawn(move || {
        for cycle in 0..CYCLES {
            token.send(()).unwrap();
            let mut stream = TcpStream::connect(addr).unwrap();
            if cycle % 3 != 0 {
                stream.write_all(&pattern(cycle, 200)).unwrap();
            }
            if cycle % 7 == 0 {
                let mut echoed = vec![0; if cycle % 3 != 0 { 200 } else { 0 }];
                stream.read_exact(&mut echoed).unwrap();
            }
            if cycle % 5 != 0 {
                reset(&stream);
            }
        }
    });
    let mut echo = Echo::new(kernel);
    echo.tokens = Some(tokens);
    echo.run_until_closed(CYCLES as usize);
    clients.join().unwrap();
    assert_eq!((echo.open, echo.accepted), (0, CYCLES as usize));
    assert_eq!(
        (
            echo.kernel.buffers_lent(),
            echo.kernel.ring.sends_in_flight()
        ),
        (0, 0)
    );
    assert_eq!(echo.kernel.counters().stale, 0);
    // Other tests run beside this one; a leak would be in the thousands.
    assert!(
        open_files() < base + 500,
        "{} files were open before, {} are now",
        base,
        open_files()
    );
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn fin_and_reset_are_told_apart() {
    let (mut kernel, addr) = kernel(small());
    let (mut client, descriptor) = connected(&mut kernel, addr);
    kernel.receive(KEY, descriptor);
    client.write_all(b"last words").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let (bytes, result) = ended(&mut kernel, KEY);
    assert_eq!(
        (bytes.as_slice(), result.is_ok()),
        (&b"last words"[..], true)
    );
    closed(&mut kernel, KEY, descriptor);

    let key = ConnKey {
        generation: 2,
        ..KEY
    };
    let (client, descriptor) = connected(&mut kernel, addr);
    kernel.receive(key, descriptor);
    kernel.enter(Wait::No).unwrap();
    reset(&client);
    drop(client);
    let (bytes, result) = ended(&mut kernel, key);
    assert!(bytes.is_empty());
    assert_eq!(result.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    closed(&mut kernel, key, descriptor);
}

/// Four ways for bytes, a send and a reset to meet.
#[test]
fn a_reset_in_between_is_not_slept_through() {
    let (mut kernel, addr) = kernel(small());
    for generation in 0..400u32 {
        let key = ConnKey {
            slot: 0,
            generation,
        };
        let (mut client, descriptor) = connected(&mut kernel, addr);
        let (bytes_first, send_between) = (generation & 1 != 0, generation & 2 != 0);
        kernel.receive(key, descriptor);
        if bytes_first {
            kernel.enter(Wait::No).unwrap();
        }
        // All of it happens before the kernel runs the receive.
        client.write_all(b"last words").unwrap();
        if send_between {
            kernel.send(key, descriptor, SendBuffer::Copied(vec![0; 10]), 0);
        }
        reset(&client);
        drop(client);
        let (mut sending, mut receiving) = (send_between, true);
        until(&mut kernel, |completion| {
            match completion {
                Completion::Sent { .. } => sending = false,
                Completion::ReceiveEnded { .. } => receiving = false,
                _ => {}
            }
            (!sending && !receiving).then_some(())
        });
        closed(&mut kernel, key, descriptor);
    }
    assert_eq!(kernel.counters().stale, 0);
}

#[test]
fn stopping_and_receiving_again_loses_nothing() {
    let (mut kernel, addr) = kernel(Sizes {
        buffer_bytes: 64,
        buffers: 4,
        buffers_posted: 4,
        ..small()
    });
    let (mut client, descriptor) = connected(&mut kernel, addr);
    let sent = pattern(9, 200_000);
    let copy = sent.clone();
    let writer = thread::spawn(move || {
        client.write_all(&copy).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        client
    });
    let mut got = Vec::new();
    let mut stops = 0;
    loop {
        kernel.receive(KEY, descriptor);
        until(&mut kernel, |completion| match completion {
            Completion::Received { buffer, .. } => {
                got.extend_from_slice(&buffer);
                Some(())
            }
            Completion::ReceiveEnded { .. } => panic!("the end comes once, after the bytes"),
            _ => None,
        });
        kernel.stop_receiving(KEY);
        stops += 1;
        let (bytes, result) = ended(&mut kernel, KEY);
        got.extend_from_slice(&bytes);
        match result {
            Ok(()) => break,
            Err(error) => assert_eq!(error.raw_os_error(), Some(Errno::CANCELED.raw_os_error())),
        }
        if got.len() == sent.len() {
            kernel.receive(KEY, descriptor);
            assert!(matches!(ended(&mut kernel, KEY), (rest, Ok(())) if rest.is_empty()));
            break;
        }
    }
    assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
    assert!(stops > 100, "{stops}");
    drop(writer.join().unwrap());
    closed(&mut kernel, KEY, descriptor);
    assert_eq!(kernel.counters().stale, 0);
}

#[test]
fn a_starved_receive_can_be_stopped_and_goes_on_with_a_buffer() {
    let (mut kernel, addr) = kernel(Sizes {
        buffer_bytes: 64,
        buffers: 1,
        buffers_posted: 1,
        ..small()
    });
    let (mut client, descriptor) = connected(&mut kernel, addr);
    client.write_all(&[7; 128]).unwrap();
    kernel.receive(KEY, descriptor);
    let held = until(&mut kernel, |completion| match completion {
        Completion::Received { buffer, .. } => Some(buffer),
        _ => None,
    });
    while kernel.counters().starved == 0 {
        kernel.enter(Wait::No).unwrap();
        assert!(kernel.next().is_none());
    }
    for _ in 0..100 {
        kernel.enter(Wait::No).unwrap();
        assert!(kernel.next().is_none());
    }
    assert_eq!(
        kernel.counters().starved,
        1,
        "not armed again before there is a buffer"
    );
    kernel.stop_receiving(KEY);
    let (bytes, result) = ended(&mut kernel, KEY);
    assert!(bytes.is_empty() && result.is_err());
    kernel.receive(KEY, descriptor);
    kernel.enter(Wait::Ms(1)).unwrap();
    assert_eq!(*held, [7; 64]);
    drop(held);
    let rest = until(&mut kernel, |completion| match completion {
        Completion::Received { buffer, .. } => Some(buffer.to_vec()),
        _ => None,
    });
    assert_eq!(rest, [7; 64]);
}

#[test]
fn a_large_send_is_sent_whole_and_given_back() {
    let (mut kernel, addr) = kernel(small());
    let (mut client, descriptor) = connected(&mut kernel, addr);
    let bytes = pattern(3, 8 << 20);
    let expected = bytes.clone();
    let reader = thread::spawn(move || {
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        assert!(all == expected[5..], "{} bytes", all.len());
    });
    kernel.send(
        KEY,
        descriptor,
        SendBuffer::Shared(bytes::Bytes::from(bytes.clone())),
        5,
    );
    let sent = until(&mut kernel, |completion| match completion {
        Completion::Sent {
            key,
            buffer,
            from,
            result,
        } => {
            assert!(key == KEY && from == 5 && buffer.bytes() == bytes);
            Some(result.unwrap())
        }
        _ => None,
    });
    assert_eq!(sent, bytes.len() - 5);
    kernel.shutdown(KEY, descriptor, Shutdown::Write);
    kernel.enter(Wait::No).unwrap();
    reader.join().unwrap();
    closed(&mut kernel, KEY, descriptor);
}

#[test]
fn a_shutdown_ends_what_is_pending() {
    let (mut kernel, addr) = kernel(small());
    let (client, descriptor) = connected(&mut kernel, addr);
    kernel.receive(KEY, descriptor);
    // The client reads nothing, so this waits for room.
    kernel.send(KEY, descriptor, SendBuffer::Copied(vec![1; 64 << 20]), 0);
    kernel.enter(Wait::No).unwrap();
    kernel.shutdown(KEY, descriptor, Shutdown::Both);
    let (mut received, mut sent) = (false, false);
    until(&mut kernel, |completion| {
        match completion {
            Completion::ReceiveEnded { .. } => received = true,
            Completion::Sent { buffer, .. } => sent = buffer.bytes().len() == 64 << 20,
            _ => {}
        }
        (received && sent).then_some(())
    });
    closed(&mut kernel, KEY, descriptor);
    drop(client);
}

#[test]
fn a_close_waits_for_its_shutdown() {
    let (mut kernel, addr) = kernel(Sizes {
        files: 4,
        ..small()
    });
    for generation in 0..200 {
        let key = ConnKey {
            slot: 0,
            generation,
        };
        let (mut client, descriptor) = connected(&mut kernel, addr);
        kernel.shutdown(key, descriptor, Shutdown::Both);
        closed(&mut kernel, key, descriptor);
        // The descriptor is used again at once, by a connection that must not notice.
        let (mut next, other) = connected(&mut kernel, addr);
        let key = ConnKey {
            slot: 1,
            generation,
        };
        kernel.receive(key, other);
        next.write_all(b"x").unwrap();
        until(&mut kernel, |completion| match completion {
            Completion::Received { key: of, .. } => {
                assert_eq!(of, key);
                Some(())
            }
            Completion::ReceiveEnded { .. } => {
                panic!("round {generation}: shut down with another's shutdown")
            }
            _ => None,
        });
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        drop(next);
        ended(&mut kernel, key).1.unwrap();
        closed(&mut kernel, key, other);
    }
    assert_eq!(kernel.counters().stale, 0);
}

#[test]
fn threads_and_peers_wake_a_sleeping_core() {
    let (mut kernel, _) = kernel(small());
    let waker = kernel.waker();
    let woken = |completion| matches!(completion, Completion::Woken).then_some(());
    let (ask, asked) = mpsc::channel();
    let thread = thread::spawn(move || {
        while asked.recv().is_ok() {
            waker.wake();
        }
    });
    for _ in 0..1000 {
        ask.send(()).unwrap();
        kernel.enter(Wait::Forever).unwrap();
        until(&mut kernel, woken);
    }
    drop(ask);
    thread.join().unwrap();
    kernel.set_peers(vec![kernel.waker()]);
    for _ in 0..10 {
        kernel.wake(0);
        kernel.wake(0);
        until(&mut kernel, woken);
        kernel.enter(Wait::No).unwrap();
        assert!(kernel.next().is_none(), "two wakes before one look are one");
    }
}

#[test]
fn a_timed_wait_ends_by_itself() {
    let (mut kernel, _) = kernel(small());
    kernel.enter(Wait::No).unwrap();
    let start = kernel.now_ms();
    kernel.enter(Wait::Ms(30)).unwrap();
    // Timing does not decide: the wait may end early for a signal, but it does end.
    assert!(kernel.next().is_none());
    assert!(kernel.now_ms() >= start);
    kernel.enter(Wait::Ms(0)).unwrap();
}

#[test]
fn a_full_table_fails_the_accept_and_accepting_resumes() {
    let (mut kernel, addr) = kernel(Sizes {
        files: 4,
        ..small()
    });
    kernel.accept();
    let mut clients: Vec<_> = (0..5).map(|_| TcpStream::connect(addr).unwrap()).collect();
    let mut open = Vec::new();
    let error = until(&mut kernel, |completion| match completion {
        Completion::Accepted { descriptor, .. } => {
            open.push(descriptor);
            None
        }
        Completion::AcceptFailed { error } => Some(error),
        _ => None,
    });
    assert!(
        matches!(
            Errno::from_io_error(&error),
            Some(Errno::NFILE | Errno::MFILE)
        ),
        "{error}"
    );
    while open.len() < 4 {
        open.push(accepted(&mut kernel).0);
    }
    clients.push(TcpStream::connect(addr).unwrap());
    kernel.enter(Wait::No).unwrap();
    assert!(kernel.next().is_none(), "not armed any more");
    // The others are served meanwhile.
    kernel.receive(KEY, open[0]);
    let local = clients[0].local_addr().unwrap();
    clients
        .iter_mut()
        .take(4)
        .for_each(|client| client.write_all(b"still here").unwrap());
    until(&mut kernel, |completion| match completion {
        Completion::Received { buffer, .. } => {
            assert_eq!(*buffer, *b"still here");
            Some(())
        }
        _ => None,
    });
    let other = ConnKey {
        slot: 1,
        generation: 0,
    };
    closed(&mut kernel, other, open[1]);
    kernel.accept();
    let (again, peer) = accepted(&mut kernel);
    assert_eq!(again, open[1]);
    assert!(peer.is_some() && peer != Some(local));
}

#[test]
fn no_more_connections_after_stop_accepting() {
    let (mut kernel, addr) = kernel(small());
    let (_client, _) = connected(&mut kernel, addr);
    kernel.stop_accepting();
    while kernel
        .listeners
        .iter()
        .any(|listener| listener.fd.is_some())
    {
        kernel.enter(Wait::Ms(PATIENCE_MS)).unwrap();
        let completion = kernel.next();
        assert!(completion.is_none(), "{completion:?}");
    }
    assert!(TcpStream::connect(addr).is_err());
    kernel.accept();
    kernel.enter(Wait::No).unwrap();
    assert!(kernel.next().is_none());
}

#[test]
fn dropped_with_operations_in_flight() {
    for submitted in [true, false] {
        let (mut kernel, addr) = kernel(small());
        let mut clients = HashMap::new();
        for slot in 0..20 {
            let (client, descriptor) = connected(&mut kernel, addr);
            let key = ConnKey {
                slot,
                generation: 0,
            };
            kernel.receive(key, descriptor);
            kernel.send(key, descriptor, SendBuffer::Copied(vec![1; 8 << 20]), 0);
            clients.insert(slot, client);
        }
        clients
            .values_mut()
            .for_each(|client| client.write_all(b"to be received").unwrap());
        if submitted {
            kernel.enter(Wait::No).unwrap();
        }
        let held = until(&mut kernel, |completion| match completion {
            Completion::Received { buffer, .. } => Some(buffer),
            _ => None,
        });
        assert!(kernel.ring.tear_down(), "the kernel let everything go");
        drop(kernel);
        assert_eq!(*held, *b"to be received", "a held buffer outlives its ring");
        assert!(
            TcpStream::connect(addr).is_err(),
            "the listener is closed when drop returns"
        );
        for client in clients.values_mut() {
            // FIN or RST: closed, not forgotten.
            let _ = client.read_to_end(&mut Vec::new());
        }
    }
}

#[test]
fn a_full_submission_queue_and_a_full_completion_queue() {
    let (kernel, addr) = kernel(Sizes {
        submissions: 2,
        completions: 4,
        ..small()
    });
    let clients = thread::spawn(move || {
        let mut streams: Vec<_> = (0..100)
            .map(|_| TcpStream::connect(addr).unwrap())
            .collect();
        for (id, stream) in streams.iter_mut().enumerate() {
            stream.write_all(&pattern(id as u32, 10_000)).unwrap();
        }
        for (id, stream) in streams.iter_mut().enumerate() {
            let mut echoed = vec![0; 10_000];
            stream.read_exact(&mut echoed).unwrap();
            assert!(echoed == pattern(id as u32, 10_000), "client {id}");
        }
    });
    let mut echo = Echo::new(kernel);
    echo.run_until_closed(100);
    clients.join().unwrap();
    assert_eq!(echo.kernel.counters().stale, 0);
}

#[test]
fn waiting_through_tokio_misses_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (mut kernel, addr) = kernel(small());
    assert!(kernel.ready().is_err(), "no runtime, no waiting");
    let (mut client, descriptor) = connected(&mut kernel, addr);
    let waker = kernel.waker();
    let (ask, asked) = mpsc::channel();
    let thread = thread::spawn(move || {
        for turn in asked {
            if turn % 2 == 0 {
                waker.wake()
            } else {
                client.write_all(b"x").unwrap()
            }
        }
    });
    kernel.receive(KEY, descriptor);
    runtime.block_on(async {
        for turn in 0..2000u32 {
            ask.send(turn).unwrap();
            let patience =
                tokio::time::timeout(Duration::from_millis(PATIENCE_MS), heard(&mut kernel));
            let woken = patience
                .await
                .unwrap_or_else(|_| panic!("turn {turn} was missed"));
            assert_eq!(woken, turn % 2 == 0);
        }
    });
    drop(ask);
    thread.join().unwrap();
}

/// Waits through tokio for one wake (true) or one received byte.
async fn heard(kernel: &mut Kernel) -> bool {
    loop {
        kernel.enter(Wait::No).unwrap();
        match kernel.next() {
            Some(Completion::Woken) => return true,
            Some(Completion::Received { buffer, .. }) => {
                assert_eq!(*buffer, *b"x");
                return false;
            }
            Some(other) => panic!("{other:?}"),
            None => kernel.ready().unwrap().await.unwrap(),
        }
    }
}

#[test]
fn completions_that_nobody_knows_are_counted() {
    let (mut kernel, addr) = kernel(small());
    let (mut client, descriptor) = connected(&mut kernel, addr);
    kernel.ring.receive(descriptor.0, 77, 5);
    kernel.ring.shutdown(descriptor.0, Shutdown::Write, 0, 9);
    client.write_all(b"for nobody").unwrap();
    while kernel.counters().stale < 2 {
        kernel.enter(Wait::Ms(PATIENCE_MS)).unwrap();
        let completion = kernel.next();
        assert!(completion.is_none(), "{completion:?}");
    }
    assert_eq!(kernel.buffers_lent(), 0);
}

mod moving;
