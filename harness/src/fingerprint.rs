//! What a live topic looks like, in numbers, and a scenario that sends the same.
//!
//! Read-only and bounded: a sample of the records is fetched by assignment, without a group and without commits, until it is
//! complete or a limit is reached. Of a record only lengths, times and counts are kept (`sample`), so that no key, value or
//! header value can get anywhere. Names of headers that most records have are told.
//!
//! - `live`: what brokers are asked; `live/reading` and `live/cursor`: in which order, and how far; `window`: where the sample begins
//! - `sample`: what is kept of it; `quantile`: how it is summed up
//! - `rate`, `sizes`, `keys`, `headers`, `compressibility`, `batches`, `partitions`, `topic`: one estimate each, with its
//!   definition at the top
//! - `calibrate`: how random bodies have to be to compress as the topic does
//! - `words`: estimates in words; `doubts`: what a scenario can't say; `write`: the scenario

mod batches;
mod calibrate;
mod compressibility;
mod doubts;
mod headers;
mod keys;
mod live;
mod partitions;
mod quantile;
mod rate;
mod sample;
mod sizes;
mod topic;
mod window;
mod words;
mod write;

use std::time::Duration;

use gauntlet_wire::error::Denied;
use gauntlet_wire::{Security, WireError};
use serde::Serialize;

pub use batches::{BatchEstimate, Distribution};
pub use calibrate::Calibrated;
pub use compressibility::CompressibilityEstimate;
pub use headers::{HeaderEstimate, UsualHeader};
pub use keys::{KeyEstimate, KeyModel};
pub use partitions::PartitionEstimate;
pub use rate::RateEstimate;
pub use sample::{
    BatchSeen, Bound, Coverage, Ending, HeaderSeen, KeySeen, Packed, RecordSeen, Sample, Sampler, Span,
};
pub use sizes::{SizeEstimate, SizeGroup};
pub use topic::{Described, TopicEstimate};

use crate::scenario::{LoadOptions, Scenario, ScenarioError};

/// Largest limit on records: each takes 40 bytes of memory.
pub const RECORDS_MAX: u64 = 5_000_000;

/// A topic, and how much of it may be read.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `host:port` of some brokers.
    pub bootstrap: Vec<String>,
    /// Name of the topic.
    pub topic: String,
    /// How to connect.
    pub security: Security,
    /// How much may be read.
    pub limits: Limits,
}

/// How much may be read. Answers of brokers come whole, so that each limit can be passed by one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Records, from 1 to [`RECORDS_MAX`].
    pub records: u64,
    /// Bytes, as they are in the log.
    pub bytes: u64,
    /// Time for everything.
    pub timeout: Duration,
    /// Which records.
    pub part: Part,
}

/// Which records of a topic are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The newest.
    Newest {
        /// Only those of so long before now.
        last: Option<Duration>,
    },
    /// The oldest that there are.
    Oldest,
}

/// Why there is no fingerprint.
#[derive(Debug, thiserror::Error)]
pub enum FingerprintError {
    /// A broker could not be reached, or refused.
    #[error("topic {topic}: {source}")]
    Wire {
        /// Its name.
        topic: String,
        /// What happened.
        source: WireError,
    },
    /// There is no such topic.
    #[error("topic {topic} does not exist on the cluster of {addr}; check its name")]
    NoTopic {
        /// Its name.
        topic: String,
        /// The broker that says so.
        addr: String,
    },
    /// The cluster does not allow it.
    #[error(
        "topic {topic}: {}: {}: {} lacks {}; grant it (a fingerprint needs Describe and Read on the topic)",
        .denied.what, .denied.code, .denied.principal, .denied.permission
    )]
    Denied {
        /// Its name.
        topic: String,
        /// What is missing.
        denied: Box<Denied>,
    },
    /// There is nothing in it.
    #[error("topic {topic} holds no records; fingerprint it once it is written to")]
    Empty {
        /// Its name.
        topic: String,
    },
    /// There is nothing in what can be read of it.
    #[error("topic {topic}: {leaderless} of its partitions have no leader, and the others hold no records")]
    NoLeader {
        /// Its name.
        topic: String,
        /// Partitions that nobody leads.
        leaderless: usize,
    },
    /// There is nothing new in it.
    #[error("topic {topic} has no records of the last {last}; leave out --last to read its newest ones")]
    NothingLately {
        /// Its name.
        topic: String,
        /// How long ago they might have been.
        last: crate::units::Duration,
    },
    /// What is in it can't be decoded.
    #[error("topic {topic}: none of its batches can be read; the first: {why}")]
    Unreadable {
        /// Its name.
        topic: String,
        /// What is wrong with the first.
        why: String,
    },
    /// Nothing came in time.
    #[error("topic {topic}: no record was read within {timeout}; raise --timeout")]
    TooSlow {
        /// Its name.
        topic: String,
        /// The limit.
        timeout: crate::units::Duration,
    },
}

