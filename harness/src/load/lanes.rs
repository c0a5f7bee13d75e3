//! What loops of clients that are not gauntlet's own keep per partition: since when something is due that the client gives no
//! room for. What waits then is not late because of gauntlet.

use std::time::Duration;

use gauntlet_wire::producer::{BatchOutcome, ProducerStats, Settled, Turn, Workload};

use super::ProducerLoad;
use super::producer::BatchTag;

/// The partitions of one producer.
#[derive(Debug)]
pub(crate) struct Lanes {
    blocked_since_ns: Vec<Option<u64>>,
    /// Whose turn it is to be first.
    pub(crate) first: usize,
}

impl Lanes {
    /// So many partitions; nothing waits.
    pub(crate) fn new(partitions: usize) -> Self {
        Lanes { blocked_since_ns: vec![None; partitions], first: 0 }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.blocked_since_ns.len()
    }

    /// Since when something of a partition is due that the client has no room for.
    pub(crate) fn blocked_since_ns(&self, partition: usize) -> Option<u64> {
        self.blocked_since_ns[partition]
    }

    /// What waited for longer than `delivery.timeout.ms` without being handed over is *failed*, and what the load has no more
    /// patience with is dropped.
    pub(crate) fn expire(&self, load: &mut ProducerLoad, delivery_timeout: Duration, turn: Turn<'_>) {
        let oldest_ns = turn.now_ns.saturating_sub(delivery_timeout.as_nanos() as u64);
        let oldest_ns = oldest_ns.max(load.patience_ends_ns());
        for (partition, blocked_since_ns) in self.blocked_since_ns.iter().enumerate() {
            if load.next_intended_ns(partition).is_some_and(|due| due < oldest_ns) {
                load.expire_unsent(partition, oldest_ns, *blocked_since_ns, turn);
            }
        }
    }

    /// What was never handed over is *failed*, all of it.
    pub(crate) fn give_up(&self, load: &mut ProducerLoad, turn: Turn<'_>) {
        for (partition, blocked_since_ns) in self.blocked_since_ns.iter().enumerate() {
            load.expire_unsent(partition, u64::MAX, *blocked_since_ns, turn);
        }
    }

    /// Notes which partitions have something due that stayed although the loop turned: the client gave no room. `hurry`: the
    /// loop itself broke off.
    pub(crate) fn note_blocked(
        &mut self,
        load: &ProducerLoad,
        now_ns: u64,
        hurry: bool,
        stats: &mut ProducerStats,
    ) {
        for (partition, blocked_since_ns) in self.blocked_since_ns.iter_mut().enumerate() {
            let due = !hurry && load.next_intended_ns(partition).is_some_and(|due| due <= now_ns);
            match (*blocked_since_ns, due) {
                (None, true) => *blocked_since_ns = Some(now_ns),
                (Some(begun), false) => {
                    stats.broker_blocked_ns += now_ns.saturating_sub(begun);
                    *blocked_since_ns = None;
                }
                _ => {}
            }
        }
    }

    /// When the next record is due of those that the client has room for; `None` if there is none.
    pub(crate) fn next_due_ns(&self, load: &ProducerLoad) -> Option<u64> {
        let waiting = self.blocked_since_ns.iter().enumerate().filter(|(_, blocked)| blocked.is_none());
        waiting.filter_map(|(partition, _)| load.next_intended_ns(partition)).min()
    }

    /// Whether no record will come any more.
    pub(crate) fn is_all_taken(&self, load: &ProducerLoad) -> bool {
        (0..self.len()).all(|partition| load.next_intended_ns(partition).is_none())
    }
}

/// How records ended whose batches nobody knows.
pub(crate) fn settled(
    tag: BatchTag,
    partition: usize,
    count: u64,
    outcome: BatchOutcome,
) -> Settled<BatchTag> {
    Settled {
        tag,
        partition,
        // No chunk is so long.
        count: u32::try_from(count).unwrap_or(u32::MAX),
        // Nor are their bytes known, nor when they were written.
        wire_bytes: 0,
        uncompressed_bytes: 0,
        outcome,
        first_written_ns: None,
        attempts: 1,
    }
}
