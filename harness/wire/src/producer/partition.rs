//! The recovery rules of one partition of a producer, without any I/O.
//!
//! # The rules, and why they are safe
//!
//! A broker detects duplicates by (producer id, epoch, base sequence) of the last five batches per partition, and
//! takes *any* first sequence from a producer id that it has no state for (KIP-98, KIP-360). Hence:
//!
//! 1. At most five batches of a partition are unsettled, so each of them is within the broker's memory.
//! 2. The first batch of an epoch flies alone until it is answered: were two in flight and the first one lost, a
//!    broker without state would accept the second as the beginning.
//! 3. A batch that *may be appended* (written to a socket, and not every attempt answered by a code that proves
//!    rejection before the append) keeps its bytes: it is sent again under the same stamp until it is answered or
//!    `delivery.timeout.ms` is over. Then it ends *indeterminate*.
//! 4. Sequences move back (over a batch that ended *failed*) only when nothing is in flight and every later batch is
//!    proven not to be in the log; the later ones are then stamped anew, in order.
//! 5. After an indeterminate batch, or when the broker refuses the epoch, nothing new is sent until every batch that
//!    may be appended is settled. Then a new epoch begins at sequence 0, as a new incarnation. The epoch is bumped
//!    locally, as the Java client does for producers without transactions; brokers keep it per partition.
//! 6. While anything is in flight to one broker, nothing is sent to another.
//!
//! Nothing that may have been appended is ever stamped anew; that is asserted.

use std::collections::VecDeque;
use std::time::Duration;

use crate::admin::ProducerIdentity;
use crate::batch::{BatchStamp, SealedBatch, advance_sequence};
use crate::code::ErrorCode;
use crate::links::backoff_ns;

/// The part of a producer's configuration that decides about retries.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// `enable.idempotence`.
    pub(crate) idempotent: bool,
    /// `retries` > 0.
    pub(crate) retries: bool,
    /// Most batches of one partition that are unsettled at once.
    pub(crate) max_in_flight: usize,
    /// `retry.backoff.ms`.
    pub(crate) retry_backoff: Duration,
    /// `retry.backoff.max.ms`.
    pub(crate) retry_backoff_max: Duration,
}

/// How a batch ended. See the outcome rule in ARCHITECTURE.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchOutcome {
    /// Answered with success. The offset of the first record is missing if the broker knew the batch as a duplicate
    /// but not its offset.
    Acked {
        /// Offset of the first record.
        base_offset: Option<i64>,
    },
    /// Proven not to be in the log: never written to a socket, or rejected before the append on every attempt.
    Failed {
        /// The last code answered; `None` if it was never written.
        code: Option<ErrorCode>,
    },
    /// May or may not be in the log.
    Indeterminate {
        /// The last code answered; `None` if there was no answer.
        code: Option<ErrorCode>,
    },
    /// Sent with acks=0: nobody will ever say.
    Unacknowledged,
}

/// The end of one batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended<T> {
    pub(crate) tag: T,
    pub(crate) count: u32,
    pub(crate) wire_bytes: u32,
    pub(crate) uncompressed_bytes: u32,
    pub(crate) outcome: BatchOutcome,
    /// When its first byte of the first attempt was written.
    pub(crate) first_written_ns: Option<u64>,
    pub(crate) attempts: u32,
}

#[derive(Debug)]
struct Batch<T> {
    id: u64,
    sealed: SealedBatch,
    tag: T,
    deadline_ns: u64,
    in_flight: bool,
    may_be_appended: bool,
    /// A later batch of the partition was appended, so the sequence of this one can't be given to others.
    later_appended: bool,
    attempts: u32,
    not_before_ns: u64,
    first_written_ns: Option<u64>,
    last_code: Option<ErrorCode>,
}

/// The sequences of a batch that ended failed.
#[derive(Debug, Clone, Copy)]
struct Hole {
    id: u64,
    base_sequence: i32,
}

#[derive(Debug)]
pub(crate) struct PartitionQueue<T> {
    policy: Policy,
    identity: Option<ProducerIdentity>,
    incarnation: u16,
    next_sequence: i32,
    /// The current epoch has an acked batch here.
    proven: bool,
    /// The epoch is spent; see rule 5.
    new_epoch_due: bool,
    /// Batches that ended failed and whose sequences nothing took yet, oldest first; see rule 4.
    holes: Vec<Hole>,
    batches: VecDeque<Batch<T>>,
    flight_node: Option<i32>,
    next_id: u64,
}

