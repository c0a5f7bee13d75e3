//! The topic on its cluster: what brokers are asked. Metadata, topic configuration, offsets, records; no group, no commit, nothing
//! that writes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use gauntlet_wire::admin::connect_first;
use gauntlet_wire::batch::next_batch;
use gauntlet_wire::fetch::{FetchFrom, FetchLimits, Fetched};
use gauntlet_wire::{ConnectOptions, Connection, ErrorCode, FoundOffset, OffsetSpec, WireError};

use super::sample::{Bound, Coverage, Sample, Sampler};
use super::topic::Described;
use super::window::{self, Begin, Log, Newest};
use super::{Asked, FingerprintError, Part};

/// Longest wait for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Pause before metadata is asked for again.
const BACKOFF: Duration = Duration::from_millis(200);
/// A partition is given up after so many failures.
const FAILURES_MAX: u32 = 5;
/// Partitions in one request.
const PARTITIONS_PER_FETCH: usize = 64;
const FETCH_LIMITS: FetchLimits = FetchLimits {
    bytes: 4 << 20,
    // Small, so that partitions advance side by side; a batch that is larger comes when its partition is first.
    partition_bytes: 64 << 10,
    wait: Duration::from_millis(100),
};

/// Who leads a partition.
#[derive(Debug, Clone, Copy)]
struct Leader {
    node: i32,
    epoch: i32,
}

/// How far a partition has been read.
#[derive(Debug)]
struct Cursor {
    partition: i32,
    begins_late: bool,
    /// Next offset to read.
    position: i64,
    /// Offset to end at: what came behind it after the sample was begun is not read.
    end: i64,
    /// Time of what was read last.
    at_ms: i64,
    read: bool,
    failures: u32,
}

impl Cursor {
    fn is_open(&self) -> bool {
        self.position < self.end && self.failures < FAILURES_MAX
    }

    fn coverage(&self) -> Option<Coverage> {
        (self.read || self.position >= self.end).then_some(Coverage {
            partition: self.partition as u32,
            begins_late: self.begins_late,
            ends_early: self.position < self.end,
        })
    }
}

/// A topic on its cluster.
pub(super) struct Live<'a> {
    asked: &'a Asked,
    options: ConnectOptions,
    deadline: Instant,
    brokers: BTreeMap<i32, String>,
    leaders: BTreeMap<i32, Leader>,
    connections: BTreeMap<i32, Connection>,
    /// Why something had to be tried again, the last time.
    trouble: Option<WireError>,
}

impl<'a> Live<'a> {
    /// Finds the topic and its leaders.
    pub(super) fn find(asked: &'a Asked) -> Result<(Self, Described), FingerprintError> {
        let timeout = asked.limits.timeout;
        let mut live = Live {
            asked,
            options: ConnectOptions {
                timeout: ANSWER_LIMIT.min(timeout),
                security: asked.security.clone(),
                ..ConnectOptions::default()
            },
            deadline: Instant::now() + timeout,
            brokers: BTreeMap::new(),
            leaders: BTreeMap::new(),
            connections: BTreeMap::new(),
            trouble: None,
        };
        let described = live.learn()?;
        Ok((live, described))
    }

