//! **Misrouted**: an intact record of this run in the log of a partition that it was not sent to.
//!
//! The checksum binds a record to its topic and partition, so a record that fails it here is tried
//! against the partition it names, in this topic and in the run's other topics. Where it was sent to, it
//! is missing, and counted there as whatever its outcome makes of that.

use crate::finding::FindingClass;
use crate::identity::{CrcSeed, claimed_partition, decode, verifies_in};
use crate::outcome::StreamKey;

use super::Shard;
use super::tally::Sighting;

/// The partition that a record was sent to.
#[derive(Debug)]
pub(super) struct Home {
    topic: String,
    seed: CrcSeed,
}

impl Shard {
    /// Finds where else in the run a record is intact.
    pub(super) fn home_of(&self, value: &[u8]) -> Option<Home> {
        let claimed = claimed_partition(value)?;
        let topics = std::iter::once(&self.config.topic).chain(&self.config.other_topics);
        topics
            .map(|topic| Home { topic: topic.clone(), seed: CrcSeed::new(topic, claimed) })
            .find(|home| verifies_in(value, self.config.run, &home.seed))
    }

    pub(super) fn note_misrouted(&mut self, offset: i64, value: &[u8], home: &Home) {
        self.tally.summary.misrouted += 1;
        let identity = decode(value, self.config.run, &home.seed).ok();
        let sighting = Sighting {
            stream: identity.map(|i| StreamKey { producer: i.producer, incarnation: i.incarnation }),
            first_pseq: identity.map(|i| i.pseq),
            count: 1,
            read_offset: Some(offset),
            batch: self.batch,
            detail: Some(format!("sent to {}-{}", home.topic, home.seed.partition())),
            ..Sighting::default()
        };
        self.tally.witness(FindingClass::Misrouted, sighting);
    }
}
