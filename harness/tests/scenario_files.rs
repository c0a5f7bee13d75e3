//! Shipped scenarios are valid, with each of their profiles, and the committed JSON Schema is current.

#![expect(clippy::unwrap_used, reason = "test code: clippy only knows functions with #[test] as such")]

use std::path::{Path, PathBuf};

use gauntlet::scenario::search::TrialKind;
use gauntlet::scenario::types::{
    Acks, Body, Cluster, Compression, Fault, FaultAction, HealAction, Jvm, PartitionChoice, Recover,
    Severity, Shape, Size, Target, Verify, Warmup, Window,
};
use gauntlet::scenario::{
    LoadOptions, LoadedScenario, LoadedSearch, LoadedSweep, Scenario, ScenarioFile, schema,
};
use gauntlet::units::{Bytes, Duration, Fraction, Rate};

fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

fn options(profile: Option<&str>) -> LoadOptions<'static> {
    LoadOptions { profile: profile.map(str::to_owned), cores: 4, ..LoadOptions::default() }
}

fn load(file: &str, profile: Option<&str>) -> LoadedScenario {
    let loaded = Scenario::load(&scenarios().join(file), &options(profile));
    loaded.unwrap_or_else(|error| panic!("{file} with profile {profile:?}:\n{error}"))
}

fn load_file(file: &str, profile: Option<&str>) -> ScenarioFile {
    let loaded = ScenarioFile::load(&scenarios().join(file), &options(profile));
    loaded.unwrap_or_else(|error| panic!("{file} with profile {profile:?}:\n{error}"))
}

fn load_sweep(file: &str, profile: Option<&str>) -> LoadedSweep {
    match load_file(file, profile) {
        ScenarioFile::Sweep(sweep) => *sweep,
        _ => panic!("{file} is no sweep"),
    }
}

fn load_search(file: &str, profile: Option<&str>) -> LoadedSearch {
    match load_file(file, profile) {
        ScenarioFile::Search(search) => *search,
        _ => panic!("{file} is no search"),
    }
}

fn shipped() -> Vec<String> {
    let entries = std::fs::read_dir(scenarios()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".yaml")).collect();
    names.sort();
    names
}

#[test]
fn shipped_scenarios_are_valid_with_every_profile() {
    let files = shipped();
    assert!(files.contains(&"quickstart.yaml".to_owned()), "{files:?}");
    for file in files {
        let base = load_file(&file, None);
        assert_eq!(format!("{}.yaml", base.name()), file, "a file is called like its scenario");
        for profile in base.profiles() {
            load_file(&file, Some(profile));
        }
    }
}

#[test]
fn resolved_scenarios_read_back_to_the_same() {
    for file in shipped() {
        let base = load_file(&file, None);
        for profile in std::iter::once(None).chain(base.profiles().iter().map(|name| Some(name.as_str()))) {
            let what = format!("{file} with profile {profile:?}");
            let loaded = load_file(&file, profile);
            let yaml = resolved(&loaded);
            let again = ScenarioFile::parse("resolved.yaml", yaml, &options(None));
            let again = again.unwrap_or_else(|error| panic!("{what}:\n{error}\n{yaml}"));
            assert_eq!(resolved(&again), yaml, "{what}");
            match (&again, &loaded) {
                (ScenarioFile::Single(again), ScenarioFile::Single(loaded)) => {
                    assert_eq!(again.scenario, loaded.scenario, "{what}");
                }
                (ScenarioFile::Sweep(again), ScenarioFile::Sweep(loaded)) => {
                    assert_eq!(again.sweep, loaded.sweep, "{what}");
                    for (one, other) in again.points.iter().zip(&loaded.points) {
                        assert_eq!(one.parameters, other.parameters, "{what}");
                        assert_eq!(one.loaded.scenario, other.loaded.scenario, "{what}");
                    }
                }
                (ScenarioFile::Search(again), ScenarioFile::Search(loaded)) => {
                    assert_eq!(again.search, loaded.search, "{what}");
                    assert_eq!(again.whole.scenario, loaded.whole.scenario, "{what}");
                }
                _ => panic!("{what} is another kind of file"),
            }
        }
    }
}

fn resolved(file: &ScenarioFile) -> &str {
    match file {
        ScenarioFile::Single(loaded) => &loaded.resolved_yaml,
        ScenarioFile::Sweep(sweep) => &sweep.resolved_yaml,
        ScenarioFile::Search(search) => &search.whole.resolved_yaml,
    }
}

