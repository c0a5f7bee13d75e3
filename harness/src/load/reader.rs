//! What is done with every record that is read: decoded, timed, and handed to the checker of its partition.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crossbeam_channel::{Receiver, Sender};
use gauntlet_verify::compaction::{KeyId, Owed};
use gauntlet_verify::identity::intended_ns_unchecked;
use gauntlet_verify::{
    BatchHeader as CheckedHeader, Outcome, PartitionReport, ReadEnd, Shard, ShardConfig, Watermarks,
};
use gauntlet_wire::batch::{BatchError, BatchHeader, RecordView, RecordsBuffer};
use gauntlet_wire::fetcher::{Broken, FetcherStats, Jump, PartitionState, ReadFrom, RecordSink};
use gauntlet_wire::lateness::Charge;
use gauntlet_wire::producer::Turn;

use super::control::{Control, Interval, Origin};
use super::producer::PartitionSettlement;
use super::records::{IDENTITY_HEADER, key_id};
use crate::plan::ReadWindow;
use crate::recorder::{Recorder, add_sample, is_ours, latency_us};
use crate::run::excuses::Windows;

/// Where each partition's log ends, once that is known. `-1` until then.
#[derive(Debug)]
pub struct EndOffsets(Vec<AtomicI64>);

impl EndOffsets {
    /// Of a topic with so many partitions; nothing known.
    pub fn unknown(partitions: u32) -> Self {
        EndOffsets((0..partitions).map(|_| AtomicI64::new(-1)).collect())
    }

    /// Sets what is now known to be final.
    pub fn set(&self, ends: &BTreeMap<i32, i64>) {
        for (partition, end) in ends {
            if let Some(slot) = usize::try_from(*partition).ok().and_then(|p| self.0.get(p)) {
                slot.store(*end, Ordering::Release);
            }
        }
    }

    fn get(&self, partition: usize) -> Option<i64> {
        self.0.get(partition).map(|o| o.load(Ordering::Acquire)).filter(|o| *o >= 0)
    }
}

/// Everything that a reader has to know.
#[derive(Debug, Clone)]
pub struct ReaderPlan {
    /// Index of the reader.
    pub reader: u16,
    /// Id of the run.
    pub run: u32,
    /// Topic that is read.
    pub topic: String,
    /// Where identities may be besides in front of values.
    pub elsewhere: Elsewhere,
    /// One checker per partition; `None` with `verify: off`.
    pub check: Option<CheckPlan>,
    /// Partitions to read, and the offset to begin at, or to go on at after a rest.
    pub assigned: BTreeMap<usize, i64>,
    /// When it reads.
    pub window: ReadWindow,
}

/// Where the identities of a topic's records may be besides in front of values: where the run's producers put them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// In a record header, where a record has it.
    pub in_header: bool,
    /// They are the keys, all of them.
    pub in_key: bool,
}

impl Elsewhere {
    /// The identity of a record that has its identity as its key or in a header.
    #[inline]
    pub(crate) fn of<'r>(self, record: &RecordView<'r>) -> Option<&'r [u8]> {
        if self.in_key {
            return record.key;
        }
        if !self.in_header {
            return None;
        }
        record.headers().find(|(name, _)| *name == IDENTITY_HEADER.as_bytes()).and_then(|(_, value)| value)
    }
}

/// A record as a client hands it over: offset, identity if that is not in front of the value, and value.
pub type ReadRecord<'a> = (i64, Option<&'a [u8]>, &'a [u8]);

/// What the checkers have to know.
#[derive(Debug, Clone)]
pub struct CheckPlan {
    /// The run's other topics.
    pub other_topics: Vec<String>,
    /// Whether the run created the topic.
    pub created_by_run: bool,
    /// Whether every stream is appended in order.
    pub in_order: bool,
    /// Whether the readers are shown every offset of the log.
    pub gapless: bool,
    /// The topic is compacted, and the checker of a partition may hold so many keys.
    pub compacted_keys: Option<usize>,
    /// Examples kept per class.
    pub examples_max: usize,
    /// Fragments that a checker may hold.
    pub fragments_max: usize,
    /// What the checkers are told goes along with every interval.
    pub keep_history: bool,
}

