//! The checker of compacted logs: what is left of each key?
//!
//! Compaction may take any record out of a log that has a later one of the same key, and a tombstone (a record without value) some time
//! after that too (`delete.retention.ms`). It must leave the latest record of every key, at its offset. So whoever reads a compacted log
//! from its start to its end has, for every key, at least what was known of it before.
//!
//! Told is what was written, by whoever saw it in the log ([`Compaction::read`]) or had an ack for it
//! ([`Compaction::acked`]), in whatever order; and then, pass by pass, what a reader found from the log's start on. Of transactions only what
//! was committed counts: an aborted record has no say in compaction.
//!
//! A pass ends at the high watermark that the reader met there. So whatever it missed on its way, because a later record of the
//! key had been written, lies below with that later record, and it must have found one of them: what was known when it began, or became
//! known meanwhile, is judged alike.
//!
//! A key whose latest record is gone is *resurrected* (`resurrected_key.rs`) if an older one is left, else the record is *lost*. What a reader
//! must be handed while the log is compacted under it is worked out in `owed.rs`.
//!
//! **Memory.** Two offsets per key, of up to as many keys as it is given; of further ones nothing is known, and [`Found::degraded`] says so.

mod owed;
mod resurrected_key;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::found::{Found, Place};
use crate::witness::Witness;

pub use owed::{Owed, OwedAtEnd};

/// A key, by the caller's number or hash. Two keys of one number are one key.
pub type KeyId = u64;

/// A record of a key.
#[derive(Clone, Copy, Debug)]
struct Written {
    offset: i64,
    is_tombstone: bool,
}

/// What is known of a key.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// The latest record.
    latest: Written,
    /// The latest when the pass under way began.
    due: Option<Written>,
    /// The last that the pass under way has found.
    found: Option<i64>,
}

/// A key whose latest record is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyLeft {
    /// The key.
    pub key: KeyId,
    /// Where its latest record had been.
    pub latest: i64,
    /// Where the one is that is left, if any is.
    pub left: Option<i64>,
}

impl fmt::Display for KeyLeft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KeyLeft { key, latest, left } = self;
        write!(f, "key {key:x}: its latest record, at offset {latest}, is gone, and ")?;
        match left {
            Some(left) => write!(f, "what is left of it is at offset {left}"),
            None => write!(f, "nothing of the key is left"),
        }
    }
}

/// How a pass of a reader ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassEnd {
    /// Where the log began then: what lay below may have been deleted.
    pub log_start: i64,
    /// The high watermark when the reader came there. Not an earlier one: a record above that may have had one below compacted away.
    pub end: i64,
    /// The pass took less than `delete.retention.ms`. Only then no tombstone can have gone, after an older value had, in the time between the
    /// reader's passing that and its coming to the tombstone.
    pub tombstones_stay: bool,
}

/// The checker. Tell it, then [`Compaction::finish`].
#[derive(Debug)]
pub struct Compaction {
    run: u32,
    topics: Vec<String>,
    keys_max: usize,
    keys: BTreeMap<(Place, KeyId), Known>,
    /// Logs that were cut off, and where at the lowest.
    cut: BTreeMap<Place, i64>,
    found: Found,
}

impl Compaction {
    /// A checker that knows no key, and will know so many at most. `topics` are the names that [`Place::topic`] is an index into.
    pub fn new(run: u32, topics: Vec<String>, keys_max: usize, witness_limit: usize) -> Self {
        let (keys, cut) = (BTreeMap::new(), BTreeMap::new());
        Self { run, topics, keys_max, keys, cut, found: Found::new(witness_limit) }
    }

    /// An ack says that a record of a key is at this offset. At and above a cut ([`Compaction::truncated`]) acks say nothing: nobody knows
    /// which of them came before it.
    pub fn acked(&mut self, place: Place, key: KeyId, offset: i64, is_tombstone: bool) {
        if self.cut.get(&place).is_none_or(|cut| offset < *cut) {
            self.note_written(place, key, Written { offset, is_tombstone });
        }
    }

    /// A record of a key was read at this offset.
    pub fn read(&mut self, place: Place, key: KeyId, offset: i64, is_tombstone: bool) {
        self.note_written(place, key, Written { offset, is_tombstone });
    }

    fn note_written(&mut self, place: Place, key: KeyId, written: Written) {
        let is_full = self.keys.len() >= self.keys_max;
        match self.keys.get_mut(&(place, key)) {
            Some(known) if written.offset > known.latest.offset => known.latest = written,
            Some(_) => {}
            None if is_full => self.found.degraded = true,
            None => {
                self.keys.insert((place, key), Known { latest: written, due: None, found: None });
            }
        }
    }

    /// A reader begins at the log's start.
    pub fn pass_began(&mut self, place: Place) {
        for known in self.of(place) {
            (known.due, known.found) = (Some(known.latest), None);
        }
    }

    /// It found a record of a key. In the order of offsets.
    pub fn found_left(&mut self, place: Place, key: KeyId, offset: i64, is_tombstone: bool) {
        self.note_written(place, key, Written { offset, is_tombstone });
        if let Some(known) = self.keys.get_mut(&(place, key)) {
            known.found = Some(offset);
        }
    }

    /// It has read everything below the end. Returns the keys whose latest record is gone though it must not be.
    pub fn pass_ended(&mut self, place: Place, pass: &PassEnd) -> Vec<KeyLeft> {
        let wanted = |known: &Known| {
            let below_end = |written: &Written| written.offset < pass.end;
            let wanted = Some(known.latest).filter(below_end).or(known.due.filter(below_end))?;
            (wanted.offset >= pass.log_start).then_some((wanted, known.found))
        };
        let judged: Vec<(KeyId, Written, Option<i64>)> = self
            .keys
            .range((place, 0)..=(place, KeyId::MAX))
            .filter_map(|((_, key), known)| wanted(known).map(|(written, found)| (*key, written, found)))
            .collect();
        let mut gone = Vec::new();
        for (key, written, left) in judged {
            let may_go = match left {
                Some(left) => left >= written.offset || written.is_tombstone && !pass.tombstones_stay,
                None => written.is_tombstone,
            };
            if !may_go {
                gone.push(KeyLeft { key, latest: written.offset, left });
            }
        }
        gone.iter().for_each(|key| self.note_key(place, key));
        self.of(place).for_each(|known| known.due = None);
        gone
    }

    /// The log was cut off at `end`: of keys whose latest record was there, nothing is known any more.
    pub fn truncated(&mut self, place: Place, end: i64) {
        self.keys.retain(|(at, _), known| *at != place || known.latest.offset < end);
        self.cut.entry(place).and_modify(|cut| *cut = end.min(*cut)).or_insert(end);
    }

    /// What was found.
    pub fn finish(self) -> Found {
        self.found
    }

    fn of(&mut self, place: Place) -> impl Iterator<Item = &mut Known> {
        self.keys.range_mut((place, 0)..=(place, KeyId::MAX)).map(|(_, latest)| latest)
    }

    fn note_key(&mut self, place: Place, key: &KeyLeft) {
        let (class, offset) = key.class();
        let topic = self.topics.get(usize::from(place.topic)).cloned().unwrap_or_default();
        let witness = Witness::of_offsets(topic, place.partition, self.run, (offset, 1), key.to_string());
        let wanted = self.found.evidence.wants(class, Some(offset), 1);
        self.found.note_with(class, 1, wanted.then_some(witness));
    }
}
