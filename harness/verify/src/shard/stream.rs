//! What is known of one stream: which records were seen, which settled, and how.

use std::ops::Range;

use crate::interval_set::IntervalSet;
use crate::outcome::StreamKey;
use crate::run::Run;

use super::ahead::Ahead;
use super::origin::Origins;

/// The state of one stream. Each set holds sequence numbers.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) key: StreamKey,
    /// Read at least once.
    pub(super) seen: IntervalSet,
    /// Settled, with whatever outcome.
    pub(super) settled: IntervalSet,
    pub(super) failed: IntervalSet,
    pub(super) indeterminate: IntervalSet,
    pub(super) unacknowledged: IntervalSet,
    /// Acked without an offset, or with one that was forgotten for want of memory.
    pub(super) unplaced: IntervalSet,
    /// First reads of records that are not settled yet, with their offsets.
    pub(super) ahead: Ahead,
    /// Further reads of records that are not settled yet. Rare, so a plain list.
    pub(super) copies: Vec<Run>,
    /// Read before they were settled, at offsets that were forgotten for want of memory.
    pub(super) unlocated: IntervalSet,
    /// Under which producer id and epoch the records were appended.
    pub(super) origins: Origins,
    /// Nothing is known any more of records below; 0 unless memory ran out.
    pub(super) retired_below: u64,
}

impl Stream {
    fn new(key: StreamKey) -> Self {
        Self {
            key,
            seen: IntervalSet::new(),
            settled: IntervalSet::new(),
            failed: IntervalSet::new(),
            indeterminate: IntervalSet::new(),
            unacknowledged: IntervalSet::new(),
            unplaced: IntervalSet::new(),
            ahead: Ahead::default(),
            copies: Vec::new(),
            unlocated: IntervalSet::new(),
            origins: Origins::default(),
            retired_below: 0,
        }
    }

    /// The acked part of `range`.
    pub(super) fn acked_in(&self, range: Range<u64>) -> IntervalSet {
        let mut acked: IntervalSet = self.settled.present_in(range).collect();
        for other in [&self.failed, &self.indeterminate, &self.unacknowledged] {
            acked.remove_all(other);
        }
        acked
    }

    /// Keeps the offsets of what was read before it was settled. Call before `run` counts as seen.
    pub(super) fn remember_read(&mut self, run: &Run) {
        if self.settled.covers(&run.pseqs()) {
            return;
        }
        let unsettled: Vec<_> = self.settled.missing_in(run.pseqs()).collect();
        for piece in unsettled {
            for new in self.seen.missing_in(piece.clone()) {
                self.ahead.insert(run.slice(new));
            }
            for again in self.seen.present_in(piece) {
                self.copies.push(run.slice(again));
            }
        }
    }

    /// Takes out every read of records in `range` that was kept until they were settled.
    pub(super) fn take_reads(&mut self, range: Range<u64>) -> Vec<Run> {
        let mut reads = Vec::new();
        self.ahead.take(range.clone(), &mut reads);
        if !self.copies.is_empty() {
            self.take_copies(range.clone(), &mut reads);
        }
        self.unlocated.remove(range);
        reads
    }

    fn take_copies(&mut self, range: Range<u64>, reads: &mut Vec<Run>) {
        for copy in std::mem::take(&mut self.copies) {
            let from = copy.first_pseq.max(range.start).min(copy.end_pseq());
            let to = copy.end_pseq().min(range.end).max(from);
            for (part, inside) in
                [(copy.first_pseq..from, false), (from..to, true), (to..copy.end_pseq(), false)]
            {
                if !part.is_empty() {
                    let target = if inside { &mut *reads } else { &mut self.copies };
                    target.push(copy.slice(part));
                }
            }
        }
    }

    /// Forgets where older reads were, and all further copies, that are not settled yet.
    pub(super) fn forget_offsets(&mut self) {
        for read in self.ahead.take_lower_half() {
            self.unlocated.insert(read.pseqs());
        }
        for copy in std::mem::take(&mut self.copies) {
            self.unlocated.insert(copy.pseqs());
            // The first read alone would contradict an ack that names the copy.
            self.ahead.take(copy.pseqs(), &mut Vec::new());
        }
    }

    pub(super) fn sets(&self) -> [&IntervalSet; 7] {
        [
            &self.seen,
            &self.settled,
            &self.failed,
            &self.indeterminate,
            &self.unacknowledged,
            &self.unplaced,
            &self.unlocated,
        ]
    }

    pub(super) fn sets_mut(&mut self) -> [&mut IntervalSet; 7] {
        [
            &mut self.seen,
            &mut self.settled,
            &mut self.failed,
            &mut self.indeterminate,
            &mut self.unacknowledged,
            &mut self.unplaced,
            &mut self.unlocated,
        ]
    }
}

/// All streams of a partition, found by key.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// Packed key and position in `streams`, sorted by key. Records come in batches of one stream, so a
    /// search happens per batch, not per record.
    index: Vec<(u32, u32)>,
    streams: Vec<Stream>,
}

impl Streams {
    /// Position of a stream, which is created if it is new.
    pub(super) fn index_of(&mut self, key: StreamKey) -> u32 {
        let packed = key.packed();
        match self.index.binary_search_by_key(&packed, |(key, _)| *key) {
            Ok(at) => self.index[at].1,
            Err(at) => {
                let position = self.streams.len() as u32;
                self.index.insert(at, (packed, position));
                self.streams.push(Stream::new(key));
                position
            }
        }
    }

    pub(super) fn get(&self, index: u32) -> &Stream {
        &self.streams[index as usize]
    }

    pub(super) fn get_mut(&mut self, index: u32) -> &mut Stream {
        &mut self.streams[index as usize]
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Stream> {
        self.streams.iter()
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Stream> {
        self.streams.iter_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.index.capacity() * size_of::<(u32, u32)>() + self.streams.capacity() * size_of::<Stream>()
    }
}
