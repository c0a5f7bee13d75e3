//! The scenario as users write it: the grammar of the file, from which reading and JSON Schema are derived.
//!
//! What may be left out and has a default that depends on something else is an `Option` here;
//! [`resolve`](super::resolve) fills it in. Nothing outside of this module's parent sees these types.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sweep::{ClusterUse, OnFail, SweepOrder};
use super::types::{
    ActionName, Arrival, Controllers, Direction, DiskOperation, Driver, Headroom, HealAction, IdentityPlace,
    Jvm, Lifecycle, Link, LocalCluster, LossBy, NotController, Overflow, Report, Rollback, SearchMethod,
    Severity, Stage, property_texts,
};
use crate::units::{Bytes, Count, Duration, Fraction, Offset, Rate};

mod forms;
mod hooks;
mod properties;
mod records;
mod security;

pub(crate) use forms::{
    BrokerWritten, ExpectationWritten, GuardWritten, OneOrMany, PartitionWritten, PropertyText,
    ServersWritten, VerifyWritten, Version, WarmupWritten,
};
pub(crate) use hooks::{CommandWritten, HookWritten, HooksWritten};
pub(crate) use properties::{ConsumerProperties, Number, ProducerProperties};
pub(crate) use records::{
    EnvelopeWritten, KeyName, KeyOptionsWritten, KeyWritten, PayloadFormat, PayloadWritten, SizeName,
    SizeOptionsWritten, SizeWritten,
};
pub(crate) use security::{
    EndpointWritten, MechanismWritten, ProtocolWritten, SecretWritten, SecurityProperties,
};

/// A gauntlet scenario: one claim about a Kafka cluster, with the load and the faults under which it must hold.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "Scenario")]
#[serde(deny_unknown_fields, expecting = "a map with `version`, `name`, and `load`")]
pub(crate) struct ScenarioWritten {
    /// Version of this format.
    #[expect(dead_code, reason = "reading it is the check: there is one version so far")]
    pub(crate) version: Version,
    /// Short name, part of the names of topics and reports: lower-case letters, digits, and hyphens.
    #[schemars(regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    pub(crate) name: String,
    /// What the scenario claims, for people.
    pub(crate) description: Option<String>,
    /// Words to select scenarios by.
    #[serde(default)]
    pub(crate) tags: Vec<String>,
    /// Decides payloads and the choice of targets. Drawn and printed if left out.
    pub(crate) seed: Option<u64>,
    /// Values to refer to as `${vars.NAME}`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    #[expect(dead_code, reason = "read from the tree by the interpolation; here to be part of the grammar")]
    pub(crate) vars: serde::de::IgnoredAny,
    /// Named overlays (merge patches, RFC 7396) for `--profile`; `inherits` names one that comes before.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, BTreeMap<String, serde_json::Value>>")]
    #[expect(dead_code, reason = "taken from the tree by the merge; here to be part of the grammar")]
    pub(crate) profiles: serde::de::IgnoredAny,
    /// Runs the scenario at many points, each with values of its own for `${matrix.NAME}`.
    #[serde(default)]
    #[schemars(with = "Option<SweepWritten>")]
    #[expect(
        dead_code,
        reason = "taken from the tree before points are read; here to be part of the grammar"
    )]
    pub(crate) sweep: serde::de::IgnoredAny,
    /// What to run against: three local brokers if left out.
    #[serde(default)]
    pub(crate) cluster: ClusterWritten,
    /// Topics of the run. One of 12 partitions if left out.
    pub(crate) topics: Option<Vec<TopicWritten>>,
    /// Who sends and who reads what.
    #[serde(default)]
    pub(crate) workload: WorkloadWritten,
    /// How much is sent, for how long.
    pub(crate) load: LoadWritten,
    /// What is broken on purpose, and when.
    #[serde(default)]
    pub(crate) faults: Vec<FaultWritten>,
    /// Whether open faults are healed when the run ends early.
    #[serde(default)]
    pub(crate) rollback: Rollback,
    /// What the check of every record demands; `off` switches it off.
    pub(crate) verify: Option<VerifyWritten>,
    /// What must hold for the scenario to pass, besides the built-in expectations.
    #[serde(default)]
    pub(crate) expect: Vec<ExpectationWritten>,
    /// Guardrails: conditions that end the load before its time. Every fault is healed then, what was acked is read and checked, and
    /// the verdict is FAIL.
    #[serde(default)]
    pub(crate) abort_when: Vec<GuardWritten>,
    /// Where results go, and in which forms.
    #[serde(default)]
    pub(crate) report: Report,
}

