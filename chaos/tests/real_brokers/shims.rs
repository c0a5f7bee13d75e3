//! Faults of disk and clock, seen by somebody who knows nothing of the library that does it: by how long a record takes, by how a broker
//! ends and what it says then, by the time that it stamps.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gauntlet_chaos::supervisor::NodeState;
use gauntlet_chaos::{DiskFault, DiskOperations, FaultAction, LocalCluster, Target};
use gauntlet_wire::admin::{OffsetSpec, connect_first};
use gauntlet_wire::{ConnectOptions, Connection, ErrorCode, NewTopic};
use libtest_mimic::Failed;

use super::support::{LIMIT, TestResult, eventually, produce, state_of};

/// By how much a row is late.
const LATENCY: Duration = Duration::from_millis(400);
/// By how much a row is off.
const OFFSET_S: i64 = 7_200;

/// A row of the catalogue.
pub(crate) struct ShimRow {
    pub(crate) action: FaultAction,
    pub(crate) in_ci_test: bool,
    pub(crate) killed_in_ci_test: bool,
}

/// The rows of the catalogue: what leaves processes alone comes first.
pub(crate) fn rows() -> Vec<ShimRow> {
    let latency_ns = LATENCY.as_nanos() as u64;
    let row = |action| ShimRow { action, in_ci_test: false, killed_in_ci_test: false };
    let disk = |fault| row(FaultAction::Disk { fault });
    let ci = |row: ShimRow| ShimRow { in_ci_test: true, ..row };
    let skew = |seconds: i64| row(FaultAction::ClockSkew { offset_ns: seconds * 1_000_000_000 });
    let none = DiskOperations { read: false, write: false, sync: false };
    let only_sync = DiskOperations { sync: true, ..none };
    let only_read = DiskOperations { read: true, ..none };
    vec![
        ci(disk(DiskFault::Slow { latency_ns, operations: DiskOperations::CHANGES })),
        disk(DiskFault::Slow { latency_ns, operations: only_read }),
        ci(skew(OFFSET_S)),
        skew(-OFFSET_S),
        ShimRow { killed_in_ci_test: true, ..ci(disk(DiskFault::Fill)) },
        disk(DiskFault::Fail { operations: DiskOperations::CHANGES }),
        disk(DiskFault::Fail { operations: only_sync }),
        disk(DiskFault::ReadOnly),
    ]
}

/// As of the faults of the network: a leader that is not the active controller.
pub(crate) fn victim() -> Target {
    Target::LowestPartitionLeaderNotController { topic: "stage".to_owned() }
}

/// `disk.slow: write, sync`; nothing for what has no such words.
pub(crate) fn words(action: &FaultAction) -> Option<String> {
    match action {
        FaultAction::Disk { fault } => Some(match fault {
            DiskFault::Slow { operations, .. } | DiskFault::Fail { operations } => {
                format!("{}: {operations}", fault.name())
            }
            DiskFault::Fill | DiskFault::ReadOnly => fault.name().to_owned(),
        }),
        FaultAction::ClockSkew { offset_ns } => {
            let way = if *offset_ns < 0 { "back" } else { "forward" };
            Some(format!("clock.skew {way}"))
        }
        _ => None,
    }
}

/// Sees the fault act on `victim`; gives it in words. `None`: it is none of disk or clock.
pub(crate) fn seen(
    action: &FaultAction,
    cluster: &LocalCluster,
    victim: i32,
    topic: &str,
) -> Option<Result<String, Failed>> {
    match action {
        FaultAction::Disk { fault } => Some(disk_seen(fault, cluster, victim, topic)),
        FaultAction::ClockSkew { offset_ns } => Some(clock_seen(offset_ns / 1_000_000, cluster, victim)),
        _ => None,
    }
}

