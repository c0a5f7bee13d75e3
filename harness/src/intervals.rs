//! `intervals.ndjson`: one line per second, written as the run goes and read back for reports.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use gauntlet_reports::record::HostRecord;

use crate::recorder::{Counts, Slip};

/// What one second saw, by the clock on the wall.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Second {
    /// Seconds since the load began, at the end of the second; negative while threads still connect.
    pub at_s: f64,
    /// Seconds since t = 0, at the end of the second: negative during a warm-up of fixed length, `null` while nobody knows
    /// how long the warm-up will be.
    pub t_s: Option<f64>,
    /// Records written to a socket for the first time.
    pub sent: u64,
    /// Records acked.
    pub acked: u64,
    /// Records read.
    pub read: u64,
    /// Records failed or indeterminate.
    pub failed: u64,
    /// Of these, indeterminate.
    pub indeterminate: u64,
    /// Bytes of acked batches as sent.
    pub wire_bytes: u64,
    /// Bytes of acked batches before compression.
    pub uncompressed_bytes: u64,
    /// Of records that ended in this second, in milliseconds.
    pub p50_ms: f64,
    /// As above.
    pub p99_ms: f64,
    /// As above.
    pub p999_ms: f64,
    /// As above.
    pub max_ms: f64,
    /// e2e of records read in this second, in milliseconds.
    pub e2e_p99_ms: f64,
    /// Records between the readers and the high watermarks.
    pub lag: u64,
    /// Answers with an error code in this second.
    pub errors: u64,
    /// Replicas in sync of all watched partitions, as known at the end of the second.
    pub replicas_in_sync: usize,
    /// All replicas of the same partitions.
    pub replicas: usize,
    /// How many of these partitions have fewer replicas in sync than replicas.
    #[serde(default)]
    pub under_replicated: usize,
    /// How many of them nobody leads.
    #[serde(default)]
    pub offline: usize,
    /// Lateness of our own threads in this second, summed, in milliseconds.
    pub host_late_ms: f64,
    /// As above.
    pub gauntlet_busy_ms: f64,
    /// User and system time of the process in this second, in milliseconds.
    pub cpu_ms: f64,
    /// Resident memory, in MiB.
    pub rss_mib: f64,
    /// What the host did in this second, where its kernel says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostRecord>,
    /// Batches sent again since the run began.
    pub retries: u64,
    /// What clients that are not ours say about themselves, where there are such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientSecond>,
}

/// What clients that are not ours said last about themselves, all together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientSecond {
    /// Records in the queues of producers.
    pub queue: u64,
    /// Bytes of their keys and values.
    pub queue_bytes: u64,
    /// Median of round trips in milliseconds, at the client and broker where it is highest; `null` if nobody answered.
    pub rtt_p50_ms: Option<f64>,
    /// 99th percentile of the same.
    pub rtt_p99_ms: Option<f64>,
}

/// What became known in that second about the records intended in one slot. Lines about the same slot add up.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotLine {
    /// Tenths of a second of intended time since the load began.
    pub slot: u64,
    /// Counters.
    pub counts: Counts,
    /// Lateness.
    pub slip: Slip,
}

/// A line of the file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntervalLine {
    /// The end of the second; CLOCK_MONOTONIC. With `at_s` it gives the begin of the load on that clock, which
    /// `cluster.ndjson`, `faults.ndjson` and the garbage collectors' logs use too.
    pub at_ns: u64,
    /// The second.
    pub second: Second,
    /// What it learnt about slots, in order.
    pub slots: Vec<SlotLine>,
}

impl IntervalLine {
    /// Appends the line.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        out.write_all(b"\n")
    }

    /// When the load began; CLOCK_MONOTONIC, nanoseconds. To within the precision of `at_s`: microseconds.
    #[must_use]
    pub fn origin_ns(&self) -> u64 {
        (self.at_ns as i128 - (self.second.at_s * 1e9) as i128).max(0) as u64
    }
}