/// What was read of a partition, for whoever reads it again.
#[derive(Debug)]
pub struct FirstRead {
    /// Its index.
    pub partition: usize,
    /// Where identities are.
    pub elsewhere: Elsewhere,
    /// Of a compacted topic: the latest offset of every key that was seen.
    pub keys: Option<Vec<(KeyId, i64)>>,
}

struct Partition {
    shard: Option<Shard>,
    /// What a compacted log owes.
    owed: Option<Owed>,
    state: Option<PartitionState>,
    position: i64,
    /// Leader epoch of the last batch below the position; -1: not known.
    last_epoch: i32,
    log_start: i64,
    broken_batches: u64,
}

/// The sink of one reader thread.
pub struct Reader {
    plan: ReaderPlan,
    control: Arc<Control>,
    ends: Arc<EndOffsets>,
    partitions: BTreeMap<usize, Partition>,
    settlements: Receiver<PartitionSettlement>,
    intervals: Sender<Interval>,
    interval_ns: u64,
    next_interval_ns: u64,
    recorder: Recorder,
    buffer: RecordsBuffer,
    /// Identity and value of a record whose identity is not in its value.
    apart: Vec<u8>,
    last_stats: FetcherStats,
    /// Of the clients before this one: each rest ends one.
    earlier_stats: FetcherStats,
    last_lateness: Charge,
    broken: Vec<String>,
    lag_samples: Vec<(u64, u64)>,
    next_lag_ns: u64,
}

/// How often the lag is looked at.
const LAG_EVERY_NS: u64 = 100_000_000;

/// Broken batches that are described in words; more are only counted.
const BROKEN_DESCRIBED_MAX: usize = 8;

/// What a reader knows when it has ended.
pub struct ReaderEnd {
    /// The report of each partition that was checked.
    pub reports: Vec<PartitionReport>,
    /// Batches that could not be read, described.
    pub broken: Vec<String>,
    /// Number of batches that could not be read.
    pub broken_batches: u64,
}

impl Reader {
    /// `settlements` is where producers send what became of the batches of the assigned partitions.
    pub fn new(
        plan: ReaderPlan,
        control: Arc<Control>,
        ends: Arc<EndOffsets>,
        settlements: Receiver<PartitionSettlement>,
        intervals: Sender<Interval>,
        interval_ns: u64,
    ) -> Self {
        let partitions = plan
            .assigned
            .iter()
            .map(|(&partition, &start)| {
                let shard = plan.check.as_ref().map(|check| shard(&plan, check, partition, start));
                let keys_max = plan.check.as_ref().and_then(|check| check.compacted_keys);
                let partition_state = Partition {
                    shard,
                    owed: keys_max.map(|keys_max| Owed::new(start, keys_max)),
                    state: None,
                    position: start,
                    last_epoch: -1,
                    log_start: 0,
                    broken_batches: 0,
                };
                (partition, partition_state)
            })
            .collect();
        Reader {
            plan,
            control,
            ends,
            partitions,
            settlements,
            intervals,
            interval_ns,
            next_interval_ns: 0,
            recorder: Recorder::default(),
            buffer: RecordsBuffer::default(),
            apart: Vec::new(),
            last_stats: FetcherStats::default(),
            earlier_stats: FetcherStats::default(),
            last_lateness: Charge::default(),
            broken: Vec::new(),
            lag_samples: Vec::new(),
            next_lag_ns: 0,
        }
    }

    fn accept_settlements(&mut self) {
        while let Ok((partition, settlement, keys)) = self.settlements.try_recv() {
            let Some(partition) = self.partitions.get_mut(&(partition as usize)) else { continue };
            if let Some(shard) = &mut partition.shard {
                shard.settle(&settlement);
            }
            if let (Some(owed), Outcome::Acked { base_offset: Some(base) }) =
                (&mut partition.owed, settlement.outcome)
            {
                let offsets = (base..).take_while(|_| base >= 0);
                keys.iter().flatten().zip(offsets).for_each(|(key, offset)| owed.acked(*key, offset));
            }
        }
    }

