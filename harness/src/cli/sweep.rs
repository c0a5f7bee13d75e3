//! Sweeps on the command line: `gauntlet run` of a file that is one, and `--resume`.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use gauntlet_reports::record::{Reason, RunState};
use gauntlet_reports::sweep::{SlotRecord, SlotState, SweepData, SweepRecord};
use gauntlet_reports::{ExitReason, Severity};

use super::print;
use super::run::{HowArgs, Refused, RunArgs, draw, invalid, misused, run_id, run_options};
use crate::plan::Planned;
use crate::run::{Interrupt, Progress};
use crate::rundir::{RunDir, RunDirError, SCENARIO};
use crate::scenario::LoadedSweep;
use crate::sweep::execute::first_record;
use crate::sweep::{
    SweepListener, SweepPlan, SweepPlanError, SweepPlanOptions, execute, plan, report, resume,
};

/// A sweep that can be carried out.
pub(super) struct ReadySweep {
    /// What will be done.
    pub(super) plan: SweepPlan,
    /// What was found so far, if it is gone on with.
    resumed: Option<SweepRecord>,
}

/// Plans a sweep: a new one, or the one in the directory `resumed`.
pub(super) fn ready(
    loaded: LoadedSweep,
    how: &HowArgs,
    resumed: Option<&Path>,
) -> Result<ReadySweep, Refused> {
    let drawn = draw();
    let record =
        resumed.map(|dir| resume::read_record(&RunDir::existing(dir))).transpose().map_err(misused)?;
    let seed = how.seed.or(loaded.points[0].loaded.scenario.seed);
    let options = SweepPlanOptions {
        sweep_id: record.as_ref().map_or_else(|| run_id(SystemTime::now(), drawn), |r| r.sweep_id.clone()),
        run: drawn as u32,
        seed: seed.or(record.as_ref().map(|r| r.seed)).unwrap_or(drawn >> 32),
        kafka_home: how.kafka_home.clone(),
        out: how.out.clone(),
        only: record.as_ref().map_or_else(|| how.only.clone(), |r| r.only.clone()),
    };
    let mut plan = plan(loaded, options).map_err(|error| match error {
        SweepPlanError::Scenario(error) => invalid(&error),
        SweepPlanError::Only(error) => misused(error),
    })?;
    if let (Some(dir), Some(record)) = (resumed, &record) {
        resume::check(&RunDir::existing(dir), record, &plan).map_err(misused)?;
        plan.dir = dir.to_path_buf();
    }
    Ok(ReadySweep { plan, resumed: record })
}

/// Carries a sweep out, and writes its reports.
pub(super) fn run_sweep(
    args: &RunArgs,
    ready: ReadySweep,
    interrupt: &Arc<Interrupt>,
    out: &mut impl Write,
) -> std::io::Result<SweepData> {
    let ReadySweep { plan, resumed } = ready;
    let is_new = resumed.is_none();
    let record = resumed.unwrap_or_else(|| first_record(&plan));
    let dir = match open(&plan, is_new) {
        Ok(dir) => dir,
        Err(error) => return not_begun(record, &error, out),
    };
    print::sweep_begin(out, &plan, &record)?;
    let options = run_options(args, &dir, interrupt)?;
    let mut told = Told { out: &mut *out, plan: &plan, quiet: args.quiet, runs: record.runs.len() };
    let ended = execute(&plan, record.clone(), &options, &mut told);
    let record = match ended {
        Ok(record) => record,
        Err(error) => return not_begun(record, &error, out),
    };
    print::sweep_result(out, &record)?;
    finish(&plan, &dir, record, out)
}

/// The directory of the sweep: a new one, or the one that is gone on with.
fn open(plan: &SweepPlan, is_new: bool) -> Result<RunDir, RunDirError> {
    if !is_new {
        return Ok(RunDir::existing(&plan.dir));
    }
    let dir = RunDir::create(&plan.dir, &plan.name, &plan.options.sweep_id)?;
    dir.replace(SCENARIO, plan.scenario_yaml.as_bytes())?;
    Ok(dir)
}

/// Its directory can't be written, or somebody else is at it: what is there stays as it is.
fn not_begun(
    mut record: SweepRecord,
    error: &dyn std::error::Error,
    out: &mut impl Write,
) -> std::io::Result<SweepData> {
    writeln!(std::io::stderr(), "error: {error}")?;
    let reason = Reason { exit: ExitReason::Environment, text: error.to_string() };
    record.conclude(RunState::Aborted, vec![reason]);
    out.flush()?;
    Ok(data_of(record))
}

/// Reports. What goes wrong is said and changes nothing: the verdict is in `sweep.json`.
fn finish(
    plan: &SweepPlan,
    dir: &RunDir,
    record: SweepRecord,
    out: &mut impl Write,
) -> std::io::Result<SweepData> {
    let mut err = std::io::stderr();
    let read = match report::read(dir) {
        Ok(read) => read,
        Err(error) => {
            writeln!(err, "error: no report: {error}")?;
            return Ok(data_of(record));
        }
    };
    let forms = plan.points.first().map(|point| point.planned.reports.clone()).unwrap_or_default();
    let files = report::write(dir, &read.data, &forms).or_else(|error| {
        writeln!(err, "error: no report: {error}; `gauntlet report` tries again")?;
        Ok::<_, std::io::Error>(Vec::new())
    })?;
    print::sweep_files(out, &record, dir.path(), &files)?;
    Ok(read.data)
}

fn data_of(record: SweepRecord) -> SweepData {
    SweepData {
        record,
        scenario: String::new(),
        reproduce: String::new(),
        environment: None,
        runs: Default::default(),
    }
}

/// Prints a sweep as it goes: phases, and a line per run. What happens in a run by the second is in its own report.
struct Told<'a, W: Write> {
    out: &'a mut W,
    plan: &'a SweepPlan,
    quiet: bool,
    runs: usize,
}

impl<W: Write> Told<'_, W> {
    fn label(&self, slot: &SlotRecord) -> String {
        let point = self.plan.points.iter().position(|point| point.id == slot.point);
        point.map(|point| self.plan.label(point)).unwrap_or_default()
    }
}

/// A terminal that is gone does not end a sweep.
impl<W: Write> SweepListener for Told<'_, W> {
    fn begins(&mut self, number: usize, slot: &SlotRecord, planned: &Planned) {
        if self.quiet {
            return;
        }
        let judged = planned.expectations.iter().filter(|e| e.severity == Severity::Fail).count();
        let label = self.label(slot);
        let _ = writeln!(
            self.out,
            "{number:>3}/{} {} run {}  {label} · {judged} expectations",
            self.runs, slot.point, slot.repeat
        );
        let _ = self.out.flush();
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
            Progress::Phase(text) if !self.quiet => writeln!(self.out, "       {text}"),
            Progress::Phase(_) | Progress::Second(_) | Progress::Fault(_) => Ok(()),
        };
        let _ = self.out.flush();
    }

    fn ended(&mut self, slot: &SlotRecord) {
        let label = self.label(slot);
        let _ = print::sweep_run(self.out, slot, &label);
        if slot.state == SlotState::Aborted && !self.quiet {
            let _ = writeln!(self.out, "       it has no result: `--resume` runs it again");
        }
        let _ = self.out.flush();
    }

    fn note(&mut self, text: &str) {
        let _ = writeln!(self.out, "note   {text}");
        let _ = self.out.flush();
    }
}
