//! Who a fault hits. Scenarios name a role ("the leader of orders-0"), which is given to a broker only when the fault is due:
//! by then leadership may have moved.

use std::collections::BTreeSet;
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use gauntlet_wire::{ConnectOptions, Connection, PartitionMetadata, TopicMetadata, WireError};
use serde::{Deserialize, Serialize};

use crate::client::ClientTarget;
use crate::local::{FIRST_CONTROLLER_ID, LocalCluster, LocalNode};

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
    /// Every replica of one partition but its leader.
    FollowersOf {
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
    /// The nodes with these ids, all of them.
    Nodes {
        /// Kafka's `node.id`s, ascending.
        ids: Vec<i32>,
    },
    /// One of the brokers that were registered at the start, by this number that was drawn: for clusters of which nobody knew how many
    /// brokers they have.
    Drawn {
        /// Any number; the same one is always the same broker.
        number: u64,
    },
    /// Every broker.
    AllBrokers,
    /// The broker whose turn it is in a rolling restart: the lowest that had none, the active controller last. The order that
    /// operators keep: the quorum fails over once.
    NextOfRoll,
    /// So many voters that no majority is left: the active controller and, in the order of their ids, as many more as it takes.
    EnoughVoters,
    /// No node: clients of the run.
    Clients(ClientTarget),
    /// No node: the cluster as a whole, which an operation is about.
    Cluster,
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeaderOf { topic, partition } => write!(out, "the leader of {topic}-{partition}"),
            Self::FollowersOf { topic, partition } => write!(out, "the followers of {topic}-{partition}"),
            Self::ActiveController => out.write_str("the active controller"),
            Self::NotController => out.write_str("the first broker that is not the active controller"),
            Self::LowestPartitionLeaderNotController { topic } => write!(
                out,
                "the leader of the lowest partition of {topic} that the active controller does not lead"
            ),
            Self::Broker { id } => write!(out, "node {id}"),
            Self::Nodes { ids } => {
                let ids: Vec<String> = ids.iter().map(i32::to_string).collect();
                write!(out, "nodes {}", ids.join(", "))
            }
            Self::Drawn { .. } => out.write_str("a broker drawn with the seed"),
            Self::AllBrokers => out.write_str("all brokers"),
            Self::NextOfRoll => out.write_str("the next broker, the active controller last"),
            Self::EnoughVoters => {
                out.write_str("the active controller and as many voters that the others elect nobody")
            }
            Self::Clients(clients) => clients.fmt(out),
            Self::Cluster => out.write_str("the cluster"),
        }
    }
}

/// Who was hit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolvedTarget {
    /// Kafka's `node.id` of each victim, ascending; none for an operation, and for clients.
    pub nodes: Vec<i32>,
    /// Their role at that moment, e.g. `leader of orders-0`; or what the operation changes, or which clients are hit.
    pub why: String,
}

impl fmt::Display for ResolvedTarget {
    /// `broker 2 (leader of orders-0)`, `brokers 1, 2, 3 (…)`, `controllers 101, 102 (…)`; of an operation what it changes.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes.is_empty() {
            return out.write_str(&self.why);
        }
        let is_controller = self.nodes.iter().all(|id| *id >= FIRST_CONTROLLER_ID);
        let what = if is_controller { "controller" } else { "broker" };
        let plural = if self.nodes.len() == 1 { "" } else { "s" };
        let ids: Vec<String> = self.nodes.iter().map(i32::to_string).collect();
        write!(out, "{what}{plural} {} ({})", ids.join(", "), self.why)
    }
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
    /// Those of them that serve clients.
    brokers: Vec<i32>,
    /// Brokers that are registered and not fenced.
    registered: BTreeSet<i32>,
    /// The active controller.
    controller: Option<i32>,
    /// Voters of the quorum.
    voters: Vec<i32>,
    /// The topic in question.
    topic: Option<TopicMetadata>,
}

/// Who can be hit, and who can be asked about it.
pub(crate) trait Electorate {
    /// Ids of all nodes that are known, whether they run or not.
    fn node_ids(&self) -> Vec<i32>;
    /// Those of them that serve clients, ascending.
    fn broker_ids(&self) -> Vec<i32>;
    /// `host:port` of the brokers to ask, those first that are most likely to answer.
    fn addresses(&self) -> Vec<String>;
    /// How to connect to them.
    fn login(&self) -> ConnectOptions;
}

