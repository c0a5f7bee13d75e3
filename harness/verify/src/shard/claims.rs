//! Acks with an offset that the reader has yet to reach: what the log must hold.

use std::collections::VecDeque;

use crate::run::Run;
use crate::window::Proof;

/// Nobody has written there yet: whoever does will do so under a later leader epoch than any that is known.
const NOT_PASSED: i32 = i32::MAX;

/// That these records are at these offsets, and how it is known that they once were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) run: Run,
    pub(super) proof: Proof,
    /// Leader epoch of what the reader passed them in, without meeting the records; below 0 if that was not shown, and
    /// [`NOT_PASSED`] as long as it has not.
    pub(super) passed_in: i32,
}

impl Claim {
    /// That the reader has yet to reach.
    pub(super) fn ahead(run: Run, proof: Proof) -> Claim {
        Claim { run, proof, passed_in: NOT_PASSED }
    }

    /// Takes a neighbour in that goes on where this one ends, if one proof holds for both; false if not.
    pub(super) fn take_in(&mut self, next: &Claim) -> bool {
        let is_next = self.passed_in == next.passed_in && self.run.continues_with(&next.run);
        let proof = self.proof.of_both(next.proof).filter(|_| is_next);
        if let Some(proof) = proof {
            self.run.count += next.run.count;
            self.proof = proof;
        }
        proof.is_some()
    }

    /// Another part of the same.
    pub(super) fn of(self, run: Run) -> Claim {
        Claim { run, ..self }
    }

    /// Now that the reader has passed it.
    pub(super) fn passed(self, epoch: i32) -> Claim {
        Claim { passed_in: epoch, ..self }
    }

    /// Splits into what lies below `offset` and what does not; either may be absent.
    pub(super) fn split_at_offset(self, offset: i64) -> (Option<Claim>, Option<Claim>) {
        let (low, high) = self.run.split_at_offset(offset);
        (low.map(|run| self.of(run)), high.map(|run| self.of(run)))
    }
}

/// Claims sorted by first offset. They may overlap: two acks may name one offset, and then at most one
/// of them is right.
///
/// Acks of one partition come nearly in log order and the reader takes from the front, so a queue is right.
#[derive(Debug, Default)]
pub(super) struct Claims {
    claims: VecDeque<Claim>,
}

impl Claims {
    pub(super) fn insert(&mut self, claim: Claim) {
        let first_offset = claim.run.first_offset;
        let at = match self.claims.back() {
            Some(back) if back.run.first_offset > first_offset => {
                self.claims.partition_point(|other| other.run.first_offset <= first_offset)
            }
            _ => self.claims.len(),
        };
        let before = at.checked_sub(1).and_then(|before| self.claims.get_mut(before));
        if !before.is_some_and(|before| before.take_in(&claim)) {
            self.claims.insert(at, claim);
        }
    }

    /// Takes the first out, if it begins below `offset`.
    fn pop_below(&mut self, offset: i64) -> Option<Claim> {
        let is_below = self.claims.front().is_some_and(|claim| claim.run.first_offset < offset);
        if is_below { self.claims.pop_front() } else { None }
    }

    /// Cancels claims that `read`, from a batch of leader epoch `epoch`, fulfils. Claims on lower offsets go to `missed`, and those that something else is where
    /// `read` was found to `contradicted`. Returns how many records matched.
    pub(super) fn meet(
        &mut self,
        read: &Run,
        epoch: i32,
        missed: &mut Vec<Claim>,
        contradicted: &mut Vec<Claim>,
    ) -> u64 {
        let mut matched = 0;
        let mut above = Vec::new();
        while let Some(claim) = self.pop_below(read.end_offset()) {
            let (passed, rest) = claim.split_at_offset(read.first_offset);
            passed.into_iter().for_each(|claim| push_missed(missed, claim.passed(epoch)));
            let Some(rest) = rest else { continue };
            let (here, beyond) = rest.split_at_offset(read.end_offset());
            above.extend(beyond);
            match here {
                Some(here) if here.run.agrees_with(read) => matched += here.run.count,
                Some(here) => push_missed(contradicted, here.passed(epoch)),
                None => {}
            }
        }
        for claim in above {
            self.claims.push_front(claim);
        }
        matched
    }

    /// Moves every claim on an offset below `position`, which the reader passed in leader epoch `epoch`, to `missed`.
    pub(super) fn take_below(&mut self, position: i64, epoch: i32, missed: &mut Vec<Claim>) {
        let mut above = Vec::new();
        while let Some(claim) = self.pop_below(position) {
            let (passed, rest) = claim.split_at_offset(position);
            passed.into_iter().for_each(|claim| push_missed(missed, claim.passed(epoch)));
            above.extend(rest);
        }
        for claim in above {
            self.claims.push_front(claim);
        }
    }

