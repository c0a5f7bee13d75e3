//! The loop of one reader whose client is a program: the same checks as with `gauntlet_wire::fetcher`, of what it hands over.
//!
//! It shows no batches: their checksums and sequence numbers are its client's to look at; every record's own checksum is
//! verified here as ever.

use std::collections::BTreeMap;
use std::ops::Range;

use gauntlet_wire::fetcher::{FetcherStats, Jump, RecordSink};
use gauntlet_wire::lateness::Lateness;
use gauntlet_wire::monotonic_ns;
use gauntlet_wire::producer::Turn;

use super::lines::{self, Line, decode_record};
use super::log::Scribe;
use super::partner::Partner;
use super::program::{Broken, ExternalError, Left, Next};
use crate::load::Reader;

/// After so long of reading, the loop looks at what else there is to do.
const SHARE_NS: u64 = 2_000_000;

/// Reads until the sink has enough, and returns it. Blocks the calling thread, which is to be the one that started the program.
///
/// # Errors
/// The program breaks the contract, or ends again and again.
pub fn run_reader(mut partner: Partner, sink: Reader) -> Result<Reader, ExternalError> {
    let mut driver = Driver::new(partner.launch().scribe.clone(), sink);
    let mut lateness = Lateness::of_this_thread(monotonic_ns());
    let mut wakeup_ns: u64 = 0;
    loop {
        let now_ns = partner.sleep_until(wakeup_ns, &mut lateness)?;
        let turn = Turn { now_ns, lateness: &lateness };
        let more = driver.turn(&mut partner, turn)?;
        let call_again_ns = driver.sink.turned(turn, &driver.stats);
        if driver.sink.finished(now_ns) {
            // There may be more on the way; nobody waits for it.
            partner.finish(|_, _| Ok(Next::Line))?;
            return Ok(driver.sink);
        }
        wakeup_ns = if more { now_ns } else { call_again_ns };
    }
}

/// Records of one partition that are decoded and not handed to the sink yet.
#[derive(Debug, Default)]
struct Staged {
    partition: usize,
    bytes: Vec<u8>,
    records: Vec<(i64, Range<usize>)>,
}

struct Driver {
    sink: Reader,
    scribe: Scribe,
    stats: FetcherStats,
    staged: Staged,
    fatal: bool,
    progress: bool,
}

impl Driver {
    fn new(scribe: Scribe, sink: Reader) -> Self {
        Driver {
            sink,
            scribe,
            stats: FetcherStats::default(),
            staged: Staged::default(),
            fatal: false,
            progress: false,
        }
    }

    /// Everything that a turn does. Whether there may be more to do at once.
    fn turn(&mut self, partner: &mut Partner, turn: Turn<'_>) -> Result<bool, ExternalError> {
        let more = self.read(partner, turn)?;
        let sink = &self.sink;
        partner.tend(|plan| {
            let partitions = sink.plan().assigned.keys();
            let at = |partition: &usize| Some((*partition, sink.position(*partition)?));
            plan.from(&partitions.filter_map(at).collect::<BTreeMap<_, _>>())
        })?;
        if let Some(program) = partner.ready() {
            program.flush()?;
        }
        Ok(more)
    }

    fn read(&mut self, partner: &mut Partner, turn: Turn<'_>) -> Result<bool, ExternalError> {
        let until_ns = turn.now_ns + SHARE_NS;
        // Its successor goes on from where this one was read to.
        partner.is_replaced();
        let Some(program) = partner.ready() else { return Ok(false) };
        let left = loop {
            let left = program.read(|line, now_ns| self.hear(line, Turn { now_ns, ..turn }));
            self.hand_in(Turn { now_ns: monotonic_ns(), ..turn });
            match left? {
                Left::More if self.fatal => break Left::Over,
                Left::More if monotonic_ns() < until_ns => {}
                left => break left,
            }
        };
        if std::mem::take(&mut self.progress) {
            partner.note_progress();
        }
        if left == Left::Over || std::mem::take(&mut self.fatal) {
            self.fatal = false;
            partner.bury()?;
        }
        Ok(left == Left::More)
    }

    /// Takes one line.
    fn hear(&mut self, line: &[u8], turn: Turn<'_>) -> Result<Next, Broken> {
        match lines::parse(line)? {
            Line::Read { partition, offset, value, identity } => {
                self.stage(partition, offset, turn)?;
                let Staged { bytes, records, .. } = &mut self.staged;
                let from = bytes.len();
                decode_record(value, identity, bytes)?;
                self.stats.bytes += (bytes.len() - from) as u64;
                records.push((offset, from..bytes.len()));
                self.progress = true;
            }
            Line::Position { partition, offset } => {
                let position = self.position(partition)?;
                if offset < position {
                    return Err(Broken::WentBack { partition, offset, position });
                }
                if offset > position {
                    self.hand_in(turn);
                    self.sink.records(partition, -1, offset - 1, std::iter::empty(), turn);
                    self.progress = true;
                }
            }
            Line::Expired { partition, offset } => self.jump(partition, offset, Jump::Expired, turn)?,
            Line::Truncated { partition, offset } => self.jump(partition, offset, Jump::Truncated, turn)?,
            Line::Watermark { partition, offset } => {
                self.position(partition)?;
                self.hand_in(turn);
                self.sink.note_high_watermark(partition, offset);
            }
            Line::Log(text) => self.scribe.log(text),
            Line::Fatal(text) => {
                self.scribe.log(&format!("fatal: {text}"));
                self.fatal = true;
                return Ok(Next::Stop);
            }
            Line::Ready => return Err(Broken::OutOfPlace),
            Line::Acked { .. } | Line::Failed { .. } | Line::Unknown { .. } => {
                return Err(Broken::NotThisRole("consumer"));
            }
        }
        Ok(Next::Line)
    }

    /// The offset that a partition goes on from, what is staged included.
    fn position(&self, partition: usize) -> Result<i64, Broken> {
        let handed_in = self.sink.position(partition).ok_or(Broken::NotAssigned(partition))?;
        let staged = self.staged.records.last().filter(|_| self.staged.partition == partition);
        Ok(staged.map_or(handed_in, |(offset, _)| offset.saturating_add(1)))
    }

    /// The next record to be staged is this one.
    fn stage(&mut self, partition: usize, offset: i64, turn: Turn<'_>) -> Result<(), Broken> {
        let position = self.position(partition)?;
        if offset < position {
            return Err(Broken::WentBack { partition, offset, position });
        }
        if partition != self.staged.partition {
            self.hand_in(turn);
            self.staged.partition = partition;
        }
        Ok(())
    }

    /// Hands what is staged to the sink.
    fn hand_in(&mut self, turn: Turn<'_>) {
        let Staged { partition, bytes, records } = &mut self.staged;
        if let Some((last_offset, _)) = records.last() {
            // An identity that a program has shown apart is in front of the value already.
            let all = records.iter().map(|(offset, at)| (*offset, None, &bytes[at.clone()]));
            self.sink.records(*partition, -1, *last_offset, all, turn);
        }
        records.clear();
        bytes.clear();
    }

    fn jump(&mut self, partition: usize, to: i64, why: Jump, turn: Turn<'_>) -> Result<(), Broken> {
        let position = self.position(partition)?;
        let (allowed, where_to) = match why {
            Jump::Expired => (to > position, "above"),
            Jump::Truncated => (to < position, "below"),
        };
        if !allowed {
            return Err(Broken::NoJump { partition, offset: to, position, where_to });
        }
        self.hand_in(turn);
        self.sink.jumped(partition, position, to, why);
        self.progress = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
