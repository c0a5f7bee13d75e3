//! Rules one at a time, on histories small enough to read, and what the caller may get wrong.

use super::*;
use crate::finding::FindingClass;
use crate::identity::{IDENTITY_LEN, encode};
use crate::outcome::StreamKey;
use crate::witness::Blame;

const RUN: u32 = 9;
pub(super) const A: StreamKey = StreamKey { producer: 1, incarnation: 0 };
pub(super) const B: StreamKey = StreamKey { producer: 2, incarnation: 0 };

pub(super) fn config() -> ShardConfig {
    ShardConfig {
        run: RUN,
        topic: "t".to_owned(),
        partition: 0,
        other_topics: vec!["u".to_owned()],
        created_by_run: true,
        in_order: true,
        gapless: false,
        compacted: false,
        start_offset: 0,
        witness_limit: 3,
        fragment_limit: 1 << 16,
    }
}

fn shard() -> Shard {
    Shard::new(config())
}

fn sent_to(topic: &str, partition: u32, stream: StreamKey, pseq: u64) -> Vec<u8> {
    let mut value = vec![7; IDENTITY_LEN + 10];
    let StreamKey { producer, incarnation } = stream;
    let identity = Identity { flags: 0, run: RUN, producer, incarnation, partition, pseq, intended_ns: 5 };
    encode(&identity, &CrcSeed::new(topic, partition), &mut value).unwrap();
    value
}

pub(super) fn value(stream: StreamKey, pseq: u64) -> Vec<u8> {
    sent_to("t", 0, stream, pseq)
}

pub(super) fn header(base_offset: i64, last_offset: i64) -> BatchHeader {
    BatchHeader {
        base_offset,
        last_offset,
        leader_epoch: 1,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        control: false,
        transactional: false,
    }
}

pub(super) fn read(shard: &mut Shard, stream: StreamKey, first_pseq: u64, first_offset: i64, count: u64) {
    shard.begin_batch(&header(first_offset, first_offset + count as i64 - 1));
    for index in 0..count {
        shard.record(first_offset + index as i64, &value(stream, first_pseq + index));
    }
    shard.end_batch();
}

pub(super) fn ack(shard: &mut Shard, stream: StreamKey, first_pseq: u64, base_offset: i64, count: u32) {
    let outcome = Outcome::Acked { base_offset: Some(base_offset) };
    shard.settle(&Settlement { stream, first_pseq, count, outcome, sent_ns: 0, settled_ns: 0 });
}

pub(super) fn end(position: i64) -> ReadEnd {
    ReadEnd { position, end_offset: position, end_is_final: false, reader_was_limit: false }
}

/// The findings of a report: every non-zero count that is not plain bookkeeping.
pub(super) fn findings(report: &PartitionReport) -> Vec<(&'static str, u64)> {
    let bookkeeping = ["acked", "failed", "indeterminate", "unacknowledged", "checked", "batches"];
    report.summary.counts().filter(|(name, n)| *n > 0 && !bookkeeping.contains(name)).collect()
}

#[test]
fn acks_and_reads_cancel_whichever_comes_first() {
    let mut shard = shard();
    ack(&mut shard, A, 0, 0, 100);
    read(&mut shard, A, 0, 0, 200);
    ack(&mut shard, A, 100, 100, 100);
    ack(&mut shard, B, 0, 200, 5);
    read(&mut shard, B, 0, 200, 5);
    assert_eq!(shard.fragments(), 4, "one range seen and one settled per stream, and nothing else");
    let report = shard.finish(&end(205));
    assert_eq!(findings(&report), []);
    assert_eq!((report.summary.acked, report.summary.checked), (205, 205));
}

#[test]
fn a_lost_record_is_known_as_soon_as_the_reader_is_past() {
    let mut shard = shard();
    ack(&mut shard, A, 0, 0, 5);
    read(&mut shard, A, 0, 0, 2);
    read(&mut shard, A, 3, 3, 2);
    assert_eq!(shard.summary().lost, 1);
    let report = shard.finish(&end(5));
    assert_eq!(findings(&report), [("lost", 1)]);
    let witness = &report.evidence.get(FindingClass::Lost).unwrap().first()[0];
    assert_eq!(
        witness.to_string(),
        "producer 1 incarnation 0 pseq 2 in t-0, acked at offset 2, not read (run 00000009)"
    );
}

