//! Whole runs of the `gauntlet` program against real brokers: verdicts, exit codes, and what is left behind.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, wherever it does")]

#[path = "support/brokers.rs"]
mod brokers;
#[path = "support/program.rs"]
mod program;
#[path = "support/quota.rs"]
mod quota;
#[path = "support/wait.rs"]
mod wait;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use brokers::{alone, quick, shared};
use gauntlet_chaos::LocalCluster;
use gauntlet_wire::{ConnectOptions, Connection};
use program::{GAUNTLET, text};
use quota::set_quota;
use serde_json::Value;
use tempfile::TempDir;
use wait::wait_for;

/// A scenario file and a place for its runs.
struct Case {
    dir: TempDir,
}

impl Case {
    fn new(yaml: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("case.yaml"), yaml).unwrap();
        Case { dir }
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(GAUNTLET);
        command
            .arg(verb)
            .arg(self.dir.path().join("case.yaml"))
            .arg("--out")
            .arg(self.dir.path().join("out"));
        command
    }

    fn run(&self) -> (Output, Value) {
        let output = self.command("run").output().unwrap();
        let record = self.record();
        (output, record)
    }

    fn start(&self) -> Child {
        self.command("run").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn latest(&self) -> PathBuf {
        self.dir.path().join("out/latest")
    }

    fn record(&self) -> Value {
        let path = self.latest().join("run.json");
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        serde_json::from_slice(&bytes).unwrap()
    }

    /// Waits until a condition over the interval lines holds.
    fn wait_for_intervals(&self, what: &str, holds: impl Fn(&[Value]) -> bool) {
        wait_for(what, Duration::from_secs(90), || {
            let text = std::fs::read_to_string(self.latest().join("intervals.ndjson")).unwrap_or_default();
            let lines: Vec<Value> = text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
            holds(&lines)
        });
    }
}

fn assert_verdict(output: &Output, record: &Value, verdict: &str, code: i32) {
    assert_eq!(record["verdict"], verdict, "{}\n{:#}", text(output), record["reasons"]);
    assert_eq!(output.status.code(), Some(code), "{}", text(output));
    assert_eq!(record["exit_code"], code);
}

/// The reports of the newest run. The page is whole, the other one is parsed.
fn reports(case: &Case) -> (String, quick_junit::Report) {
    let html = std::fs::read_to_string(case.latest().join("report.html")).unwrap();
    assert!(html.starts_with("<!DOCTYPE html>") && html.trim_end().ends_with("</html>"), "{html}");
    let xml = std::fs::read_to_string(case.latest().join("junit.xml")).unwrap();
    (html, quick_junit::Report::deserialize_from_str(&xml).unwrap())
}

/// Checks the newest run again.
fn recheck(case: &Case) -> Output {
    Command::new(GAUNTLET).arg("recheck").arg(case.latest()).output().unwrap()
}

/// Failures and errors together.
fn red(report: &quick_junit::Report) -> usize {
    report.failures + report.errors
}

const FAST: &str =
    "{ broker.session.timeout.ms: 3000, broker.heartbeat.interval.ms: 500, replica.lag.time.max.ms: 5000 }";

/// The brokers that several tests load by `bootstrap_servers`.
fn cluster() -> &'static LocalCluster {
    shared(|| quick(3))
}

fn foreign(name: &str, load: &str, rest: &str) -> Case {
    let bootstrap = cluster().bootstrap().join(",");
    Case::new(&format!(
        "version: 1\nname: {name}\ncluster: {{ bootstrap_servers: \"{bootstrap}\" }}\n\
         workload: {{ payload: {{ size: 100B }}, producers: {{ count: 1, config: {{ client.id: {name} }} }} }}\n\
         load: {load}\n{rest}"
    ))
}

