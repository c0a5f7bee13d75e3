//! The loop of one producer of librdkafka: what is due is handed over, what has ended is settled, and in between it sleeps.
//!
//! It is the counterpart of `gauntlet_wire::producer`, with the same workload behind it: schedule, records, recorder and
//! settlements are [`ProducerLoad`]'s. Lingering, batches, retries and recovery are librdkafka's, in threads of its own.
//!
//! **Who was the limit?** When librdkafka's queue is full, it gives no room, as a broker gives none: what waits then is not
//! late because of gauntlet. Time inside librdkafka's functions on this thread is not gauntlet's either. What is left is: a
//! loop that was busy with making records or with reports, and a host that did not run it.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use gauntlet_rdkafka::producer::{NotTaken, Producer, Record, Told};
use gauntlet_rdkafka::wakeup::Wakeup;
use gauntlet_rdkafka::{Code, Notice};
use gauntlet_wire::batch::RecordSpec;
use gauntlet_wire::lateness::Lateness;
use gauntlet_wire::monotonic_ns;
use gauntlet_wire::producer::{BatchOutcome, ProducerStats, Settled, TakeRequest, Turn, Workload};

use super::TICK_NS;
use super::connect::{ClientPlan, DriverError};
use super::folding::{Fate, Folder, Run, of_broker, pack};
use super::notes::Notes;
use super::sleep::{LONGEST_SLEEP_NS, sleep_until};
use crate::load::producer::BatchTag;
use crate::load::records::RecordTarget;
use crate::load::{Origin, ProducerLoad};

/// Bytes of records that are made before they are handed over.
const STAGED_BYTES: usize = 128 << 10;
/// The same while there is little room: what is not taken is made again.
const STAGED_TIGHT_BYTES: usize = 8 << 10;
/// After so long of handing over, or of reports, the other has its turn.
const SHARE_NS: u64 = 2_000_000;
/// How long reports are waited for once everything was given up.
const PURGE_LIMIT: Duration = Duration::from_secs(10);
/// A client that can't go on is not replaced more often than this.
const REPLACE_PAUSE_NS: u64 = 1_000_000_000;

/// What a producer is made of.
#[derive(Debug)]
pub struct ProducerSetup {
    /// The client.
    pub client: ClientPlan,
    /// acks=0.
    pub unacknowledged: bool,
    /// `delivery.timeout.ms`, for records that librdkafka has had no room for.
    pub delivery_timeout: Duration,
    /// Where log lines and statistics go.
    pub notes: Notes,
}

/// Runs a producer until everything that its load had to send has ended, or until the load gives up. Returns the load.
///
/// Blocks the calling thread.
///
/// # Errors
/// librdkafka makes no client, or the operating system does not let the loop wait.
pub fn run_producer(setup: ProducerSetup, load: ProducerLoad) -> Result<ProducerLoad, DriverError> {
    run_with(setup, load, |_| {})
}

/// As [`run_producer`]; `act` is called once before the first turn.
fn run_with(
    setup: ProducerSetup,
    load: ProducerLoad,
    act: impl FnOnce(&mut Driver),
) -> Result<ProducerLoad, DriverError> {
    let mut driver = Driver::new(setup, load)?;
    act(&mut driver);
    let mut lateness = Lateness::of_this_thread(monotonic_ns());
    let mut wakeup_ns: u64 = 0;
    loop {
        let inside_ns = std::mem::take(&mut driver.inside_ns);
        let now_ns = sleep_until(wakeup_ns, &driver.wakeup, &mut lateness, inside_ns)?;
        let turn = Turn { now_ns, lateness: &lateness };
        driver.turn(turn)?;
        let over = driver.load.give_up_ns().is_some_and(|at| at <= now_ns);
        if over {
            driver.abandon(turn)?;
        }
        let call_again_ns = driver.load.turned(turn, &driver.stats);
        if over || driver.is_finished() {
            return Ok(driver.load);
        }
        wakeup_ns = driver.wakeup_ns(now_ns).min(call_again_ns);
    }
}

