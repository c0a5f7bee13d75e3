//! `gauntlet run` and `plan`.

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use clap::Args;
use gauntlet_chaos::local::SpecError;
use gauntlet_chaos::{ForeignCluster, KafkaSource, LocalSpec, cache_dir};
use gauntlet_reports::ExitReason;
use gauntlet_reports::record::{Reason, RunRecord};

use super::report::{Outcome, write_junit, write_reports};
use super::sweep::{self, ReadySweep};
use super::{ScenarioArgs, print, search};
use crate::blast_radius;
use crate::load::producer::Stumble;
use crate::plan::{ClusterPlan, PlanOptions, Planned, plan};
use crate::run::{Asked, Interrupt, RunOptions, execute, unstarted_record};
use crate::rundir::{RunDir, SCENARIO};
use crate::scenario::{LoadedScenario, ScenarioError, ScenarioFile};
use crate::search::SearchPlan;
use crate::sweep::SweepPlan;

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    scenario: ScenarioArgs,
    #[command(flatten)]
    pub(super) how: HowArgs,
    /// Go on with a sweep: run what has no result yet in its directory.
    #[arg(long, value_name = "SWEEP_DIR", conflicts_with_all = ["only", "out"])]
    pub(super) resume: Option<PathBuf>,
    /// Leave the data of local brokers in the run directory.
    #[arg(long)]
    pub(super) keep_data: bool,
    /// Inject faults into a cluster that gauntlet did not start (`cluster.bootstrap_servers`): you answer for it.
    #[arg(long)]
    pub(super) yes: bool,
    /// Also write the JUnit report of all scenarios to one file.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Only verdicts, no line per second.
    #[arg(short, long)]
    pub(super) quiet: bool,
}

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    scenario: ScenarioArgs,
    #[command(flatten)]
    how: HowArgs,
}

