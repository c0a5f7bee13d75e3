use gauntlet_reports::search::{HeadroomRecord, RuleRecord, TrialState};
use gauntlet_reports::sweep::Figures;

use super::*;
use crate::scenario::{LoadOptions, ScenarioFile};
use crate::search::execute::first_record;
use crate::search::{SearchPlanOptions, plan};

const SEARCH: &str = "version: 1\nname: golden\nseed: 7\ncluster: { local: { brokers: 3 } }\ntopics: [{ name: orders }]\n\
    load:\n  shape: max-search\n  warmup: 5s\n  drain: 10s\n  search: { low: 50k/s, high: 1_500_000/s, \
    sustainable: [produce.latency p99 < 50ms, load.achieved_ratio >= 0.99], target: 250k/s, headroom: n-1 }\n\
    workload: { producers: { count: 1 } }\nverify: { final_read: { timeout: 10s } }\n\
    expect: [search.sustainable_rate >= 250k/s, verify.lost == 0]\n";

fn golden_plan() -> SearchPlan {
    let options = LoadOptions {
        cores: 2,
        expectation_check: Some(&crate::plan::check_expectation),
        ..LoadOptions::default()
    };
    let Ok(ScenarioFile::Search(loaded)) = ScenarioFile::parse("golden.yaml", SEARCH, &options) else {
        panic!("it is a search")
    };
    let options = SearchPlanOptions {
        search_id: "20261121-210000-abcd".to_owned(),
        run: 1,
        seed: 7,
        kafka_home: None,
        out: Some("out".into()),
    };
    plan(*loaded, options).unwrap()
}

/// `UPDATE=1` writes the golden file.
fn compare(name: &str, shown: &[u8]) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/terminal").join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, shown).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(String::from_utf8_lossy(shown), golden, "{}", file.display());
}

fn trial(number: u32, stage: Stage, rate_per_s: u64, hold: Hold) -> TrialRecord {
    let p99_ms = if hold == Hold::Held { 12.0 } else { 480.0 };
    TrialRecord {
        state: TrialState::Done,
        hold: Some(hold),
        rules: vec![RuleRecord {
            rule: "produce.latency p99 < 50ms".to_owned(),
            builtin: false,
            outcome: match hold {
                Hold::Held => gauntlet_reports::evaluate::Outcome::Held,
                Hold::Broke => gauntlet_reports::evaluate::Outcome::Broken,
                Hold::Unknown => gauntlet_reports::evaluate::Outcome::Unknown,
            },
            observed: Some(p99_ms),
            limit: 50.0,
            unit: Unit::Milliseconds,
            reason: None,
        }],
        figures: Some(Figures {
            throughput: Some(rate_per_s as f64),
            p50_ms: Some(p99_ms / 3.0),
            p99_ms: Some(p99_ms),
            e2e_p99_ms: Some(p99_ms * 1.2),
            ..Figures::default()
        }),
        stored_bytes_per_record: Some(74.0),
        ..TrialRecord::new(number, stage, rate_per_s, None, format!("trial-{number:02}-{rate_per_s}"))
    }
}

#[test]
fn the_plan_says_how_many_trials_there_may_be_and_how_long_they_take() {
    let mut out = Vec::new();
    let plan = golden_plan();
    search_header(&mut out, &plan).unwrap();
    conditions(&mut out, &plan).unwrap();
    compare("search_plan.txt", &out);
}

#[test]
fn the_result_has_a_line_per_trial() {
    let plan = golden_plan();
    let mut record = first_record(&plan);
    record.trials = vec![
        trial(1, Stage::Search, 50_000, Hold::Held),
        trial(2, Stage::Search, 400_000, Hold::Held),
        trial(3, Stage::Search, 408_000, Hold::Broke),
        trial(4, Stage::Confirm, 400_000, Hold::Held),
        TrialRecord { down: Some(3), ..trial(5, Stage::Search, 50_000, Hold::Held) },
        TrialRecord { down: Some(3), ..trial(6, Stage::Search, 100_000, Hold::Broke) },
        TrialRecord { down: Some(3), ..trial(7, Stage::Confirm, 50_000, Hold::Held) },
    ];
    let left = Finding {
        rate_per_s: Some(49_950.0),
        confirmed_by: Some(7),
        not_held_per_s: Some(100_000),
        limit: Limit::Cluster,
    };
    record.headroom = Some(HeadroomRecord { down: Some(3), finding: Some(left) });
    let finding = Finding {
        rate_per_s: Some(399_000.0),
        confirmed_by: Some(4),
        not_held_per_s: Some(408_000),
        limit: Limit::Cluster,
    };
    record.conclude(Some(finding), Vec::new(), &plan.expectations);
    let mut out = Vec::new();
    search_trial_begins(&mut out, &record.trials[0], &plan.highest).unwrap();
    search_trial_begins(&mut out, &record.trials[6], &plan.confirmation).unwrap();
    search_result(&mut out, &record).unwrap();
    search_files(&mut out, &record, Path::new("out/golden/20261121-210000-abcd"), &[]).unwrap();
    compare("search_result.txt", &out);
}
