//! Acknowledgements: the client asks the server, and the server asks the client.
//!
//! `cargo run --example acks -- --listen 127.0.0.1:3000`, and in a browser's console or in Node:
//!
//! ```js
//! await socket.emitWithAck("sum", 1, 2);                    // 3
//! socket.emit("later", 500, (answer) => console.log(answer));
//! socket.on("your name?", (answer) => answer("Ada"));
//! await socket.emitWithAck("greet");                        // "Hello, Ada!"
//! socket.on("vote", (question, answer) => answer(true));
//! await socket.emitWithAck("ask all", "Dinner?");           // { yes: 2, no: 0, missing: false }
//! ```

use std::time::Duration;

use clap::Parser;
use ringhall::{Ack, AckError, Answers, Data, Server, Socket};

#[derive(Parser)]
struct Options {
    #[arg(long, default_value = "localhost:3000")]
    listen: String,
    #[arg(long, default_value_t = 1)]
    cores: usize,
}

fn main() -> ringhall::Result<()> {
    let options = Options::parse();
    let server = Server::builder()
        .listen(options.listen)
        .cores(options.cores)
        .on("sum", |Data((a, b)): Data<(i64, i64)>| a.checked_add(b)) // what is returned is the answer
        .on("divmod", |Data((a, b)): Data<(i64, i64)>| {
            let (Some(quotient), Some(rest)) = (a.checked_div(b), a.checked_rem(b)) else {
                return Err("no such number"); // no answer: the client's timeout tells it
            };
            Ok((quotient, rest)) // a tuple: callback(quotient, rest)
        })
        .on("later", later)
        .on("greet", greet)
        .on("ask all", ask_all)
        .start()?;
    for address in server.local_addrs() {
        println!("listening on http://{address}");
    }
    server.wait()
}

/// Answers when it likes: an `Ack` may be kept, and sent from a task.
fn later(Data(ms): Data<u64>, ack: Ack) {
    ringhall::spawn(async move {
        tokio::time::sleep(Duration::from_millis(ms.min(10_000))).await;
        ack.send("now");
    });
}

/// Asks the client before it answers.
async fn greet(socket: Socket) -> String {
    let asking = socket.timeout(Duration::from_secs(5));
    match asking.emit_with_ack::<String>("your name?", ()).await {
        Ok(name) => format!("Hello, {name}!"),
        Err(AckError::TimedOut) => "Hello, whoever you are!".to_owned(),
        Err(error) => format!("Hello! ({error})"),
    }
}

#[derive(serde::Serialize)]
struct Votes {
    yes: usize,
    no: usize,
    /// Whether somebody did not answer in time.
    missing: bool,
}

/// Asks everybody, on all cores, and takes what has come when the time is up.
async fn ask_all(socket: Socket, Data(question): Data<String>) -> Data<Votes> {
    let asking = socket.everyone().timeout(Duration::from_secs(2));
    let Answers { answers, error, .. } = asking.emit_with_ack::<bool>("vote", question).await;
    let yes = answers.iter().filter(|vote| **vote).count();
    Data(Votes {
        yes,
        no: answers.len() - yes,
        missing: error.is_some(),
    })
}
