//! What records hold.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Compression;
use crate::payload::envelope::Envelope;
use crate::units::{Bytes, Fraction};

/// What the records hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Payload {
    /// Sizes of values, the 34 bytes of a record's identity included where it is in front of them.
    pub size: Size,
    /// What values are made of.
    pub body: Body,
    /// Record headers that every record carries, by name.
    pub headers: BTreeMap<String, String>,
}

impl Default for Payload {
    fn default() -> Self {
        Self {
            size: Size::Fixed(Bytes::new(1024)),
            body: Body::Random(Fraction::new(0.2).unwrap_or_default()),
            headers: BTreeMap::new(),
        }
    }
}

/// Sizes of values.
#[derive(Clone, Debug, PartialEq)]
pub enum Size {
    /// All alike.
    Fixed(Bytes),
    /// Every size in between equally often.
    Uniform {
        /// Smallest.
        min: Bytes,
        /// Largest.
        max: Bytes,
    },
    /// Many small ones, a few large ones.
    LogNormal {
        /// Half of the values are smaller.
        median: Bytes,
        /// Standard deviation of the natural logarithm.
        sigma: f64,
        /// Largest.
        max: Bytes,
    },
    /// Some sizes, each with its weight.
    Weighted(Vec<WeightedSize>),
}

impl Size {
    /// The smallest there may be; `None` where smaller ones are made as large as they have to be.
    #[must_use]
    pub fn min_bytes(&self) -> Option<u64> {
        match self {
            Self::Fixed(bytes) | Self::Uniform { min: bytes, .. } => Some(bytes.get()),
            Self::LogNormal { .. } => None,
            Self::Weighted(sizes) => Some(sizes.iter().map(|s| s.size.get()).min().unwrap_or(0)),
        }
    }

    /// The largest there may be.
    #[must_use]
    pub fn max_bytes(&self) -> u64 {
        match self {
            Self::Fixed(bytes) | Self::Uniform { max: bytes, .. } | Self::LogNormal { max: bytes, .. } => {
                bytes.get()
            }
            Self::Weighted(sizes) => sizes.iter().map(|s| s.size.get()).max().unwrap_or(0),
        }
    }
}

/// A size and how often it comes, compared with the others.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map with `size` and `weight`")]
pub struct WeightedSize {
    /// Size of a value.
    pub size: Bytes,
    /// Above zero.
    pub weight: f64,
}

/// What is behind a record's identity.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// This part of it can't be compressed.
    Random(Fraction),
    /// As much of it can't be compressed as makes whole batches compress to `ratio` with `codec`.
    Ratio {
        /// Codec that is meant.
        codec: Compression,
        /// Compressed to uncompressed bytes.
        ratio: Fraction,
    },
    /// Pieces of a file, one after the other.
    Corpus(String),
    /// JSON messages.
    Json(JsonBody),
}

/// What is the same in all JSON messages of some producers.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonBody {
    /// `type`.
    pub kind: String,
    /// `metadata.source`.
    pub source: String,
    /// `version`.
    pub version: u32,
    /// Number of different `tenant_id`s, at least 1.
    pub tenants: u32,
    /// This part of the payload is random.
    pub random_fraction: Fraction,
}

impl JsonBody {
    /// What writes such messages.
    #[must_use]
    pub fn envelope(&self) -> Envelope {
        let JsonBody { kind, source, version, tenants, random_fraction } = self;
        Envelope::new(kind, source, *version, *tenants, random_fraction.get())
    }
}

/// Keys of the records.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Key {
    /// Records have no keys; partitions take turns.
    #[default]
    None,
    /// Records have no keys; partitions take turns batch by batch, as with Kafka's own producer.
    Sticky,
    /// Each record has a key, which decides its partition as Kafka's own producer would.
    Keys {
        /// Number of different keys, at least 1.
        cardinality: u32,
        /// How often each comes.
        distribution: KeyDistribution,
        /// Length of a key; `None`: as long as its number needs.
        size: Option<Bytes>,
    },
}

/// How often each key comes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KeyDistribution {
    /// In turn.
    RoundRobin,
    /// Equally often, at random.
    Uniform,
    /// The k-th with weight `1 / k^exponent`.
    Zipf {
        /// Above zero.
        exponent: f64,
    },
    /// A few have most of the records.
    Hot {
        /// Number of hot keys, at least 1.
        hot_keys: u32,
        /// Share of the records that have one of them.
        hot_share: Fraction,
    },
}
