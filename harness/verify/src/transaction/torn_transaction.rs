//! **Torn transaction**: one part of a transaction is visible at read_committed, and another is not.
//!
//! All or nothing holds over every partition, and whatever the client knows of the end: that some records of a transaction with an
//! unknown outcome are visible proves that all must be. A part that is still under no marker, or not in a log that was not read to its end,
//! may yet become visible, and tears nothing. Each transaction counts once.

use crate::finding::FindingClass;

use super::settled::{Batch, Settled, State};
use super::{End, Transactions};

impl Transactions {
    pub(super) fn find_torn(&mut self, transaction: &Settled) {
        let Some(seen) = transaction.batches.iter().find(|batch| batch.is_visible()) else { return };
        let is_missing = |batch: &&Batch| match &batch.state {
            State::Absent => self.is_read_out(batch.key.place),
            State::Closed => true,
            State::InLog { .. } => false,
            State::Decided { marker, .. } => marker.end == End::Abort,
        };
        let missing: Vec<&Batch> = transaction.batches.iter().filter(is_missing).collect();
        let Some(first) = missing.first() else { return };
        let records: u64 = missing.iter().map(|batch| u64::from(batch.count)).sum();
        let shown = format!(
            "{} at {}-{} is visible",
            seen.offset().unwrap_or(-1),
            self.topic(seen.key.place),
            seen.key.place.partition
        );
        let made = match first.marker() {
            Some(marker) => format!("this is under the {marker}"),
            None => "this is not in the log".to_owned(),
        };
        let say = || format!("{shown}, {made}; {records} records are missing in all");
        self.note_batch(FindingClass::TornTransaction, 1, (transaction, first), None, say);
    }
}
