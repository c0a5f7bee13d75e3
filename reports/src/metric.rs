//! The metric registry: every name that an expectation or a report can use.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What a metric's number means. Values are kept in the unit named here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A number of things.
    Count,
    /// Things per second.
    PerSecond,
    /// Bytes per second.
    BytesPerSecond,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// Nanoseconds.
    Nanoseconds,
    /// A share of one.
    Ratio,
    /// Mebibytes.
    Mebibytes,
}

/// One number out of many samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stat {
    /// Median.
    P50,
    /// 90th percentile.
    P90,
    /// 95th percentile.
    P95,
    /// 99th percentile.
    P99,
    /// 99.9th percentile.
    P999,
    /// 99.99th percentile.
    P9999,
    /// Highest.
    Max,
    /// Lowest.
    Min,
    /// Arithmetic mean.
    Mean,
    /// Number of samples.
    Count,
}

impl Stat {
    /// All of them, by their names in the grammar.
    pub const ALL: [(&'static str, Stat); 10] = [
        ("p50", Stat::P50),
        ("p90", Stat::P90),
        ("p95", Stat::P95),
        ("p99", Stat::P99),
        ("p99.9", Stat::P999),
        ("p99.99", Stat::P9999),
        ("max", Stat::Max),
        ("min", Stat::Min),
        ("mean", Stat::Mean),
        ("count", Stat::Count),
    ];

    /// The quantile, for those that are one.
    pub fn quantile(self) -> Option<f64> {
        match self {
            Stat::P50 => Some(0.5),
            Stat::P90 => Some(0.9),
            Stat::P95 => Some(0.95),
            Stat::P99 => Some(0.99),
            Stat::P999 => Some(0.999),
            Stat::P9999 => Some(0.9999),
            Stat::Max | Stat::Min | Stat::Mean | Stat::Count => None,
        }
    }
}

impl fmt::Display for Stat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Stat::ALL.iter().find(|(_, s)| s == self).map_or("?", |(name, _)| name);
        f.write_str(name)
    }
}

/// Which numbers a metric has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A distribution: a statistic has to be named.
    Distribution,
    /// A level over time: `max`, `min` and `mean`; one has to be named.
    Level,
    /// One number: no statistic.
    Single,
}

/// Over what a metric is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A window of the run: `during` applies.
    Window,
    /// The whole run.
    Run,
    /// One fault, named by the label `fault`.
    Fault,
}

/// What a plan must have for a metric to exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing special.
    Nothing,
    /// Acks: some producer with acks other than 0.
    Acks,
    /// Readers during the load.
    Readers,
    /// A checker.
    Verify,
    /// A rate that load is scheduled at.
    Schedule,
    /// A search for the highest rate that holds.
    Search,
    /// A search that is done once more with one broker down.
    Headroom,
    /// Producers that tell when they write the first byte of a batch.
    FirstWrite,
    /// A producer that has a queue of its own, and statistics about it.
    Queue,
    /// A client that has statistics of its own.
    Statistics,
    /// Producers whose answers from brokers are seen.
    Answers,
    /// A load that drops what finds no room.
    Drops,
}

/// A metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name in expectations, `run.json` and reports.
    pub name: &'static str,
    /// Unit of its values.
    pub unit: Unit,
    /// Which numbers it has.
    pub shape: Shape,
    /// Over what it is measured.
    pub scope: Scope,
    /// What a plan must have for it.
    pub needs: Needs,
    /// Values of the label `by`, where it has one.
    pub by: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
}

const fn window(name: &'static str, unit: Unit, shape: Shape, needs: Needs, help: &'static str) -> Metric {
    Metric { name, unit, shape, scope: Scope::Window, needs, by: &[], help }
}

const fn verify(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        unit: Unit::Count,
        shape: Shape::Single,
        scope: Scope::Run,
        needs: Needs::Verify,
        by: &[],
        help,
    }
}

