//! The end of a log is gone after a restart, as after a power failure before the page cache was written: of every replica, and it is lost;
//! of one follower, and replication brings it back.

use crate::brokers::alone;
use crate::case::{Running, Side};
use crate::referee::Logs;
use crate::segments::Segment;
use crate::stage::{self, Replicas, WORKLOAD, all_logs, log_of, scenario, start, stop};

/// How many batches are cut off at least.
const BATCHES: usize = 20;

/// The offset from which on these batches lie.
fn cut_of(segment: &Segment) -> i64 {
    let batches = segment.batches();
    batches[batches.len() - BATCHES].header.base_offset
}

#[test]
fn a_tail_that_is_gone_from_every_replica_is_lost() {
    let _alone = alone();
    let topic = "truncated";
    let running = Running::start(
        "the tail of the log is gone from every replica",
        Side::Plant,
        &scenario(topic, 1, 20, &format!("{WORKLOAD}verify: {{ guarantee: idempotent }}\n")),
    );
    running.wait_for_acked(1_200);
    let replicas = Replicas::of(topic);
    replicas.stop_all();
    let cut = cut_of(&Segment::of(&log_of(replicas.followers[0], topic)));
    let longest = Segment::of(&log_of(replicas.leader, topic)).end_offset();
    for node in replicas.all() {
        Segment::of(&log_of(node, topic)).truncate(cut);
    }
    start(&replicas.all());
    let ended = running.end();
    ended.expect_verdict("VIOLATION", 100);
    ended.expect_only(&["lost"]);
    ended.expect_blame("lost", "log-truncated");
    let logs = Logs::dump(&all_logs(topic, 1));
    ended.expect_agreement(&logs);
    let gone = (longest - cut) as u64;
    assert!((1..=gone).contains(&ended.count("lost")), "{gone} were cut off\n{}", ended.story());
    assert_eq!(ended.witnesses("lost")[0]["acked_offset"], cut, "{}", ended.story());
    ended.tell(
        "VIOLATION by what was cut off: lost, from the offset of the cut on, blame log-truncated",
        &logs,
    );
}

#[test]
fn a_tail_that_is_gone_from_one_follower_comes_back() {
    let _alone = alone();
    let topic = "truncated-follower";
    let running = Running::start(
        "the tail of the log is gone from every replica",
        Side::Control,
        &scenario(topic, 1, 14, &format!("{WORKLOAD}verify: {{ guarantee: idempotent }}\n")),
    );
    running.wait_for_acked(1_200);
    let follower = Replicas::of(topic).followers[0];
    stop(follower);
    let segment = Segment::of(&log_of(follower, topic));
    segment.truncate(cut_of(&segment));
    start(&[follower]);
    stage::wait_until("every replica in sync", topic, |partition| partition.isr.len() == 3);
    let ended = running.end();
    ended.expect_pass();
    ended.expect_only(&[]);
    let logs = Logs::dump(&all_logs(topic, 1));
    ended.expect_agreement(&logs);
    ended.tell(
        "PASS: of one follower only, replication repairs it, and its log is as long as the others'",
        &logs,
    );
}
