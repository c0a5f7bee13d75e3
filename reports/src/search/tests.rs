use super::*;
use crate::evaluate::Outcome;
use crate::expect::{Expectation, Severity};
use crate::metric::{Capabilities, Unit};
use crate::sweep::Figures;

/// A trial that held, or where p99 was over 50 ms, by whoever's fault.
pub(crate) fn trial(number: u32, stage: Stage, rate_per_s: u64, hold: Hold) -> TrialRecord {
    let p99_ms = if hold == Hold::Held { 8.0 + rate_per_s as f64 / 1e5 } else { 480.0 };
    let (verdict, exit) = match hold {
        Hold::Held => (Verdict::Pass, None),
        Hold::Broke => (Verdict::Fail, Some(ExitReason::ExpectationFailed)),
        Hold::Unknown => (Verdict::Inconclusive, Some(ExitReason::Inconclusive)),
    };
    let rule = "produce.latency p99 < 50ms".to_owned();
    TrialRecord {
        state: TrialState::Done,
        hold: Some(hold),
        rules: vec![RuleRecord {
            rule: rule.clone(),
            builtin: false,
            outcome: match hold {
                Hold::Held => Outcome::Held,
                Hold::Broke => Outcome::Broken,
                Hold::Unknown => Outcome::Unknown,
            },
            observed: Some(p99_ms),
            limit: 50.0,
            unit: Unit::Milliseconds,
            reason: (hold == Hold::Unknown)
                .then(|| "4.0 % of the window's records were late because of us".to_owned()),
        }],
        verdict: Some(verdict),
        exit_code: Some(exit.unwrap_or(ExitReason::Pass).code()),
        reasons: exit
            .into_iter()
            .map(|exit| Reason { exit, text: format!("{rule}: observed 480 ms") })
            .collect(),
        wall_s: Some(41.5),
        figures: Some(Figures {
            throughput: Some(rate_per_s as f64 * if hold == Hold::Held { 1.0 } else { 0.93 }),
            achieved_ratio: Some(if hold == Hold::Held { 1.0 } else { 0.93 }),
            p50_ms: Some(p99_ms * 0.3),
            p99_ms: Some(p99_ms),
            p999_ms: Some(p99_ms * 1.6),
            e2e_p99_ms: Some(p99_ms * 1.1),
            cpu_ns_per_message: Some(310.0),
            ..Figures::default()
        }),
        lag_max: Some(rate_per_s / 50),
        stored_bytes_per_record: Some(74.0),
        ..TrialRecord::new(number, stage, rate_per_s, None, format!("trial-{number:02}-{rate_per_s}"))
    }
}

/// Found between 100 and 800 thousand, by resolution 25 %.
pub(crate) fn search() -> SearchRecord {
    use Hold::{Broke, Held};
    let trials = [
        (Stage::Search, 100_000, Held),
        (Stage::Search, 200_000, Held),
        (Stage::Search, 400_000, Broke),
        (Stage::Search, 282_842, Held),
        (Stage::Search, 336_358, Broke),
        (Stage::Confirm, 282_842, Held),
    ];
    let trials = trials.into_iter().zip(1..).map(|((stage, rate, hold), n)| trial(n, stage, rate, hold));
    let mut record = SearchRecord {
        schema_version: SEARCH_SCHEMA_VERSION,
        state: RunState::Running,
        verdict: None,
        exit_code: None,
        reasons: Vec::new(),
        name: "max-search".to_owned(),
        description: None,
        search_id: "20261121-210000-abcd".to_owned(),
        seed: 7,
        started_at: "2026-11-21T21:00:00Z".to_owned(),
        wall_s: 311.0,
        gauntlet: "0.1.0".to_owned(),
        low_per_s: 100_000,
        high_per_s: 800_000,
        resolution: 0.25,
        target_per_s: Some(200_000),
        trial_s: 30.0,
        confirm_s: 120.0,
        sustainable: vec!["produce.latency p99 < 50ms".to_owned()],
        p99_limit_ms: Some(50.0),
        replication_factor: Some(3),
        trials: trials.collect(),
        warmups: Vec::new(),
        finding: None,
        headroom: None,
        expect: Vec::new(),
    };
    record.conclude(Some(found(Some(282_842.0), Limit::Cluster)), Vec::new(), &[]);
    record
}

