//! Planted faults, to prove that the checker finds each of them and nothing else.
//!
//! A [`Saboteur`] stands in front of a shard, in a test or in a run under full load, and spoils a few
//! records on their way. Which ones, and how, follows from the seed and the record's identity alone: so
//! the side that sees acks and the side that sees the log agree without talking, whichever is first.
//!
//! Offsets in a log are all taken, so records that are added go behind its end, in [`Saboteur::finish`].
//! Every record is decoded twice here; don't measure the checker through a saboteur.

pub mod cycles;
pub mod headers;
pub mod positions;
pub mod transactions;

use std::collections::{BTreeMap, BTreeSet};

use crate::identity::{Identity, decode, encode};
use crate::mix::mix;
use crate::outcome::{Outcome, Settlement, StreamKey};
use crate::shard::{BatchHeader, PartitionReport, ReadEnd, Shard};

/// Incarnation of records that are read though never sent; no plan gets that far.
const NEVER_SENT_INCARNATION: u16 = u16::MAX - 1;
/// Incarnation of records that are acked though never written.
const NEVER_WRITTEN_INCARNATION: u16 = u16::MAX;

/// One way to spoil a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutation {
    /// The log does not hold the record.
    Drop,
    /// The log holds it again, behind its end.
    Repeat,
    /// The log holds it behind its successor, and both acks say so truthfully.
    Swap,
    /// One bit of its value, identity included, is flipped.
    FlipBit,
    /// It lies in another partition instead; the caller carries it there.
    Move,
    /// Its ack names the offset of its predecessor.
    MisstateOffset,
    /// A record that was never written is acked at its offset too.
    AckNeverWritten,
    /// The log holds another record that nobody sent.
    ReadNeverSent,
}

impl Mutation {
    /// Every mutation.
    pub const ALL: [Mutation; 8] = [
        Self::Drop,
        Self::Repeat,
        Self::Swap,
        Self::FlipBit,
        Self::Move,
        Self::MisstateOffset,
        Self::AckNeverWritten,
        Self::ReadNeverSent,
    ];
}

/// How many records to spoil, and how.
#[derive(Clone, Debug)]
pub struct MutationPlan {
    /// Decides which records are spoiled, and how.
    pub seed: u64,
    /// One record in so many of each stream is spoiled; at least [`MutationPlan::PERIOD_MIN`].
    pub period: u64,
    /// The mutations to choose from. None, and nothing is spoiled.
    pub mutations: Vec<Mutation>,
}

impl MutationPlan {
    /// With fewer records between victims, neighbours could spoil each other's offsets.
    pub const PERIOD_MIN: u64 = 4;

    /// The one record of a block of `period` that is spoiled: never the first or the last, so that its
    /// neighbours are sound.
    fn victim_of_block(&self, stream: StreamKey, block: u64) -> Option<(u64, Mutation)> {
        let period = self.period.max(Self::PERIOD_MIN);
        let dice = mix(self.seed ^ mix(u64::from(stream.packed()) ^ mix(block)));
        let kind = (dice >> 32) as usize % self.mutations.len().max(1);
        let pseq = block.checked_mul(period)?.checked_add(1 + (dice & 0xFFFF_FFFF) % (period - 2))?;
        self.mutations.get(kind).map(|mutation| (pseq, *mutation))
    }

    fn victim(&self, stream: StreamKey, pseq: u64) -> Option<Mutation> {
        let block = pseq / self.period.max(Self::PERIOD_MIN);
        self.victim_of_block(stream, block).filter(|(victim, _)| *victim == pseq).map(|(_, m)| m)
    }

    fn victims_in(&self, settlement: &Settlement) -> Vec<(u64, Mutation)> {
        let period = self.period.max(Self::PERIOD_MIN);
        let first = settlement.first_pseq;
        let end = first.saturating_add(u64::from(settlement.count));
        (first / period..=end.saturating_sub(1) / period)
            .filter_map(|block| self.victim_of_block(settlement.stream, block))
            .filter(|(pseq, _)| (first..end).contains(pseq))
            .collect()
    }
}

/// What a faultless run must report after sabotage; every other finding must be zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Planted {
    /// Dropped, moved away, or acked and never written.
    pub lost: u64,
    /// Repeated.
    pub duplicates: u64,
    /// Swapped.
    pub reordered: u64,
    /// Damaged.
    pub corrupt: u64,
    /// Moved in from other partitions.
    pub misrouted: u64,
    /// Read and never sent.
    pub phantom: u64,
    /// Acked at a wrong offset.
    pub inconsistent_offsets: u64,
    /// Dropped or moved away, where every offset of the log is shown.
    pub position_skips: u64,
}

/// What comes out in the end.
#[derive(Debug)]
pub struct Sabotaged {
    /// What the checker found.
    pub report: PartitionReport,
    /// What was there to find.
    pub planted: Planted,
}

