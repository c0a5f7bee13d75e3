//! `gauntlet bench`, and the processes of our own that it measures.

use std::io::Write;
use std::path::PathBuf;
use std::time::SystemTime;

use clap::{Args, Subcommand, ValueEnum};
use gauntlet_chaos::cache_dir;
use gauntlet_reports::ExitReason;
use gauntlet_wire::codec::Codec;

use super::fingerprint::server;
use super::run::{draw, run_id};
use crate::bench::contender::{Entrant, Kit, find, names};
use crate::bench::curves::{CURVES_JSON, in_words};
use crate::bench::execute::{BenchNews, BenchRun, bench, curves, probes, tune};
use crate::bench::matrix::{Mode, Pace};
use crate::bench::options::{BenchOptions, Work};
use crate::bench::plan::BenchPlan;
use crate::bench::probe::{CHECKER, NULL_SINK, ProbeError, checker, consume, hour, null_sink, write};
use crate::bench::record::{BenchRecord, SkippedRecord};
use crate::bench::tuning::{TUNING_JSON, Tuning};
use crate::bench::{BENCH_MARKDOWN, BenchError, render};
use crate::run::{Asked, Interrupt};
use crate::rundir::RunDir;
use crate::units::{Bytes, Rate};

/// A set of defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Profile {
    /// All of it: hours.
    Full,
    /// A minute or two, to see that everything works. Its numbers mean nothing.
    Ci,
}

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// What to measure.
    #[arg(value_enum, default_value_t = Work::Peers)]
    work: Work,
    /// Defaults of all that is not given.
    #[arg(short, long, value_enum, default_value_t = Profile::Full)]
    profile: Profile,
    /// Only say what would be done: who takes part, how long, how much disk.
    #[arg(long)]
    plan: bool,
    /// Contenders and probes, e.g. `wire,franz-go`.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Kinds of work.
    #[arg(long, value_delimiter = ',', value_enum, value_name = "MODE")]
    modes: Vec<Mode>,
    /// Sizes of records, e.g. `100B,1KiB`.
    #[arg(long, value_delimiter = ',', value_name = "SIZE")]
    sizes: Vec<Bytes>,
    /// Codecs: none, gzip, snappy, lz4, zstd.
    #[arg(long, value_delimiter = ',', value_name = "CODEC")]
    codecs: Vec<Codec>,
    /// Rates, e.g. `max,100k/s,1M/s`; `max` is as fast as it goes.
    #[arg(long, value_delimiter = ',', value_name = "RATE")]
    rates: Vec<Pace>,
    /// Runs of each, in turns.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=100))]
    repeats: Option<u16>,
    /// Length of what counts of each run, seconds.
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..=3600))]
    seconds: Option<u32>,
    /// Load before that, seconds.
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=600))]
    warmup: Option<u32>,
    /// `linger.ms` of every contender at a fixed rate.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u32).range(0..=1000))]
    linger: Option<u32>,
    /// Partitions of the topics.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    partitions: Option<u32>,
    /// Settings of the contenders, as `gauntlet bench tune` wrote them; by default those that were committed.
    #[arg(long, value_name = "FILE")]
    tuning: Option<PathBuf>,
    /// Brokers that run already (PLAINTEXT); topics are made and deleted there. By default three are started.
    #[arg(short, long, value_delimiter = ',', value_name = "HOST:PORT,...", value_parser = server)]
    bootstrap: Vec<String>,
    /// What is to be said of it on its page, for example the commit.
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Order and payloads.
    #[arg(long)]
    seed: Option<u64>,
    /// A distribution of Kafka to use instead of resolving one.
    #[arg(long, value_name = "DIR")]
    kafka_home: Option<PathBuf>,
    /// Where results go, below this directory.
    #[arg(short, long, default_value = "out", value_name = "DIR")]
    out: PathBuf,
}

