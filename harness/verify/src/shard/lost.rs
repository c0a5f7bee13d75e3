//! **Lost**: an acked record is not in the log.
//!
//! An ack with an offset below the reader's position names a place that was read, and the record was
//! not there: it is lost at once, without waiting for the end of the run. Four things explain such a
//! missed claim otherwise, in this order: a corrupt record lies at that very offset (the record is
//! there, damaged, and counted as corrupt); the broker deleted the offset before it was read (*expired*);
//! the record was read elsewhere (*inconsistent offset*). Only what is left is lost; of a compacted log, of that only what it
//! owes (`compacted.rs`).
//!
//! An ack without an offset names no place. Its record is lost if it was not seen although everything up
//! to the end was read, or if the stream is appended in order and a later record of it was seen. A
//! damaged record can't stand in for it: what a damaged record says about itself is no evidence.
//!
//! An acked offset at or above the end of a *final* end (see [`ReadEnd::end_is_final`]) was truncated. So was one where
//! another record lies that a later leader appended: a log is only written over after it was cut off.

use std::ops::Range;

use crate::finding::FindingClass;
use crate::run::Run;
use crate::window::Proof;
use crate::witness::Blame;

use super::claims::{Claim, push_missed};
use super::excused;
use super::tally::{Sighting, Tally};
use super::{BatchHeader, ReadEnd, Shard};

/// A claim at whose offsets other records lie, and the batch that the first of these is in.
#[derive(Debug)]
pub(super) struct Overwritten {
    pub(super) claim: Claim,
    by: BatchHeader,
}

/// Why a record is not in the log, where that can be told.
#[derive(Clone, Debug, Default)]
pub(super) struct Cause {
    pub(super) blame: Option<Blame>,
    pub(super) detail: Option<String>,
}

impl Shard {
    /// Takes an ack with an offset, and when it came (0: not known): compares it with what was read, or waits for the reader.
    pub(super) fn claim(&mut self, claim: Run, acked_ns: u64) {
        let stream = self.streams.get_mut(claim.stream);
        let unlocated: Vec<_> = stream.unlocated.present_in(claim.pseqs()).collect();
        let reads = stream.take_reads(claim.pseqs());
        if reads.is_empty() && unlocated.is_empty() {
            return self.file_claim(claim, claim.first_offset, acked_ns);
        }
        if let [read] = reads[..]
            && read == claim
        {
            return self.judge_late_ack(&claim, &[read], acked_ns);
        }
        let (agreeing, displaced): (Vec<Run>, Vec<Run>) =
            reads.into_iter().partition(|read| read.agrees_with(&claim));
        self.note_displaced(&displaced);
        self.judge_late_ack(&claim, &agreeing, acked_ns);
        let mut met: crate::interval_set::IntervalSet = agreeing.iter().map(Run::pseqs).collect();
        unlocated.into_iter().for_each(|range| met.insert(range));
        let open: Vec<_> = met.missing_in(claim.pseqs()).collect();
        for piece in open {
            self.file_claim(claim.slice(piece), claim.first_offset, acked_ns);
        }
    }

    /// Puts a claim that met no read where it belongs. `base_offset` is the first that its answer named.
    fn file_claim(&mut self, claim: Run, base_offset: i64, acked_ns: u64) {
        let (passed, ahead) = Claim::ahead(claim, Proof::Acked(acked_ns)).split_at_offset(self.position);
        if let Some(passed) = passed {
            // Of several leaders, the first: that is the one that a window may not be later than.
            let epoch = self.leader_epochs.at(passed.run.first_offset);
            push_missed(&mut self.missed, passed.passed(epoch));
            self.limit_check.tick();
        }
        if let Some(ahead) = ahead {
            self.claims.insert(ahead);
            self.note_ack_ahead(ahead.run, base_offset, acked_ns);
        }
    }

    /// Takes claims at whose offsets `self.batch` holds other records.
    pub(super) fn note_contradicted(&mut self, claims: Vec<Claim>) {
        let later = self.batch.filter(|header| self.leader_epochs.is_later(header));
        for claim in claims {
            let Some(by) = later else {
                push_missed(&mut self.missed, claim);
                continue;
            };
            if !self.overwritten.last_mut().is_some_and(|last| last.claim.take_in(&claim)) {
                self.overwritten.push(Overwritten { claim, by });
            }
        }
    }

