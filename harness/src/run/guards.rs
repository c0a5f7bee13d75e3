//! Guardrails (`abort_when`): conditions that end the load before its time, and with it every fault.
//!
//! They are looked at once a second, at the seconds that lie between t = 0 and the end of the load as a whole, and each second speaks
//! for itself: a p99 is that of the records that ended in it, a throughput what was acked in it. Only `produce.failed` and
//! `produce.indeterminate` count from t = 0: a budget of errors. A second in which there was nothing to measure (no record ended, so there is
//! no p99) neither fulfils a condition nor interrupts it.
//!
//! What a guardrail did is judged like an expectation: broken if it ended the load, unless the load generator or its host may have been
//! the reason in the seconds for which it held.

use gauntlet_reports::evaluate::{Doubt, Judged, Outcome};
use gauntlet_reports::expect::Op;
use gauntlet_reports::quantity::show;
use gauntlet_reports::{Expectation, Metric, Severity, Stat};

use crate::intervals::Second;
use crate::plan::GuardPlan;

const SECOND_NS: u64 = 1_000_000_000;
/// The window that a guardrail looks at, in words of expectations.
const WINDOW: &str = "all";

/// What is known at the end of a second.
#[derive(Clone, Copy)]
struct Seen<'a> {
    second: &'a Second,
    /// Since t = 0.
    failed: u64,
    /// Since t = 0.
    indeterminate: u64,
}

/// Takes a metric's value; `None` where there was nothing to measure.
type Take = fn(Seen<'_>) -> Option<f64>;

/// Every metric that is known while a run goes, with the statistic that it is known by.
const LIVE: [(&str, Option<Stat>, Take); 14] = [
    ("produce.throughput", None, |seen| Some(seen.second.acked as f64)),
    ("produce.latency", Some(Stat::P50), |seen| seen.latency(seen.second.p50_ms)),
    ("produce.latency", Some(Stat::P99), |seen| seen.latency(seen.second.p99_ms)),
    ("produce.latency", Some(Stat::P999), |seen| seen.latency(seen.second.p999_ms)),
    ("produce.latency", Some(Stat::Max), |seen| seen.latency(seen.second.max_ms)),
    ("produce.error_rate", None, |seen| {
        let ended = seen.second.acked + seen.second.failed;
        (ended > 0).then(|| seen.second.failed as f64 / ended as f64)
    }),
    ("produce.failed", None, |seen| Some(seen.failed as f64)),
    ("produce.indeterminate", None, |seen| Some(seen.indeterminate as f64)),
    ("consume.throughput", None, |seen| Some(seen.second.read as f64)),
    ("e2e.latency", Some(Stat::P99), |seen| (seen.second.read > 0).then_some(seen.second.e2e_p99_ms)),
    ("consumer.lag", Some(Stat::Max), |seen| Some(seen.second.lag as f64)),
    ("client.rss_mb", None, |seen| Some(seen.second.rss_mib)),
    ("cluster.under_replicated_partitions", Some(Stat::Max), |seen| {
        Some(seen.second.under_replicated as f64)
    }),
    ("cluster.offline_partitions", Some(Stat::Max), |seen| Some(seen.second.offline as f64)),
];

impl Seen<'_> {
    fn latency(&self, ms: f64) -> Option<f64> {
        (self.second.acked + self.second.failed > 0).then_some(ms)
    }
}

fn take(condition: &Expectation) -> Option<Take> {
    let is = |(name, stat, _): &&(&str, Option<Stat>, Take)| {
        *name == condition.metric.name && *stat == condition.stat
    };
    LIVE.iter().find(is).map(|(_, _, take)| *take)
}

/// Whether a condition is about something that is known while a run goes.
pub(crate) fn is_live(condition: &Expectation) -> bool {
    take(condition).is_some()
}

/// Everything that a condition can be about, as it is written.
pub(crate) fn live_metrics() -> Vec<String> {
    let written = |(name, stat, _): &(&str, Option<Stat>, Take)| match stat {
        Some(stat) => format!("{name} {stat}"),
        None => (*name).to_owned(),
    };
    LIVE.iter().map(written).collect()
}

/// The guardrails of a run under way.
#[derive(Debug, Default)]
pub(super) struct Guards<'p> {
    watched: Vec<Watched<'p>>,
    failed: u64,
    indeterminate: u64,
}

#[derive(Debug)]
struct Watched<'p> {
    guard: &'p GuardPlan,
    take: Take,
    /// For how many seconds the condition has held by now.
    held: u32,
    /// The value that came nearest to the condition, or went furthest beyond it.
    extreme: Option<f64>,
    met: Option<Met>,
}

