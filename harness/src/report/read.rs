//! From a run directory to [`RunData`].

use std::path::Path;

use gauntlet_chaos::fault::FaultRecord;
use gauntlet_chaos::history::Observation;
use gauntlet_reports::record::{RunRecord, SCHEMA_VERSION};
use gauntlet_reports::run_data::{ClusterChange, RunData};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::clock::RunClock;
use super::{ReadRun, ReportError, files, seconds};
use crate::cluster_view;
use crate::intervals::IntervalLine;
use crate::run::fault_as_told;
use crate::rundir::{CLUSTER, FAULTS, HISTOGRAMS, INTERVALS, RUN_JSON, RunDir, SCENARIO};

/// Reads a run directory. One that is still being written, or was left behind by a run that died, is read as far as it goes.
///
/// # Errors
/// It is no run directory, or its `run.json` is of a layout that this version does not know.
pub fn read(dir: &RunDir) -> Result<ReadRun, ReportError> {
    let mut record = read_record(dir)?;
    let mut notes = Vec::new();
    let lines: Vec<IntervalLine> = read_lines(dir, INTERVALS, &mut notes);
    let histograms = read_file(dir, HISTOGRAMS, &mut notes);
    let scenario = String::from_utf8_lossy(&read_file(dir, SCENARIO, &mut notes)).into_owned();
    let clock = RunClock::of(&record, &lines);
    if record.warmup_s.is_none() && RunClock::reached_zero(&lines) {
        record.warmup_s = Some(clock.zero_s);
    }
    if record.verdict.is_none() && record.faults.is_empty() && dir.file(FAULTS).exists() {
        let told: Vec<FaultRecord> = read_lines(dir, FAULTS, &mut notes);
        let at = |at_ns| clock.t_s(at_ns).unwrap_or(0.0);
        record.faults = told.iter().map(|fault| fault_as_told(fault, at)).collect();
    }
    let seconds = seconds::lay_out(&mut seconds::Series {
        clock,
        lines: &lines,
        histograms: &histograms,
        load: planned_load(&record),
        notes: &mut notes,
    });
    let observations = read_lines(dir, CLUSTER, &mut notes);
    Ok(ReadRun {
        data: RunData {
            seconds,
            cluster: cluster(observations, &clock),
            scenario,
            files: files::list(dir.path(), &mut notes),
            reproduce: reproduce(&record, Path::new("")),
            record,
        },
        notes,
    })
}

/// The command that runs the scenario of a run directory again, from the directory where `dir` leads there.
#[must_use]
pub fn reproduce(record: &RunRecord, dir: &Path) -> String {
    format!("gauntlet run {} --seed {}", dir.join(SCENARIO).display(), record.seed)
}

fn read_record(dir: &RunDir) -> Result<RunRecord, ReportError> {
    /// Enough of the file to know whether the rest can be read.
    #[derive(Deserialize)]
    struct Version {
        schema_version: u32,
    }
    let path = dir.file(RUN_JSON);
    let bytes = dir.read(RUN_JSON).map_err(|error| match error.source.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
            ReportError::NotARun { dir: dir.path().to_path_buf() }
        }
        _ => error.into(),
    })?;
    let unreadable = |why: String| ReportError::Record { path: path.clone(), why };
    let Version { schema_version } =
        serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
    if schema_version != SCHEMA_VERSION {
        return Err(unreadable(format!(
            "its schema_version is {schema_version}, this version of gauntlet reads {SCHEMA_VERSION}"
        )));
    }
    serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))
}

/// A file's content, or nothing.
fn read_file(dir: &RunDir, name: &str, notes: &mut Vec<String>) -> Vec<u8> {
    dir.read(name).unwrap_or_else(|error| {
        notes.push(error.to_string());
        Vec::new()
    })
}

/// The lines of a file of JSON objects. A torn last line is what a crash leaves; any other that can't be read is noted.
fn read_lines<T: DeserializeOwned>(dir: &RunDir, name: &str, notes: &mut Vec<String>) -> Vec<T> {
    let bytes = read_file(dir, name, notes);
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let mut values = Vec::new();
    let mut bad = 0usize;
    let mut first = None;
    for (index, line) in bytes[..whole].split(|byte| *byte == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        match serde_json::from_slice(line) {
            Ok(value) => values.push(value),
            Err(error) => {
                bad += 1;
                first.get_or_insert((index + 1, error));
            }
        }
    }
    if let Some((line, error)) = first {
        notes.push(format!("{name}: {bad} lines can't be read; the first is line {line}: {error}"));
    }
    values
}

fn cluster(observations: Vec<Observation>, clock: &RunClock) -> Vec<ClusterChange> {
    let changes = cluster_view::changes(observations).into_iter();
    changes
        .filter_map(|(at_ns, at, state)| {
            Some(ClusterChange {
                t_s: clock.t_s(at_ns)?,
                partition: at.to_string(),
                leader: state.leader,
                leader_epoch: state.leader_epoch,
                isr: state.isr,
                replicas: state.replicas.len(),
            })
        })
        .collect()
}

/// What was to be sent, and until when (seconds since t = 0). `None` without a schedule.
fn planned_load(record: &RunRecord) -> Option<seconds::Load<'_>> {
    let profile = record.load_profile.as_ref()?;
    // Exact if the run was judged. One that died has only its plan.
    let measured = record.windows.get("all").map(|window| window.to_s);
    Some(seconds::Load { profile, end_s: measured.or_else(|| Some(profile.points.last()?.t_s)) })
}

#[cfg(test)]
mod tests;
