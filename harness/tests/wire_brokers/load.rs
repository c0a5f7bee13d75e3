//! A workload of planned batches, each record with its identity, that remembers how each batch ended.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gauntlet_verify::identity::encode;
use gauntlet_verify::{CrcSeed, IDENTITY_LEN, Identity, Outcome, Settlement, StreamKey};
use gauntlet_wire::batch::{BatchBuilder, RecordSpec};
use gauntlet_wire::codec::Codec;
use gauntlet_wire::producer::{
    Acks, BatchOutcome, ProducerConfig, ProducerStats, Settled, TakeRequest, Turn, Workload, run_producers,
};
use gauntlet_wire::{LinkConfig, monotonic_ns};
use libtest_mimic::Failed;

use crate::cluster::{LIMIT, Topic};

/// Run id in every record.
pub(crate) const RUN: u32 = 0x00c0_ffee;
/// Value of a record that a test says nothing about.
pub(crate) const VALUE_BYTES: usize = IDENTITY_LEN + 66;

/// One batch that a test wants sent: exactly these records, in one batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlannedBatch {
    /// Intended time of all of its records, after the load began.
    pub(crate) due: Duration,
    pub(crate) records: u32,
    pub(crate) value_bytes: usize,
}

/// So many batches, due at once.
pub(crate) fn at_once(batches: usize, records: u32) -> Vec<PlannedBatch> {
    vec![PlannedBatch { due: Duration::ZERO, records, value_bytes: VALUE_BYTES }; batches]
}

/// What is left when a load has run.
pub(crate) struct Produced {
    pub(crate) settlements: Vec<(usize, Settlement)>,
    pub(crate) stats: ProducerStats,
    /// Records that grew too old before anything was sent of them.
    pub(crate) expired_unsent: u64,
    pub(crate) incarnation_max: u16,
    /// From the first ack to the last.
    pub(crate) acking: Duration,
    pub(crate) acked_wire_bytes: u64,
}

/// A configuration with idempotence and small batches, for a topic reached through `bootstrap`.
pub(crate) fn config(bootstrap: Vec<String>, topic: &Topic) -> ProducerConfig {
    ProducerConfig {
        index: 0,
        links: LinkConfig {
            bootstrap,
            client_id: format!("load-of-{}", topic.name),
            request_timeout: Duration::from_secs(10),
            ..LinkConfig::default()
        },
        topic: topic.name.clone(),
        partitions: topic.partitions,
        acks: Acks::All,
        idempotent: true,
        codec: Codec::None,
        linger: Duration::ZERO,
        batch_bytes: 16 << 10,
        request_bytes: 1 << 20,
        buffer_bytes: 64 << 20,
        max_in_flight: 5,
        delivery_timeout: LIMIT,
        retries: true,
    }
}

/// Sends the planned batches of each partition (in the order of partitions) and returns when all are settled.
/// `acked` counts records while it runs.
pub(crate) fn produce(
    config: ProducerConfig,
    plan: Vec<Vec<PlannedBatch>>,
    acked: &Arc<AtomicU64>,
) -> Result<Produced, Failed> {
    assert_eq!(plan.len(), config.partitions);
    let begin_ns = monotonic_ns();
    let cursor = |(partition, batches): (usize, Vec<PlannedBatch>)| Cursor {
        batches: batches.into(),
        incarnation: 0,
        next_pseq: 0,
        seed: CrcSeed::new(&config.topic, partition as u32),
    };
    let load = Load {
        begin_ns,
        cursors: plan.into_iter().enumerate().map(cursor).collect(),
        acked: Arc::clone(acked),
        ack_times_ns: None,
        produced: Produced {
            settlements: Vec::new(),
            stats: ProducerStats::default(),
            expired_unsent: 0,
            incarnation_max: 0,
            acking: Duration::ZERO,
            acked_wire_bytes: 0,
        },
    };
    let load = run_producers(vec![(config, load)])?.pop().ok_or("no workload came back")?;
    let (first_ns, last_ns) = load.ack_times_ns.unwrap_or_default();
    Ok(Produced { acking: Duration::from_nanos(last_ns - first_ns), ..load.produced })
}

struct Cursor {
    batches: VecDeque<PlannedBatch>,
    incarnation: u16,
    next_pseq: u64,
    seed: CrcSeed,
}