/// A condition that had held for long enough.
#[derive(Debug, Clone, Copy)]
struct Met {
    /// When, CLOCK_MONOTONIC.
    at_ns: u64,
    /// The same in seconds since t = 0.
    at_s: f64,
    /// The value then.
    value: f64,
}

impl<'p> Guards<'p> {
    pub(super) fn new(plans: &'p [GuardPlan]) -> Self {
        let watched = plans.iter().filter_map(|guard| {
            // The plan has refused others.
            let take = take(&guard.condition)?;
            Some(Watched { guard, take, held: 0, extreme: None, met: None })
        });
        Guards { watched: watched.collect(), ..Guards::default() }
    }

    /// Takes in a second that ended at `end_ns`, where t = 0 was at `zero_ns` and the load ends at `load_end_ns`. Tells in words which
    /// condition has held for long enough now.
    pub(super) fn look(
        &mut self,
        second: &Second,
        end_ns: u64,
        zero_ns: u64,
        load_end_ns: u64,
    ) -> Option<String> {
        if end_ns < zero_ns + SECOND_NS || end_ns > load_end_ns {
            return None;
        }
        self.failed += second.failed.saturating_sub(second.indeterminate);
        self.indeterminate += second.indeterminate;
        let seen = Seen { second, failed: self.failed, indeterminate: self.indeterminate };
        let at_s = (end_ns - zero_ns) as f64 / SECOND_NS as f64;
        let mut told = None;
        for watched in &mut self.watched {
            watched.look(seen, end_ns, at_s);
            told = told.or_else(|| watched.met.is_some().then(|| watched.in_words()));
        }
        told
    }

    /// Whether one of them did.
    pub(super) fn ended_the_load(&self) -> bool {
        self.watched.iter().any(|watched| watched.met.is_some())
    }

    /// What became of each of them. `doubt` tells whether the load generator may have been the limit for a metric between two times, CLOCK_MONOTONIC.
    pub(super) fn judge(&self, doubt: impl Fn(&Metric, u64, u64) -> Option<Doubt>) -> Vec<Judged> {
        self.watched.iter().map(|watched| watched.judge(&doubt)).collect()
    }
}

impl Watched<'_> {
    fn look(&mut self, seen: Seen<'_>, at_ns: u64, at_s: f64) {
        let Some(value) = (self.take)(seen) else { return };
        let condition = &self.guard.condition;
        self.extreme = Some(match (condition.op, self.extreme) {
            (Op::Above | Op::AtLeast, Some(before)) => value.max(before),
            (Op::Below | Op::AtMost, Some(before)) => value.min(before),
            _ => value,
        });
        self.held = if condition.op.holds(value, condition.limit) { self.held + 1 } else { 0 };
        if self.held >= self.guard.seconds && self.met.is_none() {
            self.met = Some(Met { at_ns, at_s, value });
        }
    }

    fn in_words(&self) -> String {
        let Some(Met { at_s, value, .. }) = self.met else { return rule(self.guard) };
        format!("{}: {} at {at_s:.0} s", rule(self.guard), show(value, self.guard.condition.metric.unit))
    }

    fn judge(&self, doubt: impl Fn(&Metric, u64, u64) -> Option<Doubt>) -> Judged {
        let condition = &self.guard.condition;
        let held_ns = u64::from(self.guard.seconds) * SECOND_NS;
        // Of the seconds that ended the load, not of the run.
        let doubt =
            self.met.and_then(|met| doubt(condition.metric, met.at_ns.saturating_sub(held_ns), met.at_ns));
        let (outcome, reason) = match (self.met, self.extreme, doubt) {
            (Some(_), _, Some(doubt)) => (Outcome::Unknown, Some(doubt.why)),
            (Some(Met { at_s, .. }), _, None) => {
                (Outcome::Broken, Some(format!("at {at_s:.0} s; it ended the load and every fault")))
            }
            (None, Some(_), _) => (Outcome::Held, None),
            (None, None, _) => (Outcome::Unknown, Some("there was no second to look at".to_owned())),
        };
        Judged {
            rule: rule(self.guard),
            during: WINDOW.to_owned(),
            severity: Severity::Fail,
            builtin: false,
            outcome,
            observed: self.met.map(|met| met.value).or(self.extreme),
            limit: condition.limit,
            unit: condition.metric.unit,
            reason,
        }
    }
}

/// A guardrail as it is told everywhere.
pub(crate) fn rule(guard: &GuardPlan) -> String {
    format!("abort_when {} for {} s", guard.condition.rule, guard.seconds)
}

#[cfg(test)]
mod tests {
    use gauntlet_reports::Capabilities;
    use gauntlet_reports::evaluate::Truth;
    use gauntlet_reports::metric::METRICS;

    use super::*;

    const ZERO_NS: u64 = 500_000_000;
    const END_NS: u64 = 100 * SECOND_NS;

