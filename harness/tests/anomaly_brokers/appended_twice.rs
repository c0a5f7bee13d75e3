//! A batch is in the log twice, under the same producer id, epoch and sequence numbers: what a leader has to refuse. Only the leader's log
//! is edited; its followers get the copy by replication, as they would from a leader that appended it.
//!
//! The control, a client that sends again and brokers that recognise it, is that of `swallowed_answers`.

use crate::brokers::alone;
use crate::case::{Running, Side};
use crate::referee::Logs;
use crate::segments::Segment;
use crate::stage::{self, Replicas, WORKLOAD, all_logs, log_of, scenario, start};

#[test]
fn a_batch_that_a_leader_appended_twice_is_its_own_fault() {
    let _alone = alone();
    let topic = "twice";
    let running = Running::start("a batch is appended twice", Side::Plant, &scenario(topic, 1, 14, WORKLOAD));
    running.wait_for_acked(1_200);
    let replicas = Replicas::of(topic);
    replicas.stop_all();
    let last = Segment::of(&log_of(replicas.leader, topic)).repeat_last_batch();
    start(&[replicas.leader]);
    stage::wait_until("it leads", topic, |partition| partition.leader == Some(replicas.leader));
    start(&replicas.followers);
    let ended = running.end();
    ended.expect_verdict("VIOLATION", 100);
    ended.expect_only(&["duplicates", "sequence_repeats"]);
    ended.expect_blame("duplicate", "broker-appended-twice");
    ended.expect_blame("sequence-repeat", "broker-appended-twice");
    let logs = Logs::dump(&all_logs(topic, 1));
    ended.expect_agreement(&logs);
    assert_eq!(ended.count("duplicates"), last.header.record_count as u64);
    assert_eq!(ended.count("sequence_repeats"), 1);
    let witness = &ended.witnesses("sequence-repeat")[0];
    assert_eq!(witness["read_offset"], last.end_offset(), "{witness:#}");
    assert_eq!(witness["batch"]["base_sequence"], last.header.base_sequence, "{witness:#}");
    assert_eq!(witness["batch"]["producer_epoch"], last.header.producer_epoch, "{witness:#}");
    ended.tell(
        "VIOLATION by one batch: duplicates and a sequence that repeats, blame broker-appended-twice",
        &logs,
    );
}
