use std::time::Duration;

use gauntlet_verify::identity::encode;
use gauntlet_verify::{
    BatchHeader, CrcSeed, IDENTITY_LEN, Identity, Outcome, Preset, Settlement, Shard, ShardConfig, StreamKey,
};

use super::{ExportError, Wanted, Written, export};
use crate::history::{Head, HistoryWriter};
use crate::rundir::RunDir;

const RUN: u32 = 7;
const ZERO_NS: u64 = 1_000_000;
const STREAM: StreamKey = StreamKey { producer: 2, incarnation: 1 };

/// A batch is read at an instant: the first offset and pseq, and how many records.
fn read(shard: &mut Shard, at_ns: u64, (offset, pseq, count): (i64, u64, u64)) {
    shard.at(at_ns);
    shard.begin_batch(&BatchHeader {
        base_offset: offset,
        last_offset: offset + count as i64 - 1,
        leader_epoch: 0,
        producer_id: 1,
        producer_epoch: 0,
        base_sequence: pseq as i32,
        control: false,
        transactional: false,
    });
    for index in 0..count {
        let StreamKey { producer, incarnation } = STREAM;
        let pseq = pseq + index;
        let identity =
            Identity { flags: 0, run: RUN, producer, incarnation, partition: 3, pseq, intended_ns: 0 };
        let mut value = vec![0; IDENTITY_LEN];
        encode(&identity, &CrcSeed::new("orders", 3), &mut value).unwrap();
        shard.record(offset + index as i64, &value);
    }
    shard.end_batch();
}

fn settle(
    shard: &mut Shard,
    (first_pseq, count): (u64, u32),
    outcome: Outcome,
    (sent_ns, settled_ns): (u64, u64),
) {
    shard.settle(&Settlement { stream: STREAM, first_pseq, count, outcome, sent_ns, settled_ns });
}

fn acked(base: i64) -> Outcome {
    Outcome::Acked { base_offset: Some(base) }
}

/// A run of one partition: two batches in flight at once, one of an unknown outcome, and what lies at offset 2 is cut off and written anew.
fn cut_off(shard: &mut Shard) {
    settle(shard, (0, 2), acked(0), (ZERO_NS + 10, ZERO_NS + 30));
    settle(shard, (2, 1), acked(2), (ZERO_NS + 20, ZERO_NS + 40));
    read(shard, ZERO_NS + 50, (0, 0, 2));
    read(shard, ZERO_NS + 60, (2, 2, 1));
    settle(shard, (3, 1), Outcome::Indeterminate, (ZERO_NS + 45, ZERO_NS + 70));
    settle(shard, (4, 1), Outcome::Acked { base_offset: None }, (ZERO_NS + 75, ZERO_NS + 80));
    shard.truncate(2);
    read(shard, ZERO_NS + 90, (2, 4, 1));
}

/// One record is read at another offset than its ack says, one was never sent, and two were acked and are not there.
fn anomalous(shard: &mut Shard) {
    settle(shard, (0, 1), acked(100), (ZERO_NS + 10, ZERO_NS + 30));
    settle(shard, (1, 2), acked(7), (ZERO_NS + 20, ZERO_NS + 40));
    read(shard, ZERO_NS + 50, (5, 0, 1));
    read(shard, ZERO_NS + 60, (6, 9, 1));
}

fn run(tell: impl FnOnce(&mut Shard)) -> (tempfile::TempDir, RunDir) {
    let mut shard = Shard::new(ShardConfig {
        run: RUN,
        topic: "orders".to_owned(),
        partition: 3,
        other_topics: Vec::new(),
        created_by_run: true,
        in_order: true,
        gapless: true,
        compacted: false,
        start_offset: 0,
        witness_limit: 2,
        fragment_limit: 1 << 10,
    });
    shard.keep_history();
    tell(&mut shard);
    let root = tempfile::tempdir().unwrap();
    let dir = RunDir::create(&root.path().join("x"), "x", "1").unwrap();
    let head = Head {
        run_id: "1".to_owned(),
        origin_ns: ZERO_NS,
        guarantee: Preset::Idempotent.guarantee(),
        unclean_election: false,
        not_looked_for: Vec::new(),
        examples_max: 2,
    };
    let mut writer = HistoryWriter::create(&dir, &head, 1 << 20).unwrap();
    writer.add(0, 3, &shard.take_history());
    writer.flush().unwrap();
    (root, dir)
}

fn exported(wanted: &Wanted) -> Result<(String, Written), ExportError> {
    exported_of(cut_off, wanted)
}

fn exported_of(tell: impl FnOnce(&mut Shard), wanted: &Wanted) -> Result<(String, Written), ExportError> {
    let (_root, dir) = run(tell);
    let mut out = Vec::new();
    let written = export(&dir, wanted, &mut out)?;
    Ok((String::from_utf8(out).unwrap(), written))
}

