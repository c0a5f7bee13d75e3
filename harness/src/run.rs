//! A run, from plan to verdict.
//!
//! `cluster -> topics -> readers, producers -> warm-up -> t = 0 -> faults -> end of load -> heal -> drain -> judge`.
//! Whatever happens on the way, the run directory says so, faults are undone and brokers end.

pub(crate) mod broker_usage;
pub mod collect;
pub(crate) mod excuses;
mod findings;
pub(crate) mod guards;
pub(crate) mod host_usage;
mod interrupt;
mod judge;
mod load_phase;
mod measure;
mod reread;
mod stability;
mod threads;
pub(crate) mod topics;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gauntlet_chaos::fault::FaultRecord;
use gauntlet_chaos::watcher::{WatchConfig, WatchError, Watched, Watcher};
use gauntlet_chaos::{
    ChaosError, ClusterDirs, FaultCluster, FaultEvent, FaultSpec, ForeignCluster, Launcher, LocalCluster,
    UndoJournal,
};
use gauntlet_reports::record::{Environment, LoadRecord, Reason, RunRecord, RunState, SCHEMA_VERSION};
use gauntlet_reports::{ExitReason, Expectation, Verdict};
use gauntlet_wire::admin::connect_first;
use gauntlet_wire::{ConnectOptions, Security, WireError, monotonic_ns};

pub use findings::guarantee_in_words;
pub(crate) use findings::{Checked, Judged};
pub use interrupt::{Asked, Interrupt};
pub(crate) use judge::fault_as_told;
pub(crate) use threads::{FRAGMENTS_MAX, INTERVAL_NS};
pub use threads::{LoopFailure, ThreadError};
pub use topics::TopicError;

use crate::blast_radius::{self, NoConsent, NoSuchBroker};
use crate::intervals::Second;
use crate::load::producer::Stumble;
use crate::plan::{ClusterPlan, ForeignPlan, Lifecycle, Plan};
use crate::rundir::{CLUSTER, CLUSTER_DIR, FAULTS, HISTORY, RUN_JSON, RunDir, RunDirError, UNDO_JOURNAL};

/// How a run is carried out, or a sweep: then each of its runs has a directory of its own in this one.
#[derive(Clone)]
pub struct RunOptions {
    /// Where everything goes.
    pub dir: RunDir,
    /// How to start a supervisor.
    pub launcher: Launcher,
    /// Jars and formats that runs share.
    pub cache: PathBuf,
    /// Leave a local cluster's data in place.
    pub keep_data: bool,
    /// Somebody at the command line consents to faults on a cluster that gauntlet did not start.
    pub consent: bool,
    /// Set by signals.
    pub interrupt: Arc<Interrupt>,
    /// For tests of "who was the limit?": the first sender sleeps once.
    pub stumble: Option<Stumble>,
}

