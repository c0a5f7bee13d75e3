//! What a plan says of blocks with `driver: rdkafka`: what librdkafka refuses is refused at its line, before anything starts.

#![cfg(feature = "rdkafka")]
#![expect(clippy::unwrap_used, reason = "test code: clippy only knows functions with #[test] as such")]

use std::path::Path;
use std::process::{Command, Output};

const GAUNTLET: &str = env!("CARGO_BIN_EXE_gauntlet");

fn plan(workload: &str, rest: &str) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let yaml = format!(
        "version: 1\nname: drivers\nseed: 1\ncluster: {{ bootstrap_servers: \"127.0.0.1:9\" }}\n\
         topics: [{{ name: orders, partitions: 4, replication_factor: 3 }}]\n\
         load: {{ shape: constant, rate: 1M/s, warmup: 0s, duration: 10s }}\n\
         workload:\n  payload: {{ size: 100B }}\n{workload}{rest}"
    );
    std::fs::write(dir.path().join("drivers.yaml"), yaml).unwrap();
    Command::new(GAUNTLET).args(["plan", "drivers.yaml"]).current_dir(dir.path()).output().unwrap()
}

fn refusal(workload: &str, rest: &str) -> String {
    let output = plan(workload, rest);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn assert_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rdkafka").join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default(), "{name}; UPDATE=1 rewrites it");
}

/// The parts of a plan that are about the driver.
#[test]
fn a_plan_shows_what_librdkafka_is_set_to_and_warns_of_limits_on_numbers() {
    let output = plan(
        "  producers:\n    driver: rdkafka\n    count: 2\n    config:\n      batch.size: 1000000\n      linger.ms: 20\n\
         \x20     rdkafka: { batch.num.messages: 1000, queue.buffering.max.messages: 100000 }\n\
         \x20 consumers: { driver: rdkafka, config: { rdkafka: { queued.min.messages: 1000000 } } }\n",
        "expect: [client.queue max < 100_000, client.rtt_p99 mean < 20ms]\n",
    );
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let (mut shown, mut inside) = (String::new(), false);
    for line in text.lines() {
        inside = line.starts_with("driver ") || (inside && line.starts_with("          "));
        if inside || line.starts_with("warning ") {
            shown += &format!("{line}\n");
        }
    }
    let version = gauntlet::rdkafka::version().unwrap();
    assert_golden("plan.txt", &shown.replace(&format!("librdkafka {version}"), "librdkafka VERSION"));
}

#[test]
fn what_librdkafka_refuses_is_refused_at_its_line() {
    let mut all = String::new();
    for (title, workload, rest) in [
        (
            "no such property",
            "  producers:\n    driver: rdkafka\n    config:\n      rdkafka:\n        batch.num.mesages: 5\n",
            "",
        ),
        (
            "out of librdkafka's range, and out of the narrower range of a Kafka property",
            "  producers:\n    driver: rdkafka\n    config:\n      linger.ms: 1000000\n      delivery.timeout.ms: 2000000\n\
             \x20     rdkafka:\n        compression.level: 99\n",
            "",
        ),
        (
            "of the other side",
            "  producers:\n    driver: rdkafka\n    config:\n      rdkafka:\n        queued.min.messages: 5\n",
            "",
        ),
        (
            "with a unit, which librdkafka would leave out in silence",
            "  producers:\n    driver: rdkafka\n    config:\n      rdkafka:\n        queue.buffering.max.messages: 100_000\n",
            "",
        ),
        ("together", "  consumers:\n    driver: rdkafka\n    config:\n      fetch.max.bytes: 1000\n", ""),
        (
            "metrics of the other driver",
            "  producers: { driver: rdkafka }\n",
            "expect: [produce.service_time p99 < 10ms]\n",
        ),
        (
            "metrics without the driver",
            "  producers: {}\n",
            "expect: [client.queue max < 10, client.rtt_p50 max < 1s]\n",
        ),
        (
            "a queue that nobody has",
            "  consumers: { driver: rdkafka }\n",
            "expect: [client.queue max < 10]\n",
        ),
    ] {
        all += &format!("# {title}\n{}\n", refusal(workload, rest).trim_end());
    }
    let version = gauntlet::rdkafka::version().unwrap();
    assert_golden("refusals.txt", &all.replace(&format!("librdkafka {version}"), "librdkafka VERSION"));
}

#[test]
fn a_sweep_can_be_over_the_driver() {
    let output = plan(
        "  producers: { driver: '${matrix.driver}', config: { linger.ms: 20 } }\n\
         \x20 consumers: { driver: '${matrix.driver}' }\n",
        "sweep: { matrix: { driver: [wire, rdkafka] }, order: as-written }\n",
    );
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("driver=wire") && text.contains("driver=rdkafka"), "{text}");
}
