//! `topic.delete-recreate`: a topic is deleted (DeleteTopics) and, to end it, created again under its name with the same partitions, placement
//! and properties (CreateTopics). Acts when no broker that answers knows the topic; undone when all of them know one again that is led.
//!
//! To Kafka it is another topic then: it has an id of its own (KIP-516), its leader epochs and offsets begin at 0, and no record of
//! the old one is in it. Undoing brings back the topic, never what was in it.

use std::collections::BTreeMap;
use std::fmt;

use gauntlet_wire::{ConfigResource, Connection, ErrorCode, WireError};
use serde::{Deserialize, Serialize};

use super::admin::{CONTROLLER_LIMIT, described};
use super::placement::displaced;
use super::{Admin, ConfigBefore, Placement};
use crate::clock::monotonic_ns;
use crate::error::ChaosError;
use crate::fault::Claim;
use crate::supervisor::SignalTimes;

/// A topic is gone for a while, and its records for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicDeleteRecreate {
    /// Which.
    pub topic: String,
}

/// What a topic was like: all that it takes to create it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicBefore {
    /// Its partitions, and where their replicas were.
    pub placement: Placement,
    /// The properties that were set on it.
    pub config: BTreeMap<String, String>,
}

impl TopicDeleteRecreate {
    pub(super) fn claims(&self) -> Vec<Claim> {
        vec![Claim::Replicas { topic: self.topic.clone() }]
    }

    pub(super) fn before(&self, admin: &Admin) -> Result<TopicBefore, ChaosError> {
        let placement = Placement::read(&self.topic, admin)?;
        let of = ConfigResource::Topic(self.topic.clone());
        let set = admin.ask(None, |connection| connection.config_set(&of))?;
        // Refuses what is secret: nobody could set it again.
        let set = ConfigBefore::read(&of, set.keys().map(String::as_str), admin)?;
        let config = set.entries.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        Ok(TopicBefore { placement, config })
    }

    pub(super) fn apply(&self, admin: &Admin) -> Result<SignalTimes, ChaosError> {
        let topic = &self.topic;
        let sent_ns = monotonic_ns();
        admin.ask(None, |connection| match connection.delete_topic(topic, CONTROLLER_LIMIT) {
            // Asked again because the answer got lost. It was there when it was read, just before.
            Err(error) if error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => Ok(()),
            other => other,
        })?;
        let seen_ns = admin.until_seen(None, &format!("topic {topic} is gone"), |connection| {
            Ok((!is_gone(connection, topic)?).then(|| "it is there".to_owned()))
        })?;
        Ok(SignalTimes { sent_ns, seen_ns })
    }
}

/// Whether the broker knows no topic of this name.
fn is_gone(connection: &mut Connection, topic: &str) -> Result<bool, WireError> {
    Ok(connection.describe_topic(topic)?.error == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
}

impl TopicBefore {
    /// Creates the topic unless there is one, and waits until every broker that answers knows it, where it was, and led.
    pub(super) fn restore(&self, admin: &Admin) -> Result<(), ChaosError> {
        let topic = &self.placement.topic;
        let replicas = self.placement.replicas();
        let create = |connection: &mut Connection| {
            match connection.create_topic_at(topic, &replicas, &self.config, CONTROLLER_LIMIT) {
                // Created already, or never deleted. That it is another one than it should be is seen below.
                Err(error) if error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) => Ok(()),
                other => other,
            }
        };
        admin.ask(None, create)?;
        admin.until_seen(None, &format!("topic {topic} is there again"), |connection| {
            let partitions = described(connection, topic)?;
            if partitions.len() != replicas.len() {
                return Ok(Some(format!("it has {} partitions, not {}", partitions.len(), replicas.len())));
            }
            let unled = partitions.iter().find(|partition| partition.leader.is_none());
            let unled = unled.map(|partition| format!("{topic}-{} has no leader", partition.index));
            Ok(displaced(&partitions, &replicas).or(unled))
        })?;
        Ok(())
    }
}

impl fmt::Display for TopicDeleteRecreate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "topic {}, and all that is in it, for good", self.topic)
    }
}
