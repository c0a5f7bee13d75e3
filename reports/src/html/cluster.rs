//! What changed in the cluster: from observations per partition to leader changes and the ISR as a whole.

use std::collections::BTreeMap;

use crate::run_data::ClusterChange;

/// State of all partitions from a moment on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Step {
    /// Seconds since t = 0.
    pub(super) t_s: f64,
    /// Partitions with fewer in-sync replicas than replicas.
    pub(super) below_isr: usize,
    /// Partitions without a leader.
    pub(super) leaderless: usize,
}

/// The cluster over a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ClusterHistory {
    /// When partitions got another leader, and which.
    pub(super) leader_changes: Vec<LeaderChange>,
    /// The whole from step to step.
    pub(super) steps: Vec<Step>,
    /// Partitions that were watched.
    pub(super) partitions: usize,
}

/// A partition got another leader.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LeaderChange {
    /// Seconds since t = 0.
    pub(super) t_s: f64,
    /// `topic-partition`.
    pub(super) partition: String,
    /// The leader before.
    pub(super) from: i32,
    /// The leader after.
    pub(super) to: i32,
    /// Its leader epoch.
    pub(super) leader_epoch: i32,
}

impl ClusterHistory {
    /// The first observation of a partition is its state, not a change. A leader that is gone for a while and comes back
    /// as the same broker is no leader change, though its epoch is a new one.
    pub(super) fn new(changes: &[ClusterChange]) -> ClusterHistory {
        let mut history = ClusterHistory::default();
        let mut now: BTreeMap<&str, &ClusterChange> = BTreeMap::new();
        let mut last_leader: BTreeMap<&str, i32> = BTreeMap::new();
        for change in changes.iter().filter(|c| c.t_s.is_finite()) {
            let partition = change.partition.as_str();
            if let Some(to) = change.leader {
                match last_leader.insert(partition, to) {
                    Some(from) if from != to => history.leader_changes.push(LeaderChange {
                        t_s: change.t_s,
                        partition: partition.to_owned(),
                        from,
                        to,
                        leader_epoch: change.leader_epoch,
                    }),
                    _ => {}
                }
            }
            now.insert(partition, change);
            let below_isr = now.values().filter(|c| c.isr.len() < c.replicas).count();
            let leaderless = now.values().filter(|c| c.leader.is_none()).count();
            history.push(Step { t_s: change.t_s, below_isr, leaderless });
        }
        history.partitions = now.len();
        history
    }

    fn push(&mut self, step: Step) {
        match self.steps.last_mut() {
            Some(last) if (last.t_s - step.t_s).abs() < f64::EPSILON => *last = step,
            Some(last) if last.below_isr == step.below_isr && last.leaderless == step.leaderless => {}
            _ => self.steps.push(step),
        }
    }

    /// Every step with the moment at which it ended; the last at `end_s`.
    pub(super) fn spans(&self, end_s: f64) -> impl Iterator<Item = (Step, f64)> + '_ {
        let ends = self.steps.iter().skip(1).map(|s| s.t_s).chain(std::iter::once(end_s));
        self.steps.iter().copied().zip(ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(t_s: f64, partition: &str, leader: Option<i32>, isr: &[i32]) -> ClusterChange {
        ClusterChange {
            t_s,
            partition: partition.to_owned(),
            leader,
            leader_epoch: 1,
            isr: isr.to_vec(),
            replicas: 3,
        }
    }

    #[test]
    fn a_kill_is_a_leader_change_and_a_shrunk_isr() {
        let history = ClusterHistory::new(&[
            seen(-1.0, "a-0", Some(1), &[1, 2, 3]),
            seen(-1.0, "a-1", Some(2), &[1, 2, 3]),
            seen(8.0, "a-0", None, &[2, 3]),
            seen(9.0, "a-0", Some(2), &[2, 3]),
            seen(9.0, "a-1", Some(2), &[2, 3]),
            seen(20.0, "a-0", Some(2), &[1, 2, 3]),
            seen(21.0, "a-1", Some(2), &[1, 2, 3]),
        ]);
        assert_eq!(history.partitions, 2);
        let changes: Vec<_> = history.leader_changes.iter().map(|c| (c.t_s, c.from, c.to)).collect();
        assert_eq!(changes, [(9.0, 1, 2)]);
        let spans: Vec<_> =
            history.spans(30.0).map(|(s, end)| (s.t_s, end, s.below_isr, s.leaderless)).collect();
        let expected =
            [(-1.0, 8.0, 0, 0), (8.0, 9.0, 1, 1), (9.0, 20.0, 2, 0), (20.0, 21.0, 1, 0), (21.0, 30.0, 0, 0)];
        assert_eq!(spans, expected);
    }
}
