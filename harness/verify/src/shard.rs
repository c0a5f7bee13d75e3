//! The checker of one topic partition.
//!
//! It is told what producers know ([`Shard::settle`]) and what the log holds ([`Shard::begin_batch`],
//! [`Shard::record`], [`Shard::end_batch`]), in whatever order the two arrive. Three ideas keep that
//! exact and cheap:
//!
//! 1. **Runs, not records.** pseq is dense, so neighbouring records are one run, and every rule works on
//!    runs. A record that continues the open run costs a decode, a checksum and three comparisons.
//! 2. **Sets that commute.** Per stream there is a set of what was seen and one of what was settled, per
//!    outcome. Most findings are set algebra over these, so it does not matter which side came first.
//! 3. **Claims meet reads at an offset.** An ack with an offset claims "this record is there". A claim
//!    and a read that agree cancel out and leave no trace. A claim that the reader passed without
//!    meeting its record is *missed*; what that means is decided from the sets, at the end.
//!
//! A healthy partition holds one interval per set and stream, plus what is in flight between ack and
//! read. Memory is bounded: see [`Shard::memory_bound_bytes`] and `shard/limit.rs`.
//!
//! The reader is the *log reader*: one per partition, by assignment, each offset once, ascending.

mod ahead;
mod claims;
mod compacted;
mod corrupt;
mod digest;
mod duplicate;
mod duplicate_after_epoch_bump;
mod excused;
mod expired;
mod failed_but_present;
mod inconsistent_offset;
mod leader_epoch;
mod limit;
mod lost;
mod misrouted;
mod origin;
mod phantom;
mod position_skip;
mod position_step_back;
mod producers;
mod read_disagreement;
mod real_time_order;
mod recent;
mod reorder;
mod sequence_gap;
mod sequence_repeat;
mod stream;
mod tally;
#[cfg(test)]
mod tests;
mod truncated;
mod unseen;
mod watermark;
mod zombie_write;

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::history::{Event, EventLog, ReadRun};
use crate::identity::{CrcSeed, Identity, decode};
use crate::interval_set::IntervalSet;
use crate::outcome::{Outcome, Settlement};
use crate::run::Run;
use crate::summary::Summary;
use crate::window::TruncationWindow;
use crate::witness::Evidence;

use claims::{Claim, Claims};
use digest::{Content, Digests};
use leader_epoch::LeaderEpochs;
use limit::LimitCheck;
use lost::Overwritten;
use origin::ProducerEpoch;
use producers::Producers;
pub use read_disagreement::Reread;
use real_time_order::RealTime;
use recent::RecentReads;
use reorder::Overtaken;
use stream::Streams;
use tally::Tally;
use watermark::WatermarkHistory;
pub use watermark::Watermarks;

/// No log gets there; a broker that names a higher offset is taken to have named this one.
const OFFSET_MAX: i64 = i64::MAX / 2;

/// What a shard has to know about its partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardConfig {
    /// Id of this run, as in every identity.
    pub run: u32,
    /// Name of the topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// Names of the run's other topics: where a misrouted record may have been meant to go.
    pub other_topics: Vec<String>,
    /// This run created the topic, so everything foreign in it is a phantom.
    pub created_by_run: bool,
    /// Every stream is appended in order (idempotent producers): a later record in the log then proves
    /// that an earlier one, acked without an offset, is not to come.
    pub in_order: bool,
    /// Every offset of the log is shown to the reader, in a record, a marker or a batch that can't be read: one that is not was
    /// skipped, and two reads find the same. Not so where a topic is compacted, or where a client that hides markers reads transactions.
    pub gapless: bool,
    /// The log is compacted: an acked record that is not there may have gone by right, and somebody says which are owed ([`Shard::owes`]).
    pub compacted: bool,
    /// The first offset that the reader reads.
    pub start_offset: i64,
    /// How many first, and how many worst, witnesses are kept per class.
    pub witness_limit: usize,
    /// How many fragments (intervals and runs) the state may hold before precision is given up.
    pub fragment_limit: usize,
}

