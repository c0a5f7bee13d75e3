//! SIGTERM: a controlled shutdown. The broker hands its leaderships over before it goes, so clients should hardly notice.

use std::time::Duration;

use crate::error::ChaosError;
use crate::local::LocalCluster;
use crate::process::ProcessIdentity;
use crate::supervisor::{NodeState, SignalTimes};

/// Asks `node` to stop; returns when the supervisor has reaped it, or fails at `deadline`.
pub(super) fn apply(
    cluster: &LocalCluster,
    node: i32,
    deadline: Duration,
) -> Result<SignalTimes, ChaosError> {
    cluster.stop(node, deadline)
}

/// Starts `node` again. If its process still is the `victim`, which was asked to stop and has not, it would go later, when
/// nobody expects it and nobody would start it again; so it is killed first. Any other process is a healed node.
pub(super) fn heal(cluster: &LocalCluster, node: i32, victim: ProcessIdentity) -> Result<(), ChaosError> {
    let lingers = || -> Result<bool, ChaosError> {
        let status = super::status_of(cluster, node)?;
        Ok(status.process == victim && !matches!(status.state, NodeState::Exited(_)))
    };
    if lingers()? {
        let killed = cluster.kill(node);
        // It may have ended by itself in between, which makes the kill fail and is just as well.
        if lingers()? {
            killed?;
        }
    }
    super::start_if_gone(cluster, node)
}
