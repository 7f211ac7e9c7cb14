//! `floor` and `load` against each other and against plain sockets.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    reason = "a test's helpers may panic as the test may"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};

struct Floor(Child, String);

impl Floor {
    fn start(arguments: &[&str]) -> Self {
        Self::of(env!("CARGO_BIN_EXE_floor"), arguments)
    }

    fn of(program: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().rsplit([' ', '/']).next().unwrap().to_owned();
        Self(child, address)
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// More bytes than all buffers hold, from more connections than there are buffers, and nobody reads before all is
/// written: sends wait for each other, receives run out of buffers, and still every byte comes back in its place.
#[test]
fn echo_keeps_every_byte_in_order() {
    let floor = Floor::start(&[]);
    let pattern = |n: usize| -> Vec<u8> { (0..60_000).map(|i| (i * 7 + n * 31) as u8).collect() };
    for _reconnect in 0..2 {
        let mut peers: Vec<TcpStream> = (0..200)
            .map(|_| TcpStream::connect(&floor.1).unwrap())
            .collect();
        for (n, peer) in peers.iter_mut().enumerate() {
            peer.write_all(&pattern(n)).unwrap();
        }
        for (n, peer) in peers.iter_mut().enumerate() {
            let mut back = vec![0; 60_000];
            peer.read_exact(&mut back).unwrap();
            assert!(back == pattern(n), "connection {n}");
            peer.shutdown(Shutdown::Write).unwrap();
            assert_eq!(
                peer.read(&mut back).unwrap(),
                0,
                "connection {n} is closed by the server"
            );
        }
    }
}

#[test]
fn fanout_reaches_the_room_and_no_other() {
    let floor = Floor::start(&["--mode", "fanout", "--rooms", "2"]);
    let mut peers: Vec<TcpStream> = (0..4)
        .map(|_| TcpStream::connect(&floor.1).unwrap())
        .collect();
    // All four wait to be accepted before the first of them speaks, so the rooms are full by then.
    for (peer, word) in [(0, b"even"), (1, b"odd!")] {
        peers[peer].write_all(word).unwrap();
        for member in [peer, peer + 2] {
            let mut back = [0; 4];
            peers[member].read_exact(&mut back).unwrap();
            assert_eq!(&back, word, "connection {member}");
        }
    }
}

#[test]
fn load_counts_what_it_sent() {
    let tls = || Floor::of(env!("CARGO_BIN_EXE_tls-floor"), &[]);
    for (scenario, tls, floor) in [
        ("raw-echo", "false", Floor::start(&["--mode", "echo"])),
        ("raw-room", "false", Floor::start(&["--mode", "fanout"])),
        ("raw-echo", "true", tls()),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_load"))
            .args([
                scenario,
                "--to",
                &floor.1,
                "--messages",
                "500",
                "--warm-up",
                "0",
                "--tls",
                tls,
            ])
            .args([
                "--connections",
                "20",
                "--bytes",
                "30000",
                "--burst",
                "3",
                "--depth",
                "3",
            ])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{scenario}: {output:?}");
        let last = text.lines().last().unwrap();
        let messages = last
            .split("\"messages\":")
            .nth(1)
            .unwrap()
            .split(',')
            .next()
            .unwrap();
        assert!(
            messages.parse::<u64>().unwrap() >= 500,
            "{scenario}: {last}"
        );
    }
}
