//! librdkafka as the driver, in whole runs against real brokers: the same plan, recorder and checker as with gauntlet's own
//! client.

#![cfg(feature = "rdkafka")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, wherever it does")]

#[path = "support/brokers.rs"]
mod brokers;
#[path = "support/cases.rs"]
mod cases;
#[path = "support/program.rs"]
mod program;
#[path = "support/ran.rs"]
mod ran;

use brokers::alone;
use cases::{gauntlet, on_shared_brokers};
use ran::{Ran, assert_flawless};
use serde_json::Value;

impl Ran {
    fn of(yaml: &str) -> Self {
        Ran::by(gauntlet(yaml))
    }

    /// A run on the shared brokers.
    fn on_shared(name: &str, rest: &str) -> Self {
        Self::of(&on_shared_brokers(name, rest))
    }
}

#[test]
fn librdkafka_on_both_sides_is_checked_and_measured_as_the_own_client_is() {
    let _alone = alone();
    let ran = Ran::on_shared(
        "both",
        "topics: [{ name: both, partitions: 6 }]\n\
         workload:\n  payload: { size: 100B, random_fraction: 0 }\n  key: { distribution: uniform, cardinality: 1000, size: 16B }\n  producers:\n\
         \x20   count: 2\n    driver: rdkafka\n    config: { compression.type: lz4, client.id: both, linger.ms: 20, batch.size: 262144, rdkafka: { batch.num.messages: 5000 } }\n\
         \x20 consumers: { driver: rdkafka, members: 2 }\n\
         load: { shape: constant, rate: 10k/s, warmup: 2s, duration: 6s, drain: 30s }\n\
         expect: [verify.lost == 0, client.queue max < 1M, client.rtt_p99 max < 30s, client.rtt_p50 min >= 0s]\n",
    );
    let record = ran.expect("PASS", 0);
    assert_flawless(&record, 80_000);
    assert_eq!(record["produce"]["acked"], 60_000);
    assert_eq!(record["e2e"]["read"], 60_000);
    assert!(record["produce"]["latency_ms"]["p99"].as_f64().unwrap() > 0.0);
    assert_eq!(
        record["produce"]["service_ms"]["p99"],
        Value::Null,
        "librdkafka does not tell when it writes"
    );
    assert!(record["client"]["rtt_p99_ms"].as_f64().unwrap() > 0.0, "{:#}", record["client"]);
    assert_eq!(record["not_looked_for"].as_array().unwrap().len(), 6, "{:#}", record["not_looked_for"]);
    let ratio = record["wire_ratio"].as_f64().unwrap();
    assert!((0.05..0.95).contains(&ratio), "constant bodies: {ratio}");
    let config = &record["environment"]["config"]["producers both"];
    assert!(config["driver"].as_str().unwrap().starts_with("librdkafka 2."), "{config:#}");
    assert_eq!(config["rdkafka.batch.num.messages"], "5000");
    let intervals = ran.file("intervals.ndjson");
    let lines: Vec<Value> = intervals.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sent: u64 = lines.iter().map(|line| line["second"]["sent"].as_u64().unwrap()).sum();
    assert_eq!(sent, 80_000, "each record is handed over once");
    assert!(lines.iter().any(|line| line["second"]["client"]["rtt_p99_ms"].is_f64()), "{intervals}");
    let page = ran.file("report.html");
    assert!(
        page.contains("high-watermark-regression") && page.contains("librdkafka's round trips"),
        "{page}"
    );
    assert!(ran.text().contains("librdkafka             "), "{}", ran.text());
    // It is there, also if there was nothing to log.
    ran.file("logs/librdkafka.log");
}

#[test]
fn what_one_client_writes_the_other_reads_with_every_codec_and_wherever_identities_are() {
    let _alone = alone();
    let (mut topics, mut producers, mut consumers) = (String::new(), String::new(), String::new());
    let kinds = [
        ("none", "identity: value"),
        ("gzip", "identity: header"),
        ("snappy", "identity: key, payload: { size: 0B }"),
        ("lz4", "payload: { format: json, size: 400B, headers: { origin: test } }"),
        ("zstd", "identity: header, payload: { size: 1B, headers: { origin: test } }, key: sticky"),
    ];
    for (codec, records) in kinds {
        for (writes, reads) in [("wire", "rdkafka"), ("rdkafka", "wire")] {
            let topic = format!("{codec}-by-{writes}");
            topics += &format!("  - {{ name: {topic}, partitions: 2 }}\n");
            producers += &format!(
                "    - {{ topic: {topic}, count: 1, driver: {writes}, {records}, config: {{ compression.type: {codec} }} }}\n"
            );
            consumers += &format!("    - {{ topic: {topic}, driver: {reads} }}\n");
        }
    }
    let ran = Ran::on_shared(
        "codecs",
        &format!(
            "topics:\n{topics}workload:\n  payload: {{ size: 200B, random_fraction: 0.3 }}\n  producers:\n{producers}  \
             consumers:\n{consumers}load: {{ shape: constant, rate: 2k/s, warmup: 1s, duration: 5s, drain: 30s }}\n"
        ),
    );
    // Twenty clients on two cores may be late. What they write and read is to be the same.
    assert_flawless(&ran.record("run.json"), 12_000);
}

