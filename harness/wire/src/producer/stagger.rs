//! Keeps the requests of a producer to different brokers out of step.
//!
//! The partitions of a steady load become due together, so every broker would be sent to in the same moment, once per
//! `linger.ms`, and have nothing to do in between: each answer would wait for the work of all. The many producers of a real
//! cluster are never in step. So every broker has a point of its own within the linger, and what goes there leaves sooner
//! than it would have to (`linger.ms` says how long a record may wait, not how long it must) if that is what brings it back
//! to its point. Where records come so rarely that a batch begins long after the one before, nothing leaves sooner.

use std::collections::BTreeMap;

/// Part of the golden ratio: multiples of it, modulo 1, are far apart (a Weyl sequence).
const GOLDEN_PART: f64 = 0.618_033_988_749_894_8;

/// The points of one producer's brokers.
#[derive(Debug)]
pub(super) struct Stagger {
    linger_ns: u64,
    /// Where the first broker's point is: not where it is for the other producers.
    offset_ns: u64,
    /// Brokers that lead something, and when each was sent to last; 0: never.
    last_sent_ns: BTreeMap<i32, u64>,
}

impl Stagger {
    /// For the producer of number `index` in its fleet.
    pub(super) fn new(linger_ns: u64, index: u64) -> Self {
        let offset_ns = ((index as f64 * GOLDEN_PART).fract() * linger_ns as f64) as u64;
        Stagger { linger_ns, offset_ns, last_sent_ns: BTreeMap::new() }
    }

    /// These brokers lead something now.
    pub(super) fn among(&mut self, nodes: &[i32]) {
        self.last_sent_ns.retain(|node, _| nodes.contains(node));
        for node in nodes {
            self.last_sent_ns.entry(*node).or_insert(0);
        }
    }

    /// A request went to a broker.
    pub(super) fn sent(&mut self, node: i32, now_ns: u64) {
        self.last_sent_ns.insert(node, now_ns);
    }

    /// When a batch has lingered whose oldest record was intended at `intended_ns`.
    pub(super) fn ripe_ns(&self, node: i32, intended_ns: u64) -> u64 {
        intended_ns + self.linger_ns - self.sooner_ns(node, intended_ns)
    }

    fn sooner_ns(&self, node: i32, intended_ns: u64) -> u64 {
        let nodes = self.last_sent_ns.len() as u64;
        let Some(last_ns) = self.last_sent_ns.get(&node).copied().filter(|at| *at > 0) else { return 0 };
        let begins_at_once = intended_ns <= last_ns + self.linger_ns / 4;
        if nodes < 2 || self.linger_ns == 0 || !begins_at_once {
            return 0;
        }
        let place = self.last_sent_ns.range(..node).count() as u64;
        let point_ns = self.offset_ns + self.linger_ns * place / nodes;
        let behind_ns = (last_ns + self.linger_ns - point_ns % self.linger_ns) % self.linger_ns;
        // Just in front of its point it is where it should be, not nearly a whole linger behind it.
        let just_in_front = self.linger_ns - behind_ns <= self.linger_ns / (4 * nodes);
        if just_in_front { 0 } else { behind_ns }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINGER_NS: u64 = 20_000_000;

    proptest! {
        /// A busy load on some brokers, each sent to a little after it is ripe, from any begin.
        #[test]
        fn brokers_of_a_busy_load_end_up_apart(
            nodes in 2u64..6,
            index in 0u64..9,
            begin_ns in 1_000_000_000u64..2_000_000_000,
            late_ns in prop::collection::vec(0u64..400_000, 60),
        ) {
            let mut stagger = Stagger::new(LINGER_NS, index);
            let ids: Vec<i32> = (0..nodes as i32).collect();
            stagger.among(&ids);
            ids.iter().for_each(|id| stagger.sent(*id, begin_ns));
            let mut last: Vec<u64> = vec![begin_ns; ids.len()];
            for (i, late_ns) in late_ns.iter().enumerate() {
                let node = i % ids.len();
                let at_ns = stagger.ripe_ns(node as i32, last[node]) + late_ns;
                let waited_ns = at_ns - last[node];
                prop_assert!(waited_ns <= LINGER_NS + late_ns, "nothing waits longer than it may");
                prop_assert!(waited_ns >= LINGER_NS / (4 * nodes), "and no request follows at once");
                stagger.sent(node as i32, at_ns);
                last[node] = at_ns;
            }
            let mut points: Vec<u64> = last.iter().map(|at| at % LINGER_NS).collect();
            points.sort_unstable();
            let around = points.iter().skip(1).chain([points[0] + LINGER_NS].iter()).copied().collect::<Vec<_>>();
            let closest = points.iter().zip(around).map(|(a, b)| b - a).min().unwrap();
            prop_assert!(closest >= LINGER_NS / nodes * 3 / 4 - 500_000, "{points:?}");
        }
    }

    #[test]
    fn a_batch_that_begins_late_lingers_in_full() {
        let mut stagger = Stagger::new(LINGER_NS, 0);
        stagger.among(&[1, 2]);
        assert_eq!(stagger.ripe_ns(1, 7), 7 + LINGER_NS, "never sent to");
        stagger.sent(1, 5_000_000);
        let late = 5_000_000 + LINGER_NS / 2;
        assert_eq!(stagger.ripe_ns(1, late), late + LINGER_NS);
        assert_eq!(stagger.ripe_ns(1, 5_000_001), 1 + LINGER_NS, "5 ms behind its point");
        stagger.among(&[1]);
        assert_eq!(
            stagger.ripe_ns(1, 5_000_001),
            5_000_001 + LINGER_NS,
            "one broker has nobody to keep from"
        );
        let none = Stagger::new(0, 3);
        assert_eq!(none.ripe_ns(1, 9), 9);
    }
}