    fn trusted(_: &Metric, _: u64, _: u64) -> Option<Doubt> {
        None
    }

    fn doubted(_: &Metric, from_ns: u64, to_ns: u64) -> Option<Doubt> {
        Some(Doubt { truth: Truth::Anywhere, why: format!("busy for {} s", (to_ns - from_ns) / SECOND_NS) })
    }

    fn guard(rule: &str, seconds: u32) -> GuardPlan {
        let capabilities = Capabilities { acks: true, readers: true, ..Capabilities::default() };
        let condition = Expectation::parse(rule, None, Severity::Fail, &capabilities).unwrap();
        GuardPlan { condition, seconds }
    }

    /// Tells seconds 1, 2, … and returns the number of the one that ended the load.
    fn tell(guards: &mut Guards<'_>, seconds: &[Second]) -> Option<usize> {
        let number = |(i, second): (usize, &Second)| {
            let end_ns = (i as u64 + 2) * SECOND_NS;
            guards.look(second, end_ns, ZERO_NS, END_NS).map(|_| i + 1)
        };
        seconds.iter().enumerate().find_map(number)
    }

    fn acked(acked: u64, failed: u64) -> Second {
        Second { acked, failed, p99_ms: 7.0, ..Second::default() }
    }

    #[test]
    fn a_condition_must_hold_without_a_break() {
        let plans = [guard("produce.throughput < 10/s", 3)];
        let low_then_high = [acked(0, 0), acked(0, 0), acked(10, 0), acked(9, 0), acked(0, 0), acked(1, 0)];
        let mut guards = Guards::new(&plans);
        assert_eq!(tell(&mut guards, &low_then_high), Some(6));
        let judged = &guards.judge(trusted)[0];
        assert_eq!((judged.outcome, judged.observed), (Outcome::Broken, Some(1.0)));
        assert_eq!(judged.rule, "abort_when produce.throughput < 10/s for 3 s");
        let unsure = &guards.judge(doubted)[0];
        assert_eq!((unsure.outcome, unsure.reason.as_deref()), (Outcome::Unknown, Some("busy for 3 s")));

        let mut guards = Guards::new(&plans);
        assert_eq!(tell(&mut guards, &low_then_high[..5]), None);
        let judged = &guards.judge(doubted)[0];
        assert_eq!(
            (judged.outcome, judged.observed),
            (Outcome::Held, Some(0.0)),
            "a success is none to doubt"
        );
    }

    #[test]
    fn a_second_without_anything_to_measure_changes_nothing() {
        let plans = [guard("produce.latency p99 > 5ms", 2)];
        let mut guards = Guards::new(&plans);
        assert_eq!(tell(&mut guards, &[acked(5, 0), acked(0, 0), acked(5, 0)]), Some(3));
        let mut guards = Guards::new(&plans);
        assert_eq!(tell(&mut guards, &[acked(0, 0), acked(0, 0)]), None);
        assert_eq!(guards.judge(trusted)[0].outcome, Outcome::Unknown);
    }

    #[test]
    fn a_budget_counts_from_the_beginning() {
        let plans = [guard("produce.failed >= 5", 1), guard("produce.error_rate > 50%", 1)];
        let mut guards = Guards::new(&plans);
        assert_eq!(tell(&mut guards, &[acked(100, 2), acked(100, 2), acked(100, 1)]), Some(3));
        let outcomes: Vec<_> = guards.judge(trusted).iter().map(|j| j.outcome).collect();
        assert_eq!(outcomes, [Outcome::Broken, Outcome::Held]);
    }

    #[test]
    fn only_whole_seconds_of_the_load_count() {
        let plans = [guard("produce.throughput < 10/s", 1)];
        let mut guards = Guards::new(&plans);
        let mut look = |end_ns| guards.look(&acked(0, 0), end_ns, ZERO_NS, END_NS).is_some();
        assert!(!look(SECOND_NS), "it began before t = 0");
        assert!(!look(END_NS + SECOND_NS));
        assert!(look(END_NS));
    }

    #[test]
    fn what_is_live_is_a_metric() {
        for (name, stat, _) in LIVE {
            assert!(METRICS.iter().any(|metric| metric.name == name), "{name}");
            let stat = stat.map_or_else(String::new, |stat| format!(" {stat}"));
            let unit = ["5", "5ms", "5/s", "5MiB"].into_iter().find(|quantity| {
                let rule = format!("{name}{stat} > {quantity}");
                let capabilities = Capabilities { acks: true, readers: true, ..Capabilities::default() };
                Expectation::parse(&rule, None, Severity::Fail, &capabilities)
                    .is_ok_and(|condition| is_live(&condition))
            });
            assert!(unit.is_some(), "{name}{stat} can't be written");
        }
        assert!(!is_live(&guard("produce.acked > 5", 1).condition));
    }
}
