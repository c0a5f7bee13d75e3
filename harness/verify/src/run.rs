//! Neighbouring records of one stream at neighbouring offsets.

use std::ops::Range;

/// `count` records whose pseq and offset both go up by one. The checker handles runs, not records: a run
/// costs the same whether it holds one record or a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Index of the stream in its shard.
    pub stream: u32,
    pub first_pseq: u64,
    pub first_offset: i64,
    pub count: u64,
}

impl Run {
    pub(crate) fn end_pseq(&self) -> u64 {
        self.first_pseq + self.count
    }

    pub(crate) fn end_offset(&self) -> i64 {
        self.first_offset + self.count as i64
    }

    pub(crate) fn pseqs(&self) -> Range<u64> {
        self.first_pseq..self.end_pseq()
    }

    /// True if both runs put the same pseq of the same stream at the same offset, wherever they overlap.
    pub(crate) fn agrees_with(&self, other: &Run) -> bool {
        self.stream == other.stream
            && self.first_pseq.wrapping_sub(self.first_offset as u64)
                == other.first_pseq.wrapping_sub(other.first_offset as u64)
    }

    /// True if `next` begins where this run ends, in pseq and offset.
    pub(crate) fn continues_with(&self, next: &Run) -> bool {
        self.end_offset() == next.first_offset && self.agrees_with(next)
    }

    /// The part with these sequence numbers, which must lie inside.
    pub(crate) fn slice(&self, pseqs: Range<u64>) -> Run {
        debug_assert!(self.first_pseq <= pseqs.start && pseqs.end <= self.end_pseq());
        let skipped = pseqs.start - self.first_pseq;
        Run {
            stream: self.stream,
            first_pseq: pseqs.start,
            first_offset: self.first_offset + skipped as i64,
            count: pseqs.end - pseqs.start,
        }
    }

    /// Splits into what lies below `offset` and what does not; either may be absent.
    pub(crate) fn split_at_offset(&self, offset: i64) -> (Option<Run>, Option<Run>) {
        let below = offset.saturating_sub(self.first_offset).clamp(0, self.count as i64) as u64;
        let cut = self.first_pseq + below;
        let low = (below > 0).then(|| self.slice(self.first_pseq..cut));
        let high = (below < self.count).then(|| self.slice(cut..self.end_pseq()));
        (low, high)
    }

    /// The offsets, for use with an interval set. Offsets of a log are never negative.
    pub(crate) fn offsets(&self) -> Range<u64> {
        self.first_offset as u64..self.end_offset() as u64
    }

    /// The part at these offsets, which must lie inside.
    pub(crate) fn slice_offsets(&self, offsets: Range<u64>) -> Run {
        let skipped = offsets.start - self.first_offset as u64;
        let first = self.first_pseq + skipped;
        self.slice(first..first + (offsets.end - offsets.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Run = Run { stream: 1, first_pseq: 10, first_offset: 100, count: 5 };

    #[test]
    fn splits_by_offset() {
        let (low, high) = RUN.split_at_offset(102);
        assert_eq!(low, Some(Run { count: 2, ..RUN }));
        assert_eq!(high, Some(Run { first_pseq: 12, first_offset: 102, count: 3, ..RUN }));
        assert_eq!(RUN.split_at_offset(100), (None, Some(RUN)));
        assert_eq!(RUN.split_at_offset(105), (Some(RUN), None));
        assert_eq!(RUN.split_at_offset(i64::MIN), (None, Some(RUN)));
    }

    #[test]
    fn agreement_needs_stream_and_distance() {
        let next = Run { first_pseq: 15, first_offset: 105, ..RUN };
        assert!(RUN.continues_with(&next));
        assert!(!RUN.continues_with(&Run { first_offset: 106, ..next }));
        assert!(!RUN.agrees_with(&Run { stream: 2, ..RUN }));
        assert_eq!(RUN.slice_offsets(101..103), Run { first_pseq: 11, first_offset: 101, count: 2, ..RUN });
    }
}