impl BenchArgs {
    fn options(&self, drawn: u64) -> BenchOptions {
        let seed = self.seed.unwrap_or(drawn >> 32);
        let options = match self.profile {
            Profile::Full => BenchOptions::full(seed),
            Profile::Ci => BenchOptions::ci(seed),
        };
        let mut options = options.of(self.work);
        let matrix = &mut options.matrix;
        replace(&mut matrix.modes, &self.modes);
        replace(&mut matrix.sizes, &self.sizes);
        replace(&mut matrix.paces, &self.rates);
        let codecs: Vec<String> = self.codecs.iter().map(|codec| codec.name().to_owned()).collect();
        replace(&mut matrix.codecs, &codecs);
        options.repeats = self.repeats.unwrap_or(options.repeats);
        options.seconds = self.seconds.unwrap_or(options.seconds);
        options.warmup_s = self.warmup.unwrap_or(options.warmup_s);
        options.linger_ms = self.linger.unwrap_or(options.linger_ms);
        options.partitions = self.partitions.unwrap_or(options.partitions);
        options.label.clone_from(&self.label);
        replace(&mut options.only, &self.only);
        options.bootstrap.clone_from(&self.bootstrap);
        options.kafka_home.clone_from(&self.kafka_home);
        options
    }

    fn chooses_cells(&self) -> bool {
        let lists =
            [self.only.len(), self.modes.len(), self.sizes.len(), self.codecs.len(), self.rates.len()];
        lists.iter().any(|len| *len > 0) || self.repeats.is_some() || self.linger.is_some()
    }

    /// What can't be done as asked, before anything starts.
    fn mistake(&self) -> Option<String> {
        if self.work == Work::Curves && self.chooses_cells() {
            return Some(
                "curves are gauntlet's client alone, at one rate with one kind of record; leave out --only, --modes, --sizes, \
                 --codecs, --rates, --repeats, and --linger"
                    .to_owned(),
            );
        }
        let known: Vec<&str> = names().chain([NULL_SINK, CHECKER]).collect();
        if let Some(unknown) = self.only.iter().find(|only| !known.contains(&only.as_str())) {
            return Some(format!("--only names `{unknown}`; there are {}", known.join(", ")));
        }
        let least = gauntlet_verify::IDENTITY_LEN as u64;
        let size = self.sizes.iter().find(|size| size.get() < least || size.get() > 1 << 20)?;
        Some(format!("--sizes has {size}; a record is from {least}B, its identity, to 1MiB"))
    }
}

fn replace<T: Clone>(values: &mut Vec<T>, given: &[T]) {
    if !given.is_empty() {
        *values = given.to_vec();
    }
}

/// A bench that can be carried out.
struct Ready {
    options: BenchOptions,
    tuning: Tuning,
    entrants: Vec<Entrant>,
    skipped: Vec<SkippedRecord>,
    plan: BenchPlan,
    dir: PathBuf,
    id: String,
}

pub(super) fn run(args: &BenchArgs, out: &mut impl Write) -> std::io::Result<ExitReason> {
    if let Some(mistake) = args.mistake() {
        writeln!(std::io::stderr(), "error: {mistake}")?;
        return Ok(ExitReason::Usage);
    }
    let kit = Kit {
        cache: cache_dir().map_err(std::io::Error::other)?,
        gauntlet: std::env::current_exe()?,
        kafka_home: args.kafka_home.clone(),
    };
    let ready = match ready(args, &kit, out) {
        Ok(ready) => ready,
        Err((exit, text)) => {
            writeln!(std::io::stderr(), "error: {text}")?;
            return Ok(exit);
        }
    };
    write!(out, "{}", render::plan(&ready.plan, &ready.entrants, &ready.skipped, &ready.tuning))?;
    if args.plan {
        return Ok(ExitReason::Pass);
    }
    writeln!(out, "seed {} · {}", ready.options.seed, ready.dir.display())?;
    let dir = match RunDir::create(&ready.dir, "bench", &ready.id) {
        Ok(dir) => dir,
        Err(error) => {
            writeln!(std::io::stderr(), "error: {error}")?;
            return Ok(ExitReason::Environment);
        }
    };
    carry_out(&ready, &kit, &dir, out)
}

