//! What it costs to read what clients send: `cargo bench --features internals --bench codecs`.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ringhall::internals::{ServerSide, accept_key, client_frame, decode_event};

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("websocket");
    for (name, text, size) in [
        ("binary 20 B", false, 20),
        ("text 20 B", true, 20),
        ("text 1 KiB", true, 1024),
        ("binary 16 KiB", false, 16 * 1024),
        ("text 16 KiB", true, 16 * 1024),
    ] {
        let frame = client_frame(text, &vec![b'x'; size]);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(name, |bencher| {
            let mut server = ServerSide::default();
            // Decoding unmasks in place, so each round needs bytes that are still masked.
            bencher.iter_batched_ref(
                || frame.clone(),
                |bytes| assert_eq!(server.receive(black_box(bytes)), size),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn packets(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("socket.io");
    for (name, size) in [("event 128 B", 128), ("event 16 KiB", 16 * 1024)] {
        let packet = format!(r#"2["msg",{{"text":"{}"}}]"#, "x".repeat(size)).into_bytes();
        group.throughput(Throughput::Bytes(packet.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || packet.clone(),
                |text| assert!(decode_event(black_box(text)) > size),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn handshake(criterion: &mut Criterion) {
    criterion.bench_function("accept key", |bencher| {
        bencher.iter(|| accept_key(black_box(b"dGhlIHNhbXBsZSBub25jZQ==")));
    });
}

criterion_group!(benches, frames, packets, handshake);
criterion_main!(benches);