impl<T: Copy> PartitionQueue<T> {
    pub(crate) fn new(policy: Policy) -> Self {
        PartitionQueue {
            policy,
            identity: None,
            incarnation: 0,
            next_sequence: 0,
            proven: false,
            new_epoch_due: false,
            holes: Vec::new(),
            batches: VecDeque::new(),
            flight_node: None,
            next_id: 0,
        }
    }

    /// Counts the epochs of this partition; part of each record's identity.
    pub(crate) fn incarnation(&self) -> u16 {
        self.incarnation
    }

    /// Whether a producer id is needed before anything can be sent.
    pub(crate) fn needs_identity(&self) -> bool {
        self.policy.idempotent && self.identity.is_none()
    }

    /// Hands over a producer id that no batch of this partition was ever sent under.
    pub(crate) fn give_identity(&mut self, identity: ProducerIdentity) {
        if self.needs_identity() {
            self.identity = Some(identity);
            self.restamp_from(0);
        }
    }

    /// Whether every batch is settled.
    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether a new batch may be built now.
    pub(crate) fn accepts_new(&self) -> bool {
        if self.policy.idempotent
            && (self.identity.is_none()
                || self.new_epoch_due
                || !self.holes.is_empty()
                || (!self.proven && !self.batches.is_empty()))
        {
            return false;
        }
        self.batches.len() < self.policy.max_in_flight && self.batches.iter().all(|b| b.in_flight)
    }

    /// The stamp for the next batch. Only valid until [`PartitionQueue::push`].
    pub(crate) fn next_stamp(&self) -> BatchStamp {
        match self.identity {
            Some(identity) if self.policy.idempotent => BatchStamp {
                producer_id: identity.id,
                producer_epoch: identity.epoch,
                base_sequence: self.next_sequence,
            },
            _ => BatchStamp::NONE,
        }
    }

    /// Queues a batch that was sealed with [`PartitionQueue::next_stamp`].
    pub(crate) fn push(&mut self, sealed: SealedBatch, tag: T, deadline_ns: u64) {
        debug_assert!(self.accepts_new());
        debug_assert_eq!(sealed.stamp(), self.next_stamp());
        self.next_sequence = advance_sequence(self.next_sequence, sealed.count());
        self.batches.push_back(Batch {
            id: self.next_id,
            sealed,
            tag,
            deadline_ns,
            in_flight: false,
            may_be_appended: false,
            later_appended: false,
            attempts: 0,
            not_before_ns: 0,
            first_written_ns: None,
            last_code: None,
        });
        self.next_id += 1;
    }

    /// The batch to send to `node` next, if one may be sent now.
    pub(crate) fn next_to_send(&self, node: i32, now_ns: u64) -> Option<(u64, &SealedBatch)> {
        let batch = self.next_waiting()?;
        let elsewhere = self.flight_node.is_some_and(|n| n != node);
        (!elsewhere && batch.not_before_ns <= now_ns).then_some((batch.id, &batch.sealed))
    }

    /// When the next batch may be sent again, if its back-off is what it waits for.
    pub(crate) fn next_attempt_ns(&self) -> Option<u64> {
        self.next_waiting().map(|b| b.not_before_ns)
    }

    fn next_waiting(&self) -> Option<&Batch<T>> {
        if !self.policy.idempotent {
            return self.batches.iter().find(|b| !b.in_flight);
        }
        self.identity?;
        let in_flight = self.batches.iter().any(|b| b.in_flight);
        let batch = if self.new_epoch_due || !self.holes.is_empty() {
            // What may be appended is settled first, under its old stamp; the rest waits to be stamped anew.
            self.batches.iter().find(|b| !b.in_flight && b.may_be_appended)
        } else {
            self.batches.iter().find(|b| !b.in_flight)
        }?;
        (self.proven || !in_flight).then_some(batch)
    }

