//! `run.json`: what a run found, once. Names are a contract (`schema_version`); everything else is rendered from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::evaluate::{Judged, Outcome};
use crate::exit_code::ExitReason;
use crate::verdict::Verdict;

/// Version of the layout of `run.json`.
pub const SCHEMA_VERSION: u32 = 1;

/// How far a run got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It runs, or its process died.
    Running,
    /// It was ended before its end.
    Aborted,
    /// It came to its end.
    Done,
}

/// A reason for the exit code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// Which exit code it argues for.
    pub exit: ExitReason,
    /// In words.
    pub text: String,
}

/// Exact counts of the checker, all partitions together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is the metric of the same name under `verify.`")]
pub struct VerifyCounts {
    pub lost: u64,
    pub duplicates: u64,
    pub reordered: u64,
    pub corrupt: u64,
    pub misrouted: u64,
    pub phantom: u64,
    pub failed_but_present: u64,
    pub inconsistent_offsets: u64,
    pub unseen: u64,
    pub expired: u64,
    pub checked: u64,
    pub acked: u64,
    #[serde(default)]
    pub position_skips: u64,
    #[serde(default)]
    pub position_steps_back: u64,
    #[serde(default)]
    pub read_disagreements: u64,
    #[serde(default)]
    pub read_again: u64,
    #[serde(default)]
    pub compacted: u64,
    #[serde(default)]
    pub resurrected_keys: u64,
}

/// Percentiles of a latency, in milliseconds. `null` where nothing was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub struct LatencyMs {
    pub p50: Option<f64>,
    pub p99: Option<f64>,
    pub p999: Option<f64>,
    pub max: Option<f64>,
}

/// Longest time that a record left late, by who was the limit, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub struct SlipMs {
    pub broker: f64,
    pub gauntlet: f64,
    pub host: f64,
}

/// The rate that the load was to have over time: straight lines between points.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadProfile {
    /// Records per second of the warm-up.
    pub warmup_per_s: f64,
    /// Points in order of time, the first at t = 0. Two at one time are a jump.
    pub points: Vec<RatePoint>,
}

/// See [`LoadProfile`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RatePoint {
    /// Seconds since t = 0.
    pub t_s: f64,
    /// Records per second of all producers together.
    pub per_s: f64,
}

/// The load of a window.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadRecord {
    /// Records per second that were intended, on average over the window; `null` without schedule.
    pub target_rate: Option<f64>,
    /// Records intended in the window and acked before it ended, of all intended in it.
    pub achieved_ratio: Option<f64>,
    /// Who was the limit.
    pub slip: SlipMs,
    /// Share of acked records whose latency is mostly gauntlet's or the host's.
    pub ours_ratio: f64,
}

/// What producers saw in a window.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProduceRecord {
    /// Records acked.
    pub acked: u64,
    /// Records proven not to be in the log.
    pub failed: u64,
    /// Records that may or may not be in the log.
    pub indeterminate: u64,
    /// Records sent with acks=0.
    pub unacknowledged: u64,
    /// Records that were never sent, because there was no room when they were due (`load.overflow: drop`).
    #[serde(default)]
    pub dropped: u64,
    /// Records acked per second of the window, whenever they were intended.
    pub throughput: f64,
    /// Intended time to ack.
    pub latency_ms: LatencyMs,
    /// First byte written to ack.
    pub service_ms: LatencyMs,
}

/// What readers saw in a window.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndToEndRecord {
    /// Records read.
    pub read: u64,
    /// Intended time to decoded.
    pub latency_ms: LatencyMs,
}

/// What it cost us.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientRecord {
    /// User and system time per record acked, of gauntlet and of the programs that are its clients.
    pub cpu_ns_per_message: Option<f64>,
    /// The part of it that those programs took; left out without such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program_cpu_ns_per_message: Option<f64>,
    /// Highest resident memory, in MiB.
    pub rss_mb: f64,
    /// Most records in the queues of librdkafka's producers at the end of a second; left out without such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_max: Option<f64>,
    /// Highest 99th percentile of a second's round trips of librdkafka, in milliseconds; left out without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_p99_ms: Option<f64>,
}

/// What the host of gauntlet did, and of the brokers, where they are local.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostRecord {
    /// Part of the time of all its CPUs in which they worked, for whomever; 0 to 1.
    pub busy: f64,
    /// Part of that time in which they would have, and the hypervisor ran something else (*steal*); 0 to 1.
    pub steal: f64,
}

/// One window.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowRecord {
    /// Seconds since t = 0.
    pub from_s: f64,
    /// Seconds since t = 0.
    pub to_s: f64,
    /// The load.
    pub load: LoadRecord,
    /// Producers.
    pub produce: ProduceRecord,
    /// Readers.
    pub e2e: EndToEndRecord,
    /// Ourselves.
    pub client: ClientRecord,
    /// The host, where its kernel says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostRecord>,
}

/// Recovery clocks of a fault, in seconds; `null` where it never happened or does not apply.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is the metric of the same name under `recovery.`")]
pub struct RecoverySeconds {
    pub leader_elected: Option<f64>,
    pub first_ack: Option<f64>,
    pub isr_full: Option<f64>,
    pub lag_drained: Option<f64>,
    pub p99_back: Option<f64>,
}

/// Unavailability around a fault, in seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnavailableSeconds {
    /// The longest time without an ack on any partition.
    pub longest: Option<f64>,
    /// The longest time without an ack, per partition (`topic-partition`).
    pub per_partition: BTreeMap<String, f64>,
}

