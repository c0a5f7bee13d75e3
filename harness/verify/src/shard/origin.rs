//! Under which producer id and epoch each record of a stream was appended last.
//!
//! Brokers tell copies only within one producer id and epoch (KIP-98), so that is what decides who made a copy. A stream
//! changes its id or epoch rarely: what is kept is where it changed.

use std::ops::Range;

use super::BatchHeader;

/// More changes than this per stream, and the oldest are forgotten. Who made a copy of so old a record is then unknown, and
/// it counts as the graver finding.
const CHANGES_MAX: usize = 64;

/// An identity that a broker gave to a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProducerEpoch {
    id: i64,
    epoch: i16,
}

impl ProducerEpoch {
    /// Without idempotence, as the protocol says it; or never noted.
    pub(super) const NONE: Self = Self { id: -1, epoch: -1 };

    pub(super) fn of(batch: Option<&BatchHeader>) -> Self {
        batch.map_or(Self::NONE, |header| Self { id: header.producer_id, epoch: header.producer_epoch })
    }

    /// A broker can tell copies of its batches.
    pub(super) fn is_known(self) -> bool {
        self.id >= 0
    }

    /// The batch said that it has none: whoever sends it again makes a copy.
    pub(super) fn is_without_idempotence(self) -> bool {
        self == Self::NONE
    }
}

/// From a sequence number on, up to the next change.
#[derive(Clone, Copy, Debug)]
struct Change {
    from: u64,
    to: ProducerEpoch,
}

/// The changes of one stream, ascending. What lies between records that were seen means nothing.
#[derive(Debug, Default)]
pub(super) struct Origins {
    changes: Vec<Change>,
}

impl Origins {
    /// Memory never exceeds twice this many bytes: vectors may grow to twice what they hold.
    pub(super) const BYTES_MAX: usize = (CHANGES_MAX + 2) * size_of::<Change>();

    /// Notes that the records in `pseqs` were now appended under `origin`. No record from `seen_end` on was seen before.
    pub(super) fn note(&mut self, pseqs: Range<u64>, origin: ProducerEpoch, seen_end: u64) {
        let covering = self.index_of(pseqs.start);
        let next = covering.map_or(0, |at| at + 1);
        let goes_on = self.changes.get(next).is_none_or(|change| change.from >= pseqs.end);
        if goes_on && covering.is_some_and(|at| self.changes[at].to == origin) {
            return;
        }
        let after = (pseqs.end < seen_end).then(|| Change { from: pseqs.end, to: self.at(pseqs.end) });
        let first = self.changes.partition_point(|change| change.from < pseqs.start);
        let last = self.changes.partition_point(|change| change.from <= pseqs.end);
        let new = Change { from: pseqs.start, to: origin };
        self.changes.splice(first..last, [new].into_iter().chain(after));
        self.changes.dedup_by_key(|change| change.to);
        if self.changes.len() > CHANGES_MAX {
            self.changes.drain(..self.changes.len() / 2);
        }
    }

    /// The records in `pseqs`, cut where their origin changes.
    pub(super) fn pieces(&self, pseqs: Range<u64>) -> Vec<(Range<u64>, ProducerEpoch)> {
        let inside = self.changes.iter().map(|change| change.from);
        let mut cuts: Vec<u64> = inside.filter(|from| *from > pseqs.start && *from < pseqs.end).collect();
        cuts.insert(0, pseqs.start);
        cuts.push(pseqs.end);
        cuts.windows(2).map(|cut| (cut[0]..cut[1], self.at(cut[0]))).collect()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.changes.capacity() * size_of::<Change>()
    }

    fn at(&self, pseq: u64) -> ProducerEpoch {
        self.index_of(pseq).map_or(ProducerEpoch::NONE, |at| self.changes[at].to)
    }

    fn index_of(&self, pseq: u64) -> Option<usize> {
        match self.changes.last() {
            // Nearly always: the stream goes on.
            Some(last) if last.from <= pseq => Some(self.changes.len() - 1),
            _ => self.changes.partition_point(|change| change.from <= pseq).checked_sub(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origin(id: i64) -> ProducerEpoch {
        ProducerEpoch { id, epoch: 0 }
    }

    #[test]
    fn a_stream_that_goes_on_is_one_change() {
        let mut origins = Origins::default();
        for batch in 0..100 {
            origins.note(batch * 10..batch * 10 + 10, origin(7), batch * 10);
        }
        assert_eq!(origins.pieces(5..900), [(5..900, origin(7))]);
        assert_eq!(origins.changes.len(), 1);
    }

    #[test]
    fn with_too_many_changes_the_oldest_are_unknown() {
        let mut origins = Origins::default();
        for pseq in 0..1_000 {
            origins.note(pseq..pseq + 1, origin(pseq as i64), pseq);
            assert!(origins.changes.len() <= CHANGES_MAX);
        }
        assert_eq!(origins.pieces(0..1), [(0..1, ProducerEpoch::NONE)]);
        assert_eq!(origins.pieces(999..1_000), [(999..1_000, origin(999))]);
    }

    proptest! {
        /// Against one entry per record.
        #[test]
        fn says_what_was_noted_last(notes in prop::collection::vec((0u64..40, 1u64..10, 0i64..3), 1..25)) {
            let mut origins = Origins::default();
            let mut naive = [ProducerEpoch::NONE; 50];
            let mut seen = [false; 50];
            for (start, count, id) in notes {
                let seen_end = seen.iter().rposition(|is_seen| *is_seen).map_or(0, |last| last as u64 + 1);
                origins.note(start..start + count, origin(id), seen_end);
                let noted = start as usize..(start + count) as usize;
                naive[noted.clone()].fill(origin(id));
                seen[noted].fill(true);
            }
            for (pieces, origin) in origins.pieces(0..50) {
                for pseq in pieces.map(|pseq| pseq as usize).filter(|pseq| seen[*pseq]) {
                    prop_assert_eq!(naive[pseq], origin, "{}", pseq);
                }
            }
        }
    }
}
