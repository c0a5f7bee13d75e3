//! Operations of a cluster under load, as operators do them with Kafka's tools: faults that hit no process, but what brokers are told.
//!
//! Each reads first what it takes to undo it (`before`), which goes into the journal; then it acts (`apply`), which is over when the brokers
//! *show* it: the controller's answer alone proves nothing, as brokers apply it some time later. Undoing ([`OperationUndo::undo`]) is
//! harmless at any time: before the operation, after half of it, and twice. Some can't be undone, or leave nothing to undo.
//!
//! Some change who belongs to the cluster, and start and end nodes for that: those need nodes that are ours.
//!
//! Layout: one file per operation; `placement` where replicas and leaders were, for those that move them; `membership` how brokers join and
//! leave, `quorum_voters` how voters do; `admin` the connections.

mod admin;
mod broker_add;
mod broker_remove;
mod config_change;
mod election_preferred;
mod election_unclean;
mod feature_upgrade;
mod leader_imbalance;
mod membership;
mod partition_reassign;
mod placement;
mod quorum_add_voter;
mod quorum_remove_voter;
mod quorum_voters;
mod quota_change;
mod topic_add_partitions;
mod topic_delete_recreate;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use admin::Admin;
pub use broker_add::{BrokerAbsent, BrokerAdd};
pub use broker_remove::{BrokerPresent, BrokerRemove};
pub use config_change::{ConfigBefore, ConfigChange};
pub use election_preferred::ElectionPreferred;
pub use election_unclean::ElectionUnclean;
pub use feature_upgrade::FeatureUpgrade;
pub use leader_imbalance::LeaderImbalance;
pub use partition_reassign::{PartitionReassign, ReassignBefore};
pub use placement::{PartitionBefore, Placement};
pub use quorum_add_voter::{QuorumAddVoter, VoterAbsent};
pub use quorum_remove_voter::{QuorumRemoveVoter, VoterPresent};
pub use quota_change::{QuotaBefore, QuotaChange};
pub use topic_add_partitions::TopicAddPartitions;
pub use topic_delete_recreate::{TopicBefore, TopicDeleteRecreate};

use self::membership::MEMBERS_LIMIT;
use crate::error::ChaosError;
use crate::fault::{Acted, Claim, UNDO_LIMIT};
use crate::local::LocalCluster;

/// How long an operation may take until the brokers show it. A controller that fails over takes up to 3 s of it.
const ACT_LIMIT: Duration = Duration::from_secs(20);

/// An operation of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "snake_case")]
pub enum Operation {
    /// Properties of a topic or of brokers are set.
    ConfigChange(ConfigChange),
    /// Replicas of a topic are moved to other brokers.
    PartitionReassign(PartitionReassign),
    /// One broker is made to lead every partition of a topic.
    LeaderImbalance(LeaderImbalance),
    /// Preferred replicas are made to lead.
    ElectionPreferred(ElectionPreferred),
    /// Somebody is made to lead who may lack what was acked.
    ElectionUnclean(ElectionUnclean),
    /// A topic gets more partitions.
    TopicAddPartitions(TopicAddPartitions),
    /// A topic is deleted, and created again.
    TopicDeleteRecreate(TopicDeleteRecreate),
    /// What clients may use is limited.
    QuotaChange(QuotaChange),
    /// A feature of the cluster is raised.
    FeatureUpgrade(FeatureUpgrade),
    /// A broker joins the cluster.
    BrokerAdd(BrokerAdd),
    /// A broker leaves the cluster.
    BrokerRemove(BrokerRemove),
    /// A controller joins the quorum.
    QuorumAddVoter(QuorumAddVoter),
    /// A controller leaves the quorum.
    QuorumRemoveVoter(QuorumRemoveVoter),
}

/// What it takes to undo an operation: what was there before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "restore", rename_all = "snake_case")]
pub enum OperationUndo {
    /// Properties, to what they were.
    Config(ConfigBefore),
    /// Replicas, to where they were, without the throttles.
    Reassign(ReassignBefore),
    /// Their order, and the leaders.
    Leaders(Placement),
    /// Quotas, to what they were.
    Quota(QuotaBefore),
    /// A topic, as it was but for its records.
    Topic(TopicBefore),
    /// A broker, to its absence.
    BrokerAbsent(BrokerAbsent),
    /// A broker, to its place and to what it had.
    BrokerPresent(BrokerPresent),
    /// A controller, to its absence.
    VoterAbsent(VoterAbsent),
    /// A controller, to its vote.
    VoterPresent(VoterPresent),
}

