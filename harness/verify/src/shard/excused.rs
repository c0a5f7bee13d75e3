//! **Excused**: an acked record is not where its ack said, and a fault of the scenario that may cost this very record explains it.
//!
//! What a fault may cost is stated as a [`TruncationWindow`], which says what is in it and why. An excused record is still lost (or at
//! another offset), and still counted as that; it is counted once more as excused, with witnesses of its own. Nothing here looks at how
//! many there are.

use crate::history::Event;
use crate::run::Run;
use crate::window::TruncationWindow;

use super::Shard;
use super::claims::Claim;
use super::tally::Sighting;

impl Shard {
    /// Says what a fault of the scenario may have cost this partition. At any time, but before [`Shard::note_end`].
    pub fn state_window(&mut self, window: &TruncationWindow) {
        self.flush();
        self.note(|| Event::Window(window.clone()));
        self.windows.push(window.clone());
    }

    /// Cuts a claim that nothing fulfils into what a window excuses, with that window, and what none does.
    pub(super) fn by_window(&self, claim: &Claim) -> Vec<(Run, Option<&TruncationWindow>)> {
        // Where a leader from then on wrote, or beyond the end: one before had it in its log no more.
        let is_gone_since = |window: &&TruncationWindow| {
            claim.proof.is_before(window) && claim.passed_in >= window.first_epoch
        };
        let mut open = vec![claim.run];
        let mut parts = Vec::new();
        for window in self.windows.iter().filter(is_gone_since) {
            let (from, until) = (window.from_offset, window.until_offset.max(window.from_offset));
            let mut left = Vec::new();
            for run in open {
                let (below, rest) = run.split_at_offset(from);
                let (inside, above) = rest.map_or((None, None), |rest| rest.split_at_offset(until));
                parts.extend(inside.map(|run| (run, Some(window))));
                left.extend(below.into_iter().chain(above));
            }
            open = left;
        }
        parts.extend(open.into_iter().map(|run| (run, None)));
        parts
    }
}

/// The sighting with what excuses it, and for which offsets.
pub(super) fn said(sighting: Sighting, run: &Run, window: &TruncationWindow) -> Sighting {
    let (first, last) = (run.first_offset, run.end_offset() - 1);
    let excuse = format!("excused by {}: offsets {first}..={last}", window.cause);
    let detail = match &sighting.detail {
        Some(detail) => format!("{excuse}; {detail}"),
        None => excuse,
    };
    Sighting { detail: Some(detail), ..sighting }
}
