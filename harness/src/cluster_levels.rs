//! How the cluster was over time, in numbers: what expectations on `cluster.*` are about. One story per partition, as it is shown
//! ([`crate::cluster_view`]), and the times in which nobody told any.

use std::collections::{BTreeMap, BTreeSet};

use gauntlet_chaos::history::{Change, ClusterHistory, Observation, PartitionState, TopicPartition};

use crate::cluster_view::{InSync, changes};

/// The cluster from one moment to the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// The watched partitions.
    pub partitions: InSync,
    /// Brokers that are registered and not fenced.
    pub brokers: usize,
}

/// The levels of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterLevels {
    /// From when on (CLOCK_MONOTONIC) the cluster was how, in order of time; `None`: nobody who was asked answered.
    steps: Vec<(u64, Option<Levels>)>,
    /// When watched partitions were first seen to have another leader than before.
    pub leader_changes: Vec<u64>,
}

/// What was known of a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LevelsSeen {
    /// For how many nanoseconds the cluster was how.
    pub lasted: Vec<(u64, Levels)>,
    /// For how many nobody who was asked answered.
    pub unseen_ns: u64,
}

impl LevelsSeen {
    /// Adds another time.
    pub fn add(&mut self, other: LevelsSeen) {
        self.lasted.extend(other.lasted);
        self.unseen_ns += other.unseen_ns;
    }
}

/// What is known while one goes through a history.
#[derive(Default)]
struct Known {
    partitions: BTreeMap<TopicPartition, PartitionState>,
    /// Who led last, where nobody may lead now.
    leaders: BTreeMap<TopicPartition, i32>,
    brokers: usize,
    /// Witnesses that answer.
    seeing: BTreeSet<i32>,
}

impl Known {
    fn hear(&mut self, observation: &Observation) {
        if let Change::Blind { .. } = observation.change {
            self.seeing.remove(&observation.seen_by);
            return;
        }
        if let Change::Brokers { registered } = &observation.change {
            self.brokers = registered.len();
        }
        self.seeing.insert(observation.seen_by);
    }

    /// Whether that is another leader than before.
    fn see(&mut self, at: TopicPartition, state: PartitionState) -> bool {
        let before = state.leader.and_then(|leader| self.leaders.insert(at.clone(), leader));
        let is_another = before.is_some_and(|before| Some(before) != state.leader);
        self.partitions.insert(at, state);
        is_another
    }

    fn levels(&self) -> Option<Levels> {
        let levels = || Levels { partitions: InSync::of(self.partitions.values()), brokers: self.brokers };
        (!self.seeing.is_empty()).then(levels)
    }
}

impl ClusterLevels {
    /// The levels in a history.
    #[must_use]
    pub fn of(history: &ClusterHistory) -> Self {
        let mut said: Vec<Observation> = history.observations().cloned().collect();
        said.sort_by_key(|observation| observation.at_ns);
        let mut stories = changes(said.clone()).into_iter().peekable();
        let (mut known, mut levels) = (Known::default(), Self::default());
        // One answer tells of many partitions.
        for answer in said.chunk_by(|a, b| a.at_ns == b.at_ns) {
            let at_ns = answer[0].at_ns;
            answer.iter().for_each(|observation| known.hear(observation));
            while let Some((seen_ns, at, state)) = stories.next_if(|(seen_ns, ..)| *seen_ns <= at_ns) {
                if known.see(at, state) {
                    levels.leader_changes.push(seen_ns);
                }
            }
            let now = known.levels();
            if levels.steps.last().is_none_or(|(_, before)| *before != now) {
                levels.steps.push((at_ns, now));
            }
        }
        levels.steps.extend(history.cut_ns().map(|cut_ns| (cut_ns, None)));
        levels
    }

