//! Power loss, as a fault of the scenario: what was not on disk is gone. Of every broker, and acked records are lost, but only what
//! the fault says, so nothing is held against Kafka, which does not flush by default. Of one, and nothing is lost: two others have it.

use crate::brokers::alone;
use crate::case::{Ended, Side};
use crate::referee::Logs;

fn run(side: Side) -> (Ended, Logs) {
    let whom = match side {
        Side::Plant => "all",
        Side::Control => "broker",
    };
    let yaml = format!(
        "version: 1\nname: power\nseed: 1\n\
         cluster: {{ local: {{ brokers: 3, controllers: 1, jvm: quick, config: {{ broker.session.timeout.ms: 3000, broker.heartbeat.interval.ms: 500 }} }} }}\n\
         topics: [{{ name: ledger, partitions: 1, replication_factor: 3, config: {{ min.insync.replicas: 2 }} }}]\n\
         workload: {{ payload: {{ size: 400B, format: json }}, producers: {{ count: 1, config: {{ request.timeout.ms: 5000, delivery.timeout.ms: 15000 }} }} }}\n\
         load: {{ shape: constant, rate: 400/s, warmup: 1s, duration: 24s, drain: 60s }}\n\
         faults:\n\
         - {{ name: dark, at: 4s, action: broker.power-loss, target: {{ role: {whom} }}, args: {{ tail: 100KB }}, recover: {{ action: broker.start, after: 3s }} }}\n\
         verify: {{ guarantee: idempotent }}\n"
    );
    let ended = Ended::of("power loss", side, &yaml);
    ended.expect_fault("dark", "broker.power-loss", 3.0);
    let logs = Logs::dump(&ended.own_logs("ledger", 0));
    ended.expect_agreement(&logs);
    (ended, logs)
}

#[test]
fn what_no_disk_had_is_lost_and_excused() {
    let _alone = alone();
    let (ended, logs) = run(Side::Plant);
    ended.expect_no_violation();
    ended.expect_only(&["lost", "lost_excused"]);
    assert_eq!(ended.count("lost"), ended.count("lost_excused"), "{}", ended.story());
    let said = ended.witnesses("lost-excused")[0]["detail"].as_str().unwrap_or_default().to_owned();
    assert!(said.starts_with("excused by power loss of brokers 1, 2, 3 (fault dark): offsets "), "{said}");
    ended.tell("no violation: lost is what the fault cut off, and said so", &logs);
}

#[test]
fn what_one_disk_forgot_two_others_have() {
    let _alone = alone();
    let (ended, logs) = run(Side::Control);
    ended.expect_pass();
    ended.expect_only(&[]);
    ended.tell("PASS: of one broker only, replication repairs it", &logs);
}