/// A file's sweep by itself.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SweepDocument {
    /// The sweep.
    pub(crate) sweep: SweepWritten,
}

/// The points at which a scenario is run, and how.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "Sweep")]
#[serde(deny_unknown_fields, expecting = "a map with `matrix`")]
pub(crate) struct SweepWritten {
    /// Values by name. A point for every combination of them.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Vec<serde_json::Value>>")]
    #[expect(
        dead_code,
        reason = "read from the tree, where values have places; here to be part of the grammar"
    )]
    pub(crate) matrix: serde::de::IgnoredAny,
    /// Points to add, or values to add to points, as in GitHub Actions.
    #[serde(default)]
    #[schemars(with = "Vec<BTreeMap<String, serde_json::Value>>")]
    #[expect(dead_code, reason = "as above")]
    pub(crate) include: serde::de::IgnoredAny,
    /// Combinations to leave out: all that have the values of an item.
    #[serde(default)]
    #[schemars(with = "Vec<BTreeMap<String, serde_json::Value>>")]
    #[expect(dead_code, reason = "as above")]
    pub(crate) exclude: serde::de::IgnoredAny,
    /// How often each point is run; once if left out.
    #[schemars(range(min = 1))]
    pub(crate) repeats: Option<u16>,
    /// In which order.
    #[serde(default)]
    pub(crate) order: SweepOrder,
    /// Pause between two runs; 10s if left out.
    pub(crate) cooldown: Option<Duration>,
    /// No run begins that could end later than this; no limit if left out.
    pub(crate) max_wall: Option<Duration>,
    /// What happens after a run that failed.
    #[serde(default)]
    pub(crate) on_fail: OnFail,
    /// Which runs share a local cluster; `shared` if left out, `per-point` if there are faults.
    pub(crate) cluster: Option<ClusterUse>,
    /// Load before the first run on a cluster that is shared, part of no result; 30s if left out.
    pub(crate) warmup: Option<Duration>,
}

/// Brokers that are containers of a Docker engine on this machine, started for the run and removed after it. They share this machine's network.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(rename = "DockerCluster")]
#[serde(
    deny_unknown_fields,
    default,
    expecting = "a map with `image`, `brokers`, `controllers`, `jvm`, `heap`, or `config`"
)]
pub(crate) struct DockerWritten {
    /// What they are containers of: `apache/kafka`, or another that is configured by `KAFKA_` variables and keeps its data in `/var/lib/kafka/data`.
    /// Got from its registry if the engine does not have it.
    pub(crate) image: String,
    /// Number of brokers, ids 1 and up.
    #[schemars(range(min = 1))]
    pub(crate) brokers: u16,
    /// Who runs the KRaft quorum: the brokers themselves, or so many containers of their own.
    pub(crate) controllers: Controllers,
    /// How the JVMs are set.
    pub(crate) jvm: Jvm,
    /// Heap of each JVM. None: 1 GiB, or 512 MiB where `jvm` is quick.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) heap: Option<Bytes>,
    /// Broker properties by Kafka's names.
    #[serde(deserialize_with = "property_texts")]
    #[schemars(with = "BTreeMap<String, PropertyText>")]
    pub(crate) config: BTreeMap<String, String>,
}

impl Default for DockerWritten {
    fn default() -> Self {
        let LocalCluster { brokers, controllers, version, jvm, heap, .. } = LocalCluster::default();
        let (image, config) = (format!("apache/kafka:{version}"), BTreeMap::new());
        Self { image, brokers, controllers, jvm, heap, config }
    }
}

