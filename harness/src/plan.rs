//! The plan: what a run will do, with every unit resolved and every limit set. Made before anything starts.

mod convert;
mod external;
mod faults;
mod foreign_login;
mod load;
mod needs;
mod permissions;
mod rdkafka;
mod security;
mod settings;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gauntlet_chaos::LocalSpec;
use gauntlet_reports::Expectation;
use gauntlet_reports::record::{LoadProfile, RatePoint};
use gauntlet_verify::{Guarantee, ProducerSemantics};
use gauntlet_wire::fetcher::Isolation;
use gauntlet_wire::producer::Acks;
use gauntlet_wire::{LinkConfig, Security, codec::Codec};

use crate::keys::KeyPlan;
use crate::load::records::Headers;
use crate::payload::{BodyPlan, IdentityPlace};
use crate::rdkafka::settings::Setting;
use crate::schedule::{Arrival, Curve};
use crate::sizes::SizePlan;
use crate::trace::Trace;

pub use convert::{PlanOptions, Planned, capabilities, check_expectation, client_security, plan};
pub(crate) use convert::{RF_DEFAULT_MAX, search_expectations};
pub use external::ExternalPlan;
pub use faults::fault_of;
pub use foreign_login::foreign_login;
pub(crate) use load::{record_plan, warmup_per_s};
pub use needs::Needs;
pub use permissions::Need;

/// Where the brokers come from.
#[derive(Debug, Clone)]
pub enum ClusterPlan {
    /// Started for the run, and gone after it.
    Local(LocalSpec),
    /// Somebody else's.
    Bootstrap(ForeignPlan),
}

impl ClusterPlan {
    /// Whether runs of both plans could go on one and the same cluster: equal brokers of our own, or the same addresses
    /// by the same protocol as the same user.
    #[must_use]
    pub fn is_same(&self, other: &ClusterPlan) -> bool {
        match (self, other) {
            (ClusterPlan::Local(a), ClusterPlan::Local(b)) => a == b,
            (ClusterPlan::Bootstrap(a), ClusterPlan::Bootstrap(b)) => {
                let user =
                    |foreign: &ForeignPlan| (foreign.security.protocol(), foreign.security.principal());
                a.servers == b.servers && user(a) == user(b)
            }
            _ => false,
        }
    }
}

/// A cluster that is somebody else's.
#[derive(Debug, Clone)]
pub struct ForeignPlan {
    /// `host:port` of some of its brokers.
    pub servers: Vec<String>,
    /// How to connect.
    pub security: Security,
    /// Faults need no other consent, as long as the cluster is the one of `cluster_id`.
    pub allow_faults: bool,
    /// The only cluster that faults are meant for.
    pub cluster_id: Option<String>,
}

/// What happens to a topic before and after the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifecycle {
    /// Created before, deleted after.
    PerRun,
    /// Created before, kept.
    Keep,
    /// Must exist; neither created nor deleted.
    Reuse,
}

/// A condition that ends the load before its time.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardPlan {
    /// The condition; about something that is known while the run goes. It is met where an expectation would hold.
    pub condition: Expectation,
    /// For how many seconds, one after the other, it must hold.
    pub seconds: u32,
}

/// A topic of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPlan {
    /// Its name.
    pub name: String,
    /// Number of partitions.
    pub partitions: u32,
    /// Replicas of each; `None` until the cluster tells how many brokers it has: then min(3, brokers).
    pub replication_factor: Option<u16>,
    /// Topic configuration, by Kafka's property names.
    pub config: BTreeMap<String, String>,
    /// Before and after.
    pub lifecycle: Lifecycle,
}

/// The client that sends or reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DriverPlan {
    /// gauntlet's own.
    Wire,
    /// librdkafka, with these settings.
    Rdkafka(Vec<Setting>),
    /// A program.
    External(ExternalPlan),
}

impl DriverPlan {
    /// The settings of librdkafka, if it is that.
    #[must_use]
    pub fn rdkafka(&self) -> Option<&[Setting]> {
        match self {
            DriverPlan::Wire | DriverPlan::External(_) => None,
            DriverPlan::Rdkafka(settings) => Some(settings),
        }
    }

