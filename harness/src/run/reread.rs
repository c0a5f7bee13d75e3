//! Reads parts of the logs again when a run is drained: around every leader change and every fault, for the checkers to hold against what
//! they were told at first.
//!
//! By blocking calls of gauntlet's own client, whichever client read before: one partition after the other, for so long at most. What
//! could not be read again is not compared, and `read_again` in the counts says how much was.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use gauntlet_chaos::fault::FaultRecord;
use gauntlet_verify::{Reread, Shard};
use gauntlet_wire::admin::connect_first;
use gauntlet_wire::batch::{BatchError, BatchHeader, RecordsBuffer, next_batch};
use gauntlet_wire::fetch::{FetchFrom, FetchLimits, Fetched};
use gauntlet_wire::{ConnectOptions, Connection, ErrorCode, OffsetSpec, WireError};

use crate::load::reader::{Elsewhere, joined};

/// All partitions of a topic that one group of readers has read.
const TIME_LIMIT: Duration = Duration::from_secs(20);
/// Records that were sent so long before a fault, or after its end, are read again too.
const AROUND_FAULT_MS: i64 = 1_000;
/// So many answers without a record, where there should be one, are enough.
const EMPTY_MAX: u32 = 3;
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
}

/// The logs of a topic, to be read again.
pub(super) struct LogAgain<'a> {
    bootstrap: &'a [String],
    topic: &'a str,
    options: &'a ConnectOptions,
    /// When faults acted, milliseconds since the Unix epoch.
    faults: Vec<Range<i64>>,
    /// Addresses of the partitions' leaders, once they are known.
    leaders: Option<BTreeMap<i32, String>>,
    connections: BTreeMap<String, Connection>,
    deadline: Option<Instant>,
    buffer: RecordsBuffer,
    apart: Vec<u8>,
    trouble: Vec<String>,
    /// Partitions for which there was no time.
    left_out: usize,
}

impl<'a> LogAgain<'a> {
    /// `unix_minus_monotonic_ns`: from the clock of fault records to that of Kafka's.
    pub(super) fn new(
        bootstrap: &'a [String],
        topic: &'a str,
        options: &'a ConnectOptions,
        faults: &[FaultRecord],
        unix_minus_monotonic_ns: u64,
    ) -> Self {
        let ms = |ns: u64| i64::try_from((ns + unix_minus_monotonic_ns) / 1_000_000).unwrap_or(i64::MAX);
        let acted = |record: &FaultRecord| {
            let from = ms(record.injected_ns?) - AROUND_FAULT_MS;
            let until = record.healed_ns.or(record.heal_began_ns).or(record.injected_ns)?;
            Some(from..ms(until) + AROUND_FAULT_MS)
        };
        LogAgain {
            bootstrap,
            topic,
            options,
            faults: faults.iter().filter_map(acted).collect(),
            leaders: None,
            connections: BTreeMap::new(),
            deadline: None,
            buffer: RecordsBuffer::default(),
            apart: Vec::new(),
            trouble: Vec::new(),
            left_out: 0,
        }
    }

    /// Partitions that could not be read again, and why, in words.
    pub(super) fn into_trouble(mut self) -> Vec<String> {
        if self.left_out > 0 {
            let (topic, left_out, limit_s) = (self.topic, self.left_out, TIME_LIMIT.as_secs());
            self.trouble.push(format!(
                "{left_out} partitions of {topic} were not read again, or not all of them: it took longer than {limit_s} s"
            ));
        }
        self.trouble
    }

    /// Has a checker compare what it was told of a partition with what is there now. Whatever goes wrong, the rest is left out.
    pub(super) fn compare(&mut self, partition: usize, elsewhere: Elsewhere, shard: &mut Shard) {
        if Instant::now() >= *self.deadline.get_or_insert_with(|| Instant::now() + TIME_LIMIT) {
            self.left_out += 1;
            return;
        }
        if let Err(stopped) = self.try_compare(partition as i32, elsewhere, shard) {
            self.trouble.push(format!("{}-{partition} could not be read again: {stopped}", self.topic));
        }
    }

