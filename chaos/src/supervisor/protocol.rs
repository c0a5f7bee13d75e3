//! What is said between a run and its supervisor: one JSON object per line, one reply per request.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::docker::ContainerSpec;
use crate::hook::HookJob;
use crate::netns::Network;
use crate::process::ProcessIdentity;
use crate::proxy::{Front, Rule};
use crate::shim::{NodePage, Orders, Seen};

/// A request. Each is answered once its effect was *seen*, not when it was issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    /// Reserve ports for as long as the supervisor lives. Answered by [`Reply::Ports`].
    ReservePorts { count: usize },
    /// Make network namespaces for these nodes, for as long as the supervisor lives. Answered by [`Reply::Network`].
    MakeNetwork { nodes: Vec<i32> },
    /// Make these directories, each on a disk of so many bytes, for as long as the supervisor lives. Answered by [`Reply::Done`].
    MakeDisks { dirs: Vec<PathBuf>, bytes: u64 },
    /// Make these containers of an image, one for each node, for as long as the supervisor lives. All nodes are containers then. Answered
    /// by [`Reply::Done`].
    MakeContainers { image: String, containers: Vec<ContainerSpec> },
    /// Keep the logs below these `log.dirs` out of memory from now on. Answered by [`Reply::Done`].
    TrimPageCache { log_dirs: Vec<PathBuf> },
    /// Listen in front of the nodes that are to be started, for as long as the supervisor lives. Answered by [`Reply::Done`].
    StartProxy { fronts: Vec<Front> },
    /// Put rules into force, in place of those that the fault had. [`Reply::Seen`]: request taken, in force.
    InstallRules { fault: String, rules: Vec<Rule> },
    /// Take the rules of a fault, if it has any, out of force. [`Reply::Seen`] likewise.
    RemoveRules { fault: String },
    /// When the rules of a fault first acted. Answered by [`Reply::FirstActed`].
    FirstActed { fault: String },
    /// Give the orders of the shims with these pages from now on. Answered by [`Reply::Done`].
    UseShims { pages: Vec<NodePage> },
    /// Order the shim of a node to do so, instead of what it was ordered before. [`Reply::Seen`]: request taken, ordered.
    OrderShim { node: i32, orders: Orders },
    /// Take back what the shim of a node was ordered. [`Reply::Seen`] likewise.
    TakeBackShim { node: i32 },
    /// What the shim of a node has done. Answered by [`Reply::Shim`].
    ShimSeen { node: i32 },
    /// Start a node that does not run. Answered by [`Reply::Seen`]: before the fork, after the exec.
    Start { node: i32, command: NodeCommand },
    /// Start the container of a node that does not run. [`Reply::Seen`]: before the command, after it had a process.
    StartContainer { node: i32 },
    /// SIGKILL. [`Reply::Seen`]: signal sent, `waitid` returned.
    Kill { node: i32 },
    /// SIGTERM. [`Reply::Seen`] as for kill, or [`Reply::Failed`] when the deadline passed; the node then still runs.
    Stop { node: i32, deadline_ms: u64 },
    /// SIGSTOP, or the engine's freezer. [`Reply::Seen`]: signal sent, every thread in state T, or frozen.
    Pause { node: i32 },
    /// SIGCONT. [`Reply::Seen`]: signal sent, main thread no longer in state T.
    Resume { node: i32 },
    /// Run a command of a hook. [`Reply::Seen`]: before it began, after it had ended with exit status 0.
    RunHook { job: HookJob },
    /// All nodes ever started. Answered by [`Reply::Nodes`].
    List,
    /// Outlive the run, but end after `ttl_ms`. Answered by [`Reply::Done`].
    Detach { ttl_ms: u64 },
    /// End everything. The answer, [`Reply::Done`], only confirms the receipt and may get lost when the process ends at
    /// once: the end of the supervisor process is the sign that all is gone, its exit status whether that went well.
    Shutdown,
}

