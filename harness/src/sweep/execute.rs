//! Carrying a sweep out. `sweep.json` is replaced before and after every run, so that whatever ends the process, what was found
//! is there, and what is missing can be run later.

use std::time::{Instant, SystemTime};

use gauntlet_reports::ExitReason;
use gauntlet_reports::record::{Reason, RunRecord, RunState};
use gauntlet_reports::sweep::{
    PointRecord, SWEEP_SCHEMA_VERSION, SlotRecord, SlotState, SweepRecord, WarmupRecord,
};

use super::SWEEP_JSON;
use super::plan::{PlannedPoint, SweepPlan, plan_run, warmup_of};
use crate::plan::Planned;
use crate::run::{self, Progress, RunError, RunOptions, unstarted_record};
use crate::rundir::{RunDir, RunDirError};
use crate::scenario::sweep::{ClusterUse, OnFail};
use crate::series::clusters::{ClusterFiles, Clusters};
use crate::series::{self, SeriesError, counts_in_warmup};

/// Who is told how a sweep goes.
pub trait SweepListener {
    /// A run begins: the `number`th of all.
    fn begins(&mut self, number: usize, slot: &SlotRecord, planned: &Planned);
    /// A warm-up load begins, in this directory.
    fn warms_up(&mut self, dir: &str, planned: &Planned);
    /// What goes on in a run or a warm-up.
    fn progress(&mut self, progress: &Progress<'_>);
    /// A run came to its end.
    fn ended(&mut self, slot: &SlotRecord);
    /// Something that a person should know.
    fn note(&mut self, text: &str);
}

/// The record of a sweep that has not begun.
#[must_use]
pub fn first_record(plan: &SweepPlan) -> SweepRecord {
    let points = plan.points.iter().map(|point| PointRecord {
        id: point.id.clone(),
        parameters: point.parameters.clone(),
        verdict: None,
    });
    let runs = plan.runs.iter().map(|run| SlotRecord::new(&plan.points[run.point].id, run.repeat));
    SweepRecord {
        schema_version: SWEEP_SCHEMA_VERSION,
        state: RunState::Running,
        verdict: None,
        exit_code: None,
        reasons: Vec::new(),
        name: plan.name.clone(),
        description: plan.points.first().and_then(|point| point.loaded.scenario.description.clone()),
        sweep_id: plan.options.sweep_id.clone(),
        seed: plan.options.seed,
        started_at: run::rfc3339(SystemTime::now()),
        wall_s: 0.0,
        gauntlet: env!("CARGO_PKG_VERSION").to_owned(),
        scenario_sha256: plan.scenario_sha256(),
        kafka_home: plan.options.kafka_home.as_ref().map(|home| home.display().to_string()),
        only: plan.options.only.clone(),
        axes: plan.axes.clone(),
        repeats: plan.sweep.repeats,
        order: plan.order_name().to_owned(),
        cooldown_s: plan.sweep.cooldown.to_std().as_secs_f64(),
        max_wall_s: plan.sweep.max_wall.map(|limit| limit.to_std().as_secs_f64()),
        p99_limit_ms: plan.p99_limit_ms,
        points: points.collect(),
        runs: runs.collect(),
        warmups: Vec::new(),
    }
}

/// Runs what has no result yet in `record`. What goes wrong in a run is in its record, and the sweep goes on, unless the cluster
/// can't be started, a fault can't be undone, or `on_fail` says otherwise.
///
/// # Errors
/// The directory of the sweep is in use, or can't be written any more.
pub fn execute(
    plan: &SweepPlan,
    record: SweepRecord,
    options: &RunOptions,
    listener: &mut dyn SweepListener,
) -> Result<SweepRecord, SeriesError> {
    let _lock = series::lock(&options.dir)?;
    let files = ClusterFiles {
        dir: options.dir.path(),
        cache: &options.cache,
        keep_data: options.keep_data,
        launcher: &options.launcher,
    };
    let mut session = Session {
        plan,
        options,
        listener,
        begun: Instant::now(),
        wall_before_s: record.wall_s,
        record,
        clusters: Clusters::new(files),
    };
    session.record.state = RunState::Running;
    let mut ended = session.run_all()?;
    if let Err(error) = session.clusters.end() {
        ended.push(Reason { exit: ExitReason::Environment, text: format!("ending the cluster: {error}") });
    }
    let is_whole = session.record.runs.iter().all(|run| run.state == SlotState::Done);
    let state = if is_whole { RunState::Done } else { RunState::Aborted };
    session.record.wall_s = session.wall_s();
    session.record.conclude(state, ended);
    session.write()?;
    Ok(session.record)
}

/// Whether the sweep goes on after a run.
enum After {
    /// The next run follows.
    GoOn,
    /// It ends, for this reason.
    End(Reason),
}

struct Session<'a> {
    plan: &'a SweepPlan,
    options: &'a RunOptions,
    listener: &'a mut dyn SweepListener,
    begun: Instant,
    /// Wall time of earlier sessions.
    wall_before_s: f64,
    record: SweepRecord,
    clusters: Clusters<'a>,
}

