//! What is in a record's value besides its identity: fresh bytes of a stated compressibility.
//!
//! `random_fraction` of the body is incompressible, the rest is zero. The random bytes are a function of seed,
//! producer and record number, so the same seed makes the same records, and no two bodies are alike: a codec finds
//! nothing to refer back to (a pool of a few bodies would compress to nothing; KAFKA-12611).

/// Makes the bodies of one producer.
#[derive(Debug, Clone, Copy)]
pub struct BodyMaker {
    key: u64,
    random_bytes: usize,
}

/// Odd constants of splitmix64 (Steele, Lea, Flood, OOPSLA 2014).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const MIX_1: u64 = 0xbf58_476d_1ce4_e5b9;
const MIX_2: u64 = 0x94d0_49bb_1331_11eb;

pub(crate) fn splitmix(state: u64) -> u64 {
    let mut z = state;
    z = (z ^ (z >> 30)).wrapping_mul(MIX_1);
    z = (z ^ (z >> 27)).wrapping_mul(MIX_2);
    z ^ (z >> 31)
}

impl BodyMaker {
    /// For bodies of `body_bytes`. `random_fraction` is clamped to 0..=1.
    pub fn new(seed: u64, producer: u16, random_fraction: f64, body_bytes: usize) -> Self {
        let key = splitmix(seed.wrapping_add(GOLDEN.wrapping_mul(u64::from(producer) + 1)));
        let random_bytes = (body_bytes as f64 * random_fraction.clamp(0.0, 1.0)).round() as usize;
        BodyMaker { key, random_bytes }
    }

    /// Fills the body of record `k` of `partition`, which must be zeroed and of the length that this was made for.
    #[inline]
    pub fn fill(&self, partition: u32, k: u64, body: &mut [u8]) {
        let mut state = self.key ^ splitmix(k.wrapping_mul(GOLDEN) ^ (u64::from(partition) << 40));
        let mut next = || {
            state = state.wrapping_add(GOLDEN);
            splitmix(state).to_le_bytes()
        };
        let (words, rest) = body[..self.random_bytes].as_chunks_mut::<8>();
        words.iter_mut().for_each(|word| *word = next());
        if !rest.is_empty() {
            let last = next();
            rest.iter_mut().zip(last).for_each(|(byte, random)| *byte = random);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn bodies_are_reproducible_and_all_different() {
        let maker = BodyMaker::new(7, 1, 0.5, 40);
        let mut seen = HashSet::new();
        for partition in 0..4 {
            for k in 0..2_000 {
                let mut body = [0u8; 40];
                maker.fill(partition, k, &mut body);
                assert!(body[20..].iter().all(|b| *b == 0));
                assert!(seen.insert(body), "partition {partition}, record {k} repeats another");
                let mut again = [0u8; 40];
                BodyMaker::new(7, 1, 0.5, 40).fill(partition, k, &mut again);
                assert_eq!(body, again);
            }
        }
        let mut other = [0u8; 40];
        BodyMaker::new(8, 1, 0.5, 40).fill(0, 0, &mut other);
        assert!(!seen.contains(&other), "another seed makes other bodies");
    }

    #[test]
    fn the_fraction_is_what_does_not_compress() {
        for fraction in [0.0, 0.2, 1.0] {
            let maker = BodyMaker::new(1, 0, fraction, 64);
            let mut bodies = vec![0u8; 64 * 1000];
            for (k, body) in bodies.chunks_mut(64).enumerate() {
                maker.fill(0, k as u64, body);
            }
            let mut packed = Vec::new();
            gauntlet_wire::codec::Codec::Zstd.compress(&bodies, &mut packed);
            let ratio = packed.len() as f64 / bodies.len() as f64;
            assert!((ratio - fraction).abs() < 0.12, "fraction {fraction} compresses to {ratio}");
        }
    }

    /// The bytes of a seed are part of the contract ("same seed, same run"). Change this only with a line in the
    /// change log.
    #[test]
    fn fingerprint() {
        let mut body = [0u8; 16];
        BodyMaker::new(20_261_121, 3, 1.0, 16).fill(5, 42, &mut body);
        assert_eq!(
            format!("{body:02x?}").replace([',', ' ', '[', ']'], ""),
            "6c639436a5c542f1ec821d07cac6a41e"
        );
    }
}
