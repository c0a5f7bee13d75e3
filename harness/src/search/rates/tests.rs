use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { low_per_s: 50_000, high_per_s: 1_500_000, resolution: 0.02 };

fn held(rate_per_s: u64) -> Answer {
    Answer { hold: Hold::Held, achieved_per_s: Some(rate_per_s as f64) }
}

fn broke() -> Answer {
    Answer { hold: Hold::Broke, achieved_per_s: Some(1.0) }
}

fn unknown() -> Answer {
    Answer { hold: Hold::Unknown, achieved_per_s: None }
}

/// Rates that were tried, for what, and what came of it.
struct Search {
    tried: Vec<(u64, Stage)>,
    finding: Finding,
}

impl Search {
    fn rates(&self) -> Vec<u64> {
        self.tried.iter().map(|(rate, _)| *rate).collect()
    }
}

/// Searches with a server that gives these answers to rates and stages.
fn search(limits: Limits, mut server: impl FnMut(u64, Stage) -> Answer) -> Search {
    let mut rates = Rates::new(limits);
    let mut tried = Vec::new();
    loop {
        match rates.step() {
            Step::End(finding) => return Search { tried, finding },
            Step::Try { rate_per_s, stage } => {
                assert!(tried.len() < limits.trials_max() as usize, "{limits:?}: {tried:?}");
                tried.push((rate_per_s, stage));
                rates.tell(server(rate_per_s, stage));
            }
        }
    }
}

/// A server that takes so much.
fn with_ceiling(ceiling: u64) -> impl Fn(u64, Stage) -> Answer {
    move |rate, _| if rate <= ceiling { held(rate) } else { broke() }
}

#[test]
fn it_goes_up_by_doubling_and_then_halves_the_gap() {
    let found = search(LIMITS, with_ceiling(280_000));
    assert_eq!(found.rates()[..6], [50_000, 100_000, 200_000, 400_000, 282_843, 237_842]);
    assert_eq!(found.tried.last().map(|(_, stage)| *stage), Some(Stage::Confirm));
    let rate = found.finding.rate_per_s.unwrap();
    assert!(rate <= 280_000.0 && rate * 1.02 >= 280_000.0 * 0.999, "{rate}");
    assert_eq!(found.finding.limit, Limit::Cluster);
    assert_eq!(found.finding.confirmed_by, Some(found.tried.len() as u32));
}

/// Where `sustainable` tolerates what is missing, what was acked is still all that the cluster took.
#[test]
fn a_rate_that_was_not_reached_is_the_limit_also_at_the_end() {
    let short = |rate: u64, _| Answer { hold: Hold::Held, achieved_per_s: Some(rate.min(1_200_000) as f64) };
    let found = search(LIMITS, short).finding;
    assert_eq!((found.rate_per_s, found.limit), (Some(1_200_000.0), Limit::Cluster));
    assert_eq!(found.not_held_per_s, Some(1_500_000));
}

#[test]
fn a_search_whose_end_holds_says_no_more_than_that() {
    let found = search(LIMITS, with_ceiling(u64::MAX));
    assert_eq!(found.rates(), [50_000, 100_000, 200_000, 400_000, 800_000, 1_500_000, 1_500_000]);
    let expected = Finding {
        rate_per_s: Some(1_500_000.0),
        confirmed_by: Some(7),
        not_held_per_s: None,
        limit: Limit::High,
    };
    assert_eq!(found.finding, expected);
}

#[test]
fn a_search_that_begins_too_high_goes_down_and_never_to_zero() {
    let found = search(LIMITS, with_ceiling(10_000));
    assert_eq!(found.rates()[..3], [50_000, 12_500, 3_125]);
    assert!(found.finding.rate_per_s.unwrap() <= 10_000.0);
    let nothing = search(LIMITS, |_, _| broke());
    assert_eq!(nothing.rates(), [50_000, 12_500, 3_125, 781, 195]);
    assert_eq!((nothing.finding.rate_per_s, nothing.finding.not_held_per_s), (None, Some(195)));
    let one = search(Limits { low_per_s: 1, high_per_s: 1, resolution: 0.02 }, |_, _| broke());
    assert_eq!((one.rates(), one.finding.rate_per_s), (vec![1], None));
}

#[test]
fn the_answer_is_never_more_than_was_achieved() {
    // A server that never says no, but takes no more than 1000: what no rule forbids.
    let limits = Limits { low_per_s: 500, high_per_s: 1_100, resolution: 0.05 };
    let found = search(limits, |rate, _| Answer {
        hold: Hold::Held,
        achieved_per_s: Some((rate as f64).min(1_000.0)),
    });
    assert_eq!(found.finding.rate_per_s, Some(1_000.0));
    let backlog =
        search(limits, |rate, _| Answer { hold: Hold::Held, achieved_per_s: Some(rate as f64 * 1.5) });
    assert_eq!(backlog.finding.rate_per_s, Some(1_100.0), "what was late before is not sustained");
}

#[test]
fn what_proves_nothing_is_tried_twice_and_then_marks_the_answer() {
    let mut first = true;
    let once = search(LIMITS, |rate, _| {
        let is_first = std::mem::replace(&mut first, false);
        if is_first { unknown() } else { with_ceiling(280_000)(rate, Stage::Search) }
    });
    assert_eq!(once.rates()[..3], [50_000, 50_000, 100_000]);
    assert_eq!(once.finding.limit, Limit::Cluster);
    let ours = search(LIMITS, |rate, _| if rate <= 280_000 { held(rate) } else { unknown() });
    assert_eq!(ours.rates()[3..5], [400_000, 400_000]);
    assert_eq!(ours.finding.limit, Limit::Ourselves);
    assert!(ours.finding.rate_per_s.unwrap() <= 280_000.0);
    let never = search(LIMITS, |_, _| unknown());
    assert_eq!((never.finding.rate_per_s, never.finding.limit), (None, Limit::Ourselves));
}

