//! Nothing planted: the checker finds nothing, and counts what Kafka's own tools count, in each partition.

use crate::brokers::alone;
use crate::case::{Ended, Side};
use crate::referee::{Logs, consume};
use crate::stage;

const PARTITIONS: u32 = 4;

#[test]
fn what_kafkas_tools_count_is_what_the_checker_counts() {
    let _alone = alone();
    let rest = "workload: { payload: { size: 400B, format: json }, producers: { count: 2 } }\n";
    let yaml = stage::scenario("clean", PARTITIONS, 6, rest);
    let ended = Ended::of("nothing", Side::Control, &yaml);
    ended.expect_pass();
    ended.expect_only(&[]);
    assert_eq!(ended.count("acked"), 2_800, "7 s at 400 per second");
    let logs = Logs::dump(&stage::all_logs("clean", PARTITIONS));
    ended.expect_agreement(&logs);
    let consumed = consume(stage::cluster(), "clean", ended.count("acked"));
    for (partition, replicas) in &logs.partitions {
        assert!(replicas.len() == 3 && replicas.values().all(|log| log.records > 0), "{logs:#?}");
        assert_eq!(consumed[partition], replicas["broker-1"].records, "the console consumer");
    }
    ended.tell(
        "PASS, and as many records in each partition as DumpLogSegments and the console consumer count",
        &logs,
    );
}
