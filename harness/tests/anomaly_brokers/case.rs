//! A run of a scenario, and what is claimed of it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use gauntlet_chaos::kafka_home::KafkaHome;
use gauntlet_chaos::{KafkaSource, cache_dir};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{GAUNTLET, text};
use crate::referee::Logs;
use crate::wait::wait_for;

/// File that outcomes are appended to.
const ROWS: &str = "GAUNTLET_ANOMALY_ROWS";
/// Nothing here should take as long; it only has to end.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// Counts of the checker that are no finding.
const BOOKKEEPING: [&str; 10] = [
    "acked",
    "failed",
    "indeterminate",
    "indeterminate_present",
    "unacknowledged",
    "checked",
    "batches",
    "control_batches",
    "taken_back",
    "read_again",
];

/// Which run of an anomaly it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Plant,
    Control,
}

/// A scenario that runs.
pub(crate) struct Running {
    anomaly: &'static str,
    side: Side,
    dir: TempDir,
    child: Child,
    begun: Instant,
}

/// A run that has ended, and what it left.
pub(crate) struct Ended {
    anomaly: &'static str,
    side: Side,
    dir: TempDir,
    seconds: f64,
    code: Option<i32>,
    /// `run.json`.
    pub(crate) record: Value,
    /// `violations.json`.
    findings: Value,
}

impl Running {
    /// Starts `gauntlet run` of this scenario. The data of its brokers are kept, if it has its own.
    pub(crate) fn start(anomaly: &'static str, side: Side, yaml: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("case.yaml");
        std::fs::write(&file, yaml).unwrap();
        let libs = KafkaHome::resolve(&KafkaSource::default(), &cache_dir().unwrap()).unwrap().libs;
        let told = File::create(dir.path().join("told")).unwrap();
        let child = Command::new(GAUNTLET)
            .args(["run", "--keep-data", "--out"])
            // For programs of Kafka's own clients: brokers that are somebody else's tell nobody where their jars are.
            .env("GAUNTLET_KAFKA_LIBS", libs)
            .arg(dir.path().join("out"))
            .arg(&file)
            .stdout(told.try_clone().unwrap())
            .stderr(told)
            .spawn()
            .unwrap();
        Running { anomaly, side, dir, child, begun: Instant::now() }
    }

    /// Waits until so many records are acked.
    pub(crate) fn wait_for_acked(&self, records: u64) {
        wait_for(&format!("{records} acked records"), LIMIT, || self.acked() >= records);
    }

    /// How many records are acked, up to the last second that is over.
    pub(crate) fn acked(&self) -> u64 {
        let path = self.dir.path().join("out/latest/intervals.ndjson");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter_map(|line| line["second"]["acked"].as_u64()).sum::<u64>()
    }

    /// The process of the program that is this client.
    pub(crate) fn program(&self, client: &str) -> i32 {
        let log = std::fs::read_to_string(self.dir.path().join("out/latest/logs/external.log")).unwrap();
        let mut started = log.lines().filter(|line| line.contains(client));
        let pid = started.find_map(|line| line.rsplit_once(" as pid ")?.1.parse().ok());
        pid.unwrap_or_else(|| panic!("no {client} in {log}"))
    }

    /// Waits until the fault of this name has taken effect; gives whom it hit.
    pub(crate) fn wait_for_fault(&self, name: &str) -> Vec<i32> {
        let mut nodes = Vec::new();
        wait_for(&format!("fault {name}"), LIMIT, || {
            let path = self.dir.path().join("out/latest/faults.ndjson");
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let mut all = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let found = all.find(|fault| fault["name"] == name && !fault["took_effect_ns"].is_null());
            let hit = found.iter().flat_map(|fault| fault["target"]["nodes"].as_array()).flatten();
            nodes = hit.filter_map(|id| Some(id.as_i64()? as i32)).collect();
            !nodes.is_empty()
        });
        nodes
    }

    /// Where a broker of the run's own keeps the log of a partition.
    pub(crate) fn own_log(&self, node: i32, topic: &str, partition: u32) -> PathBuf {
        self.dir.path().join(format!("out/latest/cluster/broker-{node}/data/{topic}-{partition}"))
    }

