//! What two witnesses say about the cluster, reduced to one story per partition.
//!
//! Each broker answers from its own copy of the metadata, so witnesses disagree for moments; see
//! [`gauntlet_chaos::history`]. The rules here are for showing, not for judging:
//!
//! - A higher leader epoch is believed whoever says it, a lower one nobody.
//! - At the same epoch the newest statement counts. A witness that was blind begins with what was true before (a broker that
//!   was paused tells of the time before its pause), so its first statement about a partition must stand for
//!   [`CONFIRM_NS`] to count.

use std::collections::{BTreeMap, BTreeSet};

use gauntlet_chaos::history::{CONFIRM_NS, Change, Observation, PartitionState, TopicPartition};

/// How many replicas are in sync, of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InSync {
    /// Replicas that are in sync.
    pub in_sync: usize,
    /// All replicas.
    pub replicas: usize,
    /// Partitions that have fewer replicas in sync than replicas: what Kafka's metric `UnderReplicatedPartitions` counts.
    pub under_replicated: usize,
    /// Partitions that nobody leads: Kafka's `OfflinePartitionsCount`.
    pub offline: usize,
    /// Replicas in sync of the partition that has the fewest; `None` as long as no partition is known.
    pub isr_min: Option<usize>,
}

/// The story so far.
#[derive(Debug, Clone, Default)]
pub struct ClusterView {
    partitions: BTreeMap<TopicPartition, PartitionState>,
    /// What a witness has not told anew since it was last blind; empty for one that never was.
    returned: BTreeMap<i32, BTreeSet<TopicPartition>>,
    /// How many observations of a growing list were taken in.
    taken: usize,
}

impl ClusterView {
    /// Takes in the next observation. `stands` says whether its witness says nothing else about the same partition for
    /// [`CONFIRM_NS`]. Gives the partition and its new state if the story changes.
    pub fn take(
        &mut self,
        observation: &Observation,
        stands: impl FnOnce() -> bool,
    ) -> Option<(&TopicPartition, &PartitionState)> {
        let witness = observation.seen_by;
        let (at, state) = match &observation.change {
            Change::Partition { at, state } => (at, state),
            Change::Blind { .. } => {
                self.returned.insert(witness, self.partitions.keys().cloned().collect());
                return None;
            }
            Change::Controller { .. } | Change::Brokers { .. } => return None,
        };
        let is_first = self.returned.get_mut(&witness).is_some_and(|left| left.remove(at));
        let is_news = match self.partitions.get(at) {
            None => true,
            Some(known) if state.leader_epoch == known.leader_epoch => {
                state != known && (!is_first || stands())
            }
            Some(known) => state.leader_epoch > known.leader_epoch,
        };
        if !is_news {
            return None;
        }
        self.partitions.insert(at.clone(), state.clone());
        self.partitions.get_key_value(at)
    }

    /// Takes in what is new in a list that only grows. What comes next is not known yet, so every statement stands.
    pub fn follow<'a>(&mut self, observations: impl ExactSizeIterator<Item = &'a Observation>) {
        let length = observations.len();
        for observation in observations.skip(self.taken) {
            self.take(observation, || true);
        }
        self.taken = length;
    }

    /// All partitions together.
    #[must_use]
    pub fn in_sync(&self) -> InSync {
        InSync::of(self.partitions.values())
    }
}

impl InSync {
    /// Of these partitions.
    pub fn of<'a>(states: impl Iterator<Item = &'a PartitionState>) -> Self {
        states.fold(InSync::default(), |sum, state| InSync {
            in_sync: sum.in_sync + state.isr.len(),
            replicas: sum.replicas + state.replicas.len(),
            under_replicated: sum.under_replicated + usize::from(state.isr.len() < state.replicas.len()),
            offline: sum.offline + usize::from(state.leader.is_none()),
            isr_min: Some(sum.isr_min.map_or(state.isr.len(), |least| least.min(state.isr.len()))),
        })
    }
}

