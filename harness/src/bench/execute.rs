//! Carrying a bench out. `bench.json` is replaced after every trial, so that whatever ends the process, what was found is there.
//!
//! Layout: here the session, its cluster and its files; `trials` one trial; `peers` all of them, in turns; `probes` what needs no
//! brokers; `tune` the sweep over knobs; `draw` the curves.

mod draw;
mod peers;
mod probes;
mod trials;
mod tune;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use gauntlet_chaos::Launcher;
use gauntlet_wire::codec::Codec;
use serde::Serialize;
use trials::Attempt;

use super::brokers::{BenchBrokers, TrialTopic};
use super::child::{Contestant, Ended, STDOUT, last_words};
use super::contender::{Contender, Entrant, LINGER, REFERENCE, Said, Trial};
use super::curves::{CURVES_JSON, CURVES_SCHEMA_VERSION, CurvePoint, CurvesRecord};
use super::matrix::{Cell, Mode, Pace};
use super::meter::{Look, look, overall_per_s, watch, window};
use super::options::{BenchOptions, Work};
use super::plan::{is_secured, takes_part};
use super::probe::hour::Hour;
use super::probe::{CHECKER, Cost, NULL_SINK, ProbeRecord};
use super::record::{
    BENCH_SCHEMA_VERSION, BenchRecord, Conditions, Measured, Settings, SkippedRecord, TrialRecord,
};
use super::tuning::{KnobSweep, TUNING_JSON, Tried, Tuned, Tuning, representatives};
use super::{
    BENCH_JSON, BENCH_MARKDOWN, BenchError, curves as curve, goal, on_file, payload, profile, render, summary,
};
use crate::run::host_usage::HostTicks;
use crate::run::{self, Interrupt};
use crate::rundir::RunDir;
use crate::scenario::sweep::SweepOrder;
use crate::sweep::order;
use crate::units::Bytes;

pub use draw::curves;
pub use peers::bench;
pub use probes::probes;
pub use tune::tune;

/// Longest that filling a topic or a probe may take.
const WORKER_LIMIT: Duration = Duration::from_secs(600);
/// Batches of topics that are filled to be read.
const FILL_BATCH_BYTES: u32 = 65_536;

