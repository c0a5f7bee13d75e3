//! The scenario with every default filled in: what the plan is made from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use gauntlet_chaos::Hook;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::interpolate::RUN_ID;
use crate::units::{Bytes, Duration};

mod clients;
mod disk;
mod faults;
mod load;
mod members;
mod network;
mod records;
mod search;
mod security;

pub use clients::{
    Acks, Compression, ConsumerConfig, Consumers, Driver, IsolationLevel, ProducerConfig, Producers,
    RETRIES_MAX,
};
pub use disk::DiskOperation;
pub use faults::{
    ActionName, Fault, FaultAction, HealAction, LossBy, NotController, PartitionChoice, Recover, Rollback,
    Target,
};
pub use load::{Arrival, Extent, Load, Shape, Stage};
pub use members::Joining;
pub use network::{Direction, Link, NetworkEffect, NetworkFault};
pub use records::{Body, JsonBody, Key, KeyDistribution, Payload, Size, WeightedSize};
pub use search::{Headroom, Search, SearchMethod};

pub use crate::payload::IdentityPlace;

pub use security::{
    ClientLogin, ClientSecurity, ClientTls, Credentials, IdentitySource, PemSource, SaslMechanism,
    SecretSource,
};

/// A complete, valid scenario.
///
/// Names of topics and the report directory may still hold `${run.id}`; see [`Scenario::with_run_id`].
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Lower-case letters, digits, and hyphens.
    pub name: String,
    /// What the scenario claims, for people.
    pub description: Option<String>,
    /// Words to select scenarios by.
    pub tags: Vec<String>,
    /// Decides payloads and targets. None: the plan draws one.
    pub seed: Option<u64>,
    /// What to run against.
    pub cluster: Cluster,
    /// At least one, with distinct names.
    pub topics: Vec<Topic>,
    /// Who sends and who reads what.
    pub workload: Workload,
    /// How much is sent, for how long.
    pub load: Load,
    /// What is broken on purpose, in the order of the file, with distinct names.
    pub faults: Vec<Fault>,
    /// Whether open faults are healed when the run ends early.
    pub rollback: Rollback,
    /// What the check of every record demands.
    pub verify: Verify,
    /// What must hold besides the built-in expectations, in the order of the file.
    pub expect: Vec<Expectation>,
    /// What ends the load before its time, in the order of the file.
    pub abort_when: Vec<Guard>,
    /// Where results go, and in which forms.
    pub report: Report,
}

impl Scenario {
    /// The scenario of the run `run_id`: `${run.id}` is replaced everywhere.
    #[must_use]
    pub fn with_run_id(&self, run_id: &str) -> Self {
        let mut scenario = self.clone();
        let fill = |text: &mut String| *text = text.replace(RUN_ID, run_id);
        scenario.topics.iter_mut().for_each(|topic| fill(&mut topic.name));
        scenario.workload.producers.iter_mut().for_each(|producers| fill(&mut producers.topic));
        scenario.workload.consumers.iter_mut().for_each(|consumers| fill(&mut consumers.topic));
        scenario.faults.iter_mut().filter_map(Fault::topic_mut).for_each(fill);
        fill(&mut scenario.report.dir);
        scenario
    }

    /// The topic called `name`.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.iter().find(|topic| topic.name == name)
    }
}

/// What to run against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cluster {
    /// Brokers that are started for the run and stopped after it.
    Local(LocalCluster),
    /// The same, as containers.
    Docker(DockerCluster),
    /// A cluster that runs already.
    Bootstrap(ForeignCluster),
}

impl Cluster {
    /// The nodes that are started for the run; `None` if none are.
    #[must_use]
    pub fn nodes(&self) -> Option<&LocalCluster> {
        match self {
            Self::Local(nodes) | Self::Docker(DockerCluster { nodes, .. }) => Some(nodes),
            Self::Bootstrap(_) => None,
        }
    }

    /// Where the scenario describes those nodes.
    #[must_use]
    pub fn nodes_path(&self) -> &'static str {
        match self {
            Self::Docker(_) => "cluster.docker",
            Self::Local(_) | Self::Bootstrap(_) => "cluster.local",
        }
    }
}

/// Brokers that are containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerCluster {
    /// What they are containers of.
    pub image: String,
    /// How many there are, and how they are configured. What containers can't have is as by default.
    pub nodes: LocalCluster,
}

