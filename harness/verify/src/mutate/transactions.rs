//! Planted faults in histories of transactions.
//!
//! A [`TransactionSaboteur`] stands in front of a checker of transactions. It spoils whole transactions, which it does when their client
//! knows how they ended: so what is planted can be said exactly. What is told of the others passes through. The history must be
//! clean, and its logs be read to their ends.

use std::collections::{BTreeMap, BTreeSet};

use crate::finding::FindingClass;
use crate::found::Place;
use crate::interval_set::IntervalSet;
use crate::shard::BatchHeader;
use crate::transaction::{Answer, BatchKey, End, Event, Source, TransactionKey, Transactions};

use super::mix;

/// Sequence numbers that no batch of a history has.
const NEVER_USED_SEQUENCE: i32 = 1 << 30;

/// One way to spoil a transaction, or what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionMutation {
    /// Its commit was refused, says the client; it is there all the same.
    RefuseCommit,
    /// It was to be committed and is, says the client; it was aborted.
    ClaimCommit,
    /// Its commit was sent at the end of time.
    CommitLater,
    /// A reader at read_committed was given what was aborted.
    GiveAborted,
    /// It has one more record, which no log holds.
    LeaveOut,
    /// Its log holds a batch of an older epoch.
    WriteLate,
    /// A last stable offset stands still.
    Hang,
    /// An offset more than there is output for is committed.
    CommitOffsetAhead,
    /// Its copies begin one record earlier, with one that was copied before.
    CopyTwice,
}

impl TransactionMutation {
    /// Every mutation.
    pub const ALL: [TransactionMutation; 9] = [
        Self::RefuseCommit,
        Self::ClaimCommit,
        Self::CommitLater,
        Self::GiveAborted,
        Self::LeaveOut,
        Self::WriteLate,
        Self::Hang,
        Self::CommitOffsetAhead,
        Self::CopyTwice,
    ];
}

/// What a batch is a copy of.
#[derive(Debug)]
struct Copied {
    source: Source,
    /// It is told to begin one record earlier.
    with_one_before: bool,
    /// Where the log reader has come to it, if it has.
    seen_at: Option<i64>,
}

#[derive(Debug, Default)]
struct Victim {
    batches: Vec<(BatchKey, u32)>,
    end_sent: Option<(End, u64)>,
}

/// A checker of transactions with a fault in front of it.
#[derive(Debug)]
pub struct TransactionSaboteur {
    seed: u64,
    period: u64,
    mutations: Vec<TransactionMutation>,
    limit_ns: u64,
    victims: BTreeMap<TransactionKey, Victim>,
    hung: u32,
    /// Batches of copies whose transaction has no marker yet.
    copies: BTreeMap<BatchKey, Copied>,
    /// Offsets of each source that have a visible output, those that were planted left out.
    copied: BTreeMap<Place, IntervalSet>,
    /// Offsets whose planted output is visible, and whose own is not yet: it takes both to be two.
    alone: BTreeSet<(Place, u64)>,
    planted: BTreeMap<FindingClass, u64>,
}

impl TransactionSaboteur {
    /// Spoils one transaction in about `period`. `limit_ns` is how long one may be open, with all grace.
    pub fn new(seed: u64, period: u64, mutations: Vec<TransactionMutation>, limit_ns: u64) -> Self {
        Self {
            seed,
            period: period.max(1),
            mutations,
            limit_ns,
            victims: BTreeMap::new(),
            hung: 0,
            copies: BTreeMap::new(),
            copied: BTreeMap::new(),
            alone: BTreeSet::new(),
            planted: BTreeMap::new(),
        }
    }

    /// What the checker must find, and nothing else.
    pub fn planted(&self) -> &BTreeMap<FindingClass, u64> {
        &self.planted
    }

    fn plant(&mut self, class: FindingClass, count: u64) {
        if count > 0 {
            *self.planted.entry(class).or_default() += count;
        }
    }

    fn mutation_of(&self, key: TransactionKey) -> Option<TransactionMutation> {
        let dice = dice(self.seed, key);
        let kind = (dice >> 32) as usize % self.mutations.len().max(1);
        self.mutations.get(kind).copied().filter(|_| (dice & 0xFFFF_FFFF).is_multiple_of(self.period))
    }