#[test]
fn a_whole_run_is_a_history_of_jepsens_kind() {
    let (text, written) = exported(&Wanted::default()).unwrap();
    assert_eq!(
        text,
        "; key 0: orders-3 as reader 0 read it, offsets from 0; offset 0 here is 0 there\n\
         ; values from 0: pseq 0 of producer 2 incarnation 1\n\
         {:index 0, :time 10, :type :invoke, :process 0, :f :send, :value [[:send 0 0] [:send 0 1]]}\n\
         {:index 1, :time 20, :type :invoke, :process 1, :f :send, :value [[:send 0 2]]}\n\
         {:index 2, :time 30, :type :ok, :process 0, :f :send, :value [[:send 0 [0 0]] [:send 0 [1 1]]]}\n\
         {:index 3, :time 40, :type :ok, :process 1, :f :send, :value [[:send 0 [2 2]]]}\n\
         {:index 4, :time 45, :type :invoke, :process 0, :f :send, :value [[:send 0 3]]}\n\
         {:index 5, :time 47, :type :invoke, :process 2, :f :assign, :value [0]}\n\
         {:index 6, :time 48, :type :ok, :process 2, :f :assign, :value [0]}\n\
         {:index 7, :time 49, :type :invoke, :process 2, :f :poll, :value [[:poll]]}\n\
         {:index 8, :time 50, :type :ok, :process 2, :f :poll, :value [[:poll {0 [[0 0] [1 1]]}]]}\n\
         {:index 9, :time 51, :type :invoke, :process 2, :f :poll, :value [[:poll]]}\n\
         {:index 10, :time 60, :type :ok, :process 2, :f :poll, :value [[:poll {0 [[2 2]]}]]}\n\
         {:index 11, :time 61, :type :invoke, :process 2, :f :assign, :value []}\n\
         {:index 12, :time 70, :type :info, :process 0, :f :send, :value [[:send 0 3]]}\n\
         {:index 13, :time 75, :type :invoke, :process 1, :f :send, :value [[:send 0 4]]}\n\
         {:index 14, :time 80, :type :ok, :process 1, :f :send, :value [[:send 0 [nil 4]]]}\n\
         {:index 15, :time 86, :type :ok, :process 2, :f :assign, :value []}\n\
         {:index 16, :time 87, :type :invoke, :process 2, :f :assign, :value [0]}\n\
         {:index 17, :time 88, :type :ok, :process 2, :f :assign, :value [0]}\n\
         {:index 18, :time 89, :type :invoke, :process 2, :f :poll, :value [[:poll]]}\n\
         {:index 19, :time 90, :type :ok, :process 2, :f :poll, :value [[:poll {0 [[2 4]]}]]}\n"
    );
    assert_eq!(written, Written { operations: 10, sent: 5, read: 4, ..Written::default() });
}

/// What is sent and read in it, and nothing that would look lost because its other half lies outside.
#[test]
fn a_window_is_cut_by_offsets() {
    let (text, written) = exported(&Wanted { offsets: Some(1..2), ..Wanted::default() }).unwrap();
    let first = text.lines().nth(2).unwrap();
    assert!(first.ends_with(":f :send, :value [[:send 0 1]]}"), "{text}");
    assert!(text.contains("[[:poll {0 [[0 1]]}]]"), "{text}");
    assert_eq!(written, Written { operations: 3, sent: 1, read: 1, ..Written::default() });
    // By time it is the offsets that were read then: of the batch that was read before, nothing.
    let wanted = Wanted { from: Some(Duration::from_nanos(55)), ..Wanted::default() };
    let (text, written) = exported(&wanted).unwrap();
    assert!(
        text.starts_with(
            "; key 0: orders-3 as reader 0 read it, offsets from 2 to 2; offset 0 here is 2 there\n"
        ),
        "{text}"
    );
    assert_eq!((written.sent, written.read), (3, 2));
}

/// Jepsen's checker breaks off at a value that nobody wrote, and keeps a place for every offset up to the last.
#[test]
fn what_it_shows_is_what_jepsens_checker_can_judge() {
    let wanted = Wanted { offsets: Some(0..10), ..Wanted::default() };
    let (text, written) = exported_of(anomalous, &wanted).unwrap();
    let ended = |what: &str| text.lines().filter(|line| line.ends_with(what)).count();
    assert_eq!(ended(":f :send, :value [[:send 0 [nil 0]]]}"), 1, "acked outside the window: {text}");
    assert_eq!(
        ended(":f :send, :value [[:send 0 [2 1]] [:send 0 [3 2]]]}"),
        1,
        "acked, and not read: {text}"
    );
    assert_eq!(ended(":f :send, :value [[:send 0 9]]}"), 2, "of unknown outcome: {text}");
    assert!(text.contains(":type :info, :process 0, :f :send, :value [[:send 0 9]]}"), "{text}");
    assert!(text.contains("offset 0 here is 5 there\n"), "{text}");
    let whole =
        Written { operations: 6, sent: 3, read: 2, unexplained: 1, elsewhere: 1, ..Written::default() };
    assert_eq!(written, whole);
    let (text, written) = exported_of(anomalous, &Wanted::default()).unwrap();
    assert!(text.contains("[[:send 0 [95 0]]]"), "{text}");
    assert_eq!(written, Written { elsewhere: 0, ..whole });
}

#[test]
fn what_is_not_there_is_said() {
    let late = Wanted { from: Some(Duration::from_secs(5)), ..Wanted::default() };
    let error = exported(&late).unwrap_err().to_string();
    assert_eq!(
        error,
        "nothing was read or acked in that window; the history has 1 partitions of orders, read from 0.0 s to 0.0 s"
    );
    for other in [
        Wanted { topic: Some("other".to_owned()), ..Wanted::default() },
        Wanted { partitions: vec![4], ..Wanted::default() },
        Wanted { offsets: Some(3..9), ..Wanted::default() },
    ] {
        assert!(matches!(exported(&other), Err(ExportError::Nothing(_))), "{other:?}");
    }
}
