//! **Leader epoch regression**: a batch was appended under a lower leader epoch than the batch before it.
//!
//! A partition's leader epoch only goes up, and every batch carries the epoch of the leader that appended
//! it, so along one log it can't go down (KIP-101). Each step down counts once.

use crate::finding::FindingClass;

use super::tally::Sighting;
use super::{BatchHeader, Shard};

/// The epoch of the first batch, and of the batch before.
#[derive(Debug, Default)]
pub(super) struct LeaderEpochs {
    first: Option<i32>,
    last: Option<i32>,
}

impl LeaderEpochs {
    /// True if the leader has changed since the first batch that was read.
    pub(super) fn is_later(&self, header: &BatchHeader) -> bool {
        self.first.is_some_and(|first| header.leader_epoch > first)
    }
}

impl Shard {
    pub(super) fn note_leader_epoch(&mut self, header: &BatchHeader) {
        let epoch = header.leader_epoch;
        // -1 means that the broker did not say.
        if epoch < 0 {
            return;
        }
        self.leader_epochs.first.get_or_insert(epoch);
        let before = self.leader_epochs.last.replace(epoch);
        if let Some(before) = before.filter(|before| epoch < *before) {
            self.tally.summary.leader_epoch_regressions += 1;
            let sighting = Sighting::of_batch(header, format!("leader epoch {before} before, {epoch} here"));
            self.tally.witness(FindingClass::LeaderEpochRegression, sighting);
        }
    }
}