    /// See [`Transactions::tell`].
    pub fn tell(&mut self, checker: &mut Transactions, event: &Event) {
        match event {
            Event::Began { key, .. } if self.mutation_of(*key).is_some() => {
                self.victims.insert(*key, Victim::default());
            }
            Event::Wrote { key, batch, count, first_pseq, source } => {
                if let Some(victim) = self.victims.get_mut(key) {
                    victim.batches.push((*batch, *count));
                }
                if let Some(source) = source {
                    let with_one_before = source.offsets.start > 0
                        && self.mutation_of(*key) == Some(TransactionMutation::CopyTwice);
                    let copied = Copied { source: source.clone(), with_one_before, seen_at: None };
                    self.copies.insert(*batch, copied);
                    if !with_one_before {
                        return checker.tell(event);
                    }
                    let offsets = source.offsets.start - 1..source.offsets.end;
                    let source = Some(Source { place: source.place, offsets });
                    let (key, batch, first_pseq, count) = (*key, *batch, *first_pseq, *count);
                    return checker.tell(&Event::Wrote { key, batch, first_pseq, count, source });
                }
            }
            Event::LogBatch { place, header, .. } => self.see_batch(*place, header),
            Event::LogMarker { place, header, end, .. } => self.see_marker(*place, header.producer_id, *end),
            Event::Truncated { place, end } => {
                // Whether it is there again is seen when it is read again.
                let copies = self.copies.iter_mut().filter(|(batch, _)| batch.place == *place);
                copies.for_each(|(_, copied)| copied.seen_at = copied.seen_at.filter(|at| at < end));
            }
            Event::EndSent { key, end, at_ns } => {
                if let Some(victim) = self.victims.get_mut(key) {
                    // Told when it is known how it ended.
                    victim.end_sent = Some((*end, *at_ns));
                    return;
                }
            }
            Event::Answered { key, answer } => {
                if let Some(victim) = self.victims.remove(key) {
                    return self.end(checker, *key, &victim, *answer);
                }
            }
            Event::Copied { place, visible, committed }
                if self.mutations.contains(&TransactionMutation::CommitOffsetAhead)
                    && visible.iter().any(|offsets| offsets.contains(committed)) =>
            {
                self.plant(FindingClass::OffsetAtomicity, 1);
                let (place, visible, committed) = (*place, visible.clone(), committed + 1);
                return checker.tell(&Event::Copied { place, visible, committed });
            }
            _ => {}
        }
        checker.tell(event);
    }

    fn see_batch(&mut self, place: Place, header: &BatchHeader) {
        let BatchHeader { producer_id, producer_epoch, base_sequence, .. } = *header;
        let batch = BatchKey { place, producer_id, producer_epoch, base_sequence };
        if let Some(copied) = self.copies.get_mut(&batch) {
            copied.seen_at = Some(header.base_offset);
        }
    }

    /// The first marker behind a batch says what became of it, whatever its client was told.
    fn see_marker(&mut self, place: Place, producer_id: i64, end: End) {
        let is_ended = |batch: &BatchKey, copied: &mut Copied| {
            copied.seen_at.is_some() && (batch.place, batch.producer_id) == (place, producer_id)
        };
        let ended: Vec<Copied> = self.copies.extract_if(.., is_ended).map(|(_, copied)| copied).collect();
        for copied in ended.into_iter().filter(|_| end == End::Commit) {
            self.see_copied(&copied);
        }
    }

    /// A copy is visible: what it has of its own, and the one that it was told to begin with.
    fn see_copied(&mut self, copied: &Copied) {
        let Source { place, offsets } = &copied.source;
        let in_pairs = |(other, offset): &(Place, u64)| other == place && offsets.contains(offset);
        let pairs = self.alone.extract_if(.., in_pairs).count() as u64;
        let all = self.copied.entry(*place).or_default();
        all.insert(offsets.clone());
        let before = offsets.start.saturating_sub(1);
        let is_pair = copied.with_one_before && all.contains(before);
        if copied.with_one_before && !is_pair {
            self.alone.insert((*place, before));
        }
        self.plant(FindingClass::CommitDuplicate, pairs + u64::from(is_pair));
    }

