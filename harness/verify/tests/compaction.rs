//! Compacted logs: random histories of writes, compactions and reads, against a model that keeps every record; clean ones are silent, and
//! every record that was taken out against the rules is found.

use std::collections::{BTreeMap, BTreeSet};

use gauntlet_verify::compaction::{Compaction, PassEnd};
use gauntlet_verify::{FindingClass, Place};
use proptest::prelude::*;

const PLACE: Place = Place { topic: 0, partition: 3 };

fn pass(log_start: i64, end: i64, tombstones_stay: bool) -> PassEnd {
    PassEnd { log_start, end, tombstones_stay }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Key, and whether it is a tombstone.
    Write(u64, bool),
    /// Every record that has a later one of its key, and tombstones, may go; which of them do is decided by these bits.
    Compact(u64),
    /// One record goes that must not: the latest of a key, by this choice.
    Spoil(usize),
    /// Everything is read from the start.
    Read,
    /// So many offsets are read, from the start or where reading was.
    ReadOn(i64),
    /// The log begins behind so many records.
    Delete(usize),
}

fn steps(spoils: bool) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0u64..6, prop::bool::weighted(0.2)).prop_map(|(key, is_tombstone)| Step::Write(key, is_tombstone)),
        3 => any::<u64>().prop_map(Step::Compact),
        2 => Just(Step::Read),
        1 => (0usize..4).prop_map(Step::Delete),
        3 => any::<usize>().prop_map(move |choice| match spoils {
            true => Step::Spoil(choice),
            false => Step::ReadOn(choice as i64 & 15),
        }),
    ];
    prop::collection::vec(step, 1..80)
}

/// The whole truth: what the log holds, and what it ever held.
#[derive(Default)]
struct Model {
    /// Offset, key, tombstone.
    log: Vec<(i64, u64, bool)>,
    written: BTreeMap<u64, (i64, bool)>,
    next: i64,
    start: i64,
    resurrected: u64,
    lost: u64,
}

impl Model {
    fn read(&mut self) {
        for (key, (offset, is_tombstone)) in &self.written {
            if *offset < self.start {
                continue;
            }
            match self.log.iter().rev().find(|(_, other, _)| other == key) {
                Some((left, ..)) if left < offset => self.resurrected += 1,
                Some(_) => {}
                None => self.lost += u64::from(!is_tombstone),
            }
        }
    }

    fn latest(&self) -> BTreeSet<i64> {
        let last: BTreeMap<u64, i64> = self.log.iter().map(|(offset, key, _)| (*key, *offset)).collect();
        last.into_values().collect()
    }
}

fn run(steps: &[Step]) -> (Model, [u64; 2]) {
    let mut model = Model::default();
    let mut checker = Compaction::new(1, vec!["t".to_owned()], 1 << 10, 2);
    let mut position = None;
    for step in steps {
        match *step {
            Step::Write(key, is_tombstone) => {
                model.log.push((model.next, key, is_tombstone));
                model.written.insert(key, (model.next, is_tombstone));
                checker.acked(PLACE, key, model.next, is_tombstone);
                model.next += 1;
            }
            Step::Compact(bits) => {
                let latest = model.latest();
                model.log.retain(|(offset, _, is_tombstone)| {
                    let may_go = *is_tombstone || !latest.contains(offset);
                    // A tombstone goes last of its key.
                    !may_go || bits >> (offset % 64) & 1 == 0 || *is_tombstone && latest.contains(offset)
                });
                // Those that are alone may go as well.
                let counts =
                    model.log.iter().fold(BTreeMap::new(), |mut counts: BTreeMap<u64, u32>, (_, key, _)| {
                        *counts.entry(*key).or_default() += 1;
                        counts
                    });
                model.log.retain(|(offset, key, is_tombstone)| {
                    !(*is_tombstone && counts[key] == 1 && bits >> (offset % 61) & 1 == 1)
                });
            }
            Step::Spoil(choice) => {
                let latest: Vec<i64> = model.latest().into_iter().collect();
                if let Some(victim) = latest.get(choice % latest.len().max(1)) {
                    model.log.retain(|(offset, ..)| offset != victim);
                }
            }
            Step::Delete(count) => {
                let gone = model.log.drain(..count.min(model.log.len())).next_back();
                model.start = gone.map_or(model.start, |(offset, ..)| offset + 1);
            }
            Step::Read => {
                model.read();
                // A whole pass at one moment.
                checker.pass_began(PLACE);
                for (offset, key, is_tombstone) in &model.log {
                    checker.found_left(PLACE, *key, *offset, *is_tombstone);
                }
                checker.pass_ended(PLACE, &pass(model.start, model.next, true));
                position = None;
            }
            Step::ReadOn(count) => {
                let from = position.unwrap_or_else(|| {
                    checker.pass_began(PLACE);
                    0
                });
                let to = from + count;
                for (offset, key, is_tombstone) in &model.log {
                    if (from..to).contains(offset) {
                        checker.found_left(PLACE, *key, *offset, *is_tombstone);
                    }
                }
                position = Some(to).filter(|to| *to < model.next);
                if position.is_none() {
                    checker.pass_ended(PLACE, &pass(model.start, model.next, false));
                }
            }
        }
    }
    let found = checker.finish();
    let counts = [found.count(FindingClass::ResurrectedKey), found.count(FindingClass::Lost)];
    assert!(!found.degraded);
    (model, counts)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_compaction_may_do_is_no_finding(steps in steps(false)) {
        let (_, counts) = run(&steps);
        prop_assert_eq!(counts, [0, 0]);
    }

    #[test]
    fn agrees_with_a_model_that_keeps_everything(steps in steps(true)) {
        let (model, counts) = run(&steps);
        prop_assert_eq!(counts, [model.resurrected, model.lost]);
    }
}

