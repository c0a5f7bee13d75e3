//! Logs that are cut off and written over, some of it by a fault that said so: what each loss is excused by, against a model that
//! remembers which change of leaders took which record away.
//!
//! The world below is naive: a log is a list, a cut shortens it, and every record knows who took it. The checker is only told what a
//! run sees: acks with their times, batches, that the log was cut off below its position, and what faults state.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, wherever it does")]

#[path = "support/shard.rs"]
mod support;

use std::collections::{BTreeMap, VecDeque};

use gauntlet_verify::history::Replay;
use gauntlet_verify::identity::encode;
use gauntlet_verify::{
    BatchHeader, CrcSeed, FindingClass, IDENTITY_LEN, Identity, Outcome, PartitionReport, ReadEnd,
    Settlement, Shard, StreamKey, TruncationWindow,
};
use proptest::prelude::*;

const RUN: u32 = 5;
const SECOND_NS: u64 = 1_000_000_000;

type Id = (StreamKey, u64);

/// How much of what happens is in the way of knowing everything.
#[derive(Clone, Copy, Debug)]
struct Shape {
    steps: usize,
    /// The reader reads to the end before leaders change, and acks are told at once.
    keeps_up: bool,
    /// Faults know where the log ended before, as a power loss does and an election does not.
    knows_ends: bool,
    /// Which changes of leaders a fault states.
    stated: Stated,
    /// Acks for what was never written.
    planted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stated {
    None,
    Some,
    All,
}

/// A change of leaders.
#[derive(Clone, Copy, Debug)]
struct Change {
    epoch: i32,
    cut: i64,
    is_stated: bool,
}

/// What became of an acked record.
#[derive(Clone, Copy, Debug)]
struct Acked {
    offset: i64,
    epoch: i32,
    /// The change that took it away.
    taken_by: Option<usize>,
    /// It was never in the log.
    is_planted: bool,
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

struct World {
    dice: Dice,
    shape: Shape,
    now_ns: u64,
    epoch: i32,
    /// What lies at each offset, and the epoch that it was appended in; `None` where nothing does.
    log: Vec<(Option<Id>, i32)>,
    next_pseq: [u64; 3],
    acked: BTreeMap<Id, Acked>,
    late: VecDeque<Settlement>,
    changes: Vec<Change>,
    position: usize,
    shard: Shard,
}

impl World {
    fn new(seed: u64, shape: Shape) -> Self {
        let mut shard = support::shard(RUN, 0, false);
        shard.keep_history();
        Self {
            dice: Dice(seed),
            shape,
            now_ns: SECOND_NS,
            epoch: 3,
            log: Vec::new(),
            next_pseq: [0; 3],
            acked: BTreeMap::new(),
            late: VecDeque::new(),
            changes: Vec::new(),
            position: 0,
            shard,
        }
    }

    fn step(&mut self) {
        self.now_ns += 1_000_000;
        match self.dice.below(20) {
            0..9 => self.write(),
            9..16 => self.read(3),
            16..18 => self.tell_late(2),
            _ => self.change_leader(),
        }
    }

    fn write(&mut self) {
        let producer = self.dice.below(3);
        let stream = StreamKey { producer: producer as u16, incarnation: 0 };
        let (first_pseq, count) = (self.next_pseq[producer], 1 + self.dice.below(4) as u64);
        self.next_pseq[producer] += count;
        let base = self.log.len() as i64;
        let is_planted = self.shape.planted && self.dice.below(20) == 0;
        for pseq in first_pseq..first_pseq + count {
            self.log.push(((!is_planted).then_some((stream, pseq)), self.epoch));
        }
        let is_acked = self.dice.below(5) > 0;
        let outcome = match is_acked {
            true => Outcome::Acked { base_offset: Some(base) },
            false => Outcome::Indeterminate,
        };
        let settled_ns = self.now_ns;
        self.late.push_back(Settlement {
            stream,
            first_pseq,
            count: count as u32,
            outcome,
            sent_ns: 0,
            settled_ns,
        });
        for (offset, pseq) in (base..).zip(first_pseq..first_pseq + count).filter(|_| is_acked) {
            let acked = Acked { offset, epoch: self.epoch, taken_by: None, is_planted };
            self.acked.insert((stream, pseq), acked);
        }
        if self.shape.keeps_up {
            self.tell_late(1);
        }
    }

