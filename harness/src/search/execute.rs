//! Carrying a search out. `search.json` is replaced before and after every trial, so that whatever ends the process, what was
//! found is there.

use std::time::{Instant, SystemTime};

use gauntlet_reports::ExitReason;
use gauntlet_reports::record::{Reason, RunRecord, RunState};
use gauntlet_reports::search::{
    Finding, HeadroomRecord, SEARCH_SCHEMA_VERSION, SearchRecord, Stage, TrialRecord, TrialState,
    WarmUpRecord,
};

use super::SEARCH_JSON;
use super::plan::SearchPlan;
use super::rates::{Answer, Limits, Rates, Step};
use crate::intervals::Second;
use crate::plan::Planned;
use crate::run::{self, Progress, RunError, RunOptions};
use crate::rundir::{RunDir, RunDirError};
use crate::scenario::{LoadedScenario, ScenarioError};
use crate::series::clusters::{ClusterFiles, Clusters};
use crate::series::{self, SeriesError, counts_in_warmup};

/// What is told when the search goes on with one broker fewer.
pub const TAKING_DOWN: &str = "taking one broker down";

/// Who is told how a search goes.
pub trait SearchListener {
    /// A trial begins.
    fn begins(&mut self, trial: &TrialRecord, planned: &Planned);
    /// A warm-up load begins, in this directory.
    fn warms_up(&mut self, dir: &str, planned: &Planned);
    /// What goes on in a trial or a warm-up.
    fn progress(&mut self, progress: &Progress<'_>);
    /// A trial came to its end.
    fn ended(&mut self, trial: &TrialRecord);
}

/// The record of a search that has not begun.
#[must_use]
pub fn first_record(plan: &SearchPlan) -> SearchRecord {
    let search = plan.search();
    SearchRecord {
        schema_version: SEARCH_SCHEMA_VERSION,
        state: RunState::Running,
        verdict: None,
        exit_code: None,
        reasons: Vec::new(),
        name: plan.highest.plan.name.clone(),
        description: plan.loaded.whole.scenario.description.clone(),
        search_id: plan.options.search_id.clone(),
        seed: plan.options.seed,
        started_at: run::rfc3339(SystemTime::now()),
        wall_s: 0.0,
        gauntlet: env!("CARGO_PKG_VERSION").to_owned(),
        low_per_s: search.low.per_s(),
        high_per_s: search.high.per_s(),
        resolution: search.resolution.get(),
        target_per_s: search.target.map(crate::units::Rate::per_s),
        trial_s: search.trial.to_std().as_secs_f64(),
        confirm_s: search.confirm.to_std().as_secs_f64(),
        sustainable: search.sustainable.clone(),
        p99_limit_ms: plan.p99_limit_ms,
        replication_factor: plan.replication_factor,
        trials: Vec::new(),
        warmups: Vec::new(),
        finding: None,
        headroom: search.headroom.map(|_| HeadroomRecord::default()),
        expect: Vec::new(),
    }
}

/// Searches. What goes wrong in a trial is in its record; the search ends early if a trial has no result, because nobody knows then
/// which rate is next.
///
/// # Errors
/// The directory of the search is in use, or can't be written any more.
pub fn execute(
    plan: &SearchPlan,
    options: &RunOptions,
    listener: &mut dyn SearchListener,
) -> Result<SearchRecord, SeriesError> {
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
        record: first_record(plan),
        clusters: Clusters::new(files),
        one_down: false,
    };
    session.write()?;
    let (finding, mut ended) = match session.search(plan.limits())? {
        Ok(finding) => (Some(finding), Vec::new()),
        Err(reason) => (None, vec![reason]),
    };
    if let Some(rate_per_s) = finding.as_ref().and_then(|finding| finding.rate_per_s) {
        ended.extend(session.search_with_one_down(rate_per_s)?);
    }
    if let Err(error) = session.clusters.end() {
        ended.push(Reason { exit: ExitReason::Environment, text: format!("ending the cluster: {error}") });
    }
    session.record.wall_s = session.begun.elapsed().as_secs_f64();
    session.record.conclude(finding, ended, &plan.expectations);
    session.write()?;
    Ok(session.record)
}

/// What is known of a trial besides its own record.
#[derive(Debug, Default)]
struct Seen {
    lag_max: Option<u64>,
    acked: u64,
    wire_bytes: u64,
}

impl Seen {
    fn second(&mut self, second: &Second, length_s: f64) {
        self.acked += second.acked;
        self.wire_bytes += second.wire_bytes;
        // A second belongs to the load if its end does; what is behind is drain.
        if second.t_s.is_some_and(|t_s| t_s > 0.0 && t_s <= length_s + 0.5) {
            self.lag_max = self.lag_max.max(Some(second.lag));
        }
    }

