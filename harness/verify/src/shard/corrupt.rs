//! **Corrupt**: a record of this run whose bytes changed between encoding and reading.
//!
//! The checksum covers topic, partition, identity and body; a record that fails it here and nowhere else
//! that the run writes to is corrupt. An ack that names the offset of a corrupt record is explained by it:
//! the record is there, damaged, and is not counted as lost too. An ack without an offset is not: what a
//! damaged record says about itself is no evidence, so its record counts as lost as well.

use crate::finding::FindingClass;
use crate::history::Event;
use crate::identity::DecodeError;

use super::Shard;
use super::tally::Sighting;

impl Shard {
    /// Sorts out a value that did not decode.
    #[cold]
    pub(super) fn note_unreadable(&mut self, offset: i64, value: &[u8], error: DecodeError) {
        if error == DecodeError::Foreign {
            return self.note_foreign_record(offset, value.len());
        }
        self.flush();
        self.note(|| Event::Damaged(offset, value.to_vec()));
        if !self.is_next(offset) {
            return;
        }
        self.pass_to(offset + 1);
        match self.home_of(value) {
            Some(home) => self.note_misrouted(offset, value, &home),
            None => self.note_corrupt(offset, error),
        }
    }

    fn note_corrupt(&mut self, offset: i64, error: DecodeError) {
        self.tally.summary.corrupt += 1;
        self.corrupt_at.insert(offset as u64..offset as u64 + 1);
        self.limit_check.tick();
        if !self.tally.wants(FindingClass::Corrupt, offset) {
            return;
        }
        let sighting = Sighting {
            count: 1,
            read_offset: Some(offset),
            batch: self.batch,
            detail: Some(error.to_string()),
            ..Sighting::default()
        };
        self.tally.witness(FindingClass::Corrupt, sighting);
    }
}
