//! The subject of every load test: what is measured, and nothing besides.
//!
//! - raw `/echo`: every message comes back;
//! - raw `/room?room=R`: a message goes to all members of R, the sender included;
//! - Socket.IO `/`: `msg` with an acknowledgement is answered with the same data; a client that connected with the query
//!   `room=R` joins R, and its `msg` goes to everybody in R, the sender included.

use clap::Parser;
use ringhall::{Ack, Handshake, Message, Payload, Server, Socket, Tls, WebSocket, WebSocketRoute};

/// The program's allocator, as in the `ringhall` program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Options {
    #[arg(long, default_value = "localhost:8080")]
    listen: String,
    #[arg(long, default_value_t = 1)]
    cores: usize,
    /// Speak TLS, with a certificate that signed itself.
    #[arg(long)]
    tls: bool,
    /// So many events more have a handler, to show what that costs a connection.
    #[arg(long, default_value_t = 0)]
    handlers: usize,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    env_logger::init();
    let options = Options::parse();
    let room = WebSocketRoute::new()
        .on_open(|socket: &WebSocket, handshake: &Handshake| {
            socket.join(handshake.query("room").unwrap_or_default());
        })
        .on_message(|socket: &WebSocket, message: Message<'_>| {
            for room in socket.rooms() {
                socket.to(&room).send(message);
            }
        });
    let builder = if options.tls {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let tls = Tls::pem(made.cert.pem(), made.signing_key.serialize_pem());
        Server::builder().listen_tls(options.listen, tls)
    } else {
        Server::builder().listen(options.listen)
    };
    let builder = (0..options.handlers).fold(builder, |builder, number| {
        builder.on(&format!("event-{number}"), move |ack: Ack| ack.send(number))
    });
    let server = builder
        .cores(options.cores)
        .websocket("/echo", |socket: &WebSocket, message: Message<'_>| {
            socket.send(message)
        })
        .websocket_route("/room", room)
        .on_connection(|socket: Socket| {
            if let Some(room) = socket.handshake().query("room") {
                socket.join(room);
            }
        })
        .on("msg", |socket: Socket, payload: Payload, ack: Ack| {
            if ack.is_expected() {
                return ack.send_raw(&payload);
            }
            for room in socket
                .rooms()
                .iter()
                .filter(|room| *room != socket.id().as_str())
            {
                socket.everyone().to(room).emit_raw("msg", &payload);
            }
        })
        .start()?;
    for url in server.local_urls() {
        println!("listening on {url}");
    }
    Ok(server.wait()?)
}
