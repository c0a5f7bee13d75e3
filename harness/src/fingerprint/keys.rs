//! Keys: how many there are, and how often each comes.
//!
//! A sample does not hold every key, and sorting keys by how often they happened to come makes any load look skewed. So
//! nothing is fitted to ranks. Of n records with keys, two numbers are taken that mean the same whatever the sample's size:
//!
//! - d, the number of different keys. N keys with probabilities p give `sum(1 - (1 - p)^n)` of them on average.
//! - S, the probability that two records have the same key: `sum f (f - 1) / (n (n - 1))` over how often each key came is an
//!   unbiased estimate of `sum p^2` (Simpson's index).
//!
//! **Uniform**: N is the least number of equal keys that gives d. It is taken if S is not above 1/N by more than 10 % plus three
//! standard deviations; *round-robin* instead if keys came 10 times on average and differ less than a third of what chance
//! would do. **Zipf**: the N and exponent that give both d and S (method of moments). **Hot**: h keys before the largest
//! drop (at least to half) have the share that they had, the others are as in *uniform*. Of the last two, the one is taken
//! whose shares of the first 1, 2, 4, ... keys differ less from those seen, where keys came at least 30 times.

use std::collections::HashMap;

use serde::Serialize;

use super::quantile::{quantile, variation};
use super::sample::{KeySeen, Sample};
use crate::keys::KEYS_MAX;

/// Topics with fewer records with keys count as having none.
const KEYED_SHARE_MIN: f64 = 0.5;
/// Pairs of records with the same key below which nothing can be said about skew.
const PAIRS_MIN: f64 = 10.0;
/// How often a key came whose share means something.
const OFTEN: u64 = 30;
/// More keys are not called hot.
const HOT_KEYS_MAX: usize = 1_000;
const EXPONENT_MAX: f64 = 5.0;
const BISECTIONS: u32 = 40;

/// Keys of a topic.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KeyEstimate {
    /// Share of the records that have a key.
    pub keyed_share: f64,
    /// Different keys in the sample. There are at least so many.
    pub distinct: u64,
    /// How often each comes.
    pub model: KeyModel,
    /// The largest difference between a share of the first 1, 2, 4, ... keys and what the model says.
    pub misfit: f64,
    /// Share of the most frequent key, of the records that have one.
    pub top_share: f64,
    /// Median length of a key in bytes.
    pub bytes: u64,
    /// Whether all keys are so long.
    pub same_length: bool,
    /// Share of the records with a key that are in the partition that Kafka's default partitioner chooses.
    pub by_default_partitioner: f64,
}

/// How often each key comes, as a scenario can say it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "distribution", rename_all = "kebab-case")]
pub enum KeyModel {
    /// Most records have no key.
    None,
    /// In turn.
    RoundRobin {
        /// Number of keys.
        keys: u64,
    },
    /// Equally often, at random.
    Uniform {
        /// Number of keys.
        keys: u64,
    },
    /// The k-th with weight 1 / k^exponent.
    Zipf {
        /// Number of keys.
        keys: u64,
        /// Exponent.
        exponent: f64,
    },
    /// A few have most of the records.
    Hot {
        /// Number of keys.
        keys: u64,
        /// How many of them are hot.
        hot_keys: u64,
        /// Share of the records that have a hot key.
        hot_share: f64,
    },
}

impl KeyModel {
    /// Number of keys; 0 without.
    pub fn keys(self) -> u64 {
        match self {
            KeyModel::None => 0,
            KeyModel::RoundRobin { keys }
            | KeyModel::Uniform { keys }
            | KeyModel::Zipf { keys, .. }
            | KeyModel::Hot { keys, .. } => keys,
        }
    }

