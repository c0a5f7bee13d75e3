//! **Resurrected key**: a compacted log gives an older value of a key though a newer one, or a tombstone, had been there.
//!
//! Compaction removes from the old end: a record goes only when a later one of its key stays. If the later one is gone and the older one is
//! there, a value that was overwritten or deleted is current again. Each key counts once for every pass.

use crate::finding::FindingClass;
use crate::found::Place;

use super::{Compaction, KeyId, Latest, in_words};

impl Compaction {
    pub(super) fn note_resurrected(&mut self, place: Place, key: KeyId, latest: &Latest, left: i64) {
        let detail =
            format!("key {key:x}: what is left is at offset {left}, and {} is gone", in_words(latest));
        self.note(FindingClass::ResurrectedKey, place, left, detail);
    }
}
