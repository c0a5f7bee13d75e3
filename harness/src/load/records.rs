//! How one producer's records look: sizes, keys, headers and bodies.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use gauntlet_verify::compaction::KeyId;
use gauntlet_verify::{CrcSeed, IDENTITY_LEN, Identity};
use gauntlet_wire::batch::{BatchBuilder, RecordSpec};

use crate::keys::KeySpace;
use crate::payload::{BodyMaker, IdentityPlace};
use crate::random::SplitMix;
use crate::sizes::{SizePlan, Sizes};
use crate::trace::Trace;

/// Upper bound of what a record takes in a batch besides key, value and headers: length, attributes, deltas, counts.
const RECORD_OVERHEAD_BYTES: usize = 24;
/// The same of one header: the lengths of its name and value.
const HEADER_OVERHEAD_BYTES: usize = 10;

/// Record headers that every record carries, in order.
pub type Headers = Arc<[(String, Vec<u8>)]>;

/// What draws numbers for a producer's records: each purpose has numbers of its own.
const SIZES: u64 = 1;
const KEYS: u64 = 2;
/// See [`SplitMix::seed`]; the purpose of random arrivals.
pub const ARRIVALS: u64 = 3;

/// Where records get their keys from.
#[derive(Debug, Clone)]
pub enum Keys {
    /// Drawn for each.
    Drawn(Arc<KeySpace>),
    /// As recorded; a record may have none.
    Recorded(Arc<Trace>),
}

impl Keys {
    /// What part of the records each partition gets; `None` where that is recorded.
    pub fn shares(&self) -> Option<Arc<[f64]>> {
        match self {
            Keys::Drawn(keys) => Some(keys.shares()),
            Keys::Recorded(_) => None,
        }
    }

    /// Bytes of a key, where all are as long.
    fn bytes(&self) -> usize {
        match self {
            Keys::Drawn(keys) => keys.bytes(),
            Keys::Recorded(_) => 0,
        }
    }

    /// Bytes of a key, as a rule.
    fn usual_bytes(&self) -> usize {
        match self {
            Keys::Drawn(keys) => keys.bytes(),
            Keys::Recorded(trace) => trace.key_bytes_mean().ceil() as usize,
        }
    }
}

/// What a checker calls a key.
pub fn key_id(key: &[u8]) -> KeyId {
    let mut hasher = DefaultHasher::new();
    hasher.write(key);
    hasher.finish()
}

/// Name of the record header that holds the identity where it is not in the value.
pub const IDENTITY_HEADER: &str = "gauntlet-identity";

/// Where records are written to, one after the other: the batch of a client that is ours, or what is handed over to another.
pub trait RecordTarget {
    /// Bytes so far.
    fn bytes(&self) -> usize;

    /// Appends a record; `write_value` gets the zeroed slice that its value is to be written into.
    fn append(&mut self, spec: &RecordSpec<'_>, write_value: impl FnOnce(&mut [u8]));
}

impl RecordTarget for BatchBuilder {
    #[inline]
    fn bytes(&self) -> usize {
        self.bytes()
    }

    #[inline]
    fn append(&mut self, spec: &RecordSpec<'_>, write_value: impl FnOnce(&mut [u8])) {
        self.append(spec, write_value);
    }
}

/// Makes the records of one producer.
#[derive(Debug, Clone)]
pub struct RecordMaker {
    body: BodyMaker,
    place: IdentityPlace,
    sizes: Sizes,
    keys: Option<Keys>,
    key_bytes: usize,
    key_seed: u64,
    headers: Headers,
    overhead_bytes: usize,
    usual_bytes: usize,
    tells_keys: bool,
}

impl RecordMaker {
    /// The records of producer `producer` in a run of seed `seed`; `sizes` of values, and their mean.
    pub fn new(
        seed: u64,
        producer: u16,
        body: BodyMaker,
        (sizes, usual_value_bytes): (&SizePlan, usize),
        keys: Option<Keys>,
        headers: Headers,
    ) -> Self {
        let in_headers: usize =
            headers.iter().map(|(name, value)| name.len() + value.len() + HEADER_OVERHEAD_BYTES).sum();
        let key_bytes = keys.as_ref().map_or(0, Keys::bytes);
        let usual_key_bytes = keys.as_ref().map_or(0, Keys::usual_bytes);
        let overhead_bytes = RECORD_OVERHEAD_BYTES + key_bytes + in_headers;
        RecordMaker {
            body,
            place: IdentityPlace::Value,
            sizes: Sizes::new(sizes.clone(), SplitMix::seed(seed, producer, SIZES)),
            key_seed: SplitMix::seed(seed, producer, KEYS),
            usual_bytes: usual_value_bytes + overhead_bytes - key_bytes + usual_key_bytes,
            keys,
            key_bytes,
            headers,
            overhead_bytes,
            tells_keys: false,
        }
    }

