//! What a record costs on its way into a batch and out of one: 100-byte values as gauntlet makes them, 400 to a batch.
//! Divide a time by 400 for nanoseconds per record.

#![expect(clippy::unwrap_used, reason = "a benchmark of what is known to succeed")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gauntlet_wire::batch::{BatchBuilder, BatchStamp, RecordSpec, RecordsBuffer, SealedBatch, next_batch};
use gauntlet_wire::codec::Codec;

const RECORDS: u64 = 400;
const VALUE_BYTES: usize = 100;
/// Bytes of a value that a codec can't shrink: the checksum of an identity, and a fifth of the body behind it.
const NOISE: std::ops::Range<usize> = 30..47;

fn build(builder: &mut BatchBuilder, noise: &mut u64) -> SealedBatch {
    for i in 0..RECORDS {
        let spec = RecordSpec {
            timestamp_ms: i as i64 / 80,
            key: None,
            value_bytes: VALUE_BYTES,
            own_header: None,
            headers: &[],
        };
        builder.append(&spec, |value| {
            value.fill(0x5a);
            value[14..22].copy_from_slice(&(77_000 + i).to_be_bytes());
            value[22..30].copy_from_slice(&(1_789_000_000_000 + i * 12_000).to_be_bytes());
            for chunk in value[NOISE].chunks_mut(8) {
                *noise ^= *noise << 13;
                *noise ^= *noise >> 7;
                *noise ^= *noise << 17;
                chunk.copy_from_slice(&noise.to_le_bytes()[..chunk.len()]);
            }
        });
    }
    builder.seal(BatchStamp { producer_id: 1, producer_epoch: 0, base_sequence: 0 })
}

fn batches(c: &mut Criterion) {
    let mut noise = 88_172_645_463_325_252;
    let mut group = c.benchmark_group("batch");
    group.throughput(Throughput::Elements(RECORDS));
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new(codec);
        group.bench_function(format!("encode/{codec}"), |b| {
            b.iter(|| black_box(build(&mut builder, &mut noise)))
        });
        let batch = build(&mut builder, &mut noise);
        let mut buffer = RecordsBuffer::default();
        group.bench_function(format!("decode/{codec}"), |b| {
            b.iter(|| {
                let (header, _) = next_batch(batch.bytes()).unwrap().unwrap();
                header.verify_crc(batch.bytes()).unwrap();
                let mut records = header.records(batch.bytes(), &mut buffer).unwrap();
                let mut bytes = 0;
                while let Some(record) = records.next_record().unwrap() {
                    bytes += record.value.map_or(0, <[u8]>::len);
                }
                black_box(bytes)
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = batches
}
criterion_main!(benches);