const fn fault(name: &'static str, needs: Needs, help: &'static str) -> Metric {
    Metric { name, unit: Unit::Seconds, shape: Shape::Single, scope: Scope::Fault, needs, by: &[], help }
}

/// What a search is for.
pub const SUSTAINABLE_RATE: &str = "search.sustainable_rate";
/// The same with one broker down.
pub const HEADROOM_RATE: &str = "search.headroom_rate";

/// What quotas do to producers.
pub const THROTTLE_TIME: &str = "produce.throttle_time";
/// How often producers had to send again.
pub const RETRIES: &str = "produce.retries";

/// Every metric of this version.
pub const METRICS: &[Metric] = &[
    window("produce.throughput", Unit::PerSecond, Shape::Single, Needs::Acks, "records acked per second"),
    window(
        "produce.bytes",
        Unit::BytesPerSecond,
        Shape::Single,
        Needs::Acks,
        "bytes of acked values per second",
    ),
    window(
        "produce.latency",
        Unit::Milliseconds,
        Shape::Distribution,
        Needs::Acks,
        "intended time to ack; records that failed count with their age",
    ),
    window(
        "produce.service_time",
        Unit::Milliseconds,
        Shape::Distribution,
        Needs::FirstWrite,
        "first byte written to ack",
    ),
    window("produce.acked", Unit::Count, Shape::Single, Needs::Acks, "records acked"),
    window(
        "produce.failed",
        Unit::Count,
        Shape::Single,
        Needs::Nothing,
        "records proven not to be in the log",
    ),
    window(
        "produce.indeterminate",
        Unit::Count,
        Shape::Single,
        Needs::Acks,
        "records that may or may not be in the log",
    ),
    window("produce.unacknowledged", Unit::Count, Shape::Single, Needs::Nothing, "records sent with acks=0"),
    Metric {
        name: THROTTLE_TIME,
        unit: Unit::Milliseconds,
        shape: Shape::Single,
        scope: Scope::Run,
        needs: Needs::Answers,
        by: &[],
        help: "longest `throttle_time_ms` that a broker answered a producer, warm-up included",
    },
    Metric {
        name: RETRIES,
        unit: Unit::Count,
        shape: Shape::Single,
        scope: Scope::Run,
        needs: Needs::Answers,
        by: &[],
        help: "batches that producers sent again (of librdkafka: requests), warm-up included",
    },
    window(
        "produce.error_rate",
        Unit::Ratio,
        Shape::Single,
        Needs::Acks,
        "records failed or indeterminate, of all that ended",
    ),
    window("consume.throughput", Unit::PerSecond, Shape::Single, Needs::Readers, "records read per second"),
    window(
        "e2e.latency",
        Unit::Milliseconds,
        Shape::Distribution,
        Needs::Readers,
        "intended time to decoded in the reader",
    ),
    window(
        "consumer.lag",
        Unit::Count,
        Shape::Level,
        Needs::Readers,
        "records between the readers and the high watermarks",
    ),
    window(
        "load.achieved_ratio",
        Unit::Ratio,
        Shape::Single,
        Needs::Schedule,
        "records intended in the window and acked before it ended, of all intended in it",
    ),
    window(
        "load.dropped",
        Unit::Count,
        Shape::Single,
        Needs::Drops,
        "records that were never sent, because there was no room when they were due",
    ),
    Metric {
        name: "load.slip",
        unit: Unit::Milliseconds,
        shape: Shape::Single,
        scope: Scope::Window,
        needs: Needs::Acks,
        by: &["broker", "gauntlet", "host"],
        help: "longest time that a record left late because of `by`",
    },
    window(
        "cluster.under_replicated_partitions",
        Unit::Count,
        Shape::Level,
        Needs::Nothing,
        "partitions of the run's topics with fewer replicas in sync than replicas",
    ),
    window(
        "cluster.offline_partitions",
        Unit::Count,
        Shape::Level,
        Needs::Nothing,
        "partitions of the run's topics without a leader",
    ),
    window(
        "cluster.isr_size",
        Unit::Count,
        Shape::Level,
        Needs::Nothing,
        "replicas in sync of the partition of the run's topics that has the fewest",
    ),
    window(
        "cluster.brokers_alive",
        Unit::Count,
        Shape::Level,
        Needs::Nothing,
        "brokers that are registered and not fenced",
    ),
    window(
        "cluster.leader_changes",
        Unit::Count,
        Shape::Single,
        Needs::Nothing,
        "times that a partition of the run's topics got another leader",
    ),
    window(
        "client.cpu_ns_per_message",
        Unit::Nanoseconds,
        Shape::Single,
        Needs::Acks,
        "user and system time of gauntlet per record acked",
    ),
    window(
        "client.rss_mb",
        Unit::Mebibytes,
        Shape::Single,
        Needs::Nothing,
        "highest resident memory of gauntlet",
    ),
    window(
        "client.queue",
        Unit::Count,
        Shape::Level,
        Needs::Queue,
        "records in the queues of librdkafka's producers, by its statistics, once per second",
    ),
    window(
        "client.rtt_p50",
        Unit::Milliseconds,
        Shape::Level,
        Needs::Statistics,
        "median of a second's round trips of librdkafka, at the client and broker where it is highest",
    ),
    window(
        "client.rtt_p99",
        Unit::Milliseconds,
        Shape::Level,
        Needs::Statistics,
        "99th percentile of a second's round trips of librdkafka, at the client and broker where it is highest",
    ),
    window(
        "host.busy",
        Unit::Ratio,
        Shape::Single,
        Needs::Nothing,
        "part of the CPU time of gauntlet's host that was used, by whomever",
    ),
    window(
        "host.steal",
        Unit::Ratio,
        Shape::Single,
        Needs::Nothing,
        "part of the CPU time of gauntlet's host that its hypervisor gave to others",
    ),
    fault(
        "recovery.leader_elected",
        Needs::Nothing,
        "from the effect until every partition that the target led has another leader",
    ),
    fault(
        "recovery.first_ack",
        Needs::Acks,
        "from the effect until every partition that the target led acked again",
    ),
    fault("recovery.isr_full", Needs::Nothing, "from the heal action until every replica is in sync again"),
    fault(
        "recovery.lag_drained",
        Needs::Readers,
        "from the heal action until the lag is back at its level before",
    ),
    fault(
        "recovery.p99_back",
        Needs::Acks,
        "from the heal action until p99 stays under twice that of `before`",
    ),
    fault(
        "unavailable.longest",
        Needs::Acks,
        "longest time in which a partition acked nothing around the fault",
    ),
    verify("verify.lost", "acked records that are not in the log"),
    verify("verify.duplicates", "records that are in the log more than once"),
    verify("verify.reordered", "records behind a later one of their stream"),
    verify("verify.corrupt", "records whose checksum is wrong"),
    verify("verify.misrouted", "records in the log of another partition or topic"),
    verify("verify.phantom", "records that nobody sent"),
    verify("verify.failed_but_present", "records in the log that were proven not to be"),
    verify("verify.inconsistent_offsets", "records that are at another offset than the ack said"),
    verify("verify.unseen", "acked records that were not read by the end"),
    verify("verify.expired", "acked records that retention removed before they were read"),
    verify("verify.compacted", "acked records that may have been compacted away before they were read"),
    verify(
        "verify.resurrected_keys",
        "keys of a compacted topic whose latest record is gone, and an older one is left",
    ),
    verify("verify.position_skips", "offsets that the reader was not given though the log has them"),
    verify("verify.position_steps_back", "records that the client under test gave a second time"),
    verify(
        "verify.read_disagreements",
        "ranges of offsets that held something else when they were read again",
    ),
    verify("verify.read_again", "offsets that were read again, around faults and leader changes, to compare"),
    verify("verify.checked", "records checked"),
    verify("verify.acked", "records acked, as the checker was told"),
    Metric {
        name: SUSTAINABLE_RATE,
        unit: Unit::PerSecond,
        shape: Shape::Single,
        scope: Scope::Run,
        needs: Needs::Search,
        by: &[],
        help: "the highest rate that was confirmed, over all trials of a search",
    },
    Metric {
        name: HEADROOM_RATE,
        unit: Unit::PerSecond,
        shape: Shape::Single,
        scope: Scope::Run,
        needs: Needs::Headroom,
        by: &[],
        help: "the highest rate that was confirmed with one broker down",
    },
];

