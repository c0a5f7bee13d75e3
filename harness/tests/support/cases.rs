//! Scenarios that a test writes down, on brokers that the tests of a file share.

use std::process::Command;

use tempfile::TempDir;

use crate::brokers::{quick, shared};
use crate::program::GAUNTLET;

/// The command that runs a scenario, and the directory that holds both.
pub(crate) fn gauntlet(yaml: &str) -> (TempDir, Command) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("case.yaml");
    std::fs::write(&file, yaml).unwrap();
    let mut command = Command::new(GAUNTLET);
    command.arg("run").arg(&file).arg("--out").arg(dir.path().join("out"));
    (dir, command)
}

/// A scenario on the brokers that the tests of a file share.
pub(crate) fn on_shared_brokers(name: &str, rest: &str) -> String {
    let bootstrap = shared(|| quick(3)).bootstrap().join(",");
    format!("version: 1\nname: {name}\nseed: 1\ncluster: {{ bootstrap_servers: \"{bootstrap}\" }}\n{rest}")
}
