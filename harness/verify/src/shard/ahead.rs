//! Reads that are ahead of their acks, with the offsets to compare the acks with.

use std::collections::VecDeque;
use std::ops::Range;

use crate::run::Run;

/// Runs of one stream, sorted by pseq, disjoint. Reads come in at the back and acks take them from the
/// front, so a queue is right; everything else works too, only slower.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    runs: VecDeque<Run>,
}

impl Ahead {
    /// Adds a run that overlaps none of those here.
    pub(super) fn insert(&mut self, run: Run) {
        match self.runs.back_mut() {
            Some(back) if back.continues_with(&run) => back.count += run.count,
            Some(back) if back.first_pseq > run.first_pseq => {
                let at = self.runs.partition_point(|r| r.first_pseq < run.first_pseq);
                self.runs.insert(at, run);
            }
            _ => self.runs.push_back(run),
        }
    }

    /// Moves every part with a pseq in `range` to `out`.
    pub(super) fn take(&mut self, range: Range<u64>, out: &mut Vec<Run>) {
        let at = self.runs.partition_point(|r| r.end_pseq() <= range.start);
        while let Some(run) = self.runs.get_mut(at).copied().filter(|r| r.first_pseq < range.end) {
            let from = run.first_pseq.max(range.start);
            let to = run.end_pseq().min(range.end);
            out.push(run.slice(from..to));
            let low = (run.first_pseq < from).then(|| run.slice(run.first_pseq..from));
            let high = (to < run.end_pseq()).then(|| run.slice(to..run.end_pseq()));
            match (low, high) {
                (None, None) => {
                    self.runs.remove(at);
                }
                (None, Some(high)) => self.runs[at] = high,
                (Some(low), high) => {
                    self.runs[at] = low;
                    if let Some(high) = high {
                        self.runs.insert(at + 1, high);
                        return;
                    }
                    return self.take(to..range.end, out);
                }
            }
        }
    }

    /// Takes the half with the lower sequence numbers out.
    pub(super) fn take_lower_half(&mut self) -> impl Iterator<Item = Run> + '_ {
        self.runs.drain(..self.runs.len().div_ceil(2))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter()
    }

    pub(super) fn fragments(&self) -> usize {
        self.runs.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.runs.capacity() * size_of::<Run>()
    }

    pub(super) fn shrink(&mut self) {
        self.runs.shrink_to(self.runs.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first_pseq: u64, first_offset: i64, count: u64) -> Run {
        Run { stream: 0, first_pseq, first_offset, count }
    }

    #[test]
    fn neighbours_merge_and_come_out_in_parts() {
        let mut ahead = Ahead::default();
        ahead.insert(run(0, 100, 10));
        ahead.insert(run(10, 110, 10));
        ahead.insert(run(30, 150, 5));
        ahead.insert(run(20, 140, 5));
        assert_eq!(ahead.fragments(), 3);
        let mut out = Vec::new();
        ahead.take(5..8, &mut out);
        assert_eq!(out, [run(5, 105, 3)]);
        out.clear();
        ahead.take(0..32, &mut out);
        assert_eq!(out, [run(0, 100, 5), run(8, 108, 12), run(20, 140, 5), run(30, 150, 2)]);
        assert_eq!(Vec::from_iter(ahead.iter().copied()), [run(32, 152, 3)]);
    }

    #[test]
    fn a_range_that_starts_inside_goes_on_to_the_next() {
        let mut ahead = Ahead::default();
        ahead.insert(run(0, 100, 10));
        ahead.insert(run(10, 200, 10));
        let mut out = Vec::new();
        ahead.take(5..15, &mut out);
        assert_eq!(out, [run(5, 105, 5), run(10, 200, 5)]);
        assert_eq!(Vec::from_iter(ahead.iter().copied()), [run(0, 100, 5), run(15, 205, 5)]);
    }
}
