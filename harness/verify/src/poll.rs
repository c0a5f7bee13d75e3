//! The checker of consumers' positions: does each poll go on where the one before ended?
//!
//! No run feeds it yet: the rules here are for consumers of a group, whose partitions come and go. A run's reader, which owns its
//! partitions from start to end, is judged by `position_skip.rs` and `position_step_back.rs` of [`crate::shard`]. They are proved on synthetic polls (`tests/polls.rs`, `tests/simulation.rs`).
//!
//! Told are, per consumer, what it was assigned, where it sought, and which offsets each poll gave it; and, from the log reader of the
//! partition, which offsets hold nothing for consumers: markers, aborted records at read_committed, what compaction or retention took.
//! The consumer may be ahead of the log reader: a gap is judged when the log reader has passed it.
//!
//! A poll that belongs to work which is then given up (a transaction that aborts) does not advance the position: the consumer has to seek
//! back by itself, and if it does not, it has skipped. [`Polls::kept`] and [`Polls::discarded`] say which it was.
//!
//! | file           | finds              |
//! |----------------|--------------------|
//! | `skip.rs`      | position-skip      |
//! | `step_back.rs` | position-step-back |
//!
//! **Memory.** A position per consumer and assigned partition, the gaps that the log reader has not passed, and per partition up to
//! [`HIDDEN_MAX`] ranges without records, the highest; a gap below those is not judged, and [`Found::degraded`] says so.

mod skip;
mod step_back;

use std::collections::BTreeMap;
use std::ops::Range;

use crate::finding::FindingClass;
use crate::found::{Found, Place};
use crate::interval_set::IntervalSet;
use crate::witness::Witness;

use skip::Gap;

/// So many ranges without records are kept per partition; when there are more, the lower half goes.
pub const HIDDEN_MAX: usize = 1 << 16;

/// A consumer, by the caller's count.
pub type ConsumerId = u32;

/// Records of one partition that a poll gave, with no gap between their offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The partition.
    pub place: Place,
    /// Offset of the first.
    pub first: i64,
    /// Offset of the last.
    pub last: i64,
}

/// Where a consumer is in one partition.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    /// The offset that goes on; `None`: any does.
    next: Option<i64>,
    /// As `next`, without the polls that may yet be discarded.
    kept: Option<i64>,
}

/// What the log reader said of a partition.
#[derive(Debug, Default)]
struct Known {
    /// Offsets without records for consumers.
    hidden: IntervalSet,
    /// Below, `hidden` was forgotten.
    hidden_from: u64,
    read_to: i64,
    gaps: Vec<Gap>,
}

/// The checker. Tell it, then [`Polls::finish`].
#[derive(Debug)]
pub struct Polls {
    run: u32,
    topics: Vec<String>,
    positions: BTreeMap<(ConsumerId, Place), Position>,
    known: BTreeMap<Place, Known>,
    found: Found,
}

impl Polls {
    /// A checker that knows of no consumer. `topics` are the names that [`Place::topic`] is an index into.
    pub fn new(run: u32, topics: Vec<String>, witness_limit: usize) -> Self {
        Self {
            run,
            topics,
            positions: BTreeMap::new(),
            known: BTreeMap::new(),
            found: Found::new(witness_limit),
        }
    }

    /// What was found so far.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// A consumer owns a partition that it did not own before, and starts there; `None` if it is not known where.
    pub fn assigned(&mut self, consumer: ConsumerId, place: Place, position: Option<i64>) {
        self.positions.insert((consumer, place), Position { next: position, kept: position });
    }

    /// A consumer does not own a partition any more.
    pub fn revoked(&mut self, consumer: ConsumerId, place: Place) {
        self.positions.remove(&(consumer, place));
    }

    /// A consumer moved by itself.
    pub fn sought(&mut self, consumer: ConsumerId, place: Place, offset: i64) {
        if let Some(position) = self.positions.get_mut(&(consumer, place)) {
            *position = Position { next: Some(offset), kept: Some(offset) };
        }
    }

