//! Faults of the network in whole runs of the `gauntlet` program: the scenario that ships, and the same without its fault.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, wherever it does")]

#[path = "support/program.rs"]
mod program;

use std::path::PathBuf;
use std::process::Command;

use program::{GAUNTLET, text};
use serde_json::Value;
use tempfile::TempDir;

/// Runs the scenario with its profile for small machines; gives what was told, and the run's directory.
fn run(more: &[&str]) -> (TempDir, String, Value) {
    let dir = tempfile::tempdir().unwrap();
    let scenario = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../scenarios/isolated-leader.yaml");
    let out = dir.path().join("out");
    let mut command = Command::new(GAUNTLET);
    command.arg("run").arg(scenario).args(["--profile", "ci"]).args(more).arg("--out").arg(&out);
    let output = command.output().unwrap();
    let record =
        std::fs::read(out.join("latest/run.json")).unwrap_or_else(|e| panic!("{e}\n{}", text(&output)));
    let record: Value = serde_json::from_slice(&record).unwrap();
    let told = text(&output);
    assert_eq!(record["verdict"], "PASS", "{told}\n{:#}", record["reasons"]);
    assert_eq!(output.status.code(), Some(0), "{told}");
    for finding in ["lost", "duplicates", "reordered", "unseen", "corrupt", "phantom"] {
        assert_eq!(record["verify"][finding], 0, "{finding}: {:#}", record["verify"]);
    }
    // 34 s at 10,000 per second, warm-up included.
    assert_eq!(record["verify"]["acked"], 340_000, "{:#}", record["verify"]);
    assert_eq!(record["verify"]["checked"], record["verify"]["acked"]);
    (dir, told, record)
}

#[test]
fn what_was_acked_survives_a_leader_that_is_cut_off() {
    let (dir, told, record) = run(&[]);
    let fault = &record["faults"][0];
    assert_eq!(fault["action"], "network.isolate", "{fault:#}");
    let at = |name: &str| fault["at_s"][name].as_f64().unwrap_or_else(|| panic!("{name}: {fault:#}"));
    assert!(at("took_effect") >= 6.0 && at("heal_began") >= at("took_effect") + 8.0, "{fault:#}");
    assert!(at("healed") >= at("heal_began"), "{fault:#}");
    let recovery = &fault["recovery_s"];
    assert!(recovery["leader_elected"].as_f64().is_some(), "another broker led meanwhile: {recovery:#}");
    assert!(recovery["isr_full"].as_f64().is_some(), "and it followed afterwards: {recovery:#}");
    assert!(told.contains("isolate-leader"), "{told}");
    let journal = std::fs::read_to_string(dir.path().join("out/latest/undo.journal")).unwrap();
    assert!(
        journal.contains(r#""undo":"reconnect""#) && journal.contains(r#""entry":"undone""#),
        "{journal}"
    );
    let log = std::fs::read_to_string(dir.path().join("out/latest/logs/supervisor.log")).unwrap();
    assert!(log.contains("a proxy at 9 ports"), "{log}");
}

#[test]
fn the_same_without_its_fault_passes_and_has_no_proxy() {
    let (dir, _, record) = run(&["--set", "faults=[]", "--set", "expect=[]"]);
    assert_eq!(record["faults"].as_array().map(Vec::len), Some(0));
    let log = std::fs::read_to_string(dir.path().join("out/latest/logs/supervisor.log")).unwrap();
    assert!(!log.contains("a proxy"), "{log}");
}
