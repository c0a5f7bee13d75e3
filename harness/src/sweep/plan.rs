//! The plan of a sweep: every point with its own plan, the order, and how long all of it may take.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use gauntlet_reports::expect::Op;
use gauntlet_reports::{Expectation, Stat};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::order::order;
use super::select::{SelectError, select};
use crate::plan::{self, ClusterPlan, PacePlan, Planned};
use crate::scenario::sweep::{ClusterUse, Point, Sweep, SweepOrder, label};
use crate::scenario::types::{Extent, Shape, Warmup};
use crate::scenario::{Diagnostic, LoadedScenario, LoadedSweep, ScenarioError};
use crate::series::{SETTLE_LIMIT, Series, delete_quickly};

/// What the plan of a sweep depends on besides the file.
#[derive(Debug, Clone)]
pub struct SweepPlanOptions {
    /// Id of the sweep; those of its runs begin with it.
    pub sweep_id: String,
    /// A number that differs from sweep to sweep.
    pub run: u32,
    /// The seed.
    pub seed: u64,
    /// A distribution of Kafka to use instead of the named version.
    pub kafka_home: Option<PathBuf>,
    /// Where sweep directories go, if not where the scenario says.
    pub out: Option<PathBuf>,
    /// `NAME=VALUE`: the points to run; all if there are none.
    pub only: Vec<String>,
}

/// Why a sweep can't be planned.
#[derive(Debug, thiserror::Error)]
pub enum SweepPlanError {
    /// The scenario asks for what this version or this machine cannot do.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// `--only` selects nothing.
    #[error("error: {0}")]
    Only(#[from] SelectError),
}

/// A point with its plan.
#[derive(Debug, Clone)]
pub struct PlannedPoint {
    /// `p01`, …
    pub id: String,
    /// Its values.
    pub parameters: BTreeMap<String, Value>,
    /// Its scenario.
    pub loaded: LoadedScenario,
    /// Its plan, made for its first run.
    pub planned: Planned,
    /// Longest time of the load that warms a cluster up, if this point comes first on one.
    pub warmup_longest: Duration,
}

/// A run of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedRun {
    /// Index of the point.
    pub point: usize,
    /// Which of its runs, from 1.
    pub repeat: u16,
    /// When it ends at the latest, from the begin of the sweep; exact if every run before took as long as it may.
    pub ends_by: Duration,
}

/// Everything that a sweep will do.
#[derive(Debug, Clone)]
pub struct SweepPlan {
    /// Name of the scenario.
    pub name: String,
    /// How its points are run.
    pub sweep: Sweep,
    /// Names of the matrix, in order.
    pub axes: Vec<String>,
    /// The points to run.
    pub points: Vec<PlannedPoint>,
    /// Their runs, in order.
    pub runs: Vec<PlannedRun>,
    /// How often brokers are started, at the most if nothing goes wrong with them.
    pub cluster_starts: usize,
    /// What it was planned with.
    pub options: SweepPlanOptions,
    /// The directory of the sweep.
    pub dir: PathBuf,
    /// The file after profile, `--set` and interpolation.
    pub scenario_yaml: String,
    /// Limit of `produce.latency p99` over all records, where every point has the same.
    pub p99_limit_ms: Option<f64>,
}

