//! Connection state recovery: a client whose connection breaks finds its rooms as they were, and gets what it missed.
//!
//! `cargo run --example recovery -- --listen 127.0.0.1:3000`, and in a browser's console or in Node:
//!
//! ```js
//! socket.on("connect", () => console.log("recovered?", socket.recovered));
//! socket.on("tick", (n) => console.log(n));                 // gapless, whatever happens to the network
//! socket.on("room", (room) => console.log("you are in", room));
//! setInterval(() => socket.io.engine.close(), 5000);        // what happens to the network
//! ```

use std::time::Duration;

use clap::Parser;
use ringhall::{Recovery, Server, Socket};

#[derive(Parser)]
struct Options {
    #[arg(long, default_value = "localhost:3000")]
    listen: String,
    #[arg(long, default_value_t = 1)]
    cores: usize,
    /// Milliseconds between two ticks.
    #[arg(long, default_value_t = 1000)]
    every: u64,
}

fn main() -> ringhall::Result<()> {
    let options = Options::parse();
    let recovery = Recovery {
        max_disconnection_duration: Duration::from_secs(60),
        ..Recovery::default()
    };
    let server = Server::builder()
        .listen(options.listen)
        .cores(options.cores)
        .recovery(recovery)
        .on_connection(|socket: Socket| {
            // A recovered socket has its rooms, its id and its data again; only a new one is to be set up.
            if !socket.recovered() {
                socket.join("ticks");
                socket.emit("room", "ticks");
            }
        })
        .on("recoveries", |server: Server| {
            let counted = server.counters().recoveries;
            (counted.recovered, counted.refused())
        })
        .start()?;
    for address in server.local_addrs() {
        println!("listening on http://{address}");
    }
    let every = Duration::from_millis(options.every.max(1));
    let ticker = server.clone();
    std::thread::spawn(move || {
        for n in 1_u64.. {
            std::thread::park_timeout(every); // of no core: on those a task would wait
            ticker.to("ticks").emit("tick", n);
        }
    });
    server.wait()
}