pub(crate) fn found(rate_per_s: Option<f64>, limit: Limit) -> Finding {
    Finding {
        rate_per_s,
        confirmed_by: rate_per_s.map(|_| 6),
        not_held_per_s: (limit != Limit::High).then_some(336_358),
        limit,
    }
}

fn at_least(rule: &str) -> Expectation {
    let capabilities = Capabilities { search: true, headroom: true, ..Capabilities::default() };
    Expectation::parse(rule, None, Severity::Fail, &capabilities).unwrap()
}

fn concluded(finding: Option<Finding>, rules: &[&str]) -> (Verdict, u8, String) {
    let mut record = search();
    let rules: Vec<Expectation> = rules.iter().map(|rule| at_least(rule)).collect();
    record.conclude(finding, Vec::new(), &rules);
    (record.verdict.unwrap(), record.exit_code.unwrap(), record.reasons[0].text.clone())
}

#[test]
fn a_confirmed_rate_passes_and_trials_that_broke_fail_nothing() {
    let (verdict, code, text) = concluded(Some(found(Some(282_842.0), Limit::Cluster)), &[]);
    assert_eq!((verdict, code, text.as_str()), (Verdict::Pass, 0, "a rate was confirmed"));
}

#[test]
fn what_is_expected_of_the_rate_decides() {
    let rate = || Some(found(Some(282_842.0), Limit::Cluster));
    let of = |rule: &str| concluded(rate(), &[rule]);
    assert_eq!(of("search.sustainable_rate >= 250k/s").0, Verdict::Pass);
    let (verdict, code, text) = of("search.sustainable_rate >= 300k/s");
    assert_eq!((verdict, code), (Verdict::Fail, 99));
    assert_eq!(text, "search.sustainable_rate >= 300k/s: observed 282 842/s");
}

#[test]
fn a_rate_that_something_else_held_down_is_a_lower_bound() {
    for limit in [Limit::Ourselves, Limit::High] {
        let of = |rules: &[&str]| concluded(Some(found(Some(282_842.0), limit)), rules);
        assert_eq!(of(&["search.sustainable_rate >= 250k/s"]).0, Verdict::Pass, "it is at least so much");
        let (verdict, code, text) = of(&["search.sustainable_rate >= 300k/s"]);
        assert_eq!((verdict, code), (Verdict::Inconclusive, 5), "it may be more: {text}");
        assert_eq!(of(&["search.sustainable_rate <= 300k/s"]).0, Verdict::Inconclusive, "it may be more");
        let without = of(&[]).0;
        let expected = if limit == Limit::High { Verdict::Pass } else { Verdict::Inconclusive };
        assert_eq!(without, expected, "{limit:?}");
    }
}

#[test]
fn without_a_rate_it_depends_on_who_was_the_limit() {
    let of = |limit| {
        let mut record = search();
        record.trials =
            vec![trial(1, Stage::Search, 1_000, Hold::Broke), trial(2, Stage::Search, 250, Hold::Broke)];
        record.conclude(Some(found(None, limit)), Vec::new(), &[at_least("search.sustainable_rate >= 1k/s")]);
        (record.verdict.unwrap(), record.exit_code.unwrap(), record.reasons[0].text.clone())
    };
    let (verdict, code, text) = of(Limit::Cluster);
    assert_eq!((verdict, code), (Verdict::Fail, 99));
    assert_eq!(text, "not even 250/s was sustainable: produce.latency p99 < 50ms: 480 ms");
    assert_eq!((of(Limit::Ourselves).0, of(Limit::Ourselves).1), (Verdict::Inconclusive, 5));
}

#[test]
fn a_violation_counts_at_any_rate() {
    let mut record = search();
    record.trials[2].verdict = Some(Verdict::Violation);
    record.trials[2].reasons.push(Reason { exit: ExitReason::Violation, text: "3 x lost-write".to_owned() });
    record.conclude(Some(found(Some(282_842.0), Limit::Cluster)), Vec::new(), &[]);
    assert_eq!((record.verdict, record.exit_code), (Some(Verdict::Violation), Some(100)));
    assert_eq!(record.reasons[0].text, "trial 3 (400 000/s): 3 x lost-write");
}

