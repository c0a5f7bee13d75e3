//! The plan of a search: its slowest and its fastest trial, and how long all of them may take.

use std::path::PathBuf;
use std::time::Duration;

use gauntlet_reports::expect::Op;
use gauntlet_reports::search::Stage;
use gauntlet_reports::{Expectation, Stat};

use super::rates::Limits;
use crate::plan::{ClusterPlan, Planned, WarmupPlan, search_expectations};
use crate::scenario::search::TrialKind;
use crate::scenario::types::Search;
use crate::scenario::{LoadedScenario, LoadedSearch, ScenarioError};
use crate::series::{SETTLE_LIMIT, Series, delete_quickly};
use crate::units;

/// What the plan of a search depends on besides the file.
#[derive(Debug, Clone)]
pub struct SearchPlanOptions {
    /// Id of the search; those of its trials begin with it.
    pub search_id: String,
    /// A number that differs from search to search.
    pub run: u32,
    /// The seed.
    pub seed: u64,
    /// A distribution of Kafka to use instead of the named version.
    pub kafka_home: Option<PathBuf>,
    /// Where search directories go, if not where the scenario says.
    pub out: Option<PathBuf>,
}

/// Everything that a search may do.
#[derive(Debug, Clone)]
pub struct SearchPlan {
    /// What it was read from.
    pub loaded: LoadedSearch,
    /// The plan of a trial at the highest rate: none needs more of disk and memory, but one that confirms.
    pub highest: Planned,
    /// The plan of a confirmation at the highest rate.
    pub confirmation: Planned,
    /// What is expected of the rate that is found.
    pub expectations: Vec<Expectation>,
    /// The brokers of all trials.
    pub cluster: ClusterPlan,
    /// Replicas of every partition, if all topics have as many.
    pub replication_factor: Option<u16>,
    /// Limit of `produce.latency p99` among what makes a rate sustainable.
    pub p99_limit_ms: Option<f64>,
    /// What it was planned with.
    pub options: SearchPlanOptions,
    /// The directory of the search.
    pub dir: PathBuf,
}

/// Makes the plan of a search.
///
/// # Errors
/// Trials at the highest rate can't be carried out; each reason with its place in the file.
pub fn plan(loaded: LoadedSearch, options: SearchPlanOptions) -> Result<SearchPlan, ScenarioError> {
    let search = &loaded.search;
    let at_highest = |kind, length| {
        let series = options.series();
        loaded.trial(search.high, length, kind).and_then(|trial| series.plan_run(&trial, "t01"))
    };
    let highest = at_highest(TrialKind::Search, search.trial)?;
    let confirmation = at_highest(TrialKind::Confirm, search.confirm)?;
    let longer = if search.confirm > search.trial { &confirmation } else { &highest };
    // Brokers are set for the trial that needs most of their disks, so that all trials have equal ones.
    let mut cluster = longer.plan.cluster.clone();
    delete_quickly(&mut cluster);
    let name = &highest.plan.name;
    Ok(SearchPlan {
        dir: match &options.out {
            Some(out) => out.join(name).join(&options.search_id),
            None => loaded.whole.scenario.with_run_id(&options.search_id).report.path(),
        },
        expectations: search_expectations(&loaded.whole.scenario),
        replication_factor: replication_factor(&highest),
        p99_limit_ms: p99_limit_ms(&highest, search),
        cluster,
        highest,
        confirmation,
        options,
        loaded,
    })
}

fn replication_factor(planned: &Planned) -> Option<u16> {
    let mut factors = planned.plan.topics.iter().map(|topic| topic.replication_factor);
    let first = factors.next()??;
    factors.all(|factor| factor == Some(first)).then_some(first)
}

/// The limit that makes a rate unsustainable by its p99.
fn p99_limit_ms(planned: &Planned, search: &Search) -> Option<f64> {
    let sustainable = planned.expectations.iter().take(search.sustainable.len());
    let is_limit = |e: &&Expectation| {
        e.metric.name == "produce.latency"
            && e.stat == Some(Stat::P99)
            && matches!(e.op, Op::Below | Op::AtMost)
    };
    sustainable.filter(is_limit).map(|e| e.limit).reduce(f64::min)
}

impl SearchPlanOptions {
    /// What the plans of all trials have in common.
    pub(super) fn series(&self) -> Series<'_> {
        Series {
            id: &self.search_id,
            run: self.run,
            seed: self.seed,
            kafka_home: self.kafka_home.as_deref(),
            out: self.out.as_deref(),
        }
    }
}

impl SearchPlan {
    /// What is searched, and how.
    #[must_use]
    pub fn search(&self) -> &Search {
        &self.loaded.search
    }

    /// Between which rates.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let search = self.search();
        Limits {
            low_per_s: search.low.per_s(),
            high_per_s: search.high.per_s(),
            resolution: search.resolution.get(),
        }
    }

    /// Between which rates is searched once more with one broker down, after this rate was found: no cluster does more with fewer
    /// brokers.
    pub(super) fn headroom_limits(&self, found_per_s: f64) -> Limits {
        let high_per_s = (found_per_s.round() as u64).max(1);
        let limits = self.limits();
        Limits { low_per_s: limits.low_per_s.min(high_per_s), high_per_s, ..limits }
    }

    /// How many searches there are.
    fn searches(&self) -> u32 {
        1 + u32::from(self.search().headroom.is_some())
    }

    /// The scenario of a trial.
    pub(super) fn trial(&self, rate_per_s: u64, stage: Stage) -> Result<LoadedScenario, ScenarioError> {
        let (kind, length) = match stage {
            Stage::Search => (TrialKind::Search, self.search().trial),
            Stage::Confirm => (TrialKind::Confirm, self.search().confirm),
        };
        self.loaded.trial(units::Rate::per_second(rate_per_s), length, kind)
    }

    /// The scenario of the load before the first trial.
    pub(super) fn warmup(&self) -> Result<LoadedScenario, ScenarioError> {
        self.loaded.trial(self.search().low, self.search().warmup, TrialKind::WarmUp)
    }

    /// The time of load and pauses alone, warm-ups at their shortest, if nothing is repeated and the first confirmation holds:
    /// nothing can make so many trials faster.
    #[must_use]
    pub fn expected(&self) -> Duration {
        let search = self.search();
        let warmup = match self.highest.plan.load.warmup {
            WarmupPlan::For(warmup) => warmup,
            WarmupPlan::UntilStable { min, .. } => min,
        };
        let trials = self.limits().trials_expected();
        let pauses = search.cooldown.to_std() * trials.saturating_sub(1);
        let loads = (warmup + search.trial.to_std()) * trials.saturating_sub(1);
        search.warmup.to_std() + (loads + warmup + search.confirm.to_std() + pauses) * self.searches()
    }

    /// The longest time of all trials.
    #[must_use]
    pub fn wall(&self) -> Duration {
        let start = match &self.cluster {
            ClusterPlan::Local(spec) => spec.ready_within,
            ClusterPlan::Bootstrap(_) => Duration::ZERO,
        };
        let longest = self.highest.needs.wall.max(self.confirmation.needs.wall);
        let warmup = self.search().warmup.to_std();
        let warmup = if warmup.is_zero() { warmup } else { warmup + longest };
        let each = longest + SETTLE_LIMIT + self.search().cooldown.to_std();
        start + warmup + each * self.limits().trials_max() * self.searches()
    }
}
