//! **Position step back** (nonmonotonic-poll, of the log reader): the reader was handed an offset below one that it was handed before.
//!
//! It reads one partition by assignment and never seeks back, except where the log was cut off ([`Shard::truncate`]). What comes again is
//! a fault of the client under test, and is not looked at a second time. Each record that comes again counts once. A reader that shows
//! batches is gauntlet's own and leaves out by itself what it had: there it is our fault (`reread`).

use crate::finding::FindingClass;

use super::tally::Sighting;
use super::{BatchHeader, OFFSET_MAX, Shard};

impl Shard {
    /// True if the reader may be handed this offset now; counts whose fault it is otherwise.
    pub(super) fn is_next(&mut self, offset: i64) -> bool {
        if (self.position..=OFFSET_MAX).contains(&offset) {
            return true;
        }
        let batch = self.batch.filter(|batch| batch.producer_id == BatchHeader::PRODUCER_NOT_SHOWN);
        let Some(batch) = batch.filter(|_| (0..self.position).contains(&offset)) else {
            self.tally.summary.reread += 1;
            return false;
        };
        self.tally.summary.position_steps_back += 1;
        if self.tally.wants(FindingClass::PositionStepBack, offset) {
            let sighting = Sighting {
                count: 1,
                read_offset: Some(offset),
                batch: Some(batch),
                detail: Some(format!("offset {} was next", self.position)),
                ..Sighting::default()
            };
            self.tally.witness(FindingClass::PositionStepBack, sighting);
        }
        false
    }
}