type RecordId = (StreamKey, u64);

/// A shard with a fault in front of it: same calls, spoiled records.
///
/// What is planted is exact if each settlement is one batch of the log. Memory grows with the number of
/// victims.
#[derive(Debug)]
pub struct Saboteur {
    shard: Shard,
    plan: MutationPlan,
    /// Victims that were acked with an offset, and that offset.
    acked: BTreeMap<RecordId, i64>,
    /// Victims that the log held.
    read: BTreeSet<RecordId>,
    swapped: u64,
    ghosts: Vec<i64>,
    /// A record that waits for its successor, to change places with it.
    held: Option<Held>,
    moved: Vec<Vec<u8>>,
    tail: Vec<(Mutation, Vec<u8>)>,
}

#[derive(Debug)]
struct Held {
    id: RecordId,
    offset: i64,
    value: Vec<u8>,
}

impl Saboteur {
    /// Puts `plan` in front of `shard`, which must be fresh.
    pub fn new(shard: Shard, plan: MutationPlan) -> Self {
        Self {
            shard,
            plan,
            acked: BTreeMap::new(),
            read: BTreeSet::new(),
            swapped: 0,
            ghosts: Vec::new(),
            held: None,
            moved: Vec::new(),
            tail: Vec::new(),
        }
    }

    /// See [`Shard::settle`].
    pub fn settle(&mut self, settlement: &Settlement) {
        let Outcome::Acked { base_offset: Some(base @ 0..) } = settlement.outcome else {
            return self.shard.settle(settlement);
        };
        // What is told is the settlement, cut where an offset is not that of the batch.
        let mut told = settlement.first_pseq;
        let end = settlement.first_pseq + u64::from(settlement.count);
        let offset_of = |pseq: u64| base + (pseq - settlement.first_pseq) as i64;
        for (victim, mutation) in self.plan.victims_in(settlement) {
            self.acked.insert((settlement.stream, victim), offset_of(victim));
            match mutation {
                Mutation::Swap if victim + 1 < end => {
                    self.ack(settlement, told..victim, offset_of(told));
                    self.ack(settlement, victim..victim + 1, offset_of(victim + 1));
                    self.ack(settlement, victim + 1..victim + 2, offset_of(victim));
                    told = victim + 2;
                }
                Mutation::MisstateOffset if victim > settlement.first_pseq => {
                    self.ack(settlement, told..victim, offset_of(told));
                    self.ack(settlement, victim..victim + 1, offset_of(victim - 1));
                    told = victim + 1;
                }
                Mutation::MisstateOffset => {
                    // The predecessor is in another batch, whose offsets are not known here.
                    self.acked.remove(&(settlement.stream, victim));
                }
                Mutation::AckNeverWritten => {
                    let producer = settlement.stream.producer;
                    let ghost = StreamKey { producer, incarnation: NEVER_WRITTEN_INCARNATION };
                    self.ack(
                        &Settlement { stream: ghost, ..*settlement },
                        victim..victim + 1,
                        offset_of(victim),
                    );
                    self.ghosts.push(offset_of(victim));
                }
                _ => {}
            }
        }
        self.ack(settlement, told..end, offset_of(told.min(end)));
    }

    /// Acks a part of what `settlement` is about, or a stream that never was.
    fn ack(&mut self, settlement: &Settlement, pseqs: std::ops::Range<u64>, base_offset: i64) {
        if pseqs.is_empty() {
            return;
        }
        self.shard.settle(&Settlement {
            first_pseq: pseqs.start,
            count: (pseqs.end - pseqs.start) as u32,
            outcome: Outcome::Acked { base_offset: Some(base_offset) },
            ..*settlement
        });
    }

    /// See [`Shard::begin_batch`].
    pub fn begin_batch(&mut self, header: &BatchHeader) {
        self.release_held();
        self.shard.begin_batch(header);
    }

    /// See [`Shard::record`]; returns the identity of what really was read.
    pub fn record(&mut self, offset: i64, value: &[u8]) -> Option<Identity> {
        let (run, seed) = self.shard.place();
        let Ok(identity) = decode(value, run, &seed) else {
            self.release_held();
            return self.shard.record(offset, value);
        };
        let id = (identity.stream(), identity.pseq);
        if self.swap_with_held(id, offset, value) {
            return Some(identity);
        }
        self.release_held();
        let mutation = self.plan.victim(id.0, id.1);
        if mutation.is_some() {
            self.read.insert(id);
        }
        match mutation {
            Some(Mutation::Drop) => {}
            Some(Mutation::Move) => self.moved.push(value.to_vec()),
            Some(Mutation::Swap) => self.held = Some(Held { id, offset, value: value.to_vec() }),
            Some(Mutation::FlipBit) => {
                let damaged = flip_bit(value, mix(self.plan.seed ^ id.1));
                self.shard.record(offset, &damaged);
            }
            Some(added @ (Mutation::Repeat | Mutation::ReadNeverSent)) => {
                self.tail.push((added, value.to_vec()));
                self.shard.record(offset, value);
            }
            Some(Mutation::MisstateOffset | Mutation::AckNeverWritten) | None => {
                self.shard.record(offset, value);
            }
        }
        Some(identity)
    }