#[test]
fn a_quiet_cluster_passes_and_its_topic_is_gone_afterwards() {
    let _alone = alone();
    let case = foreign(
        "quiet",
        "{ shape: constant, rate: 5k/s, warmup: 2s, duration: 6s, drain: 20s }",
        "expect: [verify.lost == 0, verify.checked > 0, cluster.under_replicated_partitions max == 0, \
         cluster.brokers_alive min == 3, cluster.leader_changes == 0]\nabort_when: [consumer.lag max > 10_000_000]\n",
    );
    let junit = case.dir.path().join("all.xml");
    let output = case.command("run").arg("--junit").arg(&junit).output().unwrap();
    let record = case.record();
    assert_verdict(&output, &record, "PASS", 0);
    assert_eq!(record["state"], "done");
    assert_eq!(record["warmup_s"], 2.0);
    assert_eq!(record["verify"]["acked"], 40_000, "8 s at 5,000 per second, warm-up included");
    assert_eq!(record["verify"]["checked"], 40_000);
    assert_eq!(record["produce"]["acked"], 30_000, "the window `all` begins after the warm-up");
    assert!(record["produce"]["latency_ms"]["p99"].as_f64().unwrap() > 0.0);
    assert_eq!(record["windows"]["all"]["produce"], record["produce"]);
    let intervals = std::fs::read_to_string(case.latest().join("intervals.ndjson")).unwrap();
    let lines = intervals.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let sent: u64 = lines.map(|line| line["second"]["sent"].as_u64().unwrap()).sum();
    assert_eq!(sent, 40_000, "each record is sent for the first time once");
    let topic = format!("producers gauntlet-quiet-{}", record["run_id"].as_str().unwrap());
    assert_eq!(record["environment"]["config"][topic]["client.id"], "quiet");

    let (html, report) = reports(&case);
    assert_eq!((report.test_suites[0].name.as_str(), red(&report)), ("quiet", 0));
    let copied = quick_junit::Report::deserialize_from_str(&std::fs::read_to_string(junit).unwrap()).unwrap();
    assert_eq!(copied, report);
    std::fs::remove_file(case.latest().join("report.html")).unwrap();
    let again = Command::new(GAUNTLET).arg("report").arg(case.latest()).output().unwrap();
    assert_eq!(again.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&again.stdout).contains("PASS"));
    assert_eq!(String::from_utf8_lossy(&again.stderr), "", "nothing was missing");
    assert_eq!(reports(&case).0, html, "the same files give the same page");
    let elsewhere = case.dir.path().join("page.html");
    let page = Command::new(GAUNTLET)
        .args(["report", "--format", "html", "--out"])
        .args([&elsewhere, &case.latest()])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&page.stdout).contains(&format!("report  {}\n", elsewhere.display())));
    assert_eq!(std::fs::read_to_string(elsewhere).unwrap(), html);
    let rechecked = recheck(&case);
    assert_eq!(rechecked.status.code(), Some(0), "{}", text(&rechecked));
    assert!(
        text(&rechecked).contains("40 000 checked in")
            && text(&rechecked).contains("the same as in run.json")
    );
    let history = case.dir.path().join("history.edn");
    let exported =
        Command::new(GAUNTLET).arg("export").arg(case.latest()).arg("--out").arg(&history).output().unwrap();
    assert_eq!(exported.status.code(), Some(0), "{}", text(&exported));
    assert!(text(&exported).contains("40 000 records sent, 40 000 read\n"), "{}", text(&exported));
    let history = std::fs::read_to_string(history).unwrap();
    let polled = history.lines().filter(|line| line.contains(":type :ok") && line.contains("[[:poll {"));
    // A poll of n records has n pairs of offset and value, and as many spaces between these.
    let polled: usize = polled.map(|line| line.split("{").last().unwrap().matches("] [").count() + 1).sum();
    assert_eq!(polled, 40_000);
    let two_in_one =
        Command::new(GAUNTLET).args(["report", "--out", "x"]).arg(case.latest()).output().unwrap();
    assert_eq!(two_in_one.status.code(), Some(2));
    let mut admin = Connection::connect(&cluster().bootstrap()[0], &ConnectOptions::default()).unwrap();
    wait_for("the topic is deleted", Duration::from_secs(20), || {
        !admin.metadata(None).unwrap().topics.iter().any(|t| t.name.starts_with("gauntlet-quiet"))
    });
}

#[test]
fn a_broker_that_is_limited_by_a_quota_fails_and_is_the_one_to_blame() {
    let _alone = alone();
    set_quota(&cluster().bootstrap()[0], "limited-producer-0", 100_000.0);
    let case = foreign(
        "limited",
        // When the warm-up ends, every record is seconds late because of the quota, so that what a busy host adds is less
        // than a tenth of it.
        "{ shape: constant, rate: 6k/s, warmup: 10s, duration: 6s, drain: 120s }",
        "expect: [load.achieved_ratio >= 0.99, { that: produce.throttle_time == 0ms, severity: info }]\n",
    );
    let (output, record) = case.run();
    assert_verdict(&output, &record, "FAIL", 99);
    assert_eq!(record["expect"][1]["ok"], false, "{:#}", record["expect"][1]);
    assert!(record["throttle_ms_max"].as_u64().unwrap() > 0, "the broker said that it throttles");
    let slip = &record["load"]["slip"];
    assert!(slip["broker"].as_f64() > slip["gauntlet"].as_f64(), "{slip}");
    assert!(slip["broker"].as_f64() > slip["host"].as_f64(), "{slip}");
}

/// The same with `overflow: drop`: nothing waits for longer than the buffer lasts, and what is missing is counted.
#[test]
fn what_a_limited_broker_has_no_room_for_is_dropped_and_counted() {
    let _alone = alone();
    set_quota(&cluster().bootstrap()[0], "dropping-producer-0", 100_000.0);
    let bootstrap = cluster().bootstrap().join(",");
    let case = Case::new(&format!(
        "version: 1\nname: dropping\ncluster: {{ bootstrap_servers: \"{bootstrap}\" }}\n\
         workload: {{ payload: {{ size: 100B, random_fraction: 1.0 }}, producers: {{ count: 1, \
         config: {{ client.id: dropping, buffer.memory: 65536, batch.size: 4096 }} }} }}\n\
         load: {{ shape: constant, rate: 6k/s, warmup: 2s, duration: 5s, drain: 30s, overflow: drop }}\n\
         expect: [load.dropped == 0]\n"
    ));
    let (output, record) = case.run();
    assert_verdict(&output, &record, "FAIL", 99);
    assert_eq!(record["expect"][0]["ok"], false, "{:#}", record["expect"][0]);
    let (acked, dropped) = (&record["produce"]["acked"], &record["produce"]["dropped"]);
    let (acked, dropped) = (acked.as_u64().unwrap(), dropped.as_u64().unwrap());
    assert_eq!(
        acked + dropped,
        30_000,
        "every record that was due was sent or dropped: {:#}",
        record["produce"]
    );
    assert!(dropped > 15_000, "six times as much as the quota: {dropped}");
    assert_eq!(record["verify"]["lost"], 0, "a record that was never sent is not lost");
    let (page, _) = reports(&case);
    assert!(page.contains("dropped: no room when due"), "{page}");
}

