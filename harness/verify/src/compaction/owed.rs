//! Which acked records a compacted log owes its reader.
//!
//! Of a record that the reader was not handed compaction is the cause only if the log had a later one of the same key, below the high
//! watermark, when the reader came by: the cleaner works below that. So every offset that was not handed over (a *gap*) is looked at with
//! the high watermark of then, and an acked record in it is *owed* until a later one of its key, below that, is known: acked or read,
//! before or afterwards. What is owed in the end is lost.
//!
//! **Doubt.** A later record at or above the high watermark of then proves nothing by itself, but may hide one that does: where such a one is
//! known, and the ack came late or more than [`LOOKED_AT_MAX`] records would have to be looked at, the record is not owed. After a log
//! was cut off nobody knows which keys it had: nothing above the cut is owed any more, and `degraded` says so.

use std::collections::BTreeMap;
use std::ops::Range;

use super::KeyId;

/// So many acked records, between one that is not there and the high watermark, are searched for a later one of its key.
const LOOKED_AT_MAX: usize = 4_096;
/// So many gaps are told apart; of more, neighbours become one, with the higher high watermark.
const GAPS_MAX: usize = 1 << 16;

/// The acked records of one compacted partition that are not where they were acked.
#[derive(Debug)]
pub struct Owed {
    /// So many keys, and so many acked records that the reader has yet to reach, at most.
    entries_max: usize,
    /// The latest offset that is known of each key.
    latest: BTreeMap<KeyId, i64>,
    /// Acked, and not reached by the reader; and while there are fresh gaps, what it was handed beyond them.
    ahead: BTreeMap<i64, KeyId>,
    /// The reader's position.
    position: i64,
    /// Not handed over, and the high watermark of then is not known yet.
    fresh: Vec<Range<i64>>,
    /// The same, with it: begin, end and high watermark.
    gaps: BTreeMap<i64, (i64, i64)>,
    /// What is owed: its offset, and the high watermark below which a later record would have to be.
    open: BTreeMap<KeyId, Vec<(i64, i64)>>,
    /// Nothing from there on is owed.
    cut: i64,
    /// See [`OwedAtEnd::degraded`].
    degraded: bool,
}

/// What [`Owed`] comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwedAtEnd {
    /// Offsets of acked records that are not there, and of which nothing says that they may be gone.
    pub offsets: Vec<i64>,
    /// The latest offset that is known of each key of which nothing is owed.
    pub latest: Vec<(KeyId, i64)>,
    /// There were more keys or records than could be held, or the log was cut off: more may be owed.
    pub degraded: bool,
}

impl Owed {
    /// Of a partition that is read from `start` on. Holds up to `entries_max` keys, and as many acked records.
    #[must_use]
    pub fn new(start: i64, entries_max: usize) -> Self {
        Self {
            entries_max,
            latest: BTreeMap::new(),
            ahead: BTreeMap::new(),
            position: start,
            fresh: Vec::new(),
            gaps: BTreeMap::new(),
            open: BTreeMap::new(),
            cut: i64::MAX,
            degraded: false,
        }
    }

    /// A record of a key was acked at this offset. Before or after it is read, or passed.
    pub fn acked(&mut self, key: KeyId, offset: i64) {
        self.note(key, offset);
        if offset >= self.position || self.fresh.iter().any(|gap| gap.contains(&offset)) {
            if self.ahead.len() >= self.entries_max {
                self.degraded = true;
                return;
            }
            self.ahead.insert(offset, key);
        } else if let Some((_, (end, watermark))) = self.gaps.range(..=offset).next_back()
            && offset < *end
        {
            let watermark = *watermark;
            let is_latest = self.latest.get(&key).is_none_or(|latest| *latest <= offset);
            if is_latest {
                self.owe(key, offset, watermark);
            }
        }
    }

    /// The reader was handed a record of a key. In the order of offsets.
    pub fn read(&mut self, key: KeyId, offset: i64) {
        self.pass(offset);
        self.note(key, offset);
        let acked = match self.fresh.is_empty() {
            true => self.ahead.remove(&offset),
            false => self.ahead.insert(offset, key),
        };
        if let Some(acked) = acked.filter(|acked| *acked != key) {
            // Somebody else's record lies there, which no compaction brings about.
            self.owe(acked, offset, offset);
        }
        self.position = self.position.max(offset + 1);
    }

