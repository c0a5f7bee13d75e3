//! One trial of a search, and whether its rate held.

use serde::{Deserialize, Serialize};

use crate::evaluate::Outcome;
use crate::exit_code::ExitReason;
use crate::expect::Severity;
use crate::junit::unexplained;
use crate::metric::Unit;
use crate::record::{ExpectRecord, Reason, RunRecord};
use crate::sweep::Figures;
use crate::verdict::Verdict;

/// Built-in rules on what was not settled, or not read, when the drain ended.
const LEFT_OVERS: [&str; 3] = ["produce.failed ", "produce.indeterminate ", "verify.unseen "];

/// What a trial is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// To find the rate.
    Search,
    /// To confirm it: it takes longer.
    Confirm,
}

/// How far a trial got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialState {
    /// It runs, or the process died in it.
    Running,
    /// It was ended before its end, or never came to a verdict.
    Aborted,
    /// It has a result.
    Done,
}

/// Whether a rate held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// Everything that makes it sustainable held.
    Held,
    /// Something broke, and gauntlet was not the limit.
    Broke,
    /// Something broke or could not be measured, and gauntlet or its host may be why.
    Unknown,
}

/// A rule that makes a rate sustainable, at one rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleRecord {
    /// As written, with its window if that is not `all`.
    pub rule: String,
    /// Whether it holds for every run, whoever asks.
    pub builtin: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// What was observed.
    pub observed: Option<f64>,
    /// The limit, in the same unit.
    pub limit: f64,
    /// That unit.
    pub unit: Unit,
    /// Why it is unknown.
    pub reason: Option<String>,
}

/// A trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrialRecord {
    /// From 1, in order.
    pub number: u32,
    /// What it is for.
    pub stage: Stage,
    /// The rate, of all producers together.
    pub rate_per_s: u64,
    /// The broker that was down; `null` if none was.
    pub down: Option<i32>,
    /// How far it got.
    pub state: TrialState,
    /// Whether the rate held; `null` without a result.
    pub hold: Option<Hold>,
    /// What makes the rate sustainable: all that the scenario says, and of the built-in rules those that did not hold.
    pub rules: Vec<RuleRecord>,
    /// What else the scenario expects of it.
    pub expect: Vec<ExpectRecord>,
    /// Its own verdict, as a run.
    pub verdict: Option<Verdict>,
    /// What its exit code would have been.
    pub exit_code: Option<u8>,
    /// Every reason for that.
    pub reasons: Vec<Reason>,
    /// Its directory, in the search's.
    pub dir: String,
    /// Length of the whole run.
    pub wall_s: Option<f64>,
    /// What it measured; `null` if it was not judged.
    pub figures: Option<Figures>,
    /// The longest that readers were behind, in records.
    pub lag_max: Option<u64>,
    /// Bytes of a record as batches carry it.
    pub stored_bytes_per_record: Option<f64>,
}

impl TrialRecord {
    /// One that begins now.
    #[must_use]
    pub fn new(number: u32, stage: Stage, rate_per_s: u64, down: Option<i32>, dir: String) -> Self {
        TrialRecord {
            number,
            stage,
            rate_per_s,
            down,
            state: TrialState::Running,
            hold: None,
            rules: Vec::new(),
            expect: Vec::new(),
            verdict: None,
            exit_code: None,
            reasons: Vec::new(),
            dir,
            wall_s: None,
            figures: None,
            lag_max: None,
            stored_bytes_per_record: None,
        }
    }

