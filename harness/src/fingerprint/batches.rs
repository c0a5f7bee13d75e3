//! Batches, and what producers have to be set to for such ones.
//!
//! **Definition.** Of all whole batches, by their headers. They count as *full* if at least half of them have 90 % of the bytes of
//! the p99 before compression: then `batch.size` ended them, and is taken to be that p99, rounded up to a power of two
//! where that is within two records, else to 1 KiB; `linger.ms` must not end them sooner, so it is the p99 of the time from
//! first to last record. Otherwise `linger.ms` ended them. Of n records, the first begins the wait L, and the last of the
//! others, which come at any time in it, is expected after L (n - 1) / n; so L is the median of the time from first to last
//! record times n / (n - 1), over batches that are not full and hold more than one. It is 0 if the median batch is a single
//! record, which waited for nobody. `batch.size` then only has to be large enough: the next power of two above the p99, at
//! least Kafka's default.

use std::collections::BTreeSet;

use serde::Serialize;

use super::quantile::{mean, quantile};
use super::sample::{BatchSeen, Sample};

/// Kafka's default.
const BATCH_SIZE_DEFAULT: u64 = 16_384;
/// Larger ones are not proposed: they would be buffers, not batches.
const BATCH_SIZE_MAX: u64 = 64 << 20;
const FULL_SHARE_MIN: f64 = 0.5;

/// How records are put into batches.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BatchEstimate {
    /// Whole batches in the sample.
    pub batches: u64,
    /// Records of a batch.
    pub records: Distribution,
    /// Bytes of a batch before compression.
    pub uncompressed_bytes: Distribution,
    /// Bytes of a batch in the log.
    pub stored_bytes: Distribution,
    /// Milliseconds from the first record to the last; `None` if brokers set the times.
    pub spread_ms: Option<Distribution>,
    /// Share of the batches that are about as large as the largest.
    pub full_share: f64,
    /// What `batch.size` has to be.
    pub batch_size: u64,
    /// What `linger.ms` has to be; `None` if brokers set the times, or no batch is whole.
    pub linger_ms: Option<u64>,
    /// Different producer ids.
    pub producer_ids: u64,
    /// Share of the batches that have one: those of idempotent producers.
    pub idempotent_share: f64,
    /// Batches of transactions.
    pub transactional: u64,
    /// Batches that hold no records but, for example, ends of transactions.
    pub control: u64,
}

/// Some values of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Distribution {
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 99th percentile.
    pub p99: u64,
    /// Largest.
    pub max: u64,
}

impl Distribution {
    fn of(values: impl Iterator<Item = u64>) -> Self {
        let mut sorted: Vec<u64> = values.collect();
        sorted.sort_unstable();
        Distribution {
            mean: mean(&sorted),
            p50: quantile(&sorted, 0.5),
            p90: quantile(&sorted, 0.9),
            p99: quantile(&sorted, 0.99),
            max: quantile(&sorted, 1.0),
        }
    }
}

pub(super) fn estimate(sample: &Sample) -> BatchEstimate {
    let batches = &sample.batches;
    let count = batches.len().max(1) as f64;
    let share = |is: &dyn Fn(&BatchSeen) -> bool| batches.iter().filter(|b| is(b)).count() as f64 / count;
    let records = Distribution::of(batches.iter().map(|b| u64::from(b.records)));
    let uncompressed_bytes = Distribution::of(batches.iter().map(|b| b.uncompressed_bytes));
    let spreads: Option<Vec<u64>> = batches.iter().map(|b| b.spread_ms).collect();
    let spread_ms =
        spreads.filter(|spreads| !spreads.is_empty()).map(|spreads| Distribution::of(spreads.into_iter()));
    let is_full = |b: &BatchSeen| b.uncompressed_bytes as f64 >= 0.9 * uncompressed_bytes.p99 as f64;
    let full_share = share(&is_full);
    let single = records.p50 <= 1;
    let full = full_share >= FULL_SHARE_MIN && !single;
    let ids: BTreeSet<i64> = batches.iter().map(|b| b.producer_id).filter(|id| *id >= 0).collect();
    BatchEstimate {
        batches: batches.len() as u64,
        stored_bytes: Distribution::of(batches.iter().map(|b| b.stored_bytes)),
        full_share,
        batch_size: batch_size(full, uncompressed_bytes, records.mean),
        linger_ms: spread_ms.map(|spread| match (single, full) {
            (true, _) => 0,
            (false, true) => spread.p99,
            (false, false) => linger_ms(batches.iter().filter(|b| !is_full(b))),
        }),
        producer_ids: ids.len() as u64,
        idempotent_share: share(&|b| b.producer_id >= 0),
        transactional: batches.iter().filter(|b| b.transactional).count() as u64,
        control: sample.control_batches,
        records,
        uncompressed_bytes,
        spread_ms,
    }
}

