//! **Expired**: an acked record that the broker deleted, by retention or on request, before it was read.
//!
//! Known from the broker's log start offset: what the reader was not given below it is gone by
//! intention. Offsets that were read and did not hold their record are not excused, even if the log start
//! has passed them since.

use std::ops::Range;

use crate::finding::FindingClass;
use crate::run::Run;

use super::Shard;
use super::tally::Tally;

impl Shard {
    /// Notes that the reader was not given these offsets.
    pub(super) fn note_expired(&mut self, skipped: Range<i64>) {
        let end = skipped.end.min(self.log_start);
        if skipped.start < end {
            self.expired_at.insert(skipped.start.max(0) as u64..end as u64);
        }
    }

    pub(super) fn count_expired(&self, tally: &mut Tally, run: &Run) {
        tally.summary.expired += run.count;
        tally.witness(FindingClass::Expired, self.sighting_of_claim(run));
    }
}
