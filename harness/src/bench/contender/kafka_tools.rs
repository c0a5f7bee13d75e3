//! Kafka's own ProducerPerformance and ConsumerPerformance (package `org.apache.kafka.tools`), from the jars of the brokers.
//!
//! The JVM is set as `kafka-run-class.sh` and `kafka-producer-perf-test.sh` set it. ProducerPerformance takes its latencies from
//! `send()` on: a record that waited for its turn, or in `send()` before that, does not count the wait.

use std::process::Command;

use gauntlet_chaos::kafka_home::{Java, KafkaHome};
use gauntlet_chaos::{KafkaSource, KafkaVersion};
use gauntlet_reports::record::LatencyMs;

use super::{Contender, Kit, Knob, LINGER, Missing, Read, Said, Trial, printed};
use crate::bench::matrix::{Cell, Mode};
use crate::bench::record::{ContenderRecord, LatencyFrom};
use crate::bench::{BenchError, on_file};

pub(super) const NAME: &str = "kafka-tools";

pub(super) const PRODUCE: &[Knob] = &[
    Knob { name: LINGER, values: &["20", "5", "50"] },
    Knob { name: "batch.size", values: &["262144", "65536", "1048576", "16384"] },
    Knob { name: "buffer.memory", values: &["67108864", "268435456", "33554432"] },
    Knob { name: "max.in.flight.requests.per.connection", values: &["5", "2", "1"] },
];

const CONSUME: &[Knob] = &[
    Knob { name: "fetch.min.bytes", values: &["1", "65536"] },
    Knob { name: FETCH_SIZE, values: &["1048576", "4194304"] },
    Knob { name: "max.poll.records", values: &["500", "5000"] },
];

/// An option of ConsumerPerformance, which sets `max.partition.fetch.bytes` by it, whatever the file of properties says.
const FETCH_SIZE: &str = "fetch-size";
/// The first version whose tools take these options (KIP-1147).
const OLDEST: &str = "4.2.0";

/// What `kafka-run-class.sh` passes (KAFKA_JVM_PERFORMANCE_OPTS), with the heap of `kafka-producer-perf-test.sh`.
const JVM_FLAGS: [&str; 7] = [
    "-Xmx512m",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true",
];

struct KafkaTools {
    java: Java,
    home: KafkaHome,
}

pub(super) fn find(kit: &Kit) -> Result<Box<dyn Contender>, Missing> {
    let source = kit.kafka_home.clone().map_or_else(KafkaSource::default, KafkaSource::Directory);
    let home = KafkaHome::resolve(&source, &kit.cache).map_err(|error| Missing(error.to_string()))?;
    if OLDEST.parse().is_ok_and(|oldest: KafkaVersion| home.version < oldest) {
        return Err(Missing(format!(
            "the tools of Kafka {} have other options; name a distribution of {OLDEST} or newer",
            home.version
        )));
    }
    let java = Java::find(home.version.java_min()).map_err(|error| Missing(error.to_string()))?;
    let jars = std::fs::read_dir(&home.libs).map_err(|error| Missing(error.to_string()))?;
    let has_tools = jars.flatten().any(|jar| jar.file_name().to_string_lossy().starts_with("kafka-tools-"));
    if !has_tools {
        return Err(Missing(
            "there is no kafka-tools jar beside the broker's; name a whole distribution".to_owned(),
        ));
    }
    Ok(Box::new(KafkaTools { java, home }))
}

impl KafkaTools {
    fn java(&self, class: &str) -> Command {
        let mut command = Command::new(&self.java.program);
        command.args(JVM_FLAGS).arg("-cp").arg(self.home.class_path());
        command.arg(format!("org.apache.kafka.tools.{class}"));
        command
    }
}

impl Contender for KafkaTools {
    fn describe(&self) -> ContenderRecord {
        ContenderRecord {
            name: NAME.to_owned(),
            what: format!(
                "ProducerPerformance and ConsumerPerformance of Apache Kafka {}, on Java {}",
                self.home.version, self.java.feature_version
            ),
            latency_from: LatencyFrom::Sent,
            note: Some("its reader does not check batches' checksums".to_owned()),
        }
    }

    fn does(&self, cell: Cell) -> bool {
        cell.mode != Mode::Both
    }

    fn knobs(&self, mode: Mode) -> Vec<Knob> {
        if mode == Mode::Consume { CONSUME.to_vec() } else { PRODUCE.to_vec() }
    }

    fn is_counted(&self) -> bool {
        true
    }

    fn command(&self, trial: &Trial<'_>) -> Result<Command, BenchError> {
        let properties = properties(trial);
        let path = trial.dir.join("client.properties");
        std::fs::write(&path, &properties).map_err(on_file("write", &path))?;
        let records = trial.records.to_string();
        if trial.cell.mode == Mode::Consume {
            let mut command = self.java("ConsumerPerformance");
            command
                .args(["--bootstrap-server", &trial.servers(), "--topic", trial.topic])
                .args(["--num-records", &records, "--timeout", "60000", "--hide-header"])
                .args(["--fetch-size", trial.setting(FETCH_SIZE), "--command-config"])
                .arg(&path);
            return Ok(command);
        }
        let mut command = self.java("ProducerPerformance");
        command
            .args(["--topic", trial.topic, "--num-records", &records])
            .args(["--throughput", &trial.per_s().map_or_else(|| "-1".to_owned(), |rate| rate.to_string())])
            .args(["--warmup-records", &trial.warmup_records().to_string(), "--command-config"])
            .arg(&path)
            .arg("--payload-file")
            .arg(trial.payloads);
        Ok(command)
    }