/// Header of a record batch, as far as the rules or the evidence need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchHeader {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Offset of the last record, before any compaction.
    pub last_offset: i64,
    /// Epoch of the leader that appended the batch.
    pub leader_epoch: i32,
    /// Broker-assigned producer id; -1 without idempotence, [`BatchHeader::PRODUCER_NOT_SHOWN`] if a client hands records over
    /// without saying. Then the epoch and the sequence mean nothing either.
    pub producer_id: i64,
    /// Epoch of that id; -1 without idempotence.
    pub producer_epoch: i16,
    /// Sequence number of the first record; -1 without idempotence.
    pub base_sequence: i32,
    /// The batch is a transaction marker and holds no records of producers.
    pub control: bool,
    /// The batch belongs to a transaction.
    pub transactional: bool,
}

impl BatchHeader {
    /// The `producer_id` of records that a client hands over without their batch.
    pub const PRODUCER_NOT_SHOWN: i64 = i64::MIN;
}

impl fmt::Display for BatchHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.producer_id == Self::PRODUCER_NOT_SHOWN {
            return write!(f, "a read of {}..={}", self.base_offset, self.last_offset);
        }
        write!(
            f,
            "batch {}..={} of producer id {} epoch {} base sequence {}, leader epoch {}",
            self.base_offset,
            self.last_offset,
            self.producer_id,
            self.producer_epoch,
            self.base_sequence,
            self.leader_epoch
        )
    }
}

/// How far the log reader got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadEnd {
    /// The next offset that it would have fetched.
    pub position: i64,
    /// The high watermark when reading ended.
    pub end_offset: i64,
    /// `end_offset` was taken after the last ack, with every in-sync replica caught up: nothing at or
    /// above it can still appear. Then an acked offset up there was truncated, so it is lost; otherwise
    /// it is only unseen.
    pub end_is_final: bool,
    /// Our own reader, not the broker, was what kept the position below `end_offset`.
    pub reader_was_limit: bool,
}

impl ReadEnd {
    /// True if everything below the high watermark was read.
    pub(crate) fn is_complete(&self) -> bool {
        self.position >= self.end_offset
    }
}

/// Everything that a shard found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionReport {
    /// Name of the topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// How far reading got.
    pub end: ReadEnd,
    /// Exact counts.
    pub summary: Summary,
    /// The records behind the counts.
    pub evidence: Evidence,
}

/// The checker of one partition. Single-threaded; feed it, then [`Shard::finish`] it.
#[derive(Debug)]
pub struct Shard {
    config: ShardConfig,
    seed: CrcSeed,
    streams: Streams,
    /// The run being read: records that continue it are only counted.
    open: Option<Run>,
    /// Packed key of the open run's stream.
    open_key: u32,
    /// When the latest record of the open run was sent.
    open_sent_ns: u64,
    /// No offset below this will be delivered any more, those of the open run aside.
    position: i64,
    log_start: i64,
    batch: Option<BatchHeader>,
    claims: Claims,
    /// Claims that the reader passed without meeting their record there.
    missed: Vec<Claim>,
    /// Claims at whose offsets another record lies, appended by a later leader than the first, with its batch.
    overwritten: Vec<Overwritten>,
    /// Reads away from the acked offset, for evidence only; bounded.
    displaced: Vec<Run>,
    overtaken: Vec<Overtaken>,
    corrupt_at: IntervalSet,
    expired_at: IntervalSet,
    /// Of a compacted log: acked, passed, and not there without a reason.
    owed_at: IntervalSet,
    leader_epochs: LeaderEpochs,
    producers: Producers,
    real_time: RealTime,
    recent: RecentReads,
    digests: Digests,
    watermarks: WatermarkHistory,
    /// What faults may have cost.
    windows: Vec<TruncationWindow>,
    limit_check: LimitCheck,
    tally: Tally,
    /// What it was told and has not handed over, if it keeps that.
    history: Option<EventLog>,
}

