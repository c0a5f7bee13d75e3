//! What gauntlet's client was to reach, on a machine with two processors that the brokers share, with records of 100 bytes, lz4,
//! 12 partitions, three replicas, and acks=all. Each goal is answered from the trials, or not at all.

use gauntlet_wire::codec::Codec;
use serde::{Deserialize, Serialize};

use super::contender::{FRANZ_GO, LIBRDKAFKA, REFERENCE, UNCHECKED};
use super::matrix::{Cell, Mode, Pace};
use super::probe::{CHECKER, Cost, NULL_SINK, ProbeRecord};
use super::record::{Conditions, TrialRecord};
use super::statistics::Spread;
use super::summary::{CellSummary, cpu_difference_ns, summarise};
use crate::units::{Bytes, Rate};

const SIZE: Bytes = Bytes::new(100);
const CODEC: Codec = Codec::Lz4;
const RATE: Pace = Pace::At(Rate::per_second(1_000_000));
const PARTITIONS: u32 = 12;
const REPLICAS: u16 = 3;

/// What came of a goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reached {
    /// The median is on the right side of the limit.
    Met,
    /// It is not.
    Missed,
    /// Nothing was measured that could say.
    NotMeasured,
}

/// On which side of its limit a value is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// No less than the limit.
    AtLeast,
    /// No more than it.
    AtMost,
    /// Less than it.
    Below,
}

/// One goal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoalRecord {
    /// Its short name.
    pub id: String,
    /// What is to hold.
    pub text: String,
    /// The side.
    pub side: Side,
    /// The limit.
    pub limit: f64,
    /// In which unit.
    pub unit: String,
    /// What was found: the median decides.
    pub observed: Option<Spread>,
    /// What came of it.
    pub reached: Reached,
    /// Of a missed one: the file with the profile that explains it, or why there is none.
    pub profile: Option<String>,
}

struct Goal {
    id: &'static str,
    text: &'static str,
    side: Side,
    limit: f64,
    unit: &'static str,
    observed: Option<Spread>,
}

/// The cell that explains a goal, and the contender in it; `None` for those of a probe.
#[must_use]
pub fn explained_by(id: &str) -> Option<(&'static str, Cell)> {
    match id.chars().next() {
        Some('a') if id == "a4" || id == "a5" => Some((REFERENCE, cell(Mode::Produce, RATE))),
        Some('a' | 'c') if id != "c1" => Some((REFERENCE, cell(Mode::Both, RATE))),
        Some('b') => Some((REFERENCE, cell(Mode::Produce, Pace::FlatOut))),
        _ => None,
    }
}

fn cell(mode: Mode, pace: Pace) -> Cell {
    Cell { mode, size: SIZE, codec: CODEC, pace }
}

/// All goals, from what was measured.
#[must_use]
pub fn judge(conditions: &Conditions, trials: &[TrialRecord], probes: &[ProbeRecord]) -> Vec<GoalRecord> {
    let fits = conditions.partitions == PARTITIONS && conditions.replication_factor == REPLICAS;
    let trials = if fits { trials } else { &[] };
    let summaries = summarise(trials);
    let facts = Facts { summaries: &summaries, trials, probes };
    facts.goals().into_iter().map(concluded).collect()
}

fn concluded(goal: Goal) -> GoalRecord {
    let holds = |observed: Spread| match goal.side {
        Side::AtLeast => observed.median >= goal.limit,
        Side::AtMost => observed.median <= goal.limit,
        Side::Below => observed.median < goal.limit,
    };
    GoalRecord {
        id: goal.id.to_owned(),
        text: goal.text.to_owned(),
        side: goal.side,
        limit: goal.limit,
        unit: goal.unit.to_owned(),
        observed: goal.observed,
        reached: match goal.observed.map(holds) {
            None => Reached::NotMeasured,
            Some(true) => Reached::Met,
            Some(false) => Reached::Missed,
        },
        profile: None,
    }
}

struct Facts<'a> {
    summaries: &'a [CellSummary],
    trials: &'a [TrialRecord],
    probes: &'a [ProbeRecord],
}

