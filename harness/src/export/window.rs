//! Which offsets of a partition are wanted, and which records of each stream lie there.

use std::collections::BTreeMap;
use std::ops::Range;

use gauntlet_verify::StreamKey;
use gauntlet_verify::history::{Event, ReadRun};

use super::Wanted;

/// What is wanted of one partition, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Window {
    pub(super) topic: String,
    pub(super) partition: u32,
    /// What time it is.
    now_ns: u64,
    /// When something was read first and last, wanted or not.
    pub(super) first_ns: Option<u64>,
    pub(super) last_ns: Option<u64>,
    /// From the least to the greatest that is wanted.
    pub(super) offsets: Option<Range<i64>>,
    /// The same of each stream's sequence numbers.
    pub(super) streams: BTreeMap<StreamKey, Range<u64>>,
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
                if self.is_in_time(wanted, zero_ns) {
                    self.add(run, wanted);
                }
            }
            _ => {}
        }
    }

    fn is_in_time(&self, wanted: &Wanted, zero_ns: u64) -> bool {
        let at = |since: std::time::Duration| zero_ns.saturating_add(since.as_nanos() as u64);
        wanted.from.is_none_or(|from| self.now_ns >= at(from))
            && wanted.until.is_none_or(|until| self.now_ns < at(until))
    }

    fn add(&mut self, run: &ReadRun, wanted: &Wanted) {
        let all = run.first_offset..run.first_offset.saturating_add(run.count as i64);
        let offsets = match &wanted.offsets {
            Some(wanted) => all.start.max(wanted.start)..all.end.min(wanted.end),
            None => all,
        };
        if offsets.is_empty() {
            return;
        }
        let skipped = (offsets.start - run.first_offset) as u64;
        let first = run.first_pseq + skipped;
        let pseqs = first..first + (offsets.end - offsets.start) as u64;
        let hull = self.offsets.get_or_insert(offsets.clone());
        *hull = hull.start.min(offsets.start)..hull.end.max(offsets.end);
        let hull = self.streams.entry(run.stream).or_insert(pseqs.clone());
        *hull = hull.start.min(pseqs.start)..hull.end.max(pseqs.end);
    }

    /// Whether anything of the partition is wanted.
    pub(super) fn is_wanted(&self, wanted: &Wanted) -> bool {
        self.offsets.is_some()
            && wanted.topic.as_ref().is_none_or(|topic| *topic == self.topic)
            && (wanted.partitions.is_empty() || wanted.partitions.contains(&self.partition))
    }
}
