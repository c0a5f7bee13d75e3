//! The topic on its cluster: what brokers are asked. Metadata, topic configuration, offsets, records; no group, no commit, nothing
//! that writes.
//!
//! Whatever gives trouble that may pass (an election, a broker that is started again) is tried until the deadline, which
//! every wait keeps to.

mod cursor;
mod reading;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use gauntlet_wire::batch::next_batch;
use gauntlet_wire::fetch::{FetchFrom, FetchLimits};
use gauntlet_wire::{ConnectOptions, Connection, ErrorCode, FoundOffset, OffsetSpec, WireError};

use self::cursor::Cursor;
use super::sample::{Bound, Coverage, Ending, Sample, Sampler, Span};
use super::topic::Described;
use super::window::{self, Chosen, Log, Newest, Offsets, Times};
use super::{Asked, FingerprintError, Part};

/// Longest wait for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Pause before metadata is asked for again.
const BACKOFF: Duration = Duration::from_millis(200);
/// Records that are dated further ahead of our clock than this are wrongly dated; clocks differ by less.
const AHEAD_MS: i64 = 60_000;
/// One batch, whatever its size (KIP-74).
const ONE_BATCH: FetchLimits = FetchLimits { bytes: 1, partition_bytes: 1, wait: Duration::from_millis(100) };

/// Who leads a partition.
#[derive(Debug, Clone, Copy)]
struct Leader {
    node: i32,
    epoch: i32,
}

/// A topic on its cluster.
pub(super) struct Live<'a> {
    asked: &'a Asked,
    deadline: Instant,
    brokers: BTreeMap<i32, String>,
    leaders: BTreeMap<i32, Leader>,
    connections: BTreeMap<i32, Connection>,
    /// Why something has to be tried again; nothing has been answered since.
    trouble: Option<WireError>,
    /// Partitions that ceased to answer before anything was read.
    lost: BTreeSet<i32>,
    /// Bytes of records that were only looked at for their times.
    looked_at_bytes: usize,
    /// When this began; milliseconds since the Unix epoch.
    now_ms: i64,
}

impl<'a> Live<'a> {
    /// Finds the topic and its leaders.
    pub(super) fn find(asked: &'a Asked) -> Result<(Self, Described), FingerprintError> {
        let mut live = Live {
            asked,
            deadline: Instant::now() + asked.limits.timeout,
            brokers: BTreeMap::new(),
            leaders: BTreeMap::new(),
            connections: BTreeMap::new(),
            trouble: None,
            lost: BTreeSet::new(),
            looked_at_bytes: 0,
            now_ms: now_ms(),
        };
        let (mut described, mut connection) = live.learn()?;
        // It is worth having, but nothing depends on it.
        described.config = connection.topic_config_set(&asked.topic).map_err(|error| match error {
            WireError::Denied(_) => "DescribeConfigs on it is not allowed to us".to_owned(),
            other => other.to_string(),
        });
        Ok((live, described))
    }

