//! Searches on the command line: `gauntlet run` of a file whose load is one.

use std::io::Write;
use std::sync::Arc;
use std::time::SystemTime;

use gauntlet_reports::ExitReason;
use gauntlet_reports::record::Reason;
use gauntlet_reports::search::{SearchRecord, TrialRecord};

use super::print;
use super::run::{HowArgs, Refused, RunArgs, draw, invalid, misused, run_id, run_options};
use crate::plan::Planned;
use crate::report::Written;
use crate::run::{Interrupt, Progress};
use crate::rundir::{RunDir, RunDirError, SCENARIO};
use crate::scenario::LoadedSearch;
use crate::search::execute::{TAKING_DOWN, first_record};
use crate::search::{SearchListener, SearchPlan, SearchPlanOptions, execute, plan, report};

/// Plans a search.
pub(super) fn ready(loaded: LoadedSearch, how: &HowArgs) -> Result<SearchPlan, Refused> {
    if !how.only.is_empty() {
        return Err(misused("--only is for sweeps, and this scenario is a search"));
    }
    let drawn = draw();
    let options = SearchPlanOptions {
        search_id: run_id(SystemTime::now(), drawn),
        run: drawn as u32,
        seed: how.seed.or(loaded.whole.scenario.seed).unwrap_or(drawn >> 32),
        kafka_home: how.kafka_home.clone(),
        out: how.out.clone(),
    };
    plan(loaded, options).map_err(|error| invalid(&error))
}

/// Carries a search out, and writes its reports.
pub(super) fn run_search(
    args: &RunArgs,
    plan: &SearchPlan,
    interrupt: &Arc<Interrupt>,
    out: &mut impl Write,
) -> std::io::Result<SearchRecord> {
    let dir = match open(plan) {
        Ok(dir) => dir,
        Err(error) => return not_begun(plan, &error),
    };
    print::search_header(out, plan)?;
    let options = run_options(args, &dir, interrupt)?;
    let mut told = Told { out: &mut *out, quiet: args.quiet };
    let record = match execute(plan, &options, &mut told) {
        Ok(record) => record,
        Err(error) => return not_begun(plan, &error),
    };
    print::search_result(out, &record)?;
    let reports = write_reports(&dir, plan)?;
    print::search_files(out, &record, dir.path(), &reports)?;
    Ok(record)
}

fn open(plan: &SearchPlan) -> Result<RunDir, RunDirError> {
    let dir = RunDir::create(&plan.dir, &plan.highest.plan.name, &plan.options.search_id)?;
    dir.replace(SCENARIO, plan.loaded.whole.resolved_yaml.as_bytes())?;
    Ok(dir)
}

/// Its directory can't be written.
fn not_begun(plan: &SearchPlan, error: &dyn std::error::Error) -> std::io::Result<SearchRecord> {
    writeln!(std::io::stderr(), "error: {error}")?;
    let mut record = first_record(plan);
    let reason = Reason { exit: ExitReason::Environment, text: error.to_string() };
    record.conclude(None, vec![reason], &plan.expectations);
    Ok(record)
}

/// Reports. What goes wrong is said and changes nothing: the verdict is in `search.json`.
fn write_reports(dir: &RunDir, plan: &SearchPlan) -> std::io::Result<Vec<Written>> {
    let written = report::read(dir).map_err(|error| error.to_string()).and_then(|read| {
        report::write(dir, &read.data, &plan.highest.reports).map_err(|error| error.to_string())
    });
    written.or_else(|error| {
        writeln!(std::io::stderr(), "error: no report: {error}; `gauntlet report` tries again")?;
        Ok(Vec::new())
    })
}

/// Prints a search as it goes: phases, and a line per trial. What happens in a trial by the second is in its own report.
struct Told<'a, W: Write> {
    out: &'a mut W,
    quiet: bool,
}

/// A terminal that is gone does not end a search.
impl<W: Write> SearchListener for Told<'_, W> {
    fn begins(&mut self, trial: &TrialRecord, planned: &Planned) {
        if !self.quiet {
            let _ = print::search_trial_begins(self.out, trial, planned);
            let _ = self.out.flush();
        }
    }

    fn warms_up(&mut self, dir: &str, planned: &Planned) {
        if !self.quiet {
            let length = planned.plan.load.duration.map_or(0, |length| length.as_secs());
            let _ = writeln!(self.out, "       {dir}: {length} s of load, part of no result");
            let _ = self.out.flush();
        }
    }

    fn progress(&mut self, progress: &Progress<'_>) {
        let _ = match progress {
            Progress::Note(text) => writeln!(self.out, "note   {text}"),
            Progress::Phase(text @ ("starting the cluster" | TAKING_DOWN)) if !self.quiet => {
                writeln!(self.out, "       {text}")
            }
            Progress::Phase(_) | Progress::Second(_) | Progress::Fault(_) => Ok(()),
        };
        let _ = self.out.flush();
    }

    fn ended(&mut self, trial: &TrialRecord) {
        let _ = print::search_trial(self.out, trial);
        let _ = self.out.flush();
    }
}
