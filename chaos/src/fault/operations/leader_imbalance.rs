//! `leader.imbalance`: one broker becomes the preferred leader of every partition of a topic, and is elected. No data moves. Acts when it
//! leads them all.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::admin::described;
use super::placement::{asked_for, displaced, elect_preferred, move_replicas};
use super::{Admin, Placement};
use crate::clock::monotonic_ns;
use crate::error::ChaosError;
use crate::fault::Claim;
use crate::supervisor::SignalTimes;

/// One broker leads all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaderImbalance {
    /// All partitions of which topic.
    pub topic: String,
    /// Who is to lead them, by Kafka's `node.id`. It must have a replica of each.
    pub leader: i32,
}

impl LeaderImbalance {
    pub(super) fn claims(&self) -> Vec<Claim> {
        vec![Claim::Replicas { topic: self.topic.clone() }]
    }

    pub(super) fn before(&self, admin: &Admin) -> Result<Placement, ChaosError> {
        let before = Placement::read(&self.topic, admin)?;
        self.reordered(&before)?;
        Ok(before)
    }

    pub(super) fn apply(&self, before: &Placement, admin: &Admin) -> Result<SignalTimes, ChaosError> {
        let wanted = self.reordered(before)?;
        let sent_ns = monotonic_ns();
        move_replicas(&self.topic, &asked_for(&wanted), admin)?;
        let what = format!("broker {} is the preferred leader of {}", self.leader, self.topic);
        admin.until_seen(None, &what, |connection| {
            Ok(displaced(&described(connection, &self.topic)?, &wanted))
        })?;
        let all: Vec<i32> = wanted.keys().copied().collect();
        Ok(SignalTimes { sent_ns, seen_ns: elect_preferred(&self.topic, &all, admin)? })
    }

    /// The replicas of each partition, the new leader first, the others in their order.
    fn reordered(&self, before: &Placement) -> Result<BTreeMap<i32, Vec<i32>>, ChaosError> {
        let mut wanted = BTreeMap::new();
        for (index, replicas) in before.replicas() {
            if !replicas.contains(&self.leader) {
                let (topic, leader) = (&self.topic, self.leader);
                return Err(super::refused(format!("broker {leader} has no replica of {topic}-{index}")));
            }
            let others = replicas.into_iter().filter(|id| *id != self.leader);
            wanted.insert(index, std::iter::once(self.leader).chain(others).collect());
        }
        Ok(wanted)
    }
}

impl fmt::Display for LeaderImbalance {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "topic {}, all led by broker {}", self.topic, self.leader)
    }
}
