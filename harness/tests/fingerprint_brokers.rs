//! `gauntlet fingerprint` against real brokers: a topic that a known scenario has filled is measured, the scenario that comes of it
//! is run, and what that fills is measured again; a topic that Kafka's own producer has filled; and what can't be measured.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, wherever it does")]

#[path = "support/brokers.rs"]
mod brokers;
#[path = "support/program.rs"]
mod program;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use brokers::{alone, quick, shared};
use gauntlet_chaos::kafka_home::{Java, KafkaHome};
use gauntlet_chaos::{KafkaSource, LocalCluster, cache_dir};
use gauntlet_wire::admin::wait_for_leaders;
use gauntlet_wire::{ConnectOptions, Connection, NewTopic};
use program::{GAUNTLET, text};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);

/// Three brokers, so that partitions have different leaders, and one of them may be missing.
fn cluster() -> &'static LocalCluster {
    shared(|| quick(3))
}

fn bootstrap() -> String {
    cluster().bootstrap().join(",")
}

fn create_topic(name: &str, partitions: i32) {
    let topic =
        NewTopic { name: name.to_owned(), partitions, replication_factor: 1, config: BTreeMap::new() };
    let options = ConnectOptions::default();
    Connection::connect(&cluster().bootstrap()[0], &options).unwrap().create_topic(&topic, LIMIT).unwrap();
    wait_for_leaders(&cluster().bootstrap(), name, &options, LIMIT).unwrap();
}

/// End offset of each partition.
fn ends(topic: &str) -> Vec<i64> {
    let options = ConnectOptions::default();
    wait_for_leaders(&cluster().bootstrap(), topic, &options, LIMIT).unwrap().1.into_values().collect()
}

fn gauntlet(arguments: &[&str]) -> Output {
    Command::new(GAUNTLET).args(arguments).output().unwrap()
}

