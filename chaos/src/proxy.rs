//! A proxy in front of every node, for faults of the network that need no root: what goes from node to node, and between nodes and
//! clients, passes one thread, which delays, holds, limits or resets it by rules.
//!
//! Each kind of link has listeners of its own, which nodes advertise in place of their own ports, so that no response has to be
//! rewritten. Rules are about bytes, or about the requests and responses of some APIs: of Kafka's protocol only the first bytes of each
//! are looked at (`frames`). Who is at the other end of a connection is told by the kernel (`source`). The proxy lives in the supervisor: when a run dies in the middle of a fault, somebody is left who takes
//! its rules out of force, and when the supervisor dies, so do the nodes.
//!
//! What it can't do that a real network does: connections are always established with the proxy itself, so that a held connection
//! is one that nobody answers, not one that can't be opened; acknowledgements of TCP are not lost with the bytes of the other
//! direction; and times are those of epoll, whole milliseconds.
//!
//! Layout: `rules` what is done to which bytes, `apis` which requests and responses, `frames` where they begin, `connection` two sockets
//! and what is between them, `half_open` what is left of lost ones, `engine` the thread, `source` who is there.

mod apis;
mod connection;
mod engine;
mod frames;
mod half_open;
mod rules;
mod source;

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{self, Sender, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use mio::Waker;
use serde::{Deserialize, Serialize};

pub use apis::{Apis, NoSuchApi};
pub(crate) use engine::draw;
use engine::{Command, Engine};
pub(crate) use rules::late_ns;
pub use rules::{Effect, End, Ends, Link, Links, Rule};

/// How long the thread may take to do as it is told. It never waits for anybody.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// A port of the proxy, and what is behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Front {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    /// Where the node listens.
    pub node_port: u16,
    /// Kafka's `node.id` of that node.
    pub node: i32,
    /// What connections to it are for.
    pub link: Link,
}

/// Which process each node is now. Shared with whoever starts them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nodes(Arc<Mutex<BTreeMap<i32, i32>>>);

impl Nodes {
    /// Notes that `node` is process `pid` from now on.
    pub(crate) fn set(&self, node: i32, pid: i32) {
        self.pids().insert(node, pid);
    }

    fn pids(&self) -> MutexGuard<'_, BTreeMap<i32, i32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why the proxy did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    /// No socket, or no thread.
    #[error("cannot start the proxy: {0}")]
    Start(io::Error),
    /// The thread ended, or hangs.
    #[error("the proxy does not answer")]
    Silent,
}

/// A running proxy. Its thread ends when this is dropped, and all connections with it.
#[derive(Debug)]
pub(crate) struct Proxy {
    commands: Sender<Command>,
    waker: Arc<Waker>,
}

impl Proxy {
    /// Listens on all `fronts`, and passes on what comes from then on.
    pub(crate) fn start(fronts: &[Front], nodes: Nodes) -> Result<Self, ProxyError> {
        let (commands, inbox) = mpsc::channel();
        let (engine, waker) = Engine::new(fronts, nodes, inbox).map_err(ProxyError::Start)?;
        // Its errors end it; whoever asks then gets no answer.
        let body = move || drop(engine.run());
        thread::Builder::new().name("proxy".to_owned()).spawn(body).map_err(ProxyError::Start)?;
        Ok(Self { commands, waker })
    }

    /// Puts the rules of `fault` into force, in place of those it had; gives the time from which on they are, CLOCK_MONOTONIC.
    pub(crate) fn install(&self, fault: &str, rules: &[Rule]) -> Result<u64, ProxyError> {
        let (fault, rules) = (fault.to_owned(), rules.to_vec());
        self.ask(|reply| Command::Install { fault, rules, reply })
    }

    /// Ends the rules of `fault`, if it has any, or of all faults; gives the time.
    pub(crate) fn remove(&self, fault: Option<&str>) -> Result<u64, ProxyError> {
        let fault = fault.map(str::to_owned);
        self.ask(|reply| Command::Remove { fault, reply })
    }

    /// When the rules of `fault` first acted on bytes or a connection; CLOCK_MONOTONIC, nanoseconds.
    pub(crate) fn first_acted_ns(&self, fault: &str) -> Result<Option<u64>, ProxyError> {
        let fault = fault.to_owned();
        self.ask(|reply| Command::FirstActed { fault, reply })
    }

    fn ask<T>(&self, command: impl FnOnce(SyncSender<T>) -> Command) -> Result<T, ProxyError> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.commands.send(command(reply)).map_err(|_| ProxyError::Silent)?;
        self.waker.wake().map_err(|_| ProxyError::Silent)?;
        answer.recv_timeout(ANSWER_LIMIT).map_err(|_| ProxyError::Silent)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The thread sees that its commander is gone only when it looks.
        let (gone, _) = mpsc::channel();
        self.commands = gone;
        let _ = self.waker.wake();
    }
}

#[cfg(test)]
mod tests;
