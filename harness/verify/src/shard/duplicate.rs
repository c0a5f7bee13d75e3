//! **Duplicate**: one (producer, incarnation, pseq) at more than one offset of the log.
//!
//! Every copy beyond the first counts once, whatever the outcome of the record was: one that timed out
//! may be in the log, but not twice. The log reader is given each offset once, so a second sight of a
//! record is a second copy and never a second delivery.
//!
//! A copy under another producer id or epoch than before is a class of its own; see
//! `duplicate_after_epoch_bump.rs`.

use crate::finding::FindingClass;
use crate::run::Run;
use crate::witness::Blame;

use super::Shard;
use super::origin::ProducerEpoch;
use super::tally::Sighting;

impl Shard {
    /// Counts the part of `run` that was seen before. Call before `run` counts as seen.
    pub(super) fn note_duplicates(&mut self, run: &Run) {
        let now = ProducerEpoch::of(self.batch.as_ref());
        let state = self.streams.get(run.stream);
        let again = state.seen.present_in(run.pseqs());
        let copies: Vec<_> = again.flat_map(|piece| state.origins.pieces(piece)).collect();
        for (piece, before) in copies {
            let copy = run.slice(piece);
            self.tally.summary.duplicates += copy.count;
            if before.is_known() && now.is_known() && before != now {
                self.note_duplicate_after_epoch_bump(&copy);
                continue;
            }
            let blame = match (before.is_known(), now) {
                (true, now) if now.is_known() => Some(Blame::BrokerAppendedTwice),
                (_, now) if now.is_without_idempotence() => Some(Blame::ClientResent),
                _ => None,
            };
            let sighting = Sighting { blame, ..self.sighting_of_read(&copy) };
            self.tally.witness(FindingClass::Duplicate, sighting);
        }
    }
}
