//! Faults of the network in whole runs of the `gauntlet` program: the scenario that ships, and the same without its fault.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, wherever it does")]

#[path = "support/program.rs"]
mod program;
#[path = "support/ran.rs"]
mod ran;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use program::GAUNTLET;
use ran::{Ran, assert_flawless};
use serde_json::Value;

/// The scenario that ships, with its profile for small machines. It passes, and nothing is wrong with any of so many records.
fn run(more: &[&str], acked: u64) -> (Ran, Value) {
    run_file("isolated-leader.yaml", more, acked)
}

fn run_file(file: &str, more: &[&str], acked: u64) -> (Ran, Value) {
    let dir = tempfile::tempdir().unwrap();
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios").join(file);
    let mut command = Command::new(GAUNTLET);
    command.arg("run").arg(scenario).args(["--profile", "ci"]).args(more);
    command.arg("--out").arg(dir.path().join("out"));
    let ran = Ran::by((dir, command));
    let record = ran.expect("PASS", 0);
    assert_flawless(&record, acked);
    (ran, record)
}

/// With TLS, log-ins and ACLs, of which the proxy knows nothing; the catalogue has rows without.
#[test]
fn what_was_acked_survives_a_leader_that_is_cut_off() {
    // 34 s at 10,000 per second, warm-up included.
    let (ran, record) = run(&["--set", "cluster.local.security={ protocol: SASL_SSL }"], 340_000);
    let fault = &record["faults"][0];
    assert_eq!(fault["action"], "network.isolate", "{fault:#}");
    let at = |name: &str| fault["at_s"][name].as_f64().unwrap_or_else(|| panic!("{name}: {fault:#}"));
    assert!(at("took_effect") >= 6.0 && at("heal_began") >= at("took_effect") + 8.0, "{fault:#}");
    assert!(at("healed") >= at("heal_began"), "{fault:#}");
    let recovery = &fault["recovery_s"];
    assert!(recovery["leader_elected"].as_f64().is_some(), "another broker led meanwhile: {recovery:#}");
    assert!(recovery["isr_full"].as_f64().is_some(), "and it followed afterwards: {recovery:#}");
    let told = ran.text();
    assert!(told.contains("isolate-leader"), "{told}");
    let journal = ran.file("undo.journal");
    assert!(
        journal.contains(r#""undo":"reconnect""#) && journal.contains(r#""entry":"undone""#),
        "{journal}"
    );
    let log = ran.file("logs/supervisor.log");
    assert!(log.contains("a proxy at 9 ports"), "{log}");
}

#[test]
fn the_same_without_its_fault_passes_and_has_no_proxy_nor_shim() {
    let sets = ["--set", "faults=[]", "--set", "expect=[]", "--set", "load.duration=6s"];
    let (ran, record) = run(&sets, 100_000);
    assert_eq!(record["faults"].as_array().map(Vec::len), Some(0));
    let log = ran.file("logs/supervisor.log");
    assert!(!log.contains("a proxy") && !log.contains("shims of"), "{log}");
}

/// On the kernel's own network: what ships for it. Nothing of that network is left.
#[test]
#[ignore = "ci/faults has the time for it"]
fn brokers_in_network_namespaces_lose_nothing() {
    use gauntlet_chaos::netns::{why_no_delay, why_not};
    if let Some(unable) = why_not().or_else(why_no_delay) {
        let mut told = std::io::stderr();
        writeln!(told, "skipped: brokers_in_network_namespaces_lose_nothing: {}", unable.why).unwrap();
        return;
    }
    // 69 s at 5,000 per second, warm-up included.
    let (ran, record) = run_file("network-namespaces.yaml", &[], 345_000);
    let faults = record["faults"].as_array().unwrap();
    assert_eq!(faults.len(), 4);
    for fault in faults {
        assert_eq!(fault["took_effect"], true, "{fault:#}");
        assert!(fault["at_s"]["healed"].as_f64().is_some(), "{fault:#}");
    }
    assert!(faults[0]["recovery_s"]["leader_elected"].as_f64().is_some(), "{:#}", faults[0]);
    let log = ran.file("logs/supervisor.log");
    let name =
        log.lines().find_map(|line| line.split_once("a network ")).unwrap().1.split(',').next().unwrap();
    for place in ["/var/run/netns", "/sys/class/net"] {
        let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
        let left = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(name));
        assert_eq!(left.count(), 0, "of {name} in {place}");
    }
}

/// Brokers append, and their clients never hear of it, or wait for an answer on a connection that is none any more: what an idempotent
/// producer is for. Every driver.
#[cfg(feature = "rdkafka")]
#[test]
fn what_was_appended_unheard_is_there_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("case.yaml");
    let java = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../drivers/java/run");
    let java = format!("driver: external, command: [\"{}\", -Xmx256m]", java.display());
    let config = "{ acks: all, linger.ms: 5, request.timeout.ms: 2000 }";
    let scenario = format!(
        "version: 1\nname: unheard\nseed: 1\ncluster: {{ local: {{ brokers: 3, jvm: quick }} }}\n\
        topics: [{{ name: own, partitions: 3 }}, {{ name: rdkafka, partitions: 3 }}, {{ name: java, partitions: 3 }}]\n\
        workload:\n  payload: {{ size: 100B }}\n\
        \x20 producers:\n    - {{ topic: own, config: {config} }}\n\
        \x20   - {{ topic: rdkafka, driver: rdkafka, config: {config} }}\n\
        \x20   - {{ topic: java, {java}, config: {config} }}\n\
        \x20 consumers: [{{ topic: own }}, {{ topic: rdkafka, driver: rdkafka }}, {{ topic: java }}]\n\
        load: {{ shape: constant, rate: 2k/s, warmup: 2s, duration: 18s, drain: 60s }}\n\
        faults:\n  - name: unheard\n    at: 2s\n    for: 3s\n    action: network.reset\n    target: {{ id: 1 }}\n\
        \x20   args: {{ api: [Produce], link: clients, direction: from }}\n\
        \x20 - {{ name: half-open, at: 8s, for: 6s, action: network.half-open, target: {{ id: 1 }}, args: {{ link: clients }} }}\n\
        expect: [verify.lost == 0, verify.duplicates == 0, verify.reordered == 0]\n"
    );
    std::fs::write(&file, scenario).unwrap();
    let mut command = Command::new(GAUNTLET);
    command.arg("run").arg(&file).arg("--out").arg(dir.path().join("out"));
    let ran = Ran::by((dir, command));
    let record = ran.expect("PASS", 0);
    assert_flawless(&record, 40_000);
    assert!(record["retries"].as_u64().unwrap() > 10, "{record:#}");
    for fault in record["faults"].as_array().unwrap() {
        assert_eq!(fault["took_effect"], true, "{fault:#}");
    }
    // Nobody heard of the loss: it takes a request its time to be given up.
    let unavailable = record["faults"][1]["unavailable_s"]["longest"].as_f64();
    assert!(unavailable.is_some_and(|s| s > 1.5), "{:#}", record["faults"][1]);
}
