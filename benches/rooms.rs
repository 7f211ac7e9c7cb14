//! What it costs to tell a room something, without the kernel's part: `cargo bench --features internals --bench rooms`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringhall::internals::Hall;

fn broadcast(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("broadcast of 64 B");
    for members in [10_u32, 1000, 100_000] {
        let (mut hall, mut out) = (Hall::with_members(members), Vec::new());
        group.throughput(Throughput::Elements(members.into()));
        group.bench_function(format!("to {members}"), |bencher| {
            bencher.iter(|| {
                let copied = hall.broadcast(black_box(&[0x42; 64]), &mut out);
                assert_eq!(copied, 64 * members as usize);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, broadcast);
criterion_main!(benches);
