//! Runs of the `gauntlet` program that have ended, with what they left, and what drivers' tests claim of them.

use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::program::text;

/// A run that has ended.
pub(crate) struct Ran {
    pub(crate) dir: TempDir,
    pub(crate) output: Output,
}

impl Ran {
    /// Runs it to its end.
    pub(crate) fn by((dir, mut command): (TempDir, Command)) -> Self {
        let output = command.output().unwrap();
        Ran { dir, output }
    }

    pub(crate) fn text(&self) -> String {
        text(&self.output)
    }

    pub(crate) fn file(&self, name: &str) -> String {
        let path = self.dir.path().join("out/latest").join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}\n{}", path.display(), self.text()))
    }

    pub(crate) fn record(&self, name: &str) -> Value {
        serde_json::from_str(&self.file(name)).unwrap()
    }

    /// The record of a run that ended like this.
    pub(crate) fn expect(&self, verdict: &str, code: i32) -> Value {
        let record = self.record("run.json");
        let text = self.text();
        let log = std::fs::read_to_string(self.dir.path().join("out/latest/logs/external.log"));
        let log = log.unwrap_or_default();
        assert_eq!(record["verdict"], verdict, "{text}\n{:#}\n{log}", record["reasons"]);
        assert_eq!(self.output.status.code(), Some(code), "{text}");
        record
    }
}

/// Nothing is wrong with any record, and so many were checked.
pub(crate) fn assert_flawless(record: &Value, acked: u64) {
    let verify = &record["verify"];
    for field in ["lost", "duplicates", "reordered", "corrupt", "misrouted", "phantom", "unseen", "expired"] {
        assert_eq!(verify[field], 0, "{field}: {verify:#}");
    }
    assert_eq!((&verify["acked"], &verify["checked"]), (&acked.into(), &acked.into()), "{verify:#}");
}
