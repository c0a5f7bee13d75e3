//! `election.preferred`: the preferred replica of every partition is elected (ElectLeaders), as `kafka-leader-election --election-type
//! preferred` does it. Acts when they lead; where they did already, there was nothing to do. There is nothing to undo.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Admin;
use super::placement::{elect_preferred, partitions_of};
use crate::clock::monotonic_ns;
use crate::error::ChaosError;
use crate::supervisor::SignalTimes;

/// Preferred replicas lead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ElectionPreferred {
    /// All partitions of which topic.
    pub topic: String,
}

impl ElectionPreferred {
    pub(super) fn apply(&self, admin: &Admin) -> Result<SignalTimes, ChaosError> {
        let all = partitions_of(&self.topic, admin)?;
        let sent_ns = monotonic_ns();
        Ok(SignalTimes { sent_ns, seen_ns: elect_preferred(&self.topic, &all, admin)? })
    }
}

impl fmt::Display for ElectionPreferred {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "topic {}", self.topic)
    }
}
