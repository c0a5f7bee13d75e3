//! Faults of the network, seen from both ends: by a client of the victim, and by the other brokers or the victim itself.

use std::time::{Duration, Instant};

use gauntlet_chaos::fault::{Direction, NetworkFault, NetworkKind};
use gauntlet_chaos::proxy::{Apis, Link, Links};
use gauntlet_chaos::{FaultAction, LocalCluster, Target};
use gauntlet_wire::admin::connect_first;
use gauntlet_wire::{ConnectOptions, Connection, ErrorCode, PartitionMetadata};
use libtest_mimic::Failed;

use super::support::{LIMIT, TestResult, eventually, produce};

/// The latency that a row has.
const LATENCY: Duration = Duration::from_millis(150);
/// By how much more or less.
const JITTER: Duration = Duration::from_millis(30);
/// The rate that a row has.
const BYTES_PER_S: u64 = 200_000;
/// How long somebody is asked who is not to answer.
const SILENCE: Duration = Duration::from_secs(1);
/// The brokers of these tests fence whom they miss for 3 s.
const FENCED_WITHIN: Duration = Duration::from_secs(30);

/// A row of the catalogue.
pub(crate) struct NetworkRow {
    pub(crate) action: FaultAction,
    pub(crate) target: Target,
    pub(crate) in_ci_test: bool,
    pub(crate) killed_in_ci_test: bool,
}

/// The rows of the catalogue.
pub(crate) fn rows() -> Vec<NetworkRow> {
    let ns = |duration: Duration| duration.as_nanos() as u64;
    let delay = NetworkKind::Delay { latency_ns: ns(LATENCY), jitter_ns: ns(JITTER) };
    let limit = NetworkKind::Bandwidth { bytes_per_s: BYTES_PER_S };
    let row = |kind, links, direction| NetworkRow {
        action: FaultAction::Network {
            fault: NetworkFault { kind, links, direction, peer: None, apis: None },
        },
        target: victim(),
        in_ci_test: false,
        killed_in_ci_test: false,
    };
    let ci = |row: NetworkRow| NetworkRow { in_ci_test: true, ..row };
    let (clients, brokers) = (Links::only(Link::Clients), Links::only(Link::Brokers));
    let (both, from) = (Direction::Both, Direction::From);
    let isolate = row(NetworkKind::Isolate, Links::ALL, both);
    let pair = NetworkFault {
        kind: NetworkKind::Partition,
        links: brokers,
        direction: both,
        peer: Some(3),
        apis: None,
    };
    let fetches = Apis::named(&["Fetch".to_owned()]).ok();
    // Followers fetch all the time; what clients send of one API is planted by whole runs (`network_brokers` of the harness).
    let of_fetches = |kind| NetworkRow {
        action: FaultAction::Network {
            fault: NetworkFault { kind, links: brokers, direction: both, peer: None, apis: fetches },
        },
        target: victim(),
        in_ci_test: false,
        killed_in_ci_test: false,
    };
    vec![
        of_fetches(delay),
        of_fetches(NetworkKind::BlackHole),
        NetworkRow { killed_in_ci_test: true, ..ci(isolate) },
        ci(row(NetworkKind::Partition, Links::NODES, both)),
        row(NetworkKind::Partition, Links::NODES, from),
        NetworkRow {
            action: FaultAction::Network { fault: pair },
            target: Target::Broker { id: 2 },
            in_ci_test: false,
            killed_in_ci_test: false,
        },
        ci(row(NetworkKind::BlackHole, clients, both)),
        row(delay, clients, both),
        ci(row(delay, brokers, both)),
        ci(row(limit, brokers, from)),
        ci(row(NetworkKind::Reset, clients, both)),
        row(NetworkKind::Reset, brokers, both),
        row(NetworkKind::HalfOpen, clients, Direction::To),
        ci(row(NetworkKind::HalfOpen, brokers, Direction::To)),
        NetworkRow {
            target: Target::Nodes { ids: vec![2, 3] },
            ..row(NetworkKind::Partition, Links::NODES, both)
        },
    ]
}

