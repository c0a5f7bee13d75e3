//! How the cluster was over time, in numbers: a step function out of what witnesses said. What is known of a partition at a time is
//! what [`ClusterHistory::state_at`] says: of all that was said, the highest leader epoch, and of that the latest.

use std::collections::{BTreeMap, BTreeSet};

use super::{Change, ClusterHistory, Observation, PartitionState, TopicPartition};

/// The cluster from one moment to the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// Watched partitions that have fewer replicas in sync than replicas.
    pub under_replicated: usize,
    /// Watched partitions that nobody leads.
    pub offline: usize,
    /// Replicas in sync of the watched partition that has the fewest.
    pub isr_min: usize,
    /// Brokers that are registered and not fenced.
    pub brokers: usize,
}

/// What is known while one goes through a history.
#[derive(Default)]
struct Known<'h> {
    partitions: BTreeMap<&'h TopicPartition, &'h PartitionState>,
    /// How many partitions have so many replicas in sync.
    isr_sizes: BTreeMap<usize, usize>,
    levels: Levels,
    /// Witnesses that answer.
    seeing: BTreeSet<i32>,
}

impl<'h> Known<'h> {
    fn hear(&mut self, observation: &'h Observation) {
        if let Change::Blind { .. } = observation.change {
            self.seeing.remove(&observation.seen_by);
            return;
        }
        self.seeing.insert(observation.seen_by);
        match &observation.change {
            Change::Partition { at, state } => self.see(at, state),
            Change::Brokers { registered } => self.levels.brokers = registered.len(),
            Change::Controller { .. } | Change::Blind { .. } => {}
        }
    }

    fn see(&mut self, at: &'h TopicPartition, state: &'h PartitionState) {
        let before = self.partitions.get(at).copied();
        if before.is_some_and(|before| before.leader_epoch > state.leader_epoch) {
            return;
        }
        self.partitions.insert(at, state);
        if let Some(before) = before {
            self.levels.under_replicated -= usize::from(is_under_replicated(before));
            self.levels.offline -= usize::from(before.leader.is_none());
            if let Some(count) = self.isr_sizes.get_mut(&before.isr.len()) {
                *count -= 1;
            }
            self.isr_sizes.retain(|_, count| *count > 0);
        }
        self.levels.under_replicated += usize::from(is_under_replicated(state));
        self.levels.offline += usize::from(state.leader.is_none());
        *self.isr_sizes.entry(state.isr.len()).or_insert(0) += 1;
        self.levels.isr_min = self.isr_sizes.keys().next().copied().unwrap_or(0);
    }
}

/// As Kafka's `UnderReplicatedPartitions` counts them.
fn is_under_replicated(state: &PartitionState) -> bool {
    state.isr.len() < state.replicas.len()
}

impl ClusterHistory {
    fn in_time(&self) -> Vec<&Observation> {
        let mut all: Vec<&Observation> = self.observations().collect();
        all.sort_by_key(|observation| observation.at_ns);
        all
    }

    /// From when on the cluster was how, in order of time; `None`: nobody who was asked answered.
    #[must_use]
    pub fn levels(&self) -> Vec<(u64, Option<Levels>)> {
        let mut known = Known::default();
        let mut steps: Vec<(u64, Option<Levels>)> = Vec::new();
        for observation in self.in_time() {
            known.hear(observation);
            let now = (!known.seeing.is_empty()).then_some(known.levels);
            match steps.last_mut() {
                Some(last) if last.1 == now => {}
                // One answer tells of many partitions.
                Some(last) if last.0 == observation.at_ns => last.1 = now,
                _ => steps.push((observation.at_ns, now)),
            }
        }
        steps.extend(self.cut_ns().map(|cut_ns| (cut_ns, None)));
        steps
    }

    /// When watched partitions were first seen to have another leader than before.
    #[must_use]
    pub fn leader_changes(&self) -> Vec<u64> {
        let mut led: BTreeMap<&TopicPartition, (i32, i32)> = BTreeMap::new();
        let mut changes = Vec::new();
        for observation in self.in_time() {
            let Change::Partition { at, state } = &observation.change else { continue };
            let Some(leader) = state.leader else { continue };
            let before = led.get(at).copied();
            if before.is_some_and(|(epoch, _)| epoch >= state.leader_epoch) {
                continue;
            }
            led.insert(at, (state.leader_epoch, leader));
            if before.is_some_and(|(_, before)| before != leader) {
                changes.push(observation.at_ns);
            }
        }
        changes
    }
}
