//! What a record costs: nanoseconds per record, for values of 100 bytes.
//!
//! `decode` is identity and checksum alone; `check` is everything, with a settlement per batch of 400
//! records (or of 4), from 1, 16 or 100 streams that take turns batch by batch. `settle_first` acks each batch before
//! it is read, `read_first` after; `history` is the first with the history kept and thrown away.
//!
//! Run with `cargo bench -p gauntlet-verify`; the throughput line gives records per second.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use gauntlet_verify::identity::{decode, encode};
use gauntlet_verify::{BatchHeader, CrcSeed, Identity, Outcome, Settlement, Shard, ShardConfig, StreamKey};

const RUN: u32 = 1;
const VALUE_LEN: usize = 100;
const BATCH_RECORDS: u64 = 400;
/// About 4 MB of values: as a consumer finds them, outside the first cache levels.
const RECORDS: u64 = 40_000;

struct Batch {
    settlement: Settlement,
    header: BatchHeader,
    values: Vec<u8>,
}

fn config() -> ShardConfig {
    ShardConfig {
        run: RUN,
        topic: "bench".to_owned(),
        partition: 0,
        other_topics: Vec::new(),
        created_by_run: true,
        in_order: true,
        gapless: true,
        compacted: false,
        start_offset: 0,
        witness_limit: 8,
        fragment_limit: 1 << 16,
    }
}

fn log_of(streams: u64, batch_records: u64) -> Vec<Batch> {
    (0..RECORDS / batch_records).map(|index| batch(index, streams, batch_records)).collect()
}

fn batch(index: u64, streams: u64, batch_records: u64) -> Batch {
    let stream = StreamKey { producer: (index % streams) as u16, incarnation: 0 };
    let first_pseq = index / streams * batch_records;
    let base_offset = (index * batch_records) as i64;
    let seed = CrcSeed::new("bench", 0);
    let mut values = vec![0x5A; VALUE_LEN * batch_records as usize];
    for (value, pseq) in values.chunks_exact_mut(VALUE_LEN).zip(first_pseq..) {
        let StreamKey { producer, incarnation } = stream;
        let identity =
            Identity { flags: 0, run: RUN, producer, incarnation, partition: 0, pseq, intended_ns: pseq };
        encode(&identity, &seed, value).expect("longer than an identity");
    }
    let header = BatchHeader {
        base_offset,
        last_offset: base_offset + batch_records as i64 - 1,
        leader_epoch: 0,
        producer_id: i64::from(stream.producer),
        producer_epoch: 0,
        base_sequence: first_pseq as i32,
        control: false,
        transactional: false,
    };
    let outcome = Outcome::Acked { base_offset: Some(base_offset) };
    Batch {
        settlement: Settlement {
            stream,
            first_pseq,
            count: batch_records as u32,
            outcome,
            sent_ns: first_pseq,
            settled_ns: first_pseq + batch_records,
        },
        header,
        values,
    }
}

fn check(shard: &mut Shard, log: &[Batch], settle_first: bool) {
    for batch in log {
        if settle_first {
            shard.settle(&batch.settlement);
        }
        shard.begin_batch(&batch.header);
        for (value, offset) in batch.values.chunks_exact(VALUE_LEN).zip(batch.header.base_offset..) {
            black_box(shard.record(offset, value));
        }
        shard.end_batch();
        if !settle_first {
            shard.settle(&batch.settlement);
        }
    }
}

fn benchmarks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("checker");
    group
        .throughput(Throughput::Elements(RECORDS))
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    let log = log_of(1, BATCH_RECORDS);
    let seed = CrcSeed::new("bench", 0);
    group.bench_function("decode", |bencher| {
        bencher.iter(|| {
            for value in log.iter().flat_map(|batch| batch.values.chunks_exact(VALUE_LEN)) {
                black_box(decode(value, RUN, &seed).is_ok());
            }
        });
    });
    let mut scratch = log_of(1, BATCH_RECORDS);
    group.bench_function("encode", |bencher| {
        let identity = Identity {
            flags: 0,
            run: RUN,
            producer: 0,
            incarnation: 0,
            partition: 0,
            pseq: 0,
            intended_ns: 0,
        };
        bencher.iter(|| {
            for batch in &mut scratch {
                for value in batch.values.chunks_exact_mut(VALUE_LEN) {
                    black_box(encode(&identity, &seed, value).is_ok());
                }
            }
        });
    });
    // The last: small batches of many producers, where every rule runs for every fourth record.
    for (streams, batch_records) in [(1, BATCH_RECORDS), (16, BATCH_RECORDS), (100, 4)] {
        let log = log_of(streams, batch_records);
        for (order, settle_first) in [("settle_first", true), ("read_first", false)] {
            group.bench_function(format!("check/{streams}_streams_of_{batch_records}/{order}"), |bencher| {
                bencher.iter_batched_ref(
                    || Shard::new(config()),
                    |shard| check(shard, &log, settle_first),
                    BatchSize::LargeInput,
                );
            });
        }
        group.bench_function(format!("check/{streams}_streams_of_{batch_records}/history"), |bencher| {
            bencher.iter_batched_ref(
                || {
                    let mut shard = Shard::new(config());
                    shard.keep_history();
                    shard
                },
                |shard| {
                    check(shard, &log, true);
                    black_box(shard.take_history());
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, benchmarks);
criterion_main!(benches);
