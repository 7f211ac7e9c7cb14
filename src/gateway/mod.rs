//! What the program adds to the library, on its public API alone.

use std::io::{self, Write};

use ringhall::Server;

pub(crate) mod listen;
pub(crate) mod lobby;
pub(crate) mod signals;

/// Says what the server listens on and what is served there.
///
/// # Errors
///
/// That of the standard output.
pub(crate) fn announce(server: &Server, listen: &listen::Listen) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for url in server.local_urls() {
        writeln!(out, "listening on {url}")?;
    }
    if listen.is_self_signed() {
        writeln!(
            out,
            "the certificate is self-signed: browsers warn of it, and curl wants -k"
        )?;
    }
    let cores = server.cores();
    let plural = if cores == 1 { "" } else { "s" };
    writeln!(out, "serving on {cores} core{plural}")?;
    out.write_all(LOBBY.as_bytes())
}

const LOBBY: &str = "\
this is the development lobby: anybody may join any room of any namespace and emit anything to it
  /            a page to try it
  /echo        WebSocket: every message comes back
  /socket.io/  Socket.IO: join, leave, rooms, to; any other event goes to everybody else
end it with Ctrl-C or SIGTERM
";
