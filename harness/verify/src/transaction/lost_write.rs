//! **Lost write of a transaction**: the client was told that its transaction is committed, and a record of it is not visible.
//!
//! It is *lost* if it lies under an ABORT marker, or is not in the log and can't come any more: because the log has something later of its
//! producer id, or was read to its end. It is *unseen* if the log was not read that far, or no marker has decided it yet: an open
//! transaction, its own or an earlier one of others, hides it. Each record counts once.

use crate::finding::FindingClass;

use super::settled::{Batch, Fate, Settled, State};
use super::{End, Transactions};

impl Transactions {
    pub(super) fn find_lost_writes(&mut self, transaction: &Settled) {
        if transaction.fate() != Fate::Must {
            return;
        }
        for batch in &transaction.batches {
            let class = match &batch.state {
                State::Decided { marker, .. } if marker.end == End::Commit => continue,
                State::Decided { .. } | State::Closed => FindingClass::Lost,
                State::Absent if self.is_read_out(batch.key.place) => FindingClass::Lost,
                State::Absent | State::InLog { .. } => FindingClass::Unseen,
            };
            self.note_batch(class, u64::from(batch.count), (transaction, batch), None, || say(batch));
        }
    }
}

fn say(batch: &Batch) -> String {
    match &batch.state {
        State::Absent => "not in the log as far as it was read".to_owned(),
        State::Closed => "not in the log, which has something later of its producer".to_owned(),
        State::InLog { .. } => "in the log, under no marker".to_owned(),
        State::Decided { marker, .. } => format!("under the {marker}"),
    }
}
