//! An unclean election that an operator asks for, with unclean elections off: the followers die, the leader goes on alone and dies, the followers
//! come back, nobody leads, and one of them is made to. What the last leader acked alone is lost, as the fault says it will be; so nothing is
//! held against Kafka. A loss below, which the election does not explain, is.

use crate::brokers::alone;
use crate::case::{Ended, Running, Side};
use crate::referee::Logs;
use crate::segments::{Batch, Segment};

/// The leader is alone for about two seconds. Nobody reads before the end, so what is read is the log as it is left.
fn scenario(reads: bool) -> String {
    let consumers = if reads { "" } else { "consumers: [], " };
    format!(
        "version: 1\nname: demand\nseed: 1\n\
         cluster: {{ local: {{ brokers: 3, controllers: 1, jvm: quick, config: {{ broker.session.timeout.ms: 3000, broker.heartbeat.interval.ms: 500 }} }} }}\n\
         topics: [{{ name: ledger, partitions: 1, replication_factor: 3, config: {{ min.insync.replicas: 1 }} }}]\n\
         workload: {{ {consumers}payload: {{ size: 400B, format: json }}, producers: {{ count: 1, config: {{ request.timeout.ms: 5000, delivery.timeout.ms: 15000 }} }} }}\n\
         load: {{ shape: constant, rate: 400/s, warmup: 1s, duration: 30s, drain: 60s }}\n\
         faults:\n\
         - {{ name: followers-die, at: 2s, action: broker.kill, target: {{ role: followers, of: {{ topic: ledger, partition: 0 }} }}, recover: {{ action: broker.start, after: 7s }} }}\n\
         - {{ name: leader-dies, at: 8s, action: broker.kill, target: {{ role: leader, of: {{ topic: ledger, partition: 0 }} }} }}\n\
         - {{ name: elect, at: 20s, action: election.unclean, args: {{ topic: ledger }} }}\n\
         verify: {{ guarantee: idempotent }}\n"
    )
}

const ANOMALY: &str = "unclean election on demand";

#[test]
fn what_it_truncates_is_lost_and_excused() {
    let _alone = alone();
    let ended = Ended::of(ANOMALY, Side::Control, &scenario(true));
    ended.expect_fault("elect", "election.unclean", 0.0);
    ended.expect_no_violation();
    ended.expect_only(&["lost", "lost_excused"]);
    assert_eq!(ended.count("lost"), ended.count("lost_excused"), "{}", ended.story());
    assert!(ended.count("taken_back") > 0, "most of it had been read\n{}", ended.story());
    let said = ended.witnesses("lost-excused")[0]["detail"].as_str().unwrap_or_default().to_owned();
    assert!(said.starts_with("excused by the unclean election of broker "), "{said}");
    // Kafka's own count of what is left is the referee of how many are lost.
    let logs = Logs::dump(&ended.own_logs("ledger", 0));
    ended.expect_agreement(&logs);
    ended.tell("no violation: what the last leader acked alone is lost, and the fault said so", &logs);
}

#[test]
fn what_is_missing_below_is_a_violation() {
    let _alone = alone();
    let running = Running::start(ANOMALY, Side::Plant, &scenario(false));
    let followers = running.wait_for_fault("followers-die");
    assert_eq!(followers.len(), 2, "{followers:?}");
    // One batch that both had, well below where their logs end, is gone from their disks.
    let segments: Vec<Segment> =
        followers.iter().map(|node| Segment::of(&running.own_log(*node, "ledger", 0))).collect();
    let batches = segments[0].batches();
    let victim = batches[batches.len() / 3];
    for segment in &segments {
        // One of them may have had more batches than the other, so it is not the same third of both.
        let same = |batch: &&Batch| batch.header.base_offset == victim.header.base_offset;
        segment.remove(segment.batches().iter().find(same).unwrap());
    }
    let ended = running.end();
    ended.expect_verdict("VIOLATION", 100);
    let lost: u64 = ended.count("lost") - ended.count("lost_excused");
    let (from, until) = (victim.header.base_offset, victim.end_offset());
    assert_eq!(lost, (until - from) as u64, "{from}..{until}\n{}", ended.story());
    assert_eq!(ended.witnesses("lost")[0]["acked_offset"], from, "{}", ended.story());
    assert!(ended.count("lost_excused") > 0, "{}", ended.story());
    let logs = Logs::dump(&ended.own_logs("ledger", 0));
    ended.tell(
        "VIOLATION by the one batch that is missing below; what the election truncated is excused",
        &logs,
    );
}
