//! Answers to Produce requests vanish: the batches are in the log, the client does not know and sends them again. Without idempotence
//! each is in the log twice then; with it brokers recognise them.

use crate::brokers::alone;
use crate::case::{Ended, Side};
use crate::referee::Logs;

fn run(side: Side) -> (Ended, Logs) {
    let idempotence = side == Side::Control;
    let yaml = format!(
        "version: 1\nname: swallowed\nseed: 1\n\
         cluster: {{ local: {{ brokers: 1, jvm: quick }} }}\n\
         topics: [{{ name: ledger, partitions: 1, replication_factor: 1 }}]\n\
         workload: {{ payload: {{ size: 400B, format: json }}, producers: {{ count: 1, config: {{ enable.idempotence: {idempotence}, \
         linger.ms: 20, request.timeout.ms: 1500, delivery.timeout.ms: 60000 }} }} }}\n\
         load: {{ shape: constant, rate: 400/s, warmup: 1s, duration: 9s, drain: 60s }}\n\
         faults:\n\
         - {{ name: answers-vanish, at: 2s, action: network.black-hole, target: {{ role: leader, of: {{ topic: ledger, partition: 0 }} }}, \
         args: {{ link: clients, direction: from }}, for: 3s }}\n\
         verify: {{ guarantee: idempotent }}\n"
    );
    let ended = Ended::of("answers to Produce requests vanish", side, &yaml);
    ended.expect_fault("answers-vanish", "network.black-hole", 3.0);
    assert!(ended.record["retries"].as_u64() > Some(0), "nothing was sent again\n{}", ended.story());
    assert_eq!(ended.count("acked"), 4_000, "10 s at 400 per second\n{}", ended.story());
    let logs = Logs::dump(&ended.own_logs("ledger", 0));
    ended.expect_agreement(&logs);
    (ended, logs)
}

#[test]
fn swallowed_answers_make_duplicates_without_idempotence() {
    let _alone = alone();
    let (ended, logs) = run(Side::Plant);
    ended.expect_verdict("VIOLATION", 100);
    ended.expect_only(&["duplicates"]);
    ended.expect_blame("duplicate", "client-resent");
    let log = logs.only();
    assert_eq!(ended.count("duplicates"), log.records - log.distinct);
    for witness in ended.witnesses("duplicate") {
        assert!(
            witness["batch"]["producer_id"] == -1 && witness["batch"]["leader_epoch"] == 0,
            "{witness:#}"
        );
    }
    ended.tell("VIOLATION by as many duplicates as the log holds copies, blame client-resent", &logs);
}

#[test]
fn swallowed_answers_make_none_with_idempotence() {
    let _alone = alone();
    let (ended, logs) = run(Side::Control);
    ended.expect_pass();
    ended.expect_only(&[]);
    ended.tell("PASS with enable.idempotence: no duplicate, nothing lost", &logs);
}
