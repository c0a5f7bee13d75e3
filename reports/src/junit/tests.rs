//! Golden files: `tests/runs/NAME.json` is a `run.json`, `tests/runs/NAME.junit.xml` what becomes of it. `UPDATE=1`
//! writes the latter.

use std::path::PathBuf;

use quick_junit::{NonSuccessKind, Report, TestCaseStatus};

use super::*;

const RUNS: [&str; 8] =
    ["pass", "fail", "violation", "inconclusive", "aborted", "environment", "killed", "unverified"];

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/runs").join(name)
}

fn record(name: &str) -> RunRecord {
    serde_json::from_slice(&std::fs::read(path(&format!("{name}.json"))).unwrap()).unwrap()
}

fn parsed(record: &RunRecord) -> Report {
    Report::deserialize_from_str(&junit(record)).unwrap()
}

/// Names of the cases that are not passed and not skipped.
fn red(report: &Report) -> Vec<(String, NonSuccessKind)> {
    let cases = report.test_suites.iter().flat_map(|suite| &suite.test_cases);
    cases
        .filter_map(|case| match &case.status {
            TestCaseStatus::NonSuccess { kind, .. } => Some((case.name.to_string(), *kind)),
            _ => None,
        })
        .collect()
}

#[test]
fn the_golden_files_are_current() {
    for name in RUNS {
        let xml = junit(&record(name));
        let golden = path(&format!("{name}.junit.xml"));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&golden, &xml).unwrap();
        }
        assert_eq!(xml, std::fs::read_to_string(&golden).unwrap(), "{name}: UPDATE=1 writes it anew");
    }
}

#[test]
fn red_if_and_only_if_the_exit_code_is_not_0() {
    for name in RUNS {
        let record = record(name);
        assert_eq!(red(&parsed(&record)).is_empty(), record.exit_code == Some(0), "{name}");
    }
}

/// Whatever the reason: also one that no code of today gives, on a record that is green otherwise.
#[test]
fn a_reason_that_nobody_else_shows_is_shown_by_the_run() {
    for exit in ExitReason::ALL.into_iter().filter(|exit| *exit != ExitReason::Pass) {
        let mut record = record("pass");
        record.reasons = vec![Reason { exit, text: "something else".to_owned() }];
        let expected = match exit.code() {
            98..=100 => NonSuccessKind::Failure,
            _ => NonSuccessKind::Error,
        };
        assert_eq!(red(&parsed(&record)), [(RUN.to_owned(), expected)]);
        assert!(!junit(&record).contains("guarantee held"), "{exit:?}: the run was not whole");
    }
}

#[test]
fn every_expectation_that_fails_is_red_once() {
    let kinds = |name| red(&parsed(&record(name)));
    let named = |name: &str, kind| (name.to_owned(), kind);
    use NonSuccessKind::{Error, Failure};
    assert_eq!(
        kinds("fail"),
        [
            named("run", Failure),
            named("produce.latency p99 < 50ms during before", Failure),
            named("recovery.isr_full{fault=kill-leader} < 60s", Failure),
        ]
    );
    assert_eq!(
        kinds("violation"),
        [named("verify.lost == 0", Failure), named("verify: lost-write", Failure)]
    );
    assert_eq!(
        kinds("inconclusive"),
        [named("run", Error), named("produce.latency p99 < 50ms during before", Error)]
    );
    assert_eq!(kinds("killed"), [named("run", Error)]);
}

#[test]
fn what_brokers_say_does_not_break_the_document() {
    let mut record = record("environment");
    let nasty: String = ('\0'..='\u{ff}').chain(['\u{fffe}', '\u{ffff}', '😀']).collect();
    record.reasons[0].text = format!("{nasty}]]> <b a=\"'\">&amp;\u{1b}[31mred");
    record.name = nasty;
    let xml = junit(&record);
    let allowed = |c: char| matches!(c, '\n' | ' '..='\u{fffd}' | '\u{10000}'..);
    assert!(xml.chars().all(allowed), "{xml:?}");
    let report = Report::deserialize_from_str(&xml).unwrap();
    let TestCaseStatus::NonSuccess { description, .. } = &report.test_suites[0].test_cases[0].status else {
        panic!("{xml}")
    };
    assert!(description.as_ref().unwrap().contains("]]> <b a=\"'\">&amp;\u{fffd}[31mred"), "{xml}");
}

#[test]
fn several_runs_are_several_suites() {
    let records = [record("pass"), record("killed")];
    let report = Report::deserialize_from_str(&junit_of(&records)).unwrap();
    assert_eq!((report.test_suites.len(), report.errors), (2, 1));
    assert_eq!(report.time, report.test_suites[0].time, "the second has no length");
}