#[test]
fn a_sender_that_sleeps_proves_nothing_about_the_broker() {
    let _alone = alone();
    let case = foreign(
        "stumble",
        "{ shape: constant, rate: 5k/s, warmup: 3s, duration: 10s, drain: 20s }",
        "expect: [produce.latency max < 1500ms]\n",
    );
    let output = case.command("run").env("GAUNTLET_TEST_STUMBLE", "25000,2500").output().unwrap();
    let record = case.record();
    assert_verdict(&output, &record, "INCONCLUSIVE", 5);
    assert!(record["load"]["slip"]["gauntlet"].as_f64().unwrap() > 2_000.0, "{:#}", record["load"]);
}

#[test]
fn records_that_a_sleeping_sender_gave_up_are_not_the_brokers() {
    let _alone = alone();
    let case = foreign(
        "gave-up",
        "{ shape: constant, rate: 5k/s, warmup: 4s, duration: 4s, drain: 1s }",
        "expect: [produce.failed == 0, produce.error_rate < 1%]\n",
    );
    // It sleeps from the fourth second, when new partitions are no longer slow, until load and drain are over.
    let output = case.command("run").env("GAUNTLET_TEST_STUMBLE", "15000,9000").output().unwrap();
    let record = case.record();
    assert_verdict(&output, &record, "INCONCLUSIVE", 5);
    assert!(record["produce"]["failed"].as_u64().unwrap() > 1_000, "{:#}", record["produce"]);
    // Not all: partitions that the brokers gave no room for when it fell asleep count as theirs.
    assert!(record["load"]["ours_ratio"].as_f64().unwrap() > 0.3, "{:#}", record["load"]);
}

#[test]
fn a_gauntlet_that_is_stopped_proves_nothing_about_the_broker() {
    let _alone = alone();
    let case = foreign(
        "stopped",
        "{ shape: constant, rate: 5k/s, warmup: 2s, duration: 12s, drain: 20s }",
        "expect: [produce.latency max < 1500ms]\n",
    );
    let mut child = case.start();
    case.wait_for_intervals("load after warm-up", |lines| {
        lines
            .iter()
            .any(|l| l["second"]["t_s"].as_f64() > Some(2.0) && l["second"]["acked"].as_u64() > Some(0))
    });
    let pid = child.id() as i32;
    // SAFETY: the child is ours and has not been waited for, so its pid is still its own.
    unsafe { libc::kill(pid, libc::SIGSTOP) };
    // The length of the stop is the fault that is planted, not synchronisation.
    std::thread::sleep(Duration::from_secs(3));
    // SAFETY: as above.
    unsafe { libc::kill(pid, libc::SIGCONT) };
    assert_eq!(child.wait().unwrap().code(), Some(5), "{:#}", case.record()["reasons"]);
    let record = case.record();
    assert_eq!(record["verdict"], "INCONCLUSIVE");
    let slip = |by: &str| record["load"]["slip"][by].as_f64().unwrap();
    // Stopped while it waits, it woke late: the host's. Stopped in the middle of a turn, that took long: as if it had slept there.
    assert!(slip("host") + slip("gauntlet") > 2_000.0 && slip("broker") < 1_500.0, "{:#}", record["load"]);
}

#[test]
fn a_broken_expectation_fails_with_its_value() {
    let _alone = alone();
    let case = foreign(
        "broken",
        "{ shape: constant, rate: 2k/s, warmup: 1s, duration: 4s, drain: 20s }",
        // A count, so that a busy host can't make it unknown.
        "expect: [verify.checked > 1M, { that: verify.checked > 1M, severity: warn }]\nverify: { keep_history: on-failure }\n",
    );
    let (output, record) = case.run();
    assert_verdict(&output, &record, "FAIL", 99);
    let broken = &record["expect"][0];
    assert_eq!((&broken["ok"], broken["rule"].as_str()), (&Value::Bool(false), Some("verify.checked > 1M")));
    assert_eq!(broken["observed"], 10_000.0);
    let throughput = record["produce"]["throughput"].as_f64().unwrap();
    assert!((1_000.0..3_000.0).contains(&throughput), "{throughput}");
    let rechecked = recheck(&case);
    assert_eq!(rechecked.status.code(), Some(0), "the check itself found nothing: {}", text(&rechecked));
}

#[test]
fn acks_0_has_no_latency_and_loss_is_counted_against_sent() {
    let _alone = alone();
    let case = foreign("fire", "{ shape: constant, rate: 5k/s, warmup: 1s, duration: 5s, drain: 20s }", "");
    let yaml = std::fs::read_to_string(case.dir.path().join("case.yaml")).unwrap();
    std::fs::write(
        case.dir.path().join("case.yaml"),
        yaml.replace("client.id: fire", "acks: 0, enable.idempotence: false"),
    )
    .unwrap();
    let (output, record) = case.run();
    assert_verdict(&output, &record, "PASS", 0);
    assert_eq!(record["produce"]["unacknowledged"], 25_000);
    assert_eq!(record["produce"]["latency_ms"]["p99"], Value::Null);
    assert_eq!(record["verify"]["checked"], 30_000);
    assert_eq!(record["verify"]["acked"], 0);
}

