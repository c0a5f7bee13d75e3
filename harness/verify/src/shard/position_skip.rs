//! **Position skip** (poll-skip, of the log reader): the reader was not handed an offset, and was handed one beyond it.
//!
//! It reads one partition by assignment, from its start to its end. Where every offset of the log is shown to it
//! ([`gapless`](super::ShardConfig::gapless)), each comes in its turn, unless it lies below the log start (*expired*). An acked record
//! among the skipped ones is *lost* as well, as far as this reader can tell; of the others nothing else tells. Each offset counts once.
//!
//! Consumers in a group, whose positions move with rebalances, are judged in [`crate::poll`].

use std::ops::Range;

use crate::finding::FindingClass;

use super::tally::Sighting;
use super::{OFFSET_MAX, Shard};

impl Shard {
    /// Notes that the reader was not handed these offsets, if there are any. What they hold, or held, is not known: where a log begins
    /// is a matter of each replica, so that the next leader may still have what this one has deleted.
    pub(super) fn note_skip(&mut self, offsets: Range<i64>) {
        // The offset of a batch is not covered by its checksum.
        let offsets = offsets.start..offsets.end.min(OFFSET_MAX);
        self.digests.leave_out(offsets.end);
        let from = offsets.start.max(self.log_start);
        if !self.config.gapless || from >= offsets.end {
            return;
        }
        let count = (offsets.end - from) as u64;
        self.tally.summary.position_skips = self.tally.summary.position_skips.saturating_add(count);
        let sighting = Sighting {
            count,
            read_offset: Some(from),
            batch: self.batch,
            detail: Some(format!("offsets {from}..={} were not handed over", offsets.end - 1)),
            ..Sighting::default()
        };
        self.tally.witness(FindingClass::PositionSkip, sighting);
    }
}