    /// The program, if it is one.
    #[must_use]
    pub fn external(&self) -> Option<&ExternalPlan> {
        match self {
            DriverPlan::Wire | DriverPlan::Rdkafka(_) => None,
            DriverPlan::External(external) => Some(external),
        }
    }
}

/// A block of producers that are alike.
#[derive(Debug, Clone)]
pub struct ProducerBlock {
    /// Index of the topic.
    pub topic: usize,
    /// How many.
    pub count: u16,
    /// The client that sends.
    pub driver: DriverPlan,
    /// Connections and time-outs.
    pub links: LinkConfig,
    /// `acks`.
    pub acks: Acks,
    /// `enable.idempotence`.
    pub idempotent: bool,
    /// `compression.type`.
    pub codec: Codec,
    /// `linger.ms`.
    pub linger: Duration,
    /// `batch.size`.
    pub batch_bytes: usize,
    /// `max.request.size`.
    pub request_bytes: usize,
    /// `buffer.memory`.
    pub buffer_bytes: usize,
    /// `max.in.flight.requests.per.connection`.
    pub max_in_flight: usize,
    /// `delivery.timeout.ms`.
    pub delivery_timeout: Duration,
    /// `retries` > 0.
    pub retries: bool,
    /// Index of the load that it takes part in.
    pub load: usize,
    /// How its records look.
    pub records: RecordPlan,
}

/// How the records of a block of producers look.
#[derive(Debug, Clone)]
pub struct RecordPlan {
    /// Lengths of values, the identity included if it is there.
    pub sizes: SizePlan,
    /// Their mean, found once: of some distributions it takes many draws.
    pub value_bytes_mean: f64,
    /// What is behind the identity, or the whole value.
    pub body: BodyPlan,
    /// Where the identity is.
    pub identity: IdentityPlace,
    /// Which key each has, and so which partition.
    pub keys: KeyChoice,
    /// Record headers that each carries.
    pub headers: Headers,
}

impl RecordPlan {
    /// Takes sizes and keys from a recording.
    pub(crate) fn replay(&mut self, trace: &Arc<Trace>) {
        self.sizes = SizePlan::Recorded(Arc::clone(trace));
        self.value_bytes_mean = trace.value_bytes_mean();
        self.keys = KeyChoice::Recorded(Arc::clone(trace));
    }
}

/// How records get their keys and partitions.
#[derive(Debug, Clone, PartialEq)]
pub enum KeyChoice {
    /// No keys; partitions take turns.
    None,
    /// No keys; a batch's worth of records goes to one partition before the next one has its turn.
    Sticky,
    /// Keys decide.
    Keys(KeyPlan),
    /// As recorded.
    Recorded(Arc<Trace>),
}

/// When readers read during the load, since t = 0; what is left is read after it in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadWindow {
    /// From here on; `None`: as soon as the load begins, warm-up included.
    pub start: Option<Duration>,
    /// Until here; `None`: without a pause.
    pub end: Option<Duration>,
}

impl ReadWindow {
    /// Whether readers rest at an instant. `zero_ns` and `load_end_ns` are `u64::MAX` as long as nobody knows them.
    pub fn rests(&self, now_ns: u64, zero_ns: u64, load_end_ns: u64) -> bool {
        if now_ns >= load_end_ns {
            return false;
        }
        let since_zero_ns = now_ns.checked_sub(zero_ns).map(u128::from);
        let has_come = |at: Duration| since_zero_ns.is_some_and(|since_ns| since_ns >= at.as_nanos());
        !self.start.is_none_or(has_come) || self.end.is_some_and(has_come)
    }
}

/// A block of readers that share the partitions of a topic.
#[derive(Debug, Clone)]
pub struct ReaderBlock {
    /// Index of the topic.
    pub topic: usize,
    /// How many threads.
    pub members: u16,
    /// When they read.
    pub window: ReadWindow,
    /// The client that reads.
    pub driver: DriverPlan,
    /// Connections and time-outs.
    pub links: LinkConfig,
    /// `fetch.max.wait.ms`.
    pub max_wait: Duration,
    /// `fetch.min.bytes`.
    pub min_bytes: usize,
    /// `fetch.max.bytes`.
    pub max_bytes: usize,
    /// `max.partition.fetch.bytes`.
    pub partition_max_bytes: usize,
    /// `isolation.level`.
    pub isolation: Isolation,
}