#[test]
fn unlimited_sends_exactly_so_many_messages_and_a_topic_that_nobody_read_is_read_in_the_end() {
    let _alone = alone();
    let load = "{ shape: unlimited, messages: 200_000, warmup: 0s, drain: 30s }";
    let case = foreign("flat", load, "verify: { keep_history: on-failure }\n");
    let path = case.dir.path().join("case.yaml");
    let yaml = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, yaml.replace("workload: {", "workload: { consumers: [],")).unwrap();
    let (output, record) = case.run();
    assert_verdict(&output, &record, "PASS", 0);
    assert_eq!(record["verify"]["acked"], 200_000);
    assert_eq!(record["verify"]["checked"], 200_000);
    assert_eq!(record["load"]["target_rate"], Value::Null);
    let rechecked = recheck(&case);
    assert_eq!(rechecked.status.code(), Some(2), "{}", text(&rechecked));
    assert!(text(&rechecked).contains("has no history: `verify.keep_history`"), "{}", text(&rechecked));
}

fn local(name: &str, faults: &str, load: &str, expect: &str) -> Case {
    Case::new(&format!(
        "version: 1\nname: {name}\ncluster: {{ local: {{ jvm: quick, config: {FAST} }} }}\n\
         topics: [{{ name: orders, partitions: 6, config: {{ min.insync.replicas: 2 }} }}]\n\
         workload: {{ payload: {{ size: 100B }} }}\nload: {load}\nfaults: {faults}\nexpect: {expect}\n"
    ))
}

#[test]
fn killing_the_controller_and_pausing_another_at_once_loses_nothing() {
    let _alone = alone();
    let case = Case::new(&format!(
        "version: 1\nname: two-at-once\n\
         cluster: {{ local: {{ jvm: quick, controllers: 1, config: {FAST} }} }}\n\
         topics: [{{ name: orders, partitions: 6, config: {{ min.insync.replicas: 1 }} }}]\n\
         workload: {{ payload: {{ size: 100B }} }}\n\
         load: {{ shape: constant, rate: 10k/s, warmup: 4s, duration: 25s, drain: 60s }}\n\
         faults:\n\
         \x20 - {{ name: kill, at: 5s, action: broker.kill, target: {{ id: 1 }}, recover: {{ action: broker.start, after: 5s }} }}\n\
         \x20 - {{ name: freeze, at: 5s, action: broker.pause, target: {{ id: 2 }}, for: 5s }}\n\
         expect: [verify.lost == 0, verify.duplicates == 0, verify.reordered == 0, verify.read_again > 0, \
         verify.read_disagreements == 0, produce.retries > 0]\n"
    ));
    let (output, record) = case.run();
    assert_verdict(&output, &record, "PASS", 0);
    for fault in record["faults"].as_array().unwrap() {
        assert_eq!(fault["took_effect"], true, "{fault:#}");
        assert!(fault["recovery_s"]["isr_full"].as_f64().is_some(), "{fault:#}");
        assert!(fault["unavailable_s"]["longest"].as_f64().unwrap() > 1.0, "{fault:#}");
    }
    assert_eq!(std::fs::read_to_string(case.latest().join("faults.ndjson")).unwrap().lines().count(), 2);
    let (html, report) = reports(&case);
    assert!(html.contains("freeze") && html.contains("broker.kill"), "the page names both faults");
    assert_eq!(red(&report), 0);
    let run = gauntlet::report::read(&gauntlet::rundir::RunDir::existing(&case.latest())).unwrap();
    assert_eq!(run.notes, Vec::<String>::new());
    let elected = |c: &&gauntlet_reports::run_data::ClusterChange| c.t_s > 5.0 && c.leader_epoch > 0;
    assert!(run.data.cluster.iter().any(|c| elected(&c)), "{:#?}", run.data.cluster);
    let acked: u64 = run.data.seconds.iter().map(|second| second.acked).sum();
    assert_eq!(acked, 290_000, "29 s at 10,000 per second, warm-up included");
    assert!(run.data.seconds.iter().any(|second| second.acked == 0 && second.target == Some(10_000)));
    assert!(String::from_utf8_lossy(&output.stdout).contains("  freeze, kill\n"), "who acts is on the line");
}

/// A fault that repeats is a fault of the record each time, and one name in expectations and windows.
#[test]
fn a_fault_that_happens_again_is_counted_each_time() {
    let _alone = alone();
    let case = local(
        "again",
        "[{ name: hiccup, at: 3s, every: 15s, jitter: 1s, action: broker.bounce, target: { role: broker, not: controller } }]",
        "{ shape: constant, rate: 5k/s, warmup: 2s, duration: 30s, drain: 60s }",
        "[verify.lost == 0, verify.duplicates == 0, \"recovery.first_ack{fault=hiccup} < 60s\", \
          { that: produce.failed == 0, during: \"fault:hiccup\" }, cluster.leader_changes > 0, \
          cluster.under_replicated_partitions max > 0, cluster.isr_size min == 2]",
    );
    let plan = case.command("plan").output().unwrap();
    let planned = String::from_utf8_lossy(&plan.stdout);
    assert!(planned.contains("hiccup#1: broker.bounce of") && planned.contains("hiccup#2: "), "{planned}");
    let (output, record) = case.run();
    assert_verdict(&output, &record, "PASS", 0);
    let faults = record["faults"].as_array().unwrap();
    assert_eq!(faults.len(), 2, "{faults:#?}");
    for (number, fault) in faults.iter().enumerate() {
        assert_eq!(fault["name"], format!("hiccup#{}", number + 1));
        assert_eq!((&fault["action"], &fault["took_effect"]), (&"broker.bounce".into(), &true.into()));
        let late = fault["at_s"]["planned"].as_f64().unwrap() - (3 + 15 * number) as f64;
        assert!((0.0..1.0).contains(&late), "within the jitter: {fault:#}");
    }
    let windows: Vec<&String> = record["windows"].as_object().unwrap().keys().collect();
    assert_eq!(windows, ["all", "before", "fault:hiccup", "recovery:hiccup", "steady"]);
    let undo = Command::new(GAUNTLET).args(["faults", "undo"]).arg(case.latest()).output().unwrap();
    let told = String::from_utf8_lossy(&undo.stdout);
    assert!(undo.status.success() && told.contains("nothing is left of its faults"), "{told}");
}

