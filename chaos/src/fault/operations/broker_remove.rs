//! `broker.remove`: a broker is decommissioned. Its replicas are moved to others, it ends in order, and the controller forgets it
//! (UnregisterBroker). Acts when it is unknown to every broker. Undone by starting it on its old data, and moving back what it had.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Admin, Placement, membership};
use crate::clock::monotonic_ns;
use crate::error::ChaosError;
use crate::fault::Claim;
use crate::local::LocalCluster;
use crate::supervisor::SignalTimes;

/// A broker leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerRemove {
    /// Kafka's `node.id`.
    pub broker: i32,
}

/// A broker and what it had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerPresent {
    /// Kafka's `node.id`.
    pub broker: i32,
    /// Where the replicas were of every topic that had some there.
    pub placements: Vec<Placement>,
}

impl BrokerRemove {
    pub(super) fn claims(&self) -> Vec<Claim> {
        vec![Claim::Node(self.broker)]
    }

    pub(super) fn before(&self, nodes: &LocalCluster, admin: &Admin) -> Result<BrokerPresent, ChaosError> {
        let broker = self.broker;
        nodes.local_node(broker)?;
        let metadata = admin.ask(None, |connection| connection.metadata(None))?;
        if !metadata.brokers.iter().any(|listed| listed.id == broker) {
            return Err(super::refused(format!("broker {broker} is not registered")));
        }
        let held = membership::held_by(broker, &metadata);
        // Before anything is moved: whether all of it can be.
        membership::away(broker, &held, &metadata)?;
        let placements = held.keys().map(|topic| Placement::read(topic, admin)).collect::<Result<_, _>>()?;
        Ok(BrokerPresent { broker, placements })
    }

    pub(super) fn apply(&self, nodes: &LocalCluster, admin: &Admin) -> Result<SignalTimes, ChaosError> {
        let sent_ns = monotonic_ns();
        let seen_ns = membership::leave(nodes, self.broker, admin)?;
        Ok(SignalTimes { sent_ns, seen_ns })
    }
}

impl BrokerPresent {
    /// Nobody else may move what is moved back afterwards.
    pub(super) fn claims(&self) -> Vec<Claim> {
        let topic = |placement: &Placement| Claim::Replicas { topic: placement.topic.clone() };
        self.placements.iter().map(topic).collect()
    }

    pub(super) fn restore(&self, nodes: &LocalCluster, admin: &Admin) -> Result<(), ChaosError> {
        membership::join(nodes, self.broker, admin)?;
        self.placements.iter().try_for_each(|placement| placement.restore(admin))
    }
}

impl fmt::Display for BrokerRemove {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "broker {}, whose replicas are moved away first", self.broker)
    }
}
