//! The operations of a window.

use std::collections::BTreeMap;
use std::ops::Range;

use gauntlet_verify::history::{Event, ReadRun};
use gauntlet_verify::{Outcome, Settlement, StreamKey};

use super::window::Window;

/// What a value of a stream's first record would be, apart from those of the next stream.
const STREAM_WIDTH: u64 = 1 << 40;

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
    /// Began to read, or went back.
    Assign,
}

/// One operation. Times are CLOCK_MONOTONIC nanoseconds; `began_ns` is before `ended_ns`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Operation {
    pub(super) began_ns: u64,
    pub(super) ended_ns: u64,
    pub(super) ending: Ending,
    /// Reader and partition.
    pub(super) at: (u16, u32),
    pub(super) what: What,
}

/// A reader of a partition, on its way.
#[derive(Debug, Default)]
struct Reading {
    now_ns: u64,
    /// When its last operation ended; `None`: it has not begun.
    last_ns: Option<u64>,
    poll: Vec<(i64, u64, u64)>,
    /// It has to begin, or went back.
    assigns: bool,
}

/// All operations.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) operations: Vec<Operation>,
    readings: BTreeMap<(u16, u32), Reading>,
    /// Numbers of the streams.
    pub(super) streams: BTreeMap<StreamKey, u64>,
    pub(super) sent: u64,
    pub(super) read: u64,
    pub(super) left_out: u64,
}

impl Collected {
    /// Nothing yet, of the streams that were read in some window.
    pub(super) fn new(windows: &BTreeMap<(u16, u32), Window>) -> Self {
        let mut collected = Collected::default();
        for stream in windows.values().flat_map(|window| window.streams.keys()) {
            let number = collected.streams.len() as u64;
            collected.streams.entry(*stream).or_insert(number);
        }
        collected
    }

    /// Records that were sent or read.
    pub(super) fn records(&self) -> u64 {
        self.sent + self.read
    }

    /// The value of a stream's record.
    fn value(&self, stream: StreamKey, pseq: u64) -> Option<u64> {
        Some(self.streams.get(&stream)? * STREAM_WIDTH + pseq)
    }

    /// The number that values of a stream begin with.
    pub(super) fn first_value(number: u64) -> u64 {
        number * STREAM_WIDTH
    }

    /// Takes an event of a partition's history.
    pub(super) fn take(&mut self, at: (u16, u32), window: &Window, event: &Event) {
        // What is too much is not written; no need to hold it.
        if self.records() > super::RECORDS_MAX {
            return;
        }
        match event {
            Event::At(now_ns) => {
                self.end_poll(at);
                self.reading(at).now_ns = *now_ns;
            }
            Event::Read(run) => self.take_read(at, window, run),
            Event::Batch(_) | Event::BatchEnded => self.end_poll(at),
            Event::Truncated(_) => {
                self.end_poll(at);
                self.reading(at).assigns = true;
            }
            Event::Settled(settlement) => self.take_settlement(at, window, settlement),
            Event::Foreign(offset, _) | Event::Damaged(offset, _) => {
                let is_in = window.offsets.as_ref().is_some_and(|offsets| offsets.contains(offset));
                self.left_out += u64::from(is_in);
            }
            Event::Corrupt(offsets, ..) => {
                let is_in = |wanted: &Range<i64>| wanted.start < offsets.end && offsets.start < wanted.end;
                self.left_out += u64::from(window.offsets.as_ref().is_some_and(is_in));
            }
            _ => {}
        }
    }

    fn reading(&mut self, at: (u16, u32)) -> &mut Reading {
        self.readings.entry(at).or_default()
    }

    fn take_read(&mut self, at: (u16, u32), window: &Window, run: &ReadRun) {
        let Some(wanted) = &window.offsets else { return };
        let from = run.first_offset.max(wanted.start);
        let until = run.first_offset.saturating_add(run.count as i64).min(wanted.end);
        let pseq = run.first_pseq + from.saturating_sub(run.first_offset) as u64;
        if let Some(value) = self.value(run.stream, pseq).filter(|_| from < until) {
            let count = (until - from) as u64;
            self.read += count;
            self.reading(at).poll.push((from, value, count));
        }
    }

    /// What was handed over until now is one poll.
    fn end_poll(&mut self, at: (u16, u32)) {
        let reading = self.readings.entry(at).or_default();
        if reading.poll.is_empty() {
            return;
        }
        let records = std::mem::take(&mut reading.poll);
        let begins = reading.last_ns.is_none() || std::mem::take(&mut reading.assigns);
        let now_ns = reading.now_ns;
        let mut push = |what: What, now_ns: u64| {
            // One after the other: a poll is under way since the one before has ended.
            let began_ns = reading.last_ns.map_or(now_ns.saturating_sub(1), |last| last + 1);
            let ended_ns = now_ns.max(began_ns + 1);
            reading.last_ns = Some(ended_ns);
            self.operations.push(Operation { began_ns, ended_ns, ending: Ending::Ok, at, what });
        };
        if begins {
            push(What::Assign, now_ns.saturating_sub(2));
        }
        push(What::Poll(records), now_ns);
    }

    fn take_settlement(&mut self, at: (u16, u32), window: &Window, settlement: &Settlement) {
        let Settlement { stream, first_pseq, count, outcome, sent_ns, settled_ns } = *settlement;
        let (ending, base) = match outcome {
            Outcome::Acked { base_offset } => (Ending::Ok, base_offset.filter(|base| *base >= 0)),
            Outcome::Failed => (Ending::Fail, None),
            Outcome::Indeterminate | Outcome::Unacknowledged => (Ending::Info, None),
        };
        let all = first_pseq..first_pseq + u64::from(count);
        let pseqs = match (base, &window.offsets) {
            (Some(base), Some(offsets)) => {
                let skip = |offset: i64| offset.saturating_sub(base).clamp(0, i64::from(count)) as u64;
                first_pseq + skip(offsets.start)..first_pseq + skip(offsets.end)
            }
            (_, _) => match window.streams.get(&stream) {
                Some(read) => all.start.max(read.start)..all.end.min(read.end),
                None => return,
            },
        };
        if pseqs.is_empty() {
            return;
        }
        // Acked in the window, and nothing of its stream was ever read there.
        let number = self.streams.len() as u64;
        let number = *self.streams.entry(stream).or_insert(number);
        let first = Self::first_value(number);
        self.sent += pseqs.end - pseqs.start;
        self.operations.push(Operation {
            began_ns: if sent_ns > 0 { sent_ns } else { settled_ns.saturating_sub(1) },
            ended_ns: settled_ns.max(sent_ns + 1),
            ending,
            at,
            what: What::Send {
                stream,
                base: base.map(|base| base + (pseqs.start - first_pseq) as i64),
                values: first + pseqs.start..first + pseqs.end,
            },
        });
    }
}
