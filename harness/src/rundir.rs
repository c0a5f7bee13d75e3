//! The run directory: everything that a run leaves behind, readable at any moment, even if the run dies.
//!
//! Files that grow (intervals, histograms, faults) are appended line by line; `run.json` is replaced as a whole
//! (written beside, fsynced, renamed).

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file or directory of the run could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct RunDirError {
    /// What was tried.
    pub action: &'static str,
    /// On what.
    pub path: PathBuf,
    /// What the operating system said.
    pub source: io::Error,
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RunDirError {
    let path = path.to_owned();
    move |source| RunDirError { action, path, source }
}

/// Name of the summary.
pub const RUN_JSON: &str = "run.json";
/// Name of the histogram log.
pub const HISTOGRAMS: &str = "histograms.hlog";
/// Name of the interval series.
pub const INTERVALS: &str = "intervals.ndjson";
/// Name of the fault records.
pub const FAULTS: &str = "faults.ndjson";
/// Name of the cluster watcher's history.
pub const CLUSTER: &str = "cluster.ndjson";
/// Name of what the checkers were told.
pub const HISTORY: &str = "history.zst";
/// Name of what a recheck came to.
pub const RECHECK_JSON: &str = "recheck.json";
/// Name of the findings with their witnesses.
pub const VIOLATIONS: &str = "violations.json";
/// Name of what librdkafka logged, where it is a driver.
pub const RDKAFKA_LOG: &str = "logs/librdkafka.log";
/// Name of what programs said that are drivers.
pub const EXTERNAL_LOG: &str = "logs/external.log";
/// Name of the scenario as it was run.
pub const SCENARIO: &str = "scenario.resolved.yaml";
/// Name of the report for people.
pub const REPORT_HTML: &str = "report.html";
/// Name of the report for CI servers.
pub const REPORT_JUNIT: &str = "junit.xml";
/// Directory of the run's own cluster.
pub const CLUSTER_DIR: &str = "cluster";
/// Name of the undo journal.
pub const UNDO_JOURNAL: &str = "undo.journal";

/// An open run directory.
#[derive(Debug, Clone)]
pub struct RunDir {
    root: PathBuf,
}

impl RunDir {
    /// Creates `root`, which must not exist. If it is `<out>/<name>/<run id>`, as by default, `<out>/latest` is pointed
    /// at it.
    pub fn create(root: &Path, name: &str, run_id: &str) -> Result<Self, RunDirError> {
        let root = root.to_path_buf();
        if let Some(parent) = root.parent() {
            fs::create_dir_all(parent).map_err(failed("create", parent))?;
        }
        fs::create_dir(&root).map_err(failed("create", &root))?;
        let logs = root.join("logs");
        fs::create_dir(&logs).map_err(failed("create", &logs))?;
        let below = Path::new(name).join(run_id);
        if let Some(out) = root.ancestors().nth(2).filter(|_| root.ends_with(&below)) {
            point_latest(out, &below);
        }
        Ok(RunDir { root })
    }

    /// A directory that is there already: a run's, as far as anybody knows.
    pub fn existing(root: &Path) -> Self {
        RunDir { root: root.to_path_buf() }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Where brokers log to.
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Replaces a file as a whole: either the old or the new content is there, never a part.
    pub fn replace(&self, name: &str, content: &[u8]) -> Result<(), RunDirError> {
        let path = self.file(name);
        let beside = self.file(&format!(".{name}.new"));
        let written = (|| {
            let mut file = File::create(&beside)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            File::open(&self.root)?.sync_all()
        })();
        written.map_err(failed("write", &path))
    }

    /// Opens a file to append lines to.
    pub fn append(&self, name: &str) -> Result<BufWriter<File>, RunDirError> {
        let path = self.file(name);
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(failed("open", &path))?;
        Ok(BufWriter::new(file))
    }

    /// Reads a file whole.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, RunDirError> {
        let path = self.file(name);
        fs::read(&path).map_err(failed("read", &path))
    }
}

/// A convenience for people; a run does not fail because of it.
fn point_latest(out: &Path, target: &Path) {
    let link = out.join("latest");
    let beside = out.join(format!(".latest.{}", std::process::id()));
    let _ = fs::remove_file(&beside);
    if std::os::unix::fs::symlink(target, &beside).is_ok() && fs::rename(&beside, &link).is_err() {
        let _ = fs::remove_file(&beside);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latest_follows_the_newest_run() {
        let out = tempfile::tempdir().unwrap();
        let first = RunDir::create(&out.path().join("smoke/run-1"), "smoke", "run-1").unwrap();
        first.replace(RUN_JSON, b"{}").unwrap();
        let second = RunDir::create(&out.path().join("smoke/run-2"), "smoke", "run-2").unwrap();
        second.replace(RUN_JSON, b"[]").unwrap();
        second.replace(RUN_JSON, b"[2]").unwrap();
        assert_eq!(fs::read(out.path().join("latest").join(RUN_JSON)).unwrap(), b"[2]");
        assert_eq!(fs::read_dir(second.path()).unwrap().count(), 2, "run.json and logs, nothing left beside");
        assert!(RunDir::create(second.path(), "smoke", "run-2").is_err(), "a run is never written over");
    }
}
