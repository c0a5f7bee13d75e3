//! The producer for load: one or many producers in one thread, each with its own producer id and connections.
//!
//! Records are *pulled*: a [`Workload`] knows which records are due on which partition and writes them straight into
//! the batch that is being built, so that records which wait (during a broker's stall, say) cost nothing until they
//! are encoded. On every turn of the event loop each broker with a free slot gets one request with one batch for
//! every partition that it leads and that has something due.

mod partition;
mod requests;
mod run;
mod stagger;

use std::collections::BTreeMap;
use std::time::Duration;

use mio::{Registry, Token};

use crate::batch::BatchBuilder;
use crate::code::ErrorCode;
use crate::codec::Codec;
use crate::links::{LinkConfig, LinkEvent, Links};

pub use partition::BatchOutcome;
use partition::{Ended, PartitionQueue, Policy};
use requests::Sent;
pub use run::run_producers;
use stagger::Stagger;

pub use crate::turns::{LoopError, Turn};

/// `acks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// 0: the broker does not answer.
    None,
    /// 1: the leader has appended it.
    Leader,
    /// all: every in-sync replica has it.
    All,
}

/// Configuration of a producer; the names are those of Kafka's client configuration.
#[derive(Debug, Clone)]
pub struct ProducerConfig {
    /// Its number in its fleet: keeps it out of step with the others.
    pub index: u64,
    /// Connections and their time-outs.
    pub links: LinkConfig,
    /// Topic that is written to.
    pub topic: String,
    /// Its number of partitions.
    pub partitions: usize,
    /// `acks`. `enable.idempotence` needs `All`.
    pub acks: Acks,
    /// `enable.idempotence`.
    pub idempotent: bool,
    /// `compression.type`.
    pub codec: Codec,
    /// `linger.ms`.
    pub linger: Duration,
    /// `batch.size`: uncompressed bytes of one batch.
    pub batch_bytes: usize,
    /// `max.request.size`: bytes of batches in one request.
    pub request_bytes: usize,
    /// `buffer.memory`: uncompressed bytes of all batches that are not settled.
    pub buffer_bytes: usize,
    /// `max.in.flight.requests.per.connection`.
    pub max_in_flight: usize,
    /// `delivery.timeout.ms`, counted from the intended time of a batch's first record.
    pub delivery_timeout: Duration,
    /// Whether `retries` is above zero.
    pub retries: bool,
}

/// A request for the next batch of a partition.
#[derive(Debug)]
pub struct TakeRequest {
    /// Partition index.
    pub partition: usize,
    /// Incarnation that goes into the identity of each record; see the crate's recovery rules. When it is higher than
    /// the last time, the numbering of records begins again.
    pub incarnation: u16,
    /// Fill the builder up to this many bytes (but with at least one record).
    pub max_bytes: usize,
    /// Since when something was due that the broker gave no room for, if it was so until now. What the loop did in
    /// that time made nothing late.
    pub blocked_since_ns: Option<u64>,
}

/// The end of one batch.
#[derive(Debug, Clone, Copy)]
pub struct Settled<T> {
    /// What [`Workload::take`] returned for it.
    pub tag: T,
    /// Partition index.
    pub partition: usize,
    /// Number of records.
    pub count: u32,
    /// Bytes of the batch as sent.
    pub wire_bytes: u32,
    /// Bytes before compression.
    pub uncompressed_bytes: u32,
    /// How it ended.
    pub outcome: BatchOutcome,
    /// When the first byte of its first attempt was written.
    pub first_written_ns: Option<u64>,
    /// How often it was sent.
    pub attempts: u32,
}

/// Where the records of one producer come from, and who is told how they ended.
pub trait Workload {
    /// What identifies a batch to the workload.
    type Tag: Copy;

    /// Intended time of the oldest record of `partition` that was not taken yet; may be in the future. `None` when no
    /// record will come any more.
    fn next_intended_ns(&self, partition: usize) -> Option<u64>;

