//! Whole searches of the `gauntlet` program against a real broker whose ceiling is known: a quota. Found from below and from above,
//! not found at all, gauntlet in the way, and interrupted.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, wherever it does")]

#[path = "support/brokers.rs"]
mod brokers;
#[path = "support/program.rs"]
mod program;
#[path = "support/quota.rs"]
mod quota;
#[path = "support/wait.rs"]
mod wait;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use brokers::{alone, quick};
use gauntlet_reports::Verdict;
use gauntlet_reports::record::RunState;
use gauntlet_reports::search::{Hold, Limit, SearchRecord, Stage};
use gauntlet_wire::{ConnectOptions, Connection};
use program::{GAUNTLET, text};
use quota::set_quota;
use tempfile::TempDir;
use wait::wait_for;

/// Length of a window of the broker's quotas. It looks at two of them, the current one included, and measures over one at least:
/// so much may be sent at once before a producer is held back (ClientQuotaManager, `quota.window.num` and
/// `quota.window.size.seconds`).
const QUOTA_WINDOW: Duration = Duration::from_secs(1);

/// A broker that all searches load by `bootstrap_servers`.
fn shared() -> String {
    let cluster = brokers::shared(|| {
        let mut spec = quick(1);
        spec.config.insert("quota.window.num".to_owned(), "2".to_owned());
        spec
    });
    cluster.bootstrap().join(",")
}

/// A search's file and a place for its directory.
struct Case {
    dir: TempDir,
}

