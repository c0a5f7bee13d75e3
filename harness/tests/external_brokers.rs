//! Kafka's own Java clients as the driver, in whole runs against real brokers, and programs that spoil a run.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, wherever it does")]

#[path = "support/brokers.rs"]
mod brokers;
#[path = "support/cases.rs"]
mod cases;
#[path = "support/program.rs"]
mod program;
#[path = "support/ran.rs"]
mod ran;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use brokers::alone;
use cases::{gauntlet, on_shared_brokers};
use gauntlet_chaos::kafka_home::KafkaHome;
use gauntlet_chaos::process::ProcessIdentity;
use gauntlet_chaos::{KafkaSource, cache_dir};
use nix::sys::signal::Signal;
use ran::{Ran, assert_flawless};
use serde_json::Value;
use tempfile::TempDir;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// A run as it is called in the repository, where `drivers/java/run` is.
fn in_repository(yaml: &str) -> (TempDir, Command) {
    let (dir, mut command) = gauntlet(yaml);
    // Brokers that are somebody else's tell nobody where their jars are.
    let libs = KafkaHome::resolve(&KafkaSource::default(), &cache_dir().unwrap()).unwrap().libs;
    command.current_dir(root()).env("GAUNTLET_KAFKA_LIBS", libs);
    (dir, command)
}

/// The programs that were started, from the log.
fn pids(log: &str) -> Vec<i32> {
    let started = log.lines().filter_map(|line| line.rsplit_once(" as pid "));
    started.filter_map(|(_, pid)| pid.parse().ok()).collect()
}

impl Ran {
    fn of(yaml: &str) -> Self {
        Ran::by(in_repository(yaml))
    }

    /// A run on the shared brokers.
    fn on_shared(name: &str, rest: &str) -> Self {
        Self::of(&on_shared_brokers(name, rest))
    }

    fn log(&self) -> String {
        self.file("logs/external.log")
    }

    /// None of the programs is left.
    fn assert_gone(&self) {
        let log = self.log();
        assert!(!pids(&log).is_empty(), "{log}");
        for pid in pids(&log) {
            let still = ProcessIdentity::of(pid).is_ok_and(|identity| identity.is_alive());
            // A pid may be somebody else's by now.
            let name = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            assert!(!still || !name.contains("GauntletClient"), "{pid}: {name}");
        }
    }
}

#[test]
fn kafkas_java_clients_are_checked_and_measured_as_the_own_client_is() {
    let _alone = alone();
    let ran = Ran::on_shared(
        "java",
        "topics: [{ name: java, partitions: 6 }]\n\
         workload:\n  payload: { size: 400B, format: json, headers: { origin: test } }\n  key: { distribution: uniform, cardinality: 1000, size: 16B }\n\
         \x20 producers: { count: 1, driver: external, command: [drivers/java/run, -Xmx256m], \
         config: { compression.type: lz4, client.id: both, linger.ms: 20, external: { max.block.ms: 30000 } } }\n\
         \x20 consumers: { driver: external, command: [drivers/java/run, -Xmx256m] }\n\
         load: { shape: constant, rate: 3k/s, warmup: 2s, duration: 5s, drain: 30s }\n",
    );
    let record = ran.record("run.json");
    // A host that starts two JVMs may be late; what they write and read is to be right.
    let verdict = record["verdict"].as_str().unwrap_or("none");
    let known = ["PASS", "INCONCLUSIVE", "FAIL"].contains(&verdict);
    assert!(known, "{verdict}: {}\n{:#}\n{}", ran.text(), record["reasons"], ran.log());
    assert_flawless(&record, 21_000);
    assert_eq!(record["produce"]["acked"], 15_000);
    assert_eq!(record["e2e"]["read"], 15_000);
    assert_eq!(record["produce"]["service_ms"]["p99"], Value::Null, "nobody knows when it writes");
    let client = &record["client"];
    let (all, theirs) =
        (client["cpu_ns_per_message"].as_f64(), client["program_cpu_ns_per_message"].as_f64());
    assert!(theirs.unwrap() > 0.0 && all.unwrap() > theirs.unwrap(), "{client:#}");
    assert!(client["rss_mb"].as_f64().unwrap() > 100.0, "two JVMs: {client:#}");
    assert_eq!(record["not_looked_for"].as_array().unwrap().len(), 8, "{:#}", record["not_looked_for"]);
    let config = &record["environment"]["config"]["producers java"];
    assert!(config["driver"].as_str().unwrap().ends_with("/drivers/java/run -Xmx256m"), "{config:#}");
    assert_eq!(config["external.max.block.ms"], "30000");
    let log = ran.log();
    assert!(
        log.contains(" producer-0 gauntlet: ended with exit code 0") && log.contains(" reader-0 "),
        "{log}"
    );
    assert!(ran.text().contains("external               "), "{}", ran.text());
    ran.assert_gone();
}