impl Shard {
    /// A shard that knows nothing yet.
    pub fn new(config: ShardConfig) -> Self {
        Self {
            seed: CrcSeed::new(&config.topic, config.partition),
            streams: Streams::default(),
            open: None,
            open_key: 0,
            open_sent_ns: 0,
            position: config.start_offset,
            log_start: 0,
            batch: None,
            claims: Claims::default(),
            missed: Vec::new(),
            overwritten: Vec::new(),
            displaced: Vec::new(),
            overtaken: Vec::new(),
            corrupt_at: IntervalSet::new(),
            expired_at: IntervalSet::new(),
            owed_at: IntervalSet::new(),
            leader_epochs: LeaderEpochs::default(),
            producers: Producers::default(),
            real_time: RealTime::default(),
            recent: RecentReads::default(),
            digests: Digests::new(config.start_offset),
            watermarks: WatermarkHistory::default(),
            windows: Vec::new(),
            limit_check: LimitCheck::default(),
            tally: Tally::new(&config),
            config,
            history: None,
        }
    }

    /// From here on, remembers what it is told until somebody takes it; see [`crate::history`]. Call it first.
    pub fn keep_history(&mut self) {
        let mut history = EventLog::default();
        history.note(&Event::Began(self.config.clone()));
        self.history = Some(history);
    }

    /// What it was told since this was called last; nothing if it does not keep that.
    pub fn take_history(&mut self) -> Vec<u8> {
        self.history.as_mut().map(EventLog::take).unwrap_or_default()
    }

    /// Notes with what it will be asked to [`Shard::finish`], so that this can be taken before.
    pub fn note_end(&mut self, end: &ReadEnd) {
        self.flush();
        self.note(|| Event::Ended(*end));
    }

    /// Notes an event, which is only made if somebody wants it.
    fn note(&mut self, event: impl FnOnce() -> Event) {
        if let Some(history) = &mut self.history {
            history.note(&event());
        }
    }

    /// Makes the call that an event stands for; [`Event::Began`], [`Event::At`], [`Event::Unreadable`] and [`Event::Ended`] stand for none.
    pub(crate) fn tell(&mut self, event: &Event) {
        match event {
            Event::Settled(settlement) => self.settle(settlement),
            Event::Batch(header) => self.begin_batch(header),
            Event::Read(run) => drop(self.read_run(run)),
            Event::Foreign(offset, bytes) => self.note_foreign_record(*offset, *bytes),
            Event::Damaged(offset, value) => drop(self.record(*offset, value)),
            Event::Corrupt(offsets, header, why) => self.corrupt_batch(offsets.clone(), header, why),
            Event::Truncated(end) => self.truncate(*end),
            Event::BatchEnded => self.end_batch(),
            Event::Advanced(position) => self.advance(*position),
            Event::LogStart(offset) => self.log_start(*offset),
            Event::Watermarks(seen) => self.watermarks(seen),
            Event::Window(window) => self.state_window(window),
            Event::Owes(offsets, is_degraded) => self.owes(offsets, *is_degraded),
            Event::KeyLeft(key) => self.key_left(key),
            Event::ReadAgain { from, width, sums } => self.compare_digests(*from, *width, sums.clone()),
            Event::Began(_) | Event::At(_) | Event::Unreadable(_) | Event::Ended(_) => {}
        }
    }

    /// Says what time it is for what follows, CLOCK_MONOTONIC nanoseconds. Nothing but the history knows of it.
    pub fn at(&mut self, now_ns: u64) {
        if self.history.is_some() {
            self.flush();
            self.note(|| Event::At(now_ns));
        }
    }