/// Finds a metric by name.
pub fn find(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|m| m.name == name)
}

/// What a plan can produce; expectations are type-checked against it.
#[derive(Debug, Clone, Default)]
pub struct Capabilities {
    /// Some producer waits for acks.
    pub acks: bool,
    /// Somebody reads during the load.
    pub readers: bool,
    /// There is a checker.
    pub verify: bool,
    /// The load follows a schedule.
    pub schedule: bool,
    /// The load is a search for the highest rate that holds.
    pub search: bool,
    /// The search is done once more with one broker down.
    pub headroom: bool,
    /// Some producer does not tell when it writes the first byte of a batch.
    pub hides_writes: bool,
    /// Some producer has a queue of its own, and statistics about it.
    pub queues: bool,
    /// Some client has statistics of its own.
    pub statistics: bool,
    /// Some producer does not tell what brokers answer.
    pub hides_answers: bool,
    /// What finds no room when it is due is dropped.
    pub drops: bool,
    /// Names of the faults.
    pub faults: BTreeSet<String>,
}

impl Capabilities {
    /// Why a metric can't be produced; `None` if it can.
    pub fn lacks(&self, needs: Needs) -> Option<&'static str> {
        match needs {
            Needs::Acks if !self.acks => Some("every producer has acks=0, so nothing is acked"),
            Needs::Readers if !self.readers => Some("no consumer reads during the load"),
            Needs::Verify if !self.verify => Some("`verify` is off"),
            Needs::Schedule if !self.schedule => {
                Some("a load of shape `unlimited` has no schedule to achieve")
            }
            Needs::Search if !self.search => Some("only a load of shape `max-search` looks for it"),
            Needs::Headroom if !self.search => self.lacks(Needs::Search),
            Needs::Headroom if !self.headroom => {
                Some("only a search with `headroom: n-1` looks for the rate with one broker down")
            }
            Needs::FirstWrite if !self.acks => self.lacks(Needs::Acks),
            Needs::FirstWrite if self.hides_writes => {
                Some("a producer has another client than gauntlet's own, which does not tell when it writes")
            }
            Needs::Queue if !self.queues => Some("only producers with `driver: rdkafka` have such a queue"),
            Needs::Answers if self.hides_answers => {
                Some("a producer is a program, which does not tell what brokers answer")
            }
            Needs::Drops if !self.drops => {
                Some("records wait for room; only a load with `overflow: drop` drops any")
            }
            Needs::Statistics if !self.statistics => {
                Some("only clients with `driver: rdkafka` have statistics of their own")
            }
            _ => None,
        }
    }

    /// Every window that the plan has.
    pub fn windows(&self) -> Vec<String> {
        let mut windows = vec!["all".to_owned(), "before".to_owned(), "steady".to_owned()];
        for fault in &self.faults {
            windows.push(format!("fault:{fault}"));
            windows.push(format!("recovery:{fault}"));
        }
        windows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_well_formed() {
        let names: BTreeSet<_> = METRICS.iter().map(|m| m.name).collect();
        assert_eq!(names.len(), METRICS.len());
        for metric in METRICS {
            assert!(metric.name.contains('.') && !metric.help.is_empty(), "{}", metric.name);
            assert_eq!(find(metric.name), Some(metric));
        }
    }
}
