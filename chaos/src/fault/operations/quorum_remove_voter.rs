//! `quorum.remove-voter`: a controller votes no longer (RemoveRaftVoter, KIP-853) and goes on as an observer. If it is the active one, the others
//! elect another. Acts when every broker says that it does not vote. Undone by AddRaftVoter.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Admin, membership, quorum_voters};
use crate::clock::monotonic_ns;
use crate::error::ChaosError;
use crate::fault::Claim;
use crate::local::LocalCluster;
use crate::supervisor::SignalTimes;

/// A controller leaves the quorum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuorumRemoveVoter {
    /// Kafka's `node.id`; `None`: the controller that is active when it is due.
    pub controller: Option<i32>,
}

/// A controller that voted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoterPresent {
    /// Kafka's `node.id`.
    pub controller: i32,
    /// Whether it was the active controller.
    pub was_active: bool,
}

impl QuorumRemoveVoter {
    pub(super) fn claims(&self) -> Vec<Claim> {
        let node = self.controller.map(Claim::Node);
        std::iter::once(Claim::Quorum).chain(node).collect()
    }

    pub(super) fn before(&self, nodes: &LocalCluster, admin: &Admin) -> Result<VoterPresent, ChaosError> {
        let members = quorum_voters::members(nodes, admin)?;
        let active = members.leader.ok_or_else(|| super::refused("the quorum has no leader".to_owned()))?;
        let id = self.controller.unwrap_or(active);
        let voters: Vec<i32> = members.voters.iter().map(|voter| voter.id).collect();
        match (voters.contains(&id), voters.len()) {
            (true, 2..) => Ok(VoterPresent { controller: id, was_active: id == active }),
            (true, _) => Err(super::refused(format!("controller {id} is the only voter"))),
            (false, _) => {
                let voters = super::listed(&voters);
                Err(super::refused(format!("controller {id} is no voter; voters are {voters}")))
            }
        }
    }

    pub(super) fn apply(
        before: &VoterPresent,
        nodes: &LocalCluster,
        admin: &Admin,
    ) -> Result<SignalTimes, ChaosError> {
        let sent_ns = monotonic_ns();
        let seen_ns = quorum_voters::remove(nodes, before.controller, admin)?;
        Ok(SignalTimes { sent_ns, seen_ns })
    }
}

impl VoterPresent {
    /// Nobody else may stop it meanwhile: a node that does not run can't be made a voter again.
    pub(super) fn claims(&self) -> Vec<Claim> {
        vec![Claim::Node(self.controller)]
    }

    pub(super) fn restore(&self, nodes: &LocalCluster, admin: &Admin) -> Result<(), ChaosError> {
        membership::run(nodes, self.controller)?;
        quorum_voters::add(nodes, self.controller, admin).map(drop)
    }
}

impl fmt::Display for QuorumRemoveVoter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.controller {
            Some(id) => write!(out, "controller {id}"),
            None => out.write_str("the active controller"),
        }
    }
}