impl Electorate for LocalCluster {
    fn node_ids(&self) -> Vec<i32> {
        self.members().map(|node| node.node.id).collect()
    }

    fn broker_ids(&self) -> Vec<i32> {
        let serves = |node: &&LocalNode| node.node.client_port.is_some();
        self.members().filter(serves).map(|node| node.node.id).collect()
    }

    fn addresses(&self) -> Vec<String> {
        self.bootstrap_of_running()
    }

    fn login(&self) -> ConnectOptions {
        self.operator()
    }
}

impl Target {
    /// Asks the cluster who that is now. Retries while the role is vacant or nobody answers, for some seconds at most, as
    /// long as `go_on` says so. `rolled` are the brokers that a rolling restart has been through.
    pub(crate) fn resolve(
        &self,
        cluster: &impl Electorate,
        rolled: &BTreeSet<i32>,
        go_on: impl Fn() -> bool,
    ) -> Result<ResolvedTarget, TargetError> {
        let deadline = Instant::now() + RESOLVE_LIMIT;
        loop {
            let chosen = self.look(cluster).and_then(|view| self.choose(&view, rolled));
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
            Self::LeaderOf { topic, .. }
            | Self::FollowersOf { topic, .. }
            | Self::LowestPartitionLeaderNotController { topic } => Some(topic),
            Self::ActiveController
            | Self::NotController
            | Self::Broker { .. }
            | Self::Nodes { .. }
            | Self::Drawn { .. }
            | Self::AllBrokers
            | Self::NextOfRoll
            | Self::EnoughVoters
            | Self::Clients(_)
            | Self::Cluster => None,
        }
    }