    fn lag(&self) -> u64 {
        self.partitions
            .values()
            .filter_map(|p| p.state)
            .map(|s| u64::try_from(s.high_watermark - s.position).unwrap_or(0))
            .sum()
    }

    /// What the checkers were told since this was called last, by partition.
    fn take_history(&mut self) -> Vec<(u32, Vec<u8>)> {
        let shards = self.partitions.iter_mut().filter_map(|(index, p)| Some((*index, p.shard.as_mut()?)));
        let told = shards.map(|(index, shard)| (index as u32, shard.take_history()));
        told.filter(|(_, events)| !events.is_empty()).collect()
    }

    fn send_interval(&mut self, at_ns: u64, is_last: bool) {
        self.lag_samples.push((at_ns, self.lag()));
        let interval = Interval {
            is_last,
            slots: self.recorder.take(),
            lateness: self.last_lateness,
            reader: Some(self.last_stats.clone()),
            lag: std::mem::take(&mut self.lag_samples),
            history: self.take_history(),
            ..Interval::empty(Origin::Reader(self.plan.reader), at_ns)
        };
        // The collector only goes away when the run is being torn down; nobody is left to tell.
        let _ = self.intervals.send(interval);
    }

    /// Consecutive records of a partition, up to and with `last_offset`, from a client that shows no batches. All were
    /// appended under `leader_epoch` (-1: not known). Offsets that it left out count as read and not there.
    pub fn records<'a>(
        &mut self,
        partition: usize,
        leader_epoch: i32,
        last_offset: i64,
        records: impl Iterator<Item = ReadRecord<'a>>,
        turn: Turn<'_>,
    ) {
        let Some(state) = self.partitions.get_mut(&partition) else { return };
        let arrived = Arrived::now(self.plan.run, turn);
        if let Some(shard) = &mut state.shard {
            shard.at(arrived.decoded_ns);
            shard.begin_batch(&CheckedHeader {
                base_offset: state.position,
                last_offset,
                leader_epoch,
                producer_id: CheckedHeader::PRODUCER_NOT_SHOWN,
                producer_epoch: -1,
                base_sequence: -1,
                control: false,
                transactional: false,
            });
        }
        let mut read = 0;
        for (offset, identity, value) in records {
            let value = joined(identity, value, &mut self.apart);
            read += note_record(state, &mut self.recorder, arrived, offset, value);
        }
        self.recorder.slot(arrived.decoded_ns).counts.reads += read;
        self.pass(partition, last_offset);
    }

    /// A batch of a partition that can't be read, and why not.
    pub fn note_broken(&mut self, partition: usize, why: &dyn std::fmt::Display) {
        if let Some(state) = self.partitions.get_mut(&partition) {
            state.broken_batches += 1;
            if let Some(shard) = &mut state.shard {
                shard.unreadable_batch(&why.to_string());
            }
        }
        if self.broken.len() < BROKEN_DESCRIBED_MAX {
            self.broken.push(format!("{}-{partition}: {why}", self.plan.topic));
        }
    }

    /// A batch whose checksum is right, and that can't be taken apart: what is left of it is skipped.
    fn undecodable(
        &mut self,
        partition: usize,
        header: &BatchHeader,
        from_offset: i64,
        error: &BatchError,
        turn: Turn<'_>,
    ) {
        let offsets = header.base_offset.max(from_offset)..header.last_offset() + 1;
        self.broken(partition, &Broken { error, header: Some(header), offsets }, turn);
    }

    /// The high watermark of a partition, from a client that does not tell which replica said so: for the lag only.
    pub fn note_high_watermark(&mut self, partition: usize, high_watermark: i64) {
        let Some(state) = self.partitions.get_mut(&partition) else { return };
        state.state = Some(PartitionState {
            position: state.position,
            high_watermark,
            last_stable_offset: -1,
            log_start_offset: -1,
            leader: -1,
            leader_epoch: -1,
        });
    }

    /// The offset that a partition is read from next; `None` if it is not read here.
    #[must_use]
    pub fn position(&self, partition: usize) -> Option<i64> {
        self.partitions.get(&partition).map(|state| state.position)
    }

    /// Whether it is not to read now, and will be later.
    #[must_use]
    pub fn rests(&self, now_ns: u64) -> bool {
        self.plan.window.rests(now_ns, self.control.zero_ns(), self.control.load_end_ns())
    }

    /// Whether nothing is left to read, or no time.
    #[must_use]
    pub fn is_done(&self, now_ns: u64) -> bool {
        let at_end =
            |(index, p): (&usize, &Partition)| self.ends.get(*index).is_some_and(|end| p.position >= end);
        now_ns >= self.control.read_until_ns() || self.partitions.iter().all(at_end)
    }

    /// What a client has read is over; the next one goes on where it was.
    pub fn rest(&mut self) {
        self.plan.assigned = self.partitions.iter().map(|(index, p)| (*index, p.position)).collect();
        self.earlier_stats.clone_from(&self.last_stats);
    }

    /// Where gauntlet's own client has to go on.
    #[must_use]
    pub fn reads_from(&self) -> BTreeMap<usize, ReadFrom> {
        let from = |p: &Partition| ReadFrom { offset: p.position, last_epoch: p.last_epoch };
        self.partitions.iter().map(|(index, partition)| (*index, from(partition))).collect()
    }

    /// What is read, and from where.
    #[must_use]
    pub fn plan(&self) -> &ReaderPlan {
        &self.plan
    }

    /// Everything of a partition up to an offset has been handed in.
    fn pass(&mut self, partition: usize, last_offset: i64) {
        if let Some(state) = self.partitions.get_mut(&partition) {
            state.position = last_offset + 1;
            if let Some(owed) = &mut state.owed {
                owed.pass(state.position);
            }
            if let Some(shard) = &mut state.shard {
                shard.end_batch();
                shard.advance(state.position);
            }
        }
    }

    /// Judges what was read. Called when the loop has ended and every producer is done.
    ///
    /// `end_is_final`: the end offsets were taken after the last ack with every replica in sync.
    /// `windows`: what faults may have cost partitions, this reader's and others'. `read_again` gets every checker, to have parts of its
    /// partition's log read again and compared.
    pub fn finish(
        mut self,
        end_is_final: bool,
        reader_was_limit: bool,
        windows: &Windows,
        mut read_again: impl FnMut(FirstRead, &mut Shard),
    ) -> ReaderEnd {
        self.accept_settlements();
        let read_end = |index: usize, position: i64| {
            let known_end = self.ends.get(index);
            ReadEnd {
                position,
                end_offset: known_end.unwrap_or(position),
                end_is_final: end_is_final && known_end.is_some(),
                reader_was_limit,
            }
        };
        let mut ends = Vec::new();
        for (index, partition) in &mut self.partitions {
            let end = read_end(*index, partition.position);
            if let Some(shard) = &mut partition.shard {
                let own = windows.iter().filter(|(partition, _)| partition == index);
                own.for_each(|(_, window)| shard.state_window(window));
                let owed = partition.owed.take().map(|owed| owed.finish(end.end_offset));
                if let Some(owed) = &owed {
                    shard.owes(&owed.offsets, owed.degraded);
                }
                let read = FirstRead {
                    partition: *index,
                    elsewhere: self.plan.elsewhere,
                    keys: owed.map(|owed| owed.latest),
                };
                read_again(read, shard);
                shard.note_end(&end);
            }
            ends.push(end);
        }
        self.send_interval(gauntlet_wire::monotonic_ns(), true);
        let broken_batches = self.partitions.values().map(|p| p.broken_batches).sum();
        let shards = self.partitions.into_values().map(|partition| partition.shard);
        let reports = shards.zip(&ends).filter_map(|(shard, end)| Some(shard?.finish(end))).collect();
        ReaderEnd { reports, broken: self.broken, broken_batches }
    }
}