impl Session<'_> {
    fn wall_s(&self) -> f64 {
        self.wall_before_s + self.begun.elapsed().as_secs_f64()
    }

    fn write(&self) -> Result<(), RunDirError> {
        let json = serde_json::to_vec_pretty(&self.record).unwrap_or_default();
        self.options.dir.replace(SWEEP_JSON, &json)
    }

    /// Every run that has no result. Returns why it ended early.
    fn run_all(&mut self) -> Result<Vec<Reason>, SeriesError> {
        let mut is_first = true;
        for index in 0..self.record.runs.len() {
            if self.record.runs[index].state == SlotState::Done {
                continue;
            }
            if !is_first {
                series::cool_down(self.plan.sweep.cooldown, &self.options.interrupt);
            }
            is_first = false;
            if let Some(reason) = self.must_end(index) {
                self.leave_out(index, &reason);
                return Ok(vec![reason]);
            }
            if let After::End(reason) = self.run_slot(index)? {
                self.leave_out(index, &reason);
                return Ok(vec![reason]);
            }
        }
        Ok(Vec::new())
    }

    /// Why the next run must not be begun.
    fn must_end(&self, index: usize) -> Option<Reason> {
        if self.options.interrupt.is_set() {
            let text = "a signal ended the sweep before all runs were done".to_owned();
            return Some(Reason { exit: ExitReason::Aborted, text });
        }
        let limit = self.plan.sweep.max_wall?;
        let point = self.point_of(index)?;
        let is_new = !self.clusters.has(&self.plan.points[point].planned.plan.cluster);
        let could_end = self.begun.elapsed() + self.plan.longest(point, is_new);
        (could_end > limit.to_std()).then(|| Reason {
            exit: ExitReason::Inconclusive,
            text: format!("the next run could have ended after `max_wall`, {limit}"),
        })
    }

    fn point_of(&self, index: usize) -> Option<usize> {
        let id = &self.record.runs[index].point;
        self.plan.points.iter().position(|point| point.id == *id)
    }

    /// Says of every run from `index` on that has not begun why it did not. An interrupted one keeps its own reasons.
    fn leave_out(&mut self, index: usize, reason: &Reason) {
        let left = self.record.runs[index..].iter_mut().filter(|run| run.state == SlotState::NotRun);
        for run in left {
            run.reasons = vec![Reason { exit: reason.exit, text: format!("not run: {}", reason.text) }];
        }
    }

    fn run_slot(&mut self, index: usize) -> Result<After, SeriesError> {
        let Some(point) = self.point_of(index) else { return Ok(After::GoOn) };
        let point = &self.plan.points[point];
        let slot = &mut self.record.runs[index];
        slot.attempts += 1;
        let name = match slot.attempts {
            1 => format!("{}-r{}", slot.point, slot.repeat),
            attempt => format!("{}-r{}-a{attempt}", slot.point, slot.repeat),
        };
        *slot = SlotRecord {
            attempts: slot.attempts,
            state: SlotState::Running,
            dir: Some(name.clone()),
            ..SlotRecord::new(&slot.point, slot.repeat)
        };
        self.write()?;
        let mut planned = match plan_run(&point.loaded, &self.plan.options, &name) {
            Ok(planned) => planned,
            Err(error) => {
                let run = unstarted_record(&point.planned.plan, series::no_longer_possible(&error));
                return self.finish(index, &run);
            }
        };
        planned.plan.cluster = point.planned.plan.cluster.clone();
        planned.run_dir = self.options.dir.file(&name);
        self.listener.begins(index + 1, &self.record.runs[index], &planned);
        let run = match self.plan.sweep.cluster {
            ClusterUse::PerPoint => self.run_alone(point, &planned),
            ClusterUse::Shared => match self.run_shared(point, &planned)? {
                Ok(run) => run,
                Err(error) => return Ok(self.no_cluster(index, &error)),
            },
        };
        self.finish(index, &run)
    }

    /// Takes over what a run found, and decides whether the next one follows.
    fn finish(&mut self, index: usize, run: &RunRecord) -> Result<After, SeriesError> {
        let slot = &mut self.record.runs[index];
        slot.finish(run);
        let exit = slot.exit_reason().unwrap_or(ExitReason::InternalError);
        let which = format!("{} run {}", slot.point, slot.repeat);
        self.listener.ended(&self.record.runs[index]);
        self.record.wall_s = self.wall_s();
        self.record.judge_points();
        self.write()?;
        let failed = !matches!(exit, ExitReason::Pass | ExitReason::Inconclusive | ExitReason::Aborted);
        Ok(match exit {
            ExitReason::RollbackFailed => {
                After::End(Reason { exit, text: format!("a fault of {which} could not be undone") })
            }
            _ if failed && self.plan.sweep.on_fail == OnFail::Stop => After::End(Reason {
                exit: ExitReason::Inconclusive,
                text: format!("{which} failed, and `on_fail` is `stop`"),
            }),
            _ => After::GoOn,
        })
    }

    /// Nothing can be measured without brokers.
    fn no_cluster(&mut self, index: usize, error: &RunError) -> After {
        let text = format!("the cluster did not start: {error}");
        let reason = Reason { exit: ExitReason::Environment, text };
        let slot = &mut self.record.runs[index];
        slot.state = SlotState::Aborted;
        slot.exit_code = Some(reason.exit.code());
        slot.reasons = vec![reason.clone()];
        After::End(reason)
    }

    /// A run with a cluster of its own.
    fn run_alone(&mut self, point: &PlannedPoint, planned: &Planned) -> RunRecord {
        let dir = match series::create(planned, &point.loaded.resolved_yaml) {
            Ok(dir) => dir,
            Err(error) => return series::not_created(planned, &error),
        };
        let options = self.run_options(&dir);
        let listener = &mut *self.listener;
        let run =
            run::execute(&planned.plan, &planned.faults, &planned.expectations, &options, &mut |progress| {
                listener.progress(&progress)
            });
        self.write_reports(&dir, planned);
        run
    }

    /// A run on the cluster that it shares with others, which is warmed up if it is new.
    fn run_shared(
        &mut self,
        point: &PlannedPoint,
        planned: &Planned,
    ) -> Result<Result<RunRecord, RunError>, SeriesError> {
        if !self.clusters.has(&planned.plan.cluster) {
            self.listener.progress(&Progress::Phase("starting the cluster"));
            if let Err(error) = self.clusters.get(&planned.plan.cluster) {
                return Ok(Err(error));
            }
            if self.plan.sweep.warmup.as_ns() > 0 {
                self.warm_up(point)?;
            }
        }
        let dir = match series::create(planned, &point.loaded.resolved_yaml) {
            Ok(dir) => dir,
            Err(error) => return Ok(Ok(series::not_created(planned, &error))),
        };
        let run = self.on_cluster(planned, &dir, true);
        self.write_reports(&dir, planned);
        Ok(run)
    }

    /// One run on the shared cluster, and the wait for its traces to be gone.
    fn on_cluster(
        &mut self,
        planned: &Planned,
        dir: &RunDir,
        is_judged: bool,
    ) -> Result<RunRecord, RunError> {
        let mut options = self.run_options(dir);
        if !is_judged {
            options.stumble = None;
        }
        let expectations = if is_judged { &planned.expectations[..] } else { &[] };
        let listener = &mut *self.listener;
        self.clusters.run(&planned.plan, expectations, &options, &mut |progress| listener.progress(&progress))
    }

    /// The first load on a new cluster. Only what cannot be blamed on cold brokers counts.
    fn warm_up(&mut self, point: &PlannedPoint) -> Result<(), SeriesError> {
        let name = format!("warmup-{}", self.record.warmups.len() + 1);
        let mut warmup = WarmupRecord { dir: name.clone(), point: point.id.clone(), reasons: Vec::new() };
        let loaded = warmup_of(&point.loaded, &point.planned, &self.plan.sweep);
        match plan_run(&loaded, &self.plan.options, &name) {
            Ok(mut planned) => {
                planned.plan.cluster = point.planned.plan.cluster.clone();
                planned.run_dir = self.options.dir.file(&name);
                self.listener.warms_up(&name, &planned);
                let run = match series::create(&planned, &point.loaded.resolved_yaml) {
                    Ok(dir) => self.on_cluster(&planned, &dir, false),
                    Err(error) => Ok(series::not_created(&planned, &error)),
                };
                warmup.reasons = match run {
                    Ok(run) => run.reasons.into_iter().filter(counts_in_warmup).collect(),
                    Err(error) => {
                        vec![Reason { exit: ExitReason::Environment, text: error.to_string() }]
                    }
                };
            }
            Err(error) => warmup.reasons.push(series::no_longer_possible(&error)),
        }
        for reason in &mut warmup.reasons {
            reason.text = format!("{name}: {}", reason.text);
        }
        self.record.warmups.push(warmup);
        Ok(self.write()?)
    }

    fn run_options(&self, dir: &RunDir) -> RunOptions {
        RunOptions { dir: dir.clone(), ..self.options.clone() }
    }

    /// The reports of one run. What goes wrong is said and changes nothing: the verdict is in `run.json`.
    fn write_reports(&mut self, dir: &RunDir, planned: &Planned) {
        if let Err(error) = series::write_reports(dir, planned) {
            self.listener.note(&format!("no report: {error}; `gauntlet report` tries again"));
        }
    }
}
