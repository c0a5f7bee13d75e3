//! What recording a record costs: its latency, its service time and its counter, with intended times that advance as
//! those of a batch do. Divide a time by 400 for nanoseconds per record.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gauntlet::recorder::{Recorder, add_sample, latency_us};
use gauntlet::schedule::Schedule;

const RECORDS: u64 = 400;

fn recorder(c: &mut Criterion) {
    let schedule = Schedule { origin_ns: 5_000_000_000, rate_per_s: 1_000_000, producer: 0, producers: 1 };
    let mut group = c.benchmark_group("recorder");
    group.throughput(Throughput::Elements(RECORDS));
    let mut recorder = Recorder::default();
    let mut first = 0;
    group.bench_function("acked", |b| {
        b.iter(|| {
            let now_ns = schedule.intended_ns(first + RECORDS * 12) + 7_000_000;
            for i in 0..RECORDS {
                // Every twelfth record of the sequence goes to one partition.
                let intended_ns = schedule.intended_ns(first + i * 12);
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