/// With Kafka's own time-outs, a paused broker keeps every partition from acking for nine seconds: long enough to burn any budget.
#[test]
fn a_guardrail_ends_the_load_and_heals_the_fault() {
    let _alone = alone();
    let case = Case::new(
        // What a busy host can't be blamed for: the brokers themselves say that a replica is missing.
        "version: 1\nname: guarded\n\
         cluster: { local: { jvm: quick, config: { broker.session.timeout.ms: 3000, broker.heartbeat.interval.ms: 500 } } }\n\
         topics: [{ name: orders, partitions: 6, config: { min.insync.replicas: 2 } }]\n\
         workload: { payload: { size: 100B } }\n\
         load: { shape: constant, rate: 2k/s, warmup: 2s, duration: 120s, drain: 60s }\n\
         faults: [{ name: freeze, at: 3s, action: broker.pause, target: { id: 1 }, for: 90s }]\n\
         expect: [verify.lost == 0, verify.duplicates == 0]\n\
         abort_when:\n\
         \x20 - { that: cluster.under_replicated_partitions max > 0, for: 2s }\n\
         \x20 - { that: produce.failed > 1_000_000, for: 1s }\n",
    );
    let plan = case.command("plan").output().unwrap();
    let planned = String::from_utf8_lossy(&plan.stdout);
    assert!(
        planned.contains("  abort_when cluster.under_replicated_partitions max > 0 for 2 s\n"),
        "{planned}"
    );
    let (output, record) = case.run();
    assert_verdict(&output, &record, "FAIL", 99);
    assert_eq!(record["state"], "done", "it came to its verdict");
    let judged = |rule: &str| {
        let rows = record["expect"].as_array().unwrap();
        rows.iter().find(|row| row["rule"] == rule).map(|row| row["ok"].clone())
    };
    assert_eq!(judged("abort_when cluster.under_replicated_partitions max > 0 for 2 s"), Some(false.into()));
    assert_eq!(judged("abort_when produce.failed > 1_000_000 for 1 s"), Some(true.into()));
    let at = |moment: &str| record["faults"][0]["at_s"][moment].as_f64().unwrap();
    assert!(at("heal_began") - at("took_effect") < 60.0, "long before its time: {:#}", record["faults"]);
    assert!(record["windows"]["all"]["to_s"].as_f64().unwrap() < 60.0, "{:#}", record["windows"]["all"]);
    assert_eq!((&record["verify"]["lost"], &record["verify"]["unseen"]), (&0.into(), &0.into()));
    assert!(text(&output).contains("the load ends and every fault is healed"), "{}", text(&output));
    let (html, report) = reports(&case);
    assert!(html.contains("it ended the load and every fault") && report.failures == 1);
    assert_no_broker_of(case.dir.path());
}

#[test]
fn control_c_in_the_middle_of_a_fault_heals_and_says_so() {
    let _alone = alone();
    let case = local(
        "interrupted",
        "[{ name: freeze, at: 3s, action: broker.pause, target: { role: broker, not: controller }, for: 60s }]",
        "{ shape: constant, rate: 2k/s, warmup: 2s, duration: 90s, drain: 60s }",
        "[verify.lost == 0]",
    );
    let mut child = case.start();
    wait_for("the journal names the fault", Duration::from_secs(60), || {
        std::fs::read_to_string(case.latest().join("undo.journal")).is_ok_and(|j| j.contains("freeze"))
    });
    // SAFETY: the child is ours and has not been waited for, so its pid is still its own.
    unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    assert_eq!(child.wait().unwrap().code(), Some(105), "{:#}", case.record()["reasons"]);
    let record = case.record();
    assert_eq!(record["state"], "aborted");
    assert_eq!(record["verify"]["lost"], 0);
    assert!(record["verify"]["checked"].as_u64().unwrap() > 0);
    assert!(gauntlet_chaos::journal::read_pending(&case.latest().join("undo.journal")).unwrap().is_empty());
    let (html, report) = reports(&case);
    assert!(html.contains("freeze") && red(&report) > 0);
    assert_no_broker_of(case.dir.path());
}

