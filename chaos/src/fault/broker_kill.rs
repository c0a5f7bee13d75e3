//! SIGKILL: the process is gone at once, without a word to the controller, which notices when the session times out.

use crate::error::ChaosError;
use crate::local::LocalCluster;
use crate::supervisor::SignalTimes;

/// Kills `node`; returns when the supervisor has reaped it.
pub(super) fn apply(cluster: &LocalCluster, node: i32) -> Result<SignalTimes, ChaosError> {
    cluster.kill(node)
}

/// Starts `node` unless it lives.
pub(super) fn heal(cluster: &LocalCluster, node: i32) -> Result<(), ChaosError> {
    super::start_if_gone(cluster, node)
}