    /// Share of the records that have one of the `first` most frequent keys.
    fn share_of_first(self, first: u64) -> f64 {
        let part = |first: u64, of: u64| first as f64 / of.max(1) as f64;
        match self {
            KeyModel::None => 0.0,
            KeyModel::RoundRobin { keys } | KeyModel::Uniform { keys } => part(first, keys),
            KeyModel::Zipf { keys, exponent } => {
                let weight = |keys: u64| Ranks::new(keys).sum(|rank| rank.powf(-exponent));
                weight(first) / weight(keys)
            }
            KeyModel::Hot { hot_keys, hot_share, .. } if first <= hot_keys => {
                hot_share * part(first, hot_keys)
            }
            KeyModel::Hot { keys, hot_keys, hot_share } => {
                hot_share + (1.0 - hot_share) * part(first - hot_keys, keys - hot_keys)
            }
        }
    }
}

pub(super) fn estimate(sample: &Sample) -> KeyEstimate {
    let keys: Vec<KeySeen> = sample.records.iter().filter_map(|record| record.key).collect();
    let mut counts: HashMap<u64, u64> = HashMap::new();
    for key in &keys {
        *counts.entry(key.hash).or_default() += 1;
    }
    let mut lengths: Vec<u64> = keys.iter().map(|key| u64::from(key.bytes)).collect();
    lengths.sort_unstable();
    let keyed = keys.len() as f64;
    let keyed_share = keyed / sample.records.len().max(1) as f64;
    let frequencies = Frequencies::new(counts.into_values().collect());
    let model = if keyed_share < KEYED_SHARE_MIN { KeyModel::None } else { frequencies.model() };
    KeyEstimate {
        keyed_share,
        distinct: frequencies.distinct(),
        model,
        misfit: if model == KeyModel::None { 0.0 } else { frequencies.misfit(model) },
        top_share: frequencies.share_of_first(1),
        bytes: quantile(&lengths, 0.5),
        same_length: lengths.first() == lengths.last(),
        by_default_partitioner: keys.iter().filter(|key| key.by_default_partitioner).count() as f64
            / keyed.max(1.0),
    }
}

/// How often each key came, most frequent first.
#[derive(Debug)]
struct Frequencies {
    falling: Vec<u64>,
    records: u64,
}

impl Frequencies {
    fn new(mut counts: Vec<u64>) -> Self {
        counts.sort_unstable_by(|a, b| b.cmp(a));
        Frequencies { records: counts.iter().sum(), falling: counts }
    }

    fn distinct(&self) -> u64 {
        self.falling.len() as u64
    }

    /// Pairs of records with the same key.
    fn pairs(&self) -> f64 {
        self.falling.iter().map(|f| *f as f64 * (*f as f64 - 1.0) / 2.0).sum()
    }

    fn share_of_first(&self, first: usize) -> f64 {
        let sum: u64 = self.falling.iter().take(first).sum();
        sum as f64 / self.records.max(1) as f64
    }

    fn model(&self) -> KeyModel {
        let keys = equal_keys(self.records, self.distinct());
        let records = self.records as f64;
        let pairs = self.pairs();
        let simpson = 2.0 * pairs / (records * (records - 1.0)).max(1.0);
        let skewed = pairs >= PAIRS_MIN && simpson * keys as f64 > 1.1 + 3.0 / pairs.sqrt();
        if !skewed {
            return if self.in_turn() { KeyModel::RoundRobin { keys } } else { KeyModel::Uniform { keys } };
        }
        let zipf = zipf(self.records, self.distinct(), simpson);
        match self.hot() {
            Some(hot) if self.misfit(hot) + 0.01 < self.misfit(zipf) => hot,
            _ => zipf,
        }
    }

    /// Whether keys came more evenly than by chance.
    fn in_turn(&self) -> bool {
        const EACH_MIN: f64 = 10.0;
        let each = self.records as f64 / self.distinct().max(1) as f64;
        let counts: Vec<f64> = self.falling.iter().map(|f| *f as f64).collect();
        // By chance, the variance of a count is its mean.
        each >= EACH_MIN && variation(&counts).powi(2) * each < 1.0 / 3.0
    }