fn disk_seen(fault: &DiskFault, cluster: &LocalCluster, victim: i32, topic: &str) -> Result<String, Failed> {
    let ends = |says: &str| -> Result<String, Failed> {
        is_ended_by_its_disk(cluster, victim, says)?;
        Ok(format!("the broker ends by itself, exit status 1; its log says \"{says}\""))
    };
    match fault {
        DiskFault::Slow { operations, .. } if operations.write => {
            let (partition, addr) = led(cluster, victim, topic)?;
            let begun = Instant::now();
            assert_eq!(produce(&addr, topic, partition, 1, 100)?, ErrorCode::NONE);
            let took = begun.elapsed();
            assert!(took >= LATENCY, "acked after {took:?}");
            Ok("its leader acks a record so much later".to_owned())
        }
        DiskFault::Slow { .. } => {
            let (partition, addr) = led(cluster, victim, topic)?;
            // Followers have it once they were sent it, which is reading.
            let begun = Instant::now();
            assert_eq!(produce(&addr, topic, partition, -1, 100)?, ErrorCode::NONE);
            let took = begun.elapsed();
            assert!(took >= LATENCY, "in sync after {took:?}");
            Ok("its followers have a record so much later".to_owned())
        }
        DiskFault::Fill => ends("No space left on device"),
        DiskFault::Fail { .. } => ends("Input/output error"),
        DiskFault::ReadOnly => ends("Read-only file system"),
    }
}

/// A partition that `victim` leads, and where.
fn led(cluster: &LocalCluster, victim: i32, topic: &str) -> Result<(i32, String), Failed> {
    let addr = cluster.broker_addresses().remove(&victim).ok_or("no such broker")?;
    let described = Connection::connect(&addr, &ConnectOptions::default())?.describe_topic(topic)?;
    let partition =
        described.partitions.iter().find(|p| p.leader == Some(victim)).ok_or("it leads nothing")?;
    Ok((partition.index, addr))
}

fn is_ended_by_its_disk(cluster: &LocalCluster, victim: i32, says: &str) -> TestResult {
    let gone = || state_of(cluster, victim).is_ok_and(|state| matches!(state, NodeState::Exited(_)));
    eventually("the broker has ended", gone)?;
    let NodeState::Exited(exit) = state_of(cluster, victim)? else { return Err("it is back".into()) };
    assert_eq!((exit.code, exit.signal), (Some(1), None), "by itself");
    let node = cluster.nodes().iter().find(|node| node.node.id == victim).ok_or("no such node")?;
    let log = std::fs::read_to_string(&node.log)?;
    // Of its latest process: the log is one for all.
    let last = log.rsplit("KafkaConfig values").next().unwrap_or_default();
    assert!(last.contains(says), "{} says nothing of {says:?}", node.log.display());
    Ok(())
}

/// By a record of a topic whose records the broker stamps, as any consumer finds it. Each row has a topic of its own.
fn clock_seen(offset_ms: i64, cluster: &LocalCluster, victim: i32) -> Result<String, Failed> {
    let topic = format!("stamped-{}", if offset_ms < 0 { "back" } else { "forward" });
    let config = [("message.timestamp.type".to_owned(), "LogAppendTime".to_owned())].into();
    let new = NewTopic { name: topic.clone(), partitions: 3, replication_factor: 1, config };
    let mut others = cluster.broker_addresses();
    others.remove(&victim);
    let others: Vec<String> = others.into_values().collect();
    connect_first(&others, &ConnectOptions::default())?.create_topic(&new, LIMIT)?;
    eventually("the broker leads one of three partitions", || led(cluster, victim, &topic).is_ok())?;
    let (partition, addr) = led(cluster, victim, &topic)?;
    let mut connection = Connection::connect(&addr, &ConnectOptions::default())?;
    assert_eq!(produce(&addr, &topic, partition, 1, 10)?, ErrorCode::NONE);
    let now_ms = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    // The first that is not older; none is, but by the fault.
    let since = OffsetSpec::Since(now_ms + offset_ms - 60_000);
    let found = connection.find_offsets(&topic, &[partition], since)?;
    let off_ms = found.get(&partition).ok_or("no answer")?.timestamp_ms - now_ms;
    assert!((off_ms - offset_ms).abs() < 60_000, "off by {off_ms} ms");
    Ok("the broker stamps records so; it still leads".to_owned())
}
