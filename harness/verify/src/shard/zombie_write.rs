//! **Zombie write**: a batch of an older producer epoch lies behind a batch or a marker of a newer epoch of the same id.
//!
//! The newer epoch fences the older one: from its first batch on a leader answers the older one INVALID_PRODUCER_EPOCH
//! (KIP-98). Each batch counts once.

use crate::finding::FindingClass;

use super::tally::Sighting;
use super::{BatchHeader, Shard};

impl Shard {
    pub(super) fn note_zombie_write(&mut self, header: &BatchHeader, newer: i16) {
        self.tally.summary.zombie_writes += 1;
        let sighting = Sighting::of_batch(header, format!("epoch {newer} of this producer id came before"));
        self.tally.witness(FindingClass::ZombieWrite, sighting);
    }
}
