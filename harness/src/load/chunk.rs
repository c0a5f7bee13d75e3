//! Records of one partition that were handed over together, to a client that settles them one by one.

use std::ops::Range;

use super::producer::BatchTag;

/// See the head of this file. Its records are numbered from 0.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// What stands for all of them.
    pub(crate) tag: BatchTag,
    count: u64,
    /// So many of the first have ended ...
    ended: u64,
    /// ... and these behind them, sorted and apart from each other: what came back out of turn.
    strays: Vec<Range<u64>>,
}

impl Chunk {
    /// `count` records that `tag` stands for.
    pub(crate) fn new(tag: BatchTag, count: u64) -> Self {
        Chunk { tag, count, ended: 0, strays: Vec::new() }
    }

    /// How many records it is made of.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Part of it has ended. False, and nothing is noted, if some of that had ended before, or does not belong to it.
    #[inline]
    pub(crate) fn end(&mut self, part: Range<u64>) -> bool {
        if part.start < self.ended || part.end > self.count {
            return false;
        }
        let behind = self.strays.partition_point(|stray| stray.end <= part.start);
        if self.strays.get(behind).is_some_and(|stray| stray.start < part.end) {
            return false;
        }
        if part.start > self.ended {
            self.strays.insert(behind, part);
            return true;
        }
        self.ended = part.end;
        let caught_up = self.strays.iter().take_while(|stray| {
            let follows = stray.start == self.ended;
            if follows {
                self.ended = stray.end;
            }
            follows
        });
        let caught_up = caught_up.count();
        self.strays.drain(..caught_up);
        true
    }

    /// Whether all of it has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.ended == self.count
    }

    /// What of it has not ended.
    pub(crate) fn open(&self) -> Vec<Range<u64>> {
        let mut open = Vec::new();
        let mut at = self.ended;
        for stray in &self.strays {
            if stray.start > at {
                open.push(at..stray.start);
            }
            at = stray.end;
        }
        if at < self.count {
            open.push(at..self.count);
        }
        open
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a flag per record: what ends twice is refused and changes nothing.
        #[test]
        fn each_record_ends_once(count in 1..40u64, parts in prop::collection::vec((0..45u64, 0..9u64), 0..60)) {
            let mut chunk = Chunk::new(BatchTag::default(), count);
            let mut ended = vec![false; count as usize];
            for (start, length) in parts {
                let part = start..start + length;
                if part.is_empty() {
                    continue;
                }
                let is_new = part.end <= count && part.clone().all(|i| !ended[i as usize]);
                prop_assert_eq!(chunk.end(part.clone()), is_new, "{:?} {:?}", part, chunk);
                if is_new {
                    part.for_each(|i| ended[i as usize] = true);
                }
                let open: Vec<u64> = chunk.open().into_iter().flatten().collect();
                let expected: Vec<u64> = (0..count).filter(|i| !ended[*i as usize]).collect();
                prop_assert_eq!(chunk.is_over(), expected.is_empty());
                prop_assert_eq!(open, expected);
            }
        }
    }
}
