//! **Phantom**: a record that nobody sent.
//!
//! Every record that is sent is settled before the run ends, so an intact record of this run that is not
//! settled at the end was never sent. On a topic that this run created, a record of somebody else is a
//! phantom too; on any other topic it is *foreign*, and only counted.

use crate::finding::FindingClass;
use crate::history::{Event, ReadRun};
use crate::run::Run;

use super::Shard;
use super::digest::Content;
use super::tally::{Sighting, Tally};

impl Shard {
    /// Takes a record that this run did not write, of so many bytes.
    pub(super) fn note_foreign_record(&mut self, offset: i64, bytes: usize) {
        self.flush();
        self.note(|| Event::Foreign(offset, bytes));
        if !self.is_next(offset) {
            return;
        }
        self.take_one(Content::foreign(bytes), offset);
        let class = if self.config.created_by_run { FindingClass::Phantom } else { FindingClass::Foreign };
        match class {
            FindingClass::Phantom => self.tally.summary.phantom += 1,
            _ => self.tally.summary.foreign += 1,
        }
        if !self.tally.wants(class, offset) {
            return;
        }
        let sighting = Sighting {
            count: 1,
            read_offset: Some(offset),
            batch: self.batch,
            detail: Some(format!("{bytes} bytes, not written by this run")),
            ..Sighting::default()
        };
        self.tally.witness(class, sighting);
    }

    pub(super) fn note_impossible_pseq(&mut self, read: &ReadRun) {
        self.tally.summary.checked += 1;
        self.tally.summary.phantom += 1;
        let sighting = Sighting {
            stream: Some(read.stream),
            first_pseq: Some(read.first_pseq),
            count: 1,
            read_offset: Some(read.first_offset),
            batch: self.batch,
            ..Sighting::default()
        };
        self.tally.witness(FindingClass::Phantom, sighting);
    }

    /// Counts what was seen and never settled.
    pub(super) fn resolve_unsettled(&self, tally: &mut Tally) {
        for (index, stream) in self.streams.iter().enumerate() {
            let located = stream.ahead.iter().copied();
            let unlocated = stream.unlocated.ranges().iter().map(|range| Run {
                stream: index as u32,
                first_pseq: range.start,
                first_offset: -1,
                count: range.end - range.start,
            });
            for run in located.chain(unlocated) {
                tally.summary.phantom += run.count;
                let mut sighting = self.sighting_of_read(&run);
                sighting.read_offset = sighting.read_offset.filter(|offset| *offset >= 0);
                tally.witness(FindingClass::Phantom, sighting);
            }
        }
    }
}
