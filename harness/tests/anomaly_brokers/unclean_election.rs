//! Unclean leader election: the followers die, the leader goes on alone and dies, the followers come back. If the topic lets one of them
//! lead, all that the last leader acked alone is cut off. If it does not, nobody leads until the last leader is back:
//! unavailability, and no loss.

use crate::brokers::alone;
use crate::case::{Ended, Side};
use crate::referee::Logs;

/// The leader is alone for about two seconds, from when its followers are missed until it dies.
fn run(side: Side) -> (Ended, Logs) {
    let unclean = side == Side::Plant;
    let yaml = format!(
        "version: 1\nname: unclean\nseed: 1\n\
         cluster: {{ local: {{ brokers: 3, controllers: 1, jvm: quick, config: {{ broker.session.timeout.ms: 3000, broker.heartbeat.interval.ms: 500 }} }} }}\n\
         topics: [{{ name: ledger, partitions: 1, replication_factor: 3, config: {{ min.insync.replicas: 1, unclean.leader.election.enable: {unclean} }} }}]\n\
         workload: {{ payload: {{ size: 400B, format: json }}, producers: {{ count: 1, config: {{ request.timeout.ms: 5000, delivery.timeout.ms: 15000 }} }} }}\n\
         load: {{ shape: constant, rate: 400/s, warmup: 1s, duration: 26s, drain: 60s }}\n\
         faults:\n\
         - {{ name: followers-die, at: 2s, action: broker.kill, target: {{ role: followers, of: {{ topic: ledger, partition: 0 }} }}, recover: {{ action: broker.start, after: 7s }} }}\n\
         - {{ name: leader-dies, at: 8s, action: broker.kill, target: {{ role: leader, of: {{ topic: ledger, partition: 0 }} }} }}\n\
         verify: {{ guarantee: idempotent }}\n"
    );
    let ended = Ended::of("unclean leader election", side, &yaml);
    ended.expect_fault("followers-die", "broker.kill", 7.0);
    ended.expect_fault("leader-dies", "broker.kill", 10.0);
    let logs = Logs::dump(&ended.own_logs("ledger", 0));
    ended.expect_agreement(&logs);
    (ended, logs)
}

#[test]
fn an_unclean_election_loses_what_the_last_leader_acked_alone() {
    let _alone = alone();
    let (ended, logs) = run(Side::Plant);
    ended.expect_verdict("VIOLATION", 100);
    ended.expect_only(&["lost"]);
    ended.expect_blame("lost", "log-truncated");
    // The reader had got most of them (of the last few, the leader may have died first): only the log can tell that they are gone.
    assert!(ended.count("taken_back") > 0, "{}", ended.story());
    ended.tell(
        "VIOLATION by what the last leader acked alone, though it had been read: lost, blame log-truncated",
        &logs,
    );
}

#[test]
fn without_unclean_elections_nobody_leads_and_nothing_is_lost() {
    let _alone = alone();
    let (ended, logs) = run(Side::Control);
    ended.expect_only(&[]);
    // Two thirds of the load found no leader. On a host that is busy itself, whose fault that was may be unknown.
    let verdict = ended.record["verdict"].as_str().unwrap();
    assert!(["FAIL", "INCONCLUSIVE"].contains(&verdict), "{}", ended.story());
    let reasons = ended.record["reasons"].as_array().unwrap();
    let texts: Vec<&str> = reasons.iter().filter_map(|reason| reason["text"].as_str()).collect();
    assert!(texts.iter().all(|text| text.starts_with("load.achieved_ratio")), "{texts:?}");
    ended.tell("no finding; FAIL for want of a leader, or INCONCLUSIVE if the host was busy", &logs);
}