#[test]
fn a_gauntlet_that_is_killed_leaves_a_readable_directory_and_no_broker() {
    let _alone = alone();
    let case = local(
        "killed",
        "[{ name: freeze, at: 1s, action: broker.pause, target: { role: broker, not: controller }, for: 60s }]",
        "{ shape: constant, rate: 2k/s, warmup: 2s, duration: 90s }",
        "[]",
    );
    let mut child = case.start();
    wait_for("the fault acts", Duration::from_secs(60), || {
        let told = std::fs::read_to_string(case.latest().join("faults.ndjson")).unwrap_or_default();
        let told: Option<Value> = told.lines().next().and_then(|line| serde_json::from_str(line).ok());
        told.is_some_and(|fault| fault["took_effect_ns"].is_u64())
    });
    case.wait_for_intervals("some load", |lines| lines.len() > 4);
    child.kill().unwrap();
    child.wait().unwrap();
    let record = case.record();
    assert_eq!(record["state"], "running", "nobody was left to say more");
    let log = std::fs::read(case.latest().join("histograms.hlog")).unwrap();
    assert!(gauntlet::hlog::SlotLog::read(&log, 0).unwrap().range(0..u64::MAX).count() > 0);
    assert!(!case.latest().join("report.html").exists());
    let report = Command::new(GAUNTLET).arg("report").arg(case.latest()).output().unwrap();
    let shown = String::from_utf8_lossy(&report.stdout);
    assert_eq!(report.status.code(), Some(1), "{shown}");
    assert!(shown.contains("NO VERDICT"), "{shown}");
    let (html, report) = reports(&case);
    assert_eq!(red(&report), 1);
    assert!(html.contains("freeze"), "the page names the fault that was acting");
    let rechecked = recheck(&case);
    assert_eq!(rechecked.status.code(), Some(5), "{}", text(&rechecked));
    assert!(text(&rechecked).contains("partitions is cut off"), "{}", text(&rechecked));
    assert_no_broker_of(case.dir.path());
}

/// Waits until no process has `dir` in its command line: brokers and supervisors name their directories there.
fn assert_no_broker_of(dir: &Path) {
    let needle = dir.display().to_string();
    wait_for("every broker is gone", Duration::from_secs(30), || {
        let own = std::process::id();
        std::fs::read_dir("/proc").unwrap().flatten().all(|entry| {
            let pid: Option<u32> = entry.file_name().to_str().and_then(|n| n.parse().ok());
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            pid.is_none_or(|pid| pid == own || !String::from_utf8_lossy(&command).contains(&needle))
        })
    });
}

#[test]
fn what_cannot_be_reached_is_an_environment_error() {
    // Port 9 of loopback: nothing listens on "discard".
    let case = Case::new(
        "version: 1\nname: nobody\ncluster: { bootstrap_servers: \"127.0.0.1:9\" }\nload: { shape: constant, rate: 1k/s, duration: 5s }\n",
    );
    let (output, record) = case.run();
    assert_eq!(output.status.code(), Some(6));
    assert_eq!(record["verdict"], Value::Null);
    let reason = record["reasons"][0]["text"].as_str().unwrap();
    assert!(reason.contains("127.0.0.1:9"), "{reason}");
    let (html, report) = reports(&case);
    assert!(html.contains("127.0.0.1:9"));
    assert_eq!(report.errors, 1, "a pipeline that reads only this must not be green");
}

/// Nobody answers here, so the first signal changes nothing for a while.
#[test]
fn a_second_control_c_leaves_at_once_and_says_what_is_left() {
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let case = Case::new(&format!(
        "version: 1\nname: mute\ncluster: {{ bootstrap_servers: \"{}\" }}\n\
         load: {{ shape: constant, rate: 1k/s, duration: 5s }}\n",
        mute.local_addr().unwrap()
    ));
    let said = case.dir.path().join("stderr");
    let mut child = case
        .command("run")
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&said).unwrap())
        .spawn()
        .unwrap();
    // It is asked, so it is listening to signals.
    let (_connection, _) = mute.accept().unwrap();
    let interrupt = || {
        // SAFETY: the child is ours and has not been waited for, so its pid is still its own.
        unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    };
    let says = |text: &str| std::fs::read_to_string(&said).unwrap().contains(text);
    interrupt();
    wait_for("the first is heard", Duration::from_secs(10), || says("interrupt once more to leave at once"));
    interrupt();
    assert_eq!(child.wait().unwrap().code(), Some(105));
    let dir = std::fs::canonicalize(case.latest()).unwrap();
    assert!(says("leaving; ") && says(&dir.file_name().unwrap().to_string_lossy()));
    assert_eq!(case.record()["state"], "running");
}

#[test]
fn bad_files_and_bad_commands_have_their_own_codes() {
    let case =
        Case::new("version: 1\nname: bad\nload: { shape: constant, rate: 1k/s, duration: 5s }\nlaod: {}\n");
    let output = case.command("run").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("case.yaml:4:1"));
    assert!(!case.latest().exists(), "nothing was started");
    let usage = Command::new(GAUNTLET).arg("rnu").output().unwrap();
    assert_eq!(usage.status.code(), Some(2));
    let no_run = Command::new(GAUNTLET).arg("report").arg(case.dir.path()).output().unwrap();
    assert_eq!(no_run.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&no_run.stderr).contains("is no run directory: it has no run.json"));
    let mut codes = BTreeMap::new();
    for verb in ["--help", "--version"] {
        codes.insert(verb, Command::new(GAUNTLET).arg(verb).output().unwrap().status.code());
    }
    assert!(codes.values().all(|c| *c == Some(0)), "{codes:?}");
}

