use proptest::prelude::*;

use super::super::Segment;
use super::*;
use crate::trace::Recording;

const S: u64 = 1_000_000_000;

fn spreads(partitions: usize) -> impl Strategy<Value = Spread> {
    let shares = prop::collection::vec(0.01f64..1.0, partitions).prop_map(|weights| {
        let sum: f64 = weights.iter().sum();
        Spread::Shares(weights.iter().map(|w| w / sum).collect())
    });
    let recorded = prop::collection::vec(0..12 * S, 0..300).prop_map(move |times_ns| {
        Spread::Recorded(Arc::new(Recording::at(times_ns).lay_out(partitions as u32, 100, 1.0)))
    });
    prop_oneof![Just(Spread::Turns), (1u64..40).prop_map(|run| Spread::Sticky { run }), shares, recorded]
}

fn shares() -> impl Strategy<Value = (Share, Timeline)> {
    (1usize..6, 1u64..4, 0u64..3_000, 0u64..3_000, any::<bool>(), any::<u64>()).prop_flat_map(
        |(partitions, producers, from, to, poisson, seed)| {
            let curve = Curve::new(from, &[Segment { from_per_s: from, to_per_s: to, length_ns: 10 * S }]);
            (spreads(partitions), 0..producers).prop_map(move |(spread, producer)| {
                let share = Share {
                    curve: Arc::new(curve.clone()),
                    producer,
                    producers,
                    partitions: partitions as u64,
                    spread,
                    arrival: if poisson { Arrival::Poisson } else { Arrival::Uniform },
                    seed,
                };
                (share, Timeline { origin_ns: 3, zero_ns: 3 + 2 * S })
            })
        },
    )
}

proptest! {
    #[test]
    fn a_sequence_is_cut_where_its_times_say((share, line) in shares(), until_ns in 0u64..13 * S, limit in 0u64..500) {
        for partition in 0..share.partitions {
            let arrivals = Arrivals::new(&share, partition);
            let all = arrivals.until(line, arrivals.first(), until_ns, u64::MAX);
            let listed = arrivals.times(line, arrivals.first()).take_while(|ns| *ns < until_ns).count() as u64;
            prop_assert_eq!(all.index, listed);
            let some = arrivals.until(line, arrivals.first(), until_ns, limit);
            prop_assert_eq!(some.index, listed.min(limit));
            let rest = arrivals.until(line, some, until_ns, u64::MAX);
            prop_assert_eq!(rest.index, all.index);
            prop_assert_eq!(arrivals.intended_ns(line, rest), arrivals.intended_ns(line, all));
        }
    }

    #[test]
    fn nobody_owns_a_record_twice_and_none_is_left(partitions in 1u64..7, producers in 1u64..5, run in 1u64..20) {
        for spread in [Spread::Turns, Spread::Sticky { run }] {
            let curve = Arc::new(Curve::constant(1_000, S));
            let line = Timeline { origin_ns: 0, zero_ns: 0 };
            let mut numbers = Vec::new();
            for (producer, partition) in (0..producers).flat_map(|i| (0..partitions).map(move |p| (i, p))) {
                let share = Share {
                    curve: Arc::clone(&curve), producer, producers, partitions,
                    spread: spread.clone(), arrival: Arrival::Uniform, seed: 0,
                };
                let arrivals = Arrivals::new(&share, partition);
                let end = arrivals.until(line, arrivals.first(), u64::MAX, u64::MAX);
                numbers.extend((0..end.index).filter_map(|index| arrivals.number(index)));
            }
            numbers.sort_unstable();
            prop_assert_eq!(numbers, (0..1_000).collect::<Vec<_>>());
        }
    }
}