/// A history without any of both would prove nothing.
#[test]
fn an_older_value_behind_a_tombstone_is_resurrected() {
    let steps =
        [Step::Write(5, false), Step::Write(5, true), Step::Write(1, false), Step::Spoil(0), Step::Read];
    let (model, counts) = run(&steps);
    assert_eq!((model.resurrected, model.lost, counts), (1, 0, [1, 0]));
    let (_, counts) = run(&[Step::Write(5, false), Step::Spoil(0), Step::Read]);
    assert_eq!(counts, [0, 1]);
}

/// Written in every pass, above where that ends: what was known when it began is judged all the same.
#[test]
fn what_was_written_behind_the_readers_back_hides_nothing() {
    let mut checker = Compaction::new(1, vec!["t".to_owned()], 1, 2);
    checker.acked(PLACE, 1, 4, false);
    checker.acked(PLACE, 1, 9, false);
    checker.pass_began(PLACE);
    checker.found_left(PLACE, 1, 4, false);
    checker.acked(PLACE, 1, 10, false);
    checker.pass_ended(PLACE, &pass(0, 10, true));
    // One key more than it may know.
    checker.acked(PLACE, 2, 5, false);
    let found = checker.finish();
    assert_eq!(found.count(FindingClass::ResurrectedKey), 1);
    let witness = found.evidence.get(FindingClass::ResurrectedKey).map(|kept| kept.first()[0].to_string());
    assert!(
        witness.as_deref().is_some_and(|text| text
            .contains("key 1: what is left is at offset 4, and its latest record, at offset 9 is gone")),
        "{witness:?}"
    );
    assert!(found.degraded);
}

#[test]
fn a_tombstone_may_be_gone_when_a_slow_reader_comes_to_it() {
    let found = |tombstones_stay: bool| {
        let mut checker = Compaction::new(1, vec!["t".to_owned()], 1, 2);
        checker.acked(PLACE, 1, 4, false);
        checker.acked(PLACE, 1, 9, true);
        checker.pass_began(PLACE);
        checker.found_left(PLACE, 1, 4, false);
        checker.pass_ended(PLACE, &pass(0, 10, tombstones_stay));
        checker.finish().count(FindingClass::ResurrectedKey)
    };
    assert_eq!([found(true), found(false)], [1, 0]);
}

#[test]
fn a_log_that_was_cut_off_owes_nothing_above() {
    let mut checker = Compaction::new(1, vec!["t".to_owned()], 8, 2);
    checker.acked(PLACE, 1, 4, false);
    checker.acked(PLACE, 1, 9, false);
    checker.truncated(PLACE, 9);
    // Sent before the cut, for all that is known; this was read behind it.
    checker.acked(PLACE, 1, 11, false);
    checker.read(PLACE, 2, 10, false);
    checker.pass_began(PLACE);
    checker.found_left(PLACE, 1, 4, false);
    checker.found_left(PLACE, 2, 10, false);
    checker.pass_ended(PLACE, &pass(0, 12, true));
    assert!(checker.finish().is_empty());
}
