//! What sweeps and searches have in common: runs that follow each other, each with a directory of its own below that of the
//! series, on brokers that they share.
//!
//! - [`clusters`]: those brokers, and the wait for a run's traces to be gone

pub(crate) mod clusters;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gauntlet_reports::ExitReason;
use gauntlet_reports::record::{Reason, RunRecord};

use crate::plan::{self, ClusterPlan, PlanOptions, Planned};
use crate::report::{self, ReportError};
use crate::run::{Interrupt, unstarted_record};
use crate::rundir::{RunDir, RunDirError, SCENARIO};
use crate::scenario::{LoadedScenario, ScenarioError};
use crate::units;

/// How long deleting a run's topics may take, and finding out that a cluster is whole.
pub(crate) const SETTLE_LIMIT: Duration = Duration::from_secs(90);

/// Why a series could not go on; nothing of it is lost.
#[derive(Debug, thiserror::Error)]
pub enum SeriesError {
    /// Its directory can't be written.
    #[error(transparent)]
    Dir(#[from] RunDirError),
    /// Another process is at it.
    #[error("{} is in use by another gauntlet: wait until it ends, or end it", dir.display())]
    InUse {
        /// The directory of the series.
        dir: PathBuf,
    },
    /// The lock can't be taken.
    #[error("cannot lock {}: {source}", dir.display())]
    Lock {
        /// The directory of the series.
        dir: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// Takes the directory of a series. Held as long as the file is open, whatever becomes of the process.
pub(crate) fn lock(dir: &RunDir) -> Result<File, SeriesError> {
    let path = dir.file(".lock");
    let failed = |source| SeriesError::Lock { dir: dir.path().to_path_buf(), source };
    let file = File::create(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(SeriesError::InUse { dir: dir.path().to_path_buf() }),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// What the plans of all runs of a series have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Series<'a> {
    /// Id of the series; those of its runs begin with it.
    pub(crate) id: &'a str,
    /// A number that differs from series to series.
    pub(crate) run: u32,
    /// The seed.
    pub(crate) seed: u64,
    /// A distribution of Kafka to use instead of the named version.
    pub(crate) kafka_home: Option<&'a Path>,
    /// Where directories go, if not where the scenario says.
    pub(crate) out: Option<&'a Path>,
}

impl Series<'_> {
    /// The plan of one run; `name` ends its id.
    pub(crate) fn plan_run(self, loaded: &LoadedScenario, name: &str) -> Result<Planned, ScenarioError> {
        let mut planned = plan::plan(
            loaded,
            &PlanOptions {
                run_id: format!("{}-{name}", self.id),
                run: self.run,
                seed: self.seed,
                kafka_home: self.kafka_home.map(Path::to_path_buf),
                out: self.out.map(Path::to_path_buf),
            },
        )?;
        planned.plan.seed = self.seed;
        Ok(planned)
    }
}

/// Topics of a run are to be gone before the next one begins. How long a broker waits with deleting files of a topic that is
/// gone is the broker's setting, not the topic's (LogManager), and so is how long after its start it deletes at all: half a minute,
/// which the first run of a series would wait for.
pub(crate) fn delete_quickly(cluster: &mut ClusterPlan) {
    if let ClusterPlan::Local(spec) = cluster {
        for property in ["log.segment.delete.delay.ms", "log.initial.task.delay.ms"] {
            spec.config.entry(property.to_owned()).or_insert_with(|| "1000".to_owned());
        }
    }
}

/// What a warm-up says that holds for cold brokers too, and is not the interruption of the series.
pub(crate) fn counts_in_warmup(reason: &Reason) -> bool {
    matches!(
        reason.exit,
        ExitReason::RollbackFailed
            | ExitReason::Violation
            | ExitReason::InternalError
            | ExitReason::Environment
    )
}

/// What a run that can't be planned any more is told as: what held at first no longer does, for example the disk is full.
pub(crate) fn no_longer_possible(error: &ScenarioError) -> Reason {
    let text = error.diagnostics.first().map_or_else(String::new, |d| d.message.clone());
    Reason { exit: ExitReason::Environment, text }
}

/// Makes the directory of a run, with the scenario in it.
pub(crate) fn create(planned: &Planned, scenario_yaml: &str) -> Result<RunDir, RunDirError> {
    let dir = RunDir::create(&planned.run_dir, &planned.plan.name, &planned.plan.run_id)?;
    dir.replace(SCENARIO, scenario_yaml.as_bytes())?;
    Ok(dir)
}

/// The record of a run without a directory.
pub(crate) fn not_created(planned: &Planned, error: &RunDirError) -> RunRecord {
    let reason = Reason { exit: ExitReason::Environment, text: error.to_string() };
    unstarted_record(&planned.plan, reason)
}

/// Writes the reports of one run. What goes wrong is to be said and changes nothing: the verdict is in `run.json`.
pub(crate) fn write_reports(dir: &RunDir, planned: &Planned) -> Result<(), ReportError> {
    if planned.reports.is_empty() {
        return Ok(());
    }
    report::read(dir).and_then(|run| report::write(dir, &run.data, &planned.reports)).map(drop)
}

/// Pauses between two runs, or until somebody asks to stop.
pub(crate) fn cool_down(length: units::Duration, interrupt: &Interrupt) {
    let end = std::time::Instant::now() + length.to_std();
    while !interrupt.is_set() {
        let left = end.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(Duration::from_millis(100)));
    }
}
