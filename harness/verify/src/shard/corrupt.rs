//! **Corrupt**: a record of this run whose bytes changed between encoding and reading.
//!
//! The checksum covers topic, partition, identity and body; a record that fails it here and nowhere else
//! that the run writes to is corrupt. An ack that names the offset of a corrupt record is explained by it:
//! the record is there, damaged, and is not counted as lost too. An ack without an offset is not: what a
//! damaged record says about itself is no evidence, so its record counts as lost as well.
//!
//! A batch whose own checksum fails, or that can't be taken apart, is as many corrupt records as it has offsets.

use std::ops::Range;

use crate::finding::FindingClass;
use crate::history::Event;
use crate::identity::DecodeError;

use super::digest::Content;
use super::tally::Sighting;
use super::{BatchHeader, OFFSET_MAX, Shard};

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
        self.take_one(Content::damaged(value), offset);
        match self.home_of(value) {
            Some(home) => self.note_misrouted(offset, value, &home),
            None => self.note_corrupt(offset, error),
        }
    }

    /// Takes a batch of the log that is damaged as a whole: the records at `offsets`. `header` is what can be read of its header, which
    /// may be damaged, too. Offsets between the position and the first are gone.
    pub fn corrupt_batch(&mut self, offsets: Range<i64>, header: &BatchHeader, why: &str) {
        self.flush();
        self.note(|| Event::Corrupt(offsets.clone(), *header, why.to_owned()));
        // Else it was begun, and can't be taken apart.
        self.tally.summary.batches += u64::from(self.batch.take().is_none());
        self.skip_to(offsets.start);
        let from = offsets.start.max(self.position);
        let end = offsets.end.min(OFFSET_MAX);
        if from >= end {
            return;
        }
        let count = (end - from) as u64;
        self.tally.summary.corrupt += count;
        self.corrupt_at.insert(from as u64..end as u64);
        // It has used some sequences up, and nobody knows which.
        self.producers.forget_sequences();
        let sighting = Sighting {
            count,
            read_offset: Some(from),
            batch: Some(*header),
            detail: Some(why.to_owned()),
            ..Sighting::default()
        };
        self.tally.witness(FindingClass::Corrupt, sighting);
        // What it held is not known, and it is found already.
        self.digests.leave_out(end);
        self.pass_to(end);
        self.limit_check.tick();
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
