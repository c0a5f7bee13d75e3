//! Going on with a sweep: what is in its directory, and whether it is still the same sweep.

use std::path::{Path, PathBuf};

use gauntlet_reports::sweep::{SWEEP_SCHEMA_VERSION, SweepRecord};
use serde::Deserialize;

use super::SWEEP_JSON;
use super::plan::SweepPlan;
use crate::rundir::{RunDir, SCENARIO};

/// Why a sweep can't be read, or not be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// Something else, or nothing.
    #[error("{} is no sweep directory: it has no {SWEEP_JSON}", dir.display())]
    NotASweep {
        /// The directory.
        dir: PathBuf,
    },
    /// Of another version, or damaged.
    #[error("cannot read {}: {why}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Its results and new ones can't be compared.
    #[error(
        "{} is another sweep: {}; what differs can't be compared, so run it anew without --resume",
        dir.display(), differences.join("; ")
    )]
    Differs {
        /// The directory.
        dir: PathBuf,
        /// What is not as it was.
        differences: Vec<String>,
    },
}

/// Whether a directory is that of a sweep.
#[must_use]
pub fn is_sweep(dir: &Path) -> bool {
    dir.join(SWEEP_JSON).is_file()
}

/// Reads `sweep.json`.
///
/// # Errors
/// There is none, or it is of another version.
pub fn read_record(dir: &RunDir) -> Result<SweepRecord, ResumeError> {
    /// Enough of the file to know whether the rest can be read.
    #[derive(Deserialize)]
    struct Version {
        schema_version: u32,
    }
    let path = dir.file(SWEEP_JSON);
    let unreadable = |why: String| ResumeError::Record { path: path.clone(), why };
    if !is_sweep(dir.path()) {
        return Err(ResumeError::NotASweep { dir: dir.path().to_path_buf() });
    }
    let bytes = dir.read(SWEEP_JSON).map_err(|error| unreadable(error.to_string()))?;
    let Version { schema_version } =
        serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
    if schema_version != SWEEP_SCHEMA_VERSION {
        return Err(unreadable(format!(
            "its schema_version is {schema_version}, this version of gauntlet reads {SWEEP_SCHEMA_VERSION}"
        )));
    }
    serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))
}

/// Makes sure that `plan` is the sweep that `record` is of.
///
/// # Errors
/// Something differs; the error names all of it.
pub fn check(dir: &RunDir, record: &SweepRecord, plan: &SweepPlan) -> Result<(), ResumeError> {
    let mut differences = Vec::new();
    let mut compare = |what: &str, was: &str, is: &str| {
        if was != is {
            differences.push(format!("{what} was {was} and is {is}"));
        }
    };
    compare("the version of gauntlet", &record.gauntlet, env!("CARGO_PKG_VERSION"));
    compare("the seed", &record.seed.to_string(), &plan.options.seed.to_string());
    let none = || "not given".to_owned();
    let home = plan.options.kafka_home.as_ref().map(|home| home.display().to_string());
    compare("--kafka-home", &record.kafka_home.clone().unwrap_or_else(none), &home.unwrap_or_else(none));
    if record.scenario_sha256 != plan.scenario_sha256() {
        let was = dir.read(SCENARIO).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let line = was.ok().and_then(|was| first_difference(&was, &plan.scenario_yaml));
        differences.push(line.unwrap_or_else(|| "the scenario was another one".to_owned()));
    }
    match differences.is_empty() {
        true => Ok(()),
        false => Err(ResumeError::Differs { dir: dir.path().to_path_buf(), differences }),
    }
}

/// The first line of the resolved scenarios that differs.
fn first_difference(was: &str, is: &str) -> Option<String> {
    let (mut was, mut is) = (was.lines(), is.lines());
    loop {
        let told =
            |line: Option<&str>| line.map_or_else(|| "nothing".to_owned(), |l| format!("`{}`", l.trim()));
        match (was.next(), is.next()) {
            (None, None) => return None,
            (a, b) if a == b => {}
            (a, b) => return Some(format!("the scenario had {} and has {}", told(a), told(b))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_differs_is_named() {
        assert_eq!(first_difference("a: 1\nb: 2\n", "a: 1\nb: 2\n"), None);
        assert_eq!(
            first_difference("a: 1\nb:\n  c: 2\n", "a: 1\nb:\n  c: 3\n").unwrap(),
            "the scenario had `c: 2` and has `c: 3`"
        );
        assert_eq!(first_difference("a: 1\n", "").unwrap(), "the scenario had `a: 1` and has nothing");
    }

    #[test]
    fn what_is_no_sweep_is_said_to_be_none() {
        let dir = tempfile::tempdir().unwrap();
        let of = |dir: &Path| read_record(&RunDir::existing(dir)).unwrap_err().to_string();
        assert!(of(dir.path()).ends_with("is no sweep directory: it has no sweep.json"));
        std::fs::write(dir.path().join(SWEEP_JSON), "{\"schema_version\": 99}").unwrap();
        assert!(of(dir.path()).contains("its schema_version is 99"));
    }
}