impl Case {
    /// One producer of 1 KiB records with this client id, whatever else the search is.
    fn new(name: &str, search: &str, rest: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let yaml = format!(
            "version: 1\nname: {name}\nseed: 7\ncluster: {{ bootstrap_servers: \"{}\" }}\n\
             topics: [{{ name: searched, partitions: 1, replication_factor: 1 }}]\n\
             workload: {{ payload: {{ size: 1KiB }}, producers: {{ count: 1, config: {{ client.id: {name} }} }} }}\n\
             load:\n  shape: max-search\n  warmup: 1s\n  drain: 1s\n  search: {{ {search}, cooldown: 0s, warmup: 0s }}\n\
             verify: {{ final_read: {{ timeout: 5s }} }}\n{rest}",
            shared()
        );
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

    fn run(&self) -> (Output, SearchRecord) {
        let output = self.command("run").output().unwrap();
        let record = self.record().unwrap_or_else(|| panic!("{}", text(&output)));
        (output, record)
    }

    fn search_dir(&self) -> PathBuf {
        std::fs::canonicalize(self.dir.path().join("out/latest")).unwrap()
    }

    fn record(&self) -> Option<SearchRecord> {
        let bytes = std::fs::read(self.dir.path().join("out/latest/search.json")).ok()?;
        serde_json::from_slice(&bytes).ok()
    }
}

/// The rate that a quota lets through in a trial of this length: what goes through at once counts, too.
fn ceiling(record: &SearchRecord, quota_bytes_per_s: f64, loaded_s: f64) -> (f64, f64) {
    let bytes = record.confirmation().unwrap().stored_bytes_per_record.unwrap();
    assert!((1_024.0..1_300.0).contains(&bytes), "a record of 1 KiB and its share of a batch: {bytes}");
    let lasting = quota_bytes_per_s / bytes;
    (lasting, lasting * (1.0 + QUOTA_WINDOW.as_secs_f64() / loaded_s))
}

#[test]
fn a_ceiling_that_is_known_is_found_and_not_passed() {
    let _alone = alone();
    const QUOTA: f64 = 2_000_000.0;
    set_quota(&shared(), "quota-search-producer-0", QUOTA);
    let case = Case::new(
        "quota-search",
        "low: 800/s, high: 100k/s, resolution: 20%, trial: 3s, confirm: 6s, target: 1k/s, \
         sustainable: [produce.latency p99 < 2s, load.achieved_ratio >= 0.95]",
        "expect: [search.sustainable_rate >= 1k/s, verify.lost == 0, verify.checked > 0]\n",
    );
    let plan = case.command("plan").output().unwrap();
    assert!(text(&plan).contains("a rate holds if"), "{}", text(&plan));
    let (output, record) = case.run();
    // Whoever was the limit above it: so much the broker takes, and that is what was asked for.
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!((record.state, record.verdict), (RunState::Done, Some(Verdict::Pass)));
    let rate = record.rate_per_s().unwrap();
    let (lasting, with_burst) = ceiling(&record, QUOTA, 1.0 + 6.0);
    assert!(rate <= with_burst * 1.02, "{rate} is over the quota, {lasting}: {}", text(&output));
    assert!(rate >= lasting * 0.7, "{rate} is far below the quota, {lasting}: {}", text(&output));
    let highest = record.trials.iter().map(|trial| trial.rate_per_s).max().unwrap();
    assert!(
        (highest as f64) < 4.0 * lasting,
        "a search from below overloads by twice at the most: {highest}"
    );

    let confirmed = record.confirmation().unwrap();
    assert_eq!((confirmed.stage, confirmed.hold), (Stage::Confirm, Some(Hold::Held)));
    let not_held = record.finding.as_ref().unwrap().not_held_per_s.unwrap() as f64;
    assert!(not_held > rate && record.trials.iter().any(|t| t.rate_per_s as f64 == not_held));
    for trial in &record.trials {
        let dir = case.search_dir().join(&trial.dir);
        for file in ["run.json", "report.html", "scenario.resolved.yaml"] {
            assert!(dir.join(file).exists(), "{} has no {file}", trial.dir);
        }
        assert!(trial.lag_max.is_some() && trial.figures.is_some(), "{trial:#?}");
    }
    the_report_is_made_of_the_directory_alone(&case);
    let valid = Command::new(GAUNTLET)
        .arg("validate")
        .arg(case.search_dir().join(&confirmed.dir).join("scenario.resolved.yaml"))
        .output()
        .unwrap();
    assert_eq!(valid.status.code(), Some(0), "a trial can be run by itself: {}", text(&valid));
    let mut admin = Connection::connect(&shared(), &ConnectOptions::default()).unwrap();
    wait_for("topics are deleted", Duration::from_secs(20), || {
        !admin.metadata(None).unwrap().topics.iter().any(|t| t.name.starts_with("searched-"))
    });
}

fn the_report_is_made_of_the_directory_alone(case: &Case) {
    let dir = case.search_dir();
    let files = ["report.html", "junit.xml"];
    let read = || files.map(|file| std::fs::read_to_string(dir.join(file)).unwrap());
    let written = read();
    assert!(written[0].contains("id=\"latency-by-rate\""));
    files.iter().for_each(|file| std::fs::remove_file(dir.join(file)).unwrap());
    let again = Command::new(GAUNTLET).arg("report").arg(&dir).output().unwrap();
    assert_eq!(again.status.code(), Some(0), "{}", text(&again));
    assert_eq!(String::from_utf8_lossy(&again.stderr), "", "nothing was missing");
    assert_eq!(read(), written, "the same files give the same page");
}

#[test]
fn a_search_that_begins_above_the_ceiling_goes_down_to_it_or_says_that_there_is_none() {
    let _alone = alone();
    // 100 records of 1 KiB per second.
    set_quota(&shared(), "from-above-producer-0", 110_000.0);
    let case = Case::new(
        "from-above",
        "low: 300/s, high: 301/s, resolution: 50%, trial: 2s, confirm: 2s, \
         sustainable: [load.achieved_ratio >= 0.95]",
        "",
    );
    let (output, record) = case.run();
    let rates: Vec<u64> = record.trials.iter().map(|trial| trial.rate_per_s).collect();
    assert_eq!(record.trials[0].rate_per_s, 300);
    assert!(rates.contains(&75), "{rates:?}: {}", text(&output));
    let rate = record.rate_per_s().unwrap();
    assert!((50.0..=150.0).contains(&rate), "{rate}: {}", text(&output));

    // Not one record per second in time.
    let nothing = Case::new(
        "nothing",
        "low: 10/s, high: 11/s, trial: 1s, confirm: 1s, sustainable: [produce.latency p50 < 1us]",
        "",
    );
    let (output, record) = nothing.run();
    assert_eq!(record.rate_per_s(), None, "{}", text(&output));
    let rates: Vec<u64> = record.trials.iter().map(|trial| trial.rate_per_s).collect();
    assert!(rates.iter().all(|rate| *rate >= 1), "{rates:?}");
    // A machine that is busy enough makes it unknown, never a pass.
    assert!(matches!(output.status.code(), Some(99 | 5)), "{}", text(&output));
    assert!(record.reasons[0].text.contains("was sustainable"), "{:?}", record.reasons);
}

#[test]
fn what_is_left_with_one_broker_down_is_searched_on_two_brokers_of_three() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let yaml = "version: 1\nname: headroom\nseed: 7\n\
         cluster: { local: { brokers: 3, jvm: quick, config: { broker.session.timeout.ms: 3000, broker.heartbeat.interval.ms: 500 } } }\n\
         topics: [{ name: searched, partitions: 3, replication_factor: 3, config: { min.insync.replicas: 2 } }]\n\
         workload: { producers: { count: 1 } }\n\
         load:\n  shape: max-search\n  warmup: 1s\n  drain: 10s\n  search: { low: 150/s, high: 150/s, trial: 1s, \
         confirm: 2s, cooldown: 0s, warmup: 0s, headroom: n-1, sustainable: [produce.latency p99 < 10s] }\n\
         expect: [search.headroom_rate >= 100/s, verify.lost == 0, verify.unseen == 0]\n";
    std::fs::write(dir.path().join("case.yaml"), yaml).unwrap();
    let case = Case { dir };
    let (output, record) = case.run();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let headroom = record.headroom.as_ref().unwrap();
    let down = headroom.down.unwrap();
    let finding = headroom.finding.as_ref().unwrap();
    // No rate is searched that was not found with all brokers up, and every trial counts.
    assert!(finding.rate_per_s.unwrap() <= record.rate_per_s().unwrap() * 1.01, "{record:#?}");
    assert_eq!(record.confirmation_of(finding).unwrap().down, Some(down));
    assert_eq!(
        record.trials.iter().map(|t| t.number).collect::<Vec<_>>(),
        (1..=record.trials.len() as u32).collect::<Vec<_>>()
    );
    for trial in &record.trials {
        // What the brokers said of their replicas during the trial.
        let watched =
            std::fs::read_to_string(case.search_dir().join(&trial.dir).join("cluster.ndjson")).unwrap();
        let in_sync: BTreeSet<i64> = watched
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .flat_map(|line| line["change"]["state"]["isr"].as_array().cloned().unwrap_or_default())
            .filter_map(|broker| broker.as_i64())
            .collect();
        let expected: BTreeSet<i64> =
            (1..=3).filter(|broker| trial.down.is_none_or(|down| i64::from(down) != *broker)).collect();
        assert_eq!(in_sync, expected, "trial {}", trial.number);
    }
    let page = std::fs::read_to_string(case.search_dir().join("report.html")).unwrap();
    assert!(
        page.contains("id=\"latency-by-rate-headroom\"")
            && page.contains(&format!("with broker {down} down"))
    );
}

