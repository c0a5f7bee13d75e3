//! `gauntlet run` and `plan`.

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use clap::Args;
use gauntlet_chaos::cache_dir;
use gauntlet_reports::ExitReason;
use gauntlet_reports::record::{Reason, RunRecord};

use super::report::{exit_reason, write_junit, write_reports};
use super::{ScenarioArgs, print};
use crate::load::producer::Stumble;
use crate::plan::{ClusterPlan, PlanOptions, Planned, plan};
use crate::run::{Asked, Interrupt, RunOptions, execute, unstarted_record};
use crate::rundir::{RunDir, SCENARIO};
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
    /// Also write the JUnit report of all scenarios to one file.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
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
    let farewell = Farewell::default();
    let said = farewell.clone();
    let interrupt = Interrupt::listen(ExitReason::Aborted.code(), move |asked| said.say(asked))?;
    let mut records = Vec::new();
    for (planned, loaded) in planned {
        if interrupt.is_set() {
            break;
        }
        farewell.set(&planned);
        records.push(run_one(args, &planned, &loaded, &interrupt, out)?);
        if let Some(file) = &args.junit {
            write_junit(file, &records)?;
        }
    }
    Ok(ExitReason::worst(records.iter().map(exit_reason)))
}

/// What somebody who is in a hurry has to know of the run under way.
#[derive(Debug, Clone, Default)]
struct Farewell(Arc<Mutex<String>>);

impl Farewell {
    fn set(&self, planned: &Planned) {
        let dir = planned.run_dir.display();
        let who = match planned.plan.cluster {
            ClusterPlan::Local(_) => "the supervisor undoes faults and stops the brokers".to_owned(),
            ClusterPlan::Bootstrap(_) => {
                "topics of this run stay on the cluster: delete them by hand".to_owned()
            }
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            format!("leaving; {who}\nrun     {dir}  (`gauntlet report` renders what is there)");
    }

    /// Whoever asks may have closed the terminal.
    fn say(&self, asked: Asked) {
        let mut err = std::io::stderr();
        let _ = match asked {
            Asked::ToStop => writeln!(
                err,
                "ending the load, undoing faults, judging what there is; interrupt once more to leave at once"
            ),
            Asked::ToLeave => {
                writeln!(err, "{}", self.0.lock().unwrap_or_else(PoisonError::into_inner))
            }
        };
    }
}

fn run_one(
    args: &RunArgs,
    planned: &Planned,
    loaded: &LoadedScenario,
    interrupt: &Arc<Interrupt>,
    out: &mut impl Write,
) -> std::io::Result<RunRecord> {
    let plan = &planned.plan;
    let created = RunDir::create(&planned.run_dir, &plan.name, &plan.run_id)
        .and_then(|dir| dir.replace(SCENARIO, loaded.resolved_yaml.as_bytes()).map(|()| dir));
    let dir = match created {
        Ok(dir) => dir,
        Err(error) => {
            writeln!(std::io::stderr(), "error: {error}")?;
            let reason = Reason { exit: ExitReason::Environment, text: error.to_string() };
            return Ok(unstarted_record(plan, reason));
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
    print::result(out, &record)?;
    let reports = write_reports(&dir, &planned.reports)?;
    print::files(out, &record, dir.path(), &reports)?;
    Ok(record)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_ids_sort_by_time_and_fit_into_names() {
        let id = run_id(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_795_271_484), 0x1_7f3a);
        assert_eq!(id, "20261121-143124-7f3a");
    }
}
