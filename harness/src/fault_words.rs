//! A fault in words, behind its victim: what `gauntlet plan` prints before it happens, and what every report says of it afterwards.

use gauntlet_chaos::fault::Direction;
use gauntlet_chaos::proxy::Links;
use gauntlet_chaos::{DiskFault, FaultAction, NetworkFault, NetworkKind};

use crate::units::{Bytes, Offset};

/// How the victim is treated, to be read behind its name; empty where the name of the action says it all.
pub(crate) fn details(action: &FaultAction) -> String {
    match action {
        FaultAction::Network { fault } => network(fault),
        FaultAction::Disk { fault } => disk(fault),
        FaultAction::BrokerSlowStart { share_percent, .. } => format!(" at {share_percent} %"),
        FaultAction::CpuStarve { share_percent } => format!(" to {share_percent} %"),
        FaultAction::ClockSkew { offset_ns } => format!(" by {}", Offset::from_ns(*offset_ns)),
        FaultAction::BrokerRollingUpgrade { to, .. } => format!(" to {to}"),
        FaultAction::BrokerPowerLoss { tail_bytes: Some(tail) } => {
            format!(", {} of each log at most", Bytes::new(*tail))
        }
        _ => String::new(),
    }
}

/// What is done to which operations: ` by 100ms: write, sync`.
fn disk(fault: &DiskFault) -> String {
    match fault {
        DiskFault::Slow { latency_ns, operations } => {
            format!(" by {}: {operations}", crate::units::Duration::from_ns(*latency_ns))
        }
        DiskFault::Fail { operations } => format!(": {operations}"),
        DiskFault::Fill | DiskFault::ReadOnly => String::new(),
    }
}

/// What is done to which links, after the victim: ` by 100ms (± 20ms) on links of clients, what it sends`.
fn network(fault: &NetworkFault) -> String {
    let ms = |ns: u64| crate::units::Duration::from_ns(ns);
    let by = match fault.kind {
        NetworkKind::Delay { latency_ns, jitter_ns: 0 } => format!(" by {}", ms(latency_ns)),
        NetworkKind::Delay { latency_ns, jitter_ns } => {
            format!(" by {} (± {})", ms(latency_ns), ms(jitter_ns))
        }
        NetworkKind::Bandwidth { bytes_per_s } => format!(" to {}/s", Bytes::new(bytes_per_s)),
        NetworkKind::Isolate
        | NetworkKind::Partition
        | NetworkKind::BlackHole
        | NetworkKind::Reset
        | NetworkKind::HalfOpen => String::new(),
    };
    let from = fault.peer.map_or_else(String::new, |peer| format!(", towards node {peer} only"));
    let links = match fault.links {
        Links { clients: true, brokers: true, controllers: true } => "",
        Links { clients: true, .. } => ", on links of clients",
        Links { brokers: true, controllers: true, .. } => ", on links between nodes",
        Links { brokers: true, .. } => ", on links of brokers",
        Links { .. } => ", on links of controllers",
    };
    let direction = match (fault.direction, fault.kind) {
        (Direction::Both, NetworkKind::HalfOpen) => ", neither end told",
        (Direction::To, NetworkKind::HalfOpen) => ", the other ends not told",
        (Direction::From, NetworkKind::HalfOpen) => ", its own ends not told",
        (Direction::Both, _) => "",
        (Direction::To, _) => ", what it is sent",
        (Direction::From, _) => ", what it sends",
    };
    let apis = fault.apis.map_or_else(String::new, |apis| format!(", {apis} only"));
    format!("{by}{from}{links}{direction}{apis}")
}
