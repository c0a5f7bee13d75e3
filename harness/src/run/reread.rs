//! Reads parts of the logs again when a run is drained: around every leader change and every fault, for the checkers to hold against what
//! they were told at first.
//!
//! By blocking calls of gauntlet's own client, whichever client read before: one partition after the other. Each has its share of the time
//! that is left, and begins with its shortest parts. What could not be read again is not compared, and the run says so.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use gauntlet_chaos::fault::FaultRecord;
use gauntlet_verify::compaction::{Compaction, KeyId, PassEnd};
use gauntlet_verify::{Reread, Shard};
use gauntlet_wire::admin::connect_first;
use gauntlet_wire::batch::{BatchError, BatchHeader, RecordsBuffer, end_of_damaged, next_batch};
use gauntlet_wire::fetch::{FetchFrom, FetchLimits, Fetched};
use gauntlet_wire::{ConnectOptions, Connection, ErrorCode, OffsetSpec, WireError};

use super::Interrupt;
use crate::load::reader::{Elsewhere, FirstRead, joined};
use crate::load::records::key_id;

/// For all partitions of all topics together.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(20);
/// Records that were sent so long before a fault, or after its end, are read again too.
const AROUND_FAULT_MS: i64 = 1_000;
/// So many answers in a row without a record, where there should be one, are enough.
const EMPTY_MAX: u32 = 3;
/// So many reasons are kept word for word; of the others, how many there were.
const REASONS_MAX: usize = 5;
const LIMITS: FetchLimits =
    FetchLimits { bytes: 16 << 20, partition_bytes: 16 << 20, wait: Duration::from_millis(100) };

/// Why reading again came to an end before its end. The checkers compare what was read until then.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error("no leader")]
    NoLeader,
    #[error("the broker answers {0}")]
    Refused(ErrorCode),
    #[error("answers without a record at offset {0}, where the log has one")]
    Empty(i64),
    #[error("there was no time")]
    Late,
    #[error("interrupted")]
    Interrupted,
}

/// How to ask about one partition.
#[derive(Clone, Copy)]
struct Place<'t> {
    topic: &'t str,
    partition: i32,
}

/// The logs of a run, to be read again.
pub(super) struct LogsAgain<'a> {
    bootstrap: &'a [String],
    options: &'a ConnectOptions,
    interrupt: &'a Interrupt,
    /// When faults acted, milliseconds since the Unix epoch.
    faults: Vec<Range<i64>>,
    /// Partitions that are still to come.
    left: u32,
    /// When all have to be done, and the one under way.
    ends: Instant,
    deadline: Instant,
    /// Addresses of the leaders of a topic's partitions, once they are known.
    leaders: BTreeMap<String, BTreeMap<i32, String>>,
    connections: BTreeMap<String, Connection>,
    buffer: RecordsBuffer,
    apart: Vec<u8>,
    trouble: Vec<String>,
    more_trouble: usize,
    /// Partitions for which there was no time.
    left_out: usize,
    is_interrupted: bool,
}

impl<'a> LogsAgain<'a> {
    /// Of `partitions` logs, in `limit` at most. `unix_minus_monotonic_ns`: from the clock of fault records to that of Kafka's.
    pub(super) fn new(
        bootstrap: &'a [String],
        options: &'a ConnectOptions,
        interrupt: &'a Interrupt,
        faults: &[FaultRecord],
        unix_minus_monotonic_ns: u64,
        partitions: usize,
        limit: Duration,
    ) -> Self {
        let ms = |ns: u64| i64::try_from((ns + unix_minus_monotonic_ns) / 1_000_000).unwrap_or(i64::MAX);
        let acted = |record: &FaultRecord| {
            let from = ms(record.injected_ns?) - AROUND_FAULT_MS;
            let until = record.healed_ns.or(record.heal_began_ns).or(record.injected_ns)?;
            Some(from..ms(until) + AROUND_FAULT_MS)
        };
        let ends = Instant::now() + limit;
        LogsAgain {
            bootstrap,
            options,
            interrupt,
            faults: faults.iter().filter_map(acted).collect(),
            left: u32::try_from(partitions).unwrap_or(u32::MAX),
            ends,
            deadline: ends,
            leaders: BTreeMap::new(),
            connections: BTreeMap::new(),
            buffer: RecordsBuffer::default(),
            apart: Vec::new(),
            trouble: Vec::new(),
            more_trouble: 0,
            left_out: 0,
            is_interrupted: false,
        }
    }

    /// What was to be read again and was not, and why, in words.
    pub(super) fn into_trouble(mut self) -> Vec<String> {
        if self.more_trouble > 0 {
            self.trouble.push(format!("{} more partitions could not be read again", self.more_trouble));
        }
        if self.left_out > 0 {
            let (left_out, limit_s) = (self.left_out, TIME_LIMIT.as_secs());
            self.trouble.push(format!(
                "{left_out} partitions were not read again, or not all of what was wanted: there are {limit_s} s for all of them, within \
                 what `verify.final_read.timeout` leaves"
            ));
        }
        if self.is_interrupted {
            self.trouble
                .push("logs were not read again, or not all of what was wanted: interrupted".to_owned());
        }
        self.trouble
    }