    /// `id` was put into a request to `node`. Returns whether it was for the first time.
    pub(crate) fn sent(&mut self, id: u64, node: i32) -> bool {
        self.flight_node = Some(node);
        let Some(batch) = self.batches.iter_mut().find(|b| b.id == id) else { return false };
        batch.in_flight = true;
        batch.attempts += 1;
        batch.attempts == 1
    }

    /// The request with `id` got its answer.
    pub(crate) fn answered(
        &mut self,
        id: u64,
        code: ErrorCode,
        base_offset: i64,
        first_byte_ns: Option<u64>,
        now_ns: u64,
        out: &mut Vec<Ended<T>>,
    ) {
        let Some(at) = self.land(id, first_byte_ns) else { return };
        if code.is_ok() || code == ErrorCode::DUPLICATE_SEQUENCE_NUMBER {
            self.proven = true;
            self.batches.iter_mut().take(at).for_each(|b| b.later_appended = true);
            // What is in the log behind a hole pins the sequences where they are.
            self.holes.retain(|hole| hole.id > id);
            let base_offset = (base_offset >= 0 && code.is_ok()).then_some(base_offset);
            self.end(at, BatchOutcome::Acked { base_offset }, out);
        } else {
            self.refused(at, code, now_ns, out);
        }
        self.settle_state(out);
    }

    fn refused(&mut self, at: usize, code: ErrorCode, now_ns: u64, out: &mut Vec<Ended<T>>) {
        let first = at == 0;
        let idempotent = self.policy.idempotent;
        let backoff_ns = self.backoff_ns(self.batches[at].attempts);
        let batch = &mut self.batches[at];
        batch.last_code = Some(code);
        batch.may_be_appended |= !code.rejected_before_append();
        batch.not_before_ns = now_ns + backoff_ns;
        let appended = batch.may_be_appended;
        let batch_pinned = batch.later_appended;
        match code {
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER if idempotent => {
                // Behind an unsettled batch it only means "not yet". In front, the broker's state is not what our
                // acks say (it lost records); only a new epoch gets past that.
                match (first && self.holes.is_empty(), appended, batch_pinned) {
                    // Its place in the order is gone: nothing can bring it in without a reorder.
                    (_, false, true) => self.give_up(at, out),
                    (true, false, false) => self.new_epoch_due = true,
                    _ => {}
                }
            }
            ErrorCode::INVALID_PRODUCER_EPOCH
            | ErrorCode::PRODUCER_FENCED
            | ErrorCode::UNKNOWN_PRODUCER_ID
                if idempotent =>
            {
                self.new_epoch_due = true;
                if appended {
                    self.end(at, BatchOutcome::Indeterminate { code: Some(code) }, out);
                }
            }
            // With duplicate detection a batch that may be in the log can always be asked about again.
            _ if self.policy.retries && (code.is_retriable() || (idempotent && appended)) => {}
            _ => self.give_up(at, out),
        }
    }

    /// The connection that carried the request with `id` is gone; `first_byte_ns` tells whether the broker can have
    /// seen any of it.
    pub(crate) fn connection_lost(
        &mut self,
        id: u64,
        first_byte_ns: Option<u64>,
        now_ns: u64,
        out: &mut Vec<Ended<T>>,
    ) {
        let Some(at) = self.land(id, first_byte_ns) else { return };
        let backoff_ns = self.backoff_ns(self.batches[at].attempts);
        let batch = &mut self.batches[at];
        batch.may_be_appended |= first_byte_ns.is_some();
        batch.not_before_ns = now_ns + backoff_ns;
        if !self.policy.retries {
            self.give_up(at, out);
        }
        self.settle_state(out);
    }

    /// A request with acks=0 was written to its last byte.
    pub(crate) fn written(&mut self, id: u64, first_byte_ns: Option<u64>, out: &mut Vec<Ended<T>>) {
        if let Some(at) = self.land(id, first_byte_ns) {
            self.end(at, BatchOutcome::Unacknowledged, out);
        }
        self.settle_state(out);
    }

    /// When the oldest batch runs into `delivery.timeout.ms`.
    pub(crate) fn deadline_ns(&self) -> Option<u64> {
        self.batches.iter().map(|b| b.deadline_ns).min()
    }

