//! The loop of one producer of librdkafka: what is due is handed over, what has ended is settled, and in between it sleeps.
//!
//! It is the counterpart of `gauntlet_wire::producer`, with the same workload behind it: schedule, records, recorder and
//! settlements are [`ProducerLoad`]'s. Lingering, batches, retries and recovery are librdkafka's, in threads of its own.
//!
//! **Who was the limit?** When librdkafka's queue is full, it gives no room, as a broker gives none: what waits then is not
//! late because of gauntlet. Time inside librdkafka's functions on this thread is not gauntlet's either. What is left is: a
//! loop that was busy with making records or with reports, and a host that did not run it.

use std::collections::VecDeque;
use std::time::Duration;

use gauntlet_rdkafka::producer::{NotTaken, Producer, Record, Told};
use gauntlet_rdkafka::wakeup::Wakeup;
use gauntlet_rdkafka::{Code, Notice};
use gauntlet_wire::batch::RecordSpec;
use gauntlet_wire::lateness::Lateness;
use gauntlet_wire::monotonic_ns;
use gauntlet_wire::producer::{BatchOutcome, ProducerStats, TakeRequest, Turn, Workload};

use super::TICK_NS;
use super::connect::{ClientPlan, DriverError};
use super::folding::{Fate, of_broker, pack, run_of};
use super::notes::Notes;
use super::sleep::{LONGEST_SLEEP_NS, sleep_until};
use crate::load::chunk::Chunk;
use crate::load::folding::{Folder, Run};
use crate::load::lanes::{Lanes, settled};
use crate::load::producer::BatchTag;
use crate::load::records::{IDENTITY_HEADER, RecordTarget};
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
    lanes: Lanes,
    /// What has not ended, per partition, oldest first.
    under_way: Vec<VecDeque<Chunk>>,
    staging: Staging,
    folder: Folder<Fate>,
    stats: ProducerStats,
    incarnation: u16,
    state: State,
    replaced_ns: u64,
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
        let partitions = load.partitions();
        Ok(Driver {
            producer,
            wakeup,
            setup,
            load,
            lanes: Lanes::new(partitions),
            under_way: (0..partitions).map(|_| VecDeque::new()).collect(),
            staging: Staging::default(),
            folder: Folder::default(),
            stats: ProducerStats::default(),
            incarnation: 0,
            state: State::Working,
            replaced_ns: 0,
            hurry: false,
            tight: false,
            inside_ns: 0,
        })
    }

    fn is_finished(&self) -> bool {
        self.is_idle() && self.lanes.is_all_taken(&self.load)
    }

    /// Whether nothing is under way.
    fn is_idle(&self) -> bool {
        self.under_way.iter().all(VecDeque::is_empty)
    }

    fn turn(&mut self, turn: Turn<'_>) -> Result<(), DriverError> {
        self.hurry = false;
        self.read(turn);
        self.lanes.expire(&mut self.load, self.setup.delivery_timeout, turn);
        if self.state == State::Dying && self.is_idle() {
            self.replace(turn.now_ns)?;
        }
        if self.state == State::Working {
            self.send_due(turn);
        }
        self.lanes.note_blocked(&self.load, turn.now_ns, self.hurry, &mut self.stats);
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
                        if let Some(run) = self.folder.push(run_of(&report)) {
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

    /// Hands over what is due, a chunk of each partition in turns, until nothing is, or there is no room, or others wait.
    fn send_due(&mut self, turn: Turn<'_>) {
        let lanes = self.lanes.len();
        let until_ns = monotonic_ns() + SHARE_NS;
        loop {
            let mut sent = false;
            for i in 0..lanes {
                let partition = (self.lanes.first + i) % lanes;
                if self.load.next_intended_ns(partition).is_none_or(|due| due > turn.now_ns) {
                    continue;
                }
                match self.send_chunk(partition, turn) {
                    Sent::Something => sent = true,
                    Sent::Nothing => {}
                    Sent::NoRoom => {
                        // Next time it begins with the one that had to wait.
                        self.lanes.first = partition;
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
        self.lanes.first = (self.lanes.first + 1) % lanes.max(1);
    }

    fn send_chunk(&mut self, partition: usize, turn: Turn<'_>) -> Sent {
        self.staging.clear();
        let request = TakeRequest {
            partition,
            incarnation: self.incarnation,
            max_bytes: if self.tight { STAGED_TIGHT_BYTES } else { STAGED_BYTES },
            blocked_since_ns: self.lanes.blocked_since_ns(partition),
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
            self.under_way[partition].push_back(Chunk::new(tag, accepted));
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
        for record in staging.iter() {
            let tag = pack(partition, first_pseq + accepted);
            let record = Record { partition: partition as i32, tag, ..record };
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
    fn settle(&mut self, run: &Run<Fate>, turn: Turn<'_>) {
        let outcome = |offset| match run.fate {
            Fate::Acked if self.setup.unacknowledged => BatchOutcome::Unacknowledged,
            Fate::Acked => BatchOutcome::Acked { base_offset: offset },
            Fate::Failed(code) => BatchOutcome::Failed { code: Some(of_broker(code)) },
            Fate::Open(code) => BatchOutcome::Indeterminate { code: Some(of_broker(code)) },
        };
        if let Fate::Failed(code) | Fate::Open(code) = run.fate {
            *self.stats.errors.entry(of_broker(code)).or_insert(0) += 1;
        }
        let partition = run.lane;
        let chunks = &mut self.under_way[partition];
        let mut at = run.first;
        let end = run.first + run.count;
        let mut index = chunks.partition_point(|chunk| chunk.tag.first_pseq + chunk.count() <= at);
        while at < end {
            let Some(chunk) = chunks.get_mut(index) else {
                debug_assert!(false, "a report of a record that is not under way: {run:?}");
                break;
            };
            let first = chunk.tag.first_pseq;
            let until = (first + chunk.count()).min(end);
            let tag = self.load.part_of(partition, &chunk.tag, at - first);
            let offset = run.offset.map(|offset| offset + (at - run.first) as i64);
            let is_first_end = chunk.end(at - first..until - first);
            debug_assert!(is_first_end, "a record ended twice: {run:?}");
            self.load.settled(&settled(tag, partition, until - at, outcome(offset)), turn);
            at = until;
            index += 1;
        }
        while chunks.front().is_some_and(Chunk::is_over) {
            chunks.pop_front();
        }
    }

    /// Ends everything: what is under way by what is known of it, what was never handed over as failed.
    fn abandon(&mut self, turn: Turn<'_>) -> Result<(), DriverError> {
        self.producer.purge();
        let begun = std::time::Instant::now();
        while !self.is_idle() && begun.elapsed() < PURGE_LIMIT {
            self.wakeup.wait(Duration::from_nanos(LONGEST_SLEEP_NS))?;
            self.read(Turn { now_ns: monotonic_ns(), ..turn });
        }
        for partition in 0..self.under_way.len() {
            for chunk in std::mem::take(&mut self.under_way[partition]) {
                for part in chunk.open() {
                    let tag = self.load.part_of(partition, &chunk.tag, part.start);
                    let outcome = BatchOutcome::Indeterminate { code: None };
                    self.load.settled(&settled(tag, partition, part.end - part.start, outcome), turn);
                }
            }
        }
        self.lanes.give_up(&mut self.load, turn);
        Ok(())
    }

    /// When there is something to do next, if the client does not ring before.
    fn wakeup_ns(&self, now_ns: u64) -> u64 {
        if self.hurry {
            return now_ns;
        }
        self.lanes.next_due_ns(&self.load).map_or(u64::MAX, |next| next.max(now_ns + TICK_NS))
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

/// Records that are made and not yet handed over. Reused; once it is warm, nothing is allocated.
#[derive(Debug, Default)]
struct Staging {
    bytes: Vec<u8>,
    records: Vec<Staged>,
}

#[derive(Debug, Clone, Copy)]
struct Staged {
    timestamp_ms: i64,
    /// Where the key begins, if there is one, the identity that goes into a header, if one does, and the value.
    key_at: Option<usize>,
    own_at: Option<usize>,
    value_at: usize,
    end: usize,
}

impl Staging {
    fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
    }

    /// The records, without partition and tag.
    fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        self.records.iter().map(|staged| {
            let own_at = staged.own_at.unwrap_or(staged.value_at);
            Record {
                partition: 0,
                timestamp_ms: staged.timestamp_ms,
                key: staged.key_at.map(|at| &self.bytes[at..own_at]),
                header: staged.own_at.map(|at| (IDENTITY_HEADER, &self.bytes[at..staged.value_at])),
                value: &self.bytes[staged.value_at..staged.end],
                tag: 0,
            }
        })
    }
}

impl RecordTarget for Staging {
    #[inline]
    fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Headers that are the same for all records are known to the client already.
    #[inline]
    fn append(&mut self, spec: &RecordSpec<'_>, write_value: impl FnOnce(&mut [u8])) {
        let begin = self.bytes.len();
        if let Some(key) = spec.key {
            self.bytes.extend_from_slice(key);
        }
        let own_at = spec.own_header.map(|(_, identity)| {
            let at = self.bytes.len();
            self.bytes.extend_from_slice(identity);
            at
        });
        let value_at = self.bytes.len();
        self.bytes.resize(value_at + spec.value_bytes, 0);
        write_value(&mut self.bytes[value_at..]);
        self.records.push(Staged {
            timestamp_ms: spec.timestamp_ms,
            key_at: spec.key.map(|_| begin),
            own_at,
            value_at,
            end: self.bytes.len(),
        });
    }
}

#[cfg(test)]
mod tests;