/// What can be told while a run goes.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A phase begins.
    Phase(&'a str),
    /// One second of load.
    Second(&'a Second),
    /// A fault made a step.
    Fault(&'a FaultEvent),
    /// Something that a person should know.
    Note(&'a str),
}

/// Why a run did not come to a verdict.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The cluster did not start, or did not do as it was told.
    #[error(transparent)]
    Cluster(#[from] ChaosError),
    /// A topic could not be made ready.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// Brokers could not be reached.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The cluster can't be watched.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The run directory could not be written.
    #[error(transparent)]
    Dir(#[from] RunDirError),
    /// A thread could not be started, or died.
    #[error(transparent)]
    Thread(#[from] ThreadError),
    /// A program that is a client did not get ready.
    #[error("{0}")]
    Program(String),
    /// The journal or the faults could not be set up.
    #[error("{0}")]
    Faults(String),
    /// The run directory could not be written any more.
    #[error("cannot write the run directory: {0}")]
    Write(#[from] std::io::Error),
    /// The histogram log could not be read back.
    #[error(transparent)]
    Histograms(#[from] crate::hlog::HlogError),
    /// Nobody has consented to faults on a cluster that is somebody else's, or it is another one. Nothing was done to it.
    #[error(transparent)]
    NoConsent(#[from] NoConsent),
    /// A fault is aimed at a broker that is not there. Nothing was done.
    #[error(transparent)]
    NoSuchBroker(#[from] NoSuchBroker),
    /// A signal came before the load began.
    #[error("interrupted before the load began")]
    Interrupted,
}

impl RunError {
    fn exit_reason(&self) -> ExitReason {
        match self {
            RunError::Cluster(_)
            | RunError::Topic(_)
            | RunError::Wire(_)
            | RunError::Watch(_)
            | RunError::Program(_) => ExitReason::Environment,
            RunError::Interrupted => ExitReason::Aborted,
            RunError::NoConsent(_) => ExitReason::NothingRan,
            RunError::NoSuchBroker(_) => ExitReason::InvalidScenario,
            _ => ExitReason::InternalError,
        }
    }
}

/// Brokers that outlive a run: several runs can go on them, one after the other. Dropping it ends local ones.
pub struct RunningCluster {
    brokers: Brokers,
    /// Brokers that were taken down for good.
    absent: Vec<i32>,
}

impl RunningCluster {
    /// Starts local brokers, or makes sure that others can be reached.
    ///
    /// # Errors
    /// They don't start, or can't be reached.
    pub fn start(cluster: &ClusterPlan, dirs: &ClusterDirs, launcher: &Launcher) -> Result<Self, RunError> {
        Ok(RunningCluster { brokers: Brokers::start(cluster, dirs, launcher)?, absent: Vec::new() })
    }

    /// The local brokers, unless it is somebody else's cluster.
    #[must_use]
    pub fn local(&self) -> Option<&LocalCluster> {
        match &self.brokers {
            Brokers::Local(cluster) => Some(cluster),
            Brokers::Foreign(..) => None,
        }
    }

    /// Kills one of the local brokers for good, and waits until the others have taken over. Runs on this cluster from now on count
    /// on those alone. Returns its id.
    ///
    /// # Errors
    /// The cluster is somebody else's, or the others do not take over.
    pub fn lose_broker(&mut self) -> Result<i32, RunError> {
        let Brokers::Local(local) = &self.brokers else {
            return Err(RunError::Faults("a broker of a foreign cluster can't be taken down".to_owned()));
        };
        let lost = local.lose_broker(TAKE_OVER_LIMIT)?;
        self.absent.push(lost);
        Ok(lost)
    }

    /// Brokers that were taken down.
    #[must_use]
    pub fn absent(&self) -> &[i32] {
        &self.absent
    }

    /// Ends local brokers and removes their data.
    ///
    /// # Errors
    /// Something of them is left.
    pub fn end(self) -> Result<(), RunError> {
        self.brokers.end()
    }
}

/// The brokers of a run.
enum Brokers {
    Local(Arc<LocalCluster>),
    /// Somebody else's, and what operates it if there are faults.
    Foreign(ForeignPlan, Option<Arc<ForeignCluster>>),
}

impl Brokers {
    fn start(cluster: &ClusterPlan, dirs: &ClusterDirs, launcher: &Launcher) -> Result<Self, RunError> {
        match cluster {
            ClusterPlan::Bootstrap(foreign) => {
                let options =
                    ConnectOptions { security: foreign.security.clone(), ..ConnectOptions::default() };
                connect_first(&foreign.servers, &options)?;
                Ok(Brokers::Foreign(foreign.clone(), None))
            }
            ClusterPlan::Local(spec) => {
                Ok(Brokers::Local(Arc::new(LocalCluster::start(spec, dirs, launcher)?)))
            }
        }
    }

    fn end(self) -> Result<(), RunError> {
        match self {
            Brokers::Local(cluster) => {
                Arc::into_inner(cluster).map(LocalCluster::shutdown).transpose()?;
            }
            Brokers::Foreign(_, operated) => {
                operated.and_then(Arc::into_inner).map(ForeignCluster::shutdown).transpose()?;
            }
        }
        Ok(())
    }

    fn bootstrap(&self) -> Vec<String> {
        match self {
            Brokers::Local(cluster) => cluster.bootstrap(),
            Brokers::Foreign(foreign, _) => foreign.servers.clone(),
        }
    }

    /// What faults are injected into; `None` where none may be.
    fn under_faults(&self) -> Option<FaultCluster> {
        match self {
            Brokers::Local(cluster) => Some(Arc::clone(cluster).into()),
            Brokers::Foreign(_, operated) => operated.clone().map(FaultCluster::from),
        }
    }

    /// How the load's user connects.
    fn security(&self) -> Security {
        match self {
            Brokers::Local(cluster) => cluster.security().clone(),
            Brokers::Foreign(foreign, _) => foreign.security.clone(),
        }
    }

    /// On our own brokers, the run may from here on do what its plan says, and nothing else.
    fn grant(&self, plan: &Plan) -> Result<(), RunError> {
        let Brokers::Local(cluster) = self else { return Ok(()) };
        let needs: Vec<_> = plan.permissions().into_iter().map(|need| need.permission).collect();
        Ok(cluster.grant(&needs, GRANT_LIMIT)?)
    }
}

/// How long brokers may take to notice that another one is gone: `broker.session.timeout.ms`, 9 s unless it is set, and an election.
const TAKE_OVER_LIMIT: Duration = Duration::from_secs(60);
/// How long brokers may take to apply ACLs.
const GRANT_LIMIT: Duration = Duration::from_secs(20);

/// A run under way.
pub(crate) struct Run<'a> {
    plan: &'a Plan,
    expectations: &'a [Expectation],
    options: &'a RunOptions,
    tell: &'a mut dyn FnMut(Progress<'_>),
    admin: ConnectOptions,
    /// Brokers that are down, and stay so.
    absent: &'a [i32],
}

/// Carries a plan out. Never fails: what goes wrong is in the record, which is also in the run directory.
pub fn execute(
    plan: &Plan,
    faults: &[FaultSpec],
    expectations: &[Expectation],
    options: &RunOptions,
    tell: &mut dyn FnMut(Progress<'_>),
) -> RunRecord {
    let run = Run { plan, expectations, options, tell, admin: ConnectOptions::default(), absent: &[] };
    conduct(run, |run, record| run.carry_out(faults, record))
}

/// As [`execute`], on brokers that are there and stay. Topics of the run are deleted after it. There are no faults: the next
/// run is to find the cluster as this one did.
pub fn execute_on(
    cluster: &RunningCluster,
    plan: &Plan,
    expectations: &[Expectation],
    options: &RunOptions,
    tell: &mut dyn FnMut(Progress<'_>),
) -> RunRecord {
    let admin = ConnectOptions::default();
    let run = Run { plan, expectations, options, tell, admin, absent: cluster.absent() };
    conduct(run, |run, record| {
        let ended = run.with_brokers(&cluster.brokers, &[], record);
        run.remove_topics(&cluster.brokers.bootstrap());
        ended
    })
}

/// Writes the record of a run before and after it, whatever comes of it.
fn conduct<'a>(
    mut run: Run<'a>,
    carry_out: impl FnOnce(&mut Run<'a>, &mut RunRecord) -> Result<(), RunError>,
) -> RunRecord {
    let begun = Instant::now();
    let mut record = first_record(run.plan);
    let outcome = run.write(&record).map_err(RunError::from).and_then(|()| carry_out(&mut run, &mut record));
    record.wall_s = begun.elapsed().as_secs_f64();
    if let Err(error) = outcome {
        record.state = RunState::Aborted;
        record.reasons.push(Reason { exit: error.exit_reason(), text: error_chain(&error) });
    }
    record.reasons.sort_by_key(|r| r.exit);
    record.exit_code = Some(ExitReason::worst(record.reasons.iter().map(|r| r.exit)).code());
    if let Err(error) = run.write(&record) {
        record.reasons.push(Reason { exit: ExitReason::InternalError, text: error.to_string() });
        record.exit_code = Some(ExitReason::worst(record.reasons.iter().map(|r| r.exit)).code());
    }
    record
}

/// An error with its causes, one line.
fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let part = source.to_string();
        if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        cause = source.source();
    }
    text
}

impl Run<'_> {
    fn write(&self, record: &RunRecord) -> Result<(), RunDirError> {
        let json = serde_json::to_vec_pretty(record).unwrap_or_default();
        self.options.dir.replace(RUN_JSON, &json)
    }

    fn carry_out(&mut self, faults: &[FaultSpec], record: &mut RunRecord) -> Result<(), RunError> {
        (self.tell)(Progress::Phase("starting the cluster"));
        let brokers = self.bring_up(faults)?;
        let ended = self.with_brokers(&brokers, faults, record);
        (self.tell)(Progress::Phase("ending the cluster"));
        if let Brokers::Foreign(foreign, _) = &brokers {
            self.remove_topics(&foreign.servers);
        }
        brokers.end()?;
        ended
    }

    fn bring_up(&mut self, faults: &[FaultSpec]) -> Result<Brokers, RunError> {
        let dirs = ClusterDirs {
            data: self.options.dir.file(CLUSTER_DIR),
            logs: self.options.dir.logs(),
            cache: self.options.cache.clone(),
            keep_data: self.options.keep_data,
            undo_journal: Some(self.options.dir.file(UNDO_JOURNAL)),
        };
        let foreign = match &self.plan.cluster {
            ClusterPlan::Bootstrap(foreign) if !faults.is_empty() => foreign,
            _ => return Brokers::start(&self.plan.cluster, &dirs, &self.options.launcher),
        };
        // Who it is and what is going to be done to it, before anything is.
        let cluster = ForeignCluster::ask(&foreign.servers, &foreign.security)?;
        blast_radius::brokers_are_there(foreign, &cluster)?;
        let cluster = cluster.with_hooks(foreign.hooks.clone())?;
        for line in blast_radius::lines(&cluster, faults) {
            (self.tell)(Progress::Note(&line));
        }
        if blast_radius::needs_consent(faults) {
            blast_radius::consent(foreign, cluster.cluster_id(), self.options.consent)?;
        }
        let cluster = cluster.guard(&dirs, &self.options.launcher)?;
        Ok(Brokers::Foreign(foreign.clone(), Some(Arc::new(cluster))))
    }

    fn remove_topics(&mut self, bootstrap: &[String]) {
        for topic in self.plan.topics.iter().filter(|t| t.lifecycle == Lifecycle::PerRun) {
            if let Err(error) = topics::delete(bootstrap, topic, &self.admin) {
                (self.tell)(Progress::Note(&format!("{error}; delete it by hand")));
            }
        }
    }

    fn with_brokers(
        &mut self,
        brokers: &Brokers,
        faults: &[FaultSpec],
        record: &mut RunRecord,
    ) -> Result<(), RunError> {
        self.admin.security = brokers.security();
        brokers.grant(self.plan)?;
        let bootstrap = brokers.bootstrap();
        (self.tell)(Progress::Phase("preparing topics"));
        let mut starts = Vec::new();
        for (index, topic) in self.plan.topics.iter().enumerate() {
            let operations = self.plan.topic_operations(index);
            starts.push(topics::prepare(&bootstrap, topic, &operations, self.absent, &self.admin)?);
        }
        if self.options.interrupt.is_set() {
            return Err(RunError::Interrupted);
        }
        let watcher = self.watch(&bootstrap)?;
        let cluster = load_phase::Target { brokers, bootstrap: &bootstrap, watcher: &watcher };
        let loaded = self.load(cluster, faults, &starts, record);
        let watched = watcher.finish();
        let loaded = loaded?;
        if let Some(error) = &watched.stream_error {
            (self.tell)(Progress::Note(&format!("{CLUSTER} is incomplete: {error}")));
        }
        let ended_early = loaded.reasons.iter().any(|r| r.exit == ExitReason::Aborted);
        self.judge(loaded, &watched, record)?;
        self.drop_history(record);
        if self.options.interrupt.is_set() && !ended_early {
            let text = "a signal came after the load; what is said of the load stands".to_owned();
            record.reasons.push(Reason { exit: ExitReason::Aborted, text });
        }
        Ok(())
    }

    /// Removes the history of a run that passed, if that is what the scenario wants.
    fn drop_history(&mut self, record: &RunRecord) {
        let is_wanted = self.plan.verify.and_then(|v| v.history).is_some_and(|h| h.only_on_failure);
        if !is_wanted || record.verdict != Some(Verdict::Pass) {
            return;
        }
        if let Err(error) = std::fs::remove_file(self.options.dir.file(HISTORY)) {
            (self.tell)(Progress::Note(&format!("cannot remove {HISTORY}: {error}")));
        }
    }

    fn watch(&self, bootstrap: &[String]) -> Result<Watcher, RunError> {
        let metadata = connect_first(bootstrap, &self.admin)?.metadata(Some(&[]))?;
        let config = WatchConfig {
            brokers: metadata.addresses(),
            topics: self.plan.topics.iter().map(|t| t.name.clone()).collect(),
            interval: Duration::from_millis(100),
            security: self.admin.security.clone(),
        };
        let stream: Box<dyn std::io::Write + Send> = Box::new(self.options.dir.append(CLUSTER)?);
        Ok(Watcher::start(config, stream)?)
    }
}

/// The record of a run that could not even write its directory.
pub(crate) fn unstarted_record(plan: &Plan, reason: Reason) -> RunRecord {
    let exit_code = Some(reason.exit.code());
    RunRecord { state: RunState::Aborted, exit_code, reasons: vec![reason], ..first_record(plan) }
}

/// What is known of a run before it begins.
fn first_record(plan: &Plan) -> RunRecord {
    RunRecord {
        schema_version: SCHEMA_VERSION,
        state: RunState::Running,
        verdict: None,
        exit_code: None,
        reasons: Vec::new(),
        name: plan.name.clone(),
        run_id: plan.run_id.clone(),
        seed: plan.seed,
        started_at: rfc3339(SystemTime::now()),
        wall_s: 0.0,
        warmup_s: None,
        warm: None,
        guarantee: plan.verify.map(|v| findings::guarantee_in_words(&v.guarantee)),
        evidence: plan.evidence.to_owned(),
        verify: None,
        not_looked_for: Vec::new(),
        not_read_again: Vec::new(),
        findings: Vec::new(),
        faults: Vec::new(),
        expect: Vec::new(),
        load: LoadRecord {
            target_rate: plan.constant_per_s().map(|per_s| per_s as f64),
            ..LoadRecord::default()
        },
        produce: Default::default(),
        e2e: Default::default(),
        client: Default::default(),
        windows: Default::default(),
        wire_ratio: None,
        load_profile: plan.profile(),
        errors: Default::default(),
        retries: 0,
        throttle_ms_max: 0,
        broker: None,
        environment: environment(plan),
    }
}

/// The host, as a person would describe it.
pub(crate) fn host_in_words() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.lines().next().and_then(|l| l.split_whitespace().nth(1)).unwrap_or("0");
    let gib = memory.parse::<f64>().unwrap_or(0.0) / 1_048_576.0;
    format!("Linux {}, {} cores, {gib:.0} GiB", kernel.trim(), cores())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn environment(plan: &Plan) -> Environment {
    Environment {
        gauntlet: env!("CARGO_PKG_VERSION").to_owned(),
        kafka: match &plan.cluster {
            ClusterPlan::Local(spec) => {
                let upgraded = spec.upgrade_to.as_ref().map(|to| format!(", upgraded to {to}"));
                Some(spec.kafka.to_string() + &upgraded.unwrap_or_default())
            }
            ClusterPlan::Bootstrap(_) => None,
        },
        host: host_in_words(),
        cores: cores(),
        config: plan.settings(),
    }
}

/// RFC 3339 in UTC, to the second (civil-from-days, H. Hinnant).
pub(crate) fn rfc3339(at: SystemTime) -> String {
    let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let z = days + 719_468;
    let era = z / 146_097;
    let of_era = z % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (h, m, s) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}Z")
}

/// Writes what is known of the faults, one JSON object a line, in place of what was known before.
fn write_faults(dir: &RunDir, records: &[FaultRecord]) -> Result<(), RunError> {
    let mut lines = Vec::new();
    for record in records {
        serde_json::to_writer(&mut lines, record).map_err(std::io::Error::from)?;
        lines.push(b'\n');
    }
    Ok(dir.replace(FAULTS, &lines)?)
}

/// The journal of a run.
fn journal(dir: &RunDir) -> Result<Arc<UndoJournal>, RunError> {
    UndoJournal::open(dir.path()).map(Arc::new).map_err(|e| RunError::Faults(e.to_string()))
}

/// What the load leaves for the judge.
struct Loaded<'a> {
    collected: collect::Collected,
    readers: Vec<crate::load::reader::ReaderEnd>,
    /// Parts of the logs that were to be read a second time, and why they were not.
    not_read_again: Vec<String>,
    records: Vec<FaultRecord>,
    times: measure::Times,
    base_slot: u64,
    warm: Option<bool>,
    /// What became of the guardrails, and whether one of them ended the load.
    guards: guards::Guards<'a>,
    reasons: Vec<Reason>,
    unknowns: Vec<String>,
}

/// Unix time minus CLOCK_MONOTONIC.
pub(crate) fn unix_minus_monotonic_ns() -> u64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
    unix.saturating_sub(monotonic_ns())
}

/// What was watched, for the judge.
type History<'a> = &'a Watched;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339() {
        let at = |s| rfc3339(UNIX_EPOCH + Duration::from_secs(s));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(at(1_795_271_484), "2026-11-21T14:31:24Z");
    }
}
