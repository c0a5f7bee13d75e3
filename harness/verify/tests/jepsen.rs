//! The situations that Jepsen's kafka workload is tested with, in this checker's terms: what must be found, and what must not.
//!
//! Its cases were read for their meaning and are told here in our own words and types. Where Jepsen infers an order of writes from
//! what was polled, here sequence numbers and offsets say it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, wherever it does")]

#[path = "support/shard.rs"]
mod support;

use gauntlet_verify::identity::encode;
use gauntlet_verify::poll::Span;
use gauntlet_verify::transaction::cycle::{Cycles, RecordKey};
use gauntlet_verify::transaction::{Answer, BatchKey, Config, End, Event, TransactionKey};
use gauntlet_verify::{
    BatchHeader, CrcSeed, FindingClass as C, Found, IDENTITY_LEN, Identity, Outcome, Place, Polls, ReadEnd,
    Settlement, StreamKey, Summary, Transactions,
};

const RUN: u32 = 5;
const A: StreamKey = StreamKey { producer: 0, incarnation: 0 };
const B: StreamKey = StreamKey { producer: 1, incarnation: 0 };
const X: Place = Place { topic: 0, partition: 0 };
const Y: Place = Place { topic: 0, partition: 1 };

/// What a log of one record per batch makes of what its producers know. The reader stops at `position` of `end`.
fn log(sent: &[(StreamKey, u64, Outcome)], held: &[(StreamKey, u64)], end: i64) -> Summary {
    let mut shard = support::shard(RUN, 0, false);
    for (stream, first_pseq, outcome) in sent {
        let (stream, first_pseq, outcome) = (*stream, *first_pseq, *outcome);
        shard.settle(&Settlement { stream, first_pseq, count: 1, outcome, sent_ns: 0, settled_ns: 0 });
    }
    for (offset, (stream, pseq)) in (0..).zip(held) {
        let mut value = vec![0; IDENTITY_LEN];
        let StreamKey { producer, incarnation } = *stream;
        let identity =
            Identity { flags: 0, run: RUN, producer, incarnation, partition: 0, pseq: *pseq, intended_ns: 0 };
        encode(&identity, &CrcSeed::new("t", 0), &mut value).unwrap();
        shard.begin_batch(&header(-1, -1, -1, offset, 1));
        shard.record(offset, &value);
        shard.end_batch();
    }
    let position = held.len() as i64;
    let end = ReadEnd { position, end_offset: end, end_is_final: false, reader_was_limit: false };
    shard.finish(&end).summary
}

fn acked(offset: i64) -> Outcome {
    Outcome::Acked { base_offset: Some(offset) }
}

/// Every class that a log was found to break, with its count.
fn broken(summary: &Summary) -> Vec<(C, u64)> {
    let told = [C::IndeterminateAbsent, C::IndeterminatePresent, C::SequenceGap];
    let classes = C::ALL.iter().filter(|class| !told.contains(class));
    classes
        .filter_map(|class| Some((*class, summary.count_of(*class)?)))
        .filter(|(_, count)| *count > 0)
        .collect()
}

fn header(id: i64, epoch: i16, sequence: i32, offset: i64, count: i64) -> BatchHeader {
    BatchHeader {
        base_offset: offset,
        last_offset: offset + count - 1,
        leader_epoch: 0,
        producer_id: id,
        producer_epoch: epoch,
        base_sequence: sequence,
        control: false,
        transactional: id >= 0,
    }
}

#[test]
fn a_sound_log_breaks_nothing() {
    let sent = [(A, 0, acked(0)), (B, 0, acked(1)), (A, 1, acked(2))];
    assert_eq!(broken(&log(&sent, &[(A, 0), (B, 0), (A, 1)], 3)), []);
}

#[test]
fn what_was_acked_and_is_missing_below_what_was_read_is_lost() {
    let sent = [(A, 0, acked(0)), (B, 0, acked(0))];
    assert_eq!(broken(&log(&sent, &[(B, 0)], 1)), [(C::Lost, 1)]);
}

#[test]
fn what_was_acked_beyond_what_was_read_is_unseen_not_lost() {
    let sent = [(A, 0, acked(0)), (A, 1, acked(1))];
    assert_eq!(broken(&log(&sent, &[(A, 0)], 2)), [(C::Unseen, 1)]);
}

#[test]
fn one_record_at_two_offsets_is_a_duplicate() {
    let sent = [(A, 0, acked(0)), (B, 0, acked(1))];
    assert_eq!(broken(&log(&sent, &[(A, 0), (B, 0), (A, 0)], 3)), [(C::Duplicate, 1)]);
}

#[test]
fn an_ack_and_a_read_that_disagree_on_the_offset() {
    let sent = [(A, 0, acked(1)), (B, 0, acked(0))];
    assert_eq!(broken(&log(&sent, &[(A, 0), (B, 0)], 2)), [(C::InconsistentOffset, 2)]);
}

#[test]
fn an_unknown_send_where_another_was_acked() {
    // Both claim offset 0; the one of unknown outcome has it, so the acked one is gone.
    let sent = [(A, 0, acked(0)), (B, 0, Outcome::Indeterminate)];
    assert_eq!(broken(&log(&sent, &[(B, 0)], 1)), [(C::Lost, 1)]);
}

