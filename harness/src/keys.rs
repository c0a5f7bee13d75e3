//! Keys of records: how often each comes, which partition it belongs to, and its bytes.
//!
//! A record's partition is decided by its key, as in Kafka's own clients. Turned around, that gives each partition its
//! share of the records and its own set of keys to draw from, so a producer can make the records of any partition at any
//! time without walking through those of the others.

use std::sync::Arc;

use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;

use crate::random::SplitMix;

/// Most keys that a scenario may have: they are held in memory, about 24 bytes each.
pub const KEYS_MAX: u32 = 5_000_000;

/// How often each key comes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum KeyWeights {
    /// All equally often, in the order of their numbers.
    RoundRobin,
    /// All equally often, at random.
    Uniform,
    /// The k-th key (from 1) with weight `1 / k^exponent`.
    Zipf {
        /// Above 0.
        exponent: f64,
    },
    /// A few keys with most of the records.
    Hot {
        /// Number of hot keys, at least 1.
        keys: u32,
        /// Share of the records that have one, from 0 to 1.
        share: f64,
    },
}

/// The keys of a block of producers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeyPlan {
    /// How many there are.
    pub cardinality: u32,
    /// How often each comes.
    pub weights: KeyWeights,
    /// Length of a key.
    pub bytes: usize,
}

impl KeyPlan {
    fn weight(&self, key: u32) -> f64 {
        match self.weights {
            KeyWeights::RoundRobin | KeyWeights::Uniform => 1.0,
            KeyWeights::Zipf { exponent } => (f64::from(key) + 1.0).powf(-exponent),
            KeyWeights::Hot { keys, share } if key < keys => share / f64::from(keys),
            KeyWeights::Hot { keys, share } => (1.0 - share) / f64::from(self.cardinality - keys),
        }
    }
}

/// Writes key number `key`: `k`, then its number with leading zeros. `out` must hold all digits; see [`digits`].
#[inline]
pub fn write_key(key: u32, out: &mut [u8]) {
    let Some((first, number)) = out.split_first_mut() else { return };
    *first = b'k';
    let mut rest = key;
    for digit in number.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

/// Bytes that the longest of so many keys needs.
pub fn digits(cardinality: u32) -> usize {
    cardinality.saturating_sub(1).max(1).ilog10() as usize + 2
}

/// The keys of one partition.
#[derive(Debug)]
struct PartitionKeys {
    keys: Vec<u32>,
    /// `None` where all come equally often.
    weights: Option<WeightedIndex<f64>>,
}

/// All keys of a block of producers, by partition.
#[derive(Debug)]
pub struct KeySpace {
    plan: KeyPlan,
    partitions: Vec<PartitionKeys>,
    shares: Arc<[f64]>,
}

impl KeySpace {
    /// Lays out the keys over the partitions of a topic, as Kafka's default partitioner does.
    pub fn new(plan: KeyPlan, partitions: u32) -> Self {
        let mut keys: Vec<Vec<u32>> = (0..partitions).map(|_| Vec::new()).collect();
        let mut sums = vec![0.0; partitions as usize];
        let mut bytes = vec![0; plan.bytes];
        for key in 0..plan.cardinality {
            write_key(key, &mut bytes);
            let partition = partition_of(&bytes, partitions) as usize;
            keys[partition].push(key);
            sums[partition] += plan.weight(key);
        }
        let all: f64 = sums.iter().sum();
        let equal = matches!(plan.weights, KeyWeights::RoundRobin | KeyWeights::Uniform);
        let partitions = keys
            .into_iter()
            .map(|keys| {
                let weights = (!equal).then(|| WeightedIndex::new(keys.iter().map(|k| plan.weight(*k))).ok());
                PartitionKeys { weights: weights.flatten(), keys }
            })
            .collect();
        KeySpace { plan, partitions, shares: sums.into_iter().map(|sum| sum / all).collect() }
    }

    /// What part of the records each partition gets.
    pub fn shares(&self) -> Arc<[f64]> {
        Arc::clone(&self.shares)
    }

    /// Length of a key.
    pub fn bytes(&self) -> usize {
        self.plan.bytes
    }

    /// Writes the key of record `index` of a partition that has keys. `seed` is the producer's own.
    #[inline]
    pub fn write(&self, seed: u64, partition: usize, index: u64, out: &mut [u8]) {
        let PartitionKeys { keys, weights } = &self.partitions[partition];
        let spot = match (weights, self.plan.weights) {
            (Some(weights), _) => weights.sample(&mut SplitMix::of(seed, partition as u64, index)),
            (None, KeyWeights::RoundRobin) => (index % keys.len() as u64) as usize,
            (None, _) => (SplitMix::of(seed, partition as u64, index).unit() * keys.len() as f64) as usize,
        };
        write_key(keys[spot], out);
    }
}

/// The partition of a key: Kafka's `BuiltInPartitioner.partitionForKey`.
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions
}

