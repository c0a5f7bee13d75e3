//! One eye: asks one broker after the other about brokers and partitions.

use std::collections::BTreeMap;

use gauntlet_wire::{Connection, PartitionMetadata, WireError};

use super::Shared;
use crate::clock::monotonic_ns;
use crate::history::{Change, PartitionState, TopicPartition};

/// What a broker said last, to tell what changed.
#[derive(Debug, Default)]
struct LastSaid {
    registered: Option<Vec<i32>>,
    partitions: BTreeMap<TopicPartition, PartitionState>,
}

/// Watches until told to stop.
pub(super) fn watch(shared: &Shared) {
    let mut last = None;
    loop {
        let (broker, addr) = shared.take_next(last);
        last = Some(broker);
        if !watch_through(shared, broker, addr) {
            return;
        }
    }
}

/// Watches through one broker until it fails (`true`) or the watcher stops (`false`).
fn watch_through(shared: &Shared, broker: i32, addr: &str) -> bool {
    let options = shared.config.connect_options();
    let Ok(mut connection) = Connection::connect(addr, &options) else { return shared.pause() };
    let mut last_said = LastSaid::default();
    loop {
        let mut seen = Vec::new();
        let polled = poll(&mut connection, &shared.config.topics, &mut last_said, &mut seen);
        let now_ns = monotonic_ns();
        if let Err(error) = &polled {
            seen.push((now_ns, Change::Blind { why: error.to_string() }));
        }
        shared.store(broker, seen, polled.is_ok().then_some(now_ns));
        if !shared.pause() {
            return false;
        }
        if polled.is_err() {
            return true;
        }
    }
}

/// Asks everything once; pushes what changed, with the time of each answer.
fn poll(
    connection: &mut Connection,
    topics: &[String],
    last_said: &mut LastSaid,
    seen: &mut Vec<(u64, Change)>,
) -> Result<(), WireError> {
    let mut registered: Vec<i32> = connection.metadata(Some(&[]))?.brokers.iter().map(|b| b.id).collect();
    let now_ns = monotonic_ns();
    registered.sort_unstable();
    if last_said.registered.as_ref() != Some(&registered) {
        last_said.registered = Some(registered.clone());
        seen.push((now_ns, Change::Brokers { registered }));
    }
    for topic in topics {
        let described = connection.describe_topic(topic)?;
        let now_ns = monotonic_ns();
        if !described.error.is_ok() {
            continue;
        }
        for partition in described.partitions {
            let at = TopicPartition { topic: topic.clone(), partition: partition.index };
            let state = state_of(partition);
            if last_said.partitions.get(&at) != Some(&state) {
                last_said.partitions.insert(at.clone(), state.clone());
                seen.push((now_ns, Change::Partition { at, state }));
            }
        }
    }
    Ok(())
}

/// Brokers list in-sync replicas in no particular order; another order is no change.
fn state_of(mut partition: PartitionMetadata) -> PartitionState {
    partition.isr.sort_unstable();
    if let Some(elr) = &mut partition.elr {
        elr.sort_unstable();
    }
    PartitionState {
        leader: partition.leader,
        leader_epoch: partition.leader_epoch,
        replicas: partition.replicas,
        isr: partition.isr,
        elr: partition.elr,
    }
}