#[derive(Debug, Args)]
pub(super) struct HowArgs {
    /// Put run directories at `<DIR>/<scenario>/<run id>`, instead of where the scenario says (by default `out/…`).
    #[arg(short, long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// Seed of payloads and everything drawn; without it, that of the scenario, else a new one.
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// A distribution of Kafka to use instead of resolving one.
    #[arg(long, value_name = "DIR")]
    pub(super) kafka_home: Option<PathBuf>,
    /// Of a sweep, only the points with this value, e.g. `--only codec=lz4`. Given several times: that fit all of them.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(super) only: Vec<String>,
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
pub(super) fn draw() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

/// `20261121-090342-7f3a`: sorts by time, and fits into paths and topic names.
pub(super) fn run_id(at: SystemTime, drawn: u64) -> String {
    let stamp: String = crate::run::rfc3339(at).chars().filter(char::is_ascii_digit).collect();
    format!("{}-{}-{:04x}", &stamp[..8], &stamp[8..], drawn as u16)
}

/// A hook for the tests of "who was the limit?": `GAUNTLET_TEST_STUMBLE=<records>,<milliseconds>` makes the first
/// sender sleep once.
fn stumble() -> Option<Stumble> {
    let text = std::env::var("GAUNTLET_TEST_STUMBLE").ok()?;
    let (records, ms) = text.split_once(',')?;
    let sleep = std::time::Duration::from_millis(ms.parse().ok()?);
    Some(Stumble { after_records: records.parse().ok()?, sleep })
}

/// A scenario file that can be carried out.
enum Ready {
    Single(Box<(Planned, LoadedScenario)>),
    Sweep(Box<ReadySweep>),
    Search(Box<SearchPlan>),
}

/// Why a scenario file can't be carried out: text for people, and what the process ends with.
pub(super) type Refused = (ExitReason, String);

pub(super) fn invalid(error: &ScenarioError) -> Refused {
    (ExitReason::InvalidScenario, format!("{error}\n"))
}

pub(super) fn misused(text: impl std::fmt::Display) -> Refused {
    (ExitReason::Usage, format!("error: {text}"))
}

/// Whether data of the cluster's nodes can be kept, told before anything starts.
fn keepable(cluster: &ClusterPlan) -> Result<(), Refused> {
    let refuse = |why: SpecError| Err(misused(format!("--keep-data: {why}")));
    match cluster {
        ClusterPlan::Local(spec) if spec.disk_bytes.is_some() => refuse(SpecError::DisksKept),
        ClusterPlan::Local(LocalSpec { kafka: KafkaSource::Image(_), .. }) => refuse(SpecError::VolumesKept),
        ClusterPlan::Local(_) | ClusterPlan::Bootstrap(_) => Ok(()),
    }
}

fn ready(args: &RunArgs, loaded: Result<ScenarioFile, ScenarioError>) -> Result<Ready, Refused> {
    match loaded.map_err(|error| invalid(&error))? {
        ScenarioFile::Sweep(loaded) => {
            let ready = sweep::ready(*loaded, &args.how, args.resume.as_deref())?;
            Ok(Ready::Sweep(Box::new(ready)))
        }
        ScenarioFile::Search(_) if args.resume.is_some() => {
            Err(misused("--resume is for sweeps, and this scenario is a search: run it anew"))
        }
        ScenarioFile::Search(loaded) => Ok(Ready::Search(Box::new(search::ready(*loaded, &args.how)?))),
        ScenarioFile::Single(loaded) => {
            if args.resume.is_some() || !args.how.only.is_empty() {
                let what = if args.resume.is_some() { "--resume" } else { "--only" };
                return Err(misused(format!(
                    "`{}` is no sweep, and {what} is for sweeps",
                    loaded.scenario.name
                )));
            }
            let planned = args.how.plan(&loaded).map_err(|error| invalid(&error))?;
            if args.keep_data {
                keepable(&planned.plan.cluster)?;
            }
            Ok(Ready::Single(Box::new((planned, *loaded))))
        }
    }
}

pub(super) fn run(args: &RunArgs, out: &mut impl Write) -> std::io::Result<ExitReason> {
    // Everything is checked before anything starts.
    let mut all = Vec::new();
    let mut refused = Vec::new();
    let loaded = args.scenario.load();
    if args.resume.is_some() && loaded.len() != 1 {
        writeln!(std::io::stderr(), "error: --resume goes on with one sweep, so it takes one FILE")?;
        return Ok(ExitReason::Usage);
    }
    for loaded in loaded {
        match ready(args, loaded) {
            Ok(ready) => all.push(ready),
            Err((exit, text)) => {
                refused.push(exit);
                writeln!(std::io::stderr(), "{text}")?;
            }
        }
    }
    if !refused.is_empty() {
        return Ok(ExitReason::worst(refused));
    }
    let farewell = Farewell::default();
    let said = farewell.clone();
    let interrupt = Interrupt::listen(ExitReason::Aborted.code(), move |asked| said.say(asked))?;
    let mut outcomes = Vec::new();
    for ready in all {
        if interrupt.is_set() {
            break;
        }
        outcomes.push(match ready {
            Ready::Single(ready) => {
                farewell.set(&ready.0);
                Outcome::Run(Box::new(run_one(args, &ready.0, &ready.1, &interrupt, out)?))
            }
            Ready::Sweep(ready) => {
                farewell.set_sweep(&ready.plan);
                Outcome::Sweep(Box::new(sweep::run_sweep(args, *ready, &interrupt, out)?))
            }
            Ready::Search(plan) => {
                farewell.set_search(&plan);
                Outcome::Search(Box::new(search::run_search(args, &plan, &interrupt, out)?))
            }
        });
        if let Some(file) = &args.junit {
            write_junit(file, &outcomes)?;
        }
    }
    Ok(ExitReason::worst(outcomes.iter().map(Outcome::exit_reason)))
}

/// What somebody who is in a hurry has to know of the run under way.
#[derive(Debug, Clone, Default)]
struct Farewell(Arc<Mutex<String>>);

impl Farewell {
    fn set(&self, planned: &Planned) {
        self.set_text(&planned.plan.cluster, &format!("run     {}", planned.run_dir.display()));
    }

    fn set_sweep(&self, plan: &SweepPlan) {
        let dir = plan.dir.display();
        let Some(point) = plan.points.first() else { return };
        self.set_text(&point.planned.plan.cluster, &format!("sweep   {dir}  (`--resume` goes on with it)"));
    }

    fn set_search(&self, plan: &SearchPlan) {
        self.set_text(&plan.cluster, &format!("search  {}", plan.dir.display()));
    }