    /// Asks any broker for the topic, and who leads its partitions; its configuration is not asked for.
    fn learn(&mut self) -> Result<(Described, Connection), FingerprintError> {
        let topic = self.asked.topic.as_str();
        let mut connection = self.connect_any().map_err(|error| self.wire(error))?;
        let metadata = connection.metadata(Some(&[topic])).map_err(|error| self.wire(error))?;
        let found = metadata.topic(topic).filter(|found| found.error.is_ok() && !found.partitions.is_empty());
        let Some(found) = found else {
            // It says what is wrong with it, a missing permission included.
            let refused = connection.topic_operations(topic).err();
            let missing =
                refused.as_ref().is_none_or(|e| e.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
            return Err(match refused {
                Some(source) if !missing => self.wire(source),
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
        let described = Described {
            name: topic.to_owned(),
            partitions: found.partitions.len() as u32,
            replication_factor: narrow(replicas),
            brokers: narrow(metadata.brokers.len()),
            config: Err("it was not asked for".to_owned()),
        };
        Ok((described, connection))
    }

    /// To the first of the brokers that were named that answers, as [`gauntlet_wire::admin::connect_first`] does, but each
    /// within the time that is left.
    fn connect_any(&self) -> Result<Connection, WireError> {
        let mut last = None;
        for addr in &self.asked.bootstrap {
            match self.connect(addr) {
                Ok(connection) => return Ok(connection),
                // The others know the same users, and some lock those that fail too often.
                Err(refused @ WireError::Authentication { .. }) => return Err(refused),
                // That there is no time left says less than why there is none.
                Err(late @ WireError::Deadline { .. }) => return Err(last.unwrap_or(late)),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| self.late()))
    }

    fn connect(&self, addr: &str) -> Result<Connection, WireError> {
        let options = ConnectOptions {
            timeout: self.patience()?,
            security: self.asked.security.clone(),
            ..ConnectOptions::default()
        };
        Connection::connect(addr, &options)
    }

    /// How long the next answer may take.
    fn patience(&self) -> Result<Duration, WireError> {
        let left = self.left();
        // Sockets take no shorter limit for one.
        if left < Duration::from_millis(1) { Err(self.late()) } else { Ok(left.min(ANSWER_LIMIT)) }
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn late(&self) -> WireError {
        WireError::Deadline {
            what: format!("reading {}", self.asked.topic),
            waited_ms: u64::try_from(self.asked.limits.timeout.as_millis()).unwrap_or(u64::MAX),
            last: self.trouble.as_ref().map_or_else(|| "no answer".to_owned(), ToString::to_string),
        }
    }

    /// Reads the sample.
    pub(super) fn sample(&mut self, partitions: u32) -> Result<Sample, FingerprintError> {
        let mut logs = self.logs()?;
        if logs.values().all(|log| log.end <= log.start) {
            let topic = self.asked.topic.clone();
            return Err(match (partitions as usize).saturating_sub(logs.len()) {
                0 => FingerprintError::Empty { topic },
                leaderless => FingerprintError::NoLeader { topic, leaderless },
            });
        }
        let chosen = self.begins(&logs)?;
        logs.retain(|partition, _| !self.lost.contains(partition));
        let limited = self.limited(&logs, &chosen);
        let latest_ms = self.now_ms.saturating_add(AHEAD_MS);
        let mut cursors: Vec<Cursor> = (chosen.begins.iter())
            .filter_map(|(partition, begin)| {
                Some(Cursor::new(*partition, *begin, *logs.get(partition)?, latest_ms))
            })
            .collect();
        let mut sampler = Sampler::new(partitions);
        sampler.count_fetched(self.looked_at_bytes);
        let bound = match self.read(&mut cursors, &mut sampler)? {
            Bound::Everything if cursors.len() < partitions as usize => Bound::Unreadable,
            Bound::Everything if cursors.iter().any(|cursor| cursor.trouble().is_some()) => Bound::Unreadable,
            Bound::Everything if limited => Bound::Records,
            other => other,
        };
        let coverage: Vec<Coverage> = cursors.iter().filter_map(Cursor::coverage).collect();
        let which = |is: fn(&Cursor) -> bool| {
            let mut found: Vec<u32> = cursors.iter().filter(|c| is(c)).map(|c| c.partition as u32).collect();
            found.sort_unstable();
            found
        };
        let ending = Ending {
            bound,
            within: Span { from_ms: chosen.since_ms.unwrap_or(i64::MIN), until_ms: latest_ms },
            unreached: which(Cursor::is_unreached),
            half_read: which(Cursor::is_half_read),
            trouble: cursors.iter().find_map(|cursor| cursor.trouble().map(str::to_owned)),
            disordered: chosen.disordered,
        };
        let sample = sampler.finish(ending, &coverage);
        if sample.records.is_empty() {
            return Err(self.nothing_read(&sample));
        }
        Ok(sample)
    }

    /// The logs of the partitions that have a leader.
    fn logs(&mut self) -> Result<BTreeMap<i32, Log>, FingerprintError> {
        let led: BTreeSet<i32> = self.leaders.keys().copied().collect();
        let starts = self.offsets(OffsetSpec::Earliest, &led)?;
        let ends = self.offsets(OffsetSpec::Latest, &led)?;
        let log = |(partition, start): (i32, FoundOffset)| {
            Some((partition, Log { start: start.offset, end: ends.get(&partition)?.offset }))
        };
        Ok(starts.into_iter().filter_map(log).collect())
    }

    /// Whether the limit on records is why older ones are not in the sample.
    fn limited(&self, logs: &BTreeMap<i32, Log>, chosen: &Chosen) -> bool {
        let Part::Newest { last } = self.asked.limits.part else { return false };
        let of = |(partition, begin): (&i32, &window::Begin)| Some((*logs.get(partition)?, begin.offset));
        let chosen: Vec<(Log, i64)> = chosen.begins.iter().filter_map(of).collect();
        let left_out = chosen.iter().any(|(log, begin)| *begin > log.start);
        let records: u64 = chosen.iter().map(|(log, begin)| log.end.abs_diff(*begin)).sum();
        // With `last`, that may be why instead.
        left_out && (last.is_none() || records >= self.asked.limits.records)
    }

    fn nothing_read(&mut self, sample: &Sample) -> FingerprintError {
        let topic = self.asked.topic.clone();
        match (self.trouble.take(), &sample.unreadable_because) {
            (_, Some(why)) => FingerprintError::Unreadable { topic, why: why.clone() },
            (Some(source), None) => self.wire(source),
            (None, None) if sample.bound == Bound::Timeout => self.too_slow(),
            (None, None) => match (self.asked.limits.part, &sample.trouble) {
                (_, Some(why)) => FingerprintError::Unreadable { topic, why: why.clone() },
                (Part::Newest { last: Some(last) }, None) => {
                    FingerprintError::NothingLately { topic, last: in_units(last) }
                }
                _ => FingerprintError::Empty { topic },
            },
        }
    }

    fn too_slow(&self) -> FingerprintError {
        let timeout = in_units(self.asked.limits.timeout);
        FingerprintError::TooSlow { topic: self.asked.topic.clone(), timeout }
    }

    /// Where each partition is read from.
    fn begins(&mut self, logs: &BTreeMap<i32, Log>) -> Result<Chosen, FingerprintError> {
        let latest_ms = self.now_ms.saturating_add(AHEAD_MS);
        let partitions: BTreeSet<i32> = logs.keys().copied().collect();
        let Part::Newest { last } = self.asked.limits.part else {
            let first = self.offsets(OffsetSpec::Since(0), &partitions)?;
            let first_ms = first.into_iter().map(|(p, found)| (p, found.timestamp_ms)).collect();
            return window::oldest(logs, &first_ms, latest_ms, &mut Asking { live: self, logs, partitions });
        };
        let until_ms = match last {
            Some(_) => self.now_ms,
            None => self.newest_ms(&partitions)?.min(latest_ms),
        };
        let longest_ms = last.map(|last| i64::try_from(last.as_millis()).unwrap_or(i64::MAX).min(until_ms));
        let wanted = Newest { records: self.asked.limits.records, until_ms, longest_ms };
        window::newest(logs, wanted, &mut Asking { live: self, logs, partitions })
    }

    /// The highest timestamp of all records, or now where brokers can't tell.
    fn newest_ms(&mut self, partitions: &BTreeSet<i32>) -> Result<i64, FingerprintError> {
        match self.offsets(OffsetSpec::Newest, partitions) {
            Ok(found) => {
                let newest = found.values().map(|found| found.timestamp_ms).max();
                Ok(newest.filter(|ms| *ms > 0).unwrap_or(self.now_ms))
            }
            Err(FingerprintError::Wire { source: WireError::Unsupported { .. }, .. }) => Ok(self.now_ms),
            Err(other) => Err(other),
        }
    }

    /// One offset of each of these partitions. Those that do not answer for half of the time that is left are lost: the other
    /// half is for reading the others.
    fn offsets(
        &mut self,
        spec: OffsetSpec,
        partitions: &BTreeSet<i32>,
    ) -> Result<BTreeMap<i32, FoundOffset>, FingerprintError> {
        let patient_until = Instant::now() + self.left() / 2;
        let mut offsets = BTreeMap::new();
        loop {
            let missing = |p: &&i32| !offsets.contains_key(*p) && !self.lost.contains(*p);
            let missing: Vec<i32> = partitions.iter().filter(missing).copied().collect();
            if missing.is_empty() {
                return Ok(offsets);
            }
            let Err(error) = self.try_offsets(spec, &missing, &mut offsets) else {
                self.trouble = None;
                continue;
            };
            if !error.is_retriable() {
                return Err(self.wire(error));
            }
            if Instant::now() + BACKOFF >= patient_until {
                if offsets.is_empty() {
                    return Err(self.wire(error));
                }
                self.lost.extend(missing.into_iter().filter(|p| !offsets.contains_key(p)));
                self.trouble = Some(error);
                continue;
            }
            self.relearn(error)?;
        }
    }

    /// Asks the leader of each for its offset, as far as one answers.
    fn try_offsets(
        &mut self,
        spec: OffsetSpec,
        partitions: &[i32],
        offsets: &mut BTreeMap<i32, FoundOffset>,
    ) -> Result<(), WireError> {
        let topic = self.asked.topic.as_str();
        let mut led: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        let mut failed = None;
        for partition in partitions {
            match self.leaders.get(partition) {
                Some(leader) => led.entry(leader.node).or_default().push(*partition),
                None => failed = Some(self.cannot_read(*partition, None, ErrorCode::LEADER_NOT_AVAILABLE)),
            }
        }
        for (node, partitions) in led {
            let found = self.connection(node).and_then(|c| c.find_offsets(topic, &partitions, spec));
            match found {
                Ok(found) => {
                    let missing = partitions.iter().find(|partition| !found.contains_key(partition));
                    let code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
                    failed = missing.map(|p| self.cannot_read(*p, Some(node), code)).or(failed);
                    offsets.extend(found);
                }
                // What the others know is worth having meanwhile.
                Err(error) if error.is_retriable() => failed = Some(error),
                Err(error) => return Err(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn connection(&mut self, node: i32) -> Result<&mut Connection, WireError> {
        let patience = self.patience()?;
        let unknown = || WireError::Connect {
            addr: format!("broker {node}"),
            source: std::io::Error::new(std::io::ErrorKind::NotFound, "it is not in metadata"),
        };
        let mut connection = match self.connections.remove(&node) {
            Some(connection) => connection,
            None => self.connect(self.brokers.get(&node).ok_or_else(unknown)?)?,
        };
        connection.set_timeout(patience)?;
        Ok(self.connections.entry(node).or_insert(connection))
    }

    /// After trouble: leaders anew, over new connections.
    fn relearn(&mut self, trouble: WireError) -> Result<(), FingerprintError> {
        std::thread::sleep(BACKOFF.min(self.left()));
        self.trouble = Some(trouble);
        self.connections.clear();
        match self.learn() {
            Ok(_) => Ok(()),
            Err(FingerprintError::Wire { source, .. }) if source.is_retriable() => {
                self.trouble = Some(source);
                Ok(())
            }
            // It was there before: a broker that has just been started does not know it yet.
            Err(FingerprintError::NoTopic { .. }) => Ok(()),
            // The loop that wanted it knows what to do about the deadline.
            Err(FingerprintError::TooSlow { .. }) => Ok(()),
            Err(other) => Err(other),
        }
    }

    fn wire(&self, source: WireError) -> FingerprintError {
        let topic = self.asked.topic.clone();
        match source {
            WireError::Denied(denied) => FingerprintError::Denied { topic, denied },
            WireError::Deadline { .. } => self.too_slow(),
            source => FingerprintError::Wire { topic, source },
        }
    }

    /// What can't be read, as it is told if it stays so.
    fn cannot_read(&self, partition: i32, node: Option<i32>, code: ErrorCode) -> WireError {
        let broker = node.map_or_else(String::new, |node| {
            let addr = self.brokers.get(&node).map_or("unknown address", String::as_str);
            format!(" from broker {node} ({addr})")
        });
        WireError::Kafka {
            what: format!("read {}-{partition}{broker}", self.asked.topic),
            code,
            message: Some(
                "see that it has a leader and its replicas are online, or raise --timeout".to_owned(),
            ),
        }
    }

    /// The latest timestamp in the batch of an offset; `None` if it can't be read.
    fn time_at(&mut self, partition: i32, offset: i64) -> Result<Option<i64>, FingerprintError> {
        let patient_until = Instant::now() + self.left() / 2;
        while Instant::now() < patient_until && !self.lost.contains(&partition) {
            let topic = self.asked.topic.as_str();
            let fetched = match self.leaders.get(&partition).copied() {
                None => Err(self.cannot_read(partition, None, ErrorCode::LEADER_NOT_AVAILABLE)),
                Some(leader) => {
                    let from = FetchFrom { partition, offset, leader_epoch: leader.epoch };
                    self.connection(leader.node)
                        .and_then(|c| c.fetch(topic, &[from], ONE_BATCH))
                        .map(|answers| (answers.into_iter().next(), leader.node))
                }
            };
            let error = match fetched {
                Ok((Some(answer), _)) if answer.error.is_ok() => {
                    self.looked_at_bytes += answer.records.len();
                    return Ok(next_batch(&answer.records)
                        .ok()
                        .flatten()
                        .map(|(header, _)| header.max_timestamp_ms));
                }
                Ok((Some(answer), node)) if answer.error.is_retriable() => {
                    self.cannot_read(partition, Some(node), answer.error)
                }
                Ok(_) => return Ok(None),
                Err(error) if error.is_retriable() => error,
                Err(error) => return Err(self.wire(error)),
            };
            self.relearn(error)?;
        }
        Ok(None)
    }
}

/// Brokers as what tells times.
struct Asking<'l, 'a> {
    live: &'l mut Live<'a>,
    logs: &'l BTreeMap<i32, Log>,
    partitions: BTreeSet<i32>,
}

impl Times for Asking<'_, '_> {
    type Error = FingerprintError;

    fn since(&mut self, instant_ms: i64) -> Result<Offsets, FingerprintError> {
        let found = self.live.offsets(OffsetSpec::Since(instant_ms), &self.partitions)?;
        let or_end = |(partition, found): (i32, FoundOffset)| {
            let end = self.logs.get(&partition)?.end;
            Some((partition, if found.offset < 0 { end } else { found.offset }))
        };
        Ok(found.into_iter().filter_map(or_end).collect())
    }

    fn at(&mut self, partition: i32, offset: i64) -> Result<Option<i64>, FingerprintError> {
        self.live.time_at(partition, offset)
    }
}

fn in_units(duration: Duration) -> crate::units::Duration {
    crate::units::Duration::from_ns(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
