//! Rooms: clients join and leave them, and the server addresses them, one, several, or all but some.
//!
//! `cargo run --example rooms -- --listen 127.0.0.1:3000`, and in a browser's console or in Node:
//!
//! ```js
//! socket.on("said", (room, text) => console.log(room, text));
//! await socket.emitWithAck("join", "kitchen");              // [its id, "kitchen"]
//! socket.emit("say", ["kitchen", "garden"], "dinner!");     // to both, and to whoever is in both once
//! await socket.emitWithAck("who", "kitchen");               // the ids of who is there
//! socket.emit("call", "kitchen", "garden");                 // all who are there go to the garden
//! socket.emit("say but", "kitchen", "guess what");          // to all who are not there
//! ```

use clap::Parser;
use ringhall::{Data, Server, Socket};

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
        .on("join", |socket: Socket, Data(room): Data<String>| {
            socket.join(&room);
            socket.to(&room).emit("joined", (&room, socket.id()));
            socket.rooms()
        })
        .on("leave", |socket: Socket, Data(room): Data<String>| {
            socket.leave(&room);
            socket.to(&room).emit("left", (&room, socket.id()));
            socket.rooms()
        })
        .on("say", say)
        .on(
            "say but",
            |socket: Socket, Data((room, text)): Data<(String, String)>| {
                socket.except(&room).emit("said", ((), text));
            },
        )
        .on("who", async |server: Server, Data(room): Data<String>| {
            let there = server.in_(&room).fetch_sockets().await;
            Vec::from_iter(there.iter().map(|socket| socket.id().to_owned()))
        })
        .on(
            "call",
            |server: Server, Data((from, to)): Data<(String, String)>| {
                server.in_(&from).sockets_join(&to);
                server.in_(&to).emit("called", (&from, &to));
            },
        )
        // The room of a socket's own id is how one client is addressed.
        .on(
            "whisper",
            async |socket: Socket, Data((id, text)): Data<(String, String)>| {
                let whispered = socket
                    .to(&id)
                    .emit_counted("whispered", (socket.id(), text));
                whispered.await > 0 // was it there?
            },
        )
        .on_disconnecting(|socket: Socket| {
            for room in socket.rooms() {
                socket.to(&room).emit("left", (&room, socket.id()));
            }
        })
        .start()?;
    for address in server.local_addrs() {
        println!("listening on http://{address}");
    }
    server.wait()
}

/// Rooms are added to each other: everybody in one of them is told once, the sender never.
fn say(socket: Socket, Data((rooms, text)): Data<(Vec<String>, String)>) {
    if rooms.is_empty() {
        return; // without a room everybody would be meant
    }
    let mut receivers = socket.broadcast();
    for room in &rooms {
        receivers = receivers.to(room);
    }
    receivers.emit("said", (&rooms, text));
}