    fn set_text(&self, cluster: &ClusterPlan, dir: &str) {
        let who = match cluster {
            ClusterPlan::Local(_) => "the supervisor undoes faults and stops the brokers",
            ClusterPlan::Bootstrap(_) => {
                "the supervisor undoes faults, if there are any; topics of this run stay on the cluster: delete them by hand"
            }
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            format!("leaving; {who}\n{dir}  (`gauntlet report` renders what is there)");
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

/// How a run or a sweep in `dir` is carried out.
pub(super) fn run_options(
    args: &RunArgs,
    dir: &RunDir,
    interrupt: &Arc<Interrupt>,
) -> std::io::Result<RunOptions> {
    Ok(RunOptions {
        dir: dir.clone(),
        launcher: super::launcher(),
        cache: cache_dir().map_err(std::io::Error::other)?,
        keep_data: args.keep_data,
        consent: args.yes,
        interrupt: Arc::clone(interrupt),
        stumble: stumble(),
    })
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
    let options = run_options(args, &dir, interrupt)?;
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
        match show(&args.how, loaded, out)? {
            Ok(()) => reasons.push(ExitReason::Pass),
            Err((exit, text)) => {
                writeln!(std::io::stderr(), "{text}")?;
                reasons.push(exit);
            }
        }
    }
    Ok(ExitReason::worst(reasons))
}

fn show(
    how: &HowArgs,
    loaded: Result<ScenarioFile, ScenarioError>,
    out: &mut impl Write,
) -> std::io::Result<Result<(), Refused>> {
    match loaded {
        Err(error) => Ok(Err(invalid(&error))),
        Ok(ScenarioFile::Sweep(loaded)) => match sweep::ready(*loaded, how, None) {
            Ok(ready) => print::sweep_plan(out, &ready.plan).map(Ok),
            Err(refused) => Ok(Err(refused)),
        },
        Ok(ScenarioFile::Search(loaded)) => match search::ready(*loaded, how) {
            Ok(plan) => print::search_plan(out, &plan).map(Ok),
            Err(refused) => Ok(Err(refused)),
        },
        Ok(ScenarioFile::Single(_)) if !how.only.is_empty() => {
            Ok(Err(misused("--only is for sweeps, and this scenario is none")))
        }
        Ok(ScenarioFile::Single(loaded)) => match how.plan(&loaded) {
            Ok(planned) => {
                print::header(out, &planned)?;
                print::plan(out, &planned)?;
                blast_radius(out, &planned)
            }
            Err(error) => Ok(Err(invalid(&error))),
        },
    }
}

/// What a run would do to a cluster that is somebody else's, which is asked who it is, and whether it may.
fn blast_radius(out: &mut impl Write, planned: &Planned) -> std::io::Result<Result<(), Refused>> {
    let ClusterPlan::Bootstrap(foreign) = &planned.plan.cluster else { return Ok(Ok(())) };
    if planned.faults.is_empty() {
        return Ok(Ok(()));
    }
    let cluster = match ForeignCluster::ask(&foreign.servers, &foreign.security) {
        Ok(cluster) => cluster,
        Err(error) => {
            return writeln!(out, "blast radius: unknown, as nobody tells who it is: {error}").map(Ok);
        }
    };
    if let Err(error) = blast_radius::brokers_are_there(foreign, &cluster) {
        return Ok(Err((ExitReason::InvalidScenario, format!("error: {error}"))));
    }
    let cluster = match cluster.with_hooks(foreign.hooks.clone()) {
        Ok(cluster) => cluster,
        Err(error) => return Ok(Err((ExitReason::InvalidScenario, format!("error: {error}")))),
    };
    for line in blast_radius::lines(&cluster, &planned.faults) {
        writeln!(out, "{line}")?;
    }
    if !blast_radius::needs_consent(&planned.faults) {
        return writeln!(out, "consent: none is needed; clients of this run are hit").map(Ok);
    }
    match blast_radius::consent(foreign, cluster.cluster_id(), false) {
        Ok(()) => writeln!(out, "consent: `cluster.allow_faults` for this cluster")?,
        Err(refused) => writeln!(out, "consent: {refused}")?,
    }
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_that_can_not_be_kept_is_told_before_anything_starts() {
        let local = |spec: LocalSpec| keepable(&ClusterPlan::Local(spec));
        assert!(local(LocalSpec::default()).is_ok());
        let disk = LocalSpec { disk_bytes: Some(64 << 20), ..LocalSpec::default() };
        let image = KafkaSource::Image("apache/kafka:4.3.0".to_owned());
        for (spec, why) in [
            (disk, "error: --keep-data: disks of a stated size are in memory"),
            (
                LocalSpec { kafka: image, ..LocalSpec::default() },
                "error: --keep-data: data of nodes in containers",
            ),
        ] {
            let (reason, told) = local(spec).unwrap_err();
            assert_eq!(reason, ExitReason::Usage);
            assert!(told.starts_with(why), "{told}");
        }
    }

    #[test]
    fn run_ids_sort_by_time_and_fit_into_names() {
        let id = run_id(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_795_271_484), 0x1_7f3a);
        assert_eq!(id, "20261121-143124-7f3a");
    }
}