    /// Some keys before a clear drop, and the others.
    fn hot(&self) -> Option<KeyModel> {
        let drops = self.falling.windows(2).take(HOT_KEYS_MAX).enumerate();
        let clear = drops.filter(|(_, pair)| pair[0] >= OFTEN && pair[0] >= 2 * pair[1]);
        let ratio = |pair: &[u64]| pair[0] as f64 / pair[1] as f64;
        let (last, _) = clear.max_by(|(_, a), (_, b)| ratio(a).total_cmp(&ratio(b)))?;
        let hot_keys = last + 1;
        let hot_share = self.share_of_first(hot_keys);
        let others: u64 = self.falling[hot_keys..].iter().sum();
        let keys = hot_keys as u64 + equal_keys(others, self.distinct() - hot_keys as u64);
        Some(KeyModel::Hot { keys, hot_keys: hot_keys as u64, hot_share })
    }

    fn misfit(&self, model: KeyModel) -> f64 {
        let often = self.falling.partition_point(|f| *f >= OFTEN).max(1);
        let steps =
            std::iter::successors(Some(1), |first| Some(first * 2)).take_while(|first| *first <= often);
        let difference =
            |first: usize| (self.share_of_first(first) - model.share_of_first(first as u64)).abs();
        steps.map(difference).fold(0.0, f64::max)
    }
}

/// The least number of keys from which, all equally likely, `records` draws are expected to show `distinct` different ones, to
/// the nearest whole number.
fn equal_keys(records: u64, distinct: u64) -> u64 {
    least(distinct, |keys| {
        let keys = keys as f64;
        keys * -(records as f64 * (-1.0 / keys).ln_1p()).exp_m1() >= distinct as f64 - 0.5
    })
}

/// The least number of keys, with the exponent that goes with it, that gives both numbers.
fn zipf(records: u64, distinct: u64, simpson: f64) -> KeyModel {
    let exponent = |keys: u64| exponent_of(&Ranks::new(keys), simpson);
    let keys = least(distinct, |keys| {
        let ranks = Ranks::new(keys);
        ranks.distinct(exponent_of(&ranks, simpson), records as f64) >= distinct as f64 - 0.5
    });
    KeyModel::Zipf { keys, exponent: exponent(keys) }
}

/// The least number from `low` (at least 1) to [`KEYS_MAX`] that is enough; that limit if none is.
fn least(low: u64, enough: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (low.max(1), u64::from(KEYS_MAX));
    while low < high {
        let middle = low + (high - low) / 2;
        if enough(middle) { high = middle } else { low = middle + 1 }
    }
    low.min(u64::from(KEYS_MAX))
}

