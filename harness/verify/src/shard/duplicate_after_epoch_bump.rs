//! **Duplicate after epoch bump**: a record in the log again, in a batch of another producer id or epoch than the one that it
//! was appended under before.
//!
//! Brokers recognise a batch that is sent again by its producer id, epoch and sequence numbers (KIP-98). A client that goes to a
//! new epoch or id and then sends again what may have been appended already makes a copy that no broker can tell from a new
//! record: only a transaction forbids it. It counts among the duplicates, and in a class of its own.

use crate::finding::FindingClass;
use crate::run::Run;
use crate::witness::Blame;

use super::Shard;
use super::tally::Sighting;

impl Shard {
    /// Counts `copy`, which is in the count of duplicates already.
    pub(super) fn note_duplicate_after_epoch_bump(&mut self, copy: &Run) {
        self.tally.summary.duplicates_after_epoch_bump += copy.count;
        let sighting = Sighting { blame: Some(Blame::ClientResent), ..self.sighting_of_read(copy) };
        self.tally.witness(FindingClass::DuplicateAfterEpochBump, sighting);
    }
}
