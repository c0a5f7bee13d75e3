//! **Offset atomicity**: committed offsets and committed output disagree.
//!
//! When all is over, the records of a source that have a visible output are exactly those below the offset that the group has
//! committed: an output at or above it was committed without its offset, and a record below it without an output was skipped.
//! Only offsets that hold a record for the group are asked about. Each such record counts once.

use std::ops::Range;

use crate::finding::FindingClass;
use crate::found::Place;
use crate::interval_set::IntervalSet;

use super::{Transactions, set_of};

impl Transactions {
    pub(super) fn find_offset_atomicity(&mut self) {
        for (place, (visible, committed)) in std::mem::take(&mut self.sources.ends) {
            let copied = self.sources.copied.remove(&place).unwrap_or_default();
            let due = due(&visible, committed);
            for offsets in &due {
                for hole in copied.missing_in(offsets.clone()) {
                    self.note_disagreement(place, &hole, || {
                        format!("below the committed offset {committed}, without output")
                    });
                }
            }
            for offsets in copied.present_in(committed..u64::MAX) {
                self.note_disagreement(place, &offsets, || {
                    format!("has output, above the committed offset {committed}")
                });
            }
        }
    }

    fn note_disagreement(&mut self, place: Place, offsets: &Range<u64>, detail: impl FnOnce() -> String) {
        self.note_offsets(FindingClass::OffsetAtomicity, place, offsets, detail);
    }
}

/// What has to have an output.
fn due(visible: &[Range<u64>], committed: u64) -> Vec<Range<u64>> {
    let visible: IntervalSet = set_of(visible);
    visible.present_in(0..committed).collect()
}