    /// The reader was handed everything below `position` that the log has.
    pub fn pass(&mut self, position: i64) {
        if position <= self.position {
            return;
        }
        match self.fresh.last_mut() {
            Some(last) if last.end == self.position => last.end = position,
            _ => self.fresh.push(self.position..position),
        }
        self.position = position;
    }

    /// The high watermark, as the leader says it at the time of what the reader was handed last, or after it.
    pub fn high_watermark(&mut self, watermark: i64) {
        if self.fresh.is_empty() {
            return;
        }
        for gap in std::mem::take(&mut self.fresh) {
            let gone: Vec<(i64, KeyId)> =
                self.ahead.range(gap.clone()).map(|(offset, key)| (*offset, *key)).collect();
            gone.into_iter().for_each(|(offset, key)| self.look_at(key, offset, watermark));
            self.note_gap(gap, watermark);
        }
        self.ahead = self.ahead.split_off(&self.position);
    }

    /// The log was cut off at `end`; the reader goes on there.
    pub fn truncated(&mut self, end: i64) {
        if end >= self.position {
            return;
        }
        self.degraded = true;
        self.cut = self.cut.min(end);
        self.position = end;
        self.ahead.retain(|offset, _| *offset < end);
        self.fresh.clear();
        self.gaps.split_off(&end);
        for owed in self.open.values_mut() {
            owed.retain(|(offset, _)| *offset < end);
        }
    }

    /// What is owed, once the reader has come to its end, where the high watermark is `end`.
    #[must_use]
    pub fn finish(mut self, end: i64) -> OwedAtEnd {
        self.high_watermark(end);
        let mut latest = self.latest;
        latest.retain(|key, _| !self.open.contains_key(key));
        let mut offsets: Vec<i64> = self.open.into_values().flatten().map(|(offset, _)| offset).collect();
        offsets.sort_unstable();
        OwedAtEnd { offsets, latest: latest.into_iter().collect(), degraded: self.degraded }
    }

    fn note(&mut self, key: KeyId, offset: i64) {
        if let Some(owed) = self.open.get_mut(&key) {
            owed.retain(|(gone, watermark)| !(*gone < offset && offset < *watermark));
            if owed.is_empty() {
                self.open.remove(&key);
            }
        }
        if let Some(latest) = self.latest.get_mut(&key) {
            *latest = offset.max(*latest);
        } else if self.latest.len() < self.entries_max {
            self.latest.insert(key, offset);
        } else {
            self.degraded = true;
        }
    }

    /// A record in a gap: is a later one of its key known that lies below the high watermark?
    fn look_at(&mut self, key: KeyId, offset: i64, watermark: i64) {
        let latest = self.latest.get(&key).copied().unwrap_or(offset);
        let may_hide = latest >= watermark && {
            let between = self.ahead.range(offset + 1..watermark.max(offset + 1));
            let mut looked_at = 0;
            let found = between.take(LOOKED_AT_MAX).any(|(_, other)| {
                looked_at += 1;
                *other == key
            });
            found || looked_at == LOOKED_AT_MAX
        };
        if !(offset < latest && latest < watermark || may_hide) {
            self.owe(key, offset, watermark);
        }
    }

    fn owe(&mut self, key: KeyId, offset: i64, watermark: i64) {
        if offset < self.cut {
            self.open.entry(key).or_default().push((offset, watermark));
        }
    }

    fn note_gap(&mut self, gap: Range<i64>, watermark: i64) {
        self.gaps.insert(gap.start, (gap.end, watermark));
        if self.gaps.len() > GAPS_MAX {
            // The two lowest: acks for what lies there are the least likely to come.
            let first = self.gaps.pop_first();
            if let (Some((begin, (_, one))), Some(mut second)) = (first, self.gaps.first_entry()) {
                let (end, other) = *second.get_mut();
                second.remove();
                self.gaps.insert(begin, (end, one.max(other)));
            }
        }
    }
}