/// Makes the plan of a sweep.
///
/// # Errors
/// A point can't be carried out, `--only` selects nothing, or not even the first run fits into `max_wall`.
pub fn plan(mut loaded: LoadedSweep, options: SweepPlanOptions) -> Result<SweepPlan, SweepPlanError> {
    select(&mut loaded, &options.only)?;
    let mut points = Vec::new();
    let mut problems: Vec<Diagnostic> = Vec::new();
    for point in std::mem::take(&mut loaded.points) {
        let which = format!("{} ({})", point.id, label(&loaded.axes, &point.parameters));
        match plan_point(point, &loaded.sweep, &options) {
            Ok(point) => points.push(point),
            Err(error) => add_problems(&mut problems, error, &which),
        }
    }
    if !problems.is_empty() {
        return Err(ScenarioError { diagnostics: problems }.into());
    }
    let first = &points[0];
    let mut sweep = SweepPlan {
        name: first.planned.plan.name.clone(),
        dir: match &options.out {
            Some(out) => out.join(&first.planned.plan.name).join(&options.sweep_id),
            None => first.loaded.scenario.with_run_id(&options.sweep_id).report.path(),
        },
        p99_limit_ms: p99_limit_ms(&points),
        sweep: loaded.sweep,
        axes: loaded.axes,
        runs: Vec::new(),
        cluster_starts: 0,
        scenario_yaml: loaded.resolved_yaml,
        points,
        options,
    };
    sweep.lay_out();
    match (sweep.sweep.max_wall, sweep.runs.first()) {
        (Some(limit), Some(first)) if first.ends_by > limit.to_std() => {
            let longest = crate::units::Duration::from_ns(first.ends_by.as_nanos() as u64);
            let diagnostic = Diagnostic {
                message: format!("not even the first run fits into `sweep.max_wall`: it may take {longest}"),
                place: Some(loaded.max_wall_place),
                label: String::new(),
                help: Some(
                    "raise it, or lower load.duration, load.drain or verify.final_read.timeout".to_owned(),
                ),
            };
            Err(ScenarioError { diagnostics: vec![diagnostic] }.into())
        }
        _ => Ok(sweep),
    }
}

/// Each mistake once, with the first point that has it.
fn add_problems(problems: &mut Vec<Diagnostic>, error: ScenarioError, which: &str) {
    for mut diagnostic in error.diagnostics {
        let message = diagnostic.message.clone();
        let is_known = |known: &Diagnostic| {
            known.place == diagnostic.place && known.message.starts_with(&format!("{message}, at point "))
        };
        if !problems.iter().any(is_known) {
            diagnostic.message = format!("{message}, at point {which}");
            problems.push(diagnostic);
        }
    }
}

fn plan_point(
    point: Point,
    sweep: &Sweep,
    options: &SweepPlanOptions,
) -> Result<PlannedPoint, ScenarioError> {
    let mut planned = plan_run(&point.loaded, options, &format!("{}-r1", point.id))?;
    if sweep.cluster == ClusterUse::Shared {
        delete_quickly(&mut planned.plan.cluster);
    }
    let mut warmup_longest = Duration::ZERO;
    if sweep.warmup.as_ns() > 0 {
        let warmup = warmup_of(&point.loaded, &planned, sweep);
        warmup_longest = plan_run(&warmup, options, "warmup-1")?.needs.wall;
    }
    let Point { id, parameters, loaded } = point;
    Ok(PlannedPoint { id, parameters, loaded, planned, warmup_longest })
}

/// The plan of one run of a sweep: `name` is that of its directory.
pub(super) fn plan_run(
    loaded: &LoadedScenario,
    options: &SweepPlanOptions,
    name: &str,
) -> Result<Planned, ScenarioError> {
    let series = Series {
        id: &options.sweep_id,
        run: options.run,
        seed: options.seed,
        kafka_home: options.kafka_home.as_deref(),
        out: options.out.as_deref(),
    };
    series.plan_run(loaded, name)
}

/// The scenario that warms a cluster up: a point's load for `sweep.warmup`, of which nothing is expected.
pub(super) fn warmup_of(loaded: &LoadedScenario, planned: &Planned, sweep: &Sweep) -> LoadedScenario {
    let mut warmup = loaded.clone();
    let load = &mut warmup.scenario.load;
    load.warmup = Warmup::For(crate::units::Duration::ZERO);
    load.shape = match &load.shape {
        Shape::Unlimited { slots, .. } => {
            Shape::Unlimited { extent: Extent::Duration(sweep.warmup), slots: *slots }
        }
        shape => {
            let per_s = match &planned.plan.load.paces[0] {
                PacePlan::Replay { trace, .. } => trace.mean_per_s(),
                _ => plan::warmup_per_s(shape),
            };
            let rate = crate::units::Rate::per_second(per_s);
            Shape::Constant { rate, duration: sweep.warmup }
        }
    };
    warmup.scenario.workload.producers.iter_mut().for_each(|block| block.load = None);
    warmup.scenario.expect.clear();
    warmup
}