/// A cluster that runs already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignCluster {
    /// `host:port` of some of its brokers. At least one.
    pub servers: Vec<String>,
    /// How to connect.
    pub security: ClientSecurity,
    /// Faults need no `--yes`, as long as the cluster is the one of `cluster_id`.
    pub allow_faults: bool,
    /// The only cluster that faults are meant for.
    pub cluster_id: Option<String>,
    /// What does faults to its brokers, by the names of faults. What this is made of is what the injector takes.
    pub hooks: BTreeMap<String, Hook>,
}

/// Brokers that are started for the run and stopped after it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    default,
    expecting = "a map with `brokers`, `controllers`, `isolation`, `version`, `jvm`, `heap`, `disk`, `config`, or `security`"
)]
pub struct LocalCluster {
    /// Number of brokers, ids 1 and up.
    #[schemars(range(min = 1))]
    pub brokers: u16,
    /// Who runs the KRaft quorum: the brokers themselves, or so many processes of their own.
    pub controllers: Controllers,
    /// Where the brokers are.
    pub isolation: Isolation,
    /// Version of Apache Kafka.
    pub version: String,
    /// How the JVMs are set.
    pub jvm: Jvm,
    /// Heap of each JVM. None: 1 GiB, or 512 MiB where `jvm` is quick.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heap: Option<Bytes>,
    /// Size of a disk of its own for each node, in memory. None: they share the one that the run is written to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<Bytes>,
    /// Broker properties by Kafka's names.
    #[serde(deserialize_with = "property_texts")]
    #[schemars(with = "BTreeMap<String, super::written::PropertyText>")]
    pub config: BTreeMap<String, String>,
    /// Certificates, passwords and ACLs, made for the run. None: PLAINTEXT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security: Option<LocalSecurity>,
}

/// How a local cluster is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map with `protocol`, `mechanism`, or `acls`")]
pub struct LocalSecurity {
    /// For clients and between brokers.
    pub protocol: LocalProtocol,
    /// How the load logs in; SCRAM-SHA-512 if left out. Not with SSL, where it shows a certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mechanism: Option<LocalMechanism>,
    /// Whether the load may do only what the plan lists.
    #[serde(default = "yes")]
    pub acls: bool,
}

fn yes() -> bool {
    true
}

/// `security.protocol` of a secured local cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum LocalProtocol {
    /// TLS with certificates of clients.
    #[serde(rename = "SSL")]
    Ssl,
    /// A log-in without TLS.
    #[serde(rename = "SASL_PLAINTEXT")]
    SaslPlaintext,
    /// A log-in under TLS.
    #[serde(rename = "SASL_SSL")]
    SaslSsl,
}

/// `sasl.mechanism` of the load on a secured local cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum LocalMechanism {
    /// PLAIN.
    #[serde(rename = "PLAIN")]
    Plain,
    /// SCRAM-SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// SCRAM-SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

impl Default for LocalCluster {
    fn default() -> Self {
        Self {
            brokers: 3,
            controllers: Controllers::Combined,
            isolation: Isolation::Process,
            version: "4.3.0".to_owned(),
            jvm: Jvm::Steady,
            heap: None,
            disk: None,
            config: BTreeMap::new(),
            security: None,
        }
    }
}

pub(super) fn property_texts<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let texts = BTreeMap::<String, super::written::PropertyText>::deserialize(deserializer)?;
    Ok(texts.into_iter().map(|(name, text)| (name, text.0)).collect())
}

/// Who runs the KRaft quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controllers {
    /// Every broker.
    Combined,
    /// So many processes that are only controllers, ids 101 and up.
    Isolated(u16),
}

/// Where local brokers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// On 127.0.0.1. Faults of the network go through a proxy in front of every node.
    Process,
    /// Each in a network namespace of its own, on a bridge of the run. Needs root on Linux, iproute2 and nftables. Faults of the
    /// network are those of the kernel, with all that TCP makes of them.
    Netns,
}

/// How the JVMs of local brokers are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Jvm {
    /// As in production: for numbers that are to mean something.
    Steady,
    /// Starts faster and uses less memory: for tests of behaviour.
    Quick,
}

/// A topic of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// May hold `${run.id}`.
    pub name: String,
    /// Number of partitions, at least 1. None for [`Lifecycle::Reuse`]: the topic's own.
    pub partitions: Option<u32>,
    /// Number of replicas, at least 1. None where only the cluster can tell: for [`Lifecycle::Reuse`] the topic's own,
    /// on a cluster that runs already the smaller of 3 and its number of brokers.
    pub replication_factor: Option<u16>,
    /// Topic properties by Kafka's names.
    pub config: BTreeMap<String, String>,
    /// When it is created and deleted.
    pub lifecycle: Lifecycle,
}

