//! The loop of one producer whose client is a program: what is due is handed over as lines, what has ended is settled, and in
//! between it sleeps.
//!
//! It is the counterpart of `rdkafka/produce`, with the same workload behind it: schedule, records, recorder and settlements
//! are [`ProducerLoad`]'s.
//!
//! **Who was the limit?** When the pipe is full, the program gives no room, as a broker gives none: what waits then is not late
//! because of gauntlet.

use std::collections::VecDeque;
use std::time::Duration;

use gauntlet_wire::ErrorCode;
use gauntlet_wire::lateness::Lateness;
use gauntlet_wire::monotonic_ns;
use gauntlet_wire::producer::{BatchOutcome, ProducerStats, TakeRequest, Turn, Workload};

use super::lines::{self, Ids, Line, SendLines};
use super::log::Scribe;
use super::partner::Partner;
use super::program::{Broken, ExternalError, Left, Next};
use super::{CLIENT_ERROR, TICK_NS};
use crate::load::ProducerLoad;
use crate::load::chunk::Chunk;
use crate::load::folding::{Folder, Run};
use crate::load::lanes::{Lanes, settled};

/// Bytes of records of one partition that are made at once.
const CHUNK_BYTES: usize = 32 << 10;
/// Bytes that may wait for room in the pipe: more is made when these are gone.
const WAITING_BYTES: usize = 64 << 10;
/// After so long of handing over, or of reports, the other has its turn.
const SHARE_NS: u64 = 2_000_000;

/// What a producer is made of, besides its program.
#[derive(Debug, Clone, Copy)]
pub struct ProducerSetup {
    /// acks=0.
    pub unacknowledged: bool,
    /// `delivery.timeout.ms`, for records that the program has had no room for.
    pub delivery_timeout: Duration,
}

/// Runs a producer until everything that its load had to send has ended, or until the load gives up. Returns the load.
///
/// Blocks the calling thread, which is to be the one that started the program.
///
/// # Errors
/// The program breaks the contract, or ends again and again.
pub fn run_producer(
    setup: ProducerSetup,
    mut partner: Partner,
    load: ProducerLoad,
) -> Result<ProducerLoad, ExternalError> {
    let mut driver = Driver::new(setup, partner.launch().scribe.clone(), load);
    let mut lateness = Lateness::of_this_thread(monotonic_ns());
    let mut wakeup_ns: u64 = 0;
    loop {
        let now_ns = partner.sleep_until(wakeup_ns, &mut lateness)?;
        let turn = Turn { now_ns, lateness: &lateness };
        driver.turn(&mut partner, turn)?;
        let over = driver.load.give_up_ns().is_some_and(|at| at <= now_ns);
        if over {
            driver.abandon(turn);
        }
        let call_again_ns = driver.load.turned(turn, &driver.stats);
        if over {
            // It is ended as it is: nobody waits for what it has.
            return Ok(driver.load);
        }
        if driver.is_finished() {
            partner.finish(|line, now_ns| driver.hear(line, now_ns, turn))?;
            return Ok(driver.load);
        }
        wakeup_ns = driver.wakeup_ns(now_ns).min(call_again_ns);
    }
}

/// Records of one partition that were handed over together, with the ids of their program.
#[derive(Debug)]
struct Sent {
    first_id: u64,
    partition: usize,
    chunk: Chunk,
}

impl Sent {
    fn end_id(&self) -> u64 {
        self.first_id + self.chunk.count()
    }
}

/// What became of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Acked,
    Failed(ErrorCode),
    Open(ErrorCode),
}

/// What a program's "failed" says. Its word counts for its own errors, and for those that a broker decides before the append
/// (KAFKA-13574).
fn fate_of_failed(code: ErrorCode) -> Fate {
    if code == CLIENT_ERROR || code.rejected_before_append() { Fate::Failed(code) } else { Fate::Open(code) }
}

struct Driver {
    setup: ProducerSetup,
    scribe: Scribe,
    load: ProducerLoad,
    lanes: Lanes,
    /// What has not ended, by id.
    under_way: VecDeque<Sent>,
    sending: SendLines,
    folder: Folder<Fate>,
    stats: ProducerStats,
    incarnation: u16,
    /// There is more to do at once.
    hurry: bool,
    /// Reasons of errors that were written to the log in this turn.
    notes: u32,
    /// The program says that it can't go on.
    fatal: bool,
    /// Something was acked since this was last looked at.
    progress: bool,
}

