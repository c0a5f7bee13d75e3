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

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

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