/// What to run against. At most one of `local`, `docker`, and `bootstrap_servers`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "Cluster")]
#[serde(
    deny_unknown_fields,
    expecting = "a map with `local`, with `docker`, or with `bootstrap_servers`, `security`, `allow_faults`, `cluster_id`, `command`, and `ssh`"
)]
pub(crate) struct ClusterWritten {
    /// Brokers that are started for the run and stopped after it.
    pub(crate) local: Option<LocalCluster>,
    /// The same, as containers of a Docker engine on this machine.
    pub(crate) docker: Option<DockerWritten>,
    /// A cluster that runs already: `host:port, host:port` or a list of them.
    pub(crate) bootstrap_servers: Option<ServersWritten>,
    /// How to connect to `bootstrap_servers`. PLAINTEXT if left out.
    pub(crate) security: Option<SecurityProperties>,
    /// Whether faults may be injected into `bootstrap_servers` without `--yes` on the command line; needs `cluster_id`.
    #[serde(default)]
    pub(crate) allow_faults: bool,
    /// The id of the cluster that is meant by `bootstrap_servers`: faults are refused on any other.
    pub(crate) cluster_id: Option<String>,
    /// Commands, run on this machine, that do faults to the brokers of `bootstrap_servers`.
    pub(crate) command: Option<HooksWritten>,
    /// The same, run by the system's ssh on the broker's host.
    pub(crate) ssh: Option<HooksWritten>,
}

/// A topic.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "Topic")]
#[serde(deny_unknown_fields, expecting = "a map with at least `name`")]
pub(crate) struct TopicWritten {
    /// May hold `${run.id}`.
    pub(crate) name: String,
    /// Number of partitions; 12 if left out.
    #[schemars(range(min = 1))]
    pub(crate) partitions: Option<u32>,
    /// Number of replicas; 3 if left out, or the number of brokers if that is less.
    #[schemars(range(min = 1))]
    pub(crate) replication_factor: Option<u16>,
    /// Topic properties by Kafka's names.
    #[serde(default)]
    pub(crate) config: BTreeMap<String, PropertyText>,
    /// When the topic is created and deleted.
    #[serde(default)]
    pub(crate) lifecycle: Lifecycle,
}

/// Who sends and who reads what.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "Workload")]
#[serde(
    deny_unknown_fields,
    expecting = "a map with `payload`, `identity`, `key`, `producers`, or `consumers`"
)]
pub(crate) struct WorkloadWritten {
    /// What the records hold, unless a block of producers says so itself.
    pub(crate) payload: Option<PayloadWritten>,
    /// Where a record's identity is, unless a block of producers says so itself.
    pub(crate) identity: Option<IdentityPlace>,
    /// Keys of the records, unless a block of producers says so itself.
    pub(crate) key: Option<KeyWritten>,
    /// Groups of equal producers: one block or a list.
    pub(crate) producers: Option<OneOrMany<ProducersWritten>>,
    /// Groups of readers: one block or a list. An empty list: nobody reads during the load.
    pub(crate) consumers: Option<OneOrMany<ConsumersWritten>>,
}

/// Equal producers.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "Producers")]
#[serde(
    deny_unknown_fields,
    expecting = "a map with `topic`, `count`, `driver`, `command`, `config`, `payload`, `identity`, `key`, or `load`"
)]
pub(crate) struct ProducersWritten {
    /// Topic to send to. May be left out if there is only one.
    pub(crate) topic: Option<String>,
    /// How many; one per two cores if left out.
    #[schemars(range(min = 1))]
    pub(crate) count: Option<u16>,
    /// Client that sends.
    #[serde(default)]
    pub(crate) driver: Driver,
    /// With `driver: external`: the program and its arguments. Relative to where gauntlet is called, or found on the PATH.
    pub(crate) command: Option<Vec<String>>,
    /// Producer properties by Kafka's names.
    #[serde(default)]
    pub(crate) config: ProducerProperties,
    /// What its records hold; `workload.payload` if left out.
    pub(crate) payload: Option<PayloadWritten>,
    /// Where a record's identity (34 bytes: who sent it, when, a checksum) is; `workload.identity` if left out, and without
    /// that in front of values, or with JSON messages in a header.
    pub(crate) identity: Option<IdentityPlace>,
    /// Keys of its records; `workload.key` if left out.
    pub(crate) key: Option<KeyWritten>,
    /// A load of its own, besides that of the scenario.
    pub(crate) load: Option<LoadWritten>,
}

/// Readers that share the partitions of a topic by assignment.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "Consumers")]
#[serde(deny_unknown_fields, expecting = "a map with `topic`, `members`, `driver`, `command`, or `config`")]
pub(crate) struct ConsumersWritten {
    /// Topic to read. May be left out if there is only one.
    pub(crate) topic: Option<String>,
    /// How many share the partitions; 1 if left out.
    #[schemars(range(min = 1))]
    pub(crate) members: Option<u16>,
    /// They begin to read so long after the warm-up, with the run's first record: they have to catch up.
    pub(crate) start: Option<Duration>,
    /// They stop here, and read the rest when the load has ended.
    pub(crate) end: Option<Duration>,
    /// Client that reads.
    #[serde(default)]
    pub(crate) driver: Driver,
    /// With `driver: external`: the program and its arguments. Relative to where gauntlet is called, or found on the PATH.
    pub(crate) command: Option<Vec<String>>,
    /// Consumer properties by Kafka's names.
    #[serde(default)]
    pub(crate) config: ConsumerProperties,
}

