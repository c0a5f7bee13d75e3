//! A start that takes long: a controlled shutdown, and a start with a share of the time only ([`super::cpu_starve`]) until the broker is whole.
//! So is one on a host that is busy, or with more to recover than it used to; who counts on it has to wait for it.

use std::time::Duration;

use super::cpu_starve::Rhythm;
use super::{broker_stop, status_of};
use crate::error::ChaosError;
use crate::local::LocalCluster;
use crate::process::ProcessIdentity;

/// How long it may take to be whole.
const WHOLE_LIMIT: Duration = Duration::from_secs(180);

/// Starts `node` as after any stop, and leaves it `share_percent` of the time until it is whole.
pub(super) fn heal(
    cluster: &LocalCluster,
    node: i32,
    victim: ProcessIdentity,
    share_percent: u8,
) -> Result<(), ChaosError> {
    broker_stop::heal(cluster, node, victim)?;
    let starts = Rhythm::begin(status_of(cluster, node)?.process, share_percent)?;
    let whole = cluster.wait_whole(node, WHOLE_LIMIT);
    drop(starts);
    whole.map(|_| ())
}
