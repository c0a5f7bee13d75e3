//! Faults on a cluster that gauntlet did not start, operations and (`hooks`) those of its brokers: never without consent, and undone however the run ends.
//!
//! The brokers are real, and started by the test; the program under test knows nothing of them but an address.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, wherever it does")]

#[path = "support/brokers.rs"]
mod brokers;
#[path = "foreign_brokers/drill.rs"]
mod drill;
#[path = "foreign_brokers/hooks.rs"]
mod hooks;
#[path = "support/program.rs"]
mod program;
#[path = "support/wait.rs"]
mod wait;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use brokers::{alone, quick, shared};
use gauntlet_chaos::process::ProcessIdentity;
use gauntlet_chaos::{LocalCluster, LocalSecurity, LocalSpec, Mechanism, Protocol};
use gauntlet_wire::security::Credentials;
use gauntlet_wire::{ConfigResource, ConnectOptions, Connection};
use nix::sys::signal::Signal;
use program::{GAUNTLET, text};
use serde_json::Value;
use tempfile::TempDir;
use wait::wait_for;

/// In which a supervisor is to have undone what its run left.
const UNDONE_WITHIN: Duration = Duration::from_secs(10);
const LIMIT: Duration = Duration::from_secs(90);
/// Holds the password, which must be nowhere else.
const PASSWORD: &str = "GAUNTLET_TEST_FOREIGN_PASSWORD";

/// One broker that asks who its clients are, so that whoever undoes has to know a secret.
fn cluster() -> &'static LocalCluster {
    let security = LocalSecurity { protocol: Protocol::SaslPlaintext(Mechanism::Plain), acls: false };
    shared(|| LocalSpec { security: Some(security), ..quick(1) })
}

/// Name and password of the load.
fn login() -> (String, String) {
    let login = cluster().security().login.clone().unwrap();
    match login.credentials() {
        Credentials::Password { name, password } => (name.to_owned(), password.expose().to_owned()),
        Credentials::Token(_) => panic!("no password"),
    }
}

/// A scenario on that cluster, and a place for its runs.
struct Case {
    dir: TempDir,
}

impl Case {
    /// `consent` are more fields of `cluster`. The topic outlives the run, so that its properties can be looked at.
    fn new(topic: &str, consent: &str, duration: &str, lasts_for: &str) -> Self {
        let faults = format!(
            "- {{ name: shorter, at: 1s, {lasts_for} action: config.change, args: {{ topic: {topic}, entries: {{ retention.ms: 3600000 }} }} }}\n"
        );
        Self::of(topic, consent, duration, &faults)
    }

    /// `cluster_fields` are more fields of `cluster`.
    fn of(topic: &str, cluster_fields: &str, duration: &str, faults: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (user, addr) = (login().0, &cluster().bootstrap()[0]);
        let yaml = format!(
            "version: 1\nname: foreign\nseed: 1\n\
             cluster:\n  bootstrap_servers: \"{addr}\"\n  security:\n    security.protocol: SASL_PLAINTEXT\n\
             \x20   sasl.mechanism: PLAIN\n    sasl.username: {user}\n    sasl.password: ${{env.{PASSWORD}}}\n{cluster_fields}\
             topics: [{{ name: {topic}, partitions: 3, lifecycle: keep, config: {{ retention.ms: 7200000 }} }}]\n\
             workload: {{ payload: {{ size: 100B }}, producers: {{ count: 1 }} }}\n\
             load: {{ shape: constant, rate: 500/s, warmup: 1s, duration: {duration} }}\n\
             faults:\n{faults}"
        );
        std::fs::write(dir.path().join("case.yaml"), yaml).unwrap();
        Self { dir }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("case.yaml")
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(GAUNTLET);
        command.arg(verb).arg(self.dir.path().join("case.yaml"));
        command.arg("--out").arg(self.dir.path().join("out")).env(PASSWORD, login().1);
        command
    }

    fn latest(&self) -> PathBuf {
        self.dir.path().join("out/latest")
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.latest().join(file)).unwrap_or_default()
    }

    /// Starts a run, and waits until its fault acts and is in the journal.
    fn start(&self) -> Child {
        self.start_with(self.command("run"))
    }

    fn start_with(&self, mut command: Command) -> Child {
        let mut run = command.arg("--yes").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let acts =
            |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|f| f["took_effect_ns"].is_u64());
        wait_for("the operation acts", LIMIT, || {
            assert_eq!(run.try_wait().unwrap(), None, "the run ended: {}", self.read("run.json"));
            self.read("faults.ndjson").lines().any(acts)
        });
        run
    }

    fn supervisor(&self) -> ProcessIdentity {
        serde_json::from_str(&self.read("cluster/supervisor.identity.json")).unwrap()
    }

    fn undo(&self) -> Output {
        let mut command = Command::new(GAUNTLET);
        command.args(["faults", "undo"]).arg(self.latest()).env(PASSWORD, login().1);
        command.output().unwrap()
    }

    fn is_undone(&self) -> bool {
        self.read("undo.journal").contains(r#""entry":"undone""#)
    }
}

fn connect() -> Connection {
    Connection::connect(&cluster().bootstrap()[0], &cluster().operator()).unwrap()
}

/// What the broker itself says.
fn retention(topic: &str) -> Option<String> {
    connect()
        .config_set(&ConfigResource::Topic(topic.to_owned()))
        .unwrap()
        .get("retention.ms")
        .cloned()
        .flatten()
}

fn exists(topic: &str) -> bool {
    connect().describe_topic(topic).unwrap().error.is_ok()
}

