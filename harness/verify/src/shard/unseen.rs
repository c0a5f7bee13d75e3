//! **Unseen**: an acked record at an offset that the reader did not get to.
//!
//! It can't be told from one that is only late, so it breaks no promise about records; it breaks the
//! built-in expectation that everything acked is read within the drain budget. Only a *final* end turns
//! it into a certainty: then the acked offset is beyond the log, and the record is lost, or it was read
//! at another offset. Below the log's start, it has expired.

use crate::finding::FindingClass;
use crate::run::Run;
use crate::witness::Blame;

use super::lost::Cause;
use super::tally::Tally;
use super::{ReadEnd, Shard};

impl Shard {
    /// Judges claims that the reader did not get to, and those of outcomes that allow absence.
    pub(super) fn resolve_claims_left(&self, tally: &mut Tally, end: &ReadEnd) {
        for claim in self.claims.iter() {
            let (expired, left) = claim.run.split_at_offset(self.log_start);
            let stream = self.streams.get(claim.run.stream);
            if let Some(run) = expired {
                for unread in stream.seen.missing_in(run.pseqs()) {
                    self.count_expired(tally, &run.slice(unread));
                }
            }
            let Some(run) = left else { continue };
            if !(end.end_is_final && end.is_complete()) {
                self.count_unseen(tally, &run, end);
                continue;
            }
            for elsewhere in stream.seen.present_in(run.pseqs()) {
                self.count_inconsistent(tally, &claim.of(run.slice(elsewhere)));
            }
            for absent in stream.seen.missing_in(run.pseqs()) {
                let detail = Some(format!("the log ends at {}", end.end_offset));
                let cause = Cause { blame: Some(Blame::LogTruncated), detail };
                self.count_lost(tally, &claim.of(run.slice(absent)), &cause);
            }
        }
        for stream in self.streams.iter() {
            let sent = stream.unacknowledged.ranges().iter();
            let absent = sent.flat_map(|range| stream.seen.missing_in(range.clone()));
            tally.summary.unacknowledged_absent += absent.map(|r| r.end - r.start).sum::<u64>();
        }
    }

    pub(super) fn count_unseen(&self, tally: &mut Tally, run: &Run, end: &ReadEnd) {
        tally.summary.unseen += run.count;
        if end.reader_was_limit {
            tally.summary.unseen_reader_limited += run.count;
        }
        tally.witness(FindingClass::Unseen, self.sighting_of_claim(run));
    }

    /// Counts records with an open outcome that are in the log. No finding, but good to know.
    pub(super) fn count_present(&self, tally: &mut Tally) {
        for stream in self.streams.iter() {
            let seen = |set: &crate::interval_set::IntervalSet| -> u64 {
                set.ranges().iter().map(|range| stream.seen.count_in(range.clone())).sum()
            };
            tally.summary.indeterminate_present += seen(&stream.indeterminate);
            tally.summary.unacknowledged_present += seen(&stream.unacknowledged);
        }
    }
}
