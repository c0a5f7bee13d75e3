//! `broker.add`: a broker that was formatted with the others, and never started, joins the cluster. It acts when every broker lists it; it has no
//! replicas then, but those of topics that are created afterwards. Undone as a broker is decommissioned: what it has got is moved away, it
//! ends, and is forgotten.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Admin, membership};
use crate::clock::monotonic_ns;
use crate::error::ChaosError;
use crate::fault::Claim;
use crate::local::LocalCluster;
use crate::supervisor::{NodeState, SignalTimes};

/// A broker joins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerAdd {
    /// Kafka's `node.id`: one of [`LocalSpec::spare_brokers`](crate::LocalSpec::spare_brokers).
    pub broker: i32,
}

/// A broker that was not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerAbsent {
    /// Kafka's `node.id`.
    pub broker: i32,
}

impl BrokerAdd {
    pub(super) fn claims(&self) -> Vec<Claim> {
        vec![Claim::Node(self.broker)]
    }

    pub(super) fn before(&self, nodes: &LocalCluster) -> Result<BrokerAbsent, ChaosError> {
        let broker = self.broker;
        if !nodes.local_node(broker)?.node.is_spare {
            return Err(super::refused(format!("broker {broker} belonged to the cluster from its begin")));
        }
        match membership::state_of(nodes, broker)? {
            None | Some(NodeState::Exited(_)) => Ok(BrokerAbsent { broker }),
            Some(state) => Err(super::refused(format!("broker {broker} was added already: it is {state}"))),
        }
    }

    pub(super) fn apply(&self, nodes: &LocalCluster, admin: &Admin) -> Result<SignalTimes, ChaosError> {
        let sent_ns = monotonic_ns();
        let seen_ns = membership::join(nodes, self.broker, admin)?;
        Ok(SignalTimes { sent_ns, seen_ns })
    }
}

impl BrokerAbsent {
    pub(super) fn restore(&self, nodes: &LocalCluster, admin: &Admin) -> Result<(), ChaosError> {
        membership::leave(nodes, self.broker, admin)?;
        nodes.set_joined(self.broker, false);
        Ok(())
    }
}

impl fmt::Display for BrokerAdd {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "broker {}, which is empty", self.broker)
    }
}
