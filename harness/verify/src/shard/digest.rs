//! What a log holds, range by range, as numbers: enough to tell whether somebody who reads it again reads the same.
//!
//! A log is a row of offsets, and each holds something: a record of a stream, one that can't be read or is somebody else's, or nothing.
//! Where that does not just go on from the offset before, and at every multiple of [`GRAIN`], there is a mark: offset and content, mixed to
//! 64 bits. The digest of a range is the sum of its marks. So it costs per batch and not per record, it does not depend on how
//! the log was cut into batches and answers, and digests of neighbours add up.
//!
//! There are at most [`RANGES_MAX`] ranges: of a log that gets longer, neighbours become one.

use std::ops::Range;

use crate::mix::mix;
use crate::outcome::StreamKey;

use super::OFFSET_MAX;

/// Ranges begin at multiples of this, and are as many offsets wide, times a power of two.
pub(super) const GRAIN: i64 = 1 << 12;
/// So many ranges are told apart.
const RANGES_MAX: usize = 1 << 10;
/// Whoever goes on further than this from where reading was begins anew.
const JUMP_MAX: i64 = GRAIN << 14;

/// What an offset holds, in a form that stays the same as long as it just goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content {
    what: u64,
    base: u64,
}

impl Content {
    const NOTHING: Content = Content { what: 1 << 32, base: 0 };
    /// In a batch that can't be read again.
    pub(super) const UNREADABLE: Content = Content { what: 2 << 32, base: 0 };

    /// Records of a stream, with sequence numbers that go up with the offsets.
    pub(super) fn of_stream(stream: StreamKey, pseq: u64, offset: i64) -> Self {
        Self { what: u64::from(stream.packed()), base: pseq.wrapping_sub(offset as u64) }
    }

    /// A record that this run did not write, of so many bytes.
    pub(super) fn foreign(bytes: usize) -> Self {
        Self { what: 3 << 32, base: bytes as u64 }
    }

    /// A record of this run that is changed, or belongs elsewhere.
    pub(super) fn damaged(value: &[u8]) -> Self {
        Self { what: 4 << 32, base: u64::from(crc32c::crc32c(value)) }
    }

    fn mark_at(self, offset: i64) -> u64 {
        mix(mix(mix(offset as u64) ^ self.what) ^ self.base)
    }
}

/// Goes along a log and makes its marks.
#[derive(Clone, Debug)]
struct Scan {
    /// The offset that was not looked at yet.
    next: i64,
    /// What the one before holds.
    content: Option<Content>,
}

impl Scan {
    /// `offsets` hold `content`, and the offsets before them nothing. Calls `mark` with the offset and value of every mark.
    fn take(&mut self, content: Content, offsets: Range<i64>, mut mark: impl FnMut(i64, u64)) {
        if offsets.start > self.next {
            self.stretch(Content::NOTHING, self.next..offsets.start, &mut mark);
        }
        self.stretch(content, offsets.start.max(self.next)..offsets.end, &mut mark);
    }

    fn stretch(&mut self, content: Content, offsets: Range<i64>, mark: &mut impl FnMut(i64, u64)) {
        if offsets.is_empty() {
            return;
        }
        let grain = up_to_grain(offsets.start);
        if self.content != Some(content) && grain != offsets.start {
            mark(offsets.start, content.mark_at(offsets.start));
        }
        for at in (grain..offsets.end).step_by(GRAIN as usize) {
            mark(at, content.mark_at(at));
        }
        *self = Scan { next: offsets.end, content: Some(content) };
    }
}

/// The first offset from `offset` on at which a range may begin.
fn up_to_grain(offset: i64) -> i64 {
    offset + (-offset).rem_euclid(GRAIN)
}

/// The digest of a range.
#[derive(Clone, Copy, Debug, Default)]
struct Digest {
    sum: u64,
    /// A part of it was cut off with the end of the log, or not shown, and the sum is of no use.
    is_spoilt: bool,
}

/// The digests of a log.
#[derive(Debug)]
pub(super) struct Digests {
    scan: Scan,
    /// Where the first range begins. What lies below is not known.
    origin: i64,
    width: i64,
    ranges: Vec<Digest>,
}

