//! What the program adds to the library, on its public API alone.

use ringhall::Server;

pub(crate) mod lobby;
pub(crate) mod signals;

/// Says what the server listens on and what is served there.
pub(crate) fn announce(server: &Server) {
    for address in server.local_addrs() {
        println!("listening on http://{address}");
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
