//! `floor`: a server that moves bytes and looks at none. What it costs, no server on this ring design can undercut.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::TcpListener;

use perf::options::{Options, pin, raise_file_limit};
use perf::ring::{Event, Ring};

const OPTIONS: [&str; 4] = ["listen", "mode", "cpu", "rooms"];

fn main() -> io::Result<()> {
    let options = Options::parse(std::env::args().skip(1), &OPTIONS)?;
    if options.text("cpu").is_some() {
        pin(options.value("cpu", 0)?)?;
    }
    let fanout = match options.text("mode").unwrap_or("echo") {
        "echo" => false,
        "fanout" => true,
        other => return Err(io::Error::other(format!("--mode {other}: echo or fanout"))),
    };
    // The sparse file table obeys the limit of open files.
    let files = raise_file_limit()?.min(19_000) as u32;
    let listener = TcpListener::bind(options.text("listen").unwrap_or("127.0.0.1:0"))?;
    rustix::net::listen(&listener, 4096)?;
    rustix::net::sockopt::set_tcp_nodelay(&listener, true)?;
    println!("listening on {}", listener.local_addr()?);
    io::stdout().flush()?;
    let ring = Ring::open(files, Some(listener.into()))?;
    if fanout {
        serve_fanout(ring, options.value("rooms", 1)?.max(1))
    } else {
        serve_echo(ring)
    }
}

/// Every chunk goes back where it came from.
fn serve_echo(ring: &mut Ring) -> io::Result<()> {
    loop {
        ring.wait(None)?;
        while let Some(event) = ring.next_event()? {
            match event {
                Event::Received { slot, buffer } => {
                    ring.send(slot, &buffer)?;
                    ring.release(buffer)?;
                }
                Event::Ended { slot } => ring.close(slot)?,
                Event::Accepted { .. } | Event::Sent { .. } | Event::Input => {}
            }
        }
    }
}

/// Every chunk goes to every member of its room, out of the buffer it arrived in. Connections are dealt to the rooms in
/// the order of their arrival, as `load` numbers its own.
fn serve_fanout(ring: &mut Ring, rooms: usize) -> io::Result<()> {
    let mut members = vec![Vec::new(); rooms];
    let mut room_of = HashMap::new();
    let mut arrivals = 0;
    loop {
        ring.wait(None)?;
        while let Some(event) = ring.next_event()? {
            match event {
                Event::Accepted { slot } => {
                    members[arrivals % rooms].push(slot);
                    room_of.insert(slot, arrivals % rooms);
                    arrivals += 1;
                }
                Event::Received { slot, buffer } => {
                    for &member in &members[room_of[&slot]] {
                        ring.send(member, &buffer)?;
                    }
                    ring.release(buffer)?;
                }
                Event::Ended { slot } => {
                    members[room_of[&slot]].retain(|&member| member != slot);
                    ring.close(slot)?;
                }
                Event::Sent { .. } | Event::Input => {}
            }
        }
    }
}
