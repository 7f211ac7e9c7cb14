//! A chat: each client is in one room, and says things to it.
//!
//! `cargo run --example chat -- --listen 127.0.0.1:3000`

use clap::Parser;
use ringhall::{Data, DisconnectReason, Server, Socket};

#[derive(Parser)]
struct Options {
    #[arg(long, default_value = "localhost:3000")]
    listen: String,
    #[arg(long, default_value_t = 1)]
    cores: usize,
}

fn main() -> ringhall::Result<()> {
    let options = Options::parse();
    let server = Server::builder()
        .listen(options.listen)
        .cores(options.cores)
        .on_connection(|socket: Socket| {
            let room = socket.handshake().query("room").unwrap_or("lobby".into());
            socket.join(&room);
            socket.to(&room).emit("joined", socket.id());
        })
        .on("say", |socket: Socket, Data(text): Data<String>| {
            for room in socket.rooms().iter().filter(|room| **room != **socket.id()) {
                socket.to(room).emit("said", (socket.id(), &text));
            }
            "said" // the acknowledgement
        })
        .on_disconnecting(|socket: Socket, reason: DisconnectReason| {
            for room in socket.rooms() {
                socket
                    .to(&room)
                    .emit("left", (socket.id(), reason.as_str()));
            }
        })
        .start()?;
    for address in server.local_addrs() {
        println!("listening on http://{address}");
    }
    server.wait()
}
