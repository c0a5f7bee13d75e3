//! The command line.

mod bench;
mod cluster;
mod export;
mod faults;
mod fingerprint;
mod print;
mod recheck;
mod report;
mod run;
mod search;
mod sweep;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use gauntlet_chaos::{Launcher, LocalSpec, cache_dir, supervisor_main_with};
use gauntlet_reports::ExitReason;

use crate::plan::foreign_login;
use crate::scenario::{LoadOptions, ScenarioError, ScenarioFile};

/// First argument of the process that looks after brokers; see `gauntlet_chaos::supervisor`.
const SUPERVISE: &str = "__supervise";

/// Proves what a Kafka cluster does under load and faults.
#[derive(Debug, Parser)]
#[command(name = "gauntlet", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run scenarios: load, faults, and an exact check of every record.
    Run(run::RunArgs),
    /// Show what a scenario would do, without doing it: timeline, wall time, disk, memory.
    Plan(run::PlanArgs),
    /// Check scenario files; exit code 3 if one is invalid.
    Validate(ScenarioArgs),
    /// Show the result of a run again, and write its reports anew, from its directory.
    Report(report::ReportArgs),
    /// Check the records of runs again, from their histories, by the rules of this version.
    Recheck(recheck::RecheckArgs),
    /// Write a part of a run as a history for Jepsen's Kafka checker and Elle (EDN).
    Export(export::ExportArgs),
    /// Read a sample of a live topic, and write a scenario that sends the like.
    Fingerprint(fingerprint::FingerprintArgs),
    /// Measure gauntlet's own client beside those of others, on one cluster, in turns.
    Bench(bench::BenchArgs),
    /// Processes of a bench.
    #[command(subcommand, hide = true)]
    BenchWorker(bench::WorkerCommand),
    /// Check what this machine needs for local clusters.
    Doctor(DoctorArgs),
    /// Keep local clusters running between runs.
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// What can be broken on this machine, and undoing what a crash left broken.
    #[command(subcommand)]
    Faults(faults::FaultsCommand),
    /// Print the JSON Schema (draft-07) of scenario files.
    Schema,
}

/// Which scenario, and what to change in it.
#[derive(Debug, Args, Clone)]
pub(crate) struct ScenarioArgs {
    /// Scenario files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Overlay of the scenario to use, e.g. `ci`.
    #[arg(short, long, value_name = "NAME")]
    profile: Option<String>,
    /// Change one value, e.g. `--set load.rate=200k/s`. May be repeated.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    sets: Vec<String>,
}

#[derive(Debug, Args)]
struct DoctorArgs {
    /// Where runs will write.
    #[arg(short, long, default_value = "out")]
    out: PathBuf,
    /// A distribution of Kafka to use instead of resolving one.
    #[arg(long, value_name = "DIR")]
    kafka_home: Option<PathBuf>,
}

impl ScenarioArgs {
    fn load(&self) -> Vec<Result<ScenarioFile, ScenarioError>> {
        let options = LoadOptions {
            profile: self.profile.clone(),
            sets: self.sets.clone(),
            expectation_check: Some(&crate::plan::check_expectation),
            ..LoadOptions::of_process()
        };
        self.files.iter().map(|file| ScenarioFile::load(file, &options)).collect()
    }
}

/// What the program does, from its arguments to its exit code.
pub fn main() -> ExitCode {
    let mut args = std::env::args_os();
    if args.nth(1).is_some_and(|first| first == SUPERVISE) {
        return supervisor_main_with(args, foreign_login);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors to clap, but not to whoever asked for them.
            let code = if error.use_stderr() { ExitReason::Usage } else { ExitReason::Pass };
            let _ = error.print();
            return ExitCode::from(code.code());
        }
    };
    match dispatch(cli.command) {
        Ok(reason) => ExitCode::from(reason.code()),
        // Whoever read our output has gone; there is nobody to tell.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::from(ExitReason::Pass.code())
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(ExitReason::InternalError.code())
        }
    }
}

fn launcher() -> Launcher {
    Launcher::current_exe([SUPERVISE])
}

fn dispatch(command: Command) -> std::io::Result<ExitReason> {
    let mut out = std::io::stdout();
    match command {
        Command::Run(args) => run::run(&args, &mut out),
        Command::Plan(args) => run::show_plan(&args, &mut out),
        Command::Validate(args) => validate(&args, &mut out),
        Command::Report(args) => report::report(&args, &mut out),
        Command::Recheck(args) => recheck::run(&args, &mut out),
        Command::Export(args) => export::run(&args, &mut out),
        Command::Fingerprint(args) => fingerprint::fingerprint(&args, &mut out),
        Command::Bench(args) => bench::run(&args, &mut out),
        Command::BenchWorker(command) => bench::work(command, &mut out),
        Command::Doctor(args) => doctor(args, &mut out),
        Command::Cluster(command) => cluster::run(command, &mut out),
        Command::Faults(command) => faults::run(command, &mut out),
        Command::Schema => {
            serde_json::to_writer_pretty(&mut out, &crate::scenario::schema())
                .map_err(std::io::Error::from)?;
            writeln!(out)?;
            Ok(ExitReason::Pass)
        }
    }
}

fn validate(args: &ScenarioArgs, out: &mut impl Write) -> std::io::Result<ExitReason> {
    let mut reasons = Vec::new();
    for (file, loaded) in args.files.iter().zip(args.load()) {
        match loaded {
            Ok(loaded) => {
                let points = match &loaded {
                    ScenarioFile::Single(_) => String::new(),
                    ScenarioFile::Sweep(sweep) => format!(", a sweep of {} points", sweep.points.len()),
                    ScenarioFile::Search(_) => ", a search".to_owned(),
                };
                writeln!(out, "{}: valid ({}{points})", file.display(), loaded.name())?;
                reasons.push(ExitReason::Pass);
            }
            Err(error) => {
                writeln!(std::io::stderr(), "{error}\n")?;
                reasons.push(ExitReason::InvalidScenario);
            }
        }
    }
    Ok(ExitReason::worst(reasons))
}

fn doctor(args: DoctorArgs, out: &mut impl Write) -> std::io::Result<ExitReason> {
    use gauntlet_chaos::doctor::{Status, examine};
    let mut spec = LocalSpec::default();
    if let Some(home) = args.kafka_home {
        spec.kafka = gauntlet_chaos::KafkaSource::Directory(home);
    }
    let cache = cache_dir().map_err(std::io::Error::other)?;
    let mut worst = ExitReason::Pass;
    for check in examine(&spec, &cache, &args.out) {
        let mark = match check.status {
            Status::Ok => "ok  ",
            Status::Warn => "warn",
            Status::Fail => {
                worst = ExitReason::Environment;
                "FAIL"
            }
        };
        writeln!(out, "{mark}  {:<14} {}", check.name, check.detail)?;
        if let Some(step) = &check.next_step {
            writeln!(out, "      {:<14} -> {step}", "")?;
        }
    }
    Ok(worst)
}