    /// Says of every missed claim what became of its record.
    pub(super) fn resolve_missed(&self, tally: &mut Tally) {
        for missed in &self.missed {
            self.resolve_missed_run(tally, missed, None);
        }
        for missed in &self.overwritten {
            self.resolve_missed_run(tally, &missed.claim, Some(&missed.by));
        }
    }

    /// `by`: what was written over it.
    fn resolve_missed_run(&self, tally: &mut Tally, claim: &Claim, by: Option<&BatchHeader>) {
        let missed = &claim.run;
        let stream = self.streams.get(missed.stream);
        let readable: Vec<_> = self.corrupt_at.missing_in(missed.offsets()).collect();
        for offsets in readable {
            let gone = self.expired_at.present_in(offsets.clone());
            for run in gone.map(|part| missed.slice_offsets(part)) {
                for unread in stream.seen.missing_in(run.pseqs()) {
                    self.count_expired(tally, &run.slice(unread));
                }
            }
            let read_past = self.expired_at.missing_in(offsets);
            for run in read_past.map(|part| missed.slice_offsets(part)) {
                for elsewhere in stream.seen.present_in(run.pseqs()) {
                    self.count_inconsistent(tally, &claim.of(run.slice(elsewhere)));
                }
                for absent in stream.seen.missing_in(run.pseqs()) {
                    let cause = by.map_or_else(Cause::default, |by| Cause {
                        blame: Some(Blame::LogTruncated),
                        detail: Some(format!("over it lies {by}")),
                    });
                    let absent = run.slice(absent);
                    let lost = if by.is_none() { self.owed_of(tally, absent) } else { vec![absent] };
                    for run in lost {
                        self.count_lost(tally, &claim.of(run), &cause);
                    }
                }
            }
        }
    }

    /// Judges acks without an offset.
    pub(super) fn resolve_unplaced(&self, tally: &mut Tally, end: &ReadEnd) {
        for (index, stream) in self.streams.iter().enumerate() {
            for range in stream.unplaced.ranges() {
                for absent in stream.seen.missing_in(range.clone()) {
                    self.resolve_unplaced_range(tally, index as u32, absent, end);
                }
            }
        }
    }

    fn resolve_unplaced_range(&self, tally: &mut Tally, stream: u32, absent: Range<u64>, end: &ReadEnd) {
        let run =
            Run { stream, first_pseq: absent.start, first_offset: -1, count: absent.end - absent.start };
        if self.config.compacted {
            tally.summary.compacted += run.count;
            return;
        }
        if !self.expired_at.is_empty() {
            // It may have been among what the broker deleted.
            return self.count_expired(tally, &run);
        }
        let proven = match (end.is_complete(), self.config.in_order) {
            (true, _) => run.end_pseq(),
            (false, true) => self.streams.get(stream).seen.end().clamp(run.first_pseq, run.end_pseq()),
            (false, false) => run.first_pseq,
        };
        if run.first_pseq < proven {
            let run = run.slice(run.first_pseq..proven);
            tally.summary.lost += run.count;
            tally.witness(FindingClass::Lost, self.sighting_of_claim(&run));
        }
        if proven < run.end_pseq() {
            self.count_unseen(tally, &run.slice(proven..run.end_pseq()), end);
        }
    }

    pub(super) fn count_lost(&self, tally: &mut Tally, claim: &Claim, cause: &Cause) {
        for (run, window) in self.by_window(claim) {
            tally.summary.lost += run.count;
            let Cause { blame, detail } = cause.clone();
            let sighting = Sighting { blame, detail, ..self.sighting_of_claim(&run) };
            match window {
                None => tally.witness(FindingClass::Lost, sighting),
                Some(window) => {
                    tally.summary.lost_excused += run.count;
                    tally.witness(FindingClass::LostExcused, excused::said(sighting, &run, window));
                }
            }
        }
    }

    /// A claim as evidence: acked there, or without an offset if that is negative.
    pub(super) fn sighting_of_claim(&self, run: &Run) -> Sighting {
        Sighting {
            stream: Some(self.streams.get(run.stream).key),
            first_pseq: Some(run.first_pseq),
            count: run.count,
            acked_offset: (run.first_offset >= 0).then_some(run.first_offset),
            ..Sighting::default()
        }
    }

    /// A read as evidence, with the batch that is being read.
    pub(super) fn sighting_of_read(&self, run: &Run) -> Sighting {
        Sighting {
            stream: Some(self.streams.get(run.stream).key),
            first_pseq: Some(run.first_pseq),
            count: run.count,
            read_offset: Some(run.first_offset),
            batch: self.batch,
            ..Sighting::default()
        }
    }
}
