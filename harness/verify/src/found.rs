//! Counts by class, and the evidence behind them, of a checker whose rules are not those of one partition's log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::finding::FindingClass;
use crate::witness::{Evidence, Witness};

/// A place in the cluster: one partition of one of the topics that a checker was told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Index of the topic in the list of names that the checker was given.
    pub topic: u16,
    /// The partition.
    pub partition: u32,
}

/// What was found: exact counts, and the first and worst of each class. Merges in any order and grouping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    counts: BTreeMap<FindingClass, u64>,
    /// The findings behind the counts.
    pub evidence: Evidence,
    /// The checker ran out of its memory share and judged something early. Findings still hold; a clean result is not a proof.
    pub degraded: bool,
}

impl Found {
    /// Nothing yet; keeps up to `limit` first and `limit` worst findings of each class.
    pub fn new(limit: usize) -> Self {
        Self { counts: BTreeMap::new(), evidence: Evidence::new(limit), degraded: false }
    }

    /// How many there are of a class.
    pub fn count(&self, class: FindingClass) -> u64 {
        self.counts.get(&class).copied().unwrap_or(0)
    }

    /// Every class that was found, with its count.
    pub fn counts(&self) -> impl Iterator<Item = (FindingClass, u64)> + '_ {
        self.counts.iter().map(|(class, count)| (*class, *count))
    }

    /// True if nothing at all was found.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Adds what another checker found.
    pub fn merge(&mut self, other: &Found) {
        for (class, count) in &other.counts {
            *self.counts.entry(*class).or_default() += count;
        }
        self.evidence.merge(&other.evidence);
        self.degraded |= other.degraded;
    }

    /// Counts `count` findings. `place` orders witnesses, which are only made if they may be kept.
    pub(crate) fn note(
        &mut self,
        class: FindingClass,
        count: u64,
        place: Option<i64>,
        witness: impl FnOnce() -> Witness,
    ) {
        let witness = self.evidence.wants(class, place, count).then(witness);
        self.note_with(class, count, witness);
    }

    /// Counts `count` findings, with a witness if there is one.
    pub(crate) fn note_with(&mut self, class: FindingClass, count: u64, witness: Option<Witness>) {
        *self.counts.entry(class).or_default() += count;
        if let Some(witness) = witness {
            self.evidence.insert(class, witness);
        }
    }
}
