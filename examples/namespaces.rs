//! Namespaces: one for all, one with a gate, and one for each game that somebody plays.
//!
//! `cargo run --example namespaces -- --listen 127.0.0.1:3000`, and in a browser's console or in Node:
//!
//! ```js
//! const lobby = io("/");
//! lobby.on("game", (name) => console.log(name, "begins"));
//! const game = io("/game-7", { auth: { name: "ada" } });    // comes into being, and ends with its last player
//! game.on("moved", (who, move) => console.log(who, move));
//! game.emit("move", "e4");
//! const admin = io("/admin", { auth: { token: "sesame" } });
//! await admin.emitWithAck("games");                         // ["/game-7"]
//! admin.emit("announce", "dinner");                         // to all games, and to the lobby
//! ```

use clap::Parser;
use ringhall::{Auth, Config, Data, Namespace, NamespaceHandle, Server, Session, Socket};
use serde::Deserialize;

#[derive(Parser)]
struct Options {
    #[arg(long, default_value = "localhost:3000")]
    listen: String,
    #[arg(long, default_value_t = 1)]
    cores: usize,
}

fn main() -> ringhall::Result<()> {
    let options = Options::parse();
    let config = Config {
        cleanup_empty_child_namespaces: true,
        ..Config::default()
    };
    let server = Server::builder()
        .config(config)
        .listen(options.listen)
        .cores(options.cores)
        .namespace("/admin", admin)
        // A pattern takes each name that it fits. What takes a name may be a function, too, and ask a database.
        .namespaces(r"^/game-\d+$", game)
        .on_new_namespace(|game: &NamespaceHandle| game.server().emit("game", game.name()))
        .start()?;
    for address in server.local_addrs() {
        println!("listening on http://{address}");
    }
    server.wait()
}

#[derive(Deserialize)]
struct Player {
    name: String,
}

/// The same for each game; rooms and broadcasts of one do not reach the others.
fn game(games: Namespace) -> Namespace {
    games
        .family("games")
        .middleware(|Auth(player): Auth<Player>| Session::new(player))
        .on_connection(|socket: Socket, player: Session<Player>| {
            socket.broadcast().emit("joined", &player.name);
        })
        .on(
            "move",
            |socket: Socket, player: Session<Player>, Data(step): Data<String>| {
                socket.broadcast().emit("moved", (&player.name, step));
            },
        )
}

#[derive(Deserialize)]
struct Token {
    token: String,
}

fn admin(admins: Namespace) -> Namespace {
    admins
        .middleware(|Auth(auth): Auth<Token>| match auth.token.as_str() {
            "sesame" => Ok(()),
            _ => Err("not you"),
        })
        .on("games", |server: Server| names(&server))
        .on("announce", |server: Server, Data(text): Data<String>| {
            server.emit("announced", &text);
            if let Some(games) = server.family("games") {
                games.emit("announced", &text);
            }
        })
}

fn names(server: &Server) -> Vec<String> {
    let games = server.family("games").map(|games| games.children());
    let mut names: Vec<String> = games
        .unwrap_or_default()
        .iter()
        .map(|game| game.name().to_owned())
        .collect();
    names.sort_unstable();
    names
}
