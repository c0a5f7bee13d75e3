//! SIGSTOP: the process keeps its sockets and memory and does nothing, like a long GC pause or a hung virtual machine. When
//! it goes on it believes for a moment that it still leads.

use crate::error::ChaosError;
use crate::local::LocalCluster;
use crate::supervisor::{NodeState, SignalTimes};

/// Pauses `node`; returns when all of its threads are in state T.
pub(super) fn apply(cluster: &LocalCluster, node: i32) -> Result<SignalTimes, ChaosError> {
    cluster.pause(node)
}

/// Resumes `node` unless it runs, or is gone: then nothing is left of the pause.
pub(super) fn heal(cluster: &LocalCluster, node: i32) -> Result<(), ChaosError> {
    match super::status_of(cluster, node)?.state {
        NodeState::Paused => cluster.resume(node).map(|_| ()),
        NodeState::Running | NodeState::Exited(_) => Ok(()),
    }
}
