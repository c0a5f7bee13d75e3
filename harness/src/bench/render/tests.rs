use std::path::Path;

use super::super::contender::{FRANZ_GO, REFERENCE, UNCHECKED};
use super::super::goal;
use super::super::matrix::Mode;
use super::super::options::BenchOptions;
use super::super::probe::{CHECKER, NULL_SINK};
use super::super::record::{BENCH_SCHEMA_VERSION, ContenderRecord};
use super::super::summary::summarise;
use super::super::summary::tests::{PRODUCE, trial as trial_of};
use super::*;
use crate::units::Bytes;

/// A bench with a peer that is slower, one trial of which failed, and one peer that is not there.
fn golden() -> BenchRecord {
    let both = Cell { mode: Mode::Both, ..PRODUCE };
    let flat = Cell { pace: Pace::FlatOut, ..PRODUCE };
    let mut trials = Vec::new();
    for repeat in 1..=3u16 {
        let drift = 1.0 + f64::from(repeat) / 20.0;
        trials.push(trial_of(REFERENCE, PRODUCE, repeat, (999_000.0, 190.0 * drift, 18.0 * drift)));
        trials.push(trial_of("kafka-tools", PRODUCE, repeat, (640_000.0, 1_700.0 * drift, 420.0)));
        trials.push(trial_of(REFERENCE, flat, repeat, (2_900_000.0 / drift, 150.0, 300.0)));
        trials.push(trial_of(FRANZ_GO, flat, repeat, (3_300_000.0, 270.0 * drift, 900.0)));
        trials.push(trial_of(REFERENCE, both, repeat, (998_500.0, 225.0, 41.0 * drift)));
        trials.push(trial_of(UNCHECKED, both, repeat, (998_500.0, 180.0, 40.0)));
    }
    trials[7].measured = None;
    trials[7].failed = Some("it ended with exit code 1: a broker said no".to_owned());
    let probe = |name: &str, codec: Option<&str>, cpu_s: f64, repeat: u16| ProbeRecord {
        probe: name.to_owned(),
        size: Bytes::new(100),
        codec: codec.map(str::to_owned),
        repeat,
        cost: Some(Cost { records: 50_000_000, cpu_s, seconds: cpu_s * 1.1 }),
        failed: None,
    };
    let mut probes = vec![probe(CHECKER, None, 1.9, 1), probe(CHECKER, None, 2.1, 2)];
    probes.push(probe(NULL_SINK, Some("lz4"), 11.0, 1));
    probes.push(ProbeRecord {
        cost: None,
        failed: Some("no".to_owned()),
        ..probe(NULL_SINK, Some("lz4"), 1.0, 2)
    });
    let conditions = BenchOptions::full(7).conditions();
    let mut goals = goal::judge(&conditions, &trials, &probes);
    goals.iter_mut().find(|g| g.id == "b1").unwrap().profile = Some("bench-profile-wire.txt".to_owned());
    let contender = |name: &str, latency_from, note: Option<&str>| ContenderRecord {
        name: name.to_owned(),
        what: format!("{name} 1.2.3"),
        latency_from,
        note: note.map(str::to_owned),
    };
    BenchRecord {
        schema_version: BENCH_SCHEMA_VERSION,
        complete: true,
        started_at: "2026-11-22T04:00:00Z".to_owned(),
        wall_s: 900.0,
        gauntlet: "0.1.0".to_owned(),
        kafka: Some("4.3.0".to_owned()),
        host: "Linux 6.18, 2 cores, 24 GiB".to_owned(),
        label: Some("commit abc".to_owned()),
        seed: 7,
        summary: summarise(&trials),
        conditions,
        contenders: vec![
            contender(REFERENCE, LatencyFrom::Intended, None),
            contender("kafka-tools", LatencyFrom::Sent, Some("on Java 17")),
        ],
        skipped: vec![SkippedRecord {
            name: "rdkafka-performance".to_owned(),
            why: "there is no `make` on the PATH; install build-essential".to_owned(),
        }],
        trials,
        probes,
        goals,
    }
}

/// `UPDATE=1` writes the golden file.
fn compare(name: &str, shown: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/terminal").join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, shown).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(shown, golden, "{}", file.display());
}

#[test]
fn the_result_on_the_terminal() {
    let record = golden();
    let mut shown = String::new();
    for ended in record.trials.iter().take(8) {
        shown += &(trial(ended) + "\n");
    }
    for ended in &record.probes {
        shown += &(probe(ended) + "\n");
    }
    compare("bench_result.txt", &(shown + &terminal(&record)));
}

#[test]
fn the_result_as_a_page() {
    compare("bench_result.md", &markdown(&golden()));
}

#[test]
fn the_record_survives_json() {
    let record = golden();
    let json = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<BenchRecord>(&json).unwrap(), record);
}