impl Digests {
    /// Memory never exceeds this many bytes.
    pub(super) const BYTES_MAX: usize = 2 * RANGES_MAX * size_of::<Digest>();

    /// Of a log that is read from `start` on.
    pub(super) fn new(start: i64) -> Self {
        let origin = up_to_grain(start.clamp(0, OFFSET_MAX));
        Self { scan: Scan { next: start, content: None }, origin, width: GRAIN, ranges: Vec::new() }
    }

    /// `offsets` hold `content`, and what lies between them and the last that were told nothing.
    pub(super) fn take(&mut self, content: Content, offsets: Range<i64>) {
        if offsets.start - self.scan.next > JUMP_MAX {
            *self = Self::new(offsets.start);
        }
        if offsets.end > OFFSET_MAX {
            return;
        }
        let mut scan = self.scan.clone();
        scan.take(content, offsets, |at, mark| self.add(at, mark));
        self.scan = scan;
    }

    /// Nothing lies below `position` but what was told.
    pub(super) fn pass(&mut self, position: i64) {
        if position > self.scan.next {
            self.take(Content::NOTHING, position..position);
        }
    }

    /// What lies between the last that was told and `position` was not shown, and may be anything.
    pub(super) fn leave_out(&mut self, position: i64) {
        let from = self.scan.next;
        if position <= from || position > OFFSET_MAX {
            return;
        }
        if position - from > JUMP_MAX {
            *self = Self::new(position);
            return;
        }
        if let Some(last) = self.reach(position - 1) {
            let first = self.index_of(from.max(self.origin));
            self.ranges[first..=last].iter_mut().for_each(|digest| digest.is_spoilt = true);
        }
        self.scan = Scan { next: position, content: None };
    }

    fn add(&mut self, at: i64, mark: u64) {
        if let Some(index) = self.reach(at) {
            self.ranges[index].sum = self.ranges[index].sum.wrapping_add(mark);
        }
    }

    /// The index of the range that `at` is in, which is there now; `None` below the first.
    fn reach(&mut self, at: i64) -> Option<usize> {
        if at < self.origin {
            return None;
        }
        while at >= self.origin + self.width * RANGES_MAX as i64 {
            self.widen();
        }
        let index = self.index_of(at);
        if index >= self.ranges.len() {
            self.ranges.resize(index + 1, Digest::default());
        }
        Some(index)
    }

    fn index_of(&self, offset: i64) -> usize {
        ((offset - self.origin) / self.width) as usize
    }

    fn widen(&mut self) {
        let both = |pair: &[Digest]| Digest {
            sum: pair.iter().fold(0, |sum, digest| sum.wrapping_add(digest.sum)),
            is_spoilt: pair.iter().any(|digest| digest.is_spoilt),
        };
        self.ranges = self.ranges.chunks(2).map(both).collect();
        self.width *= 2;
    }

    /// The log was cut off at `end`, and goes on there.
    pub(super) fn cut_off(&mut self, end: i64) {
        if end >= self.scan.next {
            return;
        }
        if end <= self.origin {
            *self = Self::new(end);
            return;
        }
        let index = self.index_of(end);
        self.ranges.truncate(index + 1);
        if (end - self.origin) % self.width == 0 {
            self.ranges.truncate(index);
        } else if let Some(digest) = self.ranges.get_mut(index) {
            digest.is_spoilt = true;
        }
        self.scan = Scan { next: end, content: None };
    }