/// The checker of a partition that is read from `start`.
fn shard(plan: &ReaderPlan, check: &CheckPlan, partition: usize, start: i64) -> Shard {
    let mut shard = Shard::new(ShardConfig {
        run: plan.run,
        topic: plan.topic.clone(),
        partition: partition as u32,
        other_topics: check.other_topics.clone(),
        created_by_run: check.created_by_run,
        in_order: check.in_order,
        gapless: check.gapless,
        compacted: check.compacted_keys.is_some(),
        start_offset: start,
        witness_limit: check.examples_max,
        fragment_limit: check.fragments_max,
    });
    if check.keep_history {
        shard.keep_history();
    }
    shard
}

/// Identity and body of a record in one piece: the value, or an identity from elsewhere and then the value.
#[inline]
pub(crate) fn joined<'a>(identity: Option<&[u8]>, value: &'a [u8], apart: &'a mut Vec<u8>) -> &'a [u8] {
    let Some(identity) = identity else { return value };
    apart.clear();
    apart.extend_from_slice(identity);
    apart.extend_from_slice(value);
    apart
}

/// What records that are decoded together have in common.
#[derive(Debug, Clone, Copy)]
struct Arrived {
    run: u32,
    /// One reading of the clock for all of them.
    decoded_ns: u64,
    /// How late they may be because of us.
    late: Charge,
    ours_possible: bool,
}

