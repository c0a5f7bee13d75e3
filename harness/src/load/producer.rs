//! One producer's records: which are due, how they look, and what became of them.

use std::cell::Cell;
use std::sync::Arc;

use crossbeam_channel::Sender;
use gauntlet_verify::compaction::KeyId;
use gauntlet_verify::{CrcSeed, Identity, Outcome, Settlement, StreamKey};
use gauntlet_wire::batch::BatchBuilder;
use gauntlet_wire::lateness::Charge;
use gauntlet_wire::producer::{BatchOutcome, ProducerStats, Settled, TakeRequest, Turn, Workload};

use super::control::{AckSpan, Control, Interval, Origin};
use super::records::{RecordMaker, RecordTarget};
use crate::recorder::{
    SharedRecorder, add_sample, add_samples, is_ours, latency_histogram, latency_us, lock, slot_end_ns,
};
use crate::schedule::{ArrivalTimes, Arrivals, Position, Share, Timeline, share_of_partition};

/// When a producer's records are due.
#[derive(Debug, Clone)]
pub enum Pace {
    /// Open model: by the schedule, whatever the broker does.
    Scheduled(Share),
    /// Closed model: as fast as the broker takes them. Latency is then no user's latency.
    Unlimited(Unlimited),
}

/// A closed model.
#[derive(Debug, Clone)]
pub struct Unlimited {
    /// Records of this producer at most.
    pub records_max: u64,
    /// Records that may be under way at once; `None` leaves that to the client's own limits.
    pub slots: Option<u64>,
    /// What part each partition gets, where keys decide that.
    pub shares: Option<Arc<[f64]>>,
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
    /// How they look.
    pub records: RecordMaker,
    /// Intended time of the load's first record, CLOCK_MONOTONIC.
    pub origin_ns: u64,
    /// Leaving this much later than intended is as configured: `linger.ms`, or, where another client lingers by itself, how
    /// often its loop turns.
    pub linger_ns: u64,
    /// Unix time minus CLOCK_MONOTONIC, for record timestamps.
    pub unix_minus_monotonic_ns: u64,
    /// `load.overflow: drop`: so many bytes of records may wait and be under way; what is more is dropped, the oldest first.
    /// `None`: it waits.
    pub room_bytes: Option<u64>,
    /// For tests of "who was the limit?": the thread sleeps once for so long after so many records.
    pub stumble: Option<Stumble>,
}

/// A planted fault of our own sender.
#[derive(Debug, Clone, Copy)]
pub struct Stumble {
    /// After how many records were made: a point of the load, while batches depend on the host.
    pub after_records: u64,
    /// For how long the thread sleeps.
    pub sleep: std::time::Duration,
}

/// A settlement on its way to the checker of its partition; of acked records with the keys, where the checker asks for them.
pub type PartitionSettlement = (u32, Settlement, Option<Box<[KeyId]>>);

struct Cursor {
    /// Next record of this partition to take.
    next: Position,
    /// `None` without schedule.
    arrivals: Option<Arrivals>,
    /// A position behind `next`, and an instant before which all records up to it are intended: what was found by walking
    /// need not be walked again.
    ahead: Cell<(Position, u64)>,
    incarnation: u16,
    next_pseq: u64,
    seed: CrcSeed,
    acks: Option<AckSpan>,
    last_ack_ns: Option<u64>,
}

/// What is remembered of a batch until it ends.
#[derive(Debug, Clone, Copy, Default)]
pub struct BatchTag {
    first: Position,
    /// Number of its first record in its stream.
    pub(crate) first_pseq: u64,
    incarnation: u16,
    taken_ns: u64,
    blocked_ns: Option<u64>,
}

/// How records ended that got no ack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unanswered {
    Failed,
    Indeterminate,
    /// Nobody sent them.
    Dropped,
}

/// Neighbouring records of a partition that ended together.
#[derive(Debug, Clone, Copy)]
struct Span {
    partition: usize,
    first: Position,
    count: u64,
    /// When they were taken, or given up.
    taken_ns: u64,
    /// Since when, at that time, the broker gave no room.
    blocked_ns: Option<u64>,
    /// When their first byte was written, if it was.
    written_ns: Option<u64>,
}