#[test]
fn what_does_not_hold_for_longer_is_lowered_until_it_does() {
    let server = |rate: u64, stage: Stage| match stage {
        Stage::Search => with_ceiling(280_000)(rate, stage),
        Stage::Confirm => with_ceiling(260_000)(rate, stage),
    };
    let found = search(LIMITS, server);
    let confirmations: Vec<u64> =
        found.tried.iter().filter(|(_, stage)| *stage == Stage::Confirm).map(|(rate, _)| *rate).collect();
    assert!(confirmations.len() > 1 && confirmations.is_sorted_by(|a, b| a > b), "{confirmations:?}");
    let rate = found.finding.rate_per_s.unwrap();
    assert!(rate <= 260_000.0 && rate > 240_000.0, "{rate}");
    assert_eq!(found.finding.not_held_per_s, Some(confirmations[confirmations.len() - 2]));
    let never = search(LIMITS, |rate, stage| match stage {
        Stage::Search => with_ceiling(280_000)(rate, stage),
        Stage::Confirm => broke(),
    });
    assert_eq!(never.finding.rate_per_s, None);
    assert_eq!(never.tried.iter().filter(|(_, stage)| *stage == Stage::Confirm).count(), 6);
}

fn any_limits() -> impl Strategy<Value = Limits> {
    (1u64..5_000_000, 1.0f64..5_000.0, 0.001f64..=0.5).prop_map(|(low_per_s, span, resolution)| Limits {
        low_per_s,
        high_per_s: (low_per_s as f64 * span) as u64,
        resolution,
    })
}

fn any_answer() -> impl Strategy<Value = Answer> {
    let hold = prop_oneof![Just(Hold::Held), Just(Hold::Broke), Just(Hold::Unknown)];
    let achieved = prop_oneof![Just(None), (0.0f64..1e7).prop_map(Some), Just(Some(f64::NAN))];
    (hold, achieved).prop_map(|(hold, achieved_per_s)| Answer { hold, achieved_per_s })
}

proptest! {
    /// Of a server that takes exactly so much, the answer is that, to the resolution, and never more.
    #[test]
    fn the_ceiling_is_found_and_not_passed(limits in any_limits(), share in 0.0f64..=1.0) {
        let span = limits.high_per_s as f64 / limits.low_per_s as f64;
        let ceiling = (limits.low_per_s as f64 * span.powf(share)) as u64;
        let found = search(limits, with_ceiling(ceiling));
        let rate = found.finding.rate_per_s.unwrap();
        prop_assert!(rate <= ceiling as f64, "{rate} of {ceiling}");
        // Rates are whole: two neighbours are as close as it gets.
        let slack = (rate * limits.resolution).max(1.0) + 1e-6;
        prop_assert!(rate + slack >= ceiling.min(limits.high_per_s) as f64, "{rate} of {ceiling}");
        prop_assert!(found.tried.len() as u32 <= limits.trials_expected(), "{:?}", found.tried);
    }

    /// Of one whose ceiling moves by up to 5 %, the answer is not above its highest nor far below its lowest.
    #[test]
    fn noise_moves_the_answer_by_no_more_than_itself(
        share in 0.1f64..0.9,
        noise in proptest::collection::vec(0.95f64..=1.05, 80),
    ) {
        let span = LIMITS.high_per_s as f64 / LIMITS.low_per_s as f64;
        let ceiling = LIMITS.low_per_s as f64 * span.powf(share);
        let mut noise = noise.into_iter().cycle();
        let found = search(LIMITS, |rate, _| {
            let takes = ceiling * noise.next().unwrap();
            let hold = if rate as f64 <= takes { Hold::Held } else { Hold::Broke };
            Answer { hold, achieved_per_s: Some((rate as f64).min(takes)) }
        });
        let rate = found.finding.rate_per_s.unwrap();
        prop_assert!(rate <= ceiling * 1.05, "{rate} of {ceiling}");
        // The last step down of a confirmation is the longest: 16 resolutions.
        prop_assert!(rate >= ceiling * 0.95 / 1.02f64.powi(17), "{rate} of {ceiling}");
    }

    /// Whatever the answers, it ends in time, at rates that are allowed, with an answer that was confirmed and achieved.
    #[test]
    fn every_search_ends(limits in any_limits(), answers in proptest::collection::vec(any_answer(), 1..60)) {
        let mut answers = answers.into_iter().cycle();
        let mut last = None;
        let found = search(limits, |rate, stage| {
            let answer = answers.next().unwrap();
            last = Some((rate, stage, answer));
            answer
        });
        prop_assert!(found.rates().iter().all(|rate| (1..=limits.high_per_s).contains(rate)), "{:?}", found.tried);
        if let Some(rate) = found.finding.rate_per_s {
            let (tried, stage, answer) = last.unwrap();
            prop_assert_eq!((stage, answer.hold), (Stage::Confirm, Hold::Held));
            prop_assert!(rate >= 1.0, "{rate}");
            prop_assert!(rate <= tried as f64 && answer.achieved_per_s.is_none_or(|a| a.is_nan() || rate * (1.0 - CUT_OFF_MAX) <= a));
        }
    }
}