    /// Takes over what a run found. Its first `sustainable` expectations are those that make a rate sustainable.
    pub fn finish(&mut self, run: &RunRecord, sustainable: usize) {
        let kept_from_its_end = |exit: ExitReason| {
            matches!(
                exit,
                ExitReason::Aborted
                    | ExitReason::Environment
                    | ExitReason::InternalError
                    | ExitReason::RollbackFailed
            )
        };
        let is_whole = run.verdict.is_some() && !run.reasons.iter().any(|r| kept_from_its_end(r.exit));
        self.state = if is_whole { TrialState::Done } else { TrialState::Aborted };
        self.verdict = run.verdict;
        self.exit_code = run.exit_code;
        self.reasons = run.reasons.iter().filter(|r| r.exit != ExitReason::Pass).cloned().collect();
        self.wall_s = Some(run.wall_s);
        self.figures = run.verdict.is_some().then(|| Figures::of(run));
        let own = run.expect.iter().take(sustainable);
        let builtin = run.expect.iter().skip(sustainable).filter(|e| e.detail.builtin);
        self.rules = own.map(rule).collect();
        self.rules.extend(builtin.filter(|e| e.detail.outcome != Outcome::Held).map(rule));
        self.expect = run.expect.iter().skip(sustainable).filter(|e| !e.detail.builtin).cloned().collect();
        self.hold = is_whole.then(|| self.judge(run));
    }

    /// Whether the rate held. What is broken is broken, whatever else is unknown; but where gauntlet was late itself, what it had
    /// not settled when the drain ended may be its own fault as well.
    fn judge(&self, run: &RunRecord) -> Hold {
        let has = |outcome: Outcome| self.rules.iter().any(|rule| rule.outcome == outcome);
        let left = |exit: ExitReason| unexplained(run).any(|reason| reason.exit == exit);
        let violated = run.verdict == Some(Verdict::Violation);
        let is_left_over =
            |rule: &RuleRecord| rule.builtin && LEFT_OVERS.iter().any(|metric| rule.rule.starts_with(metric));
        let is_ours = has(Outcome::Unknown);
        let mut broken = self.rules.iter().filter(|rule| rule.outcome == Outcome::Broken);
        let broke = broken.any(|rule| !(is_ours && is_left_over(rule)));
        if violated || broke || left(ExitReason::ExpectationFailed) {
            Hold::Broke
        } else if is_ours || left(ExitReason::Inconclusive) {
            Hold::Unknown
        } else {
            Hold::Held
        }
    }

    /// Rules that did not hold.
    pub fn not_held(&self) -> impl Iterator<Item = &RuleRecord> {
        self.rules.iter().filter(|rule| rule.outcome != Outcome::Held)
    }

    /// Why the rate did not hold, in few words; empty if it did.
    #[must_use]
    pub fn why(&self) -> Vec<String> {
        let mut told: Vec<String> = self.not_held().map(RuleRecord::told).collect();
        let others = self.reasons.iter().filter(|reason| {
            let is_rule = self.rules.iter().any(|rule| reason.text.starts_with(&rule.rule));
            let is_expectation = self.expect.iter().any(|e| reason.text.starts_with(&e.rule));
            !is_rule && !is_expectation
        });
        told.extend(others.map(|reason| reason.text.clone()));
        told
    }

    /// Expectations besides what makes a rate sustainable that ended so, of those that count.
    pub(super) fn expectations(&self, outcome: Outcome) -> impl Iterator<Item = &ExpectRecord> {
        let counts = |e: &&ExpectRecord| e.detail.severity == Severity::Fail;
        self.expect.iter().filter(counts).filter(move |e| e.detail.outcome == outcome)
    }
}

impl RuleRecord {
    /// `produce.latency p99 < 50ms: 81.2 ms`.
    #[must_use]
    pub fn told(&self) -> String {
        let observed = self.observed.map(|value| crate::quantity::show(value, self.unit));
        match (self.outcome, observed, &self.reason) {
            (Outcome::Unknown, observed, Some(reason)) => {
                let observed = observed.map_or_else(String::new, |value| format!("{value}, but "));
                format!("{}: {observed}{reason}", self.rule)
            }
            (_, Some(observed), _) => format!("{}: {observed}", self.rule),
            (_, None, _) => format!("{}: never", self.rule),
        }
    }
}

fn rule(expect: &ExpectRecord) -> RuleRecord {
    let detail = &expect.detail;
    let rule = match detail.during.as_str() {
        "all" => expect.rule.clone(),
        during => format!("{} during {during}", expect.rule),
    };
    RuleRecord {
        rule,
        builtin: detail.builtin,
        outcome: detail.outcome,
        observed: expect.observed,
        limit: detail.limit,
        unit: detail.unit,
        reason: detail.reason.clone(),
    }
}
