//! Too much of what is allowed.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ringhall::{Config, Message, Server, WebSocket};

use crate::client::{BINARY, Client, PING, PONG, TEXT, frame, head};
use crate::program::Program;
use crate::{FLAT_KIB, PATIENCE, base, start, until};

/// Runs an attack against a program of its own and asserts that its memory stays flat and others are served meanwhile.
fn flat_under(attack: impl FnOnce(&Program, &mut dyn FnMut())) {
    let program = Program::start(2);
    let mut plain = Client::open(program.address, "/echo");
    let mut socket = Client::socket_io(program.address);
    let mut served = 0;
    let mut serve = || {
        served += 1;
        plain.echo(&format!("served {served}"));
        socket.text(&format!(r#"42/,{served}["rooms"]"#));
        // What the attacker says to everybody comes first.
        while !socket.read_text().starts_with(&format!("43{served}[")) {}
    };
    serve();
    let before = program.peak_kib();
    attack(&program, &mut serve);
    serve();
    let grown = program.peak_kib() - before;
    println!("it grew by {grown} KiB");
    assert!(grown < FLAT_KIB, "it grew by {grown} KiB");
}

/// Sends until the server takes no more, or cuts, but so many bytes at most; `meanwhile` now and then.
fn send_without_reading(
    client: &mut Client,
    bytes: &[u8],
    most: usize,
    meanwhile: &mut dyn FnMut(),
) {
    client
        .stream
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let mut sent = 0;
    for round in 0.. {
        match client.stream.write(bytes) {
            Ok(written) if sent < most => sent += written,
            _ => break,
        }
        // The rest of a frame that was cut would be taken for another's beginning; that is hostile enough, but not meant here.
        if round % 16 == 0 {
            meanwhile();
        }
    }
}

#[test]
fn h6_a_slow_reader_of_broadcasts_is_cut_and_nobody_waits_for_him() {
    flat_under(|program, serve| {
        let slow = Client::socket_io(program.address);
        let mut talker = Client::socket_io(program.address);
        let event = format!(r#"421["news","{}"]"#, "x".repeat(200_000));
        let mut good = Client::socket_io(program.address);
        // 30 MB to each; the slow one's share does not fit anywhere.
        for round in 0..150 {
            talker.text(&event);
            assert_eq!(
                good.read_text().len(),
                event.len() - 1,
                "the event without its id"
            );
            assert!(talker.read_text().starts_with("431["), "acknowledged");
            if round % 20 == 0 {
                serve();
            }
        }
        let mut slow = slow;
        let mut rest = Vec::new();
        let _reset_or_end = slow.stream.read_to_end(&mut rest);
        assert!(rest.len() < 150 * event.len(), "he was cut");
    });
}

#[test]
fn h7_a_peer_that_sends_and_never_reads_is_not_read_any_more() {
    flat_under(|program, serve| {
        let mut plain = Client::open(program.address, "/echo");
        send_without_reading(&mut plain, &frame(BINARY, &[7; 64 * 1024]), 1 << 28, serve);
        let mut small = Client::open(program.address, "/echo");
        let bytes = frame(TEXT, b"x").repeat(8192);
        send_without_reading(&mut small, &bytes, 1 << 26, serve);
        let mut socket = Client::socket_io(program.address);
        let bytes = frame(TEXT, br#"421["rooms"]"#).repeat(4096);
        send_without_reading(&mut socket, &bytes, 1 << 26, serve);
    });
}

#[test]
fn h7_events_that_wait_for_a_slow_handler_are_bounded() {
    flat_under(|program, serve| {
        // With members on both cores, its handler waits for the other core's count, and so do the events behind it.
        let _members: Vec<Client> = (0..6).map(|_| Client::socket_io(program.address)).collect();
        let mut socket = Client::socket_io(program.address);
        let bytes = frame(TEXT, br#"42["x"]"#).repeat(1 << 18);
        send_without_reading(&mut socket, &bytes, 1 << 22, serve);
    });
}

#[test]
fn h8_a_flood_of_pings_is_bounded() {
    flat_under(|program, serve| {
        // Nobody reads the pongs.
        let mut deaf = Client::open(program.address, "/echo");
        let bytes = [frame(PING, b""), frame(PING, &[7; 125])]
            .concat()
            .repeat(1000);
        send_without_reading(&mut deaf, &bytes, 1 << 26, serve);
        // Or somebody does: each is answered, in order.
        let mut client = Client::open(program.address, "/echo");
        for round in 0..50 {
            let pings = (0..500_u32).flat_map(|n| frame(PING, &n.to_be_bytes()));
            client.send(&pings.collect::<Vec<_>>());
            for n in 0..500_u32 {
                assert_eq!(client.read_frame(), (PONG, n.to_be_bytes().to_vec()));
            }
            if round % 10 == 0 {
                serve();
            }
        }
        // Over Socket.IO's WebSocket, too.
        let mut socket = Client::socket_io(program.address);
        send_without_reading(&mut socket, &bytes, 1 << 25, serve);
    });
}

#[test]
fn h9_floods_of_fragments_and_tiny_segments_are_bounded() {
    flat_under(|program, serve| {
        // Empty fragments bring nothing, and end.
        let mut client = Client::open(program.address, "/echo");
        let begun = frame(0x01, b"x");
        let empty = frame(0x00, b"").repeat(10_000);
        client.send(&[begun.clone(), empty].concat());
        assert_eq!(client.read_end().code, Some(1008));
        serve();
        // 65,536 of them, as in Autobahn 9.3.1 and 9.4.1, are fine when each brings something; so are longer ones.
        for length in [1, 64] {
            let mut client = Client::open(program.address, "/echo");
            let count = 65_536 / length;
            let more = frame(0x00, &vec![b'y'; length]).repeat(count - 1);
            client.send(&[frame(0x01, &vec![b'y'; length]), more, frame(0x80, b"")].concat());
            assert_eq!(client.read_frame(), (TEXT, vec![b'y'; 65_536]));
            serve();
        }
        // 500 messages that never end, of fragments of one byte: what they hold counts, not how it came.
        let mut many: Vec<Client> = (0..500)
            .map(|_| Client::open(program.address, "/echo"))
            .collect();
        let ones = [begun, frame(0x00, b"y").repeat(2000)].concat();
        for client in &mut many {
            client.send(&ones);
        }
        serve();
        // Frames byte by byte.
        let mut drip = Client::open(program.address, "/echo");
        for _ in 0..50 {
            for byte in frame(TEXT, b"drip by drip") {
                drip.send(&[byte]);
            }
            assert_eq!(drip.read_text(), "drip by drip");
        }
        serve();
    });
}

/// Members of a room that read what they are told, on a thread of their own.
fn readers(
    address: std::net::SocketAddr,
    path: &str,
    count: usize,
    stop: Arc<AtomicBool>,
) -> std::thread::JoinHandle<()> {
    let mut clients: Vec<Client> = (0..count).map(|_| Client::open(address, path)).collect();
    for client in &mut clients {
        client.stream.set_nonblocking(true).unwrap();
    }
    std::thread::spawn(move || {
        let mut piece = vec![0; 256 * 1024];
        while !stop.load(Ordering::Relaxed) {
            let mut idle = true;
            for client in &mut clients {
                match client.stream.read(&mut piece) {
                    Ok(0) => panic!("a good reader was cut"),
                    Ok(_) => idle = false,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
                }
            }
            if idle {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    })
}

#[test]
fn h28_one_client_with_a_giant_fan_out_does_not_starve_the_others() {
    const FRAMES: usize = 2000;
    let builder = Server::builder()
        .config(base())
        .websocket("/echo", |socket: &WebSocket, message: Message<'_>| {
            socket.send(message)
        })
        .websocket("/all", |socket: &WebSocket, message: Message<'_>| {
            socket.everyone().send(message)
        });
    let server = start(builder);
    let stop = Arc::new(AtomicBool::new(false));
    let readers = readers(server.address(), "/all", 50, stop.clone());
    let mut polite = Client::open(server.address(), "/echo");
    let bursts = Arc::new(AtomicUsize::new(0));
    let attacker = {
        let (address, stop, bursts) = (server.address(), stop.clone(), bursts.clone());
        std::thread::spawn(move || {
            let mut client = Client::open(address, "/all");
            let mut giant = Client::open(address, "/echo");
            let burst = frame(TEXT, b"x").repeat(FRAMES);
            let large = frame(BINARY, &vec![7; 1 << 20]);
            let mut back = vec![0; 3 * FRAMES];
            while !stop.load(Ordering::Relaxed) {
                client.send(&burst);
                client.stream.read_exact(&mut back).expect("its own copies");
                giant.send(&large);
                assert_eq!(giant.read_frame().1.len(), 1 << 20);
                bursts.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    until("the attack has begun", || bursts.load(Ordering::SeqCst) > 0);
    for n in 0..20 {
        let before = bursts.load(Ordering::SeqCst);
        polite.echo(&format!("served {n}"));
        let meanwhile = bursts.load(Ordering::SeqCst) - before;
        assert!(meanwhile <= 3, "an echo waited for {meanwhile} bursts");
    }
    stop.store(true, Ordering::Relaxed);
    attacker.join().unwrap();
    readers.join().unwrap();
}

/// One receiver of a broadcast, to its end: what each sender said comes in order and without a gap, then the Close.
fn follow(mut client: Client, heard: &AtomicUsize) {
    let mut next: [Option<u64>; 2] = [None; 2];
    loop {
        let (first, payload) = client.read_frame();
        if first == 0x88 {
            assert_eq!(payload.get(..2), Some(&1001_u16.to_be_bytes()[..]));
            assert!(
                client.try_frame().expect("FIN").is_none(),
                "nothing follows a Close"
            );
            return;
        }
        let text = String::from_utf8(payload).unwrap();
        let numbers = text
            .strip_prefix(r#"42["n","#)
            .and_then(|text| text.strip_suffix(']'));
        let (sender, number) = numbers
            .and_then(|text| text.split_once(','))
            .expect("an event");
        let (sender, number): (usize, u64) = (sender.parse().unwrap(), number.parse().unwrap());
        let expected = next[sender].replace(number + 1);
        assert!(
            expected.is_none_or(|expected| expected == number),
            "{expected:?}, but {text}"
        );
        heard.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn h27_a_shutdown_in_the_middle_of_broadcasts_keeps_order_and_ends() {
    const CLIENTS: usize = 6;
    let server = start(Server::builder().config(Config {
        cores: 2,
        shutdown_timeout: PATIENCE,
        ..base()
    }));
    let heard: Arc<[AtomicUsize; CLIENTS]> = Arc::default();
    let followers: Vec<_> = (0..CLIENTS)
        .map(|index| {
            let (client, heard) = (Client::socket_io(server.address()), heard.clone());
            std::thread::spawn(move || follow(client, &heard[index]))
        })
        .collect();
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..2_usize)
        .map(|sender| {
            let (server, stop, heard) = (server.0.clone(), stop.clone(), heard.clone());
            std::thread::spawn(move || {
                let mut number = 0_usize;
                while !stop.load(Ordering::SeqCst) {
                    // Not so far ahead that anybody is cut for being slow.
                    let slowest = heard.iter().map(|heard| heard.load(Ordering::SeqCst)).min();
                    if 2 * number < slowest.unwrap_or(0) + 1000 {
                        server.emit("n", (sender, number));
                        number += 1;
                    }
                }
                // To a server that has ended: neither a panic nor a wait.
                for number in 0..10_000 {
                    server.emit("n", (sender, number));
                }
            })
        })
        .collect();
    until("everybody hears something", || {
        heard.iter().all(|heard| heard.load(Ordering::SeqCst) > 500)
    });
    server.0.shutdown();
    for follower in followers {
        follower.join().expect("order, no gap, and a Close");
    }
    server.0.wait().unwrap();
    stop.store(true, Ordering::SeqCst);
    for sender in senders {
        sender.join().expect("no panic");
    }
}

#[test]
fn giant_messages_one_after_the_other_leave_nothing() {
    flat_under(|program, serve| {
        // 16 MiB is the limit: one at a time is held, and given back.
        let whole = vec![b'z'; 16 << 20];
        for _ in 0..3 {
            let mut client = Client::open(program.address, "/echo");
            client.send(&head(BINARY, whole.len() as u64));
            // Unfinished, and left.
            client.send(&whole[..8 << 20]);
            serve();
        }
    });
}