    /// Bytes that the records due by `now_ns` would take in a batch, counted up to about `enough`.
    fn due_bytes(&self, partition: usize, now_ns: u64, enough: usize) -> usize;

    /// Writes due records into the builder. `None` if none is due.
    fn take(
        &mut self,
        request: &TakeRequest,
        turn: Turn<'_>,
        builder: &mut BatchBuilder,
    ) -> Option<Self::Tag>;

    /// What was intended before this, and was not taken, is not to wait any longer; 0 if everything may.
    fn patience_ends_ns(&self) -> u64 {
        0
    }

    /// Records of `partition` intended at or before `before_ns` were not written within `delivery.timeout.ms`, or before
    /// the workload gave up or lost patience; they will not be. `blocked_since_ns`: as in [`TakeRequest`].
    fn expire_unsent(
        &mut self,
        partition: usize,
        before_ns: u64,
        blocked_since_ns: Option<u64>,
        turn: Turn<'_>,
    );

    /// A batch has ended.
    fn settled(&mut self, settled: &Settled<Self::Tag>, turn: Turn<'_>);

    /// Called once on every turn, after everything else. Returns when it wants to be called again at the latest.
    fn turned(&mut self, turn: Turn<'_>, stats: &ProducerStats) -> u64;

    /// When the loop must be left even with unsettled batches; they then end by what is known of them.
    fn give_up_ns(&self) -> Option<u64>;
}

/// Running totals of one producer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProducerStats {
    /// Produce requests sent.
    pub requests: u64,
    /// Records that were put into a request for the first time.
    pub records_sent: u64,
    /// Batches sent more than once.
    pub retries: u64,
    /// Longest `throttle_time_ms` since the loop began, and the sum of all.
    pub throttle_ms_max: u32,
    /// Sum of `throttle_time_ms` over all answers.
    pub throttle_ms_total: u64,
    /// Answers by error code, per partition answered.
    pub errors: BTreeMap<ErrorCode, u64>,
    /// Connections that were lost, by what was said about it.
    pub disconnects: BTreeMap<String, u64>,
    /// Uncompressed bytes in batches that are not settled.
    pub buffered_bytes: usize,
    /// Nanoseconds, summed over partitions, in which something was due and the broker gave no room for it.
    pub broker_blocked_ns: u64,
}

/// One producer inside a loop.
struct Producer<W: Workload> {
    config: ProducerConfig,
    links: Links<Sent>,
    queues: Vec<PartitionQueue<W::Tag>>,
    builder: BatchBuilder,
    workload: W,
    stats: ProducerStats,
    /// Uncompressed bytes of unsettled batches.
    buffered: usize,
    identity_asked: bool,
    identity_retry_ns: u64,
    /// Nodes that asked to be left alone until then (`throttle_time_ms`).
    throttled_until: BTreeMap<i32, u64>,
    /// Since when a partition has something due that the broker gives no room for.
    blocked_since: Vec<Option<u64>>,
    events: Vec<LinkEvent<Sent>>,
    ended: Vec<Ended<W::Tag>>,
    first_partition: usize,
    stagger: Stagger,
}

impl<W: Workload> Producer<W> {
    fn new(config: ProducerConfig, workload: W, registry: Registry, token_base: usize) -> Self {
        let policy = Policy {
            idempotent: config.idempotent,
            retries: config.retries,
            max_in_flight: config.max_in_flight,
            retry_backoff: config.links.retry_backoff,
            retry_backoff_max: config.links.retry_backoff_max,
        };
        let links = Links::new(config.links.clone(), &config.topic, config.partitions, registry, token_base);
        Producer {
            links,
            queues: (0..config.partitions).map(|_| PartitionQueue::new(policy.clone())).collect(),
            builder: BatchBuilder::new(config.codec),
            workload,
            stats: ProducerStats::default(),
            buffered: 0,
            identity_asked: false,
            identity_retry_ns: 0,
            throttled_until: BTreeMap::new(),
            blocked_since: vec![None; config.partitions],
            events: Vec::new(),
            ended: Vec::new(),
            first_partition: 0,
            stagger: Stagger::new(config.linger.as_nanos() as u64, config.index),
            config,
        }
    }

