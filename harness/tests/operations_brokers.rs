//! Operations of the cluster in whole runs of the `gauntlet` program: the scenario that ships, and a run that is killed in the middle of some.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, wherever it does")]

#[path = "support/program.rs"]
mod program;
#[path = "support/wait.rs"]
mod wait;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gauntlet_chaos::kafka_home::{Java, KafkaHome};
use gauntlet_chaos::process::ProcessIdentity;
use gauntlet_chaos::{KafkaSource, cache_dir};
use gauntlet_wire::{ConfigResource, ConnectOptions, Connection, ErrorCode};
use program::{GAUNTLET, text};
use serde_json::Value;
use wait::wait_for;

/// In which a supervisor is to have undone what its run left. It polls nothing: the rest is for a host that is busy.
const UNDONE_WITHIN: Duration = Duration::from_secs(10);
const LIMIT: Duration = Duration::from_secs(90);

fn record(out: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(out.join("latest/run.json")).ok()?).ok()
}

/// Which faults the journal says to be open, by name.
fn open_entries(journal: &str) -> BTreeMap<u64, String> {
    let mut open = BTreeMap::new();
    for line in journal.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let id = line["id"].as_u64().unwrap();
        match line["entry"].as_str().unwrap() {
            "undone" => drop(open.remove(&id)),
            _ => drop(open.insert(id, line["planned"]["fault"].as_str().unwrap().to_owned())),
        }
    }
    open
}

/// Runs a scenario that ships, with its profile `ci`: a PASS in which nothing was found. Gives its record.
fn flawless(scenario: &str, out: &Path) -> Value {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../scenarios/{scenario}.yaml"));
    let mut command = Command::new(GAUNTLET);
    command.arg("run").arg(file).args(["--profile", "ci"]).arg("--out").arg(out);
    let output = command.output().unwrap();
    let told = text(&output);
    let record = record(out).unwrap_or_else(|| panic!("{told}"));
    assert_eq!(record["verdict"], "PASS", "{told}\n{:#}", record["reasons"]);
    assert_eq!(output.status.code(), Some(0), "{told}");
    for finding in ["lost", "duplicates", "reordered", "unseen", "corrupt", "phantom"] {
        assert_eq!(record["verify"][finding], 0, "{finding}: {:#}", record["verify"]);
    }
    record
}

/// Each broker says of itself what it runs whenever it starts.
#[test]
#[ignore = "over the time budget of ci/test; ci/faults runs it"]
fn a_release_becomes_a_later_one_broker_by_broker_and_costs_no_record() {
    let out = tempfile::tempdir().unwrap();
    let record = flawless("rolling-upgrade", out.path());
    assert_eq!(record["environment"]["kafka"], "3.9.1, upgraded to 4.3.0");
    let faults = record["faults"].as_array().unwrap();
    assert_eq!(faults.len(), 4, "{faults:#?}");
    let (turns, raised) = (&faults[..3], &faults[3]);
    assert_eq!(raised["target"], "metadata.version to the highest level for good");
    assert_eq!(raised["took_effect"], true, "{raised:#}");
    let mut healed_at = 0.0;
    for turn in turns {
        let at = |name: &str| turn["at_s"][name].as_f64().unwrap_or_else(|| panic!("{name}: {turn:#}"));
        assert_eq!((&turn["action"], &turn["took_effect"]), (&"broker.rolling-upgrade".into(), &true.into()));
        assert!(turn["target"].as_str().unwrap().ends_with(" to 4.3.0"), "{turn:#}");
        assert!(at("injected") >= healed_at, "one after the other: {turns:#?}");
        healed_at = at("healed");
    }
    for broker in 1..=3 {
        let log = out.path().join(format!("latest/logs/broker-{broker}.log"));
        let log = std::fs::read_to_string(log).unwrap();
        let started_as: Vec<&str> =
            log.lines().filter_map(|line| line.split_once("Kafka version: ")?.1.split(' ').next()).collect();
        assert_eq!(started_as, ["3.9.1", "4.3.0"], "broker {broker}");
    }
}

