//! The loop of one reader of librdkafka: the same checks as with `gauntlet_wire::fetcher`, of what this client shows.
//!
//! It shows no batches: their sequence numbers, and which replica gave which high watermark, can't be looked at. Checksums of
//! batches are librdkafka's to verify (`check.crcs`); every record's own is verified here as ever.

use std::time::Duration;

use gauntlet_rdkafka::consumer::{Batch, Consumer, Message};
use gauntlet_rdkafka::wakeup::Wakeup;
use gauntlet_rdkafka::{Code, Notice};
use gauntlet_wire::fetcher::{FetcherStats, Jump, RecordSink};
use gauntlet_wire::lateness::Lateness;
use gauntlet_wire::monotonic_ns;
use gauntlet_wire::producer::Turn;

use super::connect::{ClientPlan, DriverError};
use super::folding::of_broker;
use super::notes::Notes;
use super::sleep::sleep_until;
use crate::load::reader::Elsewhere;
use crate::load::records::IDENTITY_HEADER;
use crate::load::{Origin, Reader};

/// How often high watermarks are looked at, for the lag.
const WATERMARKS_EVERY_NS: u64 = 50_000_000;
/// How long a leader may take to tell where its log begins and ends, when a position is not in it.
const ASK_LIMIT: Duration = Duration::from_secs(5);
/// A partition whose log could not be asked for is tried again after this.
const RETRY_NS: u64 = 500_000_000;

/// What a reader is made of.
#[derive(Debug, Clone)]
pub struct ReaderSetup {
    /// The client.
    pub client: ClientPlan,
    /// Where log lines and statistics go.
    pub notes: Notes,
}

/// Reads until the sink has enough, and returns it. Blocks the calling thread.
///
/// # Errors
/// librdkafka makes no client or refuses a partition, or the operating system does not let the loop wait.
pub fn run_reader(setup: ReaderSetup, sink: Reader) -> Result<Reader, DriverError> {
    let mut driver = Driver::new(setup, sink)?;
    let mut lateness = Lateness::of_this_thread(monotonic_ns());
    let mut wakeup_ns: u64 = 0;
    loop {
        let inside_ns = std::mem::take(&mut driver.inside_ns);
        let now_ns = sleep_until(wakeup_ns, &driver.wakeup, &mut lateness, inside_ns)?;
        let turn = Turn { now_ns, lateness: &lateness };
        let more = driver.turn(turn)?;
        let call_again_ns = driver.sink.turned(turn, &driver.stats);
        if driver.sink.finished(now_ns) {
            return Ok(driver.sink);
        }
        wakeup_ns = if more { now_ns } else { driver.wakeup_ns().min(call_again_ns) };
    }
}

/// A partition whose position is not in its log.
#[derive(Debug, Clone, Copy)]
struct Astray {
    partition: i32,
    not_before_ns: u64,
}

struct Driver {
    /// Before `wakeup`, which it rings.
    consumer: Consumer,
    wakeup: Wakeup,
    setup: ReaderSetup,
    sink: Reader,
    stats: FetcherStats,
    astray: Vec<Astray>,
    next_watermarks_ns: u64,
    /// Time spent in librdkafka's functions since the last sleep.
    inside_ns: u64,
}

impl Driver {
    fn new(setup: ReaderSetup, sink: Reader) -> Result<Self, DriverError> {
        let wakeup = Wakeup::new()?;
        let mut consumer = Consumer::new(setup.client.config()?, &sink.plan().topic, &wakeup)?;
        for (partition, offset) in &sink.plan().assigned {
            consumer.start(*partition as i32, *offset)?;
        }
        Ok(Driver {
            consumer,
            wakeup,
            setup,
            sink,
            stats: FetcherStats::default(),
            astray: Vec::new(),
            next_watermarks_ns: 0,
            inside_ns: 0,
        })
    }

    /// Everything that a turn does. Whether there may be more to do at once.
    fn turn(&mut self, turn: Turn<'_>) -> Result<bool, DriverError> {
        while let Some(notice) = self.consumer.poll() {
            self.hear(notice);
        }
        let Self { consumer, sink, stats, astray, inside_ns, .. } = self;
        let begun_ns = monotonic_ns();
        let batch = consumer.take();
        *inside_ns += monotonic_ns().saturating_sub(begun_ns);
        let more = !batch.is_empty();
        deliver(&batch, sink, stats, astray, turn);
        let begun_ns = monotonic_ns();
        drop(batch);
        *inside_ns += monotonic_ns().saturating_sub(begun_ns);
        self.find_back(turn.now_ns)?;
        if turn.now_ns >= self.next_watermarks_ns {
            self.next_watermarks_ns = turn.now_ns + WATERMARKS_EVERY_NS;
            self.note_watermarks();
        }
        Ok(more)
    }