/// What is told while a bench goes.
#[derive(Debug)]
pub enum BenchNews<'a> {
    /// A phase begins.
    Phase(&'a str),
    /// A trial has ended.
    Trial(&'a TrialRecord),
    /// A probe has ended.
    Probe(&'a ProbeRecord),
    /// Something that a person should know.
    Note(&'a str),
}

/// How a bench is carried out.
pub struct BenchRun<'a> {
    /// What it is asked to do.
    pub options: &'a BenchOptions,
    /// Who takes part.
    pub entrants: &'a [Entrant],
    /// Who could not.
    pub skipped: Vec<SkippedRecord>,
    /// With which settings.
    pub tuning: &'a Tuning,
    /// Where everything goes.
    pub dir: &'a RunDir,
    /// Jars that runs share.
    pub cache: &'a Path,
    /// This program.
    pub gauntlet: &'a Path,
    /// How to start a supervisor.
    pub launcher: &'a Launcher,
    /// Set by signals.
    pub interrupt: Arc<Interrupt>,
    /// Hears how it goes.
    pub tell: &'a mut dyn FnMut(BenchNews<'_>),
}

/// A bench under way.
struct Session<'a> {
    run: BenchRun<'a>,
    brokers: BenchBrokers,
    /// Those of who is secured, if anybody is.
    secured: Option<BenchBrokers>,
    record: BenchRecord,
    begun: Instant,
    /// Distinguishes topics of this bench from those of others.
    id: String,
    /// Files of payloads by size.
    payloads: BTreeMap<Bytes, PathBuf>,
    /// Topics that are filled once, and read by all: by size, codec and number of records.
    filled: BTreeMap<(Bytes, Codec, u64), TrialTopic>,
    /// Records per second that a contender was last seen to manage.
    seen_per_s: BTreeMap<(&'static str, Cell), f64>,
    /// What it costs to start a reader.
    startup_cpu_s: BTreeMap<(&'static str, Cell), f64>,
    /// How long secured brokers had load that counts for nothing.
    secured_warmed: Duration,
}

impl<'a> Session<'a> {
    fn start(run: BenchRun<'a>) -> Result<Self, BenchError> {
        let phase = if run.options.bootstrap.is_empty() { "starting the cluster" } else { "connecting" };
        (run.tell)(BenchNews::Phase(phase));
        let brokers = BenchBrokers::start(run.options, run.dir.path(), run.cache, run.launcher)?;
        let secured = run.entrants.iter().any(|entrant| is_secured(run.options, entrant)).then(|| {
            (run.tell)(BenchNews::Phase("starting another cluster, with TLS"));
            BenchBrokers::start_secured(run.options, run.dir.path(), run.cache, run.launcher)
        });
        let secured = secured.transpose()?;
        let mut record = first_record(&run);
        record.kafka = brokers.version();
        let id =
            run.dir.path().file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let mut session = Session {
            run,
            brokers,
            secured,
            record,
            begun: Instant::now(),
            id,
            payloads: BTreeMap::new(),
            filled: BTreeMap::new(),
            seen_per_s: BTreeMap::new(),
            startup_cpu_s: BTreeMap::new(),
            secured_warmed: Duration::ZERO,
        };
        for &size in &session.run.options.matrix.sizes {
            let file = payload::write(session.run.dir.path(), session.run.options.seed, size)?;
            session.payloads.insert(size, file);
        }
        session.warm_up()?;
        Ok(session)
    }

    /// The brokers of a contender.
    fn brokers_of(&self, entrant: &Entrant) -> &BenchBrokers {
        match &self.secured {
            Some(secured) if entrant.contender.is_secured() => secured,
            _ => &self.brokers,
        }
    }

    /// Ends local brokers.
    fn end(self) -> Result<BenchRecord, BenchError> {
        let ended = self.secured.map_or(Ok(()), BenchBrokers::end);
        self.brokers.end()?;
        ended.map(|()| self.record)
    }

    /// Topics that were kept for readers. With local brokers they would go anyway; others keep nothing of ours.
    fn clear_up(&mut self) {
        for (_, topic) in std::mem::take(&mut self.filled) {
            if let Err(error) = self.brokers.delete(&topic) {
                let text = format!("{} stays: {error}; delete it by hand", topic.name());
                (self.run.tell)(BenchNews::Note(&text));
            }
        }
    }

    fn stop(&self) -> impl Fn() -> bool + use<> {
        let interrupt = Arc::clone(&self.run.interrupt);
        move || interrupt.is_set()
    }

    fn wait_until_quiet(&mut self) {
        let limit = Duration::from_secs(self.run.options.quiet_limit_s.into());
        for brokers in std::iter::once(&self.brokers).chain(&self.secured) {
            if let Some(note) = brokers.wait_until_quiet(limit, &self.stop()) {
                (self.run.tell)(BenchNews::Note(&note));
            }
        }
    }

    fn write(&mut self) -> Result<(), BenchError> {
        self.record.wall_s = self.begun.elapsed().as_secs_f64();
        self.keep(BENCH_JSON, &self.record)
    }

    /// Writes a file of the bench, in place of what there was.
    fn keep(&self, name: &str, content: &impl Serialize) -> Result<(), BenchError> {
        let path = self.run.dir.file(name);
        let json = serde_json::to_vec_pretty(content).map_err(io::Error::from);
        let mut json = json.map_err(on_file("write", &path))?;
        json.push(b'\n');
        Ok(self.run.dir.replace(name, &json)?)
    }

    /// Load on the new cluster, so that the first trials don't have cold brokers.
    fn warm_up(&mut self) -> Result<(), BenchError> {
        let seconds = self.run.options.cluster_warmup_s;
        if seconds == 0 {
            return Ok(());
        }
        (self.run.tell)(BenchNews::Phase(&format!("warming the brokers up, {seconds} s")));
        let topic = self.new_topic(&self.brokers, "warmup", self.run.options.partitions)?;
        let begun = Instant::now();
        let warmed = loop {
            // As fast as they take it, and no more at once than a second or two of it.
            let filled = self.fill(&topic, Bytes::new(100), Codec::Lz4, 2_000_000);
            let is_over = begun.elapsed() >= Duration::from_secs(u64::from(seconds));
            if filled.is_err() || is_over || self.run.interrupt.is_set() {
                break filled;
            }
        };
        let note = self.brokers.delete(&topic)?;
        self.note(note);
        warmed
    }

    fn new_topic(
        &self,
        brokers: &BenchBrokers,
        name: &str,
        partitions: u32,
    ) -> Result<TrialTopic, BenchError> {
        brokers.create(&format!("bench-{}-{name}", self.id), partitions, self.run.options)
    }

    /// Tells what somebody should know.
    fn note(&mut self, note: Option<String>) {
        if let Some(note) = note {
            (self.run.tell)(BenchNews::Note(&note));
        }
    }

    /// Writes records into a topic, by a process of our own.
    fn fill(&self, topic: &TrialTopic, size: Bytes, codec: Codec, records: u64) -> Result<(), BenchError> {
        let mut command = Command::new(self.run.gauntlet);
        command
            .args(["bench-worker", "fill", "--topic", topic.name(), "--bootstrap"])
            .arg(self.brokers.bootstrap().join(","))
            .args(["--partitions", &self.run.options.partitions.to_string()])
            .args(["--run", &self.fill_run().to_string(), "--size", &size.to_string()])
            .args(["--codec", codec.name(), "--records", &records.to_string()])
            .args(["--batch-bytes", &FILL_BATCH_BYTES.to_string()]);
        self.work(command, "fill").map(drop)
    }

    /// Id of the run that writes what is only read.
    fn fill_run(&self) -> u32 {
        self.run.options.seed as u32
    }

    /// Runs a process of our own to its end; what it printed.
    fn work(&self, mut command: Command, name: &str) -> Result<String, BenchError> {
        let dir = self.run.dir.file("workers").join(name);
        std::fs::create_dir_all(&dir).map_err(on_file("create", &dir))?;
        let mut worker = Contestant::start(&mut command, &dir)?;
        let deadline = Instant::now() + WORKER_LIMIT;
        let (_, ended) = watch(&mut worker, |_| Ok(None), deadline, &self.stop())?;
        if ended.code != Some(0) {
            return Err(BenchError::Trial(format!("{name} failed: {}", last_words(&dir))));
        }
        let path = dir.join(STDOUT);
        std::fs::read_to_string(&path).map_err(on_file("read", &path))
    }

    fn settings(&self, entrant: &Entrant, cell: Cell) -> Result<Settings, BenchError> {
        let knobs = entrant.contender.knobs(cell.mode);
        self.run.tuning.settings(entrant.tuned_as(), &knobs, cell, self.run.options.linger_ms)
    }

    /// Whether an attempt has the settings that a sweep found best.
    fn is_tuned(&self, attempt: &Attempt<'_>) -> bool {
        let (entrant, cell) = (attempt.entrant, attempt.cell);
        self.run.tuning.knows(entrant.tuned_as(), cell)
            && self.settings(entrant, cell).is_ok_and(|settings| settings == attempt.settings)
    }
}

/// What is known before anything was measured.
fn first_record(run: &BenchRun<'_>) -> BenchRecord {
    BenchRecord {
        schema_version: BENCH_SCHEMA_VERSION,
        complete: false,
        started_at: run::rfc3339(SystemTime::now()),
        wall_s: 0.0,
        gauntlet: env!("CARGO_PKG_VERSION").to_owned(),
        kafka: None,
        host: run::host_in_words(),
        label: run.options.label.clone(),
        seed: run.options.seed,
        conditions: run.options.conditions(),
        contenders: run.entrants.iter().map(|entrant| entrant.contender.describe()).collect(),
        skipped: run.skipped.clone(),
        trials: Vec::new(),
        probes: Vec::new(),
        summary: Vec::new(),
        goals: Vec::new(),
    }
}
