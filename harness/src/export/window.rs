//! Which offsets of a partition are wanted.

use std::ops::Range;

use gauntlet_verify::history::Event;
use gauntlet_verify::{Outcome, Settlement};

use super::Wanted;

/// All offsets that a log can have.
const ALL: Range<i64> = 0..i64::MAX;

/// What is wanted of one partition: known when all of its history was looked at.
#[derive(Debug, Default)]
pub(super) struct Window {
    pub(super) topic: String,
    pub(super) partition: u32,
    /// What time it is.
    now_ns: u64,
    /// When something was read first and last, wanted or not.
    pub(super) first_ns: Option<u64>,
    pub(super) last_ns: Option<u64>,
    /// From the least to the greatest offset that was read in time.
    read_in_time: Option<Range<i64>>,
    /// The least offset that was read or acked, of those that are wanted.
    lowest: Option<i64>,
    /// Something was read or sent at all.
    has_records: bool,
}

impl Window {
    /// Takes an event of the partition's history.
    pub(super) fn look(&mut self, event: &Event, wanted: &Wanted, zero_ns: u64) {
        match event {
            Event::Began(config) => {
                self.topic.clone_from(&config.topic);
                self.partition = config.partition;
            }
            Event::At(now_ns) => self.now_ns = *now_ns,
            Event::Read(run) => {
                self.first_ns.get_or_insert(self.now_ns);
                self.last_ns = Some(self.now_ns);
                let offsets = self.note(run.first_offset, run.count, wanted);
                if !offsets.is_empty() && self.is_in_time(wanted, zero_ns) {
                    let hull = self.read_in_time.get_or_insert(offsets.clone());
                    *hull = hull.start.min(offsets.start)..hull.end.max(offsets.end);
                }
            }
            Event::Settled(Settlement {
                outcome: Outcome::Acked { base_offset: Some(base) }, count, ..
            }) if *base >= 0 => {
                self.note(*base, u64::from(*count), wanted);
            }
            Event::Settled(_) => self.has_records = true,
            _ => {}
        }
    }

    /// Notes that there are records at these offsets. Returns those of them that are wanted, whenever they were read.
    fn note(&mut self, first_offset: i64, count: u64, wanted: &Wanted) -> Range<i64> {
        self.has_records = true;
        let end = first_offset.saturating_add(i64::try_from(count).unwrap_or(i64::MAX));
        let wanted = wanted.offsets.clone().unwrap_or(ALL);
        let offsets = first_offset.max(wanted.start)..end.min(wanted.end);
        if !offsets.is_empty() {
            self.lowest = Some(self.lowest.map_or(offsets.start, |lowest| lowest.min(offsets.start)));
        }
        offsets
    }

    fn is_in_time(&self, wanted: &Wanted, zero_ns: u64) -> bool {
        let at = |since: std::time::Duration| zero_ns.saturating_add(since.as_nanos() as u64);
        wanted.from.is_none_or(|from| self.now_ns >= at(from))
            && wanted.until.is_none_or(|until| self.now_ns < at(until))
    }

    /// The window, once all of the history was looked at: what was read in a time, else what is wanted, read or not. `None` if nothing of
    /// this partition is wanted.
    pub(super) fn offsets(&self, wanted: &Wanted) -> Option<Range<i64>> {
        let is_named = wanted.topic.as_ref().is_none_or(|topic| *topic == self.topic)
            && (wanted.partitions.is_empty() || wanted.partitions.contains(&self.partition));
        if !is_named {
            return None;
        }
        if wanted.from.is_some() || wanted.until.is_some() {
            return self.read_in_time.clone();
        }
        match &wanted.offsets {
            Some(offsets) => self.lowest.map(|_| offsets.clone()),
            None => self.has_records.then_some(ALL),
        }
    }

    /// The offset that is written as 0, where nothing in the window has a lower one.
    pub(super) fn base(&self, offsets: &Range<i64>) -> i64 {
        self.lowest.unwrap_or(0).max(offsets.start)
    }
}