    fn hear(&mut self, notice: Notice) {
        if notice == Notice::TokenWanted
            && let Err(why) = self.setup.client.renew(|token| self.consumer.set_token(token))
        {
            self.consumer.no_token(&why);
        }
        self.setup.notes.tell(Origin::ReaderClient(self.sink.plan().reader), notice);
    }

    fn note_watermarks(&mut self) {
        let partitions: Vec<usize> = self.sink.plan().assigned.keys().copied().collect();
        for partition in partitions {
            if let Some((_, high)) = self.consumer.known_watermarks(partition as i32) {
                self.sink.note_high_watermark(partition, high);
            }
        }
    }

    /// Goes on reading partitions whose position was not in the log, where the log is now.
    fn find_back(&mut self, now_ns: u64) -> Result<(), DriverError> {
        let (due, later) = self.astray.iter().partition(|a| a.not_before_ns <= now_ns);
        let due: Vec<Astray> = due;
        self.astray = later;
        for Astray { partition, .. } in due {
            let index = partition as usize;
            let Some(position) = self.sink.position(index) else { continue };
            let (low, high) = match self.consumer.ask_watermarks(partition, ASK_LIMIT) {
                Ok(found) => found,
                Err(error) => {
                    let text = format!("{}: {error}", self.sink.plan().topic);
                    self.hear(Notice::Error { text, fatal: false });
                    self.astray.push(Astray { partition, not_before_ns: monotonic_ns() + RETRY_NS });
                    continue;
                }
            };
            let to = position.clamp(low, high.max(low));
            if to > position {
                self.sink.jumped(index, position, to, Jump::Expired);
            } else if to < position {
                self.sink.jumped(index, position, to, Jump::Truncated);
            }
            self.consumer.restart(partition, to)?;
        }
        Ok(())
    }

    /// When there is something to do next, if the client does not ring before.
    fn wakeup_ns(&self) -> u64 {
        self.astray.iter().map(|a| a.not_before_ns).min().unwrap_or(u64::MAX)
    }
}

/// Hands a batch to the sink: consecutive records of one partition and leader epoch together.
fn deliver(
    batch: &Batch<'_>,
    sink: &mut Reader,
    stats: &mut FetcherStats,
    astray: &mut Vec<Astray>,
    turn: Turn<'_>,
) {
    let elsewhere = sink.plan().elsewhere;
    let mut at = 0;
    while let Some(first) = batch.get(at) {
        if !first.code().is_ok() {
            note_error(&first, sink, stats, astray);
            at += 1;
            continue;
        }
        let (partition, epoch) = (first.partition(), first.leader_epoch());
        let (mut end, mut last_offset) = (at + 1, first.offset());
        while let Some(next) = batch.get(end).filter(|next| {
            next.code().is_ok() && next.partition() == partition && next.leader_epoch() == epoch
        }) {
            last_offset = next.offset();
            end += 1;
        }
        // A client that goes back is caught by the checker as one that read twice.
        let records = (at..end).filter_map(|i| batch.get(i)).map(|message| {
            let value = message.value();
            stats.bytes += value.len() as u64;
            (message.offset(), identity(&message, elsewhere), value)
        });
        sink.records(partition as usize, epoch, last_offset, records, turn);
        at = end;
    }
}

/// The identity of a record whose identity is its key or in a header.
#[inline]
fn identity<'a>(message: &Message<'a>, elsewhere: Elsewhere) -> Option<&'a [u8]> {
    match elsewhere {
        Elsewhere { in_key: true, .. } => message.key(),
        Elsewhere { in_header: true, .. } => message.header(IDENTITY_HEADER),
        _ => None,
    }
}

fn note_error(message: &Message<'_>, sink: &mut Reader, stats: &mut FetcherStats, astray: &mut Vec<Astray>) {
    let (code, partition) = (message.code(), message.partition());
    *stats.errors.entry(of_broker(code)).or_insert(0) += 1;
    match code {
        Code::AUTO_OFFSET_RESET | Code::LOG_TRUNCATION => {
            // It says so once; twice would start it twice.
            astray.retain(|a| a.partition != partition);
            astray.push(Astray { partition, not_before_ns: 0 });
        }
        Code::BAD_MSG | Code::BAD_COMPRESSION => {
            sink.note_broken(partition as usize, &message.error_text());
        }
        _ => {}
    }
}
