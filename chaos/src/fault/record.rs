//! What became of a fault.

use serde::{Deserialize, Serialize};

use super::FaultAction;
use crate::target::ResolvedTarget;

/// The end of a partition's log that a fault may have cost it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogLoss {
    /// Topic.
    pub topic: String,
    /// Partition index.
    pub partition: i32,
    /// Those whose replica lost something, by a loss of power; who was elected, by an unclean election.
    pub brokers: Vec<i32>,
    /// Nothing below this offset is lost.
    pub from_offset: i64,
    /// Nor is anything from this one on; `i64::MAX` where nobody knows how long the log was.
    pub until_offset: i64,
    /// The lowest leader epoch that can only have begun afterwards.
    pub first_epoch: i32,
}

/// What became of one fault of a scenario. All times are CLOCK_MONOTONIC, nanoseconds; each is `None` until it was reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRecord {
    /// Its name.
    pub name: String,
    /// What was to be done.
    pub action: FaultAction,
    /// When it was due.
    pub planned_at_ns: u64,
    /// Who it hit and why that one; `None` if it was not resolved.
    pub target: Option<ResolvedTarget>,
    /// Immediately before the (first) signal was sent. `None`: it was never sent, or nobody knows when.
    pub injected_ns: Option<u64>,
    /// When its effect was seen on every victim: process gone, or all threads in state T. `None`: it was not seen to act, so
    /// whatever depends on it is unknown.
    pub took_effect_ns: Option<u64>,
    /// What it may have cost, log by log; nothing for faults that cut no log off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<LogLoss>,
    /// When healing began.
    pub heal_began_ns: Option<u64>,
    /// When every victim was whole again: a broker answers and lists itself, a controller listens and the quorum has a leader.
    /// Replicas may still be catching up: that is what [`crate::clocks`] measures.
    pub healed_ns: Option<u64>,
    /// Why it was not injected, or was not seen to act.
    pub error: Option<String>,
    /// Why it could not be healed. With this the cluster is not what it was before.
    pub heal_error: Option<String>,
}

impl FaultRecord {
    /// A fault that is still to come.
    #[must_use]
    pub fn planned(name: &str, action: FaultAction, planned_at_ns: u64) -> Self {
        Self {
            name: name.to_owned(),
            action,
            planned_at_ns,
            target: None,
            injected_ns: None,
            took_effect_ns: None,
            losses: Vec::new(),
            heal_began_ns: None,
            healed_ns: None,
            error: None,
            heal_error: None,
        }
    }
}
