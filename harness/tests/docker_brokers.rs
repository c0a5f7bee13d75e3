//! Whole runs of the `gauntlet` program on brokers that are containers: the scenario that ships, and what is left when it is killed.
//!
//! They need a Docker engine with an image of Kafka (`ci/with-docker` has both); where there is none, each says so and is skipped.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, wherever it does")]

#[path = "support/program.rs"]
mod program;
#[path = "support/ran.rs"]
mod ran;
#[path = "support/wait.rs"]
mod wait;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gauntlet_chaos::docker;
use gauntlet_chaos::process::ProcessIdentity;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use program::{GAUNTLET, text};
use ran::{Ran, assert_flawless};
use tempfile::TempDir;
use wait::wait_for;

/// Long enough for any container to come or go on a machine that is shared.
const LIMIT: Duration = Duration::from_secs(120);

/// An engine with an image, which one test has to itself: what is left is told by what is there.
struct Engine {
    image: String,
    volumes: BTreeSet<String>,
    _alone: MutexGuard<'static, ()>,
}

impl Engine {
    /// The engine; `None` if there is none, or no image, which is said of the test of this name.
    fn find(test: &str) -> Option<Self> {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let image = std::env::var("GAUNTLET_TEST_IMAGE");
        let image = image.unwrap_or_else(|_| "gauntlet-kafka:4.3.0".to_owned());
        let why = match docker::why_not() {
            Some(unable) => unable.why.clone(),
            None if !has_image(&image) => format!("the engine has no image {image}"),
            None => return Some(Engine { image, volumes: volumes(), _alone: alone }),
        };
        // Not captured: whoever reads the output of all tests is to see it.
        let mut told = std::io::stderr();
        writeln!(told, "skipped: {test}: {why}").unwrap();
        None
    }

    fn assert_nothing_left(&self) {
        assert_eq!(ours(&[]), Vec::<String>::new(), "containers");
        assert_eq!(volumes(), self.volumes, "volumes");
    }
}

fn has_image(image: &str) -> bool {
    Command::new("docker").args(["image", "inspect", image]).output().is_ok_and(|told| told.status.success())
}

fn docker(args: &[&str]) -> Vec<String> {
    let told = Command::new("docker").args(args).output().unwrap();
    assert!(told.status.success(), "docker {args:?}: {}", text(&told));
    String::from_utf8_lossy(&told.stdout).lines().map(str::to_owned).collect()
}

/// Names of containers that gauntlet has made.
fn ours(filters: &[&str]) -> Vec<String> {
    let mut args = vec!["ps", "--all", "--format", "{{.Names}}", "--filter", "label=gauntlet.cluster"];
    args.extend(filters.iter().flat_map(|filter| ["--filter", filter]));
    docker(&args)
}

fn volumes() -> BTreeSet<String> {
    docker(&["volume", "ls", "--quiet"]).into_iter().collect()
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/docker.yaml")
}

