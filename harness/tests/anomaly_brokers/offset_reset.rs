//! A consumer with `auto.offset.reset=latest` stands still for longer than its topic keeps records: its position has been deleted, so it goes
//! on at the end, and what lies between is never handed over. The brokers have done nothing wrong. By Kafka's own Java consumer, through
//! the external driver.

use std::path::Path;

use gauntlet_wire::{Connection, OffsetSpec};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::brokers::alone;
use crate::case::{Ended, LIMIT, Running, Side};
use crate::referee::Logs;
use crate::stage::{cluster, describe, scenario};
use crate::wait::wait_for;

// Nobody counts the logs: by the time of that, retention has taken the most of them.
const ANOMALY: &str = "auto.offset.reset=latest passes over what is in the log";

fn log_start(topic: &str) -> i64 {
    let leader = describe(topic).unwrap().leader.unwrap();
    let address = &cluster().broker_addresses()[&leader];
    let mut connection = Connection::connect(address, &cluster().operator()).unwrap();
    connection.list_offsets(topic, &[0], OffsetSpec::Earliest).unwrap()[&0]
}

/// A topic that keeps 4 s of what is written, and a consumer that stands still until its position is gone.
fn run(topic: &str, side: Side, config: &str) -> Ended {
    let java = Path::new(env!("CARGO_MANIFEST_DIR")).join("../drivers/java/run");
    let yaml = scenario(
        topic,
        1,
        25,
        &format!(
            "workload: {{ payload: {{ size: 400B, format: json }}, producers: {{ count: 1 }}, \
             consumers: {{ members: 1, driver: external, command: [\"{}\", -Xmx256m]{config} }} }}\n",
            java.display()
        ),
    );
    let yaml =
        yaml.replace("config: { min.insync", "config: { segment.ms: 1000, retention.ms: 4000, min.insync");
    let running = Running::start(ANOMALY, side, &yaml);
    running.wait_for_acked(1_200);
    let consumer = Pid::from_raw(running.program("reader-0"));
    kill(consumer, Signal::SIGSTOP).unwrap();
    // All that was acked by now is gone then, and with it the position.
    let position = running.acked() as i64;
    wait_for("a position that is no longer in the log", LIMIT, || log_start(topic) > position + 1_000);
    kill(consumer, Signal::SIGCONT).unwrap();
    running.end()
}

#[test]
fn a_consumer_that_goes_on_at_the_end_has_lost_what_was_between() {
    let _alone = alone();
    let ended = run("reset-latest", Side::Plant, ", config: { external: { auto.offset.reset: latest } }");
    ended.expect_verdict("VIOLATION", 100);
    ended.expect_only(&["lost", "position_skips"]);
    assert_eq!(ended.count("lost"), ended.count("position_skips"), "{}", ended.story());
    assert_eq!(ended.count("acked"), ended.count("checked") + ended.count("lost"), "{}", ended.story());
    ended.tell(
        "VIOLATION: what the consumer passed over is lost to it, also what brokers still had",
        &Logs::default(),
    );
}

#[test]
fn a_consumer_that_goes_on_where_the_log_begins_has_lost_nothing() {
    let _alone = alone();
    let ended = run("reset-none", Side::Control, "");
    ended.expect_no_violation();
    ended.expect_only(&["expired"]);
    assert_eq!(ended.count("acked"), ended.count("checked") + ended.count("expired"), "{}", ended.story());
    ended.tell(
        "no violation: what retention has deleted is expired, and everything else was handed over",
        &Logs::default(),
    );
}
