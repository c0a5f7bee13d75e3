//! **Resurrected key**: a compacted log gives an older value of a key though a newer one, or a tombstone, had been there.
//!
//! Compaction removes from the old end: a record goes only when a later one of its key stays. If the later one is gone and the older one is
//! there, a value that was overwritten or deleted is current again. If nothing of the key is left, its latest record is *lost*; only a tombstone
//! may go without a later record. Each key counts once for every pass.
//!
//! A tombstone may go, too, but not before everything older of its key has been gone for `delete.retention.ms`. A pass that takes longer may see
//! the old value in time, and come too late for the tombstone: then its absence says nothing.

use crate::finding::FindingClass;

use super::KeyLeft;

impl KeyLeft {
    /// What that is, and the offset it is about.
    pub(super) fn class(&self) -> (FindingClass, i64) {
        match self.left {
            Some(left) => (FindingClass::ResurrectedKey, left),
            None => (FindingClass::Lost, self.latest),
        }
    }
}