    fn read(&self, trial: &Trial<'_>) -> Result<Said, String> {
        let text = printed(trial)?;
        if trial.cell.mode == Mode::Consume {
            return Ok(Said { read: Some(consumed(&text)?), ..Said::default() });
        }
        let produced = produced(&text)?;
        if produced.records < trial.records {
            return Err(format!("{} of {} records were acked", produced.records, trial.records));
        }
        Ok(Said { latency_ms: Some(produced.latency_ms), ..Said::default() })
    }
}

fn properties(trial: &Trial<'_>) -> String {
    let mut lines = vec![format!("bootstrap.servers={}", trial.servers())];
    if trial.cell.mode != Mode::Consume {
        let request_bytes = 4 << 20;
        lines.extend([
            "acks=all".to_owned(),
            "enable.idempotence=true".to_owned(),
            format!("compression.type={}", trial.cell.codec.name()),
            format!("max.request.size={request_bytes}"),
        ]);
    }
    let own = trial.settings.iter().filter(|(name, _)| *name != FETCH_SIZE);
    lines.extend(own.map(|(name, value)| format!("{name}={value}")));
    lines.join("\n") + "\n"
}

#[derive(Debug, PartialEq)]
struct Produced {
    /// Of the whole run, its warm-up included.
    records: u64,
    latency_ms: LatencyMs,
}

/// Reads the summary lines; with a warm-up there are two, of which the second is of the rest:
/// `1000 records sent, 500.0 records/sec (0.05 MB/sec), 3.20 ms avg latency, 40.00 ms max latency, 2 ms 50th, 9 ms 95th, 20 ms
/// 99th, 38 ms 99.9th.`
fn produced(text: &str) -> Result<Produced, String> {
    let totals: Vec<&str> = text.lines().filter(|line| line.contains(" ms 99.9th")).collect();
    let (Some(all), Some(last)) = (totals.first(), totals.last()) else {
        return Err("it printed no summary".to_owned());
    };
    let unreadable = || format!("its summary can't be read: {last}");
    let value = |unit: &str| -> Result<Option<f64>, String> {
        let before = last.split(", ").find_map(|part| part.trim_end_matches('.').strip_suffix(unit));
        before.ok_or_else(unreadable)?.trim().parse().map(Some).map_err(|_| unreadable())
    };
    let records = all.split(' ').next().and_then(|number| number.parse().ok()).ok_or_else(unreadable)?;
    Ok(Produced {
        records,
        latency_ms: LatencyMs {
            p50: value(" ms 50th")?,
            p99: value(" ms 99th")?,
            p999: value(" ms 99.9th")?,
            max: value(" ms max latency")?,
        },
    })
}

/// Reads `start.time, end.time, MB, MB.sec, records, records.sec, rebalance.time.ms, fetch.time.ms, ...`: the time to fetch is what
/// is left of all of it after joining the group.
fn consumed(text: &str) -> Result<Read, String> {
    if let Some(warning) = text.lines().find(|line| line.starts_with("WARNING: Exiting before")) {
        return Err(warning.to_owned());
    }
    let line = text.lines().rev().find(|line| line.matches(", ").count() == 9);
    let line = line.ok_or_else(|| "it printed no result".to_owned())?;
    let fields: Vec<&str> = line.split(", ").collect();
    let number = |index: usize| fields[index].trim().parse::<u64>();
    match (number(4), number(7)) {
        (Ok(records), Ok(fetch_ms)) if fetch_ms > 0 => Ok(Read { records, seconds: fetch_ms as f64 / 1e3 }),
        _ => Err(format!("its result can't be read: {line}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Printed by the tools of Kafka 4.3.0 in trials, but for the directory of the payloads.
    const PRODUCED: &str = "\
Reading payloads from: payload-100B.txt
Number of records read: 167772
Warmup first 165415 records. Steady state results will print after the complete test summary.
661661 records sent, 180092.814371 records/sec (17.17 MB/sec), 24.69 ms avg latency, 965.00 ms max latency, 21 ms 50th, 52 ms 95th, 79 ms 99th, 123 ms 99.9th.
496246 steady state records sent, 246520.615996 records/sec (23.51 MB/sec), 23.95 ms avg latency, 78.00 ms max latency, 22 ms 50th, 46 ms 95th, 63 ms 99th, 78 ms 99.9th.
";
    const CONSUMED: &str = "2026-11-22 07:41:33:743, 2026-11-22 07:41:36:533, 38.1470, 13.6728, 400000, 143369.1756, 1069, 1721, 22.1656, 232423.0099\n";

    #[test]
    fn latencies_are_those_after_the_warmup_and_records_are_all() {
        let produced = produced(PRODUCED).unwrap();
        assert_eq!(produced.records, 661_661);
        let latency = LatencyMs { p50: Some(22.0), p99: Some(63.0), p999: Some(78.0), max: Some(78.0) };
        assert_eq!(produced.latency_ms, latency);
    }

    #[test]
    fn without_warmup_there_is_one_summary() {
        let text: String = PRODUCED.lines().take(4).map(|line| format!("{line}\n")).collect();
        assert_eq!(produced(&text).unwrap().latency_ms.p99, Some(79.0));
        assert!(produced("org.apache.kafka.common.errors.TimeoutException\n").is_err());
    }

    #[test]
    fn joining_the_group_is_no_part_of_reading() {
        assert_eq!(consumed(CONSUMED), Ok(Read { records: 400_000, seconds: 1.721 }));
        // Not captured, but from the source of ConsumerPerformance.
        let cut = "WARNING: Exiting before consuming the expected number of records: timeout (60000 ms) exceeded.\n";
        assert!(consumed(&format!("{cut}{CONSUMED}")).unwrap_err().starts_with("WARNING"));
        assert!(consumed("").is_err());
    }
}
