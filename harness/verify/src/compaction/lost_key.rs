//! **Lost**, of a compacted log: the latest record of a key is gone, and nothing of the key is left.
//!
//! Only a tombstone may go without a later record. Each key counts once for every pass.

use crate::finding::FindingClass;
use crate::found::Place;

use super::{Compaction, KeyId, Written, in_words};

impl Compaction {
    pub(super) fn note_gone(&mut self, place: Place, key: KeyId, latest: &Written) {
        if !latest.is_tombstone {
            let detail = format!("key {key:x}: {} is gone, and nothing of the key is left", in_words(latest));
            self.note(FindingClass::Lost, place, latest.offset, detail);
        }
    }
}
