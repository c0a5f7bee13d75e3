//! A search for CI servers: one suite. Trials whose rate did not hold are what a search is made of, and no failures.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, TestCase, TestCaseStatus, TestSuite};

use super::{clean, expectation_case, kind_of, unsuccessful};
use crate::exit_code::ExitReason;
use crate::quantity::grouped;
use crate::record::{Reason, RunState};
use crate::search::{Hold, SearchRecord};

/// The name of the case that is about the search as a whole.
const SEARCH: &str = "search";

/// A case for each expectation over the search, and one with every other reason.
pub(super) fn suite(record: &SearchRecord) -> TestSuite {
    let name = clean(&record.name);
    let mut suite = TestSuite::new(name.as_str());
    suite.timestamp = record.started_at.parse().ok();
    let wall = Duration::try_from_secs_f64(record.wall_s).unwrap_or_default();
    suite.set_time(wall);
    for (key, value) in properties(record) {
        suite.add_property(Property::new(key, clean(&value)));
    }
    let mut cases = vec![search_case(record)];
    cases.extend(record.expect.iter().map(expectation_case));
    for case in &mut cases {
        case.set_classname(name.as_str());
        case.timestamp = suite.timestamp;
        case.set_time(if case.name.as_str() == SEARCH { wall } else { Duration::ZERO });
    }
    suite.add_test_cases(cases);
    suite
}

fn properties(record: &SearchRecord) -> Vec<(&'static str, String)> {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
    let headroom = record.headroom_finding().and_then(|finding| finding.rate_per_s);
    vec![
        ("search_id", record.search_id.clone()),
        ("seed", record.seed.to_string()),
        ("verdict", or_none(record.verdict.map(|verdict| verdict.to_string()))),
        ("exit_code", or_none(record.exit_code.map(|code| code.to_string()))),
        ("sustainable_rate", or_none(record.rate_per_s().map(|rate| format!("{rate:.0}/s")))),
        ("headroom_rate", or_none(headroom.map(|rate| format!("{rate:.0}/s")))),
        ("gauntlet", record.gauntlet.clone()),
    ]
}

/// Every reason that no other case shows.
fn search_case(record: &SearchRecord) -> TestCase {
    let of_expectation = |reason: &&Reason| {
        record
            .expect
            .iter()
            .any(|expect| reason.text.strip_prefix(&expect.rule).is_some_and(|rest| rest.starts_with(": ")))
    };
    let left = record.reasons.iter().filter(|r| r.exit != ExitReason::Pass && !of_expectation(r));
    let left: Vec<&Reason> = left.collect();
    let Some(first) = left.first() else {
        if record.state == RunState::Running {
            let text = "the search did not come to its end: it is still going on, or its process died";
            let kind = kind_of(ExitReason::InternalError);
            return TestCase::new(SEARCH, unsuccessful(NonSuccessKind::Error, kind, text, text));
        }
        let mut case = TestCase::new(SEARCH, TestCaseStatus::success());
        case.set_system_out(clean(&trials(record)));
        return case;
    };
    let kind = match first.exit {
        ExitReason::Violation | ExitReason::ExpectationFailed => NonSuccessKind::Failure,
        _ => NonSuccessKind::Error,
    };
    let texts: Vec<&str> = left.iter().map(|reason| reason.text.as_str()).collect();
    let text = format!("{}\n{}", texts.join("\n"), trials(record));
    TestCase::new(SEARCH, unsuccessful(kind, kind_of(first.exit), &first.text, &text))
}

/// A line per trial.
fn trials(record: &SearchRecord) -> String {
    let lines = record.trials.iter().map(|trial| {
        let hold = match trial.hold {
            Some(Hold::Held) => "held",
            Some(Hold::Broke) => "did not hold",
            Some(Hold::Unknown) => "unknown",
            None => "no result",
        };
        let with = trial.down.map_or_else(String::new, |broker| format!(", broker {broker} down"));
        format!("trial {} at {}/s{with}: {hold}", trial.number, grouped(trial.rate_per_s as f64))
    });
    lines.collect::<Vec<_>>().join("\n")
}
