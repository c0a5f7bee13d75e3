//! **Aborted read** (G1a): a record of a transaction that was aborted is visible at read_committed.
//!
//! Aborted is what the client never asked to commit, or what it asked for and was refused at every attempt; if such a record lies under
//! a COMMIT marker, or a reader at read_committed was given it, it counts. So does whatever such a reader was given though the
//! log has it under an ABORT marker. A transaction whose commit has no answer is not aborted: see torn-transaction. Each record counts
//! once, however many readers were given it.

use crate::finding::FindingClass;
use crate::witness::Blame;

use super::settled::{Batch, Fate, Settled};
use super::{End, Transactions};

impl Transactions {
    pub(super) fn find_aborted_reads(&mut self, transaction: &Settled) {
        let never = transaction.fate() == Fate::Never;
        for batch in &transaction.batches {
            let under_abort = batch.marker().is_some_and(|marker| marker.end == End::Abort);
            let given = batch.delivered_ns.is_some();
            if never && (batch.is_visible() || given) || under_abort && given {
                let blame = (never && batch.is_visible()).then(|| blame(transaction, batch));
                let (class, count) = (FindingClass::AbortedRead, u64::from(batch.count));
                self.note_batch(class, count, (transaction, batch), blame, || say(batch));
            }
        }
    }
}

/// Under a COMMIT marker that nobody asked for: the batch came late, or the marker is wrong.
fn blame(transaction: &Settled, batch: &Batch) -> Blame {
    if transaction.is_late(batch) { Blame::BrokerAppendedLate } else { Blame::CoordinatorEndedOtherwise }
}

fn say(batch: &Batch) -> String {
    let given = if batch.delivered_ns.is_some() { "; given to a reader at read_committed" } else { "" };
    match batch.marker() {
        Some(marker) => format!("under the {marker}{given}"),
        None => format!("under no marker{given}"),
    }
}