fn ready(args: &BenchArgs, kit: &Kit, out: &mut impl Write) -> Result<Ready, (ExitReason, String)> {
    let drawn = draw();
    let options = args.options(drawn);
    let tuning = args.tuning.as_ref().map_or_else(Tuning::committed, |file| Tuning::read(file));
    let tuning = tuning.map_err(|error| (ExitReason::Usage, error.to_string()))?;
    let mut tell = |text: &str| {
        let _ = writeln!(out, "{text}");
    };
    let (entrants, skipped) = find(kit, &options.only, &mut tell);
    let probes = probes(&options).len();
    if entrants.is_empty() && probes == 0 {
        let why = skipped.iter().map(|s| format!("{}: {}", s.name, s.why)).collect::<Vec<_>>().join("; ");
        return Err((ExitReason::Environment, format!("nobody can be measured: {why}")));
    }
    let id = run_id(SystemTime::now(), drawn);
    let dir = args.out.join("bench").join(&id);
    let plan = BenchPlan::new(&options, &entrants, probes, &dir);
    if let Some(why) = plan.lacks_disk().filter(|_| options.bootstrap.is_empty()) {
        return Err((ExitReason::Environment, why));
    }
    Ok(Ready { options, tuning, entrants, skipped, plan, dir, id })
}

fn carry_out(ready: &Ready, kit: &Kit, dir: &RunDir, out: &mut impl Write) -> std::io::Result<ExitReason> {
    let interrupt = Interrupt::listen(ExitReason::Aborted.code(), |asked| {
        let text = match asked {
            Asked::ToStop => {
                "ending this trial, and writing down what there is; interrupt once more to leave at once"
            }
            Asked::ToLeave => "leaving; the supervisor stops the brokers",
        };
        let _ = writeln!(std::io::stderr(), "{text}");
    })?;
    let mut tell = |news: BenchNews<'_>| {
        // A terminal that is gone does not end a bench.
        let _ = match news {
            BenchNews::Phase(text) => writeln!(out, "     {text}"),
            BenchNews::Note(text) => writeln!(out, "note {text}"),
            BenchNews::Trial(trial) => writeln!(out, "{}", render::trial(trial)),
            BenchNews::Probe(probe) => writeln!(out, "{}", render::probe(probe)),
        };
        let _ = out.flush();
    };
    let launcher = super::launcher();
    let run = BenchRun {
        options: &ready.options,
        entrants: &ready.entrants,
        skipped: ready.skipped.clone(),
        tuning: &ready.tuning,
        dir,
        cache: &kit.cache,
        gauntlet: &kit.gauntlet,
        launcher: &launcher,
        interrupt: interrupt.clone(),
        tell: &mut tell,
    };
    let ended = match ready.options.work {
        Work::Peers => bench(run).map(|record| show(&record, dir, out)),
        Work::Tune => tune(run).map(|()| written(TUNING_JSON, dir, out)),
        Work::Curves => curves(run).map(|record| {
            write!(out, "{}", in_words(&record))?;
            let failed = record.hour_failed.is_some() || record.points.iter().any(|p| p.failed.is_some());
            let passed = written(CURVES_JSON, dir, out)?;
            Ok(if failed { ExitReason::Inconclusive } else { passed })
        }),
    };
    match ended {
        Ok(shown) => shown,
        Err(error) => {
            writeln!(std::io::stderr(), "error: {error}")?;
            Ok(exit_of(&error))
        }
    }
}

fn exit_of(error: &BenchError) -> ExitReason {
    match error {
        BenchError::Interrupted => ExitReason::Aborted,
        BenchError::Cluster(_) | BenchError::Topic(_) | BenchError::Wire(_) | BenchError::Dir(_) => {
            ExitReason::Environment
        }
        _ => ExitReason::InternalError,
    }
}

/// A trial without a result leaves the bench inconclusive; a goal that was missed is a result.
fn show(record: &BenchRecord, dir: &RunDir, out: &mut impl Write) -> std::io::Result<ExitReason> {
    write!(out, "{}", render::terminal(record))?;
    writeln!(out, "page  {}", dir.file(BENCH_MARKDOWN).display())?;
    let failed = record.trials.iter().any(|trial| trial.repeat > 0 && trial.failed.is_some())
        || record.probes.iter().any(|probe| probe.failed.is_some());
    Ok(match (record.complete, failed) {
        (false, _) => ExitReason::Aborted,
        (true, true) => ExitReason::Inconclusive,
        (true, false) => ExitReason::Pass,
    })
}

fn written(name: &str, dir: &RunDir, out: &mut impl Write) -> std::io::Result<ExitReason> {
    writeln!(out, "written {}", dir.file(name).display())?;
    Ok(ExitReason::Pass)
}

