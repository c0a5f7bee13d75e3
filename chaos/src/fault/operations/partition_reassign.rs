//! `partition.reassign`: replicas of a topic are moved to other brokers (AlterPartitionReassignments), at a rate that may be limited as
//! `kafka-reassign-partitions --throttle` limits it. Acts when the move is under way, or over.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use gauntlet_wire::ConfigResource;
use serde::{Deserialize, Serialize};

use super::admin::{CONTROLLER_LIMIT, described};
use super::placement::{asked_for, displaced, move_replicas};
use super::{Admin, ConfigBefore, Placement, config_change};
use crate::clock::monotonic_ns;
use crate::error::ChaosError;
use crate::fault::Claim;
use crate::supervisor::SignalTimes;

/// Of a broker: bytes per second that it sends and fetches for throttled replicas.
pub(super) const RATES: [&str; 2] =
    ["leader.replication.throttled.rate", "follower.replication.throttled.rate"];
/// Of a topic: which replicas are throttled where they are read, and where they are written; `PARTITION:BROKER`.
const LEADER_REPLICAS: &str = "leader.replication.throttled.replicas";
const FOLLOWER_REPLICAS: &str = "follower.replication.throttled.replicas";

/// Brokers with replicas, by partition index.
type Replicas = BTreeMap<i32, Vec<i32>>;

/// Replicas are moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionReassign {
    /// Of which topic.
    pub topic: String,
    /// To which brokers: partitions begin with one after the other, and keep their number of replicas.
    pub brokers: Vec<i32>,
    /// At most so many bytes per second to, and from, each broker.
    pub throttle: Option<u64>,
}

/// Where replicas were, and which throttles there were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReassignBefore {
    /// The replicas.
    pub placement: Placement,
    /// The properties that a throttle changes; none without.
    pub throttles: Vec<ConfigBefore>,
}

impl PartitionReassign {
    pub(super) fn claims(&self) -> Vec<Claim> {
        let mut claims = vec![Claim::Replicas { topic: self.topic.clone() }];
        if self.throttle.is_some() {
            // Which brokers send is known only when it is due.
            claims.push(Claim::ReplicationThrottle);
            let of = ConfigResource::Topic(self.topic.clone());
            let lists = [LEADER_REPLICAS, FOLLOWER_REPLICAS];
            claims.extend(lists.map(|name| Claim::Config { of: of.clone(), name: name.to_owned() }));
        }
        claims
    }

    pub(super) fn before(&self, admin: &Admin) -> Result<ReassignBefore, ChaosError> {
        let placement = Placement::read(&self.topic, admin)?;
        let now = placement.replicas();
        let moves = self.moves(&now)?;
        let mut throttles = Vec::new();
        if self.throttle.is_some() {
            for broker in involved(&now, &moves) {
                throttles.push(ConfigBefore::read(&ConfigResource::Broker(broker), RATES, admin)?);
            }
            let of = ConfigResource::Topic(self.topic.clone());
            throttles.push(ConfigBefore::read(&of, [LEADER_REPLICAS, FOLLOWER_REPLICAS], admin)?);
        }
        Ok(ReassignBefore { placement, throttles })
    }

    pub(super) fn apply(&self, before: &Placement, admin: &Admin) -> Result<SignalTimes, ChaosError> {
        let now = before.replicas();
        let moves = self.moves(&now)?;
        let sent_ns = monotonic_ns();
        // Before the move, of which no byte is to go faster.
        for (of, entries) in self.throttles(&now, &moves) {
            config_change::set(&of, &entries, admin)?;
        }
        move_replicas(&self.topic, &asked_for(&moves), admin)?;
        let indices: Vec<i32> = moves.keys().copied().collect();
        let what = format!("replicas of {} are being moved", self.topic);
        let seen_ns = admin.until_seen(None, &what, |connection| {
            // Asked first: a move that ends in between is seen in what follows.
            let moving = connection.reassignments(&self.topic, &indices, CONTROLLER_LIMIT)?;
            let rest = moves.iter().filter(|(index, _)| !moving.contains_key(index));
            let rest: Replicas = rest.map(|(index, to)| (*index, to.clone())).collect();
            Ok(displaced(&described(connection, &self.topic)?, &rest))
        })?;
        Ok(SignalTimes { sent_ns, seen_ns })
    }

    /// Where the replicas of each partition that moves go.
    fn moves(&self, now: &Replicas) -> Result<Replicas, ChaosError> {
        let (topic, count) = (&self.topic, self.brokers.len());
        let mut moves = BTreeMap::new();
        for (index, replicas) in now {
            if replicas.len() > count {
                let factor = replicas.len();
                let why = format!(
                    "{topic}-{index} has {factor} replicas, more than the {count} brokers to move to"
                );
                return Err(super::refused(why));
            }
            let first = usize::try_from(*index).unwrap_or_default();
            let target: Vec<i32> =
                (0..replicas.len()).map(|place| self.brokers[(first + place) % count]).collect();
            if target != *replicas {
                moves.insert(*index, target);
            }
        }
        let set = |ids: &[i32]| ids.iter().copied().collect::<BTreeSet<i32>>();
        if moves.iter().all(|(index, to)| set(to) == set(&now[index])) {
            let brokers = super::listed(&self.brokers);
            let why = format!("no replica of {topic} would come to another broker: all are on {brokers}");
            return Err(super::refused(why));
        }
        Ok(moves)
    }

