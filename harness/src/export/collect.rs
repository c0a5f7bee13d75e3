//! The operations of a window.

use std::collections::BTreeMap;
use std::ops::Range;

use gauntlet_verify::history::{Event, ReadRun};
use gauntlet_verify::interval_set::IntervalSet;
use gauntlet_verify::{Outcome, Settlement, StreamKey};

/// What a value of a stream's first record would be, apart from those of the next stream.
const STREAM_WIDTH: u64 = 1 << 40;

/// Reader and partition.
pub(super) type At = (u16, u32);

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Ok,
    Fail,
    Info,
}

/// What an operation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// Sent records of these values, to offsets from there on, if that is known.
    Send { stream: StreamKey, values: Range<u64>, base: Option<i64> },
    /// Was handed records: first offset, first value, and how many, run by run.
    Poll(Vec<(i64, u64, u64)>),
    /// Began to read.
    Assign,
    /// Stopped reading, to begin somewhere else.
    Unassign,
}

/// One operation. Times are CLOCK_MONOTONIC nanoseconds; `began_ns` is before `ended_ns`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Operation {
    pub(super) began_ns: u64,
    pub(super) ended_ns: u64,
    pub(super) ending: Ending,
    pub(super) at: At,
    pub(super) what: What,
}

/// A reader of a partition, on its way.
#[derive(Debug, Default)]
struct Reading {
    now_ns: u64,
    /// When its last operation ended; `None`: it has not begun.
    last_ns: Option<u64>,
    poll: Vec<(i64, u64, u64)>,
    /// It went back.
    is_back: bool,
}

/// All operations. Reads come first, all of them, because they say which sends belong to a window.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) operations: Vec<Operation>,
    readings: BTreeMap<At, Reading>,
    /// Sequence numbers that were read in each window, and of which a send was written.
    seen: BTreeMap<(At, StreamKey), IntervalSet>,
    told: BTreeMap<(At, StreamKey), IntervalSet>,
    /// Numbers of the streams.
    pub(super) streams: BTreeMap<StreamKey, u64>,
    pub(super) sent: u64,
    pub(super) read: u64,
    pub(super) left_out: u64,
    pub(super) unexplained: u64,
    pub(super) elsewhere: u64,
}

impl Collected {
    /// There is more than will be written; no need to hold it.
    pub(super) fn is_too_much(&self) -> bool {
        self.sent + self.read > super::RECORDS_MAX
    }

    /// The values of a stream's records; `None` if they would be those of another.
    fn values(&mut self, stream: StreamKey, pseqs: &Range<u64>) -> Option<Range<u64>> {
        if pseqs.end > STREAM_WIDTH {
            return None;
        }
        let number = self.streams.len() as u64;
        let first = Self::first_value(*self.streams.entry(stream).or_insert(number));
        Some(first + pseqs.start..first + pseqs.end)
    }

    /// The number that values of a stream begin with.
    pub(super) fn first_value(number: u64) -> u64 {
        number * STREAM_WIDTH
    }

    /// Takes an event of a partition's history, for what was read at these offsets.
    pub(super) fn take_reads(&mut self, at: At, offsets: &Range<i64>, event: &Event) {
        if self.is_too_much() {
            return;
        }
        match event {
            Event::At(now_ns) => {
                self.end_poll(at);
                self.reading(at).now_ns = *now_ns;
            }
            Event::Read(run) => self.take_read(at, offsets, run),
            Event::Batch(_) | Event::BatchEnded => self.end_poll(at),
            Event::Truncated(_) => {
                self.end_poll(at);
                self.reading(at).is_back = true;
            }
            Event::Foreign(offset, _) | Event::Damaged(offset, _) => {
                self.left_out += u64::from(offsets.contains(offset));
            }
            Event::Corrupt(damaged, ..) => {
                let is_in = offsets.start < damaged.end && damaged.start < offsets.end;
                self.left_out += u64::from(is_in);
            }
            _ => {}
        }
    }

    fn reading(&mut self, at: At) -> &mut Reading {
        self.readings.entry(at).or_default()
    }

    fn take_read(&mut self, at: At, offsets: &Range<i64>, run: &ReadRun) {
        let from = run.first_offset.max(offsets.start);
        let until = run.first_offset.saturating_add_unsigned(run.count).min(offsets.end);
        if from >= until {
            return;
        }
        let count = (until - from) as u64;
        let first = run.first_pseq.saturating_add((from - run.first_offset) as u64);
        let pseqs = first..first.saturating_add(count);
        match self.values(run.stream, &pseqs) {
            Some(values) => {
                self.read += count;
                self.seen.entry((at, run.stream)).or_default().insert(pseqs);
                self.reading(at).poll.push((from, values.start, count));
            }
            None => self.left_out += count,
        }
    }

    /// What was handed over until now is one poll.
    fn end_poll(&mut self, at: At) {
        let reading = self.readings.entry(at).or_default();
        if reading.poll.is_empty() {
            return;
        }
        let mut steps = Vec::new();
        if reading.last_ns.is_none() {
            steps.push(What::Assign);
        } else if reading.is_back {
            // An assignment that holds the partition already would leave its position as it is.
            steps.extend([What::Unassign, What::Assign]);
        }
        reading.is_back = false;
        steps.push(What::Poll(std::mem::take(&mut reading.poll)));
        let steps_left = (0..steps.len() as u64).rev();
        for (what, steps_left) in steps.into_iter().zip(steps_left) {
            let now_ns = reading.now_ns.saturating_sub(2 * steps_left);
            // One after the other: a poll is under way since the one before has ended.
            let began_ns = reading.last_ns.map_or(now_ns.saturating_sub(1), |last| last + 1);
            let ended_ns = now_ns.max(began_ns + 1);
            reading.last_ns = Some(ended_ns);
            self.operations.push(Operation { began_ns, ended_ns, ending: Ending::Ok, at, what });
        }
    }