#[test]
fn the_shipped_sweep_has_its_points() {
    let whole = load_sweep("batch-x-codec.yaml", None);
    assert_eq!((whole.points.len(), whole.sweep.repeats), (19, 3));
    let small = load_sweep("batch-x-codec.yaml", Some("ci"));
    let points: Vec<String> = small
        .points
        .iter()
        .map(|point| gauntlet::scenario::sweep::label(&small.axes, &point.parameters))
        .collect();
    assert_eq!(
        points,
        [
            "batch_size=16384, codec=none",
            "batch_size=16384, codec=lz4",
            "batch_size=262144, codec=none",
            "batch_size=262144, codec=lz4"
        ]
    );
    let config = &small.points[3].loaded.scenario.workload.producers[0].config;
    assert_eq!((config.batch_size_bytes, config.compression), (262_144, Compression::Lz4));
}

#[test]
fn every_trial_of_the_shipped_search_is_a_scenario() {
    for profile in [None, Some("ci")] {
        let search = load_search("max-search.yaml", profile);
        let rules = search.search.sustainable.len();
        for (kind, expected) in
            [(TrialKind::Search, rules + 2), (TrialKind::Confirm, rules + 2), (TrialKind::WarmUp, 0)]
        {
            let trial = search.trial(search.search.high, search.search.trial, kind).unwrap();
            assert_eq!(trial.scenario.expect.len(), expected, "{profile:?}: {kind:?}");
            let again = Scenario::parse("trial.yaml", &trial.resolved_yaml, &options(None)).unwrap();
            assert_eq!(again.scenario.load, trial.scenario.load, "{profile:?}: {kind:?}");
        }
    }
    let small = load_search("max-search.yaml", Some("ci")).search;
    assert_eq!((small.low, small.high), (Rate::per_second(10_000), Rate::per_second(40_000)));
}

#[test]
fn quickstart_says_what_the_readme_says() {
    let Scenario { cluster, topics, workload, load: traffic, faults, expect, verify, .. } =
        load("quickstart.yaml", None).scenario;
    let Cluster::Local(local) = cluster else { panic!("{cluster:?}") };
    assert_eq!((local.brokers, local.jvm), (3, Jvm::Steady));
    assert_eq!((topics[0].partitions, topics[0].replication_factor), (Some(12), Some(3)));
    assert_eq!(topics[0].config["min.insync.replicas"], "2");
    let producer = &workload.producers[0];
    assert_eq!(producer.payload.size, Size::Fixed(Bytes::new(100)));
    assert_eq!(producer.payload.body, Body::Random(Fraction::new(0.2).unwrap()));
    assert_eq!((producer.count, producer.config.acks), (2, Acks::All));
    assert!(producer.config.enable_idempotence);
    assert_eq!(producer.config.compression, Compression::Lz4);
    assert_eq!(workload.consumers.len(), 1);
    let shape = Shape::Constant { rate: Rate::per_second(1_000_000), duration: Duration::from_secs(150) };
    assert_eq!(traffic.shape, shape);
    let warmup = Warmup::UntilStable { min: Duration::from_secs(60), max: Duration::from_secs(240) };
    assert_eq!(traffic.warmup, warmup);
    let kill = Fault {
        name: "kill-leader".to_owned(),
        at: Duration::from_secs(60),
        action: FaultAction::BrokerKill,
        target: Target::Leader {
            topic: "orders".to_owned(),
            partition: PartitionChoice::LowestNotController,
        },
        recover: Some(Recover { action: HealAction::BrokerStart, after: Duration::from_secs(15) }),
        every: None,
        jitter: Duration::ZERO,
    };
    assert_eq!(faults, [kill]);
    assert_eq!(expect.len(), 9);
    assert_eq!(expect[4].during, Some(Window::Before));
    assert!(expect[6..].iter().all(|expectation| expectation.severity == Severity::Info));
    assert!(matches!(verify, Verify::On { max_examples: 8, .. }));
}

#[test]
fn the_ci_profile_replaces_lists_and_merges_blocks() {
    let Scenario { cluster, load: traffic, faults, expect, topics, .. } =
        load("quickstart.yaml", Some("ci")).scenario;
    let Cluster::Local(local) = cluster else { panic!("{cluster:?}") };
    assert_eq!((local.brokers, local.jvm), (3, Jvm::Quick));
    assert_eq!(local.config["broker.session.timeout.ms"], "3000");
    assert_eq!(traffic.warmup, Warmup::For(Duration::from_secs(5)));
    assert_eq!(
        (faults[0].at, faults[0].heals_at()),
        (Duration::from_secs(10), Some(Duration::from_secs(18)))
    );
    assert!(expect.iter().all(|expectation| !expectation.that.contains("latency")));
    assert_eq!(topics[0].name, "orders");
}

