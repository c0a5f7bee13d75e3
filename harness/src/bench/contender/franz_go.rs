//! A producer and consumer on franz-go (`ci/peers/franz-go`), built once where there is a Go toolchain.

use std::path::PathBuf;
use std::process::Command;

use gauntlet_reports::record::LatencyMs;
use serde::Deserialize;

use super::peer_build::{PeerBuild, Source, program};
use super::{Contender, Kit, Knob, LINGER, Missing, Read, Said, Trial, printed};
use crate::bench::BenchError;
use crate::bench::matrix::{Cell, Mode};
use crate::bench::record::{ContenderRecord, LatencyFrom};

pub(super) const NAME: &str = "franz-go";

const MODULE: &str = include_str!("../../../../ci/peers/franz-go/go.mod");
const SOURCES: &[Source] = &[
    Source { path: "go.mod", text: MODULE },
    Source { path: "go.sum", text: include_str!("../../../../ci/peers/franz-go/go.sum") },
    Source { path: "main.go", text: include_str!("../../../../ci/peers/franz-go/main.go") },
];

/// Idempotent, so the requests in flight are fixed: five per broker.
pub(super) const PRODUCE: &[Knob] = &[
    Knob { name: LINGER, values: &["20", "0", "5"] },
    Knob { name: "batch-bytes", values: &["1000012", "262144", "65536"] },
    Knob { name: "buffered-records", values: &["100000", "10000", "1000000"] },
    Knob { name: "partitioner", values: &["uniform", "sticky", "round-robin"] },
    Knob { name: GOGC, values: &["100", "400"] },
];

const CONSUME: &[Knob] = &[
    Knob { name: "fetch-max-bytes", values: &["52428800", "5242880"] },
    Knob { name: "concurrent-fetches", values: &["0", "3"] },
    Knob { name: GOGC, values: &["100", "400"] },
];

/// Of Go's runtime: how much the heap may grow between two collections, percent. An environment variable.
const GOGC: &str = "GOGC";

struct FranzGo {
    program: PathBuf,
}

pub(super) fn find(kit: &Kit) -> Result<Box<dyn Contender>, Missing> {
    let build = PeerBuild::open(&kit.cache, NAME, SOURCES)?;
    let built = build.dir().join("franz-go");
    if !build.is_done() {
        let go = program("go", "install Go to have it measured")?;
        build.step(
            Command::new(go)
                .args(["build", "-mod=readonly", "-trimpath", "-o"])
                .arg(&built)
                .arg(".")
                .current_dir(build.dir()),
        )?;
        build.done()?;
    }
    Ok(Box::new(FranzGo { program: built }))
}

/// The version that `go.mod` asks for.
fn version() -> &'static str {
    let line = MODULE.lines().find_map(|line| line.trim().strip_prefix("require github.com/twmb/franz-go "));
    let line = line
        .or_else(|| MODULE.lines().find_map(|line| line.trim().strip_prefix("github.com/twmb/franz-go ")));
    line.unwrap_or_default().trim()
}

impl Contender for FranzGo {
    fn describe(&self) -> ContenderRecord {
        ContenderRecord {
            name: NAME.to_owned(),
            what: format!("franz-go {}, a producer and consumer of ours", version()),
            latency_from: LatencyFrom::Intended,
            note: None,
        }
    }

    fn does(&self, cell: Cell) -> bool {
        cell.mode != Mode::Both
    }

    fn knobs(&self, mode: Mode) -> Vec<Knob> {
        if mode == Mode::Consume { CONSUME.to_vec() } else { PRODUCE.to_vec() }
    }

    fn is_counted(&self) -> bool {
        false
    }

    fn command(&self, trial: &Trial<'_>) -> Result<Command, BenchError> {
        let mut command = Command::new(&self.program);
        command.args(["-brokers", &trial.servers(), "-topic", trial.topic]);
        for (name, value) in trial.settings {
            match name.as_str() {
                GOGC => command.env(GOGC, value),
                LINGER => command.args(["-linger", &format!("{value}ms")]),
                _ => command.args([&format!("-{name}"), value]),
            };
        }
        if trial.cell.mode == Mode::Consume {
            command.args(["-consume", "-records", &trial.records.to_string()]);
        } else {
            command
                .args(["-codec", trial.cell.codec.name()])
                .args(["-rate", &trial.per_s().unwrap_or(0).to_string()])
                .args(["-duration", &format!("{}ms", trial.load_time().as_millis())])
                .args(["-warmup", &format!("{}ms", trial.warmup.as_millis())])
                .arg("-payloads")
                .arg(trial.payloads);
        }
        Ok(command)
    }

    fn read(&self, trial: &Trial<'_>) -> Result<Said, String> {
        said(&printed(trial)?, trial.cell.mode)
    }
}

/// The line that it prints.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Printed {
    records: u64,
    failed: u64,
    error: String,
    seconds: f64,
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
    /// Records whose latency counts.
    measured: u64,
}

fn said(text: &str, mode: Mode) -> Result<Said, String> {
    let printed: Printed =
        serde_json::from_str(text).map_err(|error| format!("its result can't be read: {error}"))?;
    if printed.failed > 0 {
        return Err(format!("{} records failed: {}", printed.failed, printed.error));
    }
    if mode == Mode::Consume {
        let read = Read { records: printed.records, seconds: printed.seconds };
        return Ok(Said { read: Some(read), ..Said::default() });
    }
    let latency_ms = LatencyMs {
        p50: Some(printed.p50_ms),
        p99: Some(printed.p99_ms),
        p999: Some(printed.p999_ms),
        max: Some(printed.max_ms),
    };
    Ok(Said { latency_ms: (printed.measured > 0).then_some(latency_ms), ..Said::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_module() {
        assert!(version().starts_with("v1."), "{}", version());
    }

    /// Printed in trials.
    const PRODUCED: &str = r#"{"records":2818112,"failed":0,"error":"","seconds":4.041993116,"p50_ms":72.575,"p99_ms":186.879,"p999_ms":220.159,"max_ms":221.445,"measured":2271776}"#;
    const CONSUMED: &str = r#"{"records":400000,"failed":0,"error":"","seconds":0.183920576,"p50_ms":0,"p99_ms":0,"p999_ms":0,"max_ms":0,"measured":0}"#;

    #[test]
    fn what_it_prints_is_read() {
        let produced = said(PRODUCED, Mode::Produce).unwrap();
        assert_eq!(produced.latency_ms.unwrap().p99, Some(186.879));
        let read = Read { records: 400_000, seconds: 0.183_920_576 };
        assert_eq!(said(CONSUMED, Mode::Consume).unwrap(), Said { read: Some(read), ..Said::default() });
        let failed = PRODUCED.replace(r#""failed":0,"error":"""#, r#""failed":3,"error":"timed out""#);
        assert_eq!(said(&failed, Mode::Produce).unwrap_err(), "3 records failed: timed out");
        assert_eq!(said(CONSUMED, Mode::Produce).unwrap().latency_ms, None, "no quantile of nothing");
    }
}
