//! Faults that are planted in headers and in transactions: each is found, as often as it was planted, and nothing else is.

#[path = "cluster/cluster.rs"]
#[expect(dead_code, reason = "tests/simulation.rs uses all of it")]
mod cluster;
#[path = "support/shard.rs"]
mod support;

use std::collections::BTreeMap;

use cluster::{Cluster, GRACE_NS, Options, RUN, TIMEOUT_NS, Told};
use gauntlet_verify::mutate::cycles::CycleSaboteur;
use gauntlet_verify::mutate::headers::{HeaderMutation, HeaderSaboteur};
use gauntlet_verify::mutate::positions::{PollMutation, PollSaboteur};
use gauntlet_verify::mutate::transactions::{TransactionMutation, TransactionSaboteur};
use gauntlet_verify::poll::Span;
use gauntlet_verify::transaction::cycle::Cycles;
use gauntlet_verify::{FindingClass as C, Place, Polls, ReadEnd, Summary, Transactions};
use proptest::prelude::*;

const CLEAN: Options = Options { producers: 4, partitions: 3, readers: 1, trouble: false };

fn history(seed: u64) -> Vec<Told> {
    let mut cluster = Cluster::new(seed, CLEAN);
    (0..4_000).for_each(|_| cluster.step());
    cluster.finish();
    cluster.told
}

/// The headers of one partition's log, and its watermarks, through a saboteur.
fn headers(seed: u64, mutations: &[HeaderMutation]) -> (Summary, HeaderSaboteur) {
    let mut shard = support::shard(RUN, 0, false);
    let mut saboteur = HeaderSaboteur::new(seed, 10, mutations.to_vec());
    let mut next = 0;
    for told in history(seed) {
        match told {
            Told::Log(0, header, _) if header.base_offset >= next => {
                saboteur.begin_batch(&mut shard, &header);
                shard.end_batch();
                next = header.last_offset + 1;
            }
            Told::Watermarks(0, seen) => saboteur.watermarks(&mut shard, &seen),
            _ => {}
        }
    }
    let end = ReadEnd { position: next, end_offset: next, end_is_final: true, reader_was_limit: false };
    (shard.finish(&end).summary, saboteur)
}

const CLASSES: [(HeaderMutation, C); 6] = [
    (HeaderMutation::LeaveSequencesOut, C::SequenceGap),
    (HeaderMutation::RepeatSequence, C::SequenceRepeat),
    (HeaderMutation::EpochBefore, C::ZombieWrite),
    (HeaderMutation::LeaderEpochBefore, C::LeaderEpochRegression),
    (HeaderMutation::LowerHighWatermark, C::HighWatermarkRegression),
    (HeaderMutation::LowerLastStableOffset, C::LastStableOffsetRegression),
];

/// What a checker of transactions found, and what it had to.
fn transactions(seed: u64, period: u64, mutations: &[TransactionMutation]) -> [BTreeMap<C, u64>; 2] {
    let mut checker = Transactions::new(CLEAN.config());
    let limit_ns = TIMEOUT_NS + GRACE_NS;
    let mut saboteur = TransactionSaboteur::new(seed, period, mutations.to_vec(), limit_ns);
    for told in history(seed) {
        if let Told::Transaction(event) = told {
            saboteur.tell(&mut checker, &event);
        }
    }
    [checker.finish().counts().collect(), saboteur.planted().clone()]
}