#[test]
fn a_rate_at_which_gauntlet_was_the_limit_is_tried_twice_and_makes_the_answer_a_lower_bound() {
    let _alone = alone();
    // Each record is a batch of its own. The sender sleeps after 100 of them: at 60 per second before the load ends, after 2 s
    // with its warm-up; at 42 never.
    let case = Case::new(
        "stumbling",
        "low: 30/s, high: 60/s, resolution: 50%, trial: 1s, confirm: 1s, \
         sustainable: [produce.latency max < 1200ms]",
        "",
    );
    // What waits meanwhile has to be sent after all, so that it is known whose fault its latency is.
    let mut command = case.command("run");
    let output =
        command.args(["--set", "load.drain=6s"]).env("GAUNTLET_TEST_STUMBLE", "100,2500").output().unwrap();
    let record = case.record().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    let holds: Vec<(u64, Option<Hold>)> = record.trials.iter().map(|t| (t.rate_per_s, t.hold)).collect();
    let (held, unknown) = (Some(Hold::Held), Some(Hold::Unknown));
    assert_eq!(
        holds,
        [(30, held), (60, unknown), (60, unknown), (42, held), (42, held)],
        "{}",
        text(&output)
    );
    assert_eq!(record.finding.as_ref().unwrap().limit, Limit::Ourselves);
    assert!(record.reasons[0].text.contains("gauntlet or its host was the limit"), "{:?}", record.reasons);
}

#[test]
fn an_interrupted_search_keeps_its_trials() {
    let _alone = alone();
    let case = Case::new(
        "interrupted",
        "low: 100/s, high: 10k/s, trial: 1s, confirm: 1s, sustainable: [produce.latency p99 < 10s]",
        "",
    );
    let mut child = case.command("run").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("the first trial is done and the second goes on", Duration::from_secs(60), || {
        case.record().is_some_and(|r| r.trials.len() == 2 && r.trials[0].hold == Some(Hold::Held))
    });
    // SAFETY: the child is ours and has not been waited for, so its pid is still its own.
    unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    assert_eq!(child.wait().unwrap().code(), Some(105));
    let record = case.record().unwrap();
    assert_eq!((record.state, record.verdict), (RunState::Aborted, Some(Verdict::Inconclusive)));
    assert_eq!((record.finding.as_ref(), record.trials.len()), (None, 2));
    assert!(record.trials[0].figures.is_some());
    let page = std::fs::read_to_string(case.search_dir().join("report.html")).unwrap();
    assert!(page.contains("a signal ended the search before a rate was confirmed"));
}

#[test]
fn nothing_is_run_of_a_search_that_is_wrong_or_has_no_brokers() {
    let _alone = alone();
    let wrong = Case::new(
        "wrong",
        "low: 1k/s, high: 10k/s, sustainable: [produce.latancy p99 < 50ms]",
        "expect: [search.sustainable_rate >= 1k/s]\n",
    );
    let output = wrong.command("run").output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(text(&output).contains("did you mean `produce.latency`?"), "{}", text(&output));
    assert!(!wrong.dir.path().join("out").exists(), "nothing was started");

    let right = Case::new("nobody", "low: 1k/s, high: 10k/s, sustainable: [produce.failed == 0]", "");
    let resumed = right.command("run").args(["--only", "x=1"]).output().unwrap();
    assert_eq!(resumed.status.code(), Some(2), "{}", text(&resumed));
    // Port 9 of loopback: nothing listens on "discard".
    let nobody =
        right.command("run").args(["--set", "cluster.bootstrap_servers=127.0.0.1:9"]).output().unwrap();
    assert_eq!(nobody.status.code(), Some(6), "{}", text(&nobody));
    let record = right.record().unwrap();
    assert!(
        record.trials.is_empty() && record.reasons[0].text.contains("127.0.0.1:9"),
        "{:?}",
        record.reasons
    );
}
