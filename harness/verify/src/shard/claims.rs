//! Acks with an offset that the reader has yet to reach: what the log must hold.

use std::collections::VecDeque;

use crate::run::Run;

/// Claims sorted by first offset. They may overlap: two acks may name one offset, and then at most one
/// of them is right.
///
/// Acks of one partition come nearly in log order and the reader takes from the front, so a queue is right.
#[derive(Debug, Default)]
pub(super) struct Claims {
    runs: VecDeque<Run>,
}

impl Claims {
    pub(super) fn insert(&mut self, run: Run) {
        let at = match self.runs.back() {
            Some(back) if back.first_offset > run.first_offset => {
                self.runs.partition_point(|r| r.first_offset <= run.first_offset)
            }
            _ => self.runs.len(),
        };
        match at.checked_sub(1).and_then(|before| self.runs.get_mut(before)) {
            Some(before) if before.continues_with(&run) => before.count += run.count,
            _ => self.runs.insert(at, run),
        }
    }

    /// Cancels claims that `read` fulfils. Claims on lower offsets go to `missed`, and those that something else is where
    /// `read` was found to `contradicted`. Returns how many records matched.
    pub(super) fn meet(&mut self, read: &Run, missed: &mut Vec<Run>, contradicted: &mut Vec<Run>) -> u64 {
        let mut matched = 0;
        let mut above = Vec::new();
        while let Some(claim) = self.runs.front().filter(|c| c.first_offset < read.end_offset()).copied() {
            self.runs.pop_front();
            let (passed, rest) = claim.split_at_offset(read.first_offset);
            passed.into_iter().for_each(|run| push_missed(missed, run));
            let Some(rest) = rest else { continue };
            let (here, beyond) = rest.split_at_offset(read.end_offset());
            above.extend(beyond);
            match here {
                Some(here) if here.agrees_with(read) => matched += here.count,
                Some(here) => push_missed(contradicted, here),
                None => {}
            }
        }
        for run in above {
            self.runs.push_front(run);
        }
        matched
    }

    /// Moves every claim on an offset below `position` to `missed`.
    pub(super) fn take_below(&mut self, position: i64, missed: &mut Vec<Run>) {
        let mut above = Vec::new();
        while let Some(claim) = self.runs.front().filter(|c| c.first_offset < position).copied() {
            self.runs.pop_front();
            let (passed, rest) = claim.split_at_offset(position);
            passed.into_iter().for_each(|run| push_missed(missed, run));
            above.extend(rest);
        }
        for run in above {
            self.runs.push_front(run);
        }
    }

    /// Takes the half with the lower offsets out.
    pub(super) fn take_lower_half(&mut self) -> impl Iterator<Item = Run> + '_ {
        self.runs.drain(..self.runs.len().div_ceil(2))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter()
    }

    /// Keeps only what `keep` leaves of each claim.
    pub(super) fn retain_map(&mut self, keep: impl FnMut(Run) -> Option<Run>) {
        let mut kept: Vec<Run> = self.runs.drain(..).filter_map(keep).collect();
        kept.sort_by_key(|run| run.first_offset);
        self.runs.extend(kept);
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

/// Adds to the missed claims; a lost batch that follows a lost batch is one run.
pub(super) fn push_missed(missed: &mut Vec<Run>, run: Run) {
    match missed.last_mut() {
        Some(last) if last.continues_with(&run) => last.count += run.count,
        _ => missed.push(run),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stream: u32, first_pseq: u64, first_offset: i64, count: u64) -> Run {
        Run { stream, first_pseq, first_offset, count }
    }

    fn claims(runs: &[Run]) -> Claims {
        let mut claims = Claims::default();
        runs.iter().for_each(|r| claims.insert(*r));
        claims
    }

    #[test]
    fn a_read_takes_its_part_of_a_claim() {
        let mut claims = claims(&[run(0, 0, 10, 4), run(0, 4, 14, 4)]);
        assert_eq!(claims.fragments(), 1);
        let mut missed = Vec::new();
        let mut contradicted = Vec::new();
        assert_eq!(claims.meet(&run(0, 0, 10, 3), &mut missed, &mut contradicted), 3);
        assert_eq!(claims.meet(&run(0, 3, 13, 5), &mut missed, &mut contradicted), 5);
        assert_eq!((claims.fragments(), missed.len(), contradicted.len()), (0, 0, 0));
    }

    #[test]
    fn what_a_read_passes_or_contradicts_is_missed() {
        // Offsets 10..20 claimed for stream 0, 12..14 also for stream 1, and the log holds stream 1 there.
        let mut claims = claims(&[run(0, 0, 10, 10), run(1, 50, 12, 2)]);
        let mut missed = Vec::new();
        let mut contradicted = Vec::new();
        assert_eq!(claims.meet(&run(1, 50, 12, 2), &mut missed, &mut contradicted), 2);
        assert_eq!((&missed[..], &contradicted[..]), (&[run(0, 0, 10, 2)][..], &[run(0, 2, 12, 2)][..]));
        assert_eq!(Vec::from_iter(claims.iter().copied()), [run(0, 4, 14, 6)]);
        claims.take_below(15, &mut missed);
        assert_eq!(missed, [run(0, 0, 10, 2), run(0, 4, 14, 1)]);
    }

    #[test]
    fn late_acks_are_sorted_in() {
        let claims = claims(&[run(0, 0, 10, 5), run(0, 10, 20, 5), run(1, 0, 15, 5)]);
        let offsets: Vec<_> = claims.iter().map(|r| r.first_offset).collect();
        assert_eq!(offsets, [10, 15, 20]);
    }
}
