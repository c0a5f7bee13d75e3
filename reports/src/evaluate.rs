//! Expectations against what was observed.

use serde::{Deserialize, Serialize};

use crate::expect::{Expectation, Op, Severity};
use crate::metric::{Metric, Stat, Unit};

/// A value, or why there is none.
#[derive(Debug, Clone, PartialEq)]
pub enum Observed {
    /// In the metric's unit. An infinite value is one that never came to an end (a recovery that did not happen).
    Value(f64),
    /// It could not be measured.
    Unknown(String),
}

/// Why a value may not be the cluster's, and on which side of it the cluster's is then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// Where the cluster's own value is.
    pub truth: Truth,
    /// What made it doubtful.
    pub why: String,
}

/// Where a true value is, compared with the one that was observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// There or below: a latency that holds the load generator's own lateness.
    AtMost,
    /// There or above: a rate that somebody else than the cluster held down.
    AtLeast,
    /// Anywhere.
    Anywhere,
}

impl Truth {
    /// The least and the greatest that a value of which `observed` was seen can be. No metric is below 0.
    fn bounds(self, observed: f64) -> (f64, f64) {
        match self {
            Truth::AtMost => (0.0, observed),
            Truth::AtLeast => (observed, f64::INFINITY),
            Truth::Anywhere => (0.0, f64::INFINITY),
        }
    }
}

/// What a run observed.
pub trait Observations {
    /// The value of a metric in a window. `label` is the fault, or who the metric is `by`.
    fn observe(&self, metric: &Metric, label: Option<&str>, stat: Option<Stat>, window: &str) -> Observed;

    /// Why the value of `metric` in `window` may not be the cluster's: the load generator or its host may have been the limit.
    /// What is expected of it still holds, or is broken, if that is so for every value that the cluster's may be.
    fn doubt(&self, metric: &Metric, label: Option<&str>, window: &str) -> Option<Doubt>;
}

/// How an expectation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It held.
    Held,
    /// It was broken.
    Broken,
    /// It can't be said.
    Unknown,
}

/// An expectation with its outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judged {
    /// The rule as written.
    pub rule: String,
    /// The window.
    pub during: String,
    /// What a break means.
    pub severity: Severity,
    /// Whether it holds for every run.
    pub builtin: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// The value, where one was measured and came to an end.
    pub observed: Option<f64>,
    /// The limit, in the same unit.
    pub limit: f64,
    /// That unit.
    pub unit: Unit,
    /// Why it is unknown, or what is to be said about the value.
    pub reason: Option<String>,
}

/// Judges one expectation; one over `fault:*` or `recovery:*` gives one result per window in `windows`.
pub fn evaluate(expectation: &Expectation, windows: &[String], seen: &impl Observations) -> Vec<Judged> {
    match expectation.during.strip_suffix('*') {
        Some(prefix) => windows
            .iter()
            .filter(|w| w.starts_with(prefix))
            .map(|window| judge(expectation, window, seen))
            .collect(),
        None => vec![judge(expectation, &expectation.during, seen)],
    }
}

fn judge(expectation: &Expectation, window: &str, seen: &impl Observations) -> Judged {
    let label = expectation.label.as_deref();
    let observed = seen.observe(expectation.metric, label, expectation.stat, window);
    let (outcome, value, reason) = match observed {
        Observed::Unknown(why) => (Outcome::Unknown, None, Some(why)),
        Observed::Value(value) => {
            let doubt = seen.doubt(expectation.metric, label, window);
            let bounds = doubt.as_ref().map_or((value, value), |doubt| doubt.truth.bounds(value));
            let outcome = outcome(expectation.op, expectation.limit, bounds);
            let never = || value.is_infinite().then(|| "it had not happened when the run ended".to_owned());
            let reason = match outcome {
                Outcome::Held => None,
                Outcome::Broken => never(),
                Outcome::Unknown => doubt.map(|doubt| doubt.why),
            };
            (outcome, Some(value), reason)
        }
    };
    Judged {
        rule: expectation.rule.clone(),
        during: window.to_owned(),
        severity: expectation.severity,
        builtin: expectation.builtin,
        outcome,
        observed: value.filter(|v| v.is_finite()),
        limit: expectation.limit,
        unit: expectation.metric.unit,
        reason,
    }
}

