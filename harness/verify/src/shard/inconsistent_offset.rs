//! **Inconsistent offset**: a record lies at another offset than its ack said, and not there.
//!
//! The offset that the ack named was read and held something else, or nothing; the record was found at
//! another. A copy at the acked offset besides others makes these duplicates, not this. A record that was
//! found somewhere is not lost.

use crate::finding::FindingClass;
use crate::run::Run;

use super::Shard;
use super::claims::Claim;
use super::excused;
use super::tally::{Sighting, Tally};

/// How many reads away from their acked offset are remembered per kept witness. They only serve to say
/// in a witness where the record was found.
const DISPLACED_PER_WITNESS: usize = 4;

impl Shard {
    pub(super) fn count_inconsistent(&self, tally: &mut Tally, claim: &Claim) {
        for (run, window) in self.by_window(claim) {
            tally.summary.inconsistent_offsets += run.count;
            let sighting = self.sighting_of_displaced(&run);
            match window {
                None => tally.witness(FindingClass::InconsistentOffset, sighting),
                Some(window) => {
                    tally.summary.inconsistent_offsets_excused += run.count;
                    let said = excused::said(sighting, &run, window);
                    tally.witness(FindingClass::InconsistentOffsetExcused, said);
                }
            }
        }
    }

    /// A claim on records that lie elsewhere, and where, if that is remembered.
    fn sighting_of_displaced(&self, claim: &Run) -> Sighting {
        let found = self.displaced.iter().find(|read| {
            read.stream == claim.stream
                && read.pseqs().contains(&claim.first_pseq)
                && !read.agrees_with(claim)
        });
        let read_offset = found.map(|read| read.slice(claim.first_pseq..claim.first_pseq + 1).first_offset);
        Sighting { read_offset, ..self.sighting_of_claim(claim) }
    }

    /// Remembers a read, fresh from the log, of records that were acked at other offsets.
    pub(super) fn note_displaced_read(&mut self, run: &Run, matched: u64) {
        if matched == run.count {
            return;
        }
        let stream = self.streams.get(run.stream);
        if stream.settled.count_in(run.pseqs()) == 0 {
            return;
        }
        let mut placed = stream.acked_in(run.pseqs());
        placed.remove_all(&stream.unplaced);
        let reads: Vec<_> = placed.ranges().iter().map(|range| run.slice(range.clone())).collect();
        self.note_displaced(&reads);
    }

    /// Remembers reads of records whose acks name other offsets.
    pub(super) fn note_displaced(&mut self, reads: &[Run]) {
        let limit = self.config.witness_limit * DISPLACED_PER_WITNESS;
        let room = limit.saturating_sub(self.displaced.len());
        self.displaced.extend(reads.iter().take(room));
    }
}