/// What else is expected is expected of the rate that was found; of others it may be too much.
#[test]
fn an_expectation_counts_for_the_trial_that_confirmed() {
    let of = |trial: usize, rule: &str| {
        let mut record = search();
        let mut broken =
            run("fail").expect.into_iter().find(|e| e.detail.outcome == Outcome::Broken).unwrap();
        rule.clone_into(&mut broken.rule);
        broken.detail.severity = Severity::Fail;
        record.trials[trial].expect.push(broken);
        record.conclude(Some(found(Some(282_842.0), Limit::Cluster)), Vec::new(), &[]);
        record.verdict.unwrap()
    };
    assert_eq!(of(4, "produce.latency p99.9 < 200ms"), Verdict::Pass, "trial 5 confirmed nothing");
    assert_eq!(of(5, "produce.latency p99.9 < 200ms"), Verdict::Fail);
    assert_eq!(of(0, "verify.unseen == 0"), Verdict::Fail, "what was not seen was not seen at any rate");
}

/// [`search`], and once more with broker 2 down: trials 7 to 9, of which these held.
fn with_headroom(held: [bool; 3], finding: Finding, rules: &[&str]) -> SearchRecord {
    let mut record = search();
    let rates = [(Stage::Search, 100_000), (Stage::Search, 200_000), (Stage::Confirm, 100_000)];
    for (((stage, rate_per_s), held), number) in rates.into_iter().zip(held).zip(7..) {
        let hold = if held { Hold::Held } else { Hold::Broke };
        record.trials.push(TrialRecord { down: Some(2), ..trial(number, stage, rate_per_s, hold) });
    }
    record.headroom = Some(HeadroomRecord { down: Some(2), finding: Some(finding) });
    let rules: Vec<Expectation> = rules.iter().map(|rule| at_least(rule)).collect();
    record.conclude(Some(found(Some(282_842.0), Limit::Cluster)), Vec::new(), &rules);
    record
}

#[test]
fn the_rate_with_one_broker_down_is_judged_by_itself() {
    let one_down = |rate_per_s, limit| Finding {
        rate_per_s,
        confirmed_by: rate_per_s.map(|_| 9),
        not_held_per_s: (limit != Limit::High).then_some(200_000),
        limit,
    };
    let of =
        |rules: &[&str]| with_headroom([true, false, true], one_down(Some(99_000.0), Limit::Cluster), rules);
    assert_eq!(
        of(&["search.headroom_rate >= 90k/s", "search.sustainable_rate >= 250k/s"]).exit_code,
        Some(0)
    );
    let less = of(&["search.headroom_rate >= 100k/s"]);
    assert_eq!(less.reasons[0].text, "search.headroom_rate >= 100k/s: observed 99 000/s");
    let rate = |rate: f64| format!("{rate:.0}/s");
    assert_eq!(
        words::sentence(&less, rate),
        "282842/s is sustainable, 336358/s is not; with one broker down 99000/s is sustainable, 200000/s is not"
    );

    let all_of_it = one_down(Some(282_000.0), Limit::High);
    let bound = with_headroom([true; 3], all_of_it, &["search.headroom_rate >= 300k/s"]);
    assert_eq!(bound.verdict, Some(Verdict::Inconclusive), "more was not tried");

    let nothing = with_headroom([false; 3], one_down(None, Limit::Cluster), &[]);
    assert_eq!((nothing.verdict, nothing.exit_code), (Some(Verdict::Fail), Some(99)));
    assert_eq!(
        nothing.reasons[0].text,
        "with one broker down not even 100 000/s was sustainable: produce.latency p99 < 50ms: 480 ms"
    );
}

#[test]
fn a_search_that_was_ended_has_no_answer() {
    let mut record = search();
    let ended = Reason { exit: ExitReason::Aborted, text: "a signal".to_owned() };
    record.conclude(None, vec![ended], &[]);
    assert_eq!((record.state, record.exit_code), (RunState::Aborted, Some(105)));
    assert_eq!(record.verdict, Some(Verdict::Inconclusive));
}

#[test]
fn the_file_reads_back() {
    let record = search();
    let json = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<SearchRecord>(&json).unwrap(), record);
}

#[test]
fn a_day_at_the_rate_fills_so_much_of_disks() {
    let day = storage::storage(&search()).unwrap();
    assert!((day.bytes_per_s - 282_842.0 * 74.0).abs() < 1.0);
    assert!((day.bytes_per_day - day.bytes_per_s * 86_400.0).abs() < 1.0);
    assert!((day.disk_bytes_per_day.unwrap() - 3.0 * day.bytes_per_day).abs() < 1.0);
    let mut without = search();
    without.replication_factor = None;
    assert_eq!(storage::storage(&without).unwrap().disk_bytes_per_day, None);
}