/// The cluster is the run's own, so that `GAUNTLET_KAFKA_LIBS` is gauntlet's to set.
#[test]
fn a_killed_leader_costs_the_java_client_nothing() {
    let _alone = alone();
    let ran = Ran::of(
        "version: 1\nname: kill\nseed: 1\n\
         cluster: { local: { brokers: 3, jvm: quick, config: { broker.session.timeout.ms: 3000, \
         broker.heartbeat.interval.ms: 500, replica.lag.time.max.ms: 5000 } } }\n\
         topics: [{ name: orders, partitions: 6, replication_factor: 3, config: { min.insync.replicas: 2 } }]\n\
         workload:\n  payload: { size: 100B }\n  producers: { count: 1, driver: external, command: [drivers/java/run, -Xmx256m], \
         config: { linger.ms: 50, batch.size: 262144 } }\n\
         \x20 consumers: { driver: external, command: [drivers/java/run, -Xmx256m] }\n\
         load: { shape: constant, rate: 3k/s, warmup: 2s, duration: 14s, drain: 60s }\n\
         faults:\n  - name: kill-leader\n    at: 3s\n    action: broker.kill\n\
         \x20   target: { role: leader, of: { partition: lowest }, not: controller }\n\
         \x20   recover: { action: broker.start, after: 5s }\n\
         expect: [verify.lost == 0, verify.duplicates == 0, verify.reordered == 0, produce.acked == 42000]\n",
    );
    let record = ran.expect("PASS", 0);
    assert_flawless(&record, 48_000);
    assert_eq!(record["faults"][0]["took_effect"], true);
    assert_eq!(record["guarantee"], "durable, unique, ordered");
    ran.assert_gone();
}

/// A program that is killed from outside, as by the kernel that wants its memory.
#[test]
fn a_program_that_is_killed_is_followed_by_another_and_nothing_is_lost() {
    let _alone = alone();
    let (dir, mut command) = in_repository(&on_shared_brokers(
        "killed",
        "topics: [{ name: killed, partitions: 3 }]\n\
         workload:\n  payload: { size: 100B }\n  producers: { count: 1, driver: external, command: [drivers/java/run, -Xmx256m] }\n\
         load: { shape: constant, rate: 2k/s, warmup: 0s, duration: 10s, drain: 30s }\n",
    ));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let file =
        |name: &str| std::fs::read_to_string(dir.path().join("out/latest").join(name)).unwrap_or_default();
    let acks =
        |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|line| line["second"]["acked"] != 0);
    let deadline = Instant::now() + Duration::from_secs(120);
    while !file("intervals.ndjson").lines().any(acks) {
        assert!(Instant::now() < deadline, "nothing is acked: {}", file("logs/external.log"));
        std::thread::sleep(Duration::from_millis(20));
    }
    let first = pids(&file("logs/external.log"))[0];
    assert!(ProcessIdentity::of(first).unwrap().signal(Signal::SIGKILL).unwrap());
    let ran = Ran { dir, output: child.wait_with_output().unwrap() };
    let (record, log) = (ran.record("run.json"), ran.log());
    assert!(log.contains("was ended by a signal"), "{log}");
    assert_eq!(pids(&log).len(), 2, "{log}");
    let (verify, produce) = (&record["verify"], &record["produce"]);
    for field in ["lost", "reordered", "corrupt", "phantom", "duplicates"] {
        assert_eq!(verify[field], 0, "{field}: {verify:#}\n{log}");
    }
    let count = |name: &str| produce[name].as_u64().unwrap();
    assert_eq!(
        count("acked") + count("indeterminate"),
        20_000,
        "what waited was sent by the next: {produce:#}"
    );
    assert!(count("acked") > 15_000, "{produce:#}");
    ran.assert_gone();
}

