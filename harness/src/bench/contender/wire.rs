//! gauntlet's own client, with its checker and without: `gauntlet run` of a scenario that is written for the trial, or, for what
//! is only read, the log reader of a run by itself ([`crate::bench::probe::consume`]).
//!
//! Where records are only written there is nothing to check yet, and both are the same: then only the first takes part.

use std::process::Command;

use gauntlet_reports::record::{RunRecord, RunState};

use super::{Contender, Kit, Knob, LINGER, Missing, Read, Said, Trial, printed};
use crate::bench::matrix::{Cell, Mode, Pace};
use crate::bench::payload::RANDOM_FRACTION;
use crate::bench::probe::consume::Consumed;
use crate::bench::record::{ContenderRecord, LatencyFrom};
use crate::bench::tuning::KEPT;
use crate::bench::{BenchError, on_file};
use crate::rundir::RUN_JSON;

/// Every record checked.
pub(super) const CHECKED: &str = "wire";
/// `verify: off`.
pub(super) const UNCHECKED: &str = "wire-unchecked";

pub(super) const PRODUCE: &[Knob] = &[
    Knob { name: LINGER, values: &["20", "5", "50"] },
    Knob { name: "batch.size", values: &["262144", "65536", "1048576"] },
    Knob { name: "buffer.memory", values: &["268435456", "67108864"] },
    Knob { name: "max.in.flight.requests.per.connection", values: &["5", "2", "1"] },
    Knob { name: "producers", values: &["1", "2"] },
];

pub(super) const CONSUME: &[Knob] = &[
    Knob { name: "fetch.min.bytes", values: &["65536", "1"] },
    Knob { name: "max.partition.fetch.bytes", values: &["4194304", "1048576"] },
    Knob { name: "readers", values: &["1", "2"] },
];

/// Every record checked, over TLS.
pub(super) const SECURED: &str = "wire-tls";

/// Settings of this prefix go to librdkafka's producers as they are.
pub(super) const RAW: &str = "rdkafka.";
/// Large enough for the batches of all partitions of one broker, whatever `batch.size` is.
const MAX_REQUEST_BYTES: u32 = 4 << 20;
/// Longest wait for what is under way at the end of a trial. What still waits then was more than the brokers take.
const DRAIN_S: u32 = 5;
/// What it is measured with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Variant {
    /// Every record checked.
    Checked,
    /// `verify: off`.
    Unchecked,
    /// Checked, over TLS.
    Secured,
}

struct Wire {
    kit: Kit,
    variant: Variant,
}

pub(super) fn find_checked(kit: &Kit) -> Result<Box<dyn Contender>, Missing> {
    Ok(Box::new(Wire { kit: kit.clone(), variant: Variant::Checked }))
}

pub(super) fn find_unchecked(kit: &Kit) -> Result<Box<dyn Contender>, Missing> {
    Ok(Box::new(Wire { kit: kit.clone(), variant: Variant::Unchecked }))
}

pub(super) fn find_secured(kit: &Kit) -> Result<Box<dyn Contender>, Missing> {
    Ok(Box::new(Wire { kit: kit.clone(), variant: Variant::Secured }))
}

impl Wire {
    fn is_checked(&self) -> bool {
        self.variant != Variant::Unchecked
    }
}

impl Contender for Wire {
    fn describe(&self) -> ContenderRecord {
        let (name, note) = match self.variant {
            Variant::Checked => {
                (CHECKED, "checks every record that it reads; every value has an identity and a checksum")
            }
            Variant::Unchecked => (UNCHECKED, "reads the intended time of every record, and checks nothing"),
            Variant::Secured => (
                SECURED,
                "as `wire`, over TLS with client certificates, on brokers of its own that run beside the others: between brokers \
                 there is TLS, too",
            ),
        };
        ContenderRecord {
            name: name.to_owned(),
            what: format!("gauntlet {}, its own client", env!("CARGO_PKG_VERSION")),
            latency_from: LatencyFrom::Intended,
            note: Some(note.to_owned()),
        }
    }

