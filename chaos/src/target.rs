//! Who a fault hits. Scenarios name a role ("the leader of orders-0"), which is given to a broker only when the fault is due:
//! by then leadership may have moved.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use gauntlet_wire::{ConnectOptions, Connection, TopicMetadata, WireError};
use serde::{Deserialize, Serialize};

use crate::local::LocalCluster;

/// How long a role may be vacant (an election goes on, a broker is slow) before the fault is given up. The default quorum
/// election timeout is 1 s and the fetch timeout 2 s, so a controller is back within this.
const RESOLVE_LIMIT: Duration = Duration::from_secs(5);
/// Limit for one answer, so that a paused broker does not use up all of the time.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// Pause between two tries.
const RETRY: Duration = Duration::from_millis(50);

/// Who a fault is aimed at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// The leader of one partition.
    LeaderOf {
        /// Topic.
        topic: String,
        /// Partition index.
        partition: i32,
    },
    /// The leader of the KRaft quorum. With combined roles that is a broker, with isolated controllers it is not.
    ActiveController,
    /// The registered broker with the lowest id that is not the active controller.
    NotController,
    /// The leader of the lowest partition of a topic that is not led by the active controller: a leader whose loss is not a
    /// controller failover at the same time.
    LowestPartitionLeaderNotController {
        /// Topic.
        topic: String,
    },
    /// The node with this id, whatever it does.
    Broker {
        /// Kafka's `node.id`.
        id: i32,
    },
}

/// Who was hit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolvedTarget {
    /// Kafka's `node.id`.
    pub node: i32,
    /// Its role at that moment, e.g. `leader of orders-0`.
    pub why: String,
}

/// Why nobody is hit.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// No node of the cluster has this id.
    #[error("there is no node {id}; there are {known:?}")]
    NoSuchNode {
        /// The id that was named.
        id: i32,
        /// All ids.
        known: Vec<i32>,
    },
    /// Nobody had the role, for as long as was waited.
    #[error("nobody fits: {0}")]
    Vacant(String),
    /// No broker answered.
    #[error("no broker tells who it is: {0}")]
    NoAnswer(#[from] WireError),
}

/// What the cluster says at one moment, as far as a target asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct View {
    /// Ids of all nodes, whether they run or not.
    nodes: Vec<i32>,
    /// Brokers that are registered and not fenced.
    registered: BTreeSet<i32>,
    /// The active controller.
    controller: Option<i32>,
    /// The topic in question.
    topic: Option<TopicMetadata>,
}

impl Target {
    /// Asks the cluster who that is now. Retries while the role is vacant or nobody answers, for some seconds at most, as
    /// long as `go_on` says so.
    pub(crate) fn resolve(
        &self,
        cluster: &LocalCluster,
        go_on: impl Fn() -> bool,
    ) -> Result<ResolvedTarget, TargetError> {
        let deadline = Instant::now() + RESOLVE_LIMIT;
        loop {
            let chosen = self.look(cluster).and_then(|view| self.choose(&view));
            match chosen {
                Ok(resolved) => return Ok(resolved),
                Err(error @ TargetError::NoSuchNode { .. }) => return Err(error),
                Err(error) if Instant::now() >= deadline || !go_on() => return Err(error),
                Err(_) => thread::sleep(RETRY),
            }
        }
    }

    fn topic(&self) -> Option<&str> {
        match self {
            Self::LeaderOf { topic, .. } | Self::LowestPartitionLeaderNotController { topic } => Some(topic),
            Self::ActiveController | Self::NotController | Self::Broker { .. } => None,
        }
    }