impl Operation {
    /// As scenario files and reports spell it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::ConfigChange(_) => "config.change",
            Self::PartitionReassign(_) => "partition.reassign",
            Self::LeaderImbalance(_) => "leader.imbalance",
            Self::ElectionPreferred(_) => "election.preferred",
            Self::ElectionUnclean(_) => "election.unclean",
            Self::TopicAddPartitions(_) => "topic.add-partitions",
            Self::TopicDeleteRecreate(_) => "topic.delete-recreate",
            Self::QuotaChange(_) => "quota.change",
            Self::FeatureUpgrade(_) => "feature.upgrade",
            Self::BrokerAdd(_) => "broker.add",
            Self::BrokerRemove(_) => "broker.remove",
            Self::QuorumAddVoter(_) => "quorum.add-voter",
            Self::QuorumRemoveVoter(_) => "quorum.remove-voter",
        }
    }

    /// The topic that it is about, if it is about one.
    #[must_use]
    pub fn topic(&self) -> Option<&str> {
        match self {
            Self::ConfigChange(change) => change.topic(),
            Self::PartitionReassign(reassign) => Some(&reassign.topic),
            Self::LeaderImbalance(imbalance) => Some(&imbalance.topic),
            Self::ElectionPreferred(election) => Some(&election.topic),
            Self::ElectionUnclean(election) => Some(&election.topic),
            Self::TopicAddPartitions(add) => Some(&add.topic),
            Self::TopicDeleteRecreate(delete) => Some(&delete.topic),
            Self::QuotaChange(_)
            | Self::FeatureUpgrade(_)
            | Self::BrokerAdd(_)
            | Self::BrokerRemove(_)
            | Self::QuorumAddVoter(_)
            | Self::QuorumRemoveVoter(_) => None,
        }
    }

    /// Its topic, to be called by another name.
    pub fn topic_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::ConfigChange(change) => change.topic_mut(),
            Self::PartitionReassign(reassign) => Some(&mut reassign.topic),
            Self::LeaderImbalance(imbalance) => Some(&mut imbalance.topic),
            Self::ElectionPreferred(election) => Some(&mut election.topic),
            Self::ElectionUnclean(election) => Some(&mut election.topic),
            Self::TopicAddPartitions(add) => Some(&mut add.topic),
            Self::TopicDeleteRecreate(delete) => Some(&mut delete.topic),
            Self::QuotaChange(_)
            | Self::FeatureUpgrade(_)
            | Self::BrokerAdd(_)
            | Self::BrokerRemove(_)
            | Self::QuorumAddVoter(_)
            | Self::QuorumRemoveVoter(_) => None,
        }
    }

    /// Whether it is over once it is done: there is nothing to undo, or no way to.
    #[must_use]
    pub fn is_momentary(&self) -> bool {
        match self {
            Self::ElectionPreferred(_)
            | Self::ElectionUnclean(_)
            | Self::TopicAddPartitions(_)
            | Self::FeatureUpgrade(_) => true,
            Self::ConfigChange(_)
            | Self::PartitionReassign(_)
            | Self::LeaderImbalance(_)
            | Self::TopicDeleteRecreate(_)
            | Self::QuotaChange(_)
            | Self::BrokerAdd(_)
            | Self::BrokerRemove(_)
            | Self::QuorumAddVoter(_)
            | Self::QuorumRemoveVoter(_) => false,
        }
    }

    /// What no other fault may change as long as this one lasts: undoing one would undo the other, or bring it back.
    #[must_use]
    pub fn claims(&self) -> Vec<Claim> {
        match self {
            Self::ConfigChange(change) => change.claims(),
            Self::PartitionReassign(reassign) => reassign.claims(),
            Self::LeaderImbalance(imbalance) => imbalance.claims(),
            Self::QuotaChange(change) => change.claims(),
            Self::TopicDeleteRecreate(delete) => delete.claims(),
            Self::BrokerAdd(add) => add.claims(),
            Self::BrokerRemove(remove) => remove.claims(),
            Self::QuorumAddVoter(add) => add.claims(),
            Self::QuorumRemoveVoter(remove) => remove.claims(),
            // Nothing is put back afterwards that somebody else might have changed.
            Self::ElectionPreferred(_)
            | Self::ElectionUnclean(_)
            | Self::TopicAddPartitions(_)
            | Self::FeatureUpgrade(_) => Vec::new(),
        }
    }

    /// Whether it starts and ends nodes, so that it takes a cluster that is ours.
    #[must_use]
    pub fn needs_nodes(&self) -> bool {
        match self {
            Self::BrokerAdd(_)
            | Self::BrokerRemove(_)
            | Self::QuorumAddVoter(_)
            | Self::QuorumRemoveVoter(_) => true,
            Self::ConfigChange(_)
            | Self::PartitionReassign(_)
            | Self::LeaderImbalance(_)
            | Self::ElectionPreferred(_)
            | Self::ElectionUnclean(_)
            | Self::TopicAddPartitions(_)
            | Self::TopicDeleteRecreate(_)
            | Self::QuotaChange(_)
            | Self::FeatureUpgrade(_) => false,
        }
    }

    /// How long it may take until the brokers show it.
    pub(crate) fn limit(&self) -> Duration {
        if self.needs_nodes() { MEMBERS_LIMIT } else { ACT_LIMIT }
    }

    /// Reads what it takes to undo it; `None` if nothing can be, or has to be. Changes nothing. `nodes` are those that are ours.
    pub(crate) fn before(
        &self,
        admin: &Admin,
        nodes: Option<&LocalCluster>,
    ) -> Result<Option<OperationUndo>, ChaosError> {
        Ok(match self {
            Self::ConfigChange(change) => Some(OperationUndo::Config(change.before(admin)?)),
            Self::PartitionReassign(reassign) => Some(OperationUndo::Reassign(reassign.before(admin)?)),
            Self::LeaderImbalance(imbalance) => Some(OperationUndo::Leaders(imbalance.before(admin)?)),
            Self::QuotaChange(change) => Some(OperationUndo::Quota(change.before(admin)?)),
            Self::TopicDeleteRecreate(delete) => Some(OperationUndo::Topic(delete.before(admin)?)),
            Self::BrokerAdd(add) => Some(OperationUndo::BrokerAbsent(add.before(ours(nodes)?)?)),
            Self::BrokerRemove(remove) => {
                Some(OperationUndo::BrokerPresent(remove.before(ours(nodes)?, admin)?))
            }
            Self::QuorumAddVoter(add) => Some(OperationUndo::VoterAbsent(add.before(ours(nodes)?, admin)?)),
            Self::QuorumRemoveVoter(remove) => {
                Some(OperationUndo::VoterPresent(remove.before(ours(nodes)?, admin)?))
            }
            Self::ElectionPreferred(_)
            | Self::ElectionUnclean(_)
            | Self::TopicAddPartitions(_)
            | Self::FeatureUpgrade(_) => None,
        })
    }

    /// Does it, on a cluster that was as `before` says; returns when it is seen: before the first request, and when every broker that
    /// answers showed it. On an error it may have been done in part: undo.
    pub(crate) fn apply(
        &self,
        before: Option<&OperationUndo>,
        admin: &Admin,
        nodes: Option<&LocalCluster>,
    ) -> Result<Acted, ChaosError> {
        let times = match (self, before) {
            (Self::ElectionUnclean(election), _) => return election.apply(admin),
            (Self::ConfigChange(change), _) => change.apply(admin),
            (Self::QuotaChange(change), _) => change.apply(admin),
            (Self::ElectionPreferred(election), _) => election.apply(admin),
            (Self::TopicAddPartitions(add), _) => add.apply(admin),
            (Self::TopicDeleteRecreate(delete), Some(OperationUndo::Topic(_))) => delete.apply(admin),
            (Self::FeatureUpgrade(upgrade), _) => upgrade.apply(admin),
            (Self::PartitionReassign(reassign), Some(OperationUndo::Reassign(before))) => {
                reassign.apply(&before.placement, admin)
            }
            (Self::LeaderImbalance(imbalance), Some(OperationUndo::Leaders(before))) => {
                imbalance.apply(before, admin)
            }
            (Self::BrokerAdd(add), Some(OperationUndo::BrokerAbsent(_))) => add.apply(ours(nodes)?, admin),
            (Self::BrokerRemove(remove), Some(OperationUndo::BrokerPresent(_))) => {
                remove.apply(ours(nodes)?, admin)
            }
            (Self::QuorumAddVoter(add), Some(OperationUndo::VoterAbsent(_))) => {
                add.apply(ours(nodes)?, admin)
            }
            (Self::QuorumRemoveVoter(_), Some(OperationUndo::VoterPresent(before))) => {
                QuorumRemoveVoter::apply(before, ours(nodes)?, admin)
            }
            (
                Self::PartitionReassign(_)
                | Self::LeaderImbalance(_)
                | Self::TopicDeleteRecreate(_)
                | Self::BrokerAdd(_)
                | Self::BrokerRemove(_)
                | Self::QuorumAddVoter(_)
                | Self::QuorumRemoveVoter(_),
                _,
            ) => Err(refused("nobody knows what was before".to_owned())),
        };
        times.map(Acted::from)
    }
}