    /// The ranges whose digests are known; the last one goes as far as was read.
    fn known(&self) -> impl Iterator<Item = (Range<i64>, u64)> + '_ {
        let of = |(index, digest): (usize, &Digest)| {
            let from = self.origin + self.width * index as i64;
            (from..(from + self.width).min(self.scan.next), digest.sum)
        };
        let known = self.ranges.iter().enumerate().filter(|(_, digest)| !digest.is_spoilt).map(of);
        known.filter(|(range, _)| !range.is_empty())
    }

    /// The known ranges that hold any of `offsets`, neighbours as one.
    pub(super) fn around(&self, offsets: &[Range<i64>]) -> Vec<Range<i64>> {
        let is_wanted = |range: &Range<i64>| {
            offsets.iter().any(|wanted| wanted.start < range.end && range.start < wanted.end)
        };
        let mut all: Vec<Range<i64>> = Vec::new();
        for (range, _) in self.known().filter(|(range, _)| is_wanted(range)) {
            match all.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => all.push(range),
            }
        }
        all
    }

    /// What goes along `offsets`, which begin where a range does.
    pub(super) fn again(&self, offsets: Range<i64>) -> DigestsAgain {
        let scan = Scan { next: offsets.start, content: None };
        DigestsAgain { scan, offsets, width: self.width, sums: Vec::new() }
    }

    /// The ranges that both know, and whether they agree. Sums that were made when ranges were narrower are of no use.
    pub(super) fn compared<'a>(
        &'a self,
        from: i64,
        width: i64,
        sums: &'a [Option<u64>],
    ) -> impl Iterator<Item = (Range<i64>, bool)> + 'a {
        let other = move |range: &Range<i64>| {
            let index = usize::try_from((range.start - from) / width).ok()?;
            *sums.get(index).filter(|_| range.start >= from)?
        };
        let known = self.known().filter(move |_| width == self.width);
        known.filter_map(move |(range, sum)| Some((range.clone(), other(&range)? == sum)))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.ranges.capacity() * size_of::<Digest>()
    }
}

/// The digests of a part of a log that is read again.
#[derive(Debug)]
pub(super) struct DigestsAgain {
    scan: Scan,
    offsets: Range<i64>,
    width: i64,
    sums: Vec<Option<u64>>,
}

impl DigestsAgain {
    /// The next offset that is wanted; `None` at the end.
    pub(super) fn wanted(&self) -> Option<i64> {
        (self.scan.next < self.offsets.end).then_some(self.scan.next)
    }

    /// As [`Digests::take`]; what is not wanted is left out.
    pub(super) fn take(&mut self, content: Content, offsets: Range<i64>) {
        let wanted = offsets.start.max(self.scan.next)..offsets.end.min(self.offsets.end);
        if wanted.is_empty() {
            return self.pass(offsets.start);
        }
        let mut scan = self.scan.clone();
        scan.take(content, wanted, |at, mark| self.add(at, mark));
        self.scan = scan;
    }

    /// As [`Digests::pass`].
    pub(super) fn pass(&mut self, position: i64) {
        let position = position.min(self.offsets.end);
        if position > self.scan.next {
            let mut scan = self.scan.clone();
            scan.take(Content::NOTHING, position..position, |at, mark| self.add(at, mark));
            self.scan = scan;
        }
    }

    fn add(&mut self, at: i64, mark: u64) {
        let index = ((at - self.offsets.start) / self.width) as usize;
        if index >= self.sums.len() {
            self.sums.resize(index + 1, Some(0));
        }
        self.sums[index] = self.sums[index].map(|sum| sum.wrapping_add(mark));
    }

    /// What lies below `log_start` has been deleted meanwhile: nothing is said of ranges that it is in.
    pub(super) fn gone_below(&mut self, log_start: i64) {
        if log_start <= self.scan.next {
            return;
        }
        self.pass(log_start);
        let last = self.scan.next.saturating_sub(1).max(self.offsets.start);
        let index = ((last - self.offsets.start) / self.width) as usize;
        self.sums.iter_mut().take(index + 1).for_each(|sum| *sum = None);
    }

    /// Where it begins, how wide the ranges are, and the sum of each that was read to its end.
    pub(super) fn finish(mut self) -> (i64, i64, Vec<Option<u64>>) {
        if self.scan.next < self.offsets.end {
            let index = ((self.scan.next - self.offsets.start) / self.width) as usize;
            self.sums.truncate(index);
        }
        (self.offsets.start, self.width, self.sums)
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "lists of ranges that have one")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a log holds: stretches of content, by length; every third kind is nothing at all.
    fn log() -> impl Strategy<Value = Vec<(u8, i64)>> {
        prop::collection::vec((0u8..6, prop_oneof![1i64..40, 1i64..3 * GRAIN]), 1..40)
    }