impl Span {
    fn of(settled: &Settled<BatchTag>) -> Self {
        let BatchTag { first, taken_ns, blocked_ns, .. } = settled.tag;
        Span {
            partition: settled.partition,
            first,
            count: u64::from(settled.count),
            taken_ns,
            blocked_ns,
            written_ns: Some(settled.first_written_ns.unwrap_or(taken_ns)),
        }
    }

    /// Whether the record of the span that was intended at `intended_ns` came to its end as late as it did because of us.
    fn is_ours(&self, intended_ns: u64, linger_ns: u64, turn: Turn<'_>) -> bool {
        let due_ns = intended_ns + linger_ns;
        let slip = turn.lateness.between_blocked(due_ns, self.taken_ns, self.blocked_ns);
        let answer = self.written_ns.map_or_else(Charge::default, |written| turn.lateness.of_answer(written));
        is_ours(sum(slip, answer), turn.now_ns.saturating_sub(intended_ns))
    }
}

/// Neighbouring records are judged in groups, each by its first record.
struct Groups {
    size: u64,
    left: u64,
    judgement: bool,
}

impl Groups {
    /// Of so many records.
    fn of(count: u64) -> Self {
        Groups { size: count.div_ceil(OURS_GROUPS).clamp(1, OURS_GROUP_MAX), left: 0, judgement: false }
    }

    /// The judgement of the next record, which `judge` is asked for if it is the first of its group.
    fn judge(&mut self, judge: impl FnOnce() -> bool) -> bool {
        if self.left == 0 {
            (self.left, self.judgement) = (self.size, judge());
        }
        self.left -= 1;
        self.judgement
    }
}

/// The workload of one producer.
pub struct ProducerLoad {
    plan: ProducerPlan,
    control: Arc<Control>,
    cursors: Vec<Cursor>,
    recorder: SharedRecorder,
    settlements: Vec<Sender<PartitionSettlement>>,
    intervals: Sender<Interval>,
    interval_ns: u64,
    next_interval_ns: u64,
    now_ns: u64,
    /// Records that were taken and have not ended.
    under_way: u64,
    /// See [`Workload::patience_ends_ns`].
    patience_ends_ns: u64,
    /// See [`Self::client_lost`]; 0: never.
    client_lost_ns: u64,
    /// Records that were made, those that were taken back and made again as often as they were.
    made: u64,
    key: Vec<u8>,
    wire_bytes: u64,
    uncompressed_bytes: u64,
    last_stats: ProducerStats,
    last_lateness: Charge,
}

/// Without schedule, a partition may be so many records ahead of its share.
const AHEAD_MAX: f64 = 100_000.0;
/// How soon to look again whether t = 0 is known, for a load that begins then.
const LOOK_AGAIN_NS: u64 = 50_000_000;
/// A batch's records are judged "ours or not" in at most so many groups.
const OURS_GROUPS: u64 = 16;
/// So many records at most are judged as one, however many expire together.
const OURS_GROUP_MAX: u64 = 10_000;

/// See [`Cursor::times`].
enum IntendedTimes<'a> {
    Scheduled(ArrivalTimes<'a>),
    Same(u64),
}

impl IntendedTimes<'_> {
    #[inline]
    fn next_ns(&mut self) -> u64 {
        match self {
            // What is asked for was due, so it has a time.
            IntendedTimes::Scheduled(times) => times.next().unwrap_or(u64::MAX),
            IntendedTimes::Same(at_ns) => *at_ns,
        }
    }
}