#[test]
fn inconsistent_and_lost_at_once() {
    let sent = [(A, 0, acked(0)), (A, 1, acked(1)), (B, 0, acked(0))];
    let summary = log(&sent, &[(A, 1), (B, 0)], 2);
    assert_eq!(broken(&summary), [(C::Lost, 1), (C::InconsistentOffset, 2)]);
}

#[test]
fn an_unknown_send_may_be_there_or_not() {
    let sent = [(A, 0, Outcome::Indeterminate), (B, 0, acked(0)), (A, 1, Outcome::Indeterminate)];
    assert_eq!(broken(&log(&sent, &[(B, 0), (A, 1)], 2)), []);
}

#[test]
fn a_send_that_failed_for_certain_must_not_be_read() {
    assert_eq!(broken(&log(&[(A, 0, Outcome::Failed)], &[(A, 0)], 1)), [(C::FailedButPresent, 1)]);
}

#[test]
fn sends_of_one_producer_that_land_in_reverse() {
    let sent = [(A, 0, acked(1)), (A, 1, acked(0))];
    assert_eq!(broken(&log(&sent, &[(A, 1), (A, 0)], 2)), [(C::Reorder, 1)]);
}

#[test]
fn sends_of_two_producers_have_no_order() {
    let sent = [(A, 0, acked(1)), (B, 0, acked(0)), (A, 1, acked(3)), (B, 1, acked(2))];
    assert_eq!(broken(&log(&sent, &[(B, 0), (A, 0), (B, 1), (A, 1)], 4)), []);
}

/// One transaction of producer id 1 that writes one batch to each of two partitions, and how it went.
struct Transaction {
    end: Option<End>,
    answer: Option<Answer>,
    /// What the log of each partition has: a marker, or nothing of it.
    markers: [Option<End>; 2],
    /// Given to a reader at read_committed at this time; the commit is sent at 10, markers are read at 20.
    given_at: Option<u64>,
}

impl Transaction {
    fn judged(&self) -> Vec<(C, u64)> {
        let key = TransactionKey { stream: A, number: 1 };
        let mut checker = Transactions::new(Config {
            run: RUN,
            topics: vec!["t".to_owned()],
            readers: 0,
            timeout_ns: 1,
            abort_grace_ns: 1,
            open_limit: 100,
            witness_limit: 2,
        });
        checker.tell(&Event::Began { key, version: 1 });
        for place in [X, Y] {
            let batch = BatchKey { place, producer_id: 1, producer_epoch: 0, base_sequence: 0 };
            checker.tell(&Event::Wrote { key, batch, first_pseq: 0, count: 1, source: None });
        }
        if let Some(end) = self.end {
            checker.tell(&Event::EndSent { key, end, at_ns: 10 });
        }
        for (place, marker) in [X, Y].into_iter().zip(self.markers) {
            let batch = header(1, 0, 0, 0, 1);
            if let Some(end) = marker {
                checker.tell(&Event::LogBatch { place, header: batch, at_ns: 15 });
                let header = BatchHeader { control: true, ..header(1, 0, -1, 1, 1) };
                checker.tell(&Event::LogMarker { place, header, end, coordinator_epoch: 0, at_ns: 20 });
            }
            let end = ReadEnd { position: 2, end_offset: 2, end_is_final: true, reader_was_limit: false };
            checker.tell(&Event::LogEnded { place, end });
        }
        if let Some(at_ns) = self.given_at {
            let header = header(1, 0, 0, 0, 1);
            checker.tell(&Event::Delivered { reader: 0, place: X, header, at_ns });
        }
        if let Some(answer) = self.answer {
            checker.tell(&Event::Answered { key, answer });
        }
        checker.finish().counts().collect()
    }
}

const COMMITTED: Transaction = Transaction {
    end: Some(End::Commit),
    answer: Some(Answer::Done),
    markers: [Some(End::Commit), Some(End::Commit)],
    given_at: Some(30),
};

#[test]
fn a_sound_transaction_breaks_nothing() {
    assert_eq!(COMMITTED.judged(), []);
    let aborted = Transaction {
        end: Some(End::Abort),
        markers: [Some(End::Abort), Some(End::Abort)],
        given_at: None,
        ..COMMITTED
    };
    assert_eq!(aborted.judged(), []);
}

#[test]
fn a_record_of_an_aborted_transaction_that_is_read() {
    let markers = [Some(End::Abort), Some(End::Abort)];
    let read = Transaction { end: Some(End::Abort), markers, ..COMMITTED };
    assert_eq!(read.judged(), [(C::AbortedRead, 1)]);
}

#[test]
fn reading_one_part_of_an_unknown_transaction_proves_the_rest() {
    let torn = Transaction { answer: Some(Answer::Unknown), markers: [Some(End::Commit), None], ..COMMITTED };
    assert_eq!(torn.judged(), [(C::TornTransaction, 1)]);
}

