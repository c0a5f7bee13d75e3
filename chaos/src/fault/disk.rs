//! Faults of the disk under a node: what it does to files below its `log.dirs` is late, or fails, by the shim that it was started with
//! ([`crate::shim`]). Where its disk is one of a stated size, it is really filled (`full_disk`).
//!
//! Each acts when an operation of the node itself was late or has failed. Kafka ends a broker whose only log directory has failed, so
//! what fails usually ends its victim as well: healing starts it again. It does so, too, with one that still lives but has met an error:
//! whether that goes on, ends, or is about to, nobody can tell from outside.

use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::{all_at_once, broker_stop, full_disk, start_if_gone};
use crate::error::ChaosError;
use crate::local::LocalCluster;
use crate::process::ProcessIdentity;
use crate::shim::{Orders, operation};
use crate::supervisor::SignalTimes;

/// How long a fault may be in force, besides its own latency, without an operation that it could act on. Every node writes to the log of
/// the quorum, or reads of it, twice a second.
const ACT_LIMIT: Duration = Duration::from_secs(30);
/// Pause between two looks.
const POLL: Duration = Duration::from_millis(20);

/// A fault of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DiskFault {
    /// Operations take longer.
    Slow {
        /// By how much, nanoseconds.
        latency_ns: u64,
        /// Which ones.
        operations: DiskOperations,
    },
    /// There is no room: nothing is written, nothing new is made (`ENOSPC`).
    Fill,
    /// Operations fail (`EIO`).
    Fail {
        /// Which ones.
        operations: DiskOperations,
    },
    /// Nothing can be changed (`EROFS`).
    ReadOnly,
}

/// Operations of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskOperations {
    /// Reading, and sending from a file.
    pub read: bool,
    /// Writing; and, where it fails, everything else that changes what is on the disk.
    pub write: bool,
    /// Making durable what was written: fsync and fdatasync.
    pub sync: bool,
}

impl DiskOperations {
    /// All of them.
    pub const ALL: Self = Self { read: true, write: true, sync: true };
    /// Those that change something.
    pub const CHANGES: Self = Self { read: false, write: true, sync: true };
}

impl std::fmt::Display for DiskOperations {
    /// `write, sync`
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = [(self.read, "read"), (self.write, "write"), (self.sync, "sync")];
        let names: Vec<&str> = names.into_iter().filter_map(|(is, name)| is.then_some(name)).collect();
        out.write_str(&names.join(", "))
    }
}

impl DiskFault {
    /// As scenario files and reports spell it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Slow { .. } => "disk.slow",
            Self::Fill => "disk.fill",
            Self::Fail { .. } => "disk.fail",
            Self::ReadOnly => "disk.read-only",
        }
    }

    fn orders(&self) -> Orders {
        use operation::{CHANGE, CREATE, OPEN, READ, SYNC, WRITE};
        let of = |which: DiskOperations, writes: u32| {
            let sets = [(which.read, READ), (which.write, writes), (which.sync, SYNC)];
            sets.into_iter().filter(|(is, _)| *is).fold(0, |all, (_, set)| all | set)
        };
        let fails =
            |operations, error: Errno| Orders { operations, error: error as i32, ..Orders::default() };
        match *self {
            Self::Slow { latency_ns, operations } => {
                Orders { operations: of(operations, WRITE), latency_ns, ..Orders::default() }
            }
            // What is there can still be opened, renamed, made shorter, and removed.
            Self::Fill => fails(WRITE | CREATE, Errno::ENOSPC),
            Self::Fail { operations } => fails(of(operations, WRITE | CREATE | CHANGE), Errno::EIO),
            Self::ReadOnly => fails(WRITE | CREATE | OPEN | CHANGE, Errno::EROFS),
        }
    }

    /// Does it to all `nodes`; returns when it was seen to act on each.
    pub(super) fn apply(&self, cluster: &LocalCluster, nodes: &[i32]) -> Result<SignalTimes, ChaosError> {
        if *self == Self::Fill && cluster.has_own_disks() {
            return all_at_once::apply(nodes, |node| full_disk::apply(cluster, node));
        }
        let orders = self.orders();
        all_at_once::apply(nodes, |node| {
            let ordered = cluster.order_shim(node, orders)?;
            let limit = ACT_LIMIT + Duration::from_nanos(orders.latency_ns);
            Ok(SignalTimes { sent_ns: ordered.sent_ns, seen_ns: wait_until_acted(cluster, node, limit)? })
        })
    }
}

/// When an operation of `node` was first late, or failed.
fn wait_until_acted(cluster: &LocalCluster, node: i32, limit: Duration) -> Result<u64, ChaosError> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(acted_ns) = cluster.shim_seen(node)?.first_acted_ns {
            return Ok(acted_ns);
        }
        if Instant::now() >= deadline {
            let within_s = limit.as_secs();
            let why = format!("node {node} did nothing within {within_s} s that it could act on");
            return Err(ChaosError::NotSeenToAct { why });
        }
        thread::sleep(POLL);
    }
}

/// Makes room again, and takes back what the shim of `node` was ordered. A node that is gone is started again, as is the very process that was the `victim` if an
/// operation of it has failed. Harmless if nothing is ordered and a process of it runs.
pub(super) fn heal(cluster: &LocalCluster, node: i32, victim: ProcessIdentity) -> Result<(), ChaosError> {
    // What met a disk without room may have ended, be about to, or go on without its log.
    if full_disk::empty(cluster, node)? {
        return broker_stop::heal(cluster, node, victim);
    }
    if !cluster.has_shim(node)? {
        return start_if_gone(cluster, node);
    }
    cluster.take_back_shim(node)?;
    match cluster.shim_seen(node)?.failed {
        0 => start_if_gone(cluster, node),
        _ => broker_stop::heal(cluster, node, victim),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_about_its_operations() {
        let told = |fault: DiskFault| {
            let Orders { operations, latency_ns, error, clock_offset_ns } = fault.orders();
            assert_eq!(clock_offset_ns, 0);
            (operations, latency_ns, error)
        };
        let changes = DiskOperations::CHANGES;
        assert_eq!(told(DiskFault::Slow { latency_ns: 5, operations: changes }), (2 | 4, 5, 0));
        assert_eq!(
            told(DiskFault::Slow { latency_ns: 5, operations: DiskOperations::ALL }),
            (1 | 2 | 4, 5, 0)
        );
        assert_eq!(told(DiskFault::Fill), (2 | 8, 0, 28));
        assert_eq!(told(DiskFault::Fail { operations: changes }), (2 | 4 | 8 | 32, 0, 5));
        assert_eq!(told(DiskFault::ReadOnly), (2 | 8 | 16 | 32, 0, 30));
        assert_eq!(changes.to_string(), "write, sync");
    }
}