    /// What is left without the checker is to be the same, or their difference would not be what checking costs.
    fn tuned_as(&self) -> Option<&'static str> {
        (self.variant != Variant::Checked).then_some(CHECKED)
    }

    fn is_secured(&self) -> bool {
        self.variant == Variant::Secured
    }

    fn does(&self, cell: Cell) -> bool {
        match self.variant {
            Variant::Checked => true,
            Variant::Unchecked => cell.mode != Mode::Produce,
            // What is only read was written by a process that knows no certificates.
            Variant::Secured => cell.mode != Mode::Consume,
        }
    }

    fn knobs(&self, mode: Mode) -> Vec<Knob> {
        match mode {
            Mode::Produce => PRODUCE.to_vec(),
            Mode::Consume => CONSUME.to_vec(),
            Mode::Both => [PRODUCE, CONSUME].concat(),
        }
    }

    fn is_counted(&self) -> bool {
        false
    }

    fn command(&self, trial: &Trial<'_>) -> Result<Command, BenchError> {
        if trial.cell.mode == Mode::Consume {
            let mut command = Command::new(&self.kit.gauntlet);
            command
                .args(["bench-worker", "consume", "--topic", trial.topic, "--bootstrap"])
                .arg(trial.servers())
                .args(["--run", &trial.run.to_string(), "--records", &trial.records.to_string()])
                .args(["--readers", trial.setting("readers")])
                .args(["--fetch-min-bytes", trial.setting("fetch.min.bytes")])
                .args(["--partition-max-bytes", trial.setting("max.partition.fetch.bytes")]);
            if self.is_checked() {
                command.arg("--check");
            }
            return Ok(command);
        }
        run_command(&self.kit, trial, self.is_checked(), "wire")
    }

    fn ended_well(&self, code: Option<i32>) -> bool {
        run_ended_well(code)
    }

    fn read(&self, trial: &Trial<'_>) -> Result<Said, String> {
        if trial.cell.mode == Mode::Consume {
            let consumed: Consumed = serde_json::from_str(&printed(trial)?)
                .map_err(|error| format!("the reader's result can't be read: {error}"))?;
            let read = Read { records: consumed.records, seconds: consumed.seconds };
            return Ok(Said { read: Some(read), ..Said::default() });
        }
        said_by_run(trial, self.is_checked())
    }
}

/// `gauntlet run` of the scenario of a trial.
pub(super) fn run_command(
    kit: &Kit,
    trial: &Trial<'_>,
    checked: bool,
    driver: &str,
) -> Result<Command, BenchError> {
    let path = trial.dir.join("scenario.yaml");
    std::fs::write(&path, scenario(trial, checked, driver)).map_err(on_file("write", &path))?;
    let mut command = Command::new(&kit.gauntlet);
    command.arg("run").arg(&path).arg("--quiet").arg("--out").arg(trial.dir.join("out"));
    Ok(command)
}

/// 5 and 99: the rate was not reached, which is a result here.
pub(super) fn run_ended_well(code: Option<i32>) -> bool {
    matches!(code, Some(0 | 5 | 99))
}

/// What the run of a trial said.
pub(super) fn said_by_run(trial: &Trial<'_>, checked: bool) -> Result<Said, String> {
    let path = trial.dir.join("out/latest").join(RUN_JSON);
    let json = std::fs::read(&path).map_err(|error| format!("no {RUN_JSON}: {error}"))?;
    let run: RunRecord =
        serde_json::from_slice(&json).map_err(|error| format!("{RUN_JSON} can't be read: {error}"))?;
    said(&run, trial.cell.mode, checked)
}

/// What a run says of itself. One that lost a record, or checked none, is no result.
fn said(run: &RunRecord, mode: Mode, checked: bool) -> Result<Said, String> {
    if run.state != RunState::Done {
        let why = run.reasons.first().map_or("", |reason| reason.text.as_str());
        return Err(format!("the run did not come to its end: {why}"));
    }
    if let Some(finding) = run.findings.iter().find(|finding| finding.judgement == "violation") {
        return Err(format!("the run found a violation: {} × {}", finding.count, finding.class));
    }
    let is_unchecked = || run.verify.as_ref().is_none_or(|verify| verify.checked == 0);
    if mode == Mode::Both && checked && is_unchecked() {
        return Err("the run checked no record".to_owned());
    }
    // Where the brokers don't take the rate, records are left at the end, and end as nothing else.
    let is_kept_to = run.load.achieved_ratio.is_none_or(|ratio| ratio >= KEPT);
    if is_kept_to && run.produce.failed + run.produce.indeterminate > 0 {
        let (failed, indeterminate) = (run.produce.failed, run.produce.indeterminate);
        return Err(format!("{failed} records failed and {indeterminate} are indeterminate"));
    }
    Ok(Said {
        latency_ms: Some(run.produce.latency_ms),
        e2e_ms: (mode == Mode::Both).then_some(run.e2e.latency_ms),
        read: None,
    })
}