    fn try_compare(
        &mut self,
        partition: i32,
        elsewhere: Elsewhere,
        shard: &mut Shard,
    ) -> Result<(), Stopped> {
        let around = self.sent_around_faults(partition)?;
        for range in shard.to_read_again(&around) {
            let mut again = shard.read_again(&range);
            let read = self.read(partition, elsewhere, &mut again);
            shard.compare(again);
            read?;
        }
        Ok(())
    }

    /// Where the records lie that were sent around the faults, by their timestamps.
    fn sent_around_faults(&mut self, partition: i32) -> Result<Vec<Range<i64>>, Stopped> {
        let mut around = Vec::new();
        for fault in self.faults.clone() {
            let mut first_since = |at_ms: i64| -> Result<Option<i64>, Stopped> {
                let (topic, connection) = (self.topic, self.leader_of(partition)?);
                let found = connection.list_offsets(topic, &[partition], OffsetSpec::Since(at_ms))?;
                Ok(found.get(&partition).copied().filter(|offset| *offset >= 0))
            };
            let Some(from) = first_since(fault.start)? else { continue };
            let until = first_since(fault.end)?.unwrap_or(i64::MAX);
            around.push(from..until.max(from + 1));
        }
        Ok(around)
    }

    fn leader_of(&mut self, partition: i32) -> Result<&mut Connection, Stopped> {
        if self.leaders.is_none() {
            let metadata = connect_first(self.bootstrap, self.options)?.metadata(Some(&[self.topic]))?;
            let addresses = metadata.addresses();
            let partitions = metadata.topic(self.topic).map(|t| t.partitions.as_slice()).unwrap_or_default();
            let leaders =
                partitions.iter().filter_map(|p| Some((p.index, addresses.get(&p.leader?)?.clone())));
            self.leaders = Some(leaders.collect());
        }
        let leaders = self.leaders.as_ref();
        let address = leaders.and_then(|leaders| leaders.get(&partition)).ok_or(Stopped::NoLeader)?.clone();
        if !self.connections.contains_key(&address) {
            let connection = Connection::connect(&address, self.options)?;
            self.connections.insert(address.clone(), connection);
        }
        self.connections.get_mut(&address).ok_or(Stopped::NoLeader)
    }

    /// Reads until everything that is wanted was read, or there is no time left.
    fn read(&mut self, partition: i32, elsewhere: Elsewhere, again: &mut Reread) -> Result<(), Stopped> {
        let mut empty = 0;
        while let Some(offset) = again.wanted() {
            if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                self.left_out += 1;
                return Ok(());
            }
            let fetched = self.fetch(partition, offset)?;
            match fetched.error {
                ErrorCode::NONE | ErrorCode::OFFSET_OUT_OF_RANGE => {}
                refused => return Err(Stopped::Refused(refused)),
            }
            self.tell(&fetched.records, elsewhere, again)?;
            if again.wanted() == Some(offset) {
                empty += 1;
                if !self.is_outside(partition, offset, again)? && empty == EMPTY_MAX {
                    return Err(Stopped::Empty(offset));
                }
            }
        }
        Ok(())
    }

    fn fetch(&mut self, partition: i32, offset: i64) -> Result<Fetched, Stopped> {
        let topic = self.topic;
        let from = FetchFrom { partition, offset, leader_epoch: -1 };
        let fetched = self.leader_of(partition)?.fetch(topic, &[from], LIMITS)?;
        fetched.into_iter().find(|fetched| fetched.partition == partition).ok_or(Stopped::Empty(offset))
    }

    /// Whether the log does not hold `offset` any more: its begin has been deleted since, or it ends before.
    fn is_outside(&mut self, partition: i32, offset: i64, again: &mut Reread) -> Result<bool, Stopped> {
        let (topic, connection) = (self.topic, self.leader_of(partition)?);
        let mut ask = |spec| -> Result<i64, WireError> {
            Ok(connection.list_offsets(topic, &[partition], spec)?.get(&partition).copied().unwrap_or(-1))
        };
        let (start, end) = (ask(OffsetSpec::Earliest)?, ask(OffsetSpec::Latest)?);
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
            if self.tell_batch(&header, batch, elsewhere, again).is_err() {
                let from = again.wanted().unwrap_or(i64::MAX).max(header.base_offset);
                again.corrupt_batch(from..header.last_offset() + 1);
            }
            again.pass(header.last_offset() + 1);
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
