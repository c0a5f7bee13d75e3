//! The rate curve.
//!
//! **Definition.** The span of the sample is cut into equal buckets, as many as hold 100 records each on average, at most 20,
//! none shorter than 20 ms (timestamps are whole milliseconds). The rate of a bucket is its records over its length. The
//! curve is *constant* if the variation of the buckets (standard deviation over mean) is at most 10 % plus twice what chance
//! alone would give by Poisson's law; or if there are fewer than four buckets, which make no curve. The mean rate is the
//! number of records less one over the time from the first to the last.

use serde::Serialize;

use super::quantile::variation;
use super::sample::{Sample, Span};

const BUCKETS_MAX: u64 = 20;
const BUCKETS_MIN: u64 = 4;
const BUCKET_RECORDS: u64 = 100;
const BUCKET_MS_MIN: u64 = 20;
const VARIATION_MAX: f64 = 0.10;

/// How many records came per second, over time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RateEstimate {
    /// Mean. If all records are of one millisecond, which tells no rate: their number.
    pub per_s: f64,
    /// Length of the span, in seconds; 0 if all records are of one millisecond.
    pub span_s: f64,
    /// Records in the span.
    pub records: u64,
    /// Rate of each bucket in turn; empty if there are too few for a curve.
    pub buckets_per_s: Vec<f64>,
    /// Length of a bucket in milliseconds.
    pub bucket_ms: f64,
    /// Standard deviation over mean of the buckets.
    pub variation: f64,
    /// Up to this variation the rate counts as constant.
    pub variation_max: f64,
    /// Whether it does.
    pub constant: bool,
}

pub(super) fn estimate(sample: &Sample) -> RateEstimate {
    let timestamps: Vec<i64> = sample.covered().map(|record| record.timestamp_ms).collect();
    of(&timestamps, sample.span)
}

fn of(timestamps: &[i64], span: Span) -> RateEstimate {
    let records = timestamps.len() as u64;
    let length_ms = span.length_ms();
    let span_s = length_ms as f64 / 1e3;
    let per_s = match length_ms {
        0 => records as f64,
        _ => records.saturating_sub(1) as f64 / span_s,
    };
    let buckets = (records / BUCKET_RECORDS).min(length_ms / BUCKET_MS_MIN).min(BUCKETS_MAX);
    if buckets < BUCKETS_MIN {
        let (buckets_per_s, variation_max) = (Vec::new(), VARIATION_MAX);
        let (bucket_ms, variation) = (0.0, 0.0);
        return RateEstimate {
            per_s,
            span_s,
            records,
            buckets_per_s,
            bucket_ms,
            variation,
            variation_max,
            constant: true,
        };
    }
    // A millisecond is a stretch of time, not an instant: the last one belongs to the span.
    let bucket_ms = (length_ms + 1) as f64 / buckets as f64;
    let mut counts = vec![0.0; buckets as usize];
    for timestamp in timestamps {
        let index = (timestamp.abs_diff(span.from_ms) as f64 / bucket_ms) as usize;
        counts[index.min(buckets as usize - 1)] += 1.0;
    }
    let variation = variation(&counts);
    let variation_max = VARIATION_MAX + 2.0 / (records as f64 / buckets as f64).sqrt();
    RateEstimate {
        per_s,
        span_s,
        records,
        buckets_per_s: counts.iter().map(|count| count * 1e3 / bucket_ms).collect(),
        bucket_ms,
        variation,
        variation_max,
        constant: variation <= variation_max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(timestamps: &[i64]) -> RateEstimate {
        let (from_ms, until_ms) = (*timestamps.first().unwrap(), *timestamps.last().unwrap());
        of(timestamps, Span { from_ms, until_ms })
    }

    #[test]
    fn an_even_load_is_constant() {
        let timestamps: Vec<i64> = (0..10_000).map(|k| 5_000 + k / 5).collect();
        let rate = estimate(&timestamps);
        assert!(rate.constant, "{rate:?}");
        assert!((rate.per_s / 5_000.0 - 1.0).abs() < 0.01, "{rate:?}");
        assert_eq!(rate.buckets_per_s.len(), 20);
    }

    #[test]
    fn a_poisson_load_is_constant_too() {
        let mut rng = crate::random::SplitMix::of(1, 2, 3);
        let mut at = 0.0;
        let timestamps: Vec<i64> = (0..4_000)
            .map(|_| {
                at += rng.exponential() * 3.0;
                at as i64
            })
            .collect();
        let rate = estimate(&timestamps);
        assert!(rate.constant && rate.variation > 0.02, "{rate:?}");
    }

    #[test]
    fn a_ramp_is_a_curve() {
        // From 0 to 2,000 per second in 10 s.
        let timestamps: Vec<i64> =
            (0..10_000).map(|k| (f64::from(k) / 10_000.0).sqrt() * 1e4).map(|t| t as i64).collect();
        let rate = estimate(&timestamps);
        assert!(!rate.constant, "{rate:?}");
        assert!(rate.buckets_per_s.windows(2).all(|pair| pair[0] < pair[1]), "{rate:?}");
        let sum: f64 = rate.buckets_per_s.iter().map(|per_s| per_s * rate.bucket_ms / 1e3).sum();
        assert!((sum - 10_000.0).abs() < 1e-6, "every record is in one bucket: {sum}");
    }

    #[test]
    fn few_records_make_no_curve() {
        let rate = estimate(&[10, 20, 30]);
        assert_eq!((rate.per_s, rate.constant, rate.buckets_per_s.len()), (100.0, true, 0));
        let instant = estimate(&[10, 10, 10]);
        assert_eq!((instant.per_s, instant.span_s), (3.0, 0.0));
    }
}
