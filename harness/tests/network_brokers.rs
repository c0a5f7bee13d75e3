//! Faults of the network in whole runs of the `gauntlet` program: the scenario that ships, and the same without its fault.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, wherever it does")]

#[path = "support/program.rs"]
mod program;
#[path = "support/ran.rs"]
mod ran;

use std::path::Path;
use std::process::Command;

use program::GAUNTLET;
use ran::{Ran, assert_flawless};
use serde_json::Value;

/// The scenario that ships, with its profile for small machines. It passes, and nothing is wrong with any record.
fn run(more: &[&str]) -> (Ran, Value) {
    let dir = tempfile::tempdir().unwrap();
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/isolated-leader.yaml");
    let mut command = Command::new(GAUNTLET);
    command.arg("run").arg(scenario).args(["--profile", "ci"]).args(more);
    command.arg("--out").arg(dir.path().join("out"));
    let ran = Ran::by((dir, command));
    let record = ran.expect("PASS", 0);
    // 34 s at 10,000 per second, warm-up included.
    assert_flawless(&record, 340_000);
    (ran, record)
}

#[test]
fn what_was_acked_survives_a_leader_that_is_cut_off() {
    let (ran, record) = run(&[]);
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
fn the_same_without_its_fault_passes_and_has_no_proxy() {
    let (ran, record) = run(&["--set", "faults=[]", "--set", "expect=[]"]);
    assert_eq!(record["faults"].as_array().map(Vec::len), Some(0));
    let log = ran.file("logs/supervisor.log");
    assert!(!log.contains("a proxy"), "{log}");
}