impl Driver {
    fn new(setup: ProducerSetup, scribe: Scribe, load: ProducerLoad) -> Self {
        Driver {
            setup,
            scribe,
            lanes: Lanes::new(load.partitions()),
            under_way: VecDeque::new(),
            sending: SendLines::new(load.plan().records.headers()),
            folder: Folder::default(),
            stats: ProducerStats::default(),
            incarnation: 0,
            hurry: false,
            notes: 0,
            fatal: false,
            progress: false,
            load,
        }
    }

    fn is_finished(&self) -> bool {
        self.under_way.is_empty() && self.lanes.is_all_taken(&self.load)
    }

    fn turn(&mut self, partner: &mut Partner, turn: Turn<'_>) -> Result<(), ExternalError> {
        (self.hurry, self.notes) = (false, 0);
        self.read(partner, turn)?;
        self.lanes.expire(&mut self.load, self.setup.delivery_timeout, turn);
        if !self.is_finished() {
            partner.tend(Clone::clone)?;
        }
        self.send_due(partner, turn)?;
        self.lanes.note_blocked(&self.load, turn.now_ns, self.hurry, &mut self.stats);
        Ok(())
    }

    /// Takes what the program has to tell.
    fn read(&mut self, partner: &mut Partner, turn: Turn<'_>) -> Result<(), ExternalError> {
        let until_ns = turn.now_ns + SHARE_NS;
        if partner.is_replaced() {
            self.start_over(turn);
        }
        let Some(program) = partner.ready() else { return Ok(()) };
        let left = loop {
            let left = program.read(|line, now_ns| self.hear(line, now_ns, turn));
            // What was said before the line that breaks the contract is as good as ever.
            self.settle_folded(turn);
            match left? {
                Left::More if self.fatal => break Left::Over,
                Left::More if monotonic_ns() < until_ns => {}
                left => break left,
            }
        };
        if std::mem::take(&mut self.progress) {
            partner.note_progress();
        }
        self.hurry = left == Left::More;
        if left == Left::Over || self.fatal {
            self.fatal = false;
            self.start_over(turn);
            partner.bury()?;
        }
        Ok(())
    }

    /// Takes one line, read at `now_ns`.
    fn hear(&mut self, line: &[u8], now_ns: u64, turn: Turn<'_>) -> Result<Next, Broken> {
        let turn = Turn { now_ns, ..turn };
        let (ids, offset, fate) = match lines::parse(line)? {
            Line::Acked { ids, offset } => (ids, offset, Fate::Acked),
            Line::Failed { ids, code, text } => {
                self.note_error(code, text);
                (ids, None, fate_of_failed(code))
            }
            Line::Unknown { ids, code, text } => {
                self.note_error(code, text);
                (ids, None, Fate::Open(code))
            }
            Line::Log(text) => {
                self.scribe.log(text);
                return Ok(Next::Line);
            }
            Line::Fatal(text) => {
                self.scribe.log(&format!("fatal: {text}"));
                self.fatal = true;
                return Ok(Next::Stop);
            }
            Line::Ready => return Err(Broken::OutOfPlace),
            _ => return Err(Broken::NotThisRole("producer")),
        };
        self.note_ended(ids)?;
        let run = Run { lane: 0, first: ids.first, count: ids.last - ids.first + 1, offset, fate };
        if let Some(run) = self.folder.push(run) {
            self.settle(&run, turn);
        }
        Ok(Next::Line)
    }

    fn note_error(&mut self, code: ErrorCode, text: &str) {
        /// What is said of each of many records is not worth a line each.
        const NOTES_MAX: u32 = 20;
        *self.stats.errors.entry(code).or_insert(0) += 1;
        if !text.is_empty() && self.notes < NOTES_MAX {
            self.notes += 1;
            let name = super::code_name(code).unwrap_or_else(|| code.name());
            self.scribe.log(&format!("{name}: {text}"));
        }
    }

    /// Index of what holds the record of an id, or would.
    fn index_of(&self, id: u64) -> usize {
        self.under_way.partition_point(|sent| sent.end_id() <= id)
    }

    /// Each id was sent, and ends once.
    fn note_ended(&mut self, ids: Ids) -> Result<(), Broken> {
        let next_id = self.sending.next_id();
        if ids.last >= next_id {
            return Err(Broken::NotSent(ids.first.max(next_id)));
        }
        let mut index = self.index_of(ids.first);
        let mut at = ids.first;
        while at <= ids.last {
            let sent = self.under_way.get_mut(index).filter(|sent| sent.first_id <= at);
            let sent = sent.ok_or(Broken::EndedAlready)?;
            let until = sent.end_id().min(ids.last + 1);
            if !sent.chunk.end(at - sent.first_id..until - sent.first_id) {
                return Err(Broken::EndedAlready);
            }
            at = until;
            index += 1;
        }
        Ok(())
    }