/// How much is sent, for how long.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "Load")]
#[serde(deny_unknown_fields, expecting = "a map with at least `shape`")]
pub(crate) struct LoadWritten {
    /// Form of the traffic.
    pub(crate) shape: ShapeName,
    /// Messages per second of all producers together. For `constant`.
    pub(crate) rate: Option<Rate>,
    /// How long load is sent after the warm-up.
    pub(crate) duration: Option<Duration>,
    /// How many messages are sent after the warm-up; instead of `duration`, for `unlimited`.
    pub(crate) messages: Option<Count>,
    /// Records that each producer may have under way at once. For `unlimited`; as many as the client's limits let it if
    /// left out. 1 is a producer that waits for each answer.
    #[schemars(range(min = 1))]
    pub(crate) slots: Option<u64>,
    /// First rate. For `ramp` and `step`.
    pub(crate) from: Option<Rate>,
    /// Last rate. For `ramp`.
    pub(crate) to: Option<Rate>,
    /// What each level has more than the one before. For `step`.
    pub(crate) increment: Option<Rate>,
    /// Number of levels. For `step`.
    #[schemars(range(min = 1))]
    pub(crate) levels: Option<u32>,
    /// Length of a level. For `step`.
    pub(crate) level_duration: Option<Duration>,
    /// Length of the ramp between two levels; none if left out. For `step`.
    pub(crate) ramp_between: Option<Duration>,
    /// Rate before and after the burst. For `spike`.
    pub(crate) base: Option<Rate>,
    /// Rate of the burst. For `spike`.
    pub(crate) peak: Option<Rate>,
    /// When the burst begins, counted from the end of the warm-up. For `spike`.
    pub(crate) spike_at: Option<Duration>,
    /// How long the burst lasts. For `spike`.
    pub(crate) spike_for: Option<Duration>,
    /// Straight lines from one target to the next, the first from zero. For `stages`.
    pub(crate) stages: Option<Vec<Stage>>,
    /// A recording, CSV or NDJSON with `time` (or `timestamp`), `key` and `size`. For `replay`.
    pub(crate) file: Option<String>,
    /// How many times as fast as it was recorded; 1 if left out. For `replay`.
    #[schemars(range(min = 0.001, max = 1000.0))]
    pub(crate) speed: Option<f64>,
    /// Which rate is searched, and what must hold at it. For `max-search`.
    pub(crate) search: Option<SearchWritten>,
    /// How records are spread where the rate does not change; evenly if left out.
    pub(crate) arrival: Option<Arrival>,
    /// When a producer's own load begins, counted from the end of the warm-up; with it if left out.
    pub(crate) start: Option<Duration>,
    /// Load before the measurement begins, excluded from results; 10s if left out.
    pub(crate) warmup: Option<WarmupWritten>,
    /// Longest wait after the load for what was acked to be read; 60s if left out.
    pub(crate) drain: Option<Duration>,
    /// What happens to records that the brokers don't take in time.
    pub(crate) overflow: Option<Overflow>,
    /// `open`: the rate does not slow down with the brokers. `closed`: only for `unlimited`, and its default.
    pub(crate) model: Option<Model>,
}

/// The search for the highest rate that holds.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[schemars(rename = "Search")]
#[serde(deny_unknown_fields, expecting = "a map with `low`, `high`, and `sustainable`")]
pub(crate) struct SearchWritten {
    /// Rate of the first trial: one that surely holds.
    pub(crate) low: Rate,
    /// No trial is faster.
    pub(crate) high: Rate,
    /// Expressions over the load of a trial, without warm-up and drain. A rate holds if all of them do.
    pub(crate) sustainable: Vec<String>,
    /// How close the highest rate that holds and the lowest one that does not have to be; 2% if left out.
    pub(crate) resolution: Option<Fraction>,
    /// Length of a trial after its warm-up; 30s if left out.
    pub(crate) trial: Option<Duration>,
    /// Length of the trial that confirms what was found; four times `trial` if left out.
    pub(crate) confirm: Option<Duration>,
    /// How the next rate is chosen.
    #[expect(dead_code, reason = "there is one method so far; that it is named keeps the file readable")]
    pub(crate) method: Option<SearchMethod>,
    /// The rate that is needed: the report tells the headroom above it.
    pub(crate) target: Option<Rate>,
    /// Pause between two trials; 10s if left out.
    pub(crate) cooldown: Option<Duration>,
    /// Load at `low` before the first trial on a cluster, part of no result; 30s if left out.
    pub(crate) warmup: Option<Duration>,
    /// `n-1`: search once more with one broker down, up to the rate that was found.
    pub(crate) headroom: Option<Headroom>,
}

