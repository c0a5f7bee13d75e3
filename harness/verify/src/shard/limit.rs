//! Bounded memory: what is given up, in which order, when the state has too many fragments.
//!
//! A healthy shard holds a few intervals per stream plus what is in flight. Fragments pile up when the
//! reader stands still for hours, or when records are lost at random. Then precision goes before memory:
//!
//! 1. missed claims and reorders are counted for good and forgotten;
//! 2. the older half of the claims, and of the reads ahead of their acks, forgets its offsets: presence
//!    is still checked, position no longer is; the older half of the acks is not compared with the clock;
//! 3. streams with many intervals are *retired* below a sequence number: what is known below is counted,
//!    and whatever still comes for it is `unchecked`;
//! 4. gaps between corrupt or expired offsets are closed.
//!
//! The report then says `degraded`. What it found stays found; what it did not find is no proof.

use crate::run::Run;

use super::claims::Claim;
use super::digest::Digests;
use super::leader_epoch::LeaderEpochs;
use super::lost::Overwritten;
use super::origin::Origins;
use super::producers::Producers;
use super::real_time_order::RealTime;
use super::recent::RecentReads;
use super::stream::Stream;
use super::{Overtaken, Shard};

/// Changes to the state between two looks at its size: enough to make the look free, few enough to keep
/// the overshoot small.
const CHECK_EVERY: u32 = 1024;

/// Says when to look at the size of the state.
#[derive(Debug, Default)]
pub(super) struct LimitCheck {
    changes: u32,
}

impl LimitCheck {
    pub(super) fn tick(&mut self) {
        self.changes += 1;
    }

    fn is_due(&mut self) -> bool {
        let due = self.changes >= CHECK_EVERY;
        if due {
            self.changes = 0;
        }
        due
    }
}

/// What one interval or run takes.
const FRAGMENT_BYTES: usize = size_of::<Run>();

/// Intervals that a stream may hold without counting as fragmented.
const STREAM_FRAGMENTS_MIN: usize = 16;

impl Shard {
    /// An upper bound of [`Shard::memory_bytes`] for a number of streams and a fragment limit.
    ///
    /// Vectors may have grown to twice what they hold, and the limit may be overshot by what comes between
    /// two checks: a few fragments for each of [`CHECK_EVERY`] changes.
    pub fn memory_bound_bytes(streams: usize, fragment_limit: usize) -> usize {
        let per_stream = size_of::<Stream>()
            + size_of::<(u32, u32)>()
            + STREAM_FRAGMENTS_MIN * FRAGMENT_BYTES
            + Origins::BYTES_MAX;
        let fragments = fragment_limit + 16 * CHECK_EVERY as usize;
        size_of::<Self>()
            + Producers::BYTES_MAX
            + RealTime::STEPS_BYTES_MAX
            + RecentReads::BYTES_MAX
            + Digests::BYTES_MAX
            + LeaderEpochs::STARTS_BYTES_MAX
            + 2 * (streams * per_stream + fragments * FRAGMENT_BYTES)
    }

    /// Bytes that the shard holds now, its evidence aside, which is bounded by the witness limit.
    pub fn memory_bytes(&self) -> usize {
        let per_stream = |stream: &Stream| {
            let sets: usize = stream.sets().iter().map(|set| set.memory_bytes()).sum();
            let reads = stream.ahead.memory_bytes() + stream.copies.capacity() * FRAGMENT_BYTES;
            sets + reads + stream.origins.memory_bytes()
        };
        size_of::<Self>()
            + self.streams.memory_bytes()
            + self.producers.memory_bytes()
            + self.real_time.memory_bytes()
            + self.recent.memory_bytes()
            + self.digests.memory_bytes()
            + self.leader_epochs.memory_bytes()
            + self.streams.iter().map(per_stream).sum::<usize>()
            + self.claims.memory_bytes()
            + self.missed.capacity() * size_of::<Claim>()
            + self.displaced.capacity() * FRAGMENT_BYTES
            + self.overwritten.capacity() * size_of::<Overwritten>()
            + self.overtaken.iter().map(Overtaken::memory_bytes).sum::<usize>()
            + self.corrupt_at.memory_bytes()
            + self.expired_at.memory_bytes()
    }

    /// Number of intervals and runs held. A reorder weighs as many as it is long.
    pub fn fragments(&self) -> usize {
        let overtaken: usize = self.overtaken.iter().map(Overtaken::memory_bytes).sum();
        self.streams.iter().map(fragments_of).sum::<usize>()
            + self.claims.fragments()
            + (self.missed.len() * size_of::<Claim>()).div_ceil(FRAGMENT_BYTES)
            + (self.overwritten.len() * size_of::<Overwritten>()).div_ceil(FRAGMENT_BYTES)
            + self.real_time.fragments()
            + overtaken.div_ceil(FRAGMENT_BYTES)
            + self.corrupt_at.fragments()
            + self.expired_at.fragments()
    }

