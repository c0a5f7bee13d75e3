//! The plan: what a run will do, with every unit resolved and every limit set. Made before anything starts.

mod convert;
mod needs;
mod permissions;
mod security;
mod settings;

use std::collections::BTreeMap;
use std::time::Duration;

use gauntlet_chaos::LocalSpec;
use gauntlet_verify::{Guarantee, ProducerSemantics};
use gauntlet_wire::fetcher::Isolation;
use gauntlet_wire::producer::Acks;
use gauntlet_wire::{LinkConfig, Security, codec::Codec};

pub(crate) use convert::RF_DEFAULT_MAX;
pub use convert::{PlanOptions, Planned, capabilities, check_expectation, plan};
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

/// A cluster that is somebody else's.
#[derive(Debug, Clone)]
pub struct ForeignPlan {
    /// `host:port` of some of its brokers.
    pub servers: Vec<String>,
    /// How to connect.
    pub security: Security,
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

/// A block of producers that are alike.
#[derive(Debug, Clone)]
pub struct ProducerBlock {
    /// Index of the topic.
    pub topic: usize,
    /// How many.
    pub count: u16,
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
}

/// A block of readers that share the partitions of a topic.
#[derive(Debug, Clone)]
pub struct ReaderBlock {
    /// Index of the topic.
    pub topic: usize,
    /// How many threads.
    pub members: u16,
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

/// How records are paced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacePlan {
    /// Open model, at a constant rate of all producers together.
    Constant {
        /// Records per second.
        rate_per_s: u64,
    },
    /// Closed model, as fast as the brokers take them.
    Unlimited {
        /// All producers together, at most.
        records_max: Option<u64>,
    },
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadPlan {
    /// How records are paced.
    pub pace: PacePlan,
    /// What comes before t = 0.
    pub warmup: WarmupPlan,
    /// How long after t = 0; `None` if it ends with the last record.
    pub duration: Option<Duration>,
    /// How long answers and reads are waited for after the load.
    pub drain: Duration,
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
    /// Length of a value.
    pub value_bytes: usize,
    /// How much of a body is incompressible.
    pub random_fraction: f64,
    /// The load.
    pub load: LoadPlan,
    /// `None` with `verify: off`.
    pub verify: Option<VerifyPlan>,
    /// Whether all evidence is kept (`complete`), or retention is on because the disk is too small (`windowed`).
    pub evidence: &'static str,
}

impl ReaderBlock {
    /// A reader for a topic that nobody read during the load: in a hurry, nobody waits for its latency.
    pub fn for_final_read(topic: usize) -> Self {
        ReaderBlock {
            topic,
            members: 1,
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
    /// Whether a topic may elect a leader that is out of sync, as far as the scenario says.
    pub fn unclean_election(&self, topic: &TopicPlan) -> bool {
        const UNCLEAN: &str = "unclean.leader.election.enable";
        let of_cluster = match &self.cluster {
            ClusterPlan::Local(spec) => spec.config.get(UNCLEAN),
            ClusterPlan::Bootstrap(_) => None,
        };
        topic.config.get(UNCLEAN).or(of_cluster).is_some_and(|v| v == "true")
    }

    /// Number of producers of all blocks.
    pub fn producer_count(&self) -> u64 {
        self.producers.iter().map(|b| u64::from(b.count)).sum()
    }

    /// Records that will be intended, warm-up at its longest included; `None` without schedule.
    pub fn records_max(&self) -> Option<u64> {
        match self.load.pace {
            PacePlan::Constant { rate_per_s } => {
                let seconds = self.load.warmup.longest() + self.load.duration.unwrap_or_default();
                Some((seconds.as_secs_f64() * rate_per_s as f64).ceil() as u64)
            }
            PacePlan::Unlimited { records_max } => records_max,
        }
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