/// Form of the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ShapeName {
    /// `rate` messages per second.
    Constant,
    /// From `from` to `to` messages per second in a straight line.
    Ramp,
    /// `levels` rates, `increment` apart, each for `level_duration`.
    Step,
    /// `base` messages per second, and `peak` for a while.
    Spike,
    /// From one target to the next in straight lines.
    Stages,
    /// As fast as the brokers take it.
    Unlimited,
    /// The records of `file`, when they came.
    Replay,
    /// A series of trials, each at one rate, that finds the highest at which `search.sustainable` holds.
    MaxSearch,
}

/// Whether arrivals depend on answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Model {
    /// Arrivals follow the clock.
    Open,
    /// The next message is sent when there is room.
    Closed,
}

/// A fault: what is done to whom, when, and how it ends.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "Fault")]
#[serde(deny_unknown_fields, expecting = "a map with `name`, `at`, and `action`")]
pub(crate) struct FaultWritten {
    /// What expectations call it: lower-case letters, digits, and hyphens.
    #[schemars(regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    pub(crate) name: String,
    /// When, counted from the end of the warm-up.
    pub(crate) at: Duration,
    /// It begins again so long after it began, as long as the load lasts. Left out: it happens once.
    pub(crate) every: Option<Duration>,
    /// It begins up to so much later, drawn with the seed, each time anew.
    pub(crate) jitter: Option<Duration>,
    /// What is done.
    pub(crate) action: ActionName,
    /// To whom, decided when the fault is due. Not for actions that know whom: rolling restart and upgrade, kill-all, quorum loss; nor for
    /// operations of the cluster, which hit no node.
    pub(crate) target: Option<TargetWritten>,
    /// Details of the action.
    #[serde(default)]
    pub(crate) args: FaultArgsWritten,
    /// How it ends. Left out: it lasts until the run ends. Not for what is over at once: restarts and bounces, elections,
    /// `topic.add-partitions`, `feature.upgrade`.
    pub(crate) recover: Option<RecoverWritten>,
    /// How long a pause, a fault of network, disk or clock, or an operation lasts; short for `recover: { action: broker.resume, after: … }`,
    /// `network.heal`, `disk.heal`, `clock.heal`, or `operation.undo`.
    #[serde(rename = "for")]
    pub(crate) lasts_for: Option<Duration>,
}

