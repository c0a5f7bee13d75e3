//! Sizes of values: one, or drawn for each record.

use std::sync::Arc;

use rand::distr::Distribution;
use rand_distr::LogNormal;

use crate::random::SplitMix;
use crate::trace::Trace;

/// How long values are.
#[derive(Debug, Clone, PartialEq)]
pub enum SizePlan {
    /// All alike.
    Fixed(usize),
    /// Every length in between equally often.
    Uniform {
        /// Shortest.
        min: usize,
        /// Longest.
        max: usize,
    },
    /// The logarithm of the length is normally distributed: many short values, a few long ones.
    LogNormal {
        /// Half of the values are shorter.
        median: usize,
        /// Standard deviation of the logarithm (natural).
        sigma: f64,
        /// Shortest: what is drawn below is made so long.
        min: usize,
        /// Longest: what is drawn above is made so long.
        max: usize,
    },
    /// Certain lengths, each with a weight. At least one weight is above 0.
    Weighted(Vec<(usize, f64)>),
    /// As recorded.
    Recorded(Arc<Trace>),
}

impl SizePlan {
    /// The shortest value there may be.
    pub fn min(&self) -> usize {
        match self {
            SizePlan::Fixed(bytes) => *bytes,
            SizePlan::Uniform { min, .. } | SizePlan::LogNormal { min, .. } => *min,
            SizePlan::Weighted(sizes) => sizes.iter().map(|(bytes, _)| *bytes).min().unwrap_or(0),
            SizePlan::Recorded(trace) => trace.value_bytes_range().0,
        }
    }

    /// The longest value there may be.
    pub fn max(&self) -> usize {
        match self {
            SizePlan::Fixed(bytes) => *bytes,
            SizePlan::Uniform { max, .. } | SizePlan::LogNormal { max, .. } => *max,
            SizePlan::Weighted(sizes) => sizes.iter().map(|(bytes, _)| *bytes).max().unwrap_or(0),
            SizePlan::Recorded(trace) => trace.value_bytes_range().1,
        }
    }

    /// Mean length. Of a clamped log-normal distribution there is no short formula: the mean of many draws.
    pub fn mean(&self) -> f64 {
        match self {
            SizePlan::Fixed(bytes) => *bytes as f64,
            SizePlan::Uniform { min, max } => (*min + *max) as f64 / 2.0,
            SizePlan::Weighted(sizes) => {
                let weights: f64 = sizes.iter().map(|(_, weight)| weight).sum();
                sizes.iter().map(|(bytes, weight)| *bytes as f64 * weight).sum::<f64>() / weights
            }
            SizePlan::Recorded(trace) => trace.value_bytes_mean(),
            SizePlan::LogNormal { .. } => {
                const DRAWS: u64 = 100_000;
                let sizes = Sizes::new(self.clone(), 0);
                (0..DRAWS).map(|index| sizes.of(0, index) as f64).sum::<f64>() / DRAWS as f64
            }
        }
    }
}

/// Draws the sizes of one producer's values.
#[derive(Debug, Clone)]
pub struct Sizes {
    plan: SizePlan,
    seed: u64,
    log_normal: Option<LogNormal<f64>>,
    weights: f64,
}

impl Sizes {
    /// `seed` is the producer's own.
    pub fn new(plan: SizePlan, seed: u64) -> Self {
        let log_normal = match plan {
            SizePlan::LogNormal { median, sigma, .. } => LogNormal::new((median as f64).ln(), sigma).ok(),
            _ => None,
        };
        let weights = match &plan {
            SizePlan::Weighted(sizes) => sizes.iter().map(|(_, weight)| weight).sum(),
            _ => 0.0,
        };
        Sizes { plan, seed, log_normal, weights }
    }

    /// Length of the value of record `index` of `partition`.
    #[inline]
    pub fn of(&self, partition: usize, index: u64) -> usize {
        match &self.plan {
            SizePlan::Fixed(bytes) => *bytes,
            SizePlan::Uniform { min, max } => {
                min + (self.draws(partition, index).unit() * (max - min + 1) as f64) as usize
            }
            SizePlan::LogNormal { median, min, max, .. } => {
                let draw = |d: LogNormal<f64>| d.sample(&mut self.draws(partition, index));
                (self.log_normal.map_or(*median as f64, draw) as usize).clamp(*min, *max)
            }
            SizePlan::Weighted(sizes) => {
                let mut left = self.draws(partition, index).unit() * self.weights;
                for (bytes, weight) in sizes {
                    left -= weight;
                    if left < 0.0 {
                        return *bytes;
                    }
                }
                self.plan.max()
            }
            SizePlan::Recorded(trace) => trace.size(partition, index),
        }
    }

    fn draws(&self, partition: usize, index: u64) -> SplitMix {
        SplitMix::of(self.seed, partition as u64, index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plans() -> Vec<SizePlan> {
        vec![
            SizePlan::Fixed(100),
            SizePlan::Uniform { min: 50, max: 149 },
            SizePlan::LogNormal { median: 200, sigma: 0.8, min: 40, max: 4_000 },
            SizePlan::Weighted(vec![(64, 7.0), (512, 2.0), (2_048, 1.0)]),
        ]
    }

    #[test]
    fn sizes_keep_to_their_bounds_and_mean() {
        for plan in plans() {
            let sizes = Sizes::new(plan.clone(), 5);
            let drawn: Vec<usize> = (0..50_000).map(|index| sizes.of(3, index)).collect();
            assert!(drawn.iter().all(|bytes| (plan.min()..=plan.max()).contains(bytes)), "{plan:?}");
            let mean = drawn.iter().sum::<usize>() as f64 / drawn.len() as f64;
            assert!((mean / plan.mean() - 1.0).abs() < 0.02, "{plan:?}: {mean} instead of {}", plan.mean());
            assert_eq!(sizes.of(3, 17), sizes.of(3, 17), "a size can be had again");
        }
    }

    #[test]
    fn half_of_log_normal_sizes_are_below_the_median() {
        let sizes = Sizes::new(SizePlan::LogNormal { median: 200, sigma: 0.8, min: 1, max: 1 << 20 }, 1);
        let below = (0..50_000).filter(|index| sizes.of(0, *index) < 200).count();
        assert!((24_000..26_000).contains(&below), "{below} of 50,000");
    }

    #[test]
    fn weights_are_kept() {
        let sizes = Sizes::new(SizePlan::Weighted(vec![(64, 7.0), (512, 3.0)]), 1);
        let short = (0..50_000).filter(|index| sizes.of(0, *index) == 64).count();
        assert!((34_500..35_500).contains(&short), "{short} of 50,000");
    }
}