    /// The end of a topic's logs is not known, so nothing is read again.
    pub(super) fn leave_out(&mut self, topic: &str) {
        let text = format!("{topic} was not read again: it is not known where its logs end");
        if !self.trouble.contains(&text) {
            self.trouble.push(text);
        }
    }

    /// Has a checker compare what it was told of a partition with what is there now. Whatever goes wrong, the rest is left out.
    pub(super) fn compare(&mut self, topic: &str, first: &FirstRead, shard: &mut Shard) {
        let now = Instant::now();
        let share = self.ends.saturating_duration_since(now) / self.left.max(1);
        self.left = self.left.saturating_sub(1);
        self.deadline = now + share;
        let partition = first.partition;
        let place = Place { topic, partition: partition as i32 };
        let compared = match &first.keys {
            None => self.try_compare(place, first.elsewhere, shard),
            Some(keys) => self.look_for_keys(place, keys, shard),
        };
        match compared {
            Ok(()) => {}
            Err(Stopped::Late) => self.left_out += 1,
            Err(Stopped::Interrupted) => self.is_interrupted = true,
            Err(_) if self.trouble.len() >= REASONS_MAX => self.more_trouble += 1,
            Err(stopped) => {
                self.trouble.push(format!("{topic}-{partition} could not be read again: {stopped}"));
            }
        }
    }

    fn try_compare(
        &mut self,
        place: Place<'_>,
        elsewhere: Elsewhere,
        shard: &mut Shard,
    ) -> Result<(), Stopped> {
        // Where leaders changed is known without any broker.
        let around = self.sent_around_faults(place);
        let mut ranges = shard.to_read_again(around.as_deref().unwrap_or_default());
        ranges.sort_by_key(|range| range.end - range.start);
        for range in ranges {
            let mut again = shard.read_again(&range);
            let read = self.read(place, elsewhere, &mut again);
            shard.compare(again);
            read?;
        }
        around.map(drop)
    }

    /// Reads a compacted log from its start to its high watermark, and has the checker look which keys have lost their latest record. Of a log
    /// that could not be read to its end nothing is said.
    fn look_for_keys(
        &mut self,
        place: Place<'_>,
        keys: &[(KeyId, i64)],
        shard: &mut Shard,
    ) -> Result<(), Stopped> {
        let at = gauntlet_verify::Place { topic: 0, partition: place.partition as u32 };
        let mut compaction = Compaction::new(0, Vec::new(), keys.len(), 0);
        keys.iter().for_each(|(key, latest)| compaction.read(at, *key, *latest, false));
        compaction.pass_began(at);
        let mut position = self.offset_of(place, OffsetSpec::Earliest)?;
        let mut empty = 0;
        let end = loop {
            let fetched = self.fetch(place, position)?;
            match fetched.error {
                ErrorCode::NONE => {}
                refused => return Err(Stopped::Refused(refused)),
            }
            let before = position;
            let mut rest = &fetched.records[..];
            while let Some((header, length)) = next_batch(rest)? {
                let batch;
                (batch, rest) = rest.split_at(length);
                header.verify_crc(batch)?;
                let mut records = header.records(batch, &mut self.buffer)?;
                while let Some(record) = records.next_record()? {
                    if let (Some(key), false) = (record.key, header.is_control()) {
                        compaction.found_left(at, key_id(key), record.offset, record.value.is_none());
                    }
                }
                position = position.max(header.last_offset() + 1);
            }
            if position >= fetched.high_watermark {
                break position;
            }
            empty = if position > before { 0 } else { empty + 1 };
            if empty >= EMPTY_MAX {
                return Err(Stopped::Empty(position));
            }
        };
        let log_start = self.offset_of(place, OffsetSpec::Earliest)?;
        let pass = PassEnd { log_start, end, tombstones_stay: false };
        compaction.pass_ended(at, &pass).iter().for_each(|key| shard.key_left(key));
        Ok(())
    }

    /// Whether there is time to ask once more.
    fn may_go_on(&self) -> Result<(), Stopped> {
        if self.interrupt.is_set() {
            return Err(Stopped::Interrupted);
        }
        if Instant::now() >= self.deadline { Err(Stopped::Late) } else { Ok(()) }
    }

    /// Where the records lie that were sent around the faults, by their timestamps.
    fn sent_around_faults(&mut self, place: Place<'_>) -> Result<Vec<Range<i64>>, Stopped> {
        let mut around = Vec::new();
        for fault in self.faults.clone() {
            let mut first_since = |at_ms: i64| self.offset_of(place, OffsetSpec::Since(at_ms));
            let from = first_since(fault.start)?;
            if from < 0 {
                continue;
            }
            let until = first_since(fault.end)?;
            around.push(from..if until < 0 { i64::MAX } else { until.max(from + 1) });
        }
        Ok(around)
    }