/// Records of one partition that were handed over together.
#[derive(Debug)]
struct Chunk {
    tag: BatchTag,
    count: u64,
    /// So many of the first have ended ...
    ended: u64,
    /// ... and these behind them, in no order: what came back out of turn.
    strays: Vec<Range<u64>>,
}

impl Chunk {
    fn new(tag: BatchTag, count: u64) -> Self {
        Chunk { tag, count, ended: 0, strays: Vec::new() }
    }

    fn first(&self) -> u64 {
        self.tag.first_pseq
    }

    fn end(&self) -> u64 {
        self.tag.first_pseq + self.count
    }

    /// Part of it has ended.
    fn note_ended(&mut self, part: Range<u64>) {
        if part.start == self.first() + self.ended {
            self.ended += part.end - part.start;
        } else {
            self.strays.push(part);
        }
    }

    fn is_over(&self) -> bool {
        self.ended + self.strays.iter().map(|part| part.end - part.start).sum::<u64>() >= self.count
    }

    /// What of it has not ended.
    fn open(&self) -> Vec<Range<u64>> {
        let mut strays = self.strays.clone();
        strays.sort_unstable_by_key(|part| part.start);
        let mut open = Vec::new();
        let mut at = self.first() + self.ended;
        for part in strays {
            if part.start > at {
                open.push(at..part.start);
            }
            at = at.max(part.end);
        }
        if at < self.end() {
            open.push(at..self.end());
        }
        open
    }
}

/// One partition.
#[derive(Debug, Default)]
struct Lane {
    /// What has not ended, oldest first.
    under_way: VecDeque<Chunk>,
    /// Since when something is due that librdkafka has no room for.
    blocked_since: Option<u64>,
}

/// Whether the client can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Working,
    /// It can't go on: what it has is given up, and another one follows as a new incarnation.
    Dying,
}

struct Driver {
    /// Before `wakeup`, which it rings.
    producer: Producer,
    wakeup: Wakeup,
    setup: ProducerSetup,
    load: ProducerLoad,
    lanes: Vec<Lane>,
    staging: Staging,
    folder: Folder,
    stats: ProducerStats,
    incarnation: u16,
    state: State,
    replaced_ns: u64,
    first_lane: usize,
    /// There is more to do at once.
    hurry: bool,
    /// There was no room for all of the last chunk.
    tight: bool,
    /// Time spent in librdkafka's functions since the last sleep.
    inside_ns: u64,
}

impl Driver {
    fn new(setup: ProducerSetup, load: ProducerLoad) -> Result<Self, DriverError> {
        let wakeup = Wakeup::new()?;
        let producer = make(&setup, &load, &wakeup)?;
        let lanes = (0..load.partitions()).map(|_| Lane::default()).collect();
        Ok(Driver {
            producer,
            wakeup,
            setup,
            load,
            lanes,
            staging: Staging::default(),
            folder: Folder::default(),
            stats: ProducerStats::default(),
            incarnation: 0,
            state: State::Working,
            replaced_ns: 0,
            first_lane: 0,
            hurry: false,
            tight: false,
            inside_ns: 0,
        })
    }

    fn is_finished(&self) -> bool {
        self.lanes.iter().all(|lane| lane.under_way.is_empty())
            && (0..self.lanes.len()).all(|p| self.load.next_intended_ns(p).is_none())
    }

    fn turn(&mut self, turn: Turn<'_>) -> Result<(), DriverError> {
        self.hurry = false;
        self.read(turn);
        self.expire(turn);
        if self.state == State::Dying && self.lanes.iter().all(|lane| lane.under_way.is_empty()) {
            self.replace(turn.now_ns)?;
        }
        if self.state == State::Working {
            self.send_due(turn);
        }
        self.note_blocked(turn.now_ns);
        Ok(())
    }

    /// Takes what the client has to tell.
    fn read(&mut self, mut turn: Turn<'_>) {
        while let Some(told) = self.producer.poll() {
            // Read once per request that was answered: nothing may look faster than it was.
            let now_ns = monotonic_ns();
            let began_ns = std::mem::replace(&mut turn.now_ns, now_ns);
            match told {
                Told::Reports(reports) => {
                    for report in reports {
                        if let Some(run) = self.folder.push(&report) {
                            self.settle(&run, turn);
                        }
                    }
                    if let Some(run) = self.folder.flush() {
                        self.settle(&run, turn);
                    }
                }
                Told::Notice(notice) => self.hear(notice),
            }
            turn.now_ns = began_ns;
            if now_ns > began_ns + SHARE_NS {
                self.hurry = true;
                return;
            }
        }
    }