/// A broker joins, another one leaves and comes back, and so do voters; at the end of the run all of that is undone.
#[test]
#[ignore = "over the time budget of ci/test; ci/faults runs it"]
fn members_join_and_leave_under_load_and_that_costs_no_record() {
    let out = tempfile::tempdir().unwrap();
    let record = flawless("members", out.path());
    // 68 s at 5,000 per second, warm-up included.
    assert_eq!(record["verify"]["acked"], 340_000, "{:#}", record["verify"]);
    let faults = record["faults"].as_array().unwrap();
    let told: Vec<&str> = faults.iter().map(|fault| fault["target"].as_str().unwrap()).collect();
    assert_eq!(told[..2], ["broker 4, which is empty", "broker 2, whose replicas are moved away first"]);
    assert!(told[2].starts_with("controller 10") && told[2].ends_with(", the active one"), "{}", told[2]);
    assert_eq!(told[3], "controller 104");
    for fault in faults {
        let at = |name: &str| fault["at_s"][name].as_f64().unwrap_or_else(|| panic!("{name}: {fault:#}"));
        assert!(at("took_effect") <= at("heal_began") && at("heal_began") <= at("healed"), "{fault:#}");
        assert_eq!((&fault["error"], &fault["heal_error"]), (&Value::Null, &Value::Null), "{fault:#}");
    }
    let latest = out.path().join("latest");
    let journal = std::fs::read_to_string(latest.join("undo.journal")).unwrap();
    assert_eq!(journal.matches(r#""entry":"begin_operation""#).count(), 4, "{journal}");
    assert_eq!(open_entries(&journal), BTreeMap::new());
    // What the watcher, who injects nothing, has seen: broker 4 had replicas of the topic, and while it had, broker 2 had none.
    let cluster = std::fs::read_to_string(latest.join("cluster.ndjson")).unwrap();
    let replicas = |line: &Value| -> Option<Vec<u64>> {
        let replicas = line["change"]["state"]["replicas"].as_array()?;
        Some(replicas.iter().filter_map(Value::as_u64).collect())
    };
    let seen: Vec<Vec<u64>> = cluster
        .lines()
        .filter_map(|line| replicas(&serde_json::from_str(line).unwrap()))
        .map(|mut ids| {
            ids.sort_unstable();
            ids
        })
        .collect();
    for placed in [vec![1, 2, 3], vec![1, 3, 4]] {
        assert!(seen.contains(&placed), "{placed:?}: {seen:?}");
    }
}

#[test]
fn what_operators_do_under_load_costs_no_record() {
    let out = tempfile::tempdir().unwrap();
    let record = flawless("operations", out.path());
    // 34 s at 10,000 per second, warm-up included.
    assert_eq!(record["verify"]["acked"], 340_000, "{:#}", record["verify"]);
    assert_eq!(record["verify"]["checked"], record["verify"]["acked"]);
    // What the brokers themselves told the clients while their quota was low.
    assert!(record["throttle_ms_max"].as_u64() > Some(0), "{}", record["throttle_ms_max"]);

    let faults = record["faults"].as_array().unwrap();
    let told_of: Vec<(&str, &str)> = faults
        .iter()
        .map(|fault| (fault["action"].as_str().unwrap(), fault["target"].as_str().unwrap()))
        .collect();
    let expected = [
        ("quota.change", "client-id <default>, producer_byte_rate=20000"),
        ("config.change", "topic orders, compression.type=zstd, segment.bytes=1048576"),
        ("leader.imbalance", "topic orders, all led by broker 2"),
        ("election.preferred", "topic orders"),
        ("partition.reassign", "topic audit, to brokers 1, 2 at 20000000 bytes/s at most"),
        ("topic.add-partitions", "topic audit, to 12 partitions for good"),
    ];
    assert_eq!(told_of, expected);
    for fault in faults {
        let at = |name: &str| fault["at_s"][name].as_f64().unwrap_or_else(|| panic!("{name}: {fault:#}"));
        assert!(at("injected") <= at("took_effect") && at("took_effect") <= at("heal_began"), "{fault:#}");
        assert!(at("heal_began") <= at("healed"), "{fault:#}");
        assert_eq!(fault["error"], Value::Null, "{fault:#}");
    }
    let latest = out.path().join("latest");
    let journal = std::fs::read_to_string(latest.join("undo.journal")).unwrap();
    assert_eq!(
        journal.matches(r#""entry":"begin_operation""#).count(),
        4,
        "those that can be undone: {journal}"
    );
    assert_eq!(open_entries(&journal), BTreeMap::new());
    witnessed(&std::fs::read_to_string(latest.join("cluster.ndjson")).unwrap());
    let html = std::fs::read_to_string(latest.join("report.html")).unwrap();
    assert!(html.contains("leader.imbalance") && html.contains("topic orders, all led by broker 2"));
}

/// What the watcher, who injects nothing, has seen.
fn witnessed(cluster: &str) {
    let mut led_by_2 = BTreeSet::new();
    let mut placements: BTreeMap<u64, Vec<Vec<u64>>> = BTreeMap::new();
    for line in cluster.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let (at, state) = (&line["change"]["at"], &line["change"]["state"]);
        let Some(partition) = at["partition"].as_u64() else { continue };
        let replicas: Vec<u64> =
            state["replicas"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
        if at["topic"] == "audit" {
            placements.entry(partition).or_default().push(replicas);
        } else if state["leader"] == 2 && replicas[0] == 2 {
            led_by_2.insert(partition);
        }
    }
    assert_eq!(led_by_2, (0..12).collect(), "broker 2 led them all, and was preferred");
    assert_eq!(placements.len(), 12, "the topic has grown");
    let on_3 = |replicas: &Vec<u64>| replicas.contains(&3);
    for (partition, seen) in placements.iter().take(6) {
        assert_eq!(seen.first(), seen.last(), "partition {partition} is where it was");
        assert!(!seen.iter().all(on_3), "partition {partition} was moved: {seen:?}");
    }
    assert!(placements.values().take(6).any(|seen| seen.last().is_some_and(on_3)), "{placements:?}");
}

const KILLED: &str = "version: 1\nname: killed\nseed: 1\n\
    cluster: { local: { brokers: 1, jvm: quick } }\n\
    topics: [{ name: orders, partitions: 3, config: { retention.ms: 7200000 } }]\n\
    workload: { payload: { size: 100B }, producers: { count: 1 } }\n\
    load: { shape: constant, rate: 500/s, warmup: 1s, duration: 300s }\n\
    faults:\n\
    - { name: shorter, at: 0s, action: config.change, args: { topic: orders, entries: { retention.ms: 3600000, max.message.bytes: 500000 } } }\n\
    - { name: slower, at: 0s, action: quota.change, args: { user: alice, consumer_byte_rate: 1MB } }\n";

/// A run that was started and goes on.
struct Running {
    child: Child,
    latest: PathBuf,
}

impl Running {
    /// Starts `gauntlet run` and waits until so many of its faults act.
    fn until_acting(scenario: &str, faults: usize, dir: &Path) -> Self {
        let (file, out) = (dir.join("killed.yaml"), dir.join("out"));
        std::fs::write(&file, scenario).unwrap();
        let child = Command::new(GAUNTLET)
            .arg("run")
            .arg(&file)
            .args(["--keep-data", "--out"])
            .arg(&out)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut run = Self { child, latest: out.join("latest") };
        wait_for("the faults act", LIMIT, || {
            assert_eq!(run.child.try_wait().unwrap(), None, "the run ended: {}", run.read("run.json"));
            let records = run.read("faults.ndjson");
            let acts =
                |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|f| f["took_effect_ns"].is_u64());
            records.lines().filter(|line| acts(line)).count() == faults
        });
        run
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.latest.join(file)).unwrap_or_default()
    }

    /// A connection to broker 1.
    fn broker(&self) -> Connection {
        let properties = self.read("cluster/broker-1/server.properties");
        let addr = properties.lines().find_map(|line| line.strip_prefix("advertised.listeners=PLAINTEXT://"));
        let addr = addr.unwrap_or_else(|| panic!("{properties}")).split(',').next().unwrap().to_owned();
        Connection::connect(&addr, &ConnectOptions::default()).unwrap()
    }

    /// Kills the run, and only that; everything is undone in time, by its supervisor, which says so of `faults` and ends. Whoever looks
    /// again finds nothing to do.
    fn kill(mut self, faults: &[&str]) -> PathBuf {
        assert_eq!(open_entries(&self.read("undo.journal")).len(), faults.len());
        let supervisor: ProcessIdentity =
            serde_json::from_str(&self.read("cluster/supervisor.identity.json")).unwrap();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let killed = Instant::now();
        wait_for("everything is undone", LIMIT, || open_entries(&self.read("undo.journal")).is_empty());
        assert!(
            killed.elapsed() < UNDONE_WITHIN,
            "after {:?}: {}",
            killed.elapsed(),
            self.read("logs/supervisor.log")
        );
        wait_for("the supervisor is gone", LIMIT, || !supervisor.is_alive());
        let log = self.read("logs/supervisor.log");
        for fault in faults {
            assert!(log.contains(&format!("healing: fault {fault} is undone")), "{log}");
        }
        let again = Command::new(GAUNTLET).args(["faults", "undo"]).arg(&self.latest).output().unwrap();
        assert!(text(&again).contains("nothing is left of its faults"), "{}", text(&again));
        assert_eq!(again.status.code(), Some(0));
        self.latest
    }
}

#[test]
fn a_killed_run_is_undone_by_its_supervisor() {
    let dir = tempfile::tempdir().unwrap();
    let run = Running::until_acting(KILLED, 2, dir.path());
    // They do: the broker says so itself.
    let set = run.broker().config_set(&ConfigResource::Topic("orders".to_owned())).unwrap();
    assert_eq!(set["retention.ms"].as_deref(), Some("3600000"));
    assert_eq!(set["max.message.bytes"].as_deref(), Some("500000"));
    let latest = run.kill(&["shorter", "slower"]);
    // What a broker would start with on the data that is kept: the cluster's own metadata, read by Kafka's own tool.
    let changes = metadata_changes(&latest.join("cluster/broker-1/data"));
    let values = |name: &str| -> Vec<Option<&str>> {
        changes.iter().filter(|(of, _)| of == name).map(|(_, value)| value.as_deref()).collect()
    };
    assert_eq!(values("retention.ms"), [Some("7200000"), Some("3600000"), Some("7200000")]);
    assert_eq!(values("max.message.bytes"), [Some("500000"), None]);
    assert_eq!(values("consumer_byte_rate"), [Some("1000000.0"), None]);
}

/// Nothing is checked, as the records of a topic that is deleted are gone.
fn deleted_under_load(brokers: u16, duration: &str, faults: &str) -> String {
    format!(
        "version: 1\nname: deleted\nseed: 1\nverify: off\n\
         cluster: {{ local: {{ brokers: {brokers}, jvm: quick }} }}\n\
         topics: [{{ name: orders, partitions: 3, replication_factor: {brokers}, config: {{ retention.ms: 7200000 }} }}]\n\
         workload: {{ payload: {{ size: 100B }}, producers: [{{ topic: orders }}], consumers: [{{ topic: orders }}] }}\n\
         load: {{ shape: constant, rate: 500/s, warmup: 1s, duration: {duration} }}\n\
         faults:\n{faults}"
    )
}

/// One broker leads all and gives that back, so that leader epochs are past 0 when the topic is deleted: those of the next topic begin
/// anew. Clients that compare the two never find a leader again.
#[test]
#[ignore = "over the time budget of ci/test; ci/faults runs it"]
fn a_topic_is_deleted_under_load_and_clients_go_on_in_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let (file, out) = (dir.path().join("deleted.yaml"), dir.path().join("out"));
    // Not from the start on: what is as before can only be told if there was a before.
    let faults = "- { name: epochs, at: 3s, for: 1s, action: leader.imbalance, args: { topic: orders, leader: 2 } }\n\
                  - { name: deleted, at: 7s, for: 2s, action: topic.delete-recreate, args: { topic: orders } }\n";
    std::fs::write(&file, deleted_under_load(2, "26s", faults)).unwrap();
    let output = Command::new(GAUNTLET).arg("run").arg(&file).arg("--out").arg(&out).output().unwrap();
    let told = text(&output);
    let record = record(&out).unwrap_or_else(|| panic!("{told}"));
    assert_eq!(record["verdict"], "PASS", "{told}\n{:#}", record["reasons"]);
    assert!(told.contains("NOT VERIFIED"), "{told}");
    let deleted = &record["faults"][1];
    assert_eq!(deleted["target"], "topic orders, and all that is in it, for good", "{deleted:#}");
    for step in ["injected", "took_effect", "heal_began", "healed"] {
        assert!(deleted["at_s"][step].is_f64(), "{step}: {deleted:#}");
    }
    // What the watcher, who injects nothing, has seen: a later leader epoch, and then the first one again.
    let cluster = std::fs::read_to_string(out.join("latest/cluster.ndjson")).unwrap();
    let lines = cluster.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut epochs: BTreeMap<u64, Vec<i64>> = BTreeMap::new();
    for line in lines {
        let (at, state) = (&line["change"]["at"], &line["change"]["state"]);
        if let (Some(partition), Some(epoch)) = (at["partition"].as_u64(), state["leader_epoch"].as_i64()) {
            epochs.entry(partition).or_default().push(epoch);
        }
    }
    assert_eq!(epochs.len(), 3, "{epochs:?}");
    assert!(epochs.values().any(|seen| seen.iter().max() > Some(&0)), "none changed its leader: {epochs:?}");
    assert!(epochs.values().all(|seen| seen.last() == Some(&0)), "{epochs:?}");
}

