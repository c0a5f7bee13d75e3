//! One producer's records: which are due, how they look, and what became of them.

use std::sync::Arc;

use crossbeam_channel::Sender;
use gauntlet_verify::{CrcSeed, IDENTITY_LEN, Identity, Outcome, Settlement, StreamKey};
use gauntlet_wire::batch::{BatchBuilder, RecordSpec};
use gauntlet_wire::lateness::Charge;
use gauntlet_wire::producer::{BatchOutcome, ProducerStats, Settled, TakeRequest, Turn, Workload};

use super::control::{AckSpan, Control, Interval, Origin};
use crate::payload::BodyMaker;
use crate::recorder::{
    Recorder, add_sample, add_samples, is_ours, latency_histogram, latency_us, slot_end_ns,
};
use crate::schedule::{Schedule, Times, share_of_partition};

/// When a producer's records are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Open model: by the schedule, whatever the broker does.
    Scheduled(Schedule),
    /// Closed model: as fast as the broker takes them, at most so many records. Latency is then no user's latency.
    Unlimited {
        /// Records of this producer at most.
        records_max: u64,
    },
}

/// Everything that a producer has to know.
#[derive(Debug, Clone)]
pub struct ProducerPlan {
    /// Id of the run, in every record.
    pub run: u32,
    /// Index of the producer, in every record.
    pub producer: u16,
    /// Topic that is written to.
    pub topic: String,
    /// Its partitions.
    pub partitions: u32,
    /// When records are due.
    pub pace: Pace,
    /// Length of a value, identity included.
    pub value_bytes: usize,
    /// Bodies.
    pub body: BodyMaker,
    /// `linger.ms` in nanoseconds: leaving this much later than intended is as configured.
    pub linger_ns: u64,
    /// Unix time minus CLOCK_MONOTONIC, for record timestamps.
    pub unix_minus_monotonic_ns: u64,
    /// For tests of "who was the limit?": the thread sleeps once for so long after so many batches.
    pub stumble: Option<Stumble>,
}

/// A planted fault of our own sender.
#[derive(Debug, Clone, Copy)]
pub struct Stumble {
    /// After how many batches.
    pub after_batches: u64,
    /// For how long the thread sleeps.
    pub sleep: std::time::Duration,
}

/// A settlement on its way to the checker of its partition.
pub type PartitionSettlement = (u32, Settlement);

struct Cursor {
    /// Index (among the records of this partition) of the next record to take.
    next: u64,
    incarnation: u16,
    next_pseq: u64,
    seed: CrcSeed,
    acks: Option<AckSpan>,
    last_ack_ns: Option<u64>,
}

/// What is remembered of a batch until it ends.
#[derive(Debug, Clone, Copy)]
pub struct BatchTag {
    first: u64,
    first_pseq: u64,
    incarnation: u16,
    taken_ns: u64,
    blocked_ns: Option<u64>,
}

/// The workload of one producer.
pub struct ProducerLoad {
    plan: ProducerPlan,
    control: Arc<Control>,
    cursors: Vec<Cursor>,
    recorder: Recorder,
    settlements: Vec<Sender<PartitionSettlement>>,
    intervals: Sender<Interval>,
    interval_ns: u64,
    next_interval_ns: u64,
    now_ns: u64,
    taken: u64,
    batches: u64,
    wire_bytes: u64,
    uncompressed_bytes: u64,
    last_stats: ProducerStats,
    last_lateness: Charge,
}

/// Upper bound of what a record takes in a batch besides its value: length, attributes, deltas, key and header counts.
const RECORD_OVERHEAD_BYTES: usize = 24;
/// A batch's records are judged "ours or not" in at most so many groups.
const OURS_GROUPS: u64 = 16;

/// See [`ProducerLoad::times`].
#[derive(Clone)]
enum IntendedTimes {
    Scheduled(Times),
    Same(u64),
}

impl IntendedTimes {
    #[inline]
    fn next_ns(&mut self) -> u64 {
        match self {
            // It never ends.
            IntendedTimes::Scheduled(times) => times.next().unwrap_or(u64::MAX),
            IntendedTimes::Same(at_ns) => *at_ns,
        }
    }
}

impl ProducerLoad {
    /// `settlements` has one channel per partition (several may be the same one).
    pub fn new(
        plan: ProducerPlan,
        control: Arc<Control>,
        settlements: Vec<Sender<PartitionSettlement>>,
        intervals: Sender<Interval>,
        interval_ns: u64,
    ) -> Self {
        let cursors = (0..plan.partitions)
            .map(|partition| Cursor {
                next: 0,
                incarnation: 0,
                next_pseq: 0,
                seed: CrcSeed::new(&plan.topic, partition),
                acks: None,
                last_ack_ns: None,
            })
            .collect();
        ProducerLoad {
            plan,
            control,
            cursors,
            recorder: Recorder::default(),
            settlements,
            intervals,
            interval_ns,
            next_interval_ns: 0,
            now_ns: gauntlet_wire::monotonic_ns(),
            taken: 0,
            batches: 0,
            wire_bytes: 0,
            uncompressed_bytes: 0,
            last_stats: ProducerStats::default(),
            last_lateness: Charge::default(),
        }
    }