/// When a topic is created and deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Lifecycle {
    /// Created before the run, deleted after it.
    #[default]
    PerRun,
    /// Created before the run, left there after it.
    Keep,
    /// Must exist; neither created nor deleted.
    Reuse,
}

/// Who sends and who reads what.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// At least one.
    pub producers: Vec<Producers>,
    /// Empty: nobody reads during the load.
    pub consumers: Vec<Consumers>,
}

/// Load before the measurement begins; excluded from results. Its end is the t = 0 of every fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warmup {
    /// So long; zero is none at all.
    For(Duration),
    /// Until produce latency is stable.
    UntilStable {
        /// At least so long.
        min: Duration,
        /// At most so long; then the run goes on and counts as not warm.
        max: Duration,
    },
}

/// What happens to records that the brokers don't take in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    /// They wait and are sent late, with the latency that this means.
    #[default]
    Queue,
    /// As soon as those of a producer that wait or are under way would fill its `buffer.memory`, the oldest that wait are
    /// never sent, and counted as `load.dropped`.
    Drop,
}

/// What the check of every record demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Nothing is checked, and the report says so.
    Off,
    /// Every record is checked.
    On {
        /// What the cluster is held to. None: what the configuration gives.
        guarantee: Option<Guarantee>,
        /// Longest that the last read of topics may take that nobody read during the load.
        final_read_timeout: Duration,
        /// Most examples that are kept of each kind of finding.
        max_examples: u16,
        /// When the history of the check is kept.
        keep_history: KeepHistory,
        /// Longest that its file may get.
        history_max: Bytes,
    },
}

/// When the history of the check is kept: what `gauntlet recheck` judges again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeepHistory {
    /// Whatever the verdict.
    #[default]
    Always,
    /// Unless the verdict is PASS.
    OnFailure,
    /// Not at all.
    Never,
}

/// What a cluster is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Guarantee {
    /// No record twice.
    AtMostOnce,
    /// No acked record lost.
    AtLeastOnce,
    /// No acked record lost, none twice, and those of a producer in order.
    Idempotent,
    /// All of `idempotent`, and transactions as a whole or not at all.
    ExactlyOnce,
    /// Only what must always hold: no record altered, misplaced, or made up.
    None,
}

/// Something that must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// The expression as written.
    pub that: String,
    /// Records that it is about. None: what the metric's own default is.
    pub during: Option<Window>,
    /// What follows if it is broken.
    pub severity: Severity,
}

/// A guardrail: once its condition has held for so long, the load ends and every fault is healed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The condition, in the grammar of expectations.
    pub that: String,
    /// For how long it must hold: whole seconds, at least one.
    pub hold: Duration,
}

impl Guard {
    /// For how long it must hold where nothing is said.
    pub const HOLD: Duration = Duration::from_secs(5);
}

/// A part of the run, by the intended times of records (design: definitions, windows).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Window {
    /// The load without warm-up and drain.
    All,
    /// Up to the first fault.
    Before,
    /// Outside of every fault and recovery.
    Steady,
    /// From the effect of the faults to the action that heals them. `*` stands for any letters.
    Fault(String),
    /// From the healing action to the end of recovery. `*` stands for any letters.
    Recovery(String),
}

impl fmt::Display for Window {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => formatter.write_str("all"),
            Self::Before => formatter.write_str("before"),
            Self::Steady => formatter.write_str("steady"),
            Self::Fault(name) => write!(formatter, "fault:{name}"),
            Self::Recovery(name) => write!(formatter, "recovery:{name}"),
        }
    }
}

/// What follows if an expectation is broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The verdict is FAIL.
    #[default]
    Fail,
    /// The report warns.
    Warn,
    /// The report shows the value.
    Info,
}

/// Where results go, and in which forms.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a map with `dir` or `formats`")]
pub struct Report {
    /// Directory of the run; may hold `${run.id}` and `${name}`.
    pub dir: String,
    /// Forms, besides what every run directory holds.
    pub formats: Vec<ReportFormat>,
}

impl Report {
    /// The directory as a path; only meaningful after [`Scenario::with_run_id`].
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(&self.dir)
    }
}

impl Default for Report {
    fn default() -> Self {
        Self {
            dir: "out/${name}/${run.id}".to_owned(),
            formats: vec![ReportFormat::Json, ReportFormat::Html, ReportFormat::Junit],
        }
    }
}

/// Form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReportFormat {
    /// `run.json`, which every run directory holds.
    Json,
    /// `report.html`, one page for people.
    Html,
    /// `junit.xml`, for CI servers.
    Junit,
}