/// A fault as it went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultEntry {
    /// Its name.
    pub name: String,
    /// What was done, e.g. `broker.kill`.
    pub action: String,
    /// To whom, why to that one, and how it is treated where the action leaves that open.
    pub target: String,
    /// Whether it was seen to act.
    pub took_effect: bool,
    /// Seconds since t = 0: planned, injected, took effect, heal began, healed.
    pub at_s: FaultTimes,
    /// Clocks.
    pub recovery_s: RecoverySeconds,
    /// Unavailability.
    pub unavailable_s: UnavailableSeconds,
    /// What went wrong with the fault itself.
    pub error: Option<String>,
}

/// The moments of a fault, in seconds since t = 0.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub struct FaultTimes {
    pub planned: f64,
    pub injected: Option<f64>,
    pub took_effect: Option<f64>,
    pub heal_began: Option<f64>,
    pub healed: Option<f64>,
    pub isr_full: Option<f64>,
}

/// One expectation, as CI reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectRecord {
    /// The rule as written.
    pub rule: String,
    /// The value, in the metric's unit.
    pub observed: Option<f64>,
    /// `true` held, `false` broken, `null` unknown.
    pub ok: Option<bool>,
    /// Everything else about it.
    pub detail: Judged,
}

impl From<Judged> for ExpectRecord {
    fn from(detail: Judged) -> Self {
        Self {
            rule: detail.rule.clone(),
            observed: detail.observed,
            ok: match detail.outcome {
                Outcome::Held => Some(true),
                Outcome::Broken => Some(false),
                Outcome::Unknown => None,
            },
            detail,
        }
    }
}

/// What the brokers of a local cluster took while the window `all` went on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerRecord {
    /// Seconds between the two looks at them.
    pub seconds: f64,
    /// User and system time of all their processes, per second.
    pub cpu_cores: f64,
    /// Bytes per second by which the logs of the run's topics grew, all replicas together; `null` if retention was on.
    pub log_bytes_per_s: Option<f64>,
}

/// What the run was made of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Version of gauntlet.
    pub gauntlet: String,
    /// Version of Kafka, where it is known.
    pub kafka: Option<String>,
    /// Kernel, processors, memory.
    pub host: String,
    /// Number of processors.
    pub cores: usize,
    /// Settings that differ from Kafka's defaults, by whose they are: `brokers`, `topic orders`, `producers orders`.
    pub config: BTreeMap<String, BTreeMap<String, String>>,
}

/// A finding that is a violation, or was expected under the declared guarantee.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FindingRecord {
    /// Its class, e.g. `lost-write`.
    pub class: String,
    /// How many.
    pub count: u64,
    /// `violation`, `expected` or `not_a_finding`.
    pub judgement: String,
    /// The first and the worst, in words.
    pub examples: Vec<String>,
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// How far it got.
    pub state: RunState,
    /// The verdict; `null` until there is one.
    pub verdict: Option<Verdict>,
    /// The exit code; `null` until there is one.
    pub exit_code: Option<u8>,
    /// Every reason for it, the weightiest first.
    pub reasons: Vec<Reason>,
    /// Name of the scenario.
    pub name: String,
    /// Id of the run.
    pub run_id: String,
    /// The seed.
    pub seed: u64,
    /// Begin, RFC 3339 in UTC.
    pub started_at: String,
    /// Length of the whole run.
    pub wall_s: f64,
    /// Length of the warm-up, in seconds: t = 0 is so long after the load began; `null` if it did not come to its end.
    pub warmup_s: Option<f64>,
    /// Whether the warm-up reached a stable p99; `null` if it was of fixed length.
    pub warm: Option<bool>,
    /// The guarantee that it was judged by, in words; `null` with `verify: off`.
    pub guarantee: Option<String>,
    /// Whether all evidence was kept (`complete`) or retention was on (`windowed`).
    pub evidence: String,
    /// The checker's counts; `null` with `verify: off`.
    pub verify: Option<VerifyCounts>,
    /// Classes of findings that nobody looked for on some topic, because its reader does not show what it takes, or nothing could be read
    /// a second time; left out if every rule was evaluated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_looked_for: Vec<String>,
    /// Parts of logs, around faults and leader changes, that were to be read a second time and were not, and why, in words; left out if
    /// there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_read_again: Vec<String>,
    /// What it found.
    pub findings: Vec<FindingRecord>,
    /// Faults, in order.
    pub faults: Vec<FaultEntry>,
    /// Expectations, in order.
    pub expect: Vec<ExpectRecord>,
    /// The window `all`, repeated: the load.
    pub load: LoadRecord,
    /// The window `all`, repeated: producers.
    pub produce: ProduceRecord,
    /// The window `all`, repeated: readers.
    pub e2e: EndToEndRecord,
    /// The window `all`, repeated: ourselves.
    pub client: ClientRecord,
    /// Every window.
    pub windows: BTreeMap<String, WindowRecord>,
    /// Bytes on the wire of acked batches, of their bytes before compression.
    pub wire_ratio: Option<f64>,
    /// What was to be sent when; `null` without schedule.
    #[serde(default)]
    pub load_profile: Option<LoadProfile>,
    /// Answers with an error, by Kafka's name for it.
    pub errors: BTreeMap<String, u64>,
    /// Batches sent again.
    pub retries: u64,
    /// Longest `throttle_time_ms` that a broker answered.
    pub throttle_ms_max: u32,
    /// What the brokers took; left out where gauntlet can't see their processes, or one was started anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker: Option<BrokerRecord>,
    /// What it ran on.
    pub environment: Environment,
}
