//! Planted faults in what headers and watermarks say, for the rules that look at nothing else.
//!
//! As in [`super`], which batches are spoiled follows from the seed, and a plan without mutations spoils nothing. Whatever follows a
//! spoiled batch is shifted so that it goes on from there: each fault is one finding.

use std::collections::BTreeMap;

use crate::shard::{BatchHeader, Shard, Watermarks};

use super::mix;

/// One way to spoil a header, or an answer's watermarks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HeaderMutation {
    /// The batch, and those that follow of its producer, begin a few sequence numbers later.
    LeaveSequencesOut,
    /// They begin with the last sequence number before.
    RepeatSequence,
    /// The batch is of the producer epoch before.
    EpochBefore,
    /// The batch was appended under the leader epoch before.
    LeaderEpochBefore,
    /// The high watermark is one below the highest before.
    LowerHighWatermark,
    /// The last stable offset is one below the highest before.
    LowerLastStableOffset,
}

impl HeaderMutation {
    /// Every mutation.
    pub const ALL: [HeaderMutation; 6] = [
        Self::LeaveSequencesOut,
        Self::RepeatSequence,
        Self::EpochBefore,
        Self::LeaderEpochBefore,
        Self::LowerHighWatermark,
        Self::LowerLastStableOffset,
    ];
}

/// What a faultless log must show after sabotage; every other finding about headers must be zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlantedHeaders {
    /// By mutation.
    pub counts: BTreeMap<HeaderMutation, u64>,
}

impl PlantedHeaders {
    /// How often this was planted.
    pub fn count(&self, mutation: HeaderMutation) -> u64 {
        self.counts.get(&mutation).copied().unwrap_or(0)
    }

    fn note(&mut self, mutation: HeaderMutation) {
        *self.counts.entry(mutation).or_default() += 1;
    }
}

/// A fault in front of the header rules of a shard: what is told passes through it. The log must have no gaps.
#[derive(Debug)]
pub struct HeaderSaboteur {
    seed: u64,
    period: u64,
    mutations: Vec<HeaderMutation>,
    told: u64,
    /// Epoch of each producer's last batch, and how far its sequence numbers are shifted.
    producers: BTreeMap<i64, (i16, i64)>,
    leader_epoch: Option<i32>,
    highest: Option<Watermarks>,
    planted: PlantedHeaders,
}

impl HeaderSaboteur {
    /// Spoils one batch, and one answer, in about `period`, with one of `mutations`.
    pub fn new(seed: u64, period: u64, mutations: Vec<HeaderMutation>) -> Self {
        Self {
            seed,
            period: period.max(1),
            mutations,
            told: 0,
            producers: BTreeMap::new(),
            leader_epoch: None,
            highest: None,
            planted: PlantedHeaders::default(),
        }
    }

    /// What was planted so far.
    pub fn planted(&self) -> &PlantedHeaders {
        &self.planted
    }

    fn chosen(&mut self) -> Option<HeaderMutation> {
        self.told += 1;
        let dice = mix(self.seed ^ mix(self.told));
        let kind = (dice >> 32) as usize % self.mutations.len().max(1);
        self.mutations.get(kind).copied().filter(|_| (dice & 0xFFFF_FFFF).is_multiple_of(self.period))
    }

    /// See [`Shard::begin_batch`].
    pub fn begin_batch(&mut self, shard: &mut Shard, header: &BatchHeader) {
        let mut told = *header;
        let leader_before = self.leader_epoch;
        let chosen = self.chosen();
        if chosen == Some(HeaderMutation::LeaderEpochBefore)
            && leader_before == Some(header.leader_epoch)
            && header.leader_epoch > 0
        {
            told.leader_epoch -= 1;
            self.planted.note(HeaderMutation::LeaderEpochBefore);
        }
        self.leader_epoch = Some(told.leader_epoch);
        if header.producer_id >= 0 && !header.control {
            self.spoil_producer(chosen, &mut told);
        }
        shard.begin_batch(&told);
    }

    fn spoil_producer(&mut self, chosen: Option<HeaderMutation>, told: &mut BatchHeader) {
        let known = self.producers.get(&told.producer_id).copied();
        let goes_on = known.is_some_and(|(epoch, _)| epoch == told.producer_epoch);
        let mut shift = known.filter(|_| goes_on).map_or(0, |(_, shift)| shift);
        let before = shift;
        let epoch = told.producer_epoch;
        match chosen.filter(|_| goes_on) {
            Some(mutation @ HeaderMutation::LeaveSequencesOut) => {
                shift += 7;
                self.planted.note(mutation);
            }
            Some(mutation @ HeaderMutation::RepeatSequence) => {
                shift -= 1;
                self.planted.note(mutation);
            }
            Some(mutation @ HeaderMutation::EpochBefore) if epoch > 0 => {
                told.producer_epoch -= 1;
                // Its records use up no sequence numbers of the epoch that it should have had.
                shift -= told.last_offset - told.base_offset + 1;
                self.planted.note(mutation);
            }
            _ => {}
        }
        let applied = if told.producer_epoch == epoch { shift } else { before };
        let sequence = (i64::from(told.base_sequence) + applied).rem_euclid(1 << 31);
        told.base_sequence = i32::try_from(sequence).unwrap_or(0);
        self.producers.insert(told.producer_id, (epoch, shift));
    }

    /// See [`Shard::watermarks`].
    pub fn watermarks(&mut self, shard: &mut Shard, seen: &Watermarks) {
        let mut told = *seen;
        let chosen = self.chosen();
        let same = |old: &Watermarks| old.replica == seen.replica && old.leader_epoch == seen.leader_epoch;
        if let Some(old) = self.highest.filter(same) {
            match chosen {
                Some(mutation @ HeaderMutation::LowerHighWatermark) if old.high_watermark > 0 => {
                    told.high_watermark = old.high_watermark - 1;
                    self.planted.note(mutation);
                }
                Some(mutation @ HeaderMutation::LowerLastStableOffset) if old.last_stable_offset > 0 => {
                    told.last_stable_offset = old.last_stable_offset - 1;
                    self.planted.note(mutation);
                }
                _ => {}
            }
            self.highest = Some(Watermarks {
                high_watermark: old.high_watermark.max(told.high_watermark),
                last_stable_offset: old.last_stable_offset.max(told.last_stable_offset),
                ..old
            });
        } else {
            self.highest = Some(*seen);
        }
        shard.watermarks(&told);
    }
}