/// A topic in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fingerprint {
    /// Partitions, replicas, configuration.
    pub topic: TopicEstimate,
    /// What the rest was taken from.
    pub sample: SampleEstimate,
    /// Records per second, over time.
    pub rate: RateEstimate,
    /// Lengths of values.
    pub sizes: SizeEstimate,
    /// Keys.
    pub keys: KeyEstimate,
    /// Record headers.
    pub headers: HeaderEstimate,
    /// What batches compress to.
    pub compressibility: CompressibilityEstimate,
    /// Batches, and how producers have to be set.
    pub batches: BatchEstimate,
    /// How records are spread.
    pub partitions: PartitionEstimate,
}

/// What a fingerprint was taken from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SampleEstimate {
    /// Records.
    pub records: u64,
    /// Bytes that brokers have sent.
    pub fetched_bytes: u64,
    /// What ended it.
    pub bound: Bound,
    /// Begin of the time of which every partition's records are in it; milliseconds since the Unix epoch.
    pub from_ms: i64,
    /// Its end.
    pub until_ms: i64,
    /// Whether there is no such time: then it is that of all records.
    pub nothing_in_common: bool,
    /// Records whose timestamps are not among those of the others, or not of the time that was looked at.
    pub odd_times: u64,
    /// Partitions that nothing could be read of.
    pub unread_partitions: Vec<u32>,
    /// Partitions that were not begun with before a limit was reached.
    pub unreached_partitions: Vec<u32>,
    /// Partitions that could not be read to the end of what was asked for.
    pub half_read_partitions: Vec<u32>,
    /// Why one of the partitions could not be.
    pub trouble: Option<String>,
    /// Partitions whose records are not in the order of their timestamps.
    pub disordered_partitions: Vec<u32>,
    /// Batches that compaction has taken records from.
    pub compacted_batches: u64,
    /// Batches that could not be read.
    pub unreadable_batches: u64,
    /// Why the first of them could not be.
    pub unreadable_because: Option<String>,
}

/// A scenario that was made from a fingerprint.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// Its text.
    pub yaml: String,
    /// What its bodies compress to; `None`: what those of the topic do is not known.
    pub calibrated: Option<Calibrated>,
}

/// Reads a sample of a topic and measures it.
///
/// # Errors
/// The topic can't be read, or there is nothing in it.
pub fn fingerprint(asked: &Asked) -> Result<Fingerprint, FingerprintError> {
    let (mut live, described) = live::Live::find(asked)?;
    let sample = live.sample(described.partitions)?;
    Ok(Fingerprint::of(&sample, described))
}

impl Fingerprint {
    /// The fingerprint of a topic by a sample of it.
    pub fn of(sample: &Sample, described: Described) -> Self {
        let keys = keys::estimate(sample);
        Fingerprint {
            topic: topic::estimate(described),
            sample: SampleEstimate {
                records: sample.records.len() as u64,
                fetched_bytes: sample.fetched_bytes,
                bound: sample.bound,
                from_ms: sample.span.from_ms,
                until_ms: sample.span.until_ms,
                nothing_in_common: sample.nothing_in_common,
                odd_times: sample.odd_times,
                unread_partitions: sample.unread_partitions.clone(),
                unreached_partitions: sample.unreached_partitions.clone(),
                half_read_partitions: sample.half_read_partitions.clone(),
                trouble: sample.trouble.clone(),
                disordered_partitions: sample.disordered_partitions.clone(),
                compacted_batches: sample.compacted_batches,
                unreadable_batches: sample.unreadable_batches,
                unreadable_because: sample.unreadable_because.clone(),
            },
            rate: rate::estimate(sample),
            sizes: sizes::estimate(sample),
            headers: headers::estimate(sample),
            compressibility: compressibility::estimate(sample),
            batches: batches::estimate(sample),
            partitions: partitions::estimate(sample, keys.model != KeyModel::None),
            keys,
        }
    }

    /// A scenario that sends the like.
    ///
    /// # Errors
    /// What was written is no valid scenario: a bug of gauntlet.
    pub fn scenario(&self) -> Result<Written, ScenarioError> {
        let parse = |yaml: &str| {
            let options = LoadOptions { cores: 1, ..LoadOptions::default() };
            Scenario::parse("fingerprint", yaml, &options).map(|loaded| loaded.scenario)
        };
        // Bodies can only be tried once everything else about the records is known.
        let draft = parse(&write::yaml(self, None))?;
        let calibrated = calibrate::calibrate(&draft, self);
        let yaml = write::yaml(self, calibrated.as_ref());
        parse(&yaml)?;
        Ok(Written { yaml, calibrated })
    }

    /// What was measured, line by line: a heading and what there is to say, without control characters.
    pub fn in_words(&self) -> Vec<(&'static str, String)> {
        words::all(self).into_iter().map(|(heading, text)| (heading, words::printable(&text))).collect()
    }

    /// What the scenario does not say, or the sample can't tell, without control characters.
    pub fn doubts(&self) -> Vec<String> {
        doubts::of(self).iter().map(|doubt| words::printable(doubt)).collect()
    }
}