/// Files below `dir` that hold `secret`.
fn holding(dir: &Path, secret: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(holding(&path, secret));
        } else if std::fs::read(&path)
            .is_ok_and(|bytes| bytes.windows(secret.len()).any(|w| w == secret.as_bytes()))
        {
            found.push(path);
        }
    }
    found
}

#[test]
fn nothing_is_done_without_consent_and_with_it_the_fault_acts_and_heals() {
    let _alone = alone();
    let id = cluster().cluster_id();
    for (consent, arg, told) in [
        ("", None, format!("add --yes to the command line, or `allow_faults: true` and `cluster_id: {id}`")),
        (
            "  cluster_id: staging\n",
            Some("--yes"),
            format!("calls itself {id}, and the scenario means staging"),
        ),
        ("  allow_faults: true\n  cluster_id: staging\n", None, "means staging".to_owned()),
    ] {
        let case = Case::new("refused", consent, "4s", "for: 1s,");
        let output = case.command("run").args(arg).output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{}", text(&output));
        assert!(text(&output).contains(&told), "{told}\n{}", text(&output));
        assert!(!exists("refused"), "not even a topic is made");
        assert!(!case.latest().join("cluster").exists(), "nor is a supervisor started");
    }
    let consent = format!("  allow_faults: true\n  cluster_id: {id}\n");
    let case = Case::new("allowed", &consent, "6s", "for: 2s,");
    let plan = case.command("plan").output().unwrap();
    let radius = [
        format!("blast radius: cluster {id}, brokers 1 ({})", cluster().bootstrap()[0]),
        "blast radius: shorter: config.change of topic allowed, retention.ms=3600000; what was before is put back after 2s"
            .to_owned(),
    ];
    for line in &radius {
        assert!(text(&plan).contains(line), "{line}\n{}", text(&plan));
    }
    assert!(!exists("allowed"), "a plan does nothing");

    let output = case.command("run").output().unwrap();
    let told = text(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(radius.iter().all(|line| told.contains(line)), "{told}");
    let record: Value = serde_json::from_str(&case.read("run.json")).unwrap();
    let fault = &record["faults"][0];
    assert_eq!((&fault["took_effect"], &fault["error"]), (&true.into(), &Value::Null), "{fault:#}");
    assert!(fault["at_s"]["healed"].is_f64(), "{fault:#}");
    assert!(case.is_undone(), "{}", case.read("undo.journal"));
    assert_eq!(retention("allowed").as_deref(), Some("7200000"));
    assert!(!case.latest().join("cluster").exists(), "the supervisor is gone with what it had");
    assert_eq!(holding(case.dir.path(), &login().1), Vec::<PathBuf>::new());
}

#[test]
#[ignore = "over the time budget of ci/test; ci/faults runs it"]
fn a_killed_run_is_undone_by_its_supervisor() {
    let _alone = alone();
    let case = Case::new("killed", "", "300s", "");
    let mut run = case.start();
    assert!(case.read("undo.journal").contains(r#""foreign":true"#), "{}", case.read("undo.journal"));
    assert_eq!(retention("killed").as_deref(), Some("3600000"));
    let supervisor = case.supervisor();
    run.kill().unwrap();
    run.wait().unwrap();
    let killed = Instant::now();
    wait_for("it is undone", LIMIT, || case.is_undone());
    assert!(
        killed.elapsed() < UNDONE_WITHIN,
        "after {:?}: {}",
        killed.elapsed(),
        case.read("logs/supervisor.log")
    );
    wait_for("the supervisor is gone", LIMIT, || !supervisor.is_alive());
    assert_eq!(retention("killed").as_deref(), Some("7200000"));
    let again = case.undo();
    assert!(text(&again).contains("nothing is left of its faults"), "{}", text(&again));
    assert_eq!(holding(case.dir.path(), &login().1), Vec::<PathBuf>::new());
}

#[test]
#[ignore = "over the time budget of ci/test; ci/faults runs it"]
fn what_is_left_when_both_died_is_undone_by_command() {
    let _alone = alone();
    let case = Case::new("orphaned", "", "300s", "");
    let mut run = case.start();
    let supervisor = case.supervisor();
    supervisor.signal(Signal::SIGKILL).unwrap();
    run.kill().unwrap();
    run.wait().unwrap();
    wait_for("the supervisor is gone", LIMIT, || !supervisor.is_alive());
    assert_eq!(retention("orphaned").as_deref(), Some("3600000"), "nobody has undone it");

    // Without the secret it can't be undone, and stays in the journal.
    let blind = Command::new(GAUNTLET).args(["faults", "undo"]).arg(case.latest()).output().unwrap();
    assert_eq!(blind.status.code(), Some(7), "{}", text(&blind));
    assert!(text(&blind).contains(PASSWORD) && !case.is_undone(), "{}", text(&blind));

    let undone = case.undo();
    assert_eq!(undone.status.code(), Some(0), "{}", text(&undone));
    assert!(text(&undone).contains("shorter: what was before is put back"), "{}", text(&undone));
    assert_eq!(retention("orphaned").as_deref(), Some("7200000"));
    assert!(text(&case.undo()).contains("nothing is left of its faults"));
    // Told a second time to undo the same, as when the mark was torn off the journal: harmless.
    let journal = case.read("undo.journal");
    let begun: String = journal.lines().take(1).map(|line| format!("{line}\n")).collect();
    std::fs::write(case.latest().join("undo.journal"), begun).unwrap();
    assert_eq!(case.undo().status.code(), Some(0));
    assert_eq!(retention("orphaned").as_deref(), Some("7200000"));
}
