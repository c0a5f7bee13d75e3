//! Faults that are planted in headers and in transactions: each is found, as often as it was planted, and nothing else is.

#[path = "cluster/cluster.rs"]
#[expect(dead_code, reason = "tests/simulation.rs uses all of it")]
mod cluster;

use std::collections::BTreeMap;

use cluster::{Cluster, GRACE_NS, Options, RUN, TIMEOUT_NS, Told};
use gauntlet_verify::mutate::headers::{HeaderMutation, HeaderSaboteur};
use gauntlet_verify::mutate::transactions::{TransactionMutation, TransactionSaboteur};
use gauntlet_verify::{FindingClass as C, ReadEnd, Shard, ShardConfig, Summary, Transactions};
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
    let mut shard = Shard::new(ShardConfig {
        run: RUN,
        topic: "t".to_owned(),
        partition: 0,
        other_topics: Vec::new(),
        created_by_run: true,
        in_order: true,
        start_offset: 0,
        witness_limit: 2,
        fragment_limit: 1 << 20,
    });
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

    /// A plan without mutations spoils nothing, and nothing is found.
    #[test]
    fn the_control_is_silent(seed in any::<u64>()) {
        let (summary, saboteur) = headers(seed, &[]);
        prop_assert!(saboteur.planted().counts.is_empty());
        for (_, class) in CLASSES {
            prop_assert_eq!(summary.count_of(class), Some(0), "{}", class);
        }
        prop_assert_eq!(transactions(seed, 3, &[]), [BTreeMap::new(), BTreeMap::new()]);
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
}
