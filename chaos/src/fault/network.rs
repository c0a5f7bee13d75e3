//! Faults of the network around one node, by the rules of the proxy in front of the cluster ([`crate::proxy`]) or, where nodes are in
//! network namespaces, by what the kernel makes of the same rules ([`crate::netns`]).
//!
//! Each acts when proxy or kernel has seen it act on bytes or a connection of that node; where clients are concerned, a connection of our
//! own through the same port must also be treated as the fault says (`probe`), unless only some APIs are. It heals when its rules are gone, which is waited
//! for as after any fault: the node answers, through the proxy, and is registered.
//!
//! Layout: one file for what each way does to a probe (`hold`, `delay`, `limit`, `reset`, `half_open`), `probe` the connection.

mod delay;
mod half_open;
mod hold;
mod limit;
mod probe;
mod reset;

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use gauntlet_wire::ConnectOptions;
use serde::{Deserialize, Serialize};

use crate::error::ChaosError;
use crate::local::LocalCluster;
use crate::proxy::{Apis, Effect, End, Ends, Link, Links, Rule};
use crate::supervisor::SignalTimes;

/// How long a fault may be in force without anything coming by that it could act on. Heartbeats, fetches of followers and of the
/// quorum come every 2 s at the latest, with Kafka's defaults.
const ACT_LIMIT: Duration = Duration::from_secs(10);
/// Pause between two looks.
const POLL: Duration = Duration::from_millis(20);

/// A fault of the network around its victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkFault {
    /// What is done.
    pub kind: NetworkKind,
    /// On which links of the victim.
    pub links: Links,
    /// To bytes of which direction, as the victim sees it.
    pub direction: Direction,
    /// Between the victim and this node only, by Kafka's `node.id`; `None`: whoever is at the other end.
    pub peer: Option<i32>,
    /// To requests and responses of these APIs only; `None`: to all bytes. A connection keeps its order, so what comes behind one that
    /// is late waits with it; and a [`NetworkKind::Reset`] takes connections only when such a one comes, before it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apis: Option<Apis>,
}

/// What is done to the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum NetworkKind {
    /// The victim is cut off from everybody.
    Isolate,
    /// It is cut off from other nodes.
    Partition,
    /// Whoever connects to it, or from it, is never answered.
    BlackHole,
    /// Bytes arrive later.
    Delay {
        /// How much later, nanoseconds, each way.
        latency_ns: u64,
        /// By how much more or less; at most the latency.
        jitter_ns: u64,
    },
    /// Bytes arrive at this rate at most, each way, all connections together.
    Bandwidth {
        /// Bytes a second.
        bytes_per_s: u64,
    },
    /// Connections are reset, and new ones as well.
    Reset,
    /// Connections that are there are lost without a word to those who send in the fault's direction; new ones are not touched.
    HalfOpen,
}

/// Direction of bytes, as the victim sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// What it is sent, and what it sends.
    #[default]
    Both,
    /// What it is sent.
    To,
    /// What it sends.
    From,
}