impl Cursor {
    /// The intended times of the partition's records from a position on; a record without schedule is intended when it is
    /// taken.
    #[inline]
    fn times(&self, line: Timeline, from: Position, taken_ns: u64) -> IntendedTimes<'_> {
        match &self.arrivals {
            Some(arrivals) => IntendedTimes::Scheduled(arrivals.times(line, from)),
            None => IntendedTimes::Same(taken_ns),
        }
    }

    /// The position so many records behind another.
    fn after(&self, from: Position, count: u64) -> Position {
        match &self.arrivals {
            Some(arrivals) => arrivals.skip(from, count),
            None => from.plus(count),
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
            .map(|partition| {
                let arrivals = match &plan.pace {
                    Pace::Scheduled(share) => Some(Arrivals::new(share, u64::from(partition))),
                    Pace::Unlimited(_) => None,
                };
                let next = arrivals.as_ref().map(Arrivals::first).unwrap_or_default();
                (partition, arrivals, next)
            })
            .map(|(partition, arrivals, next)| Cursor {
                next,
                arrivals,
                ahead: Cell::new((next, 0)),
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
            recorder: SharedRecorder::default(),
            settlements,
            intervals,
            interval_ns,
            next_interval_ns: 0,
            now_ns: gauntlet_wire::monotonic_ns(),
            under_way: 0,
            patience_ends_ns: 0,
            client_lost_ns: 0,
            made: 0,
            key: Vec::new(),
            wire_bytes: 0,
            uncompressed_bytes: 0,
            last_stats: ProducerStats::default(),
            last_lateness: Charge::default(),
        }
    }

    /// Counts into a recorder that the other producers of its thread count into, too: what a slot costs, in memory and to add
    /// up, is then a thread's and not a producer's. Whoever is the first to tell of an interval tells for all.
    #[must_use]
    pub fn recording_into(self, recorder: &SharedRecorder) -> Self {
        ProducerLoad { recorder: Arc::clone(recorder), ..self }
    }

    /// The client is lost that had all that is under way in hand: what nobody can tell the end of is counted where that happened,
    /// and not in the quiet just before, which was not broken by it.
    pub fn client_lost(&mut self, now_ns: u64) {
        self.client_lost_ns = now_ns;
    }

    /// Where t = 0 is, as far as that is known.
    fn line(&self) -> Timeline {
        Timeline { origin_ns: self.plan.origin_ns, zero_ns: self.control.zero_ns() }
    }

    /// The first record of a partition that is not intended before `until_ns`, or the one `limit` records on.
    fn due_until(&self, partition: usize, until_ns: u64, limit: u64) -> Position {
        let cursor = &self.cursors[partition];
        let until_ns = until_ns.min(self.control.load_end_ns());
        let Some(arrivals) = &cursor.arrivals else {
            return cursor.next.plus(self.room(partition).min(limit));
        };
        let (ahead, known_ns) = cursor.ahead.get();
        let goes_on = ahead.index >= cursor.next.index && known_ns <= until_ns;
        let from = if goes_on { ahead } else { cursor.next };
        let done = from.index - cursor.next.index;
        if done >= limit && goes_on {
            return ahead;
        }
        let found = arrivals.until(self.line(), from, until_ns, limit - done);
        cursor.ahead.set((found, until_ns));
        found
    }

    /// How many records a closed model would send to a partition now.
    fn room(&self, partition: usize) -> u64 {
        let Pace::Unlimited(Unlimited { records_max, slots, shares }) = &self.plan.pace else { return 0 };
        if self.now_ns >= self.control.load_end_ns() {
            return 0;
        }
        let next = self.cursors[partition].next.index;
        let free = slots.map_or(u64::MAX, |slots| slots.saturating_sub(self.under_way));
        let allowed = match shares {
            None => share_of_partition(*records_max, partition as u64, u64::from(self.plan.partitions)),
            Some(shares) => {
                // Nobody gets far ahead of the one that is furthest behind its share.
                let progress = |(cursor, share): (&Cursor, &f64)| cursor.next.index as f64 / share;
                let behind = self.cursors.iter().zip(shares.iter()).filter(|(_, share)| **share > 0.0);
                let least = behind.map(progress).fold(f64::INFINITY, f64::min);
                (shares[partition] * (least + AHEAD_MAX).min(*records_max as f64)).round() as u64
            }
        };
        allowed.saturating_sub(next).min(free)
    }

    fn stream(&self, incarnation: u16) -> StreamKey {
        StreamKey { producer: self.plan.producer, incarnation }
    }

    /// Latency, service time and "ours" of an acked batch. There is no service time of a client that does not tell when it
    /// writes.
    fn record_acked(&mut self, settled: &Settled<BatchTag>, turn: Turn<'_>) {
        let BatchTag { first, taken_ns, blocked_ns, .. } = settled.tag;
        let written_ns = settled.first_written_ns.unwrap_or(taken_ns);
        let service_us = settled.first_written_ns.map(|written_ns| latency_us(written_ns, turn.now_ns));
        let line = self.line();
        let mut times = self.cursors[settled.partition].times(line, first, taken_ns);
        let mut intended_ns = times.next_ns();
        let oldest_ns = intended_ns + self.plan.linger_ns;
        let mut recorder = lock(&self.recorder);
        let mut left = u64::from(settled.count);
        while left > 0 {
            // Slot by slot: what its records share is counted once.
            let slot_end_ns = slot_end_ns(intended_ns);
            let slot = recorder.slot(intended_ns);
            let mut in_slot = 0;
            while in_slot < left && intended_ns < slot_end_ns {
                add_sample(&mut slot.latency, latency_us(intended_ns, turn.now_ns));
                intended_ns = times.next_ns();
                in_slot += 1;
            }
            slot.counts.acked += in_slot;
            if let Some(service_us) = service_us {
                add_samples(&mut slot.service, service_us, in_slot);
            }
            left -= in_slot;
        }
        recorder.slot(turn.now_ns).counts.acks += u64::from(settled.count);
        drop(recorder);
        let slip = turn.lateness.between_blocked(oldest_ns, taken_ns, blocked_ns);
        if is_ours(sum(slip, turn.lateness.of_answer(written_ns)), 0) {
            self.record_ours(settled, turn);
        }
        self.record_slip(oldest_ns, taken_ns, slip);
        self.record_ack_time(settled.partition, turn.now_ns);
        self.wire_bytes += u64::from(settled.wire_bytes);
        self.uncompressed_bytes += u64::from(settled.uncompressed_bytes);
    }

    /// Which records of an acked batch, the oldest of which was late enough because of us, are ours.
    fn record_ours(&mut self, settled: &Settled<BatchTag>, turn: Turn<'_>) {
        let batch = Span::of(settled);
        let line = self.line();
        let mut times = self.cursors[batch.partition].times(line, batch.first, batch.taken_ns);
        let mut recorder = lock(&self.recorder);
        let mut groups = Groups::of(batch.count);
        for _ in 0..batch.count {
            let intended_ns = times.next_ns();
            let ours = groups.judge(|| batch.is_ours(intended_ns, self.plan.linger_ns, turn));
            recorder.slot(intended_ns).counts.ours += u64::from(ours);
        }
    }

    /// Writes due records of a partition up to `until` into a batch; how many.
    fn fill(
        &mut self,
        partition: usize,
        until: u64,
        max_bytes: usize,
        target: &mut impl RecordTarget,
    ) -> u64 {
        let line = self.line();
        let Self { plan, cursors, key, now_ns, .. } = self;
        let cursor = &mut cursors[partition];
        let first = cursor.next;
        let mut times = cursor.times(line, first, *now_ns);
        let mut writer = plan.records.writer(partition, &cursor.seed, key);
        let mut identity = Identity {
            flags: 0,
            run: plan.run,
            producer: plan.producer,
            incarnation: cursor.incarnation,
            partition: partition as u32,
            pseq: cursor.next_pseq,
            intended_ns: 0,
        };
        let mut index = first.index;
        while index < until
            && (index == first.index || target.bytes() + plan.records.bytes_of(partition, index) <= max_bytes)
        {
            identity.intended_ns = times.next_ns();
            let timestamp_ms = ((identity.intended_ns + plan.unix_minus_monotonic_ns) / 1_000_000) as i64;
            writer.append(index, &identity, timestamp_ms, target);
            identity.pseq += 1;
            index += 1;
        }
        cursor.next_pseq = identity.pseq;
        cursor.next = cursor.after(first, index - first.index);
        index - first.index
    }

    /// How late the oldest record of a batch left, by cause: what is not ours was the broker's.
    fn record_slip(&mut self, due_ns: u64, taken_ns: u64, ours: Charge) {
        let late_ns = taken_ns.saturating_sub(due_ns);
        let mut recorder = lock(&self.recorder);
        let slot = recorder.slot(due_ns);
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

    /// Records that ended without an ack: a censored sample at their age, each, but for those that nobody sent. `turn` is
    /// `None` when the loop has ended.
    fn record_unanswered(&mut self, span: &Span, how: Unanswered, turn: Option<Turn<'_>>) {
        let now_ns = turn.map_or_else(gauntlet_wire::monotonic_ns, |turn| turn.now_ns);
        let line = self.line();
        let mut times = self.cursors[span.partition].times(line, span.first, span.taken_ns);
        let mut recorder = lock(&self.recorder);
        let mut groups = Groups::of(span.count);
        for _ in 0..span.count {
            let intended_ns = times.next_ns();
            let is_ours = |turn| span.is_ours(intended_ns, self.plan.linger_ns, turn);
            let ours = groups.judge(|| turn.is_some_and(is_ours));
            let age_us = latency_us(intended_ns, now_ns);
            let slot = recorder.slot(match how {
                Unanswered::Indeterminate => intended_ns.max(self.client_lost_ns),
                Unanswered::Failed | Unanswered::Dropped => intended_ns,
            });
            slot.counts.unanswered_ours += u64::from(ours);
            match how {
                Unanswered::Failed => slot.counts.failed += 1,
                Unanswered::Indeterminate => slot.counts.indeterminate += 1,
                Unanswered::Dropped => {
                    slot.counts.dropped += 1;
                    continue;
                }
            }
            add_sample(&mut slot.latency, age_us);
            add_sample(slot.censored.get_or_insert_with(latency_histogram), age_us);
        }
    }

    /// What of a partition is due by `before_ns` will not be written any more.
    fn give_up_unsent(
        &mut self,
        partition: usize,
        before_ns: u64,
        how: Unanswered,
        blocked_ns: Option<u64>,
        turn: Option<Turn<'_>>,
    ) {
        let cursor = &self.cursors[partition];
        // Without a schedule nothing waits that was not taken.
        if cursor.arrivals.is_none() {
            return;
        }
        let first = cursor.next;
        let until = self.due_until(partition, before_ns, u64::MAX);
        if until.index > first.index {
            self.cursors[partition].next = until;
            let taken_ns = turn.map_or_else(gauntlet_wire::monotonic_ns, |turn| turn.now_ns);
            let count = until.index - first.index;
            let span = Span { partition, first, count, taken_ns, blocked_ns, written_ns: None };
            self.record_unanswered(&span, how, turn);
        }
    }

    /// Up to which intended time the oldest waiting records have to go for the others to find room; 0 if all do.
    fn overflow(&self, now_ns: u64) -> u64 {
        let Some(room_bytes) = self.plan.room_bytes else { return 0 };
        let usual_bytes = self.plan.records.usual_bytes() as u64;
        let due = |partition| {
            self.due_until(partition, now_ns + 1, u64::MAX).index - self.cursors[partition].next.index
        };
        let waiting: u64 = (0..self.cursors.len()).map(due).sum();
        let over_bytes = ((self.under_way + waiting) * usual_bytes).saturating_sub(room_bytes);
        let over = over_bytes.div_ceil(usual_bytes).min(waiting);
        let oldest_ns =
            (0..self.cursors.len()).filter_map(|partition| self.next_intended_ns(partition)).min();
        let Some(oldest_ns) = oldest_ns.filter(|_| over > 0) else { return 0 };
        // As if they were spread evenly over the time; the next turn sees how many went.
        let share = over as f64 / waiting as f64;
        oldest_ns + (now_ns.saturating_sub(oldest_ns) as f64 * share) as u64 + 1
    }

    fn send_interval(&mut self, at_ns: u64, is_last: bool, lateness: Charge, stats: &ProducerStats) {
        let interval = Interval {
            is_last,
            slots: lock(&self.recorder).take(),
            wire_bytes: std::mem::take(&mut self.wire_bytes),
            uncompressed_bytes: std::mem::take(&mut self.uncompressed_bytes),
            lateness,
            producer: Some(stats.clone()),
            acks: self.cursors.iter_mut().filter_map(|c| c.acks.take()).collect(),
            ..Interval::empty(Origin::Producer(self.plan.producer), at_ns)
        };
        // The collector only goes away when the run is being torn down; nobody is left to tell.
        let _ = self.intervals.send(interval);
    }

    /// Hands over what the last turn counted. Called when the loop has ended: what was due and never written is *failed*.
    pub fn finish(mut self) {
        for partition in 0..self.cursors.len() {
            self.give_up_unsent(partition, u64::MAX, Unanswered::Failed, None, None);
        }
        let (stats, lateness) = (std::mem::take(&mut self.last_stats), self.last_lateness);
        self.send_interval(gauntlet_wire::monotonic_ns(), true, lateness, &stats);
    }

    /// Writes records of a partition that are due into `target`, at most about `request.max_bytes` of them. `None` if none is.
    pub fn take_into(
        &mut self,
        request: &TakeRequest,
        turn: Turn<'_>,
        target: &mut impl RecordTarget,
    ) -> Option<BatchTag> {
        self.now_ns = turn.now_ns;
        let partition = request.partition;
        // The shortest record there can be is far longer than this.
        let limit = (request.max_bytes / gauntlet_verify::IDENTITY_LEN + 1) as u64;
        let due = self.due_until(partition, turn.now_ns + 1, limit);
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
        let taken = self.fill(partition, due.index, request.max_bytes, target);
        if taken == 0 {
            return None;
        }
        self.under_way += taken;
        let before = self.made;
        self.made += taken;
        if let Some(stumble) = self.plan.stumble
            && (before..self.made).contains(&stumble.after_records)
        {
            std::thread::sleep(stumble.sleep);
        }
        Some(tag)
    }

    /// Takes back all but the first `accepted` of the `taken` records that were taken last, and as `tag`, from a partition:
    /// the client had no room for them. They will be made again.
    pub fn give_back(&mut self, partition: usize, tag: &BatchTag, taken: u64, accepted: u64) {
        let cursor = &mut self.cursors[partition];
        debug_assert_eq!(cursor.next_pseq, tag.first_pseq + taken);
        cursor.next_pseq = tag.first_pseq + accepted;
        cursor.next = cursor.after(tag.first, accepted);
        self.under_way -= taken - accepted;
    }

    /// What stands for the records of a batch from the `skip`th on.
    #[must_use]
    pub fn part_of(&self, partition: usize, tag: &BatchTag, skip: u64) -> BatchTag {
        let first = self.cursors[partition].after(tag.first, skip);
        BatchTag { first, first_pseq: tag.first_pseq + skip, ..*tag }
    }

    /// Number of partitions.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.cursors.len()
    }

    /// What it was made of.
    #[must_use]
    pub fn plan(&self) -> &ProducerPlan {
        &self.plan
    }
}

fn sum(a: Charge, b: Charge) -> Charge {
    Charge { host_ns: a.host_ns + b.host_ns, gauntlet_ns: a.gauntlet_ns + b.gauntlet_ns }
}

impl Workload for ProducerLoad {
    type Tag = BatchTag;

    fn next_intended_ns(&self, partition: usize) -> Option<u64> {
        let cursor = &self.cursors[partition];
        let load_end_ns = self.control.load_end_ns();
        let Some(arrivals) = &cursor.arrivals else {
            let waits = || (self.under_way > 0).then_some(self.now_ns + LOOK_AGAIN_NS);
            return if self.room(partition) > 0 { Some(self.now_ns) } else { waits() };
        };
        let line = self.line();
        match arrivals.intended_ns(line, cursor.next) {
            Some(intended_ns) => (intended_ns < load_end_ns).then_some(intended_ns),
            // Before t = 0 nobody knows when, or whether, there will be one.
            None => (line.zero_ns > load_end_ns || line.zero_ns == u64::MAX)
                .then_some(self.now_ns + LOOK_AGAIN_NS)
                .filter(|at_ns| *at_ns < load_end_ns),
        }
    }

    fn due_bytes(&self, partition: usize, now_ns: u64, enough: usize) -> usize {
        let usual_bytes = self.plan.records.usual_bytes();
        let limit = (enough / usual_bytes + 1) as u64;
        let due = self.due_until(partition, now_ns + 1, limit);
        usual_bytes * (due.index - self.cursors[partition].next.index) as usize
    }

    fn take(
        &mut self,
        request: &TakeRequest,
        turn: Turn<'_>,
        builder: &mut BatchBuilder,
    ) -> Option<BatchTag> {
        self.take_into(request, turn, builder)
    }

    fn patience_ends_ns(&self) -> u64 {
        self.patience_ends_ns
    }

    fn expire_unsent(
        &mut self,
        partition: usize,
        before_ns: u64,
        blocked_since_ns: Option<u64>,
        turn: Turn<'_>,
    ) {
        let dropped = before_ns <= self.patience_ends_ns;
        let how = if dropped { Unanswered::Dropped } else { Unanswered::Failed };
        self.give_up_unsent(partition, before_ns, how, blocked_since_ns, Some(turn));
    }

    fn settled(&mut self, settled: &Settled<BatchTag>, turn: Turn<'_>) {
        let BatchTag { first, first_pseq, incarnation, taken_ns, .. } = settled.tag;
        let count = u64::from(settled.count);
        self.under_way -= count;
        let outcome = match settled.outcome {
            BatchOutcome::Acked { base_offset } => {
                self.record_acked(settled, turn);
                Outcome::Acked { base_offset }
            }
            BatchOutcome::Failed { .. } => {
                self.record_unanswered(&Span::of(settled), Unanswered::Failed, Some(turn));
                Outcome::Failed
            }
            BatchOutcome::Indeterminate { .. } => {
                self.record_unanswered(&Span::of(settled), Unanswered::Indeterminate, Some(turn));
                Outcome::Indeterminate
            }
            BatchOutcome::Unacknowledged => {
                let line = self.line();
                let mut times = self.cursors[settled.partition].times(line, first, taken_ns);
                let mut recorder = lock(&self.recorder);
                for _ in 0..count {
                    recorder.slot(times.next_ns()).counts.unacknowledged += 1;
                }
                drop(recorder);
                self.wire_bytes += u64::from(settled.wire_bytes);
                self.uncompressed_bytes += u64::from(settled.uncompressed_bytes);
                Outcome::Unacknowledged
            }
        };
        // Not the turn's instant, before which an answer that was read in this turn may not have been given.
        let settled_ns = gauntlet_wire::monotonic_ns();
        let stream = self.stream(incarnation);
        let (count, sent_ns) = (settled.count, taken_ns);
        let settlement = Settlement { stream, first_pseq, count, outcome, sent_ns, settled_ns };
        // A reader that is gone has its reason, which the run reports; the settlement is then of no use.
        let keys = match settled.outcome {
            BatchOutcome::Acked { .. } => {
                self.plan.records.key_ids(settled.partition, first.index, settled.count)
            }
            _ => None,
        };
        let _ = self.settlements[settled.partition].send((settled.partition as u32, settlement, keys));
    }

    fn turned(&mut self, turn: Turn<'_>, stats: &ProducerStats) -> u64 {
        self.now_ns = turn.now_ns;
        self.patience_ends_ns = self.overflow(turn.now_ns);
        self.last_lateness = turn.lateness.totals();
        if self.last_stats != *stats {
            self.last_stats.clone_from(stats);
        }
        if turn.now_ns >= self.next_interval_ns {
            self.next_interval_ns = (turn.now_ns / self.interval_ns + 1) * self.interval_ns;
            self.send_interval(turn.now_ns, false, turn.lateness.totals(), stats);
        }
        self.next_interval_ns
    }

    fn give_up_ns(&self) -> Option<u64> {
        Some(self.control.give_up_ns())
    }
}

#[cfg(test)]
mod tests;
