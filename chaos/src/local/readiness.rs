//! When a broker may be used: it answers, and it lists every broker of the cluster that runs.
//!
//! "Listening" is not enough: a broker opens its port before the controller unfenced it, and a client that asks it for a
//! topic then gets fewer replicas than there are brokers.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use gauntlet_wire::{ConnectOptions, Connection, Security, WireError};

use super::LocalNode;
use crate::clock::monotonic_ns;
use crate::error::ChaosError;
use crate::files::last_lines;
use crate::supervisor::{NodeState, NodeStatus, Supervisor};

/// Pause between two looks.
const POLL: Duration = Duration::from_millis(50);
/// Limit for one answer: a broker that is still starting may accept and stay silent.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How much of a broker's log an error shows.
const LOG_LINES: usize = 20;

/// A node that did not become ready, with what it said last.
#[derive(Debug, thiserror::Error)]
#[error("{name} is not ready: {why}\nthe end of {}:\n  {}", log.display(), last_lines.join("\n  "))]
pub struct NotReady {
    /// `broker-1`.
    pub name: String,
    /// Exit status, or what was missing at the deadline.
    pub why: String,
    /// Its log.
    pub log: PathBuf,
    /// The last lines of it.
    pub last_lines: Vec<String>,
}

/// Waits until `broker` is ready; gives the time of the answer that showed it. Fails as soon as *any* node that was running
/// at the first look has exited: without it, waiting for the others would only hide the cause until the deadline.
pub(super) fn wait(
    supervisor: &Supervisor,
    broker: &LocalNode,
    nodes: &[LocalNode],
    operator: &Security,
    deadline: Instant,
) -> Result<u64, ChaosError> {
    let Some(addr) = broker.node.client_addr() else {
        return Err(not_ready(broker, "it is a controller, which serves no clients".to_owned()));
    };
    let running_at_first = running(&supervisor.list()?);
    let options = options(operator);
    let mut connection = None;
    loop {
        let statuses = supervisor.list()?;
        if let Some((node, exit)) = find_exit(&statuses, nodes, &running_at_first, broker) {
            return Err(not_ready(node, format!("it ended with {exit}")));
        }
        let expected = expected_brokers(&statuses, nodes);
        let missing = match registered(&addr, &options, &mut connection) {
            Ok(listed) if listed.is_superset(&expected) => return Ok(monotonic_ns()),
            Ok(listed) => format!("it lists brokers {listed:?} of {expected:?}"),
            Err(error) => error.to_string(),
        };
        if Instant::now() >= deadline {
            return Err(not_ready(broker, format!("deadline over, {missing}")));
        }
        thread::sleep(POLL);
    }
}

/// Waits until `node` itself is whole: it answers and lists itself or, if it is no broker, it listens. Gives the time when that
/// was seen.
pub(super) fn wait_registered(
    supervisor: &Supervisor,
    node: &LocalNode,
    operator: &Security,
    deadline: Instant,
) -> Result<u64, ChaosError> {
    let id = node.node.id;
    let options = options(operator);
    let mut connection = None;
    loop {
        let statuses = supervisor.list()?;
        if let Some(NodeState::Exited(exit)) = statuses.iter().find(|s| s.node == id).map(|s| &s.state) {
            return Err(not_ready(node, format!("it ended with {exit}")));
        }
        let missing = match node.node.client_addr() {
            None => match listens(node.node.own_controller_addr()) {
                Ok(()) => return Ok(monotonic_ns()),
                Err(error) => format!("it does not listen: {error}"),
            },
            Some(addr) => match registered(&addr, &options, &mut connection) {
                Ok(listed) if listed.contains(&id) => return Ok(monotonic_ns()),
                Ok(listed) => format!("it lists brokers {listed:?}, not itself"),
                Err(error) => error.to_string(),
            },
        };
        if Instant::now() >= deadline {
            return Err(not_ready(node, format!("deadline over, {missing}")));
        }
        thread::sleep(POLL);
    }
}

/// Waits until the brokers that run list `gone` no longer: the controller has fenced it, and given what it led to others.
pub(super) fn wait_unlisted(
    supervisor: &Supervisor,
    gone: &LocalNode,
    nodes: &[LocalNode],
    operator: &Security,
    deadline: Instant,
) -> Result<(), ChaosError> {
    let id = gone.node.id;
    let options = options(operator);
    loop {
        let others = expected_brokers(&supervisor.list()?, nodes);
        let addresses = nodes.iter().filter(|node| others.contains(&node.node.id));
        let still_listed = addresses.filter_map(|node| node.node.client_addr()).find_map(|addr| {
            match registered(&addr, &options, &mut None) {
                Ok(listed) => listed.contains(&id).then(|| format!("{addr} still lists it")),
                Err(error) => Some(error.to_string()),
            }
        });
        let Some(why) = still_listed else { return Ok(()) };
        if Instant::now() >= deadline {
            return Err(not_ready(gone, format!("it was killed, but at the deadline {why}")));
        }
        thread::sleep(POLL);
    }
}