impl Facts<'_> {
    fn summary(&self, contender: &str, cell: Cell) -> Option<&CellSummary> {
        self.summaries.iter().find(|summary| summary.contender == contender && summary.cell == cell)
    }

    fn probe(&self, probe: &str, codec: Option<Codec>, value: fn(&Cost) -> f64) -> Option<Spread> {
        let codec = codec.map(Codec::name);
        let fits = |p: &&ProbeRecord| p.probe == probe && p.size == SIZE && p.codec.as_deref() == codec;
        Spread::of(self.probes.iter().filter(fits).filter_map(|p| p.cost.as_ref()).map(value))
    }

    fn goals(&self) -> Vec<Goal> {
        let mut goals: Vec<Goal> = self.full_speed().into();
        goals.extend(self.beside_librdkafka());
        goals.extend(self.beside_franz_go());
        goals.extend(self.checker_and_sink());
        goals
    }

    fn full_speed(&self) -> [Goal; 3] {
        let whole = self.summary(REFERENCE, cell(Mode::Both, RATE));
        [
            Goal {
                id: "a1",
                text: "1M msg/s produced, consumed and verified: part of it that was achieved",
                side: Side::AtLeast,
                limit: 0.99,
                unit: "",
                observed: whole.and_then(|summary| summary.achieved_ratio),
            },
            Goal {
                id: "a2",
                text: "the same: p99 from intended send time to ack",
                side: Side::Below,
                limit: 50.0,
                unit: "ms",
                observed: whole.and_then(|summary| summary.p99_ms),
            },
            Goal {
                id: "a3",
                text: "the same: p99 from intended send time to decoded",
                side: Side::Below,
                limit: 50.0,
                unit: "ms",
                observed: whole.and_then(|summary| summary.e2e_p99_ms),
            },
        ]
    }

    fn beside_librdkafka(&self) -> [Goal; 2] {
        let peer = self.summary(LIBRDKAFKA, cell(Mode::Produce, RATE));
        [
            Goal {
                id: "a4",
                text: "1M msg/s produced: librdkafka's CPU per message, of gauntlet's",
                side: Side::AtLeast,
                limit: 4.0,
                unit: "x",
                observed: peer.and_then(|summary| summary.ratio_cpu),
            },
            Goal {
                id: "a5",
                text: "1M msg/s produced: librdkafka's p99, of gauntlet's",
                side: Side::AtLeast,
                limit: 3.0,
                unit: "x",
                observed: peer.and_then(|summary| summary.ratio_p99),
            },
        ]
    }

    fn beside_franz_go(&self) -> [Goal; 2] {
        let peer = self.summary(FRANZ_GO, cell(Mode::Produce, Pace::FlatOut));
        [
            Goal {
                id: "b1",
                text: "flat out: gauntlet's throughput, of franz-go's",
                side: Side::AtLeast,
                limit: 1.0,
                unit: "x",
                observed: peer.and_then(|summary| summary.ratio_per_s).map(inverse),
            },
            Goal {
                id: "b2",
                text: "flat out: gauntlet's CPU per message, of franz-go's",
                side: Side::AtMost,
                limit: 0.6,
                unit: "x",
                observed: peer.and_then(|summary| summary.ratio_cpu).map(inverse),
            },
        ]
    }

    fn checker_and_sink(&self) -> [Goal; 3] {
        [
            Goal {
                id: "c1",
                text: "checking a record, by itself",
                side: Side::AtMost,
                limit: 60.0,
                unit: "ns",
                observed: self.probe(CHECKER, None, Cost::cpu_ns_per_record),
            },
            Goal {
                id: "c2",
                text: "checking a record, as the difference between 1M msg/s with the checker and without",
                side: Side::AtMost,
                limit: 60.0,
                unit: "ns",
                observed: cpu_difference_ns(self.trials, cell(Mode::Both, RATE), REFERENCE, UNCHECKED),
            },
            Goal {
                id: "d",
                text: "written to a null sink by one processor",
                side: Side::AtLeast,
                limit: 5e6,
                unit: "msg/s",
                observed: self.probe(NULL_SINK, Some(CODEC), Cost::per_core_s),
            },
        ]
    }
}

fn inverse(spread: Spread) -> Spread {
    Spread { median: 1.0 / spread.median, min: 1.0 / spread.max, max: 1.0 / spread.min, n: spread.n }
}

#[cfg(test)]
mod tests {
    use super::super::options::BenchOptions;
    use super::super::summary::tests::trial;
    use super::*;

    fn reached(goals: &[GoalRecord], id: &str) -> Reached {
        goals.iter().find(|goal| goal.id == id).unwrap().reached
    }

    fn conditions() -> Conditions {
        BenchOptions::full(1).conditions()
    }

    #[test]
    fn what_was_not_measured_is_neither_met_nor_missed() {
        let goals = judge(&conditions(), &[], &[]);
        assert!(goals.iter().all(|goal| goal.reached == Reached::NotMeasured), "{goals:#?}");
        assert_eq!(goals.len(), 10);
    }

    #[test]
    fn goals_are_answered_from_the_trials() {
        let both = cell(Mode::Both, RATE);
        let produce = cell(Mode::Produce, RATE);
        let flat = cell(Mode::Produce, Pace::FlatOut);
        let trials = [
            trial(REFERENCE, both, 1, (995_000.0, 220.0, 49.0)),
            trial(UNCHECKED, both, 1, (1e6, 165.0, 45.0)),
            trial(REFERENCE, produce, 1, (1e6, 200.0, 20.0)),
            trial(LIBRDKAFKA, produce, 1, (1e6, 790.0, 61.0)),
            trial(REFERENCE, flat, 1, (3.0e6, 150.0, 300.0)),
            trial(FRANZ_GO, flat, 1, (3.2e6, 260.0, 300.0)),
        ];
        let cost = Cost { records: 1_000_000, cpu_s: 0.19, seconds: 0.2 };
        let probe = |name: &str, codec: Option<&str>, cpu_s: f64| ProbeRecord {
            probe: name.to_owned(),
            size: SIZE,
            codec: codec.map(str::to_owned),
            repeat: 1,
            cost: Some(Cost { cpu_s, ..cost }),
            failed: None,
        };
        let probes = [probe(NULL_SINK, Some("lz4"), 0.19), probe(CHECKER, None, 0.061)];
        let goals = judge(&conditions(), &trials, &probes);
        for id in ["a1", "a2", "a3", "a5", "b2", "c2", "d"] {
            assert_eq!(reached(&goals, id), Reached::Met, "{id}");
        }
        for id in ["a4", "b1", "c1"] {
            assert_eq!(reached(&goals, id), Reached::Missed, "{id}");
        }
        let other = Conditions { partitions: 3, ..conditions() };
        assert_eq!(reached(&judge(&other, &trials, &probes), "a1"), Reached::NotMeasured);
    }

    #[test]
    fn every_goal_on_brokers_has_a_cell_that_explains_it() {
        for goal in judge(&conditions(), &[], &[]) {
            let is_probe = goal.id == "c1" || goal.id == "d";
            assert_eq!(explained_by(&goal.id).is_none(), is_probe, "{}", goal.id);
        }
    }
}