/// The exponent for which two records have the same key with this probability.
fn exponent_of(ranks: &Ranks, simpson: f64) -> f64 {
    let (mut low, mut high) = (0.0, EXPONENT_MAX);
    for _ in 0..BISECTIONS {
        let middle = (low + high) / 2.0;
        if ranks.simpson(middle) < simpson { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

/// The ranks from 1 to a number of keys, in groups: each of the first ones by itself, later ones in stretches of 2 %, in which
/// a power of the rank changes as good as linearly. Sums over millions of keys then have some hundred terms.
#[derive(Debug)]
struct Ranks(Vec<RankGroup>);

#[derive(Debug, Clone, Copy)]
struct RankGroup {
    middle: f64,
    count: f64,
}

impl Ranks {
    fn new(keys: u64) -> Self {
        const SINGLE: u64 = 100;
        let mut groups = Vec::new();
        let mut rank = 1;
        while rank <= keys {
            let count = if rank <= SINGLE { 1 } else { rank / 50 }.min(keys + 1 - rank);
            groups.push(RankGroup { middle: rank as f64 + (count - 1) as f64 / 2.0, count: count as f64 });
            rank += count;
        }
        Ranks(groups)
    }

    fn sum(&self, of_rank: impl Fn(f64) -> f64) -> f64 {
        self.0.iter().map(|group| of_rank(group.middle) * group.count).sum()
    }

    /// Probability that two records have the same key.
    fn simpson(&self, exponent: f64) -> f64 {
        self.sum(|rank| rank.powf(-2.0 * exponent)) / self.sum(|rank| rank.powf(-exponent)).powi(2)
    }

    /// Different keys that so many records are expected to have.
    fn distinct(&self, exponent: f64, records: f64) -> f64 {
        let all = self.sum(|rank| rank.powf(-exponent));
        self.sum(|rank| -(records * (-rank.powf(-exponent) / all).ln_1p()).exp_m1())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{KeyPlan, KeySpace, KeyWeights};

    /// Frequencies of so many keys that are drawn as a load draws them, on four partitions.
    fn drawn(cardinality: u32, weights: KeyWeights, records: u64) -> Frequencies {
        let space = KeySpace::new(KeyPlan { cardinality, weights, bytes: 8 }, 4);
        let mut counts: HashMap<Vec<u8>, u64> = HashMap::new();
        for (partition, share) in space.shares().iter().enumerate() {
            for index in 0..(records as f64 * share) as u64 {
                let mut key = vec![0; 8];
                space.write(11, partition, index, &mut key);
                *counts.entry(key).or_default() += 1;
            }
        }
        Frequencies::new(counts.into_values().collect())
    }

    fn near(found: f64, expected: f64, relative: f64) -> bool {
        (found / expected - 1.0).abs() <= relative
    }

    #[test]
    fn equal_keys_are_uniform_whether_or_not_all_were_seen() {
        for (cardinality, records) in [(200, 20_000), (5_000, 20_000), (100_000, 50_000)] {
            let frequencies = drawn(cardinality, KeyWeights::Uniform, records);
            let KeyModel::Uniform { keys } = frequencies.model() else {
                panic!("{cardinality}: {:?}", frequencies.model())
            };
            assert!(near(keys as f64, f64::from(cardinality), 0.05), "{keys} for {cardinality}");
        }
    }

    #[test]
    fn keys_in_turn_are_not_drawn() {
        let model = drawn(500, KeyWeights::RoundRobin, 20_000).model();
        assert_eq!(model, KeyModel::RoundRobin { keys: 500 });
    }

    #[test]
    fn zipf_is_found_with_its_exponent_and_number_of_keys() {
        for (cardinality, exponent, records) in
            [(1_000, 0.99, 50_000), (1_000, 0.6, 50_000), (20_000, 1.2, 50_000), (20_000, 0.8, 20_000)]
        {
            let model = drawn(cardinality, KeyWeights::Zipf { exponent }, records).model();
            let KeyModel::Zipf { keys, exponent: found } = model else { panic!("{exponent}: {model:?}") };
            assert!((found - exponent).abs() < 0.05, "{found} for {exponent}");
            assert!(near(keys as f64, f64::from(cardinality), 0.3), "{keys} for {cardinality} at {exponent}");
        }
    }

    #[test]
    fn hot_keys_are_found() {
        let frequencies = drawn(2_000, KeyWeights::Hot { keys: 5, share: 0.7 }, 40_000);
        let model = frequencies.model();
        let KeyModel::Hot { keys, hot_keys, hot_share } = model else { panic!("{model:?}") };
        assert_eq!(hot_keys, 5);
        assert!((hot_share - 0.7).abs() < 0.02, "{hot_share}");
        assert!(near(keys as f64, 2_000.0, 0.05), "{keys}");
        assert!(frequencies.misfit(model) < 0.02);
    }

    #[test]
    fn without_repeated_keys_there_are_very_many() {
        // Fewer than half a repetition is expected from n^2 keys on.
        let keys = Frequencies::new(vec![1; 1_000]).model().keys();
        assert!((900_000..=1_000_000).contains(&keys), "{keys}");
        assert_eq!(
            Frequencies::new(vec![1; 10_000]).model(),
            KeyModel::Uniform { keys: u64::from(KEYS_MAX) }
        );
        assert_eq!(Frequencies::new(vec![9]).model().keys(), 1);
    }

    #[test]
    fn grouped_ranks_add_up_as_single_ones() {
        for exponent in [0.5, 1.0, 1.7] {
            let exact: f64 = (1..=100_000).map(|rank| f64::from(rank).powf(-exponent)).sum();
            let grouped = Ranks::new(100_000).sum(|rank| rank.powf(-exponent));
            assert!(near(grouped, exact, 1e-4), "{exponent}: {grouped} for {exact}");
        }
        let counted: f64 = Ranks::new(12_345).sum(|_| 1.0);
        assert!((counted - 12_345.0).abs() < 1e-6);
    }
}
