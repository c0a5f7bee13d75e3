//! **Marker against the answer**: a partition has the other marker than the one that the client was told of.
//!
//! An ABORT marker over a transaction that was committed for its client, or a COMMIT marker over one that its client never asked to
//! commit, or was always refused. What that makes of the records are findings of their own: lost writes and aborted reads. A marker
//! that comes upon a late batch of another transaction is not against any answer about its own. Each partition of a transaction counts once.

use std::collections::BTreeSet;

use crate::finding::FindingClass;
use crate::witness::Blame;

use super::Transactions;
use super::settled::Settled;

impl Transactions {
    pub(super) fn find_markers_against_answer(&mut self, transaction: &Settled) {
        let Some(wrong) = transaction.wrong_end() else { return };
        let mut counted = BTreeSet::new();
        for batch in transaction.batches.iter().filter(|batch| !batch.late) {
            let Some(marker) = batch.marker().filter(|marker| marker.end == wrong) else { continue };
            if !counted.insert(batch.key.place) {
                continue;
            }
            let blame = Some(Blame::CoordinatorEndedOtherwise);
            let say = || format!("under the {marker}");
            self.note_batch(FindingClass::MarkerAgainstAnswer, 1, (transaction, batch), blame, say);
        }
    }
}