    /// Whether everything was taken and settled.
    fn is_finished(&self) -> bool {
        self.queues.iter().all(PartitionQueue::is_empty)
            && (0..self.queues.len()).all(|p| self.workload.next_intended_ns(p).is_none())
    }

    fn drive(&mut self, token: Token, turn: Turn<'_>, scratch: &mut [u8]) {
        self.links.drive(token, turn.now_ns, scratch, &mut self.events);
        self.handle_events(turn);
    }

    /// Everything that a turn does besides reading answers.
    fn turn(&mut self, turn: Turn<'_>) {
        self.expire(turn);
        self.links.tick(turn.now_ns, &mut self.events);
        self.handle_events(turn);
        self.ask_identity(turn.now_ns);
        self.send_due(turn);
        self.handle_events(turn);
        self.stats.buffered_bytes = self.buffered;
    }

    /// Ends every batch by what is known of it.
    fn abandon(&mut self, turn: Turn<'_>) {
        for partition in 0..self.queues.len() {
            self.queues[partition].expire(u64::MAX, &mut self.ended);
            self.settle(partition, turn);
            self.workload.expire_unsent(partition, u64::MAX, self.blocked_since[partition], turn);
        }
    }

    fn expire(&mut self, turn: Turn<'_>) {
        let oldest_ns = turn.now_ns.saturating_sub(self.config.delivery_timeout.as_nanos() as u64);
        let oldest_ns = oldest_ns.max(self.workload.patience_ends_ns());
        for partition in 0..self.queues.len() {
            if self.queues[partition].deadline_ns().is_some_and(|deadline| deadline <= turn.now_ns) {
                self.queues[partition].expire(turn.now_ns, &mut self.ended);
                self.settle(partition, turn);
            }
            if self.workload.next_intended_ns(partition).is_some_and(|due| due < oldest_ns) {
                self.workload.expire_unsent(partition, oldest_ns, self.blocked_since[partition], turn);
            }
        }
    }

    /// Passes on what ended on `partition`.
    fn settle(&mut self, partition: usize, turn: Turn<'_>) {
        for ended in self.ended.drain(..) {
            self.buffered = self.buffered.saturating_sub(ended.uncompressed_bytes as usize);
            self.stats.retries += u64::from(ended.attempts.saturating_sub(1));
            let settled = Settled {
                tag: ended.tag,
                partition,
                count: ended.count,
                wire_bytes: ended.wire_bytes,
                uncompressed_bytes: ended.uncompressed_bytes,
                outcome: ended.outcome,
                first_written_ns: ended.first_written_ns,
                attempts: ended.attempts,
            };
            self.workload.settled(&settled, turn);
        }
    }

    /// Sends to every broker what is due on the partitions that it leads.
    fn send_due(&mut self, turn: Turn<'_>) {
        let now_ns = turn.now_ns;
        let mut nodes: Vec<i32> = Vec::new();
        for partition in 0..self.queues.len() {
            match self.links.leadership(partition).leader {
                Some(leader) if !nodes.contains(&leader) => nodes.push(leader),
                Some(_) => {}
                None => self.links.want_metadata(),
            }
        }
        self.stagger.among(&nodes);
        for node in nodes {
            if !self.links.usable(node, now_ns) {
                self.links.want_metadata();
                continue;
            }
            if self.throttled_until.get(&node).is_some_and(|until| *until > now_ns) {
                continue;
            }
            while self.links.in_flight(node) < self.config.max_in_flight
                && self.node_has_work(node, now_ns)
                && self.send_request(node, turn)
            {
                self.stagger.sent(node, now_ns);
            }
        }
        // A busy loop must not serve the same partitions first for ever.
        self.first_partition = (self.first_partition + 1) % self.queues.len().max(1);
        self.note_blocked(now_ns);
    }

