//! What is in a record's value besides its identity: fresh bytes of a stated compressibility, or JSON messages.
//!
//! By default `random_fraction` of the body is incompressible, the rest is zero. The random bytes are a function of seed,
//! producer and record number, so the same seed makes the same records, and no two bodies are alike: a codec finds
//! nothing to refer back to (a pool of a few bodies would compress to nothing; KAFKA-12611).

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::random::{SplitMix, mix};

pub mod envelope;

use envelope::Envelope;

/// Where a record's identity is: who sent it, when, and a checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityPlace {
    /// In front of the value.
    #[default]
    Value,
    /// In a record header of its own, `gauntlet-identity`; the value is all body.
    Header,
    /// It is the key, a different one for every record; the value is all body.
    Key,
}

impl IdentityPlace {
    /// Bytes that the identity takes in front of a value.
    #[must_use]
    pub fn bytes_in_value(self) -> usize {
        match self {
            IdentityPlace::Value => gauntlet_verify::IDENTITY_LEN,
            IdentityPlace::Header | IdentityPlace::Key => 0,
        }
    }
}

/// What bodies are made of.
#[derive(Debug, Clone)]
pub enum BodyPlan {
    /// This part of each body is incompressible, the rest is zero. From 0 to 1.
    Random(f64),
    /// Consecutive pieces of these bytes, which must not be empty; at their end they begin again.
    Corpus(Arc<[u8]>),
    /// JSON messages: the body is the whole value.
    Json(Arc<Envelope>),
}

/// Makes the bodies of one producer.
#[derive(Debug, Clone)]
pub struct BodyMaker {
    seed: u64,
    plan: BodyPlan,
    /// The usual length of a body, and how much of it is random.
    usual: (usize, usize),
}

impl BodyMaker {
    /// For bodies that are mostly of `usual_bytes`.
    pub fn new(seed: u64, producer: u16, plan: BodyPlan, usual_bytes: usize) -> Self {
        let seed = SplitMix::seed(seed, producer, 0);
        let mut maker = BodyMaker { seed, plan, usual: (0, 0) };
        maker.usual = (usual_bytes, maker.random_bytes(usual_bytes));
        maker
    }

    #[inline]
    fn random_bytes(&self, body_bytes: usize) -> usize {
        match self.plan {
            BodyPlan::Random(_) if body_bytes == self.usual.0 => self.usual.1,
            BodyPlan::Random(fraction) => (body_bytes as f64 * fraction.clamp(0.0, 1.0)).round() as usize,
            BodyPlan::Corpus(_) | BodyPlan::Json(_) => 0,
        }
    }

    /// Fills the body of record `k` of `partition`, which must be zeroed.
    #[inline]
    pub fn fill(&self, partition: u32, k: u64, timestamp_ms: i64, body: &mut [u8]) {
        let mut rng = SplitMix::of(self.seed, u64::from(partition), k);
        match &self.plan {
            BodyPlan::Random(_) => {}
            BodyPlan::Corpus(corpus) => return self.copy(corpus, partition, k, body),
            BodyPlan::Json(envelope) => return envelope.fill(&mut rng, timestamp_ms, body),
        }
        let random_bytes = self.random_bytes(body.len());
        let (words, rest) = body[..random_bytes].as_chunks_mut::<8>();
        words.iter_mut().for_each(|word| *word = rng.draw().to_le_bytes());
        if !rest.is_empty() {
            let last = rng.draw().to_le_bytes();
            rest.iter_mut().zip(last).for_each(|(byte, random)| *byte = random);
        }
    }

    /// Each partition begins somewhere else, so that its neighbours in a request are other pieces.
    fn copy(&self, corpus: &[u8], partition: u32, k: u64, body: &mut [u8]) {
        let begin = mix(self.seed ^ mix(u64::from(partition)));
        let mut at =
            (begin.wrapping_add(k.wrapping_mul(self.usual.0.max(1) as u64)) % corpus.len() as u64) as usize;
        let mut filled = 0;
        while filled < body.len() {
            let piece = (corpus.len() - at).min(body.len() - filled);
            body[filled..filled + piece].copy_from_slice(&corpus[at..at + piece]);
            filled += piece;
            at = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn bodies_are_reproducible_and_all_different() {
        let maker = BodyMaker::new(7, 1, BodyPlan::Random(0.5), 40);
        let mut seen = HashSet::new();
        for partition in 0..4 {
            for k in 0..2_000 {
                let mut body = [0u8; 40];
                maker.fill(partition, k, 0, &mut body);
                assert!(body[20..].iter().all(|b| *b == 0));
                assert!(seen.insert(body), "partition {partition}, record {k} repeats another");
                let mut again = [0u8; 40];
                BodyMaker::new(7, 1, BodyPlan::Random(0.5), 40).fill(partition, k, 0, &mut again);
                assert_eq!(body, again);
            }
        }
        let mut other = [0u8; 40];
        BodyMaker::new(8, 1, BodyPlan::Random(0.5), 40).fill(0, 0, 0, &mut other);
        assert!(!seen.contains(&other), "another seed makes other bodies");
    }

    #[test]
    fn the_fraction_is_what_does_not_compress() {
        for fraction in [0.0, 0.2, 1.0] {
            let maker = BodyMaker::new(1, 0, BodyPlan::Random(fraction), 64);
            let mut bodies = vec![0u8; 64 * 1000];
            for (k, body) in bodies.chunks_mut(64).enumerate() {
                maker.fill(0, k as u64, 0, body);
            }
            let mut packed = Vec::new();
            gauntlet_wire::codec::Codec::Zstd.compress(&bodies, &mut packed);
            let ratio = packed.len() as f64 / bodies.len() as f64;
            assert!((ratio - fraction).abs() < 0.12, "fraction {fraction} compresses to {ratio}");
        }
    }

    #[test]
    fn a_corpus_is_read_on_from_body_to_body() {
        let corpus: Arc<[u8]> = (0..=255u8).collect();
        let maker = BodyMaker::new(1, 0, BodyPlan::Corpus(corpus), 100);
        let mut bodies = vec![0; 600];
        for (k, body) in bodies.chunks_mut(100).enumerate() {
            maker.fill(3, k as u64, 0, body);
        }
        assert!(
            bodies.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)),
            "each goes on where the last ended"
        );
    }

    /// The bytes of a seed are part of the contract ("same seed, same run"). Change this only with a line in the
    /// change log.
    #[test]
    fn fingerprint() {
        let mut body = [0u8; 16];
        BodyMaker::new(20_261_121, 3, BodyPlan::Random(1.0), 16).fill(5, 42, 0, &mut body);
        assert_eq!(
            format!("{body:02x?}").replace([',', ' ', '[', ']'], ""),
            "6c639436a5c542f1ec821d07cac6a41e"
        );
    }
}
