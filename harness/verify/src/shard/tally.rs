//! Counts and evidence in the making.

use crate::finding::FindingClass;
use crate::outcome::StreamKey;
use crate::summary::Summary;
use crate::witness::{Blame, Evidence, Witness};

use super::{BatchHeader, ShardConfig};

/// Where findings go: the counts, and the few witnesses worth keeping.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) summary: Summary,
    pub(super) evidence: Evidence,
    topic: String,
    partition: u32,
    run: u32,
}

/// What a rule saw; the tally adds where.
#[derive(Debug, Default)]
pub(super) struct Sighting {
    pub(super) stream: Option<StreamKey>,
    pub(super) first_pseq: Option<u64>,
    pub(super) count: u64,
    pub(super) read_offset: Option<i64>,
    pub(super) acked_offset: Option<i64>,
    pub(super) batch: Option<BatchHeader>,
    pub(super) detail: Option<String>,
    pub(super) blame: Option<Blame>,
}

impl Sighting {
    /// Something about a whole batch.
    pub(super) fn of_batch(header: &BatchHeader, detail: String) -> Self {
        Self {
            count: 1,
            read_offset: Some(header.base_offset),
            batch: Some(*header),
            detail: Some(detail),
            ..Self::default()
        }
    }
}

impl Tally {
    pub(super) fn new(config: &ShardConfig) -> Self {
        Self {
            summary: Summary::default(),
            evidence: Evidence::new(config.witness_limit),
            topic: config.topic.clone(),
            partition: config.partition,
            run: config.run,
        }
    }

    /// A copy of the counts that collects no evidence: for a look at a running shard.
    pub(super) fn without_evidence(&self) -> Self {
        Self {
            summary: self.summary.clone(),
            evidence: Evidence::new(0),
            topic: self.topic.clone(),
            partition: self.partition,
            run: self.run,
        }
    }

    /// Moves everything out, so that the shard can be read while the tally is written.
    pub(super) fn take(&mut self) -> Self {
        Self {
            summary: std::mem::take(&mut self.summary),
            evidence: std::mem::replace(&mut self.evidence, Evidence::new(0)),
            topic: self.topic.clone(),
            partition: self.partition,
            run: self.run,
        }
    }

    /// True if a sighting of one record at this offset would be kept. Saves putting words to the rest.
    pub(super) fn wants(&self, class: FindingClass, read_offset: i64) -> bool {
        self.evidence.wants(class, Some(read_offset), 1)
    }

    /// Keeps the sighting if it is among the first or the worst of its class. Does not count.
    pub(super) fn witness(&mut self, class: FindingClass, sighting: Sighting) {
        let place = sighting.read_offset.or(sighting.acked_offset);
        if !self.evidence.wants(class, place, sighting.count) {
            return;
        }
        let witness = Witness {
            topic: self.topic.clone(),
            partition: self.partition,
            read_offset: sighting.read_offset,
            acked_offset: sighting.acked_offset,
            run: self.run,
            stream: sighting.stream,
            first_pseq: sighting.first_pseq,
            count: sighting.count,
            batch: sighting.batch,
            detail: sighting.detail,
            blame: sighting.blame,
        };
        self.evidence.insert(class, witness);
    }
}
