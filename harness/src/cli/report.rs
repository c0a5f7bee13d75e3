//! `gauntlet report`, and the reports at the end of a run.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use gauntlet_reports::ExitReason;
use gauntlet_reports::record::{RunRecord, RunState};
use gauntlet_reports::run_data::RunData;
use gauntlet_reports::search::{SearchData, SearchRecord};
use gauntlet_reports::sweep::SweepData;

use super::print;
use crate::report::{self, ReportError, ReportForm, Written};
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
    let request = Request { args, forms, dir: &dir };
    if resume::is_sweep(&args.run) {
        let read = sweep_report::read(&dir).map(|read| (read.data, read.notes));
        return request.answer(read.map_err(|error| (error.to_string(), ExitReason::Usage)), out);
    }
    if search_report::is_search(&args.run) {
        let read = search_report::read(&dir).map(|read| (read.data, read.notes));
        return request.answer(read.map_err(|error| (error.to_string(), ExitReason::Usage)), out);
    }
    let read = report::read(&dir).map(|read| (read.data, read.notes));
    let refused = |error: ReportError| {
        let exit = match error {
            ReportError::NotARun { .. } | ReportError::Record { .. } => ExitReason::Usage,
            ReportError::Renderer { .. } | ReportError::Dir(_) => ExitReason::InternalError,
        };
        (error.to_string(), exit)
    };
    request.answer(read.map_err(refused), out)
}

/// What has reports: a run, a sweep, a search.
trait Reported {
    fn show(&self, out: &mut impl Write) -> std::io::Result<()>;
    fn render(&self, form: ReportForm) -> Result<String, ReportError>;
    fn write(&self, dir: &RunDir, forms: &[ReportForm]) -> Result<Vec<Written>, ReportError>;
    fn tell_files(&self, out: &mut impl Write, dir: &Path, files: &[Written]) -> std::io::Result<()>;
    fn exit_reason(&self) -> ExitReason;
}

impl Reported for RunData {
    fn show(&self, out: &mut impl Write) -> std::io::Result<()> {
        print::result(out, &self.record)
    }

    fn render(&self, form: ReportForm) -> Result<String, ReportError> {
        report::render(form, self)
    }

    fn write(&self, dir: &RunDir, forms: &[ReportForm]) -> Result<Vec<Written>, ReportError> {
        report::write(dir, self, forms)
    }

    fn tell_files(&self, out: &mut impl Write, dir: &Path, files: &[Written]) -> std::io::Result<()> {
        print::files(out, &self.record, dir, files)
    }

    fn exit_reason(&self) -> ExitReason {
        exit_reason(&self.record)
    }
}

impl Reported for SweepData {
    fn show(&self, out: &mut impl Write) -> std::io::Result<()> {
        print::sweep_result(out, &self.record)
    }

    fn render(&self, form: ReportForm) -> Result<String, ReportError> {
        sweep_report::render(form, self)
    }

    fn write(&self, dir: &RunDir, forms: &[ReportForm]) -> Result<Vec<Written>, ReportError> {
        sweep_report::write(dir, self, forms)
    }

    fn tell_files(&self, out: &mut impl Write, dir: &Path, files: &[Written]) -> std::io::Result<()> {
        print::sweep_files(out, &self.record, dir, files)
    }

    fn exit_reason(&self) -> ExitReason {
        self.record.exit_reason()
    }
}

impl Reported for SearchData {
    fn show(&self, out: &mut impl Write) -> std::io::Result<()> {
        print::search_result(out, &self.record)
    }

    fn render(&self, form: ReportForm) -> Result<String, ReportError> {
        search_report::render(form, self)
    }

    fn write(&self, dir: &RunDir, forms: &[ReportForm]) -> Result<Vec<Written>, ReportError> {
        search_report::write(dir, self, forms)
    }

    fn tell_files(&self, out: &mut impl Write, dir: &Path, files: &[Written]) -> std::io::Result<()> {
        print::search_files(out, &self.record, dir, files)
    }

    fn exit_reason(&self) -> ExitReason {
        self.record.exit_reason()
    }
}

/// Which reports are wanted, of which directory.
struct Request<'a> {
    args: &'a ReportArgs,
    forms: &'a [ReportForm],
    dir: &'a RunDir,
}

impl Request<'_> {
    /// Shows what was read, with what was left out of it, and renders it; or says why it could not be read.
    fn answer<D: Reported>(
        &self,
        read: Result<(D, Vec<String>), (String, ExitReason)>,
        out: &mut impl Write,
    ) -> std::io::Result<ExitReason> {
        let mut err = std::io::stderr();
        let (data, notes) = match read {
            Ok(read) => read,
            Err((error, exit)) => {
                writeln!(err, "error: {error}")?;
                return Ok(exit);
            }
        };
        for note in notes {
            writeln!(err, "note: {note}")?;
        }
        data.show(out)?;
        match self.write(&data) {
            Ok(files) => {
                data.tell_files(out, &self.args.run, &files)?;
                Ok(data.exit_reason())
            }
            Err(error) => {
                writeln!(err, "error: {error}")?;
                Ok(ExitReason::InternalError)
            }
        }
    }

    fn write(&self, data: &impl Reported) -> Result<Vec<Written>, String> {
        let Some(file) = &self.args.out else {
            return data.write(self.dir, self.forms).map_err(|error| error.to_string());
        };
        let form = self.forms[0];
        let text = data.render(form).map_err(|error| error.to_string())?;
        std::fs::write(file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        Ok(vec![Written { label: form.label(), path: file.clone() }])
    }
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
