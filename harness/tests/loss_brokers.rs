//! What acks=1 acked can be lost with its leader, what acks=all acked is not: the same run twice on real brokers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, wherever it does")]

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gauntlet_chaos::{ClusterDirs, Controllers, Jvm, Launcher, LocalCluster, LocalSpec, cache_dir};
use gauntlet_wire::{ConnectOptions, Connection};
use serde_json::Value;

const GAUNTLET: &str = env!("CARGO_BIN_EXE_gauntlet");
/// How long the followers stand still before the leader dies: less than the brokers' session, and than the lag that
/// puts a follower out of the ISR.
const FOLLOWERS_STAND_STILL: Duration = Duration::from_millis(800);

fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn start_cluster(dir: &std::path::Path) -> LocalCluster {
    let mut spec =
        LocalSpec { jvm: Jvm::Quick, controllers: Controllers::Isolated(1), ..LocalSpec::default() };
    for (name, value) in [
        ("broker.session.timeout.ms", "3000"),
        ("broker.heartbeat.interval.ms", "500"),
        ("replica.lag.time.max.ms", "5000"),
    ] {
        spec.config.insert(name.to_owned(), value.to_owned());
    }
    let dirs = ClusterDirs {
        data: dir.join("data"),
        logs: dir.join("logs"),
        cache: cache_dir().unwrap(),
        keep_data: false,
        undo_journal: None,
    };
    let launcher = Launcher { exe: PathBuf::from(GAUNTLET), args: vec!["__supervise".into()] };
    LocalCluster::start(&spec, &dirs, &launcher).unwrap()
}

/// The leader of the run's only partition, as a broker that is alive tells it.
fn leader(cluster: &LocalCluster, ask: i32) -> Option<i32> {
    let mut admin =
        Connection::connect(&cluster.broker_addresses()[&ask], &ConnectOptions::default()).ok()?;
    let topics = admin.metadata(None).ok()?.topics;
    let topic = topics.iter().find(|t| t.name.starts_with("gauntlet-loss"))?;
    topic.partitions.first()?.leader
}

/// The leader dies while both followers stand still, and they take over. It comes back later.
fn lose_the_leader(cluster: &LocalCluster) {
    let old = wait_for("a leader", Duration::from_secs(20), || leader(cluster, 1));
    let followers: Vec<i32> = (1..=3).filter(|id| *id != old).collect();
    for id in &followers {
        cluster.pause(*id).unwrap();
    }
    // The length of the pause is the fault that is planted, not synchronisation.
    std::thread::sleep(FOLLOWERS_STAND_STILL);
    cluster.kill(old).unwrap();
    for id in &followers {
        cluster.resume(*id).unwrap();
    }
    wait_for("a follower leads", Duration::from_secs(60), || {
        leader(cluster, followers[0]).filter(|now| followers.contains(now))
    });
    cluster.start_node(old).unwrap();
}

/// A run that is held to at-least-once, with these acks, on its own cluster, whose leader is lost in the middle.
fn run(acks: &str) -> (Option<i32>, Value) {
    let dir = tempfile::tempdir().unwrap();
    let cluster = start_cluster(dir.path());
    let scenario = format!(
        "version: 1\nname: loss\ncluster: {{ bootstrap_servers: \"{}\" }}\n\
         topics: [{{ name: \"gauntlet-loss-${{run.id}}\", partitions: 1, replication_factor: 3, config: {{ min.insync.replicas: 2 }} }}]\n\
         workload: {{ payload: {{ size: 100B }}, producers: {{ config: {{ acks: {acks}, enable.idempotence: false }} }} }}\n\
         load: {{ shape: constant, rate: 400/s, warmup: 1s, duration: 20s, drain: 60s }}\n\
         verify: {{ guarantee: at-least-once }}\nexpect: [verify.lost == 0]\n",
        cluster.bootstrap().join(",")
    );
    let file = dir.path().join("loss.yaml");
    std::fs::write(&file, scenario).unwrap();
    let out = dir.path().join("out");
    let mut child = Command::new(GAUNTLET)
        .arg("run")
        .arg(&file)
        .arg("--out")
        .arg(&out)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("acks", Duration::from_secs(60), || {
        let text = std::fs::read_to_string(out.join("latest/intervals.ndjson")).ok()?;
        let acked = |line: &str| serde_json::from_str::<Value>(line).ok()?["second"]["acked"].as_u64();
        text.lines().any(|line| acked(line) > Some(0)).then_some(())
    });
    lose_the_leader(&cluster);
    let code = child.wait().unwrap().code();
    let record = serde_json::from_slice(&std::fs::read(out.join("latest/run.json")).unwrap()).unwrap();
    let rechecked = Command::new(GAUNTLET).arg("recheck").arg(out.join("latest")).output().unwrap();
    let said = String::from_utf8_lossy(&rechecked.stdout);
    assert_eq!(rechecked.status.code(), code, "{said}");
    assert!(said.contains("the same as in run.json"), "{said}");
    cluster.shutdown().unwrap();
    (code, record)
}

#[test]
fn acks_1_loses_with_its_leader_and_acks_all_does_not() {
    let (code, record) = run("1");
    let lost = record["verify"]["lost"].as_u64().unwrap();
    assert!(lost > 50, "{:#}\n{:#}", record["verify"], record["reasons"]);
    assert_eq!((code, record["verdict"].as_str()), (Some(100), Some("VIOLATION")), "{:#}", record["reasons"]);
    let finding = &record["findings"][0];
    assert_eq!(finding["judgement"], "violation");
    assert_eq!(finding["count"], lost);

    let (code, record) = run("all");
    assert_eq!(record["verify"]["lost"], 0, "{:#}", record["findings"]);
    assert_eq!(record["verify"]["unseen"], 0);
    assert_eq!(record["verify"]["acked"], 8_400, "21 s at 400 per second");
    assert_eq!((code, record["verdict"].as_str()), (Some(0), Some("PASS")), "{:#}", record["reasons"]);
}
