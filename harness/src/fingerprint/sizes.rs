//! Lengths of values.
//!
//! **Definition.** Of all values that are there (a tombstone has none). *Fixed* if all are equally long; the lengths
//! themselves if there are at most eight; else eight groups of the sorted lengths, cut at 20, 40, 60, 80, 95, 98.5 and
//! 99.5 %, each standing for its mean. So the mean is kept but for rounding, and the median and p99 lie inside of a group and
//! not between two.

use serde::Serialize;

use super::quantile::{mean, quantile};
use super::sample::Sample;

/// Where the groups end, as shares of the values.
const CUTS: [f64; 8] = [0.2, 0.4, 0.6, 0.8, 0.95, 0.985, 0.995, 1.0];

/// How long values are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SizeEstimate {
    /// Values that the rest is about.
    pub values: u64,
    /// Mean length in bytes.
    pub mean: f64,
    /// Shortest.
    pub min: u64,
    /// Half of them are not longer.
    pub p50: u64,
    /// 99 % of them are not longer.
    pub p99: u64,
    /// Longest.
    pub max: u64,
    /// Lengths that stand for them, in rising order, each with a number of values.
    pub groups: Vec<SizeGroup>,
    /// Records without a value.
    pub tombstones: u64,
    /// Values that are shorter than the identity of a record of gauntlet.
    pub below_identity: u64,
}

/// A length and for how many values it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SizeGroup {
    /// Length in bytes.
    pub bytes: u64,
    /// Number of values.
    pub values: u64,
}

pub(super) fn estimate(sample: &Sample) -> SizeEstimate {
    let lengths = sample.records.iter().filter_map(|record| record.value_bytes).map(u64::from).collect();
    of(lengths, sample.records.len() as u64)
}

fn of(mut lengths: Vec<u64>, records: u64) -> SizeEstimate {
    lengths.sort_unstable();
    SizeEstimate {
        values: lengths.len() as u64,
        mean: mean(&lengths),
        min: lengths.first().copied().unwrap_or(0),
        p50: quantile(&lengths, 0.5),
        p99: quantile(&lengths, 0.99),
        max: lengths.last().copied().unwrap_or(0),
        groups: groups(&lengths),
        tombstones: records - lengths.len() as u64,
        below_identity: lengths.partition_point(|bytes| *bytes < gauntlet_verify::IDENTITY_LEN as u64) as u64,
    }
}

fn groups(sorted: &[u64]) -> Vec<SizeGroup> {
    let distinct: Vec<&[u64]> = sorted.chunk_by(|a, b| a == b).take(CUTS.len() + 1).collect();
    let parts = if distinct.len() <= CUTS.len() { distinct } else { cut(sorted) };
    let mut groups: Vec<SizeGroup> = Vec::new();
    for part in parts {
        let (bytes, values) = (mean(part).round() as u64, part.len() as u64);
        match groups.last_mut() {
            Some(last) if last.bytes == bytes => last.values += values,
            _ => groups.push(SizeGroup { bytes, values }),
        }
    }
    groups
}

/// The groups that are not empty.
fn cut(sorted: &[u64]) -> Vec<&[u64]> {
    let mut begin = 0;
    let mut parts = Vec::new();
    for share in CUTS {
        let end = ((sorted.len() as f64 * share).round() as usize).clamp(begin, sorted.len());
        if end > begin {
            parts.push(&sorted[begin..end]);
        }
        begin = end;
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sizes::{SizePlan, Sizes};

    fn mean_of(groups: &[SizeGroup]) -> f64 {
        let values: u64 = groups.iter().map(|g| g.values).sum();
        groups.iter().map(|g| g.bytes as f64 * g.values as f64).sum::<f64>() / values as f64
    }

    fn quantile_of(groups: &[SizeGroup], q: f64) -> u64 {
        let all: Vec<u64> =
            groups.iter().flat_map(|g| std::iter::repeat_n(g.bytes, g.values as usize)).collect();
        quantile(&all, q)
    }

    #[test]
    fn one_length_is_fixed_and_few_are_themselves() {
        assert_eq!(of(vec![100; 50], 50).groups, [SizeGroup { bytes: 100, values: 50 }]);
        let sizes = of([vec![64; 70], vec![512; 20], vec![2_048; 10]].concat(), 103);
        assert_eq!(
            sizes.groups.iter().map(|g| (g.bytes, g.values)).collect::<Vec<_>>(),
            [(64, 70), (512, 20), (2_048, 10)]
        );
        assert_eq!((sizes.tombstones, sizes.below_identity, sizes.p50, sizes.max), (3, 0, 64, 2_048));
    }

    #[test]
    fn groups_of_a_log_normal_load_keep_mean_median_and_p99() {
        let plan = SizePlan::LogNormal { median: 300, sigma: 1.0, min: 34, max: 65_536 };
        let drawn = Sizes::new(plan, 3);
        let sizes = of((0..20_000).map(|k| drawn.of(0, k) as u64).collect(), 20_000);
        assert_eq!(sizes.groups.len(), 8);
        assert!((mean_of(&sizes.groups) / sizes.mean - 1.0).abs() < 0.01, "{sizes:?}");
        for (q, exact) in [(0.5, sizes.p50), (0.99, sizes.p99)] {
            let kept = quantile_of(&sizes.groups, q);
            assert!((kept as f64 / exact as f64 - 1.0).abs() < 0.1, "p{q}: {kept} for {exact}");
        }
    }

    #[test]
    fn nothing_has_no_groups() {
        let sizes = of(Vec::new(), 5);
        assert_eq!((sizes.groups.len(), sizes.tombstones), (0, 5));
    }

    proptest! {
        #[test]
        fn every_value_is_in_one_group(lengths in prop::collection::vec(0u64..5_000, 1..400)) {
            let count = lengths.len() as u64;
            let sizes = of(lengths, count);
            prop_assert!(sizes.groups.len() <= 8);
            prop_assert_eq!(sizes.groups.iter().map(|g| g.values).sum::<u64>(), count);
            prop_assert!(sizes.groups.windows(2).all(|pair| pair[0].bytes < pair[1].bytes));
            prop_assert!((mean_of(&sizes.groups) - sizes.mean).abs() <= 0.5 + 1e-9, "{:?}", sizes);
        }
    }
}