#[test]
fn found_elsewhere_is_inconsistent_and_no_longer_lost() {
    let mut shard = shard();
    ack(&mut shard, A, 0, 0, 1);
    read(&mut shard, B, 0, 0, 1);
    assert_eq!(shard.summary().lost, 1);
    read(&mut shard, A, 0, 1, 1);
    ack(&mut shard, B, 0, 0, 1);
    let report = shard.finish(&end(2));
    assert_eq!(findings(&report), [("inconsistent_offsets", 1)]);
    let witness = &report.evidence.get(FindingClass::InconsistentOffset).unwrap().first()[0];
    assert_eq!((witness.acked_offset, witness.read_offset), (Some(0), Some(1)));
}

/// A retry without idempotence: the first attempt was appended too, and the ack names the second.
#[test]
fn an_ack_of_either_copy_makes_a_duplicate_and_nothing_else() {
    for acked in [0, 10] {
        for ack_after in 0..3 {
            let mut shard = shard();
            for step in 0..3 {
                if step == ack_after {
                    ack(&mut shard, A, 0, acked, 4);
                }
                if step < 2 {
                    read(&mut shard, A, 0, step * 10, 4);
                }
            }
            let report = shard.finish(&end(14));
            assert_eq!(findings(&report), [("duplicates", 4)], "acked {acked}, after {ack_after} reads");
        }
    }
}

#[test]
fn a_corrupt_record_explains_the_ack_of_its_offset() {
    for ack_first in [true, false] {
        let mut shard = shard();
        let mut damaged = value(A, 1);
        damaged[40] ^= 1;
        if ack_first {
            ack(&mut shard, A, 0, 0, 3);
        }
        shard.begin_batch(&header(0, 2));
        assert_eq!(shard.record(0, &value(A, 0)).map(|i| i.pseq), Some(0));
        assert_eq!(shard.record(1, &damaged), None);
        shard.record(2, &value(A, 2));
        shard.end_batch();
        if !ack_first {
            ack(&mut shard, A, 0, 0, 3);
        }
        assert_eq!(findings(&shard.finish(&end(3))), [("corrupt", 1)]);
    }
}

/// A batch that fails its checksum: its acks are explained, whichever comes first, and what follows is read.
#[test]
fn a_corrupt_batch_is_as_many_corrupt_records() {
    for ack_first in [true, false] {
        let mut shard = shard();
        if ack_first {
            ack(&mut shard, A, 0, 0, 9);
        }
        read(&mut shard, A, 0, 0, 2);
        shard.corrupt_batch(2..7, &header(2, 6), "its CRC is wrong");
        read(&mut shard, A, 7, 7, 2);
        shard.corrupt_batch(3..9, &header(3, 8), "handed over again");
        if !ack_first {
            ack(&mut shard, A, 0, 0, 9);
        }
        let report = shard.finish(&end(9));
        assert_eq!(findings(&report), [("corrupt", 5)]);
        let witness = &report.evidence.get(FindingClass::Corrupt).unwrap().first()[0];
        assert_eq!((witness.count, witness.read_offset), (5, Some(2)));
    }
}

#[test]
fn a_misrouted_record_names_its_home() {
    for (topic, partition) in [("t", 1), ("u", 0)] {
        let mut shard = shard();
        shard.begin_batch(&header(0, 0));
        shard.record(0, &sent_to(topic, partition, A, 3));
        shard.end_batch();
        let report = shard.finish(&end(1));
        assert_eq!(findings(&report), [("misrouted", 1)]);
        let witness = &report.evidence.get(FindingClass::Misrouted).unwrap().first()[0];
        assert_eq!(witness.detail, Some(format!("sent to {topic}-{partition}")));
        assert_eq!(witness.first_pseq, Some(3));
    }
}

#[test]
fn an_unknown_topic_is_no_home() {
    let mut shard = shard();
    shard.begin_batch(&header(0, 0));
    shard.record(0, &sent_to("elsewhere", 0, A, 3));
    shard.end_batch();
    assert_eq!(findings(&shard.finish(&end(1))), [("corrupt", 1)]);
}

#[test]
fn what_nobody_sent_is_a_phantom() {
    let mut shard = shard();
    read(&mut shard, A, 0, 0, 2);
    read(&mut shard, B, u64::MAX, 2, 1);
    shard.begin_batch(&header(3, 3));
    shard.record(3, b"hello");
    shard.end_batch();
    assert_eq!(findings(&shard.finish(&end(4))), [("phantom", 4)]);

    let mut shard = Shard::new(ShardConfig { created_by_run: false, ..config() });
    shard.begin_batch(&header(0, 0));
    shard.record(0, b"hello");
    assert_eq!(findings(&shard.finish(&end(1))), [("foreign", 1)]);
}