    /// Notes a batch that can't be read. Nothing but the history knows of it: which of its records are missed shows by itself.
    pub fn unreadable_batch(&mut self, why: &str) {
        self.note(|| Event::Unreadable(why.to_owned()));
    }

    /// Whether every offset of the log is shown.
    pub(crate) fn is_gapless(&self) -> bool {
        self.config.gapless
    }

    /// The run, and the seed of this partition's checksums.
    pub(crate) fn place(&self) -> (u32, CrcSeed) {
        (self.config.run, self.seed)
    }

    /// Takes the outcome of one produced batch. May come before or after its records are read.
    pub fn settle(&mut self, settlement: &Settlement) {
        self.flush();
        self.note(|| Event::Settled(*settlement));
        let stream = self.streams.index_of(settlement.stream);
        let first = settlement.first_pseq;
        let range = first..first.saturating_add(u64::from(settlement.count));
        let pieces = self.fresh_pieces(stream, range);
        for piece in pieces {
            let distance = (piece.start - first) as i64;
            self.settle_piece(stream, piece, settlement, distance);
        }
        self.limit_check.tick();
        self.check_limit();
    }

    /// The parts of `range` that were not settled before and are not retired.
    fn fresh_pieces(&mut self, stream: u32, range: Range<u64>) -> Vec<Range<u64>> {
        let state = self.streams.get(stream);
        let live = range.start.max(state.retired_below).min(range.end)..range.end;
        self.tally.summary.unchecked += live.start - range.start;
        let pieces: Vec<_> = state.settled.missing_in(live.clone()).collect();
        let fresh: u64 = pieces.iter().map(|p| p.end - p.start).sum();
        self.tally.summary.settled_twice += live.end - live.start - fresh;
        pieces
    }

    /// Settles records that were not settled before. `distance` is how far into its batch the piece lies.
    fn settle_piece(&mut self, stream: u32, piece: Range<u64>, settlement: &Settlement, distance: i64) {
        let count = piece.end - piece.start;
        let state = self.streams.get_mut(stream);
        state.settled.insert(piece.clone());
        let summary = &mut self.tally.summary;
        match settlement.outcome {
            Outcome::Acked { base_offset: Some(base) } if base >= 0 => {
                summary.acked += count;
                let first_offset = base.min(OFFSET_MAX) + distance;
                let claim = Run { stream, first_pseq: piece.start, first_offset, count };
                self.claim(claim, settlement.settled_ns);
                return;
            }
            Outcome::Acked { .. } => {
                summary.acked += count;
                state.unplaced.insert(piece.clone());
            }
            Outcome::Failed => {
                summary.failed += count;
                state.failed.insert(piece.clone());
                self.note_failed_after_read(stream, piece.clone());
            }
            Outcome::Indeterminate => {
                summary.indeterminate += count;
                state.indeterminate.insert(piece.clone());
            }
            Outcome::Unacknowledged => {
                summary.unacknowledged += count;
                state.unacknowledged.insert(piece.clone());
            }
        }
        // No ack can come any more that these reads would have to be compared with.
        self.streams.get_mut(stream).take_reads(piece);
    }

    /// Begins a batch of the log. Offsets between the position and its first record are gone.
    pub fn begin_batch(&mut self, header: &BatchHeader) {
        self.flush();
        self.note(|| Event::Batch(*header));
        self.tally.summary.batches += 1;
        self.tally.summary.control_batches += u64::from(header.control);
        self.note_leader_epoch(header);
        self.skip_to(header.base_offset);
        self.note_producer(header);
        self.batch = Some(*header);
    }

    /// Takes one record of the batch begun last: its offset and its value, as read.
    ///
    /// Returns its identity if it is an intact record of this run, for the end-to-end latency.
    #[inline]
    pub fn record(&mut self, offset: i64, value: &[u8]) -> Option<Identity> {
        match decode(value, self.config.run, &self.seed) {
            Ok(identity) => self.note_read(offset, &identity).then_some(identity),
            Err(error) => {
                self.note_unreadable(offset, value, error);
                None
            }
        }
    }

