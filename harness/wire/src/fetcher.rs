//! The log reader: fetches assigned partitions from their leaders, follows leaders, and hands over every batch whose
//! CRC is right. One event loop in the calling thread.

mod requests;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use mio::Token;

use crate::batch::{BatchError, BatchHeader, end_of_damaged, next_batch};
use crate::code::ErrorCode;
use crate::links::{LinkConfig, LinkEvent, Links};
use crate::turns::{EventLoop, LoopError, Turn};
use requests::Asked;

/// `isolation.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Up to the high watermark.
    ReadUncommitted,
    /// Up to the last stable offset; aborted records are still delivered by the broker and not filtered here.
    ReadCommitted,
}

/// Where to begin to read a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadFrom {
    /// The first offset.
    pub offset: i64,
    /// Leader epoch of the last batch that was read below it, if one was: a log that has been cut off there since is noticed by it (KIP-595).
    /// -1 otherwise.
    pub last_epoch: i32,
}

impl From<i64> for ReadFrom {
    /// Of somebody who has read nothing below.
    fn from(offset: i64) -> Self {
        ReadFrom { offset, last_epoch: -1 }
    }
}

/// Configuration of a log reader; the names are those of Kafka's client configuration.
#[derive(Debug, Clone)]
pub struct FetcherConfig {
    /// Connections and their time-outs.
    pub links: LinkConfig,
    /// Topic that is read.
    pub topic: String,
    /// Its number of partitions.
    pub partitions: usize,
    /// Partitions to read, and where to begin.
    pub assigned: BTreeMap<usize, ReadFrom>,
    /// `fetch.max.wait.ms`.
    pub max_wait: Duration,
    /// `fetch.min.bytes`.
    pub min_bytes: usize,
    /// `fetch.max.bytes`.
    pub max_bytes: usize,
    /// `max.partition.fetch.bytes`.
    pub partition_max_bytes: usize,
    /// `isolation.level`.
    pub isolation: Isolation,
}

/// What the leader said about a partition in one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionState {
    /// Offset that is fetched next: everything below it was handed over.
    pub position: i64,
    /// High watermark; -1 when the leader does not know it yet.
    pub high_watermark: i64,
    /// Last stable offset; -1 when unknown.
    pub last_stable_offset: i64,
    /// Log start offset; -1 when unknown.
    pub log_start_offset: i64,
    /// Broker that answered.
    pub leader: i32,
    /// Leader epoch under which it was asked.
    pub leader_epoch: i32,
}

/// Why a reader continues at another offset than the one after the last batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jump {
    /// The log begins above the position: retention or DeleteRecords was faster.
    Expired,
    /// The log ends below the position: records were taken back.
    Truncated,
}

/// A batch that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken<'a> {
    /// Why not.
    pub error: &'a BatchError,
    /// What its header says, which may be damaged; `None` if not even the header can be read.
    pub header: Option<&'a BatchHeader>,
    /// The offsets that are skipped for it. Empty without a header: the reader can't get on, and fetches the same again.
    pub offsets: Range<i64>,
}

/// Who receives what is read.
pub trait RecordSink {
    /// A batch, in offset order per partition. Its CRC was verified. Records below `from_offset` were delivered before.
    fn batch(
        &mut self,
        partition: usize,
        header: &BatchHeader,
        batch: &[u8],
        from_offset: i64,
        turn: Turn<'_>,
    );

    /// A batch that can't be read; its records are not delivered.
    fn broken(&mut self, partition: usize, broken: &Broken<'_>, turn: Turn<'_>);

    /// The reader continues at `to` instead of `from`.
    fn jumped(&mut self, partition: usize, from: i64, to: i64, why: Jump);

    /// State of a partition after an answer.
    fn state(&mut self, partition: usize, state: &PartitionState);

    /// Called once on every turn. Returns when it wants to be called again at the latest.
    fn turned(&mut self, turn: Turn<'_>, stats: &FetcherStats) -> u64;

    /// Whether enough was read.
    fn finished(&self, now_ns: u64) -> bool;
}

/// Running totals of one reader.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FetcherStats {
    /// Fetch requests sent.
    pub requests: u64,
    /// Bytes of batches received.
    pub bytes: u64,
    /// Answers by error code, per partition answered.
    pub errors: BTreeMap<ErrorCode, u64>,
    /// Connections that were lost, by what was said about it.
    pub disconnects: BTreeMap<String, u64>,
}

impl FetcherStats {
    /// Adds what another one did.
    pub fn add(&mut self, other: &FetcherStats) {
        self.requests += other.requests;
        self.bytes += other.bytes;
        for (code, count) in &other.errors {
            *self.errors.entry(*code).or_insert(0) += count;
        }
        for (what, count) in &other.disconnects {
            *self.disconnects.entry(what.clone()).or_insert(0) += count;
        }
    }
}

