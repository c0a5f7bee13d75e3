//! Which of a load's records are one producer's on one partition, and when each is intended.
//!
//! All of it can be computed for any record without having computed those before it on *other* partitions, and what
//! waits is a pair of positions, not memory.

use std::sync::Arc;

use super::{Curve, Timeline};
use crate::random::SplitMix;
use crate::trace::Trace;

/// How the records of a producer are spread over the partitions of its topic.
#[derive(Debug, Clone, PartialEq)]
pub enum Spread {
    /// Partitions take turns, record by record.
    Turns,
    /// Partitions take turns, so many records each: what a producer without keys does that fills one batch and then
    /// goes on to another partition (KIP-480, KIP-794).
    Sticky {
        /// Records in a row; at least 1.
        run: u64,
    },
    /// Each partition has its share of the records, by the keys that belong there. The shares add up to 1.
    Shares(Arc<[f64]>),
    /// As recorded. Times count from the origin, so a trace is its own warm-up; the records of a partition are all one
    /// producer's, so that they keep their order.
    Recorded(Arc<Trace>),
}

/// How the records of a load are spread over time, where its rate does not change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Arrival {
    /// At even distances.
    #[default]
    Uniform,
    /// At random, each independent of the others: a Poisson process.
    Poisson,
}

/// One producer among those that share a load.
#[derive(Debug, Clone)]
pub struct Share {
    /// The load.
    pub curve: Arc<Curve>,
    /// Index of the producer among those that share it.
    pub producer: u64,
    /// How many share it.
    pub producers: u64,
    /// Partitions of its topic.
    pub partitions: u64,
    /// Who gets what.
    pub spread: Spread,
    /// When.
    pub arrival: Arrival,
    /// Decides random arrivals; differs from producer to producer.
    pub seed: u64,
}

/// Where a partition's sequence of records has come to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Position {
    /// Index among the records of this producer on this partition.
    pub index: u64,
    /// For random arrivals: the sum of the exponential distances up to this record.
    sum: f64,
}

impl Position {
    /// So many records on, where arrivals are not random.
    #[must_use]
    pub fn plus(self, records: u64) -> Self {
        Position { index: self.index + records, ..self }
    }
}

/// The records of one producer on one partition.
#[derive(Debug, Clone)]
pub struct Arrivals {
    share: Share,
    partition: u64,
    /// Records of the whole load per record of this sequence, where both are real numbers; infinite: it gets none.
    scale: f64,
    /// How far the first record of an even sequence is into its distance: keeps producers and partitions apart.
    phase: f64,
}

/// Part of the golden ratio: multiples of it, modulo 1, are far apart (a Weyl sequence).
const GOLDEN_PART: f64 = 0.618_033_988_749_894_8;

impl Arrivals {
    /// The sequence of `partition`.
    pub fn new(share: &Share, partition: u64) -> Self {
        let part = match &share.spread {
            Spread::Shares(shares) => shares[partition as usize],
            Spread::Turns | Spread::Sticky { .. } | Spread::Recorded(_) => 1.0 / share.partitions as f64,
        };
        let spot = (partition * share.producers + share.producer) as f64;
        Arrivals {
            share: share.clone(),
            partition,
            scale: share.producers as f64 / part,
            phase: (spot * GOLDEN_PART).fract(),
        }
    }

    /// The first record.
    pub fn first(&self) -> Position {
        Position { index: 0, sum: self.distance(0) }
    }

    /// The record after this one.
    #[inline]
    pub fn after(&self, position: Position) -> Position {
        let index = position.index + 1;
        Position { index, sum: position.sum + self.distance(index) }
    }

    /// The record so many records after this one.
    pub fn skip(&self, from: Position, records: u64) -> Position {
        match self.share.arrival {
            Arrival::Uniform => from.plus(records),
            Arrival::Poisson => (0..records).fold(from, |at, _| self.after(at)),
        }
    }

    /// The exponential distance in front of a record, of mean 1; 0 where arrivals are even.
    #[inline]
    fn distance(&self, index: u64) -> f64 {
        match self.share.arrival {
            Arrival::Uniform => 0.0,
            Arrival::Poisson => SplitMix::of(self.share.seed, self.partition, index).exponential(),
        }
    }

    /// The record's number among all of the load, where it has one.
    #[inline]
    fn number(&self, index: u64) -> Option<u64> {
        let Share { partitions, producers, producer, spread, arrival, .. } = &self.share;
        if *arrival == Arrival::Poisson {
            return None;
        }
        let k = match spread {
            Spread::Turns => index * partitions + self.partition,
            Spread::Sticky { run } => (index / run * partitions + self.partition) * run + index % run,
            Spread::Shares(_) | Spread::Recorded(_) => return None,
        };
        Some(k * producers + producer)
    }

    /// The record's place on the curve, where it has no number.
    #[inline]
    fn place(&self, position: Position) -> f64 {
        match self.share.arrival {
            Arrival::Uniform => (position.index as f64 + self.phase) * self.scale,
            Arrival::Poisson => position.sum * self.scale,
        }
    }

