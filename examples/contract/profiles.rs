//! The profiles: a server each, with the settings that differ from the defaults.

use std::time::Duration;

use ringhall::{
    AdminUi, Builder, Config, Cookie, Cors, EngineRoute, EngineSocket, Handshake, Message, Origin,
    Parser, Recovery, Server, Transport, WebSocket, WebSocketRoute,
};

use super::program::contract;
use super::suites;

/// The servers, by their distances from the base port.
pub(crate) fn profiles(cores: usize) -> Vec<(u16, Builder)> {
    let default = || Config {
        cores,
        ..Config::default()
    };
    let hurried = || Config {
        ping_interval: Duration::from_millis(300),
        ping_timeout: Duration::from_millis(200),
        ..default()
    };
    // Pages of any origin, as the official suites have it.
    let suite = || Config {
        cors: Some(Cors::default()),
        ..hurried()
    };
    vec![
        (0, contract(default())),
        (1, engine_echo(suite())),
        (2, suites::protocol(suite())),
        (3, suites::client(default())),
        (4, contract(fast(hurried()))),
        (5, contract(default()).recovery(recovery())),
        (
            6,
            contract(Config {
                parser: Parser::MsgPack,
                ..default()
            }),
        ),
        (
            7,
            contract(Config {
                allow_eio3: true,
                ..hurried()
            }),
        ),
        (9, contract(alt(default()))),
        (
            10,
            contract(Config {
                transports: vec![Transport::WebSocket],
                ..default()
            }),
        ),
        (11, contract(default()).admin(admin())),
        (
            12,
            engine_echo(Config {
                allow_eio3: true,
                ..suite()
            }),
        ),
        (13, contract(default())),
        (17, plain_websockets(default())),
    ]
}

fn fast(hurried: Config) -> Config {
    Config {
        upgrade_timeout: Duration::from_millis(400),
        connect_timeout: Duration::from_millis(400),
        max_payload: 10_000,
        cookie: Some(Cookie::default()),
        cors: Some(Cors {
            origin: Origin::List(vec!["http://good.example".to_owned()]),
            methods: ["GET", "POST"].map(str::to_owned).to_vec(),
            allowed_headers: Some(vec!["x-my-header".to_owned()]),
            credentials: true,
            max_age_s: Some(600),
            ..Cors::default()
        }),
        ..hurried
    }
}

fn recovery() -> Recovery {
    Recovery {
        max_disconnection_duration: Duration::from_secs(3),
        ..Recovery::default()
    }
}

/// With the password "changeit".
fn admin() -> AdminUi {
    const HASH: &str = "$2a$10$7boGXUTCVO.qI4GR6QWG9.xvwRusuG0NkFidtnXCBepOgvAXP3WYa";
    AdminUi::basic("admin", HASH).server_id("contract")
}

fn alt(default: Config) -> Config {
    Config {
        path: "/rt".to_owned(),
        serve_client: false,
        allow_upgrades: false,
        cleanup_empty_child_namespaces: true,
        ..default
    }
}

/// Engine.IO by itself: what comes in goes out.
fn engine_echo(config: Config) -> Builder {
    let echo = EngineRoute::new()
        .on_message(|socket: &EngineSocket, message: Message<'_>| socket.send(message));
    let config = Config {
        socket_io: false,
        ..config
    };
    Server::builder()
        .config(config)
        .engine_io("/engine.io", echo)
}

/// WebSockets without Socket.IO.
fn plain_websockets(config: Config) -> Builder {
    let echo = |socket: &WebSocket, message: Message<'_>| socket.send(message);
    let config = Config {
        socket_io: false,
        ..config
    };
    Server::builder()
        .config(config)
        .websocket("/echo", echo)
        .websocket("/broadcast", |socket: &WebSocket, message: Message<'_>| {
            socket.everyone().send(message)
        })
        .websocket_route(
            "/sub",
            WebSocketRoute::new()
                .protocols(["chat", "superchat"])
                .on_message(echo),
        )
        .websocket_route(
            "/origin",
            WebSocketRoute::new()
                .accept_if(|request: &Handshake| {
                    request.header("origin") == Some("https://good.example")
                })
                .on_message(echo),
        )
}