/// Whether all values from `least` to `most` do what is expected, or none.
fn outcome(op: Op, limit: f64, (least, most): (f64, f64)) -> Outcome {
    let (all, none) = match op {
        Op::Below | Op::AtMost => (op.holds(most, limit), !op.holds(least, limit)),
        Op::Above | Op::AtLeast => (op.holds(least, limit), !op.holds(most, limit)),
        Op::Equal | Op::NotEqual => {
            let one = least.total_cmp(&most).is_eq();
            let outside = limit < least || limit > most;
            // Equal only where one value is left; different wherever the limit can't be the value.
            let (certain, holds) = (one || outside, op.holds(if one { least } else { limit + 1.0 }, limit));
            (certain && holds, certain && !holds)
        }
    };
    match (all, none) {
        (true, _) => Outcome::Held,
        (_, true) => Outcome::Broken,
        _ => Outcome::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Capabilities;

    struct Seen {
        value: Observed,
        doubt: Option<Truth>,
    }

    impl Observations for Seen {
        fn observe(&self, _: &Metric, _: Option<&str>, _: Option<Stat>, _: &str) -> Observed {
            self.value.clone()
        }
        fn doubt(&self, _: &Metric, _: Option<&str>, _: &str) -> Option<Doubt> {
            self.doubt.map(|truth| Doubt { truth, why: "busy".to_owned() })
        }
    }

    fn judged(value: Observed, doubt: Option<Truth>) -> (Outcome, Option<f64>) {
        let capabilities = Capabilities {
            acks: true,
            faults: ["a".to_owned(), "b".to_owned()].into(),
            ..Capabilities::default()
        };
        let rule =
            Expectation::parse("produce.latency p99 < 50ms", None, Severity::Fail, &capabilities).unwrap();
        let judged = evaluate(&rule, &capabilities.windows(), &Seen { value, doubt });
        assert_eq!(judged.len(), 1);
        (judged[0].outcome, judged[0].observed)
    }

    #[test]
    fn doubt_excuses_a_break_but_does_not_spoil_a_success() {
        let late = Some(Truth::AtMost);
        assert_eq!(judged(Observed::Value(49.0), None), (Outcome::Held, Some(49.0)));
        assert_eq!(judged(Observed::Value(49.0), late), (Outcome::Held, Some(49.0)));
        assert_eq!(judged(Observed::Value(50.0), None), (Outcome::Broken, Some(50.0)));
        assert_eq!(judged(Observed::Value(50.0), late), (Outcome::Unknown, Some(50.0)));
        assert_eq!(judged(Observed::Unknown("none".into()), None), (Outcome::Unknown, None));
        assert_eq!(judged(Observed::Value(f64::INFINITY), None), (Outcome::Broken, None));
    }

    #[test]
    fn what_a_doubt_spoils_depends_on_its_side() {
        use Outcome::{Broken, Held, Unknown};
        use Truth::{Anywhere, AtLeast, AtMost};
        // Seen: 50; expected: `op limit`.
        let cases = [
            (AtMost, Op::Below, 60.0, Held),
            (AtMost, Op::AtMost, 50.0, Held),
            (AtMost, Op::Below, 50.0, Unknown),
            (AtMost, Op::Above, 40.0, Unknown),
            (AtMost, Op::AtLeast, 60.0, Broken),
            (AtMost, Op::Equal, 0.0, Unknown),
            (AtMost, Op::Equal, 60.0, Broken),
            (AtMost, Op::NotEqual, 60.0, Held),
            (AtMost, Op::NotEqual, 50.0, Unknown),
            (AtLeast, Op::AtLeast, 50.0, Held),
            (AtLeast, Op::AtLeast, 60.0, Unknown),
            (AtLeast, Op::AtMost, 60.0, Unknown),
            (AtLeast, Op::Below, 50.0, Broken),
            (AtLeast, Op::Equal, 40.0, Broken),
            (Anywhere, Op::Below, 60.0, Unknown),
            (Anywhere, Op::Above, 40.0, Unknown),
        ];
        for (truth, op, limit, expected) in cases {
            assert_eq!(outcome(op, limit, truth.bounds(50.0)), expected, "{truth:?} {op:?} {limit}");
        }
        assert_eq!(outcome(Op::Equal, 0.0, AtMost.bounds(0.0)), Held, "nothing is below 0");
        for (op, expected) in [(Op::Equal, Held), (Op::NotEqual, Broken), (Op::AtLeast, Held)] {
            assert_eq!(outcome(op, 50.0, (50.0, 50.0)), expected, "{op:?}");
        }
        assert_eq!(outcome(Op::NotEqual, 40.0, (50.0, 50.0)), Held);
    }

    #[test]
    fn service_time_is_in_doubt_even_if_it_holds() {
        let capabilities = Capabilities { acks: true, ..Capabilities::default() };
        let rule = Expectation::parse("produce.service_time p99 < 50ms", None, Severity::Fail, &capabilities)
            .unwrap();
        let seen = Seen { value: Observed::Value(1.0), doubt: Some(Truth::Anywhere) };
        assert_eq!(evaluate(&rule, &[], &seen)[0].outcome, Outcome::Unknown);
    }

    #[test]
    fn a_glob_is_judged_per_window() {
        let capabilities = Capabilities {
            acks: true,
            faults: ["a".to_owned(), "b".to_owned()].into(),
            ..Capabilities::default()
        };
        let rule =
            Expectation::parse("produce.latency p99 < 50ms", Some("fault:*"), Severity::Fail, &capabilities)
                .unwrap();
        let seen = Seen { value: Observed::Value(1.0), doubt: None };
        let windows: Vec<String> =
            evaluate(&rule, &capabilities.windows(), &seen).into_iter().map(|j| j.during).collect();
        assert_eq!(windows, ["fault:a", "fault:b"]);
    }
}
