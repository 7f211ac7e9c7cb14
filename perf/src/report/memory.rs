//! What an idle connection costs in the server's own memory.

use std::io::{self, BufRead, BufReader};
use std::process::{Child, ExitCode, Stdio};
use std::time::Duration;

use crate::Bench;
use crate::server::Server;

/// A kind of connection; more than `limit` bytes for one fails the report.
struct Kind {
    name: &'static str,
    /// As `load` calls it.
    kind: &'static str,
    tls: bool,
    limit: u64,
    aim: u64,
}

/// Of what TLS costs, 3.2 KB are rustls': its connection, its state, and the keys in the form in which they encrypt, 560 B for each direction.
const KINDS: [Kind; 3] = [
    Kind {
        name: "ws",
        kind: "ws",
        tls: false,
        limit: 1024,
        aim: 400,
    },
    Kind {
        name: "sio",
        kind: "sio",
        tls: false,
        limit: 1024,
        aim: 400,
    },
    Kind {
        name: "wss",
        kind: "ws",
        tls: true,
        limit: 5000,
        aim: 4000,
    },
];
/// The kind that is measured with handlers, too.
const WITH_HANDLERS: &str = "sio";
const HANDLERS: usize = 200;
/// The least that a connection could keep for handlers is a pointer. Less than that is the measuring: memory is counted in pages.
const HANDLERS_BYTES_MAX: f64 = 8.0;
/// Opened first: they touch what a server owns once, however many connections it has (receive buffers above all).
const FIRST: u64 = 1000;
/// For what a server does soon after a connection opened.
const SETTLE: Duration = Duration::from_millis(500);

/// A `load idle`; it closes its connections when dropped.
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It has nothing to tell any more.
        let _status = self.0.wait();
    }
}

fn hold(bench: &Bench, server: &Server, of: &Kind, connections: u64) -> io::Result<Holder> {
    let mut command = bench.load(server, "idle");
    let (kind, tls) = (of.kind, of.tls.to_string());
    command.args(["--kind", kind, "--tls", &tls]);
    command.args(["--connections", &connections.to_string()]);
    let mut holder = Holder(
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?,
    );
    let mut line = String::new();
    if let Some(output) = holder.0.stdout.take() {
        BufReader::new(output).read_line(&mut line)?;
    }
    if !line.starts_with("{\"open\":") {
        return Err(io::Error::other(format!(
            "{connections} connections of kind {kind} could not be opened"
        )));
    }
    std::thread::sleep(SETTLE);
    Ok(holder)
}

/// What a server holds, in bytes.
struct Held {
    empty: u64,
    /// With the first connections.
    first: u64,
    /// With all.
    all: u64,
}

impl Held {
    fn each(&self, bench: &Bench) -> f64 {
        self.all.saturating_sub(self.first) as f64 / bench.connections.max(1) as f64
    }
}

/// Measures a subject that was given these arguments beside its own.
fn measure(bench: &Bench, of: &Kind, more: &[String]) -> io::Result<Held> {
    let server = bench.start_subject(of.tls, more)?;
    std::thread::sleep(SETTLE);
    let empty = server.resident_bytes()?;
    let _first = hold(bench, &server, of, FIRST)?;
    let first = server.resident_bytes()?;
    let _rest = hold(bench, &server, of, bench.connections)?;
    let all = server.resident_bytes()?;
    Ok(Held { empty, first, all })
}

/// Prints a line for each kind of connection; fails where one costs too much.
pub(crate) fn report(bench: &Bench) -> io::Result<ExitCode> {
    let mut within = true;
    println!(
        "user-space memory of {} idle connections, beyond the first {FIRST}:",
        bench.connections
    );
    for of in &KINDS {
        let Kind {
            name, limit, aim, ..
        } = of;
        let held = measure(bench, of, &[])?;
        let each = held.each(bench);
        let (empty_kib, first_kib) = (
            held.empty / 1024,
            held.first.saturating_sub(held.empty) / 1024,
        );
        let from_empty = held.all.saturating_sub(held.empty) / (FIRST + bench.connections);
        println!(
            "{name:<4} {each:>6.0} B each   (limit {limit}, aim {aim}; empty {empty_kib} KiB, the first {FIRST} {first_kib} KiB; \
             {from_empty} B each from the first on)",
        );
        within &= each < *limit as f64;
        if *name == WITH_HANDLERS {
            within &= report_handlers(bench, of, each)?;
        }
    }
    Ok(if within {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

/// Prints what the same connection costs where the namespace has many handlers more: whether that is nothing.
fn report_handlers(bench: &Bench, of: &Kind, without: f64) -> io::Result<bool> {
    let arguments = ["--handlers".to_owned(), HANDLERS.to_string()];
    let more = measure(bench, of, &arguments)?.each(bench) - without;
    println!(
        "{:<4} {more:>+6.1} B each with {HANDLERS} handlers more in its namespace (limit {HANDLERS_BYTES_MAX})",
        of.name
    );
    Ok(more < HANDLERS_BYTES_MAX)
}
