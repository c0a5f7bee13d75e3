//! The checker of transactions against a model that keeps the whole history and looks everything up.
//!
//! Histories come from a small cluster that also does what Kafka must not (`cluster/cluster.rs`); both must agree on every count. The
//! model is written from the definitions and shares no code with the checker.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, wherever it does")]

#[path = "cluster/cluster.rs"]
#[expect(dead_code, reason = "tests/simulation.rs uses all of it")]
mod cluster;
#[path = "transactions/model.rs"]
mod model;

use cluster::{Cluster, Options, Told};
use gauntlet_verify::transaction::Event;
use gauntlet_verify::{Found, Transactions};
use model::Counts;
use proptest::prelude::*;

fn history(seed: u64, steps: usize, options: Options) -> Vec<Event> {
    let mut cluster = Cluster::new(seed, options);
    (0..steps).for_each(|_| cluster.step());
    cluster.finish();
    let of_transactions = |told| match told {
        Told::Transaction(event) => Some(event),
        _ => None,
    };
    cluster.told.into_iter().filter_map(of_transactions).collect()
}

fn check(options: &Options, events: &[Event]) -> Found {
    let mut checker = Transactions::new(options.config());
    events.iter().for_each(|event| checker.tell(event));
    checker.finish()
}

fn shapes() -> impl Strategy<Value = (u64, usize, Options)> {
    (any::<u64>(), 1usize..600, 1u16..5, 1u32..5, 0u16..3).prop_map(
        |(seed, steps, producers, partitions, readers)| {
            (seed, steps, Options { producers, partitions, readers, trouble: true })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_model((seed, steps, options) in shapes()) {
        let events = history(seed, steps, options);
        let found = check(&options, &events);
        let counts: Counts = found.counts().collect();
        prop_assert_eq!(counts, model::judge(&options.config(), &events));
        prop_assert!(!found.degraded);
    }

    #[test]
    fn finds_nothing_in_a_clean_history((seed, steps, options) in shapes()) {
        let options = Options { trouble: false, ..options };
        let events = history(seed, steps, options);
        let found = check(&options, &events);
        prop_assert_eq!(found.counts().collect::<Vec<_>>(), vec![]);
        prop_assert_eq!(model::judge(&options.config(), &events), Counts::new());
    }

    /// What is counted has a witness, and the other way round.
    #[test]
    fn counts_and_witnesses_go_together((seed, steps, options) in shapes()) {
        let found = check(&options, &history(seed, steps, options));
        let counted: Vec<_> = found.counts().map(|(class, _)| class).collect();
        let seen: Vec<_> = found.evidence.iter().map(|(class, _)| class).collect();
        prop_assert_eq!(counted, seen);
    }
}

/// The histories that the model is compared on have something of everything.
#[test]
fn trouble_is_of_every_kind() {
    use gauntlet_verify::FindingClass as C;
    let options = Options { producers: 4, partitions: 3, readers: 2, trouble: true };
    let mut all = Found::new(0);
    for seed in 0..40 {
        all.merge(&check(&options, &history(seed, 2_000, options)));
    }
    for class in [
        C::AbortedRead,
        C::PrecommittedRead,
        C::TornTransaction,
        C::Lost,
        C::Unseen,
        C::MarkerAgainstAnswer,
        C::ZombieWrite,
        C::HangingTransaction,
        C::CommitDuplicate,
        C::OffsetAtomicity,
    ] {
        assert!(all.count(class) > 0, "{class}");
    }
}

/// Over its limit the checker gives up precision, not memory.
#[test]
fn memory_is_bounded() {
    let options = Options { producers: 4, partitions: 3, readers: 1, trouble: true };
    let config = gauntlet_verify::transaction::Config { open_limit: 8, ..options.config() };
    let mut checker = Transactions::new(config);
    for event in history(1, 20_000, options) {
        checker.tell(&event);
        assert!(checker.open() <= 8);
    }
    assert!(checker.finish().degraded);
}
