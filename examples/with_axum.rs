//! Socket.IO with an axum application beside it, on one port: what is not Socket.IO's is the application's.
//!
//! `cargo run --example with_axum -- --listen 127.0.0.1:3000`

use axum::response::Html;
use axum::routing::{get, post};
use axum::{Extension, Router};
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
    let application = Router::new()
        .route("/", get(|| async { Html(PAGE) }))
        .route("/say", post(say));
    let server = Server::builder()
        .listen(options.listen)
        .cores(options.cores)
        .on("say", |socket: Socket, Data(text): Data<String>| {
            socket.broadcast().emit("said", &text);
            text // the acknowledgement
        })
        .fallback_service(application)
        .start()?;
    for address in server.local_addrs() {
        println!("listening on http://{address}");
    }
    server.wait()
}

/// `curl -d hello localhost:3000/say` says it to everybody.
async fn say(Extension(server): Extension<Server>, text: String) -> &'static str {
    server.emit("said", text);
    "said\n"
}

const PAGE: &str = r#"<!doctype html>
<title>Ringhall with axum</title>
<input autofocus placeholder="say something">
<script src="/socket.io/socket.io.js"></script>
<script>
  const socket = io(), input = document.querySelector('input');
  const show = (text) => document.body.append(document.createElement('br'), text);
  socket.on('said', show);
  input.onchange = () => { socket.emit('say', input.value, show); input.value = ''; };
</script>
"#;
