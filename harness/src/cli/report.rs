//! `gauntlet report`, and the reports at the end of a run.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use gauntlet_reports::ExitReason;
use gauntlet_reports::record::{RunRecord, RunState};

use gauntlet_reports::search::SearchRecord;
use gauntlet_reports::sweep::SweepData;

use super::print;
use crate::report::{self, ReadRun, ReportError, ReportForm, Written};
use crate::rundir::RunDir;
use crate::search::report as search_report;
use crate::sweep::{report as sweep_report, resume};

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// The run directory, or that of a sweep or a search.
    run: PathBuf,
    /// What to render; without it, everything.
    #[arg(short, long = "format", value_enum, value_delimiter = ',', value_name = "FORM")]
    formats: Vec<ReportForm>,
    /// Write to FILE instead of the run directory; needs one --format.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Shows a run again, and renders its reports anew. Works for runs that died, too.
pub(super) fn report(args: &ReportArgs, out: &mut impl Write) -> std::io::Result<ExitReason> {
    let mut err = std::io::stderr();
    let forms = if args.formats.is_empty() { &ReportForm::ALL[..] } else { &args.formats };
    if args.out.is_some() && forms.len() != 1 {
        writeln!(err, "error: --out is one file, so it needs one --format, e.g. --format html")?;
        return Ok(ExitReason::Usage);
    }
    let dir = RunDir::existing(&args.run);
    if resume::is_sweep(&args.run) {
        return report_sweep(args, &dir, forms, out);
    }
    if search_report::is_search(&args.run) {
        return report_search(args, &dir, forms, out);
    }
    let ReadRun { data, notes } = match report::read(&dir) {
        Ok(run) => run,
        Err(error) => {
            writeln!(err, "error: {error}")?;
            return Ok(match error {
                ReportError::NotARun { .. } | ReportError::Record { .. } => ExitReason::Usage,
                ReportError::Renderer { .. } | ReportError::Dir(_) => ExitReason::InternalError,
            });
        }
    };
    for note in notes {
        writeln!(err, "note: {note}")?;
    }
    print::result(out, &data.record)?;
    let written = match &args.out {
        Some(file) => report::render(forms[0], &data).map_err(|error| error.to_string()).and_then(|text| {
            std::fs::write(file, text)
                .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
            Ok(vec![Written { form: forms[0], path: file.clone() }])
        }),
        None => report::write(&dir, &data, forms).map_err(|error| error.to_string()),
    };
    match written {
        Ok(files) => {
            print::files(out, &data.record, &args.run, &files)?;
            Ok(exit_reason(&data.record))
        }
        Err(error) => {
            writeln!(err, "error: {error}")?;
            Ok(ExitReason::InternalError)
        }
    }
}

/// The same of a sweep.
fn report_sweep(
    args: &ReportArgs,
    dir: &RunDir,
    forms: &[ReportForm],
    out: &mut impl Write,
) -> std::io::Result<ExitReason> {
    let mut err = std::io::stderr();
    let read = match sweep_report::read(dir) {
        Ok(read) => read,
        Err(error) => {
            writeln!(err, "error: {error}")?;
            return Ok(ExitReason::Usage);
        }
    };
    for note in &read.notes {
        writeln!(err, "note: {note}")?;
    }
    print::sweep_result(out, &read.data.record)?;
    let written = match &args.out {
        Some(file) => sweep_report::render(forms[0], &read.data)
            .map_err(|error| error.to_string())
            .and_then(|text| write_to(file, &text))
            .map(|()| vec![sweep_report::WrittenFile { label: forms[0].label(), path: file.clone() }]),
        None => sweep_report::write(dir, &read.data, forms).map_err(|error| error.to_string()),
    };
    match written {
        Ok(files) => {
            print::sweep_files(out, &read.data.record, &args.run, &files)?;
            Ok(read.data.record.exit_reason())
        }
        Err(error) => {
            writeln!(err, "error: {error}")?;
            Ok(ExitReason::InternalError)
        }
    }
}

/// The same of a search.
fn report_search(
    args: &ReportArgs,
    dir: &RunDir,
    forms: &[ReportForm],
    out: &mut impl Write,
) -> std::io::Result<ExitReason> {
    let mut err = std::io::stderr();
    let read = match search_report::read(dir) {
        Ok(read) => read,
        Err(error) => {
            writeln!(err, "error: {error}")?;
            return Ok(ExitReason::Usage);
        }
    };
    for note in &read.notes {
        writeln!(err, "note: {note}")?;
    }
    print::search_result(out, &read.data.record)?;
    let written = match &args.out {
        Some(file) => search_report::render(forms[0], &read.data)
            .map_err(|error| error.to_string())
            .and_then(|text| write_to(file, &text))
            .map(|()| vec![Written { form: forms[0], path: file.clone() }]),
        None => search_report::write(dir, &read.data, forms).map_err(|error| error.to_string()),
    };
    match written {
        Ok(files) => {
            print::search_files(out, &read.data.record, &args.run, &files)?;
            Ok(read.data.record.exit_reason())
        }
        Err(error) => {
            writeln!(err, "error: {error}")?;
            Ok(ExitReason::InternalError)
        }
    }
}

fn write_to(file: &Path, text: &str) -> Result<(), String> {
    std::fs::write(file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))
}

/// What came of a scenario file.
pub(super) enum Outcome {
    /// It was one run.
    Run(Box<RunRecord>),
    /// It was a sweep.
    Sweep(Box<SweepData>),
    /// It was a search.
    Search(Box<SearchRecord>),
}

impl Outcome {
    /// Why it ended as it did.
    pub(super) fn exit_reason(&self) -> ExitReason {
        match self {
            Outcome::Run(record) => exit_reason(record),
            Outcome::Sweep(data) => data.record.exit_reason(),
            Outcome::Search(record) => record.exit_reason(),
        }
    }
}

/// Renders a run that has just ended. What goes wrong is said and changes nothing: the verdict is in `run.json`.
pub(super) fn write_reports(dir: &RunDir, forms: &[ReportForm]) -> std::io::Result<Vec<Written>> {
    if forms.is_empty() {
        return Ok(Vec::new());
    }
    report::read(dir).and_then(|run| report::write(dir, &run.data, forms)).or_else(|error| {
        writeln!(std::io::stderr(), "error: no report: {error}; `gauntlet report` tries again")?;
        Ok(Vec::new())
    })
}

/// Writes the JUnit report of all scenarios so far. What goes wrong is said and changes nothing.
pub(super) fn write_junit(file: &Path, outcomes: &[Outcome]) -> std::io::Result<()> {
    let mut document = gauntlet_reports::junit::Document::default();
    for outcome in outcomes {
        match outcome {
            Outcome::Run(record) => document.add_run(record),
            Outcome::Sweep(data) => document.add_sweep(data),
            Outcome::Search(record) => document.add_search(record),
        }
    }
    match std::fs::write(file, document.render()) {
        Ok(()) => Ok(()),
        Err(error) => writeln!(std::io::stderr(), "error: cannot write {}: {error}", file.display()),
    }
}

/// Why a run ended as it did. One without any reason died before it could give one.
fn exit_reason(record: &RunRecord) -> ExitReason {
    if record.state == RunState::Running && record.reasons.is_empty() {
        return ExitReason::InternalError;
    }
    ExitReason::worst(record.reasons.iter().map(|r| r.exit))
}