/// Asks for JSON on the shared cluster, and for the scenario in `file`.
fn fingerprint(topic: &str, file: &Path, more: &[&str]) -> (Value, Output) {
    let file = file.to_str().unwrap();
    let asked =
        ["fingerprint", "--bootstrap", &bootstrap(), "--topic", topic, "--json", "--out", file, "--force"];
    let output = gauntlet(&[&asked[..], more].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    (serde_json::from_slice(&output.stdout).unwrap(), output)
}

/// Runs the scenario in `file` until the brokers have kept up with it, each time on a topic of its own, and gives back that topic.
///
/// How full batches are is a property of the load only while nothing waits longer than `linger.ms` and a round trip: brokers
/// that have just started, or a host that is busy with something else, fill them further. What is measured after such a run
/// would say nothing about the fingerprint.
fn fill(dir: &Path, file: &Path, topic: &str, sets: &[&str]) -> String {
    let out = dir.join("out");
    let mut last = String::new();
    for attempt in 1..=5 {
        let name = format!("{topic}-{attempt}");
        let this = format!("topics[0].name={name}");
        let kept_up = "expect=[produce.latency p50 < 60ms, produce.latency p99 < 1s]";
        let sets = sets.iter().copied().chain([this.as_str(), kept_up]).flat_map(|set| ["--set", set]);
        let run = ["run", file.to_str().unwrap(), "--quiet", "--out", out.to_str().unwrap()];
        let output = gauntlet(&run.into_iter().chain(sets).collect::<Vec<_>>());
        match output.status.code() {
            Some(0) => return name,
            // FAIL and INCONCLUSIVE: nothing was lost, only late.
            Some(5 | 99) => last = text(&output),
            _ => panic!("{}", text(&output)),
        }
    }
    panic!("no run of five was one that the brokers kept up with; the last:\n{last}");
}

fn number(value: &Value, path: &str) -> f64 {
    value.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {path} in {value:#}"))
}

#[track_caller]
fn assert_near(value: &Value, path: &str, expected: f64, relative: f64) {
    let found = number(value, path);
    assert!((found / expected - 1.0).abs() <= relative, "{path}: {found} for {expected}\n{value:#}");
}

const KNOWN: &str = "\
version: 1
name: known
cluster: { bootstrap_servers: \"BOOTSTRAP\" }
topics:
  - { name: known, partitions: 6, replication_factor: 2, lifecycle: keep, config: { segment.bytes: 67108864 } }
workload:
  payload:
    size: [{ size: 100B, weight: 6 }, { size: 400B, weight: 3 }, { size: 2000B, weight: 1 }]
    random_fraction: 0.4
    headers: { trace-id: 0123456789abcdef }
  key: { distribution: zipf, cardinality: 1000, exponent: 0.9, size: 9B }
  producers: { count: 2, config: { compression.type: lz4, batch.size: 8192, linger.ms: 15 } }
load: { shape: constant, rate: 6k/s, warmup: 2s, duration: 8s, drain: 30s }
";

#[test]
fn what_a_known_scenario_has_filled_is_measured_and_made_again() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let known = dir.path().join("known.yaml");
    std::fs::write(&known, KNOWN.replace("BOOTSTRAP", &bootstrap())).unwrap();
    let topic = fill(dir.path(), &known, "known", &[]);

    let like = dir.path().join("like-known.yaml");
    let (found, _) = fingerprint(&topic, &like, &[]);
    let offsets = ends(&topic);
    let all: i64 = offsets.iter().sum();
    assert!((59_990..=60_000).contains(&all), "10 s at 6,000 per second, rounded by partition: {all}");
    assert_eq!(number(&found, "/sample/records"), all as f64, "each is read once");
    assert_eq!(found["sample"]["bound"], "everything");
    assert_is_known(&found);
    assert!(number(&found, "/batches/uncompressed_bytes/max") <= 8_192.0, "{:#}", found["batches"]);
    for (partition, end) in offsets.iter().enumerate() {
        let share = number(&found, &format!("/partitions/shares/{partition}"));
        assert!((share - *end as f64 / all as f64).abs() < 1e-9, "{partition}: {share}, {offsets:?}");
    }
    assert_eq!(
        found["topic"]["config"],
        serde_json::json!({ "cleanup.policy": "delete", "segment.bytes": "67108864" })
    );
    assert_eq!(found["topic"]["replication_factor"], 2);

    // The newest 15,000 of them, of all partitions alike.
    let (newest, output) = fingerprint(&topic, &dir.path().join("newest.yaml"), &["--records", "15k"]);
    assert_eq!(newest["sample"]["bound"], "records", "{}", text(&output));
    let records = number(&newest, "/sample/records");
    assert!((14_000.0..17_000.0).contains(&records), "{records}");
    assert_near(&newest, "/rate/per_s", 6_000.0, 0.1);
    assert_near(&newest, "/rate/span_s", records / 6_000.0, 0.1);
    for partition in 0..6 {
        let path = format!("/partitions/shares/{partition}");
        assert_near(&newest, &path, number(&found, &path), 0.1);
    }
    // The oldest ones end when all partitions have been read to the same instant.
    let (oldest, _) =
        fingerprint(&topic, &dir.path().join("oldest.yaml"), &["--from", "start", "--records", "15k"]);
    assert_near(&oldest, "/rate/per_s", 6_000.0, 0.1);
    assert_eq!(oldest["sample"]["from_ms"], found["sample"]["from_ms"]);

    // What was written is a scenario, and makes a topic that looks the same.
    let file = like.to_str().unwrap();
    let valid = gauntlet(&["validate", file]);
    assert_eq!(valid.status.code(), Some(0), "{}", text(&valid));
    let servers = format!("cluster.bootstrap_servers={}", bootstrap());
    let sets = ["cluster.local=null", "topics[0].lifecycle=keep", "load.duration=6s", "load.warmup=1s"];
    let again = fill(dir.path(), &like, "again", &[&sets[..], &[servers.as_str()]].concat());
    let (again, _) = fingerprint(&again, &dir.path().join("again.yaml"), &[]);
    assert_is_known(&again);
    // How long batches wait beyond linger.ms is up to how busy the brokers are.
    for (path, relative) in [
        ("/batches/records/mean", 0.35),
        ("/batches/uncompressed_bytes/mean", 0.35),
        ("/compressibility/ratio", 0.05),
    ] {
        assert_near(&again, path, number(&found, path), relative);
    }
}

/// A topic that looks as [`KNOWN`] says.
fn assert_is_known(found: &Value) {
    assert_near(found, "/rate/per_s", 6_000.0, 0.1);
    assert_eq!(found["rate"]["constant"], true, "{:#}", found["rate"]);
    assert_near(found, "/sizes/mean", 380.0, 0.02);
    assert_eq!(found["sizes"]["p50"], 100);
    assert_eq!(found["sizes"]["p99"], 2_000);
    assert_eq!(found["keys"]["model"]["distribution"], "zipf", "{:#}", found["keys"]);
    assert!((number(found, "/keys/model/exponent") - 0.9).abs() < 0.05, "{:#}", found["keys"]);
    assert_near(found, "/keys/model/keys", 1_000.0, 0.05);
    assert_eq!((&found["keys"]["bytes"], &found["keys"]["by_default_partitioner"]), (&9.into(), &1.0.into()));
    let header = &found["headers"]["usual"][0];
    assert_eq!((&header["name"], &header["bytes"]), (&"trace-id".into(), &16.into()));
    assert_eq!(found["compressibility"]["codec"], "lz4");
    assert_eq!(found["batches"]["producer_ids"], 2);
    assert_eq!(number(found, "/batches/idempotent_share"), 1.0);
    let linger_ms = number(found, "/batches/linger_ms");
    assert!((8.0..=30.0).contains(&linger_ms), "{:#}", found["batches"]);
    // 500 records per second, producer and partition: 7.5 in 15 ms after the first; more where brokers are busy.
    let records = number(found, "/batches/records/p50");
    assert!((6.0..=14.0).contains(&records), "{:#}", found["batches"]);
}

/// One of Kafka's tools, of the version that the cluster runs, to its end.
fn console_producer(topic: &str, arguments: &[&str], input: &str) {
    let source = KafkaSource::Maven(cluster().version().unwrap().clone());
    let home = KafkaHome::resolve(&source, &cache_dir().unwrap()).unwrap();
    let java = Java::find(home.version.java_min()).unwrap();
    let mut child = Command::new(java.program)
        .args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m", "-cp"])
        .arg(format!("{}/*", home.libs.display()))
        .arg("org.apache.kafka.tools.ConsoleProducer")
        .args(["--bootstrap-server", &bootstrap(), "--topic", topic])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_kafkas_producer_has_filled_is_measured_and_not_repeated() {
    let _alone = alone();
    create_topic("console", 3);
    let line = |k: u32| format!("origin:secret-place\tsecret-key-{}\tsecret-value-{:060}\n", k % 40 + 10, k);
    let properties = ["--reader-property", "parse.key=true", "--reader-property", "parse.headers=true"];
    let codec = ["--compression-codec", "gzip"];
    console_producer(
        "console",
        &[&codec[..], &properties].concat(),
        &(0..1_200).map(line).collect::<String>(),
    );

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("console.yaml");
    let (found, output) = fingerprint("console", &file, &[]);
    assert_eq!(number(&found, "/sample/records"), 1_200.0);
    assert_eq!(found["compressibility"]["codec"], "gzip");
    assert!(number(&found, "/compressibility/ratio") < 0.6, "{:#}", found["compressibility"]);
    assert_eq!((&found["sizes"]["min"], &found["sizes"]["max"]), (&73.into(), &73.into()));
    assert_eq!(found["keys"]["model"], serde_json::json!({ "distribution": "round-robin", "keys": 40 }));
    assert_eq!(
        (&found["keys"]["bytes"], &found["keys"]["by_default_partitioner"]),
        (&13.into(), &1.0.into())
    );
    assert_eq!(found["headers"]["usual"][0]["name"], "origin");
    assert_eq!(found["batches"]["producer_ids"], 1, "Kafka's producer is idempotent by default");
    let yaml = std::fs::read_to_string(&file).unwrap();
    for said in [&yaml, &text(&output)] {
        assert!(!said.contains("secret"), "nothing that the records say: {said}");
    }
    let plan = gauntlet(&["plan", file.to_str().unwrap(), "--out", dir.path().to_str().unwrap()]);
    assert_eq!(plan.status.code(), Some(0), "{}", text(&plan));

    let lately =
        gauntlet(&["fingerprint", "--bootstrap", &bootstrap(), "--topic", "console", "--last", "1ms"]);
    assert_eq!(lately.status.code(), Some(6), "{}", text(&lately));
    assert!(text(&lately).contains("topic console has no records of the last 1ms"), "{}", text(&lately));
    let hour = gauntlet(&["fingerprint", "--bootstrap", &bootstrap(), "--topic", "console", "--last", "1h"]);
    let scenario = String::from_utf8_lossy(&hour.stdout).into_owned();
    assert!(scenario.contains("name: like-console"), "without --out it is shown: {}", text(&hour));
    assert!(scenario.contains("all that was asked for"), "{scenario}");
}

/// Node that leads each partition.
fn leaders(topic: &str) -> Vec<Option<i32>> {
    let mut connection = Connection::connect(&cluster().bootstrap()[0], &ConnectOptions::default()).unwrap();
    let metadata = connection.metadata(Some(&[topic])).unwrap();
    metadata.topic(topic).unwrap().partitions.iter().map(|partition| partition.leader).collect()
}

#[test]
fn partitions_without_a_leader_are_named_and_the_others_measured() {
    let _alone = alone();
    create_topic("partly", 6);
    let lines: String = (0..600).map(|k| format!("key-{k}\tvalue-{k:050}\n")).collect();
    console_producer("partly", &["--reader-property", "parse.key=true"], &lines);
    let lost: Vec<usize> = (0..6).filter(|p| leaders("partly")[*p] == Some(3)).collect();
    assert!(!lost.is_empty() && lost.len() < 6, "{lost:?}");
    let ends = ends("partly");
    let left: i64 = (0..6).filter(|p| !lost.contains(p)).map(|p| ends[p]).sum();
    cluster().stop(3, LIMIT).unwrap();
    let deadline = std::time::Instant::now() + LIMIT;
    while lost.iter().any(|p| leaders("partly")[*p].is_some()) {
        assert!(std::time::Instant::now() < deadline, "nobody noticed that the broker is gone");
        std::thread::sleep(Duration::from_millis(50));
    }
    let dir = tempfile::tempdir().unwrap();
    let (found, output) = fingerprint("partly", &dir.path().join("partly.yaml"), &[]);
    assert_eq!(found["sample"]["unread_partitions"], serde_json::json!(lost));
    assert_eq!(number(&found, "/sample/records"), left as f64);
    let doubt = format!("nothing could be read of {} partitions", lost.len());
    assert!(text(&output).contains(&doubt), "{}", text(&output));
    cluster().start_node(3).unwrap();
    cluster().wait_ready(3, LIMIT).unwrap();
}

#[test]
fn what_cannot_be_measured_is_said_in_one_line() {
    let _alone = alone();
    create_topic("hollow", 2);
    let dir = tempfile::tempdir().unwrap();
    let there = dir.path().join("there.yaml");
    std::fs::write(&there, "mine").unwrap();
    let security = dir.path().join("client.yaml");
    std::fs::write(&security, "security.protocol: SASL_SSL\nsasl.mechanism: PLAIN\nsasl.password: hunter2\n")
        .unwrap();
    let (there, security) = (there.to_str().unwrap(), security.to_str().unwrap());
    let servers = bootstrap();
    // Nothing listens on the port of discard.
    let nobody = "127.0.0.1:9";
    let cases: [(&[&str], i32, &[&str]); 7] = [
        (
            &["--bootstrap", &servers, "--topic", "missing"],
            6,
            &["topic missing does not exist", "127.0.0.1:"],
        ),
        (&["--bootstrap", &servers, "--topic", "hollow"], 6, &["topic hollow holds no records"]),
        (&["--bootstrap", nobody, "--topic", "hollow"], 6, &["cannot connect to 127.0.0.1:9"]),
        (&["--bootstrap", "localhost", "--topic", "hollow"], 2, &["write it like localhost:9092"]),
        (
            &["--bootstrap", &servers, "--topic", "hollow", "--out", there],
            2,
            &["exists; --force replaces it"],
        ),
        (
            &["--bootstrap", &servers, "--topic", "hollow", "--from", "start", "--last", "5m"],
            2,
            &["--last is about"],
        ),
        (
            &["--bootstrap", &servers, "--topic", "hollow", "--security", security],
            3,
            &["client.yaml:3:", "must not be in"],
        ),
    ];
    for (arguments, code, said) in cases {
        let output = gauntlet(&[&["fingerprint"], arguments].concat());
        let told = text(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
        assert!(said.iter().all(|part| told.contains(part)), "{arguments:?}: {told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
    assert_eq!(std::fs::read_to_string(there).unwrap(), "mine");
}
