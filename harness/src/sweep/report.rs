//! The report of a sweep, from its directory alone.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use gauntlet_reports::record::RunRecord;
use gauntlet_reports::sweep::{SweepData, SweepRecord, csv};
use gauntlet_reports::{html, junit};

use super::SWEEP_CSV;
use super::resume::{ResumeError, read_record};
use crate::report::{ReportError, ReportForm, Written, write_forms};
use crate::rundir::{RUN_JSON, RunDir, SCENARIO};

/// A sweep that was read, and what could not be read and was left out, in words.
#[derive(Debug, Clone)]
pub struct ReadSweep {
    /// What reports are rendered from.
    pub data: SweepData,
    /// What was left out.
    pub notes: Vec<String>,
}

/// Reads the directory of a sweep, and `run.json` of each of its runs.
///
/// # Errors
/// `sweep.json` is not there, or can't be read. Everything else is noted.
pub fn read(dir: &RunDir) -> Result<ReadSweep, ResumeError> {
    let record = read_record(dir)?;
    let mut notes = Vec::new();
    let mut runs = BTreeMap::new();
    for name in record.runs.iter().filter_map(|run| run.dir.as_ref()) {
        match read_run(dir, name) {
            Ok(run) => {
                runs.insert(name.clone(), run);
            }
            Err(why) => notes.push(why),
        }
    }
    let scenario = dir.read(SCENARIO).unwrap_or_else(|error| {
        notes.push(error.to_string());
        Vec::new()
    });
    let environment = runs.values().next().map(|run| run.environment.clone());
    let data = SweepData {
        scenario: String::from_utf8_lossy(&scenario).into_owned(),
        reproduce: reproduce(&record, Path::new("")),
        environment,
        runs,
        record,
    };
    Ok(ReadSweep { data, notes })
}

fn read_run(dir: &RunDir, name: &str) -> Result<RunRecord, String> {
    // Names come from a file: they lead nowhere else.
    if name.contains('/') || name.starts_with('.') {
        return Err(format!("{name} is no directory of this sweep"));
    }
    let file = format!("{name}/{RUN_JSON}");
    let bytes = dir.read(&file).map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes).map_err(|error| format!("cannot read {file}: {error}"))
}

/// The command that runs the sweep again, from the directory where `dir` leads there.
#[must_use]
pub fn reproduce(record: &SweepRecord, dir: &Path) -> String {
    let only: String = record.only.iter().map(|only| format!(" --only '{only}'")).collect();
    format!("gauntlet run {} --seed {}{only}", dir.join(SCENARIO).display(), record.seed)
}

/// Renders a sweep.
///
/// # Errors
/// A bug of the renderer.
pub fn render(form: ReportForm, data: &SweepData) -> Result<String, ReportError> {
    // Nothing is changed by rendering, so nothing is left half-changed.
    let rendered = catch_unwind(AssertUnwindSafe(|| match form {
        ReportForm::Html => html::render_sweep(data),
        ReportForm::Junit => {
            let mut document = junit::Document::default();
            document.add_sweep(data);
            document.render()
        }
    }));
    rendered.map_err(|_| ReportError::Renderer { name: form.file_name() })
}

/// Writes reports into the directory of the sweep, and its table of runs.
///
/// # Errors
/// A bug of the renderer, or a file that can't be written. Files before it are written.
pub fn write(dir: &RunDir, data: &SweepData, forms: &[ReportForm]) -> Result<Vec<Written>, ReportError> {
    let mut written = write_forms(dir, forms, |form| render(form, data))?;
    dir.replace(SWEEP_CSV, csv::csv(&data.record).as_bytes())?;
    written.push(Written { label: "csv", path: dir.file(SWEEP_CSV) });
    Ok(written)
}
