//! **Commit duplicate**: one input record gave two outputs in committed transactions.
//!
//! A copy (consume, transform, produce) writes one output for each input, and commits the input's offset in the transaction of the
//! output, so each offset of a source has at most one visible output, however often a transaction was tried. Each output beyond the first
//! counts.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::finding::FindingClass;
use crate::found::Place;
use crate::interval_set::IntervalSet;

use super::Transactions;
use super::settled::Settled;

/// Which offsets of each source have a visible output.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) copied: BTreeMap<Place, IntervalSet>,
    /// What there was to copy, and the offset that was committed in the end.
    pub(super) ends: BTreeMap<Place, (Vec<Range<u64>>, u64)>,
}

impl Sources {
    pub(super) fn end(&mut self, place: Place, visible: Vec<Range<u64>>, committed: u64) {
        self.ends.insert(place, (visible, committed));
    }
}

impl Transactions {
    pub(super) fn find_commit_duplicates(&mut self, transaction: &Settled) {
        for batch in transaction.batches.iter().filter(|batch| batch.is_visible()) {
            let Some(source) = &batch.source else { continue };
            let copied = self.sources.copied.entry(source.place).or_default();
            let again: Vec<Range<u64>> = copied.present_in(source.offsets.clone()).collect();
            copied.insert(source.offsets.clone());
            for offsets in again {
                let number = transaction.key.number;
                self.note_offsets(FindingClass::CommitDuplicate, source.place, &offsets, || {
                    format!("copied before, and again by transaction {number}")
                });
            }
        }
    }
}
