//! A bit flips on disk in what was read long ago, in every replica: the reader does not come there again, and the checksum of what it
//! read was right. Only whoever reads again, as a run does around every leader change, can tell.

use crate::brokers::alone;
use crate::case::{Ended, Running, Side};
use crate::referee::Logs;
use crate::segments::{Batch, Segment};
use crate::stage::{Replicas, WORKLOAD, all_logs, log_of, scenario, start};

const ANOMALY: &str = "a bit flips in what was read";

/// A run in which every broker is stopped and started again once records were read, and what `spoil` does to the logs meanwhile.
fn run(topic: &str, side: Side, spoil: impl FnOnce(&[Segment])) -> (Ended, Logs) {
    let running = Running::start(ANOMALY, side, &scenario(topic, 1, 14, WORKLOAD));
    running.wait_for_acked(1_200);
    let replicas = Replicas::of(topic);
    replicas.stop_all();
    let segments = replicas.all().map(|node| Segment::of(&log_of(node, topic)));
    spoil(&segments);
    start(&replicas.all());
    let ended = running.end();
    let logs = Logs::dump(&all_logs(topic, 1));
    let log = logs.only();
    assert_eq!(log.records, ended.count("checked"), "{}", ended.story());
    assert!((1..=ended.count("checked")).contains(&ended.count("read_again")), "{}", ended.story());
    (ended, logs)
}

#[test]
fn what_changed_after_it_was_read_is_found_by_reading_again() {
    let _alone = alone();
    let mut victim: Option<Batch> = None;
    let (ended, logs) = run("changed", Side::Plant, |segments| {
        let batches = segments[0].batches();
        let batch = batches[batches.len() / 4];
        segments.iter().for_each(|segment| segment.damage(&batch));
        victim = Some(batch);
    });
    let victim = victim.unwrap();
    ended.expect_verdict("VIOLATION", 100);
    ended.expect_only(&["read_disagreements"]);
    assert_eq!(ended.count("read_disagreements"), 1);
    assert_eq!(logs.only().in_damaged_batches, victim.header.record_count as u64);
    let witness = &ended.witnesses("read-disagreement")[0];
    let (from, count) = (witness["read_offset"].as_i64().unwrap(), witness["count"].as_i64().unwrap());
    assert!((from..from + count).contains(&victim.header.base_offset), "{witness:#}");
    ended.tell(
        "VIOLATION by the range of offsets that holds the damaged batch: it was read otherwise before",
        &logs,
    );
}

#[test]
fn brokers_that_only_restarted_have_what_was_read() {
    let _alone = alone();
    let (ended, logs) = run("unchanged", Side::Control, |_| {});
    ended.expect_no_violation();
    ended.expect_only(&[]);
    ended.expect_agreement(&logs);
    ended.tell("no violation: what was read again is what was read", &logs);
}
