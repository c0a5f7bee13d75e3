//! `search.json`: what a search for the highest rate found, trial by trial. Trials have directories with a `run.json` each; what
//! is repeated here is what the search went by.
//!
//! - [`trial`]: one trial, and whether its rate held
//! - [`conclude`](mod@conclude): the verdict
//! - [`storage`]: what the rate means for disks
//! - [`words`]: what it came to, in a sentence

use serde::{Deserialize, Serialize};

use crate::exit_code::ExitReason;
use crate::record::{Environment, ExpectRecord, Reason, RunState};
use crate::verdict::Verdict;

pub mod conclude;
pub mod storage;
pub mod trial;
pub mod words;

pub use trial::{Hold, RuleRecord, Stage, TrialRecord, TrialState};

/// Version of the layout of `search.json`.
pub const SEARCH_SCHEMA_VERSION: u32 = 1;

/// What kept the rate from being higher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// The cluster: at the next higher rate that was tried, something broke.
    Cluster,
    /// gauntlet or its host: at the next higher rate that was tried, nobody could say what it was.
    Ourselves,
    /// The search: it does not go any higher.
    High,
}

/// What a search came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// The highest rate that was confirmed, and never more than was acked per second while it was; `null` if none was.
    pub rate_per_s: Option<f64>,
    /// Number of the trial that confirmed it.
    pub confirmed_by: Option<u32>,
    /// The lowest rate that did not hold; `null` if every rate did.
    pub not_held_per_s: Option<u64>,
    /// What was the limit there.
    pub limit: Limit,
}

/// The search once more, with one broker down.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadroomRecord {
    /// The broker that was killed before it; `null` if it did not come to that.
    pub down: Option<i32>,
    /// What it came to; `null` if it did not come to its end.
    pub finding: Option<Finding>,
}

/// The load before the first trial on a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmUpRecord {
    /// Its directory, in the search's.
    pub dir: String,
    /// What came of it that counts: violations, and what kept it from its end. Its latencies are nobody's.
    pub reasons: Vec<Reason>,
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchRecord {
    /// [`SEARCH_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// How far it got.
    pub state: RunState,
    /// The verdict; `null` while it runs.
    pub verdict: Option<Verdict>,
    /// The exit code; `null` until there is one.
    pub exit_code: Option<u8>,
    /// Every reason for it, the weightiest first.
    pub reasons: Vec<Reason>,
    /// Name of the scenario.
    pub name: String,
    /// What it claims, in its own words.
    pub description: Option<String>,
    /// Id of the search.
    pub search_id: String,
    /// The seed of every trial.
    pub seed: u64,
    /// Begin, RFC 3339 in UTC.
    pub started_at: String,
    /// Wall time.
    pub wall_s: f64,
    /// Version of gauntlet.
    pub gauntlet: String,
    /// Rate of the first trial.
    pub low_per_s: u64,
    /// Highest rate that a trial may have.
    pub high_per_s: u64,
    /// How close the ends have to be, as a share.
    pub resolution: f64,
    /// The rate that is needed, where the scenario says one.
    pub target_per_s: Option<u64>,
    /// Length of a trial, without its warm-up.
    pub trial_s: f64,
    /// Length of a trial that confirms.
    pub confirm_s: f64,
    /// What must hold for a rate to hold.
    pub sustainable: Vec<String>,
    /// Limit of `produce.latency p99` among them.
    pub p99_limit_ms: Option<f64>,
    /// Replicas of every partition; `null` if topics differ, or nobody knows.
    pub replication_factor: Option<u16>,
    /// Trials, in order.
    pub trials: Vec<TrialRecord>,
    /// Warm-ups, in order.
    pub warmups: Vec<WarmUpRecord>,
    /// What it came to; `null` if it did not come to its end.
    pub finding: Option<Finding>,
    /// The same with one broker down; `null` if the scenario does not ask for it.
    pub headroom: Option<HeadroomRecord>,
    /// Expectations over the search, in order.
    pub expect: Vec<ExpectRecord>,
}

impl SearchRecord {
    /// The trial that confirmed the rate.
    #[must_use]
    pub fn confirmation(&self) -> Option<&TrialRecord> {
        self.confirmation_of(self.finding.as_ref()?)
    }

    /// The trial that confirmed what was found, with all brokers or with one down.
    #[must_use]
    pub fn confirmation_of(&self, finding: &Finding) -> Option<&TrialRecord> {
        let number = finding.confirmed_by?;
        self.trials.iter().find(|trial| trial.number == number)
    }

    /// What the search came to with one broker down.
    #[must_use]
    pub fn headroom_finding(&self) -> Option<&Finding> {
        self.headroom.as_ref()?.finding.as_ref()
    }

    /// The trials with all brokers up, or those with one down.
    pub fn trials_with(&self, one_down: bool) -> impl Iterator<Item = &TrialRecord> {
        self.trials.iter().filter(move |trial| trial.down.is_some() == one_down)
    }

    /// The confirmed rate.
    #[must_use]
    pub fn rate_per_s(&self) -> Option<f64> {
        self.finding.as_ref()?.rate_per_s
    }

    /// Why the search ended as it did.
    #[must_use]
    pub fn exit_reason(&self) -> ExitReason {
        if self.state == RunState::Running {
            return ExitReason::InternalError;
        }
        ExitReason::worst(self.reasons.iter().map(|r| r.exit))
    }
}

/// What a search's report is rendered from.
#[derive(Debug, Clone)]
pub struct SearchData {
    /// `search.json`.
    pub record: SearchRecord,
    /// The scenario as it was searched: YAML.
    pub scenario: String,
    /// The command that searches again.
    pub reproduce: String,
    /// Where all of it ran, from the first trial that says so.
    pub environment: Option<Environment>,
}

#[cfg(test)]
pub(crate) mod tests;