/// Kafka's `Utils.murmur2`: MurmurHash2 (A. Appleby), 32 bits, with Kafka's seed.
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let mut h = SEED ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (i, byte) in rest.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Values of Kafka's own test of its hash (UtilsTest).
    #[test]
    fn the_hash_is_kafkas() {
        let cases: [(&str, i32); 5] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("abc", 479_470_107),
        ];
        for (text, hash) in cases {
            assert_eq!(murmur2(text.as_bytes()) as i32, hash, "{text}");
        }
    }

    fn drawn(plan: KeyPlan, partitions: u32, draws: u64) -> HashMap<Vec<u8>, u64> {
        let space = KeySpace::new(plan, partitions);
        let mut counts = HashMap::new();
        for (partition, share) in space.shares().iter().enumerate() {
            for index in 0..(draws as f64 * share) as u64 {
                let mut key = vec![0; plan.bytes];
                space.write(3, partition, index, &mut key);
                assert_eq!(partition_of(&key, partitions) as usize, partition, "a key is where it belongs");
                *counts.entry(key).or_insert(0) += 1;
            }
        }
        counts
    }

    #[test]
    fn a_zipf_key_comes_by_its_rank() {
        let plan = KeyPlan { cardinality: 1_000, weights: KeyWeights::Zipf { exponent: 1.0 }, bytes: 8 };
        let counts = drawn(plan, 6, 400_000);
        let norm: f64 = (1..=1_000).map(|k| 1.0 / f64::from(k)).sum();
        for rank in [1u32, 2, 5, 20] {
            let mut key = vec![0; 8];
            write_key(rank - 1, &mut key);
            let share = counts[&key] as f64 / 400_000.0;
            let expected = 1.0 / f64::from(rank) / norm;
            assert!((share / expected - 1.0).abs() < 0.06, "rank {rank}: {share} instead of {expected}");
        }
    }

    #[test]
    fn hot_keys_have_their_share() {
        let weights = KeyWeights::Hot { keys: 2, share: 0.8 };
        let counts = drawn(KeyPlan { cardinality: 500, weights, bytes: 6 }, 4, 200_000);
        let hot: u64 = [b"k00000", b"k00001"].iter().map(|key| counts[key.as_slice()]).sum();
        assert!((hot as f64 / 200_000.0 - 0.8).abs() < 0.01, "{hot} of 200,000");
    }

    #[test]
    fn equal_keys_come_equally_often() {
        for weights in [KeyWeights::RoundRobin, KeyWeights::Uniform] {
            let counts = drawn(KeyPlan { cardinality: 50, weights, bytes: 4 }, 3, 100_000);
            assert_eq!(counts.len(), 50);
            for (key, count) in counts {
                assert!((1_800..2_200).contains(&count), "{count} of {}", String::from_utf8_lossy(&key));
            }
        }
    }

    #[test]
    fn a_partition_without_keys_has_no_share() {
        let plan = KeyPlan { cardinality: 1, weights: KeyWeights::Uniform, bytes: 4 };
        let shares = KeySpace::new(plan, 5).shares();
        assert_eq!(shares.iter().filter(|s| **s == 1.0).count(), 1);
        assert_eq!(shares.iter().filter(|s| **s == 0.0).count(), 4);
    }

    #[test]
    fn keys_are_long_enough_for_their_numbers() {
        for (cardinality, bytes) in [(1, 2), (10, 2), (11, 3), (1_000, 4), (1_001, 5)] {
            assert_eq!(digits(cardinality), bytes, "{cardinality}");
            let mut key = vec![0; bytes];
            write_key(cardinality - 1, &mut key);
            assert_eq!(String::from_utf8(key).unwrap()[1..].parse::<u32>().unwrap(), cardinality - 1);
        }
    }
}