    /// What a throttle sets: the rate on every broker that sends or receives, and on the topic which replicas it is about.
    fn throttles(
        &self,
        now: &Replicas,
        moves: &Replicas,
    ) -> Vec<(ConfigResource, BTreeMap<String, Option<String>>)> {
        let Some(rate) = self.throttle else { return Vec::new() };
        let rates = RATES.map(|name| (name.to_owned(), Some(rate.to_string())));
        let of_broker = |id: i32| (ConfigResource::Broker(id), BTreeMap::from(rates.clone()));
        let mut throttles: Vec<_> = involved(now, moves).into_iter().map(of_broker).collect();
        let (mut read, mut written) = (Vec::new(), Vec::new());
        for (index, to) in moves {
            let from = &now[index];
            read.extend(from.iter().map(|id| format!("{index}:{id}")));
            written.extend(to.iter().filter(|id| !from.contains(id)).map(|id| format!("{index}:{id}")));
        }
        let lists = [(LEADER_REPLICAS, read), (FOLLOWER_REPLICAS, written)];
        let lists = lists.map(|(name, replicas)| (name.to_owned(), Some(replicas.join(","))));
        throttles.push((ConfigResource::Topic(self.topic.clone()), lists.into()));
        throttles
    }
}

/// The brokers that have replicas of the partitions that move, or are to have some.
fn involved(now: &Replicas, moves: &Replicas) -> BTreeSet<i32> {
    let from = moves.keys().flat_map(|index| &now[index]);
    from.chain(moves.values().flatten()).copied().collect()
}

impl fmt::Display for PartitionReassign {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "topic {}, to brokers {}", self.topic, super::listed(&self.brokers))?;
        match self.throttle {
            Some(rate) => write!(out, " at {rate} bytes/s at most"),
            None => Ok(()),
        }
    }
}

impl ReassignBefore {
    pub(super) fn restore(&self, admin: &Admin) -> Result<(), ChaosError> {
        // The way back is not throttled: a run waits for it. And a throttle that nobody takes away slows replication down for ever.
        for throttle in &self.throttles {
            throttle.restore(admin)?;
        }
        self.placement.restore(admin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reassign(brokers: &[i32], throttle: Option<u64>) -> PartitionReassign {
        PartitionReassign { topic: "orders".to_owned(), brokers: brokers.to_vec(), throttle }
    }

    #[test]
    fn partitions_begin_with_one_broker_after_the_other() {
        let now = BTreeMap::from([(0, vec![2, 3]), (1, vec![3, 1]), (2, vec![1, 2])]);
        let moves = reassign(&[1, 2], None).moves(&now).unwrap();
        // What is where it should be does not move.
        assert_eq!(moves, BTreeMap::from([(0, vec![1, 2]), (1, vec![2, 1])]));
        assert_eq!(involved(&now, &moves), BTreeSet::from([1, 2, 3]));
    }

    #[test]
    fn a_throttle_names_who_reads_and_who_writes() {
        let now = BTreeMap::from([(0, vec![2, 3]), (1, vec![1, 2])]);
        let reassign = reassign(&[1, 2], Some(1000));
        let moves = reassign.moves(&now).unwrap();
        let throttles = reassign.throttles(&now, &moves);
        let brokers: Vec<String> = throttles.iter().map(|(of, _)| of.to_string()).collect();
        assert_eq!(brokers, ["broker 1", "broker 2", "broker 3", "topic orders"]);
        let rate = Some("1000".to_owned());
        assert!(throttles[..3].iter().all(|(_, set)| set.len() == 2 && set.values().all(|v| *v == rate)));
        let lists = &throttles[3].1;
        assert_eq!(lists[LEADER_REPLICAS].as_deref(), Some("0:2,0:3,1:1,1:2"));
        // Partition 1 is only turned around: nobody gets a replica of it.
        assert_eq!(lists[FOLLOWER_REPLICAS].as_deref(), Some("0:1"));
    }

    #[test]
    fn what_can_not_move_is_refused() {
        let now = BTreeMap::from([(0, vec![1, 2])]);
        let refusal = |brokers: &[i32]| reassign(brokers, None).moves(&now).unwrap_err().to_string();
        assert_eq!(refusal(&[3]), "orders-0 has 2 replicas, more than the 1 brokers to move to");
        let all_there = "no replica of orders would come to another broker: all are on 2, 1";
        assert_eq!(refusal(&[2, 1]), all_there);
    }
}
