//! The checker of consumers' positions against a model that keeps every poll and every offset, on random consumers that skip, step
//! back, seek, give work up, and run ahead of the log reader, over logs that are cut off.

use std::collections::BTreeSet;

use gauntlet_verify::poll::Span;
use gauntlet_verify::{FindingClass, Place, Polls};
use proptest::prelude::*;

const PLACE: Place = Place { topic: 0, partition: 7 };

#[derive(Clone, Debug)]
enum Step {
    /// Polls this many offsets, from so far beyond its position; several times in one poll.
    Poll(Vec<(i64, i64)>),
    Seek(i64),
    Reassign(Option<i64>),
    Keep,
    Discard,
    /// The log reader goes on by so many offsets, the first of which holds nothing if so.
    Read(i64, bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let jump = prop_oneof![8 => Just(0i64), 1 => -3i64..0, 2 => 1i64..4];
    let step = prop_oneof![
        8 => prop::collection::vec((jump, 1i64..5), 1..3).prop_map(Step::Poll),
        1 => (0i64..40).prop_map(Step::Seek),
        1 => prop::option::of(0i64..40).prop_map(Step::Reassign),
        2 => Just(Step::Keep),
        1 => Just(Step::Discard),
        6 => (1i64..6, any::<bool>()).prop_map(|(count, hidden)| Step::Read(count, hidden)),
    ];
    prop::collection::vec(step, 1..60)
}

/// The definitions, one poll after the other, when everything is known.
fn model(steps: &[Step]) -> (u64, u64) {
    let (mut read_to, mut hidden) = (0, BTreeSet::new());
    for step in steps {
        if let Step::Read(count, holds_nothing) = step {
            if *holds_nothing {
                hidden.insert(read_to);
            }
            read_to += count;
        }
    }
    let (mut skips, mut steps_back) = (0, 0);
    let (mut next, mut kept, mut at) = (Some(0), Some(0), 0);
    for step in steps {
        match step {
            Step::Poll(jumps) => {
                for (jump, count) in jumps {
                    let first = (at + jump).max(0);
                    if let Some(due) = next {
                        steps_back += u64::from(first < due);
                        let missing = (due..first).any(|offset| !hidden.contains(&offset));
                        skips += u64::from(missing && first <= read_to);
                    }
                    at = first + count;
                    next = Some(at);
                }
            }
            Step::Seek(offset) => (next, kept, at) = (Some(*offset), Some(*offset), *offset),
            Step::Reassign(offset) => (next, kept, at) = (*offset, *offset, offset.unwrap_or(at)),
            Step::Keep => kept = next,
            Step::Discard => next = kept,
            Step::Read(..) => {}
        }
    }
    (skips, steps_back)
}

fn check(steps: &[Step]) -> (u64, u64) {
    let mut polls = Polls::new(1, vec!["t".to_owned()], 2);
    polls.assigned(3, PLACE, Some(0));
    let (mut at, mut read_to) = (0, 0);
    for step in steps {
        match step {
            Step::Poll(jumps) => {
                let mut spans = Vec::new();
                for (jump, count) in jumps {
                    let first = (at + jump).max(0);
                    at = first + count;
                    spans.push(Span { place: PLACE, first, last: at - 1 });
                }
                polls.polled(3, &spans);
            }
            Step::Seek(offset) => {
                at = *offset;
                polls.sought(3, PLACE, at);
            }
            Step::Reassign(offset) => {
                at = offset.unwrap_or(at);
                polls.revoked(3, PLACE);
                polls.assigned(3, PLACE, *offset);
            }
            Step::Keep => polls.kept(3),
            Step::Discard => polls.discarded(3),
            Step::Read(count, holds_nothing) => {
                if *holds_nothing {
                    polls.hidden(PLACE, read_to..read_to + 1);
                }
                read_to += count;
                polls.log_read_to(PLACE, read_to);
            }
        }
    }
    let found = polls.finish();
    assert!(!found.degraded);
    (found.count(FindingClass::PositionSkip), found.count(FindingClass::PositionStepBack))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_model(steps in steps()) {
        prop_assert_eq!(check(&steps), model(&steps));
    }
}

/// Readers that are told that the log was cut off go on below, and nobody is blamed.
#[test]
fn a_log_that_is_cut_off_takes_everybody_back() {
    let mut polls = Polls::new(1, vec!["t".to_owned()], 2);
    polls.assigned(0, PLACE, Some(0));
    polls.polled(0, &[Span { place: PLACE, first: 0, last: 9 }]);
    polls.polled(0, &[Span { place: PLACE, first: 12, last: 19 }]);
    polls.truncated(PLACE, 5);
    polls.polled(0, &[Span { place: PLACE, first: 5, last: 30 }]);
    polls.log_read_to(PLACE, 40);
    assert!(polls.finish().is_empty());
}