    /// Every event was taken for its reads. A history that was torn may end within a poll.
    pub(super) fn end_reads(&mut self) {
        for at in self.readings.keys().copied().collect::<Vec<_>>() {
            self.end_poll(at);
        }
    }

    /// Takes how a batch ended, if any of its records belongs to this window.
    pub(super) fn take_send(&mut self, at: At, offsets: &Range<i64>, settlement: &Settlement) {
        if self.is_too_much() {
            return;
        }
        let Settlement { stream, first_pseq, count, outcome, .. } = *settlement;
        let all = first_pseq..first_pseq.saturating_add(u64::from(count));
        let seen = self.seen.get(&(at, stream));
        let base = match outcome {
            Outcome::Acked { base_offset } => base_offset.filter(|base| *base >= 0),
            _ => None,
        };
        // Where the ack says that they are, and others that were read here all the same.
        let (placed, others) = match base {
            Some(base) => {
                let skip = |offset: i64| offset.saturating_sub(base).clamp(0, i64::from(count)) as u64;
                let placed = first_pseq + skip(offsets.start)..first_pseq + skip(offsets.end);
                let mut read = IntervalSet::new();
                if let Some(seen) = seen {
                    seen.present_in(all).for_each(|pseqs| read.insert(pseqs));
                }
                read.remove(placed.clone());
                (Some(placed), read.ranges().to_vec())
            }
            None => (None, vec![neighbours(seen, offsets, &all)]),
        };
        let placed = placed.into_iter().map(|pseqs| (pseqs, base));
        let others: Vec<_> = placed.chain(others.into_iter().map(|pseqs| (pseqs, None))).collect();
        for (pseqs, place) in others.into_iter().filter(|(pseqs, _)| !pseqs.is_empty()) {
            if base.is_some() && place.is_none() {
                self.elsewhere += pseqs.end - pseqs.start;
            }
            let place = place.map(|base| base + (pseqs.start - first_pseq) as i64);
            self.send(at, settlement, pseqs, place);
        }
    }

    fn send(&mut self, at: At, settlement: &Settlement, pseqs: Range<u64>, base: Option<i64>) {
        let Settlement { stream, outcome, sent_ns, settled_ns, .. } = *settlement;
        let count = pseqs.end - pseqs.start;
        let Some(values) = self.values(stream, &pseqs) else {
            self.left_out += count;
            return;
        };
        self.sent += count;
        self.told.entry((at, stream)).or_default().insert(pseqs);
        self.operations.push(Operation {
            began_ns: if sent_ns > 0 { sent_ns } else { settled_ns.saturating_sub(1) },
            ended_ns: settled_ns.max(sent_ns + 1),
            ending: match outcome {
                Outcome::Acked { .. } => Ending::Ok,
                Outcome::Failed => Ending::Fail,
                Outcome::Indeterminate | Outcome::Unacknowledged => Ending::Info,
            },
            at,
            what: What::Send { stream, base, values },
        });
    }

    /// Writes down a send of unknown outcome for what was read though nothing says that it was sent: Jepsen's checker breaks off where
    /// a value has no writer. Nobody knows when it was, so it is under way from the first moment on.
    pub(super) fn explain_reads(&mut self) {
        let began_ns = self.operations.iter().map(|operation| operation.began_ns).min().unwrap_or(0);
        for ((at, stream), seen) in std::mem::take(&mut self.seen) {
            let mut unexplained = seen;
            if let Some(told) = self.told.get(&(at, stream)) {
                unexplained.remove_all(told);
            }
            for pseqs in unexplained.ranges() {
                let Some(values) = self.values(stream, pseqs) else { continue };
                self.unexplained += pseqs.end - pseqs.start;
                let what = What::Send { stream, base: None, values };
                let (ended_ns, ending) = (began_ns + 1, Ending::Info);
                self.operations.push(Operation { began_ns, ended_ns, ending, at, what });
            }
        }
    }
}

/// Those of a batch without an offset that belong to a window: that lie between records of the stream which were read in it. A window that
/// has no end, or begins with the log, ends or begins for them where the stream does.
fn neighbours(seen: Option<&IntervalSet>, offsets: &Range<i64>, batch: &Range<u64>) -> Range<u64> {
    let ranges = seen.map(IntervalSet::ranges).unwrap_or_default();
    let (is_from_begin, is_to_end) = (offsets.start == 0, offsets.end == i64::MAX);
    let (first, last) = match (ranges.first(), ranges.last()) {
        (Some(first), Some(last)) => (first.start, last.end),
        _ if is_from_begin && is_to_end => (0, u64::MAX),
        _ => return 0..0,
    };
    let first = if is_from_begin { 0 } else { first };
    let last = if is_to_end { u64::MAX } else { last };
    batch.start.max(first)..batch.end.min(last)
}
