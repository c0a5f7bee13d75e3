//! `sweep.json`: what a sweep found, point by point. Its runs have directories with a `run.json` each; what is repeated here
//! is what points are compared by.
//!
//! - [`figures`]: the numbers of a run that points are compared by
//! - [`stats`]: several runs of a point as one value with its spread
//! - [`points`]: points as a reader sees them, by axis
//! - [`csv`]: a line per run

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::exit_code::ExitReason;
use crate::record::{Reason, RunRecord, RunState};
use crate::verdict::Verdict;

pub mod csv;
pub mod figures;
pub mod points;
pub mod stats;

pub use figures::Figures;

/// Version of the layout of `sweep.json`.
pub const SWEEP_SCHEMA_VERSION: u32 = 1;

/// How far a run of a sweep got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotState {
    /// It has not begun.
    NotRun,
    /// It runs, or the process died in it.
    Running,
    /// It was ended before its end, or never came to a verdict: `--resume` runs it again.
    Aborted,
    /// It has a result.
    Done,
}

/// A point: what is particular to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointRecord {
    /// `p01`, `p02`, …, in the order of the matrix.
    pub id: String,
    /// Values by the names of the matrix.
    pub parameters: BTreeMap<String, Value>,
    /// The worst of its runs; `null` as long as one has no verdict.
    pub verdict: Option<Verdict>,
}

/// A run of a point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotRecord {
    /// The point.
    pub point: String,
    /// Which of its runs, from 1.
    pub repeat: u16,
    /// How often it was begun: more than once if the sweep was resumed.
    pub attempts: u16,
    /// How far it got.
    pub state: SlotState,
    /// Its verdict.
    pub verdict: Option<Verdict>,
    /// What its exit code would have been.
    pub exit_code: Option<u8>,
    /// Every reason for it, or why it was not run.
    pub reasons: Vec<Reason>,
    /// Its directory, in the sweep's; of the last attempt.
    pub dir: Option<String>,
    /// Length of the whole run.
    pub wall_s: Option<f64>,
    /// What it measured; `null` if it was not judged.
    pub figures: Option<Figures>,
}

/// The load before the first run on a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmupRecord {
    /// Its directory, in the sweep's.
    pub dir: String,
    /// The point whose configuration it has.
    pub point: String,
    /// What came of it that counts: violations, and what kept it from its end. Its latencies are nobody's.
    pub reasons: Vec<Reason>,
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepRecord {
    /// [`SWEEP_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// How far it got.
    pub state: RunState,
    /// The worst of its runs, INCONCLUSIVE at best if one has no result; `null` while it runs.
    pub verdict: Option<Verdict>,
    /// The exit code; `null` until there is one.
    pub exit_code: Option<u8>,
    /// Every reason for it, the weightiest first.
    pub reasons: Vec<Reason>,
    /// Name of the scenario.
    pub name: String,
    /// What it claims, in its own words.
    pub description: Option<String>,
    /// Id of the sweep.
    pub sweep_id: String,
    /// The seed: of the order, and of every run.
    pub seed: u64,
    /// Begin, RFC 3339 in UTC.
    pub started_at: String,
    /// Wall time, of all its sessions together.
    pub wall_s: f64,
    /// Version of gauntlet.
    pub gauntlet: String,
    /// SHA-256 of `scenario.resolved.yaml`, in hexadecimal digits.
    pub scenario_sha256: String,
    /// The distribution of Kafka that was used instead of the named version.
    pub kafka_home: Option<String>,
    /// Points that `--only` chose, `name=value`; empty for all.
    pub only: Vec<String>,
    /// Names of the matrix, in order.
    pub axes: Vec<String>,
    /// How often each point is run.
    pub repeats: u16,
    /// `shuffled` or `as-written`.
    pub order: String,
    /// Pause between two runs.
    pub cooldown_s: f64,
    /// The bound of its wall time.
    pub max_wall_s: Option<f64>,
    /// Limit of `produce.latency p99` over all records, where the scenario has one.
    pub p99_limit_ms: Option<f64>,
    /// Points, in the order of the matrix.
    pub points: Vec<PointRecord>,
    /// Runs, in the order in which they are run.
    pub runs: Vec<SlotRecord>,
    /// Warm-ups, in order.
    pub warmups: Vec<WarmupRecord>,
}

impl SlotRecord {
    /// One that has not begun.
    #[must_use]
    pub fn new(point: &str, repeat: u16) -> Self {
        SlotRecord {
            point: point.to_owned(),
            repeat,
            attempts: 0,
            state: SlotState::NotRun,
            verdict: None,
            exit_code: None,
            reasons: Vec::new(),
            dir: None,
            wall_s: None,
            figures: None,
        }
    }

