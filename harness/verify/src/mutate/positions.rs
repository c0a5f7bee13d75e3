//! Planted faults in what consumers were given, for the rules about their positions.
//!
//! As in [`super`], which polls are spoiled follows from the seed, and a plan without mutations spoils nothing. Only what the log reader
//! has explained is spoiled, so that each fault is one finding at once.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::finding::FindingClass;
use crate::found::Place;
use crate::poll::{ConsumerId, Polls, Span};

use super::mix;

/// One way to spoil a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollMutation {
    /// It lacks its first record.
    Skip,
    /// It begins with the record before the position once more.
    StepBack,
}

impl PollMutation {
    /// Every mutation.
    pub const ALL: [PollMutation; 2] = [Self::Skip, Self::StepBack];
}

/// A checker of positions with a fault in front of it.
#[derive(Debug)]
pub struct PollSaboteur {
    polls: Polls,
    seed: u64,
    period: u64,
    mutations: Vec<PollMutation>,
    told: u64,
    positions: BTreeMap<(ConsumerId, Place), i64>,
    explained_to: BTreeMap<Place, i64>,
    planted: BTreeMap<FindingClass, u64>,
}

impl PollSaboteur {
    /// Spoils one poll in about `period`.
    pub fn new(polls: Polls, seed: u64, period: u64, mutations: Vec<PollMutation>) -> Self {
        Self {
            polls,
            seed,
            period: period.max(1),
            mutations,
            told: 0,
            positions: BTreeMap::new(),
            explained_to: BTreeMap::new(),
            planted: BTreeMap::new(),
        }
    }

    /// What the checker must find, and nothing else.
    pub fn planted(&self) -> &BTreeMap<FindingClass, u64> {
        &self.planted
    }

    /// See [`Polls::assigned`].
    pub fn assigned(&mut self, consumer: ConsumerId, place: Place, position: i64) {
        self.positions.insert((consumer, place), position);
        self.polls.assigned(consumer, place, Some(position));
    }

    /// See [`Polls::revoked`].
    pub fn revoked(&mut self, consumer: ConsumerId, place: Place) {
        self.positions.remove(&(consumer, place));
        self.polls.revoked(consumer, place);
    }

    /// See [`Polls::polled`], for a poll that gave neighbouring records of one place.
    pub fn polled(&mut self, consumer: ConsumerId, span: Span) {
        self.told += 1;
        let dice = mix(self.seed ^ mix(self.told));
        let kind = (dice >> 32) as usize % self.mutations.len().max(1);
        let chosen = self.mutations.get(kind).filter(|_| (dice & 0xFFFF_FFFF).is_multiple_of(self.period));
        let position = self.positions.insert((consumer, span.place), span.last + 1);
        let is_explained = self.explained_to.get(&span.place).is_some_and(|to| span.last < *to);
        let first = match (chosen, position) {
            (Some(PollMutation::Skip), Some(_)) if is_explained && span.first < span.last => {
                *self.planted.entry(FindingClass::PositionSkip).or_default() += 1;
                span.first + 1
            }
            (Some(PollMutation::StepBack), Some(next)) if next > 0 => {
                *self.planted.entry(FindingClass::PositionStepBack).or_default() += 1;
                next - 1
            }
            _ => span.first,
        };
        self.polls.polled(consumer, &[Span { first, ..span }]);
    }

    /// See [`Polls::hidden`].
    pub fn hidden(&mut self, place: Place, offsets: Range<i64>) {
        self.polls.hidden(place, offsets);
    }

    /// See [`Polls::log_read_to`].
    pub fn log_read_to(&mut self, place: Place, position: i64) {
        let to = self.explained_to.entry(place).or_insert(position);
        *to = position.max(*to);
        self.polls.log_read_to(place, position);
    }

    /// See [`Polls::truncated`].
    pub fn truncated(&mut self, place: Place, end: i64) {
        if let Some(to) = self.explained_to.get_mut(&place) {
            *to = end.min(*to);
        }
        let here = self.positions.iter_mut().filter(|((_, at), _)| *at == place);
        here.for_each(|(_, position)| *position = end.min(*position));
        self.polls.truncated(place, end);
    }

    /// See [`Polls::finish`].
    pub fn finish(self) -> crate::found::Found {
        self.polls.finish()
    }
}