    /// The producer's k for the j-th record of a partition.
    fn k_of(&self, partition: usize, index: u64) -> u64 {
        index * u64::from(self.plan.partitions) + partition as u64
    }

    /// Intended time of the j-th record of a partition; a record without schedule is intended when it is taken.
    #[inline]
    fn intended_ns(&self, partition: usize, index: u64, taken_ns: u64) -> u64 {
        match self.plan.pace {
            Pace::Scheduled(schedule) => schedule.intended_ns(self.k_of(partition, index)),
            Pace::Unlimited { .. } => taken_ns,
        }
    }

    /// The intended times of a partition's records from the j-th on.
    #[inline]
    fn times(&self, partition: usize, index: u64, taken_ns: u64) -> IntendedTimes {
        match self.plan.pace {
            Pace::Scheduled(schedule) => IntendedTimes::Scheduled(
                schedule.times(self.k_of(partition, index), u64::from(self.plan.partitions)),
            ),
            Pace::Unlimited { .. } => IntendedTimes::Same(taken_ns),
        }
    }

    /// How many records of a partition are intended before `until_ns`, within the load.
    fn due_before(&self, partition: usize, until_ns: u64) -> u64 {
        let until_ns = until_ns.min(self.control.load_end_ns());
        match self.plan.pace {
            Pace::Scheduled(schedule) => share_of_partition(
                schedule.count_before(until_ns),
                partition as u64,
                u64::from(self.plan.partitions),
            ),
            Pace::Unlimited { records_max } => {
                if self.now_ns >= self.control.load_end_ns() {
                    return self.cursors[partition].next;
                }
                share_of_partition(records_max, partition as u64, u64::from(self.plan.partitions))
            }
        }
    }

    fn record_bytes(&self) -> usize {
        self.plan.value_bytes + RECORD_OVERHEAD_BYTES
    }

    fn stream(&self, incarnation: u16) -> StreamKey {
        StreamKey { producer: self.plan.producer, incarnation }
    }

    #[inline]
    fn append(&mut self, partition: usize, index: u64, intended_ns: u64, builder: &mut BatchBuilder) {
        let cursor = &mut self.cursors[partition];
        let identity = Identity {
            flags: 0,
            run: self.plan.run,
            producer: self.plan.producer,
            incarnation: cursor.incarnation,
            partition: partition as u32,
            pseq: cursor.next_pseq,
            intended_ns,
        };
        cursor.next_pseq += 1;
        let spec = RecordSpec {
            timestamp_ms: ((intended_ns + self.plan.unix_minus_monotonic_ns) / 1_000_000) as i64,
            key: None,
            value_bytes: self.plan.value_bytes,
            headers: &[],
        };
        let (body, seed) = (self.plan.body, &cursor.seed);
        builder.append(&spec, |value| {
            body.fill(partition as u32, index, &mut value[IDENTITY_LEN..]);
            // The plan refuses values that are too short for an identity.
            let encoded = gauntlet_verify::identity::encode(&identity, seed, value);
            debug_assert!(encoded.is_ok());
        });
    }

    /// Latency, service time and "ours" of an acked batch.
    fn record_acked(&mut self, settled: &Settled<BatchTag>, turn: Turn<'_>) {
        let BatchTag { first, taken_ns, blocked_ns, .. } = settled.tag;
        let written_ns = settled.first_written_ns.unwrap_or(taken_ns);
        let service_us = latency_us(written_ns, turn.now_ns);
        let mut times = self.times(settled.partition, first, taken_ns);
        let mut intended_ns = times.next_ns();
        let mut left = u64::from(settled.count);
        while left > 0 {
            // Slot by slot: what its records share is counted once.
            let slot_end_ns = slot_end_ns(intended_ns);
            let slot = self.recorder.slot(intended_ns);
            let mut in_slot = 0;
            while in_slot < left && intended_ns < slot_end_ns {
                add_sample(&mut slot.latency, latency_us(intended_ns, turn.now_ns));
                intended_ns = times.next_ns();
                in_slot += 1;
            }
            slot.counts.acked += in_slot;
            add_samples(&mut slot.service, service_us, in_slot);
            left -= in_slot;
        }
        let oldest_ns = self.intended_ns(settled.partition, first, taken_ns) + self.plan.linger_ns;
        let slip = turn.lateness.between_blocked(oldest_ns, taken_ns, blocked_ns);
        if is_ours(sum(slip, turn.lateness.of_answer(written_ns)), 0) {
            self.record_ours(settled, turn);
        }
        self.record_slip(oldest_ns, taken_ns, slip);
        self.recorder.slot(turn.now_ns).counts.acks += u64::from(settled.count);
        self.record_ack_time(settled.partition, turn.now_ns);
        self.wire_bytes += u64::from(settled.wire_bytes);
        self.uncompressed_bytes += u64::from(settled.uncompressed_bytes);
    }