/// The nodes, if they are ours: plans refuse what needs them elsewhere, so this is for other callers.
fn ours(nodes: Option<&LocalCluster>) -> Result<&LocalCluster, ChaosError> {
    nodes.ok_or_else(|| refused("this takes nodes that gauntlet started".to_owned()))
}

impl fmt::Display for Operation {
    /// What is done to what: `topic orders, retention.ms=60000`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConfigChange(change) => write!(out, "{change}"),
            Self::PartitionReassign(reassign) => write!(out, "{reassign}"),
            Self::LeaderImbalance(imbalance) => write!(out, "{imbalance}"),
            Self::ElectionPreferred(election) => write!(out, "{election}"),
            Self::ElectionUnclean(election) => write!(out, "{election}"),
            Self::TopicAddPartitions(add) => write!(out, "{add}"),
            Self::TopicDeleteRecreate(delete) => write!(out, "{delete}"),
            Self::QuotaChange(change) => write!(out, "{change}"),
            Self::FeatureUpgrade(upgrade) => write!(out, "{upgrade}"),
            Self::BrokerAdd(add) => write!(out, "{add}"),
            Self::BrokerRemove(remove) => write!(out, "{remove}"),
            Self::QuorumAddVoter(add) => write!(out, "{add}"),
            Self::QuorumRemoveVoter(remove) => write!(out, "{remove}"),
        }
    }
}