    fn origin(&self) -> Origin {
        Origin::ProducerClient(self.load.plan().producer)
    }

    fn hear(&mut self, notice: Notice) {
        match &notice {
            Notice::TokenWanted => {
                if let Err(why) = self.setup.client.renew(|token| self.producer.set_token(token)) {
                    self.producer.no_token(&why);
                }
            }
            Notice::Error { fatal: true, .. } => self.die(),
            Notice::Error { .. } | Notice::Log { .. } | Notice::Statistics(_) => {}
        }
        self.setup.notes.tell(self.origin(), notice);
    }

    /// The client can't go on. Everything that it has ends, by what is known of it.
    fn die(&mut self) {
        if self.state == State::Working {
            self.state = State::Dying;
            *self.stats.errors.entry(of_broker(Code::FATAL)).or_insert(0) += 1;
            self.producer.purge();
        }
    }

    fn replace(&mut self, now_ns: u64) -> Result<(), DriverError> {
        if now_ns < self.replaced_ns + REPLACE_PAUSE_NS {
            return Ok(());
        }
        self.producer = make(&self.setup, &self.load, &self.wakeup)?;
        self.replaced_ns = now_ns;
        self.incarnation = self.incarnation.saturating_add(1);
        self.state = State::Working;
        Ok(())
    }

    /// What waited for longer than `delivery.timeout.ms` without being handed over is *failed*.
    fn expire(&mut self, turn: Turn<'_>) {
        let oldest_ns = turn.now_ns.saturating_sub(self.setup.delivery_timeout.as_nanos() as u64);
        for partition in 0..self.lanes.len() {
            if self.load.next_intended_ns(partition).is_some_and(|due| due < oldest_ns) {
                let blocked_since_ns = self.lanes[partition].blocked_since;
                self.load.expire_unsent(partition, oldest_ns, blocked_since_ns, turn);
            }
        }
    }

    /// Hands over what is due, a chunk of each partition in turns, until nothing is, or there is no room, or others wait.
    fn send_due(&mut self, turn: Turn<'_>) {
        let lanes = self.lanes.len();
        let until_ns = monotonic_ns() + SHARE_NS;
        loop {
            let mut sent = false;
            for i in 0..lanes {
                let partition = (self.first_lane + i) % lanes;
                if self.load.next_intended_ns(partition).is_none_or(|due| due > turn.now_ns) {
                    continue;
                }
                match self.send_chunk(partition, turn) {
                    Sent::Something => sent = true,
                    Sent::Nothing => {}
                    Sent::NoRoom => {
                        // Next time it begins with the one that had to wait.
                        self.first_lane = partition;
                        return;
                    }
                }
            }
            if !sent {
                break;
            }
            if monotonic_ns() > until_ns {
                self.hurry = true;
                break;
            }
        }
        self.first_lane = (self.first_lane + 1) % lanes.max(1);
    }

    fn send_chunk(&mut self, partition: usize, turn: Turn<'_>) -> Sent {
        self.staging.clear();
        let request = TakeRequest {
            partition,
            incarnation: self.incarnation,
            max_bytes: if self.tight { STAGED_TIGHT_BYTES } else { STAGED_BYTES },
            blocked_since_ns: self.lanes[partition].blocked_since,
        };
        let Some(tag) = self.load.take_into(&request, turn, &mut self.staging) else { return Sent::Nothing };
        let taken = self.staging.records.len() as u64;
        let begun_ns = monotonic_ns();
        let (accepted, refusal) = self.hand_over(partition, tag.first_pseq);
        self.inside_ns += monotonic_ns().saturating_sub(begun_ns);
        self.tight = matches!(refusal, Some(NotTaken::QueueFull));
        let refused = matches!(refusal, Some(NotTaken::Refused { .. }));
        let kept = accepted + u64::from(refused);
        if kept < taken {
            self.load.give_back(partition, &tag, taken, kept);
        }
        self.stats.records_sent += accepted;
        if accepted > 0 {
            self.lanes[partition].under_way.push_back(Chunk::new(tag, accepted));
        }
        match refusal {
            None => Sent::Something,
            Some(NotTaken::QueueFull) => Sent::NoRoom,
            Some(NotTaken::Fatal) => {
                self.die();
                Sent::NoRoom
            }
            Some(NotTaken::Refused { code, text }) => {
                let refused = self.load.part_of(partition, &tag, accepted);
                self.refuse(partition, &refused, code, text, turn);
                Sent::Something
            }
        }
    }

