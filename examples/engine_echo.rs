//! Engine.IO by itself: every message comes back, on whichever transport it came.
//!
//! `cargo run --example engine_echo -- --listen 127.0.0.1:3000`, and on the other side the npm package `engine.io-client`:
//!
//! ```js
//! const socket = new Socket("ws://localhost:3000", { path: "/engine.io" });
//! ```

use std::time::Duration;

use clap::Parser;
use ringhall::{Config, Cors, EngineRoute, EngineSocket, Message, Server};

#[derive(Parser)]
struct Options {
    #[arg(long, default_value = "localhost:3000")]
    listen: String,
    #[arg(long, default_value_t = 1)]
    cores: usize,
    /// Milliseconds from a pong to the next ping.
    #[arg(long, default_value_t = 25_000)]
    ping_interval: u64,
    /// Milliseconds that a pong may take.
    #[arg(long, default_value_t = 20_000)]
    ping_timeout: u64,
    /// Serve clients of Engine.IO 3, too.
    #[arg(long)]
    allow_eio3: bool,
}

fn main() -> ringhall::Result<()> {
    let options = Options::parse();
    let config = Config {
        cores: options.cores,
        ping_interval: Duration::from_millis(options.ping_interval),
        ping_timeout: Duration::from_millis(options.ping_timeout),
        allow_eio3: options.allow_eio3,
        // Pages of any origin may try it.
        cors: Some(Cors::default()),
        ..Config::default()
    };
    let echo = EngineRoute::new()
        .on_message(|socket: &EngineSocket, message: Message<'_>| socket.send(message));
    let server = Server::builder()
        .config(config)
        .listen(options.listen)
        .engine_io("/engine.io", echo)
        .start()?;
    for address in server.local_addrs() {
        println!("listening on http://{address}");
    }
    server.wait()
}