#[derive(Debug)]
struct Assigned {
    position: i64,
    /// Leader epoch of the last batch below the position; -1 when unknown.
    epoch: i32,
    /// A request that this partition is part of is under way.
    asked: bool,
    /// Errors in a row; the next request waits for the back-off.
    failures: u32,
    not_before_ns: u64,
    /// The position is out of the log's range, and where the log begins or ends has to be asked first.
    out_of_range: bool,
}

struct Fetcher<S> {
    config: FetcherConfig,
    links: Links<Asked>,
    assigned: BTreeMap<usize, Assigned>,
    sink: S,
    stats: FetcherStats,
    events: Vec<LinkEvent<Asked>>,
    throttled_until: BTreeMap<i32, u64>,
}

/// Reads until the sink has enough, and returns it. Blocks the calling thread.
pub fn run_fetcher<S: RecordSink>(config: FetcherConfig, sink: S) -> Result<S, LoopError> {
    let mut event_loop = EventLoop::new()?;
    let mut fetcher = Fetcher::new(config, sink, event_loop.registry()?);
    let mut wakeup_ns: u64 = 0;
    loop {
        let now_ns = event_loop.sleep_until(wakeup_ns)?;
        let EventLoop { events, lateness, scratch, .. } = &mut event_loop;
        let turn = Turn { now_ns, lateness };
        for event in &*events {
            fetcher.drive(event.token(), turn, scratch);
        }
        fetcher.turn(turn);
        let call_again_ns = fetcher.sink.turned(turn, &fetcher.stats);
        if fetcher.sink.finished(now_ns) {
            return Ok(fetcher.sink);
        }
        wakeup_ns = fetcher.wakeup_ns(now_ns).min(call_again_ns);
    }
}

impl<S: RecordSink> Fetcher<S> {
    fn new(config: FetcherConfig, sink: S, registry: mio::Registry) -> Self {
        let assigned = config
            .assigned
            .iter()
            .map(|(partition, from)| {
                let state = Assigned {
                    position: from.offset,
                    epoch: from.last_epoch,
                    asked: false,
                    failures: 0,
                    not_before_ns: 0,
                    out_of_range: false,
                };
                (*partition, state)
            })
            .collect();
        Fetcher {
            links: Links::new(config.links.clone(), &config.topic, config.partitions, registry, 0),
            assigned,
            sink,
            stats: FetcherStats::default(),
            events: Vec::new(),
            throttled_until: BTreeMap::new(),
            config,
        }
    }

    fn drive(&mut self, token: Token, turn: Turn<'_>, scratch: &mut [u8]) {
        self.links.drive(token, turn.now_ns, scratch, &mut self.events);
        self.handle_events(turn);
    }

    fn turn(&mut self, turn: Turn<'_>) {
        self.links.tick(turn.now_ns, &mut self.events);
        self.handle_events(turn);
        self.ask(turn.now_ns);
        self.handle_events(turn);
    }

    fn wakeup_ns(&self, now_ns: u64) -> u64 {
        let retries =
            self.assigned.values().filter(|a| !a.asked && a.not_before_ns > now_ns).map(|a| a.not_before_ns);
        let throttles = self.throttled_until.values().copied().filter(|t| *t > now_ns);
        retries.chain(throttles).min().unwrap_or(u64::MAX).min(self.links.wakeup_ns())
    }

    /// Hands over the batches of one partition's answer and moves its position behind them.
    fn deliver(&mut self, partition: usize, mut data: &[u8], turn: Turn<'_>) {
        let Some(assigned) = self.assigned.get_mut(&partition) else { return };
        self.stats.bytes += data.len() as u64;
        loop {
            let (header, length) = match next_batch(data) {
                Ok(Some(found)) => found,
                Ok(None) => return,
                Err(error) => {
                    // Without a length there is no next batch to go on with; the position stays, and the same
                    // bytes come again: a reader that can't get on is better than one that skips in silence.
                    let offsets = assigned.position..assigned.position;
                    self.sink.broken(partition, &Broken { error: &error, header: None, offsets }, turn);
                    return;
                }
            };
            let (batch, rest) = data.split_at(length);
            data = rest;
            let from = assigned.position;
            if let Err(error) = header.verify_crc(batch) {
                let end = end_of_damaged(&header, data);
                if end > from {
                    assigned.position = end;
                    let offsets = header.base_offset.max(from)..end;
                    self.sink.broken(
                        partition,
                        &Broken { error: &error, header: Some(&header), offsets },
                        turn,
                    );
                }
                continue;
            }
            let next = header.last_offset() + 1;
            if next <= from {
                continue;
            }
            self.sink.batch(partition, &header, batch, from, turn);
            assigned.position = next;
            assigned.epoch = header.leader_epoch;
        }
    }
}