/// Everything that a load can be made of at once: what is planned is sent, read back and found whole.
#[test]
fn shapes_arrivals_keys_and_sizes() {
    let _alone = alone();
    let bootstrap = cluster().bootstrap().join(",");
    let case = Case::new(&format!(
        "version: 1\nname: mixed\ncluster: {{ bootstrap_servers: \"{bootstrap}\" }}\n\
         topics:\n  - {{ name: \"mixed-${{run.id}}\", partitions: 6 }}\n  - {{ name: \"side-${{run.id}}\", partitions: 3 }}\n\
         workload:\n  producers:\n\
         \x20   - topic: \"mixed-${{run.id}}\"\n\
         \x20     count: 2\n\
         \x20     config: {{ compression.type: zstd, batch.size: 65536 }}\n\
         \x20     key: {{ distribution: zipf, cardinality: 1000 }}\n\
         \x20     payload:\n\
         \x20       size: {{ distribution: lognormal, median: 200B, sigma: 0.5, max: 2KiB }}\n\
         \x20       target_ratio: {{ codec: zstd, ratio: 0.5 }}\n\
         \x20       headers: {{ source: test }}\n\
         \x20   - topic: \"side-${{run.id}}\"\n\
         \x20     count: 1\n\
         \x20     key: sticky\n\
         \x20     payload: {{ size: [{{ size: 64B, weight: 3 }}, {{ size: 512B, weight: 1 }}] }}\n\
         \x20     load: {{ shape: spike, start: 2s, base: 500/s, peak: 5k/s, spike_at: 1s, spike_for: 2s, duration: 4s }}\n\
         \x20 consumers: [{{ topic: \"mixed-${{run.id}}\" }}, {{ topic: \"side-${{run.id}}\" }}]\n\
         load: {{ shape: ramp, from: 2k/s, to: 10k/s, duration: 8s, arrival: poisson, warmup: 2s }}\n"
    ));
    let (output, record) = case.run();
    assert_verdict(&output, &record, "PASS", 0);
    let counts = &record["verify"];
    for finding in ["lost", "duplicates", "reordered", "corrupt", "misrouted", "phantom", "unseen"] {
        assert_eq!(counts[finding], 0, "{finding}: {counts}");
    }
    // 48,000 under the ramp, a Poisson count with a deviation of 219; 1,000 + 10,000 of the spike.
    let acked = record["produce"]["acked"].as_f64().unwrap();
    assert!((acked - 59_000.0).abs() < 1_500.0, "{acked}");
    let expected = [[0.0, 2_000.0], [2.0, 4_000.0], [2.0, 4_500.0], [3.0, 5_500.0], [3.0, 10_000.0]];
    for (point, [t_s, per_s]) in record["load_profile"]["points"].as_array().unwrap().iter().zip(expected) {
        assert_eq!((point["t_s"].as_f64(), point["per_s"].as_f64()), (Some(t_s), Some(per_s)));
    }
    let warmup_per_s = record["load_profile"]["warmup_per_s"].as_f64();
    assert_eq!(warmup_per_s, Some(6_000.0), "the mean rate of the ramp; the spike begins later");
    reports(&case);
}

/// Consumers rest before their start, and from their end on until the load ends; then they read the rest. The check misses nothing.
#[test]
fn consumers_that_start_late_and_rest_catch_up() {
    let _alone = alone();
    let other = if cfg!(feature = "rdkafka") { "rdkafka" } else { "wire" };
    let bootstrap = cluster().bootstrap().join(",");
    let case = Case::new(&format!(
        "version: 1\nname: late\ncluster: {{ bootstrap_servers: \"{bootstrap}\" }}\n\
         topics:\n  - {{ name: \"own-${{run.id}}\", partitions: 3 }}\n  - {{ name: \"other-${{run.id}}\", partitions: 3 }}\n\
         workload:\n  producers: [{{ topic: \"own-${{run.id}}\", count: 1 }}, {{ topic: \"other-${{run.id}}\", count: 1 }}]\n\
         \x20 consumers:\n    - {{ topic: \"own-${{run.id}}\", start: 3s, end: 6s }}\n\
         \x20   - {{ topic: \"other-${{run.id}}\", start: 3s, end: 6s, driver: {other} }}\n\
         load: {{ shape: constant, rate: 300/s, warmup: 1s, duration: 9s }}\n\
         expect: [verify.unseen == 0, verify.checked >= 3k]\n"
    ));
    let (output, record) = case.run();
    assert_verdict(&output, &record, "PASS", 0);
    let text = std::fs::read_to_string(case.latest().join("intervals.ndjson")).unwrap();
    let seconds: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // A second that holds a beginning or an end belongs to neither part.
    let read_in = |from_s: f64, to_s: f64| -> u64 {
        let whole = seconds.iter().map(|line| &line["second"]).filter(|second| {
            second["t_s"].as_f64().is_some_and(|end_s| end_s - 1.0 >= from_s && end_s <= to_s)
        });
        whole.map(|second| second["read"].as_u64().unwrap()).sum()
    };
    assert_eq!((read_in(-2.0, 3.0), read_in(6.0, 8.5)), (0, 0), "{text}");
    assert!(read_in(2.0, 7.0) > 1_000, "what had waited, and what came: {text}");
    let lag_max = seconds.iter().filter_map(|line| line["second"]["lag"].as_u64()).max();
    assert!(lag_max > Some(500), "it is known of those who rest, too: {text}");
}