    #[inline]
    fn note_read(&mut self, offset: i64, identity: &Identity) -> bool {
        let key = identity.stream().packed();
        if let Some(open) = &mut self.open
            && self.open_key == key
            && open.end_pseq() == identity.pseq
            && open.end_offset() == offset
            && identity.pseq != u64::MAX
        {
            open.count += 1;
            self.open_sent_ns = self.open_sent_ns.max(identity.intended_ns);
            return true;
        }
        self.open_run(offset, identity)
    }

    /// Starts a new run; false if the record was handed in before.
    fn open_run(&mut self, offset: i64, identity: &Identity) -> bool {
        let (stream, first_pseq, sent_ns) = (identity.stream(), identity.pseq, identity.intended_ns);
        self.read_run(&ReadRun { stream, first_pseq, first_offset: offset, count: 1, sent_ns })
    }

    /// Takes neighbouring records as one; false if the first was handed in before.
    fn read_run(&mut self, read: &ReadRun) -> bool {
        self.flush();
        if !self.is_next(read.first_offset) {
            self.note(|| Event::Read(*read));
            return false;
        }
        if read.first_pseq == u64::MAX {
            // No dense sequence gets there, and the intervals below end past their last value.
            self.note(|| Event::Read(*read));
            let content = Content::of_stream(read.stream, read.first_pseq, read.first_offset);
            self.take_one(content, read.first_offset);
            self.note_impossible_pseq(read);
            return true;
        }
        self.open_key = read.stream.packed();
        self.open_sent_ns = read.sent_ns;
        let stream = self.streams.index_of(read.stream);
        let ReadRun { first_pseq, first_offset, count, .. } = *read;
        self.open = Some(Run { stream, first_pseq, first_offset, count });
        true
    }

    /// Takes what the reader was handed at one offset and is no record of a stream, or of none that can be.
    fn take_one(&mut self, content: Content, offset: i64) {
        self.note_skip(self.position..offset);
        self.digests.take(content, offset..offset + 1);
        self.pass_to(offset + 1);
    }

    /// Ends the batch: none of its offsets will be delivered again.
    pub fn end_batch(&mut self) {
        self.flush();
        self.note(|| Event::BatchEnded);
        if let Some(batch) = self.batch.take() {
            let end = batch.last_offset.saturating_add(1);
            if !batch.control {
                self.note_skip(self.position..end);
            }
            self.pass_to(end);
        }
        self.check_limit();
    }

    /// Says which offset the reader fetches next. Nothing below will be delivered any more.
    pub fn advance(&mut self, position: i64) {
        self.flush();
        if position > self.position {
            self.note(|| Event::Advanced(position));
        }
        self.skip_to(position);
        self.check_limit();
    }

    /// Says where the broker's log starts. Call it before moving past offsets that are gone.
    pub fn log_start(&mut self, offset: i64) {
        self.note(|| Event::LogStart(offset));
        self.log_start = self.log_start.max(offset);
    }

    /// Counts so far. `lost` and `inconsistent_offsets` may still turn into each other; `unseen`,
    /// `phantom` of unsettled records and `unacknowledged_absent` are only known at the end.
    pub fn summary(&self) -> Summary {
        let mut tally = self.tally.without_evidence();
        if let Some(open) = &self.open {
            tally.summary.checked += open.count;
        }
        self.resolve_missed(&mut tally);
        self.resolve_overtaken(&mut tally);
        self.count_present(&mut tally);
        tally.summary
    }

    /// Judges what is still open and reports.
    pub fn finish(self, end: &ReadEnd) -> PartitionReport {
        self.report(end, true)
    }