struct Load {
    begin_ns: u64,
    cursors: Vec<Cursor>,
    acked: Arc<AtomicU64>,
    ack_times_ns: Option<(u64, u64)>,
    produced: Produced,
}

impl Load {
    fn intended_ns(&self, batch: &PlannedBatch) -> u64 {
        self.begin_ns + batch.due.as_nanos() as u64
    }

    fn due_batch(&self, partition: usize, now_ns: u64) -> Option<PlannedBatch> {
        self.cursors[partition].batches.front().filter(|batch| self.intended_ns(batch) <= now_ns).copied()
    }
}

impl Workload for Load {
    /// Its settlement, but for the outcome.
    type Tag = (StreamKey, u64);

    fn next_intended_ns(&self, partition: usize) -> Option<u64> {
        self.cursors[partition].batches.front().map(|batch| self.intended_ns(batch))
    }

    fn due_bytes(&self, partition: usize, now_ns: u64, enough: usize) -> usize {
        // A planned batch is a full one.
        self.due_batch(partition, now_ns).map_or(0, |_| enough)
    }

    fn take(
        &mut self,
        request: &TakeRequest,
        turn: Turn<'_>,
        builder: &mut BatchBuilder,
    ) -> Option<Self::Tag> {
        let batch = self.due_batch(request.partition, turn.now_ns)?;
        let intended_ns = self.intended_ns(&batch);
        let cursor = &mut self.cursors[request.partition];
        cursor.batches.pop_front();
        if cursor.incarnation != request.incarnation {
            cursor.incarnation = request.incarnation;
            cursor.next_pseq = 0;
        }
        let first_pseq = cursor.next_pseq;
        for pseq in first_pseq..first_pseq + u64::from(batch.records) {
            let identity = Identity {
                flags: 0,
                run: RUN,
                producer: 0,
                incarnation: cursor.incarnation,
                partition: request.partition as u32,
                pseq,
                intended_ns,
            };
            let spec = RecordSpec {
                timestamp_ms: 1_700_000_000_000 + pseq as i64,
                key: None,
                value_bytes: batch.value_bytes,
                own_header: None,
                headers: &[],
            };
            builder.append(&spec, |value| {
                encode(&identity, &cursor.seed, value).expect("values have room for an identity");
            });
        }
        cursor.next_pseq += u64::from(batch.records);
        self.produced.incarnation_max = self.produced.incarnation_max.max(cursor.incarnation);
        Some((StreamKey { producer: 0, incarnation: cursor.incarnation }, first_pseq))
    }

    fn expire_unsent(&mut self, partition: usize, before_ns: u64, _: Option<u64>, _: Turn<'_>) {
        while let Some(batch) = self.due_batch(partition, before_ns) {
            self.produced.expired_unsent += u64::from(batch.records);
            self.cursors[partition].batches.pop_front();
        }
    }

    fn settled(&mut self, settled: &Settled<Self::Tag>, turn: Turn<'_>) {
        let outcome = match settled.outcome {
            BatchOutcome::Acked { base_offset } => {
                self.acked.fetch_add(u64::from(settled.count), Ordering::Relaxed);
                self.produced.acked_wire_bytes += u64::from(settled.wire_bytes);
                let (_, last_ns) = self.ack_times_ns.get_or_insert((turn.now_ns, turn.now_ns));
                *last_ns = turn.now_ns;
                Outcome::Acked { base_offset }
            }
            BatchOutcome::Failed { .. } => Outcome::Failed,
            BatchOutcome::Indeterminate { .. } => Outcome::Indeterminate,
            BatchOutcome::Unacknowledged => Outcome::Unacknowledged,
        };
        let (stream, first_pseq) = settled.tag;
        let settled_ns = monotonic_ns();
        let settlement =
            Settlement { stream, first_pseq, count: settled.count, outcome, sent_ns: 0, settled_ns };
        self.produced.settlements.push((settled.partition, settlement));
    }

    fn turned(&mut self, _turn: Turn<'_>, stats: &ProducerStats) -> u64 {
        self.produced.stats.clone_from(stats);
        u64::MAX
    }

    fn give_up_ns(&self) -> Option<u64> {
        let last = self.cursors.iter().filter_map(|c| c.batches.back()).map(|b| b.due).max();
        // Beyond the delivery time-out of the last batch: only a producer that hangs gets there.
        last.map(|due| self.begin_ns + (due + LIMIT + LIMIT).as_nanos() as u64)
    }
}
