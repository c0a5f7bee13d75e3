//! What brokers said about the cluster, and when: only changes, each by the broker that said it.
//!
//! Two brokers are asked, and they need not agree: each answers from its own copy of the metadata, which may lag. So an
//! observation names its witness, and questions about the cluster are answered by the rules written at each method:
//!
//! - A higher epoch is true whoever says it: epochs come from the log and no copy runs ahead of it.
//! - "All replicas are in sync" may be old news. It counts only from a witness that answers ([`Change::Blind`] ends what it
//!   said before), is no victim of a fault at that time ([`Distrust`]: a resumed broker first tells what was true before its
//!   pause), and still says so a little later ([`CONFIRM_NS`]).
//!
//! Pure: no I/O, no clock. [`crate::watcher`] fills it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

/// Most observations that are kept in memory, about 50 MB; later ones are only in the stream. A fault on a cluster with 100
/// watched partitions makes about 500.
const OBSERVATIONS_MAX: usize = 200_000;
/// A full ISR counts if the same witness says nothing else for so long. Twice and a half the usual poll interval: a witness
/// that has not heard of a shrink yet has then been asked at least twice more.
pub const CONFIRM_NS: u64 = 250_000_000;

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicPartition {
    /// Topic.
    pub topic: String,
    /// Partition index.
    pub partition: i32,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.topic, self.partition)
    }
}

/// What one broker says about one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionState {
    /// Broker id of the leader, `None` if there is none.
    pub leader: Option<i32>,
    /// Its epoch.
    pub leader_epoch: i32,
    /// Assigned replicas, the preferred leader first.
    pub replicas: Vec<i32>,
    /// In-sync replicas, by id.
    pub isr: Vec<i32>,
    /// Eligible leader replicas (KIP-966), by id, where the broker tells them.
    pub elr: Option<Vec<i32>>,
}

impl PartitionState {
    /// Whether every assigned replica is in sync and somebody leads.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.leader.is_some() && self.isr.len() == self.replicas.len()
    }
}

/// What changed in the eyes of a witness. The first thing that it says is a change from nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// Leader, epoch, replicas, ISR or ELR of a partition.
    Partition {
        /// Which.
        at: TopicPartition,
        /// What it is now.
        state: PartitionState,
    },
    /// The active controller (leader of the KRaft quorum).
    Controller {
        /// Node id; `None` while the quorum has no leader.
        leader: Option<i32>,
        /// Its epoch in the quorum.
        epoch: i32,
    },
    /// The brokers that are registered and not fenced, by id.
    Brokers {
        /// Their ids.
        registered: Vec<i32>,
    },
    /// The witness does not answer. What it said before no longer counts; when it answers again it says everything anew.
    Blind {
        /// What was seen instead of an answer.
        why: String,
    },
}

/// One change, as one broker told it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observation {
    /// When its answer (or its silence) was noticed; CLOCK_MONOTONIC, nanoseconds. It happened before that, by up to the
    /// poll interval plus the lag of the witness.
    pub at_ns: u64,
    /// Id of the broker that was asked.
    pub seen_by: i32,
    /// What changed.
    pub change: Change,
}

/// All observations of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterHistory {
    /// In order of time for each witness.
    kept: Vec<Kept>,
    partitions: BTreeSet<TopicPartition>,
    /// When each witness last answered all questions of a poll.
    last_answer_ns: BTreeMap<i32, u64>,
    /// The first observation that did not fit.
    cut_ns: Option<u64>,
}

/// Who is not to be believed about the ISR, and when: the victims of faults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distrust {
    /// From and until when, by broker; CLOCK_MONOTONIC, nanoseconds.
    spans: BTreeMap<i32, Vec<(u64, u64)>>,
}

impl Distrust {
    /// Distrusts `witness` from `from_ns` until `to_ns`.
    pub fn add(&mut self, witness: i32, from_ns: u64, to_ns: u64) {
        let spans = self.spans.entry(witness).or_default();
        spans.push((from_ns, to_ns));
        spans.sort_unstable();
    }