    /// Which records of an acked batch, the oldest of which was late enough because of us, are ours.
    fn record_ours(&mut self, settled: &Settled<BatchTag>, turn: Turn<'_>) {
        let BatchTag { first, taken_ns, blocked_ns, .. } = settled.tag;
        let late_answer = turn.lateness.of_answer(settled.first_written_ns.unwrap_or(taken_ns));
        let count = u64::from(settled.count);
        let group = count.div_ceil(OURS_GROUPS).max(1);
        let mut times = self.times(settled.partition, first, taken_ns);
        let mut ours = false;
        for i in 0..count {
            let intended_ns = times.next_ns();
            if i % group == 0 {
                let due_ns = intended_ns + self.plan.linger_ns;
                let slip = turn.lateness.between_blocked(due_ns, taken_ns, blocked_ns);
                ours = is_ours(sum(slip, late_answer), turn.now_ns.saturating_sub(intended_ns));
            }
            self.recorder.slot(intended_ns).counts.ours += u64::from(ours);
        }
    }

    /// How late the oldest record of a batch left, by cause: what is not ours was the broker's.
    fn record_slip(&mut self, due_ns: u64, taken_ns: u64, ours: Charge) {
        let late_ns = taken_ns.saturating_sub(due_ns);
        let slot = self.recorder.slot(due_ns);
        slot.slip.host_ns = slot.slip.host_ns.max(ours.host_ns);
        slot.slip.gauntlet_ns = slot.slip.gauntlet_ns.max(ours.gauntlet_ns);
        slot.slip.broker_ns = slot.slip.broker_ns.max(late_ns.saturating_sub(ours.total_ns()));
    }

    fn record_ack_time(&mut self, partition: usize, now_ns: u64) {
        let cursor = &mut self.cursors[partition];
        // A span begins at the last ack of the one before, so that no gap falls between two intervals.
        let begin_ns = cursor.last_ack_ns.unwrap_or(now_ns);
        cursor.acks.get_or_insert_with(|| AckSpan::at(partition, begin_ns)).extend(now_ns);
        cursor.last_ack_ns = Some(now_ns);
    }

    /// Records that ended without an ack: a censored sample at their age, each.
    fn record_unanswered(
        &mut self,
        partition: usize,
        first: u64,
        count: u64,
        taken_ns: u64,
        failed: bool,
        now_ns: u64,
    ) {
        for i in 0..count {
            let intended_ns = self.intended_ns(partition, first + i, taken_ns);
            let age_us = latency_us(intended_ns, now_ns);
            let slot = self.recorder.slot(intended_ns);
            if failed {
                slot.counts.failed += 1;
            } else {
                slot.counts.indeterminate += 1;
            }
            add_sample(&mut slot.latency, age_us);
            add_sample(slot.censored.get_or_insert_with(latency_histogram), age_us);
        }
    }

    fn send_interval(&mut self, at_ns: u64, lateness: Charge, stats: &ProducerStats) {
        let interval = Interval {
            origin: Origin::Producer(self.plan.producer),
            at_ns,
            slots: self.recorder.take(),
            wire_bytes: std::mem::take(&mut self.wire_bytes),
            uncompressed_bytes: std::mem::take(&mut self.uncompressed_bytes),
            lateness,
            producer: Some(stats.clone()),
            reader: None,
            lag: Vec::new(),
            acks: self.cursors.iter_mut().filter_map(|c| c.acks.take()).collect(),
        };
        // The collector only goes away when the run is being torn down; nobody is left to tell.
        let _ = self.intervals.send(interval);
    }

    /// Hands over what the last turn counted. Called when the loop has ended.
    pub fn finish(mut self) {
        let (stats, lateness) = (std::mem::take(&mut self.last_stats), self.last_lateness);
        self.send_interval(gauntlet_wire::monotonic_ns(), lateness, &stats);
    }
}

fn sum(a: Charge, b: Charge) -> Charge {
    Charge { host_ns: a.host_ns + b.host_ns, gauntlet_ns: a.gauntlet_ns + b.gauntlet_ns }
}

impl Workload for ProducerLoad {
    type Tag = BatchTag;

