//! Faults of the network: what is done to which links of the target.

use gauntlet_chaos::proxy::Apis;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Bytes, Duration};

/// A fault of the network around its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkFault {
    /// What is done.
    pub effect: NetworkEffect,
    /// On which of the target's links.
    pub link: Link,
    /// To bytes of which direction, as the target sees it.
    pub direction: Direction,
    /// Between the target and this node only. None: whoever is at the other end.
    pub peer: Option<u16>,
    /// To requests and responses of these APIs only. None: to all bytes.
    pub apis: Option<Apis>,
}

impl NetworkFault {
    /// The effect on every link that it can be about, both ways; of a half-open connection, one way.
    #[must_use]
    pub(crate) fn of(effect: NetworkEffect) -> Self {
        let link = if effect == NetworkEffect::Partition { Link::Nodes } else { Link::All };
        let direction = if effect == NetworkEffect::HalfOpen { Direction::To } else { Direction::Both };
        Self { effect, link, direction, peer: None, apis: None }
    }
}

/// What is done to the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkEffect {
    /// The target is cut off from everybody.
    Isolate,
    /// It is cut off from other nodes, or from one of them.
    Partition,
    /// Connections are never answered.
    BlackHole,
    /// Bytes arrive later, each way.
    Delay {
        /// How much later.
        latency: Duration,
        /// By how much more or less.
        jitter: Duration,
    },
    /// Bytes arrive at a low rate, each way, all connections together.
    Bandwidth {
        /// In a second.
        rate: Bytes,
    },
    /// Connections are reset, and new ones as well.
    Reset,
    /// Connections that are there are lost without a word to those who send; new ones are served.
    HalfOpen,
}

/// Links of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Link {
    /// All of them.
    #[default]
    All,
    /// Between clients and brokers.
    Clients,
    /// Between brokers: replication, transaction markers.
    Brokers,
    /// To and between controllers: heartbeats, metadata, votes.
    Controllers,
    /// Those of brokers and of controllers.
    Nodes,
}

/// Direction of bytes, as the target sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// What it is sent, and what it sends.
    #[default]
    Both,
    /// What it is sent.
    To,
    /// What it sends.
    From,
}
