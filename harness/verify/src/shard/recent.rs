//! Where the records that were read last lie: what has to be taken back if the log is cut off below them.

use std::collections::VecDeque;

use crate::interval_set::IntervalSet;
use crate::run::Run;

/// So many runs are remembered. In a healthy partition a run is all that one producer wrote between two others: at a hundred
/// batches a second these are at least five seconds, and a log is mostly cut off by what its followers had not fetched yet.
const RUNS_MAX: usize = 512;

/// A run of reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecentRead {
    pub(super) run: Run,
    /// None of its records was seen before; otherwise all of them were.
    pub(super) is_first: bool,
    /// Leader epoch of their batches; below 0 if it was not shown.
    pub(super) epoch: i32,
}

/// The last reads, by offset.
#[derive(Debug, Default)]
pub(super) struct RecentReads {
    reads: VecDeque<RecentRead>,
    /// Reads below are forgotten.
    known_from: i64,
}

impl RecentReads {
    /// Memory never exceeds this many bytes.
    pub(super) const BYTES_MAX: usize = 2 * (RUNS_MAX + 1) * size_of::<RecentRead>();

    /// Takes a read from batches of a leader epoch, of which `seen` was seen before.
    pub(super) fn note(&mut self, run: &Run, epoch: i32, seen: &IntervalSet) {
        if run.first_pseq >= seen.end() {
            return self.push(RecentRead { run: *run, is_first: true, epoch });
        }
        let first = seen.missing_in(run.pseqs()).map(|pseqs| (pseqs, true));
        let again = seen.present_in(run.pseqs()).map(|pseqs| (pseqs, false));
        let mut pieces: Vec<_> = first.chain(again).collect();
        pieces.sort_by_key(|(pseqs, _)| pseqs.start);
        for (pseqs, is_first) in pieces {
            self.push(RecentRead { run: run.slice(pseqs), is_first, epoch });
        }
    }

    fn push(&mut self, read: RecentRead) {
        match self.reads.back_mut() {
            Some(last)
                if (last.is_first, last.epoch) == (read.is_first, read.epoch)
                    && last.run.continues_with(&read.run) =>
            {
                last.run.count += read.run.count;
            }
            _ => self.reads.push_back(read),
        }
        if self.reads.len() > RUNS_MAX
            && let Some(oldest) = self.reads.pop_front()
        {
            self.known_from = oldest.run.end_offset();
        }
    }

    /// Takes everything from `offset` on out. `None` if some of it is forgotten: nothing is taken out then.
    pub(super) fn take_from(&mut self, offset: i64) -> Option<Vec<RecentRead>> {
        if offset < self.known_from {
            return None;
        }
        let mut taken = Vec::new();
        while let Some(last) = self.reads.pop_back() {
            let (low, high) = last.run.split_at_offset(offset);
            taken.extend(high.map(|run| RecentRead { run, ..last }));
            if let Some(run) = low {
                self.reads.push_back(RecentRead { run, ..last });
                break;
            }
        }
        taken.reverse();
        Some(taken)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.reads.capacity() * size_of::<RecentRead>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first_pseq: u64, first_offset: i64, count: u64) -> Run {
        Run { stream: 0, first_pseq, first_offset, count }
    }

    fn taken(reads: &mut RecentReads, offset: i64) -> Option<Vec<(Run, bool)>> {
        Some(reads.take_from(offset)?.iter().map(|read| (read.run, read.is_first)).collect())
    }

    #[test]
    fn what_goes_on_is_one_run_and_is_cut_where_asked() {
        let mut reads = RecentReads::default();
        let mut seen = IntervalSet::new();
        for batch in 0..10 {
            let run = run(batch * 5, 100 + batch as i64 * 5, 5);
            reads.note(&run, 0, &seen);
            seen.insert(run.pseqs());
        }
        assert_eq!(reads.reads.len(), 1);
        assert_eq!(taken(&mut reads, 147), Some(vec![(run(47, 147, 3), true)]));
        assert_eq!(taken(&mut reads, 147), Some(vec![]));
        assert_eq!(taken(&mut reads, 0), Some(vec![(run(0, 100, 47), true)]));
    }

    #[test]
    fn copies_are_kept_apart() {
        let mut reads = RecentReads::default();
        let mut seen = IntervalSet::new();
        seen.insert(2..4);
        reads.note(&run(0, 10, 6), 0, &seen);
        let expected = [(run(0, 10, 2), true), (run(2, 12, 2), false), (run(4, 14, 2), true)];
        assert_eq!(taken(&mut reads, 0).as_deref(), Some(&expected[..]));
    }

    #[test]
    fn what_is_forgotten_is_not_taken_for_nothing() {
        let mut reads = RecentReads::default();
        let seen = IntervalSet::new();
        for pseq in 0..RUNS_MAX as u64 + 50 {
            // Every other offset: no run goes on.
            reads.note(&run(pseq, pseq as i64 * 2, 1), 0, &seen);
            assert!(reads.memory_bytes() <= RecentReads::BYTES_MAX);
        }
        assert_eq!(taken(&mut reads, 98), None);
        assert_eq!(taken(&mut reads, 99).map(|all| all.len()), Some(RUNS_MAX));
    }
}