    /// The first moment from `at_ns` on that is followed by [`CONFIRM_NS`] without distrust.
    fn trusted_from(&self, witness: i32, at_ns: u64) -> u64 {
        let spans = self.spans.get(&witness).map_or(&[][..], Vec::as_slice);
        // In order of their beginnings, so that none can catch us again after we went past its end.
        spans.iter().fold(at_ns, |at_ns, (from_ns, to_ns)| {
            let touches = *from_ns < at_ns.saturating_add(CONFIRM_NS) && *to_ns > at_ns;
            if touches { *to_ns } else { at_ns }
        })
    }
}

/// An observation, and until when its witness is known to have said what it said before.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    observation: Observation,
    answered_before_ns: u64,
}

impl ClusterHistory {
    /// Adds an observation. Those of one witness must come in order of time.
    pub fn record(&mut self, observation: Observation) {
        if self.kept.len() >= OBSERVATIONS_MAX {
            self.cut_ns.get_or_insert(observation.at_ns);
            return;
        }
        if let Change::Partition { at, .. } = &observation.change
            && !self.partitions.contains(at)
        {
            self.partitions.insert(at.clone());
        }
        let answered_before_ns = self.last_answer_ns.get(&observation.seen_by).copied().unwrap_or(0);
        self.kept.push(Kept { observation, answered_before_ns });
    }

    /// Notes that `witness` answered everything at `at_ns`, whether anything had changed or not: after recording what had.
    pub fn answered(&mut self, witness: i32, at_ns: u64) {
        let last = self.last_answer_ns.entry(witness).or_default();
        *last = at_ns.max(*last);
    }

    /// All observations, in order of time for each witness.
    pub fn observations(&self) -> impl ExactSizeIterator<Item = &Observation> {
        self.kept.iter().map(|kept| &kept.observation)
    }

    /// Every partition that anybody ever spoke of.
    #[must_use]
    pub fn partitions(&self) -> &BTreeSet<TopicPartition> {
        &self.partitions
    }

    /// From when on observations are missing because memory for them was used up; `None`: all are here.
    #[must_use]
    pub fn cut_ns(&self) -> Option<u64> {
        self.cut_ns
    }

    /// Whether a witness that is to be trusted answered at `at_ns` or later, within what is kept: without that, "it was not
    /// seen" says nothing.
    #[must_use]
    pub fn watched_at(&self, at_ns: u64, distrust: &Distrust) -> bool {
        let mut witnesses = self.last_answer_ns.keys();
        witnesses.any(|witness| self.known_until(*witness) >= self.trusted_from(*witness, at_ns, distrust))
    }

    /// What was known of a partition at `at_ns`: of all that was said until then, the state with the highest leader epoch,
    /// and of those the latest.
    #[must_use]
    pub fn state_at(&self, partition: &TopicPartition, at_ns: u64) -> Option<&PartitionState> {
        let said = self.observations().filter(|observation| observation.at_ns <= at_ns);
        let states = said.filter_map(|observation| match &observation.change {
            Change::Partition { at, state } if at == partition => Some((observation.at_ns, state)),
            _ => None,
        });
        states.max_by_key(|(seen_ns, state)| (state.leader_epoch, *seen_ns)).map(|(_, state)| state)
    }

    /// The active controller and its epoch as known at `at_ns`: of all that was said until then, the highest epoch with a
    /// leader.
    #[must_use]
    pub fn controller_at(&self, at_ns: u64) -> Option<(i32, i32)> {
        let said = self.controllers().filter(|(seen_ns, _, _)| *seen_ns <= at_ns);
        said.max_by_key(|(_, _, epoch)| *epoch).map(|(_, leader, epoch)| (leader, epoch))
    }