#[test]
fn a_topic_is_created_again_when_the_run_dies_while_it_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let faults = "- { name: deleted, at: 0s, action: topic.delete-recreate, args: { topic: orders } }\n";
    let run = Running::until_acting(&deleted_under_load(1, "300s", faults), 1, dir.path());
    let described = run.broker().describe_topic("orders").unwrap();
    assert_eq!(described.error, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let latest = run.kill(&["deleted"]);
    // Set when the run created it, and when the supervisor did.
    let changes = metadata_changes(&latest.join("cluster/broker-1/data"));
    let retention = changes.iter().filter(|(name, _)| name == "retention.ms");
    let retention: Vec<Option<&str>> = retention.map(|(_, value)| value.as_deref()).collect();
    assert_eq!(retention, [Some("7200000"), Some("7200000")]);
}

/// Every change of the configuration of topics, and of quotas, in the metadata log below `data`, in order: name, and value or none.
fn metadata_changes(data: &Path) -> Vec<(String, Option<String>)> {
    let home = KafkaHome::resolve(&KafkaSource::default(), &cache_dir().unwrap()).unwrap();
    let java = Java::find(home.version.java_min()).unwrap();
    let log = data.join("__cluster_metadata-0/00000000000000000000.log");
    let output = Command::new(java.program)
        .args([
            "-cp",
            &home.class_path(),
            "org.apache.kafka.tools.DumpLogSegments",
            "--cluster-metadata-decoder",
            "--files",
        ])
        .arg(log)
        .output()
        .unwrap();
    let told = text(&output);
    let records = told.lines().filter_map(|line| line.split_once("payload: "));
    let records = records.filter_map(|(_, record)| serde_json::from_str::<Value>(record.trim()).ok());
    let changes: Vec<_> = records
        .filter_map(|record| {
            let data = &record["data"];
            let value = |value: &Value| match value {
                Value::Null => None,
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            };
            match record["type"].as_str()? {
                "CONFIG_RECORD" => Some((data["name"].as_str()?.to_owned(), value(&data["value"]))),
                "CLIENT_QUOTA_RECORD" => {
                    let removed = data["remove"].as_bool().unwrap_or(false);
                    let value = value(&data["value"]).filter(|_| !removed);
                    Some((data["key"].as_str()?.to_owned(), value))
                }
                _ => None,
            }
        })
        .collect();
    assert!(!changes.is_empty(), "{told}");
    changes
}
