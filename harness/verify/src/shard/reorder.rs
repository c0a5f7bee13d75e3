//! **Reorder**: within one stream, a record first appears behind one that was sent after it.
//!
//! Each record that was overtaken counts once; those that overtook it do not. Copies beyond the first
//! are duplicates and no matter of order. Whether both records were acked may be known only later, so
//! what had overtaken a record is kept with it: with one request in flight, or without retries, only the
//! order among acked records is promised.

use std::ops::Range;

use crate::finding::FindingClass;
use crate::interval_set::IntervalSet;
use crate::run::Run;

use super::stream::Stream;
use super::tally::{Sighting, Tally};
use super::{BatchHeader, Shard};

/// How many ranges of overtaking records are kept: with more, the lowest are forgotten, which can only
/// move a finding to the class that is promised less.
const OVERTAKERS_MAX: usize = 64;

/// Records that were overtaken, and what was seen before them though sent after them.
#[derive(Debug)]
pub(super) struct Overtaken {
    pub(super) run: Run,
    by: Vec<Range<u64>>,
    batch: Option<BatchHeader>,
}

impl Overtaken {
    /// The part of the run that was acked, if one of those that overtook it was acked too.
    fn acked_part(&self, stream: &Stream) -> IntervalSet {
        let by_acked = self.by.iter().any(|range| !stream.acked_in(range.clone()).is_empty());
        if by_acked { stream.acked_in(self.run.pseqs()) } else { IntervalSet::new() }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.by.capacity() * size_of::<Range<u64>>()
    }
}

impl Shard {
    /// Notes the part of `run` that appears for the first time, behind later records. Call before `run`
    /// counts as seen.
    pub(super) fn note_reorders(&mut self, run: &Run) {
        let seen = &self.streams.get(run.stream).seen;
        let end = seen.end();
        for hole in seen.missing_in(run.first_pseq..run.end_pseq().min(end)) {
            let by: Vec<_> = seen.present_in(hole.end..end).collect();
            let by = by[by.len().saturating_sub(OVERTAKERS_MAX)..].to_vec();
            self.tally.summary.reordered += hole.end - hole.start;
            self.overtaken.push(Overtaken { run: run.slice(hole), by, batch: self.batch });
        }
    }

    /// Tells apart reorders among acked records and others.
    pub(super) fn resolve_overtaken(&self, tally: &mut Tally) {
        for overtaken in &self.overtaken {
            self.resolve_overtaken_run(tally, overtaken);
        }
    }

    pub(super) fn resolve_overtaken_run(&self, tally: &mut Tally, overtaken: &Overtaken) {
        let acked = overtaken.acked_part(self.streams.get(overtaken.run.stream));
        for part in acked.ranges() {
            let run = overtaken.run.slice(part.clone());
            tally.summary.reordered_acked += run.count;
            tally.witness(FindingClass::Reorder, self.sighting_of_overtaken(&run, overtaken));
        }
        for part in acked.missing_in(overtaken.run.pseqs()) {
            let run = overtaken.run.slice(part);
            tally.witness(FindingClass::ReorderAmongUnacked, self.sighting_of_overtaken(&run, overtaken));
        }
    }

    fn sighting_of_overtaken(&self, run: &Run, overtaken: &Overtaken) -> Sighting {
        let last = overtaken.by.last().map(|range| range.end - 1);
        Sighting {
            batch: overtaken.batch,
            detail: last.map(|pseq| format!("pseq up to {pseq} came first")),
            ..self.sighting_of_read(run)
        }
    }
}