    /// When a record is intended; `None` if it never is, as far as that is known now.
    #[inline]
    pub fn intended_ns(&self, line: Timeline, position: Position) -> Option<u64> {
        if let Some(times_ns) = self.recorded_ns() {
            return times_ns.get(position.index as usize).map(|ns| line.origin_ns + ns);
        }
        match self.number(position.index) {
            Some(g) => self.share.curve.intended_ns(line, g),
            None => self.share.curve.time_of(line, self.place(position)),
        }
    }

    /// The first position from `from` on that is not intended before `until_ns`, or `limit` records later.
    pub fn until(&self, line: Timeline, from: Position, until_ns: u64, limit: u64) -> Position {
        if let Some(times_ns) = self.recorded_ns() {
            let ahead = times_ns.get(from.index as usize..).unwrap_or_default();
            let ahead = &ahead[..ahead.len().min(usize::try_from(limit).unwrap_or(usize::MAX))];
            return from.plus(ahead.partition_point(|ns| line.origin_ns + ns < until_ns) as u64);
        }
        if let (Spread::Turns | Spread::Sticky { .. }, Arrival::Uniform) =
            (&self.share.spread, self.share.arrival)
        {
            let index = self.count_numbered(self.share.curve.count_before(line, until_ns));
            return Position { index: index.clamp(from.index, from.index.saturating_add(limit)), sum: 0.0 };
        }
        let due = |at: Position| self.intended_ns(line, at).is_some_and(|ns| ns < until_ns);
        if self.share.arrival == Arrival::Uniform {
            return self.until_even(line, from, until_ns, limit, due);
        }
        let mut at = from;
        while at.index - from.index < limit && due(at) {
            at = self.after(at);
        }
        at
    }

    /// When this producer's records on the partition were recorded, nanoseconds since the first of all; `None` where the load is
    /// computed.
    #[inline]
    fn recorded_ns(&self) -> Option<&[u64]> {
        let Share { spread: Spread::Recorded(trace), producer, producers, .. } = &self.share else {
            return None;
        };
        let is_mine = self.partition % producers == *producer;
        Some(if is_mine { trace.times_ns(self.partition as usize) } else { &[] })
    }

    /// Even distances on the real curve: a guess from the count, put right by looking.
    fn until_even(
        &self,
        line: Timeline,
        from: Position,
        until_ns: u64,
        limit: u64,
        due: impl Fn(Position) -> bool,
    ) -> Position {
        let guess = self.share.curve.count_before(line, until_ns) as f64 / self.scale - self.phase;
        let at = |index: u64| Position { index, sum: 0.0 };
        let mut index = (guess.max(0.0) as u64).clamp(from.index, from.index.saturating_add(limit));
        while index > from.index && !due(at(index - 1)) {
            index -= 1;
        }
        while index - from.index < limit && due(at(index)) {
            index += 1;
        }
        at(index)
    }

    /// How many of the load's first `count` records are in this sequence.
    fn count_numbered(&self, count: u64) -> u64 {
        let Share { partitions, producers, producer, spread, .. } = &self.share;
        let mine = (count + producers - 1).saturating_sub(*producer) / producers;
        match spread {
            Spread::Sticky { run } => {
                let round = run * partitions;
                let rest = (mine % round).saturating_sub(self.partition * run).min(*run);
                mine / round * run + rest
            }
            _ => super::share_of_partition(mine, self.partition, *partitions),
        }
    }

    /// The intended times from a position on.
    #[inline]
    pub fn times(&self, line: Timeline, from: Position) -> ArrivalTimes<'_> {
        let evenly = match (self.share.arrival, &self.share.spread) {
            (Arrival::Uniform, Spread::Turns) => {
                let step = self.share.partitions * self.share.producers;
                self.number(from.index).map(|g| self.share.curve.times(line, g, step))
            }
            _ => None,
        };
        match evenly {
            Some(times) => ArrivalTimes::Evenly(times),
            None => ArrivalTimes::Each { arrivals: self, line, at: from },
        }
    }
}

/// See [`Arrivals::times`]; behind the last record, and where a record's time is not known yet, `None`.
pub enum ArrivalTimes<'a> {
    /// Every n-th record of the curve.
    Evenly(super::curve::Times<'a>),
    /// Looked up one by one.
    Each {
        /// The sequence.
        arrivals: &'a Arrivals,
        /// Where t = 0 is.
        line: Timeline,
        /// The next record.
        at: Position,
    },
}

impl Iterator for ArrivalTimes<'_> {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        match self {
            ArrivalTimes::Evenly(times) => times.next(),
            ArrivalTimes::Each { arrivals, line, at } => {
                let ns = arrivals.intended_ns(*line, *at);
                *at = arrivals.after(*at);
                ns
            }
        }
    }
}

#[cfg(test)]
mod tests;