/// Those of clusters in network namespaces: all that the kernel can do, on links of every kind and one way, too.
pub(crate) fn rows_in_netns() -> Vec<NetworkRow> {
    let kernel_can = |row: &NetworkRow| match &row.action {
        FaultAction::Network { fault } => fault.apis.is_none() && fault.kind != NetworkKind::HalfOpen,
        _ => false,
    };
    // One of what rules do by themselves, and one of what takes a delay line.
    let one_of_each = |row: NetworkRow| {
        let FaultAction::Network { fault } = &row.action else { return row };
        let is_isolate = fault.kind == NetworkKind::Isolate;
        let is_late = matches!(fault.kind, NetworkKind::Delay { .. }) && fault.links.has(Link::Brokers);
        NetworkRow { in_ci_test: is_isolate || is_late, killed_in_ci_test: is_isolate, ..row }
    };
    let mut rows: Vec<NetworkRow> = rows().into_iter().filter(kernel_can).map(one_of_each).collect();
    let limit = NetworkKind::Bandwidth { bytes_per_s: BYTES_PER_S };
    let more = [
        (NetworkKind::Partition, Links::NODES, Direction::To),
        // What it is sent is limited on the bridge, what it sends on its own interface.
        (limit, Links::only(Link::Clients), Direction::To),
    ];
    rows.extend(more.map(|(kind, links, direction)| NetworkRow {
        action: FaultAction::Network {
            fault: NetworkFault { kind, links, direction, peer: None, apis: None },
        },
        target: victim(),
        in_ci_test: false,
        killed_in_ci_test: false,
    }));
    rows
}

/// A broker that leads something and is not the active controller: its loss is not that of the quorum's leader.
fn victim() -> Target {
    Target::LowestPartitionLeaderNotController { topic: "stage".to_owned() }
}

/// `network.delay on links of brokers, what it sends`.
pub(crate) fn words(fault: &NetworkFault) -> String {
    let links = match fault.links {
        Links::ALL => "",
        Links::NODES => " on links between nodes",
        Links { clients: true, .. } => " on links of clients",
        Links { brokers: true, .. } => " on links of brokers",
        Links { .. } => " on links of controllers",
    };
    let peer = fault.peer.map_or_else(String::new, |peer| format!(" towards node {peer}"));
    let direction = match (fault.direction, fault.kind) {
        (Direction::To, NetworkKind::HalfOpen) => ", the other ends not told",
        (Direction::Both, _) => "",
        (Direction::To, _) => ", what it is sent",
        (Direction::From, _) => ", what it sends",
    };
    let apis = fault.apis.map_or_else(String::new, |apis| format!(", {apis} only"));
    format!("{}{links}{peer}{direction}{apis}", fault.name())
}