    /// As in Kafka's own client, a broker is sent to once any partition that it leads has a full batch or has
    /// lingered, or a batch to send again; the request then takes along what else is due.
    fn node_has_work(&self, node: i32, now_ns: u64) -> bool {
        (0..self.queues.len()).any(|partition| {
            self.links.leadership(partition).leader == Some(node) && self.is_ripe(partition, node, now_ns)
        })
    }

    fn is_ripe(&self, partition: usize, node: i32, now_ns: u64) -> bool {
        let queue = &self.queues[partition];
        if queue.next_to_send(node, now_ns).is_some() {
            return true;
        }
        if !queue.accepts_new() || self.buffered >= self.config.buffer_bytes {
            return false;
        }
        let Some(intended_ns) = self.workload.next_intended_ns(partition) else { return false };
        if intended_ns > now_ns {
            return false;
        }
        now_ns >= self.stagger.ripe_ns(node, intended_ns)
            || self.workload.due_bytes(partition, now_ns, self.config.batch_bytes) >= self.config.batch_bytes
    }

    /// Builds the next batch of a partition, if it accepts one and has records due.
    fn build(&mut self, partition: usize, turn: Turn<'_>) {
        let queue = &mut self.queues[partition];
        if !queue.accepts_new() || self.buffered >= self.config.buffer_bytes {
            return;
        }
        let Some(intended_ns) = self.workload.next_intended_ns(partition).filter(|due| *due <= turn.now_ns)
        else {
            return;
        };
        let request = TakeRequest {
            partition,
            incarnation: queue.incarnation(),
            max_bytes: self.config.batch_bytes,
            blocked_since_ns: self.blocked_since[partition],
        };
        let Some(tag) = self.workload.take(&request, turn, &mut self.builder) else { return };
        let sealed = self.builder.seal(queue.next_stamp());
        self.buffered += sealed.uncompressed_bytes() as usize;
        queue.push(sealed, tag, intended_ns + self.config.delivery_timeout.as_nanos() as u64);
    }

    /// Notes which partitions have something due that stayed unsent although the loop turned: the broker gave no room.
    fn note_blocked(&mut self, now_ns: u64) {
        let linger_ns = self.config.linger.as_nanos() as u64;
        for (partition, since) in self.blocked_since.iter_mut().enumerate() {
            let due = self.workload.next_intended_ns(partition).is_some_and(|d| d + linger_ns <= now_ns);
            match (*since, due) {
                (None, true) => *since = Some(now_ns),
                (Some(begun), false) => {
                    self.stats.broker_blocked_ns += now_ns.saturating_sub(begun);
                    *since = None;
                }
                _ => {}
            }
        }
    }

    /// When this producer has something to do next, if nothing arrives before.
    fn wakeup_ns(&self, now_ns: u64) -> u64 {
        let mut wakeup = self.links.wakeup_ns();
        if self.queues.iter().any(PartitionQueue::needs_identity) {
            wakeup = wakeup.min(self.identity_retry_ns.max(now_ns + 1_000_000));
        }
        for (partition, queue) in self.queues.iter().enumerate() {
            wakeup = wakeup.min(queue.deadline_ns().unwrap_or(u64::MAX));
            let is_open =
                |n: &i32| self.links.ready(*n) && self.links.in_flight(*n) < self.config.max_in_flight;
            let Some(node) = self.links.leadership(partition).leader.filter(is_open) else {
                // Answers, connections and metadata wake the loop by themselves.
                continue;
            };
            let throttled = self.throttled_until.get(&node).copied().unwrap_or(0);
            if let Some(attempt_ns) = queue.next_attempt_ns().filter(|at| *at > now_ns) {
                wakeup = wakeup.min(attempt_ns.max(throttled));
            }
            if queue.accepts_new()
                && self.buffered < self.config.buffer_bytes
                && let Some(intended_ns) = self.workload.next_intended_ns(partition)
            {
                // Never in the past: what is due already waits for something that wakes the loop by itself.
                let ripe_ns = self.stagger.ripe_ns(node, intended_ns);
                wakeup = wakeup.min(ripe_ns.max(throttled).max(now_ns + 200_000));
            }
        }
        wakeup
    }
}
