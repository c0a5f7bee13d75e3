//! What a report is rendered from: `run.json` and the series beside it, as a run directory holds them.

use crate::record::{LatencyMs, RunRecord, SlipMs};

/// A run, read back from its directory. All times are in seconds since t = 0, the end of the warm-up: negative in it.
#[derive(Debug, Clone)]
pub struct RunData {
    /// `run.json`.
    pub record: RunRecord,
    /// One entry per second since the load began, in order; a run that died has those that it wrote.
    pub seconds: Vec<SecondPoint>,
    /// What the watcher saw of the cluster, in order of time.
    pub cluster: Vec<ClusterChange>,
    /// The scenario as it was run: YAML.
    pub scenario: String,
    /// The files of the run directory.
    pub files: Vec<RawFile>,
    /// The command that runs the scenario again.
    pub reproduce: String,
}

/// One second of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SecondPoint {
    /// When the second began.
    pub t_s: f64,
    /// Records that the schedule intended in this second; `None` without a schedule, or when none were due any more.
    pub target: Option<u64>,
    /// Records written to a socket for the first time in this second.
    pub sent: u64,
    /// Records acked in this second.
    pub acked: u64,
    /// Records decoded by readers in this second.
    pub read: u64,
    /// Records that ended in this second as failed or indeterminate.
    pub failed: u64,
    /// Answers with an error code in this second.
    pub errors: u64,
    /// Bytes of batches acked in this second, as sent.
    pub wire_bytes: u64,
    /// Bytes of batches acked in this second, before compression.
    pub uncompressed_bytes: u64,
    /// Records between the readers and the high watermarks, at its end.
    pub lag: u64,
    /// Intended time to ack, of the records *intended* in this second.
    pub latency_ms: LatencyMs,
    /// First byte written to ack, of the same records.
    pub service_ms: LatencyMs,
    /// Intended time to decoded, of the same records.
    pub e2e_ms: LatencyMs,
    /// Longest lateness of the same records when they left, by who was the limit.
    pub slip_ms: SlipMs,
    /// User and system time of gauntlet, in milliseconds.
    pub cpu_ms: f64,
    /// Resident memory of gauntlet, in MiB.
    pub rss_mib: f64,
}

/// Something that changed in the cluster's metadata.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterChange {
    /// When it was first seen.
    pub t_s: f64,
    /// `topic-partition`.
    pub partition: String,
    /// The leader from then on; `None` while there is none.
    pub leader: Option<i32>,
    /// Its leader epoch.
    pub leader_epoch: i32,
    /// In-sync replicas from then on.
    pub isr: Vec<i32>,
    /// All replicas.
    pub replicas: usize,
}

/// A file of the run directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFile {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its content, in hexadecimal digits.
    pub sha256: String,
}