    /// Takes the half with the lower offsets out.
    pub(super) fn take_lower_half(&mut self) -> impl Iterator<Item = Run> + '_ {
        self.claims.drain(..self.claims.len().div_ceil(2)).map(|claim| claim.run)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Claim> {
        self.claims.iter()
    }

    /// Keeps only what `keep` leaves of each claim.
    pub(super) fn retain_map(&mut self, mut keep: impl FnMut(Run) -> Option<Run>) {
        let kept = self.claims.drain(..).filter_map(|claim| keep(claim.run).map(|run| claim.of(run)));
        let mut kept: Vec<Claim> = kept.collect();
        kept.sort_by_key(|claim| claim.run.first_offset);
        self.claims.extend(kept);
    }

    pub(super) fn fragments(&self) -> usize {
        (self.claims.len() * size_of::<Claim>()).div_ceil(size_of::<Run>())
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.claims.capacity() * size_of::<Claim>()
    }

    pub(super) fn shrink(&mut self) {
        self.claims.shrink_to(self.claims.len() * 2);
    }
}

/// Adds to the missed claims; a lost batch that follows a lost batch is one run.
pub(super) fn push_missed(missed: &mut Vec<Claim>, claim: Claim) {
    if !missed.last_mut().is_some_and(|last| last.take_in(&claim)) {
        missed.push(claim);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stream: u32, first_pseq: u64, first_offset: i64, count: u64) -> Run {
        Run { stream, first_pseq, first_offset, count }
    }

    fn claim(run: Run) -> Claim {
        Claim::ahead(run, Proof::Acked(7))
    }

    fn claims(runs: &[Run]) -> Claims {
        let mut claims = Claims::default();
        runs.iter().for_each(|run| claims.insert(claim(*run)));
        claims
    }

    #[test]
    fn a_read_takes_its_part_of_a_claim() {
        let mut claims = claims(&[run(0, 0, 10, 4), run(0, 4, 14, 4)]);
        assert_eq!(claims.iter().count(), 1);
        let mut missed = Vec::new();
        let mut contradicted = Vec::new();
        assert_eq!(claims.meet(&run(0, 0, 10, 3), 1, &mut missed, &mut contradicted), 3);
        assert_eq!(claims.meet(&run(0, 3, 13, 5), 1, &mut missed, &mut contradicted), 5);
        assert_eq!((claims.fragments(), missed.len(), contradicted.len()), (0, 0, 0));
    }

    #[test]
    fn what_a_read_passes_or_contradicts_is_missed() {
        // Offsets 10..20 claimed for stream 0, 12..14 also for stream 1, and the log holds stream 1 there.
        let mut claims = claims(&[run(0, 0, 10, 10), run(1, 50, 12, 2)]);
        let mut missed = Vec::new();
        let mut contradicted = Vec::new();
        assert_eq!(claims.meet(&run(1, 50, 12, 2), 1, &mut missed, &mut contradicted), 2);
        let passed = |run: Run, epoch: i32| claim(run).passed(epoch);
        assert_eq!(missed, [passed(run(0, 0, 10, 2), 1)]);
        assert_eq!(contradicted, [passed(run(0, 2, 12, 2), 1)]);
        assert_eq!(Vec::from_iter(claims.iter().copied()), [claim(run(0, 4, 14, 6))]);
        claims.take_below(15, 2, &mut missed);
        assert_eq!(missed, [passed(run(0, 0, 10, 2), 1), passed(run(0, 4, 14, 1), 2)]);
    }

    #[test]
    fn late_acks_are_sorted_in() {
        let claims = claims(&[run(0, 0, 10, 5), run(0, 10, 20, 5), run(1, 0, 15, 5)]);
        let offsets: Vec<_> = claims.iter().map(|claim| claim.run.first_offset).collect();
        assert_eq!(offsets, [10, 15, 20]);
    }

    #[test]
    fn acks_of_two_leaders_stay_apart() {
        let mut claims = claims(&[run(0, 0, 10, 4)]);
        claims.insert(Claim::ahead(run(0, 4, 14, 4), Proof::Acked(60_000_000_000)));
        claims.insert(Claim::ahead(run(0, 8, 18, 4), Proof::Read(3)));
        assert_eq!(claims.iter().count(), 3);
    }
}