#[test]
fn an_unknown_transaction_may_be_there_or_not() {
    for end in [End::Commit, End::Abort] {
        let markers = [Some(end), Some(end)];
        let given_at = (end == End::Commit).then_some(30);
        let unknown = Transaction { answer: Some(Answer::Unknown), markers, given_at, ..COMMITTED };
        assert_eq!(unknown.judged(), []);
    }
}

#[test]
fn a_committed_transaction_that_is_not_there_is_lost() {
    let lost = Transaction { markers: [None, None], given_at: None, ..COMMITTED };
    assert_eq!(lost.judged(), [(C::Lost, 2)]);
}

#[test]
fn a_record_that_is_read_before_its_commit_was_sent() {
    assert_eq!(Transaction { given_at: Some(5), ..COMMITTED }.judged(), [(C::PrecommittedRead, 1)]);
}

fn polls(consumer: impl FnOnce(&mut Polls)) -> Found {
    let mut polls = Polls::new(RUN, vec!["t".to_owned()], 2);
    polls.assigned(0, X, Some(0));
    polls.hidden(X, 4..5);
    polls.log_read_to(X, 100);
    consumer(&mut polls);
    polls.finish()
}

fn span(first: i64, last: i64) -> Span {
    Span { place: X, first, last }
}

#[test]
fn polls_that_follow_on_each_other() {
    let found = polls(|consumer| {
        consumer.polled(0, &[span(0, 1), span(2, 2)]);
        consumer.polled(0, &[span(3, 3)]);
    });
    assert!(found.is_empty());
}

#[test]
fn a_gap_without_records_is_no_skip() {
    let found = polls(|consumer| {
        consumer.polled(0, &[span(0, 3)]);
        consumer.polled(0, &[span(5, 6)]);
    });
    assert!(found.is_empty());
}

#[test]
fn a_skip_between_two_polls_and_one_inside_a_poll() {
    let between = polls(|consumer| {
        consumer.polled(0, &[span(0, 1)]);
        consumer.polled(0, &[span(3, 3)]);
    });
    let inside = polls(|consumer| consumer.polled(0, &[span(0, 1), span(3, 3)]));
    for (found, words) in [(between, "between two polls"), (inside, "inside one poll")] {
        assert_eq!(found.counts().collect::<Vec<_>>(), [(C::PositionSkip, 1)]);
        let witness = &found.evidence.get(C::PositionSkip).unwrap().first()[0];
        assert!(witness.to_string().contains(words), "{witness}");
    }
}

#[test]
fn a_step_back_between_two_polls_and_one_inside_a_poll() {
    let between = polls(|consumer| {
        consumer.polled(0, &[span(0, 2)]);
        consumer.polled(0, &[span(1, 3)]);
    });
    let inside = polls(|consumer| consumer.polled(0, &[span(0, 2), span(1, 3)]));
    for found in [between, inside] {
        assert_eq!(found.counts().collect::<Vec<_>>(), [(C::PositionStepBack, 1)]);
    }
}

#[test]
fn a_rebalance_or_a_seek_between_polls_excuses_both() {
    let found = polls(|consumer| {
        consumer.polled(0, &[span(0, 2)]);
        consumer.revoked(0, X);
        consumer.assigned(0, X, None);
        consumer.polled(0, &[span(50, 52)]);
        consumer.sought(0, X, 10);
        consumer.polled(0, &[span(10, 12)]);
    });
    assert!(found.is_empty());
}

#[test]
fn a_consumer_that_does_not_go_back_after_an_abort_has_skipped() {
    let goes_on = |seeks: bool| {
        polls(|consumer| {
            consumer.polled(0, &[span(0, 0)]);
            consumer.kept(0);
            consumer.polled(0, &[span(1, 1)]);
            consumer.discarded(0);
            if seeks {
                consumer.sought(0, X, 1);
                consumer.polled(0, &[span(1, 1)]);
            } else {
                consumer.polled(0, &[span(2, 2)]);
            }
        })
    };
    assert_eq!(goes_on(false).count(C::PositionSkip), 1);
    assert!(goes_on(true).is_empty());
}

/// Two transactions that run at once, each of which writes one record; who reads whose.
fn information_flow(reads: &[(usize, usize)]) -> Found {
    let keys = [A, B].map(|stream| TransactionKey { stream, number: 1 });
    let records = [A, B].map(|stream| RecordKey { place: X, stream, pseq: 0 });
    let mut cycles = Cycles::new(RUN, vec!["t".to_owned()], 2);
    for (key, record) in keys.into_iter().zip(records) {
        cycles.began(key);
        cycles.wrote(key, record);
    }
    for (reader, writer) in reads {
        cycles.read(keys[*reader], records[*writer]);
    }
    keys.into_iter().for_each(|key| cycles.ended(key, false));
    cycles.finish()
}

#[test]
fn two_transactions_that_read_each_other() {
    assert_eq!(information_flow(&[(0, 1), (1, 0)]).count(C::CyclicInformationFlow), 1);
    assert!(information_flow(&[(0, 1)]).is_empty());
}

#[test]
fn writes_that_interleave_are_no_circle() {
    // Each comes first in one of two partitions (G0): Kafka isolates no writes.
    assert!(information_flow(&[]).is_empty());
}
