//! What recording a record costs: its latency, its service time and its counter, with intended times that advance as
//! those of a batch do. Divide a time by 400 for nanoseconds per record.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gauntlet::recorder::{Recorder, add_sample, latency_us};
use gauntlet::schedule::{Curve, Timeline};

const RECORDS: u64 = 400;

fn recorder(c: &mut Criterion) {
    // An endless warm-up: every record has a time.
    let curve = Curve::constant(1_000_000, 1_000_000_000);
    let line = Timeline { origin_ns: 5_000_000_000, zero_ns: u64::MAX };
    let intended = |g: u64| curve.intended_ns(line, g).unwrap_or(0);
    let mut group = c.benchmark_group("recorder");
    group.throughput(Throughput::Elements(RECORDS));
    let mut recorder = Recorder::default();
    let mut first = 0;
    group.bench_function("acked", |b| {
        b.iter(|| {
            let now_ns = intended(first + RECORDS * 12) + 7_000_000;
            // Every twelfth record of the sequence goes to one partition.
            for intended_ns in curve.times(line, first, 12).take(RECORDS as usize) {
                let slot = recorder.slot(intended_ns);
                slot.counts.acked += 1;
                add_sample(&mut slot.latency, latency_us(intended_ns, now_ns));
                add_sample(&mut slot.service, 2_000);
            }
            first += RECORDS * 12;
            if first % (RECORDS * 12 * 1_000) == 0 {
                black_box(recorder.take());
            }
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = recorder
}
criterion_main!(benches);
