//! Whole sweeps of the `gauntlet` program against real brokers: interrupted and resumed, some points only, one that fails beside
//! one that passes, and a limit of time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, wherever it does")]

#[path = "support/brokers.rs"]
mod brokers;
#[path = "support/program.rs"]
mod program;
#[path = "support/wait.rs"]
mod wait;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use brokers::alone;
use gauntlet_reports::sweep::{SlotRecord, SlotState, SweepRecord};
use gauntlet_wire::{ConnectOptions, Connection};
use program::{GAUNTLET, text};
use tempfile::TempDir;
use wait::wait_for;

/// A sweep's file and a place for its directory.
struct Case {
    dir: TempDir,
}

impl Case {
    fn new(yaml: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("case.yaml"), yaml).unwrap();
        Case { dir }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(GAUNTLET);
        command.arg(arguments[0]).arg(self.dir.path().join("case.yaml")).args(&arguments[1..]);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let out = self.dir.path().join("out");
        self.command(&[&["run"], arguments].concat()).arg("--out").arg(out).output().unwrap()
    }

    /// The newest sweep.
    fn sweep_dir(&self) -> PathBuf {
        std::fs::canonicalize(self.dir.path().join("out/latest")).unwrap()
    }

    fn record(&self) -> SweepRecord {
        let bytes = std::fs::read(self.sweep_dir().join("sweep.json")).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }
}

fn states(record: &SweepRecord) -> Vec<SlotState> {
    record.runs.iter().map(|run| run.state).collect()
}

/// A broker that several sweeps load by `bootstrap_servers`.
fn shared() -> String {
    brokers::shared(|| brokers::quick(1)).bootstrap().join(",")
}

/// Two points: at least one record is checked, which holds; and at least a million, which can't.
fn passes_and_fails(name: &str, sweep: &str) -> Case {
    Case::new(&format!(
        "version: 1\nname: {name}\ncluster: {{ bootstrap_servers: \"{}\" }}\n\
         topics: [{{ name: bench, partitions: 2, replication_factor: 1 }}]\n\
         workload: {{ payload: {{ size: 100B }}, producers: {{ count: 1 }} }}\n\
         load: {{ shape: constant, rate: 2k/s, warmup: 1s, duration: 2s, drain: 5s }}\n\
         verify: {{ final_read: {{ timeout: 5s }} }}\n\
         expect: [\"verify.checked >= ${{matrix.least}}\"]\n\
         sweep: {{ matrix: {{ least: [1, 1000000] }}, order: as-written, cooldown: 0s, warmup: 0s, {sweep} }}\n",
        shared()
    ))
}