/// How long batches waited for more records that were not filled.
fn linger_ms<'b>(batches: impl Iterator<Item = &'b BatchSeen>) -> u64 {
    let wait = |batch: &BatchSeen| {
        let records = f64::from(batch.records);
        (batch.spread_ms.unwrap_or(0) as f64 * records / (records - 1.0)).round() as u64
    };
    Distribution::of(batches.filter(|batch| batch.records > 1).map(wait)).p50
}

fn batch_size(full: bool, bytes: Distribution, records: f64) -> u64 {
    let power = bytes.p99.max(1).next_power_of_two();
    let size = if !full {
        power.max(BATCH_SIZE_DEFAULT)
    } else if (power - bytes.p99) as f64 <= 2.0 * bytes.mean / records.max(1.0) {
        power
    } else {
        bytes.p99.next_multiple_of(1024)
    };
    size.min(BATCH_SIZE_MAX)
}

#[cfg(test)]
mod tests {
    use gauntlet_wire::codec::Codec;

    use super::*;

    fn estimate_of(batches: Vec<BatchSeen>) -> BatchEstimate {
        estimate(&Sample { batches, ..Sample::default() })
    }

    fn batch(records: u32, uncompressed_bytes: u64, spread_ms: u64) -> BatchSeen {
        BatchSeen {
            partition: 0,
            codec: Codec::None,
            producer_id: 4,
            records,
            stored_bytes: uncompressed_bytes,
            uncompressed_bytes,
            spread_ms: Some(spread_ms),
            transactional: false,
        }
    }

    #[test]
    fn full_batches_tell_batch_size() {
        let mut batches: Vec<BatchSeen> = (0..90).map(|i| batch(150, 16_200 + i, 3)).collect();
        batches.extend((0..10).map(|_| batch(20, 2_200, 1)));
        let found = estimate_of(batches);
        assert_eq!((found.batch_size, found.linger_ms), (16_384, Some(3)));
        assert_eq!((found.full_share, found.producer_ids, found.idempotent_share), (0.9, 1, 1.0));
        assert_eq!(found.records.p50, 150);
        let odd = estimate_of((0..50).map(|_| batch(100, 20_100, 3)).collect());
        assert_eq!(odd.batch_size, 20_480, "no power of two is near");
    }

    #[test]
    fn batches_that_were_not_filled_tell_linger() {
        let found = estimate_of((1..=100).map(|i| batch(i, 100 * u64::from(i), 10)).collect());
        assert_eq!((found.batch_size, found.linger_ms), (16_384, Some(10)));
        let larger = estimate_of((1..=100).map(|i| batch(i, 1_000 * u64::from(i), 20)).collect());
        assert_eq!((larger.batch_size, larger.linger_ms), (131_072, Some(20)));
        // Pairs are half of the wait apart on average.
        let pairs: Vec<BatchSeen> = (0..=20).map(|ms| batch(2, 300 + 20 * ms, ms)).collect();
        assert_eq!(estimate_of(pairs).linger_ms, Some(16), "of those that are not full: 0 to 16 ms");
    }

    #[test]
    fn single_records_wait_for_nobody() {
        let mut batches = vec![batch(1, 170, 0); 9];
        batches.push(batch(3, 400, 8));
        let found = estimate_of(batches);
        assert_eq!((found.batch_size, found.linger_ms), (16_384, Some(0)));
    }

    #[test]
    fn times_of_brokers_tell_nothing_of_linger() {
        let mut appended = batch(10, 1_000, 0);
        appended.spread_ms = None;
        appended.producer_id = -1;
        let found = estimate_of(vec![appended; 5]);
        assert_eq!((found.linger_ms, found.spread_ms, found.producer_ids), (None, None, 0));
        assert_eq!(found.idempotent_share, 0.0);
    }

    #[test]
    fn no_batch_tells_nothing_of_linger() {
        assert_eq!((estimate_of(Vec::new()).linger_ms, estimate_of(Vec::new()).spread_ms), (None, None));
    }
}