/// What a broken broker or client may say must not break the arithmetic.
#[test]
fn extreme_numbers_are_findings() {
    let mut shard = shard();
    ack(&mut shard, A, u64::MAX - 1, i64::MAX, 3);
    ack(&mut shard, A, 0, i64::MAX - 1, u32::MAX);
    read(&mut shard, B, u64::MAX - 1, 0, 2);
    shard.begin_batch(&header(i64::MAX - 1, i64::MAX));
    shard.record(i64::MAX, &value(B, 0));
    shard.record(-1, &value(B, 0));
    shard.end_batch();
    let report = shard.finish(&end(2));
    // One sequence number less than asked for fits above the first ack's start.
    let lost = 1 + u64::from(u32::MAX);
    assert_eq!(findings(&report), [("lost", lost), ("phantom", 2), ("reread", 2)]);
}

#[test]
fn order_is_judged_by_outcome() {
    for (outcome, acked) in [(Outcome::Indeterminate, 0), (Outcome::Acked { base_offset: None }, 3)] {
        let mut shard = shard();
        read(&mut shard, A, 3, 0, 2);
        read(&mut shard, A, 0, 2, 3);
        ack(&mut shard, A, 3, 0, 2);
        shard.settle(&Settlement { stream: A, first_pseq: 0, count: 3, outcome, sent_ns: 0, settled_ns: 0 });
        let report = shard.finish(&end(5));
        assert_eq!((report.summary.reordered, report.summary.reordered_acked), (3, acked));
    }
}

#[test]
fn retention_ahead_of_the_reader_is_expiry_and_behind_it_no_excuse() {
    let mut shard = shard();
    ack(&mut shard, A, 0, 0, 10);
    read(&mut shard, A, 0, 0, 2);
    read(&mut shard, A, 3, 3, 1);
    shard.log_start(8);
    shard.advance(8);
    read(&mut shard, A, 8, 8, 2);
    assert_eq!(findings(&shard.finish(&end(10))), [("lost", 1), ("expired", 4)]);
}

#[test]
fn above_the_position_it_depends_on_the_end() {
    let cases = [
        (end(2), vec![("unseen", 3)]),
        (ReadEnd { reader_was_limit: true, ..end(2) }, vec![("unseen", 3), ("unseen_reader_limited", 3)]),
        (ReadEnd { end_is_final: true, ..end(2) }, vec![("lost", 3)]),
        (ReadEnd { end_is_final: true, end_offset: 4, ..end(2) }, vec![("unseen", 3)]),
    ];
    for (read_end, expected) in cases {
        let mut shard = shard();
        ack(&mut shard, A, 0, 0, 5);
        read(&mut shard, A, 0, 0, 2);
        assert_eq!(findings(&shard.finish(&read_end)), expected, "{read_end:?}");
    }
}

#[test]
fn a_later_record_proves_the_loss_of_an_ack_without_offset() {
    for (in_order, expected) in [(true, vec![("lost", 1), ("unseen", 1)]), (false, vec![("unseen", 2)])] {
        let mut shard = Shard::new(ShardConfig { in_order, ..config() });
        for pseq in [0, 1, 2] {
            let outcome = Outcome::Acked { base_offset: None };
            shard.settle(&Settlement {
                stream: A,
                first_pseq: pseq,
                count: 1,
                outcome,
                sent_ns: 0,
                settled_ns: 0,
            });
        }
        read(&mut shard, A, 1, 1, 1);
        let report = shard.finish(&ReadEnd { end_offset: 5, ..end(2) });
        assert_eq!(findings(&report), expected);
    }
}

#[test]
fn leader_epochs_only_go_up() {
    let mut shard = shard();
    for (offset, leader_epoch) in [(0, 5), (1, 5), (2, 4), (3, 4), (4, -1), (5, 6), (6, 5)] {
        shard.begin_batch(&BatchHeader { leader_epoch, control: true, ..header(offset, offset) });
        shard.end_batch();
    }
    let report = shard.finish(&end(7));
    assert_eq!(findings(&report), [("control_batches", 7), ("leader_epoch_regressions", 2)]);
}

/// A batch of one record, the same each time, under this producer id, epoch and sequence.
fn read_under(shard: &mut Shard, offset: i64, producer_id: i64, producer_epoch: i16, base_sequence: i32) {
    shard.begin_batch(&BatchHeader { producer_id, producer_epoch, base_sequence, ..header(offset, offset) });
    shard.record(offset, &value(A, 0));
    shard.end_batch();
}

