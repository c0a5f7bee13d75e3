//! `junit.xml`: a run as CI servers read it, in the dialect of Jenkins.
//!
//! A test suite is a scenario, a test case an expectation or a question that the check of records answers. One case, `run`,
//! carries every reason that no other case shows, so that no run whose exit code is not 0 is ever all green: a pipeline may
//! read nothing but this file.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use crate::evaluate::Outcome;
use crate::exit_code::ExitReason;
use crate::expect::Severity;
use crate::quantity::show;
use crate::record::{ExpectRecord, FindingRecord, Reason, RunRecord, RunState};
use crate::search::SearchRecord;
use crate::sweep::SweepData;

mod search;
mod sweep;

/// The name of the case that is about the run as a whole.
const RUN: &str = "run";

/// Renders one run.
///
/// - an expectation that held passes; a broken one of severity `fail` is a `<failure>`, an unknown one an `<error>`;
///   `warn` and `info` pass, whatever became of them, and say it in `<system-out>`
/// - a finding that is a violation is a `<failure>` with its examples; with `verify: off` the case `verify` is skipped
/// - the case `run` is an `<error>` (or a `<failure>`, for a violation or a broken rule) if there is any other reason for
///   the exit code, or if the run did not come to its end
#[must_use]
pub fn junit(record: &RunRecord) -> String {
    junit_of(std::iter::once(record))
}

/// Renders several runs as one document, a test suite for each.
#[must_use]
pub fn junit_of<'a>(records: impl IntoIterator<Item = &'a RunRecord>) -> String {
    let mut document = Document::default();
    records.into_iter().for_each(|record| document.add_run(record));
    document.render()
}

/// Test suites of several scenarios, to become one document.
#[derive(Debug, Default)]
pub struct Document {
    suites: Vec<TestSuite>,
}

impl Document {
    /// Adds a run: one suite.
    pub fn add_run(&mut self, record: &RunRecord) {
        self.suites.push(suite(record));
    }

    /// Adds a sweep: one suite for each point, with the cases of all of its runs, and one for warm-ups that something has to be
    /// said of.
    pub fn add_sweep(&mut self, data: &SweepData) {
        self.suites.extend(sweep::suites(data));
    }

    /// Adds a search: one suite, with a case for each expectation and one for the search itself.
    pub fn add_search(&mut self, record: &SearchRecord) {
        self.suites.push(search::suite(record));
    }

    /// The document.
    #[must_use]
    pub fn render(self) -> String {
        let mut report = Report::new("gauntlet");
        report.set_time(self.suites.iter().filter_map(|suite| suite.time).sum());
        report.timestamp = self.suites.iter().find_map(|suite| suite.timestamp);
        report.add_test_suites(self.suites);
        report.to_string().expect("writing to memory does not fail, and what is written is text")
    }
}

fn suite(record: &RunRecord) -> TestSuite {
    let mut suite = TestSuite::new(clean(&record.name));
    // A run.json of another hand may hold any text here; the time is then left out.
    suite.timestamp = record.started_at.parse().ok();
    suite.set_time(wall(record));
    for (name, value) in properties(record) {
        suite.add_property(Property::new(name, clean(&value)));
    }
    suite.add_test_cases(cases(record));
    suite
}

/// Every case of a run.
fn cases(record: &RunRecord) -> Vec<TestCase> {
    let mut cases = vec![run_case(record)];
    cases.extend(record.expect.iter().map(expectation_case));
    cases.extend(verify_cases(record));
    for case in &mut cases {
        case.set_classname(clean(&record.name));
        case.timestamp = record.started_at.parse().ok();
        // Only the run as a whole takes time; servers add up what the cases say.
        case.set_time(if case.name.as_str() == RUN { wall(record) } else { Duration::ZERO });
    }
    cases
}

fn wall(record: &RunRecord) -> Duration {
    Duration::try_from_secs_f64(record.wall_s).unwrap_or_default()
}

fn properties(record: &RunRecord) -> Vec<(&'static str, String)> {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
    vec![
        ("run_id", record.run_id.clone()),
        ("seed", record.seed.to_string()),
        ("verdict", or_none(record.verdict.map(|verdict| verdict.to_string()))),
        ("exit_code", or_none(record.exit_code.map(|code| code.to_string()))),
        ("guarantee", record.guarantee.clone().unwrap_or_else(|| "not verified".to_owned())),
        ("gauntlet", record.environment.gauntlet.clone()),
        ("kafka", record.environment.kafka.clone().unwrap_or_else(|| "unknown".to_owned())),
        ("host", record.environment.host.clone()),
    ]
}

/// Every reason that no other case shows.
fn run_case(record: &RunRecord) -> TestCase {
    let mut left: Vec<&Reason> = unexplained(record).collect();
    // Weightiest first, whatever the order in the file.
    left.sort_by_key(|reason| reason.exit);
    let mut texts: Vec<String> = left.iter().map(|reason| reason.text.clone()).collect();
    if record.state == RunState::Running {
        texts.push("the run did not come to its end: it is still going on, or its process died".to_owned());
    } else if texts.is_empty() && record.verdict.is_none() {
        texts.push("the run did not come to a verdict".to_owned());
    }
    let Some(first) = texts.first() else {
        return TestCase::new(RUN, TestCaseStatus::success());
    };
    let weightiest = left.first().map_or(ExitReason::InternalError, |reason| reason.exit);
    let kind = match weightiest {
        ExitReason::Violation | ExitReason::ExpectationFailed | ExitReason::Regression => {
            NonSuccessKind::Failure
        }
        _ => NonSuccessKind::Error,
    };
    TestCase::new(RUN, unsuccessful(kind, kind_of(weightiest), first, &texts.join("\n")))
}

