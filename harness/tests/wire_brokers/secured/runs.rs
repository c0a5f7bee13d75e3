//! `gauntlet run` and `plan` on secured clusters: somebody else's, and its own.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use gauntlet_chaos::LocalCluster;
use gauntlet_wire::Operation;
use gauntlet_wire::security::ScramHash;
use libtest_mimic::{Failed, Trial};
use tempfile::TempDir;

use super::{PASSWORD, assert_says, authority_file, grant, make_user, on_topics};
use crate::cluster::{LIMIT, SharedCluster, TestResult, Topic, report};
use crate::judge::judge;
use crate::load::{at_once, config, produce};

const GAUNTLET: &str = env!("CARGO_BIN_EXE_gauntlet");
/// The environment variable that holds [`PASSWORD`].
const VARIABLE: &str = "GAUNTLET_TEST_KAFKA_PASSWORD";

pub(super) fn trials(shared: &Arc<SharedCluster>) -> Vec<Trial> {
    vec![
        shared.trial("a_run_needs_what_its_plan_lists_and_keeps_the_secret", needs_what_its_plan_lists),
        shared.trial("a_run_without_a_permission_ends_before_the_load", ends_before_the_load),
        shared.trial("a_fingerprint_needs_no_more_than_to_read", fingerprint_needs_to_read),
        #[cfg(feature = "rdkafka")]
        shared.trial("librdkafka_logs_in_as_gauntlet_does", librdkafka_logs_in),
        Trial::test("a_killed_broker_of_a_secured_cluster_costs_nothing", a_killed_broker),
        Trial::test("certificates_of_clients_are_enough", certificates),
    ]
}

/// A scenario, and what gauntlet has said to it.
struct Told {
    dir: TempDir,
    output: Output,
}

impl Told {
    fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    fn record(&self) -> Result<serde_json::Value, Failed> {
        Ok(serde_json::from_slice(&std::fs::read(self.dir.path().join("out/latest/run.json"))?)?)
    }

    fn expect(&self, verdict: &str, code: i32) -> Result<serde_json::Value, Failed> {
        let record = self.record()?;
        let text = format!("{}{:#}", self.stdout(), record["reasons"]);
        assert_eq!(
            (record["verdict"].as_str(), self.output.status.code()),
            (Some(verdict), Some(code)),
            "{text}"
        );
        Ok(record)
    }

    /// The password is in nothing that was written.
    fn assert_kept_secret(&self) -> TestResult {
        let said = [&self.output.stdout[..], &self.output.stderr[..]].concat();
        assert!(!contains(&said, PASSWORD.as_bytes()), "{}", self.stdout());
        let mut files = 0;
        assert_no_file_holds(self.dir.path(), PASSWORD.as_bytes(), &mut files)?;
        assert!(files >= 4, "only {files} files were looked at");
        Ok(())
    }
}

fn assert_no_file_holds(dir: &Path, secret: &[u8], files: &mut usize) -> TestResult {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        // Whatever a link leads to is looked at where it is.
        match entry.file_type()? {
            kind if kind.is_dir() => assert_no_file_holds(&entry.path(), secret, files)?,
            kind if kind.is_file() => {
                let mut content = Vec::new();
                std::fs::File::open(entry.path())?.read_to_end(&mut content)?;
                assert!(!contains(&content, secret), "{} holds the secret", entry.path().display());
                *files += 1;
            }
            _ => {}
        }
    }
    Ok(())
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn gauntlet(verb: &str, yaml: &str) -> Result<Told, Failed> {
    gauntlet_with(verb, yaml, &[])
}

fn gauntlet_with(verb: &str, yaml: &str, more: &[&str]) -> Result<Told, Failed> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("case.yaml");
    std::fs::write(&file, yaml)?;
    let output = Command::new(GAUNTLET)
        .arg(verb)
        .arg(&file)
        .arg("--out")
        .arg(dir.path().join("out"))
        .args(more)
        .env(VARIABLE, PASSWORD)
        .output()?;
    Ok(Told { dir, output })
}

/// A run as `user`, by SCRAM-SHA-256, on the shared cluster.
fn as_user(cluster: &LocalCluster, user: &str) -> Result<String, Failed> {
    Ok(format!(
        "version: 1\nname: {user}\ncluster:\n  bootstrap_servers: \"{}\"\n  security:\n\
         \x20   security.protocol: SASL_SSL\n    sasl.mechanism: SCRAM-SHA-256\n    sasl.username: {user}\n\
         \x20   sasl.password: ${{env.{VARIABLE}}}\n    ssl.truststore.type: PEM\n    ssl.truststore.location: {}\n\
         workload: {{ payload: {{ size: 100B }}, producers: {{ count: 2 }} }}\n\
         load: {{ shape: constant, rate: 5k/s, warmup: 1s, duration: 6s, drain: 30s }}\n\
         expect: [verify.lost == 0, verify.duplicates == 0]\n",
        cluster.bootstrap().join(","),
        authority_file(cluster)?.display(),
    ))
}

