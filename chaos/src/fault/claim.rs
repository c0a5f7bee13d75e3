//! What one fault has to itself as long as it lasts, because undoing another one there would undo it, too.

use std::fmt;

use gauntlet_wire::{ConfigResource, QuotaEntity};

/// Something that one fault at a time may change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// A node: its process, and the network around it.
    Node(i32),
    /// A client of the run, by its name.
    Client(String),
    /// A property.
    Config {
        /// Of what.
        of: ConfigResource,
        /// Its name.
        name: String,
    },
    /// Where the replicas of a topic are, in which order.
    Replicas {
        /// The topic.
        topic: String,
    },
    /// Who votes in the quorum: KRaft takes one change at a time (KIP-853).
    Quorum,
    /// The rate of brokers at which throttled replicas are moved: a broker has one for all topics.
    ReplicationThrottle,
    /// A quota.
    Quota {
        /// Of whom.
        of: QuotaEntity,
        /// Its name.
        name: String,
    },
}

impl fmt::Display for Claim {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(id) => write!(out, "node {id}"),
            Self::Client(name) => out.write_str(name),
            Self::Config { of, name } => write!(out, "{name} of {of}"),
            Self::Replicas { topic } => write!(out, "the placement of topic {topic}"),
            Self::Quorum => out.write_str("who votes in the quorum"),
            Self::ReplicationThrottle => write!(out, "the throttle of replication"),
            Self::Quota { of, name } => write!(out, "{name} of {of}"),
        }
    }
}