    /// Asks the brokers one after the other until one has answered everything.
    fn look(&self, cluster: &impl Electorate) -> Result<View, TargetError> {
        let (nodes, brokers) = (cluster.node_ids(), cluster.broker_ids());
        if matches!(
            self,
            Self::Broker { .. }
                | Self::Nodes { .. }
                | Self::Drawn { .. }
                | Self::AllBrokers
                | Self::Clients(_)
                | Self::Cluster
        ) {
            // Named nodes need no answer from a cluster that may be down.
            return Ok(View { nodes, brokers, ..View::default() });
        }
        let options = ConnectOptions { timeout: ANSWER_LIMIT, ..cluster.login() };
        let mut last = TargetError::Vacant("the cluster has no brokers".to_owned());
        for addr in cluster.addresses() {
            match self.ask(&addr, &options) {
                Ok(view) => return Ok(View { nodes, brokers, ..view }),
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }

    fn ask(&self, addr: &str, options: &ConnectOptions) -> Result<View, WireError> {
        let mut connection = Connection::connect(addr, options)?;
        let registered = connection.metadata(Some(&[]))?.brokers.iter().map(|broker| broker.id).collect();
        // Asked for only where it matters: the answer comes from the controller, which may be what is down.
        let quorum = match self {
            Self::LeaderOf { .. }
            | Self::FollowersOf { .. }
            | Self::Broker { .. }
            | Self::Nodes { .. }
            | Self::Drawn { .. }
            | Self::AllBrokers
            | Self::Clients(_)
            | Self::Cluster => None,
            Self::ActiveController
            | Self::NotController
            | Self::LowestPartitionLeaderNotController { .. }
            | Self::NextOfRoll
            | Self::EnoughVoters => Some(connection.quorum()?),
        };
        let controller = quorum.as_ref().and_then(|quorum| quorum.leader);
        let voters = quorum.map(|quorum| quorum.voters).unwrap_or_default();
        let topic = self.topic().map(|topic| connection.describe_topic(topic)).transpose()?;
        Ok(View { registered, controller, voters, topic, ..View::default() })
    }

    /// The rule itself.
    fn choose(&self, view: &View, rolled: &BTreeSet<i32>) -> Result<ResolvedTarget, TargetError> {
        let hit = |node, why: String| Ok(ResolvedTarget { nodes: vec![node], why });
        let vacant = |why: String| Err(TargetError::Vacant(why));
        match self {
            Self::Broker { id } if view.nodes.contains(id) => hit(*id, format!("node {id}, by its id")),
            Self::Broker { id } => Err(TargetError::NoSuchNode { id: *id, known: view.nodes.clone() }),
            Self::Nodes { ids } => match ids.iter().find(|id| !view.nodes.contains(id)) {
                Some(id) => Err(TargetError::NoSuchNode { id: *id, known: view.nodes.clone() }),
                None => Ok(ResolvedTarget { nodes: ids.clone(), why: "by their ids".to_owned() }),
            },
            Self::Drawn { number } => match view.brokers.len() as u64 {
                0 => vacant("no broker was registered".to_owned()),
                brokers => {
                    let id = view.brokers[(number % brokers) as usize];
                    hit(id, format!("drawn with the seed from {brokers} brokers"))
                }
            },
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
            Self::AllBrokers => {
                Ok(ResolvedTarget { nodes: view.brokers.clone(), why: "all brokers".to_owned() })
            }
            Self::Clients(_) | Self::Cluster => {
                Ok(ResolvedTarget { nodes: Vec::new(), why: self.to_string() })
            }
            Self::NextOfRoll => next_of_roll(view, rolled),
            Self::EnoughVoters => enough_voters(view),
            Self::LeaderOf { topic, partition } => {
                let leader = leaders(view, topic)?.into_iter().find(|(index, _)| index == partition);
                match leader {
                    Some((_, Some(leader))) => hit(leader, format!("leader of {topic}-{partition}")),
                    Some((_, None)) => vacant(format!("{topic}-{partition} has no leader")),
                    None => vacant(format!("{topic} has no partition {partition}")),
                }
            }
            Self::FollowersOf { topic, partition } => followers(view, topic, *partition),
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

fn next_of_roll(view: &View, rolled: &BTreeSet<i32>) -> Result<ResolvedTarget, TargetError> {
    let controller = active_controller(view)?;
    let mut left: Vec<i32> = view.brokers.iter().copied().filter(|id| !rolled.contains(id)).collect();
    left.sort_unstable_by_key(|id| (*id == controller, *id));
    let Some(next) = left.first() else {
        return Err(TargetError::Vacant("every broker had its turn".to_owned()));
    };
    let role = if *next == controller { ", the active controller" } else { "" };
    let why = format!("turn {} of {}{role}", rolled.len() + 1, view.brokers.len());
    Ok(ResolvedTarget { nodes: vec![*next], why })
}

fn enough_voters(view: &View) -> Result<ResolvedTarget, TargetError> {
    let controller = active_controller(view)?;
    let all = view.voters.len();
    // What is left of 3 is 1, of 4 is 2, of 5 is 2: less than a majority each time.
    let enough = all.div_ceil(2);
    let mut voters = view.voters.clone();
    voters.sort_unstable_by_key(|id| (*id != controller, *id));
    voters.truncate(enough);
    voters.sort_unstable();
    let why = format!("{enough} of {all} voters, the active controller {controller} included");
    Ok(ResolvedTarget { nodes: voters, why })
}

/// While there is a leader: who follows nobody is no follower.
fn followers(view: &View, topic: &str, partition: i32) -> Result<ResolvedTarget, TargetError> {
    let vacant = |why: String| Err(TargetError::Vacant(why));
    let Some(found) = partitions(view, topic)?.iter().find(|found| found.index == partition) else {
        return vacant(format!("{topic} has no partition {partition}"));
    };
    let Some(leader) = found.leader else { return vacant(format!("{topic}-{partition} has no leader")) };
    let mut nodes: Vec<i32> = found.replicas.iter().copied().filter(|node| *node != leader).collect();
    nodes.sort_unstable();
    match nodes.is_empty() {
        true => vacant(format!("{topic}-{partition} has one replica, and no followers")),
        false => {
            Ok(ResolvedTarget { nodes, why: format!("followers of {topic}-{partition}, led by {leader}") })
        }
    }
}

/// Partition index and leader of each partition, by index.
fn leaders(view: &View, name: &str) -> Result<Vec<(i32, Option<i32>)>, TargetError> {
    Ok(partitions(view, name)?.iter().map(|partition| (partition.index, partition.leader)).collect())
}

fn partitions<'a>(view: &'a View, name: &str) -> Result<&'a [PartitionMetadata], TargetError> {
    match &view.topic {
        Some(topic) if topic.error.is_ok() => Ok(&topic.partitions),
        Some(topic) => Err(TargetError::Vacant(format!("topic {name}: {}", topic.error))),
        None => Err(TargetError::Vacant(format!("no broker described topic {name}"))),
    }
}

#[cfg(test)]
mod tests {
    use gauntlet_wire::ErrorCode;

    use super::*;

    fn view(registered: &[i32], controller: Option<i32>, leaders: &[Option<i32>]) -> View {
        let partition = |(index, leader): (usize, &Option<i32>)| PartitionMetadata {
            index: i32::try_from(index).unwrap(),
            error: ErrorCode::NONE,
            leader: *leader,
            leader_epoch: 0,
            replicas: vec![3, 1, 2],
            isr: Vec::new(),
            elr: None,
            offline: Vec::new(),
        };
        View {
            nodes: vec![1, 2, 3],
            brokers: vec![1, 2, 3],
            voters: vec![3, 1, 2],
            registered: registered.iter().copied().collect(),
            controller,
            topic: Some(TopicMetadata {
                name: "t".to_owned(),
                id: None,
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
            (Target::Drawn { number: 7 }, view(&[], None, &[]), 2, "drawn with the seed from 3 brokers"),
        ];
        for (target, view, node, why) in cases {
            let resolved = target.choose(&view, &BTreeSet::new()).unwrap();
            assert_eq!(resolved.nodes, [node], "{target:?}");
            assert!(resolved.why.contains(why), "{resolved:?}");
        }
    }

    #[test]
    fn a_roll_takes_each_broker_once_and_the_controller_last() {
        let mut rolled = BTreeSet::new();
        let mut order = Vec::new();
        while let Ok(next) = Target::NextOfRoll.choose(&view(&[1, 2, 3], Some(2), &[]), &rolled) {
            order.push(next.to_string());
            rolled.extend(next.nodes);
        }
        let expected = [
            "broker 1 (turn 1 of 3)",
            "broker 3 (turn 2 of 3)",
            "broker 2 (turn 3 of 3, the active controller)",
        ];
        assert_eq!(order, expected);
        let isolated = Target::NextOfRoll.choose(&view(&[1, 2, 3], Some(101), &[]), &BTreeSet::from([1]));
        assert_eq!(isolated.unwrap().nodes, [2], "a controller of its own has no turn");
    }

    #[test]
    fn several_are_hit_at_once() {
        let none = BTreeSet::new();
        let all = Target::AllBrokers.choose(&view(&[], None, &[]), &none).unwrap();
        assert_eq!(all.to_string(), "brokers 1, 2, 3 (all brokers)");
        let nobody = Target::Cluster.choose(&view(&[], None, &[]), &none).unwrap();
        assert_eq!((nobody.to_string().as_str(), nobody.nodes.len()), ("the cluster", 0));
        let enough = |voters: &[i32], controller| {
            let view = View { voters: voters.to_vec(), ..view(&[1], Some(controller), &[]) };
            Target::EnoughVoters.choose(&view, &none).unwrap()
        };
        assert_eq!(enough(&[1, 2, 3], 3).nodes, [1, 3]);
        assert_eq!(enough(&[1], 1).nodes, [1]);
        assert_eq!(enough(&[1, 2, 3, 4], 2).nodes, [1, 2], "two of four elect nobody");
        let told = enough(&[103, 102, 101], 102).to_string();
        assert_eq!(told, "controllers 101, 102 (2 of 3 voters, the active controller 102 included)");
    }

    #[test]
    fn followers_are_all_replicas_but_the_leader() {
        let followers = Target::FollowersOf { topic: "t".to_owned(), partition: 1 };
        let choose = |view: &View| followers.choose(view, &BTreeSet::new());
        let led = view(&[1, 2, 3], None, &[Some(1), Some(3)]);
        assert_eq!(choose(&led).unwrap().to_string(), "brokers 1, 2 (followers of t-1, led by 3)");
        let mut alone = led.clone();
        alone.topic.as_mut().unwrap().partitions[1].replicas = vec![3];
        for (view, message) in [
            (view(&[1], None, &[Some(1), None]), "t-1 has no leader"),
            (view(&[1], None, &[Some(1)]), "t has no partition 1"),
            (alone, "t-1 has one replica, and no followers"),
        ] {
            let error = choose(&view).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
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
            (Target::NextOfRoll, view(&[1, 2, 3], Some(1), &[]), "every broker had its turn"),
            (Target::EnoughVoters, view(&[1], None, &[]), "the quorum has no leader"),
            (Target::Broker { id: 9 }, view(&[1], None, &[]), "there is no node 9; there are [1, 2, 3]"),
        ];
        for (target, view, message) in cases {
            let error = target.choose(&view, &BTreeSet::from([1, 2, 3])).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