    /// Reports when nobody will ever say how it went on. What was read and not settled may well have been sent, and what was acked
    /// and not read may well be there.
    pub(crate) fn break_off(self) -> PartitionReport {
        let position = self.open.as_ref().map_or(self.position, Run::end_offset);
        let end = ReadEnd { position, end_offset: position, end_is_final: false, reader_was_limit: true };
        self.report(&end, false)
    }

    fn report(mut self, end: &ReadEnd, is_over: bool) -> PartitionReport {
        self.flush();
        self.skip_to(end.position);
        let end = ReadEnd { position: self.position, ..*end };
        let mut tally = self.tally.take();
        self.resolve_missed(&mut tally);
        self.resolve_overtaken(&mut tally);
        self.count_present(&mut tally);
        self.resolve_claims_left(&mut tally, &end);
        self.resolve_unplaced(&mut tally, &end);
        if is_over {
            self.resolve_unsettled(&mut tally);
        }
        PartitionReport {
            topic: self.config.topic,
            partition: self.config.partition,
            end,
            summary: tally.summary,
            evidence: tally.evidence,
        }
    }

    /// Applies the rules to the open run.
    fn flush(&mut self) {
        let Some(run) = self.open.take() else { return };
        if self.history.is_some() {
            let stream = self.streams.get(run.stream).key;
            let Run { first_pseq, first_offset, count, .. } = run;
            let sent_ns = self.open_sent_ns;
            self.note(|| Event::Read(ReadRun { stream, first_pseq, first_offset, count, sent_ns }));
        }
        self.note_skip(self.position..run.first_offset);
        let stream = self.streams.get(run.stream).key;
        let content = Content::of_stream(stream, run.first_pseq, run.first_offset);
        self.digests.take(content, run.first_offset..run.end_offset());
        self.position = run.end_offset();
        self.tally.summary.checked += run.count;
        self.real_time.note_sent(run.end_offset(), self.open_sent_ns);
        let mut contradicted = Vec::new();
        let epoch = self.batch.map_or(-1, |batch| batch.leader_epoch);
        let matched = self.claims.meet(&run, epoch, &mut self.missed, &mut contradicted);
        self.note_contradicted(contradicted);
        let retired_below = self.streams.get(run.stream).retired_below;
        if run.first_pseq < retired_below {
            let cut = retired_below.min(run.end_pseq());
            self.tally.summary.unchecked += cut - run.first_pseq;
            if cut < run.end_pseq() {
                self.apply(&run.slice(cut..run.end_pseq()), matched);
            }
        } else {
            self.apply(&run, matched);
        }
        self.judge_met_acks(&run);
    }

    fn apply(&mut self, run: &Run, matched: u64) {
        let state = self.streams.get(run.stream);
        if run.first_pseq < state.seen.end() {
            self.note_duplicates(run);
            self.note_reorders(run);
        }
        self.note_read_after_failed(run);
        self.note_displaced_read(run, matched);
        let epoch = self.batch.map_or(-1, |batch| batch.leader_epoch);
        self.recent.note(run, epoch, &self.streams.get(run.stream).seen);
        let origin = ProducerEpoch::of(self.batch.as_ref());
        let state = self.streams.get_mut(run.stream);
        state.remember_read(run);
        state.origins.note(run.pseqs(), origin, state.seen.end());
        state.seen.insert(run.pseqs());
        self.limit_check.tick();
    }

    /// Moves the position over offsets that the reader was given, or that a batch once held.
    fn pass_to(&mut self, position: i64) {
        if position > self.position {
            self.claims.take_below(position, self.leader_epochs.now(), &mut self.missed);
            self.digests.pass(position);
            self.position = position;
            self.real_time.pass(position);
        }
    }

    /// Moves the position over offsets that the reader was not given.
    fn skip_to(&mut self, position: i64) {
        if position > self.position {
            self.producers.forget_sequences();
            self.note_expired(self.position..position);
            self.note_skip(self.position..position);
            self.pass_to(position);
        }
    }
}
