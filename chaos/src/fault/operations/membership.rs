//! How a broker joins a cluster and leaves it, which undo each other.
//!
//! Leaving is what an operator does to decommission one: its replicas are moved to other brokers, it is stopped in order, and the controller
//! is told to forget it (UnregisterBroker). A broker that is only stopped stays registered, and keeps its replicas.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use gauntlet_wire::{ClusterMetadata, Connection, ErrorCode, WireError};

use super::Admin;
use super::admin::CONTROLLER_LIMIT;
use super::placement::{asked_for, move_replicas};
use crate::error::ChaosError;
use crate::local::LocalCluster;
use crate::supervisor::NodeState;

/// How long a change of members may take, until every replica has moved and brokers show it.
pub(super) const MEMBERS_LIMIT: Duration = Duration::from_secs(120);
/// How long a node may take to be whole.
const JOIN_LIMIT: Duration = Duration::from_secs(60);
/// How long a controlled shutdown may take, as Kafka's own scripts wait.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// Pause between two looks at the replicas that have to move.
const LOOK: Duration = Duration::from_millis(500);

/// Replicas of the partitions of topics, by topic and partition index.
pub(super) type Held = BTreeMap<String, BTreeMap<i32, Vec<i32>>>;

/// What a node does; `None` if it was never started.
pub(super) fn state_of(nodes: &LocalCluster, id: i32) -> Result<Option<NodeState>, ChaosError> {
    Ok(nodes.statuses()?.into_iter().find(|status| status.node == id).map(|status| status.state))
}

/// Has node `id` run, whatever it does, and waits until it is whole.
pub(super) fn run(nodes: &LocalCluster, id: i32) -> Result<(), ChaosError> {
    match state_of(nodes, id)? {
        None | Some(NodeState::Exited(_)) => nodes.start_node(id).map(drop)?,
        Some(NodeState::Paused) => nodes.resume(id).map(drop)?,
        Some(NodeState::Running) => {}
    }
    nodes.set_joined(id, true);
    nodes.wait_whole(id, JOIN_LIMIT)?;
    nodes.check_shim(id)
}

/// Ends node `id` in order. One that does not end by itself is killed: it would go later, when nobody expects it.
pub(super) fn end(nodes: &LocalCluster, id: i32) -> Result<(), ChaosError> {
    match state_of(nodes, id)? {
        None | Some(NodeState::Exited(_)) => return Ok(()),
        Some(NodeState::Paused) => nodes.resume(id).map(drop)?,
        Some(NodeState::Running) => {}
    }
    match nodes.stop(id, STOP_LIMIT) {
        Ok(_) => Ok(()),
        // Better gone at once than at a time that nobody knows.
        Err(error) => nodes.kill(id).and(Err(error)),
    }
}

/// Has broker `id` run and waits until every broker lists it; gives when that was seen. Harmless if it does already.
pub(super) fn join(nodes: &LocalCluster, id: i32, admin: &Admin) -> Result<u64, ChaosError> {
    run(nodes, id)?;
    admin.until_seen(None, &format!("brokers list broker {id}"), |connection| {
        Ok((!is_listed(connection, id)?).then(|| "it is not listed".to_owned()))
    })
}

/// Moves every replica of broker `id` away, ends it, and has the controller forget it; gives when every broker that answers showed that. Harmless if
/// it has left already.
pub(super) fn leave(nodes: &LocalCluster, id: i32, admin: &Admin) -> Result<u64, ChaosError> {
    drain(id, admin)?;
    end(nodes, id)?;
    admin.ask(None, |connection| match connection.unregister_broker(id) {
        Err(error) if error.code() == Some(ErrorCode::BROKER_ID_NOT_REGISTERED) => Ok(()),
        other => other,
    })?;
    admin.until_seen(None, &format!("nobody knows broker {id}"), |connection| {
        if is_listed(connection, id)? {
            return Ok(Some("it is listed".to_owned()));
        }
        // Brokers do not list one that is fenced either. The controller, asked once more, tells it from one that is gone.
        match connection.unregister_broker(id) {
            Err(error) if error.code() == Some(ErrorCode::BROKER_ID_NOT_REGISTERED) => Ok(None),
            other => other.map(|()| Some("it was still registered".to_owned())),
        }
    })
}

fn is_listed(connection: &mut Connection, id: i32) -> Result<bool, WireError> {
    Ok(connection.metadata(Some(&[]))?.brokers.iter().any(|broker| broker.id == id))
}

/// Has every replica of broker `id` moved to brokers that have none of that partition, and waits until every broker that answers shows it.
fn drain(id: i32, admin: &Admin) -> Result<(), ChaosError> {
    let deadline = Instant::now() + MEMBERS_LIMIT;
    let mut seen_before = Held::new();
    loop {
        let metadata = admin.ask(None, |connection| connection.metadata(None))?;
        let held = held_by(id, &metadata);
        if held.is_empty() {
            break;
        }
        // Only what was there at the last look as well: another fault that ends now may be about to move it back.
        let mut settled = held.clone();
        for (topic, partitions) in &mut settled {
            let before = seen_before.get(topic);
            partitions.retain(|index, _| before.is_some_and(|before| before.contains_key(index)));
            without_moves(id, topic, partitions, admin)?;
        }
        for (topic, moves) in away(id, &settled, &metadata)? {
            move_replicas(&topic, &asked_for(&moves), admin)?;
        }
        if Instant::now() >= deadline {
            let limit_s = MEMBERS_LIMIT.as_secs();
            let first = first_of(&held);
            let why = format!("not within {limit_s} s: no replica is on broker {id}; it has one of {first}");
            return Err(ChaosError::NotSeenToAct { why });
        }
        seen_before = held;
        thread::sleep(LOOK);
    }
    admin.until_seen(None, &format!("no replica is on broker {id}"), |connection| {
        let held = held_by(id, &connection.metadata(None)?);
        Ok((!held.is_empty()).then(|| format!("it has one of {}", first_of(&held))))
    })?;
    Ok(())
}

