//! **Resurrected key**: a compacted log gives an older value of a key though a newer one, or a tombstone, had been there.
//!
//! Compaction removes from the old end: a record goes only when a later one of its key stays. If the later one is gone and the older one is
//! there, a value that was overwritten or deleted is current again. Each key counts once for every pass.
//!
//! A tombstone may go, too, but not before everything older of its key has gone for `delete.retention.ms`. A pass that takes longer may see
//! the old value in time, and come too late for the tombstone: then its absence says nothing.

use crate::finding::FindingClass;
use crate::found::Place;

use super::{Compaction, KeyId, PassEnd, Written, in_words};

impl Compaction {
    pub(super) fn note_resurrected(
        &mut self,
        place: Place,
        key: KeyId,
        latest: &Written,
        left: i64,
        pass: &PassEnd,
    ) {
        if latest.is_tombstone && !pass.tombstones_stay {
            return;
        }
        let detail =
            format!("key {key:x}: what is left is at offset {left}, and {} is gone", in_words(latest));
        self.note(FindingClass::ResurrectedKey, place, left, detail);
    }
}
