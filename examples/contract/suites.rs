//! The programs that the test suites of the protocols and of the official client talk to.

use std::cell::Cell;
use std::time::{Duration, SystemTime};

use ringhall::{
    Binary, Builder, Config, Data, Forbidden, Handshake, Namespace, Payload, Recovery, Server,
    Session, Socket,
};
use serde::Deserialize;
use tokio::time::sleep;

/// `sio-suite`: what the suite of Socket.IO's protocol wants.
pub(super) fn protocol(config: Config) -> Builder {
    let config = Config {
        connect_timeout: Duration::from_secs(1),
        ..config
    };
    let greet = |socket: Socket| {
        socket.emit(
            "auth",
            socket.auth::<serde_json::Value>().unwrap_or_default(),
        )
    };
    Server::builder()
        .config(config)
        .on_connection(greet)
        .on("message", |socket: Socket, payload: Payload| {
            socket.emit_raw("message-back", &payload)
        })
        .on("message-with-ack", |payload: Payload| payload)
        .namespace("/custom", |custom| custom.on_connection(greet))
}

/// `client-suite`: what the suite of the official client wants.
pub(super) fn client(config: Config) -> Builder {
    let config = Config {
        ping_interval: Duration::from_secs(2),
        ..config
    };
    Server::builder()
        .config(config)
        .recovery(Recovery::default())
        .allow_request(dawdle)
        .namespace("/", |main| binary(texts(main.middleware(refuse_failing))))
        .namespace("/foo", |ids| {
            ids.on("getId", |socket: Socket| socket.id().to_string())
        })
        .namespace("/abc", |abc| {
            abc.on_connection(|socket: Socket| socket.emit("handshake", socket.handshake_details()))
        })
        .namespace("/no", |no| {
            no.middleware(|| Err::<(), _>("Auth failed (custom namespace)"))
        })
        .namespace("/timeout_socket", |empty| empty)
        .namespace("/valid", |empty| empty)
        .namespace("/asd", |empty| empty)
}

async fn dawdle(_request: Handshake) -> Result<(), Forbidden> {
    sleep(Duration::from_millis(10)).await;
    Ok(())
}

fn refuse_failing(socket: Socket) -> Result<(), &'static str> {
    match socket.handshake().query("fail") {
        Some(fail) if !fail.is_empty() => Err("Auth failed (main namespace)"),
        _ => Ok(()),
    }
}

const DATE: &str = "2015-01-02T03:04:05.000Z";
const UTF8: [&str; 5] = [
    "てすと",
    "Я Б Г Д Ж Й",
    "Ä ä Ü ü ß",
    "utf8 — string",
    "utf8 — string",
];

fn texts(main: Namespace) -> Namespace {
    main.on("hi", |socket: Socket| socket.emit("hi", ()))
        .on("echo", |Data(value): Data<serde_json::Value>| value)
        .on("ack", ask_and_praise)
        .on("getAckDate", now)
        .on("getDate", |socket: Socket| socket.emit("takeDate", DATE))
        .on("getDateObj", |socket: Socket| {
            socket.emit("takeDateObj", serde_json::json!({ "date": DATE }))
        })
        .on("getUtf8", |socket: Socket| {
            for text in UTF8 {
                socket.emit("takeUtf8", text);
            }
        })
        .on("false", |socket: Socket| socket.emit("false", false))
        .on("getHandshake", |socket: Socket| {
            Data(socket.handshake_details())
        })
        .on("getId", |socket: Socket| socket.id().to_string())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the engine takes the time from one place; programs need not"
)]
fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

async fn ask_and_praise(socket: Socket) {
    #[derive(Deserialize)]
    struct Second {
        test: bool,
    }
    if let Ok((5, Second { test: true })) = socket.emit_with_ack::<(u32, Second)>("ack", ()).await {
        socket.emit("got it", ());
    }
}

/// What came so far of binaries that have to come in turn.
#[derive(Default)]
struct Progress {
    abuff: Cell<bool>,
    blobs: Cell<u8>,
}

/// Handlers ask for `Data<Binary>`: they do not run when something else comes.
fn binary(main: Namespace) -> Namespace {
    #[derive(Deserialize)]
    struct Letter {
        hello: String,
        #[expect(dead_code, reason = "that it is there is enough")]
        message: Binary,
        goodbye: String,
    }
    #[derive(Deserialize)]
    struct Blob {
        #[expect(dead_code, reason = "that it is there is enough")]
        message: Binary,
    }
    let doge = || Binary::from(&b"asdfasdf"[..]);
    main.on_connection(|socket: Socket| {
        socket.set_session(Progress::default());
    })
    .on("doge", move |socket: Socket| socket.emit("doge", doge()))
    .on("getbin", move |socket: Socket| {
        socket.emit("takebin", doge())
    })
    .on("buffa", |socket: Socket, Data(_): Data<Binary>| {
        socket.emit("buffack", ())
    })
    .on("jsonbuff", |socket: Socket, Data(letter): Data<Letter>| {
        if letter.hello == "lol" && letter.goodbye == "gotcha" {
            socket.emit("jsonbuff-ack", ());
        }
    })
    .on(
        "abuff1",
        |Session(progress): Session<Progress>, Data(_): Data<Binary>| {
            progress.abuff.set(true);
        },
    )
    .on(
        "abuff2",
        |socket: Socket, Session(progress): Session<Progress>| {
            if progress.abuff.get() {
                socket.emit("abuff2-ack", ());
            }
        },
    )
    .on("blob", |socket: Socket, Data(_): Data<Binary>| {
        socket.emit("back", ())
    })
    .on("jsonblob", |socket: Socket, Data(_): Data<Blob>| {
        socket.emit("jsonblob-ack", ())
    })
    .on(
        "blob1",
        |Session(progress): Session<Progress>, Data(_): Data<Binary>| progress.blobs.set(1),
    )
    .on(
        "blob2",
        |Session(progress): Session<Progress>, Data(text): Data<String>| {
            let in_turn = progress.blobs.get() == 1 && text == "second";
            progress.blobs.set(if in_turn { 2 } else { 0 });
        },
    )
    .on(
        "blob3",
        |socket: Socket, Session(progress): Session<Progress>, Data(_): Data<Binary>| {
            if progress.blobs.get() == 2 {
                socket.emit("blob3-ack", ());
            }
        },
    )
}