    /// Tells `digests` of a log, in pieces of so many offsets. Returns where it ends.
    fn tell(log: &[(u8, i64)], piece: i64, mut take: impl FnMut(Content, Range<i64>)) -> i64 {
        let mut at = 0;
        let mut pseqs = [0u64; 6];
        for (kind, length) in log {
            let end = at + length;
            while at < end {
                let to = (at + piece).min(end);
                let stream = StreamKey { producer: u16::from(*kind), incarnation: 0 };
                match kind {
                    0 => {}
                    1 => take(Content::foreign(7), at..to),
                    _ => take(Content::of_stream(stream, pseqs[usize::from(*kind)], at), at..to),
                }
                pseqs[usize::from(*kind)] += (to - at) as u64;
                at = to;
            }
        }
        at
    }

    fn told(log: &[(u8, i64)], piece: i64) -> (Digests, i64) {
        let mut digests = Digests::new(0);
        let end = tell(log, piece, |content, offsets| digests.take(content, offsets));
        digests.pass(end);
        (digests, end)
    }

    fn read_again(digests: &Digests, log: &[(u8, i64)], range: Range<i64>, piece: i64) -> Vec<bool> {
        let mut again = digests.again(range.clone());
        tell(log, piece, |content, offsets| again.take(content, offsets));
        again.pass(range.end);
        assert_eq!(again.wanted(), None);
        let (from, width, sums) = again.finish();
        digests.compared(from, width, &sums).map(|(_, agrees)| agrees).collect()
    }

    proptest! {
        /// However the two were handed the log, and wherever the second began, they agree on all of it.
        #[test]
        fn the_same_log_has_the_same_digests(log in log(), piece in 1i64..9_000, other in 1i64..9_000, from in 0usize..8) {
            let (digests, end) = told(&log, piece);
            let from = (from as i64 * digests.width).min(up_to_grain(end) - GRAIN).max(0);
            let agreed = read_again(&digests, &log, from..end, other);
            prop_assert!(agreed.iter().all(|agrees| *agrees), "{agreed:?}");
            prop_assert_eq!(agreed.len() as i64, (end - from + GRAIN - 1) / GRAIN);
        }

        /// One offset that holds something else is one range that differs.
        #[test]
        fn another_content_is_seen(log in log(), at in any::<prop::sample::Index>(), piece in 1i64..9_000) {
            let (digests, end) = told(&log, piece);
            let at = at.index(end as usize) as i64;
            let mut changed: Vec<(Content, Range<i64>)> = Vec::new();
            tell(&log, piece, |content, offsets| {
                changed.push((content, offsets.start..offsets.end.min(at).max(offsets.start)));
                changed.push((content, offsets.start.max(at + 1).min(offsets.end)..offsets.end));
            });
            changed.push((Content::damaged(b"changed"), at..at + 1));
            changed.retain(|(_, offsets)| !offsets.is_empty());
            changed.sort_by_key(|(_, offsets)| offsets.start);
            let mut again = digests.again(0..end);
            changed.into_iter().for_each(|(content, offsets)| again.take(content, offsets));
            again.pass(end);
            let (from, width, sums) = again.finish();
            let differ: Vec<_> = digests.compared(from, width, &sums).filter(|(_, agrees)| !agrees).collect();
            prop_assert!(differ.len() == 1 && differ[0].0.contains(&at), "{differ:?}");
        }

        /// A log that was cut off and went on agrees with itself where it was not cut.
        #[test]
        fn what_was_cut_off_is_forgotten(log in log(), cut in any::<prop::sample::Index>(), more in 1i64..20_000) {
            let (mut digests, end) = told(&log, 500);
            let cut = cut.index(end as usize) as i64;
            digests.cut_off(cut);
            let stream = StreamKey { producer: 9, incarnation: 0 };
            let new = (Content::of_stream(stream, 0, cut), cut..cut + more);
            digests.take(new.0, new.1.clone());
            let mut again = digests.again(0..cut + more);
            tell(&log, 500, |content, offsets| again.take(content, offsets.start.min(cut)..offsets.end.min(cut)));
            again.pass(cut);
            again.take(new.0, new.1);
            let (from, width, sums) = again.finish();
            prop_assert!(digests.compared(from, width, &sums).all(|(_, agrees)| agrees));
        }
    }

