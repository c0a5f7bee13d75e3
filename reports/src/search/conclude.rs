//! The verdict of a search.
//!
//! A trial whose rate did not hold is what a search is made of, and fails nothing. What counts is: a violation in any trial (a
//! witness is a witness, at any rate), an expectation of the scenario that a trial broke, whether a rate was confirmed, and what
//! is expected of it.

use super::{Finding, Hold, Limit, SearchRecord, TrialRecord};
use crate::evaluate::{Doubt, Judged, Observations, Observed, Outcome, Truth, evaluate};
use crate::exit_code::ExitReason;
use crate::expect::{Expectation, Severity};
use crate::metric::{Metric, SUSTAINABLE_RATE, Stat};
use crate::quantity::{grouped, show};
use crate::record::{ExpectRecord, Reason, RunState};
use crate::verdict::Verdict;

/// What an expectation over a search is judged by.
struct Found<'a>(Option<&'a Finding>);

impl Observations for Found<'_> {
    fn observe(&self, metric: &Metric, _: Option<&str>, _: Option<Stat>, _: &str) -> Observed {
        let rate = self.0.and_then(|finding| finding.rate_per_s);
        match rate.filter(|_| metric.name == SUSTAINABLE_RATE) {
            Some(rate) => Observed::Value(rate),
            None => Observed::Unknown("no rate was confirmed".to_owned()),
        }
    }

    /// A rate that was held down by something else than the cluster is a lower bound: at least so much.
    fn doubt(&self, _: &Metric, _: Option<&str>, _: &str) -> Option<Doubt> {
        let why = match self.0?.limit {
            Limit::Cluster => return None,
            Limit::Ourselves => OURSELVES,
            Limit::High => "it is at least so much: the search went no higher (`search.high`)",
        };
        Some(Doubt { truth: Truth::AtLeast, why: why.to_owned() })
    }
}

/// Expectations that hold for every trial, at whatever rate, begin so.
const OF_EVERY_TRIAL: &str = "verify.";

const OURSELVES: &str =
    "it is at least so much: above it gauntlet or its host was the limit, not the cluster";

impl SearchRecord {
    /// Computes what follows from the trials: expectations, verdict, reasons, exit code. `finding` is what the search came to, if it
    /// came to its end; `ended` are reasons of the search itself, for example a signal or a cluster that did not start.
    pub fn conclude(&mut self, finding: Option<Finding>, ended: Vec<Reason>, expectations: &[Expectation]) {
        let is_whole = finding.is_some() && ended.is_empty();
        self.state = if is_whole { RunState::Done } else { RunState::Aborted };
        let judged = expectations.iter().flat_map(|e| evaluate(e, &[], &Found(finding.as_ref())));
        self.expect = judged.map(record_of).collect();
        let mut reasons = ended;
        reasons.extend(self.warmups.iter().flat_map(|warmup| warmup.reasons.iter().cloned()));
        self.finding = finding;
        let confirmed_by = self.finding.as_ref().and_then(|finding| finding.confirmed_by);
        let rests_on = |trial: &TrialRecord| Some(trial.number) == confirmed_by;
        reasons.extend(self.trials.iter().flat_map(|trial| reasons_of(trial, rests_on(trial))));
        if let Some(confirmed) = self.confirmation() {
            reasons.extend(unknowns_of(confirmed));
        }
        reasons.extend(self.reason_of_finding());
        reasons.extend(self.expect.iter().filter_map(reason_of));
        reasons.sort_by_key(|reason| reason.exit);
        if reasons.is_empty() {
            reasons.push(Reason { exit: ExitReason::Pass, text: "a rate was confirmed".to_owned() });
        }
        self.verdict = reasons.iter().map(|reason| verdict_of(reason.exit)).max();
        self.exit_code = Some(ExitReason::worst(reasons.iter().map(|r| r.exit)).code());
        self.reasons = reasons;
    }

    /// What is wrong with what the search came to.
    fn reason_of_finding(&self) -> Option<Reason> {
        let inconclusive = |text: String| Some(Reason { exit: ExitReason::Inconclusive, text });
        let Some(finding) = &self.finding else {
            return inconclusive("the search did not come to its end".to_owned());
        };
        match (finding.rate_per_s, finding.limit) {
            (None, Limit::Ourselves) => inconclusive(format!(
                "no rate was confirmed, and gauntlet or its host was the limit: {}",
                self.why_not()
            )),
            (None, _) => Some(Reason { exit: ExitReason::ExpectationFailed, text: self.why_not() }),
            (Some(_), Limit::Ourselves) if self.expect.is_empty() => {
                inconclusive(format!("{SUSTAINABLE_RATE}: {OURSELVES}"))
            }
            (Some(_), _) => None,
        }
    }