impl Arrived {
    fn now(run: u32, turn: Turn<'_>) -> Self {
        let late = turn.lateness.of_answer(0);
        let ours_possible = is_ours(late, 0);
        Arrived { run, decoded_ns: gauntlet_wire::monotonic_ns(), late, ours_possible }
    }
}

/// One record, to the checker and the recorder. Returns 1 if it is one of the run's, 0 if not.
#[inline]
fn note_record(
    state: &mut Partition,
    recorder: &mut Recorder,
    arrived: Arrived,
    offset: i64,
    value: &[u8],
) -> u64 {
    let intended_ns = match &mut state.shard {
        Some(shard) => shard.record(offset, value).map(|identity| identity.intended_ns),
        None => intended_ns_unchecked(value, arrived.run),
    };
    let Some(intended_ns) = intended_ns else { return 0 };
    let slot = recorder.slot(intended_ns);
    slot.counts.read += 1;
    add_sample(&mut slot.e2e, latency_us(intended_ns, arrived.decoded_ns));
    if arrived.ours_possible {
        let age_ns = arrived.decoded_ns.saturating_sub(intended_ns);
        slot.counts.read_ours += u64::from(is_ours(arrived.late, age_ns));
    }
    1
}

/// The checker's view of a batch header.
fn checked(header: &BatchHeader) -> CheckedHeader {
    CheckedHeader {
        base_offset: header.base_offset,
        last_offset: header.last_offset(),
        leader_epoch: header.leader_epoch,
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        control: header.is_control(),
        transactional: header.is_transactional(),
    }
}

