//! A drill on several brokers that gauntlet did not start, under load: whom a role means is found out when it is due, and done to by the
//! operator's commands.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use gauntlet_chaos::supervisor::NodeState;

use super::*;

/// The operator's command: `hook DIR VERB BROKER`. The brokers' parent does it, as only that can start one so that it does not outlive its test.
const SCRIPT: &str = r#"#!/bin/sh
echo "$2 $3" > "$1/$$.new"; mv "$1/$$.new" "$1/$$.asked"
while ! test -e "$1/$$.done"; do sleep 0.05; done
"#;

/// Three brokers, and who does to them what hooks ask for.
struct Drill {
    dir: TempDir,
    cluster: LocalCluster,
}

impl Drill {
    fn start() -> Self {
        let fast = [("broker.session.timeout.ms", "3000"), ("broker.heartbeat.interval.ms", "500")];
        let config = fast.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let spec = LocalSpec { config, ..quick(3) };
        let (cluster, dir) = brokers::start(&spec);
        let hook = dir.path().join("hook");
        fs::write(&hook, SCRIPT).unwrap();
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir, cluster }
    }

    /// A hook for `action`.
    fn hook(&self, action: &str, apply: &str, heal: &str) -> String {
        let dir = self.dir.path().display();
        let command = |verb: &str| format!("[{dir}/hook, {dir}, {verb}, '{{broker.id}}']");
        format!("    {action}: {{ apply: {}, heal: {} }}\n", command(apply), command(heal))
    }

    /// A run on these brokers with `hooks`; what it said, its record, and all that hooks have asked for.
    fn run(&self, hooks: &str, rest: &str) -> (Output, Value, Vec<String>) {
        let file = self.dir.path().join("drill.yaml");
        let yaml = format!(
            "version: 1\nname: drill\nseed: 1\n\
             cluster:\n  bootstrap_servers: \"{}\"\n  command:\n{hooks}\
             topics: [{{ name: orders, partitions: 6, config: {{ min.insync.replicas: 2 }} }}]\n\
             workload: {{ payload: {{ size: 100B }}, producers: {{ config: {{ acks: all }} }} }}\n{rest}",
            self.cluster.bootstrap().join(", ")
        );
        fs::write(&file, yaml).unwrap();
        let (over, mut asked) = (AtomicBool::new(false), Vec::new());
        let output = thread::scope(|scope| {
            let operator = scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    asked.extend(self.serve());
                    thread::sleep(Duration::from_millis(20));
                }
            });
            let mut command = Command::new(GAUNTLET);
            command.arg("run").arg(&file).arg("--yes").arg("--out").arg(self.dir.path().join("out"));
            let output = command.output();
            over.store(true, Ordering::Relaxed);
            operator.join().unwrap();
            output.unwrap()
        });
        let record = fs::read_to_string(self.dir.path().join("out/latest/run.json")).unwrap();
        (output, serde_json::from_str(&record).unwrap(), asked)
    }

    /// Does what hooks ask for now; gives it.
    fn serve(&self) -> Vec<String> {
        let mut asked = Vec::new();
        for entry in fs::read_dir(self.dir.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "asked") {
                continue;
            }
            let request = fs::read_to_string(&path).unwrap().trim().to_owned();
            let (verb, broker) = request.split_once(' ').unwrap();
            self.obey(verb, broker.parse().unwrap());
            fs::remove_file(&path).unwrap();
            fs::write(path.with_extension("done"), "").unwrap();
            asked.push(request);
        }
        asked
    }

    /// What is so already is left alone.
    fn obey(&self, verb: &str, broker: i32) {
        let states: BTreeMap<i32, NodeState> =
            self.cluster.statuses().unwrap().into_iter().map(|status| (status.node, status.state)).collect();
        let done = match (verb, &states[&broker]) {
            ("kill", NodeState::Running) => self.cluster.kill(broker),
            ("stop", NodeState::Running) => self.cluster.stop(broker, LIMIT),
            ("pause", NodeState::Running) => self.cluster.pause(broker),
            ("resume", NodeState::Paused) => self.cluster.resume(broker),
            ("start", NodeState::Exited(_)) => self.cluster.start_node(broker),
            _ => return,
        };
        done.unwrap();
    }
}

