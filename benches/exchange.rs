//! What an event and its acknowledgement cost outside of the kernel: `cargo bench --features internals --bench exchange`.
//!
//! Sixteen events of 128 bytes come in one buffer, as from a client with so many in flight. With `--count N` it answers N buffers
//! and measures nothing, for a profiler that counts instructions.

#![allow(
    clippy::expect_used,
    reason = "a bench that cannot begin has nothing to say"
)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use ringhall::internals::{Exchange, client_frame};
use ringhall::{Ack, Data, Payload, Server};

const DEPTH: usize = 16;

fn builder() -> ringhall::Builder {
    Server::builder()
        .on("raw", |payload: Payload, ack: Ack| ack.send_raw(&payload))
        .on("typed", |Data(text): Data<String>| text)
}

fn client() -> Exchange {
    Exchange::new(builder(), &mut client_frame(true, b"40")).expect("a server")
}

/// What the client says at once.
fn events(name: &str, argument: &str) -> Vec<u8> {
    (0..DEPTH)
        .flat_map(|id| client_frame(true, format!("42{id}[\"{name}\",{argument}]").as_bytes()))
        .collect()
}

fn arguments() -> [(&'static str, String); 2] {
    let text = "x".repeat(120);
    [
        ("raw", format!("{{\"d\":\"{text}\"}}")),
        ("typed", format!("\"{text}\"")),
    ]
}

fn exchanges(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("event and ack");
    group.throughput(Throughput::Elements(DEPTH as u64));
    for (name, argument) in arguments() {
        let frames = events(name, &argument);
        let mut client = client();
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || frames.clone(),
                |bytes| assert!(client.receive(black_box(bytes)) > DEPTH * argument.len()),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn main() {
    let mut words = std::env::args()
        .skip_while(|word| word != "--count")
        .skip(1);
    let Some(count) = words.next().and_then(|count| count.parse::<u64>().ok()) else {
        let mut criterion = Criterion::default().configure_from_args();
        exchanges(&mut criterion);
        return criterion.final_summary();
    };
    let [(name, argument), _] = arguments();
    let frames = events(name, &argument);
    let mut client = client();
    let mut total = 0;
    for _ in 0..count {
        total += client.receive(black_box(&mut frames.clone()));
    }
    println!("{total} bytes");
}