    fn tell_late(&mut self, most: usize) {
        let upto = most.min(self.late.len());
        self.late.drain(..upto).for_each(|settlement| self.shard.settle(&settlement));
    }

    /// Reads some batches: neighbours of one epoch, which may be of several producers, as one that shows no producers would.
    fn read(&mut self, batches: usize) {
        for _ in 0..batches {
            let Some((_, epoch)) = self.log.get(self.position).copied() else { return };
            let size = 1 + self.dice.below(6);
            let batch: Vec<_> = self.log[self.position..]
                .iter()
                .take(size)
                .take_while(|(_, e)| *e == epoch)
                .copied()
                .collect();
            let base_offset = self.position as i64;
            self.position += batch.len();
            self.shard.begin_batch(&BatchHeader {
                base_offset,
                last_offset: self.position as i64 - 1,
                leader_epoch: epoch,
                producer_id: -1,
                producer_epoch: -1,
                base_sequence: -1,
                control: false,
                transactional: false,
            });
            for (offset, (id, _)) in (base_offset..).zip(batch) {
                if let Some((stream, pseq)) = id {
                    self.shard.record(offset, &value(stream, pseq));
                }
            }
            self.shard.end_batch();
        }
    }

    fn read_all(&mut self) {
        while self.position < self.log.len() {
            self.read(1);
        }
    }

    /// The next leader's log is as long as the last one's, or shorter; what was above is gone, and is written over.
    fn change_leader(&mut self) {
        if self.shape.keeps_up {
            self.read_all();
        }
        let before = self.log.len();
        let lost = if self.dice.below(3) == 0 { 0 } else { self.dice.below(before.min(12) + 1) };
        let cut = before - lost;
        self.log.truncate(cut);
        self.epoch += 1 + self.dice.below(2) as i32;
        self.now_ns += 4 * SECOND_NS;
        let is_stated = match self.shape.stated {
            Stated::None => false,
            Stated::Some => self.dice.below(2) == 0,
            Stated::All => true,
        };
        let index = self.changes.len();
        let (cut, epoch) = (cut as i64, self.epoch);
        for acked in self.acked.values_mut().filter(|acked| !acked.is_planted && acked.offset >= cut) {
            acked.taken_by.get_or_insert(index);
        }
        self.changes.push(Change { epoch, cut, is_stated });
        if is_stated {
            self.shard.state_window(&TruncationWindow {
                from_offset: cut,
                until_offset: if self.shape.knows_ends { before as i64 } else { i64::MAX },
                first_epoch: epoch,
                acked_before_ns: self.now_ns,
                cause: format!("change {index}"),
            });
        }
        if self.position as i64 > cut {
            self.shard.truncate(cut);
            self.position = cut as usize;
        }
    }

