//! **Position skip** (poll-skip; inside one poll: int-poll-skip): a consumer was given a record beyond its position, and records
//! between the two that it was not given.
//!
//! Offsets between them that hold nothing for a consumer are no skip: markers, aborted records at read_committed, compacted and
//! expired ones. A rebalance, or a seek, begins a new position. Each gap counts once; its witness says how many records were in it.

use std::ops::Range;

use crate::finding::FindingClass;
use crate::found::Place;

use super::{ConsumerId, Polls, between, unsigned};

/// Offsets that a consumer was not given.
#[derive(Clone, Debug)]
pub(super) struct Gap {
    pub(super) consumer: ConsumerId,
    pub(super) offsets: Range<i64>,
    /// Both ends came in one poll.
    pub(super) inside: bool,
}

impl Polls {
    pub(super) fn note_gap(&mut self, place: Place, gap: Gap) {
        let known = self.known.entry(place).or_default();
        if gap.offsets.end <= known.read_to {
            self.judge_gap(place, &gap);
        } else {
            known.gaps.push(gap);
        }
    }

    pub(super) fn judge_gap(&mut self, place: Place, gap: &Gap) {
        let known = self.known.entry(place).or_default();
        let offsets = unsigned(&gap.offsets);
        if offsets.start < known.hidden_from {
            self.found.degraded = true;
            return;
        }
        let records: u64 = known.hidden.missing_in(offsets).map(|range| range.end - range.start).sum();
        if records > 0 {
            let detail =
                format!("consumer {}, {}: {records} records skipped", gap.consumer, between(gap.inside));
            self.note(FindingClass::PositionSkip, place, &gap.offsets, detail);
        }
    }
}