    /// Changes places with the record that is held, if this is its successor.
    fn swap_with_held(&mut self, id: RecordId, offset: i64, value: &[u8]) -> bool {
        let is_successor =
            |held: &mut Held| held.id == (id.0, id.1.wrapping_sub(1)) && held.offset + 1 == offset;
        let Some(held) = self.held.take_if(is_successor) else { return false };
        self.shard.record(held.offset, value);
        self.shard.record(offset, &held.value);
        self.swapped += 1;
        true
    }

    /// Lets a record go whose successor is not next to it.
    fn release_held(&mut self) {
        if let Some(held) = self.held.take() {
            self.shard.record(held.offset, &held.value);
        }
    }

    /// See [`Shard::end_batch`].
    pub fn end_batch(&mut self) {
        self.release_held();
        self.shard.end_batch();
    }

    /// See [`Shard::advance`].
    pub fn advance(&mut self, position: i64) {
        self.release_held();
        self.shard.advance(position);
    }

    /// See [`Shard::log_start`].
    pub fn log_start(&mut self, offset: i64) {
        self.shard.log_start(offset);
    }

    /// The values that were moved away, to be handed to another partition's [`Saboteur::finish`].
    pub fn take_moved(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.moved)
    }

    /// Appends what was to be added, and the values that other partitions lost to this one; then see
    /// [`Shard::finish`]. If the log was not read to its end, there is no place to add anything to.
    pub fn finish(mut self, end: &ReadEnd, moved_in: &[Vec<u8>]) -> Sabotaged {
        self.release_held();
        let mut planted = self.planted(end.position);
        let mut end = *end;
        if end.position >= end.end_offset {
            let added = self.append_tail(end.position, moved_in, &mut planted);
            end.position += added;
            end.end_offset = end.position;
        }
        Sabotaged { report: self.shard.finish(&end), planted }
    }

    fn append_tail(&mut self, base_offset: i64, moved_in: &[Vec<u8>], planted: &mut Planted) -> i64 {
        let tail = std::mem::take(&mut self.tail);
        let count = (tail.len() + moved_in.len()) as i64;
        if count == 0 {
            return 0;
        }
        self.shard.begin_batch(&BatchHeader {
            base_offset,
            last_offset: base_offset + count - 1,
            leader_epoch: -1,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            control: false,
            transactional: false,
        });
        let mut offsets = base_offset..;
        for ((mutation, value), offset) in tail.into_iter().zip(offsets.by_ref()) {
            let is_copy = mutation == Mutation::Repeat;
            let value = if is_copy { value } else { self.never_sent(value) };
            *(if is_copy { &mut planted.duplicates } else { &mut planted.phantom }) += 1;
            self.shard.record(offset, &value);
        }
        for (value, offset) in moved_in.iter().zip(base_offset + count - moved_in.len() as i64..) {
            planted.misrouted += 1;
            self.shard.record(offset, value);
        }
        self.shard.end_batch();
        count
    }

    /// Makes a record that nobody sent out of one that somebody did.
    fn never_sent(&self, mut value: Vec<u8>) -> Vec<u8> {
        let (run, seed) = self.shard.place();
        if let Ok(identity) = decode(&value, run, &seed) {
            let identity = Identity { incarnation: NEVER_SENT_INCARNATION, ..identity };
            // A value that decodes is long enough to encode.
            let _ = encode(&identity, &seed, &mut value);
        }
        value
    }

    /// What the records spoiled so far amount to, for a reader that got to `position`.
    fn planted(&self, position: i64) -> Planted {
        let ghosts = self.ghosts.iter().filter(|offset| **offset < position).count() as u64;
        let mut planted = Planted { reordered: self.swapped, lost: ghosts, ..Planted::default() };
        for id in &self.read {
            let acked = self.acked.contains_key(id);
            match self.plan.victim(id.0, id.1) {
                Some(Mutation::Drop | Mutation::Move) => {
                    planted.lost += u64::from(acked);
                    planted.position_skips += u64::from(self.shard.is_gapless());
                }
                Some(Mutation::FlipBit) => planted.corrupt += 1,
                Some(Mutation::MisstateOffset) => planted.inconsistent_offsets += u64::from(acked),
                _ => {}
            }
        }
        planted
    }
}

fn flip_bit(value: &[u8], dice: u64) -> Vec<u8> {
    let mut damaged = value.to_vec();
    let bit = dice as usize % (damaged.len() * 8);
    damaged[bit / 8] ^= 1 << (bit % 8);
    damaged
}

#[cfg(test)]
mod tests;