impl NetworkFault {
    /// As scenario files and reports spell it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.kind {
            NetworkKind::Isolate => "network.isolate",
            NetworkKind::Partition => "network.partition",
            NetworkKind::BlackHole => "network.black-hole",
            NetworkKind::Delay { .. } => "network.delay",
            NetworkKind::Bandwidth { .. } => "network.bandwidth",
            NetworkKind::Reset => "network.reset",
            NetworkKind::HalfOpen => "network.half-open",
        }
    }

    fn effect(&self) -> Effect {
        match self.kind {
            NetworkKind::Isolate | NetworkKind::Partition | NetworkKind::BlackHole => Effect::Hold,
            NetworkKind::Delay { latency_ns, jitter_ns } => Effect::Delay { latency_ns, jitter_ns },
            NetworkKind::Bandwidth { bytes_per_s } => Effect::Limit { bytes_per_s },
            NetworkKind::Reset => Effect::Reset,
            NetworkKind::HalfOpen => Effect::HalfOpen,
        }
    }

    /// What the proxy has to do to `nodes`: a rule for each of them and each direction. Several that are cut off are one side of a network
    /// that is split in two: they reach each other.
    #[must_use]
    pub fn rules(&self, nodes: &[i32]) -> Vec<Rule> {
        let splits = matches!(self.kind, NetworkKind::Isolate | NetworkKind::Partition) && nodes.len() > 1;
        let others = match self.peer {
            Some(peer) => Ends::Only(End::Node(peer)),
            None if splits => Ends::Outside(nodes.to_vec()),
            None => Ends::Any,
        };
        let rule = |from: &Ends, to: &Ends| Rule {
            links: self.links,
            from: from.clone(),
            to: to.clone(),
            apis: self.apis,
            effect: self.effect(),
        };
        let of_one = |node: &i32| {
            let victim = Ends::Only(End::Node(*node));
            match self.direction {
                Direction::Both => vec![rule(&others, &victim), rule(&victim, &others)],
                Direction::To => vec![rule(&others, &victim)],
                Direction::From => vec![rule(&victim, &others)],
            }
        };
        nodes.iter().flat_map(of_one).collect()
    }

    /// How many of the two ways between a client and the victim it is about, whatever the client asks.
    fn ways_of_clients(&self) -> u32 {
        let is_about_all = self.peer.is_none() && self.apis.is_none();
        match (self.links.has(Link::Clients) && is_about_all, self.direction) {
            (false, _) => 0,
            (true, Direction::Both) => 2,
            (true, Direction::To | Direction::From) => 1,
        }
    }

    /// Does it to all `nodes`; returns when it was seen to act.
    pub(super) fn apply(
        &self,
        fault: &str,
        cluster: &LocalCluster,
        nodes: &[i32],
    ) -> Result<SignalTimes, ChaosError> {
        let probed = match self.ways_of_clients() {
            0 => BTreeMap::new(),
            _ => cluster.broker_addresses().into_iter().filter(|(id, _)| nodes.contains(id)).collect(),
        };
        let before = match self.kind {
            NetworkKind::HalfOpen => half_open::connect(&probed, &cluster.operator())?,
            _ => BTreeMap::new(),
        };
        let installed = cluster.install_rules(fault, self.rules(nodes))?;
        for (id, connection) in before {
            half_open::contradiction(connection, self.direction).map_or(Ok(()), |why| unlike(id, &why))?;
        }
        for (id, addr) in &probed {
            self.probe(*id, addr, cluster.operator())?;
        }
        let deadline = Instant::now() + ACT_LIMIT;
        loop {
            if let Some(seen_ns) = cluster.first_acted_ns(fault)? {
                return Ok(SignalTimes { sent_ns: installed.sent_ns, seen_ns });
            }
            if Instant::now() >= deadline {
                let within_s = ACT_LIMIT.as_secs();
                let why = format!("nothing came by within {within_s} s that it could act on");
                return Err(ChaosError::NotSeenToAct { why });
            }
            thread::sleep(POLL);
        }
    }

    /// Connects to the victim as a client, and fails if that went otherwise than the fault says.
    fn probe(&self, id: i32, addr: &str, who: ConnectOptions) -> Result<(), ChaosError> {
        let ways = self.ways_of_clients();
        let effect = self.effect();
        let patience = match effect {
            Effect::Hold => hold::PATIENCE,
            Effect::Delay { latency_ns, .. } => delay::patience(latency_ns),
            Effect::Limit { bytes_per_s } => limit::patience(bytes_per_s),
            Effect::Reset => reset::PATIENCE,
            Effect::HalfOpen => half_open::PATIENCE,
        };
        let seen = probe::ask(addr, who, patience);
        let contradiction = match effect {
            Effect::Hold => hold::contradiction(&seen),
            Effect::Delay { latency_ns, jitter_ns } => {
                delay::contradiction(&seen, latency_ns, jitter_ns, ways)
            }
            Effect::Limit { .. } => limit::contradiction(&seen),
            Effect::Reset => reset::contradiction(&seen),
            Effect::HalfOpen => half_open::contradiction_of_new(&seen),
        };
        contradiction.map_or(Ok(()), |why| unlike(id, &why))
    }
}

/// A client of `id` was not treated as the fault says.
fn unlike(id: i32, why: &str) -> Result<(), ChaosError> {
    Err(ChaosError::NotSeenToAct { why: format!("a client of broker {id} {why}") })
}

/// Takes the rules of `fault` out of force. Harmless if they are.
pub(super) fn heal(fault: &str, cluster: &LocalCluster) -> Result<(), ChaosError> {
    cluster.remove_rules(fault).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(direction: Direction, peer: Option<i32>) -> NetworkFault {
        NetworkFault { kind: NetworkKind::Partition, links: Links::NODES, direction, peer, apis: None }
    }

    #[test]
    fn a_direction_is_a_rule() {
        let both = fault(Direction::Both, None).rules(&[2]);
        let to = fault(Direction::To, None).rules(&[2]);
        let from = fault(Direction::From, None).rules(&[2]);
        assert_eq!(both, [to.clone(), from.clone()].concat());
        let victim = Ends::Only(End::Node(2));
        assert_eq!((&to[0].from, &to[0].to), (&Ends::Any, &victim));
        assert_eq!((&from[0].from, &from[0].to), (&victim, &Ends::Any));
        let pair = fault(Direction::From, Some(3)).rules(&[2]);
        assert_eq!((&pair[0].from, &pair[0].to), (&victim, &Ends::Only(End::Node(3))));
    }

    #[test]
    fn several_that_are_cut_off_are_one_side() {
        let side = fault(Direction::To, None).rules(&[2, 3]);
        let others = Ends::Outside(vec![2, 3]);
        let expected = [2, 3].map(|id| (others.clone(), Ends::Only(End::Node(id))));
        assert_eq!(side.into_iter().map(|rule| (rule.from, rule.to)).collect::<Vec<_>>(), expected);
        // What is slow is slow to everybody.
        let late = NetworkFault { kind: NetworkKind::Reset, ..fault(Direction::To, None) }.rules(&[2, 3]);
        assert!(late.iter().all(|rule| rule.from == Ends::Any), "{late:?}");
    }

    #[test]
    fn clients_are_probed_where_they_are_concerned() {
        assert_eq!(fault(Direction::Both, None).ways_of_clients(), 0);
        let all = |direction, peer| NetworkFault { links: Links::ALL, ..fault(direction, peer) };
        assert_eq!(all(Direction::Both, None).ways_of_clients(), 2);
        assert_eq!(all(Direction::To, None).ways_of_clients(), 1);
        assert_eq!(all(Direction::Both, Some(1)).ways_of_clients(), 0);
        let apis = Apis::named(&["Produce".to_owned()]).ok();
        assert_eq!(
            NetworkFault { apis, ..all(Direction::Both, None) }.ways_of_clients(),
            0,
            "ours asks for others"
        );
    }
}