    fn finish(mut self) -> (PartitionReport, Truth) {
        self.tell_late(usize::MAX);
        self.read_all();
        let position = self.position as i64;
        let end = ReadEnd { position, end_offset: position, end_is_final: true, reader_was_limit: false };
        self.shard.note_end(&end);
        let mut replay = Replay::default();
        replay.tell(&self.shard.take_history()).unwrap();
        let report = self.shard.finish(&end);
        assert_eq!(replay.finish().unwrap().report, report, "told again, it says the same");
        let truth = Truth::of(&self.acked, &self.changes);
        (report, truth)
    }
}

fn value(StreamKey { producer, incarnation }: StreamKey, pseq: u64) -> Vec<u8> {
    let mut value = vec![0; IDENTITY_LEN + 4];
    let identity = Identity { flags: 0, run: RUN, producer, incarnation, partition: 0, pseq, intended_ns: 0 };
    encode(&identity, &CrcSeed::new("t", 0), &mut value).unwrap();
    value
}

#[derive(Debug, Default)]
struct Truth {
    lost: u64,
    /// A change that was stated took it.
    taken: u64,
    /// A change that was stated took it, or would have if nothing else had.
    would_be: u64,
}

impl Truth {
    fn of(acked: &BTreeMap<Id, Acked>, changes: &[Change]) -> Self {
        let mut truth = Truth::default();
        for acked in acked.values().filter(|acked| acked.taken_by.is_some() || acked.is_planted) {
            let covers = |change: &&Change| {
                change.is_stated && change.epoch > acked.epoch && change.cut <= acked.offset
            };
            truth.lost += 1;
            truth.taken += u64::from(acked.taken_by.is_some_and(|index| changes[index].is_stated));
            truth.would_be += u64::from(changes.iter().any(|change| covers(&change)));
        }
        truth
    }
}

fn run(seed: u64, shape: Shape) -> (PartitionReport, Truth) {
    let mut world = World::new(seed, shape);
    (0..shape.steps).for_each(|_| world.step());
    world.finish()
}

/// Nothing but losses: cutting off and writing over makes no other finding.
fn expect_losses_only(report: &PartitionReport) -> Result<(), TestCaseError> {
    let found: Vec<FindingClass> = report.evidence.iter().map(|(class, _)| class).collect();
    let losses = [FindingClass::Lost, FindingClass::LostExcused];
    prop_assert!(found.iter().all(|class| losses.contains(class)), "{:?}", report.evidence);
    prop_assert!(!report.summary.degraded);
    Ok(())
}

fn stated() -> impl Strategy<Value = Stated> {
    prop::sample::select(vec![Stated::None, Stated::Some, Stated::All])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// With all there is to know, exactly what stated changes took is excused, and nothing else: not what others took, not what was
    /// never there, not what lay below.
    #[test]
    fn what_a_stated_change_took_is_excused(seed in any::<u64>(), steps in 1usize..200, stated in stated(), planted in any::<bool>()) {
        let (report, truth) = run(seed, Shape { steps, keeps_up: true, knows_ends: true, stated, planted });
        expect_losses_only(&report)?;
        prop_assert_eq!((report.summary.lost, report.summary.lost_excused), (truth.lost, truth.taken));
        prop_assert_eq!(report.evidence.get(FindingClass::LostExcused).is_some(), truth.taken > 0);
    }

    /// However far reader and acks lag behind, whatever a stated change took is excused, and nothing that none would have taken.
    #[test]
    fn no_more_is_excused_than_would_be_gone_anyway(
        seed in any::<u64>(), steps in 1usize..200, stated in stated(), planted in any::<bool>(), knows_ends in any::<bool>(),
    ) {
        let (report, truth) = run(seed, Shape { steps, keeps_up: false, knows_ends, stated, planted });
        expect_losses_only(&report)?;
        prop_assert_eq!(report.summary.lost, truth.lost);
        let excused = report.summary.lost_excused;
        prop_assert!((truth.taken..=truth.would_be).contains(&excused), "{excused}, {truth:?}");
    }

    /// Different content at the same offsets, all of it stated: nobody is to blame for anything.
    #[test]
    fn all_stated_leaves_nothing(seed in any::<u64>(), steps in 1usize..400, keeps_up in any::<bool>()) {
        let (report, truth) = run(seed, Shape { steps, keeps_up, knows_ends: false, stated: Stated::All, planted: false });
        expect_losses_only(&report)?;
        prop_assert_eq!((report.summary.lost, report.summary.lost_excused), (truth.lost, truth.lost));
    }
}

/// The worlds above are worth something only if everything happens in them.
#[test]
fn every_kind_of_loss_is_there() {
    let shape = Shape { steps: 150, keeps_up: true, knows_ends: true, stated: Stated::Some, planted: true };
    let (mut taken, mut others) = (0, 0);
    for seed in 0..100 {
        let (_, truth) = run(seed, shape);
        taken += truth.taken;
        others += truth.lost - truth.taken;
    }
    assert!(taken > 500 && others > 500, "{taken}, {others}");
}
