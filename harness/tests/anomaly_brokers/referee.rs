//! Kafka's own tools as an independent count of what is in a log: DumpLogSegments on the files, and the console consumer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use gauntlet_chaos::kafka_home::{Java, KafkaHome};
use gauntlet_chaos::{KafkaSource, LocalCluster, cache_dir};
use serde_json::{Value, json};

use crate::program::text;

/// How long the console consumer waits for a next record, milliseconds. Its first one waits for the coordinator of its group, whose
/// topic may have to be made.
const CONSOLE_WAITS_MS: &str = "60000";

/// The log of one replica, as DumpLogSegments shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Log {
    /// Records in it.
    pub(crate) records: u64,
    /// Different records among them. Every message of the load is another one (`format: json` has an id in each).
    pub(crate) distinct: u64,
    pub(crate) batches: u64,
    /// Records in batches that fail their checksum.
    pub(crate) in_damaged_batches: u64,
    /// One more than the last offset.
    pub(crate) end_offset: i64,
    /// Epoch of the leader that appended the last batch.
    pub(crate) leader_epoch: i64,
}

/// The logs of the partitions of a topic: by partition, and by the name of the replica.
#[derive(Clone, Debug, Default)]
pub(crate) struct Logs {
    pub(crate) partitions: BTreeMap<u32, BTreeMap<String, Log>>,
}

impl Logs {
    /// Dumps the logs in these directories, `.../NODE/data/TOPIC-PARTITION`, by one call of the tool.
    pub(crate) fn dump(dirs: &[PathBuf]) -> Self {
        let mut files: Vec<PathBuf> = dirs.iter().flat_map(|dir| segments_of(dir)).collect();
        files.sort();
        let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        let mut command = kafka_tool("org.apache.kafka.tools.DumpLogSegments");
        command.args(["--deep-iteration", "--print-data-log", "--files", &names.join(",")]);
        let printed = run(&mut command);
        let mut readers: BTreeMap<PathBuf, Dump> = BTreeMap::new();
        let mut current = None;
        for line in printed.split('\n') {
            if let Some(file) = line.strip_prefix("Dumping ") {
                let dir = Path::new(file).parent().unwrap().to_path_buf();
                current = Some(dir);
            } else if let Some(dir) = &current {
                readers.entry(dir.clone()).or_default().line(line);
            }
        }
        let mut logs = Logs::default();
        for (dir, dump) in readers {
            let name = dir.file_name().unwrap().to_str().unwrap();
            let partition = name.rsplit_once('-').unwrap().1.parse().unwrap();
            let node = dir.ancestors().nth(2).unwrap().file_name().unwrap().to_str().unwrap().to_owned();
            logs.partitions.entry(partition).or_default().insert(node, dump.log());
        }
        assert_eq!(logs.partitions.values().map(BTreeMap::len).sum::<usize>(), dirs.len(), "{printed:.4000}");
        logs
    }

    /// The log of one partition, which is the same in every replica but for its name.
    pub(crate) fn only(&self) -> &Log {
        let replicas: Vec<&Log> = self.partitions.values().flat_map(BTreeMap::values).collect();
        assert!(replicas.iter().all(|log| *log == replicas[0]), "{self:#?}");
        replicas[0]
    }

    pub(crate) fn as_json(&self) -> Value {
        let log = |log: &Log| {
            json!({
                "records": log.records,
                "distinct": log.distinct,
                "batches": log.batches,
                "in_damaged_batches": log.in_damaged_batches,
                "end_offset": log.end_offset,
                "leader_epoch": log.leader_epoch,
            })
        };
        let partitions = self.partitions.iter().map(|(partition, replicas)| {
            let replicas: serde_json::Map<String, Value> =
                replicas.iter().map(|(name, found)| (name.clone(), log(found))).collect();
            (partition.to_string(), Value::Object(replicas))
        });
        Value::Object(partitions.collect())
    }
}

fn segments_of(dir: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect()
}

/// What the tool printed of one log.
#[derive(Default)]
struct Dump {
    log: Log,
    /// By the counts in the headers of batches.
    counted: u64,
    payloads: BTreeSet<String>,
}

impl Dump {
    fn line(&mut self, line: &str) {
        let field = |name: &str| -> Option<&str> {
            let (_, rest) = line.split_once(&format!("{name}: "))?;
            rest.split_whitespace().next()
        };
        let number = |name: &str| -> i64 {
            field(name).unwrap_or_else(|| panic!("{name} in {line}")).parse().unwrap()
        };
        if line.starts_with("baseOffset: ") {
            let count = number("count") as u64;
            self.log.batches += 1;
            self.counted += count;
            self.log.end_offset = number("lastOffset") + 1;
            self.log.leader_epoch = number("partitionLeaderEpoch");
            if field("isvalid") != Some("true") {
                self.log.in_damaged_batches += count;
            }
        } else if line.starts_with("| offset: ") {
            self.log.records += 1;
            let (_, payload) =
                line.split_once(" payload: ").unwrap_or_else(|| panic!("no payload in {line}"));
            self.payloads.insert(payload.to_owned());
        }
    }

    fn log(self) -> Log {
        assert_eq!(self.counted, self.log.records, "headers of batches and records");
        Log { distinct: self.payloads.len() as u64, ..self.log }
    }
}

/// How many records the console consumer gets of each partition, from the beginning on, `records` in all.
pub(crate) fn consume(cluster: &LocalCluster, topic: &str, records: u64) -> BTreeMap<u32, u64> {
    let mut command = kafka_tool("org.apache.kafka.tools.consumer.ConsoleConsumer");
    command.args(["--bootstrap-server", &cluster.bootstrap().join(","), "--topic", topic]);
    command.args(["--from-beginning", "--timeout-ms", CONSOLE_WAITS_MS]);
    command.args(["--max-messages", &records.to_string()]);
    for what in ["print.partition=true", "print.offset=true", "print.value=false"] {
        command.args(["--formatter-property", what]);
    }
    let mut counts: BTreeMap<u32, BTreeSet<i64>> = BTreeMap::new();
    for line in run(&mut command).lines().filter(|line| line.starts_with("Partition:")) {
        let mut fields = line.split('\t').map(|field| field.split_once(':').unwrap().1);
        let partition = fields.next().unwrap().parse().unwrap();
        let offset = fields.next().unwrap().parse().unwrap();
        assert!(counts.entry(partition).or_default().insert(offset), "twice: {line}");
    }
    counts.into_iter().map(|(partition, offsets)| (partition, offsets.len() as u64)).collect()
}

/// One of Kafka's tools, of the version that local clusters run.
fn kafka_tool(class: &str) -> Command {
    let home = KafkaHome::resolve(&KafkaSource::default(), &cache_dir().unwrap()).unwrap();
    let java = Java::find(home.version.java_min()).unwrap();
    let mut command = Command::new(java.program);
    command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m"]);
    command.arg("-cp").arg(home.class_path()).arg(class);
    command
}

/// What it printed; it has to succeed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}\n{:.8000}", output.status, text(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
