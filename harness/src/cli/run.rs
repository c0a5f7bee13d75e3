//! `gauntlet run`, `plan` and `report`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use clap::Args;
use gauntlet_chaos::cache_dir;
use gauntlet_reports::ExitReason;
use gauntlet_reports::record::RunRecord;

use super::{ScenarioArgs, print};
use crate::load::producer::Stumble;
use crate::plan::{PlanOptions, Planned, plan};
use crate::run::{Interrupt, RunOptions, execute};
use crate::rundir::{RUN_JSON, RunDir, SCENARIO};
use crate::scenario::{LoadedScenario, ScenarioError};

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    scenario: ScenarioArgs,
    #[command(flatten)]
    how: HowArgs,
    /// Leave the data of local brokers in the run directory.
    #[arg(long)]
    keep_data: bool,
    /// Only verdicts, no line per second.
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    scenario: ScenarioArgs,
    #[command(flatten)]
    how: HowArgs,
}

#[derive(Debug, Args)]
struct HowArgs {
    /// Put run directories at `<DIR>/<scenario>/<run id>`, instead of where the scenario says (by default `out/…`).
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Seed of payloads and everything drawn; without it, that of the scenario, else a new one.
    #[arg(long)]
    seed: Option<u64>,
    /// A distribution of Kafka to use instead of resolving one.
    #[arg(long, value_name = "DIR")]
    kafka_home: Option<PathBuf>,
}

impl HowArgs {
    fn plan(&self, loaded: &LoadedScenario) -> Result<Planned, ScenarioError> {
        let drawn = draw();
        let options = PlanOptions {
            run_id: run_id(SystemTime::now(), drawn),
            run: drawn as u32,
            seed: self.seed.or(loaded.scenario.seed).unwrap_or(drawn >> 32),
            kafka_home: self.kafka_home.clone(),
            out: self.out.clone(),
        };
        let mut planned = plan(loaded, &options)?;
        planned.plan.seed = options.seed;
        Ok(planned)
    }
}

/// Something that differs from run to run.
fn draw() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

/// `20261121-090342-7f3a`: sorts by time, and fits into paths and topic names.
fn run_id(at: SystemTime, drawn: u64) -> String {
    let stamp: String = crate::run::rfc3339(at).chars().filter(char::is_ascii_digit).collect();
    format!("{}-{}-{:04x}", &stamp[..8], &stamp[8..], drawn as u16)
}

/// A hook for the tests of "who was the limit?": `GAUNTLET_TEST_STUMBLE=<batches>,<milliseconds>` makes the first
/// sender sleep once.
fn stumble() -> Option<Stumble> {
    let text = std::env::var("GAUNTLET_TEST_STUMBLE").ok()?;
    let (batches, ms) = text.split_once(',')?;
    let sleep = std::time::Duration::from_millis(ms.parse().ok()?);
    Some(Stumble { after_batches: batches.parse().ok()?, sleep })
}

pub(super) fn run(args: &RunArgs, out: &mut impl Write) -> std::io::Result<ExitReason> {
    // Everything is checked before anything starts.
    let mut planned = Vec::new();
    let mut invalid = false;
    for loaded in args.scenario.load() {
        match loaded.and_then(|l| Ok((args.how.plan(&l)?, l))) {
            Ok(ready) => planned.push(ready),
            Err(error) => {
                invalid = true;
                writeln!(std::io::stderr(), "{error}\n")?;
            }
        }
    }
    if invalid {
        return Ok(ExitReason::InvalidScenario);
    }
    let interrupt = Interrupt::listen(ExitReason::Aborted.code())?;
    let mut reasons = Vec::new();
    for (planned, loaded) in planned {
        if interrupt.is_set() {
            break;
        }
        reasons.push(run_one(args, &planned, &loaded, &interrupt, out)?);
    }
    Ok(ExitReason::worst(reasons))
}

fn run_one(
    args: &RunArgs,
    planned: &Planned,
    loaded: &LoadedScenario,
    interrupt: &Arc<Interrupt>,
    out: &mut impl Write,
) -> std::io::Result<ExitReason> {
    let plan = &planned.plan;
    let created = RunDir::create(&planned.run_dir, &plan.name, &plan.run_id)
        .and_then(|dir| dir.replace(SCENARIO, loaded.resolved_yaml.as_bytes()).map(|()| dir));
    let dir = match created {
        Ok(dir) => dir,
        Err(error) => {
            writeln!(std::io::stderr(), "error: {error}")?;
            return Ok(ExitReason::Environment);
        }
    };
    print::header(out, planned)?;
    let options = RunOptions {
        dir: dir.clone(),
        launcher: super::launcher(),
        cache: cache_dir().map_err(std::io::Error::other)?,
        keep_data: args.keep_data,
        interrupt: Arc::clone(interrupt),
        stumble: stumble(),
    };
    let mut printer = print::Printer::new(out, plan, args.quiet);
    let record = execute(plan, &planned.faults, &planned.expectations, &options, &mut |progress| {
        printer.tell(&progress)
    });
    print::result(out, &record, dir.path())?;
    Ok(exit_reason(&record))
}

fn exit_reason(record: &RunRecord) -> ExitReason {
    ExitReason::worst(record.reasons.iter().map(|r| r.exit))
}

pub(super) fn show_plan(args: &PlanArgs, out: &mut impl Write) -> std::io::Result<ExitReason> {
    let mut reasons = Vec::new();
    for loaded in args.scenario.load() {
        match loaded.and_then(|l| args.how.plan(&l)) {
            Ok(planned) => {
                print::header(out, &planned)?;
                print::plan(out, &planned)?;
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

pub(super) fn report(run: &Path, out: &mut impl Write) -> std::io::Result<ExitReason> {
    let path = run.join(RUN_JSON);
    let record: Result<RunRecord, String> = std::fs::read(&path)
        .map_err(|e| e.to_string())
        .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|e| e.to_string()));
    match record {
        Ok(record) => {
            print::result(out, &record, run)?;
            Ok(exit_reason(&record))
        }
        Err(why) => {
            writeln!(std::io::stderr(), "error: cannot read {}: {why}", path.display())?;
            Ok(ExitReason::Usage)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_ids_sort_by_time_and_fit_into_names() {
        let id = run_id(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_795_271_484), 0x1_7f3a);
        assert_eq!(id, "20261121-143124-7f3a");
    }
}
