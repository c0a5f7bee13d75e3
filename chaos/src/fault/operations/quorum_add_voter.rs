//! `quorum.add-voter`: a controller that was formatted with the others, and never started, reads the quorum's log as an observer and becomes a
//! voter (AddRaftVoter, KIP-853). Acts when every broker says that it votes. Undone by RemoveRaftVoter, and it ends.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Admin, membership, quorum_voters};
use crate::clock::monotonic_ns;
use crate::error::ChaosError;
use crate::fault::Claim;
use crate::local::LocalCluster;
use crate::supervisor::{NodeState, SignalTimes};

/// A controller joins the quorum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuorumAddVoter {
    /// Kafka's `node.id`: one of [`LocalSpec::spare_controllers`](crate::LocalSpec::spare_controllers).
    pub controller: i32,
}

/// A controller that was not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoterAbsent {
    /// Kafka's `node.id`.
    pub controller: i32,
}

impl QuorumAddVoter {
    pub(super) fn claims(&self) -> Vec<Claim> {
        vec![Claim::Quorum, Claim::Node(self.controller)]
    }

    pub(super) fn before(&self, nodes: &LocalCluster, admin: &Admin) -> Result<VoterAbsent, ChaosError> {
        let controller = self.controller;
        if !nodes.local_node(controller)?.node.is_spare {
            let why = format!("controller {controller} belonged to the quorum from its begin");
            return Err(super::refused(why));
        }
        quorum_voters::members(nodes, admin)?;
        match membership::state_of(nodes, controller)? {
            None | Some(NodeState::Exited(_)) => Ok(VoterAbsent { controller }),
            Some(state) => {
                Err(super::refused(format!("controller {controller} was added already: it is {state}")))
            }
        }
    }

    pub(super) fn apply(&self, nodes: &LocalCluster, admin: &Admin) -> Result<SignalTimes, ChaosError> {
        let sent_ns = monotonic_ns();
        membership::run(nodes, self.controller)?;
        let seen_ns = quorum_voters::add(nodes, self.controller, admin)?;
        Ok(SignalTimes { sent_ns, seen_ns })
    }
}

impl VoterAbsent {
    /// It must not go before it has been removed: a quorum that loses a voter that it still counts on may lose its majority.
    pub(super) fn restore(&self, nodes: &LocalCluster, admin: &Admin) -> Result<(), ChaosError> {
        quorum_voters::remove(nodes, self.controller, admin)?;
        membership::end(nodes, self.controller)?;
        nodes.set_joined(self.controller, false);
        Ok(())
    }
}

impl fmt::Display for QuorumAddVoter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "controller {}", self.controller)
    }
}