/// Leaves out partitions that are leaving broker `id` already, and of others what is leaving somebody else: as long as replicas are moved,
/// brokers show those that come and those that go together.
fn without_moves(
    id: i32,
    topic: &str,
    partitions: &mut BTreeMap<i32, Vec<i32>>,
    admin: &Admin,
) -> Result<(), ChaosError> {
    if partitions.is_empty() {
        return Ok(());
    }
    let indices: Vec<i32> = partitions.keys().copied().collect();
    let moving = admin.ask(None, |connection| connection.reassignments(topic, &indices, CONTROLLER_LIMIT))?;
    partitions.retain(|index, replicas| {
        let going = moving.get(index).map_or(&[][..], |moving| moving.removing.as_slice());
        replicas.retain(|replica| !going.contains(replica));
        replicas.contains(&id)
    });
    Ok(())
}

/// The partitions that have a replica on broker `id`.
pub(super) fn held_by(id: i32, metadata: &ClusterMetadata) -> Held {
    let mut held = Held::new();
    for topic in &metadata.topics {
        let partitions = topic.partitions.iter().filter(|partition| partition.replicas.contains(&id));
        let replicas = partitions.map(|partition| (partition.index, partition.replicas.clone()));
        let replicas: BTreeMap<i32, Vec<i32>> = replicas.collect();
        if !replicas.is_empty() {
            held.insert(topic.name.clone(), replicas);
        }
    }
    held
}

/// `held` without broker `id`: in its place comes the broker with the fewest replicas that has none of that partition. Refuses if there is none.
pub(super) fn away(id: i32, held: &Held, metadata: &ClusterMetadata) -> Result<Held, ChaosError> {
    let others: BTreeSet<i32> =
        metadata.brokers.iter().map(|broker| broker.id).filter(|other| *other != id).collect();
    let all = metadata.topics.iter().flat_map(|topic| &topic.partitions).flat_map(|p| &p.replicas);
    let mut load: BTreeMap<i32, usize> = others.iter().map(|other| (*other, 0)).collect();
    for broker in all {
        if let Some(count) = load.get_mut(broker) {
            *count += 1;
        }
    }
    let mut moves = held.clone();
    for (topic, partitions) in &mut moves {
        for (index, replicas) in partitions {
            let free = others.iter().filter(|other| !replicas.contains(other));
            let Some(next) = free.min_by_key(|other| load.get(*other)).copied() else {
                let (factor, others) = (replicas.len(), others.len());
                let why = format!(
                    "{topic}-{index} has {factor} replicas, and without broker {id} there are {others} brokers: add one first (broker.add)"
                );
                return Err(super::refused(why));
            };
            *load.entry(next).or_default() += 1;
            for replica in replicas.iter_mut().filter(|replica| **replica == id) {
                *replica = next;
            }
        }
    }
    Ok(moves)
}

/// One of the partitions, by name.
fn first_of(held: &Held) -> String {
    let first = held.iter().find_map(|(topic, partitions)| Some((topic, partitions.keys().next()?)));
    first.map_or_else(|| "none".to_owned(), |(topic, index)| format!("{topic}-{index}"))
}

#[cfg(test)]
mod tests {
    use gauntlet_wire::{BrokerNode, PartitionMetadata, TopicMetadata};

    use super::*;

    fn cluster(brokers: &[i32], replicas: &[&[i32]]) -> ClusterMetadata {
        let partition = |(index, replicas): (usize, &&[i32])| PartitionMetadata {
            index: i32::try_from(index).unwrap(),
            error: ErrorCode::NONE,
            leader: replicas.first().copied(),
            leader_epoch: 0,
            replicas: replicas.to_vec(),
            isr: replicas.to_vec(),
            elr: None,
            offline: Vec::new(),
        };
        let broker = |id: &i32| BrokerNode { id: *id, host: "h".to_owned(), port: 1, rack: None };
        ClusterMetadata {
            cluster_id: None,
            controller_id: None,
            brokers: brokers.iter().map(broker).collect(),
            topics: vec![TopicMetadata {
                name: "orders".to_owned(),
                id: None,
                error: ErrorCode::NONE,
                partitions: replicas.iter().enumerate().map(partition).collect(),
            }],
        }
    }

    #[test]
    fn who_has_least_takes_the_place_of_who_leaves() {
        let metadata = cluster(&[1, 2, 3, 4], &[&[2, 1], &[1, 2], &[3, 1], &[2, 3]]);
        let held = held_by(2, &metadata);
        assert_eq!(held["orders"].keys().copied().collect::<Vec<_>>(), [0, 1, 3]);
        let moves = away(2, &held, &metadata).unwrap();
        // Broker 4 has none, then one; broker 3 has two, as 4 has by then.
        let expected = [(0, vec![4, 1]), (1, vec![1, 4]), (3, vec![4, 3])];
        assert_eq!(moves["orders"], BTreeMap::from(expected));
        assert!(held_by(5, &metadata).is_empty());
    }

    #[test]
    fn replicas_that_nobody_else_could_have_are_told() {
        let metadata = cluster(&[1, 2, 3], &[&[1, 2, 3]]);
        let error = away(2, &held_by(2, &metadata), &metadata).unwrap_err().to_string();
        assert!(
            error.starts_with("orders-0 has 3 replicas, and without broker 2 there are 2 brokers"),
            "{error}"
        );
    }
}