    /// Gives precision up if there are too many fragments.
    pub(super) fn check_limit(&mut self) {
        if !self.limit_check.is_due() || self.fragments() <= self.config.fragment_limit {
            return;
        }
        self.tally.summary.degraded = true;
        // Well below the limit, so that the next time is far away.
        let target = self.config.fragment_limit / 2;
        let steps = [Self::settle_missed, Self::forget_offsets, Self::retire_streams, Self::close_gaps];
        for step in steps {
            step(self, target);
            if self.fragments() <= target {
                break;
            }
        }
        self.shrink();
    }

    /// Counts missed claims and reorders as they look now.
    fn settle_missed(&mut self, _target: usize) {
        let mut tally = self.tally.take();
        self.resolve_missed(&mut tally);
        self.resolve_overtaken(&mut tally);
        self.tally = tally;
        (self.missed, self.overwritten) = (Vec::new(), Vec::new());
        self.overtaken = Vec::new();
    }

    /// Lets the older half of what waits for its other side forget where it was.
    fn forget_offsets(&mut self, target: usize) {
        // What is in flight in a healthy run is not worth forgetting.
        let share = target / 4;
        if self.claims.fragments() > share {
            for claim in self.claims.take_lower_half() {
                self.streams.get_mut(claim.stream).unplaced.insert(claim.pseqs());
            }
        }
        if self.real_time.pending() > share {
            self.real_time.forget_lower_half();
        }
        let reads_of = |stream: &Stream| stream.ahead.fragments() + stream.copies.len();
        if self.streams.iter().map(reads_of).sum::<usize>() > share {
            self.streams.iter_mut().for_each(Stream::forget_offsets);
        }
    }

    /// Retires the lower half of the most fragmented streams.
    fn retire_streams(&mut self, target: usize) {
        while self.fragments() > target {
            let most = (0..self.streams.len() as u32).max_by_key(|i| fragments_of(self.streams.get(*i)));
            let Some(stream) = most.filter(|i| fragments_of(self.streams.get(*i)) > STREAM_FRAGMENTS_MIN)
            else {
                return;
            };
            let Some(below) = midpoint(self.streams.get(stream)) else { return };
            self.retire(stream, below);
        }
    }

    /// Counts and forgets what is known of a stream below a sequence number.
    fn retire(&mut self, stream: u32, below: u64) {
        let state = self.streams.get_mut(stream);
        let summary = &mut self.tally.summary;
        for range in state.indeterminate.present_in(0..below) {
            summary.indeterminate_present += state.seen.count_in(range);
        }
        for range in state.unacknowledged.present_in(0..below) {
            let present = state.seen.count_in(range.clone());
            summary.unacknowledged_present += present;
            summary.unacknowledged_absent += range.end - range.start - present;
        }
        for range in state.unplaced.present_in(0..below) {
            summary.unchecked += range.end - range.start - state.seen.count_in(range.clone());
        }
        self.claims.retain_map(|claim| {
            if claim.stream != stream || claim.first_pseq >= below {
                return Some(claim);
            }
            let cut = below.min(claim.end_pseq());
            summary.unchecked += cut - claim.first_pseq - state.seen.count_in(claim.first_pseq..cut);
            (cut < claim.end_pseq()).then(|| claim.slice(cut..claim.end_pseq()))
        });
        state.take_reads(0..below);
        for set in state.sets_mut() {
            set.remove(0..below);
        }
        state.retired_below = below;
    }

    /// Treats what lies between the older corrupt offsets, and between the older expired ones, alike.
    fn close_gaps(&mut self, _target: usize) {
        for set in [&mut self.corrupt_at, &mut self.expired_at] {
            if let [first, .., _last] = set.ranges() {
                let hull = first.start..set.ranges()[set.fragments() / 2].end;
                set.insert(hull);
            }
        }
    }

    fn shrink(&mut self) {
        for stream in self.streams.iter_mut() {
            stream.sets_mut().into_iter().for_each(crate::interval_set::IntervalSet::shrink);
            stream.ahead.shrink();
        }
        self.claims.shrink();
        self.real_time.shrink();
        self.corrupt_at.shrink();
        self.expired_at.shrink();
    }
}

fn fragments_of(stream: &Stream) -> usize {
    let sets: usize = stream.sets().iter().map(|set| set.fragments()).sum();
    sets + stream.ahead.fragments() + stream.copies.len()
}

/// A sequence number with about half of the stream's most fragmented set below it.
fn midpoint(stream: &Stream) -> Option<u64> {
    let by_fragments = stream.sets().into_iter().max_by_key(|set| set.fragments())?;
    let in_sets = by_fragments.ranges().get(by_fragments.fragments() / 2).map(|range| range.start);
    let ahead = stream.ahead.iter().nth(stream.ahead.fragments() / 2).map(|run| run.first_pseq);
    if stream.ahead.fragments() > by_fragments.fragments() { ahead } else { in_sets }
}