    /// Below 0: there is none.
    fn offset_of(&mut self, place: Place<'_>, spec: OffsetSpec) -> Result<i64, Stopped> {
        let Place { topic, partition } = place;
        let found = self.ask(place, |leader| leader.list_offsets(topic, &[partition], spec))?;
        Ok(found.get(&partition).copied().unwrap_or(-1))
    }

    /// Asks the leader of a partition. After an error that connection is not used any more: a late answer is not that to the next
    /// question.
    fn ask<T>(
        &mut self,
        place: Place<'_>,
        question: impl FnOnce(&mut Connection) -> Result<T, WireError>,
    ) -> Result<T, Stopped> {
        self.may_go_on()?;
        let address = self.leader_of(place)?;
        let mut connection = match self.connections.remove(&address) {
            Some(connection) => connection,
            None => Connection::connect(&address, self.options)?,
        };
        let answer = question(&mut connection);
        match answer {
            Ok(answer) => {
                self.connections.insert(address, connection);
                Ok(answer)
            }
            Err(error) => {
                self.leaders.remove(place.topic);
                Err(error.into())
            }
        }
    }

    fn leader_of(&mut self, place: Place<'_>) -> Result<String, Stopped> {
        let Place { topic, partition } = place;
        if !self.leaders.contains_key(topic) {
            let metadata = connect_first(self.bootstrap, self.options)?.metadata(Some(&[topic]))?;
            let addresses = metadata.addresses();
            let partitions = metadata.topic(topic).map(|t| t.partitions.as_slice()).unwrap_or_default();
            let leaders =
                partitions.iter().filter_map(|p| Some((p.index, addresses.get(&p.leader?)?.clone())));
            self.leaders.insert(topic.to_owned(), leaders.collect());
        }
        self.leaders.get(topic).and_then(|leaders| leaders.get(&partition)).cloned().ok_or(Stopped::NoLeader)
    }

    /// Reads until everything that is wanted was read, or there is no time left.
    fn read(&mut self, place: Place<'_>, elsewhere: Elsewhere, again: &mut Reread) -> Result<(), Stopped> {
        let (mut empty, mut has_moved) = (0, false);
        while let Some(offset) = again.wanted() {
            let fetched = self.fetch(place, offset)?;
            match fetched.error {
                ErrorCode::NONE | ErrorCode::OFFSET_OUT_OF_RANGE => {}
                // Its leader has changed since it was asked for: once, that is no wonder.
                ErrorCode::NOT_LEADER_OR_FOLLOWER if !has_moved => {
                    has_moved = true;
                    self.leaders.remove(place.topic);
                    continue;
                }
                refused => return Err(Stopped::Refused(refused)),
            }
            self.tell(&fetched.records, elsewhere, again)?;
            if again.wanted() != Some(offset) {
                empty = 0;
                continue;
            }
            empty += 1;
            if !self.is_outside(place, offset, again)? && empty >= EMPTY_MAX {
                return Err(Stopped::Empty(offset));
            }
        }
        Ok(())
    }

    fn fetch(&mut self, place: Place<'_>, offset: i64) -> Result<Fetched, Stopped> {
        let Place { topic, partition } = place;
        let from = FetchFrom { partition, offset, leader_epoch: -1 };
        let fetched = self.ask(place, |leader| leader.fetch(topic, &[from], LIMITS))?;
        fetched.into_iter().find(|fetched| fetched.partition == partition).ok_or(Stopped::Empty(offset))
    }

    /// Whether the log does not hold `offset` any more: its begin has been deleted since, or it ends before.
    fn is_outside(&mut self, place: Place<'_>, offset: i64, again: &mut Reread) -> Result<bool, Stopped> {
        let start = self.offset_of(place, OffsetSpec::Earliest)?;
        let end = self.offset_of(place, OffsetSpec::Latest)?;
        if start > offset {
            again.log_start(start);
        } else if (0..=offset).contains(&end) {
            // It was there, or it would not be wanted.
            again.pass(i64::MAX);
        }
        Ok(again.wanted() != Some(offset))
    }

    /// Hands over the batches of an answer.
    fn tell(&mut self, mut rest: &[u8], elsewhere: Elsewhere, again: &mut Reread) -> Result<(), Stopped> {
        while let Some((header, length)) = next_batch(rest)? {
            let batch;
            (batch, rest) = rest.split_at(length);
            let mut end = header.last_offset() + 1;
            if self.tell_batch(&header, batch, elsewhere, again).is_err() {
                end = end_of_damaged(&header, rest);
                let from = again.wanted().unwrap_or(i64::MAX).max(header.base_offset);
                again.corrupt_batch(from..end);
            }
            again.pass(end);
        }
        Ok(())
    }

    fn tell_batch(
        &mut self,
        header: &BatchHeader,
        batch: &[u8],
        elsewhere: Elsewhere,
        again: &mut Reread,
    ) -> Result<(), BatchError> {
        header.verify_crc(batch)?;
        let mut records = header.records(batch, &mut self.buffer)?;
        while let Some(record) = records.next_record()? {
            if header.is_control() {
                continue;
            }
            let value = record.value.unwrap_or_default();
            again.record(record.offset, joined(elsewhere.of(&record), value, &mut self.apart));
        }
        Ok(())
    }
}