/// Sees the fault act on `victims`; gives it in words.
pub(crate) fn seen(
    fault: &NetworkFault,
    cluster: &LocalCluster,
    victims: &[i32],
    topic: &str,
) -> Result<String, Failed> {
    let victim = *victims.first().ok_or("no victim")?;
    let stage = Stage { cluster, victim, topic };
    match (fault.kind, fault.peer) {
        (NetworkKind::Partition, None) if victims.len() > 1 => stage.is_split(victims),
        (NetworkKind::HalfOpen, _) if fault.links.has(Link::Clients) => {
            Connection::connect(&stage.address(victim)?, &ConnectOptions::default())?;
            stage.still_leads()?;
            Ok("a client that was connected is not answered, one that connects is; to the others it still leads"
                .to_owned())
        }
        // Followers wait for answers, and the leader takes new connections.
        (NetworkKind::HalfOpen, _) => stage.falls_out_of_sync_with_all(),
        (NetworkKind::Isolate, _) => {
            stage.client_is_not_answered()?;
            stage.is_fenced()?;
            Ok("a client is not answered; the others have fenced it and lead what it led".to_owned())
        }
        (NetworkKind::Partition, None) => {
            stage.is_fenced()?;
            let own = stage.described_by(victim)?;
            assert!(own.iter().any(|p| p.leader == Some(victim)), "it has heard nothing: {own:?}");
            Ok("the others have fenced it and lead what it led; it tells its clients that it still leads"
                .to_owned())
        }
        (NetworkKind::Partition, Some(peer)) => stage.falls_out_of_sync(peer),
        (NetworkKind::BlackHole, _) if fault.apis.is_some() => stage.falls_out_of_sync_with_all(),
        (NetworkKind::BlackHole, _) => {
            stage.client_is_not_answered()?;
            stage.still_leads()?;
            Ok("a client is not answered; to the others it still leads".to_owned())
        }
        (NetworkKind::Delay { .. }, _) if fault.links.has(Link::Clients) => {
            let least = 2 * (LATENCY - JITTER);
            let begun = Instant::now();
            Connection::connect(&stage.address(victim)?, &ConnectOptions::default())?;
            assert!(begun.elapsed() >= least, "a client was greeted after {:?}", begun.elapsed());
            stage.still_leads()?;
            Ok("a client is greeted two ways later; to the others it still leads".to_owned())
        }
        (NetworkKind::Delay { .. }, _) => {
            // A follower hears of the record one way later, and what it has of it comes back one way later again.
            stage.acked_by_all_after(2 * (LATENCY - JITTER), 100)?;
            Ok("a record is in sync two ways later".to_owned())
        }
        (NetworkKind::Bandwidth { .. }, _) if fault.links.has(Link::Clients) => {
            let bytes = 600_000;
            stage.acked_after(1, Duration::from_millis(bytes as u64 * 1000 / BYTES_PER_S / 2), bytes)?;
            stage.still_leads()?;
            Ok("a record takes its time to get there; to the others it still leads".to_owned())
        }
        (NetworkKind::Bandwidth { .. }, _) => {
            // Two followers fetch it.
            let bytes = 300_000;
            // The kernel sends a packet whole, and lets the next one wait: the last one may be as large as TCP makes them.
            let in_namespaces = cluster.nodes().iter().any(|node| !node.node.host.is_loopback());
            let last = if in_namespaces { 64 << 10 } else { 0 };
            let least = Duration::from_millis((2 * bytes as u64 - last) * 1000 / BYTES_PER_S);
            stage.acked_by_all_after(least, bytes)?;
            Ok("a record takes two followers the time that it must".to_owned())
        }
        (NetworkKind::Reset, _) if fault.links.has(Link::Clients) => {
            let refused = Connection::connect(&stage.address(victim)?, &ConnectOptions::default());
            // In a namespace the reset answers the first packet, which is called a refusal.
            let is_reset =
                |error: String| error.contains("ConnectionReset") || error.contains("ConnectionRefused");
            assert!(refused.is_err_and(|error| is_reset(format!("{error:?}"))));
            stage.still_leads()?;
            Ok("a client is reset; to the others it still leads".to_owned())
        }
        (NetworkKind::Reset, _) => stage.falls_out_of_sync_with_all(),
    }
}

struct Stage<'a> {
    cluster: &'a LocalCluster,
    victim: i32,
    topic: &'a str,
}

