//! `bench.json`: every trial of a bench as it was, so that all else can be computed from it again.

use std::collections::BTreeMap;

use gauntlet_reports::record::{HostRecord, LatencyMs};
use serde::{Deserialize, Serialize};

use super::goal::GoalRecord;
use super::matrix::{Cell, Matrix};
use super::probe::ProbeRecord;
use super::summary::CellSummary;

/// Version of the layout of `bench.json`.
pub const BENCH_SCHEMA_VERSION: u32 = 1;

/// Settings of a contender, by the names that it has for them.
pub type Settings = BTreeMap<String, String>;

/// Where a contender's latencies begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LatencyFrom {
    /// When a record was to be sent, whether or not it was.
    Intended,
    /// When it was handed to the client: what waits before that is not seen.
    Sent,
}

/// A contender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContenderRecord {
    /// Its name.
    pub name: String,
    /// What it is, with its version.
    pub what: String,
    /// Where its latencies begin.
    pub latency_from: LatencyFrom,
    /// What has to be known to compare it.
    pub note: Option<String>,
}

/// A contender that this machine has not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkippedRecord {
    /// Its name.
    pub name: String,
    /// What is missing, and the next step.
    pub why: String,
}

/// What a trial came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// Length of the window.
    pub seconds: f64,
    /// Records in it.
    pub records: u64,
    /// Records per second of it.
    pub per_s: f64,
    /// That, of the rate that was to be; `None` flat out.
    pub achieved_ratio: Option<f64>,
    /// User and system time of the contender's process in the window, per record.
    pub cpu_ns_per_message: f64,
    /// User and system time of its whole life, start-up and end included.
    pub cpu_total_s: f64,
    /// Its highest resident memory.
    pub rss_mib: f64,
    /// What it says of its latency, from there to the ack.
    pub latency_ms: Option<LatencyMs>,
    /// Intended send time to decoded, where it reads what it writes.
    pub e2e_ms: Option<LatencyMs>,
    /// User and system time of all local brokers in the window, per record.
    pub broker_cpu_ns_per_message: Option<f64>,
    /// Bytes of one replica's log per record.
    pub stored_bytes_per_record: Option<f64>,
    /// What the host did in the window.
    pub host: Option<HostRecord>,
}

/// One trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrialRecord {
    /// In which order, from 1.
    pub number: u32,
    /// Which repeat of its cell, from 1; 0 is a rehearsal, that finds out how much to send and is part of no result.
    pub repeat: u16,
    /// By whom.
    pub contender: String,
    /// What.
    pub cell: Cell,
    /// With which settings.
    pub settings: Settings,
    /// Whether a sweep over its knobs found these best for it.
    pub tuned: bool,
    /// When it began, seconds since the bench did.
    pub began_s: f64,
    /// What it came to.
    pub measured: Option<Measured>,
    /// Or why it came to nothing.
    pub failed: Option<String>,
}

/// What the bench was told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conditions {
    /// What is measured.
    pub matrix: Matrix,
    /// Runs of each cell.
    pub repeats: u16,
    /// Length of a window.
    pub seconds: u32,
    /// Load before it, part of no result.
    pub warmup_s: u32,
    /// Load on the new cluster before the first trial.
    pub cluster_warmup_s: u32,
    /// `linger.ms` of every contender at a fixed rate.
    pub linger_ms: u32,
    /// Partitions of each trial's topic.
    pub partitions: u32,
    /// Replicas of each.
    pub replication_factor: u16,
    /// `steady`, `quick`, or `other` for a cluster that was there.
    pub brokers: String,
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BenchRecord {
    /// [`BENCH_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Whether it came to its end.
    pub complete: bool,
    /// Begin, RFC 3339 in UTC.
    pub started_at: String,
    /// Length of all of it.
    pub wall_s: f64,
    /// Version of gauntlet.
    pub gauntlet: String,
    /// Version of Kafka, where it is known.
    pub kafka: Option<String>,
    /// Kernel, processors, memory.
    pub host: String,
    /// What whoever started it says of it, for example the commit.
    pub label: Option<String>,
    /// The seed: order and payloads.
    pub seed: u64,
    /// What it was told.
    pub conditions: Conditions,
    /// Who took part.
    pub contenders: Vec<ContenderRecord>,
    /// Who could not.
    pub skipped: Vec<SkippedRecord>,
    /// Every trial, in order.
    pub trials: Vec<TrialRecord>,
    /// What needs no cluster.
    pub probes: Vec<ProbeRecord>,
    /// Each contender in each cell.
    pub summary: Vec<CellSummary>,
    /// What was to be reached.
    pub goals: Vec<GoalRecord>,
}