/// Every change of a whole history, in order of time: when it was seen (CLOCK_MONOTONIC), the partition, its new state.
#[must_use]
pub fn changes(mut observations: Vec<Observation>) -> Vec<(u64, TopicPartition, PartitionState)> {
    observations.sort_by_key(|observation| observation.at_ns);
    // When the witness of each observation next says something about the same partition, or is blind.
    let mut next_ns = vec![u64::MAX; observations.len()];
    let mut spoken: BTreeMap<(i32, &TopicPartition), u64> = BTreeMap::new();
    let mut blind: BTreeMap<i32, u64> = BTreeMap::new();
    for (index, observation) in observations.iter().enumerate().rev() {
        match &observation.change {
            Change::Partition { at, .. } => {
                let again = spoken.insert((observation.seen_by, at), observation.at_ns);
                let gone = blind.get(&observation.seen_by).copied();
                next_ns[index] = again.into_iter().chain(gone).min().unwrap_or(u64::MAX);
            }
            Change::Blind { .. } => {
                blind.insert(observation.seen_by, observation.at_ns);
            }
            Change::Controller { .. } | Change::Brokers { .. } => {}
        }
    }
    let mut view = ClusterView::default();
    let mut changes = Vec::new();
    for (observation, next_ns) in observations.iter().zip(next_ns) {
        let stands = || next_ns >= observation.at_ns.saturating_add(CONFIRM_NS);
        if let Some((at, state)) = view.take(observation, stands) {
            changes.push((observation.at_ns, at.clone(), state.clone()));
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn says(at_ms: u64, witness: i32, epoch: i32, leader: Option<i32>, isr: &[i32]) -> Observation {
        let at = TopicPartition { topic: "orders".to_owned(), partition: 0 };
        let state = PartitionState {
            leader,
            leader_epoch: epoch,
            replicas: vec![1, 2, 3],
            isr: isr.to_vec(),
            elr: None,
        };
        Observation { at_ns: at_ms * MS, seen_by: witness, change: Change::Partition { at, state } }
    }

    fn blind(at_ms: u64, witness: i32) -> Observation {
        Observation {
            at_ns: at_ms * MS,
            seen_by: witness,
            change: Change::Blind { why: "silence".to_owned() },
        }
    }

    fn story(observations: Vec<Observation>) -> Vec<(u64, i32, Vec<i32>)> {
        changes(observations).into_iter().map(|(ns, _, s)| (ns / MS, s.leader_epoch, s.isr)).collect()
    }

    #[test]
    fn two_witnesses_tell_one_story() {
        let told = story(vec![
            says(0, 1, 5, Some(1), &[1, 2, 3]),
            says(10, 2, 5, Some(1), &[1, 2, 3]),
            says(1_000, 2, 6, Some(2), &[2, 3]),
            // The other one is late, and speaks of what was before.
            says(1_020, 1, 5, Some(1), &[1, 3]),
            says(1_100, 1, 6, Some(2), &[2, 3]),
            says(5_000, 1, 6, Some(2), &[1, 2, 3]),
            says(5_050, 2, 6, Some(2), &[1, 2, 3]),
        ]);
        assert_eq!(told, [(0, 5, vec![1, 2, 3]), (1_000, 6, vec![2, 3]), (5_000, 6, vec![1, 2, 3])]);
    }

    /// Broker 3 was paused. It led nothing here, so the epoch did not change, and it wakes up with the old ISR.
    #[test]
    fn a_witness_that_wakes_up_tells_of_the_past_first() {
        let told = story(vec![
            says(0, 3, 5, Some(1), &[1, 2, 3]),
            says(0, 1, 5, Some(1), &[1, 2, 3]),
            blind(1_000, 3),
            says(4_000, 1, 5, Some(1), &[1, 2]),
            says(9_000, 3, 5, Some(1), &[1, 2, 3]),
            says(9_100, 3, 5, Some(1), &[1, 2]),
            says(12_000, 1, 5, Some(1), &[1, 2, 3]),
        ]);
        assert_eq!(told, [(0, 5, vec![1, 2, 3]), (4_000, 5, vec![1, 2]), (12_000, 5, vec![1, 2, 3])]);
    }

    #[test]
    fn a_witness_that_was_blind_is_believed_once_its_word_stands() {
        let told = story(vec![
            says(0, 1, 5, Some(1), &[1, 2, 3]),
            blind(1_000, 1),
            says(2_000, 1, 5, Some(1), &[1, 2]),
            says(3_000, 1, 5, None, &[2]),
        ]);
        assert_eq!(told, [(0, 5, vec![1, 2, 3]), (2_000, 5, vec![1, 2]), (3_000, 5, vec![2])]);
    }

    #[test]
    fn following_takes_each_observation_once() {
        let all = [says(0, 1, 1, Some(1), &[1, 2, 3]), says(5, 1, 1, Some(1), &[1, 2])];
        let mut view = ClusterView::default();
        view.follow(all[..1].iter());
        let full = InSync { in_sync: 3, replicas: 3, isr_min: Some(3), ..InSync::default() };
        assert_eq!(view.in_sync(), full);
        view.follow(all.iter());
        let less = InSync { in_sync: 2, under_replicated: 1, isr_min: Some(2), ..full };
        assert_eq!((view.in_sync(), view.taken), (less, 2));
    }
}