    fn next_intended_ns(&self, partition: usize) -> Option<u64> {
        let next = self.cursors[partition].next;
        match self.plan.pace {
            Pace::Scheduled(schedule) => {
                let intended_ns = schedule.intended_ns(self.k_of(partition, next));
                (intended_ns < self.control.load_end_ns()).then_some(intended_ns)
            }
            Pace::Unlimited { .. } => (next < self.due_before(partition, u64::MAX)).then_some(self.now_ns),
        }
    }

    fn due_bytes(&self, partition: usize, now_ns: u64, enough: usize) -> usize {
        let waiting = self.due_before(partition, now_ns + 1).saturating_sub(self.cursors[partition].next);
        let enough_records = enough / self.record_bytes() + 1;
        self.record_bytes() * usize::try_from(waiting).unwrap_or(usize::MAX).min(enough_records)
    }

    fn take(
        &mut self,
        request: &TakeRequest,
        turn: Turn<'_>,
        builder: &mut BatchBuilder,
    ) -> Option<BatchTag> {
        self.now_ns = turn.now_ns;
        let partition = request.partition;
        let due = self.due_before(partition, turn.now_ns + 1);
        let cursor = &mut self.cursors[partition];
        if cursor.incarnation != request.incarnation {
            cursor.incarnation = request.incarnation;
            cursor.next_pseq = 0;
        }
        let tag = BatchTag {
            first: cursor.next,
            first_pseq: cursor.next_pseq,
            incarnation: cursor.incarnation,
            taken_ns: turn.now_ns,
            blocked_ns: request.blocked_since_ns,
        };
        let mut times = self.times(partition, tag.first, self.now_ns);
        let mut index = tag.first;
        while index < due
            && (index == tag.first || builder.bytes() + self.record_bytes() <= request.max_bytes)
        {
            self.append(partition, index, times.next_ns(), builder);
            index += 1;
        }
        if index == tag.first {
            return None;
        }
        self.cursors[partition].next = index;
        self.taken += index - tag.first;
        self.batches += 1;
        if let Some(stumble) = self.plan.stumble.filter(|s| s.after_batches == self.batches) {
            std::thread::sleep(stumble.sleep);
        }
        Some(tag)
    }

    fn expire_unsent(&mut self, partition: usize, before_ns: u64) {
        let first = self.cursors[partition].next;
        // Without a schedule nothing waits that was not taken.
        let until = match self.plan.pace {
            Pace::Scheduled(_) => self.due_before(partition, before_ns),
            Pace::Unlimited { .. } => first,
        };
        if until > first {
            self.cursors[partition].next = until;
            let now_ns = gauntlet_wire::monotonic_ns();
            self.record_unanswered(partition, first, until - first, now_ns, true, now_ns);
        }
    }

    fn settled(&mut self, settled: &Settled<BatchTag>, turn: Turn<'_>) {
        let BatchTag { first, first_pseq, incarnation, taken_ns, .. } = settled.tag;
        let count = u64::from(settled.count);
        let outcome = match settled.outcome {
            BatchOutcome::Acked { base_offset } => {
                self.record_acked(settled, turn);
                Outcome::Acked { base_offset }
            }
            BatchOutcome::Failed { .. } => {
                self.record_unanswered(settled.partition, first, count, taken_ns, true, turn.now_ns);
                Outcome::Failed
            }
            BatchOutcome::Indeterminate { .. } => {
                self.record_unanswered(settled.partition, first, count, taken_ns, false, turn.now_ns);
                Outcome::Indeterminate
            }
            BatchOutcome::Unacknowledged => {
                for i in 0..count {
                    let intended_ns = self.intended_ns(settled.partition, first + i, taken_ns);
                    self.recorder.slot(intended_ns).counts.unacknowledged += 1;
                }
                self.wire_bytes += u64::from(settled.wire_bytes);
                self.uncompressed_bytes += u64::from(settled.uncompressed_bytes);
                Outcome::Unacknowledged
            }
        };
        let settlement =
            Settlement { stream: self.stream(incarnation), first_pseq, count: settled.count, outcome };
        // A reader that is gone has its reason, which the run reports; the settlement is then of no use.
        let _ = self.settlements[settled.partition].send((settled.partition as u32, settlement));
    }

    fn turned(&mut self, turn: Turn<'_>, stats: &ProducerStats) -> u64 {
        self.now_ns = turn.now_ns;
        self.last_lateness = turn.lateness.totals();
        if self.last_stats != *stats {
            self.last_stats.clone_from(stats);
        }
        if turn.now_ns >= self.next_interval_ns {
            self.next_interval_ns = (turn.now_ns / self.interval_ns + 1) * self.interval_ns;
            self.send_interval(turn.now_ns, turn.lateness.totals(), stats);
        }
        self.next_interval_ns
    }

    fn give_up_ns(&self) -> Option<u64> {
        Some(self.control.give_up_ns())
    }
}