    /// One poll, with what it gave, in its order. What it gives of partitions that are not assigned is not judged.
    pub fn polled(&mut self, consumer: ConsumerId, spans: &[Span]) {
        for (index, span) in spans.iter().enumerate() {
            let Some(position) = self.positions.get_mut(&(consumer, span.place)) else { continue };
            let expected = position.next.replace(span.last.saturating_add(1));
            let inside = spans[..index].iter().any(|earlier| earlier.place == span.place);
            match expected {
                Some(next) if span.first < next => self.note_step_back(consumer, span, next, inside),
                Some(next) if span.first > next => {
                    self.note_gap(span.place, Gap { consumer, offsets: next..span.first, inside });
                }
                _ => {}
            }
        }
    }

    /// The work that a consumer's polls since the last call belong to is done: they count.
    pub fn kept(&mut self, consumer: ConsumerId) {
        for position in self.positions_of(consumer) {
            position.kept = position.next;
        }
    }

    /// The work that a consumer's polls since the last call belong to was given up: it is where it was before, or has to seek there.
    pub fn discarded(&mut self, consumer: ConsumerId) {
        for position in self.positions_of(consumer) {
            position.next = position.kept;
        }
    }

    fn positions_of(&mut self, consumer: ConsumerId) -> impl Iterator<Item = &mut Position> {
        let least = Place { topic: 0, partition: 0 };
        let greatest = Place { topic: u16::MAX, partition: u32::MAX };
        self.positions.range_mut((consumer, least)..=(consumer, greatest)).map(|(_, position)| position)
    }

    /// The log reader found nothing for consumers at these offsets. Told in order, before [`Polls::log_read_to`] passes them.
    pub fn hidden(&mut self, place: Place, offsets: Range<i64>) {
        let known = self.known.entry(place).or_default();
        known.hidden.insert(unsigned(&offsets));
        if known.hidden.ranges().len() > HIDDEN_MAX {
            known.hidden_from = known.hidden.ranges()[HIDDEN_MAX / 2].start;
            known.hidden.remove(0..known.hidden_from);
        }
    }

    /// The log reader goes on at `position`: below, everything that holds nothing was told.
    pub fn log_read_to(&mut self, place: Place, position: i64) {
        let known = self.known.entry(place).or_default();
        known.read_to = known.read_to.max(position);
        let passed: Vec<Gap> = known.gaps.extract_if(.., |gap| gap.offsets.end <= position).collect();
        passed.into_iter().for_each(|gap| self.judge_gap(place, &gap));
    }

    /// The log was cut off at `end`, and goes on there for everybody.
    pub fn truncated(&mut self, place: Place, end: i64) {
        for ((_, at), position) in &mut self.positions {
            if *at == place {
                position.next = position.next.map(|next| next.min(end));
                position.kept = position.kept.map(|kept| kept.min(end));
            }
        }
        if let Some(known) = self.known.get_mut(&place) {
            known.read_to = known.read_to.min(end);
            known.hidden.remove(u64::try_from(end).unwrap_or(0)..u64::MAX);
            known.gaps.retain(|gap| gap.offsets.start < end);
            known.gaps.iter_mut().for_each(|gap| gap.offsets.end = gap.offsets.end.min(end));
        }
    }

    /// What was found. A gap that the log reader did not pass is not held against anybody.
    pub fn finish(self) -> Found {
        self.found
    }

    fn note(&mut self, class: FindingClass, place: Place, offsets: &Range<i64>, detail: String) {
        let (topic, run) = (self.topics.get(usize::from(place.topic)).cloned().unwrap_or_default(), self.run);
        let count = offsets.end.abs_diff(offsets.start);
        let witness = Witness::of_offsets(topic, place.partition, run, (offsets.start, count), detail);
        let wanted = self.found.evidence.wants(class, Some(offsets.start), count);
        self.found.note_with(class, 1, wanted.then_some(witness));
    }
}

/// As a range of an interval set. Offsets of a log are never negative.
fn unsigned(offsets: &Range<i64>) -> Range<u64> {
    let at = |offset: i64| u64::try_from(offset).unwrap_or(0);
    at(offsets.start)..at(offsets.end)
}

/// Where the two observations were made.
fn between(inside: bool) -> &'static str {
    if inside { "inside one poll" } else { "between two polls" }
}
