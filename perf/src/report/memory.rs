//! What an idle connection costs in the server's own memory.

use std::io::{self, BufRead, BufReader};
use std::process::{Child, ExitCode, Stdio};
use std::time::Duration;

use crate::Bench;
use crate::server::Server;

/// More than this for one connection fails the report.
const LIMIT: u64 = 1024;
const AIM: u64 = 400;
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

fn hold(bench: &Bench, server: &Server, kind: &str, connections: u64) -> io::Result<Holder> {
    let mut command = bench.load(server, "idle");
    command.args(["--kind", kind, "--connections", &connections.to_string()]);
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

/// Prints a line for each kind of connection; fails where one costs too much.
pub(crate) fn report(bench: &Bench) -> io::Result<ExitCode> {
    let mut worst = 0;
    println!(
        "user-space memory of {} idle connections, beyond the first {FIRST}:",
        bench.connections
    );
    for kind in ["ws", "sio"] {
        let server = bench.start_subject()?;
        std::thread::sleep(SETTLE);
        let empty = server.resident_bytes()?;
        let _first = hold(bench, &server, kind, FIRST)?;
        let before = server.resident_bytes()?;
        let _rest = hold(bench, &server, kind, bench.connections)?;
        let after = server.resident_bytes()?;
        let each = after.saturating_sub(before) / bench.connections.max(1);
        let first_kib = before.saturating_sub(empty) / 1024;
        let from_empty = after.saturating_sub(empty) / (FIRST + bench.connections);
        println!(
            "{kind:<4} {each:>6} B each   (limit {LIMIT}, aim {AIM}; empty {} KiB, the first {FIRST} {first_kib} KiB; \
             {from_empty} B each from the first on)",
            empty / 1024
        );
        worst = worst.max(each);
    }
    Ok(if worst < LIMIT {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}