/// The scenario of a trial, for one of gauntlet's drivers.
pub(super) fn scenario(trial: &Trial<'_>, checked: bool, driver: &str) -> String {
    let cell = trial.cell;
    let length_s = (trial.load_time() - trial.warmup).as_secs();
    let warmup_s = trial.warmup.as_secs();
    let shape = match cell.pace {
        Pace::FlatOut => "shape: unlimited".to_owned(),
        Pace::At(rate) => format!("shape: constant, rate: {rate}"),
    };
    let reads = cell.mode == Mode::Both;
    let consumers = if reads {
        format!(
            "{{ members: {}, driver: {driver}, config: {{ fetch.min.bytes: {}, fetch.max.wait.ms: 10, max.partition.fetch.bytes: {} }} }}",
            trial.setting("readers"),
            trial.setting("fetch.min.bytes"),
            trial.setting("max.partition.fetch.bytes"),
        )
    } else {
        "[]".to_owned()
    };
    let security = trial.security.map_or_else(String::new, |security| format!(", security: {security}"));
    let verify = if reads && checked { "{ guarantee: idempotent }" } else { "off" };
    let producers = ["acks", "compression.type", "max.request.size"]
        .into_iter()
        .zip(["all".to_owned(), cell.codec.name().to_owned(), MAX_REQUEST_BYTES.to_string()])
        .map(|(name, value)| format!("{name}: {value}"));
    let client = |name: &&str| PRODUCE.iter().any(|knob| knob.name == *name) && *name != "producers";
    let own = trial.settings.keys().map(String::as_str).filter(client);
    let own = own.map(|name| format!("{name}: {}", trial.setting(name)));
    let raw = trial.settings.iter().filter_map(|(name, value)| Some((name.strip_prefix(RAW)?, value)));
    let raw: Vec<String> = raw.map(|(name, value)| format!("{name}: {value}")).collect();
    let raw = (!raw.is_empty()).then(|| format!("rdkafka: {{ {} }}", raw.join(", ")));
    let config: Vec<String> = producers.chain(own).chain(raw).collect();
    format!(
        "version: 1\nname: bench\nseed: {seed}\n\
         cluster: {{ bootstrap_servers: \"{servers}\"{security} }}\n\
         topics: [{{ name: {topic}, partitions: {partitions}, lifecycle: reuse }}]\n\
         workload:\n  payload: {{ size: {size}, random_fraction: {RANDOM_FRACTION} }}\n  \
         producers: {{ count: {count}, driver: {driver}, config: {{ {config} }} }}\n  consumers: {consumers}\n\
         load: {{ {shape}, warmup: {warmup_s}s, duration: {length_s}s, drain: {DRAIN_S}s }}\n\
         verify: {verify}\nreport: {{ formats: [] }}\nexpect: []\n",
        seed = trial.seed,
        servers = trial.servers(),
        topic = trial.topic,
        partitions = trial.partitions,
        size = cell.size,
        count = trial.setting("producers"),
        config = config.join(", "),
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use gauntlet_wire::codec::Codec;

    use super::super::{first_settings, rdkafka};
    use super::*;
    use crate::scenario::{LoadOptions, ScenarioFile};
    use crate::units::{Bytes, Rate};

    #[test]
    fn every_scenario_that_is_written_is_valid() {
        let tls = "{ security.protocol: SSL, ssl.truststore.location: \"/ca.pem\", ssl.keystore.location: \"/me.pem\" }";
        let dir = tempfile::tempdir().unwrap();
        for mode in [Mode::Produce, Mode::Both] {
            for pace in [Pace::FlatOut, Pace::At(Rate::per_second(1_000_000))] {
                for (checked, driver) in [(true, "wire"), (false, "wire"), (true, rdkafka::NAME)] {
                    let produce = if driver == rdkafka::NAME { rdkafka::PRODUCE } else { PRODUCE };
                    let settings = first_settings(&match mode {
                        Mode::Both => [produce, CONSUME].concat(),
                        _ => produce.to_vec(),
                    });
                    let trial = Trial {
                        cell: Cell { mode, size: Bytes::new(100), codec: Codec::Lz4, pace },
                        settings: &settings,
                        bootstrap: &["127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned()],
                        security: (checked && driver == "wire").then_some(tls),
                        topic: "bench-1",
                        partitions: 12,
                        dir: Path::new("."),
                        payloads: Path::new("."),
                        seed: 7,
                        run: 1,
                        warmup: Duration::from_secs(10),
                        length: Duration::from_secs(20),
                        records: 0,
                    };
                    let path = dir.path().join("scenario.yaml");
                    let text = scenario(&trial, checked, driver);
                    std::fs::write(&path, &text).unwrap();
                    let loaded = ScenarioFile::load(&path, &LoadOptions::default());
                    let ScenarioFile::Single(loaded) =
                        loaded.unwrap_or_else(|error| panic!("{text}\n{error}"))
                    else {
                        panic!("one run")
                    };
                    let scenario = &loaded.scenario;
                    assert_eq!(scenario.workload.consumers.is_empty(), mode == Mode::Produce);
                    let config = &scenario.workload.producers[0].config;
                    assert_eq!((config.batch_size_bytes, config.max_in_flight), (262_144, 5));
                    assert!(config.enable_idempotence);
                    assert_eq!(scenario.workload.producers[0].rdkafka.is_empty(), driver == "wire");
                }
            }
        }
    }
}
