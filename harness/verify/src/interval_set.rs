//! A set of `u64` kept as sorted, disjoint, non-touching ranges.
//!
//! The checker's sets are dense: in a healthy run each is one range, whatever the number of records. So
//! a plain sorted vector wins over trees: appending at the end is one comparison and no allocation.

use std::ops::Range;

/// Sorted ranges with a gap of at least one value between neighbours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IntervalSet {
    ranges: Vec<Range<u64>>,
}

impl IntervalSet {
    /// An empty set; allocates nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds every value of `range`. Values that are in already are no error.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        match self.ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            Some(last) if last.end > range.start => self.insert_inside(range),
            _ => self.ranges.push(range),
        }
    }

    /// Adds a range that starts at or before the end of the set.
    fn insert_inside(&mut self, range: Range<u64>) {
        // Touching neighbours merge too, hence `<` against start and `<=` against end.
        let first = self.ranges.partition_point(|r| r.end < range.start);
        let after = self.ranges.partition_point(|r| r.start <= range.end);
        if first == after {
            self.ranges.insert(first, range);
            return;
        }
        let start = range.start.min(self.ranges[first].start);
        let end = range.end.max(self.ranges[after - 1].end);
        self.ranges[first] = start..end;
        self.ranges.drain(first + 1..after);
    }

    /// Takes every value of `range` out.
    pub fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let first = self.ranges.partition_point(|r| r.end <= range.start);
        let after = self.ranges.partition_point(|r| r.start < range.end);
        if first >= after {
            return;
        }
        let head = self.ranges[first].start..range.start;
        let tail = range.end..self.ranges[after - 1].end;
        let kept = [head, tail].into_iter().filter(|r| !r.is_empty());
        self.ranges.splice(first..after, kept);
    }

    /// Takes every value of `other` out.
    pub fn remove_all(&mut self, other: &IntervalSet) {
        for range in &other.ranges {
            self.remove(range.clone());
        }
    }

    /// True if `value` is in the set.
    pub fn contains(&self, value: u64) -> bool {
        let index = self.ranges.partition_point(|r| r.end <= value);
        self.ranges.get(index).is_some_and(|r| r.start <= value)
    }

    /// True if every value of `range` is in the set; so it is for an empty range.
    pub fn covers(&self, range: &Range<u64>) -> bool {
        let index = self.ranges.partition_point(|r| r.end < range.end);
        range.is_empty() || self.ranges.get(index).is_some_and(|r| r.start <= range.start)
    }

    /// The parts of `range` that are in the set, ascending.
    pub fn present_in(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let first = self.ranges.partition_point(|r| r.end <= range.start);
        self.ranges[first..]
            .iter()
            .take_while({
                let end = range.end;
                move |r| r.start < end
            })
            .map(move |r| r.start.max(range.start)..r.end.min(range.end))
            .filter(|r| !r.is_empty())
    }

    /// The parts of `range` that are not in the set, ascending.
    pub fn missing_in(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let end = range.end;
        let mut cursor = range.start;
        let mut present = self.present_in(range);
        let mut exhausted = false;
        std::iter::from_fn(move || {
            while !exhausted {
                let gap_start = cursor;
                let gap_end = match present.next() {
                    Some(part) => {
                        cursor = part.end;
                        part.start
                    }
                    None => {
                        exhausted = true;
                        end
                    }
                };
                if gap_start < gap_end {
                    return Some(gap_start..gap_end);
                }
            }
            None
        })
    }

    /// How many values of `range` are in the set.
    pub fn count_in(&self, range: Range<u64>) -> u64 {
        self.present_in(range).map(|r| r.end - r.start).sum()
    }

    /// All ranges, ascending.
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.ranges
    }

    /// Number of values in the set.
    pub fn count(&self) -> u64 {
        self.ranges.iter().map(|r| r.end - r.start).sum()
    }

    /// True if nothing is in the set.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// One more than the greatest value; 0 for an empty set.
    pub fn end(&self) -> u64 {
        self.ranges.last().map_or(0, |r| r.end)
    }

    /// Number of ranges: what the set costs.
    pub fn fragments(&self) -> usize {
        self.ranges.len()
    }

    /// Heap bytes held.
    pub fn memory_bytes(&self) -> usize {
        self.ranges.capacity() * size_of::<Range<u64>>()
    }

    /// Gives memory back that a burst of fragments left behind.
    pub(crate) fn shrink(&mut self) {
        self.ranges.shrink_to(self.ranges.len() * 2);
    }
}

impl FromIterator<Range<u64>> for IntervalSet {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        let mut set = Self::new();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Op {
        Insert(Range<u64>),
        Remove(Range<u64>),
    }

    fn small_range() -> impl Strategy<Value = Range<u64>> {
        (0u64..60, 0u64..12).prop_map(|(start, len)| start..start + len)
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            3 => small_range().prop_map(Op::Insert),
            2 => small_range().prop_map(Op::Remove),
        ];
        prop::collection::vec(op, 0..60)
    }

    fn flatten(ranges: impl Iterator<Item = Range<u64>>) -> Vec<u64> {
        ranges.flatten().collect()
    }

    proptest! {
        #[test]
        fn behaves_like_a_btree_set(ops in ops(), probe in small_range()) {
            let mut set = IntervalSet::new();
            let mut model = BTreeSet::new();
            for op in ops {
                match op {
                    Op::Insert(r) => { model.extend(r.clone()); set.insert(r); }
                    Op::Remove(r) => { model.retain(|v| !r.contains(v)); set.remove(r); }
                }
                // Sorted, non-empty and never touching: else fragment counts mean nothing.
                prop_assert!(set.ranges.iter().all(|r| r.start < r.end));
                prop_assert!(set.ranges.windows(2).all(|w| w[0].end < w[1].start));
            }
            prop_assert_eq!(flatten(set.ranges().iter().cloned()), Vec::from_iter(model.iter().copied()));
            prop_assert_eq!(set.count(), model.len() as u64);
            prop_assert_eq!(set.end(), model.last().map_or(0, |v| v + 1));
            let present: Vec<u64> = probe.clone().filter(|v| model.contains(v)).collect();
            let missing: Vec<u64> = probe.clone().filter(|v| !model.contains(v)).collect();
            prop_assert_eq!(set.covers(&probe), missing.is_empty());
            prop_assert_eq!(set.count_in(probe.clone()), present.len() as u64);
            prop_assert_eq!(flatten(set.present_in(probe.clone())), present);
            prop_assert_eq!(flatten(set.missing_in(probe.clone())), missing);
            for value in probe {
                prop_assert_eq!(set.contains(value), model.contains(&value));
            }
        }
    }

    #[test]
    fn in_order_inserts_stay_one_fragment() {
        let mut set = IntervalSet::new();
        for batch in 0..1_000u64 {
            set.insert(batch * 400..(batch + 1) * 400);
        }
        assert_eq!(set.ranges(), std::slice::from_ref(&(0..400_000)));
    }
}
