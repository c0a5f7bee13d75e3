//! librdkafka's own `rdkafka_performance`, built once from the source that the crate rdkafka-sys carries.
//!
//! Two things limit what it can be compared in. It sends one record again and again, so a codec has next to nothing to do, neither
//! in the client nor in the brokers: what was stored per record tells. And its rate limit is a busy wait between two records, so at a
//! fixed rate its CPU would be that of waiting; it only takes part flat out.

use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use super::peer_build::{PeerBuild, Source, program};
use super::{Contender, Kit, Knob, LINGER, Missing, Read, Said, Trial, printed};
use crate::bench::matrix::{Cell, Mode, Pace};
use crate::bench::payload::LineMaker;
use crate::bench::record::{ContenderRecord, LatencyFrom};
use crate::bench::{BenchError, on_file};

pub(super) const NAME: &str = "rdkafka-performance";

/// A package that depends on rdkafka-sys and nothing else, so that cargo fetches its source.
const SOURCES: &[Source] = &[
    Source { path: "Cargo.toml", text: include_str!("../../../../ci/peers/librdkafka/Cargo.toml.source") },
    Source { path: "Cargo.lock", text: include_str!("../../../../ci/peers/librdkafka/Cargo.lock.source") },
    Source { path: "src/lib.rs", text: "" },
];
const CRATE: &str = "rdkafka-sys";
/// What it is built without: nothing of it is used here, and the machine may not have it. LZ4 it brings along.
const CONFIGURE: [&str; 5] =
    ["--disable-ssl", "--disable-gssapi", "--disable-zstd", "--disable-curl", "--disable-lz4-ext"];
/// Its codecs, as it is built.
const CODECS: [&str; 4] = ["none", "gzip", "snappy", "lz4"];
const INSTALL: &str = "install build-essential (Debian) to have it measured";

pub(super) const PRODUCE: &[Knob] = &[
    Knob { name: LINGER, values: &["20", "5", "50"] },
    Knob { name: "batch.size", values: &["1000000", "262144"] },
    Knob { name: "batch.num.messages", values: &["10000", "100000"] },
    Knob { name: "queue.buffering.max.messages", values: &["500000", "100000", "2000000"] },
    Knob { name: "max.in.flight.requests.per.connection", values: &["5", "2"] },
    Knob { name: "sticky.partitioning.linger.ms", values: &["10", "0"] },
];

const CONSUME: &[Knob] = &[
    Knob { name: "queued.min.messages", values: &["1000000", "100000"] },
    Knob { name: "fetch.message.max.bytes", values: &["1048576", "4194304"] },
];

struct RdkafkaPerformance {
    program: PathBuf,
    version: String,
}

pub(super) fn find(kit: &Kit) -> Result<Box<dyn Contender>, Missing> {
    let build = PeerBuild::open(&kit.cache, NAME, SOURCES)?;
    let source = build.dir().join("librdkafka");
    let built = source.join("examples").join("rdkafka_performance");
    if !build.is_done() {
        let cargo = program("cargo", "install Rust: cargo fetches its source")?;
        let (make, _cc) = (program("make", INSTALL)?, program("cc", INSTALL)?);
        build.step(Command::new(&cargo).args(["fetch", "--locked"]).current_dir(build.dir()))?;
        let fetched = crate_dir(&cargo, &build)?.join("librdkafka");
        build.step(Command::new("cp").arg("-rT").arg(&fetched).arg(&source))?;
        build.step(Command::new("./configure").args(CONFIGURE).current_dir(&source))?;
        build.step(Command::new(&make).args(["-j2", "-C", "src", "librdkafka.a"]).current_dir(&source))?;
        build
            .step(Command::new(&make).args(["-C", "examples", "rdkafka_performance"]).current_dir(&source))?;
        build.done()?;
    }
    Ok(Box::new(RdkafkaPerformance { program: built, version: version() }))
}

/// Version of librdkafka: the second half of the crate's (`4.10.0+2.12.1`).
fn version() -> String {
    let lock = SOURCES[1].text;
    let after = lock.split_once(&format!("name = \"{CRATE}\"\nversion = \"")).map(|(_, after)| after);
    let version = after.and_then(|after| after.split('"').next()).and_then(|version| version.split_once('+'));
    version.map_or_else(String::new, |(_, librdkafka)| librdkafka.to_owned())
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
}

/// Where cargo has put the crate.
fn crate_dir(cargo: &std::path::Path, build: &PeerBuild) -> Result<PathBuf, Missing> {
    let missing = |why: String| Missing(format!("cargo does not say where {CRATE} is: {why}"));
    let output = Command::new(cargo)
        .args(["metadata", "--locked", "--offline", "--format-version", "1"])
        .current_dir(build.dir())
        .output()
        .map_err(|error| missing(error.to_string()))?;
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).map_err(|error| missing(error.to_string()))?;
    let package = metadata.packages.into_iter().find(|package| package.name == CRATE);
    package
        .and_then(|package| Some(package.manifest_path.parent()?.to_path_buf()))
        .ok_or_else(|| missing("it is not among its packages".to_owned()))
}