/// What a checker of positions found, and what it had to.
fn positions(seed: u64, mutations: &[PollMutation]) -> [BTreeMap<C, u64>; 2] {
    let topics = vec!["t".to_owned(), "source".to_owned()];
    let mut saboteur = PollSaboteur::new(Polls::new(RUN, topics, 2), seed, 3, mutations.to_vec());
    let place = |partition: u32| Place { topic: 0, partition };
    for partition in 0..CLEAN.partitions {
        (0..CLEAN.readers).for_each(|reader| saboteur.assigned(u32::from(reader), place(partition), 0));
    }
    for told in history(seed) {
        match told {
            Told::Hidden(partition, first, end) => saboteur.hidden(place(partition), first..end),
            Told::Explained(partition, to) => saboteur.log_read_to(place(partition), to),
            Told::Polled(reader, partition, first, last) => {
                saboteur.polled(u32::from(reader), Span { place: place(partition), first, last });
            }
            Told::Rebalanced(reader, partition, position) => {
                saboteur.revoked(u32::from(reader), place(partition));
                saboteur.assigned(u32::from(reader), place(partition), position);
            }
            Told::Truncated(partition, end) => saboteur.truncated(place(partition), end),
            _ => {}
        }
    }
    let planted = saboteur.planted().clone();
    [saboteur.finish().counts().collect(), planted]
}

/// How many circles were found, and how many there were.
fn circles(seed: u64, period: Option<u64>) -> [u64; 2] {
    let cycles = Cycles::new(RUN, vec!["t".to_owned(), "source".to_owned()], 2);
    let mut saboteur = CycleSaboteur::new(cycles, seed, period);
    for told in history(seed) {
        match told {
            Told::Began(key) => saboteur.began(key),
            Told::WroteRecord(key, record) => saboteur.wrote(key, record),
            Told::ReadRecord(key, record) => saboteur.read(key, record),
            Told::Ended(key, aborted) => saboteur.ended(key, aborted),
            _ => {}
        }
    }
    let planted = saboteur.planted();
    [saboteur.finish().count(C::CyclicInformationFlow), planted]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_spoiled_header_is_found_and_nothing_else(seed in any::<u64>()) {
        let (summary, saboteur) = headers(seed, &HeaderMutation::ALL);
        for (mutation, class) in CLASSES {
            prop_assert_eq!(summary.count_of(class), Some(saboteur.planted().count(mutation)), "{}", class);
        }
    }

    #[test]
    fn every_spoiled_transaction_is_found_and_nothing_else(seed in any::<u64>(), period in 3u64..20) {
        let [found, planted] = transactions(seed, period, &TransactionMutation::ALL);
        prop_assert_eq!(found, planted);
    }

    #[test]
    fn every_spoiled_poll_is_found_and_nothing_else(seed in any::<u64>()) {
        let [found, planted] = positions(seed, &PollMutation::ALL);
        prop_assert_eq!(found, planted);
    }

    #[test]
    fn every_circle_is_found_and_nothing_else(seed in any::<u64>(), period in 1u64..20) {
        let [found, planted] = circles(seed, Some(period));
        prop_assert_eq!(found, planted);
    }

    /// A plan without mutations spoils nothing, and nothing is found.
    #[test]
    fn the_control_is_silent(seed in any::<u64>()) {
        let (summary, saboteur) = headers(seed, &[]);
        prop_assert!(saboteur.planted().counts.is_empty());
        for (_, class) in CLASSES {
            prop_assert_eq!(summary.count_of(class), Some(0), "{}", class);
        }
        prop_assert_eq!(transactions(seed, 3, &[]), [BTreeMap::new(), BTreeMap::new()]);
        prop_assert_eq!(positions(seed, &[]), [BTreeMap::new(), BTreeMap::new()]);
        prop_assert_eq!(circles(seed, None), [0, 0]);
    }
}

/// None of the mutations is one that never gets its chance.
#[test]
fn every_mutation_is_planted() {
    for (mutation, _) in CLASSES {
        assert!(headers(1, &[mutation]).1.planted().count(mutation) > 3, "{mutation:?}");
    }
    for mutation in TransactionMutation::ALL {
        let [found, planted] = transactions(1, 5, &[mutation]);
        assert!(!planted.is_empty() && found == planted, "{mutation:?}: {found:?}, {planted:?}");
    }
    for mutation in PollMutation::ALL {
        let [found, planted] = positions(1, &[mutation]);
        assert!(
            planted.values().sum::<u64>() > 3 && found == planted,
            "{mutation:?}: {found:?}, {planted:?}"
        );
    }
    let [found, planted] = circles(1, Some(3));
    assert!(planted > 3 && found == planted, "{found}, {planted}");
}