#[test]
fn what_was_acked_survives_containers_that_are_paused_and_killed() {
    let test = "what_was_acked_survives_containers_that_are_paused_and_killed";
    let Some(engine) = Engine::find(test) else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(GAUNTLET);
    command.arg("run").arg(shipped()).args(["--profile", "ci", "--set"]);
    command.arg(format!("cluster.docker.image={}", engine.image)).arg("--out").arg(dir.path().join("out"));
    let ran = Ran::by((dir, command));
    let record = ran.expect("PASS", 0);
    // 36 s at 3,000 per second, warm-up included.
    assert_flawless(&record, 108_000);
    let faults = record["faults"].as_array().unwrap();
    let actions: Vec<&str> = faults.iter().map(|fault| fault["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["broker.pause", "broker.kill"]);
    for fault in faults {
        assert_eq!(fault["took_effect"], true, "{fault:#}");
        assert!(fault["at_s"]["healed"].as_f64().is_some(), "{fault:#}");
        assert!(fault["recovery_s"]["isr_full"].as_f64().is_some(), "{fault:#}");
    }
    assert!(faults[1]["recovery_s"]["leader_elected"].as_f64().is_some(), "{:#}", faults[1]);
    let kafka = format!("image {}", engine.image);
    assert_eq!(record["environment"]["kafka"], kafka.as_str());
    let html = ran.file("report.html");
    assert!(html.contains("broker.kill") && html.contains(&kafka), "{html:.2000}");
    for broker in 1..=3 {
        assert!(ran.file(&format!("logs/broker-{broker}.log")).contains("Kafka Server started"), "{broker}");
    }
    let log = ran.file("logs/supervisor.log");
    assert!(log.contains("3 containers are removed"), "{log}");
    let journal = ran.file("undo.journal");
    assert_eq!(journal.matches(r#""entry":"undone""#).count(), 2, "{journal}");
    engine.assert_nothing_left();
}

/// A run with one broker, paused for ever, as soon as it is; and what its supervisor is.
struct Paused {
    dir: TempDir,
    run: Child,
    supervisor: ProcessIdentity,
}

impl Paused {
    fn start(engine: &Engine) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("case.yaml");
        let scenario = format!(
            "version: 1\nname: paused\ncluster: {{ docker: {{ image: \"{}\", brokers: 1, jvm: quick }} }}\n\
             load: {{ shape: constant, rate: 100/s, warmup: 0s, duration: 10m }}\n\
             faults: [{{ name: pause, at: 1s, for: 9m, action: broker.pause, target: {{ id: 1 }} }}]\n",
            engine.image
        );
        std::fs::write(&file, scenario).unwrap();
        let mut command = Command::new(GAUNTLET);
        command.arg("run").arg(file).arg("--out").arg(dir.path().join("out"));
        let run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Ended by its drop, should the wait fail.
        let supervisor = ProcessIdentity::of(std::process::id().cast_signed()).unwrap();
        let mut paused = Paused { dir, run, supervisor };
        wait_for("the container is paused", LIMIT, || ours(&["status=paused"]).len() == 1);
        let identity = std::fs::read(paused.latest().join("cluster/supervisor.identity.json")).unwrap();
        paused.supervisor = serde_json::from_slice(&identity).unwrap();
        paused
    }

    fn latest(&self) -> PathBuf {
        self.dir.path().join("out/latest")
    }

    fn kill_run(&mut self) {
        self.run.kill().unwrap();
        self.run.wait().unwrap();
    }

    fn wait_for_supervisor(&self) {
        wait_for("the supervisor is gone", LIMIT, || !self.supervisor.is_alive());
    }

    /// `gauntlet faults undo`; what it says.
    fn undo(&self, args: &[&Path]) -> String {
        let output = Command::new(GAUNTLET).args(["faults", "undo"]).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        text(&output)
    }
}

impl Drop for Paused {
    /// A test that failed leaves nothing either: the supervisor removes the container when the run ends.
    fn drop(&mut self) {
        let _ = self.run.kill();
        let _ = self.run.wait();
    }
}

#[test]
fn a_killed_run_leaves_no_container() {
    let Some(engine) = Engine::find("a_killed_run_leaves_no_container") else { return };
    let mut paused = Paused::start(&engine);
    paused.kill_run();
    paused.wait_for_supervisor();
    engine.assert_nothing_left();
    let run = paused.latest();
    let journal = std::fs::read_to_string(run.join("undo.journal")).unwrap();
    assert!(journal.contains(r#""entry":"begin""#) && journal.contains(r#""entry":"undone""#), "{journal}");
    assert!(!run.join("cluster").exists(), "its state is gone");
    let log = std::fs::read_to_string(run.join("logs/supervisor.log")).unwrap();
    assert!(log.contains("ending: the run is gone") && log.contains("1 containers are removed"), "{log}");
}

/// By the file in the run's directory, and then, as that can be gone too, by their labels alone.
#[test]
fn containers_of_a_killed_supervisor_are_found_and_removed() {
    let Some(engine) = Engine::find("containers_of_a_killed_supervisor_are_found_and_removed") else {
        return;
    };
    let mut paused = Paused::start(&engine);
    assert!(paused.supervisor.signal(Signal::SIGKILL).unwrap());
    paused.kill_run();
    paused.wait_for_supervisor();
    assert_eq!(ours(&[]).len(), 1, "nobody is there who could have removed it");
    let run = paused.latest();
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::rename(run.join("cluster/docker.json"), elsewhere.path().join("docker.json")).unwrap();
    let told = paused.undo(&[Path::new("--out"), elsewhere.path()]);
    assert!(told.contains("containers of dead clusters that are removed: 1"), "{told}");
    engine.assert_nothing_left();
    let told = paused.undo(&[&run]);
    assert!(!told.contains("containers"), "{told}");
    assert!(told.contains("pause on node 1"), "{told}");
}

#[test]
#[ignore = "ci/faults has the time for it"]
fn containers_are_removed_by_the_file_of_their_run() {
    let Some(engine) = Engine::find("containers_are_removed_by_the_file_of_their_run") else { return };
    let mut paused = Paused::start(&engine);
    assert!(paused.supervisor.signal(Signal::SIGKILL).unwrap());
    paused.kill_run();
    paused.wait_for_supervisor();
    let told = paused.undo(&[&paused.latest()]);
    assert!(told.contains("containers of its brokers that are removed: 1"), "{told}");
    engine.assert_nothing_left();
}

#[test]
#[ignore = "ci/faults has the time for it"]
fn an_interrupted_run_heals_and_leaves_no_container() {
    let Some(engine) = Engine::find("an_interrupted_run_heals_and_leaves_no_container") else { return };
    let mut paused = Paused::start(&engine);
    kill(Pid::from_raw(paused.run.id().cast_signed()), Signal::SIGINT).unwrap();
    let status = paused.run.wait().unwrap();
    assert_eq!(status.code(), Some(105), "interrupted, and nothing worse");
    engine.assert_nothing_left();
}

/// A run of these faults on three brokers, and so many controllers: it passes, every fault acts and heals, and nothing is left.
fn assert_survived(engine: &Engine, controllers: &str, duration_s: u64, faults: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("case.yaml");
    let image = &engine.image;
    let listed: String = faults.iter().map(|fault| format!("  - {{ {fault} }}\n")).collect();
    let scenario = format!(
        "version: 1\nname: all\nseed: 1\n\
         cluster:\n  docker:\n    image: \"{image}\"\n    controllers: {controllers}\n    jvm: quick\n\
         \x20   config: {{ broker.session.timeout.ms: 3000, broker.heartbeat.interval.ms: 500, replica.lag.time.max.ms: 5000 }}\n\
         topics: [{{ name: orders, partitions: 3, config: {{ min.insync.replicas: 2 }} }}]\n\
         workload: {{ payload: {{ size: 100B }}, producers: {{ config: {{ acks: all }} }} }}\n\
         load: {{ shape: constant, rate: 500/s, warmup: 2s, duration: {duration_s}s, drain: 120s }}\n\
         faults:\n{listed}expect: [verify.lost == 0, verify.duplicates == 0]\n"
    );
    std::fs::write(&file, scenario).unwrap();
    let mut command = Command::new(GAUNTLET);
    command.arg("run").arg(&file).arg("--out").arg(dir.path().join("out"));
    let ran = Ran::by((dir, command));
    let record = ran.expect("PASS", 0);
    assert_flawless(&record, (duration_s + 2) * 500);
    let records = record["faults"].as_array().unwrap();
    assert!(records.len() >= faults.len(), "{records:#?}");
    for fault in records {
        assert_eq!(fault["took_effect"], true, "{fault:#}");
        assert!(fault["at_s"]["healed"].as_f64().is_some(), "{fault:#}");
    }
    engine.assert_nothing_left();
}

/// Every other way to lose one broker, an operation of the cluster, and a controller of its own.
#[test]
#[ignore = "ci/faults has the time for it"]
fn all_that_can_be_done_to_containers_is_survived() {
    let Some(engine) = Engine::find("all_that_can_be_done_to_containers_is_survived") else { return };
    let faults = [
        "name: retention, at: 1s, for: 4s, action: config.change, args: { topic: orders, entries: { retention.ms: 3600000 } }",
        "name: stop, at: 5s, action: broker.stop, target: { id: 1 }, recover: { action: broker.start, after: 4s }",
        "name: restart, at: 35s, action: broker.restart, target: { id: 2 }",
        "name: bounce, at: 65s, action: broker.bounce, target: { id: 3 }",
        "name: controller, at: 95s, action: broker.kill, target: { id: 101 }, recover: { action: broker.start, after: 3s }",
        "name: all, at: 130s, action: broker.kill-all, recover: { action: broker.start, after: 4s }",
    ];
    assert_survived(&engine, "1", 170, &faults);
}

/// What is done to several brokers, at once or one after the other.
#[test]
#[ignore = "ci/faults has the time for it"]
fn a_lost_quorum_and_a_rolling_restart_of_containers_are_survived() {
    let test = "a_lost_quorum_and_a_rolling_restart_of_containers_are_survived";
    let Some(engine) = Engine::find(test) else { return };
    let faults = [
        "name: quorum, at: 3s, for: 4s, action: quorum.loss",
        "name: roll, at: 20s, action: broker.rolling-restart",
    ];
    assert_survived(&engine, "combined", 110, &faults);
}

/// An image that nobody has: one clear error, and nothing is left of what was begun.
#[test]
fn an_image_that_is_not_there_is_said() {
    let Some(engine) = Engine::find("an_image_that_is_not_there_is_said") else { return };
    let out = tempfile::tempdir().unwrap();
    let mut command = Command::new(GAUNTLET);
    command.arg("run").arg(shipped()).args(["--profile", "ci", "--set"]);
    command.arg("cluster.docker.image=localhost:1/no/such:image").arg("--out").arg(out.path());
    let output = command.output().unwrap();
    assert_ne!(output.status.code(), Some(0));
    let told = text(&output);
    assert!(told.contains("there is no image localhost:1/no/such:image here, and it can't be got"), "{told}");
    engine.assert_nothing_left();
}

/// This one needs no engine: there is none where it looks.
#[test]
fn without_an_engine_it_is_refused_before_anything_starts() {
    let out = tempfile::tempdir().unwrap();
    let mut command = Command::new(GAUNTLET);
    command.arg("run").arg(shipped()).args(["--profile", "ci"]).arg("--out").arg(out.path());
    let output = command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock").output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    let told = text(&output);
    assert!(told.contains("containers are not possible here: "), "{told}");
    assert!(told.contains("docker.yaml:11:"), "{told}");
    assert!(told.contains("or use `cluster: { local"), "{told}");
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0, "nothing was started");
}
