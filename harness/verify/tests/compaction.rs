//! Compacted logs: random histories of writes, compactions and reads, against a model that keeps every record; clean ones are silent, and
//! every record that was taken out against the rules is found.

use std::collections::{BTreeMap, BTreeSet};

use gauntlet_verify::compaction::{Compaction, Owed, PassEnd};
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
        witness.as_deref().is_some_and(|text| text.contains(
            "key 1: its latest record, at offset 9, is gone, and what is left of it is at offset 4"
        )),
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

/// What happens to a compacted log with a reader on it.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A record of this key is appended; its ack comes so many events later.
    Append(u64, usize),
    /// The cleaner looks at everything below an offset that lies so far below the end, and takes those of what has a later record there
    /// that these bits say.
    Clean(i64, u64),
    /// The reader is handed what is left of so many offsets; the high watermark comes before, or after the next events.
    Read(i64, bool),
    /// The latest record of a key goes, if it lies ahead of the reader.
    Lose(u64),
}

fn events(loses: bool) -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        12 => (0u64..5, 0usize..12).prop_map(|(key, later)| Event::Append(key, later)),
        3 => (0i64..6, any::<u64>()).prop_map(|(below, bits)| Event::Clean(below, bits)),
        4 => (1i64..8, any::<bool>()).prop_map(|(count, at_once)| Event::Read(count, at_once)),
        1 => (0u64..5).prop_map(move |key| if loses { Event::Lose(key) } else { Event::Read(2, true) }),
    ];
    prop::collection::vec(event, 1..120)
}

/// A log whose every record is acked some time, and what became of each.
#[derive(Default)]
struct Compacted {
    /// Key by offset, of all that was ever appended.
    keys: Vec<u64>,
    left: BTreeSet<i64>,
    /// Went against the rules, and the high watermark when the reader came by.
    lost: BTreeSet<i64>,
    position: i64,
    /// When the reader passed a lost record: the end of the log then.
    passed_at: BTreeMap<i64, i64>,
}

impl Compacted {
    fn end(&self) -> i64 {
        self.keys.len() as i64
    }

    fn clean(&mut self, below: i64, bits: u64) {
        let upto = self.end() - below;
        let keys = &self.keys;
        let has_later = |offset: i64| (offset + 1..upto).any(|o| keys[o as usize] == keys[offset as usize]);
        self.left.retain(|offset| bits >> (offset % 64) & 1 == 0 || *offset >= upto || !has_later(*offset));
    }

    /// Lost records that nothing appended before the reader came by would allow to be gone.
    fn provable(&self) -> Vec<i64> {
        let is_provable = |offset: &&i64| {
            let end = self.passed_at.get(*offset).copied().unwrap_or_else(|| self.end());
            !(*offset + 1..end).any(|o| self.keys[o as usize] == self.keys[**offset as usize])
        };
        self.lost.iter().filter(is_provable).copied().collect()
    }
}

/// Tells the checker of a history. Returns what is provably lost, what it says is owed, and whether later acks may have hidden some.
fn owed(events: &[Event]) -> (Vec<i64>, Vec<i64>) {
    let mut log = Compacted::default();
    let mut checker = Owed::new(0, 1 << 10);
    let mut acks: Vec<(usize, i64)> = Vec::new();
    for (now, event) in events.iter().enumerate() {
        match *event {
            Event::Append(key, later) => {
                acks.push((now + later, log.end()));
                log.left.insert(log.end());
                log.keys.push(key);
            }
            Event::Clean(below, bits) => log.clean(below, bits),
            Event::Lose(key) => {
                let latest = log.left.iter().rev().find(|offset| log.keys[**offset as usize] == key).copied();
                if let Some(offset) = latest.filter(|offset| *offset >= log.position) {
                    log.left.remove(&offset);
                    log.lost.insert(offset);
                }
            }
            Event::Read(count, at_once) => {
                let to = (log.position + count).min(log.end());
                for offset in log.position..to {
                    if log.left.contains(&offset) {
                        checker.read(log.keys[offset as usize], offset);
                    } else {
                        log.passed_at.insert(offset, log.end());
                    }
                }
                checker.pass(to);
                log.position = log.position.max(to);
                if at_once {
                    checker.high_watermark(log.end());
                }
            }
        }
        acks.retain(|(at, offset)| {
            if *at <= now {
                checker.acked(log.keys[*offset as usize], *offset);
            }
            *at > now
        });
    }
    for (_, offset) in acks {
        checker.acked(log.keys[offset as usize], offset);
    }
    for offset in log.position..log.end() {
        if log.left.contains(&offset) {
            checker.read(log.keys[offset as usize], offset);
        }
    }
    checker.pass(log.end());
    let owed = checker.finish(log.end());
    assert!(!owed.degraded);
    (log.provable(), owed.offsets)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_cleaned_is_not_owed(events in events(false)) {
        let (_, owed) = owed(&events);
        prop_assert!(owed.is_empty(), "{owed:?}");
    }

    /// Whatever it says is owed was lost; what can't be proved is not said.
    #[test]
    fn what_is_owed_was_lost(events in events(true)) {
        let (provable, owed) = owed(&events);
        prop_assert!(owed.iter().all(|offset| provable.contains(offset)), "{owed:?} of {provable:?}");
    }
}

/// Every lost record whose key is not written again is owed, whenever its ack comes.
#[test]
fn the_latest_record_of_a_key_is_owed() {
    for ack_after in [0, 3, 9] {
        let events = [
            Event::Append(1, 0),
            Event::Append(2, ack_after),
            Event::Append(1, 1),
            Event::Lose(2),
            Event::Clean(0, u64::MAX),
            Event::Read(3, true),
            Event::Append(3, 0),
        ];
        assert_eq!(owed(&events), (vec![1], vec![1]), "{ack_after}");
    }
}

/// A key that is written all the time hides no loss: what was written since the reader came by is no reason to be gone.
#[test]
fn what_was_written_later_is_no_excuse() {
    let mut checker = Owed::new(0, 8);
    checker.acked(7, 0);
    checker.acked(7, 3);
    checker.pass(1);
    checker.high_watermark(2);
    checker.acked(7, 4);
    assert_eq!(checker.finish(5).offsets, [0]);
    // Below the high watermark of then, it is one, whenever it becomes known.
    let mut checker = Owed::new(0, 8);
    checker.acked(7, 0);
    checker.pass(1);
    checker.high_watermark(4);
    checker.read(7, 3);
    assert_eq!(checker.finish(4).offsets, []);
}
