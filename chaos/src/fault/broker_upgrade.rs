//! One turn of a rolling upgrade: a controlled shutdown, and a start from the jars of another release on the same data. What the
//! metadata of the cluster are written as (`metadata.version`) stays as it was; Kafka calls that a second step (`kafka-features upgrade`).

use std::time::Duration;

use super::broker_stop;
use crate::error::ChaosError;
use crate::local::LocalCluster;
use crate::supervisor::SignalTimes;

/// Asks `node` to stop, to be started from the other jars from now on; returns when the supervisor has reaped it, or fails at `deadline`.
pub(super) fn apply(
    cluster: &LocalCluster,
    node: i32,
    deadline: Duration,
) -> Result<SignalTimes, ChaosError> {
    // First: whoever starts it again, for whatever reason, starts the new release.
    cluster.upgrade(node)?;
    broker_stop::apply(cluster, node, deadline)
}
