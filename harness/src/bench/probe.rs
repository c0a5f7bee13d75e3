//! What can be measured without brokers, and what the bench does itself in processes of its own (`gauntlet bench-worker`).
//!
//! - [`null_sink`]: what writing costs, against a broker that keeps nothing
//! - [`checker`]: what checking a record costs
//! - [`hour`]: whether an hour of a run takes more memory than a minute
//! - [`consume`]: the log reader by itself
//! - [`write`](mod@write): records written as fast as they are taken, for the first and to fill topics

pub mod checker;
pub mod consume;
pub mod hour;
pub mod null_sink;
pub mod write;

use gauntlet_verify::{BatchHeader, Outcome, Settlement, Shard, ShardConfig, StreamKey};
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::run::FRAGMENTS_MAX;
use crate::units::Bytes;

/// Name of the probe of writing.
pub const NULL_SINK: &str = "null-sink";
/// Name of the probe of checking.
pub const CHECKER: &str = "checker";

/// One measurement without brokers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeRecord {
    /// Which probe.
    pub probe: String,
    /// Size of each record's value.
    pub size: Bytes,
    /// Name of the codec; `None` where nothing is compressed.
    pub codec: Option<String>,
    /// Which repeat, from 1.
    pub repeat: u16,
    /// What it came to.
    pub cost: Option<Cost>,
    /// Or why it came to nothing.
    pub failed: Option<String>,
}

/// What records cost one thread.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// How many.
    pub records: u64,
    /// User and system time of the thread that is measured.
    pub cpu_s: f64,
    /// How long it took.
    pub seconds: f64,
}

impl Cost {
    /// Per record.
    #[must_use]
    pub fn cpu_ns_per_record(&self) -> f64 {
        self.cpu_s * 1e9 / self.records as f64
    }

    /// Records that one processor does in a second.
    #[must_use]
    pub fn per_core_s(&self) -> f64 {
        self.records as f64 / self.cpu_s
    }
}

/// User and system time of this thread so far, seconds.
fn thread_cpu_s() -> f64 {
    // The clock exists on every Linux that this runs on.
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map_or(0.0, |time| time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9)
}

/// The checker of a partition that only the run itself has written to.
fn shard(run: u32, topic: &str, partition: u32) -> Shard {
    Shard::new(ShardConfig {
        run,
        topic: topic.to_owned(),
        partition,
        other_topics: Vec::new(),
        created_by_run: true,
        in_order: true,
        gapless: true,
        compacted: false,
        start_offset: 0,
        witness_limit: 8,
        fragment_limit: FRAGMENTS_MAX,
    })
}

/// Begins to read a batch of the one stream there is, which has numbers and offsets alike. It was acked: the ack usually comes
/// before the record is read.
fn begin_acked_batch(shard: &mut Shard, first_pseq: u64, count: u32) {
    let base_offset = first_pseq as i64;
    shard.settle(&Settlement {
        stream: StreamKey { producer: 0, incarnation: 0 },
        first_pseq,
        count,
        outcome: Outcome::Acked { base_offset: Some(base_offset) },
        sent_ns: 0,
        // Compared with the clock like any other, and never too early.
        settled_ns: u64::MAX,
    });
    shard.begin_batch(&BatchHeader {
        base_offset,
        last_offset: base_offset + i64::from(count) - 1,
        leader_epoch: 0,
        producer_id: 1,
        producer_epoch: 0,
        base_sequence: first_pseq as i32 & i32::MAX,
        control: false,
        transactional: false,
    });
}

/// Why a probe came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// A socket or a thread could not be had.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The event loop failed.
    #[error(transparent)]
    Loop(#[from] gauntlet_wire::producer::LoopError),
    /// Brokers could not be reached.
    #[error(transparent)]
    Wire(#[from] gauntlet_wire::WireError),
    /// A thread panicked.
    #[error("a thread panicked; this is a bug in gauntlet")]
    Panicked,
    /// It did not do all that it should.
    #[error("{0}")]
    Incomplete(String),
}