    #[test]
    fn a_log_that_gets_longer_takes_no_more_memory() {
        let stream = StreamKey { producer: 1, incarnation: 0 };
        let content = Content::of_stream(stream, 0, 0);
        let mut digests = Digests::new(0);
        let end = GRAIN * RANGES_MAX as i64 * 5;
        for at in (0..end).step_by(1_000) {
            digests.take(content, at..(at + 1_000).min(end));
            assert!(digests.memory_bytes() <= Digests::BYTES_MAX);
        }
        assert_eq!(digests.width, 8 * GRAIN);
        let wanted = digests.around(&[end / 2..end / 2 + 1, end - 1..end]);
        assert_eq!(wanted.len(), 2);
        let mut again = digests.again(wanted[0].clone());
        again.take(content, wanted[0].clone());
        let (from, width, sums) = again.finish();
        let compared: Vec<_> = digests.compared(from, width, &sums).collect();
        assert_eq!(compared, [(wanted[0].clone(), true)]);
    }

    #[test]
    fn nothing_is_said_of_what_was_not_shown() {
        let stream = StreamKey { producer: 1, incarnation: 0 };
        let content = Content::of_stream(stream, 0, 0);
        let compared = |gap: Range<i64>| -> Vec<i64> {
            let mut digests = Digests::new(0);
            digests.take(content, 0..gap.start);
            digests.leave_out(gap.end);
            digests.take(content, gap.end..4 * GRAIN);
            // Somebody else is shown all of it.
            let mut again = digests.again(0..4 * GRAIN);
            again.take(content, 0..4 * GRAIN);
            let (from, width, sums) = again.finish();
            let compared: Vec<_> = digests.compared(from, width, &sums).collect();
            assert!(compared.iter().all(|(_, agrees)| *agrees), "{gap:?}: {compared:?}");
            compared.into_iter().map(|(range, _)| range.start / GRAIN).collect()
        };
        assert_eq!(compared(5..5), [0, 1, 2, 3]);
        assert_eq!(compared(5..6), [1, 2, 3]);
        assert_eq!(compared(0..GRAIN), [1, 2, 3]);
        assert_eq!(compared(GRAIN - 1..GRAIN + 1), [2, 3]);
        assert_eq!(compared(GRAIN..4 * GRAIN), [0]);
        let mut digests = Digests::new(10);
        digests.leave_out(20);
        digests.take(content, 20..2 * GRAIN);
        assert_eq!(digests.around(&[0..i64::MAX]), [GRAIN..2 * GRAIN], "the first range begins above it");
    }

    #[test]
    fn nothing_is_said_of_what_was_deleted_or_not_read_to_its_end() {
        let stream = StreamKey { producer: 1, incarnation: 0 };
        let content = Content::of_stream(stream, 0, 0);
        let mut digests = Digests::new(0);
        digests.take(content, 0..4 * GRAIN);
        let compared = |read_to: i64, log_start: i64| -> Vec<(Range<i64>, bool)> {
            let mut again = digests.again(0..4 * GRAIN);
            again.gone_below(log_start);
            again.take(content, log_start..read_to);
            let (from, width, sums) = again.finish();
            digests.compared(from, width, &sums).collect()
        };
        let range = |index: i64| (index * GRAIN..(index + 1) * GRAIN, true);
        assert_eq!(compared(4 * GRAIN, 0), [range(0), range(1), range(2), range(3)]);
        assert_eq!(compared(4 * GRAIN, 1), [range(1), range(2), range(3)]);
        assert_eq!(compared(4 * GRAIN, GRAIN), [range(1), range(2), range(3)]);
        assert_eq!(compared(3 * GRAIN + 5, GRAIN + 1), [range(2)]);
    }

    #[test]
    fn a_jump_begins_anew() {
        let stream = StreamKey { producer: 1, incarnation: 0 };
        let mut digests = Digests::new(0);
        digests.take(Content::of_stream(stream, 0, 0), 0..GRAIN);
        digests.pass(i64::MAX / 2);
        assert_eq!(digests.around(&[0..i64::MAX]), []);
    }
}