/// How the records of a load are paced; several blocks of producers may share one.
#[derive(Debug, Clone, PartialEq)]
pub enum PacePlan {
    /// Open model.
    Open {
        /// Records per second of all its producers together, over time.
        curve: Arc<Curve>,
        /// How they are spread where the rate does not change.
        arrival: Arrival,
    },
    /// Open model, as recorded.
    Replay {
        /// Every record.
        trace: Arc<Trace>,
        /// Their rate over time, warm-up apart: for plans and charts.
        curve: Arc<Curve>,
    },
    /// Closed model, as fast as the brokers take them.
    Unlimited {
        /// All its producers together, at most.
        records_max: Option<u64>,
        /// Records that each producer may have under way.
        slots: Option<u64>,
    },
}

impl PacePlan {
    /// Records per second over time; `None` in a closed model.
    pub fn curve(&self) -> Option<&Curve> {
        match self {
            PacePlan::Open { curve, .. } | PacePlan::Replay { curve, .. } => Some(curve),
            PacePlan::Unlimited { .. } => None,
        }
    }

    /// Records that are held in memory.
    fn memory_bytes(&self) -> u64 {
        match self {
            PacePlan::Replay { trace, .. } => trace.memory_bytes(),
            PacePlan::Open { .. } | PacePlan::Unlimited { .. } => 0,
        }
    }

    /// The rate, if it is one and the same all the time.
    pub fn constant_per_s(&self) -> Option<u64> {
        match self {
            PacePlan::Open { curve, .. } => match curve.segments() {
                [one] if one.from_per_s == one.to_per_s => Some(one.from_per_s),
                _ => None,
            },
            PacePlan::Replay { .. } | PacePlan::Unlimited { .. } => None,
        }
    }

    /// The highest rate that it comes to; `None` in a closed model.
    pub fn highest_per_s(&self) -> Option<u64> {
        self.curve()?.segments().iter().map(|s| s.from_per_s.max(s.to_per_s)).max()
    }
}

/// What comes before t = 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WarmupPlan {
    /// So long.
    For(Duration),
    /// Until p99 has settled.
    UntilStable {
        /// At least so long.
        min: Duration,
        /// Then the run goes on as not warm.
        max: Duration,
    },
}

impl WarmupPlan {
    /// The longest that it can take.
    pub fn longest(self) -> Duration {
        match self {
            WarmupPlan::For(d) => d,
            WarmupPlan::UntilStable { max, .. } => max,
        }
    }
}

/// The load.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadPlan {
    /// How records are paced: first what producers share that have no load of their own, then those of their own.
    pub paces: Vec<PacePlan>,
    /// What comes before t = 0.
    pub warmup: WarmupPlan,
    /// How long after t = 0; `None` if it ends with the last record.
    pub duration: Option<Duration>,
    /// How long answers and reads are waited for after the load.
    pub drain: Duration,
    /// What finds no room when it is due is dropped; it does not wait.
    pub drops: bool,
}

/// What is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyPlan {
    /// What the run is judged by.
    pub guarantee: Guarantee,
    /// What the configuration gives by itself.
    pub derived: Guarantee,
    /// Budget of the final read, after the drain.
    pub final_read: Duration,
    /// Examples kept per class.
    pub examples_max: usize,
    /// The history of the check; `None` if it is not kept.
    pub history: Option<HistoryPlan>,
}

/// What is kept of what the checkers were told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryPlan {
    /// Longest that the file may get.
    pub bytes_max: u64,
    /// It goes if the verdict is PASS.
    pub only_on_failure: bool,
}

/// Everything that a run will do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Name of the scenario.
    pub name: String,
    /// Id of the run: part of paths and topic names.
    pub run_id: String,
    /// The same in every record.
    pub run: u32,
    /// Decides payloads and everything drawn.
    pub seed: u64,
    /// The brokers.
    pub cluster: ClusterPlan,
    /// Topics.
    pub topics: Vec<TopicPlan>,
    /// Producers.
    pub producers: Vec<ProducerBlock>,
    /// Readers during the load.
    pub readers: Vec<ReaderBlock>,
    /// The load.
    pub load: LoadPlan,
    /// `None` with `verify: off`.
    pub verify: Option<VerifyPlan>,
    /// What ends the load before its time.
    pub guards: Vec<GuardPlan>,
    /// Whether all evidence is kept (`complete`), or retention is on because the disk is too small (`windowed`).
    pub evidence: &'static str,
}

