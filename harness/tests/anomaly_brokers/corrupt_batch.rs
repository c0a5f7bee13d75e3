//! A bit of a record flips on disk, in every replica: brokers serve the batch as it is, and its checksum tells.
//!
//! Its control is any other run here: a batch whose checksum holds is no finding.

use crate::brokers::alone;
use crate::case::{Running, Side};
use crate::referee::Logs;
use crate::segments::Segment;
use crate::stage::{Replicas, all_logs, log_of, scenario, start};

#[test]
fn a_batch_that_fails_its_checksum_is_corrupt_and_not_lost() {
    let _alone = alone();
    let topic = "corrupt";
    // Read at the end: who has read a record once does not read it again.
    let rest =
        "workload: { payload: { size: 400B, format: json }, producers: { count: 1 }, consumers: [] }\n";
    let running = Running::start("a bit flips in every replica", Side::Plant, &scenario(topic, 1, 14, rest));
    running.wait_for_acked(1_200);
    let replicas = Replicas::of(topic);
    replicas.stop_all();
    let batches = Segment::of(&log_of(replicas.followers[0], topic)).batches();
    let victim = batches[batches.len() / 2];
    for node in replicas.all() {
        Segment::of(&log_of(node, topic)).damage(&victim);
    }
    start(&replicas.all());
    let ended = running.end();
    ended.expect_verdict("VIOLATION", 100);
    ended.expect_only(&["corrupt"]);
    let logs = Logs::dump(&all_logs(topic, 1));
    ended.expect_agreement(&logs);
    let witness = &ended.witnesses("corrupt")[0];
    assert_eq!(witness["read_offset"], victim.header.base_offset, "{witness:#}");
    assert_eq!(witness["count"], victim.header.record_count, "{witness:#}");
    assert_eq!(witness["batch"]["leader_epoch"], victim.header.leader_epoch, "{witness:#}");
    assert!(witness["detail"].as_str().is_some_and(|detail| detail.contains("CRC")), "{witness:#}");
    assert_eq!(ended.count("corrupt"), victim.header.record_count as u64);
    ended.tell("VIOLATION by the records of the damaged batch: corrupt, and not lost as well", &logs);
}