/// Details of an action.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "FaultArgs")]
#[serde(deny_unknown_fields, expecting = "a map of what the action takes, for example { by: kill }")]
pub(crate) struct FaultArgsWritten {
    /// How a `quorum.loss` loses its voters; `pause` if left out.
    pub(crate) by: Option<LossBy>,
    /// The release that brokers become; for `broker.rolling-upgrade`.
    pub(crate) version: Option<String>,
    /// So much of the end of each log at most was not on disk yet; for `broker.power-loss`. All above Kafka's recovery point if left out.
    pub(crate) tail: Option<Bytes>,
    /// How much later bytes arrive, each way, for `network.delay`; how much longer an operation takes, for `disk.slow`.
    pub(crate) latency: Option<Duration>,
    /// By how much more or less that is, drawn evenly; for `network.delay`.
    pub(crate) jitter: Option<Duration>,
    /// How many bytes arrive in a second at most, each way, all connections together; for `network.bandwidth`.
    pub(crate) bytes_per_second: Option<Bytes>,
    /// Which links of the target; for faults of the network. All if left out, `nodes` for `network.partition`.
    pub(crate) link: Option<Link>,
    /// Which bytes, as the target sees it: what it is sent (`to`), what it sends (`from`), or both; for faults of the network.
    pub(crate) direction: Option<Direction>,
    /// Only between the target and the node of this number; for faults of the network between nodes.
    pub(crate) peer: Option<u16>,
    /// Only requests and responses of these APIs, by Kafka's names, e.g. Produce; for `network.black-hole`, `network.delay` and
    /// `network.reset`.
    pub(crate) api: Option<Vec<String>>,
    /// Which topic; for operations. May be left out if there is only one, except for `config.change`.
    pub(crate) topic: Option<String>,
    /// Whose properties: a broker's, or `all`; for `config.change`, instead of `topic`. Number of the broker that joins or leaves; for `broker.add`
    /// and `broker.remove`.
    pub(crate) broker: Option<BrokerWritten>,
    /// Number of the controller that joins or leaves the quorum; for `quorum.add-voter` and `quorum.remove-voter`, there the active one if left out.
    pub(crate) controller: Option<u16>,
    /// Properties by Kafka's names; for `config.change`.
    pub(crate) entries: Option<BTreeMap<String, PropertyText>>,
    /// Where replicas are moved to; for `partition.reassign`.
    pub(crate) brokers: Option<Vec<u16>>,
    /// How many bytes a broker moves in a second at most, in and out; for `partition.reassign`. Unlimited if left out.
    pub(crate) throttle: Option<Bytes>,
    /// Number of the broker that leads; for `leader.imbalance`.
    pub(crate) leader: Option<u16>,
    /// How many partitions the topic has then; for `topic.add-partitions`.
    pub(crate) partitions: Option<u32>,
    /// The user, or `<default>`: all who have no quota of their own; for `quota.change`.
    pub(crate) user: Option<String>,
    /// The client id, or `<default>`; for `quota.change`.
    pub(crate) client_id: Option<String>,
    /// How many bytes each broker takes from such clients in a second; for `quota.change`.
    pub(crate) producer_byte_rate: Option<Bytes>,
    /// How many bytes each broker gives to such clients in a second; for `quota.change`.
    pub(crate) consumer_byte_rate: Option<Bytes>,
    /// How much time of each broker's threads such clients may use, in percent of one thread; for `quota.change`.
    pub(crate) request_percentage: Option<u32>,
    /// Which feature; for `feature.upgrade`. `metadata.version` if left out.
    pub(crate) feature: Option<String>,
    /// The level that it rises to; for `feature.upgrade`. The highest that brokers support if left out.
    pub(crate) level: Option<i16>,
    /// Which operations; for `disk.slow` (`[write, sync]` if left out) and `disk.fail` (all if left out).
    pub(crate) operations: Option<Vec<DiskOperation>>,
    /// By how much the clock is moved, forward or (with a minus) back; for `clock.skew`.
    pub(crate) offset: Option<Offset>,
    /// What part of the time is left, up to 90%; for `cpu.starve` and `broker.slow-start`.
    pub(crate) share: Option<Fraction>,
}

impl FaultArgsWritten {
    /// Names of those that are there.
    pub(crate) fn written(&self) -> Vec<&'static str> {
        let fields = [
            ("by", self.by.is_some()),
            ("version", self.version.is_some()),
            ("tail", self.tail.is_some()),
            ("latency", self.latency.is_some()),
            ("jitter", self.jitter.is_some()),
            ("bytes_per_second", self.bytes_per_second.is_some()),
            ("link", self.link.is_some()),
            ("direction", self.direction.is_some()),
            ("peer", self.peer.is_some()),
            ("api", self.api.is_some()),
            ("topic", self.topic.is_some()),
            ("broker", self.broker.is_some()),
            ("controller", self.controller.is_some()),
            ("entries", self.entries.is_some()),
            ("brokers", self.brokers.is_some()),
            ("throttle", self.throttle.is_some()),
            ("leader", self.leader.is_some()),
            ("partitions", self.partitions.is_some()),
            ("user", self.user.is_some()),
            ("client_id", self.client_id.is_some()),
            ("producer_byte_rate", self.producer_byte_rate.is_some()),
            ("consumer_byte_rate", self.consumer_byte_rate.is_some()),
            ("request_percentage", self.request_percentage.is_some()),
            ("feature", self.feature.is_some()),
            ("level", self.level.is_some()),
            ("operations", self.operations.is_some()),
            ("offset", self.offset.is_some()),
            ("share", self.share.is_some()),
        ];
        fields.into_iter().filter_map(|(name, is_written)| is_written.then_some(name)).collect()
    }
}