    /// Tells how a victim ended, spoiled if it is of the kind that its mutation is for.
    fn end(&mut self, checker: &mut Transactions, key: TransactionKey, victim: &Victim, answer: Answer) {
        use TransactionMutation as M;
        let (mut end_sent, mut told) = (victim.end_sent, answer);
        let records: u64 = victim.batches.iter().map(|(_, count)| u64::from(*count)).sum();
        let places: BTreeSet<Place> = victim.batches.iter().map(|(batch, _)| batch.place).collect();
        let places = places.len() as u64;
        let end = end_sent.filter(|_| answer == Answer::Done).map(|(end, _)| end);
        match (self.mutation_of(key), end) {
            (Some(M::RefuseCommit), Some(End::Commit)) => {
                told = Answer::Refused;
                self.plant(FindingClass::AbortedRead, records);
                self.plant(FindingClass::MarkerAgainstAnswer, places);
            }
            (Some(M::ClaimCommit), Some(End::Abort)) => {
                end_sent = end_sent.map(|(_, at_ns)| (End::Commit, at_ns));
                self.plant(FindingClass::Lost, records);
                self.plant(FindingClass::MarkerAgainstAnswer, places);
            }
            (Some(M::CommitLater), Some(End::Commit)) => {
                end_sent = Some((End::Commit, u64::MAX));
                self.plant(FindingClass::PrecommittedRead, records);
            }
            (Some(M::GiveAborted), Some(End::Abort)) => {
                self.plant(FindingClass::AbortedRead, records);
                victim.batches.iter().for_each(|(batch, _)| checker.tell(&given(batch)));
            }
            (Some(M::LeaveOut), Some(End::Commit)) => self.leave_out(checker, key, victim),
            (Some(M::WriteLate), Some(_)) => self.write_late(checker, victim),
            (Some(M::Hang), _) => self.hang(checker),
            _ => {}
        }
        if let Some((end, at_ns)) = end_sent {
            checker.tell(&Event::EndSent { key, end, at_ns });
        }
        checker.tell(&Event::Answered { key, answer: told });
    }

    fn leave_out(&mut self, checker: &mut Transactions, key: TransactionKey, victim: &Victim) {
        let Some((first, _)) = victim.batches.first() else { return };
        let batch = BatchKey { base_sequence: NEVER_USED_SEQUENCE, ..*first };
        checker.tell(&Event::Wrote { key, batch, first_pseq: u64::MAX - 1, count: 1, source: None });
        self.plant(FindingClass::Lost, 1);
        self.plant(FindingClass::TornTransaction, 1);
    }

    /// Two batches of a producer that nobody else has, the second of which is of the epoch before.
    fn write_late(&mut self, checker: &mut Transactions, victim: &Victim) {
        let Some((batch, _)) = victim.batches.first() else { return };
        self.hung += 1;
        let producer_id = i64::MAX - i64::from(self.hung);
        for (producer_epoch, base_offset) in [(1, i64::MAX - 2), (0, i64::MAX - 1)] {
            let header = BatchHeader {
                base_offset,
                last_offset: base_offset,
                producer_epoch,
                ..header(&BatchKey { producer_id, ..*batch })
            };
            checker.tell(&Event::LogBatch { place: batch.place, header, at_ns: 0 });
        }
        self.plant(FindingClass::ZombieWrite, 1);
    }

    fn hang(&mut self, checker: &mut Transactions) {
        self.hung += 1;
        let place = Place { topic: u16::MAX, partition: self.hung };
        for at_ns in [1, 2 + self.limit_ns] {
            checker.tell(&Event::Stable { place, last_stable_offset: 1, high_watermark: 2, at_ns });
        }
        self.plant(FindingClass::HangingTransaction, 1);
    }
}

/// What decides about a transaction, by the seed alone.
pub(super) fn dice(seed: u64, key: TransactionKey) -> u64 {
    mix(seed ^ mix(u64::from(key.stream.packed()) << 32 | u64::from(key.number)))
}

/// A delivery that moves no reader on.
fn given(batch: &BatchKey) -> Event {
    Event::Delivered { reader: 0, place: batch.place, header: header(batch), at_ns: u64::MAX }
}

fn header(batch: &BatchKey) -> BatchHeader {
    BatchHeader {
        base_offset: -1,
        last_offset: -1,
        leader_epoch: 0,
        producer_id: batch.producer_id,
        producer_epoch: batch.producer_epoch,
        base_sequence: batch.base_sequence,
        control: false,
        transactional: false,
    }
}
