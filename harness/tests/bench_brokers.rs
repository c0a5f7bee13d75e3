//! A whole bench of the `gauntlet` program, small: every client that this machine has, in every kind of work, on real brokers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, wherever it does")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gauntlet::bench::goal::Reached;
use gauntlet::bench::matrix::Mode;
use gauntlet::bench::record::{BenchRecord, TrialRecord};

/// All contenders but one: gauntlet without its checker is the same program, and its scenarios have a test of their own.
const CLIENTS: [&str; 5] = ["wire", "rdkafka", "kafka-tools", "rdkafka-performance", "franz-go"];
const GAUNTLET: &str = env!("CARGO_BIN_EXE_gauntlet");

fn bench(args: &[&str], out: &Path) -> Output {
    Command::new(GAUNTLET).arg("bench").args(args).arg("--out").arg(out).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn dir_of(out: &Path) -> PathBuf {
    std::fs::canonicalize(out.join("latest")).unwrap()
}

/// Wherever it was measured, a trial has numbers that can be.
fn is_plausible(trial: &TrialRecord) {
    let measured = trial.measured.as_ref().unwrap();
    assert!(measured.records > 0 && measured.seconds > 0.0, "{trial:#?}");
    assert!(measured.cpu_total_s > 0.0, "{trial:#?}");
    // A rehearsal may be over before it was seen twice.
    assert!(trial.repeat == 0 || measured.rss_mib > 1.0, "{trial:#?}");
    if trial.repeat > 0 && trial.cell.mode != Mode::Consume {
        // Looks are 200 ms apart, so a window of two seconds is right to a tenth.
        let achieved = measured.achieved_ratio.unwrap();
        assert!((0.5..1.5).contains(&achieved), "{trial:#?}");
        assert!(measured.cpu_ns_per_message > 0.0, "{trial:#?}");
        assert!(measured.broker_cpu_ns_per_message.is_some_and(|ns| ns > 0.0), "{trial:#?}");
        let stored = measured.stored_bytes_per_record.unwrap();
        assert!((1.0..110.0).contains(&stored), "a record of 100 bytes, compressed or not: {trial:#?}");
    }
}

/// Brokers with TLS run beside the others, and their contender is compared with the one that has none.
#[test]
fn tls_is_a_row_of_its_own() {
    let out = tempfile::tempdir().unwrap();
    let options = ["--profile", "ci", "--warmup", "0", "--modes", "produce", "--only", "wire,wire-tls"];
    let output = bench(&options, out.path());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let dir = dir_of(out.path());
    let record: BenchRecord =
        serde_json::from_slice(&std::fs::read(dir.join("bench.json")).unwrap()).unwrap();
    record.trials.iter().for_each(is_plausible);
    let row = record.summary.iter().find(|summary| summary.contender == "wire-tls").unwrap();
    assert!(row.failed == 0 && row.ratio_cpu.is_some(), "{row:#?}");
    let scenarios = std::fs::read_dir(dir.join("trials")).unwrap().map(|trial| {
        let dir = trial.unwrap().path();
        (
            dir.to_string_lossy().ends_with("wire-tls"),
            std::fs::read_to_string(dir.join("scenario.yaml")).unwrap(),
        )
    });
    for (secured, scenario) in scenarios {
        assert_eq!(scenario.contains("security.protocol: SSL"), secured, "{scenario}");
    }
    assert!(!dir.join("cluster-tls").exists(), "brokers are gone, and their keys with them");
}

#[test]
fn every_client_of_this_machine_is_measured_in_turns() {
    let out = tempfile::tempdir().unwrap();
    let only = format!("{},null-sink,checker", CLIENTS.join(","));
    let output = bench(&["--profile", "ci", "--seed", "7", "--warmup", "0", "--only", &only], out.path());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let dir = dir_of(out.path());
    let record: BenchRecord =
        serde_json::from_slice(&std::fs::read(dir.join("bench.json")).unwrap()).unwrap();
    assert!(record.complete && record.seed == 7, "{}", text(&output));

    let took_part: BTreeSet<&str> = record.contenders.iter().map(|c| c.name.as_str()).collect();
    let skipped: BTreeSet<&str> = record.skipped.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(took_part.union(&skipped).copied().collect::<BTreeSet<_>>(), BTreeSet::from(CLIENTS));
    // What brokers and this program need is enough for these; the others need a compiler or a toolchain.
    assert!(took_part.is_superset(&BTreeSet::from(["wire", "rdkafka", "kafka-tools"])), "{skipped:?}");
    for name in &skipped {
        assert!(text(&output).contains(&format!("skipped {name}: ")), "{}", text(&output));
    }
    record.trials.iter().for_each(is_plausible);
    // Times are those of beginnings, in the order of the trials.
    assert!(record.trials.is_sorted_by(|a, b| a.began_s < b.began_s));
    for mode in [Mode::Produce, Mode::Consume, Mode::Both] {
        let who: BTreeSet<&str> =
            record.summary.iter().filter(|s| s.cell.mode == mode).map(|s| s.contender.as_str()).collect();
        assert!(who.contains("wire") && who.len() >= 2, "{mode:?}: {who:?}");
    }
    for peer in record.summary.iter().filter(|summary| summary.contender != "wire") {
        assert!(peer.ratio_cpu.is_some_and(|ratio| ratio.median > 0.0), "{peer:#?}");
    }
    let both = record.summary.iter().find(|s| s.contender == "wire" && s.cell.mode == Mode::Both).unwrap();
    assert!(both.p99_ms.is_some() && both.e2e_p99_ms.is_some(), "{both:#?}");

    assert_eq!(record.probes.len(), 2, "one size, one codec");
    assert!(record.probes.iter().all(|probe| probe.cost.is_some()), "{:#?}", record.probes);
    // Three partitions and 5k/s: of the goals only those of probes can be answered.
    for goal in &record.goals {
        let is_probe = goal.id == "c1" || goal.id == "d";
        assert_eq!(goal.reached != Reached::NotMeasured, is_probe, "{goal:#?}");
    }
    let page = std::fs::read_to_string(dir.join("bench.md")).unwrap();
    assert!(page.contains("## produce · 100B · lz4 · 5k/s") && page.contains("batch.size="), "{page}");
    assert!(!dir.join("cluster").exists(), "the brokers' data is gone");
}

#[test]
fn a_plan_starts_nothing_and_mistakes_are_refused() {
    let out = tempfile::tempdir().unwrap();
    // Short trials: a plan is refused where what a trial may write does not fit on the disk.
    let short = ["--rates", "1M/s", "--seconds", "2", "--warmup", "0"];
    let plan =
        bench(&[&["--plan", "--only", "wire,wire-unchecked,null-sink"], &short[..]].concat(), out.path());
    assert_eq!(plan.status.code(), Some(0), "{}", text(&plan));
    assert!(
        text(&plan).contains("trials") && text(&plan).contains("both · 100B · lz4 · 1M/s"),
        "{}",
        text(&plan)
    );
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
    for (args, said) in [
        (vec!["--only", "nobody"], "--only names `nobody`; there are wire,"),
        (vec!["curves", "--rates", "max"], "curves are gauntlet's client alone"),
        (vec!["--bootstrap", "here"], "write it like localhost:9092"),
        (vec!["--sizes", "10B"], "a record is from 34B"),
        (vec!["--rates", "fast"], "`fast` is no rate"),
        (vec!["--codecs", "zip"], "unknown codec `zip`"),
        (vec!["--tuning", "/nonexistent.json"], "cannot read /nonexistent.json"),
    ] {
        let refused = bench(&args, out.path());
        assert_eq!(refused.status.code(), Some(2), "{args:?}: {}", text(&refused));
        assert!(text(&refused).contains(said), "{args:?}: {}", text(&refused));
    }
}
