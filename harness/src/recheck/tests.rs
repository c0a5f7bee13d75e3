use gauntlet_verify::identity::encode;
use gauntlet_verify::{
    BatchHeader, CrcSeed, IDENTITY_LEN, Identity, Outcome, Preset, ReadEnd, Settlement, Shard, ShardConfig,
    StreamKey,
};
use tempfile::TempDir;

use super::*;
use crate::history::HistoryWriter;

const RUN: u32 = 9;

fn shard() -> Shard {
    let mut shard = Shard::new(ShardConfig {
        run: RUN,
        topic: "orders".to_owned(),
        partition: 2,
        other_topics: Vec::new(),
        created_by_run: true,
        in_order: true,
        gapless: false,
        compacted: false,
        start_offset: 0,
        witness_limit: 8,
        fragment_limit: 1_000,
    });
    shard.keep_history();
    shard
}

/// Ten records are acked, and so many of them are read, in one batch.
fn ten_acked(shard: &mut Shard, read: i64) {
    let stream = StreamKey { producer: 0, incarnation: 0 };
    let outcome = Outcome::Acked { base_offset: Some(0) };
    shard.settle(&Settlement { stream, first_pseq: 0, count: 10, outcome, sent_ns: 0, settled_ns: 0 });
    shard.begin_batch(&BatchHeader {
        base_offset: 0,
        last_offset: 9,
        leader_epoch: 0,
        producer_id: 1,
        producer_epoch: 0,
        base_sequence: 0,
        control: false,
        transactional: false,
    });
    let seed = CrcSeed::new("orders", 2);
    for offset in 0..read {
        let mut value = [0; IDENTITY_LEN];
        let (pseq, intended_ns) = (offset as u64, 1);
        let identity =
            Identity { flags: 0, run: RUN, producer: 0, incarnation: 0, partition: 2, pseq, intended_ns };
        encode(&identity, &seed, &mut value).unwrap();
        shard.record(offset, &value);
    }
    shard.end_batch();
}

const END: ReadEnd = ReadEnd { position: 10, end_offset: 10, end_is_final: true, reader_was_limit: false };

/// A run directory whose history is what `shard` was told.
fn run_dir(mut shard: Shard, bytes_max: u64) -> (TempDir, RunDir) {
    let root = tempfile::tempdir().unwrap();
    let dir = RunDir::create(&root.path().join("run"), "run", "1").unwrap();
    let head = Head {
        run_id: "1".to_owned(),
        origin_ns: 0,
        guarantee: Preset::Idempotent.guarantee(),
        unclean_election: false,
        not_looked_for: Vec::new(),
        examples_max: 8,
    };
    let mut writer = HistoryWriter::create(&dir, &head, bytes_max).unwrap();
    writer.add(0, 2, &shard.take_history());
    writer.flush().unwrap();
    (root, dir)
}

#[test]
fn what_was_lost_is_found_again() {
    let mut told = shard();
    ten_acked(&mut told, 8);
    told.note_end(&END);
    let (_root, dir) = run_dir(told, 1 << 20);
    let record = recheck(&dir).unwrap();
    assert_eq!((record.verdict, record.exit_reason()), (Verdict::Violation, ExitReason::Violation));
    assert!(record.complete && record.differences.is_none());
    assert_eq!((record.verify.lost, record.verify.checked, record.partitions), (2, 8, 1));
    let kept: RecheckRecord = serde_json::from_slice(&dir.read(RECHECK_JSON).unwrap()).unwrap();
    assert_eq!(kept, record);
}

#[test]
fn a_flawless_run_is_flawless_again() {
    let mut told = shard();
    ten_acked(&mut told, 10);
    told.note_end(&END);
    let (_root, dir) = run_dir(told, 1 << 20);
    let record = recheck(&dir).unwrap();
    assert_eq!((record.verdict, record.exit_reason()), (Verdict::Pass, ExitReason::Pass));
    assert_eq!(record.findings, []);
}

#[test]
fn a_run_that_died_proves_nothing_either_way() {
    let mut told = shard();
    ten_acked(&mut told, 10);
    let (_root, dir) = run_dir(told, 1 << 20);
    let record = recheck(&dir).unwrap();
    assert_eq!((record.verdict, record.exit_reason()), (Verdict::Inconclusive, ExitReason::Inconclusive));
    assert!(!record.complete);
    assert!(record.reasons[0].text.contains("did not come to its end"), "{:?}", record.reasons);
}

#[test]
fn a_history_that_came_to_its_limit_proves_nothing_either_way() {
    let mut told = shard();
    ten_acked(&mut told, 8);
    told.note_end(&END);
    let (_root, dir) = run_dir(told, 150);
    let record = recheck(&dir).unwrap();
    assert_eq!((record.verdict, record.partitions), (Verdict::Inconclusive, 0), "{record:#?}");
}
