//! The checker of compacted logs: what is left of each key?
//!
//! Compaction may take any record out of a log that has a later one of the same key, and a tombstone (a record without value) some time
//! after that too (`delete.retention.ms`). It must leave the latest record of every key, at its offset. So whoever reads a compacted log
//! from its start to its end has, for every key, at least what was known of it before.
//!
//! No run feeds it yet. Told is what was written, by whoever saw it in the log or had an ack for it, in whatever order; and then, pass by pass,
//! what a reader found from the log's start on. A record that is written while a pass is under way is judged by the next one.
//!
//! | file                 | finds                                         |
//! |----------------------|-----------------------------------------------|
//! | `resurrected_key.rs` | resurrected-key                               |
//! | `lost_key.rs`        | lost: the latest record is gone, with its key |
//!
//! **Memory.** Two offsets per key, of up to as many keys as it is given; of further ones nothing is known, and [`Found::degraded`] says so.

mod lost_key;
mod resurrected_key;

use std::collections::BTreeMap;

use crate::finding::FindingClass;
use crate::found::{Found, Place};
use crate::witness::Witness;

/// A key, by the caller's number or hash. Two keys of one number are one key.
pub type KeyId = u64;

/// The latest record that is known of a key.
#[derive(Clone, Copy, Debug)]
struct Latest {
    offset: i64,
    is_tombstone: bool,
    /// It was known when the pass under way began.
    is_due: bool,
    /// The last that the pass under way has found.
    found: Option<i64>,
}

/// The checker. Tell it, then [`Compaction::finish`].
#[derive(Debug)]
pub struct Compaction {
    run: u32,
    topics: Vec<String>,
    keys_max: usize,
    keys: BTreeMap<(Place, KeyId), Latest>,
    found: Found,
}

impl Compaction {
    /// A checker that knows no key, and will know so many at most. `topics` are the names that [`Place::topic`] is an index into.
    pub fn new(run: u32, topics: Vec<String>, keys_max: usize, witness_limit: usize) -> Self {
        Self { run, topics, keys_max, keys: BTreeMap::new(), found: Found::new(witness_limit) }
    }

    /// A record of a key is at this offset: it was read there, or an ack says so.
    pub fn written(&mut self, place: Place, key: KeyId, offset: i64, is_tombstone: bool) {
        let is_full = self.keys.len() >= self.keys_max;
        match self.keys.get_mut(&(place, key)) {
            // What is due stays what the pass under way is held against.
            Some(latest) if offset > latest.offset => {
                *latest = Latest { offset, is_tombstone, is_due: false, found: latest.found };
            }
            Some(_) => {}
            None if is_full => self.found.degraded = true,
            None => {
                let latest = Latest { offset, is_tombstone, is_due: false, found: None };
                self.keys.insert((place, key), latest);
            }
        }
    }

    /// A reader begins at the log's start.
    pub fn pass_began(&mut self, place: Place) {
        for latest in self.of(place) {
            (latest.is_due, latest.found) = (true, None);
        }
    }

    /// It found a record of a key. In the order of offsets.
    pub fn found_left(&mut self, place: Place, key: KeyId, offset: i64, is_tombstone: bool) {
        if let Some(latest) = self.keys.get_mut(&(place, key)) {
            latest.found = Some(offset);
        }
        self.written(place, key, offset, is_tombstone);
    }

    /// It has read everything below `end`, and the log began at `log_start` when it did: what lay below may have been deleted.
    pub fn pass_ended(&mut self, place: Place, log_start: i64, end: i64) {
        let judged: Vec<(KeyId, Latest)> = (self.keys.iter())
            .filter(|((at, _), latest)| {
                *at == place && latest.is_due && (log_start..end).contains(&latest.offset)
            })
            .map(|((_, key), latest)| (*key, *latest))
            .collect();
        for (key, latest) in judged {
            match latest.found {
                Some(left) if left < latest.offset => self.note_resurrected(place, key, &latest, left),
                Some(_) => {}
                None => self.note_gone(place, key, &latest),
            }
        }
        self.of(place).for_each(|latest| latest.is_due = false);
    }

    /// The log was cut off at `end`: of keys whose latest record was there, nothing is known any more.
    pub fn truncated(&mut self, place: Place, end: i64) {
        self.keys.retain(|(at, _), latest| *at != place || latest.offset < end);
    }

    /// What was found.
    pub fn finish(self) -> Found {
        self.found
    }

    fn of(&mut self, place: Place) -> impl Iterator<Item = &mut Latest> {
        self.keys.range_mut((place, 0)..=(place, KeyId::MAX)).map(|(_, latest)| latest)
    }

    fn note(&mut self, class: FindingClass, place: Place, offset: i64, detail: String) {
        let topic = self.topics.get(usize::from(place.topic)).cloned().unwrap_or_default();
        let witness = Witness::of_offsets(topic, place.partition, self.run, (offset, 1), detail);
        let wanted = self.found.evidence.wants(class, Some(offset), 1);
        self.found.note_with(class, 1, wanted.then_some(witness));
    }
}

/// A record of a key, in words.
fn in_words(latest: &Latest) -> String {
    let what = if latest.is_tombstone { "its tombstone" } else { "its latest record" };
    format!("{what}, at offset {}", latest.offset)
}