/// A recording is sent record by record: what its first second excludes as warm-up apart, everything counts.
#[test]
fn a_recording_is_replayed() {
    let _alone = alone();
    let lines = (0..4_000).map(|i| {
        let key = if i % 4 == 0 { String::new() } else { format!("customer-{}", i % 7) };
        format!("{},{key},{}\n", 1_763_769_600.0 + f64::from(i) / 1_000.0, 100 + i % 300)
    });
    let trace = format!("time,key,size\n{}", lines.collect::<String>());
    let load = |file: &str| format!("{{ shape: replay, file: \"{file}\", warmup: 1s, drain: 20s }}");
    let topic = "topics: [{ name: \"replay-${run.id}\", partitions: 3 }]\n";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shop.csv");
    std::fs::write(&path, &trace).unwrap();
    let case = foreign("replay", &load(&path.display().to_string()), topic);
    let (output, record) = case.run();
    assert_verdict(&output, &record, "PASS", 0);
    assert_eq!(record["verify"]["checked"], 4_000);
    assert_eq!(record["warmup_s"], 1.0);
    assert_eq!(record["produce"]["acked"], 3_000, "from the end of the warm-up on");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("4 000 records as recorded, 7 keys"), "{text}");
    reports(&case);

    std::fs::write(&path, trace.replace(",100\n", ",10\n")).unwrap();
    let output =
        foreign("replay", &load(&path.display().to_string()), topic).command("run").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("shop.csv:2: a value of 10 bytes") && error.contains("case.yaml:"), "{error}");
}

/// JSON messages are checked whole, with the identity in a header; another client reads what the envelope promises.
#[test]
fn json_messages_are_checked_and_are_json() {
    let _alone = alone();
    let payload = "{ format: json, size: { distribution: uniform, min: 400B, max: 2KiB }, random_fraction: 0.5, \
                   envelope: { type: order.created, source: shop, version: 3, tenants: 20 }, headers: { origin: test } }";
    let bootstrap = cluster().bootstrap().join(",");
    let case = Case::new(&format!(
        "version: 1\nname: json\ncluster: {{ bootstrap_servers: \"{bootstrap}\" }}\n\
         topics: [{{ name: json-messages, partitions: 3, lifecycle: keep }}]\n\
         workload: {{ payload: {payload}, key: {{ distribution: uniform, cardinality: 50 }}, \
         producers: {{ count: 1, config: {{ compression.type: lz4 }} }} }}\n\
         load: {{ shape: constant, rate: 1k/s, warmup: 5s, duration: 3s, drain: 20s }}\n"
    ));
    let (output, record) = case.run();
    assert_verdict(&output, &record, "PASS", 0);
    // Each partition's share of the keys is rounded by itself.
    let checked = record["verify"]["checked"].as_u64().unwrap();
    assert!((7_990..=8_010).contains(&checked), "{checked}");
    let consumed = Command::new("kcat")
        .args([
            "-b",
            &bootstrap,
            "-C",
            "-t",
            "json-messages",
            "-o",
            "beginning",
            "-e",
            "-q",
            "-f",
            "%S %h %s\n",
        ])
        .output()
        .unwrap();
    assert!(consumed.status.success(), "{}", String::from_utf8_lossy(&consumed.stderr));
    let mut ids = BTreeMap::new();
    for line in String::from_utf8_lossy(&consumed.stdout).lines() {
        let (length, rest) = line.split_once(' ').unwrap();
        let json = &rest[rest.find(" {\"id\"").unwrap() + 1..];
        assert_eq!(length.parse::<usize>().unwrap(), json.len());
        assert!(rest.starts_with("gauntlet-identity=") && rest.contains("origin=test"), "{rest}");
        let message: Value = serde_json::from_str(json).unwrap();
        assert_eq!(message["type"], "order.created");
        assert_eq!(message["metadata"]["source"], "shop");
        *ids.entry(message["id"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    assert_eq!(ids.len() as u64, checked, "every message has an id of its own");
}

/// A closed model of one record under way: each goes alone, and nothing is sent before its answer.
#[test]
fn a_producer_that_waits_for_each_answer() {
    let _alone = alone();
    let load = "{ shape: unlimited, model: closed, slots: 1, messages: 500, warmup: 0s }";
    let case = foreign("sync", load, "topics: [{ name: \"sync-${run.id}\", partitions: 3 }]\n");
    let (output, record) = case.run();
    assert_verdict(&output, &record, "PASS", 0);
    // The last slot of a load that ends by itself is no whole one, so windows leave it out.
    assert_eq!(record["verify"]["checked"], 500);
    let text = std::fs::read_to_string(case.latest().join("intervals.ndjson")).unwrap();
    let sum = |field: &str| -> u64 {
        let line = |line: &str| serde_json::from_str::<Value>(line).unwrap()["second"][field].as_u64();
        text.lines().filter_map(line).sum()
    };
    // A batch has a header of 61 bytes: with 100 bytes of value and no company, a record costs over 161.
    let bytes_per_record = sum("uncompressed_bytes") as f64 / sum("acked") as f64;
    assert!(bytes_per_record > 161.0, "{bytes_per_record}: some records had company");
}

/// A topic that is there already, with somebody else's records in it: it is used, and left as it was.
#[test]
fn a_topic_that_exists_is_reused_and_kept() {
    let _alone = alone();
    let load = "{ shape: constant, rate: 2k/s, duration: 2s, warmup: 1s }";
    let topic =
        |lifecycle: &str| format!("topics: [{{ name: reused, partitions: 3, lifecycle: {lifecycle} }}]\n");
    for (name, lifecycle) in [("first", "keep"), ("second", "reuse"), ("third", "reuse")] {
        let case = foreign(name, load, &topic(lifecycle));
        let (output, record) = case.run();
        assert_verdict(&output, &record, "PASS", 0);
        assert_eq!(record["verify"]["checked"], 6_000, "{name}");
        assert_eq!(record["verify"]["phantom"], 0, "{name}");
    }
    let other = foreign("fourth", load, &topic("reuse").replace("partitions: 3", "partitions: 4"));
    let output = other.command("run").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(6), "{text}");
    assert!(text.contains("it has 3 partitions, the scenario says 4"), "{text}");
}