    /// What was known between two times.
    #[must_use]
    pub fn between(&self, from_ns: u64, to_ns: u64) -> LevelsSeen {
        let mut seen = LevelsSeen::default();
        let first_ns = self.steps.first().map_or(to_ns, |(at_ns, _)| *at_ns);
        seen.unseen_ns += first_ns.clamp(from_ns, to_ns) - from_ns;
        for (index, (at_ns, levels)) in self.steps.iter().enumerate() {
            let until_ns = self.steps.get(index + 1).map_or(u64::MAX, |(next_ns, _)| *next_ns);
            let lasted_ns = until_ns.min(to_ns).saturating_sub((*at_ns).max(from_ns));
            match levels {
                Some(levels) if lasted_ns > 0 => seen.lasted.push((lasted_ns, *levels)),
                Some(_) => {}
                None => seen.unseen_ns += lasted_ns,
            }
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(at_ns: u64, seen_by: i32, change: Change) -> Observation {
        Observation { at_ns, seen_by, change }
    }

    fn partition(at_ns: u64, seen_by: i32, index: i32, leader: i32, epoch: i32, isr: &[i32]) -> Observation {
        let at = TopicPartition { topic: "t".to_owned(), partition: index };
        let state = PartitionState {
            leader: (leader > 0).then_some(leader),
            leader_epoch: epoch,
            replicas: vec![1, 2, 3],
            isr: isr.to_vec(),
            elr: None,
        };
        said(at_ns, seen_by, Change::Partition { at, state })
    }

    fn levels_of(observations: Vec<Observation>) -> ClusterLevels {
        let mut history = ClusterHistory::default();
        observations.into_iter().for_each(|observation| history.record(observation));
        ClusterLevels::of(&history)
    }

    const ALL: &[i32] = &[1, 2, 3];

    #[test]
    fn levels_follow_what_brokers_say() {
        let levels = levels_of(vec![
            said(0, 2, Change::Brokers { registered: ALL.to_vec() }),
            partition(0, 2, 0, 1, 5, ALL),
            partition(0, 2, 1, 2, 5, ALL),
            partition(10, 3, 0, 1, 5, ALL),
            partition(100, 2, 0, 0, 6, &[2]),
            // Behind: an epoch that is over.
            partition(110, 3, 0, 1, 5, &[1]),
            partition(120, 3, 0, 2, 7, &[2, 3]),
            said(130, 3, Change::Brokers { registered: vec![2, 3] }),
            partition(140, 3, 0, 2, 7, ALL),
        ]);
        let seen = levels.between(50, 150);
        let short: Vec<_> = seen
            .lasted
            .iter()
            .map(|(ns, l)| {
                let of = l.partitions;
                (*ns, of.under_replicated, of.offline, of.isr_min.unwrap(), l.brokers)
            })
            .collect();
        let expected =
            [(50, 0, 0, 3, 3), (20, 1, 1, 1, 3), (10, 1, 0, 2, 3), (10, 1, 0, 2, 2), (10, 0, 0, 3, 2)];
        assert_eq!((short, seen.unseen_ns), (expected.to_vec(), 0));
        assert_eq!(levels.leader_changes, [120]);
    }

    #[test]
    fn nobody_knows_while_every_witness_is_silent() {
        let silence = || Change::Blind { why: "silence".to_owned() };
        let levels = levels_of(vec![
            partition(20, 2, 0, 1, 5, ALL),
            partition(20, 3, 0, 1, 5, ALL),
            said(50, 2, silence()),
            said(60, 3, silence()),
            partition(200, 3, 0, 1, 6, &[1, 3]),
        ]);
        let seen = levels.between(0, 300);
        let counted: Vec<_> =
            seen.lasted.iter().map(|(ns, l)| (*ns, l.partitions.under_replicated)).collect();
        assert_eq!((counted, seen.unseen_ns), (vec![(40, 0), (100, 1)], 20 + 140));
        assert!(levels.leader_changes.is_empty(), "the same leader was elected again");
        assert_eq!(ClusterLevels::default().between(3, 7).unseen_ns, 4);
    }
}