impl Request {
    /// Whether it is about a node's process, which is its container's where nodes are containers.
    pub(super) fn is_of_container(&self) -> bool {
        matches!(
            self,
            Self::StartContainer { .. }
                | Self::Start { .. }
                | Self::Kill { .. }
                | Self::Stop { .. }
                | Self::Pause { .. }
                | Self::Resume { .. }
        )
    }
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Reply {
    Done,
    Seen { times: SignalTimes },
    Ports { ports: Vec<u16> },
    Network { network: Network },
    Nodes { nodes: Vec<NodeStatus> },
    FirstActed { at_ns: Option<u64> },
    Shim { seen: Seen },
    Failed { message: String },
}

/// When something was done to a node and when its effect was seen; CLOCK_MONOTONIC, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalTimes {
    /// Read immediately before the system call.
    pub sent_ns: u64,
    /// Read immediately after the effect was seen.
    pub seen_ns: u64,
}

/// How to run a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// What is set in its environment, besides what the supervisor was given.
    pub env: BTreeMap<String, String>,
    /// Working directory.
    pub work_dir: PathBuf,
    /// File to which its stdout and stderr are appended.
    pub output: PathBuf,
    /// The network namespace that it runs in, if not that of the supervisor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// A node as the supervisor sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeStatus {
    /// Kafka's `node.id`.
    pub node: i32,
    /// Its latest process.
    pub process: ProcessIdentity,
    /// What that process is doing.
    pub state: NodeState,
}

/// What a node's process is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Alive.
    Running,
    /// Alive, stopped by us with SIGSTOP.
    Paused,
    /// Gone.
    Exited(ExitRecord),
}

impl std::fmt::Display for NodeState {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Running => write!(out, "running"),
            Self::Paused => write!(out, "paused"),
            Self::Exited(exit) => write!(out, "gone ({exit})"),
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExitRecord {
    /// When `waitid` reported it; CLOCK_MONOTONIC, nanoseconds.
    pub gone_ns: u64,
    /// Exit status, if it exited by itself.
    pub code: Option<i32>,
    /// Number of the signal that killed it, else.
    pub signal: Option<i32>,
}

impl std::fmt::Display for ExitRecord {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(out, "exit status {code}"),
            (None, Some(signal)) => match nix::sys::signal::Signal::try_from(signal) {
                Ok(signal) => write!(out, "killed by {signal}"),
                Err(_) => write!(out, "killed by signal {signal}"),
            },
            (None, None) => write!(out, "ended in an unknown way"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_on_the_socket() {
        let stop = Request::Stop { node: 2, deadline_ms: 1500 };
        assert_eq!(serde_json::to_string(&stop).unwrap(), r#"{"op":"stop","node":2,"deadline_ms":1500}"#);
        let seen = Reply::Seen { times: SignalTimes { sent_ns: 1, seen_ns: 2 } };
        let line = serde_json::to_string(&seen).unwrap();
        assert_eq!(line, r#"{"reply":"seen","times":{"sent_ns":1,"seen_ns":2}}"#);
        assert_eq!(serde_json::from_str::<Reply>(&line).unwrap(), seen);
        assert!(serde_json::from_str::<Request>(r#"{"op":"stop","node":2}"#).is_err());
        assert!(serde_json::from_str::<Request>(r#"{"op":"explode"}"#).is_err());
    }

    #[test]
    fn exits_in_words() {
        let exit = ExitRecord { gone_ns: 0, code: Some(1), signal: None };
        assert_eq!(exit.to_string(), "exit status 1");
        let killed = ExitRecord { code: None, signal: Some(9), ..exit };
        assert_eq!(killed.to_string(), "killed by SIGKILL");
        assert_eq!(NodeState::Exited(killed).to_string(), "gone (killed by SIGKILL)");
        assert_eq!(ExitRecord { code: None, signal: Some(40), ..exit }.to_string(), "killed by signal 40");
    }
}