/// Whoever they are spread over, the records of a recording are all sent, when they came, and nothing else is.
#[test]
fn a_recording_is_sent_whole_and_by_its_times() {
    let times_ns: Vec<u64> = (0..1_000).map(|i| i * i * 5_000).collect();
    for producers in 1..5 {
        let trace = Arc::new(Recording::at(times_ns.clone()).lay_out(3, 100, 1.0));
        let mut sent = Vec::new();
        for (producer, partition) in (0..producers).flat_map(|i| (0..3).map(move |p| (i, p))) {
            let share = Share {
                curve: Arc::new(Curve::new(0, &trace.rates(0))),
                producer,
                producers,
                partitions: 3,
                spread: Spread::Recorded(Arc::clone(&trace)),
                arrival: Arrival::Uniform,
                seed: 0,
            };
            let arrivals = Arrivals::new(&share, partition);
            // Before anybody knows where t = 0 is: a recording counts from the origin.
            sent.extend(arrivals.times(Timeline { origin_ns: 7, zero_ns: u64::MAX }, arrivals.first()));
        }
        sent.sort_unstable();
        assert_eq!(sent, times_ns.iter().map(|ns| ns + 7).collect::<Vec<_>>(), "{producers} producers");
    }
}

/// Records of all partitions and producers together until an instant.
fn count(share: &Share, line: Timeline, until_ns: u64) -> u64 {
    let one = |producer: u64, partition: u64| {
        let share = Share { producer, seed: share.seed + producer, ..share.clone() };
        let arrivals = Arrivals::new(&share, partition);
        arrivals.until(line, arrivals.first(), until_ns, u64::MAX).index
    };
    (0..share.producers)
        .flat_map(|i| (0..share.partitions).map(move |p| (i, p)))
        .map(|(i, p)| one(i, p))
        .sum()
}

#[test]
fn poisson_arrivals_have_the_rate_and_the_spread_of_a_poisson_process() {
    let share = Share {
        curve: Arc::new(Curve::constant(2_000, 1_000 * S)),
        producer: 0,
        producers: 2,
        partitions: 3,
        spread: Spread::Shares(Arc::new([0.5, 0.3, 0.2])),
        arrival: Arrival::Poisson,
        seed: 11,
    };
    let line = Timeline { origin_ns: 0, zero_ns: 0 };
    let seconds = 200;
    let counts: Vec<u64> = (0..=seconds).map(|s| count(&share, line, s * S)).collect();
    let each: Vec<f64> = counts.windows(2).map(|w| (w[1] - w[0]) as f64).collect();
    let mean = each.iter().sum::<f64>() / each.len() as f64;
    let variance = each.iter().map(|n| (n - mean).powi(2)).sum::<f64>() / (each.len() - 1) as f64;
    assert!((mean - 2_000.0).abs() < 20.0, "{mean} a second");
    // The variance of a Poisson count is its mean; that of an even sequence would be about 0.
    assert!((0.7..1.4).contains(&(variance / mean)), "variance {variance}, mean {mean}");
}

#[test]
fn shares_are_kept() {
    let parts = [0.7, 0.2, 0.1];
    let share = Share {
        curve: Arc::new(Curve::constant(10_000, 10 * S)),
        producer: 0,
        producers: 1,
        partitions: 3,
        spread: Spread::Shares(Arc::new(parts)),
        arrival: Arrival::Uniform,
        seed: 0,
    };
    let line = Timeline { origin_ns: 0, zero_ns: 0 };
    for (partition, part) in parts.iter().enumerate() {
        let arrivals = Arrivals::new(&share, partition as u64);
        let count = arrivals.until(line, arrivals.first(), u64::MAX, u64::MAX).index;
        assert!((count as f64 - part * 100_000.0).abs() <= 1.0, "partition {partition}: {count}");
    }
}

#[test]
fn a_partition_without_share_gets_nothing() {
    let share = Share {
        curve: Arc::new(Curve::constant(1_000, S)),
        producer: 0,
        producers: 1,
        partitions: 2,
        spread: Spread::Shares(Arc::new([1.0, 0.0])),
        arrival: Arrival::Poisson,
        seed: 0,
    };
    let line = Timeline { origin_ns: 0, zero_ns: 0 };
    let arrivals = Arrivals::new(&share, 1);
    assert_eq!(arrivals.until(line, arrivals.first(), u64::MAX, u64::MAX).index, 0);
    assert_eq!(arrivals.intended_ns(line, arrivals.first()), None);
}