    /// Hands over what is staged. Returns how many records were taken, and why the next one was not.
    fn hand_over(&mut self, partition: usize, first_pseq: u64) -> (u64, Option<NotTaken>) {
        let Self { producer, staging, .. } = self;
        let mut accepted = 0;
        for (timestamp_ms, key, value) in staging.iter() {
            let tag = pack(partition, first_pseq + accepted);
            let record = Record { partition: partition as i32, timestamp_ms, key, value, tag };
            if let Err(refusal) = producer.produce(&record) {
                return (accepted, Some(refusal));
            }
            accepted += 1;
        }
        (accepted, None)
    }

    /// librdkafka does not take a record at all: it is not in the log, and will not be.
    fn refuse(&mut self, partition: usize, tag: &BatchTag, code: Code, text: String, turn: Turn<'_>) {
        let broker_code = of_broker(code);
        *self.stats.errors.entry(broker_code).or_insert(0) += 1;
        self.setup.notes.tell(self.origin(), Notice::Error { text, fatal: false });
        let outcome = BatchOutcome::Failed { code: Some(broker_code) };
        self.load.settled(&settled(*tag, partition, 1, outcome), turn);
    }

    /// Settles records that ended alike, piece by piece: a chunk's have their times in common.
    fn settle(&mut self, run: &Run, turn: Turn<'_>) {
        let outcome = |offset| match run.fate {
            Fate::Acked if self.setup.unacknowledged => BatchOutcome::Unacknowledged,
            Fate::Acked => BatchOutcome::Acked { base_offset: offset },
            Fate::Failed(code) => BatchOutcome::Failed { code: Some(of_broker(code)) },
            Fate::Open(code) => BatchOutcome::Indeterminate { code: Some(of_broker(code)) },
        };
        if let Fate::Failed(code) | Fate::Open(code) = run.fate {
            *self.stats.errors.entry(of_broker(code)).or_insert(0) += 1;
        }
        let chunks = &mut self.lanes[run.partition].under_way;
        let mut at = run.first;
        let end = run.first + u64::from(run.count);
        let mut index = chunks.partition_point(|chunk| chunk.end() <= at);
        while at < end {
            let Some(chunk) = chunks.get_mut(index) else {
                debug_assert!(false, "a report of a record that is not under way: {run:?}");
                break;
            };
            let until = chunk.end().min(end);
            let count = until - at;
            let tag = self.load.part_of(run.partition, &chunk.tag, at - chunk.first());
            let offset = run.offset.map(|offset| offset + (at - run.first) as i64);
            let settled = settled(tag, run.partition, count as u32, outcome(offset));
            chunk.note_ended(at..until);
            self.load.settled(&settled, turn);
            at = until;
            index += 1;
        }
        while chunks.front().is_some_and(Chunk::is_over) {
            chunks.pop_front();
        }
    }

    /// Notes which partitions have something due that stayed although the loop turned: librdkafka gave no room.
    fn note_blocked(&mut self, now_ns: u64) {
        for (partition, lane) in self.lanes.iter_mut().enumerate() {
            let due = !self.hurry && self.load.next_intended_ns(partition).is_some_and(|due| due <= now_ns);
            match (lane.blocked_since, due) {
                (None, true) => lane.blocked_since = Some(now_ns),
                (Some(begun), false) => {
                    self.stats.broker_blocked_ns += now_ns.saturating_sub(begun);
                    lane.blocked_since = None;
                }
                _ => {}
            }
        }
    }