    /// Ends every batch whose delivery time is over by `now_ns`.
    pub(crate) fn expire(&mut self, now_ns: u64, out: &mut Vec<Ended<T>>) {
        while let Some(at) = self.batches.iter().position(|b| b.deadline_ns <= now_ns) {
            // In flight means that its bytes are with the kernel, or about to be.
            self.batches[at].may_be_appended |= self.batches[at].in_flight;
            self.give_up(at, out);
        }
        self.settle_state(out);
    }

    /// Ends a batch for good, by what its attempts prove.
    fn give_up(&mut self, at: usize, out: &mut Vec<Ended<T>>) {
        let batch = &self.batches[at];
        let code = batch.last_code;
        if batch.may_be_appended {
            self.new_epoch_due |= self.policy.idempotent;
            self.end(at, BatchOutcome::Indeterminate { code }, out);
            return;
        }
        if self.policy.idempotent && !batch.later_appended {
            let hole = Hole { id: batch.id, base_sequence: batch.sealed.stamp().base_sequence };
            let behind = self.holes.partition_point(|h| h.id < hole.id);
            self.holes.insert(behind, hole);
        }
        self.end(at, BatchOutcome::Failed { code }, out);
    }

    /// Takes a batch out of flight. `None` if it ended meanwhile.
    fn land(&mut self, id: u64, first_byte_ns: Option<u64>) -> Option<usize> {
        let at = self.batches.iter().position(|b| b.id == id && b.in_flight)?;
        let batch = &mut self.batches[at];
        batch.in_flight = false;
        batch.first_written_ns = batch.first_written_ns.or(first_byte_ns);
        Some(at)
    }

    fn end(&mut self, at: usize, outcome: BatchOutcome, out: &mut Vec<Ended<T>>) {
        if let Some(batch) = self.batches.remove(at) {
            out.push(Ended {
                tag: batch.tag,
                count: batch.sealed.count(),
                wire_bytes: batch.sealed.bytes().len() as u32,
                uncompressed_bytes: batch.sealed.uncompressed_bytes(),
                outcome,
                first_written_ns: batch.first_written_ns,
                attempts: batch.attempts,
            });
        }
    }

    /// Begins a new epoch or closes the holes, where the rules allow it by now.
    fn settle_state(&mut self, out: &mut Vec<Ended<T>>) {
        if self.batches.iter().any(|b| b.in_flight) {
            return;
        }
        self.flight_node = None;
        if self.new_epoch_due {
            if self.batches.iter().all(|b| !b.may_be_appended) {
                self.begin_epoch(out);
            }
        } else if let Some(hole) = self.holes.first().copied()
            && self.batches.iter().all(|b| b.id < hole.id || !b.may_be_appended)
        {
            self.holes.clear();
            self.next_sequence = hole.base_sequence;
            self.restamp_from(hole.id);
        }
    }

    fn begin_epoch(&mut self, out: &mut Vec<Ended<T>>) {
        let Some(incarnation) = self.incarnation.checked_add(1) else { return };
        self.incarnation = incarnation;
        self.new_epoch_due = false;
        self.holes.clear();
        self.proven = false;
        self.next_sequence = 0;
        while let Some(at) = self.batches.iter().position(|b| b.later_appended) {
            self.give_up(at, out);
        }
        // Behind the last epoch there is only another producer id.
        self.identity =
            self.identity.and_then(|i| Some(ProducerIdentity { id: i.id, epoch: i.epoch.checked_add(1)? }));
        self.restamp_from(0);
    }

    /// Stamps every batch from `id` on anew, in order, beginning with `next_sequence`.
    fn restamp_from(&mut self, id: u64) {
        if self.identity.is_none() {
            return;
        }
        let mut stamp = self.next_stamp();
        for batch in self.batches.iter_mut().filter(|b| b.id >= id) {
            assert!(
                !batch.may_be_appended && !batch.in_flight,
                "a batch that may be in the log keeps its stamp"
            );
            batch.sealed = batch.sealed.restamp(stamp);
            stamp.base_sequence = advance_sequence(stamp.base_sequence, batch.sealed.count());
        }
        self.next_sequence = stamp.base_sequence;
    }

    fn backoff_ns(&self, attempts: u32) -> u64 {
        backoff_ns(self.policy.retry_backoff, self.policy.retry_backoff_max, attempts)
    }
}

#[cfg(test)]
mod simulation;