    /// Why no rate was confirmed.
    fn why_not(&self) -> String {
        let Some(last) = self.trials.iter().rfind(|t| t.hold.is_some_and(|hold| hold != Hold::Held)) else {
            return "no trial has a result".to_owned();
        };
        let why = last.why();
        let why = why.first().map_or("", String::as_str);
        if self.trials.iter().any(|trial| trial.hold == Some(Hold::Held)) {
            format!("no rate held for as long as it takes to confirm it; at {}/s: {why}", rate(last))
        } else {
            format!("not even {}/s was sustainable: {why}", rate(last))
        }
    }
}

fn rate(trial: &TrialRecord) -> String {
    grouped(trial.rate_per_s as f64)
}

fn of_trial(trial: &TrialRecord, exit: ExitReason, text: &str) -> Reason {
    Reason { exit, text: format!("trial {} ({}/s): {text}", trial.number, rate(trial)) }
}

/// What of a trial counts at any rate, and what only if the answer rests on it: a rate that was not confirmed may be too high for
/// what is expected.
fn reasons_of(trial: &TrialRecord, answer_rests_on_it: bool) -> Vec<Reason> {
    let counts = |exit: ExitReason| {
        matches!(
            exit,
            ExitReason::RollbackFailed
                | ExitReason::Violation
                | ExitReason::InternalError
                | ExitReason::Environment
                | ExitReason::Aborted
        )
    };
    let own = trial.reasons.iter().filter(|r| counts(r.exit)).map(|r| of_trial(trial, r.exit, &r.text));
    let counting = |expect: &&ExpectRecord| answer_rests_on_it || expect.rule.starts_with(OF_EVERY_TRIAL);
    let broken = trial.expectations(Outcome::Broken).filter(counting).map(|expect| {
        let observed = expect.observed.map_or_else(|| "never".to_owned(), |v| show(v, expect.detail.unit));
        of_trial(trial, ExitReason::ExpectationFailed, &format!("{}: observed {observed}", expect.rule))
    });
    own.chain(broken).collect()
}

/// What is unknown of the trial that the answer rests on. Of others it says nothing: a rate that is too high leaves much unknown.
fn unknowns_of(trial: &TrialRecord) -> impl Iterator<Item = Reason> {
    trial.expectations(Outcome::Unknown).map(|expect| {
        let why = expect.detail.reason.as_deref().unwrap_or("unknown");
        of_trial(trial, ExitReason::Inconclusive, &format!("{}: {why}", expect.rule))
    })
}

fn record_of(detail: Judged) -> ExpectRecord {
    ExpectRecord {
        rule: detail.rule.clone(),
        observed: detail.observed,
        ok: match detail.outcome {
            Outcome::Held => Some(true),
            Outcome::Broken => Some(false),
            Outcome::Unknown => None,
        },
        detail,
    }
}

/// Worded like those of runs, so that test reports recognise them.
fn reason_of(expect: &ExpectRecord) -> Option<Reason> {
    let detail = &expect.detail;
    if detail.severity != Severity::Fail {
        return None;
    }
    match detail.outcome {
        Outcome::Held => None,
        Outcome::Broken => {
            let observed = expect.observed.map_or_else(|| "never".to_owned(), |v| show(v, detail.unit));
            let text = format!("{}: observed {observed}", expect.rule);
            Some(Reason { exit: ExitReason::ExpectationFailed, text })
        }
        Outcome::Unknown => {
            let why = detail.reason.as_deref().unwrap_or("unknown");
            Some(Reason { exit: ExitReason::Inconclusive, text: format!("{}: {why}", expect.rule) })
        }
    }
}

fn verdict_of(exit: ExitReason) -> Verdict {
    match exit {
        ExitReason::Pass => Verdict::Pass,
        ExitReason::Violation => Verdict::Violation,
        ExitReason::ExpectationFailed => Verdict::Fail,
        _ => Verdict::Inconclusive,
    }
}