/// Processes of our own that a bench starts.
#[derive(Debug, Subcommand)]
pub(super) enum WorkerCommand {
    /// What writing costs, against a broker that keeps nothing.
    NullSink(NullSinkArgs),
    /// What checking a record costs.
    Checker {
        #[arg(long)]
        size: Bytes,
        #[arg(long)]
        records: u64,
    },
    /// Write records as fast as they are taken.
    Fill(FillArgs),
    /// Read records as fast as they come.
    Consume(ConsumeArgs),
    /// Count a long run.
    Hour(HourArgs),
}

#[derive(Debug, Args)]
pub(super) struct NullSinkArgs {
    #[arg(long)]
    size: Bytes,
    #[arg(long)]
    codec: Codec,
    #[arg(long)]
    records: u64,
    #[arg(long, default_value_t = 262_144)]
    batch_bytes: usize,
}

#[derive(Debug, Args)]
pub(super) struct FillArgs {
    #[arg(long, value_delimiter = ',')]
    bootstrap: Vec<String>,
    #[arg(long)]
    topic: String,
    #[arg(long)]
    partitions: u32,
    #[arg(long)]
    run: u32,
    #[arg(long)]
    size: Bytes,
    #[arg(long)]
    codec: Codec,
    #[arg(long)]
    records: u64,
    #[arg(long)]
    batch_bytes: usize,
}

#[derive(Debug, Args)]
pub(super) struct ConsumeArgs {
    #[arg(long, value_delimiter = ',')]
    bootstrap: Vec<String>,
    #[arg(long)]
    topic: String,
    #[arg(long)]
    run: u32,
    #[arg(long)]
    records: u64,
    #[arg(long)]
    readers: usize,
    #[arg(long)]
    fetch_min_bytes: usize,
    #[arg(long)]
    partition_max_bytes: usize,
    #[arg(long)]
    check: bool,
}

#[derive(Debug, Args)]
pub(super) struct HourArgs {
    #[arg(long)]
    minutes: u32,
    #[arg(long)]
    rate: Rate,
    #[arg(long)]
    partitions: u32,
    #[arg(long)]
    dir: PathBuf,
}

/// Longest that a worker waits for brokers.
const WORKER_LIMIT: std::time::Duration = std::time::Duration::from_secs(300);

pub(super) fn work(command: WorkerCommand, out: &mut impl Write) -> std::io::Result<ExitReason> {
    let done = match command {
        WorkerCommand::NullSink(args) => {
            json(null_sink::measure(args.size, args.codec, args.records, args.batch_bytes))
        }
        WorkerCommand::Checker { size, records } => json(checker::measure(size, records)),
        WorkerCommand::Fill(args) => json(fill(args)),
        WorkerCommand::Consume(args) => json(read(args)),
        WorkerCommand::Hour(args) => json(count(&args)),
    };
    match done {
        Ok(line) => {
            writeln!(out, "{line}")?;
            Ok(ExitReason::Pass)
        }
        Err(error) => {
            writeln!(std::io::stderr(), "error: {error}")?;
            Ok(ExitReason::InternalError)
        }
    }
}

fn json<T: serde::Serialize>(found: Result<T, ProbeError>) -> Result<String, ProbeError> {
    serde_json::to_string(&found?).map_err(|error| ProbeError::Incomplete(error.to_string()))
}

fn fill(args: FillArgs) -> Result<crate::bench::probe::Cost, ProbeError> {
    write::write(&write::WritePlan {
        bootstrap: args.bootstrap,
        topic: args.topic,
        partitions: args.partitions,
        run: args.run,
        size: args.size,
        codec: args.codec,
        records: args.records,
        batch_bytes: args.batch_bytes,
        linger: std::time::Duration::from_millis(5),
        limit: WORKER_LIMIT,
    })
}

fn read(args: ConsumeArgs) -> Result<consume::Consumed, ProbeError> {
    consume::consume(&consume::ConsumePlan {
        bootstrap: args.bootstrap,
        topic: args.topic,
        run: args.run,
        records: args.records,
        readers: args.readers,
        min_bytes: args.fetch_min_bytes,
        partition_max_bytes: args.partition_max_bytes,
        check: args.check,
        limit: WORKER_LIMIT,
    })
}

fn count(args: &HourArgs) -> Result<hour::Hour, ProbeError> {
    let plan =
        hour::HourPlan { minutes: args.minutes, per_s: args.rate.per_s(), partitions: args.partitions };
    hour::count(plan, &args.dir)
}