impl Contender for RdkafkaPerformance {
    fn describe(&self) -> ContenderRecord {
        ContenderRecord {
            name: NAME.to_owned(),
            what: format!("rdkafka_performance of librdkafka {}", self.version),
            latency_from: LatencyFrom::Sent,
            note: Some(
                "sends one record again and again, which compresses to almost nothing; tells no quantiles; \
                 flat out only, because it waits busily"
                    .to_owned(),
            ),
        }
    }

    fn does(&self, cell: Cell) -> bool {
        let is_flat_out = cell.mode == Mode::Produce && cell.pace == Pace::FlatOut;
        (is_flat_out || cell.mode == Mode::Consume) && CODECS.contains(&cell.codec.name())
    }

    fn knobs(&self, mode: Mode) -> Vec<Knob> {
        if mode == Mode::Consume { CONSUME.to_vec() } else { PRODUCE.to_vec() }
    }

    fn is_counted(&self) -> bool {
        true
    }

    fn command(&self, trial: &Trial<'_>) -> Result<Command, BenchError> {
        let path = trial.dir.join("client.properties");
        let lines = trial.settings.iter().map(|(name, value)| format!("{name}={value}\n"));
        std::fs::write(&path, lines.collect::<String>()).map_err(on_file("write", &path))?;
        let mut command = Command::new(&self.program);
        command.args(["-b", &trial.servers(), "-t", trial.topic, "-c", &trial.records.to_string()]);
        command.arg("-X").arg(format!("file={}", path.display()));
        if trial.cell.mode == Mode::Consume {
            command.args(["-C", "-o", "beginning", "-X", "check.crcs=false"]);
            for partition in 0..trial.partitions {
                command.args(["-p", &partition.to_string()]);
            }
        } else {
            let record = LineMaker::new(trial.seed, trial.cell.size).line(0);
            command
                .args(["-P", "-a", "-1", "-z", trial.cell.codec.name()])
                .args(["-X", "enable.idempotence=true", "-X", "message.max.bytes=10000000"])
                .args(["-s", &trial.cell.size.get().to_string(), "-m"])
                .arg(String::from_utf8_lossy(&record).as_ref());
        }
        Ok(command)
    }

    fn read(&self, trial: &Trial<'_>) -> Result<Said, String> {
        let text = printed(trial)?;
        if trial.cell.mode == Mode::Consume {
            return Ok(Said { read: Some(consumed(&text)?), ..Said::default() });
        }
        let delivered = delivered(&text)?;
        if delivered < trial.records {
            return Err(format!("{delivered} of {} records were acked", trial.records));
        }
        Ok(Said::default())
    }
}

/// The number in front of each of some words, in the last line that has all of them.
fn numbers<const N: usize>(text: &str, words: [&str; N]) -> Result<[u64; N], String> {
    let line = text.lines().rev().find(|line| words.iter().all(|word| line.contains(word)));
    let line = line.ok_or_else(|| "it printed no summary".to_owned())?;
    let mut found = [0; N];
    for (number, word) in found.iter_mut().zip(words) {
        let before = line.split(word).next().unwrap_or_default();
        let digits = before.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        *number = digits.parse().map_err(|_| format!("its summary can't be read: {line}"))?;
    }
    Ok(found)
}

/// `% 1000 messages produced (100000 bytes), 1000 delivered (offset 0, 0 failed) in 123ms: ...`
fn delivered(text: &str) -> Result<u64, String> {
    let [_, delivered] = numbers(text, [" messages produced", " delivered"])?;
    Ok(delivered)
}

/// `% 1000 messages (100000 bytes) consumed in 123ms: ...`; its time begins with the first of them.
fn consumed(text: &str) -> Result<Read, String> {
    let [records, ms] = numbers(text, [" messages (", "ms: "])?;
    Ok(Read { records, seconds: ms as f64 / 1e3 })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Printed in trials by that of librdkafka 2.12.1.
    const PRODUCED: &str = "\
% Sending 2780286 messages of size 100 bytes
% 571705 messages produced (57170500 bytes), 386684 delivered (offset 127147, 0 failed) in 1079ms: 358325 msgs/s and 35.83 MB/s, 28 produce failures, 185038 in queue, lz4 compression
% 28 backpressures for 2780286 produce calls: 0.001% backpressure rate
% 2780286 messages produced (278028600 bytes), 2780286 delivered (offset 1146781, 0 failed) in 3767ms: 738052 msgs/s and 73.81 MB/s, 28 produce failures, 0 in queue, lz4 compression
";
    const CONSUMED: &str = "\
% 0 messages (0 bytes) consumed in 0ms: 0 msgs/s (0.00 MB/s)
% 400000 messages (40000000 bytes) consumed in 121ms: 3278715 msgs/s (327.87 MB/s)
% Average application fetch latency: 1us
";

    #[test]
    fn the_last_summary_counts() {
        assert_eq!(delivered(PRODUCED), Ok(2_780_286));
        let under_way: String = PRODUCED.lines().take(3).map(|line| format!("{line}\n")).collect();
        assert_eq!(delivered(&under_way), Ok(386_684));
        assert_eq!(consumed(CONSUMED), Ok(Read { records: 400_000, seconds: 0.121 }));
        assert!(delivered(CONSUMED).is_err() && consumed("").is_err());
    }

    #[test]
    fn the_version_is_that_of_the_library() {
        assert!(version().starts_with("2."), "{}", version());
        assert!(SOURCES[0].text.contains(CRATE));
    }
}