    /// Takes over what a run found. It has a result if it was judged to its end; a violation is one in any case, because a
    /// witness does not become wrong when a run is cut short.
    pub fn finish(&mut self, run: &RunRecord) {
        let cut_short = run.reasons.iter().any(|r| r.exit == ExitReason::Aborted);
        let has_result = run.verdict.is_some_and(|verdict| !cut_short || verdict == Verdict::Violation);
        self.state = if has_result { SlotState::Done } else { SlotState::Aborted };
        self.verdict = run.verdict.filter(|_| has_result);
        self.exit_code = run.exit_code;
        self.reasons = run.reasons.iter().filter(|r| r.exit != ExitReason::Pass).cloned().collect();
        self.wall_s = Some(run.wall_s);
        self.figures = run.verdict.is_some().then(|| Figures::of(run));
    }

    /// Why the run ended as it did; `None` if it has not been begun.
    #[must_use]
    pub fn exit_reason(&self) -> Option<ExitReason> {
        match self.state {
            SlotState::NotRun => None,
            // The process died in it.
            SlotState::Running => Some(ExitReason::InternalError),
            SlotState::Done if self.reasons.is_empty() => Some(ExitReason::Pass),
            _ => Some(ExitReason::worst(self.reasons.iter().map(|r| r.exit))),
        }
    }
}

impl SweepRecord {
    /// The point called `id`.
    #[must_use]
    pub fn point(&self, id: &str) -> Option<&PointRecord> {
        self.points.iter().find(|point| point.id == id)
    }

    /// `batch_size=65536, codec=lz4`.
    #[must_use]
    pub fn label(&self, point: &PointRecord) -> String {
        let texts = self.axes.iter().filter_map(|axis| {
            let value = point.parameters.get(axis)?;
            Some(format!("{axis}={}", text_of(value)))
        });
        texts.collect::<Vec<_>>().join(", ")
    }

    /// Runs of a point, in the order of their repeats.
    #[must_use]
    pub fn runs_of<'a>(&'a self, id: &str) -> Vec<&'a SlotRecord> {
        let mut runs: Vec<&SlotRecord> = self.runs.iter().filter(|run| run.point == id).collect();
        runs.sort_by_key(|run| run.repeat);
        runs
    }

    /// Computes the verdicts of points from those of their runs.
    pub fn judge_points(&mut self) {
        for index in 0..self.points.len() {
            let verdicts: Option<Vec<Verdict>> =
                self.runs_of(&self.points[index].id).iter().map(|run| run.verdict).collect();
            self.points[index].verdict = verdicts.and_then(|verdicts| verdicts.into_iter().max());
        }
    }

    /// Computes what follows from the runs: verdicts, reasons, exit code. `ended` are reasons of the sweep itself, for example
    /// a signal or a cluster that did not start.
    pub fn conclude(&mut self, state: RunState, ended: Vec<Reason>) {
        self.judge_points();
        let mut reasons = ended;
        reasons.extend(self.warmups.iter().flat_map(|warmup| warmup.reasons.iter().cloned()));
        let mut without = 0;
        for run in &self.runs {
            without += usize::from(run.state != SlotState::Done);
            let Some(exit) = run.exit_reason().filter(|exit| *exit != ExitReason::Pass) else { continue };
            let label = self.point(&run.point).map(|point| self.label(point)).unwrap_or_default();
            let first = run.reasons.iter().find(|r| r.exit == exit).map_or("", |r| r.text.as_str());
            let more = match run.reasons.len() {
                0 | 1 => String::new(),
                several => format!(" (and {} more)", several - 1),
            };
            let text = format!("{} ({label}), run {}: {first}{more}", run.point, run.repeat);
            reasons.push(Reason { exit, text });
        }
        if without > 0 {
            let text = format!("{without} of {} runs have no result", self.runs.len());
            reasons.push(Reason { exit: ExitReason::Inconclusive, text });
        }
        reasons.sort_by_key(|reason| reason.exit);
        if reasons.is_empty() {
            reasons.push(Reason { exit: ExitReason::Pass, text: "every run passed".to_owned() });
        }
        let worst = self.runs.iter().filter_map(|run| run.verdict).max().unwrap_or(Verdict::Pass);
        let least = if without > 0 { Verdict::Inconclusive } else { Verdict::Pass };
        self.state = state;
        self.verdict = Some(worst.max(least));
        self.exit_code = Some(ExitReason::worst(reasons.iter().map(|r| r.exit)).code());
        self.reasons = reasons;
    }

    /// Why the sweep ended as it did.
    #[must_use]
    pub fn exit_reason(&self) -> ExitReason {
        if self.state == RunState::Running {
            return ExitReason::InternalError;
        }
        ExitReason::worst(self.reasons.iter().map(|r| r.exit))
    }
}

/// A parameter as users write it.
#[must_use]
pub fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What a sweep's report is rendered from.
#[derive(Debug, Clone)]
pub struct SweepData {
    /// `sweep.json`.
    pub record: SweepRecord,
    /// The scenario as it was swept: YAML.
    pub scenario: String,
    /// The command that runs the sweep again.
    pub reproduce: String,
    /// Where all of it ran, from the first run that says so.
    pub environment: Option<crate::record::Environment>,
    /// Each run of `record`, by its directory, as far as it could be read.
    pub runs: BTreeMap<String, RunRecord>,
}

#[cfg(test)]
pub(crate) mod tests;