/// Who is hit: `role` or `id`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "Target")]
#[serde(deny_unknown_fields, expecting = "a map with `role` or `id`")]
pub(crate) struct TargetWritten {
    /// Role that the target has when the fault is due.
    pub(crate) role: Option<Role>,
    /// Partition whose leader or followers are meant; for `role: leader` and `role: followers`.
    pub(crate) of: Option<PartitionOfWritten>,
    /// Spares the node that is the active controller when the fault is due.
    pub(crate) not: Option<NotController>,
    /// Number of the node.
    pub(crate) id: Option<u16>,
    /// Numbers of nodes that are hit all at once. For `network.isolate` and `network.partition` they are one side: they reach each other.
    pub(crate) ids: Option<Vec<u16>>,
    /// Only clients with this `client.id`, of their block or their own (`CLIENT.ID-producer-0`); for `role: producer` and `role: consumer`.
    pub(crate) client_id: Option<String>,
}

/// Role of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    /// Leader of a partition.
    Leader,
    /// Every replica of a partition but its leader.
    Followers,
    /// The active controller of the KRaft quorum.
    Controller,
    /// Any broker, drawn with the seed.
    Broker,
    /// Every broker at once; for `broker.power-loss`.
    All,
    /// Producers of the run that are programs (`driver: external`); for `client.*`.
    Producer,
    /// Consumers of the run that are programs (`driver: external`); for `client.*`.
    Consumer,
}

/// A partition of a topic.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "PartitionOf")]
#[serde(deny_unknown_fields, expecting = "a map with `topic` and `partition`")]
pub(crate) struct PartitionOfWritten {
    /// Topic. May be left out if there is only one.
    pub(crate) topic: Option<String>,
    /// Number of the partition, or `lowest`: the first whose leader may be hit.
    pub(crate) partition: PartitionWritten,
}

/// The end of a fault.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "Recover")]
#[serde(deny_unknown_fields, expecting = "a map with `action` and `after`")]
pub(crate) struct RecoverWritten {
    /// What ends it.
    pub(crate) action: HealAction,
    /// How long after the fault.
    pub(crate) after: Duration,
}

/// Demands of the check.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "VerifyOptions")]
#[serde(
    deny_unknown_fields,
    expecting = "`off`, or a map with `guarantee`, `final_read`, `max_examples`, `keep_history`, or `history_max`"
)]
pub(crate) struct VerifyOptionsWritten {
    /// What the cluster is held to; derived from the configuration if left out.
    pub(crate) guarantee: Option<super::types::Guarantee>,
    /// The last read of topics that nobody read during the load.
    pub(crate) final_read: Option<FinalReadWritten>,
    /// Most examples that are kept of each kind of finding; 8 if left out.
    pub(crate) max_examples: Option<u16>,
    /// When the history of the check is kept, for `gauntlet recheck`.
    #[serde(default)]
    pub(crate) keep_history: super::types::KeepHistory,
    /// Longest that its file may get; 256MiB if left out. What comes after that is not kept.
    pub(crate) history_max: Option<Bytes>,
}

/// The last read of topics that nobody read during the load.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "FinalRead")]
#[serde(deny_unknown_fields, expecting = "a map with `timeout`")]
pub(crate) struct FinalReadWritten {
    /// Longest that it may take.
    pub(crate) timeout: Duration,
}

/// An expectation with its options.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "ExpectationOptions")]
#[serde(deny_unknown_fields, expecting = "an expression, or a map with `that`, `during`, or `severity`")]
pub(crate) struct ExpectationOptionsWritten {
    /// The expression.
    pub(crate) that: String,
    /// Window it is about: all, before, steady, fault:NAME, or recovery:NAME.
    #[schemars(regex(pattern = r"^(all|before|steady|(fault|recovery):[a-z0-9*-]+)$"))]
    pub(crate) during: Option<String>,
    /// What follows if it is broken.
    #[serde(default)]
    pub(crate) severity: Severity,
}

/// A guardrail with its options.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "GuardOptions")]
#[serde(deny_unknown_fields, expecting = "a condition, or a map with `that` or `for`")]
pub(crate) struct GuardOptionsWritten {
    /// The condition, in the grammar of expectations.
    pub(crate) that: String,
    /// For how long it must hold, second by second: whole seconds; 5s if left out.
    #[serde(rename = "for")]
    pub(crate) hold: Option<Duration>,
}
