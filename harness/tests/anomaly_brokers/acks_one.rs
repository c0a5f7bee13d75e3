//! acks=1: the leader acks what its followers, which stand still, have not got; it dies, and one of them leads. What it had acked
//! since is gone. With acks=all nothing was acked meanwhile.

use crate::brokers::alone;
use crate::case::{Ended, Side};
use crate::referee::Logs;

/// Followers stand still for less than the brokers' session, and than the lag that puts a follower out of the ISR.
fn run(side: Side) -> (Ended, Logs) {
    let acks = if side == Side::Plant { "1" } else { "all" };
    let yaml = format!(
        "version: 1\nname: acks\nseed: 1\n\
         cluster: {{ local: {{ brokers: 3, controllers: 1, jvm: quick, config: {{ broker.session.timeout.ms: 5000, broker.heartbeat.interval.ms: 500 }} }} }}\n\
         topics: [{{ name: ledger, partitions: 1, replication_factor: 3, config: {{ min.insync.replicas: 2 }} }}]\n\
         workload: {{ payload: {{ size: 400B, format: json }}, producers: {{ count: 1, config: {{ acks: {acks}, enable.idempotence: false }} }} }}\n\
         load: {{ shape: constant, rate: 400/s, warmup: 1s, duration: 16s, drain: 60s }}\n\
         faults:\n\
         - {{ name: followers-stall, at: 2s, action: broker.pause, target: {{ role: followers, of: {{ topic: ledger, partition: 0 }} }}, for: 2s }}\n\
         - {{ name: leader-dies, at: 3s, action: broker.kill, target: {{ role: leader, of: {{ topic: ledger, partition: 0 }} }}, recover: {{ action: broker.start, after: 10s }} }}\n\
         verify: {{ guarantee: at-least-once }}\n"
    );
    let ended = Ended::of("acked by a leader alone, which dies", side, &yaml);
    ended.expect_fault("followers-stall", "broker.pause", 2.0);
    ended.expect_fault("leader-dies", "broker.kill", 10.0);
    let logs = Logs::dump(&ended.own_logs("ledger", 0));
    (ended, logs)
}

#[test]
fn what_a_leader_alone_acked_is_lost_with_it() {
    let _alone = alone();
    let (ended, logs) = run(Side::Plant);
    ended.expect_verdict("VIOLATION", 100);
    ended.expect_only(&["lost"]);
    ended.expect_blame("lost", "log-truncated");
    ended.expect_agreement(&logs);
    // About a second's worth; a fetch that was answered before its follower stood still may have got a first batch.
    let lost = ended.count("lost");
    assert!((200..=800).contains(&lost), "{lost}: {}", ended.story());
    // Where it lay, and which leader wrote over it.
    let epoch = format!("leader epoch {}", logs.only().leader_epoch);
    for witness in ended.witnesses("lost") {
        assert!(witness["acked_offset"].as_i64() > Some(0), "{witness:#}");
        assert!(witness["detail"].as_str().is_some_and(|detail| detail.contains(&epoch)), "{witness:#}");
    }
    ended.tell(
        "VIOLATION by what was acked while the followers stood still: lost, blame log-truncated",
        &logs,
    );
}

#[test]
fn what_all_replicas_acked_survives_the_same() {
    let _alone = alone();
    let (ended, logs) = run(Side::Control);
    ended.expect_pass();
    ended.expect_agreement(&logs);
    assert_eq!(ended.count("acked"), 6_800, "17 s at 400 per second");
    // Without idempotence, a batch that a follower got and nobody acked is sent again: that is at-least-once.
    match ended.count("duplicates") {
        0 => ended.expect_only(&[]),
        _ => ended.expect_only(&["duplicates"]),
    }
    ended.tell("PASS with acks=all: nothing lost", &logs);
}