#[test]
fn who_made_a_copy_shows_in_the_headers() {
    let by_broker = [("duplicates", 1), ("sequence_repeats", 1)];
    let by_client = [("duplicates", 1), ("duplicates_after_epoch_bump", 1)];
    let plain = [("duplicates", 1)];
    let (same, bumped) = (FindingClass::Duplicate, FindingClass::DuplicateAfterEpochBump);
    // Producer id, epoch and sequence.
    let none = (-1, -1, -1);
    let not_shown = (BatchHeader::PRODUCER_NOT_SHOWN, -1, -1);
    let cases = [
        ((7, 0, 0), (7, 0, 0), &by_broker[..], same, Some(Blame::BrokerAppendedTwice)),
        ((7, 0, 0), (7, 1, 0), &by_client, bumped, Some(Blame::ClientResent)),
        ((7, 0, 0), (8, 0, 0), &by_client, bumped, Some(Blame::ClientResent)),
        (none, none, &plain, same, Some(Blame::ClientResent)),
        (none, (7, 0, 0), &plain, same, None),
        (not_shown, not_shown, &plain, same, None),
    ];
    for (first, again, expected, class, blame) in cases {
        let mut shard = shard();
        ack(&mut shard, A, 0, 0, 1);
        read_under(&mut shard, 0, first.0, first.1, first.2);
        read_under(&mut shard, 1, again.0, again.1, again.2);
        let report = shard.finish(&end(2));
        assert_eq!(findings(&report), expected, "{first:?}, {again:?}");
        let witness = &report.evidence.get(class).unwrap().first()[0];
        assert_eq!(witness.blame, blame, "{first:?}, {again:?}");
    }
}

/// Two copies under one new identity: the client made one of them, a broker the other.
#[test]
fn a_copy_is_compared_with_the_copy_before_it() {
    let mut shard = shard();
    ack(&mut shard, A, 0, 0, 1);
    read_under(&mut shard, 0, 7, 0, 0);
    read_under(&mut shard, 1, 7, 1, 0);
    read_under(&mut shard, 2, 7, 1, 0);
    let expected = [("duplicates", 2), ("duplicates_after_epoch_bump", 1), ("sequence_repeats", 1)];
    assert_eq!(findings(&shard.finish(&end(3))), expected);
}

#[test]
fn headers_of_others_are_judged_without_their_records() {
    let mut shard = Shard::new(ShardConfig { created_by_run: false, ..config() });
    let batches = [(0, 0, 100), (1, 0, 101), (2, 0, 105), (3, 0, 101), (4, 1, 0), (5, 0, 106), (6, 1, 1)];
    for (offset, producer_epoch, base_sequence) in batches {
        let batch = header(offset, offset);
        shard.begin_batch(&BatchHeader { producer_id: 7, producer_epoch, base_sequence, ..batch });
        shard.record(offset, b"not ours");
        shard.end_batch();
    }
    let report = shard.finish(&end(7));
    let expected = [("foreign", 7), ("sequence_gaps", 1), ("sequence_repeats", 1), ("zombie_writes", 1)];
    assert_eq!(findings(&report), expected);
    let of = |class| report.evidence.get(class).unwrap().first()[0].clone();
    let gap = of(FindingClass::SequenceGap);
    assert_eq!(
        (gap.read_offset, gap.detail.as_deref()),
        (Some(2), Some("sequence 102 was due, 3 are missing"))
    );
    let zombie = of(FindingClass::ZombieWrite);
    assert_eq!(
        zombie.to_string(),
        "record of unknown identity in t-0, read at offset 5, in batch 5..=5 of producer id 7 epoch 0 base \
         sequence 106, leader epoch 1; epoch 1 of this producer id came before (run 00000009)"
    );
}

