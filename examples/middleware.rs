//! Middlewares: who may come in, and who may say what.
//!
//! `cargo run --example middleware -- --listen 127.0.0.1:3000`, and in a browser's console or in Node:
//!
//! ```js
//! const socket = io({ auth: { token: "sesame" } });         // or "admin's sesame"
//! socket.on("connect_error", (error) => console.log(error.message, error.data));
//! socket.on("refused", (event, why) => console.log(event, why));
//! await socket.emitWithAck("who am i");                     // "ada"
//! socket.emit("admin:restart");
//! ```

use std::collections::HashMap;
use std::time::Duration;

use clap::Parser;
use ringhall::{Auth, EventError, EventName, Rejection, Server, Session, Socket, State};
use serde::Deserialize;

#[derive(Parser)]
struct Options {
    #[arg(long, default_value = "localhost:3000")]
    listen: String,
    #[arg(long, default_value_t = 1)]
    cores: usize,
}

/// What the gate knows of whom it has let in, for every handler that asks for a `Session<User>`.
#[derive(Clone)]
struct User {
    name: &'static str,
    is_admin: bool,
}

/// Stands for a database.
struct Tokens(HashMap<&'static str, User>);

impl Tokens {
    async fn find(&self, token: &str) -> Option<User> {
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.0.get(token).cloned()
    }
}

#[derive(Deserialize)]
struct Credentials {
    #[serde(default)]
    token: String,
}

/// Asked once for each client, before it is in the namespace: what comes from it meanwhile waits.
async fn gate(
    socket: Socket,
    Auth(credentials): Auth<Credentials>,
    State(tokens): State<Tokens>,
) -> Result<Session<User>, Rejection> {
    if credentials.token.is_empty() {
        return Err("a token is needed".into());
    }
    let user = tokens.find(&credentials.token).await.ok_or_else(|| {
        // Beside the message a rejection may carry whatever helps the client.
        Rejection::new("nobody has this token").data(serde_json::json!({ "code": 401 }))
    })?;
    if user.is_admin {
        socket.join("admins");
    }
    Ok(Session::new(user))
}

/// Asked before each event. An error drops the event, and the client is not answered.
fn may(EventName(event): EventName, user: Session<User>) -> Result<(), &'static str> {
    if event.starts_with("admin:") && !user.is_admin {
        return Err("for admins");
    }
    Ok(())
}

fn main() -> ringhall::Result<()> {
    let options = Options::parse();
    let user = |name, is_admin| User { name, is_admin };
    let tokens = HashMap::from([
        ("sesame", user("ada", false)),
        ("admin's sesame", user("eve", true)),
    ]);
    let server = Server::builder()
        .listen(options.listen)
        .cores(options.cores)
        .state(Tokens(tokens))
        .middleware(gate)
        .packet_middleware(may)
        .on_error(|socket: &Socket, error: &EventError| {
            socket.emit("refused", (error.event(), error.to_string()));
        })
        .on("who am i", |user: Session<User>| user.name)
        .on("admin:restart", |socket: Socket, user: Session<User>| {
            socket.everyone().emit("restarted", user.name);
        })
        .start()?;
    for address in server.local_addrs() {
        println!("listening on http://{address}");
    }
    server.wait()
}
