//! Expectations against what was observed.

use serde::{Deserialize, Serialize};

use crate::expect::{Expectation, Severity};
use crate::metric::{Metric, Stat, Unit};

/// A value, or why there is none.
#[derive(Debug, Clone, PartialEq)]
pub enum Observed {
    /// In the metric's unit. An infinite value is one that never came to an end (a recovery that did not happen).
    Value(f64),
    /// It could not be measured.
    Unknown(String),
}

const SERVICE_TIME: &str = "produce.service_time";

/// What a run observed.
pub trait Observations {
    /// The value of a metric in a window. `label` is the fault, or who the metric is `by`.
    fn observe(&self, metric: &Metric, label: Option<&str>, stat: Option<Stat>, window: &str) -> Observed;

    /// Why an expectation on `metric` in `window` proves nothing if it is *broken*: the load generator or its host may
    /// be what broke it. One that holds, holds.
    fn doubt(&self, metric: &Metric, label: Option<&str>, window: &str) -> Option<String>;
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
        Observed::Value(value) if expectation.op.holds(value, expectation.limit) => {
            // Slip is inside every latency but not inside service time, which can therefore look better than it is.
            match seen
                .doubt(expectation.metric, label, window)
                .filter(|_| expectation.metric.name == SERVICE_TIME)
            {
                Some(why) => (Outcome::Unknown, Some(value), Some(why)),
                None => (Outcome::Held, Some(value), None),
            }
        }
        Observed::Value(value) => match seen.doubt(expectation.metric, label, window) {
            Some(why) => (Outcome::Unknown, Some(value), Some(why)),
            None => {
                let never = value.is_infinite().then(|| "it had not happened when the run ended".to_owned());
                (Outcome::Broken, Some(value), never)
            }
        },
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Capabilities;

    struct Seen {
        value: Observed,
        doubt: Option<&'static str>,
    }

    impl Observations for Seen {
        fn observe(&self, _: &Metric, _: Option<&str>, _: Option<Stat>, _: &str) -> Observed {
            self.value.clone()
        }
        fn doubt(&self, _: &Metric, _: Option<&str>, _: &str) -> Option<String> {
            self.doubt.map(str::to_owned)
        }
    }

    fn outcome(value: Observed, doubt: Option<&'static str>) -> (Outcome, Option<f64>) {
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
        assert_eq!(outcome(Observed::Value(49.0), None), (Outcome::Held, Some(49.0)));
        assert_eq!(outcome(Observed::Value(49.0), Some("busy")), (Outcome::Held, Some(49.0)));
        assert_eq!(outcome(Observed::Value(50.0), None), (Outcome::Broken, Some(50.0)));
        assert_eq!(outcome(Observed::Value(50.0), Some("busy")), (Outcome::Unknown, Some(50.0)));
        assert_eq!(outcome(Observed::Unknown("none".into()), None), (Outcome::Unknown, None));
        assert_eq!(outcome(Observed::Value(f64::INFINITY), None), (Outcome::Broken, None));
    }

    #[test]
    fn service_time_is_in_doubt_even_if_it_holds() {
        let capabilities = Capabilities { acks: true, ..Capabilities::default() };
        let rule = Expectation::parse("produce.service_time p99 < 50ms", None, Severity::Fail, &capabilities)
            .unwrap();
        let seen = Seen { value: Observed::Value(1.0), doubt: Some("busy") };
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