/// A record of one second is acked at 5 s; one of `sent_ns` lies before it.
fn real_time_order_of(sent_ns: u64, ack_first: bool) -> PartitionReport {
    let mut shard = shard();
    let value_of = |stream: StreamKey, pseq: u64, intended_ns: u64| {
        let mut value = vec![7; IDENTITY_LEN + 10];
        let StreamKey { producer, incarnation } = stream;
        let identity =
            Identity { flags: 0, run: RUN, producer, incarnation, partition: 0, pseq, intended_ns };
        encode(&identity, &CrcSeed::new("t", 0), &mut value).unwrap();
        value
    };
    let outcome = |base| Outcome::Acked { base_offset: Some(base) };
    let acks = [
        Settlement {
            stream: A,
            first_pseq: 0,
            count: 2,
            outcome: outcome(1),
            sent_ns: 0,
            settled_ns: 5_000_000_000,
        },
        Settlement {
            stream: B,
            first_pseq: 0,
            count: 1,
            outcome: outcome(0),
            sent_ns: 0,
            settled_ns: 9_000_000_000,
        },
    ];
    if ack_first {
        acks.iter().for_each(|ack| shard.settle(ack));
    }
    shard.begin_batch(&header(0, 2));
    shard.record(0, &value_of(B, 0, sent_ns));
    shard.record(1, &value_of(A, 0, 1_000_000_000));
    // Within one batch the clock decides nothing.
    shard.record(2, &value_of(A, 1, 6_000_000_000));
    shard.end_batch();
    if !ack_first {
        acks.iter().for_each(|ack| shard.settle(ack));
    }
    shard.finish(&end(3))
}

#[test]
fn what_was_sent_after_an_ack_lies_behind_it() {
    for ack_first in [true, false] {
        assert_eq!(findings(&real_time_order_of(5_000_000_000, ack_first)), []);
        let report = real_time_order_of(5_000_003_000, ack_first);
        assert_eq!(findings(&report), [("real_time_order", 2)]);
        let witness = &report.evidence.get(FindingClass::RealTimeOrder).unwrap().first()[0];
        assert_eq!(
            witness.to_string(),
            "producer 1 incarnation 0 pseq 0..=1 (2 records) in t-0, acked at offset 1, read at \
             offset 1; a record below was sent 3 us after this ack (run 00000009)"
        );
    }
}

/// A fetch from the middle of a batch gives the whole batch.
#[test]
fn a_batch_that_is_handed_over_again_is_no_repeat() {
    let mut shard = shard();
    let whole = BatchHeader { producer_id: 7, producer_epoch: 0, base_sequence: 30, ..header(0, 1) };
    for offset in 0..2 {
        shard.begin_batch(&whole);
        shard.record(offset, &value(A, offset as u64));
        shard.advance(offset + 1);
    }
    shard.begin_batch(&BatchHeader { base_sequence: 32, base_offset: 2, last_offset: 2, ..whole });
    shard.end_batch();
    ack(&mut shard, A, 0, 0, 2);
    assert_eq!(findings(&shard.finish(&end(3))), []);
}

#[test]
fn a_log_that_was_cut_off_is_blamed_where_it_shows() {
    for (leader_epoch, blame) in [(1, None), (2, Some(Blame::LogTruncated))] {
        let mut shard = shard();
        read(&mut shard, B, 0, 0, 1);
        ack(&mut shard, B, 0, 0, 1);
        ack(&mut shard, A, 0, 1, 1);
        shard.begin_batch(&BatchHeader { leader_epoch, ..header(1, 1) });
        shard.record(1, &value(B, 1));
        shard.end_batch();
        ack(&mut shard, B, 1, 1, 1);
        let report = shard.finish(&end(2));
        assert_eq!(findings(&report), [("lost", 1)]);
        assert_eq!(report.evidence.get(FindingClass::Lost).unwrap().first()[0].blame, blame);
    }
}

#[test]
fn watermarks_only_go_up_within_one_replica_and_epoch() {
    let mut shard = shard();
    let marks = |replica, leader_epoch, high_watermark, last_stable_offset| Watermarks {
        replica,
        leader_epoch,
        high_watermark,
        last_stable_offset,
    };
    for seen in [
        marks(1, 1, 10, 10),
        marks(1, 1, 9, 10),
        marks(1, 1, 12, 8),
        marks(1, 1, -1, -1),
        // Another leader may start lower.
        marks(2, 2, 5, 5),
        marks(2, 2, 6, 6),
    ] {
        shard.watermarks(&seen);
    }
    let report = shard.finish(&end(0));
    let expected = [("high_watermark_regressions", 1), ("last_stable_offset_regressions", 1)];
    assert_eq!(findings(&report), expected);
}