    pub(crate) fn end(mut self) -> Ended {
        let code = self.child.wait().unwrap().code();
        let latest = self.dir.path().join("out/latest");
        let read = |name: &str| -> Value {
            let bytes = std::fs::read(latest.join(name))
                .unwrap_or_else(|e| panic!("{name}: {e}\n{}", told(self.dir.path())));
            serde_json::from_slice(&bytes).unwrap()
        };
        let (record, findings) = (read("run.json"), read("violations.json"));
        // Whatever happened in the log, its history says it as well.
        let rechecked = Command::new(GAUNTLET).arg("recheck").arg(&latest).output().unwrap();
        assert!(text(&rechecked).contains("the same as in run.json"), "{}", text(&rechecked));
        let Running { anomaly, side, dir, begun, .. } = self;
        Ended { anomaly, side, dir, seconds: begun.elapsed().as_secs_f64(), code, record, findings }
    }
}

fn told(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("told")).unwrap_or_default()
}

impl Ended {
    /// Runs a scenario to its end.
    pub(crate) fn of(anomaly: &'static str, side: Side, yaml: &str) -> Self {
        Running::start(anomaly, side, yaml).end()
    }

    /// Everything that may explain a failed claim.
    pub(crate) fn story(&self) -> String {
        let Self { anomaly, side, record, findings, .. } = self;
        let told = told(self.dir.path());
        format!(
            "{anomaly}, {side:?}\n{told}\n{:#}\n{:#}\n{:#}\n{findings:#}",
            record["reasons"], record["faults"], record["errors"]
        )
    }

    /// That it ended like this.
    pub(crate) fn expect_verdict(&self, verdict: &str, code: i32) {
        assert_eq!(self.record["verdict"], verdict, "{}", self.story());
        assert_eq!(self.code, Some(code), "{}", self.story());
    }

    /// That it passed. On a host that is busy itself, nobody may know whose fault it was that records were late: findings need no quiet
    /// host, and no other doubt is accepted.
    pub(crate) fn expect_pass(&self) {
        if self.record["verdict"] != "INCONCLUSIVE" {
            return self.expect_verdict("PASS", 0);
        }
        let reasons = self.record["reasons"].as_array().unwrap();
        let texts: Vec<&str> = reasons.iter().filter_map(|reason| reason["text"].as_str()).collect();
        let busy = "late because of gauntlet or the host, not the broker";
        assert!(texts.iter().all(|text| text.contains(busy)), "{}", self.story());
        assert_eq!(self.code, Some(5), "{}", self.story());
    }

    /// That nothing is held against anybody, though the brokers were away for a while: a load that nobody took may break expectations.
    pub(crate) fn expect_no_violation(&self) {
        let verdict = self.record["verdict"].as_str().unwrap();
        assert!(["PASS", "FAIL", "INCONCLUSIVE"].contains(&verdict), "{}", self.story());
        let reasons = self.record["reasons"].as_array().unwrap();
        assert!(reasons.iter().all(|reason| reason["exit"] != "violation"), "{}", self.story());
    }