/// Waits until a broker that runs knows an active controller, which `controller` may be or not; gives the time of its answer.
/// The question goes to the active controller itself, so that it is no old news. With no broker running there is nobody to
/// ask, and nobody who needs the quorum.
pub(super) fn wait_quorum(
    supervisor: &Supervisor,
    controller: &LocalNode,
    nodes: &[LocalNode],
    operator: &Security,
    deadline: Instant,
) -> Result<u64, ChaosError> {
    let options = options(operator);
    loop {
        let running = running(&supervisor.list()?);
        let brokers = nodes.iter().filter(|node| running.contains(&node.node.id));
        let addrs: Vec<String> = brokers.filter_map(|node| node.node.client_addr()).collect();
        if addrs.is_empty() {
            return Ok(monotonic_ns());
        }
        let mut missing = "the quorum has no leader".to_owned();
        for addr in &addrs {
            match Connection::connect(addr, &options).and_then(|mut connection| connection.quorum()) {
                Ok(quorum) if quorum.leader.is_some() => return Ok(monotonic_ns()),
                Ok(_) => {}
                Err(error) => missing = format!("no broker knows the quorum: {error}"),
            }
            if Instant::now() >= deadline {
                return Err(not_ready(controller, format!("deadline over, {missing}")));
            }
        }
        thread::sleep(POLL);
    }
}

/// Partitions of all topics whose replicas are not all in sync, as `witness` says.
pub(super) fn out_of_sync(witness: &LocalNode, operator: &Security) -> Result<Vec<String>, NotReady> {
    let failed = |why: String| NotReady {
        name: witness.node.name(),
        why,
        log: witness.log.clone(),
        last_lines: last_lines(&witness.log, LOG_LINES),
    };
    let addr = witness.node.client_addr().ok_or_else(|| failed("it is no broker".to_owned()))?;
    let connection = Connection::connect(&addr, &options(operator));
    let metadata = connection.and_then(|mut connection| connection.metadata(None));
    let metadata = metadata.map_err(|error| failed(error.to_string()))?;
    let ids = |ids: &[i32]| ids.iter().map(i32::to_string).collect::<Vec<_>>().join(", ");
    let partitions =
        metadata.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |p| (topic, p)));
    let out = partitions.filter(|(_, partition)| {
        partition.leader.is_none() || partition.isr.len() < partition.replicas.len()
    });
    Ok(out
        .map(|(topic, p)| format!("{}-{} ({} of {})", topic.name, p.index, ids(&p.isr), ids(&p.replicas)))
        .collect())
}

/// Whether somebody takes connections at an address.
fn listens(addr: Option<SocketAddr>) -> std::io::Result<()> {
    let addr = addr.ok_or(std::io::ErrorKind::AddrNotAvailable)?;
    TcpStream::connect_timeout(&addr, ANSWER_LIMIT).map(drop)
}

fn options(operator: &Security) -> ConnectOptions {
    ConnectOptions { timeout: ANSWER_LIMIT, security: operator.clone(), ..ConnectOptions::default() }
}

/// Which brokers the one at `addr` lists. The connection is kept for the next look unless it failed.
fn registered(
    addr: &str,
    options: &ConnectOptions,
    connection: &mut Option<Connection>,
) -> Result<BTreeSet<i32>, WireError> {
    let mut open = match connection.take() {
        Some(open) => open,
        None => Connection::connect(addr, options)?,
    };
    // An empty list of topics: only the brokers matter.
    let metadata = open.metadata(Some(&[]))?;
    *connection = Some(open);
    Ok(metadata.brokers.iter().map(|broker| broker.id).collect())
}

fn running(statuses: &[NodeStatus]) -> BTreeSet<i32> {
    statuses.iter().filter(|status| status.state == NodeState::Running).map(|status| status.node).collect()
}

/// The brokers among the nodes that run: one that is down or paused on purpose can't be waited for.
fn expected_brokers(statuses: &[NodeStatus], nodes: &[LocalNode]) -> BTreeSet<i32> {
    let is_broker =
        |id: &i32| nodes.iter().any(|node| node.node.id == *id && node.node.client_port.is_some());
    running(statuses).into_iter().filter(is_broker).collect()
}

/// The first node that ended although it was running, or that is the one we wait for.
fn find_exit<'a>(
    statuses: &[NodeStatus],
    nodes: &'a [LocalNode],
    running_at_first: &BTreeSet<i32>,
    broker: &LocalNode,
) -> Option<(&'a LocalNode, crate::supervisor::ExitRecord)> {
    statuses.iter().find_map(|status| match status.state {
        NodeState::Exited(exit)
            if running_at_first.contains(&status.node) || status.node == broker.node.id =>
        {
            nodes.iter().find(|node| node.node.id == status.node).map(|node| (node, exit))
        }
        NodeState::Running | NodeState::Paused | NodeState::Exited(_) => None,
    })
}

fn not_ready(node: &LocalNode, why: String) -> ChaosError {
    NotReady {
        name: node.node.name(),
        why,
        log: node.log.clone(),
        last_lines: last_lines(&node.log, LOG_LINES),
    }
    .into()
}