#[test]
fn an_interrupted_sweep_goes_on_where_it_was_and_runs_nothing_twice() {
    let _alone = alone();
    // A broker deletes nothing in its first 30 s; the first run of each session would wait for that.
    let case = Case::new(
        "version: 1\nname: resumed\nseed: 7\n\
         cluster: { local: { brokers: 1, jvm: quick, config: { log.initial.task.delay.ms: 1000 } } }\n\
         topics: [{ name: bench, partitions: '${matrix.partitions}' }]\n\
         workload: { payload: { size: 100B }, producers: { count: 1, config: { compression.type: '${matrix.codec}' } } }\n\
         load: { shape: constant, rate: 5k/s, warmup: 1s, duration: 3s, drain: 10s }\n\
         sweep: { matrix: { partitions: [1, 4], codec: [none, lz4] }, cooldown: 0s, warmup: 2s }\n",
    );
    let out = case.dir.path().join("out");
    let mut child = case
        .command(&["run", "--out"])
        .arg(&out)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the first run is done and the second goes on", Duration::from_secs(120), || {
        let file = out.join("latest/sweep.json");
        let record = std::fs::read(file).ok().and_then(|b| serde_json::from_slice::<SweepRecord>(&b).ok());
        record.is_some_and(|r| r.runs[0].state == SlotState::Done && r.runs[1].state == SlotState::Running)
    });
    // SAFETY: the child is ours and has not been waited for, so its pid is still its own.
    unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    assert_eq!(child.wait().unwrap().code(), Some(105), "{:#?}", case.record().reasons);
    let before = case.record();
    assert_eq!(states(&before)[2..], [SlotState::NotRun, SlotState::NotRun]);
    assert_eq!(before.runs[0].state, SlotState::Done);
    // It may just have come to its end.
    let second_was_done = before.runs[1].state == SlotState::Done;
    let page = std::fs::read_to_string(case.sweep_dir().join("report.html")).unwrap();
    assert!(page.contains("a signal ended the sweep before all runs were done"));

    let dir = case.sweep_dir();
    for (change, told) in [
        (["--set", "load.rate=6k/s"], "the scenario had `rate: 5k/s` and has `rate: 6k/s`"),
        (["--seed", "8"], "the seed was 7 and is 8"),
    ] {
        let refused = case.command(&["run", "--resume"]).arg(&dir).args(change).output().unwrap();
        assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
        assert!(text(&refused).contains(told), "{}", text(&refused));
    }
    assert_eq!(case.record(), before, "what was refused has changed nothing");

    let resumed = case.command(&["run", "--resume"]).arg(&dir).output().unwrap();
    assert_eq!(resumed.status.code(), Some(0), "{}", text(&resumed));
    let after = case.record();
    assert_eq!(states(&after), [SlotState::Done; 4]);
    assert_eq!(after.runs[0], before.runs[0], "what has a result is not run again");
    let attempts: Vec<u16> = after.runs.iter().map(|run| run.attempts).collect();
    assert_eq!(attempts, [1, if second_was_done { 1 } else { 2 }, 1, 1]);
    assert_eq!(
        (after.sweep_id, after.warmups.len()),
        (before.sweep_id, 2),
        "each session began with a cold cluster"
    );
    assert!(after.wall_s > before.wall_s);
    for run in &after.runs {
        let figures = run.figures.clone().unwrap();
        assert!(figures.throughput > Some(0.0) && figures.p99_ms > Some(0.0), "{figures:?}");
        assert!(figures.broker_cpu_cores > Some(0.0), "{figures:?}");
        assert!(figures.broker_log_bytes_per_s > Some(0.0), "{figures:?}");
        assert!(dir.join(run.dir.as_ref().unwrap()).join("report.html").exists());
    }
    let ratio = |codec: &str| wire_ratio(&after.runs, &after.points, codec);
    assert!(ratio("lz4") < ratio("none"), "the codec of a point is used");
    assert!(!dir.join("cluster-1").exists() && !dir.join("cluster-2").exists(), "the brokers' data are gone");
    the_report_is_made_of_the_directory_alone(&dir);
}

/// The highest of the points with a codec.
fn wire_ratio(runs: &[SlotRecord], points: &[gauntlet_reports::sweep::PointRecord], codec: &str) -> f64 {
    let with: Vec<&str> = points
        .iter()
        .filter(|point| point.parameters["codec"] == codec)
        .map(|point| point.id.as_str())
        .collect();
    let ratios = runs.iter().filter(|run| with.contains(&run.point.as_str()));
    ratios.filter_map(|run| run.figures.as_ref()?.wire_ratio).fold(0.0, f64::max)
}

fn the_report_is_made_of_the_directory_alone(dir: &Path) {
    let files = ["report.html", "sweep.csv", "junit.xml"];
    let read = || files.map(|file| (file, std::fs::read_to_string(dir.join(file)).unwrap()));
    let written = BTreeMap::from(read());
    assert!(written["report.html"].starts_with("<!DOCTYPE html>"));
    files.iter().for_each(|file| std::fs::remove_file(dir.join(file)).unwrap());
    let again = Command::new(GAUNTLET).arg("report").arg(dir).output().unwrap();
    assert_eq!(again.status.code(), Some(0), "{}", text(&again));
    assert_eq!(String::from_utf8_lossy(&again.stderr), "", "nothing was missing");
    assert_eq!(BTreeMap::from(read()), written, "the same files give the same page");
}