impl RecordSink for Reader {
    fn batch(
        &mut self,
        partition: usize,
        header: &BatchHeader,
        batch: &[u8],
        from_offset: i64,
        turn: Turn<'_>,
    ) {
        let Some(state) = self.partitions.get_mut(&partition) else { return };
        state.last_epoch = header.leader_epoch;
        // Read once per batch and before the checker: the checker's own time is nobody's latency.
        let arrived = Arrived::now(self.plan.run, turn);
        if let Some(shard) = &mut state.shard {
            shard.at(arrived.decoded_ns);
            shard.begin_batch(&checked(header));
        }
        let mut records = match header.records(batch, &mut self.buffer) {
            Ok(records) => records,
            Err(error) => return self.undecodable(partition, header, from_offset, &error, turn),
        };
        let mut read = 0;
        loop {
            match records.next_record() {
                Ok(Some(record)) => {
                    if record.offset < from_offset || header.is_control() {
                        continue;
                    }
                    if let (Some(owed), Some(key)) = (&mut state.owed, record.key) {
                        owed.read(key_id(key), record.offset);
                    }
                    let value = record.value.unwrap_or_default();
                    let value = joined(self.plan.elsewhere.of(&record), value, &mut self.apart);
                    read += note_record(state, &mut self.recorder, arrived, record.offset, value);
                }
                Ok(None) => break,
                Err(error) => {
                    self.recorder.slot(arrived.decoded_ns).counts.reads += read;
                    return self.undecodable(partition, header, from_offset, &error, turn);
                }
            }
        }
        self.recorder.slot(arrived.decoded_ns).counts.reads += read;
        self.pass(partition, header.last_offset());
    }

    fn broken(&mut self, partition: usize, broken: &Broken<'_>, _turn: Turn<'_>) {
        self.note_broken(partition, broken.error);
        let (Some(header), Some(state)) = (broken.header, self.partitions.get_mut(&partition)) else {
            return;
        };
        state.position = state.position.max(broken.offsets.end);
        if let Some(owed) = &mut state.owed {
            owed.pass(state.position);
        }
        if let Some(shard) = &mut state.shard {
            shard.corrupt_batch(broken.offsets.clone(), &checked(header), &broken.error.to_string());
        }
    }

    fn jumped(&mut self, partition: usize, _from: i64, to: i64, why: Jump) {
        let Some(state) = self.partitions.get_mut(&partition) else { return };
        state.position = to;
        state.last_epoch = -1;
        match (&mut state.owed, why) {
            (Some(owed), Jump::Expired) => owed.pass(to),
            (Some(owed), Jump::Truncated) => owed.truncated(to),
            (None, _) => {}
        }
        match (&mut state.shard, why) {
            (Some(shard), Jump::Expired) => {
                shard.log_start(to);
                shard.advance(to);
            }
            (Some(shard), Jump::Truncated) => shard.truncate(to),
            (None, _) => {}
        }
    }

    fn state(&mut self, partition: usize, seen: &PartitionState) {
        let Some(state) = self.partitions.get_mut(&partition) else { return };
        state.state = Some(*seen);
        // A leader that was just elected may not know its high watermark yet (KIP-207).
        let known = seen.high_watermark >= 0 && seen.last_stable_offset >= 0;
        if let Some(owed) = state.owed.as_mut().filter(|_| known) {
            owed.high_watermark(seen.high_watermark);
        }
        if let Some(shard) = state.shard.as_mut().filter(|_| known) {
            shard.watermarks(&Watermarks {
                replica: seen.leader,
                leader_epoch: seen.leader_epoch,
                high_watermark: seen.high_watermark,
                last_stable_offset: seen.last_stable_offset,
            });
            if seen.log_start_offset > state.log_start {
                state.log_start = seen.log_start_offset;
                shard.log_start(seen.log_start_offset);
            }
        }
    }

    fn turned(&mut self, turn: Turn<'_>, stats: &FetcherStats) -> u64 {
        self.accept_settlements();
        self.last_lateness = turn.lateness.totals();
        if turn.now_ns >= self.next_lag_ns {
            self.next_lag_ns = turn.now_ns + LAG_EVERY_NS;
            self.lag_samples.push((turn.now_ns, self.lag()));
        }
        let is_due = turn.now_ns >= self.next_interval_ns;
        if is_due || self.rests(turn.now_ns) {
            self.last_stats.clone_from(&self.earlier_stats);
            self.last_stats.add(stats);
        }
        if is_due {
            self.next_interval_ns = (turn.now_ns / self.interval_ns + 1) * self.interval_ns;
            self.send_interval(turn.now_ns, false);
        }
        self.next_interval_ns
    }

    fn finished(&self, now_ns: u64) -> bool {
        self.is_done(now_ns) || self.rests(now_ns)
    }
}