/// A run as its directory has it: `tests/runs/NAME.json`.
fn run(name: &str) -> crate::record::RunRecord {
    let file =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/runs").join(format!("{name}.json"));
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// A trial that ended as this run did; its first `sustainable` expectations are those of the search.
fn finished(run: &crate::record::RunRecord, sustainable: usize) -> TrialRecord {
    let mut trial = TrialRecord::new(1, Stage::Search, 50_000, None, "trial-01-50000".to_owned());
    trial.finish(run, sustainable);
    trial
}

#[test]
fn a_rate_holds_if_every_rule_does() {
    let trial = finished(&run("pass"), 2);
    assert_eq!((trial.state, trial.hold), (TrialState::Done, Some(Hold::Held)));
    let rules: Vec<&str> = trial.rules.iter().map(|rule| rule.rule.as_str()).collect();
    assert_eq!(rules, ["verify.lost == 0", "produce.latency p99 < 50ms during before"]);
    assert_eq!(trial.expect.len(), 2, "what else the scenario expects is kept apart");
    assert!(trial.why().is_empty() && trial.figures.is_some());
}

#[test]
fn what_is_broken_is_broken_and_what_is_expected_besides_is_not_the_rates_fault() {
    let broken = run("fail");
    assert_eq!(finished(&broken, 2).hold, Some(Hold::Broke));
    let mut besides = broken.clone();
    besides.reasons.retain(|reason| !reason.text.starts_with("audit"));
    let trial = finished(&besides, 1);
    assert_eq!(trial.hold, Some(Hold::Held), "p99 is an expectation here, not a condition");
    assert_eq!(trial.expectations(Outcome::Broken).count(), 2);
    assert_eq!(finished(&broken, 1).hold, Some(Hold::Broke), "nothing was acked on a topic");
    assert_eq!(finished(&run("violation"), 0).hold, Some(Hold::Broke), "a record was lost");
}

#[test]
fn a_broken_built_in_rule_is_one_of_the_rates() {
    let mut slow = run("pass");
    let last = slow.expect.last_mut().unwrap();
    (last.ok, last.detail.outcome, last.observed) = (Some(false), Outcome::Broken, Some(0.62));
    let text = "load.achieved_ratio >= 0.9: observed 0.6200".to_owned();
    slow.reasons = vec![Reason { exit: ExitReason::ExpectationFailed, text }];
    slow.verdict = Some(Verdict::Fail);
    let trial = finished(&slow, 1);
    assert_eq!(trial.hold, Some(Hold::Broke));
    assert_eq!(trial.why(), ["load.achieved_ratio >= 0.9: 0.6200"]);
}

#[test]
fn what_is_unknown_holds_as_little_as_it_breaks() {
    let trial = finished(&run("inconclusive"), 2);
    assert_eq!(trial.hold, Some(Hold::Unknown));
    assert!(trial.why()[0].contains("late because of gauntlet or the host"), "{:?}", trial.why());
    let mut both = run("inconclusive");
    both.expect[0].detail.outcome = Outcome::Broken;
    assert_eq!(finished(&both, 2).hold, Some(Hold::Broke), "what is broken is broken");
    let mut left_over = run("inconclusive");
    let failed = left_over.expect.iter_mut().find(|e| e.rule == "produce.failed == 0").unwrap();
    (failed.ok, failed.detail.outcome, failed.observed) = (Some(false), Outcome::Broken, Some(21.0));
    let text = "produce.failed == 0 during steady: observed 21".to_owned();
    left_over.reasons.push(Reason { exit: ExitReason::ExpectationFailed, text });
    assert_eq!(finished(&left_over, 2).hold, Some(Hold::Unknown), "we were late, and did not settle all");
    left_over.expect[1].detail.outcome = Outcome::Held;
    left_over.reasons.remove(0);
    assert_eq!(finished(&left_over, 2).hold, Some(Hold::Broke), "nobody else was late");
}

#[test]
fn a_trial_that_was_cut_short_has_no_result() {
    for name in ["aborted", "killed", "environment"] {
        let trial = finished(&run(name), 1);
        assert_eq!((trial.state, trial.hold), (TrialState::Aborted, None), "{name}");
    }
}
