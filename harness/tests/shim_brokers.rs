//! Faults of disk and clock in whole runs of the `gauntlet` program: the scenario that ships, and a run that is killed in the middle of them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, wherever it does")]

#[path = "support/program.rs"]
mod program;
#[path = "support/ran.rs"]
mod ran;
#[path = "support/wait.rs"]
mod wait;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use gauntlet_chaos::journal::read_pending;
use program::GAUNTLET;
use ran::{Ran, assert_flawless};
use serde_json::Value;
use wait::wait_for;

/// A scenario that ships, with its profile for small machines; it passes.
fn run_shipped(file: &str) -> (Ran, Value) {
    let dir = tempfile::tempdir().unwrap();
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios").join(file);
    let mut command = Command::new(GAUNTLET);
    command.arg("run").arg(scenario).args(["--profile", "ci"]).arg("--out").arg(dir.path().join("out"));
    let ran = Ran::by((dir, command));
    let record = ran.expect("PASS", 0);
    (ran, record)
}

/// Each broker has a disk of its own, and nothing is imitated.
#[test]
fn what_was_acked_survives_a_disk_that_is_really_full_and_no_disk_is_left() {
    if let Some(why) = gauntlet_chaos::disks::why_not() {
        println!("skipped: {why}");
        return;
    }
    let (ran, record) = run_shipped("disk-full.yaml");
    assert_flawless(&record, 72_000);
    assert!(record["faults"][0]["recovery_s"]["isr_full"].as_f64().is_some(), "{:#}", record["faults"]);
    let supervisor = ran.file("logs/supervisor.log");
    assert!(
        supervisor.contains("3 disks of 268435456 bytes") && !supervisor.contains("shims of"),
        "{supervisor}"
    );
    let broker = ran.file("logs/broker-1.log");
    assert!(broker.contains("No space left on device"), "the broker itself says what it met");
    assert!(!ran.file("logs/broker-2.log").contains("No space left"), "its disk is another one");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(ran.dir.path().to_str().unwrap()), "{mounts}");
}

#[test]
fn what_was_acked_survives_a_slow_disk_a_full_one_and_a_wrong_clock() {
    let (ran, record) = run_shipped("disk-and-clock.yaml");
    // 40 s at 5,000 per second, warm-up included.
    assert_flawless(&record, 200_000);
    let faults = record["faults"].as_array().unwrap();
    let actions: Vec<&str> = faults.iter().map(|fault| fault["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["disk.slow", "disk.fill", "clock.skew"]);
    for fault in faults {
        let at = |name: &str| fault["at_s"][name].as_f64().unwrap_or_else(|| panic!("{name}: {fault:#}"));
        assert!(at("heal_began") >= at("took_effect") + 4.0, "{fault:#}");
        assert!(at("healed") >= at("heal_began"), "{fault:#}");
    }
    let slow = &record["windows"]["fault:slow-disk"]["produce"]["service_ms"]["p50"];
    assert!(slow.as_f64().unwrap() >= 50.0, "no replica acks a record before it has written it: {slow}");
    let full = &faults[1]["recovery_s"];
    assert!(full["leader_elected"].as_f64().is_some(), "another broker led meanwhile: {full:#}");
    assert!(full["isr_full"].as_f64().is_some(), "and it followed afterwards: {full:#}");
    let broker = ran.file("logs/broker-1.log");
    assert!(broker.contains("No space left on device"), "the broker itself says why it ended");
    let supervisor = ran.file("logs/supervisor.log");
    assert!(supervisor.contains("shims of 3 nodes"), "{supervisor}");
    let ends: Vec<&str> = supervisor
        .lines()
        .filter(|line| line.contains("node 1, pid") && line.contains("exit status 1"))
        .collect();
    assert_eq!(ends.len(), 1, "it ended by itself, once: {supervisor}");
    let journal = ran.file("undo.journal");
    assert!(journal.contains(r#""undo":"take_back""#), "{journal}");
}

#[test]
fn a_gauntlet_that_is_killed_meanwhile_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("case.yaml");
    let scenario = "version: 1\nname: killed\nseed: 1\ncluster: { local: { brokers: 2, jvm: quick } }\n\
        topics: [{ name: own, partitions: 2 }]\n\
        load: { shape: constant, rate: 1k/s, warmup: 2s, duration: 90s }\n\
        faults:\n\
        \x20 - { name: slow, at: 1s, for: 60s, action: disk.slow, target: { id: 1 }, args: { latency: 20ms } }\n\
        \x20 - { name: late, at: 1s, for: 60s, action: clock.skew, target: { id: 2 }, args: { offset: -1h } }\n";
    std::fs::write(&file, scenario).unwrap();
    let mut command = Command::new(GAUNTLET);
    command.arg("run").arg(&file).arg("--out").arg(dir.path().join("out"));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let latest = dir.path().join("out/latest");
    let text = |name: &str| std::fs::read_to_string(latest.join(name)).unwrap_or_default();
    wait_for("both act", Duration::from_secs(120), || {
        let told = text("faults.ndjson");
        let faults = told.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let acting = faults.filter(|fault| fault["took_effect_ns"].is_u64());
        acting.map(|fault| fault["name"].to_string()).collect::<BTreeSet<_>>().len() == 2
    });
    let journal = latest.join("undo.journal");
    assert_eq!(read_pending(&journal).unwrap().len(), 2, "what is to be undone is on disk");
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for("the supervisor is done", Duration::from_secs(60), || {
        text("logs/supervisor.log").contains("nothing is left")
    });
    let log = text("logs/supervisor.log");
    assert!(log.contains("healing: disks and clocks: Ok"), "{log}");
    assert_eq!(read_pending(&journal).unwrap(), []);
    assert!(!latest.join("cluster").exists(), "its data is gone");
}
