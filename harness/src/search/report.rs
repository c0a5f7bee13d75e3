//! The report of a search, from its directory alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use gauntlet_reports::record::{Environment, RunRecord};
use gauntlet_reports::search::{SEARCH_SCHEMA_VERSION, SearchData, SearchRecord};
use gauntlet_reports::{html, junit};
use serde::Deserialize;

use super::SEARCH_JSON;
use crate::report::{ReportError, ReportForm, Written, write_forms};
use crate::rundir::{RUN_JSON, RunDir, SCENARIO};

/// Why a search can't be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {why}", path.display())]
pub struct ReadError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

/// A search that was read, and what could not be read and was left out, in words.
#[derive(Debug, Clone)]
pub struct ReadSearch {
    /// What reports are rendered from.
    pub data: SearchData,
    /// What was left out.
    pub notes: Vec<String>,
}

/// Whether a directory is that of a search.
#[must_use]
pub fn is_search(dir: &Path) -> bool {
    dir.join(SEARCH_JSON).is_file()
}

/// Reads the directory of a search.
///
/// # Errors
/// `search.json` can't be read, or is of another version. Everything else is noted.
pub fn read(dir: &RunDir) -> Result<ReadSearch, ReadError> {
    let record = read_record(dir)?;
    let mut notes = Vec::new();
    let scenario = dir.read(SCENARIO).unwrap_or_else(|error| {
        notes.push(error.to_string());
        Vec::new()
    });
    let environment = environment(dir, &record, &mut notes);
    let data = SearchData {
        scenario: String::from_utf8_lossy(&scenario).into_owned(),
        reproduce: reproduce(&record, Path::new("")),
        environment,
        record,
    };
    Ok(ReadSearch { data, notes })
}

fn read_record(dir: &RunDir) -> Result<SearchRecord, ReadError> {
    /// Enough of the file to know whether the rest can be read.
    #[derive(Deserialize)]
    struct Version {
        schema_version: u32,
    }
    let unreadable = |why: String| ReadError { path: dir.file(SEARCH_JSON), why };
    let bytes = dir.read(SEARCH_JSON).map_err(|error| unreadable(error.source.to_string()))?;
    let Version { schema_version } =
        serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
    if schema_version != SEARCH_SCHEMA_VERSION {
        return Err(unreadable(format!(
            "its schema_version is {schema_version}, this version of gauntlet reads {SEARCH_SCHEMA_VERSION}"
        )));
    }
    serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))
}

/// Where all of it ran: from the first trial that says so.
fn environment(dir: &RunDir, record: &SearchRecord, notes: &mut Vec<String>) -> Option<Environment> {
    let trial = record.trials.first()?;
    // Names come from a file: they lead nowhere else.
    if trial.dir.contains('/') || trial.dir.starts_with('.') {
        notes.push(format!("{} is no directory of this search", trial.dir));
        return None;
    }
    let file = format!("{}/{RUN_JSON}", trial.dir);
    let read = dir.read(&file).map_err(|error| error.to_string()).and_then(|bytes| {
        serde_json::from_slice::<RunRecord>(&bytes).map_err(|error| format!("cannot read {file}: {error}"))
    });
    read.map_err(|why| notes.push(why)).ok().map(|run| run.environment)
}

/// The command that searches again, from the directory where `dir` leads there.
#[must_use]
pub fn reproduce(record: &SearchRecord, dir: &Path) -> String {
    format!("gauntlet run {} --seed {}", dir.join(SCENARIO).display(), record.seed)
}

/// Renders a search.
///
/// # Errors
/// A bug of the renderer.
pub fn render(form: ReportForm, data: &SearchData) -> Result<String, ReportError> {
    // Nothing is changed by rendering, so nothing is left half-changed.
    let rendered = catch_unwind(AssertUnwindSafe(|| match form {
        ReportForm::Html => html::render_search(data),
        ReportForm::Junit => {
            let mut document = junit::Document::default();
            document.add_search(&data.record);
            document.render()
        }
    }));
    rendered.map_err(|_| ReportError::Renderer { name: form.file_name() })
}

/// Writes reports into the directory of the search.
///
/// # Errors
/// A bug of the renderer, or a file that can't be written. Files before it are written.
pub fn write(dir: &RunDir, data: &SearchData, forms: &[ReportForm]) -> Result<Vec<Written>, ReportError> {
    write_forms(dir, forms, |form| render(form, data))
}