    /// The same, if `tells_keys`, for a topic whose checkers ask for the keys of what was acked.
    #[must_use]
    pub fn with_keys_told(mut self, tells_keys: bool) -> Self {
        self.tells_keys = tells_keys;
        self
    }

    /// The keys of `count` records of a partition from `first` on, if they are asked for and all have one.
    pub fn key_ids(&self, partition: usize, first: u64, count: u32) -> Option<Box<[KeyId]>> {
        let keys = self.keys.as_ref().filter(|_| self.tells_keys)?;
        let mut bytes = vec![0; self.key_bytes];
        let mut id = |index| match keys {
            Keys::Drawn(keys) => {
                keys.write(self.key_seed, partition, index, &mut bytes);
                Some(key_id(&bytes))
            }
            Keys::Recorded(trace) => trace.key(partition, index).map(key_id),
        };
        (first..first + u64::from(count)).map(&mut id).collect()
    }

    /// The same with identities elsewhere than in front of values. Bodies are then whole values.
    #[must_use]
    pub fn with_identity_in(mut self, place: IdentityPlace) -> Self {
        let elsewhere_bytes = match place {
            IdentityPlace::Value => 0,
            IdentityPlace::Header => IDENTITY_HEADER.len() + IDENTITY_LEN + HEADER_OVERHEAD_BYTES,
            IdentityPlace::Key => IDENTITY_LEN,
        };
        self.place = place;
        self.overhead_bytes += elsewhere_bytes;
        self.usual_bytes += elsewhere_bytes;
        self
    }

    /// About what a record takes in a batch.
    pub fn usual_bytes(&self) -> usize {
        self.usual_bytes
    }

    /// At most what record `index` of a partition takes in a batch.
    #[inline]
    pub fn bytes_of(&self, partition: usize, index: u64) -> usize {
        let recorded_key_bytes = match &self.keys {
            Some(Keys::Recorded(trace)) => trace.key(partition, index).map_or(0, <[u8]>::len),
            _ => 0,
        };
        self.sizes.of(partition, index) + self.overhead_bytes + recorded_key_bytes
    }

    /// Headers of every record.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// What writes records of one partition into a batch; made once per batch.
    pub fn writer<'a>(
        &'a self,
        partition: usize,
        seed: &'a CrcSeed,
        key: &'a mut Vec<u8>,
    ) -> RecordWriter<'a> {
        key.resize(self.key_bytes, 0);
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        RecordWriter { maker: self, partition, seed, key, headers, apart: Vec::new() }
    }
}

/// See [`RecordMaker::writer`].
#[derive(Debug)]
pub struct RecordWriter<'a> {
    maker: &'a RecordMaker,
    partition: usize,
    seed: &'a CrcSeed,
    key: &'a mut Vec<u8>,
    headers: Vec<(&'a str, &'a [u8])>,
    /// Identity and value of a record whose identity is not in its value.
    apart: Vec<u8>,
}

impl RecordWriter<'_> {
    /// Appends record `index` of the partition, identity first.
    #[inline]
    pub fn append(
        &mut self,
        index: u64,
        identity: &Identity,
        timestamp_ms: i64,
        target: &mut impl RecordTarget,
    ) {
        let maker = self.maker;
        let key = match &maker.keys {
            None => None,
            Some(Keys::Drawn(keys)) => {
                keys.write(maker.key_seed, self.partition, index, self.key);
                Some(self.key.as_slice())
            }
            Some(Keys::Recorded(trace)) => trace.key(self.partition, index),
        };
        let value_bytes = maker.sizes.of(self.partition, index);
        let headers = &self.headers;
        let (partition, seed) = (self.partition as u32, self.seed);
        let write = |value: &mut [u8]| {
            maker.body.fill(partition, index, timestamp_ms, &mut value[IDENTITY_LEN..]);
            // The plan refuses values that are too short for an identity.
            let encoded = gauntlet_verify::identity::encode(identity, seed, value);
            debug_assert!(encoded.is_ok());
        };
        let mut spec = RecordSpec { timestamp_ms, key, value_bytes, own_header: None, headers };
        if maker.place == IdentityPlace::Value {
            return target.append(&spec, write);
        }
        // Put together as if the identity were in front of the value, so that it is checked as any other.
        self.apart.clear();
        self.apart.resize(IDENTITY_LEN + value_bytes, 0);
        write(&mut self.apart);
        let (own, whole) = self.apart.split_at(IDENTITY_LEN);
        match maker.place {
            IdentityPlace::Key => spec.key = Some(own),
            IdentityPlace::Header | IdentityPlace::Value => spec.own_header = Some((IDENTITY_HEADER, own)),
        }
        target.append(&spec, |value| value.copy_from_slice(whole));
    }
}