#[test]
fn a_point_that_fails_stands_beside_one_that_passes() {
    let _alone = alone();
    let case = passes_and_fails("beside", "repeats: 1");
    let junit = case.dir.path().join("all.xml");
    let output = case.run(&["--junit", junit.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(99), "{}", text(&output));
    let record = case.record();
    let verdicts: Vec<String> = record.points.iter().map(|p| p.verdict.unwrap().to_string()).collect();
    assert_eq!((verdicts, record.exit_code), (vec!["PASS".to_owned(), "FAIL".to_owned()], Some(99)));
    assert_eq!(record.runs[1].exit_code, Some(99));
    assert!(record.reasons[0].text.starts_with("p02 (least=1000000), run 1: verify.checked >= 1000000"));
    let report = quick_junit::Report::deserialize_from_str(&std::fs::read_to_string(junit).unwrap()).unwrap();
    let suites: Vec<(&str, usize)> =
        report.test_suites.iter().map(|suite| (suite.name.as_str(), suite.failures + suite.errors)).collect();
    assert_eq!(suites, [("beside [least=1]", 0), ("beside [least=1000000]", 1)]);
    let mut admin = Connection::connect(&shared(), &ConnectOptions::default()).unwrap();
    wait_for("topics are deleted", Duration::from_secs(20), || {
        !admin.metadata(None).unwrap().topics.iter().any(|t| t.name.starts_with("bench-"))
    });

    let only = case.run(&["--only", "least=1"]);
    assert_eq!(only.status.code(), Some(0), "{}", text(&only));
    let record = case.record();
    assert_eq!((record.points.len(), &record.points[0].id[..], record.runs.len()), (1, "p01", 1));
    assert_eq!(record.only, ["least=1"]);
    let nothing = case.run(&["--only", "least=2"]);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(text(&nothing).contains("`--only least=2`: no point has this value; least is 1, 1000000"));
}

#[test]
fn what_does_not_fit_into_the_limit_is_not_run_and_no_pass() {
    let _alone = alone();
    // A run may take 103 s: 3 s of load, 5 s of drain, 5 s of reading, 90 s of deleting its topic. Two do not fit.
    let case = passes_and_fails("limited", "max_wall: 105s");
    let output = case.run(&["--set", "sweep.matrix.least=[1, 2]"]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    let record = case.record();
    assert_eq!(states(&record), [SlotState::Done, SlotState::NotRun]);
    assert_eq!(record.verdict.unwrap().to_string(), "INCONCLUSIVE");
    assert!(record.runs[1].reasons[0].text.contains("`max_wall`, 1m45s"), "{:?}", record.runs[1].reasons);
    let plan = case.command(&["plan"]).output().unwrap();
    assert!(text(&plan).contains("in the worst case the last run is NOT RUN"), "{}", text(&plan));
}

#[test]
fn a_sweep_that_stops_at_a_failure_says_what_it_left_out() {
    let _alone = alone();
    let case = passes_and_fails("stopped", "on_fail: stop");
    let output = case.run(&["--set", "sweep.matrix.least=[1000000, 1]"]);
    assert_eq!(output.status.code(), Some(99), "{}", text(&output));
    let record = case.record();
    assert_eq!(states(&record), [SlotState::Done, SlotState::NotRun]);
    assert_eq!(record.runs[1].reasons[0].text, "not run: p01 run 1 failed, and `on_fail` is `stop`");
}

#[test]
fn nothing_is_run_of_a_sweep_that_is_wrong() {
    let yaml = "version: 1\nname: wrong\ncluster: { bootstrap_servers: \"127.0.0.1:9\" }\n\
                load: { shape: constant, rate: '${matrix.rate}', duration: 5s }\nsweep: { matrix: { rate: [1k/s, fast] } }\n";
    let case = Case::new(yaml);
    let output = case.run(&[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output).contains("at point p02 (rate=fast)"), "{}", text(&output));
    assert!(!case.dir.path().join("out").exists(), "nothing was started");
    let resume =
        case.command(&["run", "--set", "sweep.matrix.rate=[1k/s]", "--resume"]).arg(case.dir.path()).output();
    let resume = resume.unwrap();
    assert_eq!(resume.status.code(), Some(2));
    assert!(text(&resume).contains("is no sweep directory: it has no sweep.json"), "{}", text(&resume));
}

#[test]
fn without_brokers_nothing_more_is_tried() {
    // Port 9 of loopback: nothing listens on "discard".
    let yaml = "version: 1\nname: nobody\ncluster: { bootstrap_servers: \"127.0.0.1:9\" }\n\
                load: { shape: constant, rate: '${matrix.rate}', duration: 5s }\n\
                sweep: { matrix: { rate: [1k/s, 2k/s] }, cooldown: 0s }\n";
    let case = Case::new(yaml);
    let output = case.run(&[]);
    assert_eq!(output.status.code(), Some(6), "{}", text(&output));
    let record = case.record();
    assert_eq!(states(&record), [SlotState::Aborted, SlotState::NotRun]);
    assert!(record.reasons[0].text.contains("127.0.0.1:9"), "{:?}", record.reasons);
}