#[test]
fn the_smallest_file_gets_every_default() {
    let text = "version: 1\nname: hello\ncluster: { bootstrap_servers: localhost:9092 }\n\
                load: { shape: constant, rate: 10k/s, duration: 30s }\nexpect: [produce.latency p99 < 50ms]\n";
    let loaded = Scenario::parse("hello.yaml", text, &options(None)).unwrap();
    let scenario = loaded.scenario.with_run_id("r1");
    assert_eq!(scenario.topics[0].name, "gauntlet-hello-r1");
    assert_eq!(scenario.workload.producers[0].topic, "gauntlet-hello-r1");
    assert_eq!(scenario.workload.consumers[0].topic, "gauntlet-hello-r1");
    assert_eq!(scenario.report.dir, "out/hello/r1");
    assert_eq!((scenario.topics[0].partitions, scenario.topics[0].replication_factor), (Some(12), None));
    assert_eq!(scenario.workload.producers[0].payload.size, Size::Fixed(Bytes::new(1024)));
    assert_eq!(scenario.load.drain, Duration::from_secs(60));
}

#[test]
fn set_wins_over_profile_and_file() {
    let options = LoadOptions {
        sets: vec![
            "load.rate=7/s".to_owned(),
            "vars.kill_at=11s".to_owned(),
            "faults[0].name=other".to_owned(),
            "expect=[verify.lost == 0]".to_owned(),
        ],
        ..options(Some("ci"))
    };
    let loaded = Scenario::load(&scenarios().join("quickstart.yaml"), &options).unwrap();
    let Shape::Constant { rate, .. } = loaded.scenario.load.shape else { panic!() };
    assert_eq!(rate, Rate::per_second(7));
    assert_eq!(loaded.scenario.faults[0].at, Duration::from_secs(11));
    assert_eq!(loaded.scenario.faults[0].name, "other");
    assert_eq!(loaded.span_of("load.rate").to_string(), "--set load.rate=7/s");
}

#[test]
fn fields_know_their_place() {
    let loaded = load("quickstart.yaml", None);
    let target = loaded.span_of("faults[0].target");
    assert!(target.text.trim_start().starts_with("target: {"), "{target:?}");
    let codec = loaded.span_of("workload.producers[0].config.compression.type");
    let written: String = codec.text.chars().skip(codec.column - 1).take(codec.len).collect();
    assert_eq!(written, "lz4");
    assert!(
        loaded.span_of("verify.guarantee").line.is_some(),
        "what was left out points to the closest block"
    );
}

/// The schema is generated; `UPDATE=1 cargo test` writes it.
#[test]
fn the_committed_schema_is_current() {
    let path = scenarios().join("scenario.schema.json");
    let current = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == current,
        "scenarios/scenario.schema.json is out of date: run UPDATE=1 cargo test -p gauntlet"
    );
}

/// A line of the field reference for every metric, by what the registry says of it.
fn table_of_metrics() -> String {
    use gauntlet_reports::metric::{METRICS, Scope, Shape, Unit};
    let mut table = "| Metric | Unit | Statistic | Over | Meaning |\n|---|---|---|---|---|\n".to_owned();
    for metric in METRICS {
        let name = match (metric.scope, metric.by) {
            (Scope::Fault, _) => format!("{}{{fault=NAME}}", metric.name),
            (_, []) => metric.name.to_owned(),
            (_, by) => format!("{}{{by={}}}", metric.name, by.join("\\|")),
        };
        let unit = match metric.unit {
            Unit::Count => "count",
            Unit::PerSecond => "per second",
            Unit::BytesPerSecond => "bytes per second",
            Unit::Milliseconds => "ms",
            Unit::Seconds => "s",
            Unit::Nanoseconds => "ns",
            Unit::Ratio => "share, or %",
            Unit::Mebibytes => "MiB",
        };
        let statistic = match metric.shape {
            Shape::Distribution => "`p50` to `p99.99`, `max`, `min`, `mean`, `count`",
            Shape::Level => "`max`, `min`, `mean`",
            Shape::Single => "",
        };
        let over = match metric.scope {
            Scope::Window => "a window",
            Scope::Run => "the run",
            Scope::Fault => "a fault",
        };
        table += &format!("| `{name}` | {unit} | {statistic} | {over} | {} |\n", metric.help);
    }
    table
}

/// As the schema: `UPDATE=1 cargo test` writes it.
#[test]
fn the_field_reference_has_every_metric() {
    let path = scenarios().join("README.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- metrics: generated -->\n", "<!-- end of metrics -->");
    let (before, rest) = page.split_once(begin).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    let current = format!("{before}{begin}{}{end}{after}", table_of_metrics());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert!(
        committed == current,
        "scenarios/README.md is out of date: run UPDATE=1 cargo test --test scenario_files"
    );
}