#[test]
fn what_is_not_handed_over_was_skipped_unless_it_expired() {
    for gapless in [true, false] {
        let mut shard = Shard::new(ShardConfig { gapless, ..config() });
        ack(&mut shard, A, 0, 0, 2);
        read(&mut shard, A, 0, 0, 2);
        // Of 2..6, 2 and 3 are below.
        shard.log_start(4);
        ack(&mut shard, A, 2, 6, 2);
        read(&mut shard, A, 2, 6, 2);
        ack(&mut shard, A, 4, 8, 1);
        ack(&mut shard, A, 5, 10, 1);
        shard.begin_batch(&header(8, 12));
        shard.record(8, &value(A, 4));
        shard.record(10, &value(A, 5));
        shard.end_batch();
        // A marker holds no record.
        shard.begin_batch(&BatchHeader { control: true, ..header(13, 13) });
        shard.end_batch();
        let report = shard.finish(&end(14));
        let skipped = if gapless {
            vec![("control_batches", 1), ("position_skips", 5)]
        } else {
            vec![("control_batches", 1)]
        };
        assert_eq!(findings(&report), skipped);
    }
}

#[test]
fn what_a_client_hands_over_again_is_its_step_back() {
    let mut shard = shard();
    let of_client = |base: i64, last: i64| BatchHeader {
        producer_id: BatchHeader::PRODUCER_NOT_SHOWN,
        ..header(base, last)
    };
    ack(&mut shard, A, 0, 0, 4);
    for (base, offsets) in [(0, 0..3), (3, 1..3), (3, 3..4)] {
        shard.begin_batch(&of_client(base, offsets.end - 1));
        for offset in offsets {
            shard.record(offset, &value(A, offset as u64));
        }
        shard.end_batch();
    }
    let report = shard.finish(&end(4));
    assert_eq!(findings(&report), [("position_steps_back", 2)]);
    let witness = &report.evidence.get(FindingClass::PositionStepBack).unwrap().first()[0];
    assert!(
        witness.to_string().contains("read at offset 1, in a read of 3..=2; offset 3 was next"),
        "{witness}"
    );
}

#[test]
fn callers_mistakes_are_counted_and_ignored() {
    let mut shard = shard();
    ack(&mut shard, A, 0, 0, 4);
    ack(&mut shard, A, 2, 70, 4);
    read(&mut shard, A, 0, 0, 6);
    read(&mut shard, A, 0, 0, 2);
    let report = shard.finish(&end(6));
    // Two of the second ack are new, at offsets 72 and 73, which are not read.
    let expected = [("unseen", 2), ("settled_twice", 2), ("reread", 2)];
    assert_eq!(findings(&report), expected);
}

/// A broker stalls for 12 s at a million records a second on one partition: acks go on or reads go on,
/// and either way the state is one run per batch at most.
#[test]
fn a_stall_costs_a_run_per_batch() {
    let streams: Vec<_> = (0..16).map(|producer| StreamKey { producer, incarnation: 0 }).collect();
    let mut shard = shard();
    for batch in 0..30_000u64 {
        let stream = streams[(batch % 16) as usize];
        ack(&mut shard, stream, batch / 16 * 400, batch as i64 * 400, 400);
    }
    // A claim weighs nearly as much as two runs: it knows when it was acked.
    assert!(shard.fragments() <= 30_000 * size_of::<Claim>() / size_of::<Run>() + 2 * 16);
    assert!(shard.memory_bytes() < 4 << 20, "{} bytes", shard.memory_bytes());
    let summary = shard.summary();
    assert!(!summary.degraded);
    assert_eq!(summary.acked, 12_000_000);
}

/// One fragment per record, without end: every second acked record is lost, the others come twice.
#[test]
fn memory_keeps_its_bound_when_nothing_holds() {
    let limit = 2_000;
    let mut shard = Shard::new(ShardConfig { fragment_limit: limit, ..config() });
    let bound = Shard::memory_bound_bytes(1, limit);
    for index in 0..50_000u64 {
        ack(&mut shard, A, index * 2, index as i64 * 4, 1);
        read(&mut shard, A, index * 2 + 1, index as i64 * 4 + 1, 1);
        read(&mut shard, A, index * 2 + 1, index as i64 * 4 + 2, 1);
        if index % 512 == 0 {
            assert!(shard.memory_bytes() <= bound, "{} > {bound}", shard.memory_bytes());
        }
    }
    let report = shard.finish(&end(200_000));
    assert!(report.summary.degraded);
    assert_eq!((report.summary.lost, report.summary.duplicates), (50_000, 50_000));
}

#[test]
fn reports_survive_serialisation() {
    let mut shard = shard();
    ack(&mut shard, A, 0, 0, 5);
    read(&mut shard, A, 0, 0, 2);
    shard.advance(5);
    let report = shard.finish(&end(5));
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<PartitionReport>(&json).unwrap(), report);
}