    /// A count of the checker.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.findings["summary"][name].as_u64().unwrap_or_else(|| panic!("{name}\n{}", self.story()))
    }

    /// That every kind of finding which is not named is silent, and those named are not; what they count, the referee knows.
    pub(crate) fn expect_only(&self, named: &[&str]) {
        let summary = self.findings["summary"].as_object().unwrap();
        let counts = summary.iter().filter_map(|(name, count)| Some((name.as_str(), count.as_u64()?)));
        let found: Vec<&str> = counts
            .filter(|(name, count)| *count > 0 && !BOOKKEEPING.contains(name))
            .map(|(name, _)| name)
            .collect();
        let mut named = named.to_vec();
        named.sort_unstable();
        let mut sorted = found.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, named, "{}", self.story());
        assert_eq!(summary["degraded"], false, "{}", self.story());
    }

    /// The witnesses of a kind of finding (`lost`, `duplicate`), those lowest in the log; at least one.
    pub(crate) fn witnesses(&self, class: &str) -> Vec<Value> {
        let first = self.findings["evidence"]["by_class"][class]["first"].as_array().cloned();
        first.filter(|all| !all.is_empty()).unwrap_or_else(|| panic!("{class}\n{}", self.story()))
    }

    /// That who is to blame for each of them is this.
    pub(crate) fn expect_blame(&self, class: &str, blame: &str) {
        for witness in self.witnesses(class) {
            assert_eq!(witness["blame"], blame, "{witness:#}\n{}", self.story());
        }
    }

    /// That the fault of this name did this, and was active for at least so many seconds.
    pub(crate) fn expect_fault(&self, name: &str, action: &str, seconds: f64) {
        let faults = self.record["faults"].as_array().unwrap();
        let fault = faults.iter().find(|fault| fault["name"] == name);
        let fault = fault.unwrap_or_else(|| panic!("no fault {name}\n{}", self.story()));
        assert_eq!((&fault["action"], &fault["took_effect"]), (&action.into(), &true.into()), "{fault:#}");
        let at =
            |moment: &str| fault["at_s"][moment].as_f64().unwrap_or_else(|| panic!("{moment}: {fault:#}"));
        assert!(at("heal_began") - at("took_effect") >= seconds, "{fault:#}");
    }

    /// Counts of a partition: see `PartitionCounts` in `run/judge.rs`.
    pub(crate) fn partition(&self, partition: u32) -> &Value {
        let all = self.findings["partitions"].as_array().unwrap();
        let found = all.iter().find(|counts| counts["partition"] == partition);
        found.unwrap_or_else(|| panic!("partition {partition}\n{}", self.story()))
    }

    /// Directories of the log of a partition, one for each broker that the run had itself; at least one.
    pub(crate) fn own_logs(&self, topic: &str, partition: u32) -> Vec<PathBuf> {
        let nodes = std::fs::read_dir(self.dir.path().join("out/latest/cluster")).unwrap();
        let name = format!("data/{topic}-{partition}");
        let mut dirs: Vec<PathBuf> =
            nodes.map(|node| node.unwrap().path().join(&name)).filter(|dir| dir.is_dir()).collect();
        dirs.sort();
        assert!(!dirs.is_empty(), "no data of {topic}-{partition}");
        dirs
    }

    /// Claims that Kafka's count of the log of each partition, in every replica, is what the checker's counts add up to:
    ///
    /// records in the log = acked - lost + duplicates + those of unknown fate, or without ack, or refused, that are in it all the same
    ///
    /// of which as many are copies of another as there are duplicates, and as many are in batches that fail their checksum as are
    /// corrupt; the rest was checked.
    pub(crate) fn expect_agreement(&self, logs: &Logs) {
        for (partition, replicas) in &logs.partitions {
            let counts = self.partition(*partition);
            let of = |name: &str| counts[name].as_u64().unwrap_or_else(|| panic!("{name}: {counts:#}"));
            let open = of("indeterminate_present") + of("unacknowledged_present") + of("failed_but_present");
            let expected = of("acked") + of("duplicates") + open - of("lost");
            for (replica, log) in replicas {
                let what =
                    || format!("partition {partition} in {replica}: {log:?}\n{counts:#}\n{}", self.story());
                assert_eq!(log.records, expected, "{}", what());
                assert_eq!(log.records - log.distinct, of("duplicates"), "{}", what());
                assert_eq!(log.in_damaged_batches, of("corrupt"), "{}", what());
                assert_eq!(log.records, of("checked") + of("corrupt"), "{}", what());
                assert_eq!(log.end_offset, counts["position"], "{}", what());
            }
        }
    }

    /// Tells the outcome to whoever asked for it.
    pub(crate) fn tell(&self, expectation: &str, logs: &Logs) {
        let Some(path) = std::env::var_os(ROWS) else { return };
        let summary = self.findings["summary"].as_object().unwrap();
        let counts: serde_json::Map<String, Value> = summary
            .iter()
            .filter(|(_, n)| n.as_u64() > Some(0))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        let first_of_each = self.findings["evidence"]["by_class"].as_object().into_iter().flatten();
        let witnesses: serde_json::Map<String, Value> =
            first_of_each.map(|(class, all)| (class.clone(), all["first"][0].clone())).collect();
        let faults = self.record["faults"].as_array().into_iter().flatten();
        let faults: Vec<Value> = faults
            .map(|f| json!({"name": f["name"], "action": f["action"], "target": f["target"], "at_s": f["at_s"]}))
            .collect();
        let row = json!({
            "anomaly": self.anomaly,
            "side": if self.side == Side::Plant { "plant" } else { "control" },
            "kafka": gauntlet_chaos::KafkaVersion::DEFAULT.to_string(),
            "expectation": expectation,
            "verdict": self.record["verdict"],
            "exit_code": self.code,
            "reasons": self.record["reasons"],
            "counts": counts,
            "referee": logs.as_json(),
            "first_witnesses": witnesses,
            "faults": faults,
            "seconds": (self.seconds * 10.0).round() / 10.0,
        });
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{row}").unwrap();
    }
}
