//! A compacted log: what its cleaner takes is no loss, and what it must not take is one, whether it goes before it is read or afterwards.

use crate::brokers::alone;
use crate::case::{Ended, Running, Side};
use crate::referee::Logs;
use crate::segments::{Batch, Segment};
use crate::stage::{Replicas, all_logs, log_of, scenario, start};

const ANOMALY: &str = "a compacted log lacks the latest record of a key";

/// A load of 400 records/s on a compacted topic with keys in turns, so many of them; `consumers` say when it is read.
fn load(topic: &str, seconds: u32, keys: u32, config: &str, consumers: &str) -> String {
    let yaml = scenario(
        topic,
        1,
        seconds,
        &format!(
            "workload: {{ payload: {{ size: 400B, format: json }}, key: {{ distribution: round-robin, cardinality: {keys} }}, \
             producers: {{ count: 1, config: {{ batch.size: 4096, request.timeout.ms: 5000, delivery.timeout.ms: 15000 }} }}, \
             consumers: {{ {consumers} }} }}\n"
        ),
    );
    yaml.replace("config: { min.insync", &format!("config: {{ cleanup.policy: compact, {config}, min.insync"))
}

/// A cleaner that waits for nothing but the end of a segment, which lasts a second.
const EAGER: &str = "segment.ms: 1000, min.cleanable.dirty.ratio: 0.01";
/// One that never comes.
const NEVER: &str = "min.compaction.lag.ms: 86400000";

/// Nothing planted: the cleaner has taken most of the log before the reader begins.
#[test]
fn what_the_cleaner_takes_is_no_loss() {
    let _alone = alone();
    let topic = "compacted";
    let running =
        Running::start(ANOMALY, Side::Control, &load(topic, 24, 50, EAGER, "members: 1, start: 20s"));
    let ended = running.end();
    ended.expect_pass();
    ended.expect_only(&["compacted"]);
    let (acked, compacted) = (ended.count("acked"), ended.count("compacted"));
    assert!(compacted > acked / 4, "{compacted} of {acked}\n{}", ended.story());
    assert_eq!(acked, compacted + ended.count("checked"), "{}", ended.story());
    // What the log holds by now is no more than what was read.
    let logs = Logs::dump(&all_logs(topic, 1));
    assert!(logs.only().records <= ended.count("checked"), "{}", ended.story());
    ended.tell("PASS: what is not there had a later record of its key; every key has its latest", &logs);
}

/// A run in whose middle every broker is stopped, and the batch that `choose` takes of the log is taken out of every replica.
fn spoilt(
    topic: &str,
    yaml: &str,
    acked: u64,
    choose: impl FnOnce(&[Batch]) -> Batch,
) -> (Ended, Logs, Batch) {
    let running = Running::start(ANOMALY, Side::Plant, yaml);
    running.wait_for_acked(acked);
    let replicas = Replicas::of(topic);
    replicas.stop_all();
    let segments = replicas.all().map(|node| Segment::of(&log_of(node, topic)));
    let victim = choose(&segments[0].batches());
    segments.iter().for_each(|segment| segment.remove(&victim));
    start(&replicas.all());
    let ended = running.end();
    let logs = Logs::dump(&all_logs(topic, 1));
    (ended, logs, victim)
}

/// Every key is written once, so that nothing may be compacted away.
#[test]
fn a_latest_record_that_is_gone_before_it_is_read_is_lost() {
    let _alone = alone();
    let topic = "compacted-lost";
    let yaml = load(topic, 20, 1_000_000, NEVER, "members: 1, start: 18s");
    let (ended, logs, victim) = spoilt(topic, &yaml, 1_600, |batches| batches[batches.len() / 2]);
    ended.expect_verdict("VIOLATION", 100);
    ended.expect_only(&["lost"]);
    assert_eq!(ended.count("lost"), victim.header.record_count as u64, "{}", ended.story());
    assert_eq!(ended.witnesses("lost")[0]["acked_offset"], victim.header.base_offset, "{}", ended.story());
    ended.expect_agreement(&logs);
    ended.tell("VIOLATION by the records of the batch: lost, though the topic is compacted", &logs);
}

/// Every key is written twice, and the second record goes when it has been read.
#[test]
fn an_older_value_that_is_current_again_is_a_resurrected_key() {
    let _alone = alone();
    let topic = "compacted-resurrected";
    // Keys come again after 10 s; of 16 s the last records of 6 s have an older one.
    let yaml = load(topic, 15, 4_000, NEVER, "members: 1");
    let (ended, logs, victim) = spoilt(topic, &yaml, 4_800, |batches| {
        let again = |batch: &&Batch| batch.header.base_offset >= 4_200;
        *batches.iter().find(again).unwrap()
    });
    ended.expect_verdict("VIOLATION", 100);
    ended.expect_only(&["resurrected_keys"]);
    assert_eq!(ended.count("resurrected_keys"), victim.header.record_count as u64, "{}", ended.story());
    let first = &ended.witnesses("resurrected-key")[0];
    assert_eq!(first["read_offset"], victim.header.base_offset, "{first:#}");
    assert_eq!(logs.only().records + victim.header.record_count as u64, ended.count("checked"));
    ended.tell("VIOLATION by the keys of the batch: an older value is left, the latest had been read", &logs);
}
