//! What the program adds to the library, on its public API alone.

use ringhall::Server;

pub(crate) mod listen;
pub(crate) mod lobby;
pub(crate) mod signals;

/// Says what the server listens on and what is served there.
pub(crate) fn announce(server: &Server, listen: &listen::Listen) {
    for url in server.local_urls() {
        println!("listening on {url}");
    }
    if listen.is_self_signed() {
        println!("the certificate is self-signed: browsers warn of it, and curl wants -k");
    }
    let cores = server.cores();
    println!(
        "serving on {cores} core{}",
        if cores == 1 { "" } else { "s" }
    );
    println!(
        "this is the development lobby: anybody may join any room of any namespace and emit anything to it"
    );
    println!("  /            a page to try it");
    println!("  /echo        WebSocket: every message comes back");
    println!(
        "  /socket.io/  Socket.IO: join, leave, rooms, to; any other event goes to everybody else"
    );
    println!("end it with Ctrl-C or SIGTERM");
}
