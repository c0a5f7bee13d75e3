//! Reports into the run directory.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use gauntlet_reports::run_data::RunData;
use gauntlet_reports::{html, junit};

use super::ReportError;
use crate::rundir::{REPORT_HTML, REPORT_JUNIT, RunDir};

/// A form that a run's result is rendered in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ReportForm {
    /// One page, for people.
    Html,
    /// For CI servers.
    Junit,
}

impl ReportForm {
    /// All of them.
    pub const ALL: [ReportForm; 2] = [ReportForm::Html, ReportForm::Junit];

    /// What it is called on the terminal.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            ReportForm::Html => "report",
            ReportForm::Junit => "junit",
        }
    }

    /// The file in the run directory.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            ReportForm::Html => REPORT_HTML,
            ReportForm::Junit => REPORT_JUNIT,
        }
    }
}

/// Renders a run.
///
/// # Errors
/// A bug of the renderer: a verdict that was reached must survive it.
pub fn render(form: ReportForm, data: &RunData) -> Result<String, ReportError> {
    // Nothing is changed by rendering, so nothing is left half-changed.
    let rendered = catch_unwind(AssertUnwindSafe(|| match form {
        ReportForm::Html => html::render(data),
        ReportForm::Junit => junit::junit(&data.record),
    }));
    rendered.map_err(|_| ReportError::Renderer { name: form.file_name() })
}

/// A report that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// What it is called on the terminal.
    pub label: &'static str,
    /// Where it is.
    pub path: PathBuf,
}

/// Renders a run into its directory, where the reports replace what was there. Returns what was written.
///
/// # Errors
/// A bug of the renderer, or a file that can't be written. Forms before it are written.
pub fn write(dir: &RunDir, data: &RunData, forms: &[ReportForm]) -> Result<Vec<Written>, ReportError> {
    write_forms(dir, forms, |form| render(form, data))
}

/// Writes what `render` makes into a directory, form by form.
pub(crate) fn write_forms(
    dir: &RunDir,
    forms: &[ReportForm],
    render: impl Fn(ReportForm) -> Result<String, ReportError>,
) -> Result<Vec<Written>, ReportError> {
    let mut written = Vec::new();
    for form in forms {
        dir.replace(form.file_name(), render(*form)?.as_bytes())?;
        written.push(Written { label: form.label(), path: dir.file(form.file_name()) });
    }
    Ok(written)
}