    /// When somebody first said, after `after_ns`, that a controller with a higher epoch than `epoch` leads.
    #[must_use]
    pub fn controller_elected_at(&self, after_ns: u64, epoch: i32) -> Option<u64> {
        let later =
            self.controllers().filter(|(seen_ns, _, new_epoch)| *seen_ns > after_ns && *new_epoch > epoch);
        later.map(|(seen_ns, _, _)| seen_ns).min()
    }

    /// When somebody first said, after `after_ns`, that `partition` has a leader with a higher epoch than `epoch`. A victim
    /// counts as one only from `victim_back_ns` on: before that its leadership is one that it can't exercise.
    #[must_use]
    pub fn leader_elected_at(
        &self,
        partition: &TopicPartition,
        after_ns: u64,
        epoch: i32,
        victims: &[i32],
        victim_back_ns: Option<u64>,
    ) -> Option<u64> {
        let serves = |leader: i32, at_ns: u64| {
            !victims.contains(&leader) || victim_back_ns.is_some_and(|back_ns| at_ns >= back_ns)
        };
        let elections = self.observations().filter(|observation| match &observation.change {
            Change::Partition { at, state } => {
                at == partition
                    && state.leader_epoch > epoch
                    && state.leader.is_some_and(|leader| serves(leader, observation.at_ns))
            }
            _ => false,
        });
        elections.map(|observation| observation.at_ns).filter(|at_ns| *at_ns > after_ns).min()
    }

    /// The first moment from `after_ns` on at which a witness that is to be trusted saw every partition with all replicas in
    /// sync, and still did [`CONFIRM_NS`] later.
    #[must_use]
    pub fn isr_full_at(&self, after_ns: u64, distrust: &Distrust) -> Option<u64> {
        let witnesses = self.last_answer_ns.keys();
        witnesses.filter_map(|witness| self.isr_full_by(*witness, after_ns, distrust)).min()
    }

    fn isr_full_by(&self, witness: i32, after_ns: u64, distrust: &Distrust) -> Option<u64> {
        let mut full: BTreeSet<&TopicPartition> = BTreeSet::new();
        let mut since_ns = None;
        let confirmed = |since_ns: Option<u64>, answered_ns: u64| {
            since_ns.filter(|since_ns: &u64| answered_ns >= since_ns.saturating_add(CONFIRM_NS))
        };
        for kept in self.kept.iter().filter(|kept| kept.observation.seen_by == witness) {
            let observation = &kept.observation;
            if let Some(since_ns) = confirmed(since_ns, kept.answered_before_ns) {
                return Some(since_ns);
            }
            match &observation.change {
                Change::Partition { at, state } if state.is_full() => {
                    full.insert(at);
                }
                Change::Partition { at, .. } => {
                    full.remove(at);
                }
                Change::Blind { .. } => full.clear(),
                Change::Controller { .. } | Change::Brokers { .. } => {}
            }
            let all_full = !full.is_empty() && full.len() == self.partitions.len();
            let from_ns = || self.trusted_from(witness, observation.at_ns.max(after_ns), distrust);
            since_ns = all_full.then(|| since_ns.unwrap_or_else(from_ns));
        }
        confirmed(since_ns, self.known_until(witness))
    }

    /// The first moment from `at_ns` on from which `witness` may be believed. An only witness is always believed: there is no
    /// other copy of the metadata that it could lag behind.
    fn trusted_from(&self, witness: i32, at_ns: u64, distrust: &Distrust) -> u64 {
        if self.last_answer_ns.len() == 1 { at_ns } else { distrust.trusted_from(witness, at_ns) }
    }

    fn known_until(&self, witness: i32) -> u64 {
        let answered_ns = self.last_answer_ns.get(&witness).copied().unwrap_or(0);
        self.cut_ns.map_or(answered_ns, |cut_ns| answered_ns.min(cut_ns))
    }

    /// Time, leader and epoch of each observation of an active controller.
    fn controllers(&self) -> impl Iterator<Item = (u64, i32, i32)> {
        self.observations().filter_map(|observation| match observation.change {
            Change::Controller { leader: Some(leader), epoch } => Some((observation.at_ns, leader, epoch)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests;