impl Stage<'_> {
    fn address(&self, id: i32) -> Result<String, Failed> {
        Ok(self.cluster.broker_addresses().remove(&id).ok_or("no such broker")?)
    }

    fn other(&self) -> Result<i32, Failed> {
        let ids = self.cluster.broker_addresses().into_keys();
        Ok(ids.into_iter().find(|id| *id != self.victim).ok_or("nobody else")?)
    }

    /// The topic as broker `id` knows it.
    fn described_by(&self, id: i32) -> Result<Vec<PartitionMetadata>, Failed> {
        let options = ConnectOptions { timeout: 5 * SILENCE, ..ConnectOptions::default() };
        Ok(Connection::connect(&self.address(id)?, &options)?.describe_topic(self.topic)?.partitions)
    }

    fn client_is_not_answered(&self) -> TestResult {
        let options = ConnectOptions { timeout: SILENCE, ..ConnectOptions::default() };
        let answer = Connection::connect(&self.address(self.victim)?, &options);
        assert!(answer.is_err(), "a client was answered");
        Ok(())
    }

    /// To another broker, the victim is in no ISR and leads nothing.
    fn is_fenced(&self) -> TestResult {
        let other = self.other()?;
        let gone = || {
            self.described_by(other).is_ok_and(|partitions| {
                let led_by_others = |p: &PartitionMetadata| p.leader.is_some_and(|id| id != self.victim);
                partitions.iter().all(|p| led_by_others(p) && !p.isr.contains(&self.victim))
            })
        };
        let begun = Instant::now();
        eventually("the others have fenced it", gone)?;
        assert!(begun.elapsed() < FENCED_WITHIN);
        Ok(())
    }

    /// The nodes of one side have fenced the one on the other, and are in sync with each other.
    fn is_split(&self, side: &[i32]) -> Result<String, Failed> {
        let alone =
            *self.cluster.broker_addresses().keys().find(|id| !side.contains(id)).ok_or("nobody else")?;
        eventually("they have fenced the other one", || {
            self.described_by(self.victim).is_ok_and(|partitions| {
                let is_theirs = |p: &PartitionMetadata| {
                    p.leader != Some(alone)
                        && !p.isr.contains(&alone)
                        && side.iter().all(|id| p.isr.contains(id))
                };
                partitions.iter().all(is_theirs)
            })
        })?;
        let own = self.described_by(alone)?;
        assert!(own.iter().any(|p| p.leader == Some(alone)), "it has heard nothing: {own:?}");
        Ok("the two are in sync with each other, and have fenced the third, which tells its clients that it still leads"
            .to_owned())
    }

    fn still_leads(&self) -> TestResult {
        let partitions = self.described_by(self.other()?)?;
        assert!(partitions.iter().any(|p| p.leader == Some(self.victim)), "{partitions:?}");
        Ok(())
    }

    /// A partition that the victim leads, as another broker knows it.
    fn led(&self) -> Result<PartitionMetadata, Failed> {
        let partitions = self.described_by(self.other()?)?;
        Ok(partitions.into_iter().find(|p| p.leader == Some(self.victim)).ok_or("it leads nothing")?)
    }

    /// A record on a partition that the victim leads is acked by all replicas, and not before `least` is over.
    fn acked_by_all_after(&self, least: Duration, bytes: usize) -> TestResult {
        self.acked_after(-1, least, bytes)
    }

    fn acked_after(&self, acks: i16, least: Duration, bytes: usize) -> TestResult {
        let partition = self.led()?.index;
        let begun = Instant::now();
        let code = self.produce(partition, acks, bytes)?;
        assert_eq!(code, ErrorCode::NONE);
        assert!(begun.elapsed() >= least, "acked after {:?}, acks={acks}", begun.elapsed());
        Ok(())
    }

    /// After a record on a partition that the victim leads, `peer` is out of sync with it, and the third replica is not: both the
    /// victim and the third one say so.
    fn falls_out_of_sync(&self, peer: i32) -> Result<String, Failed> {
        let partition = self.led()?.index;
        assert_eq!(self.produce(partition, 1, 100)?, ErrorCode::NONE);
        let third = 6 - self.victim - peer;
        for witness in [self.victim, third] {
            eventually("the peer is out of sync", || {
                self.described_by(witness).is_ok_and(|partitions| {
                    partitions
                        .iter()
                        .any(|p| p.index == partition && !p.isr.contains(&peer) && p.isr.contains(&third))
                })
            })?;
        }
        Ok("the peer is out of sync with it, the third broker is not".to_owned())
    }

    fn falls_out_of_sync_with_all(&self) -> Result<String, Failed> {
        let partition = self.led()?.index;
        assert_eq!(self.produce(partition, 1, 100)?, ErrorCode::NONE);
        let other = self.other()?;
        eventually("it is alone in sync", || {
            self.described_by(other).is_ok_and(|partitions| {
                partitions.iter().any(|p| p.index == partition && p.isr == [self.victim])
            })
        })?;
        Ok("no follower reaches it: it is alone in sync with itself, and still leads".to_owned())
    }

    /// Sends one record of so many bytes to the victim.
    fn produce(&self, partition: i32, acks: i16, bytes: usize) -> Result<ErrorCode, Failed> {
        produce(&self.address(self.victim)?, self.topic, partition, acks, bytes)
    }
}

/// Has every broker lead its share again, and waits until all know it.
pub(crate) fn deal_leaders(cluster: &LocalCluster, topic: &str) -> TestResult {
    let options = ConnectOptions::default();
    let mut connection = connect_first(&cluster.bootstrap(), &options)?;
    let partitions: Vec<i32> = connection.describe_topic(topic)?.partitions.iter().map(|p| p.index).collect();
    let dealt = |addr: &String| {
        let described = Connection::connect(addr, &options).and_then(|mut c| c.describe_topic(topic));
        described.is_ok_and(|topic| topic.partitions.iter().all(|p| p.leader == p.replicas.first().copied()))
    };
    // Asked for until it is so: a broker that is just back, on a busy host, may be fenced once more, and is not electable then.
    eventually("leaders are dealt", || {
        let elect = |mut any: Connection| any.elect_preferred_leaders(topic, &partitions, LIMIT);
        if cluster.bootstrap().iter().all(dealt) {
            return true;
        }
        let _ = connect_first(&cluster.bootstrap(), &options).and_then(elect);
        false
    })
}