/// The limit that the scenario sets for the p99 that charts show.
fn p99_limit_ms(points: &[PlannedPoint]) -> Option<f64> {
    let of = |point: &PlannedPoint| {
        let is_limit = |e: &&Expectation| {
            e.metric.name == "produce.latency"
                && e.stat == Some(Stat::P99)
                && e.during == "all"
                && matches!(e.op, Op::Below | Op::AtMost)
        };
        point.planned.expectations.iter().find(is_limit).map(|e| e.limit)
    };
    let limit = of(&points[0])?;
    points.iter().all(|point| of(point) == Some(limit)).then_some(limit)
}

impl SweepPlan {
    /// Puts the runs in order, and adds up how long they may take.
    fn lay_out(&mut self) {
        let shares = self.sweep.cluster == ClusterUse::Shared;
        let cluster_of = |index: usize| &self.points[index].planned.plan.cluster;
        let first_with =
            |index: usize| (0..=index).find(|other| cluster_of(*other).is_same(cluster_of(index)));
        let groups: Vec<usize> = (0..self.points.len())
            .map(|index| if shares { first_with(index).unwrap_or(index) } else { 0 })
            .collect();
        let slots = order(&groups, self.sweep.repeats, self.sweep.order, self.options.seed);
        let mut elapsed = Duration::ZERO;
        let mut on_cluster = None;
        for (point, repeat) in slots {
            let is_new = !shares || on_cluster != Some(groups[point]);
            on_cluster = Some(groups[point]);
            self.cluster_starts += usize::from(is_new);
            elapsed += self.longest(point, is_new);
            self.runs.push(PlannedRun { point, repeat, ends_by: elapsed });
            elapsed += self.sweep.cooldown.to_std();
        }
    }

    /// The longest time of a run, with starting its cluster and warming it up if that `is_new`.
    #[must_use]
    pub fn longest(&self, point: usize, is_new: bool) -> Duration {
        let point = &self.points[point];
        let start = match &point.planned.plan.cluster {
            ClusterPlan::Local(spec) if is_new => spec.ready_within,
            _ => Duration::ZERO,
        };
        let warmup = if is_new { point.warmup_longest } else { Duration::ZERO };
        start + warmup + point.planned.needs.wall + SETTLE_LIMIT
    }

    /// The longest time of all runs.
    #[must_use]
    pub fn wall(&self) -> Duration {
        self.runs.last().map_or(Duration::ZERO, |run| run.ends_by)
    }

    /// The time of load and pauses alone, warm-ups at their shortest: nothing can make it faster.
    #[must_use]
    pub fn least(&self) -> Duration {
        let load = self.runs.iter().map(|run| {
            let load = &self.points[run.point].planned.plan.load;
            let warmup = match load.warmup {
                plan::WarmupPlan::For(warmup) => warmup,
                plan::WarmupPlan::UntilStable { min, .. } => min,
            };
            warmup + load.duration.unwrap_or_default()
        });
        let pauses = self.sweep.cooldown.to_std() * (self.runs.len() as u32).saturating_sub(1);
        let warmups = match self.sweep.cluster {
            ClusterUse::Shared => self.sweep.warmup.to_std() * self.cluster_starts as u32,
            ClusterUse::PerPoint => Duration::ZERO,
        };
        load.sum::<Duration>() + pauses + warmups
    }

    /// Runs that may not be begun, because they could end after `max_wall`.
    #[must_use]
    pub fn may_not_fit(&self) -> usize {
        let limit = self.sweep.max_wall.map(crate::units::Duration::to_std);
        limit.map_or(0, |limit| self.runs.iter().filter(|run| run.ends_by > limit).count())
    }

    /// `batch_size=65536, codec=lz4`.
    #[must_use]
    pub fn label(&self, point: usize) -> String {
        label(&self.axes, &self.points[point].parameters)
    }

    /// What the order is called.
    #[must_use]
    pub fn order_name(&self) -> &'static str {
        match self.sweep.order {
            SweepOrder::Shuffled => "shuffled",
            SweepOrder::AsWritten => "as-written",
        }
    }

    /// SHA-256 of the scenario, in hexadecimal digits.
    #[must_use]
    pub fn scenario_sha256(&self) -> String {
        Sha256::digest(self.scenario_yaml.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