/// What is required is enough; what is optional is not granted.
fn needs_what_its_plan_lists(cluster: &Arc<LocalCluster>) -> TestResult {
    make_user(cluster, "load", ScramHash::Sha256)?;
    let yaml = as_user(cluster, "load")?;
    let plan = gauntlet("plan", &yaml)?;
    let required = "--operation Create --operation Describe --operation Write --operation Read --operation Delete \
                    --topic gauntlet-load- --resource-pattern-type prefixed";
    assert_says(&plan.stdout(), &["User:load needs", required, "--operation Alter --cluster (without: "]);
    let operations =
        [Operation::Create, Operation::Describe, Operation::Write, Operation::Read, Operation::Delete];
    grant(cluster, "load", &on_topics("gauntlet-load-", &operations))?;
    let run = gauntlet("run", &yaml)?;
    let record = run.expect("PASS", 0)?;
    assert_eq!(record["verify"]["checked"], 35_000);
    let errors = record["errors"].to_string();
    assert!(!errors.contains("AUTHORIZATION"), "{errors}");
    let settings = &record["environment"]["config"]["security"];
    assert_eq!(
        (&settings["security.protocol"], &settings["sasl.mechanism"]),
        (&"SASL_SSL".into(), &"SCRAM-SHA-256".into())
    );
    let resolved = std::fs::read_to_string(run.dir.path().join("out/latest/scenario.resolved.yaml"))?;
    assert_says(&resolved, &[&format!("sasl.password: \"${{env.{VARIABLE}}}\"")]);
    run.assert_kept_secret()
}

fn ends_before_the_load(cluster: &Arc<LocalCluster>) -> TestResult {
    make_user(cluster, "limited", ScramHash::Sha256)?;
    let yaml = as_user(cluster, "limited")?;
    let reason = |told: &Told| -> Result<String, Failed> {
        assert_eq!(told.output.status.code(), Some(6), "{}", told.stdout());
        Ok(told.record()?["reasons"][0]["text"].as_str().unwrap_or_default().to_owned())
    };
    let run = gauntlet("run", &yaml)?;
    assert_says(&reason(&run)?, &["User:limited lacks Create on topic gauntlet-limited-"]);
    grant(
        cluster,
        "limited",
        &on_topics("gauntlet-limited-", &[Operation::Create, Operation::Read, Operation::Delete]),
    )?;
    let run = gauntlet("run", &yaml)?;
    assert_says(&reason(&run)?, &["User:limited lacks Write on topic gauntlet-limited-", "gauntlet plan"]);
    assert!(!reason(&run)?.contains("Read"), "only what is missing is named");
    run.assert_kept_secret()?;

    let wrong = yaml.replace("sasl.username: limited", "sasl.username: unheard-of");
    let run = gauntlet("run", &wrong)?;
    assert_says(
        &reason(&run)?,
        &["User:unheard-of", "SCRAM-SHA-256", &cluster.bootstrap()[0], "sasl.password"],
    );
    run.assert_kept_secret()
}

/// By every mechanism whose users a test can make, for longer than a session.
#[cfg(feature = "rdkafka")]
fn librdkafka_logs_in(cluster: &Arc<LocalCluster>) -> TestResult {
    make_user(cluster, "lib-256", ScramHash::Sha256)?;
    make_user(cluster, "lib-512", ScramHash::Sha512)?;
    let operations =
        [Operation::Create, Operation::Describe, Operation::Write, Operation::Read, Operation::Delete];
    let module = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule";
    for (user, mechanism, secret, keys) in [
        ("lib-256", "SCRAM-SHA-256", PASSWORD.to_owned(), "sasl.username: lib-256\n    sasl.password"),
        ("lib-512", "SCRAM-SHA-512", PASSWORD.to_owned(), "sasl.username: lib-512\n    sasl.password"),
        (
            "lib-token",
            "OAUTHBEARER",
            format!("{module} required unsecuredLoginStringClaim_sub=\"lib-token\";"),
            "sasl.jaas.config",
        ),
    ] {
        grant(cluster, user, &on_topics(&format!("gauntlet-{user}-"), &operations))?;
        let yaml = format!(
            "version: 1\nname: {user}\ncluster:\n  bootstrap_servers: \"{}\"\n  security:\n\
             \x20   security.protocol: SASL_SSL\n    sasl.mechanism: {mechanism}\n    {keys}: ${{env.{VARIABLE}}}\n\
             \x20   ssl.truststore.type: PEM\n    ssl.truststore.location: {}\n\
             topics: [{{ name: 'gauntlet-{user}-${{run.id}}', partitions: 2 }}]\n\
             workload:\n  payload: {{ size: 100B }}\n\
             \x20 producers: {{ count: 1, driver: rdkafka, config: {{ linger.ms: 50 }} }}\n\
             \x20 consumers: {{ driver: rdkafka, config: {{ rdkafka: {{ debug: security }} }} }}\n\
             load: {{ shape: constant, rate: 2k/s, warmup: 0s, duration: 7s, drain: 30s }}\n\
             expect: [verify.lost == 0]\n",
            cluster.bootstrap().join(","),
            authority_file(cluster)?.display(),
        );
        let dir = tempfile::tempdir()?;
        std::fs::write(dir.path().join("case.yaml"), yaml)?;
        let output = Command::new(GAUNTLET)
            .arg("run")
            .arg(dir.path().join("case.yaml"))
            .arg("--out")
            .arg(dir.path().join("out"))
            .env(VARIABLE, &secret)
            .output()?;
        let told = Told { dir, output };
        let verify = told.record()?["verify"].clone();
        let counts =
            ["acked", "checked", "lost", "duplicates", "reordered"].map(|field| verify[field].as_u64());
        assert_eq!(counts, [14_000, 14_000, 0, 0, 0].map(Some), "{}", told.stdout());
        told.assert_kept_secret()?;
        let log = std::fs::read_to_string(told.dir.path().join("out/latest/logs/librdkafka.log"))?;
        assert_says(&log, &["reader-0 debug", mechanism]);
    }
    Ok(())
}