/// The broker that a fault of the record has hit, and why that one: `broker 2 (leader of orders-0)`.
fn hit(fault: &Value) -> (&str, &str) {
    let target = fault["target"].as_str().unwrap();
    target.strip_prefix("broker ").and_then(|hit| hit.split_once(' ')).unwrap_or_else(|| panic!("{target}"))
}

#[test]
#[ignore = "over the time budget of ci/test; ci/faults runs it"]
fn a_drill_on_three_brokers_costs_nothing_that_was_acked() {
    let drill = Drill::start();
    let hooks = [
        drill.hook("broker.kill", "kill", "start"),
        drill.hook("broker.restart", "stop", "start"),
        drill.hook("broker.bounce", "kill", "start"),
    ];
    let rest = "load: { shape: constant, rate: 1k/s, warmup: 2s, duration: 90s, drain: 60s }\n\
                faults:\n\
                \x20 - { name: leader, at: 2s, action: broker.kill, target: { role: leader, of: { topic: orders, partition: 0 } }, recover: { action: broker.start, after: 4s } }\n\
                \x20 - { name: controller, at: 30s, action: broker.restart, target: { role: controller } }\n\
                \x20 - { name: any, at: 60s, action: broker.bounce, target: { role: broker } }\n\
                expect: [verify.lost == 0, verify.duplicates == 0, verify.reordered == 0]\n";
    let (output, record, asked) = drill.run(&hooks.concat(), rest);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let faults = record["faults"].as_array().unwrap();
    let [leader, controller, any] = &faults[..] else { panic!("{faults:#?}") };
    let expected = [
        format!("kill {}", hit(leader).0),
        format!("start {}", hit(leader).0),
        format!("stop {}", hit(controller).0),
        format!("start {}", hit(controller).0),
        format!("kill {}", hit(any).0),
        format!("start {}", hit(any).0),
    ];
    assert_eq!(asked, expected, "what was done is what the report says");
    for fault in faults {
        assert_eq!((&fault["took_effect"], &fault["error"]), (&true.into(), &Value::Null), "{fault:#}");
        assert!(fault["at_s"]["healed"].is_f64(), "{fault:#}");
    }
    assert!(leader["recovery_s"]["leader_elected"].as_f64().is_some(), "{leader:#}");
    assert!(hit(leader).1.contains("leader of orders-0"), "{leader:#}");
    assert!(hit(controller).1.contains("active controller"), "{controller:#}");
    assert!(record["verify"]["checked"].as_u64() >= Some(90_000), "{:#}", record["verify"]);
}

#[test]
#[ignore = "over the time budget of ci/test; ci/faults runs it"]
fn a_guardrail_heals_by_hook() {
    let drill = Drill::start();
    let hooks = drill.hook("broker.pause", "pause", "resume");
    let rest = "load: { shape: constant, rate: 500/s, warmup: 2s, duration: 200s, drain: 60s }\n\
                faults: [{ name: freeze, at: 2s, action: broker.pause, target: { id: 2 }, for: 180s }]\n\
                expect: [verify.lost == 0]\n\
                abort_when: [{ that: cluster.under_replicated_partitions max > 0, for: 2s }]\n";
    let (output, record, asked) = drill.run(&hooks, rest);
    assert_eq!(output.status.code(), Some(99), "{}", text(&output));
    assert!(text(&output).contains("the load ends and every fault is healed"), "{}", text(&output));
    assert_eq!(asked, ["pause 2", "resume 2"]);
    let at = |moment: &str| record["faults"][0]["at_s"][moment].as_f64().unwrap();
    assert!(at("heal_began") - at("took_effect") < 90.0, "long before its time: {:#}", record["faults"]);
    assert_eq!(record["verify"]["lost"], 0);
}
