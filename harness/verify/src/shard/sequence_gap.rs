//! **Sequence gap**: the sequence numbers of one producer id and epoch leave some out, though no offset before them does.
//!
//! A leader refuses such a batch (OUT_OF_ORDER_SEQUENCE_NUMBER) unless it knows nothing of the producer, so what belongs there
//! was appended once and is gone, or was never appended and the broker had forgotten the producer. Which of the two can't be
//! told from the log alone: it counts, and proves nothing without a lost record. Batches behind offsets that the reader was not
//! given (retention, compaction) are not compared. Each batch counts once.

use crate::finding::FindingClass;

use super::tally::Sighting;
use super::{BatchHeader, Shard};

impl Shard {
    pub(super) fn note_sequence_gap(&mut self, header: &BatchHeader, expected: i32, missing: i64) {
        self.tally.summary.sequence_gaps += 1;
        let sighting =
            Sighting::of_batch(header, format!("sequence {expected} was due, {missing} are missing"));
        self.tally.witness(FindingClass::SequenceGap, sighting);
    }
}