impl ReaderBlock {
    /// A reader for a topic that nobody read during the load: in a hurry, nobody waits for its latency.
    pub fn for_final_read(topic: usize) -> Self {
        ReaderBlock {
            topic,
            members: 1,
            window: ReadWindow::default(),
            driver: DriverPlan::Wire,
            links: LinkConfig::default(),
            max_wait: Duration::from_millis(100),
            min_bytes: 1,
            max_bytes: 50 << 20,
            partition_max_bytes: 4 << 20,
            isolation: Isolation::ReadUncommitted,
        }
    }
}

impl Plan {
    /// Whether any topic may elect a leader that is out of sync, as far as the scenario says.
    pub fn allows_unclean_election(&self) -> bool {
        self.topics.iter().any(|topic| self.unclean_election(topic))
    }

    /// Whether the readers of a block are shown every offset of their topic's logs: no client hides markers of transactions, and nothing is
    /// compacted. Of a topic that was there before, nobody knows.
    pub fn is_gapless(&self, block: &ReaderBlock) -> bool {
        let is_external = |p: &ProducerBlock| p.topic == block.topic && p.driver.external().is_some();
        let may_hide = block.driver != DriverPlan::Wire && self.producers.iter().any(is_external);
        let topic = &self.topics[block.topic];
        topic.lifecycle != Lifecycle::Reuse && !may_hide && !self.is_compacted(topic)
    }

    /// Whether the run creates a topic that is compacted. One whose records are checked says so itself, or its brokers do.
    pub fn is_compacted(&self, topic: &TopicPlan) -> bool {
        let of_brokers = match &self.cluster {
            ClusterPlan::Local(spec) => spec.config.get("log.cleanup.policy"),
            ClusterPlan::Bootstrap(_) => None,
        };
        let policy = topic.config.get("cleanup.policy").or(of_brokers);
        topic.lifecycle != Lifecycle::Reuse && policy.is_some_and(|policy| policy.contains("compact"))
    }

    /// Whether a topic may elect a leader that is out of sync, as far as the scenario says.
    pub fn unclean_election(&self, topic: &TopicPlan) -> bool {
        const UNCLEAN: &str = "unclean.leader.election.enable";
        let of_cluster = match &self.cluster {
            ClusterPlan::Local(spec) => spec.config.get(UNCLEAN),
            ClusterPlan::Bootstrap(_) => None,
        };
        topic.config.get(UNCLEAN).or(of_cluster).is_some_and(|v| v == "true")
    }

    /// How many replicas of a topic have to have a record before it is acked with acks=all, as far as the scenario says; at most as many
    /// as there are.
    pub fn min_insync_replicas(&self, topic: &TopicPlan) -> usize {
        const MIN_INSYNC: &str = "min.insync.replicas";
        let of_cluster = match &self.cluster {
            ClusterPlan::Local(spec) => spec.config.get(MIN_INSYNC),
            ClusterPlan::Bootstrap(_) => None,
        };
        topic.config.get(MIN_INSYNC).or(of_cluster).and_then(|value| value.parse().ok()).unwrap_or(1)
    }

    /// Number of producers of all blocks.
    pub fn producer_count(&self) -> u64 {
        self.producers.iter().map(|b| u64::from(b.count)).sum()
    }

    /// Producers that share a load.
    pub fn sharers(&self, load: usize) -> u64 {
        self.producers.iter().filter(|b| b.load == load).map(|b| u64::from(b.count)).sum()
    }

    /// Records of one load that will be intended, warm-up at its longest included; `None` without schedule.
    pub fn records_of(&self, load: usize) -> Option<u64> {
        match &self.load.paces[load] {
            PacePlan::Open { curve, .. } => {
                let warmup_s = self.load.warmup.longest().as_secs_f64();
                Some((warmup_s * curve.warmup_per_s() as f64).ceil() as u64 + curve.records())
            }
            PacePlan::Replay { trace, .. } => Some(trace.records()),
            PacePlan::Unlimited { records_max, .. } => *records_max,
        }
    }

