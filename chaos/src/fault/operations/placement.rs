//! Where the replicas of a topic are, in which order, and whether the first of them led: what is put back after they were moved.

use std::collections::BTreeMap;

use gauntlet_wire::{Connection, PartitionMetadata, WireError};
use serde::{Deserialize, Serialize};

use super::Admin;
use super::admin::{CONTROLLER_LIMIT, described};
use crate::error::ChaosError;

/// Where the replicas of a topic were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placement {
    /// The topic.
    pub topic: String,
    /// Its partitions.
    pub partitions: Vec<PartitionBefore>,
}

/// Where the replicas of a partition were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionBefore {
    /// Partition index.
    pub index: i32,
    /// On which brokers, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Whether the preferred leader led.
    pub preferred_led: bool,
}

impl Placement {
    /// Reads where they are now. Refuses a topic of which replicas are being moved already.
    pub(super) fn read(topic: &str, admin: &Admin) -> Result<Self, ChaosError> {
        let (partitions, moving) = admin.ask(None, |connection| {
            let partitions = described(connection, topic)?;
            let moving = connection.reassignments(topic, &indices(&partitions), CONTROLLER_LIMIT)?;
            Ok((partitions, moving))
        })?;
        if let Some(index) = moving.keys().next() {
            return Err(super::refused(format!("replicas of {topic}-{index} are being moved already")));
        }
        let before = |partition: PartitionMetadata| {
            let preferred_led = is_led_by_preferred(&partition);
            PartitionBefore { index: partition.index, replicas: partition.replicas, preferred_led }
        };
        Ok(Self { topic: topic.to_owned(), partitions: partitions.into_iter().map(before).collect() })
    }

    /// The replicas of each partition, by its index.
    pub(super) fn replicas(&self) -> BTreeMap<i32, Vec<i32>> {
        self.partitions.iter().map(|before| (before.index, before.replicas.clone())).collect()
    }

    /// Cancels what is under way, has replicas moved back, waits until they are there, and has those lead that led.
    pub(super) fn restore(&self, admin: &Admin) -> Result<(), ChaosError> {
        let cancelled = self.partitions.iter().map(|before| (before.index, None)).collect();
        move_replicas(&self.topic, &cancelled, admin)?;
        // Without a look at where they are: what a broker shows may be older than what the controller has accepted.
        let back = self.replicas();
        move_replicas(&self.topic, &asked_for(&back), admin)?;
        admin.until_seen(None, &format!("replicas of {} are back", self.topic), |connection| {
            Ok(displaced(&described(connection, &self.topic)?, &back))
        })?;
        let led = self.partitions.iter().filter(|before| before.preferred_led);
        let led: Vec<i32> = led.map(|before| before.index).collect();
        elect_preferred(&self.topic, &led, admin).map(drop)
    }
}

/// Has the controller move replicas, or not move them on (`None`). Nothing is asked for where there is nothing to move.
pub(super) fn move_replicas(
    topic: &str,
    targets: &BTreeMap<i32, Option<Vec<i32>>>,
    admin: &Admin,
) -> Result<(), ChaosError> {
    if targets.is_empty() {
        return Ok(());
    }
    admin.ask(None, |connection| connection.alter_reassignments(topic, targets, CONTROLLER_LIMIT))
}

/// These replicas as what the controller is asked for.
pub(super) fn asked_for(replicas: &BTreeMap<i32, Vec<i32>>) -> BTreeMap<i32, Option<Vec<i32>>> {
    replicas.iter().map(|(index, replicas)| (*index, Some(replicas.clone()))).collect()
}

/// Has preferred replicas lead these partitions, and waits until every broker that answers knows it; gives when that was seen.
pub(super) fn elect_preferred(topic: &str, partitions: &[i32], admin: &Admin) -> Result<u64, ChaosError> {
    let elect = |connection: &mut Connection| {
        if partitions.is_empty() {
            return Ok(());
        }
        connection.elect_preferred_leaders(topic, partitions, CONTROLLER_LIMIT)
    };
    admin.ask(None, elect)?;
    admin.until_seen(None, &format!("preferred replicas lead {topic}"), |connection| {
        let described = described(connection, topic)?;
        let mut asked = described.iter().filter(|p| partitions.contains(&p.index));
        Ok(asked.find(|p| !is_led_by_preferred(p)).map(|p| match p.leader {
            Some(leader) => format!("{topic}-{} is led by {leader}", p.index),
            None => format!("{topic}-{} has no leader", p.index),
        }))
    })
}

/// A partition whose replicas are not where they should be, in words.
pub(super) fn displaced(described: &[PartitionMetadata], wanted: &BTreeMap<i32, Vec<i32>>) -> Option<String> {
    wanted.iter().find_map(|(index, replicas)| match described.iter().find(|p| p.index == *index) {
        Some(partition) if partition.replicas == *replicas => None,
        Some(partition) => Some(format!(
            "partition {index} is on {}, not on {}",
            super::listed(&partition.replicas),
            super::listed(replicas)
        )),
        None => Some(format!("there is no partition {index}")),
    })
}

/// The indices of all partitions of `topic`.
pub(super) fn partitions_of(topic: &str, admin: &Admin) -> Result<Vec<i32>, ChaosError> {
    admin.ask(None, |connection| -> Result<_, WireError> { Ok(indices(&described(connection, topic)?)) })
}

fn indices(partitions: &[PartitionMetadata]) -> Vec<i32> {
    partitions.iter().map(|partition| partition.index).collect()
}

fn is_led_by_preferred(partition: &PartitionMetadata) -> bool {
    partition.leader.is_some() && partition.leader == partition.replicas.first().copied()
}
