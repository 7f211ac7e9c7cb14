//! Socket.IO inside of an axum application, which owns the port.
//!
//! `cargo run --example inside_axum -- --listen 127.0.0.1:3000`

use axum::Router;
use axum::extract::State;
use axum::response::Html;
use axum::routing::{get, post};
use clap::Parser;
use ringhall::{Data, Server, Socket};
use tokio::net::TcpListener;

#[derive(Parser)]
struct Options {
    #[arg(long, default_value = "localhost:3000")]
    listen: String,
    #[arg(long, default_value_t = 1)]
    cores: usize,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    let server = Server::builder()
        .cores(options.cores)
        .on("say", |socket: Socket, Data(text): Data<String>| {
            socket.broadcast().emit("said", &text);
            text // the acknowledgement
        })
        .start_embedded()?;
    let application = Router::new()
        .route("/", get(|| async { Html(PAGE) }))
        .route("/say", post(say))
        .with_state(server.clone())
        .layer(server.layer());

    let listener = TcpListener::bind(options.listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, application).await?;
    Ok(())
}

/// `curl -d hello localhost:3000/say` says it to everybody.
async fn say(State(server): State<Server>, text: String) -> &'static str {
    server.emit("said", text);
    "said\n"
}

const PAGE: &str = r#"<!doctype html>
<title>Ringhall inside of axum</title>
<input autofocus placeholder="say something">
<script src="/socket.io/socket.io.js"></script>
<script>
  const socket = io(), input = document.querySelector('input');
  const show = (text) => document.body.append(document.createElement('br'), text);
  socket.on('said', show);
  input.onchange = () => { socket.emit('say', input.value, show); input.value = ''; };
</script>
"#;