    /// The same of all loads together.
    pub fn records_max(&self) -> Option<u64> {
        (0..self.load.paces.len()).map(|load| self.records_of(load)).sum()
    }

    /// Whether all loads follow a schedule.
    pub fn is_scheduled(&self) -> bool {
        self.load.paces.iter().all(|pace| pace.curve().is_some())
    }

    /// Scheduled records per second of all loads at an instant since t = 0 (`None`: in the warm-up); `None` without
    /// schedule.
    pub fn rate_at(&self, since_zero_ns: Option<u64>) -> Option<f64> {
        let rate = |pace: &PacePlan| {
            let curve = pace.curve()?;
            Some(match since_zero_ns {
                None => curve.warmup_per_s() as f64,
                Some(ns) => curve.rate_at(ns),
            })
        };
        self.load.paces.iter().map(rate).sum()
    }

    /// The rate of all loads together, if it is one and the same all the time.
    pub fn constant_per_s(&self) -> Option<u64> {
        self.load.paces.iter().map(PacePlan::constant_per_s).sum()
    }

    /// What is to be sent when, for the record of a run; `None` without schedule.
    pub fn profile(&self) -> Option<LoadProfile> {
        let curves: Vec<&Curve> = self.load.paces.iter().map(PacePlan::curve).collect::<Option<_>>()?;
        let mut corners: Vec<u64> = curves.iter().flat_map(|curve| curve.corners_ns()).collect();
        corners.sort_unstable();
        corners.dedup();
        let total = |at: &dyn Fn(&Curve) -> f64| curves.iter().map(|curve| at(curve)).sum::<f64>();
        let mut points = Vec::new();
        for ns in corners {
            let t_s = ns as f64 / 1e9;
            let (before, after) = (total(&|curve| curve.rate_before(ns)), total(&|curve| curve.rate_at(ns)));
            if ns > 0 {
                points.push(RatePoint { t_s, per_s: before });
            }
            if ns == 0 || before != after {
                points.push(RatePoint { t_s, per_s: after });
            }
        }
        Some(LoadProfile { warmup_per_s: total(&|curve| curve.warmup_per_s() as f64), points })
    }

    /// Mean length of a value over all producers, weighted by their number.
    pub fn value_bytes_mean(&self) -> f64 {
        let sum: f64 = self.producers.iter().map(|b| b.records.value_bytes_mean * f64::from(b.count)).sum();
        sum / self.producer_count().max(1) as f64
    }

    /// What a block of producers promises on its topic.
    pub fn semantics(&self, block: &ProducerBlock, unclean_election: bool) -> ProducerSemantics {
        ProducerSemantics {
            acks: match block.acks {
                Acks::None => gauntlet_verify::Acks::None,
                Acks::Leader => gauntlet_verify::Acks::Leader,
                Acks::All => gauntlet_verify::Acks::All,
            },
            idempotent: block.idempotent,
            transactional: false,
            retries: block.retries,
            max_in_flight: block.max_in_flight as u32,
            unclean_election,
            read_committed: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_rest_before_their_start_and_between_their_end_and_that_of_the_load() {
        const S: u64 = 1_000_000_000;
        let window = |start: Option<u64>, end: Option<u64>| ReadWindow {
            start: start.map(Duration::from_secs),
            end: end.map(Duration::from_secs),
        };
        let (unknown, zero, end) = (u64::MAX, 100 * S, 160 * S);
        let always = window(None, None);
        assert!([0, zero, end].into_iter().all(|now| !always.rests(now, zero, end)));
        let late = window(Some(10), None);
        let rests = |window: ReadWindow, s: u64| window.rests(zero + s * S, zero, end);
        assert!(late.rests(50 * S, unknown, unknown), "in a warm-up of unknown length");
        assert_eq!([0, 9, 10, 59, 60].map(|s| rests(late, s)), [true, true, false, false, false]);
        let early = window(None, Some(20));
        assert!(!early.rests(50 * S, unknown, unknown));
        assert_eq!([0, 19, 20, 59, 60].map(|s| rests(early, s)), [false, false, true, true, false]);
        assert!(!late.rests(50 * S, unknown, 40 * S), "the load was ended in its warm-up");
    }
}
