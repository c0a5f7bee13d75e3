use proptest::prelude::*;

use super::*;

fn segments() -> impl Strategy<Value = Vec<Segment>> {
    let segment = (0u64..3_000_000, 0u64..3_000_000, any::<bool>(), 0u64..20_000_000_000).prop_map(
        |(from_per_s, to, level, length_ns)| Segment {
            from_per_s,
            to_per_s: if level { from_per_s } else { to },
            length_ns,
        },
    );
    prop::collection::vec(segment, 1..6)
}

fn curves() -> impl Strategy<Value = (Curve, Timeline)> {
    (segments(), 0u64..2_000_000, 0u64..1 << 50, 0u64..5_000_000_000).prop_map(
        |(segments, warmup, origin_ns, warm_ns)| {
            (Curve::new(warmup, &segments), Timeline { origin_ns, zero_ns: origin_ns + warm_ns })
        },
    )
}

proptest! {
    #[test]
    fn counting_and_listing_agree((curve, line) in curves(), share in 0.0f64..1.0, nudge in 0u64..2_000_000_000) {
        let all = curve.count_before(line, u64::MAX);
        prop_assume!(all > 0);
        let g = ((all as f64 * share) as u64).min(all - 1);
        let at = curve.intended_ns(line, g).unwrap();
        prop_assert!(curve.count_before(line, at) <= g, "record {} is not before its own time", g);
        prop_assert!(curve.count_before(line, at + 1) > g);
        let until = at + nudge;
        let count = curve.count_before(line, until);
        prop_assert!(count == 0 || curve.intended_ns(line, count - 1).unwrap() < until);
        prop_assert!(curve.intended_ns(line, count).is_none_or(|next| next >= until));
        prop_assert_eq!(curve.intended_ns(line, all), None);
    }

    #[test]
    fn times_are_those_of_each_record((curve, line) in curves(), share in 0.0f64..1.0, step in 1u64..200) {
        let all = curve.count_before(line, u64::MAX);
        let g = (all as f64 * share) as u64;
        let listed: Vec<Option<u64>> = { let mut t = curve.times(line, g, step); (0..60).map(|_| t.next()).collect() };
        for (i, listed) in listed.into_iter().enumerate() {
            prop_assert_eq!(listed, curve.intended_ns(line, g + i as u64 * step));
        }
    }

    #[test]
    fn times_never_go_back((curve, line) in curves(), share in 0.0f64..1.0) {
        let all = curve.count_before(line, u64::MAX);
        let g = (all as f64 * share) as u64;
        let mut last = 0;
        for at in curve.times(line, g, 1).take(2_000) {
            prop_assert!(at >= last);
            last = at;
        }
        let mut last = 0;
        for i in 0..2_000 {
            let Some(at) = curve.time_of(line, g as f64 + f64::from(i) * 0.3) else { break };
            prop_assert!(at >= last, "{} comes before {}", at, last);
            last = at;
        }
    }

    #[test]
    fn a_ramp_holds_the_area_under_it(from in 0u64..2_000_000, to in 0u64..2_000_000, length_ns in 1u64..100_000_000_000) {
        let curve = Curve::new(0, &[Segment { from_per_s: from, to_per_s: to, length_ns }]);
        let area = (from + to) as f64 / 2.0 * length_ns as f64 / 1e9;
        prop_assert!((curve.records() as f64 - area).abs() <= 1.0, "{} of {}", curve.records(), area);
    }
}

#[test]
fn nothing_is_due_before_a_cold_start_is_decided() {
    let curve = Curve::new(0, &[Segment { from_per_s: 10, to_per_s: 10, length_ns: SECOND_NS }]);
    let waiting = Timeline { origin_ns: 5, zero_ns: u64::MAX };
    assert_eq!(curve.intended_ns(waiting, 0), None);
    assert_eq!(curve.times(waiting, 0, 1).next(), None);
    assert_eq!(curve.time_of(waiting, 0.5), None);
    assert_eq!(curve.count_before(waiting, u64::MAX), 0);
    let begun = Timeline { origin_ns: 5, zero_ns: 1_000 };
    assert_eq!(curve.intended_ns(begun, 3), Some(1_000 + 300_000_000));
}

#[test]
fn a_warm_up_goes_on_until_zero_is_known() {
    let curve = Curve::constant(1_000, 10 * SECOND_NS);
    let waiting = Timeline { origin_ns: 0, zero_ns: u64::MAX };
    assert_eq!(curve.intended_ns(waiting, 3_600_000), Some(3_600 * SECOND_NS));
    assert_eq!(curve.time_of(waiting, 1_500.5), Some(1_500_500_000));
    assert_eq!(curve.time_of(waiting, f64::INFINITY), None, "a partition without share");
    let begun = Timeline { origin_ns: 0, zero_ns: 4 * SECOND_NS };
    assert_eq!(curve.intended_ns(begun, 4_000), Some(4 * SECOND_NS), "one rate goes through t = 0 unchanged");
    assert_eq!(curve.count_before(begun, u64::MAX), 14_000);
}

#[test]
fn the_rate_at_an_instant() {
    let up = Segment { from_per_s: 0, to_per_s: 1_000, length_ns: 10 * SECOND_NS };
    let level = Segment { from_per_s: 1_000, to_per_s: 1_000, length_ns: SECOND_NS };
    let curve = Curve::new(7, &[up, level]);
    assert_eq!(curve.rate_at(5 * SECOND_NS), 500.0);
    assert_eq!(curve.rate_at(10 * SECOND_NS), 1_000.0);
    assert_eq!(curve.rate_at(11 * SECOND_NS), 0.0);
}
