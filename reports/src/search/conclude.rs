//! The verdict of a search.
//!
//! A trial whose rate did not hold is what a search is made of, and fails nothing. What counts is: a violation in any trial (a
//! witness is a witness, at any rate), an expectation of the scenario that a trial broke, whether a rate was confirmed, and what
//! is expected of it.

use super::{Finding, Hold, Limit, SearchRecord, TrialRecord};
use crate::evaluate::{Doubt, Observations, Observed, Outcome, Truth, evaluate};
use crate::exit_code::ExitReason;
use crate::expect::{Expectation, Severity};
use crate::metric::{HEADROOM_RATE, Metric, SUSTAINABLE_RATE, Stat};
use crate::quantity::{grouped, show};
use crate::record::{ExpectRecord, Reason, RunState};
use crate::verdict::Verdict;

/// What an expectation over a search is judged by.
struct Found<'a> {
    whole: Option<&'a Finding>,
    headroom: Option<&'a Finding>,
}

impl Found<'_> {
    fn of(&self, metric: &Metric) -> Option<&Finding> {
        match metric.name {
            SUSTAINABLE_RATE => self.whole,
            HEADROOM_RATE => self.headroom,
            _ => None,
        }
    }
}

impl Observations for Found<'_> {
    fn observe(&self, metric: &Metric, _: Option<&str>, _: Option<Stat>, _: &str) -> Observed {
        match self.of(metric).and_then(|finding| finding.rate_per_s) {
            Some(rate) => Observed::Value(rate),
            None => Observed::Unknown("no rate was confirmed".to_owned()),
        }
    }

    /// A rate that was held down by something else than the cluster is a lower bound: at least so much.
    fn doubt(&self, metric: &Metric, _: Option<&str>, _: &str) -> Option<Doubt> {
        let why = match self.of(metric)?.limit {
            Limit::Cluster => return None,
            Limit::Ourselves => OURSELVES,
            Limit::High if metric.name == HEADROOM_RATE => {
                "it is at least so much: the search went no higher than with all brokers up"
            }
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
    /// came to its end (what it came to with one broker down is in the record already); `ended` are reasons of the search itself, for
    /// example a signal or a cluster that did not start.
    pub fn conclude(&mut self, finding: Option<Finding>, ended: Vec<Reason>, expectations: &[Expectation]) {
        let is_whole = finding.is_some() && ended.is_empty();
        self.state = if is_whole { RunState::Done } else { RunState::Aborted };
        let found = Found { whole: finding.as_ref(), headroom: self.headroom_finding() };
        let judged = expectations.iter().flat_map(|e| evaluate(e, &[], &found));
        self.expect = judged.map(ExpectRecord::from).collect();
        let mut reasons = ended;
        reasons.extend(self.warmups.iter().flat_map(|warmup| warmup.reasons.iter().cloned()));
        self.finding = finding;
        let findings: Vec<&Finding> = self.finding.iter().chain(self.headroom_finding()).collect();
        let rests_on = |trial: &TrialRecord| findings.iter().any(|f| f.confirmed_by == Some(trial.number));
        reasons.extend(self.trials.iter().flat_map(|trial| reasons_of(trial, rests_on(trial))));
        let confirmed = findings.iter().filter_map(|finding| self.confirmation_of(finding));
        reasons.extend(confirmed.flat_map(unknowns_of));
        match &self.finding {
            None => reasons.push(Reason {
                exit: ExitReason::Inconclusive,
                text: "the search did not come to its end".to_owned(),
            }),
            Some(finding) => reasons.extend(self.reason_of(finding, SUSTAINABLE_RATE)),
        }
        reasons.extend(self.headroom_finding().and_then(|finding| self.reason_of(finding, HEADROOM_RATE)));
        reasons.extend(self.expect.iter().filter_map(reason_of));
        reasons.sort_by_key(|reason| reason.exit);
        if reasons.is_empty() {
            reasons.push(Reason { exit: ExitReason::Pass, text: "a rate was confirmed".to_owned() });
        }
        self.verdict = reasons.iter().map(|reason| verdict_of(reason.exit)).max();
        self.exit_code = Some(ExitReason::worst(reasons.iter().map(|r| r.exit)).code());
        self.reasons = reasons;
    }

    /// What is wrong with what the search came to, with all brokers up or, if it is that `metric`, with one down.
    fn reason_of(&self, finding: &Finding, metric: &str) -> Option<Reason> {
        let inconclusive = |text: String| Some(Reason { exit: ExitReason::Inconclusive, text });
        let why_not = || self.why_not(metric == HEADROOM_RATE);
        match (finding.rate_per_s, finding.limit) {
            (None, Limit::Ourselves) => inconclusive(format!(
                "no rate was confirmed, and gauntlet or its host was the limit: {}",
                why_not()
            )),
            (None, _) => Some(Reason { exit: ExitReason::ExpectationFailed, text: why_not() }),
            (Some(_), Limit::Ourselves) if self.expect.is_empty() => {
                inconclusive(format!("{metric}: {OURSELVES}"))
            }
            (Some(_), _) => None,
        }
    }

    /// Why no rate was confirmed, with all brokers up or with one down.
    fn why_not(&self, one_down: bool) -> String {
        let trials: Vec<&TrialRecord> = self.trials_with(one_down).collect();
        let Some(last) = trials.iter().rfind(|t| t.hold.is_some_and(|hold| hold != Hold::Held)) else {
            return "no trial has a result".to_owned();
        };
        let why = last.why();
        let why = why.first().map_or("", String::as_str);
        let when = if one_down { "with one broker down " } else { "" };
        if trials.iter().any(|trial| trial.hold == Some(Hold::Held)) {
            format!("{when}no rate held for as long as it takes to confirm it; at {}/s: {why}", rate(last))
        } else {
            format!("{when}not even {}/s was sustainable: {why}", rate(last))
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