    /// Asks any broker for the topic; `config` is only asked for here.
    fn learn(&mut self) -> Result<Described, FingerprintError> {
        let topic = self.asked.topic.as_str();
        let wire = |source| FingerprintError::Wire { topic: topic.to_owned(), source };
        let mut connection = connect_first(&self.asked.bootstrap, &self.options).map_err(wire)?;
        let metadata = connection.metadata(Some(&[topic])).map_err(wire)?;
        let found = metadata.topic(topic).filter(|found| found.error.is_ok() && !found.partitions.is_empty());
        let Some(found) = found else {
            // It says what is wrong with it, a missing permission included.
            let refused = connection.topic_operations(topic).err();
            let missing =
                refused.as_ref().is_none_or(|e| e.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
            return Err(match refused {
                Some(source) if !missing => wire(source),
                _ => {
                    FingerprintError::NoTopic { topic: topic.to_owned(), addr: connection.addr().to_owned() }
                }
            });
        };
        self.brokers = metadata.addresses();
        self.leaders = found
            .partitions
            .iter()
            .filter_map(|p| Some((p.index, Leader { node: p.leader?, epoch: p.leader_epoch })))
            .collect();
        let replicas = found.partitions.first().map_or(1, |p| p.replicas.len());
        let narrow = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
        Ok(Described {
            name: topic.to_owned(),
            partitions: found.partitions.len() as u32,
            replication_factor: narrow(replicas),
            brokers: narrow(metadata.brokers.len()),
            config: match connection.topic_config_set(topic) {
                Ok(config) => Some(config),
                // It is worth having, but nothing depends on it.
                Err(WireError::Denied(_)) => None,
                Err(error) => return Err(wire(error)),
            },
        })
    }

    /// Reads the sample.
    pub(super) fn sample(&mut self, partitions: u32) -> Result<Sample, FingerprintError> {
        let starts = self.offsets(OffsetSpec::Earliest)?;
        let ends = self.offsets(OffsetSpec::Latest)?;
        let log = |(partition, start): (i32, FoundOffset)| {
            Some((partition, Log { start: start.offset, end: ends.get(&partition)?.offset }))
        };
        let logs: BTreeMap<i32, Log> = starts.into_iter().filter_map(log).collect();
        if logs.values().all(|log| log.end <= log.start) {
            let topic = self.asked.topic.clone();
            return Err(match (partitions as usize).saturating_sub(logs.len()) {
                0 => FingerprintError::Empty { topic },
                leaderless => FingerprintError::NoLeader { topic, leaderless },
            });
        }
        let begins = self.begins(&logs)?;
        let limited = self.limited(&logs, &begins);
        let mut cursors: Vec<Cursor> = Vec::with_capacity(begins.len());
        for (partition, begin) in begins {
            let Some(log) = logs.get(&partition) else { continue };
            cursors.push(Cursor {
                partition,
                begins_late: begin.late,
                position: begin.offset,
                end: log.end,
                at_ms: i64::MIN,
                read: false,
                failures: 0,
            });
        }
        let mut sampler = Sampler::new(partitions);
        let bound = match self.read(&mut cursors, &mut sampler)? {
            Bound::Everything if limited => Bound::Records,
            other => other,
        };
        let coverage: Vec<Coverage> = cursors.iter().filter_map(Cursor::coverage).collect();
        let sample = sampler.finish(bound, &coverage);
        if sample.records.is_empty() {
            return Err(self.nothing_read(&sample));
        }
        Ok(sample)
    }

    /// Whether the limit on records is why older ones are not in the sample.
    fn limited(&self, logs: &BTreeMap<i32, Log>, begins: &BTreeMap<i32, Begin>) -> bool {
        let Part::Newest { last } = self.asked.limits.part else { return false };
        let of = |(partition, begin): (&i32, &Begin)| Some((*logs.get(partition)?, begin.offset));
        let chosen: Vec<(Log, i64)> = begins.iter().filter_map(of).collect();
        let left_out = chosen.iter().any(|(log, begin)| *begin > log.start);
        let records: u64 = chosen.iter().map(|(log, begin)| log.end.abs_diff(*begin)).sum();
        // With `last`, that may be why instead.
        left_out && (last.is_none() || records >= self.asked.limits.records)
    }

    fn nothing_read(&mut self, sample: &Sample) -> FingerprintError {
        let topic = self.asked.topic.clone();
        match (self.trouble.take(), &sample.unreadable_because) {
            (_, Some(why)) => FingerprintError::Unreadable { topic, why: why.clone() },
            (Some(source), None) => FingerprintError::Wire { topic, source },
            (None, None) if sample.bound == Bound::Timeout => {
                FingerprintError::TooSlow { topic, timeout: in_units(self.asked.limits.timeout) }
            }
            (None, None) => match self.asked.limits.part {
                Part::Newest { last: Some(last) } => {
                    FingerprintError::NothingLately { topic, last: in_units(last) }
                }
                _ => FingerprintError::Empty { topic },
            },
        }
    }

    /// Where each partition is read from.
    fn begins(&mut self, logs: &BTreeMap<i32, Log>) -> Result<BTreeMap<i32, Begin>, FingerprintError> {
        let Part::Newest { last } = self.asked.limits.part else { return Ok(window::whole(logs)) };
        let until_ms = match last {
            Some(_) => now_ms(),
            None => self.newest_ms()?,
        };
        let longest_ms = last.map(|last| i64::try_from(last.as_millis()).unwrap_or(i64::MAX).min(until_ms));
        let wanted = Newest { records: self.asked.limits.records, until_ms, longest_ms };
        window::newest(logs, wanted, |instant_ms| {
            let found = self.offsets(OffsetSpec::Since(instant_ms))?;
            let or_end = |(partition, found): (i32, FoundOffset)| {
                let end = logs.get(&partition)?.end;
                Some((partition, if found.offset < 0 { end } else { found.offset }))
            };
            Ok(found.into_iter().filter_map(or_end).collect())
        })
    }

    /// The highest timestamp of all records, or now where brokers can't tell.
    fn newest_ms(&mut self) -> Result<i64, FingerprintError> {
        match self.offsets(OffsetSpec::Newest) {
            Ok(found) => {
                let newest = found.values().map(|found| found.timestamp_ms).max();
                Ok(newest.filter(|ms| *ms > 0).unwrap_or_else(now_ms))
            }
            Err(FingerprintError::Wire { source: WireError::Unsupported { .. }, .. }) => Ok(now_ms()),
            Err(other) => Err(other),
        }
    }

    /// One offset of each partition that has a leader.
    fn offsets(&mut self, spec: OffsetSpec) -> Result<BTreeMap<i32, FoundOffset>, FingerprintError> {
        loop {
            match self.try_offsets(spec) {
                Ok(offsets) => return Ok(offsets),
                Err(error) if error.is_retriable() && Instant::now() + BACKOFF < self.deadline => {
                    self.relearn(error)?;
                }
                Err(source) => return Err(self.wire(source)),
            }
        }
    }

    fn try_offsets(&mut self, spec: OffsetSpec) -> Result<BTreeMap<i32, FoundOffset>, WireError> {
        let topic = self.asked.topic.as_str();
        let mut led: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        for (partition, leader) in &self.leaders {
            led.entry(leader.node).or_default().push(*partition);
        }
        let mut offsets = BTreeMap::new();
        for (node, partitions) in led {
            offsets.extend(self.connection(node)?.find_offsets(topic, &partitions, spec)?);
        }
        Ok(offsets)
    }

    fn connection(&mut self, node: i32) -> Result<&mut Connection, WireError> {
        use std::collections::btree_map::Entry;
        match self.connections.entry(node) {
            Entry::Occupied(occupied) => Ok(occupied.into_mut()),
            Entry::Vacant(vacant) => {
                let unknown = || WireError::Connect {
                    addr: format!("broker {node}"),
                    source: std::io::Error::new(std::io::ErrorKind::NotFound, "it is not in metadata"),
                };
                let addr = self.brokers.get(&node).ok_or_else(unknown)?;
                Ok(vacant.insert(Connection::connect(addr, &self.options)?))
            }
        }
    }

    /// After trouble: leaders anew, over new connections.
    fn relearn(&mut self, trouble: WireError) -> Result<(), FingerprintError> {
        std::thread::sleep(BACKOFF.min(self.deadline.saturating_duration_since(Instant::now())));
        self.trouble = Some(trouble);
        self.connections.clear();
        match self.learn() {
            Err(FingerprintError::Wire { source, .. }) if source.is_retriable() => {
                self.trouble = Some(source);
                Ok(())
            }
            other => other.map(drop),
        }
    }

    fn wire(&self, source: WireError) -> FingerprintError {
        FingerprintError::Wire { topic: self.asked.topic.clone(), source }
    }

    /// Reads until all is read or a limit is reached. The partition that is furthest behind in time has its turn next, so that
    /// wherever this ends, all partitions have been read to about the same instant.
    fn read(&mut self, cursors: &mut [Cursor], sampler: &mut Sampler) -> Result<Bound, FingerprintError> {
        let limits = self.asked.limits;
        loop {
            if !cursors.iter().any(Cursor::is_open) {
                return Ok(Bound::Everything);
            }
            // The newest records were counted by their offsets before; some more than wanted are read to the end.
            let enough = limits.records + limits.records / 10;
            if sampler.records() as u64 >= enough {
                return Ok(Bound::Records);
            }
            if sampler.fetched_bytes() >= limits.bytes {
                return Ok(Bound::Bytes);
            }
            if Instant::now() >= self.deadline {
                return Ok(Bound::Timeout);
            }
            self.fetch_next(cursors, sampler)?;
        }
    }

    fn fetch_next(&mut self, cursors: &mut [Cursor], sampler: &mut Sampler) -> Result<(), FingerprintError> {
        cursors.sort_by_key(|cursor| (cursor.at_ms, cursor.partition));
        let Some(first) = cursors.iter_mut().find(|cursor| cursor.is_open()) else { return Ok(()) };
        let first_partition = first.partition;
        let Some(leader) = self.leaders.get(&first_partition).copied() else {
            first.failures += 1;
            let no_leader = WireError::Kafka {
                what: format!("read {}-{first_partition}", self.asked.topic),
                code: ErrorCode::LEADER_NOT_AVAILABLE,
                message: None,
            };
            return self.relearn(no_leader);
        };
        let led = |cursor: &&Cursor| {
            cursor.is_open() && self.leaders.get(&cursor.partition).is_some_and(|l| l.node == leader.node)
        };
        let from: Vec<FetchFrom> = cursors
            .iter()
            .filter(led)
            .take(PARTITIONS_PER_FETCH)
            .map(|cursor| FetchFrom {
                partition: cursor.partition,
                offset: cursor.position,
                leader_epoch: self.leaders.get(&cursor.partition).map_or(-1, |l| l.epoch),
            })
            .collect();
        let topic = self.asked.topic.as_str();
        let fetched = self.connection(leader.node).and_then(|c| c.fetch(topic, &from, FETCH_LIMITS));
        let mut stale = None;
        match fetched {
            Ok(answers) => {
                for answer in &answers {
                    let Some(cursor) = cursors.iter_mut().find(|c| c.partition == answer.partition) else {
                        continue;
                    };
                    stale = take(answer, cursor, first_partition, sampler).or(stale);
                }
            }
            Err(error) if error.is_retriable() => {
                for cursor in cursors.iter_mut().filter(|c| c.partition == first_partition) {
                    cursor.failures += 1;
                }
                return self.relearn(error);
            }
            Err(error) => return Err(self.wire(error)),
        }
        match stale {
            None => Ok(()),
            Some(code) => self.relearn(WireError::Kafka {
                what: format!("read {}", self.asked.topic),
                code,
                message: None,
            }),
        }
    }
}

/// Adds what was answered about a partition. Gives the code that makes metadata doubtful, if there is one.
fn take(answer: &Fetched, cursor: &mut Cursor, first: i32, sampler: &mut Sampler) -> Option<ErrorCode> {
    sampler.count_fetched(answer.records.len());
    if answer.error == ErrorCode::OFFSET_OUT_OF_RANGE && answer.log_start_offset > cursor.position {
        // Retention was faster.
        cursor.position = answer.log_start_offset;
        cursor.begins_late = true;
        return None;
    }
    if !answer.error.is_ok() {
        cursor.failures += 1;
        return Some(answer.error);
    }
    let mut data = &answer.records[..];
    let before = cursor.position;
    while cursor.position < cursor.end {
        let (header, length) = match next_batch(data) {
            Ok(Some(found)) => found,
            Ok(None) => break,
            Err(error) => {
                // Without a length there is no next batch to go on with.
                sampler.unreadable(&error);
                cursor.failures = FAILURES_MAX;
                return None;
            }
        };
        let (batch, rest) = data.split_at(length);
        data = rest;
        let next = header.last_offset() + 1;
        if next <= cursor.position {
            continue;
        }
        let added = header.verify_crc(batch).and_then(|()| {
            sampler.batch(cursor.partition as u32, &header, batch, cursor.position..cursor.end)
        });
        if let Err(error) = added {
            sampler.unreadable(&error);
        }
        cursor.position = next;
        cursor.at_ms = cursor.at_ms.max(header.max_timestamp_ms);
        cursor.read = true;
    }
    if cursor.position > before {
        cursor.failures = 0;
    } else if cursor.partition == first {
        // Others may have got nothing because the answer was full.
        cursor.failures += 1;
    }
    None
}

fn in_units(duration: Duration) -> crate::units::Duration {
    crate::units::Duration::from_ns(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use gauntlet_wire::batch::{BatchBuilder, BatchStamp, RecordSpec};
    use gauntlet_wire::codec::Codec;

    use super::*;

    /// Batches of five records, a millisecond each, with offsets from `first_offset` on.
    fn log(first_offset: i64, batches: i64) -> Vec<u8> {
        let mut log = Vec::new();
        for first in (0..batches).map(|batch| first_offset + batch * 5) {
            let mut builder = BatchBuilder::new(Codec::None);
            for offset in first..first + 5 {
                let spec = RecordSpec {
                    timestamp_ms: offset,
                    key: None,
                    value_bytes: 10,
                    own_header: None,
                    headers: &[],
                };
                builder.append(&spec, |_| {});
            }
            let mut bytes = builder.seal(BatchStamp::NONE).bytes().to_vec();
            // As the broker does; the CRC does not cover it.
            bytes[..8].copy_from_slice(&first.to_be_bytes());
            log.extend(bytes);
        }
        log
    }

    fn answer(error: ErrorCode, records: Vec<u8>) -> Fetched {
        Fetched { partition: 0, error, log_start_offset: 40, records: Bytes::from(records) }
    }

    fn cursor(position: i64, end: i64) -> Cursor {
        Cursor { partition: 0, begins_late: false, position, end, at_ms: i64::MIN, read: false, failures: 0 }
    }

    #[test]
    fn only_what_lies_between_position_and_end_is_taken() {
        let (mut sampler, mut cursor) = (Sampler::new(1), cursor(7, 18));
        assert_eq!(take(&answer(ErrorCode::NONE, log(5, 4)), &mut cursor, 0, &mut sampler), None);
        assert_eq!((sampler.records(), cursor.position, cursor.at_ms), (11, 20, 19));
        assert!(!cursor.is_open());
        assert_eq!(cursor.coverage().map(|c| c.ends_early), Some(false));
    }

    #[test]
    fn a_batch_that_was_cut_is_read_with_the_next_answer() {
        let (mut sampler, mut cursor) = (Sampler::new(1), cursor(0, 10));
        let mut cut = log(0, 2);
        cut.truncate(cut.len() - 1);
        take(&answer(ErrorCode::NONE, cut), &mut cursor, 0, &mut sampler);
        assert_eq!((sampler.records(), cursor.position, cursor.is_open()), (5, 5, true));
        assert_eq!(cursor.coverage().map(|c| c.ends_early), Some(true), "if it ended here");
        take(&answer(ErrorCode::NONE, log(5, 1)), &mut cursor, 0, &mut sampler);
        assert_eq!((sampler.records(), cursor.is_open()), (10, false));
    }

    #[test]
    fn what_was_deleted_meanwhile_is_passed_over() {
        let (mut sampler, mut cursor) = (Sampler::new(1), cursor(7, 50));
        take(&answer(ErrorCode::OFFSET_OUT_OF_RANGE, Vec::new()), &mut cursor, 0, &mut sampler);
        assert_eq!((cursor.position, cursor.begins_late, cursor.failures), (40, true, 0));
        // The log ends below: it was truncated, and nothing more will come.
        cursor.position = 45;
        for _ in 0..FAILURES_MAX {
            assert!(cursor.is_open());
            let doubt =
                take(&answer(ErrorCode::OFFSET_OUT_OF_RANGE, Vec::new()), &mut cursor, 0, &mut sampler);
            assert_eq!(doubt, Some(ErrorCode::OFFSET_OUT_OF_RANGE));
        }
        assert!(!cursor.is_open());
        assert_eq!(cursor.coverage(), None, "nothing of it was read");
    }

    #[test]
    fn a_damaged_batch_is_counted_and_passed_over() {
        let (mut sampler, mut cursor) = (Sampler::new(1), cursor(0, 10));
        let mut damaged = log(0, 2);
        damaged[70] ^= 1;
        take(&answer(ErrorCode::NONE, damaged), &mut cursor, 0, &mut sampler);
        let sample = sampler.finish(Bound::Everything, &[]);
        assert_eq!((sample.records.len(), sample.unreadable_batches), (5, 1));
        assert!(sample.unreadable_because.is_some_and(|why| why.contains("CRC")));
    }

    #[test]
    fn only_the_first_partition_of_a_request_fails_by_getting_nothing() {
        let (mut sampler, mut cursor) = (Sampler::new(1), cursor(0, 10));
        take(&answer(ErrorCode::NONE, Vec::new()), &mut cursor, 1, &mut sampler);
        assert_eq!(cursor.failures, 0);
        take(&answer(ErrorCode::NONE, Vec::new()), &mut cursor, 0, &mut sampler);
        assert_eq!(cursor.failures, 1);
    }
}