    /// Ends everything: what is under way by what is known of it, what was never handed over as failed.
    fn abandon(&mut self, turn: Turn<'_>) -> Result<(), DriverError> {
        self.producer.purge();
        let begun = std::time::Instant::now();
        while self.lanes.iter().any(|lane| !lane.under_way.is_empty()) && begun.elapsed() < PURGE_LIMIT {
            self.wakeup.wait(Duration::from_nanos(LONGEST_SLEEP_NS))?;
            self.read(Turn { now_ns: monotonic_ns(), ..turn });
        }
        for partition in 0..self.lanes.len() {
            for chunk in std::mem::take(&mut self.lanes[partition].under_way) {
                for part in chunk.open() {
                    let tag = self.load.part_of(partition, &chunk.tag, part.start - chunk.first());
                    let outcome = BatchOutcome::Indeterminate { code: None };
                    self.load
                        .settled(&settled(tag, partition, (part.end - part.start) as u32, outcome), turn);
                }
            }
            self.load.expire_unsent(partition, u64::MAX, self.lanes[partition].blocked_since, turn);
        }
        Ok(())
    }

    /// When there is something to do next, if the client does not ring before.
    fn wakeup_ns(&self, now_ns: u64) -> u64 {
        if self.hurry {
            return now_ns;
        }
        let waiting = self.lanes.iter().enumerate().filter(|(_, lane)| lane.blocked_since.is_none());
        let next = waiting.filter_map(|(partition, _)| self.load.next_intended_ns(partition)).min();
        next.map_or(u64::MAX, |next| next.max(now_ns + TICK_NS))
    }
}

/// What came of an attempt to hand a chunk over.
enum Sent {
    Something,
    Nothing,
    NoRoom,
}

fn make(setup: &ProducerSetup, load: &ProducerLoad, wakeup: &Wakeup) -> Result<Producer, DriverError> {
    let plan = load.plan();
    Ok(Producer::new(setup.client.config()?, &plan.topic, plan.records.headers(), wakeup)?)
}

fn settled(tag: BatchTag, partition: usize, count: u32, outcome: BatchOutcome) -> Settled<BatchTag> {
    Settled {
        tag,
        partition,
        count,
        // Bytes are known per client and second only: `notes` has them. When they were written, nobody knows.
        wire_bytes: 0,
        uncompressed_bytes: 0,
        outcome,
        first_written_ns: None,
        attempts: 1,
    }
}

/// Records that are made and not yet handed over. Reused; once it is warm, nothing is allocated.
#[derive(Debug, Default)]
struct Staging {
    bytes: Vec<u8>,
    records: Vec<Staged>,
}

#[derive(Debug, Clone, Copy)]
struct Staged {
    timestamp_ms: i64,
    /// Where the key begins, if there is one, and where the value does.
    key_at: Option<usize>,
    value_at: usize,
    end: usize,
}

impl Staging {
    fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
    }

    fn iter(&self) -> impl Iterator<Item = (i64, Option<&[u8]>, &[u8])> {
        self.records.iter().map(|staged| {
            let key = staged.key_at.map(|at| &self.bytes[at..staged.value_at]);
            (staged.timestamp_ms, key, &self.bytes[staged.value_at..staged.end])
        })
    }
}

impl RecordTarget for Staging {
    #[inline]
    fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Headers are the same for all records, and known to the client already.
    #[inline]
    fn append(&mut self, spec: &RecordSpec<'_>, write_value: impl FnOnce(&mut [u8])) {
        let begin = self.bytes.len();
        if let Some(key) = spec.key {
            self.bytes.extend_from_slice(key);
        }
        let value_at = self.bytes.len();
        self.bytes.resize(value_at + spec.value_bytes, 0);
        write_value(&mut self.bytes[value_at..]);
        self.records.push(Staged {
            timestamp_ms: spec.timestamp_ms,
            key_at: spec.key.map(|_| begin),
            value_at,
            end: self.bytes.len(),
        });
    }
}

#[cfg(test)]
mod tests;