    /// Asks the brokers one after the other until one has answered everything.
    fn look(&self, cluster: &LocalCluster) -> Result<View, TargetError> {
        let nodes = cluster.nodes().iter().map(|node| node.node.id).collect();
        if matches!(self, Self::Broker { .. }) {
            // A named node needs no answer from a cluster that may be down.
            return Ok(View { nodes, ..View::default() });
        }
        let options = ConnectOptions { timeout: ANSWER_LIMIT, ..cluster.operator() };
        let mut last = TargetError::Vacant("the cluster has no brokers".to_owned());
        for addr in cluster.bootstrap() {
            match self.ask(&addr, &options) {
                Ok(view) => return Ok(View { nodes, ..view }),
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }

    fn ask(&self, addr: &str, options: &ConnectOptions) -> Result<View, WireError> {
        let mut connection = Connection::connect(addr, options)?;
        let registered = connection.metadata(Some(&[]))?.brokers.iter().map(|broker| broker.id).collect();
        // Asked for only where it matters: the answer comes from the controller, which may be what is down.
        let controller = match self {
            Self::LeaderOf { .. } | Self::Broker { .. } => None,
            Self::ActiveController
            | Self::NotController
            | Self::LowestPartitionLeaderNotController { .. } => connection.quorum()?.leader,
        };
        let topic = self.topic().map(|topic| connection.describe_topic(topic)).transpose()?;
        Ok(View { nodes: Vec::new(), registered, controller, topic })
    }

    /// The rule itself.
    fn choose(&self, view: &View) -> Result<ResolvedTarget, TargetError> {
        let hit = |node, why: String| Ok(ResolvedTarget { node, why });
        let vacant = |why: String| Err(TargetError::Vacant(why));
        match self {
            Self::Broker { id } if view.nodes.contains(id) => hit(*id, format!("node {id}, by its id")),
            Self::Broker { id } => Err(TargetError::NoSuchNode { id: *id, known: view.nodes.clone() }),
            Self::ActiveController => hit(active_controller(view)?, "active controller".to_owned()),
            Self::NotController => {
                let controller = active_controller(view)?;
                match view.registered.iter().find(|id| **id != controller) {
                    Some(id) => {
                        hit(*id, format!("lowest broker that is not the active controller, {controller}"))
                    }
                    None => {
                        vacant(format!("no broker but the active controller, {controller}, is registered"))
                    }
                }
            }
            Self::LeaderOf { topic, partition } => {
                let leader = leaders(view, topic)?.into_iter().find(|(index, _)| index == partition);
                match leader {
                    Some((_, Some(leader))) => hit(leader, format!("leader of {topic}-{partition}")),
                    Some((_, None)) => vacant(format!("{topic}-{partition} has no leader")),
                    None => vacant(format!("{topic} has no partition {partition}")),
                }
            }
            Self::LowestPartitionLeaderNotController { topic } => {
                let controller = active_controller(view)?;
                let found = leaders(view, topic)?.into_iter().find_map(|(index, leader)| {
                    Some((index, leader.filter(|leader| *leader != controller)?))
                });
                match found {
                    Some((partition, leader)) => {
                        let why =
                            format!("leader of {topic}-{partition}, not the active controller, {controller}");
                        hit(leader, why)
                    }
                    None => vacant(format!(
                        "the active controller, {controller}, leads all of {topic} that is led"
                    )),
                }
            }
        }
    }
}

fn active_controller(view: &View) -> Result<i32, TargetError> {
    view.controller.ok_or_else(|| TargetError::Vacant("the quorum has no leader".to_owned()))
}

/// Partition index and leader of each partition, by index.
fn leaders(view: &View, name: &str) -> Result<Vec<(i32, Option<i32>)>, TargetError> {
    match &view.topic {
        Some(topic) if topic.error.is_ok() => {
            Ok(topic.partitions.iter().map(|partition| (partition.index, partition.leader)).collect())
        }
        Some(topic) => Err(TargetError::Vacant(format!("topic {name}: {}", topic.error))),
        None => Err(TargetError::Vacant(format!("no broker described topic {name}"))),
    }
}

#[cfg(test)]
mod tests {
    use gauntlet_wire::{ErrorCode, PartitionMetadata};

    use super::*;

    fn view(registered: &[i32], controller: Option<i32>, leaders: &[Option<i32>]) -> View {
        let partition = |(index, leader): (usize, &Option<i32>)| PartitionMetadata {
            index: i32::try_from(index).unwrap(),
            error: ErrorCode::NONE,
            leader: *leader,
            leader_epoch: 0,
            replicas: Vec::new(),
            isr: Vec::new(),
            elr: None,
            offline: Vec::new(),
        };
        View {
            nodes: vec![1, 2, 3],
            registered: registered.iter().copied().collect(),
            controller,
            topic: Some(TopicMetadata {
                name: "t".to_owned(),
                error: ErrorCode::NONE,
                partitions: leaders.iter().enumerate().map(partition).collect(),
            }),
        }
    }

    fn leader_of(partition: i32) -> Target {
        Target::LeaderOf { topic: "t".to_owned(), partition }
    }

    #[test]
    fn each_role_finds_its_node() {
        let lowest = Target::LowestPartitionLeaderNotController { topic: "t".to_owned() };
        let all = &[1, 2, 3][..];
        let cases = [
            (leader_of(1), view(all, Some(1), &[Some(1), Some(3)]), 3, "leader of t-1"),
            (Target::ActiveController, view(all, Some(2), &[]), 2, "active controller"),
            (Target::ActiveController, view(all, Some(101), &[]), 101, "active controller"),
            (Target::NotController, view(all, Some(1), &[]), 2, "lowest broker that is not"),
            (Target::NotController, view(all, Some(2), &[]), 1, "lowest broker that is not"),
            (Target::NotController, view(&[2, 3], Some(101), &[]), 2, "lowest broker that is not"),
            (lowest.clone(), view(all, Some(1), &[Some(1), Some(2), Some(3)]), 2, "leader of t-1, not"),
            (lowest, view(all, Some(1), &[None, Some(1), Some(3)]), 3, "leader of t-2, not"),
            (Target::Broker { id: 3 }, view(&[1], None, &[]), 3, "by its id"),
        ];
        for (target, view, node, why) in cases {
            let resolved = target.choose(&view).unwrap();
            assert_eq!(resolved.node, node, "{target:?}");
            assert!(resolved.why.contains(why), "{resolved:?}");
        }
    }

    #[test]
    fn nobody_fits_is_said_clearly() {
        let lowest = Target::LowestPartitionLeaderNotController { topic: "t".to_owned() };
        let mut unknown = view(&[1], Some(1), &[]);
        unknown.topic.as_mut().unwrap().error = ErrorCode(3);
        let cases = [
            (leader_of(0), view(&[1], Some(1), &[None]), "t-0 has no leader"),
            (leader_of(7), view(&[1], Some(1), &[None]), "t has no partition 7"),
            (leader_of(0), unknown, "topic t: "),
            (Target::ActiveController, view(&[1], None, &[]), "the quorum has no leader"),
            (Target::NotController, view(&[1], Some(1), &[]), "no broker but the active controller, 1,"),
            (lowest, view(&[1], Some(1), &[Some(1), None]), "leads all of t that is led"),
            (Target::Broker { id: 9 }, view(&[1], None, &[]), "there is no node 9; there are [1, 2, 3]"),
        ];
        for (target, view, message) in cases {
            let error = target.choose(&view).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