    fn settle_folded(&mut self, turn: Turn<'_>) {
        if let Some(run) = self.folder.flush() {
            self.settle(&run, Turn { now_ns: monotonic_ns(), ..turn });
        }
        while self.under_way.front().is_some_and(|sent| sent.chunk.is_over()) {
            self.under_way.pop_front();
        }
    }

    /// Settles records that ended alike, piece by piece: a chunk's have their times in common.
    fn settle(&mut self, run: &Run<Fate>, turn: Turn<'_>) {
        let outcome = |offset| match run.fate {
            Fate::Acked if self.setup.unacknowledged => BatchOutcome::Unacknowledged,
            Fate::Acked => BatchOutcome::Acked { base_offset: offset },
            Fate::Failed(code) => BatchOutcome::Failed { code: Some(code) },
            Fate::Open(code) => BatchOutcome::Indeterminate { code: Some(code) },
        };
        self.progress |= run.fate == Fate::Acked;
        let (mut at, end) = (run.first, run.first + run.count);
        let mut index = self.index_of(at);
        while at < end {
            let Some(sent) = self.under_way.get(index) else {
                debug_assert!(false, "what ended was looked up before: {run:?}");
                break;
            };
            let until = sent.end_id().min(end);
            let tag = self.load.part_of(sent.partition, &sent.chunk.tag, at - sent.first_id);
            let offset = run.offset.map(|offset| offset.saturating_add_unsigned(at - run.first));
            self.load.settled(&settled(tag, sent.partition, until - at, outcome(offset)), turn);
            at = until;
            index += 1;
        }
    }

    /// What follows is another program's.
    fn start_over(&mut self, turn: Turn<'_>) {
        self.load.client_lost(turn.now_ns);
        self.let_go(turn);
        self.sending.restart();
        self.incarnation = self.incarnation.saturating_add(1);
    }

    /// Nobody will tell any more what became of what is under way.
    fn let_go(&mut self, turn: Turn<'_>) {
        for sent in std::mem::take(&mut self.under_way) {
            for part in sent.chunk.open() {
                let tag = self.load.part_of(sent.partition, &sent.chunk.tag, part.start);
                let outcome = BatchOutcome::Indeterminate { code: None };
                self.load.settled(&settled(tag, sent.partition, part.end - part.start, outcome), turn);
            }
        }
    }

    /// Ends everything: what is under way by what is known of it, what was never handed over as failed.
    fn abandon(&mut self, turn: Turn<'_>) {
        self.let_go(turn);
        self.lanes.give_up(&mut self.load, turn);
    }

    /// Hands over what is due, a chunk of each partition in turns, until nothing is, or there is no room, or others wait.
    fn send_due(&mut self, partner: &mut Partner, turn: Turn<'_>) -> Result<(), ExternalError> {
        let Some(program) = partner.ready() else { return Ok(()) };
        let lanes = self.lanes.len();
        let until_ns = monotonic_ns() + SHARE_NS;
        program.flush()?;
        loop {
            let mut sent = false;
            for i in 0..lanes {
                let partition = (self.lanes.first + i) % lanes;
                if program.unwritten() >= WAITING_BYTES {
                    program.flush()?;
                }
                if program.unwritten() >= WAITING_BYTES {
                    // Next time it begins with the one that had to wait.
                    self.lanes.first = partition;
                    return Ok(());
                }
                if self.load.next_intended_ns(partition).is_some_and(|due| due <= turn.now_ns) {
                    sent |= self.make_chunk(partition, turn);
                    program.say(self.sending.lines());
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
        program.flush()
    }

    /// Makes lines of what is due of a partition. Whether there was something.
    fn make_chunk(&mut self, partition: usize, turn: Turn<'_>) -> bool {
        let first_id = self.sending.begin(partition);
        let request = TakeRequest {
            partition,
            incarnation: self.incarnation,
            max_bytes: CHUNK_BYTES,
            blocked_since_ns: self.lanes.blocked_since_ns(partition),
        };
        let Some(tag) = self.load.take_into(&request, turn, &mut self.sending) else { return false };
        let count = self.sending.next_id() - first_id;
        self.stats.records_sent += count;
        self.under_way.push_back(Sent { first_id, partition, chunk: Chunk::new(tag, count) });
        true
    }

    /// When there is something to do next, if the program says nothing before.
    fn wakeup_ns(&self, now_ns: u64) -> u64 {
        if self.hurry {
            return now_ns;
        }
        self.lanes.next_due_ns(&self.load).map_or(u64::MAX, |next| next.max(now_ns + TICK_NS))
    }
}

#[cfg(test)]
mod tests;
