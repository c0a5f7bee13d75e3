//! A sweep for CI servers: a suite per point.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, TestCase, TestCaseStatus, TestSuite};

use super::{RUN, cases, clean, kind_of, unsuccessful};
use crate::exit_code::ExitReason;
use crate::sweep::points::{PointView, views};
use crate::sweep::{SlotRecord, SlotState, SweepData, text_of};

/// A suite for each point, and one for warm-ups that something has to be said of.
pub(super) fn suites(data: &SweepData) -> Vec<TestSuite> {
    let mut suites: Vec<TestSuite> = views(&data.record).iter().map(|view| of_point(data, view)).collect();
    suites.extend(of_warmups(data));
    suites
}

fn of_point(data: &SweepData, view: &PointView<'_>) -> TestSuite {
    let record = &data.record;
    let name = format!("{} [{}]", record.name, view.label);
    let mut suite = TestSuite::new(clean(&name));
    suite.timestamp = record.started_at.parse().ok();
    let wall_s: f64 = view.runs.iter().filter_map(|run| run.wall_s).sum();
    suite.set_time(Duration::try_from_secs_f64(wall_s).unwrap_or_default());
    for (axis, value) in &view.record.parameters {
        suite.add_property(Property::new(format!("matrix.{axis}"), clean(&text_of(value))));
    }
    for (key, value) in
        [("sweep_id", &record.sweep_id), ("point", &view.record.id), ("gauntlet", &record.gauntlet)]
    {
        suite.add_property(Property::new(key, clean(value)));
    }
    suite.add_property(Property::new("seed", record.seed.to_string()));
    for run in &view.runs {
        for mut case in of_run(data, run) {
            if record.repeats > 1 {
                case.name = format!("run {}: {}", run.repeat, case.name.as_str()).into();
            }
            case.set_classname(clean(&name));
            suite.add_test_case(case);
        }
    }
    suite
}

/// The cases of a run, from its own record if that can be read; else a case that says what is known of it.
fn of_run(data: &SweepData, run: &SlotRecord) -> Vec<TestCase> {
    if let Some(record) = run.dir.as_ref().and_then(|dir| data.runs.get(dir)) {
        return cases(record);
    }
    let texts: Vec<&str> = run.reasons.iter().map(|reason| reason.text.as_str()).collect();
    let status = match run.state {
        SlotState::Done if run.reasons.is_empty() => TestCaseStatus::success(),
        state => {
            let exit = run.exit_reason().unwrap_or(ExitReason::Inconclusive);
            let kind = match exit {
                ExitReason::Violation | ExitReason::ExpectationFailed => NonSuccessKind::Failure,
                _ => NonSuccessKind::Error,
            };
            let state = crate::sweep::csv::state(state);
            let message = texts.first().map_or_else(|| state.to_owned(), |first| format!("{state}: {first}"));
            unsuccessful(kind, kind_of(exit), &message, &texts.join("\n"))
        }
    };
    let mut case = TestCase::new(RUN, status);
    case.set_time(Duration::ZERO);
    vec![case]
}

fn of_warmups(data: &SweepData) -> Option<TestSuite> {
    let record = &data.record;
    let mut suite = TestSuite::new(clean(&format!("{} [warm-up]", record.name)));
    for warmup in record.warmups.iter().filter(|warmup| !warmup.reasons.is_empty()) {
        let exit = ExitReason::worst(warmup.reasons.iter().map(|reason| reason.exit));
        let kind =
            if exit == ExitReason::Violation { NonSuccessKind::Failure } else { NonSuccessKind::Error };
        let texts: Vec<&str> = warmup.reasons.iter().map(|reason| reason.text.as_str()).collect();
        let status = unsuccessful(kind, kind_of(exit), texts[0], &texts.join("\n"));
        suite.add_test_case(TestCase::new(clean(&warmup.dir), status));
    }
    (suite.tests > 0).then_some(suite)
}
