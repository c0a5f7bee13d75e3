//! **Sequence repeat**: a batch begins at or below a sequence number that the log already holds of its producer id and epoch.
//!
//! A leader that knows the producer answers such a batch without appending it, or refuses it. If it is in the log all the same,
//! its records are there twice, whoever wrote them: a duplicate that is proved without looking at one record. Each batch
//! counts once.

use crate::finding::FindingClass;
use crate::witness::Blame;

use super::tally::Sighting;
use super::{BatchHeader, Shard};

impl Shard {
    pub(super) fn note_sequence_repeat(&mut self, header: &BatchHeader, expected: i32) {
        self.tally.summary.sequence_repeats += 1;
        let detail = format!("sequence {expected} was due");
        let sighting =
            Sighting { blame: Some(Blame::BrokerAppendedTwice), ..Sighting::of_batch(header, detail) };
        self.tally.witness(FindingClass::SequenceRepeat, sighting);
    }
}
