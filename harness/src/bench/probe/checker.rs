//! What checking a record costs: decoding its identity, its checksum, and all streaming rules, with settlements and batch
//! headers as they come in a run.
//!
//! Values are made beforehand, as much as lies in a processor's cache: in a run they have just been decompressed.

use std::hint::black_box;
use std::time::Instant;

use gauntlet_verify::IDENTITY_LEN;

use super::{Cost, ProbeError, begin_acked_batch, shard, thread_cpu_s};
use crate::bench::payload::ValueMaker;
use crate::units::Bytes;

const RUN: u32 = 1;
const TOPIC: &str = "checked";
/// Bytes of values that are made beforehand.
const BLOCK_BYTES: usize = 1 << 20;
/// Records of a batch: of the quickstart's, at 1M msg/s.
const BATCH: usize = 1_800;

/// Checks at least so many records of this size.
///
/// # Errors
/// The checker did not take every record for one of the run.
pub fn measure(size: Bytes, records: u64) -> Result<Cost, ProbeError> {
    let value_bytes = (size.get() as usize).max(IDENTITY_LEN);
    let block = values(value_bytes, (BLOCK_BYTES / value_bytes).max(BATCH));
    let in_block = (block.len() / value_bytes) as u64;
    let mut checked = 0;
    let (begun, before_s) = (Instant::now(), thread_cpu_s());
    while checked < records {
        let found = check(&block, value_bytes);
        if found != in_block {
            return Err(ProbeError::Incomplete(format!("the checker found {found} of {in_block} records")));
        }
        checked += found;
    }
    Ok(Cost { records: checked, cpu_s: thread_cpu_s() - before_s, seconds: begun.elapsed().as_secs_f64() })
}

/// Values of one stream, one after the other.
fn values(value_bytes: usize, count: usize) -> Vec<u8> {
    let maker = ValueMaker::new(1, RUN, TOPIC, value_bytes);
    let mut block = vec![0; value_bytes * count];
    for (pseq, value) in block.chunks_exact_mut(value_bytes).enumerate() {
        maker.write(pseq as u64, value);
    }
    block
}

/// One block through a checker of its own; how many records it took for the run's.
fn check(block: &[u8], value_bytes: usize) -> u64 {
    let mut shard = shard(RUN, TOPIC, 0);
    let mut offset = 0;
    for batch in block.chunks(BATCH * value_bytes) {
        let count = (batch.len() / value_bytes) as u32;
        begin_acked_batch(&mut shard, offset as u64, count);
        for value in batch.chunks_exact(value_bytes) {
            black_box(shard.record(offset, value));
            offset += 1;
        }
        shard.end_batch();
        shard.advance(offset);
    }
    let summary = shard.summary();
    if summary.acked == offset as u64 && summary.lost == 0 { summary.checked } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_is_checked_and_found() {
        let cost = measure(Bytes::new(100), 30_000).unwrap();
        assert!(cost.records >= 30_000 && cost.cpu_s > 0.0, "{cost:?}");
        let mut block = values(100, BATCH);
        assert_eq!(check(&block, 100), BATCH as u64);
        block[50] ^= 1;
        assert!(check(&block, 100) < BATCH as u64, "a damaged record is no record of the run");
    }
}
