//! Binary values: pictures are put up on a wall, and everybody else sees them. They are kept in memory, the latest hundred.
//!
//! `cargo run --example binary -- --listen 127.0.0.1:3000`, and in a browser's console or in Node:
//!
//! ```js
//! socket.on("picture", ({ title, pixels }) => console.log(title, pixels.byteLength));
//! await socket.emitWithAck("put up", { title: "dot", pixels: new Uint8Array([255]) });   // 1
//! await socket.emitWithAck("look at", "dot");                                             // its pixels
//! ```

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use clap::Parser;
use ringhall::{Binary, Config, Data, Server, Socket, State};
use serde::{Deserialize, Serialize};

#[derive(Parser)]
struct Options {
    #[arg(long, default_value = "localhost:3000")]
    listen: String,
    #[arg(long, default_value_t = 1)]
    cores: usize,
    /// Clients must be opened with `socket.io-msgpack-parser`.
    #[arg(long)]
    msgpack: bool,
}

/// What comes as an object with a `Buffer`, an `ArrayBuffer` or a typed array in it. A clone shares the bytes.
#[derive(Clone, Serialize, Deserialize)]
struct Picture {
    title: String,
    pixels: Binary,
}

#[derive(Default)]
struct Wall(Mutex<VecDeque<Picture>>);

impl Wall {
    fn put_up(&self, picture: Picture) -> usize {
        let mut pictures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pictures.truncate(99);
        pictures.push_front(picture);
        pictures.len()
    }

    fn find(&self, title: &str) -> Option<Binary> {
        let pictures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = pictures.iter().find(|picture| picture.title == title)?;
        Some(found.pixels.clone())
    }
}

fn main() -> ringhall::Result<()> {
    let options = Options::parse();
    let parser = match options.msgpack {
        true => ringhall::Parser::MsgPack,
        false => ringhall::Parser::Default,
    };
    let config = Config {
        parser,
        max_payload: 4 * 1024 * 1024, // of one picture, in bytes
        ..Config::default()
    };
    let server = Server::builder()
        .config(config)
        .listen(options.listen)
        .cores(options.cores)
        .state(Wall::default())
        .on(
            "put up",
            |socket: Socket, State(wall): State<Wall>, Data(picture): Data<Picture>| {
                socket.broadcast().emit("picture", &picture);
                wall.put_up(picture)
            },
        )
        .on(
            "look at",
            |State(wall): State<Wall>, Data(title): Data<String>| wall.find(&title),
        )
        .start()?;
    for address in server.local_addrs() {
        println!("listening on http://{address}");
    }
    server.wait()
}
