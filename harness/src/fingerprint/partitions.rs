//! How records are spread over partitions.
//!
//! **Definition.** Shares of the records of the covered span. They are *even* if their variation (standard deviation over mean) is
//! at most 5 % plus twice what chance alone would give by Poisson's law.
//!
//! Where keys don't decide, records are *sticky* if a batch holds a stretch of its producer's whole traffic, and not every n-th record of
//! it. In a batch, records follow each other at some rate; times the number of producers and over the rate of the
//! partition as a whole, that is 1 where partitions take turns record by record, and the number of partitions where
//! batches go to one after the other. The geometric middle decides, by the median over the batches. Producers that are not
//! idempotent have no ids, so how many there are is unknown: then nothing is said.

use std::collections::BTreeSet;

use serde::Serialize;

use super::quantile::variation;
use super::sample::Sample;

const VARIATION_MAX: f64 = 0.05;
/// Batches of two and more records from which on something is said about runs.
const BATCHES_MIN: usize = 10;

/// How records are spread over partitions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartitionEstimate {
    /// Share of each partition.
    pub shares: Vec<f64>,
    /// Standard deviation over mean of the shares.
    pub variation: f64,
    /// Up to this variation shares count as even.
    pub variation_max: f64,
    /// Whether they do.
    pub even: bool,
    /// Whether records come in runs to one partition; `None`: too little to tell, one partition only, producers without ids,
    /// or keys decide.
    pub sticky: Option<bool>,
}

impl PartitionEstimate {
    /// The largest share over what an even share would be.
    pub fn largest_over_mean(&self) -> f64 {
        self.shares.iter().copied().fold(0.0, f64::max) * self.shares.len() as f64
    }
}

/// `keyed`: keys decide where records go.
pub(super) fn estimate(sample: &Sample, keyed: bool) -> PartitionEstimate {
    let mut counts = vec![0.0; sample.partitions as usize];
    for record in sample.covered() {
        if let Some(count) = counts.get_mut(record.partition as usize) {
            *count += 1.0;
        }
    }
    let records: f64 = counts.iter().sum();
    let variation = variation(&counts);
    let per_partition = records / counts.len().max(1) as f64;
    let variation_max = VARIATION_MAX + 2.0 / per_partition.max(1.0).sqrt();
    PartitionEstimate {
        shares: counts.iter().map(|count| count / records.max(1.0)).collect(),
        variation,
        variation_max,
        even: variation <= variation_max,
        sticky: if keyed { None } else { sticky(sample, &counts) },
    }
}

fn sticky(sample: &Sample, counts: &[f64]) -> Option<bool> {
    let span_ms = sample.span.length_ms() as f64;
    let anonymous = sample.batches.iter().any(|batch| batch.producer_id < 0);
    if sample.partitions < 2 || span_ms == 0.0 || anonymous {
        return None;
    }
    let mut producers = BTreeSet::new();
    let mut densities = Vec::new();
    for batch in sample.batches.iter().filter(|batch| batch.records > 1) {
        let Some(spread_ms) = batch.spread_ms else { continue };
        let of_partition = counts.get(batch.partition as usize).copied().unwrap_or(0.0) / span_ms;
        if of_partition > 0.0 {
            // A millisecond is as short as a timestamp can tell.
            densities.push(f64::from(batch.records - 1) / (spread_ms as f64).max(1.0) / of_partition);
            producers.insert(batch.producer_id);
        }
    }
    if densities.len() < BATCHES_MIN {
        return None;
    }
    densities.sort_unstable_by(f64::total_cmp);
    let median = densities[densities.len() / 2];
    Some(median * producers.len() as f64 > f64::from(sample.partitions).sqrt())
}

#[cfg(test)]
mod tests {
    use gauntlet_wire::codec::Codec;

    use super::*;
    use crate::fingerprint::sample::{BatchSeen, RecordSeen, Span};

    /// 12,000 records in 6 s on 6 partitions; `spread_ms` of batches with 20 records.
    fn sample(spread_ms: u64, partition_of: impl Fn(u32) -> u32) -> Sample {
        let record = |k: u32| RecordSeen {
            partition: partition_of(k),
            timestamp_ms: i64::from(k / 2),
            key: None,
            value_bytes: Some(100),
        };
        let batch = |k: u32| BatchSeen {
            partition: k % 6,
            codec: Codec::None,
            producer_id: i64::from(k % 2),
            records: 20,
            stored_bytes: 0,
            uncompressed_bytes: 0,
            spread_ms: Some(spread_ms),
            transactional: false,
        };
        Sample {
            partitions: 6,
            records: (0..12_000).map(record).collect(),
            batches: (0..600).map(batch).collect(),
            span: Span { from_ms: 0, until_ms: 5_999 },
            ..Sample::default()
        }
    }

    #[test]
    fn turns_are_even() {
        // Two producers, each with a sixth of a record per millisecond and partition: 20 records take 114 ms.
        let found = estimate(&sample(114, |k| k % 6), false);
        assert!(found.even && found.sticky == Some(false), "{found:?}");
        assert!((found.largest_over_mean() - 1.0).abs() < 0.01, "{found:?}");
    }

    #[test]
    fn runs_are_sticky() {
        // All of a producer's traffic, one record per millisecond.
        let found = estimate(&sample(19, |k| k / 20 % 6), false);
        assert!(found.even && found.sticky == Some(true), "{found:?}");
    }

    #[test]
    fn a_partition_with_more_is_not_even() {
        let found = estimate(&sample(114, |k| if k % 2 == 0 { 0 } else { k % 6 }), true);
        assert!(!found.even && found.largest_over_mean() > 2.5, "{found:?}");
    }

    #[test]
    fn nothing_is_said_of_too_little() {
        assert_eq!(estimate(&Sample { partitions: 1, ..sample(1, |_| 0) }, false).sticky, None);
        assert_eq!(estimate(&Sample { batches: Vec::new(), ..sample(1, |k| k % 6) }, false).sticky, None);
        assert_eq!(estimate(&sample(19, |k| k / 20 % 6), true).sticky, None, "keys decide");
        // Six producers without ids that take turns would look like one with runs.
        let mut anonymous = sample(19, |k| k % 6);
        anonymous.batches[7].producer_id = -1;
        assert_eq!(estimate(&anonymous, false).sticky, None, "not every producer has an id");
    }
}