impl OperationUndo {
    /// Puts back what was there, and waits until every broker that answers shows it. Harmless if it is there already. `nodes` are those that are
    /// ours, as long as this process can start and end them.
    pub(crate) fn undo(&self, admin: &Admin, nodes: Option<&LocalCluster>) -> Result<(), ChaosError> {
        match (self, nodes) {
            (Self::Config(before), _) => before.restore(admin),
            (Self::Reassign(before), _) => before.restore(admin),
            (Self::Leaders(before), _) => before.restore(admin),
            (Self::Quota(before), _) => before.restore(admin),
            (Self::Topic(before), _) => before.restore(admin),
            (Self::BrokerAbsent(before), Some(nodes)) => before.restore(nodes, admin),
            (Self::BrokerPresent(before), Some(nodes)) => before.restore(nodes, admin),
            (Self::VoterAbsent(before), Some(nodes)) => before.restore(nodes, admin),
            (Self::VoterPresent(before), Some(nodes)) => before.restore(nodes, admin),
            (
                Self::BrokerAbsent(_) | Self::BrokerPresent(_) | Self::VoterAbsent(_) | Self::VoterPresent(_),
                None,
            ) => Err(refused("its nodes end, and are not started or added to again".to_owned())),
        }
    }

    /// How long undoing may take.
    pub(crate) fn limit(&self) -> Duration {
        match self {
            Self::BrokerAbsent(_) | Self::BrokerPresent(_) | Self::VoterAbsent(_) | Self::VoterPresent(_) => {
                MEMBERS_LIMIT
            }
            Self::Config(_) | Self::Reassign(_) | Self::Leaders(_) | Self::Quota(_) | Self::Topic(_) => {
                UNDO_LIMIT
            }
        }
    }

    /// What else no other fault may change, as only a look at the cluster tells.
    pub(crate) fn claims(&self) -> Vec<Claim> {
        match self {
            Self::BrokerPresent(before) => before.claims(),
            Self::VoterPresent(before) => before.claims(),
            Self::Config(_)
            | Self::Reassign(_)
            | Self::Leaders(_)
            | Self::Quota(_)
            | Self::Topic(_)
            | Self::BrokerAbsent(_)
            | Self::VoterAbsent(_) => Vec::new(),
        }
    }

    /// Whom it hits, where that was not known before; in words.
    pub(crate) fn whom(&self) -> Option<String> {
        match self {
            Self::VoterPresent(before) if before.was_active => {
                Some(format!("controller {}, the active one", before.controller))
            }
            _ => None,
        }
    }
}

fn refused(why: String) -> ChaosError {
    ChaosError::Refused { why }
}

/// `1, 2, 3`.
fn listed(ids: &[i32]) -> String {
    ids.iter().map(i32::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
