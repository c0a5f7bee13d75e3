//! **Zombie write**, of transactional producers: the log took what a leader must refuse from a producer that is over.
//!
//! Three cases; each batch or marker counts once:
//!
//! 1. *An older epoch*: a batch or marker of an older producer epoch behind something of a newer one (KIP-98), as for other producers.
//! 2. *A late batch*: it lies behind the marker that ended its transaction in this partition, or the marker that ended it is that of a
//!    later transaction. (Not if that marker was against the client's answer: then the marker is wrong, not the batch.) Before verification (KIP-890, part 1) a leader took a batch that was held up on its way until its
//!    transaction was aborted; the next one then decides what becomes of it.
//! 3. *A late marker*: it ends an open transaction of transaction.version 2 with that transaction's own epoch. There, each
//!    end raises the epoch (KIP-890, part 2), so this marker is that of an earlier end (KIP-1228; leaders refuse it from 4.2 on).

use crate::finding::FindingClass;
use crate::found::Place;
use crate::shard::BatchHeader;
use crate::witness::Blame;

use super::settled::Settled;
use super::{TransactionKey, Transactions};

impl Transactions {
    pub(super) fn note_old_epoch(&mut self, place: Place, header: &BatchHeader, newest: i16) {
        if !self.logs.entry(place).or_default().note_zombie(header) {
            return;
        }
        self.note_header(FindingClass::ZombieWrite, place, header, || {
            format!("epoch {newest} of this producer id came before")
        });
    }

    pub(super) fn find_late_writes(&mut self, transaction: &Settled) {
        for batch in transaction.batches.iter().filter(|batch| batch.late && !batch.counted) {
            if !transaction.is_late(batch) {
                continue;
            }
            let blame = Some(Blame::BrokerAppendedLate);
            let say = || "its transaction was over in this partition".to_owned();
            self.note_batch(FindingClass::ZombieWrite, 1, (transaction, batch), blame, say);
        }
    }

    pub(super) fn note_marker_of_open_epoch(
        &mut self,
        place: Place,
        header: &BatchHeader,
        ended: &[(TransactionKey, usize)],
    ) {
        let is_late = ended.iter().any(|(key, index)| {
            self.open.get(key).is_some_and(|open| {
                let batch = &open.settled.batches[*index];
                open.settled.version >= 2 && batch.key.producer_epoch == header.producer_epoch
            })
        });
        if is_late && self.logs.entry(place).or_default().note_zombie(header) {
            self.note_header(FindingClass::ZombieWrite, place, header, || {
                "a marker with the epoch of the transaction that it ended, under transaction.version 2"
                    .to_owned()
            });
        }
    }
}
