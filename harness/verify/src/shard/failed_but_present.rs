//! **Failed but present**: a record in the log that its producer was told, or knew, was not appended.
//!
//! *Failed* is a certain outcome: never written to a socket, or rejected before append on every attempt.
//! So it takes one read to refute it. Its first copy counts here, further ones as duplicates.

use std::ops::Range;

use crate::finding::FindingClass;
use crate::run::Run;

use super::Shard;

impl Shard {
    /// The read comes after the settlement. Call before `run` counts as seen.
    pub(super) fn note_read_after_failed(&mut self, run: &Run) {
        let stream = self.streams.get(run.stream);
        if stream.failed.is_empty() {
            return;
        }
        let refuted: Vec<_> = stream
            .failed
            .present_in(run.pseqs())
            .flat_map(|piece| stream.seen.missing_in(piece))
            .map(|piece| run.slice(piece))
            .collect();
        for run in refuted {
            self.count_failed_but_present(&run);
        }
    }

    /// The settlement comes after the read. Call while the reads of `settled` are still kept.
    pub(super) fn note_failed_after_read(&mut self, stream: u32, settled: Range<u64>) {
        let state = self.streams.get_mut(stream);
        let mut reads = Vec::new();
        state.ahead.take(settled.clone(), &mut reads);
        let unlocated: Vec<_> = state.unlocated.present_in(settled).collect();
        for range in unlocated {
            let count = range.end - range.start;
            reads.push(Run { stream, first_pseq: range.start, first_offset: -1, count });
        }
        for run in reads {
            self.count_failed_but_present(&run);
        }
    }

    fn count_failed_but_present(&mut self, run: &Run) {
        self.tally.summary.failed_but_present += run.count;
        let mut sighting = self.sighting_of_read(run);
        sighting.read_offset = sighting.read_offset.filter(|offset| *offset >= 0);
        // The batch being read is the right one only if it holds this read.
        sighting.batch =
            sighting.batch.filter(|b| (b.base_offset..=b.last_offset).contains(&run.first_offset));
        self.tally.witness(FindingClass::FailedButPresent, sighting);
    }
}
