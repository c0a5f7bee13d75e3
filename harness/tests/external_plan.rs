//! What a plan says of blocks with `driver: external`: the program is looked up before anything starts.

#![expect(clippy::unwrap_used, reason = "test code: clippy only knows functions with #[test] as such")]

use std::process::{Command, Output};

const GAUNTLET: &str = env!("CARGO_BIN_EXE_gauntlet");

fn plan(cluster: &str, workload: &str, rest: &str) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let yaml = format!(
        "version: 1\nname: programs\nseed: 1\ncluster: {cluster}\n\
         topics: [{{ name: orders, partitions: 4, replication_factor: 3 }}]\n\
         load: {{ shape: constant, rate: 1k/s, warmup: 0s, duration: 10s }}\n\
         workload:\n  payload: {{ size: 100B }}\n{workload}{rest}"
    );
    std::fs::write(dir.path().join("programs.yaml"), yaml).unwrap();
    Command::new(GAUNTLET)
        .args(["plan", "programs.yaml"])
        .current_dir(dir.path())
        .env("TOKEN", "t0k")
        .output()
        .unwrap()
}

const FOREIGN: &str = "{ bootstrap_servers: \"127.0.0.1:9\" }";

fn shown(output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_plan_shows_the_program_and_what_it_will_be_told() {
    let text = shown(&plan(
        FOREIGN,
        "  producers: { driver: external, command: [sh, -c, 'exec client'], config: { acks: 1, external: { max.block.ms: 5 } } }\n\
         \x20 consumers: { driver: external, command: [sh] }\n",
        "",
    ));
    let sh = text.lines().find(|line| line.starts_with("driver  producers")).unwrap();
    assert!(
        sh.starts_with("driver  producers of orders · external: /")
            && sh.ends_with("/sh -c exec client, told"),
        "{sh}"
    );
    assert!(text.contains("          acks=1\n") && text.contains("          max.block.ms=5\n"), "{text}");
    assert!(text.contains("driver  consumers of orders · external: /"), "{text}");
}

#[test]
fn what_can_not_be_started_or_told_is_refused() {
    for (cluster, workload, rest, expected) in [
        (
            FOREIGN,
            "  producers: { driver: external, command: [./client] }\n",
            "",
            "error: there is no `./client`",
        ),
        (
            FOREIGN,
            "  producers: { driver: external, command: [./programs.yaml] }\n",
            "",
            "`./programs.yaml` can't be executed",
        ),
        (
            FOREIGN,
            "  consumers: { driver: external, command: [no-such-client] }\n",
            "",
            "there is no `no-such-client` in PATH",
        ),
        (
            FOREIGN,
            "  producers: { driver: external, command: [sh] }\n",
            "expect: [produce.service_time p99 < 10ms]\n",
            "another client than gauntlet's own, which does not tell when it writes",
        ),
        (
            "{ bootstrap_servers: \"127.0.0.1:9\", security: { security.protocol: SASL_PLAINTEXT, sasl.mechanism: OAUTHBEARER, \
             sasl.oauthbearer.token: '${env.TOKEN}' } }",
            "  producers: { driver: external, command: [sh] }\n",
            "",
            "`driver: external` does not log in by OAUTHBEARER in this version",
        ),
    ] {
        let text = refused(&plan(cluster, workload, rest));
        assert!(text.contains(expected), "{workload}: {text}");
        assert!(text.contains("programs.yaml:"), "it has a place: {text}");
    }
}

#[test]
fn a_sweep_can_be_over_the_driver_with_a_command_beside_it() {
    let text = shown(&plan(
        FOREIGN,
        "  producers: { driver: '${matrix.driver}', command: [sh], config: { linger.ms: 20 } }\n\
         \x20 consumers: { driver: '${matrix.driver}', command: [sh] }\n",
        "sweep: { matrix: { driver: [wire, external] }, order: as-written }\n",
    ));
    assert!(text.contains("driver=wire") && text.contains("driver=external"), "{text}");
}
