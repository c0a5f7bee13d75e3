//! `election.unclean`: whoever is there is made to lead the partitions of a topic that nobody leads, also if it was not in sync
//! (ElectLeaders, as `kafka-leader-election --election-type unclean` does it; KIP-460). What the last leader had acked and the new one does
//! not have is gone for good.
//!
//! Acts when every broker that answers says who leads them now, in a later leader epoch. Where the new leader's log began, it is asked
//! (OffsetForLeaderEpoch; KIP-320): all above was not in it. A partition that has a leader needs none, says Kafka, and nothing is done to it; if
//! all have one, the fault did not act. There is nothing to undo.

use std::collections::BTreeMap;
use std::fmt;

use gauntlet_wire::{PartitionMetadata, WireError};
use serde::{Deserialize, Serialize};

use super::Admin;
use super::admin::{CONTROLLER_LIMIT, described};
use crate::clock::monotonic_ns;
use crate::error::ChaosError;
use crate::fault::{Acted, LogLoss};
use crate::supervisor::SignalTimes;

/// Whoever is there leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ElectionUnclean {
    /// Those partitions of which topic that nobody leads.
    pub topic: String,
}

impl ElectionUnclean {
    pub(super) fn apply(&self, admin: &Admin) -> Result<Acted, ChaosError> {
        let before = self.described(admin)?;
        let leaderless: BTreeMap<i32, i32> =
            before.iter().filter(|p| p.leader.is_none()).map(|p| (p.index, p.leader_epoch)).collect();
        if leaderless.is_empty() {
            return Err(self.not_needed());
        }
        let asked: Vec<i32> = leaderless.keys().copied().collect();
        let sent_ns = monotonic_ns();
        let elected = admin.ask(None, |connection| {
            connection.elect_leaders_unclean(&self.topic, &asked, CONTROLLER_LIMIT)
        })?;
        if elected.is_empty() {
            return Err(self.not_needed());
        }
        let seen_ns = admin.until_seen(None, &format!("somebody leads {}", self.topic), |connection| {
            let described = described(connection, &self.topic)?;
            let mut asked = described.iter().filter(|p| elected.contains(&p.index));
            let is_led = |p: &PartitionMetadata| {
                p.leader.is_some() && leaderless.get(&p.index).is_some_and(|epoch| p.leader_epoch > *epoch)
            };
            Ok(asked.find(|p| !is_led(p)).map(|p| format!("{}-{} has no leader", self.topic, p.index)))
        })?;
        let mut losses = Vec::new();
        for partition in self.described(admin)?.iter().filter(|p| elected.contains(&p.index)) {
            let before = leaderless.get(&partition.index).copied().unwrap_or(-1);
            losses.push(self.loss(partition, before, admin)?);
        }
        Ok(Acted { times: SignalTimes { sent_ns, seen_ns }, losses })
    }

    fn described(&self, admin: &Admin) -> Result<Vec<PartitionMetadata>, ChaosError> {
        admin.ask(None, |connection| -> Result<_, WireError> { described(connection, &self.topic) })
    }

    /// What the partition has lost: all that is not in its new leader's log. Before it, the leader epoch was `epoch`.
    fn loss(&self, partition: &PartitionMetadata, epoch: i32, admin: &Admin) -> Result<LogLoss, ChaosError> {
        let end = admin.ask(partition.leader, |connection| {
            connection.end_of_leader_epoch(&self.topic, partition.index, epoch)
        })?;
        Ok(LogLoss {
            topic: self.topic.clone(),
            partition: partition.index,
            brokers: partition.leader.into_iter().collect(),
            from_offset: end.unwrap_or(0),
            // How long the last leader's log was, only that leader knows.
            until_offset: i64::MAX,
            first_epoch: epoch + 1,
        })
    }

    fn not_needed(&self) -> ChaosError {
        let topic = &self.topic;
        let why = format!(
            "not needed, says Kafka: every partition of {topic} has a leader; an unclean election is for those without"
        );
        ChaosError::NotSeenToAct { why }
    }
}

impl fmt::Display for ElectionUnclean {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "topic {}, where nobody leads", self.topic)
    }
}