/// The brokers are somebody else's, and nobody has to consent: only clients of the run are hit.
#[test]
fn clients_that_crash_hang_and_come_back_as_zombies_cost_nothing() {
    let _alone = alone();
    let ran = Ran::on_shared(
        "client-faults",
        "topics: [{ name: client-faults, partitions: 3 }]\n\
         workload:\n  payload: { size: 100B }\n  producers: { count: 2, driver: external, command: [drivers/java/run, -Xmx256m], \
         config: { client.id: till } }\n\
         \x20 consumers: { driver: external, command: [drivers/java/run, -Xmx256m] }\n\
         load: { shape: constant, rate: 2k/s, warmup: 0s, duration: 30s, drain: 60s }\n\
         faults:\n\
         - { name: crash, at: 2s, for: 3s, action: client.kill, target: { role: producer, client_id: till-producer-0 } }\n\
         - { name: hang, at: 3s, for: 4s, action: client.pause, target: { role: consumer } }\n\
         - { name: zombie, at: 4s, for: 3s, action: client.zombie, target: { role: producer, client_id: till-producer-1 } }\n",
    );
    let (record, log) = (ran.record("run.json"), ran.log());
    let faults = record["faults"].as_array().unwrap();
    let whom = ["producer-0 (pid ", "reader-0 (pid ", "producer-1 (pid "];
    for (fault, whom) in faults.iter().zip(whom) {
        assert_eq!(fault["took_effect"], true, "{fault:#}\n{log}");
        assert_eq!(fault["error"], Value::Null, "{fault:#}");
        assert!(fault["target"].as_str().unwrap().starts_with(whom), "{fault:#}");
        assert!(
            fault["at_s"]["healed"].as_f64().unwrap() > fault["at_s"]["took_effect"].as_f64().unwrap(),
            "{fault:#}"
        );
    }
    assert_eq!(faults.len(), 3);
    assert_eq!(pids(&log).len(), 5, "three, one for the killed and one for the zombie: {log}");
    let (verify, produce) = (&record["verify"], &record["produce"]);
    for field in ["lost", "reordered", "corrupt", "phantom", "duplicates", "unseen"] {
        assert_eq!(verify[field], 0, "{field}: {verify:#}\n{log}");
    }
    let count = |name: &str| produce[name].as_u64().unwrap();
    assert_eq!(count("acked") + count("indeterminate"), 60_000, "the others were sent later: {produce:#}");
    assert!(count("indeterminate") < 20_000, "{produce:#}");
    // Nobody read for four seconds: those records were late, and were read all the same.
    assert!(record["e2e"]["latency_ms"]["max"].as_f64().unwrap() > 2_000.0, "{:#}", record["e2e"]);
    ran.assert_gone();
}

#[test]
fn a_program_that_breaks_the_contract_ends_the_run_without_a_verdict() {
    let _alone = alone();
    let begun = Instant::now();
    let ran = Ran::on_shared(
        "broken",
        "topics: [{ name: broken, partitions: 1 }]\n\
         workload:\n  payload: { size: 100B }\n  producers: { count: 1, driver: external, command: [sh, -c, \
         'read plan; echo ready; read line; echo acked 0 0; echo acked 0 1; exec sleep 600'] }\n\
         load: { shape: constant, rate: 1k/s, warmup: 0s, duration: 10m, drain: 5s }\n",
    );
    let record = ran.record("run.json");
    assert_eq!(record["verdict"], Value::Null, "{}", ran.text());
    assert_eq!(ran.output.status.code(), Some(1), "{}", ran.text());
    let reasons = record["reasons"].to_string();
    assert!(
        reasons.contains(
            "broke the contract in line 3 of its output, `acked 0 1`: one of these records has ended already"
        ),
        "{reasons}"
    );
    assert!(begun.elapsed() < Duration::from_secs(300), "it does not go on for ten minutes");
    ran.assert_gone();
}

#[test]
fn a_program_that_never_gets_ready_is_told_of_before_the_load() {
    let _alone = alone();
    let ran = Ran::on_shared(
        "unready",
        "topics: [{ name: unready, partitions: 1 }]\n\
         workload:\n  payload: { size: 100B }\n  producers: { count: 2, driver: external, command: [sh, -c, \
         'echo no jar here >&2; exit 4'] }\n\
         load: { shape: constant, rate: 1k/s, warmup: 0s, duration: 10m, drain: 5s }\n",
    );
    assert_eq!(ran.output.status.code(), Some(6), "{}", ran.text());
    let reasons = ran.record("run.json")["reasons"].to_string();
    assert!(
        reasons.contains("`/")
            && reasons.contains(
                "ended with exit code 4 before it said `ready`; its standard error ends with: no jar here"
            ),
        "{reasons}"
    );
    ran.assert_gone();
}