/// The reasons that neither an expectation nor a finding shows.
pub(crate) fn unexplained(record: &RunRecord) -> impl Iterator<Item = &Reason> {
    record.reasons.iter().filter(|reason| {
        let of_expectation = record
            .expect
            .iter()
            .filter(|expect| expect.ok != Some(true) && expect.detail.severity == Severity::Fail)
            .any(|expect| {
                reason.text.strip_prefix(&name_of(expect)).is_some_and(|rest| rest.starts_with(": "))
            });
        let of_finding =
            violations(record).any(|finding| reason.text == format!("{} x {}", finding.count, finding.class));
        reason.exit != ExitReason::Pass && !of_expectation && !of_finding
    })
}

fn violations(record: &RunRecord) -> impl Iterator<Item = &FindingRecord> {
    record.findings.iter().filter(|finding| finding.judgement == "violation")
}

/// What an exit reason is called in `run.json`.
fn kind_of(reason: ExitReason) -> String {
    serde_json::to_value(reason).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The rule and its window, as in the reasons of `run.json`.
fn name_of(expect: &ExpectRecord) -> String {
    match expect.detail.during.as_str() {
        "all" => expect.rule.clone(),
        during => format!("{} during {during}", expect.rule),
    }
}

fn expectation_case(expect: &ExpectRecord) -> TestCase {
    let detail = &expect.detail;
    let observed = match (expect.observed, detail.outcome) {
        (Some(value), _) => show(value, detail.unit),
        (None, Outcome::Broken) => "never".to_owned(),
        (None, _) => "nothing".to_owned(),
    };
    let numbers = format!("observed {observed}, limit {}", show(detail.limit, detail.unit));
    let reason = detail.reason.as_deref().unwrap_or_default();
    let (name, note) = match detail.severity {
        Severity::Fail => (name_of(expect), ""),
        Severity::Warn => (format!("{} (warn)", name_of(expect)), "WARNING: "),
        Severity::Info => (format!("{} (info)", name_of(expect)), "info: "),
    };
    let name = clean(&name);
    let text = if reason.is_empty() { numbers.clone() } else { format!("{numbers}\n{reason}") };
    match (detail.outcome, detail.severity) {
        (Outcome::Broken, Severity::Fail) => {
            TestCase::new(name, unsuccessful(NonSuccessKind::Failure, "expectation_failed", &numbers, &text))
        }
        (Outcome::Unknown, Severity::Fail) => {
            let message = if reason.is_empty() { "unknown" } else { reason };
            TestCase::new(name, unsuccessful(NonSuccessKind::Error, "inconclusive", message, &text))
        }
        (outcome, _) => {
            let mut case = TestCase::new(name, TestCaseStatus::success());
            let said = match outcome {
                Outcome::Held => numbers,
                Outcome::Broken => format!("{note}broken: {text}"),
                Outcome::Unknown => format!("{note}unknown: {text}"),
            };
            case.set_system_out(clean(&said));
            case
        }
    }
}

fn verify_cases(record: &RunRecord) -> Vec<TestCase> {
    let Some(verify) = &record.verify else {
        // Without counts: either nobody asked for them, or the run never got there, which the case `run` says.
        let mut cases = Vec::new();
        if record.guarantee.is_none() {
            let mut status = TestCaseStatus::skipped();
            status.set_message("NOT VERIFIED: `verify` is off");
            cases.push(TestCase::new("verify", status));
        }
        return cases;
    };
    let mut cases: Vec<TestCase> =
        record.findings.iter().filter(|f| f.judgement != "not_a_finding").map(finding_case).collect();
    // A log that was not read to its end, or a run that was cut short, says nothing about the guarantee.
    let is_whole = record.state == RunState::Done && unexplained(record).next().is_none();
    if is_whole && violations(record).next().is_none() {
        let mut case = TestCase::new("verify: guarantee held", TestCaseStatus::success());
        let guarantee = record.guarantee.as_deref().unwrap_or("none");
        case.set_system_out(clean(&format!(
            "{guarantee}: {} acked, {} checked",
            show(verify.acked as f64, crate::Unit::Count),
            show(verify.checked as f64, crate::Unit::Count)
        )));
        cases.push(case);
    }
    cases
}

fn finding_case(finding: &FindingRecord) -> TestCase {
    let name = clean(&format!("verify: {}", finding.class));
    let examples = finding.examples.join("\n");
    if finding.judgement == "violation" {
        let message = format!("{} x {}", finding.count, finding.class);
        return TestCase::new(name, unsuccessful(NonSuccessKind::Failure, "violation", &message, &examples));
    }
    let mut case = TestCase::new(name, TestCaseStatus::success());
    case.set_system_out(clean(&format!(
        "{} found; the guarantee that the run is judged by allows them\n{examples}",
        finding.count
    )));
    case
}

fn unsuccessful(kind: NonSuccessKind, ty: impl AsRef<str>, message: &str, text: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(ty.as_ref()).set_message(clean(message)).set_description(clean(text));
    status
}

/// Replaces what XML 1.0 (section 2.2, `Char`) can't hold, which messages of brokers may contain, by U+FFFD: the reader
/// sees that something was there.
fn clean(text: &str) -> String {
    let is_char = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{7e}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}');
    text.chars().map(|c| if is_char(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

#[cfg(test)]
mod tests;
