//! **Duplicate**: one (producer, incarnation, pseq) at more than one offset of the log.
//!
//! Every copy beyond the first counts once, whatever the outcome of the record was: one that timed out
//! may be in the log, but not twice. The log reader is given each offset once, so a second sight of a
//! record is a second copy and never a second delivery.

use crate::finding::FindingClass;
use crate::run::Run;

use super::Shard;

impl Shard {
    /// Counts the part of `run` that was seen before. Call before `run` counts as seen.
    pub(super) fn note_duplicates(&mut self, run: &Run) {
        let again: Vec<_> = self.streams.get(run.stream).seen.present_in(run.pseqs()).collect();
        for piece in again {
            let copy = run.slice(piece);
            self.tally.summary.duplicates += copy.count;
            let sighting = self.sighting_of_read(&copy);
            self.tally.witness(FindingClass::Duplicate, sighting);
        }
    }
}
