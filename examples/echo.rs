//! A WebSocket echo, and the same for Socket.IO.
//!
//! `cargo run --example echo -- --listen 127.0.0.1:3000`

use clap::Parser;
use ringhall::{Message, Payload, Server, Socket, WebSocket};

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
        .websocket("/echo", |socket: &WebSocket, message: Message<'_>| {
            socket.send(message)
        })
        .on("echo", |socket: Socket, payload: Payload| {
            socket.emit_raw("echo", &payload)
        })
        .start()?;
    for address in server.local_addrs() {
        println!("listening on http://{address}");
    }
    server.wait()
}