    fn stored_bytes_per_record(&self) -> Option<f64> {
        (self.acked > 0 && self.wire_bytes > 0).then(|| self.wire_bytes as f64 / self.acked as f64)
    }
}

struct Session<'a> {
    plan: &'a SearchPlan,
    options: &'a RunOptions,
    listener: &'a mut dyn SearchListener,
    begun: Instant,
    record: SearchRecord,
    clusters: Clusters<'a>,
    /// Whether trials are with one broker down.
    one_down: bool,
}

impl Session<'_> {
    fn write(&self) -> Result<(), RunDirError> {
        let json = serde_json::to_vec_pretty(&self.record).unwrap_or_default();
        self.options.dir.replace(SEARCH_JSON, &json)
    }

    /// Trial after trial. The inner error is why it ended without an answer.
    fn search(&mut self, limits: Limits) -> Result<Result<Finding, Reason>, SeriesError> {
        let before = self.record.trials.len() as u32;
        let mut rates = Rates::new(limits);
        loop {
            let (rate_per_s, stage) = match rates.step() {
                Step::End(finding) => {
                    // Trials are counted through, whichever search they belong to.
                    let confirmed_by = finding.confirmed_by.map(|number| before + number);
                    return Ok(Ok(Finding { confirmed_by, ..finding }));
                }
                Step::Try { rate_per_s, stage } => (rate_per_s, stage),
            };
            if !self.record.trials.is_empty() {
                series::cool_down(self.plan.search().cooldown, &self.options.interrupt);
            }
            if self.options.interrupt.is_set() {
                return Ok(Err(interrupted()));
            }
            match self.trial(rate_per_s, stage)? {
                Ok(answer) => rates.tell(answer),
                Err(reason) => return Ok(Err(reason)),
            }
        }
    }

    /// Once more, with one broker down, if the scenario asks for it: up to the rate that was found. Returns why it ended without an
    /// answer.
    fn search_with_one_down(&mut self, found_per_s: f64) -> Result<Option<Reason>, SeriesError> {
        if self.record.headroom.is_none() {
            return Ok(None);
        }
        self.one_down = true;
        let found = self.search(self.plan.headroom_limits(found_per_s))?;
        Ok(match (found, &mut self.record.headroom) {
            (Ok(finding), Some(headroom)) => {
                headroom.finding = Some(finding);
                None
            }
            (Ok(_), None) => None,
            (Err(reason), _) => Some(reason),
        })
    }

    /// One trial, on the cluster of all. The inner error is why it has no result.
    fn trial(&mut self, rate_per_s: u64, stage: Stage) -> Result<Result<Answer, Reason>, SeriesError> {
        let number = self.record.trials.len() as u32 + 1;
        let name = format!("trial-{number:02}-{rate_per_s}");
        let scenario = self.plan.trial(rate_per_s, stage);
        let planned = scenario
            .and_then(|scenario| Ok((self.planned(&scenario, &format!("t{number:02}"), &name)?, scenario)));
        let (planned, scenario) = match planned {
            Ok(planned) => planned,
            Err(error) => return Ok(Err(series::no_longer_possible(&error))),
        };
        if let Some(reason) = self.make_ready()? {
            return Ok(Err(reason));
        }
        let down = self.record.headroom.as_ref().and_then(|headroom| headroom.down);
        self.record.trials.push(TrialRecord::new(number, stage, rate_per_s, down, name));
        self.write()?;
        self.listener.begins(&self.record.trials[number as usize - 1], &planned);
        let mut seen = Seen::default();
        let run = self.run(&planned, &scenario.resolved_yaml, &mut seen);
        let Some(trial) = self.record.trials.last_mut() else { return Ok(Err(interrupted())) };
        let run = match run {
            Ok(run) => run,
            Err(error) => {
                trial.state = TrialState::Aborted;
                return Ok(Err(no_cluster(&error)));
            }
        };
        trial.finish(&run, self.plan.search().sustainable.len());
        trial.lag_max = seen.lag_max.filter(|_| !planned.plan.readers.is_empty());
        trial.stored_bytes_per_record = seen.stored_bytes_per_record();
        let achieved_per_s = trial.figures.as_ref().and_then(|figures| figures.throughput);
        let hold = trial.hold;
        self.record.wall_s = self.begun.elapsed().as_secs_f64();
        self.write()?;
        self.listener.ended(&self.record.trials[number as usize - 1]);
        Ok(match hold {
            Some(hold) => Ok(Answer { hold, achieved_per_s }),
            None if self.options.interrupt.is_set() => Err(interrupted()),
            None => Err(no_result(number, &run)),
        })
    }

    fn planned(&self, scenario: &LoadedScenario, id: &str, name: &str) -> Result<Planned, ScenarioError> {
        let mut planned = self.plan.options.series().plan_run(scenario, id)?;
        planned.plan.cluster = self.plan.cluster.clone();
        planned.run_dir = self.options.dir.file(name);
        Ok(planned)
    }

    /// Starts the cluster and warms it up, unless it runs already, and takes one broker down if that is what is searched for. Returns
    /// why it can't be used.
    fn make_ready(&mut self) -> Result<Option<Reason>, SeriesError> {
        let reason = self.start_cluster()?;
        if reason.is_some() || !self.one_down || self.clusters.lost().is_some() {
            return Ok(reason);
        }
        self.listener.progress(&Progress::Phase(TAKING_DOWN));
        match (self.clusters.lose_broker(), &mut self.record.headroom) {
            (Ok(lost), Some(headroom)) => headroom.down = Some(lost),
            (Ok(_), None) => {}
            (Err(error), _) => return Ok(Some(no_cluster(&error))),
        }
        Ok(self.options.interrupt.is_set().then(interrupted))
    }

    fn start_cluster(&mut self) -> Result<Option<Reason>, SeriesError> {
        if self.clusters.has(&self.plan.cluster) {
            return Ok(None);
        }
        self.listener.progress(&Progress::Phase("starting the cluster"));
        if let Err(error) = self.clusters.get(&self.plan.cluster) {
            return Ok(Some(no_cluster(&error)));
        }
        if self.plan.search().warmup.as_ns() > 0 {
            self.warm_up()?;
        }
        Ok(self.options.interrupt.is_set().then(interrupted))
    }

    /// The load before the first trial on a cluster. Only what cannot be blamed on cold brokers counts.
    fn warm_up(&mut self) -> Result<(), SeriesError> {
        let number = self.record.warmups.len() + 1;
        let name = format!("warmup-{number}");
        let scenario = self.plan.warmup();
        let planned = scenario
            .and_then(|scenario| Ok((self.planned(&scenario, &format!("w{number:02}"), &name)?, scenario)));
        let mut reasons = match planned {
            Ok((mut planned, scenario)) => {
                planned.expectations.clear();
                self.listener.warms_up(&name, &planned);
                match self.run(&planned, &scenario.resolved_yaml, &mut Seen::default()) {
                    Ok(run) => run.reasons.into_iter().filter(counts_in_warmup).collect(),
                    Err(error) => vec![no_cluster(&error)],
                }
            }
            Err(error) => vec![series::no_longer_possible(&error)],
        };
        for reason in &mut reasons {
            reason.text = format!("{name}: {}", reason.text);
        }
        self.record.warmups.push(WarmUpRecord { dir: name, reasons });
        Ok(self.write()?)
    }

    /// One run on the cluster, with its directory and its reports.
    fn run(
        &mut self,
        planned: &Planned,
        scenario_yaml: &str,
        seen: &mut Seen,
    ) -> Result<RunRecord, RunError> {
        let dir = match series::create(planned, scenario_yaml) {
            Ok(dir) => dir,
            Err(error) => return Ok(series::not_created(planned, &error)),
        };
        let options = RunOptions { dir: dir.clone(), ..self.options.clone() };
        let length_s = planned.plan.load.duration.unwrap_or_default().as_secs_f64();
        let listener = &mut *self.listener;
        let run = self.clusters.run(&planned.plan, &planned.expectations, &options, &mut |progress| {
            if let Progress::Second(second) = &progress {
                seen.second(second, length_s);
            }
            listener.progress(&progress);
        })?;
        self.write_reports(&dir, planned);
        Ok(run)
    }

    /// What goes wrong is said and changes nothing: the verdict is in `run.json`.
    fn write_reports(&mut self, dir: &RunDir, planned: &Planned) {
        if let Err(error) = series::write_reports(dir, planned) {
            let text = format!("no report: {error}; `gauntlet report` tries again");
            self.listener.progress(&Progress::Note(&text));
        }
    }
}

fn interrupted() -> Reason {
    let text = "a signal ended the search before a rate was confirmed".to_owned();
    Reason { exit: ExitReason::Aborted, text }
}

/// Nothing can be measured without brokers.
fn no_cluster(error: &RunError) -> Reason {
    Reason {
        exit: ExitReason::Environment,
        text: format!("the cluster did not start, or not go on: {error}"),
    }
}

/// The trial's own reasons are told with it.
fn no_result(number: u32, run: &RunRecord) -> Reason {
    let exit = ExitReason::worst(run.reasons.iter().map(|reason| reason.exit));
    let exit = if exit == ExitReason::Pass { ExitReason::InternalError } else { exit };
    Reason { exit, text: format!("trial {number} has no result, so nobody knows which rate is next") }
}
