//! A server that the Socket.IO Admin UI can look into.
//!
//! ```text
//! cargo run --example admin -- --listen 127.0.0.1:3000
//! ```
//!
//! Open <https://admin.socket.io> (or the files in `ui/dist` of npm's `@socket.io/admin-ui`, served from anywhere) and connect to
//! `http://127.0.0.1:3000` as `admin` with the password `changeit`.
//!
//! `--production` shows numbers alone, `--readonly` lets nobody change anything.

use clap::Parser;
use ringhall::{AdminUi, Config, Cors, Data, Namespace, Origin, Payload, Server, Socket};
use serde_json::{Map, Value};

/// A server that the Socket.IO Admin UI can look into.
#[derive(Parser)]
struct Options {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:3000")]
    listen: String,
    /// How many cores serve.
    #[arg(long, default_value_t = 1)]
    cores: usize,
    /// Show numbers alone.
    #[arg(long)]
    production: bool,
    /// Let nobody change anything.
    #[arg(long)]
    readonly: bool,
}

/// Of "changeit". Make one for a better password with `htpasswd -nbB admin PASSWORD`.
const HASH: &str = "$2b$10$heqvAkYMez.Va6Et2uXInOnkCT6/uQj1brkrbyG3LpopDklcq7ZOS";

fn main() -> ringhall::Result<()> {
    let options = Options::parse();
    let mut admin = AdminUi::basic("admin", HASH);
    if options.production {
        admin = admin.production();
    }
    if options.readonly {
        admin = admin.readonly();
    }
    let config = Config {
        // The UI is a page of another origin. In production name it, with `Origin::List`.
        cors: Some(Cors {
            origin: Origin::Reflect,
            credentials: true,
            ..Cors::default()
        }),
        cores: options.cores,
        ..Config::default()
    };
    let server = Server::builder()
        .config(config)
        .listen(options.listen)
        .namespace("/", program)
        .namespace("/chat", program)
        .admin(admin)
        .start()?;
    for url in server.local_urls() {
        println!("listening on {url}");
    }
    server.wait()
}

/// Something to look at.
fn program(namespace: Namespace) -> Namespace {
    namespace
        .on("hello", || "hello")
        .on("join", |socket: Socket, Data(room): Data<String>| {
            socket.join(room);
            Data(socket.rooms())
        })
        .on("leave", |socket: Socket, Data(room): Data<String>| {
            socket.leave(room);
            Data(socket.rooms())
        })
        .on("rooms", |socket: Socket| Data(socket.rooms()))
        .on("say", |socket: Socket, said: Payload| {
            socket.emit_raw("said", &said);
        })
        .on(
            "set-data",
            |socket: Socket, Data(more): Data<Map<String, Value>>| {
                let changed = socket.update_data(|data: &mut Map<String, Value>| data.extend(more));
                changed.map(|()| true)
            },
        )
}