/// Describe and Read are enough, and what is missing is named. What is set on the topic is told to who may know it.
fn fingerprint_needs_to_read(cluster: &Arc<LocalCluster>) -> TestResult {
    let topic = Topic::create(cluster, "looked-at", 2, &[("segment.bytes", "67108864")])?;
    cluster.grant(&on_topics("looked-", &[Operation::Read, Operation::Write]), LIMIT)?;
    let mut config = config(cluster.bootstrap(), &topic);
    config.links.security = cluster.security().clone();
    let produced = produce(config, vec![at_once(20, 50); 2], &Arc::new(AtomicU64::new(0)))?;
    judge(cluster, &topic, &produced)?.expect_all_acked(2_000)?;
    make_user(cluster, "looker", ScramHash::Sha256)?;
    let dir = tempfile::tempdir()?;
    let security = dir.path().join("client.yaml");
    let yaml = format!(
        "security.protocol: SASL_SSL\nsasl.mechanism: SCRAM-SHA-256\nsasl.username: looker\n\
         sasl.password: ${{env.{VARIABLE}}}\nssl.truststore.location: {}\n",
        authority_file(cluster)?.display()
    );
    std::fs::write(&security, yaml)?;
    let look = |code: i32| -> Result<String, Failed> {
        let output = Command::new(GAUNTLET)
            .args(["fingerprint", "--bootstrap", &cluster.bootstrap().join(","), "--topic", "looked-at"])
            .arg("--security")
            .arg(&security)
            .env(VARIABLE, PASSWORD)
            .output()?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(!text.contains(PASSWORD), "{text}");
        Ok(text)
    };
    assert_says(&look(6)?, &["User:looker lacks Describe on topic looked-at"]);
    grant(cluster, "looker", &on_topics("looked-", &[Operation::Describe]))?;
    assert_says(&look(6)?, &["User:looker lacks Read on topic looked-at"]);
    grant(cluster, "looker", &on_topics("looked-", &[Operation::Read]))?;
    assert_says(
        &look(0)?,
        &["name: like-looked-at", "2 000 records", "DescribeConfigs on it is not allowed"],
    );
    grant(cluster, "looker", &on_topics("looked-", &[Operation::DescribeConfigs]))?;
    assert_says(&look(0)?, &["segment.bytes: \"67108864\""]);
    Ok(())
}

/// The user's path without a cluster, by the scenario that is shipped: everything is made for the run.
fn a_killed_broker() -> TestResult {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/secured.yaml");
    let plan = Command::new(GAUNTLET).arg("plan").arg(&shipped).output()?;
    let plan = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert_says(
        &plan,
        &["jvm quick, heap 512MiB, SASL_SSL", "--topic orders", "the user of the load is granted"],
    );
    let run = gauntlet_with("run", &std::fs::read_to_string(shipped)?, &["--profile", "ci"])?;
    let record = run.expect("PASS", 0)?;
    assert_eq!(record["faults"][0]["took_effect"], true);
    report(&format!("killed broker under TLS: {}", record["faults"][0]["recovery_s"]));
    // Its passwords went with its data.
    let mut files = 0;
    assert_no_file_holds(run.dir.path(), b"PRIVATE KEY", &mut files)?;
    assert_no_file_holds(run.dir.path(), b"LoginModule required username=\"", &mut files)
}

/// One broker is enough for the question who is let in. Half of the load is librdkafka's.
fn certificates() -> TestResult {
    let other = if cfg!(feature = "rdkafka") { "rdkafka" } else { "wire" };
    let yaml = &format!(
        "version: 1\nname: certified\n\
         cluster: {{ local: {{ brokers: 1, jvm: quick, security: {{ protocol: SSL }} }} }}\n\
         workload:\n  payload: {{ size: 100B }}\n  producers: [{{ count: 1 }}, {{ count: 1, driver: {other} }}]\n\
         \x20 consumers: {{ driver: {other} }}\n\
         load: {{ shape: constant, rate: 5k/s, warmup: 1s, duration: 3s, drain: 30s }}\n\
         expect: [verify.lost == 0]\n"
    );
    let record = gauntlet("run", yaml)?.expect("PASS", 0)?;
    assert_eq!(record["environment"]["config"]["security"]["security.protocol"], "SSL");
    Ok(())
}