#[test]
fn weaker_acks_end_as_they_should() {
    let _alone = alone();
    let ran = Ran::on_shared(
        "weak",
        "topics: [{ name: one, partitions: 2 }, { name: none, partitions: 2 }]\n\
         workload:\n  payload: { size: 100B }\n  producers:\n\
         \x20   - { topic: one, count: 1, driver: rdkafka, config: { acks: 1 } }\n\
         \x20   - { topic: none, count: 1, driver: rdkafka, config: { acks: 0 } }\n  consumers:\n\
         \x20   - { topic: one, driver: rdkafka }\n    - { topic: none, driver: rdkafka }\n\
         load: { shape: constant, rate: 4k/s, warmup: 0s, duration: 4s, drain: 20s }\n\
         expect: [produce.unacknowledged == 8000]\n",
    );
    // What was sent without waiting is not acked: half of the load misses the built-in ratio.
    let record = ran.record("run.json");
    assert_eq!(record["produce"]["acked"], 8_000, "{}", ran.text());
    assert_eq!(record["produce"]["unacknowledged"], 8_000);
    // How much of what nobody acked came is nobody's promise: a leader that is new to its partition closes the connection on it.
    let checked = record["verify"]["checked"].as_u64().unwrap();
    assert!((8_001..=16_000).contains(&checked), "some of it came, too: {:#}", record["verify"]);
    assert!(record["verify"]["lost"] == 0 && record["verify"]["phantom"] == 0, "{:#}", record["verify"]);
}

#[test]
fn a_small_queue_holds_the_load_up_and_nobody_else_is_blamed() {
    let _alone = alone();
    let ran = Ran::on_shared(
        "small",
        "topics: [{ name: small, partitions: 2 }]\n\
         workload:\n  payload: { size: 100B }\n  producers:\n    count: 1\n    driver: rdkafka\n\
         \x20   config: { linger.ms: 50, rdkafka: { queue.buffering.max.messages: 200 } }\n\
         load: { shape: constant, rate: 20k/s, warmup: 0s, duration: 2s, drain: 60s }\n\
         expect: [client.queue max <= 200]\n",
    );
    assert!(ran.text().contains("queue.buffering.max.messages=200 is full before"), "{}", ran.text());
    // A host that is busy with something else may be late as well: then that is unknown, and still not a violation.
    let record = ran.record("run.json");
    assert!(["FAIL", "INCONCLUSIVE"].contains(&record["verdict"].as_str().unwrap()), "{}", ran.text());
    let ratio = record["load"]["achieved_ratio"].as_f64().unwrap();
    assert!(ratio < 0.9, "200 records per 50 ms are a fifth of what is due: {ratio}");
    let (load, verify) = (&record["load"], &record["verify"]);
    let slip = |by: &str| load["slip"][by].as_f64().unwrap();
    assert!(slip("broker") > 1_000.0 && slip("broker") > 10.0 * slip("gauntlet"), "{load:#}");
    assert_eq!((&verify["acked"], &verify["lost"]), (&40_000.into(), &0.into()), "late, but all of it");
}

#[test]
fn a_sweep_over_the_driver_compares_the_clients() {
    let _alone = alone();
    let ran = Ran::on_shared(
        "drivers",
        "topics: [{ name: drivers, partitions: 3 }]\n\
         workload:\n  payload: { size: 100B }\n  producers: { count: 1, driver: '${matrix.driver}' }\n\
         \x20 consumers: { driver: '${matrix.driver}' }\n\
         load: { shape: constant, rate: 5k/s, warmup: 1s, duration: 3s, drain: 20s }\n\
         expect: [verify.lost == 0, verify.checked == 20000]\n\
         sweep: { matrix: { driver: [wire, rdkafka] }, order: as-written, cooldown: 0s, warmup: 0s }\n",
    );
    assert_eq!(ran.output.status.code(), Some(0), "{}", ran.text());
    let sweep = ran.record("sweep.json");
    let runs = sweep["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    assert!(ran.text().contains("driver=rdkafka"), "{}", ran.text());
}

/// Large batches, few of them: while all the requests that may be in flight are, librdkafka polls without waiting, and on
/// two cores it then keeps cold brokers from answering at all.
#[test]
fn a_killed_leader_costs_nothing_with_idempotence() {
    let _alone = alone();
    let ran = Ran::of(
        "version: 1\nname: kill\nseed: 1\n\
         cluster: { local: { brokers: 3, jvm: quick, config: { broker.session.timeout.ms: 3000, \
         broker.heartbeat.interval.ms: 500, replica.lag.time.max.ms: 5000 } } }\n\
         topics: [{ name: orders, partitions: 6, replication_factor: 3, config: { min.insync.replicas: 2 } }]\n\
         workload:\n  payload: { size: 100B }\n  producers: { count: 2, driver: rdkafka, \
         config: { linger.ms: 50, batch.size: 262144 } }\n\
         \x20 consumers: { driver: rdkafka }\n\
         load: { shape: constant, rate: 5k/s, warmup: 2s, duration: 16s, drain: 60s }\n\
         faults:\n  - name: kill-leader\n    at: 3s\n    action: broker.kill\n\
         \x20   target: { role: leader, of: { partition: lowest }, not: controller }\n\
         \x20   recover: { action: broker.start, after: 5s }\n\
         expect: [verify.lost == 0, verify.duplicates == 0, verify.reordered == 0, produce.acked == 80000]\n",
    );
    let record = ran.expect("PASS", 0);
    assert_flawless(&record, 90_000);
    assert_eq!(record["faults"][0]["took_effect"], true);
    assert_eq!(record["guarantee"], "durable, unique, ordered");
    assert!(
        record["verify"]["read_again"].as_u64() > Some(0),
        "around the leader changes: {}",
        record["verify"]
    );
    let log = ran.file("logs/librdkafka.log");
    assert!(log.contains("producer-0"), "a lost connection is worth a line: {log}");
}
