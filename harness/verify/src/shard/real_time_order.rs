//! **Real-time order**: a record lies before one that was acked before it was sent.
//!
//! An ack with an offset says that the record has its place. Whatever anybody sends after that was said is appended behind it:
//! a partition's log is one order that agrees with the clock (linearizability; Herlihy and Wing, 1990). So no record below an
//! acked offset may have been sent after the ack. Each acked record counts once.
//!
//! Only a record that was read where its ack said is judged: one that is not there is *lost*, or at another place, and that the
//! log went on from below its offset is no second finding.
//!
//! *Sent* is when the record was intended to be sent, which is never later than when it was; *acked* is when its answer had
//! been read, which is never earlier than when the broker gave it. Both errors only hide findings, and both instants are of
//! one clock, CLOCK_MONOTONIC. What is intended later within one batch than its ack cannot be, so the record's own run is left
//! out of what lies below it.

use std::collections::VecDeque;

use crate::finding::FindingClass;
use crate::run::Run;

use super::Shard;
use super::tally::Sighting;

/// So many times may the latest instant have gone up between a read and the ack of what was read; acks that come later still
/// are not judged. At a hundred batches a second, these are five seconds.
const STEPS_MAX: usize = 512;

/// An ack that the reader has yet to reach.
#[derive(Clone, Copy, Debug)]
struct Ack {
    run: Run,
    /// The first offset of the answer that it is a part of.
    base_offset: i64,
    acked_ns: u64,
}

/// From this offset on, some record below was sent at `sent_ns`, and none later.
#[derive(Clone, Copy, Debug)]
struct Step {
    from_offset: i64,
    sent_ns: u64,
}

/// What was sent when, by offset, and the acks to compare it with.
#[derive(Debug, Default)]
pub(super) struct RealTime {
    /// Sorted by offset.
    pending: VecDeque<Ack>,
    /// Both members ascend.
    steps: VecDeque<Step>,
    /// Steps below the first are forgotten.
    forgot: bool,
}

impl RealTime {
    /// Memory of the steps never exceeds this many bytes.
    pub(super) const STEPS_BYTES_MAX: usize = 2 * STEPS_MAX * size_of::<Step>();

    /// Takes the run that was read last, whose latest record was sent at `sent_ns`.
    pub(super) fn note_sent(&mut self, end_offset: i64, sent_ns: u64) {
        if self.steps.back().is_some_and(|last| last.sent_ns >= sent_ns) {
            return;
        }
        if self.steps.len() == STEPS_MAX {
            self.steps.pop_front();
            self.forgot = true;
        }
        self.steps.push_back(Step { from_offset: end_offset, sent_ns });
    }

    /// When the latest record below `offset` was sent; `None` if that is forgotten, 0 if there is none.
    fn latest_below(&self, offset: i64) -> Option<u64> {
        let below = self.steps.partition_point(|step| step.from_offset <= offset);
        match below.checked_sub(1) {
            Some(at) => Some(self.steps[at].sent_ns),
            None => (!self.forgot).then_some(0),
        }
    }

    fn insert(&mut self, ack: Ack) {
        let at = match self.pending.back() {
            Some(back) if back.run.first_offset > ack.run.first_offset => {
                self.pending.partition_point(|a| a.run.first_offset <= ack.run.first_offset)
            }
            _ => self.pending.len(),
        };
        self.pending.insert(at, ack);
    }

    /// Takes out the parts of acks at the offsets of `read`, which agree with it. What lies below is dropped.
    fn meet(&mut self, read: &Run) -> Vec<Ack> {
        let mut met = Vec::new();
        let mut above = Vec::new();
        while let Some(ack) =
            self.pending.front().filter(|ack| ack.run.first_offset < read.end_offset()).copied()
        {
            self.pending.pop_front();
            let (_, rest) = ack.run.split_at_offset(read.first_offset);
            let Some(rest) = rest else { continue };
            let (here, beyond) = rest.split_at_offset(read.end_offset());
            met.extend(here.filter(|here| here.agrees_with(read)).map(|run| Ack { run, ..ack }));
            above.extend(beyond.map(|run| Ack { run, ..ack }));
        }
        above.into_iter().for_each(|ack| self.pending.push_front(ack));
        met
    }

    /// Drops acks of offsets below `position`, which nothing will be read at any more.
    pub(super) fn pass(&mut self, position: i64) {
        let mut above = Vec::new();
        while let Some(ack) = self.pending.front().filter(|ack| ack.run.first_offset < position).copied() {
            self.pending.pop_front();
            above.extend(ack.run.split_at_offset(position).1.map(|run| Ack { run, ..ack }));
        }
        above.into_iter().for_each(|ack| self.pending.push_front(ack));
    }

    /// Forgets what was sent when from an offset on: the log was cut off there.
    pub(super) fn forget_from(&mut self, offset: i64) {
        while self.steps.back().is_some_and(|step| step.from_offset > offset) {
            self.steps.pop_back();
        }
    }

    /// Leaves the lower half of the acks that wait unjudged.
    pub(super) fn forget_lower_half(&mut self) {
        self.pending.drain(..self.pending.len().div_ceil(2));
    }

    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// As many as the acks that wait weigh.
    pub(super) fn fragments(&self) -> usize {
        (self.pending.len() * size_of::<Ack>()).div_ceil(size_of::<Run>())
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.pending.capacity() * size_of::<Ack>() + self.steps.capacity() * size_of::<Step>()
    }

    pub(super) fn shrink(&mut self) {
        self.pending.shrink_to(self.pending.len() * 2);
    }
}

impl Shard {
    /// Takes a part of an answer that the reader has yet to reach, and when it came (0: not known).
    pub(super) fn note_ack_ahead(&mut self, run: Run, base_offset: i64, acked_ns: u64) {
        if acked_ns > 0 {
            self.real_time.insert(Ack { run, base_offset, acked_ns });
            self.limit_check.tick();
        }
    }

    /// Judges an answer whose records were read before, at these places, as it says.
    pub(super) fn judge_late_ack(&mut self, claim: &Run, reads: &[Run], acked_ns: u64) {
        for run in reads.iter().filter(|_| acked_ns > 0) {
            self.judge_ack(&Ack { run: *run, base_offset: claim.first_offset, acked_ns });
        }
    }

    /// Judges the acks that were met by `read`.
    pub(super) fn judge_met_acks(&mut self, read: &Run) {
        for ack in self.real_time.meet(read) {
            self.judge_ack(&ack);
        }
    }

    fn judge_ack(&mut self, ack: &Ack) {
        let Some(sent_ns) = self.real_time.latest_below(ack.base_offset) else { return };
        if sent_ns <= ack.acked_ns {
            return;
        }
        self.tally.summary.real_time_order += ack.run.count;
        let early_us = (sent_ns - ack.acked_ns) / 1_000;
        let sighting = Sighting {
            read_offset: Some(ack.run.first_offset),
            detail: Some(format!("a record below was sent {early_us} us after this ack")),
            ..self.sighting_of_claim(&ack.run)
        };
        self.tally.witness(FindingClass::RealTimeOrder, sighting);
    }
}
