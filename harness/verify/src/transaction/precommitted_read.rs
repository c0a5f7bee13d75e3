//! **Precommitted read**: a record was visible at read_committed before its client had sent the commit.
//!
//! It is visible once a reader at read_committed was given it, or a log reader saw its COMMIT marker, whichever was first; the commit is
//! sent when its first byte is about to be. All clocks are those of one host. A transaction that was aborted in the end has
//! aborted reads instead; one that its client never ended must not be visible at all. Each record counts once.

use crate::finding::FindingClass;

use super::settled::{Fate, Settled};
use super::{End, Transactions};

impl Transactions {
    pub(super) fn find_precommitted_reads(&mut self, transaction: &Settled) {
        if transaction.fate() == Fate::Never {
            return;
        }
        let sent_ns = transaction.commit_sent_ns().unwrap_or(u64::MAX);
        for batch in &transaction.batches {
            let under_abort = batch.marker().is_some_and(|marker| marker.end == End::Abort);
            let Some(visible_ns) = batch.visible_ns().filter(|at_ns| *at_ns < sent_ns && !under_abort) else {
                continue;
            };
            let (class, count) = (FindingClass::PrecommittedRead, u64::from(batch.count));
            self.note_batch(class, count, (transaction, batch), None, || {
                match transaction.commit_sent_ns() {
                    Some(sent_ns) => {
                        format!("visible {} us before the commit was sent", (sent_ns - visible_ns) / 1_000)
                    }
                    None => "visible, and no commit was sent".to_owned(),
                }
            });
        }
    }
}
