//! **Leader epoch regression**: a batch was appended under a lower leader epoch than the batch before it.
//!
//! A partition's leader epoch only goes up, and every batch carries the epoch of the leader that appended
//! it, so along one log it can't go down (KIP-101). Each step down counts once.

use std::collections::VecDeque;

use crate::finding::FindingClass;

use super::tally::Sighting;
use super::{BatchHeader, Shard};

/// So many epochs are remembered; of offsets below the oldest it is not known who led.
const STARTS_MAX: usize = 256;

/// The epoch of the first batch, and of the batch before; and where the log goes over from one to the next.
#[derive(Debug, Default)]
pub(super) struct LeaderEpochs {
    first: Option<i32>,
    last: Option<i32>,
    /// Epoch and offset of the first batch of each, both ascending.
    starts: VecDeque<(i32, i64)>,
}

impl LeaderEpochs {
    /// Memory of the starts never exceeds this many bytes.
    pub(super) const STARTS_BYTES_MAX: usize = 2 * (STARTS_MAX + 1) * size_of::<(i32, i64)>();

    fn note_start(&mut self, epoch: i32, offset: i64) {
        if self.starts.back().is_some_and(|(last, _)| *last >= epoch) {
            return;
        }
        self.starts.push_back((epoch, offset));
        if self.starts.len() > STARTS_MAX {
            self.starts.pop_front();
        }
    }

    /// The epoch of the batch that was read last; below 0 if none was shown.
    pub(super) fn now(&self) -> i32 {
        self.last.unwrap_or(-1)
    }

    /// The epoch that the log has at `offset`; below 0 if that is not known.
    pub(super) fn at(&self, offset: i64) -> i32 {
        let upto = self.starts.partition_point(|(_, start)| *start <= offset);
        upto.checked_sub(1).map_or(-1, |at| self.starts[at].0)
    }

    /// The offsets at which another leader's batches begin, as far as is remembered.
    pub(super) fn changes(&self) -> impl Iterator<Item = i64> + '_ {
        let first = self.first;
        self.starts.iter().filter(move |(epoch, _)| Some(*epoch) != first).map(|(_, offset)| *offset)
    }

    /// The log was cut off at `end`: who led above, leads somewhere else now, or never did.
    pub(super) fn cut_off(&mut self, end: i64) {
        while self.starts.back().is_some_and(|(_, offset)| *offset >= end) {
            self.starts.pop_back();
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.starts.capacity() * size_of::<(i32, i64)>()
    }

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
        self.leader_epochs.note_start(epoch, header.base_offset);
        let before = self.leader_epochs.last.replace(epoch);
        if let Some(before) = before.filter(|before| epoch < *before) {
            self.tally.summary.leader_epoch_regressions += 1;
            let sighting = Sighting::of_batch(header, format!("leader epoch {before} before, {epoch} here"));
            self.tally.witness(FindingClass::LeaderEpochRegression, sighting);
        }
    }
}
