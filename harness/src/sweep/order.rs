//! In which order points are run.

use crate::random::SplitMix;
use crate::scenario::sweep::SweepOrder;

/// A run: index of the point, and which of its runs, from 1.
pub(crate) type Slot = (usize, u16);

/// Every point once, then every point again, and so on. `groups[i]` tells which points share a cluster: shuffled, they stay
/// together, because starting a cluster takes longer than most runs. A repeat begins with the group that the one before ended
/// with.
pub(crate) fn order(groups: &[usize], repeats: u16, order: SweepOrder, seed: u64) -> Vec<Slot> {
    let mut slots = Vec::new();
    let mut last_group = None;
    for repeat in 1..=repeats {
        let mut points: Vec<usize> = (0..groups.len()).collect();
        if order == SweepOrder::Shuffled {
            shuffle(&mut SplitMix::of(seed, 0, u64::from(repeat)), &mut points);
            let mut of_groups: Vec<usize> = Vec::new();
            for point in &points {
                if !of_groups.contains(&groups[*point]) {
                    of_groups.push(groups[*point]);
                }
            }
            let rank = |group: usize| {
                let drawn = of_groups.iter().position(|g| *g == group);
                (last_group != Some(group), drawn)
            };
            // Stable: points of a group keep the order that was drawn.
            points.sort_by_key(|point| rank(groups[*point]));
        }
        last_group = points.last().map(|point| groups[*point]);
        slots.extend(points.into_iter().map(|point| (point, repeat)));
    }
    slots
}

/// Fisher and Yates. Of at most a thousand items: what the remainder favours is 1 in 2⁵⁴.
fn shuffle(random: &mut SplitMix, items: &mut [usize]) {
    for last in (1..items.len()).rev() {
        let other = (random.draw() % (last as u64 + 1)) as usize;
        items.swap(last, other);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn as_written_is_as_written() {
        let slots = order(&[0, 1, 0], 2, SweepOrder::AsWritten, 7);
        assert_eq!(slots, [(0, 1), (1, 1), (2, 1), (0, 2), (1, 2), (2, 2)]);
    }

    #[test]
    fn the_seed_decides_and_repeats_differ() {
        let groups = [0; 12];
        let one = order(&groups, 2, SweepOrder::Shuffled, 7);
        assert_eq!(one, order(&groups, 2, SweepOrder::Shuffled, 7));
        assert_ne!(one, order(&groups, 2, SweepOrder::Shuffled, 8));
        let points = |slots: &[Slot]| slots.iter().map(|slot| slot.0).collect::<Vec<_>>();
        assert_ne!(points(&one[..12]), points(&one[12..]));
    }

    proptest! {
        /// Each repeat has every point once, groups stay together, and there is one change of cluster less than groups.
        #[test]
        fn every_repeat_is_whole(groups in proptest::collection::vec(0usize..3, 1..20), repeats in 1u16..5, seed: u64) {
            let slots = order(&groups, repeats, SweepOrder::Shuffled, seed);
            let distinct = groups.iter().collect::<BTreeSet<_>>().len();
            for (index, chunk) in slots.chunks(groups.len()).enumerate() {
                prop_assert!(chunk.iter().all(|slot| usize::from(slot.1) == index + 1));
                prop_assert_eq!(chunk.iter().map(|slot| slot.0).collect::<BTreeSet<_>>().len(), groups.len());
            }
            let of: Vec<usize> = slots.iter().map(|slot| groups[slot.0]).collect();
            let changes = of.windows(2).filter(|pair| pair[0] != pair[1]).count();
            prop_assert!(changes <= (distinct - 1) * usize::from(repeats), "{changes}");
        }
    }
}
